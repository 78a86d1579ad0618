"""Calibration under leave-family-out: what is recorded of a predictive law, kept in stores, and drawn."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from numpy.testing import assert_allclose, assert_array_equal

import latentscale as ls
from latentscale.plots.calibration import plot_calibration
from latentscale.prediction.predictive import PredictiveDraws
from latentscale.results.prediction_results import PredictionResults
from latentscale.validation.split_store import LAW_SCORES, _read_law_scores, _with_nulls

BENCHMARKS = ["a", "b"]


class Normal:
    """Predicts N(0.5, (factor 0.1)^2) for every score; true if factor is one."""

    def __init__(self, factor):
        self.factor = factor

    def fit(self, panel):
        """Nothing is learned."""
        return self

    def predict(self, data):
        """A half everywhere."""
        return pd.DataFrame(0.5, index=data["model"], columns=BENCHMARKS)

    def get_prediction(self, data):
        """Draws of the law."""
        n = len(data)
        scores = 0.5 + 0.1 * self.factor * np.random.default_rng(0).standard_normal((2000, n, 2))
        mean = np.full((n, 2), 0.5)
        llms = pd.Index(data["model"])
        draws = PredictiveDraws(llms, tuple(BENCHMARKS), mean, scores, scores, np.full((n, 2), np.nan))
        return PredictionResults(draws)


@pytest.fixture(scope="module")
def panel():
    rng = np.random.default_rng(3)
    n = 400
    table = pd.DataFrame({"model": [f"m{i}" for i in range(n)], "family": [f"f{i // 4:03d}" for i in range(n)]})
    table["params_b"] = np.tile([1.0, 2.0, 3.0, 4.0], n // 4)
    table["tokens_t"] = 1.0
    table[BENCHMARKS] = np.clip(rng.normal(0.5, 0.1, (n, 2)), 0.01, 0.99)
    return ls.BenchmarkPanel(table, BENCHMARKS)


@pytest.fixture(scope="module")
def run(panel, tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "splits.jsonl"
    methods = {"right": Normal(1.0), "narrow": Normal(0.5)}
    first = ls.leave_family_out(methods, panel, resume=store)
    again = ls.leave_family_out(methods, panel, resume=store)  # all from the store
    pd.testing.assert_frame_equal(first.errors, again.errors)
    return again


@pytest.mark.slow
def test_a_right_law_is_calibrated_and_a_narrow_one_is_not(run):
    table = run.calibration()
    right, narrow = table.loc["right"], table.loc["narrow"]
    assert right["n"] == 600
    for level in (50, 80, 95):
        error = np.sqrt(level * (100 - level)) / 100.0 / np.sqrt(600)
        assert abs(right[f"coverage_{level}"] - level / 100.0) < 3.5 * error
        assert narrow[f"coverage_{level}"] < level / 100.0 - 5.0 * error
    assert_allclose(right["width_95"], 39.2, rtol=0.03)
    assert_allclose(narrow["width_95"], 19.6, rtol=0.03)
    assert_allclose(right["pit_sd"], np.sqrt(1.0 / 12.0), atol=0.02)
    assert narrow["pit_sd"] > 0.33
    assert right["crps"] < narrow["crps"]
    assert_allclose(right["crps"], 100.0 * 0.1 / np.sqrt(np.pi), rtol=0.06)
    assert np.isnan(right["log_score"])  # a law without a formula


@pytest.mark.slow
def test_by_benchmark(run):
    table = run.calibration(by="benchmark")
    assert table.index.names == ["method", "benchmark"]
    assert (table["n"] == 300).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coverage", "pit"])
def test_pictures(run, kind):
    axes = run.plot_calibration(kind)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"right", "narrow", "calibrated"} <= set(texts)
    if kind == "coverage":
        lines = {line.get_label(): line for line in axes.get_lines()}
        right, narrow = (lines[name].get_ydata() for name in ("right", "narrow"))
        assert_allclose(right, lines["right"].get_xdata(), atol=0.08)
        assert (narrow < right).all()
    pyplot.close(axes.figure)


@pytest.mark.slow
def test_unknown_pictures_and_laws_are_refused(run, panel):
    with pytest.raises(ls.DataError, match="kind is one of coverage, pit"):
        plot_calibration(run.errors, "scatter")
    laws = ls.leave_family_out(ls.Specification(ls.ComponentLaws, n_components=1), panel, ["f000", "f001"])
    with pytest.raises(ls.DataError, match="predictive law"):
        laws.plot_calibration()
    with pytest.raises(ls.DataError, match="prediction intervals"):
        laws.calibration()


def test_the_calibrated_specification_adds_residuals_and_slopes():
    plain, calibrated = ls.default_specification(), ls.calibrated_specification()
    more = {name: value for name, value in calibrated.options.items() if plain.options.get(name) != value}
    assert more == {
        "llm_effects": True, "random_slopes": "log(params_b)", "avoid_zero_sd": True, "precision_sd": 1.5,
    }  # fmt: skip
    assert calibrated.fit_options == plain.fit_options


def test_infinite_scores_and_missing_ones_survive_the_store():
    judged = np.random.default_rng(0).random((len(LAW_SCORES), 2, 3))
    judged[2, 0, 0], judged[0, 1, 2] = -np.inf, np.nan
    text = json.dumps(_with_nulls(judged), allow_nan=False)
    assert_array_equal(_read_law_scores(json.loads(text), (2, 3)), judged)
