"""Posterior modes of the random effects of all levels, of all families at once."""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..components.cells import Cells, Units
from ..components.levels import levels_of
from ..components.linear_predictor import fixed_part
from ..components.response import cell_parameters, cell_terms
from ..components.score_laws import NOT_COMPUTED
from ..parameters.structure import Structure
from .nested_curvature import NestedCurvature, where_first

MAX_STEPS = 100
MAX_HALVINGS = 40
MODE_TOLERANCE = 1e-10
_NEAR = 1e-6
_CURVATURE = (2,)  # what the search asks of cell_terms


@dataclass(frozen=True)
class Modes:
    """Modes of g_l(f) = sum_cells h + log density of the effects f, jointly of all levels, and the curvature there.

    Attributes
    ----------
    levels : tuple of str
        Names of the levels, outermost first.
    effects : tuple of arrays (n, D)
        Of each level's units.
    nested : NestedCurvature or None
        H_l = -d2 g_l / df df' at the mode (exact), or its Fisher form where the exact one is not positive definite.
        None for modes that are only where a search starts.
    exact : bool array (L,)
        Where the curvature is the exact Hessian.
    decrement : array (L,)
        Last Newton decrement g' H^-1 g; small means converged.
    """

    levels: tuple[str, ...]
    effects: tuple[np.ndarray, ...]
    nested: NestedCurvature
    exact: np.ndarray
    decrement: np.ndarray

    @property
    def alpha(self) -> np.ndarray:
        """Effects of families, array (L, D)."""
        return self.effects[0]

    @property
    def curvature(self) -> np.ndarray:
        """Curvature in families' effects when those of inner levels follow them, array (L, D, D)."""
        return self.nested.outermost

    def by_cell(self, cells: Cells) -> np.ndarray:
        """The effects that each cell depends on, (C, D_1 + D_2 + ...)."""
        parts = [
            effects[cells.units(name).of_cell] for name, effects in zip(self.levels, self.effects, strict=True)
        ]
        return parts[0] if len(parts) == 1 else np.hstack(parts)

    def of_families(self, cells: Cells, first: int, last: int) -> Modes:
        """Those of families ``first`` to ``last - 1`` of the cells, as a start of a search: without curvature."""
        effects = tuple(
            effects[cells.span(name, first, last)] for name, effects in zip(self.levels, self.effects, strict=True)
        )
        return Modes(self.levels, effects, NOT_COMPUTED, self.exact[first:last], self.decrement[first:last])

    @classmethod
    def joined(cls, parts: Sequence[Modes], cells: Cells) -> Modes:
        """The Modes of all families from those of runs of them, in their order."""
        if len(parts) == 1:
            return parts[0]
        levels = parts[0].levels
        effects = tuple(np.concatenate(some) for some in zip(*(part.effects for part in parts), strict=True))
        units = [cells.units(name) for name in levels]
        nested = NestedCurvature.joined([part.nested for part in parts], units)
        exact, decrement = (np.concatenate([getattr(part, name) for part in parts]) for name in ("exact", "decrement"))
        return cls(levels, effects, nested, exact, decrement)


