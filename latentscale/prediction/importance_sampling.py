"""Weighted draws from the posterior of a family's effects: self-normalised importance sampling about the mode.

The vector v holds all effects of a family: first its own (alpha_l, and with random slopes z_l), then those of every
unit within it, such as the residual skills e_i of its LLMs. Proposals are scrambled Sobol points carried to a normal or
t distribution at the mode of p(v | y_l), with the curvature there, and get importance weights.

If the weights are so uneven that few draws count, draws are resampled and then moved by elliptical slice sampling
(Murray, Adams and MacKay 2010), with the normal distribution at the mode in the role of the prior (Nishihara, Murray
and Adams 2014). These steps leave p(v | y_l) invariant.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.stats import qmc

from ..components.cells import Cells
from ..components.levels import levels_of
from ..components.linear_predictor import fixed_part
from ..components.response import CellParameters, cell_parameters, cell_terms
from ..errors import DataError
from ..likelihood.modes import posterior_modes
from ..numerics.linalg import cholesky_or_none
from ..parameters.structure import Structure

DRAWS = 4096
T_DF = 5.0  # degrees of freedom of t proposals
MOST_T = 12  # beyond so many effects the normal proposal is tried first
POOR = 0.1  # effective share of the draws below which slice sampling follows
SLICE_STEPS = 25  # of every draw
_PIECE = 512  # draws whose cell terms are computed at one time
_NEWTON = 60  # most steps to the mode


@dataclass(frozen=True)
class EffectDraws:
    """Weighted draws of a family's effects given its scores.

    Attributes
    ----------
    alpha : array (M, D)
        Effects of the family itself.
    by_llm : dict of int to array (M, D')
        Effects of each LLM with scores, by its row of the design; empty where LLMs have no effects.
    weight : array (M,)
        Importance weights, which sum to one.
    ess : float
        Effective sample size: 1 / sum w^2 for importance sampling; after slice sampling, that of draws with the
        correlation that is left between draws before and after.
    slice_sampled : bool
        Whether draws were moved by slice sampling, and so have equal weights.
    """

    alpha: np.ndarray
    by_llm: dict[int, np.ndarray]
    weight: np.ndarray
    ess: float
    slice_sampled: bool

    def resampled(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return indices (size,) of draws of equal weight, by systematic resampling, in random order."""
        ends = np.cumsum(self.weight)
        points = (np.arange(size) + rng.random()) / size
        return rng.permutation(np.minimum(np.searchsorted(ends, points * ends[-1], side="right"), len(ends) - 1))


def generator(seed: int, name: object) -> np.random.Generator:
    """Return a random generator that depends on the seed and a family's name only.

    The draws of a family are then the same whichever other families are asked for.
    """
    return np.random.default_rng([int(seed), *str(name).encode()])


def effect_draws(
    structure: Structure, cells: Cells, names: Iterable[object], draws: int = DRAWS, seed: int = 0
) -> list[EffectDraws]:
    """Return weighted draws of the effects of every family of some cells, a list of L EffectDraws.

    Parameters
    ----------
    structure : Structure
    cells : Cells
        With covariates in the same units as ``structure``.
    names : sequence of L names
        Names of the families, on which their random generators depend.
    draws : int
        Weighted draws of each family, a power of two.
    seed : int
    """
    start = posterior_modes(structure, cells).alpha
    targets = family_targets(structure, cells)
    return [
        _draw(target, target.climb(alpha), draws, generator(seed, name))
        for target, alpha, name in zip(targets, start, names, strict=True)
    ]


def family_targets(structure: Structure, cells: Cells) -> "Iterator[FamilyTarget]":
    """Yield the log posterior of every family's effects as a FamilyTarget, in the order of the families.

    Raises
    ------
    DataError
        If families are nested in groups.
    """
    if cells.nested is not None:
        raise DataError(
            "Effects of families nested in groups cannot be drawn, so that a fit with nested=True has no predictions, "
            "skills and quantile residuals: fit with nested=False for these."
        )
    outer, *inner = levels_of(structure)
    _, base = fixed_part(structure, cells)
    parameters = cell_parameters(structure, cells)
    by_level = [level.loadings(structure, cells.item, cells.random_cells) for level in (outer, *inner)]
    priors = [np.linalg.inv(level.covariance(structure)) for level in (outer, *inner)]
    d = len(priors[0])
    for family in range(cells.n_families):
        where = slice(cells.bounds[family], cells.bounds[family + 1])
        spans = [cells.span(level.name, family, family + 1) for level in inner]
        sizes = [len(prior) * (span.stop - span.start) for prior, span in zip(priors[1:], spans, strict=True)]
        loadings = np.zeros((where.stop - where.start, d + sum(sizes)))
        loadings[:, :d] = by_level[0][where]
        prior = np.zeros((loadings.shape[1],) * 2)
        prior[:d, :d] = priors[0]
        first = d
        for level, span, level_loadings, level_prior in zip(inner, spans, by_level[1:], priors[1:], strict=True):
            units = cells.units(level.name)
            for unit in range(span.start, span.stop):
                block, of_unit = slice(first, first + len(level_prior)), units.of_cell[where] == unit
                loadings[of_unit, block] = level_loadings[where][of_unit]
                prior[block, block] = level_prior
                first = block.stop
        rows = cells.llm_rows[spans[-1]] if spans else np.zeros(0, dtype=int)
        yield FamilyTarget(cells, where, parameters.at(where), base[where], loadings, prior, rows, d)


@dataclass(frozen=True)
class FamilyTarget:
    """The log posterior of one family's effects v up to a constant: log p(y_l | v) - v' P v / 2.

    Attributes
    ----------
    cells : Cells
    where : slice
        The family's cells.
    parameters : CellParameters
    base : array (C,)
        Linear predictors of its cells at v = 0.
    loadings : array (C, V)
        Loadings of its cells on v.
    prior : array (V, V)
        P, the prior precision matrix of v.
    rows : int array
        Rows of the design of its LLMs, whose effects are the blocks of v after the first D; empty where LLMs have none.
    n_shared : int
        D, the number of effects of the family itself.
    """

    cells: Cells
    where: slice
    parameters: CellParameters
    base: np.ndarray
    loadings: np.ndarray
    prior: np.ndarray
    rows: np.ndarray
    n_shared: int

    def terms(self, v: np.ndarray, order: int) -> dict[str, np.ndarray]:
        """Return the log-density of every cell and its derivatives at draws v (M, V), arrays (C, M)."""
        eta = self.base[:, None] + self.loadings @ v.T
        return cell_terms(eta, self.parameters, self.cells, self.where, order)

    def log_joint(self, v: np.ndarray) -> np.ndarray:
        """Return log p(y_l | v) - v' P v / 2 at draws v (M, V), array (M,)."""
        out = np.empty(len(v))
        for first in range(0, len(v), _PIECE):
            part = slice(first, first + _PIECE)
            out[part] = self.terms(v[part], 0)["f"].sum(axis=0)
        return out - 0.5 * np.sum(v @ self.prior * v, axis=1)

    def gradient_and_curvature(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient (V,) and minus the Hessian (V, V) of the log posterior at one v (V,).

        Where minus the Hessian is not positive definite its expectation over scores takes its place.
        """
        terms = self.terms(v[None], 2)
        gradient = self.loadings.T @ terms["e"][:, 0] - self.prior @ v
        exact = self.prior - (self.loadings * terms["ee"]).T @ self.loadings
        if cholesky_or_none(exact) is not None:
            return gradient, exact
        return gradient, self.prior + (self.loadings * np.maximum(terms["fisher"], 0.0)).T @ self.loadings

    def climb(self, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mode of v (V,) and the curvature there (V, V), by Newton's method with step halving.

        It starts from family effects ``alpha`` (D,) and effects of zero for all LLMs.
        """
        v = np.append(alpha, np.zeros(len(self.prior) - len(alpha)))
        value = self.log_joint(v[None])[0]
        for _ in range(_NEWTON):
            gradient, curvature = self.gradient_and_curvature(v)
            step = np.linalg.solve(curvature, gradient)
            if gradient @ step < 1e-12:
                break
            for _ in range(30):
                new = self.log_joint((v + step)[None])[0]
                if new >= value:
                    break
                step = 0.5 * step
            else:
                break
            v, value = v + step, new
        return v, self.gradient_and_curvature(v)[1]


def _draw(
    target: FamilyTarget, at_mode: tuple[np.ndarray, np.ndarray], draws: int, rng: np.random.Generator
) -> EffectDraws:
    """Return the draws of one family, given its mode and the curvature there."""
    mode, curvature = at_mode
    root = np.linalg.inv(np.linalg.cholesky(curvature)).T
    best: tuple[np.ndarray, np.ndarray, float] | None = None
    for t_df in (T_DF, None) if len(mode) <= MOST_T else (None, T_DF):
        z, log_q = _proposals(draws, len(mode), t_df, rng)
        log_weight = target.log_joint(mode + z @ root.T) - log_q
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        ess = 1.0 / np.sum(weight**2)
        if best is None or ess > best[2]:
            best = z, weight, ess
        if ess >= POOR * draws:
            break
    assert best is not None
    z, weight, ess = best
    slice_sampled = ess < POOR * draws
    if slice_sampled:
        z, ess = _slice_steps(target, mode, root, z, weight, ess, rng)
        weight = np.full(draws, 1.0 / draws)
    v, d = mode + z @ root.T, target.n_shared
    k = (v.shape[1] - d) // max(len(target.rows), 1)
    by_llm = {int(row): v[:, d + k * number : d + k * (number + 1)] for number, row in enumerate(target.rows)}
    return EffectDraws(v[:, :d], by_llm, weight, float(ess), slice_sampled)


def _proposals(draws: int, size: int, t_df: float | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return Sobol points of the standard normal or t distribution (draws, size), and their log-densities.

    The log-densities (draws,) are up to a constant; ``t_df`` is None for the normal distribution.
    """
    uniform = np.clip(qmc.Sobol(size + (t_df is not None), rng=rng).random(draws), 2.0**-54, 1.0 - 2.0**-53)
    z = special.ndtri(uniform[:, :size])
    if t_df is None:
        return z, -0.5 * np.sum(z * z, axis=1)
    z = z / np.sqrt(special.gammaincinv(0.5 * t_df, uniform[:, -1]) * 2.0 / t_df)[:, None]
    return z, -0.5 * (t_df + size) * np.log1p(np.sum(z * z, axis=1) / t_df)


def _slice_steps(
    target: FamilyTarget,
    mode: np.ndarray,
    root: np.ndarray,
    z: np.ndarray,
    weight: np.ndarray,
    ess: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Return equally weighted draws after resampling and slice sampling, and their effective sample size.

    Points z stand for effects mode + root z. Every draw makes ``SLICE_STEPS`` steps.
    """
    ends = np.cumsum(weight)
    chosen = np.searchsorted(ends, (np.arange(len(z)) + rng.random()) / len(z) * ends[-1], side="right")
    first = z[np.minimum(chosen, len(z) - 1)]

    def ratio(points: np.ndarray) -> np.ndarray:
        """Return the log posterior minus the log-density of the normal distribution at the mode, up to a constant."""
        return target.log_joint(mode + points @ root.T) + 0.5 * np.sum(points * points, axis=1)

    points, height = first.copy(), ratio(first)
    for _ in range(SLICE_STEPS):
        points, height = _slice_step(ratio, points, height, rng)
    spread = np.std(first, axis=0) * np.std(points, axis=0)
    correlation = np.max(
        np.abs(np.mean((first - first.mean(axis=0)) * (points - points.mean(axis=0)), axis=0)) / spread
    )
    return points, 1.0 / ((1.0 - correlation**2) / len(z) + correlation**2 / ess)


def _slice_step(
    ratio: Callable[[np.ndarray], np.ndarray], now: np.ndarray, height: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return all draws and their log ratios after one step of elliptical slice sampling of each."""
    direction = rng.standard_normal(now.shape)
    level = height + np.log(rng.random(len(now)))
    angle = rng.uniform(0.0, 2.0 * np.pi, len(now))
    low, high = angle - 2.0 * np.pi, angle.copy()
    new, new_height, pending = now.copy(), height.copy(), np.arange(len(now))
    while len(pending):
        turn = angle[pending, None]
        point = now[pending] * np.cos(turn) + direction[pending] * np.sin(turn)
        value = ratio(point)
        inside = value > level[pending]
        new[pending[inside]], new_height[pending[inside]] = point[inside], value[inside]
        pending = pending[~inside]
        below = angle[pending] < 0.0
        low[pending] = np.where(below, angle[pending], low[pending])
        high[pending] = np.where(below, high[pending], angle[pending])
        angle[pending] = rng.uniform(low[pending], high[pending])
    return new, new_height
