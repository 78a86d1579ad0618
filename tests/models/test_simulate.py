"""Simulation from the model, and recovery of its parameters."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls

TRUTH = {"loading": 0.8, "slope": 0.3, "intercept": -0.5, "precision": 400.0, "corr": 0.4}


def _design(families, seed=0):
    """Two LLMs a family, four benchmarks, scores to be replaced by simulated ones."""
    return worlds.places(families, 2, seed=seed, family="f{}")


def _model(table):
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcd"), chance={"a": 0.25})
    return ls.LatentSkillModel(panel, scaling="log(size)", skills=ls.Anchored({"first": "a", "second": "b"}))


def _truth(model):
    rng = np.random.default_rng(11)
    values = {name: TRUTH[name.split("[")[0]] for name in model.param_names}
    return pd.Series({name: value * rng.uniform(0.7, 1.3) for name, value in values.items()})


def test_simulated_tables_keep_the_design(leaderboard_model):
    rng = np.random.default_rng(0)
    params = leaderboard_model.table.natural(leaderboard_model.recoding.user(_any_structure(leaderboard_model, rng)))
    one = leaderboard_model.simulate(params, seed=3)
    again = leaderboard_model.simulate(params, seed=3)
    pd.testing.assert_frame_equal(one, again)
    assert not leaderboard_model.simulate(params, seed=4)["bbh"].equals(one["bbh"])
    original = leaderboard_model.panel.scores[leaderboard_model.rows.keep]
    simulated = one[list(leaderboard_model.benchmarks)]
    assert (simulated.isna().to_numpy() == original.isna().to_numpy()).all()
    assert ((simulated >= 0) & (simulated <= 1) | simulated.isna()).all(axis=None)
    assert ls.LatentSkillModel(ls.BenchmarkPanel(one), skills=2).n_llms == leaderboard_model.n_llms


def _any_structure(model, rng):
    return model.space.structure(0.1 * rng.standard_normal(model.space.size) + 0.3)


def test_censored_simulations_have_boundary_scores(table):
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0}, boundary="censor", rounding=0.1)
    model = ls.LatentSkillModel(panel, skills=1)
    params = model.fit(integration="laplace", starts=1).params
    params[params.index.str.startswith("intercept")] -= 3.0
    simulated = model.simulate(params, seed=0)[list("abcde")].to_numpy()
    assert (simulated == 0.0).sum() > 5
    assert not ((simulated > 0.0) & (simulated < 0.05)).any()


@pytest.mark.slow
def test_estimates_converge_to_the_truth_as_families_are_added():
    """Errors shrink like one over the root of the number of families; z-scores stay standard."""
    errors, scores = [], []
    for families in (50, 200, 800):
        model = _model(_design(families))
        truth = _truth(model)
        simulated = _model(model.simulate(truth, seed=families))
        fit = simulated.fit(integration="quadrature", points=7, starts=1)
        assert fit.converged
        errors.append(float(np.sqrt(np.mean((fit.params / truth - 1.0) ** 2))))
        scores.append(((fit.params - truth) / fit.bse).to_numpy())
    assert errors[0] > errors[1] > errors[2]
    # from 50 to 800 families errors should shrink fourfold; half of that is left to chance
    assert errors[2] < 0.5 * errors[0]
    assert errors[2] < 0.08
    # root mean square of some 20 correlated standard normals, three times
    assert 0.5 < np.sqrt(np.mean(np.square(scores))) < 1.6


@pytest.mark.slow
def test_large_precision_recovers_the_regression_exactly():
    """Without noise in the scores, loadings times skills are known: predictions return the scores themselves."""
    model = _model(_design(60))
    truth = _truth(model)
    truth[truth.index.str.startswith("precision")] = 1e4
    simulated = _model(model.simulate(truth, seed=2))
    fit = simulated.fit(integration="laplace", starts=1)
    observed = simulated.panel.scores[list("abcd")]
    assert_allclose(fit.predict(), observed, atol=0.02)  # beta noise has sd below sqrt(.25 / 1e4) = .005 a score
    # a skill's unit, the sd of 60 family effects, stays uncertain by a tenth; loadings times slopes do not
    structure = model.table.structure(truth.to_numpy())
    assert_allclose(fit.loadings @ fit.slopes.T, structure.loadings @ structure.slopes.T, atol=0.01)
