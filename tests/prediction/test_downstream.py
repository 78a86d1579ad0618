"""Regressions on skills: likelihood, two-stage standard errors, recovery, predictions, errors."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import expit
from statsmodels.othermod.betareg import BetaModel

import latentscale as ls
from latentscale.components.beta_law import Beta
from latentscale.components.cells import Cells
from latentscale.downstream.model import DownstreamModel
from latentscale.downstream.target import Target
from latentscale.downstream.target_fit import (
    _Problem,
    first_stage_root,
    fit_target,
    target_cov,
    target_rule,
)
from latentscale.numerics.differences import jacobian
from latentscale.prediction.parameter_law import parameter_law
from latentscale.prediction.residuals import posterior_draws

COLUMNS = ["llm", "benchmark", "mean", "mean_se", "mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper"]


@pytest.fixture(scope="module")
def fit(leaderboard_fit):
    return leaderboard_fit


@pytest.fixture(scope="module")
def results(fit):
    return DownstreamModel(fit, "humaneval").fit()


ITEMS = list("abcd")


def _simulated(seed, families=50, each=3, shown=None):
    """A table of one skill, four noisy benchmarks and a target, and the true skills."""
    rng = np.random.default_rng(seed)
    n = families * each
    table = pd.DataFrame({"model": [f"m{i}" for i in range(n)], "family": [f"f{i // each:03d}" for i in range(n)]})
    table["size"] = np.exp(rng.uniform(0.0, 4.0, n))
    theta = np.repeat(rng.standard_normal(families), each) + 0.3 * np.log(table["size"].to_numpy())
    for item in ITEMS:
        mu = expit(0.5 * theta - 0.6)
        table[item] = rng.beta(8.0 * mu, 8.0 * (1.0 - mu))
    specific = np.repeat(TRUTH["family_sd"] * rng.standard_normal(families), each)
    mu = expit(TRUTH["loading"] * theta + TRUTH["intercept"] + specific)
    table["task"] = rng.beta(TRUTH["precision"] * mu, TRUTH["precision"] * (1.0 - mu))
    return table, theta


TRUTH = {"loading": 1.0, "intercept": -0.8, "precision": 30.0, "family_sd": 0.6}


def _first_stage(table, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=ITEMS, chance={})
    model = ls.LatentSkillModel(panel, "log(size)", skills=ls.Anchored({"skill": "a"}))
    return model.fit(integration="laplace", starts=1, **options)


def _cells_of(model, families):
    """Cells of some families of a model."""
    rows, prepared = np.isin(model.family_codes, families), model.prepared
    codes = np.unique(model.family_codes[rows], return_inverse=True)[1]
    return Cells.from_tables(Beta(), prepared.y[rows], prepared.state[rows], prepared.edge, codes, model.design.x[rows])


# --- likelihood --------------------------------------------------------------------------------------------------


def test_the_conditional_likelihood_is_the_posterior_mean_of_the_targets_density(fit, results):
    """Against plain Monte Carlo over posterior draws of family effects, with scipy's beta density."""
    model, data, params = fit.model, results.model.data, results.params
    scored = np.unique(model.family_codes[data.state == 0])
    alpha = dict(zip(scored, posterior_draws(fit.structure, _cells_of(model, scored), 4000, seed=1), strict=True))
    loadings, rng = params.filter(like="loading").to_numpy(), np.random.default_rng(3)
    total, variance = 0.0, 0.0
    for family in scored:
        rows = np.flatnonzero((model.family_codes == family) & (data.state == 0))
        theta = alpha[family][:, None, :] + (model.design.x @ fit.structure.slopes)[rows]
        specific = params["family_sd[humaneval]"] * rng.standard_normal((len(theta), 1))
        mu = expit(theta @ loadings + params["intercept[humaneval]"] + specific)
        phi = params["precision[humaneval]"]
        density = np.exp(stats.beta.logpdf(data.y[rows], mu * phi, (1.0 - mu) * phi).sum(axis=1))
        total += np.log(density.mean())
        variance += density.var() / density.mean() ** 2 / len(density)
    assert abs(total - results.llf) < 4.0 * np.sqrt(variance) + 0.01
    assert np.sqrt(variance) < 0.3  # or the comparison says nothing


