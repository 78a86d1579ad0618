"""The curvature in the effects of all levels, factored by Schur complements from the innermost level outwards.

H_l is minus the Hessian, in the effects of a family and of all units within it, of the log joint density of scores and
effects. Two units of one level have no cells in common, so that the block of H_l for two units is zero unless one lies
within the other. For an innermost unit u let P be the sum over its cells of h w w', where h is minus the second
derivative of the cell's log-density in eta, or its expectation, and w are the effect loadings on the unit (rows u) and
on all units that it lies in (rows o). Let Q be the prior precision of a unit's effects. Then

    C_u = P_uu + Q,   T_u = C_u^-1 P_uo,   P_oo - P_ou T_u  (the Schur complement),

and the Schur complements of the units within a unit of the next level are summed to the P of that unit, and so on. At
the outermost level S_l = P + Q. So log|H_l| = log|S_l| + sum_u log|C_u|, and the block of H_l^-1 for a unit and all
that it lies in follows from the block O for the outer units: [O, -O T_u'; -T_u O, C_u^-1 + T_u O T_u']. The cost is
linear in the number of units.
"""


from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..components.cells import Units
from ..numerics.linalg import cholesky_or_none, log_determinant, positive_definite, solve_vectors


@dataclass(frozen=True)
class NestedCurvature:
    """H_l of all families, factored.

    Attributes
    ----------
    units : tuple of Units
        The units of each level, outermost first.
    blocks : tuple of arrays (n, D, D)
        S_l, then C_u of each inner level's units.
    cross : tuple of arrays (n, D, D_o)
        T_u of each inner level's units; D_o is the number of effects of all outer levels.
    """

    units: tuple[Units, ...]
    blocks: tuple[np.ndarray, ...]
    cross: tuple[np.ndarray, ...]

    @classmethod
    def eliminated(cls, units: Sequence[Units], sums: np.ndarray, priors: Sequence[np.ndarray]) -> NestedCurvature:
        """Return the factored curvature from the matrices P of the innermost units.

        Parameters
        ----------
        units : tuple of Units
            The units of each level, outermost first.
        sums : array (n, D_1 + D_2 + ..., D_1 + D_2 + ...)
            P of each innermost unit (``modes.weighted_outer``).
        priors : sequence of arrays (D, D)
            Prior precision of a unit's effects, level by level.
        """
        blocks: list[np.ndarray] = []
        cross: list[np.ndarray] = []
        for level, prior in zip(units[:0:-1], priors[:0:-1], strict=True):
            d = sums.shape[1] - len(prior)
            block, mixed = sums[:, d:, d:] + prior, sums[:, d:, :d]
            turned = np.linalg.solve(block, mixed)
            sums = level.sum_to_parent(sums[:, :d, :d] - np.swapaxes(mixed, 1, 2) @ turned)
            blocks.insert(0, block)
            cross.insert(0, turned)
        return cls(tuple(units), (sums + priors[0], *blocks), tuple(cross))

    @property
    def outermost(self) -> np.ndarray:
        """S_l, the curvature in families' effects, maximised over all others: array (L, D, D)."""
        return self.blocks[0]

    def _inner(self) -> Iterator[tuple[Units, np.ndarray, np.ndarray]]:
        """Return (units, C_u, T_u) of each inner level, outermost first."""
        return zip(self.units[1:], self.blocks[1:], self.cross, strict=True)

    def solve(self, vectors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return H^-1 v level by level, for v given level by level as arrays (n, D)."""
        vectors = list(vectors)
        for place, (units, _, cross) in reversed(list(enumerate(self._inner(), 1))):
            # T_u' v_u, subtracted from the right-hand sides of all outer levels
            carried = units.sum_to_parent(np.einsum("nkd,nk->nd", cross, vectors[place]))
            for level in range(place - 1, -1, -1):
                size = vectors[level].shape[1]
                vectors[level] = vectors[level] - carried[:, carried.shape[1] - size :]
                carried = carried[:, : carried.shape[1] - size]
                if level:
                    carried = self.units[level].sum_to_parent(carried)
        solved = [solve_vectors(self.blocks[0], vectors[0])]
        outer = solved[0]
        for (units, block, cross), vector in zip(self._inner(), vectors[1:], strict=True):
            outer = outer[np.asarray(units.parent)]
            inner = solve_vectors(block, vector) - np.einsum("nkd,nd->nk", cross, outer)
            solved.append(inner)
            outer = np.hstack([outer, inner])
        return solved

    def log_determinant(self) -> np.ndarray:
        """Return log|H_l|, an array (L,)."""
        out = log_determinant(self.blocks[0])
        for one, block, _ in self._inner():
            out = out + one.sum_to_family(log_determinant(block))
        return out

    def defined(self) -> np.ndarray:
        """Return whether H_l is positive definite, a bool array (L,)."""
        if all(cholesky_or_none(block) is not None for block in reversed(self.blocks)):
            return np.ones(len(self.blocks[0]), dtype=bool)
        out = positive_definite(self.blocks[0])
        for one, block, _ in self._inner():
            out = out & (one.sum_to_family((~positive_definite(block)).astype(int)) == 0)
        return out

    def inverse_blocks(self) -> np.ndarray:
        """Return the block of H^-1 for the effects of each innermost unit and of all units that it lies in.

        Returns
        -------
        array (n, D_1 + D_2 + ..., D_1 + D_2 + ...)
        """
        out = np.linalg.inv(self.blocks[0])
        for one, block, cross in self._inner():
            n, k, d = cross.shape
            outer, out = out, np.empty((n, d + k, d + k))
            out[:, :d, :d] = outer[one.parent]
            mixed = cross @ out[:, :d, :d]
            out[:, d:, :d] = -mixed
            out[:, :d, d:] = -np.swapaxes(mixed, 1, 2)
            out[:, d:, d:] = np.linalg.inv(block) + mixed @ np.swapaxes(cross, 1, 2)
        return out

    def transformed(self, roots: Sequence[np.ndarray]) -> NestedCurvature:
        """Return the curvature in effects f = R z, from this one in z and R of each level (D, D)."""
        inverses = [np.linalg.inv(root) for root in roots]
        blocks = tuple(inverse.T @ block @ inverse for inverse, block in zip(inverses, self.blocks, strict=True))
        cross, outer = [], inverses[0]
        for root, inverse, turned in zip(roots[1:], inverses[1:], self.cross, strict=True):
            cross.append(root @ turned @ outer)
            outer = _block_diagonal(outer, inverse)
        return NestedCurvature(self.units, blocks, tuple(cross))

    def chosen(self, families: np.ndarray, other: NestedCurvature) -> NestedCurvature:
        """Return this curvature for the chosen families (L,), the other one for the rest."""
        kept = [families[units.family] for units in self.units]
        blocks = tuple(map(where_first, kept, self.blocks, other.blocks))
        cross = tuple(map(where_first, kept[1:], self.cross, other.cross))
        return NestedCurvature(self.units, blocks, cross)

    @classmethod
    def joined(cls, batches: Sequence[NestedCurvature], units: Sequence[Units]) -> NestedCurvature:
        """Return the curvatures of all families, whose units are given, from those of batches in their order."""
        blocks = tuple(np.concatenate(some) for some in zip(*(batch.blocks for batch in batches), strict=True))
        cross = tuple(np.concatenate(some) for some in zip(*(batch.cross for batch in batches), strict=True))
        return cls(tuple(units), blocks, cross)


def where_first(chosen: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return entries of ``one`` where the first axis is chosen, of ``other`` elsewhere."""
    return np.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def _block_diagonal(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the matrix with two square blocks on its diagonal."""
    out = np.zeros((len(first) + len(second),) * 2)
    out[: len(first), : len(first)], out[len(first) :, len(first) :] = first, second
    return out
