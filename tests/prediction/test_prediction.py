"""Predictions with intervals: sources of uncertainty, known, unseen and partly observed LLMs, recorded scores."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import latentscale as ls
from latentscale.likelihood.modes import posterior_modes
from latentscale.likelihood.rules import Rule
from latentscale.prediction.conditioning_scores import gather_conditioning_scores
from latentscale.prediction.parameter_law import parameter_law
from latentscale.prediction.posterior import family_posterior
from latentscale.prediction.sensitivity import sensitivities
from latentscale.prediction.skill_draws import Request, read_request, skill_draws

from .conftest import BENCHMARKS, model_of, table_of, truth_of


def new_llms(**columns):
    table = {"model": ["x", "y", "z"], "family": ["f004", "new", "new"], "size": [20.0, 5.0, 50.0]}
    return pd.DataFrame(table | columns)


def width(frame, kind="obs"):
    return (frame[f"{kind}_ci_upper"] - frame[f"{kind}_ci_lower"]).to_numpy()


# --- sources -----------------------------------------------------------------------------------------------------


def test_means_are_those_of_predict(fit):
    prediction = fit.get_prediction(new_llms())
    pd.testing.assert_frame_equal(prediction.mean, fit.predict(new_llms()), check_names=False)
    assert_allclose(prediction.draws.mu.mean(axis=0), prediction.mean, atol=0.01)
    frame = prediction.summary_frame()
    assert frame.columns[:8].tolist() == [
        "llm", "benchmark", "mean", "mean_se", "mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper",
    ]  # fmt: skip
    assert frame[["llm", "benchmark"]].drop_duplicates().shape == (12, 2)


def test_sources_are_separable(fit):
    def frame(*sources):
        return fit.get_prediction(new_llms(), uncertainty=sources).summary_frame()

    nothing, score, family = frame(), frame("score"), frame("family")
    assert_allclose(width(nothing), 0.0, atol=1e-12)
    assert_allclose(nothing["obs_ci_lower"], nothing["mean"], rtol=1e-9)
    # a score about its mean, and nothing else: quantiles of the beta law at the estimate
    phi = np.tile(fit.precision.to_numpy(), 3)
    mean = score["mean"].to_numpy()
    exact = stats.beta(mean * phi, (1.0 - mean) * phi)
    assert_allclose(score["obs_ci_lower"], exact.ppf(0.025), atol=0.015)
    assert_allclose(score["obs_ci_upper"], exact.ppf(0.975), atol=0.015)
    assert_allclose(width(score, "mean"), 0.0, atol=1e-12)
    # without the score's noise a score is its mean
    assert_allclose(width(family), width(family, "mean"), rtol=1e-12)
    # variances of nearly independent sources add up, on the scale on which parameters act
    logit = [
        stats.logistic.ppf(fit.get_prediction(new_llms(), uncertainty=sources).draws.mu).var(axis=0)
        for sources in (["family"], ["parameters"], ["family", "parameters"])
    ]
    assert_allclose(logit[0] + logit[1], logit[2], rtol=0.15)


def test_parameters_of_an_unseen_family_are_the_delta_method(fit):
    """At alpha = 0 logit F is a plain function of the parameters, of which ``delta`` knows the standard error."""
    request = read_request(fit.model, new_llms().iloc[1:2])
    given = gather_conditioning_scores(fit.model, request.llms, request.families, request.x)
    assert given.cells is None
    moves = sensitivities(parameter_law(fit), fit.model, request, given)
    x = request.x[0]
    skills = fit.delta(lambda p: [sum(x[q] * p.slopes[q, k] for q in range(len(x))) for k in range(2)])
    assert_allclose(np.linalg.norm(moves.theta[:, 0], axis=0), skills.bse, rtol=1e-4)
    place = BENCHMARKS.index("c")  # without a chance level
    eta = fit.delta(lambda p: p.loadings[place] @ (x @ p.slopes) + p.intercepts[place])
    assert_allclose(np.linalg.norm(moves.logit_mean[:, 0, place]), np.ravel(eta.bse)[0], rtol=1e-4)
    phi = fit.bse["precision[c]"] / fit.params["precision[c]"]
    assert_allclose(np.linalg.norm(moves.log_precision[:, 0, place]), phi, rtol=1e-3)


def test_parameters_of_a_known_family_move_its_mode(fit):
    """The implicit function theorem against modes found anew, direction by direction."""
    law, model = parameter_law(fit), fit.model
    request = read_request(model, new_llms().iloc[:1])
    given = gather_conditioning_scores(model, request.llms, request.families, request.x)
    moves = sensitivities(law, model, request, given)
    code = int(np.flatnonzero(model.families == "f004")[0])
    for number, direction in enumerate(law.root.T):
        ends = []
        for sign in (1.0, -1.0):
            structure = law.structure(law.centre + sign * 1e-3 * direction)
            alpha = posterior_modes(structure, model.user_cells).alpha[code]
            ends.append(alpha + request.x[0] @ structure.slopes)
        assert_allclose(moves.theta[number, 0], (ends[0] - ends[1]) / 2e-3, rtol=2e-3, atol=2e-5)


def test_the_covariance_of_the_fit_is_used(fit):
    covariance = replace(fit.covariance, matrix=4.0 * fit.covariance.matrix, kind="cluster")
    wide = type(fit)(fit.model, fit.estimate, covariance)
    args = {"uncertainty": ("parameters",)}
    before, after = (one.get_prediction(new_llms(), **args).summary_frame() for one in (fit, wide))
    assert_allclose(after["mean_se"], 2.0 * before["mean_se"], rtol=0.1)


def test_a_fit_without_standard_errors_has_parameter_uncertainty(simulated, fit):
    model, truth = simulated
    options = {"integration": "laplace", "information": False, "cov_type": "none"}
    plain = model.fit(starts=0, start_params=truth, **options)
    assert plain.bse.isna().all()
    one, other = (
        f.get_prediction(new_llms(), uncertainty=("parameters",)).summary_frame()["mean_se"] for f in (plain, fit)
    )
    assert_allclose(one, other, rtol=0.35)  # expected against observed information, forty families


# --- known, unseen, partly observed ------------------------------------------------------------------------------


def test_conditioning_on_all_scores_is_a_refit_with_that_llm_at_fixed_parameters():
    table = table_of(30)
    truth = truth_of(model_of(table))
    table = model_of(table).simulate(truth, seed=5)
    llm = table["family"].eq("f007").idxmax()
    whole, without = model_of(table), model_of(table.drop(llm))
    structure = whole.table.structure(truth.to_numpy())
    exact = family_posterior(structure, whole.user_cells, Rule.build("quadrature", 2, points=25))
    code = int(np.flatnonzero(whole.families == "f007")[0])
    fitted = without.fit(integration="laplace", starts=0, start_params=truth)
    held = type(fitted)(without, replace(fitted.estimate, params=without.table.natural(structure)), fitted.covariance)
    draws = skill_draws(held, table.loc[[llm]], observed=True, size=4000, uncertainty=("family",)).theta[:, 0]
    alpha = draws - whole.design.x[whole.llms.get_loc(table.loc[llm, "model"])] @ structure.slopes
    assert_allclose((alpha.mean(axis=0) - exact.mean[code]) / exact.sd[code], 0.0, atol=0.04)
    assert_allclose(alpha.std(axis=0), exact.sd[code], rtol=0.04)
    # and not without its scores
    blind = skill_draws(held, table.loc[[llm]], size=4000, uncertainty=("family",)).theta[:, 0]
    assert (blind.std(axis=0) > 1.1 * exact.sd[code]).all()


def test_unseen_families_come_from_the_family_distribution_and_share_their_effect(fit):
    draws = skill_draws(fit, new_llms(), size=20000, uncertainty=("family",))
    effects = draws.theta[:, 1] - fit.model.design.code(new_llms())[1] @ fit.structure.slopes
    assert_allclose(effects.mean(axis=0), 0.0, atol=0.03)
    assert_allclose(np.cov(effects.T), fit.skill_cov, atol=0.04)
    gap = draws.theta[:, 2] - draws.theta[:, 1]
    assert_allclose(gap.std(axis=0), 0.0, atol=1e-9)


def test_an_llm_of_the_fit_named_again_counts_once(fit):
    rows = fit.model.panel.to_frame().iloc[12:15]
    again = fit.get_prediction(rows, observed=True, uncertainty=("family",))
    plain = fit.get_prediction(rows, uncertainty=("family",))
    assert_allclose(again.draws.mu, plain.draws.mu, rtol=1e-6)
    # under another name it is another LLM, whose scores are news
    other = fit.get_prediction(rows.assign(model=["n1", "n2", "n3"]), observed=True, uncertainty=("family",))
    assert (other.draws.mu.std(axis=0) < 0.85 * plain.draws.mu.std(axis=0)).mean() > 0.8


def test_scores_of_one_benchmark_narrow_the_others(fit):
    blind = fit.get_prediction(new_llms(), observed=False).summary_frame()
    seen = fit.get_prediction(new_llms(a=[0.5, np.nan, 0.6]), observed=True).summary_frame()
    assert_allclose(seen.loc[seen["benchmark"] == "a", "observed"], [0.5, np.nan, 0.6])
    unseen = (blind["llm"] == "y") & (blind["benchmark"] == "c")  # z has a score, y of its family not
    assert width(seen[unseen], "mean")[0] < 0.9 * width(blind[unseen], "mean")[0]


def test_numbers_do_not_depend_on_the_rest_of_the_table(fit):
    table = new_llms()
    every = fit.get_prediction(table, seed=4).draws.mu
    assert_array_equal(fit.get_prediction(table, seed=4).draws.mu, every)
    backwards = fit.get_prediction(table.iloc[::-1], seed=4).draws.mu
    assert_allclose(backwards[:, 2], every[:, 0], rtol=1e-6)
    assert not np.array_equal(fit.get_prediction(table, seed=5).draws.mu, every)


def test_default_data_are_the_llms_of_the_fit(fit):
    frame = fit.get_prediction(size=500).summary_frame(0.2)
    assert len(frame) == fit.n_llms * 4
    score = fit.model.panel.scores.stack().dropna()
    ends = frame.set_index(["llm", "benchmark"]).loc[score.index]
    share = ((score >= ends["obs_ci_lower"]) & (score <= ends["obs_ci_upper"])).mean()
    assert 0.77 < share < 0.92  # scores that the fit has seen


def test_residual_skills_widen_predictions_of_new_llms_only(fit):
    """kappa added to a fit: a new LLM of a known family gets the residual's spread, on top of that of its family."""
    structure = fit.structure.with_scales(llm_sd=0.8)
    model = fit.model

    class WithResiduals:
        def __init__(self):
            self.model, self.structure, self.params = model, structure, fit.params

    draws = skill_draws(WithResiduals(), new_llms(), size=8000, uncertainty=("family",)).theta
    plain = skill_draws(fit, new_llms(), size=8000, uncertainty=("family",)).theta
    own = 0.64 * fit.skill_cov.to_numpy()
    assert_allclose(np.cov(draws[:, 1].T), np.cov(plain[:, 1].T) + own, atol=0.07)
    gap = np.cov((draws[:, 2] - draws[:, 1]).T)
    assert_allclose(gap, 2.0 * own, atol=0.08)


