"""Monte Carlo EM: maximisation of the log-likelihood by repeated maximisation of an expected one.

The E-step adapts draws of the families' effects to their posterior at the current parameters and computes the draws'
weights. The M-step keeps draws and weights as they are and maximises Q, the expected complete-data log-likelihood, by
a quasi-Newton method. EM alone is slow: its step is too short by the fraction of information that is missing. Near the
maximum this is undone after Louis (1982): with I_c the complete-data information and V the inverse of the observed
information, V I_c times the step of EM is Newton's step. The algorithm stops where the other drivers do, by the
distance to the maximum in standard errors.

It converges to a zero of the gradient at draws that are held still. The Monte Carlo error of that point is larger than
with draws that move with the parameters, as the driver ``polish_nodes`` has them; both errors fall as draws are added.
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

# standard errors from the maximum: within them the log-likelihood is about quadratic, and steps of EM are lengthened
ACCELERATE_WITHIN = 1.0


def mcem(
    objective: Objective,
    rule: Rule,
    u: np.ndarray,
    tolerance: float,
    report: Callable[..., None],
    max_rounds: int = 500,
) -> Maximum:
    """Maximise by Monte Carlo EM from u until the maximum is within ``tolerance`` standard errors.

    Parameters
    ----------
    objective : Objective
    rule : Rule
        Monte Carlo or quadrature.
    u : array (P,)
        The starting point.
    tolerance : float
    report : callable
        Called in each cycle with its number, the log-likelihood, the distance to the maximum and u.

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
        after_em, count = _maximise_q(objective, u, nodes, evaluation.posterior, scale_from(complete), goal)
        passes += count + 2
        if decrement < ACCELERATE_WITHIN and decrement < best:
            after_em = u + np.linalg.solve(information, complete @ (after_em - u))
        u, best = after_em, min(best, decrement) if np.isfinite(decrement) else best
    return Maximum(
        u, evaluation.value, evaluation.loglike, evaluation.gradient, information, decrement,
        cycle, passes, bool(decrement < tolerance), rule,
    )  # fmt: skip


def _maximise_q(
    objective: Objective, u: np.ndarray, nodes: Nodes, posterior: np.ndarray, scale: np.ndarray, goal: float
) -> tuple[np.ndarray, int]:
    """Return the maximum of Q, which is the M-step, by BFGS in the metric of the complete-data information."""

    def minus_q(point: np.ndarray) -> tuple[float, np.ndarray]:
        evaluation = objective.frozen(point, nodes, 1, posterior)
        if not np.isfinite(evaluation.value):
            return REFUSED, np.zeros_like(point)
        return -evaluation.value, -evaluation.gradient

    return scaled_ascent(minus_q, u, scale, goal, 50)
