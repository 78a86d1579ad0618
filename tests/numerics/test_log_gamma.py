"""gamma_derivatives against scipy and mpmath over all magnitudes that a likelihood can meet."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from latentscale.numerics.differences import jacobian
from latentscale.numerics.log_gamma import (
    GAMMALN,
    PSI,
    TETRAGAMMA,
    TRIGAMMA,
    gamma_derivatives,
    gamma_pair,
)
from latentscale.numerics.logistic import logistic_pair

X = np.exp(np.linspace(-25.0, 14.0, 3001))
FINE = 2.0**-52
RTOL = 1e-14


def test_log_gamma_and_psi_up_to_the_rounding_of_their_parts():
    # both are differences of terms of the size of z log z and log z at z = x + 6, so near their zeros (1 and 2;
    # 1.46) the error is measured against those terms; scipy itself is good to some units of rounding
    log_gamma, psi = gamma_derivatives(X, 1)
    z = X + 6.0
    wanted = special.gammaln(X)
    assert np.max(np.abs(log_gamma - wanted) / (np.abs(wanted) + z * np.log(z))) < 8 * FINE
    wanted = special.psi(X)
    assert np.max(np.abs(psi - wanted) / (np.abs(wanted) + np.log(z))) < 8 * FINE


@pytest.mark.parametrize("order", [2, 3])
def test_trigamma_and_tetragamma(order):
    assert_allclose(gamma_derivatives(X, order)[order], special.polygamma(order - 1, X), rtol=RTOL)


def _remainder(order, z):
    """What Stirling's formula and its derivatives leave over, to the precision of mpmath's context."""
    log_z = mpmath.log(z)
    if order == 0:
        return mpmath.loggamma(z) - (z - 0.5) * log_z + z - mpmath.log(2 * mpmath.pi) / 2
    formula = [None, log_z - 1 / (2 * z), 1 / z + 1 / (2 * z**2), -1 / z**2 - 1 / z**3][order]
    return mpmath.psi(order - 1, z) - formula


@pytest.mark.parametrize(
    ("order", "coefficients", "bound"),
    [(0, GAMMALN, 2e-16), (1, PSI, 3.2e-16), (2, TRIGAMMA, 3e-17), (3, TETRAGAMMA, 3e-18)],
)
def test_polynomials_are_within_their_stated_errors_of_the_remainders(order, coefficients, bound):
    worst = 0.0
    with mpmath.workdps(40):
        powers = [mpmath.mpf(float(c)) for c in coefficients[::-1]]
        for share in np.linspace(0.0, 1.0, 401)[1:]:  # t = 1 / z^2 from 0 to 1 / 36, where extremes are well apart
            z = 6 / mpmath.sqrt(mpmath.mpf(share))
            worst = max(worst, abs(mpmath.polyval(powers, 1 / z**2) / z ** (order + 1) - _remainder(order, z)))
    assert worst < bound


def test_both_sides_of_the_logistic_keep_their_digits():
    eta = np.array([-1000.0, -701.0, -690.0, -40.0, -1.0, 0.0, 0.3, 40.0, 690.0, 701.0, 1000.0, np.nan])
    f, rest = logistic_pair(eta)
    inside = np.abs(eta) < 700.0
    assert_allclose(f[inside], special.expit(eta[inside]), rtol=4 * FINE)
    assert_allclose(rest[inside], special.expit(-eta[inside]), rtol=4 * FINE)
    assert np.all(f[:2] < 1e-303)
    assert np.all(rest[9:11] < 1e-303)
    assert np.isnan([f[-1], rest[-1]]).all()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_lower_order_gives_the_same_numbers(order):
    full = gamma_derivatives(X, 3)
    short = gamma_derivatives(X, order)
    assert len(short) == order + 1
    for left, right in zip(short, full, strict=False):
        assert_array_equal(left, right)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_a_pair_gives_the_sum_and_the_same_derivatives(order):
    x = np.stack([np.exp(np.linspace(-230.0, 40.0, 4001)), np.exp(np.linspace(35.0, -200.0, 4001))])
    total, *derivatives = gamma_pair(x, order)
    (one, other), *wanted = gamma_derivatives(x, order)
    size = np.sum((x + 6.0) * np.log(x + 6.0) + np.abs(np.log(x)), axis=0)
    assert np.max(np.abs(total - one - other) / size) < 4 * FINE
    assert len(derivatives) == order
    for left, right in zip(derivatives, wanted, strict=True):
        assert_array_equal(left, right)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_each_order_is_the_derivative_of_the_one_before(order):
    x = np.exp(np.linspace(-6.0, 8.0, 200))

    def before(t):
        return gamma_derivatives(x * (1.0 + t[0]), order - 1)[order - 1]

    differences = jacobian(before, np.zeros(1), np.array([1e-3]))[:, 0] / x
    # truncation 4e-12 times a fifth derivative of up to 120 units, plus rounding over the step
    lower, exact = gamma_derivatives(x, order)[order - 1 :]
    assert np.all(np.abs(differences - exact) < 1e-9 * np.abs(exact) + 1e-11 * (np.abs(lower) + 1.0) / x)


def test_the_shape_is_kept():
    x = X[:24].reshape(2, 3, 4)
    for values, flat in zip(gamma_derivatives(x, 3), gamma_derivatives(X[:24], 3), strict=True):
        assert_array_equal(values, flat.reshape(2, 3, 4))
