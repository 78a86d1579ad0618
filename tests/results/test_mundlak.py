"""Mundlak's test against models with family means made by hand, and in worlds where the hypothesis does not hold."""

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls

LOADINGS, SLOPES = [[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.5], [0.6, 0.0]], [[0.5, 0.2], [0.2, 0.4]]
SKILLS = {"first": "a", "second": "b"}
SCALING = "log(params_b) + log(tokens_t)"
FIT = {"integration": "laplace", "starts": 1, "tolerance": 1e-6}
WORLD = {"precision": 150.0, "benchmarks": "abcde", "seed": 5}


def _table(difference, **options):
    """A table in which slopes on log size differ by (2,) between and within families."""
    plain = worlds.simulated(60, 4, LOADINGS, SLOPES, **WORLD)
    means = np.log(plain["params_b"]).groupby(plain["family"]).mean().to_numpy()
    shift = np.outer(means - means.mean(), difference)
    return worlds.simulated(60, 4, LOADINGS, SLOPES, shift=shift, **WORLD, **options)


def _fit(table, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={})
    return ls.LatentSkillModel(panel, SCALING, SKILLS, **options).fit(**FIT)


@pytest.fixture(scope="module")
def unrelated():
    return _fit(_table([0.0, 0.0]))


def test_it_is_the_test_of_means_made_by_hand(unrelated):
    table = _table([0.0, 0.0])
    for column in ("params_b", "tokens_t"):
        table[f"mean_{column}"] = np.log(table[column]).groupby(table["family"]).transform("mean")
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={})
    wide = ls.LatentSkillModel(panel, f"{SCALING} + mean_params_b + mean_tokens_t", SKILLS).fit(**FIT)
    test = unrelated.test_mundlak(method="all")
    assert test.df == 4
    assert_allclose(test.table.loc[("jointly", "lr"), "statistic"], wide.lr_test(unrelated).statistic, atol=1e-4)
    slopes = [f"slope[mean_{column},{skill}]" for skill in SKILLS for column in ("params_b", "tokens_t")]
    wald = wide.wald_test([f"{name} = 0" for name in slopes])
    assert_allclose(test.statistic, wald.statistic, rtol=1e-4)
    assert f"first {wide.params['slope[mean_params_b,first]']:+.2f}" in test.notes[0]


def test_true_hypotheses_stand_and_false_ones_fall(unrelated):
    assert unrelated.test_mundlak().pvalue > 0.05
    related = _fit(_table([0.8, 0.0])).test_mundlak("log(params_b)", "all")
    assert (related.table["p_value"] < 0.001).all()
    assert related.df == 2


def test_it_goes_with_further_effects_and_missing_covariates():
    table = _table([0.0, 0.0], llm_sd=0.5, benchmark_sd=0.3)
    table.loc[[3, 50], "tokens_t"] = np.nan
    fit = _fit(table, llm_effects=True, benchmark_effects="equal", random_slopes="log(params_b)")
    test = fit.test_mundlak("log(tokens_t)")
    assert test.df == 2
    assert 0.05 < test.pvalue <= 1.0


def test_columns_of_the_same_name_are_left_alone():
    table = _table([0.0, 0.0]).assign(family_mean_1=1.0)
    assert _fit(table).test_mundlak("log(params_b)").df == 2


def test_refusals(unrelated):
    with pytest.raises(ls.DataError, match="without constraints"):
        unrelated.model.fit(constraints="slope[log(params_b),first] = 0.5", **FIT).test_mundlak()
    with pytest.raises(ls.DataError, match="terms that vary within families"):
        unrelated.test_mundlak("params_b")
    with pytest.raises(ls.DataError, match=r"rotated\.source\.test_mundlak"):
        unrelated.rotate().test_mundlak()
