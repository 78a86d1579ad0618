"""The table of a model's parameters: their names, which of them are free, and the values of those that are fixed."""


from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from . import kinds
from .named import Parameters
from .structure import Layout, ScaleBlock, Structure

# the kind of the entries of those blocks of the structural vector in which all are of one kind
_BLOCKS = {
    "loadings": kinds.LOADING, "intercepts": kinds.INTERCEPT, "slopes": kinds.SLOPE, "precision": kinds.PRECISION,
    "lower": kinds.LOWER, "upper": kinds.UPPER, "link": kinds.LINK,
}  # fmt: skip


@dataclass(frozen=True)
class ParameterTable:
    """Every entry of the structural vector s: its name, and its value where it is fixed.

    Attributes
    ----------
    benchmarks, skills, terms : tuples of str
        Names of the benchmarks, the skills and the covariates.
    fixed : array (S,)
        The value of each entry of s that is fixed, and NaN where the entry is a free parameter.
    n_link : int
        Number of coordinates of a benchmark's link, 0 for the logistic link.
    scales : tuple of ScaleBlock
        The blocks of standard deviations of random effects.
    precision_terms : tuple of str
        Names of the covariates of the precisions.
    own_precision_slopes : bool
        Whether each benchmark has slopes of its own on these, rather than all benchmarks the same.
    """

    benchmarks: tuple[str, ...]
    skills: tuple[str, ...]
    terms: tuple[str, ...]
    fixed: np.ndarray
    n_link: int = 0
    scales: tuple[ScaleBlock, ...] = ()
    precision_terms: tuple[str, ...] = ()
    own_precision_slopes: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed", np.array(self.fixed, dtype=float))
        labels = (*self.benchmarks, *self.skills, *self.terms)
        # names join labels by commas, so that labels with commas may give two parameters one name, which is refused
        if any("," in str(label) for label in labels):
            _ = self.all_parameters

    @cached_property
    def layout(self) -> Layout:
        sizes = len(self.benchmarks), len(self.skills), len(self.terms)
        shapes = tuple((block.name, block.shape(len(self.skills))) for block in self.scales)
        slopes = len(self.precision_terms), len(self.benchmarks) if self.own_precision_slopes else 1
        return Layout(*sizes, self.n_link, shapes, slopes)

    @cached_property
    def free(self) -> np.ndarray:
        """Which entries of s are free parameters, bool array (S,); the natural vector (P,) holds those."""
        return np.isnan(self.fixed)

    @cached_property
    def asymptotes_free(self) -> bool:
        """Whether any lower or upper asymptote is a free parameter."""
        slices = self.layout.slices
        return bool(self.free[slices["lower"]].any() or self.free[slices["upper"]].any())

    @cached_property
    def shapes_free(self) -> str:
        """Which parameters of ``Layout.shapes`` may be free beside the precision, as a word of their characters.

        It holds ``"cd"`` if any asymptote is free, and a digit for each coordinate of the link: ``"cd12"``.
        """
        link = "".join(str(number + 1) for number in range(self.n_link))
        return ("cd" if self.asymptotes_free else "") + link

    @property
    def size(self) -> int:
        """Number of free parameters."""
        return int(self.free.sum())

    @cached_property
    def all_parameters(self) -> Parameters:
        """Name, kind and labels of every entry of s: Parameters (S,)."""
        return Parameters.of(entry for block in self.layout.slices for entry in self._block_entries(block))

    @cached_property
    def parameters(self) -> Parameters:
        """The free parameters in the order of the natural vector: Parameters (P,), whose positions are those in s."""
        pairs = zip(self.all_parameters, self.free, strict=True)
        return Parameters(parameter for parameter, is_free in pairs if is_free)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Name of every entry of s, such as ``loading[mmlu,math]``: tuple of S str.

        Covariances of families' effects are called ``corr[...]`` where both variances are fixed at 1.
        """
        return self.all_parameters.names

    @cached_property
    def names(self) -> list[str]:
        """Names of the free parameters, in the order of the natural vector."""
        return list(self.parameters.names)

    def _block_entries(self, block: str) -> list[tuple[kinds.Kind, tuple[Any, ...]]]:
        """Kind and labels of each entry of a block, in the order of s."""
        if block == "skill_cov":
            return self._covariance_entries()
        if block == "precision_slopes":
            if self.own_precision_slopes:
                pairs = itertools.product(self.precision_terms, self.benchmarks)
                return [(kinds.BENCHMARK_PRECISION_SLOPE, pair) for pair in pairs]
            return [(kinds.PRECISION_SLOPE, (term,)) for term in self.precision_terms]
        labels = {
            "loadings": itertools.product(self.benchmarks, self.skills),
            "slopes": itertools.product(self.terms, self.skills),
            "link": itertools.product(self.benchmarks, range(1, self.n_link + 1)),
            **{scale.name: scale.labels(self.skills) for scale in self.scales},
        }.get(block, [(benchmark,) for benchmark in self.benchmarks])
        scales = {scale.name: scale.kind for scale in self.scales}
        return [((_BLOCKS | scales)[block], entry_labels) for entry_labels in labels]

    def _covariance_entries(self) -> list[tuple[kinds.Kind, tuple[Any, ...]]]:
        """Kind and labels of the lower triangle of Sigma: variances, and correlations or covariances."""
        rows, columns = self.layout.triangle
        values = self.fixed[self.layout.slices["skill_cov"]]
        unit = values[rows == columns] == 1.0
        entries = []
        for a, b in zip(rows, columns, strict=True):
            kind = kinds.CORRELATION if unit[a] and unit[b] else kinds.COVARIANCE
            kind = kinds.VARIANCE if a == b else kind
            # the earlier skill is named first: corr[math,reasoning], not corr[reasoning,math]
            entries.append((kind, (self.skills[b], self.skills[a])))
        return entries

    def natural(self, structure: Structure) -> np.ndarray:
        """The natural vector (P,), which holds the free parameters, of a Structure."""
        return self.layout.flatten(structure)[self.free]

    def structure(self, natural: np.ndarray) -> Structure:
        """The Structure of a natural vector (P,), with the fixed values in their places."""
        s = self.fixed.copy()
        s[self.free] = natural
        return self.layout.unflatten(s)

    def read(self, params: Any) -> np.ndarray:
        """Return the natural vector (P,) that is given by name, as a Series or dict, or in the order of ``names``.

        Raises
        ------
        DataError
            If names are missing, unknown or repeated, the length is wrong, or a value is not finite or is
            outside the parameter space.
        """
        if isinstance(params, dict):
            params = pd.Series(params, dtype=object)
        if isinstance(params, pd.Series):
            params = self._by_name(params)
        try:
            vector = np.asarray(params, dtype=float)
        except (TypeError, ValueError) as error:
            raise DataError(f"Parameters must be numbers: {error}.") from error
        if vector.shape != (self.size,):
            raise DataError(
                f"Expected {self.size} parameters (see model.param_names), got shape {vector.shape}."
            )
        self._check_feasible(vector)
        return vector

    def _by_name(self, params: pd.Series) -> np.ndarray:
        """Return the values of a Series by name in the order of ``names``, or refuse it if names do not match."""
        if params.index.has_duplicates:
            repeated = sorted(set(params.index[params.index.duplicated()]))
            raise DataError(f"Parameters named twice: {repeated}.")
        missing = [name for name in self.names if name not in params.index]
        known = set(self.names)
        unknown = [name for name in params.index if name not in known]
        if missing or unknown:
            raise DataError(
                f"Parameters do not match model.param_names. Missing: {missing[:5] or 'none'}"
                f"{' and more' if len(missing) > 5 else ''}; unknown: {unknown[:5] or 'none'}."
            )
        return params.reindex(self.names).to_numpy()

    def _check_feasible(self, vector: np.ndarray) -> None:
        """Refuse natural parameters that are not finite or outside the parameter space."""
        bad = [name for name, value in zip(self.names, vector, strict=True) if not np.isfinite(value)]
        if bad:
            raise DataError(f"Parameters that are not finite: {bad[:5]}.")
        structure = self.structure(vector)
        if np.any(structure.precision <= 0):
            pairs = zip(self.benchmarks, structure.precision <= 0, strict=True)
            names = [kinds.PRECISION.name_of(benchmark) for benchmark, is_wrong in pairs if is_wrong]
            raise DataError(f"A precision must be positive: {names}.")
        wrong = (structure.lower < 0) | (structure.upper > 1) | (structure.lower >= structure.upper)
        if wrong.any():
            names = [benchmark for benchmark, is_wrong in zip(self.benchmarks, wrong, strict=True) if is_wrong]
            raise DataError(f"Asymptotes must satisfy 0 <= lower < upper <= 1; they do not for {names}.")
        for block in self.scales:
            where = np.flatnonzero(structure.scales[block.name].ravel() < 0)
            if len(where):
                negative = np.asarray(self.all_names, dtype=object)[self.layout.slices[block.name]][where]
                raise DataError(f"A standard deviation cannot be negative: {list(negative[:5])}.")
        if np.linalg.eigvalsh(structure.skill_cov)[0] <= 0:
            raise DataError("The skill covariance (corr[...], cov[...]) is not positive definite.")

    def with_fixed(self, fixed: np.ndarray) -> ParameterTable:
        """Return the same table with other fixed values (S,), NaN where a parameter is free."""
        return replace(self, fixed=fixed)
