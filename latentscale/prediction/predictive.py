"""Draws of scores from their predictive distribution, with sources of uncertainty that can be told apart."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrame
from scipy import special

from ..components.response import locations
from ..components.score_laws import ScoreLaw
from ..models.latent_skill import LatentSkillLaw
from .skill_draws import JointDraws, read_request, read_sources

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

_NEAREST = 1e-12  # least distance of locations from 0 and 1


@dataclass(frozen=True, eq=False)
class PredictiveDraws:
    """Draws of expected scores and of scores.

    Attributes
    ----------
    llms : Index (n,)
    benchmarks : tuple of J str
    mean : array (n, J)
        Expected scores at the estimate, which ``predict`` returns.
    mu : array (S, n, J)
        Draws of expected scores.
    scores : array (S, n, J)
        Draws of scores as a table would record them.
    observed : array (n, J)
        Scores of these LLMs in the table that were conditioned on; NaN elsewhere.
    log_probability : callable or None
        Given two arrays (n, J) it returns the logarithm of the probability of a recorded score between them, (n, J).
        None where scores have no law, as in draws without the source "score".
    """

    llms: pd.Index
    benchmarks: tuple[str, ...]
    mean: np.ndarray
    mu: np.ndarray
    scores: np.ndarray
    observed: np.ndarray
    log_probability: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = field(default=None, repr=False)


def predictive_draws(
    fit: "LatentSkillResults",
    data: IntoFrame | None = None,
    observed: bool = False,
    size: int = 4000,
    seed: int = 0,
    uncertainty: str | Sequence[str] = ("parameters", "family", "score"),
) -> PredictiveDraws:
    """Return draws from the predictive distribution of the scores of LLMs.

    Skills of LLMs of known families come from p(alpha_l | y_l), those of unseen families from N(0, Sigma), and those of
    LLMs with scores in the table (``observed``) from the posterior given these scores too. Parameters vary by the delta
    method (``prediction.sensitivity``), and scores by their law. Sources of uncertainty that are left out are held at
    their means.

    Parameters
    ----------
    fit : LatentSkillResults
    data, observed, size, seed, uncertainty
        As for ``get_prediction``.

    Returns
    -------
    PredictiveDraws
    """
    sources, model = read_sources(uncertainty), fit.model
    request = read_request(model, data, observed)
    joint = JointDraws(fit, request, size, seed, sources=sources)
    at_estimate = None if observed else fit.predict(data).to_numpy()
    mu, phi = location_draws(joint, model.score_law, sources, at_estimate)
    expected = model.score_law.mean(mu, phi)
    if "score" in sources:
        scores = model.prepared.recorded(model.score_law.draw(np.random.default_rng([int(seed), 2]), mu, phi))
    else:
        scores = model.prepared.recorded(expected)
    given = np.full(mu.shape[1:], np.nan) if request.scores is None else request.scores
    mean = expected.mean(axis=0) if at_estimate is None else at_estimate
    log_probability = partial(_log_probability, model, mu, phi) if "score" in sources else None
    return PredictiveDraws(request.llms, model.benchmarks, mean, expected, scores, given, log_probability)


def expected_draws(joint: JointDraws, law: ScoreLaw, sources: Collection[str]) -> np.ndarray:
    """Return draws of expected scores (S, n, J); arguments are as for ``location_draws``."""
    return law.mean(*location_draws(joint, law, sources))


def location_draws(
    joint: JointDraws, law: ScoreLaw, sources: Collection[str], mean: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of the locations (S, n, J) and precisions (S or 1, n or 1, J) of the law of a score.

    Parameters
    ----------
    joint : JointDraws
    law : ScoreLaw
    sources : set of str
        Sources of uncertainty.
    mean : array (n, J), optional
        Expected scores at the estimate, at which draws without the source "family" are held.
    """
    structure = joint.structure
    eta = joint.predictors({"family"})
    # nearer to 0 or 1 a double may round to the end, where the law does not exist
    mu = np.clip(locations(structure, eta), _NEAREST, 1.0 - _NEAREST)
    if "family" not in sources:
        held = mu.mean(axis=0) if mean is None else law.location(mean, np.exp(joint.log_precision[0]))
        mu = np.broadcast_to(held, mu.shape)
    log_phi = joint.log_precision
    if "parameters" in sources:
        sensitivity, deviates = joint.sensitivities, joint.deviates
        mu = special.expit(special.logit(mu) + np.tensordot(deviates, sensitivity.logit_mean, axes=1))
        mu = np.clip(mu, _NEAREST, 1.0 - _NEAREST)
        log_phi = log_phi + np.tensordot(deviates, sensitivity.log_precision, axes=1)
    return mu, np.exp(log_phi)


def _log_probability(
    model: LatentSkillLaw, mu: np.ndarray, phi: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Return log P(lower <= recorded score <= upper), (n, J), averaged over draws.

    An end at 0 or 1 includes all scores beyond it.
    """
    ends = []
    for end, outside, probability in ((lower, lower <= 0.0, 0.0), (upper, upper >= 1.0, 1.0)):
        inside = np.where(outside, 0.5, end)
        y, _ = model.prepared.prepare_new(inside, [str(number) for number in range(len(inside))])
        below = model.score_law.cdf(y, mu, phi)
        ends.append(np.where(outside, probability, below.mean(axis=0)))
    with np.errstate(divide="ignore"):  # differences of probabilities below 1e-16 are zero
        return np.log(np.maximum(ends[1] - ends[0], 0.0))
