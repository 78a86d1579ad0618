"""Random slopes by family: the engine with more effects than skills, judged by differences and by plain integration."""

from dataclasses import replace

import numpy as np
import pytest
import small_laws
from numpy.testing import assert_allclose
from scipy import stats

from latentscale.components.beta_law import Beta
from latentscale.components.cells import Cells
from latentscale.components.curve import mean_score
from latentscale.components.levels import effect_loadings, family_effects, levels_of
from latentscale.components.linear_predictor import layout_of
from latentscale.likelihood.adaptive_nodes import adaptive, adaptive_by_family
from latentscale.likelihood.laplace import laplace, laplace_by_family
from latentscale.likelihood.marginal import adapted_nodes, marginal
from latentscale.likelihood.modes import posterior_modes
from latentscale.numerics.differences import jacobian
from latentscale.numerics.nodes import gauss_hermite
from latentscale.parameters.structure import Structure

CASES = {
    "two skills, one slope": (2, 1, False),
    "one skill, two slopes": (1, 2, False),
    "with links and outliers": pytest.param((2, 1, True), marks=pytest.mark.slow),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request):
    """(structure, cells) with scores simulated from random slopes."""
    k, r, bent = request.param
    rng = np.random.default_rng(10 * k + r)
    family, x = np.repeat(np.arange(6), 3), rng.standard_normal((18, 2))
    structure = small_laws.random_structure(rng, (2, 4, k, r), bent)
    law, y, state, random = small_laws.draw(rng, structure, family, x, 0.15 * bent)
    return structure, Cells.from_tables(law, y, state, np.full(4, 0.005), family, x, random)


def _differences(function, s):
    return jacobian(lambda point: np.atleast_1d(function(point)), s, 1e-3 * np.maximum(0.1, np.abs(s)))


def _shapes(structure):
    return "cd123456" if structure.link.shape[1] else "cd"


def _reader(structure):
    """s -> Structure with the layout of another."""
    return layout_of(structure).unflatten


@pytest.mark.parametrize("expected", [False, True], ids=["observed curvature", "expected curvature"])
def test_laplace_score(case, expected):
    structure, cells = case
    s = layout_of(structure).flatten(structure)
    wanted = _differences(lambda point: laplace(_reader(structure)(point), cells, expected=expected)[0], s)[0]
    found = laplace(structure, cells, None, _shapes(structure), expected=expected)[1]
    assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_score_on_moving_nodes(case):
    structure, cells = case
    layout, standard = layout_of(structure), gauss_hermite(3, family_effects(layout_of(structure)))
    s = layout.flatten(structure)
    wanted = _differences(lambda point: adaptive(_reader(structure)(point), cells, standard)[0], s)[0]
    assert_allclose(adaptive(structure, cells, standard, None, _shapes(structure))[1], wanted, rtol=1e-6, atol=1e-7)


def test_louis_hessian_on_frozen_nodes(case):
    structure, cells = case
    layout = layout_of(structure)
    nodes = adapted_nodes(gauss_hermite(3, family_effects(layout)), posterior_modes(structure, cells))
    s = layout.flatten(structure)
    read, shapes = _reader(structure), _shapes(structure)
    wanted = _differences(lambda point: marginal(read(point), cells, nodes, 1, shapes).score, s)
    found = marginal(structure, cells, nodes, 2, _shapes(structure)).hessian
    assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    by_family = marginal(structure, cells, nodes, 2, _shapes(structure), by_family=True)
    assert_allclose(by_family.hessian.sum(axis=0), found, rtol=1e-10, atol=1e-9)


def test_families_add_up(case):
    structure, cells = case
    values, scores, _ = laplace_by_family(structure, cells, None, _shapes(structure))
    total, score, _ = laplace(structure, cells, None, _shapes(structure))
    assert_allclose(values.sum(), total, rtol=1e-12)
    assert_allclose(scores.sum(axis=0), score, rtol=1e-9, atol=1e-9)
    standard = gauss_hermite(3, family_effects(layout_of(structure)))
    values, scores, _ = adaptive_by_family(structure, cells, standard, None, _shapes(structure))
    total, score, _ = adaptive(structure, cells, standard, None, _shapes(structure))
    assert_allclose(values.sum(), total, rtol=1e-12)
    assert_allclose(scores.sum(axis=0), score, rtol=1e-9, atol=1e-9)


def test_sign_of_the_standard_deviation_does_not_matter_and_zero_is_no_random_slope(case):
    structure, cells = case
    value = laplace(structure, cells)[0]
    assert_allclose(laplace(structure.with_scales(slope_sd=-structure.scales["slope_sd"]), cells)[0], value, rtol=1e-12)
    none = structure.with_scales(slope_sd=0.0 * structure.scales["slope_sd"])
    without = replace(structure, scales={})
    assert_allclose(laplace(none, cells)[0], laplace(without, cells)[0], rtol=1e-12)


def test_against_plain_integration():
    """One skill, one random slope: two effects, integrated by scipy from the model's definition."""
    rng = np.random.default_rng(5)
    x = np.array([[-1.0], [0.5], [2.0]])
    random = x - x.mean()
    y = rng.uniform(0.2, 0.8, (3, 2))
    structure = Structure(
        np.array([[0.8], [0.5]]), np.array([0.1, -0.2]), np.array([[0.3]]), np.eye(1),
        np.array([15.0, 25.0]), np.zeros(2), np.ones(2), scales={"slope_sd": np.array([[0.4]])},
    )  # fmt: skip
    state, family = np.zeros((3, 2), dtype=np.int8), np.zeros(3, dtype=int)
    cells = Cells.from_tables(Beta(), y, state, np.full(2, 0.005), family, x, random)

    # both densities are negligible at the ends, where the trapezoidal rule is then exact to rounding
    alpha, delta = np.linspace(-7.0, 7.0, 301)[:, None], np.linspace(-2.8, 2.8, 301)[None, :]
    log_f = stats.norm.logpdf(alpha) + stats.norm.logpdf(delta, scale=0.4)
    for i in range(3):
        theta = alpha + 0.3 * x[i, 0] + delta * random[i, 0]
        for j in range(2):
            mu, phi = mean_score(0.8 * theta + 0.1 if j == 0 else 0.5 * theta - 0.2, 0.0, 1.0), structure.precision[j]
            log_f = log_f + stats.beta.logpdf(y[i, j], mu * phi, (1.0 - mu) * phi)
    wanted = np.log(np.exp(log_f).sum() * (14.0 / 300) * (5.6 / 300))
    standard = gauss_hermite(25, 2)
    assert_allclose(adaptive(structure, cells, standard)[0], wanted, rtol=1e-7)
    assert effect_loadings(structure, cells).shape == (6, 2)
    assert_allclose(levels_of(structure)[0].covariance(structure), np.eye(2))
