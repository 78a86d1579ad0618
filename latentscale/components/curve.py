"""The curve of a benchmark: the location mu of its scores as a function of the linear predictor, with its derivatives.

    mu = c + (d - c) F(eta),  F(eta) = expit(g(eta)),

where c and d, c < d, are the lower and the upper asymptote. Under the beta law and in Sloth mu is the expected score. g
is eta itself (the logistic link), or a monotone spline g(eta) = sum_r rho_r E_r(eta) of R basis functions, whose slopes
rho_r are made from G = R - 1 coordinates u of the benchmark (``numerics.monotone``). Likelihoods, Huber losses,
regressions of further scores and predictions all take the curve from this module.

The parameters of a curve are its *shapes*, each with a name of one character: c and d are the asymptotes, 1 to 6 the
coordinates of the link. A derivative is named after the variables in which it is taken, with e for eta: ``eec`` is
d3 mu / d eta2 dc.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
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
"""The logit of d at which estimated upper asymptotes start, and to which penalties draw them."""
LOWER_FLOOR = 0.005
"""The least value of c at which estimated lower asymptotes start, and to which penalties draw them."""
_MARGIN = 0.02  # scores are kept this far from their asymptotes, as a share of d - c, before the logit is taken


NOT_COMPUTED: Any = None
"""In place of an array that was not asked for."""


class Curve(NamedTuple):
    """The parameters of the curves of C cells (or benchmarks), each with M linear predictors.

    Attributes
    ----------
    lower, upper : arrays (C, 1)
        c and d.
    rho : array (C, R) or None
        Slopes of the spline at its knots; None under the logistic link.
    rho_by_link : array (C, R, G) or None
        The derivatives of rho in the coordinates u.
    """

    lower: np.ndarray
    upper: np.ndarray
    rho: Any = None
    rho_by_link: Any = None

    @classmethod
    def of(
        cls,
        lower: np.ndarray,
        upper: np.ndarray,
        link: np.ndarray | None = None,
        item: Any = slice(None),
    ) -> Self:
        """Return the curves of the cells' benchmarks ``item``.

        Asymptotes (J,) and the coordinates of links (J, G) are those of all benchmarks.
        """
        ends = lower[item, None], upper[item, None]
        if link is None or not link.shape[1]:
            return cls(*ends)
        rho = monotone.slopes(link)
        return cls(*ends, rho[item], monotone.slopes_jacobian(rho)[item])

    def at(self, where: slice | np.ndarray) -> Curve:
        """Return the curves of some of the cells."""
        link = (None, None) if self.rho is None else (self.rho[where], self.rho_by_link[where])
        return Curve(self.lower[where], self.upper[where], *link)

    def predictor(self, eta: np.ndarray) -> np.ndarray:
        """Return g(eta) at eta (C, M)."""
        if self.rho is None:
            return eta
        return combined(monotone.basis(eta, 0).E, self.rho[:, None, :])

    def mean(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mu and 1 - mu at eta (C, M), both without cancellation."""
        share, rest = logistic_pair(self.predictor(eta))
        span = self.upper - self.lower
        return self.lower + span * share, (1.0 - self.upper) + span * rest


def link_function(eta: np.ndarray, link: np.ndarray | None = None) -> np.ndarray:
    """Return F(eta) for benchmarks along the last axis of eta.

    Parameters
    ----------
    eta : array (..., J)
        Linear predictors.
    link : array (..., J, G), optional
        Coordinates of the benchmarks' links, which broadcast against eta; None, or G = 0, for the logistic link.
    """
    if link is None or link.shape[-1] == 0:
        return expit(eta)
    return expit(combined(monotone.basis(eta, 0).E, monotone.slopes(link)))


def between(share: Any, lower: Any, upper: Any) -> Any:
    """Return c + (d - c) F for shares F of the way from c to d."""
    return lower + (upper - lower) * share


def mean_score(
    eta: np.ndarray, lower: Any, upper: Any, link: np.ndarray | None = None
) -> np.ndarray:
    """Return mu = c + (d - c) F(eta); arrays as for ``link_function``."""
    return between(link_function(eta, link), lower, upper)


