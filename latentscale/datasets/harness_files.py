"""Reading of the results files that the lm-evaluation-harness writes."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from ..errors import DataError
from .harness_names import run_name

PATTERN = "results*.json"
# keys in an entry of "results" that are not metrics
_NO_METRIC = ("alias", "name", "sample_len", "sample_count", "samples", "")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)")


def results_files(path: Path) -> list[Path]:
    """Return the results files at a path, which is one such file or a folder that contains some.

    Raises
    ------
    DataError
        If there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"no such file or folder: {path}")
    files = sorted(path.rglob(PATTERN))
    if not files:
        raise DataError(f"no {PATTERN} in {path} or the folders within; give the --output_path of lm_eval")
    return files


def read_results(file: Path, known: set[str]) -> list[dict[str, Any]]:
    """Read a results file.

    Parameters
    ----------
    file : path
    known : set of str
        Tasks and groups that are benchmarks.

    Returns
    -------
    list of dict
        One row per task, metric and filter, with the columns of ``HarnessRuns.long`` other than benchmark and used, and
        umbrella: whether the task is a group that contains benchmarks without being one.

    Raises
    ------
    DataError
        If the file is damaged or of another kind.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON, or is cut short: {error}") from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(entry, dict) for entry in results.values()):
        raise DataError(f"{file} holds no results of lm_eval: it lacks an object 'results' of objects by task")
    subtasks = {name: list(names) for name, names in _mapping(content, "group_subtasks").items() if names}
    scored = {task for task, entry in results.items() if any(_metrics(entry))}
    umbrellas = _umbrellas(subtasks, known)
    above = _outermost_groups(subtasks, scored - umbrellas)
    shared = {"model": run_name(content, file), "file": str(file), "date": _date(content, file)}
    rows = []
    for task, entry in results.items():
        count = _samples(content, task, subtasks, entry)
        higher = _mapping(content, "higher_is_better").get(task)
        for metric, kind, score, stderr in _metrics(entry):
            rows.append({
                **shared, "task": task, "group": above.get(task), "is_group": task in subtasks,
                "umbrella": task in umbrellas, "metric": metric,
                "filter": kind, "score": score, "stderr": stderr, "samples": count[0], "samples_original": count[1],
                "n_shot": _mapping(content, "n-shot").get(task), "version": _mapping(content, "versions").get(task),
                "higher_is_better": higher.get(metric) if isinstance(higher, dict) else None,
            })  # fmt: skip
    return rows


def _mapping(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an entry of a file if it is a mapping, else an empty one."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _metrics(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    """Yield metric, filter, score and standard error for every metric whose value is a number."""
    for key, value in entry.items():
        metric, _, kind = str(key).partition(",")
        if metric.strip() in _NO_METRIC or metric.endswith("_stderr") or not _is_number(value):
            continue
        error = entry.get(f"{metric}_stderr,{kind}" if kind else f"{metric}_stderr")
        yield metric, kind or "none", float(value), float(error) if _is_number(error) else np.nan


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _umbrellas(subtasks: Mapping[str, list[str]], known: set[str]) -> set[str]:
    """Return the groups that contain benchmarks but are not benchmarks themselves, such as ``leaderboard``."""

    def contains_benchmark(task: str, seen: set[str]) -> bool:
        inner = [name for name in subtasks.get(task, ()) if name not in seen]
        return any(name in known or contains_benchmark(name, {*seen, name}) for name in inner)

    return {group for group in subtasks if group not in known and contains_benchmark(group, {group})}


def _outermost_groups(subtasks: Mapping[str, list[str]], scored: set[str]) -> dict[str, str]:
    """Return for each task within a group the outermost such group that has a score of its own."""
    above: dict[str, str] = {}

    def descend(task: str, group: str | None, seen: set[str]) -> None:
        for name in subtasks.get(task, ()):
            if name not in seen:  # a file may list a group within itself
                if group is not None:
                    above.setdefault(name, group)
                descend(name, group if group is not None else (name if name in scored else None), seen | {name})

    inner = {name for names in subtasks.values() for name in names}
    for top in subtasks:
        if top not in inner:
            descend(top, top if top in scored else None, {top})
    return above


def _samples(
    content: Mapping[str, Any],
    task: str,
    subtasks: Mapping[str, list[str]],
    entry: Mapping[str, Any],
    seen: Sequence[str] = (),
) -> tuple[float, float]:
    """Return the number of items scored and the number of items of a task; for a group the sums over its tasks."""
    counts = _mapping(content, "n-samples").get(task)
    if isinstance(counts, dict):
        scored, original = counts.get("effective"), counts.get("original")
        return float(scored) if _is_number(scored) else np.nan, float(original) if _is_number(original) else np.nan
    inner = [name for name in subtasks.get(task, ()) if name not in seen]
    if inner:
        of_tasks = [_samples(content, name, subtasks, {}, (*seen, task)) for name in inner]
        return float(sum(scored for scored, _ in of_tasks)), float(sum(original for _, original in of_tasks))
    length = entry.get("sample_len")
    return (float(length), np.nan) if _is_number(length) else (np.nan, np.nan)


def _date(content: Mapping[str, Any], file: Path) -> Any:
    """Return the time of a run: that in the file, else that in the file's name, else NaT."""
    if _is_number(content.get("date")):
        return pd.to_datetime(content["date"], unit="s", utc=True, errors="coerce")
    stamp = _STAMP.search(file.name)
    if not stamp:
        return pd.NaT
    day, _, time = stamp[1].partition("T")
    return pd.to_datetime(f"{day}T{time.replace('-', ':')}", utc=True, errors="coerce")
