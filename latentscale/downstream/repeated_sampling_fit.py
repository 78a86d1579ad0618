"""Fit of the binomial model of repeated sampling, and what follows from it: curves of pass@k, items and LLMs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from ..numerics.linalg import cholesky_or_none, symmetrise
from .repeated_sampling_law import NODES, CountParameters, Counts, SkillMoments, count_posterior, item_terms, pass_at_k

POPULATION_NODES = 41  # of the quadrature over the law of items
REFUSED = 1e12  # value of minus the log-likelihood where it is not computed
GRADIENT = 1e-3  # the ascent stops where the gradient is that small, in standard errors
_SMALLEST_SD = 1e-3  # a smaller sd_llm is taken to be 0


@dataclass(frozen=True)
class CountEstimate:
    """Estimate of the binomial model.

    Attributes
    ----------
    parameters : CountParameters
    vector : array (P,)
        Loadings, intercept, sd_item and, if estimated, sd_llm.
    cov : array (P, P)
        Inverse of minus the second derivatives of the restricted log-likelihood; of sd_llm NaN where it is 0.
    loglike : float
        Marginal log-likelihood at the estimate (not the restricted one).
    distance : float
        Size of the last gradient in standard errors.
    at_edge : bool
        Whether sd_llm is 0.
    centre, scale : arrays (K,)
        The optimiser's coordinates are for skills of which these were subtracted, and by which they were divided.
    coordinates : array (d,)
        Estimate: loadings and intercept for standardised skills, log sd_item, sd_llm.
    coordinate_cov : array (d, d)
        Their covariance; rows and columns of an sd_llm of 0 are zero.
    """

    parameters: CountParameters
    vector: np.ndarray
    cov: np.ndarray
    loglike: float
    distance: float
    at_edge: bool
    centre: np.ndarray
    scale: np.ndarray
    coordinates: np.ndarray
    coordinate_cov: np.ndarray

    def draws(self, size: int, rng: np.random.Generator) -> list[CountParameters]:
        """Return draws of the parameters for standardised skills, from the normal law of the coordinates."""
        values, vectors = np.linalg.eigh(self.coordinate_cov)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn = self.coordinates + rng.standard_normal((size, len(root))) @ root.T
        return [_standard_parameters(row, len(self.centre)) for row in drawn]


def _standard_parameters(coordinates: np.ndarray, n_skills: int) -> CountParameters:
    """Return the parameters for standardised skills at the optimiser's coordinates."""
    sd_llm = abs(float(coordinates[n_skills + 2])) if len(coordinates) > n_skills + 2 else 0.0
    sd_item = float(np.exp(coordinates[n_skills + 1]))
    return CountParameters(coordinates[:n_skills], float(coordinates[n_skills]), sd_item, sd_llm)


