"""Pictures of calibration: coverage of central prediction intervals, and histograms of PIT values."""

import numpy as np

from ..errors import DataError

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
        values, flat if the laws are calibrated, a bowl if they are too narrow.
    ax : matplotlib Axes, optional
        A new figure of 5 by 4 inches by default.

    Returns
    -------
    matplotlib Axes
    """
    if kind not in ("coverage", "pit"):
        raise DataError(f"kind is 'coverage' or 'pit', not {kind!r}.")
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(5.0, 4.0), layout="constrained")
    rows = errors[errors["pit"].notna()]
    draw = _coverage if kind == "coverage" else _histogram
    for method, own in rows.groupby("method", sort=False):
        draw(ax, str(method), own)
    if kind == "coverage":
        ax.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--", label="calibrated")
        ax.set(xlabel="level of the central interval", ylabel="share of scores inside", xlim=(0, 1), ylim=(0, 1))
    else:
        ax.axhline(1.0, color="0.5", linewidth=1, linestyle="--", label="calibrated")
        ax.set(xlabel="probability integral transform", ylabel="density", xlim=(0, 1))
    ax.legend(frameon=False, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _coverage(ax, method, rows):
    inside = np.abs(2.0 * rows["pit"].to_numpy()[:, None] - 1.0) <= LEVELS
    share, error = _clustered(inside, rows["family"].to_numpy())
    (line,) = ax.plot(LEVELS, share, marker="o", markersize=3, label=method)
    low, high = np.maximum(share - 2.0 * error, 0.0), np.minimum(share + 2.0 * error, 1.0)
    ax.fill_between(LEVELS, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def _clustered(inside, families):
    """Shares (M,) of rows (n, M), and their standard errors with families as clusters."""
    share = inside.mean(axis=0)
    _, codes = np.unique(families, return_inverse=True)
    sums = np.zeros((codes.max() + 1, inside.shape[1]))
    np.add.at(sums, codes, inside - share)
    return share, np.sqrt((sums**2).sum(axis=0)) / len(inside)


def _histogram(ax, method, rows):
    ax.hist(rows["pit"], bins=_BINS, range=(0, 1), density=True, histtype="step", linewidth=1.5, label=method)
