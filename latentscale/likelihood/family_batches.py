"""Passes over the families part by part: working memory that does not grow with the table; threads, or a cluster.

Given the parameters families are independent, so that a log-likelihood, its score and its Hessian are sums over parts
of the families (``Cells.parts``). A part is small enough for its arrays to stay near the cache, and the same whatever
the number of threads is; sums are taken in the order of the parts, so that threads do not change a digit.

On a dask cluster (``parallel("dask")``) runs of parts stay with the workers for as long as the cells live; a pass sends
parameters and modes, and brings sums and modes back. Runs that a dying worker takes along are sent again.
"""


from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from itertools import islice, pairwise, starmap
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from ..components.cells import Cells
from ..workers import current_cluster
from .modes import Modes

_THREADS = ContextVar("threads", default=None)


@contextmanager
def spread_over(threads: int | None) -> Iterator[None]:
    """Within this context passes run on so many threads; None for what joblib's context says, one outside of any."""
    token = _THREADS.set(threads)
    try:
        yield
    finally:
        _THREADS.reset(token)


def over_batches(function: Callable[..., Any], cells: Cells, *by_family: Any, large: bool = False) -> Iterator[Any]:
    """Yield function(cells, *by_family) of every part of the families, in their order.

    Parameters
    ----------
    function : callable
        Its floating point warnings are off: what is not finite is the caller's to see.
    cells : Cells
    *by_family : Modes, StandardNodes, Nodes, array (L, ...) or None
        What is sliced with the cells.
    large : bool
        Whether results are so large that few of them may be held at a time.
    """
    parts = cells.batches
    if len(parts) == 1:
        yield _quietly(function, cells, *by_family)
        return
    cluster = current_cluster()
    if cluster is not None and _THREADS.get() is None:
        yield from _on_cluster(cluster.client, function, cells, by_family)
        return
    tasks = ((function, part, *(_slice(given, cells, *span) for given in by_family)) for span, part in parts)
    threads = min(effective_n_jobs(_THREADS.get()), len(parts))
    if threads == 1:
        yield from starmap(_quietly, tasks)
        return
    with Parallel(n_jobs=threads, backend="threading") as pool:
        while some := list(islice(tasks, threads if large else 8 * threads)):
            yield from pool(delayed(_quietly)(*task) for task in some)


def _quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # settings of a thread are its own
        return function(*arguments)


# --- a cluster -------------------------------------------------------------------------------------------------------

_RUNS = 4  # of parts, for each thread of the cluster
_MOST_LOST = 3  # times that a run of parts may be lost with its worker in one pass


def _on_cluster(client: Any, function: Callable[..., Any], cells: Cells, by_family: tuple[Any, ...]) -> Iterator[Any]:
    """The same on the workers of a cluster, which keep the cells; large results are the caller's to be few."""
    sent = _sent(client, cells)
    work = [[tuple(_slice(given, cells, *span) for given in by_family) for span, _ in run] for run, _ in sent]
    futures = [client.submit(_run_batches, function, data, some, pure=False)
               for (_, data), some in zip(sent, work, strict=True)]  # fmt: skip
    for number, some in enumerate(work):
        for attempt in range(_MOST_LOST + 1):
            try:
                yield from futures[number].result()
                break
            except CancelledError:
                if attempt == _MOST_LOST:
                    raise
                run, _ = sent[number]
                (data,) = client.scatter([[part for _, part in run]], hash=False)
                sent[number] = run, data
                futures[number] = client.submit(_run_batches, function, data, some, pure=False)


def _run_batches(function: Callable[..., Any], batches: list[Cells], work: list[tuple[Any, ...]]) -> list[Any]:
    """Results of a run of parts, on a worker."""
    return [_quietly(function, part, *given) for part, given in zip(batches, work, strict=True)]


def _sent(client: Any, cells: Cells) -> list[tuple[Any, Any]]:
    """Runs of the parts, each with the future of what a worker holds of it; sent when first asked for."""
    kept = cells.__dict__.get("_sent")
    if kept is None or kept[0] is not client:
        count = min(len(cells.batches), _RUNS * max(1, sum(client.nthreads().values())))
        bounds = np.linspace(0, len(cells.batches), count + 1).astype(int)
        runs = [cells.batches[first:last] for first, last in pairwise(bounds)]
        data = client.scatter([[part for _, part in run] for run in runs], hash=False)
        kept = cells.__dict__["_sent"] = client, list(zip(runs, data, strict=True))
    return kept[1]


def _slice(given: Any, cells: Cells, first: int, last: int) -> Any:
    if isinstance(given, Modes):
        return given.of_families(cells, first, last)
    if given is None or isinstance(given, np.ndarray):
        return given if given is None else given[first:last]
    return given.of_families(first, last)


def total(results: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Sums over parts of each entry of their tuples of numbers and arrays; an entry None stays None."""
    return reduce(_added, results)


def _added(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if a is None else a + b for a, b in zip(one, other, strict=True))