def test_scores_agree_with_differences_of_the_likelihood(fit):
    data = DownstreamModel(fit, "humaneval", asymptotes="both").data
    problem = _Problem(fit.structure, fit.model, data)
    rng = np.random.default_rng(0)
    zeta = np.array([0.4, 0.3, -1.5, 2.5, -3.0, 2.0, -0.7]) + 0.1 * rng.standard_normal(7)
    rule, step = target_rule(problem.extend(zeta)), np.full(7, 1e-3)
    numerical = jacobian(lambda z: np.array([problem.evaluate(z, rule)[0]]), zeta, step)[0]
    assert_allclose(problem.evaluate(zeta, rule)[1][:7], numerical, rtol=1e-5, atol=1e-6)
    value, pull, curvature = problem.penalty(zeta)
    assert value < 0.0
    assert_allclose(pull, jacobian(lambda z: np.array([problem.penalty(z)[0]]), zeta, step)[0], atol=1e-8)
    assert_allclose(curvature, jacobian(lambda z: problem.penalty(z)[1], zeta, step), atol=1e-8)


@pytest.mark.slow
def test_integration_rules_agree(fit, results):
    other = DownstreamModel(fit, "humaneval").fit(integration="laplace")
    assert abs(results.estimate.difference) < 1e-3
    assert abs(results.llf - other.llf) < 0.2  # the error of Laplace's approximation
    assert np.all(np.abs(other.params - results.params) < 0.1 * results.bse)
    draws = fit_target(fit.model, fit.structure, results.model.data, "monte_carlo")
    assert_allclose(draws.loglike, results.llf, atol=2e-3)
    with pytest.raises(ls.DataError, match="integration is one of"):
        DownstreamModel(fit, "humaneval").fit(integration="exact")


# --- standard errors ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_estimate_moves_with_the_first_stage_as_the_covariance_says(fit, results):
    law = parameter_law(fit)
    root = first_stage_root(law)
    moved = results.estimate.cov_known_skills @ results.estimate.cross @ root
    rng = np.random.default_rng(3)
    direction = rng.standard_normal(root.shape[1]) / np.sqrt(root.shape[1])
    ends = [
        fit_target(fit.model, law.structure(law.centre + step * law.root @ direction), results.model.data).zeta
        for step in (0.1, -0.1)
    ]
    scale = np.sqrt(np.diag(results.estimate.cov_known_skills))
    # the differences are of second order, and ascents stop within 1e-4 standard errors
    assert_allclose((ends[0] - ends[1]) / 0.2 / scale, moved @ direction / scale, atol=0.01)
    assert np.abs(moved @ direction / scale).max() > 0.03
    total = target_cov(results.estimate, root)
    assert_allclose(total, results.estimate.cov_known_skills + moved @ moved.T, rtol=1e-12)


@pytest.mark.slow
def test_without_the_first_stages_parameters_standard_errors_are_smaller(fit, results):
    known = DownstreamModel(fit, "humaneval").fit(uncertainty=())
    assert_allclose(known.bse, results.parameter_table()["std_err_known"], rtol=1e-3)
    assert (known.bse < results.bse).all()
    with pytest.raises(ls.DataError, match="without the estimates' covariance"):
        known.get_prediction()
    known.get_prediction(uncertainty=("family", "score"), size=100)


