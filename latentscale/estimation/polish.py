"""Algorithms that finish a fit: they maximise accurately from the best points that the search over starts has found.

Each such algorithm is called a driver. They differ in how families' effects are integrated out and in whether they
compute the information. All stop by the same rule. With g the gradient and V the inverse of the information,
sqrt(g' V g) is the length of a Newton step in standard errors of the estimates, so about the distance to the maximum;
a driver stops when it is below ``tolerance``.
"""


from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..errors import DataError
from ..likelihood.modes import Modes
from ..likelihood.objective import Evaluation, Objective
from ..likelihood.rules import MAX_DRAWS, Rule, monte_carlo_error
from ..numerics.differences import jacobian
from ..numerics.linalg import symmetrise
from ..numerics.nodes import StandardNodes
from .ascent import (
    REFUSED,
    LaplaceDescent,
    complete_metric,
    decrement_of,
    rescaled_slopes_at,
    scale_from,
    scaled_ascent,
    settled_ascent,
)

_NEWTON_WITHIN = 1e-2  # standard errors from the maximum; further away a Newton step must raise the log-likelihood
_NEARER = 0.2  # a step with an older information must shorten the distance to this fraction, or a new one is computed
_SADDLE_DIRECTIONS = 3  # along which the search leaves a saddle
_SADDLE_STEPS = (30.0, 10.0, 3.0, 1.0, 0.3)  # with all other parameters held, in standard errors
_LAST_DIGITS = 1e-6  # standard errors from the maximum, where a driver stops if the information is cheap
_SAME_MODES = 1e-2  # log-likelihood units by which values at modes searched afresh and at carried modes may differ
_STEPS = (1e-3, 1e-4, 1e-5)  # relative step sizes of differences of the gradient, tried one after another


@dataclass(frozen=True)
class Maximum:
    """The point at which a driver stopped, and what it knows of the log-likelihood there.

    Attributes
    ----------
    u : array (P,)
        The point in the coordinates of the optimiser.
    value, loglike : float
        The log-likelihood with its penalties, and without them.
    gradient : array (P,)
        Of ``value`` in u.
    information : array (P, P)
        Minus the Hessian of ``value`` in u; NaN if the driver does without it.
    decrement : float
        Distance sqrt(g' V g) to the maximum in standard errors; NaN where the information is not positive definite.
    rounds : int
        How often the driver began anew with other nodes, another information or another metric.
    evaluations : int
        Passes over the data.
    converged : bool
        Whether the distance is below the tolerance.
    rule : Rule
        The rule of integration, with the number of draws that the fit needed.
    """

    u: np.ndarray
    value: float
    loglike: float
    gradient: np.ndarray
    information: np.ndarray
    decrement: float
    rounds: int
    evaluations: int
    converged: bool
    rule: Rule


def laplace_information(objective: Objective, u: np.ndarray, modes: Modes) -> np.ndarray:
    """Return minus the Hessian of the Laplace objective in u, array (P, P), with NaN where there is none.

    It is computed exactly; where a family's curvature at its mode is not positive definite, by fourth-order differences
    of the exact gradient. Close to a point where a family's posterior begins to have two modes there may be no Laplace
    approximation a step away from u; smaller steps are then tried.
    """
    hessian = objective.laplace_hessian(u, modes)
    if np.isfinite(hessian).all():
        return -symmetrise(hessian)
    nowhere = np.full(len(u), np.nan)

    def gradient(point: np.ndarray) -> np.ndarray:
        slope = objective.laplace(point, modes)[0].gradient
        return nowhere if slope is None else slope

    for size in _STEPS:
        hessian = jacobian(gradient, u, size * np.maximum(1.0, np.abs(u)))
        if np.isfinite(hessian).all():
            break
    return -symmetrise(hessian)


def polish_laplace(
    objective: Objective, rule: Rule, u: np.ndarray, tolerance: float, report: Callable[..., None], max_rounds: int = 12
) -> Maximum:
    """Maximise the Laplace objective by Newton's steps where they succeed, and else by BFGS scaled by the information.

    Close to the maximum the values that a line search compares differ by less than their rounding errors. A Newton step
    needs no such comparison, and the information is exact here. Where the information is not positive definite, the
    search first goes along the directions in which the objective bends upwards.
    """
    goal, near = min(tolerance, _LAST_DIGITS), max(0.1 * tolerance, _NEWTON_WITHIN)
    evaluations, before = 0, np.inf
    for rounds in range(1, max_rounds + 1):
        evaluation, modes = objective.laplace(u)
        _require_finite(evaluation)
        information = laplace_information(objective, u, modes)
        evaluations += 1
        if not np.isfinite(information).all():
            decrement = np.nan
            break
        decrement = decrement_of(evaluation.gradient, information)
        report(rounds, evaluation.loglike, decrement, u)
        stalled = before < _NEWTON_WITHIN and not decrement < before
        if decrement < goal or stalled:
            break
        before = decrement
        if np.isfinite(decrement):
            end, passes = _newton(objective, u, evaluation, modes, information)
            evaluations += passes
            if passes > 1:
                u = end
                continue
        else:  # a saddle, or near one: gradients there are small, and a search by gradients would end
            end, passes = _off_saddle(objective, u, evaluation, information)
            evaluations += passes
        descent = LaplaceDescent(objective)
        end, _ = scaled_ascent(descent, end, scale_from(information), near, 200, objective.space)
        evaluations += descent.evaluations
        if np.array_equal(end, u):
            break
        u = end
    return _maximum(u, evaluation, information, decrement, rounds, evaluations, tolerance, rule)


