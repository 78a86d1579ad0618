"""Errors that users can mend, warnings and interruptions, shown as messages in place of Python's tracebacks."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import typer
from rich.console import Console
from rich.markup import escape

_INTERRUPTED = 130  # the exit code that shells report for a program ended by Ctrl-C


@contextmanager
def problems_shown(unwritten: Path | None = None) -> Iterator[None]:
    """Show errors that users can mend in red and warnings in yellow, both on standard error.

    After an error the exit code is 2, after an interruption 130. ``unwritten`` is the file or folder that an
    interrupted command has not written.
    """
    from ..errors import BoundaryWarning, ConvergenceWarning, DataError, IdentificationError

    console = Console(stderr=True, highlight=False)

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
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


def _words(error: Exception) -> str:
    """Return the message of an error; those of the operating system name the file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _report_interruption(stop: KeyboardInterrupt, console: Console, unwritten: Path | None) -> None:
    """Say that a command was interrupted, and print the parameters that a fit had reached, if it was one."""
    params, llf = getattr(stop, "params", None), getattr(stop, "llf", None)
    state = "" if params is None else f" The best log-likelihood so far was {llf:.3f}."
    console.print(f"[yellow]Interrupted.{state}[/yellow]", soft_wrap=True)
    if unwritten is not None:
        console.print(f"[yellow]Nothing was written to {escape(str(unwritten))}.[/yellow]", soft_wrap=True)
    if params is not None:
        console.print("[yellow]The parameters reached so far follow on standard output.[/yellow]")
        typer.echo(params.rename_axis("parameter").rename("estimate").to_csv(), nl=False)
