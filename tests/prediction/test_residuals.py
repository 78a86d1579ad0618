"""Residuals: calibration at known parameters, draws from the posterior, extreme tails, tests of residuals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

import latentscale as ls
from latentscale.likelihood.rules import Rule
from latentscale.numerics.beta import log_tail_terms, log_tails
from latentscale.prediction.posterior import family_posterior
from latentscale.prediction.residuals import (
    cell_residuals,
    fitted_scores,
    posterior_draws,
    residual_tests,
    residuals,
)

ITEMS = list("abcd")
TRUTH = {"loading": 0.8, "slope": 0.3, "intercept": -0.5, "precision": 25.0, "corr": 0.4, "slope_sd": 0.9}
RULE = Rule.build("quadrature", 2, points=9)


@pytest.fixture(scope="module")
def build():
    """Table, panel options -> model with two correlated skills."""

    def build_model(table, random_slopes=None, **options):
        panel = ls.BenchmarkPanel(table, benchmarks=ITEMS, chance={"b": 0.2}, **options)
        slopes = {} if random_slopes is None else {"random_slopes": random_slopes}
        return ls.LatentSkillModel(panel, "log(size)", ls.Anchored({"first": "a", "second": "b"}), **slopes)

    return build_model


def _truth(model):
    rng = np.random.default_rng(11)
    values = {name: TRUTH[name.split("[")[0]] for name in model.param_names}
    return pd.Series({name: value * rng.uniform(0.7, 1.3) for name, value in values.items()})


@pytest.fixture(scope="module")
def simulate(build):
    """Families, seed -> model of a simulated table, and the true Structure."""

    def simulate_model(families, seed, shift=0.0, random_slopes=None, each=3, **options):
        model = build(worlds.places(families, each, missing=0.1), random_slopes, **options)
        truth = _truth(model)
        truth[truth.index.str.startswith("intercept")] += shift
        structure = model.table.structure(truth.to_numpy())
        return build(model.simulate(truth, seed=seed), random_slopes, **options), structure

    return simulate_model


@pytest.fixture(scope="module")
def calibration(simulate):
    """Quantile residuals, and what they are measured against, of four simulated tables at the true parameters."""
    pairs = [simulate(60, seed) for seed in range(4)]
    return [(model, structure, _cells(model, structure, seed=seed)) for seed, (model, structure) in enumerate(pairs)]


def _cells(model, structure, kind="quantile", seed=0):
    return cell_residuals(structure, model.user_cells, RULE, kind, seed)


def _frame(model, structure, kind="quantile", seed=0, table=residuals):
    return table(structure, model.user_cells, RULE, model.llms, model.benchmarks, kind, seed)


# --- calibration -------------------------------------------------------------------------------------------------


def test_quantile_residuals_are_standard_normal_at_the_true_parameters(calibration):
    pvalues = [stats.kstest(found.values, "norm").pvalue for _, _, found in calibration]
    assert min(pvalues) > 0.005
    pooled = np.concatenate([found.values for _, _, found in calibration])
    assert len(pooled) > 2500
    assert stats.kstest(pooled, "norm").pvalue > 0.01
    assert abs(pooled.std() - 1.0) < 3.0 / np.sqrt(2 * len(pooled))


def test_quantile_residuals_are_independent_within_families_and_of_what_they_are_measured_against(calibration):
    sums, z = [], []
    for model, _, found in calibration:
        cells = model.user_cells
        sums.append(cells.sum_by_family(found.values) / np.sqrt(np.diff(cells.bounds)))
        z.append(stats.spearmanr(found.values, found.fitted).statistic * np.sqrt(cells.n_cells))
    # were residuals of a family correlated, its scaled sum would not have variance one
    assert stats.kstest(np.concatenate(sums), "norm").pvalue > 0.01
    assert np.abs(z).max() < 3.3


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.6, 1.7])
def test_a_wrong_precision_is_detected(calibration, factor):
    values = [
        _cells(model, replace(structure, precision=factor * structure.precision), seed=seed).values
        for seed, (model, structure, _) in enumerate(calibration)
    ]
    assert stats.kstest(np.concatenate(values), "norm").pvalue < 1e-3


def test_wrong_intercepts_are_seen_in_the_table(calibration):
    """Where families share an effect, posterior draws absorb a common shift; one benchmark's shift they cannot."""
    model, structure, _ = calibration[0]
    wrong = replace(structure, intercepts=structure.intercepts + np.array([0.0, 0.0, 0.8, 0.0]))
    assert residual_tests(_frame(model, wrong)).loc["c", "p_mean"] < 1e-4
    right = residual_tests(_frame(model, structure))
    assert right["p_mean"].min() > 0.001
    assert right["p_normal"].min() > 0.001


