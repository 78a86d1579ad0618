"""Posterior of family effects on the nodes of a fit, and posterior means of scores."""

from dataclasses import dataclass

import numpy as np

from ..components.complete import effects_cov, spread_loadings
from ..components.response import mean_score
from ..estimation.marginal import adapted_nodes, marginal
from ..estimation.modes import posterior_modes


@dataclass(frozen=True)
class FamilyPosterior:
    """p(alpha_l | y_l) as weighted nodes.

    Attributes
    ----------
    alpha : array (L, M, D)
        All effects of a family: alpha, and with random slopes their z.
    weight : array (L, M)
        Rows sum to one.
    """

    alpha: np.ndarray
    weight: np.ndarray

    @property
    def mean(self):
        """Array (L, D)."""
        return np.einsum("lm,lmk->lk", self.weight, self.alpha)

    @property
    def sd(self):
        """Array (L, D)."""
        centred = self.alpha - self.mean[:, None, :]
        return np.sqrt(np.einsum("lm,lmk->lk", self.weight, centred**2))


def family_posterior(structure, cells, rule):
    """Posterior of every family at a Structure; a Laplace rule is replaced by the grid that judges it."""
    rule = rule.finer() if rule.kind == "laplace" else rule
    nodes = adapted_nodes(rule.standard(cells.n_families), posterior_modes(structure, cells))
    return FamilyPosterior(nodes.alpha, marginal(structure, cells, nodes, order=0).posterior)


def prior_nodes(structure, rule):
    """Nodes (M, D) and weights (M,) of a family's effects, for families that were never seen."""
    rule = rule.finer() if rule.kind == "laplace" else rule
    standard = rule.standard(1)
    z = standard.z.reshape(-1, standard.z.shape[-1])
    log_weight = standard.log_weight.reshape(-1) - 0.5 * (
        np.sum(z * z, axis=1) + z.shape[1] * np.log(2.0 * np.pi)
    )
    weight = np.exp(log_weight)
    return z @ np.linalg.cholesky(effects_cov(structure)).T, weight / weight.sum()


def expected_scores(structure, x, codes, posterior, prior, random=None):
    """E[mu_ij | data] for LLMs with covariates x, shape (n, J).

    Parameters
    ----------
    x : array (n, p)
    codes : int array (n,)
        Family of each LLM; -1 for an unknown one, which is predicted from ``prior``.
    posterior : FamilyPosterior
    prior : (array (M, D), array (M,))
    random : array (n, r), optional
        Covariates of random slopes.
    """
    out = np.empty((len(x), len(structure.intercepts)))
    fixed = x @ structure.slopes @ structure.loadings.T + structure.intercepts
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        alpha, weight = prior if code < 0 else (posterior.alpha[code], posterior.weight[code])
        for row in rows:
            varying = None if random is None else np.tile(random[row], (len(structure.loadings), 1))
            shift = alpha @ spread_loadings(structure, structure.loadings, varying).T  # (M, J)
            out[row] = weight @ mean_score(fixed[row] + shift, structure.lower, structure.upper, structure.link)
    return out
