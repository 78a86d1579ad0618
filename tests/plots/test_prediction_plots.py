"""Pictures of scaling, predictions and residuals draw the numbers of the tables beside them."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import worlds

mpl.use("agg")
from matplotlib import pyplot
from matplotlib.testing.compare import compare_images
from numpy.testing import assert_allclose
from scipy import stats

import latentscale as ls
from latentscale.plots.calibration import plot_calibration
from latentscale.plots.prediction import plot_prediction
from latentscale.plots.profile import plot_profile
from latentscale.plots.repeated_sampling import plot_pass_at_k
from latentscale.plots.residuals import plot_against
from latentscale.plots.scaling_curves import plot_scaling
from latentscale.prediction.residual_tables import normal_order, smoother
from latentscale.prediction.scaling_curves import UNSEEN, curve_points

BASELINE = Path(__file__).parent / "baseline"


def table_of(families=14, each=4, seed=0):
    covariates = {"params_b": (-1.0, 4.0), "tokens_t": (-1.5, 2.0)}
    return worlds.places(families, each, covariates, "abc", 0.1, seed, "f{:02d}", digits=3)


@pytest.fixture(scope="module")
def fit():
    def model(table):
        panel = ls.BenchmarkPanel(table, benchmarks=list("abc"))
        return ls.LatentSkillModel(panel, skills=ls.Anchored({"first": "a"}))

    first = model(table_of())
    values = {"loading": 0.8, "slope": 0.35, "intercept": -0.4, "precision": 60.0}
    truth = pd.Series({name: values[name.split("[")[0]] for name in first.param_names})
    return model(first.simulate(truth, seed=3)).fit(integration="laplace", starts=0, start_params=truth)


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def drawn_at(ax, x, y):
    """Whether some line of the axes goes through exactly these points (where y is a number)."""
    shown = np.isfinite(y)
    for line in ax.lines:
        found = dict(zip(np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata()), strict=True))
        if all(found.get(a) == b for a, b in zip(np.asarray(x)[shown], np.asarray(y)[shown], strict=True)):
            return True
    return False


def band_of(collection):
    """Ends of a filled band by x: DataFrame lower, upper."""
    points = pd.DataFrame(collection.get_paths()[0].vertices, columns=["x", "y"])
    return points.groupby("x")["y"].agg(["min", "max"])


def test_scaling_draws_curves_bands_and_scores(fit):
    families = ["f01", "f05", UNSEEN]
    ax = fit.plot_scaling("b", families=families, points=8, size=200)
    table = fit.scaling_curve(
        "b", families=families, points=8, size=200, uncertainty=("parameters", "family")
    )
    for number, family in enumerate(families):
        part = table[table["family"] == family]
        inside = part["inside"].to_numpy()
        assert drawn_at(ax, part["params_b"], np.where(inside, part["mean"], np.nan))
        assert drawn_at(ax, part["params_b"], np.where(~inside, part["mean"], np.nan))
        band = band_of(ax.collections[number])
        assert_allclose(band.loc[part["params_b"], "min"], part["mean_ci_lower"])
        assert_allclose(band.loc[part["params_b"], "max"], part["mean_ci_upper"])
    scores = fit.model.panel.scores["b"]
    for family in ("f01", "f05"):
        own = fit.model.panel.table.query(f"family == {family!r}")
        assert drawn_at(ax, own["params_b"], scores[own.index].to_numpy())
    others = lines(ax)["other LLMs"]
    assert len(others.get_xdata()) == scores.notna().sum() - scores[
        fit.model.panel.table["family"].isin(families)].notna().sum()  # fmt: skip
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "size (billions of parameters)"
    assert ax.get_ylabel() == "b: score (fraction)"
    assert "curves hold other covariates" in [text.get_text() for text in ax.texts]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["other LLMs", *families]
    ax.figure.canvas.draw()


def test_scaling_of_one_family_has_its_scores_interval(fit):
    ax = fit.plot_scaling("b", "flops", "f01", points=5, size=200, alpha=0.2)
    table = fit.scaling_curve("b", "flops", "f01", points=5, size=200, alpha=0.2)
    assert drawn_at(ax, table["flops"], table["obs_ci_lower"])
    assert drawn_at(ax, table["flops"], table["obs_ci_upper"])
    assert "80% of scores" in lines(ax)
    assert "80%" in ax.get_legend().get_title().get_text()
    assert ax.get_xlabel() == "training compute (FLOPs)"
    assert not ax.texts  # both size and tokens are in the FLOPs


def test_scaling_by_default_and_of_skills(fit):
    _, mine = pyplot.subplots()
    assert fit.plot_scaling("first", "tokens_t", ax=mine, points=4, size=100) is mine
    legend = [text.get_text() for text in mine.get_legend().get_texts()]
    assert len(legend) == 7  # five families, an unseen one, other LLMs
    assert legend[-1] == UNSEEN
    assert mine.get_ylabel() == "first: units of skill"
    skills = fit.skills()["first"]
    own = fit.model.panel.table.query(f"family == {legend[1]!r}")
    assert drawn_at(mine, own["tokens_t"], skills[own.index].to_numpy())


def test_surface(fit):
    ax = fit.plot_surface(points=9, size=200)
    surface = fit.scaling_surface("first", points=9, size=200)
    dots = lines(ax)["LLMs of the fit"]
    table = fit.model.panel.table
    assert_allclose(dots.get_xdata(), table["params_b"])
    assert_allclose(dots.get_ydata(), table["tokens_t"])
    contours = [child for child in ax.get_children() if type(child).__name__ == "QuadContourSet"]
    level_lines = [one for one in contours if not one.filled]
    assert len(level_lines) == 1
    # each level has its band
    assert len(contours) == 1 + len(level_lines[0].levels)
    inside = surface.loc[surface["inside"], "mean"]
    assert level_lines[0].levels.min() <= inside.max()
    slope = fit.slopes["first"]
    for level, path in zip(level_lines[0].levels, level_lines[0].get_paths(), strict=True):
        if len(path.vertices):
            u, v = np.log(path.vertices[len(path.vertices) // 2])
            value = slope.iloc[0] * u + slope.iloc[1] * v + slope.iloc[2] * u * v
            assert_allclose(value, level, atol=0.05 * np.ptp(surface["mean"]))  # straight between nine grid points
    assert "average over families" in ax.get_title(loc="left")
    ax.figure.canvas.draw()
    other = fit.plot_surface("b", family="f03", points=5, size=100)
    assert other.get_title(loc="left") == "b: expected score (fraction), f03"


def test_prediction_intervals_against_scores(fit):
    table = fit.prediction_table(benchmark="b", size=300)
    assert (table["benchmark"] == "b").all()
    scores = fit.model.panel.scores["b"]
    assert_allclose(table["score"], scores[table["llm"]])
    frame = fit.get_prediction(size=300).summary_frame().query("benchmark == 'b'").set_index("llm").loc[table["llm"]]
    assert_allclose(table["mean"], frame["mean"])
    assert_allclose(table["obs_ci_lower"], frame["obs_ci_lower"])
    inside = table["score"].between(table["obs_ci_lower"], table["obs_ci_upper"])
    assert (table["inside"] == inside).all()
    ax = fit.plot_prediction(benchmark="b", size=300)
    inside = table[table["inside"]]
    drawn = lines(ax)[f"inside ({len(inside)})"]
    assert_allclose(drawn.get_xdata(), inside["score"])
    assert_allclose(drawn.get_ydata(), inside["mean"])
    segments = np.array(ax.collections[0].get_segments())
    assert_allclose(segments[:, 0, 1], inside["obs_ci_lower"])
    assert_allclose(segments[:, 1, 1], inside["obs_ci_upper"])
    share = ax.get_legend().get_title().get_text()
    assert share == f"95% intervals: {table['inside'].mean():.1%} of {len(table)} scores inside"
    assert "their scores were seen" in ax.get_title(loc="left")


def test_prediction_of_a_new_table(fit):
    new = table_of(3, 2, seed=9).assign(family="unheard of").drop(columns="c")
    new.loc[0, "b"] = 0.999
    table = fit.prediction_table(new, size=400, alpha=0.5)
    assert set(table["benchmark"]) == {"a", "b"}
    assert len(table) == new[["a", "b"]].notna().to_numpy().sum()
    assert (table["family"] == "unheard of").all()
    assert not table.query("llm == 'm0' and benchmark == 'b'")["inside"].item()
    ax = fit.plot_prediction(new, size=400, alpha=0.5)
    outside = (~table["inside"]).sum()
    assert f"outside ({outside})" in lines(ax)
    assert "new table" in ax.get_title(loc="left")
    with pytest.raises(ls.DataError, match="no column of the benchmarks"):
        fit.plot_prediction(new.drop(columns=["a", "b"]))
    with pytest.raises(ls.DataError, match="benchmark takes"):
        fit.plot_prediction(benchmark="zzz")
    with pytest.raises(ls.DataError, match="no observed score"):
        plot_prediction(table.iloc[:0])


def test_residuals_against_fitted_and_covariates(fit):
    table = fit.residual_table()
    wide = fit.residuals()
    for _, row in table.iloc[::17].iterrows():
        assert row["residual"] == wide.loc[row["llm"], row["benchmark"]]
    assert len(table) == wide.notna().to_numpy().sum()
    ax = fit.plot_residuals()
    dots, line = ax.lines[1], lines(ax)["local line, 95% band"]
    assert_allclose(dots.get_xdata(), table["fitted"])
    assert_allclose(dots.get_ydata(), table["residual"])
    smooth = smoother(table["fitted"], table["residual"])
    assert_allclose(line.get_ydata(), smooth["mean"])
    logged = fit.plot_residuals("pearson", "params_b", benchmark=["a", "b"])
    assert logged.get_xscale() == "log"
    assert logged.get_ylabel().startswith("Pearson")
    pearson = fit.residual_table("pearson").query("benchmark != 'c'")
    assert_allclose(logged.lines[1].get_ydata(), pearson["residual"])
    smooth = smoother(np.log(pearson["params_b"]), pearson["residual"])
    line = lines(logged)["local line, 95% band"]
    assert_allclose(line.get_xdata(), np.exp(smooth["x"]))
    assert_allclose(line.get_ydata(), smooth["mean"])


def test_normal_quantiles(fit):
    ax = fit.plot_residuals(against="qq")
    table = fit.residual_table()
    order = normal_order(table["residual"])
    drawn = np.concatenate([line.get_xydata() for line in ax.lines[1:]])
    drawn = drawn[np.argsort(drawn[:, 0])]
    assert_allclose(drawn[:, 0], order["theoretical"])
    assert_allclose(drawn[:, 1], np.sort(table["residual"]))
    with pytest.raises(ls.DataError, match="Response residuals"):
        fit.plot_residuals("response", "qq")
    with pytest.raises(ls.DataError, match="against is 'qq'"):
        fit.plot_residuals(against="colour")


def test_groups(fit):
    ax = fit.plot_residuals(against="benchmark")
    table = fit.residual_table()
    names = [label.get_text() for label in ax.get_yticklabels()]
    counts = table["benchmark"].value_counts()
    assert names == [f"{name} ({counts[name]})" for name in "abc"]
    for number, name in enumerate("abc"):
        own = table.loc[table["benchmark"] == name, "residual"]
        assert_allclose(ax.lines[1 + number].get_xdata(), own)
    medians = [line.get_xdata()[0] for line in ax.lines if line.get_color() == "#D55E00"]
    assert_allclose(medians, table.groupby("benchmark")["residual"].median())
    response = fit.plot_residuals("response", "family")
    assert response.get_legend() is None
    assert len(response.get_yticklabels()) == 14


def test_smoother_follows_a_line_and_covers_a_flat_truth():
    x = np.sort(np.random.default_rng(0).uniform(0.0, 10.0, 80))
    exact = smoother(x, 3.0 - 0.5 * x)
    assert_allclose(exact["mean"], 3.0 - 0.5 * exact["x"], rtol=1e-9)
    rng, inside = np.random.default_rng(1), []
    for _ in range(200):
        found = smoother(x, rng.standard_normal(80))
        inside.append(((found["lower"] < 0.0) & (found["upper"] > 0.0)).mean())
    assert 0.92 < np.mean(inside) < 0.97  # pointwise 95%, 200 samples
    ties = smoother(np.repeat([0.0, 1.0, 2.0], 20), np.tile([0.0, 1.0], 30))
    assert_allclose(ties["mean"], 0.5, atol=1e-9)
    with pytest.raises(ls.DataError, match="at least 10"):
        smoother(np.arange(5.0), np.arange(5.0))
    with pytest.raises(ls.DataError, match="different places"):
        smoother(np.ones(20), np.arange(20.0))
    table = pd.DataFrame({"fitted": [0.1, 0.2], "residual": [0.0, 1.0]})
    assert plot_against(table, "fitted", None, "response").get_legend() is None


def test_normal_order_band_has_its_level():
    rng = np.random.default_rng(2)
    inside = [
        ((order["value"] > order["lower"]) & (order["value"] < order["upper"])).mean()
        for order in (normal_order(rng.standard_normal(40)) for _ in range(300))
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)  # points of one sample hang together


def test_calibration_of_a_fit(fit):
    ax = fit.plot_calibration()
    line = lines(ax)["fit"]
    pit = stats.norm.cdf(fit.residual_table()["residual"])
    share = [(np.abs(2 * pit - 1) <= level).mean() for level in line.get_xdata()]
    assert_allclose(line.get_ydata(), share)
    histogram = fit.plot_calibration(kind="pit", benchmark="a")
    own = stats.norm.cdf(fit.residual_table().query("benchmark == 'a'")["residual"])
    values, edges = np.histogram(own, bins=10, range=(0, 1), density=True)
    drawn = histogram.patches[0].get_data()
    assert_allclose(drawn.values, values)
    assert_allclose(drawn.edges, edges)
    bars = np.array(histogram.collections[0].get_segments())
    assert_allclose(bars[:, :, 1].mean(axis=1)[values > 0.5], values[values > 0.5], rtol=0.2)
    new = table_of(12, 2, seed=5).assign(family="new")
    assert "new LLMs" in lines(fit.plot_calibration(new, size=200))


def test_calibration_of_several_methods_is_told_by_colour():
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame({"method": name, "family": rng.integers(0, 20, 100), "pit": rng.random(100)}) for name in "xyz"
    ]
    for kind in ("coverage", "pit"):
        ax = plot_calibration(pd.concat(frames), kind)
        artists = ax.patches if kind == "pit" else [lines(ax)[name] for name in "xyz"]
        colours = {str(one.get_edgecolor() if kind == "pit" else one.get_color()) for one in artists}
        assert len(colours) == 3


def test_pass_at_k_and_profiles(fit):
    k = [1, 10, 100]
    rows = [
        pd.DataFrame({"llm": f"l{i}", "k": k, "mean": [0.1, 0.3, 0.5 + 0.04 * i], "mean_ci_lower": [0.05, 0.2, 0.4],
                      "mean_ci_upper": [0.2, 0.4, 0.8], "observed": [0.12, 0.3, np.nan] if i else np.nan})
        for i in range(8)
    ]  # fmt: skip
    curves = pd.concat(rows)
    ax = plot_pass_at_k(curves, tries=10)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["l7", "l6", "l4", "l3", "l1", "l0 (not in the table)"]
    assert drawn_at(ax, k, rows[7]["mean"])
    assert drawn_at(ax, k, rows[7]["observed"])
    with pytest.raises(ls.DataError, match="LLMs with curves"):
        plot_pass_at_k(curves, "someone")
    profile = fit.profile("slope[log(params_b),first]", points=3)
    ax = plot_profile(profile, kind="root")
    assert ax.get_xlabel() == profile.label
    with pytest.raises(ls.DataError, match="kind is one of"):
        plot_profile(profile, kind="other")


def drawn_scaling(path, steep=1.8):
    """A picture of made-up curves, the axes at a given place."""
    x = np.geomspace(0.1, 100.0, 25)
    frames = [
        pd.DataFrame(
            {"family": name, "params_b": x, "inside": (x > 0.5) & (x < 40.0) if name != UNSEEN else True,
             "mean": 0.3 + 0.1 * slope * np.log10(x / 0.1), "obs_ci_lower": np.nan}
        ) for name, slope in (("alpha", 1.0), ("beta", steep), (UNSEEN, 1.4))
    ]  # fmt: skip
    curves = pd.concat(frames, ignore_index=True)
    width = np.where(curves["family"] == UNSEEN, 0.12, 0.03)
    curves["mean_ci_lower"], curves["mean_ci_upper"] = curves["mean"] - width, curves["mean"] + width
    points = pd.DataFrame({"family": ["alpha", "alpha", "beta", "other"], "params_b": [1.0, 30.0, 7.0, 7.0]})
    points["value"] = [0.41, 0.55, 0.62, 0.36]
    with mpl.rc_context(mpl.rcParamsDefault | {"backend": "agg"}):
        figure = pyplot.figure(figsize=(6.5, 3.6), dpi=80)
        ax = figure.add_axes([0.1, 0.15, 0.55, 0.8])
        plot_scaling(curves, points, "bbh", ax=ax)
        ax.set_ylim(0.1, 1.0)
        figure.savefig(path, metadata={"Software": None})
    return str(path)


def test_the_picture_of_scaling_is_as_it_was(tmp_path):
    """Against a stored picture, coarsely: fonts and antialiasing differ between versions of matplotlib."""
    baseline = str(BASELINE / "scaling.png")
    assert compare_images(baseline, drawn_scaling(tmp_path / "same.png"), tol=10.0) is None
    other = compare_images(baseline, drawn_scaling(tmp_path / "other.png", 0.6), tol=10.0, in_decorator=True)
    assert other["rms"] > 10.0


def test_curve_points_are_the_scores(fit):
    points = curve_points(fit, "c")
    assert len(points) == fit.model.panel.scores["c"].notna().sum()
