"""Random effects that a model may have beyond the efficiency of families, each described by a value.

``components.levels`` has the terms of the linear predictor that they stand for.
"""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..parameters.kinds import BENCHMARK_SD, EQUAL_BENCHMARK_SD, GROUP_SHARE, LLM_SD, LLM_SKILL_SD, SLOPE_SD, Kind
from ..parameters.structure import ScaleBlock, Structure

_EQUAL = {BENCHMARK_SD.name: EQUAL_BENCHMARK_SD.name}
"""Blocks of standard deviations, and those that stand for them in models where all of the block are equal."""


@dataclass(frozen=True)
class RandomEffects:
    """Random effects that a model has beyond the efficiency of families, with their standard deviations.

    Attributes
    ----------
    kind : Kind
        Kind of the standard deviations; its name is also that of their block in the structural vector.
    level : {"group", "family", "llm"}
    rotates : bool
        Whether the effects keep their law when skills are rotated: they have covariance Sigma, or do not touch skills.
    rows : tuple of str or None
        Labels of the rows of the block: terms of the scaling whose slopes vary, or benchmarks; None without labels.
    spreads : array of the shape of the block
        Standard deviations over LLMs of the covariates that multiply the effects, one where there is none. The product
        of an effect's scale and its spread is the standard deviation that it adds to a skill or a linear predictor.
    start : float
        The value of that product at which fits start.
    in_search : bool
        Whether the search over starts includes these effects. It leaves out effects that are independent across
        skills, as it works on rotated skills.
    option, words, sentence, note : str
        The option of LatentSkillModel that asks for them; their name in messages; a sentence on the model for reports;
        a note on their standard deviations for summaries.
    """

    kind: Kind
    level: str
    rotates: bool
    rows: tuple[str, ...] | None
    spreads: np.ndarray
    start: float
    in_search: bool
    option: str
    words: str
    sentence: str
    note: str

    @property
    def block(self) -> str:
        """Name of the block of standard deviations in s."""
        return self.kind.name

    @property
    def by_skill(self) -> bool:
        """Whether the standard deviations are in the units of skills, one for each of these."""
        return self.scale_block.by_skill

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
        return len(self.spreads) * n_skills * (n_skills - 1) // 2 if self.by_skill else 0


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
        SLOPE_SD, "family", rotates=False, rows=tuple(terms), spreads=spreads, start=0.3, in_search=False,
        option="random_slopes", words="random slopes",
        sentence=f"The slopes on {_listed(terms)} vary between families as well (random slopes Δ).",
        note="A slope_sd of zero lies on the edge of its space: its z is no test, test_shared_slopes() is.",
    )  # fmt: skip


def residual_skills() -> RandomEffects:
    """Return residual skills of LLMs, kappa e_i, where e_i has the covariance of families' efficiency."""
    return RandomEffects(
        LLM_SD, "llm", rotates=True, rows=None, spreads=np.ones(1), start=0.2, in_search=True,
        option="llm_effects", words="residual skills of LLMs",
        sentence="LLMs of a family differ by residual skills κ eᵢ, with eᵢ of the same covariance Σ.",
        note="LLMs have residual skills kappa e_i, e_i with the covariance of family effects: llm_sd is kappa. Zero "
        "lies on the edge of its space: its z is no test, lr_test against the fit without llm_effects is.",
    )  # fmt: skip


def independent_residual_skills(n_skills: int) -> RandomEffects:
    """Return residual skills of LLMs that are independent across skills, each with its standard deviation."""
    return RandomEffects(
        LLM_SKILL_SD, "llm", rotates=False, rows=None, spreads=np.ones((1, n_skills)), start=0.2, in_search=False,
        option="llm_effects", words="residual skills of LLMs",
        sentence="LLMs of a family differ by residual skills ζᵢ, independent across skills, each with its variance.",
        note="LLMs have residual skills, independent across skills, whose standard deviations are llm_sd. Zero lies on "
        "the edge of their space: z is no test, lr_test against the fit without llm_effects is.",
    )  # fmt: skip


def benchmark_effects(benchmarks: Sequence[str], equal: bool = False) -> RandomEffects:
    """Return effects of families on single benchmarks, with one standard deviation for each, or an equal one for all.

    Parameters
    ----------
    benchmarks : sequence of J str
    equal : bool
    """
    rows = None if equal else tuple(benchmarks)
    return RandomEffects(
        EQUAL_BENCHMARK_SD if equal else BENCHMARK_SD, "family", rotates=True, rows=rows,
        spreads=np.ones(1 if equal else len(benchmarks)), start=0.2, in_search=True,
        option="benchmark_effects", words="effects of families on single benchmarks",
        sentence="Families have effects uₗⱼ on single benchmarks beyond their skills, independent of one another.",
        note="Families have effects on single benchmarks, on the scale of linear predictors, whose standard deviations "
        "are benchmark_sd. Zero lies on the edge of their space: z is no test, lr_test against the fit without "
        "benchmark_effects is.",
    )  # fmt: skip


def nested_families() -> RandomEffects:
    """Return the efficiency that families of one group have in common, whose share rho is a single parameter."""
    return RandomEffects(
        GROUP_SHARE, "group", rotates=True, rows=None, spreads=np.ones(1), start=0.3, in_search=True,
        option="nested", words="groups of families",
        sentence="Families of one group, such as a base family, share a part of their efficiency: group_share is its "
        "share of the covariance Σ.",
        note="Families are nested in groups: group_share is the share of efficiency that those of one group have in "
        "common. Zero lies on the edge of its space: its z is no test, lr_test against the fit without nested is.",
    )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    """Return names joined by commas and "and"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# --- between models ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AbsentEffects:
    """Random effects of which a smaller model lacks some standard deviations: there these are zero.

    Attributes
    ----------
    effects : RandomEffects
        Of the larger model.
    lacks : bool array of the shape of the block
    """

    effects: RandomEffects
    lacks: np.ndarray

    @property
    def names(self) -> list[str]:
        """Labels of the rows of which the smaller model lacks standard deviations; empty without labels."""
        rows = self.effects.rows or ()
        return [row for row, lacks in zip(rows, self.lacks, strict=True) if np.any(lacks)] if rows else []


def absent_effects(smaller: Sequence[RandomEffects], larger: Sequence[RandomEffects]) -> list[AbsentEffects]:
    """Return the random effects of a larger model of which a smaller one lacks standard deviations."""
    known = {effects.block: effects for effects in smaller}
    out = []
    for effects in larger:
        same = known.get(effects.block)
        lacks = np.ones(effects.spreads.shape, dtype=bool)
        if same is not None:
            lacks[[row in same.rows for row in effects.rows] if effects.rows and same.rows else slice(None)] = False
        if _EQUAL.get(effects.block) in known or effects.block in map(_EQUAL.get, known):
            lacks[:] = False
        if lacks.any():
            out.append(AbsentEffects(effects, lacks))
    return out


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
        values = np.zeros_like(effect.spreads, dtype=float)
        rows = known.get(effect.block)
        if effect.rows is not None and rows is not None:
            values[[effect.rows.index(row) for row in rows]] = structure.scales[effect.block]
        elif effect.block in known:
            values = structure.scales[effect.block]
        elif _EQUAL.get(effect.block) in known:
            values[:] = structure.scales[_EQUAL[effect.block]]
        scales[effect.block] = values
    return replace(structure, scales=scales)
