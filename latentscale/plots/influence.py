"""Picture of influence: the units whose absence moves estimates most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import ESTIMATE, clean, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MOST = 20


def plot_influence(values: pd.Series, words: str, ax: Axes | None = None) -> Axes:
    """Plot the largest of some values, by absolute size, as horizontal bars with the largest at the top.

    Parameters
    ----------
    values : Series
        By unit.
    words : str
        What they are, for the axis.
    ax : matplotlib Axes, optional
        By default those of a new figure whose height grows with the number of bars.

    Returns
    -------
    matplotlib Axes
    """
    chosen = values.reindex(values.abs().sort_values(ascending=False).index[:_MOST])[::-1]
    ax = new_axes(ax, (6.4, 0.9 + 0.24 * len(chosen)))
    ax.barh([str(name) for name in chosen.index], chosen.to_numpy(), color=ESTIMATE, height=0.7)
    ax.axvline(0.0, color="0.3", linewidth=0.8)
    ax.set_xlabel(words)
    ax.margins(y=0.01)
    return clean(ax, "x")
