"""Increasing links: the logistic function of a monotone spline g with bounded slopes, linear at both ends.

    F(eta) = expit(g(eta)),  g(0) = 0,  g'(eta) = sum_m rho_m D_m(eta),  m = 0..M-1.

The D_m are uniform quadratic B-splines with knot spacing h, centred at ``CENTRES``. The first and the last coefficient
are repeated outwards without end, so that the basis functions sum to one everywhere, g' is continuously differentiable,
and beyond the outermost knots g is a straight line of slope rho_0 or rho_{M-1}, which defines extrapolation. The slopes
lie between zero and M and have mean one. That fixes the scale of eta, as g(0) = 0 fixes its origin. They are
rho_m = M exp(gamma_m) / sum_k exp(gamma_k) with sum_m gamma_m = 0, and gamma = 0 gives the logistic link exactly.

The sum of all B-splines with centres c_k and above is a smooth step: with v = (eta - c_k) / h + 1/2 it is 0 for v < -1,
rises along two parabolas, and is 1 for v > 1. The basis functions are differences of neighbouring steps, and all
functions here are computed from such differences, of the steps, of their derivatives and of their integrals.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import helmert

SPACING = 1.5
CENTRES = SPACING * np.arange(-3.0, 4.0)
N_SLOPES = len(CENTRES)
SUM_ZERO = helmert(N_SLOPES).T  # orthonormal basis (M, M-1) of the vectors that sum to zero
for _constant in (CENTRES, SUM_ZERO):
    _constant.flags.writeable = False

_STEPS = CENTRES[1:] - 0.5 * SPACING  # where the steps from one coefficient to the next are centred


class Basis(NamedTuple):
    """The spline basis at given eta: g = E @ rho, g' = D @ rho, g'' = D1 @ rho, g''' = D2 @ rho.

    Attributes
    ----------
    E, D, D1, D2 : arrays (..., M)
        Integral from 0, value, first and second derivative of each basis function; D1 and D2 are None where the
        ``order`` asked for does not need them. D lies in [0, 1] and sums to one; D2 is piecewise constant.
    """

    E: np.ndarray
    D: np.ndarray
    D1: np.ndarray | None
    D2: np.ndarray | None


def basis(eta: npt.ArrayLike, order: int = 3) -> Basis:
    """Return the basis functions of g and of its derivatives.

    Parameters
    ----------
    eta : array (...)
        Finite values.
    order : {0, 1, 2, 3}
        The highest derivative of g that is wanted: 0 and 1 give E and D, 2 adds D1, 3 adds D2.

    Returns
    -------
    Basis

    Examples
    --------
    >>> b = basis(np.array([-1e6, 0.3, 1e6]))
    >>> np.round(b.D.sum(axis=-1), 12)
    array([1., 1., 1.])
    >>> bool(np.allclose(b.E.sum(axis=-1), [-1e6, 0.3, 1e6]))
    True
    """
    eta = np.asarray(eta, dtype=float)
    v = (eta[..., None] - _STEPS) * (1.0 / SPACING)
    low, high = np.clip(v + 1.0, 0.0, 1.0), np.clip(v, 0.0, 1.0)
    integral = SPACING * (_step_integral(v, low, high) - _AT_ZERO)
    value = 0.5 * low * low + high * (1.0 - 0.5 * high)
    first = _differences(low - high, 0.0) * (1.0 / SPACING) if order >= 2 else None
    second = None
    if order >= 3:
        inside = ((v > -1.0) & (v <= 0.0)).astype(float) - ((v > 0.0) & (v < 1.0))
        second = _differences(inside, 0.0) * SPACING**-2
    return Basis(_differences(integral, eta), _differences(value, 1.0), first, second)


def _step_integral(v: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the integral of a step up to v in units of the spacing; low and high are v + 1 and v clipped to [0, 1]."""
    return low * low * low / 6.0 + high * (0.5 + high * (0.5 - high / 6.0)) + np.maximum(v - 1.0, 0.0)


