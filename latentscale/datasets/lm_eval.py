"""Results of the lm-evaluation-harness: a folder of runs becomes a panel, standard errors and sample counts kept.

Read are the files ``results_<time>.json`` that the harness writes. Reading them executes no code.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import DataError
from ..known_benchmarks import BENCHMARKS
from ..panel import BenchmarkPanel
from ..tables import read_table, require_columns, some
from .harness_names import match_llms, run_name

PATTERN = "results*.json"
HARNESS_NAMES = {
    "arc_challenge": "arc",
    "truthfulqa_mc2": "truthfulqa",
    "truthfulqa_mc": "truthfulqa",
    "leaderboard_ifeval": "ifeval",
    "leaderboard_bbh": "bbh",
    "leaderboard_math_hard": "math_lvl_5",
    "leaderboard_gpqa": "gpqa",
    "leaderboard_musr": "musr",
    "leaderboard_mmlu_pro": "mmlu_pro",
}
"""Benchmark names of tasks that the harness calls otherwise; all other tasks keep their names."""

HARNESS_METRICS = (
    "acc_norm", "acc", "exact_match,strict-match", "exact_match", "mc2", "prompt_level_strict_acc", "pass@1",
)  # fmt: skip
"""Metrics in the order of preference: the first one that a task has is its score."""

LEVELS = ("groups", "tasks", "all")
DUPLICATES = ("latest", "error")
_COLUMNS = (
    "model", "benchmark", "task", "group", "is_group", "metric", "filter", "score", "stderr", "samples",
    "samples_original", "n_shot", "version", "higher_is_better", "file", "date", "used",
)  # fmt: skip
# what an entry of "results" holds beside its metrics
_NO_METRIC = ("alias", "name", "sample_len", "sample_count", "samples", "")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)")


@dataclass(frozen=True, eq=False, repr=False)
class HarnessRuns:
    """Runs of the lm-evaluation-harness; every table handed out is a new one.

    Attributes
    ----------
    notes : tuple of str
        What speaks against comparing the scores as they are: other numbers of shots, task versions, limited runs.
    """

    _long: pd.DataFrame
    notes: tuple = ()

    def __repr__(self) -> str:
        scores = self.scores
        text = (
            f"HarnessRuns: {len(scores)} LLMs, {scores.shape[1]} benchmarks, {int(scores.count().sum())} scores "
            f"from {self._long['file'].nunique()} files"
        )
        return "\n".join([text, *(f"note: {note}" for note in self.notes)])

    @property
    def long(self) -> pd.DataFrame:
        """One row per file, task, metric and filter, those not used included.

        Columns: model (LLM), benchmark, task (the harness's name), group (outermost group with a score that the task
        is part of, None for none), is_group, metric, filter, score, stderr (NaN where the harness gives none), samples
        (items scored), samples_original (items of the task), n_shot, version, higher_is_better, file, date (UTC) and
        used (whether the row is the score of its LLM and benchmark).
        """
        return self._long.copy()

    @property
    def scores(self) -> pd.DataFrame:
        """Scores, LLMs by benchmarks, NaN where an LLM was not run."""
        return self._wide("score")

    @property
    def stderr(self) -> pd.DataFrame:
        """Standard errors of ``scores`` as the harness gives them, over the items of a benchmark."""
        return self._wide("stderr")

    @property
    def samples(self) -> pd.DataFrame:
        """Numbers of items that ``scores`` are means over."""
        return self._wide("samples")

    def _wide(self, column):
        used = self._long[self._long["used"]]
        wide = used.pivot(index="model", columns="benchmark", values=column).astype(float)
        order = used["benchmark"].drop_duplicates()
        return wide.reindex(columns=list(order)).rename_axis(columns=None)

    def wide(self, llms, llm: str = "model", missing: str = "error") -> pd.DataFrame:
        """Scores beside a table of LLMs, ready for ``BenchmarkPanel``.

        Names are matched as they are; failing that, without the organisation before the slash and without regard
        to case, where that leaves one row of the table and one LLM of the runs.

        Parameters
        ----------
        llms : table
            One row per LLM, with its family and covariates. Rows without a run are left out.
        llm : str
            Column of LLM names.
        missing : {"error", "drop"}
            What to do with runs of LLMs that the table lacks.

        Returns
        -------
        DataFrame
            One row per LLM of the runs, in the table's order: the table's columns, then one column per benchmark.

        Raises
        ------
        DataError
            If the table lacks an LLM of the runs, has a column of a benchmark's name, or names match ambiguously.
        """
        table, scores = read_table(llms), self.scores
        require_columns(table, [llm], "LLM column")
        clash = [name for name in scores.columns if name in table.columns]
        if clash:
            raise DataError(
                f"the table of LLMs has columns named as benchmarks of the runs: {some(clash)}; drop or rename them"
            )
        rows = match_llms(table[llm], list(scores.index), missing)
        scores = scores.loc[list(rows)].reset_index(drop=True)
        joined = pd.concat([table.iloc[list(rows.values())].reset_index(drop=True), scores], axis=1)
        return joined.iloc[np.argsort(list(rows.values()), kind="stable")].reset_index(drop=True)

    def panel(self, llms, llm: str = "model", missing: str = "error", benchmarks=None, **options):
        """A BenchmarkPanel of the runs and a table of LLMs.

        Parameters
        ----------
        llms, llm, missing
            As for ``wide``.
        benchmarks : sequence of str, optional
            By default all that were run.
        **options
            Of ``BenchmarkPanel``, such as ``family`` and ``chance``. Guessing levels are known for the package's
            benchmarks only, and zero for others.

        Returns
        -------
        BenchmarkPanel

        Raises
        ------
        DataError
            As for ``wide`` and ``BenchmarkPanel``.
        """
        chosen = list(self.scores.columns) if benchmarks is None else benchmarks
        return BenchmarkPanel(self.wide(llms, llm, missing), chosen, llm=llm, **options)


def read_lm_eval(
    path,
    metrics: str | Sequence[str] | Mapping | None = None,
    names: Mapping[str, str] | None = None,
    tasks: Sequence[str] | None = None,
    level: str = "groups",
    duplicates: str = "latest",
    percent: Sequence[str] = (),
) -> HarnessRuns:
    """Read results of the lm-evaluation-harness.

    Parameters
    ----------
    path : path
        A results file, or a folder, in which all files ``results*.json`` are read, also in folders within.
    metrics : str, sequence of str or mapping, optional
        Metrics in order of preference, as ``"acc"`` or with a filter as ``"exact_match,strict-match"``: a benchmark's
        score is the first one that it has. Or a mapping from benchmarks or tasks to these, the others following
        ``HARNESS_METRICS``: acc_norm, then acc, exact_match (strict-match before other filters), mc2,
        prompt_level_strict_acc, pass@1. A task with one metric alone has that one.
    names : mapping from str to str, optional
        Benchmark names of tasks, in place of or beside ``HARNESS_NAMES``: arc_challenge is arc, truthfulqa_mc2 is
        truthfulqa, leaderboard_bbh is bbh, leaderboard_math_hard is math_lvl_5, and so on. Other tasks keep their
        names. A plain ``bbh`` or ``mmlu_pro`` of the harness is a generative task, whose guessing level is lower than
        that of the leaderboard's task of the same name.
    tasks : sequence of str, optional
        Tasks or benchmarks to use, groups or not; by default all at the ``level``.
    level : {"groups", "tasks", "all"}
        Groups: a group with a score of its own counts, and not the tasks within; tasks outside of groups count, too.
        A group that holds known benchmarks without being one, such as ``leaderboard``, does not count, but they do.
        Tasks: only single tasks. All: both.
    duplicates : {"latest", "error"}
        What to do if an LLM has several scores on a task: take the run of the latest date, or refuse.
    percent : sequence of str
        Tasks or benchmarks whose scores are percentages, to be divided by 100 with their standard errors.

    Returns
    -------
    HarnessRuns
        ``long``, ``scores``, ``stderr``, ``samples``, ``wide(llms)``, ``panel(llms)``, ``notes``.

    Raises
    ------
    DataError
        If there are no results, a file is damaged or of another kind, a score is outside [0, 1], two tasks have one
        name, or it is not clear which metric is meant; the message names files.

    Warns
    -----
    UserWarning
        If LLMs were run with other numbers of shots or task versions than others, or on part of the items.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> result = {"results": {"arc_challenge": {"acc,none": 0.5, "acc_norm,none": 0.55, "acc_norm_stderr,none": 0.01}},
    ...           "model_name": "org/small-1b"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (pathlib.Path(folder) / "results_2025-01-01T00-00-00.json").write_text(json.dumps(result))
    ...     runs = read_lm_eval(folder)
    >>> runs.scores.loc["org/small-1b", "arc"], runs.stderr.loc["org/small-1b", "arc"]
    (np.float64(0.55), np.float64(0.01))
    """
    for value, known, option in ((level, LEVELS, "level"), (duplicates, DUPLICATES, "duplicates")):
        if value not in known:
            raise DataError(f"{option} must be one of {some(known)}, not {value!r}")
    known = {*BENCHMARKS, *HARNESS_NAMES, *(names or {})}
    rows = [row for file in _files(Path(path)) for row in _read_file(file, known)]
    if not rows:
        raise DataError(f"the results in {path} hold no score: no task has a metric that is a number")
    table = pd.DataFrame(rows)
    table["benchmark"] = table["task"].map({**HARNESS_NAMES, **(names or {})}).fillna(table["task"])
    table["used"] = _at_level(table, level, tasks)
    table.loc[table["used"], "used"] = _chosen_metrics(table[table["used"]], metrics)
    table["used"] &= _latest(table, duplicates)
    _check_names(table[table["used"]])
    _rescale(table, [percent] if isinstance(percent, str) else percent)
    _check_range(table[table["used"]])
    notes = tuple(_notes(table[table["used"]]))
    if notes:
        warnings.warn(" ".join(notes), UserWarning, stacklevel=2)
    return HarnessRuns(table[list(_COLUMNS)].reset_index(drop=True), notes)


# --- reading files ---------------------------------------------------------------------------------------------------


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"no such file or folder: {path}")
    files = sorted(path.rglob(PATTERN))
    if not files:
        raise DataError(f"no {PATTERN} in {path} or the folders within; give the --output_path of lm_eval")
    return files


def _read_file(file: Path, known: set[str]) -> list[dict]:
    """One row per task, metric and filter of a results file; ``known`` tasks are benchmarks of their own."""
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


def _mapping(content, key) -> dict:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _metrics(entry):
    """Metric, filter, score and standard error of every metric that is a number."""
    for key, value in entry.items():
        metric, _, kind = str(key).partition(",")
        if metric.strip() in _NO_METRIC or metric.endswith("_stderr") or not _is_number(value):
            continue
        error = entry.get(f"{metric}_stderr,{kind}" if kind else f"{metric}_stderr")
        yield metric, kind or "none", float(value), float(error) if _is_number(error) else np.nan


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _umbrellas(subtasks, known) -> set[str]:
    """Groups that are no benchmark, but hold some: such as ``leaderboard``."""

    def holds(task, seen):
        inner = [name for name in subtasks.get(task, ()) if name not in seen]
        return any(name in known or holds(name, {*seen, name}) for name in inner)

    return {group for group in subtasks if group not in known and holds(group, {group})}


def _outermost_groups(subtasks, scored) -> dict:
    """Task -> outermost group with a score of its own that the task is within."""
    above = {}

    def descend(task, group, seen):
        for name in subtasks.get(task, ()):
            if name not in seen:  # a file that lists a group within itself would never end
                if group is not None:
                    above.setdefault(name, group)
                descend(name, group if group is not None else (name if name in scored else None), seen | {name})

    inner = {name for names in subtasks.values() for name in names}
    for top in subtasks:
        if top not in inner:
            descend(top, top if top in scored else None, {top})
    return above


def _samples(content, task, subtasks, entry, seen=()) -> tuple[float, float]:
    """Items scored and items there are; of a group the sums over its tasks."""
    counts = _mapping(content, "n-samples").get(task)
    if isinstance(counts, dict):
        pair = [counts.get(name) for name in ("effective", "original")]
        return tuple(float(value) if _is_number(value) else np.nan for value in pair)
    inner = [name for name in subtasks.get(task, ()) if name not in seen]
    if inner:
        parts = [_samples(content, name, subtasks, {}, (*seen, task)) for name in inner]
        return tuple(float(sum(values)) for values in zip(*parts, strict=True))
    length = entry.get("sample_len")
    return (float(length), np.nan) if _is_number(length) else (np.nan, np.nan)


def _date(content, file):
    """When a run was made: what the file says, else the time in its name; NaT for neither."""
    if _is_number(content.get("date")):
        return pd.to_datetime(content["date"], unit="s", utc=True, errors="coerce")
    found = _STAMP.search(file.name)
    if not found:
        return pd.NaT
    day, _, time = found[1].partition("T")
    return pd.to_datetime(f"{day}T{time.replace('-', ':')}", utc=True, errors="coerce")


# --- choosing scores -------------------------------------------------------------------------------------------------


def _at_level(table, level, tasks) -> pd.Series:
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


def _chosen_metrics(table, metrics) -> pd.Series:
    """Whether a row is of the metric that is its task's score."""
    own, common = (metrics, None) if isinstance(metrics, Mapping) else ({}, metrics)
    unknown = [name for name in own if name not in {*table["task"], *table["benchmark"]}]
    if unknown:
        raise DataError(f"metrics names tasks that are not among the results: {some(unknown)}")
    pairs = table["metric"] + "," + table["filter"]
    chosen = pd.Series(False, index=table.index)
    for (task, benchmark), part in table.groupby(["task", "benchmark"], sort=False):
        wanted = own.get(benchmark, own.get(task, common))
        for file, rows in part.groupby("file", sort=False):
            position = _choose(pairs[rows.index], wanted, task, file)
            chosen[position] = True
    return chosen


def _choose(pairs, wanted, task, file):
    """Label of the row, among those of one task and file, that the wishes come to first."""
    if wanted is None and len(pairs) == 1:
        return pairs.index[0]
    wishes = HARNESS_METRICS if wanted is None else (wanted,) if isinstance(wanted, str) else tuple(wanted)
    has = some(dict.fromkeys(pairs), limit=20)
    for wish in wishes:
        found = pairs[(pairs == wish) | (pairs.str.partition(",")[0] == wish)]
        if len(found) == 1:
            return found.index[0]
        if len(found) > 1:
            raise DataError(
                f"{task} has {wish} by several filters in {file}: {some(found)}; choose one, as with "
                f"metrics={{{task!r}: {found.iloc[0]!r}}}"
            )
    raise DataError(
        f"{task} has none of the metrics {some(wishes, limit=10)} in {file}, only {has}; choose one, as with "
        f"metrics={{{task!r}: {pairs.iloc[0]!r}}}, or leave the task out with tasks="
    )


def _latest(table, duplicates) -> pd.Series:
    """Whether a row is of the latest run of its LLM on its task."""
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


def _check_names(used):
    """Refuse two tasks of one LLM that have the same benchmark name."""
    for (llm, benchmark), rows in used.groupby(["model", "benchmark"], sort=False):
        if len(rows) > 1:
            raise DataError(
                f"{llm} has several tasks that are called {benchmark}: {some(rows['task'])}; keep them apart with "
                f"names={{{rows['task'].iloc[1]!r}: ...}}, or choose with tasks="
            )


def _rescale(table, percent):
    absent = [name for name in percent if name not in {*table["task"], *table["benchmark"]}]
    if absent:
        raise DataError(f"percent names tasks that are not among the results: {some(absent)}")
    rows = table["task"].isin(percent) | table["benchmark"].isin(percent)
    table.loc[rows, ["score", "stderr"]] /= 100.0


def _check_range(used):
    outside = used[~used["score"].between(0.0, 1.0)]
    if len(outside):
        cells = (f"{row.metric} of {row.task} is {row.score:g} in {row.file}" for row in outside.itertuples())
        raise DataError(
            f"scores outside [0, 1]: {some(cells, total=len(outside))}; name percentages in percent=, choose another "
            "metric with metrics=, or leave the task out with tasks="
        )


def _notes(used):
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
