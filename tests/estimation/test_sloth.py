"""Sloth's loss, its derivatives and its minimum."""

import warnings
from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import sloth_tables as tables
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import expit

import latentscale as ls
from latentscale.numerics.differences import jacobian
from latentscale.sloth.fit import fit_sloth
from latentscale.sloth.newton import descend
from latentscale.sloth.problems import law_pieces, model_piece, penalised
from latentscale.sloth.starts import start_kinds, starting_vector

CASES = [
    (link, asymptotes, families)
    for link in ("logistic", "monotone")
    for asymptotes in ("chance", "lower", "both")
    for families in (True, False)
]


@pytest.fixture(scope="module")
def small():
    """A panel with missing cells."""
    return tables.panel(tables.simulated(8, 0.03, seed=2, missing=0.2)[0])


def objective_at(panel, seed=0, **options):
    """A penalised objective, and a point away from its starts."""
    model = ls.SlothModel(panel, scaling=tables.MAIN, n_skills=2, **options)
    objective = penalised(model_piece(model).objective, 0.01)
    rng = np.random.default_rng(seed)
    return objective, starting_vector(objective, "data", rng) + 0.2 * rng.standard_normal(len(objective.penalty))


@pytest.mark.parametrize(("link", "asymptotes", "families"), CASES)
def test_derivatives_against_differences(small, link, asymptotes, families):
    objective, x = objective_at(small, link=link, asymptotes=asymptotes, family_intercepts=families)
    delta = 0.05
    blocks = objective.blocks(x, delta)
    step = np.full(len(x), 1e-4)
    gradient = jacobian(lambda v: np.array([objective.value(v, delta)]), x, step)[0]
    assert_allclose(blocks.gradient, gradient, atol=1e-8)
    assert_allclose(blocks.value, objective.value(x, delta), rtol=1e-14)
    assert_allclose(objective.gradient(x, delta), blocks.gradient, rtol=1e-12, atol=1e-16)
    # the gradient is smooth only between the kinks of psi: a short step, from a point where no residual crosses one
    hessian = jacobian(lambda v: objective.gradient(v, delta), x, np.full(len(x), 1e-6))
    assert_allclose(blocks.dense(), hessian, atol=2e-8)
    direction = np.random.default_rng(1).standard_normal(len(x))
    assert_allclose(blocks.product(direction), blocks.dense() @ direction, atol=1e-12)
    newton = -np.linalg.solve(blocks.dense() + 10.0 * np.eye(len(x)), blocks.gradient)
    assert_allclose(blocks.step(10.0, None), newton, atol=1e-12)


@pytest.mark.parametrize("families", [True, False])
def test_gradient_against_autograd(small, families):
    objective, x = objective_at(small, asymptotes="both", family_intercepts=families)
    a, b = objective.sizes
    delta, k = 0.05, objective.n_skills

    def loss(v):
        theta = anp.dot(objective.z, anp.reshape(v[a : a + b], (-1, k)))
        if families:
            theta = theta + anp.reshape(v[:a], (-1, k))[objective.family]
        rows = anp.reshape(v[a + b :], (-1, k + 3))
        low, high = (1.0 / (1.0 + anp.exp(-rows[:, k + column])) for column in (1, 2))
        mu = low + (high - low) / (1.0 + anp.exp(-anp.dot(theta, rows[:, :k].T) - rows[:, k]))
        size = anp.abs(objective.y - mu)
        rho = anp.where(size < delta, size**2 / (2.0 * delta), size - delta / 2.0)
        away = v - objective.centre
        return anp.sum(objective.weight * rho) + 0.5 * anp.sum(objective.penalty * away * away)

    assert_allclose(objective.value(x, delta), loss(x), rtol=1e-13)
    assert_allclose(objective.gradient(x, delta), autograd.grad(loss)(x), atol=1e-14)


