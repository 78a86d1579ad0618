"""Starts for the fit of Sloth.

They are a low-rank fit of the logits of scores, the same with random weights of benchmarks, and random parameters.
"""

import numpy as np

from ..components.curve import rough_predictor
from .objective import SlothObjective

_ROUNDS = 4  # of the imputation of missing logits


def start_kinds(starts: int) -> list[str]:
    """Return the kind of each start: first the data, then alternately randomly weighted data and random parameters.

    Examples
    --------
    >>> start_kinds(4)
    ['data', 'weighted', 'random', 'weighted']
    """
    return ["data", *(("weighted", "random")[number % 2] for number in range(starts - 1))]


def starting_vector(objective: SlothObjective, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return the parameters of one start.

    Parameters
    ----------
    objective : SlothObjective
    kind : {"data", "weighted", "random"}
        See ``start_kinds``.
    rng : numpy.random.Generator

    Returns
    -------
    array (P,)
    """
    k = objective.n_skills
    phi = objective.response.centre
    logits, seen = _logits(objective)
    fitted = _filled(objective, logits, seen)
    centre = fitted.mean(axis=0)
    n_items = len(centre)
    if kind == "random":
        theta = rng.standard_normal((len(fitted), k))
        theta = _projected(objective, theta)
        theta = theta / np.maximum(theta.std(axis=0), 1e-8)
        loadings = rng.standard_normal((n_items, k)) * (fitted - centre).std() / np.sqrt(k)
    else:
        weight = np.exp(rng.standard_normal(n_items)) if kind == "weighted" else np.ones(n_items)
        left, _, _ = np.linalg.svd(_projected(objective, fitted - centre) * weight, full_matrices=False)
        theta = left[:, :k] * np.sqrt(len(left))
        loadings = (fitted - centre).T @ theta / len(theta)
    rows = np.concatenate([loadings, centre[:, None], phi], axis=1)
    theta = theta - theta.mean(axis=0)
    effects, slopes = _coefficients(objective, theta)
    if objective.positive is not None:
        sign = np.where((slopes * objective.positive).sum(axis=0) < 0.0, -1.0, 1.0)
        slopes, rows[:, :k] = slopes * sign, rows[:, :k] * sign
        effects = None if effects is None else effects * sign
        slopes = np.where(objective.positive, np.maximum(slopes, 0.0), slopes)
    return objective.join(effects, slopes, rows)


def starting_law(objective: SlothObjective) -> np.ndarray:
    """Return the start (P,) of a law of one benchmark, from the regression of the logits of its scores.

    Its loading is fixed, so that it has only slopes and intercepts.
    """
    logits, seen = _logits(objective)
    fitted = _filled(objective, logits, seen)
    row = np.concatenate([np.ones(1), np.zeros(1), objective.response.centre[0]])[None]
    if objective.n_families:
        return objective.join(*_coefficients(objective, fitted), row)
    row[0, 1] = fitted.mean()
    return objective.join(None, _coefficients(objective, fitted - fitted.mean())[1], row)


def _logits(objective: SlothObjective) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of scores (n, J) between their asymptotes, and which scores there are (n, J)."""
    response, seen = objective.response, objective.weight > 0.0
    low, high = response.lower(response.centre), response.upper(response.centre)
    return rough_predictor(objective.y, low, high), seen


def _filled(objective: SlothObjective, logits: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return logits (n, J) in which missing ones are imputed by regression on families and covariates."""
    if seen.all():
        return logits
    means = np.sum(np.where(seen, logits, 0.0), axis=0) / seen.sum(axis=0)
    filled = np.where(seen, logits, means)
    for _ in range(_ROUNDS):
        centre = filled.mean(axis=0)
        filled = np.where(seen, logits, centre + _projected(objective, filled - centre))
    return filled


def _coefficients(objective: SlothObjective, values: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the intercepts (L, K), or None, and the slopes (p, K) of the regression of values (n, K).

    The regression is on families and covariates, which are orthogonal to each other.
    """
    z = objective.z
    slopes = np.linalg.lstsq(z, values, rcond=None)[0]
    if objective.family_starts is None:
        return None, slopes
    totals = np.add.reduceat(values - z @ slopes, objective.family_starts)
    counts = np.diff(np.append(objective.family_starts, len(values)))
    return totals / counts[:, None], slopes


def _projected(objective: SlothObjective, values: np.ndarray) -> np.ndarray:
    """Return the fitted values (n, K) of the regression on families and covariates."""
    effects, slopes = _coefficients(objective, values)
    fitted = objective.z @ slopes
    return fitted if effects is None else fitted + effects[objective.family]
