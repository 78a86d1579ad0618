"""Passes over the families part by part: working memory that does not grow with the table, and threads.

Given the parameters families are independent, so that a log-likelihood, its score and its Hessian are sums over parts
of the families (``Cells.parts``). A part is small enough for its arrays to stay near the cache, and the same whatever
the number of threads is; sums are taken in the order of the parts, so that threads do not change a digit.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from itertools import islice, starmap

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from .modes import Modes

_THREADS = ContextVar("threads", default=None)


@contextmanager
def spread_over(threads):
    """Within this context passes run on so many threads; None for what joblib's context says, one outside of any."""
    token = _THREADS.set(threads)
    try:
        yield
    finally:
        _THREADS.reset(token)


def over_parts(function, cells, *by_family, large=False):
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
    parts = cells.parts
    if len(parts) == 1:
        yield _quietly(function, cells, *by_family)
        return
    tasks = ((function, part, *(_slice(given, cells, *span) for given in by_family)) for span, part in parts)
    threads = min(effective_n_jobs(_THREADS.get()), len(parts))
    if threads == 1:
        yield from starmap(_quietly, tasks)
        return
    with Parallel(n_jobs=threads, backend="threading") as pool:
        while some := list(islice(tasks, threads if large else 8 * threads)):
            yield from pool(delayed(_quietly)(*task) for task in some)


def _quietly(function, *arguments):
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # settings of a thread are its own
        return function(*arguments)


def _slice(given, cells, first, last):
    if isinstance(given, Modes):
        return given.part(cells, first, last)
    if given is None or isinstance(given, np.ndarray):
        return given if given is None else given[first:last]
    return given.part(first, last)


def total(results):
    """Sums over parts of each entry of their tuples of numbers and arrays; an entry None stays None."""
    return reduce(_added, results)


def _added(one, other):
    return tuple(None if a is None else a + b for a, b in zip(one, other, strict=True))
