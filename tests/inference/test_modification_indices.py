"""Modification indices: score tests for freeing fixed zeros."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls

FREE = np.nan


def test_index_is_about_the_gain_of_freeing(forty, over_fit, forty_fit):
    """loading[e,second] is the one zero whose freeing leaves the model identified: the anchored form."""
    table = over_fit.score_test()
    row = table.loc["loading[e,second]"]
    gain = 2.0 * (forty_fit.llf - over_fit.llf)
    assert_allclose(row["statistic"], gain, rtol=0.25, atol=0.05)
    change = forty_fit.params["loading[e,second]"]
    assert np.sign(row["expected_change"]) == np.sign(change)
    assert row["df"] == 1
    assert row["note"] == ""


def test_a_wrong_zero_is_found(forty):
    """The zero of d on the first skill is false; freeing it or b's, which a rotation exchanges, gains the same."""
    pattern = [[FREE, 0.0], [0.0, FREE], [FREE, FREE], [0.0, FREE], [FREE, 0.0]]
    frame = pd.DataFrame(pattern, index=list("abcde"), columns=["first", "second"])
    fit = ls.LatentSkillModel(forty, skills=ls.Confirmatory(frame)).fit(integration="laplace", starts=2)
    table = fit.score_test().dropna(subset="statistic")
    equivalent = table.loc[["loading[b,first]", "loading[d,first]"]]
    assert set(table["statistic"].nlargest(2).index) == set(equivalent.index)
    assert (equivalent["p_value"] < 0.01).all()
    assert_allclose(equivalent["statistic"].iloc[0], equivalent["statistic"].iloc[1], rtol=1e-6)


def test_nothing_can_be_freed_from_a_just_identified_form(forty_fit):
    table = forty_fit.score_test()
    assert list(table.index) == ["loading[a,second]", "loading[b,first]"]
    assert table["statistic"].isna().all()
    assert table["note"].str.contains("not identified").all()


def test_fixed_correlations_can_be_freed(forty, forty_fit):
    form = ls.Anchored({"first": "a", "second": "b"}, correlated=False)
    fit = ls.LatentSkillModel(forty, skills=form).fit(integration="laplace", starts=2)
    row = fit.score_test().loc["corr[first,second]"] if "corr[first,second]" in fit.score_test().index else None
    assert row is not None
    assert row["p_value"] < 0.05
    assert row["expected_change"] > 0.0
    assert forty_fit.params["corr[first,second]"] > 0.0


def test_nothing_fixed_is_refused(forty):
    fit = ls.LatentSkillModel(forty, "log(params_b)", ls.Anchored({"first": "a"})).fit(integration="laplace", starts=1)
    with pytest.raises(ls.DataError, match="nothing to free"):
        fit.score_test()
