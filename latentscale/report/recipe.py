"""What a reader needs to repeat a fit: the Python call, the versions of packages, fingerprints of the table."""

from __future__ import annotations

import hashlib
import inspect
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..components.identification import Anchored, Echelon
from ..estimation.fit import fit_latent_skill
from ..models.latent_skill import LatentSkillLaw

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from ..results.latent_skill import LatentSkillResults

PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "autograd", "formulaic", "matplotlib")
_KEPT_APART = ("model", "progress", "n_jobs", "start_params", "constraints")
_MODEL_OPTIONS = (
    "asymptotes", "asymptote_sd", "link", "link_sd", "shrink_effects", "shrink_slopes", "outliers", "llm_effects",
    "family_covariates", "avoid_zero_sd",
)  # fmt: skip


def fingerprint(frame: pd.DataFrame) -> str:
    """Return the SHA-256 hash of a table written as CSV in UTF-8 with line feeds.

    Examples
    --------
    >>> import pandas as pd
    >>> fingerprint(pd.DataFrame({"bbh": [0.5]}, index=["a"]))[:12]
    '7aa36a05bbf2'
    """
    text = frame.to_csv(lineterminator="\n")
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that computed the report, by name."""
    own = {"latentscale": __version__, "Python": platform.python_version()}
    return own | {name: metadata.version(name) for name in PACKAGES}


def call(fit: LatentSkillResults) -> str:
    """Return Python code that fits the same model to the same table, which the reader must load as ``table``."""
    rotation, fit = getattr(fit, "recipe", None), getattr(fit, "source", fit)
    model, panel = fit.model, fit.model.panel
    kind = type(model)
    ours = kind.__module__.partition(".")[0] == "latentscale"
    lines = ["import latentscale as ls"] + ([] if ours else [f"from {kind.__module__} import {kind.__name__}"])
    lines += [] if isinstance(model.form, Anchored | Echelon) else ["import pandas as pd"]
    lines += ["", "table = ...  # the scores whose fingerprint is below"]
    lines += _call(
        "panel = ls.BenchmarkPanel",
        ["table"],
        {
            "benchmarks": list(panel.benchmarks),
            "family": panel.family if isinstance(panel.family, str) else list(panel.family),
            "llm": panel.llm,
            "chance": {name: float(value) for name, value in panel.chance.items()},
            "boundary": panel.boundary,
            "rounding": {name: float(value) for name, value in panel.rounding.items()},
        },
    )
    options = {"scaling": model.scaling, "skills": _Code(_form(model.form))}
    options |= _changed(LatentSkillLaw.__init__, {name: getattr(model, name) for name in _MODEL_OPTIONS})
    if model.random_terms:
        options["random_slopes"] = list(model.random_terms)
    lines += _call(f"model = {'ls.' * ours}{kind.__name__}", ["panel"], options)
    lines += _call("fit = model.fit", [], _fit_options(fit))
    wanted = fit.estimate.options["cov_type"]
    if fit.covariance.kind != wanted:
        lines.append(f"fit = fit.get_robust({fit.covariance.kind!r})")
    if rotation is not None:
        method, names, others = rotation
        plain = {k: v if isinstance(v, str | bool | int | float) else _Code("...") for k, v in others.items()}
        names = None if names is None else [str(name) for name in names]
        lines += _call("fit = fit.rotate", [repr(method)], {"names": names, **plain})
    return "\n".join(lines)


class _Code(str):
    """Text that is Python code, and is therefore not quoted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _call(function: str, arguments: list[str], options: dict[str, Any]) -> list[str]:
    """Return the lines of a call with its arguments, one line if it is short."""
    inner = [*arguments, *(f"{name}={value!r}" for name, value in options.items())]
    line = f"{function}({', '.join(inner)})"
    return [line] if len(line) <= 100 else [f"{function}(", *(f"    {part}," for part in inner), ")"]


def _fit_options(fit: LatentSkillResults) -> dict[str, Any]:
    """Return the options of ``fit``: the most important ones, and others that differ from their defaults."""
    stored = fit.estimate.options
    always = {name: stored[name] for name in ("integration", "starts", "seed", "cov_type") if name in stored}
    options = always | _changed(fit_latent_skill, stored)
    if fit.estimate.restriction is not None:
        options["constraints"] = list(fit.estimate.restriction.labels)
    return options


def _changed(function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that differ from the defaults of a function."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in _KEPT_APART
    }
    return {name: options[name] for name in defaults if name in options and options[name] != defaults[name]}


def _form(form: Any) -> str:
    """Return Python code that makes the identification of a model."""
    if isinstance(form, Anchored):
        more = "" if form.correlated else ", correlated=False"
        return f"ls.Anchored({form.anchors!r}{more})"
    if isinstance(form, Echelon):
        return f"ls.Echelon({list(form.pivots)!r}, {list(form.names)!r})"
    frame = form.loadings
    missing = _Code('float("nan")')
    values = [[missing if np.isnan(value) else value for value in row] for row in frame.to_numpy().tolist()]
    more = "" if form.correlated else ", correlated=False"
    return f"ls.Confirmatory(pd.DataFrame({values!r}, {list(frame.index)!r}, {list(frame.columns)!r}){more})"
