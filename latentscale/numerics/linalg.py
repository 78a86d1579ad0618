"""Small linear algebra on stacks of matrices."""

import numpy as np
from scipy.linalg import lapack
from scipy.sparse.linalg import eigsh


def symmetrise(matrix):
    """(A + A') / 2 over the last two axes."""
    return 0.5 * (matrix + np.swapaxes(matrix, -1, -2))


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
    """Inverse of A = C C' from its lower Cholesky factor C, in a third of the time of a general inverse."""
    inverse, _ = lapack.dpotri(factor, lower=1)
    return np.tril(inverse) + np.tril(inverse, -1).T


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
