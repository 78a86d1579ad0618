"""Where the starts of a fit ended, and criteria against the number of skills."""

import numpy as np

from ..errors import DataError
from .style import PALETTE, clean, new_axes, note

_MARKERS = {"data": "s", "random": "o", "given": "D"}
_NEAR = 0.1  # gaps below this are drawn on a linear scale, larger ones on a logarithmic one


def plot_starts(starts, ax=None, converged=None):
    """Plot how far below the best one each start ended, by Laplace's approximation.

    In the grey strip starts agree.

    Parameters
    ----------
    starts : DataFrame
        ``fit.starts``.
    ax : matplotlib Axes, optional
    converged : bool, optional
        Whether the fit that went on from the best end converged; said in the picture.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (6.0, 3.4))
    gap = (starts["loglike"].max() - starts["loglike"]).to_numpy(dtype=float)
    number, reached = np.asarray(starts.index, dtype=float), starts["reached_best"].to_numpy(dtype=bool)
    failed = ~np.isfinite(gap)
    ax.axhspan(0.0, _NEAR, color="0.93", zorder=0)
    for kind, marker in _MARKERS.items():
        for chosen, face in ((reached, PALETTE[0]), (~reached, "white")):
            rows = (starts["kind"] == kind).to_numpy() & chosen & ~failed
            if rows.any():
                ending = "ended at the best" if face != "white" else "ended below"
                ax.plot(
                    number[rows], gap[rows], marker, color=PALETTE[0], markerfacecolor=face, markersize=6.5,
                    label=f"{kind} start, {ending}", clip_on=False, zorder=3,
                )  # fmt: skip
    top = max(1.0, 3.0 * gap[~failed].max())
    if failed.any():
        ax.plot(
            number[failed], np.full(failed.sum(), top), "x", color=PALETTE[1], label="failed", clip_on=False, zorder=3
        )
    ax.set_yscale("symlog", linthresh=_NEAR)
    ax.set_ylim(top, -0.02)
    ax.set_xticks(number if len(number) <= 20 else number[:: -(-len(number) // 20)])
    ax.set_xlim(number.min() - 0.6, number.max() + 0.6)
    ax.set(xlabel="start", ylabel="log-likelihood below best")
    state = "" if converged is None else "; the fit converged" if converged else "; THE FIT DID NOT CONVERGE"
    ax.set_title(f"{reached.sum()} of {len(starts)} starts agree{state}", fontsize=10, loc="left")
    ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
    return clean(ax)


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
