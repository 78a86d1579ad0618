"""Benchmark characteristic curves: expected scores against the linear predictor or a skill."""

import numpy as np

from ..errors import DataError
from .style import PALETTE, REFERENCE, clean, level_words, new_axes, note

PREDICTOR = "linear predictor (logits)"
_COLUMNS = 4  # panels beside each other


def plot_curve(
    curve, points, asymptotes, ax=None, alpha=0.05, xlabel=PREDICTOR, legend=True, dots="LLMs",
):  # fmt: skip
    """Plot the characteristic curve of one benchmark, with its asymptotes and the observed scores.

    Parameters
    ----------
    curve, points : DataFrame
        Rows of one benchmark of ``fit.characteristic_curves()`` and of ``fit.curve_points()``.
    asymptotes : Series
        ``lower`` and ``upper``, the row of ``fit.asymptotes``.
    ax : matplotlib Axes, optional
    alpha : float
        Of the curve.
    xlabel : str
    legend : bool
    dots : str
        What the legend calls the observed scores.

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


def plot_curves(curves, points, asymptotes, axes=None, alpha=0.05, xlabel=PREDICTOR, dots="LLMs"):
    """Plot characteristic curves of several benchmarks, a panel each.

    Parameters
    ----------
    curves, points, asymptotes : DataFrame
        As for ``plot_curve``, of all benchmarks that are shown, the asymptotes by benchmark.
    axes : sequence of matplotlib Axes, optional
        One for each benchmark; a new figure of panels by default.
    alpha : float
    xlabel, dots : str

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
    axes = np.atleast_1d(axes).ravel() if given else _panels(len(names))
    if len(axes) != len(names):
        raise DataError(f"{len(names)} benchmarks need as many axes, one each; got {len(axes)}.")
    for name, ax in zip(names, axes, strict=True):
        own, seen = curves[curves["benchmark"] == name], points[points["benchmark"] == name]
        plot_curve(own, seen, asymptotes.loc[name], ax, alpha, xlabel, False, dots)
    if not given:
        _tidy(axes, xlabel)
    return axes


def _panels(count):
    from matplotlib import pyplot

    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    size = (2.3 * columns + 0.5, 2.0 * rows + 0.8)
    _, axes = pyplot.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for spare in axes.ravel()[count:]:
        spare.remove()
    return axes.ravel()[:count]


def _tidy(axes, xlabel):
    """One legend and one name for all panels, and each remark only once."""
    figure, remarks = axes[0].figure, set()
    for number, ax in enumerate(axes):
        # the lowest panel of each column names the axis
        ax.set_xlabel(xlabel.replace(", ", ",\n") if number + _COLUMNS >= len(axes) else "", fontsize=8)
        if number % _COLUMNS:
            ax.set_ylabel("")
        for text in ax.texts:
            remarks.add(text.get_text())
            text.set_visible(False)
    handles = {}
    for ax in axes:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    title = "; ".join(sorted(remarks))
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False,
        title=title or None, title_fontsize=8,
    )  # fmt: skip
