"""Huber's loss in the form rho(r) = r^2 / (2 delta) for |r| < delta and |r| - delta / 2 otherwise."""

import numpy as np
from scipy.special import ndtr


def huber_loss(residual: np.ndarray, delta: float) -> np.ndarray:
    """Return rho(r), which is nearly the absolute value if delta is small.

    Parameters
    ----------
    residual : array
    delta : float
        A positive number; rho is quadratic for |r| < delta and linear beyond.

    Examples
    --------
    >>> huber_loss(np.array([0.0, 0.01, -0.5]), 0.02)
    array([0.    , 0.0025, 0.49  ])
    """
    size = np.abs(residual)
    inner = np.minimum(size, delta)
    return inner * (size - 0.5 * inner) * (1.0 / delta)


def huber_derivatives(residual: np.ndarray, delta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rho, psi = rho' and psi' (1 / delta for |r| <= delta, else 0), arrays of the shape of ``residual``.

    Examples
    --------
    >>> huber_derivatives(np.array([0.01, -0.5]), 0.02)[1:]
    (array([ 0.5, -1. ]), array([50.,  0.]))
    """
    inner = np.clip(residual, -delta, delta)
    psi = inner * (1.0 / delta)
    loss = psi * (residual - 0.5 * inner)
    return loss, psi, (residual == inner) * (1.0 / delta)


def smoothed_curvature(residual: np.ndarray, delta: float, bandwidth: float) -> float:
    """Return a kernel estimate of E psi'(r), the mean of P(-delta < r + bandwidth Z < delta) / delta over residuals.

    Z is standard normal. psi' is an indicator times 1 / delta, whose mean over a sample jumps with single residuals.
    Smoothing by a normal kernel makes the estimate smooth and positive, as in estimates of the sparsity in quantile
    regression.

    Parameters
    ----------
    residual : array (n,)
    delta, bandwidth : float
        Positive numbers, in the unit of the residuals.

    Returns
    -------
    float
    """
    upper = ndtr((delta - residual) / bandwidth)
    return float(np.mean(upper - ndtr((-delta - residual) / bandwidth)) / delta)


def kernel_bandwidth(residual: np.ndarray) -> float:
    """Return the bandwidth of Silverman's rule, .9 min(sd, IQR / 1.349) n^(-1/5).

    It is 0 if all residuals are equal.

    Parameters
    ----------
    residual : array (n,)

    Returns
    -------
    float
    """
    n = len(residual)
    if n < 2:
        return 0.0
    low, high = np.quantile(residual, [0.25, 0.75])
    spread = float(np.std(residual))
    # more than half of the residuals may be equal, for instance if scores are zero
    width = min(spread, (high - low) / 1.349) if high > low else spread
    return 0.9 * width * n**-0.2
