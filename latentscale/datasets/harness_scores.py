"""Choice of the scores of an LLM among all that its runs of the lm-evaluation-harness report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ..errors import DataError
from ..tables import some

HARNESS_METRICS = (
    "acc_norm", "acc", "exact_match,strict-match", "exact_match", "mc2", "prompt_level_strict_acc", "pass@1",
)  # fmt: skip
"""Metrics in order of preference: the first of them that a task has is its score."""


def at_level(table: pd.DataFrame, level: str, tasks: Sequence[str] | None) -> pd.Series:
    """Return whether each row's task is to be used, given ``level`` and ``tasks`` of ``read_lm_eval``."""
    known = {*table["task"], *table["benchmark"]}
    if tasks is not None:
        tasks = [tasks] if isinstance(tasks, str) else list(tasks)
        absent = [name for name in tasks if name not in known]
        if absent:
            raise DataError(f"tasks not among the results: {some(absent)}; they have {some(sorted(known), limit=20)}")
        return table["task"].isin(tasks) | table["benchmark"].isin(tasks)
    if level == "groups":
        return table["group"].isna() & ~table["umbrella"]
    return ~table["is_group"] if level == "tasks" else pd.Series(True, index=table.index)


def of_chosen_metric(
    table: pd.DataFrame, metrics: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None
) -> pd.Series:
    """Return whether each row's metric is the one that gives its task's score, see ``read_lm_eval``."""
    by_task: dict[Any, str | Sequence[str]] = dict(metrics) if isinstance(metrics, Mapping) else {}
    common = None if isinstance(metrics, Mapping) else metrics
    unknown = [name for name in by_task if name not in {*table["task"], *table["benchmark"]}]
    if unknown:
        raise DataError(f"metrics names tasks that are not among the results: {some(unknown)}")
    pairs = table["metric"] + "," + table["filter"]
    chosen = pd.Series(False, index=table.index)
    for (task, benchmark), results in table.groupby(["task", "benchmark"], sort=False):
        wanted = by_task.get(benchmark, by_task.get(task, common))
        for file, rows in results.groupby("file", sort=False):
            position = _choose(pairs[rows.index], wanted, task, file)
            chosen[position] = True
    return chosen


def _choose(pairs: pd.Series, wanted: str | Sequence[str] | None, task: Any, file: Any) -> Any:
    """Return the label of the row with the preferred metric, among the rows of one task and file.

    ``pairs`` are the metrics of the rows with their filters, ``wanted`` is the preference, or None for the default.
    """
    if wanted is None and len(pairs) == 1:
        return pairs.index[0]
    preferred = HARNESS_METRICS if wanted is None else (wanted,) if isinstance(wanted, str) else tuple(wanted)
    has = some(dict.fromkeys(pairs), limit=20)
    for metric in preferred:
        matching = pairs[(pairs == metric) | (pairs.str.partition(",")[0] == metric)]
        if len(matching) == 1:
            return matching.index[0]
        if len(matching) > 1:
            raise DataError(
                f"{task} has {metric} by several filters in {file}: {some(matching)}; choose one, as with "
                f"metrics={{{task!r}: {matching.iloc[0]!r}}}"
            )
    raise DataError(
        f"{task} has none of the metrics {some(preferred, limit=10)} in {file}, only {has}; choose one, as with "
        f"metrics={{{task!r}: {pairs.iloc[0]!r}}}, or leave the task out with tasks="
    )


def of_latest_run(table: pd.DataFrame, duplicates: str) -> pd.Series:
    """Return whether each row belongs to the latest run of its LLM on its task, among the used rows."""
    keep = pd.Series(True, index=table.index)
    used = table[table["used"]]
    for (llm, task), rows in used.groupby(["model", "task"], sort=False):
        if len(rows) == 1:
            continue
        files = some(rows["file"])
        if duplicates == "error":
            raise DataError(f"{llm} was run more than once on {task}: {files}; keep one, or use duplicates='latest'")
        if rows["date"].isna().any() or (rows["date"] == rows["date"].max()).sum() > 1:
            raise DataError(f"{llm} was run more than once on {task}, and dates do not tell which last: {files}")
        keep[rows.index[rows["date"] < rows["date"].max()]] = False
    return keep


def check_names(used: pd.DataFrame) -> None:
    """Raise a `DataError` if two tasks of one LLM have the same benchmark name."""
    for (llm, benchmark), rows in used.groupby(["model", "benchmark"], sort=False):
        if len(rows) > 1:
            raise DataError(
                f"{llm} has several tasks that are called {benchmark}: {some(rows['task'])}; keep them apart with "
                f"names={{{rows['task'].iloc[1]!r}: ...}}, or choose with tasks="
            )


def rescale(table: pd.DataFrame, percent: Sequence[str]) -> None:
    """Divide scores and standard errors of the named tasks or benchmarks by 100, in place."""
    absent = [name for name in percent if name not in {*table["task"], *table["benchmark"]}]
    if absent:
        raise DataError(f"percent names tasks that are not among the results: {some(absent)}")
    rows = table["task"].isin(percent) | table["benchmark"].isin(percent)
    table.loc[rows, ["score", "stderr"]] /= 100.0


def check_range(used: pd.DataFrame) -> None:
    """Raise a `DataError` if a score is outside [0, 1]."""
    outside = used[~used["score"].between(0.0, 1.0)]
    if len(outside):
        cells = (f"{row.metric} of {row.task} is {row.score:g} in {row.file}" for row in outside.itertuples())
        raise DataError(
            f"scores outside [0, 1]: {some(cells, total=len(outside))}; name percentages in percent=, choose another "
            "metric with metrics=, or leave the task out with tasks="
        )


def differences(used: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each benchmark whose scores may not be comparable between LLMs."""
    for benchmark, rows in used.groupby("benchmark", sort=False):
        for column, words in (("n_shot", "numbers of shots"), ("version", "task versions"), ("metric", "metrics")):
            values = rows[column].dropna().map(str)
            if values.nunique() > 1:
                groups = "; ".join(f"{value} ({some(rows['model'][values.index[values == value]], 3)})"
                                   for value in sorted(values.unique()))  # fmt: skip
                yield f"{benchmark} was scored with different {words}: {groups}."
        part = rows[rows["samples"] < rows["samples_original"]]
        if len(part):
            yield f"{benchmark} was run on part of its items: {some(part['model'], 3)}."