def test_residuals_about_posterior_means_are_too_small(simulate):
    """Why quantile residuals take a draw: with few scores a family the mean follows them."""
    model, structure = simulate(60, 0)
    cells = model.user_cells
    mean = family_posterior(structure, cells, RULE).mean
    loadings = structure.loadings[cells.item]
    eta = np.einsum("ck,ck->c", loadings, mean[cells.family] + (cells.design @ structure.slopes)[cells.row])
    eta += structure.intercepts[cells.item]
    mu = structure.lower[cells.item] + (structure.upper - structure.lower)[cells.item] * special.expit(eta)
    phi = structure.precision[cells.item]
    plugged = special.ndtri(special.betainc(mu * phi, (1 - mu) * phi, cells.scores))
    assert plugged.std() < 0.95
    assert abs(_cells(model, structure).values.std() - 1.0) < 0.08


@pytest.mark.slow
def test_posterior_means_depend_on_residuals_that_draws_do_not_depend_on(simulate, build):
    """Families of two LLMs, so that a score has weight in its own fitted value."""
    z = {"quantile": [], "response": []}
    for seed in range(3):
        model, structure = simulate(120, seed, each=2)
        values = _cells(model, structure, seed=seed).values
        for kind, found in z.items():
            fitted = _cells(model, structure, kind, seed).fitted
            found.append(stats.spearmanr(values, fitted).statistic * np.sqrt(len(values)))
    assert abs(np.sum(z["quantile"])) < 3.3 * np.sqrt(3.0)
    assert np.sum(z["response"]) > 3.3 * np.sqrt(3.0)


@pytest.mark.slow
def test_random_slopes_are_drawn_too(simulate):
    model, structure = simulate(60, 3, random_slopes="log(size)")
    cells = model.user_cells
    assert posterior_draws(structure, cells, 2).shape == (60, 2, 4)
    values = np.concatenate([_cells(model, structure, seed=seed).values for seed in range(2)])
    assert stats.kstest(values, "norm").pvalue > 0.005
    wrong = structure.with_scales(slope_sd=0.01 * structure.scales["slope_sd"])
    assert stats.kstest(_cells(model, wrong).values, "norm").pvalue < 1e-4


# --- draws -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_draws_have_the_moments_of_the_posterior(simulate):
    model, structure = simulate(12, 0)
    cells, size = model.user_cells, 20_000
    draws = posterior_draws(structure, cells, size, seed=4)
    exact = family_posterior(structure, cells, Rule.build("quadrature", 2, points=25))
    # standard errors of means: of 20,000 draws from 80,000 proposals, some 0.008 posterior standard deviations
    assert np.abs((draws.mean(axis=1) - exact.mean) / exact.sd).max() < 0.04
    assert_allclose(draws.std(axis=1), exact.sd, rtol=0.03)
    centred = exact.alpha - exact.mean[:, None]
    cross = np.einsum("lm,lm,lm->l", exact.weight, centred[..., 0], centred[..., 1]) / exact.sd.prod(axis=1)
    found = [np.corrcoef(family.T)[0, 1] for family in draws]
    assert_allclose(found, cross, atol=0.04)
    fourth = np.einsum("lm,lmk->lk", exact.weight, (centred / exact.sd[:, None]) ** 4)
    seen = np.mean(((draws - exact.mean[:, None]) / exact.sd[:, None]) ** 4, axis=1)
    assert_allclose(seen, fourth, rtol=0.15)
    assert_allclose(seen.mean(), fourth.mean(), rtol=0.04)


def test_draws_without_scores_to_learn_from_are_those_of_the_prior(simulate):
    model, structure = simulate(12, 0)
    blind = replace(structure, loadings=1e-9 * structure.loadings)
    draws = posterior_draws(blind, model.user_cells, 4000).reshape(-1, 2)
    assert_allclose(np.cov(draws.T), structure.skill_cov, atol=0.04)
    assert stats.kstest(draws[:, 0], "norm").statistic < 0.012


