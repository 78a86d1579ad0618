"""The prior law of a family's random effects: its log-density, and the derivatives of that in Sigma."""


from __future__ import annotations

import numpy as np

_LOG_2PI = np.log(2.0 * np.pi)


class EffectsPrior:
    """The law of a family's effects (alpha, z), alpha ~ N(0, Sigma) and z ~ N(0, I) independent.

    Derivatives are taken in the lower triangle of Sigma, row by row.

    Parameters
    ----------
    cov : array (K, K)
        Sigma.
    size : int, optional
        D, the number of effects; those beyond the first K are standard normal. By default K.
    """

    def __init__(self, cov: np.ndarray, size: int | None = None) -> None:
        k = len(cov)
        size = k if size is None else size
        self.cov, self.k = cov, k
        self.precision = np.eye(size)
        self.precision[:k, :k] = np.linalg.inv(cov)
        self.constant = -0.5 * (np.linalg.slogdet(cov)[1] + size * _LOG_2PI)
        rows, columns = np.tril_indices(k)
        self.rows, self.columns = rows, columns
        basis = np.zeros((len(rows), *cov.shape))
        index = np.arange(len(rows))
        basis[index, rows, columns] = basis[index, columns, rows] = 1.0
        self.basis = basis  # the derivative of Sigma in each entry of its triangle

    def log_density(self, alpha: np.ndarray) -> np.ndarray:
        """Return the log-density of effects (..., D), an array (...)."""
        return self.constant - 0.5 * np.einsum("...k,...k->...", alpha @ self.precision, alpha)

    def gradient(self, second_moment: np.ndarray) -> np.ndarray:
        """Return the symmetric derivative in Sigma of each family's expected log-density, an array (L, K, K).

        It is (P M_l P - P) / 2, with P the inverse of Sigma and M_l = E[alpha alpha'] in ``second_moment`` (L, D, D).
        """
        k = self.k
        inverse = self.precision[:k, :k]
        return 0.5 * (inverse @ second_moment[:, :k, :k] @ inverse - inverse)

    def scores(self, alpha: np.ndarray) -> np.ndarray:
        """Return the derivatives of the log-density in the triangle of Sigma at effects (M, D): (M, K (K + 1) / 2)."""
        k = self.k
        inverse = self.precision[:k, :k]
        pulled = alpha[:, :k] @ inverse
        outer = pulled[:, self.rows] * pulled[:, self.columns] - inverse[self.rows, self.columns]
        return np.where(self.rows == self.columns, 0.5, 1.0) * outer

    def hessian(self, second_moment: np.ndarray, count: int) -> np.ndarray:
        """Return the expected second derivatives in the triangle of Sigma, summed over ``count`` families.

        They are (count / 2) tr(P V_i P V_j) - tr(P V_i P V_j P M), with P the inverse of Sigma, V_i the derivative of
        Sigma in entry i of its triangle, and M the sum of E[alpha alpha'] over the families, ``second_moment`` (D, D).
        """
        k = self.k
        inverse = self.precision[:k, :k]
        weighted = np.einsum("km,imn->ikn", inverse, self.basis)  # P V_i
        trace = np.einsum("ikm,jmk->ij", weighted, weighted)
        pulled = inverse @ second_moment[:k, :k]
        cubic = np.einsum("ikm,jmn,nk->ij", weighted, weighted, pulled)
        return 0.5 * count * trace - 0.5 * (cubic + cubic.T)
