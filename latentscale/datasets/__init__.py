"""Tables shipped with the package, and readers of users' files."""

from ..known_benchmarks import BENCHMARKS, CHANCE_LEVELS
from .harness_scores import HARNESS_METRICS
from .leaderboard import load_leaderboard
from .lm_eval import HARNESS_NAMES, HarnessRuns, read_lm_eval
from .score_files import SCORE_NAMES, read_scores

__all__ = [
    "BENCHMARKS",
    "CHANCE_LEVELS",
    "HARNESS_METRICS",
    "HARNESS_NAMES",
    "SCORE_NAMES",
    "HarnessRuns",
    "load_leaderboard",
    "read_lm_eval",
    "read_scores",
]
