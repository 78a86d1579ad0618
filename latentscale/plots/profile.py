"""The profile likelihood of a parameter, beside the quadratic approximation that Wald intervals rest on."""

import numpy as np
from scipy import stats

from ..errors import DataError

KINDS = ("deviance", "root")
_PROFILE, _WALD = "#1f5a93", "#c0622b"


def plot_profile(profile, ax=None, kind="deviance"):
    """Plot a profile, the quadratic approximation, and both intervals at their level.

    Parameters
    ----------
    profile : Profile
        With points on both sides of the estimate, as ``fit.profile(...)`` makes them.
    ax : matplotlib Axes, optional
        A new figure of 6 by 4 inches by default.
    kind : {"deviance", "root"}
        The deviance 2 (l_hat - l(t)), or its signed root, which is a straight line where the quadratic approximation
        is exact.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the profile has no curve, the fit not having been at its optimum; or for an unknown kind.
    """
    if kind not in KINDS:
        raise DataError(f"kind is one of {', '.join(KINDS)}, not {kind!r}.")
    curve = profile.curve()
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(6.0, 4.0), layout="constrained")
    quantile = stats.norm.isf(0.5 * profile.alpha)
    level = f"{100.0 * (1.0 - profile.alpha):g}%"
    power = 2 if kind == "deviance" else 1
    ax.plot(curve["value"], curve["root"] ** power, color=_PROFILE, label=_words("profile", profile.interval))
    shown = profile.table[np.isfinite(profile.table["root"])]
    ax.plot(shown["value"], shown["root"] ** power, "o", color=_PROFILE, markersize=3.5)
    top = 1.9 * quantile**2 if kind == "deviance" else 1.45 * quantile
    if np.isfinite(curve["wald_root"]).all():
        label = _words("quadratic (Wald)", profile.wald_interval)
        ax.plot(curve["value"], curve["wald_root"] ** power, "--", color=_WALD, label=label)
    _intervals(ax, profile, curve, quantile, kind)
    heights = [quantile**2] if kind == "deviance" else [-quantile, quantile]
    for height in heights:
        ax.axhline(height, color="0.6", linewidth=0.8, zorder=0)
    ax.annotate(level, (1.0, heights[-1]), xycoords=("axes fraction", "data"), xytext=(-3, 3),
                textcoords="offset points", ha="right", va="bottom", color="0.35", fontsize=9)  # fmt: skip
    ax.plot(profile.estimate, 0.0, "k|", markersize=12, label=f"estimate {profile.estimate:.4g}")
    ax.set_ylim(*((-0.06 * top, top) if kind == "deviance" else (-top, top)))
    ax.set_xlabel(profile.label)
    ax.set_ylabel("deviance" if kind == "deviance" else "signed root of the deviance")
    # where a curve that falls and rises, or only rises, leaves room
    ax.legend(frameon=False, fontsize=9, loc="upper center" if kind == "deviance" else "lower right")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _words(name, interval):
    return f"{name}: {interval.lower:.4g} to {interval.upper:.4g}"


def _intervals(ax, profile, curve, quantile, kind):
    """Upright lines from the curves at their level down to the axis; an end that does not exist has none."""
    ends = [(profile.interval, "-", _PROFILE), (profile.wald_interval, "--", _WALD)]
    low, high = curve["value"].iloc[[0, -1]]
    slack = 1e-3 * (high - low)  # ends lie a rounding beyond the last point where no others were asked for
    for interval, style, colour in ends:
        for end, sign in zip(interval, (-1.0, 1.0), strict=True):
            if low - slack <= end <= high + slack and not _no_root(profile, interval, end):
                height = quantile**2 if kind == "deviance" else sign * quantile
                ax.plot([end, end], [0.0, height], style, color=colour, linewidth=0.8)


def _no_root(profile, interval, end):
    """Whether an end of the profile's interval is a boundary, where the curve does not meet the level."""
    side = "lower" if end == interval.lower else "upper"
    return interval is profile.interval and any(flag.startswith(side) for flag in profile.flags)
