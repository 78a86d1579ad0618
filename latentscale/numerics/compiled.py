"""The switch between numpy and compiled loops.

With numba installed (``pip install latentscale[fast]``) the likelihood of scores under the logistic link is computed
by compiled loops (``numerics.kernels``); without it, or with the environment variable ``LATENTSCALE_PLAIN`` set to
anything but 0, by numpy. Both give the same numbers but for rounding. numba is imported when it is first needed.
"""

import os
from functools import lru_cache
from importlib.util import find_spec


def available():
    """Whether compiled loops are used."""
    return os.environ.get("LATENTSCALE_PLAIN", "0") in ("", "0") and _kernels() is not None


@lru_cache(None)
def _kernels():
    """The module of compiled loops, or None without a numba that works here."""
    if find_spec("numba") is None:
        return None
    try:
        from . import kernels
    except ImportError:  # numba refuses versions of numpy that it does not know
        return None
    return kernels


def beta_logistic(order, asymptotes):
    """``kernels.beta_logistic``: the compiled function and the names of its results."""
    return _kernels().beta_logistic(order, asymptotes)
