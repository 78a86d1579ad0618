"""What must not change the log-likelihood: order of rows, families, benchmarks, skills; coding of covariates; form."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls

ANCHORS = {"first": "a", "second": "b"}
FIT = {"integration": "quadrature", "points": 7, "starts": 2, "tolerance": 1e-6}


@pytest.fixture(scope="module")
def fit(panel):
    return ls.LatentSkillModel(panel, skills=ls.Anchored(ANCHORS)).fit(**FIT)


def _panel(table, benchmarks="abcde"):
    return ls.BenchmarkPanel(table, benchmarks=list(benchmarks), chance={"a": 0.0})


@pytest.mark.parametrize("integration", ["laplace", "quadrature", "monte_carlo"])
def test_order_of_rows_families_and_benchmarks(fit, table, integration):
    shuffled = table.sample(frac=1.0, random_state=3).reset_index(drop=True)
    model = ls.LatentSkillModel(_panel(shuffled, "dbeca"), skills=ls.Anchored(ANCHORS))
    same = fit.model.loglike(fit.params, integration)
    assert_allclose(model.loglike(fit.params.to_dict(), integration), same, rtol=1e-12)


@pytest.mark.parametrize("integration", ["laplace", "quadrature"])
def test_order_of_skills(fit, panel, integration):
    model = ls.LatentSkillModel(panel, skills=ls.Anchored({"second": "b", "first": "a"}))
    renamed = fit.params.rename({"corr[first,second]": "corr[second,first]"})
    # tensor grids are laid along Cholesky axes, so a 7-point grid sees the order in its error, not in its limit
    options = {"points": 41} if integration == "quadrature" else {}
    same = fit.model.loglike(fit.params, integration, **options)
    assert_allclose(model.loglike(renamed, integration, **options), same, rtol=1e-10)


def test_renaming_families_changes_nothing_but_draws(fit, table):
    other = table.assign(family=table["family"].map(lambda name: f"z{99 - int(name[1:]):02d}"))
    model = ls.LatentSkillModel(_panel(other), skills=ls.Anchored(ANCHORS))
    for integration in ("laplace", "quadrature"):
        same = fit.model.loglike(fit.params, integration)
        assert_allclose(model.loglike(fit.params, integration), same, rtol=1e-12)


def test_rescaled_and_recentred_covariates_transform_exactly(fit, table):
    """In millions of parameters and billions of tokens, log s = log s' - log 1000: slopes and intercepts follow."""
    shift = np.log(1000.0)
    other = table.assign(params_b=1000.0 * table["params_b"], tokens_t=1000.0 * table["tokens_t"])
    refit = ls.LatentSkillModel(_panel(other), skills=ls.Anchored(ANCHORS)).fit(**FIT)
    assert_allclose(refit.llf, fit.llf, rtol=1e-10)
    old, new = fit.slopes.to_numpy(), refit.slopes.to_numpy()
    # x1' = x1 + shift, x2' = x2 + shift, x1' x2' = x1 x2 + shift (x1 + x2) + shift^2
    assert_allclose(new[2], old[2], rtol=1e-5, atol=1e-6)
    assert_allclose(new[0] + shift * new[2], old[0], rtol=1e-5, atol=1e-6)
    assert_allclose(new[1] + shift * new[2], old[1], rtol=1e-5, atol=1e-6)
    at_zero = np.array([shift, shift, shift**2]) @ new
    assert_allclose(refit.intercepts + refit.loadings @ at_zero, fit.intercepts, rtol=1e-5, atol=1e-6)
    assert_allclose(refit.predict(), fit.predict(), rtol=1e-6)
    # the interaction's standard error is the same number; a main effect's is that of the combination
    assert_allclose(refit.bse.filter(like=":"), fit.bse.filter(like=":"), rtol=1e-4)
    name = "slope[log(params_b),first]"
    moved = refit.t_test(f"{name} + {float(shift)!r} * slope[log(params_b):log(tokens_t),first] = 0")
    assert_allclose(np.squeeze(moved.sd), fit.bse[name], rtol=1e-4)


def test_standard_errors_do_not_depend_on_internal_scaling(fit):
    """The delta method from whitened coordinates equals the inverse Hessian in the user's own units."""
    hessian = fit.model.hessian(fit.params, "quadrature", points=7)
    direct = np.sqrt(np.diag(np.linalg.inv(-hessian.to_numpy())))
    assert_allclose(fit.bse, direct, rtol=1e-4)  # the gradient left at the optimum is not exactly zero


@pytest.mark.slow
def test_just_identified_forms_reach_the_same_maximum(fit, panel):
    echelon = ls.LatentSkillModel(panel, skills=ls.Echelon(["b", "a"])).fit(**FIT)
    pattern = pd.DataFrame({"first": [np.nan, 0.0], "second": [0.0, np.nan]}, index=["c", "d"])
    confirmatory = ls.LatentSkillModel(panel, skills=ls.Confirmatory(pattern)).fit(**FIT)
    marker = pd.DataFrame({"first": [1.0, 0.0], "second": [0.0, 1.0]}, index=["a", "b"])
    marked = ls.LatentSkillModel(panel, skills=ls.Confirmatory(marker)).fit(**FIT)
    for other in (echelon, confirmatory, marked):
        # the grid's axes follow the form, so that equality is up to the grid's error at 7 points
        assert_allclose(other.llf, fit.llf, atol=5e-3)
        assert other.df_model == fit.df_model
        assert_allclose(other.predict(), fit.predict(), atol=2e-4)
    laplace = [
        ls.LatentSkillModel(panel, skills=form).fit(integration="laplace", starts=2, tolerance=1e-5).llf
        for form in (ls.Anchored(ANCHORS), ls.Echelon(["b", "a"]), ls.Confirmatory(pattern), ls.Confirmatory(marker))
    ]
    assert_allclose(laplace, laplace[0], rtol=1e-10)  # Laplace has no grid: equality is exact
    assert marked.loadings.loc["a", "first"] == 1.0
    assert marked.skill_cov.loc["first", "first"] != 1.0


def test_restricted_forms_fit_worse(fit, panel):
    model = ls.LatentSkillModel(panel, skills=ls.Anchored(ANCHORS, correlated=False))
    restricted = model.fit(**FIT)
    assert restricted.df_model == fit.df_model - 1
    assert restricted.llf < fit.llf + 5e-3
    assert restricted.skill_corr.loc["first", "second"] == 0.0
