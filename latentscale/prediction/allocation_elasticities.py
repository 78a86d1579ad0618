"""How a target moves with size and with tokens at one point: elasticities, and what doubling either gains."""

from dataclasses import dataclass

import numpy as np

from .allocation import law_gradient

STEP = 1e-3  # of log size and log tokens
QUANTITIES = ("size", "tokens", "double_size", "double_tokens")


@dataclass(frozen=True)
class Elasticities:
    """Derivatives and gains of T targets at one point.

    Attributes
    ----------
    values : array (T, 4)
        By ``QUANTITIES``: derivatives of the combined index lambda' theta (for a skill, of the skill) in log size and
        in log tokens; gains of the target when size is doubled, and when tokens are.
    gradient : array (m, T, 4) or None
        Derivatives along the directions of the law of the parameters, G R: covariances are its cross products.
    """

    values: np.ndarray
    gradient: np.ndarray = None

    def covariance(self, weights):
        """Covariance (q, q) of q linear combinations, ``weights`` (q, T, 4)."""
        moved = np.einsum("mtc,qtc->qm", self.gradient, weights)
        return moved @ moved.T


def point_design(design, size, tokens):
    """Covariates (7, p) at a point: beside it in log size, in log tokens, there, and with either doubled."""
    s = np.log(size) + np.array([STEP, -STEP, 0.0, 0.0, 0.0, np.log(2.0), 0.0])
    t = np.log(tokens) + np.array([0.0, 0.0, STEP, -STEP, 0.0, 0.0, np.log(2.0)])
    return design(np.exp(s), np.exp(t))


def point_values(target, x):
    """The four quantities of one target at ``point_design``, (S, 4)."""
    index = target.index(x[None, :4])
    value = target.value(x[None, 4:])
    return np.column_stack(
        [
            (index[:, 0] - index[:, 1]) / (2.0 * STEP),
            (index[:, 2] - index[:, 3]) / (2.0 * STEP),
            value[:, 1] - value[:, 0],
            value[:, 2] - value[:, 0],
        ]
    )


def elasticities(targets, stepped, x):
    """Elasticities of several targets.

    Parameters
    ----------
    targets : list of T Targets
        At the estimate, each S = 1; one part each.
    stepped : list of T Targets or None
        At ``law_steps``; None for no standard errors.
    x : array (7, p)
        ``point_design``.

    Returns
    -------
    Elasticities
    """
    values = np.stack([point_values(target, x)[0] for target in targets])
    if stepped is None:
        return Elasticities(values)
    gradient = np.stack([law_gradient(point_values(target, x)) for target in stepped], axis=1)
    return Elasticities(values, gradient)
