"""Pictures of the report: a list of them, and their drawing by the plot methods of the results as PNG images."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..plots.prediction import plot_prediction

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ..inference.goodness_of_fit import GoodnessOfFit
    from ..models.latent_skill import LatentSkillLaw
    from ..results.latent_skill import LatentSkillResults

DPI = 120
CURVE_DRAWS, CURVE_POINTS = 400, 20
# numbers of skills for which scaling and families are drawn; a picture takes half a second, and a report may take ten
CURVE_SKILLS, FAMILY_SKILLS = 1, 2
SECTIONS = ("fit", "estimates", "scaling", "checks", "families", "predictions")
STYLE: dict[Any, Any] = {
    "figure.dpi": DPI,
    "font.size": 9.0,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Picture:
    """An entry of the list of pictures.

    Attributes
    ----------
    key : str
        Its id in the page.
    section : str
        Key of the section of the page, one of ``SECTIONS``.
    title, caption : str
        The caption says what is drawn, and is also the alternative text of the image.
    method : str
        Name of the method of the results that draws it.
    draw : callable
        Takes the results and returns matplotlib axes, an array or dict of axes, or a figure.
    """

    key: str
    section: str
    title: str
    caption: str
    method: str
    draw: Callable[[LatentSkillResults], Any]


@dataclass(frozen=True)
class Drawn:
    """A picture as the page shows it: a data URI with its size in pixels, or the reason why it is missing."""

    key: str
    title: str
    caption: str
    uri: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def pictures(
    fit: LatentSkillResults,
    alpha: float = 0.05,
    predicted: pd.DataFrame | None = None,
    goodness_of_fit: GoodnessOfFit | None = None,
) -> tuple[Picture, ...]:
    """Return the list of pictures for a fit.

    Parameters
    ----------
    fit : LatentSkillResults
    alpha : float
        One minus the level of intervals.
    predicted : DataFrame, optional
        The result of ``fit.prediction_table()``, if it has been computed already.
    goodness_of_fit : GoodnessOfFit, optional
        What it found, if it was examined.

    Returns
    -------
    tuple of Picture
        In the order of the page.
    """
    fits = () if goodness_of_fit is None else (_misfit(goodness_of_fit),)
    return (*fits, *_estimates(alpha), *_scaling(fit, alpha), *_checks(fit, alpha), *_families(fit, alpha, predicted))


def _misfit(found: GoodnessOfFit) -> Picture:
    return Picture(
        "goodness-of-fit-picture", "fit", "Aspects of fit beside tables from the model",
        "Each statistic of the residuals (diamond) on the law that it has over tables simulated from the fit (dots).",
        "goodness_of_fit().plot", lambda fit: found.plot(),
    )  # fmt: skip


def _estimates(alpha: float) -> tuple[Picture, ...]:
    return (
        Picture(
            "loadings-heatmap", "estimates", "Loadings",
            "Loadings of the benchmarks (rows) on the skills (columns); the numbers are those of the table below.",
            "plot_loadings", lambda fit: fit.plot_loadings(kind="heatmap", alpha=alpha),
        ),
        Picture(
            "loadings-forest", "estimates", "Loadings with intervals",
            "Loadings of the benchmarks by skill, with confidence intervals; loadings that are fixed have none.",
            "plot_loadings", lambda fit: fit.plot_loadings(kind="forest", alpha=alpha),
        ),
        Picture(
            "slopes-forest", "estimates", "Slopes",
            "Slopes of the skills on the terms of the scaling formula, with confidence intervals.",
            "plot_slopes", lambda fit: fit.plot_slopes(alpha=alpha),
        ),
        Picture(
            "correlations", "estimates", "Correlations",
            "Correlations of the families' efficiencies between skills, with confidence intervals.",
            "plot_correlations", lambda fit: fit.plot_correlations(alpha=alpha),
        ),
        Picture(
            "curves", "estimates", "Benchmark curves",
            "Expected score of each benchmark against what its skills give it, between its asymptotes, with the "
            "observed scores.",
            "plot_curves", lambda fit: fit.plot_curves(alpha=alpha),
        ),
    )  # fmt: skip


def _scaling(fit: LatentSkillResults, alpha: float) -> tuple[Picture, ...]:
    quick = {"alpha": alpha, "size": CURVE_DRAWS, "points": CURVE_POINTS}
    curves = [
        Picture(
            f"scaling-{number}", "scaling", f"Scaling of {skill}",
            f"The skill {skill} against the LLMs' size for some families, with bands of uncertainty and the LLMs.",
            "plot_scaling", methodcaller("plot_scaling", skill, **quick),
        )
        for number, skill in enumerate(fit.model.skills[:CURVE_SKILLS])
    ]  # fmt: skip
    first = fit.model.skills[0]
    surface = Picture(
        "surface", "scaling", f"Level curves of {first}",
        f"Level curves of the skill {first} over size and training tokens, with the LLMs of the fit.",
        "plot_surface", lambda fit: fit.plot_surface(first, alpha=alpha),
    )  # fmt: skip
    return (*curves, surface)


def _checks(fit: LatentSkillResults, alpha: float) -> tuple[Picture, ...]:
    starts = Picture(
        "starts", "checks", "Where the starts ended",
        "How far below the best one the search from each start ended, in log-likelihood units.",
        "plot_starts", lambda fit: fit.plot_starts(),
    )  # fmt: skip
    residuals = Picture(
        "residuals", "checks", "Residuals",
        "Quantile residuals against fitted scores; independent standard normals under the model.",
        "plot_residuals", lambda fit: fit.plot_residuals(alpha=alpha),
    )  # fmt: skip
    return (starts, residuals) if len(fit.starts) > 1 else (residuals,)


def _families(fit: LatentSkillResults, alpha: float, predicted: pd.DataFrame | None) -> tuple[Picture, ...]:
    effects = [
        Picture(
            f"families-{number}", "families", f"Family effects: {skill}",
            f"Efficiency of the families in {skill}, in order, with intervals of the posterior.",
            "plot_family_effects", methodcaller("plot_family_effects", skill=skill, alpha=alpha),
        )
        for number, skill in enumerate(fit.model.skills[:FAMILY_SKILLS])
    ]  # fmt: skip
    prediction = Picture(
        "prediction", "predictions", "Predictions against scores",
        "Expected scores with prediction intervals against the observed scores, all benchmarks together.",
        "plot_prediction", lambda fit: _plot_prediction(fit, alpha, predicted),
    )  # fmt: skip
    return (*effects, prediction)


def _plot_prediction(fit: LatentSkillResults, alpha: float, predicted: pd.DataFrame | None) -> Any:
    """Draw ``fit.plot_prediction`` from a table that has been computed already, as computing it takes seconds."""
    if predicted is None:
        return fit.plot_prediction(alpha=alpha)
    words = f"{len(fit.model.benchmarks)} benchmarks, LLMs of the fit (their scores were seen)"
    return plot_prediction(predicted, None, alpha, words)


def draw_all(fit: LatentSkillResults, entries: Iterable[Picture]) -> dict[str, list[Drawn]]:
    """Draw pictures, and return them in a list for each section."""
    drawn: dict[str, list[Drawn]] = {section: [] for section in SECTIONS}
    for entry in entries:
        drawn[entry.section].append(draw(fit, entry))
    return drawn


def draw(fit: LatentSkillResults, entry: Picture) -> Drawn:
    """Draw one picture; if the results raise a `DataError`, its message is the reason why the picture is missing."""
    import matplotlib as mpl
    from matplotlib import pyplot

    before, formulas = set(pyplot.get_fignums()), not _has_dollars(fit.model)
    try:
        with mpl.rc_context({**STYLE, "text.parse_math": formulas}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")  # shown as boxes
            figure = _figure(entry.draw(fit))
            if not formulas:
                _plain_ticks(figure)
            data, width, height = _png(figure)
    except DataError as error:
        return Drawn(entry.key, entry.title, entry.caption, reason=str(error))
    finally:
        for number in set(pyplot.get_fignums()) - before:
            pyplot.close(number)
    uri = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    return Drawn(entry.key, entry.title, entry.caption, uri, width, height)


def _has_dollars(model: LatentSkillLaw) -> bool:
    """Return whether matplotlib would take one of the user's names for a formula."""
    names = chain(model.families, model.llms, model.benchmarks, model.skills, model.terms)
    return any("$" in str(name) for name in names)


def _figure(axes: Any) -> Figure:
    """Return the figure to which axes belong, given the axes, several of them, or the figure itself."""
    if hasattr(axes, "savefig"):
        return axes
    first = next(iter(axes.values())) if isinstance(axes, dict) else np.ravel(np.asarray(axes, dtype=object))[0]
    return first.get_figure(root=True) if hasattr(first, "get_figure") else first.figure


def _plain_ticks(figure: Figure) -> None:
    """Write the ticks of logarithmic axes as plain numbers, for figures in which formulas are switched off."""
    from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, NullFormatter

    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
            axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
            axis.set_minor_formatter(NullFormatter())


def _png(figure: Figure) -> tuple[bytes, int, int]:
    """Return a figure as the bytes of a PNG image, with its width and height in pixels.

    A palette of 256 colours suffices here and takes a third of the bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # matplotlib needs it as well

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, format="png")
    return buffer.getvalue(), *image.size
