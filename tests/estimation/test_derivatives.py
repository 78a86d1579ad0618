"""Log-likelihoods and their derivatives: against differences, against a second implementation, against quad."""

from itertools import pairwise

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate

from latentscale.likelihood.laplace import laplace
from latentscale.likelihood.marginal import marginal
from latentscale.likelihood.rules import Rule
from latentscale.numerics.differences import jacobian

POINTS = [0, pytest.param(1, marks=pytest.mark.slow)]
RULES = {
    "quadrature, 3 points": Rule.build("quadrature", 2, points=3),
    "quadrature, 5 points": Rule.build("quadrature", 2, points=5),
    "monte carlo, normal": Rule.build("monte_carlo", 2, draws=4, seed=1),
    "monte carlo, t": Rule.build("monte_carlo", 2, draws=4, t_df=6.0, seed=2),
}
CASES = [("quadrature, 3 points", 0)]
CASES += [
    pytest.param(*case, marks=pytest.mark.slow)
    for case in (("quadrature, 3 points", 1), ("quadrature, 5 points", 1), ("monte carlo, normal", 0),
                 ("monte carlo, t", 1))
]  # fmt: skip


def differences(function, u, step=1e-3):
    return jacobian(lambda point: np.atleast_1d(function(point)), u, np.full(len(u), step))


def check_gradient(gradient, values, u):
    # truncation is of the order of 1e-12 times a fifth derivative, rounding 1e-14 |l| / 1e-3; entries near zero
    # are judged against the largest
    assert_allclose(gradient, differences(values, u)[0], rtol=1e-6, atol=1e-8 * np.abs(gradient).max())


def test_the_data_are_as_announced(problem):
    cells = problem.cells
    assert np.bincount(cells.state, minlength=3)[1:].tolist() == [3, 2]
    assert cells.n_families == 12
    assert cells.n_cells < 36 * 5
    assert problem.objective.shapes == "cd"


@pytest.mark.parametrize("number", POINTS)
def test_laplace_score(problem, number):
    u = problem.points[number]
    evaluation, modes = problem.objective.laplace(u)
    assert modes.exact.all()
    assert np.abs(evaluation.gradient).max() > 1.0  # far from the optimum
    check_gradient(evaluation.gradient, lambda point: problem.objective.laplace(point, modes.alpha)[0].value, u)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_score_on_moving_nodes(problem, name, number):
    u = problem.points[number]
    standard = RULES[name].standard(problem.cells.n_families)
    evaluation, modes = problem.objective.moving(u, standard)

    def value(point):
        return problem.objective.moving(point, standard, modes.alpha)[0].value

    check_gradient(evaluation.gradient, value, u)


@pytest.mark.parametrize("number", POINTS)
def test_moving_and_frozen_nodes_give_one_log_likelihood(problem, number):
    u = problem.points[number]
    standard = RULES["quadrature, 5 points"].standard(problem.cells.n_families)
    nodes, _ = problem.objective.nodes(u, standard)
    frozen, moving = problem.objective.frozen(u, nodes, 0), problem.objective.moving(u, standard)[0]
    assert_allclose(frozen.value, moving.value, rtol=1e-13)
    assert_allclose(frozen.loglike, moving.loglike, rtol=1e-13)


