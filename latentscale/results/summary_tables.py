"""What the summaries of all models consist of: the Summary itself, tables of estimates, numbers and numbered notes."""

from __future__ import annotations

import copy
import csv
import html
import io
import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from statsmodels.iolib.summary import Summary
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params

from .latex import escape

if TYPE_CHECKING:
    import pandas as pd

    from ..inference.named_estimates import NamedEstimates
    from ..parameters.kinds import Kind

_PAIRS = {**fmt_params, "data_aligns": "lrlr", "data_fmts": ["%s"] * 4, "colwidths": None}
MATRIX = {**fmt_params, "data_aligns": "r", "header_align": "r"}
_WIDTH = 4  # decimals in tables


def format_number(value: float, digits: int = _WIDTH) -> str:
    """Return a number with its decimals, large ones in scientific notation; empty for NaN and infinity."""
    if not np.isfinite(value):
        return ""
    return f"{value:.{digits}f}" if abs(value) < 1e5 else f"{value:.3e}"


class SkillSummary(Summary):
    """A statsmodels Summary that is safe and complete in every format.

    statsmodels does not escape names in HTML and CSV, and in LaTeX puts tables of different widths into one tabular.
    """

    def as_csv(self) -> str:
        """Return CSV: each table below its title, then the notes; cells with commas or quotes are quoted."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for table in self.tables:
            writer.writerow([table.title])
            writer.writerows([str(cell.data).strip() for cell in row] for row in table)
        writer.writerows([line] for line in (self.extra_txt or "").split("\n"))
        return out.getvalue()

    def as_latex(self) -> str:
        """Return LaTeX: a tabular per table, then the notes; names in the data cannot become commands."""
        # the replacements that statsmodels makes do not escape backslashes and braces
        tables = [_map_cells(table, escape).as_latex_tabular(replacements={}) for table in self.tables]
        notes = " \\newline\n".join(map(escape, (self.extra_txt or "").split("\n")))
        return "\n\n".join([*tables, notes])

    def as_html(self) -> str:
        """Return HTML: the tables, then the notes; names in the data cannot become markup."""
        escaped = [_map_cells(table, html.escape) for table in self.tables]
        tables = [table.as_html() for table in escaped]
        notes = html.escape(self.extra_txt or "").replace("\n", "<br/>\n")
        return "\n".join(tables) + ("<br/><br/>" + notes if notes else "")


def _map_cells(table: SimpleTable, change: Callable[[str], str]) -> SimpleTable:
    """Return a copy of a table with a function applied to its title and to every cell."""
    copied = copy.deepcopy(table)
    copied.title = change(copied.title or "")
    for row in copied:
        for cell in row:
            cell.data = change(str(cell.data))
    return copied


def coefficient_tables(
    fit: NamedEstimates, table: pd.DataFrame, alpha: float, titles: dict[Kind, str] | None = None
) -> list[SimpleTable]:
    """Return a table of estimates for each title that kinds of parameters have, in the order of the parameters.

    Parameters
    ----------
    fit : NamedEstimates
    table : DataFrame
        ``fit.parameter_table(alpha)``.
    alpha : float
        One minus the level of the intervals.
    titles : dict, optional
        Titles of kinds, where they differ from ``Kind.title``.
    """
    return [coefficients(table[rows], title, alpha) for title, rows in fit.parameters.by_title(titles).items()]


def coefficients(estimates: pd.DataFrame, title: str, alpha: float) -> SimpleTable:
    """Return a table of estimates with standard errors, z statistics, p-values and intervals."""
    header = ["coef", "std err", "z", "P>|z|", f"[{alpha / 2:.3g}", f"{1 - alpha / 2:.3g}]"]
    rows = [
        [
            format_number(row["estimate"]), format_number(row["std_err"]), format_number(row["z"], 3),
            format_number(row["p_value"], 3), format_number(row["ci_lower"], 3), format_number(row["ci_upper"], 3),
        ]
        for _, row in estimates.iterrows()
    ]  # fmt: skip
    return SimpleTable(rows, header, list(estimates.index), title=title, txt_fmt=fmt_params)


def paired_table(left: list[tuple[str, str]], right: list[tuple[str, str]], title: str) -> SimpleTable:
    """Return the header of a summary: names and values in two columns of as many rows."""
    rows = [[a, b, "  " + c, d] for (a, b), (c, d) in zip(left, right, strict=True)]
    return SimpleTable(rows, title=title, txt_fmt=_PAIRS)


def numbered_notes(notes: Iterable[str], width: int = 100) -> list[str]:
    """Return the lines of notes, which are numbered, the second and later lines of each indented."""
    return [
        line
        for number, note in enumerate(notes, 1)
        for line in textwrap.wrap(f"[{number}] {note}", width, subsequent_indent="    ")
    ]
