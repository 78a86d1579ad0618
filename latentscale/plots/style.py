"""What all pictures share: colours that colour-blind readers can tell apart, new axes, notes, checks of arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

# The eight colours of Okabe and Ito, with yellow last, because it is faint in print.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
ESTIMATE, REFERENCE, NOTE = "#0072B2", "0.6", "0.35"
NO_ERRORS = "without standard errors: no intervals"


def new_axes(ax: Axes | None = None, figsize: tuple[float, float] = (6.0, 4.0)) -> Axes:
    """Return the given axes, or those of a new figure of ``figsize`` (width, height) inches if there are none."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=figsize, layout="constrained")[1]


def clean(ax: Axes, grid: Literal["x", "y", "both"] | None = None) -> Axes:
    """Remove the frame at the top and on the right, and draw faint grid lines behind the data.

    ``grid`` says across which axis the lines go, ``"x"``, ``"y"`` or ``"both"``; None draws none.
    """
    ax.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        ax.grid(axis=grid, color="0.9", linewidth=0.6)
        ax.set_axisbelow(True)
    return ax


def note(ax: Axes, text: str) -> Annotation:
    """Write a short remark in small grey letters above the upper right corner of the axes, outside of the data."""
    return ax.annotate(
        text, (1.0, 1.0), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points", ha="right",
        va="bottom", fontsize=8, color=NOTE, style="italic",
    )  # fmt: skip


def level_words(alpha: float) -> str:
    """Return the confidence level 1 - alpha as text, such as ``95%``."""
    return f"{100.0 * (1.0 - alpha):g}%"


