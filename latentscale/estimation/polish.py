"""Drivers that end a fit: maximisation to the accuracy of the rule, from the best ends of the search.

Distances are measured in standard errors: with V the inverse information, g' V g is the squared length of a
Newton step in units of the estimates' standard errors. It is what every driver stops on.
"""


from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..components.levels import levels_in
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

_NEWTON_WITHIN = 1e-2  # standard errors: steps further away must gain
_NEARER = 0.2  # of the distance that a step must leave at most, for the next to be taken with the same information
_LAST_DIGITS = 1e-6  # standard errors
_SAME_MODES = 1e-2  # log-likelihood units
_STEPS = (1e-3, 1e-4, 1e-5)  # of differences of Laplace's gradient, relative


@dataclass(frozen=True)
class Maximum:
    """Where a driver stopped.

    Attributes
    ----------
    u : array (P,)
    value, loglike : float
        Penalised log-likelihood and the plain one.
    gradient : array (P,)
    information : array (P, P)
        Minus the Hessian of the penalised log-likelihood in u.
    decrement : float
        sqrt(g' V g), the distance to the optimum in standard errors; NaN where the information is not
        positive definite.
    rounds, evaluations : int
        Adaptations of the nodes; passes over the data.
    converged : bool
    rule : Rule
        With the number of draws that was needed.
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
    """Minus the Hessian of the Laplace objective in u; NaN where there is none.

    Where there are effects of units within families, or a family's curvature at its mode is not positive definite, by
    fourth-order differences of the exact gradient. Steps shrink where there is no Laplace approximation a step away
    from u, as a family's posterior is about to have two modes there.
    """
    if len(levels_in(objective.space.layout)) == 1:
        hessian = objective.laplace_hessian(u, modes)
        if np.isfinite(hessian).all():
            return -symmetrise(hessian)
    nowhere = np.full(len(u), np.nan)

    def gradient(point: np.ndarray) -> np.ndarray:
        found = objective.laplace(point, modes)[0].gradient
        return nowhere if found is None else found

    for size in _STEPS:
        hessian = jacobian(gradient, u, size * np.maximum(1.0, np.abs(u)))
        if np.isfinite(hessian).all():
            break
    return -symmetrise(hessian)


def polish_laplace(
    objective: Objective, rule: Rule, u: np.ndarray, tolerance: float, report: Callable[..., None], max_rounds: int = 12
) -> Maximum:
    """Maximise the Laplace objective: Newton's steps where they gain, else BFGS scaled by its own information.

    Close to the optimum a line search compares values that differ by less than their rounding; the Newton step,
    whose information is exact here, needs no such comparison.
    """
    # an information by differences costs hundreds of passes, one more round to the last digits does not otherwise
    costly = len(levels_in(objective.space.layout)) > 1
    goal = tolerance if costly else min(tolerance, _LAST_DIGITS)
    near = 0.1 * tolerance if costly else max(0.1 * tolerance, _NEWTON_WITHIN)
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
            moved, passes = _newton(objective, u, evaluation, modes, information)
            evaluations += passes
            if passes > 1:
                u = moved
                continue
        descent = LaplaceDescent(objective)
        moved, _ = scaled_ascent(descent, u, scale_from(information), near, 200, objective.space)
        evaluations += descent.evaluations
        if np.array_equal(moved, u):
            break
        u = moved
    return _maximum(u, evaluation, information, decrement, rounds, evaluations, tolerance, rule)


def _newton(
    objective: Objective, u: np.ndarray, evaluation: Evaluation, modes: Modes, information: np.ndarray
) -> tuple[np.ndarray, int]:
    """Newton's steps with one information, as long as each comes much nearer: where they end, and passes (one if none).

    An information costs ten passes and more; near the optimum it hardly changes.
    """
    factor, passes = cho_factor(information, lower=True), 0
    step = cho_solve(factor, evaluation.gradient)
    before = np.sqrt(evaluation.gradient @ step)
    while True:
        rescaled = rescaled_slopes_at(objective.space, u)
        moved = u + step if rescaled is None else rescaled.u(u + rescaled.steps(step))
        trial, trial_modes = objective.laplace(moved, modes)
        passes += 1
        if trial.gradient is None or (before > _NEWTON_WITHIN and not trial.value > evaluation.value):
            return u, passes
        next_step = cho_solve(factor, trial.gradient)
        after = np.sqrt(max(trial.gradient @ next_step, 0.0))
        if not after < _NEARER * before:
            return u, passes
        u, evaluation, modes, step, before = moved, trial, trial_modes, next_step, after


def settle_laplace(
    objective: Objective, rule: Rule, u: np.ndarray, tolerance: float, report: Callable[..., None], max_rounds: int = 4
) -> Maximum:
    """Maximise the Laplace objective without its information, for fits whose standard errors nobody wants.

    BFGS in the metric of the complete data, renewed until two rounds agree that the optimum is within ``tolerance``
    by the curvature that BFGS has met on its way; that curvature is no judge of directions it never took. The value
    must also be that of modes searched afresh: on its way a family may have been carried along in a lower mode.
    """
    evaluations, nothing = 0, np.full((len(u), len(u)), np.nan)
    goal = max(tolerance, 1e-3)
    for rounds in range(1, max_rounds + 1):
        descent = LaplaceDescent(objective)
        moved, _, distance = settled_ascent(descent, u, complete_metric(objective, u), 0.1 * goal, 500)
        evaluations += descent.evaluations
        still = rounds > 1 and np.array_equal(moved, u)
        u = moved
        report(rounds, np.nan, distance, u)
        evaluation, _ = objective.laplace(u)
        carried = not abs(evaluation.value + descent(u)[0]) < _SAME_MODES
        if still or (distance < goal and not carried):
            break
    distance = np.nan if carried else distance
    _require_finite(evaluation)
    return _maximum(u, evaluation, nothing, distance, rounds, evaluations, goal, rule)


def polish_nodes(
    objective: Objective, rule: Rule, u: np.ndarray, tolerance: float, report: Callable[..., None], max_rounds: int = 12
) -> Maximum:
    """Direct maximisation of the log-likelihood on nodes that move with u (``Objective.moving``).

    Each round takes the information at u (Louis, on the nodes adapted there) and unless the Newton step is
    within ``tolerance`` climbs by BFGS in that metric. A Monte Carlo rule doubles its draws when at the optimum the
    log-likelihood is less sure than ``rule.tolerance``, or when nothing gives a curvature.
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
        moved, count = scaled_ascent(ascent, u, scale_from(information), 0.1 * tolerance, 200)
        evaluations += count
        if np.array_equal(moved, u):
            break
        u = moved
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
    """Information and the distance to the optimum: of draws, as they give them on the way, at the end better ones.

    ``information`` is the rule's own. That of draws has an error that says little on the way to the optimum and much
    in standard errors (``Rule.for_information``); where it is not even positive definite it is not used at all.
    """
    decrement = decrement_of(gradient, information)
    if rule.kind != "monte_carlo" or decrement >= tolerance:
        return information, decrement
    better = rule_information(objective, rule.for_information(), u, modes)
    distance = decrement_of(gradient, better)
    return (better, distance) if np.isfinite(distance) else (information, decrement)


