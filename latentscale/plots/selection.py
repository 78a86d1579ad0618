"""Picture of criteria for the number of skills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..checks import check_one_of
from ..errors import DataError
from .style import PALETTE, clean, new_axes, note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def plot_selection(
    table: pd.DataFrame, recommended: int | None = None, kind: str | None = None, ax: Axes | None = None
) -> Axes:
    """Plot criteria against the number of skills.

    Parameters
    ----------
    table : DataFrame
        The table of ``SkillSelection``.
    recommended : int, optional
        Number of skills that a vertical line marks.
    kind : {"error", "criteria"}, optional
        "error" plots the leave-family-out error, with bars of one standard error of its difference from the smallest
        error in both directions; "criteria" plots AIC and BIC minus their smallest values. By default the error, if
        families were left out.
    ax : matplotlib Axes, optional
        By default those of a new figure of 5.2 by 3.6 inches.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the kind is unknown, or is "error" although families were not left out.
    """
    held_out = "lfo_mae" in table.columns
    kind = ("error" if held_out else "criteria") if kind is None else kind
    check_one_of("kind", kind, ("error", "criteria"))
    if kind == "error" and not held_out:
        raise DataError("There is no leave-family-out error (folds=0); plot kind='criteria', or select with folds.")
    ax, number = new_axes(ax, (5.2, 3.6)), table.index.to_numpy()
    if kind == "error":
        ax.errorbar(
            number, table["lfo_mae"], yerr=table["lfo_se"], fmt="o-", color=PALETTE[0], capsize=3, linewidth=1.2,
            label="error, with 1 s.e. of its difference from the least",
        )  # fmt: skip
        ax.set_ylabel("leave-family-out error (percentage points)")
    else:
        for name, color, line in (("aic", PALETTE[0], "o-"), ("bic", PALETTE[1], "s--")):
            ax.plot(number, table[name] - table[name].min(), line, color=color, label=name.upper())
        ax.set_ylabel("criterion above its least")
    if recommended is not None:
        ax.axvline(recommended, color="0.6", linestyle=":", zorder=0, label=f"recommended: {recommended}")
    stuck = number[~table["converged"].to_numpy(dtype=bool)]
    if len(stuck):
        note(ax, f"not converged: {', '.join(map(str, stuck))}")
    ax.set_xticks(number)
    ax.set_xlabel("number of skills")
    ax.legend(fontsize=8, frameon=False)
    return clean(ax, "y")
