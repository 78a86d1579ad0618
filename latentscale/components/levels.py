"""Levels of random effects: groups of families if there are such, families, and the LLMs within them.

The linear predictor of LLM i of family l on benchmark j is

    eta_ij = b_j + lambda_j' B' x_i + sum_t v_it (s_t o lambda_j)' f_t,

where b_j is an intercept, lambda_j (K,) are the loadings, B are the slopes of skills on the covariates x_i of the
scaling, o is the entry-wise product, and the sum is over *terms*. A term is a vector f_t of K random effects of a unit
of some level, of the family l or of the LLM i. f_t has the law N(0, Sigma), where Sigma is the covariance of families'
efficiency, or N(0, I); different vectors are independent. A term enters with the loadings lambda_j, multiplied by
scales s_t (standard deviations that are estimated, or ones) and by a covariate v_it (or by one). There are three kinds
of terms:

- the efficiency of families: f = alpha_l ~ N(0, Sigma), s = 1, v = 1; in every model;
- random slopes of families on covariate q: f = z_lq ~ N(0, I), s = tau_q (K,), v the covariate less its mean;
- residual skills of LLMs: f = e_i ~ N(0, Sigma), s = kappa, a single number, v = 1; or f = e_i ~ N(0, I) with a scale
  for each skill.

A *particular* term is another thing: its vector has one effect for each benchmark, f = u_l ~ N(0, I_J), and touches
each benchmark by its own effect alone. It adds t_j u_lj to eta_ij, where t_j is a standard deviation. It says what a
family is good or bad at beyond its skills.

A *level* holds all terms of its units. The effects of a family are (alpha_l, z_l1, ..., z_lr, u_l), those of an LLM are
e_i; levels stand in the order from the outermost one, families, to the innermost. Likelihood, simulation, posterior
draws and storage all go through levels and their terms, so that a new term of one of these forms is one more function
in ``components.random_effects``, with its line in ``SCALINGS``, the kind of its scales in ``parameters.kinds`` and
its name in ``LatentSkillLaw.effects``.

Where families are nested in groups, the efficiency of a family is sqrt(rho) a_g + sqrt(1 - rho) v_l, with a_g and v_l
both N(0, Sigma): the group's term has the scale sqrt(rho), the family's sqrt(1 - rho), and rho is the share of
efficiency that families of one group have in common.
"""


from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..parameters.kinds import BENCHMARK_SD, EQUAL_BENCHMARK_SD, GROUP_SHARE, LLM_SD, LLM_SKILL_SD, SLOPE_SD
from ..parameters.structure import Layout, Structure
from .cells import Cells

_LEAST_SHARE = 1e-14  # stands for a share of zero, where derivatives of its root are infinite
NAMES = ("group", "family", "llm")
"""Levels, outermost first: every unit of one lies within one unit of the level before it."""


@dataclass(frozen=True)
class Term:
    """A vector f of random effects of every unit of a level, and how they enter the linear predictor.

    Attributes
    ----------
    width : int
        Number of the effects, K; J for a particular term.
    correlated : bool
        Whether f ~ N(0, Sigma) rather than N(0, I).
    block : str or None
        Name of the block of standard deviations, in the structural vector, that scales them; None for scales of one.
    row : int or None
        Row of that block, if its rows belong to covariates; None where the block has no such rows.
    covariate : int or None
        Column of the covariates of random slopes that multiplies them; None where they are multiplied by one.
    particular : bool
        Whether each effect touches one benchmark, rather than all benchmarks through their loadings.
    share : {"between", "within"} or None
        Whether the scale is the root of the block's number, or of one minus that.
    """

    width: int
    correlated: bool = True
    block: str | None = None
    row: int | None = None
    covariate: int | None = None
    particular: bool = False
    share: str | None = None

    def scale(self, structure: Structure) -> Any:
        """Return the scale s of the term: an array (K,), or (J,) if it is particular; a number; or None for one."""
        if self.block is None:
            return None
        values = structure.scales[self.block]
        if self.share is not None:
            share = np.clip(values[0], _LEAST_SHARE, 1.0 - _LEAST_SHARE)
            return np.sqrt(share if self.share == "between" else 1.0 - share)
        if self.particular:
            return np.broadcast_to(values, (self.width,))
        return values[self.row or 0]

    def scale_derivatives(self, structure: Structure) -> tuple[float, float]:
        """Return the first and second derivative of the scale in the number that stands in the block."""
        if self.share is None:
            return 1.0, 0.0
        scale, sign = float(self.scale(structure)), 1.0 if self.share == "between" else -1.0
        return 0.5 * sign / scale, -0.25 / scale**3

    def loadings(self, structure: Structure, item: np.ndarray, random: np.ndarray) -> np.ndarray:
        """Return the derivatives of eta in f, (m, width), for m cells; arguments as for ``Level.loadings``."""
        if not self.particular:
            return self.multiplied(structure, structure.loadings[item], random)
        out = np.zeros((len(item), self.width))
        out[np.arange(len(item)), item] = self.scale(structure)[item]
        return out

    def multiplied(self, structure: Structure, values: np.ndarray, random: np.ndarray) -> np.ndarray:
        """Return v (s o values) for values (..., K) of LLMs or cells with covariates of random slopes (..., r).

        Only for terms that are not particular.
        """
        scale = self.scale(structure)
        if scale is None:
            return values
        if self.covariate is not None:
            scale = random[..., self.covariate, None] * scale
        return scale * values

    def covariance(self, structure: Structure) -> np.ndarray:
        """Return the covariance of f, an array (width, width)."""
        return structure.skill_cov if self.correlated else np.eye(self.width)


