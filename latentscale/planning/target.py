"""A planner's target as a function of covariates, under one or many parameter values.

A target is a weighted sum of parts. A part is a skill, or the expected score of a benchmark,

    E[Y_j] = E[m_j(mu_j)],  mu_j = c_j + (d_j - c_j) F_j(b_j + lambda_j' theta),  theta = alpha + B' x,

m_j(mu) being the mean of the law of a score with the location mu (mu itself for the beta law),
over the law of the family effects: N(0, Sigma) for a family that was never seen, the posterior for a known one, taken
as normal with its mean and covariance; and over the residual skills of an LLM, where the model has them.
lambda_j' theta is then normal too, and its law one-dimensional, so that 21 Gauss-Hermite nodes have the integral to
1e-6 (learned links, whose third derivatives jump: to 1e-4). Its mean is linear in x with the *combined slopes*
B lambda_j; without random slopes its variance is the same at every x.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from ..components.cells import Cells
from ..components.curve import mean_score
from ..components.levels import levels_of
from ..likelihood.marginal import adapted_nodes, marginal
from ..likelihood.modes import posterior_modes
from ..likelihood.rules import Rule

NODES = 21  # of a one-dimensional average over families
_MOST_ENTRIES = 4_000_000  # of an array of linear predictors; draws are taken in slices of that


@dataclass(frozen=True)
class Effects:
    """Normal laws of a family's effects (alpha, and with random slopes z), one for each of S parameter values.

    Attributes
    ----------
    mean : array (S, D)
    cov : array (S, D, D)
    """

    mean: np.ndarray
    cov: np.ndarray


def unseen_effects(structures):
    """Effects of a family drawn from the distribution of families."""
    cov = np.stack([levels_of(structure)[0].covariance(structure) for structure in structures])
    return Effects(np.zeros(cov.shape[:2]), cov)


def family_cells(model, code):
    """Cells of one family of a LatentSkillModel, in users' covariates."""
    rows, prepared = model.family_codes == code, model.prepared
    return Cells.from_tables(
        model.score_law, prepared.y[rows], prepared.state[rows], prepared.edge, np.zeros(int(rows.sum()), dtype=int),
        model.design.x[rows], model.random_design[rows],
    )  # fmt: skip


