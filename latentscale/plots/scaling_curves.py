"""Scaling curves: expected scores or skills along size, tokens or FLOPs, family by family."""

import numpy as np

from .style import PALETTE, clean, level_words, new_axes

LABELS = {
    "params_b": "size (billions of parameters)",
    "tokens_t": "training tokens (trillions)",
    "flops": "training compute (FLOPs)",
}
UNSEEN_COLOUR = "0.25"
_MARKERS = "osD^vPX<>"


def axis_label(name):
    """Words and units of a covariate."""
    return LABELS.get(name, str(name))


def log_axis(ax, which, values):
    """Logarithmic axis where values are positive, with plain numbers, or powers of ten where those are long."""
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


def plot_scaling(curves, points, target, unit="score", ax=None, alpha=0.05):
    """Plot scaling curves with their bands and the LLMs of the fit.

    A curve is solid where its family has LLMs and dashed beyond them. Bands are of the expected value; the dotted
    lines, drawn where there is one curve, hold scores.

    Parameters
    ----------
    curves : DataFrame
        Of ``fit.scaling_curve``.
    points : DataFrame
        Of ``latentscale.prediction.curves.curve_points``.
    target : str
    unit : {"score", "skill"}
    ax : matplotlib Axes, optional
        A new figure of 7.5 by 4.6 inches by default.
    alpha : float
        One minus the level of the bands, for the legend's words.

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
        edge = {"markersize": 6.0, "markeredgecolor": "white", "markeredgewidth": 0.6}
        if seen:
            own = points[points["family"] == name]
            ax.plot(own[x], own["value"], marker, color=colour, zorder=4, **edge)
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


def _curve(ax, curve, x, colour, seen):
    inside = curve["inside"].to_numpy(dtype=bool)
    values, mean = curve[x].to_numpy(), curve["mean"].to_numpy()
    ax.plot(values, np.where(inside, mean, np.nan), color=colour, linewidth=1.8, zorder=3)
    if not inside.all():
        # from the last point inside, so that no gap is left
        near = np.convolve(~inside, [1, 1, 1], "same") > 0
        ax.plot(values, np.where(near, mean, np.nan), color=colour, linewidth=1.0, linestyle=(0, (4, 2)), zorder=2)
    low, high = curve["mean_ci_lower"].to_numpy(), curve["mean_ci_upper"].to_numpy()
    ax.fill_between(values, low, high, color=colour, alpha=0.16 if seen else 0.10, linewidth=0, zorder=1)
