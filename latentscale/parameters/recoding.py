"""Between the covariates that users write and the standardised ones that optimisers see.

Users' x and internal z = (x - centre) T describe the same model: slopes B = T B_z, intercepts
b = b_z - Lambda B' centre.
"""


from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from .structure import Layout, Structure


@dataclass(frozen=True)
class Recoding:
    """z = (x - centre) T.

    Attributes
    ----------
    centre : array (p,)
    transform : array (p, p)
    """

    centre: np.ndarray
    transform: np.ndarray

    @classmethod
    def whitening(cls, design: np.ndarray) -> Self:
        """Centre and transform that give z mean zero and identity covariance over the rows of ``design``.

        Maximum likelihood on z is then the same computation whatever linear coding of x the user chose.
        """
        centre = design.mean(axis=0)
        _, r = np.linalg.qr(design - centre)
        return cls(centre, np.linalg.inv(r) * np.sqrt(len(design)))

    def design(self, x: np.ndarray) -> np.ndarray:
        """x -> z, rows of covariates."""
        return (x - self.centre) @ self.transform

    def internal(self, structure: Structure) -> Structure:
        """Structure in x -> Structure in z."""
        return structure.recoded(self.transform, self.centre)

    def user(self, structure: Structure) -> Structure:
        """Structure in z -> Structure in x."""
        inverse = np.linalg.inv(self.transform)
        # x = z T^-1 + centre = (z - (-centre T)) T^-1
        return structure.recoded(inverse, -self.centre @ self.transform)

    def jacobian(self, layout: Layout, structure: Structure) -> sparse.csr_array:
        """ds/ds_z at a Structure in z, sparse (S, S): what the delta method carries covariances with."""
        b, slopes, loadings = layout.index("intercepts"), layout.index("slopes"), layout.index("loadings")
        shift = self.centre @ self.transform  # b = b_z - Lambda B_z' T' centre
        by_slope = -shift[:, None] * structure.loadings[:, None, :]  # (J, p, K)
        same = np.setdiff1d(np.arange(layout.size), slopes)
        entries = [
            (same, same, np.ones(len(same))),
            (b[:, None], loadings, -shift @ structure.slopes),
            (b[:, None, None], slopes, by_slope),
            (slopes[:, None, :], slopes[None, :, :], self.transform[:, :, None]),
        ]
        rows, columns, values = (
            np.concatenate(parts)
            for parts in zip(*(map(np.ravel, np.broadcast_arrays(*entry)) for entry in entries), strict=True)
        )
        return sparse.csr_array((values, (rows, columns)), (layout.size, layout.size))
