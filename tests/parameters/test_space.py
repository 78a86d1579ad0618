"""ParameterSpace: every u is feasible, every feasible point has its u, and the Jacobian is exact."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.numerics.differences import jacobian
from latentscale.parameters.kinds import LLM_SD
from latentscale.parameters.recoding import Recoding
from latentscale.parameters.space import ParameterSpace
from latentscale.parameters.structure import ScaleBlock

FORMS = ["anchored", "anchored uncorrelated", "one skill", "echelon", "confirmatory", "confirmatory uncorrelated"]
FORMS += ["unrotated"]
MODES = ["chance", "lower", "both", "mixed"]


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture(params=MODES)
def space(request, form, make_space):
    return make_space(form, request.param)


def random_points(space, spread=1.0, count=5):
    rng = np.random.default_rng(len(space.table.names))
    return spread * rng.standard_normal((count, space.size))


def test_the_size_is_the_number_of_names(space):
    assert space.size == len(space.table.names) == space.structural(np.zeros(space.size)).size - np.sum(
        ~np.isnan(space.table.fixed)
    )


def test_free_to_structure_and_back(space):
    for u in random_points(space):
        # rounding times the slopes of log and logit at |u| < 4, some hundreds
        assert_allclose(space.free_vector(space.structure(u)), u, rtol=1e-11, atol=1e-12)


def test_natural_to_free_and_back(space):
    for u in random_points(space):
        natural = space.table.natural(space.structure(u))
        assert_array_equal(space.table.read(natural), natural)  # feasible
        again = space.structure(space.free_vector(space.table.structure(natural)))
        assert_allclose(space.table.natural(again), natural, rtol=1e-12, atol=1e-14)


def test_fixed_entries_stay(space):
    fixed = ~np.isnan(space.table.fixed)
    for u in random_points(space, 3.0):
        assert_array_equal(space.structural(u)[fixed], space.table.fixed[fixed])


def test_the_jacobian_is_that_of_differences(space):
    for u in random_points(space, count=2):
        got = jacobian(space.structural, u, np.full(space.size, 1e-3))
        # truncation: 3e-14 times fifth derivatives of exp(u), up to a few tens
        assert_allclose(space.jacobian(u), got, rtol=1e-9, atol=1e-11)


def test_fixed_entries_do_not_move(space):
    fixed = ~np.isnan(space.table.fixed)
    moves = space.jacobian(random_points(space)[0])
    assert_array_equal(moves[fixed], 0.0)
    assert np.linalg.matrix_rank(moves) == space.size  # and every free coordinate moves something of its own


def test_pull_back_is_the_chain_rule(space):
    u = random_points(space)[0]
    weights = np.random.default_rng(0).standard_normal(space.layout.size)
    got = jacobian(lambda v: np.atleast_1d(weights @ space.structural(v)), u, np.full(space.size, 1e-3))[0]
    assert_allclose(space.pull_back(u, weights), got, rtol=1e-8, atol=1e-9)


def test_fixed_entries_of_a_structure_are_ignored(make_space):
    space = make_space("anchored")
    structure = space.structure(random_points(space)[0])
    structure.loadings[0, 1] = 77.0  # fixed at zero
    restored = space.structure(space.free_vector(structure))
    assert restored.loadings[0, 1] == 0.0
    structure.loadings[0, 1] = 0.0
    assert_array_equal(restored.loadings, structure.loadings)


def test_an_upper_asymptote_follows_its_lower_one(make_space):
    space = make_space("anchored", "both")
    u = random_points(space)[0]
    item = np.flatnonzero(space.jacobian(u)[space.layout.index("lower")[1]])
    higher = u.copy()
    higher[item] += 1.0
    before, after = space.structure(u), space.structure(higher)
    assert after.lower[1] > before.lower[1]
    assert after.upper[1] > before.upper[1]
    share = (before.upper - before.lower) / (1.0 - before.lower)
    assert_allclose((after.upper - after.lower) / (1.0 - after.lower), share, rtol=1e-12)


def test_every_coordinate_moves_the_parameter_it_is_labelled_with(space):
    assert sorted(space.labels) == sorted(space.table.names)
    at = random_points(space)[0]
    natural = space.jacobian(at)[space.table.free]
    for coordinate, label in enumerate(space.labels):
        assert natural[space.table.names.index(label), coordinate] != 0.0


class TestResidualSkills:
    @pytest.fixture
    def extended(self, make_space):
        """A space with kappa, which optimisers see as it is and with either sign."""
        table = make_space("anchored", "both").table
        return ParameterSpace(replace(table, fixed=np.append(table.fixed, np.nan), scales=(ScaleBlock(LLM_SD),)))

    def test_round_trip_and_jacobian(self, extended):
        for u in random_points(extended):
            assert extended.structure(u).scales["llm_sd"] == u[extended.labels.index("llm_sd")]
            assert_allclose(extended.free_vector(extended.structure(u)), u, rtol=1e-11, atol=1e-12)
            wanted = jacobian(extended.structural, u, np.full(len(u), 1e-3))
            assert_allclose(extended.jacobian(u), wanted, rtol=1e-7, atol=1e-7)

    def test_recoding_covariates_leaves_it(self, extended):
        rng = np.random.default_rng(3)
        recoding = Recoding.whitening(rng.standard_normal((20, 2)) @ np.array([[1.0, 0.4], [0.0, 2.0]]) + 1.0)
        inner = extended.structure(random_points(extended)[0])
        assert recoding.user(inner).scales == inner.scales
        row = recoding.jacobian(extended.layout, inner).toarray()[extended.layout.index("llm_sd")]
        assert_array_equal(row, np.eye(extended.layout.size)[-1:])
