"""Saving and loading fits: one zip file of JSON and plain arrays, which executes nothing when read.

Format 4; 2 and 3 are read too. Members: ``fit.json`` (format, version of latentscale, the panel's options and table
column by column, the model's class and specification, scalars and options of the estimate, kind of the covariance) and
``arrays.npz`` (no pickled objects):

- of a LatentSkillModel params, free, information, gradient, covariance, and where there are any params_se, the
  restriction's matrix and value and the coordinates kept under it;
- of a SlothModel or BenchmarkLaws for each problem solved, one or one a benchmark, ``vector_0`` (the optimiser's
  coordinates), ``penalty_0`` (weights of the squares in the objective) and ``transform_0`` (of covariates).

Reading rebuilds the panel and the model from the table, with the same checks as for any table of a user, and attaches
the estimate. Standard errors and rotations of Huber-loss fits are computed again. Formulas may only do arithmetic on
columns (see ``latentscale.components.scaling``).
"""

import io
import json
import os
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from .._version import __version__
from ..components.identification import Anchored, Confirmatory, Echelon
from ..errors import DataError
from ..estimation.fit import Estimate
from ..estimation.rules import IntegrationError, Rule
from ..estimation.sloth import SlothEstimate, check_options, law_pieces, model_piece, penalised, user_parts
from ..inference.covariance import Covariance
from ..panel import BenchmarkPanel
from ..parameters.restrictions import Restriction

FORMAT = "latentscale fit"
FORMAT_VERSION = 4
_READABLE = (2, 3, 4)  # older ones lack options that came later, and the class, which is LatentSkillModel
_OPTIONS = ("link", "link_sd", "shrink_effects", "shrink_slopes", "outliers", "llm_effects", "family_covariates")
_OPTIONS += ("avoid_zero_sd",)
_ARRAYS = ("params", "free", "information", "gradient")
_SLOTH_OPTIONS = ("scaling", "family_intercepts", "link", "asymptotes", "positive_slopes")
_SLOTH_SCALARS = ("loss", "penalised", "gradient", "converged", "ridge", "automatic", "iterations")
_SAME_LOSS = 1e-8  # relative; the loss at the estimate, computed again


def save_fit(fit, path):
    """Write a fit; the file appears whole or not at all."""
    if hasattr(fit, "source"):
        raise DataError(
            "Rotated results are not saved: save the fit (rotated.source.save) and rotate it again; the same seed "
            "gives the same rotation."
        )
    path = Path(path)
    estimate = fit.estimate
    arrays = {name: getattr(estimate, name) for name in _ARRAYS}
    if estimate.error.params_se is not None:
        arrays["params_se"] = estimate.error.params_se
    arrays["covariance"] = fit.covariance.matrix
    restriction = estimate.restriction
    if restriction is not None:
        arrays |= {"restriction": restriction.matrix, "restriction_value": restriction.value, "kept": estimate.kept}
    content = {
        "panel": _panel_content(fit.model.panel),
        "model": _model_content(fit.model),
        "param_names": fit.model.param_names,
        "estimate": {
            "loglike": estimate.loglike,
            "penalised": estimate.penalised,
            "distance": _or_null(estimate.distance),
            "converged": estimate.converged,
            "evaluations": estimate.evaluations,
            "seconds": _or_null(estimate.seconds),
            "rule": asdict(estimate.rule),
            "llf_se": _or_null(estimate.error.se),
            "llf_difference": _or_null(estimate.error.difference),
            "starts": _starts_content(estimate.starts),
            "options": estimate.options,
            "restriction": None if restriction is None else list(restriction.labels),
        },
        "covariance": {"kind": fit.covariance.kind, "description": fit.covariance.description},
    }
    _write(path, content, arrays)


def save_sloth(fit, path):
    """Write a fit of a SlothModel or BenchmarkLaws; the file appears whole or not at all."""
    if fit.rotated:
        raise DataError(
            "Rotated results are not saved: save the fit before rotation and rotate it again; the same seed gives the "
            "same rotation."
        )
    model, estimate = fit.model, fit.estimate
    specification = {"class": type(model).__name__, **{name: getattr(model, name) for name in _SLOTH_OPTIONS}}
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
        "panel": _panel_content(model.panel),
        "model": specification,
        "estimate": {
            **{name: _plain(getattr(estimate, name)) for name in _SLOTH_SCALARS},
            "runaway": [list(cell) for cell in estimate.runaway],
            "seconds": _or_null(estimate.seconds),
            "options": {name: _plain(value) for name, value in estimate.options.items()},
            "starts": _starts_content(estimate.starts.reset_index()),
        },
        "covariance": {"kind": fit.cov_type},
    }
    _write(Path(path), content, arrays)


def _write(path, content, arrays):
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


