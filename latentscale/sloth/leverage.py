"""Residuals corrected for the leverages of their scores.

A fit makes residuals smaller than errors, the more so the larger the leverage of a score. Functions here make them
larger again, such that they have the variance of errors.

El Karoui, N., Bean, D., Bickel, P. J., Lim, C. and Yu, B. (2013). On robust regression with high-dimensional
predictors. PNAS 110, 14557-14562 (residuals of M-estimates and their leave-one-out residuals).
"""

import numpy as np

from .objective import SlothObjective

LEAST_ROOM = 0.05  # leverages count as at most one minus this, so that residuals grow by at most (1 / 0.05)^(1/2)


def several(objective: SlothObjective) -> np.ndarray:
    """Return whether each LLM (n,) shares its family's intercepts with other LLMs; all do if there are none."""
    if not objective.n_families:
        return np.ones(len(objective.y), dtype=bool)
    return np.bincount(objective.family)[objective.family] > 1


def inflated_residuals(residuals: np.ndarray, hat: np.ndarray, kappa: np.ndarray, delta: float) -> np.ndarray:
    """Return residuals (n, J) that are enlarged to have the variance of errors.

    A cell has the leverage h = kappa w d' H^- d, with d the gradient of its expected score. When it is left out of the
    fit, its residual becomes approximately r + psi(r) w d' H^- d / (1 - h). The share s / (1 + s) of this change, with
    s = (1 - h)^(1/2), is added to the residual. For least squares the result is r / (1 - h)^(1/2), which has the
    variance of an error.

    Parameters
    ----------
    residuals : array (n, J)
    hat : array (n, J, J)
        The products w d_ij' H^- d_ik, see ``Sandwich``.
    kappa : array (J,)
        Curvature of each benchmark's loss.
    delta : float
        Where the Huber loss becomes linear.

    Examples
    --------
    >>> half = inflated_residuals(np.array([[0.002]]), np.array([[[0.036]]]), np.array([10.0]), 0.1)  # h = .36
    >>> half.round(6)
    array([[0.0025]])
    """
    diagonal = np.einsum("njj->nj", hat)
    share = _added_share(kappa * diagonal)
    return residuals + np.clip(residuals / delta, -1.0, 1.0) * diagonal * share


def inflated_by_llm(residuals: np.ndarray, hat: np.ndarray, kappa: np.ndarray, delta: float) -> np.ndarray:
    """Return residuals (n, J) that are enlarged as if all scores of an LLM were left out together.

    This also restores errors that are common to the scores of an LLM. The arguments are those of
    ``inflated_residuals``. An LLM that is the only one of its family cannot be left out, because its family's
    intercepts follow its scores; its errors are underestimated.
    """
    good = kappa > 0.0
    root = np.sqrt(np.where(good, kappa, 1.0))
    hat = good[:, None] * (root[:, None] * hat * root) * good
    size, directions = np.linalg.eigh(hat)
    weight = np.maximum(size, 0.0) * _added_share(size)
    seen = np.einsum("njj->nj", hat) > 0.0
    psi = np.where(seen, np.clip(residuals / delta, -1.0, 1.0), 0.0)
    rotated = np.einsum("nij,ni->nj", directions, psi / root)
    return residuals + np.einsum("nij,nj->ni", directions, weight * rotated) / root


def _added_share(leverage: np.ndarray) -> np.ndarray:
    """Return s / (1 + s) / (1 - h) of leverages h, with s = (1 - h)^(1/2); see ``inflated_residuals``."""
    room = np.maximum(1.0 - leverage, LEAST_ROOM)
    root = np.sqrt(room)
    return root / (1.0 + root) / room
