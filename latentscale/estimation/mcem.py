"""Monte Carlo EM: an E-step on adapted draws, an M-step by a quasi-Newton method on frozen ones.

The E-step holds the posterior weights of the draws; the M-step maximises Q, the expected complete-data
log-likelihood. EM's steps shrink by the fraction of missing information, which near the optimum Louis (1982)
undoes: with I_c the complete-data information and V the inverse of the observed one, the step V I_c (EM step)
is Newton's. It stops where direct maximisation does, on the distance to the optimum in standard errors.

EM's fixed point is a zero of the score at draws held still, whose Monte Carlo error is larger than that of the
direct driver's on moving draws; both fall as draws are added.
"""


from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..likelihood.marginal import Nodes
from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..numerics.linalg import symmetrise
from .ascent import REFUSED, scale_from, scaled_ascent
from .polish import Maximum, informed, wants_more_draws

ACCELERATE_WITHIN = 1.0  # standard errors from the optimum, where the quadratic picture holds


def mcem(
    objective: Objective,
    rule: Rule,
    u: np.ndarray,
    tolerance: float,
    report: Callable[..., None],
    max_rounds: int = 500,
) -> Maximum:
    """Monte Carlo EM from u until the optimum is within ``tolerance`` standard errors.

    Parameters
    ----------
    objective : Objective
    rule : Rule
        Monte Carlo or quadrature.
    u : array (P,)
    tolerance : float
    report : callable
        Called with (cycle, log-likelihood, distance, u) each cycle.

    Returns
    -------
    Maximum
    """
    standard = rule.standard(objective.cells.n_families)
    alpha, passes, best = None, 0, np.inf
    for cycle in range(1, max_rounds + 1):
        nodes, modes = objective.nodes(u, standard, alpha)
        alpha = modes.alpha
        evaluation = objective.frozen(u, nodes, order=2)
        by_rule = -symmetrise(evaluation.hessian)
        information, decrement = informed(objective, rule, u, modes, evaluation.gradient, by_rule, tolerance)
        report(cycle, evaluation.loglike, decrement, u)
        if wants_more_draws(objective, rule, u, standard, decrement, tolerance):
            rule, best = rule.doubled(), np.inf
            standard = rule.standard(objective.cells.n_families)
            continue
        if decrement < tolerance:
            break
        complete = -symmetrise(objective.frozen(u, nodes, 2, evaluation.posterior).hessian)
        goal = 0.1 * min(tolerance, 1.0) / np.sqrt(len(u))
        moved, count = _maximise_q(objective, u, nodes, evaluation.posterior, scale_from(complete), goal)
        passes += count + 2
        if decrement < ACCELERATE_WITHIN and decrement < best:
            moved = u + np.linalg.solve(information, complete @ (moved - u))
        u, best = moved, min(best, decrement) if np.isfinite(decrement) else best
    return Maximum(
        u, evaluation.value, evaluation.loglike, evaluation.gradient, information, decrement,
        cycle, passes, bool(decrement < tolerance), rule,
    )  # fmt: skip


def _maximise_q(
    objective: Objective, u: np.ndarray, nodes: Nodes, posterior: np.ndarray, scale: np.ndarray, goal: float
) -> tuple[np.ndarray, int]:
    """M-step: BFGS on Q in the metric of the complete-data information."""

    def minus_q(point: np.ndarray) -> tuple[float, np.ndarray]:
        at = objective.frozen(point, nodes, 1, posterior)
        if not np.isfinite(at.value):
            return REFUSED, np.zeros_like(point)
        return -at.value, -at.gradient

    return scaled_ascent(minus_q, u, scale, goal, 50)
