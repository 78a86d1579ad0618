"""Standard errors of rotated loadings by the delta method against the parametric bootstrap.

    python benchmarks/rotated_errors.py

Four anchored skills on the shipped table, by Laplace; geomin, every replicate followed from the solution on the
estimate; the delta method with the observed and with the expected information. Prints the ratios and writes
``benchmarks/rotated_errors.csv``.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from common import leaderboard_model

from latentscale.inference.rotation import follow_structure

REPLICATIONS = 600

fit = leaderboard_model().fit(integration="laplace", starts=4)
rotated = fit.rotate("geomin")
expected = rotated.get_robust("expected")
replicates = fit.bootstrap("parametric", REPLICATIONS, seed=1).replicates.dropna()
values = []
for params in replicates.to_numpy():
    turned, _ = follow_structure(fit.model.table.structure(params), rotated.rotation)
    values.append(rotated.model.table.natural(turned))
values = np.array(values)
# half the distance of the normal quantiles: a few replicates lie far out, and a standard deviation is theirs
spread = (np.quantile(values, 0.84134, axis=0) - np.quantile(values, 0.15866, axis=0)) / 2.0
table = pd.DataFrame({"observed": rotated.bse, "expected": expected.bse, "bootstrap": spread})
table["bootstrap_sd"] = values.std(axis=0, ddof=1)
table["observed_ratio"], table["expected_ratio"] = table["observed"] / spread, table["expected"] / spread
loadings = table[table.index.str.startswith("loading[")]
print(loadings.round(3).to_string())
ratios = loadings[["observed_ratio", "expected_ratio"]]
print(ratios.describe().round(3).to_string())
print("within 15 percent:", (ratios.sub(1.0).abs() <= 0.15).sum().to_dict(), "of", len(ratios))
table.round(4).to_csv(Path(__file__).with_suffix(".csv"))
