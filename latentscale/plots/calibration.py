"""Pictures of calibration: coverage of central prediction intervals, and histograms of PIT values."""

import numpy as np

from ..errors import DataError
from .style import PALETTE, clean, new_axes

LEVELS = np.arange(0.05, 1.0, 0.05)
_BINS = 10


def plot_calibration(errors, kind="coverage", ax=None):
    """Plot how often central intervals of every level hold the observed score, or where scores fall in their laws.

    Parameters
    ----------
    errors : DataFrame
        Of ``LeaveFamilyOut``: method, family, pit.
    kind : {"coverage", "pit"}
        Coverage against level, with a band of two standard errors over families (clusters); or a histogram of PIT
        values with bars of two such standard errors, flat if the laws are calibrated, a bowl if they are too narrow.
    ax : matplotlib Axes, optional
        A new figure of 5 by 4 inches by default.

    Returns
    -------
    matplotlib Axes
    """
    if kind not in ("coverage", "pit"):
        raise DataError(f"kind is 'coverage' or 'pit', not {kind!r}.")
    ax = new_axes(ax, (5.0, 4.0))
    groups = list(errors[errors["pit"].notna()].groupby("method", sort=False))
    for number, (method, own) in enumerate(groups):
        colour = PALETTE[number % len(PALETTE)]
        if kind == "coverage":
            _coverage(ax, str(method), own, colour)
        else:
            _histogram(ax, str(method), own, colour, (number + 1) / (len(groups) + 1))
    if kind == "coverage":
        ax.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--", label="calibrated")
        ax.set(xlabel="level of the central interval", ylabel="share of scores inside", xlim=(0, 1), ylim=(0, 1))
    else:
        ax.axhline(1.0, color="0.5", linewidth=1, linestyle="--", label="calibrated")
        ax.set(xlabel="probability integral transform", ylabel="density", xlim=(0, 1))
        ax.set_ylim(bottom=0.0, top=1.15 * ax.get_ylim()[1])  # room for the legend
    ax.legend(frameon=False, fontsize=9, loc="best" if kind == "coverage" else "upper right", ncols=2)
    return clean(ax)


def _coverage(ax, method, rows, colour):
    inside = np.abs(2.0 * rows["pit"].to_numpy()[:, None] - 1.0) <= LEVELS
    share, error = _clustered(inside, rows["family"].to_numpy())
    ax.plot(LEVELS, share, marker="o", markersize=3, color=colour, label=method)
    low, high = np.maximum(share - 2.0 * error, 0.0), np.minimum(share + 2.0 * error, 1.0)
    ax.fill_between(LEVELS, low, high, color=colour, alpha=0.2, linewidth=0)


def _clustered(inside, families):
    """Shares (M,) of rows (n, M), and their standard errors with families as clusters."""
    share = inside.mean(axis=0)
    _, codes = np.unique(families, return_inverse=True)
    sums = np.zeros((codes.max() + 1, inside.shape[1]))
    np.add.at(sums, codes, inside - share)
    return share, np.sqrt((sums**2).sum(axis=0)) / len(inside)


def _histogram(ax, method, rows, colour, place):
    """Densities of bins, with bars of two standard errors at ``place`` (a fraction) of each bin."""
    bins = np.minimum((rows["pit"].to_numpy() * _BINS).astype(int), _BINS - 1)
    share, error = _clustered(bins[:, None] == np.arange(_BINS), rows["family"].to_numpy())
    ax.stairs(_BINS * share, np.linspace(0.0, 1.0, _BINS + 1), color=colour, linewidth=1.5, label=method)
    low, high = np.maximum(share - 2.0 * error, 0.0), share + 2.0 * error
    ax.vlines((np.arange(_BINS) + place) / _BINS, _BINS * low, _BINS * high, color=colour, linewidth=1.2, alpha=0.7)
