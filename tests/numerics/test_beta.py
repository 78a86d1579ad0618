"""The beta law: values against scipy, derivatives against differences and against autograd."""

import numpy as np
import pytest
from autograd import elementwise_grad
from autograd.scipy.special import gammaln
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, stats

from latentscale.numerics.beta import log_density_terms, log_tail_terms
from latentscale.numerics.log_gamma import gamma_derivatives

# each derivative, the one it is a derivative of, and the variable
CHAIN = [("m", "f", "mu"), ("p", "f", "phi"), ("mm", "m", "mu"), ("mp", "m", "phi"), ("pp", "p", "phi")]
CHAIN += [("mmm", "mm", "mu"), ("mmp", "mm", "phi")]


@pytest.fixture(scope="module")
def points():
    """Means from 1e-6 to 1 - 1e-6 and precisions from 0.02 to 3e5; scores within some deviations."""
    rng = np.random.default_rng(0)
    mu = 1.0 / (1.0 + np.exp(-rng.uniform(-13.0, 13.0, (400, 1))))
    phi = np.exp(rng.uniform(-4.0, 12.5, (400, 1)))
    mu, phi = np.vstack([mu, rng.uniform(0.2, 0.8, (100, 1))]), np.vstack([phi, phi[:100]])
    sd = np.sqrt(mu * (1.0 - mu) / (1.0 + phi))
    y = np.clip(mu + sd * rng.standard_normal(mu.shape), 1e-4, 1.0 - 1e-4)
    return mu, phi, y


@pytest.fixture(scope="module")
def tail_points():
    """Both tails at several edges; small and large shapes."""
    rng = np.random.default_rng(1)
    mu = 1.0 / (1.0 + np.exp(-rng.uniform(-8.0, 8.0, (200, 1))))
    phi = np.exp(rng.uniform(-3.0, 7.0, (200, 1)))
    edge = rng.choice([5e-7, 5e-4, 5e-3, 0.05, 0.5], (200, 1))
    return mu, phi, edge, rng.random((200, 1)) < 0.5


def density(mu, phi, y, order):
    return log_density_terms(mu, 1.0 - mu, phi, gamma_derivatives(phi, 2), np.log(y), np.log1p(-y), order)


def tail(mu, phi, edge, upper, order):
    return log_tail_terms(mu, 1.0 - mu, phi, edge, upper, order)


def check_chain(slope, function, mu, phi, noise):
    """Every derivative against differences of the one below it, elementwise."""
    exact = function(mu, phi)._asdict()
    for name, below, variable in CHAIN:
        # the digamma functions vary on the scale of mu, 1 - mu and phi themselves
        step = 2e-3 * (np.minimum(mu, 1.0 - mu) if variable == "mu" else phi)

        def lower(x, below=below, variable=variable):
            return getattr(function(*((x, phi) if variable == "mu" else (mu, x))), below)

        got = slope(lower, mu if variable == "mu" else phi, step)
        # truncation, 2e-11 times derivatives of order five; and rounding of what is differenced, over the step
        bound = 1e-7 * np.abs(exact[name]) + noise * (1.0 + np.abs(exact[below])) / step
        excess = np.abs(got - exact[name]) / bound
        assert np.all(excess < 1.0), (name, float(excess.max()))


class TestDensity:
    def test_values(self, points):
        mu, phi, y = points
        # scipy and ours both subtract log-gammas of the size of phi log phi
        error = np.abs(density(mu, phi, y, 0).f - stats.beta.logpdf(y, mu * phi, (1.0 - mu) * phi))
        assert np.all(error < 1e-12 + 1e-14 * phi * (1.0 + np.abs(np.log(phi))))

    def test_derivatives_are_those_of_differences(self, points, slope):
        mu, phi, y = points
        check_chain(slope, lambda m, p: density(m, p, y, 3), mu, phi, noise=2e-13 * (1.0 + phi * np.log1p(phi)))

    def test_derivatives_are_those_of_autograd(self, points):
        mu, phi, y = (array[400:] for array in points)

        def f(m, p):
            a, b = m * p, (1.0 - m) * p
            return gammaln(p) - gammaln(a) - gammaln(b) + (a - 1) * np.log(y) + (b - 1) * np.log1p(-y)

        exact = density(mu, phi, y, 3)._asdict()
        by_autograd = {
            "m": elementwise_grad(f, 0),
            "p": elementwise_grad(f, 1),
            "mm": elementwise_grad(elementwise_grad(f, 0), 0),
            "mp": elementwise_grad(elementwise_grad(f, 0), 1),
            "pp": elementwise_grad(elementwise_grad(f, 1), 1),
            "mmm": elementwise_grad(elementwise_grad(elementwise_grad(f, 0), 0), 0),
            "mmp": elementwise_grad(elementwise_grad(elementwise_grad(f, 0), 0), 1),
        }
        for name, function in by_autograd.items():
            # rounding, against the sizes of the trigamma terms that cancel in pp at large phi
            atol = {"m": 1e-11 * phi, "mm": 1e-11 * phi**2, "mmm": 1e-11 * phi**3}.get(name, 1e-11)
            error = np.abs(exact[name] - function(mu, phi))
            assert np.all(error < 1e-10 * np.abs(exact[name]) + atol), name

    def test_far_scores_and_means_are_finite(self):
        mu = np.array([[1e-310, 1e-12, 1.0 - 1e-16]])
        nu = np.array([[1.0, 1.0, 1e-300]])
        phi, y = np.full((1, 1), 1e3), np.full((1, 1), 0.5)
        at_phi = gamma_derivatives(phi, 2)
        terms = log_density_terms(mu, nu, phi, at_phi, np.log(y), np.log1p(-y), 0)
        assert np.all(np.isfinite(terms.f))
        assert np.all(terms.f < -600.0)


