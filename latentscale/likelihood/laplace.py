"""Laplace's approximation with its exact gradient, and the gradient of nodes that move with the parameters.

At the mode a of g_l(alpha) = sum h(eta) + log N(alpha; 0, Sigma), with H_l = -d2 g_l, Laplace's
log-likelihood is g_l(a) + (K log 2 pi - log|H_l|) / 2. Both a and H move with the parameters xi:
da/dxi = H^-1 d2g/da dxi, and dH brings in third derivatives of h. What any function of (a, H) owes to those
movements is collected by one adjoint pass from its derivatives in a and in H; Laplace's determinant and
adapted nodes both use it.

h need not be concave, and where H is about to be singular -log|H| has a pole that would draw an optimiser. On request,
and always under laws of a score that ask for it (``expected_curvature``), the determinant is that of the expected
curvature, which is smooth and at least Sigma^-1; modes and their movements are those of h itself.

alpha stands for the effects of a family and of all units within it; every sum over cells and every solution goes
through the levels one by one (``nested_curvature``), so that no matrix is larger than the effects that one cell depends
on.
"""


from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..components.cells import Cells, Units
from ..components.levels import Level, levels_of
from ..components.linear_predictor import chain_score, layout_of
from ..numerics.linalg import log_determinant, symmetrise
from ..parameters.structure import Structure
from .marginal import Nodes
from .modes import MODE_TOLERANCE, Modes, modes_and_terms, weighted_outer
from .nested_curvature import NestedCurvature


@dataclass(frozen=True)
class AtModes:
    """Cell derivatives at the posterior modes.

    Attributes
    ----------
    modes : Modes
    terms : dict of arrays (C,)
        Those of ``cell_terms`` at third order.
    loadings, effects : array (C, D_1 + D_2 + ...)
        Effect loadings of each cell, and the effects of its units that they multiply, outermost level first.
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
    """Find the modes and differentiate the cells there."""
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
    """Score owed to the movement of modes and curvatures.

    Parameters
    ----------
    at : AtModes
    in_curvature : array (n, D_1 + D_2 + ..., D_1 + D_2 + ...)
        Symmetric derivative G of the objective in H_l, in its part for an innermost unit's effects and those of all
        units that it lies in.
    in_mode : array (L, D)
        Its derivative in the mode, beyond what G brings; in families' effects alone.
    expected : bool
        Whether H_l is the expected curvature.

    Returns
    -------
    (dict of cell sums, array (L, K, K))
        In the form that ``chain_score`` takes.
    """
    h, loadings, modes = at.terms, at.loadings, at.modes
    # -d of a cell's weight in H, in eta and in the shapes
    bend = (lambda name: -h["fisher " + name]) if expected else (lambda name: h["ee" + name])
    weight = -h["fisher"] if expected else h["ee"]
    innermost = cells.units(modes.levels[-1])
    spread = np.einsum("ckm,cm->ck", in_curvature[innermost.of_cell], loadings)  # G lambda
    bent = np.einsum("ck,ck->c", spread, loadings)  # lambda' G lambda
    u, moved = _movement(cells, modes, in_mode, -(bend("e") * bent)[:, None] * loadings)
    drift = np.einsum("ck,ck->c", moved, loadings)
    e = h["ee"] * drift - bend("e") * bent
    direct = h["e"][:, None] * moved - 2.0 * weight[:, None] * spread
    sums = {"e": e, "e_alpha": e[:, None] * at.effects + direct}
    for name in layout_of(structure).shapes:
        if name in h:
            sums[name] = h["e" + name] * drift - bend(name) * bent
    prior = np.linalg.inv(structure.skill_cov)
    return sums, prior @ symmetrise(_moment(structure, cells, modes, u, in_curvature)) @ prior


def _movement(
    cells: Cells, modes: Modes, in_mode: np.ndarray, by_cell: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """u = H^-1 v with v the sum of ``by_cell`` and ``in_mode``: u level by level, and by cell."""
    units = [cells.units(name) for name in modes.levels]
    sums, right = units[-1].sum_cells(by_cell), []
    for one, effects in zip(reversed(units), reversed(modes.effects), strict=True):
        d = effects.shape[1]
        right.insert(0, sums[:, -d:])
        if one.parent is not None:
            sums = one.sum_to_parent(sums[:, :-d])
    right[0] = in_mode + right[0]
    u = modes.nested.solve(right)
    by_cell = [values[one.of_cell] for one, values in zip(units, u, strict=True)]
    return u, by_cell[0] if len(by_cell) == 1 else np.hstack(by_cell)


def _moment(
    structure: Structure, cells: Cells, modes: Modes, u: list[np.ndarray], in_curvature: np.ndarray
) -> np.ndarray:
    """u f' - G summed over the effects f of a family and its units whose covariance is Sigma, (L, K, K)."""
    out, k, column = None, len(structure.skill_cov), 0
    innermost = cells.units(modes.levels[-1])
    for level, effects, turned in zip(levels_of(structure), modes.effects, u, strict=True):
        units = cells.units(level.name)
        last: slice | np.ndarray = slice(None)
        if units is not innermost:  # G is the same for all innermost units within a unit: take it from the last of them
            last = np.flatnonzero(np.diff(units.of_cell[innermost.starts], append=-1))
        for term, where in level.slices(k):
            if term.correlated:
                placed = slice(column + where.start, column + where.stop)
                part = turned[:, where, None] * effects[:, None, where] - in_curvature[last, placed, placed]
                part = units.sum_to_family(part)
                out = part if out is None else out + part
        column += level.size(k)
    return out


