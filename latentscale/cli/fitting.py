"""``latentscale fit`` and ``latentscale demo``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app
from .files import check_out, finish, read
from .options import (
    FORCE,
    INTEGRATION,
    JOBS,
    PROGRESS,
    SEED,
    SHRINK_EFFECTS,
    SHRINK_SLOPES,
    STARTS,
    TRANSLOG,
    Asymptotes,
    Boundary,
    Integration,
    Link,
    names,
    read_chance,
    read_skills,
    single_name,
)
from .problems import problems_shown

DEMO_SKILLS = "math=math_lvl_5,instruction=ifeval,commonsense=hellaswag,reasoning=bbh"


@app.command()
def fit(
    scores: Annotated[Path, typer.Argument(help="Table of scores, CSV or parquet: one row per LLM, or --long.")],
    out: Annotated[Path, typer.Option(help="Folder for the results, made when the fit is done.")],
    skills: Annotated[
        str, typer.Option(help="Anchors skill=benchmark,...; or a number; or echelon:benchmark,...")
    ] = "4",
    family: Annotated[str, typer.Option(help="Column of families; a,b for their combinations.")] = "family",
    llm: Annotated[str, typer.Option(help="Column of LLM names.")] = "model",
    benchmarks: Annotated[
        str | None, typer.Option(help="Score columns a,b,c.", show_default="the leaderboard's twelve, or all")
    ] = None,
    scaling: Annotated[str, typer.Option(help="Formula of the covariates.")] = TRANSLOG,
    asymptotes: Annotated[Asymptotes, typer.Option(help="Which asymptotes are estimated.")] = Asymptotes.chance,
    link: Annotated[Link, typer.Option(help="Link; monotone: one learned for each benchmark.")] = Link.logistic,
    shrink_effects: Annotated[float | None, SHRINK_EFFECTS] = None,
    shrink_slopes: Annotated[float | None, SHRINK_SLOPES] = None,
    outliers: Annotated[float, typer.Option(help="Share of scores with a tenth of the precision.")] = 0.0,
    boundary: Annotated[Boundary, typer.Option(help="What to do about scores of 0 or 1.")] = Boundary.squeeze,
    chance: Annotated[
        str | None, typer.Option(help="Guessing levels name=.25,...", show_default="known ones, else 0")
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="One row per LLM and benchmark.")] = False,
    benchmark_column: Annotated[str, typer.Option(help="With --long: column of benchmarks.")] = "benchmark",
    score_column: Annotated[str, typer.Option(help="With --long: column of scores.")] = "score",
    integration: Annotated[Integration, INTEGRATION] = Integration.monte_carlo,
    points: Annotated[int | None, typer.Option(min=1, help="Quadrature nodes per skill.")] = None,
    draws: Annotated[int | None, typer.Option(min=2, help="Draws per scrambling, a power of two.")] = None,
    starts: Annotated[int, STARTS] = 10,
    seed: Annotated[int, SEED] = 0,
    jobs: Annotated[int, JOBS] = 1,
    progress: Annotated[bool, PROGRESS] = True,
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
        model = ls.LatentSkillModel(
            panel, scaling, read_skills(skills), asymptotes.value, link=link.value, shrink_effects=shrink_effects,
            shrink_slopes=shrink_slopes, outliers=outliers,
        )  # fmt: skip
        fitted = model.fit(
            integration=integration.value, starts=starts, seed=seed, n_jobs=jobs, progress=progress,
            points=points, draws=draws,
        )  # fmt: skip
        finish(fitted, out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    integration: Annotated[Integration, INTEGRATION] = Integration.monte_carlo,
    starts: Annotated[int, STARTS] = 10,
    seed: Annotated[int, SEED] = 0,
    jobs: Annotated[int, JOBS] = 1,
    progress: Annotated[bool, PROGRESS] = True,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Fit four skills to the shipped leaderboard of 197 LLMs; write what [bold]fit[/bold] and [bold]report[/bold] do.

    Example:

        latentscale demo --integration laplace --starts 3 --out demo/
    """
    with problems_shown(out):
        import latentscale as ls

        check_out(out, force)
        panel = ls.BenchmarkPanel(ls.load_leaderboard())
        model = ls.LatentSkillModel(panel, scaling=TRANSLOG, skills=read_skills(DEMO_SKILLS))
        fitted = model.fit(integration=integration.value, starts=starts, seed=seed, n_jobs=jobs, progress=progress)
        finish(fitted, out, report=True)
