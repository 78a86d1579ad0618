"""Curves of benchmarks as functions of unbounded coordinates, for fits by the Huber loss and of further scores.

The coordinates of benchmark j are a row phi_j: those of its link, logit c_j and logit d_j, as far as they are
estimated. (Latent skill models have d = c + (1 - c) F(u) in place of logit d: ``parameters.space``.) As c and d have
separate coordinates, c < d is not guaranteed: an optimiser asks ``ordered`` and shortens a step after which it would
not hold.
"""


from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from ..numerics import monotone
from .curve import (
    FREE_ASYMPTOTES,
    LINK,
    NOT_COMPUTED,
    UPPER_CENTRE,
    Curve,
    CurveAt,
    between,
    starting_lower,
)


@dataclass(frozen=True, eq=False)
class CellCurves:
    """mu and its derivatives for n LLMs and J benchmarks; those in phi are None where nothing of a curve is free.

    Attributes
    ----------
    mu, d1, d2 : arrays (n, J)
        Value, first and second derivative in eta.
    phi, phi1 : arrays (n, J, q) or None
        First derivative in phi_j, and mixed second derivative in eta and phi_j.
    at : FreeCurvesAt
        The evaluated curves, whose first axis is that of the benchmarks.
    coordinates : array (J, q)
        phi.
    """

    mu: np.ndarray
    d1: np.ndarray
    d2: np.ndarray
    phi: np.ndarray | None
    phi1: np.ndarray | None
    at: FreeCurvesAt
    coordinates: np.ndarray


