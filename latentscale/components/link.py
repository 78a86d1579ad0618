"""Expected scores as functions of eta and of parameters of each benchmark: links and asymptotes.

    mu = c + (d - c) F(eta),  F(eta) = expit(g(eta)),

with g the identity ("logistic") or a monotone spline ("monotone"). The parameters of benchmark j beyond those of eta
are one row phi_j: the spline's M - 1 coordinates, logit c and logit d, as far as they are estimated.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from ..numerics import monotone
from ..numerics.logistic import logistic_pair
from .penalty import UPPER_CENTRE, starting_lower

LINKS = ("logistic", "monotone")
ASYMPTOTES = ("chance", "lower", "both")


@dataclass(frozen=True, eq=False)
class CellCurves:
    """mu and its derivatives at every cell; those in phi are None where there is no phi.

    Attributes
    ----------
    mu, d1, d2 : arrays (n, J)
        Value, first and second derivative in eta.
    phi, phi1 : arrays (n, J, q) or None
        Derivative in phi_j, and of that in eta.
    parts : tuple
        What ``Response.curvature`` needs.
    """

    mu: np.ndarray
    d1: np.ndarray
    d2: np.ndarray
    phi: np.ndarray | None = None
    phi1: np.ndarray | None = None
    parts: tuple = ()


@dataclass(frozen=True, eq=False)
class Response:
    """The family of curves of a model.

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
        """Spline coordinates of a benchmark."""
        return monotone.N_SLOPES - 1 if self.link == "monotone" else 0

    @property
    def size(self):
        """q, the length of phi_j."""
        return self.n_link + ("chance", "lower", "both").index(self.asymptotes)

    @property
    def centre(self):
        """Where penalties draw phi to, and where it starts: array (J, q)."""
        out = np.zeros((len(self.chance), self.size))
        if self.asymptotes != "chance":
            out[:, self.n_link] = logit(starting_lower(self.chance))
        if self.asymptotes == "both":
            out[:, self.n_link + 1] = UPPER_CENTRE
        return out

    def only(self, which):
        """The curves of some benchmarks."""
        return Response(self.link, self.asymptotes, self.chance[which])

    def lower(self, phi):
        """c, array (J,)."""
        return self.chance if self.asymptotes == "chance" else expit(phi[:, self.n_link])

    def upper(self, phi):
        """d, array (J,)."""
        return expit(phi[:, self.n_link + 1]) if self.asymptotes == "both" else np.ones(len(self.chance))

    def slopes(self, phi):
        """Slopes rho of the spline, array (J, M); None for the logistic link."""
        return monotone.slopes(phi[:, : self.n_link]) if self.n_link else None

    def mean(self, eta, phi):
        """mu alone, array (n, J)."""
        low = self.lower(phi)
        return low + (self.upper(phi) - low) * expit(self.logit(eta, phi))

    def logit(self, eta, phi):
        """g(eta), array (n, J)."""
        if not self.n_link:
            return eta
        return np.matmul(monotone.basis(eta, 0).E[..., None, :], self.slopes(phi)[..., None])[..., 0, 0]

    def cells(self, eta, phi):
        """mu and its derivatives.

        Parameters
        ----------
        eta : array (n, J)
        phi : array (J, q)

        Returns
        -------
        CellCurves
        """
        low, high = self.lower(phi), self.upper(phi)
        if not self.n_link:
            f, rest = logistic_pair(eta)
            f1 = f * rest
            f2 = f1 * (rest - f)
            mu, d1, d2 = low + (high - low) * f, (high - low) * f1, (high - low) * f2
            if not self.size:
                return CellCurves(mu, d1, d2)
            return self._with_asymptotes(CellCurves(mu, d1, d2), low, high, (f, rest, f1), None, None)
        basis, rho = monotone.basis(eta, 2), self.slopes(phi)
        g, g1, g2 = (np.matmul(part[..., None, :], rho[..., None])[..., 0, 0] for part in basis[:3])
        turn = monotone.slopes_jacobian(rho)
        f, rest = logistic_pair(g)
        span = high - low
        f1 = f * rest
        s1 = span * f1
        s2 = s1 * (rest - f)
        by_u, by_u1 = (np.matmul(part.swapaxes(0, 1), turn).swapaxes(0, 1) for part in (basis.E, basis.D))
        by_phi = s1[..., None] * by_u
        by_phi1 = (s2 * g1)[..., None] * by_u + s1[..., None] * by_u1
        curves = CellCurves(
            low + span * f, s1 * g1, s2 * g1 * g1 + s1 * g2, by_phi, by_phi1, (basis.E, rho, by_u, s1, s2)
        )
        if self.asymptotes == "chance":
            return curves
        return self._with_asymptotes(curves, low, high, (f, rest, f1 * g1), by_u, f1)

    def _with_asymptotes(self, curves, low, high, shape, by_u, f1):
        """The same curves with the derivatives in logit c and logit d appended to those in phi."""
        f, rest, slope = shape
        c1, d1 = low * (1.0 - low), high * (1.0 - high)
        first, mixed = [c1 * rest], [-c1 * slope]
        if self.asymptotes == "both":
            first, mixed = [*first, d1 * f], [*mixed, d1 * slope]
        phi, phi1 = np.stack(first, axis=-1), np.stack(mixed, axis=-1)
        if by_u is not None:
            phi, phi1 = np.concatenate([curves.phi, phi], axis=-1), np.concatenate([curves.phi1, phi1], axis=-1)
        spans = (low, high, c1, d1, f, rest, f1)
        return CellCurves(curves.mu, curves.d1, curves.d2, phi, phi1, (*curves.parts, *spans))

    def curvature(self, curves, weight):
        """Second derivatives in phi_j of sum_i weight_ij mu_ij: array (J, q, q).

        Parameters
        ----------
        curves : CellCurves
        weight : array (n, J)
        """
        q, m = self.size, self.n_link
        out = np.zeros((len(self.chance), q, q))
        if m:
            basis, rho, by_u, s1, s2 = curves.parts[:5]
            inner = (weight * s2).T[:, None, :] * by_u.transpose(1, 2, 0)
            out[:, :m, :m] = inner @ by_u.swapaxes(0, 1)
            pull = np.matmul((weight * s1).T[:, None, :], basis.swapaxes(0, 1))[:, 0]
            out[:, :m, :m] += monotone.slopes_curvature(rho, pull)
        if q == m:
            return out
        low, high, c1, d1, f, rest, f1 = curves.parts[-7:]
        ends = [(-c1, c1 * (1.0 - 2.0 * low) * np.sum(weight * rest, axis=0))]
        if self.asymptotes == "both":
            ends.append((d1, d1 * (1.0 - 2.0 * high) * np.sum(weight * f, axis=0)))
        for position, (factor, second) in enumerate(ends, m):
            out[:, position, position] = second
            if m:
                cross = factor[:, None] * np.matmul((weight * f1).T[:, None, :], by_u.swapaxes(0, 1))[:, 0]
                out[:, position, :m] = out[:, :m, position] = cross
        return out
