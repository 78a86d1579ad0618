"""How much one more score is expected to tell of a target: preposterior analysis by weighting of draws.

An LLM has draws s = 1, ..., S of (target, mu_j, phi_j) given all that is known. The score of a candidate benchmark j is
simulated from its predictive distribution, y_r ~ f(. | mu_jr, phi_jr), and draw s gets the weight f(y_r | mu_js,
phi_js). The weighted variance of the target, averaged over r, is its expected variance after the evaluation (Raiffa and
Schlaifer 1961). By the law of total variance it is at most the variance now.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy import special

from ..boundary import inside
from ..components.response import locations
from ..components.score_laws import ScoreLaw
from ..prediction.skill_draws import JointDraws


@dataclass(frozen=True)
class ExpectedSpread:
    """Spread of a target now and after an evaluation.

    Attributes
    ----------
    sd_now : float
        Standard deviation of the target given what is known.
    sd_after : float
        Expected standard deviation given one more score.
    reduction : float
        Expected share of the variance that the score removes, 1 - E[variance given the score] / variance now.
    reduction_se : float
        Monte Carlo standard error of ``reduction`` over the simulated scores.
    ess : float
        Median effective number of draws given a score.
    """

    sd_now: float
    sd_after: float
    reduction: float
    reduction_se: float
    ess: float


def expected_spread(values: np.ndarray, log_density: np.ndarray, drawn_from: np.ndarray) -> ExpectedSpread:
    """Return the spread of a target given a simulated score, averaged over scores.

    Parameters
    ----------
    values : array (S,)
        Draws of the target.
    log_density : array (R, S)
        log f(y_r | draw s), up to a constant in each row.
    drawn_from : int array (R,)
        The draw from which score r was simulated. It gets no weight, as it would agree with its own score too well.

    Returns
    -------
    ExpectedSpread
    """
    rows = np.arange(len(log_density))
    weight = log_density - log_density.max(axis=1, keepdims=True)
    np.exp(weight, out=weight)
    weight[rows, drawn_from] = 0.0
    weight /= weight.sum(axis=1, keepdims=True)
    centred = values - values.mean()
    mean = weight @ centred
    concentration = np.sum(weight**2, axis=1)
    # the weighted variance about the weighted mean is too small by the factor 1 - 1 / ess
    variance = np.maximum(weight @ centred**2 - mean**2, 0.0) / (1.0 - concentration)
    now = centred @ centred / (len(values) - 1)
    return ExpectedSpread(
        float(np.sqrt(now)),
        float(np.sqrt(variance).mean()),
        float(1.0 - variance.mean() / now),
        float(variance.std(ddof=1) / np.sqrt(len(variance)) / now),
        float(np.median(1.0 / concentration)),
    )


def joint_scores(joint: JointDraws, sources: Collection[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return draws of locations of scores (S, n, J), precisions (S or 1, n or 1, J) and skills (S, n, K).

    Row s of all three belongs to the same draw.

    Parameters
    ----------
    joint : JointDraws
    sources : set of str
        Of "parameters" and "family".
    """
    structure, theta = joint.structure, joint.theta
    if "family" not in sources:
        theta = np.broadcast_to(theta.mean(axis=0), theta.shape)
    mu, log_phi = locations(structure, joint.predictors(sources)), joint.log_precision
    if "parameters" in sources:
        # skills, logits of locations and log precisions change together with the parameters
        mu = special.expit(special.logit(mu) + np.tensordot(joint.deviates, joint.sensitivities.logit_mean, axes=1))
        log_phi = log_phi + np.tensordot(joint.deviates, joint.sensitivities.log_precision, axes=1)
        theta = theta + np.tensordot(joint.deviates, joint.sensitivities.theta, axes=1)
    return mu, np.exp(log_phi), theta


def simulated_log_density(
    law: ScoreLaw, mu: np.ndarray, phi: np.ndarray, outcomes: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return log-densities, at every draw, of scores simulated from the predictive distribution of a benchmark.

    Parameters
    ----------
    law : ScoreLaw
    mu, phi : arrays (S,)
        Draws of the location and of the precision.
    outcomes : int
        R, the number of simulated scores.
    rng : numpy.random.Generator

    Returns
    -------
    log_density : array (R, S)
    drawn_from : int array (R,)
        The draws from which scores were simulated, evenly spread over draws of small and of large mu.
    """
    places = (np.arange(outcomes) + rng.random(outcomes)) / outcomes * len(mu)
    drawn_from = np.argsort(mu, kind="stable")[places.astype(int)]
    choice = rng.random(
        outcomes
    )  # drawn for every law, so that later draws are the same whether it is a mixture or not
    y = inside(law.draw(rng, mu[drawn_from], phi[drawn_from], choice))  # a draw may round to 0 or 1
    return law.log_density_table(y, mu, phi), drawn_from
