"""Posterior modes of the family effects, all families at once."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..components.complete import effect_loadings, effects_cov, fixed_part
from ..components.response import OUTLIER_PRECISION, cell_parameters, cell_terms
from ..numerics.linalg import cholesky_or_none, positive_definite, solve_vectors

MAX_STEPS = 100
MAX_HALVINGS = 40
MODE_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Modes:
    """Modes of g_l(alpha) = sum_cells h + log N(alpha; 0, Sigma), and the curvature there.

    With random slopes alpha stands for all D effects of a family and Sigma for their covariance.

    Attributes
    ----------
    alpha : array (L, D)
    curvature : array (L, D, D)
        H_l = -d2 g_l / d alpha d alpha' at the mode (exact), or its Fisher form where the exact one is not
        positive definite.
    exact : bool array (L,)
        Where ``curvature`` is the exact Hessian.
    decrement : array (L,)
        Last Newton decrement g' H^-1 g; small means converged.
    """

    alpha: np.ndarray
    curvature: np.ndarray
    exact: np.ndarray
    decrement: np.ndarray


@lru_cache
def _triangle(size):
    return np.tril_indices(size)


def weighted_outer(loadings, weights, cells):
    """sum_{cells of l} w lambda lambda', shape (L, K, K)."""
    k = loadings.shape[1]
    rows, columns = _triangle(k)
    products = loadings[:, rows] * loadings[:, columns] * weights[:, None]
    packed = cells.sum_by_family(products)
    out = np.empty((cells.n_families, k, k))
    out[:, rows, columns] = packed
    out[:, columns, rows] = packed
    return out


class _Problem:
    """g_l and its derivatives for one parameter value, in whitened effects z with alpha = C z, C C' = Sigma.

    In z the prior is standard normal and the curvature at least the identity where the scores say nothing, so
    Newton's method behaves even where Sigma is close to singular.
    """

    def __init__(self, structure, cells):
        self.cells = cells
        self.root = np.linalg.cholesky(effects_cov(structure))
        self.loadings = effect_loadings(structure, cells) @ self.root
        self.prior = np.eye(len(self.root))
        _, self.base = fixed_part(structure, cells)
        self.parameters = cell_parameters(structure, cells)

    def evaluate(self, z):
        """g, its gradient in z, and the terms at z (L, K)."""
        cells = self.cells
        eta = self.base + np.einsum("ck,ck->c", self.loadings, z[cells.family])
        terms = cell_terms(eta[:, None], self.parameters, cells, slice(None), 2)
        sums = cells.sum_by_family(np.hstack([terms["f"], terms["e"] * self.loadings]))
        value = sums[:, 0] - 0.5 * np.einsum("lk,lk->l", z, z)
        return value, sums[:, 1:] - z, terms

    def curvature(self, terms):
        """Exact curvature where positive definite, Fisher's elsewhere."""
        exact = weighted_outer(self.loadings, -terms["ee"][:, 0], self.cells) + self.prior
        if cholesky_or_none(exact) is not None:
            return exact, np.ones(len(exact), dtype=bool)
        good = positive_definite(exact)
        if not good.all():
            positive = np.maximum(terms["fisher"][:, 0], 0.0)
            fisher = weighted_outer(self.loadings, positive, self.cells) + self.prior
            exact[~good] = fisher[~good]
        return exact, good


def posterior_modes(structure, cells, start=None, tolerance=MODE_TOLERANCE):
    """Newton's method with Fisher-scoring curvature where needed, and step halving, family by family.

    Stops when every family's Newton decrement is below ``tolerance``; the step that is taken last leaves an
    error of the order of its square. With outliers a family may have several modes: without a ``start`` the search is
    made twice, from the prior mean and from the mode if all scores were outliers, and the higher mode kept.

    Returns
    -------
    Modes
    """
    problem = _Problem(structure, cells)
    z = np.zeros((cells.n_families, len(problem.root)))
    if start is not None:
        z = np.linalg.solve(problem.root, start.T).T
    if start is not None and not np.isfinite(problem.evaluate(z)[0]).all():
        return posterior_modes(structure, cells, None, tolerance)
    found = _climb(problem, z, tolerance)
    if start is None and np.any(structure.outliers):
        wide = replace(structure, precision=OUTLIER_PRECISION * structure.precision, outliers=None)
        z = np.linalg.solve(problem.root, posterior_modes(wide, cells, None, tolerance).alpha.T).T
        other = _climb(problem, z, tolerance)
        better = other[0] > found[0]
        found = [np.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(other, found, strict=True)]
    _, z, curvature, exact, decrement = found
    inverse_root = np.linalg.inv(problem.root)
    return Modes(z @ problem.root.T, inverse_root.T @ curvature @ inverse_root, exact, decrement)


def _climb(problem, z, tolerance):
    """Newton's method from z (L, D): g (L,), z, curvature (L, D, D), whether it is exact (L,), decrement (L,)."""
    value, gradient, terms = problem.evaluate(z)
    curvature, exact = problem.curvature(terms)
    for _ in range(MAX_STEPS):
        step = solve_vectors(curvature, gradient)
        decrement = np.einsum("lk,lk->l", step, gradient)
        size = np.ones(len(z))
        for _ in range(MAX_HALVINGS):
            trial = z + size[:, None] * step
            new_value, new_gradient, new_terms = problem.evaluate(trial)
            slack = 1e-12 * (1.0 + np.abs(value))
            worse = ~(new_value >= value - slack)
            if not worse.any():
                break
            size[worse] *= 0.5
        z, value, gradient, terms = trial, new_value, new_gradient, new_terms
        curvature, exact = problem.curvature(terms)
        if decrement.max() < tolerance:
            break
    return value, z, curvature, exact, decrement
