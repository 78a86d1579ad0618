"""Independent fits on several cores or machines: starts, replicates, profiles, splits.

Everything that repeats fits hands its tasks to ``run``. What carries them out is the caller's to say, by ``n_jobs`` or
by a surrounding ``parallel``: this process, joblib's backends, or a dask cluster. Numbers are the same everywhere, as
every task carries its own seed and results have their places.

On a cluster tasks are submitted to the ``distributed.Client`` itself and not through joblib's dask backend. That one
puts several tasks into one, which a dying worker then loses together; it lets fits inside a task submit tasks of their
own; it goes on working at what nobody waits for any more; and what it sends depends on who asks. Here every fit is one
task, two for each thread are under way at a time, what they share is sent once, and results come to the caller as they
are made, who writes them into the store of a run.
"""

import pickle
import threading
import warnings
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from uuid import uuid4

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs, parallel_config, wrap_non_picklable_objects
from threadpoolctl import threadpool_limits

from .errors import DataError

BACKENDS = ("loky", "threading", "dask", "sequential")
_UNDER_WAY = 2  # tasks for each thread of a cluster, so that no worker waits for the next one
_MOST_LOST = 3  # times that all workers may die at once before a run gives up; dask's own limit for one task


@dataclass(frozen=True)
class _Cluster:
    """Where tasks go: a ``distributed.Client``, the most at one time (None: what there is room for), options."""

    client: object
    n_jobs: int | None
    options: dict


_CLUSTER = ContextVar("cluster", default=None)


def current_cluster():
    """Where a surrounding ``parallel("dask")`` sends tasks, or None."""
    return _CLUSTER.get()


@contextmanager
def parallel(backend="loky", client=None, n_jobs=None, **options):
    """Within this context fits that repeat run in parallel: on the cores of a machine, or on a dask cluster.

    It concerns multi-start fits, ``bootstrap``, profile intervals, ``leave_family_out`` and ``select_skills``, and the
    passes of one fit over a table of many thousand scores, wherever their own ``n_jobs`` is left at None. Numbers do
    not depend on it. Inside a task nothing is parallel: a fit of ``leave_family_out`` runs its starts one after the
    other, and linear algebra on one thread.

    Parameters
    ----------
    backend : {"loky", "threading", "dask", "sequential"}
        Processes of this machine, threads of this process, a dask cluster, or one task after the other in this process.
        Threads hold Python's lock most of the time, and warnings of several fits may be taken for one another's.
    client : distributed.Client or str, optional
        For ``"dask"``: a client, or the address of a scheduler, to which a connection is made that ends with the
        context. By default the client made last.
    n_jobs : int, optional
        Tasks at one time, by default as many as there are cores, or as the cluster has room for. For joblib's backends
        -1 means one for each core.
    **options
        Of ``joblib.parallel_config``, or for ``"dask"`` of ``Client.submit``, such as ``workers``, ``resources`` and
        ``retries``.

    Yields
    ------
    distributed.Client or None
        None for joblib's backends.

    Raises
    ------
    DataError
        If the backend is unknown, n_jobs is no number of tasks, or there is no client, no scheduler at the address, or
        a client that is closed or asynchronous.
    ImportError
        If dask distributed is not installed.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> laws = ls.Specification(ls.ComponentLaws, n_components=1)
    >>> with ls.parallel("threading", n_jobs=2):
    ...     cv = ls.leave_family_out(laws, panel, ["opt", "pythia"])
    >>> len(cv.fits)
    2
    """
    if backend not in BACKENDS:
        raise DataError(f"backend is one of {', '.join(BACKENDS)}, not {backend!r}.")
    _check_jobs(n_jobs)
    if backend == "dask":
        with _connected(client) as found, _set(_Cluster(found, n_jobs, options)):
            yield found
        return
    if client is not None:
        raise DataError(f"client is for backend='dask'; with {backend!r} leave it out.")
    jobs = 1 if backend == "sequential" else -1 if n_jobs is None else n_jobs
    with _set(None), parallel_config(backend, n_jobs=jobs, **options):
        yield None


def _check_jobs(n_jobs):
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise DataError(f"n_jobs is None or a whole number other than 0; got {n_jobs!r}.")


@contextmanager
def _set(cluster):
    token = _CLUSTER.set(cluster)
    try:
        yield
    finally:
        _CLUSTER.reset(token)


@contextmanager
def _connected(client):
    """A working client: the given one, the last one made, or a new one for an address, closed in the end."""
    try:
        from distributed import Client, default_client
    except ImportError as error:
        raise ImportError(
            "backend='dask' needs dask distributed: pip install 'latentscale[cluster]' (here and on all workers)."
        ) from error
    if isinstance(client, str):
        try:
            made = Client(client, set_as_default=False)
        except (OSError, ValueError) as error:
            raise DataError(f"There is no dask scheduler at {client!r}: {error}") from error
        with made:
            yield made
        return
    if client is None:
        try:
            client = default_client()
        except ValueError as error:
            raise DataError(
                "There is no dask client: make one, client = distributed.Client(...), or give a scheduler's address."
            ) from error
    if not isinstance(client, Client):
        raise DataError(f"client is a distributed.Client or the address of a scheduler, not {client!r}.")
    _require_open(client)
    if client.asynchronous:
        raise DataError("The client is asynchronous: make it without asynchronous=True.")
    yield client


def _require_open(client):
    if client.status != "running":
        raise DataError(f"The dask client is {client.status}, so that nothing can run on it: make a new one.")


# --- tasks -----------------------------------------------------------------------------------------------------------


