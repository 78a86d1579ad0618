"""Posterior modes of the effects of families, and of those of LLMs where they have any, all families at once."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..components.complete import effect_loadings, effects_cov, fixed_part, two_level_loadings
from ..components.response import OUTLIER_PRECISION, cell_parameters, cell_terms
from ..numerics.linalg import cholesky_or_none, positive_definite, solve_vectors
from .two_levels import TwoLevelCurvature

MAX_STEPS = 100
MAX_HALVINGS = 40
MODE_TOLERANCE = 1e-10
_NEAR = 1e-6
_CURVATURE = (2,)  # what the search asks of cell_terms


@dataclass(frozen=True)
class Modes:
    """Modes of g_l(alpha) = sum_cells h + log N(alpha; 0, Sigma), and the curvature there.

    With random slopes alpha stands for all D effects of a family and Sigma for their covariance. With residual skills
    of LLMs g_l is a function of them too, and the modes are joint.

    Attributes
    ----------
    alpha : array (L, D)
    curvature : array (L, D, D)
        H_l = -d2 g_l / d alpha d alpha' at the mode (exact), or its Fisher form where the exact one is not
        positive definite. With residual skills of LLMs that of alpha when they follow it: the inverse of alpha's part
        of the inverse of the whole curvature.
    exact : bool array (L,)
        Where ``curvature`` is the exact Hessian.
    decrement : array (L,)
        Last Newton decrement g' H^-1 g; small means converged.
    llm : array (n, K) or None
        Residual skills e_i of the LLMs that have cells, in the order of ``Cells.llm_rows``; theta_i has kappa e_i.
    levels : TwoLevelCurvature or None
        The whole curvature where LLMs have effects.
    """

    alpha: np.ndarray
    curvature: np.ndarray
    exact: np.ndarray
    decrement: np.ndarray
    llm: np.ndarray = None
    levels: TwoLevelCurvature = None

    def by_cell(self, cells):
        """The effects that each cell depends on, (C, D) or (C, D + K)."""
        family = self.alpha[cells.family]
        return family if self.llm is None else np.hstack([family, self.llm[cells.llm]])

    def part(self, cells, first, last):
        """Those of families ``first`` to ``last - 1`` of the cells, as a start of a search: without ``levels``."""
        names = ("alpha", "curvature", "exact", "decrement")
        llm = None if self.llm is None else self.llm[cells.llm_span(first, last)]
        return Modes(*(getattr(self, name)[first:last] for name in names), llm)

    @classmethod
    def joined(cls, parts, cells):
        """The Modes of all families from those of runs of them, in their order."""
        if len(parts) == 1:
            return parts[0]
        names = ("alpha", "curvature", "exact", "decrement")
        out = cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
        if parts[0].llm is None:
            return out
        own, curvature, cross = (
            np.concatenate(values)
            for values in zip(*((part.llm, part.levels.llm, part.levels.cross) for part in parts), strict=True)
        )
        return replace(out, llm=own, levels=TwoLevelCurvature(cells, out.curvature, curvature, cross))


def _effects(given):
    return given.alpha if isinstance(given, Modes) else given


def _where(chosen, one, other):
    """Entries of ``one`` where the first axis is chosen, of ``other`` elsewhere."""
    return np.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other)


@lru_cache
def _triangle(size):
    return np.tril_indices(size)


def weighted_outer(loadings, weights, cells, by_llm=False):
    """sum_{cells of l} w lambda lambda', shape (L, D, D), or over the cells of each LLM, (n, D, D)."""
    k = loadings.shape[1]
    rows, columns = _triangle(k)
    products = loadings[:, rows] * loadings[:, columns] * weights[:, None]
    packed = cells.sum_by_llm(products) if by_llm else cells.sum_by_family(products)
    out = np.empty((len(packed), k, k))
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
        self.effect_loadings = self.loadings_of(structure)
        self.loadings = self.whitened(self.effect_loadings)
        self.prior = np.eye(len(self.root))
        self.mean_skill, self.base = fixed_part(structure, cells)
        self.parameters = cell_parameters(structure, cells)

    def loadings_of(self, structure):
        """Loadings of the cells on the effects, (C, D)."""
        return effect_loadings(structure, self.cells)

    def whitened(self, loadings):
        """Loadings of the cells on z, (C, D)."""
        return loadings @ self.root

    def start(self, given=None):
        """z at given Modes or effects (L, D), or at zero."""
        if given is None:
            return np.zeros((self.cells.n_families, len(self.root)))
        return np.linalg.solve(self.root, _effects(given).T).T

    def evaluate(self, z, wanted=_CURVATURE):
        """g, its gradient in z, and the terms ``wanted`` at z (L, K)."""
        cells = self.cells
        eta = self.base + np.einsum("ck,ck->c", self.loadings, z[cells.family])
        terms = cell_terms(eta[:, None], self.parameters, cells, slice(None), *wanted)
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

    def newton(self, curvature, gradient):
        """Newton's step, and its decrement (L,)."""
        step = solve_vectors(curvature, gradient)
        return step, np.einsum("lk,lk->l", step, gradient)

    def moved(self, z, size, step):
        """z moved by each family's share ``size`` (L,) of its step."""
        return z + size[:, None] * step

    def modes(self, z, curvature, exact, decrement):
        """Modes in the effects themselves."""
        inverse_root = np.linalg.inv(self.root)
        return Modes(z @ self.root.T, inverse_root.T @ curvature @ inverse_root, exact, decrement)

    def better(self, chosen, one, other):
        """The Modes ``one`` for the chosen families (L,) and ``other`` for the rest."""
        names = ("alpha", "curvature", "exact", "decrement")
        return Modes(*(_where(chosen, getattr(one, name), getattr(other, name)) for name in names))


