"""The log-gamma function and its derivatives together, faster than one scipy call each.

``scipy.special.gammaln`` and ``psi`` cost some 28 ns a point, ``polygamma(1, x)`` 400 ns. Here the recurrence
Gamma(x + 8) = Q(x) Gamma(x) moves every x > 0 to z = x + 8, where Stirling's series needs eight terms; with
y = x (x + 7) the product Q = y (y + 6) (y + 10) (y + 12) and its derivatives are a handful of multiplications
that gammaln, psi, trigamma and tetragamma share. No branches, so numpy runs at memory speed.
"""

import numpy as np

_HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)
_SHIFT = 8.0
_DEGREE = 5


def _economised(terms):
    """Polynomial in t = 1 / z^2 on (0, 1 / 64] that stands for an asymptotic series, lowest power first.

    Interpolation of the series' first eight terms at Chebyshev points: with six coefficients it differs from
    them by less than a unit of rounding of the first term, where plain truncation would need all eight.
    """
    half = 0.5 / _SHIFT**2
    node = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    value = np.polynomial.polynomial.polyval(half * (node + 1.0), terms)
    return np.polynomial.Polynomial.fit(half * (node + 1.0), value, _DEGREE).convert().coef


_BERNOULLI = np.array([1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510])
_EVEN = 2.0 * np.arange(1, 9)
# The remainder of each series is below its first neglected term: at z = 8, under 1e-16 (gammaln), 3e-16
# (psi), 6e-15 relative (trigamma), 4e-14 relative (tetragamma).
_GAMMALN = _economised(_BERNOULLI / (_EVEN * (_EVEN - 1.0)))  # sum_k c_k / z^(2k-1)
_PSI = _economised(-_BERNOULLI / _EVEN)  # sum_k c_k / z^(2k)
_TRIGAMMA = _economised(_BERNOULLI)  # sum_k c_k / z^(2k+1)
_TETRAGAMMA = _economised(-_BERNOULLI * (_EVEN + 1.0))  # sum_k c_k / z^(2k+2)


def _horner(coefficients, x):
    total = x * coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total += coefficient
        total *= x
    return total


def logistic_pair(eta):
    """F(eta) and 1 - F(eta) for the logistic F, both to full relative precision, from one exponential."""
    small = np.exp(-np.abs(eta))
    large = 1.0 / (1.0 + small)
    small *= large
    positive = eta >= 0.0
    return np.where(positive, large, small), np.where(positive, small, large)


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
    z = x + 8.0
    log_z = np.log(z)
    inverse = 1.0 / z
    square = inverse * inverse
    y = x * (x + 7.0)
    p, q = y * (y + 6.0), (y + 10.0) * (y + 12.0)
    product = p * q
    values = [(z - 0.5) * log_z - z + _HALF_LOG_2PI + _horner(_GAMMALN, square) * z - np.log(product)]
    if order == 0:
        return tuple(values)
    # Q = pq with dp/dy = 2y + 6, dq/dy = 2y + 22; r1 = Q'/Q in y, s = dy/dx = 2x + 7
    slope = 2.0 * x + 7.0
    scale = 1.0 / product
    dp, dq = 2.0 * y + 6.0, 2.0 * y + 22.0
    r1 = (dp * q + p * dq) * scale
    values.append(log_z - 0.5 * inverse + _horner(_PSI, square) - slope * r1)
    if order == 1:
        return tuple(values)
    r2 = 2.0 * (q + dp * dq + p) * scale - r1 * r1  # d r1 / dy
    s2 = slope * slope
    values.append(inverse + 0.5 * square + inverse * _horner(_TRIGAMMA, square) - 2.0 * r1 - s2 * r2)
    if order == 2:
        return tuple(values)
    # Q''' = 6 (dp + dq); r3 = d r2 / dy = Q'''/Q - 3 r1 r2 - r1^3
    r3 = 6.0 * (dp + dq) * scale - 3.0 * r1 * r2 - r1 * r1 * r1
    series = -square - inverse * square + _horner(_TETRAGAMMA, square) * square
    values.append(series - slope * (6.0 * r2 + s2 * r3))
    return tuple(values)
