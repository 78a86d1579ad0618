"""The chi-bar-square law of variances on their boundary."""

import numpy as np
from numpy.testing import assert_allclose
from scipy import stats

from latentscale.components.random_effects import absent_effects
from latentscale.inference.chi_bar_squared import (
    chi_bar_sf,
    chi_bar_weights,
    observed_variance_score,
    one_sided_statistic,
    variance_scores,
)


def test_one_and_independent_variances_are_binomial():
    assert_allclose(chi_bar_weights(np.array([[3.0]])), [0.5, 0.5])
    assert_allclose(chi_bar_weights(np.diag([2.0, 5.0])), [0.25, 0.5, 0.25])
    # 20,000 draws: three standard errors are .011
    assert_allclose(chi_bar_weights(np.diag([1.0, 4.0, 9.0])), [0.125, 0.375, 0.375, 0.125], atol=0.011)


def test_two_dependent_variances_by_projection():
    """The closed form for two agrees with projecting on the quadrant by hand."""
    information = np.array([[1.0, 0.6], [0.6, 2.0]])
    z = np.random.default_rng(1).multivariate_normal(np.zeros(2), np.linalg.inv(information), 40_000)
    inside = np.all(z > 0, axis=1).mean()
    dual = np.all(z @ information < 0, axis=1).mean()
    assert_allclose(chi_bar_weights(information), [dual, 1.0 - inside - dual, inside], atol=0.01)


def test_tail_probability_mixes_chi_squares():
    weights = np.array([0.25, 0.5, 0.25])
    wanted = 0.5 * stats.chi2.sf(3.0, 1) + 0.25 * stats.chi2.sf(3.0, 2)
    assert_allclose(chi_bar_sf(3.0, weights), wanted, rtol=1e-12)
    assert chi_bar_sf(0.0, weights) == 1.0
    shifted = 0.25 * stats.chi2.sf(3.0, 1) + 0.5 * stats.chi2.sf(3.0, 2) + 0.25 * stats.chi2.sf(3.0, 3)
    assert_allclose(chi_bar_sf(3.0, weights, 1), shifted, rtol=1e-12)


def test_one_sided_statistic_counts_only_what_points_to_positive_variances():
    information = np.array([[2.0, 0.5], [0.5, 1.0]])
    inside = information @ np.array([0.3, 0.4])  # its estimate has both variances positive
    assert_allclose(one_sided_statistic(inside, information), inside @ np.linalg.solve(information, inside))
    assert one_sided_statistic(-inside, information) < 1e-12
    rng = np.random.default_rng(0)
    draws = rng.multivariate_normal(np.zeros(2), information, 20_000)
    values = [one_sided_statistic(draw, information) for draw in draws]
    # under normal scores the law is chi-bar-square; three standard errors of a tail of five percent are .005
    weights = chi_bar_weights(information)
    for point in (1.0, 3.0, 5.0):
        assert_allclose(np.mean(np.array(values) > point), chi_bar_sf(point, weights), atol=0.01)


def test_simulated_scores_of_variances(forty_fit):
    larger = forty_fit.model.with_random_slopes(["log(params_b)"])
    params, table = forty_fit.params.to_numpy(), forty_fit.model.table
    absent = absent_effects(forty_fit.model.effects, larger.effects)
    assert [one.names for one in absent] == [["log(params_b)"]]
    scores = variance_scores(larger, table, params, absent, tables=40)
    again = variance_scores(larger, table, params, absent, tables=40)
    assert_allclose(scores.simulated, again.simulated)
    assert scores.simulated.shape == (40, 2)
    # a table's total score has mean zero (but for Laplace's error) and the information as its covariance
    sd = np.sqrt(np.diag(scores.information))
    assert (np.abs(scores.simulated.mean(axis=0)) < 3.5 * sd / np.sqrt(40)).all()
    assert_allclose(scores.simulated.std(axis=0), sd, rtol=0.5)
    # the fit's own parameters have no score left, so that nothing is taken out of the variances' score
    observed = observed_variance_score(larger, table, params, absent, scores)
    signed = larger.score(np.append(params, [0.01, 0.01]), "laplace")
    assert_allclose(observed, signed.iloc[-2:] / 0.02, rtol=0.05, atol=0.05 * sd.max())
