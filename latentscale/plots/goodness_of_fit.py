"""Picture of goodness of fit: each statistic on the law that it has over simulated tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import PALETTE, clean, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def plot_goodness_of_fit(table: pd.DataFrame, simulated: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Plot statistics in standard deviations of their simulated laws, with these laws beneath.

    Parameters
    ----------
    table : DataFrame
        ``GoodnessOfFit.table``.
    simulated : DataFrame
        ``GoodnessOfFit.simulated``.
    ax : matplotlib Axes, optional
        By default those of a new figure whose height grows with the number of aspects.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (7.4, 1.1 + 0.45 * len(table)))
    names = list(table.index)[::-1]
    for place, name in enumerate(names):
        law, value = simulated[name].to_numpy(), table.loc[name, "statistic"]
        sd = law.std() or 1.0
        z = (law - law.mean()) / sd
        jitter = np.linspace(-0.18, 0.18, len(z))
        ax.plot(z, place + jitter, ".", color="0.75", markersize=2.5, zorder=1, rasterized=len(z) > 2000)
        low, high = np.quantile(z, [0.0, 0.95])
        ax.plot([low, high], [place, place], color="0.35", linewidth=1.2, zorder=2)
        bad = table.loc[name, "p_holm"] <= 0.05
        ax.plot((value - law.mean()) / sd, place, "D", color=PALETTE[1] if bad else PALETTE[0], markersize=6, zorder=3)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("s.d. from the mean of simulated tables")
    for label, marker, color in (
        ("simulated, line to the 95% point", ".", "0.75"),
        ("data", "D", PALETTE[0]),
        ("data, rejected after Holm", "D", PALETTE[1]),
    ):
        ax.plot([], [], linestyle="", label=label, marker=marker, color=color)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8, handletextpad=0.1)
    clean(ax)
    return ax
