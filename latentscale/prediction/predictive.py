"""Predictive draws of scores, with sources of uncertainty that can be told apart."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from scipy import special

from ..components.response import locations
from .skill_draws import JointDraws, read_request, read_sources

_NEAREST = 1e-12


@dataclass(frozen=True, eq=False)
class PredictiveDraws:
    """Draws of expected scores and of scores.

    Attributes
    ----------
    llms : Index (n,)
    benchmarks : tuple of J str
    mean : array (n, J)
        Expected scores at the estimate, what ``predict`` says.
    mu : array (S, n, J)
        Draws of expected scores.
    scores : array (S, n, J)
        Draws of scores as a table would record them.
    observed : array (n, J)
        Scores of these LLMs in the table that were conditioned on; NaN elsewhere.
    log_probability : callable or None
        Of recorded scores between two arrays (n, J): the logarithm of their probability, where the law is known.
    """

    llms: pd.Index
    benchmarks: tuple
    mean: np.ndarray
    mu: np.ndarray
    scores: np.ndarray
    observed: np.ndarray
    log_probability: object = field(default=None, repr=False)


def predictive_draws(fit, data=None, observed=False, size=4000, seed=0, uncertainty=("parameters", "family", "score")):
    """Draws from the predictive law of the scores of LLMs.

    Skills of known families come from p(alpha_l | y_l), of unseen ones from N(0, Sigma), of LLMs with scores in the
    table (``observed``) from the posterior given those too. Parameters enter by the delta method
    (``prediction.sensitivity``), scores by their law. Sources that are left out stand still at their means.

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
    known = None if observed else fit.predict(data).to_numpy()
    mu, phi = location_draws(joint, model.score_law, sources, known)
    expected = model.score_law.mean(mu, phi)
    if "score" in sources:
        scores = model.prepared.recorded(model.score_law.draw(np.random.default_rng([int(seed), 2]), mu, phi))
    else:
        scores = model.prepared.recorded(expected)
    given = np.full(mu.shape[1:], np.nan) if request.scores is None else request.scores
    mean = expected.mean(axis=0) if known is None else known
    law = partial(_log_probability, model, mu, phi) if "score" in sources else None
    return PredictiveDraws(request.llms, model.benchmarks, mean, expected, scores, given, law)


def expected_draws(joint, law, sources):
    """Draws of expected scores (S, n, J); arguments as for ``location_draws``."""
    return law.mean(*location_draws(joint, law, sources))


def location_draws(joint, law, sources, mean=None):
    """Draws of locations of the law of a score (S, n, J) and of precisions (S or 1, 1, J).

    Parameters
    ----------
    joint : JointDraws
    law : ScoreLaw
    sources : set of str
    mean : array (n, J), optional
        Expected scores at the estimate, which draws without the source "family" stand at.
    """
    structure = joint.structure
    eta = joint.theta @ structure.loadings.T + structure.intercepts
    # nearer to 0 or 1 doubles cannot tell a location from the end, where there is no law
    mu = np.clip(locations(structure, eta), _NEAREST, 1.0 - _NEAREST)
    if "family" not in sources:
        still = mu.mean(axis=0) if mean is None else law.location(mean, structure.precision)
        mu = np.broadcast_to(still, mu.shape)
    log_phi = np.log(structure.precision)[None, None]
    if "parameters" in sources:
        moves, deviates = joint.moves, joint.deviates
        mu = special.expit(special.logit(mu) + np.tensordot(deviates, moves.logit_mean, axes=1))
        mu = np.clip(mu, _NEAREST, 1.0 - _NEAREST)
        log_phi = log_phi + (deviates @ moves.log_precision)[:, None, :]
    return mu, np.exp(log_phi)


def _log_probability(model, mu, phi, lower, upper):
    """log P(lower <= recorded score <= upper), (n, J); an end at 0 or 1 takes in all beyond it."""
    ends = []
    for end, outside, all_of_it in ((lower, lower <= 0.0, 0.0), (upper, upper >= 1.0, 1.0)):
        inside = np.where(outside, 0.5, end)
        y, _ = model.prepared.prepare_new(inside, [str(number) for number in range(len(inside))])
        below = model.score_law.cdf(y, mu, phi)
        ends.append(np.where(outside, all_of_it, below.mean(axis=0)))
    with np.errstate(divide="ignore"):  # a probability below 1e-16 is zero here
        return np.log(np.maximum(ends[1] - ends[0], 0.0))
