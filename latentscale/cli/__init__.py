"""The command line: ``latentscale fit``, ``predict``, ``plan``, ``crossvalidate``, ``report`` and ``demo``.

The package itself is imported inside the commands, so that ``--help`` need not wait for it.
"""

from . import fitting, planning, predicting, reporting, validating  # noqa: F401  (their commands register themselves)
from .app import app


def main():
    """Run the command line."""
    app(prog_name="latentscale")
