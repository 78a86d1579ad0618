"""Tables of a fit for papers and for other software: tidy data frames, LaTeX with booktabs, and maketables.

All numbers are taken from the fit; nothing is estimated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from ..checks import check_one_of, check_whole
from ..errors import DataError
from ..inference.hypothesis_test import HypothesisTest
from ..parameters.kinds import CORRELATION, COVARIANCE, INTERCEPT, LOADING, LOWER, PRECISION, SLOPE, UPPER, VARIANCE
from .estimates import Estimates
from .latex import LatexTable, escape, number, read_stars, star_note, stars

if TYPE_CHECKING:
    from ..parameters.kinds import Kind
    from ..sloth.results import SlothResults
    from .latent_skill import LatentSkillResults

    Fit: TypeAlias = LatentSkillResults | SlothResults

TIDY_COLUMNS = (
    "parameter", "kind", "benchmark", "skill", "covariate", "other_skill", "estimate", "std_error", "statistic",
    "p_value", "conf_low", "conf_high",
)  # fmt: skip
_KINDS = ("loadings", "slopes", "correlations", "benchmarks", "tests", "fit")


class Tables(Estimates):
    """Methods of ``LatentSkillResults`` that return tidy data frames and LaTeX tables."""

    def tidy(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a row per estimated parameter.

        Parameters
        ----------
        alpha : float
            One minus the level of the Wald intervals, in (0, 1).

        Returns
        -------
        DataFrame (P, 12)
            parameter (its name in ``params``), kind (such as loading, slope, corr, precision), benchmark, skill,
            covariate and other_skill (of correlations) where they apply, estimate, std_error, statistic (the Wald z
            statistic against zero), p_value, conf_low, conf_high. The statistic and p-value of precisions, asymptotes,
            variances and standard deviations are NaN, because zero is not inside the space of these parameters.

        Examples
        --------
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
        >>> fit = ls.LatentSkillModel(panel, "log(params_b)", skills={"g": "bbh"}).fit(integration="laplace", starts=1)
        >>> fit.tidy().query("kind == 'slope'")[["covariate", "skill", "estimate"]].round(1)
               covariate skill  estimate
        6  log(params_b)     g       0.5
        """
        return tidy(self._results, alpha)

    def glance(self) -> pd.DataFrame:
        """Return one row of numbers about the fit as a whole.

        Returns
        -------
        DataFrame (1, 21)
            nobs, n_llms, n_families, n_benchmarks, n_skills, skills, identification, scaling, asymptotes, link,
            df_model, llf, llf_se, llf_error, llf_penalised, aic, bic, rule, cov_type, converged, starts_at_best.
        """
        return glance(self._results)

    def augment(self, columns: str | Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
        """Return a row per observed score in the likelihood, with its fitted value and residuals.

        Parameters
        ----------
        columns : str or sequence of str
            Columns of the panel's table to carry along, such as ``"params_b"``.
        seed : int
            Seed of the draws of the quantile residuals.

        Returns
        -------
        DataFrame
            llm, family, benchmark, the ``columns``, score (as in the table), observed (as it enters the likelihood,
            after the policy for scores of 0 and 1), fitted (E[Y | data]), residual (observed - fitted),
            pearson_residual, quantile_residual (standard normal under the model), precision (of the benchmark).

        Raises
        ------
        DataError
            If the panel lacks one of ``columns``, or it has the name of another column of this table.
        """
        return augment(self._results, columns, seed)

    def to_latex(
        self,
        kind: str = "loadings",
        digits: int = 2,
        stars: bool | Sequence[float] = False,
        caption: str | None = None,
        label: str | None = None,
        environment: bool = True,
        tests: HypothesisTest | Sequence[HypothesisTest] | None = None,
    ) -> str:
        r"""Return a table for a paper as LaTeX source, which needs the package booktabs.

        Standard errors stand in parentheses beneath the estimates; fixed entries have none.

        Parameters
        ----------
        kind : {"loadings", "slopes", "correlations", "benchmarks", "tests", "fit"}
            ``"loadings"``: benchmarks by skills. ``"slopes"``: terms of the scaling by skills. ``"correlations"``: the
            correlations of family effects, or their covariances where these are parameters. ``"benchmarks"``:
            intercepts, precisions and asymptotes. ``"tests"``: statistic, degrees of freedom and p-value of each test.
            ``"fit"``: the numbers of ``glance``.
        digits : int
            Number of decimals of estimates, 0 to 12.
        stars : bool or sequence of float
            Whether p-values of loadings, slopes and correlations below .1, .05 and .01, or below the levels given, are
            marked by stars.
        caption, label : str, optional
            Caption and label of the table environment.
        environment : bool
            Whether the tabular stands in a ``table`` environment with caption and notes.
        tests : HypothesisTest or sequence of them, optional
            The tests for ``kind="tests"``. By default the Wald tests of no interaction, FLOPs sufficiency and equal
            slopes for which the scaling has the terms.

        Returns
        -------
        str

        Raises
        ------
        DataError
            For an unknown kind, ``tests`` that are not HypothesisTests, or a label that LaTeX does not allow.

        Examples
        --------
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
        >>> fit = ls.LatentSkillModel(panel, "log(params_b)", skills={"g": "bbh"}).fit(integration="laplace", starts=1)
        >>> print(fit.to_latex("slopes", digits=1, environment=False))
        \begin{tabular}{lr}
        \toprule
         & g \\
        \midrule
        log(params\_b) & 0.5 \\
         & (0.05) \\
        \bottomrule
        \end{tabular}
        <BLANKLINE>
        """
        levels = read_stars(stars)
        return latex_table(self._results, kind, digits, levels, tests).render(caption, label, environment)

    def to_maketables(self, kinds: str | Sequence[str] | None = None) -> MaketablesView:
        """Return a view of this fit for maketables: ``maketables.ETable([fit.to_maketables(), ...])``.

        maketables would take the fit itself for results of statsmodels and garble the names of its parameters. It is
        installed by ``pip install maketables``.

        Parameters
        ----------
        kinds : str or sequence of str, optional
            Kinds of parameters to show, as in ``tidy``, such as slope and loading; all by default.

        Returns
        -------
        MaketablesView

        Raises
        ------
        DataError
            If no parameter is of these kinds.

        Examples
        --------
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
        >>> fit = ls.LatentSkillModel(panel, "log(params_b)", skills={"g": "bbh"}).fit(integration="laplace", starts=1)
        >>> table = fit.to_maketables("slope").__maketables_coef_table__
        >>> table.loc["slope of g on log(params_b)", ["b", "se"]].round(2).to_dict()
        {'b': 0.45, 'se': 0.05}
        """
        return MaketablesView(self._results, kinds)


class MaketablesView:
    """A fit in the plug-in format of maketables, as ``fit.to_maketables()`` returns it.

    Parameters
    ----------
    fit : results
    kinds : str or sequence of str, optional
    """

    def __init__(self, fit: Fit, kinds: str | Sequence[str] | None = None) -> None:
        table = tidy(fit, 0.05).assign(words=[parameter.in_words for parameter in fit.parameters])
        if kinds is not None:
            known = list(table["kind"].unique())
            table = table[table["kind"].isin(np.atleast_1d(kinds))]
            if table.empty:
                raise DataError(f"No parameter is of the kinds {kinds!r}; there are {known}.")
        names = {
            "estimate": "b", "std_error": "se", "statistic": "t", "p_value": "p", "conf_low": "ci95l",
            "conf_high": "ci95u",
        }  # fmt: skip
        # maketables reads brackets in names as levels of categorical variables
        index = pd.Index(table["words"], name="Coefficient")
        self._table = table[list(names)].rename(columns=names).set_axis(index)
        self._row, self._cov_type = glance(fit).iloc[0], fit.cov_type

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        return self._table.copy()

    def __maketables_stat__(self, key: str) -> Any:
        value = self._row.get({"N": "nobs", "ll": "llf", "se_type": "cov_type"}.get(key, key))
        if value is None or pd.isna(value):
            return None
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "no"
        return value.item() if isinstance(value, np.generic) else value

    @property
    def __maketables_depvar__(self) -> str:
        return "score"

    @property
    def __maketables_vcov_info__(self) -> dict[str, Any]:
        return {"vcov_type": self._cov_type, "clustervar": "family" if self._cov_type == "cluster" else None}

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        return {
            "N": "Scores", "nobs": "Scores", "n_llms": "LLMs", "n_families": "Families", "df_model": "Parameters",
            "llf": "Log-likelihood", "ll": "Log-likelihood", "aic": "AIC", "bic": "BIC", "converged": "Converged",
            "se_type": "Standard errors",
        }  # fmt: skip

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        return ["N", "n_llms", "n_families", "df_model", "llf", "aic", "bic", "se_type"]


# --- frames ----------------------------------------------------------------------------------------------------------


def tidy(fit: Fit, alpha: float = 0.05) -> pd.DataFrame:
    """Return a row per parameter, see ``Tables.tidy``; also for SlothResults."""
    interval = fit.conf_int(alpha)
    rows = pd.DataFrame([{"kind": parameter.kind.word, **parameter.parts} for parameter in fit.parameters])
    rows = rows.reindex(columns=["kind", "benchmark", "skill", "covariate", "other_skill"])
    tested = np.array([parameter.kind.zero_is_tested for parameter in fit.parameters])
    numbers = {
        "estimate": fit.params,
        "std_error": fit.bse,
        "statistic": fit.tvalues.where(tested),
        "p_value": fit.pvalues.where(tested),
        "conf_low": interval["lower"],
        "conf_high": interval["upper"],
    }
    numbers = pd.DataFrame({name: column.to_numpy(dtype=float) for name, column in numbers.items()})
    table = pd.concat([pd.Series(fit.params.index, name="parameter", dtype=object), rows, numbers], axis=1)
    return table[list(TIDY_COLUMNS)]


def glance(fit: Fit) -> pd.DataFrame:
    """Return one row about a fit, see ``Tables.glance``; entries that SlothResults do not have are NaN."""
    model, estimate = fit.model, getattr(fit, "estimate", None)
    skills, rule, starts = list(getattr(model, "skills", ())), getattr(estimate, "rule", None), fit.starts
    row = {
        "nobs": fit.nobs,
        "n_llms": fit.n_llms,
        "n_families": fit.n_families,
        "n_benchmarks": len(model.benchmarks),
        "n_skills": len(skills),
        "skills": ", ".join(map(str, skills)),
        "identification": getattr(getattr(model, "pattern", None), "kind", np.nan),
        "scaling": model.scaling or "none",
        "asymptotes": model.asymptotes,
        "link": model.link,
        "df_model": fit.df_model,
        **{name: getattr(fit, name, np.nan) for name in ("llf", "llf_se", "llf_error", "llf_penalised", "aic", "bic")},
        "rule": np.nan if rule is None else str(rule),
        "cov_type": fit.cov_type,
        "converged": fit.converged,
        "starts_at_best": f"{int(starts['reached_best'].sum())} of {len(starts)}",
    }
    return pd.DataFrame([row])


def augment(fit: LatentSkillResults, columns: str | Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """Return a row per observed score, see ``Tables.augment``."""
    model = fit.model
    prepared = np.where(np.asarray(model.prepared.state) < 0, np.nan, model.prepared.y)
    i, j = np.nonzero(~np.isnan(prepared))
    benchmarks = list(model.benchmarks)
    fitted, quantile, pearson = fit.predict(), fit.residuals("quantile", seed), fit.residuals("pearson")
    raw = model.panel.scores[model.rows.keep]
    out = {
        "llm": np.asarray(model.llms, dtype=object)[i],
        "family": np.asarray(model.families, dtype=object)[np.asarray(model.family_codes)[i]],
        "benchmark": np.array(benchmarks, dtype=object)[j],
    }
    numbers = {
        "score": raw.to_numpy()[i, j],
        "observed": prepared[i, j],
        "fitted": fitted.to_numpy()[i, j],
        "residual": prepared[i, j] - fitted.to_numpy()[i, j],
        "pearson_residual": pearson.to_numpy()[i, j],
        "quantile_residual": quantile.to_numpy()[i, j],
        "precision": fit.precision.to_numpy()[j],
    }
    columns = [columns] if isinstance(columns, str) else list(columns)
    table = model.panel.table[model.rows.keep]
    absent = [name for name in columns if name not in table.columns]
    taken = [name for name in columns if name in (*out, *numbers) and name != "family"]
    if absent or taken:
        what = f"no columns {absent}" if absent else f"columns {taken}, whose names this table needs itself"
        raise DataError(f"The panel has {what}; it has {list(table.columns)}.")
    out |= {name: table[name].to_numpy()[i] for name in columns if name != "family"}
    return pd.DataFrame(out | numbers)


# --- LaTeX -----------------------------------------------------------------------------------------------------------


def latex_table(
    fit: Fit,
    kind: str,
    digits: int,
    levels: Sequence[float],
    tests: HypothesisTest | Sequence[HypothesisTest] | None = None,
) -> LatexTable:
    """Return a table of one kind as cells of LaTeX; see ``Tables.to_latex``."""
    check_one_of("kind", kind, _KINDS)
    check_whole("digits", digits, 0, 12)
    if tests is not None and kind != "tests":
        raise DataError(f"tests belong to kind='tests', not to {kind!r}.")
    if kind == "tests":
        return _tests(fit, tests)
    if kind == "fit":
        return _fit(fit)
    if kind == "benchmarks":
        return _benchmarks(fit, digits)
    return _matrix(fit, kind, digits, levels)


def _matrix(fit: Fit, kind: str, digits: int, levels: Sequence[float]) -> LatexTable:
    """Return the table of loadings, slopes or correlations, with a column for each skill."""
    skills = list(fit.model.skills)
    words: tuple[Kind, ...]
    if kind == "correlations":
        # variances are parameters where a fixed loading sets the unit of a skill; otherwise all are one
        free = fit.parameters.are(COVARIANCE, VARIANCE).any()
        values = fit.skill_cov if free and isinstance(fit, Estimates) else fit.skill_corr
        words = (COVARIANCE, CORRELATION)
    else:
        values = fit.loadings if kind == "loadings" else fit.slopes
        words = (LOADING if kind == "loadings" else SLOPE,)
    table, rows, fixed = tidy(fit).set_index("parameter"), [], False
    for number_of_row, row in enumerate(values.index):
        upper, lower = [escape(row)], [""]
        for number_of_column, column in enumerate(skills):
            if kind == "correlations" and number_of_column > number_of_row:
                cells = ["", ""]
            else:
                value = values.iloc[number_of_row, number_of_column]
                labels = (column, row) if kind == "correlations" else (row, column)
                names = [word.name_of(*labels) for word in words]
                name = next((name for name in names if name in table.index), names[0])
                cells = _cells(table, name, value, digits, levels)
                fixed |= name not in table.index
            upper.append(cells[0])
            lower.append(cells[1])
        rows += [upper, lower] if any(lower) else [upper]
    return LatexTable(["", *map(escape, skills)], [rows], _notes(fit, levels, fixed))


def _cells(table: pd.DataFrame, name: str, value: float, digits: int, levels: Sequence[float] = ()) -> list[str]:
    """Return the cells of an estimate and of its standard error beneath, which is empty where the value is fixed."""
    if name not in table.index:
        return [f"${value:g}$" if value < 0 else f"{value:g}", ""]
    row = table.loc[name]
    return [number(value, digits) + stars(row["p_value"], levels), f"({number(row['std_error'], digits)})"]


def _benchmarks(fit: Fit, digits: int) -> LatexTable:
    """Return the table of intercepts, precisions and asymptotes, with rows for each benchmark."""
    table, ends = tidy(fit).set_index("parameter"), fit.asymptotes
    values = {INTERCEPT: fit.intercepts, PRECISION: getattr(fit, "precision", None)}
    values |= {LOWER: ends["lower"], UPPER: ends["upper"]}
    values = {kind: column for kind, column in values.items() if column is not None}
    rows, fixed = [], False
    for j, benchmark in enumerate(fit.model.benchmarks):
        cells = [_cells(table, kind.name_of(benchmark), column.iloc[j], digits) for kind, column in values.items()]
        fixed |= any(not beneath for _, beneath in cells)
        rows += [[escape(benchmark), *(cell[0] for cell in cells)], ["", *(cell[1] for cell in cells)]]
    return LatexTable(["", *(kind.word.capitalize() for kind in values)], [rows], _notes(fit, (), fixed))


def _tests(fit: Fit, tests: HypothesisTest | Sequence[HypothesisTest] | None) -> LatexTable:
    """Return the table of tests, with a block per hypothesis and a row per part of it and method."""
    if tests is None:
        tests = _named_tests(fit)
    tests = [tests] if isinstance(tests, HypothesisTest) else list(tests)
    if not tests or not all(isinstance(test, HypothesisTest) for test in tests):
        raise DataError("tests are what fit.test_no_interaction() and its like return, at least one of them.")
    methods = {"wald": "Wald", "lr": "likelihood ratio", "score": "score"}
    blocks = []
    for test in tests:
        title, rows = escape(test.title), []
        for (part, method), row in test.table.iterrows():
            p_value = row["p_value"]
            shown = "--" if not np.isfinite(p_value) else "$<$0.0001" if p_value < 1e-4 else f"{p_value:.4f}"
            degrees = f"{row['df']:g}" if np.isfinite(row["df"]) else "--"
            rows.append([title, escape(part), methods.get(method, escape(method)), number(row["statistic"], 2)])
            rows[-1] += [degrees, shown]
            title = ""
        blocks.append(rows)
    header = ["Hypothesis", "Part", "Test", "Statistic", "df", "$p$"]
    remarks = list(dict.fromkeys(note for test in tests for note in test.notes))
    if any("wald" in test.table.index.get_level_values(1) for test in tests):
        remarks.insert(0, f"Wald tests use the covariance from the {fit.covariance.description}.")
    return LatexTable(header, blocks, [*map(escape, remarks), *_notes(fit, (), False, errors=False)], left=3)


def _named_tests(fit: Fit) -> list[HypothesisTest]:
    """Return the Wald tests of those named hypotheses for which the scaling has the terms."""
    tests, reasons = [], []
    for name in ("test_no_interaction", "test_flops_sufficiency", "test_equal_slopes"):
        try:
            tests.append(getattr(fit, name)())
        except (DataError, AttributeError) as error:
            reasons.append(f"{name}: {error}")
    if not tests:
        raise DataError(f"No named test applies, so give tests=: {'; '.join(reasons)}")
    return tests


def _fit(fit: Fit) -> LatexTable:
    """Return the table of the numbers of ``glance``, one below the other."""
    row = glance(fit).iloc[0]
    counts = {"Scores": "nobs", "LLMs": "n_llms", "Families": "n_families", "Benchmarks": "n_benchmarks"}
    words = {"Skills": "skills", "Identification": "identification", "Scaling": "scaling", "Asymptotes": "asymptotes"}
    criteria = {"Log-likelihood": "llf", "Its Monte Carlo error": "llf_se", "AIC": "aic", "BIC": "bic"}
    blocks = [[[name, f"{row[key]}"] for name, key in counts.items()]]
    blocks.append([[name, escape(row[key])] for name, key in words.items() if isinstance(row[key], str)])
    last = [["Parameters", f"{row['df_model']}"]]
    last += [[name, number(row[key], 2)] for name, key in criteria.items() if np.isfinite(row[key])]
    last += [["Starts at best", row["starts_at_best"]], ["Converged", "yes" if row["converged"] else "NO"]]
    return LatexTable(["", "Fit"], [*blocks, last], _notes(fit, (), False, errors=False))


def _notes(fit: Fit, levels: Sequence[float], fixed: bool, errors: bool = True) -> list[str]:
    """Return the notes under a table, as LaTeX: the kind of standard errors, fixed entries, stars, convergence."""
    notes = []
    if errors:
        source = getattr(fit.covariance, "description", fit.cov_type)
        notes.append(f"Standard errors in parentheses: {escape(source)}.")
        if fixed:
            notes.append("Entries without a standard error are fixed.")
        if levels:
            notes.append(star_note(levels))
    if not fit.converged:
        notes.append(r"\textbf{The fit did not converge.}")
    return notes
