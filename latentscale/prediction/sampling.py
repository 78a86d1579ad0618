"""Draws from the posterior of a family's effects: self-normalised importance sampling about the mode.

A family's effects v are its own, (alpha_l, z_l) with random slopes, and then those of every unit within it, such as the
residual skills e_i of its LLMs. Draws
come from a normal or t law at the mode of p(v | y_l) with the curvature there, as scrambled Sobol points, and carry
weights. Where the weights are so uneven that few draws count, draws are resampled and moved by elliptical slice
sampling (Murray, Adams and MacKay 2010), with the normal law at the mode in place of the prior (Nishihara, Murray and
Adams 2014), which leaves p(v | y_l) as it is.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.stats import qmc

from ..components.complete import fixed_part
from ..components.levels import levels_of
from ..components.response import cell_parameters, cell_terms
from ..likelihood.modes import posterior_modes
from ..numerics.linalg import cholesky_or_none

DRAWS = 4096
T_DF = 5.0
MOST_T = 12  # beyond so many effects the normal proposal is tried first
POOR = 0.1  # effective share of the draws below which they are moved
MOVES = 25
_PIECE = 512
_NEWTON = 60


@dataclass(frozen=True)
class EffectDraws:
    """Weighted draws of a family's effects given its scores.

    Attributes
    ----------
    alpha : array (M, D)
        Of the family.
    by_llm : dict of int to array (M, D')
        Of the LLMs with scores, by row of the design; empty where LLMs have no effects.
    weight : array (M,)
        Sums to one.
    ess : float
        Effective sample size: of importance sampling 1 / sum w^2; after moves, with the correlation that is left.
    moved : bool
        Whether draws were moved by slice sampling.
    """

    alpha: np.ndarray
    by_llm: dict
    weight: np.ndarray
    ess: float
    moved: bool

    def resampled(self, size, rng):
        """Indices (size,) of draws of equal weight, by systematic resampling in random order."""
        ends = np.cumsum(self.weight)
        points = (np.arange(size) + rng.random()) / size
        return rng.permutation(np.minimum(np.searchsorted(ends, points * ends[-1], side="right"), len(ends) - 1))


def generator(seed, name):
    """A generator of a family's own, so that its draws do not depend on which other families are asked for."""
    return np.random.default_rng([int(seed), *str(name).encode()])


def effect_draws(structure, cells, names, draws=DRAWS, seed=0):
    """Draws of the effects of every family of some cells: list of EffectDraws.

    Parameters
    ----------
    structure : Structure
    cells : Cells
        In the same covariates.
    names : sequence of L str
        Names of the families, which their generators depend on.
    draws : int
        Weighted draws a family, a power of two.
    seed : int
    """
    start = posterior_modes(structure, cells).alpha
    targets = family_targets(structure, cells)
    return [
        _draw(target, target.climb(alpha), draws, generator(seed, name))
        for target, alpha, name in zip(targets, start, names, strict=True)
    ]


def family_targets(structure, cells):
    """The log posterior of every family's effects, a generator of FamilyTarget."""
    outer, *inner = levels_of(structure)
    _, base = fixed_part(structure, cells)
    parameters, lambdas = cell_parameters(structure, cells), structure.loadings[cells.item]
    by_level = [level.loadings(structure, lambdas, cells.random_cells) for level in (outer, *inner)]
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
        for level, span, weights, own in zip(inner, spans, by_level[1:], priors[1:], strict=True):
            units = cells.units(level.name)
            for unit in range(span.start, span.stop):
                block, mine = slice(first, first + len(own)), units.of_cell[where] == unit
                loadings[mine, block] = weights[where][mine]
                prior[block, block] = own
                first = block.stop
        rows = cells.llm_rows[spans[-1]] if spans else np.zeros(0, dtype=int)
        yield FamilyTarget(cells, where, parameters.part(where), base[where], loadings, prior, rows, d)


@dataclass(frozen=True)
class FamilyTarget:
    """log p(y_l, v) of one family, as a function of its effects v.

    Attributes
    ----------
    cells : Cells
    where : slice
        Its cells.
    parameters : CellParameters
    base : array (C,)
    loadings : array (C, V)
    prior : array (V, V)
        Precision.
    rows : int array
        Rows of its LLMs, where LLMs have effects: the blocks after the first D effects.
    n_shared : int
        D.
    """

    cells: object
    where: slice
    parameters: object
    base: np.ndarray
    loadings: np.ndarray
    prior: np.ndarray
    rows: np.ndarray
    n_shared: int

    def terms(self, v, order):
        """Cell terms at draws v (M, V), arrays (C, M)."""
        eta = self.base[:, None] + self.loadings @ v.T
        return cell_terms(eta, self.parameters, self.cells, self.where, order)

    def log_joint(self, v):
        """log p(y_l | v) - v' P v / 2 at draws (M, V)."""
        out = np.empty(len(v))
        for first in range(0, len(v), _PIECE):
            part = slice(first, first + _PIECE)
            out[part] = self.terms(v[part], 0)["f"].sum(axis=0)
        return out - 0.5 * np.sum(v @ self.prior * v, axis=1)

    def gradient_and_curvature(self, v):
        """At one v (V,): gradient, and minus the Hessian, or its expectation where that is not positive definite."""
        terms = self.terms(v[None], 2)
        gradient = self.loadings.T @ terms["e"][:, 0] - self.prior @ v
        exact = self.prior - (self.loadings * terms["ee"]).T @ self.loadings
        if cholesky_or_none(exact) is not None:
            return gradient, exact
        return gradient, self.prior + (self.loadings * np.maximum(terms["fisher"], 0.0)).T @ self.loadings

    def climb(self, alpha):
        """The mode (V,) next to shared effects ``alpha`` (D,), and the curvature there, by Newton's method."""
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


def _draw(target, at_mode, draws, rng):
    mode, curvature = at_mode
    root = np.linalg.inv(np.linalg.cholesky(curvature)).T
    best = None
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
    z, weight, ess = best
    moved = ess < POOR * draws
    if moved:
        z, ess = _move(target, mode, root, z, weight, ess, rng)
        weight = np.full(draws, 1.0 / draws)
    v, d = mode + z @ root.T, target.n_shared
    k = (v.shape[1] - d) // max(len(target.rows), 1)
    by_llm = {int(row): v[:, d + k * number : d + k * (number + 1)] for number, row in enumerate(target.rows)}
    return EffectDraws(v[:, :d], by_llm, weight, float(ess), moved)


def _proposals(draws, size, t_df, rng):
    """Standard normal or t points (draws, size), and the logarithm of their density up to a constant."""
    uniform = np.clip(qmc.Sobol(size + (t_df is not None), rng=rng).random(draws), 2.0**-54, 1.0 - 2.0**-53)
    z = special.ndtri(uniform[:, :size])
    if t_df is None:
        return z, -0.5 * np.sum(z * z, axis=1)
    z = z / np.sqrt(special.gammaincinv(0.5 * t_df, uniform[:, -1]) * 2.0 / t_df)[:, None]
    return z, -0.5 * (t_df + size) * np.log1p(np.sum(z * z, axis=1) / t_df)


def _move(target, mode, root, z, weight, ess, rng):
    """Resampled draws after ``MOVES`` elliptical slice steps each, and their effective sample size."""
    ends = np.cumsum(weight)
    places = np.searchsorted(ends, (np.arange(len(z)) + rng.random()) / len(z) * ends[-1], side="right")
    first = z[np.minimum(places, len(z) - 1)]

    def ratio(points):
        """log target over the normal law at the mode."""
        return target.log_joint(mode + points @ root.T) + 0.5 * np.sum(points * points, axis=1)

    now, height = first.copy(), ratio(first)
    for _ in range(MOVES):
        now, height = _slice_step(ratio, now, height, rng)
    spread = np.std(first, axis=0) * np.std(now, axis=0)
    left = np.max(np.abs(np.mean((first - first.mean(axis=0)) * (now - now.mean(axis=0)), axis=0)) / spread)
    return now, 1.0 / ((1.0 - left**2) / len(z) + left**2 / ess)


def _slice_step(ratio, now, height, rng):
    """One step of elliptical slice sampling of every draw."""
    other = rng.standard_normal(now.shape)
    level = height + np.log(rng.random(len(now)))
    angle = rng.uniform(0.0, 2.0 * np.pi, len(now))
    low, high = angle - 2.0 * np.pi, angle.copy()
    new, new_height, open_ = now.copy(), height.copy(), np.arange(len(now))
    while len(open_):
        turn = angle[open_, None]
        point = now[open_] * np.cos(turn) + other[open_] * np.sin(turn)
        value = ratio(point)
        inside = value > level[open_]
        new[open_[inside]], new_height[open_[inside]] = point[inside], value[inside]
        open_ = open_[~inside]
        below = angle[open_] < 0.0
        low[open_] = np.where(below, angle[open_], low[open_])
        high[open_] = np.where(below, high[open_], angle[open_])
        angle[open_] = rng.uniform(low[open_], high[open_])
    return new, new_height
