"""Scores whose logits are normal: a law of a score that latentscale does not come with, in one file.

    logit Y ~ N(logit mu, 1 / phi),

so that mu, the value of the benchmark's curve, is the median of a score, and phi the precision of its logit.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_ndtr, logit

import latentscale as ls
from latentscale.components.score_laws import LawTerms, ScoreLaw

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(20)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
SMALLEST = 1e-90  # medians nearer to 0 or 1 are met by line searches alone, which must be told something finite


@dataclass(frozen=True)
class LogitNormal(ScoreLaw):
    """The logit-normal law."""

    name = "logit-normal"
    location_word = "median"
    starting_precision = 4.0
    precision_centre = 25.0

    def data(self, y):
        """What is kept of scores: their logits, and log y + log(1 - y), minus the log of the logit's derivative."""
        return logit(y), np.log(y) + np.log1p(-y)

    def scores(self, data):
        return expit(data[0])

    def terms(self, mu, nu, phi, at_phi, data, order):
        """f = log(phi / 2 pi) / 2 - phi (z - l(mu))^2 / 2 - log y - log(1 - y), with l the logit and z = logit y."""
        mu, nu = np.maximum(mu, SMALLEST), np.maximum(nu, SMALLEST)
        z, jacobian = data
        r = z - (np.log(mu) - np.log(nu))
        f = 0.5 * np.log(phi / (2.0 * np.pi)) - 0.5 * phi * r**2 - jacobian
        if order == 0:
            return LawTerms(f)
        l1 = 1.0 / (mu * nu)  # derivatives of the logit
        m, p = phi * r * l1, 0.5 / phi - 0.5 * r**2
        if order == 1:
            return LawTerms(f, m, p)
        l2 = (mu - nu) * l1**2
        square = -(l1**2)  # the residual's expectation is zero, which leaves this of mm / phi
        second = {"mm": phi * (r * l2 + square), "mp": r * l1, "pp": -0.5 / phi**2 + 0.0 * r}
        if order == 2:
            return LawTerms(f, m, p, **second, expected_mm=phi * square)
        l3 = 2.0 * l1**2 + 2.0 * (mu - nu) ** 2 * l1**3
        return LawTerms(
            f, m, p, **second, mmm=phi * (r * l3 - 3.0 * l1 * l2), mmp=r * l2 + square,
            expected_mm=phi * square, expected_mmm=-2.0 * phi * l1 * l2, expected_mmp=square,
        )  # fmt: skip

    def _moment(self, mu, phi, power):
        """E Y^power, by quadrature."""
        mu, phi = np.broadcast_arrays(mu, phi)
        return expit(logit(mu)[..., None] + NODES / np.sqrt(phi)[..., None]) ** power @ WEIGHTS

    def mean(self, mu, phi):
        return self._moment(mu, phi, 1)

    def variance(self, mu, nu, phi):
        return self._moment(mu, phi, 2) - self._moment(mu, phi, 1) ** 2

    def log_tails(self, mu, nu, phi, data):
        z = np.sqrt(phi) * (data[0] - (np.log(mu) - np.log(nu)))
        return log_ndtr(z), log_ndtr(-z)

    def draw(self, rng, mu, phi, choice=None):
        return expit(logit(mu) + rng.standard_normal(np.shape(mu)) / np.sqrt(phi))

    def moment_precision(self, y, mu):
        return 1.0 / np.mean((logit(y) - logit(mu)) ** 2)


class LogitNormalModel(ls.LatentSkillModel):
    """A latent skill model of logit-normal scores."""

    score_law = LogitNormal()
