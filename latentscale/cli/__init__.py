"""The command line: ``latentscale fit``, ``predict``, ``plan``, ``crossvalidate``, ``report`` and ``demo``.

The options of models and fits that it has are those whose description says so (``latentscale.models.options``).
"""

# importing these modules registers their commands with the application
from . import fitting, planning, predicting, reporting, validating  # noqa: F401
from .app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="latentscale")
