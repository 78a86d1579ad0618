"""Laplace's approximation with its exact gradient, and the gradient of nodes that move with the parameters.

Let g_l(alpha) = sum h(eta) + log N(alpha; 0, Sigma) be the log joint density of family l, a its mode and H_l minus its
Hessian there. Laplace's log-likelihood is g_l(a) + (K log 2 pi - log|H_l|) / 2. Both a and H depend on the parameters
xi: da/dxi = H^-1 d2g/da dxi, and dH/dxi has third derivatives of h. The derivative of a function of (a, H) through this
dependence is found by one adjoint pass from its derivatives in a and in H (``mode_adjoint``), which serves Laplace's
determinant and adapted nodes.

h need not be concave, and -log|H| goes to infinity where H becomes singular, to where it would draw an optimiser. On
request, and always under laws of a score with ``expected_curvature``, the determinant is that of the expected
curvature, which is smooth and at least Sigma^-1; the modes and their derivatives are those of h itself.

Here alpha stands for the effects of a family and of all units within it. Sums over cells and solutions of linear
equations go through the levels one by one (``nested_curvature``), so that no matrix is larger than the number of
effects that one cell depends on.
"""


from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..components.cells import Cells, Units
from ..components.levels import Level, levels_of, own_columns
from ..components.linear_predictor import chain_score, layout_of
from ..numerics.linalg import log_determinant, symmetrise
from ..parameters.structure import Structure
from .marginal import Nodes
from .modes import MODE_TOLERANCE, Modes, modes_and_terms, weighted_outer
from .nested_curvature import NestedCurvature

_GATHERED = 2_000_000  # numbers up to which the matrices of all cells are gathered rather than taken one unit at a time


@dataclass(frozen=True)
class AtModes:
    """The posterior modes and the derivatives of h at the cells there.

    Attributes
    ----------
    modes : Modes
    terms : dict of arrays (C,)
        h and its derivatives to third order, by their names (``components.response.cell_terms``).
    loadings, effects : array (C, D_1 + D_2 + ...)
        Effect loadings of each cell, and the effects that they multiply, outermost level first.
    mean_skill : array (C, K)
        x_i' B of each cell.
    """

    modes: Modes
    terms: dict[str, np.ndarray]
    loadings: np.ndarray
    effects: np.ndarray
    mean_skill: np.ndarray


def at_modes(
    structure: Structure,
    cells: Cells,
    start: Modes | np.ndarray | None = None,
    shapes: str = "",
    tolerance: float = MODE_TOLERANCE,
    expected: bool = False,
) -> AtModes:
    """Return the posterior modes and the derivatives of h at the cells there."""
    wanted = (3, shapes, expected)
    modes, terms, loadings, mean_skill = modes_and_terms(structure, cells, start, tolerance, wanted)
    values = {name: value[:, 0] for name, value in terms.items()}
    return AtModes(modes, values, loadings, modes.by_cell(cells), mean_skill)


