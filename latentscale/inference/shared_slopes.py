"""The test of slopes that all families share against slopes that vary between families."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_names, check_several_of
from ..components.levels import family_effects
from ..components.random_effects import absent_effects, with_effects
from ..errors import DataError
from ..estimation.polish import rule_information
from ..estimation.refit import Refit, refit
from ..estimation.search import climb
from ..likelihood.rules import Rule
from ..models.latent_skill import LatentSkillLaw
from .chi_bar_squared import (
    TABLES,
    chi_bar_sf,
    chi_bar_weights,
    observed_variance_score,
    one_sided_statistic,
    variance_scores,
)
from .covariance import require_information
from .hypotheses import SIZE
from .hypothesis_test import JOINT, HypothesisTest, test_table
from .likelihood_ratio import CONSERVATIVE

if TYPE_CHECKING:
    from ..estimation.estimate import Estimate
    from ..results.latent_skill import LatentSkillResults

_START = 0.3  # from where random slopes are fitted, per standard deviation of their covariate
_ITERATIONS = 500  # of the quasi-Newton search


def terms_within_families(model: LatentSkillLaw) -> list[str]:
    """Return main-effect terms that differ within some family."""
    return [term for term in model.terms if term not in (*model.between_only, *model.design.interactions)]


def varying_terms(model: LatentSkillLaw) -> list[str]:
    """Return terms for which slopes may vary between families, and do not yet."""
    return [term for term in terms_within_families(model) if term not in model.random_terms]


def shared_slopes(
    fit: "LatentSkillResults",
    terms: str | Sequence[str] | None = None,
    method: str = "score",
    integration: str = "laplace",
) -> HypothesisTest:
    """Test shared slopes against independent random slopes by family.

    The score test does not fit random slopes. It asks whether families' scores at zero variances point to variances
    above zero, and compares with tables simulated under the hypothesis. The likelihood-ratio test uses its
    chi-bar-square distribution.

    Parameters
    ----------
    fit : LatentSkillResults
        The null model, without restrictions.
    terms : str or sequence of str, optional
        Terms whose slopes may vary under the alternative; by default only the main effect of size, or the first
        main effect that varies within families.
    method : {"score", "lr", "all"}
    integration : {"laplace", "monte_carlo", "quadrature"}
        Rule of both log-likelihoods of the likelihood-ratio test. With K skills and r terms the alternative
        integrates over K (1 + r) effects.

    Returns
    -------
    HypothesisTest
        Jointly over skills and, if there are several terms, term by term.

    Raises
    ------
    DataError
        If the fit has restrictions or no information, or no such term varies within families.
    """
    model = fit.model
    require_information(fit, "test_shared_slopes")
    if fit.estimate.restriction is not None:
        raise DataError("test_shared_slopes starts from a fit without constraints.")
    candidates = varying_terms(model)
    if not candidates:
        raise DataError(f"No main effect of {model.scaling!r} varies within families, so slopes cannot vary either.")
    if terms is None:
        sizes = [term for term in candidates if SIZE in model.design.columns_of(term)]
        terms = (sizes or candidates)[:1]
    terms = check_names("terms", terms, candidates, "terms that vary within families")
    methods = check_several_of("method", ("score", "lr") if method == "all" else method, ("score", "lr"))
    pieces = {JOINT: terms} | ({term: [term] for term in terms} if len(terms) > 1 else {})
    rows, notes = [], []
    for part, chosen in pieces.items():
        found, weights = _against(fit, chosen, methods, integration)
        rows += [(part, *row) for row in found]
        if "lr" in methods:
            shares = ", ".join(f"{weight:.3f}" for weight in weights)
            notes.append(f"{part}: chi-bar-square weights of 0 to {len(weights) - 1} degrees of freedom {shares}.")
    if "lr" in methods:
        notes += [f"Log-likelihoods of the lr statistic by {integration}.", CONSERVATIVE]
    if "score" in methods:
        notes.append(f"The score statistic's p-value is from {TABLES} tables simulated under the hypothesis.")
    words = f"The slopes on {', '.join(terms)} are the same in all families"
    return HypothesisTest("Shared slopes", words, test_table(rows), tuple(notes))


def _against(
    fit: "LatentSkillResults", terms: Sequence[str], methods: Sequence[str], integration: str
) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """Return (method, statistic, df, p-value) of each method against random slopes on some terms.

    The second result are the chi-bar-square weights.
    """
    model, params = fit.model, fit.params.to_numpy()
    larger = model.with_random_slopes((*model.random_terms, *terms))
    absent = absent_effects(model.effects, larger.effects)
    scores = variance_scores(larger, model.table, params, absent)
    weights = chi_bar_weights(scores.information)
    rows: list[tuple[Any, ...]] = []
    df = len(weights) - 1
    for method in methods:
        if method == "score":
            observed = observed_variance_score(larger, model.table, params, absent, scores)
            statistic = one_sided_statistic(observed, scores.information)
            law = np.array([one_sided_statistic(score, scores.information) for score in scores.simulated])
            pvalue = float((1.0 + np.sum(law >= statistic)) / (1.0 + len(law)))
        else:
            null = _null_maximum(fit, integration)
            # there may be a local maximum at a variance of zero and another above it
            ends = [_alternative(larger, fit, null, size, integration) for size in (_START, 0.1 * _START)]
            statistic = 2.0 * max(max(ends) - null.value, 0.0)  # tau = 0 is the null model itself
            pvalue = chi_bar_sf(statistic, weights)
        rows.append((method, statistic, df, pvalue))
    return rows, weights


def _null_maximum(fit: "LatentSkillResults", integration: str) -> Refit:
    """Return the maximum of the null model by the rule that is asked for."""
    model, estimate = fit.model, fit.estimate
    rule = _rule(model, estimate, integration)
    objective = model.objective
    end = refit(objective, rule, estimate.free, estimate.information)
    if not end.converged:
        raise DataError("The null model's maximum was not reached by this rule; fit it with that integration first.")
    return end


def _rule(model: LatentSkillLaw, estimate: "Estimate", integration: str) -> Rule:
    """Return the rule of an integration for a model: that of the estimate where it is the same."""
    dimension = family_effects(model.table.layout)
    if integration == estimate.rule.kind and dimension == estimate.rule.n_skills:
        return estimate.rule
    return Rule.build(integration, dimension, seed=estimate.rule.seed)


def _alternative(
    larger: LatentSkillLaw, fit: "LatentSkillResults", null: Refit, size: float, integration: str
) -> float:
    """Return the maximum with random slopes.

    The search starts from slopes that vary by ``size`` per standard deviation of their covariate.
    """
    structure = fit.model.space.structure(null.coordinates)
    known = {effects.block: effects.rows for effects in fit.model.effects}
    embedded, starts = with_effects(structure, known, larger.effects), {}
    for absent in absent_effects(fit.model.effects, larger.effects):
        block = absent.effects.block
        starts[block] = np.where(absent.lacks, size / absent.effects.spreads, embedded.scales[block])
    objective = larger.objective
    end = climb(objective, 0, "given", embedded.with_scales(**starts), _ITERATIONS, gtol=1e-2)
    if integration == "laplace" or not np.isfinite(end.value):
        return end.value
    rule = _rule(larger, fit.estimate, integration)
    return refit(objective, rule, end.u, rule_information(objective, rule.for_information(), end.u)).value
