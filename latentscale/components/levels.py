"""Levels of random effects: families, and the LLMs within them.

The linear predictor of LLM i of family l on benchmark j is

    eta_ij = b_j + lambda_j' B' x_i + sum_t v_it (s_t o lambda_j)' f_t,

a sum over *terms*, each a vector f_t of K random effects of a unit of some level: of the family l, or of the LLM i.
f_t ~ N(0, Sigma), the covariance of families' efficiency, or N(0, I), and independent of all others. A term enters with
the loadings lambda_j, times scales s_t (standard deviations that are estimated; ones for the efficiency itself), times
a covariate v_it (one, but for random slopes). So these are the terms that there are:

- efficiency of families: f = alpha_l ~ N(0, Sigma), s = 1, v = 1; in every model;
- random slopes of families on a covariate q: f = z_lq ~ N(0, I), s = tau_q (K), v the covariate about its mean;
- residual skills of LLMs: f = e_i ~ N(0, Sigma), s = kappa, one number, v = 1.

A *level* holds all terms of its units, outermost level first: the effects of a family are (alpha_l, z_l1, ..., z_lr),
those of an LLM e_i. Everything that is done with effects goes through levels and their terms: a new term of this form
is one more ``RandomEffects`` here. (Effects of another form, such as ones that touch a single benchmark, need loadings
of their own: a term with another ``loadings``, ``chain`` and ``covariance``. A level above families needs its name in
``NAMES`` and its units in ``components.cells``.)
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..parameters.kinds import LLM_SD, SLOPE_SD, Kind
from ..parameters.structure import ScaleBlock

NAMES = ("family", "llm")
"""Levels, outermost first: every unit of one lies within one unit of the level before it."""


@dataclass(frozen=True)
class Term:
    """K random effects f of every unit of a level, and how they enter the linear predictor.

    Attributes
    ----------
    correlated : bool
        Whether f ~ N(0, Sigma); else N(0, I).
    block : str or None
        Block of standard deviations in s that scales them; None for scales of one.
    row : int or None
        Row of that block; None where the block is one number for all skills.
    covariate : int or None
        Column, among the covariates of random slopes, that multiplies them; None for one.
    """

    correlated: bool = True
    block: str | None = None
    row: int | None = None
    covariate: int | None = None

    def scale(self, structure):
        """s: array (K,), a number, or None for one."""
        if self.block is None:
            return None
        values = structure.scales[self.block]
        return values[0] if self.row is None else values[self.row]

    def multiplied(self, structure, values, random):
        """v (s o values), for values (..., K) of LLMs or cells with covariates of random slopes ``random`` (..., r)."""
        scale = self.scale(structure)
        if scale is None:
            return values
        if self.covariate is not None:
            scale = random[..., self.covariate, None] * scale
        return scale * values

    def covariance(self, structure):
        """Of f, array (K, K)."""
        return structure.skill_cov if self.correlated else np.eye(len(structure.skill_cov))


EFFICIENCY = Term()


@dataclass(frozen=True)
class Level:
    """The terms of one level.

    Attributes
    ----------
    name : {"family", "llm"}
    terms : tuple of Term
    """

    name: str
    terms: tuple

    def slices(self, n_skills):
        """(term, slice of the unit's effects) of every term."""
        return [(term, slice(n_skills * place, n_skills * (place + 1))) for place, term in enumerate(self.terms)]

    def size(self, n_skills):
        """D, the effects of a unit."""
        return n_skills * len(self.terms)

    def loadings(self, structure, loadings, random):
        """Effect loadings w (m, D) of m cells.

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

    def covariance(self, structure):
        """Of a unit's effects, block diagonal (D, D)."""
        k = len(structure.skill_cov)
        out = np.zeros((self.size(k),) * 2)
        for term, where in self.slices(k):
            out[where, where] = term.covariance(structure)
        return out

    def added(self, structure, effects, random):
        """What effects (..., D) add to the skills of LLMs, (..., K), given covariates of random slopes (..., r)."""
        out = None
        for term, where in self.slices(len(structure.skill_cov)):
            part = term.multiplied(structure, effects[..., where], random)
            out = part if out is None else out + part
        return out

    def draws(self, rng, structure, size):
        """Draws of the effects of ``size`` units, (size, D), term by term."""
        root, parts = np.linalg.cholesky(structure.skill_cov), []
        for term in self.terms:
            z = rng.standard_normal((size, len(root)))
            parts.append(z @ root.T if term.correlated else z)
        return np.hstack(parts)


def simulated_skills(rng, structure, family_codes, mean, random):
    """Skills of n LLMs with simulated effects of all levels, array (n, K).

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


# --- what a model may have beyond the efficiency of families -----------------------------------------------------


@dataclass(frozen=True)
class RandomEffects:
    """Random effects that a model has beyond the efficiency of families, with their standard deviations.

    Attributes
    ----------
    kind : Kind
        Of the standard deviations, whose name is also that of their block in s.
    level : {"family", "llm"}
    correlated : bool
        Whether effects have covariance Sigma, so that the axes of the skills stay free; else they are independent
        across skills.
    rows : tuple of str or None
        Terms of the scaling whose slopes vary; None for effects without a covariate.
    spreads : array, as the block
        Standard deviations over LLMs of the covariates that multiply the effects, one where there is none. An effect's
        scale times its spread is what it adds to skills, in their own unit.
    start : float
        Where fits start: that product.
    in_search : bool
        Whether the search over starts knows of these effects. Those that fix the axes of the skills it does not.
    steadies_precision : bool
        Whether the precisions need a weak penalty next to these effects (``components.penalty``).
    option, words, sentence, note : str
        The option of LatentSkillModel that asks for them; what they are called in messages; what they say of the model,
        for reports; what a reader of their standard deviations must know, for summaries.
    """

    kind: Kind
    level: str
    correlated: bool
    rows: tuple | None
    spreads: np.ndarray
    start: float
    in_search: bool
    steadies_precision: bool
    option: str
    words: str
    sentence: str
    note: str

    @property
    def block(self):
        """Name of the block of standard deviations in s."""
        return self.kind.name

    @property
    def scale_block(self):
        """ScaleBlock in the table of parameters."""
        return ScaleBlock(self.kind, self.rows)

    @property
    def starting_scales(self):
        """Where fits start, an array as the block."""
        return self.start / self.spreads

    def restrictions(self, n_skills):
        """Covariances between skills that are zero, beyond what fixes the axes."""
        return 0 if self.correlated else len(self.rows) * n_skills * (n_skills - 1) // 2


def random_slopes(terms, covariates, n_skills):
    """Slopes on some terms of the scaling vary between families, independently over skills: RandomEffects.

    Parameters
    ----------
    terms : sequence of r str
    covariates : array (n, r)
        Of the LLMs, about their means.
    n_skills : int
    """
    spreads = covariates.std(axis=0)[:, None] * np.ones(n_skills)
    return RandomEffects(
        SLOPE_SD, "family", correlated=False, rows=tuple(terms), spreads=spreads, start=0.3, in_search=False,
        steadies_precision=False, option="random_slopes", words="random slopes",
        sentence=f"The slopes on {_listed(terms)} vary between families as well (random slopes Δ).",
        note="A slope_sd of zero lies on the edge of its space: its z is no test, test_shared_slopes() is.",
    )  # fmt: skip


def residual_skills():
    """LLMs of one family differ by residual skills kappa e_i, with the covariance of families' efficiency."""
    return RandomEffects(
        LLM_SD, "llm", correlated=True, rows=None, spreads=np.ones(1), start=0.2, in_search=True,
        steadies_precision=True, option="llm_effects", words="residual skills of LLMs",
        sentence="LLMs of a family differ by residual skills κ eᵢ, with eᵢ of the same covariance Σ.",
        note="LLMs have residual skills kappa e_i, e_i with the covariance of family effects: llm_sd is kappa. Zero "
        "lies on the edge of its space: its z is no test, lr_test against the fit without llm_effects is.",
    )  # fmt: skip


def _listed(names):
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True)
class Scaling:
    """How a block of standard deviations makes terms.

    Attributes
    ----------
    level : str
        Whose effects they scale.
    correlated : bool
        Whether the effects have the covariance of families' efficiency.
    covariates : bool
        Whether row q of the block belongs to the q-th covariate of random slopes.
    """

    level: str
    correlated: bool
    covariates: bool

    def terms(self, block, rows):
        """Terms of a block with a number of rows, None for one number that all skills share: list of Term."""
        if rows is None:
            return [Term(self.correlated, block)]
        return [Term(self.correlated, block, row, row if self.covariates else None) for row in range(rows)]


