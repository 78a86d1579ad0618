"""Curves whose free parameters are one row of unbounded coordinates for each benchmark.

Row phi_j holds the coordinates of benchmark j's link, logit c_j and logit d_j, as far as they are estimated. Fits by
the least Huber loss and regressions of a further score are made in these coordinates. (Latent skill models have
d = c + (1 - c) F(u) in place of logit d: ``parameters.space``.) As c and d have coordinates of their own, c < d is
not built in: whoever moves phi asks ``ordered`` and shortens a step after which a curve would fall rather than rise.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from ..numerics import monotone
from .curve import FREE_ASYMPTOTES, LINK, UPPER_CENTRE, Curve, CurveAt, between, starting_lower


@dataclass(frozen=True, eq=False)
class CellCurves:
    """mu and its derivatives at every cell; those in phi are None where there is no phi.

    Attributes
    ----------
    mu, d1, d2 : arrays (n, J)
        Value, first and second derivative in eta.
    phi, phi1 : arrays (n, J, q) or None
        Derivative in phi_j, and of that in eta.
    at : FreeCurvesAt
        The curves, benchmarks first.
    coordinates : array (J, q)
        phi itself.
    """

    mu: np.ndarray
    d1: np.ndarray
    d2: np.ndarray
    phi: np.ndarray | None
    phi1: np.ndarray | None
    at: "FreeCurvesAt"
    coordinates: np.ndarray


@dataclass(frozen=True, eq=False)
class FreeCurves:
    """The curves of a model's benchmarks, as functions of phi.

    Attributes
    ----------
    link : {"logistic", "monotone"}
    asymptotes : {"chance", "lower", "both"}
    chance : array (J,)
    """

    link: str
    asymptotes: str
    chance: np.ndarray

    @property
    def n_link(self):
        """Coordinates of a benchmark's link."""
        return len(LINK) if self.link == "monotone" else 0

    @property
    def free(self):
        """The asymptotes that are estimated, of "c" and "d"."""
        return FREE_ASYMPTOTES[self.asymptotes]

    @property
    def size(self):
        """q, the length of phi_j."""
        return self.n_link + len(self.free)

    @property
    def shapes(self):
        """Names of the coordinates' shapes, as in ``components.curve``, in the order of phi_j."""
        return LINK[: self.n_link] + self.free

    @property
    def centre(self):
        """Where penalties draw phi to, and where it starts: array (J, q)."""
        out = np.zeros((len(self.chance), self.size))
        if "c" in self.free:
            out[:, self.n_link] = logit(starting_lower(self.chance))
        if "d" in self.free:
            out[:, self.n_link + 1] = UPPER_CENTRE
        return out

    def only(self, which):
        """The curves of some benchmarks."""
        return FreeCurves(self.link, self.asymptotes, self.chance[which])

    def lower(self, phi):
        """c, array (..., J)."""
        return expit(phi[..., self.n_link]) if "c" in self.free else self.chance

    def upper(self, phi):
        """d, array (..., J)."""
        return expit(phi[..., self.n_link + 1]) if "d" in self.free else np.ones(len(self.chance))

    def ordered(self, phi):
        """Whether c < d for every benchmark."""
        return "d" not in self.free or bool(np.all(self.lower(phi) < self.upper(phi)))

    def ends(self, phi):
        """The free asymptotes (..., J, q - n_link), and their derivatives in their own coordinates."""
        ends = expit(phi[..., self.n_link :])
        return ends, ends * (1.0 - ends)

    def slopes(self, phi):
        """Slopes rho of the spline, array (J, R); None for the logistic link."""
        return monotone.slopes(phi[:, : self.n_link]) if self.n_link else None

    def curve(self, phi):
        """Curve of the J benchmarks."""
        return Curve.of(self.lower(phi), self.upper(phi), phi[:, : self.n_link])

    def mean(self, eta, phi):
        """mu alone, array (n, J)."""
        return between(expit(self.predictor(eta, phi)), self.lower(phi), self.upper(phi))

    def predictor(self, eta, phi):
        """g(eta), array (n, J)."""
        return _dotted(monotone.basis(eta, 0).E, self.slopes(phi)) if self.n_link else eta

    def predictor_derivatives(self, eta, phi):
        """Derivatives of g(eta) in eta (n, J) and in the coordinates of the links (n, J, n_link)."""
        at = FreeCurvesAt(eta.T, self.curve(phi), 1, LINK[: self.n_link])
        slope, by_link = at.predictor_derivatives()
        return slope.T, by_link.swapaxes(0, 1)

    def cells(self, eta, phi):
        """mu and its derivatives to second order.

        Parameters
        ----------
        eta : array (n, J)
        phi : array (J, q)

        Returns
        -------
        CellCurves
        """
        at = FreeCurvesAt(eta.T, self.curve(phi), 2, self.shapes)
        found = at.derivatives(pairs=False)
        curves = at.mu.T, found["e"].T, found["ee"].T
        if not self.size:
            return CellCurves(*curves, None, None, at, phi)
        first, mixed = ([found[name + a].T for a in self.shapes] for name in ("", "e"))
        for number, slope in enumerate(self.ends(phi)[1].T, self.n_link):
            first[number], mixed[number] = slope * first[number], slope * mixed[number]
        return CellCurves(*curves, np.stack(first, axis=-1), np.stack(mixed, axis=-1), at, phi)

    def curvature(self, curves, weight):
        """Second derivatives in phi_j of sum_i weight_ij mu_ij: array (J, q, q).

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
        mixed = at.weighted_mixed(weight.T) if m else None
        for number, name in enumerate(self.free):
            end, slope, place = ends[:, number], slopes[:, number], m + number
            # mu is linear in c and d, so that the bend is that of c or d in its coordinate alone
            out[:, place, place] = slope * (1.0 - 2.0 * end) * at.weighted_end(weight.T, name)
            if m:
                sign = {"c": -1.0, "d": 1.0}[name]
                out[:, place, :m] = out[:, :m, place] = (sign * slope)[:, None] * mixed
        return out


class FreeCurvesAt(CurveAt):
    """Curves evaluated for a Huber loss: ``CurveAt`` with sums over M, and an order of rounding of its own.

    Searches for the least Huber loss take hundreds of steps and stop near the minimum, at a point that depends on the
    last digits of every step. So splines are summed by dot products, and d - c multiplies the logistic function's
    derivatives before those of the spline, as these fits always had it.
    """

    def _combined(self, part, rho):
        return _dotted(part, rho)

    def _scaled_first(self, factors):
        first = self._span * self._f[1]
        return [None, *(first * factor for factor in factors)]

    def _scaled_last(self, value):
        return value

    def weighted_pairs(self, weight):
        """Sums over M of weights times the second derivatives of mu in two coordinates of the link, (C, G, G)."""
        (_, s1, s2), moved = self._s, self._by_link[0]
        inner = (weight * s2)[:, None, :] * moved.swapaxes(1, 2)
        pull = np.matmul((weight * s1)[:, None, :], self._basis.E)[:, 0]
        return inner @ moved + monotone.slopes_curvature(self._rho, pull)

    def weighted_mixed(self, weight):
        """Sums over M of weights times the derivatives of F in each coordinate of the link, (C, G)."""
        return np.matmul((weight * self._f[1])[:, None, :], self._by_link[0])[:, 0]

    def weighted_end(self, weight, name):
        """Sums over M of weights times the derivative of mu in an asymptote, "c" or "d", (C,)."""
        return np.sum(weight * {"c": self._rest, "d": self._share}[name], axis=1)


def _dotted(part, rho):
    """Sums of basis functions (..., R) times slopes, which broadcast, by dot products."""
    return np.matmul(part[..., None, :], rho[..., None])[..., 0, 0]
