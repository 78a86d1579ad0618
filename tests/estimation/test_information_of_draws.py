"""Standard errors of Monte Carlo fits do not carry the error of the draws."""

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.components.levels import family_effects
from latentscale.estimation.polish import rule_information
from latentscale.likelihood.rules import Rule


def many_llms(n_families=40, per_family=10, seed=0):
    """Families of many LLMs, of which nearly all is known: what is missing nearly cancels what there would be."""
    loadings = [[0.6, 0.0], [0.0, 0.6], [0.4, 0.2], [0.2, 0.4], [0.3, 0.3], [0.5, 0.1]]
    table = worlds.simulated(
        n_families, per_family, loadings, [[0.5, 0.4], [0.2, 0.0]], {"params_b": (0.0, 5.0), "tokens_t": (-1.5, 2.5)},
        intercepts=-1.5, precision=80.0, family="f{}", seed=seed,
    )  # fmt: skip
    return ls.BenchmarkPanel(table, benchmarks=list("abcdef"), chance={})


@pytest.fixture(scope="module")
def model():
    skills = ls.Anchored({"one": "a", "two": "b"})
    return ls.LatentSkillModel(many_llms(), "log(params_b) + log(tokens_t)", skills=skills)


@pytest.fixture(scope="module")
def by_grid(model):
    return model.fit(integration="quadrature", points=15, starts=1)


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["direct", "em"])
def test_standard_errors_are_those_of_a_fine_grid(model, by_grid, driver):
    fit = model.fit(integration="monte_carlo", starts=1, seed=3, driver=driver)
    assert fit.converged
    assert_allclose(fit.bse, by_grid.bse, rtol=2e-3 if driver == "direct" else 2e-2)  # EM's end is itself a bit off


def test_draws_alone_would_not_do(model, by_grid):
    objective, u = by_grid.estimate.objective(model), by_grid.estimate.coordinates
    own = rule_information(objective, Rule.build("monte_carlo", 2), u)
    exact = by_grid.estimate.information
    # along some direction the draws' information is far off, if it is positive there at all
    ratios = np.linalg.eigvals(np.linalg.solve(exact, own)).real
    assert np.abs(ratios - 1.0).max() > 0.1


def test_grids_where_they_are_small_and_laplace_elsewhere():
    assert Rule.build("monte_carlo", 2).for_information().points == 11
    assert [Rule.build("monte_carlo", k).for_information().kind for k in (1, 5, 6)] == ["quadrature"] * 2 + ["laplace"]
    for kind in ("laplace", "quadrature"):
        rule = Rule.build(kind, 2)
        assert rule.for_information() is rule


@pytest.mark.slow
def test_without_a_grid(model):
    """Six skills' worth of dimensions: the closed form is used, and agrees with the rule's own second derivatives."""
    random = ls.LatentSkillModel(model.panel, model.scaling, skills=model.form, random_slopes=True)
    objective = random.objective
    rule = Rule.build("monte_carlo", family_effects(random.table.layout), draws=512)
    assert rule.for_information().kind == "laplace"
    u = random.fit(integration="laplace", starts=1, cov_type="none").estimate.coordinates
    closed, own = (np.diag(rule_information(objective, one, u)) for one in (rule.for_information(), rule))
    assert_allclose(closed, own, rtol=0.2)