SCALINGS = {SLOPE_SD.name: Scaling("family", False, True), LLM_SD.name: Scaling("llm", True, False)}
"""How each block of standard deviations makes terms; a kind of random effects that is not listed here has none."""


def with_effects(structure, known, effects):
    """The same parameters in a model with more random effects, whose scales are zero where they are not known.

    Parameters
    ----------
    structure : Structure
    known : dict of str to (tuple of str or None)
        Rows of each block of scales that the structure has.
    effects : sequence of RandomEffects
        Of the model; they include those that are known.
    """
    scales = {}
    for one in effects:
        values = np.zeros_like(one.spreads)
        if one.block in known and one.rows is None:
            values = structure.scales[one.block]
        elif one.block in known:
            values[[one.rows.index(row) for row in known[one.block]]] = structure.scales[one.block]
        scales[one.block] = values
    return replace(structure, scales=scales)


def levels_of(structure):
    """Levels of the effects under a Structure, outermost first: tuple of Level.

    A block that is one number and exactly zero brings no effects: they would be integrated out for nothing.
    """
    return _levels(
        tuple(
            (name, len(values) if values.ndim == 2 else None)
            for name, values in structure.scales.items()
            if values.ndim == 2 or values[0] != 0.0
        )
    )


def levels_in(layout):
    """Levels of the effects whose scales a Layout has room for, be they zero or not: tuple of Level."""
    return _levels(tuple((name, shape[0] if len(shape) == 2 else None) for name, shape in layout.scales))


def family_effects(layout):
    """D, the effects of a family."""
    return levels_in(layout)[0].size(layout.n_skills)


@lru_cache
def _levels(blocks):
    terms = {"family": [EFFICIENCY]}
    for name, rows in blocks:
        terms.setdefault(SCALINGS[name].level, []).extend(SCALINGS[name].terms(name, rows))
    return tuple(Level(name, tuple(terms[name])) for name in NAMES if name in terms)


def effect_loadings(structure, cells, levels=None):
    """Effect loadings of every cell on the effects of its units, outermost level first: array (C, D_1 + D_2 + ...).

    Parameters
    ----------
    structure : Structure
    cells : Cells
    levels : sequence of Level, optional
        All of the structure's levels by default.
    """
    levels = levels_of(structure) if levels is None else levels
    loadings = structure.loadings[cells.item]
    parts = [level.loadings(structure, loadings, cells.random_cells) for level in levels]
    return parts[0] if len(parts) == 1 else np.hstack(parts)
