"""Monte Carlo against quadrature at the same parameters, and Monte Carlo EM against direct maximisation.

Command: python benchmarks/monte_carlo.py      (writes benchmarks/monte_carlo.csv; some minutes)
"""

from pathlib import Path

import numpy as np
import pandas as pd
from common import leaderboard_model, machine


def main():
    model = leaderboard_model()
    exact = model.fit(integration="quadrature", points=7, starts=1)
    rows = []
    for seed in range(4):
        direct = model.fit(starts=1, seed=seed, draws=256)
        em = model.fit(starts=1, seed=seed, draws=256, driver="em")
        there = model.loglike(direct.params, "quadrature", points=7)
        rows.append(
            {
                "seed": seed,
                "draws": direct.estimate.rule.draws * 8,
                "llf_monte_carlo": round(direct.llf, 4),
                "mc_se": round(direct.llf_se, 4),
                "llf_quadrature_there": round(there, 4),
                "z": round((direct.llf - there) / direct.llf_se, 2),
                "em_minus_direct_in_se": round(float(np.max(np.abs(em.params - direct.params) / exact.bse)), 4),
                "direct_minus_quadrature_in_se": round(
                    float(np.max(np.abs(direct.params - exact.params) / exact.bse)), 4
                ),
                "em_cycles_passes": em.estimate.evaluations,
            }
        )
        print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(Path(__file__).with_name("monte_carlo.csv"), index=False)
    print(machine())


if __name__ == "__main__":
    main()
