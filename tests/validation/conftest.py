"""A small world, and estimators whose answers are known."""

import numpy as np
import pandas as pd
import pytest

import latentscale as ls


class Means:
    """Predicts every benchmark by its mean over the training LLMs, plus a constant; counts nothing, keeps nothing."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, panel):
        return Predictor(panel.scores.mean() + self.shift, panel.llm)


class Predictor:
    """The fitted ``Means``."""

    def __init__(self, values, llm):
        self.values, self.llm = values, llm

    def predict(self, data):
        rows = np.tile(self.values.to_numpy(), (len(data), 1))
        return pd.DataFrame(rows, index=data[self.llm], columns=self.values.index)


def table():
    """Five families: sizes out of order, a tie, an LLM without a score, one without tokens, a family of one."""
    rows = [
        ("a-big", "a", 30.0, 1.0, 0.8, 0.6),
        ("a-small", "a", 1.0, 1.0, 0.2, 0.1),
        ("a-mid", "a", 7.0, 1.0, 0.5, 0.3),
        ("b-1", "b", 3.0, 2.0, 0.4, 0.2),
        ("b-2", "b", 3.0, 2.0, 0.5, 0.4),
        ("b-0", "b", 1.0, 2.0, 0.3, np.nan),
        ("c-2", "c", 9.0, 1.0, 0.6, 0.5),
        ("c-1", "c", 2.0, 1.0, 0.3, 0.3),
        ("c-0", "c", 1.0, np.nan, 0.1, 0.1),
        ("d-1", "d", 5.0, 1.5, 0.7, 0.2),
        ("e-1", "e", 5.0, 1.5, 0.6, np.nan),
        ("e-2", "e", 6.0, 1.5, 0.6, np.nan),
    ]
    return pd.DataFrame(rows, columns=["model", "family", "params_b", "tokens_t", "x", "y"])


@pytest.fixture
def panel():
    return ls.BenchmarkPanel(table(), benchmarks=["x", "y"])


@pytest.fixture
def means():
    return Means
