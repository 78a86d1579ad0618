"""A planner's target as a function of covariates, at one or many values of the parameters.

A target is a weighted sum of components, each of them a skill or the expected score of a benchmark,

    E[Y_j] = E[m_j(mu_j)],  mu_j = c_j + (d_j - c_j) F_j(b_j + lambda_j' theta),  theta = alpha + B' x,

where m_j(mu) is the mean of the law of a score with location mu (mu itself for the beta law). The expectation is over
the effects of a family: over N(0, Sigma) for a family that was never seen, and for a known family over the normal
distribution with the mean and covariance of its posterior. It is also over the residual skills of an LLM, where the
model has them.

The linear predictor is then normal, so that the expectation is a one-dimensional integral. With 21 Gauss-Hermite nodes
its error is 1e-6 (1e-4 for learned links, whose third derivatives have jumps). The mean of lambda_j' theta is linear in
x with the *combined slopes* B lambda_j. Without random slopes its variance does not depend on x.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from ..components.cells import Cells
from ..components.curve import mean_score
from ..components.free_curves import FreeCurves
from ..components.levels import levels_of, too_many_for_nodes, ungrouped
from ..components.score_laws import ScoreLaw
from ..likelihood.marginal import adapted_nodes, marginal
from ..likelihood.modes import posterior_modes
from ..likelihood.rules import Rule
from ..models.latent_skill import LatentSkillLaw
from ..parameters.structure import Structure
from ..prediction.importance_sampling import effect_draws

if TYPE_CHECKING:
    from ..sloth.reported_skills import SlothArrays

NODES = 21  # nodes of a one-dimensional average over families
_MOST_ENTRIES = 4_000_000  # numbers in an array of linear predictors; draws are taken in slices of at most this size

_DRAWS = 1024  # weighted draws of the effects of a family that is nested in a group


@dataclass(frozen=True)
class Effects:
    """Normal distributions of a family's effects (alpha, and with random slopes z), one for each of S Structures.

    Attributes
    ----------
    mean : array (S, D)
    cov : array (S, D, D)
    """

    mean: np.ndarray
    cov: np.ndarray


def unseen_effects(structures: Sequence[Structure]) -> Effects:
    """Return the distribution of the effects of a family that was never seen, for each Structure."""
    cov = np.stack([levels_of(ungrouped(structure))[0].covariance(structure) for structure in structures])
    return Effects(np.zeros(cov.shape[:2]), cov)


def family_cells(model: LatentSkillLaw, code: int) -> Cells:
    """Return the cells of one family of a LatentSkillModel, or of its group, with covariates in users' units.

    In the cells of a group the family has the code 0.
    """
    (group,) = np.unique(model.group_codes[model.family_codes == code])
    rows, prepared = model.group_codes == group, model.prepared
    families = np.unique(np.where(model.family_codes[rows] == code, -1, model.family_codes[rows]), return_inverse=True)
    return Cells.from_tables(
        model.score_law, prepared.y[rows], prepared.state[rows], prepared.edge, np.zeros(int(rows.sum()), dtype=int),
        model.design.x[rows], model.random_design[rows], None if model.dispersion is None else model.dispersion[rows],
        families[1] if model.nested else None,
    )  # fmt: skip


def known_effects(structures: Sequence[Structure], cells: Cells, rule: Rule) -> Effects:
    """Return mean and covariance of the posterior of one family's effects, for each of S Structures.

    Where LLMs have effects of their own, these are the mode and the inverse curvature of the family's effects there,
    with the LLMs' effects profiled out; where it is nested in a group, those of weighted draws.

    Parameters
    ----------
    structures : list of S Structures
    cells : Cells
        The cells of that family only, or of its group (``family_cells``).
    rule : Rule
        Integration rule of the fit; beyond four dimensions 512 Sobol draws are taken instead.
    """
    if rule.n_skills > 4:
        rule = Rule.build("monte_carlo", rule.n_skills, draws=64)
    rule = rule.finer() if rule.kind == "laplace" else rule
    standard, start = rule.standard(1), None
    means, covs = [], []
    for structure in structures:
        if cells.nested is not None:
            drawn = effect_draws(structure, cells, range(len(cells.units("family"))), _DRAWS)[0]
            means.append(drawn.weight @ drawn.alpha)
            centred = drawn.alpha - means[-1]
            covs.append((drawn.weight[:, None] * centred).T @ centred)
            continue
        modes = posterior_modes(structure, cells, start)
        # all parameters are near the estimate, so the first modes are good starts for all others
        start = modes if start is None else start
        if too_many_for_nodes(levels_of(structure)):
            means.append(modes.alpha[0])
            covs.append(np.linalg.inv(modes.curvature[0]))
            continue
        nodes = adapted_nodes(standard, modes)
        alpha, weight = nodes.alpha[0], marginal(structure, cells, nodes, order=0).posterior[0]
        mean = weight @ alpha
        means.append(mean)
        covs.append((weight[:, None] * (alpha - mean)).T @ (alpha - mean))
    return Effects(np.array(means), np.array(covs))


@dataclass(frozen=True)
class Target:
    """A target at S values of the parameters.

    Attributes
    ----------
    weights : array (T,)
        Weights of its T components; positive.
    slopes : array (S, p, T)
        Combined slopes B lambda_t of the components, with the mean of the family's own slopes added.
    offset : array (S, T)
        Mean linear predictor of each component at x = 0.
    spread : array (S, T, 1 + r, T, 1 + r)
        Covariance of the linear predictors as a quadratic form in (1, v), where v are the covariates of random slopes
        minus their means.
    random : int array (r,)
        Terms with random slopes.
    centre : array (r,)
        Means of the covariates of these terms.
    lower, upper : array (S, T) or None
        Asymptotes; None for skills, whose value is the linear predictor itself.
    link : array (S, T, G) or None
        Coordinates of learned links; None for logistic ones.
    law : ScoreLaw or None
        The law of a score; None where the value of the curve is the expected score by definition.
    precision : array (S, T) or None
    """

    weights: np.ndarray
    slopes: np.ndarray
    offset: np.ndarray
    spread: np.ndarray
    random: np.ndarray
    centre: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    link: np.ndarray | None = None
    law: ScoreLaw | None = None
    precision: np.ndarray | None = None

    @property
    def size(self) -> int:
        """S, the number of values of the parameters."""
        return len(self.slopes)

    @property
    def is_linear(self) -> bool:
        """Whether the target increases in the combined index at every x.

        It does for skills, whose mixes are linear in x. It does for a single benchmark without random slopes: the
        distribution of alpha does not depend on x then, and E[F(m + lambda' alpha)] increases in m as F does. So what
        is best for one family is best for the average over families.
        """
        return self.lower is None or (len(self.weights) == 1 and len(self.random) == 0)

    def index(self, x: np.ndarray) -> np.ndarray:
        """Return the combined index at x (S or 1, n, p): the weighted mean linear predictor, (S, n)."""
        return self.predictors(x) @ self.weights

    def predictors(self, x: np.ndarray) -> np.ndarray:
        """Return the mean linear predictors of the components at x, (S, n, T)."""
        return np.matmul(x, self.slopes) + self.offset[:, None, :]

    def at(self, rows: slice | np.ndarray) -> "Target":
        """Return the target at some of the values of the parameters."""
        by_parameters = ("slopes", "offset", "spread", "lower", "upper", "link", "precision")
        values = {name: getattr(self, name) for name in by_parameters}
        return replace(self, **{name: value[rows] for name, value in values.items() if value is not None})

    def value(self, x: np.ndarray) -> np.ndarray:
        """Return the expected target at x (S or 1, n, p), array (S, n).

        It is in units of the skill, or a sum of weights times scores in [0, 1].
        """
        if self.lower is None:
            return self.index(x)
        step = max(1, _MOST_ENTRIES // (x.shape[1] * len(self.weights) * NODES * (1 if self.link is None else 12)))
        if self.size <= step:
            return self._averages(x)
        slices = [slice(first, first + step) for first in range(0, self.size, step)]
        return np.concatenate([self.at(rows)._averages(x if len(x) == 1 else x[rows]) for rows in slices])

    def _averages(self, x: np.ndarray) -> np.ndarray:
        """Return the average over families of the expected scores at x, weighted over components, (S, n)."""
        z, weight = special.roots_hermitenorm(NODES)
        sd = np.sqrt(np.maximum(np.einsum("sntt->snt", self.covariance(x)), 0.0))
        eta = self.predictors(x)[..., None] + sd[..., None] * z
        return np.einsum("sntq,q,t->sn", self._means(eta), weight / weight.sum(), self.weights)

    def covariance(self, x: np.ndarray) -> np.ndarray:
        """Return the covariance over families of the linear predictors of the components at x, (S, n, T, T)."""
        v = x[..., self.random] - self.centre
        form = np.concatenate([np.ones((*v.shape[:-1], 1)), v], axis=-1)
        form = np.broadcast_to(form, (self.size, *form.shape[1:]))
        return np.einsum("sna,stauc,snc->sntu", form, self.spread, form, optimize=True)

    def _means(self, eta: np.ndarray) -> np.ndarray:
        """Return expected scores at linear predictors eta (S, n, T, Q)."""
        assert self.lower is not None
        assert self.upper is not None
        lower, upper = (end[:, None, :, None] for end in (self.lower, self.upper))
        mu = mean_score(eta, lower, upper, None if self.link is None else self.link[:, None, :, None, :])
        if self.law is None:
            return mu
        assert self.precision is not None
        return self.law.mean(mu, self.precision[:, None, :, None])

    def draw(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the target (S, n) at x (S or 1, n, p) for a single family per value, drawn from its distribution."""
        values, vectors = np.linalg.eigh(self.covariance(x))
        root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        z = rng.standard_normal((self.size, 1, len(self.weights)))
        eta = self.predictors(x) + np.einsum("sntu,snu->snt", root, np.broadcast_to(z, root.shape[:2] + z.shape[2:]))
        means = eta if self.lower is None else self._means(eta[..., None])[..., 0]
        return means @ self.weights


def make_target(
    law: ScoreLaw,
    structures: Sequence[Structure],
    effects: Effects,
    weights: np.ndarray,
    random: np.ndarray,
    centre: np.ndarray,
    items: np.ndarray | None = None,
) -> Target:
    """Return the target of a LatentSkillModel.

    Parameters
    ----------
    law : ScoreLaw
        The law of a score.
    structures : list of S Structures
        Parameters, with slopes of users' covariates.
    effects : Effects
        Distribution of the family's effects at each of these.
    weights : array (K,) or (T,)
        Weights of all skills, or of the benchmarks ``items``.
    random : int array (r,)
        Terms with random slopes.
    centre : array (r,)
        Means of their covariates.
    items : int array (T,), optional
        Benchmarks; None for a skill or a mix of skills, which is a single component.
    """

    def stack(name: str) -> np.ndarray:
        return np.stack([getattr(structure, name) for structure in structures])

    structures = [ungrouped(structure) for structure in structures]
    slopes, levels = stack("slopes"), [levels_of(structure) for structure in structures]
    count, k = len(structures), slopes.shape[2]
    # standard deviations of random slopes, term by term (S, r, K)
    tau = np.stack([
        np.array([term.scale(structure) for term in outer.terms if term.covariate is not None]).reshape(-1, k)
        for structure, (outer, *_) in zip(structures, levels, strict=True)
    ])  # fmt: skip
    if items is None:
        directions, base = np.broadcast_to(weights, (count, 1, k)), np.zeros((count, 1))
    else:
        directions, base = stack("loadings")[:, items], stack("intercepts")[:, items]
    # lambda on alpha, and tau lambda on the z of each random slope: (S, T, 1 + r, K)
    spread = np.concatenate([directions[:, :, None], directions[:, :, None] * tau[:, None]], axis=2)
    size = k * (len(random) + 1)  # effects on skills; those on single benchmarks come after them
    cov = effects.cov[:, :size, :size].reshape(count, len(random) + 1, k, len(random) + 1, k)
    mean_effects = np.einsum("stak,sak->sta", spread, effects.mean[:, :size].reshape(count, -1, k))
    combined = np.einsum("spk,stk->spt", slopes, directions)
    combined[:, random] += mean_effects[:, :, 1:].transpose(0, 2, 1)
    offset = base + mean_effects[:, :, 0] - mean_effects[:, :, 1:] @ centre
    form = np.einsum("stak,sakbl,subl->staub", spread, cov, spread, optimize=True)
    particular = effects.mean.shape[1] > size
    if items is not None and particular:
        last = [of_family.terms[-1] for of_family, *_ in levels]
        scale = np.stack([term.scale(structure) for term, structure in zip(last, structures, strict=True)])
        offset = offset + scale[:, items] * effects.mean[:, size + items]
        _add_particular(form, spread, effects.cov, scale, items)
    # the effects of a new LLM add their variance
    for number, (structure, (_, *inner)) in enumerate(zip(structures, levels, strict=True)):
        for level in inner:
            nothing = np.zeros((directions.shape[1], len(random)))
            on_llm = [term.multiplied(structure, directions[number], nothing) for term in level.terms]
            loadings_on_llm = np.hstack(on_llm)
            form[number, :, 0, :, 0] += loadings_on_llm @ level.covariance(structure) @ loadings_on_llm.T
    if items is None:
        return Target(np.ones(1), combined, offset, form, random, centre)
    link = stack("link")[:, items]
    return Target(
        np.asarray(weights, dtype=float), combined, offset, form, random, centre,
        stack("lower")[:, items], stack("upper")[:, items], link if link.shape[2] else None, law,
        stack("precision")[:, items],
    )  # fmt: skip


def _add_particular(
    form: np.ndarray, spread: np.ndarray, cov: np.ndarray, scale: np.ndarray, items: np.ndarray
) -> None:
    """Add the family's effects on single benchmarks to the quadratic form ``Target.spread``, in place.

    Parameters
    ----------
    form : array (S, T, 1 + r, T, 1 + r)
    spread : array (S, T, 1 + r, K)
        How the components depend on the family's effects on skills.
    cov : array (S, D, D)
        Covariance of all its effects, of which those on the J benchmarks come last.
    scale : array (S, J)
        Standard deviations of the effects on the benchmarks.
    items : int array (T,)
    """
    count, _, parts, k = spread.shape
    size = parts * k
    own, scale = size + items, scale[:, items]
    shared = cov[:, :size][:, :, own].reshape(count, parts, k, len(items))
    crossed = np.einsum("stak,saku->stau", spread, shared) * scale[:, None, None]
    form[:, :, :, :, 0] += crossed
    form[:, :, 0] += crossed.transpose(0, 3, 1, 2)
    form[:, :, 0, :, 0] += scale[:, :, None] * cov[:, own][:, :, own] * scale[:, None]


def make_sloth_target(
    estimates: "SlothArrays",
    response: FreeCurves,
    code: int | None,
    weights: np.ndarray,
    items: np.ndarray | None = None,
) -> Target:
    """Return the target of a SlothModel or BenchmarkLaws at its estimate.

    Parameters
    ----------
    estimates : SlothArrays
        The estimates as they are reported.
    response : FreeCurves
    code : int or None
        Family; None where families share their intercepts.
    weights, items
        As for ``make_target``.
    """
    effects = np.zeros(estimates.slopes.shape[1])
    if code is not None and estimates.effects is not None:
        effects = estimates.effects[code]
    if items is None:
        combined, offset = (estimates.slopes @ weights)[None, :, None], np.array([[effects @ weights]])
        no_spread = np.zeros((1, 1, 1, 1, 1))
        return Target(np.ones(1), combined, offset, no_spread, np.zeros(0, dtype=int), np.zeros(0))
    loadings, phi, count = estimates.loadings[items], estimates.phi, len(items)
    link = phi[items, : response.n_link][None] if response.n_link else None
    return Target(
        np.asarray(weights, dtype=float), (estimates.slopes @ loadings.T)[None],
        (estimates.intercepts[items] + loadings @ effects)[None], np.zeros((1, count, 1, count, 1)),
        np.zeros(0, dtype=int), np.zeros(0), response.lower(phi)[items][None], response.upper(phi)[items][None], link,
    )  # fmt: skip
