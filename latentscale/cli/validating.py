"""``latentscale crossvalidate``."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .described import PROGRESS, SEED
from .files import check_out, read
from .options import FORCE, names
from .problems import problems_shown


@app.command()
def crossvalidate(
    scores: Annotated[
        Path | None, typer.Argument(help="Table of scores, one row per LLM.", show_default="the shipped table")
    ] = None,
    protocol: Annotated[
        Path | None, typer.Option(help="Benchmark sets and groups of test families, JSON.", show_default="each family")
    ] = None,
    stored: Annotated[Path | None, typer.Option(help="Errors to print beside ours, CSV.")] = None,
    methods: Annotated[str, typer.Option(help="Names and patterns a,b,pca_*; or paper, package.")] = "paper,package",
    family: Annotated[str, typer.Option(help="Column of families.")] = "family",
    llm: Annotated[str, typer.Option(help="Column of LLM names.")] = "model",
    out: Annotated[Path | None, typer.Option(help="Folder for tables of errors.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder that keeps finished splits, to go on with.")] = None,
    seed: Annotated[int, SEED] = 0,
    jobs: Annotated[int, typer.Option(help="Fits run in parallel; -1 for one per core.")] = 1,
    progress: Annotated[bool, PROGRESS] = True,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Predict held-out LLMs by many methods: leave families out, all but their smallest LLMs.

    Prints the mean absolute error in percentage points, method by cell, a cell being a set of benchmarks and the
    number of LLMs of each test family that train. Stored errors stand in brackets behind ours. The folder --out gets
    mae.csv, fits.csv and errors.csv, the error of every score.

    Example:

        latentscale crossvalidate --methods pca_*,latent_skill --jobs 2 --out cv/
    """
    with problems_shown(out):
        from ..datasets import load_leaderboard
        from ..validation import protocol as experiment

        if out is not None:
            check_out(out, force)
        asked = experiment.plain_protocol() if protocol is None else experiment.read_protocol(protocol)
        beside = None if stored is None else experiment.read_stored(stored)
        table = load_leaderboard() if scores is None else read(scores)
        found = experiment.run_protocol(
            table, asked, names(methods), beside, jobs, progress, resume, family=family, llm=llm, seed=seed
        )
        typer.echo(found.text().to_string())
        if out is not None:
            found.write(out)
