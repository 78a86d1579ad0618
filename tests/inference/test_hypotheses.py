"""Tests of hypotheses: Wald, likelihood ratio, score, and the named tests."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import latentscale as ls
from latentscale.inference.hypotheses import tests_of as statistics_of
from latentscale.parameters.restrictions import read_restriction

PRODUCT = "log(params_b):log(tokens_t)"
SIZE, TOKENS = "log(params_b)", "log(tokens_t)"


def test_restricting_a_slope_to_zero_is_leaving_its_term_out(forty, forty_fit):
    """Two routes to the likelihood ratio: restricted refit, and the fit of a formula without the interaction."""
    smaller = ls.LatentSkillModel(forty, "log(params_b) + log(tokens_t)", ls.Anchored({"first": "a", "second": "b"}))
    without = smaller.fit(integration="laplace", starts=2, tolerance=1e-6)
    by_refit = forty_fit.test_no_interaction("lr")
    by_fits = forty_fit.lr_test(without)
    assert_allclose(by_refit.statistic, 2.0 * (forty_fit.llf - without.llf), rtol=1e-5, atol=1e-6)
    assert_allclose(by_fits.statistic, by_refit.statistic, rtol=1e-5, atol=1e-6)
    assert by_fits.df == by_refit.df == 2
    assert_allclose(by_fits.pvalue, stats.chi2.sf(by_fits.statistic, 2), rtol=1e-12)
    constrained = forty_fit.model.fit(
        integration="laplace", starts=1, tolerance=1e-6,
        constraints=[f"slope[{PRODUCT},first] = 0", f"slope[{PRODUCT},second] = 0"],
    )  # fmt: skip
    assert_allclose(constrained.llf, without.llf, rtol=1e-9)
    assert constrained.df_model == without.df_model == forty_fit.df_model - 2
    shared = without.params.index
    assert_allclose(constrained.params[shared], without.params, rtol=1e-4, atol=1e-5)
    # the null-space form is the inverse information of the smaller model
    assert_allclose(constrained.bse[shared], without.bse, rtol=1e-4)
    assert (constrained.bse.drop(shared) == 0.0).all()


@pytest.mark.slow
def test_null_space_form(forty_fit):
    """Z (Z' I Z)^-1 Z' with the natural Hessian at the restricted estimate, for restrictions of every kind."""
    texts = ["precision[a] = precision[b]", "corr[first,second] = 0.3", f"slope[{SIZE},first] = slope[{TOKENS},second]"]
    fit = forty_fit.model.fit(integration="laplace", starts=1, tolerance=1e-7, constraints=texts)
    restriction = read_restriction(texts, fit.model.param_names)
    assert_allclose(restriction.residual(fit.params.to_numpy()), 0.0, atol=1e-9)
    information = -fit.model.hessian(fit.params, "laplace").to_numpy()
    basis = np.linalg.svd(restriction.matrix)[2][3:].T
    wanted = basis @ np.linalg.solve(basis.T @ information @ basis, basis.T)
    scale = np.sqrt(np.diag(wanted))
    scale[fit.params.index.get_loc("corr[first,second]")] = 1.0  # it has no variance
    assert_allclose(fit.cov_params().to_numpy() / np.outer(scale, scale), wanted / np.outer(scale, scale), atol=1e-6)


def test_the_three_statistics_agree_near_the_null_and_are_what_they_say(forty_fit):
    value = float(forty_fit.params[f"slope[{SIZE},first]"] + 0.8 * forty_fit.bse[f"slope[{SIZE},first]"])
    test = forty_fit.test_hypothesis(f"slope[{SIZE},first] = {value!r}").table["statistic"].droplevel("part")
    assert_allclose(test["wald"], 0.64, rtol=1e-6)
    assert_allclose(test["lr"], 0.64, rtol=0.1)
    assert_allclose(test["score"], 0.64, rtol=0.25)


def test_named_tests_are_their_restrictions(forty_fit):
    skills = ("first", "second")
    flops = [f"slope[{SIZE},{k}] = slope[{TOKENS},{k}]" for k in skills] + [f"slope[{PRODUCT},{k}] = 0" for k in skills]
    equal = [f"slope[{term},first] = slope[{term},second]" for term in forty_fit.model.terms]
    for test, texts in [
        (forty_fit.test_no_interaction(), [f"slope[{PRODUCT},{k}] = 0" for k in skills]),
        (forty_fit.test_flops_sufficiency(), flops),
        (forty_fit.test_equal_slopes(), equal),
    ]:
        wanted = forty_fit.wald_test(texts)
        assert_allclose(test.statistic, float(wanted.statistic), rtol=1e-9)
        assert_allclose(test.pvalue, float(wanted.pvalue), rtol=1e-7)
        assert test.df == len(texts)
        assert sorted(test.restriction) == sorted(read_restriction(texts, forty_fit.model.param_names).labels)
        assert "degrees of freedom" in test.sentence
        assert test.sentence in str(test)
    assert list(forty_fit.test_no_interaction().table.index.get_level_values("part")) == ["jointly", "first", "second"]


@pytest.mark.slow
def test_wald_follows_the_covariance_in_use(forty_fit):
    robust = forty_fit.get_robust("cluster", correction="df")
    plain, other = forty_fit.test_no_interaction("all"), robust.test_no_interaction("all")
    assert abs(plain.statistic / other.statistic - 1.0) > 1e-3
    assert_allclose(plain.table["statistic"].xs("lr", level=1), other.table["statistic"].xs("lr", level=1), rtol=1e-6)
    assert any("Wald statistic only" in note for note in other.notes)


@pytest.mark.slow
def test_tests_of_a_restricted_fit_keep_its_restriction(forty_fit):
    first = f"slope[{PRODUCT},first] = 0"
    fit = forty_fit.model.fit(integration="laplace", starts=1, tolerance=1e-6, constraints=first)
    both = forty_fit.test_no_interaction("lr")
    one = forty_fit.test_hypothesis(first, "lr")
    rest = fit.test_hypothesis(f"slope[{PRODUCT},second] = 0", "lr")
    assert_allclose(one.statistic + rest.statistic, both.statistic, rtol=1e-4, atol=1e-5)
    score = fit.test_hypothesis(f"slope[{PRODUCT},second] = 0", "score")
    assert np.isfinite(score.statistic)


@pytest.mark.slow
def test_random_slopes_that_are_not_there_are_not_found_and_those_that_are_are(forty, forty_fit):
    test = forty_fit.test_shared_slopes(method="all")
    assert test.df == 2
    assert (test.table["statistic"] >= 0.0).all()
    assert (test.table["p_value"] > 0.01).all()
    truth = forty_fit.model.with_random_slopes([SIZE])
    values = dict(forty_fit.params) | {f"slope_sd[{SIZE},first]": 0.5, f"slope_sd[{SIZE},second]": 0.5}
    table = truth.simulate(values, seed=3)
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})
    model = ls.LatentSkillModel(panel, skills=ls.Anchored({"first": "a", "second": "b"}))
    found = model.fit(integration="laplace", starts=2)
    by_score, by_lr = found.test_shared_slopes(method="all").table["p_value"]
    assert by_lr < 1e-4
    assert by_score == 1.0 / 201.0  # beyond all simulated tables
    larger = ls.LatentSkillModel(panel, skills=ls.Anchored({"first": "a", "second": "b"}), random_slopes=SIZE)
    with_slopes = larger.fit(integration="laplace", starts=2)
    assert_allclose(with_slopes.slope_sd.to_numpy(), 0.5, atol=0.25)
    by_fits = with_slopes.lr_test(found)
    assert_allclose(by_fits.statistic, found.test_shared_slopes(method="lr").statistic, rtol=1e-3)
    assert "chi-bar-square" in by_fits.notes[0]


def test_what_cannot_be_tested_is_refused(forty, forty_fit):
    for test, message in [
        (lambda: forty_fit.test_no_interaction("bayes"), "method"),
        (lambda: forty_fit.test_flops_sufficiency(size="log(flops)"), "not terms"),
        (lambda: forty_fit.test_shared_slopes("log(nothing)"), "terms takes terms that vary within families"),
        (lambda: forty_fit.lr_test("slope[nothing] = 0"), "fit.params"),
    ]:
        with pytest.raises(ls.DataError, match=message):
            test()
    additive = ls.LatentSkillModel(forty, "log(params_b)", ls.Anchored({"first": "a"}))
    fit = additive.fit(integration="laplace", starts=1)
    with pytest.raises(ls.DataError, match="no interaction"):
        fit.test_no_interaction()
    with pytest.raises(ls.DataError, match="one skill"):
        fit.test_equal_slopes()
    with pytest.raises(ls.DataError, match="No single term"):
        fit.test_flops_sufficiency()


def test_a_linear_restriction_by_every_method_has_one_row_each(forty_fit):
    restriction = read_restriction(f"slope[{PRODUCT},first] = 0", forty_fit.model.param_names)
    rows = statistics_of(forty_fit, restriction, ("wald", "lr", "score"))
    assert [row[0] for row in rows] == ["wald", "lr", "score"]
    assert all(row[2] == 1 for row in rows)
