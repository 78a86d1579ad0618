"""Forests of parameters in groups, and of the slopes of skills."""

import numpy as np

from ..errors import DataError
from .style import NO_ERRORS, clean, forest, level_words, new_axes, note


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
