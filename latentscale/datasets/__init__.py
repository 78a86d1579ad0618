"""Tables shipped with the package."""

from latentscale.datasets.leaderboard import BENCHMARKS, CHANCE_LEVELS, load_leaderboard

__all__ = ["BENCHMARKS", "CHANCE_LEVELS", "load_leaderboard"]
