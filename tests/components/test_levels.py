"""Levels of random effects and their terms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.components import levels, random_effects
from latentscale.components.beta_law import Beta
from latentscale.components.cells import Cells
from latentscale.components.linear_predictor import layout_of
from latentscale.likelihood.laplace import laplace
from latentscale.numerics.differences import jacobian
from latentscale.parameters.structure import Structure

J, K, R = 4, 2, 2


def structure(**scales):
    rng = np.random.default_rng(1)
    return Structure(
        rng.uniform(0.3, 1.0, (J, K)), rng.uniform(-0.5, 0.5, J), rng.uniform(0.1, 0.5, (R, K)),
        np.array([[1.2, 0.4], [0.4, 0.9]]), rng.uniform(10.0, 30.0, J), np.full(J, 0.05), np.full(J, 0.97),
        scales=scales,
    )  # fmt: skip


ALL = {"slope_sd": np.array([[0.3, 0.5], [0.2, 0.6]]), "llm_sd": np.array([0.4])}


def test_levels_come_outermost_first_and_know_their_terms():
    families, llms = levels.levels_of(structure(**ALL))
    assert (families.name, llms.name) == ("family", "llm")
    assert families.size == K * (1 + R)
    assert [term.covariate for term in families.terms] == [None, 0, 1]
    assert llms.size == K


def test_one_number_that_is_zero_brings_no_effects():
    assert [level.name for level in levels.levels_of(structure(llm_sd=np.zeros(1)))] == ["family"]
    assert [level.name for level in levels.levels_in(layout_of(structure(llm_sd=np.zeros(1))))] == ["family", "llm"]


def test_effect_loadings_times_effects_are_loadings_times_what_is_added_to_skills():
    at, rng = structure(**ALL), np.random.default_rng(2)
    random = rng.standard_normal((7, R))
    item = rng.integers(0, J, 7)
    for level in levels.levels_of(at):
        effects = rng.standard_normal((7, level.size))
        eta = np.sum(level.loadings(at, item, random) * effects, axis=1)
        added = np.sum(at.loadings[item] * level.added(at, effects, random), axis=1)
        beside = np.broadcast_to(level.particular(at, effects), (7, J))[np.arange(7), item]
        assert_allclose(eta, added + beside, rtol=1e-13)


def test_draws_have_the_covariance_of_the_level():
    at, size = structure(**ALL), 200_000
    for level in levels.levels_of(at):
        found = np.cov(level.draws(np.random.default_rng(3), at, size).T)
        # a covariance of standard normal draws is off by about 1 / sqrt(size)
        assert_allclose(found, level.covariance(at), rtol=0, atol=6.0 / np.sqrt(size))


def test_scales_that_are_not_known_are_zero():
    covariates = np.random.default_rng(4).standard_normal((9, 2))
    wanted = (random_effects.random_slopes(("a", "b"), covariates, K), random_effects.residual_skills())
    wider = random_effects.with_effects(structure(slope_sd=np.array([[0.3, 0.5]])), {"slope_sd": ("b",)}, wanted)
    assert_array_equal(wider.scales["slope_sd"], [[0.0, 0.0], [0.3, 0.5]])
    assert_array_equal(wider.scales["llm_sd"], [0.0])


@pytest.fixture
def residuals_by_skill(monkeypatch):
    """Residual skills of LLMs that are independent across skills: a kind of effects that the package does not have."""
    monkeypatch.setitem(levels.SCALINGS, "own_sd", levels.Scaling("llm"))
    levels._levels.cache_clear()
    yield structure(own_sd=np.array([[0.5, 0.3]]), slope_sd=ALL["slope_sd"])
    levels._levels.cache_clear()


def test_a_new_kind_of_effects_needs_one_line(residuals_by_skill):
    """Its Laplace log-likelihood has the exact score, in its own scales too, and is even in them."""
    rng = np.random.default_rng(5)
    family = np.repeat(np.arange(3), 3)
    x = rng.standard_normal((9, R))
    y, state = rng.uniform(0.2, 0.8, (9, J)), np.zeros((9, J), dtype=np.int8)
    cells = Cells.from_tables(Beta(), y, state, np.full(J, 0.005), family, x, x - x.mean(axis=0))
    layout = layout_of(residuals_by_skill)
    s = layout.flatten(residuals_by_skill)
    value, score, modes = laplace(residuals_by_skill, cells, shapes="cd")
    assert [effects.shape for effects in modes.effects] == [(3, K * (1 + R)), (9, K)]
    step = 1e-3 * np.maximum(0.1, np.abs(s))
    wanted = jacobian(lambda point: np.atleast_1d(laplace(layout.unflatten(point), cells)[0]), s, step)[0]
    # relative to the largest entry of the score
    assert_allclose(score, wanted, rtol=0, atol=1e-7 * np.abs(wanted).max())
    assert np.abs(score[layout.index("own_sd")]).min() > 0.05
    turned = residuals_by_skill.with_scales(own_sd=-residuals_by_skill.scales["own_sd"])
    assert_allclose(laplace(turned, cells)[0], value, rtol=1e-12)
