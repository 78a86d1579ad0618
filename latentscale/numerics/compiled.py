"""The choice between numpy and compiled loops.

With numba installed (``pip install latentscale[fast]``) the likelihood of scores under the logistic link is computed
by compiled loops (``numerics.compiled_beta``). Without it, or with the environment variable ``LATENTSCALE_PLAIN`` set
to anything but 0, numpy computes it. Both give the same numbers up to rounding. numba is imported when it is first
needed.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType


def available() -> bool:
    """Return whether compiled loops are used."""
    return os.environ.get("LATENTSCALE_PLAIN", "0") in ("", "0") and _kernels() is not None


@lru_cache(None)
def _kernels() -> ModuleType | None:
    """Return the module of compiled loops, or None without a numba that works here."""
    if find_spec("numba") is None:
        return None
    try:
        from . import compiled_beta
    except ImportError:  # numba refuses versions of numpy that it does not know
        return None
    return compiled_beta


def beta_logistic(order: int, asymptotes: bool) -> tuple[Callable[..., None], tuple[str, ...]]:
    """Return the compiled function and the names of its results, see ``compiled_beta.beta_logistic``.

    May be called only where ``available`` is true.
    """
    kernels = _kernels()
    assert kernels is not None, "compiled loops are not available"
    return kernels.beta_logistic(order, asymptotes)
