"""Leave-family-out: fit without the larger LLMs of some families, predict them, and compare."""

import copy
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..checks import check_alpha, check_one_of
from ..errors import ConvergenceWarning, DataError, IdentificationError
from ..estimation.progress import Progress
from ..plots.calibration import plot_calibration
from ..plots.error_heatmap import plot_errors
from ..tables import some
from ..workers import run
from . import metrics
from .folds import leave_out
from .split_store import JUDGED, Outcome, SplitStore, estimator_digest, store_header

ALPHAS = (0.5, 0.2, 0.05)


@dataclass(frozen=True, eq=False)
class LeaveFamilyOut:
    """What ``leave_family_out`` found.

    Attributes
    ----------
    errors : DataFrame
        One row per method and held-out score: method, group, family, llm, benchmark, observed, predicted (fractions),
        error (predicted - observed) and abs_error in percentage points; for methods with prediction intervals lower_50,
        upper_50 and so on. Rows of a split that failed have no prediction.
    fits : DataFrame
        One row per method and split: method, group, n_train and n_test (LLMs), seconds, warnings, failure.
    methods : tuple of str
    benchmarks : tuple of str
    levels : tuple of float
        Levels of the prediction intervals, which some methods may lack.
    splits : tuple of Split
    """

    errors: pd.DataFrame
    fits: pd.DataFrame
    methods: tuple
    benchmarks: tuple
    levels: tuple
    splits: tuple = field(repr=False)

    def mae(self, by=None, pooled=False):
        """Mean absolute error in percentage points.

        By default as in the Sloth paper: the mean over the held-out scores of each group, and then over groups.

        Parameters
        ----------
        by : str or sequence of str, optional
            Some of "benchmark", "family", "group", "llm". By family, group or LLM the cells of each are averaged.
        pooled : bool
            The mean over all held-out scores instead.

        Returns
        -------
        Series or DataFrame
            By method; with ``by`` methods are columns. NaN where a split failed.
        """
        return metrics.mean_absolute_error(self.errors, self.methods, by, pooled)

    def coverage(self, by=None):
        """Share of held-out scores within their prediction intervals, by level.

        Parameters
        ----------
        by : str or sequence of str, optional
            Some of "benchmark", "family", "group", "llm".

        Returns
        -------
        DataFrame
            Rows by method, and the values of ``by``; a column per level.

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

    def calibration(self, by=None):
        """Whether predictive laws are as wide as they say, and how sharp.

        Parameters
        ----------
        by : str or sequence of str, optional
            Some of "benchmark", "family", "group", "llm".

        Returns
        -------
        DataFrame
            Rows by method, and the values of ``by``: coverage_50 and so on, width_50 and so on (mean, in points),
            pit_mean (0.5 without bias) and pit_sd (0.289 if calibrated, more if laws are too narrow), crps (in points),
            log_score, n (scores).

        Raises
        ------
        DataError
            If no method gives prediction intervals.
        """
        shares = self.coverage(by)
        return metrics.calibration(self.errors, shares, self.levels, by)

    def plot_calibration(self, kind="coverage", ax=None):
        """Coverage of central intervals against their level, or the histogram of PIT values; returns the axes.

        Parameters
        ----------
        kind : {"coverage", "pit"}
        ax : matplotlib Axes, optional
        """
        if "pit" not in self.errors:
            raise DataError("No method gives a predictive law, whose calibration could be shown.")
        return plot_calibration(self.errors, kind, ax)

    def compare(self, baseline, unit="family"):
        """Errors of all methods less a baseline's, paired over families, with standard errors.

        Parameters
        ----------
        baseline : str
            A method.
        unit : {"family", "group"}
            What counts as one observation.

        Returns
        -------
        DataFrame
            By method: mae, baseline, difference, se, t, p_value, better (families with a smaller error), n.
        """
        return metrics.paired_differences(self.errors, self.methods, baseline, unit)

    def plot(self, ax=None):
        """Heatmap of the mean absolute error, method by benchmark; returns the matplotlib axes."""
        table = self.mae(by="benchmark").T.reindex(columns=list(self.benchmarks))
        return plot_errors(table.assign(mean=self.mae()), ax=ax)

    def __str__(self):
        count, failed = len(self.splits), int((self.fits["failure"] != "").sum())
        head = f"Leave-family-out, {count} splits, {sum(len(split.test) for split in self.splits)} LLMs predicted"
        head += f", {failed} fits failed" if failed else ""
        table = self.mae(by="benchmark").T.reindex(columns=list(self.benchmarks)).assign(mean=self.mae())
        return f"{head}; mean absolute error in percentage points\n{table.round(2).to_string()}"


def leave_family_out(
    estimator, panel, groups=None, n_train=1, n_jobs=None, progress=False, complete=True, resume=None, alphas=ALPHAS,
    covariates=("params_b", "tokens_t"), size="params_b", small_families="drop", on_error="raise", reuse_starts=False,
):  # fmt: skip
    """Predict the larger LLMs of families that only their smallest LLMs represent in the fit.

    The protocol is the Sloth paper's: LLMs without all scores or covariates are dropped, and families with fewer than
    n_train + 1 LLMs. For each group of test families, the n_train smallest LLMs of each train with all other families;
    the others are predicted. What an estimator is given to predict has no scores.

    Parameters
    ----------
    estimator : object or dict of str to object
        Anything whose ``fit(panel)`` gives something whose ``predict(data)`` is a DataFrame LLM x benchmark, such as
        ``ls.Specification``; a dict names several methods.
    panel : BenchmarkPanel
    groups : sequence of groups, optional
        A group is a sequence of family names, or one name. By default every family with more than n_train LLMs by
        itself.
    n_train : int
        With 0 whole families are predicted, by estimators that can.
    n_jobs : int, optional
        Fits run in parallel; the numbers do not depend on it. By default one, or what a surrounding ``ls.parallel``
        says.
    progress : bool
        Report on the standard error stream.
    complete : bool
        Drop LLMs that lack a score; otherwise those without any, and errors are of the scores there are.
    resume : str or Path, optional
        File that keeps finished splits. A later call with the same panel and splits goes on with it, and may add
        methods.
    alphas : sequence of float
        One minus the levels of prediction intervals, of estimators whose results have ``get_prediction``; empty for
        none.
    covariates : sequence of str
        Columns that an LLM must not lack.
    size : str
        Column by which LLMs are small; equal sizes in the panel's order.
    small_families : {"drop", "train"}
        What becomes of families too small to be test families.
    on_error : {"raise", "skip"}
        Stop at a fit that fails, or go on without its predictions.
    reuse_starts : bool
        Fit each method to all LLMs first, and start the fits of its splits there and nowhere else: faster by the number
        of starts and more. A split's estimates are still those of its training LLMs, but where their likelihood has
        several optima the held-out scores have had a say in which is climbed. For specifications of
        ``LatentSkillModel``.

    Returns
    -------
    LeaveFamilyOut

    Raises
    ------
    DataError
        If groups, options or the store cannot be used, or a fit fails (the message names method and split).
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
    failed = []  # the first failure ends the supply of tasks; those under way are waited for, and kept
    tasks = (task for task in todo if not failed)
    shown, total = Progress(progress, 0), len(estimators) * len(splits)
    try:
        starts = _starts(estimators, panel, dict.fromkeys(name for name, _ in todo), shown) if reuse_starts else {}
        for one in run(_predicted, tasks, (estimators, panel, alphas, starts), n_jobs, ordered=False):
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


