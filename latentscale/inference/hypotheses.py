"""Wald, likelihood-ratio and score tests of linear hypotheses, and the named tests on slopes.

Hypotheses are linear restrictions R xi = q. The likelihood-ratio and the score test share a single fit under the
restriction. The score test needs the gradient in all parameters there and its expected information, which is computed
from simulated scores.
"""

import itertools
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from ..checks import check_several_of
from ..errors import ConvergenceWarning, DataError
from ..estimation.polish import rule_information
from ..estimation.refit import Refit, restricted_refit
from ..likelihood.expected_information import expected_information
from ..likelihood.natural_scale import rule_score
from ..numerics.linalg import cholesky_or_none
from ..parameters.restrictions import Restriction, independent, natural_vector, read_restriction
from .covariance import require_information
from .hypothesis_test import JOINT, HypothesisTest, test_table
from .wald_tests import wald_test

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

METHODS = ("wald", "lr", "score")
_ROUNDING = 1e-4  # log-likelihood units by which two maximisations may differ
SIZE, TOKENS = "params_b", "tokens_t"
SCORE_TABLES = 100  # tables simulated for the expected information


def check_methods(method: str | Sequence[str]) -> tuple[str, ...]:
    """Return the methods that are asked for: one of them, several, or ``"all"``."""
    return METHODS if isinstance(method, str) and method == "all" else check_several_of("method", method, METHODS)


def tests_of(
    fit: "LatentSkillResults", restriction: Restriction, methods: Sequence[str]
) -> list[tuple[str, float, int, float]]:
    """Return (method, statistic, df, p-value) of a hypothesis, for each method.

    Parameters
    ----------
    fit : LatentSkillResults
    restriction : Restriction
    methods : tuple of str

    Returns
    -------
    list of tuple
        A score statistic is NaN where the information at the restricted estimate is not positive definite.
    """
    restriction = independent(restriction)
    df = len(restriction)
    statistics: dict[str, float] = {}
    if "wald" in methods:
        test = wald_test((restriction.matrix, restriction.value), fit.params, fit.cov_params())
        statistics["wald"] = float(test.statistic)
    if "lr" in methods or "score" in methods:
        end = restricted_end(fit, restriction)
        if "lr" in methods:
            statistics["lr"] = likelihood_ratio(fit, end, restriction)
        if "score" in methods:
            statistics["score"] = score_statistic(fit, end)
    return [(name, statistics[name], df, float(stats.chi2.sf(statistics[name], df))) for name in methods]


def stacked(restrictions: Iterable[Restriction]) -> Restriction:
    """Return several restrictions as one."""
    restrictions = list(restrictions)
    matrix = np.vstack([restriction.matrix for restriction in restrictions])
    value = np.concatenate([restriction.value for restriction in restrictions])
    labels: tuple[str, ...] = sum((restriction.labels for restriction in restrictions), ())
    return Restriction(matrix, value, labels)


def with_fits_own(fit: "LatentSkillResults", restriction: Restriction) -> Restriction:
    """Return a restriction together with those under which the fit was made."""
    of_fit = fit.estimate.restriction
    if of_fit is None:
        return restriction
    return independent(stacked([of_fit, restriction]))


def full_information(fit: "LatentSkillResults") -> np.ndarray:
    """Return minus the Hessian in all P coordinates, also for a fit under restrictions."""
    require_information(fit, "A fit under further restrictions")
    estimate, model = fit.estimate, fit.model
    if estimate.restriction is None:
        return estimate.information
    return rule_information(model.objective, estimate.rule.for_information(), estimate.free)


def restricted_end(fit: "LatentSkillResults", restriction: Restriction) -> Refit:
    """Return the maximum under a restriction, searched from the fit's own maximum.

    Raises
    ------
    DataError
        If it was not reached.
    """
    estimate, joined = fit.estimate, with_fits_own(fit, restriction)
    end = restricted_refit(fit.model, estimate.rule, joined, estimate.free, full_information(fit))
    if not end.converged:
        raise DataError(
            f"The fit under {'; '.join(restriction.labels)} was not reached from the estimate (it stopped "
            f"{end.distance:.2g} standard errors away). Fit it with model.fit(constraints=...) and use lr_test."
        )
    return end