def run(function, tasks, shared=(), n_jobs=None, ordered=True):
    """Yield function(*shared, *task) for every task, as results are made.

    To be looped over directly, so that leaving the loop by an error ends the run.

    Parameters
    ----------
    function : callable
        A module's function; it must leave ``shared`` as it is.
    tasks : iterable of tuple
        Taken as there is room, so that it may stop the supply. What they hold is sent with each.
    shared : tuple
        What all tasks need; sent to each worker once.
    n_jobs : int, optional
        Tasks at one time; by default what a surrounding ``parallel`` or joblib context says, else 1. With 1 they run
        in this process, one after the other, whatever surrounds them.
    ordered : bool
        Results in the order of the tasks, else as they are made.
    """
    _check_jobs(n_jobs)
    cluster = _CLUSTER.get()
    if cluster is not None and n_jobs != 1:
        yield from _Run(cluster, function, shared, n_jobs).results(tasks, ordered)
    elif effective_n_jobs(n_jobs) == 1:
        for task in tasks:
            yield function(*shared, *task)
    else:
        yield from _by_joblib(function, tasks, shared, n_jobs, ordered)


def _apart(shared, function, task):
    """A task on a worker: one thread of linear algebra, and whatever it repeats runs right here."""
    with threadpool_limits(1), parallel("sequential"):
        return function(*shared, *task)


# --- joblib ----------------------------------------------------------------------------------------------------------


def _by_joblib(function, tasks, shared, n_jobs, ordered):
    sent = _Shared(shared)
    work = (delayed(_unwrapped)(sent, function, task) for task in tasks)
    # tasks on threads of this process set both and put both back, in any order: these are the last to be put back
    with threadpool_limits(1), warnings.catch_warnings():
        yield from Parallel(n_jobs=n_jobs, return_as="generator" if ordered else "generator_unordered")(work)


def _unwrapped(sent, function, task):
    return _apart(sent.value, function, task)


class _Shared:
    """What the tasks of a run share: pickled at most once, and unpickled at most once by a process.

    Pickled it is an array, which joblib puts in shared memory where it is large (1 MB) instead of sending it.
    """

    def __init__(self, value):
        self.value, self.token = value, uuid4().hex

    @cached_property
    def pickled(self):
        # by cloudpickle, which also takes classes of a script or a notebook
        return np.frombuffer(pickle.dumps(wrap_non_picklable_objects(self.value, keep_wrapper=False)), np.uint8)

    def __reduce__(self):
        return _received, (self.token, self.pickled)


_LAST = {}  # what a process of joblib received last


def _received(token, pickled):
    kept = _LAST.get(token)
    if kept is None:
        kept = _Shared(pickle.loads(pickled))
        _LAST.clear()
        _LAST[token] = kept
    return kept


# --- a cluster -------------------------------------------------------------------------------------------------------

_ONE_AT_A_TIME = threading.Lock()  # filters of warnings and threads of linear algebra belong to the whole process


def _on_worker(shared, function, task):
    with _ONE_AT_A_TIME:
        return _apart(shared, function, task)


def _ready():
    """A task that waits for the first worker, which an adaptive cluster starts for tasks only."""


@dataclass
class _Run:
    """Tasks of one run on a cluster.

    What a worker loses by its death dask gives to another one. Only data that were scattered to workers which all died
    at once are beyond dask: they are scattered again, and the tasks under way submitted again.
    """

    cluster: _Cluster
    function: object
    shared: tuple
    n_jobs: int | None
    under_way: dict = field(default_factory=dict)  # future -> (number, task)

    def results(self, tasks, ordered):
        from distributed import as_completed

        client, numbered, held, turn = self.cluster.client, enumerate(tasks), {}, 0
        _require_open(client)
        finished, scattered, lost = as_completed(loop=client.loop), self._scatter(), 0
        try:
            self._fill(numbered, scattered, finished)
            for future in finished:
                number, task = self.under_way.pop(future)
                try:
                    result = future.result()
                except CancelledError:
                    if scattered.cancelled():
                        lost += 1
                        scattered = self._scatter_again(lost)
                    self._submit(number, task, scattered, finished)
                    continue
                if ordered:
                    held[number] = result
                    while turn in held:
                        yield held.pop(turn)
                        turn += 1
                else:
                    yield result
                self._fill(numbered, scattered, finished)
        finally:
            if client.status == "running":
                client.cancel(list(self.under_way))

    def _scatter(self):
        client = self.cluster.client
        client.submit(_ready, pure=False, **self.cluster.options).result()
        # To one worker, from which others fetch with their first task. They keep it as long as they have tasks; what is
        # broadcast before there are tasks, dask's memory manager may take for superfluous, and it is sent again.
        return client.scatter([self.shared], hash=False)[0]

    def _scatter_again(self, lost):
        _require_open(self.cluster.client)
        if lost > _MOST_LOST:
            raise RuntimeError(
                f"All workers of the cluster died {lost} times during this run. Often memory is short: see their logs. "
                "A run with a store (resume=, store=) goes on from where it got to."
            )
        return self._scatter()

    def _fill(self, numbered, scattered, finished):
        """Submit as many tasks as there is room for."""
        asked = self.cluster.n_jobs if self.n_jobs is None else self.n_jobs
        room = _UNDER_WAY * max(1, sum(self.cluster.client.nthreads().values()))
        room = room if asked is None or asked < 0 else asked
        for number, task in islice(numbered, max(0, room - len(self.under_way))):
            self._submit(number, task, scattered, finished)

    def _submit(self, number, task, scattered, finished):
        client, options = self.cluster.client, self.cluster.options
        future = client.submit(_on_worker, scattered, self.function, task, pure=False, **options)
        self.under_way[future] = number, task
        finished.add(future)
