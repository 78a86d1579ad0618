"""Linear algebra on stacks agrees with the one matrix at a time."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from latentscale.numerics.linalg import (
    cholesky_or_none,
    congruence,
    extreme_eigenvalues,
    inverse_from,
    inverse_triangle,
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


@pytest.mark.parametrize("size", [3, pytest.param(1_030, marks=pytest.mark.slow)])  # in one strip of 1,000 rows, in two
def test_inverses_from_a_factor(size):
    root = np.random.default_rng(2).standard_normal((size, size + 20))
    matrix = root @ root.T / size + np.eye(size)
    factor = cholesky_or_none(matrix)
    assert_allclose(inverse_triangle(factor) @ factor, np.eye(size), atol=1e-10)
    inverse = inverse_from(factor)
    assert np.shares_memory(inverse, factor)
    assert_array_equal(inverse, inverse.T)
    assert_allclose(inverse @ matrix, np.eye(size), atol=1e-10)
    smallest, largest = np.linalg.eigvalsh(matrix)[[0, -1]]
    assert_allclose(extreme_eigenvalues(matrix, inverse), [smallest, largest], rtol=1e-9)


@pytest.mark.parametrize("size", [4, pytest.param(1_030, marks=pytest.mark.slow)])
def test_congruence(size):
    rng = np.random.default_rng(3)
    matrix = symmetrise(rng.standard_normal((size, size)))
    jacobian = sparse.random_array((size + 30, size), density=0.05, rng=rng, format="csr")
    assert_allclose(congruence(jacobian, matrix), jacobian @ matrix @ jacobian.toarray().T, rtol=1e-10, atol=1e-10)


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
