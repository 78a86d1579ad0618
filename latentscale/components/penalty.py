"""Penalties added to the log-likelihood: weak ones on the shapes of benchmarks' curves, and optional shrinkage.

Shapes. A free lower asymptote has the penalty -((logit c - logit max(chance, floor)) / sd)^2 / 2; logit d of a free
upper asymptote has the same about ``UPPER_CENTRE`` (``components.curve``); each coordinate u of a link has
-(u / sd)^2 / 2, as u = 0 is the logistic link.

Shrinkage. With S the covariance of the covariates over the LLMs, it is

    -tr(Lambda Sigma Lambda') / (2 e^2) - tr(Sigma^-1 B' S B) / (2 f^2).

The first trace is the variance of the benchmarks' linear predictors that is due to families, summed over benchmarks;
the second is the variance of skills that is due to covariates, in units of that of the family effects. Neither depends
on the rotation of the skills or on the units of the covariates.

Precisions have, if asked for, -(log phi - log m)^2 / (2 s^2), where m belongs to the law of a score
(``precision_centre``). Without it residual skills of LLMs can explain all scores of a benchmark that a skill loads on
alone, and its precision goes to infinity (a Heywood case).

Standard deviations tau of random slopes and of residual skills have, if asked for, sum (log tau - r tau), where r is
the standard deviation of the slope's covariate, and 1 for residual skills: the log-density of a gamma law of shape 2
(Chung, Rabe-Hesketh, Dorie, Gelman and Liu 2013). It keeps estimates off zero, where the model would say for certain
that families do not differ, and moves others by less than a standard error. Its mode is at one standard deviation of
the family effects, which matters only for skills that shrinkage has taken out of all benchmarks.
"""


from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse
from scipy.special import logit

from ..parameters.structure import Layout
from ..parameters.table import ParameterTable
from .curve import starting_lower, starting_upper

DEFAULT_SD = 2.0
DEFAULT_LINK_SD = 0.5
WEAK_PRECISION_SD = 1.5
"""The s.d. of a weak penalty on logarithms of precisions."""


