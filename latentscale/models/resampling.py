"""Copies of a model with other scores: simulated scores, or those of families drawn with replacement.

A replicate of the bootstrap is a copy of the model with such scores. Its parameters must be the same quantities as
those of the original. A model that is made anew from the new table would change their meaning, since some of what it
computes depends on the table. The copy therefore keeps from the original:

- the coding of the formula, such as the knots of a spline or the mean of a centred column;
- the means that random slopes subtract from covariates;
- the pivots of an echelon form;
- the covariates of the optimisers, so that a coordinate of u is the same quantity in both.
"""


from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from ..boundary import inside, resampled_scores
from ..components.scaling import Design, within_family_constants
from ..errors import DataError, IdentificationError
from ..numerics.linalg import null_space
from ..panel import BenchmarkPanel
from .rows import Rows

if TYPE_CHECKING:
    from .latent_skill import LatentSkillLaw


_COLLINEAR = 1e-9
LawType = TypeVar("LawType", bound="LatentSkillLaw")


def with_scores(model: LawType, y: np.ndarray) -> LawType:
    """Return the same model with other scores of its LLMs.

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
        precision_design=_chosen(model.precision_design, slice(None), everyone),
        rows=Rows(everyone, (), ()),
        prepared=panel.prepare(everyone),
    )


def parametric_replicate(model: LawType, params: Any, seed: int | np.random.SeedSequence) -> LawType:
    """Return the same model with scores simulated from it, for the same covariates and the same missing cells.

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
    """Return the same model on the LLMs of some of its families, each family as often as it is drawn.

    A family that is drawn twice counts as two independent families, of which the second is called ``qwen2 (2)``.
    Scores stay as the boundary policy has made them in the original.

    Parameters
    ----------
    model : LatentSkillLaw
    families : int array (number of draws,)
        The drawn families, as positions in ``model.families``.

    Returns
    -------
    LatentSkillLaw

    Raises
    ------
    DataError
        If a code is unknown, or among these families a benchmark has no two different scores.
    IdentificationError
        If there are no more different families than skills, or the drawn LLMs do not identify slopes or random slopes.
    """
    if model.nested:
        raise DataError("Families nested in groups are not drawn by themselves: take the parametric bootstrap.")
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
        precision_design=_chosen(model.precision_design, rows, everyone),
        rows=Rows(everyone, (), ()),
        prepared=resampled_scores(model.prepared, panel.scores.to_numpy(), rows),
        families=names,
        family_codes=draws,
        groups=names,
        group_codes=draws,
        between_only=constant,
    )


def _chosen(design: Design | None, rows: slice | np.ndarray, keep: np.ndarray) -> Design | None:
    """Return the design of some LLMs, all of which a table of their own has; None where there is no design."""
    return None if design is None else replace(design, x=design.x[rows], keep=keep)


def _panel_like(panel: BenchmarkPanel, table: pd.DataFrame) -> BenchmarkPanel:
    """Return a panel of another table, with the same options and rounding units."""
    return BenchmarkPanel(table, **panel.options)


def _resampled_panel(model: LatentSkillLaw, codes: np.ndarray, rows: np.ndarray, draws: np.ndarray) -> BenchmarkPanel:
    """Return the panel of the drawn LLMs, with names that tell repeated draws apart.

    Parameters
    ----------
    model : LatentSkillLaw
    codes : int array (number of draws,)
        The drawn families.
    rows : int array (m,)
        The LLMs of all draws, as positions among those in the likelihood.
    draws : int array (m,)
        The draw that each of these LLMs belongs to.
    """
    panel = model.panel
    table = panel.to_frame()[model.rows.keep].iloc[rows].reset_index(drop=True)
    if isinstance(panel.family, str):
        column, names = panel.family, model.families[codes]
    else:  # several columns make the name of a family; a number cannot be added to a column that is true or false
        plain = [name for name in panel.family if not pd.api.types.is_bool_dtype(table[name].dtype)]
        column = (plain or list(panel.family))[0]
        names = table[column].iloc[np.searchsorted(draws, np.arange(len(codes)))].astype(str)
    table[column] = np.asarray(_told_apart(codes, names), dtype=object)[draws]
    table[panel.llm] = _told_apart(rows, table[panel.llm])
    return _panel_like(panel, table)


def _told_apart(keys: Iterable[Any], names: Iterable[str]) -> list[str]:
    """Return names in which those of a repeated key have a number added: ``qwen2``, ``qwen2 (2)``."""
    names = list(names)
    taken, numbered = set(names), []
    used: dict[Any, int] = {}
    for key, name in zip(keys, names, strict=True):
        number = used[key] + 1 if key in used else 1
        while number > 1 and f"{name} ({number})" in taken:
            number += 1
        used[key] = number
        numbered.append(name if number == 1 else f"{name} ({number})")
    return numbered


def _between_only(model: LatentSkillLaw, codes: np.ndarray, x: np.ndarray, draws: np.ndarray) -> tuple[str, ...]:
    """Return the terms that are constant within every drawn family, or refuse families that do not identify a slope.

    A refit would leave such a slope at its starting value, and its spread over replicates would come out too small.
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
