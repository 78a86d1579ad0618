"""Saving of a Huber-loss fit, and the solved problems of a saved fit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..models.options import saved_options
from ..results.saving import or_null, panel_content, plain, starts_content, write_fit
from .problems import Piece, penalised

if TYPE_CHECKING:
    from .results import SlothResults

SCALARS = ("loss", "penalised", "gradient", "converged", "ridge", "automatic", "iterations")


def save_sloth(fit: "SlothResults", path: str | PathLike[str]) -> None:
    """Write a fit of a SlothModel or BenchmarkLaws to a file, which appears complete or not at all.

    Raises
    ------
    DataError
        If the results are rotated.
    """
    if fit.rotated:
        raise DataError(
            "Rotated results are not saved: save the fit before rotation and rotate it again; the same seed gives the "
            "same rotation."
        )
    model, estimate = fit.model, fit.estimate
    arrays: dict[str, np.ndarray] = {}
    for number, piece in enumerate(estimate.pieces):
        arrays |= {
            f"vector_{number}": piece.vector,
            f"penalty_{number}": piece.objective.penalty,
            f"transform_{number}": piece.transform,
        }
    content = {
        "panel": panel_content(model.panel),
        "model": {"class": type(model).__name__, **saved_options(model)},
        "estimate": {
            **{name: plain(getattr(estimate, name)) for name in SCALARS},
            "runaway": [list(cell) for cell in estimate.runaway],
            "seconds": or_null(estimate.seconds),
            "options": estimate.options,
            "starts": starts_content(estimate.starts.reset_index()),
        },
        "covariance": {"kind": fit.cov_type},
    }
    write_fit(Path(path), content, arrays)


def stored_piece(bare: Piece, arrays: Mapping[str, np.ndarray], number: int, link_sd: float) -> Piece:
    """Return a problem of the rebuilt model with its stored solution.

    Parameters
    ----------
    bare : Piece
        The problem of the rebuilt model.
    arrays : mapping of str to array
        The arrays in the file.
    number : int
        Number of the problem.
    link_sd : float
        As for ``fit_sloth``.

    Raises
    ------
    DataError
        If an array has the wrong shape or impossible entries.
    """
    size, p = len(bare.objective.penalty), len(bare.transform)
    vector, penalty = (finite_array(arrays, f"{name}_{number}", (size,)) for name in ("vector", "penalty"))
    if (penalty < 0.0).any():
        raise DataError(f"the array 'penalty_{number}' has negative weights")
    transform = finite_array(arrays, f"transform_{number}", (p, p))
    objective = replace(penalised(bare.objective, 0.0, link_sd), penalty=penalty)
    if not np.array_equal(transform, bare.transform):  # another machine whitened covariates a little differently
        objective = replace(objective, z=objective.z @ np.linalg.solve(bare.transform, transform))
    return replace(bare, objective=objective, vector=vector, transform=transform)


def mean_loss(pieces: Sequence[Piece], delta: float) -> float:
    """Return the mean Huber loss over the cells of all problems, without penalties."""
    cells = [np.count_nonzero(piece.objective.weight) for piece in pieces]
    values = [
        piece.objective.value(piece.vector, delta) - piece.objective.penalty_value(piece.vector) for piece in pieces
    ]
    return float(np.dot(cells, values) / sum(cells))


def stored_array(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], kind: Any = np.float64
) -> np.ndarray:
    """Return a stored array, after checking its shape and its dtype."""
    if arrays[name].shape != shape or arrays[name].dtype != kind:
        raise DataError(f"the array {name!r} has the wrong shape")
    return arrays[name]


def finite_array(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a stored array of doubles, after checking its shape and that its entries are finite."""
    if not np.isfinite(stored_array(arrays, name, shape)).all():
        raise DataError(f"the array {name!r} has entries that are not finite")
    return arrays[name]
