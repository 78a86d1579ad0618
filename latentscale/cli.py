"""The command line: ``latentscale fit``, ``predict``, ``crossvalidate`` and ``demo``.

The package itself is imported inside the commands, so that ``--help`` need not wait for it.
"""

import os
import shutil
import warnings
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

FIT_FILE = "fit.lscale"
FILES = ("summary.txt", "parameters.csv", "predictions.csv", FIT_FILE)
DEMO_SKILLS = "math=math_lvl_5,instruction=ifeval,commonsense=hellaswag,reasoning=bbh"
TRANSLOG = "log(params_b) * log(tokens_t)"
_INTERRUPTED = 130  # what a shell gives for a program that Ctrl-C ended
_PIPE_WIDTH = 10_000  # of tables that no terminal limits

app = typer.Typer(
    name="latentscale",
    help="Latent-skill scaling laws for the benchmark scores of large language models.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)


class Integration(StrEnum):
    """Rules that integrate over family effects."""

    monte_carlo = "monte_carlo"
    quadrature = "quadrature"
    laplace = "laplace"


class Asymptotes(StrEnum):
    """Which asymptotes are estimated."""

    chance = "chance"
    lower = "lower"
    both = "both"


class Link(StrEnum):
    """Increasing functions between skills and expected scores."""

    logistic = "logistic"
    monotone = "monotone"


class Boundary(StrEnum):
    """What is done about scores of exactly 0 or 1."""

    squeeze = "squeeze"
    censor = "censor"
    error = "error"


# --- options that several commands share ---------------------------------------------------------------------

_INTEGRATION = typer.Option(help="Rule that integrates over family effects.")
_STARTS = typer.Option(min=1, help="Starts of the search: one from the data, the others at random.")
_SEED = typer.Option(help="Seed of starts and draws; the numbers do not depend on --jobs.")
_JOBS = typer.Option(help="Starts climbed in parallel; -1 for one per core.")
_PROGRESS = typer.Option("--progress/--no-progress", help="Report steps on standard error.")
_SHRINK_EFFECTS = typer.Option(help="Shrink loadings: s.d. of the penalty, such as 0.5.", show_default="none")
_SHRINK_SLOPES = typer.Option(help="Shrink slopes: s.d. of the penalty, such as 1.", show_default="none")
_FORCE = typer.Option("--force", help="Write into --out even if it has files; those of an earlier run go.")


@contextmanager
def _problems_shown(unwritten=None):
    """Errors of the user's making in red, warnings in yellow, both on standard error; exit codes 2 and 130."""
    from latentscale.errors import BoundaryWarning, ConvergenceWarning, DataError, IdentificationError

    console = Console(stderr=True, highlight=False)

    def show(message, category, filename, lineno, file=None, line=None):
        console.print(f"[yellow]{category.__name__}: {escape(str(message))}[/yellow]", soft_wrap=True)

    with warnings.catch_warnings():
        for category in (ConvergenceWarning, BoundaryWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = show
        try:
            yield
        except (DataError, IdentificationError, OSError) as error:
            console.print(f"[red]Error: {escape(_words(error))}[/red]", soft_wrap=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as stop:
            _report_interruption(stop, console, unwritten)
            raise typer.Exit(_INTERRUPTED) from None


def _words(error):
    """An error in words; the system's errors name their file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _report_interruption(stop, console, unwritten):
    params = getattr(stop, "params", None)
    state = "" if params is None else f" The best log-likelihood so far was {stop.llf:.3f}."
    console.print(f"[yellow]Interrupted.{state}[/yellow]", soft_wrap=True)
    if unwritten is not None:
        console.print(f"[yellow]Nothing was written to {escape(str(unwritten))}.[/yellow]", soft_wrap=True)
    if params is not None:
        console.print("[yellow]The parameters reached so far follow on standard output.[/yellow]")
        typer.echo(params.rename_axis("parameter").rename("estimate").to_csv(), nl=False)


# --- tables ------------------------------------------------------------------------------------------------

def _read(path):
    """Table of a CSV file, or of a parquet file if its name says so."""
    import pandas as pd

    from latentscale.errors import DataError

    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    try:
        return pd.read_csv(path)
    except ValueError as error:  # an empty or ragged file, or one that is not text
        raise DataError(f"{path} cannot be read as CSV: {error}") from error


def _read_parquet(path):
    import pandas as pd

    from latentscale.errors import DataError

    path.stat()  # an absent file is the system's to report
    try:
        return pd.read_parquet(path)
    except ImportError:
        pass
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error
    try:
        import polars
    except ImportError as error:
        raise DataError("reading parquet files needs pyarrow or polars: pip install pyarrow") from error
    try:
        return polars.read_parquet(path)
    except polars.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error


def _print_table(frame, corner):
    """A table of numbers on standard output; what is missing stays empty."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    table = Table(box=None, pad_edge=False)
    table.add_column(escape(corner), overflow="fold")
    for name in frame.columns:
        table.add_column(escape(str(name)), justify="right", overflow="fold")
    for name, row in zip(frame.index, frame.to_numpy(), strict=True):
        table.add_row(escape(str(name)), *map(_cell, row))
    console.print(table)


def _cell(value):
    """A number with four decimals, nothing for a missing one, and words as they are."""
    if isinstance(value, str):
        return escape(value)
    return "" if value != value else f"{value:.4f}"


# --- what a run leaves -------------------------------------------------------------------------------------

def _check_out(out, force):
    """Refuse a folder that cannot or must not be written to, before hours are spent on a fit."""
    from latentscale.errors import DataError

    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is a file; give a folder.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise DataError(f"--out {out} is not empty; give another folder, or --force to write into it.")
    parent = out.absolute()
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise DataError(f"--out {out}: {parent} cannot be written to.")


def _write(fit, out):
    """All files of a run, or none: they are made in a folder beside ``out`` and moved when complete."""
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    part.mkdir()
    try:
        (part / "summary.txt").write_text(f"{fit.summary().as_text()}\n", encoding="utf-8")
        fit.parameter_table().to_csv(part / "parameters.csv")
        fit.predict().to_csv(part / "predictions.csv")
        fit.save(part / FIT_FILE)
        if target.exists():
            for name in FILES:
                os.replace(part / name, target / name)
        else:
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _finish(fit, out):
    typer.echo(fit.summary().as_text())
    _write(fit, out)
    Console(stderr=True, highlight=False).print(f"Wrote {', '.join(FILES)} to {escape(str(out))}", soft_wrap=True)


# --- reading options ---------------------------------------------------------------------------------------

def _names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def _pairs(text, option):
    """``a=x,b=y`` as a dict of texts."""
    from latentscale.errors import DataError

    pairs = {}
    for part in _names(text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise DataError(f"{option} takes name=value pairs such as a=x,b=y; {part!r} is not one.")
        if name in pairs:
            raise DataError(f"{option} names {name!r} twice.")
        pairs[name] = value
    return pairs


def _skills(text):
    """A number, anchors ``skill=benchmark,...``, or ``echelon:benchmark,...``."""
    from latentscale.components.identification import Anchored, Echelon

    text = text.strip()
    if text.lstrip("+-").isdigit():
        return int(text)
    if text.startswith("echelon:"):
        return Echelon(_names(text.removeprefix("echelon:")))
    return Anchored(_pairs(text, "--skills"))


def _chance(text):
    """Guessing levels: the package's own, and the user's over them."""
    from latentscale.datasets import CHANCE_LEVELS
    from latentscale.errors import DataError

    if text is None:
        return None
    levels = dict(CHANCE_LEVELS)
    for name, value in _pairs(text, "--chance").items():
        try:
            levels[name] = float(value)
        except ValueError:
            raise DataError(f"--chance: {value!r} for {name!r} is not a number.") from None
    return levels


# --- commands ----------------------------------------------------------------------------------------------

def _show_version(wanted: bool):
    if wanted:
        from latentscale._version import __version__

        typer.echo(f"latentscale {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
):
    """Latent-skill scaling laws for the benchmark scores of large language models.

    Try [bold]latentscale demo[/bold], then [bold]latentscale fit --help[/bold].
    """


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
    asymptotes: Annotated[Asymptotes, typer.Option(help="Which asymptotes are estimated.")] = "chance",
    link: Annotated[Link, typer.Option(help="Link; monotone: one learned for each benchmark.")] = "logistic",
    shrink_effects: Annotated[float | None, _SHRINK_EFFECTS] = None,
    shrink_slopes: Annotated[float | None, _SHRINK_SLOPES] = None,
    outliers: Annotated[float, typer.Option(help="Share of scores with a tenth of the precision.")] = 0.0,
    boundary: Annotated[Boundary, typer.Option(help="What to do about scores of 0 or 1.")] = "squeeze",
    chance: Annotated[
        str | None, typer.Option(help="Guessing levels name=.25,...", show_default="known ones, else 0")
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="One row per LLM and benchmark.")] = False,
    benchmark_column: Annotated[str, typer.Option(help="With --long: column of benchmarks.")] = "benchmark",
    score_column: Annotated[str, typer.Option(help="With --long: column of scores.")] = "score",
    integration: Annotated[Integration, _INTEGRATION] = "monte_carlo",
    points: Annotated[int | None, typer.Option(min=1, help="Quadrature nodes per skill.")] = None,
    draws: Annotated[int | None, typer.Option(min=2, help="Draws per scrambling, a power of two.")] = None,
    starts: Annotated[int, _STARTS] = 10,
    seed: Annotated[int, _SEED] = 0,
    jobs: Annotated[int, _JOBS] = 1,
    progress: Annotated[bool, _PROGRESS] = True,
    force: Annotated[bool, _FORCE] = False,
):
    """Fit the latent skill model to a table of scores.

    Scores are fractions between 0 and 1; an empty cell is an unknown score. The folder --out gets summary.txt,
    parameters.csv, predictions.csv and fit.lscale, the saved fit that [bold]latentscale predict[/bold] reads.

    Example:

        latentscale fit scores.csv --skills math=math_lvl_5,instruction=ifeval --out run/
    """
    with _problems_shown(out):
        import latentscale as ls

        _check_out(out, force)
        families = _names(family)
        options = {
            "benchmarks": None if benchmarks is None else _names(benchmarks),
            "family": families if len(families) > 1 else family,
            "llm": llm,
            "chance": _chance(chance),
            "boundary": boundary.value,
        }
        table = _read(scores)
        if long:
            panel = ls.BenchmarkPanel.from_long(table, benchmark_column, score_column, **options)
        else:
            panel = ls.BenchmarkPanel(table, **options)
        model = ls.LatentSkillModel(
            panel, scaling, _skills(skills), asymptotes.value, link=link.value, shrink_effects=shrink_effects,
            shrink_slopes=shrink_slopes, outliers=outliers,
        )  # fmt: skip
        fitted = model.fit(
            integration=integration.value, starts=starts, seed=seed, n_jobs=jobs, progress=progress,
            points=points, draws=draws,
        )  # fmt: skip
        _finish(fitted, out)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder that latentscale fit made.")],
    new: Annotated[Path, typer.Argument(help="Table with the family and covariates of each LLM.")],
    intervals: Annotated[
        float | None, typer.Option(min=0.01, max=0.999, help="Level such as .95: one row a score, with intervals.")
    ] = None,
    observed: Annotated[bool, typer.Option("--observed", help="Condition on the scores that the table has.")] = False,
    seed: Annotated[int, _SEED] = 0,
    out: Annotated[Path | None, typer.Option(help="Write a CSV file instead of a table.")] = None,
):
    """Predict the scores of LLMs from a saved fit.

    LLMs of a family in the fit are predicted with what its scores say of it, others from the law of all families.

    Example:

        latentscale predict run/ new_llms.csv --intervals .95 --out predicted.csv
    """
    with _problems_shown(out):
        import latentscale as ls

        fitted = ls.load(run if run.is_file() else run / FIT_FILE)
        table = _read(new)
        if intervals is None and not observed:
            predicted = fitted.predict(table)
        else:
            options = {"observed": True} if observed else {}
            prediction = fitted.get_prediction(table, seed=seed, **options)
            predicted = prediction.mean if intervals is None else prediction.summary_frame(1.0 - intervals)
            predicted = predicted if intervals is None else predicted.set_index("llm")
        if out is None:
            _print_table(predicted, str(predicted.index.name or "LLM"))
        else:
            _write_csv(predicted, out)


def _write_csv(frame, out):
    """Write a table; the file appears whole or not at all."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        frame.to_csv(part)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    integration: Annotated[Integration, _INTEGRATION] = "monte_carlo",
    starts: Annotated[int, _STARTS] = 10,
    seed: Annotated[int, _SEED] = 0,
    jobs: Annotated[int, _JOBS] = 1,
    progress: Annotated[bool, _PROGRESS] = True,
    force: Annotated[bool, _FORCE] = False,
):
    """Fit four skills to the shipped leaderboard of 197 LLMs, and write what [bold]fit[/bold] writes.

    Example:

        latentscale demo --integration laplace --starts 3 --out demo/
    """
    with _problems_shown(out):
        import latentscale as ls

        _check_out(out, force)
        panel = ls.BenchmarkPanel(ls.load_leaderboard())
        model = ls.LatentSkillModel(panel, scaling=TRANSLOG, skills=_skills(DEMO_SKILLS))
        fitted = model.fit(
            integration=integration.value, starts=starts, seed=seed, n_jobs=jobs, progress=progress
        )
        _finish(fitted, out)


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
    seed: Annotated[int, _SEED] = 0,
    jobs: Annotated[int, typer.Option(help="Fits run in parallel; -1 for one per core.")] = 1,
    progress: Annotated[bool, _PROGRESS] = True,
    force: Annotated[bool, _FORCE] = False,
):
    """Predict held-out LLMs by many methods: leave families out, all but their smallest LLMs.

    Prints the mean absolute error in percentage points, method by cell, a cell being a set of benchmarks and the
    number of LLMs of each test family that train. Stored errors stand in brackets behind ours. The folder --out gets
    mae.csv, fits.csv and errors.csv, the error of every score.

    Example:

        latentscale crossvalidate --methods pca_*,latent_skill --jobs 2 --out cv/
    """
    with _problems_shown(out):
        from latentscale.datasets import load_leaderboard
        from latentscale.validation import protocol as experiment

        if out is not None:
            _check_out(out, force)
        asked = experiment.plain_protocol() if protocol is None else experiment.read_protocol(protocol)
        beside = None if stored is None else experiment.read_stored(stored)
        table = load_leaderboard() if scores is None else _read(scores)
        found = experiment.run_protocol(
            table, asked, _names(methods), beside, jobs, progress, resume, family=family, llm=llm, seed=seed
        )
        typer.echo(found.text().to_string())
        if out is not None:
            found.write(out)


def main():
    """Run the command line."""
    app()
