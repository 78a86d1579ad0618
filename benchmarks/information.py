"""How far standard errors are off by the rule that takes the second derivatives, all at the same estimates.

On the shipped table with four anchored skills, and on simulated tables of 12 benchmarks, 2 skills and 100 families with
5 to 40 LLMs each. The reference is a grid finer than any that fits use. Draws are the eight scramblings of
``integration="monte_carlo"``, over several seeds; its fits take their standard errors from the row "grid of Monte Carlo
fits". "inf" is an information that is not positive definite.

Command: python benchmarks/information.py      (writes benchmarks/information.csv; a minute or two)
"""

from pathlib import Path

import numpy as np
import pandas as pd
from common import leaderboard_model, machine
from scale import simulated_model

from latentscale.estimation.polish import rule_information
from latentscale.likelihood.rules import Rule
from latentscale.numerics.linalg import cholesky_or_none

SEEDS, DRAWS = range(8), (64, 256)
FINE = {2: 21, 4: 9}
TABLES = {
    "leaderboard": (leaderboard_model, 4),
    **{f"{n} LLMs a family": ((lambda n=n: simulated_model(100 * n, 12, 100, 2)), 2) for n in (5, 10, 20, 40)},
}


def standard_errors(objective, rule, u):
    """In the optimiser's coordinates; infinite where the information is not positive definite."""
    information = rule_information(objective, rule, u)
    if cholesky_or_none(information) is None:
        return np.full(len(u), np.inf)
    return np.sqrt(np.diag(np.linalg.inv(information)))


def rules(k):
    """Lists of rules by name, one a seed."""
    out = {"Laplace, closed form": [Rule.build("laplace", k)]}
    out["grid of integration='quadrature'"] = [Rule.build("quadrature", k)]
    out["grid of Monte Carlo fits"] = [Rule.build("monte_carlo", k).for_information()]
    for draws in DRAWS:
        out[f"{8 * draws} draws"] = [Rule.build("monte_carlo", k, draws=draws, seed=seed) for seed in SEEDS]
    return out


def main():
    rows = []
    for name, (make, k) in TABLES.items():
        model = make()
        fit = model.fit(integration="laplace", starts=1)
        objective, u = fit.estimate.objective(model), fit.estimate.coordinates
        exact = standard_errors(objective, Rule.build("quadrature", k, points=FINE[k]), u)
        for label, chosen in rules(k).items():
            off = np.array([standard_errors(objective, rule, u) / exact - 1.0 for rule in chosen])
            rows.append(
                {
                    "table": name, "second derivatives": label, "seeds": len(chosen),
                    "median_rms": np.median(np.sqrt(np.mean(off**2, axis=1))),
                    "worst_seed_rms": np.sqrt(np.mean(off**2, axis=1)).max(), "largest": np.abs(off).max(),
                }
            )  # fmt: skip
            print(rows[-1], flush=True)
    pd.DataFrame(rows).round(5).to_csv(Path(__file__).with_suffix(".csv"), index=False)
    print(machine())


if __name__ == "__main__":
    main()
