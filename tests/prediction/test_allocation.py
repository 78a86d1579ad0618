"""Allocation along a budget: hand-worked optima, the closed form against scipy, averages, delta method, data range."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize

import latentscale as ls
from latentscale.components.beta_law import Beta
from latentscale.components.curve import mean_score
from latentscale.likelihood.rules import Rule
from latentscale.parameters.structure import Structure
from latentscale.planning.budget_optima import (
    DataRange,
    allocate,
    budget_line,
    check_slope,
    delta_errors,
    law_steps,
    line_polynomial,
    optimise,
)
from latentscale.planning.elasticities import elasticities, point_design
from latentscale.planning.target import (
    Effects,
    family_cells,
    known_effects,
    make_target,
    unseen_effects,
)
from latentscale.prediction.parameter_law import parameter_law

WIDE = (1e-9, 1e9)
NONE = np.zeros(0, dtype=int)


def translog(size, tokens):
    log_s, log_t = np.log(size), np.log(tokens)
    return np.stack([log_s, log_t, log_s * log_t], axis=-1)


def structure(slopes, loadings=((1.0,),), intercepts=(0.0,), cov=None, link=None, slope_sd=None, lower=0.0, upper=1.0):
    slopes, loadings = np.asarray(slopes, dtype=float), np.asarray(loadings, dtype=float)
    slopes = slopes[:, None] if slopes.ndim == 1 else slopes
    j, k = loadings.shape
    return Structure(
        loadings, np.asarray(intercepts, dtype=float), slopes, np.eye(k) if cov is None else np.array(cov),
        np.full(j, 50.0), np.full(j, lower), np.full(j, upper), link,
        scales={} if slope_sd is None else {"slope_sd": slope_sd},
    )  # fmt: skip


def skill_target(slopes):
    one = structure(slopes)
    return make_target(Beta(), [one], unseen_effects([one]), np.ones(1), NONE, np.zeros(0))


def score_target(one, weights, items, random=NONE, centre=()):
    centre = np.array(centre, dtype=float)
    return make_target(Beta(), [one], unseen_effects([one]), weights, random, centre, np.array(items))


# --- by hand -------------------------------------------------------------------------------------------------------


def test_interior_optimum_by_hand():
    # C = 6e21: s t = 1, c = 0, g(u) = .5 u - .3 u - .1 u^2 = .2 u - .1 u^2, best at u = 1, where g = .1
    target = skill_target([0.5, 0.3, 0.1])
    found = allocate(target, translog, budget_line(6e21, WIDE, WIDE))
    assert_allclose([found.u, found.size, found.tokens, found.value], [1.0, np.e, 1.0 / np.e, 0.1], rtol=1e-9)
    assert found.corner == "interior"
    assert found.closed
    # a hundredfold budget: c = log 100, u* = c / 2 + (.5 - .3) / .2 = log 10 + 1
    more = allocate(target, translog, budget_line(6e23, WIDE, WIDE))
    assert_allclose([more.size, more.tokens], [10.0 * np.e, 10.0 / np.e], rtol=1e-9)


@pytest.mark.parametrize(
    ("slopes", "size", "tokens", "corner", "best"),
    [
        # b3 < 0: g(u) = .2 u + .1 u^2 on s t = 1; u in [-2, 1] gives 0 and .3, and in [-4, 1] .8 and .3
        ([0.5, 0.3, -0.1], (np.exp(-2.0), np.e), WIDE, "size_max", 1.0),
        ([0.5, 0.3, -0.1], (np.exp(-4.0), np.e), WIDE, "size_min", -4.0),
        # no interaction: all into what has the larger slope, as far as tokens may go
        ([0.5, 0.3, 0.0], WIDE, (np.exp(-2.5), 9.0), "tokens_min", 2.5),
        ([0.2, 0.3, 0.0], WIDE, (0.1, np.exp(1.5)), "tokens_max", -1.5),
        # b3 > 0 but u* = 1 is beyond the bound
        ([0.5, 0.3, 0.1], (0.01, np.exp(0.5)), WIDE, "size_max", 0.5),
        ([0.5, 0.3, 0.1], (np.exp(1.25), 100.0), WIDE, "size_min", 1.25),
    ],
)
def test_corners_by_hand(slopes, size, tokens, corner, best):
    found = allocate(skill_target(slopes), translog, budget_line(6e21, size, tokens))
    assert found.corner == corner
    assert_allclose(found.u, best, rtol=1e-12)


def test_served_tokens_by_hand():
    # max .5 log s + .25 log t on 6 s t + 2 s q = C / 1e21 = 60, q = 3, so that s = 10 / (t + 1):
    # .25 / t = .5 / (t + 1), t = 1, s = 5; without serving all would go into size
    line = budget_line(6e22, WIDE, WIDE, inference=3.0)
    found = allocate(skill_target([0.5, 0.25, 0.0]), translog, line)
    assert_allclose([found.size, found.tokens], [5.0, 1.0], rtol=2e-6)  # golden sections see u to a root of rounding
    assert found.corner == "interior"
    assert not found.closed
    assert_allclose(6e21 * found.size * found.tokens + 2e21 * found.size * 3.0, 6e22, rtol=1e-12)
    assert_allclose(line.size(line.tokens(0.3)), np.exp(0.3), rtol=1e-12)


def test_ends_of_lines():
    line = budget_line(6e21, (0.1, 100.0), (0.5, 4.0))
    assert_allclose(np.exp([line.low, line.high]), [0.25, 2.0])
    assert (line.low_end, line.high_end) == ("tokens_max", "tokens_min")
    line = budget_line(6e21, (0.3, 1.5), (0.5, 4.0))
    assert_allclose(np.exp([line.low, line.high]), [0.3, 1.5])
    assert (line.low_end, line.high_end) == ("size_min", "size_max")
    # bounds that leave one allocation
    only = budget_line(6e21, (2.0, 2.0), WIDE)
    found = allocate(skill_target([0.5, 0.3, 0.1]), translog, only)
    assert_allclose([found.size, found.tokens], [2.0, 0.5])
    assert found.corner == "size_min"


def test_impossible_budgets_say_what_is_possible():
    with pytest.raises(ls.DataError, match=r"costs lie between 1.2e\+21 and 2.4e\+22 FLOPs"):
        budget_line(1e23, (1.0, 2.0), (0.2, 2.0))
    with pytest.raises(ls.DataError, match="No allocation within the bounds costs 1e"):
        budget_line(1e20, (1.0, 2.0), (0.2, 2.0))
    # serving is paid for: 2e21 * 3 for a billion parameters
    with pytest.raises(ls.DataError, match=r"with 3 trillion tokens served, costs lie between 7.2e\+21"):
        budget_line(7e21, (1.0, 2.0), (0.2, 2.0), inference=3.0)


# --- the closed form against scipy -----------------------------------------------------------------------------------


@given(
    b=st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    log_flops=st.floats(46.0, 56.0),
    size=st.tuples(st.floats(-3.0, 0.0), st.floats(0.5, 5.0)),
)
def test_closed_form_is_the_maximum(b, log_flops, size):
    line = budget_line(np.exp(log_flops), tuple(np.exp(size)), WIDE)
    target = skill_target(b)
    found = optimise(target, translog, line)
    c = log_flops - np.log(6e21)

    def g(u):
        return b[0] * u + b[1] * (c - u) + b[2] * u * (c - u)

    grid = np.linspace(line.low, line.high, 2001)
    start = grid[g(grid).argmax()]
    step = grid[1] - grid[0]
    bounds = (max(line.low, start - step), min(line.high, start + step))
    best = optimize.minimize_scalar(lambda u: -g(u), bounds=bounds, method="bounded", options={"xatol": 1e-10})
    # values are compared, as two ends may be equally good
    scale = 1.0 + np.abs(b).sum() * (1.0 + np.abs(c)) * 10.0
    assert g(found.u[0]) >= max(g(grid).max(), -best.fun) - 1e-11 * scale
    assert line.low <= found.u[0] <= line.high
    if found.corner[0] == "interior":
        assert b[2] > 0.0
    if b[2] > 1e-3:
        stationary = 0.5 * c + 0.5 * (b[0] - b[1]) / b[2]
        # logs of sizes within bounds of a few units; the division by b[2] > 1e-3 costs three digits
        assert_allclose(found.u[0], min(max(stationary, line.low), line.high), rtol=1e-9, atol=1e-9)


def test_polynomials_are_recognised():
    line = budget_line(6e23, (0.1, 1e3), WIDE)
    c = np.log(100.0)
    assert_allclose(
        line_polynomial(translog, line), [[0.0, c, 0.0], [1.0, -1.0, c], [0.0, 0.0, -1.0]], atol=1e-9
    )
    served = budget_line(6e23, (0.1, 10.0), WIDE, inference=1.0)
    assert line_polynomial(translog, served) is None
    assert line_polynomial(lambda s, t: (np.log(s) ** 3)[:, None], line) is None
    assert line_polynomial(lambda s, t: np.sqrt(s)[:, None], line) is None


def test_search_finds_the_closed_form():
    # a mix of one benchmark with itself has no closed form here, and the same optimum
    one = structure([0.5, 0.3, 0.1], [[0.8]], [-1.0])
    line = budget_line(6e22, (0.01, 1e3), WIDE)
    closed = optimise(score_target(one, [1.0], [0]), translog, line)
    searched = optimise(score_target(one, [0.5, 0.5], [0, 0]), translog, line)
    assert (closed.closed, searched.closed) == (True, False)
    assert_allclose(searched.u, closed.u, atol=3e-6)
    at_end = optimise(score_target(structure([0.9, 0.1, -0.1], [[0.8]], [-1.0]), [1.0, 1.0], [0, 0]), translog, line)
    assert_array_equal(at_end.corner, ["size_max"])
    assert_allclose(at_end.u, line.high)


def test_search_of_a_curved_formula():
    # log s - .1 (log s)^3 has its maximum at u = sqrt(10 / 3); its other end, at low u, is cut off by the bound
    def design(size, tokens):
        return np.stack([np.log(size), np.log(size) ** 3], axis=-1)

    one = structure([1.0, -0.1])
    target = make_target(Beta(), [one], unseen_effects([one]), np.ones(1), NONE, np.zeros(0))
    found = optimise(target, design, budget_line(6e22, (0.1, 50.0), WIDE))
    assert not found.closed
    assert_allclose(found.u, np.sqrt(10.0 / 3.0), atol=1e-6)


def test_mixes_against_scipy():
    slopes, cov = [[0.5, 0.9], [0.6, 0.1], [0.1, -0.02]], [[1.0, 0.4], [0.4, 1.0]]
    one = structure(slopes, [[0.8, 0.0], [0.1, 0.7]], [-2.0, -1.0], cov)
    target = score_target(one, [0.7, 0.3], [0, 1])
    line = budget_line(3e23, (0.05, 1e3), (0.01, 100.0))
    found = optimise(target, translog, line)

    def value(u):
        return target.value(translog(np.exp([u]), line.tokens(np.array([u])))[None])[0, 0]

    grid = np.linspace(line.low, line.high, 400)
    start = grid[np.argmax([value(u) for u in grid])]
    best = optimize.minimize_scalar(lambda u: -value(u), bounds=(start - 0.1, start + 0.1), method="bounded")
    assert found.corner[0] == "interior"
    assert_allclose(found.u[0], best.x, atol=1e-4)  # xatol of scipy's search is 1e-5
    assert value(found.u[0]) >= -best.fun - 1e-12


# --- averages over families ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [None, [[0.6, -0.4, 0.5, 0.3, -0.2, 0.1]]])
def test_value_is_the_average_over_families(link):
    one = structure(
        [[0.5, 0.9], [0.6, 0.1], [0.1, 0.0]], [[0.8, -0.3]], [-1.0], [[1.0, 0.4], [0.4, 2.0]],
        None if link is None else np.array(link), lower=0.25, upper=0.95,
    )  # fmt: skip
    x = translog(np.array([0.5, 7.0]), np.array([1.0, 3.0]))
    got = score_target(one, [1.0], [0]).value(x[None])[0]
    # the two-dimensional integral, on a fine grid of both effects
    z = np.linspace(-8.0, 8.0, 321)
    weight = np.exp(-0.5 * z**2)
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2) @ np.linalg.cholesky(one.skill_cov).T
    weights = np.outer(weight, weight).ravel()
    eta = (x @ one.slopes)[:, None, :] @ one.loadings.T + (grid @ one.loadings.T)[None] + one.intercepts
    want = (mean_score(eta, one.lower, one.upper, one.link)[..., 0] @ weights) / weights.sum()
    # 21 nodes integrate a logistic curve to 1e-6 at this spread; a spline, whose third derivative jumps, less well
    assert_allclose(got, want, atol=2e-6 if link is None else 2e-4)


def test_averaging_moves_the_value_but_not_the_optimum():
    # lambda' alpha shifts a benchmark's curve, which stays increasing: wider families, the same optimum
    line = budget_line(6e22, (0.01, 1e3), WIDE)
    grid = np.linspace(line.low, line.high, 20001)
    x = translog(np.exp(grid), line.tokens(grid))
    values, optima, cov = [], [], np.array([[1.0, 0.3], [0.3, 1.0]])
    for scale in (1e-6, 1.0, 9.0):
        one = structure([[0.5, 0.2], [0.3, 0.4], [0.1, 0.08]], [[0.8, 0.5]], [-2.0], scale * cov)
        target = score_target(one, [1.0], [0])
        optima.append(optimise(target, translog, line).u[0])
        averaged = target.value(x[None])[0]
        values.append(averaged.max())
        assert_allclose(grid[averaged.argmax()], optima[-1], atol=2.0 * (grid[1] - grid[0]))
    assert_allclose(optima, optima[0], rtol=1e-12)
    # b = B lambda = (.5, .44, .12): u* = c / 2 + .06 / .24
    assert_allclose(optima[0], 0.5 * np.log(10.0) + 0.25, rtol=1e-9)
    assert np.ptp(values) > 0.05


def test_random_slopes_enter_mean_and_spread():
    one = structure([[0.5], [0.3]], [[0.9]], [-0.5], [[0.8]], slope_sd=np.array([[0.4]]))
    random, centre = np.array([0]), [1.0]
    target = score_target(one, [1.0], [0], random, centre)
    assert not target.is_linear
    x = np.array([[3.0, 0.2]])  # v = 3 - 1 = 2
    variance = 0.9**2 * (0.8 + 2.0**2 * 0.4**2)
    assert_allclose(target.covariance(x[None])[0, 0, 0, 0], variance, rtol=1e-12)
    # known effects alpha = .3, z = -1.5: slope .5 + .4 * -1.5, counted from the mean of x
    effects = Effects(np.array([[0.3, -1.5]]), np.zeros((1, 2, 2)))
    known = make_target(Beta(), [one], effects, [1.0], random, np.array(centre), np.array([0]))
    theta = 0.3 + 0.5 * 3.0 + 0.3 * 0.2 + 0.4 * -1.5 * 2.0
    assert_allclose(known.index(x[None]), [[0.9 * theta - 0.5]], rtol=1e-12)


def test_residual_skills_of_llms_widen_the_average():
    cov = np.array([[1.0, 0.4], [0.4, 2.0]])
    plain = structure([[0.5, 0.9], [0.6, 0.1], [0.1, 0.0]], [[0.8, -0.3]], [-1.0], cov)
    own = plain.with_scales(llm_sd=np.array([0.5]))
    x = translog(np.array([3.0]), np.array([2.0]))[None]
    assert_allclose(
        score_target(own, [1.0], [0]).covariance(x), 1.25 * score_target(plain, [1.0], [0]).covariance(x), rtol=1e-12
    )


def test_families_drawn_have_the_right_moments():
    slopes, cov = [[0.5, 0.9], [0.6, 0.1], [0.1, 0.0]], [[1.0, 0.4], [0.4, 2.0]]
    one = structure(slopes, [[0.8, -0.3], [0.2, 0.9]], [0.0, 0.0], cov)
    many = [one] * 20_000
    target = make_target(Beta(), many, unseen_effects(many), [0.6, 0.4], NONE, np.zeros(0), np.array([0, 1]))
    x = translog(np.array([3.0]), np.array([2.0]))[None]
    drawn = target.draw(x, np.random.default_rng(0))[:, 0]
    expected = score_target(one, [0.6, 0.4], [0, 1]).value(x)[0, 0]
    assert_allclose(drawn.mean(), expected, atol=4.0 * drawn.std() / np.sqrt(len(drawn)))
    # both benchmarks come from one family's skills: for skills the variance is w' Sigma w
    skills = make_target(Beta(), many, unseen_effects(many), np.array([0.6, 0.4]), NONE, np.zeros(0))
    spread = skills.draw(x, np.random.default_rng(1))[:, 0].var()
    assert_allclose(spread, 0.36 * 1.0 + 2.0 * 0.24 * 0.4 + 0.16 * 2.0, rtol=0.05)  # five errors of a variance: 5%


def test_a_target_without_a_slope_along_the_budget_is_refused():
    line = budget_line(6e22, (0.1, 10.0), WIDE)
    with pytest.raises(ls.DataError, match="through their product alone"):
        check_slope(skill_target([0.4, 0.4, 0.0]), translog, line, "math")
    check_slope(skill_target([0.4, 0.4, 1e-3]), translog, line, "math")


# --- the range of the data -----------------------------------------------------------------------------------------


def test_data_range():
    data = DataRange(np.array([1.0, 10.0, 10.0]), np.array([1.0, 1.0, 4.0]))
    assert data.bounds(10.0) == ((0.1, 100.0), (0.1, 40.0))
    assert data.factors(5.0, 2.0) == (1.0, 1.0)
    assert_allclose(data.factors(30.0, 0.25), (3.0, 0.25))
    assert data.inside(9.0, 1.5)
    assert not data.inside(1.5, 3.5)  # within both ranges, but no LLM is small with many tokens
    line = DataRange(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0]))
    assert line.inside(2.0, 3.0)
    assert not line.inside(5.0, 3.0)


# --- uncertainty ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fit():
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["math_lvl_5", "bbh", "hellaswag", "gsm8k"])
    model = ls.LatentSkillModel(panel, skills=ls.Anchored({"math": "math_lvl_5", "common": "hellaswag"}))
    return model.fit(integration="laplace", starts=1)


def targets(fit, structures, items=None):
    weights = np.array([1.0, 0.0]) if items is None else [1.0 / len(items)] * len(items)
    where = None if items is None else np.array(items)
    return make_target(Beta(), structures, unseen_effects(structures), weights, NONE, np.zeros(0), where)


@pytest.mark.parametrize("items", [None, [3], [0, 1]])
def test_delta_and_simulation_agree_where_estimates_are_precise(fit, items):
    law = parameter_law(fit)
    law = replace(law, root=0.1 * law.root)
    line = budget_line(1e23, (1e-3, 1e5), WIDE)
    one = targets(fit, [fit.structure], items)
    found = optimise(one, translog, line)
    assert found.corner[0] == "interior"
    errors = delta_errors(one, targets(fit, law_steps(law), items), translog, line, found)
    drawn = targets(fit, law.structures(1024, seed=1), items)
    assert_allclose(optimise(drawn, translog, line).u.std(), errors.u, rtol=0.05)  # 2.2% by chance, 2% by curvature
    here = translog(np.exp(found.u), line.tokens(found.u))[None]
    assert_allclose(drawn.value(here).std(), errors.value, rtol=0.05)


def test_delta_of_the_closed_form_is_that_of_autograd(fit):
    line = budget_line(1e23, (1e-3, 1e5), WIDE)
    one = targets(fit, [fit.structure])
    stepped = targets(fit, law_steps(parameter_law(fit)))
    errors = delta_errors(one, stepped, translog, line, optimise(one, translog, line))
    b1, b2, b3 = (f"slope[{term},math]" for term in fit.model.terms)
    exact = fit.delta(lambda p: 0.5 * (p[b1] - p[b2]) / p[b3])
    assert_allclose(errors.u, exact.bse.iloc[0], rtol=1e-4)  # differences of a hundredth of a standard error


def test_elasticities_by_hand_and_by_autograd(fit):
    one, stepped = targets(fit, [fit.structure]), targets(fit, law_steps(parameter_law(fit)))
    point = (4.0, 0.5)
    found = elasticities([one], [stepped], point_design(translog, *point))
    b = fit.slopes["math"].to_numpy()
    log_s, log_t = np.log(point)
    by_hand = [b[0] + b[2] * log_t, b[1] + b[2] * log_s]
    doubled = np.log(2.0) * np.array(by_hand)  # a skill is linear in log size at fixed tokens
    assert_allclose(found.values[0], [*by_hand, *doubled], rtol=1e-9)
    names = [f"slope[{term},math]" for term in fit.model.terms]
    exact = fit.delta(lambda p: [p[names[0]] + p[names[2]] * log_t, p[names[1]] + p[names[2]] * log_s])
    weights = np.zeros((2, 1, 4))
    weights[0, 0, 0] = weights[1, 0, 1] = 1.0
    assert_allclose(found.covariance(weights), exact.cov, rtol=1e-4)


def test_shortfall_and_corner_draws(fit):
    line = budget_line(1e23, (0.1, 1e3), WIDE)
    law = parameter_law(fit)
    drawn = targets(fit, law.structures(256, seed=0), [0, 1])
    found = allocate(targets(fit, [fit.structure], [0, 1]), translog, line, None, drawn)
    assert found.shortfall.min() > -1e-10  # the search's precision
    assert found.shortfall.max() > 1e-4
    at_bound = np.isin(found.draws.u, [line.low, line.high])
    assert_array_equal(at_bound, found.draws.corner != "interior")


def test_posterior_of_a_known_family(fit):
    code = list(fit.model.families).index("qwen2")
    rule = Rule.build("quadrature", 2, points=9)
    effects = known_effects([fit.structure] * 2, family_cells(fit.model, code), rule)
    posterior = fit.family_effects().loc["qwen2"]
    # the grid behind fit.family_effects() is coarser
    assert_allclose(effects.mean[0], posterior["mean"], atol=1e-3)
    assert_allclose(np.sqrt(np.diag(effects.cov[0])), posterior["sd"], rtol=0.02)
    assert_allclose(effects.mean[1], effects.mean[0], atol=1e-8)
