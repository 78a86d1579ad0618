"""The marginal log-likelihood written a second time, plainly, for autograd: tables instead of cells.

Nothing is shared with the package but the order of the structural vector s: Lambda by rows, b, B by rows, the
lower triangle of Sigma by rows, phi, c, d. Tail probabilities use another series than the package does.
"""

from dataclasses import dataclass

import autograd.numpy as np
from autograd import elementwise_grad
from autograd.scipy.special import gammaln, logsumexp


@dataclass(frozen=True)
class Tables:
    """Scores y (N, J); state (N, J): 0 a score, 1 below the edge, 2 above one minus it, -1 missing; edge (J,)."""

    y: object
    state: object
    edge: object
    family: object
    x: object
    n_skills: int


def split(s, tables):
    """Lambda, b, B, Sigma, phi, c, d."""
    j, k, p = tables.y.shape[1], tables.n_skills, tables.x.shape[1]
    sizes = [j * k, j, p * k, k * (k + 1) // 2, j, j, j]
    parts, start = [], 0
    for size in sizes:
        parts.append(s[start : start + size])
        start += size
    loadings, intercepts, slopes, triangle, phi, lower, upper = parts
    rows = [[triangle[max(a, b) * (max(a, b) + 1) // 2 + min(a, b)] for b in range(k)] for a in range(k)]
    cov = np.array(rows)
    return loadings.reshape((j, k)), intercepts, slopes.reshape((p, k)), cov, phi, lower, upper


def log_tail(a, b, edge):
    """log I_e(a, b) by sum_n (1 - b)_n e^n / (n! (a + n)), good for b e of a few units."""
    total, term = 1.0 / a, 1.0
    for n in range(1, 40):
        term = term * (n - b) / n * edge
        total = total + term / (a + n)
    return a * np.log(edge) + gammaln(a + b) - gammaln(a) - gammaln(b) + np.log(total)


def cell_log_likelihood(eta, s, tables):
    """h of every cell at eta (N, M, J), zero where missing."""
    _, _, _, _, phi, lower, upper = split(s, tables)
    mu = lower + (upper - lower) / (1.0 + np.exp(-eta))
    a, b = mu * phi, (1.0 - mu) * phi
    state = tables.state[:, None, :]
    y = np.where(state == 0, tables.y[:, None, :], 0.5)
    inside = gammaln(phi) - gammaln(a) - gammaln(b) + (a - 1.0) * np.log(y) + (b - 1.0) * np.log(1.0 - y)
    below, above = log_tail(a, b, tables.edge), log_tail(b, a, tables.edge)
    return (state == 0) * inside + (state == 1) * below + (state == 2) * above


def predictor(alpha, s, tables):
    """eta (N, M, J) at family effects alpha (L, M, K)."""
    loadings, intercepts, slopes, *_ = split(s, tables)
    theta = alpha[tables.family] + np.dot(tables.x, slopes)[:, None, :]
    return np.dot(theta, loadings.T) + intercepts


def log_joint(alpha, s, tables):
    """log p(y_l, alpha_lm), (L, M)."""
    cov = split(s, tables)[3]
    by_llm = np.sum(cell_log_likelihood(predictor(alpha, s, tables), s, tables), axis=2)
    members = 1.0 * (tables.family == np.arange(tables.family.max() + 1)[:, None])
    square = np.sum(np.dot(alpha, np.linalg.inv(cov)) * alpha, axis=2)
    constant = np.linalg.slogdet(cov)[1] + tables.n_skills * np.log(2.0 * np.pi)
    return np.dot(members, by_llm) - 0.5 * (square + constant)


def frozen(s, tables, alpha, log_weight):
    """Marginal log-likelihood on nodes held still."""
    return np.sum(logsumexp(log_weight + log_joint(alpha, s, tables), axis=1))


def laplace(s, tables, modes):
    """Laplace's log-likelihood, from modes (L, K) that follow s by one Newton step."""
    loadings, _, _, cov, *_ = split(s, tables)
    precision = np.linalg.inv(cov)
    members = 1.0 * (tables.family == np.arange(tables.family.max() + 1)[:, None])
    first = elementwise_grad(lambda eta: cell_log_likelihood(eta, s, tables))
    second = elementwise_grad(first)

    def curvature(alpha):
        by_cell = second(predictor(alpha[:, None, :], s, tables))[:, 0, :]
        by_llm = np.sum(by_cell[:, :, None, None] * (loadings[:, :, None] * loadings[:, None, :]), axis=1)
        return precision - np.einsum("ln,nab->lab", members, by_llm)

    slope = first(predictor(modes[:, None, :], s, tables))[:, 0, :]
    gradient = np.dot(members, np.dot(slope, loadings)) - np.dot(modes, precision)
    alpha = modes + np.einsum("lab,lb->la", np.linalg.inv(curvature(modes)), gradient)
    log_det = np.linalg.slogdet(curvature(alpha))[1]
    joint = log_joint(alpha[:, None, :], s, tables)[:, 0]
    return np.sum(joint + 0.5 * tables.n_skills * np.log(2.0 * np.pi) - 0.5 * log_det)
