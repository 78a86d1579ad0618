"""Which fits a likelihood-ratio test accepts, and what it says of the others."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.inference.likelihood_ratio import embed

LAPLACE = {"integration": "laplace", "starts": 2, "tolerance": 1e-6}


@pytest.fixture(scope="module")
def uncorrelated(forty):
    form = ls.Anchored({"first": "a", "second": "b"}, correlated=False)
    return ls.LatentSkillModel(forty, skills=form).fit(**LAPLACE)


def test_uncorrelated_skills_within_correlated_ones(forty_fit, uncorrelated):
    test = forty_fit.lr_test(uncorrelated)
    assert test.df == 1
    assert_allclose(test.statistic, 2.0 * (forty_fit.llf - uncorrelated.llf), rtol=1e-9)
    constrained = forty_fit.lr_test("corr[first,second] = 0")
    assert_allclose(constrained.statistic, test.statistic, rtol=1e-4)


def test_the_smaller_law_is_said_exactly_in_other_coordinates(forty, forty_fit, over_fit):
    """An over-identified pattern lies within every just-identified form: echelon, anchored, other anchors."""
    for form in [ls.Echelon(["c", "d"]), ls.Anchored({"x": "c", "y": "b"}), forty_fit.model.form]:
        larger = ls.LatentSkillModel(forty, skills=form).fit(**LAPLACE)
        params = embed(over_fit, larger)
        assert_allclose(larger.model.loglike(params, "laplace"), over_fit.llf, rtol=1e-9)
        test = larger.lr_test(over_fit)
        assert test.df == 1
        assert_allclose(test.statistic, 2.0 * (forty_fit.llf - over_fit.llf), rtol=1e-4, atol=1e-5)


def test_covariates_in_other_units_are_spanned(forty, forty_fit):
    smaller = ls.LatentSkillModel(forty, "log(1000 * params_b) + log(tokens_t)", forty_fit.model.form).fit(**LAPLACE)
    params = embed(smaller, forty_fit)
    assert_allclose(forty_fit.model.loglike(params, "laplace"), smaller.llf, rtol=1e-9)


def test_refusals(forty, forty_fit, uncorrelated, over_fit):
    def fitted(panel=forty, scaling=None, skills=None, **options):
        scaling = {} if scaling is None else {"scaling": scaling}
        model = ls.LatentSkillModel(panel, skills=skills or forty_fit.model.form, **scaling, **options)
        return model.fit(integration="laplace", starts=1)

    fewer = forty.subset(np.arange(forty.n_llms) > 2)
    table = forty.to_frame()
    table.loc[0, "c"] = 0.5
    moved = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})
    for smaller, message in [
        (fitted(fewer), "LLMs"),
        (fitted(moved), "different scores"),
        (fitted(skills=ls.Anchored({"first": "a"})), "skills"),
        (fitted(scaling="params_b"), "does not contain"),
        (fitted(asymptotes="lower"), "asymptotes"),
        (fitted(random_slopes="log(params_b)"), "random slopes on"),
    ]:
        with pytest.raises(ls.DataError, match=message):
            forty_fit.lr_test(smaller)
    with pytest.raises(ls.DataError, match="larger model"):
        forty_fit.lr_test(forty_fit)
    with pytest.raises(ls.DataError, match=r"Not nested|larger model"):
        uncorrelated.lr_test(over_fit)
    by_quadrature = forty_fit.model.fit(integration="quadrature", points=3, starts=1)
    with pytest.raises(ls.DataError, match="rules"):
        by_quadrature.lr_test(uncorrelated)


def test_a_larger_model_that_missed_its_optimum_is_told(forty_fit, uncorrelated):
    start = forty_fit.params.copy()
    start[start.index.str.startswith("slope[")] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.ConvergenceWarning)  # this fit is meant to stop early
        poor = forty_fit.model.fit(
            integration="laplace", starts=0, start_params=start, max_iterations=1, max_rounds=1
        )
    assert poor.llf < uncorrelated.llf
    with pytest.warns(ls.ConvergenceWarning) as caught:
        test = poor.lr_test(uncorrelated)
    assert "The larger model's fit did not converge" in str(caught[0].message)
    assert "more starts" in str(caught[-1].message)
    assert len(caught) == 2
    assert test.statistic == 0.0


def test_frames_in_a_sentence(forty_fit, uncorrelated):
    test = forty_fit.lr_test(uncorrelated)
    assert isinstance(test.summary_frame(), pd.DataFrame)
    assert "1 degree of freedom" in test.sentence
