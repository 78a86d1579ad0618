"""What a table says about covariates before any model: range, values far from the rest, variance within families."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

# A value lies apart from the rest if a factor of ten and three of the largest steps among the others are between them.
_FACTOR = 10.0
_STEPS = 3.0
_FEW = 0.05  # the largest share of values that can lie apart from the rest; one always can
_LEAST = 10  # of fewer values none is far from the rest
COLUMNS = ["n", "missing", "min", "median", "max", "scale", "within_families", "apart"]


def family_means(x: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Return, for each LLM, the mean of a covariate (n,) or of several (n, p) over the LLMs of its family.

    ``family`` are codes (n,) from zero, of which some may have no LLM.
    """
    sums = np.zeros((int(family.max()) + 1, *x.shape[1:]))
    np.add.at(sums, family, x)
    counts = np.bincount(family)
    return sums[family] / counts[family].reshape(-1, *(1,) * (x.ndim - 1))


def share_within(x: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Return the share of the variance of covariates (n,) or (n, p) that lies within families, in [0, 1]."""
    within = np.mean((x - family_means(x, family)) ** 2, axis=0)
    return np.asarray(within / np.var(x, axis=0))


def lying_apart(values: np.ndarray) -> np.ndarray:
    """Return the positions of few values that lie far above or below all others, farthest first.

    Units are mixed up by factors of ten and more, so steps between sorted values are judged on the log scale. A step
    separates values from the rest if it is a factor of ten at least, and more than three times the largest step among
    the rest.

    Parameters
    ----------
    values : array (n,)
        Positive values, NaN where missing. If there are fewer than ten, or one is not positive, nothing is found.

    Returns
    -------
    int array
    """
    present = np.flatnonzero(~np.isnan(values))
    if len(present) < _LEAST or not (values[present] > 0.0).all():
        return np.zeros(0, dtype=int)
    order = present[np.argsort(values[present], kind="stable")]
    logs = np.log(values[order])
    steps, few = np.diff(logs), max(1, int(_FEW * len(order)))
    apart: list[int] = []
    for count in range(1, few + 1):
        # the values beyond the count-th step from either end; a few at the other end do not hide them
        for step, rest, outer in (
            (steps[-count], steps[few:-count], order[-count:][::-1]),
            (steps[count - 1], steps[count:-few], order[:count]),
        ):  # fmt: skip
            if step >= np.log(_FACTOR) and step > _STEPS * rest.max():
                apart += [int(position) for position in outer if position not in apart]
    return np.array(apart, dtype=int)


def numeric_columns(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the values (N,) of each column of numbers, NaN where one is missing or not finite."""
    columns = {}
    for name in table.columns:
        kind = table[name].dtype
        if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            values = table[name].to_numpy(dtype=float, na_value=np.nan)
            columns[str(name)] = np.where(np.isfinite(values), values, np.nan)
    return columns


def told_apart(table: pd.DataFrame, llms: Sequence[str]) -> list[str]:
    """Return for each value that lies apart a phrase with its LLM and how far the nearest of the others is."""
    phrases = []
    for name, values in numeric_columns(table).items():
        apart = lying_apart(values)
        rest = np.delete(values, apart)
        for position in apart:
            value, low, high = values[position], np.nanmin(rest), np.nanmax(rest)
            away = f"{value / high:,.0f} times the largest other ({high:g})"
            if value < low:
                away = f"and the smallest other {low / value:,.0f} times as large ({low:g})"
            phrases.append(f"{name} of {llms[position]} is {value:g}, {away}")
    return phrases


def describe_covariates(table: pd.DataFrame, llms: Sequence[str], families: np.ndarray) -> pd.DataFrame:
    """Return a row for each numeric column of a table; see ``BenchmarkPanel.covariates``."""
    rows = {}
    for name, values in numeric_columns(table).items():
        seen = ~np.isnan(values)
        x = values[seen]
        if not len(x):
            continue
        log = bool((x > 0.0).all())
        _, family = np.unique(families[seen], return_inverse=True)
        coded = np.log(x) if log else x
        share = float(share_within(coded, family)) if np.ptp(coded) > 0.0 else np.nan
        apart = tuple(llms[position] for position in lying_apart(values))
        scale = "log" if log else "linear"
        rows[name] = (len(x), int(np.sum(~seen)), x.min(), np.median(x), x.max(), scale, share, apart)
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis("covariate")
