"""The prior of random effects: the log density of a family's effects and its derivatives in Sigma."""

import numpy as np

_LOG_2PI = np.log(2.0 * np.pi)


class EffectsPrior:
    """Log density of a family's effects, alpha ~ N(0, Sigma) and z ~ N(0, I), and its derivatives in Sigma's triangle.

    Parameters
    ----------
    cov : array (K, K)
        Sigma.
    size : int, optional
        D, the number of effects, K by default; those beyond the first K are standard normal.
    """

    def __init__(self, cov, size=None):
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
        self.basis = basis  # dSigma / d s

    def log_density(self, alpha):
        """The log density of effects alpha (..., D), array (...)."""
        return self.constant - 0.5 * np.einsum("...k,...k->...", alpha @ self.precision, alpha)

    def gradient(self, second_moment):
        """The symmetric derivative G_l in Sigma of the expected log density of each family's effects: array (L, K, K).

        ``second_moment`` (L, D, D) holds E[alpha alpha'] of each family.
        """
        k = self.k
        inverse = self.precision[:k, :k]
        return 0.5 * (inverse @ second_moment[:, :k, :k] @ inverse - inverse)

    def scores(self, alpha):
        """Derivatives of the log density in the lower triangle of Sigma at effects (M, D): array (M, K (K + 1) / 2)."""
        k = self.k
        inverse = self.precision[:k, :k]
        pulled = alpha[:, :k] @ inverse
        outer = pulled[:, self.rows] * pulled[:, self.columns] - inverse[self.rows, self.columns]
        return np.where(self.rows == self.columns, 0.5, 1.0) * outer

    def hessian(self, second_moment, count):
        """Expected second derivatives in the lower triangle, (count / 2) tr(P V_i P V_j) - tr(P V_i P V_j P E[a a']).

        P is the inverse of Sigma and V_i its derivative in entry i; ``second_moment`` (D, D) is the sum of E[a a'] over
        ``count`` families.
        """
        k = self.k
        inverse = self.precision[:k, :k]
        weighted = np.einsum("km,imn->ikn", inverse, self.basis)  # P V_i
        trace = np.einsum("ikm,jmk->ij", weighted, weighted)
        pulled = inverse @ second_moment[:k, :k]
        cubic = np.einsum("ikm,jmn,nk->ij", weighted, weighted, pulled)
        return 0.5 * count * trace - 0.5 * (cubic + cubic.T)
