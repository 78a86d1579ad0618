"""Wald tests of linear hypotheses: statistics and tables by statsmodels."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.stats.contrast import ContrastResults

from ..errors import DataError
from ..parameters.restrictions import read_restriction

Hypothesis = str | Sequence[str] | np.ndarray | tuple[np.ndarray, Any]


def _results(params: pd.Series, cov: pd.DataFrame) -> LikelihoodModelResults:
    """Return a statsmodels results object that has parameters, covariance and names, and nothing else."""
    model = SimpleNamespace(data=SimpleNamespace(cov_names=list(params.index)), exog_names=list(params.index))
    results = LikelihoodModelResults(model, params.to_numpy(), normalized_cov_params=cov.to_numpy(), scale=1.0)
    results.df_resid = np.inf  # statsmodels reads it even for normal and chi-square tests
    return results


def _require(cov: pd.DataFrame, r: np.ndarray) -> None:
    """Refuse a test of parameters, those with non-zero entries in R, that have no covariance."""
    used = np.flatnonzero(np.any(r != 0, axis=0))
    if not np.isfinite(cov.to_numpy()[np.ix_(used, used)]).all():
        raise DataError(
            "This fit has no standard errors (see fit.summary()), so there is no Wald test. If none were asked for, "
            "fit again with information=True and a cov_type."
        )


def t_test(hypothesis: Hypothesis, params: pd.Series, cov: pd.DataFrame) -> ContrastResults:
    """Return one z test per restriction, a statsmodels ContrastResults."""
    restriction = read_restriction(hypothesis, list(params.index))
    _require(cov, restriction.matrix)
    test = _results(params, cov).t_test((restriction.matrix, restriction.value), use_t=False)
    test.c_names = list(restriction.labels)
    return test


def wald_test(hypothesis: Hypothesis, params: pd.Series, cov: pd.DataFrame) -> ContrastResults:
    """Return the joint chi-square test, a statsmodels ContrastResults."""
    restriction = read_restriction(hypothesis, list(params.index))
    _require(cov, restriction.matrix)
    return _results(params, cov).wald_test((restriction.matrix, restriction.value), use_f=False, scalar=True)
