"""The file in which cross-validation keeps its finished splits.

It is a text file of JSON lines; reading it executes no code. The first line is an object with ``format``,
``format_version``, ``latentscale`` (the version that wrote it), ``alphas`` and ``fingerprint``: SHA-256 digests of the
panel and of the splits. Every other line is a finished split of one method: ``method``, ``estimator`` (a digest of it),
``group``, ``predicted`` (one list for each test LLM), ``lower`` and ``upper`` (one such list of lists for each alpha,
or null), ``judged`` (null, or an object with ``pit``, ``crps`` and ``log_score``, lists like ``predicted`` with null
where there is no value), ``seconds`` and ``warnings`` (pairs of category and message). Doubles are written with all
their digits. A run that is killed while it writes leaves a last line without its end, which is ignored and written
again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from pickle import PicklingError
from typing import Any, Self

import joblib
import numpy as np

from .._version import __version__
from ..checkpoint import LineStore, read_header, require_same_run
from ..errors import DataError
from ..panel import BenchmarkPanel
from .folds import Split

FORMAT = "latentscale leave-family-out"
FORMAT_VERSION = 3
LAW_SCORES = ("pit", "crps", "log_score")
"""Measures of a predictive law: probability integral transform, continuous ranked probability score, log score."""

_WHAT = "leave-family-out splits"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The predictions of one method for one split, or the reason why there are none.

    Attributes
    ----------
    method, group : str
        Name of the method, and label of the split.
    predicted : array (n_test, J) or None
        Predicted scores; None if the fit failed.
    lower, upper : array (n_alphas, n_test, J) or None
        Ends of prediction intervals; None if the method has none.
    seconds : float
        Time that fit and prediction took.
    warnings : tuple of (category, message)
        Warnings of the fit.
    law_scores : array (3, n_test, J) or None
        The ``LAW_SCORES`` of the predictive law, NaN where there is none; None if the method has no predictive law.
    failure : str
        The error that the fit raised; empty if it raised none.
    trace : str
        The traceback of an error that is not one of latentscale's own.
    """

    method: str
    group: str
    predicted: np.ndarray | None
    lower: np.ndarray | None
    upper: np.ndarray | None
    seconds: float
    warnings: tuple[tuple[str, str], ...]
    law_scores: np.ndarray | None = None
    failure: str = ""
    trace: str = ""


