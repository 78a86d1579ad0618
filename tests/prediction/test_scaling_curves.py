"""Scaling curves and surfaces are predictions of imagined LLMs, whose covariates are what the text says."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.prediction.scaling_curves import (
    UNSEEN,
    chosen_families,
    covariate_values,
    curve_points,
    hull,
    inside_hull,
    scaling_curve,
)

from .conftest import BENCHMARKS, model_of, table_of, truth_of


def planned_table(families=16, seed=4):
    """LLMs with size and tokens; even families share their tokens, odd ones have 0.02 trillions a billion."""
    rng = np.random.default_rng(seed)
    table = table_of(families, each=4, seed=seed).drop(columns="size")
    code = np.arange(len(table)) // 4
    table["params_b"] = np.exp(rng.uniform(0.0, 4.0, len(table))).round(3)
    shared = np.exp(rng.uniform(-1.0, 1.5, families)).round(3)[code]
    table["tokens_t"] = np.where(code % 2 == 0, shared, 0.02 * table["params_b"])
    table["instruct"] = np.arange(len(table)) % 4 == 3
    return table


@pytest.fixture(scope="module")
def planned():
    """A fit with size, tokens and a flag."""
    scaling, skills = "log(params_b) + log(tokens_t) + instruct", ls.Anchored({"first": "a", "second": "b"})

    def model(table):
        return ls.LatentSkillModel(ls.BenchmarkPanel(table, benchmarks=BENCHMARKS), scaling, skills)

    first = model(planned_table())
    truth = truth_of(first)
    truth["loading[c,first]"], truth["loading[d,first]"] = 1.2, -0.2
    return model(first.simulate(truth, seed=1)).fit(integration="laplace", starts=0, start_params=truth)


def test_a_curve_is_what_get_prediction_says(planned):
    curve = planned.scaling_curve("c", families=["f002", UNSEEN], points=4, size=300, seed=5)
    own = planned.model.panel.table.query("family == 'f002'")
    for family, part in curve.groupby("family"):
        known = family == "f002"
        tokens = own["tokens_t"].iloc[0] if known else planned.model.panel.table["tokens_t"].median()
        new = pd.DataFrame({"model": [f"new{i}" for i in range(len(part))], "family": family})
        new["params_b"], new["tokens_t"], new["instruct"] = part["params_b"].to_numpy(), tokens, False
        assert_allclose(part["mean"], planned.predict(new)["c"], rtol=1e-12)
        frame = planned.get_prediction(new, size=300, seed=5).summary_frame().query("benchmark == 'c'")
        # the same draws of parameters and families; scores are drawn anew
        for column in ("mean_se", "mean_ci_lower", "mean_ci_upper"):
            assert_allclose(part[column], frame[column], rtol=1e-9)
        assert_allclose(part["obs_ci_upper"], frame["obs_ci_upper"], atol=0.05)
        assert (part["obs_ci_lower"] < part["mean_ci_lower"]).all()
        assert (part["obs_ci_upper"] > part["mean_ci_upper"]).all()


def test_inside_is_the_familys_own_range(planned):
    curve = planned.scaling_curve("c", families=["f002", UNSEEN], points=9, size=100, uncertainty="family")
    own = planned.model.panel.table.query("family == 'f002'")["params_b"]
    part = curve[curve["family"] == "f002"]
    assert part.loc[part["inside"], "params_b"].min() == own.min()
    assert part.loc[part["inside"], "params_b"].max() == own.max()
    assert not part["inside"].all()
    assert curve.loc[curve["family"] == UNSEEN, "inside"].all()
    assert curve["obs_ci_lower"].isna().all()
    sizes = planned.model.panel.table["params_b"]
    assert_allclose(part["params_b"].iloc[[0, -1]], [sizes.min(), sizes.max()])


def test_skills_have_their_exact_mean(planned):
    curve = planned.scaling_curve("first", "tokens_t", families=["f001", UNSEEN], points=3, size=4000)
    slope = planned.slopes["first"]
    unseen = curve[curve["family"] == UNSEEN]
    size = planned.model.panel.table["params_b"].median()
    expected = slope["log(params_b)"] * np.log(size) + slope["log(tokens_t)"] * np.log(unseen["tokens_t"])
    assert_allclose(unseen["mean"], expected, rtol=1e-10)
    assert unseen["obs_ci_lower"].isna().all()
    known = curve[curve["family"] == "f001"]
    own = planned.model.panel.table.query("family == 'f001'")
    effect = planned.family_effects().loc[("f001", "first"), "mean"]
    expected = slope["log(params_b)"] * np.log(own["params_b"].median()) + effect
    assert_allclose(known["mean"], expected + slope["log(tokens_t)"] * np.log(known["tokens_t"]), rtol=1e-10)
    # a family is known better than one that was never seen
    assert known["mean_se"].max() < unseen["mean_se"].min()
    # draws are about the mean: their Monte Carlo error is se / sqrt(4000)
    middle = 0.5 * (unseen["mean_ci_lower"] + unseen["mean_ci_upper"])
    assert_allclose(middle, unseen["mean"], atol=0.15 * unseen["mean_se"].max())


def test_flops_are_six_times_size_times_tokens(planned):
    curve = planned.scaling_curve("c", "flops", ["f000", "f001", UNSEEN], points=12, size=100, uncertainty="family")
    assert_allclose(curve["flops"], 6e21 * curve["params_b"] * curve["tokens_t"])
    table = planned.model.panel.table
    shared = curve[curve["family"] == "f000"]
    assert_allclose(shared["tokens_t"], table.query("family == 'f000'")["tokens_t"].iloc[0])
    ratio = curve[curve["family"] == "f001"]
    assert_allclose(ratio["tokens_t"] / ratio["params_b"], 0.02)
    unseen = curve[curve["family"] == UNSEEN]
    ratio = (table["tokens_t"] / table["params_b"]).median()
    assert_allclose(unseen["tokens_t"] / unseen["params_b"], ratio, rtol=0.05)
    for name in ("params_b", "tokens_t"):
        assert curve[name].between(table[name].min() - 1e-9, table[name].max() + 1e-9).all()
    held = planned.scaling_curve("c", "flops", UNSEEN, at={"tokens_t": 1.0}, points=5, size=100, uncertainty="family")
    assert (held["tokens_t"] == 1.0).all()
    held = planned.scaling_curve("c", "flops", UNSEEN, at={"params_b": 7.0}, points=5, size=100, uncertainty="family")
    assert (held["params_b"] == 7.0).all()
    assert_allclose(covariate_values(planned.model, "flops"), 6e21 * table["params_b"] * table["tokens_t"])


def test_covariates_are_held_as_given(planned):
    low, high = (
        planned.scaling_curve("c", families=UNSEEN, at={"instruct": flag}, points=3, size=100, uncertainty="family")
        for flag in (False, True)
    )
    steep = planned.slopes.loc[[name for name in planned.slopes.index if "instruct" in name]].iloc[0]
    gain = planned.loadings.loc["c"] @ steep
    assert (np.sign(high["mean"] - low["mean"]) == np.sign(gain)).all()


def test_other_columns_and_points(fit):
    """A formula with one column of another name."""
    curve = scaling_curve(fit, "b", "size", families="f003", points=3, size=200)
    assert list(curve.columns[:2]) == ["family", "size"]
    points = curve_points(fit, "b", "size")
    assert_allclose(
        points.set_index("llm")["value"], fit.model.panel.scores.loc[points["llm"], "b"].to_numpy()
    )
    skills = curve_points(fit, "first", "size")
    assert_allclose(skills["value"], fit.skills()["first"])
    families = chosen_families(fit, "b", "size")
    assert len(families) == 6
    assert families[-1] == UNSEEN


def test_what_is_refused(planned, fit):
    for call, words in (
        (lambda: planned.scaling_curve("z"), "neither"),
        (lambda: planned.scaling_curve("c", "instruct"), "numeric column"),
        (lambda: planned.scaling_curve("c", families=["f000", "nobody"]), "unknown: 'nobody'"),
        (lambda: planned.scaling_curve("c", at={"params_b": 1.0}), "along which the points move"),
        (lambda: planned.scaling_curve("c", at={"colour": 1.0}), "does not use"),
        (lambda: planned.scaling_curve("c", points=1), "at least 2"),
        (lambda: planned.scaling_curve("c", limits=(3.0, 1.0)), "lower one first"),
        (lambda: planned.scaling_curve("c", limits=(-1.0, 1.0)), "is positive"),
        (lambda: planned.scaling_curve("c", "flops", at={"params_b": 1.0, "tokens_t": 1.0}), "points move"),
        (lambda: scaling_curve(fit, "b", "flops"), "has no column 'params_b'"),
        (lambda: fit.scaling_surface("b"), "numeric column"),
        (lambda: planned.scaling_surface("b", family="nobody"), "unknown"),
    ):
        with pytest.raises(ls.DataError, match=words):
            call()


def test_a_surface_is_the_target_on_a_grid(planned):
    surface = planned.scaling_surface("c", at={"instruct": True}, points=5, size=200)
    assert len(surface) == 25
    new = surface[["params_b", "tokens_t"]].assign(family="new", instruct=True)
    assert_allclose(surface["mean"], planned.predict(new)["c"].to_numpy(), rtol=1e-12)
    frame = planned.get_prediction(new, size=200, uncertainty=("parameters",)).summary_frame()
    assert_allclose(surface["mean_se"], frame.query("benchmark == 'c'")["mean_se"], rtol=1e-9)
    own = planned.model.panel.table
    corner = np.log(own[["params_b", "tokens_t"]].to_numpy())
    inside = inside_hull(corner, np.log(surface[["params_b", "tokens_t"]].to_numpy()))
    assert (surface["inside"] == inside).all()
    assert 0 < surface["inside"].sum() < 25
    known = planned.scaling_surface("first", family="f003", points=3, size=200)
    slope, effect = planned.slopes["first"], planned.family_effects().loc[("f003", "first"), "mean"]
    own = own.query("family == 'f003'")["instruct"].mode().iloc[0]
    assert not own
    expected = effect + slope["log(params_b)"] * np.log(known["params_b"])
    assert_allclose(known["mean"], expected + slope["log(tokens_t)"] * np.log(known["tokens_t"]), rtol=1e-9)


def test_hulls():
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [1.0, 1.0]])
    where = np.array([[1.0, 0.5], [2.0, 2.0], [2.1, 1.0], [-0.1, -0.1]])
    assert len(hull(square)) == 4
    assert inside_hull(square, where).tolist() == [True, True, False, False]
    line = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    assert inside_hull(line, np.array([[1.0, 0.2], [3.0, 1.0]])).tolist() == [True, False]


def test_fits_without_errors_with_slopes_residuals_and_links():
    table = table_of(14, each=3, seed=8)
    model = model_of(table, random_slopes=["log(size)"], llm_effects=True)
    truth = pd.Series(dict.fromkeys(model.param_names, 0.3))
    truth.update(truth_of(model_of(table)))
    fit = model_of(model.simulate(truth, seed=2), random_slopes=["log(size)"], llm_effects=True).fit(
        integration="laplace", starts=0, start_params=truth, information=False, cov_type="none"
    )
    curve = fit.scaling_curve("first", "size", ["f001", UNSEEN], points=3, size=200, uncertainty="family")
    part = curve[curve["family"] == "f001"]
    slope = fit.family_slopes().loc[("f001", "log(size)", "first"), "mean"]
    line = np.polyfit(np.log(part["size"]), part["mean"], 1)
    assert_allclose(line[0], slope, rtol=1e-9)
    # residual skills and slopes widen the unseen family's band away from the middle
    assert (curve["mean_se"] > 0.0).all()


@pytest.mark.slow
def test_rotated_fits_have_the_scores_of_their_source(planned):
    rotated = planned.rotate()
    options = {"families": ["f001", UNSEEN], "points": 3, "size": 100}
    pd.testing.assert_frame_equal(rotated.scaling_curve("c", **options), planned.scaling_curve("c", **options))
    pd.testing.assert_frame_equal(rotated.prediction_table(size=100), planned.prediction_table(size=100))
    pd.testing.assert_frame_equal(rotated.residual_table(), planned.residual_table())
    curve = rotated.scaling_curve("skill1", families=["f001"], points=3, size=100, uncertainty="family")
    own = planned.model.panel.table.query("family == 'f001'")
    held = [0.0, np.log(own["tokens_t"].median()), float(own["instruct"].mode().iloc[0])]
    x = np.tile(held, (len(curve), 1))
    x[:, 0] = np.log(curve["params_b"])
    effect = rotated.family_effects().loc[("f001", "skill1"), "mean"]
    slopes = [rotated.slopes["skill1"].filter(like=name).item() for name in ("params_b", "tokens_t", "instruct")]
    assert_allclose(curve["mean"], effect + x @ slopes, rtol=1e-8)
    with pytest.raises(ls.DataError, match="no law of their own"):
        rotated.scaling_surface("skill1", points=3)
