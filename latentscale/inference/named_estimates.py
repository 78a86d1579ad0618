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
    from statsmodels.stats.contrast import ContrastResults

    from ..parameters.named import Parameters
    from .wald_tests import Hypothesis


class NamedEstimates(Immutable):
    """Estimates by name, and the inference that needs nothing but their covariance.

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
    def _names(self) -> list[str]:
        return list(self.parameters.names)

    @property
    def _degrees_of_freedom(self) -> np.ndarray:
        """Degrees of freedom (P,) of the t distribution of each estimate over its standard error.

        Infinite for a normal distribution.
        """
        return np.full(len(self.parameters), np.inf)

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance of ``params``, DataFrame (P, P); NaN where it does not exist."""
        return pd.DataFrame(self._covariance_matrix, index=self._names, columns=self._names)

    @property
    def bse(self) -> pd.Series:
        """Standard errors, Series (P,); NaN where they do not exist."""
        # the variance of a parameter that a restriction fixes is zero up to rounding
        variance = np.maximum(np.diag(self._covariance_matrix), 0.0)
        return pd.Series(np.sqrt(variance), index=self._names, name="std_err")

    @property
    def tvalues(self) -> pd.Series:
        """Wald z statistics against zero, Series (P,)."""
        with np.errstate(divide="ignore", invalid="ignore"):  # the standard error of a fixed parameter is zero
            return (self.params / self.bse).rename("z")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided normal p-values of ``tvalues``, Series (P,)."""
        size, df = np.abs(self.tvalues.to_numpy()), self._degrees_of_freedom
        tails = np.where(np.isinf(df), stats.norm.sf(size), stats.t.sf(size, np.where(np.isinf(df), 1.0, df)))
        return pd.Series(2.0 * tails, index=self._names, name="p_value")

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return Wald intervals, DataFrame (P, 2) with columns ``lower`` and ``upper``.

        Ends are computed for the logarithm of precisions and variances, Fisher's z of correlations and the logit of
        asymptotes, and transformed back.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        """
        check_alpha(alpha)
        df, normal = self._degrees_of_freedom, stats.norm.isf(0.5 * alpha)
        by_t = stats.t.isf(0.5 * alpha, np.where(np.isinf(df), 1.0, df))
        return wald_intervals(self.parameters, self.params, self.bse, np.where(np.isinf(df), normal, by_t))

    def t_test(self, hypothesis: Hypothesis) -> ContrastResults:
        """Return Wald tests, one per restriction, as a statsmodels ContrastResults.

        Parameters
        ----------
        hypothesis : str, list of str, or array (q, P)
            Such as ``"slope[log(params_b),math] = slope[log(tokens_t),math]"``.
        """
        return t_test(hypothesis, self.params, self.cov_params())

    def wald_test(self, hypothesis: Hypothesis) -> ContrastResults:
        """Return the joint Wald test (chi-square), a ContrastResults; ``"a = b = 0"`` is two restrictions."""
        return wald_test(hypothesis, self.params, self.cov_params())

    def parameter_table(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a row per parameter: estimate, std_err, z, p_value, ci_lower, ci_upper."""
        interval = self.conf_int(alpha).set_axis(["ci_lower", "ci_upper"], axis=1)
        columns = [self.params, self.bse, self.tvalues, self.pvalues, interval]
        return pd.concat(columns, axis=1).rename_axis("parameter")