def fit_counts(counts: Counts, moments: SkillMoments, residual: bool = True) -> CountEstimate:
    """Estimate loadings, intercept and standard deviations by restricted maximum likelihood.

    Parameters
    ----------
    counts : Counts
    moments : SkillMoments
        Of the skills with free loadings.
    residual : bool
        Whether LLMs have effects eps beyond their skills.

    Returns
    -------
    CountEstimate
    """
    centre, scale = moments.mean.mean(axis=0), moments.mean.std(axis=0)
    standard = moments.standardised(centre, scale)
    k = len(centre)
    warm: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def minus(coordinates: np.ndarray, name: str = "restricted") -> float:
        if abs(coordinates[k + 1]) > 8.0:
            return REFUSED
        posterior = count_posterior(counts, standard, _standard_parameters(coordinates, k), warm.get("start"))
        return -getattr(posterior, name)

    def both(coordinates: np.ndarray) -> tuple[float, np.ndarray]:
        posterior = count_posterior(counts, standard, _standard_parameters(coordinates, k), warm.get("start"))
        # the function is next evaluated close to here, where the search for modes then starts
        warm["start"] = (posterior.mean, posterior.nodes[:, NODES // 2])
        return -posterior.restricted, _gradient(minus, coordinates)

    start = _first_coordinates(counts, standard, residual)
    scale_matrix = np.eye(len(start))
    for tolerance in (0.3, GRADIENT):
        information = symmetrise(_hessian(minus, start))
        scale_matrix = _positive_root(information)
        start = _climb(both, start, scale_matrix, tolerance)
    at_edge = residual and abs(start[k + 2]) < _SMALLEST_SD
    if at_edge:
        start = _climb(lambda x: _held(both, x), start[: k + 2], scale_matrix[: k + 2, : k + 2], GRADIENT)
        start = np.append(start, 0.0)
    _, gradient = both(start)
    free = np.arange(len(start) - at_edge)
    information = symmetrise(_hessian(lambda x: minus(np.append(x, start[len(free) :])), start[free]))
    cov = np.full((len(start), len(start)), np.nan)
    distance = np.nan
    if cholesky_or_none(information) is not None:
        cov[np.ix_(free, free)] = np.linalg.inv(information)
        distance = float(np.sqrt(gradient[free] @ cov[np.ix_(free, free)] @ gradient[free]))
    return _count_estimate(start, cov, -minus(start, "loglike"), distance, bool(at_edge), centre, scale)


def _held(function: Callable[[np.ndarray], tuple[float, np.ndarray]], x: np.ndarray) -> tuple[float, np.ndarray]:
    value, gradient = function(np.append(x, 0.0))
    return value, gradient[:-1]


def _climb(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, scale: np.ndarray, tolerance: float
) -> np.ndarray:
    def scaled(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = function(start + scale @ w)
        return value, scale.T @ gradient

    options = {"gtol": tolerance, "maxiter": 100}
    end = optimize.minimize(scaled, np.zeros(len(start)), jac=True, method="BFGS", options=options)
    return start + scale @ end.x


def _positive_root(information: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(information)
    return vectors / np.sqrt(np.maximum(np.abs(values), 1e-3 * np.abs(values).max()))


def _gradient(function: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Return the gradient by central differences, for a function that is computed to some nine digits."""
    unit = step * np.eye(len(x))
    return np.array([(function(x + shift) - function(x - shift)) / (2.0 * step) for shift in unit])


def _hessian(function: Callable[[np.ndarray], float], x: np.ndarray, step: float = 2e-2) -> np.ndarray:
    """Return the Hessian by second differences, whose error is of fourth order on the diagonal."""
    size = len(x)
    out, centre = np.empty((size, size)), function(x)
    unit, sides = step * np.eye(size), np.empty(size)
    for i in range(size):
        sides[i] = function(x + unit[i]) + function(x - unit[i])
        far = function(x + 2.0 * unit[i]) + function(x - 2.0 * unit[i])
        out[i, i] = (16.0 * sides[i] - far - 30.0 * centre) / (12.0 * step**2)
        for j in range(i):
            both = function(x + unit[i] + unit[j]) + function(x - unit[i] - unit[j])
            out[i, j] = out[j, i] = (both - sides[i] - sides[j] + 2.0 * centre) / (2.0 * step**2)
    return out


def _first_coordinates(counts: Counts, moments: SkillMoments, residual: bool) -> np.ndarray:
    """Return starting coordinates: least squares of the LLMs' smoothed logits on their skills."""
    share = (counts.successes.sum(axis=1) + 0.5) / (counts.tries.sum(axis=1) + 1.0)
    per_item = (counts.successes.sum(axis=0) + 0.5) / (counts.tries.sum(axis=0) + 1.0)
    y = special.logit(share)
    design = np.column_stack([moments.mean, np.ones(len(y))])
    ridge = np.diag(np.append(np.full(moments.mean.shape[1], 1.0), 0.0))
    coefficients = np.linalg.solve(design.T @ design + ridge, design.T @ y)
    start = np.append(coefficients, np.log(max(special.logit(per_item).std(), 0.3)))
    return np.append(start, max((y - design @ coefficients).std(), 0.2)) if residual else start


def _count_estimate(
    coordinates: np.ndarray,
    cov: np.ndarray,
    loglike: float,
    distance: float,
    at_edge: bool,
    centre: np.ndarray,
    scale: np.ndarray,
) -> CountEstimate:
    k = len(centre)
    loadings = coordinates[:k] / scale
    sd_item = np.exp(coordinates[k + 1])
    vector = np.concatenate([loadings, [coordinates[k] - loadings @ centre, sd_item], np.abs(coordinates[k + 2 :])])
    jacobian = np.eye(len(coordinates))
    jacobian[:k, :k] = np.diag(1.0 / scale)
    jacobian[k, :k] = -centre / scale
    jacobian[k + 1, k + 1] = sd_item
    sign = np.append(np.ones(k + 2), np.sign(coordinates[k + 2 :]))[: len(coordinates)]
    free = np.arange(len(coordinates) - at_edge)
    parameter_cov = np.full_like(cov, np.nan)
    block = np.ix_(free, free)
    parameter_cov[block] = (jacobian * sign[:, None])[block] @ cov[block] @ (jacobian * sign[:, None])[block].T
    parameters = _standard_parameters(np.concatenate([vector[: k + 1], [np.log(sd_item)], vector[k + 2 :]]), k)
    coordinate_cov = np.zeros_like(cov)
    coordinate_cov[block] = cov[block]
    return CountEstimate(
        parameters, vector, parameter_cov, loglike, distance, at_edge, centre, scale, coordinates, coordinate_cov
    )


# --- pass@k of the model ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CurveDraws:
    """Draws of pass@k of n LLMs for m values of k.

    Attributes
    ----------
    expected : array (S, n, m)
        Mean over items of 1 - (1 - p)^k.
    estimates : array (S, n, m)
        Unbiased estimates from new tries, as many as in the table; NaN where k exceeds a number of tries, or an item
        was not tried.
    """

    expected: np.ndarray
    estimates: np.ndarray


def curve_draws(
    counts: Counts,
    moments: SkillMoments,
    estimate: CountEstimate,
    k: np.ndarray,
    size: int = 2000,
    seed: int = 0,
    population: bool = False,
    spread: int = 20,
) -> CurveDraws:
    """Draw pass@k of LLMs.

    Parameters are drawn from the normal law of their estimates; given each draw of them, ``spread`` draws of the LLMs'
    u come from Laplace's approximation and the items' intercepts from their nodes.

    Parameters
    ----------
    counts : Counts
        LLMs without tries are new ones.
    moments : SkillMoments
        Of the skills with free loadings, for all these LLMs.
    estimate : CountEstimate
    k : int array (m,)
    size : int
    seed : int
    population : bool
        Whether to average over the law of items, and not over the items of the table.
    spread : int
        Draws of the LLMs' u for each draw of the parameters.

    Returns
    -------
    CurveDraws
    """
    rng = np.random.default_rng(seed)
    standard = moments.standardised(estimate.centre, estimate.scale)
    tables, place = _estimate_tables(counts, k)
    start, expected, estimates = None, [], []
    for parameters in estimate.draws(-(-int(size) // spread), rng):
        posterior = count_posterior(counts, standard, parameters, start)
        start = (posterior.mean, posterior.nodes[:, NODES // 2])
        for z in rng.standard_normal((spread, posterior.root.shape[1])):
            u = posterior.mean + posterior.root @ z
            if population:
                expected.append(_population_curve(u, parameters, k))
                continue
            _, weight, _, _ = item_terms(counts, u, posterior.nodes, posterior.log_weight)
            chosen = (rng.random((len(weight), 1)) > np.cumsum(weight, axis=1)).sum(axis=1)
            eta = u[:, None] + posterior.nodes[np.arange(len(chosen)), np.minimum(chosen, NODES - 1)]
            log_fail = -np.logaddexp(0.0, eta)
            expected.append(np.stack([-np.expm1(number * log_fail).mean(axis=1) for number in k], axis=1))
            again = rng.binomial(counts.tries, special.expit(eta))
            estimates.append(np.stack([table[place, again].mean(axis=1) for table in tables], axis=1))
    of_items = np.array(expected[: int(size)])
    if population:
        return CurveDraws(of_items, np.full(of_items.shape, np.nan))
    return CurveDraws(of_items, np.array(estimates[: int(size)]))


def _population_curve(u: np.ndarray, parameters: CountParameters, k: np.ndarray) -> np.ndarray:
    """Return E[1 - (1 - p)^k] over the law of items, array (n, m)."""
    x, weight = special.roots_hermitenorm(POPULATION_NODES)
    log_fail = -np.logaddexp(0.0, u[:, None] + parameters.intercept + parameters.sd_item * x)
    return np.stack([-np.expm1(number * log_fail) @ (weight / weight.sum()) for number in k], axis=1)


def _estimate_tables(counts: Counts, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all unbiased estimates that may occur, and where to look those of a cell up.

    Returns
    -------
    estimates : array (m, U, N + 1)
        By k, by the U different numbers of tries (at most N) and by successes; NaN where k or the successes exceed the
        tries.
    place : int array (n, Q)
        Which of the U numbers each cell has.
    """
    tries, place = np.unique(counts.tries, return_inverse=True)
    out = np.full((len(k), len(tries), int(tries[-1]) + 1), np.nan)
    for row, number in enumerate(tries):
        for column in np.flatnonzero(k <= number):
            out[column, row, : number + 1] = pass_at_k(np.arange(number + 1), number, k[column])
    return out, place.reshape(counts.tries.shape)


def item_summary(counts: Counts, moments: SkillMoments, estimate: CountEstimate) -> tuple[np.ndarray, np.ndarray]:
    """Return posterior means and standard deviations of the items' intercepts at the estimates, arrays (Q,).

    The uncertainty of the LLMs' u enters the standard deviations by the delta method, through the derivative of each
    item's mode with respect to u.
    """
    standard = moments.standardised(estimate.centre, estimate.scale)
    parameters = _standard_parameters(estimate.coordinates, len(estimate.centre))
    posterior = count_posterior(counts, standard, parameters)
    _, weight, p, rest = item_terms(counts, posterior.mean, posterior.nodes, posterior.log_weight)
    mean = np.sum(weight * posterior.nodes, axis=1)
    within = np.sum(weight * (posterior.nodes - mean[:, None]) ** 2, axis=1)
    information = np.sum(counts.tries[:, :, None] * p * rest * weight[None], axis=2)  # (n, Q)
    slope = -information / (information.sum(axis=0) + 1.0 / parameters.sd_item**2)
    between = np.einsum("iq,im,jm,jq->q", slope, posterior.root, posterior.root, slope)
    return mean, np.sqrt(within + between)


def llm_summary(
    counts: Counts, moments: SkillMoments, estimate: CountEstimate
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mode and standard deviation of u at the estimates, and the prior mean of gamma' theta, arrays (n,).

    The prior mean is that given the benchmark scores alone.
    """
    standard = moments.standardised(estimate.centre, estimate.scale)
    parameters = _standard_parameters(estimate.coordinates, len(estimate.centre))
    posterior = count_posterior(counts, standard, parameters)
    # for standardised skills gamma' centre belongs to the intercept and is missing in u
    shift = estimate.parameters.loadings @ estimate.centre
    return (
        posterior.mean + shift,
        np.sqrt(np.sum(posterior.root**2, axis=1)),
        standard.mean @ parameters.loadings + shift,
    )
