"""Huber's loss, its derivatives, and the kernel estimate of its curvature."""

import numpy as np
from numpy.testing import assert_allclose

from latentscale.numerics.differences import jacobian
from latentscale.sloth.huber import huber_derivatives, huber_loss, kernel_bandwidth, smoothed_curvature

DELTA = 0.03


def test_loss_by_its_definition():
    r = np.linspace(-0.2, 0.2, 81)
    expected = np.where(np.abs(r) < DELTA, r**2 / (2 * DELTA), np.abs(r) - DELTA / 2)
    assert_allclose(huber_loss(r, DELTA), expected, atol=1e-15)
    assert_allclose(huber_derivatives(r, DELTA)[0], expected, atol=1e-15)


def test_derivatives_against_differences():
    r = np.random.default_rng(0).normal(0.0, 0.05, 200)
    r = r[np.abs(np.abs(r) - DELTA) > 1e-3]
    _, psi, curvature = huber_derivatives(r, DELTA)
    step = np.full(len(r), 1e-4)
    assert_allclose(psi, np.diag(jacobian(lambda x: huber_loss(x, DELTA), r, step)), atol=1e-9)
    assert_allclose(curvature, np.diag(jacobian(lambda x: huber_derivatives(x, DELTA)[1], r, step)), atol=1e-9)


def test_smoothed_curvature_tends_to_the_expectation():
    """For Laplace residuals E psi' = (1 - exp(-delta / s)) / delta; the kernel's bias is of second order."""
    s, rng = 0.02, np.random.default_rng(1)
    expected = (1.0 - np.exp(-DELTA / s)) / DELTA
    errors = []
    for n in (200, 20_000):
        samples = rng.laplace(0.0, s, (20, n))
        values = [smoothed_curvature(r, DELTA, kernel_bandwidth(r)) for r in samples]
        errors.append(np.abs(np.mean(values) / expected - 1.0))
    assert errors[0] < 0.12
    assert errors[1] < 0.03


def test_bandwidth_where_most_residuals_are_the_same():
    r = np.concatenate([np.zeros(80), np.linspace(-0.1, 0.1, 20)])
    assert kernel_bandwidth(r) > 0.0
    assert kernel_bandwidth(np.zeros(10)) == 0.0
    assert kernel_bandwidth(np.zeros(1)) == 0.0
