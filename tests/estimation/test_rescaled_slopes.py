"""Coordinates with rescaled slopes: round trip, derivatives, and fewer steps where benchmarks are many."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scale import simulated_model

from latentscale.estimation import ascent
from latentscale.estimation.rescaled_slopes import RescaledSlopes
from latentscale.numerics.differences import jacobian


def test_derivatives_and_the_reference_point(problem):
    space, u = problem.space, problem.points[0]
    rescaled = RescaledSlopes.at(space, u)
    assert_allclose(rescaled.u(u), u, rtol=1e-14)
    v = u + 0.1 * np.random.default_rng(0).standard_normal(len(u))
    assert np.abs(rescaled.u(v) - v).max() > 1e-3
    pull = np.random.default_rng(1).standard_normal(len(u))
    by_differences = jacobian(rescaled.u, v, np.full(len(u), 1e-3)).T @ pull
    assert_allclose(rescaled.gradient(v, pull), by_differences, atol=1e-9)
    at_reference = jacobian(rescaled.u, u, np.full(len(u), 1e-3))
    assert_allclose(at_reference @ rescaled.steps(np.eye(len(u))), np.eye(len(u)), atol=1e-9)
    assert_allclose(rescaled.steps(np.eye(len(u)))[:, 3], rescaled.steps(np.eye(len(u))[3]))


def test_moving_all_loadings_of_a_skill_keeps_what_they_explain(problem):
    space, u = problem.space, problem.points[0]
    rescaled, before = RescaledSlopes.at(space, u), space.structure(u)
    v = u.copy()
    v[rescaled.loadings[rescaled.free]] *= 1.3
    after = space.structure(rescaled.u(v))
    free = rescaled.free.all(axis=1)
    assert_allclose((after.loadings @ after.slopes.T)[free], (before.loadings @ before.slopes.T)[free], rtol=1e-12)


@pytest.mark.slow
def test_the_maximum_is_the_same_and_nearer(monkeypatch):
    """Sixty benchmarks; the coordinates are for a thousand parameters, and made to serve fewer."""
    model = simulated_model(200, 60, 40, 2)
    usual = model.fit(integration="laplace", starts=1)
    monkeypatch.setattr(ascent, "_MANY", 100)
    rescaled = model.fit(integration="laplace", starts=1)
    assert_allclose(rescaled.llf, usual.llf, rtol=1e-11)
    assert_allclose(rescaled.params, usual.params, rtol=1e-6, atol=1e-6)
    assert rescaled.estimate.starts["evaluations"].item() < usual.estimate.starts["evaluations"].item()
