"""Reading of users' tables: any table that narwhals can read becomes a pandas table whose cells have been checked.

No function here changes its arguments, and every problem is reported as a `DataError` that names rows and columns.
"""

import numbers
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from narwhals.typing import IntoFrame
from pandas.api import types

from .checks import did_you_mean
from .errors import DataError

_NOT_A_NUMBER = "convert them first (text with pandas.to_numeric) and leave unknown scores empty"


def some(items: Iterable[object], limit: int = 5, total: int | None = None) -> str:
    """Join at most `limit` items for a message, as in ``a, b and 3 more``.

    `total` is the number of items. Pass it where generating all items would take long.

    Examples
    --------
    >>> some(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    if total is None:
        items = list(items)
        total = len(items)
    shown = [str(item) for item in islice(items, limit)]
    rest = total - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, which is in the plural unless the number is 1.

    Examples
    --------
    >>> counted(1, "family"), counted(2, "family"), counted(3, "skill")
    ('1 family', '2 families', '3 skills')
    """
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun if count == 1 else many}"


def read_table(data: IntoFrame) -> pd.DataFrame:
    """Read a table of any kind into a new pandas table with plain columns.

    Parameters
    ----------
    data : pandas.DataFrame or any table narwhals can read (polars, pyarrow, ...)
        Named levels of a pandas index count as columns.

    Returns
    -------
    pandas.DataFrame
        A copy, with rows numbered from 0 and column names as text.

    Raises
    ------
    DataError
        If `data` is no table, is empty, or has nested or duplicated column names.

    Examples
    --------
    >>> read_table(pd.DataFrame({"mmlu": [0.5]}, index=pd.Index(["a"], name="model")))
      model  mmlu
    0     a   0.5
    """
    table = _from_pandas(data) if isinstance(data, pd.DataFrame) else _from_narwhals(data)
    table.columns = [str(name) for name in table.columns]
    if table.shape[0] == 0 or table.shape[1] == 0:
        raise DataError(f"the table is empty: {table.shape[0]} rows, {table.shape[1]} columns")
    duplicated = table.columns[table.columns.duplicated()].unique()
    if len(duplicated):
        raise DataError(f"column names occur more than once: {some(duplicated)}; rename or drop the copies")
    return table


def _from_pandas(data: pd.DataFrame) -> pd.DataFrame:
    """Copy a pandas table, with the named levels of its index as columns."""
    if data.columns.nlevels > 1:
        raise DataError(
            f"column names have {data.columns.nlevels} levels; give every column one name, for instance "
            "data.columns = ['_'.join(map(str, names)) for names in data.columns]"
        )
    table = data.reset_index(drop=True)
    for level, name in enumerate(data.index.names):
        if isinstance(name, str) and name not in table.columns:
            table.insert(0, name, data.index.get_level_values(level))
    return table


def _from_narwhals(data: IntoFrame) -> pd.DataFrame:
    """Copy a table of another library into pandas."""
    try:
        frame = nw.from_native(data)
    except TypeError as error:
        raise DataError(
            f"a {type(data).__name__} is not a table; make one first, as with pandas.DataFrame(data)"
        ) from error
    except nw.exceptions.NarwhalsError as error:  # such as column names that occur twice
        raise DataError(f"the table cannot be read: {error}") from error
    frame = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    columns = [_copy_column(frame[name]) for name in frame.columns]
    return pd.concat(columns, axis=1) if columns else pd.DataFrame()


def _copy_column(column: nw.Series[Any]) -> pd.Series:
    """Copy a column into pandas.

    Columns other than numbers and dates are copied cell by cell, because polars would need pyarrow to convert them.
    """
    plain = column.dtype.is_numeric() or isinstance(column.dtype, nw.Date | nw.Datetime | nw.Duration)
    return pd.Series(column.to_numpy() if plain else column.to_list(), name=column.name)


