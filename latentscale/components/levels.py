"""Levels of random effects: families, and the LLMs within them.

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
- residual skills of LLMs: f = e_i ~ N(0, Sigma), s = kappa, a single number, v = 1.

A *level* holds all terms of its units. The effects of a family are (alpha_l, z_l1, ..., z_lr), those of an LLM are e_i;
levels stand in the order from the outermost one, families, to the innermost. Likelihood, simulation, posterior draws
and storage all go through levels and their terms, so that a new term of this form is one more function here that
returns ``RandomEffects``, with its line in ``SCALINGS``, the kind of its scales in ``parameters.kinds`` and its name in
``LatentSkillLaw.effects``. Effects of another form, such as ones that touch a single benchmark, need a term with other
``multiplied`` and ``covariance``. A level above families needs its name in ``NAMES``, its units in
``components.cells``, its codes in ``simulated_skills``, and a ``family_effects`` that looks for families by name.
"""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..parameters.kinds import LLM_SD, SLOPE_SD, Kind
from ..parameters.structure import Layout, ScaleBlock, Structure
from .cells import Cells

NAMES = ("family", "llm")
"""Levels, outermost first: every unit of one lies within one unit of the level before it."""


@dataclass(frozen=True)
class Term:
    """K random effects f of every unit of a level, and how they enter the linear predictor.

    Attributes
    ----------
    correlated : bool
        Whether f ~ N(0, Sigma) rather than N(0, I).
    block : str or None
        Name of the block of standard deviations, in the structural vector, that scales them; None for scales of one.
    row : int or None
        Row of that block; None where the block is one number for all skills.
    covariate : int or None
        Column of the covariates of random slopes that multiplies them; None where they are multiplied by one.
    """

    correlated: bool = True
    block: str | None = None
    row: int | None = None
    covariate: int | None = None

    def scale(self, structure: Structure) -> Any:
        """Return the scale s of the term: an array (K,), a number, or None for one."""
        if self.block is None:
            return None
        values = structure.scales[self.block]
        return values[0] if self.row is None else values[self.row]

    def multiplied(self, structure: Structure, values: np.ndarray, random: np.ndarray) -> np.ndarray:
        """Return v (s o values) for values (..., K) of LLMs or cells with covariates of random slopes (..., r)."""
        scale = self.scale(structure)
        if scale is None:
            return values
        if self.covariate is not None:
            scale = random[..., self.covariate, None] * scale
        return scale * values

    def covariance(self, structure: Structure) -> np.ndarray:
        """Return the covariance of f, an array (K, K)."""
        return structure.skill_cov if self.correlated else np.eye(len(structure.skill_cov))


EFFICIENCY = Term()


@dataclass(frozen=True)
class Level:
    """A level of random effects and the terms of its units.

    Attributes
    ----------
    name : {"family", "llm"}
    terms : tuple of Term
        In the order of the unit's vector of effects, K for each.
    """

    name: str
    terms: tuple[Term, ...]

    def slices(self, n_skills: int) -> list[tuple[Term, slice]]:
        """Return each term with the slice of the unit's effects that it has."""
        return [(term, slice(n_skills * place, n_skills * (place + 1))) for place, term in enumerate(self.terms)]

    def size(self, n_skills: int) -> int:
        """Return D, the number of effects of a unit."""
        return n_skills * len(self.terms)

    def loadings(self, structure: Structure, loadings: np.ndarray, random: np.ndarray) -> np.ndarray:
        """Return the effect loadings w (m, D) of m cells: the derivatives of eta in the effects of the cell's unit.

        Parameters
        ----------
        structure : Structure
        loadings : array (m, K)
            lambda_j of the cells' benchmarks.
        random : array (m, r)
            Covariates of random slopes of the cells' LLMs.
        """
        if len(self.terms) == 1:
            return self.terms[0].multiplied(structure, loadings, random)
        return np.hstack([term.multiplied(structure, loadings, random) for term in self.terms])

    def covariance(self, structure: Structure) -> np.ndarray:
        """Return the covariance of a unit's effects, a block diagonal array (D, D)."""
        k = len(structure.skill_cov)
        out = np.zeros((self.size(k),) * 2)
        for term, where in self.slices(k):
            out[where, where] = term.covariance(structure)
        return out

    def added(self, structure: Structure, effects: np.ndarray, random: np.ndarray) -> np.ndarray:
        """Return what effects (..., D) add to the skills of LLMs (..., K) with covariates of random slopes (..., r)."""
        out: Any = None
        for term, where in self.slices(len(structure.skill_cov)):
            by_term = term.multiplied(structure, effects[..., where], random)
            out = by_term if out is None else out + by_term
        return out

    def draws(self, rng: np.random.Generator, structure: Structure, size: int) -> np.ndarray:
        """Return draws of the effects of ``size`` units, an array (size, D), drawn term by term."""
        root, effects = np.linalg.cholesky(structure.skill_cov), []
        for term in self.terms:
            z = rng.standard_normal((size, len(root)))
            effects.append(z @ root.T if term.correlated else z)
        return np.hstack(effects)


