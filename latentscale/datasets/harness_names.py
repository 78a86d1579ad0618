"""Names of LLMs in runs of the lm-evaluation-harness, and how they are matched with the names in a table."""

from pathlib import Path
from typing import Any

import pandas as pd

from ..checks import check_one_of, did_you_mean
from ..errors import DataError
from ..tables import read_names, some


def run_name(content: dict[str, Any], file: Path) -> str:
    """Return the name of the LLM of a results file.

    Parameters
    ----------
    content : dict
        The content of the file.
    file : path
        The file, whose folder is named after the LLM.

    Returns
    -------
    str
        The first of these that there is: ``model_name``; ``pretrained`` or ``model`` among the model's arguments; the
        name of the folder, in which the harness writes two underscores for a slash.

    Examples
    --------
    >>> run_name({"config": {"model_args": "pretrained=org/small-1b,dtype=float16"}}, Path("x/results.json"))
    'org/small-1b'
    >>> run_name({}, Path("org__small-1b/results.json"))
    'org/small-1b'
    """
    if isinstance(content.get("model_name"), str) and content["model_name"].strip():
        return content["model_name"]
    config = content.get("config")
    arguments = config.get("model_args") if isinstance(config, dict) else None
    if isinstance(arguments, str):
        arguments = {name: value for name, _, value in (item.partition("=") for item in arguments.split(","))}
    for key in ("pretrained", "model"):
        name = arguments.get(key) if isinstance(arguments, dict) else None
        if isinstance(name, str) and name.strip():
            return name.strip()
    folder = file.resolve().parent.name
    return folder.replace("__", "/", 1)


def match_llms(column: pd.Series, runs: list[str], missing: str) -> dict[str, int]:
    """Find the row of each run's LLM in a table of LLMs.

    Names match if they are equal; failing that, if they are equal without the organisation before the slash and without
    regard to case.

    Parameters
    ----------
    column : Series
        Names in the table.
    runs : list of str
        Names in the runs.
    missing : {"error", "drop"}
        What to do with runs whose LLM is not in the table.

    Returns
    -------
    dict from str to int
        Row numbers, by the names in the runs.

    Raises
    ------
    DataError
        If names are repeated, match more than once, or are missing.

    Examples
    --------
    >>> match_llms(pd.Series(["Small-1B", "large-7b"]), ["org/small-1b"], "error")
    {'org/small-1b': 0}
    """
    check_one_of("missing", missing, ("error", "drop"))
    names = read_names(column, "LLM name")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"LLMs occur more than once in the table of LLMs: {some(repeated)}")
    exact = {name: row for row, name in enumerate(names)}
    rows = {run: exact[run] for run in runs if run in exact}
    for run in runs:
        if run in rows:
            continue
        alike = [row for row, name in enumerate(names) if _short(name) == _short(run)]
        if len(alike) > 1:
            raise DataError(f"{run} may be any of {some(names[row] for row in alike)}; write its name as in the runs")
        if alike:
            rows[run] = alike[0]
    run_of: dict[int, str] = {}
    for run, row in rows.items():
        if run_of.setdefault(row, run) != run:
            raise DataError(f"{run_of[row]} and {run} both match {names[row]} of the table; name them as in the runs")
    absent = [run for run in runs if run not in rows]
    if absent and missing == "error":
        shown = some(_near(run, names) for run in absent)
        raise DataError(
            f"LLMs of the runs that the table of LLMs lacks: {shown}; add rows, rename them, or use missing='drop'"
        )
    if not rows:
        raise DataError(f"no LLM of the runs ({some(runs)}) is in the table of LLMs ({some(names)})")
    return {run: rows[run] for run in runs if run in rows}


def _short(name: str) -> str:
    """Return a name without the organisation before its last slash, in lower case."""
    return name.rsplit("/", 1)[-1].casefold()


def _near(run: str, names: list[str]) -> str:
    """Quote a name together with the closest one of the table, if one is close."""
    return f"'{run}'" + did_you_mean(run, names, _short)
