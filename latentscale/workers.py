"""Independent fits on several cores or machines: the starts of a fit, bootstrap replicates, profiles, splits.

Everything that repeats fits passes its tasks to ``run``. The caller decides where they are executed, by ``n_jobs`` or a
surrounding ``parallel``: in this process, by joblib's backends, or on a dask cluster. The numbers are the same in every
case, because each task carries its own seed and results are put in order by the numbers of their tasks.

On a cluster, tasks are submitted to the ``distributed.Client`` itself and not through joblib's dask backend. That
backend joins several tasks into one, so that a dying worker loses all of them; it lets fits inside a task submit tasks
of their own; it keeps working on results that nobody waits for any more; and what it sends depends on the caller. Here
every fit is one task, at most two tasks for each thread are submitted at a time, data that the tasks share are sent
once, and results reach the caller as they are made, so that it can write them into the store of the run.
"""

import pickle
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any
from uuid import uuid4

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs, parallel_config, wrap_non_picklable_objects
from threadpoolctl import threadpool_limits

from .checks import check_jobs, check_one_of
from .errors import DataError

BACKENDS = ("loky", "threading", "dask", "sequential")
_UNDER_WAY = 2  # tasks submitted for each thread of a cluster, so that no worker has to wait for its next one
_MOST_LOST = 3  # how often all workers may die at once before a run gives up, as often as dask lets one task fail


@dataclass(frozen=True)
class _Cluster:
    """A dask cluster to which tasks are sent.

    Attributes
    ----------
    client : distributed.Client
    n_jobs : int or None
        Tasks at one time; None for as many as the cluster has room for.
    options : dict
        Options of ``Client.submit``.
    """

    client: Any
    n_jobs: int | None
    options: dict[str, Any]


_CLUSTER: ContextVar[_Cluster | None] = ContextVar("cluster", default=None)


def current_cluster() -> _Cluster | None:
    """Return the cluster of a surrounding ``parallel("dask")``, or None if there is none."""
    return _CLUSTER.get()


