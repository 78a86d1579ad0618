"""Which parameters of Sloth are free: bounds, and transformations of the skills that change no expected score."""

import numpy as np

from .objective import SlothObjective


def skill_freedom(objective: SlothObjective, vector: np.ndarray) -> np.ndarray:
    """Return the tangents (P, m) of the directions along which no expected score changes.

    They are those of the transformations theta -> theta M + t of the skills, with t = 0 if intercepts are shared, and
    the corresponding transformation of the rows of benchmarks.
    """
    if objective.held is not None:
        return np.empty((len(vector), 0))
    effects, slopes, rows = objective.split(vector)
    k, tangents = objective.n_skills, []
    for row in range(k):
        for column in range(k):
            matrix = np.zeros((k, k))
            matrix[row, column] = 1.0
            change = np.zeros_like(rows)
            change[:, :k] = -rows[:, :k] @ matrix.T
            tangents.append(objective.join(None if effects is None else effects @ matrix, slopes @ matrix, change))
    if effects is not None:
        for unit in np.eye(k):
            change = np.zeros_like(rows)
            change[:, k] = -rows[:, :k] @ unit
            tangents.append(objective.join(np.broadcast_to(unit, effects.shape), np.zeros_like(slopes), change))
    return np.array(tangents).T


def free_parameters(objective: SlothObjective, vector: np.ndarray) -> int:
    """Return the number of free parameters: all but those that rest, minus the dimension of the freedom of skills."""
    moving = len(vector) - int(resting_parameters(objective, vector).sum())
    if objective.held is not None:
        return moving
    k, p = objective.n_skills, objective.z.shape[1]
    if objective.n_families:
        return moving - k * k - k
    # without family intercepts skills are combinations of the p covariates, so that at most p of them are not redundant
    rank = min(k, p)
    return moving - (k - rank) * (p + objective.y.shape[1]) - rank * rank


def resting_parameters(objective: SlothObjective, vector: np.ndarray) -> np.ndarray:
    """Return whether each parameter (P,) does not move, because it is fixed or is a slope at its bound of zero."""
    a, b = objective.sizes
    rest = np.zeros(len(vector), dtype=bool)
    if objective.held is not None:
        rest[a:] = objective.held
    if objective.positive is not None:
        rest[a : a + b] |= objective.positive.ravel() & (vector[a : a + b] <= 0.0)
    return rest
