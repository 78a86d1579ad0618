"""Copies of a model with other scores: simulated ones, or those of families drawn with replacement.

A copy keeps what a refit to the whole table would change in meaning: the coding of the formula (the knots of a
spline, the mean of a centred column), the mean from which random slopes count, the pivots of an echelon form, and
the whitened covariates, so that a coordinate of the optimisers is the same quantity in the copy and in the original.
"""


from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from ..boundary import inside, resampled_scores
from ..components.scaling import within_family_constants
from ..errors import DataError, IdentificationError
from ..numerics.linalg import null_space
from ..panel import BenchmarkPanel
from .rows import Rows

if TYPE_CHECKING:
    from .latent_skill import LatentSkillLaw


_COLLINEAR = 1e-9
LawType = TypeVar("LawType", bound="LatentSkillLaw")


def with_scores(model: LawType, y: np.ndarray) -> LawType:
    """The same model on other scores of its LLMs.

    Parameters
    ----------
    model : LatentSkillLaw
    y : array (n, J)
        Scores in [0, 1] of the LLMs in the likelihood, NaN where missing. Scores of exactly 0 or 1 are treated as
        the panel's policy says; under ``boundary="error"``, where they can only come from rounding, they are moved
        inside by the least that doubles can.

    Returns
    -------
    LatentSkillLaw
        Its panel holds the n LLMs with these scores.

    Raises
    ------
    DataError
        If y does not fit, an LLM has no score, or a benchmark has no two different ones.
    """
    y = np.array(y, dtype=float)
    if y.shape != model.prepared.y.shape:
        raise DataError(f"Scores of shape {model.prepared.y.shape} are wanted, LLMs by benchmarks; got {y.shape}.")
    if np.isnan(y).all(axis=1).any():
        raise DataError(f"The LLMs {list(model.llms[np.isnan(y).all(axis=1)][:5])} have no score.")
    if model.panel.boundary == "error":
        y = inside(y)
    table = model.panel.to_frame()[model.rows.keep].reset_index(drop=True)
    table[list(model.benchmarks)] = y
    panel = _panel_like(model.panel, table)
    everyone = np.ones(len(table), dtype=bool)
    return model.replaced(
        panel=panel,
        design=replace(model.design, keep=everyone),
        rows=Rows(everyone, (), ()),
        prepared=panel.prepare(everyone),
    )


def parametric_replicate(model: LawType, params: Any, seed: int | np.random.SeedSequence) -> LawType:
    """The same model on scores simulated from it, with the design and the missing cells of the original.

    Parameters
    ----------
    model : LatentSkillLaw
    params : Series, dict or array (P,)
        Natural parameters.
    seed : int or numpy.random.SeedSequence

    Returns
    -------
    LatentSkillLaw

    Raises
    ------
    DataError
        If the parameters are outside their space, or the simulated scores of a benchmark are all the same.
    """
    return with_scores(model, model.simulate(params, seed)[list(model.benchmarks)].to_numpy())


def resampled(model: LawType, families: np.ndarray) -> LawType:
    """The same model on the LLMs of some of its families, each family as often as it is named.

    A family that is named twice counts as two independent ones, of which the second is called ``qwen2 (2)``. Scores
    stay as the boundary policy has made them in the original.

    Parameters
    ----------
    model : LatentSkillLaw
    families : int array (L*,)
        Codes of families, positions in ``model.families``.

    Returns
    -------
    LatentSkillLaw

    Raises
    ------
    DataError
        If a code is unknown, or among these families a benchmark has no two different scores.
    IdentificationError
        If these families are no more than the skills, or cannot tell the slopes, or random slopes, apart.
    """
    codes = np.asarray(families)
    whole = codes.ndim == 1 and len(codes) > 0 and codes.dtype.kind in "iu"
    if not (whole and np.isin(codes, np.arange(model.n_families)).all()):
        raise DataError(f"Families are drawn by their codes, whole numbers from 0 to {model.n_families - 1}.")
    members = [np.flatnonzero(model.family_codes == code) for code in codes]
    rows, draws = np.concatenate(members), np.repeat(np.arange(len(codes)), [len(rows) for rows in members])
    x, everyone = model.design.x[rows], np.ones(len(rows), dtype=bool)
    constant = _between_only(model, codes, x, draws)
    panel = _resampled_panel(model, codes, rows, draws)
    names = panel.families.to_numpy()[np.searchsorted(draws, np.arange(len(codes)))]
    return model.replaced(
        panel=panel,
        design=replace(model.design, x=x, keep=everyone),
        rows=Rows(everyone, (), ()),
        prepared=resampled_scores(model.prepared, panel.scores.to_numpy(), rows),
        families=names,
        family_codes=draws,
        between_only=constant,
    )


def _panel_like(panel: BenchmarkPanel, table: pd.DataFrame) -> BenchmarkPanel:
    """A panel of another table, with the same options and rounding units."""
    return BenchmarkPanel(table, **panel.options)


def _resampled_panel(model: LatentSkillLaw, codes: np.ndarray, rows: np.ndarray, draws: np.ndarray) -> BenchmarkPanel:
    """Raw scores and columns of the rows, with names that tell repeated draws apart."""
    panel = model.panel
    table = panel.to_frame()[model.rows.keep].iloc[rows].reset_index(drop=True)
    if isinstance(panel.family, str):
        column, names = panel.family, model.families[codes]
    else:  # several columns make the name, of which a true/false one cannot carry a number
        plain = [name for name in panel.family if not pd.api.types.is_bool_dtype(table[name].dtype)]
        column = (plain or list(panel.family))[0]
        names = table[column].iloc[np.searchsorted(draws, np.arange(len(codes)))].astype(str)
    table[column] = np.asarray(_told_apart(codes, names), dtype=object)[draws]
    table[panel.llm] = _told_apart(rows, table[panel.llm])
    return _panel_like(panel, table)


def _told_apart(keys: Iterable[Any], names: Iterable[str]) -> list[str]:
    """Names of which those of a repeated key carry a number: ``qwen2``, ``qwen2 (2)``."""
    names = list(names)
    taken, out = set(names), []
    used: dict[Any, int] = {}
    for key, name in zip(keys, names, strict=True):
        number = used[key] + 1 if key in used else 1
        while number > 1 and f"{name} ({number})" in taken:
            number += 1
        used[key] = number
        out.append(name if number == 1 else f"{name} ({number})")
    return out


def _between_only(model: LatentSkillLaw, codes: np.ndarray, x: np.ndarray, draws: np.ndarray) -> tuple[str, ...]:
    """Terms constant within every drawn family; families that say nothing of some slope are refused.

    A refit would leave such a slope where it starts, and its spread over replicates would come out too small.
    """
    if len(np.unique(codes)) <= model.pattern.n_skills:
        raise IdentificationError(f"{len(np.unique(codes))} different families for {model.pattern.n_skills} skills.")
    z = model.recoding.design(x)
    if len(z) <= z.shape[1] or null_space(z - z.mean(axis=0), _COLLINEAR).shape[1]:
        raise IdentificationError(f"Over the drawn families the terms {list(model.terms)} are collinear.")
    constant = within_family_constants(x, model.terms, draws)
    lost = model.terms if len(constant) == len(model.terms) else set(model.random_terms) & set(constant)
    if lost:
        raise IdentificationError(f"Within each of the drawn families all LLMs have the same {', '.join(lost)}.")
    return tuple(constant)
