"""Curvature of a family's effects and those of its LLMs, eliminated LLM by LLM.

H_l, the curvature in a family's effects a (D) and the residual skills e_i (K) of its LLMs, has no block between two
LLMs. With C_i and B_i the blocks (e_i, e_i) and (a, e_i), and T_i = C_i^-1 B_i', the effects of LLMs are profiled out
exactly: S_l = H_aa - sum_i B_i T_i is what is left for a, log|H_l| = log|S_l| + sum_i log|C_i|, and the part of H_l^-1
that concerns (a, e_i) has the blocks S^-1, -S^-1 T_i' and C_i^-1 + T_i S^-1 T_i'. The cost grows with the number of
LLMs, not with its square.
"""

from dataclasses import dataclass

import numpy as np

from ..numerics.linalg import cholesky_or_none, log_determinant, positive_definite, solve_vectors


@dataclass(frozen=True)
class TwoLevelCurvature:
    """H_l of all families.

    Attributes
    ----------
    cells : Cells
        Says which LLM is of which family.
    family : array (L, D, D)
        S_l.
    llm : array (n, K, K)
        C_i, for the LLMs that have cells, in their order.
    cross : array (n, K, D)
        T_i.
    """

    cells: object
    family: np.ndarray
    llm: np.ndarray
    cross: np.ndarray

    @classmethod
    def eliminated(cls, cells, blocks, family_prior, llm_prior):
        """From each LLM's sums of weighted products of effect loadings (n, D + K, D + K), and prior precisions."""
        d = len(family_prior)
        llm = blocks[:, d:, d:] + llm_prior
        mixed = blocks[:, d:, :d]
        cross = np.linalg.solve(llm, mixed)
        left = cells.sum_of_llms(blocks[:, :d, :d] - np.swapaxes(mixed, 1, 2) @ cross)
        return cls(cells, left + family_prior, llm, cross)

    def solve(self, family, llm):
        """H^-1 (v_a, v_e) for v_a (L, D) and v_e (n, K), in the same shapes."""
        cells = self.cells
        reduced = family - cells.sum_of_llms(np.einsum("nkd,nk->nd", self.cross, llm))
        u = solve_vectors(self.family, reduced)
        return u, solve_vectors(self.llm, llm) - np.einsum("nkd,nd->nk", self.cross, u[cells.llm_family])

    def log_determinant(self):
        """log|H_l|, (L,)."""
        return log_determinant(self.family) + self.cells.sum_of_llms(log_determinant(self.llm))

    def defined(self):
        """Whether H_l is positive definite: bool array (L,)."""
        if cholesky_or_none(self.llm) is not None and cholesky_or_none(self.family) is not None:
            return np.ones(len(self.family), dtype=bool)
        lost = self.cells.sum_of_llms((~positive_definite(self.llm)).astype(int))
        return positive_definite(self.family) & (lost == 0)

    def inverse_blocks(self):
        """The part of H^-1 that concerns the family's effects and those of one LLM, (n, D + K, D + K)."""
        n, k, d = self.cross.shape
        out = np.empty((n, d + k, d + k))
        out[:, :d, :d] = np.linalg.inv(self.family)[self.cells.llm_family]
        mixed = self.cross @ out[:, :d, :d]
        out[:, d:, :d] = -mixed
        out[:, :d, d:] = -np.swapaxes(mixed, 1, 2)
        out[:, d:, d:] = np.linalg.inv(self.llm) + mixed @ np.swapaxes(self.cross, 1, 2)
        return out

    def transformed(self, root):
        """The curvature in the effects (C a, C_K e), given C (D, D); C_K are its first K rows and columns."""
        k = self.llm.shape[1]
        inverse = np.linalg.inv(root)
        own = inverse[:k, :k]
        return TwoLevelCurvature(
            self.cells, inverse.T @ self.family @ inverse, own.T @ self.llm @ own, root[:k, :k] @ self.cross @ inverse
        )