# --- what is asked ---------------------------------------------------------------------------------------------------


def _read_estimators(estimator):
    """Estimators by name."""
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


def _read_alphas(alphas):
    alphas = tuple(check_alpha(alpha, "each of alphas") for alpha in (alphas if np.iterable(alphas) else (alphas,)))
    if len(set(alphas)) < len(alphas):
        raise DataError(f"alphas are different numbers between 0 and 1; got {alphas}.")
    return alphas


def _require_can_start(estimators):
    unable = [name for name, one in estimators.items() if not getattr(one, "can_start", False)]
    if unable:
        raise DataError(
            f"reuse_starts=True is for specifications of LatentSkillModel; {some(unable)} cannot start from parameters "
            "that are given. Leave them out, or reuse_starts=False."
        )


def _open_store(path, panel, splits, alphas, estimators, reuse_starts):
    if path is None:
        return None
    # estimates from other starts may be others
    kept = {name: (one, "starts reused") if reuse_starts else one for name, one in estimators.items()}
    digests = {name: estimator_digest(name, one) for name, one in kept.items()}
    shapes = {split.group: (len(split.test), panel.n_benchmarks) for split in splits}
    return SplitStore.open(path, store_header(panel, splits, alphas), digests, shapes)


# --- one split -------------------------------------------------------------------------------------------------------


def _starts(estimators, panel, names, shown):
    """Parameters of some methods' fits to all LLMs."""
    starts = {}
    for name in names:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            starts[name] = estimators[name].fit(panel).params
        for one in warned:
            warnings.warn(f"{name}, fitted to all LLMs for the starts of its splits: {one.message}", one.category, 3)
        shown.stage(f"{name}, all LLMs: where its splits start")
    return starts


