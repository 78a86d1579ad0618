"""What residual skills of LLMs add on the shipped table: four anchored skills, Laplace.

    python benchmarks/residual_skills.py

prints both log-likelihoods, kappa with its standard error, and how many times the fit with residual skills takes.
"""

import time

from common import SKILLS, machine

import latentscale as ls


def main():
    """Fit with and without."""
    panel, fits, seconds = ls.BenchmarkPanel(ls.load_leaderboard()), {}, {}
    for llm_effects in (False, True):
        began = time.process_time()
        options = {"llm_effects": True, "precision_sd": 1.5} if llm_effects else {}
        model = ls.LatentSkillModel(panel, skills=ls.Anchored(SKILLS), **options)
        fits[llm_effects] = model.fit(integration="laplace", starts=2)
        seconds[llm_effects] = time.process_time() - began
    plain, residual = fits[False], fits[True]
    print(f"log-likelihood {plain.llf:.2f} without, {residual.llf:.2f} with them (converged: {residual.converged})")
    print(f"kappa {residual.params['llm_sd']:.3f} (s.e. {residual.bse['llm_sd']:.3f})")
    print(f"precisions multiplied by {(residual.precision / plain.precision).round(2).to_dict()}")
    print(f"time ratio {seconds[True] / seconds[False]:.1f} on {machine()}")


if __name__ == "__main__":
    main()