def rule_information(objective: Objective, rule: Rule, u: np.ndarray, modes: Modes | None = None) -> np.ndarray:
    """Minus the Hessian of the penalised log-likelihood in the coordinates of the objective's space: (P, P)."""
    if rule.kind == "laplace":
        return laplace_information(objective, u, objective.modes(u) if modes is None else modes)
    start = None if modes is None else modes.alpha
    evaluation, _ = objective.adapted(u, rule.standard(objective.cells.n_families), 2, start)
    return np.full((len(u), len(u)), np.nan) if evaluation.hessian is None else -symmetrise(evaluation.hessian)


class MovingAscent:
    """Minus the objective on moving nodes, with modes kept warm."""

    def __init__(self, objective: Objective, standard: StandardNodes, alpha: np.ndarray | None = None) -> None:
        self.objective, self.standard, self.alpha = objective, standard, alpha

    def __call__(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        evaluation, modes = self.objective.moving(u, self.standard, self.alpha)
        if not np.isfinite(evaluation.value):
            return REFUSED, np.zeros_like(u)
        self.alpha = modes.alpha
        return -evaluation.value, -evaluation.gradient


def _require_finite(evaluation: Evaluation) -> None:
    if not np.isfinite(evaluation.value):
        raise DataError(
            "The log-likelihood is not finite where the search ended. Check for scores that jump between extremes "
            "within a family; try more starts, another integration rule, or start_params."
        )


def wants_more_draws(
    objective: Objective, rule: Rule, u: np.ndarray, standard: StandardNodes, decrement: float, tolerance: float
) -> bool:
    """Whether draws are too few: no curvature yet, or at the optimum a log-likelihood that is not sure enough."""
    if rule.kind != "monte_carlo" or rule.draws >= MAX_DRAWS:
        return False
    if not np.isfinite(decrement):
        return True
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
    return Maximum(
        u, evaluation.value, evaluation.loglike, evaluation.gradient, information, decrement,
        rounds, evaluations, bool(decrement < tolerance), rule,
    )  # fmt: skip
