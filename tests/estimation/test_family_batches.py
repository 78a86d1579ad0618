"""Passes part by part: the sums of whole passes, the same digits on threads, and memory that does not grow."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scale import simulated_model

from latentscale.components import cells as module
from latentscale.estimation.search import starting_structures
from latentscale.likelihood.family_batches import over_batches, spread_over
from latentscale.likelihood.objective import Objective
from latentscale.likelihood.rules import Rule
from latentscale.parameters.kinds import LLM_SD
from latentscale.parameters.structure import ScaleBlock


def _with_llms(problem):
    """The problem with residual skills of LLMs of a size of their own."""
    table = problem.space.table
    space = type(problem.space)(replace(table, fixed=np.append(table.fixed, np.nan), scales=(ScaleBlock(LLM_SD),)))
    u = space.free_vector(problem.space.structure(problem.points[0]).with_scales(llm_sd=np.array([0.4])))
    return Objective(space, problem.cells, problem.objective.penalty), u


def _again(objective, monkeypatch, cells):
    """The same objective on cells that come in parts of at most so many."""
    monkeypatch.setattr(module, "BATCH_CELLS", cells)
    copy = Objective(objective.space, objective.cells.with_design(objective.cells.design), objective.penalty)
    assert len(copy.cells.batches) > 3
    return copy


def _passes(objective, u, nodes):
    """All passes over the data, by name: arrays and numbers."""
    found, modes = objective.laplace(u)
    out = {"laplace": found.value, "score": found.gradient, "alpha": modes.alpha, "curvature": modes.curvature}
    out |= {"warm": objective.laplace(u + 1e-3, modes)[0].gradient, "complete": objective.complete(u, modes)}
    if not nodes:
        return out | {"llm": modes.effects[1], "levels": modes.nested.inverse_blocks()}
    out["hessian"] = objective.laplace_hessian(u, modes)
    for name, rule in {
        "quadrature": Rule.build("quadrature", 2, points=3),
        "draws": Rule.build("monte_carlo", 2, draws=4, seed=1),
    }.items():
        standard = rule.standard(objective.cells.n_families)
        kept, _ = objective.nodes(u, standard, modes)
        frozen = objective.frozen(u, kept, 2)
        fixed = objective.frozen(u, kept, 1, frozen.posterior)
        moving, _ = objective.moving(u, standard, modes)
        out |= {name + " moving": moving.gradient, name + " value": moving.value, name + " Q": fixed.gradient}
        out |= {name + " Louis": frozen.hessian, name + " posterior": frozen.posterior}
        out[name + " adapted"] = objective.adapted(u, standard, 2, modes)[0].hessian
    return out


@pytest.mark.slow
@pytest.mark.parametrize("llms", [False, True], ids=["families", "families and LLMs"])
def test_batches_add_up_to_the_whole_and_threads_change_no_digit(problem, monkeypatch, llms):
    objective, u = _with_llms(problem) if llms else (problem.objective, problem.points[0])
    whole = _passes(objective, u, not llms)
    parted = _again(objective, monkeypatch, 30)
    serial = _passes(parted, u, not llms)
    assert whole.keys() == serial.keys()
    for name, values in whole.items():
        assert_allclose(serial[name], values, rtol=1e-10, atol=1e-10 * np.abs(values).max(), err_msg=name)
    with spread_over(3):
        threaded = _passes(parted, u, not llms)
    for name, values in serial.items():
        assert np.array_equal(threaded[name], values), name


def test_batches_hold_all_families_once_and_few_cells(problem, monkeypatch):
    cells = _again(problem.objective, monkeypatch, 30).cells
    spans = [span for span, _ in cells.batches]
    assert spans[0][0] == 0
    assert spans[-1][1] == cells.n_families
    assert all(one[1] == two[0] for one, two in pairwise(spans))
    assert all(part.n_cells <= 30 or part.n_families == 1 for _, part in cells.batches)
    assert sum(part.n_cells for _, part in cells.batches) == cells.n_cells


def test_few_large_results_are_held_at_a_time(problem, monkeypatch):
    """With ``large`` a part begins only when results before it were taken."""
    cells = _again(problem.objective, monkeypatch, 10).cells
    begun = []

    def function(part):
        begun.append(part.n_cells)
        return part.n_cells

    with spread_over(2):
        for number, _ in enumerate(over_batches(function, cells, large=True), 1):
            assert len(begun) <= number + 2
    assert len(begun) == len(cells.batches)


def test_an_error_in_a_thread_is_the_callers(problem, monkeypatch):
    cells = _again(problem.objective, monkeypatch, 30).cells

    def fails(part):
        raise np.linalg.LinAlgError("singular")

    with spread_over(2), pytest.raises(np.linalg.LinAlgError, match="singular"):
        list(over_batches(fails, cells))


BUDGET = {"laplace": 16, "complete": 48, "moving": 16, "louis": 48, "hessian": 128}  # megabytes: explanation/cost.md


@pytest.mark.slow
@pytest.mark.parametrize("n_llms", [500, 4_000])
def test_working_memory_keeps_its_budget_however_large_the_table(n_llms):
    """Four skills, 20 benchmarks, 10,000 and 80,000 scores; what a pass holds beside the cells and its results."""
    model = simulated_model(n_llms, 20, n_llms // 5, 4)
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), 1e-6)
    _, start = next(iter(starting_structures(objective, pattern, model.chance, model.family_codes, 1, 0)))
    u = space.free_vector(start)
    standard = Rule.build("quadrature", 4, points=2).standard(model.n_families)
    _, modes = objective.laplace(u)
    passes = {
        "laplace": lambda: objective.laplace(u, modes),
        "complete": lambda: objective.complete(u, modes),
        "moving": lambda: objective.moving(u, standard, modes),
        "louis": lambda: objective.adapted(u, standard, 2, modes),
        "hessian": lambda: objective.laplace_hessian(u, modes),
    }
    for name, work in passes.items():
        work()  # what is derived from the cells is kept with them
        tracemalloc.start()
        work()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1e6 * BUDGET[name], f"{name}: {peak / 1e6:.0f} MB"
