"""Sandwich covariance of Sloth: its parts, its invariance, its coverage."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import sloth_tables as tables
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.numerics.differences import jacobian
from latentscale.numerics.rotation import follow
from latentscale.sloth.covariance import (
    _jacobian,
    cell_jacobian,
    curvature_and_noise,
    sloth_covariance,
)
from latentscale.sloth.degrees_of_freedom import free_parameters, skill_freedom
from latentscale.sloth.fit import SlothEstimate, Solution, _assembled
from latentscale.sloth.reported_skills import (
    ReportedSkills,
    _recoded,
    _rotated_arrays,
    fitted_arrays,
    report_parameters,
    report_values,
    rotated_report,
    skill_root,
)

OPTIONS = [
    {},
    {"family_intercepts": False},
    {"link": "monotone", "asymptotes": "both"},
    {"link": "monotone", "family_intercepts": False},
    {"asymptotes": "lower"},
]


def fitted(seed=0, n_families=20, **options):
    panel = tables.panel(tables.simulated(n_families, 0.02, seed=seed, missing=0.1)[0])
    model = ls.SlothModel(panel, scaling=tables.MAIN, n_skills=2, **options)
    return model.fit(starts=2, cov_type="none", ridge=1e-3).rotate("geomin", starts=10)


def moved(fit, vector):
    """The estimate at another point of the optimiser's coordinates."""
    piece = replace(fit.estimate.pieces[0], vector=vector)

    class End:
        loss = value = gradient = 0.0
        converged = True

    return _assembled(fit.model, [Solution(piece, End, (), 0.0, None, 0)], fit.estimate.options, 0.0)


def reported(fit, vector):
    """The reported parameters there, on the branch of the rotation of the fit."""
    estimate = moved(fit, vector)
    parts = fitted_arrays(estimate)
    mean, root = skill_root(fit.model, parts)
    rotation = follow(parts.loadings @ root, fit.report.rotation)
    return report_values(fit.model, _rotated_arrays(parts, mean, root, rotation, fit.report.signs))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_derivative_of_the_report(options):
    fit = fitted(**options)
    vector = fit.estimate.pieces[0].vector
    assert_allclose(reported(fit, vector), fit.params, rtol=1e-8, atol=1e-10)
    numeric = jacobian(lambda v: reported(fit, v), vector, np.full(len(vector), 1e-4))
    exact = _jacobian(fit.model, fit.estimate, fit.report)
    assert_allclose(exact, numeric, atol=2e-7 * np.abs(numeric).max())


def test_derivative_of_a_report_without_rotation():
    panel = tables.panel(tables.simulated(15, 0.02)[0])
    fit = ls.SlothModel(panel, scaling=tables.MAIN, n_skills=2, positive_slopes=True).fit(starts=2, ridge=1e-3)
    vector = fit.estimate.pieces[0].vector

    def values(v):
        parts = fitted_arrays(moved(fit, v))
        theta = fit.model.design.x @ parts.slopes + parts.effects[fit.model.family_codes]
        sd = theta.std(axis=0)
        scaled = _recoded(parts, theta.mean(axis=0), np.diag(1.0 / sd), np.diag(sd))
        return report_values(fit.model, replace(scaled, corr=np.corrcoef(theta.T)))

    numeric = jacobian(values, vector, np.full(len(vector), 1e-4))
    assert_allclose(_jacobian(fit.model, fit.estimate, fit.report), numeric, atol=1e-7 * np.abs(numeric).max())


@pytest.mark.parametrize("families", [True, False])
def test_derivative_of_laws(families):
    panel = tables.panel(tables.simulated(8, 0.02)[0])
    fit = ls.BenchmarkLaws(panel, scaling=tables.MAIN, family_intercepts=families).fit(ridge=1e-3, cov_type="llm")
    pieces = fit.estimate.pieces

    def values(v):
        parts = np.split(v, np.cumsum([len(piece.vector) for piece in pieces])[:-1])

        class End:
            loss = value = gradient = 0.0
            converged = True

        solved = [
            Solution(replace(piece, vector=part), End, (), 0.0, fit.starts.loc[name], 0)
            for name, piece, part in zip(fit.model.benchmarks, pieces, parts, strict=True)
        ]
        return report_values(fit.model, fitted_arrays(_assembled(fit.model, solved, fit.estimate.options, 0.0)))

    vector = np.concatenate([piece.vector for piece in pieces])
    numeric = jacobian(values, vector, np.full(len(vector), 1e-3))
    held = np.concatenate([np.r_[np.zeros(p.objective.sizes[0], bool), p.objective.held] for p in pieces])
    exact = _jacobian(fit.model, fit.estimate, fit.report)
    assert_allclose(exact[:, ~held], numeric[:, ~held], atol=1e-8)
    assert (fit.bse > 0.0).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_expected_hessian_and_freedom(options):
    """H is the sum over cells of their Jacobians' squares, and vanishes along the freedom of skills."""
    fit = fitted(**options)
    piece = fit.estimate.pieces[0]
    objective = replace(piece.objective, penalty=0.0 * piece.objective.penalty)
    vector, a = piece.vector, objective.sizes[0]
    freedom = skill_freedom(objective, vector)
    assert np.linalg.matrix_rank(freedom) == freedom.shape[1] == (6 if objective.n_families else 4)
    eta = lambda v: objective.predictor(v)[0].ravel()  # noqa: E731
    by_eta = jacobian(eta, vector, np.full(len(vector), 1e-3))
    assert_allclose(by_eta @ freedom, 0.0, atol=1e-9)
    curves = objective.response.cells(*objective.predictor(vector))
    mean = lambda v: objective.response.mean(*objective.predictor(v)).ravel()  # noqa: E731
    by_mean = jacobian(mean, vector, np.full(len(vector), 1e-4))
    cells = cell_jacobian(objective, vector, curves)
    assert_allclose(cells.reshape(-1, cells.shape[2]), by_mean[:, a:], atol=1e-9)
    kappa, noise = curvature_and_noise(objective, vector, 0.01, free_parameters(objective, vector))
    assert (kappa > 0.0).all()
    assert (noise <= 1.0).all()
    weight = objective.weight * kappa
    family, cross, shared = objective.second(vector, curves, 0.0 * weight, weight)
    whole = by_mean.T @ (weight.ravel()[:, None] * by_mean)
    assert_allclose(shared, whole[a:, a:], atol=1e-8 * np.abs(whole).max())
    assert_allclose(cross.reshape(a, len(shared)), whole[:a, a:], atol=1e-8 * np.abs(whole).max())
    for number, block in enumerate(family):
        rows = slice(2 * number, 2 * number + 2)
        assert_allclose(block, whole[rows, rows], atol=1e-8 * np.abs(whole).max())
    assert free_parameters(objective, vector) == len(vector) - freedom.shape[1]


