"""What a planner asks for, checked: the target, the family, the covariates and the bounds of an allocation."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from ..errors import DataError
from ..parameters.structure import Structure
from ..prediction.parameter_law import ParameterLaw, parameter_law
from ..tables import some
from .budget_optima import DataRange
from .target import (
    Effects,
    Target,
    family_cells,
    known_effects,
    make_sloth_target,
    make_target,
    unseen_effects,
)

SKILL, BENCHMARK = "skill", "benchmark"


@dataclass(frozen=True, eq=False)
class AllocationRequest:
    """A target of a fit that can be computed under any parameters.

    Attributes
    ----------
    fit : LatentSkillResults or SlothResults
    words : str
        The target in words.
    kind : {"skill", "benchmark"}
    weights : array (K,) or (T,)
        Weights of all skills, or of the benchmarks ``items``.
    items : int array (T,) or None
        Benchmarks of the target; None for skills.
    family : str or None
        None for a family that was never seen.
    covariates : dict
        Values of the other columns of the scaling.
    size, tokens : str
        Columns of size and tokens.
    """

    fit: Any
    words: str
    kind: str
    weights: np.ndarray
    items: np.ndarray | None
    family: str | None
    covariates: dict[str, Any]
    size: str
    tokens: str

    @property
    def is_sloth(self) -> bool:
        """Whether the fit is by the Huber loss, and so has no law of its parameters here."""
        return hasattr(self.fit, "loss")

    def design(self, size: npt.ArrayLike, tokens: npt.ArrayLike) -> np.ndarray:
        """Return covariates (n, p) of sizes (n,) in billions of parameters and tokens (n,) in trillions."""
        size, tokens = np.broadcast_arrays(np.asarray(size, dtype=float), np.asarray(tokens, dtype=float))
        columns = {name: [value] * size.size for name, value in self.covariates.items()}
        table = pd.DataFrame({self.size: size.ravel(), self.tokens: tokens.ravel(), **columns})
        return self.fit.model.design.code(table).reshape(*size.shape, -1)

    def law(self) -> ParameterLaw:
        """Return the law of the parameters.

        Raises
        ------
        DataError
            If the estimates have no covariance, and for skills of a rotated fit, as only parameters of the fit that was
            rotated have a law.
        """
        source = getattr(self.fit, "source", None)
        if source is not None and self.items is None:
            raise DataError(
                "Skills of a rotated fit have no intervals here: take interval='none', a benchmark as the target, or "
                "the fit that was rotated (rotated.source)."
            )
        try:
            return parameter_law(self.fit if source is None else source)
        except DataError as error:
            raise DataError(f"No intervals of allocations: {error} interval='none' gives optima alone.") from error

    def effects(self, structures: Sequence[Structure]) -> Effects:
        """Return the distributions of the family's effects, for each of S Structures."""
        model = self.fit.model
        if self.family is None:
            return unseen_effects(structures)
        cells = family_cells(model, list(model.families).index(self.family))
        return known_effects(structures, cells, self.fit.estimate.rule)

    def target(self, structures: Sequence[Structure] | None = None, effects: Effects | None = None) -> Target:
        """Return the target under S Structures, by default at the estimate."""
        model = self.fit.model
        if self.is_sloth:
            code = None if self.family is None else list(model.families).index(self.family)
            return make_sloth_target(self.fit.report.arrays, model.response, code, self.weights, self.items)
        structures = [self.fit.structure] if structures is None else structures
        effects = self.effects(structures) if effects is None else effects
        random = np.array([model.terms.index(term) for term in model.random_terms], dtype=int)
        centre = model.design.x[:, random].mean(axis=0)
        return make_target(model.score_law, structures, effects, self.weights, random, centre, self.items)

    @property
    def range(self) -> DataRange:
        """Sizes and tokens of the LLMs of the fit."""
        table = self.fit.model.panel.table.loc[list(self.fit.model.llms)]
        return DataRange(*(table[name].to_numpy(dtype=float) for name in (self.size, self.tokens)))


def read_request(
    fit: Any,
    target: str | Mapping[str, float],
    family: str | None = None,
    covariates: Mapping[str, Any] | None = None,
    size: str = "params_b",
    tokens: str = "tokens_t",
) -> AllocationRequest:
    """Return what is asked for, checked.

    Raises
    ------
    DataError
        If the fit is of another kind, the target, the family or a column is unknown, or a covariate missing.
    """
    model = getattr(fit, "model", None)
    latent = hasattr(fit, "structure")
    if model is None or not (latent or hasattr(fit, "loss")):
        raise DataError(
            "Allocation takes results of LatentSkillModel, SlothModel or BenchmarkLaws, such as model.fit(); "
            f"not {type(fit).__name__}."
        )
    family = _read_family(fit, family, latent)
    covariates = _read_covariates(fit, covariates or {}, family, size, tokens)
    words, kind, weights, items = _read_target(model, target)
    return AllocationRequest(fit, words, kind, weights, items, family, covariates, size, tokens)


