"""Findings: checks with their outcome in words, as reports on identification and on fits are made of them."""

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """A check and its outcome.

    Attributes
    ----------
    check : str
        Name of the check.
    outcome : {"ok", "note", "problem"}
    message : str
        What was found, what it means and, unless all is well, what to do.
    parameters : tuple of str
        Parameters concerned.
    numbers : dict of str to float
        The numbers on which the outcome rests, by name.
    """

    check: str
    outcome: str
    message: str
    parameters: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.outcome.upper() if self.outcome == 'problem' else self.outcome:<8}{self.check}: {self.message}"


class Findings:
    """What reports of findings share. A subclass has ``checks``, a tuple of Finding, and ``title``, a line of text."""

    if TYPE_CHECKING:  # what a subclass has; definitions at run time would stand in the way of its attributes

        @property
        def checks(self) -> tuple[Finding, ...]: ...

        @property
        def title(self) -> str: ...

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that something must be done about, tuple of Finding."""
        return tuple(finding for finding in self.checks if finding.outcome == "problem")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """The findings that a reader should know of, tuple of Finding."""
        return tuple(finding for finding in self.checks if finding.outcome == "note")

    @property
    def table(self) -> pd.DataFrame:
        """One row per check: check, outcome, message, parameters (joined by commas), then the numbers."""
        rows = [
            {
                "check": finding.check, "outcome": finding.outcome, "message": finding.message,
                "parameters": ", ".join(finding.parameters), **finding.numbers,
            }
            for finding in self.checks
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        return "\n".join([self.title, *(str(finding) for finding in self.checks)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(finding.outcome)}</td><td>{html.escape(finding.check)}</td>"
            f"<td style='text-align:left'>{html.escape(finding.message)}</td></tr>"
            for finding in self.checks
        )
        return f"<table><caption>{html.escape(self.title)}</caption>{rows}</table>"