@pytest.mark.study
def test_recovery_and_coverage_where_plugging_in_is_biased():
    """15 tables of 50 families and four noisy benchmarks; plugged-in posterior means halve the precision."""
    z, plugged, inside = [], [], []
    for seed in range(15):
        table, _ = _simulated(seed)
        hidden = table["family"] > "f044"
        truth = table.loc[hidden, "task"].to_numpy()
        table.loc[hidden, "task"] = np.nan
        fit = _first_stage(table)
        found = DownstreamModel(fit, "task").fit(integration="laplace")
        # an anchored skill has unit variance over families, as the one that was simulated
        target = list(TRUTH.values())
        ends = found.conf_int()
        z.append((ends["lower"] <= target) & (target <= ends["upper"]))
        seen = ~hidden.to_numpy()
        theta = fit.skills().to_numpy()[seen]
        design = np.column_stack([np.ones(len(theta)), theta])
        alone = BetaModel(table["task"][seen].to_numpy(), design).fit(disp=0).params
        plugged.append([alone[2], np.log(found.params["precision[task]"]), found.params["loading[task,skill]"]])
        frame = found.get_prediction(size=1000).summary_frame().loc[hidden.to_numpy()]
        inside.append(np.mean((frame["obs_ci_lower"] <= truth) & (truth <= frame["obs_ci_upper"])))
    assert np.mean(z, axis=0).min() > 0.78  # three Monte Carlo errors of .056 below .95
    assert 0.90 < np.mean(inside) < 0.985  # 225 scores, correlated within families
    means, errors = np.mean(plugged, axis=0), np.std(plugged, axis=0) / np.sqrt(len(plugged))
    assert abs(means[1] - np.log(TRUTH["precision"])) < 3.0 * errors[1]
    assert abs(means[2] - TRUTH["loading"]) < 3.0 * errors[2]
    assert means[0] < np.log(TRUTH["precision"]) - 6.0 * errors[0]


# --- predictions -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_predictions_are_tables_like_those_of_benchmarks(fit, results):
    frame = results.get_prediction(size=500).summary_frame()
    assert list(frame.columns[:8]) == COLUMNS
    assert list(frame["llm"]) == list(fit.model.llms)
    assert set(frame["benchmark"]) == {"humaneval"}
    assert frame["mean"].between(frame["mean_ci_lower"], frame["mean_ci_upper"]).all()
    # ends of intervals carry the noise of 500 draws
    assert (frame["mean_ci_lower"] >= frame["obs_ci_lower"] - 0.02).all()
    assert (frame["mean_ci_upper"] <= frame["obs_ci_upper"] + 0.02).all()
    again = results.get_prediction(size=500).summary_frame()
    pd.testing.assert_frame_equal(frame, again)
    assert_allclose(results.predict(size=500), frame["mean"])
    assert (results.get_prediction(size=500).draws.scores == 0.0).any()  # squeezing is undone: zeros are possible


@pytest.mark.slow
def test_a_familys_own_scores_of_the_target_are_conditioned_on(fit, results):
    """Against importance weights on posterior draws given the benchmarks alone."""
    family = "qwen1.5"
    model, data = fit.model, results.model.data
    code = list(model.families).index(family)
    rows = np.flatnonzero(model.family_codes == code)
    alpha = posterior_draws(fit.structure, _cells_of(model, [code]), 20_000, seed=2)[0]
    theta = alpha[:, None, :] + (model.design.x @ fit.structure.slopes)[rows]
    specific = results.params["family_sd[humaneval]"] * np.random.default_rng(5).standard_normal((len(theta), 1))
    eta = theta @ results.params.filter(like="loading").to_numpy() + results.params["intercept[humaneval]"]
    mu = expit(eta + specific)
    phi, seen = results.params["precision[humaneval]"], data.state[rows] == 0
    weight = np.exp(stats.beta.logpdf(data.y[rows][seen], mu[:, seen] * phi, (1 - mu[:, seen]) * phi).sum(axis=1))
    expected, alone = weight @ mu / weight.sum(), mu.mean(axis=0)
    found = results.predict(size=8000)[model.llms[rows]].to_numpy()
    assert_allclose(found, expected, atol=0.002)
    assert np.abs(expected - alone).max() > 0.01
    fresh = model.panel.to_frame().iloc[[0]].assign(model="x", family=family, params_b=7.0, tokens_t=4.0)
    place = list(model.llms[rows]).index("qwen1.5-7b")
    assert_allclose(results.predict(fresh, size=8000).iloc[0], expected[place], atol=0.002)


