"""Minimisation of the Huber loss of Sloth by damped Newton steps, with continuation in delta and bounds on slopes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .objective import SlothObjective

LADDER = (10.0, 3.0)  # the loss is first minimised with these multiples of delta, which make it smoother
ROUGH = 1e-4  # relative decrease at which each of these minimisations ends
NO_LOSS = 1e-16  # decreases are relative to the loss, or to this if that is smaller (residuals below about 1e-8)
FLAT = 1e-6  # largest derivative, in whitened covariates, at which steps without a decrease count as convergence
SMALLEST_DAMPING, LARGEST_DAMPING = 1e-13, 1e8


@dataclass(frozen=True, eq=False)
class End:
    """The point at which a minimisation ended.

    Attributes
    ----------
    vector : array (P,)
        The parameters.
    value, loss : float
        Mean Huber loss with and without penalties.
    gradient : float
        Largest absolute derivative of the penalised loss, without those of slopes at their bound.
    predicted_decrease : float
        Decrease that the quadratic model predicted for the last Newton step, relative to the loss.
    iterations : int
        Number of Hessians computed.
    converged : bool
    """

    vector: np.ndarray
    value: float
    loss: float
    gradient: float
    predicted_decrease: float
    iterations: int
    converged: bool


def minimise(
    objective: SlothObjective,
    start: np.ndarray,
    delta: float,
    tolerance: float = 1e-9,
    max_iterations: int = 300,
    ladder: Sequence[float] = LADDER,
) -> End:
    """Minimise the penalised loss from one start.

    Parameters
    ----------
    objective : SlothObjective
    start : array (P,)
    delta : float
        Where the Huber loss becomes linear.
    tolerance : float
        The minimisation has converged when the predicted relative decrease of a nearly undamped Newton step is smaller.
    max_iterations : int
        Largest number of iterations for each delta.
    ladder : sequence of float
        Multiples of delta with which to minimise first.

    Returns
    -------
    End
    """
    vector, damping, used = start, 1e-3, 0
    for factor in ladder:
        end, damping = descend(objective, vector, factor * delta, ROUGH, max_iterations, damping)
        vector, used = end.vector, used + end.iterations
    end, _ = descend(objective, vector, delta, tolerance, max_iterations, damping)
    return replace(end, iterations=used + end.iterations)


def descend(
    objective: SlothObjective,
    vector: np.ndarray,
    delta: float,
    tolerance: float,
    max_iterations: int,
    damping: float = 1e-3,
) -> tuple[End, float]:
    """Minimise the penalised loss for one delta by a damped Newton method (Levenberg and Marquardt).

    The parameters are those of ``minimise``; ``damping`` is the first multiple of the identity that is added to the
    Hessian. Lower asymptotes stay below the upper ones.

    Returns
    -------
    end : End
    damping : float
        The last damping.
    """
    used, slow, growth = 0, 0, 2.0
    vector = _clipped(objective, vector.copy())
    blocks = objective.blocks(vector, delta)
    converged, relative = False, np.inf
    while used < max_iterations:
        held = _held(objective, vector, blocks.gradient)
        step = blocks.step(damping, held)
        if step is None:
            damping = max(4.0 * damping, 1e-9)
            if damping > LARGEST_DAMPING:
                break
            continue
        trial = _clipped(objective, vector + step)
        step = trial - vector
        decline = -float(np.dot(blocks.gradient, step))
        predicted = decline - 0.5 * float(np.dot(step, blocks.product(step)))
        relative = predicted / max(blocks.value, NO_LOSS)
        if relative < tolerance and (damping <= 1e-3 or relative < 1e-3 * tolerance):
            converged = True
            break
        # a step after which a curve would fall, its upper asymptote below the lower one, is shortened as a bad one is
        gain = blocks.value - objective.value(trial, delta) if objective.rising(trial) else -np.inf
        used += 1
        ratio = gain / predicted if predicted > 0.0 else -1.0
        if ratio > 1e-3:
            slow = slow + 1 if gain < 10.0 * tolerance * blocks.value else 0
            vector, blocks = trial, objective.blocks(trial, delta)
            damping = max(damping * (0.15 if ratio > 0.7 else 0.5 if ratio > 0.3 else 2.0), SMALLEST_DAMPING)
            growth = 2.0
            if slow >= 8:
                break
        else:
            damping, growth = damping * growth, 2.0 * growth
            if damping > LARGEST_DAMPING:
                break
    held = _held(objective, vector, blocks.gradient)
    gradient = blocks.gradient.copy()
    if held is not None:
        gradient[objective.sizes[0] :][held] = 0.0
    steepest = float(np.abs(gradient).max())
    converged = bool(converged or (relative < 1e2 * tolerance and steepest < FLAT))
    return End(vector, blocks.value, blocks.loss, steepest, relative, used, converged), damping


def _held(objective: SlothObjective, vector: np.ndarray, gradient: np.ndarray) -> np.ndarray | None:
    """Return the shared parameters (S,) that must not move: fixed ones, and slopes at zero that would become negative.

    None if all may move.
    """
    if objective.positive is None:
        return objective.held
    a, b = objective.sizes
    slopes, pull = vector[a : a + b], gradient[a : a + b]
    held = np.zeros(len(vector) - a, dtype=bool) if objective.held is None else objective.held.copy()
    held[:b] |= objective.positive.ravel() & (slopes <= 0.0) & (pull > 0.0)
    return held


def _clipped(objective: SlothObjective, vector: np.ndarray) -> np.ndarray:
    """Set negative slopes to zero where they may not be negative; the vector is changed in place and returned."""
    if objective.positive is None:
        return vector
    a, b = objective.sizes
    slopes = vector[a : a + b]
    slopes[objective.positive.ravel()] = np.maximum(slopes[objective.positive.ravel()], 0.0)
    return vector
