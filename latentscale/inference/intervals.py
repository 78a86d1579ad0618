"""Wald intervals on the scale where the normal approximation is good."""

import numpy as np
import pandas as pd
from scipy import special, stats

# word of a parameter -> (to the good scale, its derivative, back)
_SCALES = {
    "precision": (np.log, lambda x: 1.0 / x, np.exp),
    "family_sd": (np.log, lambda x: 1.0 / x, np.exp),
    "variance": (np.log, lambda x: 1.0 / x, np.exp),
    "corr": (np.arctanh, lambda x: 1.0 / (1.0 - x * x), np.tanh),
    "lower": (special.logit, lambda x: 1.0 / (x * (1.0 - x)), special.expit),
    "upper": (special.logit, lambda x: 1.0 / (x * (1.0 - x)), special.expit),
}


def scale_of(name):
    """Key of the scale for a parameter's name: its word, or ``variance`` for ``cov[a,a]``."""
    word, _, rest = name.partition("[")
    if word == "cov":
        first, _, second = rest.rstrip("]").partition(",")
        return "variance" if first == second else "cov"
    return word


def wald_intervals(params, bse, alpha):
    """Endpoint-transformed Wald intervals.

    Parameters
    ----------
    params, bse : Series (P,)
    alpha : float

    Returns
    -------
    DataFrame (P, 2)
        Columns ``lower`` and ``upper``.
    """
    quantile = stats.norm.isf(0.5 * alpha)
    out = np.empty((len(params), 2))
    for row, (name, value) in enumerate(params.items()):
        half = quantile * bse.iloc[row]
        if scale_of(name) in _SCALES and np.isfinite(half):
            forward, derivative, back = _SCALES[scale_of(name)]
            centre, half = forward(value), half * derivative(value)
            out[row] = back(centre - half), back(centre + half)
        else:
            out[row] = value - half, value + half
            if scale_of(name) in ("slope_sd", "llm_sd"):  # zero is the edge of its space, and a value it may take
                out[row, 0] = max(out[row, 0], 0.0)
    return pd.DataFrame(out, index=params.index, columns=["lower", "upper"])
