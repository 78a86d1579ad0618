"""What Sloth fits report."""

import warnings

import numpy as np
import pytest
import sloth_tables as tables
from numpy.testing import assert_allclose
from scipy.special import expit

import latentscale as ls


@pytest.fixture(scope="module")
def table():
    return tables.simulated(20, 0.02, seed=1)[0]


@pytest.fixture(scope="module")
def fit(table):
    return ls.SlothModel(tables.panel(table), scaling=tables.MAIN, n_skills=2).fit(starts=3, ridge=1e-3)


@pytest.fixture(scope="module")
def shared(table):
    model = ls.SlothModel(tables.panel(table), scaling=tables.MAIN, n_skills=2, family_intercepts=False)
    return model.fit(starts=3, ridge=1e-3)


def test_skills_are_standardised_and_make_the_predictions(fit, shared):
    for results in (fit, shared):
        theta = results.skills()
        assert_allclose(theta.mean(), 0.0, atol=1e-10)
        assert_allclose(theta.std(ddof=0), 1.0, rtol=1e-8)
        assert_allclose(theta.corr(), results.skill_corr, atol=1e-8)
        chance = results.model.response.chance
        eta = theta.to_numpy() @ results.loadings.to_numpy().T + results.intercepts.to_numpy()
        assert_allclose(chance + (1.0 - chance) * expit(eta), results.predict(), atol=1e-10)
        size = np.log(results.model.panel.table["params_b"])
        assert (theta.corrwith(size) > 0.0).all()
        squares = (results.loadings**2).sum()
        assert squares.is_monotonic_decreasing


def test_tables_agree(fit):
    assert_allclose(fit.params["loading[a,skill1]"], fit.loadings.loc["a", "skill1"])
    assert_allclose(fit.params["slope[log(params_b),skill2]"], fit.slopes.loc["log(params_b)", "skill2"])
    assert_allclose(fit.params["corr[skill1,skill2]"], fit.skill_corr.loc["skill1", "skill2"])
    assert_allclose(fit.params["family[family03,skill1]"], fit.family_intercepts.loc["family03", "skill1"])
    assert_allclose(fit.params["intercept[b]"], fit.intercepts["b"])
    assert_allclose(fit.tvalues, fit.params / fit.bse)
    assert_allclose(np.sqrt(np.diag(fit.cov_params())), fit.bse)
    interval = fit.conf_int()
    inside = (interval["lower"] < fit.params) & (fit.params < interval["upper"])
    assert inside.all()
    residual = np.abs(fit.residuals().to_numpy())
    loss = np.where(residual < 0.01, residual**2 / 0.02, residual - 0.005)
    assert_allclose(fit.loss, np.nanmean(loss), rtol=1e-10)
    assert fit.nobs == 6 * fit.n_llms
    assert fit.df_model == 2 * 20 + 2 * 2 + 6 * 3 - 6
    assert fit.n_families == 20


def test_tests_of_slopes(fit):
    name = "slope[log(params_b),skill1]"
    test = fit.t_test(f"{name} = 0")
    assert_allclose(test.tvalue, fit.tvalues[name])
    joint = fit.wald_test(f"{name} = 0, slope[log(params_b),skill2] = 0")
    assert joint.pvalue < 1e-6


def test_rotation_changes_skills_and_not_predictions(fit):
    for method in ("varimax", "oblimin", "geomin"):
        turned = fit.rotate(method, starts=5)
        assert_allclose(turned.predict(), fit.predict(), rtol=1e-12)
        eta = fit.skills().to_numpy() @ fit.loadings.to_numpy().T
        assert_allclose(turned.skills().to_numpy() @ turned.loadings.to_numpy().T, eta, atol=1e-8)
        assert (turned.bse.filter(like="slope") > 0.0).all()
    named = fit.rotate("geomin", names=["reasoning", "instruction"], starts=20)
    assert list(named.loadings.columns) == ["reasoning", "instruction"]
    assert list(fit.loadings.columns) == ["skill1", "skill2"]
    assert_allclose(named.params, fit.params, rtol=1e-6, atol=1e-9)
    assert_allclose(named.bse, fit.bse, rtol=1e-5)
    with pytest.raises(ls.DataError, match="a name for each"):
        fit.rotate("geomin", names=["one"])


def test_results_cannot_be_changed(fit):
    with pytest.raises(AttributeError, match="immutable"):
        fit.loss = 0.0
    before = fit.loadings
    for handed_out in (fit.loadings, fit.params, fit.starts[["penalised"]], fit.cov_params(), fit.skills()):
        handed_out[:] = 99.0
    fit.rotate("varimax", starts=3)
    assert_allclose(fit.loadings, before)
    assert (fit.starts["penalised"] < 1.0).all()
    assert fit.cov_params().iloc[0, 0] != 99.0


