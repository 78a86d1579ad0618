"""The log-gamma function and its derivatives together, faster than one scipy call each.

``scipy.special.gammaln`` and ``psi`` cost some 28 ns a point, ``polygamma(1, x)`` 400 ns. Here the recurrence
Gamma(x + 6) = Q(x) Gamma(x) moves every x > 0 to z = x + 6, where what Stirling's formula leaves over is a short
polynomial in t = 1 / z^2; with y = x (x + 5) the product Q = y (y + 4) (y + 6) and its derivatives are a handful of
multiplications that gammaln, psi, trigamma and tetragamma share. No branches, so numpy runs at memory speed, and
operations in place, so that a few arrays stay in the cache.
"""

import numpy as np

HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)
SHIFT = 6.0
LOWEST_ETA = -700.0  # the exponential would be infinite soon below; F is 1e-304 here


def _remainders(t):
    """What Stirling's formula leaves over at z = 1 / sqrt(t), scaled to be smooth in t: four arrays.

    By Binet's second formula, with w(s) = 1 / (exp(2 pi s) - 1), they are integrals over s > 0 of positive functions:

    - z (gammaln(z) - (z - 1/2) log z + z - log(2 pi) / 2), with -log(1 - exp(-2 pi s)) / (pi (1 + s^2 t));
    - z^2 (psi(z) - log z + 1 / (2 z)), with -2 s w / (1 + s^2 t);
    - its derivatives in z: z^3 (psi'(z) - 1 / z - 1 / (2 z^2)) and z^4 (psi''(z) + 1 / z^2 + 1 / z^3).

    The trapezoidal rule in u, s = exp(u - exp(-u)), is exact to rounding: both ends vanish double exponentially.
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


def _economised(which, terms):
    """Coefficients, lowest first, of the polynomial of so many terms that stands for a remainder on (0, 1 / 36].

    Interpolation at Chebyshev points, which is within a small factor of the best polynomial.
    """
    half = 0.5 / SHIFT**2
    t = half * (1.0 + np.cos(np.pi * (np.arange(terms) + 0.5) / terms))
    return np.polynomial.Polynomial.fit(t, _remainders(t)[which], terms - 1, [0.0, 2.0 * half]).convert().coef


# Errors of the polynomials on z >= 6, beside values of at least 10, 1.7, 0.18 and 0.03 there: below 1.7e-16 (gammaln),
# 3.2e-16 (psi), 3e-17 (psi'), 3e-18 (psi''). tests/numerics/test_special.py checks them.
GAMMALN, PSI, TRIGAMMA, TETRAGAMMA = (_economised(*pair) for pair in ((0, 6), (1, 6), (2, 7), (3, 8)))


def _polynomial(coefficients, x):
    total = x * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        total += coefficient
        total *= x
    total += coefficients[0]
    return total


def logistic_pair(eta):
    """F(eta) and 1 - F(eta) for the logistic F, both to full relative precision, from one exponential."""
    rest = np.maximum(eta, LOWEST_ETA)
    np.negative(rest, out=rest)
    np.exp(rest, out=rest)
    f = rest + 1.0
    np.divide(1.0, f, out=f)
    rest *= f
    return f, rest


def gamma_derivatives(x, order):
    """Log-gamma function and its derivatives at positive x.

    Parameters
    ----------
    x : array of any shape, 0 < x < 1e38
    order : int, 0 to 3
        Highest derivative wanted.

    Returns
    -------
    tuple of ``order + 1`` arrays
        gammaln(x), psi(x), psi'(x), psi''(x). Errors are a few units of rounding in the sums that make them
        up.
    """
    log_gamma, shifted = _log_gamma(x)
    product = shifted[-1]
    log_gamma -= np.log(product)
    log_gamma += HALF_LOG_2PI - SHIFT
    return log_gamma, *_derivatives(x, shifted, order)


def gamma_pair(x, order):
    """gammaln(x[0]) + gammaln(x[1]), and the derivatives of ``gamma_derivatives`` at x.

    The sum takes fewer operations than its parts.

    Parameters
    ----------
    x : array (2, ...), below 1e25
    order : int, 0 to 3
    """
    (total, other), shifted = _log_gamma(x)
    product = shifted[-1]
    total += other
    np.multiply(*product, out=other)
    total -= np.log(other, out=other)
    total += 2.0 * (HALF_LOG_2PI - SHIFT)
    return total, *_derivatives(x, shifted, order)


def _log_gamma(x):
    """gammaln(x) but for a constant and -log Q; and with z = x + 6: log z, 1 / z, 1 / z^2, y = x (x + 5), Q."""
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


def _derivatives(x, shifted, order):
    """psi, psi' and psi'' up to an order; overwrites log z."""
    if order == 0:
        return ()
    log_z, inverse, square, y, product = shifted
    # dQ/dy = (3 y + 20) y + 24; r1 = dQ/dy / Q, slope = dy/dx
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


def _higher(inverse, square, y, product, slope, r1, order):
    """psi' and, at order 3, psi''."""
    r2 = (6.0 * y + 20.0) / product - r1 * r1  # d r1 / dy
    s2 = slope * slope
    trigamma = inverse * (1.0 + 0.5 * inverse + square * _polynomial(TRIGAMMA, square)) - 2.0 * r1 - s2 * r2
    if order == 2:
        return (trigamma,)
    r3 = 6.0 / product - r1 * (3.0 * r2 + r1 * r1)  # d r2 / dy
    series = square * (square * _polynomial(TETRAGAMMA, square) - inverse - 1.0)
    return trigamma, series - slope * (6.0 * r2 + s2 * r3)
