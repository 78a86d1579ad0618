"""Pictures of loadings and of the correlations of skills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_one_of
from ..errors import DataError
from .forests import grouped_forest
from .style import NO_ERRORS, NOTE, level_words, new_axes, note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.patches import Rectangle

KINDS = ("heatmap", "forest")
_FIXED = "0.93"  # colour of fixed entries


def plot_loadings(table: pd.DataFrame, kind: str = "heatmap", ax: Axes | None = None, alpha: float = 0.05) -> Axes:
    """Plot loadings as a matrix of numbers on colours, or as a forest plot with intervals.

    Parameters
    ----------
    table : DataFrame
        The table ``fit.loading_table(alpha)``.
    kind : {"heatmap", "forest"}
        "heatmap" writes each loading with its standard error below, bold where p < alpha and grey where it is fixed.
        "forest" plots the loadings of one skill after the other; those fixed at zero are left out, and the dots of
        others that are fixed are hollow.
    ax : matplotlib Axes, optional
        By default those of a new figure that fits the table.
    alpha : float
        One minus the level of the intervals in the table, and level of the tests.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If the kind is unknown.
    """
    check_one_of("kind", kind, KINDS)
    if kind == "heatmap":
        return _heatmap(table, ax, alpha)
    shown = table[~table["fixed"] | (table["estimate"] != 0.0)]
    ax = grouped_forest(shown, "skill", "benchmark", ax, alpha)
    ax.set_xlabel("loading (linear predictor per unit of the skill)")
    if len(shown) < len(table):
        ax.set_title("loadings fixed at zero are left out", fontsize=8, loc="left", color=NOTE, style="italic")
    return ax


def _heatmap(table: pd.DataFrame, ax: Axes | None, alpha: float) -> Axes:
    """Plot loadings as a matrix of numbers on colours, see ``plot_loadings``."""
    rows, columns = (list(dict.fromkeys(table[name])) for name in ("benchmark", "skill"))
    ax = new_axes(ax, (2.4 + 0.95 * len(columns), 1.3 + 0.42 * len(rows)))
    values = table["estimate"].to_numpy().reshape(len(rows), len(columns))
    image = _matrix(ax, np.where(table["fixed"].to_numpy().reshape(values.shape), np.nan, values), None)
    for place, row in enumerate(table.itertuples()):
        below = "fixed" if row.fixed else f"({row.std_err:.2f})" if np.isfinite(row.std_err) else ""
        strong = not row.fixed and row.p_value < alpha
        number = _number(row.estimate, row.fixed)
        _write(ax, image, place % len(columns), place // len(columns), number, below, row.estimate, row.fixed, strong)
    _name(ax, columns, rows)
    _colorbar(ax, image, "loading")
    if table.loc[~table["fixed"], "std_err"].notna().any():
        note(ax, f"(s.e.); bold: not zero at the {100.0 * alpha:g}% level")
    else:
        note(ax, "no standard errors")
    return ax


def plot_correlations(table: pd.DataFrame, ax: Axes | None = None, alpha: float = 0.05) -> Axes:
    """Plot the correlations of family effects as a triangle of numbers with intervals.

    Parameters
    ----------
    table : DataFrame
        The table ``fit.correlation_table(alpha)``.
    ax : matplotlib Axes, optional
        By default those of a new figure that fits the table.
    alpha : float
        One minus the level of the intervals in the table.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If there is only one skill.
    """
    if table.empty:
        raise DataError("The fit has one skill, so there are no correlations between skills to plot.")
    columns, rows = (list(dict.fromkeys(table[name])) for name in ("first", "second"))
    ax = new_axes(ax, (2.6 + 1.2 * len(columns), 1.2 + 0.65 * len(rows)))
    values = np.full((len(rows), len(columns)), np.nan)
    for row in table.itertuples():
        if not row.fixed:
            values[rows.index(row.second), columns.index(row.first)] = row.estimate
    image = _matrix(ax, values, 1.0)
    # cells above the triangle are white, not grey like fixed ones
    for row in range(len(rows)):
        for column in range(row + 1, len(columns)):
            ax.add_patch(_cell(column, row, "white"))
    for row in table.itertuples():
        interval = f"[{_number(row.ci_lower)}, {_number(row.ci_upper)}]" if np.isfinite(row.ci_lower) else ""
        number = _number(row.estimate, row.fixed)
        where = columns.index(row.first), rows.index(row.second)
        _write(ax, image, *where, number, "fixed" if row.fixed else interval, row.estimate, row.fixed, False)
    _name(ax, columns, rows)
    _colorbar(ax, image, "correlation of family effects")
    known = table.loc[~table["fixed"], "std_err"].notna()
    if known.any():
        note(ax, f"[{level_words(alpha)} intervals]")
    elif len(known):
        note(ax, NO_ERRORS)
    return ax


def _number(value: float, fixed: bool = False) -> str:
    """Return a number with two decimals and no minus before zero; fixed numbers as they were given."""
    return f"{value:g}" if fixed else f"{round(value, 2) + 0.0:.2f}"


def _matrix(ax: Axes, values: np.ndarray, limit: float | None) -> AxesImage:
    """Draw a matrix as colours, orange below zero, purple above it and grey for NaN.

    ``limit`` is the absolute value with the darkest colour; None takes the largest in the matrix.
    """
    if limit is None:
        finite = np.abs(values[np.isfinite(values)])
        limit = float(finite.max()) if finite.size and finite.max() > 0.0 else 1.0
    ax.set_facecolor(_FIXED)
    return ax.imshow(np.ma.masked_invalid(values), cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")


def _cell(column: float, row: float, color: str) -> Rectangle:
    """Return a rectangle that covers one cell."""
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1.0, 1.0, facecolor=color, edgecolor="none", zorder=1)


def _write(
    ax: Axes, image: Any, column: int, row: int, number: str, below: str, value: float, fixed: bool, strong: bool
) -> None:
    """Write a number and the text below it into a cell, in white where the colour of ``value`` is dark."""
    red, green, blue, _ = image.cmap(image.norm(value))
    dark = not fixed and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    color = NOTE if fixed else "white" if dark else "black"
    style: dict[str, Any] = {"ha": "center", "color": color, "zorder": 2}
    ax.text(
        column, row - (0.02 if below else 0.0), number, va="bottom" if below else "center", fontsize=9,
        weight="bold" if strong else "normal", **style,
    )  # fmt: skip
    if below:
        ax.text(column, row + 0.04, below, va="top", fontsize=7, **style)


def _name(ax: Axes, columns: list[str], rows: list[str]) -> None:
    """Write the names of columns and rows, and separate the cells by white lines."""
    slanted: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(columns) > 1 else {}
    ax.set_xticks(range(len(columns)), columns, **slanted)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    # minor ticks are between the cells
    ax.set_xticks(np.arange(0.5, len(columns) - 1), minor=True)
    ax.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)


def _colorbar(ax: Axes, image: AxesImage, label: str) -> None:
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