def require_columns(table: pd.DataFrame, names: Iterable[str], what: str) -> None:
    """Check that a table has the named columns.

    Parameters
    ----------
    table : pandas.DataFrame
    names : iterable of str
    what : str
        What the columns hold, for the message.

    Raises
    ------
    DataError
        If a column is missing; the message suggests the closest name.

    Examples
    --------
    >>> require_columns(pd.DataFrame({"MMLU": [0.5]}), ["mmlu"], "benchmark")
    Traceback (most recent call last):
    ...
    latentscale.errors.DataError: benchmark not among the columns: 'mmlu' (did you mean 'MMLU'?)
    """
    missing = [_suggest(name, table.columns) for name in names if name not in table.columns]
    if missing:
        raise DataError(f"{what} not among the columns: {some(missing, limit=20)}")


def _suggest(name: str, candidates: Iterable[str]) -> str:
    """Quote a name together with the candidate closest to it, if one is close."""
    return f"'{name}'" + did_you_mean(name, candidates)


def to_floats(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Turn a column into float numbers, without reading numbers out of text.

    Parameters
    ----------
    column : pandas.Series of any dtype

    Returns
    -------
    values : (n,) float array
        NaN for a missing cell and for a cell that is no number.
    wrong : (n,) bool array
        The cells that are neither missing nor real numbers: text, true/false, dates, complex numbers.
    """
    dtype = column.dtype
    if types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype) and not types.is_complex_dtype(dtype):
        with np.errstate(over="ignore"):  # a long double beyond the range of float becomes infinite
            return column.to_numpy(dtype=float, na_value=np.nan), np.zeros(len(column), dtype=bool)
    values = np.full(len(column), np.nan)
    wrong = ~column.isna().to_numpy(dtype=bool)
    for row in np.flatnonzero(wrong):
        cell = column.iloc[row]
        if isinstance(cell, numbers.Real | Decimal) and not isinstance(cell, bool):
            values[row], wrong[row] = _to_float(cell), False
    return values, wrong


def _to_float(cell: Any) -> float:
    try:
        return float(cell)
    except OverflowError:  # an integer beyond the range of float
        return np.inf if cell > 0 else -np.inf


def to_native(column: pd.Series) -> pd.Series:
    """Give a numeric or true/false column a numpy dtype, and leave text, dates and categories as they are.

    Nullable integers and those of arrow become float if a cell is missing. A column of objects that are all numbers or
    missing becomes float.
    """
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and not types.is_object_dtype(dtype):
        return column
    if types.is_bool_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return column.astype(object) if column.isna().any() else column.astype(bool)
    if types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype):
        whole = types.is_integer_dtype(dtype) and not column.isna().any()
        values = column.to_numpy() if whole else to_floats(column)[0]
        return pd.Series(values, index=column.index, name=column.name)
    if types.is_object_dtype(dtype) and column.notna().any():
        values, wrong = to_floats(column)
        return column if wrong.any() else pd.Series(values, index=column.index, name=column.name)
    return column


def read_names(column: pd.Series, what: str) -> list[str]:
    """Read a column of names as text.

    Raises
    ------
    DataError
        If a name is missing or blank.
    """
    blank = [missing or not str(cell).strip() for cell, missing in zip(column, column.isna(), strict=True)]
    if any(blank):
        rows = some(np.flatnonzero(blank))
        raise DataError(f"{what} missing in column '{column.name}', rows {rows} (counted from 0)")
    return [str(cell) for cell in column]


def read_llms(column: pd.Series) -> tuple[str, ...]:
    """Read the column of LLM names as text.

    Raises
    ------
    DataError
        If a name is missing, blank, or occurs twice.
    """
    names = pd.Series(read_names(column, "LLM name"), dtype=object)
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        raise DataError(
            f"LLMs occur more than once: {some(repeated)}; keep one row per LLM, or use "
            "BenchmarkPanel.from_long if each row is one score"
        )
    return tuple(names)


def read_groups(table: pd.DataFrame, groups: str, families: Sequence[str]) -> tuple[str, ...]:
    """Read the group of each LLM's family from a column.

    Raises
    ------
    DataError
        If the column or a cell is missing, or LLMs of one family are of several groups.
    """
    require_columns(table, [groups], "column of groups")
    names = read_names(table[groups], "name of a group")
    of_family = pd.Series(names).groupby(list(families), sort=False).unique()
    mixed = of_family[of_family.map(len) > 1]
    if len(mixed):
        described = some([f"{family} ({', '.join(map(str, found))})" for family, found in mixed.items()])
        raise DataError(f"A family lies within one group; by the column {groups!r} these do not: {described}.")
    return tuple(names)


def read_families(table: pd.DataFrame, family: str | Sequence[str]) -> list[str]:
    """Read each LLM's family from one column, or from the combination of several.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per LLM.
    family : str or sequence of str
        One column, whose values are the names, or several, whose values are joined by a slash. A true/false column
        contributes its own name where it is true, and "not" and its name where it is false.

    Returns
    -------
    list of str
        One family per row.

    Raises
    ------
    DataError
        If a column or a cell is missing, or two combinations have one name.

    Examples
    --------
    >>> table = pd.DataFrame({"base": ["qwen2", "qwen2"], "instruct": [False, True]})
    >>> read_families(table, ["base", "instruct"])
    ['qwen2/not instruct', 'qwen2/instruct']
    """
    columns = [family] if isinstance(family, str) else list(family)
    require_columns(table, columns, "family column")
    names = {column: read_names(table[column], "family name") for column in columns}
    if isinstance(family, str):
        return names[family]
    for column in columns:
        flags = {"True": column, "False": f"not {column}"}
        if types.is_bool_dtype(table[column].dtype):
            names[column] = [flags[name] for name in names[column]]
    combinations = list(zip(*names.values(), strict=True))
    joined = ["/".join(parts) for parts in combinations]
    if len(set(joined)) < len(set(combinations)):
        raise DataError(
            f"different combinations of {some(columns)} make the same family name, such as "
            f"'{_first_clash(joined, combinations)}'; build one column of family names and pass its name"
        )
    return joined


def _first_clash(joined: list[str], combinations: list[tuple[str, ...]]) -> str:
    """Return the first joined name that two different combinations share."""
    first: dict[str, tuple[str, ...]] = {}
    pairs = zip(joined, combinations, strict=True)
    return next(name for name, combination in pairs if first.setdefault(name, combination) != combination)


def read_scores(table: pd.DataFrame, benchmarks: Sequence[str], llms: Sequence[str]) -> np.ndarray:
    """Read the score columns of a wide table and check that they are fractions.

    Parameters
    ----------
    table : pandas.DataFrame
        N rows, one per LLM.
    benchmarks : sequence of str
        J columns to read.
    llms : sequence of str
        N names used in messages.

    Returns
    -------
    (N, J) float array
        Scores in [0, 1], NaN where missing.

    Raises
    ------
    DataError
        If a column is missing, or a score is no number, infinite or outside [0, 1].
    """
    require_columns(table, benchmarks, "benchmark")
    read = [to_floats(table[name]) for name in benchmarks]
    scores = np.column_stack([values for values, _ in read])
    wrong = np.column_stack([mask for _, mask in read])

    def cells(mask: np.ndarray) -> str:
        where = ((llms[i], benchmarks[j], table[benchmarks[j]].iloc[i]) for i, j in np.argwhere(mask).tolist())
        shown = (f"{benchmark} of {llm} is {_show(cell)}" for llm, benchmark, cell in where)
        return some(shown, total=mask.sum())

    if wrong.any():
        raise DataError(f"scores must be numbers: {cells(wrong)}; {_NOT_A_NUMBER}")
    infinite = np.isinf(scores)
    if infinite.any():
        raise DataError(f"infinite scores: {cells(infinite)}; leave unknown scores empty")
    outside = (scores < 0) | (scores > 100)
    if outside.any():
        raise DataError(f"scores outside [0, 1]: {cells(outside)}; rescale them, or leave them empty")
    above = scores > 1
    if above.any():
        columns = some((benchmarks[j] for j in np.flatnonzero(above.any(axis=0)).tolist()), limit=20)
        raise DataError(
            f"scores above 1 in {columns}: {cells(above)}; scores are fractions in [0, 1]: "
            "if these columns hold percentages, divide them by 100"
        )
    return scores


def check_variation(scores: np.ndarray, benchmarks: Sequence[str]) -> None:
    """Refuse benchmarks without information: those with no score, one score, or the same score everywhere.

    Parameters
    ----------
    scores : (N, J) float array
        NaN where missing.
    benchmarks : sequence of str
        J names used in messages.

    Raises
    ------
    DataError
        If a benchmark has fewer than two different scores.
    """
    for name, column in zip(benchmarks, scores.T, strict=True):
        observed = column[~np.isnan(column)]
        if observed.size == 0:
            raise DataError(f"benchmark {name} has no scores; leave it out of the benchmarks")
        if observed.size == 1:
            raise DataError(f"benchmark {name} has one score only; leave it out of the benchmarks")
        if np.all(observed == observed[0]):
            raise DataError(
                f"benchmark {name} is constant: all {observed.size} scores are {observed[0]:g}; leave it out"
            )


def _show(cell: Any) -> str:
    """Return a cell as a message shows it: numbers as printed, other values as Python code, at most 40 characters."""
    text = f"{cell}" if isinstance(cell, numbers.Number | np.bool_) else repr(cell)
    return text if len(text) <= 40 else text[:37] + "..."


def widen(table: pd.DataFrame, benchmark: str, score: str, llm: str) -> tuple[pd.DataFrame, list[str]]:
    """Spread a long table (one row per LLM and benchmark) into a wide one (one row per LLM).

    Parameters
    ----------
    table : pandas.DataFrame
        As returned by `read_table`.
    benchmark, score, llm : str
        Names of the columns with benchmark, score and LLM; all others describe the LLM.

    Returns
    -------
    wide : pandas.DataFrame
        LLMs in order of appearance. Its columns are the names of the LLMs, those that describe the LLMs, and one float
        column per benchmark.
    benchmarks : list of str
        Benchmarks in order of appearance.

    Raises
    ------
    DataError
        If names are missing, a score is no number, a pair of LLM and benchmark occurs twice, or a column that describes
        LLMs varies within one or has the name of a benchmark.
    """
    llms = read_names(table[llm], "LLM name")
    items = read_names(table[benchmark], "benchmark name")
    rows, llm_names = pd.factorize(np.array(llms, dtype=object))
    columns, benchmarks = pd.factorize(np.array(items, dtype=object))
    values, wrong = to_floats(table[score])
    if wrong.any():
        cells = (f"{items[i]} of {llms[i]} is {_show(table[score].iloc[i])}" for i in np.flatnonzero(wrong))
        raise DataError(f"scores must be numbers: {some(cells, total=wrong.sum())}; {_NOT_A_NUMBER}")
    twice = pd.Series(rows * len(benchmarks) + columns).duplicated()
    if twice.any():
        pairs = dict.fromkeys(f"{items[i]} of {llms[i]}" for i in np.flatnonzero(twice))
        raise DataError(f"more than one score: {some(pairs)}; keep one per LLM and benchmark")
    rest = table.drop(columns=[llm, benchmark, score])
    clash = [name for name in benchmarks if name == llm or name in rest.columns]
    if clash:
        raise DataError(f"benchmarks have the names of columns: {some(clash)}; rename the columns")

    wide = _one_row_each(rest, rows, llm_names)
    wide.insert(0, llm, llm_names)
    scores = np.full((len(llm_names), len(benchmarks)), np.nan)
    scores[rows, columns] = values
    return pd.concat([wide, pd.DataFrame(scores, columns=benchmarks)], axis=1), list(benchmarks)


def _one_row_each(table: pd.DataFrame, rows: np.ndarray, llms: np.ndarray) -> pd.DataFrame:
    """Keep one row per LLM, after checking that no column varies within an LLM; `rows` numbers each row's LLM."""
    first = np.unique(rows, return_index=True)[1]
    for name, column in table.items():
        # cells of an object column need not be hashable, so their representations are compared
        cells = column.map(repr) if types.is_object_dtype(column.dtype) else column
        codes = pd.factorize(cells, use_na_sentinel=False)[0]
        varying = dict.fromkeys(llms[rows[codes != codes[first][rows]]])
        if varying:
            raise DataError(
                f"column '{name}' is not constant within {some(varying)}; columns beside LLM, benchmark and "
                "score describe the LLM: make them agree or drop them"
            )
    return table.iloc[first].reset_index(drop=True)
