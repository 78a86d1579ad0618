"""The closed-form Hessian of Laplace's log-likelihood, judged by differences of its exact score."""

from dataclasses import replace

import numpy as np
import pytest
import small_laws
from numpy.testing import assert_allclose

import latentscale.likelihood.laplace_hessian as room
from latentscale.components.cells import Cells
from latentscale.components.linear_predictor import layout_of
from latentscale.likelihood.laplace import laplace
from latentscale.likelihood.laplace_hessian import laplace_hessian
from latentscale.likelihood.modes import posterior_modes
from latentscale.numerics.differences import jacobian

SHAPES = "cd123456"
# skills, random slopes, learned links, outliers, censored scores
CASES = {
    "one skill": (1, 0, False, 0.0, False),
    "three skills, censored scores": pytest.param((3, 0, False, 0.0, True), marks=pytest.mark.slow),
    "two skills, two random slopes": pytest.param((2, 2, False, 0.0, False), marks=pytest.mark.slow),
    "learned links": (2, 0, True, 0.0, False),
    "links, outliers and random slopes": pytest.param((2, 1, True, 0.1, False), marks=pytest.mark.slow),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request):
    """(structure, cells) with scores simulated from the law; a tenth of them is missing."""
    k, r, bent, outliers, censored = request.param
    # seeds with which no predictor is within a step of its link's knots, where third derivatives jump
    rng = np.random.default_rng(10 * k + r + 1)
    family, x = np.repeat(np.arange(7), 3), rng.standard_normal((21, 2))
    structure = small_laws.random_structure(rng, (2, 5, k, r), bent, variance=1.2)
    law, y, state, random = small_laws.draw(rng, structure, family, x, outliers)
    if censored:
        state[:, 0] = np.where(y[:, 0] < np.quantile(y[:, 0], 0.3), 1, np.where(y[:, 0] > 0.6, 2, 0))
    return structure, Cells.from_tables(law, y, state, np.full(5, 0.05), family, x, random)


@pytest.mark.parametrize("expected", [False, True], ids=["observed curvature", "expected curvature"])
def test_against_differences_of_the_score(case, expected):
    structure, cells = case
    layout = layout_of(structure)
    shapes = "cd" if structure.link.shape[1] == 0 else SHAPES
    s = layout.flatten(structure)
    modes = posterior_modes(structure, cells)
    assert modes.exact.all()

    def score(point):
        return laplace(layout.unflatten(point), cells, modes, shapes, 1e-12, expected)[1]

    wanted = jacobian(score, s, 1e-4 * np.maximum(0.1, np.abs(s)))
    found = laplace_hessian(structure, cells, modes, shapes, expected)
    size = np.sqrt(np.abs(np.diag(wanted)))
    assert np.all(size > 0.0)
    # in units in which diagonals are one; learned links have jumps in their third derivative
    assert_allclose((found - wanted) / np.outer(size, size), 0.0, atol=2e-6)
    assert_allclose(found, found.T, rtol=0, atol=0)


def test_batches_add_up(case, monkeypatch):
    structure, cells = case
    modes = posterior_modes(structure, cells)
    whole = laplace_hessian(structure, cells, modes, "cd")
    monkeypatch.setattr(room, "_BATCH_CELLS", 20)
    assert len(list(room._batches(cells, structure))) > 3
    parts = laplace_hessian(structure, cells, modes, "cd")
    assert_allclose(parts, whole, rtol=1e-9, atol=1e-9 * np.abs(whole).max())


def test_nan_where_there_is_no_approximation(case):
    structure, cells = case
    modes = posterior_modes(structure, cells)
    broken = replace(modes, exact=np.arange(len(modes.exact)) > 0)
    assert np.isnan(laplace_hessian(structure, cells, broken)).all()
