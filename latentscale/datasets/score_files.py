"""Score tables in files: CSV of any dialect, Parquet, JSON lines; wide, long, or of the Open LLM Leaderboard."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import DataError
from ..tables import read_table, require_columns, some, to_floats, widen

LAYOUTS = ("auto", "wide", "long", "leaderboard")
SEPARATORS = (",", ";", "\t")
PARQUET, JSON_LINES = (".parquet", ".pq"), (".jsonl", ".ndjson")

SCORE_NAMES = {
    "arc_challenge": "arc",
    "truthfulqa_mc2": "truthfulqa",
    "truthful_qa": "truthfulqa",
    "math": "math_lvl_5",
    "math_hard": "math_lvl_5",
    **{name: name for name in ("mmlu", "arc", "hellaswag", "winogrande", "truthfulqa", "gsm8k")},
    **{name: name for name in ("ifeval", "bbh", "math_lvl_5", "gpqa", "musr", "mmlu_pro", "humaneval")},
}
"""The package's names of benchmarks, by names in lower case with underscores for all that is no letter or digit."""

# columns of the leaderboard's tables that are not benchmarks
_LEADERBOARD = {
    "fullname": "model",
    "model_name_for_query": "model",
    "Base Model": "base_model",
    "#Params (B)": "params_b",
    "Type": "type",
    "Architecture": "architecture",
    "Precision": "precision",
    "Chat Template": "chat_template",
    "Submission Date": "submission_date",
    "Upload To Hub Date": "upload_date",
}
_VERSION_1 = ("mmlu", "arc", "hellaswag", "winogrande", "truthfulqa", "gsm8k")
_VERSION_2 = ("ifeval", "bbh", "math_lvl_5", "gpqa", "musr", "mmlu_pro")


def read_scores(
    path,
    layout: str = "auto",
    llm: str = "model",
    benchmark: str = "benchmark",
    score: str = "score",
    names: Mapping[str, str] | None = None,
    percent: bool | Sequence[str] = False,
    raw: bool = True,
    separator: str | None = None,
    decimal: str | None = None,
) -> pd.DataFrame:
    """Read a file of benchmark scores into a wide table for ``BenchmarkPanel``.

    Parameters
    ----------
    path : path
        A CSV file (separated by commas, semicolons or tabs), a Parquet file (``.parquet``, ``.pq``) or one of JSON
        lines (``.jsonl``, ``.ndjson``).
    layout : {"auto", "wide", "long", "leaderboard"}
        Wide: one row per LLM, a column per benchmark. Long: one row per LLM and benchmark. Leaderboard: the contents
        table of the Open LLM Leaderboard, version 1 or 2. Auto: a leaderboard if it has a column ``fullname`` or
        ``model_name_for_query`` and its benchmarks, long if it has the columns ``benchmark`` and ``score``, else wide.
    llm, benchmark, score : str
        Columns of LLM names, and of a long table its benchmarks and scores. The first is called model in what is
        returned.
    names : mapping from str to str, optional
        New names of benchmarks. By default known benchmarks get the package's names, whatever their case and
        punctuation (``SCORE_NAMES``: "MMLU-PRO" is mmlu_pro, "ARC-Challenge" is arc); ``{}`` leaves all as they are.
    percent : bool or sequence of str
        Benchmarks, by their new names, whose scores are percentages, to be divided by 100; True for all that the
        package knows and for all of a long table. A leaderboard's are known, and need not be named.
    raw : bool
        Of a leaderboard of version 2: whether to take the columns "... Raw", fractions right as the
        ``latentscale.CHANCE_LEVELS`` expect them, or those in percent, in which guessing is zero and what is worse
        is cut off: with these give the panel ``chance={}``.
    separator : str, optional
        Of a CSV file; by default found from its first line.
    decimal : {".", ","}, optional
        Of a CSV file; by default a comma if cells such as ``0,53`` occur, none such as ``0.53``, and the separator
        is another.

    Returns
    -------
    DataFrame
        One row per LLM: the column model, those that describe LLMs, and one per benchmark. Of a leaderboard model is
        the full name, params_b is missing where it is not positive, columns of scores not taken are left out, and of
        several rows of an LLM (other precisions) the one submitted last is kept. It has no families: add a column.

    Raises
    ------
    DataError
        If the file is absent, empty or of another kind, columns are missing, or names clash.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "scores.csv"
    ...     _ = path.write_text("model;family;MMLU-PRO;my task\\na;f;0,31;0,5\\nb;f;0,42;0,6\\n")
    ...     read_scores(path)
      model family  mmlu_pro  my task
    0     a      f      0.31      0.5
    1     b      f      0.42      0.6
    """
    if layout not in LAYOUTS:
        raise DataError(f"layout must be one of {some(LAYOUTS)}, not {layout!r}")
    table = read_table(read_file(path, separator, decimal))
    if layout == "auto":
        layout = detect_layout(table, benchmark, score)
    if layout == "leaderboard":
        table = leaderboard_table(table, raw)
        benchmarks = [name for name in (*_VERSION_1, *_VERSION_2) if name in table.columns]
        percent = [] if percent is True else percent
    else:
        require_columns(table, [benchmark, score, llm] if layout == "long" else [], "column")
        if layout == "long":
            table, benchmarks = widen(table, benchmark, score, llm)
        else:
            benchmarks = [name for name in table.columns if _plain(name) in SCORE_NAMES or name in (names or {})]
        table, benchmarks = _renamed(table, benchmarks, llm, names)
    return _divided(table, benchmarks, percent)


