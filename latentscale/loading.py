"""Loading saved fits; ``latentscale.results.saving`` describes the file. No code in the file is executed."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .components.penalty import WEAK_PRECISION_SD
from .components.shipped_laws import SHIPPED_LAWS
from .errors import DataError
from .estimation.estimate import Estimate
from .inference.covariance import Covariance
from .likelihood.rules import IntegrationError, Rule
from .model import LatentSkillModel
from .models.options import checked_options, read_options
from .panel import BenchmarkPanel
from .parameters.restrictions import Restriction
from .results.latent_skill import LatentSkillResults
from .results.saving import FORMAT, FORMAT_VERSION
from .sloth.fit import SlothEstimate, user_arrays
from .sloth.model import BenchmarkLaws, SlothModel
from .sloth.options import SLOTH_FIT_OPTIONS
from .sloth.problems import law_pieces, model_piece
from .sloth.results import SlothResults
from .sloth.storage import SCALARS, mean_loss, stored_array, stored_piece

if TYPE_CHECKING:
    from os import PathLike

# Formats that can be read. Older formats lack later options, and the class of the model, which was LatentSkillModel.
_READABLE = (2, 3, 4, 5)
_MODELS = {model.__name__: model for model in (LatentSkillModel, SlothModel, BenchmarkLaws)}
_SAME_LOSS = 1e-8  # relative difference allowed between the stored loss and the loss computed at the stored estimate


def _or_nan(value: float | None) -> float:
    """Return a number, NaN for None, which stands for NaN in JSON."""
    return np.nan if value is None else value


def load(path: str | PathLike[str]) -> LatentSkillResults | SlothResults:
    """Read a fit that ``fit.save(path)`` wrote, without executing code from the file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    LatentSkillResults or SlothResults

    Raises
    ------
    DataError
        If the file is absent, damaged, not a saved fit, or of a newer format.
    """
    content, arrays = _read(path)
    try:
        model = _model_from(content, _panel_from(content["panel"]))
        if isinstance(model, LatentSkillModel):
            return _latent_skill_from(content, arrays, model)
        return _sloth_from(content, arrays, model)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:  # DataError is a ValueError
        raise DataError(f"{path} is damaged or was edited: {error}.") from error


def _latent_skill_from(
    content: dict[str, Any], arrays: dict[str, np.ndarray], model: LatentSkillModel
) -> LatentSkillResults:
    """Return the fit of a LatentSkillModel from the content of its file."""
    if model.param_names != content["param_names"]:
        raise DataError("its parameters do not belong to its model")
    estimate = _estimate_from(content["estimate"], arrays, model)
    covariance = Covariance(stored_array(arrays, "covariance", (model.table.size,) * 2), **content["covariance"])
    return LatentSkillResults(model, estimate, covariance)


def _sloth_from(
    content: dict[str, Any], arrays: dict[str, np.ndarray], model: SlothModel | BenchmarkLaws
) -> SlothResults:
    """Return the fit of a SlothModel or BenchmarkLaws from the content of its file."""
    stored, options = content["estimate"], content["estimate"]["options"]
    recorded = [one for one in SLOTH_FIT_OPTIONS if one.recorded]
    checked_options(recorded, {**options, "cov_type": content["covariance"]["kind"]})
    bare = law_pieces(model) if model.per_benchmark else [model_piece(model)]
    pieces = tuple(stored_piece(piece, arrays, number, options["link_sd"]) for number, piece in enumerate(bare))
    loss = mean_loss(pieces, options["delta"])
    if not np.isclose(loss, stored["loss"], rtol=_SAME_LOSS, atol=0.0):
        raise DataError(f"the mean Huber loss at its estimate is {loss:.6g}, not the {stored['loss']:.6g} it states")
    starts = pd.DataFrame(stored["starts"])
    effects, slopes, loadings, intercepts, phi = user_arrays(model, pieces)
    estimate = SlothEstimate(
        effects, slopes, loadings, intercepts, phi, **{name: stored[name] for name in SCALARS},
        runaway=tuple((family, benchmark) for family, benchmark in stored["runaway"]),
        starts=starts.set_index(["benchmark", "start"] if model.per_benchmark else "start"), pieces=pieces,
        options=options, seconds=_or_nan(stored["seconds"]),
    )  # fmt: skip
    return SlothResults(model, estimate, cov_type=content["covariance"]["kind"])


def _read(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the JSON and the arrays of a file, or raise a DataError."""
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
            f"{FORMAT_VERSION}; it was written by latentscale {content.get('latentscale')}."
        )
    return content, arrays


def _panel_from(content: dict[str, Any]) -> BenchmarkPanel:
    """Return the panel, with the checks that every table undergoes."""
    columns = {}
    for column in content["columns"]:
        values, kind = column["values"], column["kind"]
        if kind == "datetime":
            columns[column["name"]] = pd.to_datetime(pd.Series(values, dtype=object), format="ISO8601")
        else:
            dtype = {"bool": bool, "int": np.int64, "float": float, "text": object}[kind]
            columns[column["name"]] = pd.Series(values, dtype=dtype)
    options = {name: value for name, value in content.items() if name != "columns"}
    return BenchmarkPanel(pd.DataFrame(columns), **options)


def _model_from(content: dict[str, Any], panel: BenchmarkPanel) -> LatentSkillModel | SlothModel | BenchmarkLaws:
    """Return the model of a fit by its class, which files of formats 2 and 3 do not name."""
    saved = dict(content["model"])
    name, law = saved.pop("class", "LatentSkillModel"), saved.pop("law", "beta")
    if name not in _MODELS:
        raise DataError(f"it holds a {name}, which is no model")
    if law not in SHIPPED_LAWS:
        raise DataError(f"its scores have a {law} law, which this version of latentscale does not know")
    if content["format_version"] < 5 and saved.get("llm_effects"):
        saved["precision_sd"] = WEAK_PRECISION_SD  # such models had this penalty always
    return _MODELS[name](panel, **read_options(_MODELS[name].OPTIONS, saved, content["format_version"]))


def _estimate_from(content: dict[str, Any], arrays: dict[str, np.ndarray], model: LatentSkillModel) -> Estimate:
    """Return what the optimiser returned, or raise a DataError if arrays do not fit the model."""
    size, labels = model.table.size, content["restriction"]
    restriction = kept = None
    if labels is not None:
        matrix = stored_array(arrays, "restriction", (len(labels), size))
        restriction = Restriction(matrix, stored_array(arrays, "restriction_value", (len(labels),)), tuple(labels))
        kept = stored_array(arrays, "kept", (size - restriction.rank,), np.int64)
        if len(np.unique(kept)) < len(kept) or kept.min(initial=0) < 0 or kept.max(initial=0) >= size:
            raise DataError("the array 'kept' does not name coordinates")
    n_free = size if kept is None else len(kept)
    shapes = {"params": (size,), "free": (size,), "gradient": (n_free,), "information": (n_free, n_free)}
    for name, shape in shapes.items():
        stored_array(arrays, name, shape)
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
