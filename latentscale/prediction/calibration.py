"""How well predictive draws agree with scores that came true: PIT, CRPS, logarithmic score, intervals.

Every function takes draws (S, ...), one along the first axis, and observed values (...), NaN where there is none.
"""

from typing import TYPE_CHECKING

import numpy as np

from ..checks import check_alpha

if TYPE_CHECKING:
    from .predictive import PredictiveDraws


def probability_integral_transform(draws: np.ndarray, observed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the randomised probability integral transform: the rank of the observed value among the draws, in (0, 1).

    With b draws below the observed value, t draws equal to it and u uniform on (0, 1) it is (b + u (1 + t)) / (S + 1).
    This is exactly uniform if the observed value is exchangeable with the draws, also where scores are tied or
    recorded as zero. Shape (...), NaN where nothing was observed.
    """
    below, ties = (draws < observed).sum(axis=0), (draws == observed).sum(axis=0)
    transform = (below + rng.random(np.shape(observed)) * (1.0 + ties)) / (len(draws) + 1.0)
    return np.where(np.isnan(observed), np.nan, transform)


def crps(draws: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score E|Y - y| - E|Y - Y'| / 2 in units of the score; smaller is better.

    The second expectation is computed from the order statistics of the draws and leaves out pairs of a draw with
    itself, so that it has no bias (Gneiting and Raftery 2007). Shape (...).

    Examples
    --------
    >>> float(crps(np.array([0.0, 1.0]), np.array(0.5)))
    0.0
    """
    ordered, size = np.sort(draws, axis=0), len(draws)
    rank = np.arange(1, size + 1).reshape(-1, *[1] * np.ndim(observed))
    half_gap = np.sum((2 * rank - size - 1) * ordered, axis=0) / (size * (size - 1.0))
    return np.mean(np.abs(draws - observed), axis=0) - half_gap


def interval(draws: np.ndarray, alpha: float) -> np.ndarray:
    """Return the equal-tailed interval of level 1 - alpha: lower and upper ends, array (2, ...)."""
    check_alpha(alpha)
    return np.quantile(draws, [0.5 * alpha, 1.0 - 0.5 * alpha], axis=0)


def log_score(draws: "PredictiveDraws", observed: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Return the logarithm of the predictive probability of each recorded value; larger is better.

    A value recorded to a rounding unit r stands for all values within r / 2 of it.

    Parameters
    ----------
    draws : PredictiveDraws
        With a ``log_probability``.
    observed : array (n, J)
        Scores, NaN where there is none.
    rounding : array (J,)
        Rounding unit of each benchmark.

    Returns
    -------
    array (n, J)
        NaN where there is no score.
    """
    half = 0.5 * np.asarray(rounding)
    value = np.where(np.isnan(observed), 0.5, observed)
    assert draws.log_probability is not None
    out = draws.log_probability(value - half, value + half)
    return np.where(np.isnan(observed), np.nan, out)
