"""Cells: the observed scores of a panel in long form, sorted by family and within families by LLM, for the likelihood.

A cell is an observed score of one LLM on one benchmark. As cells of a family, and of an LLM, are consecutive, sums over
them are sums over slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy import sparse

from .score_laws import ScoreLaw

# The largest batch of families that a pass works on at a time: its arrays stay near the processor's cache, yet are so
# long that the interpreter adds little to the time that they take.
BATCH_CELLS = 16_384
BATCH_FAMILIES = 1_024


@dataclass(frozen=True)
class Units:
    """The units of a level of effects, families or LLMs, that have cells.

    The cells of a unit are consecutive, and so are the units within each unit of the level above.

    Attributes
    ----------
    of_cell : int array (C,)
        Unit of each cell, non-decreasing.
    starts : int array (n,)
        First cell of each unit.
    parent : int array (n,) or None
        Unit of the level above that each unit lies in, non-decreasing; None for the outermost level.
    family : int array (n,)
        Family that each unit lies in.
    """

    of_cell: np.ndarray
    starts: np.ndarray
    parent: np.ndarray | None
    family: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def first(self) -> np.ndarray:
        """First unit within each unit of the level above, an int array."""
        return np.flatnonzero(np.diff(np.asarray(self.parent), prepend=-1))

    def sum_cells(self, values: np.ndarray) -> np.ndarray:
        """Return sums of values of the cells (C, ...) over the cells of each unit, (n, ...)."""
        return np.add.reduceat(values, self.starts, axis=0)

    def sum_to_parent(self, values: np.ndarray) -> np.ndarray:
        """Return sums of values of the units (n, ...) over the units within each unit of the level above."""
        return np.add.reduceat(values, self.first, axis=0)

    def sum_to_family(self, values: np.ndarray) -> np.ndarray:
        """Return sums of values of the units (n, ...) over the units of each family, (L, ...)."""
        if self.parent is None:
            return values
        return np.add.reduceat(values, np.flatnonzero(np.diff(self.family, prepend=-1)), axis=0)


@dataclass(frozen=True)
class Cells:
    """Observed scores in long form, sorted by family and LLM, with the design of their LLMs.

    Attributes
    ----------
    row, item, family : int arrays (C,)
        LLM, benchmark and family of each cell; ``family`` is non-decreasing.
    law : ScoreLaw
        The law of a score.
    data : tuple of arrays (C,)
        The functions of the scores that the law's log-density needs (``ScoreLaw.data``).
    state : int8 array (C,)
        0 where the score is observed, 1 where it is censored below ``edge``, 2 where it is censored above ``1 - edge``.
    edge : array (C,)
        Half the rounding unit of the cell's benchmark.
    design : array (N, p)
        Covariates x_i of the LLMs.
    n_items, n_families : int
        Numbers of benchmarks and of families, J and L.
    random : array (N, r) or None
        Covariates of the random slopes, less their means.
    dispersion : array (N, q) or None
        Covariates w of the precisions, less their means.
    nested : int array (C,) or None
        Family of each cell where families are nested in groups; ``family`` is then the group, and so are all "families"
        below: what is independent of the rest.
    """

    row: np.ndarray
    item: np.ndarray
    family: np.ndarray
    law: ScoreLaw
    data: tuple[np.ndarray, ...]
    state: np.ndarray
    edge: np.ndarray
    design: np.ndarray
    n_items: int
    n_families: int
    random: np.ndarray | None = None
    dispersion: np.ndarray | None = None
    nested: np.ndarray | None = None

    @classmethod
    def from_tables(
        cls,
        law: ScoreLaw,
        y: np.ndarray,
        state: np.ndarray,
        edge: np.ndarray,
        family: np.ndarray,
        design: np.ndarray,
        random: np.ndarray | None = None,
        dispersion: np.ndarray | None = None,
        nested: np.ndarray | None = None,
    ) -> Self:
        """Return the cells of a table of scores, states (N, J) and families (N,).

        ``family`` holds codes 0, ..., L - 1; every family has a score. With ``nested``, codes of families (N,), these
        are the groups that families are nested in.
        """
        row, item = np.nonzero(state >= 0)
        order = np.argsort(family[row], kind="stable")
        if nested is not None:
            order = np.lexsort((row, nested[row], family[row]))
        row, item = row[order], item[order]
        score = y[row, item]
        return cls(
            row, item, family[row], law, law.data(score), state[row, item], edge[item],
            np.ascontiguousarray(design, dtype=float), y.shape[1], int(family.max()) + 1, random, dispersion,
            None if nested is None else nested[row],
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the fields, without what was computed from them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def n_cells(self) -> int:
        """C, the number of cells."""
        return len(self.row)

    @property
    def scores(self) -> np.ndarray:
        """The scores (C,); those at the edge, ``edge`` or ``1 - edge``, where they are censored."""
        return self.law.scores(self.data)

    @cached_property
    def starts(self) -> np.ndarray:
        """First cell of each family, int array (L,)."""
        return np.searchsorted(self.family, np.arange(self.n_families))

    @cached_property
    def bounds(self) -> np.ndarray:
        """Where the cells of each family begin, and where those of the last one end, int array (L + 1,)."""
        return np.append(self.starts, self.n_cells)

    def units(self, level: str) -> Units:
        """Return the units of a level, ``"group"``, ``"family"`` or ``"llm"``, in the order of their cells.

        Units without cells are left out.
        """
        families = "_families" if self.nested is None else "_nested_families"
        units: Units = getattr(self, {"group": "_families", "family": families, "llm": "_llms"}[level])
        return units

    def codes(self, level: str) -> np.ndarray:
        """Return the code of each unit of a level: of the group, of the family, or the LLM's row of the design."""
        starts = self.units(level).starts
        families = self.family if self.nested is None else self.nested
        return {"group": self.family, "family": families, "llm": self.row}[level][starts]

    @cached_property
    def _families(self) -> Units:
        return Units(self.family, self.starts, None, np.arange(self.n_families))

    @cached_property
    def _nested_families(self) -> Units:
        assert self.nested is not None
        starts = np.flatnonzero(np.diff(self.nested, prepend=-1))
        return self._units_from(starts, self.family[starts])

    @cached_property
    def _llms(self) -> Units:
        starts = np.flatnonzero(np.diff(self.row, prepend=-1))
        return self._units_from(starts, self.units("family").of_cell[starts])

    def _units_from(self, starts: np.ndarray, parent: np.ndarray) -> Units:
        """Return the units that begin at some cells, given the unit that each lies in."""
        of_cell = np.repeat(np.arange(len(starts)), np.diff(starts, append=self.n_cells))
        return Units(of_cell, starts, parent, self.family[starts])

    @cached_property
    def llm_rows(self) -> np.ndarray:
        """Row of the design of each LLM that has cells, int array (n,), in the order of the cells."""
        return self.row[self._llms.starts]

    @cached_property
    def by_item(self) -> sparse.csr_array:
        """Sparse matrix (J, C) that takes sums over the cells of each benchmark."""
        ones = np.ones(self.n_cells)
        return sparse.csr_array((ones, (self.item, np.arange(self.n_cells))), (self.n_items, self.n_cells))

    @cached_property
    def by_family_item(self) -> sparse.csr_array:
        """Sparse matrix (L J, C) that takes sums over the cells of each pair of family and benchmark."""
        where = self.family * self.n_items + self.item
        shape = (self.n_families * self.n_items, self.n_cells)
        return sparse.csr_array((np.ones(self.n_cells), (where, np.arange(self.n_cells))), shape)

    @cached_property
    def random_cells(self) -> np.ndarray:
        """Covariates of the random slopes of each cell's LLM, (C, r); (C, 0) where there are none."""
        return np.empty((self.n_cells, 0)) if self.random is None else self.random[self.row]

    @cached_property
    def dispersion_cells(self) -> np.ndarray:
        """Covariates of the precision of each cell's LLM, (C, q); (C, 0) where there are none."""
        return np.empty((self.n_cells, 0)) if self.dispersion is None else self.dispersion[self.row]

    @cached_property
    def censored(self) -> np.ndarray:
        """Indices of the censored cells, int array."""
        return np.flatnonzero(self.state)

    def with_design(self, design: np.ndarray) -> Self:
        """Return the same cells with other covariates (N, p)."""
        return replace(self, design=np.ascontiguousarray(design, dtype=float))

    def with_law(self, law: ScoreLaw) -> Self:
        """Return the same cells under another law, one that needs the same functions of the scores."""
        return replace(self, law=law)

    def chosen(self, kept: np.ndarray) -> Self:
        """Return the cells where ``kept`` (C,) is true, with the whole design; their families become 0, 1, ..."""
        left, family = np.unique(self.family[kept], return_inverse=True)
        return replace(self, **self._at(kept), family=family, n_families=len(left))

    def of_families(self, first: int, last: int) -> Self:
        """Return the cells of families ``first`` to ``last - 1``, which become 0, 1, ..., with the whole design."""
        where = slice(self.bounds[first], self.bounds[last])
        return replace(self, **self._at(where), family=self.family[where] - first, n_families=last - first)

    def with_item(
        self,
        row: Sequence[int] | np.ndarray,
        family: Sequence[int] | np.ndarray,
        y: np.ndarray,
        state: np.ndarray,
        edge: float,
    ) -> Self:
        """Return these cells and those of one further benchmark, sorted by family, LLM and benchmark.

        Parameters
        ----------
        row, family : int arrays (m,)
            LLMs and families of the further cells; each has cells here too.
        y, state : arrays (m,)
            Their scores and states.
        edge : float
            Half the rounding unit of the further benchmark.
        """
        new = {"row": row, "family": family, "item": np.full(len(row), self.n_items), "state": state}
        new["edge"] = np.full(len(row), edge)
        joined = {name: np.append(getattr(self, name), further) for name, further in new.items()}
        order = np.lexsort((joined["item"], joined["row"], joined["family"]))
        joined = {name: values[order].astype(getattr(self, name).dtype) for name, values in joined.items()}
        data = tuple(np.append(old, more)[order] for old, more in zip(self.data, self.law.data(y), strict=True))
        changes: dict[str, Any] = joined | {"data": data, "n_items": self.n_items + 1}
        return replace(self, **changes)

    def _at(self, where: slice | np.ndarray) -> dict[str, Any]:
        """Return the fields of some of the cells, without the family."""
        names = ("row", "item", "state", "edge", *(["nested"] if self.nested is not None else []))
        values = {name: getattr(self, name)[where] for name in names}
        return values | {"data": tuple(column[where] for column in self.data)}

    @cached_property
    def batches(self) -> tuple[tuple[tuple[int, int], Self], ...]:
        """Batches of consecutive families, for passes that work on one at a time: ((first, last + 1), Cells) of each.

        A batch has at most ``BATCH_CELLS`` cells and ``BATCH_FAMILIES`` families, and at least one family.
        """
        spans, first = [], 0
        while first < self.n_families:
            last = int(np.searchsorted(self.bounds, self.bounds[first] + BATCH_CELLS, side="right")) - 1
            last = min(max(last, first + 1), first + BATCH_FAMILIES, self.n_families)
            spans.append((first, last))
            first = last
        if len(spans) == 1:
            return ((spans[0], self),)
        return tuple((span, self.of_families(*span)) for span in spans)

    def span(self, level: str, first: int, last: int) -> slice:
        """Return the slice of a level's units that lie in families ``first`` to ``last - 1``."""
        return slice(*np.searchsorted(self.units(level).family, [first, last]).tolist())

    def sum_by_family(self, values: np.ndarray) -> np.ndarray:
        """Return sums of values of the cells (C, ...) over the cells of each family, (L, ...)."""
        return np.add.reduceat(values, self.starts, axis=0)