@pytest.mark.parametrize(("name", "number"), CASES)
class TestFrozenNodes:
    @pytest.fixture
    def frozen(self, problem, name, number):
        """s, the nodes there, and a function of s that evaluates on them."""
        u = problem.points[number]
        nodes, _ = problem.objective.nodes(u, RULES[name].standard(problem.cells.n_families))

        def evaluate(s, order):
            return marginal(problem.space.layout.unflatten(s), problem.cells, nodes, order, shapes="cd")

        return problem.space.structural(u), nodes, evaluate

    def test_score_and_hessian_are_those_of_differences(self, frozen):
        s, _, evaluate = frozen
        out = evaluate(s, 2)
        step = 1e-3 * np.minimum(1.0, np.abs(s) + 0.01)  # asymptotes and precisions stay feasible
        score = jacobian(lambda point: np.atleast_1d(evaluate(point, 0).loglike.sum()), s, step)[0]
        assert_allclose(out.score, score, rtol=1e-5, atol=1e-7 * np.abs(score).max())
        hessian = jacobian(lambda point: evaluate(point, 1).score, s, step)
        # entries differ by orders of magnitude: judged on the scale of their row and column
        scale = np.sqrt(np.abs(np.diag(hessian)))
        scale = np.maximum(scale, 1e-3 * scale.max())
        assert np.all(np.abs(out.hessian - hessian) < 1e-5 * np.abs(hessian) + 1e-6 * np.outer(scale, scale))

    def test_score_and_hessian_are_those_of_autograd(self, problem, reference, frozen):
        s, nodes, evaluate = frozen
        out = evaluate(s, 2)

        def value(point):
            return reference.frozen(point, problem.tables, nodes.alpha, nodes.log_weight)

        # both exact: rounding alone, in sums over cells and nodes
        assert_allclose(out.loglike.sum(), value(s), rtol=1e-12)
        score = autograd.grad(value)(s)
        assert_allclose(out.score, score, rtol=1e-8, atol=1e-10 * np.abs(score).max())
        # the Hessian along random directions: all of its entries for a tenth of the time
        scale = 1.0 / np.sqrt(np.abs(np.diag(out.hessian)) + 1.0)
        for seed in range(3):
            direction = scale * np.random.default_rng(seed).standard_normal(len(s))
            wanted = autograd.grad(lambda point, v=direction: anp.dot(v, autograd.grad(value)(point)))(s)
            assert_allclose(scale * (out.hessian @ direction), scale * wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("number", POINTS)
def test_laplace_against_autograd(problem, reference, number):
    s = problem.space.structural(problem.points[number])
    value, score, modes = laplace(problem.space.layout.unflatten(s), problem.cells, shapes="cd")

    def by_autograd(point):
        return reference.laplace(point, problem.tables, modes.alpha)

    # modes are good to about 1e-8; the value moves with them through the determinant alone
    assert_allclose(value, by_autograd(s), rtol=1e-10)
    wanted = autograd.grad(by_autograd)(s)
    assert_allclose(score, wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())


def test_the_score_of_q_at_its_own_weights_is_that_of_the_likelihood(problem):
    u = problem.points[0]
    nodes, _ = problem.objective.nodes(u, RULES["quadrature, 5 points"].standard(12))
    at = problem.objective.frozen(u, nodes)
    q = problem.objective.frozen(u, nodes, 1, at.posterior)
    assert_allclose(q.gradient, at.gradient, rtol=1e-10, atol=1e-10 * np.abs(at.gradient).max())
    other = problem.points[1]

    def value(point):
        return problem.objective.frozen(point, nodes, 0, at.posterior).value

    check_gradient(problem.objective.frozen(other, nodes, 1, at.posterior).gradient, value, other)


@pytest.fixture(scope="module")
def one(make_problem):
    return make_problem(1, n_families=6)


@pytest.fixture(scope="module")
def exact(one, reference):
    """Marginal log-likelihood of each family at the first point, by adaptive integration of the plain code."""
    s = one.space.structural(one.points[0])
    modes = one.objective.nodes(one.points[0], Rule.build("quadrature", 1, points=1).standard(6))[1]
    out = []
    for family, mode in enumerate(modes.alpha[:, 0]):

        def joint(alpha, family=family):
            everywhere = np.full((6, 1, 1), alpha)
            return reference.log_joint(everywhere, s, one.tables)[family, 0]

        top = joint(mode)
        area = integrate.quad(
            lambda alpha, joint=joint, top=top: np.exp(joint(alpha) - top),
            mode - 6.0, mode + 6.0, points=[mode], epsabs=0.0, epsrel=1e-11, limit=200,
        )[0]  # fmt: skip
        out.append(top + np.log(area))
    return np.array(out)


class TestOneSkill:
    def loglike(self, one, rule):
        nodes, _ = one.objective.nodes(one.points[0], rule.standard(6))
        structure = one.space.structure(one.points[0])
        return marginal(structure, one.cells, nodes, order=0).loglike

    def test_quadrature_converges_to_the_integral(self, one, exact):
        errors = [
            np.abs(self.loglike(one, Rule.build("quadrature", 1, points=points)) - exact).max()
            for points in (1, 3, 7, 15, 31)
        ]
        assert all(later < 0.5 * earlier for earlier, later in pairwise(errors[:-1]))
        assert errors[-1] < 1e-8

    def test_monte_carlo_is_within_its_error(self, one, exact):
        groups = [
            self.loglike(one, Rule.build("monte_carlo", 1, draws=256, seed=seed)).sum() for seed in range(6)
        ]
        error = np.std(groups, ddof=1)
        assert error < 0.01
        assert abs(np.mean(groups) - exact.sum()) < 4.0 * error

    def test_laplace_is_one_node(self, one):
        """One Gauss-Hermite node at the mode is Laplace's approximation."""
        structure = one.space.structure(one.points[0])
        value = laplace(structure, one.cells)[0]
        assert_allclose(self.loglike(one, Rule.build("quadrature", 1, points=1)).sum(), value, rtol=1e-12)
