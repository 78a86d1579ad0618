"""Scaling curves: expected scores or skills of families as functions of size, training tokens or FLOPs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .style import PALETTE, clean, level_words, new_axes

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

LABELS = {
    "params_b": "size (billions of parameters)",
    "tokens_t": "training tokens (trillions)",
    "flops": "training compute (FLOPs)",
}
UNSEEN_COLOUR = "0.25"
_MARKERS = "osD^vPX<>"


def axis_label(name: Any) -> str:
    """Return the label of the axis of a covariate, with its unit if it is known."""
    return LABELS.get(name, str(name))


def log_axis(ax: Axes, which: str, values: npt.ArrayLike) -> None:
    """Make the axis ``which``, "x" or "y", logarithmic if all values are positive.

    Ticks are plain numbers, or powers of ten where plain numbers would be long.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = np.asarray(values, dtype=float)
    if values.min() <= 0.0:
        return
    getattr(ax, f"set_{which}scale")("log")
    axis = getattr(ax, f"{which}axis")
    if values.max() < 1e5 and values.min() > 1e-5:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(NullFormatter())
        if values.max() / values.min() < 300.0:  # few decades: ticks between the powers of ten
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def plot_scaling(
    curves: pd.DataFrame,
    points: pd.DataFrame,
    target: str,
    unit: str = "score",
    ax: Axes | None = None,
    alpha: float = 0.05,
) -> Axes:
    """Plot scaling curves with their bands and the LLMs of the fit.

    A curve is solid in the range of its family's LLMs and dashed beyond it. Bands are those of the expected value. If
    there is only one curve, dotted lines show the prediction interval of scores.

    Parameters
    ----------
    curves : DataFrame
        The table ``fit.scaling_curve``.
    points : DataFrame
        The table that ``latentscale.prediction.scaling_curves.curve_points`` returns.
    target : str
        Name of the benchmark or skill.
    unit : {"score", "skill"}
        What the target is.
    ax : matplotlib Axes, optional
        By default those of a new figure of 7.5 by 4.6 inches.
    alpha : float
        One minus the level of the bands in ``curves``, which the legend names.

    Returns
    -------
    matplotlib Axes
    """
    ax, x = new_axes(ax, (7.5, 4.6)), curves.columns[1]
    families = list(dict.fromkeys(curves["family"]))
    known = [name for name in families if name in set(points["family"])]
    others = points[~points["family"].isin(families)]
    ax.plot(others[x], others["value"], ".", color="0.75", markersize=4, label="other LLMs", zorder=1)
    for name in families:
        seen = name in known
        colour = PALETTE[known.index(name) % (len(PALETTE) - 1)] if seen else UNSEEN_COLOUR
        _curve(ax, curves[curves["family"] == name], x, colour, seen)
        marker = _MARKERS[known.index(name) % len(_MARKERS)] if seen else ""
        edge: dict[str, Any] = {"markersize": 6.0, "markeredgecolor": "white", "markeredgewidth": 0.6}
        if seen:
            llms = points[points["family"] == name]
            ax.plot(llms[x], llms["value"], marker, color=colour, zorder=4, **edge)
        ax.plot([], [], color=colour, marker=marker, linewidth=1.8, label=name, **edge)
    if len(families) == 1 and curves["obs_ci_lower"].notna().all():
        for end in ("lower", "upper"):
            label = f"{level_words(alpha)} of scores" if end == "lower" else None
            ax.plot(curves[x], curves[f"obs_ci_{end}"], ":", color="0.3", linewidth=1.0, label=label, zorder=2)
    log_axis(ax, "x", np.concatenate([curves[x], points[x]]))
    ax.set_xlabel(axis_label(x))
    ax.set_ylabel(f"{target}: score (fraction)" if unit == "score" else f"{target}: units of skill")
    title = f"band: {level_words(alpha)} of the expected {unit}\ndashed: beyond the family's LLMs"
    ax.legend(
        title=title, title_fontsize=8, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False,
        alignment="left",
    )  # fmt: skip
    return clean(ax)


def _curve(ax: Axes, curve: pd.DataFrame, x: str, colour: str, seen: bool) -> None:
    """Draw one curve with its band, paler for a family without LLMs in the fit."""
    inside = curve["inside"].to_numpy(dtype=bool)
    values, mean = curve[x].to_numpy(), curve["mean"].to_numpy()
    ax.plot(values, np.where(inside, mean, np.nan), color=colour, linewidth=1.8, zorder=3)
    if not inside.all():
        # the dashed piece begins at the last point of the solid one, so that there is no gap
        near = np.convolve(~inside, [1, 1, 1], "same") > 0
        ax.plot(values, np.where(near, mean, np.nan), color=colour, linewidth=1.0, linestyle=(0, (4, 2)), zorder=2)
    low, high = curve["mean_ci_lower"].to_numpy(), curve["mean_ci_upper"].to_numpy()
    ax.fill_between(values, low, high, color=colour, alpha=0.16 if seen else 0.10, linewidth=0, zorder=1)