def _differences(steps: np.ndarray, whole: npt.ArrayLike) -> np.ndarray:
    """Return whole - s_1, s_1 - s_2, ..., s_{M-1} (..., M), which turns M - 1 steps into M basis functions.

    ``whole`` is what all basis functions sum to.
    """
    out = np.empty((*steps.shape[:-1], N_SLOPES))
    out[..., 0] = whole
    out[..., 1:] = steps
    out[..., :-1] -= steps
    return out


_v = -_STEPS / SPACING
_AT_ZERO = _step_integral(_v, np.clip(_v + 1.0, 0.0, 1.0), np.clip(_v, 0.0, 1.0))


def slopes(free: npt.ArrayLike) -> np.ndarray:
    """Return the slopes rho = M softmax(Z u) of free coordinates u, with Z = ``SUM_ZERO``.

    Parameters
    ----------
    free : array (..., M-1)
        The coordinates u; zero gives the logistic link.

    Returns
    -------
    array (..., M)
        Slopes in [0, M] with mean one.
    """
    gamma = np.asarray(free, dtype=float) @ SUM_ZERO.T
    weight = np.exp(gamma - gamma.max(axis=-1, keepdims=True))
    return N_SLOPES * weight / weight.sum(axis=-1, keepdims=True)


def slopes_jacobian(rho: npt.ArrayLike) -> np.ndarray:
    """Return the derivative d rho / d u (..., M, M-1) of `slopes`, computed from rho (..., M) itself."""
    rho = np.asarray(rho, dtype=float)
    return rho[..., :, None] * (SUM_ZERO - (rho @ SUM_ZERO)[..., None, :] / N_SLOPES)


def slopes_curvature(rho: npt.ArrayLike, weight: npt.ArrayLike) -> np.ndarray:
    """Return the matrix of second derivatives in u of the scalar weight' rho(u).

    Parameters
    ----------
    rho, weight : arrays (..., M)
        Slopes, and the weights of their sum.

    Returns
    -------
    array (..., M-1, M-1)
    """
    rho, weight = np.asarray(rho, dtype=float), np.asarray(weight, dtype=float)
    share = rho / N_SLOPES
    centred = weight - np.sum(share * weight, axis=-1, keepdims=True)
    mean = share @ SUM_ZERO
    first = (rho * centred)[..., None] * SUM_ZERO
    cross = np.sum(first, axis=-2)
    out = np.swapaxes(first, -1, -2) @ SUM_ZERO
    return out - cross[..., :, None] * mean[..., None, :] - mean[..., :, None] * cross[..., None, :]


def free_coordinates(rho: npt.ArrayLike) -> np.ndarray:
    """Return the coordinates u (..., M-1) of positive slopes rho (..., M), the inverse of `slopes`.

    A common factor of the slopes makes no difference.

    Examples
    --------
    >>> u = np.array([0.3, -0.2, 0.0, 0.5, 0.1, -1.0])
    >>> bool(np.allclose(free_coordinates(slopes(u)), u))
    True
    """
    return np.log(np.asarray(rho, dtype=float)) @ SUM_ZERO


def spline(eta: npt.ArrayLike, rho: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return g and its first three derivatives at eta.

    Parameters
    ----------
    eta : array (...)
        Finite values.
    rho : array that broadcasts against (..., M)
        Slopes.

    Returns
    -------
    g, g1, g2, g3 : arrays (...)

    Examples
    --------
    >>> g, g1, g2, g3 = spline(np.array([-2.0, 0.0, 7.0]), np.ones(7))
    >>> bool(np.allclose(g, [-2.0, 0.0, 7.0])), bool(np.allclose(g1, 1.0)), bool(np.allclose(g2, 0.0))
    (True, True, True)
    """
    return tuple(np.sum(part * rho, axis=-1) for part in basis(eta))
