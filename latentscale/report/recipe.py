"""What a reader needs to repeat a fit: the Python call, the versions of packages, fingerprints of the table."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from typing import TYPE_CHECKING

from .._version import __version__
from ..components.identification import Confirmatory
from ..estimation.fit_options import FIT_OPTIONS
from ..models.options import told_options

if TYPE_CHECKING:
    import pandas as pd

    from ..results.latent_skill import LatentSkillResults

PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "autograd", "formulaic", "matplotlib")


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
    lines += ["import pandas as pd"] if isinstance(model.form, Confirmatory) else []
    lines += ["", "table = ...  # the scores whose fingerprint is below"]
    lines += _call("panel = ls.BenchmarkPanel", "table", {name: repr(value) for name, value in panel.options.items()})
    options = told_options(model.OPTIONS, {one.name: one.kept(model) for one in model.OPTIONS})
    lines += _call(f"model = {'ls.' * ours}{kind.__name__}", "panel", options)
    lines += _call("fit = model.fit", "", _fit_options(fit))
    wanted = fit.estimate.options["cov_type"]
    if fit.covariance.kind != wanted:
        lines.append(f"fit = fit.get_robust({fit.covariance.kind!r})")
    if rotation is not None:
        method, names, others = rotation
        plain = {k: repr(v) if isinstance(v, str | bool | int | float) else "..." for k, v in others.items()}
        names = None if names is None else [str(name) for name in names]
        lines += _call("fit = fit.rotate", repr(method), {"names": repr(names), **plain})
    return "\n".join(lines)


def _call(function: str, first: str, options: dict[str, str]) -> list[str]:
    """Return the lines of a call, one line if it is short: its first argument, if any, and options as Python code."""
    inner = [*([first] if first else []), *(f"{name}={code}" for name, code in options.items())]
    line = f"{function}({', '.join(inner)})"
    return [line] if len(line) <= 100 else [f"{function}(", *(f"    {part}," for part in inner), ")"]


def _fit_options(fit: LatentSkillResults) -> dict[str, str]:
    """Return the options of ``fit`` as Python code: the most important ones, and others off their defaults."""
    options = told_options(FIT_OPTIONS, fit.estimate.options)
    if fit.estimate.restriction is not None:
        options["constraints"] = repr(list(fit.estimate.restriction.labels))
    return options
