"""The posterior of families' effects at the estimate, as weighted nodes, and posterior means of scores.

Nodes are those of the fit's integration rule. Where LLMs have effects too, a family has too many effects for a grid,
and weighted draws (``prediction.importance_sampling``) take the place of nodes.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ..components.cells import Cells
from ..components.levels import Level, levels_of, too_many_for_nodes
from ..components.response import expected_score, precisions
from ..components.score_laws import ScoreLaw
from ..likelihood.marginal import adapted_nodes, marginal
from ..likelihood.modes import posterior_modes
from ..likelihood.rules import Rule
from ..numerics.nodes import gauss_hermite, normal_log_density
from ..parameters.structure import Structure
from .importance_sampling import effect_draws

DRAWS = 2048  # weighted draws of each family where LLMs have effects
_RESIDUAL_NODES = 15  # Gauss-Hermite nodes of an average over the effects of a new LLM


@dataclass(frozen=True)
class FamilyPosterior:
    """The posterior p(alpha_l | y_l) of every family as weighted nodes.

    Attributes
    ----------
    alpha : array (L, M, D)
        Nodes: all effects of a family, alpha_l and with random slopes its z_l.
    weight : array (L, M)
        Weights of the nodes; rows sum to one.
    by_llm : dict of int to array (M, D')
        Effects of each LLM with scores at its family's nodes, by its row of the design; empty where LLMs have none.
    """

    alpha: np.ndarray
    weight: np.ndarray
    by_llm: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def mean(self) -> np.ndarray:
        """Posterior means of families' effects, array (L, D)."""
        return np.einsum("lm,lmk->lk", self.weight, self.alpha)

    @property
    def sd(self) -> np.ndarray:
        """Posterior standard deviations of families' effects, array (L, D)."""
        centred = self.alpha - self.mean[:, None, :]
        return np.sqrt(np.einsum("lm,lmk->lk", self.weight, centred**2))

    def llm_means(self, codes: np.ndarray, size: int) -> np.ndarray:
        """Return posterior means of LLMs' effects, (n, D'), zero for LLMs without scores.

        ``codes`` (n,) are the families of the LLMs, and ``size`` is D'.
        """
        means = np.zeros((len(codes), size))
        for row, draws in self.by_llm.items():
            means[row] = self.weight[codes[row]] @ draws
        return means


def family_posterior(structure: Structure, cells: Cells, rule: Rule) -> FamilyPosterior:
    """Return the posterior of every family at given parameters.

    The Laplace rule has no nodes; the quadrature grid by which its error is judged takes its place.
    """
    if too_many_for_nodes(levels_of(structure)):
        families = effect_draws(structure, cells, range(cells.n_families), DRAWS, rule.seed)
        by_llm = {row: draws for family in families for row, draws in family.by_llm.items()}
        alpha, weight = (np.stack([getattr(family, name) for family in families]) for name in ("alpha", "weight"))
        return FamilyPosterior(alpha, weight, by_llm)
    rule = rule.finer() if rule.kind == "laplace" else rule
    nodes = adapted_nodes(rule.standard(cells.n_families), posterior_modes(structure, cells))
    return FamilyPosterior(nodes.alpha, marginal(structure, cells, nodes, order=0).posterior)


def prior_nodes(structure: Structure, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes (M, D) and weights (M,) of the distribution of families' effects on skills, for unseen families."""
    shared = _on_skills(levels_of(structure)[0])
    rule = replace(rule, n_skills=shared.size)
    rule = rule.finer() if rule.kind == "laplace" else rule
    standard = rule.standard(1)
    z = standard.z.reshape(-1, standard.z.shape[-1])
    log_weight = standard.log_weight.reshape(-1) - 0.5 * (np.sum(z * z, axis=1) + z.shape[1] * np.log(2.0 * np.pi))
    weight = np.exp(log_weight)
    return z @ np.linalg.cholesky(shared.covariance(structure)).T, weight / weight.sum()


def _on_skills(level: Level) -> Level:
    """Return a level without its effects on single benchmarks."""
    return replace(level, terms=tuple(term for term in level.terms if not term.particular))


def expected_scores(
    law: ScoreLaw,
    structure: Structure,
    x: np.ndarray,
    codes: np.ndarray,
    posterior: FamilyPosterior,
    prior: tuple[np.ndarray, np.ndarray],
    random: np.ndarray,
    places: np.ndarray | None = None,
    dispersion: np.ndarray | None = None,
) -> np.ndarray:
    """Return the posterior means E[Y_ij | data] of scores for LLMs with covariates x, array (n, J).

    Parameters
    ----------
    law : ScoreLaw
    structure : Structure
    x : array (n, p)
    codes : int array (n,)
        Family of each LLM; -1 for an unseen family, whose effects are averaged over ``prior``.
    posterior : FamilyPosterior
    prior : (array (M, D), array (M,))
        Nodes and weights of ``prior_nodes``; effects on single benchmarks are averaged over beside them.
    random : array (n, r)
        Covariates of random slopes.
    places : int array (n,), optional
        Rows of the design of LLMs with scores, -1 for new LLMs, whose own effects are averaged over their distribution.
    dispersion : array (n, q), optional
        Covariates of the precisions, where the model has such.
    """
    outer, *inner = levels_of(structure)
    shared = _on_skills(outer)
    unknown = sum(np.square(term.scale(structure)) for term in outer.terms if term.particular)
    means = np.empty((len(x), len(structure.intercepts)))
    phi = np.broadcast_to(precisions(structure, dispersion), means.shape)
    fixed, items = x @ structure.slopes @ structure.loadings.T + structure.intercepts, np.arange(means.shape[1])
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        alpha, weight = prior if code < 0 else (posterior.alpha[code], posterior.weight[code])
        for row in rows:
            varying = np.tile(random[row], (len(structure.loadings), 1))
            of_family = shared if code < 0 else outer
            eta = fixed[row] + alpha @ of_family.loadings(structure, items, varying).T  # (M, J)
            variance = unknown if code < 0 else 0.0
            by_level = [level.loadings(structure, items, varying) for level in inner]
            llm_effects = None if places is None else posterior.by_llm.get(int(places[row]))
            if llm_effects is None:
                for level, loadings in zip(inner, by_level, strict=True):
                    variance = variance + np.sum(loadings @ level.covariance(structure) * loadings, axis=1)
            else:
                eta = eta + llm_effects @ by_level[-1].T
            of_llm = replace(structure, precision=phi[row])
            means[row] = weight @ _mean_scores(law, of_llm, eta, np.sqrt(variance) if np.any(variance) else None)
    return means


def _mean_scores(law: ScoreLaw, structure: Structure, eta: np.ndarray, sd: np.ndarray | None) -> np.ndarray:
    """Return expected scores (M, J) at linear predictors eta (M, J), averaged over normal noise in these.

    The noise, of standard deviations sd (J,), is what unknown effects of an LLM, or of an unseen family on the
    benchmarks, add; None where there are none.
    """
    if sd is None:
        return expected_score(law, structure, eta)
    nodes = gauss_hermite(_RESIDUAL_NODES, 1)
    weight = np.exp(nodes.log_weight + normal_log_density(nodes.z))
    return sum(w * expected_score(law, structure, eta + z * sd) for w, z in zip(weight, nodes.z[:, 0], strict=True))
