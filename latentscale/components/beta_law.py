"""The beta law of a score, and its mixture with outliers.

    Y ~ Beta(mu phi, (1 - mu) phi),  E Y = mu,  Var Y = mu (1 - mu) / (1 + phi).

With a share omega of outliers a score has one of two such laws with the same mean: with probability omega its precision
is a tenth of its benchmark's, so that single odd scores move a fit less.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from ..numerics import compiled
from ..numerics.beta import log_density_terms, log_tail_terms, log_tails, shapes
from ..numerics.log_gamma import gamma_derivatives
from .score_laws import LawTerms, ScoreLaw

OUTLIER_PRECISION = 0.1  # that of outliers over that of other scores
_NEAREST = 1e-12  # nearer to 0 or 1 doubles cannot tell a mean from the end, where there is no law
_IN_PRECISION = {"p": 1, "mp": 1, "mmp": 1, "expected_mmp": 1, "pp": 2}  # how often each is differentiated in it


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

    @property
    def expected_curvature(self):
        """With outliers the log-density is not concave, and the expected curvature is that if one knew who they are."""
        return bool(self.outliers)

    def with_outliers(self, share):
        """The law with a share of outliers."""
        return Beta(float(share))

    @property
    def notes(self):
        """What is said of outliers."""
        if not self.outliers:
            return ()
        return (
            f"A share of {self.outliers:g} of the scores is taken to have {OUTLIER_PRECISION:g} of their benchmark's "
            "precision; precisions are those of the others.",
        )

    # --- likelihood -----------------------------------------------------------------------------------------------

    def at_precision(self, phi):
        """The log-gamma function and its first two derivatives at phi; with outliers at their precision too."""
        found = gamma_derivatives(phi, 2)
        return (*found, *gamma_derivatives(OUTLIER_PRECISION * phi, 2)) if self.outliers else tuple(found)

    def terms(self, mu, nu, phi, at_phi, data, order):
        """Log-density and derivatives."""
        first = _with_expected(log_density_terms(mu, nu, phi, at_phi[:3], *data, order))
        if not self.outliers:
            return first
        wide = log_density_terms(mu, nu, OUTLIER_PRECISION * phi, at_phi[3:], *data, order)
        return self._mixed(first, wide, order)

    def tail_terms(self, mu, nu, phi, edge, upper, order):
        """Logarithm of a tail probability and derivatives."""
        first = _with_expected(log_tail_terms(mu, nu, phi, edge, upper, order))
        if not self.outliers:
            return first
        return self._mixed(first, log_tail_terms(mu, nu, OUTLIER_PRECISION * phi, edge, upper, order), order)

    def _mixed(self, first, wide, order):
        """Terms of the mixture of two laws; expected ones are those if one knew which of the laws a score has."""
        wide = _with_expected(wide)
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

    def compiled(self, order, asymptotes):
        """Compiled loops (``numerics.compiled_beta``), without outliers and where numba is installed."""
        return None if self.outliers or not compiled.available() else compiled.beta_logistic(order, asymptotes)

    def second_search(self):
        """With outliers: from the mode if all scores were outliers."""
        return (Beta(), OUTLIER_PRECISION) if self.outliers else None

    # --- the law itself -------------------------------------------------------------------------------------------

    def _parts(self, phi):
        """Shares and precisions of the laws that make up a mixture."""
        if not self.outliers:
            return ((1.0, phi),)
        return ((1.0 - self.outliers, phi), (self.outliers, OUTLIER_PRECISION * phi))

    def mean(self, mu, phi):
        """The location is the mean."""
        return mu

    def location(self, mean, phi):
        """The mean is the location."""
        return mean

    def variance(self, mu, nu, phi):
        """Var Y = mu (1 - mu) / (1 + phi), averaged over the laws of a mixture."""
        return mu * nu * sum(share / (1.0 + precision) for share, precision in self._parts(phi))

    def log_tails(self, mu, nu, phi, data):
        """log P(Y <= y) and log P(Y >= y)."""
        y, rest = np.exp(data[0]), np.exp(data[1])
        tails = log_tails(*shapes(mu, nu, phi), y, rest)
        if not self.outliers:
            return tails
        wide = log_tails(*shapes(mu, nu, OUTLIER_PRECISION * phi), y, rest)
        one, two = np.log1p(-self.outliers), np.log(self.outliers)
        return [np.logaddexp(a + one, b + two) for a, b in zip(tails, wide, strict=True)]

    def cdf(self, y, mu, phi):
        """P(Y <= y)."""
        mu = np.clip(mu, _NEAREST, 1.0 - _NEAREST)
        return sum(
            share * special.betainc(mu * precision, (1.0 - mu) * precision, y) for share, precision in self._parts(phi)
        )

    def quantile(self, level, mu, phi):
        """The score that a share ``level`` of scores lies below."""
        if self.outliers:
            return super().quantile(level, mu, phi)
        mu = np.clip(mu, _NEAREST, 1.0 - _NEAREST)
        return special.betaincinv(mu * phi, (1.0 - mu) * phi, level)

    def draw(self, rng, mu, phi, choice=None):
        """Scores drawn from the law; outliers are chosen before scores are drawn."""
        if self.outliers:
            uniform = rng.random(np.shape(mu)) if choice is None else choice
            phi = np.where(uniform < self.outliers, OUTLIER_PRECISION, 1.0) * phi
        return rng.beta(mu * phi, (1.0 - mu) * phi)

    def log_density_table(self, y, mu, phi):
        """Log-density of every score (R,) under every pair of mean and precision (S,), array (R, S)."""
        tables = []
        for _, precision in self._parts(phi):
            a, b = mu * precision, (1.0 - mu) * precision
            out = np.outer(np.log(y), a - 1.0)
            out += np.outer(np.log1p(-y), b - 1.0)
            tables.append(out - special.betaln(a, b))
        if not self.outliers:
            return tables[0]
        return np.logaddexp(tables[0] + np.log1p(-self.outliers), tables[1] + np.log(self.outliers))

    def moment_precision(self, y, mu):
        """From Var Y = mu (1 - mu) / (1 + phi), at least 2."""
        variance = np.mean((y - mu) ** 2)
        return max(np.mean(mu * (1.0 - mu)) / max(variance, 1e-6) - 1.0, 2.0)


def _with_expected(terms):
    """The second derivative in the mean does not depend on the score, so that it is its own expectation."""
    return LawTerms(*terms, terms.mm, terms.mmm, terms.mmp)


def mixture_terms(first, second, share, order):
    """Terms of log((1 - share) exp f_1 + share exp f_2) from those of f_1 and f_2: cumulants of a two-point law."""
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
