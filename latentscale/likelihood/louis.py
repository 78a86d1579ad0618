"""The two terms of Louis's identity: complete-data scores at the nodes, and expected complete-data Hessians.

The derivative of a cell's eta in a parameter xi is affine in the effects of its family: d eta / d xi = g + M alpha.
"""


from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..components.cells import Cells
from ..components.effects_prior import EffectsPrior
from ..components.levels import family_blocks, levels_of
from ..components.linear_predictor import layout_of
from ..parameters.structure import Layout, Structure

_SLICE = 2_048  # number of cells whose blocks are in memory at one time


def _eta_design(structure: Structure, cells: Cells, where: slice, mean_skill: np.ndarray) -> np.ndarray:
    """Return g, the derivative of eta in (lambda_j, b_j, B) where all effects are zero, an array (C, K + 1 + pK)."""
    x = cells.design[cells.row[where]]
    loadings = structure.loadings[cells.item[where]]
    slopes = (x[:, :, None] * loadings[:, None, :]).reshape(len(x), -1)
    return np.hstack([mean_skill[where], np.ones((len(x), 1)), slopes])


def node_scores(
    structure: Structure,
    cells: Cells,
    where: slice,
    mean_skill: np.ndarray,
    alpha: np.ndarray,
    terms: dict[str, np.ndarray],
    prior: EffectsPrior,
) -> np.ndarray:
    """Return the complete-data scores in s of one family at its nodes, an array (M, S).

    ``terms`` holds first derivatives (C, M) at the family's cells ``where``; ``alpha`` is (M, D).
    """
    layout = layout_of(structure)
    k, slices = layout.n_skills, layout.slices
    one_hot = np.zeros((len(terms["e"]), layout.n_items))
    one_hot[np.arange(len(one_hot)), cells.item[where]] = 1.0
    design = _eta_design(structure, cells, where, mean_skill)
    scores = np.zeros((len(alpha), layout.size))
    e = terms["e"].T
    by_item = e @ one_hot
    by_skill = by_item[:, :, None] * alpha[:, None, :k]
    for skill in range(k):
        by_skill[:, :, skill] += e @ (one_hot * design[:, skill, None])
    for term, effects in levels_of(structure)[0].slices[1:]:
        if term.particular:
            by_own = by_item * alpha[:, effects]
            where_own = layout.index(term.block or "")
            scores[:, where_own] = by_own if len(where_own) == layout.n_items else by_own.sum(axis=1, keepdims=True)
            continue
        varying, z = e * cells.random_cells[where][:, term.covariate], alpha[:, effects]
        by_skill += (varying @ one_hot)[:, :, None] * (term.scale(structure) * z)[:, None, :]
        columns = layout.index(term.block or "")[term.row]
        scores[:, columns] = (varying @ structure.loadings[cells.item[where]]) * z
    scores[:, slices["loadings"]] = by_skill.reshape(len(alpha), -1)
    scores[:, slices["intercepts"]] = by_item
    scores[:, slices["slopes"]] = e @ design[:, k + 1 :]
    scores[:, slices["skill_cov"]] = prior.scores(alpha)
    for name, positions in layout.shapes.items():
        if name in terms:
            scores[:, positions] = terms[name].T @ one_hot
    for covariate, positions in zip(cells.dispersion_cells[where].T, layout.index("precision_slopes"), strict=True):
        in_slope = (terms["p"].T * (structure.precision[cells.item[where]] * covariate)) @ one_hot
        scores[:, positions] = in_slope if len(positions) > 1 else in_slope.sum(axis=1, keepdims=True)
    return scores


def chain_hessian(
    structure: Structure, cells: Cells, mean_skill: np.ndarray, sums: dict[str, np.ndarray], within: slice | None = None
) -> np.ndarray:
    """Return the expected complete-data Hessian in s, (S, S), without Sigma's block; see ``chain_blocks``."""
    layout = layout_of(structure)
    blocks = chain_blocks(structure, cells, mean_skill, sums, within)
    return add_blocks(np.zeros((layout.size, layout.size)), layout, blocks, np.arange(layout.size))


