"""Copies of a model on simulated scores and on resampled families."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import latentscale as ls
from latentscale.components.curve import mean_score
from latentscale.components.levels import family_effects
from latentscale.models.resampling import parametric_replicate, resampled, with_scores

ANCHORS = {"first": "a", "second": "b"}


@pytest.fixture(scope="module")
def model(panel):
    return ls.LatentSkillModel(panel, skills=ls.Anchored(ANCHORS))


def _params(model, seed=0):
    rng = np.random.default_rng(seed)
    structure = model.space.structure(0.1 * rng.standard_normal(model.space.size) + 0.3)
    return pd.Series(model.table.natural(model.recoding.user(structure)), index=model.param_names)


def _point(model, seed=1):
    return 0.1 * np.random.default_rng(seed).standard_normal(model.space.size) + 0.3


def _family_loglikes(model, u):
    from latentscale.likelihood.family_scores import family_loglikes
    from latentscale.likelihood.objective import Objective
    from latentscale.likelihood.rules import Rule

    objective = Objective(model.space, model.internal_cells, model.penalty)
    return family_loglikes(objective, u, Rule.build("laplace", family_effects(model.table.layout)))


# --- other scores ----------------------------------------------------------------------------------------------------


def test_the_same_scores_give_the_same_likelihood(leaderboard_model):
    """Boundary scores among them: zeros of math_lvl_5 are squeezed by the same n."""
    raw = leaderboard_model.panel.scores[leaderboard_model.rows.keep].to_numpy()
    copy = with_scores(leaderboard_model, raw)
    assert_array_equal(copy.prepared.y, leaderboard_model.prepared.y)
    assert copy.prepared.boundary_counts == leaderboard_model.prepared.boundary_counts
    params = _params(leaderboard_model)
    assert copy.loglike(params, "laplace") == leaderboard_model.loglike(params, "laplace")


def test_a_replicate_has_simulated_scores_in_the_same_cells(model):
    params = _params(model)
    copy = parametric_replicate(model, params, 3)
    simulated = model.simulate(params, 3)[list(model.benchmarks)].to_numpy()
    assert_array_equal(copy.prepared.y, simulated)
    assert_array_equal(copy.prepared.state, model.prepared.state)
    assert_array_equal(copy.panel.scores, simulated)
    assert list(copy.llms) == list(model.llms)
    assert copy.param_names == model.param_names
    assert (copy.n_llms, copy.n_families, copy.nobs) == (model.n_llms, model.n_families, model.nobs)


def test_a_replicate_leaves_the_original_alone(model):
    params = _params(model)
    before = model.loglike(params, "laplace")
    copy = parametric_replicate(model, params, 3)
    after = copy.loglike(params, "laplace")
    assert after != before
    assert model.loglike(params, "laplace") == before
    assert copy.loglike(params, "laplace") == after


def test_a_replicate_likelihood_is_that_of_a_model_made_anew(model):
    """Where the formula has no state, refitting the simulated table from scratch is the same statistical model."""
    params = _params(model)
    copy = parametric_replicate(model, params, 3)
    table = model.simulate(params, 3)
    anew = ls.LatentSkillModel(
        ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0}), skills=ls.Anchored(ANCHORS)
    )
    assert_allclose(copy.loglike(params, "laplace"), anew.loglike(params, "laplace"), rtol=1e-13)


def test_replicates_differ_by_child_and_come_back(model):
    params = _params(model)
    children = np.random.SeedSequence(5).spawn(2)
    one, two = (parametric_replicate(model, params, child).prepared.y for child in children)
    again = parametric_replicate(model, params, np.random.SeedSequence(5, spawn_key=(0,))).prepared.y
    assert_array_equal(one, again)
    assert not np.array_equal(one, two, equal_nan=True)


def _edged(table, boundary, **options):
    return ls.LatentSkillModel(
        ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0}, boundary=boundary, **options), skills=1
    )


def _with_edge(model):
    """Scores of which one is exactly 0 and one exactly 1, as underflow may leave them, and where they are."""
    y = model.prepared.y.copy()
    low, high = np.flatnonzero(~np.isnan(y[:, 0]))[:2]
    y[low, 0], y[high, 0] = 0.0, 1.0
    return y, low, high


def test_underflow_is_squeezed_by_the_benchmarks_own_n(table):
    model = _edged(table, "squeeze")
    y, low, high = _with_edge(model)
    copy = with_scores(model, y)
    n = int(np.sum(~np.isnan(y[:, 0])))
    assert_allclose(copy.prepared.y[low, 0], 0.5 / n, rtol=1e-15)
    assert_allclose(copy.prepared.y[high, 0], 1.0 - 0.5 / n, rtol=1e-15)
    assert_array_equal(copy.prepared.y[:, 1:], y[:, 1:])
    assert copy.prepared.boundary_counts == {"a": 2, "b": 0, "c": 0, "d": 0, "e": 0}


def test_underflow_is_censored_with_the_original_rounding(table):
    model = _edged(table, "censor", rounding=0.1)
    y, low, high = _with_edge(model)
    copy = with_scores(model, y)
    assert (copy.prepared.state[low, 0], copy.prepared.state[high, 0]) == (1, 2)
    assert_array_equal(copy.prepared.edge, model.prepared.edge)
    assert np.isfinite(copy.loglike(_params(copy), "laplace"))


def test_underflow_without_a_policy_stays_inside(table):
    model = _edged(table, "error")
    y, low, high = _with_edge(model)
    copy = with_scores(model, y)
    assert 0.0 < copy.prepared.y[low, 0] < 1e-300
    assert 1.0 - 1e-15 < copy.prepared.y[high, 0] < 1.0
    assert np.isfinite(copy.loglike(_params(copy), "laplace"))


def test_scores_that_do_not_fit_are_refused(model):
    y = model.prepared.y.copy()
    with pytest.raises(ls.DataError, match="LLMs by benchmarks"):
        with_scores(model, y[:-1])
    y[3] = np.nan
    with pytest.raises(ls.DataError, match="llm003"):
        with_scores(model, y)


# --- other families --------------------------------------------------------------------------------------------------


def test_every_family_once_is_the_original(leaderboard_model):
    copy = resampled(leaderboard_model, np.arange(leaderboard_model.n_families))
    u = _point(leaderboard_model)
    assert_allclose(_family_loglikes(copy, u), _family_loglikes(leaderboard_model, u), rtol=1e-13)
    assert list(copy.families) == list(leaderboard_model.families)
    assert copy.prepared.boundary_counts == leaderboard_model.prepared.boundary_counts
    assert_array_equal(copy.prepared.n_observed, leaderboard_model.prepared.n_observed)


def test_each_drawn_family_brings_its_own_likelihood(leaderboard_model):
    """Also with boundary scores, which stay as the original's n has squeezed them."""
    codes = np.random.default_rng(2).integers(leaderboard_model.n_families, size=leaderboard_model.n_families)
    copy = resampled(leaderboard_model, codes)
    u = _point(leaderboard_model)
    assert_allclose(_family_loglikes(copy, u), _family_loglikes(leaderboard_model, u)[codes], rtol=1e-12)


