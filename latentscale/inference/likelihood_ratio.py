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

from ..components.levels import RandomEffects, with_effects
from ..errors import ConvergenceWarning, DataError, IdentificationError
from ..estimation.search import climb
from ..likelihood.objective import Objective
from ..models.latent_skill import LatentSkillLaw
from ..models.options import differing_options
from ..parameters.space import ParameterSpace
from ..parameters.structure import Structure
from .chi_bar_squared import ONE_VARIANCE, chi_bar_sf, chi_bar_weights, variance_scores
from .hypothesis_test import JOINT, HypothesisTest, test_table

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

_SAME = 1e-7  # relative error below which covariates count as spanned by others
_ITERATIONS = 300  # of the quasi-Newton search
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
        zero, of random slopes or of the residual skills of LLMs.

    Raises
    ------
    DataError
        If the fits are not of the same data, not by the same rule, or not nested, or differ in residual skills of LLMs
        and in something else at the same time; the message says why.

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
    embedded = embed(smaller, larger)
    absent = absent_effects(smaller.model, larger.model)
    extra = [row for _, rows in absent for row in rows]
    variances = len(extra) * len(larger.model.skills)
    residual = [effects for effects, _ in absent if effects.rows is None]
    df = larger.df_model - smaller.df_model
    if df <= 0:
        raise DataError(
            f"The fit given has {smaller.df_model} parameters and this one {larger.df_model}: call lr_test of the "
            "larger model with the smaller one."
        )
    null = _without_effects(residual[0], larger, smaller, embedded, df) if residual else smaller.llf_penalised
    difference = larger.llf_penalised - null
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
        scores = variance_scores(larger.model, smaller.model.table, smaller.params.to_numpy(), extra)
        weights = chi_bar_weights(scores.information)
        pvalue = chi_bar_sf(statistic, weights, df - variances)
        words = f"The slopes on {', '.join(extra)} are the same in all families"
        words += f", and {df - variances} further restrictions hold" if df > variances else ""
        notes = (_weights_note(weights, df - variances), CONSERVATIVE)
    elif residual:  # a single variance: its estimate is zero with probability one half
        pvalue = chi_bar_sf(statistic, ONE_VARIANCE)
        words = "LLMs of one family differ by no more than their covariates say"
        notes = (_weights_note(ONE_VARIANCE, 0),)
        if abs(null - smaller.llf_penalised) > _ROUNDING:
            notes += (f"Precisions are penalised under both models; without, the smaller one has {smaller.llf:.4f}.",)
    else:
        pvalue = float(stats.chi2.sf(statistic, df))
    if np.isfinite(larger.llf_error) and larger.estimate.rule.kind == "monte_carlo":
        error = 2.0 * np.hypot(larger.llf_se, smaller.llf_se)
        notes += (f"The draws leave the statistic uncertain by at most about {error:.2f} (Monte Carlo s.e.).",)
    table = test_table([(JOINT, "lr", statistic, df, pvalue)])
    return HypothesisTest("Likelihood-ratio test", words, table, notes)


def absent_effects(smaller: LatentSkillLaw, larger: LatentSkillLaw) -> list[tuple[RandomEffects, list[str]]]:
    """Return the random effects of the larger model that the smaller one lacks, and the rows that it lacks."""
    known = {effects.block: effects for effects in smaller.effects}
    absent = []
    for effects in larger.effects:
        same = known.get(effects.block)
        rows = [row for row in effects.rows or () if same is None or row not in (same.rows or ())]
        if same is None or rows:
            absent.append((effects, rows))
    return absent


def _without_effects(
    effects: RandomEffects, larger: "LatentSkillResults", smaller: "LatentSkillResults", params: np.ndarray, df: int
) -> float:
    """Return the maximum of what the larger fit maximises, with the standard deviation of some effects held at zero.

    It includes the larger model's penalty on precisions.
    """
    model, informed = larger.model, larger.estimate.informed
    if df > 1 or larger.estimate.restriction is not None or smaller.estimate.restriction is not None:
        raise DataError(
            "Residual skills of LLMs are tested by themselves: the fits are to be without constraints and otherwise of "
            "one model. Test one restriction after the other, with fits in between."
        )
    fixed = model.table.fixed.copy()
    fixed[model.table.layout.slices[effects.block]] = 0.0
    objective = Objective(
        ParameterSpace(model.table.with_fixed(fixed)), model.internal_cells, model.penalty, expected=not informed
    )
    start = model.recoding.internal(model.table.structure(params))
    return climb(objective, 0, "given", start, _ITERATIONS, gtol=1e-4).value


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
    if np.abs(centred @ coding - target).max() > _SAME * (1.0 + np.abs(target).max()):
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
    lost = [effects for effects, _ in absent_effects(b, a)]
    if lost:
        rows = f" on {list(lost[0].rows)}" if lost[0].rows is not None else ""
        raise DataError(
            f"Not nested: the smaller model has {lost[0].words}{rows} ({lost[0].option}), which are not part of the "
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
