"""Identification of drawn models: invertible transformations, counting and rank, order of rows and benchmarks.

For invertible A, (theta, Lambda, B, Sigma) -> (A theta, Lambda A^-1, B A', A Sigma A') leaves the law of the scores
unchanged. A form of identification is one that no A but reflections keeps.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.likelihood.laplace import laplace
from latentscale.likelihood.marginal import adapted_nodes, marginal
from latentscale.likelihood.modes import posterior_modes
from latentscale.likelihood.rules import Rule
from latentscale.testing import panels, parameters, patterns, rotations, specifications, transformations
from latentscale.testing.loading_patterns import free_turns, has_full_rank, n_restrictions

QUICK = settings(max_examples=40)
FEW = settings(QUICK, max_examples=20)
POLICIES = st.sampled_from(["squeeze", "censor"])
VARY = st.sampled_from([None, True])
# Points that ``parameters`` draws are of order one, and so is what absolute tolerances below are for. A log-likelihood
# is the sum of at most some hundred cells' terms of order ten, each rounded at 1e-16; modes are good to about 1e-8,
# which moves the value by the square of that times the curvature, and its determinant by 1e-9.
LOGLIKE = {"rtol": 1e-9, "atol": 1e-9}
ASYMPTOTES = st.sampled_from(["chance", "both"])


def quadrature(structure, cells, points):
    rule = Rule.build("quadrature", structure.loadings.shape[1], points)
    nodes = adapted_nodes(rule.standard(cells.n_families), posterior_modes(structure, cells))
    return float(marginal(structure, cells, nodes, order=0).loglike.sum())


@st.composite
def free_models(draw, n_skills, **sizes):
    """A model with all loadings free and free correlations, and one of its points."""
    k = draw(n_skills)
    panel = draw(panels(st.integers(max(2, k), 5), boundary=POLICIES, **sizes))
    frame = pd.DataFrame(np.nan, list(panel.benchmarks), [f"s{number}" for number in range(k)])
    model = ls.LatentSkillModel(panel, "log(params_b)", ls.Confirmatory(frame))
    return model, model.table.structure(draw(parameters(model)).to_numpy())


@st.composite
def lower_triangular(draw, k):
    """Invertible, with a positive diagonal."""
    return np.linalg.cholesky((lambda a: a @ a.T)(draw(transformations(k))))


# --- (a) transformations ------------------------------------------------------------------------------------------


@QUICK
@given(st.data(), free_models(st.integers(1, 4)))
def test_no_transformation_changes_laplaces_likelihood(data, drawn):
    model, structure = drawn
    turned = structure.transformed(data.draw(transformations(model.pattern.n_skills)))
    value, same = laplace(turned, model.user_cells)[0], laplace(structure, model.user_cells)[0]
    event(f"finite: {np.isfinite(same)}")
    assert_allclose(value, same, **LOGLIKE)


@FEW
@given(st.data(), free_models(st.integers(1, 2), families=3, llms_per_family=st.integers(1, 3)))
def test_no_transformation_changes_the_integral(data, drawn):
    """Up to the error of the grids, whose axes turn with the skills; a finer grid says how large it is."""
    model, structure = drawn
    turned = structure.transformed(data.draw(transformations(model.pattern.n_skills)))
    # posteriors are skewed where scores fit their parameters badly: 31 points leave errors of 3e-4, 81 of 1e-7
    values = [quadrature(law, model.user_cells, points) for law in (structure, turned) for points in (41, 81)]
    error = abs(values[0] - values[1]) + abs(values[2] - values[3])
    assert error < 1e-3
    assert_allclose(values[3], values[1], rtol=1e-9, atol=1e-9 + error)


@FEW
@given(st.data(), free_models(st.integers(1, 3)))
def test_triangular_transformations_do_not_turn_the_grid(data, drawn):
    """Nodes lie along Cholesky axes: lower triangular A carries them over, so any grid gives the same sum."""
    model, structure = drawn
    a = data.draw(lower_triangular(model.pattern.n_skills))
    turned = structure.transformed(np.linalg.inv(a))
    assert_allclose(quadrature(turned, model.user_cells, 3), quadrature(structure, model.user_cells, 3), rtol=1e-9)


@FEW
@given(st.data(), free_models(st.integers(1, 3)), st.integers(0, 2**32 - 1))
def test_no_transformation_changes_fitted_values(data, drawn, seed):
    model, structure = drawn
    turned = structure.transformed(data.draw(transformations(model.pattern.n_skills)))
    x = np.random.default_rng(seed).standard_normal((5, len(structure.slopes)))
    assert_allclose(x @ turned.slopes @ turned.loadings.T, x @ structure.slopes @ structure.loadings.T, atol=1e-12)
    cov = structure.loadings @ structure.skill_cov @ structure.loadings.T
    assert_allclose(turned.loadings @ turned.skill_cov @ turned.loadings.T, cov, atol=1e-12)


def with_units(model, structure):
    """The same law with variance one for the skills that have no other unit."""
    variances = np.where(model.pattern.free_variance, 1.0, np.diag(structure.skill_cov))
    return structure.transformed(np.diag(np.sqrt(variances)))


@pytest.mark.slow
@QUICK
@given(st.data(), specifications(n_skills=st.integers(2, 3), boundary=POLICIES))
def test_transformations_leave_an_identified_form_or_change_nothing(data, model):
    """What A makes of a point either is not of the form, or A is a reflection; put back into the form, it is another
    law."""
    point = data.draw(parameters(model))
    structure = model.table.structure(point.to_numpy())
    a_inverse = data.draw(transformations(model.pattern.n_skills))
    turned = with_units(model, structure.transformed(a_inverse))
    fixed = ~model.table.free
    away = np.abs(model.table.layout.flatten(turned) - model.table.fixed)[fixed].max()
    if away < 1e-9:
        event("kept")
        turn = np.linalg.lstsq(structure.loadings, turned.loadings, rcond=None)[0]
        assert_allclose(np.abs(turn), np.eye(len(turn)), atol=1e-7)
        return
    event("left")
    assume(away > 1e-3)
    imposed = model.table.structure(model.table.natural(turned))
    before, after = (quadrature(at, model.user_cells, 5) for at in (structure, imposed))
    assert abs(after - before) > 1e-6 * abs(before)


# --- (b) counting and rank ----------------------------------------------------------------------------------------


@st.composite
def generic_forms(draw):
    """As many zeros for every skill, no two of them at one benchmark: patterns of which counting says the truth."""
    k = draw(st.integers(2, 3))
    zeros = draw(st.integers(0, k))
    rows = max(k + 1, k * zeros + draw(st.integers(0, 2)))
    fixed = np.full((rows, k), np.nan)
    order = draw(st.permutations(range(rows)))
    for skill in range(k):
        fixed[order[skill * zeros : (skill + 1) * zeros], skill] = 0.0
    frame = pd.DataFrame(fixed, [f"b{row}" for row in range(rows)], [f"s{skill}" for skill in range(k)])
    return ls.Confirmatory(frame, draw(st.booleans()))


def model_of(data, form):
    """A model of a form on a drawn panel with all its benchmarks."""
    names = list(form.loadings.index)
    return data.draw(specifications(benchmarks=names, skills=form, scaling="log(params_b)", boundary_scores=0.0))


@pytest.mark.slow
@QUICK
@given(st.data(), generic_forms())
def test_rank_agrees_with_counting_on_generic_patterns(data, form):
    report = model_of(data, form).identification(points=1)
    fixed = form.loadings.to_numpy()
    excess = n_restrictions(fixed, form.correlated) - fixed.shape[1] ** 2
    event(f"{fixed.shape[1]} skills, correlated: {form.correlated}, identified: {excess >= 0}")
    assert report.identified == (excess >= 0)
    assert len(report.flat_directions) == max(0, -excess)
    assert report.excess == max(0, excess)


@pytest.mark.slow
@QUICK
@given(st.data(), patterns(st.integers(3, 6), st.integers(2, 3), identified=None))
def test_rank_of_the_information_agrees_with_the_algebra_of_the_pattern(data, form):
    names = tuple(form.loadings.index) if isinstance(form, ls.Confirmatory) else tuple(f"b{n + 1}" for n in range(6))
    model = data.draw(specifications(benchmarks=names, skills=form, scaling="log(params_b)"))
    pattern = model.pattern
    turns, full = free_turns(pattern.fixed, pattern.correlated), has_full_rank(pattern.fixed)
    report = model.identification(points=1)
    event(f"{pattern.kind}, free turns: {turns}, full rank: {full}, enough by count: {pattern.n_excess >= 0}")
    assert report.identified == (turns == 0 and full)
    assert report.excess == pattern.n_excess + turns
    assert report.ranks[0].n_rotations == turns
    if full:
        assert len(report.flat_directions) == turns


@pytest.mark.slow
@FEW
@given(st.data(), patterns(st.integers(4, 6), st.integers(2, 3), identified=False))
def test_rank_catches_what_counting_does_not_and_scores_vanish_along_flat_directions(data, form):
    """The directions named are those in which no likelihood changes, whatever the scores are."""
    model = model_of(data, form)
    report = model.identification(points=1)
    rank, enough = report.ranks[0], model.pattern.n_excess >= 0
    event(f"enough by count: {enough}")
    outcomes = {check.check: check.outcome for check in report.checks}
    assert outcomes["counting"] == ("ok" if enough else "problem")
    assert outcomes["local rank"] == "problem"
    assert report.restrictions == "under-identified"
    assert rank.n_flat == free_turns(model.pattern.fixed, form.correlated)
    score = model.score(model.table.natural(rank.structure), "laplace").to_numpy()
    assume(np.isfinite(score).all())
    along = score @ rank.directions
    assert_allclose(along, 0.0, atol=1e-8 * np.abs(score[:, None] * rank.directions).sum(axis=0).max())


@pytest.mark.slow
@FEW
@given(st.data(), specifications(n_skills=st.integers(2, 3), identified=True))
def test_identification_is_that_of_the_form_whatever_the_panel(data, model):
    """Another benchmark, other families, another formula or random slopes do not make it unidentified."""
    names = [*model.benchmarks, "more"]
    vary = data.draw(st.sampled_from([None, "log(params_b)"]))
    formula = "log(params_b) * log(tokens_t)"
    larger = data.draw(specifications(names, skills=model.form, scaling=formula, random_slopes=vary))
    assert larger.identification(points=1).identified


@settings(QUICK, max_examples=10)
@given(specifications(identified=False))
def test_unidentified_models_are_not_fitted(model):
    with pytest.raises(ls.IdentificationError, match="The model is not identified"):
        model.fit(integration="laplace", starts=1)


# --- (d) order ----------------------------------------------------------------------------------------------------


@st.composite
def reordered(draw, model):
    """The same model of a table with other orders of rows and benchmarks, and other names of families."""
    panel, frame = model.panel, model.panel.to_frame()
    rows = draw(st.permutations(range(len(frame))))
    names = panel.families.unique()
    renamed = dict(zip(names, [f"family {label}" for label in draw(st.permutations(range(len(names))))], strict=True))
    frame = frame.iloc[list(rows)].assign(family=lambda table: table["family"].map(renamed))
    benchmarks, chance = draw(st.permutations(panel.benchmarks)), panel.chance.to_dict()
    other = ls.BenchmarkPanel(frame, benchmarks, chance=chance, boundary=panel.boundary)
    vary = list(model.random_terms)
    return ls.LatentSkillModel(other, model.scaling, model.form, model.asymptotes, random_slopes=vary)


@pytest.mark.slow
@QUICK
@given(st.data(), specifications(boundary=POLICIES, asymptotes=ASYMPTOTES, random_slopes=VARY))
def test_orders_and_names_do_not_change_the_likelihood(data, model):
    params, other = data.draw(parameters(model)), data.draw(reordered(model))
    rules = {"laplace": {}, "quadrature": {"points": 3}}
    for rule, options in rules.items():
        if rule == "quadrature" and model.random_terms:  # effects of too many dimensions for a grid
            continue
        value = model.loglike(params, rule, **options)
        # poly() orthogonalises columns whose sums depend on the order of the rows in the last digit
        assert_allclose(other.loglike(params.to_dict(), rule, **options), value, rtol=1e-9)
    score = model.score(params, "laplace")
    assume(np.isfinite(score).all())
    # an entry is a sum of terms of both signs: judged against the largest, as modes are good to 1e-8
    size = 1.0 + np.abs(score).max()
    assert_allclose(other.score(params.to_dict(), "laplace")[score.index], score, rtol=1e-6, atol=1e-8 * size)


@pytest.mark.slow
@FEW
@given(st.data(), specifications(identified=None))
def test_orders_and_names_do_not_change_identification(data, model):
    report, other = model.identification(points=1), data.draw(reordered(model)).identification(points=1)
    assert other.title == report.title
    assert len(other.flat_directions) == len(report.flat_directions)
    assert [check.outcome for check in other.checks if check.check != "weak identification"] == [
        check.outcome for check in report.checks if check.check != "weak identification"
    ]


# --- rotations and units -----------------------------------------------------------------------------------------


REACHABLE = st.sampled_from([
    ls.Anchored({"x": "b1", "y": "b2"}),
    ls.Anchored({"x": "b4", "y": "b2", "z": "b3"}),
    ls.Echelon(["b2", "b1"]),
    ls.Echelon(["b3", "b4", "b1"]),
    ls.Confirmatory(pd.DataFrame([[1.0, 0.0], [np.nan, np.nan], [0.0, 0.5]], ["b1", "b2", "b3"], ["x", "y"])),
])  # fmt: skip


@FEW
@given(st.data(), specifications(benchmarks=4, skills=REACHABLE), st.integers(0, 2**32 - 1))
def test_rotations_of_uncorrelated_skills_stay_uncorrelated(data, model, seed):
    """So that the form without coordinates, any rotation of it and every just-identified form are one law."""
    pattern, space = model.search_form
    structure = space.structure(np.random.default_rng(seed).uniform(-1.0, 1.0, space.size))
    turned = structure.transformed(data.draw(rotations(pattern.n_skills)))
    assert_allclose(turned.skill_cov, np.eye(pattern.n_skills), atol=1e-13)
    same = laplace(structure, model.internal_cells)[0]
    for other in (turned, model.pattern.rotate_from(structure), model.pattern.rotate_from(turned)):
        assert_allclose(laplace(other, model.internal_cells)[0], same, rtol=1e-8, atol=1e-8)


@FEW
@given(st.data(), specifications(random_slopes=True, scaling="log(params_b)"))
def test_random_slopes_allow_changes_of_units_and_signs_only(data, model):
    structure = model.table.structure(data.draw(parameters(model)).to_numpy())
    k = model.pattern.n_skills
    sizes = np.diag(data.draw(st.lists(st.sampled_from([-2.0, -1.0, 0.5, 1.0]), min_size=k, max_size=k)))
    value = laplace(structure.transformed(sizes), model.user_cells)[0]
    assert_allclose(value, laplace(structure, model.user_cells)[0], **LOGLIKE)
