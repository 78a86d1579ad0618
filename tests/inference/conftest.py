"""A simulated panel of forty families and its Laplace fit, shared by the tests of this room."""

import numpy as np
import pandas as pd
import pytest

import latentscale as ls


def _table(seed=4, families=40, per_family=3):
    """Two correlated skills, five benchmarks, random slopes of none; some cells missing."""
    rng = np.random.default_rng(seed)
    names = [f"f{number:02d}" for number in range(families) for _ in range(per_family)]
    n = len(names)
    table = pd.DataFrame({"model": [f"llm{i:03d}" for i in range(n)], "family": names})
    table["params_b"] = np.exp(rng.uniform(-0.5, 4.0, n))
    table["tokens_t"] = np.exp(rng.uniform(-1.0, 2.5, n))
    root = np.linalg.cholesky(np.array([[1.0, 0.5], [0.5, 1.0]]))
    skill = (rng.standard_normal((families, 2)) @ root.T)[np.repeat(np.arange(families), per_family)]
    skill = skill + np.outer(np.log(table["params_b"]), [0.5, 0.2]) + np.outer(np.log(table["tokens_t"]), [0.2, 0.4])
    loadings = np.array([[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.5], [0.6, 0.0]])
    mean = 1.0 / (1.0 + np.exp(-(skill @ loadings.T - np.array([1.0, 0.5, 0.0, 0.3, 0.2]))))
    scores = rng.beta(30.0 * mean, 30.0 * (1.0 - mean))
    scores[rng.random(scores.shape) < 0.15] = np.nan
    table[list("abcde")] = scores
    return table


@pytest.fixture(scope="session")
def forty():
    return ls.BenchmarkPanel(_table(), benchmarks=list("abcde"), chance={"a": 0.0})


@pytest.fixture(scope="session")
def forty_fit(forty):
    """Anchored, so just-identified."""
    model = ls.LatentSkillModel(forty, skills=ls.Anchored({"first": "a", "second": "b"}))
    return model.fit(integration="laplace", starts=2, tolerance=1e-6)


@pytest.fixture(scope="session")
def over_fit(forty):
    """Confirmatory with one zero more than identification needs; it is true of the data."""
    free = np.nan
    pattern = [[free, 0.0], [0.0, free], [free, free], [free, free], [free, 0.0]]
    frame = pd.DataFrame(pattern, index=list("abcde"), columns=["first", "second"])
    model = ls.LatentSkillModel(forty, skills=ls.Confirmatory(frame))
    return model.fit(integration="laplace", starts=2, tolerance=1e-6)
