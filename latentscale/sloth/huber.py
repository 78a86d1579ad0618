"""Huber's loss in the form rho(r) = r^2 / (2 delta) for |r| < delta and |r| - delta / 2 otherwise."""

import numpy as np
from scipy.special import ndtr


def huber_loss(residual, delta):
    """rho(r), nearly the absolute value for a small delta.

    Parameters
    ----------
    residual : array
    delta : float
        Positive; where the parabola goes over into straight lines.

    Examples
    --------
    >>> huber_loss(np.array([0.0, 0.01, -0.5]), 0.02)
    array([0.    , 0.0025, 0.49  ])
    """
    size = np.abs(residual)
    inner = np.minimum(size, delta)
    return inner * (size - 0.5 * inner) * (1.0 / delta)


def huber_derivatives(residual, delta):
    """rho, psi = rho' and psi' (1 / delta inside, 0 outside), arrays of the shape of ``residual``.

    Examples
    --------
    >>> huber_derivatives(np.array([0.01, -0.5]), 0.02)[1:]
    (array([ 0.5, -1. ]), array([50.,  0.]))
    """
    inner = np.clip(residual, -delta, delta)
    psi = inner * (1.0 / delta)
    loss = psi * (residual - 0.5 * inner)
    return loss, psi, (residual == inner) * (1.0 / delta)


def smoothed_curvature(residual, delta, bandwidth):
    """Kernel estimate of E psi'(r): (P(-delta < r + bandwidth Z < delta)) / delta, Z standard normal.

    psi' is an indicator, whose mean over a sample jumps with single residuals; smearing each residual by a normal
    kernel gives an estimate that is smooth and positive, as estimates of the sparsity in quantile regression do.

    Parameters
    ----------
    residual : array (n,)
    delta, bandwidth : float
        Positive.

    Returns
    -------
    float
    """
    upper = ndtr((delta - residual) / bandwidth)
    return float(np.mean(upper - ndtr((-delta - residual) / bandwidth)) / delta)


def kernel_bandwidth(residual):
    """Silverman's rule .9 min(sd, IQR / 1.349) n^(-1/5); 0 where all residuals are one.

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
    # more than half of the residuals may be the same, as where scores are zero
    width = min(spread, (high - low) / 1.349) if high > low else spread
    return 0.9 * width * n**-0.2
