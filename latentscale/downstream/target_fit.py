"""Fit of a regression of a further benchmark, the target, on skills that are known with error.

The first stage is the fit of a latent skill model, with estimates of its parameters xi. The target T is one more
benchmark, whose scores have the law of the fit (``components.score_laws``), by default

    Y_iT ~ Beta(mu phi, (1 - mu) phi),  mu = c + (d - c) F(lambda' theta_i + b + u_l),  c < d.

u_l ~ N(0, s^2) is a specific factor: ability of families on the target that none of the benchmarks measures. It is
treated as one more skill, on which the target alone loads, with loading s. The coordinates zeta = (lambda, b; log phi
if the law has a precision; logit c and logit d if they are free; s if there is a u_l) maximise the conditional
log-likelihood

    l_T(zeta; xi) = sum_l log E[ prod_{i in l} f(y_iT | theta_i, zeta) | y_l, xi ]

at the estimate of xi. The expectation is over the posterior of a family's effects given its benchmark scores, so that
the uncertainty of the skills is integrated out. log E[.] is the difference of two marginal log-likelihoods, with the
target's scores and without, and the second does not depend on zeta. So l_T is maximised by the integration rules that
fit the other benchmarks, on nodes adapted to all scores of a family.

The gradient of a conditional log-likelihood is uncorrelated with that of the log-likelihood of what is conditioned on.
With A = -d2 l_T / dzeta dzeta', C = d2 l_T / dzeta dxi' and the covariance V of the estimate of xi, the estimate of
zeta therefore has the covariance A^-1 + A^-1 C V C' A^-1 (Murphy and Topel 1985).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..components.cells import Cells
from ..components.curve import mean_score
from ..components.levels import levels_of
from ..components.linear_predictor import layout_of
from ..components.penalty import DEFAULT_SD
from ..errors import DataError
from ..estimation.ascent import REFUSED, scale_from, scaled_ascent
from ..likelihood.adaptive_nodes import adaptive
from ..likelihood.laplace import laplace
from ..likelihood.modes import posterior_modes
from ..likelihood.rules import Rule
from ..numerics.differences import jacobian
from ..numerics.linalg import cholesky_or_none, symmetrise
from .target import Target, extended, natural_derivatives, stable_vector, target_cells, target_law

if TYPE_CHECKING:
    from ..components.cells import Cells
    from ..likelihood.modes import Modes
    from ..model import LatentSkillModel
    from ..parameters.structure import Layout, Structure
    from ..prediction.parameter_law import ParameterLaw

POINTS = {1: 15, 2: 9, 3: 7, 4: 4}  # quadrature nodes per dimension, by the number of dimensions
DRAWS = 128  # Monte Carlo draws per scrambling, in more dimensions
GRADIENT = 1e-4  # the ascent stops where the gradient is that small, in standard errors
STEP = 0.05  # step of finite differences, in standard errors; their error is of order STEP^4
_SPECIFIC_START = 0.5  # starting value of s


@dataclass(frozen=True)
class TargetEstimate:
    """Estimate of a regression on skills, the second stage.

    Attributes
    ----------
    zeta : array (Z,)
        Coordinates.
    loglike, penalised : float
        l_T without and with penalties.
    difference : float
        l_T by a finer integration rule minus ``loglike``; NaN where there is none.
    information : array (Z, Z)
        A, with the curvature of the penalties.
    cross : array (Z, S)
        C, with respect to ``stable_vector`` of the first stage.
    distance : float
        sqrt(g' A^-1 g) for the last gradient g: its size in standard errors. NaN if A is not positive definite.
    rule : Rule
        How the skills are integrated out.
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
    def cov_known_skills(self) -> np.ndarray:
        """Covariance A^-1 (Z, Z) of zeta if the parameters of the first stage were known."""
        return np.linalg.inv(self.information)


# --- the conditional likelihood ----------------------------------------------------------------------------------


class _Problem:
    """The log-likelihood of all scores of the families in question, as a function of zeta, and the penalties.

    It differs from l_T by the log-likelihood of the benchmark scores, which does not depend on zeta.
    """

    def __init__(self, structure: Structure, model: LatentSkillModel, target: Target) -> None:
        self.structure, self.target = structure, target
        self.cells, self.benchmark_cells = target_cells(model, target), target_cells(model, target, False)
        self.n_skills = structure.loadings.shape[1]
        layout = layout_of(self.extend(self._centre()))
        item = len(structure.loadings)
        # positions in the structural vector of all scores: of the first stage's parameters, and of zeta's
        self.first_stage = np.setdiff1d(np.arange(layout.size), self._positions(layout, item, every=True))
        self.of_target = self._positions(layout, item)
        self.modes: Modes | None = None

    def _positions(self, layout: Layout, item: int, every: bool = False) -> np.ndarray:
        """Return positions in the structural vector: of the parameters in zeta, in the order of zeta.

        With ``every`` of all parameters that the first stage does not have, free or fixed, in ascending order.
        """
        loadings, k = layout.index("loadings"), self.n_skills
        names = "pcd" if every else "p" * self.target.score_law.has_precision + self.target.free
        positions = [
            loadings[item] if every else loadings[item, self.target.skills],
            layout.index("intercepts")[[item]],
        ]
        positions += [layout.shapes[name][[item]] for name in names]
        if every:
            positions.append(layout.index("link")[item])
            by_skill = [name for name, shape in layout.scales if len(shape) == 2]
            positions += [layout.index(name)[:, k:].ravel() for name in ("loadings", "slopes", *by_skill)]
            positions.append(layout.index("skill_cov")[layout.triangle[0] >= k])
            positions.append(layout.index("skill_cov")[layout.triangle[1] >= k])
        elif self.target.family_effect:
            positions.append(loadings[item, [k]])
        return np.unique(np.concatenate(positions)) if every else np.concatenate(positions)

    def _centre(self) -> np.ndarray:
        """Return coordinates of zero, for where the target's parameters do not matter."""
        return np.zeros(self.target.size)

    def extend(self, zeta: np.ndarray) -> Structure:
        """Return the parameters of all J + 1 benchmarks."""
        return extended(self.structure, target_law(self.target, zeta, self.n_skills))

    def natural_derivatives(self, zeta: np.ndarray) -> np.ndarray:
        """Return the derivative of each parameter with respect to its coordinate, array (Z,)."""
        return natural_derivatives(self.target, zeta, self.n_skills)

    def possible(self, structure: Structure) -> bool:
        """Return whether the target has a positive, finite precision and c < d; searches do not go where it has not."""
        precision = structure.precision[-1]
        return bool(0.0 < precision < np.inf and structure.lower[-1] < structure.upper[-1])

    def penalty(self, zeta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the value, the gradient (Z,) and the second derivatives (Z, Z) of the penalties."""
        target, q, size = self.target, len(self.target.skills), self.target.size
        weight, centre = np.zeros((size, size)), np.zeros(size)
        if target.shrink is not None:
            cov = self.structure.skill_cov[np.ix_(target.skills, target.skills)]
            weight[:q, :q] = cov / target.shrink**2
        ends = np.arange(size)[target.places["ends"]]
        weight[ends, ends], centre[ends] = 1.0 / DEFAULT_SD**2, target.curves.centre[0]
        pull = -weight @ (zeta - centre)
        value, curvature = 0.5 * float(pull @ (zeta - centre)), -weight
        if target.family_effect:  # log s - s keeps s off zero, as in ``components.penalty``
            s = abs(zeta[-1])
            value, pull[-1] = value + np.log(s) - s, np.sign(zeta[-1]) * (1.0 / s - 1.0)
            curvature[-1, -1] = -1.0 / s**2
        return value, pull, curvature

    def laplace(self, zeta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return minus the penalised log-likelihood by Laplace's approximation, and its gradient (Z,)."""
        with np.errstate(over="ignore"):
            structure = self.extend(zeta)
        if not self.possible(structure):
            return REFUSED, np.zeros_like(zeta)
        value, score, modes = laplace(structure, self.cells, self.modes, self.target.free, expected=True)
        if not np.isfinite(value):
            return REFUSED, np.zeros_like(zeta)
        self.modes = modes
        extra, pull, _ = self.penalty(zeta)
        return -value - extra, -(score[self.of_target] * self.natural_derivatives(zeta) + pull)

    def evaluate(self, zeta: np.ndarray, rule: Rule) -> tuple[float, np.ndarray]:
        """Return the log-likelihood without penalties, and its gradient in zeta and in the first stage's parameters.

        The latter are those of ``stable_vector``, with the logarithms of precisions.
        """
        structure = self.extend(zeta)
        value, score, self.modes = _marginal(structure, self.cells, rule, self.modes, self.target.free)
        where = layout_of(structure).slices["precision"]
        in_logs = score.copy()
        in_logs[where] *= structure.precision
        in_zeta = score[self.of_target] * self.natural_derivatives(zeta)
        return value, np.append(in_zeta, in_logs[self.first_stage])

    def conditional(self, zeta: np.ndarray, rule: Rule) -> float:
        """Return l_T: the log-likelihood of all scores less that of the benchmark scores."""
        with_target = self.evaluate(zeta, rule)[0]
        return with_target - _marginal(self.extend(self._centre()), self.benchmark_cells, rule, None, "")[0]


def _marginal(
    structure: Structure, cells: Cells, rule: Rule, start: Modes | None, shapes: str
) -> tuple[float, np.ndarray, Modes]:
    """Return the log-likelihood of all families, its gradient in the structural vector, and the posterior modes."""
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
    """Maximise the penalised conditional log-likelihood l_T.

    Parameters
    ----------
    model : LatentSkillModel
        The model of the first stage.
    structure : Structure
        Its estimates, with slopes of the covariates as the user gave them.
    target : Target
    integration : {"laplace", "quadrature", "monte_carlo"}, optional
        As for ``target_rule``.
    start : array (Z,), optional
        Coordinates at which to start; by default ``first_guess``.

    Returns
    -------
    TargetEstimate

    Raises
    ------
    DataError
        For an unknown rule, or one that the model does not allow.
    """
    problem = _Problem(structure, model, target)
    rule = target_rule(problem.extend(problem._centre()), integration)
    zeta = first_guess(problem, model) if start is None else np.array(start, dtype=float)
    zeta, _ = scaled_ascent(problem.laplace, zeta, _metric(problem, zeta), 1e-2, 200)

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(over="ignore"):
            possible = problem.possible(problem.extend(z))
        if not possible:
            return REFUSED, np.zeros_like(z)
        value, score = problem.evaluate(z, rule)
        extra, pull, _ = problem.penalty(z)
        return -value - extra, -(score[: len(z)] + pull)

    scale = _metric(problem, zeta)
    zeta, _ = scaled_ascent(negative, zeta, scale, GRADIENT, 100)
    _, score = problem.evaluate(zeta, rule)
    extra, pull, curvature = problem.penalty(zeta)
    step = STEP * np.sqrt(np.sum(scale**2, axis=1))
    derivatives = jacobian(lambda z: problem.evaluate(z, rule)[1], zeta, step)
    size = target.size
    information = -symmetrise(derivatives[:size]) - curvature
    gradient, distance = score[:size] + pull, np.nan
    if cholesky_or_none(information) is not None:
        distance = float(np.sqrt(gradient @ np.linalg.solve(information, gradient)))
    loglike, finer = problem.conditional(zeta, rule), finer_rule(problem.extend(zeta), rule)
    difference = np.nan if finer is None else problem.conditional(zeta, finer) - loglike
    return TargetEstimate(zeta, loglike, loglike + extra, difference, information, derivatives[size:].T, distance, rule)


def target_rule(structure: Structure, integration: str | None = None) -> Rule:
    """Return the integration rule: by default quadrature in up to four dimensions, and else Sobol draws.

    Where LLMs have effects the dimension grows with their number, and only Laplace's approximation is possible.
    """
    outer, *inner = levels_of(structure)
    dimension = outer.size
    if inner:
        if integration not in (None, "laplace"):
            raise DataError("Where LLMs have effects of their own (llm_effects), say integration='laplace'.")
        return Rule.build("laplace", dimension)
    kind = integration or ("quadrature" if dimension in POINTS else "monte_carlo")
    return Rule.build(kind, dimension, points=POINTS.get(dimension), draws=DRAWS)


def finer_rule(structure: Structure, rule: Rule) -> Rule | None:
    """Return a finer rule, by which the error of a rule is estimated; None if there is none."""
    if rule.kind == "laplace":
        return None if len(levels_of(structure)) > 1 else target_rule(structure)
    return rule.finer() if rule.kind == "quadrature" else rule.doubled()


def first_guess(problem: _Problem, model: LatentSkillModel) -> np.ndarray:
    """Return starting coordinates, from a ridge regression of the scores' logits on skills.

    The skills are those at the posterior modes of the families' effects given the benchmark scores.
    """
    target, structure = problem.target, problem.structure
    modes = posterior_modes(problem.extend(problem._centre()), problem.benchmark_cells)
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
    """Return a root of the inverse information by Laplace's approximation, from differences of its gradient."""
    step = np.full(len(zeta), 1e-3)
    hessian = symmetrise(jacobian(lambda z: problem.laplace(z)[1], zeta, step))
    return scale_from(hessian)


# --- covariance --------------------------------------------------------------------------------------------------


def first_stage_root(law: ParameterLaw) -> np.ndarray:
    """Return a root of the covariance V of the first stage: V = R R', for its ``stable_vector``.

    R is the derivative of that vector in the standardised coordinates of the law of the estimates, on the axes of the
    fit's skills.

    Parameters
    ----------
    law : ParameterLaw

    Returns
    -------
    array (S, m)
    """
    same = np.array_equal(law.turn, np.eye(len(law.turn)))

    def vector(w: np.ndarray) -> np.ndarray:
        structure = law.structure(law.centre + law.root @ w)
        return stable_vector(structure if same else structure.transformed(np.linalg.inv(law.turn)))

    m = law.root.shape[1]
    return jacobian(vector, np.zeros(m), np.full(m, 1e-3))


def target_cov(estimate: TargetEstimate, root: np.ndarray | None) -> np.ndarray:
    """Return A^-1 + A^-1 C V C' A^-1 (Z, Z) from a root (S, m) of V; A^-1 alone if that is None."""
    cov = estimate.cov_known_skills
    if root is None:
        return cov
    from_first_stage = cov @ (estimate.cross @ root)
    return cov + from_first_stage @ from_first_stage.T
