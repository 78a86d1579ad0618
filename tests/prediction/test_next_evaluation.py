"""Which evaluation next: against the exact normal case, scipy's densities and brute force."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import expit

import latentscale as ls
from latentscale.components.beta_law import Beta
from latentscale.downstream.model import DownstreamModel
from latentscale.planning.expected_gain import expected_spread, simulated_log_density
from latentscale.planning.next_evaluation import next_evaluation
from latentscale.prediction.skill_draws import JointDraws, read_request


@pytest.fixture(scope="module")
def fit(leaderboard_fit):
    return leaderboard_fit


@pytest.fixture(scope="module")
def llms():
    """One of an unseen family with a score, one of a known family without."""
    columns = {"model": ["new", "old"], "family": ["none", "qwen2"], "params_b": [7.0, 30.0], "tokens_t": [4.0, 7.0]}
    return pd.DataFrame({**columns, "mmlu": [0.65, np.nan]})


# --- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.3, 1.0, 4.0])
def test_the_normal_case_is_exact(noise):
    """theta ~ N(0, 1), y = theta + noise e: the variance after is noise^2 / (1 + noise^2)."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(20_000)
    own = rng.integers(len(theta), size=300)
    y = theta[own] + noise * rng.standard_normal(300)
    found = expected_spread(2.0 * theta, stats.norm.logpdf(y[:, None], theta, noise), own)
    after = noise**2 / (1.0 + noise**2)
    assert_allclose(found.sd_now, 2.0, rtol=0.02)
    assert_allclose(found.sd_after, 2.0 * np.sqrt(after), rtol=0.02)
    assert abs(found.reduction - (1.0 - after)) < 4.0 * found.reduction_se + 0.01
    assert 0.0 < found.ess < len(theta)


def test_a_score_that_says_nothing_reduces_nothing():
    theta = np.random.default_rng(1).standard_normal(3000)
    found = expected_spread(theta, np.zeros((50, 3000)), np.arange(50))
    assert_allclose(found.reduction, 0.0, atol=1e-3)  # each outcome leaves out one draw of 3,000
    assert_allclose(found.ess, 2999.0)


@pytest.mark.parametrize("outliers", [0.0, 0.2])
def test_densities_are_those_of_the_beta_law(outliers):
    rng = np.random.default_rng(2)
    mu, phi = rng.uniform(0.05, 0.95, 40), rng.uniform(5.0, 300.0, 40)
    density, own = simulated_log_density(Beta(outliers), mu, phi, 16, np.random.default_rng(3))
    again = np.random.default_rng(3)
    places = (np.arange(16) + again.random(16)) / 16 * 40
    assert list(own) == list(np.argsort(mu)[places.astype(int)])
    precision = np.where(again.random(16) < outliers, 0.1, 1.0) * phi[own]
    y = again.beta(mu[own] * precision, (1.0 - mu[own]) * precision)
    law = (1.0 - outliers) * stats.beta.pdf(y[:, None], mu * phi, (1.0 - mu) * phi)
    law += outliers * stats.beta.pdf(y[:, None], mu * phi / 10.0, (1.0 - mu) * phi / 10.0)
    assert_allclose(density, np.log(law), rtol=1e-8, atol=1e-8)


@pytest.mark.slow
def test_reweighting_agrees_with_conditioning_on_simulated_scores(fit, llms):
    """Brute force: each simulated score is put into the table, and the posterior is drawn again."""
    new = llms.iloc[[0]]
    names = ["bbh", "ifeval", "winogrande"]
    found = next_evaluation(fit, new, "ifeval", names, uncertainty="family", size=4000).table
    found = found.set_index("candidate")
    joint = JointDraws(fit, read_request(fit.model, new, True), 4000, seed=9)
    now = _expected(fit, joint, "ifeval").var()
    assert_allclose(found["sd_now"], np.sqrt(now), rtol=0.03)
    rng = np.random.default_rng(5)
    for name in names:
        phi = fit.precision[name]
        mu = _expected(fit, joint, name)[rng.integers(4000, size=40)]
        variances = []
        for score in rng.beta(mu * phi, (1.0 - mu) * phi):
            request = read_request(fit.model, new.assign(**{name: score}), True)
            drawn = JointDraws(fit, request, 1000, seed=3, proposals=1024)
            variances.append(_expected(fit, drawn, "ifeval").var())
        error = np.std(variances) / np.sqrt(len(variances)) / now
        assert abs(found.loc[name, "reduction"] - (1.0 - np.mean(variances) / now)) < 4.0 * error + 0.03


def _expected(fit, joint, name):
    """Draws of the expected score of the first LLM on a benchmark (S,)."""
    s, j = fit.structure, fit.model.benchmarks.index(name)
    return s.lower[j] + (s.upper[j] - s.lower[j]) * expit(joint.theta[:, 0] @ s.loadings[j] + s.intercepts[j])


# --- tables --------------------------------------------------------------------------------------------------------


