"""Tables of the report: cells that keep the number they show, made from the frames of a results object."""

from dataclasses import dataclass, replace

import numpy as np

ABSENT, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    text : str
        What is shown.
    value : float or None
        The number behind it, as the results hold it; None for words.
    below : tuple of Cell
        Shown in small letters beneath, such as a standard error.
    """

    text: str
    value: float | None = None
    below: tuple = ()

    @property
    def number(self):
        """``value`` as text that reads back as the same double; empty where it is missing."""
        return "" if self.value is None or np.isnan(self.value) else repr(self.value)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    key : str
        Its id in the page; never made of a user's words.
    title : str
    note : str
        What the columns are, units included.
    head : tuple of str
    rows : tuple of tuple of Cell
        The first cell of each is the row's name.
    long : bool
        Shown in a box of limited height.
    """

    key: str
    title: str
    note: str
    head: tuple
    rows: tuple
    long: bool = False


def format_number(value):
    """A number in four significant digits or so; whole numbers whole."""
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


def format_p(value):
    """A p-value in four decimals."""
    if np.isnan(value):
        return ABSENT
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def cell(value, style=format_number):
    """A cell of a number or of words."""
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no")
    if isinstance(value, int | float | np.integer | np.floating):
        return Cell(style(value), float(value))
    return Cell(ABSENT if value is None else str(value))


def bracketed(*values, style=format_number):
    """A small cell for each of the values, in brackets: ``(s.e.)`` of one, ``[low, high]`` of two."""
    if len(values) == 1:
        made = cell(values[0], style)
        return (replace(made, text=f"({made.text})"),)
    low, high = (cell(value, style) for value in values)
    return replace(low, text=f"[{low.text},"), replace(high, text=f"{high.text}]")


def frame_table(key, title, note, frame, head=None, corner="", styles=None, long=False):
    """Table of a frame, its index first.

    Parameters
    ----------
    key, title, note : str
    frame : DataFrame
    head : sequence of str, optional
        Names of the columns in words; those of the frame by default.
    corner : str
        Name of the index.
    styles : dict, optional
        Column -> function from a number to text.
    long : bool
    """
    styles = styles or {}
    columns = [
        [cell(value, styles.get(name, format_number)) for value in frame[name].tolist()] for name in frame.columns
    ]
    names = [_row_name(label) for label in frame.index]
    rows = tuple((Cell(name), *cells) for name, *cells in zip(names, *columns, strict=True))
    return Table(key, title, note, (corner, *map(str, frame.columns if head is None else head)), rows, long)


def _row_name(label):
    return ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)
