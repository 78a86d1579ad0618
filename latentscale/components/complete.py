"""From derivatives at the cells to derivatives in the structural vector s.

The linear predictor of a cell in LLM i and benchmark j is eta = lambda_j'(alpha_l + B' x_i) + b_j. Every
integration rule ends with sums over its nodes, one row a cell; the chain rule from there on is here.
"""

import numpy as np

from ..parameters.structure import Layout


def layout_of(structure):
    """Layout of a Structure."""
    (j, k), p = structure.loadings.shape, len(structure.slopes)
    return Layout(j, k, p)


def fixed_part(structure, cells):
    """Per cell: x_i' B (C, K) and the part of eta that does not depend on alpha (C,)."""
    mean_skill = (cells.design @ structure.slopes)[cells.row]
    base = np.einsum("ck,ck->c", mean_skill, structure.loadings[cells.item])
    return mean_skill, base + structure.intercepts[cells.item]


def chain_score(structure, cells, mean_skill, sums, cov_gradient):
    """Score in s from cell sums.

    Parameters
    ----------
    mean_skill : array (C, K)
        x_i' B per cell.
    sums : dict of arrays
        ``e`` (C,): derivative in eta; ``e_alpha`` (C, K): the same times alpha; ``p`` (C,); and, when the
        asymptotes count, ``c`` and ``d`` (C,).
    cov_gradient : array (K, K)
        Symmetric G with dl = <dSigma, G>.
    """
    layout = layout_of(structure)
    k = layout.n_skills
    e = sums["e"]
    columns = [sums["e_alpha"] + e[:, None] * mean_skill, e[:, None], sums["p"][:, None]]
    columns += [sums[name][:, None] for name in ("c", "d") if name in sums]
    by_item = cells.by_item @ np.hstack(columns)
    by_llm = np.zeros((len(cells.design), k))
    np.add.at(by_llm, cells.row, e[:, None] * structure.loadings[cells.item])
    score = np.zeros(layout.size)
    where = layout.slices
    score[where["loadings"]] = by_item[:, :k].ravel()
    score[where["intercepts"]] = by_item[:, k]
    score[where["precision"]] = by_item[:, k + 1]
    score[where["slopes"]] = (cells.design.T @ by_llm).ravel()
    full = 2.0 * cov_gradient - np.diag(np.diag(cov_gradient))
    score[where["skill_cov"]] = full[layout.triangle]
    if "c" in sums:
        score[where["lower"]], score[where["upper"]] = by_item[:, k + 2], by_item[:, k + 3]
    return score
