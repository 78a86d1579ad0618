"""Which LLMs of a panel a model is fitted to, and what all models of a panel have in common."""


from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from ..panel import BenchmarkPanel

if TYPE_CHECKING:
    from ..components.scaling import Design



@dataclass(frozen=True)
class Rows:
    """Which of the N LLMs of a panel enter the likelihood or the loss, and why the others do not.

    Attributes
    ----------
    keep : bool array (N,)
        True for the LLMs that enter.
    no_covariate, no_score : tuples of str
        Names of the LLMs that are left out because a covariate is missing, and because they have no score at all.
    """

    keep: np.ndarray
    no_covariate: tuple[str, ...]
    no_score: tuple[str, ...]


class PanelModel:
    """What every model of a panel offers: the labels of its data, and copies of it with changed attributes.

    A subclass sets ``panel``, ``design``, ``rows`` and ``families``, from which the labels are read.
    """

    panel: BenchmarkPanel
    scaling: str
    design: Design
    rows: Rows
    families: np.ndarray

    KEPT_BY_COPIES: ClassVar[tuple[str, ...]] = ()
    """Names of cached properties that a copy takes from the original, where its own data would give others."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Options are attributes too, which ``latentscale.models.options.keep_options`` sets."""

    def replaced(self, **changes: Any) -> Self:
        """Return a copy of the model with some attributes changed; nothing else ever changes a model.

        Cached properties are computed anew for the copy when they are asked for, except those in ``KEPT_BY_COPIES``.
        """
        changed = copy.copy(self)
        for name in dir(type(self)):
            if isinstance(getattr(type(self), name), cached_property):
                changed.__dict__.pop(name, None)
        changed.__dict__.update({name: getattr(self, name) for name in self.KEPT_BY_COPIES}, **changes)
        return changed

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Names of the benchmarks, tuple of J str."""
        return self.panel.benchmarks

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the covariates x, tuple of p str."""
        return self.design.terms

    @property
    def llms(self) -> pd.Index:
        """Names of the LLMs that the model is fitted to, Index (n,)."""
        return self.panel.llms[self.rows.keep]

    @property
    def n_families(self) -> int:
        """Number of families of the LLMs that the model is fitted to."""
        return len(self.families)
