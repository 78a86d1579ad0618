"""Pictures of parameters show the numbers of the fit's tables and say what they lack."""

from pathlib import Path

import autograd.numpy as anp
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

mpl.use("agg")
from matplotlib import image as pictures
from matplotlib import pyplot
from matplotlib.collections import LineCollection
from scipy import stats

import latentscale as ls
from latentscale.components.curve import mean_score
from latentscale.plots import style
from latentscale.plots.selection import plot_selection
from latentscale.plots.starts import plot_starts
from latentscale.results.parameter_tables import curve_gradient

BASELINE = Path(__file__).parent / "baseline"
BENCHMARKS = ["mmlu", "hellaswag", "gsm8k", "bbh", "math_lvl_5"]


@pytest.fixture(scope="module")
def panel():
    return ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=BENCHMARKS)


@pytest.fixture(scope="module")
def fit(panel):
    skills = ls.Anchored({"reasoning": "bbh", "math": "math_lvl_5"})
    return ls.LatentSkillModel(panel, "log(params_b)", skills).fit(integration="laplace", starts=2)


@pytest.fixture(scope="module")
def bent():
    """One skill, links and both asymptotes learned."""
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "hellaswag", "gsm8k"])
    model = ls.LatentSkillModel(panel, "log(params_b)", skills=1, link="monotone", asymptotes="both")
    return model.fit(integration="laplace", starts=1)


@pytest.fixture(scope="module")
def bare(panel):
    """Two skills without standard errors."""
    model = ls.LatentSkillModel(panel, "log(params_b)", skills=2)
    return model.fit(integration="laplace", starts=1, information=False, cov_type="none")


@pytest.fixture(autouse=True)
def _close():
    yield
    pyplot.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def dots(ax):
    """Points of all lines drawn as markers, (n, 2), by height."""
    found = [line.get_xydata() for line in ax.lines if line.get_marker() == "o"]
    points = np.vstack(found)
    return points[np.argsort(points[:, 1], kind="stable")]


def intervals(ax):
    (lines,) = [child for child in ax.collections if isinstance(child, LineCollection)]
    return np.array([segment[:, 0] for segment in lines.get_segments()])


# --- loadings, slopes, correlations -----------------------------------------------------------------------------------


def test_tables_agree_with_the_fit(fit):
    table = fit.loading_table(0.1)
    assert_allclose(table["estimate"], fit.loadings.to_numpy().ravel())
    free = table[~table["fixed"]]
    names = [f"loading[{row.benchmark},{row.skill}]" for row in free.itertuples()]
    assert_allclose(free["std_err"], fit.bse[names])
    assert_allclose(free[["ci_lower", "ci_upper"]], fit.conf_int(0.1).loc[names])
    assert table[table["fixed"]]["std_err"].isna().all()
    assert table["fixed"].sum() == 2
    slopes = fit.slope_table()
    assert list(slopes["term"]) == ["log(params_b)"] * 2
    assert_allclose(slopes["estimate"], fit.slopes.to_numpy().ravel())
    row = fit.correlation_table().iloc[0]
    assert_allclose(row["estimate"], fit.params["corr[reasoning,math]"])
    assert_allclose([row["ci_lower"], row["ci_upper"]], fit.conf_int().loc["corr[reasoning,math]"])


def test_heatmap_writes_every_loading(fit):
    ax = fit.plot_loadings()
    table = fit.loading_table()
    numbers, below = texts(ax)[:-1:2], texts(ax)[1:-1:2]
    assert_allclose([float(number) for number in numbers], table["estimate"], atol=0.0051)
    expected = ["fixed" if row.fixed else f"({row.std_err:.2f})" for row in table.itertuples()]
    assert below == expected
    bold = [text.get_weight() == "bold" for text in ax.texts[:-1:2]]
    assert bold == list((table["p_value"] < 0.05) & ~table["fixed"])
    assert [label.get_text() for label in ax.get_yticklabels() if label.get_text()] == BENCHMARKS
    colours = ax.images[0].get_array()
    assert_allclose(colours.filled(np.nan).ravel(), table["estimate"].where(~table["fixed"]))


def test_forest_of_loadings_is_by_skill(fit):
    ax = fit.plot_loadings("forest", alpha=0.2)
    table = fit.loading_table(0.2)
    shown = table[~table["fixed"]].sort_values("skill", key=lambda names: names == "math", kind="stable")
    assert_allclose(dots(ax)[:, 0], shown["estimate"])
    assert_allclose(intervals(ax), shown[["ci_lower", "ci_upper"]])
    labels = {label.get_text(): label.get_weight() for label in ax.get_yticklabels()}
    assert labels["math"] == labels["reasoning"] == "bold"
    assert "80% intervals" in texts(ax)
    with pytest.raises(ls.DataError, match="heatmap, forest"):
        fit.plot_loadings("pie")


