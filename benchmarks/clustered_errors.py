"""Standard errors of slopes by families as clusters, divided by those of the observed information.

    python benchmarks/clustered_errors.py [--tables 100] [--jobs 2] [--out benchmarks/clustered_errors.csv]

If a model is right, both estimate the same, and their ratio says how far they are apart by chance. For both models of
``make demo``, fitted by Laplace to the shipped table, rows give the ratio of each slope there, and its 5, 50 and 95%
points over tables that are simulated from the fit and fitted again from its estimate. The share is that of simulated
tables whose ratio is lower.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import leaderboard_model, machine, refitted
from joblib import Parallel, delayed

import latentscale as ls
from latentscale.cli.fitting import EXTENDED
from latentscale.models.options import given_options
from latentscale.results.latent_skill import LatentSkillResults


def ratios(fit: LatentSkillResults) -> pd.Series:
    """Return clustered over observed standard errors of all slopes."""
    slopes = [name for name in fit.params.index if name.startswith("slope[")]
    return fit.get_robust("cluster").bse[slopes] / fit.bse[slopes]


def simulated(truth: ls.LatentSkillModel, params: pd.Series, seed: int) -> pd.Series:
    """Return the ratios of a table simulated from the model; NaN without standard errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # estimates on the edge, few families: part of what is studied
        fit = refitted(truth, params, seed)
        if not fit.converged:
            return pd.Series(dtype=float)
        return ratios(fit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    plain = leaderboard_model()
    rows = []
    for name, model in (("plain", plain), ("extended", type(plain)(plain.panel, **given_options(plain) | EXTENDED))):
        fit = model.fit(integration="laplace", starts=10)
        found = ratios(fit)
        drawn = Parallel(options.jobs)(
            delayed(simulated)(model, fit.params, seed) for seed in range(1, options.tables + 1)
        )
        law = pd.DataFrame([one for one in drawn if len(one)])
        frame = law.quantile([0.05, 0.5, 0.95]).T.set_axis(["5%", "50%", "95%"], axis=1)
        frame.insert(0, "shipped table", found)
        frame["share below"] = (law < found).mean()
        overall = np.quantile(law.to_numpy(), [0.05, 0.5, 0.95])
        print(f"The {name} model, {len(law)} of {options.tables} tables; all slopes together {overall.round(2)}")
        print(frame.round(2), "\n")
        rows.append(frame.rename_axis("slope").reset_index().assign(model=name, tables=len(law)))
    print(machine())
    if options.out:
        pd.concat(rows).to_csv(options.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
