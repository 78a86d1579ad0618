"""Coordinates in which tables of many benchmarks have no ridge.

The unit of a skill is the spread of its families, which the data tell only as well as families are many. When it
moves, all loadings of the skill move together and its slopes the other way, so that Lambda B' stays; and Lambda B' is
known the better the more benchmarks there are. In (Lambda, B) that is a curved ridge, along which straight steps are
short. Here slopes are counted in the unit of the loadings at a reference point: with
M = (Lambda_0' Lambda_0)^-1 Lambda_0' Lambda, which is I there, B = B~ M'^-1, and (Lambda, B~) are straight.
"""


from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..parameters.space import ParameterSpace


class RescaledSlopes:
    """v = (Lambda, B~, the rest of u), equal to u at the reference point.

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
        """The coordinates at u, or None where the space has restrictions or fixed slopes."""
        if not isinstance(space, ParameterSpace):
            return None
        found = cls(space, u)
        return found if (found.slopes >= 0).all() else None

    def _inverse_unit(self, v: np.ndarray) -> np.ndarray:
        """M'^-1."""
        loadings = self.reference.copy()
        loadings[self.free] = v[self.loadings[self.free]]
        return np.linalg.inv(self.project @ loadings).T

    def u(self, v: np.ndarray) -> np.ndarray:
        """v -> u."""
        out = v.copy()
        out[self.slopes] = v[self.slopes] @ self._inverse_unit(v)
        return out

    def gradient(self, v: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Gradient in v from that in u at u(v)."""
        turn, out = self._inverse_unit(v), gradient.copy()
        in_slopes = gradient[self.slopes]
        out[self.slopes] = in_slopes @ turn.T
        in_loadings = -self.project.T @ (turn @ in_slopes.T @ (v[self.slopes] @ turn))
        out[self.loadings[self.free]] += in_loadings[self.free]
        return out

    def steps(self, steps: np.ndarray) -> np.ndarray:
        """Steps in v at the reference point, columns of an array (P, ...), from steps in u."""
        out = steps.copy()
        for skill in range(self.reference.shape[1]):
            free = self.free[:, skill]
            moved = np.tensordot(self.project[:, free], steps[self.loadings[free, skill]], axes=1)  # column of dM
            out[self.slopes] += self.reference_slopes[:, skill].reshape(-1, *[1] * moved.ndim) * moved
        return out
