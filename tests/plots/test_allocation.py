"""The picture of an allocation has what its text says it has."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")
from matplotlib import pyplot
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.planning.allocation import compute_optimal
from latentscale.plots.allocation import plot_allocation


@pytest.fixture(scope="module")
def fit():
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["math_lvl_5", "bbh", "hellaswag", "gsm8k"])
    model = ls.LatentSkillModel(panel, skills=ls.Anchored({"math": "math_lvl_5", "common": "hellaswag"}))
    return model.fit(integration="laplace", starts=1)


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def test_optima_budgets_and_llms(fit):
    plan = compute_optimal(fit, [1e22, 1e23], "math", draws=128)
    ax = plan.plot()
    drawn, frame = lines(ax), plan.table
    assert_allclose(drawn["optimum"].get_xdata(), frame["size"])
    assert_allclose(drawn["optimum"].get_ydata(), frame["tokens"])
    assert "optimum at a bound" not in drawn
    assert len(drawn["LLMs of the fit"].get_xdata()) == fit.n_llms
    interval = drawn["95% interval of the optimum"]
    assert_allclose(interval.get_xdata()[[0, -1]], frame[["size_ci_lower", "size_ci_upper"]].iloc[0])
    # on its budget
    assert_allclose(6e21 * interval.get_xdata() * interval.get_ydata(), 1e22)
    budget = drawn["budget"]
    assert_allclose(6e21 * budget.get_xdata() * budget.get_ydata(), 1e22)
    texts = [text.get_text() for text in ax.texts]
    assert r"$10^{22}$ FLOPs" in texts
    assert r"$10^{23}$ FLOPs" in texts
    assert ax.get_xlabel() == "size (billions of parameters)"
    assert ax.get_ylabel() == "training tokens (trillions)"
    assert ax.get_title(loc="left") == "math: units of skill"
    ax.figure.canvas.draw()


def test_corners_are_hollow_and_other_levels_named(fit):
    with pytest.warns(UserWarning, match="beyond the LLMs"):
        plan = compute_optimal(fit, [2.5e22], {"hellaswag": 1.0, "bbh": 0.1}, draws=100)
    assert plan.table["corner"].iloc[0] != "interior"
    figure, mine = pyplot.subplots()
    assert plan.plot(ax=mine, alpha=0.2) is mine
    drawn = lines(mine)
    assert drawn["optimum at a bound"].get_markerfacecolor() == "white"
    assert "80% interval of the optimum" in drawn
    assert any("2.5 \\times" in text.get_text() for text in mine.texts)
    figure.canvas.draw()


def test_without_intervals_and_with_served_tokens(fit):
    plan = compute_optimal(fit, 1e23, "math", interval="none", inference_tokens_t=4.0)
    ax = plot_allocation(plan)
    drawn = lines(ax)
    assert not any("interval" in label for label in drawn)
    budget = drawn["budget"]
    cost = 6e21 * budget.get_xdata() * budget.get_ydata() + 2e21 * budget.get_xdata() * 4.0
    assert_allclose(cost, 1e23)
    # to the lower end of the axes, where it falls steeply
    assert budget.get_ydata().min() == pytest.approx(ax.get_ylim()[0], rel=0.05)
    with pytest.raises(ls.DataError, match="at least 2"):
        plot_allocation(plan, levels=1)


def test_isoquants_are_of_the_target(fit):
    plan = compute_optimal(fit, [1e22, 1e23], "gsm8k", interval="none")
    ax = plot_allocation(plan, levels=6)
    contours = [child for child in ax.get_children() if type(child).__name__ == "QuadContourSet"]
    assert len(contours) == 2
    for contour in contours:
        for level, path in zip(contour.levels, contour.get_paths(), strict=True):
            if len(path.vertices):
                point = path.vertices[len(path.vertices) // 2]
                assert_allclose(plan.surface(*point), level, atol=2e-3)  # straight pieces between grid points
    assert np.ptp(contours[0].levels) > 0.1
    assert_allclose(contours[1].levels, plan.table["value"])  # through the optima
