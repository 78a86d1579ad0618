"""latentscale: classical statistics of scaling laws of language models."""

from ._version import __version__
from .components.identification import Anchored, Confirmatory, Echelon
from .datasets import load_leaderboard, read_lm_eval, read_scores
from .datasets.repeated_sampling import load_repeated_sampling, simulate_repeated_sampling
from .downstream.model import DownstreamModel
from .downstream.repeated_sampling_law import pass_at_k
from .downstream.repeated_sampling_model import RepeatedSamplingModel
from .errors import BoundaryWarning, ConvergenceWarning, DataError, IdentificationError
from .inference.rotation import rotate_loadings
from .known_benchmarks import BENCHMARKS, CHANCE_LEVELS
from .loading import load
from .model import LatentSkillModel
from .panel import BenchmarkPanel
from .planning.allocation import compute_optimal
from .planning.elasticities import scaling_elasticities
from .results.coefficient_comparison import compare_coefficients
from .results.comparison import compare
from .sloth.model import BenchmarkLaws, SlothModel
from .validation.component_laws import ComponentLaws
from .validation.leave_family_out import leave_family_out
from .validation.methods import calibrated_specification, default_specification
from .validation.skill_selection import select_skills
from .validation.specification import Specification
from .workers import parallel

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
    "DownstreamModel",
    "Echelon",
    "IdentificationError",
    "LatentSkillModel",
    "RepeatedSamplingModel",
    "SlothModel",
    "Specification",
    "__version__",
    "calibrated_specification",
    "compare",
    "compare_coefficients",
    "compute_optimal",
    "default_specification",
    "leave_family_out",
    "load",
    "load_leaderboard",
    "load_repeated_sampling",
    "parallel",
    "pass_at_k",
    "read_lm_eval",
    "read_scores",
    "rotate_loadings",
    "scaling_elasticities",
    "select_skills",
    "simulate_repeated_sampling",
]


def __dir__() -> list[str]:
    """List the public names alone: submodules are there too, but nobody needs to see them beside the public ones."""
    return __all__
