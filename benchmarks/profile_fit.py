"""Where the time of the default fit goes.

Command: python benchmarks/profile_fit.py
"""

import cProfile
import pstats

from common import leaderboard_model, machine


def main():
    model = leaderboard_model()
    profile = cProfile.Profile()
    profile.enable()
    model.fit()
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    print(machine())


if __name__ == "__main__":
    main()
