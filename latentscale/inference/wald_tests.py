"""Wald tests of linear hypotheses: statistics and tables by statsmodels."""

from types import SimpleNamespace

import numpy as np
from statsmodels.base.model import LikelihoodModelResults

from ..errors import DataError
from ..parameters.restrictions import read_restriction


def _results(params, cov):
    """A statsmodels results object that knows parameters, covariance and names, and nothing else."""
    model = SimpleNamespace(data=SimpleNamespace(cov_names=list(params.index)), exog_names=list(params.index))
    results = LikelihoodModelResults(
        model, params.to_numpy(), normalized_cov_params=cov.to_numpy(), scale=1.0
    )
    results.df_resid = np.inf  # statsmodels reads it even for normal and chi-square tests
    return results


def _require(cov, r):
    used = np.flatnonzero(np.any(r != 0, axis=0))
    if not np.isfinite(cov.to_numpy()[np.ix_(used, used)]).all():
        raise DataError(
            "This fit has no standard errors (see fit.summary()), so there is no Wald test. If none were asked for, "
            "fit again with information=True and a cov_type."
        )


def t_test(hypothesis, params, cov):
    """One z test per restriction: statsmodels ContrastResults."""
    restriction = read_restriction(hypothesis, list(params.index))
    _require(cov, restriction.matrix)
    test = _results(params, cov).t_test((restriction.matrix, restriction.value), use_t=False)
    test.c_names = list(restriction.labels)
    return test


def wald_test(hypothesis, params, cov):
    """Joint chi-square test: statsmodels ContrastResults."""
    restriction = read_restriction(hypothesis, list(params.index))
    _require(cov, restriction.matrix)
    return _results(params, cov).wald_test((restriction.matrix, restriction.value), use_f=False, scalar=True)