def test_seeds_and_sizes(simulate):
    model, structure = simulate(12, 0)
    cells = model.user_cells
    many = posterior_draws(structure, cells, 1500, seed=7)
    assert many.shape == (12, 1500, 2)
    assert_array_equal(many, posterior_draws(structure, cells, 1500, seed=7))
    assert_array_equal(many[:, :5], posterior_draws(structure, cells, 5, seed=7))
    assert not np.array_equal(many[:, :5], posterior_draws(structure, cells, 5, seed=8))
    one, again = _frame(model, structure, seed=7), _frame(model, structure, seed=7)
    pd.testing.assert_frame_equal(one, again)
    assert (one != _frame(model, structure, seed=8)).to_numpy()[one.notna()].all()
    # families have streams of their own: no two of them the same standardised draws
    assert len(np.unique(many[:, 0, 0].round(6))) == 12


@pytest.mark.slow
@pytest.mark.parametrize("boundary", ["squeeze", "censor"])
def test_a_family_does_not_depend_on_the_others(build, simulate, boundary):
    model, structure = simulate(12, 0, shift=-1.0, boundary=boundary, rounding=0.1)
    table = model.panel.to_frame()
    table.loc[table["family"] == "f003", ITEMS] *= 0.9
    other = build(table, boundary=boundary, rounding=0.1)
    kept = [family != "f003" for family in model.families]
    before, after = (posterior_draws(structure, m.user_cells, 50, seed=2) for m in (model, other))
    # all families take as many Newton steps as the slowest, so that modes agree to rounding only
    assert_allclose(after[kept], before[kept], rtol=1e-7, atol=1e-9)
    assert np.abs(after[3] - before[3]).max() > 1e-3
    rows = (table["family"] != "f003").to_numpy()
    if boundary == "censor":  # squeezing depends on all scores
        assert_allclose(_frame(other, structure)[rows], _frame(model, structure)[rows], rtol=1e-6, atol=1e-8)
    fewer = build(table[table["family"] < "f006"], boundary=boundary, rounding=0.1)
    assert_allclose(posterior_draws(structure, fewer.user_cells, 50, seed=2)[:3], before[:3], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("size", "seed"), [(0, 0), (2.5, 0), (True, 0), (5, -1), (5, 0.5), (5, None)])
def test_sizes_and_seeds_are_checked(simulate, size, seed):
    model, structure = simulate(12, 0)
    with pytest.raises(ls.DataError, match="whole number"):
        posterior_draws(structure, model.user_cells, size, seed)


# --- kinds, missing scores, boundaries -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["quantile", "pearson", "response"])
def test_tables_have_the_shape_of_the_scores(simulate, kind):
    model, structure = simulate(12, 0)
    missing = model.prepared.state < 0
    assert missing.any()
    for table in (residuals, fitted_scores):
        frame = _frame(model, structure, kind, table=table)
        assert list(frame.index) == list(model.llms)
        assert list(frame.columns) == ITEMS
        assert_array_equal(frame.isna(), missing)
    fitted = _frame(model, structure, kind, table=fitted_scores).to_numpy()[~missing]
    assert ((fitted > 0.0) & (fitted < 1.0)).all()
    with pytest.raises(ls.DataError, match="quantile, pearson, response"):
        _frame(model, structure, "deviance")


@pytest.mark.slow
def test_response_and_pearson_residuals_against_brute_force(simulate):
    """Effects drawn from the prior, weighted by scipy's beta densities; scores drawn from scipy's beta law."""
    model, structure = simulate(12, 5)
    prepared, rng = model.prepared, np.random.default_rng(1)
    response, pearson = _frame(model, structure, "response"), _frame(model, structure, "pearson")
    x = model.design.x
    for family in range(2):
        rows = np.flatnonzero(model.family_codes == family)
        alpha = rng.multivariate_normal(np.zeros(2), structure.skill_cov, size=200_000)
        theta = alpha[:, None, :] + x[rows] @ structure.slopes
        mu = special.expit(theta @ structure.loadings.T + structure.intercepts)
        mu = structure.lower + (structure.upper - structure.lower) * mu
        phi = structure.precision
        log_f = stats.beta(mu * phi, (1.0 - mu) * phi).logpdf(prepared.y[rows])
        joint = np.nansum(log_f, axis=(1, 2))
        weight = np.exp(joint - joint.max())
        chosen = rng.choice(len(alpha), 100_000, p=weight / weight.sum())
        scores = rng.beta(mu[chosen] * phi, (1.0 - mu[chosen]) * phi)
        expected = prepared.y[rows] - scores.mean(axis=0)
        assert_allclose(response.iloc[rows], expected, atol=0.002)
        assert_allclose(pearson.iloc[rows], expected / scores.std(axis=0), atol=0.02)


