"""Pictures of family effects: sorted with intervals, base against instruct families, joint posteriors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import gaussian_kde

from ..checks import check_name, check_names
from ..errors import DataError
from .forests import forest
from .style import PALETTE, REFERENCE, clean, level_words, new_axes, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

_MOST = 40  # families whose names are readable on a page
_SIDES = 60  # points of a density's grid in each direction
_SHARES = (0.9, 0.5)  # shares of the posterior inside the contours


def _skill(skill: str | None, table: pd.DataFrame) -> str:
    """Return the skill that is shown, by default the first of the table."""
    known = table["skill"].unique()
    return known[0] if skill is None else check_name("skill", skill, known, "skills of the fit")


def plot_family_effects(
    table: pd.DataFrame,
    skill: str | None = None,
    ax: Axes | None = None,
    alpha: float = 0.05,
    families: str | Sequence[str] | None = None,
) -> Axes:
    """Plot family effects of a skill, sorted, with posterior intervals.

    Parameters
    ----------
    table : DataFrame
        The table ``fit.family_effect_table(alpha)``.
    skill : str, optional
        By default the first one.
    ax : matplotlib Axes, optional
        By default those of a new figure that is as high as the rows need.
    alpha : float
        One minus the level of the intervals in the table.
    families : sequence of str or "all", optional
        Families to show. By default all if there are at most 40, else the 20 highest and the 20 lowest.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the skill or a family is unknown.
    """
    skill = _skill(skill, table)
    rows = table[table["skill"] == skill].sort_values("mean", ascending=False, kind="stable")
    every = families is None or (isinstance(families, str) and families == "all")
    shown = check_names("families", None if every else families, rows["family"], "families of the fit")
    rows = rows[rows["family"].isin(shown)]
    hidden = len(rows) - _MOST if families is None else 0
    places = np.arange(len(rows), dtype=float)
    if hidden > 0:
        half = _MOST // 2
        rows = rows.iloc[[*range(half), *range(len(rows) - half, len(rows))]]
        places = np.arange(len(rows)) + 1.5 * (np.arange(len(rows)) >= half)
    ax = new_axes(ax, (5.6, 1.1 + 0.17 * (places[-1] + 1.0)))
    labels = [f"{family} ({count})" for family, count in zip(rows["family"], rows["n_llms"], strict=True)]
    forest(ax, labels, rows["mean"], rows["ci_lower"], rows["ci_upper"], places, markersize=4.0)
    ax.tick_params(axis="y", labelsize=7.5)
    if hidden > 0:
        ax.annotate(
            f"{hidden} families between these", (0.5, _MOST // 2 + 0.25), xycoords=("axes fraction", "data"),
            ha="center", va="center", fontsize=8, style="italic", color="0.35",
        )  # fmt: skip
    ax.set_xlabel(f"effect on {skill} (units of the skill)")
    note(ax, f"family (its LLMs), posterior mean, {level_words(alpha)} interval")
    ax.spines["left"].set_visible(False)
    return clean(ax, "x")


def plot_instruct(table: pd.DataFrame, skill: str | None = None, ax: Axes | None = None, labels: int = 8) -> Axes:
    """Plot the effects of instruct families against those of their base families.

    Above the diagonal, tuning raised the skill. Bars are one posterior standard deviation in both directions.

    Parameters
    ----------
    table : DataFrame
        The table ``fit.instruct_table()``.
    skill : str, optional
        By default the first one.
    ax : matplotlib Axes, optional
        By default those of a new figure of 5.2 by 5 inches.
    labels : int
        Largest number of instruct families that are named, those farthest from the diagonal first. Names that would
        overlap others are left out.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the skill is unknown.
    """
    skill = _skill(skill, table)
    rows = table[table["skill"] == skill]
    ax = new_axes(ax, (5.2, 5.0))
    base, tuned = rows["base_mean"].to_numpy(), rows["instruct_mean"].to_numpy()
    ax.errorbar(
        base, tuned, rows["instruct_sd"], rows["base_sd"], fmt="o", color=PALETTE[0], ecolor="0.7", elinewidth=0.9,
        markersize=4.5, zorder=3,
    )  # fmt: skip
    low = min((base - rows["base_sd"]).min(), (tuned - rows["instruct_sd"]).min())
    high = max((base + rows["base_sd"]).max(), (tuned + rows["instruct_sd"]).max())
    room = 0.04 * (high - low)
    ends = (low - room, high + room)
    ax.plot(ends, ends, "--", color=REFERENCE, linewidth=1.0, zorder=1)
    names = rows["variant"].to_numpy()
    for place in _apart(base, tuned, names, labels, 0.045 * (ends[1] - ends[0])):
        above = tuned[place] > base[place]
        # names are on the side away from the diagonal, unless they would leave the axes there
        across = (base[place] - ends[0]) / (ends[1] - ends[0])
        left = across > 0.3 if above else across > 0.7
        ax.annotate(
            names[place], (base[place], tuned[place]),
            xytext=(-4 if left else 4, 4 if above else -4), textcoords="offset points", fontsize=7.5,
            ha="right" if left else "left", va="bottom" if above else "top", zorder=4,
        )  # fmt: skip
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    ax.set_xlabel(f"base: effect on {skill} (units of the skill)")
    ax.set_ylabel(f"instruct: effect on {skill} (units of the skill)")
    note(ax, f"{len(rows)} pairs, bars: 1 posterior s.d.; dashed: equal")
    return clean(ax)


def _apart(base: np.ndarray, tuned: np.ndarray, names: np.ndarray, count: int, room: float) -> list[int]:
    """Return the positions of the points to name, those farthest from the diagonal first.

    Each name is used once, and no two points of one side are chosen whose names would overlap.
    """
    chosen: list[int] = []
    for place in np.argsort(-np.abs(tuned - base), kind="stable"):
        side = tuned[place] > base[place]
        near = [
            other for other in chosen
            if (tuned[other] > base[other]) == side and abs(tuned[other] - tuned[place]) < room
            and abs(base[other] - base[place]) < 8.0 * room
        ]  # fmt: skip
        named = {names[other] for other in chosen}
        if not near and names[place] not in named and len(chosen) < count:
            chosen.append(int(place))
    return chosen


def plot_family_posterior(draws: dict[str, pd.DataFrame], means: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Plot the joint posterior densities of families' effects on two skills.

    The contours contain 50% and 90% of a family's posterior, by a kernel density estimate from its draws. The dot is
    its mean.

    Parameters
    ----------
    draws : dict from str to DataFrame
        Draws (size, 2) of the effects of each family, from ``fit.family_posterior``.
    means : DataFrame
        Posterior means by family and skill, from ``fit.family_effects()``; the first skill is on the horizontal axis.
    ax : matplotlib Axes, optional
        By default those of a new figure of 5.6 by 4.8 inches.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If there are more families than colours.
    """
    if len(draws) > len(PALETTE):
        raise DataError(f"At most {len(PALETTE)} families can be told apart in one picture; got {len(draws)}.")
    ax = new_axes(ax, (5.6, 4.8))
    skills = list(means.columns)
    for color, (family, effects) in zip(PALETTE, draws.items(), strict=False):
        _contours(ax, effects[skills].to_numpy().T, color)
        ax.plot(*means.loc[family], "o", color=color, markersize=6, label=family, markeredgecolor="white", zorder=4)
    ax.axhline(0.0, color="0.85", linewidth=0.8, zorder=0)
    ax.axvline(0.0, color="0.85", linewidth=0.8, zorder=0)
    ax.set_xlabel(f"effect on {skills[0]} (units of the skill)")
    ax.set_ylabel(f"effect on {skills[1]} (units of the skill)")
    note(ax, "contours: 50% and 90% of the posterior; dot: mean")
    ax.legend(fontsize=8.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4)
    return clean(ax)


def _contours(ax: Axes, values: np.ndarray, color: str) -> None:
    """Draw the contours of highest density that contain ``_SHARES`` of the draws (2, size)."""
    room = 0.15 * np.ptp(values, axis=1)
    x, y = (np.linspace(v.min() - r, v.max() + r, _SIDES) for v, r in zip(values, room, strict=True))
    height = gaussian_kde(values)(np.stack(np.meshgrid(x, y)).reshape(2, -1)).reshape(_SIDES, _SIDES)
    # a contour contains the share of the draws whose density is above its level
    at_draws = RegularGridInterpolator((y, x), height)(values[::-1].T)
    levels = [np.quantile(at_draws, 1.0 - share) for share in _SHARES]
    ax.contourf(x, y, height, levels=[*levels, np.inf], colors=[color], alpha=0.18, zorder=2)
    ax.contour(x, y, height, levels=levels, colors=[color], linewidths=(0.9, 1.6), zorder=3)
