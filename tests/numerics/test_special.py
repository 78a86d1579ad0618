"""gamma_derivatives against scipy over all magnitudes that a likelihood can meet."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from latentscale.numerics.differences import jacobian
from latentscale.numerics.special import gamma_derivatives

X = np.exp(np.linspace(-25.0, 14.0, 3001))
FINE = 2.0**-52


def test_log_gamma_and_psi_up_to_the_rounding_of_their_parts():
    # both are differences of terms of the size of z log z and log z at z = x + 8, so near their zeros (1 and 2;
    # 1.46) the error is measured against those terms; scipy itself is good to some units of rounding
    log_gamma, psi = gamma_derivatives(X, 1)
    z = X + 8.0
    wanted = special.gammaln(X)
    assert np.max(np.abs(log_gamma - wanted) / (np.abs(wanted) + z * np.log(z))) < 8 * FINE
    wanted = special.psi(X)
    assert np.max(np.abs(psi - wanted) / (np.abs(wanted) + np.log(z))) < 8 * FINE


@pytest.mark.parametrize(("order", "rtol"), [(2, 1e-14), (3, 5e-14)])
def test_trigamma_and_tetragamma(order, rtol):
    # the remainders of the series, stated beside their coefficients: 6e-15 and 4e-14
    assert_allclose(gamma_derivatives(X, order)[order], special.polygamma(order - 1, X), rtol=rtol)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_lower_order_gives_the_same_numbers(order):
    full = gamma_derivatives(X, 3)
    short = gamma_derivatives(X, order)
    assert len(short) == order + 1
    for left, right in zip(short, full, strict=False):
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
