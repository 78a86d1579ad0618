"""Which LLMs of a panel a model is fitted to, and what every model says of them."""


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
    """Which LLMs of a panel enter the likelihood or the loss.

    Attributes
    ----------
    keep : bool array (N,)
    no_covariate, no_score : tuples of str
        LLMs dropped for a missing covariate, and for having no score at all.
    """

    keep: np.ndarray
    no_covariate: tuple[str, ...]
    no_score: tuple[str, ...]


class PanelModel:
    """Labels of a model of a panel, and its copies; reads ``panel``, ``design``, ``rows`` and ``families``."""

    panel: BenchmarkPanel
    scaling: str
    design: Design
    rows: Rows
    families: np.ndarray

    KEPT_BY_COPIES: ClassVar[tuple[str, ...]] = ()
    """Names of cached properties that a copy takes over although they would be computed otherwise for it."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Options are attributes too, set from their description (``latentscale.models.options.keep_options``)."""

    def replaced(self, **changes: Any) -> Self:
        """A copy of the model with some attributes changed, the only way in which models are changed.

        What was computed from attributes is computed anew when it is asked for, but for ``KEPT_BY_COPIES``.
        """
        other = copy.copy(self)
        for name in dir(type(self)):
            if isinstance(getattr(type(self), name), cached_property):
                other.__dict__.pop(name, None)
        other.__dict__.update({name: getattr(self, name) for name in self.KEPT_BY_COPIES}, **changes)
        return other

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Benchmark names, tuple (J,)."""
        return self.panel.benchmarks

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the covariates x, tuple (p,)."""
        return self.design.terms

    @property
    def llms(self) -> pd.Index:
        """Names of the LLMs that are fitted to, Index (n,)."""
        return self.panel.llms[self.rows.keep]

    @property
    def n_families(self) -> int:
        """Families among them."""
        return len(self.families)
