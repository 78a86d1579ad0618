"""latentscale: classical statistics of scaling laws of language models."""

from latentscale._version import __version__
from latentscale.components.identification import Anchored, Confirmatory, Echelon
from latentscale.datasets import BENCHMARKS, CHANCE_LEVELS, load_leaderboard
from latentscale.errors import BoundaryWarning, ConvergenceWarning, DataError, IdentificationError
from latentscale.inference.rotation import rotate_loadings
from latentscale.models import LatentSkillModel
from latentscale.panel import BenchmarkPanel
from latentscale.results.comparison import compare
from latentscale.results.storage import load
from latentscale.validation.skills import select_skills

__all__ = [
    "BENCHMARKS",
    "CHANCE_LEVELS",
    "Anchored",
    "BenchmarkPanel",
    "BoundaryWarning",
    "Confirmatory",
    "ConvergenceWarning",
    "DataError",
    "Echelon",
    "IdentificationError",
    "LatentSkillModel",
    "__version__",
    "compare",
    "load",
    "load_leaderboard",
    "rotate_loadings",
    "select_skills",
]
