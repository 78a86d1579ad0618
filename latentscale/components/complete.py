"""From derivatives at the cells to derivatives in the structural vector s: the chain rule of the linear predictor.

Every integration rule works on the effects of units (``components.levels``) and on each cell's *effect loadings*, the
derivatives w of its linear predictor in them, and ends with sums over its nodes, one row a cell. A term with loadings
w = v (s o lambda_j) passes derivatives on to lambda_j, v (s o .), and to its scales s, v (lambda_j o .).
"""

from functools import lru_cache

import numpy as np

from ..parameters.structure import Layout
from .levels import levels_of


def layout_of(structure):
    """Layout of a Structure."""
    (j, k), p = structure.loadings.shape, len(structure.slopes)
    scales = tuple([(name, values.shape) for name, values in structure.scales.items()])
    return _layout(j, k, p, structure.link.shape[1], scales)


# A layout works its places out when it is first asked for them, which all passes over the data share.
_layout = lru_cache(Layout)


def fixed_part(structure, cells):
    """Per cell: x_i' B (C, K) and the part of eta that does not depend on the effects (C,)."""
    mean_skill = (cells.design @ structure.slopes)[cells.row]
    base = np.einsum("ck,ck->c", mean_skill, structure.loadings[cells.item])
    return mean_skill, base + structure.intercepts[cells.item]


def chain_score(structure, cells, mean_skill, sums, cov_gradient, by_family=False):
    """Score in s from cell sums.

    Parameters
    ----------
    mean_skill : array (C, K)
        x_i' B per cell.
    sums : dict of arrays
        ``e`` (C,): derivative in eta; ``e_alpha`` (C, D_1 + ...): in the effect loadings, of the outermost level or of
        all levels; and those in the shapes that count, by their names (C,).
    cov_gradient : array (L, K, K)
        Symmetric G_l with dl_l = <dSigma, G_l>.
    by_family : bool
        Whether the scores of the families are wanted one by one.

    Returns
    -------
    array (S,), or (L, S) by family
    """
    layout = layout_of(structure)
    k = layout.n_skills
    loadings, e = structure.loadings[cells.item], sums["e"][:, None]
    in_loadings, scales = _through_effects(structure, cells, sums["e_alpha"], e * mean_skill)
    in_slopes = e * loadings
    parts = {name: np.hstack([_total(rows, cells, by_family) for rows in values]) for name, values in scales.items()}
    shapes = [name for name in layout.shapes if name in sums]
    columns = [in_loadings, e, *(sums[name][:, None] for name in shapes)]
    by_item = _by_item(np.hstack(columns), cells, by_family)
    groups = len(by_item)
    parts["loadings"] = by_item[:, :, :k].reshape(groups, -1)
    parts["intercepts"] = by_item[:, :, k]
    parts["slopes"] = _slopes(in_slopes, cells, by_family)
    full = cov_gradient if by_family else cov_gradient.sum(axis=0, keepdims=True)
    rows, columns = layout.triangle
    parts["skill_cov"] = np.where(rows == columns, 1.0, 2.0) * full[:, rows, columns]
    score = np.zeros((groups, layout.size))
    for name, values in parts.items():
        score[:, layout.slices[name]] = values
    for number, name in enumerate(shapes, k + 1):
        score[:, layout.shapes[name]] = by_item[:, :, number]
    return score if by_family else score[0]


def _through_effects(structure, cells, in_effects, in_loadings):
    """Derivatives in lambda_j at the cells (C, K), added to ``in_loadings``, and in the scales of effects, by block.

    The latter is a dict of lists with an array for each row of the block: (C, K), or (C, 1) for one number.
    ``in_effects`` (C, D_1 + ...) holds derivatives in the effect loadings times effects, of as many levels as there are
    columns for.
    """
    k, loadings, scales = in_loadings.shape[1], structure.loadings[cells.item], {}
    outer, *inner = levels_of(structure)
    terms = list(enumerate(term for level in (outer, *inner) for term in level.terms))[: in_effects.shape[1] // k]
    count = len(outer.terms)
    # the sum begins with the efficiency and the inner levels; its rounding depends on the order
    for place, term in (*terms[:1], *terms[count:], *terms[1:count]):
        part = in_effects[:, k * place : k * (place + 1)]
        if term.covariate is not None:
            part = part * cells.random_cells[:, term.covariate, None]
        scale = term.scale(structure)
        in_loadings = in_loadings + (part if scale is None else scale * part)
        if term.row is not None:
            scales.setdefault(term.block, []).append(part * loadings)
        elif term.block is not None:
            scales[term.block] = [np.einsum("ck,ck->c", part, loadings)[:, None]]
    return in_loadings, scales


def _by_item(values, cells, by_family):
    """Sums over each benchmark's cells, (1, J, ...), or over each family's cells of it, (L, J, ...)."""
    if not by_family:
        return (cells.by_item @ values)[None]
    return (cells.by_family_item @ values).reshape(cells.n_families, cells.n_items, -1)


def _total(values, cells, by_family):
    return cells.sum_by_family(values) if by_family else values.sum(axis=0, keepdims=True)


def _slopes(in_slopes, cells, by_family):
    """Derivative in B, rows by covariate: (1, pK) or (L, pK)."""
    x = cells.design[cells.row]
    if not by_family:
        return (x.T @ in_slopes).reshape(1, -1)
    return cells.sum_by_family((x[:, :, None] * in_slopes[:, None, :]).reshape(len(x), -1))
