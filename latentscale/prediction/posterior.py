"""The posterior of families' effects at the estimate, as weighted nodes, and posterior means of scores.

Nodes are those of the fit's integration rule. Where LLMs have effects too, a family has too many effects for a grid,
and weighted draws (``prediction.importance_sampling``) take the place of nodes.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ..components.cells import Cells
from ..components.levels import Level, levels_of, too_many_for_nodes, ungrouped
from ..components.response import expected_score, precisions
from ..components.score_laws import ScoreLaw
from ..likelihood.marginal import adapted_nodes, marginal
from ..likelihood.modes import posterior_modes
from ..likelihood.rules import Rule
from ..numerics.nodes import gauss_hermite, normal_log_density
from ..parameters.kinds import GROUP_SHARE
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
    by_group : dict of int to (array (M, K), array (M,))
        Where families are nested in groups, the part of the efficiency that families of each group share, and weights.
    """

    alpha: np.ndarray
    weight: np.ndarray
    by_llm: dict[int, np.ndarray] = field(default_factory=dict)
    by_group: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

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
        units = cells.units("family")
        families = effect_draws(structure, cells, range(len(units)), DRAWS, rule.seed)
        by_llm = {row: draws for family in families for row, draws in family.by_llm.items()}
        alpha, weight = (np.stack([getattr(family, name) for family in families]) for name in ("alpha", "weight"))
        by_group = {}
        for code, group in zip(cells.codes("family"), units.family, strict=True):
            of_group = families[code].of_group
            if of_group is not None:
                by_group[int(group)] = of_group, families[code].weight
        return FamilyPosterior(alpha, weight, by_llm, by_group)
    rule = rule.finer() if rule.kind == "laplace" else rule
    nodes = adapted_nodes(rule.standard(cells.n_families), posterior_modes(structure, cells))
    return FamilyPosterior(nodes.alpha, marginal(structure, cells, nodes, order=0).posterior)


def prior_nodes(structure: Structure, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes (M, D) and weights (M,) of the distribution of families' effects on skills, for unseen families."""
    shared = _on_skills(levels_of(ungrouped(structure))[0])
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
    groups: np.ndarray | None = None,
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
    groups : int array (n,), optional
        Group of each LLM where families are nested in groups, -1 for an unseen one.
    """
    rest = 1.0 - structure.scales.get(GROUP_SHARE.name, np.zeros(1))[0]
    structure = ungrouped(structure)
    outer, *inner = levels_of(structure)
    shared = _on_skills(outer)
    unknown = sum(np.square(term.scale(structure)) for term in outer.terms if term.particular)
    means = np.empty((len(x), len(structure.intercepts)))
    phi = np.broadcast_to(precisions(structure, dispersion), means.shape)
    fixed, items = x @ structure.slopes @ structure.loadings.T + structure.intercepts, np.arange(means.shape[1])
    groups = np.full(len(x), -1) if groups is None else groups
    for row, code in enumerate(codes):
        varying = np.tile(random[row], (len(structure.loadings), 1))
        if code >= 0:
            weight, variance = posterior.weight[code], np.zeros(len(items))
            added = posterior.alpha[code] @ outer.loadings(structure, items, varying).T  # (M, J)
        elif groups[row] >= 0:
            of_group, weight = posterior.by_group[int(groups[row])]
            added = of_group @ structure.loadings.T
            variance = unknown + _own_variance(shared, structure, items, varying, rest)
        else:
            added, weight = prior[0] @ shared.loadings(structure, items, varying).T, prior[1]
            variance = unknown + np.zeros(len(items))
        by_level = [level.loadings(structure, items, varying) for level in inner]
        llm_effects = None if places is None else posterior.by_llm.get(int(places[row]))
        if llm_effects is not None:
            added = added + llm_effects @ by_level[-1].T
        else:
            for level, loadings in zip(inner, by_level, strict=True):
                variance = variance + np.sum(loadings @ level.covariance(structure) * loadings, axis=1)
        of_llm = replace(structure, precision=phi[row])
        sd = np.sqrt(variance) if np.any(variance) else None
        means[row] = weight @ _mean_scores(law, of_llm, fixed[row] + added, sd)
    return means


def _own_variance(
    shared: Level, structure: Structure, items: np.ndarray, varying: np.ndarray, rest: float
) -> np.ndarray:
    """Return the variance that an unseen family of a known group adds to linear predictors, (J,), beside its group's.

    ``rest`` is one minus the share of the group in the family's efficiency.
    """
    loadings, k = shared.loadings(structure, items, varying), len(structure.skill_cov)
    cov = shared.covariance(structure)
    cov[:k, :k] *= rest
    return np.sum(loadings @ cov * loadings, axis=1)


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
