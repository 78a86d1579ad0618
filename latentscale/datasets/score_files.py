"""Reading of score tables from CSV, Parquet and JSON lines files in wide, long or Open LLM Leaderboard layout."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..checks import check_one_of
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
"""The package's names of benchmarks, by their usual names in lower case with underscores for punctuation and spaces."""

# the package's names of the columns of the leaderboard's tables that are not benchmarks
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
    path: str | PathLike[str],
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
        A CSV file (separated by commas, semicolons or tabs), a Parquet file (``.parquet``, ``.pq``) or a file of JSON
        lines (``.jsonl``, ``.ndjson``).
    layout : {"auto", "wide", "long", "leaderboard"}
        A wide table has one row per LLM and a column per benchmark, a long one has one row per LLM and benchmark, and
        "leaderboard" is the contents table of the Open LLM Leaderboard, version 1 or 2. "auto" takes a table for a
        leaderboard if it has a column ``fullname`` or ``model_name_for_query`` and the leaderboard's benchmarks, for a
        long one if it has the columns ``benchmark`` and ``score``, else for a wide one.
    llm, benchmark, score : str
        The column of LLM names, and for a long table those of benchmarks and scores. The column of LLM names is called
        model in the result.
    names : mapping from str to str, optional
        New names of benchmarks. By default known benchmarks get the package's names, whatever their case and
        punctuation (``SCORE_NAMES``: "MMLU-PRO" is mmlu_pro, "ARC-Challenge" is arc); ``{}`` leaves all as they are.
    percent : bool or sequence of str
        Benchmarks, by their new names, whose scores are percentages, to be divided by 100; True for all that the
        package knows and for all of a long table. For a leaderboard this is known, and no benchmark need be named.
    raw : bool
        For a leaderboard of version 2, whether to take the columns "... Raw" or the columns in percent. The former are
        fractions of right answers, to which ``latentscale.CHANCE_LEVELS`` apply. The latter were rescaled so that
        guessing scores zero, with scores below that set to zero; use ``chance={}`` for their panel.
    separator : str, optional
        Separator of a CSV file; by default it is guessed from the first line.
    decimal : {".", ","}, optional
        Decimal sign of a CSV file; by default a comma if the separator is not a comma and there are cells such as
        ``0,53`` but none such as ``0.53``.

    Returns
    -------
    DataFrame
        One row per LLM, with the column model, those that describe LLMs, and one per benchmark. For a leaderboard,
        model is the full name, params_b is missing where it is not positive, columns of scores that were not taken are
        left out, and of several rows of an LLM (other precisions) the one submitted last is kept. A leaderboard has no
        column of families: add one before making a panel.

    Raises
    ------
    DataError
        If the file is absent, empty or of another kind, columns are missing, or two columns would get the same name.

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
    check_one_of("layout", layout, LAYOUTS)
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
    """Return the layout of a table, "leaderboard", "long" or "wide"; see ``read_scores``."""
    if {"fullname", "model_name_for_query"} & set(table.columns):
        known = {_plain(name) for name in table.columns}
        if known & {*_VERSION_1, *_VERSION_2, *(f"{name}_raw" for name in _VERSION_2)}:
            return "leaderboard"
    return "long" if {benchmark, score} <= set(table.columns) else "wide"


# --- files -----------------------------------------------------------------------------------------------------------


def read_file(path: str | PathLike[str], separator: str | None = None, decimal: str | None = None) -> Any:
    """Read a CSV, Parquet or JSON lines file without changing names or scores; see ``read_scores``.

    Returns
    -------
    pandas.DataFrame, or polars.DataFrame for a Parquet file where pyarrow is not installed

    Raises
    ------
    DataError
        If the file does not exist or cannot be read.
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
    except (ValueError, csv.Error) as error:  # the file is empty, not text, or has rows of different lengths
        kind = "JSON lines" if suffix in JSON_LINES else "CSV"
        raise DataError(f"{path} cannot be read as {kind}: {error}") from error


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is no object")
    return pd.DataFrame(rows)


def _read_csv(path: Path, separator: str | None, decimal: str | None) -> pd.DataFrame:
    if separator is None:
        with path.open(encoding="utf-8-sig") as file:
            separator = find_separator(file.readline())
    if decimal not in (None, ".", ","):
        raise DataError(f"decimal must be '.' or ',', not {decimal!r}")
    options: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig"}
    if decimal is None:
        decimal = "." if separator == "," else find_decimal(pd.read_csv(path, dtype=str, **options))
    return pd.read_csv(path, decimal=decimal, **options)


def find_separator(line: str) -> str:
    r"""Return the separator that occurs most often in a header outside of quotes, or a comma if none occurs.

    Examples
    --------
    >>> find_separator('model;"size, billions";mmlu')
    ';'
    """
    bare = re.sub(r'"[^"]*"', "", line)
    return max(SEPARATORS, key=bare.count)


def find_decimal(cells: pd.DataFrame) -> str:
    """Return the decimal sign of a table of text, a comma if there are cells such as ``0,53`` but none as ``0.53``."""
    text = pd.Series(cells.to_numpy(dtype=object).ravel(), dtype=object).dropna().astype(str)
    comma, point = (text.str.fullmatch(rf"\s*-?\d*{sign}\d+\s*").any() for sign in (",", r"\."))
    return "," if comma and not point else "."


def _read_parquet(path: Path) -> Any:
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
    """Return a name in lower case, with an underscore for each run of punctuation and spaces."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def _renamed(
    table: pd.DataFrame, benchmarks: list[str], llm: str, names: Mapping[str, str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with columns renamed, and the new names of its benchmarks; see ``read_scores``."""
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


def _divided(table: pd.DataFrame, benchmarks: list[str], percent: bool | Sequence[str]) -> pd.DataFrame:
    """Return the table with percentages turned into fractions; ``percent`` as in ``read_scores``."""
    chosen = benchmarks if percent is True else [] if percent is False else list(np.atleast_1d(percent))
    require_columns(table, chosen, "percent: benchmark")
    table = table.copy()
    for name in chosen:
        table[name] = _numbers(table[name], name) / 100.0
    return table


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    """Return a column as floats (n,), after checking that all its cells are numbers or missing."""
    values, wrong = to_floats(column)
    if wrong.any():
        raise DataError(f"scores must be numbers: {name} has {some(map(repr, column[wrong]))}")
    return values


# --- the Open LLM Leaderboard ----------------------------------------------------------------------------------------


def leaderboard_table(table: pd.DataFrame, raw: bool = True) -> pd.DataFrame:
    """Return a contents table of the Open LLM Leaderboard with the package's names and fractions as scores.

    Parameters
    ----------
    table : DataFrame
        The contents table, version 1 or 2.
    raw : bool
        Which scores of version 2 to take, see ``read_scores``.

    Returns
    -------
    DataFrame
        One row per LLM, see ``read_scores``.

    Raises
    ------
    DataError
        If the columns of LLM names or of scores are missing.
    """
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


def _last_submitted(table: pd.DataFrame) -> pd.DataFrame:
    """Keep one row per LLM, the one submitted last; among those submitted at the same time the last in the table."""
    if "submission_date" in table.columns:
        dates = pd.to_datetime(table["submission_date"], errors="coerce")
        order = dates.sort_values(kind="stable", na_position="first").index
        kept = table.loc[order].drop_duplicates("model", keep="last").index
        return table.loc[sorted(kept)].reset_index(drop=True)
    return table.drop_duplicates("model", keep="last").reset_index(drop=True)
