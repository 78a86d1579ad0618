"""LatentSkillModel(scaling=None): skills alone, without covariates."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.numerics.differences import jacobian

FIT = {"integration": "laplace", "starts": 2}


@pytest.fixture(scope="module")
def panel():
    table = worlds.simulated(
        40, 4, [[0.8], [0.7], [0.6], [0.6], [0.5]], [[0.0]], {"size": (0.0, 1.0)}, precision=80.0, llm_sd=0.6, seed=2
    ).drop(columns="size")
    return ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={})


@pytest.fixture(scope="module")
def fit(panel):
    return ls.LatentSkillModel(panel, None, {"one": "a"}, llm_effects=True).fit(**FIT)


def test_all_llms_with_a_score_count_and_there_are_no_slopes(fit, panel):
    assert fit.n_llms == panel.n_llms
    assert not [name for name in fit.params.index if name.startswith("slope")]
    assert fit.converged
    assert abs(fit.params["llm_sd"] - 0.6) < 3.0 * fit.bse["llm_sd"]


def test_scores_are_exact(fit):
    point = fit.params.to_numpy() * 1.05
    step = 1e-3 * np.maximum(0.1, np.abs(point))
    wanted = jacobian(lambda x: np.atleast_1d(fit.model.loglike(x, "laplace")), point, step)[0]
    assert_allclose(fit.model.score(point, "laplace"), wanted, rtol=0, atol=1e-7 * np.abs(wanted).max())


def test_a_covariate_that_does_not_count_changes_little(panel, fit):
    table = panel.to_frame().assign(noise=np.random.default_rng(0).standard_normal(panel.n_llms))
    other = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={})
    larger = ls.LatentSkillModel(other, "noise", {"one": "a"}, llm_effects=True).fit(**FIT)
    test = larger.lr_test(fit)
    assert test.df == 1
    assert test.pvalue > 0.01
    assert_allclose(test.statistic, 2.0 * (larger.llf - fit.llf), rtol=1e-6)


def test_saved_and_loaded_and_predicted(fit, tmp_path):
    fit.save(tmp_path / "fit.lscale")
    again = ls.load(tmp_path / "fit.lscale")
    assert again.model.scaling is None
    new = pd.DataFrame({"model": ["x", "y"], "family": ["f00", "unseen"]})
    pd.testing.assert_frame_equal(again.predict(new), fit.predict(new))
    frame = fit.get_prediction(new, size=4000, uncertainty=("family",)).summary_frame()
    assert_allclose(frame["mean"].to_numpy().reshape(2, 5), fit.predict(new).to_numpy(), atol=0.02)


def test_what_there_is_to_say(fit, tmp_path):
    assert "none" in fit.summary().as_text().split("Scaling:")[1].split("\n")[0]
    assert fit.model.identification(points=1).identified
    assert fit.goodness_of_fit(n=139).fits
    assert "slopes that vary between families" not in fit.goodness_of_fit(n=139).table.index
    assert fit.marginal_effects().empty
    assert (fit.variance_shares()["covariates"] == 0.0).all()
    with pytest.raises(ls.DataError, match="no covariates"):
        fit.test_equal_slopes()
    page = fit.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Skills have no covariates" in page


def test_quadrature_without_effects_of_llms(panel):
    model = ls.LatentSkillModel(panel, None, {"one": "a"})
    fits = [model.fit(integration=rule, starts=1, **more) for rule, more in (("laplace", {}), ("quadrature", {}))]
    assert_allclose(fits[0].llf, fits[1].llf, rtol=0, atol=0.5)
