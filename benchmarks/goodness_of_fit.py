"""Size and power of the aspects of ``fit.goodness_of_fit()``.

    python benchmarks/goodness_of_fit.py [--tables 200] [--n 99] [--jobs 2] [--out benchmarks/goodness_of_fit.csv]

Tables are simulated from fits to four benchmarks of the shipped leaderboard with one skill (arc, hellaswag, winogrande,
mmlu): from the model itself for the size of each aspect, and from models with further terms, at their estimated sizes,
for the power of the plain model's aspects against their absence. Each table is fitted with one start and judged by n
simulated tables. A row of the result says in which share of the tables each aspect's unadjusted p-value is at most
0.05.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine
from joblib import Parallel, delayed

import latentscale as ls

BENCHMARKS = ["arc", "hellaswag", "winogrande", "mmlu"]
SCALING = "log(params_b) * log(tokens_t)"
FIT = {"integration": "laplace", "starts": 1}
MODELS = {
    "plain": {},
    "llm_effects": {"llm_effects": True},
    "benchmark_effects": {"benchmark_effects": "equal"},
    "random_slopes": {"random_slopes": "log(params_b)"},
    "precision": {"precision": "log(params_b) + log(tokens_t)", "own_precision_slopes": True},
    "all": {"llm_effects": True, "benchmark_effects": "equal", "precision": "log(params_b)"},
}
STUDIES = [("plain", "plain"), ("all", "all")] + [(name, "plain") for name in list(MODELS)[1:]]


def model_of(name: str, table: pd.DataFrame) -> ls.LatentSkillModel:
    panel = ls.BenchmarkPanel(table, benchmarks=BENCHMARKS)
    return ls.LatentSkillModel(panel, SCALING, skills={"g": "arc"}, precision_sd=1.5, **MODELS[name])


def judged(truth: ls.LatentSkillModel, params: pd.Series, fitted: str, seed: int, n: int) -> dict[str, float]:
    """Return p-values by aspect of one table, before Holm's adjustment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of estimates on the edge, which are part of what is studied
        fit = model_of(fitted, truth.simulate(params, seed)).fit(**FIT)
        return dict(fit.goodness_of_fit(n, seed).table["p"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--n", type=int, default=99)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for simulated, fitted in STUDIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            truth = model_of(simulated, ls.load_leaderboard())
            params = truth.fit(**FIT).params
        tasks = (delayed(judged)(truth, params, fitted, seed, options.n) for seed in range(options.tables))
        values = pd.DataFrame(Parallel(n_jobs=options.jobs)(tasks))
        shares = (values <= 0.05).mean()
        rows.append({"simulated": simulated, "fitted": fitted, "tables": len(values), **shares.round(3)})
        print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
        if options.out is not None:
            pd.DataFrame(rows).to_csv(options.out, index=False)
    print(machine(), f"standard error of a share of .05: {np.sqrt(0.05 * 0.95 / options.tables):.3f}")


if __name__ == "__main__":
    main()