def test_squeezed_scores_are_those_of_the_likelihood(build):
    table = worlds.places(12, 3, missing=0.1)
    table.loc[[0, 5], "a"] = [0.0, 1.0]
    model = build(table)
    structure = model.table.structure(_truth(model).to_numpy())
    total = _frame(model, structure, "response") + _frame(model, structure, "response", table=fitted_scores)
    assert_allclose(total, model.prepared.y, rtol=1e-12)
    assert 0.0 < total.iloc[0, 0] < 0.02
    assert np.isfinite(_frame(model, structure).to_numpy()[model.prepared.state >= 0]).all()


@pytest.mark.slow
def test_censored_scores_are_calibrated_and_stay_beyond_the_edge(simulate):
    uniforms, values = [], []
    for seed in range(2):
        model, structure = simulate(50, seed, shift=-1.7, boundary="censor", rounding=0.1)
        cells, found = model.user_cells, _cells(model, structure, seed=seed)
        values.append(found.values)
        low = cells.state == 1
        phi, mu = structure.precision[cells.item], found.fitted
        tail = special.betainc(mu * phi, (1.0 - mu) * phi, cells.edge)[low]
        uniforms.append(special.ndtr(found.values[low]) / tail)
    uniforms = np.concatenate(uniforms)
    assert len(uniforms) > 100
    assert uniforms.max() < 1.0 + 1e-9
    assert stats.kstest(uniforms, "uniform").pvalue > 0.01
    assert stats.kstest(np.concatenate(values), "norm").pvalue > 0.01
    # response residuals take the score to be at the edge
    response = _cells(model, structure, "response")
    assert_allclose((response.values + response.fitted)[low], 0.05, rtol=1e-12)


@pytest.mark.slow
def test_scores_censored_above_mirror_those_below(simulate):
    model, structure = simulate(40, 1, shift=2.0, boundary="censor", rounding=0.1)
    cells, found = model.user_cells, _cells(model, structure)
    high = cells.state == 2
    assert high.sum() > 60
    phi, nu = structure.precision[cells.item], 1.0 - found.fitted
    tail = special.betainc(nu * phi, (1.0 - nu) * phi, cells.edge)[high]
    uniforms = special.ndtr(-found.values[high]) / tail
    assert uniforms.max() < 1.0 + 1e-9
    assert stats.kstest(uniforms, "uniform").pvalue > 0.01
    assert stats.kstest(found.values, "norm").pvalue > 0.01


# --- tails -------------------------------------------------------------------------------------------------------


def test_tails_against_scipy_where_doubles_hold_them():
    rng = np.random.default_rng(2)
    a, b = np.exp(rng.uniform(-2.0, 6.0, (2, 400)))
    y = rng.beta(a, b).clip(1e-12, 1.0 - 1e-12)
    below, above = log_tails(a, b, y, 1.0 - y)
    law = stats.beta(a, b)
    assert_allclose(below, np.log(law.cdf(y)), rtol=1e-9, atol=1e-12)
    assert_allclose(above, np.log(law.sf(y)), rtol=1e-9, atol=1e-12)
    mirrored = log_tails(b, a, 1.0 - y, y)
    assert_allclose(mirrored, (above, below), rtol=1e-12, atol=1e-15)


