"""Names of parameters, and which of them are free."""


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

# blocks of the structural vector whose entries are all of one kind
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
        Labels of the items, the skills and the columns of the design.
    fixed : array (S,)
        Fixed values, NaN where the entry is a free parameter.
    n_link : int
        Coordinates of a benchmark's link, 0 for the logistic one.
    scales : tuple of ScaleBlock
        Blocks of standard deviations of random effects.
    """

    benchmarks: tuple[str, ...]
    skills: tuple[str, ...]
    terms: tuple[str, ...]
    fixed: np.ndarray
    n_link: int = 0
    scales: tuple[ScaleBlock, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed", np.array(self.fixed, dtype=float))
        labels = (*self.benchmarks, *self.skills, *self.terms)
        if any("," in str(label) for label in labels):  # names join labels by commas: the same one may come up twice
            _ = self.all_parameters

    @cached_property
    def layout(self) -> Layout:
        sizes = len(self.benchmarks), len(self.skills), len(self.terms)
        shapes = tuple((block.name, block.shape(len(self.skills))) for block in self.scales)
        return Layout(*sizes, self.n_link, shapes)

    @cached_property
    def free(self) -> np.ndarray:
        """Bool array (S,): the entries of s that make up the natural vector."""
        return np.isnan(self.fixed)

    @cached_property
    def asymptotes_free(self) -> bool:
        """Whether any lower or upper asymptote is a free parameter."""
        slices = self.layout.slices
        return bool(self.free[slices["lower"]].any() or self.free[slices["upper"]].any())

    @cached_property
    def shapes_free(self) -> str:
        """The benchmarks' shapes that are free, beside the precision, as ``Layout.shapes`` knows them: a word."""
        link = "".join(str(number + 1) for number in range(self.n_link))
        return ("cd" if self.asymptotes_free else "") + link

    @property
    def size(self) -> int:
        """Number of free parameters."""
        return int(self.free.sum())

    @cached_property
    def all_parameters(self) -> Parameters:
        """Every entry of s with its name, kind and labels: Parameters (S,)."""
        return Parameters.of(entry for block in self.layout.slices for entry in self._block_entries(block))

    @cached_property
    def parameters(self) -> Parameters:
        """The free ones, in the order of the natural vector: Parameters (P,), their positions those in s."""
        return Parameters(one for one, free in zip(self.all_parameters, self.free, strict=True) if free)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Name of every entry of s, as in ``loading[mmlu,math]``; ``corr`` where both variances are 1."""
        return self.all_parameters.names

    @cached_property
    def names(self) -> list[str]:
        """Names of the free parameters, in the order of the natural vector."""
        return list(self.parameters.names)

    def _block_entries(self, block: str) -> list[tuple[kinds.Kind, tuple[Any, ...]]]:
        """(kind, labels) of the entries of a block of s, in its order."""
        if block == "skill_cov":
            return self._covariance_entries()
        labels = {
            "loadings": itertools.product(self.benchmarks, self.skills),
            "slopes": itertools.product(self.terms, self.skills),
            "link": itertools.product(self.benchmarks, range(1, self.n_link + 1)),
            **{one.name: [()] if one.rows is None else itertools.product(one.rows, self.skills) for one in self.scales},
        }.get(block, [(benchmark,) for benchmark in self.benchmarks])
        scales = {one.name: one.kind for one in self.scales}
        return [((_BLOCKS | scales)[block], each) for each in labels]

    def _covariance_entries(self) -> list[tuple[kinds.Kind, tuple[Any, ...]]]:
        """Those of the lower triangle of Sigma: variances, and correlations or covariances."""
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
        """Structure -> natural vector."""
        return self.layout.flatten(structure)[self.free]

    def structure(self, natural: np.ndarray) -> Structure:
        """Natural vector -> Structure."""
        s = self.fixed.copy()
        s[self.free] = natural
        return self.layout.unflatten(s)

    def read(self, params: Any) -> np.ndarray:
        """Natural vector from a Series or dict by name, or from a vector in the order of ``names``.

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
        bad = [name for name, value in zip(self.names, vector, strict=True) if not np.isfinite(value)]
        if bad:
            raise DataError(f"Parameters that are not finite: {bad[:5]}.")
        structure = self.structure(vector)
        if np.any(structure.precision <= 0):
            low = structure.precision <= 0
            names = [kinds.PRECISION.name_of(b) for b, bad in zip(self.benchmarks, low, strict=True) if bad]
            raise DataError(f"A precision must be positive: {names}.")
        wrong = (structure.lower < 0) | (structure.upper > 1) | (structure.lower >= structure.upper)
        if wrong.any():
            names = [b for b, v in zip(self.benchmarks, wrong, strict=True) if v]
            raise DataError(f"Asymptotes must satisfy 0 <= lower < upper <= 1; they do not for {names}.")
        for block in self.scales:
            where = np.flatnonzero(structure.scales[block.name].ravel() < 0)
            if len(where):
                negative = np.asarray(self.all_names, dtype=object)[self.layout.slices[block.name]][where]
                raise DataError(f"A standard deviation cannot be negative: {list(negative[:5])}.")
        if np.linalg.eigvalsh(structure.skill_cov)[0] <= 0:
            raise DataError("The skill covariance (corr[...], cov[...]) is not positive definite.")

    def with_fixed(self, fixed: np.ndarray) -> ParameterTable:
        """The same table with other fixed values."""
        return replace(self, fixed=fixed)
