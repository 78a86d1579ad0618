"""Penalties: derivatives by differences, and what must leave the shrinkage as it was."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.components.curve import UPPER_CENTRE
from latentscale.components.penalty import (
    Penalty,
    PrecisionPenalty,
    ShapePenalty,
    Shrinkage,
    SpreadPenalty,
)
from latentscale.numerics.differences import jacobian
from latentscale.parameters.structure import Layout, Structure
from latentscale.parameters.table import ParameterTable

J, P = 4, 3


def _structure(k, seed=0):
    rng = np.random.default_rng(seed)
    root = np.eye(k) + 0.4 * rng.standard_normal((k, k))
    lower = rng.uniform(0.02, 0.3, J)
    return Structure(
        rng.standard_normal((J, k)), rng.standard_normal(J), rng.standard_normal((P, k)),
        root @ root.T + 0.5 * np.eye(k), rng.uniform(5.0, 50.0, J), lower, lower + rng.uniform(0.5, 0.65, J),
        rng.standard_normal((J, 6)),
    )  # fmt: skip


def _design_cov(seed=1):
    x = np.random.default_rng(seed).standard_normal((30, P)) * [1.0, 3.0, 0.2]
    return x.T @ x / 30


def _parts(k):
    """One penalty of each kind, and their sum, for a layout with K skills and everything free."""
    layout = Layout(J, k, P, 6)
    fixed = np.full(layout.size, np.nan)
    table = ParameterTable(tuple("abcd"), tuple(f"skill{n}" for n in range(k)), ("x", "y", "z"), fixed, 6)
    shapes = ShapePenalty.for_table(table, np.array([0.0, 0.1, 0.25, 0.5]), 1.5, 0.4)
    cov = _design_cov()
    out = {
        "shapes": shapes, "effects": Shrinkage(layout, cov, 0.5, None), "slopes": Shrinkage(layout, cov, None, 2.0),
        "both": Shrinkage(layout, cov, 0.5, 2.0),
    }  # fmt: skip
    return layout, out | {"sum": Penalty((shapes, out["both"]))}


@pytest.mark.parametrize("name", ["shapes", "effects", "slopes", "both", "sum"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_derivatives_are_those_of_differences(k, name):
    layout, parts = _parts(k)
    penalty = parts[name]
    for seed in range(3):
        s = layout.flatten(_structure(k, seed))
        # far from the edges of Sigma and of the asymptotes in comparison with the step
        step = 1e-4 * np.maximum(0.1, np.abs(s))
        value, gradient = penalty.terms(s)
        wanted = jacobian(lambda point: np.atleast_1d(penalty.terms(point)[0]), s, step)[0]
        # rounding of the value over the smallest step, 1e-16 / 1e-5 relative; truncation of the order of step^4
        assert_allclose(gradient, wanted, rtol=1e-7, atol=1e-9 * (1.0 + abs(value)))
        hessian = Penalty((penalty,)).hessian(s) if name != "sum" else penalty.hessian(s)
        wanted = jacobian(lambda point: penalty.terms(point)[1], s, step)
        assert_allclose(hessian, wanted, rtol=1e-7, atol=1e-9 * (1.0 + np.abs(gradient).max()))
        assert_allclose(hessian, hessian.T, rtol=0, atol=1e-12 * (1.0 + np.abs(hessian).max()))


@pytest.mark.parametrize(
    "penalty",
    [PrecisionPenalty(np.array([0, 2]), 200.0, 1.5), SpreadPenalty(np.array([1, 2, 3]), np.array([1.0, 0.5, 2.0]))],
)
def test_penalties_of_precisions_and_of_standard_deviations(penalty):
    s = np.array([35.0, -0.3, 0.8, 2.0, 7.0])
    step = 1e-3 * np.abs(s)
    wanted = jacobian(lambda point: np.atleast_1d(penalty.terms(point)[0]), s, step)[0]
    assert_allclose(penalty.terms(s)[1], wanted, rtol=1e-7, atol=1e-9)
    curvature = jacobian(lambda point: penalty.terms(point)[1], s, step)
    assert_allclose(Penalty((penalty,)).hessian(s), curvature, rtol=1e-7, atol=1e-9)
    assert not penalty.terms(s)[1][[4]].any()


def test_shapes_are_penalised_where_they_are_free_only():
    layout, parts = _parts(1)
    fixed = np.full(layout.size, np.nan)
    fixed[layout.slices["upper"]] = 1.0
    fixed[layout.slices["link"]] = 0.0
    table = ParameterTable(tuple("abcd"), ("skill1",), ("x", "y", "z"), fixed, 6)
    penalty = ShapePenalty.for_table(table, np.array([0.0, 0.1, 0.25, 0.5]), 1.5, 0.4)
    assert list(penalty.where) == list(range(layout.slices["lower"].start, layout.slices["lower"].stop))
    # an asymptote at its centre costs nothing; a guessing level of zero is taken for .005
    structure = replace(_structure(1), lower=np.array([0.005, 0.1, 0.25, 0.5]))
    value, gradient = penalty.terms(layout.flatten(structure))
    assert_allclose(value, 0.0, atol=1e-20)
    assert_allclose(gradient, 0.0, atol=1e-12)
    # one s.d. off the centre on the logit scale, and a link's coordinate by its own s.d., cost 1/2 each
    structure = replace(
        structure, upper=np.full(J, 1.0 / (1.0 + np.exp(-UPPER_CENTRE - 1.5))), link=np.full((J, 6), 0.4)
    )
    value, _ = parts["shapes"].terms(layout.flatten(structure))
    assert_allclose(value, -0.5 * (J + 6 * J), rtol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_shrinkage_does_not_depend_on_the_axes_of_the_skills(k):
    layout, parts = _parts(k)
    rng = np.random.default_rng(5)
    for seed in range(5):
        structure = _structure(k, seed)
        turned = structure.transformed(rng.standard_normal((k, k)) + 0.5 * np.eye(k))
        for name in ("effects", "slopes", "both"):
            value, _ = parts[name].terms(layout.flatten(structure))
            # rounding, times the condition number of the transform, under 1e3
            assert_allclose(parts[name].terms(layout.flatten(turned))[0], value, rtol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_shrinkage_does_not_depend_on_the_units_of_the_covariates(k):
    layout, parts = _parts(k)
    rng = np.random.default_rng(6)
    transform, centre = rng.standard_normal((P, P)) + np.eye(P), rng.standard_normal(P)
    structure = _structure(k)
    recoded = structure.recoded(transform, centre)
    other = Shrinkage(layout, transform.T @ _design_cov() @ transform, None, 2.0)
    value, _ = parts["slopes"].terms(layout.flatten(structure))
    assert_allclose(other.terms(layout.flatten(recoded))[0], value, rtol=1e-10)
    # and it would, if the covariance stayed as it was
    assert abs(parts["slopes"].terms(layout.flatten(recoded))[0] / value - 1.0) > 0.01


@pytest.mark.parametrize("skills", [1, 3])
@pytest.mark.parametrize("scaling", ["log(params_b)", "log(params_b) * log(tokens_t)"])
def test_penalties_are_the_same_in_users_covariates_and_in_whitened_ones(skills, scaling):
    panel = ls.BenchmarkPanel(ls.load_leaderboard())
    options = {"link": "monotone", "shrink_effects": 0.5, "shrink_slopes": 1.0, "asymptotes": "both"}
    model = ls.LatentSkillModel(panel, scaling, skills, **options)
    rng = np.random.default_rng(7)
    internal = model.space.structure(0.3 * rng.standard_normal(model.space.size))
    layout, user = model.table.layout, model.recoding.user(internal)
    wanted, gradient = model.penalty.terms(layout.flatten(internal))
    value, natural = model.natural_penalty.terms(layout.flatten(user))
    assert_allclose(value, wanted, rtol=1e-10)
    # ds/dz carries the gradient back
    carried = natural @ model.recoding.jacobian(layout, internal)
    assert_allclose(carried, gradient, rtol=1e-8, atol=1e-9 * np.abs(gradient).max())
