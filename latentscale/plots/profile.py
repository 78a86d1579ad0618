"""Picture of a profile likelihood and of the quadratic approximation on which Wald intervals are based."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from ..checks import check_one_of
from .style import PALETTE, clean, new_axes

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from matplotlib.axes import Axes

    from ..inference.profile import Profile

KINDS = ("deviance", "root")
_PROFILE, _WALD, _LEVEL = PALETTE[0], PALETTE[1], "0.6"
_STATES = ("boundary", "flat", "edge", "jump")


def plot_profile(profile: Profile, ax: Axes | None = None, kind: str = "deviance") -> Axes:
    """Plot a profile likelihood, its quadratic approximation, and the confidence intervals of both.

    Parameters
    ----------
    profile : Profile
        A profile with points on both sides of the estimate, as ``fit.profile(...)`` returns it.
    ax : matplotlib Axes, optional
        By default those of a new figure of 6 by 4 inches.
    kind : {"deviance", "root"}
        The deviance 2 (l_hat - l(t)) at values t of the parameter, or its signed root, which is a straight line where
        the quadratic approximation is exact.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the kind is unknown, or the profile has no curve because the fit was not at its optimum.
    """
    check_one_of("kind", kind, KINDS)
    curve = profile.curve()
    ax = new_axes(ax, (6.0, 4.0))
    deviance, quantile = kind == "deviance", stats.norm.isf(0.5 * profile.alpha)
    power = 2 if deviance else 1
    table, t = profile.table, curve["value"]
    ax.plot(t, curve["root"] ** power, color=_PROFILE, label=f"profile: {_words(profile.interval, profile.flags)}")
    ax.plot(table["value"], table["root"] ** power, "o", color=_PROFILE, markersize=3.5)
    if np.isfinite(curve["wald_root"]).all():
        words = f"quadratic (Wald): {_words(profile.wald_interval)}"
        ax.plot(t, curve["wald_root"] ** power, "--", color=_WALD, label=words)
    _mark_ends(ax, t, profile.interval, quantile, deviance, color=_PROFILE, flags=profile.flags)
    _mark_ends(ax, t, profile.wald_interval, quantile, deviance, color=_WALD, linestyle="--")
    _mark_level(ax, profile.alpha, quantile, deviance)
    ax.plot(profile.estimate, 0.0, "k|", markersize=12, label=f"estimate: {profile.estimate:.4g}")
    top = 1.9 * quantile**2 if deviance else 1.45 * quantile
    ax.set_ylim(-0.06 * top if deviance else -top, top)
    ax.set_xlabel(profile.label)
    ax.set_ylabel("deviance" if deviance else "signed root of the deviance")
    # the deviance leaves room at the top in the middle, its signed root at the lower right
    ax.legend(fontsize=9, loc="upper center" if deviance else "lower right", framealpha=1.0, edgecolor="none")
    return clean(ax)


def _words(interval: Iterable[float], flags: tuple[str, ...] = ()) -> str:
    """Return an interval as text; an end at which the deviance does not reach its quantile has the reason behind it."""
    ends = []
    for side, end in zip(("lower", "upper"), interval, strict=True):
        states = [state for state in _STATES if f"{side}_{state}" in flags]
        ends.append(f"{end:.4g}" + (f" ({states[0]})" if states else ""))
    return " to ".join(ends)


def _mark_ends(
    ax: Axes,
    t: pd.Series,
    interval: Iterable[float],
    quantile: float,
    deviance: bool,
    flags: tuple[str, ...] = (),
    **style: Any,
) -> None:
    """Draw a vertical line from zero to the curve at each end of an interval where the curve reaches its quantile."""
    low, high = t.iloc[0], t.iloc[-1]
    slack = 1e-3 * (high - low)  # an end may be beyond the last point of the curve by rounding error
    for side, sign, end in zip(("lower", "upper"), (-1.0, 1.0), interval, strict=True):
        met = not any(f"{side}_{state}" in flags for state in _STATES)
        if met and low - slack <= end <= high + slack:
            ax.plot([end, end], [0.0, quantile**2 if deviance else sign * quantile], linewidth=0.8, **style)


def _mark_level(ax: Axes, alpha: float, quantile: float, deviance: bool) -> None:
    """Draw horizontal lines at the quantile, and name the confidence level."""
    for height in (quantile**2,) if deviance else (-quantile, quantile):
        ax.axhline(height, color=_LEVEL, linewidth=0.8, zorder=0)
    # the text is inside the deviance curve, or to the left of the rising signed root
    place, side = (0.5, "center") if deviance else (0.01, "left")
    ax.annotate(
        f"{100.0 * (1.0 - alpha):g}%", (place, height), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", ha=side, va="bottom", color="0.35", fontsize=9,
    )  # fmt: skip
