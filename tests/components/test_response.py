"""Response: the derivatives of one cell's log-likelihood, and simulated scores."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from latentscale.components.beta_law import Beta
from latentscale.components.cells import Cells
from latentscale.components.curve import LINK, Curve, mean_score
from latentscale.components.response import (
    CellParameters,
    cell_parameters,
    cell_terms,
    derivative_names,
    simulate_scores,
)
from latentscale.numerics import compiled, monotone
from latentscale.numerics.differences import jacobian
from latentscale.parameters.structure import Structure

# a derivative -> the one it is a derivative of, and the variable
CHAIN = {
    "e": ("f", "e"), "p": ("f", "p"), "c": ("f", "c"), "d": ("f", "d"),
    "ee": ("e", "e"), "ep": ("e", "p"), "ec": ("e", "c"), "ed": ("e", "d"),
    "pp": ("p", "p"), "pc": ("p", "c"), "pd": ("p", "d"),
    "cc": ("c", "c"), "cd": ("c", "d"), "dd": ("d", "d"),
    "eee": ("ee", "e"), "eep": ("ee", "p"), "eec": ("ee", "c"), "eed": ("ee", "d"),
}  # fmt: skip
BY_LINK = {
    "1": ("f", "1"), "6": ("f", "6"), "e1": ("e", "1"), "e4": ("e", "4"), "p3": ("p", "3"), "c2": ("c", "2"),
    "d5": ("d", "5"), "11": ("1", "1"), "25": ("2", "5"), "ee2": ("ee", "2"), "ee6": ("ee", "6"),
}  # fmt: skip


@pytest.fixture(autouse=True, params=["plain", "compiled"])
def loops(request, monkeypatch):
    """Every test on both paths."""
    monkeypatch.setenv("LATENTSCALE_PLAIN", "1" if request.param == "plain" else "0")
    if request.param == "compiled" and not compiled.available():
        pytest.skip("numba is not installed")


@pytest.fixture(scope="module")
def cells():
    """Sixty LLMs of six families on three benchmarks; missing cells, and some censored ones in both tails."""
    rng = np.random.default_rng(0)
    y = rng.uniform(0.03, 0.97, (60, 3))
    state = rng.choice([0, 0, 0, 0, 1, 2, -1], (60, 3)).astype(np.int8)
    edge = np.array([0.005, 0.05, 5e-5])
    y = np.where(state == 1, edge, np.where(state == 2, 1.0 - edge, y))
    return Cells.from_tables(Beta(), y, state, edge, np.arange(60) % 6, rng.standard_normal((60, 2)))


def parameters(x):
    link = (None, None)
    if "1" in x:
        rho = monotone.slopes(np.hstack([x[a] for a in LINK]))
        link = (rho, monotone.slopes_jacobian(rho))
    return CellParameters(x["p"], Beta().at_precision(x["p"]), Curve(x["c"], x["d"], *link))


@pytest.fixture(scope="module")
def point(cells):
    """eta, phi, c and d of each cell, arrays (C, 1)."""
    rng = np.random.default_rng(1)
    shape = (cells.n_cells, 1)
    c = rng.uniform(0.01, 0.3, shape)
    d = rng.uniform(0.6, 0.99, shape)
    return {"e": rng.uniform(-4.0, 4.0, shape), "p": np.exp(rng.uniform(0.0, 5.0, shape)), "c": c, "d": d}


@pytest.fixture(scope="module")
def bent(cells, point):
    """The same with coordinates of a link for each cell."""
    rng = np.random.default_rng(4)
    return point | {a: 0.7 * rng.standard_normal((cells.n_cells, 1)) for a in LINK}


def test_the_cells_are_of_all_kinds(cells):
    assert set(cells.state) == {0, 1, 2}
    assert np.all(np.diff(cells.family) >= 0)


def test_mean_score_stays_between_its_asymptotes():
    eta = np.array([-800.0, -1.0, 0.0, 1.0, 800.0])
    mu = mean_score(eta, 0.2, 0.9)
    assert_allclose(mu[[0, -1]], [0.2, 0.9], rtol=1e-15)
    assert_allclose(mu[2], 0.55, rtol=1e-15)
    assert_allclose(mu[1] + mu[3], 1.1, rtol=1e-15)
    assert np.all(np.diff(mu) > 0)


def test_values_are_those_of_scipy(cells, point):
    f = cell_terms(point["e"], parameters(point), cells, slice(None), 0)["f"][:, 0]
    mu, phi = mean_score(point["e"], point["c"], point["d"])[:, 0], point["p"][:, 0]
    law = stats.beta(mu * phi, (1.0 - mu) * phi)
    wanted = law.logpdf(cells.scores)
    wanted = np.where(cells.state == 1, law.logcdf(cells.edge), wanted)
    # by symmetry, where 1 - edge loses digits
    mirrored = stats.beta((1.0 - mu) * phi, mu * phi)
    wanted = np.where(cells.state == 2, mirrored.logcdf(cells.edge), wanted)
    seen = wanted > -600.0
    assert np.all(np.bincount(cells.state[seen]) > 10)
    # log-gammas of size phi log phi are subtracted
    assert_allclose(f[seen], wanted[seen], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CHAIN)
def test_derivatives_are_those_of_differences(cells, point, name):
    _compare(cells, point, *CHAIN[name], name, "cd")


@pytest.mark.parametrize("name", [*CHAIN, *BY_LINK])
def test_derivatives_under_a_link_are_those_of_differences(cells, bent, name):
    _compare(cells, bent, *{**CHAIN, **BY_LINK}[name], name, "cd123456")


def _compare(cells, point, below, variable, name, shapes):
    step = {"e": 2e-3, "p": 2e-3 * point["p"], "c": 1e-4, "d": 1e-4}.get(variable, 2e-3)
    # differences across a knot of the spline, where its third derivative jumps, are of a lower order
    far = np.ones(cells.n_cells, dtype=bool)
    if "1" in point and variable == "e":
        distance = np.abs((point["e"] + 0.75) / 1.5 - np.round((point["e"] + 0.75) / 1.5))[:, 0] * 1.5
        far = distance > 3.0 * step

    def lower(t):
        moved = point | {variable: point[variable] + t[0] * step}
        return cell_terms(moved["e"], parameters(moved), cells, slice(None), 3, shapes)[below][:, 0]

    got = jacobian(lower, np.zeros(1), np.ones(1)) / step
    exact = cell_terms(point["e"], parameters(point), cells, slice(None), 3, shapes)[name]
    size = np.abs(lower(np.zeros(1)))[:, None]
    # rounding of what is differenced, over the step; and a truncation of the order of the step to the fourth
    noise = 1e-13 * (size + point["p"] * np.log1p(point["p"])) / step
    close = np.abs(got - exact) < 1e-6 * np.abs(exact) + noise
    assert np.all(close[far])
    assert far.sum() > 0.9 * len(far)


def test_a_link_without_bends_is_the_logistic_one(cells, point):
    straight = point | {a: np.zeros((cells.n_cells, 1)) for a in LINK}
    plain = cell_terms(point["e"], parameters(point), cells, slice(None), 3, "cd")
    linked = cell_terms(point["e"], parameters(straight), cells, slice(None), 3, "cd")
    for name, values in plain.items():
        assert_allclose(linked[name], values, rtol=1e-9, atol=1e-9 * np.abs(values).max())


def test_names_are_those_of_the_terms(cells, bent):
    for order in range(4):
        terms = cell_terms(bent["e"], parameters(bent), cells, slice(None), order, "cd123456")
        assert set(terms) - {"f", "fisher"} == set(derivative_names(order, "cd123456"))


def test_fisher_information_is_the_expected_curvature(cells, point):
    """E[-d2h/de2] over scores drawn from the law itself, for one uncensored cell."""
    x = {"e": 0.4, "p": 12.0, "c": 0.2, "d": 0.9}
    rng = np.random.default_rng(2)
    y = Beta().draw(rng, np.full((4000, 1), mean_score(x["e"], x["c"], x["d"])), x["p"])
    drawn = Cells.from_tables(Beta(), y, np.zeros_like(y, dtype=np.int8), np.array([0.005]), np.zeros(4000, int), y)
    column = {name: np.full((4000, 1), value) for name, value in x.items()}
    terms = cell_terms(column["e"], parameters(column), drawn, slice(None), 2)
    assert np.all(terms["fisher"] == terms["fisher"][0])
    error = np.std(terms["ee"]) / np.sqrt(4000)
    assert abs(terms["fisher"][0, 0] + terms["ee"].mean()) < 4.0 * error


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_lower_order_gives_the_same_numbers(cells, point, order):
    full = cell_terms(point["e"], parameters(point), cells, slice(None), 3, "cd")
    short = cell_terms(point["e"], parameters(point), cells, slice(None), order, "cd")
    for name, values in short.items():
        # a tail's series stops later when derivatives are summed too
        assert_allclose(values, full[name], rtol=1e-11, atol=1e-11)
    assert ("ee" in short) == (order == 2)


def test_a_slice_is_part_of_the_whole(cells, point):
    structure = Structure(
        np.ones((3, 1)), np.zeros(3), np.zeros((2, 1)), np.eye(1), np.array([5.0, 20.0, 80.0]),
        np.array([0.0, 0.1, 0.2]), np.ones(3),
    )  # fmt: skip
    where = slice(30, 90)
    all_parameters = cell_parameters(structure, cells)
    assert_array_equal(all_parameters.phi[:, 0], structure.precision[cells.item])
    whole = cell_terms(point["e"], all_parameters, cells, slice(None), 3)
    part = cell_terms(point["e"][where], all_parameters.at(where), cells, where, 3)
    assert "c" not in part  # asymptotes were not asked for
    for name, values in part.items():
        # censored cells share one series, which stops when the slowest of them has converged
        assert_allclose(values, whole[name][where], rtol=1e-11, atol=1e-11)


def test_simulated_scores_have_the_moments_of_the_law():
    rng = np.random.default_rng(3)
    eta, phi, lower, upper = np.array([-1.0, 0.5, 2.0]), np.array([3.0, 30.0, 300.0]), 0.25, 0.95
    one = np.ones(3)
    structure = Structure(np.ones((3, 1)), 0.0 * one, np.zeros((2, 1)), np.eye(1), phi, lower * one, upper * one)
    draws = simulate_scores(Beta(), rng, structure, np.tile(eta, (20_000, 1)))
    mu = mean_score(eta, lower, upper)
    variance = mu * (1.0 - mu) / (1.0 + phi)
    # four standard errors; the kurtosis of these laws leaves the variance's under 2 / n
    assert np.all(np.abs(draws.mean(axis=0) - mu) < 4.0 * np.sqrt(variance / 20_000))
    assert np.all(np.abs(draws.var(axis=0) / variance - 1.0) < 4.0 * np.sqrt(2.0 / 20_000))
    assert np.all((draws > 0.0) & (draws < 1.0))
