"""Benchmark characteristic curves: expected scores as functions of the linear predictor or of a skill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from .style import PALETTE, REFERENCE, clean, level_words, new_axes, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

PREDICTOR = "linear predictor (logits)"
_COLUMNS = 4  # panels in a row of a figure


def plot_curve(
    curve: pd.DataFrame,
    points: pd.DataFrame,
    asymptotes: pd.Series,
    ax: Axes | None = None,
    alpha: float = 0.05,
    xlabel: str = PREDICTOR,
    legend: bool = True,
    dots: str = "LLMs",
) -> Axes:
    """Plot the characteristic curve of one benchmark, with its asymptotes and the observed scores.

    Parameters
    ----------
    curve, points : DataFrame
        The rows for one benchmark of ``fit.characteristic_curves()`` and of ``fit.curve_points()``.
    asymptotes : Series
        ``lower`` and ``upper``, the row for the benchmark of ``fit.asymptotes``.
    ax : matplotlib Axes, optional
        By default those of a new figure of 5.4 by 4 inches.
    alpha : float
        One minus the level of the bands in ``curve``.
    xlabel : str
        Label of the horizontal axis.
    legend : bool
        Whether to draw a legend.
    dots : str
        Name of the observed scores in the legend.

    Returns
    -------
    matplotlib Axes
    """
    ax, at, level = new_axes(ax, (5.4, 4.0)), curve["at"], level_words(alpha)
    ax.fill_between(
        at, curve["score_lower"], curve["score_upper"], color=REFERENCE, alpha=0.22, linewidth=0,
        label=f"{level} of scores", zorder=1,
    )  # fmt: skip
    known = np.isfinite(curve["mean_se"]).all()
    if known and (curve["mean_se"] > 0.0).any():
        ax.fill_between(
            at, curve["mean_ci_lower"], curve["mean_ci_upper"], color=PALETTE[0], alpha=0.35, linewidth=0,
            label=f"{level} band of the curve", zorder=2,
        )  # fmt: skip
    ax.plot(at, curve["mean"], color=PALETTE[0], linewidth=1.6, label="expected score", zorder=4)
    for number, value in enumerate(asymptotes):
        ax.axhline(value, color="0.4", linewidth=0.9, linestyle=":", label=None if number else "asymptotes", zorder=2)
    for rows, face, label in ((~points["boundary"], "0.25", dots), (points["boundary"], "white", "score of 0 or 1")):
        if rows.any():
            ax.plot(
                points["at"][rows], points["score"][rows], "o", color="0.25", markerfacecolor=face, markersize=2.8,
                markeredgewidth=0.6, label=label, zorder=3,
            )  # fmt: skip
    ax.set(xlabel=xlabel, ylabel="score", ylim=(-0.03, 1.03), xlim=(at.min(), at.max()))
    if not known:
        note(ax, "no standard errors: no band")
    elif not (curve["mean_se"] > 0.0).any():
        note(ax, "form of the curve fixed: no band")
    ax.set_title(str(curve["benchmark"].iloc[0]), fontsize=10, loc="left")
    if legend:
        ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    return clean(ax)


def plot_curves(
    curves: pd.DataFrame,
    points: pd.DataFrame,
    asymptotes: pd.DataFrame,
    axes: Sequence[Axes] | np.ndarray | None = None,
    alpha: float = 0.05,
    xlabel: str = PREDICTOR,
    dots: str = "LLMs",
) -> np.ndarray:
    """Plot the characteristic curves of several benchmarks, one panel for each.

    Parameters
    ----------
    curves, points, asymptotes : DataFrame
        As for ``plot_curve``, with rows for all benchmarks that are shown; asymptotes are indexed by benchmark.
    axes : sequence of matplotlib Axes, optional
        One for each benchmark; by default those of a new figure with a panel for each.
    alpha : float
        One minus the level of the bands in ``curves``.
    xlabel, dots : str
        As for ``plot_curve``.

    Returns
    -------
    array of matplotlib Axes, one for each benchmark

    Raises
    ------
    DataError
        If the number of axes is not that of the benchmarks.
    """
    names = list(dict.fromkeys(curves["benchmark"]))
    given = axes is not None
    panels = np.atleast_1d(np.asarray(axes, dtype=object)).ravel() if given else _panels(len(names))
    if len(panels) != len(names):
        raise DataError(f"{len(names)} benchmarks need as many axes, one each; got {len(panels)}.")
    for name, ax in zip(names, panels, strict=True):
        curve, observed = curves[curves["benchmark"] == name], points[points["benchmark"] == name]
        plot_curve(curve, observed, asymptotes.loc[name], ax, alpha, xlabel, False, dots)
    if not given:
        _share_labels(panels, xlabel)
    return panels


def _panels(count: int) -> np.ndarray:
    """Return the axes (count,) of a new figure of panels."""
    from matplotlib import pyplot

    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    size = (2.3 * columns + 0.5, 2.0 * rows + 0.8)
    _, axes = pyplot.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for spare in axes.ravel()[count:]:
        spare.remove()
    return axes.ravel()[:count]


def _share_labels(axes: np.ndarray, xlabel: str) -> None:
    """Give all panels of a figure one legend and one label of the axis, and show each remark only once."""
    figure, remarks = axes[0].figure, set()
    for number, ax in enumerate(axes):
        # only the lowest panel of each column keeps the label of the horizontal axis
        ax.set_xlabel(xlabel.replace(", ", ",\n") if number + _COLUMNS >= len(axes) else "", fontsize=8)
        if number % _COLUMNS:
            ax.set_ylabel("")
        for text in ax.texts:
            remarks.add(text.get_text())
            text.set_visible(False)
    handles: dict[str, Any] = {}
    for ax in axes:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    title = "; ".join(sorted(remarks))
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False,
        title=title or None, title_fontsize=8,
    )  # fmt: skip
