"""The tables and sentences of a report, section by section; every number comes from the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import DataError, IdentificationError
from ..inference.diagnosis import TABLES
from ..parameters.kinds import INTERCEPT, LOADING, LOWER, PRECISION, SLOPE, UPPER
from .cells import ABSENT, Cell, Table, bracketed, cell, format_p, frame_table
from .recipe import call, fingerprint, versions
from .words import ALPHA, boundary_sentence, default_question, model_sentences, warnings_of

if TYPE_CHECKING:
    from ..inference.diagnosis import Diagnosis
    from ..inference.goodness_of_fit import GoodnessOfFit
    from ..inference.identification import IdentificationReport
    from ..models.latent_skill import LatentSkillLaw
    from ..results.latent_skill import LatentSkillResults

TESTS = ("test_no_interaction", "test_flops_sufficiency", "test_equal_slopes")
_WALD_HEAD = ("estimate", "s.e.", "z", "p", "lower", "upper")
_WALD_COLUMNS = ["estimate", "std_err", "z", "p_value", "ci_lower", "ci_upper"]
_P = {"p_value": format_p}


@dataclass(frozen=True)
class Tested:
    """A test in the report.

    Attributes
    ----------
    title : str
    sentence : str
        The result in words, or the reason why there is none.
    table : Table or None
    notes : tuple of str
    """

    title: str
    sentence: str
    table: Table | None = None
    notes: tuple[str, ...] = ()


def content(
    fit: LatentSkillResults,
    title: str | None = None,
    question: str | None = None,
    alpha: float = 0.05,
    size: int = 1000,
    seed: int = 0,
    goodness_of_fit: GoodnessOfFit | None = None,
) -> dict[str, Any]:
    """Return all variables of the template except the pictures; arguments as for ``LatentSkillResults.report``."""
    model = fit.model
    found = examined(fit) if goodness_of_fit is None else goodness_of_fit
    diagnosis = fit.diagnose(True if found is None else found)
    parameters = fit.parameter_table(alpha)
    estimates = wald_tables(fit, parameters)
    tests = tuple(slope_test(fit, name) for name in TESTS)
    predicted, how = predicted_scores(fit, alpha, size, seed)
    return {
        "title": title or f"Latent skills of {model.n_llms} LLMs",
        "question": question or default_question(model),
        "warnings": warnings_of(fit, diagnosis),
        "converged": fit.converged,
        "figures": key_figures(fit),
        "panel": model.panel,
        "model": model,
        "boundary": boundary_sentence(model),
        "dropped": dropped_table(model),
        "benchmarks_data": benchmarks_data(model),
        "sentences": model_sentences(fit),
        "summary": fit.summary(alpha, found).as_html(),
        "goodness_of_fit": found,
        "misfit": None if found is None else misfit_table(found),
        "level": f"{100.0 * (1.0 - alpha):g}%",
        "loadings": loadings_table(fit),
        "slopes": estimates.pop(SLOPE.word, None),
        "covariances": (*correlation_matrix(fit), *estimates.values()),
        "benchmarks": benchmark_parameters(fit),
        "tests": tests,
        "diagnosis": findings_table("diagnosis", diagnosis.title, diagnosis),
        "identification": identification(fit),
        "rule": fit.estimate.rule,
        "starts": starts_table(fit),
        "families": families_table(fit),
        "predicted": observed_only(predicted),
        "predictions": predictions_table(fit, predicted),
        "predictions_note": how,
        "parameters": frame_table(
            "parameters", "All parameters", "Natural scale. Intervals are computed on log precision, Fisher's z of "
            "correlations and logit of asymptotes; mc s.e. is the Monte Carlo error of the estimate.",
            parameters, (*_WALD_HEAD, "mc s.e."), "parameter", _P, long=True,
        ),
        "call": call(fit),
        "versions": versions(),
        "fingerprints": {
            "panel.scores": fingerprint(model.panel.scores),
            "panel.to_frame()": fingerprint(model.panel.to_frame()),
        },
    }  # fmt: skip


def key_figures(fit: LatentSkillResults) -> tuple[tuple[str, Cell], ...]:
    """Return the names and the cells of the numbers on the first screen."""
    starts = fit.starts
    best = f"{int(starts['reached_best'].sum())} of {len(starts)}"
    return (
        ("LLMs", cell(fit.n_llms)),
        ("families", cell(fit.n_families)),
        ("benchmarks", cell(len(fit.model.benchmarks))),
        ("scores", cell(fit.nobs)),
        ("skills", cell(len(fit.model.skills))),
        ("parameters", cell(fit.df_model)),
        ("log-likelihood", cell(fit.llf)),
        ("AIC", cell(fit.aic)),
        ("BIC (n = families)", cell(fit.bic)),
        ("converged", cell(fit.converged)),
        ("starts at the best value", Cell(best)),
    )


# --- data ----------------------------------------------------------------------------------------------------------


def dropped_table(model: LatentSkillLaw) -> Table:
    """Return the table of LLMs that do not enter the likelihood, with the reason for each."""
    reasons = [(name, "no value in a column of the scaling formula") for name in model.rows.no_covariate]
    reasons += [(name, "no score") for name in model.rows.no_score]
    rows = tuple((Cell(str(name)), Cell(reason)) for name, reason in reasons)
    note = f"{len(rows)} of {model.panel.n_llms} LLMs of the table do not enter the likelihood."
    return Table("dropped", "LLMs left out", note, ("LLM", "reason"), rows)


def benchmarks_data(model: LatentSkillLaw) -> Table:
    """Return the table that summarises each benchmark's raw scores, and how many of them enter the likelihood."""
    frame = model.panel.describe()
    frame.insert(0, "used", np.asarray(model.prepared.n_observed))
    frame.insert(1, "missing", model.n_llms - frame["used"])
    head = ("used", "missing", "in the table", "mean", "s.d.", "min", "max", "zeros", "ones", "guessing level")
    note = (
        "used and missing: scores of the LLMs in the likelihood; all other columns: raw scores of the whole table, "
        "fractions."
    )
    return frame_table("benchmarks-data", "Scores by benchmark", note, frame, head, "benchmark")