@dataclass(frozen=True)
class Level:
    """A level of random effects and the terms of its units.

    Attributes
    ----------
    name : {"group", "family", "llm"}
    terms : tuple of Term
        In the order of the unit's vector of effects.
    """

    name: str
    terms: tuple[Term, ...]

    @cached_property
    def slices(self) -> tuple[tuple[Term, slice], ...]:
        """Each term with the slice of the unit's effects that it has."""
        ends = list(itertools.accumulate(term.width for term in self.terms))
        return tuple((term, slice(end - term.width, end)) for term, end in zip(self.terms, ends, strict=True))

    @property
    def size(self) -> int:
        """D, the number of effects of a unit."""
        return sum(term.width for term in self.terms)

    def loadings(self, structure: Structure, item: np.ndarray, random: np.ndarray) -> np.ndarray:
        """Return the effect loadings w (m, D) of m cells: the derivatives of eta in the effects of the cell's unit.

        Parameters
        ----------
        structure : Structure
        item : int array (m,)
            The cells' benchmarks.
        random : array (m, r)
            Covariates of random slopes of the cells' LLMs.
        """
        if len(self.terms) == 1:
            return self.terms[0].loadings(structure, item, random)
        return np.hstack([term.loadings(structure, item, random) for term in self.terms])

    def covariance(self, structure: Structure) -> np.ndarray:
        """Return the covariance of a unit's effects, a block diagonal array (D, D)."""
        out = np.zeros((self.size,) * 2)
        for term, where in self.slices:
            out[where, where] = term.covariance(structure)
        return out

    def added(self, structure: Structure, effects: np.ndarray, random: np.ndarray) -> np.ndarray:
        """Return what effects (..., D) add to the skills of LLMs (..., K) with covariates of random slopes (..., r)."""
        out: Any = None
        for term, where in self.slices:
            if not term.particular:
                by_term = term.multiplied(structure, effects[..., where], random)
                out = by_term if out is None else out + by_term
        return out

    def particular(self, structure: Structure, effects: np.ndarray) -> np.ndarray | float:
        """Return what effects (..., D) add to linear predictors (..., J) beside skills; 0 if no term is particular."""
        out: Any = 0.0
        for term, where in self.slices:
            if term.particular:
                out = out + effects[..., where] * term.scale(structure)
        return out

    def draws(self, rng: np.random.Generator, structure: Structure, size: int) -> np.ndarray:
        """Return draws of the effects of ``size`` units, an array (size, D), drawn term by term."""
        root, effects = np.linalg.cholesky(structure.skill_cov), []
        for term in self.terms:
            z = rng.standard_normal((size, term.width))
            effects.append(z @ root.T if term.correlated else z)
        return np.hstack(effects)


def simulated_predictors(
    rng: np.random.Generator,
    structure: Structure,
    family_codes: np.ndarray,
    mean: np.ndarray,
    random: np.ndarray,
    group_codes: np.ndarray | None = None,
) -> np.ndarray:
    """Return the linear predictors of n LLMs with simulated effects of all levels, an array (n, J).

    Parameters
    ----------
    rng : numpy.random.Generator
    structure : Structure
    family_codes : int array (n,)
        Every family from 0 to the largest code has an LLM.
    mean : array (n, K)
        B' x_i.
    random : array (n, r)
        Covariates of random slopes.
    group_codes : int array (n,), optional
        Groups, where families are nested in such.
    """
    codes, skill = {"family": family_codes, "llm": np.arange(len(family_codes))}, mean
    if group_codes is not None:
        codes["group"] = group_codes
    beside: Any = 0.0
    for level in levels_of(structure):
        of_llm = codes[level.name]
        effects = level.draws(rng, structure, int(of_llm.max()) + 1)[of_llm]
        for term, where in level.slices:
            if not term.particular:
                skill = skill + term.multiplied(structure, effects[:, where], random)
        beside = beside + level.particular(structure, effects)
    return skill @ structure.loadings.T + structure.intercepts + beside


