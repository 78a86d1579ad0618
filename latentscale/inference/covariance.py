"""Observed information, carried from the optimiser's coordinates to natural parameters by the delta method."""

from dataclasses import dataclass

import numpy as np

from ..numerics.linalg import cholesky_or_none


@dataclass(frozen=True)
class Covariance:
    """Covariance of the natural parameters.

    Attributes
    ----------
    matrix : array (P, P)
        NaN throughout where it does not exist.
    free : array (P, P)
        In the optimiser's coordinates u; NaN likewise.
    jacobian : array (P, P)
        d natural / d u at the estimate.
    eigenvalues : array (P,)
        Of the information scaled to unit diagonal, ascending.
    weak : tuple of str
        Parameters that make up the direction of a smallest eigenvalue that is not positive.
    """

    matrix: np.ndarray
    free: np.ndarray
    jacobian: np.ndarray
    eigenvalues: np.ndarray
    weak: tuple


def natural_jacobian(space, recoding, u):
    """d natural / d u, shape (P, P), exact."""
    in_z = space.jacobian(u)
    carried = recoding.jacobian(space.layout, space.structure(u)) @ in_z
    return carried[space.table.free]


def observed_covariance(space, recoding, u, information):
    """Inverse observed information on the natural scale.

    At an optimum the gradient vanishes, so that the delta method from u is exact for the inverse Hessian on
    the natural scale too.
    """
    jacobian = natural_jacobian(space, recoding, u)
    size = len(u)
    scale = np.sqrt(np.abs(np.diag(information)))
    scaled = information / np.outer(scale, scale) if np.all(scale > 0) else information
    values, vectors = np.linalg.eigh(scaled)
    if cholesky_or_none(scaled) is None:
        nothing = np.full((size, size), np.nan)
        weak = _heaviest(space.labels, vectors[:, 0])
        return Covariance(nothing, nothing, jacobian, values, weak)
    free = np.linalg.inv(scaled) / np.outer(scale, scale)
    return Covariance(jacobian @ free @ jacobian.T, free, jacobian, values, ())


def _heaviest(names, direction, share=0.1):
    """Parameters with the largest entries of a direction, at most six."""
    size = np.abs(direction) / np.abs(direction).max()
    order = np.argsort(-size)
    return tuple(names[index] for index in order[:6] if size[index] >= share)