def test_counts_and_names_of_drawn_families(model):
    codes = np.array([4, 1, 4, 0, 4, *range(5, 14)])
    copy = resampled(model, codes)
    sizes = np.bincount(model.family_codes)
    assert copy.n_families == len(codes)
    assert_array_equal(np.bincount(copy.family_codes), sizes[codes])
    assert list(copy.families[:5]) == ["f04", "f01", "f04 (2)", "f00", "f04 (3)"]
    assert copy.n_llms == len(copy.llms) == sizes[codes].sum()
    assert copy.llms.is_unique
    assert "llm012 (3)" in copy.llms
    scores = np.isfinite(model.prepared.y).sum(axis=1)
    assert copy.nobs == sum(scores[model.family_codes == code].sum() for code in codes)
    assert copy.panel.families.loc["llm012 (2)"] == "f04 (2)"
    assert model.n_families == 14


def test_names_stay_apart_from_names_that_look_like_theirs(table):
    renamed = table.replace({"family": {"f00": "f01 (2)"}})
    model = _edged(renamed, "squeeze")
    first, second = (list(model.families).index(name) for name in ("f01", "f01 (2)"))
    copy = resampled(model, np.array([first, second, first, second, *range(2, 14)]))
    assert list(copy.families[:4]) == ["f01", "f01 (2)", "f01 (3)", "f01 (2) (2)"]


