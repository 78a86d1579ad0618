"""Draws of expected and of recorded scores from fits by the Huber loss, for prediction intervals.

Expected scores. There is no likelihood, and therefore no posterior distribution. The draws are from the sampling
distribution of the expected score, by the delta method on a scale on which it is nearly normal: logit((mu - c) / (1 -
c)) for known asymptotes c, and logit mu for estimated ones, whose errors compensate those of the slopes. The covariance
is the sandwich of ``sloth.covariance``, with derivatives in the optimiser's coordinates. Expected scores do not change
along the directions in which skills are free, so that they do not depend on a choice of coordinates there. Draws of
loadings and skills, multiplied by each other, would depend on it.

Recorded scores. The Huber loss implies no distribution of scores, so one is assumed: on the angle 2 arcsin sqrt(y), on
which proportions have a nearly constant variance, the errors of a benchmark have the distribution of its residuals. An
angle beyond [0, pi] is reflected, as sin^2(z / 2) does by itself, so that scores stay within [0, 1]. The tails and the
skewness of the distribution are those of the residuals. Residuals are first corrected for their leverages
(``sloth.leverage.inflated_by_llm``), as if all scores of an LLM were left out together, because the scores of an LLM
deviate together from those of its family. LLMs that are the only ones of their families are not used, because the
intercepts of their families follow that deviation.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from ..checks import check_seed, check_whole
from ..components.curve import between
from ..errors import ConvergenceWarning, DataError
from ..prediction.predictive import PredictiveDraws
from ..tables import some
from .covariance import Sandwich, raw_changes, sandwiches
from .leverage import inflated_by_llm, several

if TYPE_CHECKING:
    import pandas as pd

    from .fit import SlothEstimate
    from .model import HuberModel
    from .problems import Piece
    from .results import SlothResults

SOURCES = ("parameters", "score")
_ENOUGH = 10  # least number of LLMs that share their families from whose errors a benchmark's distribution is made
_STILL = 1e-6  # a smaller change of a predictor along an undetermined direction of length one counts as zero
_WIDE = 0.15  # beyond this standard error of an expected score (.29 for a uniform law) a warning is given


@dataclass(frozen=True, eq=False)
class ExpectedLaw:
    """Normal distribution of the logits of the expected scores of n LLMs.

    Attributes
    ----------
    logit : array (n, J)
        logit((mu - low) / (1 - low)); NaN where there is no prediction.
    low : array (J,)
        The asymptotes c if they are known, otherwise 0.
    root : array (m, n, J)
        The distribution is that of logit + sum_m z_m root[m] with independent standard normal z_m.
    undetermined : bool array (n, J)
        Whether each expected score changes along directions that the data do not determine.
    """

    logit: np.ndarray
    low: np.ndarray
    root: np.ndarray
    undetermined: np.ndarray


def sloth_draws(
    results: "SlothResults",
    data: Any = None,
    size: int = 2000,
    seed: int = 0,
    uncertainty: str | Sequence[str] = SOURCES,
) -> PredictiveDraws:
    """Draw expected and recorded scores from the prediction of a SlothModel or BenchmarkLaws.

    Parameters
    ----------
    results : SlothResults
    data : table, optional
        One row per LLM, as for ``predict``; by default the LLMs of the fit.
    size : int
        Number S of draws, at least 1.
    seed : int
    uncertainty : sequence of {"parameters", "score"}
        Sources of variation. Without "parameters" all draws of expected scores equal the prediction, and without
        "score" recorded scores equal expected ones. For fits without a covariance (``cov_type="none"``) families are
        independent units.

    Returns
    -------
    PredictiveDraws
        NaN where there is no prediction, or it is not determined.

    Raises
    ------
    DataError
        If an option cannot be used, or the LLMs cannot be predicted.

    Warns
    -----
    ConvergenceWarning
        If some predictions are not determined, or hardly so; the message names the families.
    """
    sources = _check(size, seed, uncertainty)
    index, codes, x = results.locate(data)
    model, estimate, mean = results.model, results.estimate, results.predict(data).to_numpy()
    kind = "llm" if results.cov_type == "llm" else "cluster"
    by_problem = sandwiches(model, estimate, kind)
    normal, errors = (np.random.default_rng(child) for child in np.random.SeedSequence(int(seed)).spawn(2))
    mu = np.broadcast_to(mean, (int(size), *mean.shape))
    if "parameters" in sources:
        law = expected_law(model, estimate, by_problem, x, codes)
        mu = draw_expected(law, int(size), normal)
        _warn(law.undetermined, mu.std(axis=0) > _WIDE, index if codes is None else model.families[codes])
    scores = mu
    if "score" in sources:
        scores = draw_scores(mu, score_errors(model, estimate, by_problem), errors)
    return PredictiveDraws(index, tuple(model.benchmarks), mean, mu, scores, np.full(mean.shape, np.nan))


def _check(size: int, seed: int, uncertainty: str | Sequence[str]) -> tuple[str, ...]:
    """Check the options of ``sloth_draws``, and return the sources of variation."""
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


def expected_law(
    model: "HuberModel",
    estimate: "SlothEstimate",
    by_problem: Sequence[Sandwich],
    x: np.ndarray,
    codes: np.ndarray | None,
) -> ExpectedLaw:
    """Return the distribution of the expected scores of LLMs by the delta method.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    by_problem : list of Sandwich
        The sandwiches of the estimate's problems.
    x : array (n, p)
        Covariates.
    codes : int array (n,) or None
        Numbers of the families; None if intercepts are shared.

    Returns
    -------
    ExpectedLaw
    """
    response, eta = model.response, predictor(model, estimate, x, codes)
    steepness, by_phi = _logit_derivatives(response, eta, estimate.phi)
    used = max(len(one.influence) for one in by_problem)
    total = used + sum(len(one.effect_errors) for one in by_problem)
    root, lost, first = np.zeros((total, *eta.shape)), np.zeros(eta.shape, dtype=bool), used
    for piece, one in zip(estimate.pieces, by_problem, strict=True):
        # clusters are the same in all problems; errors of family intercepts are independent between problems
        rows = [*range(len(one.influence)), *range(first, first + len(one.effect_errors))]
        first += len(one.effect_errors)
        directions = np.concatenate([one.influence, one.effect_errors])
        d_eta, d_phi = _changes(model, estimate, piece, directions, x, codes)
        root[rows] += steepness * d_eta + np.einsum("njq,mjq->mnj", by_phi, d_phi)
        if one.undetermined.shape[1]:
            lost |= _changes_along(one.undetermined, model, estimate, piece, x, codes)
    if response.asymptotes == "chance":
        return ExpectedLaw(response.predictor(eta, estimate.phi), response.chance, root, lost & np.isfinite(eta))
    mean = response.mean(eta, estimate.phi)
    return ExpectedLaw(logit(mean), np.zeros(len(response.chance)), root, lost & np.isfinite(eta))


def _logit_derivatives(response: Any, eta: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of ``ExpectedLaw.logit`` in eta (n, J) and in phi (n, J, q)."""
    if response.asymptotes != "chance":
        curves = response.cells(eta, phi)
        variance = curves.mu * (1.0 - curves.mu)
        return curves.d1 / variance, curves.phi / variance[:, :, None]
    return response.predictor_derivatives(eta, phi)


