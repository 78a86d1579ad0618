"""The log-gamma function and its first three derivatives, computed together.

One call here takes less time than one scipy call for each function: ``scipy.special.gammaln`` and ``psi`` take some
28 ns a point and ``polygamma(1, x)`` 400 ns. The recurrence Gamma(x + 6) = Q(x) Gamma(x) shifts every x > 0 to
z = x + 6, where the remainder of Stirling's formula is a short polynomial in t = 1 / z^2. With y = x (x + 5) the
product is Q = y (y + 4) (y + 6); it and its derivatives take a few multiplications, which gammaln, psi (digamma), psi'
(trigamma) and psi'' (tetragamma) share. There are no branches, so that numpy runs at the speed of memory, and most
operations are done in place, so that the few arrays in use stay in the processor's cache.
"""

import numpy as np

HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)
SHIFT = 6.0


def _remainders(t: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the remainders of Stirling's formula at z = 1 / sqrt(t), scaled so that they are smooth functions of t.

    The four arrays have the shape of ``t``. By Binet's second formula, with w(s) = 1 / (exp(2 pi s) - 1), each is an
    integral over s > 0:

    - z (gammaln(z) - (z - 1/2) log z + z - log(2 pi) / 2), of -log(1 - exp(-2 pi s)) / (pi (1 + s^2 t));
    - z^2 (psi(z) - log z + 1 / (2 z)), of -2 s w(s) / (1 + s^2 t);
    - z^3 (psi'(z) - 1 / z - 1 / (2 z^2)) and z^4 (psi''(z) + 1 / z^2 + 1 / z^3), of the derivatives in z of the second.

    The integrals are taken by the trapezoidal rule after the substitution s = exp(u - exp(-u)). The integrand then
    vanishes double exponentially at both ends, which makes the rule exact up to rounding.
    """
    u = np.arange(-4.0, 3.0, 1.0 / 16.0)
    s = np.exp(u - np.exp(-u))
    step = s * (1.0 + np.exp(-u)) / 16.0
    w = step * s / np.expm1(2.0 * np.pi * s)
    kernel = 1.0 / (1.0 + np.multiply.outer(t, s * s))
    return (
        kernel @ (-np.log(-np.expm1(-2.0 * np.pi * s)) * step / np.pi),
        kernel @ (-2.0 * w),
        kernel**2 @ (4.0 * w),
        (kernel**2 - 4.0 * kernel**3) @ (4.0 * w),
    )


def _economised(which: int, terms: int) -> np.ndarray:
    """Return coefficients (terms,), lowest power first, of a polynomial that approximates a remainder on (0, 1 / 36].

    ``which`` is the position of the remainder in what ``_remainders`` returns. The polynomial interpolates at Chebyshev
    points, so that its largest error is within a small factor of that of the best polynomial.
    """
    half = 0.5 / SHIFT**2
    t = half * (1.0 + np.cos(np.pi * (np.arange(terms) + 0.5) / terms))
    return np.polynomial.Polynomial.fit(t, _remainders(t)[which], terms - 1, [0.0, 2.0 * half]).convert().coef


# On z >= 6 the errors of the polynomials are below 2e-16 (gammaln), 3.2e-16 (psi), 3e-17 (psi') and 3e-18 (psi''),
# where the functions themselves are at least 10, 1.7, 0.18 and 0.03 in size; see tests/numerics/test_log_gamma.py.
GAMMALN, PSI, TRIGAMMA, TETRAGAMMA = (_economised(*pair) for pair in ((0, 6), (1, 6), (2, 7), (3, 8)))


def _polynomial(coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return sum_i c_i x^i by Horner's scheme, coefficients with the lowest power first."""
    total = x * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        total += coefficient
        total *= x
    total += coefficients[0]
    return total


def gamma_derivatives(x: np.ndarray, order: int) -> tuple[np.ndarray, ...]:
    """Return the log-gamma function and its derivatives at positive x.

    Parameters
    ----------
    x : array of any shape, 0 < x < 1e38
    order : int, 0 to 3
        The highest derivative that is wanted.

    Returns
    -------
    tuple of ``order + 1`` arrays of the shape of ``x``
        gammaln(x), psi(x), psi'(x), psi''(x) up to ``order``. Each is wrong by at most a few units of rounding of the
        largest terms of which it is the sum.
    """
    log_gamma, shifted = _log_gamma(x)
    product = shifted[-1]
    log_gamma -= np.log(product)
    log_gamma += HALF_LOG_2PI - SHIFT
    return log_gamma, *_derivatives(x, shifted, order)


def gamma_pair(x: np.ndarray, order: int) -> tuple[np.ndarray, ...]:
    """Return gammaln(x[0]) + gammaln(x[1]), and the derivatives of gammaln at both.

    The sum needs one logarithm where its two terms need two.

    Parameters
    ----------
    x : array (2, ...), 0 < x < 1e25
    order : int, 0 to 3
        The highest derivative that is wanted.

    Returns
    -------
    tuple of ``order + 1`` arrays
        The sum, of shape (...), then psi, psi' and psi'' of the shape of ``x``, up to ``order``.
    """
    (total, other), shifted = _log_gamma(x)
    product = shifted[-1]
    total += other
    np.multiply(product[0], product[1], out=other)
    total -= np.log(other, out=other)
    total += 2.0 * (HALF_LOG_2PI - SHIFT)
    return total, *_derivatives(x, shifted, order)


def _log_gamma(x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return gammaln(x) + log Q(x) up to a constant, and the arrays that the derivatives need too.

    These are, with z = x + 6 and y = x (x + 5), log z, 1 / z, 1 / z^2, y and Q.
    """
    z = x + SHIFT
    log_z = np.log(z)
    inverse = np.divide(1.0, z, out=z)
    square = inverse * inverse
    y = x + 5.0
    y *= x
    product = y + 10.0
    product *= y
    product += 24.0
    product *= y
    log_gamma = x + (SHIFT - 0.5)
    log_gamma *= log_z
    log_gamma -= x
    term = _polynomial(GAMMALN, square)
    term *= inverse
    log_gamma += term
    return log_gamma, (log_z, inverse, square, y, product)


def _derivatives(x: np.ndarray, shifted: tuple[np.ndarray, ...], order: int) -> tuple[np.ndarray, ...]:
    """Return psi, psi' and psi'' up to an order, from x and the second result of ``_log_gamma``; overwrites log z."""
    if order == 0:
        return ()
    log_z, inverse, square, y, product = shifted
    # Q = y (y + 4) (y + 6), so dQ/dy = (3 y + 20) y + 24; r1 = d log Q / dy and slope = dy/dx
    r1 = 3.0 * y
    r1 += 20.0
    r1 *= y
    r1 += 24.0
    r1 /= product
    slope = 2.0 * x
    slope += 5.0
    psi = _polynomial(PSI, square)
    psi *= square
    psi += log_z
    psi -= np.multiply(inverse, 0.5, out=log_z)
    psi -= np.multiply(slope, r1, out=log_z)
    if order == 1:
        return (psi,)
    return psi, *_higher(inverse, square, y, product, slope, r1, order)


def _higher(
    inverse: np.ndarray,
    square: np.ndarray,
    y: np.ndarray,
    product: np.ndarray,
    slope: np.ndarray,
    r1: np.ndarray,
    order: int,
) -> tuple[np.ndarray, ...]:
    """Return psi' and, for order 3, psi''; ``slope`` is dy/dx and ``r1`` is d log Q / dy."""
    r2 = (6.0 * y + 20.0) / product - r1 * r1  # d r1 / dy
    s2 = slope * slope
    trigamma = inverse * (1.0 + 0.5 * inverse + square * _polynomial(TRIGAMMA, square)) - 2.0 * r1 - s2 * r2
    if order == 2:
        return (trigamma,)
    r3 = 6.0 / product - r1 * (3.0 * r2 + r1 * r1)  # d r2 / dy
    series = square * (square * _polynomial(TETRAGAMMA, square) - inverse - 1.0)
    return trigamma, series - slope * (6.0 * r2 + s2 * r3)
