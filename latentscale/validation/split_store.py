"""The file in which cross-validation keeps its finished splits.

It is a text file of JSON lines, of which reading executes nothing. The first line is an object with ``format``,
``format_version``, ``latentscale`` (the version that wrote it), ``alphas`` and ``fingerprint``: SHA-256 digests of the
panel and of the splits. Every other line is a finished split of one method: ``method``, ``estimator`` (a digest of it),
``group``, ``predicted`` (one list per test LLM), ``lower`` and ``upper`` (one such list of lists per alpha, or null),
``judged`` (null, or an object with ``pit``, ``crps`` and ``log_score``, lists like ``predicted`` with null where there
is no value), ``seconds`` and ``warnings`` (pairs of category and message). Doubles are written so that they come back
exactly. A last line without its end is what a killed run leaves; it is ignored, and written anew.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pickle import PicklingError

import joblib
import numpy as np

from .._version import __version__
from ..errors import DataError
from ..line_store import LineStore, read_header, require_same_run

FORMAT = "latentscale leave-family-out"
FORMAT_VERSION = 2
JUDGED = ("pit", "crps", "log_score")
_WHAT = "leave-family-out splits"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one method on one split.

    Attributes
    ----------
    method, group : str
    predicted : array (n_test, J) or None
        None if it failed.
    lower, upper : array (n_alphas, n_test, J) or None
        None without intervals.
    judged : array (3, n_test, J) or None
        PIT, CRPS and logarithmic score, NaN where there is none; None without a predictive law.
    seconds : float
    warnings : tuple of (category, message)
    failure : str
        What went wrong; empty if nothing did.
    trace : str
        Where, if that was unforeseen.
    """

    method: str
    group: str
    predicted: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    seconds: float
    warnings: tuple
    judged: np.ndarray = None
    failure: str = ""
    trace: str = ""


def store_header(panel, splits, alphas):
    """First line of a store: what a run must agree in to go on with it."""
    settings = [panel.benchmarks, panel.family, panel.llm, panel.boundary]
    settings += [panel.chance.tolist(), panel.rounding.tolist()]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "latentscale": __version__,
        "alphas": list(alphas),
        "fingerprint": {
            "panel": _digest(json.dumps(settings) + panel.to_frame().to_csv(index=False)),
            "splits": _digest(json.dumps([asdict(split) for split in splits])),
        },
    }


def estimator_digest(name, estimator):
    """A digest that says whether an estimator is the same as in an earlier run."""
    try:
        return joblib.hash(estimator, hash_name="sha1")
    except (PicklingError, TypeError, AttributeError) as error:
        raise DataError(
            f"resume must recognise the estimator {name!r} in a later run, and it cannot be pickled: {error}. Define "
            "its class at the top of a module, or use ls.Specification."
        ) from error


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


class SplitStore(LineStore):
    """The file of a run, open for writing.

    Attributes
    ----------
    done : dict of (method, group) to Outcome
        The splits that were in it.
    digests : dict of str to str
        ``estimator_digest`` of each method.
    """

    @classmethod
    def open(cls, path, header, digests, shapes):
        """Begin a file, or go on with one that is of the same run.

        Parameters
        ----------
        path : str or Path
        header : dict
            ``store_header`` of the run.
        digests : dict of str to str
            ``estimator_digest`` of each method; splits of other methods in the file are left alone.
        shapes : dict of str to (int, int)
            Test LLMs and benchmarks of each group.

        Raises
        ------
        DataError
            If the file cannot be read or written, is something else, is damaged, or is of another run.
        """
        def read(path, lines):
            return _read_lines(path, lines, header, digests, shapes)

        store = cls.open_lines(path, header, _WHAT, read)
        store.digests = digests
        return store

    def write(self, one):
        """Append a split, at once so that a killed run has it."""
        content = {
            "method": one.method,
            "estimator": self.digests[one.method],
            "group": one.group,
            "predicted": one.predicted.tolist(),
            "lower": None if one.lower is None else one.lower.tolist(),
            "upper": None if one.upper is None else one.upper.tolist(),
            "judged": None if one.judged is None else _with_nulls(one.judged),
            "seconds": one.seconds,
            "warnings": [list(pair) for pair in one.warnings],
        }
        self.write_line(content)


def _read_lines(path, lines, header, digests, shapes):
    """Splits of the run's methods, after comparing the first line with what it should be."""
    found, differ = read_header(path, lines[0], header, _WHAT)
    differ += [] if found.get("alphas") == header["alphas"] else ["the levels of intervals"]
    require_same_run(path, differ)
    done = {}
    for number, line in enumerate(lines[1:], 2):
        method, estimator, one = _read_split(line, shapes, len(header["alphas"]))
        if one is None:
            raise DataError(f"Line {number} of the store {path} is damaged; delete that line.")
        if digests.get(method, estimator) != estimator:
            raise DataError(
                f"The store {path} has splits of {method!r} as another estimator; give another file or name."
            )
        if method in digests:
            done.setdefault((method, one.group), one)
    return done


def _read_split(line, shapes, levels):
    """Method, digest of the estimator and Outcome of a line; None for a damaged one."""
    try:
        content = json.loads(line)
        method, estimator, group = (content[name] for name in ("method", "estimator", "group"))
        shape = shapes[group]
        predicted = _array(content["predicted"], shape)
        both = [content["lower"], content["upper"]]
        if any(value is None for value in both) and both != [None, None]:
            raise ValueError("an interval with one end")
        lower, upper = (None if value is None else _array(value, (levels, *shape)) for value in both)
        judged = None if content["judged"] is None else _read_judged(content["judged"], shape)
        warned = tuple((str(category), str(message)) for category, message in content["warnings"])
        seconds = float(content["seconds"])
    except (ValueError, KeyError, TypeError):
        return None, None, None
    if type(method) is not str or type(estimator) is not str:
        return None, None, None
    return method, estimator, Outcome(method, group, predicted, lower, upper, seconds, warned, judged)


def _with_nulls(judged):
    values = np.where(np.isnan(judged), None, judged)
    # JSON has no infinity, which a logarithmic score may be; as text it comes back
    values = np.where(np.isinf(judged), judged.astype(str), values)
    return dict(zip(JUDGED, values.tolist(), strict=True))


def _read_judged(content, shape):
    out = np.array([content[name] for name in JUDGED], dtype=float)
    if out.shape != (len(JUDGED), *shape):
        raise ValueError("not arrays of this shape")
    return out


def _array(values, shape):
    array = np.array(values, dtype=float)
    if array.shape != tuple(shape) or not np.isfinite(array).all():
        raise ValueError("not an array of numbers of this shape")
    return array
