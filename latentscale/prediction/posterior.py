"""Posterior of family effects on the nodes of a fit, and posterior means of scores.

Where units within families have effects, nodes would have too many dimensions: weighted draws
(``prediction.importance_sampling``) take their place.
"""

from dataclasses import dataclass, field

import numpy as np

from ..components.levels import levels_of
from ..components.response import expected_score
from ..likelihood.marginal import adapted_nodes, marginal
from ..likelihood.modes import posterior_modes
from ..numerics.nodes import gauss_hermite, normal_log_density
from .importance_sampling import effect_draws

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
    by_llm : dict of int to array (M, D')
        Effects of the LLMs with scores, by row of the design; empty where LLMs have none.
    """

    alpha: np.ndarray
    weight: np.ndarray
    by_llm: dict = field(default_factory=dict)

    @property
    def mean(self):
        """Array (L, D)."""
        return np.einsum("lm,lmk->lk", self.weight, self.alpha)

    @property
    def sd(self):
        """Array (L, D)."""
        centred = self.alpha - self.mean[:, None, :]
        return np.sqrt(np.einsum("lm,lmk->lk", self.weight, centred**2))

    def llm_means(self, codes, size):
        """Posterior means of LLMs' effects (n, D'), given their families' codes (n,); zero for those without scores."""
        out = np.zeros((len(codes), size))
        for row, draws in self.by_llm.items():
            out[row] = self.weight[codes[row]] @ draws
        return out


def family_posterior(structure, cells, rule):
    """Posterior of every family at a Structure; a Laplace rule is replaced by the grid that judges it."""
    if len(levels_of(structure)) > 1:
        found = effect_draws(structure, cells, range(cells.n_families), DRAWS, rule.seed)
        by_llm = {row: draws for one in found for row, draws in one.by_llm.items()}
        return FamilyPosterior(np.stack([one.alpha for one in found]), np.stack([one.weight for one in found]), by_llm)
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
    return z @ np.linalg.cholesky(levels_of(structure)[0].covariance(structure)).T, weight / weight.sum()


def expected_scores(law, structure, x, codes, posterior, prior, random, places=None):
    """E[mu_ij | data] for LLMs with covariates x, shape (n, J).

    Parameters
    ----------
    law : ScoreLaw
    structure : Structure
    x : array (n, p)
    codes : int array (n,)
        Family of each LLM; -1 for an unknown one, which is predicted from ``prior``.
    posterior : FamilyPosterior
    prior : (array (M, D), array (M,))
    random : array (n, r)
        Covariates of random slopes.
    places : int array (n,), optional
        Rows of the design of LLMs with scores, -1 for new LLMs, whose own effects are averaged over their distribution.
    """
    outer, *inner = levels_of(structure)
    out = np.empty((len(x), len(structure.intercepts)))
    fixed = x @ structure.slopes @ structure.loadings.T + structure.intercepts
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        alpha, weight = prior if code < 0 else (posterior.alpha[code], posterior.weight[code])
        for row in rows:
            varying = np.tile(random[row], (len(structure.loadings), 1))
            eta = fixed[row] + alpha @ outer.loadings(structure, structure.loadings, varying).T  # (M, J)
            by_level = [level.loadings(structure, structure.loadings, varying) for level in inner]
            known = None if places is None else posterior.by_llm.get(int(places[row]))
            if known is None:
                variance = sum(
                    np.sum(loadings @ level.covariance(structure) * loadings, axis=1)
                    for level, loadings in zip(inner, by_level, strict=True)
                )
                out[row] = weight @ _mean_scores(law, structure, eta, np.sqrt(variance) if inner else None)
            else:
                out[row] = weight @ _mean_scores(law, structure, eta + known @ by_level[-1].T, None)
    return out


def _mean_scores(law, structure, eta, sd):
    """Expected scores at predictors (M, J), averaged over what an LLM's unknown effects, of s.d. (J,), add to them."""
    if sd is None:
        return expected_score(law, structure, eta)
    nodes = gauss_hermite(_RESIDUAL_NODES, 1)
    weight = np.exp(nodes.log_weight + normal_log_density(nodes.z))
    return sum(
        w * expected_score(law, structure, eta + z * sd) for w, z in zip(weight, nodes.z[:, 0], strict=True)
    )
