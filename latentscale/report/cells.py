"""Tables of the report, whose cells keep the numbers that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

ABSENT, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text : str
        The text that is shown.
    value : float or None
        The number that the text shows, with all its digits; None if the text is not a number.
    below : tuple of Cell
        Cells shown in small letters below, such as a standard error.
    """

    text: str
    value: float | None = None
    below: tuple[Cell, ...] = ()

    @property
    def number(self) -> str:
        """``value`` as text from which the same double can be read; empty if it is missing."""
        return "" if self.value is None or np.isnan(self.value) else repr(self.value)


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes
    ----------
    key : str
        Its id in the page, which contains no text of the user's.
    title : str
    note : str
        What the columns are, with their units.
    head : tuple of str
        Headings of the columns.
    rows : tuple of tuple of Cell
        The first cell of each row is its name.
    long : bool
        Whether the table is shown in a box of limited height.
    """

    key: str
    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    long: bool = False


def format_number(value: float) -> str:
    """Return a number with about four significant digits; integers are shown in full."""
    if isinstance(value, int | np.integer):
        return f"{value:d}"
    if np.isnan(value):
        return ABSENT
    if np.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if value != 0.0 and not 1e-3 <= size < 1e5:
        text = f"{value:.2e}"
    else:
        text = f"{value:.3f}" if size < 100.0 else f"{value:.1f}"
    return text.replace("-", MINUS)


def format_p(value: float) -> str:
    """Return a p-value with four decimals."""
    if np.isnan(value):
        return ABSENT
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def cell(value: Any, style: Callable[[Any], str] = format_number) -> Cell:
    """Return the cell of a number, which ``style`` turns into text, of a truth value, or of text."""
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no")
    if isinstance(value, int | float | np.integer | np.floating):
        return Cell(style(value), float(value))
    return Cell(ABSENT if value is None else str(value))


def bracketed(*values: float, style: Callable[[Any], str] = format_number) -> tuple[Cell, ...]:
    """Return cells in brackets, ``(s.e.)`` for one value and ``[low, high]`` for two."""
    if len(values) == 1:
        made = cell(values[0], style)
        return (replace(made, text=f"({made.text})"),)
    low, high = (cell(value, style) for value in values)
    return replace(low, text=f"[{low.text},"), replace(high, text=f"{high.text}]")


def frame_table(
    key: str,
    title: str,
    note: str,
    frame: pd.DataFrame,
    head: Sequence[str] | None = None,
    corner: str = "",
    styles: Mapping[str, Callable[[Any], str]] | None = None,
    long: bool = False,
) -> Table:
    """Return the table of a frame, with the frame's index in the first column.

    Parameters
    ----------
    key, title, note : str
        As in ``Table``.
    frame : DataFrame
    head : sequence of str, optional
        Headings of the columns; by default their names.
    corner : str
        Heading of the index.
    styles : mapping, optional
        Functions from a number to text, by name of column; ``format_number`` for columns without one.
    long : bool
        As in ``Table``.

    Returns
    -------
    Table
    """
    styles = styles or {}
    columns = [
        [cell(value, styles.get(name, format_number)) for value in frame[name].tolist()] for name in frame.columns
    ]
    names = [_row_name(label) for label in frame.index]
    rows = tuple((Cell(name), *cells) for name, *cells in zip(names, *columns, strict=True))
    return Table(key, title, note, (corner, *map(str, frame.columns if head is None else head)), rows, long)


def _row_name(label: Any) -> str:
    """Return the label of a row as text, the levels of a tuple separated by commas."""
    return ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)
