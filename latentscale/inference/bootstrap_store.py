"""The file in which a bootstrap keeps its finished replicates.

It is a text file of JSON lines, of which reading executes nothing. The first line is an object with ``format``,
``format_version``, ``latentscale`` (the version that wrote it), ``kind``, ``seed``, ``integration`` (the rule),
``param_names`` and ``fingerprint``: SHA-256 digests of what the replicates depend on, by name. Every other line is a
finished replicate: ``replicate`` (its number), ``params`` (natural parameters in the order of ``param_names``, or null
if it failed), ``llf`` (null if it is not finite), ``converged`` and ``message``. Doubles are written so that they come
back exactly. A last line without its end is what a killed run leaves; it is ignored, and written anew.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from .._version import __version__
from ..checkpoint import LineStore, read_header, require_same_run
from ..errors import DataError

FORMAT = "latentscale bootstrap"
FORMAT_VERSION = 1
_WHAT = "bootstrap replicates"


@dataclass(frozen=True, eq=False)
class Replicate:
    """A finished replicate.

    Attributes
    ----------
    number : int
    params : array (P,) or None
        Natural parameters; None if it failed.
    llf : float
        Log-likelihood of the replicate's own scores, NaN if there is none.
    converged : bool
    message : str
        Why it failed; empty if it did not.
    """

    number: int
    params: np.ndarray
    llf: float
    converged: bool
    message: str


def store_header(model, estimate, rule, kind, seed):
    """First line of a store, a dict: what a run must agree in to go on with it.

    Parameters
    ----------
    model : LatentSkillModel
    estimate : Estimate
    rule : Rule
        Of the replicates.
    kind : str
    seed : int
    """
    prepared, restriction = model.prepared, estimate.restriction
    limits = () if restriction is None else (restriction.matrix, restriction.value, estimate.kept)
    penalties = [model.link, model.link_sd, model.shrink_effects, model.shrink_slopes, model.avoid_zero_sd]
    pattern = [list(model.benchmarks), list(model.skills), list(model.random_terms), model.pattern.kind]
    parts = {
        "scores": (prepared.y, prepared.state, prepared.edge, [model.panel.boundary]),
        "families": (model.family_codes, [str(name) for name in model.families]),
        "covariates": (model.design.x, list(model.terms), model.recoding.centre, model.recoding.transform),
        "model": (pattern, model.table.fixed, np.array(model.asymptote_sd), penalties, [repr(model.score_law)]),
        "estimate": (estimate.params, estimate.free, estimate.information, *limits),
    }
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "latentscale": __version__,
        "kind": kind,
        "seed": seed,
        "integration": asdict(rule),
        "param_names": list(model.param_names),
        "fingerprint": {name: _digest(values) for name, values in parts.items()},
    }


def _digest(values):
    total = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            total.update(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        else:
            total.update(json.dumps(value).encode())
    return total.hexdigest()


class Store(LineStore):
    """The file of a run, open for writing.

    Attributes
    ----------
    done : dict of int to Replicate
        The replicates that were in it.
    """

    @classmethod
    def open(cls, path, header):
        """Begin a file, or go on with one that is of the same run.

        Parameters
        ----------
        path : str or Path
        header : dict
            ``store_header`` of the run.

        Raises
        ------
        DataError
            If the file cannot be read or written, is something else, is damaged, or is of another run.
        """
        return cls.open_lines(path, header, _WHAT, lambda path, lines: _read_lines(path, lines, header))

    def write(self, one):
        """Append a replicate, at once so that a killed run has it."""
        content = {
            "replicate": one.number,
            "params": None if one.params is None else one.params.tolist(),
            "llf": float(one.llf) if np.isfinite(one.llf) else None,
            "converged": one.converged,
            "message": one.message,
        }
        self.write_line(content)


def _read_lines(path, lines, header):
    """Replicates by number, after comparing the first line with what it should be."""
    found, other = read_header(path, lines[0], header, _WHAT)
    differ = [
        f"{name} ({found.get(name)!r} there, {header[name]!r} here)"
        for name in ("kind", "seed", "integration")
        if found.get(name) != header[name]
    ]
    differ += ["the parameters' names"] if found.get("param_names") != header["param_names"] else []
    require_same_run(path, differ + other)
    done = {}
    for number, line in enumerate(lines[1:], 2):
        one = _read_replicate(line, len(header["param_names"]))
        if one is None:
            raise DataError(f"Line {number} of the store {path} is damaged; delete that line.")
        done.setdefault(one.number, one)
    return done


def _read_replicate(line, size):
    try:
        content = json.loads(line)
        number, params, llf = content["replicate"], content["params"], content["llf"]
        converged, message = content["converged"], content["message"]
        values = None if params is None else np.array(params, dtype=float)
        llf = np.nan if llf is None else float(llf)
    except (ValueError, KeyError, TypeError):
        return None
    known = type(number) is int and number >= 0 and type(converged) is bool and type(message) is str
    fits = values is None or (values.shape == (size,) and bool(np.isfinite(values).all()))
    if not (known and fits and converged == (values is not None)):
        return None
    return Replicate(number, values, llf, converged, message)