def test_families_of_several_columns(table):
    table = table.assign(tuned=np.arange(len(table)) % 3 == 0)
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), family=["tuned", "family"], chance={"a": 0.0})
    model = ls.LatentSkillModel(panel, skills=1)
    copy = resampled(model, np.append(np.arange(model.n_families), 3))
    assert copy.n_families == model.n_families + 1
    assert len(set(copy.families)) == copy.n_families
    assert copy.families[-1] == f"{model.families[3]} (2)"


def test_a_resample_can_be_simulated_and_fitted(panel):
    model = ls.LatentSkillModel(panel, scaling="log(params_b)", skills=1)
    copy = resampled(model, np.append(np.arange(model.n_families), [2, 2]))
    fit = copy.fit(integration="laplace", starts=1)
    assert fit.converged
    assert len(fit.predict()) == copy.n_llms
    again = parametric_replicate(copy, fit.params, 0)
    assert_array_equal(again.prepared.state, copy.prepared.state)


def test_stateful_terms_keep_their_coding(table):
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})
    model = ls.LatentSkillModel(panel, scaling="bs(log(params_b), df=4) + center(tokens_t)", skills=1)
    codes = np.array([0, 0, 1, 1, *range(2, 14)])
    copy = resampled(model, codes)
    rows = np.concatenate([np.flatnonzero(model.family_codes == code) for code in codes])
    assert_array_equal(copy.design.x, model.design.x[rows])
    # what is coded anew has other knots and another mean, so that the test is able to fail
    anew = ls.LatentSkillModel(copy.panel, scaling=model.scaling, skills=1)
    assert np.abs(anew.design.x - copy.design.x).max() > 0.01
    # and new tables are coded as in the original
    assert_allclose(copy.design.code(copy.panel.table), copy.design.x, rtol=1e-12, atol=1e-12)
    simulated = parametric_replicate(model, _params(model), 0)
    assert_array_equal(simulated.design.x, model.design.x)


def test_chosen_pivots_stay(table):
    model = ls.LatentSkillModel(ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0}), skills=2)
    copies = [resampled(model, np.random.default_rng(seed).integers(14, size=14)) for seed in range(5)]
    copies += [parametric_replicate(model, _params(model), seed) for seed in range(5)]
    assert {copy.form.pivots for copy in copies} == {model.form.pivots}
    fresh = {ls.LatentSkillModel(copy.panel, skills=2).form.pivots for copy in copies}
    assert len(fresh) > 1  # chosen anew they would move


def test_random_slopes_count_from_the_mean_of_the_original(panel):
    model = ls.LatentSkillModel(panel, skills=1, random_slopes="log(params_b)")
    means = np.bincount(model.family_codes, model.random_design[:, 0]) / np.bincount(model.family_codes)
    largest = np.argsort(means)[-4:]
    codes = np.concatenate([largest, largest, [0, 1]])
    copy = resampled(model, codes)
    rows = np.concatenate([np.flatnonzero(model.family_codes == code) for code in codes])
    assert_allclose(copy.random_design, model.random_design[rows], rtol=1e-14, atol=1e-14)
    assert copy.random_design.mean() > 0.1  # about its own mean it would be zero
    u = _point(model)
    assert_allclose(_family_loglikes(copy, u), _family_loglikes(model, u)[codes], rtol=1e-12)
    nested = resampled(copy, np.arange(copy.n_families)[::-1])
    assert_allclose(_family_loglikes(nested, u), _family_loglikes(model, u)[codes[::-1]], rtol=1e-12)
    simulated = parametric_replicate(copy, _params(model), 0)
    assert_array_equal(simulated.random_design, copy.random_design)