def _off_saddle(
    objective: Objective, u: np.ndarray, evaluation: Evaluation, information: np.ndarray
) -> tuple[np.ndarray, int]:
    """Return the best point along directions of negative information, and the passes over the data.

    In units in which the information has a unit diagonal, steps of both signs are tried along each of the most negative
    eigenvectors, one after the other.
    """
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(information)), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(information * np.outer(scale, scale))
    best, highest, passes = u, evaluation.value, 0
    for value, vector in zip(values[:_SADDLE_DIRECTIONS], vectors.T, strict=False):
        if value >= 0.0:
            break
        start = best
        for size in _SADDLE_STEPS:
            for sign in (1.0, -1.0):
                point = start + sign * size * scale * vector
                trial = objective.laplace(point)[0]
                passes += 1
                if trial.gradient is not None and trial.value > highest:
                    best, highest = point, trial.value
    return best, passes


def _newton(
    objective: Objective, u: np.ndarray, evaluation: Evaluation, modes: Modes, information: np.ndarray
) -> tuple[np.ndarray, int]:
    """Take Newton's steps with one and the same information for as long as each comes much nearer to the maximum.

    The information costs ten passes and more, and near the maximum it hardly changes.

    Returns
    -------
    (array (P,), int)
        Where the last successful step ends, and the passes over the data: one if no step succeeded.
    """
    factor, passes = cho_factor(information, lower=True), 0
    step = cho_solve(factor, evaluation.gradient)
    before = np.sqrt(evaluation.gradient @ step)
    while True:
        rescaled = rescaled_slopes_at(objective.space, u)
        proposal = u + step if rescaled is None else rescaled.u(u + rescaled.steps(step))
        trial, trial_modes = objective.laplace(proposal, modes)
        passes += 1
        if trial.gradient is None or (before > _NEWTON_WITHIN and not trial.value > evaluation.value):
            return u, passes
        next_step = cho_solve(factor, trial.gradient)
        after = np.sqrt(max(trial.gradient @ next_step, 0.0))
        if not after < _NEARER * before:
            return u, passes
        u, evaluation, modes, step, before = proposal, trial, trial_modes, next_step, after


def settle_laplace(
    objective: Objective, rule: Rule, u: np.ndarray, tolerance: float, report: Callable[..., None], max_rounds: int = 4
) -> Maximum:
    """Maximise the Laplace objective without its information, for fits whose standard errors nobody wants.

    Each round runs BFGS in the metric of the complete-data information at its start. It ends with the distance to the
    maximum by the curvature that BFGS has built up; this curvature says nothing of directions that BFGS did not take.
    Rounds end when that distance is within ``tolerance`` (but no less than 1e-3), or when a round does not move. The
    value must also agree with that at modes searched afresh, because modes are otherwise followed from one point to the
    next, and a family may have been carried along in a mode that is no longer its highest.
    """
    evaluations, no_information = 0, np.full((len(u), len(u)), np.nan)
    goal = max(tolerance, 1e-3)
    for rounds in range(1, max_rounds + 1):
        descent = LaplaceDescent(objective)
        end, _, distance = settled_ascent(descent, u, complete_metric(objective, u), 0.1 * goal, 500)
        evaluations += descent.evaluations
        unmoved = rounds > 1 and np.array_equal(end, u)
        u = end
        report(rounds, np.nan, distance, u)
        evaluation, _ = objective.laplace(u)
        carried = not abs(evaluation.value + descent(u)[0]) < _SAME_MODES
        if unmoved or (distance < goal and not carried):
            break
    distance = np.nan if carried else distance
    _require_finite(evaluation)
    return _maximum(u, evaluation, no_information, distance, rounds, evaluations, goal, rule)