# --- estimates -----------------------------------------------------------------------------------------------------


def wald_tables(fit: LatentSkillResults, parameters: pd.DataFrame) -> dict[str, Table]:
    """Return a table of estimates for each group of kinds of parameters that have a common title.

    The groups are slopes, correlations and other measures of spread; the keys are the words of their kinds.
    """
    tables: dict[str, Table] = {}
    for title, rows in fit.parameters.by_title().items():
        word = fit.parameters[int(np.argmax(rows))].kind.word
        key = "slopes" if word == SLOPE.word else f"wald-{word}"
        estimates = parameters.loc[rows, _WALD_COLUMNS]
        tables[word] = frame_table(key, title, "", estimates, _WALD_HEAD, "parameter", _P)
    return tables


def loadings_table(fit: LatentSkillResults) -> Table:
    """Return the table of loadings, benchmarks by skills, with standard errors below; fixed loadings are marked."""
    error, free = fit.bse, np.isnan(fit.model.pattern.fixed)
    loadings, rows = fit.loadings, []
    for j, benchmark in enumerate(loadings.index):
        cells = [Cell(str(benchmark))]
        for k, skill in enumerate(loadings.columns):
            value = cell(loadings.iloc[j, k])
            below = bracketed(error[LOADING.name_of(benchmark, skill)]) if free[j, k] else (Cell("(fixed)"),)
            cells.append(Cell(value.text, value.value, below))
        rows.append(tuple(cells))
    note = "Standard errors in brackets. A skill's unit is one standard deviation of family efficiency."
    if (np.asarray(fit.skill_cov).diagonal() != 1.0).any():
        note = "Standard errors in brackets."
    head = ("benchmark", *map(str, loadings.columns))
    return Table("loadings", "Loadings", note, head, tuple(rows))


def correlation_matrix(fit: LatentSkillResults) -> tuple[Table, ...]:
    """Return the table of the correlations of family effects, or no table if there is only one skill."""
    if len(fit.model.skills) == 1:
        return ()
    note = "Correlations of families' efficiencies, as estimated or as fixed by the form."
    return (frame_table("skill-corr", "Correlation matrix of family effects", note, fit.skill_corr, None, "skill"),)