def test_a_fit_is_a_minimum_that_other_software_cannot_lower(small):
    for families in (True, False):
        model = ls.SlothModel(small, scaling=tables.MAIN, n_skills=2, family_intercepts=families)
        estimate = fit_sloth(model, starts=4, ridge=1e-3)
        piece = estimate.pieces[0]
        assert estimate.converged
        assert estimate.gradient < 1e-6
        end = minimize(
            piece.objective.value, piece.vector, (0.01,), "L-BFGS-B", jac=piece.objective.gradient,
            options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        assert end.fun > estimate.penalised * (1.0 - 1e-6)


@pytest.mark.parametrize("families", [True, False])
def test_laws_are_the_fits_of_single_benchmarks(small, families):
    """Each law against scipy on the plain formula in the user's covariates, without any of the package's code."""
    model = ls.BenchmarkLaws(small, scaling=tables.MAIN, family_intercepts=families)
    ridge = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.ConvergenceWarning)
        fit = model.fit(ridge=ridge, cov_type="none")
    total = 0.0
    for item, name in enumerate(model.benchmarks):
        seen = ~np.isnan(model.y[:, item])
        y, x, chance = model.y[seen, item], model.design.x[seen], model.response.chance[item]
        if families:
            _, codes = np.unique(model.family_codes[seen], return_inverse=True)
            design = np.hstack([np.eye(codes.max() + 1)[codes], x])
        else:
            design = np.hstack([np.ones((len(x), 1)), x])

        def loss(beta, design=design, y=y, chance=chance):
            f = expit(design @ beta)
            r = y - chance - (1.0 - chance) * f
            psi = np.clip(r / 0.01, -1.0, 1.0)
            value = np.where(np.abs(r) < 0.01, r**2 / 0.02, np.abs(r) - 0.005).sum()
            return value, -design.T @ (psi * (1.0 - chance) * f * (1.0 - f))

        starts = [np.linalg.lstsq(design, np.clip(y - chance, 0.02, 0.98) - 1.0, rcond=None)[0]]
        starts += [np.random.default_rng(number).normal(0.0, 1.0, design.shape[1]) for number in range(4)]
        # most of a law's scores lie near the kinks of the loss, where L-BFGS stalls: start from the package's end too
        fitted = fit.slopes[name].to_numpy()
        if families:
            effects = fit.family_intercepts[name].dropna().to_numpy()
            starts.append(np.concatenate([effects, fitted]))
        else:
            starts.append(np.concatenate([[fit.intercepts[name]], fitted]))
        ends = [minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 3000}) for start in starts]
        best = min(end.fun for end in ends)
        mine = loss(starts[-1])[0]
        assert mine < best * (1.0 + 1e-6) + 1e-9
        total += mine
    assert_allclose(fit.loss, total / model.nobs, rtol=1e-9)


def test_laws_are_separable(small):
    whole = ls.BenchmarkLaws(small, scaling=tables.MAIN).fit(cov_type="none", ridge=1e-3)
    one = ls.BenchmarkLaws(tables.panel(small.to_frame(), ["c"]), scaling=tables.MAIN).fit(cov_type="none", ridge=1e-3)
    assert_allclose(one.slopes["c"], whole.slopes["c"], rtol=1e-6)
    assert [len(piece.rows) for piece in law_pieces(whole.model)] == list(np.sum(~np.isnan(whole.model.y), axis=0))


@pytest.mark.slow
def test_error_falls_as_families_are_added():
    errors = []
    for n_families in (15, 150):
        worst = []
        for seed in range(3):
            table, mean, _ = tables.simulated(n_families, 0.02, seed=seed)
            model = ls.SlothModel(tables.panel(table), scaling=tables.MAIN, n_skills=2)
            fit = model.fit(starts=2, cov_type="none", ridge=0.0)
            theta = tables.simulated(n_families, 0.02, seed=seed)[2]
            wanted = theta.slopes @ theta.loadings.T
            worst.append(np.abs(fit.slopes.to_numpy() @ fit.loadings.to_numpy().T - wanted).mean())
            assert np.abs(fit.predict().to_numpy() - mean).mean() < 0.02
        errors.append(np.mean(worst))
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("link", ["logistic", "monotone"])
def test_exact_scores_are_recovered(link):
    table, mean, _ = tables.simulated(12, 0.0, seed=4)
    model = ls.SlothModel(tables.panel(table), scaling=tables.MAIN, n_skills=2, link=link)
    fit = model.fit(starts=3, cov_type="none", ridge=0.0)
    assert fit.loss < 1e-6
    assert_allclose(fit.predict(), mean, atol=2e-3)


def test_one_skill_and_as_many_as_benchmarks(small):
    losses = []
    for k in (1, 2, 6):
        fit = ls.SlothModel(small, scaling=tables.MAIN, n_skills=k).fit(starts=4, cov_type="none", ridge=1e-4)
        assert fit.predict().notna().all(axis=None)
        losses.append(fit.loss)
    assert losses[0] > losses[1] > losses[2]
    laws = ls.BenchmarkLaws(small, scaling=tables.MAIN).fit(cov_type="none", ridge=1e-4)
    assert_allclose(losses[2], laws.loss, rtol=0.2)  # as many skills as benchmarks can be laws; the ridges differ


