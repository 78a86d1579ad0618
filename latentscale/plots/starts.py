"""Picture of the log-likelihoods at which the starts of a fit ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import PALETTE, clean, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MARKERS = {"data": "s", "random": "o", "given": "D"}
_NEAR = 0.1  # differences below this are drawn on a linear scale, larger ones on a logarithmic one


def plot_starts(starts: pd.DataFrame, ax: Axes | None = None, converged: bool | None = None) -> Axes:
    """Plot by how much the log-likelihood at which each start ended is below the best one.

    The log-likelihoods are those of Laplace's approximation. Starts within the grey strip agree with the best one.

    Parameters
    ----------
    starts : DataFrame
        The table ``fit.starts``.
    ax : matplotlib Axes, optional
        By default those of a new figure of 6 by 3.4 inches.
    converged : bool, optional
        Whether the fit that continued from the best end converged, which the title then says.

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
