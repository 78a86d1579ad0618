"""Fits to report: a small one in which every name of the user's making is hostile, and a plain one."""

import numpy as np
import pandas as pd
import pytest

import latentscale as ls

IMAGE = "<img src=x onerror=alert(1)>"
HOSTILE = {
    "family": '"><script>alert(2)</script>',
    "llm": "</script><script>alert(3)</script>",
    "skill": "' onmouseover='alert(4)' $\\frac{",
    "benchmark": "</style><svg onload=alert(5)>",
    "other": "{{ 7 * 7 }}\u202e&lt;b&gt; <a href='http://example.org/'>",
}


def table(names, n=48):
    """Sixteen families of three LLMs; ``names`` are those of the columns and the first family and LLM."""
    rng = np.random.default_rng(0)
    size = rng.uniform(0.0, 4.0, n)
    group = np.repeat(np.arange(n // 3), 3)
    effect = rng.standard_normal((n // 3, 2))[group]
    theta = 0.6 * size[:, None] + effect
    family = np.array([f"family {number}" for number in group], dtype=object)
    llm = np.array([f"llm {number}" for number in range(n)], dtype=object)
    family[group == 0], llm[:2] = names["family"], (names["llm"], names["other"])
    frame = pd.DataFrame({"model": llm, "family": family, names["size"]: np.exp(size)})
    weights = [(1.0, 0.0), (0.0, 1.0), (0.6, 0.5), (0.3, 0.8)]
    for name, weight in zip(names["benchmarks"], weights, strict=True):
        mean = 1.0 / (1.0 + np.exp(1.0 - theta @ np.array(weight)))
        frame[name] = rng.beta(60.0 * mean, 60.0 * (1.0 - mean)).clip(0.001, 0.999)
    frame.iloc[5, 4] = np.nan
    frame.iloc[7, 2] = np.nan
    return frame


def fit_of(names):
    panel = ls.BenchmarkPanel(table(names), benchmarks=names["benchmarks"])
    anchors = dict(zip(names["skills"], names["benchmarks"], strict=False))
    model = ls.LatentSkillModel(panel, f"log(`{names['size']}`)", ls.Anchored(anchors))
    return model.fit(integration="laplace", starts=1)


@pytest.fixture(scope="session")
def hostile_fit():
    names = {
        **HOSTILE, "size": IMAGE, "benchmarks": [HOSTILE["benchmark"], IMAGE + " ", "$x^{$ b", "gpqa"],
        "skills": [HOSTILE["skill"], IMAGE],
    }  # fmt: skip
    return fit_of(names)


@pytest.fixture(scope="session")
def plain_fit():
    names = {
        "family": "family 0", "llm": "llm 0", "other": "llm 1", "size": "params_b",
        "benchmarks": ["bbh", "ifeval", "arc", "gpqa"], "skills": ["reasoning", "instruction"],
    }  # fmt: skip
    return fit_of(names)


@pytest.fixture(scope="session")
def hostile_page(hostile_fit, tmp_path_factory):
    return hostile_fit.report(tmp_path_factory.mktemp("hostile") / "report.html", size=200)


@pytest.fixture(scope="session")
def plain_page(plain_fit, tmp_path_factory):
    return plain_fit.report(tmp_path_factory.mktemp("plain") / "report.html", size=200)