def _plain(value):
    """A number of numpy's as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _starts_content(starts):
    """Columns of a table of starts; JSON has no NaN."""
    return {name: [None if value != value else value for value in column.tolist()] for name, column in starts.items()}


def _or_null(value):
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def _or_nan(value):
    return np.nan if value is None else value


def load(path):
    """Read a fit that ``fit.save(path)`` wrote. Executes no code from the file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    LatentSkillResults or SlothResults

    Raises
    ------
    DataError
        If the file is absent, truncated, of another kind, or of a newer format.
    """
    content, arrays = _read(path)
    try:
        panel = _panel_from(content["panel"])
        kind = content["model"].get("class", "LatentSkillModel")
        if kind not in _READERS:
            raise DataError(f"it holds a {kind}, which is no model")
        return _READERS[kind](content, arrays, panel)
    except (
        KeyError,
        TypeError,
        IndexError,
        ValueError,
        AttributeError,
    ) as error:  # DataError is a ValueError
        raise DataError(f"{path} is damaged or was edited: {error}.") from error


def _latent_skill_from(content, arrays, panel):
    from .latent_skill import LatentSkillResults

    model = _model_from(content["model"], panel)
    if model.param_names != content["param_names"]:
        raise DataError("its parameters do not belong to its model")
    estimate = _estimate_from(content["estimate"], arrays, model)
    covariance = Covariance(_array(arrays, "covariance", (model.table.size,) * 2), **content["covariance"])
    return LatentSkillResults(model, estimate, covariance)


def _sloth_from(content, arrays, panel):
    from ..models import BenchmarkLaws, SlothModel
    from .sloth import SlothResults

    specification = dict(content["model"])
    model = {"SlothModel": SlothModel, "BenchmarkLaws": BenchmarkLaws}[specification.pop("class")](
        panel, **specification
    )
    stored, options = content["estimate"], content["estimate"]["options"]
    check_options(**{**options, "cov_type": content["covariance"]["kind"]})
    bare = law_pieces(model) if model.per_benchmark else [model_piece(model)]
    pieces = tuple(_piece_from(piece, arrays, number, options["link_sd"]) for number, piece in enumerate(bare))
    loss = _loss(pieces, options["delta"])
    if not np.isclose(loss, stored["loss"], rtol=_SAME_LOSS, atol=0.0):
        raise DataError(f"the mean Huber loss at its estimate is {loss:.6g}, not the {stored['loss']:.6g} it states")
    starts = pd.DataFrame(stored["starts"])
    estimate = SlothEstimate(
        *user_parts(model, pieces), **{name: stored[name] for name in _SLOTH_SCALARS},
        runaway=tuple((family, benchmark) for family, benchmark in stored["runaway"]),
        starts=starts.set_index(["benchmark", "start"] if model.per_benchmark else "start"), pieces=pieces,
        options=options, seconds=_or_nan(stored["seconds"]),
    )  # fmt: skip
    return SlothResults(model, estimate, cov_type=content["covariance"]["kind"])


def _piece_from(bare, arrays, number, link_sd):
    """A problem of the rebuilt model, with what was stored of its solution."""
    size, p = len(bare.objective.penalty), len(bare.transform)
    vector, penalty = (_finite(arrays, f"{name}_{number}", (size,)) for name in ("vector", "penalty"))
    if (penalty < 0.0).any():
        raise DataError(f"the array 'penalty_{number}' has negative weights")
    transform = _finite(arrays, f"transform_{number}", (p, p))
    objective = replace(penalised(bare.objective, 0.0, link_sd), penalty=penalty)
    if not np.array_equal(transform, bare.transform):  # another machine whitened covariates a little differently
        objective = replace(objective, z=objective.z @ np.linalg.solve(bare.transform, transform))
    return replace(bare, objective=objective, vector=vector, transform=transform)


def _loss(pieces, delta):
    """Mean Huber loss over all cells, without penalties."""
    cells = [np.count_nonzero(piece.objective.weight) for piece in pieces]
    values = [
        piece.objective.value(piece.vector, delta) - piece.objective.penalty_value(piece.vector) for piece in pieces
    ]
    return float(np.dot(cells, values) / sum(cells))


_READERS = {"LatentSkillModel": _latent_skill_from, "SlothModel": _sloth_from, "BenchmarkLaws": _sloth_from}


def _read(path):
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read("fit.json"))
            with np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise DataError(f"There is no saved fit at {path}.") from error
    except (
        OSError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise DataError(
            f"{path} cannot be read as a saved fit: it is truncated or of another kind. Save the fit again."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} is not a saved latentscale fit.")
    if content.get("format_version") not in _READABLE:
        raise DataError(
            f"{path} has format {content.get('format_version')}, this version of latentscale reads up to "
            f"{FORMAT_VERSION}; "
            f"it was written by latentscale {content.get('latentscale')}."
        )
    return content, arrays


def _panel_content(panel):
    table = panel.to_frame()
    return {
        "columns": [_column_content(table[name]) for name in table.columns],
        "benchmarks": list(panel.benchmarks),
        "family": panel.family if isinstance(panel.family, str) else list(panel.family),
        "llm": panel.llm,
        "chance": panel.chance.to_dict(),
        "rounding": panel.rounding.to_dict(),
        "boundary": panel.boundary,
    }


def _column_content(column):
    """Name, kind and values of a column; JSON's doubles are exact."""
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
        "values": [None if gone else value for value, gone in zip(values, missing, strict=True)],
    }


