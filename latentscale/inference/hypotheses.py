"""Wald, likelihood-ratio and score tests of linear hypotheses, and the named tests on slopes.

Hypotheses are linear restrictions R xi = q. The likelihood-ratio and the score test share one fit under the
restriction; the score test takes the gradient of the whole parameter vector there and its expected information,
from simulated scores.
"""

import itertools
import warnings

import numpy as np
from scipy import stats

from ..checks import check_several_of
from ..errors import ConvergenceWarning, DataError
from ..estimation.polish import rule_information
from ..estimation.refit import restricted_refit
from ..likelihood.expected_information import expected_information
from ..likelihood.natural_scale import rule_score
from ..numerics.linalg import cholesky_or_none
from ..parameters.restrictions import Restriction, independent, natural_vector, read_restriction
from .covariance import require_information
from .hypothesis_test import JOINT, HypothesisTest, test_table
from .wald_tests import wald_test

METHODS = ("wald", "lr", "score")
_ROUNDING = 1e-4  # log-likelihood units that two maximisations may differ by
SIZE, TOKENS = "params_b", "tokens_t"
SCORE_TABLES = 100  # simulated for the expected information


def check_methods(method):
    """Tuple of methods from what a user may give: one of them, several, or ``"all"``."""
    return METHODS if isinstance(method, str) and method == "all" else check_several_of("method", method, METHODS)


def tests_of(fit, restriction, methods):
    """(method, statistic, df, p-value) of one hypothesis by each method.

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
    out, end = {}, None
    if "wald" in methods:
        test = wald_test((restriction.matrix, restriction.value), fit.params, fit.cov_params())
        out["wald"] = float(test.statistic)
    if "lr" in methods or "score" in methods:
        end = restricted_end(fit, restriction)
    if "lr" in methods:
        out["lr"] = likelihood_ratio(fit, end, restriction)
    if "score" in methods:
        out["score"] = score_statistic(fit, end)
    return [(name, out[name], df, float(stats.chi2.sf(out[name], df))) for name in methods]


def stacked(restrictions):
    """Several restrictions as one."""
    restrictions = list(restrictions)
    matrix = np.vstack([part.matrix for part in restrictions])
    value = np.concatenate([part.value for part in restrictions])
    return Restriction(matrix, value, sum((part.labels for part in restrictions), ()))


def with_own(fit, restriction):
    """A restriction beside those that the fit has already."""
    own = fit.estimate.restriction
    if own is None:
        return restriction
    return independent(stacked([own, restriction]))


def full_information(fit):
    """Minus the Hessian in all P coordinates, also where the fit was restricted."""
    require_information(fit, "A fit under further restrictions")
    estimate, model = fit.estimate, fit.model
    if estimate.restriction is None:
        return estimate.information
    return rule_information(model.objective, estimate.rule.for_information(), estimate.free)


def restricted_end(fit, restriction):
    """The maximum under a restriction, from the fit's own maximum; a ``Refit``.

    Raises
    ------
    DataError
        If it was not reached.
    """
    estimate, joined = fit.estimate, with_own(fit, restriction)
    end = restricted_refit(fit.model, estimate.rule, joined, estimate.free, full_information(fit))
    if not end.converged:
        raise DataError(
            f"The fit under {'; '.join(restriction.labels)} was not reached from the estimate (it stopped "
            f"{end.distance:.2g} standard errors away). Fit it with model.fit(constraints=...) and use lr_test."
        )
    return end


def likelihood_ratio(fit, end, restriction):
    """2 (l - l restricted), on what was maximised (the penalised log-likelihood, where there is a penalty)."""
    difference = fit.llf_penalised - end.value
    if difference < -_ROUNDING:
        warnings.warn(
            f"The fit under {'; '.join(restriction.labels)} has a log-likelihood {-difference:.4f} above the "
            "unrestricted one, which therefore was not at its best optimum: fit again with more starts.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return 2.0 * max(difference, 0.0)


def score_statistic(fit, end):
    """g' I^-1 g at the restricted estimate, natural scale, I the expected information there.

    The observed information is no substitute: away from the optimum it may be far larger than the expected one, or
    not positive definite. Simulation leaves the statistic an error of one or two percent.
    """
    model, table = fit.model, fit.model.table
    params = natural_vector(model.space, model.recoding, end.free)
    structure = table.structure(params)
    s = table.layout.flatten(structure)
    _, gradient = model.natural_penalty.terms(s)
    gradient = rule_score(model, params, fit.estimate.rule) + gradient[table.free]
    information = expected_information(model, structure, table, SCORE_TABLES)
    count = SCORE_TABLES * model.n_families
    information *= count / (count - table.size - 1.0)  # so that its inverse has no bias (Hotelling)
    information -= model.natural_penalty.hessian(s)[np.ix_(table.free, table.free)]
    own = fit.estimate.restriction
    if own is not None:
        basis = null_basis(own.matrix)
        gradient, information = basis.T @ gradient, basis.T @ information @ basis
    scale = np.sqrt(np.abs(np.diag(information)))
    scaled = information / np.outer(scale, scale)
    if cholesky_or_none(scaled) is None:
        return np.nan
    return float(gradient / scale @ np.linalg.solve(scaled, gradient / scale))


def null_basis(matrix):
    """Columns that span the solutions of R x = 0."""
    _, singular, right = np.linalg.svd(matrix)
    rank = int(np.sum(singular > 1e-10 * singular[0]))
    return right[rank:].T


# --- named tests -------------------------------------------------------------------------------------------------


def named_test(fit, title, words, parts, method):
    """A HypothesisTest of restrictions given part by part; the joint hypothesis is all of them.

    Parameters
    ----------
    parts : dict
        Part -> Restriction.
    """
    methods = check_methods(method)
    everything = stacked(parts.values())
    pieces = {JOINT: everything} | (parts if len(parts) > 1 else {})
    rows, notes = [], []
    for part, restriction in pieces.items():
        rows += [(part, *row) for row in tests_of(fit, restriction, methods)]
    table = test_table(rows)
    if "score" in methods and table.xs("score", level="method")["statistic"].isna().any():
        notes.append("The information at a restricted estimate is not positive definite: no score statistic there.")
    if fit.cov_type not in ("observed", "none") and set(methods) & {"lr", "score"}:
        notes.append(f"The {fit.cov_type} covariance enters the Wald statistic only.")
    return HypothesisTest(title, words, table, tuple(notes), everything.labels)


def _zero_slopes(fit, terms, skill):
    """The restriction that a skill's slopes on some terms are zero."""
    return _restriction(fit, [{(term, skill): 1.0} for term in terms])


