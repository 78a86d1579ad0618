"""latentscale: classical statistics of scaling laws of language models."""

from latentscale._version import __version__
from latentscale.components.identification import Anchored, Confirmatory, Echelon
from latentscale.datasets import BENCHMARKS, CHANCE_LEVELS, load_leaderboard, read_lm_eval, read_scores
from latentscale.datasets.repeated_sampling import load_repeated_sampling, simulate_repeated_sampling
from latentscale.errors import BoundaryWarning, ConvergenceWarning, DataError, IdentificationError
from latentscale.inference.rotation import rotate_loadings
from latentscale.models import BenchmarkLaws, LatentSkillModel, SlothModel
from latentscale.models.component_laws import ComponentLaws
from latentscale.models.downstream import DownstreamModel
from latentscale.models.repeated_sampling import RepeatedSamplingModel
from latentscale.panel import BenchmarkPanel
from latentscale.prediction.repeated_sampling import pass_at_k
from latentscale.results.allocation import compute_optimal
from latentscale.results.allocation_elasticities import scaling_elasticities
from latentscale.results.coefficients import compare_coefficients
from latentscale.results.comparison import compare
from latentscale.results.storage import load
from latentscale.validation.leave_family_out import leave_family_out
from latentscale.validation.methods import calibrated_specification, default_specification
from latentscale.validation.skills import select_skills
from latentscale.validation.specification import Specification
from latentscale.workers import parallel

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
