"""A simulated panel of forty families and its Laplace fit, shared by the tests of this room."""

import numpy as np
import pandas as pd
import pytest
import worlds

import latentscale as ls


@pytest.fixture(scope="session")
def forty():
    """Two correlated skills, five benchmarks, some scores missing."""
    table = worlds.simulated(
        40, 3, [[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.5], [0.6, 0.0]], [[0.5, 0.2], [0.2, 0.4]],
        {"params_b": (-0.5, 4.0), "tokens_t": (-1.0, 2.5)}, intercepts=[-1.0, -0.5, 0.0, -0.3, -0.2],
        skill_cov=[[1.0, 0.5], [0.5, 1.0]], missing=0.15, model="llm{:03d}", seed=4,
    )  # fmt: skip
    return ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})


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