def add_blocks(out: np.ndarray, layout: Layout, blocks: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Add the benchmarks' blocks (J, W, W) to a matrix over some ascending ``entries`` of s, and return it."""
    j = layout.n_items
    scales = [layout.index(name) for name in family_blocks(layout)]
    shared = np.concatenate([layout.index("slopes").ravel(), *(where.ravel() for where in scales if where.ndim == 2)])
    columns = [layout.index("loadings"), layout.index("intercepts")[:, None], np.tile(shared, (j, 1))]
    columns += [np.broadcast_to(where, (j,))[:, None] for where in scales if where.ndim == 1]
    columns += [positions[:, None] for positions in layout.shapes.values()]
    where = np.hstack([*columns, *(np.broadcast_to(row, (j,))[:, None] for row in layout.index("precision_slopes"))])
    position = np.full(layout.size, -1)
    position[entries] = np.arange(len(entries))
    rows, columns = (position[side] for side in np.broadcast_arrays(where[:, :, None], where[:, None, :]))
    kept = (rows >= 0) & (columns >= 0)
    np.add.at(out, (rows[kept], columns[kept]), blocks[kept])
    return out


def add_covariance(out: np.ndarray, layout: Layout, cov: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Add Sigma's block to a matrix over some ascending ``entries`` of s, and return it."""
    block = layout.slices["skill_cov"]
    wanted = np.flatnonzero((entries >= block.start) & (entries < block.stop))
    inside = entries[wanted] - block.start
    out[np.ix_(wanted, wanted)] += cov[np.ix_(inside, inside)]
    return out


def chain_blocks(
    structure: Structure, cells: Cells, mean_skill: np.ndarray, sums: dict[str, np.ndarray], within: slice | None = None
) -> np.ndarray:
    """Return the expected complete-data Hessian in the parameters of each benchmark, an array (J, W, W).

    The W parameters of benchmark j are lambda_j, b_j, B, the scales of random effects, the shapes of its curve, and the
    slopes of its log precision.

    Parameters
    ----------
    sums : dict of str to array (C, ...)
        For each derivative of h that involves eta, the posterior expectations of it times 1, alpha and alpha alpha', as
        columns, as far as they are needed; for the others one column with their expectation.
    within : slice, optional
        Cells to which the sum is restricted.
    """
    within = slice(0, cells.n_cells) if within is None else within
    out: Any = 0.0
    for start in range(within.start, within.stop, _SLICE):
        where = slice(start, min(start + _SLICE, within.stop))
        local = _cell_blocks(structure, cells, where, mean_skill, sums)
        count = where.stop - start
        of_item = (np.ones(count), cells.item[where], np.arange(count + 1))
        of_item = sparse.csc_array(of_item, (cells.n_items, count))
        out = out + of_item @ local.reshape(count, -1)
    width = local.shape[1]
    return out.reshape(cells.n_items, width, width)


def _affine_design(structure: Structure, cells: Cells, where: slice, mean_skill: np.ndarray) -> np.ndarray:
    """Return (g, M), the derivative of eta in (lambda_j, b_j, B, scales) as an affine function, (C, W, 1 + D)."""
    level, k = levels_of(structure)[0], structure.loadings.shape[1]
    fixed = _eta_design(structure, cells, where, mean_skill)
    width, skill = fixed.shape[1], np.arange(k)
    scales = sum(1 if term.particular else k for term in level.terms[1:])
    out = np.zeros((len(fixed), width + scales, 1 + level.size))
    out[:, :width, 0] = fixed
    out[:, skill, 1 + skill] = 1.0
    for number, (term, effects) in enumerate(level.slices[1:]):
        if term.particular:  # the last of the terms
            out[np.arange(len(out)), -1, 1 + effects.start + cells.item[where]] = 1.0
            continue
        varying = cells.random_cells[where][:, term.covariate, None]
        effect = 1 + effects.start + skill
        out[:, skill, effect] = varying * term.scale(structure)
        out[:, width + number * k + skill, effect] = varying * structure.loadings[cells.item[where]]
    return out


def _cell_blocks(
    structure: Structure, cells: Cells, where: slice, mean_skill: np.ndarray, sums: dict[str, np.ndarray]
) -> np.ndarray:
    """Return the blocks of single cells, (C, W, W), by the chain rule."""
    layout = layout_of(structure)
    k, p, level = layout.n_skills, layout.n_covariates, levels_of(structure)[0]
    size = level.size
    design = _affine_design(structure, cells, where, mean_skill)
    count, width = design.shape[:2]
    shapes = list(layout.shapes)
    whole = width + len(shapes) + layout.precision_slopes[0]
    out = np.zeros((count, whole, whole))
    ee = sums["ee"][where]
    moments = np.empty((count, 1 + size, 1 + size))
    moments[:, 0], moments[:, 1:, 0] = ee[:, : 1 + size], ee[:, 1 : 1 + size]
    moments[:, 1:, 1:] = ee[:, 1 + size :].reshape(-1, size, size)
    out[:, :width, :width] = design @ moments @ np.swapaxes(design, 1, 2)
    first = sums["e"][where]
    by_covariate = first[:, :1] * cells.design[cells.row[where]]  # d2 eta / d lambda_jk d B_qk = x_q
    for skill in range(k):
        columns = k + 1 + np.arange(p) * k + skill
        out[:, skill, columns] += by_covariate
        out[:, columns, skill] += by_covariate
    slopes = [pair for pair in level.slices[1:] if not pair[0].particular]
    for number, (term, effects) in enumerate(slopes):  # d2 eta / d lambda_jk d tau_qk = v_q z_qk
        mixed = cells.random_cells[where][:, term.covariate, None] * first[:, 1 + effects.start : 1 + effects.stop]
        columns = k + 1 + p * k + number * k + np.arange(k)
        out[:, np.arange(k), columns] += mixed
        out[:, columns, np.arange(k)] += mixed
    for offset, name in enumerate(shapes):
        if "e" + name in sums:
            column = np.einsum("cwd,cd->cw", design, sums["e" + name][where][:, : 1 + size])
            out[:, width + offset, :width] = out[:, :width, width + offset] = column
    for a, name_a in enumerate(shapes):
        for b, name_b in enumerate(shapes):
            name = name_a + name_b
            if name in sums:
                out[:, width + a, width + b] = out[:, width + b, width + a] = sums[name][where, 0]
    if len(structure.precision_slopes):
        add_precision_slopes(out, width, structure, cells, where, sums["p"][where, 0])
    return out


def add_precision_slopes(
    out: np.ndarray, precision: int, structure: Structure, cells: Cells, where: slice, first: np.ndarray
) -> None:
    """Fill in the last rows and columns of blocks (C, W, W) of cells, which belong to slopes of log precisions.

    A slope gamma changes phi_j exp(gamma' w) as phi_j w times a change of phi_j does, whose place is ``precision``. For
    two of them, and with phi_j itself, second derivatives of phi_j exp(gamma' w) enter with the derivative h_phi,
    ``first`` (C,).
    """
    w, phi = cells.dispersion_cells[where], structure.precision[cells.item[where]]
    start = out.shape[1] - w.shape[1]
    for q, covariate in enumerate(w.T, start):
        out[:, q, :start] = (phi * covariate)[:, None] * out[:, precision, :start]
        out[:, q, precision] += first * covariate
        out[:, :start, q] = out[:, q, :start]
    for q, covariate in enumerate(w.T, start):
        for other, of_other in enumerate(w.T, start):
            out[:, q, other] = phi * of_other * covariate * (phi * out[:, precision, precision] + first)
