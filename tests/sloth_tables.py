"""Simulated tables for the tests of Sloth."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy.special import expit

import latentscale as ls

CHANCE = {"a": 0.25, "b": 0.0, "c": 0.1, "d": 0.0, "e": 0.25, "f": 0.0}
MAIN = "log(params_b) + log(tokens_t)"
LOADINGS = np.array([[0.9, 0.0], [0.0, 0.8], [0.7, 0.0], [0.0, 1.0], [0.8, 0.0], [0.4, 0.5]])


def simulated(n_families=15, noise=0.01, seed=0, missing=0.0, least=2):
    """A table from a Sloth model with two skills, and its expected scores."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(least, 6, n_families)
    code = np.repeat(np.arange(n_families), sizes)
    s = np.exp(rng.normal(1.5, 1.2, len(code)))
    t = np.exp(rng.normal(0.0, 0.8, n_families)[code] + rng.normal(0.0, 0.3, len(code)))
    x = np.column_stack([np.log(s), np.log(t)])
    slopes, effects = np.array([[0.5, 0.3], [0.3, 0.5]]), rng.normal(0.0, 0.5, (n_families, 2))
    intercepts = rng.uniform(-1.2, -0.2, 6)
    chance = np.array(list(CHANCE.values()))
    eta = (effects[code] + x @ slopes) @ LOADINGS.T + intercepts
    mean = chance + (1.0 - chance) * expit(eta)
    y = np.clip(mean + rng.laplace(0.0, noise, mean.shape) if noise else mean, 0.001, 0.999)
    if missing:
        gone = rng.random(y.shape) < missing
        gone[np.arange(len(y)), rng.integers(0, 6, len(y))] = False  # an LLM keeps at least one score
        y[gone] = np.nan
    table = pd.DataFrame(y, columns=list(CHANCE))
    table.insert(0, "model", [f"llm{number}" for number in range(len(y))])
    table.insert(1, "family", [f"family{number:02d}" for number in code])
    table["params_b"], table["tokens_t"] = s, t
    parts = SimpleNamespace(effects=effects, slopes=slopes, loadings=LOADINGS, intercepts=intercepts)
    return table, mean, parts


def panel(table, benchmarks=tuple(CHANCE)):
    return ls.BenchmarkPanel(table, benchmarks=list(benchmarks), chance={name: CHANCE[name] for name in benchmarks})
