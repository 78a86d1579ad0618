"""Posterior modes of the random effects of all levels, found for all families at once by Newton's method."""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..components.cells import Cells, Units
from ..components.levels import levels_of, own_columns
from ..components.linear_predictor import fixed_part
from ..components.response import cell_parameters, cell_terms
from ..components.score_laws import NOT_COMPUTED
from ..parameters.structure import Structure
from .nested_curvature import NestedCurvature, where_first

MAX_STEPS = 100
MAX_HALVINGS = 40
MODE_TOLERANCE = 1e-10
_NEAR = 1e-6
_CURVATURE = (2,)  # the order of the derivatives that the search needs


@dataclass(frozen=True)
class Modes:
    """Modes of the log joint density g_l(f) = sum_cells h + log p(f), f the effects of all levels, and its curvature.

    Attributes
    ----------
    levels : tuple of str
        Names of the levels, outermost first.
    effects : tuple of arrays (n, D)
        Modes of the effects of each level's units.
    nested : NestedCurvature or None
        H_l = -d2 g_l / df df' at the mode, or the expected curvature where that is not positive definite. None for
        modes that only serve as the start of a search.
    exact : bool array (L,)
        Whether the curvature is the exact Hessian.
    decrement : array (L,)
        The last Newton decrement g' H^-1 g, which is small where the search has converged.
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
        """Curvature in families' effects, maximised over those of inner levels: a Schur complement, array (L, D, D)."""
        return self.nested.outermost

    def by_cell(self, cells: Cells) -> np.ndarray:
        """Return the effects that each cell depends on, an array (C, D_1 + D_2 + ...)."""
        by_level = [
            effects[cells.units(name).of_cell] for name, effects in zip(self.levels, self.effects, strict=True)
        ]
        return by_level[0] if len(by_level) == 1 else np.hstack(by_level)

    def of_families(self, cells: Cells, first: int, last: int) -> Modes:
        """Return the modes of families ``first`` to ``last - 1``, without curvature, as the start of a search."""
        effects = tuple(
            effects[cells.span(name, first, last)] for name, effects in zip(self.levels, self.effects, strict=True)
        )
        return Modes(self.levels, effects, NOT_COMPUTED, self.exact[first:last], self.decrement[first:last])

    @classmethod
    def joined(cls, batches: Sequence[Modes], cells: Cells) -> Modes:
        """Return the Modes of all families from those of batches of families, in their order."""
        if len(batches) == 1:
            return batches[0]
        levels = batches[0].levels
        effects = tuple(np.concatenate(some) for some in zip(*(batch.effects for batch in batches), strict=True))
        units = [cells.units(name) for name in levels]
        nested = NestedCurvature.joined([batch.nested for batch in batches], units)
        exact, decrement = (
            np.concatenate([getattr(batch, name) for batch in batches]) for name in ("exact", "decrement")
        )
        return cls(levels, effects, nested, exact, decrement)