# --- recorded scores ---------------------------------------------------------------------------------------------


def _with_zeros(boundary):
    table = table_of(10, missing=0.0)
    table.loc[[0, 5], "c"] = 0.0
    return model_of(table, boundary)


def test_squeezing_is_undone():
    model = _with_zeros("squeeze")
    scores = np.array([[0.2, 0.3, 0.0, 0.9], [0.5, np.nan, 1.0, 0.1]])
    y, state = model.prepared.prepare_new(scores, ["p", "q"])
    n = model.prepared.n_observed[2]
    assert_allclose(y[:, 2], [0.5 / n, (n - 0.5) / n])
    assert_allclose(y[:, [0, 3]], scores[:, [0, 3]])
    assert_array_equal(state, [[0, 0, 0, 0], [0, -1, 0, 0]])
    assert_allclose(model.prepared.recorded(y), scores, atol=1e-12)
    assert_array_equal(model.prepared.recorded(np.full((1, 4), 0.2 / n))[0, 2], 0.0)  # less than a squeezed zero


def test_a_new_boundary_score_where_the_fit_had_none_is_squeezed_alone():
    model = _with_zeros("squeeze")
    y, _ = model.prepared.prepare_new(np.array([[0.0, 0.5, 0.5, 0.5]]), ["p"])
    assert_allclose(y[0, 0], 0.5 / model.prepared.n_observed[0])


