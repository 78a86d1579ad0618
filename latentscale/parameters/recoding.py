"""The map between the covariates that users write and the standardised covariates that optimisers see.

Covariates such as log(size) and log(tokens) are correlated and far from zero, which makes the log-likelihood a narrow
ridge in slopes and intercepts. Estimation therefore works with z = (x - centre) T in place of the user's covariates x,
where z has mean zero and identity covariance. Both describe the same model: its slopes are B = T B_z and its intercepts
b = b_z - Lambda B' centre, where B_z and b_z are those for z.
"""


from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from .structure import Layout, Structure


@dataclass(frozen=True)
class Recoding:
    """The change of covariates from x to z = (x - centre) T.

    Attributes
    ----------
    centre : array (p,)
    transform : array (p, p)
        T, which has an inverse.
    """

    centre: np.ndarray
    transform: np.ndarray

    @classmethod
    def whitening(cls, design: np.ndarray) -> Self:
        """Return the recoding that gives z mean zero and identity covariance over the rows of ``design`` (n, p).

        Maximum likelihood on z is then the same computation whatever linear coding of x the user chose.
        """
        centre = design.mean(axis=0)
        _, r = np.linalg.qr(design - centre)
        return cls(centre, np.linalg.inv(r) * np.sqrt(len(design)))

    def design(self, x: np.ndarray) -> np.ndarray:
        """Return the covariates z (n, p) of LLMs with covariates x (n, p)."""
        return (x - self.centre) @ self.transform

    def internal(self, structure: Structure) -> Structure:
        """Return the Structure for covariates z of the law that a Structure for covariates x describes."""
        return structure.recoded(self.transform, self.centre)

    def user(self, structure: Structure) -> Structure:
        """Return the Structure for covariates x of the law that a Structure for covariates z describes."""
        inverse = np.linalg.inv(self.transform)
        # x = z T^-1 + centre = (z - (-centre T)) T^-1
        return structure.recoded(inverse, -self.centre @ self.transform)

    def jacobian(self, layout: Layout, structure: Structure) -> sparse.csr_array:
        """Return the derivatives ds/ds_z at a Structure for covariates z, sparse array (S, S).

        Here s and s_z are the structural vectors for x and for z. By the delta method these derivatives turn the
        covariance of estimates for z into that for x.
        """
        b, slopes, loadings = layout.index("intercepts"), layout.index("slopes"), layout.index("loadings")
        shift = self.centre @ self.transform  # b = b_z - Lambda B_z' T' centre
        by_slope = -shift[:, None] * structure.loadings[:, None, :]  # (J, p, K)
        unchanged = np.setdiff1d(np.arange(layout.size), slopes)  # all but slopes keep weight one
        entries = [
            (unchanged, unchanged, np.ones(len(unchanged))),
            (b[:, None], loadings, -shift @ structure.slopes),
            (b[:, None, None], slopes, by_slope),
            (slopes[:, None, :], slopes[None, :, :], self.transform[:, :, None]),
        ]
        rows, columns, values = (
            np.concatenate(raveled)
            for raveled in zip(*(map(np.ravel, np.broadcast_arrays(*entry)) for entry in entries), strict=True)
        )
        return sparse.csr_array((values, (rows, columns)), (layout.size, layout.size))
