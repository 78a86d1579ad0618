"""The beta law of a score, and its mixture with outliers.

    Y ~ Beta(mu phi, (1 - mu) phi),  E Y = mu,  Var Y = mu (1 - mu) / (1 + phi).

With a share omega of outliers a score has one of two such laws with the same mean: with probability omega its precision
is a tenth of its benchmark's, so that single odd scores move a fit less.
"""


from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from ..boundary import BOUNDARIES
from ..numerics import compiled
from ..numerics.beta import BetaTerms, log_density_terms, log_tail_terms, log_tails, shapes
from ..numerics.log_gamma import gamma_derivatives
from .score_laws import LawTerms, ScoreLaw, Values

OUTLIER_PRECISION = 0.1  # the precision of outliers divided by that of other scores
_NEAREST = 1e-12  # means are kept this far from 0 and 1, where the beta law does not exist
_IN_PRECISION = {"p": 1, "mp": 1, "mmp": 1, "expected_mmp": 1, "pp": 2}  # order of each derivative in the precision


@dataclass(frozen=True)
class Beta(ScoreLaw):
    """The beta law.

    Attributes
    ----------
    outliers : float
        Share of scores with a tenth of the precision, in [0, 0.5).
    """

    outliers: float = 0.0

    name = "beta"
    location_word = "mean"
    boundaries = BOUNDARIES

    @property
    def expected_curvature(self) -> bool:  # type: ignore[override]
        """True with outliers, as the log-density of the mixture is not concave.

        The expected curvature is then that of a law in which one knows which scores are outliers.
        """
        return bool(self.outliers)

    def with_outliers(self, share: float) -> Beta:
        """Return the beta law with a share of outliers."""
        return Beta(float(share))

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the outliers, if there are any."""
        if not self.outliers:
            return ()
        return (
            f"A share of {self.outliers:g} of the scores is taken to have {OUTLIER_PRECISION:g} of their benchmark's "
            "precision; precisions are those of the others.",
        )

    # --- likelihood -----------------------------------------------------------------------------------------------

    def at_precision(self, phi: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the log-gamma function and its first two derivatives at phi, and at the precision of outliers."""
        values = gamma_derivatives(phi, 2)
        return (*values, *gamma_derivatives(OUTLIER_PRECISION * phi, 2)) if self.outliers else tuple(values)

    def terms(
        self,
        mu: np.ndarray,
        nu: np.ndarray,
        phi: np.ndarray,
        at_phi: tuple[np.ndarray, ...],
        data: tuple[np.ndarray, ...],
        order: int,
    ) -> LawTerms:
        """Return the log-density and its derivatives."""
        first = _with_expected(log_density_terms(mu, nu, phi, at_phi[:3], data[0], data[1], order))
        if not self.outliers:
            return first
        wide = log_density_terms(mu, nu, OUTLIER_PRECISION * phi, at_phi[3:], data[0], data[1], order)
        return self._mixed(first, wide, order)

    def tail_terms(
        self, mu: np.ndarray, nu: np.ndarray, phi: np.ndarray, edge: np.ndarray, upper: np.ndarray, order: int
    ) -> LawTerms:
        """Return the logarithm of a tail probability and its derivatives."""
        first = _with_expected(log_tail_terms(mu, nu, phi, edge, upper, order))
        if not self.outliers:
            return first
        return self._mixed(first, log_tail_terms(mu, nu, OUTLIER_PRECISION * phi, edge, upper, order), order)

    def _mixed(self, first: LawTerms, outlying: BetaTerms, order: int) -> LawTerms:
        """Return the terms of the mixture of two laws, differentiated in the precision of the first.

        Expected values are averages of those of the two laws, as if one knew which of them a score has.
        """
        wide = _with_expected(outlying)
        scaled = {name: getattr(wide, name) for name in _IN_PRECISION}
        wide = wide._replace(
            **{name: value * OUTLIER_PRECISION ** _IN_PRECISION[name]
               for name, value in scaled.items() if value is not None}
        )  # fmt: skip
        expected = {
            name: (1.0 - self.outliers) * getattr(first, name) + self.outliers * getattr(wide, name)
            for name in ("expected_mm", "expected_mmm", "expected_mmp")
            if getattr(first, name) is not None
        }
        return mixture_terms(first, wide, self.outliers, order)._replace(**expected)

    def compiled(self, order: int, asymptotes: bool) -> tuple[Callable[..., None], tuple[str, ...]] | None:
        """Return compiled loops (``numerics.compiled_beta``) where numba is installed and there are no outliers."""
        return None if self.outliers or not compiled.available() else compiled.beta_logistic(order, asymptotes)

    def second_search(self) -> tuple[ScoreLaw, float] | None:
        """With outliers, begin the second search at the mode of a law in which all scores are outliers."""
        return (Beta(), OUTLIER_PRECISION) if self.outliers else None

    # --- the law itself -------------------------------------------------------------------------------------------

    def _components(self, phi: np.ndarray) -> tuple[tuple[float, np.ndarray], ...]:
        """Return the share and the precision of each component of the mixture; one component without outliers."""
        if not self.outliers:
            return ((1.0, phi),)
        return ((1.0 - self.outliers, phi), (self.outliers, OUTLIER_PRECISION * phi))

    def mean(self, mu: Values, phi: Values) -> Any:
        """Return the location, which is the mean."""
        return mu

    def location(self, mean: Values, phi: Values) -> Any:
        """Return the mean, which is the location."""
        return mean

    def variance(self, mu: Values, nu: Values, phi: Values) -> Any:
        """Return Var Y = mu (1 - mu) / (1 + phi), averaged over the components of the mixture."""
        return mu * nu * sum(share / (1.0 + precision) for share, precision in self._components(phi))

    def log_tails(
        self, mu: Values, nu: Values, phi: Values, data: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return log P(Y <= y) and log P(Y >= y)."""
        y, rest = np.exp(data[0]), np.exp(data[1])
        tails = log_tails(*shapes(mu, nu, phi), y, rest)
        if not self.outliers:
            return tails
        wide = log_tails(*shapes(mu, nu, OUTLIER_PRECISION * phi), y, rest)
        log_shares = np.log1p(-self.outliers), np.log(self.outliers)
        below, above = (np.logaddexp(a + log_shares[0], b + log_shares[1]) for a, b in zip(tails, wide, strict=True))
        return below, above

    def cdf(self, y: Values, mu: Values, phi: Values) -> Any:
        """Return P(Y <= y)."""
        mu = np.clip(mu, _NEAREST, 1.0 - _NEAREST)
        return sum(
            share * special.betainc(mu * precision, (1.0 - mu) * precision, y)
            for share, precision in self._components(phi)
        )

    def quantile(self, level: Values, mu: Values, phi: Values) -> Any:
        """Return the quantile y with P(Y <= y) = level."""
        if self.outliers:
            return super().quantile(level, mu, phi)
        mu = np.clip(mu, _NEAREST, 1.0 - _NEAREST)
        return special.betaincinv(mu * phi, (1.0 - mu) * phi, level)

    def draw(self, rng: np.random.Generator, mu: Values, phi: Values, choice: np.ndarray | None = None) -> np.ndarray:
        """Return scores drawn from the law; outliers are chosen before scores are drawn."""
        if self.outliers:
            uniform = rng.random(np.shape(mu)) if choice is None else choice
            phi = np.where(uniform < self.outliers, OUTLIER_PRECISION, 1.0) * phi
        return rng.beta(mu * phi, (1.0 - mu) * phi)

    def log_density_table(self, y: np.ndarray, mu: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Return the log-density of every score (R,) under every pair of mean and precision (S,), an array (R, S)."""
        tables = []
        for _, precision in self._components(phi):
            a, b = mu * precision, (1.0 - mu) * precision
            out = np.outer(np.log(y), a - 1.0)
            out += np.outer(np.log1p(-y), b - 1.0)
            tables.append(out - special.betaln(a, b))
        if not self.outliers:
            return tables[0]
        return np.logaddexp(tables[0] + np.log1p(-self.outliers), tables[1] + np.log(self.outliers))

    def moment_precision(self, y: np.ndarray, mu: np.ndarray) -> float:
        """Return the precision that solves Var Y = mu (1 - mu) / (1 + phi), at least 2."""
        variance = np.mean((y - mu) ** 2)
        return max(np.mean(mu * (1.0 - mu)) / max(variance, 1e-6) - 1.0, 2.0)


def _with_expected(terms: BetaTerms) -> LawTerms:
    """Return the terms with expected values: ``mm`` does not depend on the score, so that it is its own expectation."""
    values: tuple[Any, ...] = (*terms, terms.mm, terms.mmm, terms.mmp)
    return LawTerms(*values)


def mixture_terms(first: LawTerms, second: LawTerms, share: float, order: int) -> LawTerms:
    """Return the terms of f = log((1 - share) exp f_1 + share exp f_2) from those of f_1 and f_2.

    The derivatives of f are moments and cumulants of those of f_1 and f_2 under the posterior probabilities w and v of
    the two components.
    """
    one, two = first.f + np.log1p(-share), second.f + np.log(share)
    f = np.logaddexp(one, two)
    if order == 0:
        return LawTerms(f)
    w, v = np.exp(one - f), np.exp(two - f)
    a, b = first, second
    m, p = w * a.m + v * b.m, w * a.p + v * b.p
    if order == 1:
        return LawTerms(f, m, p)
    square = w * (a.mm + a.m * a.m) + v * (b.mm + b.m * b.m)
    cross = w * (a.mp + a.m * a.p) + v * (b.mp + b.m * b.p)
    mm, mp = square - m * m, cross - m * p
    pp = w * (a.pp + a.p * a.p) + v * (b.pp + b.p * b.p) - p * p
    if order == 2:
        return LawTerms(f, m, p, mm, mp, pp)
    mmm = w * (a.mmm + 3.0 * a.m * a.mm + a.m**3) + v * (b.mmm + 3.0 * b.m * b.mm + b.m**3)
    mmm = mmm - 3.0 * m * square + 2.0 * m**3
    mmp = w * (a.mmp + a.mm * a.p + 2.0 * a.m * a.mp + a.m * a.m * a.p)
    mmp = mmp + v * (b.mmp + b.mm * b.p + 2.0 * b.m * b.mp + b.m * b.m * b.p)
    mmp = mmp - p * square - 2.0 * m * cross + 2.0 * m * m * p
    return LawTerms(f, m, p, mm, mp, pp, mmm, mmp)
