"""Pictures of calibration: coverage of central prediction intervals, and histograms of probability integral transforms.

The probability integral transform (PIT) of a score is its predictive distribution function at the observed value. It is
uniform if the predictive laws are calibrated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..checks import check_one_of
from .style import PALETTE, clean, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LEVELS = np.arange(0.05, 1.0, 0.05)
_BINS = 10


def plot_calibration(errors: pd.DataFrame, kind: str = "coverage", ax: Axes | None = None) -> Axes:
    """Plot the coverage of central intervals of all levels, or the histogram of the PIT values.

    Parameters
    ----------
    errors : DataFrame
        The errors of ``LeaveFamilyOut``, with the columns method, family and pit.
    kind : {"coverage", "pit"}
        "coverage" plots the share of scores in central intervals against their level, with a band of two standard
        errors, clustered by family. "pit" plots a histogram of PIT values with bars of two such standard errors. It is
        flat if the predictive laws are calibrated, and high at both ends if they are too narrow.
    ax : matplotlib Axes, optional
        By default those of a new figure of 5 by 4 inches.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the kind is unknown.
    """
    check_one_of("kind", kind, ("coverage", "pit"))
    ax = new_axes(ax, (5.0, 4.0))
    groups = list(errors[errors["pit"].notna()].groupby("method", sort=False))
    for number, (method, rows) in enumerate(groups):
        colour = PALETTE[number % len(PALETTE)]
        if kind == "coverage":
            _coverage(ax, str(method), rows, colour)
        else:
            _histogram(ax, str(method), rows, colour, (number + 1) / (len(groups) + 1))
    if kind == "coverage":
        ax.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--", label="calibrated")
        ax.set(xlabel="level of the central interval", ylabel="share of scores inside", xlim=(0, 1), ylim=(0, 1))
    else:
        ax.axhline(1.0, color="0.5", linewidth=1, linestyle="--", label="calibrated")
        ax.set(xlabel="probability integral transform", ylabel="density", xlim=(0, 1))
        ax.set_ylim(bottom=0.0, top=1.15 * ax.get_ylim()[1])  # room for the legend
    ax.legend(frameon=False, fontsize=9, loc="best" if kind == "coverage" else "upper right", ncols=2)
    return clean(ax)


def _coverage(ax: Axes, method: str, rows: pd.DataFrame, colour: str) -> None:
    """Draw the coverage of one method with its band."""
    inside = np.abs(2.0 * rows["pit"].to_numpy()[:, None] - 1.0) <= LEVELS
    share, error = _clustered(inside, rows["family"].to_numpy())
    ax.plot(LEVELS, share, marker="o", markersize=3, color=colour, label=method)
    low, high = np.maximum(share - 2.0 * error, 0.0), np.minimum(share + 2.0 * error, 1.0)
    ax.fill_between(LEVELS, low, high, color=colour, alpha=0.2, linewidth=0)


def _clustered(inside: np.ndarray, families: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share (M,) of rows (n, M) that are true, and its standard error (M,) with families as clusters."""
    share = inside.mean(axis=0)
    _, codes = np.unique(families, return_inverse=True)
    sums = np.zeros((codes.max() + 1, inside.shape[1]))
    np.add.at(sums, codes, inside - share)
    return share, np.sqrt((sums**2).sum(axis=0)) / len(inside)


def _histogram(ax: Axes, method: str, rows: pd.DataFrame, colour: str, place: float) -> None:
    """Draw the histogram of one method, with bars of two standard errors at ``place``, a fraction of each bin."""
    bins = np.minimum((rows["pit"].to_numpy() * _BINS).astype(int), _BINS - 1)
    share, error = _clustered(bins[:, None] == np.arange(_BINS), rows["family"].to_numpy())
    ax.stairs(_BINS * share, np.linspace(0.0, 1.0, _BINS + 1), color=colour, linewidth=1.5, label=method)
    low, high = np.maximum(share - 2.0 * error, 0.0), share + 2.0 * error
    ax.vlines((np.arange(_BINS) + place) / _BINS, _BINS * low, _BINS * high, color=colour, linewidth=1.2, alpha=0.7)
