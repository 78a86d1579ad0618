"""What a test hands back: a table that reads as a sentence."""

from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

JOINT = "jointly"
_METHODS = {"wald": "Wald", "lr": "likelihood ratio", "score": "score"}


@dataclass(frozen=True, eq=False)
class HypothesisTest:
    """A hypothesis tested jointly and, where it has parts, part by part.

    Attributes
    ----------
    title : str
    hypothesis : str
        The null hypothesis in words.
    table : DataFrame
        Index (part, method), columns statistic, df, p_value; the first part is ``"jointly"``. Under a
        chi-bar-square law df is the number of variances tested.
    notes : tuple of str
    restriction : tuple of str
        The joint restriction, row by row, in parameter names.
    """

    title: str
    hypothesis: str
    table: pd.DataFrame
    notes: tuple = ()
    restriction: tuple = field(default=(), repr=False)

    @property
    def method(self):
        """The method of ``statistic`` and ``pvalue``: the first one asked for."""
        return self.table.index[0][1]

    @property
    def statistic(self):
        """Of the joint hypothesis."""
        return float(self.table["statistic"].iloc[0])

    @property
    def df(self):
        """Degrees of freedom of the joint hypothesis."""
        return int(self.table["df"].iloc[0])

    @property
    def pvalue(self):
        """Of the joint hypothesis."""
        return float(self.table["p_value"].iloc[0])

    @property
    def sentence(self):
        """The joint test as a sentence."""
        word = _METHODS.get(self.method, self.method)
        if not np.isfinite(self.statistic):
            return f"{self.hypothesis}: the {word} statistic does not exist."
        notes = " ".join(self.notes)
        law = "chi-square"
        if "chi-bar" in notes or "simulated under" in notes:
            law = "simulated law" if self.method == "score" else "chi-bar-square"
        return (
            f"{self.hypothesis}: the {word} statistic is {self.statistic:.2f} on {self.df} "
            f"degree{'s' if self.df > 1 else ''} of freedom ({law}, {_p_words(self.pvalue)})."
        )

    def summary_frame(self):
        """The table with parts and methods as columns, to paste into a paper."""
        return self.table.reset_index()

    def __str__(self):
        shown = self.table.reset_index()
        shown["statistic"] = shown["statistic"].map("{:.3f}".format)
        shown["p_value"] = shown["p_value"].map("{:.4f}".format)
        lines = [self.title, "H0: " + self.hypothesis, "", shown.to_string(index=False), "", self.sentence]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])

    def _repr_html_(self):
        return f"<pre>{escape(str(self))}</pre>"


def _p_words(value):
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}"


def test_table(rows):
    """Table of (part, method, statistic, df, p-value) rows."""
    frame = pd.DataFrame(rows, columns=["part", "method", "statistic", "df", "p_value"])
    return frame.set_index(["part", "method"])


test_table.__test__ = False  # not a test of pytest's
