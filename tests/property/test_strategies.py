"""What ``latentscale.testing`` draws is what it says, reaches every kind, and shrinks."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import Phase, event, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from numpy.testing import assert_allclose, assert_array_equal

import latentscale as ls
from latentscale.components.scaling import build_design
from latentscale.testing import (
    assert_identified,
    designs,
    panels,
    parameters,
    patterns,
    rotations,
    specifications,
    tables,
    transformations,
)
from latentscale.testing.loading_patterns import free_turns, has_full_rank, n_restrictions

QUICK = settings(max_examples=50)
FEW = settings(QUICK, max_examples=20)
FRESH = settings(database=None, derandomize=True, max_examples=500)
FIRST = settings(FRESH, phases=[Phase.generate])  # any that will do, not the simplest
POLICIES = st.sampled_from(["squeeze", "censor", "error"])


# --- tables and panels --------------------------------------------------------------------------------------------


@QUICK
@given(tables(missing=0.9, boundary_scores=0.9))
def test_tables_keep_scores_of_every_llm_and_benchmark(table):
    scores = table.filter(regex="^b")
    assert scores.notna().any(axis=1).all()
    assert (scores.nunique() >= 2).all()
    assert scores.stack().dropna().between(0.0, 1.0).all()
    assert table["model"].is_unique
    assert table[["params_b", "tokens_t"]].gt(0.0).all(axis=None)


@QUICK
@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.integers(0, 6))
def test_tables_have_the_sizes_asked_for(data, families, llms, complete):
    names = ["mmlu", "a b"]
    table = data.draw(tables(names, families, llms, missing=0.8, boundary_scores=0.0, complete=complete))
    sizes = table["family"].value_counts()
    if families * llms > 1:
        assert_array_equal(sizes, llms)
    assert len(sizes) == families
    assert list(table.columns) == ["model", "family", "params_b", "tokens_t", *names]
    assert table[names].head(complete).notna().all(axis=None)
    assert not table[names].isin([0.0, 1.0]).any(axis=None)


@QUICK
@given(panels(boundary=POLICIES))
def test_panels_have_few_missing_and_few_boundary_scores(panel):
    assert panel.scores.isna().mean(axis=None) <= 0.6  # the share is that of a cell's chance to be missing
    at_boundary = panel.scores.isin([0.0, 1.0]).to_numpy().sum()
    event(f"{panel.boundary}, boundary scores: {bool(at_boundary)}")
    assert panel.boundary != "error" or not at_boundary


@pytest.mark.slow
def test_a_smaller_table_is_a_part_of_a_larger_one():
    """So that families and benchmarks can go while what a test fails on stays."""
    least = find(panels(), lambda panel: panel.n_llms >= 6 and panel.n_benchmarks >= 3, settings=FRESH)
    assert (least.n_llms, least.n_benchmarks) == (6, 3)
    assert least.scores.notna().all(axis=None)
    missing = find(panels(), lambda panel: panel.scores.isna().any(axis=None), settings=FRESH)
    assert missing.n_llms <= 12


@pytest.mark.parametrize(
    "strategy",
    [
        tables(families=0),
        tables(llms_per_family=0),
        tables(missing=1.5),
        tables(boundary_scores=-0.1),
        patterns(benchmarks=2, n_skills=3),
        patterns(n_skills=1, identified=False),
        transformations(2, condition=0.5),
    ],
)
def test_what_cannot_be_drawn_is_refused(strategy):
    with pytest.raises(InvalidArgument):
        find(strategy, lambda _: True, settings=FRESH)


# --- formulas and forms -------------------------------------------------------------------------------------------


@QUICK
@given(panels(families=4, llms_per_family=2), st.integers(1, 5), st.data())
def test_designs_have_full_rank_on_panels(panel, most, data):
    formula = data.draw(designs(max_terms=most))
    design = build_design(formula, panel.table, np.ones(panel.n_llms, dtype=bool))
    assert len(design.terms) <= most


def test_designs_take_other_columns():
    found = find(designs(["size", "training flops"]), lambda formula: ") * log(" in formula, settings=FIRST)
    assert found.startswith("log(size) * log(`training flops`)")


@QUICK
@given(patterns(benchmarks=st.integers(1, 7), n_skills=None))
def test_identified_patterns_leave_nothing_free(form):
    frame = getattr(form, "loadings", None)
    names = tuple(frame.index) if frame is not None else tuple(f"b{number + 1}" for number in range(7))
    pattern = form.resolve(names)
    event(f"{pattern.kind}, {pattern.n_skills} skills, to spare: {pattern.n_excess}")
    assert free_turns(pattern.fixed, pattern.correlated) == 0
    assert has_full_rank(pattern.fixed)
    assert n_restrictions(pattern.fixed, pattern.correlated) - pattern.n_skills**2 == pattern.n_excess >= 0


@QUICK
@given(patterns(identified=False))
def test_other_patterns_leave_something_free(form):
    pattern = form.resolve(tuple(form.loadings.index))
    event(f"{pattern.n_skills} skills, enough by count: {pattern.n_excess >= 0}")
    assert free_turns(pattern.fixed, pattern.correlated) > 0
    assert not np.all(pattern.fixed == 0.0, axis=0).any()


@pytest.mark.parametrize("n_skills", [2, 3, 4])
@pytest.mark.parametrize("enough", [True, False])
@pytest.mark.parametrize("alike", [True, False])
def test_every_kind_of_unidentified_pattern_is_drawn(n_skills, enough, alike):
    def wanted(form):
        fixed = form.loadings.to_numpy()
        same = [np.array_equal(a, b, equal_nan=True) for k, a in enumerate(fixed.T) for b in fixed.T[:k]]
        return (n_restrictions(fixed, form.correlated) >= n_skills**2, any(same)) == (enough, alike)

    find(patterns(n_skills + 2, n_skills, identified=False), wanted, settings=FIRST)


# --- models and parameters ----------------------------------------------------------------------------------------


@pytest.mark.slow
@FEW
@given(st.data(), specifications(), st.integers(0, 100))
def test_specifications_are_identified_everywhere(data, model, seed):
    assert_identified(model, data.draw(parameters(model)), points=1, seed=seed)


@pytest.mark.slow
@FEW
@given(specifications(identified=False))
def test_unidentified_specifications_are_told(model):
    with pytest.raises(AssertionError, match="NOT identified, under-identified"):
        assert_identified(model, points=1)


@pytest.mark.slow
@FEW
@given(
    specifications(
        benchmarks=["mmlu", "bbh", "ifeval", "gpqa"],
        scaling="log(params_b) * log(tokens_t)",
        skills=ls.Anchored({"reasoning": "bbh", "instruction": "ifeval"}),
        asymptotes=st.sampled_from(["chance", "lower", "both"]),
        boundary=POLICIES,
    )
)
def test_a_given_specification(model):
    assert model.skills == ("reasoning", "instruction")
    assert len(model.terms) == 3
    assert model.n_families > 2
    assert_identified(model, points=1)


@FEW
@given(st.data(), panels(families=4, llms_per_family=2), st.booleans(), st.sampled_from(["chance", "both"]))
def test_parameters_are_feasible_and_signed(data, panel, vary, asymptotes):
    form = data.draw(patterns(panel.benchmarks))
    model = ls.LatentSkillModel(panel, "log(params_b)", form, asymptotes, random_slopes=vary)
    values = data.draw(parameters(model))
    assert_array_equal(model.table.read(values), values)
    loadings = model.table.structure(values.to_numpy()).loadings
    for skill, items in enumerate(model.pattern.positive):
        assert not items or loadings[list(items), skill].sum() > 0.0
    assert np.isfinite(model.loglike(values, "quadrature", points=3))


def test_one_llm_a_family_is_told():
    panel = find(panels(2, families=4, llms_per_family=1), lambda panel: True, settings=FIRST)
    with pytest.raises(AssertionError, match="at least one family needs two LLMs"):
        assert_identified(ls.LatentSkillModel(panel, "log(params_b)", skills=1), points=1)


def test_an_unidentified_point_of_an_identified_model_is_told():
    panel = find(panels(3, families=4, llms_per_family=2), lambda panel: True, settings=FIRST)
    model = ls.LatentSkillModel(panel, "log(params_b)", ls.Anchored({"x": "b1", "y": "b2"}))
    point = find(parameters(model), lambda point: True, settings=FIRST)
    assert_identified(model, point, points=1)
    point["loading[b2,y]"] = 0.0  # an anchor of nothing: y may be mixed with x
    with pytest.raises(AssertionError, match="at the parameters given the information has rank"):
        assert_identified(model, point, points=1)


# --- changes of coordinates -----------------------------------------------------------------------------------


@QUICK
@given(st.integers(1, 5).flatmap(rotations))
def test_rotations_are_orthogonal(matrix):
    assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-14)


@QUICK
@given(st.integers(1, 5).flatmap(transformations))
def test_transformations_are_well_conditioned(matrix):
    singular = np.linalg.svd(matrix, compute_uv=False)
    assert singular[0] <= np.sqrt(10.0) + 1e-12
    assert singular[-1] >= np.sqrt(0.1) - 1e-12


@pytest.mark.parametrize("strategy", [rotations, transformations])
def test_changes_of_coordinates_shrink_to_none_and_reach_reflections_and_permutations(strategy):
    assert_array_equal(find(strategy(3), lambda _: True, settings=FRESH), np.eye(3))
    assert np.linalg.det(find(strategy(2), lambda matrix: np.linalg.det(matrix) < 0.0, settings=FRESH)) < 0.0


def test_permutations_are_among_the_rotations():
    found = find(rotations(2), lambda matrix: matrix[0, 0] == 0.0, settings=FRESH)
    assert_array_equal(np.abs(found), [[0.0, 1.0], [1.0, 0.0]])


# --- without hypothesis -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_package_does_not_import_hypothesis():
    code = "import sys, latentscale; assert not {'hypothesis', 'latentscale.testing'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_what_to_install_is_said_where_hypothesis_is_missing():
    code = "import sys; sys.modules['hypothesis'] = None; import latentscale.testing"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install latentscale[test]" in result.stderr.splitlines()[-1]
