"""Passes over the families batch by batch, one after the other, on threads or on a cluster.

Families are independent given the parameters, so that the log-likelihood, its score and its Hessian are sums over
batches of families (``Cells.batches``). Batches are so small that their arrays stay near the processor's cache; working
memory does not grow with the table. They do not depend on the number of threads, and sums are taken in their order, so
that threads do not change a digit.

On a dask cluster (``parallel("dask")``) each worker keeps some groups of batches for as long as the cells live. A pass
sends parameters and modes, and receives sums and modes. Groups that are lost with a worker are sent again.
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

_THREADS: ContextVar[int | None] = ContextVar("threads", default=None)


@contextmanager
def spread_over(threads: int | None) -> Iterator[None]:
    """Run passes within this context on so many threads; None leaves the number to a surrounding joblib context."""
    token = _THREADS.set(threads)
    try:
        yield
    finally:
        _THREADS.reset(token)


def over_batches(function: Callable[..., Any], cells: Cells, *by_family: Any, large: bool = False) -> Iterator[Any]:
    """Yield function(cells, *by_family) for every batch of families, in their order.

    Parameters
    ----------
    function : callable
        It runs without floating point warnings: the caller checks whether results are finite.
    cells : Cells
    *by_family : Modes, StandardNodes, Nodes, array (L, ...) or None
        Arguments of which a batch takes the part that belongs to its families.
    large : bool
        Whether results are so large that few of them may be held at a time.
    """
    batches = cells.batches
    if len(batches) == 1:
        yield _quietly(function, cells, *by_family)
        return
    cluster = current_cluster()
    if cluster is not None and _THREADS.get() is None:
        yield from _on_cluster(cluster.client, function, cells, by_family)
        return
    tasks = ((function, batch, *(_slice(given, cells, *span) for given in by_family)) for span, batch in batches)
    threads = min(effective_n_jobs(_THREADS.get()), len(batches))
    if threads == 1:
        yield from starmap(_quietly, tasks)
        return
    with Parallel(n_jobs=threads, backend="threading") as pool:
        while some := list(islice(tasks, threads if large else 8 * threads)):
            yield from pool(delayed(_quietly)(*task) for task in some)


def _quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return function(*arguments), computed without floating point warnings."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # every thread has separate settings
        return function(*arguments)


# --- a cluster -------------------------------------------------------------------------------------------------------

_GROUPS = 4  # groups of batches for each thread of the cluster
_MOST_LOST = 3  # how often a group may be lost with its worker in one pass


def _on_cluster(client: Any, function: Callable[..., Any], cells: Cells, by_family: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the results of ``over_batches`` from the workers of a cluster, which keep the cells."""
    sent = _sent(client, cells)
    work = [[tuple(_slice(given, cells, *span) for given in by_family) for span, _ in group] for group, _ in sent]
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
                group, _ = sent[number]
                (data,) = client.scatter([[batch for _, batch in group]], hash=False)
                sent[number] = group, data
                futures[number] = client.submit(_run_batches, function, data, some, pure=False)


def _run_batches(function: Callable[..., Any], batches: list[Cells], work: list[tuple[Any, ...]]) -> list[Any]:
    """Return the results of a group of batches; runs on a worker."""
    return [_quietly(function, batch, *given) for batch, given in zip(batches, work, strict=True)]


def _sent(client: Any, cells: Cells) -> list[tuple[Any, Any]]:
    """Return the groups of batches, each with the future of its cells on a worker; they are sent at the first call."""
    kept = cells.__dict__.get("_sent")
    if kept is None or kept[0] is not client:
        count = min(len(cells.batches), _GROUPS * max(1, sum(client.nthreads().values())))
        bounds = np.linspace(0, len(cells.batches), count + 1).astype(int)
        groups = [cells.batches[first:last] for first, last in pairwise(bounds)]
        data = client.scatter([[batch for _, batch in group] for group in groups], hash=False)
        kept = cells.__dict__["_sent"] = client, list(zip(groups, data, strict=True))
    groups_and_futures: list[tuple[Any, Any]] = kept[1]
    return groups_and_futures


def _slice(given: Any, cells: Cells, first: int, last: int) -> Any:
    """Return the part of an argument of ``over_batches`` that belongs to families ``first`` to ``last - 1``."""
    if isinstance(given, Modes):
        return given.of_families(cells, first, last)
    if given is None or isinstance(given, np.ndarray):
        return given if given is None else given[first:last]
    return given.of_families(first, last)


def total(results: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return the sum over batches of each entry of their tuples of numbers and arrays; an entry None stays None."""
    return reduce(_added, results)


def _added(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if a is None else a + b for a, b in zip(one, other, strict=True))
