"""``latentscale fit`` and ``latentscale demo``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..estimation.fit_options import FIT_OPTIONS
from ..models.latent_skill_options import LATENT_SKILL_OPTIONS
from .app import app
from .described import named, read_values, takes
from .files import check_out, finish, read
from .options import FORCE, Boundary, names, read_chance, read_skills, single_name
from .problems import problems_shown

DEMO_SKILLS = "math=math_lvl_5,instruction=ifeval,commonsense=hellaswag,reasoning=bbh"
EXTENDED: dict[str, Any] = {
    "llm_effects": True, "benchmark_effects": True, "random_slopes": ["log(params_b)", "log(tokens_t)"],
    "precision": "log(params_b) + log(tokens_t)", "own_precision_slopes": True, "precision_sd": 1.5,
}  # fmt: skip
"""What the demo's second model has beside the first one."""
DEMO_OPTIONS = named(FIT_OPTIONS, "integration", "starts", "seed", "n_jobs", "progress")


@app.command()
@takes(model=LATENT_SKILL_OPTIONS, how=FIT_OPTIONS)
def fit(
    *,
    scores: Annotated[Path, typer.Argument(help="Table of scores, CSV or parquet: one row per LLM, or --long.")],
    out: Annotated[Path, typer.Option(help="Folder for the results, made when the fit is done.")],
    family: Annotated[str, typer.Option(help="Column of families; a,b for their combinations.")] = "family",
    llm: Annotated[str, typer.Option(help="Column of LLM names.")] = "model",
    benchmarks: Annotated[
        str | None, typer.Option(help="Score columns a,b,c.", show_default="the leaderboard's twelve, or all")
    ] = None,
    boundary: Annotated[Boundary, typer.Option(help="What to do about scores of 0 or 1.")] = Boundary.squeeze,
    chance: Annotated[
        str | None, typer.Option(help="Guessing levels name=.25,...", show_default="known ones, else 0")
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="One row per LLM and benchmark.")] = False,
    benchmark_column: Annotated[str, typer.Option(help="With --long: column of benchmarks.")] = "benchmark",
    score_column: Annotated[str, typer.Option(help="With --long: column of scores.")] = "score",
    model: dict[str, Any],
    how: dict[str, Any],
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Fit the latent skill model to a table of scores.

    Scores are fractions between 0 and 1; an empty cell is an unknown score. The folder --out gets summary.txt,
    parameters.csv, predictions.csv and fit.lscale, the saved fit that [bold]latentscale predict[/bold] reads.

    A name that holds a comma or an equals sign stands between double quotes: --skills '"s,t"=bbh,u=ifeval'.

    Example:

        latentscale fit scores.csv --skills math=math_lvl_5,instruction=ifeval --out run/
    """
    with problems_shown(out):
        import latentscale as ls

        check_out(out, force)
        families = names(family)
        options: dict[str, Any] = {
            "benchmarks": None if benchmarks is None else names(benchmarks),
            "family": families if len(families) > 1 else single_name(family),
            "llm": llm,
            "chance": read_chance(chance),
            "boundary": boundary.value,
        }
        table = read(scores)
        if long:
            panel = ls.BenchmarkPanel.from_long(table, benchmark_column, score_column, **options)
        else:
            panel = ls.BenchmarkPanel(table, **options)
        made = ls.LatentSkillModel(panel, **read_values(LATENT_SKILL_OPTIONS, model))
        finish(made.fit(**read_values(FIT_OPTIONS, how)), out)


@app.command()
@takes(how=DEMO_OPTIONS)
def demo(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    how: dict[str, Any],
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Fit four skills to the shipped leaderboard of 197 LLMs, see that the model does not fit, and fit one that does.

    The first model is that of Cai et al. (2025). Its residuals say which effects it lacks; the second model has them.
    The files of [bold]fit[/bold] and [bold]report[/bold] are written of the second one.

    Example:

        latentscale demo --integration laplace --starts 3 --out demo/
    """
    with problems_shown(out):
        import latentscale as ls

        check_out(out, force)
        panel = ls.BenchmarkPanel(ls.load_leaderboard(), groups="base_family")
        options, skills = read_values(DEMO_OPTIONS, how), read_skills(DEMO_SKILLS)
        plain = ls.LatentSkillModel(panel, skills=skills).fit(**options)
        typer.echo(plain.summary(goodness_of_fit=plain.goodness_of_fit()).as_text())
        typer.echo(f"\nThe same with {', '.join(EXTENDED)}:\n")
        # effects of LLMs and on benchmarks are integrated out by Laplace, whatever the rule of the first model
        extended = ls.LatentSkillModel(panel, skills=skills, **EXTENDED).fit(**options | {"integration": "laplace"})
        found = extended.goodness_of_fit()
        finish(extended, out, report=True, found=found)
        typer.echo(f"\n{found}\n\nSlopes of both models:\n")
        fits = {"Cai et al.": plain, "extended": extended}
        typer.echo(str(ls.compare_coefficients(fits, kinds="slope")))
