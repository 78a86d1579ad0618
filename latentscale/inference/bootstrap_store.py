"""The file in which a bootstrap keeps its finished replicates.

It is a text file of JSON lines, and reading it executes nothing. The first line is an object with ``format``,
``format_version``, ``latentscale`` (the version that wrote it), ``kind``, ``seed``, ``integration`` (the rule),
``param_names`` and ``fingerprint``: SHA-256 digests, by name, of everything that the replicates depend on. Every other
line is a finished replicate: ``replicate`` (its number), ``params`` (natural parameters in the order of
``param_names``, or null if it failed), ``llf`` (null if it is not finite), ``converged`` and ``message``. Doubles are
written so that reading returns them exactly. A run that was killed may leave an incomplete last line; it is ignored and
written again.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..checkpoint import LineStore, read_header, require_same_run
from ..errors import DataError
from ..likelihood.rules import Rule
from ..models.latent_skill import LatentSkillLaw
from ..models.options import saved_options

if TYPE_CHECKING:
    from ..estimation.estimate import Estimate

FORMAT = "latentscale bootstrap"
FORMAT_VERSION = 2
_WHAT = "bootstrap replicates"  # in messages


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
    params: np.ndarray | None
    llf: float
    converged: bool
    message: str


def store_header(model: LatentSkillLaw, estimate: "Estimate", rule: Rule, kind: str, seed: int) -> dict[str, Any]:
    """Return the first line of a store as a dict: everything in which a run must agree to continue it.

    Parameters
    ----------
    model : LatentSkillLaw
    estimate : Estimate
    rule : Rule
        Of the replicates.
    kind : str
    seed : int
    """
    prepared, restriction = model.prepared, estimate.restriction
    limits = () if restriction is None else (restriction.matrix, restriction.value, estimate.kept)
    pattern = [list(model.benchmarks), list(model.skills), model.pattern.kind]
    fingerprinted = {
        "scores": (prepared.y, prepared.state, prepared.edge, [model.panel.boundary]),
        "families": (model.family_codes, [str(name) for name in model.families]),
        "covariates": (model.design.x, list(model.terms), model.recoding.centre, model.recoding.transform),
        "model": (pattern, model.table.fixed, saved_options(model), [repr(model.score_law)]),
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
        "fingerprint": {name: _digest(values) for name, values in fingerprinted.items()},
    }


def _digest(values: Iterable[Any]) -> str:
    """Return the SHA-256 digest of arrays and of values that JSON can write."""
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
    def open(cls, path: str | Path, header: dict[str, Any]) -> "Store":
        """Start a file, or continue one of the same run.

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

    def write(self, replicate: Replicate) -> None:
        """Append a replicate and write it to disk at once, so that a run that is killed does not lose it."""
        content = {
            "replicate": replicate.number,
            "params": None if replicate.params is None else replicate.params.tolist(),
            "llf": float(replicate.llf) if np.isfinite(replicate.llf) else None,
            "converged": replicate.converged,
            "message": replicate.message,
        }
        self.write_line(content)


def _read_lines(path: Path, lines: list[bytes], header: dict[str, Any]) -> dict[int, Replicate]:
    """Return replicates by number, after comparing the first line with the header of this run."""
    stored, differing = read_header(path, lines[0], header, _WHAT)
    differ = [
        f"{name} ({stored.get(name)!r} there, {header[name]!r} here)"
        for name in ("kind", "seed", "integration")
        if stored.get(name) != header[name]
    ]
    differ += ["the parameters' names"] if stored.get("param_names") != header["param_names"] else []
    require_same_run(path, differ + differing)
    done: dict[int, Replicate] = {}
    for number, line in enumerate(lines[1:], 2):
        replicate = _read_replicate(line, len(header["param_names"]))
        if replicate is None:
            raise DataError(f"Line {number} of the store {path} is damaged; delete that line.")
        done.setdefault(replicate.number, replicate)
    return done


def _read_replicate(line: bytes, size: int) -> Replicate | None:
    """Return the replicate of a line, or None if the line is damaged."""
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
