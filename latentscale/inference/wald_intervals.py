"""Wald intervals on the scale on which estimates are nearly normal."""

import numpy as np
import pandas as pd

from ..parameters.kinds import EDGE
from ..parameters.named import Parameters


def wald_intervals(parameters: Parameters, params: pd.Series, bse: pd.Series, quantiles: np.ndarray) -> pd.DataFrame:
    """Return Wald intervals whose ends are computed on a scale of near normality and transformed back.

    Parameters
    ----------
    parameters : Parameters (P,)
        The kind of each has its scale.
    params, bse : Series (P,)
        Estimates and standard errors.
    quantiles : array (P,)
        Upper quantile of the distribution of an estimate divided by its standard error.

    Returns
    -------
    DataFrame (P, 2)
        Columns ``lower`` and ``upper``.
    """
    ends = np.empty((len(params), 2))
    rows = zip(parameters, params.to_numpy(), quantiles * bse.to_numpy(), strict=True)
    for row, (parameter, value, half) in enumerate(rows):
        kind = parameter.kind
        if np.isfinite(half):
            scale = kind.scale
            centre, half = scale.forward(value), half * scale.derivative(value)
            ends[row] = scale.back(centre - half), scale.back(centre + half)
        else:
            ends[row] = value - half, value + half
        if kind.zero == EDGE:  # zero is a value that it may take
            ends[row, 0] = max(ends[row, 0], 0.0)
    return pd.DataFrame(ends, index=params.index, columns=["lower", "upper"])