def likelihood_ratio(fit: "LatentSkillResults", end: Refit, restriction: Restriction) -> float:
    """Return the statistic 2 (l - l restricted).

    l is what was maximised: the log-likelihood, plus penalties where there are any.
    """
    difference = fit.llf_penalised - end.value
    if difference < -_ROUNDING:
        warnings.warn(
            f"The fit under {'; '.join(restriction.labels)} has a log-likelihood {-difference:.4f} above the "
            "unrestricted one, which therefore was not at its best optimum: fit again with more starts.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return 2.0 * max(difference, 0.0)


def score_statistic(fit: "LatentSkillResults", end: Refit) -> float:
    """Return g' I^-1 g at the restricted estimate on the natural scale, with the expected information I there.

    The observed information cannot take its place. Away from the optimum it may be far larger than the expected one, or
    not positive definite. The simulated information gives the statistic a Monte Carlo error of one or two percent.
    """
    model, table = fit.model, fit.model.table
    params = natural_vector(model.space, model.recoding, end.free)
    structure = table.structure(params)
    s = table.layout.flatten(structure)
    _, gradient = model.natural_penalty.terms(s)
    gradient = rule_score(model, params, fit.estimate.rule) + gradient[table.free]
    information = expected_information(model, structure, table, SCORE_TABLES)
    count = SCORE_TABLES * model.n_groups
    information *= count / (count - table.size - 1.0)  # so that its inverse is unbiased (Hotelling)
    information -= model.natural_penalty.hessian(s)[np.ix_(table.free, table.free)]
    of_fit = fit.estimate.restriction
    if of_fit is not None:
        basis = null_basis(of_fit.matrix)
        gradient, information = basis.T @ gradient, basis.T @ information @ basis
    scale = np.sqrt(np.abs(np.diag(information)))
    scaled = information / np.outer(scale, scale)
    if cholesky_or_none(scaled) is None:
        return np.nan
    return float(gradient / scale @ np.linalg.solve(scaled, gradient / scale))


def null_basis(matrix: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis, in columns, of the solutions of R x = 0."""
    _, singular, right = np.linalg.svd(matrix)
    rank = int(np.sum(singular > 1e-10 * singular[0]))
    return right[rank:].T


# --- named tests -------------------------------------------------------------------------------------------------


def named_test(
    fit: "LatentSkillResults", title: str, words: str, parts: dict[str, Restriction], method: str | Sequence[str]
) -> HypothesisTest:
    """Return the test of a hypothesis that is made of several restrictions: of all of them jointly, and of each.

    Parameters
    ----------
    fit : LatentSkillResults
    title, words : str
        Title of the test, and the null hypothesis in words.
    parts : dict of str to Restriction
        The restrictions by name.
    method : str or sequence of str
        As for ``check_methods``.
    """
    methods = check_methods(method)
    everything = stacked(parts.values())
    pieces = {JOINT: everything} | (parts if len(parts) > 1 else {})
    rows: list[tuple[str, str, float, int, float]] = []
    notes = []
    for part, restriction in pieces.items():
        rows += [(part, *row) for row in tests_of(fit, restriction, methods)]
    table = test_table(rows)
    if "score" in methods and table.xs("score", level="method")["statistic"].isna().any():
        notes.append("The information at a restricted estimate is not positive definite: no score statistic there.")
    if fit.cov_type not in ("observed", "none") and set(methods) & {"lr", "score"}:
        notes.append(f"The {fit.cov_type} covariance enters the Wald statistic only.")
    return HypothesisTest(title, words, table, tuple(notes), everything.labels)


def _zero_slopes(fit: "LatentSkillResults", terms: Sequence[str], skill: str) -> Restriction:
    """Return the restriction that the slopes of a skill on some terms are zero."""
    return _restriction(fit, [{(term, skill): 1.0} for term in terms])


def _equal_slopes(fit: "LatentSkillResults", pairs: Iterable[tuple[tuple[str, str], tuple[str, str]]]) -> Restriction:
    """Return the restriction that pairs of slopes, each given by (term, skill), are equal."""
    return _restriction(fit, [{first: 1.0, second: -1.0} for first, second in pairs])


def _restriction(fit: "LatentSkillResults", rows: Sequence[dict[tuple[str, str], float]]) -> Restriction:
    """Return the restriction that combinations of slopes, dicts from (term, skill) to a weight, are zero."""
    names, layout = fit.model.param_names, fit.model.table.layout
    matrix = np.zeros((len(rows), layout.size))
    slopes = layout.index("slopes")
    for row, weights in zip(matrix, rows, strict=True):
        for (term, skill), weight in weights.items():
            row[slopes[fit.model.terms.index(term), fit.model.skills.index(skill)]] = weight
    return read_restriction((matrix[:, fit.model.table.free], 0.0), names)


def interactions(fit: "LatentSkillResults") -> list[str]:
    """Return the terms of the scaling that are products of others."""
    return list(fit.model.design.interactions)


def no_interaction(fit: "LatentSkillResults", method: str | Sequence[str]) -> HypothesisTest:
    """Test the hypothesis that the effects of size and tokens on every skill are additive."""
    terms = interactions(fit)
    if not terms:
        raise DataError(f"The scaling {fit.model.scaling!r} has no interaction to test.")
    parts = {skill: _zero_slopes(fit, terms, skill) for skill in fit.model.skills}
    return named_test(fit, "No interaction", f"The slopes on {', '.join(terms)} are zero", parts, method)


def flops_sufficiency(
    fit: "LatentSkillResults", method: str | Sequence[str], size: str | None = None, tokens: str | None = None
) -> HypothesisTest:
    """Test the hypothesis that skills depend on size s and tokens t only through training FLOPs.

    log 6 s t = log s + log t + const, so that the slopes on log s and log t are equal and all others zero.
    """
    size = size or _main_term(fit, SIZE, "size")
    tokens = tokens or _main_term(fit, TOKENS, "tokens")
    missing = [term for term in (size, tokens) if term not in fit.model.terms]
    if missing:
        raise DataError(f"{missing} are not terms of the scaling; it has {list(fit.model.terms)}.")
    others = [term for term in fit.model.terms if term not in (size, tokens)]
    parts = {
        skill: stacked([_equal_slopes(fit, [((size, skill), (tokens, skill))]), _zero_slopes(fit, others, skill)])
        for skill in fit.model.skills
    }
    words = f"The slopes on {size} and {tokens} are equal"
    words += f" and those on {', '.join(others)} are zero" if others else ""
    return named_test(fit, "FLOPs sufficiency", words, parts, method)


def _main_term(fit: "LatentSkillResults", column: str, what: str) -> str:
    """Return the term that is the logarithm of a column and nothing else."""
    terms = fit.model.design.logs_of(column)
    if len(terms) != 1:
        raise DataError(
            f"No single term of the scaling {fit.model.scaling!r} is the log of {column}; name it, as in "
            f"test_flops_sufficiency({what}='log({column})'). The terms are {list(fit.model.terms)}."
        )
    return terms[0]


def equal_slopes(fit: "LatentSkillResults", method: str | Sequence[str]) -> HypothesisTest:
    """Test the hypothesis that every skill has the same slopes, in units of its standard deviation over families."""
    if not fit.model.terms:
        raise DataError("The model has no covariates, so no slopes to test.")
    skills = fit.model.skills
    if len(skills) < 2:
        raise DataError("There is one skill only, so there are no slopes to compare.")
    parts = {
        term: _equal_slopes(fit, [((term, first), (term, second)) for first, second in itertools.pairwise(skills)])
        for term in fit.model.terms
    }
    return named_test(fit, "Equal slopes across skills", "All skills have the same slopes", parts, method)
