"""Between the covariates that users write and the standardised ones that optimisers see.

Users' x and internal z = (x - centre) T describe the same model: slopes B = T B_z, intercepts
b = b_z - Lambda B' centre.
"""

from dataclasses import dataclass

import numpy as np


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
    def whitening(cls, design):
        """Centre and transform that give z mean zero and identity covariance over the rows of ``design``.

        Maximum likelihood on z is then the same computation whatever linear coding of x the user chose.
        """
        centre = design.mean(axis=0)
        _, r = np.linalg.qr(design - centre)
        return cls(centre, np.linalg.inv(r) * np.sqrt(len(design)))

    def design(self, x):
        """x -> z, rows of covariates."""
        return (x - self.centre) @ self.transform

    def internal(self, structure):
        """Structure in x -> Structure in z."""
        return structure.recoded(self.transform, self.centre)

    def user(self, structure):
        """Structure in z -> Structure in x."""
        inverse = np.linalg.inv(self.transform)
        # x = z T^-1 + centre = (z - (-centre T)) T^-1
        return structure.recoded(inverse, -self.centre @ self.transform)

    def jacobian(self, layout, structure):
        """ds/ds_z at a Structure in z, shape (S, S): what the delta method carries covariances with."""
        out = np.eye(layout.size)
        b, slopes = layout.index("intercepts"), layout.index("slopes")
        loadings = layout.index("loadings")
        for skill in range(layout.n_skills):
            out[np.ix_(slopes[:, skill], slopes[:, skill])] = self.transform
        shift = self.centre @ self.transform  # b = b_z - Lambda B_z' T' centre
        at_centre = shift @ structure.slopes
        for item in range(layout.n_items):
            out[b[item], loadings[item]] = -at_centre
            out[b[item], slopes.ravel()] = -np.outer(shift, structure.loadings[item]).ravel()
        return out
