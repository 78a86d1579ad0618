"""Small linear algebra on stacks of matrices."""

import numpy as np
from scipy.linalg import lapack
from scipy.sparse.linalg import eigsh

_STRIP = 1_000  # rows of a large matrix at a time


def symmetrise(matrix):
    """(A + A') / 2 over the last two axes."""
    out = matrix + np.swapaxes(matrix, -1, -2)
    out *= 0.5
    return out


def positive_definite(matrices):
    """Whether each matrix of a stack (L, K, K) is positive definite; shape (L,)."""
    return np.linalg.eigvalsh(matrices)[:, 0] > 0.0


def cholesky_or_none(matrix):
    """Lower Cholesky factor of a symmetric matrix or of a stack, None where any is not positive definite."""
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None


def inverse_from(factor):
    """Inverse of A = C C' from its lower Cholesky factor C, in a third of the time of a general inverse.

    In the memory of the factor, an array in C's order (row by row), which is lost.
    """
    lapack.dpotri(factor.T, lower=0, overwrite_c=1)
    for start in range(0, len(factor), _STRIP):
        stop = start + _STRIP
        within = factor[start:stop, start:stop]
        within[...] = np.tril(within) + np.tril(within, -1).T
        factor[start:stop, stop:] = factor[stop:, start:stop].T
    return factor


def congruence(jacobian, matrix):
    """J H J' of a sparse J (Q, P) and a symmetric H (P, P); takes memory for J H and the result, no more."""
    inner = jacobian @ matrix
    out = np.empty((jacobian.shape[0],) * 2)
    for start in range(0, len(out), _STRIP):  # the product of a turned matrix would copy it
        where = slice(start, start + _STRIP)
        out[where] = (jacobian @ inner[where].T).T
    return out


def inverse_triangle(factor):
    """Inverse of a lower triangular matrix."""
    return lapack.dtrtri(factor, lower=1)[0]


def extreme_eigenvalues(matrix, inverse):
    """The smallest and the largest eigenvalue of a positive definite matrix whose inverse is known, (2,)."""
    largest, of_inverse = (eigsh(one, k=1, which="LA", return_eigenvectors=False)[0] for one in (matrix, inverse))
    return np.array([1.0 / of_inverse, largest])


def solve_vectors(matrices, vectors):
    """Solutions of A_l x_l = v_l for stacks (L, K, K) and (L, K)."""
    return np.linalg.solve(matrices, vectors[..., None])[..., 0]


def log_determinant(matrices):
    """Log-determinants of positive definite matrices."""
    return np.linalg.slogdet(matrices)[1]


def null_space(matrix, tolerance):
    """Orthonormal basis of the directions whose relative singular value is at most ``tolerance``."""
    if len(matrix) > matrix.shape[1]:
        matrix = np.linalg.qr(matrix, mode="r")  # the same singular values; the left vectors would fill the memory
    _, singular, right = np.linalg.svd(matrix)
    rank = int(np.sum(singular > tolerance * singular[0])) if len(singular) and singular[0] > 0 else 0
    return right[rank:].T
