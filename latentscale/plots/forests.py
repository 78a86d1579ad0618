"""Forest plots: estimates as dots with their intervals as horizontal lines, one row for each parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from .style import ESTIMATE, NO_ERRORS, REFERENCE, clean, level_words, new_axes, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D


def forest(
    ax: Axes,
    labels: Sequence[object] | None,
    estimate: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    places: npt.ArrayLike | None = None,
    color: str = ESTIMATE,
    label: str | None = None,
    reference: float | None = 0.0,
    filled: npt.ArrayLike | None = None,
    **marker: Any,
) -> tuple[LineCollection, Line2D | None, Line2D | None]:
    """Draw estimates as dots with intervals as horizontal lines, the first row on top.

    Parameters
    ----------
    ax : matplotlib Axes
    labels : sequence of str or None
        Names of the rows. None keeps the ticks, as is needed for a second series in the same rows.
    estimate, low, high : array-like (n,)
        Estimates and ends of intervals; where an end is NaN no line is drawn.
    places : array-like (n,), optional
        Vertical positions of the rows, 0, 1, 2, ... by default.
    color : str
    label : str, optional
        Name of the series in the legend.
    reference : float, optional
        Position of a dashed vertical line; None for no line.
    filled : array-like of bool (n,), optional
        Whether the dot of each row is filled or hollow; by default all are filled.
    **marker
        Further options of the dots, as for ``Axes.plot``.

    Returns
    -------
    intervals : LineCollection
    filled_dots, hollow_dots : Line2D or None
    """
    estimate, low, high = (np.asarray(values, dtype=float) for values in (estimate, low, high))
    places = np.arange(len(estimate), dtype=float) if places is None else np.asarray(places, dtype=float)
    filled = np.ones(len(estimate), dtype=bool) if filled is None else np.asarray(filled, dtype=bool)
    if reference is not None:
        ax.axvline(reference, color=REFERENCE, linewidth=0.9, linestyle="--", zorder=0)
    drawn = np.isfinite(low) & np.isfinite(high)
    lines = ax.hlines(places[drawn], low[drawn], high[drawn], color=color, linewidth=1.4, zorder=2)
    options = {"markersize": 5.0, "zorder": 3, **marker}
    dots: list[Line2D | None] = [None, None]
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
    return lines, dots[0], dots[1]


def grouped_forest(table: pd.DataFrame, group: str, row: str, ax: Axes | None = None, alpha: float = 0.05) -> Axes:
    """Draw estimates with intervals in groups, with the name of each group above its rows.

    Parameters
    ----------
    table : DataFrame
        With the columns estimate, ci_lower, ci_upper, fixed, and those named by ``group`` and ``row``.
    group, row : str
        Columns with the name of the group, and with the name of the row within it.
    ax : matplotlib Axes, optional
        By default those of a new figure that is as high as the rows need.
    alpha : float
        One minus the level of the intervals in the table.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the table has no rows.
    """
    if table.empty:
        raise DataError("There is nothing to draw: every parameter of this kind is fixed at zero.")
    names = list(dict.fromkeys(table[group]))
    ordered = table.assign(_group=[names.index(name) for name in table[group]]).sort_values("_group", kind="stable")
    # the name of each group takes one row above the group
    places = np.arange(len(ordered)) + ordered["_group"].to_numpy() + 1.0
    ax = new_axes(ax, (6.0, 1.0 + 0.19 * (len(ordered) + len(names))))
    fixed = ordered["fixed"].to_numpy(dtype=bool)
    ends = ordered["ci_lower"], ordered["ci_upper"]
    forest(ax, list(ordered[row]), ordered["estimate"], *ends, places, filled=~fixed)
    heads = [places[(ordered["_group"] == number).to_numpy()].min() - 1.0 for number in range(len(names))]
    ax.set_yticks([*places, *heads], [*ordered[row], *names])
    for label in ax.get_yticklabels()[len(places) :]:
        label.set_fontweight("bold")
    ax.set_ylim(places.max() + 0.7, -0.7)
    clean(ax, "x")
    ax.spines["left"].set_visible(False)
    known = np.isfinite(ordered.loc[~fixed, "ci_lower"]).any()
    note(ax, f"{level_words(alpha)} intervals" if known else NO_ERRORS)
    return ax


def plot_slopes(table: pd.DataFrame, ax: Axes | None = None, alpha: float = 0.05) -> Axes:
    """Plot the slopes of each skill on the covariates, with intervals.

    Parameters
    ----------
    table : DataFrame
        The table ``fit.slope_table(alpha)``.
    ax : matplotlib Axes, optional
        By default those of a new figure that is as high as the rows need.
    alpha : float
        One minus the level of the intervals in the table.

    Returns
    -------
    matplotlib Axes
    """
    ax = grouped_forest(table, "skill", "term", ax, alpha)
    ax.set_xlabel("slope (units of the skill per unit of the covariate)")
    return ax
