"""Quasi-Newton ascent in coordinates scaled by an information matrix, and distances in standard errors.

With V the inverse information, g' V g is the squared length of a Newton step in units of the estimates'
standard errors. It is what every driver stops on.
"""


from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize
from scipy.linalg import solve_triangular

from ..likelihood.objective import Objective
from ..numerics.linalg import cholesky_or_none, inverse_triangle, symmetrise
from .rescaled_slopes import RescaledSlopes

_MANY, _PAIRS = 1_000, 50  # parameters from which BFGS keeps but so many pairs of steps
REFUSED = 1e12  # what a minimiser is told where the log-likelihood is not defined


class LaplaceDescent:
    """-(penalised Laplace log-likelihood) and its gradient, with modes kept warm from call to call."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.modes, self.evaluations = objective, None, 0

    def __call__(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        self.evaluations += 1
        evaluation, modes = self.objective.laplace(u, self.modes)
        if not np.isfinite(evaluation.value):
            return REFUSED, np.zeros_like(u)
        self.modes = modes
        return -evaluation.value, -evaluation.gradient


def scale_from(information: np.ndarray) -> np.ndarray:
    """Square root of an inverse information, (P, P); eigenvalues that are not positive count by their size."""
    factor = cholesky_or_none(information)
    if factor is not None:
        return inverse_triangle(factor).T
    values, vectors = np.linalg.eigh(information)
    floor = 1e-6 * np.abs(values).max()
    return vectors / np.sqrt(np.maximum(np.abs(values), floor))


def complete_metric(objective: Objective, u: np.ndarray) -> np.ndarray:
    """Square root of the inverse complete-data information at u, the effects of families and LLMs held at their modes.

    Cheap, positive definite where the observed information is not yet, and enough to halve the number of
    quasi-Newton steps: precisions and loadings differ in scale by orders of magnitude.
    """
    hessian = objective.complete(u, objective.modes(u))
    if not np.isfinite(hessian).all():
        return np.eye(len(u))
    return scale_from(-symmetrise(hessian))


def decrement_of(gradient: np.ndarray, information: np.ndarray) -> float:
    """sqrt(g' V g), or NaN where V does not exist."""
    factor = cholesky_or_none(information)
    return np.nan if factor is None else float(np.linalg.norm(solve_triangular(factor, gradient, lower=True)))


def scaled_ascent(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    u: np.ndarray,
    scale: np.ndarray,
    gtol: float,
    max_iterations: int,
    space: Any = None,
) -> tuple[np.ndarray, int]:
    """BFGS in coordinates where the information is about the identity, so that its gradient is in SE units.

    ``function(u)`` returns minus the objective and its gradient in u. With many parameters the coordinates are straight
    ones (``RescaledSlopes``) where their ``space`` is given.

    Returns
    -------
    (array (P,), int)
        Where it ended, and evaluations.
    """
    rescaled = rescaled_slopes_at(space, u)
    if rescaled is None:
        end = _bfgs(function, u, scale, gtol, max_iterations)
        return u + scale @ end.x, end.nfev

    def function_of(v: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = function(rescaled.u(v))
        return value, rescaled.gradient(v, gradient)

    scale = rescaled.steps(scale)
    end = _bfgs(function_of, u, scale, gtol, max_iterations)
    return rescaled.u(u + scale @ end.x), end.nfev


def rescaled_slopes_at(space: Any, u: np.ndarray) -> RescaledSlopes | None:
    """Return coordinates with rescaled slopes about u, or None where parameters are few or have restrictions."""
    return RescaledSlopes.at(space, u) if space is not None and len(u) > _MANY else None


def settled_ascent(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    u: np.ndarray,
    scale: np.ndarray,
    gtol: float,
    max_iterations: int,
) -> tuple[np.ndarray, int, float]:
    """The same, and the distance sqrt(g' V g) by the inverse Hessian V that BFGS has built up, in standard errors."""
    end = _bfgs(function, u, scale, gtol, max_iterations)
    distance = float(np.sqrt(max(end.jac @ end.hess_inv @ end.jac, 0.0)))
    return u + scale @ end.x, end.nfev, distance


def _bfgs(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    u: np.ndarray,
    scale: np.ndarray,
    gtol: float,
    max_iterations: int,
) -> optimize.OptimizeResult:
    """BFGS; with many parameters its limited-memory form, as scipy's takes products of P x P matrices at every step."""

    def scaled(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = function(u + scale @ w)
        return value, scale.T @ gradient

    options = {"maxiter": max_iterations, "gtol": gtol}
    many = scale.shape[1] > _MANY
    if many:
        options |= {"maxcor": _PAIRS, "maxfun": 10 * max_iterations, "ftol": 0.0}
    start, method = np.zeros(scale.shape[1]), "L-BFGS-B" if many else "BFGS"
    return optimize.minimize(scaled, start, jac=True, method=method, options=options)
