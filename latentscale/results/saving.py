"""Saving fits in one zip file of JSON and plain arrays; reading it executes no code from it.

This is format 4; formats 2 and 3 can be read too. The zip file has two members. ``fit.json`` has the format, the
version of latentscale, the options of the panel and its table column by column, class and options of the model, scalars
and options of the estimate, and the kind of the covariance. ``arrays.npz`` has arrays without pickled objects:

- For a LatentSkillModel params, free, information, gradient and covariance. After Monte Carlo integration also
  params_se; under linear restrictions also their matrix and values, and the coordinates that remain free.
- For a SlothModel, or for each benchmark of BenchmarkLaws, ``vector_0`` (the optimiser's coordinates), ``penalty_0``
  (weights of the quadratic penalty) and ``transform_0`` (of the covariates); 1, 2, ... for further benchmarks.

Reading (``latentscale.loading``) makes the panel and the model anew from the table, with the same checks as for any
table, and adds the estimate. Standard errors and rotations of Huber-loss fits are computed again. Formulas in the file
can do nothing but arithmetic on columns (see ``latentscale.components.scaling``).
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._version import __version__
from ..components.shipped_laws import name_of_law
from ..errors import DataError
from ..models.options import saved_options

if TYPE_CHECKING:
    from os import PathLike

    from ..panel import BenchmarkPanel
    from .latent_skill import LatentSkillResults

FORMAT = "latentscale fit"
FORMAT_VERSION = 5
ESTIMATE_ARRAYS = ("params", "free", "information", "gradient")


def save_fit(fit: LatentSkillResults, path: str | PathLike[str]) -> None:
    """Write a fit to a file, which is only replaced once everything is written."""
    if hasattr(fit, "source"):
        raise DataError(
            "Rotated results are not saved: save the fit (rotated.source.save) and rotate it again; the same seed "
            "gives the same rotation."
        )
    path = Path(path)
    estimate = fit.estimate
    arrays = {name: getattr(estimate, name) for name in ESTIMATE_ARRAYS}
    if estimate.error.params_se is not None:
        arrays["params_se"] = estimate.error.params_se
    arrays["covariance"] = fit.covariance.matrix
    restriction = estimate.restriction
    if restriction is not None:
        arrays |= {"restriction": restriction.matrix, "restriction_value": restriction.value, "kept": estimate.kept}
    content = {
        "panel": panel_content(fit.model.panel),
        "model": {"class": "LatentSkillModel", "law": name_of_law(fit.model.score_law), **saved_options(fit.model)},
        "param_names": fit.model.param_names,
        "estimate": {
            "loglike": estimate.loglike,
            "penalised": estimate.penalised,
            "distance": or_null(estimate.distance),
            "converged": estimate.converged,
            "evaluations": estimate.evaluations,
            "seconds": or_null(estimate.seconds),
            "rule": asdict(estimate.rule),
            "llf_se": or_null(estimate.error.se),
            "llf_difference": or_null(estimate.error.difference),
            "starts": starts_content(estimate.starts),
            "options": estimate.options,
            "restriction": None if restriction is None else list(restriction.labels),
        },
        "covariance": {"kind": fit.covariance.kind, "description": fit.covariance.description},
    }
    write_fit(path, content, arrays)


def write_fit(path: Path, content: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write JSON and arrays to one zip file, first under a temporary name, so that no partial file can remain."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "latentscale": __version__}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    temporary = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("fit.json", json.dumps({**head, **content}, allow_nan=False))
            archive.writestr("arrays.npz", buffer.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """Return a scalar of numpy as one of Python; other values unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def starts_content(starts: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the columns of a table of starts, with None for NaN, which JSON does not have."""
    return {name: [None if value != value else value for value in column.tolist()] for name, column in starts.items()}


def or_null(value: float) -> float | None:
    """Return a number, None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)


def panel_content(panel: BenchmarkPanel) -> dict[str, Any]:
    """Return the table and the options of a panel as JSON."""
    table = panel.to_frame()
    return {
        "columns": [_column_content(table[name]) for name in table.columns],
        **panel.options,
    }


def _column_content(column: pd.Series) -> dict[str, Any]:
    """Return name, kind and values of a column; floats are written so that they are read back exactly."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return {"name": column.name, "kind": "bool", "values": column.tolist()}
    if pd.api.types.is_integer_dtype(column.dtype):
        return {"name": column.name, "kind": "int", "values": column.tolist()}
    missing = column.isna()
    if pd.api.types.is_float_dtype(column.dtype):
        kind, values = "float", column.tolist()
    elif pd.api.types.is_datetime64_any_dtype(column.dtype):
        kind, values = "datetime", [str(value) for value in column]
    else:
        kind, values = "text", [value if isinstance(value, bool) else str(value) for value in column]
    return {
        "name": column.name,
        "kind": kind,
        "values": [None if is_missing else value for value, is_missing in zip(values, missing, strict=True)],
    }
