"""Posterior of family effects on the nodes of a fit, and posterior means of scores.

With residual skills of LLMs nodes would have too many dimensions: weighted draws (``prediction.sampling``) take their
place.
"""

from dataclasses import dataclass, field

import numpy as np

from ..components.complete import effects_cov, spread_loadings
from ..components.response import mean_score
from ..likelihood.marginal import adapted_nodes, marginal
from ..likelihood.modes import posterior_modes
from ..numerics.nodes import gauss_hermite, normal_log_density
from .sampling import effect_draws

DRAWS = 2048
_RESIDUAL_NODES = 15


@dataclass(frozen=True)
class FamilyPosterior:
    """p(alpha_l | y_l) as weighted nodes.

    Attributes
    ----------
    alpha : array (L, M, D)
        All effects of a family: alpha, and with random slopes their z.
    weight : array (L, M)
        Rows sum to one.
    own : dict of int to array (M, K)
        e_i by row of the design, of the LLMs with scores; empty without LLM residuals.
    """

    alpha: np.ndarray
    weight: np.ndarray
    own: dict = field(default_factory=dict)

    @property
    def mean(self):
        """Array (L, D)."""
        return np.einsum("lm,lmk->lk", self.weight, self.alpha)

    @property
    def sd(self):
        """Array (L, D)."""
        centred = self.alpha - self.mean[:, None, :]
        return np.sqrt(np.einsum("lm,lmk->lk", self.weight, centred**2))

    def own_means(self, codes, n_skills):
        """E[e_i | data] (n, K) of LLMs with family codes (n,); zero for those without scores."""
        out = np.zeros((len(codes), n_skills))
        for row, draws in self.own.items():
            out[row] = self.weight[codes[row]] @ draws
        return out


def family_posterior(structure, cells, rule):
    """Posterior of every family at a Structure; a Laplace rule is replaced by the grid that judges it."""
    if structure.kappa:
        found = effect_draws(structure, cells, range(cells.n_families), DRAWS, rule.seed)
        own = {row: draws for one in found for row, draws in one.own.items()}
        return FamilyPosterior(np.stack([one.alpha for one in found]), np.stack([one.weight for one in found]), own)
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


def expected_scores(structure, x, codes, posterior, prior, random=None, places=None):
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
    places : int array (n,), optional
        Rows of the design of LLMs with scores, -1 for new LLMs, whose residuals are averaged over their distribution.
    """
    out = np.empty((len(x), len(structure.intercepts)))
    fixed = x @ structure.slopes @ structure.loadings.T + structure.intercepts
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        alpha, weight = prior if code < 0 else (posterior.alpha[code], posterior.weight[code])
        for row in rows:
            varying = None if random is None else np.tile(random[row], (len(structure.loadings), 1))
            eta = fixed[row] + alpha @ spread_loadings(structure, structure.loadings, varying).T  # (M, J)
            own = None if places is None else posterior.own.get(int(places[row]))
            if own is not None:
                eta = eta + structure.kappa * own @ structure.loadings.T
            out[row] = weight @ _mean_scores(structure, eta, own is None)
    return out


def _mean_scores(structure, eta, residual):
    """mu at linear predictors (M, J), averaged over an LLM's residual if its e_i is not in them."""
    if not (structure.kappa and residual):
        return mean_score(eta, structure.lower, structure.upper, structure.link)
    nodes = gauss_hermite(_RESIDUAL_NODES, 1)
    weight = np.exp(nodes.log_weight + normal_log_density(nodes.z))
    loadings = structure.loadings
    sd = structure.kappa * np.sqrt(np.sum(loadings @ structure.skill_cov * loadings, axis=1))
    return sum(
        w * mean_score(eta + z * sd, structure.lower, structure.upper, structure.link)
        for w, z in zip(weight, nodes.z[:, 0], strict=True)
    )
