"""What the pictures share: colours that the colour-blind tell apart, new axes, forests of intervals, notes."""

import numpy as np

from ..errors import DataError

# Okabe and Ito's eight colours, yellow last: it is faint in print
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
ESTIMATE, REFERENCE, NOTE = "#0072B2", "0.6", "0.35"
NO_ERRORS = "without standard errors: no intervals"


def new_axes(ax=None, figsize=(6.0, 4.0)):
    """Return the axes handed in, or those of a new figure of ``figsize`` inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=figsize, layout="constrained")[1]


def clean(ax, grid=None):
    """Take away the top and right frame; ``grid`` is ``"x"``, ``"y"`` or ``"both"`` for faint lines behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        ax.grid(axis=grid, color="0.9", linewidth=0.6)
        ax.set_axisbelow(True)
    return ax


def note(ax, text):
    """Write a short remark under the title's place, in small grey letters, where no data can be."""
    return ax.annotate(
        text, (1.0, 1.0), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points", ha="right",
        va="bottom", fontsize=8, color=NOTE, style="italic",
    )  # fmt: skip


def level_words(alpha):
    """Confidence level in words, such as ``95%``."""
    return f"{100.0 * (1.0 - alpha):g}%"


def check_level(alpha):
    """Raise DataError unless alpha lies between 0 and 1."""
    if not 0.0 < alpha < 1.0:
        raise DataError(f"alpha lies between 0 and 1, not {alpha!r}.")


def choose(wanted, known, what):
    """Return names as a list, all known ones for None; DataError names those that are unknown."""
    known = list(known)
    if wanted is None:
        return known
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [name for name in names if name not in known]
    if unknown:
        shown = ", ".join(map(str, known[:8])) + (", ..." if len(known) > 8 else "")
        raise DataError(f"There is no {what} {unknown[0]!r}; there are {shown}.")
    if not names:
        raise DataError(f"Name at least one {what}.")
    return names


def forest(
    ax, labels, estimate, low, high, places=None, color=ESTIMATE, label=None, reference=0.0, filled=None, **marker
):  # fmt: skip
    """Draw estimates as dots with intervals as horizontal lines, the first row on top.

    Parameters
    ----------
    ax : matplotlib Axes
    labels : sequence of str
        Of the rows; None leaves the ticks as they are (a second series in the same rows).
    estimate, low, high : array-like (n,)
        Estimates and ends of intervals; NaN ends draw no line.
    places : array-like (n,), optional
        Heights of the rows, 0, 1, 2, ... by default.
    color : str
    label : str, optional
        For the legend.
    reference : float, optional
        Where a dashed upright line is drawn; None for none.
    filled : array-like of bool (n,), optional
        Rows whose dot is filled, all by default; the others are hollow.
    **marker
        Further options of the dots.

    Returns
    -------
    tuple
        The collection of the intervals, and the lines of the filled and of the hollow dots (None where there is none).
    """
    estimate, low, high = (np.asarray(values, dtype=float) for values in (estimate, low, high))
    places = np.arange(len(estimate), dtype=float) if places is None else np.asarray(places, dtype=float)
    filled = np.ones(len(estimate), dtype=bool) if filled is None else np.asarray(filled, dtype=bool)
    if reference is not None:
        ax.axvline(reference, color=REFERENCE, linewidth=0.9, linestyle="--", zorder=0)
    drawn = np.isfinite(low) & np.isfinite(high)
    lines = ax.hlines(places[drawn], low[drawn], high[drawn], color=color, linewidth=1.4, zorder=2)
    options = {"markersize": 5.0, "zorder": 3, **marker}
    dots = [None, None]
    for number, (rows, face) in enumerate(((filled, color), (~filled, "white"))):
        if rows.any():
            (dots[number],) = ax.plot(
                estimate[rows], places[rows], "o", color=color, markerfacecolor=face,
                label=label if number == 0 or not filled.any() else None, **options,
            )  # fmt: skip
    if labels is not None:
        ax.set_yticks(places, [str(one) for one in labels])
        ax.set_ylim(places.max() + 0.7, places.min() - 0.7)
        ax.tick_params(axis="y", length=0, labelsize=8.5)
    return lines, *dots
