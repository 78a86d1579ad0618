"""``latentscale plan``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .described import SEED
from .files import FIT_FILE, write_csv
from .options import is_quoted, names, pairs, single_name
from .problems import problems_shown


class Interval(StrEnum):
    """How the uncertainty of optima is computed."""

    simulation = "simulation"
    delta = "delta"
    none = "none"


def _budgets(text: str) -> list[float]:
    """Return the numbers in ``1e21,1e22``."""
    from ..errors import DataError

    try:
        return [float(number) for number in names(text)]
    except ValueError:
        raise DataError(f"--flops takes numbers such as 1e21,1e22; got {text!r}.") from None


def _values(text: str) -> dict[str, bool | float | str]:
    """Return the pairs in ``instruct=false,year=2024`` as a dict of truth values, numbers and texts."""
    out: dict[str, bool | float | str] = {}
    for name, value in pairs(text, "--covariates").items():
        if value.lower() in ("true", "false"):
            out[name] = value.lower() == "true"
            continue
        try:
            out[name] = float(value)
        except ValueError:
            out[name] = value
    return out


def _mix(text: str) -> str | dict[str, float]:
    """Return a target, or the weights in ``a=0.5,b=0.5`` as a dict."""
    from ..errors import DataError

    if "=" not in text or is_quoted(text):
        return single_name(text)
    try:
        return {name: float(value) for name, value in pairs(text, "--target").items()}
    except ValueError:
        raise DataError(f"--target: weights are numbers, as in a=0.5,b=0.5; got {text!r}.") from None


def _check_picture(path: Path | None) -> None:
    """Raise a `DataError`, before anything is computed, if a file's name is not that of a picture."""
    from ..errors import DataError

    if path is not None and path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise DataError(f"--plot writes .png, .pdf or .svg, not {path.name}.")


@app.command()
def plan(
    run: Annotated[Path, typer.Argument(help="Folder that latentscale fit made.")],
    flops: Annotated[str, typer.Option(help="Budgets of FLOPs, such as 1e21,1e22,1e23.")],
    target: Annotated[str, typer.Option(help="A skill, a benchmark, or a mix a=0.5,b=0.5.")],
    family: Annotated[str | None, typer.Option(help="Family of the fit.", show_default="one never seen")] = None,
    covariates: Annotated[str | None, typer.Option(help="Other columns of the scaling, instruct=false,...")] = None,
    max_size: Annotated[float | None, typer.Option(help="Billions of parameters.")] = None,
    max_tokens: Annotated[float | None, typer.Option(help="Trillions of training tokens.")] = None,
    reach: Annotated[float, typer.Option(help="Factor that bounds lie beyond the data.")] = 10.0,
    inference_tokens: Annotated[float, typer.Option(help="Trillions of tokens to serve from the budget.")] = 0.0,
    interval: Annotated[Interval, typer.Option(help="How uncertain optima are.")] = Interval.simulation,
    seed: Annotated[int, SEED] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the table as CSV too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture, PNG, PDF or SVG.")] = None,
) -> None:
    """Find the size and the tokens that make the target largest for each budget of FLOPs, from a saved fit.

    A name that holds a comma or an equals sign stands between double quotes.

    Example:

        latentscale plan run/ --flops 1e21,1e22,1e23 --target math --plot math.png
    """
    with problems_shown(out):
        import latentscale as ls

        _check_picture(plot)
        fitted = ls.load(run if run.is_file() else run / FIT_FILE)
        found = ls.compute_optimal(
            fitted, _budgets(flops), _mix(target), family, None if covariates is None else _values(covariates),
            size_bounds=(None, max_size), tokens_bounds=(None, max_tokens), reach=reach,
            inference_tokens_t=inference_tokens, interval=interval.value, seed=seed,
        )  # fmt: skip
        typer.echo(str(found))
        if out is not None:
            write_csv(found.table, out)
        if plot is not None:
            import matplotlib.figure

            matplotlib.use("agg")
            figure = found.plot().figure
            assert isinstance(figure, matplotlib.figure.Figure)
            figure.savefig(plot, dpi=150)
