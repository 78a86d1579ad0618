"""What all tests share: how examples are drawn, what begins first, the shipped table, pictures without a screen."""

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, settings

import latentscale as ls

# Not by the environment variable, which kernels and command lines started by the tests would inherit.
mpl.use("agg")

# Property tests see the same examples on every machine, so that a change alone can make one fail; an example that was
# once found is written beside its test with ``@example``. ``make fuzz`` draws others each time and prints how to
# repeat a failure. Neither judges how fast the machine is.
settings.register_profile(
    "fixed", derandomize=True, database=None, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile(
    "random", settings.get_profile("fixed"), derandomize=False, database=settings.get_profile("default").database
)
settings.load_profile("fixed")  # the option --hypothesis-profile comes after it

# Each has a test that keeps one core for many seconds: they begin, so that none is left to run alone at the end.
FIRST = ("test_packaging.py", "test_vignettes.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture(scope="session")
def leaderboard():
    """The shipped table."""
    return ls.BenchmarkPanel(ls.load_leaderboard())


@pytest.fixture(scope="session")
def leaderboard_fit(leaderboard):
    """Its fit with two skills, for what is computed of fits."""
    return ls.LatentSkillModel(leaderboard, skills=ls.Echelon(["bbh", "ifeval"])).fit(integration="laplace", starts=1)
