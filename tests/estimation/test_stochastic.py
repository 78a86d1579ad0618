"""The stochastic driver: the maximum of the direct one from minibatches, reproducible, inside its box."""

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.components.penalty import Penalty
from latentscale.estimation import stochastic
from latentscale.estimation.search import starting_structures
from latentscale.estimation.stochastic import minibatches_of, stochastic_climb
from latentscale.likelihood.objective import Objective

ITEMS = list("abcdef")


@pytest.fixture(scope="module")
def model():
    """Two skills, 160 families of three LLMs."""
    table = worlds.simulated(
        160, 3, [[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.6], [0.6, 0.2], [0.2, 0.4]], [[0.4, 0.1], [0.2, 0.5]],
        {"params_b": (-1.0, 4.0), "tokens_t": (-1.0, 4.0)}, intercepts=-1.0, precision=40.0,
        skill_cov=[[1.0, 0.3], [0.3, 0.9]], family="f{:03d}", seed=4,
    )  # fmt: skip
    table[ITEMS] = table[ITEMS].clip(1e-6, 1.0 - 1e-6)
    panel = ls.BenchmarkPanel(table, benchmarks=ITEMS, chance={})
    return ls.LatentSkillModel(panel, "log(params_b) + log(tokens_t)", skills=ls.Anchored({"one": "a", "two": "b"}))


@pytest.fixture(scope="module")
def search(model):
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), 1e-6)
    (_, start), *_ = starting_structures(objective, pattern, model.chance, model.family_codes, 1, 0)
    return objective, start


def test_it_ends_in_the_direct_drivers_maximum_with_its_standard_errors(model):
    direct = model.fit(integration="laplace", starts=1)
    fit = model.fit(integration="laplace", starts=1, driver="stochastic")
    assert fit.converged
    assert fit.estimate.starts["evaluations"].item() < 0.5 * direct.estimate.starts["evaluations"].item()
    assert_allclose(fit.llf, direct.llf, rtol=1e-11)
    assert_allclose(fit.params, direct.params, atol=1e-6)
    assert_allclose(fit.bse, direct.bse, rtol=1e-6)


def test_far_ends_are_left_by_a_climb_and_not_by_more_draws():
    """Six benchmarks of the shipped table, on which minibatches end 70 units and more below the maximum."""
    items = ["ifeval", "bbh", "math_lvl_5", "gpqa", "musr", "mmlu_pro"]
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=items)
    model = ls.LatentSkillModel(panel, skills={"instruction": "ifeval", "reasoning": "bbh", "math": "math_lvl_5"})
    direct = model.fit(starts=3)
    for seed in (0, 1):
        fit = model.fit(driver="stochastic", starts=10, seed=seed)
        assert fit.converged
        assert fit.starts["loglike"].max() < direct.llf - 30.0
        assert abs(fit.llf - direct.llf) < 4.0 * np.hypot(fit.llf_se, direct.llf_se)
        assert fit.estimate.rule.draws <= 256


def test_minibatches_come_close_before_any_whole_pass_is_climbed_by(model, search):
    """Within a standard error a coordinate; the start is far away."""
    objective, start = search
    best = model.fit(integration="laplace", starts=1).llf
    end = stochastic_climb(objective, 0, "data", start)
    begin = objective.laplace(objective.space.free_vector(start))[0].value
    assert best - begin > 300.0
    assert 0.0 < best - end.value < 0.5 * objective.space.size
    assert end.evaluations == stochastic.EPOCHS + 2


def test_a_seed_gives_the_same_numbers_and_another_one_others(search):
    objective, start = search
    first, again, other = (stochastic_climb(objective, 0, "data", start, 2, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.u, again.u)
    assert not np.array_equal(first.u, other.u)


def test_batches_deal_all_families_and_their_scores_add_up(search):
    objective, start = search
    u = objective.space.free_vector(start)
    batches = minibatches_of(objective, np.random.default_rng(0))
    assert len(batches) == 20
    assert sum(batch.objective.cells.n_families for batch in batches) == objective.cells.n_families
    assert_allclose(sum(batch.share for batch in batches), 1.0)
    found = [batch.objective.laplace(u)[0] for batch in batches]
    whole = Objective(objective.space, objective.cells, Penalty(()), 1e-6).laplace(u)[0]
    # modes are found to a decrement of 1e-6, all families of a batch when the last of them is
    assert_allclose(sum(one.value for one in found), whole.value, rtol=1e-10)
    assert_allclose(sum(one.gradient for one in found), whole.gradient, atol=1e-5 * np.abs(whole.gradient).max())


def test_iterates_are_projected_and_a_batch_without_likelihood_is_stepped_back_from(search, monkeypatch):
    objective, start = search
    low, high = objective.space.limits
    seen, rng = [], np.random.default_rng(0)

    def wild(objective, u, batch):
        seen.append(u)
        return None if len(seen) == 3 else rng.standard_normal(len(u))

    monkeypatch.setattr(stochastic, "_gradient", wild)
    monkeypatch.setattr(stochastic, "_RATE", 1e4)
    stochastic_climb(objective, 0, "data", start, 1)
    assert all(np.all((low <= u) & (u <= high)) for u in seen)
    assert any(np.any((u == low) | (u == high)) for u in seen)
    assert not np.array_equal(seen[2], seen[3])
