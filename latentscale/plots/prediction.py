"""Prediction intervals beside the scores that came true."""

import numpy as np

from ..errors import DataError
from .style import PALETTE, clean, level_words, new_axes

_INSIDE, _OUTSIDE = PALETTE[0], PALETTE[1]
_MANY = 400  # intervals beyond which they are drawn thin


def plot_prediction(table, ax=None, alpha=0.05, title=None):
    """Plot predicted scores with their intervals against observed ones.

    Parameters
    ----------
    table : DataFrame
        Of ``fit.prediction_table``: score, mean, obs_ci_lower, obs_ci_upper, inside.
    ax : matplotlib Axes, optional
        A new figure of 5.6 by 5 inches by default.
    alpha : float
        One minus the level of the intervals, for the legend's words.
    title : str, optional

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
        part = table[rows]
        if not len(part):
            continue
        ax.vlines(
            part["score"], part["obs_ci_lower"], part["obs_ci_upper"], color=colour,
            linewidth=0.6 if many else 1.2, alpha=0.25 if many and label == "inside" else 0.6, zorder=2,
        )  # fmt: skip
        size = 2.2 if many else 4.5
        ax.plot(
            part["score"], part["mean"], marker, color=colour, markersize=size * (1.8 if label == "outside" else 1.0),
            markeredgewidth=0.3, markeredgecolor="white", label=f"{label} ({len(part)})", zorder=3,
        )  # fmt: skip
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.set_xlabel("observed score (fraction)")
    ax.set_ylabel("predicted score (fraction), with interval")
    if title:
        ax.set_title(title, fontsize=10, loc="left")
    ax.legend(title=share, title_fontsize=8.5, fontsize=8.5, loc="upper left", frameon=False, alignment="left")
    return clean(ax)
