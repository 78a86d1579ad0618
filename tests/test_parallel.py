"""Fits on several processes: the same numbers on a real cluster, after deaths of workers, and what is sent."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cloudpickle
import dask
import numpy as np
import pandas as pd
import pytest
import worlds
from distributed import Client, Future, LocalCluster
from joblib import effective_n_jobs
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_info

import latentscale as ls
from latentscale import workers
from latentscale.workers import run

PATIENCE = 300.0  # seconds, for workers to start on a machine that is busy
QUICK = {"integration": "laplace", "starts": 1}


@pytest.fixture(scope="module", autouse=True)
def _sent_by_value():
    """What this file defines; workers cannot import it."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def two_workers():
    """Client of a cluster of two worker processes, which nannies restart."""
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        client.run(__import__, "latentscale")
        yield client


@pytest.fixture
def client(two_workers):
    """With both workers alive, whatever the test before has done to them."""
    two_workers.wait_for_workers(2, timeout=PATIENCE)
    return two_workers


@pytest.fixture(scope="module")
def panel():
    table = worlds.simulated(
        10, 3, [[0.54], [0.42], [0.3]], [[0.5 / 0.6], [0.0]], intercepts=[-0.9, -0.7, -0.5], precision=40.0,
        family="f{}", seed=5,
    )  # fmt: skip
    return ls.BenchmarkPanel(table, benchmarks=list("abc"))


@pytest.fixture(scope="module")
def fit(panel):
    return ls.LatentSkillModel(panel, "log(params_b)", skills=1).fit(**QUICK)


# --- the same numbers ------------------------------------------------------------------------------------------------


def multi_start(fit):
    found = fit.model.fit(integration="laplace", starts=3, seed=2)
    return found.starts.drop(columns="kind"), found.params


def bootstrap(fit):
    found = fit.bootstrap("family", 5, seed=3)
    return found.replicates, found.record["llf"]


def profiles(fit):
    return (fit.conf_int(method="profile", parameters=fit.model.param_names[:2]),)


def left_out(fit):
    spec = ls.Specification(ls.LatentSkillModel, scaling="log(params_b)", skills=1, fit=QUICK)
    errors = ls.leave_family_out(spec, fit.model.panel, ["f1", "f2", "f5"]).errors
    return (errors.select_dtypes("number"),)


def sloth(fit):
    found = ls.SlothModel(fit.model.panel, scaling="log(params_b)", n_skills=1)
    found = found.fit(starts=4, cov_type="none", ridge=1e-3)
    return found.starts.drop(columns="kind"), found.estimate.loadings


def number_of_skills(fit):
    found = ls.select_skills(fit.model.panel, [1], scaling="log(params_b)", folds=2, starts=1)
    return found.errors, found.table["llf"]


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(np.asarray(one, dtype=float), np.asarray(other, dtype=float))


@pytest.mark.parametrize(
    ("work", "tasks"),
    [
        (multi_start, 3),
        *(
            pytest.param(*given, marks=pytest.mark.slow)
            for given in ((bootstrap, 5), (profiles, 2), (left_out, 3), (sloth, 4), (number_of_skills, 2))
        ),
    ],
)
def test_a_cluster_gives_the_numbers_of_one_process(client, fit, work, tasks, monkeypatch):
    expected, sent = work(fit), []
    submit = client.submit
    monkeypatch.setattr(client, "submit", lambda *given, **options: sent.append(given[0]) or submit(*given, **options))
    with ls.parallel("dask", client):
        same(work(fit), expected)
    assert sent.count(workers._on_worker) >= tasks


@pytest.mark.parametrize(
    "backend", ["loky", *(pytest.param(name, marks=pytest.mark.slow) for name in ("threading", "sequential"))]
)
def test_so_do_the_backends_of_joblib(fit, backend):
    expected = left_out(fit)
    with ls.parallel(backend, n_jobs=2) as client:
        assert client is None
        same(left_out(fit), expected)


# --- where tasks run -------------------------------------------------------------------------------------------------


def pid(_):
    return os.getpid()


def inside(_):
    """What a task finds: jobs that it may start, whether they stay in its process, threads of linear algebra."""
    nested = set(run(pid, [(1,), (2,)], n_jobs=2))
    threads = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return effective_n_jobs(None), effective_n_jobs(2), nested == {os.getpid()}, threads


