"""The typer application with which the commands are registered."""

from typing import Annotated

import typer

app = typer.Typer(
    name="latentscale",
    help="Latent-skill scaling laws for the benchmark scores of large language models.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from .._version import __version__

        typer.echo(f"latentscale {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Latent-skill scaling laws for the benchmark scores of large language models.

    Try [bold]latentscale demo[/bold], then [bold]latentscale fit --help[/bold].
    """
