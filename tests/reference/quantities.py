"""Quantities that are recorded, and the rule by which two records of one quantity agree.

A quantity is a number, a text, or a table of numbers and texts by labels. Numbers agree when they differ by at most
``rtol`` times a scale. The scale of a number is the largest finite absolute value, on either side, of its group:

- a single number is a group by itself;
- the entries of a vector with labels such as ``slope[log(params_b),math]`` form one group for each kind of parameter
  (the part before the bracket), so that large precisions do not excuse slopes; entries with other labels form one;
- each column of a table is treated as such a vector;
- an array without labels is one group;
- where a quantity states a scale (``scale=``), that is used if it is larger: a probability has scale 1, a difference of
  two log-likelihoods the log-likelihood.

Matrices that go with parameters (covariance, Hessian) are recorded as their diagonal and as some rows divided by the
roots of the diagonal, with scale 1. Of long tables every so-many-th row is recorded, and the sums of their columns with
the sum of absolute values as scale. Texts, whole numbers, truth values, labels and the places of NaN agree when they
are the same. Numbers that differ by less than ``ROUNDING`` agree whatever their scale (unless ``rtol`` is 0): a
standard error that should be zero comes out as some 1e-14.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

LONG = 24
"""Rows of a long table that are recorded, about."""

ROUNDING = 1e-16
"""Differences below this are rounding, also between numbers that would be zero but for rounding."""

WHOLE = 120
"""Entries up to which a vector of parameters is recorded whole."""

ROWS = 3
"""Rows of a matrix that are recorded, about."""


def plain(value):
    """A value as JSON can hold it: numbers, texts, truth values and None."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    return str(value)


def quantity(value, scale=None):
    """The record of a value: a plain value, or a dict of columns by labels."""
    if isinstance(value, pd.DataFrame):
        columns = {str(name): [plain(one) for one in value.iloc[:, at]] for at, name in enumerate(value.columns)}
        record = {"labels": [str(label) for label in value.index], "columns": columns}
    elif isinstance(value, pd.Series):
        record = {"labels": [str(label) for label in value.index], "columns": {"": [plain(one) for one in value]}}
    elif isinstance(value, (np.ndarray, list, tuple)):
        array = np.asarray(value)
        record = {"shape": list(array.shape), "columns": {"": [plain(one) for one in array.ravel().tolist()]}}
    elif scale is None:
        return plain(value)
    else:
        record = {"columns": {"": [plain(value)]}}
    if scale is not None:
        record["scale"] = float(scale)
    return record