def test_a_context_says_where_and_explicit_numbers_override_it(client):
    here = os.getpid()

    def places(n_jobs=None):
        return set(run(pid, [(number,) for number in range(4)], n_jobs=n_jobs))

    assert places() == {here}
    with ls.parallel("dask", client):
        cluster = set(client.run(os.getpid).values())
        assert places() <= cluster
        assert places(2) <= cluster
        assert places(1) == {here}
        with ls.parallel("loky", n_jobs=2):
            assert not places() & {here, *cluster}
        with ls.parallel("sequential"):
            assert places() == places(2) == {here}
    assert places() == {here}
    assert not places(2) & {here, *cluster}


@pytest.mark.parametrize("backend", ["dask", "loky", "threading"])
def test_inside_a_task_nothing_is_parallel(client, backend):
    given = {"client": client} if backend == "dask" else {"n_jobs": 2}
    with ls.parallel(backend, **given):
        found = list(run(inside, [(0,), (1,)]))
    assert found == [(1, 1, True, {1})] * 2


def test_a_worker_of_several_threads_runs_one_task_at_a_time():
    running, most = [], []

    def task(number):
        running.append(number)
        time.sleep(0.01)
        most.append(len(running))
        running.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: workers._on_worker((), task, (number,)), range(8)))
    assert most == [1] * 8


def test_an_address_is_connected_to_and_left(client):
    with ls.parallel("dask", client.scheduler.address) as other:
        assert other.id != client.id
        assert list(run(pow, [(2, 3)])) == [8]
    assert other.status == "closed"
    with ls.parallel("dask") as last:
        assert last is client


# --- order, supply, and ends -----------------------------------------------------------------------------------------


