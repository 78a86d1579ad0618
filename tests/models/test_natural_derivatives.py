"""Public score and hessian against Richardson differences of loglike, in users' units."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.likelihood.marginal import adapted_nodes, marginal
from latentscale.likelihood.modes import posterior_modes
from latentscale.likelihood.rules import Rule
from latentscale.numerics.differences import jacobian

RULES = [("laplace", {}), ("quadrature", {"points": 5}), ("monte_carlo", {"draws": 8})]
FORMS = {
    "anchored": ls.Anchored({"first": "a", "second": "b"}),
    "orthogonal": ls.Anchored({"first": "a", "second": "b"}, correlated=False),
    "echelon": ls.Echelon(["a", "b"]),
}


def _feasible(model, seed):
    rng = np.random.default_rng(seed)
    values = []
    for name in model.param_names:
        word = name.split("[", 1)[0]
        low, high = {
            "loading": (0.2, 0.9), "intercept": (-1.0, 0.5), "slope": (-0.2, 0.5), "corr": (-0.5, 0.5),
            "precision": (10.0, 60.0), "lower": (0.02, 0.1), "upper": (0.9, 0.98),
        }[word]  # fmt: skip
        values.append(rng.uniform(low, high))
    return np.array(values)


@pytest.mark.parametrize(("integration", "options"), RULES)
@pytest.mark.parametrize(
    ("form", "asymptotes"),
    [
        pytest.param("anchored", "both", marks=pytest.mark.slow),
        pytest.param("orthogonal", "lower", marks=pytest.mark.slow),
        ("echelon", "chance"),
    ],
)
def test_score_is_the_derivative_of_loglike(panel, integration, options, form, asymptotes):
    model = ls.LatentSkillModel(panel, skills=FORMS[form], asymptotes=asymptotes)
    for seed in range(2):
        params = _feasible(model, seed)
        step = 1e-3 * np.maximum(0.1, np.abs(params))

        def value(point):
            return np.array([model.loglike(point, integration, **options)])

        difference = jacobian(value, params, step)[0]
        score = model.score(params, integration, **options)
        assert list(score.index) == model.param_names
        # fourth-order differences of a log-likelihood of size 1e3 resolve about 1e-8 of the largest entry
        assert_allclose(score, difference, rtol=1e-6, atol=1e-7 * np.abs(difference).max())


@pytest.mark.parametrize(("integration", "options"), RULES[1:])
def test_hessian_is_the_second_derivative_on_frozen_nodes(panel, integration, options):
    model = ls.LatentSkillModel(panel, skills=FORMS["anchored"], asymptotes="both")
    params = _feasible(model, 5)
    table, cells = model.table, model.user_cells
    standard = Rule.build(integration, 2, **options).standard(cells.n_families)
    nodes = adapted_nodes(standard, posterior_modes(table.structure(params), cells))

    def frozen_score(point):
        return marginal(table.structure(point), cells, nodes, 1, shapes="cd").score[table.free]

    difference = jacobian(frozen_score, params, 1e-3 * np.maximum(0.1, np.abs(params)))
    hessian = model.hessian(params, integration, **options).to_numpy()
    assert_allclose(hessian, difference, rtol=1e-5, atol=1e-7 * np.abs(difference).max())


def test_laplace_hessian_is_the_second_derivative_of_loglike(panel):
    model = ls.LatentSkillModel(panel, skills=FORMS["echelon"])
    params = _feasible(model, 3)
    hessian = model.hessian(params, "laplace").to_numpy()
    rng = np.random.default_rng(0)
    for _ in range(3):
        direction = rng.standard_normal(len(params)) * np.maximum(0.1, np.abs(params))
        h = 0.02 / np.linalg.norm(direction)
        values = [model.loglike(params + k * h * direction, "laplace") for k in (-2, -1, 0, 1, 2)]
        second = (-values[0] + 16 * values[1] - 30 * values[2] + 16 * values[3] - values[4]) / (12 * h * h)
        # h^4 truncation of a second difference, with a log-likelihood rounded at 1e-13 relative
        assert_allclose(direction @ hessian @ direction, second, rtol=1e-4)


def test_more_nodes_agree_with_brute_force_on_one_skill(panel, table):
    model = ls.LatentSkillModel(panel, skills=ls.Anchored({"only": "a"}))
    params = _feasible(model, 1)
    structure, cells = model.table.structure(params), model.user_cells
    alpha = np.linspace(-9.0, 9.0, 4001)
    total = 0.0
    for family in range(cells.n_families):
        joint = -0.5 * alpha**2 - 0.5 * np.log(2 * np.pi)
        for c in np.flatnonzero(cells.family == family):
            j = cells.item[c]
            skill = alpha + cells.design[cells.row[c]] @ structure.slopes[:, 0]
            mu = 1.0 / (1.0 + np.exp(-(structure.loadings[j, 0] * skill + structure.intercepts[j])))
            from scipy.stats import beta

            phi = structure.precision[j]
            joint = joint + beta.logpdf(cells.scores[c], mu * phi, (1 - mu) * phi)
        total += joint.max() + np.log(np.trapezoid(np.exp(joint - joint.max()), alpha))
    assert_allclose(model.loglike(params, "quadrature", points=31), total, rtol=1e-9)