@dataclass
class Keeper:
    """Collects the quantities of one section under names such as ``laplace K=2/params``."""

    quantities: dict = field(default_factory=dict)
    prefix: str = ""

    def within(self, name):
        """A keeper into the same collection, below ``name``."""
        return Keeper(self.quantities, f"{self.prefix}{name}/")

    def __call__(self, name, value, scale=None):
        """Keep one quantity."""
        name = self.prefix + name
        if name in self.quantities:
            raise ValueError(f"{name} is recorded twice")
        self.quantities[name] = quantity(value, scale)

    def matrix(self, name, frame):
        """Keep a matrix of parameters by parameters."""
        values = frame.to_numpy(dtype=float)
        diagonal = pd.Series(np.diag(values), frame.index)
        root = np.sqrt(np.abs(diagonal.to_numpy()))
        root = np.where(root > 0.0, root, 1.0)
        scaled = values / np.outer(root, root)
        self.vector(f"{name}: diagonal", diagonal)
        self(f"{name}: some rows", scaled[:: max(1, len(scaled) // ROWS)], scale=1.0)
        self(f"{name}: sum", float(np.nansum(scaled)), scale=float(np.nansum(np.abs(scaled))))

    def vector(self, name, values, scale=None):
        """Keep a vector or table by parameters, whole unless there are very many."""
        (self.__call__ if len(values) <= WHOLE else self.long)(name, values, scale)

    def long(self, name, frame, scale=None):
        """Keep a long table: some rows, and the sums of all."""
        frame = frame.to_frame() if isinstance(frame, pd.Series) else frame
        every = max(1, math.ceil(len(frame) / LONG))
        self(f"{name}: {len(frame)} rows, every {every}", frame.iloc[::every], scale)
        for column in frame.select_dtypes("number").columns:
            values = frame[column].to_numpy(dtype=float)
            finite = values[np.isfinite(values)]
            if every > 1 and len(finite):
                self(f"{name}: sum of {column}", float(finite.sum()), scale=float(np.abs(finite).sum()))


def _kind(label):
    """The kind of parameter that a label names, or nothing."""
    return label.split("[", 1)[0] if "[" in label and label.endswith("]") else ""


def _is_float(value):
    return isinstance(value, float)


def _column_differences(old, new, labels, least, rtol):
    """Lines about one column's entries that do not agree, worst first: (excess, text)."""
    kinds = [_kind(label) for label in labels]
    scales = {}
    for kind, *pair in zip(kinds, old, new, strict=True):
        sizes = [abs(one) for one in pair if _is_float(one) and math.isfinite(one)]
        scales[kind] = max([scales.get(kind, least), *sizes])
    found = []
    for label, kind, a, b in zip(labels, kinds, old, new, strict=True):
        if _is_float(a) and _is_float(b) and math.isfinite(a) and math.isfinite(b):
            if abs(a - b) > max(rtol * scales[kind], ROUNDING if rtol else 0.0):
                relative = abs(a - b) / scales[kind] if scales[kind] else math.inf
                words = f"{a!r} was {b!r} now: {relative:.1e} of the scale {scales[kind]:.6g}"
                found.append((relative, f"{label}: {words}"))
        elif not (a == b or (_is_float(a) and _is_float(b) and math.isnan(a) and math.isnan(b))):
            found.append((math.inf, f"{label}: {a!r} was {b!r} now"))
    return sorted(found, key=lambda one: -one[0])


def _first_different_line(old, new):
    for number, (a, b) in enumerate(zip(old.splitlines(), new.splitlines(), strict=False), 1):
        if a != b:
            return f"line {number}: {a!r} was {b!r} now"
    return f"{len(old.splitlines())} lines were {len(new.splitlines())} now"


def difference(old, new, rtol):
    """What differs between two records of one quantity, as a text; empty if they agree.

    Returns
    -------
    (str, float)
        The text, and the largest difference relative to its scale (infinite for texts, labels and whole numbers).
    """
    if isinstance(old, str) and isinstance(new, str):
        return ("", 0.0) if old == new else (_first_different_line(old, new), math.inf)
    if not isinstance(old, dict) or not isinstance(new, dict):
        if isinstance(old, dict) or isinstance(new, dict):
            return "of another kind now", math.inf
        found = _column_differences([old], [new], ["value"], 0.0, rtol)
        return (found[0][1], found[0][0]) if found else ("", 0.0)
    for part in ("labels", "shape"):
        if old.get(part) != new.get(part):
            return f"other {part}: {_other(old.get(part), new.get(part))}", math.inf
    if list(old["columns"]) != list(new["columns"]):
        return f"other columns: {list(old['columns'])} were {list(new['columns'])} now", math.inf
    worst = []
    for name, a in old["columns"].items():
        b = new["columns"][name]
        labels = old.get("labels") or [f"entry {number}" for number in range(len(a))]
        found = _column_differences(a, b, labels, old.get("scale", 0.0), rtol)
        worst += [(size, f"{name + ', ' if name else ''}{text}") for size, text in found]
    if not worst:
        return "", 0.0
    worst.sort(key=lambda one: -one[0])
    more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
    return worst[0][1] + more, worst[0][0]


def _other(old, new):
    pairs = zip(old or [], new or [], strict=False)
    first = next((f"{a!r} was {b!r} now" for a, b in pairs if a != b), None)
    return first or f"{len(old or [])} were {len(new or [])} now"