def store_header(panel: BenchmarkPanel, splits: Sequence[Split], alphas: Sequence[float]) -> dict[str, Any]:
    """Return the first line of a store, in which a run must agree to continue it."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "latentscale": __version__,
        "alphas": list(alphas),
        "fingerprint": {
            "panel": _digest(json.dumps(panel.options) + panel.to_frame().to_csv(index=False)),
            "splits": _digest(json.dumps([asdict(split) for split in splits])),
        },
    }


def estimator_digest(name: str, estimator: object) -> str:
    """Return a digest of an estimator, by which a later run recognises it.

    Raises
    ------
    DataError
        If the estimator cannot be pickled.
    """
    try:
        return joblib.hash(estimator, hash_name="sha1")
    except (PicklingError, TypeError, AttributeError) as error:
        raise DataError(
            f"resume must recognise the estimator {name!r} in a later run, and it cannot be pickled: {error}. Define "
            "its class at the top of a module, or use ls.Specification."
        ) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class SplitStore(LineStore):
    """The file of a run, open for writing.

    Attributes
    ----------
    done : dict of (method, group) to Outcome
        The splits that it held when it was opened.
    digests : dict of str to str
        The ``estimator_digest`` of each method.
    """

    digests: Mapping[str, str]

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        header: dict[str, Any],
        digests: Mapping[str, str],
        shapes: Mapping[str, tuple[int, int]],
    ) -> Self:
        """Begin a file, or continue one of the same run.

        Parameters
        ----------
        path : str or Path
        header : dict
            The ``store_header`` of the run.
        digests : dict of str to str
            The ``estimator_digest`` of each method; splits of other methods in the file are kept and ignored.
        shapes : dict of str to (int, int)
            Numbers of test LLMs and of benchmarks of each group.

        Returns
        -------
        SplitStore

        Raises
        ------
        DataError
            If the file cannot be read or written, is no such store, is damaged, or belongs to another run.
        """

        def read(path: Path, lines: list[bytes]) -> dict[tuple[str, str], Outcome]:
            return _read_lines(path, lines, header, digests, shapes)

        store = cls.open_lines(path, header, _WHAT, read)
        store.digests = digests
        return store

    def write(self, one: Outcome) -> None:
        """Append a split and flush it, so that it is kept if the run is killed."""
        if one.predicted is None:
            raise ValueError("only splits with predictions are kept")
        content = {
            "method": one.method,
            "estimator": self.digests[one.method],
            "group": one.group,
            "predicted": one.predicted.tolist(),
            "lower": None if one.lower is None else one.lower.tolist(),
            "upper": None if one.upper is None else one.upper.tolist(),
            "judged": None if one.law_scores is None else _with_nulls(one.law_scores),
            "seconds": one.seconds,
            "warnings": [list(pair) for pair in one.warnings],
        }
        self.write_line(content)


def _read_lines(
    path: Path,
    lines: list[bytes],
    header: dict[str, Any],
    digests: Mapping[str, str],
    shapes: Mapping[str, tuple[int, int]],
) -> dict[tuple[str, str], Outcome]:
    """Return the finished splits of the run's methods, after comparing the first line with the header of this run."""
    first, differ = read_header(path, lines[0], header, _WHAT)
    differ += [] if first.get("alphas") == header["alphas"] else ["the levels of intervals"]
    require_same_run(path, differ)
    done: dict[tuple[str, str], Outcome] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            method, estimator, one = _read_split(line, shapes, len(header["alphas"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"Line {number} of the store {path} is damaged; delete that line.") from error
        if digests.get(method, estimator) != estimator:
            raise DataError(
                f"The store {path} has splits of {method!r} as another estimator; give another file or name."
            )
        if method in digests:
            done.setdefault((method, one.group), one)
    return done


def _read_split(line: bytes, shapes: Mapping[str, tuple[int, int]], levels: int) -> tuple[str, str, Outcome]:
    """Return method, digest of the estimator and outcome from a line.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the line is damaged.
    """
    content = json.loads(line)
    method, estimator, group = (content[name] for name in ("method", "estimator", "group"))
    if type(method) is not str or type(estimator) is not str:
        raise TypeError("method and estimator are texts")
    shape = shapes[group]
    predicted = _array(content["predicted"], shape)
    both = [content["lower"], content["upper"]]
    if any(value is None for value in both) and both != [None, None]:
        raise ValueError("an interval with one end")
    lower, upper = (None if value is None else _array(value, (levels, *shape)) for value in both)
    law_scores = None if content["judged"] is None else _read_law_scores(content["judged"], shape)
    warned = tuple((str(category), str(message)) for category, message in content["warnings"])
    seconds = float(content["seconds"])
    return method, estimator, Outcome(method, group, predicted, lower, upper, seconds, warned, law_scores)


def _with_nulls(law_scores: np.ndarray) -> dict[str, Any]:
    """Return ``LAW_SCORES`` (3, n_test, J) as nested lists by name, with None where there is no value.

    Infinite values, which a log score may have and JSON has not, become text.
    """
    values: Any = law_scores.astype(object)
    values[np.isnan(law_scores)] = None
    values = np.where(np.isinf(law_scores), law_scores.astype(str), values)
    return dict(zip(LAW_SCORES, values.tolist(), strict=True))


def _read_law_scores(content: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return ``LAW_SCORES`` (3, n_test, J) from what ``_with_nulls`` made."""
    out = np.array([content[name] for name in LAW_SCORES], dtype=float)
    if out.shape != (len(LAW_SCORES), *shape):
        raise ValueError("not arrays of this shape")
    return out


def _array(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return nested lists as an array, after checking that its shape is right and its entries are finite."""
    array = np.array(values, dtype=float)
    if array.shape != tuple(shape) or not np.isfinite(array).all():
        raise ValueError("not an array of numbers of this shape")
    return array