def benchmark_parameters(fit: LatentSkillResults) -> Table:
    """Return the table of intercepts, precisions and asymptotes, with standard errors below."""
    error = fit.bse
    asymptotes = fit.asymptotes
    values = {
        INTERCEPT: fit.intercepts, PRECISION: fit.precision, LOWER: asymptotes["lower"], UPPER: asymptotes["upper"],
    }  # fmt: skip
    rows = []
    for benchmark in fit.model.benchmarks:
        cells = [Cell(str(benchmark))]
        for kind, series in values.items():
            name, value = kind.name_of(benchmark), cell(series[benchmark])
            below = bracketed(error[name]) if name in error.index else (Cell("(fixed)"),)
            cells.append(Cell(value.text, value.value, below))
        rows.append(tuple(cells))
    head = ("benchmark", "intercept b", "precision φ", "lower asymptote c", "upper asymptote d")
    return Table("benchmarks", "Benchmarks", "Standard errors in brackets.", head, tuple(rows))


def slope_test(fit: LatentSkillResults, name: str) -> Tested:
    """Return a test, or the reason why the fit does not have it; ``name`` is a method of the results."""
    title = {
        "test_no_interaction": "No interaction",
        "test_flops_sufficiency": "FLOPs sufficiency",
        "test_equal_slopes": "Equal slopes across skills",
    }[name]
    try:
        test = getattr(fit, name)()
    except DataError as error:
        return Tested(title, f"Not tested. {error}")
    frame = test.summary_frame()
    key = name.replace("_", "-")
    note = f"Null hypothesis: {test.hypothesis}."
    table = frame_table(
        key, title, note, frame.set_index("part"), ("method", "statistic", "degrees of freedom", "p"), "part", _P
    )
    return Tested(title, test.sentence, table, tuple(test.notes))


# --- fit ----------------------------------------------------------------------------------------------------------


def examined(fit: LatentSkillResults) -> GoodnessOfFit | None:
    """Return the goodness of fit, None where it cannot be examined; the diagnosis then says why."""
    try:
        return getattr(fit, "source", fit).goodness_of_fit(TABLES)
    except DataError:
        return None


def misfit_table(found: GoodnessOfFit) -> Table:
    """Return the table of goodness of fit, aspect by aspect."""
    note = (
        f"Statistics of residuals beside those of {found.n} tables simulated from the fit. A p-value is at least "
        f"{1.0 / (found.n + 1):.2g}; the adjusted ones are Holm's."
    )
    head = ("statistic", "simulated mean", "95% point", "p", "adjusted p", "where", "what answers it")
    styles: dict[str, Callable[[Any], str]] = {"p": format_p, "p_holm": format_p, "where": str, "answer": str}
    return frame_table("goodness-of-fit", "Aspects of fit", note, found.table, head, "aspect", styles)


# --- checks --------------------------------------------------------------------------------------------------------


def findings_table(key: str, title: str, findings: Diagnosis | IdentificationReport) -> Table:
    """Return the table of the checks, outcomes and messages of a Diagnosis or an IdentificationReport."""
    rows = tuple((Cell(f.check), Cell(f.outcome), Cell(f.message)) for f in findings.checks)
    return Table(key, title, "", ("check", "outcome", "what was found"), rows)


def identification(fit: LatentSkillResults) -> Table:
    """Return the table of the identification checks, or a table without rows that says why there are none."""
    model = getattr(fit, "source", fit).model
    try:
        report = model.identification()
    except (DataError, IdentificationError) as error:
        return Table("identification", f"Identification could not be checked: {error}", "", (), ())
    return findings_table("identification", report.title, report)


def starts_table(fit: LatentSkillResults) -> Table:
    """Return the table of the ends of all starts."""
    starts = fit.starts
    head = {"kind": "kind", "loglike": "log-likelihood", "gradient": "gradient", "evaluations": "evaluations"}
    names = [head.get(name, str(name).replace("_", " ")) for name in starts.columns]
    note = "Penalised Laplace log-likelihood at which the search from each start ended, before the final stage."
    return frame_table("starts", "Starts", note, starts, names, "start")


# --- families and LLMs ---------------------------------------------------------------------------------------------


