"""Likelihood-ratio tests between fits: whether one model contains the other, and the distribution of the statistic.

A larger model contains a smaller one if it can express the same law of the scores. To see that, the smaller fit's
estimate is carried to the larger model's covariates and axes of the skills. There it must satisfy the larger model's
restrictions and have the same Lambda B', Lambda Sigma Lambda', b and so on.
"""

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from ..components.random_effects import AbsentEffects, absent_effects, with_effects
from ..errors import ConvergenceWarning, DataError, IdentificationError
from ..models.latent_skill import LatentSkillLaw
from ..models.options import differing_options
from ..parameters.kinds import SLOPE_SD
from ..parameters.structure import Structure
from .chi_bar_squared import ONE_VARIANCE, chi_bar_sf, chi_bar_weights, count_variances, variance_scores
from .hypothesis_test import JOINT, HypothesisTest, test_table

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

_SAME = 1e-7  # relative error below which covariates count as spanned by others
_ROUNDING = 1e-4  # log-likelihood units by which two maximisations may differ
CONSERVATIVE = (
    "The chi-bar-square law rejects too seldom where few families hold most of what is known of slopes' variances; "
    "test_shared_slopes simulates the law of its score statistic."
)


def lr_test(larger: "LatentSkillResults", smaller: "LatentSkillResults") -> HypothesisTest:
    """Return the likelihood-ratio test of a smaller fit within a larger one.

    Parameters
    ----------
    larger, smaller : LatentSkillResults
        Fits to the same scores, by the same integration rule.

    Returns
    -------
    HypothesisTest
        By the chi-square distribution, or the chi-bar-square distribution where the smaller model sets variances to
        zero: of random slopes, of residual skills of LLMs, or of effects of families on single benchmarks.

    Raises
    ------
    DataError
        If the fits are not of the same data, not by the same rule, or not nested; the message says why.

    Warns
    -----
    ConvergenceWarning
        If a fit did not converge, or the smaller model has the higher log-likelihood.
    """
    _require_same_data(larger, smaller)
    for word, fit in (("smaller", smaller), ("larger", larger)):
        if not fit.converged:
            warnings.warn(
                f"The {word} model's fit did not converge, so there is no likelihood-ratio test: use more starts.",
                ConvergenceWarning,
                stacklevel=4,
            )
    _require_same_rule(larger, smaller)
    embed(smaller, larger)  # refuses a model that the larger one does not contain
    absent = absent_effects(smaller.model.effects, larger.model.effects)
    variances = count_variances(absent)
    df = larger.df_model - smaller.df_model
    if df <= 0:
        raise DataError(
            f"The fit given has {smaller.df_model} parameters and this one {larger.df_model}: call lr_test of the "
            "larger model with the smaller one."
        )
    difference = larger.llf_penalised - smaller.llf_penalised
    if difference < -_ROUNDING:
        warnings.warn(
            f"The smaller model has a log-likelihood {-difference:.4f} above the larger one's, which therefore was "
            "not at its best optimum. Fit the larger one again with more starts.",
            ConvergenceWarning,
            stacklevel=3,
        )
    statistic = 2.0 * max(difference, 0.0)
    words = f"The restrictions of the smaller model ({df} fewer parameters) hold"
    notes: tuple[str, ...] = ()
    if variances:
        weights = ONE_VARIANCE
        if variances > 1:
            scores = variance_scores(larger.model, smaller.model.table, smaller.params.to_numpy(), absent)
            weights = chi_bar_weights(scores.information)
        pvalue = chi_bar_sf(statistic, weights, df - variances)
        words = ", and ".join(_no_effects(one) for one in absent)
        words += f", and {df - variances} further restrictions hold" if df > variances else ""
        notes = (_weights_note(weights, df - variances),)
        notes += (CONSERVATIVE,) if any(one.effects.kind is SLOPE_SD for one in absent) else ()
    else:
        pvalue = float(stats.chi2.sf(statistic, df))
    if np.isfinite(larger.llf_error) and larger.estimate.rule.kind == "monte_carlo":
        error = 2.0 * np.hypot(larger.llf_se, smaller.llf_se)
        notes += (f"The draws leave the statistic uncertain by at most about {error:.2f} (Monte Carlo s.e.).",)
    table = test_table([(JOINT, "lr", statistic, df, pvalue)])
    return HypothesisTest("Likelihood-ratio test", words, table, notes)


