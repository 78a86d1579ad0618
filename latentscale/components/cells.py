"""The observed cells of a panel, laid out family by family, and within families LLM by LLM, for the likelihood."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from .score_laws import ScoreLaw

# Cells and families of a part: its arrays stay near the cache, and what the interpreter adds to them is small.
PART_CELLS = 16_384
PART_FAMILIES = 1_024


@dataclass(frozen=True)
class Units:
    """The units of a level of effects that have cells: families, or LLMs.

    The cells of a unit are consecutive, and so are the units within each unit of the level above.

    Attributes
    ----------
    of_cell : int array (C,)
        Unit of each cell, non-decreasing.
    starts : int array (n,)
        First cell of each unit.
    parent : int array (n,) or None
        Unit of the level above that each lies in, non-decreasing; None for the outermost level.
    family : int array (n,)
        Family that each lies in.
    """

    of_cell: np.ndarray
    starts: np.ndarray
    parent: np.ndarray | None
    family: np.ndarray

    def __len__(self):
        return len(self.starts)

    @cached_property
    def first(self):
        """First unit within each unit of the level above."""
        return np.flatnonzero(np.diff(self.parent, prepend=-1))

    def sum_cells(self, values):
        """Sums of cell values (C, ...) over each unit's cells, (n, ...)."""
        return np.add.reduceat(values, self.starts, axis=0)

    def sum_to_parent(self, values):
        """Sums of units' values (n, ...) over each unit of the level above."""
        return np.add.reduceat(values, self.first, axis=0)

    def sum_to_family(self, values):
        """Sums of units' values (n, ...) over each family's units."""
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
        What the law keeps of the scores (``ScoreLaw.data``).
    state : int8 array (C,)
        0 a score inside (0, 1), 1 censored below ``edge``, 2 censored above ``1 - edge``.
    edge : array (C,)
    design : array (N, p)
        Covariates x_i of the LLMs.
    n_items, n_families : int
    random : array (N, r) or None
        Covariates of random slopes, about their means.
    """

    row: np.ndarray
    item: np.ndarray
    family: np.ndarray
    law: ScoreLaw
    data: tuple
    state: np.ndarray
    edge: np.ndarray
    design: np.ndarray
    n_items: int
    n_families: int
    random: np.ndarray = None

    @classmethod
    def from_tables(cls, law, y, state, edge, family, design, random=None):
        """Cells of an N x J score table; ``family`` holds codes 0..L-1, every family with a score."""
        row, item = np.nonzero(state >= 0)
        order = np.argsort(family[row], kind="stable")
        row, item = row[order], item[order]
        score = y[row, item]
        return cls(
            row, item, family[row], law, law.data(score), state[row, item], edge[item],
            np.ascontiguousarray(design, dtype=float), y.shape[1], int(family.max()) + 1, random,
        )  # fmt: skip

    def __getstate__(self):
        """What is pickled: the fields, without what was derived from them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def n_cells(self):
        return len(self.row)

    @property
    def scores(self):
        """The scores, shape (C,); where censored, the edge."""
        return self.law.scores(self.data)

    @cached_property
    def starts(self):
        """First cell of each family, shape (L,)."""
        return np.searchsorted(self.family, np.arange(self.n_families))

    @cached_property
    def bounds(self):
        """Cell ranges of the families, shape (L + 1,)."""
        return np.append(self.starts, self.n_cells)

    def units(self, level):
        """Units of a level, ``"family"`` or ``"llm"``: those that have cells, in their order."""
        return {"family": self._families, "llm": self._llms}[level]

    @cached_property
    def _families(self):
        return Units(self.family, self.starts, None, np.arange(self.n_families))

    @cached_property
    def _llms(self):
        starts = np.flatnonzero(np.diff(self.row, prepend=-1))
        of_cell = np.repeat(np.arange(len(starts)), np.diff(starts, append=self.n_cells))
        family = self.family[starts]
        return Units(of_cell, starts, family, family)

    @cached_property
    def llm_rows(self):
        """Row of the design of each LLM that has cells, shape (n,), in the order of the cells."""
        return self.row[self._llms.starts]

    @cached_property
    def by_item(self):
        """Sparse (J, C) matrix that sums a column of cell values over each benchmark's cells."""
        ones = np.ones(self.n_cells)
        return sparse.csr_array((ones, (self.item, np.arange(self.n_cells))), (self.n_items, self.n_cells))

    @cached_property
    def by_family_item(self):
        """Sparse (L J, C) matrix that sums a column of cell values over each family's cells of each benchmark."""
        where = self.family * self.n_items + self.item
        shape = (self.n_families * self.n_items, self.n_cells)
        return sparse.csr_array((np.ones(self.n_cells), (where, np.arange(self.n_cells))), shape)

    @cached_property
    def random_cells(self):
        """Covariates of random slopes of every cell's LLM, (C, r); (C, 0) where there are none."""
        return np.empty((self.n_cells, 0)) if self.random is None else self.random[self.row]

    @cached_property
    def censored(self):
        """Indices of the censored cells."""
        return np.flatnonzero(self.state)

    def with_design(self, design):
        """The same cells with other covariates."""
        return replace(self, design=np.ascontiguousarray(design, dtype=float))

    def with_law(self, law):
        """The same cells under another law, which keeps the same of scores."""
        return replace(self, law=law)

    def chosen(self, kept):
        """The cells where ``kept`` (C,) is true; families that keep any become 0, 1, ..., the designs stay whole."""
        left, family = np.unique(self.family[kept], return_inverse=True)
        return replace(self, **self._at(kept), family=family, n_families=len(left))

    def part(self, first, last):
        """The cells of families ``first`` to ``last - 1``, which become 0, 1, ...; the designs stay whole."""
        where = slice(self.bounds[first], self.bounds[last])
        return replace(self, **self._at(where), family=self.family[where] - first, n_families=last - first)

    def with_item(self, row, family, y, state, edge):
        """These cells and those of one further benchmark, sorted by family, LLM and benchmark.

        Parameters
        ----------
        row, family : int arrays (m,)
            LLMs and families of the further cells, which have cells here too.
        y, state : arrays (m,)
        edge : float
        """
        new = {"row": row, "family": family, "item": np.full(len(row), self.n_items), "state": state}
        new["edge"] = np.full(len(row), edge)
        joined = {name: np.append(getattr(self, name), part) for name, part in new.items()}
        order = np.lexsort((joined["item"], joined["row"], joined["family"]))
        joined = {name: values[order].astype(getattr(self, name).dtype) for name, values in joined.items()}
        data = tuple(np.append(old, more)[order] for old, more in zip(self.data, self.law.data(y), strict=True))
        return replace(self, **joined, data=data, n_items=self.n_items + 1)

    def _at(self, where):
        """Fields of some of the cells, but for the family."""
        values = {name: getattr(self, name)[where] for name in ("row", "item", "state", "edge")}
        return values | {"data": tuple(column[where] for column in self.data)}

    @cached_property
    def parts(self):
        """Runs of families of at most ``PART_CELLS`` cells, one family at least: ((first, last + 1), Cells) of each."""
        spans, first = [], 0
        while first < self.n_families:
            last = int(np.searchsorted(self.bounds, self.bounds[first] + PART_CELLS, side="right")) - 1
            last = min(max(last, first + 1), first + PART_FAMILIES, self.n_families)
            spans.append((first, last))
            first = last
        if len(spans) == 1:
            return ((spans[0], self),)
        return tuple((span, self.part(*span)) for span in spans)

    def span(self, level, first, last):
        """The units of a level that lie in families ``first`` to ``last - 1``, as a slice."""
        return slice(*np.searchsorted(self.units(level).family, [first, last]).tolist())

    def sum_by_family(self, values):
        """Sums of cell values (C, ...) over each family's cells, shape (L, ...)."""
        return np.add.reduceat(values, self.starts, axis=0)