def test_censored_scores_are_recorded_as_zero():
    model = _with_zeros("censor")
    y, state = model.prepared.prepare_new(np.array([[0.2, 0.3, 0.0, 1.0]]), ["p"])
    assert_array_equal(state, [[0, 0, 1, 2]])
    assert_array_equal(model.prepared.recorded(y), [[0.2, 0.3, 0.0, 1.0]])


def test_boundary_scores_are_refused_where_the_fit_refused_them():
    model = model_of(table_of(10), "error")
    with pytest.raises(ls.DataError, match="a of p"):
        model.prepared.prepare_new(np.array([[0.0, 0.5, 0.5, 0.5]]), ["p"])


# --- contrasts and posteriors ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_posteriors_report_moments_quantiles_and_draws(fit):
    posteriors = fit.family_posteriors()
    moments, exact = posteriors.moments(), fit.family_effects()
    assert_allclose((moments["mean"] - exact["mean"]) / exact["sd"], 0.0, atol=5e-3)
    assert_allclose(moments["sd"], exact["sd"], rtol=5e-3)
    quantiles = posteriors.quantiles((0.025, 0.5, 0.975))
    assert_allclose((quantiles[0.5] - exact["mean"]) / exact["sd"], 0.0, atol=0.1)
    assert_allclose((quantiles[0.975] - quantiles[0.025]) / exact["sd"], 3.92, atol=0.15)
    draws = fit.family_posterior("f003", size=3000, seed=1)
    assert draws.shape == (3000, 2)
    assert_allclose(draws.corr(), posteriors.correlation("f003"), atol=0.06)
    with pytest.raises(ls.DataError, match="family is one of the families of the fit, not 'f999'"):
        fit.family_posterior("f999")
    with pytest.raises(AttributeError, match="immutable"):
        posteriors.seed = 3


