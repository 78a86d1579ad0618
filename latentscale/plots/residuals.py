"""Pictures of residuals: against fitted scores or covariates, against normal quantiles, and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from ..errors import DataError
from .scaling_curves import axis_label, log_axis
from .style import PALETTE, clean, level_words, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_DOTS, _LINE = PALETTE[0], PALETTE[1]
_QUARTILES = (-0.6745, 0.6745)


def plot_against(
    table: pd.DataFrame,
    column: str,
    smooth: pd.DataFrame | None,
    kind: str = "quantile",
    ax: Axes | None = None,
    alpha: float = 0.05,
    logged: bool = False,
) -> Axes:
    """Plot residuals against fitted scores or a covariate, with a smoother and its band.

    Parameters
    ----------
    table : DataFrame
        The table ``fit.residual_table``.
    column : str
        "fitted", or a numeric covariate.
    smooth : DataFrame or None
        The smoother, with the columns x, mean, lower and upper; None where there are too few points for one.
    kind : {"quantile", "pearson", "response"}
        Kind of the residuals.
    ax : matplotlib Axes, optional
        By default those of a new figure of 6.4 by 4.2 inches.
    alpha : float
        One minus the level of the bands.
    logged : bool
        Whether the axis of the covariate is logarithmic.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (6.4, 4.2))
    _reference(ax, kind, alpha, "y")
    ax.plot(table[column], table["residual"], "o", color=_DOTS, markersize=3, alpha=0.45, markeredgewidth=0, zorder=2)
    if smooth is not None:
        ax.fill_between(smooth["x"], smooth["lower"], smooth["upper"], color=_LINE, alpha=0.25, linewidth=0, zorder=3)
        label = f"local line, {level_words(alpha)} band"
        ax.plot(smooth["x"], smooth["mean"], color=_LINE, linewidth=1.8, label=label, zorder=4)
    if logged:
        log_axis(ax, "x", table[column])
    ax.set_xlabel("fitted score (fraction)" if column == "fitted" else axis_label(column))
    ax.set_ylabel(_unit(kind))
    if smooth is not None or kind != "response":
        ax.legend(fontsize=8.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    return clean(ax)


def plot_normal(order: pd.DataFrame, kind: str = "quantile", ax: Axes | None = None, alpha: float = 0.05) -> Axes:
    """Plot sorted residuals against normal quantiles, with the pointwise band of a normal sample.

    Parameters
    ----------
    order : DataFrame
        The table that ``latentscale.prediction.residual_tables.normal_order`` returns.
    kind : {"quantile", "pearson"}
        Kind of the residuals.
    ax : matplotlib Axes, optional
        By default those of a new figure of 5 by 4.6 inches.
    alpha : float
        One minus the level of the band.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (5.0, 4.6))
    label = f"{level_words(alpha)} band of a normal sample, pointwise"
    ax.fill_between(order["theoretical"], order["lower"], order["upper"], color="0.8", linewidth=0, label=label)
    ax.axline((0.0, 0.0), slope=1.0, color="0.4", linewidth=1.0, linestyle="--", zorder=2)
    out = (order["value"] < order["lower"]) | (order["value"] > order["upper"])
    for rows, colour, marker, words in ((~out, _DOTS, "o", "in the band"), (out, _LINE, "X", "out of it")):
        ax.plot(
            order["theoretical"][rows], order["value"][rows], marker, color=colour, markersize=3.2, markeredgewidth=0,
            label=f"{words} ({int(rows.sum())})", zorder=3,
        )  # fmt: skip
    ax.set_xlabel("standard normal quantile")
    ax.set_ylabel(_unit(kind))
    ax.legend(fontsize=8.5, frameon=False, loc="upper left")
    return clean(ax)


def plot_groups(
    table: pd.DataFrame, column: str = "benchmark", kind: str = "quantile", ax: Axes | None = None, alpha: float = 0.05
) -> Axes:
    """Plot the residuals of each group, with a box of their quartiles and whiskers to the 5th and 95th percentile.

    Parameters
    ----------
    table : DataFrame
        The table ``fit.residual_table``.
    column : str
        "benchmark", "family", or a covariate that is not numeric.
    kind : {"quantile", "pearson", "response"}
        Kind of the residuals.
    ax : matplotlib Axes, optional
        By default those of a new figure that is as high as the groups need.
    alpha : float
        One minus the level of the central part of a standard normal law, which is shaded.

    Returns
    -------
    matplotlib Axes
    """
    groups = list(dict.fromkeys(table[column]))
    ax = new_axes(ax, (6.4, 1.2 + 0.32 * len(groups)))
    _reference(ax, kind, alpha, "x")
    values = [table.loc[table[column] == group, "residual"].to_numpy() for group in groups]
    for place, residuals in enumerate(values):
        # dots are spread vertically by their rank and not at random, so that the picture is always the same
        spread = 0.28 * (((np.argsort(np.argsort(residuals)) * 0.618034) % 1.0) - 0.5) * 2.0
        ax.plot(residuals, place + spread, "o", color=_DOTS, markersize=2.5, alpha=0.35, markeredgewidth=0, zorder=2)
    ax.boxplot(
        values, positions=range(len(groups)), orientation="horizontal", widths=0.6, showfliers=False, whis=(5, 95),
        medianprops={"color": _LINE, "linewidth": 2.0}, manage_ticks=False, zorder=3,
    )  # fmt: skip
    ax.set_yticks(range(len(groups)), [f"{group} ({len(one)})" for group, one in zip(groups, values, strict=True)])
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, labelsize=9)
    ax.set_xlabel(_unit(kind))
    if kind != "response":
        ax.legend(fontsize=8.5, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    return clean(ax)


def _reference(ax: Axes, kind: str, alpha: float, axis: str) -> None:
    """Draw a line at zero and, for residuals that should be standard normal, shade the central part of that law."""
    line, band = (ax.axhline, ax.axhspan) if axis == "y" else (ax.axvline, ax.axvspan)
    line(0.0, color="0.4", linewidth=1.0, linestyle="--", zorder=1)
    if kind == "response":
        return
    half = stats.norm.isf(0.5 * alpha)
    band(-half, half, color="0.93", linewidth=0, zorder=0, label=f"{level_words(alpha)} of a standard normal")
    if axis == "x":
        band(*_QUARTILES, color="0.84", linewidth=0, zorder=0.5, label="its half in the middle")


def _unit(kind: str) -> str:
    """Return the label of the axis of residuals."""
    return {
        "quantile": "quantile residual (standard normal)",
        "pearson": "Pearson residual (standard deviations)",
        "response": "residual (fraction of the score)",
    }[kind]


def check_against(table: pd.DataFrame, against: str, kind: str) -> str:
    """Check what residuals are to be drawn against, and return how: "qq", "groups" or "numbers".

    Raises
    ------
    DataError
        If the table has no such column, or response residuals are to be compared with normal quantiles.
    """
    columns = [name for name in table.columns if name not in ("llm", "residual")]
    if against == "qq":
        if kind == "response":
            raise DataError("Response residuals are not standard normal under any model: take kind='quantile'.")
        return "qq"
    if against not in columns:
        raise DataError(f"against is 'qq' or one of {columns}, not {against!r}.")
    numeric = table[against].dtype.kind in "fiu"
    return "numbers" if numeric else "groups"