def test_slopes_with_intervals_on_the_users_axes(fit):
    figure, mine = pyplot.subplots()
    assert fit.plot_slopes(ax=mine) is mine
    table = fit.slope_table()
    assert_allclose(dots(mine)[:, 0], table["estimate"])
    assert_allclose(intervals(mine), table[["ci_lower", "ci_upper"]])
    figure.canvas.draw()


def test_correlations_with_intervals(fit, bent):
    ax = fit.plot_correlations()
    row = fit.correlation_table().iloc[0]
    assert f"{row['estimate']:.2f}" in texts(ax)
    assert f"[{row['ci_lower']:.2f}, {row['ci_upper']:.2f}]" in texts(ax)
    with pytest.raises(ls.DataError, match="one skill"):
        bent.plot_correlations()


def test_fixed_and_free_variance_correlations(panel, fit):
    fixed = ls.LatentSkillModel(panel, "log(params_b)", ls.Echelon(["bbh", "gsm8k"]))
    other = fixed.fit(integration="laplace", starts=1)
    table = other.correlation_table()
    assert table["fixed"].all()
    assert texts(other.plot_correlations()) == ["0", "fixed"]
    # with the loadings of the anchors fixed at one, variances are free and the law is that of ``fit``
    pattern = pd.DataFrame(np.nan, BENCHMARKS, ["reasoning", "math"])
    pattern.loc["bbh"], pattern.loc["math_lvl_5"] = [1.0, 0.0], [0.0, 1.0]
    free = ls.LatentSkillModel(panel, "log(params_b)", ls.Confirmatory(pattern)).fit(integration="laplace", starts=1)
    assert "cov[reasoning,math]" in free.params
    # two searches end a small part of a standard error apart
    columns = ["estimate", "std_err", "ci_lower", "ci_upper"]
    assert_allclose(free.correlation_table()[columns], fit.correlation_table()[columns], atol=5e-3)
    assert "1" in texts(free.plot_loadings())  # fixed, but not at zero
    ax = free.plot_loadings("forest")
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert_allclose(hollow[0].get_xdata(), [1.0, 1.0])


def test_rotated_fits_show_rotated_numbers(fit):
    rotated = fit.rotate("varimax", oblique=False)
    table = rotated.loading_table()
    assert not table["fixed"].any()
    assert_allclose(table["estimate"], rotated.loadings.to_numpy().ravel())
    names = [name for name in rotated.params.index if name.startswith("loading")]
    assert_allclose(table["std_err"], rotated.bse[names])
    assert len(intervals(rotated.plot_loadings("forest"))) == 2 * len(BENCHMARKS)
    assert "fixed" in texts(rotated.plot_correlations())


def test_without_standard_errors_pictures_say_so(bare):
    assert texts(bare.plot_loadings())[-1] == "no standard errors"
    for ax in (bare.plot_slopes(), bare.plot_loadings("forest")):
        assert style.NO_ERRORS in texts(ax)
        assert len(intervals(ax)) == 0
    ax = bare.plot_curves("gsm8k", skill="skill1")
    assert "no standard errors: no band" in texts(ax)
    assert bare.plot_starts().get_title(loc="left").startswith("1 of 1")


# --- families ---------------------------------------------------------------------------------------------------------


def test_caterpillar_is_sorted_and_cut(fit):
    ax = fit.plot_family_effects("math")
    effects = fit.family_effects().xs("math", level="skill").sort_values("mean", ascending=False)
    shown = np.concatenate([effects["mean"].iloc[:20], effects["mean"].iloc[-20:]])
    assert_allclose(dots(ax)[:, 0], shown)
    sd = np.concatenate([effects["sd"].iloc[:20], effects["sd"].iloc[-20:]])
    assert_allclose(intervals(ax), shown[:, None] + stats.norm.ppf([0.025, 0.975]) * sd[:, None])
    assert f"{len(effects) - 40} families between these" in texts(ax)
    first = ax.get_yticklabels()[0].get_text()
    assert first == f"{effects.index[0]} ({effects['n_llms'].iloc[0]})"
    assert len(dots(fit.plot_family_effects(families="all"))) == fit.n_families
    named = fit.plot_family_effects("reasoning", families=["yi", "qwen2"])
    wanted = fit.family_effects().xs("reasoning", level="skill").loc[["yi", "qwen2"], "mean"]
    assert_allclose(dots(named)[:, 0], sorted(wanted, reverse=True))
    with pytest.raises(ls.DataError, match="unknown: 'nobody'"):
        fit.plot_family_effects(families=["nobody"])
    with pytest.raises(ls.DataError, match=r"skills of the fit.*'wit'"):
        fit.plot_family_effects("wit")


