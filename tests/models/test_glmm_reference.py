"""The univariate special case against glmmTMB and against exact quadrature in R (tests/reference/beta_glmm_bbh.R)."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import latentscale as ls

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "beta_glmm_bbh.json").read_text())


def _as_in_r(fit):
    """Estimates and standard errors in R's coordinates: slopes times loading, log precision, log loading."""
    p = fit.params.to_numpy()
    loading, intercept, slopes, precision = p[0], p[1], p[2:5], p[5]
    estimate = np.array([intercept, *(loading * slopes), np.log(precision), np.log(loading)])
    jacobian = np.zeros((6, 6))
    jacobian[0, 1] = 1.0
    jacobian[1:4, 0], jacobian[[1, 2, 3], [2, 3, 4]] = slopes, loading
    # R puts log size first as well: intercept, log params, log tokens, interaction
    jacobian[4, 5], jacobian[5, 0] = 1.0 / precision, 1.0 / loading
    return estimate, np.sqrt(np.diag(jacobian @ fit.cov_params().to_numpy() @ jacobian.T))


@pytest.mark.parametrize(("integration", "key"), [("laplace", "laplace"), ("quadrature", "exact")])
def test_univariate_case_equals_r(integration, key):
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["bbh"], chance={})
    model = ls.LatentSkillModel(panel, skills=ls.Anchored({"skill": "bbh"}))
    fit = model.fit(integration=integration, starts=2, tolerance=1e-7, points=31)
    reference = REFERENCE[key]
    assert (fit.n_llms, fit.n_families) == (REFERENCE["n"], REFERENCE["n_families"])
    estimate, se = _as_in_r(fit)
    # required: 1e-6 and 1e-4; the R numbers themselves are good to about 1e-8
    assert_allclose(fit.llf, reference["loglik"], rtol=1e-9)
    assert_allclose(estimate, reference["estimate"], rtol=1e-7)
    assert_allclose(se, reference["se"], rtol=1e-6)