def laplace(
    structure: Structure,
    cells: Cells,
    start: Modes | np.ndarray | None = None,
    shapes: str = "",
    tolerance: float = MODE_TOLERANCE,
    expected: bool = False,
) -> tuple[float, np.ndarray, Modes]:
    """Log-likelihood, score in s, and modes; see ``laplace_by_family``."""
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
    """Log-likelihood of each family, scores in s, and modes.

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
        The log-likelihood is -inf where a curvature is not positive definite (no Laplace approximation).
    """
    at = at_modes(structure, cells, start, shapes, tolerance, expected)
    modes, h, levels = at.modes, at.terms, levels_of(structure)
    units = [cells.units(level.name) for level in levels]
    expected = "fisher e" in h
    curvature = modes.nested
    if expected:
        priors = [np.linalg.inv(level.covariance(structure)) for level in levels]
        curvature = NestedCurvature.eliminated(units, weighted_outer(at.loadings, h["fisher"], units[-1]), priors)
    value = _log_likelihood(structure, cells, levels, modes.effects, h["f"], curvature.log_determinant())
    defined = curvature.defined() if expected else modes.exact
    if not defined.all():
        value = np.where(defined, value, -np.inf)
    in_curvature = -0.5 * curvature.inverse_blocks()
    sums, cov_gradient = mode_adjoint(structure, cells, at, in_curvature, np.zeros_like(modes.alpha), expected)
    direct = {"e": h["e"], "e_alpha": h["e"][:, None] * at.effects}
    for name in sums:
        sums[name] = sums[name] + (direct[name] if name in direct else h[name])
    for part in _prior_gradients(structure, levels, units, modes.effects):
        cov_gradient = cov_gradient + 0.5 * part
    return value, chain_score(structure, cells, at.mean_skill, sums, cov_gradient, by_family), modes


def _log_likelihood(
    structure: Structure,
    cells: Cells,
    levels: Sequence[Level],
    effects: Sequence[np.ndarray],
    cell_values: np.ndarray,
    log_determinant_h: np.ndarray,
) -> np.ndarray:
    """log p(y_l, f) - log|H_l| / 2, the powers of 2 pi cancelling: array (L,)."""
    value, log_det = cells.sum_by_family(cell_values), log_determinant(structure.skill_cov)
    for level, values in zip(levels, effects, strict=True):
        units = cells.units(level.name)
        square = np.einsum("nk,nk->n", values, values @ np.linalg.inv(level.covariance(structure)))
        # the determinants of terms whose covariance is I are one
        own = sum(term.correlated for term in level.terms) * units.sum_to_family(np.ones(len(units))) * log_det
        if units.parent is None:
            value = value - 0.5 * square - 0.5 * (own + log_determinant_h)
        else:
            value = value - 0.5 * (units.sum_to_family(square) + own)
    return value


def _prior_gradients(
    structure: Structure, levels: Sequence[Level], units: Sequence[Units], effects: Sequence[np.ndarray]
) -> Iterator[np.ndarray]:
    """Twice the derivative in Sigma of each correlated term's log density: sums of P f f' P - P, arrays (L, K, K)."""
    prior = np.linalg.inv(structure.skill_cov)
    for level, one, values in zip(levels, units, effects, strict=True):
        for term, where in level.slices(len(prior)):
            if term.correlated:
                pulled = values[:, where] @ prior
                yield one.sum_to_family(pulled[:, :, None] * pulled[:, None, :] - prior)


def moving_score(
    structure: Structure,
    cells: Cells,
    at: AtModes,
    nodes: Nodes,
    pull: np.ndarray,
    twist: np.ndarray,
    by_family: bool = False,
) -> np.ndarray:
    """Score owed to nodes alpha_m = a + C z_m, C C' = H^-1, moving with the parameters.

    Parameters
    ----------
    at : AtModes
    nodes : Nodes
    pull : array (L, D)
        sum_m p_m r_m, with r_m the gradient of the log joint density at node m.
    twist : array (L, D, D)
        sum_m p_m r_m alpha_m'.
    """
    modes = at.modes
    root = nodes.root
    twist = twist - pull[:, :, None] * modes.alpha[:, None, :]
    # twist C^-T is sum_m p_m r_m z_m'; through dC = -C tril_half(C' dH C) it becomes a derivative in H
    in_root = np.swapaxes(np.linalg.solve(root, np.swapaxes(twist, 1, 2)), 1, 2)
    half = np.tril(np.swapaxes(root, 1, 2) @ in_root)
    diagonal = np.arange(half.shape[-1])
    half[:, diagonal, diagonal] *= 0.5
    transposed = np.swapaxes(root, 1, 2)
    in_curvature = -symmetrise(root @ half @ transposed) - 0.5 * (root @ transposed)
    # Fisher's curvature, used where H is not positive definite, is held still: frozen nodes there
    in_curvature[~modes.exact] = 0.0
    pull = np.where(modes.exact[:, None], pull, 0.0)
    sums, cov_gradient = mode_adjoint(structure, cells, at, in_curvature, pull)
    return chain_score(structure, cells, at.mean_skill, sums, cov_gradient, by_family)
