"""The pieces of Louis's identity: complete-data scores at the nodes and expected complete-data Hessians."""

import numpy as np

from ..components.complete import layout_of

_LOG_2PI = np.log(2.0 * np.pi)


class CovarianceBlock:
    """log N(alpha; 0, Sigma) and its derivatives in the lower triangle of Sigma."""

    def __init__(self, cov):
        self.cov = cov
        self.precision = np.linalg.inv(cov)
        self.constant = -0.5 * (np.linalg.slogdet(cov)[1] + len(cov) * _LOG_2PI)
        rows, columns = np.tril_indices(len(cov))
        self.rows, self.columns = rows, columns
        basis = np.zeros((len(rows), *cov.shape))
        index = np.arange(len(rows))
        basis[index, rows, columns] = basis[index, columns, rows] = 1.0
        self.basis = basis  # dSigma / d s

    def log_density(self, alpha):
        """Over the last axis of alpha."""
        return self.constant - 0.5 * np.sum((alpha @ self.precision) * alpha, axis=-1)

    def gradient(self, second_moment, count):
        """G with dl = <dSigma, G>, from the sum over ``count`` families of E[alpha alpha']."""
        return 0.5 * (self.precision @ second_moment @ self.precision - count * self.precision)

    def scores(self, alpha):
        """Score of log N(alpha; 0, Sigma) in the triangle, at nodes (M, K); shape (M, K(K+1)/2)."""
        pulled = alpha @ self.precision
        outer = pulled[:, self.rows] * pulled[:, self.columns] - self.precision[self.rows, self.columns]
        return np.where(self.rows == self.columns, 0.5, 1.0) * outer

    def hessian(self, second_moment, count):
        """Expected Hessian in the triangle: (count/2) tr(P V_i P V_j) - tr(P V_i P V_j P E[aa'])."""
        weighted = np.einsum("km,imn->ikn", self.precision, self.basis)  # P V_i
        trace = np.einsum("ikm,jmk->ij", weighted, weighted)
        pulled = self.precision @ second_moment
        cubic = np.einsum("ikm,jmn,nk->ij", weighted, weighted, pulled)
        return 0.5 * count * trace - 0.5 * (cubic + cubic.T)


def _eta_design(structure, cells, where, mean_skill):
    """Derivative of eta in (lambda_j, b_j, B) at alpha = 0, for cells ``where``: shape (C, K + 1 + pK)."""
    x = cells.design[cells.row[where]]
    loadings = structure.loadings[cells.item[where]]
    slopes = (x[:, :, None] * loadings[:, None, :]).reshape(len(x), -1)
    return np.hstack([mean_skill[where], np.ones((len(x), 1)), slopes])


def node_scores(structure, cells, where, mean_skill, alpha, terms, prior):
    """Complete-data scores of one family at its nodes, shape (M, S).

    ``terms`` holds first derivatives (C, M) at the family's cells ``where``; ``alpha`` is (M, K).
    """
    layout = layout_of(structure)
    k, slices = layout.n_skills, layout.slices
    one_hot = np.zeros((len(terms["e"]), layout.n_items))
    one_hot[np.arange(len(one_hot)), cells.item[where]] = 1.0
    design = _eta_design(structure, cells, where, mean_skill)
    scores = np.zeros((len(alpha), layout.size))
    e = terms["e"].T
    by_item = e @ one_hot
    by_skill = by_item[:, :, None] * alpha[:, None, :]
    for skill in range(k):
        by_skill[:, :, skill] += e @ (one_hot * design[:, skill, None])
    scores[:, slices["loadings"]] = by_skill.reshape(len(alpha), -1)
    scores[:, slices["intercepts"]] = by_item
    scores[:, slices["slopes"]] = e @ design[:, k + 1 :]
    scores[:, slices["skill_cov"]] = prior.scores(alpha)
    for name, block in (("p", "precision"), ("c", "lower"), ("d", "upper")):
        if name in terms:
            scores[:, slices[block]] = terms[name].T @ one_hot
    return scores


def chain_hessian(structure, cells, mean_skill, sums):
    """Expected complete-data Hessian in s, the Sigma block apart, from expected derivatives at the cells.

    ``sums`` holds, one row a cell: first derivatives in column 0 of ``e``; of each second derivative that
    involves eta the expectations of it times (1, alpha, alpha alpha'); the others in one column.
    """
    layout = layout_of(structure)
    index = {name: layout.index(name) for name in layout.slices}
    hessian = np.zeros((layout.size, layout.size))
    for item in range(layout.n_items):
        where = np.flatnonzero(cells.item == item)
        local = _item_hessian(structure, cells, where, mean_skill, sums)
        blocks = [index["loadings"][item], index["intercepts"][[item]], index["slopes"].ravel()]
        blocks += [index[name][[item]] for name in ("precision", "lower", "upper")]
        here = np.concatenate(blocks)
        hessian[np.ix_(here, here)] += local
    return hessian


def _item_hessian(structure, cells, where, mean_skill, sums):
    """Of one benchmark's cells, in (lambda_j, b_j, B, phi_j, c_j, d_j)."""
    k, p = structure.loadings.shape[1], len(structure.slopes)
    design = _eta_design(structure, cells, where, mean_skill)
    width = design.shape[1]
    out = np.zeros((width + 3, width + 3))
    ee = sums["ee"][where]
    out[:width, :width] = (design * ee[:, :1]).T @ design
    cross = design.T @ ee[:, 1 : k + 1]  # design x lambda_j, the part linear in alpha
    out[:width, :k] += cross
    out[:k, :width] += cross.T
    out[:k, :k] += ee[:, k + 1 :].sum(axis=0).reshape(k, k)
    # d2 eta / d lambda_jk d B_qk = x_q
    by_covariate = sums["e"][where, 0] @ cells.design[cells.row[where]]
    for skill in range(k):
        columns = k + 1 + np.arange(p) * k + skill
        out[skill, columns] += by_covariate
        out[columns, skill] += by_covariate
    for offset, name in enumerate("pcd"):
        if "e" + name not in sums:
            continue
        mixed = sums["e" + name][where]
        column = design.T @ mixed[:, 0]
        column[:k] += mixed[:, 1 : k + 1].sum(axis=0)
        out[width + offset, :width] = out[:width, width + offset] = column
    for a, name_a in enumerate("pcd"):
        for b, name_b in enumerate("pcd"):
            name = name_a + name_b
            if name in sums:
                out[width + a, width + b] = out[width + b, width + a] = sums[name][where, 0].sum()
    return out
