"""Errors of held-out scores, averaged and compared.

All take the long table of ``LeaveFamilyOut.errors``. What cannot be computed, because a fit failed, is NaN rather than
an average over the rest.
"""

import numpy as np
import pandas as pd
from scipy import stats

from ..checks import check_one_of
from ..errors import DataError

KEYS = ("group", "family", "llm", "benchmark")
UNITS = ("family", "group")


def mean_absolute_error(errors, methods, by=None, pooled=False):
    """Mean absolute errors in percentage points.

    Parameters
    ----------
    errors : DataFrame
        Columns method, those of ``KEYS``, abs_error.
    methods : sequence of str
        In the order wanted.
    by : str or sequence of str, optional
        Some of ``KEYS``; ``"method"`` is no key, as methods are always apart.
    pooled : bool
        Mean over all cells; otherwise the mean over the cells of each group, and then over groups. Makes no difference
        by group, family or LLM, whose cells are averaged.

    Returns
    -------
    Series by method; with ``by`` a DataFrame, its rows the values of ``by``.
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


def coverage(errors, methods, levels, by=None):
    """Shares of observed scores within their prediction intervals.

    Parameters
    ----------
    errors : DataFrame
        With columns lower_95, upper_95 and so on.
    methods : sequence of str
        Those that give intervals.
    levels : sequence of float
        Levels, such as 0.95.
    by : str or sequence of str, optional
        Some of ``KEYS``.

    Returns
    -------
    DataFrame
        Rows by method, and the values of ``by``; a column per level.
    """
    keys = ["method", *_read_keys(by)]
    rows = errors[errors["method"].isin(methods)]
    shares = {}
    for level in levels:
        low, high = (rows[f"{side}_{level_name(level)}"] for side in ("lower", "upper"))
        inside = ((rows["observed"] >= low) & (rows["observed"] <= high)).astype(float)
        shares[level] = _means(rows.assign(abs_error=inside.where(low.notna() & high.notna())), keys)
    return pd.DataFrame(shares).rename_axis(columns="level").reindex(list(methods), level="method")


def calibration(errors, shares, levels, by=None):
    """Coverage, width and scores of predictive laws.

    Parameters
    ----------
    errors : DataFrame
        With columns lower_95, upper_95 and so on, and pit, crps, log_score where methods have a predictive law.
    shares : DataFrame
        ``coverage`` of the same.
    levels : sequence of float
    by : str or sequence of str, optional
        Some of ``KEYS``.

    Returns
    -------
    DataFrame
        As ``LeaveFamilyOut.calibration``.
    """
    keys = ["method", *_read_keys(by)]
    rows = errors[errors["method"].isin(shares.index.get_level_values("method"))]
    parts = {f"coverage_{level_name(level)}": shares[level] for level in levels}
    for level in levels:
        width = 100.0 * (rows[f"upper_{level_name(level)}"] - rows[f"lower_{level_name(level)}"])
        parts[f"width_{level_name(level)}"] = _means(rows.assign(abs_error=width), keys)
    if "pit" in rows:
        grouped = rows.groupby(keys, sort=False)
        parts |= {"pit_mean": grouped["pit"].mean(), "pit_sd": grouped["pit"].std(ddof=0)}
        parts |= {name: _means(rows.assign(abs_error=rows[name]), keys) for name in ("crps", "log_score")}
    parts["n"] = rows.groupby(keys, sort=False).size()
    return pd.DataFrame(parts).reindex(shares.index)


def level_name(level):
    """A level in the names of columns: 0.95 is 95."""
    return f"{round(100.0 * level, 6):g}"


def paired_differences(errors, methods, baseline, unit="family"):
    """Each method's error less a baseline's, paired over families.

    Parameters
    ----------
    errors : DataFrame
    methods : sequence of str
    baseline : str
        One of the methods.
    unit : {"family", "group"}
        What is one observation: its error is the mean over its cells.

    Returns
    -------
    DataFrame
        One row per other method: mae and baseline (means over units that both methods predicted), difference, se (the
        standard deviation of the units' differences over the root of their number), t, p_value (two-sided, Student's
        t with one degree of freedom fewer than units), better (units with a smaller error), n (units).

    Raises
    ------
    DataError
        If the baseline is no method, or the unit unknown.
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


def _read_keys(by):
    keys = [by] if isinstance(by, str) else list(by or [])
    keys = [key for key in keys if key != "method"]
    unknown = [key for key in keys if key not in KEYS]
    if unknown:
        raise DataError(f"by is made of {', '.join(KEYS)}; not of {unknown[0]!r}.")
    return keys


def _means(frame, keys):
    """Means of abs_error in the order of appearance, NaN where any is."""
    grouped = frame.groupby(keys, sort=False)["abs_error"]
    return grouped.mean().where(grouped.count() == grouped.size())
