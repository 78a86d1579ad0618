"""Parameter spaces of random identification forms: feasible everywhere, and nothing lost on a round trip."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.numerics.differences import jacobian
from latentscale.parameters.recoding import Recoding
from latentscale.parameters.space import ParameterSpace
from latentscale.parameters.table import ParameterTable
from latentscale.testing import patterns

QUICK = settings(max_examples=60)


@st.composite
def spaces(draw):
    benchmarks = tuple(f"b{j}" for j in range(draw(st.integers(1, 6))))
    form = draw(patterns(benchmarks, st.integers(1, min(len(benchmarks), 4)), identified=None))
    pattern = form.resolve(benchmarks)
    j, k, p = len(benchmarks), pattern.n_skills, draw(st.integers(1, 3))
    mode = st.lists(st.booleans(), min_size=j, max_size=j)
    chance = draw(st.lists(st.floats(0.0, 0.6), min_size=j, max_size=j))
    lower = np.where(draw(mode), np.nan, chance)
    upper = np.where(draw(mode), np.nan, 1.0)
    blocks = [pattern.fixed.ravel(), np.full(j + p * k, np.nan), pattern.fixed_covariance(), np.full(j, np.nan)]
    n_link = draw(st.sampled_from([0, 6]))
    fixed = np.concatenate([*blocks, lower, upper, np.full(j * n_link, np.nan)])
    terms = tuple(f"x{number}" for number in range(p))
    return ParameterSpace(ParameterTable(benchmarks, pattern.skills, terms, fixed, n_link=n_link))


@st.composite
def points(draw, bound):
    """A space and a free vector in it."""
    space = draw(spaces())
    # by a seed: entries of their own would make examples of some forty draws each
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return space, rng.uniform(-bound, bound, space.size)


@QUICK
@given(points(12.0))
def test_every_free_vector_is_feasible(point):
    space, u = point
    structure = space.structure(u)
    assert np.all(structure.precision > 0.0)
    assert np.all(structure.lower >= 0.0)
    assert np.all(structure.lower < structure.upper)
    assert np.all(structure.upper <= 1.0)
    variances = np.diag(structure.skill_cov)
    fixed = space.table.fixed[space.layout.slices["skill_cov"]]
    unit = fixed[np.equal(*space.layout.triangle)] == 1.0
    assert_array_equal(variances[unit], 1.0)
    correlation = structure.skill_cov / np.sqrt(np.outer(variances, variances))
    assert_allclose(np.diag(correlation), 1.0, rtol=1e-14)
    # partial correlations of up to 12/sqrt(145) leave this much of each of four dimensions, or more
    assert np.linalg.eigvalsh(correlation)[0] > 1e-9
    assert_array_equal(structure.skill_cov, structure.skill_cov.T)


@QUICK
@given(points(3.0))
def test_round_trips(point):
    space, u = point
    structure = space.structure(u)
    # coordinates are of order one; logistic and partial-correlation maps at 3 lose three or four digits on the way back
    assert_allclose(space.free_vector(structure), u, rtol=1e-9, atol=1e-10)
    natural = space.table.natural(structure)
    assert_array_equal(space.table.natural(space.table.structure(natural)), natural)
    assert_array_equal(space.table.read(dict(zip(space.table.names, natural, strict=True))), natural)


@QUICK
@given(points(2.0))
def test_the_jacobian_is_that_of_differences(point):
    space, u = point
    got = jacobian(space.structural, u, np.full(space.size, 1e-3))
    # values are of order one and rounded at 1e-16, over steps of 1e-3; those of precisions, which are larger, have no
    # derivative that is small but not zero
    assert_allclose(space.jacobian(u), got, rtol=1e-8, atol=1e-10)


@QUICK
@given(points(2.0), st.integers(0, 2**32 - 1))
def test_recoding_keeps_the_linear_predictor(point, seed):
    space, u = point
    rng = np.random.default_rng(seed)
    p = space.layout.n_covariates
    x = rng.standard_normal((p + 5, p)) * rng.uniform(0.5, 20.0, p) + rng.uniform(-10.0, 10.0, p)
    recoding = Recoding.whitening(x)
    structure = space.structure(u)
    internal = recoding.internal(structure)
    back = recoding.user(internal)

    def predictor(v, design):
        return design @ v.slopes @ v.loadings.T + v.intercepts

    # rounding times the condition number of a handful of random rows
    size = 1.0 + np.abs(predictor(structure, x)).max()
    assert_allclose(predictor(internal, recoding.design(x)), predictor(structure, x), atol=1e-9 * size)
    # slopes are of order one
    assert_allclose(back.slopes, structure.slopes, rtol=1e-8, atol=1e-8)
    assert_allclose(back.intercepts, structure.intercepts, rtol=1e-8, atol=1e-8 * size)