def mode_adjoint(
    structure: Structure,
    cells: Cells,
    at: AtModes,
    in_curvature: np.ndarray,
    in_mode: np.ndarray,
    expected: bool = False,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the derivative of an objective through the dependence of modes and curvatures on the parameters.

    Parameters
    ----------
    at : AtModes
    in_curvature : array (n, D_1 + D_2 + ..., D_1 + D_2 + ...)
        The symmetric derivative G of the objective in H_l: its block for the effects of each innermost unit and of all
        units that it lies in.
    in_mode : array (L, D)
        The derivative of the objective in the mode, with H_l held fixed; in the effects of families alone.
    expected : bool
        Whether H_l is the expected curvature.

    Returns
    -------
    (dict of arrays, array (L, K, K))
        Derivatives at the cells and in Sigma, in the form that ``chain_score`` takes.
    """
    h, loadings, modes = at.terms, at.loadings, at.modes
    # minus the derivative of a cell's weight in H, in eta and in the shapes
    bend = (lambda name: -h["fisher " + name]) if expected else (lambda name: h["ee" + name])
    weight = -h["fisher"] if expected else h["ee"]
    innermost = cells.units(modes.levels[-1])
    spread = _times_loadings(in_curvature, loadings, innermost)  # G lambda
    bent = np.einsum("ck,ck->c", spread, loadings)  # lambda' G lambda
    u, u_by_cell = _mode_solution(cells, modes, in_mode, -(bend("e") * bent)[:, None] * loadings)
    drift = np.einsum("ck,ck->c", u_by_cell, loadings)
    e = h["ee"] * drift - bend("e") * bent
    direct = h["e"][:, None] * u_by_cell - 2.0 * weight[:, None] * spread
    sums = {"e": e, "e_alpha": e[:, None] * at.effects + direct}
    for name in layout_of(structure).shapes:
        if name in h:
            sums[name] = h["e" + name] * drift - bend(name) * bent
    prior = np.linalg.inv(structure.skill_cov)
    return sums, prior @ symmetrise(_moment(structure, cells, modes, u, in_curvature)) @ prior


def _times_loadings(matrices: np.ndarray, loadings: np.ndarray, units: Units) -> np.ndarray:
    """Return the product of each unit's matrix (n, D, D) with the loadings (C, D) of its cells, an array (C, D)."""
    if len(loadings) * loadings.shape[1] ** 2 < _GATHERED:
        return np.einsum("ckm,cm->ck", matrices[units.of_cell], loadings)
    out, ends = np.empty_like(loadings), np.append(units.starts[1:], len(loadings))
    for unit, (start, end) in enumerate(zip(units.starts, ends, strict=True)):
        out[start:end] = loadings[start:end] @ matrices[unit]  # matrices are symmetric
    return out


def _mode_solution(
    cells: Cells, modes: Modes, in_mode: np.ndarray, by_cell: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return u = H^-1 v level by level, and the entries of u that belong to each cell (C, D_1 + ...).

    v is the sum over cells of ``by_cell`` (C, D_1 + ...), plus ``in_mode`` (L, D) for the effects of families.
    """
    units = [cells.units(name) for name in modes.levels]
    sums = units[-1].sum_cells(by_cell)
    right: list[np.ndarray] = []
    for level, effects in zip(reversed(units), reversed(modes.effects), strict=True):
        d = effects.shape[1]
        right.insert(0, sums[:, -d:])
        if level.parent is not None:
            sums = level.sum_to_parent(sums[:, :-d])
    right[0] = in_mode + right[0]
    u = modes.nested.solve(right)
    of_cells = [values[level.of_cell] for level, values in zip(units, u, strict=True)]
    return u, of_cells[0] if len(of_cells) == 1 else np.hstack(of_cells)


def _moment(
    structure: Structure, cells: Cells, modes: Modes, u: list[np.ndarray], in_curvature: np.ndarray
) -> np.ndarray:
    """Return the sums of u f' - G over the effects f of a family that have covariance Sigma, (L, K, K)."""
    out: Any = None
    column = 0
    innermost = cells.units(modes.levels[-1])
    for level, effects, solved in zip(levels_of(structure), modes.effects, u, strict=True):
        units = cells.units(level.name)
        last: slice | np.ndarray = slice(None)
        if units is not innermost:  # G is the same for all innermost units within a unit: take it from the last of them
            last = np.flatnonzero(np.diff(units.of_cell[innermost.starts], append=-1))
        for term, where in level.slices:
            if term.correlated:
                placed = slice(column + where.start, column + where.stop)
                by_unit = solved[:, where, None] * effects[:, None, where] - in_curvature[last, placed, placed]
                by_family = units.sum_to_family(by_unit)
                out = by_family if out is None else out + by_family
        column += level.size
    return out


def laplace(
    structure: Structure,
    cells: Cells,
    start: Modes | np.ndarray | None = None,
    shapes: str = "",
    tolerance: float = MODE_TOLERANCE,
    expected: bool = False,
) -> tuple[float, np.ndarray, Modes]:
    """Return log-likelihood, score in s and modes, summed over families; see ``laplace_by_family``."""
    value, score, modes = laplace_by_family(structure, cells, start, shapes, tolerance, False, expected)
    return float(value.sum()), score, modes


def laplace_by_family(
    structure: Structure,
    cells: Cells,
    start: Modes | np.ndarray | None = None,
    shapes: str = "",
    tolerance: float = MODE_TOLERANCE,
    by_family: bool = True,
    expected: bool = False,
) -> tuple[np.ndarray, np.ndarray, Modes]:
    """Return Laplace's log-likelihood of each family, scores in s, and modes.

    Parameters
    ----------
    structure : Structure
    cells : Cells
    start : Modes or array (L, D), optional
        Where to start the search for the modes.
    shapes : str
        Shapes beside the precision in which the score is wanted.
    tolerance : float
        Newton decrement at which the search for modes stops.
    by_family : bool
        Whether the scores are wanted family by family, (L, S), or summed, (S,).
    expected : bool
        Whether the determinant is that of the expected curvature; under some laws of a score it always is.

    Returns
    -------
    (array (L,), array (L, S) or (S,), Modes)
        The log-likelihood is -inf where a curvature is not positive definite, as there is no Laplace approximation.
    """
    at = at_modes(structure, cells, start, shapes, tolerance, expected)
    modes, h, levels = at.modes, at.terms, levels_of(structure)
    units = [cells.units(level.name) for level in levels]
    expected = "fisher e" in h
    curvature = modes.nested
    if expected:
        priors = [np.linalg.inv(level.covariance(structure)) for level in levels]
        curvature = NestedCurvature.eliminated(units, _outer(structure, cells, at.loadings, h["fisher"]), priors)
    value = _log_likelihood(structure, cells, levels, modes.effects, h["f"], curvature.log_determinant())
    defined = curvature.defined() if expected else modes.exact
    if not defined.all():
        value = np.where(defined, value, -np.inf)
    in_curvature = -0.5 * curvature.inverse_blocks()
    sums, cov_gradient = mode_adjoint(structure, cells, at, in_curvature, np.zeros_like(modes.alpha), expected)
    direct = {"e": h["e"], "e_alpha": h["e"][:, None] * at.effects}
    for name in sums:
        sums[name] = sums[name] + (direct[name] if name in direct else h[name])
    for gradient in _prior_gradients(structure, levels, units, modes.effects):
        cov_gradient = cov_gradient + 0.5 * gradient
    return value, chain_score(structure, cells, at.mean_skill, sums, cov_gradient, by_family), modes


def _outer(structure: Structure, cells: Cells, loadings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sums of weights times w w' over the cells of each innermost unit."""
    units = cells.units(levels_of(structure)[-1].name)
    return weighted_outer(loadings, weights, units, cells.item, own_columns(structure, cells))


def _log_likelihood(
    structure: Structure,
    cells: Cells,
    levels: Sequence[Level],
    effects: Sequence[np.ndarray],
    cell_values: np.ndarray,
    log_determinant_h: np.ndarray,
) -> np.ndarray:
    """Return log p(y_l, f) - log|H_l| / 2, in which the powers of 2 pi cancel, an array (L,)."""
    value, log_det = cells.sum_by_family(cell_values), log_determinant(structure.skill_cov)
    for level, values in zip(levels, effects, strict=True):
        units = cells.units(level.name)
        square = np.einsum("nk,nk->n", values, values @ np.linalg.inv(level.covariance(structure)))
        # the determinants of terms whose covariance is I are one
        of_prior = sum(term.correlated for term in level.terms) * units.sum_to_family(np.ones(len(units))) * log_det
        if units.parent is None:
            value = value - 0.5 * square - 0.5 * (of_prior + log_determinant_h)
        else:
            value = value - 0.5 * (units.sum_to_family(square) + of_prior)
    return value


def _prior_gradients(
    structure: Structure, levels: Sequence[Level], units: Sequence[Units], effects: Sequence[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield twice the derivative in Sigma of the log-density of each term with that covariance, (L, K, K).

    With P the inverse of Sigma it is the sum of P f f' P - P over the units of a family.
    """
    prior = np.linalg.inv(structure.skill_cov)
    for level, of_level, values in zip(levels, units, effects, strict=True):
        for term, where in level.slices:
            if term.correlated:
                pulled = values[:, where] @ prior
                yield of_level.sum_to_family(pulled[:, :, None] * pulled[:, None, :] - prior)


def moving_score(
    structure: Structure,
    cells: Cells,
    at: AtModes,
    nodes: Nodes,
    pull: np.ndarray,
    twist: np.ndarray,
    by_family: bool = False,
) -> np.ndarray:
    """Return the derivative of the log-likelihood through nodes alpha_m = a + C z_m, C C' = H^-1, in s.

    p_m are the posterior weights of the nodes, and r_m is the gradient of the log joint density at node m.

    Parameters
    ----------
    at : AtModes
    nodes : Nodes
    pull : array (L, D)
        sum_m p_m r_m.
    twist : array (L, D, D)
        sum_m p_m r_m alpha_m'.
    """
    modes = at.modes
    root = nodes.root
    twist = twist - pull[:, :, None] * modes.alpha[:, None, :]
    # twist C^-T is sum_m p_m r_m z_m', a derivative in C; dC = -C L with L the lower triangle of C' dH C, its diagonal
    # halved, makes it a derivative in H
    in_root = np.swapaxes(np.linalg.solve(root, np.swapaxes(twist, 1, 2)), 1, 2)
    half = np.tril(np.swapaxes(root, 1, 2) @ in_root)
    diagonal = np.arange(half.shape[-1])
    half[:, diagonal, diagonal] *= 0.5
    transposed = np.swapaxes(root, 1, 2)
    in_curvature = -symmetrise(root @ half @ transposed) - 0.5 * (root @ transposed)
    # where H is not positive definite, nodes spread by the expected curvature are held fixed
    in_curvature[~modes.exact] = 0.0
    pull = np.where(modes.exact[:, None], pull, 0.0)
    sums, cov_gradient = mode_adjoint(structure, cells, at, in_curvature, pull)
    return chain_score(structure, cells, at.mean_skill, sums, cov_gradient, by_family)
