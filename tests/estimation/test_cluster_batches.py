"""One large fit on a cluster: passes over parts that the workers keep."""

import os
import signal

import numpy as np
import pytest
from distributed import Client, LocalCluster

import latentscale as ls
from latentscale.components import cells as module
from latentscale.likelihood.family_batches import spread_over
from latentscale.likelihood.objective import Objective
from latentscale.likelihood.rules import Rule


@pytest.fixture(scope="module")
def client():
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        client.run(__import__, "latentscale")
        yield client


@pytest.fixture
def objective(problem, monkeypatch):
    """Cells that come in more parts than the cluster has room for runs."""
    monkeypatch.setattr(module, "BATCH_CELLS", 10)
    cells = problem.cells.with_design(problem.cells.design)
    assert len(cells.batches) > 8
    return Objective(problem.space, cells, problem.objective.penalty)


def _numbers(objective, u):
    evaluation, modes = objective.laplace(u)
    standard = Rule.build("quadrature", 2, points=3).standard(objective.cells.n_families)
    return [
        evaluation.value, evaluation.gradient, modes.alpha, objective.laplace(u + 1e-3, modes)[0].gradient,
        objective.laplace_hessian(u, modes), objective.complete(u, modes),
        objective.moving(u, standard, modes)[0].gradient, objective.adapted(u, standard, 2)[0].hessian,
    ]  # fmt: skip


@pytest.mark.slow
def test_passes_on_a_cluster_give_the_same_digits(client, objective, problem):
    u = problem.points[0]
    expected = _numbers(objective, u)
    with ls.parallel("dask", client):
        found = _numbers(objective, u)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def test_cells_are_sent_once_and_again_only_where_a_worker_died(client, objective, problem, monkeypatch):
    u, sent = problem.points[0], []
    real = Client.scatter

    def counted(self, data, **options):
        sent.append(len(data))
        return real(self, data, **options)

    monkeypatch.setattr(Client, "scatter", counted)
    with ls.parallel("dask", client):
        expected, modes = objective.laplace(u)
        for _ in range(3):
            objective.laplace(u + 1e-3, modes)
        assert sent == [8]
        victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        again, _ = objective.laplace(u)
    assert again.value == expected.value
    assert np.array_equal(again.gradient, expected.gradient)
    assert sent[0] == 8
    assert set(sent[1:]) == {1}
    assert 1 <= len(sent) - 1 <= 7


def test_explicit_threads_stay_at_home(client, objective, problem, monkeypatch):
    monkeypatch.setattr(Client, "submit", None)
    with ls.parallel("dask", client), spread_over(2):
        evaluation, _ = objective.laplace(problem.points[0])
    assert np.isfinite(evaluation.value)


@pytest.mark.slow
def test_a_whole_fit(client, monkeypatch):
    monkeypatch.setattr(module, "BATCH_CELLS", 300)
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["bbh", "hellaswag", "gsm8k", "ifeval"])
    options = {"integration": "laplace", "starts": 1}
    expected = ls.LatentSkillModel(panel, skills=1).fit(**options)
    with ls.parallel("dask", client):
        found = ls.LatentSkillModel(panel, skills=1).fit(**options)
    assert found.llf == expected.llf
    assert np.array_equal(found.params, expected.params)
    assert np.array_equal(found.bse, expected.bse)