def _no_effects(absent: AbsentEffects) -> str:
    """Return the hypothesis that some random effects are zero, in words."""
    effects = absent.effects
    if effects.kind is SLOPE_SD:
        return f"The slopes on {', '.join(absent.names)} are the same in all families"
    if effects.level == "group":
        return "Families of one group are no more alike than others"
    if effects.level == "llm":
        return "LLMs of one family differ by no more than their covariates say"
    return "Families differ in single benchmarks by no more than their skills say"


def _weights_note(weights: np.ndarray, shift: int) -> str:
    """Return a sentence with the weights of a chi-bar-square distribution."""
    parts = ", ".join(f"{weight:.3f} of {shift + number}" for number, weight in enumerate(weights))
    return f"Variances on their boundary: a chi-bar-square law, the mixture of chi-square laws with weights {parts} df."


def _require_same_data(a: "LatentSkillResults", b: "LatentSkillResults") -> None:
    """Refuse fits to different data."""
    for what, left, right in (
        ("benchmarks", list(a.model.benchmarks), list(b.model.benchmarks)),
        ("LLMs", list(a.model.llms), list(b.model.llms)),
        ("families", list(a.model.families), list(b.model.families)),
    ):
        if left != right:
            raise DataError(f"The fits have different {what} ({len(left)} and {len(right)}), so no test compares them.")
    first, second = a.model.prepared, b.model.prepared
    if not (np.array_equal(first.y, second.y, equal_nan=True) and np.array_equal(first.state, second.state)):
        raise DataError("The fits have different scores (or boundary policies), so no test compares them.")
    if not np.array_equal(a.model.family_codes, b.model.family_codes):
        raise DataError("The fits group the LLMs into families differently, so no test compares them.")


def _require_same_rule(a: "LatentSkillResults", b: "LatentSkillResults") -> None:
    """Refuse fits by different integration rules, whose errors would not cancel."""
    if a.estimate.rule.kind != b.estimate.rule.kind or (
        a.estimate.rule.kind == "quadrature" and a.estimate.rule.points != b.estimate.rule.points
    ):
        raise DataError(
            f"The log-likelihoods come from different rules ({a.estimate.rule}; {b.estimate.rule}) and their errors "
            "would not cancel; fit both with the same integration."
        )
    if a.estimate.informed != b.estimate.informed:
        raise DataError(
            "One of the fits was made with information=False, by Laplace's rule with the expected curvature, and the "
            "other was not: fit both in the same way."
        )


def embed(smaller: "LatentSkillResults", larger: "LatentSkillResults") -> np.ndarray:
    """Return the smaller fit's law in the larger model's natural parameters, array (P,).

    Raises
    ------
    DataError
        If the larger model does not contain it.
    """
    a, b = smaller.model, larger.model
    if len(a.skills) != len(b.skills):
        raise DataError(
            f"{len(a.skills)} and {len(b.skills)} skills: with a skill too many its slopes and loadings are not "
            "identified, so the statistic has no chi-square law. Use compare or select_skills."
        )
    for option in differing_options(a, b):
        if option.untested:
            raise DataError(f"Fits that differ in {option.name} are not tested: {option.untested}.")
    if a.score_law != b.score_law:
        raise DataError("Fits with different laws of a score are not tested: their likelihoods differ. Use compare.")
    if not np.array_equal(a.chance, b.chance):
        raise DataError("The fits have different chance levels.")
    structure = _in_covariates(smaller.structure, a, b)
    structure = _with_effects(structure, a, b)
    params = _in_form(structure, b)
    if params is None:
        raise DataError("Not nested: the larger model's pattern of loadings and correlations excludes the smaller fit.")
    restriction = larger.estimate.restriction
    if restriction is not None and np.abs(restriction.residual(params)).max() > 1e-6:
        raise DataError(
            f"Not nested: the smaller fit violates {'; '.join(restriction.labels)}, which the larger one keeps to."
        )
    return params


