"""Profile likelihood: intervals and the path."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import latentscale as ls

SLOPE, OTHER = "slope[log(params_b),first]", "slope[log(tokens_t),first]"
BOUND = stats.norm.isf(0.025) ** 2


@pytest.fixture(scope="module")
def slope(forty_fit):
    return forty_fit.profile(SLOPE)


@pytest.mark.slow
def test_ends_satisfy_the_likelihood_ratio_equation(forty_fit, slope):
    """Fitted again from scratch with the parameter held at each end, the deviance is the chi-square quantile."""
    for end in slope.interval:
        fit = forty_fit.model.fit(integration="laplace", starts=1, constraints=f"{SLOPE} = {float(end)!r}")
        assert_allclose(2.0 * (forty_fit.llf - fit.llf), BOUND, rtol=5e-3)
    assert slope.interval.lower < slope.estimate < slope.interval.upper
    assert slope.flags == ()


@pytest.mark.parametrize("name", [SLOPE, "precision[a]", "corr[first,second]", "loading[c,first]"])
def test_near_wald_where_the_likelihood_is_near_quadratic(forty_fit, name):
    found = forty_fit.profile(name, points=0)
    wald = forty_fit.conf_int().loc[name]
    length = wald["upper"] - wald["lower"]
    assert_allclose(found.interval, wald, atol=0.15 * length)
    # the path's own Wald interval may be taken on another scale, but is about the same
    assert_allclose(found.wald_interval, wald, atol=0.1 * length)


def test_linear_combination_is_the_parameter_of_a_recoded_model(forty, forty_fit):
    """With covariates log s and log s t, the slope on log s is the difference of the two slopes."""
    additive = ls.LatentSkillModel(forty, "log(params_b) + log(tokens_t)", forty_fit.model.form)
    recoded = ls.LatentSkillModel(forty, "log(params_b) + log(params_b * tokens_t)", forty_fit.model.form)
    options = {"integration": "laplace", "starts": 1, "tolerance": 1e-5}
    combination = additive.fit(**options).profile(f"{SLOPE} - {OTHER}", points=0)
    single = recoded.fit(**options).profile(SLOPE, points=0)
    assert_allclose(combination.estimate, single.estimate, rtol=1e-4, atol=1e-5)
    assert_allclose(combination.interval, single.interval, rtol=2e-3, atol=1e-3)


@pytest.mark.slow
def test_intervals_of_several_do_not_depend_on_jobs(forty_fit, slope):
    one = forty_fit.conf_int(method="profile", parameters=[SLOPE, "precision[a]"])
    two = forty_fit.conf_int(method="profile", parameters=[SLOPE, "precision[a]"], n_jobs=2)
    assert_allclose(one, two, rtol=0.0, atol=0.0)
    assert list(one.columns) == ["lower", "upper"]
    assert_allclose(one.loc[SLOPE], slope.interval, atol=2e-3)


@pytest.mark.slow
def test_restricted_fit_keeps_its_restriction(forty_fit):
    fit = forty_fit.model.fit(integration="laplace", starts=1, tolerance=1e-5, constraints=f"{SLOPE} = {OTHER}")
    found = fit.profile(SLOPE, points=2)
    assert_allclose(found.params[SLOPE], found.params[OTHER], atol=1e-8)
    both = fit.profile(OTHER, points=0)
    assert_allclose(found.interval, both.interval, rtol=1e-2, atol=1e-3)


def test_zero_is_the_lower_end_of_a_random_slope_that_may_not_be_there(forty, forty_fit):
    with_slopes = ls.LatentSkillModel(forty, skills=forty_fit.model.form, random_slopes="log(params_b)")
    name = "slope_sd[log(params_b),first]"
    params = dict(forty_fit.params) | {name: 0.1, name.replace("first", "second"): 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.BoundaryWarning)  # it may lie on the boundary, or not
        fit = with_slopes.fit(integration="laplace", starts=0, start_params=params, tolerance=1e-4)
    found = fit.profile(name, points=0)
    assert found.interval.lower == 0.0
    assert found.interval.upper > 0.0
    assert found.flags


def test_a_fit_that_missed_its_optimum_is_told(forty_fit):
    start = forty_fit.params.copy()
    start[SLOPE] += 0.2
    with pytest.warns(ls.ConvergenceWarning):
        poor = forty_fit.model.fit(
            integration="laplace", starts=0, start_params=start, max_iterations=2, max_rounds=1
        )
    if poor.llf < forty_fit.llf - 0.01:
        with pytest.warns(ls.ConvergenceWarning):
            found = poor.profile(SLOPE)
        assert found.better is not None or found.flags


def test_errors(forty_fit):
    with pytest.raises(ls.DataError):
        forty_fit.profile("slope[nothing]")
    with pytest.raises(ls.DataError):
        forty_fit.profile(SLOPE, alpha=2.0)
    with pytest.raises(ls.DataError):
        forty_fit.profile(np.zeros(forty_fit.df_model))
    with pytest.raises(ls.DataError, match="method"):
        forty_fit.conf_int(method="exact")


def test_picture_shows_profile_and_quadratic(slope):
    axes = slope.plot()
    assert len(axes.lines) >= 2
    assert "log(params_b)" in axes.get_xlabel() + axes.get_title()
    plt.close(axes.figure)
