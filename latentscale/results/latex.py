"""LaTeX tables with booktabs rules, from cells that are text, numbers or estimates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError

STAR_LEVELS = (0.1, 0.05, 0.01)
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{character: "\\" + character for character in "#$%&_{}"},
    "[": "{[}",  # a bracket at the start of a line would be read as the argument of the line break before it
    "]": "{]}",
}


def escape(text: object) -> str:
    r"""Return LaTeX source that prints a text as it is, so that no name in the data can become a command.

    Examples
    --------
    >>> print(escape(r"100% of a_b & \input{x}"))
    100\% of a\_b \& \textbackslash{}input\{x\}
    """
    return "".join(_ESCAPES.get(character, character) for character in " ".join(str(text).split()))


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with its decimals, in math mode if it is negative, and two dashes for None, NaN and infinity.

    A number that would be rounded to zero is given more decimals, until its first digit shows.

    Examples
    --------
    >>> number(-0.5), number(1234.5678, 1), number(0.0012), number(float("nan"))
    ('$-0.50$', '1234.6', '0.001', '--')
    """
    if value is None or not np.isfinite(value):
        return "--"
    size = abs(value)
    if size >= 1e6 or 0.0 < size < 1e-6:
        mantissa, power = f"{value:.{max(digits - 1, 0)}e}".split("e")
        return rf"${mantissa} \times 10^{{{int(power)}}}$"
    if 0.0 < size < 0.5 * 10.0**-digits:
        digits = int(np.ceil(-np.log10(size)))
    text = f"{value:.{digits}f}"
    return f"${text}$" if text.startswith("-") else text


def stars(p_value: float, levels: Sequence[float] = STAR_LEVELS) -> str:
    """Return a star for each level that a p-value is below, set without width so that the column stays aligned.

    Examples
    --------
    >>> stars(0.03), stars(0.5)
    ('\\\\rlap{$^{**}$}', '')
    """
    count = sum(p_value < level for level in levels)
    return rf"\rlap{{$^{{{'*' * count}}}$}}" if count else ""


def read_stars(given: bool | Sequence[float] | None) -> tuple[float, ...]:
    """Return the levels of stars in descending order: none for False, .1, .05 and .01 for True.

    Raises
    ------
    DataError
        If a level is not between 0 and 1.
    """
    if given is False or given is None:
        return ()
    levels = STAR_LEVELS if given is True else tuple(np.atleast_1d(given).tolist())
    if not all(isinstance(level, float) and 0.0 < level < 1.0 for level in levels):
        raise DataError(f"stars is False, True or levels between 0 and 1, such as {STAR_LEVELS}; not {given!r}.")
    return tuple(sorted(levels, reverse=True))


def star_note(levels: Sequence[float]) -> str:
    """Return what the stars mean, as LaTeX; empty without stars."""
    words = ", ".join(rf"{'*' * (rank + 1)} $p < {level:g}$" for rank, level in enumerate(levels))
    return f"{words}." if words else ""


@dataclass(frozen=True)
class LatexTable:
    """A table whose cells are LaTeX source.

    Attributes
    ----------
    header : sequence of str
        Heads of the columns, the first one for the labels of the rows.
    blocks : sequence of sequences of rows
        Rows with as many cells as the header. A horizontal rule separates the blocks.
    notes : sequence of str
        Sentences under the table.
    left : int
        Number of columns, from the left, that are set flush left; the others are set flush right.
    """

    header: Sequence[str]
    blocks: Sequence[Sequence[Sequence[str]]]
    notes: Sequence[str] = ()
    left: int = 1

    def render(self, caption: str | None = None, label: str | None = None, environment: bool = True) -> str:
        """Return LaTeX source: the tabular, with ``environment`` in a ``table`` that has caption, label and notes.

        The document needs the package booktabs. Raises a DataError if the label has characters that LaTeX does not
        allow in labels.
        """
        columns = "l" * self.left + "r" * (len(self.header) - self.left)
        body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _row(self.header)]
        for block in self.blocks:
            body += [r"\midrule", *map(_row, block)]
        body += [r"\bottomrule", r"\end{tabular}"]
        if not environment:
            return "\n".join(body) + "\n"
        lines = [r"\begin{table}[htbp]", r"\centering"]
        if caption is not None:
            lines.append(rf"\caption{{{escape(caption)}}}")
        if label is not None:
            lines.append(rf"\label{{{_safe_label(label)}}}")
        lines += body
        if self.notes:
            lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *self.notes, r"\end{minipage}"]
        return "\n".join([*lines, r"\end{table}"]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells).rstrip() + r" \\"


def _safe_label(label: str) -> str:
    """Return a label unchanged, or raise a DataError if LaTeX would not accept it."""
    if not label or any(character in _ESCAPES and character != "_" for character in label):
        raise DataError(f"label {label!r} holds characters that LaTeX does not allow in labels; use letters and -:_.")
    return label
