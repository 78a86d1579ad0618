"""What is saved of a Huber-loss fit, and the same fit made of what was saved."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..results.saving import or_null, panel_content, plain, starts_content, write_fit
from .fit import penalised

SPECIFICATION = ("scaling", "family_intercepts", "link", "asymptotes", "positive_slopes")
SCALARS = ("loss", "penalised", "gradient", "converged", "ridge", "automatic", "iterations")


def save_sloth(fit, path):
    """Write a fit of a SlothModel or BenchmarkLaws; the file appears whole or not at all."""
    if fit.rotated:
        raise DataError(
            "Rotated results are not saved: save the fit before rotation and rotate it again; the same seed gives the "
            "same rotation."
        )
    model, estimate = fit.model, fit.estimate
    specification = {"class": type(model).__name__, **{name: getattr(model, name) for name in SPECIFICATION}}
    if not model.per_benchmark:
        specification["n_skills"] = model.n_skills
    arrays = {}
    for number, piece in enumerate(estimate.pieces):
        arrays |= {
            f"vector_{number}": piece.vector,
            f"penalty_{number}": piece.objective.penalty,
            f"transform_{number}": piece.transform,
        }
    content = {
        "panel": panel_content(model.panel),
        "model": specification,
        "estimate": {
            **{name: plain(getattr(estimate, name)) for name in SCALARS},
            "runaway": [list(cell) for cell in estimate.runaway],
            "seconds": or_null(estimate.seconds),
            "options": {name: plain(value) for name, value in estimate.options.items()},
            "starts": starts_content(estimate.starts.reset_index()),
        },
        "covariance": {"kind": fit.cov_type},
    }
    write_fit(Path(path), content, arrays)


def stored_piece(bare, arrays, number, link_sd):
    """A problem of the rebuilt model, with what was stored of its solution."""
    size, p = len(bare.objective.penalty), len(bare.transform)
    vector, penalty = (finite_array(arrays, f"{name}_{number}", (size,)) for name in ("vector", "penalty"))
    if (penalty < 0.0).any():
        raise DataError(f"the array 'penalty_{number}' has negative weights")
    transform = finite_array(arrays, f"transform_{number}", (p, p))
    objective = replace(penalised(bare.objective, 0.0, link_sd), penalty=penalty)
    if not np.array_equal(transform, bare.transform):  # another machine whitened covariates a little differently
        objective = replace(objective, z=objective.z @ np.linalg.solve(bare.transform, transform))
    return replace(bare, objective=objective, vector=vector, transform=transform)


def mean_loss(pieces, delta):
    """Mean Huber loss over all cells, without penalties."""
    cells = [np.count_nonzero(piece.objective.weight) for piece in pieces]
    values = [
        piece.objective.value(piece.vector, delta) - piece.objective.penalty_value(piece.vector) for piece in pieces
    ]
    return float(np.dot(cells, values) / sum(cells))


def stored_array(arrays, name, shape, kind=np.float64):
    if arrays[name].shape != shape or arrays[name].dtype != kind:
        raise DataError(f"the array {name!r} has the wrong shape")
    return arrays[name]


def finite_array(arrays, name, shape):
    if not np.isfinite(stored_array(arrays, name, shape)).all():
        raise DataError(f"the array {name!r} has entries that are not finite")
    return arrays[name]