def test_tails_beyond_the_smallest_double():
    # closed forms: P(Y <= y) = y^a for b = 1, P(Y >= y) = (1 - y)^b for a = 1
    a, b, y = np.array([5000.0, 1.0]), np.array([1.0, 3000.0]), np.array([0.3, 0.7])
    below, above = log_tails(a, b, y, np.array([0.7, 0.3]))
    assert_allclose(below[0], 5000.0 * np.log(0.3), rtol=1e-13)
    assert_allclose(above[1], 3000.0 * np.log(0.3), rtol=1e-13)
    # the series of the censored likelihood, where it reaches
    rng = np.random.default_rng(3)
    phi, mu = rng.uniform(500.0, 4e4, 50), rng.uniform(0.3, 0.95, 50)
    edge = 0.04 * mu
    below, _ = log_tails(mu * phi, (1.0 - mu) * phi, edge, 1.0 - edge)
    assert below.max() < -300.0
    column = [values[:, None] for values in (mu, 1.0 - mu, phi, edge)]
    series = log_tail_terms(*column, np.zeros((50, 1), dtype=bool), 0).f[:, 0]
    assert_allclose(below, series, rtol=1e-11)


def test_tails_join_smoothly_where_the_fraction_takes_over():
    y = np.linspace(0.13, 0.17, 400)
    shape = np.full(400, 1000.0)
    below, _ = log_tails(shape, shape, y, 1.0 - y)
    assert below.min() < np.log(1e-290) < below.max()
    assert np.diff(below, 2).max() < 0.0  # the log of a beta distribution function is concave
    assert np.diff(below).min() > 0.0


def test_residuals_of_impossible_scores_are_finite_and_signed(simulate):
    model, structure = simulate(12, 0)
    cells = model.user_cells
    log_y, log1m_y = (column.copy() for column in cells.data)
    # among four thousand others no single score moves its family's draw far enough to explain it
    log_y[0], log1m_y[0] = np.log(1e-9), np.log1p(-1e-9)
    log_y[-1], log1m_y[-1] = np.log1p(-1e-9), np.log(1e-9)
    sure = replace(structure, precision=100.0 * structure.precision, loadings=1e-3 * structure.loadings)
    found = cell_residuals(sure, replace(cells, data=(log_y, log1m_y)), RULE).values
    assert np.isfinite(found).all()
    assert found[0] < -50.0
    assert found[-1] > 50.0


# --- tests of residuals ------------------------------------------------------------------------------------------


def test_table_of_tests():
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.standard_normal((300, 3)), columns=["good", "skew", "few"])
    values["skew"] = rng.exponential(size=300) - 1.0
    values.loc[3:, "few"] = np.nan
    table = residual_tests(values)
    assert list(table.index) == ["good", "skew", "few", "(all)"]
    assert list(table["n"]) == [300, 300, 3, 603]
    assert_allclose(table.loc["good", "mean"], values["good"].mean())
    assert_allclose(table.loc["good", "z_mean"], values["good"].mean() / values["good"].sem())
    assert_allclose(table.loc["skew", "skewness"], stats.skew(values["skew"]))
    assert table.loc["good", "p_normal"] > 0.01
    assert table.loc["skew", "p_normal"] < 1e-6
    assert table.loc["few"].drop(["n", "mean"]).isna().all()
    assert table[["trend", "spread"]].isna().all(axis=None)


def test_dependence_on_fitted_values_is_found():
    rng = np.random.default_rng(1)
    fitted = pd.DataFrame(rng.uniform(0.2, 0.9, (200, 3)), columns=["none", "mean", "scale"])
    values = pd.DataFrame(rng.standard_normal((200, 3)), columns=fitted.columns)
    values["mean"] += 2.0 * (fitted["mean"] - 0.55)
    values["scale"] *= np.exp(2.0 * (fitted["scale"] - 0.55))
    table = residual_tests(values, fitted)
    assert table.loc["none", ["p_trend", "p_spread"]].min() > 0.01
    assert table.loc["mean", "p_trend"] < 1e-3
    assert table.loc["mean", "trend"] > 0.0
    assert table.loc["scale", "p_spread"] < 1e-3
    assert table.loc["scale", "p_trend"] > 0.01
    with pytest.raises(ls.DataError, match="same rows and columns"):
        residual_tests(values, fitted.iloc[::-1])


def test_many_values_and_values_without_variation():
    rng = np.random.default_rng(4)
    values = pd.DataFrame({"many": rng.standard_normal(6000), "flat": 0.5, "none": np.nan})
    table = residual_tests(values, values * 0.0)
    assert 0.001 < table.loc["many", "p_normal"] <= 1.0
    assert table.loc["flat"].drop(["n", "mean"]).isna().all()
    assert table.loc["none", "n"] == 0
    assert table.loc["none"].drop("n").isna().all()
    assert table["trend"].isna().all()
