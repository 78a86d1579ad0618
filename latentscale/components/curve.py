"""The curve of a benchmark: its expected score as a function of the linear predictor, with all its derivatives.

    mu = c + (d - c) F(eta),  F(eta) = expit(g(eta)),

where c and d, c < d, are the lower and the upper asymptote, and g is eta itself (the logistic link) or a monotone
spline with coordinates u of each benchmark's own (``numerics.monotone``). This is the only place that computes it:
likelihoods, Huber losses, regressions of further scores and predictions all take the curve from here.

What a curve depends on beside eta are its *shapes*, each known by one character: c and d the asymptotes, 1 to 6 the
coordinates of the link. Derivatives are named by what they are taken in, e standing for eta: ``eec`` is
d3 mu / d eta2 dc.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from ..errors import DataError
from ..numerics import monotone
from ..numerics.logistic import logistic_pair

LINKS = ("logistic", "monotone")
ASYMPTOTES = ("chance", "lower", "both")
FREE_ASYMPTOTES = {"chance": "", "lower": "c", "both": "cd"}
"""The asymptotes that are estimated under each of the ``ASYMPTOTES``."""
LINK = "123456"
"""Names of the coordinates of a monotone link."""
UPPER_CENTRE = 3.5
LOWER_FLOOR = 0.005
_MARGIN = 0.02  # scores are kept this far from their asymptotes, as a share of the range, before the logit


class Curve(NamedTuple):
    """The parameters of the curves of C cells (or benchmarks), each with M linear predictors.

    Attributes
    ----------
    lower, upper : arrays (C, 1)
        c and d.
    rho : array (C, R) or None
        Slopes of the spline; None under the logistic link.
    rho_by_link : array (C, R, G) or None
        Their derivatives in the coordinates u.
    """

    lower: np.ndarray
    upper: np.ndarray
    rho: np.ndarray = None
    rho_by_link: np.ndarray = None

    @classmethod
    def of(cls, lower, upper, link=None, item=slice(None)):
        """Curves from c and d (J,) and the links' coordinates (J, G) of benchmarks, those of the cells' ``item``."""
        ends = lower[item, None], upper[item, None]
        if link is None or not link.shape[1]:
            return cls(*ends)
        rho = monotone.slopes(link)
        return cls(*ends, rho[item], monotone.slopes_jacobian(rho)[item])

    def part(self, where):
        """The curves of some of the cells."""
        link = (None, None) if self.rho is None else (self.rho[where], self.rho_by_link[where])
        return Curve(self.lower[where], self.upper[where], *link)

    def predictor(self, eta):
        """g(eta) at eta (C, M): what the logistic function is taken of."""
        if self.rho is None:
            return eta
        return combined(monotone.basis(eta, 0).E, self.rho[:, None, :])

    def mean(self, eta):
        """Mu and 1 - mu at eta (C, M), both without cancellation."""
        share, rest = logistic_pair(self.predictor(eta))
        span = self.upper - self.lower
        return self.lower + span * share, (1.0 - self.upper) + span * rest


def link_function(eta, link=None):
    """F(eta) for benchmarks in the last axis of eta.

    Parameters
    ----------
    eta : array (..., J)
    link : array (..., J, G), optional
        Coordinates of the benchmarks' links, which broadcast against eta; None, or G = 0, for the logistic link.
    """
    if link is None or link.shape[-1] == 0:
        return expit(eta)
    return expit(combined(monotone.basis(eta, 0).E, monotone.slopes(link)))


def between(share, lower, upper):
    """c + (d - c) F of shares F."""
    return lower + (upper - lower) * share


def mean_score(eta, lower, upper, link=None):
    """Mu = c + (d - c) F(eta); arrays as for ``link_function``."""
    return between(link_function(eta, link), lower, upper)


def share_of_range(y, lower, upper):
    """(y - c) / (d - c): the share of the way from one asymptote to the other at which a score lies."""
    return (y - lower) / (upper - lower)


def rough_predictor(y, lower, upper):
    """Logits of scores between their asymptotes, kept off both ends: linear predictors for starting values."""
    return logit(np.clip(share_of_range(y, lower, upper), _MARGIN, 1.0 - _MARGIN))


def starting_lower(chance):
    """Guessing levels moved off zero: where estimated lower asymptotes start, and what penalties draw them to."""
    return np.maximum(chance, LOWER_FLOOR)


def starting_upper(chance):
    """Where estimated upper asymptotes start, and what penalties draw them to."""
    return np.full(np.shape(chance), expit(UPPER_CENTRE))


def check_room(asymptotes, chance, benchmarks):
    """Refuse guessing levels that leave no room below an upper asymptote that is estimated.

    Raises
    ------
    DataError
        Naming the benchmarks.
    """
    chance = np.asarray(chance, dtype=float)
    full = starting_lower(chance) >= starting_upper(chance)
    if "d" in FREE_ASYMPTOTES[asymptotes] and full.any():
        rows = zip(benchmarks, chance, full, strict=True)
        named = ", ".join(f"{name} ({level:g})" for name, level, no_room in rows if no_room)
        raise DataError(
            f"The guessing levels of {named} leave no room for an upper asymptote, whose estimates begin at "
            f"{expit(UPPER_CENTRE):.2f}: take asymptotes='lower' or 'chance'."
        )


class CurveAt:
    """Curves evaluated at linear predictors.

    Parameters
    ----------
    eta : array (C, M)
        Linear predictors; best in Fortran order.
    curve : Curve
    order : int, 0 to 3
        Highest derivative that will be asked for. Third derivatives are those with at least two etas.
    shapes : str
        Shapes whose derivatives will be asked for, in the order c, d, 1 to 6.

    Attributes
    ----------
    mu, nu : arrays (C, M)
        The curve, and 1 - mu without cancellation.
    """

    def __init__(self, eta, curve, order, shapes=""):
        self._order = order
        self._asymptotes = [(a, sign) for a, sign in (("c", -1.0), ("d", 1.0)) if a in shapes]
        self._coordinates = [(number, a) for number, a in enumerate(LINK) if a in shapes]
        self._rho, self._basis = curve.rho, None
        if curve.rho is not None:
            eta = self._evaluate_spline(eta, curve)
        self._share, self._rest = logistic_pair(eta)
        self._span = curve.upper - curve.lower
        self.mu, self.nu = self._span * self._share, self._span * self._rest
        self.mu += curve.lower
        self.nu += 1.0 - curve.upper
        if order >= 1:
            self._logistic()

    def _evaluate_spline(self, eta, curve):
        """g, keeping its derivatives in eta and those in the coordinates of the link."""
        self._basis = monotone.basis(eta, self._order)
        wanted = [part if number <= self._order else None for number, part in enumerate(self._basis)]
        rho = curve.rho[:, None, :]
        self._g = [None if part is None else np.asfortranarray(self._combined(part, rho)) for part in wanted]
        if self._order and self._coordinates:
            self._by_link = [None if part is None else part @ curve.rho_by_link for part in wanted[:3]]
        return self._g[0]

    def _logistic(self):
        """Derivatives of the logistic function at g, and the same as they enter those of the curve under a spline."""
        f1, turn = self._share * self._rest, self._rest - self._share
        factors = (1.0, turn, None if self._order < 3 else turn**2 - 2.0 * f1)[: self._order]
        self._f = [None, *(f1 * factor for factor in factors)]
        self._s = self._f if self._basis is None else self._scaled_first(factors)

    # --- steps whose order of rounding a subclass may choose --------------------------------------------------------

    def _combined(self, part, rho):
        """Sums of basis functions times slopes."""
        return combined(part, rho)

    def _scaled_first(self, factors):
        """The logistic function's derivatives, if wanted times d - c, from those over the first."""
        return self._f

    def _scaled_last(self, value):
        """A derivative of the curve from one of F, or from one that was scaled before."""
        return self._span * value

    # --- derivatives -----------------------------------------------------------------------------------------------

    def derivatives(self, pairs=True):
        """Derivatives of mu by name, a dict of arrays (C, M); those that vanish everywhere are left out.

        Parameters
        ----------
        pairs : bool
            Whether second derivatives in two coordinates of the link are wanted.
        """
        if self._order == 0:
            return {}
        out = {"c": self._rest, "d": self._share}
        of_f = self._f_in_eta()
        if self._basis is None:
            out |= {name: self._span * value for name, value in of_f.items()}
        else:
            found = self._spline_in_eta() | self._in_link(pairs)
            out |= {name: self._scaled_last(value) for name, value in found.items()}
            out |= self._mixed_in_link()
        for name, value in of_f.items():
            if len(name) < self._order:
                out |= {name + a: sign * value for a, sign in self._asymptotes}
        return out

    def _f_in_eta(self):
        """Derivatives of F in eta: of the logistic link, and as far as asymptotes need them of others."""
        names = ("e", "ee", "eee")[: self._order]
        if self._basis is None:
            return dict(zip(names, self._f[1:], strict=True))
        if not self._asymptotes:
            return {}
        (_, f1, *rest), (_, g1, g2, _) = self._f, self._g
        out = {"e": f1 * g1}
        if self._order >= 3:
            out["ee"] = rest[0] * g1 * g1 + f1 * g2
        return out

    def _spline_in_eta(self):
        """Derivatives of F in eta through g."""
        (_, s1, *rest), (_, g1, g2, g3) = self._s, self._g
        out = {"e": s1 * g1}
        if self._order >= 2:
            out["ee"] = rest[0] * g1 * g1 + s1 * g2
        if self._order >= 3:
            out["eee"] = rest[1] * g1**3 + 3.0 * rest[0] * g1 * g2 + s1 * g3
        return out

    def _in_link(self, pairs):
        """Derivatives of F in the coordinates of the link, and in eta too."""
        (_, s1, *rest), (_, g1, g2, _), out = self._s, self._g, {}
        if not self._coordinates:
            return out
        if self._order >= 2:
            first = rest[0] * g1
        if self._order >= 3:
            bent = rest[1] * g1 * g1 + rest[0] * g2
        for number, a in self._coordinates:
            e0 = self._by_link[0][..., number]
            out[a] = s1 * e0
            if self._order >= 2:
                e1 = self._by_link[1][..., number]
                out["e" + a] = first * e0 + s1 * e1
            if self._order >= 3:
                out["ee" + a] = bent * e0 + 2.0 * first * e1 + s1 * self._by_link[2][..., number]
        return out | self._link_pairs() if self._order >= 2 and pairs else out

    def _mixed_in_link(self):
        """Derivatives of mu in a coordinate of the link and an asymptote."""
        if self._order < 2 or not self._asymptotes:
            return {}
        plain = {a: self._f[1] * self._by_link[0][..., number] for number, a in self._coordinates}
        return {b + a: sign * value for a, value in plain.items() for b, sign in self._asymptotes}

    def _link_pairs(self):
        """Second derivatives of F in two coordinates of the link."""
        _, s1, s2, *_ = self._s
        curved = monotone.slopes_curvature(self._rho[:, None, :], self._basis.E)
        out = {}
        for place, (n, a) in enumerate(self._coordinates):
            heavy = s2 * self._by_link[0][..., n]
            for m, b in self._coordinates[place:]:
                out[a + b] = heavy * self._by_link[0][..., m] + s1 * curved[..., n, m]
        return out

    def predictor_derivatives(self):
        """Derivatives of g in eta (C, M) and in the coordinates of the link (C, M, G), G = 0 for the logistic link."""
        if self._basis is None:
            return np.ones(self.mu.shape), np.zeros((*self.mu.shape, 0))
        return self._g[1], self._by_link[0]


def combined(part, rho):
    """Sums of basis functions (..., R) times slopes, which broadcast."""
    out = part[..., 0] * rho[..., 0]
    for number in range(1, part.shape[-1]):
        out += part[..., number] * rho[..., number]
    return out
