"""One self-contained HTML file from what ``content`` and ``pictures`` have collected.

Nothing in the page comes from outside. Every string is escaped by jinja2, and should one slip through, the page's
Content-Security-Policy runs no script and applies no style but the two whose hashes it names, and loads nothing but
images within the page.
"""

import base64
import errno
import hashlib
import os
from importlib import resources
from pathlib import Path

from ..errors import DataError
from .content import content
from .pictures import draw_all, pictures

MIN_DRAWS = 100


def write_report(fit, path, title=None, question=None, alpha=0.05, size=1000, seed=0):
    """Write the report of a fit; see ``LatentSkillResults.report``."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch()  # a folder that cannot be written to is known before the work
        text = render(fit, title, question, alpha, size, seed)
        # half of a surrogate pair, which JSON may hold, is no character
        part.write_bytes(text.encode("utf-8", "replace"))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def render(fit, title=None, question=None, alpha=0.05, size=1000, seed=0):
    """The report of a fit as text of HTML."""
    if not 0.0 < alpha < 1.0:
        raise DataError(f"alpha lies between 0 and 1, not {alpha!r}.")
    if int(size) < MIN_DRAWS:
        raise DataError(f"size is a number of draws of at least {MIN_DRAWS}, not {size!r}.")
    style, script = _asset("report.css"), _asset("report.js")
    shown = content(fit, title, question, alpha, int(size), seed)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    drawn = draw_all(fit, pictures(fit, alpha, shown.pop("predicted")))
    template = _environment().get_template("report.html")
    return template.render(**shown, pictures=drawn, style=style, script=script, policy=policy)


def _environment():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment


def _asset(name):
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text):
    """Source expression of a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