def polish_nodes(
    objective: Objective, rule: Rule, u: np.ndarray, tolerance: float, report: Callable[..., None], max_rounds: int = 12
) -> Maximum:
    """Maximise the log-likelihood on nodes that move with u (``Objective.moving``).

    Each round computes the information at u, by Louis's identity on the nodes adapted there, and stops if the Newton
    step is within ``tolerance``. Otherwise it climbs by BFGS in the metric of this information. A Monte Carlo rule
    doubles its draws when the information is not positive definite, or when at the maximum the standard error of the
    log-likelihood is larger than ``rule.tolerance``.
    """
    evaluations, alpha = 0, None
    standard = rule.standard(objective.cells.n_families)
    for rounds in range(1, max_rounds + 1):
        frozen, modes = objective.adapted(u, standard, 2, alpha)
        alpha = modes.alpha
        _require_finite(frozen)
        evaluation, _ = objective.moving(u, standard, alpha)
        evaluations += 2
        by_rule = -symmetrise(frozen.hessian)
        information, decrement = informed(objective, rule, u, modes, evaluation.gradient, by_rule, tolerance)
        report(rounds, evaluation.loglike, decrement, u)
        if wants_more_draws(objective, rule, u, standard, decrement, tolerance):
            rule = rule.doubled()
            standard = rule.standard(objective.cells.n_families)
            continue
        if decrement < tolerance:
            break
        ascent = MovingAscent(objective, standard, alpha)
        end, count = scaled_ascent(ascent, u, scale_from(information), 0.1 * tolerance, 200)
        evaluations += count
        if np.array_equal(end, u):
            break
        u = end
    return _maximum(u, evaluation, information, decrement, rounds, evaluations, tolerance, rule)


def informed(
    objective: Objective,
    rule: Rule,
    u: np.ndarray,
    modes: Modes,
    gradient: np.ndarray,
    information: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, float]:
    """Return the information (P, P) that is to be used at u, and the distance to the maximum by it.

    ``information`` is what the rule of integration gives at u. By Monte Carlo it has an error, which hardly matters on
    the way to the maximum but would be seen in standard errors. Once the distance is below ``tolerance`` the
    information of the better rule ``Rule.for_information`` therefore takes its place, if that is positive definite.
    """
    decrement = decrement_of(gradient, information)
    if rule.kind != "monte_carlo" or decrement >= tolerance:
        return information, decrement
    better = rule_information(objective, rule.for_information(), u, modes)
    distance = decrement_of(gradient, better)
    return (better, distance) if np.isfinite(distance) else (information, decrement)


def rule_information(objective: Objective, rule: Rule, u: np.ndarray, modes: Modes | None = None) -> np.ndarray:
    """Return minus the Hessian of the penalised log-likelihood in the objective's coordinates u, array (P, P)."""
    if rule.kind == "laplace":
        return laplace_information(objective, u, objective.modes(u) if modes is None else modes)
    start = None if modes is None else modes.alpha
    evaluation, _ = objective.adapted(u, rule.standard(objective.cells.n_families), 2, start)
    return np.full((len(u), len(u)), np.nan) if evaluation.hessian is None else -symmetrise(evaluation.hessian)


class MovingAscent:
    """Minus the objective on moving nodes, and its gradient; modes are searched from those of the last call."""

    def __init__(self, objective: Objective, standard: StandardNodes, alpha: np.ndarray | None = None) -> None:
        self.objective, self.standard, self.alpha = objective, standard, alpha

    def __call__(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        evaluation, modes = self.objective.moving(u, self.standard, self.alpha)
        if not np.isfinite(evaluation.value):
            return REFUSED, np.zeros_like(u)
        self.alpha = modes.alpha
        return -evaluation.value, -evaluation.gradient


def _require_finite(evaluation: Evaluation) -> None:
    """Refuse to go on from a point at which there is no log-likelihood."""
    if not np.isfinite(evaluation.value):
        raise DataError(
            "The log-likelihood is not finite where the search ended. Check for scores that jump between extremes "
            "within a family; try more starts, another integration rule, or start_params."
        )


def wants_more_draws(
    objective: Objective, rule: Rule, u: np.ndarray, standard: StandardNodes, decrement: float, tolerance: float
) -> bool:
    """Return whether a Monte Carlo rule has too few draws.

    They are too few if at the maximum the standard error of the log-likelihood is larger than ``rule.tolerance``, or if
    the information is not positive definite, so that ``decrement`` is NaN, though Laplace's, which has no error of
    draws, is. If neither is, the point is no maximum, and no number of draws makes it one.
    """
    if rule.kind != "monte_carlo" or rule.draws >= MAX_DRAWS:
        return False
    if not np.isfinite(decrement):
        by_laplace = laplace_information(objective, u, objective.modes(u))
        return not np.isfinite(by_laplace).all() or float(np.linalg.eigvalsh(by_laplace)[0]) > 0.0
    return decrement < tolerance and monte_carlo_error(objective, u, standard).se > rule.tolerance


def _maximum(
    u: np.ndarray,
    evaluation: Evaluation,
    information: np.ndarray,
    decrement: float,
    rounds: int,
    evaluations: int,
    tolerance: float,
    rule: Rule,
) -> Maximum:
    """Return the Maximum at u, which has converged if ``decrement`` is below ``tolerance``."""
    return Maximum(
        u, evaluation.value, evaluation.loglike, evaluation.gradient, information, decrement,
        rounds, evaluations, bool(decrement < tolerance), rule,
    )  # fmt: skip