def test_one_row_for_each_llm_and_missing_benchmark(fit, llms):
    found = next_evaluation(fit, llms, "ifeval", size=1000, outcomes=50)
    table = found.table
    assert list(table.columns) == ["llm", "candidate", "sd_now", "sd_after", "reduction", "reduction_se", "ess"]
    assert table.groupby("llm", sort=False).size().to_dict() == {"new": 11, "old": 12}  # new has mmlu
    largest = table.loc[table.groupby("llm", sort=False)["reduction"].idxmax()]
    assert found.best().to_dict() == dict(zip(largest["llm"], largest["candidate"], strict=True))
    for _, part in table.groupby("llm"):
        assert part["reduction"].is_monotonic_decreasing
        assert part["sd_now"].nunique() == 1
    assert (table["sd_after"] < 1.02 * table["sd_now"]).all()
    new, old = (table[table["llm"] == llm].iloc[0] for llm in ("new", "old"))
    assert new["reduction"] > old["reduction"]  # the family of the other is known
    assert "expected score of ifeval" in str(found)
    pd.testing.assert_frame_equal(table, next_evaluation(fit, llms, "ifeval", size=1000, outcomes=50).table)


def test_costs_decide_the_order(fit, llms):
    costs = dict.fromkeys(fit.model.benchmarks, 1.0) | {"bbh": 1000.0}
    found = next_evaluation(fit, llms.iloc[[0]], "bbh", costs=costs, size=1000, outcomes=50)
    assert found.table["candidate"].iloc[-1] == "bbh"
    assert found.table["reduction_per_cost"].is_monotonic_decreasing
    assert_allclose(found.table["reduction_per_cost"], found.table["reduction"] / found.table["cost"])


def test_targets_may_be_skills_mixes_and_regressions(fit, llms):
    options = {"candidates": ["bbh", "ifeval"], "size": 1000, "outcomes": 50}
    mix = next_evaluation(fit, llms, {"bbh": 0.5, "ifeval": 0.5}, **options)
    assert "0.5 bbh + 0.5 ifeval" in mix.target
    twice = next_evaluation(fit, llms, {"bbh": 1.0, "ifeval": 1.0}, **options)
    assert_allclose(twice.table["sd_now"], 2.0 * mix.table["sd_now"])
    assert_allclose(twice.table["reduction"], mix.table["reduction"], atol=1e-9)
    skills = next_evaluation(fit, llms, {"skill1": 1.0, "skill2": -1.0}, **options)
    assert skills.target.startswith("skill ")
    # with a family effect of HumanEval's own, benchmarks tell next to nothing of a family that has no score of it
    regression = DownstreamModel(fit, "humaneval", family_effect=False).fit(integration="laplace")
    task = next_evaluation(fit, llms, regression, **options)
    assert "humaneval" in task.target
    assert task.table.iloc[0]["reduction"] > 0.05


def test_llms_of_the_likelihood_that_lack_scores(fit):
    found = next_evaluation(fit, None, "bbh", ["gpqa"], size=200, outcomes=20).table
    lacking = fit.model.llms[fit.model.prepared.state[:, list(fit.model.benchmarks).index("gpqa")] < 0]
    assert list(found["llm"]) == list(lacking)


def test_scores_that_no_draw_explains_are_reported(fit, llms):
    with pytest.warns(UserWarning, match="Few draws agree with simulated scores"):
        next_evaluation(fit, llms.iloc[[0]], "bbh", ["bbh"], size=60, outcomes=10)


def test_errors_say_what_there_is(fit, llms):
    bad = [
        ({"target": "coding"}, "target is a skill"),
        ({"target": {"bbh": 0.0}}, "not all zero"),
        ({"target": {"bbh": 1.0, "skill1": 1.0}}, "target is a skill"),
        ({"target": {}}, "target is a skill"),
        ({"target": "bbh", "candidates": ["humaneval"]}, "candidates takes benchmarks"),
        ({"target": "bbh", "costs": {"bbh": 1.0}}, "missing"),
        ({"target": "bbh", "candidates": ["bbh"], "costs": {"bbh": 0.0}}, "not positive"),
        ({"target": "bbh", "costs": [1.0]}, "costs is a dict"),
        ({"target": "bbh", "outcomes": 1}, "outcomes is a whole number"),
        ({"target": "bbh", "uncertainty": ()}, "nothing else to reduce"),
        ({"target": "bbh", "candidates": ["mmlu"], "data": llms.iloc[[0]]}, "nothing left to evaluate"),
    ]
    for options, message in bad:
        with pytest.raises(ls.DataError, match=message):
            next_evaluation(fit, **{"data": llms, "size": 100, "outcomes": 20, **options})
    other = ls.LatentSkillModel(fit.model.panel, skills=1).fit(integration="laplace", starts=1)
    regression = DownstreamModel(other, "humaneval").fit(integration="laplace")
    with pytest.raises(ls.DataError, match="another fit"):
        next_evaluation(fit, llms, regression)
