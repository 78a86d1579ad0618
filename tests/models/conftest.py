"""Panels and models that the tests of this room share."""

import numpy as np
import pandas as pd
import pytest

import latentscale as ls

SKILLS = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}


def _simulated_table(seed, families=14, per_family=3):
    """Random scores of a two-skill world: five benchmarks, some cells missing."""
    rng = np.random.default_rng(seed)
    names = [f"f{number:02d}" for number in range(families) for _ in range(per_family)]
    n = len(names)
    table = pd.DataFrame({"model": [f"llm{i:03d}" for i in range(n)], "family": names})
    table["params_b"] = np.exp(rng.uniform(-0.5, 4.0, n))
    table["tokens_t"] = np.exp(rng.uniform(-1.0, 2.5, n))
    skill = rng.standard_normal((families, 2))[np.repeat(np.arange(families), per_family)]
    skill = skill + np.outer(np.log(table["params_b"]), [0.5, 0.2]) + np.outer(np.log(table["tokens_t"]), [0.2, 0.4])
    loadings = np.array([[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.5], [0.6, -0.3]])
    mean = 1.0 / (1.0 + np.exp(-(skill @ loadings.T - np.array([1.0, 0.5, 0.0, 0.3, 0.2]))))
    scores = rng.beta(30.0 * mean, 30.0 * (1.0 - mean))
    scores[rng.random(scores.shape) < 0.15] = np.nan
    table[list("abcde")] = scores
    return table


@pytest.fixture(scope="session")
def table():
    return _simulated_table(1)


@pytest.fixture(scope="session")
def panel(table):
    return ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})


@pytest.fixture(scope="session")
def leaderboard():
    return ls.BenchmarkPanel(ls.load_leaderboard())


@pytest.fixture(scope="session")
def leaderboard_model(leaderboard):
    return ls.LatentSkillModel(leaderboard, skills=ls.Anchored(SKILLS))


@pytest.fixture(scope="session")
def leaderboard_quadrature(leaderboard_model):
    return leaderboard_model.fit(integration="quadrature", points=5, starts=2)