def detect_layout(table: pd.DataFrame, benchmark: str = "benchmark", score: str = "score") -> str:
    """Layout of a table: "leaderboard", "long" or "wide"; see ``read_scores``."""
    if {"fullname", "model_name_for_query"} & set(table.columns):
        known = {_plain(name) for name in table.columns}
        if known & {*_VERSION_1, *_VERSION_2, *(f"{name}_raw" for name in _VERSION_2)}:
            return "leaderboard"
    return "long" if {benchmark, score} <= set(table.columns) else "wide"


# --- files -----------------------------------------------------------------------------------------------------------


def read_file(path, separator: str | None = None, decimal: str | None = None):
    """Read a CSV, Parquet or JSON lines file as it is; see ``read_scores``.

    Returns
    -------
    pandas.DataFrame, or polars.DataFrame for a Parquet file where pyarrow is not installed
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is a folder; give a file" if path.is_dir() else f"No such file or directory: {path}")
    suffix = path.suffix.lower()
    if suffix in PARQUET:
        return _read_parquet(path)
    try:
        if suffix in JSON_LINES:
            return _read_json_lines(path)
        return _read_csv(path, separator, decimal)
    except (ValueError, csv.Error) as error:  # an empty or ragged file, or one that is not text
        kind = "JSON lines" if suffix in JSON_LINES else "CSV"
        raise DataError(f"{path} cannot be read as {kind}: {error}") from error


def _read_json_lines(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is no object")
    return pd.DataFrame(rows)


def _read_csv(path, separator, decimal):
    if separator is None:
        with path.open(encoding="utf-8-sig") as file:
            separator = find_separator(file.readline())
    if decimal not in (None, ".", ","):
        raise DataError(f"decimal must be '.' or ',', not {decimal!r}")
    options = {"sep": separator, "encoding": "utf-8-sig"}
    if decimal is None:
        decimal = "." if separator == "," else find_decimal(pd.read_csv(path, dtype=str, **options))
    return pd.read_csv(path, decimal=decimal, **options)


def find_separator(line: str) -> str:
    r"""The separator that occurs most often in a header outside of quotes; a comma if none does.

    Examples
    --------
    >>> find_separator('model;"size, billions";mmlu')
    ';'
    """
    bare = re.sub(r'"[^"]*"', "", line)
    return max(SEPARATORS, key=bare.count)


def find_decimal(cells: pd.DataFrame) -> str:
    """The decimal sign of a table of text: a comma if cells such as ``0,53`` occur and none such as ``0.53``."""
    text = pd.Series(cells.to_numpy(dtype=object).ravel(), dtype=object).dropna().astype(str)
    comma, point = (text.str.fullmatch(rf"\s*-?\d*{sign}\d+\s*").any() for sign in (",", r"\."))
    return "," if comma and not point else "."


def _read_parquet(path):
    try:
        return pd.read_parquet(path)
    except ImportError:
        pass
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error
    try:
        import polars
    except ImportError as error:
        raise DataError("reading parquet files needs pyarrow or polars: pip install pyarrow") from error
    try:
        return polars.read_parquet(path)
    except polars.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error


# --- names -----------------------------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def _renamed(table, benchmarks, llm, names):
    """The table with the package's names, and its benchmarks by these; columns that keep their names win."""
    if names is None:
        new = {name: SCORE_NAMES.get(_plain(name), name) for name in benchmarks}
    else:
        new = {name: str(names.get(name, name)) for name in benchmarks}
    if llm in table.columns and llm != "model":
        new[llm] = "model"
    columns = [new.get(name, name) for name in table.columns]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        sources = [f"{name} ({some(old for old in table.columns if new.get(old, old) == name)})" for name in twice]
        raise DataError(f"several columns would have the name {some(sources)}; rename them, or set names=")
    return table.set_axis(columns, axis=1), [new[name] for name in benchmarks]


