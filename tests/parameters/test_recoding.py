"""Recoding: users' covariates and standardised ones describe one model."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from latentscale.numerics.differences import jacobian
from latentscale.parameters.recoding import Recoding


@pytest.fixture
def design():
    rng = np.random.default_rng(3)
    size, tokens = rng.uniform(-1.0, 5.0, 40), rng.uniform(-2.0, 3.0, 40)
    return np.column_stack([size, tokens])


@pytest.fixture(params=["anchored", "echelon", "confirmatory", "confirmatory uncorrelated"])
def structure(request, make_space):
    space = make_space(request.param, "both")
    return space.structure(np.random.default_rng(4).standard_normal(space.size))


def predictor(structure, x):
    return x @ structure.slopes @ structure.loadings.T + structure.intercepts


def test_whitening(design):
    z = Recoding.whitening(design).design(design)
    assert_allclose(z.mean(axis=0), 0.0, atol=1e-13)
    assert_allclose(z.T @ z / len(z), np.eye(2), atol=1e-12)


def test_whitened_covariates_do_not_depend_on_units(design):
    """Up to a rotation, which keeps inner products."""
    z = Recoding.whitening(design).design(design)
    other = design @ np.array([[1000.0, 0.3], [0.0, 1e-3]]) + 7.0
    z_other = Recoding.whitening(other).design(other)
    # condition number 1e6 of the change of units
    assert_allclose(z_other @ z_other.T, z @ z.T, atol=1e-8)


def test_both_codings_give_one_linear_predictor(design, structure):
    recoding = Recoding.whitening(design)
    internal = recoding.internal(structure)
    got = predictor(internal, recoding.design(design))
    assert_allclose(got, predictor(structure, design), rtol=1e-11, atol=1e-11)
    assert np.abs(internal.intercepts - structure.intercepts).max() > 0.01


def test_round_trip(design, structure):
    recoding = Recoding.whitening(design)
    for again in (recoding.user(recoding.internal(structure)), recoding.internal(recoding.user(structure))):
        assert again.scales == structure.scales
        for name in set(structure.__dataclass_fields__) - {"scales"}:
            assert_allclose(getattr(again, name), getattr(structure, name), rtol=1e-11, atol=1e-12)


def test_jacobian_is_that_of_differences(design, structure, make_space):
    recoding = Recoding.whitening(design)
    layout = make_space("anchored").layout
    layout = type(layout)(len(structure.loadings), structure.loadings.shape[1], len(structure.slopes))

    def in_user_units(s):
        return layout.flatten(recoding.user(layout.unflatten(s)))

    s = layout.flatten(recoding.internal(structure))
    # the map is quadratic, so differences are exact up to rounding
    got = jacobian(in_user_units, s, np.full(layout.size, 0.1))
    assert_allclose(recoding.jacobian(layout, layout.unflatten(s)).toarray(), got, atol=1e-11)
