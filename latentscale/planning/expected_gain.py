"""How much one more score would tell: preposterior analysis by reweighting draws.

For an LLM with draws s = 1, ..., S of (target, mu_j, phi_j) given all that is known, the score of a candidate
benchmark j is simulated from its predictive law, y_r ~ f(. | mu_jr, phi_jr), and draws are weighted by
f(y_r | mu_js, phi_js). The weighted variance of the target, averaged over r, is its expected variance after the
evaluation (Raiffa and Schlaifer 1961); by the law of total variance it is at most the variance now.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from ..boundary import inside
from ..components.response import locations


@dataclass(frozen=True)
class ExpectedSpread:
    """Spread of a target now and after an evaluation.

    Attributes
    ----------
    sd_now : float
    sd_after : float
        Expected standard deviation given the score.
    reduction : float
        1 - E[variance given the score] / variance now.
    reduction_se : float
        Its Monte Carlo standard error over the simulated scores.
    ess : float
        Median effective number of draws given a score.
    """

    sd_now: float
    sd_after: float
    reduction: float
    reduction_se: float
    ess: float


def expected_spread(values, log_density, own):
    """Spread of a target given a simulated score, averaged over scores.

    Parameters
    ----------
    values : array (S,)
        Draws of the target.
    log_density : array (R, S)
        log f(y_r | draw s), up to a constant of each row.
    own : int array (R,)
        The draw that score r was simulated from. It is left out: it agrees with its own score too well.

    Returns
    -------
    ExpectedSpread
    """
    rows = np.arange(len(log_density))
    weight = log_density - log_density.max(axis=1, keepdims=True)
    np.exp(weight, out=weight)
    weight[rows, own] = 0.0
    weight /= weight.sum(axis=1, keepdims=True)
    centred = values - values.mean()
    mean = weight @ centred
    concentration = np.sum(weight**2, axis=1)
    # the weighted variance about the weighted mean is too small by the share 1 / ess
    variance = np.maximum(weight @ centred**2 - mean**2, 0.0) / (1.0 - concentration)
    now = centred @ centred / (len(values) - 1)
    return ExpectedSpread(
        float(np.sqrt(now)),
        float(np.sqrt(variance).mean()),
        float(1.0 - variance.mean() / now),
        float(variance.std(ddof=1) / np.sqrt(len(variance)) / now),
        float(np.median(1.0 / concentration)),
    )


def joint_scores(joint, sources):
    """Draws of locations of scores (S, n, J), precisions (S or 1, J) and skills (S, n, K) that belong together.

    Parameters
    ----------
    joint : JointDraws
    sources : set of str
        Of "parameters" and "family".
    """
    structure, theta = joint.structure, joint.theta
    if "family" not in sources:
        theta = np.broadcast_to(theta.mean(axis=0), theta.shape)
    eta = theta @ structure.loadings.T + structure.intercepts
    mu, log_phi = locations(structure, eta), np.log(structure.precision)[None]
    if "parameters" in sources:
        # skills and expected scores move together with the parameters, each on its own scale
        mu = special.expit(special.logit(mu) + np.tensordot(joint.deviates, joint.moves.logit_mean, axes=1))
        log_phi = log_phi + joint.deviates @ joint.moves.log_precision
        theta = theta + np.tensordot(joint.deviates, joint.moves.theta, axes=1)
    return mu, np.exp(log_phi), theta


def simulated_log_density(law, mu, phi, outcomes, rng):
    """Scores simulated from the predictive law of a benchmark, and their log-densities at every draw.

    Parameters
    ----------
    law : ScoreLaw
    mu, phi : arrays (S,)
        Draws of the location and of the precision.
    outcomes : int
        R.
    rng : numpy.random.Generator

    Returns
    -------
    log_density : array (R, S)
    own : int array (R,)
        The draws that scores were simulated from, evenly spread over those of small and large mu.
    """
    places = (np.arange(outcomes) + rng.random(outcomes)) / outcomes * len(mu)
    own = np.argsort(mu, kind="stable")[places.astype(int)]
    choice = rng.random(outcomes)  # also for laws that are no mixtures: the draws after it do not depend on the law
    y = inside(law.draw(rng, mu[own], phi[own], choice))  # a draw may round to 0 or 1
    return law.log_density_table(y, mu, phi), own
