"""Forests of parameters in groups, and of the slopes of skills."""

import numpy as np

from ..errors import DataError
from .style import ESTIMATE, NO_ERRORS, REFERENCE, clean, level_words, new_axes, note


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


def grouped_forest(table, group, row, ax=None, alpha=0.05):
    """Draw estimates with intervals in groups, the name of a group above its rows.

    Parameters
    ----------
    table : DataFrame
        With the columns ``group``, ``row``, estimate, ci_lower, ci_upper, fixed.
    group, row : str
        Columns that name a group and a row within it.
    ax : matplotlib Axes, optional
        A new figure as high as the rows need by default.
    alpha : float
        Of the table.

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
    # each group is one row lower than its rows alone would put it, for its name
    places = np.arange(len(ordered)) + ordered["_group"].to_numpy() + 1.0
    ax = new_axes(ax, (6.0, 1.0 + 0.19 * (len(ordered) + len(names))))
    fixed = ordered["fixed"].to_numpy(dtype=bool)
    forest(ax, list(ordered[row]), *(ordered[c] for c in ("estimate", "ci_lower", "ci_upper")), places, filled=~fixed)
    heads = [places[(ordered["_group"] == number).to_numpy()].min() - 1.0 for number in range(len(names))]
    ax.set_yticks([*places, *heads], [*ordered[row], *names])
    for label in ax.get_yticklabels()[len(places) :]:
        label.set_weight("bold")
    ax.set_ylim(places.max() + 0.7, -0.7)
    clean(ax, "x")
    ax.spines["left"].set_visible(False)
    known = np.isfinite(ordered.loc[~fixed, "ci_lower"]).any()
    note(ax, f"{level_words(alpha)} intervals" if known else NO_ERRORS)
    return ax


def plot_slopes(table, ax=None, alpha=0.05):
    """Plot slopes of skills on covariates, skill by skill, with intervals.

    Parameters
    ----------
    table : DataFrame
        Of ``fit.slope_table(alpha)``.
    ax : matplotlib Axes, optional
    alpha : float
        Of the table.

    Returns
    -------
    matplotlib Axes
    """
    ax = grouped_forest(table, "skill", "term", ax, alpha)
    ax.set_xlabel("slope (units of the skill per unit of the covariate)")
    return ax
