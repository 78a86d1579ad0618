"""From derivatives at the cells to derivatives in the structural vector s.

The linear predictor of a cell in LLM i and benchmark j is eta = lambda_j'(alpha_l + B' x_i) + b_j, and with
random slopes eta = lambda_j'(alpha_l + sum_q v_iq tau_q z_lq + B' x_i) + b_j, where v are covariates about their
means and z_lq ~ N(0, I) effects in units of their standard deviations tau_q. A family's effects are then
(alpha_l, z_l), D = K (1 + r) of them, and a cell's *effect loadings* w = (lambda_j, v_iq tau_q lambda_j). Every
integration rule works on effects and effect loadings, and ends with sums over its nodes, one row a cell; the chain
rule from there on is here.

With residual skills of LLMs, theta_i gains kappa e_i, e_i ~ N(0, Sigma). A cell then depends on D + K effects, those of
its family and those e_i of its LLM, and its effect loadings are (w, kappa lambda_j).
"""

import numpy as np

from ..parameters.structure import Layout


def layout_of(structure):
    """Layout of a Structure."""
    (j, k), p = structure.loadings.shape, len(structure.slopes)
    return Layout(j, k, p, len(structure.slope_sd), structure.link.shape[1], bool(len(structure.llm_sd)))


def fixed_part(structure, cells):
    """Per cell: x_i' B (C, K) and the part of eta that does not depend on the effects (C,)."""
    mean_skill = (cells.design @ structure.slopes)[cells.row]
    base = np.einsum("ck,ck->c", mean_skill, structure.loadings[cells.item])
    return mean_skill, base + structure.intercepts[cells.item]


def spread_loadings(structure, loadings, random):
    """Effect loadings (C, D) from lambda_j (C, K) and the covariates v (C, r) of random slopes."""
    if len(structure.slope_sd) == 0:
        return loadings
    varying = random[:, :, None] * structure.slope_sd * loadings[:, None, :]
    return np.hstack([loadings, varying.reshape(len(loadings), -1)])


def effect_loadings(structure, cells):
    """w of every cell, shape (C, D): the loadings on its family's effects."""
    random = cells.random_cells if len(structure.slope_sd) else None
    return spread_loadings(structure, structure.loadings[cells.item], random)


def two_level_loadings(structure, cells):
    """The loadings on the family's effects and on those of the LLM, shape (C, D + K)."""
    return np.hstack([effect_loadings(structure, cells), structure.kappa * structure.loadings[cells.item]])


def effects_cov(structure):
    """Covariance of a family's effects (alpha, z), shape (D, D)."""
    k, size = len(structure.skill_cov), layout_of(structure).n_effects
    cov = np.eye(size)
    cov[:k, :k] = structure.skill_cov
    return cov


def chain_score(structure, cells, mean_skill, sums, cov_gradient, by_family=False):
    """Score in s from cell sums.

    Parameters
    ----------
    mean_skill : array (C, K)
        x_i' B per cell.
    sums : dict of arrays
        ``e`` (C,): derivative in eta; ``e_alpha`` (C, D): in the effect loadings, as far as the effects go,
        (C, D + K) where LLMs have effects too; and those in the shapes that count, by their names (C,).
    cov_gradient : array (L, K, K)
        Symmetric G_l with dl_l = <dSigma, G_l>.
    by_family : bool
        Whether the scores of the families are wanted one by one.

    Returns
    -------
    array (S,), or (L, S) by family
    """
    layout = layout_of(structure)
    k, r, size = layout.n_skills, layout.n_random, layout.n_effects
    loadings, e = structure.loadings[cells.item], sums["e"][:, None]
    in_loadings = sums["e_alpha"][:, :k] + e * mean_skill
    in_slopes = e * loadings
    parts = {}
    own = sums["e_alpha"][:, size:]
    if own.shape[1]:
        in_loadings = in_loadings + structure.kappa * own
        parts["llm_sd"] = _total(np.einsum("ck,ck->c", own, loadings)[:, None], cells, by_family)
    if r:
        spread = sums["e_alpha"][:, k:size].reshape(-1, r, k) * cells.random_cells[:, :, None]
        in_loadings = in_loadings + np.einsum("crk,rk->ck", spread, structure.slope_sd)
        parts["slope_sd"] = _total((spread * loadings[:, None, :]).reshape(len(e), -1), cells, by_family)
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
