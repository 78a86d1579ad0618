"""A fit of the shipped table with two skills, shared by the tests of this room."""

import pytest

import latentscale as ls


@pytest.fixture(scope="session")
def fit():
    panel = ls.BenchmarkPanel(ls.load_leaderboard())
    model = ls.LatentSkillModel(panel, skills=ls.Anchored({"instruction": "ifeval", "reasoning": "bbh"}))
    return model.fit(integration="quadrature", points=5, starts=2)
