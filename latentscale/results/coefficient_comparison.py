"""Estimates of several fits side by side, for reading and for papers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..checks import check_whole
from ..errors import DataError
from .comparison import comparison_row, read_fits, short_names
from .latex import LatexTable, escape, number, read_stars, star_note, stars
from .tables import glance, tidy

if TYPE_CHECKING:
    from .tables import Fit

_STATISTICS = {
    "nobs": "Scores",
    "n_llms": "LLMs",
    "n_families": "Families",
    "df_model": "Parameters",
    "llf": "Log-likelihood",
    "aic": "AIC",
    "bic": "BIC",
}


@dataclass(frozen=True, eq=False, repr=False)
class CoefficientTable:
    """Estimates of several fits side by side, as ``compare_coefficients`` returns them.

    Attributes
    ----------
    notes : tuple of str
        Sentences that say what speaks against reading a row as one quantity.
    """

    _long: pd.DataFrame
    _statistics: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def long(self) -> pd.DataFrame:
        """A row per fit and parameter: the name of the fit, then the columns of ``fit.tidy()``."""
        return self._long.copy()

    @property
    def estimates(self) -> pd.DataFrame:
        """Estimates, DataFrame of parameters by fits, NaN where a fit does not have the parameter."""
        return self._spread("estimate")

    @property
    def std_errors(self) -> pd.DataFrame:
        """Standard errors, DataFrame of parameters by fits."""
        return self._spread("std_error")

    @property
    def p_values(self) -> pd.DataFrame:
        """P-values of Wald tests against zero, DataFrame of parameters by fits."""
        return self._spread("p_value")

    @property
    def statistics(self) -> pd.DataFrame:
        """nobs, n_llms, n_families, df_model, llf, aic and bic of each fit, DataFrame of statistics by fits."""
        return self._statistics.copy()

    def _spread(self, column: str) -> pd.DataFrame:
        wide = self._long.pivot(index="parameter", columns="fit", values=column)
        return wide.reindex(index=self._order, columns=list(self._statistics.columns)).rename_axis(columns=None)

    @property
    def _order(self) -> list[str]:
        """Names of all parameters, kinds and the parameters of a kind in the order in which they first appear."""
        first = self._long.drop_duplicates("parameter")
        kinds = {kind: rank for rank, kind in enumerate(dict.fromkeys(first["kind"]))}
        return first.sort_values("kind", key=lambda kind: kind.map(kinds), kind="stable")["parameter"].tolist()

    def __repr__(self) -> str:
        return "\n".join([self.as_frame().to_string(), *(f"note: {note}" for note in self.notes)])

    def as_frame(self, digits: int = 2) -> pd.DataFrame:
        """Return text for reading: estimates with standard errors in parentheses, then the statistics of the fits.

        ``digits`` is the number of decimals. DataFrame of parameters and statistics by fits.
        """
        check_whole("digits", digits, 0, 12)
        estimates, errors = self.estimates, self.std_errors
        cells = pd.DataFrame("", index=estimates.index, columns=estimates.columns, dtype=object)
        for name in estimates.columns:
            for parameter in estimates.index[self._present(name)]:
                error = errors.loc[parameter, name]
                beneath = f" ({error:.{digits}f})" if np.isfinite(error) else ""
                cells.loc[parameter, name] = f"{estimates.loc[parameter, name]:.{digits}f}{beneath}"
        below = self._statistics.map(lambda value: _plain(value, digits)).rename(index=_STATISTICS)
        return pd.concat([cells, below]).rename_axis("parameter")

    def _present(self, name: str) -> np.ndarray:
        """Return which of the parameters a fit has."""
        return self.estimates.index.isin(self._long.loc[self._long["fit"] == name, "parameter"])

    def as_latex(
        self,
        digits: int = 2,
        stars: bool | Sequence[float] = False,
        caption: str | None = None,
        label: str | None = None,
        environment: bool = True,
    ) -> str:
        """Return LaTeX source, which needs the package booktabs, with standard errors beneath the estimates.

        Parameters
        ----------
        digits : int
            Number of decimals of estimates.
        stars : bool or sequence of float
            Whether p-values below .1, .05 and .01, or below the levels given, are marked by stars.
        caption, label : str, optional
            Caption and label of the table environment.
        environment : bool
            Whether the tabular stands in a ``table`` environment with caption and notes.

        Returns
        -------
        str
        """
        check_whole("digits", digits, 0, 12)
        levels = read_stars(stars)
        rows = [cells for parameter in self._order for cells in self._latex_rows(parameter, digits, levels)]
        below = [
            [_STATISTICS[key], *(number(value, 0 if float(value).is_integer() else digits) for value in row)]
            for key, row in zip(self._statistics.index, self._statistics.to_numpy(), strict=True)
        ]
        notes = ["Standard errors in parentheses.", *map(escape, self.notes)]
        if levels:
            notes.insert(1, star_note(levels))
        header = ["", *map(escape, self._statistics.columns)]
        return LatexTable(header, [rows, below], notes).render(caption, label, environment)

    def _latex_rows(self, parameter: str, digits: int, levels: Sequence[float]) -> list[list[str]]:
        """Return a row of estimates and one of standard errors, empty where a fit does not have the parameter."""
        by_fit = self._long[self._long["parameter"] == parameter].set_index("fit")
        upper, lower = [escape(parameter)], [""]
        for name in self._statistics.columns:
            if name in by_fit.index:
                row = by_fit.loc[name]
                upper.append(number(row["estimate"], digits) + stars(row["p_value"], levels))
                lower.append(f"({number(row['std_error'], digits)})")
            else:
                upper.append("")
                lower.append("")
        return [upper, lower]


def compare_coefficients(
    fits: Sequence[Fit] | Mapping[str, Fit],
    names: Sequence[str] | None = None,
    kinds: str | Sequence[str] | None = ("slope", "corr"),
    alpha: float = 0.05,
) -> CoefficientTable:
    """Put the estimates of several fits side by side, for reading and for papers.

    Parameters
    ----------
    fits : list of results, or dict from names to results
        LatentSkillResults, also rotated ones, and SlothResults.
    names : list of str, optional
        Names of the columns; by default short descriptions, as in ``compare``.
    kinds : str or sequence of str, optional
        Kinds of parameters, as in ``fit.tidy()``: slope, corr, cov, loading, intercept, precision, lower, upper,
        slope_sd, llm_sd; None for all.
    alpha : float
        One minus the level of the intervals in ``long``.

    Returns
    -------
    CoefficientTable
        It has ``estimates``, ``std_errors``, ``p_values``, ``statistics``, ``long``, ``notes``, ``as_frame()`` and
        ``as_latex()``.

    Raises
    ------
    DataError
        If there are no fits, if there are not as many names as fits, or if no fit has a parameter of these kinds.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
    >>> size = ls.LatentSkillModel(panel, "log(params_b)", {"g": "bbh"}).fit(integration="laplace", starts=1)
    >>> both = ls.LatentSkillModel(panel, "log(params_b) + log(tokens_t)", {"g": "bbh"})
    >>> table = compare_coefficients({"size": size, "both": both.fit(integration="laplace", starts=1)})
    >>> table.estimates.rename_axis(None).round(1)
                            size  both
    slope[log(params_b),g]   0.5   0.8
    slope[log(tokens_t),g]   NaN   1.0
    """
    fits, names = read_fits(fits, names)
    names = short_names([comparison_row(fit) for fit in fits]) if names is None else [str(name) for name in names]
    tables = [tidy(fit, alpha) for fit in fits]
    known = list(dict.fromkeys(kind for table in tables for kind in table["kind"]))
    kinds = known if kinds is None else list(np.atleast_1d(kinds))
    if not set(kinds) & set(known):
        raise DataError(f"No fit has parameters of the kinds {kinds}; there are {known}.")
    tables = [table[table["kind"].isin(kinds)].assign(fit=name) for table, name in zip(tables, names, strict=True)]
    long = pd.concat(tables, ignore_index=True)
    statistics = pd.concat([glance(fit) for fit in fits], ignore_index=True).set_axis(names)
    statistics = statistics[list(_STATISTICS)].astype(float).T
    long = long[["fit", *(column for column in long.columns if column != "fit")]]
    return CoefficientTable(long, statistics, tuple(_notes(fits, names)))


def _plain(value: float, digits: int) -> str:
    if not np.isfinite(value):
        return ""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.{digits}f}"


def _notes(fits: Sequence[Fit], names: Sequence[str]) -> Iterator[str]:
    """Yield sentences that say why a row may not be one quantity in all columns."""
    failed = [name for name, fit in zip(names, fits, strict=True) if not fit.converged]
    if failed:
        yield f"Not converged: {', '.join(failed)}."
    for what, read in (("LLMs and scores", _data), ("Standard errors", _errors), ("Skills", _skills)):
        same: dict[str, list[str]] = {}
        for name, fit in zip(names, fits, strict=True):
            same.setdefault(read(fit), []).append(name)
        if len(same) > 1:
            groups = "; ".join(f"{words} ({', '.join(group)})" for words, group in same.items())
            consequence = ", so that coefficients of a name need not be of one quantity" if what == "Skills" else ""
            yield f"{what} are not the same{consequence}: {groups}."


def _data(fit: Fit) -> str:
    return f"{fit.nobs} scores of {fit.n_llms} LLMs"


def _errors(fit: Fit) -> str:
    return str(fit.cov_type)


def _skills(fit: Fit) -> str:
    """Return how the skills of a fit are defined: the form of identification, and the benchmarks that set signs."""
    model = fit.model
    pattern = getattr(model, "pattern", None)
    if pattern is None:
        return type(model).__name__
    if np.isnan(pattern.fixed).all() and "rotation" in pattern.kind:
        return pattern.kind
    named = [
        f"{skill} by {', '.join(model.benchmarks[j] for j in where)}" if where else str(skill)
        for skill, where in zip(pattern.skills, pattern.positive, strict=True)
    ]
    return f"{pattern.kind}: {'; '.join(named)}"
