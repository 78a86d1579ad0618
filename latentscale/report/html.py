"""The report as one self-contained HTML file, made from what ``content`` and ``pictures`` return.

The page loads nothing from outside. Every string is escaped by jinja2. Should one not be, the Content-Security-Policy
of the page allows only the one script and the one style sheet whose hashes it names, and only images inside the page.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks import check_alpha, check_seed, check_whole
from .content import content
from .pictures import draw_all, pictures

if TYPE_CHECKING:
    from os import PathLike

    import jinja2

    from ..inference.goodness_of_fit import GoodnessOfFit
    from ..results.latent_skill import LatentSkillResults

MIN_DRAWS = 100


def write_report(
    fit: LatentSkillResults,
    path: str | PathLike[str],
    title: str | None = None,
    question: str | None = None,
    alpha: float = 0.05,
    size: int = 1000,
    seed: int = 0,
    goodness_of_fit: GoodnessOfFit | None = None,
) -> Path:
    """Write the report of a fit to a file and return its path; see ``LatentSkillResults.report``."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch()  # fails before the work if the folder cannot be written to
        text = render(fit, title, question, alpha, size, seed, goodness_of_fit)
        # names read from JSON may contain half of a surrogate pair, which cannot be encoded
        part.write_bytes(text.encode("utf-8", "replace"))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def render(
    fit: LatentSkillResults,
    title: str | None = None,
    question: str | None = None,
    alpha: float = 0.05,
    size: int = 1000,
    seed: int = 0,
    goodness_of_fit: GoodnessOfFit | None = None,
) -> str:
    """Return the report of a fit as HTML; see ``LatentSkillResults.report``."""
    check_alpha(alpha)
    check_whole("size", size, MIN_DRAWS)
    check_seed(seed)
    style, script = _asset("report.css"), _asset("report.js")
    shown = content(fit, title, question, alpha, int(size), seed, goodness_of_fit)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    drawn = draw_all(fit, pictures(fit, alpha, shown.pop("predicted"), shown["goodness_of_fit"]))
    template = _environment().get_template("report.html")
    return template.render(**shown, pictures=drawn, style=style, script=script, policy=policy)


def _environment() -> jinja2.Environment:
    """Return the jinja2 environment of the templates."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment


def _asset(name: str) -> str:
    """Return the text of a file in the folder of templates."""
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash of a script or style sheet as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
