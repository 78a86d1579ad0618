"""The logistic function and its complement without loss of relative precision at either end."""

import numpy as np

LOWEST_ETA = -700.0  # F is 1e-304 here; a little below, exp(-eta) would overflow to infinity


def logistic_pair(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return F(eta) = 1 / (1 + exp(-eta)) and 1 - F(eta), both to full relative precision, from one exponential.

    Parameters
    ----------
    eta : array of any shape
        Values below ``LOWEST_ETA`` count as ``LOWEST_ETA``.

    Returns
    -------
    f, rest : arrays of the shape of ``eta``
        The logistic function and one minus it, which is not computed as a difference.
    """
    rest = np.maximum(eta, LOWEST_ETA)
    np.negative(rest, out=rest)
    np.exp(rest, out=rest)
    f = rest + 1.0
    np.divide(1.0, f, out=f)
    rest *= f
    return f, rest
