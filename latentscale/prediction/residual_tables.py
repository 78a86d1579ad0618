"""Residuals as long tables, and what is plotted with them: a smoother with its band, and normal order statistics."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from ..checks import check_alpha
from ..errors import DataError
from ..models.latent_skill import LatentSkillLaw
from .residuals import cell_residuals

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

SPAN = 0.5  # share of the residuals that the smoother sees at a point
_GRID = 61  # points of the smoother
_FEWEST = 10  # points that it needs
_BENT = 20.0  # least ratio of the largest value to the smallest for a logarithmic scale


def unrotated(fit: "LatentSkillResults") -> "LatentSkillResults":
    """Return the fit that a rotated fit was made from, whose predictions are the same; any other fit itself."""
    return getattr(fit, "source", fit)


def residual_table(fit: "LatentSkillResults", kind: str = "quantile", seed: int = 0) -> pd.DataFrame:
    """Return the residuals of the observed scores, one a row: see ``LatentSkillResults.residual_table``."""
    fit = unrotated(fit)
    model, cells = fit.model, fit.model.user_cells
    residuals = cell_residuals(fit.structure, cells, fit.estimate.rule, kind, seed)
    covariates = model.panel.table.loc[list(model.llms), sorted(_variables(model))].reset_index(drop=True)
    table = pd.DataFrame(
        {
            "llm": np.asarray(model.llms, dtype=object)[cells.row],
            "family": np.asarray(model.families)[model.family_codes][cells.row],
            "benchmark": np.asarray(model.benchmarks, dtype=object)[cells.item],
            "residual": residuals.values,
            "fitted": residuals.fitted,
        }
    )
    for name in covariates:
        if name not in table:
            table[name] = covariates[name].to_numpy()[cells.row]
    order = np.lexsort((cells.item, cells.row))
    return table.iloc[order].reset_index(drop=True)


def _variables(model: LatentSkillLaw) -> set[str]:
    """Return the names of the columns that the scaling formula uses."""
    return {str(name) for name in model.design.spec.formula.required_variables}


def is_bent(values: npt.ArrayLike) -> bool:
    """Return whether a covariate is plotted and smoothed on the logarithmic scale.

    It is if its values are positive and the largest is more than 20 times the smallest.
    """
    values = np.asarray(values, dtype=float)
    return bool(values.min() > 0.0 and values.max() > _BENT * values.min())


def trend(table: pd.DataFrame, column: str, alpha: float = 0.05, logged: bool = False) -> pd.DataFrame | None:
    """Return ``smoother`` of the residuals over a column; None where there are too few points for one."""
    values = table[column].to_numpy(dtype=float)
    if len(np.unique(values)) < _FEWEST // 2 or len(values) < _FEWEST:
        return None
    curve = smoother(np.log(values) if logged else values, table["residual"], alpha)
    return curve.assign(x=np.exp(curve["x"])) if logged else curve


def smoother(x: npt.ArrayLike, y: npt.ArrayLike, alpha: float = 0.05, span: float = SPAN) -> pd.DataFrame:
    """Smooth y over x by local linear regression, and return the curve with a pointwise confidence band.

    The window at a point holds the nearest share ``span`` of the values of x, with tricube weights. The band is the
    curve +- z times its standard error, from the weights and one variance of y about the curve. It takes values of y to
    be independent, as quantile residuals are under the model (Cleveland 1979; Loader 1999).

    Parameters
    ----------
    x, y : arrays (n,)
    alpha : float
        One minus the level of the band, in (0, 1).
    span : float
        Share of the points in a window, in (0, 1].

    Returns
    -------
    DataFrame
        Columns x (61 quantiles of x, fewer if these coincide), mean, lower, upper.

    Raises
    ------
    DataError
        If there are fewer than ten points, or x is constant.

    Examples
    --------
    >>> x = np.linspace(0.0, 1.0, 50)
    >>> smoother(x, 1.0 + 2.0 * x)["mean"].iloc[[0, -1]].round(6).tolist()
    [1.0, 3.0]
    """
    check_alpha(alpha)
    x, y = (np.asarray(values, dtype=float) for values in (x, y))
    if len(x) < _FEWEST or np.ptp(x) == 0.0:
        raise DataError(f"A smoother takes at least {_FEWEST} points at different places; got {len(x)}.")
    at = np.unique(np.quantile(x, np.linspace(0.0, 1.0, _GRID)))
    distance = np.abs(x - at[:, None])
    count = max(_FEWEST, int(np.ceil(span * len(x))))
    width = np.sort(distance, axis=1)[:, min(count, len(x)) - 1]
    # a window that ties fill with a single value of x reaches to the farthest point instead
    width = np.where(width > 0.0, width, distance.max(axis=1)) * (1.0 + 1e-6)
    weight = np.clip(1.0 - (distance / width[:, None]) ** 3, 0.0, None) ** 3
    centred = x - at[:, None]
    s0, s1, s2 = (np.sum(weight * centred**power, axis=1) for power in range(3))
    flat = s0 * s2 - s1**2 < 1e-10 * s0 * s2 + 1e-300  # all weight is at one value of x, where the curve is the mean
    determinant = np.where(flat, 1.0, s0 * s2 - s1**2)
    lines = weight * (s2[:, None] - s1[:, None] * centred) / determinant[:, None]
    lines = np.where(flat[:, None], weight / s0[:, None], lines)
    mean = lines @ y
    spread = np.std(y - np.interp(x, at, mean), ddof=2)
    half = stats.norm.isf(0.5 * alpha) * spread * np.sqrt(np.sum(lines**2, axis=1))
    return pd.DataFrame({"x": at, "mean": mean, "lower": mean - half, "upper": mean + half})


def normal_order(values: npt.ArrayLike, alpha: float = 0.05) -> pd.DataFrame:
    """Return values in ascending order beside the normal quantiles where they are expected, with a pointwise band.

    The i-th smallest of n independent standard normal values is distributed as the normal quantile of a
    beta(i, n + 1 - i) variable; the band holds it with probability 1 - alpha.

    Parameters
    ----------
    values : array (n,)
    alpha : float
        In (0, 1).

    Returns
    -------
    DataFrame
        Columns theoretical, value, lower, upper; n rows, the smallest value first.

    Examples
    --------
    >>> normal_order([0.3, -1.0, 0.9]).round(2).iloc[1].tolist()
    [0.0, 0.3, -1.31, 1.31]
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    rank = np.arange(1, n + 1)
    check_alpha(alpha)
    levels = (0.5 * alpha, 1.0 - 0.5 * alpha)
    lower, upper = (special.ndtri(stats.beta.ppf(level, rank, n + 1 - rank)) for level in levels)
    theoretical = special.ndtri((rank - 0.5) / n)
    return pd.DataFrame({"theoretical": theoretical, "value": ordered, "lower": lower, "upper": upper})
