"""The Sloth paper's prediction experiment: benchmark sets by numbers of training LLMs, methods compared in each."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..datasets import BENCHMARKS, CHANCE_LEVELS
from ..errors import DataError
from ..estimation.progress import Progress
from ..panel import BenchmarkPanel
from .leave_family_out import leave_family_out
from .methods import PACKAGE, PAPER, select_methods

SETS = {"v1": BENCHMARKS[:6], "v2": BENCHMARKS[6:], "all": BENCHMARKS}
N_TRAIN = (1, 2)
STORED_COLUMNS = ("benchmarks", "n_train", "method", "mae_family_mean_pp", "mae_pooled_pp")


@dataclass(frozen=True)
class Protocol:
    """Which benchmarks and which test families.

    Attributes
    ----------
    sets : dict of str to tuple of str
        Benchmark sets by name.
    groups : dict of (str, int) to groups
        Groups of test families of each cell, a benchmark set with a number of training LLMs; None for every family by
        itself.
    chance : dict of str to float
    """

    sets: dict
    groups: dict
    chance: dict


def plain_protocol(n_train=N_TRAIN):
    """Leave-one-family-out on the three benchmark sets of the leaderboard."""
    return Protocol(dict(SETS), {(name, n): None for name in SETS for n in n_train}, dict(CHANCE_LEVELS))


def read_protocol(path):
    """Read a protocol from JSON.

    Parameters
    ----------
    path : str or Path
        An object with ``benchmark_sets`` (name to benchmarks), ``test_family_groups`` (``"n_train=1"`` to set name to
        list of lists of families) and optionally ``chance_levels``.

    Raises
    ------
    DataError
        If it is not such a file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        sets = {str(name): tuple(str(one) for one in names) for name, names in content["benchmark_sets"].items()}
        groups = {}
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
    cells = {(name, n): groups[name, n] for name in sets for n in sorted({k for _, k in groups}) if (name, n) in groups}
    return Protocol(sets, cells, chance)


def read_stored(path):
    """Read stored mean absolute errors: CSV with the columns of ``STORED_COLUMNS``."""
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
    """What all methods did in all cells.

    Attributes
    ----------
    table : DataFrame
        One row per cell and method: benchmarks, n_train, method, mae (mean over groups), mae_pooled, n_test, seconds
        (of all fits), warned (fits that warned), failed, and where there are any stored and stored_pooled.
    runs : dict of (str, int) to LeaveFamilyOut
    """

    table: pd.DataFrame
    runs: dict = field(repr=False)

    def errors(self):
        """Long table of all errors: as in ``LeaveFamilyOut``, after benchmarks and n_kept, the cell."""
        return self._stacked("errors")

    def _stacked(self, name):
        frames = [getattr(run, name).assign(benchmarks=key[0], n_kept=key[1]) for key, run in self.runs.items()]
        frame, first = pd.concat(frames, ignore_index=True), ["benchmarks", "n_kept"]
        return frame[[*first, *frame.columns.drop(first)]]

    def wide(self, column="mae"):
        """One column of ``table``, method by cell."""
        wide = self.table.pivot(index="method", columns=["benchmarks", "n_train"], values=column)
        wide = wide.reindex(index=self.table["method"].unique(), columns=pd.MultiIndex.from_tuples(self.runs))
        wide.columns = [f"{name} n={n_train}" for name, n_train in self.runs]
        return wide.assign(average=wide.mean(axis=1, skipna=False))

    def fits(self):
        """Long table of all fits: as in ``LeaveFamilyOut``, after benchmarks and n_kept, the cell."""
        return self._stacked("fits")

    def write(self, folder):
        """Write mae.csv, fits.csv and errors.csv into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in (("mae", self.table), ("fits", self.fits()), ("errors", self.errors())):
            part = folder / f".{name}.csv.part"
            frame.to_csv(part, index=False)
            part.replace(folder / f"{name}.csv")

    def text(self):
        """Method by cell in points, the stored figure in brackets behind ours; a DataFrame of texts."""
        ours = self.wide().map(lambda value: "" if pd.isna(value) else f"{value:.2f}")
        if "stored" not in self.table:
            return ours
        stored = self.wide("stored").map(lambda value: "" if pd.isna(value) else f" ({value:.2f})")
        return ours + stored


def run_protocol(
    table, protocol, wanted=(PAPER, PACKAGE), stored=None, n_jobs=None, progress=False, resume=None, on_error="raise",
    family="family", llm="model", seed=0,
):  # fmt: skip
    """Run methods over all cells of a protocol.

    Parameters
    ----------
    table : DataFrame
        Scores, one row per LLM.
    protocol : Protocol
    wanted : sequence of str
        Methods, as for ``select_methods``.
    stored : DataFrame, optional
        Errors to stand beside ours, as ``read_stored`` reads them.
    n_jobs, progress, on_error
        As for ``leave_family_out``.
    resume : str or Path, optional
        Folder that keeps finished splits, a file for each cell.
    family, llm : str
        Columns of the table.
    seed : int

    Returns
    -------
    ProtocolResults
    """
    shown, runs, rows = Progress(progress, 0), {}, []
    if resume is not None:
        Path(resume).mkdir(parents=True, exist_ok=True)
    for (name, n_train), groups in protocol.groups.items():
        shown.stage(f"{name}, n_train={n_train}")
        benchmarks = protocol.sets[name]
        chance = {one: level for one, level in protocol.chance.items() if one in benchmarks}
        panel = BenchmarkPanel(table, benchmarks=benchmarks, family=family, llm=llm, chance=chance)
        path = None if resume is None else Path(resume) / f"{name}_{n_train}.jsonl"
        run = leave_family_out(
            select_methods(wanted, n_train, seed), panel, groups, n_train, n_jobs, progress, resume=path, alphas=(),
            on_error=on_error,
        )  # fmt: skip
        runs[name, n_train] = run
        rows.append(_rows(run).assign(benchmarks=name, n_train=n_train))
    found = pd.concat(rows, ignore_index=True)
    found = found[["benchmarks", "n_train", "method", *found.columns.drop(["benchmarks", "n_train", "method"])]]
    if stored is not None:
        names = {"mae_family_mean_pp": "stored", "mae_pooled_pp": "stored_pooled"}
        beside = stored[list(STORED_COLUMNS)].rename(columns=names)
        found = found.merge(beside, how="left", on=["benchmarks", "n_train", "method"])
    return ProtocolResults(found, runs)


def _rows(run):
    """Totals of each method in one cell."""
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
