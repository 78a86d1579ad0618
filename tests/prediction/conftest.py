"""Small simulated tables with known parameters, and fits of them."""

import numpy as np
import pandas as pd
import pytest
import worlds

import latentscale as ls

BENCHMARKS = list("abcd")
TRUTH = {"loading": 0.8, "slope": 0.3, "intercept": -0.5, "precision": 30.0, "corr": 0.4}


def table_of(families, each=3, missing=0.1, seed=0):
    """LLMs of one covariate, with scores to be replaced by simulated ones and some missing."""
    return worlds.places(families, each, missing=missing, seed=seed)


def model_of(table, boundary="squeeze", **options):
    """Two correlated skills on four benchmarks."""
    panel = ls.BenchmarkPanel(table, benchmarks=BENCHMARKS, chance={"b": 0.2}, boundary=boundary)
    return ls.LatentSkillModel(panel, "log(size)", ls.Anchored({"first": "a", "second": "b"}), **options)


def truth_of(model):
    """Parameters by name, near TRUTH."""
    rng = np.random.default_rng(11)
    values = {name: TRUTH[name.split("[")[0]] for name in model.param_names}
    return pd.Series({name: value * rng.uniform(0.8, 1.2) for name, value in values.items()})


@pytest.fixture(scope="session")
def simulated():
    """Model of a table simulated at known parameters, and those."""
    model = model_of(table_of(40))
    truth = truth_of(model)
    return model_of(model.simulate(truth, seed=3)), truth


@pytest.fixture(scope="session")
def fit(simulated):
    """Its fit by quadrature, with standard errors."""
    model, truth = simulated
    return model.fit(integration="quadrature", starts=0, start_params=truth)
