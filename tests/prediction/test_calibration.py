"""PIT, CRPS and logarithmic scores against closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from latentscale.prediction.calibration import crps, interval, probability_integral_transform

from .test_prediction import new_llms


def test_pit_of_exchangeable_values_is_uniform_with_ties_too():
    rng = np.random.default_rng(0)
    draws = np.maximum(rng.normal(size=(200, 3000)), 0.0)  # half of them zero
    observed = np.maximum(rng.normal(size=3000), 0.0)
    pit = probability_integral_transform(draws, observed, rng)
    assert stats.kstest(pit, "uniform").pvalue > 0.01
    narrow = probability_integral_transform(0.5 * draws, observed, rng)
    assert stats.kstest(narrow, "uniform").pvalue < 1e-3


def test_pit_of_a_missing_value_is_missing():
    assert np.isnan(probability_integral_transform(np.ones((5, 1)), np.array([np.nan]), np.random.default_rng(0)))


def test_crps_of_a_normal_law():
    """Gneiting and Raftery (2007), equation 21."""
    rng = np.random.default_rng(1)
    draws = rng.normal(0.4, 2.0, size=(40_000, 3))
    y = np.array([-1.0, 0.4, 3.0])
    z = (y - 0.4) / 2.0
    exact = 2.0 * (z * (2.0 * stats.norm.cdf(z) - 1.0) + 2.0 * stats.norm.pdf(z) - 1.0 / np.sqrt(np.pi))
    assert_allclose(crps(draws, y), exact, atol=0.02)


def test_intervals_are_equal_tailed():
    low, high = interval(np.arange(101.0)[:, None], 0.2)
    assert_allclose([low[0], high[0]], [10.0, 90.0])


def test_log_scores_are_probabilities_of_rounded_scores(fit):
    table = new_llms()
    prediction = fit.get_prediction(table)
    scores = fit.predict(table).round(2)
    judged = prediction.calibration(scores, dict.fromkeys("abcd", 0.01))
    assert judged.columns.tolist() == ["llm", "benchmark", "score", "pit", "crps", "log_score"]
    share = np.mean(np.abs(prediction.draws.scores - scores.to_numpy()) < 0.005, axis=0).ravel()
    assert_allclose(np.exp(judged["log_score"]), share, atol=0.02)
    assert judged["log_score"].max() < 0.0
    # all rounded scores together have probability one
    total = sum(
        np.exp(prediction.calibration(scores * 0 + value, dict.fromkeys("abcd", 0.1))["log_score"])
        for value in np.linspace(0.0, 1.0, 11)
    )
    assert_allclose(total, 1.0, atol=1e-9)


def test_unknown_scores_are_left_out_and_absent_llms_named(fit):
    prediction = fit.get_prediction(new_llms(), size=100)
    scores = fit.predict(new_llms())
    scores.loc["x", "a"] = np.nan
    assert len(prediction.calibration(scores)) == 11
    with pytest.raises(ValueError, match="lacks \\['z'\\]"):
        prediction.calibration(scores.drop("z"))