class _TwoLevelProblem(_Problem):
    """The same where LLMs have effects e_i too: z is a pair, (L, D) and (n, K)."""

    def loadings_of(self, structure):
        return two_level_loadings(structure, self.cells)

    def whitened(self, loadings):
        d = len(self.root)
        k = loadings.shape[1] - d
        return np.hstack([loadings[:, :d] @ self.root, loadings[:, d:] @ self.root[:k, :k]])

    def start(self, given=None):
        k = self.loadings.shape[1] - len(self.root)
        own = given.llm if isinstance(given, Modes) else None
        own = np.zeros((len(self.cells.llm_starts), k)) if own is None else own
        return super().start(given), np.linalg.solve(self.root[:k, :k], own.T).T

    def evaluate(self, z, wanted=_CURVATURE):
        cells, (family, llm) = self.cells, z
        d = family.shape[1]
        eta = self.base + np.einsum("ck,ck->c", self.loadings[:, :d], family[cells.family])
        eta += np.einsum("ck,ck->c", self.loadings[:, d:], llm[cells.llm])
        terms = cell_terms(eta[:, None], self.parameters, cells, slice(None), *wanted)
        sums = cells.sum_by_llm(np.hstack([terms["f"], terms["e"] * self.loadings]))
        square = 0.5 * np.einsum("nk,nk->n", llm, llm)
        shared = cells.sum_of_llms(np.column_stack([sums[:, 0] - square, sums[:, 1 : 1 + d]]))
        value = shared[:, 0] - 0.5 * np.einsum("lk,lk->l", family, family)
        return value, (shared[:, 1:] - family, sums[:, 1 + d :] - llm), terms

    def curvature(self, terms):
        blocks = weighted_outer(self.loadings, -terms["ee"][:, 0], self.cells, by_llm=True)
        curvature = self._eliminated(blocks)
        good = curvature.defined()
        if not good.all():
            positive = np.maximum(terms["fisher"][:, 0], 0.0)
            fisher = weighted_outer(self.loadings, positive, self.cells, by_llm=True)
            curvature = self._eliminated(_where(good[self.cells.llm_family], blocks, fisher))
        return curvature, good

    def _eliminated(self, blocks):
        k = self.loadings.shape[1] - len(self.root)
        return TwoLevelCurvature.eliminated(self.cells, blocks, self.prior, np.eye(k))

    def newton(self, curvature, gradient):
        step = curvature.solve(*gradient)
        decrement = np.einsum("lk,lk->l", step[0], gradient[0])
        return step, decrement + self.cells.sum_of_llms(np.einsum("nk,nk->n", step[1], gradient[1]))

    def moved(self, z, size, step):
        return z[0] + size[:, None] * step[0], z[1] + size[self.cells.llm_family, None] * step[1]

    def modes(self, z, curvature, exact, decrement):
        k = z[1].shape[1]
        curvature = curvature.transformed(self.root)
        effects = z[0] @ self.root.T, z[1] @ self.root[:k, :k].T
        return Modes(effects[0], curvature.family, exact, decrement, effects[1], curvature)

    def better(self, chosen, one, other):
        family, llm = super().better(chosen, one, other), chosen[self.cells.llm_family]
        parts = [(one.llm, other.llm)]
        parts += [(getattr(one.levels, name), getattr(other.levels, name)) for name in ("llm", "cross")]
        own, curvature, cross = (_where(llm, a, b) for a, b in parts)
        levels = TwoLevelCurvature(self.cells, family.curvature, curvature, cross)
        return replace(family, llm=own, levels=levels)


