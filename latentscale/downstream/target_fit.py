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

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..components.cells import Cells
from ..components.complete import layout_of
from ..components.curve import mean_score
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
from .target import Target, carried, extended, stable_vector, target_cells, target_law

if TYPE_CHECKING:
    from ..components.cells import Cells
    from ..likelihood.modes import Modes
    from ..model import LatentSkillModel
    from ..parameters.structure import Layout, Structure
    from ..prediction.parameter_law import ParameterLaw

POINTS = {1: 15, 2: 9, 3: 7, 4: 4}
DRAWS = 128  # a scrambling, in more dimensions
GRADIENT = 1e-4  # in standard errors, where the ascent stops
STEP = 0.05  # of differences, in standard errors: their error is of order STEP^4
_SPECIFIC_START = 0.5


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
    rule: Rule

    @property
    def own_cov(self) -> np.ndarray:
        """A^-1, were the first stage known (Z, Z)."""
        return np.linalg.inv(self.information)


# --- the conditional likelihood ----------------------------------------------------------------------------------


class _Problem:
    """l_T plus penalties and its derivatives in zeta and s, up to the first stage's log-likelihood."""

    def __init__(self, structure: Structure, model: LatentSkillModel, target: Target) -> None:
        self.structure, self.target = structure, target
        self.cells, self.without = target_cells(model, target), target_cells(model, target, scored=False)
        self.n_skills = structure.loadings.shape[1]
        layout = layout_of(self.extend(self._centre()))
        item = len(structure.loadings)
        self.first = np.setdiff1d(np.arange(layout.size), self._positions(layout, item, every=True))
        self.own = self._positions(layout, item)
        self.modes: Modes | None = None

    def _positions(self, layout: Layout, item: int, every: bool = False) -> np.ndarray:
        """Positions of the target's parameters in s, those of zeta in its order, or all that the first stage lacks."""
        loadings, k = layout.index("loadings"), self.n_skills
        names = "pcd" if every else "p" * self.target.score_law.has_precision + self.target.free
        parts = [loadings[item] if every else loadings[item, self.target.skills], layout.index("intercepts")[[item]]]
        parts += [layout.shapes[name][[item]] for name in names]
        if every:
            parts.append(layout.index("link")[item])
            by_skill = [name for name, shape in layout.scales if len(shape) == 2]
            parts += [layout.index(name)[:, k:].ravel() for name in ("loadings", "slopes", *by_skill)]
            parts.append(layout.index("skill_cov")[layout.triangle[0] >= k])
            parts.append(layout.index("skill_cov")[layout.triangle[1] >= k])
        elif self.target.family_effect:
            parts.append(loadings[item, [k]])
        return np.unique(np.concatenate(parts)) if every else np.concatenate(parts)

    def _centre(self) -> np.ndarray:
        return np.zeros(self.target.size)

    def extend(self, zeta: np.ndarray) -> Structure:
        return extended(self.structure, target_law(self.target, zeta, self.n_skills))

    def carried(self, zeta: np.ndarray) -> np.ndarray:
        """d natural / d zeta, (Z,)."""
        return carried(self.target, zeta, self.n_skills)

    def possible(self, structure: Structure) -> bool:
        """Whether the target has a finite precision above zero, and c < d; searches keep off where it has not."""
        precision = structure.precision[-1]
        return bool(0.0 < precision < np.inf and structure.lower[-1] < structure.upper[-1])

    def penalty(self, zeta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
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

    def laplace(self, zeta: np.ndarray) -> tuple[float, np.ndarray]:
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

    def evaluate(self, zeta: np.ndarray, rule: Rule) -> tuple[float, np.ndarray]:
        """Log-likelihood of the families, and its score in (zeta, s with logged precisions)."""
        structure = self.extend(zeta)
        value, score, self.modes = _marginal(structure, self.cells, rule, self.modes, self.target.free)
        where = layout_of(structure).slices["precision"]
        logged = score.copy()
        logged[where] *= structure.precision
        own = score[self.own] * self.carried(zeta)
        return value, np.append(own, logged[self.first])

    def conditional(self, zeta: np.ndarray, rule: Rule) -> float:
        """l_T: the families' log-likelihood less that without the target's scores."""
        with_target = self.evaluate(zeta, rule)[0]
        return with_target - _marginal(self.extend(self._centre()), self.without, rule, None, "")[0]


def _marginal(
    structure: Structure, cells: Cells, rule: Rule, start: Modes | None, shapes: str
) -> tuple[float, np.ndarray, Modes]:
    """Log-likelihood of all families, score in s, and modes."""
    if rule.kind == "laplace":
        return laplace(structure, cells, start, shapes, expected=True)
    return adaptive(structure, cells, rule.standard(cells.n_families), start, shapes)


def fit_target(
    model: LatentSkillModel,
    structure: Structure,
    target: Target,
    integration: str | None = None,
    start: np.ndarray | None = None,
) -> TargetEstimate:
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

    def function(z: np.ndarray) -> tuple[float, np.ndarray]:
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


def target_rule(structure: Structure, integration: str | None = None) -> Rule:
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


def finer_rule(structure: Structure, rule: Rule) -> Rule | None:
    """The rule that judges a rule, None if there is none."""
    if rule.kind == "laplace":
        return None if len(levels_of(structure)) > 1 else target_rule(structure)
    return rule.finer() if rule.kind == "quadrature" else rule.doubled()


def first_guess(problem: _Problem, model: LatentSkillModel) -> np.ndarray:
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


def _metric(problem: _Problem, zeta: np.ndarray) -> np.ndarray:
    """Square root of the inverse information of Laplace's form, by differences of its gradient."""
    step = np.full(len(zeta), 1e-3)
    hessian = symmetrise(jacobian(lambda z: problem.laplace(z)[1], zeta, step))
    return scale_from(hessian)


# --- covariance --------------------------------------------------------------------------------------------------


def carried_root(law: ParameterLaw) -> np.ndarray:
    """Derivative of ``stable_vector``, on the fit's axes of skills, in the standardised directions of its law.

    Parameters
    ----------
    law : ParameterLaw

    Returns
    -------
    array (S, m)
    """
    same = np.array_equal(law.turn, np.eye(len(law.turn)))

    def vector(w: np.ndarray) -> np.ndarray:
        found = law.structure(law.centre + law.root @ w)
        return stable_vector(found if same else found.transformed(np.linalg.inv(law.turn)))

    m = law.root.shape[1]
    return jacobian(vector, np.zeros(m), np.full(m, 1e-3))


def target_cov(estimate: TargetEstimate, root: np.ndarray | None) -> np.ndarray:
    """A^-1 + A^-1 C V C' A^-1 (Z, Z), from V's root (S, m); None takes the first stage as known."""
    own = estimate.own_cov
    if root is None:
        return own
    moved = own @ (estimate.cross @ root)
    return own + moved @ moved.T
