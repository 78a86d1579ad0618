"""Nodes integrate what they should, and draws repeat where they must."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

from latentscale.numerics.nodes import gauss_hermite, normal_log_density, sobol


def expectation(nodes, values, log_density):
    """Sum over the nodes of the integral of values times a density, for z (..., M, K)."""
    return np.sum(np.exp(nodes.log_weight + log_density) * values, axis=-1)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_normal_log_density(dimension):
    z = np.random.default_rng(0).standard_normal((4, 5, dimension))
    assert_allclose(normal_log_density(z), stats.norm.logpdf(z).sum(axis=-1), rtol=1e-14)


class TestGaussHermite:
    @pytest.mark.parametrize(("points", "dimension"), [(1, 1), (3, 1), (12, 1), (2, 2), (5, 2), (3, 3)])
    def test_polynomials_up_to_degree_2n_minus_1_in_each_coordinate(self, points, dimension):
        nodes = gauss_hermite(points, dimension)
        assert nodes.z.shape == (points**dimension, dimension)
        log_density = normal_log_density(nodes.z)
        degrees = range(2 * points)
        for power in itertools.product(degrees, repeat=dimension):
            values = np.prod(nodes.z ** np.array(power), axis=1)
            exact = np.prod([0.0 if p % 2 else special.factorial2(p - 1, extend="complex").real for p in power])
            size = np.sum(np.exp(nodes.log_weight + log_density) * np.abs(values))
            # rounding, relative to the sum of absolute terms (odd moments cancel)
            assert abs(expectation(nodes, values, log_density) - exact) < 1e-12 * max(size, 1.0)

    def test_degree_2n_is_not_exact(self):
        nodes = gauss_hermite(3, 1)
        got = expectation(nodes, nodes.z[:, 0] ** 6, normal_log_density(nodes.z))
        assert_allclose(got, 9.0, rtol=1e-12)  # the moment itself is 15

    def test_one_group(self):
        nodes = gauss_hermite(4, 2)
        assert nodes.groups == 1
        assert_array_equal(nodes.group(0).log_weight, nodes.log_weight)


@pytest.mark.parametrize("t_df", [None, 5.0])
class TestSobol:
    def test_simple_integrals_within_their_error(self, t_df):
        nodes = sobol(512, 3, 8, seed=1, families=4, t_df=t_df)
        assert nodes.z.shape == (4, 8 * 512, 3)
        assert nodes.log_weight.shape == (4, 8 * 512)
        log_density = normal_log_density(nodes.z)
        functions = {
            "one": (lambda z: np.ones(z.shape[:-1]), 1.0),
            "mean": (lambda z: z.sum(axis=-1), 0.0),
            "second": (lambda z: z[..., 0] ** 2, 1.0),
            "product": (lambda z: z[..., 0] * z[..., 1], 0.0),
            "exponential": (lambda z: np.exp(z[..., 2]), np.exp(0.5)),
        }
        for name, (function, exact) in functions.items():
            values = function(nodes.z)
            got = expectation(nodes, values, log_density)
            # plain Monte Carlo's standard error; a net has less. Six of them, for 4 families x 5 functions
            plain = np.std(values * np.exp(nodes.log_weight + log_density), axis=-1) * np.sqrt(8 * 512)
            assert np.all(np.abs(got - exact) < 6.0 * plain + 1e-12), name

    def test_weights_are_one_over_the_proposal(self, t_df):
        nodes = sobol(64, 2, 4, seed=2, families=3, t_df=t_df)
        law = stats.multivariate_normal(np.zeros(2)) if t_df is None else stats.multivariate_t(np.zeros(2), df=t_df)
        assert_allclose(nodes.log_weight, -law.logpdf(nodes.z) - np.log(256), rtol=1e-10)

    def test_draws_follow_the_proposal(self, t_df):
        z = sobol(1024, 2, 4, seed=3, families=1, t_df=t_df).z[0]
        law = stats.norm if t_df is None else stats.t(t_df)
        # 1.63 / sqrt(n) is the 1% point for independent draws; a net is far more even than those
        for column in z.T:
            assert stats.kstest(column, law.cdf).statistic < 1.63 / np.sqrt(len(z))

    def test_a_seed_repeats_and_another_differs(self, t_df):
        first = sobol(32, 2, 4, seed=7, families=3, t_df=t_df)
        again = sobol(32, 2, 4, seed=7, families=3, t_df=t_df)
        other = sobol(32, 2, 4, seed=8, families=3, t_df=t_df)
        assert_array_equal(first.z, again.z)
        assert_array_equal(first.log_weight, again.log_weight)
        assert not np.any(first.z == other.z)

    def test_families_and_scramblings_have_their_own_points(self, t_df):
        z = sobol(32, 2, 4, seed=7, families=3, t_df=t_df).z.reshape(3 * 4, 32, 2)
        for one, other in itertools.combinations(z, 2):
            assert not np.any(one == other)

    def test_doubling_the_draws_keeps_the_first_points_of_each_scrambling(self, t_df):
        few = sobol(32, 2, 4, seed=7, families=3, t_df=t_df)
        many = sobol(64, 2, 4, seed=7, families=3, t_df=t_df)
        assert_array_equal(few.z.reshape(3, 4, 32, 2), many.z.reshape(3, 4, 64, 2)[:, :, :32])

    def test_a_group_stands_for_the_whole(self, t_df):
        nodes = sobol(128, 2, 4, seed=5, families=2, t_df=t_df)
        parts = [nodes.group(number) for number in range(4)]
        assert_array_equal(np.concatenate([part.z for part in parts], axis=1), nodes.z)
        values = [expectation(part, part.z[..., 0] ** 2, normal_log_density(part.z)) for part in parts]
        whole = expectation(nodes, nodes.z[..., 0] ** 2, normal_log_density(nodes.z))
        assert_allclose(np.mean(values, axis=0), whole, rtol=1e-12)
        assert np.all(np.abs(np.array(values) - 1.0) < 0.5)  # each by itself, not a quarter of it
        assert parts[0].groups == 1


def test_a_net_beats_independent_draws():
    def square_error(seed):
        nodes = sobol(256, 2, 1, seed=seed, families=20)
        return np.mean((expectation(nodes, nodes.z[..., 0], normal_log_density(nodes.z))) ** 2)

    # 1/256 for independent draws; the net's error for a smooth function is at least ten times less
    assert np.mean([square_error(seed) for seed in range(5)]) < 0.01 / 256