# --- which terms a model has ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Scaling:
    """What kind of terms a block of standard deviations scales.

    Attributes
    ----------
    level : str
        Name of the level whose effects they scale.
    correlated : bool
        Whether the effects have the covariance of families' efficiency.
    covariates : bool
        Whether row q of the block belongs to the q-th covariate of random slopes.
    particular : bool
        Whether the effects touch single benchmarks.
    shared : bool
        Whether the block is the share of families' efficiency that is their group's.
    """

    level: str
    correlated: bool = False
    covariates: bool = False
    particular: bool = False
    shared: bool = False

    def terms(self, block: str, rows: int, n_items: int, n_skills: int) -> list[Term]:
        """Return the terms of a block with some number of rows."""
        if self.covariates:
            return [Term(n_skills, self.correlated, block, row, row) for row in range(rows)]
        width = n_items if self.particular else n_skills
        share = "between" if self.shared else None
        return [Term(width, self.correlated, block, particular=self.particular, share=share)]


SCALINGS = {
    SLOPE_SD.name: Scaling("family", covariates=True),
    LLM_SD.name: Scaling("llm", correlated=True),
    LLM_SKILL_SD.name: Scaling("llm"),
    BENCHMARK_SD.name: Scaling("family", particular=True),
    EQUAL_BENCHMARK_SD.name: Scaling("family", particular=True),
    GROUP_SHARE.name: Scaling("group", correlated=True, shared=True),
}
"""The kind of terms that each block of standard deviations scales, by the name of the block."""


def levels_of(structure: Structure) -> tuple[Level, ...]:
    """Return the levels of effects that a Structure has, outermost first.

    Effects of LLMs whose scale is a single number and exactly zero are left out, so that they need not be integrated
    over.
    """
    present = ((name, values) for name, values in structure.scales.items() if _is_present(name, values))
    return _levels(structure.loadings.shape, tuple((name, len(values)) for name, values in present))


def _is_present(block: str, values: np.ndarray) -> bool:
    return SCALINGS[block].level != NAMES[-1] or values.shape != (1,) or values[0] != 0.0


def ungrouped(structure: Structure) -> Structure:
    """Return the law of a single family, for which it does not matter whether it is nested in a group."""
    return replace(structure, scales={name: one for name, one in structure.scales.items() if name != GROUP_SHARE.name})


def levels_in(layout: Layout) -> tuple[Level, ...]:
    """Return the levels of all effects whose scales are in a Layout, be they zero or not, outermost first."""
    sizes = layout.n_items, layout.n_skills
    return _levels(sizes, tuple((name, shape[0]) for name, shape in layout.scales))


def family_blocks(layout: Layout) -> list[str]:
    """Return the names of the blocks that scale effects of families beyond their efficiency, in their order."""
    (terms,) = (level.terms[1:] for level in levels_in(layout) if level.name == "family")
    return list(dict.fromkeys(term.block for term in terms if term.block is not None))


def family_effects(layout: Layout) -> int:
    """Return D, the number of effects of a family, or of a group where families are nested in such."""
    return levels_in(layout)[0].size


def too_many_for_nodes(levels: Sequence[Level]) -> bool:
    """Return whether families have more effects than a grid can integrate over: those of LLMs or on benchmarks."""
    return len(levels) > 1 or any(term.particular for term in levels[0].terms)


@lru_cache
def _levels(sizes: tuple[int, int], blocks: tuple[tuple[str, int], ...]) -> tuple[Level, ...]:
    terms = {"family": [Term(sizes[1])]}
    if GROUP_SHARE.name in dict(blocks):
        terms["family"] = [Term(sizes[1], block=GROUP_SHARE.name, share="within")]
    for name, rows in blocks:
        terms.setdefault(SCALINGS[name].level, []).extend(SCALINGS[name].terms(name, rows, *sizes))
    # particular terms come last, where those of other terms are slices of K effects each
    ordered = {name: sorted(of_level, key=lambda term: term.particular) for name, of_level in terms.items()}
    return tuple(Level(name, tuple(ordered[name])) for name in NAMES if name in ordered)


def own_columns(structure: Structure, cells: Cells) -> tuple[slice, np.ndarray] | None:
    """Return the columns of all effect loadings that belong to the particular term, and the cells' entries (C,).

    Of these columns a cell has its benchmark's alone. None where no term is particular.
    """
    first = 0
    for level in levels_of(structure):
        for term, where in level.slices:
            if term.particular:
                return slice(first + where.start, first + where.stop), term.scale(structure)[cells.item]
        first += level.size
    return None


def effect_loadings(structure: Structure, cells: Cells, levels: Sequence[Level] | None = None) -> np.ndarray:
    """Return the derivatives of every cell's eta in the effects of its units, outermost level first.

    Parameters
    ----------
    structure : Structure
    cells : Cells
    levels : sequence of Level, optional
        All of the structure's levels by default.

    Returns
    -------
    array (C, D_1 + D_2 + ...)
    """
    levels = levels_of(structure) if levels is None else levels
    by_level = [level.loadings(structure, cells.item, cells.random_cells) for level in levels]
    return by_level[0] if len(by_level) == 1 else np.hstack(by_level)
