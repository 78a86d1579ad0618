"""Sandwich, outer product, and covariances that follow a change of parameters."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg

import latentscale as ls
from latentscale.estimation.refit import refit
from latentscale.likelihood.family_scores import (
    _difference_information,
    family_information,
    family_loglikes,
    family_scores,
)
from latentscale.models.resampling import resampled
from latentscale.numerics.differences import jacobian
from latentscale.parameters.restrictions import natural_vector


@pytest.mark.slow
@pytest.mark.parametrize("integration", ["laplace", "quadrature", "monte_carlo"])
def test_scores_and_information_of_families(forty_fit, integration):
    fit = forty_fit.model.fit(integration=integration, starts=1, points=5, draws=32, tolerance=1e-3)
    objective, u, rule = fit.model.objective, fit.estimate.coordinates, fit.estimate.rule
    scores = family_scores(objective, u, rule)
    assert_allclose(family_loglikes(objective, u, rule).sum(), fit.llf, rtol=1e-10)
    assert_allclose(scores.sum(axis=0), fit.estimate.gradient, atol=1e-7)
    wanted = jacobian(lambda point: family_loglikes(objective, point, rule), u, np.full(len(u), 1e-3))
    assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)
    information = family_information(objective, u, rule)
    # at the optimum the two parametrisations' Hessians agree but for terms in the gradient, which is about zero
    assert_allclose(information.sum(axis=0), fit.estimate.information, rtol=1e-3, atol=1e-3 * np.abs(information).max())


@pytest.mark.slow
@pytest.mark.parametrize("restricted", [False, True])
def test_closed_form_of_families_is_that_of_differences(forty_fit, restricted):
    fit = forty_fit
    if restricted:
        slope = next(name for name in fit.model.param_names if name.startswith("slope["))
        fit = fit.model.fit(integration="laplace", starts=1, constraints=f"{slope} = 0.4")
    objective, v = fit.estimate.objective(fit.model), fit.estimate.coordinates
    # away from the optimum too, where single families and their sum have scores
    for point in (v, v + 0.02):
        wanted = _difference_information(objective, point, objective.modes(point))
        ours = family_information(objective, point, fit.estimate.rule)
        assert_allclose(ours, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


def test_sandwich_is_its_formula(forty_fit):
    objective, u, rule = forty_fit.model.objective, forty_fit.estimate.coordinates, forty_fit.estimate.rule
    scores, observed = family_scores(objective, u, rule), forty_fit.observed
    bread = observed.jacobian @ observed.free
    meat = scores.T @ scores
    plain = _quiet(forty_fit, correction="none").cov_params().to_numpy()
    assert_allclose(plain, bread @ meat @ bread.T, rtol=1e-9, atol=1e-12)
    scaled = _quiet(forty_fit, correction="df").cov_params().to_numpy()
    assert_allclose(scaled, plain * 40.0 / 39.0, rtol=1e-9)
    leverage, jackknife = _quiet(forty_fit).bse, _quiet(forty_fit, correction="jackknife").bse
    assert (leverage > np.sqrt(np.diag(plain))).all()
    assert (jackknife > leverage).all()
    # (I - H V)^-1/2 by another route: a general matrix square root
    information = family_information(objective, u, rule)
    roots = [linalg.sqrtm(np.eye(len(u)) - own @ observed.free).real for own in information]
    moves = [np.linalg.solve(root, score) for root, score in zip(roots, scores, strict=True)]
    carried = np.array(moves) @ bread.T
    assert_allclose(leverage, np.sqrt(np.sum(carried**2, axis=0)), rtol=1e-6)


def _quiet(fit, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few families, which another test expects
        return fit.get_robust("cluster", **options)


def test_jackknife_correction_is_the_jackknife_over_families(forty_fit):
    """Leaving each family out and fitting again gives nearly the same standard errors."""
    model, estimate = forty_fit.model, forty_fit.estimate
    everyone = np.arange(model.n_families)
    estimates = []
    for left_out in everyone:
        smaller = resampled(model, everyone[everyone != left_out])
        end = refit(smaller.objective, estimate.rule, estimate.free, estimate.information)
        assert end.converged
        estimates.append(natural_vector(smaller.space, smaller.recoding, end.free))
    moves = np.array(estimates) - forty_fit.params.to_numpy()
    count = len(everyone)
    wanted = np.sqrt((count - 1.0) / count * (moves**2).sum(axis=0))
    ratio = _quiet(forty_fit, correction="jackknife").bse / wanted
    # one Newton step instead of a fit overshoots for the families that matter most
    assert 0.95 < ratio.median() < 1.15
    slopes = ratio[ratio.index.str.startswith("slope[")]
    assert slopes.between(0.9, 1.35).all()


def test_few_families_are_warned_of_and_options_checked(forty_fit):
    with pytest.warns(UserWarning, match="rests on 40 families"):
        robust = forty_fit.get_robust()
    assert robust.cov_type == "cluster"
    assert forty_fit.cov_type == "observed"
    assert_allclose(robust.params, forty_fit.params)
    assert "sandwich clustered by 40 families" in str(robust.summary())
    for kind, options in [("cluster", {"correction": "all"}), ("sandwich", {}), ("observed", {"correction": "df"})]:
        with pytest.raises(ls.DataError):
            forty_fit.get_robust(kind, **options)
    assert forty_fit.get_robust("none").bse.isna().all()


def test_outer_product_needs_more_families_than_parameters(forty, forty_fit):
    one_skill = ls.LatentSkillModel(forty, "log(params_b)", ls.Anchored({"first": "a"}))
    small = one_skill.fit(integration="laplace", starts=1)
    opg = small.get_robust("opg")
    ratio = opg.bse / small.bse
    assert 0.7 < ratio.median() < 1.4
    scores = family_scores(small.model.objective, small.estimate.coordinates, small.estimate.rule)
    carried = small.observed.jacobian
    assert_allclose(opg.cov_params(), carried @ np.linalg.inv(scores.T @ scores) @ carried.T, rtol=1e-6, atol=1e-12)
    few = forty.subset(forty.families.isin([f"f{number:02d}" for number in range(20)]).to_numpy())
    fit = ls.LatentSkillModel(few, skills=forty_fit.model.form).fit(integration="laplace", starts=1)
    with pytest.raises(ls.DataError, match="more families than parameters"):
        fit.get_robust("opg")


@pytest.mark.slow
def test_fit_with_a_robust_covariance_and_its_file(forty_fit, tmp_path):
    with pytest.warns(UserWarning, match="families"):
        fit = forty_fit.model.fit(
            integration="laplace", starts=1, cov_type="cluster", constraints="corr[first,second] = 0.5"
        )
    assert fit.cov_type == "cluster"
    assert fit.bse["corr[first,second]"] < 1e-12
    fit.save(tmp_path / "fit")
    again = ls.load(tmp_path / "fit")
    assert again.cov_type == "cluster"
    assert again.df_model == fit.df_model
    assert again.estimate.restriction.labels == fit.estimate.restriction.labels
    assert_allclose(again.cov_params(), fit.cov_params(), rtol=0.0)
    assert_allclose(again.observed.matrix, fit.observed.matrix, rtol=1e-12)


def test_covariance_of_rescaled_covariates_is_the_delta_transform(forty, forty_fit):
    """Sizes in millions, tokens in billions: the covariance follows by the exact derivative of the change."""
    table = forty.to_frame().assign(params_b=lambda t: 1e3 * t["params_b"], tokens_t=lambda t: 1e3 * t["tokens_t"])
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})
    other = ls.LatentSkillModel(panel, skills=forty_fit.model.form)
    exact = {"integration": "laplace", "starts": 0, "tolerance": 1e-9}
    before = forty_fit.model.fit(**exact, start_params=forty_fit.params)
    shift, table_of = np.log(1000.0), forty_fit.model.table

    def change(params):
        """Natural parameters in the new units."""
        structure = table_of.structure(params)
        old = structure.slopes
        new = np.array([old[0] - shift * old[2], old[1] - shift * old[2], old[2]])
        intercepts = structure.intercepts - structure.loadings @ (shift * new[0] + shift * new[1] + shift**2 * new[2])
        return table_of.natural(replace(structure, slopes=new, intercepts=intercepts))

    params = before.params.to_numpy()
    fit = other.fit(**exact, start_params=change(params))
    derivative = jacobian(change, params, 1e-3 * np.maximum(0.1, np.abs(params)))
    wanted = derivative @ before.cov_params().to_numpy() @ derivative.T
    scale = np.sqrt(np.diag(wanted))
    assert_allclose(fit.cov_params() / np.outer(scale, scale), wanted / np.outer(scale, scale), atol=1e-6)
