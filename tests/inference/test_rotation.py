"""Rotated parameters of a fitted model: the law of the data stays, and the derivative is exact."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.components.identification import Anchored, Confirmatory, Echelon
from latentscale.errors import DataError, IdentificationError
from latentscale.inference.rotation import (
    follow_structure,
    rotate_loadings,
    rotate_structure,
    rotated_table,
    rotation_jacobian,
)
from latentscale.numerics.differences import jacobian
from latentscale.numerics.rotation import rotate
from latentscale.parameters.structure import Layout, Structure
from latentscale.parameters.table import ParameterTable

BENCHMARKS, TERMS = tuple("abcdefgh"), ("log(size)", "log(tokens)")
J, K = 8, 3

_PATTERN = pd.DataFrame(
    {"x": [1.0, 0.0, 0.0, np.nan, 0.0], "y": [0.0, np.nan, 0.0, np.nan, np.nan], "z": [0.0, 0.0, np.nan, np.nan, 0.7]},
    index=list("abcde"),
)
FORMS = {
    "anchored": Anchored({"x": "a", "y": "b", "z": "c"}),
    "uncorrelated": Anchored({"x": "a", "y": "b", "z": "c"}, correlated=False),
    "echelon": Echelon(["b", "a", "f"]),
    "confirmatory": Confirmatory(_PATTERN),
}
TARGET = np.where(np.arange(J)[:, None] % K == np.arange(K), 1.0, 0.0)
PARTIAL = np.where((TARGET == 0.0) | (np.arange(J) == 0)[:, None], TARGET, np.nan)
METHODS = {
    "geomin": {"method": "geomin", "epsilon": 0.05},
    "geomin orthogonal": {"method": "geomin", "oblique": False},
    "geomin Kaiser": {"method": "geomin", "normalize": True, "epsilon": 0.05},
    "oblimin": {"method": "oblimin", "gamma": -0.5},
    "oblimin orthogonal": {"method": "oblimin", "gamma": 0.5, "oblique": False},
    "quartimin Kaiser": {"method": "quartimin", "normalize": True},
    "varimax": {"method": "varimax"},
    "varimax Kaiser": {"method": "varimax", "normalize": True},
    "promax": {"method": "promax"},
    "promax Kaiser": {"method": "promax", "normalize": True, "power": 3},
    "target": {"method": "target", "target": TARGET},
    "target orthogonal": {"method": "target", "target": TARGET, "oblique": False},
    "partial target": {"method": "target", "target": PARTIAL},
    "partial target orthogonal": {"method": "target", "target": PARTIAL, "oblique": False},
}
each_method = pytest.mark.parametrize("options", METHODS.values(), ids=METHODS.keys())
each_form = pytest.mark.parametrize("form", FORMS)


def _table(form):
    """Table of a form; one asymptote is free, so that blocks that rotation leaves alone are partly fixed."""
    layout = Layout(J, K, len(TERMS))
    pattern = FORMS[form].resolve(BENCHMARKS)
    fixed = np.full(layout.size, np.nan)
    fixed[layout.slices["loadings"]] = pattern.fixed.ravel()
    fixed[layout.slices["skill_cov"]] = pattern.fixed_covariance()
    fixed[layout.slices["lower"]] = 0.1
    fixed[layout.slices["upper"]] = 1.0
    fixed[layout.slices["lower"].start] = np.nan
    return ParameterTable(BENCHMARKS, pattern.skills, TERMS, fixed)


def _params(table, seed=0):
    """A feasible natural vector, loadings near simple structure."""
    rng = np.random.default_rng(seed)
    loadings = 0.2 * rng.standard_normal((J, K))
    loadings[np.arange(J), np.arange(J) % K] += rng.uniform(0.7, 1.5, J)
    cov = np.array([[1.0, 0.3, 0.2], [0.3, 1.0, 0.4], [0.2, 0.4, 1.0]])
    rest = {"intercepts": rng.standard_normal(J), "slopes": rng.standard_normal((2, K)), "skill_cov": cov}
    rest |= {"precision": np.exp(rng.standard_normal(J)), "lower": np.full(J, 0.1), "upper": np.ones(J)}
    return table.natural(Structure(loadings, **rest))


def _same_law(one, other):
    """Moments of the linear predictor, and everything that rotation does not touch."""
    assert_allclose(
        one.loadings @ one.skill_cov @ one.loadings.T, other.loadings @ other.skill_cov @ other.loadings.T, atol=1e-12
    )
    assert_allclose(one.loadings @ one.slopes.T, other.loadings @ other.slopes.T, atol=1e-12)
    for field in fields(one):
        if field.name not in ("loadings", "slopes", "skill_cov"):
            assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@each_form
@each_method
def test_the_law_of_the_data_stays(form, options):
    table = _table(form)
    structure = table.structure(_params(table))
    turned, rotation = rotate_structure(structure, starts=10, **options)
    _same_law(structure, turned)
    rotated = rotated_table(table, rotation)
    assert_array_equal(np.diag(turned.skill_cov), 1.0)
    back = rotated.structure(rotated.natural(turned))
    for field in fields(turned):  # nothing is lost in the table's restrictions
        assert_array_equal(getattr(back, field.name), getattr(turned, field.name))


@pytest.mark.parametrize(
    ("form", "name"),
    [("confirmatory", name) for name in METHODS] + [(form, "geomin") for form in FORMS if form != "confirmatory"],
)
def test_jacobian_equals_differences(form, name):
    options = METHODS[name]
    table = _table(form)
    params = _params(table)
    _, rotation = rotate_structure(table.structure(params), starts=10, **options)
    rotated = rotated_table(table, rotation)
    exact = rotation_jacobian(table, rotated, params, rotation)

    def solution(natural):
        return rotated.natural(follow_structure(table.structure(natural), rotation)[0])

    assert exact.shape == (rotated.size, table.size)
    numeric = jacobian(solution, params, np.full(len(params), 2e-4))
    # solutions are good to 1e-14, which the step magnifies to 1e-10; geomin's fifth derivatives add as much
    assert_allclose(exact, numeric, atol=1e-8 * np.abs(exact).max())


@pytest.mark.parametrize("seed", [1, 2])
def test_jacobian_does_not_depend_on_the_form_it_starts_from(seed):
    # anchored -> rotated must equal anchored -> echelon -> rotated, the first step by differences
    anchored, echelon = _table("anchored"), _table("echelon")
    params = _params(anchored, seed)
    pattern = FORMS["echelon"].resolve(BENCHMARKS)

    def to_echelon(natural):
        structure = anchored.structure(natural)
        return echelon.natural(pattern.rotate_from(structure.transformed(np.linalg.cholesky(structure.skill_cov))))

    middle = to_echelon(params)
    _, first = rotate_structure(anchored.structure(params), "geomin", starts=20)
    _, second = rotate_structure(echelon.structure(middle), "geomin", starts=20)
    assert_allclose(second.loadings, first.loadings, atol=1e-10)
    rotated = rotated_table(anchored, first)
    direct = rotation_jacobian(anchored, rotated, params, first)
    step = jacobian(to_echelon, params, np.full(len(params), 1e-3))
    chained = rotation_jacobian(echelon, rotated, middle, second) @ step
    assert_allclose(chained, direct, atol=1e-7 * np.abs(direct).max())


@pytest.mark.parametrize("name", [name for name in METHODS if "promax" not in name])
def test_rotating_again_changes_nothing(name):
    """Nor to first order: the derivative of the second rotation leaves that of the first as it is."""
    options = METHODS[name]
    table = _table("anchored")
    params = _params(table)
    structure, rotation = rotate_structure(table.structure(params), starts=10, **options)
    rotated = rotated_table(table, rotation)
    exact = rotation_jacobian(table, rotated, params, rotation)
    again, second = rotate_structure(structure, starts=1, **options)
    assert_allclose(again.loadings, structure.loadings, atol=1e-10)
    projected = rotation_jacobian(rotated, rotated, rotated.natural(structure), second) @ exact
    assert_allclose(projected, exact, atol=1e-9 * np.abs(exact).max())


def test_one_skill():
    layout = Layout(3, 1, 1)
    fixed = np.full(layout.size, np.nan)
    fixed[layout.slices["lower"]], fixed[layout.slices["upper"]] = 0.0, 1.0
    fixed[layout.slices["loadings"].start] = -2.0  # fixes the unit, so that the variance is free
    table = ParameterTable(tuple("abc"), ("g",), ("t",), fixed)
    params = np.array([0.5, -1.0, 0.0, 0.1, 0.2, 0.7, 4.0, 9.0, 8.0, 7.0])
    for method in ("geomin", "varimax", "promax"):
        turned, rotation = rotate_structure(table.structure(params), method)
        assert_allclose(turned.loadings[:, 0], [4.0, -1.0, 2.0])
        assert_allclose(turned.slopes, [[-0.35]])
        _same_law(table.structure(params), turned)
        rotated = rotated_table(table, rotation, ["general"])
        assert rotated.names[:3] == ["loading[a,general]", "loading[b,general]", "loading[c,general]"]
        numeric = jacobian(
            lambda natural, rotation=rotation, rotated=rotated: rotated.natural(
                follow_structure(table.structure(natural), rotation)[0]
            ),
            params,
            np.full(10, 1e-3),
        )
        assert_allclose(rotation_jacobian(table, rotated, params, rotation), numeric, atol=1e-9)


def test_names_of_rotated_parameters():
    table = _table("confirmatory")
    structure = table.structure(_params(table))
    oblique, orthogonal = (
        rotated_table(table, rotate_structure(structure, method, starts=3)[1]) for method in ("geomin", "varimax")
    )
    assert "corr[skill1,skill2]" in oblique.names
    assert "loading[a,skill3]" in oblique.names
    assert oblique.size == orthogonal.size + 3
    assert not any(name.startswith("cov") for name in oblique.names)
    with pytest.raises(DataError, match="3 distinct names"):
        rotated_table(table, rotate_structure(structure, starts=1)[1], ["x", "y", "x"])


def test_what_does_not_belong_together_is_refused():
    table = _table("anchored")
    params = _params(table)
    structure = table.structure(params)
    _, rotation = rotate_structure(structure, starts=3)
    rotated = rotated_table(table, rotation)
    with pytest.raises(DataError, match="rotate them with rotate_structure first"):
        rotation_jacobian(table, rotated, 1.1 * params, rotation)
    with pytest.raises(DataError, match="other benchmarks"):
        rotation_jacobian(table, replace(rotated, terms=("t",)), params, rotation)
    with pytest.raises(DataError, match="not positive definite"):
        rotate_structure(replace(structure, skill_cov=np.ones((K, K))))
    with pytest.raises(DataError, match="slopes vary between families"):
        rotate_structure(structure.with_scales(slope_sd=np.ones((1, K))))


@pytest.mark.filterwarnings("ignore::latentscale.errors.ConvergenceWarning")
def test_no_standard_errors_where_the_criterion_is_flat():
    table = _table("anchored")
    params = _params(table)
    target = np.full((J, K), np.nan)
    target[0, 1] = 0.0
    _, rotation = rotate_structure(table.structure(params), "target", oblique=False, target=target, starts=3)
    with pytest.raises(IdentificationError, match="flat"):
        rotation_jacobian(table, rotated_table(table, rotation), params, rotation)


# --- the public door -----------------------------------------------------------------------------------------


@pytest.fixture
def frame():
    values = np.random.default_rng(3).standard_normal((6, 2))
    return pd.DataFrame(values, index=list("uvwxyz"), columns=["one", "two"])


def test_frames_come_back_with_labels(frame):
    rotation = rotate_loadings(frame, "quartimin", starts=10)
    plain = rotate(frame.to_numpy(), "quartimin", starts=10)
    pd.testing.assert_frame_equal(
        rotation.loadings, pd.DataFrame(plain.loadings, index=frame.index, columns=frame.columns)
    )
    assert list(rotation.correlation.index) == list(rotation.correlation.columns) == ["one", "two"]
    assert isinstance(rotate_loadings(frame.to_numpy(), starts=2).loadings, np.ndarray)
    assert "one" in str(rotation)


def test_target_frames_are_matched_by_label(frame):
    target = pd.DataFrame(np.nan, index=frame.index, columns=frame.columns)
    target.loc[["u", "v"], "one"] = 0.0
    target.loc[["w", "x"], "two"] = 0.0
    target.loc["y"] = 1.0
    rotation = rotate_loadings(frame, "target", target=target, starts=10)
    shuffled = rotate_loadings(frame, "target", target=target.iloc[::-1, ::-1], starts=10)
    pd.testing.assert_frame_equal(rotation.loadings, shuffled.loadings)
    with pytest.raises(DataError, match="by position"):
        rotate_loadings(frame, "target", target=target.rename(index={"u": "U"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.rename(index={"u": "v"}), "'v'"),
        (lambda frame: frame.rename(columns={"one": "two"}), "'two'"),
        (lambda frame: frame.reindex([*"uvxyz", "q"]), r"rows \['q'\]"),
        (lambda frame: frame.astype(object).replace(frame.iloc[0, 0], "high"), "matrix of numbers"),
    ],
)
def test_unusable_frames_are_refused(frame, change, message):
    with pytest.raises(DataError, match=message):
        rotate_loadings(change(frame))


def test_unknown_options_are_refused(frame):
    with pytest.raises(DataError, match=r"\['delta'\]: there are gamma"):
        rotate_loadings(frame, delta=0.01)
