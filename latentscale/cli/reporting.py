"""``latentscale report``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from .app import app
from .described import SEED
from .files import FIT_FILE, REPORT_FILE
from .problems import problems_shown


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder that latentscale fit made, or a saved fit.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file, replaced if it exists.", show_default="report.html in the folder")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading.", show_default="made of the fit")] = None,
    question: Annotated[
        str | None, typer.Option(help="What was asked of the scores.", show_default="made of the fit")
    ] = None,
    level: Annotated[float, typer.Option(min=0.01, max=0.999, help="Level of the intervals.")] = 0.95,
    seed: Annotated[int, SEED] = 0,
) -> None:
    """Write one self-contained HTML file on a saved fit: data, model, estimates, tests, checks, pictures, predictions.

    The file loads nothing from outside and can be sent as it is.

    Example:

        latentscale report run/ --out report.html
    """
    saved = run if run.is_file() else run / FIT_FILE
    target = saved.parent / REPORT_FILE if out is None else out
    with problems_shown(target):
        import latentscale as ls

        from ..errors import DataError
        from ..results.latent_skill import LatentSkillResults

        fitted = ls.load(saved)
        if not isinstance(fitted, LatentSkillResults):
            raise DataError(f"Reports are written of fits of LatentSkillModel; {saved} holds {type(fitted).__name__}.")
        # rounded, because 1 - 0.95 in doubles is not 0.05
        fitted.report(target, title, question, alpha=round(1.0 - level, 10), seed=seed)
        Console(stderr=True, highlight=False).print(f"Wrote {escape(str(target))}", soft_wrap=True)
