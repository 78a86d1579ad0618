"""Rotations to simple structure leave the law of the scores as it is, and do not depend on the coordinates given."""

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from latentscale.inference.rotation import rotate_structure
from latentscale.likelihood.laplace import laplace
from latentscale.numerics.rotation import canonical_order, rotate
from latentscale.testing import parameters, rotations, specifications, transformations

# Loadings, correlations and the entries of a transformation are of order one: absolute tolerances below are relative to
# that. Rounding is 1e-16 a term; a criterion's minimum, where it is flat, is found to the root of its own error.
QUICK = settings(max_examples=30)
FEW = settings(QUICK, max_examples=20)
# each with a minimum that the loadings below determine
CRITERIA = st.sampled_from([
    {"method": "geomin"},
    {"method": "geomin", "oblique": False},
    {"method": "oblimin", "gamma": -0.5},
    {"method": "quartimin"},
    {"method": "quartimin", "normalize": True},
    {"method": "varimax"},
    {"method": "promax", "power": 3},
])  # fmt: skip


@st.composite
def simple_loadings(draw):
    """Loadings (J, K) in clusters: every factor has three rows or more of its own, with small loadings elsewhere."""
    k = draw(st.integers(1, 3))
    owners = np.repeat(np.arange(k), draw(st.lists(st.integers(3, 4), min_size=k, max_size=k)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    loadings = rng.uniform(-0.15, 0.15, (len(owners), k))
    loadings[np.arange(len(owners)), owners] = rng.uniform(0.5, 1.0, len(owners))
    return loadings


@pytest.mark.slow
@QUICK
@given(st.data(), simple_loadings(), CRITERIA)
def test_a_rotation_does_not_depend_on_the_coordinates_it_starts_from(data, loadings, options):
    turned = loadings @ data.draw(rotations(loadings.shape[1]))
    one, other = rotate(loadings, starts=10, **options), rotate(turned, starts=10, **options)
    assert_allclose(other.criterion, one.criterion, rtol=1e-9, atol=1e-12)
    # columns of nearly equal size may come in either order
    order = np.abs(one.loadings.T @ other.loadings).argmax(axis=1)
    signs = np.sign(np.sum(one.loadings * other.loadings[:, order], axis=0))
    assert_allclose(other.loadings[:, order] * signs, one.loadings, atol=1e-6)
    assert_allclose(other.correlation[np.ix_(order, order)] * np.outer(signs, signs), one.correlation, atol=1e-6)


@QUICK
@given(simple_loadings(), CRITERIA)
def test_rotations_keep_the_covariance_they_explain(loadings, options):
    rotation = rotate(loadings, starts=5, **options)
    event(f"{options['method']}, {loadings.shape[1]} factors")
    assert_allclose(rotation.loadings @ rotation.correlation @ rotation.loadings.T, loadings @ loadings.T, atol=1e-12)
    assert_allclose(np.diag(rotation.correlation), 1.0, atol=1e-14)
    assert_allclose(np.linalg.norm(rotation.transform, axis=0), 1.0, atol=1e-12)
    permutation, signs = canonical_order(rotation.loadings)
    assert_allclose(permutation, np.arange(len(signs)))
    assert_allclose(signs, 1.0)


@FEW
@given(simple_loadings(), st.floats(0.01, 100.0), st.sampled_from(["quartimin", "varimax"]))
def test_the_unit_of_the_loadings_does_not_matter(loadings, size, method):
    one, other = rotate(loadings, method, starts=5), rotate(size * loadings, method, starts=5)
    assert_allclose(other.loadings, size * one.loadings, atol=1e-6 * size)
    assert_allclose(other.correlation, one.correlation, atol=1e-6)


@FEW
@given(st.data(), specifications(benchmarks=st.integers(5, 7), n_skills=st.integers(1, 3)))
def test_rotated_fits_are_the_same_law(data, model):
    """Fitted values, their covariance between families and the likelihood stay as they were."""
    structure = model.table.structure(data.draw(parameters(model)).to_numpy())
    structure = structure.transformed(data.draw(transformations(model.pattern.n_skills)))
    turned, _ = rotate_structure(structure, "varimax", starts=3)
    assert_allclose(turned.loadings @ turned.slopes.T, structure.loadings @ structure.slopes.T, atol=1e-10)
    cov = structure.loadings @ structure.skill_cov @ structure.loadings.T
    assert_allclose(turned.loadings @ turned.skill_cov @ turned.loadings.T, cov, atol=1e-10)
    assert_allclose(np.diag(turned.skill_cov), 1.0, atol=1e-12)
    value, same = laplace(turned, model.user_cells)[0], laplace(structure, model.user_cells)[0]
    assert_allclose(value, same, rtol=1e-9, atol=1e-9)
