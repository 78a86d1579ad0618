"""The linear predictor eta of every observed score, and the chain rule from eta to the structural vector s.

A *cell* is an observed score, of LLM i on benchmark j. Its linear predictor is affine in the random effects f of its
units (``components.levels``): eta = lambda_j' B' x_i + b_j + w' f, where w, the *effect loadings* of the cell, are the
derivatives of eta in f. Every integration rule averages derivatives in eta over its nodes and ends with one row of
sums for each cell; ``chain_score`` carries these to derivatives in s. A term of the effects has w = v (t o lambda_j),
with a covariate v and scales t, so that a derivative g in w gives v (t o g) in lambda_j and v (lambda_j o g) in t. Of a
particular term w is t_j at the cell's benchmark and zero elsewhere.
"""


from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..parameters.structure import Layout, Structure
from .cells import Cells
from .levels import levels_of


def layout_of(structure: Structure) -> Layout:
    """Return the Layout of the structural vector that a Structure belongs to."""
    (j, k), p = structure.loadings.shape, len(structure.slopes)
    scales = tuple([(name, values.shape) for name, values in structure.scales.items()])
    return _layout(j, k, p, structure.link.shape[1], scales, structure.precision_slopes.shape)


# A layout computes the positions of its blocks when it is first asked for them; all passes over the data share it.
_layout = lru_cache(Layout)


