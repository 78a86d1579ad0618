"""Response: the derivatives of one cell's log-likelihood, and simulated scores."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from latentscale.components.cells import Cells
from latentscale.components.response import (
    CellParameters,
    cell_parameters,
    cell_terms,
    mean_score,
    simulate_scores,
)
from latentscale.numerics.differences import jacobian
from latentscale.numerics.special import gamma_derivatives
from latentscale.parameters.structure import Structure

# a derivative -> the one it is a derivative of, and the variable
CHAIN = {
    "e": ("f", "e"), "p": ("f", "p"), "c": ("f", "c"), "d": ("f", "d"),
    "ee": ("e", "e"), "ep": ("e", "p"), "ec": ("e", "c"), "ed": ("e", "d"),
    "pp": ("p", "p"), "pc": ("p", "c"), "pd": ("p", "d"),
    "cc": ("c", "c"), "cd": ("c", "d"), "dd": ("d", "d"),
    "eee": ("ee", "e"), "eep": ("ee", "p"), "eec": ("ee", "c"), "eed": ("ee", "d"),
}  # fmt: skip


@pytest.fixture(scope="module")
def cells():
    """Sixty LLMs of six families on three benchmarks; missing cells, and some censored ones in both tails."""
    rng = np.random.default_rng(0)
    y = rng.uniform(0.03, 0.97, (60, 3))
    state = rng.choice([0, 0, 0, 0, 1, 2, -1], (60, 3)).astype(np.int8)
    edge = np.array([0.005, 0.05, 5e-5])
    y = np.where(state == 1, edge, np.where(state == 2, 1.0 - edge, y))
    return Cells.from_tables(y, state, edge, np.arange(60) % 6, rng.standard_normal((60, 2)))


def parameters(x):
    return CellParameters(x["p"], gamma_derivatives(x["p"], 2), x["c"], x["d"])


@pytest.fixture(scope="module")
def point(cells):
    """eta, phi, c and d of each cell, arrays (C, 1)."""
    rng = np.random.default_rng(1)
    shape = (cells.n_cells, 1)
    c = rng.uniform(0.01, 0.3, shape)
    d = rng.uniform(0.6, 0.99, shape)
    return {"e": rng.uniform(-4.0, 4.0, shape), "p": np.exp(rng.uniform(0.0, 5.0, shape)), "c": c, "d": d}


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
    f = cell_terms(point["e"], parameters(point), cells, slice(None), 0).f[:, 0]
    mu, phi = mean_score(point["e"], point["c"], point["d"])[:, 0], point["p"][:, 0]
    law = stats.beta(mu * phi, (1.0 - mu) * phi)
    wanted = law.logpdf(np.exp(cells.log_y))
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
    below, variable = CHAIN[name]
    step = {"e": 2e-3, "p": 2e-3 * point["p"], "c": 1e-4, "d": 1e-4}[variable]

    def lower(t):
        moved = point | {variable: point[variable] + t[0] * step}
        terms = cell_terms(moved["e"], parameters(moved), cells, slice(None), 3, asymptotes=True)
        return getattr(terms, below)[:, 0]

    got = jacobian(lower, np.zeros(1), np.ones(1)) / step
    exact = getattr(cell_terms(point["e"], parameters(point), cells, slice(None), 3, True), name)
    size = np.abs(lower(np.zeros(1)))[:, None]
    # rounding of what is differenced, over the step; and a truncation of the order of the step to the fourth
    noise = 1e-13 * (size + point["p"] * np.log1p(point["p"])) / step
    assert np.all(np.abs(got - exact) < 1e-6 * np.abs(exact) + noise)


def test_fisher_information_is_the_expected_curvature(cells, point):
    """E[-d2h/de2] over scores drawn from the law itself, for one uncensored cell."""
    x = {"e": 0.4, "p": 12.0, "c": 0.2, "d": 0.9}
    rng = np.random.default_rng(2)
    y = simulate_scores(rng, np.full((4000, 1), x["e"]), x["p"], x["c"], x["d"])
    drawn = Cells.from_tables(y, np.zeros_like(y, dtype=np.int8), np.array([0.005]), np.zeros(4000, int), y)
    column = {name: np.full((4000, 1), value) for name, value in x.items()}
    terms = cell_terms(column["e"], parameters(column), drawn, slice(None), 2)
    assert np.all(terms.fisher == terms.fisher[0])
    error = np.std(terms.ee) / np.sqrt(4000)
    assert abs(terms.fisher[0, 0] + terms.ee.mean()) < 4.0 * error


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_lower_order_gives_the_same_numbers(cells, point, order):
    full = cell_terms(point["e"], parameters(point), cells, slice(None), 3, True)
    short = cell_terms(point["e"], parameters(point), cells, slice(None), order, True)
    for name, values in short._asdict().items():
        if values is not None:
            # a tail's series stops later when derivatives are summed too
            assert_allclose(values, getattr(full, name), rtol=1e-11, atol=1e-11)
    assert (short.ee is None) == (order < 2)


def test_a_slice_is_part_of_the_whole(cells, point):
    structure = Structure(
        np.ones((3, 1)), np.zeros(3), np.zeros((2, 1)), np.eye(1), np.array([5.0, 20.0, 80.0]),
        np.array([0.0, 0.1, 0.2]), np.ones(3),
    )  # fmt: skip
    where = slice(30, 90)
    all_parameters = cell_parameters(structure, cells)
    assert_array_equal(all_parameters.phi[:, 0], structure.precision[cells.item])
    whole = cell_terms(point["e"], all_parameters, cells, slice(None), 3)
    part = cell_terms(point["e"][where], all_parameters.part(where), cells, where, 3)
    for name, values in part._asdict().items():
        if values is not None:
            # censored cells share one series, which stops when the slowest of them has converged
            assert_allclose(values, getattr(whole, name)[where], rtol=1e-11, atol=1e-11)
        else:
            assert name[-1] in "cd"  # asymptotes were not asked for


def test_simulated_scores_have_the_moments_of_the_law():
    rng = np.random.default_rng(3)
    eta, phi, lower, upper = np.array([-1.0, 0.5, 2.0]), np.array([3.0, 30.0, 300.0]), 0.25, 0.95
    draws = simulate_scores(rng, *np.broadcast_arrays(eta, phi, lower, np.full((20_000, 1), upper)))
    mu = mean_score(eta, lower, upper)
    variance = mu * (1.0 - mu) / (1.0 + phi)
    # four standard errors; the kurtosis of these laws leaves the variance's under 2 / n
    assert np.all(np.abs(draws.mean(axis=0) - mu) < 4.0 * np.sqrt(variance / 20_000))
    assert np.all(np.abs(draws.var(axis=0) / variance - 1.0) < 4.0 * np.sqrt(2.0 / 20_000))
    assert np.all((draws > 0.0) & (draws < 1.0))
