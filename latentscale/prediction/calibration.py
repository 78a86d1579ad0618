"""How predictive draws agree with what came true: PIT, coverage, width, CRPS and logarithmic score.

All take draws (S, ...) and observed values (...), NaN where there is none.
"""

import numpy as np

from ..checks import check_alpha


def probability_integral_transform(draws, observed, rng):
    """Randomised PIT: the place of the observed value among the draws, in (0, 1).

    (b + u (1 + t)) / (S + 1) with b draws below, t draws equal and u uniform: exactly uniform if the observed value is
    exchangeable with the draws, ties and recorded zeros included.
    """
    below, ties = (draws < observed).sum(axis=0), (draws == observed).sum(axis=0)
    out = (below + rng.random(np.shape(observed)) * (1.0 + ties)) / (len(draws) + 1.0)
    return np.where(np.isnan(observed), np.nan, out)


def crps(draws, observed):
    """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in units of the score; smaller is better.

    The second expectation by the order statistics, without the bias of pairing draws with themselves (Gneiting and
    Raftery 2007).

    Examples
    --------
    >>> float(crps(np.array([0.0, 1.0]), np.array(0.5)))
    0.0
    """
    ordered, size = np.sort(draws, axis=0), len(draws)
    rank = np.arange(1, size + 1).reshape(-1, *[1] * np.ndim(observed))
    half_gap = np.sum((2 * rank - size - 1) * ordered, axis=0) / (size * (size - 1.0))
    return np.mean(np.abs(draws - observed), axis=0) - half_gap


def interval(draws, alpha):
    """Equal-tailed interval (2, ...) of level 1 - alpha."""
    check_alpha(alpha)
    return np.quantile(draws, [0.5 * alpha, 1.0 - 0.5 * alpha], axis=0)


def log_score(draws, observed, rounding):
    """Logarithm of the probability of the recorded value, rounded as it is; larger is better.

    Parameters
    ----------
    draws : PredictiveDraws
        With a ``log_probability``.
    observed : array (n, J)
    rounding : array (J,)
        Rounding unit of each benchmark.
    """
    half = 0.5 * np.asarray(rounding)
    value = np.where(np.isnan(observed), 0.5, observed)
    out = draws.log_probability(value - half, value + half)
    return np.where(np.isnan(observed), np.nan, out)
