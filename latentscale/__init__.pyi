# The public names of latentscale and where they live. The package reads this file to find a name when it is first asked
# for; type checkers read it too.

from ._version import __version__ as __version__
from .components.identification import Anchored as Anchored
from .components.identification import Confirmatory as Confirmatory
from .components.identification import Echelon as Echelon
from .datasets import load_leaderboard as load_leaderboard
from .datasets import read_lm_eval as read_lm_eval
from .datasets import read_scores as read_scores
from .datasets.repeated_sampling import load_repeated_sampling as load_repeated_sampling
from .datasets.repeated_sampling import simulate_repeated_sampling as simulate_repeated_sampling
from .downstream.model import DownstreamModel as DownstreamModel
from .downstream.repeated_sampling_law import pass_at_k as pass_at_k
from .downstream.repeated_sampling_model import RepeatedSamplingModel as RepeatedSamplingModel
from .errors import BoundaryWarning as BoundaryWarning
from .errors import ConvergenceWarning as ConvergenceWarning
from .errors import DataError as DataError
from .errors import IdentificationError as IdentificationError
from .inference.rotation import rotate_loadings as rotate_loadings
from .known_benchmarks import BENCHMARKS as BENCHMARKS
from .known_benchmarks import CHANCE_LEVELS as CHANCE_LEVELS
from .loading import load as load
from .model import LatentSkillModel as LatentSkillModel
from .panel import BenchmarkPanel as BenchmarkPanel
from .planning.allocation import compute_optimal as compute_optimal
from .planning.elasticities import scaling_elasticities as scaling_elasticities
from .results.coefficient_comparison import compare_coefficients as compare_coefficients
from .results.comparison import compare as compare
from .sloth.model import BenchmarkLaws as BenchmarkLaws
from .sloth.model import SlothModel as SlothModel
from .validation.component_laws import ComponentLaws as ComponentLaws
from .validation.leave_family_out import leave_family_out as leave_family_out
from .validation.methods import calibrated_specification as calibrated_specification
from .validation.methods import default_specification as default_specification
from .validation.skill_selection import select_skills as select_skills
from .validation.specification import Specification as Specification
from .workers import parallel as parallel
