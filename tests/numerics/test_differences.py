"""Central differences of fourth order."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from latentscale.numerics.differences import jacobian


def test_polynomials_of_degree_four_are_differentiated_exactly():
    # the rule has no error up to x^4, so only rounding is left
    x = np.array([0.5, -1.5])
    got = jacobian(lambda v: np.array([v[0] ** 4 + v[1], v[0] * v[1] ** 3]), x, np.array([0.1, 0.2]))
    assert_allclose(got, [[4 * 0.5**3, 1.0], [(-1.5) ** 3, 3 * 0.5 * 1.5**2]], rtol=1e-12)


def test_the_error_falls_with_the_fourth_power_of_the_step():
    x = np.array([0.3])
    errors = [jacobian(np.exp, x, np.array([h]))[0, 0] - np.exp(0.3) for h in (0.2, 0.1)]
    # the next term of the series changes the ratio 16 by the order of h^2
    assert errors[0] / errors[1] == pytest.approx(16.0, rel=0.02)


def test_a_scalar_argument_gives_one_column():
    assert jacobian(lambda v: np.array([v[0], 2 * v[0], 3.0]), np.ones(1), np.ones(1)).shape == (3, 1)