def test_coordinates_mean_the_same_in_a_copy(model):
    copy = resampled(model, np.array([0, 0, 1, 1, *range(2, 12)]))
    assert copy.recoding is model.recoding
    u = _point(model)
    ours, theirs = (m.table.natural(m.recoding.user(m.space.structure(u))) for m in (copy, model))
    assert_array_equal(ours, theirs)
    assert_allclose(copy.internal_cells.design, model.recoding.design(copy.design.x), rtol=1e-15)


def test_copies_of_a_free_asymptote_model_keep_their_penalty(panel):
    model = ls.LatentSkillModel(panel, skills=1, asymptotes="lower", asymptote_sd=1.5)
    copy = resampled(model, np.arange(14)[::-1])
    s = model.space.structural(_point(model))
    assert copy.penalty.terms(s)[0] == model.penalty.terms(s)[0]


@pytest.mark.parametrize("codes", [[], [0.0, 1.0], [0, 99], [-1, 0], [[0, 1]]])
def test_codes_that_are_no_families_are_refused(model, codes):
    with pytest.raises(ls.DataError, match="from 0 to 13"):
        resampled(model, np.array(codes))


def test_families_that_cannot_tell_are_refused(table):
    """Where a slope is not determined a refit would leave it at its start, and its spread would be too small."""
    table = table.assign(late=(table["family"] == "f03").astype(float) * np.arange(len(table)))
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})
    model = ls.LatentSkillModel(panel, scaling="log(params_b) + late", skills=1)
    without = np.array([0, 1, 2, *range(4, 14)])
    with pytest.raises(ls.IdentificationError, match="collinear"):
        resampled(model, without)
    assert resampled(model, np.append(without, 3)).n_families == 14
    with pytest.raises(ls.IdentificationError, match="2 different families for 2 skills"):
        resampled(ls.LatentSkillModel(panel, skills=ls.Anchored(ANCHORS)), np.array([0, 1, 0, 1]))


def test_random_slopes_need_a_family_that_varies(table):
    same = table.groupby("family")["tokens_t"].transform("first")
    table = table.assign(tokens_t=same.where(table["family"] != "f03", table["tokens_t"]))
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})
    model = ls.LatentSkillModel(
        panel, scaling="log(params_b) + log(tokens_t)", skills=1, random_slopes="log(tokens_t)"
    )
    with pytest.raises(ls.IdentificationError, match="the same log"):
        resampled(model, np.array([0, 1, 2, *range(4, 14)]))


def test_a_benchmark_without_scores_is_refused(table):
    table = table.copy()
    table.loc[table["family"] != "f03", "e"] = np.nan
    table.loc[table["family"] == "f03", "e"] = [0.2, 0.3, 0.4]
    model = _edged(table, "squeeze")
    with pytest.raises(ls.DataError, match="benchmark e"):
        resampled(model, np.array([0, 1, 2, *range(4, 14)]))


def test_simulated_scores_have_the_mean_of_the_model(model):
    """Law of large numbers over replicates: the average score is E[mu], which quadrature gives."""
    params = _params(model)
    structure = model.table.structure(params.to_numpy())
    drawn = np.array([parametric_replicate(model, params, seed).prepared.y for seed in range(100)])
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    mean = model.design.x @ structure.slopes @ structure.loadings.T + structure.intercepts
    spread = np.sqrt(np.einsum("jk,kl,jl->j", structure.loadings, structure.skill_cov, structure.loadings))
    expected = sum(
        weight * mean_score(mean + spread * node, structure.lower, structure.upper)
        for node, weight in zip(nodes, weights / weights.sum(), strict=True)
    )
    seen = model.prepared.state >= 0
    z = (drawn.mean(axis=0) - expected)[seen] / (drawn.std(axis=0)[seen] / 10.0)
    assert np.abs(z).max() < 4.5  # of 180 standard normals
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.4