def simulated_skills(
    rng: np.random.Generator, structure: Structure, family_codes: np.ndarray, mean: np.ndarray, random: np.ndarray
) -> np.ndarray:
    """Return the skills of n LLMs with simulated effects of all levels, an array (n, K).

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
    """
    codes, out = {"family": family_codes, "llm": np.arange(len(family_codes))}, mean
    for level in levels_of(structure):
        of_llm = codes[level.name]
        effects = level.draws(rng, structure, int(of_llm.max()) + 1)[of_llm]
        for term, where in level.slices(mean.shape[1]):
            out = out + term.multiplied(structure, effects[:, where], random)
    return out


# --- random effects beyond the efficiency of families -----------------------------------------------------


@dataclass(frozen=True)
class RandomEffects:
    """Random effects that a model has beyond the efficiency of families, with their standard deviations.

    Attributes
    ----------
    kind : Kind
        Kind of the standard deviations; its name is also that of their block in the structural vector.
    level : {"family", "llm"}
    correlated : bool
        Whether the effects have covariance Sigma, so that skills can still be rotated, or are independent across
        skills.
    rows : tuple of str or None
        Terms of the scaling whose slopes vary; None for effects without a covariate.
    spreads : array (r, K), or (1,) for a single scale
        Standard deviations over LLMs of the covariates that multiply the effects, one where there is none. The product
        of an effect's scale and its spread is the standard deviation that it adds to a skill.
    start : float
        The value of that product at which fits start.
    in_search : bool
        Whether the search over starts includes these effects. It leaves out effects that are independent across
        skills, as it works on rotated skills.
    steadies_precision : bool
        Whether the precisions need a weak penalty in models with these effects (``components.penalty``).
    option, words, sentence, note : str
        The option of LatentSkillModel that asks for them; their name in messages; a sentence on the model for reports;
        a note on their standard deviations for summaries.
    """

    kind: Kind
    level: str
    correlated: bool
    rows: tuple[str, ...] | None
    spreads: np.ndarray
    start: float
    in_search: bool
    steadies_precision: bool
    option: str
    words: str
    sentence: str
    note: str

    @property
    def block(self) -> str:
        """Name of the block of standard deviations in s."""
        return self.kind.name

    @property
    def scale_block(self) -> ScaleBlock:
        """Their standard deviations as a block of the parameter table."""
        return ScaleBlock(self.kind, self.rows)

    @property
    def starting_scales(self) -> np.ndarray:
        """The standard deviations at which fits start, an array of the shape of the block."""
        return self.start / self.spreads

    def restrictions(self, n_skills: int) -> int:
        """Return the number of covariances between skills that are zero in these effects: restrictions of the model."""
        return 0 if self.correlated or self.rows is None else len(self.rows) * n_skills * (n_skills - 1) // 2