@pytest.mark.parametrize("families", [True, False])
def test_covariance_does_not_depend_on_the_axes_of_the_fit(families):
    fit = fitted(family_intercepts=families)
    piece = fit.estimate.pieces[0]
    bare = replace(piece, objective=replace(piece.objective, penalty=0.0 * piece.objective.penalty))
    objective = bare.objective
    effects, slopes, rows = objective.split(piece.vector)
    turn, shift = np.array([[1.3, 0.4], [-0.5, 0.8]]), np.array([0.3, -0.2])
    rows = rows.copy()
    rows[:, :2] = rows[:, :2] @ np.linalg.inv(turn).T
    if families:
        rows[:, 2] -= rows[:, :2] @ shift
        effects = effects @ turn + shift
    other = objective.join(effects, slopes @ turn, rows)
    assert_allclose(objective.value(other, 0.01), objective.value(piece.vector, 0.01), rtol=1e-10)
    matrices = []
    for vector in (piece.vector, other):
        estimate = replace(moved(fit, vector), pieces=(replace(bare, vector=vector),))
        report = rotated_report(fit.model, estimate, "geomin", starts=10)
        matrices.append(sloth_covariance(fit.model, estimate, report, "cluster").matrix)
        assert_allclose(report_values(fit.model, report.arrays), fit.params, rtol=1e-6, atol=1e-8)
    assert_allclose(matrices[0], matrices[1], atol=1e-6 * np.abs(matrices[0]).max())


def test_families_of_one_llm_make_the_two_sandwiches_one():
    table = tables.simulated(30, 0.02)[0]
    table["family"] = table["model"]
    model = ls.SlothModel(tables.panel(table), scaling=tables.MAIN, n_skills=1, family_intercepts=False)
    fit = model.fit(starts=1)
    assert_allclose(fit.cov_params(), fit.get_robust("llm").cov_params(), rtol=1e-12)
    assert fit.get_robust("none").bse.isna().all()


def test_what_no_score_informs_has_no_standard_error():
    """A family whose scores all lie at an asymptote, without a ridge: its intercept has none, slopes do."""
    table = tables.simulated(15, 0.01, seed=3)[0]
    table.loc[table["family"] == "family03", "b"] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.ConvergenceWarning)
        fit = ls.BenchmarkLaws(tables.panel(table), scaling=tables.MAIN).fit(ridge=0.0)
    assert fit.bse["slope[log(params_b),b]"] > 0.0
    ratio = fit.bse["family[family03,b]"] / fit.bse["family[family04,b]"]
    assert np.isnan(ratio) or ratio > 50.0


@pytest.mark.study
def test_coverage_of_slopes_and_loadings():
    """Intervals of 95% cover slopes of rotated skills in 90% to 98% of tables of 60 families."""
    draws, hits, names = 60, [], None
    design = tables.simulated(60, 0.0, seed=11, least=2)
    table, mean, truth = design
    rng = np.random.default_rng(5)
    wanted = None
    for _ in range(draws):
        y = np.clip(mean + rng.laplace(0.0, 0.02, mean.shape), 0.001, 0.999)
        noisy = table.assign(**dict(zip(tables.CHANCE, y.T, strict=True)))
        model = ls.SlothModel(tables.panel(noisy), scaling=tables.MAIN, n_skills=2)
        fit = model.fit(starts=1).rotate("geomin", starts=4)
        if wanted is None:
            exact = SlothEstimate(
                truth.effects, truth.slopes, truth.loadings, truth.intercepts, np.zeros((6, 0)), 0.0, 0.0, 0.0, True,
                (), 0.0, False, None, (), {}, 0,
            )  # fmt: skip
            report = rotated_report(model, exact, "geomin", starts=20)
            assert isinstance(report, ReportedSkills)
            wanted, names = report_values(model, report.arrays), np.array(report_parameters(model, report).names)
        interval = fit.conf_int().to_numpy()
        hits.append((interval[:, 0] <= wanted) & (wanted <= interval[:, 1]))
    share = np.mean(hits, axis=0)
    word = np.array([name.partition("[")[0] for name in names])
    assert 0.90 <= share[word == "slope"].mean() <= 0.98
    assert 0.90 <= share[word == "loading"].mean() <= 0.98
    assert 0.88 <= share[word == "family"].mean() <= 0.98
