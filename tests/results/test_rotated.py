"""Rotated results: the same law, other skills, and their covariance."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.inference.rotation import follow_structure
from latentscale.numerics.differences import jacobian
from latentscale.prediction.skill_draws import skill_draws


@pytest.fixture(scope="module")
def geomin(fit):
    return fit.rotate("geomin", starts=20)


@pytest.mark.slow
def test_law_predictions_and_criteria_stay(fit, geomin):
    assert_allclose(geomin.loadings @ geomin.slopes.T.set_axis(geomin.loadings.columns), fit.loadings @ fit.slopes.T)
    assert_allclose(
        geomin.loadings @ geomin.skill_cov @ geomin.loadings.T, fit.loadings @ fit.skill_cov @ fit.loadings.T
    )
    assert_allclose(geomin.predict(), fit.predict())
    frames = [one.get_prediction(size=50).summary_frame() for one in (geomin, fit)]
    pd.testing.assert_frame_equal(*frames)
    with pytest.raises(ls.DataError, match="ask the fit that was rotated"):
        skill_draws(geomin, size=10)
    assert_allclose(
        geomin.skills() @ geomin.loadings.T + geomin.intercepts, fit.skills() @ fit.loadings.T + fit.intercepts
    )
    assert (geomin.llf, geomin.aic, geomin.bic, geomin.df_model) == (fit.llf, fit.aic, fit.bic, fit.df_model)
    size = (geomin.loadings**2).sum()
    assert (size.diff().dropna() <= 0.0).all()
    assert (geomin.loadings.sum() > 0.0).all()
    assert_allclose(np.diag(geomin.skill_cov), 1.0)


def test_covariance_is_the_delta_transform_of_the_fit(fit, geomin):
    """By differences of the rotation itself, followed from the solution, on parameters a little moved."""

    def rotated(params):
        turned, _ = follow_structure(fit.model.table.structure(params), geomin.rotation)
        return geomin.model.table.natural(turned)

    params = fit.params.to_numpy()
    derivative = jacobian(rotated, params, 1e-4 * np.maximum(0.1, np.abs(params)))
    wanted = derivative @ fit.cov_params().to_numpy() @ derivative.T
    scale = np.sqrt(np.diag(wanted))
    assert_allclose(geomin.cov_params() / np.outer(scale, scale), wanted / np.outer(scale, scale), atol=1e-6)


def test_orthogonal_rotation_of_anchored_skills(fit):
    varimax = fit.rotate("varimax", names=["one", "two"])
    assert list(varimax.loadings.columns) == ["one", "two"]
    assert_allclose(varimax.skill_corr, np.eye(2))
    assert not [name for name in varimax.params.index if name.startswith("corr")]
    assert np.isfinite(varimax.bse).all()
    assert "varimax rotation" in str(varimax.summary())


def test_tests_work_and_refits_are_refused(fit, geomin):
    test = geomin.t_test("slope[log(params_b),skill1] = slope[log(params_b),skill2]")
    assert np.isfinite(np.squeeze(test.pvalue))
    ratio = geomin.delta(lambda p: p.slopes[0, 0] / p.slopes[1, 0])
    assert np.isfinite(ratio.bse).all()
    assert_allclose(geomin.rotate("quartimin", starts=5).params, fit.rotate("quartimin", starts=5).params)
    robust = geomin.get_robust("cluster", correction="df")
    again = fit.get_robust("cluster", correction="df").rotate("geomin", starts=20)
    assert_allclose(robust.bse, again.bse)
    for name in ("bootstrap", "score_test", "test_shared_slopes"):
        with pytest.raises(ls.DataError, match="source"):
            getattr(geomin, name)()
    with pytest.raises(ls.DataError, match="source"):
        geomin.profile("loading[mmlu,skill1]")
    with pytest.raises(ls.DataError, match="source"):
        geomin.save("nowhere")


def test_target_by_name(fit):
    target = pd.DataFrame(np.nan, index=list(fit.model.benchmarks), columns=["reason", "instruct"])
    target.loc["ifeval", "reason"] = 0.0
    target.loc["bbh", "instruct"] = 0.0
    turned = fit.rotate("target", target=target, starts=10)
    assert list(turned.loadings.columns) == ["reason", "instruct"]
    # two zeros are what two oblique skills need: the target is met exactly, and is the anchored form again
    assert_allclose(turned.loadings.loc["ifeval", "reason"], 0.0, atol=1e-6)
    assert_allclose(turned.loadings["reason"].abs(), fit.loadings["reasoning"].abs(), rtol=1e-4, atol=1e-5)
    own = turned.bse.filter(like=",reason]")
    anchored = fit.bse[[name.replace(",reason]", ",reasoning]") for name in own.index if "ifeval" not in name]]
    assert_allclose(own[[name for name in own.index if "ifeval" not in name]].to_numpy(), anchored, rtol=1e-4)


@pytest.mark.study
def test_standard_errors_agree_with_the_parametric_bootstrap():
    """Where the asymptotics hold (200 families), every rotated loading's standard error is within 15 percent."""
    table = worlds.simulated(
        200, 3, [[0.9, 0.1], [0.8, 0.0], [0.7, 0.2], [0.0, 0.8], [0.2, 0.9], [0.1, 0.7]], [[0.4, 0.2]], worlds.SIZE,
        intercepts=-0.5, precision=40.0, skill_cov=[[1.0, 0.4], [0.4, 1.0]], family="f{}", seed=17,
    )  # fmt: skip
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcdef"))
    fit = ls.LatentSkillModel(panel, "log(size)", ls.Echelon(["a", "e"])).fit(integration="laplace", starts=2)
    geomin = fit.rotate("geomin", starts=20)
    replicates = fit.bootstrap("parametric", 500, seed=2).replicates.dropna().to_numpy()
    values = [
        geomin.model.table.natural(follow_structure(fit.model.table.structure(params), geomin.rotation)[0])
        for params in replicates
    ]
    names = geomin.params.index
    spread = pd.Series(np.std(values, axis=0, ddof=1), index=names)
    ratio = (geomin.bse / spread)[names.str.startswith(("loading[", "corr[", "slope["))]
    # 500 replicates leave each standard deviation an error of three percent
    assert_allclose(ratio, 1.0, atol=0.15)
