"""The file in which cross-validation keeps its finished splits.

It is a text file of JSON lines, of which reading executes nothing. The first line is an object with ``format``,
``format_version``, ``latentscale`` (the version that wrote it), ``alphas`` and ``fingerprint``: SHA-256 digests of the
panel and of the splits. Every other line is a finished split of one method: ``method``, ``estimator`` (a digest of it),
``group``, ``predicted`` (one list per test LLM), ``lower`` and ``upper`` (one such list of lists per alpha, or null),
``seconds`` and ``warnings`` (pairs of category and message). Doubles are written so that they come back exactly. A last
line without its end is what a killed run leaves; it is ignored, and written anew.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import PicklingError

import joblib
import numpy as np

from .._version import __version__
from ..errors import DataError

FORMAT = "latentscale leave-family-out"
FORMAT_VERSION = 1


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


class SplitStore:
    """The file of a run, open for writing.

    Attributes
    ----------
    done : dict of (method, group) to Outcome
        The splits that were in it.
    """

    def __init__(self, handle, done, digests):
        self.handle, self.done, self.digests = handle, done, digests

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
        path = Path(path)
        first = json.dumps(header, allow_nan=False).encode() + b"\n"
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if not whole and not first.startswith(content):
                raise DataError(f"{path} is not a store of leave-family-out splits; give another file.")
            lines = whole.split(b"\n")[:-1]
            done = _read_lines(path, lines, header, digests, shapes) if lines else {}
            handle = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115, closed when the run ends
        except OSError as error:
            raise DataError(f"The store {path} cannot be used: {error.strerror}.") from error
        handle.truncate(len(whole))
        handle.seek(len(whole))
        if not whole:
            handle.write(first)
            handle.flush()
        return cls(handle, done, digests)

    def write(self, one):
        """Append a split, at once so that a killed run has it."""
        content = {
            "method": one.method,
            "estimator": self.digests[one.method],
            "group": one.group,
            "predicted": one.predicted.tolist(),
            "lower": None if one.lower is None else one.lower.tolist(),
            "upper": None if one.upper is None else one.upper.tolist(),
            "seconds": one.seconds,
            "warnings": [list(pair) for pair in one.warnings],
        }
        self.handle.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self.handle.flush()

    def close(self):
        """Let go of the file."""
        self.handle.close()


def _read_lines(path, lines, header, digests, shapes):
    """Splits of the run's methods, after comparing the first line with what it should be."""
    try:
        found = json.loads(lines[0])
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{path} is not a store of leave-family-out splits; give another file.")
    if found.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path} has format {found.get('format_version')}, this version of latentscale reads {FORMAT_VERSION}; it "
            f"was written by latentscale {found.get('latentscale')}."
        )
    prints = found.get("fingerprint") if isinstance(found.get("fingerprint"), dict) else {}
    differ = [f"the {name}" for name, value in header["fingerprint"].items() if prints.get(name) != value]
    differ += [] if found.get("alphas") == header["alphas"] else ["the levels of intervals"]
    if differ:
        raise DataError(f"The store {path} is of another run; these differ: {', '.join(differ)}. Give another file.")
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
        warned = tuple((str(category), str(message)) for category, message in content["warnings"])
        seconds = float(content["seconds"])
    except (ValueError, KeyError, TypeError):
        return None, None, None
    if type(method) is not str or type(estimator) is not str:
        return None, None, None
    return method, estimator, Outcome(method, group, predicted, lower, upper, seconds, warned)


def _array(values, shape):
    array = np.array(values, dtype=float)
    if array.shape != tuple(shape) or not np.isfinite(array).all():
        raise ValueError("not an array of numbers of this shape")
    return array
