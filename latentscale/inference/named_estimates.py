"""What every set of named estimates with a covariance offers: standard errors, z statistics, intervals, Wald tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from ..checks import check_alpha
from ..immutable import Immutable
from .wald_intervals import wald_intervals
from .wald_tests import t_test, wald_test

if TYPE_CHECKING:
    from ..parameters.named import Parameters


class NamedEstimates(Immutable):
    """Estimates by name, and the inference that rests on their covariance alone.

    A subclass has ``parameters`` (a ``latentscale.parameters.named.Parameters``, which knows the kind of each parameter
    and with it the scale of its interval), ``params`` (a Series by name) and ``_covariance_matrix`` (an array, NaN
    where there is none).
    """

    if TYPE_CHECKING:  # what a subclass has; definitions at run time would stand in the way of its attributes

        @property
        def parameters(self) -> Parameters: ...

        @property
        def params(self) -> pd.Series: ...

        @property
        def _covariance_matrix(self) -> np.ndarray: ...

    @property
    def _names(self):
        return list(self.parameters.names)

    @property
    def _spare(self):
        """Degrees of freedom of the t law of each estimate over its standard error, (P,); infinite: a normal law."""
        return np.full(len(self.parameters), np.inf)

    def cov_params(self):
        """Covariance of ``params``, DataFrame (P, P); NaN where it does not exist."""
        return pd.DataFrame(self._covariance_matrix, index=self._names, columns=self._names)

    @property
    def bse(self):
        """Standard errors, Series (P,); NaN where they do not exist."""
        # restricted parameters have variance zero up to rounding
        variance = np.maximum(np.diag(self._covariance_matrix), 0.0)
        return pd.Series(np.sqrt(variance), index=self._names, name="std_err")

    @property
    def tvalues(self):
        """Wald z statistics against zero, Series (P,)."""
        with np.errstate(divide="ignore", invalid="ignore"):  # what is held at a value has no standard error
            return (self.params / self.bse).rename("z")

    @property
    def pvalues(self):
        """Two-sided normal p-values of ``tvalues``, Series (P,)."""
        size, spare = np.abs(self.tvalues.to_numpy()), self._spare
        tails = np.where(np.isinf(spare), stats.norm.sf(size), stats.t.sf(size, np.where(np.isinf(spare), 1.0, spare)))
        return pd.Series(2.0 * tails, index=self._names, name="p_value")

    def conf_int(self, alpha=0.05):
        """Wald intervals, DataFrame (P, 2) with columns ``lower`` and ``upper``.

        Endpoints are computed on log phi, Fisher's z of correlations, log of variances and the logit of asymptotes,
        and carried back.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        """
        check_alpha(alpha)
        spare, normal = self._spare, stats.norm.isf(0.5 * alpha)
        by_t = stats.t.isf(0.5 * alpha, np.where(np.isinf(spare), 1.0, spare))
        return wald_intervals(self.parameters, self.params, self.bse, np.where(np.isinf(spare), normal, by_t))

    def t_test(self, hypothesis):
        """Wald tests, one per restriction; a statsmodels ContrastResults.

        Parameters
        ----------
        hypothesis : str, list of str, or array (q, P)
            Such as ``"slope[log(params_b),math] = slope[log(tokens_t),math]"``.
        """
        return t_test(hypothesis, self.params, self.cov_params())

    def wald_test(self, hypothesis):
        """Joint Wald test (chi-square); ``"a = b = 0"`` is two restrictions. A statsmodels ContrastResults."""
        return wald_test(hypothesis, self.params, self.cov_params())

    def parameter_table(self, alpha=0.05):
        """One row per parameter: estimate, std_err, z, p_value, ci_lower, ci_upper."""
        interval = self.conf_int(alpha).set_axis(["ci_lower", "ci_upper"], axis=1)
        columns = [self.params, self.bse, self.tvalues, self.pvalues, interval]
        return pd.concat(columns, axis=1).rename_axis("parameter")
