"""Coordinates with rescaled slopes, in which the likelihood of many benchmarks has no curved ridge.

The unit of a skill is the standard deviation of its families, whose estimate is only as good as the number of families
allows. If the unit changes, all loadings of the skill change by one factor and its slopes by the inverse factor, and
Lambda B' stays the same; but Lambda B' is estimated the better the more benchmarks there are. In (Lambda, B) the
likelihood therefore has a curved ridge, along which an optimiser takes short steps. Here slopes are measured in a unit
that follows the loadings: with M = (Lambda_0' Lambda_0)^-1 Lambda_0' Lambda, which is I at the reference point
Lambda_0, B = B~ M'^-1, and the ridge is a line in (Lambda, B~).
"""


from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..parameters.space import ParameterSpace


class RescaledSlopes:
    """The coordinates v = (Lambda, B~, the other entries of u), equal to u at the reference point.

    Parameters
    ----------
    space : ParameterSpace
    u : array (P,)
        The reference point.
    """

    def __init__(self, space: ParameterSpace, u: np.ndarray) -> None:
        layout, structure = space.layout, space.structure(u)
        position = np.full(layout.size, -1)
        position[space.entries] = np.arange(space.size)
        self.loadings, self.slopes = position[layout.index("loadings")], position[layout.index("slopes")]
        self.free = self.loadings >= 0
        self.reference, self.reference_slopes = structure.loadings, structure.slopes
        self.project = np.linalg.pinv(structure.loadings)  # (K, J)

    @classmethod
    def at(cls, space: Any, u: np.ndarray) -> Self | None:
        """Return the coordinates with reference point u, None where the space has restrictions or fixed slopes."""
        if not isinstance(space, ParameterSpace):
            return None
        coordinates = cls(space, u)
        return coordinates if (coordinates.slopes >= 0).all() else None

    def _inverse_unit(self, v: np.ndarray) -> np.ndarray:
        """Return M'^-1 at v."""
        loadings = self.reference.copy()
        loadings[self.free] = v[self.loadings[self.free]]
        return np.linalg.inv(self.project @ loadings).T

    def u(self, v: np.ndarray) -> np.ndarray:
        """Return u at v."""
        out = v.copy()
        out[self.slopes] = v[self.slopes] @ self._inverse_unit(v)
        return out

    def gradient(self, v: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradient in v from that in u, by the chain rule."""
        turn, out = self._inverse_unit(v), gradient.copy()
        in_slopes = gradient[self.slopes]
        out[self.slopes] = in_slopes @ turn.T
        in_loadings = -self.project.T @ (turn @ in_slopes.T @ (v[self.slopes] @ turn))
        out[self.loadings[self.free]] += in_loadings[self.free]
        return out

    def steps(self, steps: np.ndarray) -> np.ndarray:
        """Return steps in v at the reference point from steps in u, columns of an array (P, ...)."""
        out = steps.copy()
        for skill in range(self.reference.shape[1]):
            free = self.free[:, skill]
            change = np.tensordot(self.project[:, free], steps[self.loadings[free, skill]], axes=1)  # column of dM
            out[self.slopes] += self.reference_slopes[:, skill].reshape(-1, *[1] * change.ndim) * change
        return out
