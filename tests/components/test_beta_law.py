"""The beta law of a score, with and without outliers, against scipy's and against its own mixture."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import latentscale as ls
from latentscale.components.beta_law import OUTLIER_PRECISION, Beta

MU, PHI, Y = np.array([0.1, 0.3, 0.8]), np.array([50.0, 4.0, 20.0]), np.array([0.12, 0.05, 0.6])
LAWS = [Beta(), Beta(0.2)]


def parts(law):
    """(share, scipy's law) of each part."""
    shares = [1.0 - law.outliers, law.outliers]
    precisions = [PHI, OUTLIER_PRECISION * PHI]
    return [(s, stats.beta(MU * phi, (1.0 - MU) * phi)) for s, phi in zip(shares, precisions, strict=True)]


@pytest.mark.parametrize("law", LAWS, ids=str)
class TestFunctionsOfTheLaw:
    def test_moments(self, law):
        assert_array_equal(law.mean(MU, PHI), MU)
        second = sum(share * (one.var() + one.mean() ** 2) for share, one in parts(law))
        assert_allclose(law.variance(MU, 1.0 - MU, PHI), second - MU**2, rtol=1e-12)

    def test_distribution_function_tails_and_quantiles(self, law):
        want = sum(share * one.cdf(Y) for share, one in parts(law))
        assert_allclose(law.cdf(Y, MU, PHI), want, rtol=1e-12)
        below, above = law.log_tails(MU, 1.0 - MU, PHI, law.data(Y))
        assert_allclose(np.exp(below), want, rtol=1e-12)
        assert_allclose(np.exp(above), 1.0 - want, rtol=1e-12)
        # the score itself to the 1e-15 that halving [0, 1] leaves, over the smallest score here
        assert_allclose(law.quantile(want, MU, PHI), Y, rtol=1e-12)

    def test_densities(self, law):
        want = np.log(sum(share * one.pdf(Y[:, None]) for share, one in parts(law)))
        assert_allclose(law.log_density_table(Y, MU, PHI), want, rtol=1e-11)
        kept = tuple(column[:, None] for column in law.data(Y))
        columns = MU[:, None], 1.0 - MU[:, None], PHI[:, None], law.at_precision(PHI[:, None])
        assert_allclose(law.terms(*columns, kept, 0).f[:, 0], np.diag(want), rtol=1e-11)

    def test_draws_have_the_law(self, law):
        shape = (40_000, 3)
        drawn = law.draw(np.random.default_rng(1), np.broadcast_to(MU, shape), PHI)
        sizes = law.cdf(drawn, MU, PHI)
        assert min(stats.kstest(column, "uniform").pvalue for column in sizes.T) > 1e-3

    def test_choices_may_be_given(self, law):
        choice = np.array([0.0, 0.5, 0.1])
        found = law.draw(np.random.default_rng(2), MU, PHI, choice)
        phi = np.where(choice < law.outliers, OUTLIER_PRECISION, 1.0) * PHI
        assert_array_equal(found, np.random.default_rng(2).beta(MU * phi, (1.0 - MU) * phi))

    def test_scores_come_back(self, law):
        assert_allclose(law.scores(law.data(Y)), Y, rtol=1e-14)


def test_the_precision_of_moments():
    rng = np.random.default_rng(3)
    mu = rng.uniform(0.2, 0.8, 20_000)
    # four standard errors of a variance, 2 / n relative, of a law without heavy tails
    assert_allclose(Beta().moment_precision(rng.beta(30.0 * mu, 30.0 * (1.0 - mu)), mu), 30.0, rtol=0.05)
    assert Beta().moment_precision(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == 2.0


def test_policies_that_a_law_does_not_allow_are_refused():
    class Strict(Beta):
        name = "strict"
        boundaries = ("error",)

    Beta().check_boundary("squeeze")
    with pytest.raises(ls.DataError, match="strict law of scores does not allow boundary='censor'"):
        Strict().check_boundary("censor")