def fixed_part(structure: Structure, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Return what the covariates add to the skills of each cell's LLM, and eta where all effects are zero.

    Returns
    -------
    mean_skill : array (C, K)
        x_i' B.
    base : array (C,)
        lambda_j' B' x_i + b_j.
    """
    mean_skill = (cells.design @ structure.slopes)[cells.row]
    base = np.einsum("ck,ck->c", mean_skill, structure.loadings[cells.item])
    return mean_skill, base + structure.intercepts[cells.item]


def chain_score(
    structure: Structure,
    cells: Cells,
    mean_skill: np.ndarray,
    sums: dict[str, np.ndarray],
    cov_gradient: np.ndarray,
    by_family: bool = False,
) -> np.ndarray:
    """Return the score in s from derivatives at the cells, by the chain rule.

    Parameters
    ----------
    structure : Structure
    cells : Cells
    mean_skill : array (C, K)
        x_i' B of each cell (``fixed_part``).
    sums : dict of str to array
        Derivatives of the objective at each cell: ``e`` (C,), in eta; ``e_alpha`` (C, D_1 + ...), in the effect
        loadings w, of the outermost level alone or of all levels; and (C,) in each shape of the benchmarks' curves
        that is wanted, under its name (``components.response``).
    cov_gradient : array (L, K, K)
        Symmetric matrices G_l, such that a change dSigma changes the log-likelihood of family l by tr(G_l dSigma).
    by_family : bool
        Whether the scores are wanted family by family rather than summed.

    Returns
    -------
    array (S,), or (L, S) by family
    """
    layout = layout_of(structure)
    k = layout.n_skills
    loadings, e = structure.loadings[cells.item], sums["e"][:, None]
    in_loadings, scales = _through_effects(structure, cells, sums["e_alpha"], e * mean_skill)
    in_slopes = e * loadings
    own = {name: scales.pop(name)[0] for name in layout.by_benchmark if name in scales}
    blocks = {name: np.hstack([_total(rows, cells, by_family) for rows in values]) for name, values in scales.items()}
    shapes = [name for name in layout.shapes if name in sums]
    of_items = [in_loadings, e, *(sums[name][:, None] for name in shapes), *own.values()]
    in_precision = in_precision_slopes(structure, cells, sums["p"]) if len(structure.precision_slopes) else None
    if in_precision is not None and layout.precision_slopes[1] > 1:
        of_items.append(in_precision)
    elif in_precision is not None:
        blocks["precision_slopes"] = _total(in_precision, cells, by_family)
    by_item = _by_item(np.hstack(of_items), cells, by_family)
    groups = len(by_item)
    blocks["loadings"] = by_item[:, :, :k].reshape(groups, -1)
    blocks["intercepts"] = by_item[:, :, k]
    blocks["slopes"] = _slopes(in_slopes, cells, by_family)
    full = cov_gradient if by_family else cov_gradient.sum(axis=0, keepdims=True)
    rows, columns = layout.triangle
    blocks["skill_cov"] = np.where(rows == columns, 1.0, 2.0) * full[:, rows, columns]
    score = np.zeros((groups, layout.size))
    for name, values in blocks.items():
        score[:, layout.slices[name]] = values
    places = [*(layout.shapes[name] for name in shapes), *map(layout.index, own)]
    places += list(layout.index("precision_slopes")) if layout.precision_slopes[1] > 1 else []
    for number, place in enumerate(places, k + 1):
        score[:, place] = by_item[:, :, number]
    return score if by_family else score[0]


def in_precision_slopes(structure: Structure, cells: Cells, in_precision: np.ndarray) -> np.ndarray:
    """Return derivatives in gamma at the cells, (C, q), from those in phi_j (C,): times phi_j w."""
    return (in_precision * structure.precision[cells.item])[:, None] * cells.dispersion_cells


def _through_effects(
    structure: Structure, cells: Cells, in_effects: np.ndarray, in_loadings: np.ndarray
) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
    """Carry derivatives in the effect loadings w = v (t o lambda_j) on to lambda_j and to the scales t.

    Parameters
    ----------
    in_effects : array (C, D_1 + ...)
        Derivatives in w, of as many levels, from the outermost one on, as there are columns for.
    in_loadings : array (C, K)
        Derivatives in lambda_j that do not come through w.

    Returns
    -------
    in_loadings : array (C, K)
        Derivatives in lambda_j in all.
    scales : dict of str to list of arrays
        For each block of scales one array for each of its rows: (C, K), or (C, 1) where it does not belong to skills.
        A block with one row for each benchmark has a single array, whose cells belong to the row of their benchmark.
    """
    loadings = structure.loadings[cells.item]
    scales: dict[str, list[np.ndarray]] = {}
    outer, *inner = levels_of(structure)
    terms, first = [], 0
    for term in (term for level in (outer, *inner) for term in level.terms):
        if first < in_effects.shape[1]:
            terms.append((term, in_effects[:, first : first + term.width]))
        first += term.width
    count = len(outer.terms)
    # Rounding depends on the order of this sum: the families' efficiency, the inner levels, then random slopes.
    for term, in_term in (*terms[:1], *terms[count:], *terms[1:count]):
        if term.particular:
            scales[term.block or ""] = [in_term[np.arange(len(in_term)), cells.item, None]]
            continue
        if term.covariate is not None:
            in_term = in_term * cells.random_cells[:, term.covariate, None]
        scale = term.scale(structure)
        in_loadings = in_loadings + (in_term if scale is None else scale * in_term)
        if term.block is None:
            continue
        by_skill = structure.scales[term.block].ndim == 2
        in_scale = in_term * loadings if by_skill else np.einsum("ck,ck->c", in_term, loadings)[:, None]
        if term.share is not None:  # two terms have roots of one number
            in_scale = in_scale * term.scale_derivatives(structure)[0] + sum(scales.pop(term.block, []))
        scales.setdefault(term.block, []).append(in_scale)
    return in_loadings, scales


def _by_item(values: np.ndarray, cells: Cells, by_family: bool) -> np.ndarray:
    """Return sums over the cells of each benchmark (1, J, ...), or of each family and benchmark (L, J, ...)."""
    if not by_family:
        return (cells.by_item @ values)[None]
    return (cells.by_family_item @ values).reshape(cells.n_families, cells.n_items, -1)


def _total(values: np.ndarray, cells: Cells, by_family: bool) -> np.ndarray:
    """Return sums over all cells (1, ...), or over the cells of each family (L, ...)."""
    return cells.sum_by_family(values) if by_family else values.sum(axis=0, keepdims=True)


def _slopes(in_slopes: np.ndarray, cells: Cells, by_family: bool) -> np.ndarray:
    """Return the derivative in B, row by row, from that in B' x_i at the cells (C, K): (1, pK) or (L, pK)."""
    x = cells.design[cells.row]
    if not by_family:
        return (x.T @ in_slopes).reshape(1, -1)
    return cells.sum_by_family((x[:, :, None] * in_slopes[:, None, :]).reshape(len(x), -1))
