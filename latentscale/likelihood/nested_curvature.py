"""Curvature of the effects of all levels, eliminated from the innermost level outwards.

H_l, the curvature in the effects of a family and of the units within it, has no block between two units of one level,
so that it is an arrow, eliminated exactly by Schur complements. With P the sum over the cells of an innermost unit u of
weights times w w', w the effect loadings on the unit and on all that it lies in, split into the unit's own part and
the outer part o, and with Q the prior precision of a unit's effects,

    C_u = P_uu + Q,   T_u = C_u^-1 P_uo,   what is left for the outer effects: P_oo - P_ou T_u,

which is summed over the units within each unit of the next level, and so on. What is left at the outermost level is
S_l = sum + Q. So log|H_l| = log|S_l| + sum_u log|C_u|, and the part of H_l^-1 that concerns a unit u and all that it
lies in is made of the inverse O of the outer part, as [O, -O T_u'; -T_u O, C_u^-1 + T_u O T_u']. The cost grows with
the number of units, not with its square.
"""


from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..components.cells import Units
from ..numerics.linalg import cholesky_or_none, log_determinant, positive_definite, solve_vectors


@dataclass(frozen=True)
class NestedCurvature:
    """H_l of all families.

    Attributes
    ----------
    units : tuple of Units
        Of each level, outermost first.
    blocks : tuple of arrays (n, D, D)
        S_l, then C_u of each inner level's units.
    cross : tuple of arrays (n, D, D_o)
        T_u of each inner level's units; D_o counts the effects of all levels outside.
    """

    units: tuple[Units, ...]
    blocks: tuple[np.ndarray, ...]
    cross: tuple[np.ndarray, ...]

    @classmethod
    def eliminated(cls, units: Sequence[Units], sums: np.ndarray, priors: Sequence[np.ndarray]) -> NestedCurvature:
        """From sums of weighted products of effect loadings over the innermost units' cells.

        Parameters
        ----------
        units : tuple of Units
            Of each level, outermost first.
        sums : array (n, D_1 + D_2 + ..., D_1 + D_2 + ...)
        priors : sequence of arrays (D, D)
            Prior precision of a unit's effects, level by level.
        """
        blocks, cross = [], []
        for one, prior in zip(units[:0:-1], priors[:0:-1], strict=True):
            d = sums.shape[1] - len(prior)
            block, mixed = sums[:, d:, d:] + prior, sums[:, d:, :d]
            turned = np.linalg.solve(block, mixed)
            sums = one.sum_to_parent(sums[:, :d, :d] - np.swapaxes(mixed, 1, 2) @ turned)
            blocks.insert(0, block)
            cross.insert(0, turned)
        return cls(tuple(units), (sums + priors[0], *blocks), tuple(cross))

    @property
    def outermost(self) -> np.ndarray:
        """S_l, the curvature of families' effects when all others follow them: array (L, D, D)."""
        return self.blocks[0]

    def _inner(self) -> Iterator[tuple[Units, np.ndarray, np.ndarray]]:
        """(units, C_u, T_u) of each inner level, outermost first."""
        return zip(self.units[1:], self.blocks[1:], self.cross, strict=True)

    def solve(self, vectors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """H^-1 v for v given level by level, arrays (n, D), in the same shapes."""
        vectors, outer = list(vectors), []
        for place, (one, _, cross) in reversed(list(enumerate(self._inner(), 1))):
            # what the inner effects take from all outer ones, split level by level
            taken = one.sum_to_parent(np.einsum("nkd,nk->nd", cross, vectors[place]))
            for level in range(place - 1, -1, -1):
                own = vectors[level].shape[1]
                vectors[level] = vectors[level] - taken[:, taken.shape[1] - own :]
                taken = taken[:, : taken.shape[1] - own]
                if level:
                    taken = self.units[level].sum_to_parent(taken)
        solved = [solve_vectors(self.blocks[0], vectors[0])]
        outer = solved[0]
        for (one, block, cross), vector in zip(self._inner(), vectors[1:], strict=True):
            outer = outer[one.parent]
            own = solve_vectors(block, vector) - np.einsum("nkd,nd->nk", cross, outer)
            solved.append(own)
            outer = np.hstack([outer, own])
        return solved

    def log_determinant(self) -> np.ndarray:
        """log|H_l|, (L,)."""
        out = log_determinant(self.blocks[0])
        for one, block, _ in self._inner():
            out = out + one.sum_to_family(log_determinant(block))
        return out

    def defined(self) -> np.ndarray:
        """Whether H_l is positive definite: bool array (L,)."""
        if all(cholesky_or_none(block) is not None for block in reversed(self.blocks)):
            return np.ones(len(self.blocks[0]), dtype=bool)
        out = positive_definite(self.blocks[0])
        for one, block, _ in self._inner():
            out = out & (one.sum_to_family((~positive_definite(block)).astype(int)) == 0)
        return out

    def inverse_blocks(self) -> np.ndarray:
        """The part of H^-1 that concerns an innermost unit's effects and those of all units that it lies in.

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
        """The curvature in effects R z, given that in z and R of each level (D, D)."""
        inverses = [np.linalg.inv(root) for root in roots]
        blocks = tuple(inverse.T @ block @ inverse for inverse, block in zip(inverses, self.blocks, strict=True))
        cross, outer = [], inverses[0]
        for root, inverse, turned in zip(roots[1:], inverses[1:], self.cross, strict=True):
            cross.append(root @ turned @ outer)
            outer = _block_diagonal(outer, inverse)
        return NestedCurvature(self.units, blocks, tuple(cross))

    def chosen(self, families: np.ndarray, other: NestedCurvature) -> NestedCurvature:
        """This curvature for the chosen families (L,), the other one for the rest."""
        kept = [families[one.family] for one in self.units]
        blocks = tuple(map(where_first, kept, self.blocks, other.blocks))
        cross = tuple(map(where_first, kept[1:], self.cross, other.cross))
        return NestedCurvature(self.units, blocks, cross)

    @classmethod
    def joined(cls, parts: Sequence[NestedCurvature], units: Sequence[Units]) -> NestedCurvature:
        """The curvatures of all families from those of runs of them, in their order; ``units`` are those of all."""
        blocks = tuple(np.concatenate(some) for some in zip(*(part.blocks for part in parts), strict=True))
        cross = tuple(np.concatenate(some) for some in zip(*(part.cross for part in parts), strict=True))
        return cls(tuple(units), blocks, cross)


def where_first(chosen: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Entries of ``one`` where the first axis is chosen, of ``other`` elsewhere."""
    return np.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def _block_diagonal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    out = np.zeros((len(one) + len(other),) * 2)
    out[: len(one), : len(one)], out[len(one) :, len(one) :] = one, other
    return out