def test_instruct_beside_base(fit, panel):
    table = fit.instruct_table()
    own = panel.table.assign(family=panel.families)
    tuned = set(own["family"][own["instruct"]])
    assert set(table["variant"]) <= tuned
    assert not set(table["base"]) & tuned
    row = table[(table["base"] == "qwen2") & (table["variant"] == "qwen2-instruct") & (table["skill"] == "math")]
    effects = fit.family_effects()
    assert_allclose(row[["base_mean", "base_sd"]].iloc[0].astype(float), effects.loc[("qwen2", "math"), ["mean", "sd"]])
    ax = fit.plot_instruct("math", labels=3)
    mine = table[table["skill"] == "math"]
    drawn = ax.containers[0]
    assert_allclose(drawn.lines[0].get_xdata(), mine["base_mean"])
    assert_allclose(drawn.lines[0].get_ydata(), mine["instruct_mean"])
    widths = [np.ptp(segment[:, 0]) for segment in drawn.lines[2][0].get_segments()]
    heights = [np.ptp(segment[:, 1]) for segment in drawn.lines[2][1].get_segments()]
    assert_allclose(widths, 2.0 * mine["base_sd"])
    assert_allclose(heights, 2.0 * mine["instruct_sd"])
    named = [text for text in texts(ax) if text in set(mine["variant"])]
    assert len(named) == 3
    farthest = (mine["instruct_mean"] - mine["base_mean"]).abs().idxmax()
    assert named[0] == mine.loc[farthest, "variant"]


def test_instruct_needs_its_columns(fit):
    with pytest.raises(ls.DataError, match="no column 'parent'"):
        fit.plot_instruct(base_family="parent")
    with pytest.raises(ls.DataError, match="true or false"):
        fit.plot_instruct(instruct="release_date")
    with pytest.raises(ls.DataError, match="more than one value"):
        fit.plot_instruct(base_family="params_b")


