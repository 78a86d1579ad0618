"""One method on one split: fit to the training LLMs, and predict the others."""

import copy
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..errors import DataError, IdentificationError
from ..panel import BenchmarkPanel
from ..tables import some
from .folds import Split
from .split_store import LAW_SCORES, Outcome


class Estimator(Protocol):
    """What cross-validation can fit, such as ``Specification``.

    Its ``fit`` returns an object whose ``predict(data)`` is a DataFrame with a row for each LLM and a column for each
    benchmark. If the object has a method ``get_prediction(data)``, prediction intervals are taken from its result.
    """

    def fit(self, panel: BenchmarkPanel) -> Any:
        """Return the results of the fit to a panel."""


def predicted_split(
    estimators: Mapping[str, Estimator],
    panel: BenchmarkPanel,
    alphas: Sequence[float],
    starts: Mapping[str, pd.Series],
    name: str,
    split: Split,
) -> Outcome:
    """Fit one method to the training LLMs of one split and predict the others.

    Parameters
    ----------
    estimators : mapping of str to object
        Estimators by the names of their methods.
    panel : BenchmarkPanel
        The LLMs that take part.
    alphas : sequence of float
        One minus the levels of prediction intervals.
    starts : mapping of str to Series
        Parameters from which the fits of some methods start.
    name : str
        The method.
    split : Split

    Returns
    -------
    Outcome
        An error that the estimator raises is recorded in it, and not raised.
    """
    began, predicted, ends, law_scores, failure, trace = time.perf_counter(), None, None, None, "", ""
    held = panel.table.loc[list(split.test)].reset_index()
    # a user's warning filters stay as they are; where they turn numerical warnings into errors, the fit fails
    with threadpool_limits(1), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        try:
            # a copy, since an estimator may change when it is fitted, which must not influence other splits
            given = {"start_params": starts[name]} if name in starts else {}
            fit = copy.deepcopy(estimators[name]).fit(panel.subset(list(split.train)), **given)
            predicted = _aligned(fit.predict(held), split, panel)
            ends, law_scores = _intervals(fit, held, split, panel, alphas)
        except Exception as error:  # a user's estimator may raise anything; the caller reports it
            known = isinstance(error, DataError | IdentificationError)
            kind = "" if type(error) is DataError else f"{type(error).__name__}: "
            failure, trace = f"{kind}{error}", "" if known else traceback.format_exc()
            predicted = law_scores = None
    lower, upper = (None, None) if ends is None or predicted is None else ends
    seconds = time.perf_counter() - began
    words = tuple((one.category.__name__, str(one.message)) for one in warned)
    return Outcome(name, split.group, predicted, lower, upper, seconds, words, law_scores, failure, trace)


def _aligned(predicted: Any, split: Split, panel: BenchmarkPanel) -> np.ndarray:
    """Check a table of predictions, and return it as an array (n_test, J) in the order of the split and the panel."""
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


def _intervals(
    fit: Any, held: pd.DataFrame, split: Split, panel: BenchmarkPanel, alphas: Sequence[float]
) -> tuple[tuple[np.ndarray, np.ndarray] | None, np.ndarray | None]:
    """Return the ends of prediction intervals, two arrays (n_alphas, n_test, J), and ``Outcome.law_scores``.

    Both are None if no intervals are wanted or the estimator has none.
    """
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
    return (ends[0], ends[1]), _law_scores(prediction, split, panel)


def _law_scores(prediction: Any, split: Split, panel: BenchmarkPanel) -> np.ndarray | None:
    """Return the ``LAW_SCORES`` (3, n_test, J) of a prediction, or None if it has no predictive law."""
    if not hasattr(prediction, "calibration"):
        return None
    llms, benchmarks = list(split.test), list(panel.benchmarks)
    frame = prediction.calibration(panel.scores.loc[llms], panel.rounding)
    wide = [frame.pivot(index="llm", columns="benchmark", values=name) for name in LAW_SCORES]
    return np.stack([one.reindex(index=llms, columns=benchmarks).to_numpy(dtype=float) for one in wide])
