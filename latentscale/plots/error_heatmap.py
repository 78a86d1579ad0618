"""Heatmap of prediction errors by method and benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


def plot_errors(table: pd.DataFrame, ax: Axes | None = None, digits: int = 1) -> Axes:
    """Plot mean absolute errors as colours with numbers, the smallest number of each benchmark in bold.

    Parameters
    ----------
    table : DataFrame
        Errors in percentage points, one row per method and one column per benchmark. If the last column is "mean", a
        white line separates it from the others.
    ax : matplotlib Axes, optional
        By default those of a new figure that fits the table.
    digits : int
        Number of decimals.

    Returns
    -------
    matplotlib Axes
    """
    rows, columns = table.shape
    values = table.to_numpy(dtype=float)
    longest = max((len(str(name)) for name in table.index), default=0)
    ax = new_axes(ax, (1.8 + 0.085 * longest + 0.62 * columns, 1.4 + 0.3 * rows))
    image = ax.imshow(values, cmap="YlOrBr", aspect="auto", vmin=0.0)
    dark, least = _dark(image, values), np.min(values, axis=0, where=np.isfinite(values), initial=np.inf)
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        colour = "white" if dark[row, column] else "black"
        text = f"{values[row, column]:.{digits}f}"
        weight = "bold" if rows > 1 and values[row, column] == least[column] else "normal"
        ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=8, fontweight=weight)
    names = [str(name) for name in table.columns]
    ax.set_xticks(range(columns), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(rows), [str(name) for name in table.index])
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    if columns > 1 and table.columns[-1] == "mean":
        ax.axvline(columns - 1.5, color="white", linewidth=4)
    bar = ax.figure.colorbar(image, ax=ax, shrink=min(1.0, 8.0 / max(rows, 1)), pad=0.02)
    bar.set_label("mean absolute error (points)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return ax


def _dark(image: AxesImage, values: np.ndarray) -> np.ndarray:
    """Return whether each cell's colour is so dark that its number is written in white."""
    red, green, blue, _ = np.moveaxis(np.asarray(image.cmap(image.norm(values))), -1, 0)
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # luma of television (Rec. 601)
