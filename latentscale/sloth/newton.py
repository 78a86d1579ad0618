"""Damped Newton steps on the Huber loss of Sloth: continuation in delta, bounds on slopes, and how it ended."""

from dataclasses import dataclass

import numpy as np

LADDER = (10.0, 3.0)  # the loss is smoothed by these multiples of delta on the way down
ROUGH = 1e-4  # relative decrease at which a rung of the ladder is left
NO_LOSS = 1e-16  # mean loss of residuals of 1e-8, as far as doubles tell: declines are no longer relative to it
FLAT = 1e-6  # derivative, in whitened covariates, at which steps without a gain count as an end
SMALLEST_DAMPING, LARGEST_DAMPING = 1e-13, 1e8


@dataclass(frozen=True, eq=False)
class End:
    """Where a minimisation ended.

    Attributes
    ----------
    vector : array (P,)
    value, loss : float
        Penalised and plain mean Huber loss.
    gradient : float
        Largest derivative of the penalised loss, that of slopes held at zero by their sign left out.
    promise : float
        Decrease that the last Newton step promised, relative to the loss.
    iterations : int
        Hessians computed.
    converged : bool
    """

    vector: np.ndarray
    value: float
    loss: float
    gradient: float
    promise: float
    iterations: int
    converged: bool


def minimise(objective, start, delta, tolerance=1e-9, max_iterations=300, ladder=LADDER):
    """Minimise from one start.

    Parameters
    ----------
    objective : SlothObjective
    start : array (P,)
    delta : float
    tolerance : float
        Relative decrease of the loss that a nearly undamped Newton step must promise less than.
    max_iterations : int
        For each rung of the ladder.
    ladder : sequence of float
        Multiples of delta to begin with.

    Returns
    -------
    End
    """
    vector, damping, used = start, 1e-3, 0
    for factor in ladder:
        end, damping = descend(objective, vector, factor * delta, ROUGH, max_iterations, damping)
        vector, used = end.vector, used + end.iterations
    end, _ = descend(objective, vector, delta, tolerance, max_iterations, damping)
    return End(end.vector, end.value, end.loss, end.gradient, end.promise, used + end.iterations, end.converged)


def descend(objective, vector, delta, tolerance, max_iterations, damping=1e-3):
    """Damped Newton method (Levenberg and Marquardt) at one delta.

    Returns
    -------
    End, float
        And the last damping.
    """
    used, slow, growth = 0, 0, 2.0
    vector = _clipped(objective, vector.copy())
    blocks = objective.blocks(vector, delta)
    converged, promise = False, np.inf
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
        promise = predicted / max(blocks.value, NO_LOSS)
        if promise < tolerance and (damping <= 1e-3 or promise < 1e-3 * tolerance):
            converged = True
            break
        gain = blocks.value - objective.value(trial, delta)
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
    converged = converged or (promise < 1e2 * tolerance and steepest < FLAT)
    return End(vector, blocks.value, blocks.loss, steepest, promise, used, converged), damping


def _held(objective, vector, gradient):
    """Shared parameters at rest: those that are fixed, and slopes at zero that would fall below it."""
    if objective.positive is None:
        return objective.held
    a, b = objective.sizes
    slopes, pull = vector[a : a + b], gradient[a : a + b]
    held = np.zeros(len(vector) - a, dtype=bool) if objective.held is None else objective.held.copy()
    held[:b] |= objective.positive.ravel() & (slopes <= 0.0) & (pull > 0.0)
    return held


def _clipped(objective, vector):
    if objective.positive is None:
        return vector
    a, b = objective.sizes
    slopes = vector[a : a + b]
    slopes[objective.positive.ravel()] = np.maximum(slopes[objective.positive.ravel()], 0.0)
    return vector
