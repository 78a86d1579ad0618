"""The named tests on the shipped table, four anchored skills: Wald, likelihood-ratio and score statistics.

    python benchmarks/named_tests.py

prints them and writes ``benchmarks/named_tests.csv``. The fit is by quadrature, 5 nodes a dimension; a Wald
statistic from the sandwich (leverage-corrected) stands beside that from the observed information.
"""

import time
import warnings
from pathlib import Path

import pandas as pd
from common import leaderboard_model, machine

began = time.perf_counter()
fit = leaderboard_model().fit(integration="quadrature", points=5, starts=4)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # the sandwich rests on few families: the table's reader is told so
    robust = fit.get_robust("cluster")
tables = []
for name in ("test_no_interaction", "test_flops_sufficiency", "test_equal_slopes"):
    test = getattr(fit, name)(method="all")
    print(test, "\n")
    table = test.table
    sandwich = getattr(robust, name)().table.rename(index={"wald": "wald, sandwich"}, level="method")
    tables.append(pd.concat([table, sandwich]).assign(test=test.title))
shared = fit.test_shared_slopes(method="all")
print(shared, "\n")
tables.append(shared.table.assign(test=shared.title))
result = pd.concat(tables).reset_index()[["test", "part", "method", "statistic", "df", "p_value"]]
result.round({"statistic": 3, "p_value": 6}).to_csv(Path(__file__).with_suffix(".csv"), index=False)
print(f"{time.perf_counter() - began:.0f} s on {machine()}")
