"""The prediction experiment of the Sloth paper, which compares methods in cells.

A cell is a set of benchmarks together with the number of LLMs of each test family that are used for training.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import pandas as pd

from ..datasets import BENCHMARKS, CHANCE_LEVELS
from ..errors import DataError
from ..estimation.progress import Progress
from ..panel import BenchmarkPanel
from .folds import Groups
from .leave_family_out import LeaveFamilyOut, leave_family_out
from .methods import PACKAGE, PAPER, select_methods

SETS = {"v1": BENCHMARKS[:6], "v2": BENCHMARKS[6:], "all": BENCHMARKS}
N_TRAIN = (1, 2)
STORED_COLUMNS = ("benchmarks", "n_train", "method", "mae_family_mean_pp", "mae_pooled_pp")


@dataclass(frozen=True)
class Protocol:
    """The benchmarks and the test families of an experiment.

    Attributes
    ----------
    sets : dict of str to tuple of str
        Benchmark sets by name.
    groups : dict of (str, int) to groups
        Groups of test families of each cell, by its benchmark set and number of training LLMs; None if each family is a
        group.
    chance : dict of str to float
        Guessing levels of the benchmarks.
    """

    sets: dict[str, tuple[str, ...]]
    groups: dict[tuple[str, int], Groups | None]
    chance: dict[str, float]


def plain_protocol(n_train: Iterable[int] = N_TRAIN) -> Protocol:
    """Return the protocol that leaves out one family at a time, on the three benchmark sets of the leaderboard."""
    return Protocol(dict(SETS), {(name, n): None for name in SETS for n in n_train}, dict(CHANCE_LEVELS))


def read_protocol(path: str | PathLike[str]) -> Protocol:
    """Read a protocol from a JSON file.

    Parameters
    ----------
    path : str or Path
        The file holds an object with ``benchmark_sets`` (lists of benchmarks by name), ``test_family_groups`` (lists of
        lists of families, by ``"n_train=1"`` and so on and then by name of the set) and optionally ``chance_levels``.

    Returns
    -------
    Protocol

    Raises
    ------
    DataError
        If it is not such a file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        sets = {str(name): tuple(str(one) for one in names) for name, names in content["benchmark_sets"].items()}
        groups: dict[tuple[str, int], list[list[str]]] = {}
        for label, by_set in content["test_family_groups"].items():
            n_train = int(label.removeprefix("n_train="))
            for name, listed in by_set.items():
                groups[name, n_train] = [[str(one) for one in group] for group in listed]
        unknown = sorted({name for name, _ in groups} - set(sets))
        if unknown:
            raise DataError(f"{path} has groups for {unknown[0]!r}, which is none of its benchmark_sets.")
        chance = {str(name): float(level) for name, level in content.get("chance_levels", CHANCE_LEVELS).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} is no protocol ({type(error).__name__}: {error}); it is JSON with benchmark_sets, "
            "test_family_groups and chance_levels."
        ) from error
    cells: dict[tuple[str, int], Groups | None] = {
        (name, n): groups[name, n] for name in sets for n in sorted({k for _, k in groups}) if (name, n) in groups
    }
    return Protocol(sets, cells, chance)


def read_stored(path: str | PathLike[str]) -> pd.DataFrame:
    """Read stored mean absolute errors from a CSV file with the columns ``STORED_COLUMNS``.

    Raises
    ------
    DataError
        If it is not such a file.
    """
    try:
        table = pd.read_csv(path)
    except ValueError as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    absent = [name for name in STORED_COLUMNS if name not in table.columns]
    if absent:
        raise DataError(f"{path} has no column {absent[0]!r}; stored errors have {', '.join(STORED_COLUMNS)}.")
    return table