def predictor(model: "HuberModel", estimate: "SlothEstimate", x: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
    """Return the linear predictor eta (n, J) at covariates x (n, p), for families with numbers codes (n,)."""
    theta = x @ estimate.slopes
    if estimate.effects is not None:
        theta = theta + estimate.effects[codes]
    # a family may have no intercept (NaN) in one law, which would make all laws NaN in a matrix product
    return (theta if model.per_benchmark else theta @ estimate.loadings.T) + estimate.intercepts


def _changes(
    model: "HuberModel",
    estimate: "SlothEstimate",
    piece: "Piece",
    directions: np.ndarray,
    x: np.ndarray,
    codes: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes of eta (m, n, J) and phi (m, J, q) along directions (m, P) of a problem."""
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


def _changes_along(
    directions: np.ndarray,
    model: "HuberModel",
    estimate: "SlothEstimate",
    piece: "Piece",
    x: np.ndarray,
    codes: np.ndarray | None,
) -> np.ndarray:
    """Return whether each predictor (n, J) changes along directions (P, m) that the data do not determine."""
    unit = directions / np.linalg.norm(directions, axis=0)
    eta, phi = _changes(model, estimate, piece, unit.T, x, codes)
    return (np.abs(eta).max(axis=0) > _STILL) | (np.abs(phi).max(axis=(0, 2), initial=0.0) > _STILL)


def draw_expected(law: ExpectedLaw, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw expected scores (size, n, J), NaN where they are not determined."""
    z = rng.standard_normal((size, len(law.root)))
    share = expit(law.logit + np.tensordot(z, law.root, axes=1))
    return np.where(law.undetermined, np.nan, between(share, law.low, 1.0))


def _warn(undetermined: np.ndarray, wide: np.ndarray, names: "np.ndarray | pd.Index") -> None:
    """Warn of predictions (n, J) that are not determined, or hardly so; ``names`` (n,) are families or LLMs."""
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


def score_errors(
    model: "HuberModel", estimate: "SlothEstimate", by_problem: Sequence[Sandwich]
) -> tuple[np.ndarray, ...]:
    """Return the errors of scores about expected ones on the angle 2 arcsin sqrt(y), for each benchmark.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    by_problem : list of Sandwich
        The sandwiches of the estimate's problems.

    Returns
    -------
    tuple of J arrays
        The errors of the LLMs that share their family, if there are at least 10, otherwise of all with a score.
    """
    delta = estimate.options["delta"]
    out: list[np.ndarray] = [np.empty(0)] * len(model.benchmarks)
    for piece, one in zip(estimate.pieces, by_problem, strict=True):
        objective = piece.objective
        mean, residuals = objective.y - objective.residuals(piece.vector), objective.residuals(piece.vector)
        added = inflated_by_llm(residuals, one.hat, one.curvature, delta) - residuals
        steepness = np.sqrt(mean * (1.0 - mean))  # zero if an expected score is 0 or 1 up to rounding
        correction = np.divide(added, steepness, out=np.zeros_like(added), where=steepness > 0.0)
        errors, seen = angle(objective.y) - angle(mean) + correction, objective.weight > 0.0
        for position, item in enumerate(piece.items):
            rows = seen[:, position] & several(objective)
            out[item] = errors[rows if np.count_nonzero(rows) >= _ENOUGH else seen[:, position], position]
    return tuple(out)


def draw_scores(mu: np.ndarray, errors: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Draw recorded scores around expected ones.

    Parameters
    ----------
    mu : array (S, n, J)
        Draws of expected scores.
    errors : sequence of J arrays
        The errors of each benchmark on the angle 2 arcsin sqrt(y), from which errors are drawn.
    rng : Generator

    Returns
    -------
    array (S, n, J)
    """
    out = np.empty(mu.shape)
    for item, one in enumerate(errors):
        drawn = one[rng.integers(0, len(one), mu.shape[:2])]
        out[:, :, item] = np.sin(0.5 * (angle(mu[:, :, item]) + drawn)) ** 2
    return out


def angle(score: np.ndarray) -> np.ndarray:
    """Return 2 arcsin sqrt(score), in [0, pi]."""
    return 2.0 * np.arcsin(np.sqrt(score))