@dataclass(frozen=True)
class Penalty:
    """The sum of all penalties, as a function of the structural vector s.

    Attributes
    ----------
    parts : tuple of ShapePenalty, PrecisionPenalty, SpreadPenalty, Shrinkage
    """

    parts: tuple[ShapePenalty | PrecisionPenalty | SpreadPenalty | Shrinkage, ...]

    def terms(self, s: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (S,)."""
        terms = [part.terms(s) for part in self.parts]
        return sum(value for value, _ in terms), sum((slope for _, slope in terms), np.zeros(len(s)))

    def hessian(self, s: np.ndarray) -> np.ndarray:
        """Second derivatives (S, S)."""
        return self.sparse_hessian(s).toarray()

    def sparse_hessian(self, s: np.ndarray) -> sparse.csr_array:
        """Return the second derivatives as a sparse array (S, S)."""
        return sum((part.hessian(s) for part in self.parts), sparse.csr_array((len(s), len(s))))


@dataclass(frozen=True)
class ShapePenalty:
    """Penalty on the free asymptotes and links of a parameter table.

    Attributes
    ----------
    where : int array (F,)
        Positions in s of the free asymptotes, then of the free coordinates of links.
    centre : array (F,)
        Centres of the penalties, of asymptotes on the logit scale.
    sd : array (F,)
        Standard deviations of the penalties.
    n_asymptotes : int
        Number of positions that belong to asymptotes.
    """

    where: np.ndarray
    centre: np.ndarray
    sd: np.ndarray
    n_asymptotes: int

    @classmethod
    def for_table(
        cls,
        table: ParameterTable,
        chance: np.ndarray,
        asymptote_sd: float = DEFAULT_SD,
        link_sd: float = DEFAULT_LINK_SD,
    ) -> Self:
        """Return the penalty on the free shapes of a parameter table; ``chance`` (J,) holds the guessing levels."""
        index = [table.layout.index(name) for name in ("lower", "upper")]
        centres = [starting_lower(chance), starting_upper(chance)]
        where, centre = np.concatenate(index), logit(np.concatenate(centres))
        free = table.free[where]
        where, centre = where[free], centre[free]
        link = table.layout.index("link").ravel()
        link = link[table.free[link]]
        sd = np.concatenate([np.full(len(where), asymptote_sd), np.full(len(link), link_sd)])
        return cls(np.concatenate([where, link]), np.append(centre, np.zeros(len(link))), sd, len(where))

    def _distance(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (x - centre) / sd^2, dx/ds and d2x/ds2, with x the logit of an asymptote or a link coordinate."""
        value, n = s[self.where], self.n_asymptotes
        bounded = value[:n]
        slope, bend = np.ones(len(value)), np.zeros(len(value))
        slope[:n] = 1.0 / (bounded * (1.0 - bounded))
        bend[:n] = (2.0 * bounded - 1.0) * slope[:n] ** 2
        position = np.concatenate([logit(bounded), value[n:]])
        return (position - self.centre) / self.sd**2, slope, bend

    def terms(self, s: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (S,)."""
        distance, slope, _ = self._distance(s)
        gradient = np.zeros(len(s))
        gradient[self.where] = -distance * slope
        return float(-0.5 * np.sum((distance * self.sd) ** 2)), gradient

    def hessian(self, s: np.ndarray) -> sparse.csr_array:
        """Second derivatives (S, S), a sparse diagonal."""
        distance, slope, bend = self._distance(s)
        diagonal = np.zeros(len(s))
        diagonal[self.where] = -(slope**2) / self.sd**2 - distance * bend
        return sparse.diags_array(diagonal, format="csr")


@dataclass(frozen=True)
class PrecisionPenalty:
    """Penalty on the logarithms of precisions; see the docstring of the module.

    Attributes
    ----------
    where : int array (J,)
        Positions in s of the free precisions.
    centre, sd : float
        m and s.
    """

    where: np.ndarray
    centre: float
    sd: float

    def terms(self, s: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (S,)."""
        distance = np.log(s[self.where] / self.centre)
        gradient = np.zeros(len(s))
        gradient[self.where] = -distance / self.sd**2 / s[self.where]
        return float(-0.5 * np.sum(distance**2) / self.sd**2), gradient

    def hessian(self, s: np.ndarray) -> sparse.csr_array:
        """Second derivatives (S, S), a sparse diagonal."""
        phi = s[self.where]
        diagonal = np.zeros(len(s))
        diagonal[self.where] = (np.log(phi / self.centre) - 1.0) / (self.sd * phi) ** 2
        return sparse.diags_array(diagonal, format="csr")


@dataclass(frozen=True)
class SpreadPenalty:
    """Penalty that keeps standard deviations off zero; see the docstring of the module.

    Attributes
    ----------
    where : int array (M,)
        Positions in s of the standard deviations, which count by their absolute values.
    rate : array (M,)
        r.
    """

    where: np.ndarray
    rate: np.ndarray

    def terms(self, s: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (S,)."""
        gradient = np.zeros(len(s))
        size, sign = np.abs(s[self.where]), np.sign(s[self.where])
        gradient[self.where] = sign * (1.0 / size - self.rate)
        return float(np.sum(np.log(size) - self.rate * size)), gradient

    def hessian(self, s: np.ndarray) -> sparse.csr_array:
        """Second derivatives (S, S), a sparse diagonal."""
        diagonal = np.zeros(len(s))
        diagonal[self.where] = -1.0 / s[self.where] ** 2
        return sparse.diags_array(diagonal, format="csr")


@dataclass(frozen=True)
class Shrinkage:
    """Shrinkage of loadings and slopes; see the docstring of the module.

    Attributes
    ----------
    layout : Layout
    design_cov : array (p, p)
        S.
    effects, slopes : float or None
        e and f; None where that penalty is absent.
    """

    layout: Layout
    design_cov: np.ndarray
    effects: float | None
    slopes: float | None

    def _weights(self) -> list[float]:
        """Return 1 / e^2 and 1 / f^2, zero for a penalty that is absent."""
        return [0.0 if sd is None else 1.0 / sd**2 for sd in (self.effects, self.slopes)]

    def _blocks(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return Lambda, B, Sigma and the inverse of Sigma."""
        structure = self.layout.unflatten(s)
        return structure.loadings, structure.slopes, structure.skill_cov, np.linalg.inv(structure.skill_cov)

    def _flat(self, loadings: np.ndarray, slopes: np.ndarray, cov: np.ndarray) -> np.ndarray:
        """Return derivatives by block as a vector (S,); that in Sigma is the symmetric G with df = tr(G dSigma)."""
        out = np.zeros(self.layout.size)
        rows, columns = self.layout.triangle
        out[self.layout.slices["loadings"]] = loadings.ravel()
        out[self.layout.slices["slopes"]] = slopes.ravel()
        out[self.layout.slices["skill_cov"]] = np.where(rows == columns, 1.0, 2.0) * cov[rows, columns]
        return out

    def terms(self, s: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (S,)."""
        loadings, slopes, cov, inverse = self._blocks(s)
        w, v = self._weights()
        explained = slopes.T @ self.design_cov @ slopes
        value = -0.5 * (w * np.sum((loadings @ cov) * loadings) + v * np.sum(explained * inverse))
        in_cov = 0.5 * (v * inverse @ explained @ inverse - w * loadings.T @ loadings)
        return float(value), self._flat(-w * loadings @ cov, -v * self.design_cov @ slopes @ inverse, in_cov)

    def hessian(self, s: np.ndarray) -> sparse.csr_array:
        """Second derivatives, a sparse array (S, S), computed for one entry of s after another."""
        loadings, slopes, cov, inverse = self._blocks(s)
        w, v = self._weights()
        explained = slopes.T @ self.design_cov @ slopes
        pulled = inverse @ explained @ inverse
        out = np.zeros((len(s), len(s)))
        blocks = [self.layout.slices[name] for name in ("loadings", "slopes", "skill_cov")]
        for position in np.concatenate([np.arange(block.start, block.stop) for block in blocks]):
            unit = np.zeros(len(s))
            unit[position] = 1.0
            change = self.layout.unflatten(unit)
            d_loadings, d_slopes, d_cov = change.loadings, change.slopes, change.skill_cov
            mixed = slopes.T @ self.design_cov @ d_slopes
            turned = inverse @ d_cov @ pulled
            in_cov = 0.5 * v * (inverse @ (mixed + mixed.T) @ inverse - turned - turned.T)
            in_cov -= 0.5 * w * (loadings.T @ d_loadings + d_loadings.T @ loadings)
            in_slopes = self.design_cov @ (d_slopes - slopes @ inverse @ d_cov) @ inverse
            out[position] = self._flat(-w * (d_loadings @ cov + loadings @ d_cov), -v * in_slopes, in_cov)
        return sparse.csr_array(out)
