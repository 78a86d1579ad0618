"""Reading and writing of tables, and the files that a fit leaves in its folder."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from ..inference.goodness_of_fit import GoodnessOfFit
    from ..results.latent_skill import LatentSkillResults

FIT_FILE = "fit.lscale"
FILES = ("summary.txt", "parameters.csv", "predictions.csv", FIT_FILE)
REPORT_FILE = "report.html"
_PIPE_WIDTH = 10_000  # characters in a line of a table that is not written to a terminal


def read(path: Path) -> "pd.DataFrame":
    """Read a file of scores or LLMs, CSV, Parquet or JSON lines, without renaming its columns.

    Long tables become wide ones with one row per LLM, and the leaderboard's own table is recognised, as ``read_scores``
    does it.
    """
    from ..datasets import read_scores

    return read_scores(path, names={})


def print_table(frame: "pd.DataFrame", corner: str) -> None:
    """Print a table of numbers; missing cells are empty. ``corner`` is the name of the index."""
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


def _cell(value: Any) -> str:
    """Return a number with four decimals, an empty text for a missing one, and text as it is."""
    if isinstance(value, str):
        return escape(value)
    return "" if value != value else f"{value:.4f}"


def check_out(out: Path, force: bool) -> None:
    """Raise a `DataError`, before hours are spent on a fit, if its folder cannot or must not be written to.

    A folder that is not empty is refused unless ``force``.
    """
    from ..errors import DataError

    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is a file; give a folder.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise DataError(f"--out {out} is not empty; give another folder, or --force to write into it.")
    parent = out.absolute()
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise DataError(f"--out {out}: {parent} cannot be written to.")


def _write(fit: "LatentSkillResults", out: Path, report: bool, found: "GoodnessOfFit | None") -> None:
    """Write all files of a run, or none: they are made in a folder beside ``out`` and moved when all are complete."""
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    part.mkdir()
    try:
        (part / "summary.txt").write_text(f"{fit.summary(goodness_of_fit=found).as_text()}\n", encoding="utf-8")
        fit.parameter_table().to_csv(part / "parameters.csv")
        fit.predict().to_csv(part / "predictions.csv")
        fit.save(part / FIT_FILE)
        if report:
            fit.report(part / REPORT_FILE, goodness_of_fit=found)
        if target.exists():
            (target / REPORT_FILE).unlink(missing_ok=True)  # of an earlier run
            for name in os.listdir(part):
                os.replace(part / name, target / name)
        else:
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def finish(
    fit: "LatentSkillResults", out: Path, report: bool = False, found: "GoodnessOfFit | None" = None
) -> None:
    """Print the summary of a fit and write its files, with the report if it is wanted.

    ``found`` is what ``fit.goodness_of_fit()`` found, if it was asked for.
    """
    typer.echo(fit.summary(goodness_of_fit=found).as_text())
    _write(fit, out, report, found)
    names = [*FILES, REPORT_FILE] if report else FILES
    Console(stderr=True, highlight=False).print(f"Wrote {', '.join(names)} to {escape(str(out))}", soft_wrap=True)


def write_csv(frame: "pd.DataFrame", out: Path) -> None:
    """Write a table as CSV; the file appears complete or not at all."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        frame.to_csv(part)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
