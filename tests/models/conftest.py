"""Panels and models that the tests of this room share."""

import pytest
import worlds

import latentscale as ls

SKILLS = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}


@pytest.fixture(scope="session")
def table():
    """Two uncorrelated skills, five benchmarks, some scores missing."""
    return worlds.simulated(
        14, 3, [[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.5], [0.6, -0.3]], [[0.5, 0.2], [0.2, 0.4]],
        {"params_b": (-0.5, 4.0), "tokens_t": (-1.0, 2.5)}, intercepts=[-1.0, -0.5, 0.0, -0.3, -0.2], missing=0.15,
        model="llm{:03d}", seed=1,
    )  # fmt: skip


@pytest.fixture(scope="session")
def panel(table):
    return ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})


@pytest.fixture(scope="session")
def leaderboard_model(leaderboard):
    return ls.LatentSkillModel(leaderboard, skills=ls.Anchored(SKILLS))


@pytest.fixture(scope="session")
def leaderboard_quadrature(leaderboard_model):
    return leaderboard_model.fit(integration="quadrature", points=5, starts=2)
