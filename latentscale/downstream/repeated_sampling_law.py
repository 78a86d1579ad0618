"""Successes in repeated tries at single items: a binomial item response model on skills, and pass@k.

For LLM i, item q and n_iq tries,

    S_iq ~ Binomial(n_iq, p_iq),  logit p_iq = gamma' theta_i + eps_i + b_q,
    b_q ~ N(b0, sd_item^2),  eps_i ~ N(0, sd_llm^2).

The skills theta are known from benchmark scores with an error. Their joint law over all LLMs given those scores is
taken to be normal, with the mean and the covariance of posterior draws. Then u_i = gamma' theta_i + eps_i is also
normal. Given u the items are independent, and each b_q is integrated out by Gauss-Hermite quadrature about its mode. u
is integrated out by Laplace's approximation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from ..errors import DataError
from ..numerics.linalg import cholesky_or_none, symmetrise
from ..numerics.logistic import logistic_pair

if TYPE_CHECKING:
    import numpy.typing as npt

NODES = 11  # of the Gauss-Hermite quadrature over an item's intercept
DECREMENT = 1e-10  # Newton's method stops where its decrement g' H^-1 g is that small
MAX_STEPS = 100


# --- the unbiased estimate -----------------------------------------------------------------------------------------


def pass_at_k(successes: npt.ArrayLike, tries: npt.ArrayLike, k: npt.ArrayLike) -> float | np.ndarray:
    """Return the unbiased estimate of pass@k, the probability that at least one of k tries succeeds.

    It is 1 - C(n - c, k) / C(n, k) for c successes in n tries (Chen et al. 2021), computed as a product of min(c, k)
    ratios, without overflow or cancellation.

    Parameters
    ----------
    successes, tries, k : int or arrays of int, broadcast against each other
        0 <= successes <= tries and 1 <= k <= tries.

    Returns
    -------
    float or array, in [0, 1]

    Raises
    ------
    DataError
        If numbers are not whole, successes lie outside [0, tries], or k outside [1, tries]: with fewer than k tries
        there is no unbiased estimate.

    Examples
    --------
    >>> pass_at_k(3, 10, [1, 5, 8])
    array([0.3       , 0.91666667, 1.        ])
    """
    named = {"successes": successes, "tries": tries, "k": k}
    c, n, k = np.broadcast_arrays(*[_whole(values, name) for name, values in named.items()])
    if np.any((c < 0) | (c > n)):
        where = np.argwhere((c < 0) | (c > n))[0]
        raise DataError(
            f"successes lie between 0 and tries; got {int(c[tuple(where)])} of {int(n[tuple(where)])}{_place(where)}."
        )
    if np.any((k < 1) | (k > n)):
        where = np.argwhere((k < 1) | (k > n))[0]
        raise DataError(
            f"k lies between 1 and tries, for pass@k has no unbiased estimate from fewer than k tries; got "
            f"k = {int(k[tuple(where)])} with {int(n[tuple(where)])} tries{_place(where)}. Choose smaller k, or use "
            "the curves of a RepeatedSamplingModel."
        )
    # C(n - c, k) / C(n, k) is symmetric in c and k
    few, many = np.minimum(c, k).astype(float), np.maximum(c, k).astype(float)
    with np.errstate(divide="ignore"):  # a ratio of zero: no k tries without a success
        total = np.zeros(c.shape)
        for i in range(int(few.max(initial=0))):
            left = np.where(i < few, n - i, np.inf)
            total = total + np.log1p(-np.minimum(many / left, 1.0))
    out = -np.expm1(total)
    return float(out) if out.ndim == 0 else out


def _whole(values: npt.ArrayLike, name: str) -> np.ndarray:
    """Return whole numbers as integers, or raise a DataError."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        numbers = np.asarray(values, dtype=float)
        if not (np.isfinite(numbers).all() and np.all(numbers == np.floor(numbers))):
            raise DataError(f"{name} must be whole numbers.")
        array = numbers.astype(np.int64)
    return array.astype(np.int64)


def _place(where: np.ndarray) -> str:
    return f" at position {tuple(int(i) for i in where)}" if len(where) else ""


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counts:
    """Numbers of successes and of tries, arrays (n, Q), with 0 tries where an LLM did not try an item."""

    successes: np.ndarray
    tries: np.ndarray

    @property
    def constant(self) -> float:
        """Sum of the logarithms of the binomial coefficients."""
        n, c = self.tries, self.successes
        return float(np.sum(special.gammaln(n + 1) - special.gammaln(c + 1) - special.gammaln(n - c + 1)))

    def padded(self, extra: int) -> Counts:
        """Return the counts with further LLMs that tried no item."""
        nothing = np.zeros((extra, self.tries.shape[1]), dtype=self.tries.dtype)
        return Counts(np.vstack([self.successes, nothing]), np.vstack([self.tries, nothing]))