@pytest.mark.slow
def test_contours_hold_their_share_of_the_draws(fit):
    ax = fit.plot_family_posterior(["qwen2", "falcon"], ["math", "reasoning"], size=1000, seed=3)
    means = fit.family_effects()["mean"]
    points = {line.get_label(): line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"}
    sets = [child for child in ax.collections if type(child).__name__ == "QuadContourSet" and not child.filled]
    for family, contours in zip(("qwen2", "falcon"), sets, strict=True):
        assert_allclose(points[family], means.loc[family][["math", "reasoning"]])
        draws = fit.family_posterior(family, 1000, 3)[["math", "reasoning"]].to_numpy()
        for share, path in zip((0.9, 0.5), contours.get_paths(), strict=True):
            assert_allclose(path.contains_points(draws).mean(), share, atol=0.03)
    assert ax.get_xlabel() == "effect on math (units of the skill)"


def test_posteriors_that_cannot_be_drawn(fit, bent):
    with pytest.raises(ls.DataError, match="two different skills"):
        bent.plot_family_posterior(["yi"])
    with pytest.raises(ls.DataError, match=r"skills of the fit.*'wit'"):
        fit.plot_family_posterior(["yi"], ["math", "wit"])
    with pytest.raises(ls.DataError, match="At most 8"):
        fit.plot_family_posterior(list(fit.model.families[:9]), size=100)


# --- characteristic curves --------------------------------------------------------------------------------------------


def test_curves_and_points(fit):
    curves = fit.characteristic_curves(points=21)
    points = fit.curve_points()
    assert len(points) == fit.nobs
    eta = fit.skills() @ fit.loadings.T + fit.intercepts
    one = points[points["benchmark"] == "gsm8k"]
    assert_allclose(one["at"], eta.loc[one["llm"], "gsm8k"])
    assert_allclose(one["score"], fit.model.panel.scores.loc[one["llm"], "gsm8k"])
    assert one["boundary"].sum() == (one["score"] == 0).sum() > 0
    for item, (name, curve) in enumerate(curves.groupby("benchmark", sort=False)):
        assert name == BENCHMARKS[item]
        lower, upper = fit.asymptotes.loc[name]
        assert_allclose(curve["mean"], lower + (upper - lower) / (1.0 + np.exp(-curve["at"])))
        assert_allclose(curve["mean_se"], 0.0)  # asymptotes and link are fixed
        law = stats.beta(curve["mean"] * fit.precision[name], (1.0 - curve["mean"]) * fit.precision[name])
        assert_allclose(curve["score_upper"], law.ppf(0.975), rtol=1e-6)


def test_band_over_a_skill_is_that_of_the_delta_method(fit):
    curve = fit.characteristic_curves("math", points=5)
    curve = curve[curve["benchmark"] == "gsm8k"]
    mean, item = fit.skills().mean(), BENCHMARKS.index("gsm8k")
    lower, upper = fit.asymptotes.loc["gsm8k"]

    def expected(p):
        others = p.loadings[item, 0] * mean["reasoning"] + p.intercepts[item]
        eta = others + p.loadings[item, 1] * curve["at"].to_numpy()
        return lower + (upper - lower) / (1.0 + anp.exp(-eta))

    found = fit.delta(expected)
    assert_allclose(curve["mean"], found.values)
    assert_allclose(curve["mean_se"], found.bse, rtol=1e-6)
    # the band is the interval of the linear predictor
    share = (curve[["mean_ci_lower", "mean_ci_upper"]] - lower) / (upper - lower)
    logits = np.log(share / (1.0 - share)).to_numpy()
    assert_allclose(logits.mean(axis=1), curve["eta"], rtol=1e-6)


def test_gradient_of_learned_curves(bent):
    table, eta = bent.model.table, np.array([-6.0, -1.0, 0.4, 3.0])
    x, skills = bent.params.to_numpy(), np.linspace(-1.0, 2.0, 4)[:, None]
    item = 2

    def mean(natural, theta):
        own = table.structure(natural)
        at = eta if theta is None else theta @ own.loadings[item] + own.intercepts[item]
        return mean_score(at[:, None], own.lower[item], own.upper[item], own.link[[item]])[:, 0]

    for theta in (None, skills):
        own = bent.structure
        at = eta if theta is None else theta @ own.loadings[item] + own.intercepts[item]
        step = 1e-5 * np.eye(len(x))
        numeric = np.stack([(mean(x + h, theta) - mean(x - h, theta)) / 2e-5 for h in step], axis=1)
        value, gradient = curve_gradient(table, own, item, at, theta)
        assert_allclose(value, mean(x, theta), rtol=1e-13)
        assert_allclose(gradient, numeric, atol=1e-8)


def test_learned_curves_have_bands_within_bounds(bent):
    curves = bent.characteristic_curves()
    assert (curves["mean_se"] > 0.0).all()
    ends = curves[["mean_ci_lower", "mean", "mean_ci_upper"]].to_numpy()
    assert (np.diff(ends, axis=1) > 0.0).all()
    assert ends.min() >= 0.0
    assert ends.max() <= 1.0
    ax = bent.plot_curves("mmlu")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "95% band of the curve" in labels


def test_pictures_of_curves(fit):
    ax = fit.plot_curves("gsm8k")
    lines = {line.get_label(): line for line in ax.lines}
    curve = fit.characteristic_curves().query("benchmark == 'gsm8k'")
    assert_allclose(lines["expected score"].get_xydata(), curve[["at", "mean"]])
    points = fit.curve_points().query("benchmark == 'gsm8k'")
    assert_allclose(lines["LLMs"].get_xydata(), points.loc[~points["boundary"], ["at", "score"]])
    assert_allclose(lines["score of 0 or 1"].get_xydata(), points.loc[points["boundary"], ["at", "score"]])
    assert lines["score of 0 or 1"].get_markerfacecolor() == "white"
    assert "form of the curve fixed: no band" in texts(ax)
    axes = fit.plot_curves(alpha=0.1)
    assert [one.get_title(loc="left") for one in axes] == BENCHMARKS
    axes[0].figure.canvas.draw()
    _, two = pyplot.subplots(1, 2)
    assert list(fit.plot_curves(["mmlu", "bbh"], ax=two, skill="math")) == list(two)
    with pytest.raises(ls.DataError, match="2 benchmarks need as many axes"):
        fit.plot_curves(["mmlu", "bbh"], ax=two[0])
    with pytest.raises(ls.DataError, match="unknown: 'chess'"):
        fit.plot_curves("chess")
    with pytest.raises(ls.DataError, match=r"skills of the fit.*'wit'"):
        fit.plot_curves("mmlu", skill="wit")




# --- starts and numbers of skills -------------------------------------------------------------------------------------


def test_starts_and_failed_ones(fit):
    ax = fit.plot_starts()
    gap = fit.starts["loglike"].max() - fit.starts["loglike"]
    drawn = np.vstack([line.get_xydata() for line in ax.lines if line.get_label().endswith("best")])
    assert_allclose(drawn[np.argsort(drawn[:, 0]), 1], gap)
    columns = {
        "kind": ["data", "random", "random"], "loglike": [-3.0, -8.0, np.nan], "reached_best": [True, False, False],
    }  # fmt: skip
    starts = pd.DataFrame(columns, index=pd.RangeIndex(3, name="start"))
    ax = plot_starts(starts, converged=False)
    lines = {line.get_label(): line for line in ax.lines}
    assert_allclose(lines["random start, ended below"].get_xydata(), [[1.0, 5.0]])
    assert lines["random start, ended below"].get_markerfacecolor() == "white"
    assert_allclose(lines["failed"].get_xdata(), [2.0])
    assert ax.get_title(loc="left") == "1 of 3 starts agree; THE FIT DID NOT CONVERGE"


def test_selection_by_error_and_by_criteria():
    table = pd.DataFrame(
        {"aic": [-10.0, -30.0], "bic": [-5.0, -4.0], "lfo_mae": [6.0, 5.0], "lfo_se": [0.5, 0.0],
         "converged": [True, False]}, index=pd.Index([1, 2], name="skills"),
    )  # fmt: skip
    ax = plot_selection(table, 1)
    bars = ax.containers[0].lines[2][0].get_segments()
    assert_allclose(ax.containers[0].lines[0].get_ydata().astype(float), table["lfo_mae"])
    assert_allclose([np.ptp(segment[:, 1]) for segment in bars], [1.0, 0.0])
    assert "not converged: 2" in texts(ax)
    ax = plot_selection(table, kind="criteria")
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert_allclose(lines["AIC"], [20.0, 0.0])
    assert_allclose(lines["BIC"], [0.0, 1.0])
    alone = table.drop(columns=["lfo_mae", "lfo_se"])
    assert plot_selection(alone).get_ylabel() == "criterion above its least"
    with pytest.raises(ls.DataError, match="folds=0"):
        plot_selection(alone, kind="error")
    with pytest.raises(ls.DataError, match="kind is one of error, criteria"):
        plot_selection(table, kind="both")


# --- the pictures themselves ------------------------------------------------------------------------------------------


def coarse(path, shape=(24, 32)):
    """Mean brightness of the cells of a raster over a picture: letters become grey, shapes stay."""
    grey = pictures.imread(path)[..., :3].mean(axis=2)
    rows, columns = (np.linspace(0, size, count + 1).astype(int) for size, count in zip(grey.shape, shape, strict=True))
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=0), columns[:-1], axis=1)
    return sums / np.outer(np.diff(rows), np.diff(columns))


