"""A further benchmark regressed on skills that are known with error.

The target T is one more benchmark, whose scores have the law of the fit (``components.score_laws``), by default
Y_iT ~ Beta(mu phi, (1 - mu) phi), with mu = c + (d - c) F(lambda' theta_i + b + u_l) and c < d. u_l ~ N(0, s^2) is what
the target asks of a family that no benchmark does (its specificity): one more skill, that the target alone loads on, by
s. The coordinates zeta = (lambda, b; log phi if the law has a precision; logit c and logit d if they are free; s if
there is a u_l) maximise the conditional likelihood

    l_T(zeta; xi) = sum_l log E[ prod_{i in l} f(y_iT | theta_i, zeta) | y_l, xi ]

at the first stage's estimate of xi. The expectation is over the posterior of a family's effects given its other
scores, so that the error of the skills is integrated out and not plugged in. log E[.] is the difference of two marginal
log-likelihoods, with the target's scores and without, and the second does not depend on zeta: l_T is maximised by the
rules that fit the other benchmarks, on nodes adapted to all of a family's scores.

Scores of a conditional likelihood are uncorrelated with those of the likelihood that was conditioned on. So with
A = -d2 l_T / dzeta dzeta' and C = d2 l_T / dzeta dxi' the estimate of zeta has covariance
A^-1 + A^-1 C V C' A^-1, V being that of the estimate of xi (Murphy and Topel 1985), and no further term.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import block_diag

from ..components.cells import Cells
from ..components.complete import layout_of
from ..components.curve import mean_score
from ..components.free_curves import FreeCurves
from ..components.levels import levels_of
from ..components.penalty import DEFAULT_SD
from ..errors import DataError
from ..estimation.ascent import REFUSED, scale_from, scaled_ascent
from ..likelihood.adaptive_nodes import adaptive
from ..likelihood.laplace import laplace
from ..likelihood.modes import posterior_modes
from ..likelihood.rules import Rule
from ..numerics.differences import jacobian
from ..numerics.linalg import cholesky_or_none, symmetrise

POINTS = {1: 15, 2: 9, 3: 7, 4: 4}
DRAWS = 128  # a scrambling, in more dimensions
GRADIENT = 1e-4  # in standard errors, where the ascent stops
STEP = 0.05  # of differences, in standard errors: their error is of order STEP^4
_SPECIFIC_START = 0.5


@dataclass(frozen=True)
class Target:
    """Scores of the target, and what of its law is free.

    Attributes
    ----------
    y : array (n,)
        Of the LLMs in the first stage's likelihood, strictly inside (0, 1); NaN where missing.
    state : int8 array (n,)
        0 observed, 1 and 2 censored, -1 missing, as in ``Cells``.
    edge : float
    skills : int array (q,)
        The skills that may load; the other loadings are zero.
    chance : float
        Guessing level, the lower asymptote unless that is free.
    asymptotes : {"chance", "lower", "both"}
    shrink : float or None
        e of the penalty -lambda' Sigma lambda / (2 e^2) on the loadings.
    score_law : ScoreLaw
        The law of a score, that of the first stage.
    family_effect : bool
        Whether there is a u_l.
    """

    y: np.ndarray
    state: np.ndarray
    edge: float
    skills: np.ndarray
    chance: float
    asymptotes: str
    shrink: float
    score_law: object
    family_effect: bool = False

    @property
    def curves(self):
        """The target's curve as a function of its free asymptotes' coordinates."""
        return FreeCurves("logistic", self.asymptotes, np.array([self.chance]))

    @property
    def free(self):
        """Free asymptotes, of "c" and "d"."""
        return self.curves.free

    @property
    def places(self):
        """Where the coordinates zeta are, a dict of slices: loadings, intercept, precision, ends and family_sd."""
        sizes = {"loadings": len(self.skills), "intercept": 1, "precision": int(self.score_law.has_precision)}
        sizes |= {"ends": len(self.free), "family_sd": int(self.family_effect)}
        last = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), last, strict=True)}

    @property
    def size(self):
        """Coordinates zeta."""
        return self.places["family_sd"].stop

    def asymptotes_at(self, zeta):
        """c and d at coordinates (Z,) or draws of them (S, Z): arrays (1,) or (S,).

        Draws that would have d below c, as the errors of logit c and logit d are drawn apart, have d = c: a flat curve.
        """
        ends = zeta[..., self.places["ends"]]
        ends = ends[None] if ends.ndim == 1 else ends
        lower, upper = self.curves.lower(ends), self.curves.upper(ends)
        return lower, np.maximum(lower, upper)


@dataclass(frozen=True)
class TargetLaw:
    """Parameters of the target on the natural scale: loadings (K,), intercept, precision, lower, upper, s (or None).

    The precision is 1 where the law of a score has none.
    """

    loadings: np.ndarray
    intercept: float
    precision: float
    lower: float
    upper: float
    family_sd: float = None


@dataclass(frozen=True)
class TargetEstimate:
    """The second stage's estimate.

    Attributes
    ----------
    zeta : array (Z,)
    loglike, penalised : float
        l_T without and with penalties.
    difference : float
        l_T by a finer rule minus ``loglike``.
    information : array (Z, Z)
        A, with the curvature of the penalties.
    cross : array (Z, S)
        C, in the structural vector of the first stage, its precisions logged.
    distance : float
        sqrt(g' A^-1 g): the last gradient in standard errors.
    rule : Rule
    """

    zeta: np.ndarray
    loglike: float
    penalised: float
    difference: float
    information: np.ndarray
    cross: np.ndarray
    distance: float
    rule: object

    @property
    def own_cov(self):
        """A^-1, were the first stage known (Z, Z)."""
        return np.linalg.inv(self.information)


# --- between coordinates and structures --------------------------------------------------------------------------


def target_law(target, zeta, n_skills):
    """zeta -> TargetLaw."""
    at = target.places
    loadings = np.zeros(n_skills)
    loadings[target.skills] = zeta[at["loadings"]]
    (lower,), (upper,) = target.asymptotes_at(zeta)
    precision = float(np.exp(zeta[at["precision"]])[0]) if target.score_law.has_precision else 1.0
    family_sd = abs(float(zeta[-1])) if target.family_effect else None
    return TargetLaw(loadings, float(zeta[at["intercept"]][0]), precision, float(lower), float(upper), family_sd)


def carried(target, zeta, n_skills):
    """d natural / d zeta, (Z,)."""
    out, at = np.ones(target.size), target.places
    out[at["precision"]] = target_law(target, zeta, n_skills).precision
    out[at["ends"]] = target.curves.ends(zeta[at["ends"]])[1]
    if target.family_effect:
        out[-1] = np.sign(zeta[-1])
    return out


def extended(structure, law):
    """The Structure with the target as its last benchmark, under the logistic link, and u_l / s as its last skill."""
    if law.family_sd is not None:
        structure = _with_specific_skill(structure)
        law = replace(law, loadings=np.append(law.loadings, law.family_sd))
    return replace(
        structure,
        loadings=np.vstack([structure.loadings, law.loadings]),
        intercepts=np.append(structure.intercepts, law.intercept),
        precision=np.append(structure.precision, law.precision),
        lower=np.append(structure.lower, law.lower),
        upper=np.append(structure.upper, law.upper),
        # a link whose coordinates are all zero is the logistic one
        link=np.vstack([structure.link, np.zeros((1, structure.link.shape[1]))]),
        outliers=None,
    )


def _with_specific_skill(structure):
    """One more skill of unit variance, which nothing loads on and no covariate moves."""

    def widened(matrix):
        return np.hstack([matrix, np.zeros((len(matrix), 1))])

    return replace(
        structure,
        loadings=widened(structure.loadings),
        slopes=widened(structure.slopes),
        skill_cov=block_diag(structure.skill_cov, 1.0),
        scales={name: widened(values) if values.ndim == 2 else values for name, values in structure.scales.items()},
    )


def target_cells(model, target, scored=True):
    """Cells of the families with a score of the target: of J + 1 benchmarks, in users' covariates.

    Parameters
    ----------
    model : LatentSkillModel
    target : Target
    scored : bool
        Whether the target's scores are among the cells.

    Returns
    -------
    Cells
    """
    prepared, codes = model.prepared, model.family_codes
    rows = np.isin(codes, np.unique(codes[target.state >= 0]))
    y = np.column_stack([prepared.y, target.y])[rows]
    state = np.column_stack([prepared.state, target.state if scored else np.full_like(target.state, -1)])[rows]
    _, family = np.unique(codes[rows], return_inverse=True)
    edge = np.append(prepared.edge, target.edge)
    return Cells.from_tables(
        target.score_law, y, state.astype(np.int8), edge, family, model.design.x[rows], model.random_design[rows]
    )


def stable_vector(structure):
    """The structural vector with precisions logged, in which the first stage's estimates are nearly normal."""
    where = layout_of(structure).slices["precision"]
    s = layout_of(structure).flatten(structure)
    s[where] = np.log(s[where])
    return s


# --- the conditional likelihood ----------------------------------------------------------------------------------


class _Problem:
    """l_T plus penalties and its derivatives in zeta and s, up to the first stage's log-likelihood."""

    def __init__(self, structure, model, target):
        self.structure, self.target = structure, target
        self.cells, self.without = target_cells(model, target), target_cells(model, target, scored=False)
        self.n_skills = structure.loadings.shape[1]
        layout = layout_of(self.extend(self._centre()))
        item = len(structure.loadings)
        self.first = np.setdiff1d(np.arange(layout.size), self._positions(layout, item, every=True))
        self.own = self._positions(layout, item)
        self.modes = None

    def _positions(self, layout, item, every=False):
        """Positions of the target's parameters in s, those of zeta in its order, or all that the first stage lacks."""
        loadings, k = layout.index("loadings"), self.n_skills
        names = "pcd" if every else "p" * self.target.score_law.has_precision + self.target.free
        parts = [loadings[item] if every else loadings[item, self.target.skills], layout.index("intercepts")[[item]]]
        parts += [layout.shapes[name][[item]] for name in names]
        if every:
            parts += [layout.index("link")[item], layout.index("outliers")[[item]]]
            by_skill = [name for name, shape in layout.scales if len(shape) == 2]
            parts += [layout.index(name)[:, k:].ravel() for name in ("loadings", "slopes", *by_skill)]
            parts.append(layout.index("skill_cov")[layout.triangle[0] >= k])
            parts.append(layout.index("skill_cov")[layout.triangle[1] >= k])
        elif self.target.family_effect:
            parts.append(loadings[item, [k]])
        return np.unique(np.concatenate(parts)) if every else np.concatenate(parts)

    def _centre(self):
        return np.zeros(self.target.size)

    def extend(self, zeta):
        return extended(self.structure, target_law(self.target, zeta, self.n_skills))

    def carried(self, zeta):
        """d natural / d zeta, (Z,)."""
        return carried(self.target, zeta, self.n_skills)

    def possible(self, structure):
        """Whether the target has a finite precision above zero, and c < d; searches keep off where it has not."""
        precision = structure.precision[-1]
        return bool(0.0 < precision < np.inf and structure.lower[-1] < structure.upper[-1])

    def penalty(self, zeta):
        """Value, gradient (Z,) and curvature (Z, Z) of the penalties."""
        target, q, size = self.target, len(self.target.skills), self.target.size
        weight, centre = np.zeros((size, size)), np.zeros(size)
        if target.shrink is not None:
            cov = self.structure.skill_cov[np.ix_(target.skills, target.skills)]
            weight[:q, :q] = cov / target.shrink**2
        ends = np.arange(size)[target.places["ends"]]
        weight[ends, ends], centre[ends] = 1.0 / DEFAULT_SD**2, target.curves.centre[0]
        pull = -weight @ (zeta - centre)
        value, curvature = 0.5 * float(pull @ (zeta - centre)), -weight
        if target.family_effect:  # log s - s, off zero as ``components.penalty`` has it
            s = abs(zeta[-1])
            value, pull[-1] = value + np.log(s) - s, np.sign(zeta[-1]) * (1.0 / s - 1.0)
            curvature[-1, -1] = -1.0 / s**2
        return value, pull, curvature

    def laplace(self, zeta):
        """Minus the Laplace form, and its gradient in zeta."""
        with np.errstate(over="ignore"):
            structure = self.extend(zeta)
        if not self.possible(structure):
            return REFUSED, np.zeros_like(zeta)
        value, score, modes = laplace(structure, self.cells, self.modes, self.target.free, expected=True)
        if not np.isfinite(value):
            return REFUSED, np.zeros_like(zeta)
        self.modes = modes
        extra, pull, _ = self.penalty(zeta)
        return -value - extra, -(score[self.own] * self.carried(zeta) + pull)

    def evaluate(self, zeta, rule):
        """Log-likelihood of the families, and its score in (zeta, s with logged precisions)."""
        structure = self.extend(zeta)
        value, score, self.modes = _marginal(structure, self.cells, rule, self.modes, self.target.free)
        where = layout_of(structure).slices["precision"]
        logged = score.copy()
        logged[where] *= structure.precision
        own = score[self.own] * self.carried(zeta)
        return value, np.append(own, logged[self.first])

    def conditional(self, zeta, rule):
        """l_T: the families' log-likelihood less that without the target's scores."""
        with_target = self.evaluate(zeta, rule)[0]
        return with_target - _marginal(self.extend(self._centre()), self.without, rule, None, "")[0]


def _marginal(structure, cells, rule, start, shapes):
    """Log-likelihood of all families, score in s, and modes."""
    if rule.kind == "laplace":
        return laplace(structure, cells, start, shapes, expected=True)
    return adaptive(structure, cells, rule.standard(cells.n_families), start, shapes)


def fit_target(model, structure, target, integration=None, start=None):
    """Maximise l_T.

    Parameters
    ----------
    model : LatentSkillModel
        Of the first stage.
    structure : Structure
        Its estimate, in users' covariates.
    target : Target
    integration : {"laplace", "quadrature", "monte_carlo"}, optional
        As ``target_rule``.
    start : array (Z,), optional

    Returns
    -------
    TargetEstimate

    Raises
    ------
    DataError
        For an unknown rule, or one that cannot be had.
    """
    problem = _Problem(structure, model, target)
    rule = target_rule(problem.extend(problem._centre()), integration)
    zeta = first_guess(problem, model) if start is None else np.array(start, dtype=float)
    zeta, _ = scaled_ascent(problem.laplace, zeta, _metric(problem, zeta), 1e-2, 200)

    def function(z):
        with np.errstate(over="ignore"):
            possible = problem.possible(problem.extend(z))
        if not possible:
            return REFUSED, np.zeros_like(z)
        value, score = problem.evaluate(z, rule)
        extra, pull, _ = problem.penalty(z)
        return -value - extra, -(score[: len(z)] + pull)

    scale = _metric(problem, zeta)
    zeta, _ = scaled_ascent(function, zeta, scale, GRADIENT, 100)
    _, score = problem.evaluate(zeta, rule)
    extra, pull, curvature = problem.penalty(zeta)
    step = STEP * np.sqrt(np.sum(scale**2, axis=1))
    moved = jacobian(lambda z: problem.evaluate(z, rule)[1], zeta, step)
    size = target.size
    information = -symmetrise(moved[:size]) - curvature
    gradient, distance = score[:size] + pull, np.nan
    if cholesky_or_none(information) is not None:
        distance = float(np.sqrt(gradient @ np.linalg.solve(information, gradient)))
    loglike, finer = problem.conditional(zeta, rule), finer_rule(problem.extend(zeta), rule)
    difference = np.nan if finer is None else problem.conditional(zeta, finer) - loglike
    return TargetEstimate(zeta, loglike, loglike + extra, difference, information, moved[size:].T, distance, rule)


def target_rule(structure, integration=None):
    """The rule of the second stage: by default a grid in up to four dimensions, Sobol draws beyond.

    Where LLMs have effects, every one of them adds dimensions, and Laplace's approximation is what there is.
    """
    outer, *inner = levels_of(structure)
    dimension = outer.size(len(structure.skill_cov))
    if inner:
        if integration not in (None, "laplace"):
            raise DataError("Where LLMs have effects of their own (llm_effects), say integration='laplace'.")
        return Rule.build("laplace", dimension)
    kind = integration or ("quadrature" if dimension in POINTS else "monte_carlo")
    return Rule.build(kind, dimension, points=POINTS.get(dimension), draws=DRAWS)


def finer_rule(structure, rule):
    """The rule that judges a rule, None if there is none."""
    if rule.kind == "laplace":
        return None if len(levels_of(structure)) > 1 else target_rule(structure)
    return rule.finer() if rule.kind == "quadrature" else rule.doubled()


def first_guess(problem, model):
    """zeta from a ridge regression of logits on skills at the modes of families without the target's scores."""
    target, structure = problem.target, problem.structure
    modes = posterior_modes(problem.extend(problem._centre()), problem.without)
    alpha = np.zeros((model.n_families, modes.alpha.shape[1]))
    seen = np.flatnonzero(target.state >= 0)
    alpha[np.unique(model.family_codes[seen])] = modes.alpha
    theta = (alpha[model.family_codes, : problem.n_skills] + model.design.x @ structure.slopes)[seen][:, target.skills]
    logits = target.score_law.starting_predictor(target.y[seen], target.chance, 1.0)
    middle, spread = theta.mean(axis=0), theta.std(axis=0) + 1e-12
    z = (theta - middle) / spread
    gram = z.T @ z + (0.05 * len(z) + 1.0) * np.eye(z.shape[1])
    centred = logits - logits.mean()
    loadings = np.linalg.solve(gram, z.T @ centred) / spread
    zeta, at = np.zeros(target.size), target.places
    intercept = logits.mean() - middle @ loadings
    zeta[at["loadings"]], zeta[at["intercept"]] = loadings, intercept
    mu = mean_score(intercept + theta @ loadings, target.chance, 1.0)
    zeta[at["precision"]] = np.log(target.score_law.moment_precision(target.y[seen], mu))
    zeta[at["ends"]] = target.curves.centre[0]
    if target.family_effect:
        zeta[-1] = _SPECIFIC_START
    return zeta


def _metric(problem, zeta):
    """Square root of the inverse information of Laplace's form, by differences of its gradient."""
    step = np.full(len(zeta), 1e-3)
    hessian = symmetrise(jacobian(lambda z: problem.laplace(z)[1], zeta, step))
    return scale_from(hessian)


# --- covariance --------------------------------------------------------------------------------------------------


def carried_root(law):
    """Derivative of ``stable_vector``, on the fit's axes of skills, in the standardised directions of its law.

    Parameters
    ----------
    law : ParameterLaw

    Returns
    -------
    array (S, m)
    """
    same = np.array_equal(law.turn, np.eye(len(law.turn)))

    def vector(w):
        found = law.structure(law.centre + law.root @ w)
        return stable_vector(found if same else found.transformed(np.linalg.inv(law.turn)))

    m = law.root.shape[1]
    return jacobian(vector, np.zeros(m), np.full(m, 1e-3))


def target_cov(estimate, root):
    """A^-1 + A^-1 C V C' A^-1 (Z, Z), from V's root (S, m); None takes the first stage as known."""
    own = estimate.own_cov
    if root is None:
        return own
    moved = own @ (estimate.cross @ root)
    return own + moved @ moved.T
