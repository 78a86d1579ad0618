"""Weighted draws from the posterior of a family's effects: self-normalised importance sampling about the mode.

The vector v holds all effects of a family: first its own (alpha_l, and with random slopes z_l), then those of every
unit within it, such as the residual skills e_i of its LLMs. Where families are nested in groups, it holds those of a
group. Proposals are scrambled Sobol points carried to a normal or t distribution at the mode of p(v | y_l), with the
curvature there, and get importance weights.

If the weights are so uneven that few draws count, draws are resampled and then moved by elliptical slice sampling
(Murray, Adams and MacKay 2010), with the normal distribution at the mode in the role of the prior (Nishihara, Murray
and Adams 2014). These steps leave p(v | y_l) invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from scipy.linalg import block_diag
from scipy.stats import qmc

from ..components.cells import Cells
from ..components.levels import levels_of
from ..components.linear_predictor import fixed_part
from ..components.response import CellParameters, cell_parameters, cell_terms
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
    """Weighted draws of a family's effects given its scores, and those of its group where it is nested in one.

    Attributes
    ----------
    alpha : array (M, D)
        Effects of the family itself; of a nested one its whole efficiency, with its group's part.
    by_llm : dict of int to array (M, D')
        Effects of each LLM with scores, by its row of the design; empty where LLMs have no effects.
    weight : array (M,)
        Importance weights, which sum to one; the same for all families of a group.
    ess : float
        Effective sample size: 1 / sum w^2 for importance sampling; after slice sampling, that of draws with the
        correlation that is left between draws before and after.
    slice_sampled : bool
        Whether draws were moved by slice sampling, and so have equal weights.
    of_group : array (M, K) or None
        The group's part of the efficiency, which a further family of the group has too.
    """

    alpha: np.ndarray
    by_llm: dict[int, np.ndarray]
    weight: np.ndarray
    ess: float
    slice_sampled: bool
    of_group: np.ndarray | None = None

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
    """Return weighted draws of the effects of every family of some cells, a list of EffectDraws by families' codes.

    Parameters
    ----------
    structure : Structure
    cells : Cells
        With covariates in the same units as ``structure``.
    names : sequence of names
        Names of the families, in the order of their codes, on which their random generators depend; where families are
        nested in groups, that of a group depends on the name of its first family.
    draws : int
        Weighted draws of each family, a power of two.
    seed : int
    """
    names = list(names)
    start = posterior_modes(structure, cells).alpha
    out: dict[int, EffectDraws] = {}
    for target, outer in zip(family_targets(structure, cells), start, strict=True):
        families = [block.code for block in target.blocks if block.level == "family"]
        drawn = _draw(target, target.climb(outer), draws, generator(seed, names[min(families)]))
        out |= _by_family(structure, target, drawn)
    return [out[code] for code in range(len(names))]


def _by_family(structure: Structure, target: FamilyTarget, drawn: tuple[Any, ...]) -> dict[int, EffectDraws]:
    """Return the draws of each family of a target, by its code, from draws of all effects (M, V)."""
    v, weight, ess, slice_sampled = drawn
    levels = {level.name: level for level in levels_of(structure)}
    of_group = None
    if "group" in levels:
        (where,) = (block.where for block in target.blocks if block.level == "group")
        of_group = levels["group"].added(structure, v[:, where], np.zeros(0))
    out = {}
    for block in target.blocks:
        if block.level != "family":
            continue
        alpha = v[:, block.where]
        if of_group is not None:
            efficiency, *_ = levels["family"].terms
            own = efficiency.multiplied(structure, alpha[:, : efficiency.width], np.zeros(0))
            alpha = np.hstack([of_group + own, alpha[:, efficiency.width :]])
        by_llm = {one.code: v[:, one.where] for one in target.blocks if one.level == "llm" and one.family == block.code}
        out[block.code] = EffectDraws(alpha, by_llm, weight, ess, slice_sampled, of_group)
    return out


def family_targets(structure: Structure, cells: Cells) -> Iterator[FamilyTarget]:
    """Yield the log posterior of the effects of every family, or of every group of families, as a FamilyTarget.

    They come in the order of the outermost units of ``cells``.
    """
    outer, *inner = levels = levels_of(structure)
    _, base = fixed_part(structure, cells)
    parameters = cell_parameters(structure, cells)
    by_level = [level.loadings(structure, cells.item, cells.random_cells) for level in levels]
    priors = [np.linalg.inv(level.covariance(structure)) for level in levels]
    family_of_cell = cells.codes("family")[cells.units("family").of_cell]
    for number in range(cells.n_families):
        where = slice(cells.bounds[number], cells.bounds[number + 1])
        blocks = [Block(outer.name, int(cells.codes(outer.name)[number]), slice(0, outer.size), number)]
        loadings, matrices = [by_level[0][where]], [priors[0]]
        for level, level_loadings, level_prior in zip(inner, by_level[1:], priors[1:], strict=True):
            units, span = cells.units(level.name), cells.span(level.name, number, number + 1)
            for unit in range(span.start, span.stop):
                of_unit = (units.of_cell[where] == unit)[:, None]
                first = blocks[-1].where.stop
                family, code = family_of_cell[units.starts[unit]], cells.codes(level.name)[unit]
                blocks.append(Block(level.name, int(code), slice(first, first + level.size), int(family)))
                loadings.append(np.where(of_unit, level_loadings[where], 0.0))
                matrices.append(level_prior)
        prior = block_diag(*matrices)
        yield FamilyTarget(cells, where, parameters.at(where), base[where], np.hstack(loadings), prior, tuple(blocks))


@dataclass(frozen=True)
class Block:
    """The effects of one unit within the vector v of a FamilyTarget.

    Attributes
    ----------
    level : {"group", "family", "llm"}
    code : int
        Code of the group or family, or the LLM's row of the design.
    where : slice
        Its entries of v.
    family : int
        Code of the family that it is or lies in; of a group, that of the group.
    """

    level: str
    code: int
    where: slice
    family: int


@dataclass(frozen=True)
class FamilyTarget:
    """The log posterior of the effects v of one family, or group, up to a constant: log p(y_l | v) - v' P v / 2.

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
    blocks : tuple of Block
        Whose effects the entries of v are, the outermost unit first.
    """

    cells: Cells
    where: slice
    parameters: CellParameters
    base: np.ndarray
    loadings: np.ndarray
    prior: np.ndarray
    blocks: tuple[Block, ...]

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

        It starts from effects ``alpha`` (D,) of the outermost unit and effects of zero for all units within it.
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
) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Return draws of v (M, V), weights, effective sample size, and whether draws were moved by slice sampling.

    ``at_mode`` is the mode with the curvature there.
    """
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
    return mode + z @ root.T, weight, float(ess), slice_sampled


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
