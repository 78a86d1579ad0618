"""Goodness of fit: what is wrong is found by name, what is right is not rejected, and p-values are what they say."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose
from scipy import stats

import latentscale as ls
from latentscale.inference import misfit_statistics as misfit

COVARIATES = {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 3.0)}
SCALING = "log(params_b) + log(tokens_t)"
FIT = {"integration": "laplace", "starts": 1}


def _fit(table, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={})
    return ls.LatentSkillModel(panel, SCALING, {"one": "a"}, **options).fit(**FIT)


def _world(seed=1, families=40, each=4, **effects):
    return worlds.simulated(
        families, each, [[0.8], [0.7], [0.6], [0.6], [0.5]], [[0.4], [0.2]], COVARIATES, precision=150.0, seed=seed,
        **effects,
    )  # fmt: skip


@pytest.fixture(scope="module")
def right():
    return _fit(_world()).goodness_of_fit(n=159, seed=1)


def test_the_true_model_is_not_rejected(right):
    assert right.fits
    assert right.rejected == ()
    assert "do not reject the model" in right.sentence
    assert (right.table["p_holm"] >= right.table["p"]).all()
    assert right.n == 159


@pytest.mark.parametrize(
    ("effects", "aspect", "where", "answer"),
    [
        ({"llm_sd": 0.8}, "benchmarks within an LLM", " and ", "llm_effects=True"),
        ({"benchmark_sd": [0.0, 0.8, 0.0, 0.0, 0.0]}, "one benchmark within a family", "b (z", "benchmark_effects"),
        ({"slope_sd": 0.5}, "slopes that vary between families", "log(params_b) (z", "random_slopes"),
    ],
)
def test_what_is_absent_is_named(effects, aspect, where, answer):
    found = _fit(_world(**effects)).goodness_of_fit(n=139)
    assert not found.fits
    assert aspect in found.rejected
    assert where in found.table.loc[aspect, "where"]
    assert answer in found.table.loc[aspect, "answer"]
    assert found.rejected[0] in found.sentence
    assert "What answers it" in found.sentence
    assert "REJECTED " + aspect in str(found)


def test_families_of_one_group_are_found_alike():
    """Families of a base family share their efficiency, which the model does not know of."""
    base = np.repeat(np.arange(20), 3)
    shift = np.random.default_rng(5).standard_normal((20, 1))[base] * 1.5
    table = _world(families=60, each=3, shift=shift)
    table["base"] = [f"b{base[int(name[1:])]}" for name in table["family"]]
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={}, groups="base")
    found = ls.LatentSkillModel(panel, SCALING, {"one": "a"}).fit(**FIT).goodness_of_fit(n=159)
    assert found.rejected == ("families of one group",)
    assert "nested=True" in found.sentence
    nested = ls.LatentSkillModel(panel, SCALING, {"one": "a"}, nested=True).fit(**FIT)
    assert nested.params["group_share"] > 0.4
    assert nested.goodness_of_fit(n=139).fits


def test_a_statistic_of_ones_own():
    fit = _fit(_world())
    found = fit.goodness_of_fit(n=159, statistic=lambda table: table["a"].std())
    row = found.table.loc["your statistic"]
    assert row["p"] > 0.01
    far = fit.goodness_of_fit(n=159, statistic=lambda table: float(len(set(table["a"].round(1)) & {0.123})) + 1e-9)
    assert far.table.loc["your statistic", "p"] == 1.0  # one and the same for all tables
    with pytest.raises(ls.DataError, match="finite number"):
        fit.goodness_of_fit(n=19, statistic=lambda table: np.nan)


def test_the_same_seed_gives_the_same_numbers_on_any_number_of_processes(right):
    again = _fit(_world()).goodness_of_fit(n=159, seed=1, n_jobs=2)
    pd.testing.assert_frame_equal(again.table, right.table)
    other = _fit(_world()).goodness_of_fit(n=159, seed=2)
    assert not other.simulated.equals(right.simulated)


def test_too_few_tables_are_told():
    with pytest.warns(UserWarning, match="ask for n=120 or more"):
        _fit(_world()).goodness_of_fit(n=19)
    with pytest.raises(ls.DataError, match="n is a whole number, at least 19"):
        _fit(_world()).goodness_of_fit(n=5)


def test_a_fit_without_information_is_judged_conservatively():
    panel = ls.BenchmarkPanel(_world(), benchmarks=list("abcde"), chance={})
    model = ls.LatentSkillModel(panel, SCALING, {"one": "a"})
    found = model.fit(integration="laplace", starts=1, information=False, cov_type="none").goodness_of_fit(n=139)
    assert not found.refitted
    assert "not fitted again" in str(found)
    assert misfit.Aspect.__name__ == "Aspect"
    assert "information-matrix identity" not in found.table.index


def test_tables_pictures_and_html(right):
    assert list(right.summary_frame().columns[:4]) == ["aspect", "statistic", "mean", "upper"]
    parts = right.parts.loc["benchmarks within an LLM"]
    assert len(parts) == 10
    assert_allclose(parts["z"], (parts["value"] - parts["mean"]) / parts["sd"])
    axes = right.plot()
    assert [label.get_text() for label in axes.get_yticklabels()][::-1] == list(right.table.index)
    assert "<pre>" in right._repr_html_()


# --- the statistics ---------------------------------------------------------------------------------------------------


def _residuals(rng, n=400, j=4):
    values = rng.standard_normal((n, j))
    family = np.repeat(np.arange(n // 4), 4)
    efficiency = {"one": np.zeros(n // 4)}
    x = {"size": rng.standard_normal(n), "type": np.repeat(rng.standard_normal(n // 4), 4)}
    fitted = rng.uniform(size=(n, j))
    return misfit.ResidualTable(misfit.standardised(values), fitted, tuple("abcd")[:j], family, x, efficiency)


def test_parts_are_about_standard_for_independent_residuals():
    rng = np.random.default_rng(0)
    many = [misfit.within_llm(_residuals(rng)).parts["a and b"] for _ in range(300)]
    assert stats.kstest(many, "norm").pvalue > 1e-3
    inside = [misfit.within_family(_residuals(rng)).parts["a"] for _ in range(300)]
    assert stats.kstest(inside, "norm").pvalue > 1e-3


def test_correlations_are_those_of_numpy_with_missing_scores():
    rng = np.random.default_rng(1)
    table = _residuals(rng)
    expected = np.corrcoef(table.values.T)[0, 1] * np.sqrt(400)
    assert_allclose(misfit.within_llm(table).parts["a and b"], expected, rtol=1e-9)
    table.values[:395, 1] = np.nan  # too few are left
    assert "a and b" not in misfit.within_llm(table).parts


def test_covariates_that_are_constant_within_families_have_no_slopes_there():
    assert list(misfit.varying_slopes(_residuals(np.random.default_rng(2))).parts) == ["size"]


def test_products_of_covariates_are_left_out():
    x = np.random.default_rng(3).standard_normal((20, 3))
    assert list(misfit.covariates_of(x, ["a", "b", "a:b"])) == ["a", "b"]
