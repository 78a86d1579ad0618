"""Level curves of a skill or an expected score as a function of size and number of training tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from .scaling_curves import axis_label, log_axis
from .style import clean, level_words, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap

_FLOPS_PER_UNIT = 6e21  # FLOPs = 6 N D, with N in billions of parameters and D in trillions of tokens


def plot_surface(
    surface: pd.DataFrame,
    llms: pd.DataFrame,
    corners: np.ndarray,
    words: str,
    ax: Axes | None = None,
    alpha: float = 0.05,
    levels: int = 7,
) -> Axes:
    """Plot level curves with bands, the LLMs of the fit, lines of equal FLOPs, and the region without LLMs.

    The band of a level contains the points whose value does not differ significantly from it at level alpha. Where the
    band is wide, the size and the number of tokens that reach the value are known poorly. Outside of the convex hull of
    the LLMs, which is hatched, the curves are extrapolated.

    Parameters
    ----------
    surface : DataFrame
        The table ``fit.scaling_surface``, with size and tokens in its first two columns, on a grid.
    llms : DataFrame
        Size and tokens of the LLMs, in columns of the same names.
    corners : array (m, 2)
        Corners of the convex hull of the LLMs.
    words : str
        Title of the picture.
    ax : matplotlib Axes, optional
        By default those of a new figure of 7 by 5.4 inches.
    alpha : float
        Level of the tests that give the bands.
    levels : int
        Approximate largest number of level curves; fewer are drawn where their bands would overlap.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (7.0, 5.4))
    names = list(surface.columns[:2])
    size, tokens = (np.unique(surface[name]) for name in names)
    mean, se = (surface[name].to_numpy().reshape(len(tokens), len(size)) for name in ("mean", "mean_se"))
    inside = surface["inside"].to_numpy().reshape(mean.shape)
    log_axis(ax, "x", size)
    log_axis(ax, "y", tokens)
    ax.set_xlim(size[0], size[-1])
    ax.set_ylim(tokens[0], tokens[-1])
    if np.ptp(mean) > 0.0:
        _levels(ax, size, tokens, (mean, se), _ticks(mean, se, inside, levels, alpha), alpha)
    _flops(ax, size, tokens)
    _beyond(ax, corners)
    ax.plot(llms[names[0]], llms[names[1]], "o", color="black", markersize=3, label="LLMs of the fit", zorder=5)
    ax.fill([], [], color="0.6", alpha=0.45, label=f"band: {level_words(alpha)}, where the level may run")
    ax.plot([], [], color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), label="equal FLOPs")
    ax.fill([], [], facecolor="0.85", edgecolor="0.6", hatch="////", linewidth=0, label="beyond the LLMs")
    ax.set_xlabel(axis_label(names[0]))
    ax.set_ylabel(axis_label(names[1]))
    ax.set_title(words, fontsize=10, loc="left")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)
    return clean(ax)


def level_colours() -> ListedColormap:
    """Return the colour map of level curves, viridis without its yellow, which is faint on white paper."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.85, 256)), "levels")


def _ticks(mean: np.ndarray, se: np.ndarray, inside: np.ndarray, levels: int, alpha: float) -> np.ndarray:
    """Return levels that are so far apart that their bands do not overlap for most of the surface."""
    rows = inside if inside.any() else np.ones_like(inside)
    shown, width = mean[rows], 2.0 * stats.norm.isf(0.5 * alpha) * np.quantile(se[rows], 0.75)
    room = levels if width == 0.0 else int(np.clip(np.ptp(shown) / width, 2, levels))
    from matplotlib.ticker import MaxNLocator

    return np.asarray(MaxNLocator(room).tick_values(shown.min(), shown.max()))


def _levels(
    ax: Axes,
    size: np.ndarray,
    tokens: np.ndarray,
    values: tuple[np.ndarray, np.ndarray],
    ticks: np.ndarray,
    alpha: float,
) -> None:
    """Draw the level curves at ``ticks`` with their bands; ``values`` are the surface and its standard errors."""
    mean, se = values
    quantile = stats.norm.isf(0.5 * alpha)
    lines = ax.contour(size, tokens, mean, levels=ticks, cmap=level_colours(), linewidths=1.5, zorder=4)
    if np.all(se > 0.0):
        for tick in ticks:
            # the distance from the level in standard errors is below the normal quantile
            colour = lines.cmap(lines.norm(tick))
            ax.contourf(
                size, tokens, np.abs(mean - tick) / se, levels=[-1e-9, quantile], colors=[colour], alpha=0.22, zorder=3
            )  # fmt: skip
    for text in ax.clabel(lines, fontsize=8, fmt=lambda value: f"{value:.3g}", colors="black"):
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8})


def _flops(ax: Axes, size: np.ndarray, tokens: np.ndarray) -> None:
    """Draw a line of equal FLOPs for each power of ten within the axes."""
    low, high = np.log10(_FLOPS_PER_UNIT * size[0] * tokens[0]), np.log10(_FLOPS_PER_UNIT * size[-1] * tokens[-1])
    for power in range(int(np.ceil(low)), int(high) + 1):
        product = 10.0**power / _FLOPS_PER_UNIT
        ends = np.array([max(size[0], product / tokens[-1]), min(size[-1], product / tokens[0])])
        if ends[1] < 1.5 * ends[0]:
            continue
        ax.plot(ends, product / ends, color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), zorder=2)
        at = ends[0] * 1.05
        ax.annotate(
            rf"$10^{{{power}}}$", (at, product / at), fontsize=7.5, color="0.35", ha="left", va="top",
            xytext=(1, -1), textcoords="offset points", zorder=6, annotation_clip=True,
        )  # fmt: skip


def _beyond(ax: Axes, corners: np.ndarray) -> None:
    """Hatch the region outside of the convex hull of the LLMs, a rectangle with the hull as a hole."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    frame = np.array([[left, low], [left, high], [right, high], [right, low], [left, low]])
    closed = np.vstack([corners, corners[:1]])
    codes = [[Path.MOVETO] + [Path.LINETO] * (len(ring) - 2) + [Path.CLOSEPOLY] for ring in (frame, closed)]
    path = Path(np.vstack([frame, closed]), np.concatenate(codes))
    shade = PathPatch(path, facecolor=(0.85, 0.85, 0.85, 0.35), edgecolor="0.8", hatch="////", linewidth=0, zorder=1.5)
    ax.add_patch(shade)
    ax.plot(*closed.T, color="0.5", linewidth=0.8, zorder=2)
