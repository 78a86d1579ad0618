"""Pictures of loadings and of the correlations of skills."""

import numpy as np

from ..errors import DataError
from .forests import grouped_forest
from .style import NO_ERRORS, NOTE, level_words, new_axes, note

KINDS = ("heatmap", "forest")
_FIXED = "0.93"


def plot_loadings(table, kind="heatmap", ax=None, alpha=0.05):
    """Plot loadings as a matrix of numbers on colours, or as a forest with intervals.

    Parameters
    ----------
    table : DataFrame
        Of ``fit.loading_table(alpha)``.
    kind : {"heatmap", "forest"}
        Heatmap: numbers with standard errors below, bold where p < alpha, grey where fixed. Forest: skill by skill;
        loadings fixed at zero are left out, others that are fixed are hollow.
    ax : matplotlib Axes, optional
        A new figure that fits the table by default.
    alpha : float
        Of the table.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        For an unknown kind.
    """
    if kind not in KINDS:
        raise DataError(f"kind is one of {', '.join(KINDS)}, not {kind!r}.")
    if kind == "heatmap":
        return _heatmap(table, ax, alpha)
    shown = table[~table["fixed"] | (table["estimate"] != 0.0)]
    ax = grouped_forest(shown, "skill", "benchmark", ax, alpha)
    ax.set_xlabel("loading (linear predictor per unit of the skill)")
    if len(shown) < len(table):
        ax.set_title("loadings fixed at zero are left out", fontsize=8, loc="left", color=NOTE, style="italic")
    return ax


def _heatmap(table, ax, alpha):
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


def plot_correlations(table, ax=None, alpha=0.05):
    """Plot correlations of family effects as a triangle of numbers with intervals.

    Parameters
    ----------
    table : DataFrame
        Of ``fit.correlation_table(alpha)``.
    ax : matplotlib Axes, optional
    alpha : float
        Of the table.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If there is one skill only.
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
    # what is above the triangle is empty, not fixed
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


def _number(value, fixed=False):
    """Two decimals and no negative zero; fixed numbers as they were given."""
    return f"{value:g}" if fixed else f"{round(value, 2) + 0.0:.2f}"


def _matrix(ax, values, limit):
    """Colours of a matrix about zero: orange below, purple above; what is NaN is grey."""
    if limit is None:
        finite = np.abs(values[np.isfinite(values)])
        limit = float(finite.max()) if finite.size and finite.max() > 0.0 else 1.0
    ax.set_facecolor(_FIXED)
    return ax.imshow(np.ma.masked_invalid(values), cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")


def _cell(column, row, color):
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1.0, 1.0, facecolor=color, edgecolor="none", zorder=1)


def _write(ax, image, column, row, number, below, value, fixed, strong):
    red, green, blue, _ = image.cmap(image.norm(value))
    dark = not fixed and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    color = NOTE if fixed else "white" if dark else "black"
    style = {"ha": "center", "color": color, "zorder": 2}
    ax.text(
        column, row - (0.02 if below else 0.0), number, va="bottom" if below else "center", fontsize=9,
        weight="bold" if strong else "normal", **style,
    )  # fmt: skip
    if below:
        ax.text(column, row + 0.04, below, va="top", fontsize=7, **style)


def _name(ax, columns, rows):
    turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(columns) > 1 else {}
    ax.set_xticks(range(len(columns)), columns, **turned)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    # white lines between the cells
    ax.set_xticks(np.arange(0.5, len(columns) - 1), minor=True)
    ax.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)


def _colorbar(ax, image, label):
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