@dataclass(frozen=True)
class SkillMoments:
    """Normal law of the skills of n LLMs given their benchmark scores.

    Attributes
    ----------
    mean : array (n, K)
    cov : array (n, K, n, K)
    """

    mean: np.ndarray
    cov: np.ndarray

    @classmethod
    def from_draws(cls, theta: np.ndarray) -> SkillMoments:
        """Return mean and covariance of draws (S, n, K)."""
        mean = theta.mean(axis=0)
        flat = (theta - mean).reshape(len(theta), -1)
        return cls(mean, (flat.T @ flat / (len(theta) - 1)).reshape(*mean.shape, *mean.shape))

    def part(self, rows: Sequence[int], skills: Sequence[int]) -> SkillMoments:
        """Return the moments of chosen LLMs and skills, by position."""
        grid = np.ix_(rows, skills, rows, skills)
        return SkillMoments(self.mean[np.ix_(rows, skills)], self.cov[grid])

    def standardised(self, centre: np.ndarray, scale: np.ndarray) -> SkillMoments:
        """Return the moments of (theta - centre) / scale."""
        outer = scale[:, None, None] * scale
        return SkillMoments((self.mean - centre) / scale, self.cov / outer[None])


@dataclass(frozen=True)
class CountParameters:
    """Loadings gamma (K,), intercept b0, sd_item, and sd_llm, which is 0 if LLMs have no effects beyond skills."""

    loadings: np.ndarray
    intercept: float
    sd_item: float
    sd_llm: float


@dataclass(frozen=True)
class CountPosterior:
    """Laplace's approximation to the law of u and the items' intercepts given the successes, at given parameters.

    Attributes
    ----------
    loglike : float
        Marginal log-likelihood.
    restricted : float
        ``loglike`` less half the log-determinant of the information on (gamma, b0). It is maximised, as in restricted
        maximum likelihood, so that standard deviations are not too small where there are few LLMs.
    mean : array (n,)
        Mode of u.
    root : array (n, m)
        R such that R R' is the covariance of u about its mode.
    nodes, log_weight : arrays (Q, M)
        Quadrature nodes of the items' intercepts, and their log-weights including the prior density.
    """

    loglike: float
    restricted: float
    mean: np.ndarray
    root: np.ndarray
    nodes: np.ndarray
    log_weight: np.ndarray


def count_posterior(
    counts: Counts,
    moments: SkillMoments,
    parameters: CountParameters,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> CountPosterior:
    """Compute modes, covariances and the log-likelihood at given parameters.

    Parameters
    ----------
    counts : Counts
    moments : SkillMoments
    parameters : CountParameters
    start : (array (n,), array (Q,)), optional
        Values of u and b at which the search for the mode starts.

    Returns
    -------
    CountPosterior
    """
    prior_mean = moments.mean @ parameters.loadings
    spread = np.einsum("k,ikjl,l->ij", parameters.loadings, moments.cov, parameters.loadings)
    values, vectors = np.linalg.eigh(symmetrise(spread))
    # with sd_llm = 0 the covariance of u may be singular, as LLMs of a family share the error of their skills
    kept = values > 1e-12 * max(float(values[-1]), 1e-300)
    if parameters.sd_llm:
        kept[:] = True
    root = vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0.0) + parameters.sd_llm**2)
    z, b = np.zeros(root.shape[1]), np.full(counts.tries.shape[1], parameters.intercept)
    if start is not None and root.shape[1]:
        z, b = np.linalg.lstsq(root, start[0] - prior_mean, rcond=None)[0], start[1]
    z, b = _joint_mode(counts, prior_mean, root, parameters, z, b)
    nodes, log_weight = _item_nodes(counts, prior_mean + root @ z, b, parameters)
    z, curvature, hessian, value = _marginal_mode(counts, prior_mean, root, nodes, log_weight, z)
    factor = np.linalg.cholesky(curvature)
    loglike = value - np.log(np.diag(factor)).sum() + counts.constant
    half = np.linalg.solve(factor, root.T).T
    # the information (V + H^-1)^-1 on the means of u, for the curvature H of the items and the prior covariance V of u
    pulled = np.linalg.solve(factor, root.T @ hessian)
    design = np.column_stack([moments.mean, np.ones(len(moments.mean))])
    information = design.T @ (hessian - pulled.T @ pulled) @ design
    restricted = loglike - 0.5 * np.linalg.slogdet(information)[1]
    return CountPosterior(float(loglike), float(restricted), prior_mean + root @ z, half, nodes, log_weight)


def _log_likelihood(counts: Counts, eta: np.ndarray) -> float:
    """Return the log-likelihood at linear predictors (n, Q), without binomial coefficients."""
    return float(np.sum(counts.successes * eta - counts.tries * np.logaddexp(0.0, eta)))