def _in_covariates(structure: Structure, a: LatentSkillLaw, b: LatentSkillLaw) -> Structure:
    """Return the same law in the covariates of model b, refused if these do not span those of model a."""
    x, wanted = b.design.x, a.design.x
    centred, target = x - x.mean(axis=0), wanted - wanted.mean(axis=0)
    coding = np.linalg.lstsq(centred, target, rcond=None)[0]
    if target.size and np.abs(centred @ coding - target).max() > _SAME * (1.0 + np.abs(target).max()):
        raise DataError(f"Not nested: the scaling {b.scaling!r} does not contain {a.scaling!r}.")
    coding[np.abs(coding) < 1e-12] = 0.0
    shift = wanted.mean(axis=0) - x.mean(axis=0) @ coding
    return replace(
        structure,
        slopes=coding @ structure.slopes,
        intercepts=structure.intercepts + structure.loadings @ (structure.slopes.T @ shift),
    )


def _with_effects(structure: Structure, a: LatentSkillLaw, b: LatentSkillLaw) -> Structure:
    """Return the same law with the random effects of model b, of which those that model a lacks are zero.

    Refused if model a has random effects that model b lacks.
    """
    lost = absent_effects(b.effects, a.effects)
    if lost:
        effects = lost[0].effects
        rows = f" on {lost[0].names}" if effects.kind is SLOPE_SD else ""
        raise DataError(
            f"Not nested: the smaller model has {effects.words}{rows} ({effects.option}), which are not part of the "
            "larger one."
        )
    return with_effects(structure, {effects.block: effects.rows for effects in a.effects}, b.effects)


def _in_form(structure: Structure, model: LatentSkillLaw) -> np.ndarray | None:
    """Return natural parameters in the form of a model, or None if the model cannot express this law."""
    candidates = [structure]
    if model.has_free_axes:
        try:
            unrotated = structure.transformed(np.linalg.cholesky(structure.skill_cov))
            candidates.append(model.pattern.rotate_from(unrotated))
        except (IdentificationError, np.linalg.LinAlgError):
            pass  # the form cannot express the smaller law
    sd = np.sqrt(np.diag(structure.skill_cov))
    candidates.append(structure.transformed(np.diag(sd)))
    for candidate in candidates:
        params = model.table.natural(candidate)
        if _same_law(model.table.structure(params), structure):
            return params
    return None


def _same_law(a: Structure, b: Structure) -> bool:
    """Return whether two Structures give the same law of the scores, up to rounding."""
    pairs = [
        (a.loadings @ a.slopes.T, b.loadings @ b.slopes.T),
        (a.loadings @ a.skill_cov @ a.loadings.T, b.loadings @ b.skill_cov @ b.loadings.T),
        (a.intercepts, b.intercepts),
        (a.precision, b.precision),
        (a.lower, b.lower),
        (a.upper, b.upper),
        (a.link, b.link),
    ]
    for name, values in a.scales.items():
        if values.ndim == 1:
            pairs.append((values, b.scales[name]))
        else:
            pairs += [
                (a.loadings * t**2 @ a.loadings.T, b.loadings * u**2 @ b.loadings.T)
                for t, u in zip(values, b.scales[name], strict=True)
            ]
    return all(np.allclose(left, right, rtol=1e-6, atol=1e-7) for left, right in pairs)
