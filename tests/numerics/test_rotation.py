"""Rotation of loadings: its properties, and GPArotation and stats::promax in R (tests/reference/gparotation.R)."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.errors import ConvergenceWarning, DataError, IdentificationError
from latentscale.numerics import rotation_search
from latentscale.numerics.differences import jacobian
from latentscale.numerics.rotation import canonical_order, follow, rotate, rotation_derivative
from latentscale.numerics.rotation_criteria import Geomin, Oblimin, Target, Varimax, read_settings

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "gparotation.json").read_text())["matrices"]
CASES = [(name, number) for name, case in REFERENCE.items() for number in range(len(case["rotations"]))]

RNG = np.random.default_rng(7)
TARGET = np.where(np.arange(9)[:, None] % 3 == np.arange(3), 1.0, 0.0)
PARTIAL = np.where((TARGET == 0.0) | (np.arange(9) == 0)[:, None], TARGET, np.nan)
METHODS = {
    "geomin": {"method": "geomin"},
    "geomin orthogonal": {"method": "geomin", "oblique": False},
    "geomin Kaiser": {"method": "geomin", "normalize": True},
    "oblimin": {"method": "oblimin", "gamma": -0.5},
    "oblimin orthogonal": {"method": "oblimin", "gamma": 0.5, "oblique": False},
    "quartimin Kaiser": {"method": "quartimin", "normalize": True},
    "varimax": {"method": "varimax"},
    "varimax Kaiser": {"method": "varimax", "normalize": True},
    "promax": {"method": "promax"},
    "promax Kaiser": {"method": "promax", "normalize": True, "power": 3},
    "target": {"method": "target", "target": TARGET},
    "target orthogonal Kaiser": {"method": "target", "target": TARGET, "oblique": False, "normalize": True},
    "partial target": {"method": "target", "target": PARTIAL},
    "partial target orthogonal": {"method": "target", "target": PARTIAL, "oblique": False},
}
UNTARGETED = [name for name in METHODS if "target" not in name]
each_method = pytest.mark.parametrize("options", METHODS.values(), ids=METHODS.keys())


def _loadings(seed, rows=9, columns=3):
    """Loadings near simple structure, turned at random."""
    rng = np.random.default_rng(seed)
    simple = 0.2 * rng.standard_normal((rows, columns))
    simple[np.arange(rows), np.arange(rows) % columns] += rng.uniform(0.5, 1.5, rows)
    return simple @ _orthogonal(rng, columns)


def _orthogonal(rng, k):
    return np.linalg.qr(rng.standard_normal((k, k)))[0]


# --- other software ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "number"), CASES)
def test_rotation_equals_r(name, number):
    case = REFERENCE[name]["rotations"][number]
    options = {key: value for key, value in case["options"].items() if value is not None}
    rotation = rotate(
        REFERENCE[name]["matrix"], case["method"], case["oblique"], case["normalize"], starts=15, **options
    )
    loadings, correlation = np.array(case["loadings"]), np.array(case["correlation"])
    if case["method"] == "target":  # a column whose specified entries are all zero has no sign of its own
        permutation, signs = slice(None), np.sign(np.sum(loadings * rotation.loadings, axis=0))
    else:
        permutation, signs = canonical_order(loadings)
    assert rotation.converged
    # R stopped at projected gradients of up to 2e-7, and curvatures are 0.3 at least; the criterion's error is of
    # second order in that
    assert case["gradient"] < 2e-7
    assert_allclose(rotation.criterion, case["criterion"], rtol=1e-12)
    assert_allclose(rotation.loadings, loadings[:, permutation] * signs, atol=5e-7)
    turned = correlation[permutation][:, permutation] * np.outer(signs, signs)
    assert_allclose(rotation.correlation, turned, atol=5e-7)


# --- exact answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, -1.0])
def test_perfect_simple_structure_is_recovered(gamma):
    # each row loads on one factor: quartimin is zero there, and nowhere below
    simple = np.array([[1.2, 0, 0], [0.9, 0, 0], [0, 1.1, 0], [0, 0.6, 0], [0, 0, 0.8], [0, 0, 0.7]])
    correlation = np.array([[1.0, 0.4, 0.2], [0.4, 1.0, -0.1], [0.2, -0.1, 1.0]])
    turned = simple @ np.linalg.cholesky(correlation) @ _orthogonal(np.random.default_rng(2), 3)
    rotation = rotate(turned, "oblimin", gamma=gamma, starts=20)
    if gamma == 0.0:
        assert_allclose(rotation.loadings, simple, atol=1e-12)
        assert_allclose(rotation.correlation, correlation, atol=1e-12)
        assert rotation.criterion < 1e-25
    else:
        assert np.abs(rotation.correlation - np.eye(3)).max() < np.abs(correlation - np.eye(3)).max()


def test_full_orthogonal_target_is_procrustes():
    loadings = _loadings(3)
    rotation = rotate(loadings, "target", oblique=False, target=TARGET, starts=20)
    left, _, right = np.linalg.svd(loadings.T @ TARGET)
    assert_allclose(rotation.transform, left @ right, atol=1e-12)


def test_two_factor_varimax_has_kaisers_angle():
    loadings = _loadings(4, 8, 2)
    u, v = loadings[:, 0] ** 2 - loadings[:, 1] ** 2, 2.0 * loadings[:, 0] * loadings[:, 1]
    top = 2.0 * (u @ v) - 2.0 * u.sum() * v.sum() / 8
    bottom = u @ u - v @ v - (u.sum() ** 2 - v.sum() ** 2) / 8
    angle = 0.25 * np.arctan2(top, bottom)
    turned = loadings @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    permutation, signs = canonical_order(turned)
    assert_allclose(rotate(loadings, "varimax", starts=5).loadings, turned[:, permutation] * signs, atol=1e-12)


# --- properties ----------------------------------------------------------------------------------------------


@each_method
@pytest.mark.parametrize("seed", [1, 3])
def test_rotation_is_one(options, seed):
    loadings = _loadings(seed)
    rotation = rotate(loadings, starts=20, **options)
    assert rotation.converged
    assert_allclose(rotation.loadings @ rotation.correlation @ rotation.loadings.T, loadings @ loadings.T, atol=1e-12)
    assert_allclose(rotation.transform.T @ rotation.transform, rotation.correlation, atol=1e-12)
    assert_allclose(rotation.loadings @ rotation.transform.T, loadings, atol=1e-12)
    assert_array_equal(np.diag(rotation.correlation), 1.0)
    if not rotation.oblique:
        assert_array_equal(rotation.correlation, np.eye(3))
    assert sum(minimum.starts for minimum in rotation.minima) + rotation.failed == 20
    assert rotation.minima[0].value == pytest.approx(rotation.criterion, rel=1e-12)
    assert [value for value, _ in rotation.minima] == sorted(value for value, _ in rotation.minima)
    # never above the end of the first start alone, which is the identity, nor above the identity itself
    first = rotate(loadings, starts=1, **options).criterion
    assert rotation.criterion <= first + 1e-10 * abs(first)
    if options["method"] != "promax" and not options.get("normalize"):
        assert rotation.criterion <= rotation.settings.criterion.evaluate(loadings)[0]
        assert rotation.criterion == pytest.approx(rotation.settings.criterion.evaluate(rotation.loadings)[0])


@each_method
def test_rows_may_be_permuted_and_factors_turned(options):
    loadings, rng = _loadings(5), np.random.default_rng(0)
    rotation = rotate(loadings, starts=15, **options)
    turned = rotate(loadings @ _orthogonal(rng, 3), starts=15, **options)
    assert_allclose(turned.criterion, rotation.criterion, rtol=1e-11)
    assert_allclose(turned.loadings, rotation.loadings, atol=1e-9)
    assert_allclose(turned.correlation, rotation.correlation, atol=1e-9)
    order = rng.permutation(9)
    moved = {key: value[order] if key == "target" else value for key, value in options.items()}
    permuted = rotate(loadings[order], starts=15, **moved)
    assert_allclose(permuted.loadings, rotation.loadings[order], atol=1e-9)


@pytest.mark.parametrize("name", UNTARGETED)
def test_order_and_signs_are_canonical(name):
    rotation = rotate(_loadings(6) * [1, -1, 1], starts=20, **METHODS[name])
    assert_array_equal(canonical_order(rotation.loadings)[0], [0, 1, 2])
    assert np.all(rotation.loadings.sum(axis=0) > 0.0)
    assert np.all(np.diff(np.sum(rotation.loadings**2, axis=0)) <= 0.0)


def test_targets_keep_order_and_signs():
    loadings = _loadings(6)
    minus = rotate(loadings, "target", target=-TARGET[:, [2, 0, 1]], starts=20)
    plus = rotate(loadings, "target", target=TARGET, starts=20)
    assert_allclose(minus.loadings, -plus.loadings[:, [2, 0, 1]], atol=1e-10)
    # all specified entries zero: the target does not say the sign, so it is the canonical one
    zeros = rotate(loadings, "target", target=np.where(TARGET == 0.0, 0.0, np.nan), starts=20)
    assert np.all(zeros.loadings.sum(axis=0) > 0.0)


def test_sign_of_a_column_that_sums_to_zero_follows_its_largest_loading():
    permutation, signs = canonical_order(np.array([[-2.0, 1.0], [1.0, 1.0], [1.0, -0.5]]))
    assert_array_equal(permutation, [0, 1])
    assert_array_equal(signs, [-1.0, 1.0])


def test_the_same_seed_gives_the_same_numbers():
    loadings = _loadings(8, 12, 4)
    first, second = (rotate(loadings, starts=15, seed=3) for _ in range(2))
    assert_array_equal(first.loadings, second.loadings)
    assert first.minima == second.minima
    more = rotate(loadings, starts=40, seed=3)
    assert more.criterion <= first.criterion * (1 + 1e-12)
    assert str(first).startswith("Rotation: geomin (oblique), 12 x 4 loadings")


def test_the_scale_of_loadings_does_not_matter():
    loadings = _loadings(9)
    for method in ("quartimin", "varimax", "promax"):
        plain = rotate(loadings, method, starts=10).loadings
        for scale in (1e-5, 1e5):
            assert_allclose(rotate(scale * loadings, method, starts=10).loadings / scale, plain, atol=1e-11)


@pytest.mark.parametrize("method", ["geomin", "varimax", "quartimin"])
def test_a_start_on_a_saddle_leaves_it(method):
    # every row lies halfway between the factors: by symmetry the gradient is zero, at a maximum
    rotation = rotate(np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]), method, starts=1)
    assert rotation.converged
    assert_allclose(np.sort(np.abs(rotation.loadings), axis=1), [[0.0, np.sqrt(2.0)]] * 4, atol=1e-12)


@pytest.mark.parametrize("method", ["geomin", "oblimin", "varimax", "promax"])
def test_one_factor_has_nothing_to_rotate(method):
    loadings = np.array([[-0.3], [-0.8], [0.1]])
    rotation = rotate(loadings, method)
    assert_array_equal(rotation.loadings, -loadings)
    assert_array_equal(rotation.transform, [[-1.0]])
    assert_array_equal(rotation.correlation, [[1.0]])
    target = rotate(loadings, "target", target=[[-1.0], [-1.0], [0.0]])
    assert_array_equal(target.loadings, loadings)
    derivative = rotation_derivative(loadings, rotation, np.eye(3)[:, :, None])
    assert_array_equal(derivative[0], -np.eye(3)[:, :, None])


# --- derivatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "criterion",
    [Geomin(0.01), Oblimin(0.0), Oblimin(-0.7), Varimax(), Target(TARGET), Target(TARGET, 1.0 * (TARGET == 0.0))],
    ids=str,
)
def test_criteria_have_their_derivatives(criterion):
    loadings = _loadings(10)

    def gradient(flat):
        return criterion.evaluate(flat.reshape(9, 3))[1].ravel()

    step = np.full(27, 2e-4)
    numeric = jacobian(lambda flat: np.array([criterion.evaluate(flat.reshape(9, 3))[0]]), loadings.ravel(), step)
    # rounding of a criterion near 10 divided by the step, and the fourth power of the step for geomin
    assert_allclose(gradient(loadings.ravel()), numeric[0], atol=1e-9)
    hessian = criterion.curvature(loadings, np.eye(27).reshape(27, 9, 3)).reshape(27, 27)
    assert_allclose(hessian.T, jacobian(gradient, loadings.ravel(), step), atol=1e-8)


@each_method
def test_derivative_of_the_rotation_equals_differences(options):
    loadings = _loadings(11)
    rotation = rotate(loadings, starts=20, **options)

    def solution(flat):
        near = follow(flat.reshape(9, 3), rotation)
        return np.concatenate([near.loadings.ravel(), near.correlation.ravel(), near.transform.ravel()])

    numeric = jacobian(solution, loadings.ravel(), np.full(27, 2e-4))
    exact = rotation_derivative(loadings, rotation, np.eye(27).reshape(27, 9, 3))
    exact = np.concatenate([part.reshape(27, -1) for part in exact], axis=1).T
    # solutions are good to 1e-14, which the step magnifies to 1e-10
    assert_allclose(exact, numeric, atol=1e-8 * np.abs(exact).max())


def test_following_a_rotation_stays_at_its_minimum():
    loadings = REFERENCE["box26"]["matrix"] + 0.001 * np.random.default_rng(1).standard_normal((26, 3))
    second = rotate(loadings, starts=1, seed=0)
    assert rotate(loadings, starts=30).criterion <= second.criterion
    near = follow(loadings, second)
    assert_allclose(near.loadings, second.loadings, atol=1e-12)
    assert near.converged


# --- what cannot be rotated ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        (_loadings(1), {"method": "simplimax"}, "choose one of geomin"),
        (_loadings(1), {"method": 3}, "choose one of geomin"),
        ([[1.0, np.nan], [0.0, 1.0]], {}, r"rows \[0\]"),
        ([1.0, 2.0], {}, "shape"),
        (np.zeros((0, 2)), {}, "shape"),
        ([["a", "b"]], {}, "matrix of numbers"),
        (_loadings(1).T, {}, "at least as many rows"),
        (_loadings(1) @ np.ones((3, 3)), {}, "rank 1 only: take 1"),
        (np.zeros((4, 2)), {}, "take no factors"),
        (np.diag([1.0, 1.0, 0.0])[:, :2], {"normalize": True}, r"Rows \[2\].* normalize=False"),
        (_loadings(1), {"starts": 0}, "starts is a whole number"),
        (_loadings(1), {"starts": 2.5}, "starts is a whole number"),
        (_loadings(1), {"seed": -1}, "seed is a whole number"),
        (_loadings(1), {"gamma": 0.5}, "gamma is an option of method='oblimin'"),
        (_loadings(1), {"method": "quartimin", "gamma": 0.5}, "gamma is an option of method='oblimin'"),
        (_loadings(1), {"target": TARGET}, "target is an option of method='target'"),
        (_loadings(1), {"epsilon": 0.0}, "epsilon must be positive"),
        (_loadings(1), {"epsilon": "small"}, "epsilon must be a number"),
        (_loadings(1), {"method": "oblimin", "gamma": np.inf}, "gamma must be finite"),
        (_loadings(1), {"method": "promax", "power": 1}, "power must be above 1"),
        (_loadings(1), {"method": "promax", "oblique": False}, "use 'varimax'"),
        (_loadings(1), {"method": "target"}, "needs target="),
        (_loadings(1), {"method": "target", "target": TARGET[:2]}, r"\(9, 3\), not \(2, 3\)"),
        (_loadings(1), {"method": "target", "target": np.full((9, 3), np.nan)}, "specifies no entry"),
        (_loadings(1), {"method": "target", "target": np.full((9, 3), np.inf)}, "finite, or NaN"),
        (_loadings(1), {"method": "target", "target": TARGET, "weights": 2.0 * TARGET}, "weights are 1"),
        (_loadings(1), {"method": "target", "target": PARTIAL, "weights": np.ones((9, 3))}, "target is NaN"),
        # oblimin with large gamma rewards factors for becoming one
        (_loadings(1), {"method": "oblimin", "gamma": 2.0, "starts": 10}, "gamma <= 0"),
    ],
)
def test_what_cannot_be_rotated_is_refused(matrix, options, message):
    with pytest.raises(DataError, match=message):
        rotate(matrix, **options)


def test_varimax_is_orthogonal_and_promax_oblique():
    assert not read_settings((9, 3), "varimax", True, False).oblique
    assert read_settings((9, 3), "Promax", True, False).oblique


def test_weights_and_missing_entries_mean_the_same():
    loadings, specified = _loadings(1), ~np.isnan(PARTIAL)
    by_weights = rotate(loadings, "target", target=TARGET, weights=specified.astype(int), starts=10)
    by_missing = rotate(loadings, "target", target=PARTIAL, starts=10)
    assert_array_equal(by_weights.loadings, by_missing.loadings)


def test_a_flat_criterion_is_told():
    target = np.full((9, 3), np.nan)
    target[0, 1] = 0.0
    with pytest.warns(ConvergenceWarning, match="flat at its minimum"):
        rotation = rotate(_loadings(1), "target", oblique=False, target=target, starts=5)
    assert not rotation.converged
    assert "NOT CONVERGED" in str(rotation)
    with pytest.raises(IdentificationError, match="no standard errors"):
        rotation_derivative(_loadings(1), rotation, np.zeros((1, 9, 3)))


def test_a_search_that_does_not_converge_is_told(monkeypatch):
    monkeypatch.setattr(rotation_search, "_GPA_STEPS", 1)
    monkeypatch.setattr(rotation_search, "_NEWTON_STEPS", 1)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        rotation = rotate(_loadings(1), "geomin", starts=3)
    assert (rotation.converged, rotation.failed) == (False, 3)
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rotate(_loadings(1), "geomin", starts=3).converged
