"""A fit of the shipped table with two skills, shared by the tests of this room."""

import pytest

import latentscale as ls


@pytest.fixture(scope="session")
def fit(leaderboard):
    model = ls.LatentSkillModel(leaderboard, skills=ls.Anchored({"instruction": "ifeval", "reasoning": "bbh"}))
    return model.fit(integration="quadrature", points=5, starts=2)
