"""Wald intervals on the scale where the normal approximation is good."""

import numpy as np
import pandas as pd

from ..parameters.kinds import EDGE


def wald_intervals(parameters, params, bse, quantiles):
    """Endpoint-transformed Wald intervals.

    Parameters
    ----------
    parameters : Parameters (P,)
        Their kinds say on which scale.
    params, bse : Series (P,)
    quantiles : array (P,)
        Upper quantile of the law of an estimate over its standard error.

    Returns
    -------
    DataFrame (P, 2)
        Columns ``lower`` and ``upper``.
    """
    out = np.empty((len(params), 2))
    rows = zip(parameters, params.to_numpy(), quantiles * bse.to_numpy(), strict=True)
    for row, (parameter, value, half) in enumerate(rows):
        kind = parameter.kind
        if np.isfinite(half):
            scale = kind.scale
            centre, half = scale.forward(value), half * scale.derivative(value)
            out[row] = scale.back(centre - half), scale.back(centre + half)
        else:
            out[row] = value - half, value + half
        if kind.zero == EDGE:  # zero is a value that it may take
            out[row, 0] = max(out[row, 0], 0.0)
    return pd.DataFrame(out, index=params.index, columns=["lower", "upper"])
