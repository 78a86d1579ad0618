"""What results say of fits with residual skills of LLMs."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose
from scipy import stats

import latentscale as ls

BENCHMARKS = list("abcd")


def _table(kappa, families=60, each=3, seed=1):
    loadings = [[0.8, 0.0], [0.0, 0.8], [0.6, 0.4], [0.3, 0.7]]
    return worlds.simulated(
        families, each, loadings, [[0.4, 0.4]], worlds.SIZE, intercepts=-0.6, precision=150.0, llm_sd=kappa, seed=seed
    )


def _model(table, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=BENCHMARKS)
    return ls.LatentSkillModel(panel, "log(size)", ls.Anchored({"first": "a", "second": "b"}), **options)


@pytest.fixture(scope="module")
def fit():
    return _model(_table(0.5), llm_effects=True).fit(integration="laplace", starts=2)


def test_kappa_is_estimated(fit):
    assert abs(fit.params["llm_sd"] - 0.5) < 3.0 * fit.bse["llm_sd"]
    assert 0.02 < fit.bse["llm_sd"] < 0.15
    without = _model(_table(0.5)).fit(integration="laplace", starts=2)
    assert fit.llf > without.llf + 10.0


def test_skills_and_means_follow_the_llms_own_scores(fit):
    theta = fit.skills()
    assert theta.shape == (180, 2)
    # skills of LLMs of one family differ by more than their covariates say
    slopes = fit.model.design.x @ fit.slopes.to_numpy()
    own = theta.to_numpy() - slopes - fit.family_effects()["mean"].unstack().to_numpy()[fit.model.family_codes]
    assert own.std(axis=0).min() > 0.2
    scores = fit.model.panel.scores
    assert (fit.predict() - scores).abs().to_numpy().mean() < 0.04
    frame = fit.model.panel.to_frame()
    pd.testing.assert_frame_equal(fit.predict(frame), fit.predict(), check_names=False)
    # under another name they are other LLMs, whose scores are not known
    new = fit.predict(frame.assign(model=[f"n{i}" for i in range(180)]))
    assert (new.to_numpy() - scores.to_numpy()).std() > 1.3 * (fit.predict() - scores).to_numpy().std()


def test_means_of_new_llms_are_averages_over_their_residual(fit):
    data = pd.DataFrame({"model": ["x"], "family": ["f03"], "size": [10.0]})
    draws = fit.get_prediction(data, size=20000, uncertainty=("family",)).draws.mu[:, 0]
    error = draws.std(axis=0) / np.sqrt(20000)
    assert np.abs((draws.mean(axis=0) - fit.predict(data).to_numpy()[0]) / error).max() < 4.0


def test_own_scores_inform_an_llm_more_than_those_of_its_family(fit):
    data = pd.DataFrame({"model": ["x", "y"], "family": ["f03", "f03"], "size": [10.0, 10.0]})
    blind = fit.get_prediction(data).mean
    data["a"] = [blind.loc["x", "a"] - 0.2, np.nan]
    loss = blind - fit.get_prediction(data, observed=True).mean
    assert loss.loc["x", "c"] > loss.loc["y", "c"] + 0.01
    assert loss.loc["y", "c"] > 0.0


def test_intervals_of_new_llms_are_wider_than_without_the_residual(fit):
    data = pd.DataFrame({"model": ["x"], "family": ["f03"], "size": [10.0]})
    frame = fit.get_prediction(data, uncertainty=("family",)).summary_frame()
    width = (frame["mean_ci_upper"] - frame["mean_ci_lower"]).to_numpy()
    # what the residual alone does to a benchmark: kappa times its loadings, through the slope of the logistic function
    mean = fit.predict(data).to_numpy()[0]
    loadings = fit.structure.loadings
    sd = fit.structure.scales["llm_sd"][0] * np.sqrt(np.diag(loadings @ fit.skill_cov.to_numpy() @ loadings.T))
    assert (width > 2.0 * 1.96 * sd * mean * (1.0 - mean) * 0.9).all()


def test_quantile_residuals_are_standard_normal(fit):
    residuals = fit.residuals().to_numpy().ravel()
    assert stats.kstest(residuals, "norm").pvalue > 0.01
    assert np.isfinite(fit.residuals("pearson").to_numpy()).all()


def test_contrasts_leave_residuals_out(fit):
    effects, table = fit.family_effects(), fit.contrast("f01", "f02", uncertainty=("family",))
    sd = np.hypot(effects.loc["f01", "sd"], effects.loc["f02", "sd"])
    assert_allclose(table["se"], sd, rtol=0.08)


def test_saved_and_summarised(fit, tmp_path):
    fit.save(tmp_path / "fit.lscale")
    again = ls.load(tmp_path / "fit.lscale")
    assert_allclose(again.params, fit.params)
    assert_allclose(again.predict(), fit.predict(), rtol=1e-12)
    assert "llm_sd" in again.summary().as_text()


def test_precisions_cannot_run_away():
    """One benchmark to itself on a skill: without a penalty its residuals could be all skill."""
    table = _table(0.5, families=25)
    panel = ls.BenchmarkPanel(table, benchmarks=["a", "b"])
    model = ls.LatentSkillModel(panel, "log(size)", ls.Anchored({"first": "a", "second": "b"}), llm_effects=True)
    fit = model.fit(integration="laplace", starts=1, information=False, cov_type="none")
    assert fit.precision.max() < 1e5
    assert fit.converged
