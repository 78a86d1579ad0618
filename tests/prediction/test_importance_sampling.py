"""Importance sampling of family effects: against quadrature, under slice steps, with residual skills of LLMs."""


import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.components.beta_law import Beta
from latentscale.components.cells import Cells
from latentscale.likelihood.rules import Rule
from latentscale.prediction import importance_sampling
from latentscale.prediction.importance_sampling import effect_draws
from latentscale.prediction.posterior import family_posterior


def _moments(draws, k=2):
    alpha = draws.alpha[:, :k]
    mean = draws.weight @ alpha
    cov = ((alpha - mean) * draws.weight[:, None]).T @ (alpha - mean)
    return mean, np.sqrt(np.diag(cov)), cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])


def _exact(structure, cells, points=31):
    """Moments by a grid fine enough to be exact for the purpose."""
    found = family_posterior(structure, cells, Rule.build("quadrature", 2, points=points))
    centred = found.alpha - found.mean[:, None]
    corr = np.einsum("lm,lm->l", found.weight, centred[..., 0] * centred[..., 1]) / found.sd.prod(axis=1)
    return found.mean, found.sd, corr


@pytest.mark.slow
def test_moments_equal_quadrature_to_three_digits(simulated):
    model, truth = simulated
    structure, cells = model.table.structure(truth.to_numpy()), model.user_cells
    mean, sd, corr = _exact(structure, cells)
    coarser = _exact(structure, cells, 25)
    assert_allclose(coarser[1], sd, rtol=1e-6)  # quadrature is exact enough
    found = [_moments(one) for one in effect_draws(structure, cells, model.families, 2**14)]
    assert_allclose(np.array([one[0] for one in found]) / sd, mean / sd, atol=1e-3)
    assert_allclose(np.array([one[1] for one in found]), sd, rtol=1e-3)
    assert_allclose(np.array([one[2] for one in found]), corr, atol=1e-3)


def test_effective_sizes_are_high_near_normal_posteriors_and_reported(simulated):
    model, truth = simulated
    found = effect_draws(model.table.structure(truth.to_numpy()), model.user_cells, model.families)
    assert all(0.5 * 4096 < one.ess <= 4096 and not one.slice_sampled for one in found)
    assert_allclose([one.weight.sum() for one in found], 1.0, rtol=1e-12)


@pytest.mark.slow
def test_slice_steps_leave_the_posterior_as_it_is(simulated, monkeypatch):
    model, truth = simulated
    structure, cells = model.table.structure(truth.to_numpy()), model.user_cells
    monkeypatch.setattr(importance_sampling, "POOR", 1.1)  # every family counts as poor
    found = effect_draws(structure, cells, model.families, 2**12)
    assert all(one.slice_sampled for one in found)
    mean, sd, corr = _exact(structure, cells)
    z = (np.array([_moments(one)[0] for one in found]) - mean) / sd * np.sqrt([[one.ess] for one in found])
    assert np.abs(z).max() < 4.5  # eighty comparisons
    assert 0.8 < z.std() < 1.3  # so that the effective size says how large the error is
    assert_allclose([_moments(one)[1] for one in found], sd, rtol=0.06)
    assert_allclose([_moments(one)[2] for one in found], corr, atol=0.08)


def test_slice_steps_mend_a_proposal_in_the_wrong_place(simulated):
    """Draws begin a standard deviation off and twice as wide, where importance sampling has few effective draws."""
    model, truth = simulated
    structure, cells = model.table.structure(truth.to_numpy()), model.user_cells
    mean, sd, _ = _exact(structure, cells)
    target = next(iter(importance_sampling.family_targets(structure, cells)))
    mode, curvature = target.climb(np.zeros(2))
    root = 2.0 * np.linalg.inv(np.linalg.cholesky(curvature)).T
    mode = mode + root @ np.array([0.5, -0.5])
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4096, 2))
    flat = np.full(4096, 1.0 / 4096)  # not even weighted
    now, _ = importance_sampling._slice_steps(target, mode, root, z, flat, 4096.0, rng)
    v = mode + now @ root.T
    assert_allclose((v.mean(axis=0) - mean[0]) / sd[0], 0.0, atol=0.08)
    assert_allclose(v.std(axis=0), sd[0], rtol=0.06)


def test_draws_of_a_family_do_not_depend_on_the_others(simulated):
    model, truth = simulated
    structure, prepared = model.table.structure(truth.to_numpy()), model.prepared
    every = effect_draws(structure, model.user_cells, model.families, 256)
    rows = np.flatnonzero(model.family_codes == 7)
    cells = Cells.from_tables(
        Beta(), prepared.y[rows], prepared.state[rows], prepared.edge, np.zeros(len(rows), dtype=int),
        model.design.x[rows],
    )
    alone = effect_draws(structure, cells, [model.families[7]], 256)[0]
    assert_allclose(alone.alpha, every[7].alpha, rtol=1e-6, atol=1e-9)
    assert_array_equal(alone.resampled(20, np.random.default_rng(1)), every[7].resampled(20, np.random.default_rng(1)))


def test_resampling_keeps_the_moments(simulated):
    model, truth = simulated
    one = effect_draws(model.table.structure(truth.to_numpy()), model.user_cells, model.families)[3]
    drawn = one.alpha[one.resampled(4000, np.random.default_rng(0))]
    mean, sd, _ = _moments(one)
    assert_allclose((drawn.mean(axis=0) - mean) / sd, 0.0, atol=0.03)
    assert_allclose(drawn.std(axis=0), sd, rtol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0.3, 1.0])
def test_residual_skills_equal_random_slopes_on_dummies(simulated, kappa):
    """With Sigma = I, kappa e_i is a random slope on the LLM's place in its family, of standard deviation kappa."""
    model, truth = simulated
    plain = model.table.structure(truth.to_numpy())
    plain = plain.transformed(np.linalg.cholesky(plain.skill_cov))
    place = np.arange(model.n_llms) % 3
    prepared, x = model.prepared, model.design.x
    cells = [
        Cells.from_tables(Beta(), prepared.y, prepared.state, prepared.edge, model.family_codes, x, random)
        for random in (None, np.eye(3)[place])
    ]
    with_residuals = effect_draws(plain.with_scales(llm_sd=kappa), cells[0], model.families, 2**13)
    on_dummies = effect_draws(plain.with_scales(slope_sd=np.full((3, 2), kappa)), cells[1], model.families, 2**13)
    sd = np.array([_moments(one)[1] for one in on_dummies])
    first, second = (np.array([_moments(one)[0] for one in found]) for found in (with_residuals, on_dummies))
    assert_allclose(first / sd, second / sd, atol=0.02)
    assert_allclose([_moments(one)[1] for one in with_residuals], sd, rtol=0.02)
    row = int(np.flatnonzero(model.family_codes == 5)[1])
    own, z = with_residuals[5].by_llm[row], on_dummies[5].alpha[:, 2 * (1 + place[row]) : 2 * (2 + place[row])]
    assert_allclose(with_residuals[5].weight @ own, on_dummies[5].weight @ z, atol=0.02)
