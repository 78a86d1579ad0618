"""The main job: the shipped table with four anchored skills."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import latentscale as ls

# Best log-likelihoods known from an independent program; ours may be higher, not lower.
KNOWN = {2: 2773.4404, 3: 2857.2653, 4: 2944.9336}


def test_four_skills_reach_the_best_known_optimum(leaderboard_quadrature):
    fit = leaderboard_quadrature
    assert fit.converged
    assert fit.llf >= KNOWN[4]
    assert (fit.n_llms, fit.n_families, fit.nobs, fit.df_model) == (184, 65, 1566, 78)
    assert np.isfinite(fit.bse).all()


def test_two_skills_reach_the_best_known_optimum(leaderboard):
    """With 5 nodes a dimension the rule is 0.01 below the integral; a finer grid reaches the known value."""
    model = ls.LatentSkillModel(leaderboard, skills=ls.Echelon(["bbh", "ifeval"]))
    assert model.fit(integration="quadrature", points=15, starts=2).llf >= KNOWN[2]


@pytest.mark.slow
def test_three_skills_find_a_better_optimum_than_was_known(leaderboard):
    """Most starts end at the known optimum, a fifth of them 2.8 units above it."""
    model = ls.LatentSkillModel(leaderboard, skills=ls.Echelon(["bbh", "ifeval", "hellaswag"]))
    fit = model.fit(integration="quadrature", points=5, starts=10)
    assert fit.llf > KNOWN[3] + 2.5
    assert 1 <= fit.starts["reached_best"].sum() < 10
    assert fit.converged


@pytest.mark.slow
def test_monte_carlo_agrees_with_quadrature_and_em_with_direct(leaderboard_model, leaderboard_quadrature):
    direct = leaderboard_model.fit(starts=1, draws=256)
    exact = leaderboard_model.loglike(direct.params, "quadrature", points=7)
    assert abs(direct.llf - exact) < 3.0 * direct.llf_se
    assert 0.0 < direct.llf_se < 0.05
    em = leaderboard_model.fit(starts=1, draws=256, driver="em")
    assert em.converged
    assert np.max(np.abs(em.params - direct.params) / direct.bse) < 0.1
    far = np.abs(direct.params - leaderboard_quadrature.params) / leaderboard_quadrature.bse
    assert far.max() < 0.05
    assert_allclose(direct.bse, leaderboard_quadrature.bse, rtol=0.15)


@pytest.mark.slow
def test_results_do_not_depend_on_n_jobs(leaderboard):
    model = ls.LatentSkillModel(leaderboard, skills=2)
    one, two = (model.fit(integration="laplace", starts=3, seed=4, n_jobs=jobs) for jobs in (1, 2))
    assert_allclose(two.params, one.params, rtol=0)
    assert_allclose(two.starts["loglike"], one.starts["loglike"], rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("asymptotes", ["lower", "both"])
def test_estimated_asymptotes(leaderboard, asymptotes):
    model = ls.LatentSkillModel(leaderboard, skills=2, asymptotes=asymptotes)
    fit = model.fit(integration="quadrature", points=5, starts=3)
    plain = ls.LatentSkillModel(leaderboard, skills=2).fit(integration="quadrature", points=5, starts=2)
    assert fit.converged
    assert fit.llf > plain.llf
    assert fit.llf_penalised < fit.llf
    assert ((fit.asymptotes["lower"] > 0) & (fit.asymptotes["lower"] < fit.asymptotes["upper"])).all()


@pytest.mark.slow
@pytest.mark.parametrize("boundary", ["censor"])
def test_censored_zeros(leaderboard, boundary):
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), boundary=boundary)
    fit = ls.LatentSkillModel(panel, skills=2).fit(integration="quadrature", points=5, starts=2)
    assert fit.converged
    assert fit.model.prepared.boundary_counts["math_lvl_5"] == 20
