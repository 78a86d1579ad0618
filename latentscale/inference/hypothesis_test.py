"""What a test returns: statistics in a table, and the outcome as a sentence."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from ..tables import counted

JOINT = "jointly"
_METHODS = {"wald": "Wald", "lr": "likelihood ratio", "score": "score"}


@dataclass(frozen=True, eq=False)
class HypothesisTest:
    """A hypothesis, tested as a whole and, if it is made of several, each of these by itself.

    Attributes
    ----------
    title : str
    hypothesis : str
        The null hypothesis in words.
    table : DataFrame
        Index (part, method), columns statistic, df, p_value; the first part is ``"jointly"``. For a chi-bar-square
        distribution df is the number of variances tested.
    notes : tuple of str
    restriction : tuple of str
        The joint restriction, row by row, in parameter names.
    """

    title: str
    hypothesis: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    restriction: tuple[str, ...] = field(default=(), repr=False)

    @property
    def method(self) -> str:
        """The method of ``statistic`` and ``pvalue``: the first that was asked for."""
        return self.table.index[0][1]

    @property
    def statistic(self) -> float:
        """Statistic of the joint hypothesis."""
        return float(self.table["statistic"].iloc[0])

    @property
    def df(self) -> int:
        """Degrees of freedom of the joint hypothesis."""
        return int(self.table["df"].iloc[0])

    @property
    def pvalue(self) -> float:
        """p-value of the joint hypothesis."""
        return float(self.table["p_value"].iloc[0])

    @property
    def sentence(self) -> str:
        """The joint test as a sentence."""
        word = _METHODS.get(self.method, self.method)
        if not np.isfinite(self.statistic):
            return f"{self.hypothesis}: the {word} statistic does not exist."
        notes = " ".join(self.notes)
        law = "chi-square"
        if "chi-bar" in notes or "simulated under" in notes:
            law = "simulated law" if self.method == "score" else "chi-bar-square"
        return (
            f"{self.hypothesis}: the {word} statistic is {self.statistic:.2f} on "
            f"{counted(self.df, 'degree')} of freedom ({law}, {_p_words(self.pvalue)})."
        )

    def summary_frame(self) -> pd.DataFrame:
        """Return the table with parts and methods as columns, to paste into a paper."""
        return self.table.reset_index()

    def __str__(self) -> str:
        shown = self.table.reset_index()
        shown["statistic"] = shown["statistic"].map("{:.3f}".format)
        shown["p_value"] = shown["p_value"].map("{:.4f}".format)
        lines = [self.title, "H0: " + self.hypothesis, "", shown.to_string(index=False), "", self.sentence]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _p_words(value: float) -> str:
    """Return a p-value in words."""
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}"


def test_table(rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Return the table of a HypothesisTest from rows (part, method, statistic, df, p-value)."""
    frame = pd.DataFrame(rows, columns=["part", "method", "statistic", "df", "p_value"])
    return frame.set_index(["part", "method"])


vars(test_table)["__test__"] = False  # pytest would take it for a test by its name