def test_unseen_families_are_wider_and_scores_of_theirs_narrow_them(fit, results):
    new = pd.DataFrame({"model": ["x"], "family": ["none"], "params_b": [7.0], "tokens_t": [2.0], "bbh": [0.5]})
    new["ifeval"] = 0.45
    width = {}
    for name, options in {"prior": {}, "given": {"observed": True}}.items():
        frame = results.get_prediction(new, **options).summary_frame()
        width[name] = float((frame["mean_ci_upper"] - frame["mean_ci_lower"]).iloc[0])
    known = results.get_prediction(new.assign(family="qwen1.5")).summary_frame()
    width["family"] = float((known["mean_ci_upper"] - known["mean_ci_lower"]).iloc[0])
    assert width["family"] < 0.9 * width["prior"]
    # of HumanEval families differ by more than benchmarks tell; without that they tell something
    plain = DownstreamModel(fit, "humaneval", family_effect=False).fit(integration="laplace")
    for name, options in {"prior": {}, "given": {"observed": True}}.items():
        frame = plain.get_prediction(new, **options).summary_frame()
        width[name] = float((frame["mean_ci_upper"] - frame["mean_ci_lower"]).iloc[0])
    assert width["given"] < 0.9 * width["prior"]
    still = results.get_prediction(new, uncertainty=()).draws
    assert_allclose(still.mu, np.broadcast_to(still.mu[0], still.mu.shape))


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fewer_skills_asymptotes_and_shrinkage(fit, results):
    one = DownstreamModel(fit, "humaneval", skills=fit.model.skills[:1]).fit(integration="laplace")
    assert one.llf < results.llf
    assert one.model.param_names == [f"loading[humaneval,{fit.model.skills[0]}]", *results.model.param_names[2:]]
    both = DownstreamModel(fit, "humaneval", asymptotes="both").fit(integration="laplace")
    assert both.model.param_names[-3:] == ["lower[humaneval]", "upper[humaneval]", "family_sd[humaneval]"]
    assert both.llf > results.llf
    assert both.conf_int().loc["upper[humaneval]"].between(0.0, 1.0).all()
    both.get_prediction(size=200)
    shrunk = DownstreamModel(fit, "humaneval", shrink=0.05).fit(integration="laplace")
    sizes = [np.sum(found.params.filter(like="loading") ** 2) for found in (shrunk, results)]
    assert sizes[0] < 0.8 * sizes[1]
    assert "shrunk" in str(shrunk.summary())


@pytest.mark.slow
def test_zeros_are_squeezed_or_censored(fit, results):
    assert results.model.prepared.boundary_counts["humaneval"] == 12
    censored = DownstreamModel(fit, "humaneval", boundary="censor").fit(integration="laplace")
    assert censored.converged
    assert (censored.params - results.params)[["precision[humaneval]"]].abs().gt(0).all()
    assert (censored.get_prediction(size=500).draws.scores >= 0.0).all()
    with pytest.raises(ls.DataError, match="exactly 0 or 1"):
        DownstreamModel(fit, "humaneval", boundary="error")


def test_a_table_of_its_own_gives_the_same(fit, results):
    table = ls.load_leaderboard()[["model", "humaneval"]].rename(columns={"humaneval": "code"})
    found = DownstreamModel(fit, "code", table, chance=0.0).fit()
    assert_array_equal(found.params.to_numpy(), results.params.to_numpy())
    assert found.model.not_fitted == results.model.not_fitted
    assert len(found.model.not_fitted) == 3