def _panel_from(content):
    columns = {}
    for column in content["columns"]:
        values, kind = column["values"], column["kind"]
        if kind == "datetime":
            columns[column["name"]] = pd.to_datetime(pd.Series(values, dtype=object), format="ISO8601")
        else:
            dtype = {"bool": bool, "int": np.int64, "float": float, "text": object}[kind]
            columns[column["name"]] = pd.Series(values, dtype=dtype)
    return BenchmarkPanel(
        pd.DataFrame(columns),
        benchmarks=content["benchmarks"],
        family=content["family"],
        llm=content["llm"],
        chance=content["chance"],
        boundary=content["boundary"],
        rounding=content["rounding"],
    )


def _model_content(model):
    form = model.form
    if isinstance(form, Anchored):
        skills = {"form": "anchored", "anchors": form.anchors, "correlated": form.correlated}
    elif isinstance(form, Echelon):
        skills = {"form": "echelon", "pivots": list(form.pivots), "names": list(form.names)}
    else:
        frame = form.loadings
        values = [[None if np.isnan(value) else value for value in row] for row in frame.to_numpy()]
        skills = {
            "form": "confirmatory", "benchmarks": list(frame.index), "skills": list(frame.columns),
            "loadings": values, "correlated": form.correlated,
        }  # fmt: skip
    return {
        "class": "LatentSkillModel",
        "skills": skills,
        "scaling": model.scaling,
        "asymptotes": model.asymptotes,
        "asymptote_sd": model.asymptote_sd,
        **{name: getattr(model, name) for name in _OPTIONS},
        "random_slopes": list(model.random_terms),
    }


def _model_from(content, panel):
    from ..models import LatentSkillModel

    skills = content["skills"]
    if skills["form"] == "anchored":
        form = Anchored(skills["anchors"], skills["correlated"])
    elif skills["form"] == "echelon":
        form = Echelon(skills["pivots"], skills["names"])
    else:
        frame = pd.DataFrame(skills["loadings"], index=skills["benchmarks"], columns=skills["skills"], dtype=float)
        form = Confirmatory(frame, skills["correlated"])
    random_slopes = content["random_slopes"] or None
    return LatentSkillModel(
        panel, content["scaling"], form, content["asymptotes"], content["asymptote_sd"], random_slopes,
        **{name: content[name] for name in _OPTIONS if name in content},
    )  # fmt: skip


def _array(arrays, name, shape, kind=np.float64):
    if arrays[name].shape != shape or arrays[name].dtype != kind:
        raise DataError(f"the array {name!r} has the wrong shape")
    return arrays[name]


def _finite(arrays, name, shape):
    if not np.isfinite(_array(arrays, name, shape)).all():
        raise DataError(f"the array {name!r} has entries that are not finite")
    return arrays[name]


def _estimate_from(content, arrays, model):
    size, labels = model.table.size, content["restriction"]
    restriction = kept = None
    if labels is not None:
        matrix = _array(arrays, "restriction", (len(labels), size))
        restriction = Restriction(matrix, _array(arrays, "restriction_value", (len(labels),)), tuple(labels))
        kept = _array(arrays, "kept", (size - restriction.rank,), np.int64)
        if len(np.unique(kept)) < len(kept) or kept.min(initial=0) < 0 or kept.max(initial=0) >= size:
            raise DataError("the array 'kept' does not name coordinates")
    left = size if kept is None else len(kept)
    shapes = {"params": (size,), "free": (size,), "gradient": (left,), "information": (left, left)}
    for name, shape in shapes.items():
        _array(arrays, name, shape)
    model.table.read(arrays["params"])
    starts = pd.DataFrame(content["starts"])
    starts.index.name = "start"
    return Estimate(
        params=arrays["params"], free=arrays["free"], loglike=content["loglike"], penalised=content["penalised"],
        information=arrays["information"], distance=_or_nan(content["distance"]), gradient=arrays["gradient"],
        converged=content["converged"], rule=Rule(**content["rule"]),
        error=IntegrationError(
            _or_nan(content["llf_se"]), _or_nan(content["llf_difference"]), arrays.get("params_se")
        ),
        starts=starts, evaluations=content["evaluations"], options=content["options"],
        seconds=_or_nan(content["seconds"]), restriction=restriction, kept=kept,
    )  # fmt: skip
