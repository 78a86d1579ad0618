"""Times of the main job on one core. Command: python -m pytest benchmarks/test_speed.py"""

import pytest
from common import leaderboard_model, machine

from latentscale.estimation.search import climb, starting_structures
from latentscale.likelihood.objective import Objective
from latentscale.likelihood.rules import Rule


@pytest.fixture(scope="module")
def model():
    print(f"\n{machine()}")
    return leaderboard_model()


@pytest.fixture(scope="module")
def search(model):
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), 1e-6)
    return objective, list(starting_structures(objective, pattern, model.chance, model.family_codes, 2, 0))


def test_laplace_value_and_gradient(benchmark, search):
    objective, structures = search
    u = objective.space.free_vector(structures[0][1])
    _, modes = objective.laplace(u)
    benchmark(objective.laplace, u + 1e-3, modes.alpha)


def test_quadrature_value_and_gradient_625_nodes(benchmark, model):
    objective = Objective(model.space, model.internal_cells, model.penalty)
    pattern, _ = model.search_form
    _, structure = next(starting_structures(objective, pattern, model.chance, model.family_codes, 1, 0))
    u = model.space.free_vector(model.pattern.rotate_from(structure))
    standard = Rule.build("quadrature", 4, points=5).standard(model.n_families)
    _, modes = objective.moving(u, standard)
    benchmark.pedantic(objective.moving, (u + 1e-4, standard, modes.alpha), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("kind", ["data", "random"])
def test_laplace_fit_from_one_start(benchmark, search, kind):
    objective, structures = search
    structure = dict(structures)[kind]
    end = benchmark.pedantic(climb, (objective, 0, kind, structure, 1000), rounds=3)
    assert end.value > 2943.86


def test_default_fit(benchmark, model):
    fit = benchmark.pedantic(model.fit, rounds=1)
    assert fit.converged


def test_laplace_information(benchmark, model):
    fit = model.fit(integration="laplace", starts=1)
    objective, u = fit.estimate.objective(model), fit.estimate.coordinates
    benchmark(objective.laplace_hessian, u)


def test_report(benchmark, model, tmp_path):
    fit = model.fit()
    fit.report(tmp_path / "first.html")  # imports matplotlib
    path = benchmark.pedantic(fit.report, (tmp_path / "report.html",), rounds=3)
    assert path.stat().st_size < 3e6


def test_identification(benchmark, model):
    assert benchmark.pedantic(model.identification, rounds=3).identified