def until(condition):
    """Wait for what another process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def first_waits(log, number):
    """The first task ends after another one."""
    if number == 0:
        until(log.exists)
    with open(log, "a") as file:
        file.write(f"{number}\n")
    return number


@pytest.mark.parametrize("backend", ["dask", "loky"])
def test_results_come_in_order_or_as_they_are_made(client, tmp_path, backend):
    given = {"client": client} if backend == "dask" else {"n_jobs": 2}
    tasks = [(number,) for number in range(12)]
    with ls.parallel(backend, **given):
        assert list(run(first_waits, tasks, (tmp_path / "ordered",))) == list(range(12))
        loose = list(run(first_waits, tasks, (tmp_path / "loose",), ordered=False))
    assert sorted(loose) == list(range(12))
    assert loose != sorted(loose)


def test_tasks_are_taken_as_there_is_room(client):
    taken = []
    tasks = ((number,) for number in range(50) if taken.append(number) is None)
    with ls.parallel("dask", client):
        for _ in run(abs, tasks, ordered=False):
            break
    assert len(taken) == 2 * 2  # two for each worker
    taken.clear()
    tasks = ((number,) for number in range(50) if taken.append(number) is None)
    with ls.parallel("dask", client, n_jobs=1):
        for _ in run(abs, tasks, ordered=False):
            break
    assert len(taken) == 1


def test_an_error_of_a_task_ends_the_run(client, tmp_path):
    tasks = [(1, 0), *((1, one) for one in range(1, 40))]
    with ls.parallel("dask", client), pytest.raises(ZeroDivisionError):
        list(run(divmod, tasks))
    assert not [key for key, future in client.futures.items() if future.status == "pending"]


# --- deaths ----------------------------------------------------------------------------------------------------------


class Recorded:
    """Predicts means; its fits are put on record, and the first one without a family kills its process."""

    def __init__(self, folder, dies_without=()):
        self.folder, self.dies_without = folder, dies_without

    def fit(self, panel):
        counts = panel.families.value_counts()
        held = counts.idxmin()
        with open(self.folder / "fits", "a") as log:
            log.write(f"{held} {os.getpid()}\n")
        mark = self.folder / held
        if held in self.dies_without and not mark.exists():
            mark.touch()
            until(lambda: all((self.folder / other).exists() for other in self.dies_without))
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return Means(panel)


class Means:
    def __init__(self, panel):
        self.means = panel.scores.mean()

    def predict(self, data):
        return pd.DataFrame([self.means] * len(data), index=data["model"])


@pytest.mark.slow
@pytest.mark.parametrize("victims", [["f3"], ["f2", "f3"]], ids=["one worker", "all at once"])
def test_a_death_costs_the_tasks_of_the_worker(client, panel, tmp_path, victims):
    """Two tasks a worker are under way: one running, one next. With all workers the scattered data are lost as well."""
    expected = ls.leave_family_out(Recorded(tmp_path), panel, alphas=())
    (tmp_path / "fits").unlink()
    before = set(client.run(os.getpid).values())
    with ls.parallel("dask", client):
        cv = ls.leave_family_out(Recorded(tmp_path, victims), panel, alphas=(), resume=tmp_path / "store")
    pd.testing.assert_frame_equal(cv.errors, expected.errors, check_exact=True)
    log = pd.read_csv(tmp_path / "fits", sep=" ", names=["family", "pid"])
    died = before - set(client.run(os.getpid).values())
    assert len(died) == len(victims)
    assert set(log.loc[log.duplicated("family"), "family"]) >= set(victims)
    assert 10 + len(victims) <= len(log) <= 10 + 2 * len(victims)
    assert len((tmp_path / "store").read_text().splitlines()) == 1 + 10


def forget(client, _):
    """Take all data and tasks from a cluster, as its scheduler does when all workers have died."""
    client.cancel([Future(key, client) for key in client.futures])


def test_a_run_that_loses_its_data_again_and_again_gives_up(client):
    with ls.parallel("dask", client):
        results = run(pow, [(2, number) for number in range(40)])
        with pytest.raises(RuntimeError, match="died 4 times"):
            list(map(partial(forget, client), results))


# --- what is sent ----------------------------------------------------------------------------------------------------


class Weighed:
    """Notes each time that it is packed and unpacked."""

    def __init__(self, log):
        self.log = log

    def __reduce__(self):
        self.note("out")
        return _unpacked, (self.log,)

    def note(self, word):
        with open(self.log, "a") as file:
            file.write(f"{word} {os.getpid()}\n")


def _unpacked(log):
    made = Weighed(log)
    made.note("in")
    return made


def place_of(weighed, number):
    """This process; no task ends before both have what is shared."""
    until(lambda: weighed.log.read_text().count("in ") == 2)
    return os.getpid()


@pytest.mark.parametrize("backend", ["dask", "loky"])
def test_what_is_shared_is_sent_to_each_worker_once(client, tmp_path, backend):
    given = {"client": client} if backend == "dask" else {"n_jobs": 2}
    with ls.parallel(backend, **given):
        places = list(run(place_of, [(number,) for number in range(20)], (Weighed(tmp_path / "log"),)))
    assert len(set(places)) == 2
    log = pd.read_csv(tmp_path / "log", sep=" ", names=["word", "pid"])
    sent, received = (log.loc[log["word"] == word, "pid"].tolist() for word in ("out", "in"))
    assert sorted(received) == sorted(set(places))  # each worker unpacks it once
    # dask packs with pickle first and then, classes of tests being unknown to workers, with cloudpickle
    assert sent.count(os.getpid()) <= (2 if backend == "dask" else 1)


# --- errors ----------------------------------------------------------------------------------------------------------


def refused(words, *given, kind=ls.DataError, **options):
    with pytest.raises(kind, match=words), ls.parallel(*given, **options):
        pass


def test_what_cannot_work_is_refused(client):
    refused("loky, threading, dask, sequential, not 'spark'", "spark")
    refused("whole number", n_jobs=0)
    refused("whole number", "dask", client, n_jobs=1.5)
    refused("client is for backend='dask'", "loky", client)
    refused("not 3", "dask", 3)
    with dask.config.set({"distributed.comm.timeouts.connect": "200ms"}):
        refused("no dask scheduler at", "dask", "tcp://127.0.0.1:9")
    other = Client(client.scheduler.address, set_as_default=False)
    other.close()
    refused("client is closed", "dask", other)
    with pytest.raises(ls.DataError, match="whole number"):
        list(run(pow, [(2, 3)], n_jobs=0))


def test_a_client_that_is_closed_meanwhile(client):
    other = Client(client.scheduler.address, set_as_default=False)
    with ls.parallel("dask", other):
        other.close()
        with pytest.raises(ls.DataError, match="client is closed"):
            list(run(pow, [(2, 3)]))


def test_without_dask_or_a_client(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "distributed", None)
        refused(r"latentscale\[cluster\]", "dask", kind=ImportError)

    def none():
        raise ValueError("No clients found")

    monkeypatch.setattr("distributed.default_client", none)
    refused("There is no dask client", "dask")