@dataclass(frozen=True, eq=False)
class ProtocolResults:
    """The errors of all methods in all cells.

    Attributes
    ----------
    table : DataFrame
        One row for each cell and method, with the columns benchmarks, n_train, method, mae (mean over groups),
        mae_pooled, n_test, seconds (of all fits), warned (number of fits that warned), failed (number of fits that
        failed), and stored and stored_pooled if errors are stored.
    runs : dict of (str, int) to LeaveFamilyOut
        The results of each cell.
    """

    table: pd.DataFrame
    runs: dict[tuple[str, int], LeaveFamilyOut] = field(repr=False)

    def errors(self) -> pd.DataFrame:
        """Return the table of all errors as in ``LeaveFamilyOut``, after the cell's columns benchmarks and n_kept."""
        return self._stacked("errors")

    def _stacked(self, name: str) -> pd.DataFrame:
        """Return an attribute of all cells' results as one table, with the cell in its first columns."""
        frames = [getattr(run, name).assign(benchmarks=key[0], n_kept=key[1]) for key, run in self.runs.items()]
        frame, first = pd.concat(frames, ignore_index=True), ["benchmarks", "n_kept"]
        return frame[[*first, *frame.columns.drop(first)]]

    def wide(self, column: str = "mae") -> pd.DataFrame:
        """Return one column of ``table`` as a table with a row for each method and a column for each cell."""
        wide = self.table.pivot(index="method", columns=["benchmarks", "n_train"], values=column)
        wide = wide.reindex(index=self.table["method"].unique(), columns=pd.MultiIndex.from_tuples(self.runs))
        wide.columns = [f"{name} n={n_train}" for name, n_train in self.runs]
        return wide.assign(average=wide.mean(axis=1, skipna=False))

    def fits(self) -> pd.DataFrame:
        """Return the table of all fits as in ``LeaveFamilyOut``, after the cell's columns benchmarks and n_kept."""
        return self._stacked("fits")

    def write(self, folder: str | PathLike[str]) -> None:
        """Write mae.csv, fits.csv and errors.csv into a folder, which is made if it does not exist."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in (("mae", self.table), ("fits", self.fits()), ("errors", self.errors())):
            part = folder / f".{name}.csv.part"
            frame.to_csv(part, index=False)
            part.replace(folder / f"{name}.csv")

    def text(self) -> pd.DataFrame:
        """Return errors in percentage points as text, method by cell, with the stored ones in brackets."""
        ours = self.wide().map(lambda value: "" if pd.isna(value) else f"{value:.2f}")
        if "stored" not in self.table:
            return ours
        stored = self.wide("stored").map(lambda value: "" if pd.isna(value) else f" ({value:.2f})")
        return ours + stored


def run_protocol(
    table: pd.DataFrame,
    protocol: Protocol,
    wanted: str | Iterable[str] = (PAPER, PACKAGE),
    stored: pd.DataFrame | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
    resume: str | PathLike[str] | None = None,
    on_error: str = "raise",
    family: str = "family",
    llm: str = "model",
    seed: int = 0,
) -> ProtocolResults:
    """Run methods in all cells of a protocol.

    Parameters
    ----------
    table : DataFrame
        Scores, one row per LLM.
    protocol : Protocol
    wanted : sequence of str
        Methods, as for ``select_methods``.
    stored : DataFrame, optional
        Stored errors to be shown with ours, as ``read_stored`` returns them.
    n_jobs, progress, on_error
        As for ``leave_family_out``.
    resume : str or Path, optional
        Folder that keeps finished splits, in one file for each cell.
    family, llm : str
        Columns of families and of names of LLMs.
    seed : int
        Seed of the methods' starts.

    Returns
    -------
    ProtocolResults
    """
    shown = Progress(progress, 0)
    runs: dict[tuple[str, int], LeaveFamilyOut] = {}
    rows = []
    if resume is not None:
        Path(resume).mkdir(parents=True, exist_ok=True)
    for (name, n_train), groups in protocol.groups.items():
        shown.stage(f"{name}, n_train={n_train}")
        benchmarks = protocol.sets[name]
        chance = {one: level for one, level in protocol.chance.items() if one in benchmarks}
        panel = BenchmarkPanel(table, benchmarks=benchmarks, family=family, llm=llm, chance=chance)
        path = None if resume is None else Path(resume) / f"{name}_{n_train}.jsonl"
        results = leave_family_out(
            select_methods(wanted, n_train, seed), panel, groups, n_train, n_jobs, progress, resume=path, alphas=(),
            on_error=on_error,
        )  # fmt: skip
        runs[name, n_train] = results
        rows.append(_rows(results).assign(benchmarks=name, n_train=n_train))
    errors = pd.concat(rows, ignore_index=True)
    errors = errors[["benchmarks", "n_train", "method", *errors.columns.drop(["benchmarks", "n_train", "method"])]]
    if stored is not None:
        names = {"mae_family_mean_pp": "stored", "mae_pooled_pp": "stored_pooled"}
        renamed = stored[list(STORED_COLUMNS)].rename(columns=names)
        errors = errors.merge(renamed, how="left", on=["benchmarks", "n_train", "method"])
    return ProtocolResults(errors, runs)


def _rows(run: LeaveFamilyOut) -> pd.DataFrame:
    """Return the rows of ``ProtocolResults.table`` for one cell, one for each method."""
    by_method = run.fits.groupby("method", sort=False)
    totals = {
        "mae": run.mae(),
        "mae_pooled": run.mae(pooled=True),
        "n_test": by_method["n_test"].sum(),
        "seconds": by_method["seconds"].sum(),
        "warned": by_method["warnings"].agg(lambda texts: int((texts != "").sum())),
        "failed": by_method["failure"].agg(lambda texts: int((texts != "").sum())),
    }
    return pd.DataFrame(totals).rename_axis("method").reset_index()
