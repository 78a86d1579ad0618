"""Draw the pictures of the site and of README: ``python docs/draw_pictures.py``.

They show the default fit of the shipped leaderboard, and are committed, as the fit takes longer than the build of the
site should.
"""

import sys
import warnings
from pathlib import Path

import matplotlib

import latentscale as ls

PICTURES = Path(__file__).resolve().parent / "pictures"
ANCHORS = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}


def draw(fit, folder: Path) -> None:
    """Draw the pictures of a fit into a folder."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    fit.plot_scaling("bbh", ax=ax)
    save(figure, folder / "scaling_bbh.png")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    fit.plot_scaling("bbh", families=["qwen2", "pythia", "meta-llama-3.1", "unseen family"], ax=axes[0])
    fit.plot_surface("reasoning", ax=axes[1])
    save(figure, folder / "leaderboard.png")
    figure, ax = plt.subplots(figsize=(7, 4.6), layout="constrained")
    fit.plot_loadings(ax=ax)
    save(figure, folder / "loadings.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the plan says itself how far it extrapolates
        plan = ls.compute_optimal(fit, [1e22, 1e23, 1e24], "math_lvl_5")
    figure, ax = plt.subplots(figsize=(7, 4.8), layout="constrained")
    plan.plot(ax=ax)
    save(figure, folder / "plan_math.png")


def save(figure, path: Path) -> None:
    """Write a figure without the date, so that the same fit gives the same file."""
    figure.savefig(path, dpi=130, metadata={"Software": None})


def main(arguments: list[str]) -> None:
    """Fit, or load the fit of the first argument, and draw."""
    matplotlib.use("Agg")
    if arguments:
        fit = ls.load(arguments[0])
    else:
        fit = ls.LatentSkillModel(ls.BenchmarkPanel(ls.load_leaderboard()), skills=ls.Anchored(ANCHORS)).fit()
    draw(fit, PICTURES)


if __name__ == "__main__":
    main(sys.argv[1:])
