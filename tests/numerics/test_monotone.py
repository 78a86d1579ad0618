"""Monotone spline links: derivatives, shape, tails, extremes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline
from scipy.special import expit

from latentscale.numerics import monotone
from latentscale.numerics.differences import jacobian

M = monotone.N_SLOPES
coordinates = arrays(float, M - 1, elements=st.floats(-6.0, 6.0))
KNOTS = np.concatenate([monotone.CENTRES - 0.75, monotone.CENTRES + 0.75, monotone.CENTRES[:1] - 2.25])


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_zero_coordinates_are_the_logistic_link():
    eta = np.concatenate([np.linspace(-30.0, 30.0, 601), [-1e6, 1e6]])
    g, g1, g2, g3 = monotone.spline(eta, monotone.slopes(np.zeros(M - 1)))
    assert_allclose(expit(g), expit(eta), rtol=1e-12, atol=1e-12)
    assert_allclose(g1, 1.0, rtol=1e-12)
    assert_allclose(g2, 0.0, atol=1e-12)
    assert_allclose(g3, 0.0, atol=1e-12)


def test_basis_is_that_of_quadratic_b_splines(rng):
    h, repeats = monotone.SPACING, 4
    rho = rng.uniform(0.1, 3.0, M)
    padded = np.concatenate([np.full(repeats, rho[0]), rho, np.full(repeats, rho[-1])])
    centres = monotone.CENTRES[0] + h * np.arange(-repeats, M + repeats)
    knots = np.concatenate([centres - 1.5 * h, centres[-1] + h * np.array([-0.5, 0.5, 1.5])])
    judge = BSpline(knots, padded, 2)
    eta = rng.uniform(-8.0, 8.0, 200)
    basis = monotone.basis(eta)
    assert_allclose(basis.D @ rho, judge(eta), rtol=1e-12)
    assert_allclose(basis.D1 @ rho, judge.derivative()(eta), atol=1e-12)
    assert_allclose(basis.D2 @ rho, judge.derivative(2)(eta), atol=1e-11)
    assert_allclose(basis.E @ rho, judge.antiderivative()(eta) - judge.antiderivative()(0.0), rtol=1e-10)


def test_derivatives_against_differences(rng):
    eta = rng.uniform(-7.0, 7.0, 300)
    eta = eta[np.min(np.abs(eta[:, None] - KNOTS), axis=1) > 0.02]  # the third derivative jumps at knots
    rho = monotone.slopes(rng.normal(0.0, 1.0, M - 1))
    for order in range(3):
        numeric = jacobian(lambda x, order=order: monotone.spline(x, rho)[order], eta, np.full(len(eta), 1e-3))
        assert_allclose(np.diag(numeric), monotone.spline(eta, rho)[order + 1], atol=1e-9)


def test_derivatives_of_slopes(rng):
    free = rng.normal(0.0, 1.0, M - 1)
    weight = rng.normal(size=M)
    step = np.full(M - 1, 1e-3)
    rho = monotone.slopes(free)
    assert_allclose(monotone.slopes_jacobian(rho), jacobian(monotone.slopes, free, step), atol=1e-9)
    gradient = lambda u: monotone.slopes_jacobian(monotone.slopes(u)).T @ weight  # noqa: E731
    assert_allclose(monotone.slopes_curvature(rho, weight), jacobian(gradient, free, step), atol=1e-9)
    assert_allclose(monotone.free_coordinates(rho), free, atol=1e-12)


def test_batches_of_links_are_the_links_one_by_one(rng):
    free, eta = rng.normal(size=(3, M - 1)), rng.normal(0.0, 3.0, (5, 3))
    together = monotone.spline(eta, monotone.slopes(free))
    for j in range(3):
        for whole, part in zip(together, monotone.spline(eta[:, j], monotone.slopes(free[j])), strict=True):
            assert_allclose(whole[:, j], part, rtol=1e-12, atol=1e-12)
    curvature = monotone.slopes_curvature(monotone.slopes(free), np.ones((3, M)))
    assert_allclose(curvature, 0.0, atol=1e-12)  # the mean slope is one whatever the coordinates


@given(coordinates)
def test_increasing_with_bounded_slopes_and_straight_tails(free):
    rho = monotone.slopes(free)
    eta = np.concatenate([[-1e6], np.linspace(-12.0, 12.0, 481), [1e6]])
    g, g1, g2, _ = monotone.spline(eta, rho)
    assert np.isfinite(g).all()
    assert_allclose(rho.mean(), 1.0, rtol=1e-12)
    assert (g1 > 0.0).all()
    assert (g1 < M).all()
    assert (np.diff(g) > 0.0).all()
    assert_allclose(monotone.spline(0.0, rho)[0], 0.0, atol=1e-14)
    tails = np.abs(eta) >= 5.25  # 4.5 + h/2: the last knot inside which the end slope has not been reached
    # slopes are at most seven and change within 1.5, so that bends are of order ten where there are any
    assert_allclose(g2[tails], 0.0, atol=1e-12)
    assert_allclose(g1[eta <= -5.25], rho[0], rtol=1e-9)
    assert_allclose(g1[eta >= 5.25], rho[-1], rtol=1e-9)
    assert np.isfinite(expit(g)).all()


def test_huge_coordinates_stay_finite():
    rho = monotone.slopes(np.array([800.0, -800.0, 0.0, 0.0, 0.0, 0.0]))
    assert np.isfinite(rho).all()
    assert_allclose(rho.mean(), 1.0, rtol=1e-12)
    assert np.isfinite(monotone.spline(np.array([-1e6, 0.0, 1e6]), rho)).all()