@contextmanager
def parallel(backend: str = "loky", client: Any = None, n_jobs: int | None = None, **options: Any) -> Iterator[Any]:
    """Run repeated fits in parallel within this context, on the cores of this machine or on a dask cluster.

    It applies to multi-start fits, ``bootstrap``, profile intervals, ``leave_family_out`` and ``select_skills``, and to
    the passes of one fit over a table of many thousand scores, wherever their own ``n_jobs`` is None. The numbers do
    not depend on it. A task itself is not parallel: a fit of ``leave_family_out`` runs its starts one after the other,
    and linear algebra uses one thread.

    Parameters
    ----------
    backend : {"loky", "threading", "dask", "sequential"}
        Processes of this machine, threads of this process, a dask cluster, or one task after the other in this process.
        Threads hold Python's lock most of the time, and a warning of one fit may be attributed to another.
    client : distributed.Client or str, optional
        For ``"dask"``: a client, or the address of a scheduler, to which a connection is made that ends with the
        context. By default the client that was made last.
    n_jobs : int, optional
        Tasks at one time, by default as many as there are cores, or as the cluster has room for. For joblib's backends
        -1 means one for each core.
    **options
        Options of ``joblib.parallel_config``, or for ``"dask"`` of ``Client.submit``, such as ``workers``,
        ``resources`` and ``retries``.

    Yields
    ------
    distributed.Client or None
        None for joblib's backends.

    Raises
    ------
    DataError
        If the backend is unknown, n_jobs is not a number of tasks, there is no client or no scheduler at the address,
        or the client is closed or asynchronous.
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
    check_one_of("backend", backend, BACKENDS)
    check_jobs(n_jobs)
    if backend == "dask":
        with _connected(client) as connected, _set(_Cluster(connected, n_jobs, options)):
            yield connected
        return
    if client is not None:
        raise DataError(f"client is for backend='dask'; with {backend!r} leave it out.")
    jobs = 1 if backend == "sequential" else -1 if n_jobs is None else n_jobs
    with _set(None), parallel_config(backend, n_jobs=jobs, **options):
        yield None


@contextmanager
def _set(cluster: _Cluster | None) -> Iterator[None]:
    """Make a cluster, or None, the current one within this context."""
    token = _CLUSTER.set(cluster)
    try:
        yield
    finally:
        _CLUSTER.reset(token)


@contextmanager
def _connected(client: Any) -> Iterator[Any]:
    """Yield an open client: the given one, the one made last, or a new one for an address, closed at the end."""
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


def _require_open(client: Any) -> None:
    if client.status != "running":
        raise DataError(f"The dask client is {client.status}, so that nothing can run on it: make a new one.")


# --- tasks -----------------------------------------------------------------------------------------------------------


def run(
    function: Callable[..., Any],
    tasks: Iterable[tuple[Any, ...]],
    shared: tuple[Any, ...] = (),
    n_jobs: int | None = None,
    ordered: bool = True,
) -> Iterator[Any]:
    """Yield function(*shared, *task) for every task, as the results are made.

    Loop over it directly, so that leaving the loop by an error ends the run.

    Parameters
    ----------
    function : callable
        A function of a module, which must not change ``shared``.
    tasks : iterable of tuple
        The arguments that differ between tasks. An iterator is asked for the next task only when there is room for it,
        so that it may end early because of earlier results.
    shared : tuple
        The arguments that all tasks have in common; they are sent to each worker once.
    n_jobs : int, optional
        Tasks at one time; by default as a surrounding ``parallel`` or joblib context says, else 1. With 1 they run
        in this process, one after the other, whatever the context.
    ordered : bool
        Whether results come in the order of the tasks, or in the order in which they are made.

    Yields
    ------
    object
        What the function returns.
    """
    check_jobs(n_jobs)
    cluster = _CLUSTER.get()
    if cluster is not None and n_jobs != 1:
        yield from _Run(cluster, function, shared, n_jobs).results(tasks, ordered)
    elif effective_n_jobs(n_jobs) == 1:
        for task in tasks:
            yield function(*shared, *task)
    else:
        yield from _by_joblib(function, tasks, shared, n_jobs, ordered)


def _apart(shared: tuple[Any, ...], function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    """Run a task on a worker, with one thread for linear algebra and no parallel runs inside."""
    with threadpool_limits(1), parallel("sequential"):
        return function(*shared, *task)


# --- joblib ----------------------------------------------------------------------------------------------------------


def _by_joblib(
    function: Callable[..., Any],
    tasks: Iterable[tuple[Any, ...]],
    shared: tuple[Any, ...],
    n_jobs: int | None,
    ordered: bool,
) -> Iterator[Any]:
    """Run tasks by joblib, see ``run``."""
    sent = _Shared(shared)
    work = (delayed(_unwrapped)(sent, function, task) for task in tasks)
    # Tasks on threads of this process change both settings and restore them in any order; this restores them last.
    with threadpool_limits(1), warnings.catch_warnings():
        yield from Parallel(n_jobs=n_jobs, return_as="generator" if ordered else "generator_unordered")(work)


def _unwrapped(sent: "_Shared", function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    """Run a task whose shared arguments were sent by joblib."""
    return _apart(sent.value, function, task)


class _Shared:
    """The arguments that the tasks of a run share, pickled at most once and unpickled at most once in each process.

    The pickle is an array of bytes. If it is large (1 MB), joblib puts it into shared memory instead of sending it.
    """

    def __init__(self, value: tuple[Any, ...]) -> None:
        self.value, self.token = value, uuid4().hex

    @cached_property
    def pickled(self) -> np.ndarray:
        """The pickled arguments, as an array of bytes."""
        # cloudpickle, which joblib wraps, can also pickle classes of a script or a notebook
        return np.frombuffer(pickle.dumps(wrap_non_picklable_objects(self.value, keep_wrapper=False)), np.uint8)

    def __reduce__(self) -> tuple[Callable[..., "_Shared"], tuple[str, np.ndarray]]:
        return _received, (self.token, self.pickled)


_LAST: dict[str, _Shared] = {}  # the shared arguments that a process of joblib received last, by their token


def _received(token: str, pickled: np.ndarray) -> _Shared:
    """Unpickle shared arguments in a process of joblib, unless it has them already."""
    shared = _LAST.get(token)
    if shared is None:
        shared = _Shared(pickle.loads(pickled.data))
        _LAST.clear()
        _LAST[token] = shared
    return shared


# --- a cluster -------------------------------------------------------------------------------------------------------

# Warning filters and the number of threads of linear algebra belong to the whole process, so a worker with several
# threads runs one task at a time.
_ONE_AT_A_TIME = threading.Lock()


def _on_worker(shared: tuple[Any, ...], function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    """Run a task on a worker of a cluster."""
    with _ONE_AT_A_TIME:
        return _apart(shared, function, task)


def _ready() -> None:
    """Do nothing: an adaptive cluster starts its first worker only for a task, and this one waits for it."""


@dataclass
class _Run:
    """The tasks of one run on a cluster.

    If a worker dies, dask gives its tasks to another one. If all workers that hold the shared arguments die at once,
    dask cannot help: the arguments are then sent again, and the unfinished tasks are submitted again.

    Attributes
    ----------
    cluster : _Cluster
    function, shared, n_jobs
        As for ``run``.
    under_way : dict
        Number and arguments of each submitted task, by its ``distributed.Future``.
    """

    cluster: _Cluster
    function: Callable[..., Any]
    shared: tuple[Any, ...]
    n_jobs: int | None
    under_way: dict[Any, tuple[int, tuple[Any, ...]]] = field(default_factory=dict)

    def results(self, tasks: Iterable[tuple[Any, ...]], ordered: bool) -> Iterator[Any]:
        """Yield the results of tasks, in their order or as they are made."""
        from distributed import as_completed

        client, numbered = self.cluster.client, enumerate(tasks)
        held: dict[int, Any] = {}  # results that wait for those of earlier tasks
        turn = 0  # number of the task whose result is to be yielded next
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

    def _scatter(self) -> Any:
        """Send the shared arguments to the cluster, and return their future."""
        client = self.cluster.client
        client.submit(_ready, pure=False, **self.cluster.options).result()
        # They go to one worker, from which the others fetch them with their first task and keep them as long as they
        # have tasks. Copies broadcast before there are tasks may be removed by dask's memory manager, and sent again.
        return client.scatter([self.shared], hash=False)[0]

    def _scatter_again(self, lost: int) -> Any:
        """Send the shared arguments again after all workers died for the ``lost``-th time."""
        _require_open(self.cluster.client)
        if lost > _MOST_LOST:
            raise RuntimeError(
                f"All workers of the cluster died {lost} times during this run. Often memory is short: see their logs. "
                "A run with a store (resume=, store=) goes on from where it got to."
            )
        return self._scatter()

    def _fill(self, numbered: Iterator[tuple[int, tuple[Any, ...]]], scattered: Any, finished: Any) -> None:
        """Submit as many tasks as there is room for."""
        asked = self.cluster.n_jobs if self.n_jobs is None else self.n_jobs
        room = _UNDER_WAY * max(1, sum(self.cluster.client.nthreads().values()))
        room = room if asked is None or asked < 0 else asked
        for number, task in islice(numbered, max(0, room - len(self.under_way))):
            self._submit(number, task, scattered, finished)

    def _submit(self, number: int, task: tuple[Any, ...], scattered: Any, finished: Any) -> None:
        """Submit one task."""
        client, options = self.cluster.client, self.cluster.options
        future = client.submit(_on_worker, scattered, self.function, task, pure=False, **options)
        self.under_way[future] = number, task
        finished.add(future)