@lru_cache
def _triangle(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(size)


def weighted_outer(
    loadings: np.ndarray,
    weights: np.ndarray,
    units: Units,
    item: np.ndarray | None = None,
    own: tuple[slice, np.ndarray] | None = None,
) -> np.ndarray:
    """Return the sum over the cells of each unit of weight times w w', w the effect loadings, an array (n, D, D).

    Parameters
    ----------
    loadings : array (C, D)
    weights : array (C,)
    units : Units
    item : int array (C,), optional
        The cells' benchmarks.
    own : (slice, array (C,)), optional
        Columns of which a cell has its benchmark's alone, and that entry (``components.levels.own_columns``). Products
        of the others with zeros are then not computed.
    """
    if own is not None and item is not None:
        return _arrow(loadings, weights, units, item, *own)
    k = loadings.shape[1]
    rows, columns = _triangle(k)
    products = loadings[:, rows] * loadings[:, columns] * weights[:, None]
    packed = units.sum_cells(products)
    out = np.empty((len(packed), k, k))
    out[:, rows, columns] = packed
    out[:, columns, rows] = packed
    return out


def _arrow(
    loadings: np.ndarray, weights: np.ndarray, units: Units, item: np.ndarray, columns: slice, own: np.ndarray
) -> np.ndarray:
    """Return ``weighted_outer`` where a cell has one entry alone in some columns."""
    n, d, j = len(units), loadings.shape[1], columns.stop - columns.start
    shared = np.r_[: columns.start, columns.stop : d]
    out = np.zeros((n, d, d))
    out[:, shared[:, None], shared] = weighted_outer(loadings[:, shared], weights, units)
    place, weighted = units.of_cell * j + item, weights * own
    for column in shared:
        crossed = np.bincount(place, weighted * loadings[:, column], minlength=n * j).reshape(n, j)
        out[:, column, columns] = out[:, columns, column] = crossed
    diagonal = np.arange(columns.start, columns.stop)
    out[:, diagonal, diagonal] = np.bincount(place, weighted * own, minlength=n * j).reshape(n, j)
    return out


class _Problem:
    """g_l and its derivatives at one parameter value, in whitened effects z: f = R z, with R R' the covariance of f.

    The prior of z is standard normal, so that Newton's method works even where Sigma is nearly singular. z is a list
    with an array (n, D) for each level.
    """

    def __init__(self, structure: Structure, cells: Cells) -> None:
        self.cells, levels = cells, levels_of(structure)
        self.levels = tuple(level.name for level in levels)
        self.units = [cells.units(name) for name in self.levels]
        self.roots = [np.linalg.cholesky(level.covariance(structure)) for level in levels]
        by_level = [level.loadings(structure, cells.item, cells.random_cells) for level in levels]
        self.effect_loadings = by_level[0] if len(levels) == 1 else np.hstack(by_level)
        self.by_level = [loadings @ root for loadings, root in zip(by_level, self.roots, strict=True)]
        self.loadings = self.by_level[0] if len(levels) == 1 else np.hstack(self.by_level)
        self.own = own_columns(structure, cells)
        self.priors = [np.eye(len(root)) for root in self.roots]
        self.mean_skill, self.base = fixed_part(structure, cells)
        self.parameters = cell_parameters(structure, cells)

    def start(self, given: Modes | np.ndarray | None = None) -> list[np.ndarray]:
        """Return z at given Modes or effects of families (L, D), and zero for levels that are not given."""
        known: dict[str, np.ndarray] = {}
        if isinstance(given, Modes):
            known = dict(zip(given.levels, given.effects, strict=True))
        elif given is not None:
            known = {"family": given}
        return [
            np.linalg.solve(root, known[name].T).T if name in known else np.zeros((len(units), len(root)))
            for name, units, root in zip(self.levels, self.units, self.roots, strict=True)
        ]

    def evaluate(
        self, z: list[np.ndarray], wanted: tuple[Any, ...] = _CURVATURE
    ) -> tuple[np.ndarray, list[np.ndarray], dict[str, np.ndarray]]:
        """Return g (L,), its gradient in z level by level, and the derivatives ``wanted`` at the cells."""
        eta = self.base + np.einsum("ck,ck->c", self.by_level[0], z[0][self.units[0].of_cell])
        for loadings, units, values in zip(self.by_level[1:], self.units[1:], z[1:], strict=True):
            eta += np.einsum("ck,ck->c", loadings, values[units.of_cell])
        terms = cell_terms(eta[:, None], self.parameters, self.cells, slice(None), *wanted)
        sums = self.units[-1].sum_cells(np.hstack([terms["f"], terms["e"] * self.loadings]))
        gradient: list[np.ndarray] = []
        for units, values in zip(reversed(self.units), reversed(z), strict=True):
            d = values.shape[1]
            gradient.insert(0, sums[:, -d:] - values)
            value = sums[:, 0] - 0.5 * np.einsum("nk,nk->n", values, values)
            if units.parent is not None:
                sums = units.sum_to_parent(np.column_stack([value, sums[:, 1:-d]]))
        return value, gradient, terms

    def curvature(self, terms: dict[str, np.ndarray]) -> tuple[NestedCurvature, np.ndarray]:
        """Return the curvature, exact where positive definite and else expected, and where it is exact, bool (L,)."""
        among = self.units[-1], self.cells.item, self.own
        sums = weighted_outer(self.loadings, -terms["ee"][:, 0], *among)
        curvature = NestedCurvature.eliminated(self.units, sums, self.priors)
        good = curvature.defined()
        if not good.all():
            positive = np.maximum(terms["fisher"][:, 0], 0.0)
            fisher = weighted_outer(self.loadings, positive, *among)
            sums = where_first(good[self.units[-1].family], sums, fisher)
            curvature = NestedCurvature.eliminated(self.units, sums, self.priors)
        return curvature, good

    def newton(self, curvature: NestedCurvature, gradient: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Return Newton's step level by level, and its decrement (L,)."""
        step = curvature.solve(gradient)
        decrement = np.einsum("nk,nk->n", step[0], gradient[0])
        for units, change, slope in zip(self.units[1:], step[1:], gradient[1:], strict=True):
            decrement = decrement + units.sum_to_family(np.einsum("nk,nk->n", change, slope))
        return step, decrement

    def after_step(self, z: list[np.ndarray], size: np.ndarray, step: list[np.ndarray]) -> list[np.ndarray]:
        """Return z plus, for each family, the share ``size`` (L,) of its step."""
        return [
            values + (size if units.parent is None else size[units.family])[:, None] * change
            for units, values, change in zip(self.units, z, step, strict=True)
        ]

    def modes(self, z: list[np.ndarray], curvature: NestedCurvature, exact: np.ndarray, decrement: np.ndarray) -> Modes:
        """Return the Modes at z, in the effects f = R z."""
        effects = tuple(values @ root.T for values, root in zip(z, self.roots, strict=True))
        return Modes(self.levels, effects, curvature.transformed(self.roots), exact, decrement)

    def better(self, chosen: np.ndarray, one: Modes, other: Modes) -> Modes:
        """Return the Modes ``one`` for the chosen families (L,) and ``other`` for the rest."""
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
    """Return the posterior modes by Newton's method with step halving, family by family.

    Where the curvature is not positive definite the expected one takes its place (Fisher scoring). The search stops
    when every family's Newton decrement is below ``tolerance``; after the last step the error is of the order of its
    square. Under laws of a score whose log-density is not concave (``second_search``) a family may have several modes:
    without a ``start`` the search is made from the prior mean and from the mode under another law, and the higher mode
    is kept.

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
    """Return the modes of ``posterior_modes`` with the results of the last pass over the cells.

    Parameters
    ----------
    wanted : tuple
        Arguments order, shapes and expected of ``cell_terms`` at the modes.

    Returns
    -------
    (Modes, dict of arrays (C, 1), array (C, D_1 + ...), array (C, K))
        The modes, and at the cells the wanted derivatives, the effect loadings and x_i' B.
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
    """Return g (L,), the Modes that Newton's method reaches from z, and the derivatives wanted there."""
    value, gradient, terms = problem.evaluate(z)
    curvature, exact = problem.curvature(terms)
    for number in range(1, MAX_STEPS + 1):
        step, decrement = problem.newton(curvature, gradient)
        last = number == MAX_STEPS or decrement.max() < tolerance
        # near the mode, where precisions are high, values differ by less than their rounding error: steps are accepted
        near = np.where(exact & (decrement < _NEAR), _NEAR, 0.0)
        size = np.ones(len(value))
        for _ in range(MAX_HALVINGS):
            trial = problem.after_step(z, size, step)
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
