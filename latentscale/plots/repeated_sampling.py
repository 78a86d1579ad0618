"""Picture of pass@k, the probability that an LLM solves an item in at least one of k tries, as a function of k."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_names
from .style import PALETTE, clean, new_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

MOST = 6  # LLMs that are shown by default
_MARKERS = "osD^vPX*"


def plot_pass_at_k(
    curves: pd.DataFrame,
    llms: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    alpha: float = 0.05,
    tries: int | None = None,
) -> Axes:
    """Plot curves of pass@k with their bands, and the observed unbiased estimates as points.

    Bands are those of the expected pass@k. Estimates scatter about it also because tries are random, most where k is
    near the number of tries; ``obs_ci_lower`` and ``obs_ci_upper`` of the curves include that scatter.

    Parameters
    ----------
    curves : DataFrame
        The table ``RepeatedSamplingResults.pass_at_k``.
    llms : sequence of str, optional
        LLMs to plot; by default up to six, evenly spread from the best to the worst at the largest k.
    ax : matplotlib Axes, optional
        By default those of a new figure of 7 by 4.5 inches.
    alpha : float
        One minus the level of the bands in ``curves``, which the legend names.
    tries : int, optional
        Largest number of tries in the data; a line shows that curves are extrapolated beyond it.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If an LLM has no curve.
    """
    llms = _chosen(curves, llms)
    ax = new_axes(ax, (7.0, 4.5))
    for number, llm in enumerate(llms):
        curve, colour = curves[curves["llm"] == llm], PALETTE[number % len(PALETTE)]
        new = "" if curve["observed"].notna().any() else " (not in the table)"
        marker = "" if new else _MARKERS[number % len(_MARKERS)]
        dots: dict[str, Any] = {"markersize": 5.0, "markeredgecolor": "white", "markeredgewidth": 0.5}
        style = "--" if new else "-"
        ax.plot(curve["k"], curve["mean"], color=colour, linestyle=style)
        ax.plot([], [], color=colour, linestyle=style, marker=marker, label=f"{llm}{new}", **dots)
        low, high = curve["mean_ci_lower"], curve["mean_ci_upper"]
        ax.fill_between(curve["k"], low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(curve["k"], curve["observed"], color=colour, marker=marker, linestyle="", zorder=3, **dots)
    ax.set_xscale("log")
    ax.set_ylim(0.0, 1.0)
    ax.set_xlabel("k (tries)")
    ax.set_ylabel("pass@k")
    if tries is not None and curves["k"].max() > tries:
        ax.axvline(tries, color="0.6", linewidth=0.8, zorder=0)
        ax.annotate(
            "most tries made", (tries, 0.0), xytext=(-3, 4), textcoords="offset points", rotation=90, ha="right",
            va="bottom", fontsize=8, color="0.35",
        )  # fmt: skip
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= curves["k"].max()]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    title = f"line, band: expected, {100 * (1 - alpha):g}%\npoints: unbiased estimates"
    ax.legend(
        title=title, title_fontsize=8.5, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False,
        alignment="left",
    )  # fmt: skip
    return clean(ax)


def _chosen(curves: pd.DataFrame, llms: str | Sequence[str] | None) -> list[str]:
    """Return the LLMs to plot, see ``plot_pass_at_k``."""
    known = list(dict.fromkeys(curves["llm"]))
    if llms is not None:
        return check_names("llms", llms, known, "LLMs with curves")
    last = curves[curves["k"] == curves["k"].max()].set_index("llm")["mean"].sort_values(ascending=False)
    if len(last) <= MOST:
        return list(last.index)
    return list(last.index[np.unique(np.linspace(0, len(last) - 1, MOST).round().astype(int))])