def test_predictions_for_new_llms(fit, shared, table):
    new = table.iloc[[3, 8]].drop(columns=list(tables.CHANCE))
    assert_allclose(fit.predict(new), fit.predict().iloc[[3, 8]], rtol=1e-12)
    bigger = new.assign(params_b=1e12)
    assert fit.predict(bigger).notna().all(axis=None)
    unknown = new.assign(family="never seen")
    with pytest.raises(ls.DataError, match=r"'never seen'.*no intercept"):
        fit.predict(unknown)
    assert_allclose(shared.predict(unknown), shared.predict().iloc[[3, 8]], rtol=1e-12)
    assert_allclose(shared.predict(unknown.drop(columns="family")), shared.predict(unknown))
    with pytest.raises(ls.DataError, match="family column"):
        fit.predict(new.drop(columns="family"))
    with pytest.raises(ls.DataError, match="lack a covariate"):
        fit.predict(new.assign(tokens_t=np.nan))
    with pytest.raises(ls.DataError, match="tokens_t"):
        fit.predict(new.drop(columns="tokens_t"))


def test_summary_says_what_was_done(fit, shared, table):
    text = str(fit.summary())
    for words in ("Sloth, K = 2", "geomin", "by family", "20 families as independent units", "Ridge: 0.001"):
        assert words in text
    assert "shared" in str(shared.summary())
    for form in ("as_html", "as_latex", "as_csv"):
        assert "skill1" in getattr(fit.summary(), form)()
    learned = ls.SlothModel(tables.panel(table), scaling=tables.MAIN, n_skills=1, link="monotone", asymptotes="both")
    results = learned.fit(starts=2, ridge=1e-3)
    text = str(results.summary())
    assert "shrunk to the logistic" in text
    assert "weakly penalised" in text
    assert results.link_table.shape == (6, 7)
    assert_allclose(results.link_table.mean(axis=1), 1.0)
    assert_allclose(results.params["link[a,1]"], results.link_table.loc["a"].iloc[0])
    assert_allclose(results.params["lower[a]"], results.asymptotes.loc["a", "lower"])
    assert (results.bse.filter(like="upper") > 0.0).all()
    assert fit.link_table is None
    assert "NO" not in text


def test_what_did_not_converge_says_so(table):
    runaway = table.copy()
    runaway.loc[runaway["family"] == "family05", "b"] = 0.0
    model = ls.BenchmarkLaws(tables.panel(runaway), scaling=tables.MAIN)
    with pytest.warns(ls.ConvergenceWarning, match="family05 on b"):
        bare = model.fit(ridge=0.0, cov_type="none")
    assert "NOT CONVERGED" in repr(bare)
    first_screen = str(bare.summary())
    assert "NO" in first_screen
    assert "family05 on b" in first_screen


def test_laws(table):
    laws = ls.BenchmarkLaws(tables.panel(table), scaling=tables.MAIN).fit(ridge=1e-3)
    assert list(laws.slopes.columns) == list(tables.CHANCE)
    assert_allclose(laws.loadings, np.eye(6))
    assert "slope[log(params_b),a]" in laws.params.index
    assert "family[family00,a]" in laws.params.index
    assert not laws.params.index.str.startswith("intercept").any()
    assert (laws.bse > 0.0).all()
    assert "laws of single benchmarks" in str(laws.summary())
    with pytest.raises(ls.DataError, match="no skills to rotate"):
        laws.rotate()
    assert laws.starts.index.names == ["benchmark", "start"]
    shared = ls.BenchmarkLaws(tables.panel(table), scaling=tables.MAIN, family_intercepts=False).fit(ridge=1e-3)
    assert shared.family_intercepts is None
    assert_allclose(shared.params["intercept[a]"], shared.intercepts["a"])


def test_a_law_without_scores_of_a_family_predicts_none(table):
    holes = table.copy()
    holes.loc[holes["family"] == "family02", "c"] = np.nan
    laws = ls.BenchmarkLaws(tables.panel(holes), scaling=tables.MAIN).fit(ridge=1e-3)
    rows = (holes["family"] == "family02").to_numpy()
    predicted = laws.predict()
    assert predicted.loc[rows, "c"].isna().all()
    assert predicted.drop(columns="c").notna().all(axis=None)
    assert predicted.loc[~rows, "c"].notna().all()
    assert np.isnan(laws.bse["family[family02,c]"])


def test_more_skills_than_covariates_with_shared_intercepts(table):
    model = ls.SlothModel(tables.panel(table), scaling="log(params_b)", n_skills=2, family_intercepts=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.ConvergenceWarning)
        fit = model.fit(starts=2)
    assert fit.df_model == 1 + 6 + 6 - 1
    one = ls.SlothModel(tables.panel(table), scaling="log(params_b)", n_skills=1, family_intercepts=False)
    assert_allclose(fit.loss, one.fit(starts=2).loss, rtol=1e-6)
    with pytest.raises(ls.DataError, match="combinations of fewer"):
        fit.rotate()


def test_families_with_fewer_scores_than_skills_are_named(table):
    holes = table.copy()
    holes.loc[holes["family"] == "family07", list("bcdef")] = np.nan
    model = ls.SlothModel(tables.panel(holes), scaling=tables.MAIN, n_skills=2)
    with pytest.warns(ls.ConvergenceWarning, match=r"\['family07'\] have scores on fewer benchmarks"):
        fit = model.fit(starts=2, cov_type="none")
    assert fit.predict().notna().all(axis=None)


def test_compare_takes_them(fit, shared):
    compared = ls.compare({"families": fit, "shared": shared})
    assert compared["skills"].tolist() == [2, 2]
    assert compared["llf"].isna().all()
    assert compared["parameters"].tolist() == [fit.df_model, shared.df_model]
