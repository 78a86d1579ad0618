"""Averages and comparisons of the errors of held-out scores.

All functions take the long table ``LeaveFamilyOut.errors``. An average over scores that include those of a failed fit
is NaN, and not the average over the remaining ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..checks import check_one_of
from ..errors import DataError

KEYS = ("group", "family", "llm", "benchmark")
UNITS = ("family", "group")


def mean_absolute_error(
    errors: pd.DataFrame, methods: Sequence[str], by: str | Sequence[str] | None = None, pooled: bool = False
) -> pd.Series | pd.DataFrame:
    """Return mean absolute errors in percentage points.

    Parameters
    ----------
    errors : DataFrame
        It has the columns method, those of ``KEYS``, and abs_error.
    methods : sequence of str
        Methods, in the order of the result.
    by : str or sequence of str, optional
        Some of ``KEYS``, for separate averages. Methods are always separate.
    pooled : bool
        Whether to average over all scores at once; otherwise averages within groups are averaged over groups. It makes
        no difference to averages by group, family or LLM.

    Returns
    -------
    Series or DataFrame
        A Series by method; with ``by`` a DataFrame with a row for each value of ``by`` and a column for each method.
    """
    keys = _read_keys(by)
    if pooled or set(keys) & {"group", "family", "llm"}:
        means = _means(errors, ["method", *keys])
    else:
        means = _means(errors, ["method", *keys, "group"]).rename("abs_error").reset_index()
        means = _means(means, ["method", *keys])
    if not keys:
        return means.reindex(list(methods)).rename("mae")
    return means.unstack("method").reindex(columns=list(methods))


def coverage(
    errors: pd.DataFrame, methods: Sequence[str], levels: Sequence[float], by: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the shares of observed scores within their prediction intervals.

    Parameters
    ----------
    errors : DataFrame
        It has the columns lower_95, upper_95 and so on.
    methods : sequence of str
        The methods that have intervals.
    levels : sequence of float
        Levels of the intervals, such as 0.95.
    by : str or sequence of str, optional
        Some of ``KEYS``, for separate shares.

    Returns
    -------
    DataFrame
        A row for each method and value of ``by``, and a column for each level.
    """
    keys = ["method", *_read_keys(by)]
    rows = errors[errors["method"].isin(methods)]
    shares = {}
    for level in levels:
        low, high = (rows[f"{side}_{level_name(level)}"] for side in ("lower", "upper"))
        inside = ((rows["observed"] >= low) & (rows["observed"] <= high)).astype(float)
        shares[level] = _means(rows.assign(abs_error=inside.where(low.notna() & high.notna())), keys)
    return pd.DataFrame(shares).rename_axis(columns="level").reindex(list(methods), level="method")


def calibration(
    errors: pd.DataFrame, shares: pd.DataFrame, levels: Sequence[float], by: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """Return coverage, widths of intervals and proper scores of predictive laws.

    Parameters
    ----------
    errors : DataFrame
        It has the columns lower_95, upper_95 and so on, and pit, crps and log_score where methods have a predictive
        law.
    shares : DataFrame
        The result of ``coverage`` for the same errors.
    levels : sequence of float
        Levels of the intervals, such as 0.95.
    by : str or sequence of str, optional
        Some of ``KEYS``, for separate averages.

    Returns
    -------
    DataFrame
        See ``LeaveFamilyOut.calibration``.
    """
    keys = ["method", *_read_keys(by)]
    rows = errors[errors["method"].isin(shares.index.get_level_values("method"))]
    columns = {f"coverage_{level_name(level)}": shares[level] for level in levels}
    for level in levels:
        width = 100.0 * (rows[f"upper_{level_name(level)}"] - rows[f"lower_{level_name(level)}"])
        columns[f"width_{level_name(level)}"] = _means(rows.assign(abs_error=width), keys)
    if "pit" in rows:
        grouped = rows.groupby(keys, sort=False)
        columns |= {"pit_mean": grouped["pit"].mean(), "pit_sd": grouped["pit"].std(ddof=0)}
        columns |= {name: _means(rows.assign(abs_error=rows[name]), keys) for name in ("crps", "log_score")}
    columns["n"] = rows.groupby(keys, sort=False).size()
    return pd.DataFrame(columns).reindex(shares.index)


def level_name(level: float) -> str:
    """Return a level as it occurs in the names of columns, 95 for 0.95."""
    return f"{round(100.0 * level, 6):g}"


def paired_differences(
    errors: pd.DataFrame, methods: Sequence[str], baseline: str, unit: str = "family"
) -> pd.DataFrame:
    """Return the differences between each method's errors and a baseline's, paired over families.

    Parameters
    ----------
    errors : DataFrame
        The table ``LeaveFamilyOut.errors``.
    methods : sequence of str
    baseline : str
        One of the methods.
    unit : {"family", "group"}
        The unit of observation, whose error is the mean absolute error of its scores.

    Returns
    -------
    DataFrame
        One row for each other method, with the columns mae and baseline (means over the units that both methods
        predicted), difference, se (the standard deviation of the units' differences divided by the root of their
        number), t, p_value (two-sided, from Student's t law with one degree of freedom fewer than units), better
        (number of units with a smaller error) and n (number of units).

    Raises
    ------
    DataError
        If the baseline is not a method, or the unit is unknown.
    """
    check_one_of("baseline", baseline, methods)
    check_one_of("unit", unit, UNITS)
    by_unit = _means(errors, ["method", unit]).unstack("method")
    rows = {}
    for method in methods:
        if method == baseline:
            continue
        pair = by_unit[[method, baseline]].dropna()
        gap, n = pair[method] - pair[baseline], len(pair)
        se = gap.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        t = gap.mean() / se if se > 0.0 else np.nan
        rows[method] = {
            "mae": pair[method].mean(),
            "baseline": pair[baseline].mean(),
            "difference": gap.mean(),
            "se": se,
            "t": t,
            "p_value": 2.0 * stats.t.sf(abs(t), n - 1) if n > 1 else np.nan,
            "better": int((gap < 0.0).sum()),
            "n": n,
        }
    columns = ["mae", "baseline", "difference", "se", "t", "p_value", "better", "n"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("method")


def _read_keys(by: str | Sequence[str] | None) -> list[str]:
    """Check the names in ``by``, and return them as a list."""
    keys = [by] if isinstance(by, str) else list(by or [])
    keys = [key for key in keys if key != "method"]
    unknown = [key for key in keys if key not in KEYS]
    if unknown:
        raise DataError(f"by is made of {', '.join(KEYS)}; not of {unknown[0]!r}.")
    return keys


def _means(frame: pd.DataFrame, keys: list[str]) -> Any:
    """Return means of abs_error by the values of keys, in the order of appearance; NaN where an error is missing."""
    grouped = frame.groupby(keys, sort=False)["abs_error"]
    return grouped.mean().where(grouped.count() == grouped.size())
