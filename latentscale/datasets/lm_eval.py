"""Results of the lm-evaluation-harness: a folder of runs becomes a panel, with standard errors and numbers of items.

The files that are read are the ``results_<time>.json`` that the harness writes. Reading them executes no code.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrame

from ..checks import check_one_of
from ..errors import DataError
from ..known_benchmarks import BENCHMARKS
from ..panel import BenchmarkPanel
from ..tables import read_table, require_columns, some
from .harness_files import read_results, results_files
from .harness_names import match_llms
from .harness_scores import at_level, check_names, check_range, differences, of_chosen_metric, of_latest_run, rescale

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
"""The package's names of benchmarks for which the harness has other names; all other tasks keep their names."""

LEVELS = ("groups", "tasks", "all")
DUPLICATES = ("latest", "error")
_COLUMNS = (
    "model", "benchmark", "task", "group", "is_group", "metric", "filter", "score", "stderr", "samples",
    "samples_original", "n_shot", "version", "higher_is_better", "file", "date", "used",
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class HarnessRuns:
    """Results of runs of the lm-evaluation-harness.

    Every table that it returns is a copy.

    Attributes
    ----------
    notes : tuple of str
        Reasons why scores may not be comparable, such as different numbers of shots or runs on part of the items.
    """

    _long: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        scores = self.scores
        text = (
            f"HarnessRuns: {len(scores)} LLMs, {scores.shape[1]} benchmarks, {int(scores.count().sum())} scores "
            f"from {self._long['file'].nunique()} files"
        )
        return "\n".join([text, *(f"note: {note}" for note in self.notes)])

    @property
    def long(self) -> pd.DataFrame:
        """All results, one row per file, task, metric and filter.

        The columns are model (the LLM), benchmark, task (the harness's name), group (the outermost group with a score
        of its own that the task belongs to, or None), is_group, metric, filter, score, stderr (NaN where the harness
        gives none), samples (number of items scored), samples_original (number of items of the task), n_shot,
        version, higher_is_better, file, date (UTC) and used (whether the row is the score of its LLM and benchmark).
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
        """Numbers of items over which ``scores`` are means."""
        return self._wide("samples")

    def _wide(self, column: str) -> pd.DataFrame:
        """Return a column of the used rows as a table of LLMs by benchmarks."""
        used = self._long[self._long["used"]]
        wide = used.pivot(index="model", columns="benchmark", values=column).astype(float)
        order = used["benchmark"].drop_duplicates()
        return wide.reindex(columns=list(order)).rename_axis(columns=None)

    def wide(self, llms: IntoFrame, llm: str = "model", missing: str = "error") -> pd.DataFrame:
        """Join the scores to a table that describes the LLMs, for ``BenchmarkPanel``.

        Names match if they are equal; failing that, if they are equal without the organisation before the slash and
        without regard to case, provided that this pairs one row of the table with one LLM of the runs.

        Parameters
        ----------
        llms : table
            One row per LLM, with its family and covariates. Rows without a run are left out.
        llm : str
            Column of LLM names.
        missing : {"error", "drop"}
            What to do with runs of LLMs that are not in the table.

        Returns
        -------
        DataFrame
            One row per LLM of the runs, in the table's order, with the table's columns and one column per benchmark.

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

    def panel(
        self,
        llms: IntoFrame,
        llm: str = "model",
        missing: str = "error",
        benchmarks: Sequence[str] | None = None,
        **options: Any,
    ) -> BenchmarkPanel:
        """Make a panel of the scores and a table that describes the LLMs.

        Parameters
        ----------
        llms, llm, missing
            As for ``wide``.
        benchmarks : sequence of str, optional
            Benchmarks of the panel, by default all that were run.
        **options
            Options of ``BenchmarkPanel``, such as ``family`` and ``chance``. Guessing levels are known for the
            package's benchmarks only; those of others are zero unless ``chance`` gives them.

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
    path: str | PathLike[str],
    metrics: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
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
        A results file, or a folder, in which all files ``results*.json`` are read, also those in folders within it.
    metrics : str, sequence of str or mapping, optional
        Metrics in order of preference, such as ``"acc"``, or with a filter ``"exact_match,strict-match"``. A
        benchmark's score is the first of them that it has. A mapping gives them for single benchmarks or tasks. By
        default the order is that of ``HARNESS_METRICS``: acc_norm, acc, exact_match (strict-match before other
        filters), mc2, prompt_level_strict_acc, pass@1; a task with only one metric takes that one.
    names : mapping from str to str, optional
        Benchmark names of tasks, in addition to ``HARNESS_NAMES`` and in preference to them. By default arc_challenge
        is arc, truthfulqa_mc2 is truthfulqa, leaderboard_bbh is bbh, leaderboard_math_hard is math_lvl_5, and so on;
        other tasks keep their names. The tasks of the harness called ``bbh`` and ``mmlu_pro`` are generative, and
        their guessing levels are lower than those of the leaderboard's tasks.
    tasks : sequence of str, optional
        Tasks, groups of tasks or benchmarks to use; by default all at the ``level``.
    level : {"groups", "tasks", "all"}
        "groups" uses groups that have a score of their own in place of the tasks in them, and tasks outside of such
        groups. A group that contains known benchmarks without being one, such as ``leaderboard``, is not used; its
        benchmarks are. "tasks" uses single tasks only, and "all" uses both.
    duplicates : {"latest", "error"}
        What to do if an LLM has several scores on a task: take the run with the latest date, or raise an error.
    percent : sequence of str
        Tasks or benchmarks whose scores are percentages, to be divided by 100 with their standard errors.

    Returns
    -------
    HarnessRuns
        It has the tables ``long``, ``scores``, ``stderr`` and ``samples``, the methods ``wide(llms)`` and
        ``panel(llms)``, and ``notes``.

    Raises
    ------
    DataError
        If there are no results, a file is damaged or of another kind, a score is outside [0, 1], two tasks have one
        name, or it is not clear which metric is meant; the message names files.

    Warns
    -----
    UserWarning
        If LLMs were run with different numbers of shots or task versions, or on part of the items.

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
    check_one_of("level", level, LEVELS)
    check_one_of("duplicates", duplicates, DUPLICATES)
    known = {*BENCHMARKS, *HARNESS_NAMES, *(names or {})}
    rows = [row for file in results_files(Path(path)) for row in read_results(file, known)]
    if not rows:
        raise DataError(f"the results in {path} hold no score: no task has a metric that is a number")
    table = pd.DataFrame(rows)
    table["benchmark"] = table["task"].map({**HARNESS_NAMES, **(names or {})}).fillna(table["task"])
    table["used"] = at_level(table, level, tasks)
    table.loc[table["used"], "used"] = of_chosen_metric(table[table["used"]], metrics)
    table["used"] &= of_latest_run(table, duplicates)
    check_names(table[table["used"]])
    rescale(table, [percent] if isinstance(percent, str) else percent)
    check_range(table[table["used"]])
    notes = tuple(differences(table[table["used"]]))
    if notes:
        warnings.warn(" ".join(notes), UserWarning, stacklevel=2)
    return HarnessRuns(table[list(_COLUMNS)].reset_index(drop=True), notes)
