"""Draws of expected and of recorded scores from fits by the least mean Huber loss, for prediction intervals.

Expected scores. The estimates have no likelihood, so no posterior; what is drawn is the sampling law of the expected
score, by the delta method on a scale on which it is nearly normal: logit((mu - c) / (1 - c)) for known asymptotes c,
and logit mu for estimated ones, whose errors make up for those of the slopes that they come with. Derivatives in the
optimiser's coordinates carry the sandwich covariance over (`inference.m_estimation`). Along directions in which skills
are free expected scores do not move, so that nothing depends on how the sandwich is completed there. Drawing loadings
and skills themselves and multiplying them would: the products of their errors differ between coordinates.

Recorded scores. The Huber loss has no law of scores, so one is stated: on the angle 2 arcsin sqrt(y), on which
proportions have a nearly constant variance, the errors of a benchmark are drawn from its own residuals. A drawn angle
that leaves [0, pi] is reflected, as sin^2(z / 2) does by itself, so that scores stay within [0, 1]; the law is as heavy
in its tails, and as skewed, as the residuals are. What the fit took from residuals is given back first
(`inference.m_estimation.freed_by_llm`), all scores of an LLM left out at once, as an LLM's deviation from its family is
shared by its scores. LLMs that are the only ones of their families, whose intercepts follow just that deviation, are
left out of the law.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from ..checks import check_seed, check_whole
from ..components.curve import between
from ..errors import ConvergenceWarning, DataError
from ..prediction.predictive import PredictiveDraws
from ..tables import some
from .covariance import freed_by_llm, raw_changes, sandwiches, several

SOURCES = ("parameters", "score")
_ENOUGH = 10  # errors of a benchmark from which its law is made; with fewer, of all LLMs
_STILL = 1e-6  # change of a predictor along an undetermined direction of length one, that counts as none
_WIDE = 0.15  # standard error of an expected score (that of a uniform law is .29) from which nearly nothing is known


@dataclass(frozen=True, eq=False)
class ExpectedLaw:
    """Normal law of the logits of expected scores of some LLMs.

    Attributes
    ----------
    logit : array (n, J)
        logit((mu - low) / (1 - low)); NaN where there is no prediction.
    low : array (J,)
        Asymptotes c where they are known, otherwise 0.
    root : array (m, n, J)
        The law is that of logit + sum_m z_m root[m] for independent standard normal z.
    undetermined : bool array (n, J)
        Expected scores that change along directions which the data do not determine.
    """

    logit: np.ndarray
    low: np.ndarray
    root: np.ndarray
    undetermined: np.ndarray


def sloth_draws(results, data=None, size=2000, seed=0, uncertainty=SOURCES):
    """Draws of scores from the prediction of a SlothModel or BenchmarkLaws.

    Parameters
    ----------
    results : SlothResults
    data : table, optional
        One row per LLM, as for ``predict``; by default the LLMs of the fit.
    size : int
        Draws S, at least 1.
    seed : int
    uncertainty : sequence of {"parameters", "score"}
        What varies. Without "parameters" expected scores are all the prediction; without "score" recorded scores are
        the expected ones. Fits without a covariance (``cov_type="none"``) take families as independent units.

    Returns
    -------
    PredictiveDraws
        NaN where there is no prediction, or an undetermined one.

    Raises
    ------
    DataError
        If options make no sense, or the LLMs cannot be predicted.

    Warns
    -----
    ConvergenceWarning
        If some predictions are not determined, or nearly so, naming the families.
    """
    sources = _check(size, seed, uncertainty)
    index, codes, x = results.locate(data)
    model, estimate, mean = results.model, results.estimate, results.predict(data).to_numpy()
    kind = "llm" if results.cov_type == "llm" else "cluster"
    parts = sandwiches(model, estimate, kind)
    normal, errors = (np.random.default_rng(child) for child in np.random.SeedSequence(int(seed)).spawn(2))
    mu = np.broadcast_to(mean, (int(size), *mean.shape))
    if "parameters" in sources:
        law = expected_law(model, estimate, parts, x, codes)
        mu = draw_expected(law, int(size), normal)
        _warn(law.undetermined, mu.std(axis=0) > _WIDE, index if codes is None else model.families[codes])
    scores = mu
    if "score" in sources:
        scores = draw_scores(mu, score_errors(model, estimate, parts), errors)
    return PredictiveDraws(index, tuple(model.benchmarks), mean, mu, scores, np.full(mean.shape, np.nan))


def _check(size, seed, uncertainty):
    check_whole("size", size, 1)
    check_seed(seed)
    sources = (uncertainty,) if isinstance(uncertainty, str) else tuple(uncertainty)
    unknown = [source for source in sources if source not in SOURCES]
    if unknown:
        raise DataError(
            f"uncertainty of a Huber-loss fit is made of {', '.join(map(repr, SOURCES))}, not {unknown[0]!r}: families "
            "have intercepts, which are parameters."
        )
    return sources


# --- expected scores -------------------------------------------------------------------------------------------------


def expected_law(model, estimate, parts, x, codes):
    """Law of the expected scores of LLMs by the delta method.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    parts : list of Sandwich
        Of the estimate's problems.
    x : array (n, p)
    codes : int array (n,) or None
        Families; None where intercepts are shared.

    Returns
    -------
    ExpectedLaw
    """
    response, eta = model.response, predictor(model, estimate, x, codes)
    steepness, by_phi = _logit_derivatives(response, eta, estimate.phi)
    own, used = sum(len(part.own) for part in parts), max(len(part.influence) for part in parts)
    root, lost, first = np.zeros((used + own, *eta.shape)), np.zeros(eta.shape, dtype=bool), used
    for piece, part in zip(estimate.pieces, parts, strict=True):
        # clusters are the same in all problems; the errors of family intercepts are each problem's own
        rows = [*range(len(part.influence)), *range(first, first + len(part.own))]
        first += len(part.own)
        d_eta, d_phi = _moved(model, estimate, piece, np.concatenate([part.influence, part.own]), x, codes)
        root[rows] += steepness * d_eta + np.einsum("njq,mjq->mnj", by_phi, d_phi)
        if part.weak.shape[1]:
            lost |= _changes_along(part.weak, model, estimate, piece, x, codes)
    if response.asymptotes == "chance":
        return ExpectedLaw(response.predictor(eta, estimate.phi), response.chance, root, lost & np.isfinite(eta))
    mean = response.mean(eta, estimate.phi)
    return ExpectedLaw(logit(mean), np.zeros(len(response.chance)), root, lost & np.isfinite(eta))


def _logit_derivatives(response, eta, phi):
    """Derivatives of the logit of `ExpectedLaw` in eta (n, J) and phi (n, J, q)."""
    if response.asymptotes != "chance":
        curves = response.cells(eta, phi)
        variance = curves.mu * (1.0 - curves.mu)
        return curves.d1 / variance, curves.phi / variance[:, :, None]
    return response.predictor_derivatives(eta, phi)


def predictor(model, estimate, x, codes):
    """eta, array (n, J), at covariates (n, p) and families (n,)."""
    theta = x @ estimate.slopes
    if estimate.effects is not None:
        theta = theta + estimate.effects[codes]
    # a law that lacks a family's intercept leaves the other laws alone, which a product with zeros would not
    return (theta if model.per_benchmark else theta @ estimate.loadings.T) + estimate.intercepts


def _moved(model, estimate, piece, directions, x, codes):
    """Changes of eta (m, n, J) and phi (m, J, q) along directions (m, P) of a problem."""
    change = raw_changes(model, estimate, piece, directions)
    by_skill = x @ change.slopes
    if change.effects is not None:
        by_skill = by_skill + change.effects[:, codes]
    if model.per_benchmark:
        return by_skill + change.intercepts[:, None, :], change.phi
    theta = x @ estimate.slopes
    if estimate.effects is not None:
        theta = theta + estimate.effects[codes]
    eta = by_skill @ estimate.loadings.T + theta @ np.swapaxes(change.loadings, 1, 2)
    return eta + change.intercepts[:, None, :], change.phi


def _changes_along(weak, model, estimate, piece, x, codes):
    """Which predictors (n, J) change along directions (P, m) that the data do not determine."""
    eta, phi = _moved(model, estimate, piece, (weak / np.linalg.norm(weak, axis=0)).T, x, codes)
    return (np.abs(eta).max(axis=0) > _STILL) | (np.abs(phi).max(axis=(0, 2), initial=0.0) > _STILL)


def draw_expected(law, size, rng):
    """Expected scores (size, n, J), NaN where undetermined."""
    z = rng.standard_normal((size, len(law.root)))
    share = expit(law.logit + np.tensordot(z, law.root, axes=1))
    return np.where(law.undetermined, np.nan, between(share, law.low, 1.0))


def _warn(undetermined, wide, names):
    """Name the families, or LLMs where there are no families, whose predictions are not determined, or hardly."""
    lost = {str(name) for name in np.asarray(names)[undetermined.any(axis=1)]}
    if lost:
        warnings.warn(
            f"Expected scores of {some(sorted(lost))} are not determined on some benchmarks, as there are scores on "
            "fewer benchmarks than skills: they have no intervals (NaN). Fit with more of their scores, or with fewer "
            "skills.",
            ConvergenceWarning,
            stacklevel=4,
        )
    rough = {str(name) for name in np.asarray(names)[wide.any(axis=1)]} - lost
    if rough:
        warnings.warn(
            f"Expected scores of {some(sorted(rough))} have standard errors above {100.0 * _WIDE:g} points on some "
            "benchmarks: the fit says next to nothing of them there.",
            ConvergenceWarning,
            stacklevel=4,
        )


# --- recorded scores -------------------------------------------------------------------------------------------------


def score_errors(model, estimate, parts):
    """Errors of scores about expected ones on the angle 2 arcsin sqrt(y), benchmark by benchmark.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    parts : list of Sandwich

    Returns
    -------
    tuple of J arrays
        Of the LLMs that share their family, where they are at least 10, otherwise of all with a score.
    """
    out, delta = [None] * len(model.benchmarks), estimate.options["delta"]
    for piece, part in zip(estimate.pieces, parts, strict=True):
        objective = piece.objective
        mean, residuals = objective.y - objective.residuals(piece.vector), objective.residuals(piece.vector)
        given = freed_by_llm(residuals, part.reach, part.curvature, delta) - residuals
        steepness = np.sqrt(mean * (1.0 - mean))  # an expected score at 0 or 1 to rounding has not given way at all
        moved = np.divide(given, steepness, out=np.zeros_like(given), where=steepness > 0.0)
        errors, seen = angle(objective.y) - angle(mean) + moved, objective.weight > 0.0
        for position, item in enumerate(piece.items):
            rows = seen[:, position] & several(objective)
            out[item] = errors[rows if np.count_nonzero(rows) >= _ENOUGH else seen[:, position], position]
    return tuple(out)


def draw_scores(mu, errors, rng):
    """Recorded scores (S, n, J) about expected ones, each benchmark's errors drawn from its own.

    Parameters
    ----------
    mu : array (S, n, J)
    errors : sequence of J arrays
        On the angle 2 arcsin sqrt(y).
    rng : Generator
    """
    out = np.empty(mu.shape)
    for item, one in enumerate(errors):
        drawn = one[rng.integers(0, len(one), mu.shape[:2])]
        out[:, :, item] = np.sin(0.5 * (angle(mu[:, :, item]) + drawn)) ** 2
    return out


def angle(score):
    """2 arcsin sqrt(score), in [0, pi]."""
    return 2.0 * np.arcsin(np.sqrt(score))