def _predicted(estimators, panel, alphas, starts, name, split):
    """Fit and predict; what goes wrong is put on record."""
    began, predicted, ends, judged, failure, trace = time.perf_counter(), None, None, None, "", ""
    held = panel.table.loc[list(split.test)].reset_index()
    # warnings of a user's filters stay as they are: where numerical ones are errors, they fail the fit
    with threadpool_limits(1), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        try:
            # a copy, since an estimator may keep what it learns, which no other split may see
            given = {"start_params": starts[name]} if name in starts else {}
            fit = copy.deepcopy(estimators[name]).fit(panel.subset(list(split.train)), **given)
            predicted = _aligned(fit.predict(held), split, panel)
            ends, judged = _intervals(fit, held, split, panel, alphas)
        except Exception as error:  # whatever a user's estimator may raise; told apart and reported by the caller
            known = isinstance(error, DataError | IdentificationError)
            kind = "" if type(error) is DataError else f"{type(error).__name__}: "
            failure, trace = f"{kind}{error}", "" if known else traceback.format_exc()
            predicted = judged = None
    lower, upper = (None, None) if ends is None or predicted is None else ends
    seconds = time.perf_counter() - began
    words = tuple((one.category.__name__, str(one.message)) for one in warned)
    return Outcome(name, split.group, predicted, lower, upper, seconds, words, judged, failure, trace)


def _raise(one):
    """Raise the error of a failed fit, with its method and split."""
    kind = IdentificationError if one.failure.startswith("IdentificationError: ") else DataError
    error = kind(f"{one.method}, fitted without {one.group}: {one.failure.removeprefix('IdentificationError: ')}")
    if one.trace:
        error.add_note(one.trace)
    raise error


def _aligned(predicted, split, panel):
    """Predictions as an array (n_test, J), checked."""
    llms, benchmarks = list(split.test), list(panel.benchmarks)
    if not isinstance(predicted, pd.DataFrame):
        raise DataError(f"predict gave a {type(predicted).__name__}; it takes a DataFrame LLM x benchmark.")
    absent = [name for name in llms if name not in predicted.index]
    absent += [name for name in benchmarks if name not in predicted.columns]
    if absent:
        raise DataError(f"predict gave a table without {some(absent)}; it takes LLMs by benchmarks.")
    values = predicted.loc[llms, benchmarks].to_numpy(dtype=float)
    if values.shape != (len(llms), len(benchmarks)):
        raise DataError("predict gave several rows for one LLM, or columns for one benchmark.")
    bad = sorted({llms[row] for row in np.flatnonzero(~np.isfinite(values).all(axis=1))})
    if bad:
        raise DataError(f"The predicted scores of {some(bad)} are not finite.")
    return values


def _intervals(fit, held, split, panel, alphas):
    """Ends of prediction intervals, two arrays (n_alphas, n_test, J), and what ``Outcome.judged`` holds; or None."""
    if not alphas or not hasattr(fit, "get_prediction"):
        return None, None
    prediction = fit.get_prediction(held)
    ends = np.empty((2, len(alphas), len(split.test), panel.n_benchmarks))
    for number, alpha in enumerate(alphas):
        frame = prediction.summary_frame(alpha=alpha)
        frame = frame.reset_index() if any(frame.index.names) else frame
        llm = "llm" if "llm" in frame else panel.llm
        for side, column in enumerate(("obs_ci_lower", "obs_ci_upper")):
            wide = frame.pivot(index=llm, columns="benchmark", values=column)
            ends[side, number] = _aligned(wide, split, panel)
    return (ends[0], ends[1]), _judged(prediction, split, panel)


def _judged(prediction, split, panel):
    """PIT, CRPS and logarithmic scores, array (3, n_test, J); None if there is no predictive law."""
    if not hasattr(prediction, "calibration"):
        return None
    llms, benchmarks = list(split.test), list(panel.benchmarks)
    frame = prediction.calibration(panel.scores.loc[llms], panel.rounding)
    wide = [frame.pivot(index="llm", columns="benchmark", values=name) for name in JUDGED]
    return np.stack([one.reindex(index=llms, columns=benchmarks).to_numpy(dtype=float) for one in wide])


# --- tables ----------------------------------------------------------------------------------------------------------


def _long(panel, split, one, alphas):
    """Rows of ``errors`` for one method and split: the scores there are."""
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
    for number, alpha in enumerate(alphas if one.lower is not None else ()):
        level = metrics.level_name(1.0 - alpha)
        frame[f"lower_{level}"], frame[f"upper_{level}"] = one.lower[number].ravel(), one.upper[number].ravel()
    if one.judged is not None:
        frame["pit"], frame["crps"], frame["log_score"] = (values.ravel() for values in one.judged)
        frame["crps"] *= 100.0
    return frame[frame["observed"].notna()]


def _fits_table(outcomes, by_group):
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


def _warn(outcomes):
    """One warning for all those of the fits, and one for the fits that failed."""
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