@lru_cache
def _triangle(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(size)


def weighted_outer(loadings: np.ndarray, weights: np.ndarray, units: Units) -> np.ndarray:
    """sum_{cells of u} w lambda lambda' for every unit u, shape (n, D, D)."""
    k = loadings.shape[1]
    rows, columns = _triangle(k)
    products = loadings[:, rows] * loadings[:, columns] * weights[:, None]
    packed = units.sum_cells(products)
    out = np.empty((len(packed), k, k))
    out[:, rows, columns] = packed
    out[:, columns, rows] = packed
    return out


class _Problem:
    """g_l and its derivatives for one parameter value, in whitened effects z with f = R z, R R' the covariance of f.

    In z the prior is standard normal and the curvature at least the identity where the scores say nothing, so
    Newton's method behaves even where Sigma is close to singular. z is a list with an array (n, D) for each level.
    """

    def __init__(self, structure: Structure, cells: Cells) -> None:
        self.cells, levels = cells, levels_of(structure)
        self.levels = tuple(level.name for level in levels)
        self.units = [cells.units(name) for name in self.levels]
        self.roots = [np.linalg.cholesky(level.covariance(structure)) for level in levels]
        lambdas = structure.loadings[cells.item]
        by_level = [level.loadings(structure, lambdas, cells.random_cells) for level in levels]
        self.effect_loadings = by_level[0] if len(levels) == 1 else np.hstack(by_level)
        self.by_level = [part @ root for part, root in zip(by_level, self.roots, strict=True)]
        self.loadings = self.by_level[0] if len(levels) == 1 else np.hstack(self.by_level)
        self.priors = [np.eye(len(root)) for root in self.roots]
        self.mean_skill, self.base = fixed_part(structure, cells)
        self.parameters = cell_parameters(structure, cells)

    def start(self, given: Modes | np.ndarray | None = None) -> list[np.ndarray]:
        """z at given Modes or effects of families (L, D), and at zero for levels of which nothing is given."""
        known = {} if given is None else {"family": given}
        if isinstance(given, Modes):
            known = dict(zip(given.levels, given.effects, strict=True))
        return [
            np.linalg.solve(root, known[name].T).T if name in known else np.zeros((len(units), len(root)))
            for name, units, root in zip(self.levels, self.units, self.roots, strict=True)
        ]

    def evaluate(
        self, z: list[np.ndarray], wanted: tuple[Any, ...] = _CURVATURE
    ) -> tuple[np.ndarray, list[np.ndarray], dict[str, np.ndarray]]:
        """g (L,), its gradient in z level by level, and the terms ``wanted`` of the cells."""
        eta = self.base
        for loadings, units, values in zip(self.by_level, self.units, z, strict=True):
            eta = eta + np.einsum("ck,ck->c", loadings, values[units.of_cell])
        terms = cell_terms(eta[:, None], self.parameters, self.cells, slice(None), *wanted)
        sums = self.units[-1].sum_cells(np.hstack([terms["f"], terms["e"] * self.loadings]))
        gradient = []
        for units, values in zip(reversed(self.units), reversed(z), strict=True):
            d = values.shape[1]
            gradient.insert(0, sums[:, -d:] - values)
            value = sums[:, 0] - 0.5 * np.einsum("nk,nk->n", values, values)
            if units.parent is not None:
                sums = units.sum_to_parent(np.column_stack([value, sums[:, 1:-d]]))
        return value, gradient, terms

    def curvature(self, terms: dict[str, np.ndarray]) -> tuple[NestedCurvature, np.ndarray]:
        """Exact curvature where positive definite, Fisher's elsewhere, and where it is the exact one, bool (L,)."""
        sums = weighted_outer(self.loadings, -terms["ee"][:, 0], self.units[-1])
        curvature = NestedCurvature.eliminated(self.units, sums, self.priors)
        good = curvature.defined()
        if not good.all():
            positive = np.maximum(terms["fisher"][:, 0], 0.0)
            fisher = weighted_outer(self.loadings, positive, self.units[-1])
            sums = where_first(good[self.units[-1].family], sums, fisher)
            curvature = NestedCurvature.eliminated(self.units, sums, self.priors)
        return curvature, good

    def newton(self, curvature: NestedCurvature, gradient: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Newton's step level by level, and its decrement (L,)."""
        step, decrement = curvature.solve(gradient), 0.0
        for units, one, other in zip(self.units, step, gradient, strict=True):
            decrement = decrement + units.sum_to_family(np.einsum("nk,nk->n", one, other))
        return step, decrement

    def moved(self, z: list[np.ndarray], size: np.ndarray, step: list[np.ndarray]) -> list[np.ndarray]:
        """z moved by each family's share ``size`` (L,) of its step."""
        return [
            values + size[units.family, None] * change
            for units, values, change in zip(self.units, z, step, strict=True)
        ]

    def modes(self, z: list[np.ndarray], curvature: NestedCurvature, exact: np.ndarray, decrement: np.ndarray) -> Modes:
        """Modes in the effects themselves."""
        effects = tuple(values @ root.T for values, root in zip(z, self.roots, strict=True))
        return Modes(self.levels, effects, curvature.transformed(self.roots), exact, decrement)

    def better(self, chosen: np.ndarray, one: Modes, other: Modes) -> Modes:
        """The Modes ``one`` for the chosen families (L,) and ``other`` for the rest."""
        effects = tuple(
            where_first(chosen[units.family], a, b)
            for units, a, b in zip(self.units, one.effects, other.effects, strict=True)
        )
        exact, decrement = (
            where_first(chosen, getattr(one, name), getattr(other, name)) for name in ("exact", "decrement")
        )
        return Modes(self.levels, effects, one.nested.chosen(chosen, other.nested), exact, decrement)


def posterior_modes(
    structure: Structure, cells: Cells, start: Modes | np.ndarray | None = None, tolerance: float = MODE_TOLERANCE
) -> Modes:
    """Newton's method with Fisher-scoring curvature where needed, and step halving, family by family.

    Stops when every family's Newton decrement is below ``tolerance``; the step that is taken last leaves an
    error of the order of its square. Under laws of a score whose log-density is not concave (``second_search``) a
    family may have several modes: without a ``start`` the search is made twice, from the prior mean and from the mode
    under the other law, and the higher mode kept.

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


def modes_and_terms(
    structure: Structure,
    cells: Cells,
    start: Modes | np.ndarray | None = None,
    tolerance: float = MODE_TOLERANCE,
    wanted: tuple[Any, ...] = _CURVATURE,
) -> tuple[Modes, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Modes as ``posterior_modes`` finds them, with what the last of the passes over the cells gave.

    Parameters
    ----------
    wanted : tuple
        Order, shapes and ``expected`` that ``cell_terms`` is asked for at the modes.

    Returns
    -------
    (Modes, dict of arrays (C, 1), array (C, D_1 + ...), array (C, K))
        With the terms wanted, the effect loadings and x_i' B of the cells.
    """
    problem = _Problem(structure, cells)
    z = problem.start(start)
    if start is not None and not np.isfinite(problem.evaluate(z)[0]).all():
        return modes_and_terms(structure, cells, None, tolerance, wanted)
    value, modes, terms = _climb(problem, z, tolerance, wanted)
    other_law = cells.law.second_search()
    if start is None and other_law is not None:
        law, scale = other_law
        wide = replace(structure, precision=scale * structure.precision)
        z = problem.start(posterior_modes(wide, cells.with_law(law), None, tolerance))
        other_value, other, other_terms = _climb(problem, z, tolerance, wanted)
        higher = other_value > value
        modes = problem.better(higher, other, modes)
        of_cells = higher[cells.family]
        terms = {name: where_first(of_cells, other_terms[name], terms[name]) for name in terms}
    return modes, terms, problem.effect_loadings, problem.mean_skill


def _climb(
    problem: _Problem, z: list[np.ndarray], tolerance: float, wanted: tuple[Any, ...]
) -> tuple[np.ndarray, Modes, dict[str, np.ndarray]]:
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
