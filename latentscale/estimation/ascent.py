"""Quasi-Newton ascent in coordinates scaled by an information matrix, and distances in standard errors.

With V the inverse information and g the gradient, sqrt(g' V g) is the length of a Newton step in standard errors of
the estimates. Every driver stops when it is small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize
from scipy.linalg import solve_triangular

from ..likelihood.modes import Modes
from ..likelihood.objective import Objective
from ..numerics.linalg import cholesky_or_none, inverse_triangle, symmetrise
from .rescaled_slopes import RescaledSlopes

_MANY, _PAIRS = 1_000, 50  # with more parameters BFGS takes its limited-memory form, with so many pairs of steps
REFUSED = 1e12  # the value that a minimiser gets where the log-likelihood is not defined


class LaplaceDescent:
    """Minus the penalised Laplace log-likelihood, and its gradient; modes are searched from those of the last call."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.evaluations = objective, 0
        self.modes: Modes | None = None

    def __call__(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        self.evaluations += 1
        evaluation, modes = self.objective.laplace(u, self.modes)
        if not np.isfinite(evaluation.value):
            return REFUSED, np.zeros_like(u)
        self.modes = modes
        return -evaluation.value, -evaluation.gradient


def scale_from(information: np.ndarray) -> np.ndarray:
    """Return a square root of the inverse information (P, P); negative eigenvalues count by their absolute values."""
    factor = cholesky_or_none(information)
    if factor is not None:
        return inverse_triangle(factor).T
    values, vectors = np.linalg.eigh(information)
    floor = 1e-6 * np.abs(values).max()
    return vectors / np.sqrt(np.maximum(np.abs(values), floor))


def complete_metric(objective: Objective, u: np.ndarray) -> np.ndarray:
    """Return a square root of the inverse complete-data information at u, with all effects at their modes.

    It is cheap, positive definite even where the observed information is not, and halves the number of quasi-Newton
    steps, as precisions and loadings differ in scale by orders of magnitude.
    """
    hessian = objective.complete(u, objective.modes(u))
    if not np.isfinite(hessian).all():
        return np.eye(len(u))
    return scale_from(-symmetrise(hessian))


def decrement_of(gradient: np.ndarray, information: np.ndarray) -> float:
    """Return sqrt(g' V g), NaN where the information is not positive definite."""
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
    """Maximise by BFGS in coordinates in which the information is about the identity.

    The gradient is then in units of standard errors.

    ``function(u)`` returns minus the objective and its gradient in u. With many parameters, and where
    their ``space`` is given, slopes are rescaled (``RescaledSlopes``).

    Returns
    -------
    (array (P,), int)
        The end point, and the number of evaluations.
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
    """Maximise as ``scaled_ascent``; return also sqrt(g' V g) with V the inverse Hessian that BFGS has built up."""
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
    """Minimise by BFGS; with many parameters by its limited-memory form, without products of P x P matrices."""

    def scaled(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = function(u + scale @ w)
        return value, scale.T @ gradient

    options = {"maxiter": max_iterations, "gtol": gtol}
    many = scale.shape[1] > _MANY
    if many:
        options |= {"maxcor": _PAIRS, "maxfun": 10 * max_iterations, "ftol": 0.0}
    start, method = np.zeros(scale.shape[1]), "L-BFGS-B" if many else "BFGS"
    return optimize.minimize(scaled, start, jac=True, method=method, options=options)
