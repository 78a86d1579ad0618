"""Fits to report: a small one in which every name of the user's making is hostile, and a plain one."""

import numpy as np
import pytest
import worlds

import latentscale as ls

IMAGE = "<img src=x onerror=alert(1)>"
HOSTILE = {
    "family": '"><script>alert(2)</script>',
    "llm": "</script><script>alert(3)</script>",
    "skill": "' onmouseover='alert(4)' $\\frac{",
    "benchmark": "</style><svg onload=alert(5)>",
    "other": "{{ 7 * 7 }}\u202e&lt;b&gt; <a href='http://example.org/'>",
}


def table(names):
    """Sixteen families of three LLMs; ``names`` are those of the columns and the first family and LLM."""
    frame = worlds.simulated(
        16, 3, [[1.0, 0.0], [0.0, 1.0], [0.6, 0.5], [0.3, 0.8]], [[0.6, 0.6]], {names["size"]: (0.0, 4.0)},
        intercepts=-1.0, precision=60.0, benchmarks=names["benchmarks"], model="llm {}", family="family {}",
    )  # fmt: skip
    frame[names["benchmarks"]] = frame[names["benchmarks"]].clip(0.001, 0.999)
    frame.loc[frame["family"] == "family 0", "family"] = names["family"]
    frame.loc[:1, "model"] = [names["llm"], names["other"]]
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
