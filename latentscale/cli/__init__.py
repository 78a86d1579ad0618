"""The command line: ``latentscale fit``, ``predict``, ``plan``, ``crossvalidate``, ``report`` and ``demo``.

The package itself is imported inside the commands, so that ``--help`` need not wait for it.
"""

# importing these modules registers their commands with the application
from . import fitting, planning, predicting, reporting, validating  # noqa: F401
from .app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="latentscale")
