"""Curvature eliminated level by level, for three levels, against one dense matrix."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from latentscale.components.cells import Units
from latentscale.likelihood.nested_curvature import NestedCurvature

SIZES = (1, 3, 2)  # effects of a unit of each level, outermost first
MIDDLE = np.array([0, 0, 1, 1, 1])  # the outermost unit of each of five middle units
INNER = np.array([0, 0, 0, 1, 2, 2, 3, 4, 4])  # the middle unit of each of nine inner units
PRIORS = [np.array([[1.5]]), np.diag([1.0, 2.0, 0.7]), np.array([[1.0, 0.3], [0.3, 2.0]])]


def units():
    """Units of three levels, each inner unit with one cell."""
    outermost = MIDDLE[INNER]
    return (
        Units(outermost, np.flatnonzero(np.diff(outermost, prepend=-1)), None, np.arange(2)),
        Units(INNER, np.flatnonzero(np.diff(INNER, prepend=-1)), MIDDLE, MIDDLE),
        Units(np.arange(9), np.arange(9), INNER, outermost),
    )


def places(family):
    """Where the effects of each unit within a family stand in a dense vector: dict (level, unit) -> int array."""
    wanted = [(0, family)]
    wanted += [(1, unit) for unit in np.flatnonzero(family == MIDDLE)]
    wanted += [(2, unit) for unit in np.flatnonzero(MIDDLE[INNER] == family)]
    ends = np.cumsum([SIZES[level] for level, _ in wanted])
    return {key: np.arange(end - SIZES[key[0]], end) for key, end in zip(wanted, ends, strict=True)}


def chain(unit):
    """The units that an inner unit lies in, and itself, outermost first."""
    return (0, MIDDLE[INNER[unit]]), (1, INNER[unit]), (2, unit)


def dense(sums, family):
    """The family's curvature as one matrix: the sums of every inner unit on its chain, and the priors."""
    where = places(family)
    out = np.zeros((sum(len(index) for index in where.values()),) * 2)
    for (level, _), index in where.items():
        out[np.ix_(index, index)] += PRIORS[level]
    for unit in np.flatnonzero(MIDDLE[INNER] == family):
        index = np.concatenate([where[key] for key in chain(unit)])
        out[np.ix_(index, index)] += sums[unit]
    return out, where


@pytest.fixture(scope="module")
def sums():
    half = np.random.default_rng(7).standard_normal((9, sum(SIZES), 4))
    return half @ np.swapaxes(half, 1, 2)


def test_solutions_determinants_and_inverses(sums):
    nested = NestedCurvature.eliminated(units(), sums, PRIORS)
    rng = np.random.default_rng(8)
    right = [rng.standard_normal((count, size)) for count, size in zip((2, 5, 9), SIZES, strict=True)]
    solved, inverse = nested.solve(right), nested.inverse_blocks()
    assert nested.defined().all()
    for family in range(2):
        matrix, where = dense(sums, family)
        assert_allclose(nested.log_determinant()[family], np.linalg.slogdet(matrix)[1], rtol=1e-12)
        vector = np.concatenate([right[level][unit] for level, unit in where])
        wanted = np.linalg.solve(matrix, vector)
        for (level, unit), index in where.items():
            # relative to the largest entry of the solution
            assert_allclose(solved[level][unit], wanted[index], rtol=0, atol=1e-12 * np.abs(wanted).max())
        whole = np.linalg.inv(matrix)
        for unit in np.flatnonzero(MIDDLE[INNER] == family):
            index = np.concatenate([where[key] for key in chain(unit)])
            assert_allclose(inverse[unit], whole[np.ix_(index, index)], rtol=0, atol=1e-12 * np.abs(whole).max())


def test_other_coordinates(sums):
    """With effects R z the curvature in the effects is R^-T H R^-1."""
    rng = np.random.default_rng(9)
    roots = [np.tril(rng.uniform(0.5, 1.5, (size, size))) for size in SIZES]
    turned = NestedCurvature.eliminated(units(), sums, PRIORS).transformed(roots)
    inverses = [np.linalg.inv(root) for root in roots]
    spread = np.zeros((sum(SIZES),) * 2)
    ends = np.cumsum(SIZES)
    for inverse, size, end in zip(inverses, SIZES, ends, strict=True):
        spread[end - size : end, end - size : end] = inverse
    priors = [inverse.T @ prior @ inverse for inverse, prior in zip(inverses, PRIORS, strict=True)]
    again = NestedCurvature.eliminated(units(), spread.T @ sums @ spread, priors)
    for found, wanted in zip((*turned.blocks, *turned.cross), (*again.blocks, *again.cross), strict=True):
        assert_allclose(found, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())


def test_a_unit_without_a_maximum_of_its_own_leaves_its_family_undefined(sums):
    bent = sums.copy()
    bent[4, -SIZES[2] :, -SIZES[2] :] -= 50.0 * np.eye(SIZES[2])
    assert NestedCurvature.eliminated(units(), bent, PRIORS).defined().tolist() == [True, False]