def families_table(fit: LatentSkillResults) -> Table:
    """Return the table of family effects, posterior means with posterior standard deviations below."""
    frame, skills = fit.family_effects(), list(fit.model.skills)
    rows = []
    for family, effects in frame.groupby(level="family", sort=False):
        by_skill = effects.droplevel("family")
        cells = [Cell(str(family)), cell(int(by_skill["n_llms"].iloc[0]))]
        for skill in skills:
            mean = cell(by_skill.loc[skill, "mean"])
            cells.append(Cell(mean.text, mean.value, bracketed(by_skill.loc[skill, "sd"])))
        rows.append(tuple(cells))
    note = (
        f"Posterior mean of each family's efficiency {ALPHA}, its standard deviation in brackets: what its LLMs have "
        "beyond what their covariates say, in units of the skill."
    )
    head = ("family", "LLMs", *map(str, skills))
    return Table("families", "Family effects", note, head, tuple(rows), long=True)


def predicted_scores(fit: LatentSkillResults, alpha: float, size: int, seed: int) -> tuple[pd.DataFrame, str]:
    """Predict the scores of the LLMs in the likelihood.

    Parameters
    ----------
    fit : LatentSkillResults
    alpha : float
        One minus the level of the prediction intervals.
    size, seed : int
        Number of draws for the intervals, and their seed.

    Returns
    -------
    frame : DataFrame
        The table ``get_prediction().summary_frame()`` with the additional columns family and score, the observed one;
        the ends of intervals are NaN if there are none.
    how : str
        What the numbers are, in words.
    """
    fit = getattr(fit, "source", fit)  # a rotation does not change predictions
    sources = ("parameters", "family", "score") if np.isfinite(fit.bse).all() else ("family", "score")
    try:
        frame = fit.get_prediction(size=size, seed=seed, uncertainty=sources).summary_frame(alpha)
        how = _interval_words(f"{100.0 * (1.0 - alpha):g}%", sources, size, seed)
    except DataError as error:
        mean = fit.predict()
        frame = pd.DataFrame(
            {"llm": np.repeat(mean.index, mean.shape[1]), "benchmark": np.tile(mean.columns, len(mean))}
        )
        frame[["mean", "obs_ci_lower", "obs_ci_upper"]] = mean.to_numpy().reshape(-1, 1), np.nan, np.nan
        how = f"Without intervals: {error}"
    model = fit.model
    frame["score"] = model.panel.scores.to_numpy()[model.rows.keep].ravel()
    frame["family"] = np.repeat(np.asarray(model.families)[model.family_codes], len(model.benchmarks))
    return frame, how


def observed_only(predicted: pd.DataFrame) -> pd.DataFrame | None:
    """Return the rows with observed scores in the form of ``fit.prediction_table``; None if there are no intervals."""
    table = predicted[predicted["score"].notna()].reset_index(drop=True)
    inside = table["score"].between(table["obs_ci_lower"], table["obs_ci_upper"])
    return table.assign(inside=inside) if table["obs_ci_lower"].notna().all() else None


def _interval_words(level: str, sources: tuple[str, ...], size: int, seed: int) -> str:
    """Return the sentences that explain the table of predictions."""
    text = (
        f"In each cell the expected score given the family's scores, beneath it the {level} prediction interval of a "
        f"score, and last the observed score. Fractions. Intervals from {size} draws, seed {seed}. The fit has seen "
        "these scores: intervals hold more of them than of new ones."
    )
    if "parameters" not in sources:
        text += " Without standard errors they leave out the uncertainty of the estimates: they are too narrow."
    return text


def predictions_table(fit: LatentSkillResults, predicted: pd.DataFrame) -> Table:
    """Return the table of predicted and observed scores, LLMs by benchmarks, from ``predicted_scores``."""
    benchmarks = list(fit.model.benchmarks)
    columns = predicted[["mean", "obs_ci_lower", "obs_ci_upper", "score"]].to_numpy()
    cells = [_prediction_cell(*row) for row in columns.tolist()]
    rows = tuple(
        (Cell(str(name)), *cells[number * len(benchmarks) : (number + 1) * len(benchmarks)])
        for number, name in enumerate(fit.model.llms)
    )
    head = ("LLM", *map(str, benchmarks))
    return Table("predictions", "Predicted and observed scores", "", head, rows, long=True)


def _prediction_cell(mean: float, low: float, high: float, score: float) -> Cell:
    below = bracketed(low, high, style=_fraction) if np.isfinite(low) else (Cell(""), Cell(""))
    return Cell(_fraction(mean), mean, (*below, Cell(_fraction(score), score) if np.isfinite(score) else Cell(ABSENT)))


def _fraction(value: float) -> str:
    return ABSENT if np.isnan(value) else f"{value:.3f}"