def made_up_loadings():
    values = np.array([[0.9, 0.0], [0.5, -0.6], [0.0, 0.8]])
    fixed = values == 0.0
    columns = {
        "benchmark": np.repeat(["bbh", "gsm8k", "math"], 2), "skill": ["reasoning", "math"] * 3,
        "estimate": values.ravel(), "std_err": np.where(fixed, np.nan, 0.1).ravel(),
        "ci_lower": np.where(fixed, np.nan, values - 0.2).ravel(),
        "ci_upper": np.where(fixed, np.nan, values + 0.2).ravel(),
        "p_value": np.where(fixed, np.nan, 0.001).ravel(), "fixed": fixed.ravel(),
    }  # fmt: skip
    return pd.DataFrame(columns)


@pytest.mark.parametrize("kind", ["heatmap", "forest"])
def test_pictures_look_as_they_did(kind, tmp_path):
    from latentscale.plots.loadings import plot_loadings

    # axes of a given place: letters of other fonts do not move what is drawn
    figure = pyplot.figure(figsize=(5, 4), dpi=60)
    plot_loadings(made_up_loadings(), kind, figure.add_axes([0.2, 0.2, 0.7, 0.7]))
    figure.savefig(tmp_path / "drawn.png")
    baseline, drawn = coarse(BASELINE / f"loadings_{kind}.png"), coarse(tmp_path / "drawn.png")
    assert np.abs(drawn - baseline).mean() < 0.015
    # a loading that changes its sign is seen
    figure = pyplot.figure(figsize=(5, 4), dpi=60)
    table = made_up_loadings()
    table.loc[3, ["estimate", "ci_lower", "ci_upper"]] *= -1.0
    plot_loadings(table, kind, figure.add_axes([0.2, 0.2, 0.7, 0.7]))
    figure.savefig(tmp_path / "other.png")
    assert np.abs(coarse(tmp_path / "other.png") - drawn).max() > 0.1