def _joint_mode(
    counts: Counts, prior_mean: np.ndarray, root: np.ndarray, parameters: CountParameters, z: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mode of the joint density of z and b, which is log-concave, by Newton's method; u = mean + root z."""
    sd = parameters.sd_item

    def value(z: np.ndarray, b: np.ndarray) -> float:
        eta = (prior_mean + root @ z)[:, None] + b
        return _log_likelihood(counts, eta) - 0.5 * z @ z - 0.5 * np.sum(((b - parameters.intercept) / sd) ** 2)

    best = value(z, b)
    for _ in range(MAX_STEPS):
        p, rest = logistic_pair((prior_mean + root @ z)[:, None] + b)
        residual, weight = counts.successes - counts.tries * p, counts.tries * p * rest
        in_z = root.T @ residual.sum(axis=1) - z
        in_b = residual.sum(axis=0) - (b - parameters.intercept) / sd**2
        of_b = weight.sum(axis=0) + 1.0 / sd**2
        mixed = root.T @ weight
        schur = np.eye(len(z)) + (root.T * weight.sum(axis=1)) @ root - (mixed / of_b) @ mixed.T
        step_z = np.linalg.solve(schur, in_z - mixed @ (in_b / of_b))
        step_b = (in_b - step_z @ mixed) / of_b
        decrement = in_z @ step_z + in_b @ step_b
        z, b, best = _halved(value, (z, b), (step_z, step_b), best)
        if decrement < DECREMENT:
            break
    return z, b


def _halved(
    value: Callable[..., float], at: tuple[np.ndarray, np.ndarray], step: tuple[np.ndarray, np.ndarray], best: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the first of the points after step, step / 2, ... whose value is not below ``best``, and that value."""
    size = 1.0
    while size > 1e-9:
        z, b = (x + size * dx for x, dx in zip(at, step, strict=True))
        reached = value(z, b)
        if reached >= best - 1e-9 * (1.0 + abs(best)):
            return z, b, reached
        size *= 0.5
    return (*at, best)


def _item_nodes(
    counts: Counts, u: np.ndarray, b: np.ndarray, parameters: CountParameters
) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Hermite nodes about each item's mode, and their log-weights, arrays (Q, M)."""
    x, weight = special.roots_hermitenorm(NODES)
    p, rest = logistic_pair(u[:, None] + b)
    sd = 1.0 / np.sqrt(np.sum(counts.tries * p * rest, axis=0) + 1.0 / parameters.sd_item**2)
    nodes = b[:, None] + sd[:, None] * x
    prior = (nodes - parameters.intercept) / parameters.sd_item
    log_weight = np.log(weight) + 0.5 * x**2 + np.log(sd)[:, None] - np.log(parameters.sd_item) - 0.5 * prior**2
    return nodes, log_weight - 0.5 * np.log(2.0 * np.pi)


def item_terms(
    counts: Counts, u: np.ndarray, nodes: np.ndarray, log_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the log of each item's integral (Q,), the nodes' posterior weights (Q, M), and p and 1 - p (n, Q, M)."""
    eta = u[:, None, None] + nodes
    small = np.exp(-np.abs(eta))
    large = 1.0 / (1.0 + small)
    p = np.where(eta >= 0.0, large, small * large)
    softplus = np.maximum(eta, 0.0) - np.log(large)
    joint = log_weight + counts.successes.sum(axis=0)[:, None] * nodes + (u @ counts.successes)[:, None]
    joint -= np.einsum("iq,iqm->qm", counts.tries, softplus)
    top = joint.max(axis=1, keepdims=True)
    weight = np.exp(joint - top)
    total = weight.sum(axis=1, keepdims=True)
    return (top + np.log(total))[:, 0], weight / total, p, np.where(eta >= 0.0, small * large, large)


def _marginal_mode(
    counts: Counts, prior_mean: np.ndarray, root: np.ndarray, nodes: np.ndarray, log_weight: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return the mode of z with the items integrated out, minus the Hessians in z and in u, and the log density."""

    def evaluate(z: np.ndarray) -> tuple[float, tuple[np.ndarray, ...]]:
        terms = item_terms(counts, prior_mean + root @ z, nodes, log_weight)
        return float(terms[0].sum()) - 0.5 * z @ z, terms

    best, (_, weight, p, rest) = evaluate(z)
    for _ in range(MAX_STEPS):
        residual = counts.successes[:, :, None] - counts.tries[:, :, None] * p
        mean = np.sum(residual * weight, axis=2)
        centred = (residual - mean[:, :, None]) * np.sqrt(weight)
        flat = centred.reshape(len(centred), -1)
        within = np.sum(counts.tries * np.sum(p * rest * weight, axis=2), axis=1)
        hessian = np.diag(within) - flat @ flat.T
        curvature = symmetrise(np.eye(len(z)) + root.T @ hessian @ root)
        gradient = root.T @ mean.sum(axis=1) - z
        if cholesky_or_none(curvature) is None:
            # far from the mode the Hessian may be indefinite; without the variance of the nodes it never is
            hessian = np.diag(within)
            curvature = symmetrise(np.eye(len(z)) + (root.T * within) @ root)
        step = np.linalg.solve(curvature, gradient)
        if gradient @ step < DECREMENT:
            break
        size, floor = 1.0, best - 1e-9 * (1.0 + abs(best))
        while size > 1e-9:
            reached, terms = evaluate(z + size * step)
            if reached >= floor:
                z, best, (_, weight, p, rest) = z + size * step, reached, terms
                break
            size *= 0.5
        else:
            break
    return z, curvature, hessian, best