def known_effects(structures, cells, rule):
    """Mean and covariance of the posterior of one family's effects.

    Where units within families have effects, those of the normal law at its mode, these effects profiled out.

    Parameters
    ----------
    structures : list of S Structures
    cells : Cells
        Of that family alone.
    rule : Rule
        Of the fit; beyond four dimensions a rule of 512 Sobol draws.
    """
    if rule.n_skills > 4:
        rule = Rule.build("monte_carlo", rule.n_skills, draws=64)
    rule = rule.finer() if rule.kind == "laplace" else rule
    standard, start = rule.standard(1), None
    means, covs = [], []
    for structure in structures:
        modes = posterior_modes(structure, cells, start)
        # the parameters are all near one estimate, and so are the modes
        start = modes if start is None else start
        if len(modes.levels) > 1:
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
    """A target under S parameter values.

    Attributes
    ----------
    weights : array (T,)
        Of its parts; positive.
    slopes : array (S, p, T)
        Combined slopes B lambda_t, the family's own slopes in them.
    offset : array (S, T)
        Mean linear predictor at x = 0.
    spread : array (S, T, 1 + r, T, 1 + r)
        Covariance of the parts' linear predictors, a form in (1, v) for the covariates v of random slopes about their
        means.
    random : int array (r,)
        Terms with random slopes.
    centre : array (r,)
        Their means.
    lower, upper : array (S, T) or None
        Asymptotes; None for skills, whose value is the linear predictor itself.
    link : array (S, T, G) or None
    law : ScoreLaw or None
        The law of a score; None where the curve's value is the expected score by definition.
    precision : array (S, T) or None
    """

    weights: np.ndarray
    slopes: np.ndarray
    offset: np.ndarray
    spread: np.ndarray
    random: np.ndarray
    centre: np.ndarray
    lower: np.ndarray = None
    upper: np.ndarray = None
    link: np.ndarray = None
    law: object = None
    precision: np.ndarray = None

    @property
    def size(self):
        """S."""
        return len(self.slopes)

    @property
    def is_linear(self):
        """Whether a larger combined index is a larger target at every x.

        True for skills, whose mixes are linear in x. True for a single benchmark without random slopes: for a normal
        alpha whose law does not depend on x, E[F(m + lambda' alpha)] increases in m as F does, so that what is best
        for one family is best for the average over families.
        """
        return self.lower is None or (len(self.weights) == 1 and len(self.random) == 0)

    def index(self, x):
        """Weighted mean linear predictor at x (S or 1, n, p), shape (S, n)."""
        return self.parts(x) @ self.weights

    def parts(self, x):
        """Mean linear predictors of the parts, (S, n, T)."""
        return np.matmul(x, self.slopes) + self.offset[:, None, :]

    def at(self, rows):
        """The target under some of the parameter values."""
        by_parameters = ("slopes", "offset", "spread", "lower", "upper", "link", "precision")
        values = {name: getattr(self, name) for name in by_parameters}
        return replace(self, **{name: value[rows] for name, value in values.items() if value is not None})

    def value(self, x):
        """Expected target at x (S or 1, n, p), shape (S, n): a skill's units, or scores in [0, 1] times weights."""
        if self.lower is None:
            return self.index(x)
        step = max(1, _MOST_ENTRIES // (x.shape[1] * len(self.weights) * NODES * (1 if self.link is None else 12)))
        if self.size <= step:
            return self._averages(x)
        slices = [slice(first, first + step) for first in range(0, self.size, step)]
        return np.concatenate([self.at(rows)._averages(x if len(x) == 1 else x[rows]) for rows in slices])

    def _averages(self, x):
        z, weight = special.roots_hermitenorm(NODES)
        sd = np.sqrt(np.maximum(np.einsum("sntt->snt", self.covariance(x)), 0.0))
        eta = self.parts(x)[..., None] + sd[..., None] * z
        return np.einsum("sntq,q,t->sn", self._means(eta), weight / weight.sum(), self.weights)

    def covariance(self, x):
        """Covariance of the parts' linear predictors over families, (S, n, T, T)."""
        v = x[..., self.random] - self.centre
        form = np.concatenate([np.ones((*v.shape[:-1], 1)), v], axis=-1)
        form = np.broadcast_to(form, (self.size, *form.shape[1:]))
        return np.einsum("sna,stauc,snc->sntu", form, self.spread, form, optimize=True)

    def _means(self, eta):
        """Expected scores at eta (S, n, T, Q)."""
        lower, upper = (end[:, None, :, None] for end in (self.lower, self.upper))
        mu = mean_score(eta, lower, upper, None if self.link is None else self.link[:, None, :, None, :])
        return mu if self.law is None else self.law.mean(mu, self.precision[:, None, :, None])

    def draw(self, x, rng):
        """The target for one family each, drawn from its law: x (S or 1, n, p) gives (S, n)."""
        values, vectors = np.linalg.eigh(self.covariance(x))
        root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        z = rng.standard_normal((self.size, 1, len(self.weights)))
        eta = self.parts(x) + np.einsum("sntu,snu->snt", root, np.broadcast_to(z, root.shape[:2] + z.shape[2:]))
        means = eta if self.lower is None else self._means(eta[..., None])[..., 0]
        return means @ self.weights


def make_target(law, structures, effects, weights, random, centre, items=None):
    """Target of a LatentSkillModel.

    Parameters
    ----------
    law : ScoreLaw
        The law of a score.
    structures : list of S Structures
        In users' covariates.
    effects : Effects
    weights : array (K,) or (T,)
        Of all skills, or of the benchmarks ``items``.
    random : int array (r,)
    centre : array (r,)
    items : int array (T,), optional
        None for a skill, or a mix of skills, which is one part.
    """
    def stack(name):
        return np.stack([getattr(structure, name) for structure in structures])

    slopes, levels = stack("slopes"), [levels_of(structure) for structure in structures]
    count, k = len(structures), slopes.shape[2]
    # standard deviations of random slopes, term by term (S, r, K)
    tau = np.stack([
        np.array([term.scale(structure) for term in outer.terms[1:]]).reshape(-1, k)
        for structure, (outer, *_) in zip(structures, levels, strict=True)
    ])  # fmt: skip
    if items is None:
        directions, base = np.broadcast_to(weights, (count, 1, k)), np.zeros((count, 1))
    else:
        directions, base = stack("loadings")[:, items], stack("intercepts")[:, items]
    # lambda on alpha, and tau lambda on the z of each random slope: (S, T, 1 + r, K)
    spread = np.concatenate([directions[:, :, None], directions[:, :, None] * tau[:, None]], axis=2)
    cov = effects.cov.reshape(count, len(random) + 1, k, len(random) + 1, k)
    moved = np.einsum("stak,sak->sta", spread, effects.mean.reshape(count, -1, k))
    combined = np.einsum("spk,stk->spt", slopes, directions)
    combined[:, random] += moved[:, :, 1:].transpose(0, 2, 1)
    offset = base + moved[:, :, 0] - moved[:, :, 1:] @ centre
    form = np.einsum("stak,sakbl,subl->staub", spread, cov, spread, optimize=True)
    # effects of a new LLM's own
    for place, (structure, (_, *inner)) in enumerate(zip(structures, levels, strict=True)):
        for level in inner:
            own = level.loadings(structure, directions[place], np.zeros((directions.shape[1], len(random))))
            form[place, :, 0, :, 0] += own @ level.covariance(structure) @ own.T
    if items is None:
        return Target(np.ones(1), combined, offset, form, random, centre)
    link = stack("link")[:, items]
    return Target(
        np.asarray(weights, dtype=float), combined, offset, form, random, centre,
        stack("lower")[:, items], stack("upper")[:, items], link if link.shape[2] else None, law,
        stack("precision")[:, items],
    )  # fmt: skip


def make_sloth_target(parts, response, code, weights, items=None):
    """Target of a SlothModel or BenchmarkLaws, at its estimate.

    Parameters
    ----------
    parts : Parts
        As reported.
    response : FreeCurves
    code : int or None
        Family; None where intercepts are shared.
    weights, items
        As for ``make_target``.
    """
    effects = np.zeros(parts.slopes.shape[1]) if code is None else parts.effects[code]
    if items is None:
        combined, offset = (parts.slopes @ weights)[None, :, None], np.array([[effects @ weights]])
        nothing = np.zeros((1, 1, 1, 1, 1))
        return Target(np.ones(1), combined, offset, nothing, np.zeros(0, dtype=int), np.zeros(0))
    loadings, phi, count = parts.loadings[items], parts.phi, len(items)
    link = phi[items, : response.n_link][None] if response.n_link else None
    return Target(
        np.asarray(weights, dtype=float), (parts.slopes @ loadings.T)[None],
        (parts.intercepts[items] + loadings @ effects)[None], np.zeros((1, count, 1, count, 1)),
        np.zeros(0, dtype=int), np.zeros(0), response.lower(phi)[items][None], response.upper(phi)[items][None], link,
    )  # fmt: skip