def random_slopes(terms: Sequence[str], covariates: np.ndarray, n_skills: int) -> RandomEffects:
    """Return random slopes: slopes on some terms that vary between families, independently across skills.

    Parameters
    ----------
    terms : sequence of r str
    covariates : array (n, r)
        Values of these terms for the LLMs, less their means.
    n_skills : int
    """
    spreads = covariates.std(axis=0)[:, None] * np.ones(n_skills)
    return RandomEffects(
        SLOPE_SD, "family", correlated=False, rows=tuple(terms), spreads=spreads, start=0.3, in_search=False,
        steadies_precision=False, option="random_slopes", words="random slopes",
        sentence=f"The slopes on {_listed(terms)} vary between families as well (random slopes Δ).",
        note="A slope_sd of zero lies on the edge of its space: its z is no test, test_shared_slopes() is.",
    )  # fmt: skip


def residual_skills() -> RandomEffects:
    """Return residual skills of LLMs, kappa e_i, where e_i has the covariance of families' efficiency."""
    return RandomEffects(
        LLM_SD, "llm", correlated=True, rows=None, spreads=np.ones(1), start=0.2, in_search=True,
        steadies_precision=True, option="llm_effects", words="residual skills of LLMs",
        sentence="LLMs of a family differ by residual skills κ eᵢ, with eᵢ of the same covariance Σ.",
        note="LLMs have residual skills kappa e_i, e_i with the covariance of family effects: llm_sd is kappa. Zero "
        "lies on the edge of its space: its z is no test, lr_test against the fit without llm_effects is.",
    )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    """Return names joined by commas and "and"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
    """

    level: str
    correlated: bool
    covariates: bool

    def terms(self, block: str, rows: int | None) -> list[Term]:
        """Return the terms of a block: one for each of its rows, or one if it is a single number (``rows=None``)."""
        if rows is None:
            return [Term(self.correlated, block)]
        return [Term(self.correlated, block, row, row if self.covariates else None) for row in range(rows)]


SCALINGS = {SLOPE_SD.name: Scaling("family", False, True), LLM_SD.name: Scaling("llm", True, False)}
"""The kind of terms that each block of standard deviations scales, by the name of the block."""


def with_effects(
    structure: Structure, known: dict[str, tuple[str, ...] | None], effects: Sequence[RandomEffects]
) -> Structure:
    """Return the same parameters in a model with further random effects, whose scales are zero.

    Parameters
    ----------
    structure : Structure
    known : dict of str to (tuple of str or None)
        Rows of each block of scales that ``structure`` has.
    effects : sequence of RandomEffects
        The effects of the model, those of ``structure`` included.
    """
    scales = {}
    for effect in effects:
        values = np.zeros_like(effect.spreads)
        rows = known.get(effect.block)
        if effect.rows is not None and rows is not None:
            values[[effect.rows.index(row) for row in rows]] = structure.scales[effect.block]
        elif effect.block in known:
            values = structure.scales[effect.block]
        scales[effect.block] = values
    return replace(structure, scales=scales)


def levels_of(structure: Structure) -> tuple[Level, ...]:
    """Return the levels of effects that a Structure has, outermost first.

    A scale that is a single number and exactly zero leaves its effects out, so that they need not be integrated over.
    """
    return _levels(
        tuple(
            (name, len(values) if values.ndim == 2 else None)
            for name, values in structure.scales.items()
            if values.ndim == 2 or values[0] != 0.0
        )
    )


def levels_in(layout: Layout) -> tuple[Level, ...]:
    """Return the levels of all effects whose scales are in a Layout, be they zero or not, outermost first."""
    return _levels(tuple((name, shape[0] if len(shape) == 2 else None) for name, shape in layout.scales))


def family_effects(layout: Layout) -> int:
    """Return D, the number of effects of a family."""
    return levels_in(layout)[0].size(layout.n_skills)


@lru_cache
def _levels(blocks: tuple[tuple[str, int | None], ...]) -> tuple[Level, ...]:
    terms = {"family": [EFFICIENCY]}
    for name, rows in blocks:
        terms.setdefault(SCALINGS[name].level, []).extend(SCALINGS[name].terms(name, rows))
    return tuple(Level(name, tuple(terms[name])) for name in NAMES if name in terms)


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
    loadings = structure.loadings[cells.item]
    by_level = [level.loadings(structure, loadings, cells.random_cells) for level in levels]
    return by_level[0] if len(by_level) == 1 else np.hstack(by_level)
