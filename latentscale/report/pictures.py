"""Pictures of the report: one table of them, each drawn by a plot method of the results and kept as a PNG."""

import base64
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..plots.prediction import plot_prediction

DPI = 120
CURVE_DRAWS, CURVE_POINTS = 400, 20
# of how many skills scaling and families are drawn: a picture takes half a second, a report may take ten
CURVE_SKILLS, FAMILY_SKILLS = 1, 2
SECTIONS = ("estimates", "scaling", "checks", "families", "predictions")
STYLE = {
    "figure.dpi": DPI,
    "font.size": 9.0,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Picture:
    """An entry of the table of pictures.

    Attributes
    ----------
    key : str
        Its id in the page.
    section : str
        Key of the section that it belongs to.
    title, caption : str
        The caption says what is drawn, and is the alternative text as well.
    method : str
        The results' method that draws it, or would.
    draw : callable
        From the results to matplotlib axes, or an array or figure of them.
    """

    key: str
    section: str
    title: str
    caption: str
    method: str
    draw: Callable


@dataclass(frozen=True)
class Drawn:
    """A picture as it stands in the page: data URI and size in pixels, or the reason why it is missing."""

    key: str
    title: str
    caption: str
    uri: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def pictures(fit, alpha=0.05, predicted=None):
    """The table of pictures for a fit.

    Parameters
    ----------
    fit : LatentSkillResults
    alpha : float
        One minus the level of intervals.
    predicted : DataFrame, optional
        What ``fit.prediction_table()`` returns, if it has been computed.

    Returns
    -------
    tuple of Picture
        In the order of the page.
    """
    return (*_estimates(alpha), *_scaling(fit, alpha), *_checks(fit, alpha), *_families(fit, alpha, predicted))


def _estimates(alpha):
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


def _scaling(fit, alpha):
    quick = {"alpha": alpha, "size": CURVE_DRAWS, "points": CURVE_POINTS}
    curves = [
        Picture(
            f"scaling-{number}", "scaling", f"Scaling of {skill}",
            f"The skill {skill} against the LLMs' size for some families, with bands of uncertainty and the LLMs.",
            "plot_scaling", lambda fit, skill=skill: fit.plot_scaling(skill, **quick),
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


def _checks(fit, alpha):
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


def _families(fit, alpha, predicted):
    effects = [
        Picture(
            f"families-{number}", "families", f"Family effects: {skill}",
            f"Efficiency of the families in {skill}, in order, with intervals of the posterior.",
            "plot_family_effects", lambda fit, skill=skill: fit.plot_family_effects(skill=skill, alpha=alpha),
        )
        for number, skill in enumerate(fit.model.skills[:FAMILY_SKILLS])
    ]  # fmt: skip
    prediction = Picture(
        "prediction", "predictions", "Predictions against scores",
        "Expected scores with prediction intervals against the observed scores, all benchmarks together.",
        "plot_prediction", lambda fit: _plot_prediction(fit, alpha, predicted),
    )  # fmt: skip
    return (*effects, prediction)


def _plot_prediction(fit, alpha, predicted):
    """``fit.plot_prediction`` of a table that is there already: drawing it again would take seconds."""
    if predicted is None:
        return fit.plot_prediction(alpha=alpha)
    words = f"{len(fit.model.benchmarks)} benchmarks, LLMs of the fit (their scores were seen)"
    return plot_prediction(predicted, None, alpha, words)


def draw_all(fit, entries):
    """Draw pictures: dict section -> list of Drawn."""
    drawn = {section: [] for section in SECTIONS}
    for entry in entries:
        drawn[entry.section].append(draw(fit, entry))
    return drawn


def draw(fit, entry):
    """Draw one picture; what the results refuse becomes the reason why it is missing."""
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


def _has_dollars(model):
    """Whether matplotlib would take a name of the user's for a formula."""
    names = (model.families, model.llms, model.benchmarks, model.skills, model.terms)
    return any("$" in str(name) for part in names for name in part)


def _figure(axes):
    """Figure of axes, of the first of several, or the figure itself."""
    if hasattr(axes, "savefig"):
        return axes
    first = next(iter(axes.values())) if isinstance(axes, dict) else np.ravel(np.asarray(axes, dtype=object))[0]
    return first.get_figure(root=True) if hasattr(first, "get_figure") else first.figure


def _plain_ticks(figure):
    """Write ticks of logarithmic axes without formulas, which are switched off."""
    from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, NullFormatter

    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
            axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
            axis.set_minor_formatter(NullFormatter())


def _png(figure):
    """Bytes of a PNG and its size in pixels; a palette of 256 colours, which is plenty here, takes a third."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # matplotlib needs it as well

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, format="png")
    return buffer.getvalue(), *image.size
