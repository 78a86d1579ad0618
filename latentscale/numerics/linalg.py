"""Linear algebra that numpy does not have in one call, for single matrices and for stacks of small ones."""

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import sparray, spmatrix
from scipy.sparse.linalg import eigsh

_STRIP = 1_000  # rows of a large matrix that are treated at one time


def symmetrise(matrix: np.ndarray) -> np.ndarray:
    """Return (A + A') / 2 for a matrix A or a stack of matrices (..., K, K)."""
    out = matrix + np.swapaxes(matrix, -1, -2)
    out *= 0.5
    return out


def positive_definite(matrices: np.ndarray) -> np.ndarray:
    """Return whether each matrix of a stack (L, K, K) is positive definite, a boolean array (L,)."""
    return np.linalg.eigvalsh(matrices)[:, 0] > 0.0


def cholesky_or_none(matrix: np.ndarray) -> np.ndarray | None:
    """Return the lower Cholesky factors of a symmetric matrix or a stack, or None if one is not positive definite."""
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None


def inverse_from(factor: np.ndarray) -> np.ndarray:
    """Return the inverse of A = C C' from its lower Cholesky factor C, in a third of the time of a general inverse.

    The inverse (P, P) is written over ``factor``, which must be an array in row-major order.
    """
    lapack.dpotri(factor.T, lower=0, overwrite_c=1)
    for start in range(0, len(factor), _STRIP):
        stop = start + _STRIP
        within = factor[start:stop, start:stop]
        within[...] = np.tril(within) + np.tril(within, -1).T
        factor[start:stop, stop:] = factor[stop:, start:stop].T
    return factor


def congruence(jacobian: sparray | spmatrix, matrix: np.ndarray) -> np.ndarray:
    """Return J H J' (Q, Q) for a sparse J (Q, P) and a symmetric H (P, P).

    It needs memory for J H and for the result, and no more.
    """
    inner = jacobian @ matrix
    out = np.empty((jacobian.shape[0],) * 2)
    for start in range(0, len(out), _STRIP):  # a product with the whole of (J H)' would copy it first
        where = slice(start, start + _STRIP)
        out[where] = (jacobian @ inner[where].T).T
    return out


def inverse_triangle(factor: np.ndarray) -> np.ndarray:
    """Return the inverse of a lower triangular matrix (P, P)."""
    return lapack.dtrtri(factor, lower=1)[0]


def extreme_eigenvalues(matrix: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return the smallest and the largest eigenvalue (2,) of a positive definite matrix whose inverse is known."""
    largest, of_inverse = (eigsh(one, k=1, which="LA", return_eigenvectors=False)[0] for one in (matrix, inverse))
    return np.array([1.0 / of_inverse, largest])


def solve_vectors(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the solutions x_l (L, K) of A_l x_l = v_l for stacks of matrices (L, K, K) and of vectors (L, K)."""
    return np.linalg.solve(matrices, vectors[..., None])[..., 0]


def log_determinant(matrices: np.ndarray) -> np.ndarray:
    """Return the logarithms of the determinants of a stack of positive definite matrices (..., K, K)."""
    return np.linalg.slogdet(matrices)[1]


def null_space(matrix: np.ndarray, tolerance: float) -> np.ndarray:
    """Return an orthonormal basis (P, n) of the numerical null space of a matrix (M, P).

    It is spanned by the right singular vectors whose singular values are at most ``tolerance`` times the largest one.
    """
    if len(matrix) > matrix.shape[1]:
        # the triangular factor has the same singular values; the left vectors of a tall matrix would fill memory
        matrix = np.asarray(np.linalg.qr(matrix, mode="r"))
    _, singular, right = np.linalg.svd(matrix)
    rank = int(np.sum(singular > tolerance * singular[0])) if len(singular) and singular[0] > 0 else 0
    return right[rank:].T
