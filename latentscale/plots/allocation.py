"""Isoquants of a target over size and tokens, with budgets, optimal allocations and the LLMs of the fit."""

import numpy as np

from ..errors import DataError
from .scaling_surface import level_colours
from .style import PALETTE, clean, new_axes

_BUDGET, _OPTIMUM, _LLM = "0.45", PALETTE[1], "0.55"
_GRID = 61  # points a side of the surface
_FEW = 5  # optima whose isoquants are drawn
_ROOM = 1.6  # factor between what is shown and the axes' ends


def plot_allocation(plan, ax=None, alpha=0.05, levels=9):
    """Plot where a target is constant, what budgets buy, and where each budget is spent best.

    Isoquants are contours of the target at the estimate; those through interior optima, drawn dotted where optima are
    few, touch their budget's line there. A dashed line is a budget; on it a dot is the optimum, hollow
    at a corner, and the thick piece its interval. The dotted box holds the LLMs of the fit; outside it everything
    extrapolates.

    Parameters
    ----------
    plan : Allocation
    ax : matplotlib Axes, optional
        A new figure of 7 by 5.6 inches by default.
    alpha : float
        One minus the level of the intervals.
    levels : int
        Isoquants, about; at least 2.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If ``levels`` is too small.
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
    # under the axes, where no data can be
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False)
    return clean(ax)


def _plain_numbers(*axes):
    """Write the ticks of logarithmic axes as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in axes:
        axis.set_major_locator(LogLocator(numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(NullFormatter())


def _limits(plan, frame):
    """Ranges of both axes: the data and the optima, with some room."""
    out = []
    for name, values in (("size", plan.data.size), ("tokens", plan.data.tokens)):
        shown = np.concatenate([values, frame[name]])
        out.append((shown.min() / _ROOM, shown.max() * _ROOM))
    return out


def _isoquants(ax, plan, limits, levels, optimal):
    size, tokens = (np.geomspace(*ends, _GRID) for ends in limits)
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


def _box(ax, data):
    x, y = ((values.min(), values.max()) for values in (data.size, data.tokens))
    ax.plot(
        [x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], ":", color=_LLM, linewidth=1.0,
        label="their range", zorder=2,
    )  # fmt: skip


def _budgets(ax, plan, limits):
    for number, row in enumerate(plan.rows):
        # with inference a line falls ever more steeply: points even in size and points even in tokens
        by_tokens = row.line.size(np.geomspace(*limits[1], 200))
        size = np.sort(np.concatenate([np.geomspace(*limits[0], 200), by_tokens]))
        tokens = row.line.tokens(np.log(size))
        shown = (size >= limits[0][0]) & (size <= limits[0][1]) & (tokens > 0.999 * limits[1][0])
        shown &= tokens < 1.001 * limits[1][1]
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


def _power(flops):
    """FLOPs such as 3 x 10^22, in mathtext."""
    exponent = int(np.floor(np.log10(flops) + 1e-12))
    mantissa = flops / 10.0**exponent
    front = "" if abs(mantissa - 1.0) < 5e-3 else rf"{mantissa:.3g} \times "
    return rf"${front}10^{{{exponent}}}$ FLOPs"


def _optima(ax, plan, frame, alpha):
    level = f"{100.0 * (1.0 - alpha):g}%"
    labelled = False
    for row, (_, numbers) in zip(plan.rows, frame.iterrows(), strict=True):
        ends = numbers[["size_ci_lower", "size_ci_upper"]].to_numpy(dtype=float)
        if np.isfinite(ends).all():
            u = np.linspace(*np.log(ends), 50)
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
