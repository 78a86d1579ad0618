"""Linear algebra on stacks agrees with the one matrix at a time."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.numerics.linalg import (
    cholesky_or_none,
    log_determinant,
    null_space,
    positive_definite,
    solve_vectors,
    symmetrise,
)


@pytest.fixture
def stack():
    root = np.random.default_rng(0).standard_normal((5, 3, 4))
    return root @ np.swapaxes(root, 1, 2)


def test_symmetrise():
    matrices = np.arange(18.0).reshape(2, 3, 3)
    out = symmetrise(matrices)
    assert_array_equal(out, np.swapaxes(out, 1, 2))
    assert_array_equal(out[0, 0], [0.0, 2.0, 4.0])
    assert_array_equal(symmetrise(matrices[1]), out[1])


def test_positive_definite(stack):
    stack[1] -= 100.0 * np.eye(3)
    stack[3, :, 0] = stack[3, 0, :] = 0.0
    assert_array_equal(positive_definite(stack), [True, False, True, False, True])


def test_cholesky_or_none(stack):
    factor = cholesky_or_none(stack)
    assert_allclose(factor @ np.swapaxes(factor, 1, 2), stack, rtol=1e-12)
    stack[2] *= -1.0
    assert cholesky_or_none(stack) is None
    assert cholesky_or_none(stack[2]) is None


def test_solve_vectors_and_log_determinant(stack):
    vectors = np.random.default_rng(1).standard_normal((5, 3))
    solved = solve_vectors(stack, vectors)
    logs = log_determinant(stack)
    for matrix, vector, x, log in zip(stack, vectors, solved, logs, strict=True):
        # rounding times condition numbers of some hundreds
        assert_allclose(matrix @ x, vector, rtol=1e-10)
        assert_allclose(np.exp(log), np.linalg.det(matrix), rtol=1e-10)


def test_null_space():
    matrix = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    basis = null_space(matrix, 1e-9)
    assert basis.shape == (3, 2)
    assert_allclose(matrix @ basis, 0.0, atol=1e-14)
    assert_allclose(basis.T @ basis, np.eye(2), atol=1e-14)


def test_null_space_of_full_rank_is_empty_and_of_zero_everything():
    assert null_space(np.eye(3), 1e-9).shape == (3, 0)
    assert null_space(np.zeros((2, 3)), 1e-9).shape == (3, 3)


@pytest.mark.parametrize(("tolerance", "size"), [(1e-5, 0), (1e-3, 1)])
def test_null_space_counts_relative_to_the_largest_singular_value(tolerance, size):
    assert null_space(1e6 * np.diag([1.0, 1e-4]), tolerance).shape == (2, size)