class TestTails:
    def test_values(self, tail_points):
        mu, phi, edge, upper = tail_points
        a, b = np.where(upper, 1.0 - mu, mu) * phi, np.where(upper, mu, 1.0 - mu) * phi
        with np.errstate(divide="ignore"):
            wanted = stats.beta.logcdf(edge, a, b)
        seen = np.isfinite(wanted) & (wanted > -600.0)  # below, scipy's probability is subnormal or zero
        assert seen.sum() > 150
        assert upper[seen].any()
        assert not upper[seen].all()
        # log-gammas of the size of phi log phi are subtracted
        error = np.abs(tail(mu, phi, edge, upper, 0).f - wanted)[seen]
        assert np.all(error < 1e-11 * (1.0 + np.abs(wanted[seen])) + 1e-14 * phi[seen])

    def test_upper_tail_is_the_survival_function(self):
        # edges that one minus the edge represents exactly
        mu, phi = np.array([[0.3], [0.9]]), np.array([[20.0], [3.0]])
        edge, upper = np.array([[0.125], [2.0**-10]]), np.ones((2, 1), dtype=bool)
        wanted = stats.beta.logsf(1.0 - edge, mu * phi, (1.0 - mu) * phi)
        assert_allclose(tail(mu, phi, edge, upper, 0).f, wanted, rtol=1e-10)

    def test_probabilities_that_underflow(self):
        mu, phi, edge = 0.4, 2e4, 0.005
        law = stats.beta(mu * phi, (1.0 - mu) * phi)
        top = law.logpdf(edge)
        part = integrate.quad(lambda t: np.exp(law.logpdf(t) - top), edge * 0.99, edge, epsabs=0, epsrel=1e-10)[0]
        one = np.ones((1, 1))
        got = tail(mu * one, phi * one, edge * one, np.zeros((1, 1), dtype=bool), 0).f[0, 0]
        assert got < -2e4  # its exponential is zero
        assert_allclose(got, top + np.log(part), rtol=1e-12)

    def test_derivatives_are_those_of_differences(self, tail_points, slope):
        # a tail that holds almost everything has derivatives of zero up to the rounding of what cancels there
        some = tail(*tail_points, 0).f[:, 0] < -1e-6
        mu, phi, edge, upper = (array[some] for array in tail_points)
        assert len(mu) > 150
        # log-gammas of size phi log phi are subtracted
        noise = 2e-13 * (1.0 + phi * np.log1p(phi))
        check_chain(slope, lambda m, p: tail(m, p, edge, upper, 3), mu, phi, noise)

    def test_a_tail_that_holds_everything_is_flat(self):
        mu, phi, edge = np.array([[0.02]]), np.array([[600.0]]), np.array([[0.5]])
        terms = tail(mu, phi, edge, np.array([[False]]), 2)
        # P(Y > 1/2) is about 1e-300; the rest is rounding in sums of 1e3 (f), times phi and phi^2
        assert abs(terms.f[0, 0]) < 1e-11
        assert abs(terms.m[0, 0]) < 1e-13 * 600.0 * 600.0
        assert abs(terms.mm[0, 0]) < 1e-13 * 600.0**2

    @pytest.mark.parametrize("edge", [5e-7, 0.005, 0.05, 0.5])
    @pytest.mark.parametrize("mu", [1e-6, 0.3, 0.9])
    def test_absurd_precisions_end_and_are_held(self, edge, mu):
        """A line search may ask for any precision; the series must not run for ever or overflow."""
        limit = 2000.0 / edge
        phi = np.array([[0.5 * limit], [1.5 * limit], [1e15]])
        one = np.ones((3, 1))
        terms = tail(mu * one, phi, edge * one, np.zeros((3, 1), dtype=bool), 3)
        for name, values in terms._asdict().items():
            assert np.all(np.isfinite(values))
            assert_array_equal(values[1], values[2])
            if "p" in name:
                assert_array_equal(values[1:], 0.0)
        before = tail(mu * one, limit * one, edge * one, np.zeros((3, 1), dtype=bool), 3)
        assert_allclose(terms.f[1], before.f[0], rtol=1e-13)  # no jump
        assert_allclose(terms.mm[1], before.mm[0], rtol=1e-13)

    def test_the_two_tails_of_half_sum_to_one(self):
        mu, phi = np.array([[0.2, 0.5, 0.7]]), np.full((1, 1), 5.0)
        edge, no = np.full((1, 1), 0.5), np.zeros((1, 1), dtype=bool)
        total = np.exp(tail(mu, phi, edge, no, 0).f) + np.exp(tail(mu, phi, edge, ~no, 0).f)
        assert_allclose(total, 1.0, rtol=1e-13)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_lower_order_gives_the_same_numbers(points, tail_points, order):
    for function, arguments in ((density, points), (tail, tail_points)):
        short, full = function(*arguments, order), function(*arguments, 3)
        for name, values in short._asdict().items():
            if values is not None:
                # the tail's series stops later when derivatives are summed too
                assert_allclose(values, getattr(full, name), rtol=1e-12, atol=1e-13)
        assert short.mmm is None
        assert (short.m is None) == (order == 0)


def test_one_column_per_node():
    mu = np.linspace(0.1, 0.9, 6).reshape(2, 3)
    phi, y = np.array([[5.0], [50.0]]), np.array([[0.3], [0.6]])
    together = density(mu, phi, y, 3)
    for column in range(3):
        alone = density(mu[:, [column]], phi, y, 3)
        for whole, part in zip(together, alone, strict=True):
            assert_array_equal(whole[:, [column]], part)