def _read_target(model: Any, target: str | Mapping[str, float]) -> tuple[str, str, np.ndarray, np.ndarray | None]:
    """Return the target in words, its kind, its weights and, for benchmarks, their positions."""
    mix = target if isinstance(target, Mapping) else {target: 1.0}
    skills = () if getattr(model, "per_benchmark", False) else tuple(model.skills)
    benchmarks = tuple(model.benchmarks)
    known = f"There are the skills {list(skills)} and the benchmarks {list(benchmarks)}."
    if not skills:
        known = f"There are the benchmarks {list(benchmarks)}."
    unknown = [name for name in mix if name not in skills and name not in benchmarks]
    if unknown or not mix:
        raise DataError(f"target names a skill, a benchmark, or a mix of either; unknown: {unknown}. {known}")
    for name, weight in mix.items():
        if not (isinstance(weight, Real) and np.isfinite(float(weight)) and weight > 0):
            raise DataError(f"Weights of a mix are positive numbers; {name!r} has {weight!r}.")
    words = next(iter(mix)) if len(mix) == 1 else " + ".join(f"{weight:g} {name}" for name, weight in mix.items())
    if all(name in skills for name in mix):
        return words, SKILL, np.array([float(mix.get(skill, 0.0)) for skill in skills]), None
    if not all(name in benchmarks for name in mix):
        raise DataError(f"A mix is of skills or of benchmarks, whose units differ; {list(mix)} has both.")
    items = np.array([benchmarks.index(name) for name in mix])
    return words, BENCHMARK, np.array([float(weight) for weight in mix.values()]), items


def _read_family(fit: Any, family: str | None, latent: bool) -> str | None:
    """Return the family, refused if the fit cannot plan for it. ``latent`` tells a LatentSkillResults."""
    if family is None:
        if not latent and fit.report.arrays.effects is not None:
            raise DataError(
                "This fit has an intercept for each of its families and none for an unseen one: give family=, one of "
                f"{some(fit.model.families)}, share the intercepts (family_intercepts=False), or use "
                "LatentSkillModel, which knows the distribution of families."
            )
        return None
    if not latent and fit.report.arrays.effects is None:
        raise DataError("The families of this fit share their intercepts: leave family= out.")
    if family not in fit.model.families:
        raise DataError(
            f"The family {family!r} is not in the fit, which has {some(fit.model.families, 12)}; family=None plans for "
            "a family that was never seen."
        )
    return family


def _read_covariates(
    fit: Any, covariates: Mapping[str, Any], family: str | None, size: str, tokens: str
) -> dict[str, Any]:
    """Return the values of all columns of the scaling other than size and tokens, checked."""
    model = fit.model
    needed = sorted(str(name) for name in model.design.spec.formula.required_variables)
    for name, what, option in ((size, "size", "size"), (tokens, "tokens", "tokens")):
        if name not in needed:
            raise DataError(
                f"The scaling {model.scaling!r} has no column {name!r} for {what}; it has {needed}. Compute-optimal "
                f"allocation needs size and tokens both: name their columns by {option}=, or fit a scaling with them, "
                "such as 'log(params_b) * log(tokens_t)'."
            )
    others = [name for name in needed if name not in (size, tokens)]
    covariates = {**_shared_in_family(model, family, others), **covariates}
    missing = [name for name in others if name not in covariates]
    if missing:
        shown = ", ".join(f"{name!r}: ..." for name in missing)
        raise DataError(
            f"The scaling {model.scaling!r} has further columns {missing}: say what they are to be, "
            f"covariates={{{shown}}}."
        )
    stray = [name for name in covariates if name not in others]
    if stray:
        raise DataError(f"covariates has {stray}, which the scaling {model.scaling!r} does not use; it takes {others}.")
    _warn_beyond(model, covariates)
    return dict(covariates)


def _shared_in_family(model: Any, family: str | None, names: Sequence[str]) -> dict[str, Any]:
    """Return the values of the columns in which all LLMs of a family of the fit agree, such as instruct."""
    if family is None:
        return {}
    in_family = np.asarray(model.families)[model.family_codes] == family
    table = model.panel.table.loc[list(model.llms)][in_family]
    return {name: table[name].iloc[0] for name in names if table[name].nunique(dropna=False) == 1}


def _warn_beyond(model: Any, covariates: Mapping[str, Any]) -> None:
    """Warn of numeric covariates that are outside the range of the LLMs of the fit."""
    table = model.panel.table.loc[list(model.llms)]
    for name, value in covariates.items():
        column = table[name]
        if types.is_bool_dtype(column.dtype) or not types.is_numeric_dtype(column.dtype):
            continue
        if not column.min() <= value <= column.max():
            warnings.warn(
                f"{name} = {value:.4g} is outside the data, where it lies between {column.min():.4g} and "
                f"{column.max():.4g}: the allocation extrapolates the scaling formula.",
                UserWarning,
                stacklevel=5,
            )


def read_flops(flops: npt.ArrayLike) -> tuple[float, ...]:
    """Return budgets, a tuple of positive floats in the order given."""
    values = np.atleast_1d(np.asarray(flops, dtype=float))
    bad = [float(value) for value in values.ravel() if not (np.isfinite(value) and value > 0.0)]
    if values.ndim > 1 or not len(values) or bad:
        raise DataError(f"flops is a positive number or a list of them, such as [1e21, 1e23]; got {flops!r}.")
    return tuple(float(value) for value in values)


def read_bounds(given: Any, default: tuple[float, float], what: str, unit: str) -> tuple[float, float]:
    """Return bounds (low, high), where either end that is None has its default."""
    if given is None:
        return default
    if isinstance(given, Mapping):
        stray = [name for name in given if name not in ("min", "max")]
        given = None if stray else (given.get("min"), given.get("max"))
    if isinstance(given, Real) or given is None or len(tuple(given)) != 2:
        raise DataError(
            f"{what}_bounds is (low, high) or {{'min': low, 'max': high}}, in {unit}; None leaves one at its default."
        )
    low, high = (default[end] if value is None else float(value) for end, value in enumerate(given))
    if not 0.0 < low <= high < np.inf:
        raise DataError(f"{what}_bounds, in {unit}, must be positive, the lower one first; they are {low:g}, {high:g}.")
    return low, high