def test_starts_do_not_depend_on_n_jobs(small):
    model = ls.SlothModel(small, scaling=tables.MAIN, n_skills=2)
    one, two = (model.fit(starts=5, seed=7, n_jobs=jobs, cov_type="none", ridge=1e-3) for jobs in (1, 2))
    assert_array_equal(one.estimate.loadings, two.estimate.loadings)
    assert_array_equal(one.starts.to_numpy(), two.starts.to_numpy())
    assert list(one.starts["kind"]) == start_kinds(5)
    other = model.fit(starts=5, seed=8, cov_type="none", ridge=1e-3)
    assert other.starts["iterations"].tolist() != one.starts["iterations"].tolist()


def test_positive_slopes_are_a_constrained_minimum(small):
    table = small.to_frame()
    table["a"] = (1.2 - table["a"]).clip(0.0, 1.0)  # a benchmark that falls with size
    panel = tables.panel(table)
    for families in (True, False):
        options = {"scaling": tables.MAIN, "n_skills": 1, "family_intercepts": families}
        free = ls.SlothModel(panel, **options).fit(cov_type="none", ridge=1e-3)
        held = ls.SlothModel(panel, positive_slopes=True, **options).fit(ridge=1e-3)
        assert (held.slopes.to_numpy() >= 0.0).all()
        assert held.loss >= free.loss - 1e-5
        piece = held.estimate.pieces[0]
        a, b = piece.objective.sizes
        gradient, slopes = piece.objective.gradient(piece.vector, 0.01), piece.vector[a : a + b]
        at_zero = slopes == 0.0
        assert (gradient[a : a + b][at_zero] >= 0.0).all()
        gradient[a : a + b][at_zero] = 0.0
        assert np.abs(gradient).max() < 1e-5
    law = ls.BenchmarkLaws(panel, scaling=tables.MAIN, positive_slopes=True).fit(cov_type="none", ridge=1e-3)
    assert (law.slopes.to_numpy() >= 0.0).all()
    assert (law.slopes["a"] == 0.0).any()


def test_no_minimum_is_found_named_and_mended():
    table, _, _ = tables.simulated(12, 0.01, seed=3)
    table.loc[table["family"] == "family03", "b"] = 0.0
    panel = tables.panel(table)
    with pytest.warns(ls.ConvergenceWarning, match=r"no minimum.*family03 on b.*ridge of weight"):
        laws = ls.BenchmarkLaws(panel, scaling=tables.MAIN).fit(cov_type="none")
    assert laws.converged
    assert laws.ridge > 0.0
    assert laws.estimate.runaway == (("family03", "b"),)
    with pytest.warns(ls.ConvergenceWarning, match="family03 on b"):
        bare = ls.BenchmarkLaws(panel, scaling=tables.MAIN).fit(cov_type="none", ridge=0.0)
    assert not bare.converged
    assert bare.ridge == 0.0
    assert bare.loss <= laws.loss <= 1.02 * bare.loss
    with warnings.catch_warnings():
        warnings.simplefilter("error", ls.ConvergenceWarning)
        forced = ls.BenchmarkLaws(panel, scaling=tables.MAIN).fit(cov_type="none", ridge=0.01)
        fine = ls.SlothModel(tables.panel(tables.simulated(12, 0.01, seed=3)[0]), scaling=tables.MAIN, n_skills=2)
        assert fine.fit(starts=2, cov_type="none").ridge == 0.0
    assert forced.ridge == 0.01


def test_weak_ridges_change_little_and_in_order(small):
    model = ls.SlothModel(small, scaling=tables.MAIN, n_skills=2)
    fits = [model.fit(starts=3, cov_type="none", ridge=ridge) for ridge in (1e-4, 1e-3, 1e-2, 1e-1)]
    losses = [fit.loss for fit in fits]
    assert losses == sorted(losses)
    assert losses[1] < 1.01 * losses[0]


@pytest.mark.parametrize("option", [
    {"delta": 0.0}, {"delta": 2.0}, {"starts": 0}, {"starts": 2.5}, {"seed": -1}, {"cov_type": "hac"}, {"ridge": -1.0},
    {"link_sd": 0.0}, {"ridge": "auto"},
])  # fmt: skip
def test_options_that_make_no_sense(small, option):
    with pytest.raises(ls.DataError, match=next(iter(option))):
        ls.SlothModel(small, scaling=tables.MAIN, n_skills=1).fit(**option)


def test_a_descent_ends_where_it_started_if_that_is_a_minimum(small):
    model = ls.SlothModel(small, scaling=tables.MAIN, n_skills=1)
    piece = fit_sloth(model, starts=1, ridge=1e-3).pieces[0]
    again, _ = descend(piece.objective, piece.vector, 0.01, 1e-9, 50)
    assert again.converged
    assert_allclose(again.vector, piece.vector, atol=1e-4)
    worse = replace(piece.objective, penalty=0.0 * piece.objective.penalty)
    assert worse.value(piece.vector, 0.01) < piece.objective.value(piece.vector, 0.01)
