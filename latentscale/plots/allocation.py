"""Isoquants of a target over size and training tokens, with budgets, optimal allocations and the LLMs of the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from .scaling_surface import level_colours
from .style import PALETTE, clean, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ..planning.allocation import Allocation
    from ..planning.budget_optima import DataRange

_BUDGET, _OPTIMUM, _LLM = "0.45", PALETTE[1], "0.55"
_GRID = 61  # points of the surface's grid in each direction
_FEW = 5  # with more optima than this, the isoquants through them are not drawn
_ROOM = 1.6  # the axes extend beyond the outermost points by this factor


def plot_allocation(plan: Allocation, ax: Axes | None = None, alpha: float = 0.05, levels: int = 9) -> Axes:
    """Plot the isoquants of a target, the lines of the budgets, and the optimal allocation of each budget.

    Isoquants are the contours of the estimated target. Those through interior optima touch the budget's line there;
    they are drawn dotted if there are few. The dashed line of a budget contains its pairs of size and tokens, the dot
    on it is the optimum, hollow if that is at a bound, and the thick piece is its confidence interval. The dotted box
    contains the LLMs of the fit; outside of it everything is extrapolated.

    Parameters
    ----------
    plan : Allocation
        The result of ``compute_optimal``.
    ax : matplotlib Axes, optional
        By default those of a new figure of 7 by 5.6 inches.
    alpha : float
        One minus the level of the intervals.
    levels : int
        Approximate number of isoquants, at least 2.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If ``levels`` is below 2.
    """
    if levels < 2:
        raise DataError(f"levels, about how many isoquants are drawn, is at least 2; got {levels!r}.")
    ax = new_axes(ax, (7.0, 5.6))
    frame = plan.summary_frame(alpha)
    limits = _limits(plan, frame)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    _isoquants(ax, plan, limits, levels, frame["value"][frame["corner"] == "interior"])
    ax.plot(plan.data.size, plan.data.tokens, "o", color=_LLM, markersize=3.5, label="LLMs of the fit", zorder=3)
    _box(ax, plan.data)
    _budgets(ax, plan, limits)
    _optima(ax, plan, frame, alpha)
    ax.set_xlabel("size (billions of parameters)")
    ax.set_ylabel("training tokens (trillions)")
    _plain_numbers(ax.xaxis, ax.yaxis)
    ax.set_title(f"{plan.target}: {plan.unit}", fontsize=10, loc="left")
    # the legend is below the axes, where it hides no data
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False)
    return clean(ax)


def _plain_numbers(*axes: Any) -> None:
    """Write the ticks of logarithmic axes as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in axes:
        axis.set_major_locator(LogLocator(numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(NullFormatter())


def _limits(plan: Allocation, frame: pd.DataFrame) -> list[tuple[float, float]]:
    """Return the ends of both axes, which contain the data and the optima with some room."""
    out = []
    for name, values in (("size", plan.data.size), ("tokens", plan.data.tokens)):
        shown = np.concatenate([values, frame[name]])
        out.append((shown.min() / _ROOM, shown.max() * _ROOM))
    return out


def _isoquants(ax: Axes, plan: Allocation, limits: list[tuple[float, float]], levels: int, optimal: pd.Series) -> None:
    """Draw the isoquants, and those through the optima, at which the target is ``optimal``."""
    size, tokens = (np.geomspace(low, high, _GRID) for low, high in limits)
    values = plan.surface(size[None, :], tokens[:, None])
    if np.ptp(values) == 0.0:
        return
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(levels).tick_values(values.min(), values.max())
    contours = ax.contour(size, tokens, values, levels=ticks, cmap=level_colours(), linewidths=1.2, zorder=1)
    ax.clabel(contours, fontsize=8, fmt=lambda value: f"{value:.3g}")
    through = np.unique(optimal)
    if 0 < len(through) <= _FEW:
        ax.contour(size, tokens, values, through, colors=[_OPTIMUM], linestyles="dotted", linewidths=1.2, zorder=1)


def _box(ax: Axes, data: DataRange) -> None:
    """Draw the range of the LLMs' sizes and tokens."""
    x, y = ((values.min(), values.max()) for values in (data.size, data.tokens))
    ax.plot(
        [x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], ":", color=_LLM, linewidth=1.0,
        label="their range", zorder=2,
    )  # fmt: skip


def _budgets(ax: Axes, plan: Allocation, limits: list[tuple[float, float]]) -> None:
    """Draw the line of each budget, with its FLOPs."""
    (smallest, largest), (fewest, most) = limits
    for number, row in enumerate(plan.rows):
        # with costs of inference a line falls ever more steeply, so points are evenly spaced in size and also in tokens
        by_tokens = row.line.size(np.geomspace(fewest, most, 200))
        size = np.sort(np.concatenate([np.geomspace(smallest, largest, 200), by_tokens]))
        tokens = row.line.tokens(np.log(size))
        shown = (size >= smallest) & (size <= largest) & (tokens > 0.999 * fewest)
        shown &= tokens < 1.001 * most
        if not shown.any():
            continue
        size, tokens = size[shown], tokens[shown]
        label = "budget" if number == 0 else None
        ax.plot(size, tokens, "--", color=_BUDGET, linewidth=0.9, label=label, zorder=2)
        at = len(size) // 16  # near the upper left end of the line
        ax.annotate(
            _power(row.line.flops), (size[at], tokens[at]), fontsize=8, color="0.25", ha="left", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.9}, zorder=4,
        )  # fmt: skip


def _power(flops: float) -> str:
    """Return a number of FLOPs such as 3 x 10^22 in matplotlib's mathtext."""
    exponent = int(np.floor(np.log10(flops) + 1e-12))
    mantissa = flops / 10.0**exponent
    front = "" if abs(mantissa - 1.0) < 5e-3 else rf"{mantissa:.3g} \times "
    return rf"${front}10^{{{exponent}}}$ FLOPs"


def _optima(ax: Axes, plan: Allocation, frame: pd.DataFrame, alpha: float) -> None:
    """Draw the optimum of each budget with its interval; ``frame`` is ``plan.summary_frame(alpha)``."""
    level = f"{100.0 * (1.0 - alpha):g}%"
    labelled = False
    for row, (_, numbers) in zip(plan.rows, frame.iterrows(), strict=True):
        ends = numbers[["size_ci_lower", "size_ci_upper"]].to_numpy(dtype=float)
        if np.isfinite(ends).all():
            u = np.linspace(np.log(ends[0]), np.log(ends[1]), 50)
            ax.plot(
                np.exp(u), row.line.tokens(u), color=_OPTIMUM, linewidth=5.0, alpha=0.35, solid_capstyle="round",
                label=None if labelled else f"{level} interval of the optimum", zorder=4,
            )  # fmt: skip
            labelled = True
    ax.plot(frame["size"], frame["tokens"], color=_OPTIMUM, linewidth=1.2, zorder=5)
    inner = frame["corner"] == "interior"
    for where, face, label in ((inner, _OPTIMUM, "optimum"), (~inner, "white", "optimum at a bound")):
        if where.any():
            ax.plot(
                frame["size"][where], frame["tokens"][where], "o", color=_OPTIMUM, markerfacecolor=face, markersize=7,
                label=label, zorder=6,
            )  # fmt: skip