def test_contrasts_of_families(fit):
    table = fit.contrast("f001", "f002", at={"size": 10.0})
    effects = fit.family_effects()
    gap = effects.loc["f001", "mean"] - effects.loc["f002", "mean"]
    assert_allclose(table.loc[["first", "second"], "difference"], gap, atol=0.02)
    assert table["kind"].tolist() == ["skill"] * 2 + ["benchmark"] * 4
    rows = pd.DataFrame({"model": ["p", "q"], "family": ["f001", "f002"], "size": [10.0, 10.0]})
    means = fit.predict(rows)
    assert_allclose(table.loc[BENCHMARKS, "difference"], means.loc["p"] - means.loc["q"], atol=0.01)
    given = fit.contrast("f001", "f002", uncertainty=("family",))
    sd = np.hypot(effects.loc["f001", "sd"], effects.loc["f002", "sd"])
    assert_allclose(given["se"], sd, rtol=0.05)
    assert (table.loc[["first", "second"], "se"] > given["se"]).all()
    back = fit.contrast("f002", "f001", at={"size": 10.0})
    assert_allclose(back["difference"], -table["difference"].to_numpy(), atol=1e-9)
    with pytest.raises(ls.DataError, match="second is one of the families"):
        fit.contrast("f001", "f998")


@pytest.mark.slow
def test_arviz_data(fit):
    arviz = pytest.importorskip("arviz")
    data = fit.family_posteriors().to_arviz(size=1000)
    assert data.posterior["alpha"].shape == (4, 250, 40, 2)
    summary = arviz.summary(data.posterior["alpha"].sel(family=["f003"]))
    assert len(summary) == 2


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uncertainty": ("luck",)}, "uncertainty is one or more of parameters, family, score"),
        ({"observed": True}, "no column of the benchmarks"),
        ({"size": 1}, "at least 2"),
        ({"seed": -1}, "seed is a whole number, at least 0"),
    ],
)
def test_bad_requests(fit, options, message):
    with pytest.raises(ls.DataError, match=message):
        fit.get_prediction(new_llms(), **options)


def test_bad_levels_and_missing_covariates(fit):
    with pytest.raises(ls.DataError, match="between 0 and 1"):
        fit.get_prediction(new_llms(), size=10).summary_frame(alpha=5)
    with pytest.raises(ls.DataError, match="lack a covariate"):
        fit.get_prediction(new_llms(size=[1.0, np.nan, 2.0]))
    with pytest.raises(ls.DataError, match="scores outside"):
        fit.get_prediction(new_llms(a=[0.5, -0.2, 0.3]), observed=True)


def test_a_fit_without_a_law_of_its_parameters_says_so(fit):
    broken = type(fit)(fit.model, replace(fit.estimate, information=-fit.estimate.information), fit.covariance)
    with pytest.raises(ls.DataError, match="Leave 'parameters' out"):
        broken.get_prediction(new_llms())
    assert len(broken.get_prediction(new_llms(), uncertainty=("family", "score")).summary_frame()) == 12


def test_requests_of_families_on_average_have_no_residual():
    request = Request(pd.Index(["a"]), ("f",), np.zeros((1, 1)), None)
    assert request.residuals
    assert len(request) == 1


def test_means_that_round_to_one_have_a_law(fit):
    steep = replace(fit.structure, intercepts=fit.structure.intercepts + 60.0)
    params = fit.model.table.natural(steep)
    extreme = type(fit)(fit.model, replace(fit.estimate, params=params), fit.covariance)
    frame = extreme.get_prediction(new_llms().iloc[1:], uncertainty=("family", "score")).summary_frame()
    assert frame["obs_ci_upper"].le(1.0).all()
    assert np.isfinite(frame.drop(columns=["llm", "benchmark", "observed"]).to_numpy(dtype=float)).all()


def test_covariates_far_beyond_the_data_warn(fit):
    with pytest.warns(UserWarning, match="size of y is more than 10 times beyond the data"):
        fit.get_prediction(new_llms(size=[20.0, 5000.0, 100.0]), size=50, uncertainty=())
