"""Picture of criteria for the number of skills."""

from ..errors import DataError
from .style import PALETTE, clean, new_axes, note


def plot_selection(table, recommended=None, kind=None, ax=None):
    """Plot criteria against the number of skills.

    Parameters
    ----------
    table : DataFrame
        ``SkillSelection.table``.
    recommended : int, optional
        Marked by an upright line.
    kind : {"error", "criteria"}, optional
        Leave-family-out error with one standard error of its difference from the least either way, or AIC and BIC
        above their least; the error by default where there is one.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        For an unknown kind, or if families were not left out and their error is asked for.
    """
    held_out = "lfo_mae" in table.columns
    kind = ("error" if held_out else "criteria") if kind is None else kind
    if kind not in ("error", "criteria"):
        raise DataError(f"kind is 'error' or 'criteria', not {kind!r}.")
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
