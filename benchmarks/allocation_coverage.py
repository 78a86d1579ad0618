"""How often intervals of optimal allocations cover: tables simulated from the estimate on the shipped table.

    python benchmarks/allocation_coverage.py 200

fits four anchored skills to so many simulated tables by Laplace from the true parameters, and writes
``benchmarks/allocation_coverage.csv``: for 1e23 FLOPs and bounds ten times beyond the data, the share of tables whose
95% interval of the optimal size covers the optimum under the parameters that made the table, by simulation and by the
delta method (of the tables with an interior optimum), the share of optima that are interior, the share of intervals of
the value that cover what the estimated optimum truly yields, and that optimum's mean loss beside what was expected.
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import SKILLS, leaderboard_model, machine

import latentscale as ls
from latentscale.planning.allocation import compute_optimal

FLOPS = 1e23
TARGETS = ["math", "instruction", "gsm8k", "truthfulqa", "mmlu", "hellaswag", {"math_lvl_5": 0.5, "bbh": 0.5}]


def one_table(model, truth, plans, seed):
    """Whether each interval covers: a dict per target."""
    panel = ls.BenchmarkPanel(model.simulate(truth, seed=seed))
    fit = ls.LatentSkillModel(panel, skills=ls.Anchored(SKILLS)).fit(
        integration="laplace", starts=0, start_params=truth
    )
    rows = []
    for target, true in plans.items():
        found = compute_optimal(fit, FLOPS, true.given, draws=400)
        row, best = found.table.iloc[0], true.plan.table["size"].iloc[0]
        half = 1.959964 * found.bse["log_size"].iloc[0]
        yields = true.plan.surface(row["size"], row["tokens"])
        # tables differ in scores alone, so that bounds, and with them corners, are the same
        rows.append(
            {
                "target": target, "seed": seed, "interior": row["corner"] == "interior",
                "simulation": row["size_ci_lower"] * (1 - 1e-9) <= best <= row["size_ci_upper"] * (1 + 1e-9),
                "delta": np.nan if np.isnan(half) else float(abs(np.log(row["size"] / best)) <= half),
                "value": row["value_ci_lower"] <= yields <= row["value_ci_upper"],
                "width": np.log(row["size_ci_upper"] / row["size_ci_lower"]),
                "lost": true.plan.table["value"].iloc[0] - yields, "expected_loss": row["shortfall"],
            }
        )  # fmt: skip
    return rows


class Truth:
    """A target and its allocation under the parameters that make the tables."""

    def __init__(self, fit, target):
        self.given = target
        self.plan = compute_optimal(fit, FLOPS, target, interval="none")


def main(tables):
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # optima beyond the data are part of the study
        model = leaderboard_model()
        fit = model.fit(integration="laplace", starts=3)
        plans = {}
        for target in TARGETS:
            true = Truth(fit, target)
            plans[true.plan.target] = true
        rows = []
        for seed in range(tables):
            try:
                rows += one_table(model, fit.params, plans, seed)
            except ls.DataError as error:
                print(f"table {seed}: {error}")
            # after every table, so that a run may be stopped
            result = summary(pd.DataFrame(rows), plans)
            result.round(4).to_csv(Path(__file__).with_suffix(".csv"))
    print(result.round(4).to_string())
    print(f"{time.perf_counter() - began:.0f} s on {machine()}")


def summary(frame, plans):
    """One row per target."""
    grouped = frame.groupby("target", sort=False)
    result = grouped[["interior", "simulation", "delta", "value"]].mean()
    result["median_width_log_size"] = grouped["width"].median()
    result[["mean_loss", "mean_expected_loss"]] = grouped[["lost", "expected_loss"]].mean()
    result.insert(0, "true_size", [plans[name].plan.table["size"].iloc[0] for name in result.index])
    result.insert(1, "true_optimum", [plans[name].plan.table["corner"].iloc[0] for name in result.index])
    result["tables"] = grouped.size()
    return result


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
