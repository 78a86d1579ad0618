"""latentscale: classical statistics of scaling laws of language models."""

from latentscale._version import __version__
from latentscale.components.identification import Anchored, Confirmatory, Echelon
from latentscale.datasets import BENCHMARKS, CHANCE_LEVELS, load_leaderboard
from latentscale.errors import BoundaryWarning, ConvergenceWarning, DataError, IdentificationError
from latentscale.inference.rotation import rotate_loadings
from latentscale.models import BenchmarkLaws, LatentSkillModel, SlothModel
from latentscale.models.component_laws import ComponentLaws
from latentscale.panel import BenchmarkPanel
from latentscale.results.comparison import compare
from latentscale.results.storage import load
from latentscale.validation.leave_family_out import leave_family_out
from latentscale.validation.methods import default_specification
from latentscale.validation.skills import select_skills
from latentscale.validation.specification import Specification

__all__ = [
    "BENCHMARKS",
    "CHANCE_LEVELS",
    "Anchored",
    "BenchmarkLaws",
    "BenchmarkPanel",
    "BoundaryWarning",
    "ComponentLaws",
    "Confirmatory",
    "ConvergenceWarning",
    "DataError",
    "Echelon",
    "IdentificationError",
    "LatentSkillModel",
    "SlothModel",
    "Specification",
    "__version__",
    "compare",
    "default_specification",
    "leave_family_out",
    "load",
    "load_leaderboard",
    "rotate_loadings",
    "select_skills",
]
