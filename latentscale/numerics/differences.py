"""Derivatives by central differences with Richardson extrapolation."""

from collections.abc import Callable

import numpy as np


def jacobian(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the Jacobian of a vector function by fourth-order central differences.

    Parameters
    ----------
    function : callable
        Takes an array (n,) and returns an array (m,).
    x : array (n,)
        The point at which to differentiate.
    step : array (n,)
        Step of each coordinate; the error is of order step^4.

    Returns
    -------
    array (m, n)
    """
    columns = []
    for position, size in enumerate(step):
        shift = np.zeros(len(x))
        shift[position] = size
        near = function(x + shift) - function(x - shift)
        far = function(x + 2.0 * shift) - function(x - 2.0 * shift)
        columns.append((8.0 * near - far) / (12.0 * size))
    return np.column_stack(columns)