def _divided(table, benchmarks, percent):
    chosen = benchmarks if percent is True else [] if percent is False else list(np.atleast_1d(percent))
    require_columns(table, chosen, "percent: benchmark")
    table = table.copy()
    for name in chosen:
        table[name] = _numbers(table[name], name) / 100.0
    return table


def _numbers(column, name):
    values, wrong = to_floats(column)
    if wrong.any():
        raise DataError(f"scores must be numbers: {name} has {some(map(repr, column[wrong]))}")
    return values


# --- the Open LLM Leaderboard ----------------------------------------------------------------------------------------


def leaderboard_table(table: pd.DataFrame, raw: bool = True) -> pd.DataFrame:
    """Contents of the Open LLM Leaderboard, version 1 or 2, with the package's names; see ``read_scores``."""
    given = {_plain(name): name for name in table.columns}
    scores = {name: given[name] for name in _VERSION_1 if name in given}
    divide = set(scores)
    normalised = [name for name in _VERSION_2 if name in given]
    fractions = {name: given[f"{name}_raw"] for name in _VERSION_2 if f"{name}_raw" in given}
    if raw:
        absent = [given[name] for name in normalised if name not in fractions]
        if absent:
            raise DataError(
                f"no columns '... Raw' for {some(absent, limit=6)}: these are percentages with guessing at zero; "
                "use raw=False, and chance={} for the panel, to take them"
            )
        scores |= fractions
    else:
        scores |= {name: given[name] for name in normalised}
        divide |= set(normalised)
    if not scores:
        raise DataError(f"no benchmark of the leaderboard among the columns: {some(table.columns, limit=20)}")
    naming = {old: new for old, new in _LEADERBOARD.items() if old in table.columns}
    if "fullname" in naming:
        naming.pop("model_name_for_query", None)
    if "model" not in naming.values():
        raise DataError("a table of the leaderboard has LLM names in a column 'fullname' or 'model_name_for_query'")
    out = pd.DataFrame({new: table[old] for old, new in naming.items()})
    if "params_b" in out:
        size = _numbers(out["params_b"], "#Params (B)")
        out["params_b"] = np.where(size > 0.0, size, np.nan)
    for name, column in scores.items():
        values = _numbers(table[column], column)
        out[name] = values / 100.0 if name in divide else values
    return _last_submitted(out)


def _last_submitted(table):
    """One row per LLM: the one submitted last, of equal ones the last in the file."""
    if "submission_date" in table.columns:
        dates = pd.to_datetime(table["submission_date"], errors="coerce")
        order = dates.sort_values(kind="stable", na_position="first").index
        kept = table.loc[order].drop_duplicates("model", keep="last").index
        return table.loc[sorted(kept)].reset_index(drop=True)
    return table.drop_duplicates("model", keep="last").reset_index(drop=True)
