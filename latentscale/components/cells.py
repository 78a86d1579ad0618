"""The observed cells of a panel, laid out family by family, and within families LLM by LLM, for the likelihood."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

# Cells and families of a part: its arrays stay near the cache, and what the interpreter adds to them is small.
PART_CELLS = 16_384
PART_FAMILIES = 1_024


@dataclass(frozen=True)
class Cells:
    """Observed scores in long form, sorted by family and LLM, with the design of their LLMs.

    Attributes
    ----------
    row, item, family : int arrays (C,)
        LLM, benchmark and family of each cell; ``family`` is non-decreasing.
    log_y, log1m_y : arrays (C,)
        Log of the score and of one minus the score.
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
    log_y: np.ndarray
    log1m_y: np.ndarray
    state: np.ndarray
    edge: np.ndarray
    design: np.ndarray
    n_items: int
    n_families: int
    random: np.ndarray = None

    @classmethod
    def from_tables(cls, y, state, edge, family, design, random=None):
        """Cells of an N x J score table; ``family`` holds codes 0..L-1, every family with a score."""
        row, item = np.nonzero(state >= 0)
        order = np.argsort(family[row], kind="stable")
        row, item = row[order], item[order]
        score = y[row, item]
        return cls(
            row, item, family[row], np.log(score), np.log1p(-score), state[row, item], edge[item],
            np.ascontiguousarray(design, dtype=float), y.shape[1], int(family.max()) + 1, random,
        )  # fmt: skip

    def __getstate__(self):
        """What is pickled: the fields, without what was derived from them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def n_cells(self):
        return len(self.row)

    @cached_property
    def starts(self):
        """First cell of each family, shape (L,)."""
        return np.searchsorted(self.family, np.arange(self.n_families))

    @cached_property
    def bounds(self):
        """Cell ranges of the families, shape (L + 1,)."""
        return np.append(self.starts, self.n_cells)

    @cached_property
    def llm_starts(self):
        """First cell of each LLM that has any, shape (n,), in the order of the cells."""
        return np.flatnonzero(np.diff(self.row, prepend=-1))

    @cached_property
    def llm(self):
        """LLM of each cell, counted in that order, shape (C,)."""
        return np.repeat(np.arange(len(self.llm_starts)), np.diff(self.llm_starts, append=self.n_cells))

    @cached_property
    def llm_rows(self):
        """Row of the design of each of these LLMs, shape (n,)."""
        return self.row[self.llm_starts]

    @cached_property
    def llm_family(self):
        """Family of each of these LLMs, shape (n,), non-decreasing."""
        return self.family[self.llm_starts]

    @cached_property
    def n_llms(self):
        """LLMs of each family that have a cell, shape (L,)."""
        return np.bincount(self.llm_family, minlength=self.n_families)

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
        """Covariates of random slopes of every cell's LLM, (C, r)."""
        return self.random[self.row]

    @cached_property
    def censored(self):
        """Indices of the censored cells."""
        return np.flatnonzero(self.state)

    def with_design(self, design):
        """The same cells with other covariates."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Cells(**{**values, "design": np.ascontiguousarray(design, dtype=float)})

    def chosen(self, kept):
        """The cells where ``kept`` (C,) is true; families that keep any become 0, 1, ..., the designs stay whole."""
        names = ("row", "item", "log_y", "log1m_y", "state", "edge")
        values = {name: getattr(self, name)[kept] for name in names}
        left, family = np.unique(self.family[kept], return_inverse=True)
        return Cells(
            **values, family=family, design=self.design, n_items=self.n_items, n_families=len(left), random=self.random,
        )  # fmt: skip

    def part(self, first, last):
        """The cells of families ``first`` to ``last - 1``, which become 0, 1, ...; the designs stay whole."""
        where = slice(self.bounds[first], self.bounds[last])
        names = ("row", "item", "log_y", "log1m_y", "state", "edge")
        values = {name: getattr(self, name)[where] for name in names}
        family = self.family[where] - first
        return Cells(
            **values, family=family, design=self.design, n_items=self.n_items, n_families=last - first,
            random=self.random,
        )  # fmt: skip

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

    def llm_span(self, first, last):
        """The LLMs, in the order of the cells, of families ``first`` to ``last - 1``, as a slice."""
        ends = np.cumsum(self.n_llms)
        return slice(int(ends[first] - self.n_llms[first]), int(ends[last - 1]))

    def sum_by_family(self, values):
        """Sums of cell values (C, ...) over each family's cells, shape (L, ...)."""
        return np.add.reduceat(values, self.starts, axis=0)

    def sum_by_llm(self, values):
        """Sums of cell values (C, ...) over each LLM's cells, shape (n, ...)."""
        return np.add.reduceat(values, self.llm_starts, axis=0)

    def sum_of_llms(self, values):
        """Sums of LLMs' values (n, ...) over each family's LLMs, shape (L, ...)."""
        return np.add.reduceat(values, np.cumsum(self.n_llms) - self.n_llms, axis=0)
