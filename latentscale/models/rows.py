"""Which LLMs of a panel a model is fitted to, and what every model says of them."""

from dataclasses import dataclass

import numpy as np


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
    no_covariate: tuple
    no_score: tuple


class PanelModel:
    """Labels of a model of a panel; reads ``panel``, ``design``, ``rows`` and ``families``."""

    @property
    def benchmarks(self):
        """Benchmark names, tuple (J,)."""
        return self.panel.benchmarks

    @property
    def terms(self):
        """Names of the covariates x, tuple (p,)."""
        return self.design.terms

    @property
    def llms(self):
        """Names of the LLMs that are fitted to, Index (n,)."""
        return self.panel.llms[self.rows.keep]

    @property
    def n_families(self):
        """Families among them."""
        return len(self.families)