def test_reports(results):
    text = str(results.summary())
    for words in ("humaneval", "Murphy and Topel", "3 LLMs with a score"):
        assert words in text
    assert results.pvalues.between(0.0, 1.0).all()
    test = results.t_test(f"{results.model.param_names[0]} = 0")
    assert_allclose(float(np.squeeze(test.statistic)), results.tvalues.iloc[0])
    with pytest.raises(AttributeError, match="immutable"):
        results.root = None
    assert "humaneval" in repr(results)


def test_errors_say_what_to_do(fit):
    table = ls.load_leaderboard()
    bad = [
        ({"target": "bbh"}, "one of the benchmarks"),
        ({"target": "agents"}, "agents"),
        ({"target": "humaneval", "skills": ["coding"]}, "skills takes skills of the fit"),
        ({"target": "humaneval", "asymptotes": "none"}, "asymptotes is one of"),
        ({"target": "humaneval", "chance": 1.5}, "chance is a fraction"),
        ({"target": "humaneval", "shrink": -1.0}, "shrink is a positive number"),
        ({"target": "humaneval", "data": table.assign(humaneval=100 * table["humaneval"])}, "divide them by 100"),
        ({"target": "humaneval", "data": table.assign(model=table["model"] + "?")}, "not in the fit's panel"),
    ]
    for options, message in bad:
        with pytest.raises(ls.DataError, match=message):
            DownstreamModel(fit, **options)
    few = table.assign(humaneval=table["humaneval"].where(table["model"].isin(fit.model.llms[5:9])))
    few.loc[few["model"].isin(fit.model.llms[:4]), "humaneval"] = [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(ls.DataError, match="too few for"):
        DownstreamModel(fit, "humaneval", few.iloc[:3])
    with pytest.raises(ls.DataError, match="fit of LatentSkillModel"):
        DownstreamModel(fit.model, "humaneval")
    with pytest.raises(ls.DataError, match="fit that was rotated"):
        DownstreamModel(fit.rotate("varimax", starts=5), "humaneval")
    with pytest.raises(ls.DataError, match="uncertainty is one or more of parameters"):
        DownstreamModel(fit, "humaneval").fit(uncertainty=("skills",))


def test_too_many_skills_for_the_scores_are_reported(fit):
    """With scores of one LLM a family over two families the loadings are hardly determined: a warning, or s.e.s."""
    table = ls.load_leaderboard()
    rows = table[table["humaneval"].notna() & table["tokens_t"].notna()].groupby("family").head(1)
    found = DownstreamModel(fit, "humaneval", rows).fit(integration="laplace")
    assert found.nobs == found.model.n_families == len(rows)
    assert (found.bse > 0).all()


def test_a_target_without_noise_in_its_law_is_plain_beta_regression():
    """Benchmarks so precise that skills are known: the estimate is that of statsmodels on the true skills."""
    table, theta = _simulated(5)
    fit = _first_stage(table)
    model, structure = fit.model, fit.structure
    sharp = replace(
        structure, loadings=np.full((4, 1), 0.5), intercepts=np.full(4, -0.6), precision=np.full(4, 1e6),
        slopes=np.array([[0.3]]), skill_cov=np.eye(1),
    )  # fmt: skip
    mu = expit(0.5 * theta - 0.6)[:, None].repeat(4, axis=1)
    exact = type("Sharp", (), {})()
    exact.__dict__.update(
        prepared=replace(model.prepared, y=mu), family_codes=model.family_codes, design=model.design,
        random_design=model.random_design, n_families=model.n_families, dispersion=None, nested=False,
    )  # fmt: skip
    y = table["task"].to_numpy()
    target = Target(y, np.zeros(len(y), dtype=np.int8), 1e-6, np.array([0]), 0.0, "chance", None, Beta())
    found = fit_target(exact, sharp, target, "laplace")
    reference = BetaModel(y, np.column_stack([theta, np.ones(len(y))])).fit(disp=0)
    # statsmodels parametrises the precision by its logarithm, as zeta does
    assert_allclose(found.zeta, reference.params, rtol=2e-3)
    assert_allclose(np.sqrt(np.diag(found.cov_known_skills)), reference.bse, rtol=0.1)