def posterior_modes(structure, cells, start=None, tolerance=MODE_TOLERANCE):
    """Newton's method with Fisher-scoring curvature where needed, and step halving, family by family.

    Stops when every family's Newton decrement is below ``tolerance``; the step that is taken last leaves an
    error of the order of its square. With outliers a family may have several modes: without a ``start`` the search is
    made twice, from the prior mean and from the mode if all scores were outliers, and the higher mode kept.

    Parameters
    ----------
    structure : Structure
    cells : Cells
    start : Modes or array (L, D), optional
        Where to start.
    tolerance : float

    Returns
    -------
    Modes
    """
    return modes_and_terms(structure, cells, start, tolerance)[0]


def modes_and_terms(structure, cells, start=None, tolerance=MODE_TOLERANCE, wanted=_CURVATURE):
    """Modes as ``posterior_modes`` finds them, with what the last of the passes over the cells gave.

    Parameters
    ----------
    wanted : tuple
        Order, shapes and ``expected`` that ``cell_terms`` is asked for at the modes.

    Returns
    -------
    (Modes, dict of arrays (C, 1), array (C, D), array (C, K))
        With the terms wanted, the effect loadings and x_i' B of the cells.
    """
    problem = (_TwoLevelProblem if structure.kappa else _Problem)(structure, cells)
    z = problem.start(start)
    if start is not None and not np.isfinite(problem.evaluate(z)[0]).all():
        return modes_and_terms(structure, cells, None, tolerance, wanted)
    value, modes, terms = _climb(problem, z, tolerance, wanted)
    if start is None and np.any(structure.outliers):
        wide = replace(structure, precision=OUTLIER_PRECISION * structure.precision, outliers=None)
        z = problem.start(posterior_modes(wide, cells, None, tolerance))
        other_value, other, other_terms = _climb(problem, z, tolerance, wanted)
        higher = other_value > value
        modes = problem.better(higher, other, modes)
        of_cells = higher[cells.family]
        terms = {name: _where(of_cells, other_terms[name], terms[name]) for name in terms}
    return modes, terms, problem.effect_loadings, problem.mean_skill


def _climb(problem, z, tolerance, wanted):
    """Newton's method from z: g (L,), Modes, and the terms wanted there."""
    value, gradient, terms = problem.evaluate(z)
    curvature, exact = problem.curvature(terms)
    for number in range(1, MAX_STEPS + 1):
        step, decrement = problem.newton(curvature, gradient)
        last = number == MAX_STEPS or decrement.max() < tolerance
        # this near, values differ by less than their rounding where precisions are high, and Newton needs no comparison
        near = np.where(exact & (decrement < _NEAR), _NEAR, 0.0)
        size = np.ones(len(value))
        for _ in range(MAX_HALVINGS):
            trial = problem.moved(z, size, step)
            new_value, new_gradient, new_terms = problem.evaluate(trial, wanted if last else _CURVATURE)
            slack = 1e-12 * (1.0 + np.abs(value)) + near
            worse = ~(new_value >= value - slack)
            if not worse.any():
                break
            size[worse] *= 0.5
        z, value, gradient, terms = trial, new_value, new_gradient, new_terms
        curvature, exact = problem.curvature(terms)
        if last:
            break
    return value, problem.modes(z, curvature, exact, decrement), terms
