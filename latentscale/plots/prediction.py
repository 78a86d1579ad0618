"""Picture of predicted scores with their intervals against observed scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from .style import PALETTE, clean, level_words, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_INSIDE, _OUTSIDE = PALETTE[0], PALETTE[1]
_MANY = 400  # more intervals than this are drawn as thin lines


def plot_prediction(table: pd.DataFrame, ax: Axes | None = None, alpha: float = 0.05, title: str | None = None) -> Axes:
    """Plot predicted scores with their intervals against observed ones.

    Parameters
    ----------
    table : DataFrame
        The table ``fit.prediction_table``, with the columns score, mean, obs_ci_lower, obs_ci_upper and inside.
    ax : matplotlib Axes, optional
        By default those of a new figure of 5.6 by 5 inches.
    alpha : float
        One minus the level of the intervals in the table, which the legend names.
    title : str, optional
        By default there is none.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the table has no row.
    """
    if not len(table):
        raise DataError("There is no observed score to compare predictions with.")
    ax = new_axes(ax, (5.6, 5.0))
    many = len(table) > _MANY
    share = f"{level_words(alpha)} intervals: {table['inside'].mean():.1%} of {len(table)} scores inside"
    ends = table[["score", "mean", "obs_ci_lower", "obs_ci_upper"]].to_numpy(dtype=float)
    room = 0.02 * (np.nanmax(ends) - np.nanmin(ends)) + 1e-6
    limits = (np.nanmin(ends) - room, np.nanmax(ends) + room)
    ax.axline((limits[0], limits[0]), slope=1.0, color="0.5", linewidth=1.0, linestyle="--", zorder=1)
    inside = table["inside"].to_numpy(dtype=bool)
    for rows, colour, marker, label in ((inside, _INSIDE, "o", "inside"), (~inside, _OUTSIDE, "X", "outside")):
        chosen = table[rows]
        if not len(chosen):
            continue
        ax.vlines(
            chosen["score"], chosen["obs_ci_lower"], chosen["obs_ci_upper"], color=colour,
            linewidth=0.6 if many else 1.2, alpha=0.25 if many and label == "inside" else 0.6, zorder=2,
        )  # fmt: skip
        size = 2.2 if many else 4.5
        ax.plot(
            chosen["score"], chosen["mean"], marker, color=colour,
            markersize=size * (1.8 if label == "outside" else 1.0), markeredgewidth=0.3, markeredgecolor="white",
            label=f"{label} ({len(chosen)})", zorder=3,
        )  # fmt: skip
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.set_xlabel("observed score (fraction)")
    ax.set_ylabel("predicted score (fraction), with interval")
    if title:
        ax.set_title(title, fontsize=10, loc="left")
    ax.legend(title=share, title_fontsize=8.5, fontsize=8.5, loc="upper left", frameon=False, alignment="left")
    return clean(ax)
