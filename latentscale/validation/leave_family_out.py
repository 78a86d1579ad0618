"""Leave-family-out cross-validation: fit without the larger LLMs of some families, and predict these."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd

from ..checks import check_alpha, check_one_of
from ..errors import ConvergenceWarning, DataError, IdentificationError
from ..estimation.progress import Progress
from ..panel import BenchmarkPanel
from ..plots.calibration import plot_calibration
from ..plots.error_heatmap import plot_errors
from ..tables import some
from ..workers import run
from . import metrics
from .folds import Groups, Split, leave_out
from .held_out import Estimator, predicted_split
from .split_store import Outcome, SplitStore, estimator_digest, store_header

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALPHAS = (0.5, 0.2, 0.05)


@dataclass(frozen=True, eq=False)
class LeaveFamilyOut:
    """The predictions and errors of ``leave_family_out``.

    Attributes
    ----------
    errors : DataFrame
        One row for each method and held-out score, with the columns method, group, family, llm, benchmark, observed and
        predicted (fractions), error (predicted - observed) and abs_error (percentage points). For methods with
        prediction intervals there are also lower_50, upper_50 and so on. Rows of a split that failed have no
        prediction.
    fits : DataFrame
        One row for each method and split, with the columns method, group, n_train and n_test (numbers of LLMs),
        seconds, warnings and failure.
    methods : tuple of str
    benchmarks : tuple of str
    levels : tuple of float
        Levels of the prediction intervals, which some methods may not have.
    splits : tuple of Split
    """

    errors: pd.DataFrame
    fits: pd.DataFrame
    methods: tuple[str, ...]
    benchmarks: tuple[str, ...]
    levels: tuple[float, ...]
    splits: tuple[Split, ...] = field(repr=False)

    def mae(self, by: str | Sequence[str] | None = None, pooled: bool = False) -> pd.Series | pd.DataFrame:
        """Return mean absolute errors in percentage points.

        By default errors are averaged as in the Sloth paper, over the held-out scores of each group and then over
        groups.

        Parameters
        ----------
        by : str or sequence of str, optional
            Some of "benchmark", "family", "group", "llm", for separate averages. Those by family, group or LLM are over
            the scores of each.
        pooled : bool
            Whether to average over all held-out scores at once.

        Returns
        -------
        Series or DataFrame
            A Series by method; with ``by`` a DataFrame with methods as columns. NaN where a split failed.
        """
        return metrics.mean_absolute_error(self.errors, self.methods, by, pooled)

    def coverage(self, by: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Return the share of held-out scores within their prediction intervals, by level.

        Parameters
        ----------
        by : str or sequence of str, optional
            Some of "benchmark", "family", "group", "llm", for separate shares.

        Returns
        -------
        DataFrame
            A row for each method and value of ``by``, and a column for each level.

        Raises
        ------
        DataError
            If no method gives prediction intervals.
        """
        columns = [f"lower_{metrics.level_name(level)}" for level in self.levels]
        have = [column for column in columns if column in self.errors]
        given = self.errors[have].notna().any(axis=1).groupby(self.errors["method"]).any() if have else {}
        methods = [method for method in self.methods if len(given) and given[method]]
        if not methods:
            raise DataError(
                "No method gives prediction intervals: that takes results with "
                "get_prediction(data).summary_frame(alpha), and at least one of alphas."
            )
        return metrics.coverage(self.errors, methods, self.levels, by)

    def calibration(self, by: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Return measures of the calibration and the sharpness of predictive laws.

        Parameters
        ----------
        by : str or sequence of str, optional
            Some of "benchmark", "family", "group", "llm", for separate averages.

        Returns
        -------
        DataFrame
            A row for each method and value of ``by``. The columns are coverage_50 and so on; width_50 and so on (mean
            width of the intervals in percentage points); pit_mean (0.5 without bias) and pit_sd (0.289 if calibrated,
            more if the laws are too narrow); crps (in percentage points); log_score; and n (number of scores).

        Raises
        ------
        DataError
            If no method gives prediction intervals.
        """
        shares = self.coverage(by)
        return metrics.calibration(self.errors, shares, self.levels, by)

    def plot_calibration(self, kind: str = "coverage", ax: "Axes | None" = None) -> "Axes":
        """Plot the coverage of central intervals against their level, or the histogram of PIT values.

        Parameters
        ----------
        kind : {"coverage", "pit"}
        ax : matplotlib Axes, optional
            By default those of a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        DataError
            If no method has a predictive law, or the kind is unknown.
        """
        if "pit" not in self.errors:
            raise DataError("No method gives a predictive law, whose calibration could be shown.")
        return plot_calibration(self.errors, kind, ax)

    def compare(self, baseline: str, unit: str = "family") -> pd.DataFrame:
        """Return the differences between all methods' errors and a baseline's, paired over families.

        Parameters
        ----------
        baseline : str
            One of the methods.
        unit : {"family", "group"}
            The unit of observation.

        Returns
        -------
        DataFrame
            A row for each other method, with the columns mae, baseline, difference, se, t, p_value, better (number of
            units with a smaller error) and n (number of units).

        Raises
        ------
        DataError
            If the baseline is not a method, or the unit is unknown.
        """
        return metrics.paired_differences(self.errors, self.methods, baseline, unit)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the mean absolute errors by method and benchmark as a heatmap, and return the matplotlib axes."""
        table = self.mae(by="benchmark").T.reindex(columns=list(self.benchmarks))
        return plot_errors(table.assign(mean=self.mae()), ax=ax)

    def __str__(self) -> str:
        count, failed = len(self.splits), int((self.fits["failure"] != "").sum())
        head = f"Leave-family-out, {count} splits, {sum(len(split.test) for split in self.splits)} LLMs predicted"
        head += f", {failed} fits failed" if failed else ""
        table = self.mae(by="benchmark").T.reindex(columns=list(self.benchmarks)).assign(mean=self.mae())
        return f"{head}; mean absolute error in percentage points\n{table.round(2).to_string()}"


def leave_family_out(
    estimator: Estimator | Mapping[str, Estimator],
    panel: BenchmarkPanel,
    groups: Groups | None = None,
    n_train: int = 1,
    n_jobs: int | None = None,
    progress: bool = False,
    complete: bool = True,
    resume: str | PathLike[str] | None = None,
    alphas: float | Iterable[float] = ALPHAS,
    covariates: Sequence[str] = ("params_b", "tokens_t"),
    size: str = "params_b",
    small_families: str = "drop",
    on_error: str = "raise",
    reuse_starts: bool = False,
) -> LeaveFamilyOut:
    """Predict the larger LLMs of families of which only the smallest LLMs are used in the fit.

    The protocol is that of the Sloth paper. LLMs without all scores or covariates are dropped, and then families with
    fewer than n_train + 1 LLMs. For each group of test families, a model is fitted to the n_train smallest LLMs of each
    of them and to all other families, and the remaining LLMs are predicted. The estimator is not given their scores.

    Parameters
    ----------
    estimator : object or dict of str to object
        Any object with a method ``fit(panel)`` whose result has a method ``predict(data)``, which returns a DataFrame
        with a row for each LLM and a column for each benchmark; ``ls.Specification`` makes such objects. A dict has
        several methods by their names.
    panel : BenchmarkPanel
    groups : sequence of groups, optional
        Groups of test families, each a sequence of names or one name. By default each family with more than n_train
        LLMs is a group.
    n_train : int
        Number of LLMs of each test family that are used for training. With 0 whole families are predicted, which not
        every estimator can do.
    n_jobs : int, optional
        Number of fits that run in parallel; the numbers do not depend on it. By default one, or as a surrounding
        ``ls.parallel`` says.
    progress : bool
        Whether to report progress on the standard error stream.
    complete : bool
        Whether to drop LLMs that lack any score; otherwise only those without any score are dropped, and errors are
        those of the scores that there are.
    resume : str or Path, optional
        File that keeps finished splits. A later call with the same panel and splits continues it, and may add methods.
    alphas : sequence of float
        One minus the levels of prediction intervals, for estimators whose results have ``get_prediction``; empty for
        no intervals.
    covariates : sequence of str
        Columns in which an LLM must have a value.
    size : str
        Column with the sizes of LLMs; LLMs of equal size have the panel's order.
    small_families : {"drop", "train"}
        What to do with families that are too small to be test families.
    on_error : {"raise", "skip"}
        Whether to stop at a fit that fails, or to continue without its predictions.
    reuse_starts : bool
        Whether to fit each method to all LLMs first, and to start the fits of its splits only at that estimate, which
        is faster by more than the number of starts. The estimates of a split are still those of its training LLMs, but
        if their likelihood has several optima, the held-out scores have influenced which one is found. Only for
        specifications of ``LatentSkillModel``.

    Returns
    -------
    LeaveFamilyOut

    Raises
    ------
    DataError
        If groups, options or the store cannot be used, or if a fit fails; the message names method and split.
    IdentificationError
        If a fit fails because its model is not identified.

    Warns
    -----
    ConvergenceWarning, UserWarning
        If fits warned (``fits`` has the messages) or, with ``on_error="skip"``, failed.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> laws = {f"d={d}": ls.Specification(ls.ComponentLaws, n_components=d) for d in (1, 2)}
    >>> cv = ls.leave_family_out(laws, panel, ["opt", ["llama-2", "llama-2-chat"]])
    >>> cv.mae().round(2).to_dict()
    {'d=1': 8.04, 'd=2': 7.17}
    """
    check_one_of("on_error", on_error, ("raise", "skip"))
    estimators, alphas = _read_estimators(estimator), _read_alphas(alphas)
    if reuse_starts:
        _require_can_start(estimators)
    panel, splits = leave_out(panel, groups, n_train, size, covariates, complete, small_families)
    store = _open_store(resume, panel, splits, alphas, estimators, reuse_starts)
    done = {} if store is None else dict(store.done)
    by_group = {split.group: split for split in splits}
    todo = [(name, split) for name in estimators for split in splits if (name, split.group) not in done]
    failed: list[Outcome] = []  # the first failure ends the supply of tasks; results of those under way are kept
    tasks = (task for task in todo if not failed)
    shown, total = Progress(progress, 0), len(estimators) * len(splits)
    try:
        starts = _starts(estimators, panel, dict.fromkeys(name for name, _ in todo), shown) if reuse_starts else {}
        for one in run(predicted_split, tasks, (estimators, panel, alphas, starts), n_jobs, ordered=False):
            if one.failure and on_error == "raise":
                failed.append(one)
            if store is not None and not one.failure:
                store.write(one)
            done[one.method, one.group] = one
            words = f"failed: {one.failure}" if one.failure else f"{one.seconds:.1f} s"
            shown.stage(f"{len(done)} of {total}: {one.method} without {one.group}, {words}")
    finally:
        if store is not None:
            store.close()
    if failed:
        _raise(failed[0])
    outcomes = [done[name, group] for name in estimators for group in by_group]
    errors = pd.concat([_long(panel, by_group[one.group], one, alphas) for one in outcomes], ignore_index=True)
    fits = _fits_table(outcomes, by_group)
    _warn(outcomes)
    levels = tuple(round(1.0 - alpha, 12) for alpha in alphas)
    return LeaveFamilyOut(errors, fits, tuple(estimators), panel.benchmarks, levels, tuple(splits))


# --- arguments -------------------------------------------------------------------------------------------------------


def _read_estimators(estimator: Estimator | Mapping[str, Estimator]) -> dict[str, Estimator]:
    """Check estimators, and return them by name."""
    if isinstance(estimator, Mapping):
        estimators = {str(name): one for name, one in estimator.items()}
        if not estimators:
            raise DataError("There is no estimator to cross-validate: the dict is empty.")
    else:
        estimators = {str(getattr(estimator, "name", None) or type(estimator).__name__): estimator}
    for name, one in estimators.items():
        if isinstance(one, type) or not callable(getattr(one, "fit", None)):
            raise DataError(
                f"The estimator {name!r} is {one!r}; it takes an object with fit(panel), such as "
                "ls.Specification(ls.LatentSkillModel, skills=3)."
            )
    return estimators


def _read_alphas(alphas: float | Iterable[float]) -> tuple[float, ...]:
    """Check the levels of intervals, and return them as a tuple."""
    levels = tuple(check_alpha(alpha, "each of alphas") for alpha in (alphas if np.iterable(alphas) else (alphas,)))
    if len(set(levels)) < len(levels):
        raise DataError(f"alphas are different numbers between 0 and 1; got {levels}.")
    return levels


def _require_can_start(estimators: Mapping[str, Estimator]) -> None:
    """Raise a `DataError` if an estimator cannot start from given parameters."""
    unable = [name for name, one in estimators.items() if not getattr(one, "can_start", False)]
    if unable:
        raise DataError(
            f"reuse_starts=True is for specifications of LatentSkillModel; {some(unable)} cannot start from parameters "
            "that are given. Leave them out, or reuse_starts=False."
        )


def _open_store(
    path: str | PathLike[str] | None,
    panel: BenchmarkPanel,
    splits: Sequence[Split],
    alphas: Sequence[float],
    estimators: Mapping[str, Estimator],
    reuse_starts: bool,
) -> SplitStore | None:
    """Open the file that keeps finished splits, or return None if there is none."""
    if path is None:
        return None
    # fits from other starts may have other estimates, so they have another digest
    kept = {name: (one, "starts reused") if reuse_starts else one for name, one in estimators.items()}
    digests = {name: estimator_digest(name, one) for name, one in kept.items()}
    shapes = {split.group: (len(split.test), panel.n_benchmarks) for split in splits}
    return SplitStore.open(path, store_header(panel, splits, alphas), digests, shapes)


# --- fits -----------------------------------------------------------------------------------------------------------


def _starts(
    estimators: Mapping[str, Estimator], panel: BenchmarkPanel, names: Iterable[str], shown: Progress
) -> dict[str, pd.Series]:
    """Return the parameters of some methods' fits to all LLMs."""
    starts = {}
    for name in names:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            starts[name] = estimators[name].fit(panel).params
        for one in warned:
            warnings.warn(f"{name}, fitted to all LLMs for the starts of its splits: {one.message}", one.category, 3)
        shown.stage(f"{name}, all LLMs: where its splits start")
    return starts


def _raise(one: Outcome) -> NoReturn:
    """Raise the error of a failed fit; the message names its method and split."""
    kind = IdentificationError if one.failure.startswith("IdentificationError: ") else DataError
    error = kind(f"{one.method}, fitted without {one.group}: {one.failure.removeprefix('IdentificationError: ')}")
    if one.trace:
        error.add_note(one.trace)
    raise error


# --- tables ----------------------------------------------------------------------------------------------------------


def _long(panel: BenchmarkPanel, split: Split, one: Outcome, alphas: Sequence[float]) -> pd.DataFrame:
    """Return the rows of ``LeaveFamilyOut.errors`` for one method and split, those with an observed score."""
    llms, benchmarks = list(split.test), list(panel.benchmarks)
    observed = panel.scores.loc[llms].to_numpy()
    predicted = np.full(observed.shape, np.nan) if one.predicted is None else one.predicted
    columns = {
        "method": one.method,
        "group": one.group,
        "family": np.repeat(panel.families.loc[llms].to_numpy(), len(benchmarks)),
        "llm": np.repeat(llms, len(benchmarks)),
        "benchmark": np.tile(benchmarks, len(llms)),
        "observed": observed.ravel(),
        "predicted": predicted.ravel(),
        "error": 100.0 * (predicted - observed).ravel(),
    }
    frame = pd.DataFrame(columns)
    frame["abs_error"] = frame["error"].abs()
    if one.lower is not None and one.upper is not None:
        for number, alpha in enumerate(alphas):
            level = metrics.level_name(1.0 - alpha)
            frame[f"lower_{level}"], frame[f"upper_{level}"] = one.lower[number].ravel(), one.upper[number].ravel()
    if one.law_scores is not None:
        frame["pit"], frame["crps"], frame["log_score"] = (values.ravel() for values in one.law_scores)
        frame["crps"] *= 100.0
    return frame[frame["observed"].notna()]


def _fits_table(outcomes: Sequence[Outcome], by_group: Mapping[str, Split]) -> pd.DataFrame:
    """Return ``LeaveFamilyOut.fits``."""
    rows = [
        {
            "method": one.method,
            "group": one.group,
            "n_train": len(by_group[one.group].train),
            "n_test": len(by_group[one.group].test),
            "seconds": one.seconds,
            "warnings": "; ".join(f"{category}: {message}" for category, message in one.warnings),
            "failure": one.failure,
        }
        for one in outcomes
    ]
    return pd.DataFrame(rows)


def _warn(outcomes: Sequence[Outcome]) -> None:
    """Warn once for all warnings of the fits, and once for the fits that failed."""
    failed = [one for one in outcomes if one.failure]
    if failed:
        first = failed[0]
        text = f"{len(failed)} of {len(outcomes)} fits failed and predict nothing, first {first.method} without "
        warnings.warn(f"{text}{first.group}: {first.failure} The others are in fits.", UserWarning, stacklevel=3)
    warned = [one for one in outcomes if one.warnings]
    if warned:
        first, kinds = warned[0], {category for one in warned for category, _ in one.warnings}
        category = ConvergenceWarning if ConvergenceWarning.__name__ in kinds else UserWarning
        text = f"{len(warned)} of {len(outcomes)} fits warned, first {first.method} without {first.group}: "
        warnings.warn(f"{text}{first.warnings[0][1]} All warnings are in fits.", category, stacklevel=3)