def _equal_slopes(fit, pairs):
    """The restriction that pairs of slopes, each given by (term, skill), are equal."""
    return _restriction(fit, [{first: 1.0, second: -1.0} for first, second in pairs])


def _restriction(fit, rows):
    """A Restriction to zero of combinations of slopes: dicts from (term, skill) to a weight."""
    names, layout = fit.model.param_names, fit.model.table.layout
    matrix = np.zeros((len(rows), layout.size))
    slopes = layout.index("slopes")
    for row, weights in zip(matrix, rows, strict=True):
        for (term, skill), weight in weights.items():
            row[slopes[fit.model.terms.index(term), fit.model.skills.index(skill)]] = weight
    return read_restriction((matrix[:, fit.model.table.free], 0.0), names)


def interactions(fit):
    """Terms of the scaling that are products of others."""
    return list(fit.model.design.interactions)


def no_interaction(fit, method):
    """H0: size and tokens add up on the scale of every skill."""
    terms = interactions(fit)
    if not terms:
        raise DataError(f"The scaling {fit.model.scaling!r} has no interaction to test.")
    parts = {skill: _zero_slopes(fit, terms, skill) for skill in fit.model.skills}
    return named_test(fit, "No interaction", f"The slopes on {', '.join(terms)} are zero", parts, method)


def flops_sufficiency(fit, method, size=None, tokens=None):
    """H0: skills depend on size and tokens through training FLOPs alone, log 6 s t = log s + log t + const."""
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


def _main_term(fit, column, what):
    """The term that is the log of a column alone."""
    found = fit.model.design.logs_of(column)
    if len(found) != 1:
        raise DataError(
            f"No single term of the scaling {fit.model.scaling!r} is the log of {column}; name it, as in "
            f"test_flops_sufficiency({what}='log({column})'). The terms are {list(fit.model.terms)}."
        )
    return found[0]


def equal_slopes(fit, method):
    """H0: every skill has the same slopes, in units of its standard deviation over families."""
    skills = fit.model.skills
    if len(skills) < 2:
        raise DataError("There is one skill only, so there are no slopes to compare.")
    parts = {
        term: _equal_slopes(fit, [((term, first), (term, second)) for first, second in itertools.pairwise(skills)])
        for term in fit.model.terms
    }
    return named_test(fit, "Equal slopes across skills", "All skills have the same slopes", parts, method)
