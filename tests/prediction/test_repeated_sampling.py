"""Repeated sampling: the unbiased estimate, the marginal likelihood, recovery, curves, the shipped example."""

from fractions import Fraction
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special, stats

import latentscale as ls
from latentscale.datasets.repeated_sampling import load_repeated_sampling, simulate_repeated_sampling
from latentscale.downstream.repeated_sampling_fit import fit_counts
from latentscale.downstream.repeated_sampling_law import (
    CountParameters,
    Counts,
    SkillMoments,
    count_posterior,
    pass_at_k,
)
from latentscale.downstream.repeated_sampling_model import RepeatedSamplingModel


@pytest.fixture(scope="module")
def fit(leaderboard_fit):
    return leaderboard_fit


@pytest.fixture(scope="module")
def results(fit):
    return RepeatedSamplingModel(fit, load_repeated_sampling()).fit(size=1000)


# --- the unbiased estimate -----------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.integers(1, 400), st.data())
def test_pass_at_k_is_the_ratio_of_binomial_coefficients(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exact = 1 - Fraction(comb(n - c, k), comb(n, k))
    assert_allclose(pass_at_k(c, n, k), float(exact), rtol=1e-12, atol=0.0)


def test_pass_at_k_is_unbiased():
    n, k, p = 12, 5, 0.13
    c = np.arange(n + 1)
    expected = np.sum(stats.binom.pmf(c, n, p) * pass_at_k(c, n, k))
    assert_allclose(expected, 1.0 - (1.0 - p) ** k, rtol=1e-12)


def test_pass_at_k_keeps_its_digits_for_many_tries():
    n = 10**9  # a plain ratio of gamma functions has no digit left here
    assert_allclose(pass_at_k(1, n, 3), 3.0 / n, rtol=1e-12)
    assert_allclose(pass_at_k(3, n, 1), 3.0 / n, rtol=1e-12)
    assert_allclose(pass_at_k(2, n, 2), float(1 - Fraction(comb(n - 2, 2), comb(n, 2))), rtol=1e-12)


def test_pass_at_k_takes_arrays_and_refuses_nonsense():
    found = pass_at_k([[0], [3]], 10, [1, 5, 8])
    assert_allclose(found, [[0.0, 0.0, 0.0], [0.3, 1 - 21 / 252, 1.0]], rtol=1e-14, atol=0.0)
    assert isinstance(pass_at_k(1, 2, 1), float)
    with pytest.raises(ls.DataError, match="between 0 and tries; got 11 of 10"):
        pass_at_k(11, 10, 1)
    with pytest.raises(ls.DataError, match=r"k = 20 with 10 tries at position \(1,\)"):
        pass_at_k([1, 2], 10, [5, 20])
    with pytest.raises(ls.DataError, match="whole numbers"):
        pass_at_k(0.5, 10, 1)


# --- the likelihood ------------------------------------------------------------------------------------------------


def _moments(mean, sd, paired=False):
    n, k = mean.shape
    of_llms = np.kron(np.eye(n // 2), np.ones((2, 2))) if paired else np.eye(n)
    return SkillMoments(mean, sd**2 * np.einsum("ij,kl->ikjl", of_llms, np.eye(k)))


def test_the_likelihood_of_one_llm_agrees_with_a_grid():
    counts = Counts(np.array([[0, 3, 9, 5]]), np.array([[10, 10, 10, 7]]))
    moments, parameters = _moments(np.array([[0.4]]), 0.3), CountParameters(np.array([0.8]), -0.3, 1.2, 0.5)
    sd = np.hypot(0.8 * 0.3, 0.5)

    # plain Gauss-Legendre on wide ranges: nothing is adapted to the posterior
    x, weight = np.polynomial.legendre.leggauss(200)
    b, u = -0.3 + 10.0 * x, 0.32 + 4.5 * x
    p = special.expit(u[:, None, None] + b[:, None])  # (u, b, item)
    items = (stats.binom.pmf(counts.successes[0], counts.tries[0], p) * stats.norm.pdf(b, -0.3, 1.2)[:, None]) * 10.0
    product = np.einsum("ubq,b->uq", items, weight).prod(axis=1)
    exact = np.log(np.sum(4.5 * weight * product * stats.norm.pdf(u, 0.32, sd)))
    # with four items only, u is far from determined: Laplace's worst case here
    assert_allclose(count_posterior(counts, moments, parameters).loglike, exact, atol=0.005)


def test_the_likelihood_of_two_relatives_agrees_with_a_grid():
    """Two LLMs whose skills share their error, no effects of their own: one dimension, a root with one column."""
    rng = np.random.default_rng(0)
    counts = Counts(rng.binomial(8, 0.4, (2, 12)), np.full((2, 12), 8))
    moments = _moments(np.array([[0.1], [0.6]]), 0.7, paired=True)
    parameters = CountParameters(np.ones(1), -0.5, 1.0, 0.0)
    z, weight = special.roots_hermitenorm(120)
    b = -0.5 + z  # sd_item is 1
    total = np.zeros(len(z))
    for number, shift in enumerate(0.7 * z):
        p = special.expit(np.array([0.1, 0.6])[:, None, None] + shift + b)
        density = stats.binom.pmf(counts.successes[:, :, None], 8, p).prod(axis=0) @ weight / np.sqrt(2.0 * np.pi)
        total[number] = density.prod()
    exact = np.log(total @ weight / np.sqrt(2.0 * np.pi))
    found = count_posterior(counts, moments, parameters)
    assert found.root.shape == (2, 1)
    assert_allclose(found.loglike, exact, atol=0.005)


def test_a_poor_start_does_not_matter():
    rng = np.random.default_rng(1)
    counts = Counts(rng.binomial(30, 0.3, (6, 10)), np.full((6, 10), 30))
    moments, parameters = _moments(rng.standard_normal((6, 2)), 0.2), CountParameters(np.ones(2), 0.0, 1.0, 0.4)
    found = count_posterior(counts, moments, parameters)
    other = count_posterior(counts, moments, parameters, (np.full(6, 8.0), np.full(10, -9.0)))
    assert_allclose(other.loglike, found.loglike, atol=1e-7)
    assert_allclose(other.mean, found.mean, atol=1e-5)


# --- recovery ------------------------------------------------------------------------------------------------------

TRUTH = np.array([1.0, 0.5, -0.5, 1.5, 0.4])


def _simulated(seed, n=14, items=40, tries=30, error=0.2):
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((n, 2))
    theta = mean + error * np.repeat(rng.standard_normal((n // 2, 2)), 2, axis=0)
    u = theta @ TRUTH[:2] + TRUTH[4] * rng.standard_normal(n)
    b = TRUTH[2] + TRUTH[3] * rng.standard_normal(items)
    successes = rng.binomial(tries, special.expit(u[:, None] + b))
    return Counts(successes, np.full_like(successes, tries)), _moments(mean, error, paired=True), u, b


@pytest.mark.slow
def test_many_llms_and_items_recover_the_parameters():
    counts, moments, u, b = _simulated(3, n=60, items=80)
    found = fit_counts(counts, moments)
    se = np.sqrt(np.diag(found.cov))
    assert np.all(np.abs(found.vector - TRUTH) < 3.5 * se)
    assert np.all(se < [0.12, 0.12, 0.25, 0.2, 0.08])
    assert found.distance < 0.01
    posterior = count_posterior(counts, moments, found.parameters)
    assert np.corrcoef(posterior.mean, u)[0, 1] > 0.99
    assert np.corrcoef(posterior.nodes[:, 5], b)[0, 1] > 0.99


@pytest.mark.study
def test_intervals_cover_with_few_llms():
    """14 LLMs, two skills known with error: restricted likelihood, t intervals of loadings."""
    inside, sd = [], []
    for seed in range(25):
        counts, moments, _, _ = _simulated(seed)
        found = fit_counts(counts, moments)
        se = np.sqrt(np.diag(found.cov))
        half = se * np.append(np.full(2, stats.t(11).isf(0.025)), np.full(3, 1.96))
        miss = np.abs(found.vector - TRUTH)
        miss[3:] = np.abs(np.log(found.vector[3:] / TRUTH[3:])) * found.vector[3:]
        inside.append(miss <= half)
        sd.append(found.vector[4])
    # .95 less three Monte Carlo errors of .044
    assert np.mean(inside, axis=0).min() > 0.82
    assert_allclose(np.mean(sd), TRUTH[4], atol=4.0 * np.std(sd) / np.sqrt(25))


@pytest.mark.slow
def test_errors_of_skills_are_integrated_out():
    """Taken as known, skills with error give smaller loadings: the classical attenuation."""
    ratios = []
    for seed in range(4):
        counts, moments, _, _ = _simulated(seed, n=40, items=20, error=0.8)
        observed = moments.mean + 0.8 * np.random.default_rng(seed + 100).standard_normal(moments.mean.shape)
        # posterior of theta = mean + error given a noisy observation of it, with a standard normal prior
        noisy = SkillMoments(observed / 1.64, np.einsum("ij,kl->ikjl", np.eye(40), np.eye(2)) * 0.64 / 1.64)
        known = SkillMoments(observed, 0.0 * noisy.cov)
        ratios.append([fit_counts(counts, one).vector[0] for one in (noisy, known)])
    integrated, plugged = np.mean(ratios, axis=0)
    assert plugged < 0.8 * integrated


@pytest.mark.slow
def test_effects_of_llms_that_are_not_there_are_estimated_at_zero(fit):
    rng = np.random.default_rng(8)
    theta = fit.skills()
    llms = theta.index[::6]
    u = (theta.loc[llms] - theta.mean()).to_numpy() @ [0.5, 0.3]
    p = special.expit(u[:, None] + rng.standard_normal(25))
    table = pd.DataFrame({"model": np.repeat(llms, 25), "item": np.tile(np.arange(25).astype(str), len(llms))})
    table["successes"] = rng.binomial(40, p).ravel()
    model = RepeatedSamplingModel(fit, table, tries=40)
    with pytest.warns(ls.BoundaryWarning, match="sd_llm is estimated at zero"):
        found = model.fit(size=1000)
    assert found.params["sd_llm"] == 0.0
    assert np.isnan(found.bse["sd_llm"])
    assert (found.bse.drop("sd_llm") > 0.0).all()
    found.pass_at_k(5, size=40)
    fixed = RepeatedSamplingModel(fit, table, tries=40, residual=False).fit(size=1000)
    assert_allclose(fixed.params, found.params.drop("sd_llm"), rtol=1e-3)


# --- curves ----------------------------------------------------------------------------------------------------------


def test_curves_of_the_tables_llms_follow_the_observed_estimates(results):
    table = results.pass_at_k([1, 3, 10, 30, 60, 200], size=400)
    curves = table.pivot(index="llm", columns="k", values="mean")
    assert (curves.diff(axis=1).iloc[:, 1:] > 0.0).all(axis=None)
    assert table["mean"].between(table["mean_ci_lower"], table["mean_ci_upper"]).all()
    first = table[table["k"] == 1].set_index("llm")
    shipped = load_repeated_sampling().assign(share=lambda t: t["successes"] / t["tries"])
    share = shipped.groupby("model")["share"].mean()
    assert_allclose(first["observed"], share[first.index], rtol=1e-12)
    assert_allclose(first["mean"], share[first.index], atol=0.01)
    assert table.loc[table["k"] == 200, ["observed", "obs_ci_lower"]].isna().all(axis=None)
    seen = table[table["k"].isin([3, 10, 30])]
    inside = seen["observed"].between(seen["obs_ci_lower"], seen["obs_ci_upper"])
    assert inside.mean() > 0.85  # 24 LLMs, three correlated points each


@pytest.mark.slow
def test_curves_of_new_llms_are_wide_and_know_their_family(fit, results):
    frame = fit.model.panel.to_frame().set_index("model")
    relative = frame.loc[["qwen1.5-7b"]].reset_index()
    stranger = relative.assign(model="x", family="nobody")
    width = {}
    for name, data in {"relative": relative, "stranger": stranger}.items():
        found = results.pass_at_k([10], data=data, size=400)
        assert found[["observed", "obs_ci_lower"]].isna().all(axis=None)
        width[name] = float((found["mean_ci_upper"] - found["mean_ci_lower"]).iloc[0])
    assert width["relative"] < width["stranger"]
    known = frame.loc[["qwen2-72b"]].reset_index()
    again, own = results.pass_at_k([10], data=known, size=400), results.pass_at_k([10], size=400)
    assert_allclose(again["mean"], own.loc[own["llm"] == "qwen2-72b", "mean"], atol=0.01)
    assert again["observed"].notna().all()
    fresh = results.pass_at_k([1, 10], items="new", size=400)
    assert fresh["observed"].isna().all()
    assert_allclose(fresh["mean"], results.pass_at_k([1, 10], size=400)["mean"], atol=0.1)


def test_results_report(results):
    assert results.converged
    assert results.model.param_names == ["loading[skill1]", "loading[skill2]", "intercept", "sd_item", "sd_llm"]
    interval = results.conf_int()
    assert (interval["lower"] < results.params).all()
    assert interval.loc["sd_llm", "lower"] > 0.0
    assert np.isnan(results.pvalues["sd_item"])
    t = results.params.iloc[0] / results.bse.iloc[0]
    assert_allclose(results.pvalues.iloc[0], 2.0 * stats.t(24 - 3).sf(abs(t)))
    assert "Repeated sampling" in str(results.summary())
    items, llms = results.item_intercepts(), results.llm_propensities()
    assert items["successes"].corr(items["mean"], method="spearman") > 0.99
    shipped = load_repeated_sampling().groupby("model")["successes"].sum()
    assert llms["mean"].corr(shipped[llms.index].astype(float), method="spearman") > 0.99
    with pytest.raises(AttributeError, match="immutable"):
        results.estimate = None


def test_plot(results):
    ax = results.plot(size=60)
    assert ax.get_xlabel() == "k (tries)"
    assert len(ax.get_legend().get_texts()) == 6
    ax = results.plot(["qwen2-72b"], k=[1, 5, 25], size=60)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["qwen2-72b"]
    with pytest.raises(ls.DataError, match="LLMs with curves"):
        results.plot(["nobody"], k=[1], size=60)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_the_shipped_example_is_what_its_generator_makes():
    made = simulate_repeated_sampling()
    pd.testing.assert_frame_equal(load_repeated_sampling(), made)
    assert not simulate_repeated_sampling(1).equals(made)
    assert made["successes"].between(0, made["tries"]).all()
    assert not made.duplicated(["model", "item"]).any()
    assert set(made["model"]) <= set(ls.load_leaderboard()["model"])


def test_errors_name_rows(fit):
    table = load_repeated_sampling()
    bad = [
        (table.assign(successes=table["successes"] + 40), "More successes than tries"),
        (table.assign(successes=table["successes"] + 0.5), "successes must be whole numbers"),
        (table.assign(tries=0), "No tries"),
        (table.assign(model=table["model"].str.replace("qwen2-72b", "qwen3-72b")), "qwen3-72b"),
        (pd.concat([table, table.iloc[:1]]), f"{table['model'][0]} on item_01"),
        (table.drop(columns="item"), "item"),
        (table[table["model"].isin(table["model"].unique()[:3])], "too few for"),
        (table.assign(successes=0), "None of the"),
    ]
    for broken, message in bad:
        with pytest.raises(ls.DataError, match=message):
            RepeatedSamplingModel(fit, broken)
    with pytest.raises(ls.DataError, match="whole number, at least 1"):
        RepeatedSamplingModel(fit, table, tries=0)
    dropped = next(name for name in fit.model.panel.llms if name not in fit.model.llms)
    with pytest.raises(ls.DataError, match="dropped for a missing covariate"):
        RepeatedSamplingModel(fit, table.assign(model=table["model"].str.replace("qwen2-72b", dropped)))


def test_errors_of_curves(results):
    for k in (0, 1.5, [], [[1]]):
        with pytest.raises(ls.DataError, match="k is a whole number"):
            results.pass_at_k(k)
    with pytest.raises(ls.DataError, match="items is one of"):
        results.pass_at_k(1, items="all")
    with pytest.raises(ls.DataError, match="alpha"):
        results.pass_at_k(1, alpha=2.0)


def test_llms_may_lack_items(fit):
    table = load_repeated_sampling().query("item < 'item_21'")
    lacking = table.drop(table.index[(table["model"] == "qwen2-72b") & (table["item"] > "item_10")])
    found = RepeatedSamplingModel(fit, lacking, skills=["skill1"]).fit(size=1000)
    curve = found.pass_at_k(10, size=40).set_index("llm")
    assert np.isnan(curve.loc["qwen2-72b", "observed"])
    assert np.isnan(curve.loc["qwen2-72b", "obs_ci_lower"])
    assert curve["observed"].isna().sum() == 1
    assert curve["mean"].notna().all()