@dataclass(frozen=True, eq=False)
class FreeCurves:
    """The curves of J benchmarks as functions of phi.

    Attributes
    ----------
    link : {"logistic", "monotone"}
    asymptotes : {"chance", "lower", "both"}
    chance : array (J,)
        Guessing levels, which fixed lower asymptotes equal.
    """

    link: str
    asymptotes: str
    chance: np.ndarray

    @property
    def n_link(self) -> int:
        """Number of coordinates of a benchmark's link."""
        return len(LINK) if self.link == "monotone" else 0

    @property
    def free(self) -> str:
        """Names of the asymptotes that are estimated, a string of "c" and "d"."""
        return FREE_ASYMPTOTES[self.asymptotes]

    @property
    def size(self) -> int:
        """q, the length of phi_j."""
        return self.n_link + len(self.free)

    @property
    def shapes(self) -> str:
        """Names of the shapes that are estimated (``components.curve``), in the order of phi_j."""
        return LINK[: self.n_link] + self.free

    @property
    def centre(self) -> np.ndarray:
        """Where phi starts, and to where penalties draw it: array (J, q)."""
        out = np.zeros((len(self.chance), self.size))
        if "c" in self.free:
            out[:, self.n_link] = logit(starting_lower(self.chance))
        if "d" in self.free:
            out[:, self.n_link + 1] = UPPER_CENTRE
        return out

    def only(self, which: np.ndarray) -> FreeCurves:
        """Return the curves of some benchmarks."""
        return FreeCurves(self.link, self.asymptotes, self.chance[which])

    def lower(self, phi: np.ndarray) -> np.ndarray:
        """Return c, an array (..., J)."""
        return expit(phi[..., self.n_link]) if "c" in self.free else self.chance

    def upper(self, phi: np.ndarray) -> np.ndarray:
        """Return d, an array (..., J)."""
        return expit(phi[..., self.n_link + 1]) if "d" in self.free else np.ones(len(self.chance))

    def ordered(self, phi: np.ndarray) -> bool:
        """Return whether c < d for every benchmark."""
        return "d" not in self.free or bool(np.all(self.lower(phi) < self.upper(phi)))

    def ends(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the free asymptotes (..., J, q - n_link) and the derivative of each in its coordinate."""
        ends = expit(phi[..., self.n_link :])
        return ends, ends * (1.0 - ends)

    def slopes(self, phi: np.ndarray) -> Any:
        """Return the slopes rho of the splines, an array (J, R); None for the logistic link."""
        return monotone.slopes(phi[:, : self.n_link]) if self.n_link else None

    def curve(self, phi: np.ndarray) -> Curve:
        """Return the Curve of the J benchmarks."""
        return Curve.of(self.lower(phi), self.upper(phi), phi[:, : self.n_link])

    def mean(self, eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Return mu at eta (n, J)."""
        return between(expit(self.predictor(eta, phi)), self.lower(phi), self.upper(phi))

    def predictor(self, eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Return g(eta), an array (n, J)."""
        slopes = self.slopes(phi)
        return eta if slopes is None else _dotted(monotone.basis(eta, 0).E, slopes)

    def predictor_derivatives(self, eta: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of g(eta) in eta (n, J) and in the coordinates of the links (n, J, n_link)."""
        at = FreeCurvesAt(eta.T, self.curve(phi), 1, LINK[: self.n_link])
        slope, by_link = at.predictor_derivatives()
        return slope.T, by_link.swapaxes(0, 1)

    def cells(self, eta: np.ndarray, phi: np.ndarray) -> CellCurves:
        """Return mu and its derivatives to second order.

        Parameters
        ----------
        eta : array (n, J)
        phi : array (J, q)

        Returns
        -------
        CellCurves
        """
        at = FreeCurvesAt(eta.T, self.curve(phi), 2, self.shapes)
        derivatives = at.derivatives(link=False)
        curves = at.mu.T, derivatives["e"].T, derivatives["ee"].T
        if not self.size:
            return CellCurves(*curves, None, None, at, phi)
        parts = [[stack.swapaxes(0, 1)] for stack in at.in_link()] if self.n_link else [[], []]
        if self.free:
            slopes = self.ends(phi)[1].T
            for part, name in zip(parts, ("", "e"), strict=True):
                ends = [slope * derivatives[name + a].T for slope, a in zip(slopes, self.free, strict=True)]
                part.append(np.stack(ends, axis=-1))
        first, mixed = (part[0] if len(part) == 1 else np.concatenate(part, axis=-1) for part in parts)
        return CellCurves(*curves, first, mixed, at, phi)

    def curvature(self, curves: CellCurves, weight: np.ndarray) -> np.ndarray:
        """Return the second derivatives in phi_j of sum_i weight_ij mu_ij, an array (J, q, q).

        Parameters
        ----------
        curves : CellCurves
        weight : array (n, J)
        """
        q, m, at = self.size, self.n_link, curves.at
        out = np.zeros((len(self.chance), q, q))
        if m:
            out[:, :m, :m] = at.weighted_pairs(weight.T)
        if q == m:
            return out
        ends, slopes = self.ends(curves.coordinates)
        mixed = at.weighted_mixed(weight.T) if m else np.zeros((len(out), 0))
        for number, name in enumerate(self.free):
            end, slope, place = ends[:, number], slopes[:, number], m + number
            # mu is linear in c and in d: the second derivative is that of c or d in its coordinate
            out[:, place, place] = slope * (1.0 - 2.0 * end) * at.weighted_end(weight.T, name)
            if m:
                sign = {"c": -1.0, "d": 1.0}[name]
                out[:, place, :m] = out[:, :m, place] = (sign * slope)[:, None] * mixed
        return out


class FreeCurvesAt(CurveAt):
    """Curves evaluated for a Huber loss: ``CurveAt`` with sums over M, and another order of rounding.

    A search for the least Huber loss takes hundreds of steps and stops near the minimum, at a point that depends on
    the last digits of every step. To keep the estimates of earlier versions, splines are summed by dot products, and
    d - c multiplies the derivatives of the logistic function before those of the spline.
    """

    def _combined(self, basis: np.ndarray, rho: np.ndarray) -> np.ndarray:
        return np.asfortranarray(_dotted(basis, rho))

    def _scaled_first(self, factors: list[np.ndarray]) -> list[np.ndarray]:
        first = self._span * self._f[1]
        return [NOT_COMPUTED, first, *[first * factor for factor in factors]]

    def _scaled_last(self, value: np.ndarray) -> np.ndarray:
        return value

    def weighted_pairs(self, weight: np.ndarray) -> np.ndarray:
        """Return sums over M of weights times second derivatives of mu in two coordinates of the link, (C, G, G)."""
        (_, s1, s2), by_link = self._s, self._by_link[0]
        inner = (weight * s2)[:, None, :] * by_link.swapaxes(1, 2)
        pull = np.matmul((weight * s1)[:, None, :], self._basis.E)[:, 0]
        return inner @ by_link + monotone.slopes_curvature(self._rho, pull)

    def weighted_mixed(self, weight: np.ndarray) -> np.ndarray:
        """Return sums over M of weights times the derivatives of F in each coordinate of the link, (C, G)."""
        return np.matmul((weight * self._f[1])[:, None, :], self._by_link[0])[:, 0]

    def weighted_end(self, weight: np.ndarray, name: str) -> np.ndarray:
        """Return sums over M of weights times the derivative of mu in an asymptote, "c" or "d", (C,)."""
        return np.sum(weight * {"c": self._rest, "d": self._share}[name], axis=1)


def _dotted(basis: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """Return the sums over R of basis functions (..., R) times slopes (..., R), which broadcast, by dot products."""
    return np.matmul(basis[..., None, :], rho[..., None])[..., 0, 0]
