"""Errors of the user's making, warnings and interruptions in words."""

import warnings
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

_INTERRUPTED = 130  # what a shell gives for a program that Ctrl-C ended


@contextmanager
def problems_shown(unwritten=None):
    """Errors of the user's making in red, warnings in yellow, both on standard error; exit codes 2 and 130."""
    from ..errors import BoundaryWarning, ConvergenceWarning, DataError, IdentificationError

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
