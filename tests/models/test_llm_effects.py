"""LatentSkillModel(llm_effects=True): recovery, invariance, refusals, and the test against no residual skills."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose
from scipy import stats

import latentscale as ls
from latentscale.estimation.polish import laplace_information
from latentscale.likelihood.expected_information import simulated_cells
from latentscale.likelihood.objective import Objective
from latentscale.numerics.differences import jacobian

ANCHORS = {"first": "a", "second": "b"}
KAPPA = 0.5
CORRELATION = 0.4
LOADINGS = np.array([[0.9, 0.0], [0.0, 0.8], [0.6, 0.4], [0.3, 0.7], [0.7, 0.3], [0.5, 0.6]])
SLOPES = np.array([[0.6, 0.2], [0.2, 0.5]])
SCALING = "log(params_b) + log(tokens_t)"
FIT = {"integration": "laplace", "starts": 1, "tolerance": 1e-4}
QUICK = {"integration": "laplace", "starts": 2, "information": False, "cov_type": "none", "tolerance": 1e-3}


def _table(families, per_family=4, kappa=KAPPA, seed=0, slope_sd=0.0, one_skill=False):
    """Scores of a two-skill world with residual skills, some missing.

    In a world of one skill, log size is the only covariate that counts.
    """
    loadings, slopes = LOADINGS.copy(), SLOPES.copy()
    if one_skill:
        loadings[:, 0], loadings[:, 1], slopes[1] = LOADINGS.sum(axis=1), 0.0, 0.0
    return worlds.simulated(
        families, per_family, loadings, slopes, {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 2.0)}, intercepts=-0.8,
        precision=60.0, skill_cov=[[1.0, CORRELATION], [CORRELATION, 1.0]], llm_sd=kappa, slope_sd=slope_sd,
        missing=0.1, model="llm{:04d}", family="f{:03d}", seed=seed,
    )  # fmt: skip


def _model(table, **options):
    benchmarks = options.pop("benchmarks", list("abcdef"))
    options = {"skills": ls.Anchored(ANCHORS), "scaling": SCALING, "llm_effects": True} | options
    return ls.LatentSkillModel(ls.BenchmarkPanel(table, benchmarks=benchmarks, chance={"a": 0.0}), **options)


@pytest.fixture(scope="module")
def table():
    return _table(24, 3)


@pytest.fixture(scope="module")
def model(table):
    return _model(table)


@pytest.fixture(scope="module")
def without(table):
    return _model(table, llm_effects=False)


@pytest.fixture(scope="module")
def fit(model):
    return model.fit(**FIT)


@pytest.fixture(scope="module")
def smaller(without):
    return without.fit(**FIT)


def test_one_more_parameter_the_last(model, without):
    assert model.param_names == [*without.param_names, "llm_sd"]
    assert without.table.layout.size == model.table.layout.size - 1


def test_zero_is_the_model_without(fit, without):
    params = fit.params.copy()
    params["llm_sd"] = 0.0
    same = without.loglike(params.drop("llm_sd"), "laplace")
    assert fit.model.loglike(params, "laplace") == same
    score = fit.model.score(params, "laplace")
    assert score["llm_sd"] == 0.0  # the law is even in it
    assert_allclose(score.drop("llm_sd"), without.score(params.drop("llm_sd"), "laplace"), rtol=1e-12)


@pytest.mark.slow
def test_derivatives_on_the_natural_scale(model, fit):
    rng = np.random.default_rng(1)
    point = fit.params * rng.uniform(0.9, 1.1, len(fit.params))
    step = 1e-3 * np.maximum(0.1, np.abs(point.to_numpy()))
    wanted = jacobian(lambda x: np.atleast_1d(model.loglike(x, "laplace")), point.to_numpy(), step)[0]
    score = model.score(point, "laplace")
    assert_allclose(score, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
    hessian = model.hessian(point, "laplace").to_numpy()
    direction = rng.standard_normal(len(point)) * step
    moved = [model.score(point + sign * direction, "laplace").to_numpy() for sign in (1.0, -1.0)]
    # truncation of a single central difference: a thousandth squared times a third derivative
    wanted = (moved[0] - moved[1]) / 2.0
    assert_allclose(hessian @ direction, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow
def test_recovery_with_anchors():
    """With 150 families estimates lie within a few standard errors of the truth, and not by being vague."""
    fit = _model(_table(150, 4, seed=2)).fit(**FIT)
    truth = {"llm_sd": KAPPA, "corr[first,second]": CORRELATION}
    truth |= {f"loading[{b},{s}]": LOADINGS[j, k] for j, b in enumerate("abcdef") for k, s in enumerate(ANCHORS)}
    terms = ("log(params_b)", "log(tokens_t)")
    truth |= {f"slope[{term},{s}]": SLOPES[p, k] for p, term in enumerate(terms) for k, s in enumerate(ANCHORS)}
    truth = {name: value for name, value in truth.items() if name in fit.params.index}
    z = (fit.params[list(truth)] - pd.Series(truth)) / fit.bse[list(truth)]
    assert len(z) == 16
    assert z.abs().max() < 3.5
    assert (z**2).mean() < 2.5
    assert fit.bse["llm_sd"] < 0.06
    assert fit.converged


@pytest.mark.slow
def test_the_error_of_kappa_falls_with_the_number_of_families():
    errors = []
    for families in (12, 192):
        found = [_one_skill(families, KAPPA, seed).params["llm_sd"] for seed in range(6)]
        errors.append(np.sqrt(np.mean((np.array(found) - KAPPA) ** 2)))
    # sixteen times the families divide standard errors by four
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.05


def _one_skill(families, kappa, seed):
    table = _table(families, 3, kappa=kappa, seed=10 + seed, one_skill=True)
    options = {"skills": 1, "benchmarks": ["a", "c", "e", "f"], "scaling": "log(params_b)"}
    return _model(table, **options).fit(**QUICK | {"starts": 1})


@pytest.mark.slow
def test_just_identified_forms_reach_the_same_maximum(table, fit):
    # Laplace has no grid, and kappa^2 Sigma turns with the skills: equality is exact
    for skills in (2, ls.Echelon(["d", "c"])):
        other = _model(table, skills=skills).fit(**FIT)
        assert_allclose(other.llf, fit.llf, rtol=0, atol=1e-5)
        assert_allclose(other.params["llm_sd"], fit.params["llm_sd"], rtol=1e-3)


def test_order_of_rows_families_benchmarks_and_skills(table, model, fit):
    same = model.loglike(fit.params, "laplace")
    shuffled = table.sample(frac=1.0, random_state=3).reset_index(drop=True)
    other = _model(shuffled, benchmarks=list("dbecaf"), skills=ls.Anchored({"second": "b", "first": "a"}))
    renamed = fit.params.rename({"corr[first,second]": "corr[second,first]"})
    assert_allclose(other.loglike(renamed.to_dict(), "laplace"), same, rtol=1e-12)
    families = table.assign(family=table["family"].map(lambda name: f"z{99 - int(name[1:]):02d}"))
    assert_allclose(_model(families).loglike(fit.params, "laplace"), same, rtol=1e-12)


@pytest.mark.slow
def test_rescaled_covariates(table, fit):
    shift = np.log(1000.0)
    rescaled = table.assign(params_b=1000.0 * table["params_b"], tokens_t=1000.0 * table["tokens_t"])
    other = _model(rescaled).fit(**FIT)
    assert_allclose(other.llf, fit.llf, rtol=0, atol=1e-6)
    assert_allclose(other.slopes, fit.slopes, rtol=1e-4, atol=1e-5)
    assert_allclose(other.params["llm_sd"], fit.params["llm_sd"], rtol=1e-5)
    moved = other.intercepts + other.loadings @ (shift * other.slopes.sum(axis=0))
    assert_allclose(moved, fit.intercepts, rtol=1e-4, atol=1e-5)
    assert_allclose(other.bse["llm_sd"], fit.bse["llm_sd"], rtol=1e-3)


@pytest.mark.slow
def test_likelihood_ratio_against_no_residual_skills(fit, smaller):
    test = fit.lr_test(smaller)
    row = test.table.iloc[0]
    null = fit.model.fit(**FIT, constraints="llm_sd = 0")
    assert_allclose(null.llf, smaller.llf, rtol=0, atol=1e-5)
    assert_allclose(row["statistic"], 2.0 * (fit.llf - null.llf), rtol=0, atol=1e-4)
    assert row["statistic"] > 10.0
    # one variance on its boundary: half a chi-square law with one degree of freedom, half a point at zero
    assert_allclose(row["p_value"], 0.5 * stats.chi2.sf(row["statistic"], 1), rtol=1e-10)
    assert "LLMs of one family" in str(test)
    with pytest.raises(ls.DataError, match="Not nested"):
        smaller.lr_test(fit)


@pytest.mark.slow
def test_a_joint_test_of_random_slopes_and_residual_skills(table, smaller):
    both = _model(table, random_slopes="log(params_b)").fit(integration="laplace", starts=1)
    test = both.lr_test(smaller)
    assert test.table["df"].iloc[0] == 3
    assert "slopes on log(params_b) are the same in all families, and LLMs of one family" in str(test)
    assert test.table["p_value"].iloc[0] < 1e-4


@pytest.mark.slow
def test_without_residual_skills_half_of_the_estimates_vanish():
    at_zero = 0
    for seed in range(12):
        kappa = _one_skill(20, 0.0, seed).params["llm_sd"]
        assert kappa < 0.3
        at_zero += kappa < 0.03
    assert 2 <= at_zero <= 10  # binomial: outside with a probability of 0.6%


class TestRefusals:
    @pytest.mark.parametrize("integration", ["monte_carlo", "quadrature"])
    def test_rules_on_nodes(self, model, fit, integration):
        for call in (
            lambda: model.fit(integration=integration, starts=1),
            lambda: model.loglike(fit.params, integration),
            lambda: model.score(fit.params, integration),
            lambda: model.hessian(fit.params, integration),
        ):
            with pytest.raises(ls.DataError, match="integration='laplace'"):
                call()

    def test_em(self, model):
        with pytest.raises(ls.DataError, match="integration='laplace'"):
            model.fit(integration="quadrature", driver="em", starts=1)

    def test_a_negative_size(self, model, fit):
        params = fit.params.copy()
        params["llm_sd"] = -0.1
        with pytest.raises(ls.DataError, match=r"cannot be negative: \['llm_sd'\]"):
            model.loglike(params, "laplace")

    def test_what_is_no_answer(self, table):
        with pytest.raises(ls.DataError, match="llm_effects must be True, False, 'proportional' or 'diagonal'"):
            _model(table, llm_effects=0.3)


class TestFitsThatOnlyPredict:
    def _distance(self, quick, information):
        """From the maximum of the penalised log-likelihood with the expected curvature, in standard errors."""
        model = quick.model
        objective = Objective(model.space, model.internal_cells, model.penalty, expected=True)
        evaluation, _ = objective.laplace(quick.estimate.free)
        assert_allclose(quick.llf, evaluation.loglike, rtol=1e-9)
        return np.sqrt(evaluation.gradient @ np.linalg.solve(information, evaluation.gradient))

    def test_they_end_where_the_expected_curvature_has_its_maximum(self, model, fit):
        quick = model.fit(**QUICK)
        assert quick.converged
        # two approximations of the determinant differ by little
        assert_allclose(quick.params["llm_sd"], fit.params["llm_sd"], atol=0.5 * fit.bse["llm_sd"])
        assert self._distance(quick, fit.estimate.information) < 0.05

    @pytest.mark.slow
    def test_with_random_slopes(self):
        model = _model(_table(24, 3, slope_sd=0.5), random_slopes="log(params_b)")
        quick = model.fit(**QUICK)
        assert quick.converged
        assert (quick.slope_sd.to_numpy() > 0.1).all()
        information = laplace_information(model.objective, quick.estimate.free, None)
        assert self._distance(quick, information) < 0.05

    def test_shrinkage_and_links(self, table):
        model = _model(table, skills=3, asymptotes="both", link="monotone", shrink_effects=0.3, shrink_slopes=0.25)
        quick = model.fit(**QUICK | {"starts": 1, "tolerance": 0.1})
        assert quick.converged
        assert quick.params["llm_sd"] > 0.2


@pytest.fixture(scope="module")
def wide():
    """Many LLMs a family, scores so precise that skills can be read off them."""
    model = _model(_table(60, 6, seed=4))
    params = pd.Series(0.0, index=model.param_names)
    params[[f"precision[{b}]" for b in "abcdef"]] = 1e6
    params[["loading[a,first]", "loading[b,second]"]] = 1.0
    params[["corr[first,second]", "llm_sd"]] = 0.5, 0.7
    return model, params


class TestSimulation:
    def check(self, theta, family):
        """Between LLMs of a family skills vary with 0.49 Sigma."""
        within = theta - pd.DataFrame(theta).groupby(family).transform("mean").to_numpy()
        cov = within.T @ within / (len(theta) - len(np.unique(family)))
        # 300 degrees of freedom: a relative error of 8% for variances
        assert_allclose(cov, 0.49 * np.array([[1.0, 0.5], [0.5, 1.0]]), rtol=0.3)
        means = pd.DataFrame(theta).groupby(family).mean().to_numpy()
        assert_allclose(np.cov(means.T).trace(), 2.0 * (1.0 + 0.49 / 6), rtol=0.4)

    def test_simulate(self, wide):
        model, params = wide
        table = model.simulate(params, seed=1)
        y = table[["a", "b"]].to_numpy()
        seen = np.isfinite(y).all(axis=1)
        theta = np.log(y[seen] / (1.0 - y[seen]))
        self.check(theta, table["family"].to_numpy()[seen])
        assert table.equals(model.simulate(params, seed=1))

    def test_simulated_cells(self, wide):
        model, params = wide
        cells = simulated_cells(model, model.table.structure(model.table.read(params)), np.random.default_rng(2))
        theta = np.full((len(cells.design), 6), np.nan)
        theta[cells.row, cells.item] = cells.data[0] - cells.data[1]
        seen = np.isfinite(theta[:, :2]).all(axis=1)
        self.check(theta[seen, :2], model.family_codes[seen])


class TestResults:
    def test_summary_says_what_it_is(self, fit):
        text = fit.summary().as_text()
        assert "Residual skills of LLMs" in text
        assert "llm_sd" in text
        assert "its z is no test, lr_test" in " ".join(text.split())
        assert "llm_sd" in fit.parameter_table().index

    def test_saved_and_loaded(self, fit, tmp_path):
        fit.save(tmp_path / "fit.lscale")
        again = ls.load(tmp_path / "fit.lscale")
        assert again.model.llm_effects == "proportional"
        pd.testing.assert_series_equal(again.params, fit.params)
        assert_allclose(again.model.loglike(again.params, "laplace"), fit.llf, rtol=1e-12)

    def test_intervals_keep_to_the_space(self, fit, model):
        interval = fit.conf_int().loc["llm_sd"]
        assert interval["lower"] > 0.0
        assert interval["lower"] < fit.params["llm_sd"] < interval["upper"]
        assert fit.conf_int(alpha=1e-12).loc["llm_sd", "lower"] == 0.0

    @pytest.mark.slow
    def test_profile_interval(self, table):
        fit = _model(table, skills=1, benchmarks=["a", "c", "e"], scaling="log(params_b)").fit(**FIT)
        interval = fit.conf_int(method="profile", parameters=["llm_sd"]).loc["llm_sd"]
        for end in interval:
            restricted = fit.model.fit(**FIT, constraints=f"llm_sd = {end!r}")
            statistic = 2.0 * (fit.llf_penalised - restricted.llf_penalised)
            assert_allclose(statistic, stats.chi2.isf(0.05, 1), rtol=0.01)

    def test_identification(self, model):
        report = model.identification(points=1)
        assert report.identified
        assert report.restrictions == "just-identified"

    def test_goes_on_from_its_own_end(self, model, fit):
        again = model.fit(**FIT | {"starts": 0}, start_params=fit.params)
        assert_allclose(again.llf, fit.llf, rtol=0, atol=1e-6)

    def test_cluster_standard_errors(self, fit):
        robust = fit.get_robust("cluster")
        assert robust.bse["llm_sd"] == pytest.approx(fit.bse["llm_sd"], rel=1.0)
        assert np.isfinite(robust.bse).all()