def share_of_range(y: Any, lower: Any, upper: Any) -> Any:
    """Return (y - c) / (d - c), the share of the way from the lower to the upper asymptote at which a score lies."""
    return (y - lower) / (upper - lower)


def rough_predictor(y: Any, lower: Any, upper: Any) -> np.ndarray:
    """Return logits of the shares of the range at which scores lie: linear predictors for starting values."""
    return logit(np.clip(share_of_range(y, lower, upper), _MARGIN, 1.0 - _MARGIN))


def starting_lower(chance: npt.ArrayLike) -> np.ndarray:
    """Return where estimated lower asymptotes start, and to what penalties draw them: the guessing level, off zero."""
    return np.maximum(chance, LOWER_FLOOR)


def starting_upper(chance: npt.ArrayLike) -> np.ndarray:
    """Return where estimated upper asymptotes start, and to what penalties draw them."""
    return np.full(np.shape(chance), expit(UPPER_CENTRE))


def check_room(asymptotes: str, chance: Any, benchmarks: Sequence[str]) -> None:
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
    """Curves at linear predictors: mu, and its derivatives in eta and in the shapes.

    Parameters
    ----------
    eta : array (C, M)
        Linear predictors; computations are fastest in Fortran order.
    curve : Curve
    order : int, 0 to 3
        Order of the highest derivative that will be asked for; of the third ones those in at least two etas.
    shapes : str
        Shapes whose derivatives will be asked for, in any order. In names of derivatives asymptotes stand before
        coordinates, as in ``c1``.

    Attributes
    ----------
    mu : array (C, M)
        The value of the curve.
    """

    def __init__(self, eta: np.ndarray, curve: Curve, order: int, shapes: str = "") -> None:
        self._order = order
        self._asymptotes = [a for a in "cd" if a in shapes]
        self._coordinates = [(LINK.index(a), a) for a in shapes if a in LINK]
        self._rho: Any = curve.rho
        self._basis: Any = None
        self._by_link: list[np.ndarray] = []
        if curve.rho is not None:
            eta = self._evaluate_spline(eta, curve)
        self._share, self._rest = logistic_pair(eta)
        self._span, self._above = curve.upper - curve.lower, 1.0 - curve.upper
        self.mu = self._span * self._share
        self.mu += curve.lower
        if order >= 1:
            self._logistic()

    @property
    def nu(self) -> np.ndarray:
        """1 - mu without cancellation, an array (C, M)."""
        nu = self._span * self._rest
        nu += self._above
        return nu

    def _evaluate_spline(self, eta: np.ndarray, curve: Curve) -> np.ndarray:
        """Return g, and keep its derivatives in eta and in the coordinates of the link."""
        self._basis = monotone.basis(np.ascontiguousarray(eta), self._order)
        bases = [basis if number <= self._order else None for number, basis in enumerate(self._basis)]
        rho = curve.rho[:, None, :]
        self._g = [NOT_COMPUTED if one is None else self._combined(one, rho) for one in bases]
        if self._order and self._coordinates:
            self._by_link = [NOT_COMPUTED if basis is None else basis @ curve.rho_by_link for basis in bases[:3]]
        return self._g[0]

    def _logistic(self) -> None:
        """Compute the logistic function's derivatives in g, and those that the derivatives of a spline multiply."""
        f1 = self._share * self._rest
        factors = []
        if self._order >= 2:
            turn = self._rest - self._share
            factors.append(turn)
        if self._order >= 3:
            factors.append(turn**2 - 2.0 * f1)
        self._f = [NOT_COMPUTED, f1, *[f1 * factor for factor in factors]]
        self._s = self._f if self._basis is None else self._scaled_first(factors)

    # --- steps that a subclass may take in another order of rounding -----------------------------------------------

    def _combined(self, basis: np.ndarray, rho: np.ndarray) -> np.ndarray:
        """Return sums of basis functions times slopes."""
        return combined(basis, rho)

    def _scaled_first(self, factors: list[np.ndarray]) -> list[np.ndarray]:
        """Return None and three derivatives in g; ``factors`` are the second and the third divided by the first."""
        return self._f

    def _scaled_last(self, value: np.ndarray) -> np.ndarray:
        """Return derivatives of mu (C, M) or (C, M, G) from those of F, which a subclass may have scaled before."""
        return (self._span if value.ndim == 2 else self._span[..., None]) * value

    # --- derivatives -----------------------------------------------------------------------------------------------

    def derivatives(self, link: bool = True) -> dict[str, np.ndarray]:
        """Return the derivatives of mu by name, arrays (C, M); those that vanish everywhere are left out.

        Parameters
        ----------
        link : bool
            Whether derivatives in the coordinates of the link are wanted.
        """
        if self._order == 0:
            return {}
        out = {"c": self._rest, "d": self._share}
        of_f = self._f_in_eta()
        if self._basis is None:
            for name, value in of_f.items():
                out[name] = self._span * value
        else:
            for name, value in self._spline_in_eta().items():
                out[name] = self._scaled_last(value)
            out |= self._by_name() if link and self._coordinates else {}
        if self._asymptotes:
            for name, value in of_f.items():
                if len(name) < self._order:
                    out |= {name + a: value if a == "d" else -value for a in self._asymptotes}
        return out

    def _f_in_eta(self) -> dict[str, np.ndarray]:
        """Return derivatives of F in eta: all under the logistic link, those that asymptotes need under a spline."""
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

    def _spline_in_eta(self) -> dict[str, np.ndarray]:
        """Return the derivatives of F in eta under a spline, by the chain rule through g."""
        (_, s1, *rest), (_, g1, g2, g3) = self._s, self._g
        out = {"e": s1 * g1}
        if self._order >= 2:
            out["ee"] = rest[0] * g1 * g1 + s1 * g2
        if self._order >= 3:
            out["eee"] = rest[1] * g1**3 + 3.0 * rest[0] * g1 * g2 + s1 * g3
        return out

    def in_link(self) -> list[np.ndarray]:
        """Return the derivatives of mu in the coordinates of the link, alone and with one or two etas, (C, M, G)."""
        (_, s1, *rest), (_, g1, g2, _) = self._s, self._g
        heavy = s1[..., None]
        stacks = [heavy * self._by_link[0]]
        if self._order >= 2:
            first = (rest[0] * g1)[..., None]
            stacks.append(first * self._by_link[0] + heavy * self._by_link[1])
        if self._order >= 3:
            bent = (rest[1] * g1 * g1 + rest[0] * g2)[..., None]
            stacks.append(bent * self._by_link[0] + 2.0 * first * self._by_link[1] + heavy * self._by_link[2])
        return [self._scaled_last(stack) for stack in stacks]

    def _by_name(self) -> dict[str, np.ndarray]:
        """Return the derivatives of ``in_link`` by name, and those in a coordinate and another shape."""
        out: dict[str, np.ndarray] = {}
        for number, stack in enumerate(self.in_link()):
            out |= {number * "e" + a: stack[..., place] for place, a in self._coordinates}
        if self._order >= 2 and self._asymptotes:
            for place, a in self._coordinates:
                plain = self._f[1] * self._by_link[0][..., place]
                out |= {b + a: plain if b == "d" else -plain for b in self._asymptotes}
        return out | self._link_pairs() if self._order >= 2 else out

    def _link_pairs(self) -> dict[str, np.ndarray]:
        """Return the second derivatives of mu in two coordinates of the link."""
        _, s1, s2, *_ = self._s
        curved = monotone.slopes_curvature(self._rho[:, None, :], self._basis.E)
        out = {}
        for place, (n, a) in enumerate(self._coordinates):
            heavy = s2 * self._by_link[0][..., n]
            for m, b in self._coordinates[place:]:
                out[a + b] = self._scaled_last(heavy * self._by_link[0][..., m] + s1 * curved[..., n, m])
        return out

    def predictor_derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Return derivatives of g in eta (C, M) and in the coordinates of the link (C, M, G), G = 0 if logistic."""
        if self._basis is None:
            return np.ones(self.mu.shape), np.zeros((*self.mu.shape, 0))
        return self._g[1], self._by_link[0]


def combined(basis: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """Return the sums over R of basis functions (..., R) times slopes (..., R), which broadcast."""
    out = basis[..., 0] * rho[..., 0]
    for number in range(1, basis.shape[-1]):
        out += basis[..., number] * rho[..., number]
    return out
