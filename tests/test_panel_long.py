"""BenchmarkPanel.from_long reads one score per row, and refuses rows that contradict each other."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentscale.datasets import BENCHMARKS, load_leaderboard
from latentscale.errors import DataError
from latentscale.panel import BenchmarkPanel

WIDE = pd.DataFrame(
    {
        "model": ["a1", "a2", "b1", "b2"],
        "family": ["a", "a", "b", "b"],
        "size": [1.0, 7.0, 2.0, 9.0],
        "mmlu": [0.3, 0.5, None, 0.6],
        "bbh": [0.31, 0.42, 0.35, 0.5],
    }
)


def long(**columns):
    """The seven scores of `WIDE`, one a row, with columns replaced or added."""
    table = WIDE.melt(["model", "family", "size"], var_name="benchmark", value_name="score")
    return table.dropna(subset="score").assign(**columns)


def refused(*fragments, data=None, **options):
    """Assert that a DataError is raised whose message contains every fragment."""
    with pytest.raises(DataError) as caught:
        BenchmarkPanel.from_long(long() if data is None else data, **options)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_same_as_wide():
    wide = BenchmarkPanel(WIDE, ["mmlu", "bbh"]).to_frame().sort_values("model", ignore_index=True)
    for data in (long(), pl.from_dict(long().to_dict("list"))):
        panel = BenchmarkPanel.from_long(data)
        assert panel.benchmarks == ("mmlu", "bbh")
        frame = panel.to_frame().sort_values("model", ignore_index=True)
        pd.testing.assert_frame_equal(frame, wide, check_dtype=False)


def test_leaderboard_round_trip():
    leaderboard = BenchmarkPanel(load_leaderboard())
    others = [name for name in leaderboard.to_frame() if name not in BENCHMARKS]
    long = leaderboard.to_frame().melt(others, var_name="task", value_name="accuracy")
    panel = BenchmarkPanel.from_long(long, benchmark="task", score="accuracy")
    pd.testing.assert_frame_equal(panel.to_frame(), leaderboard.to_frame())


def test_other_benchmarks_become_columns():
    options = {"chance": {"bbh": 0.1}, "boundary": "censor"}
    panel = BenchmarkPanel.from_long(long(), benchmarks=["bbh"], **options)
    assert panel.benchmarks == ("bbh",)
    assert panel.table["mmlu"].count() == 3
    assert panel.chance["bbh"] == 0.1
    assert panel.boundary == "censor"


def test_names_in_the_index():
    panel = BenchmarkPanel.from_long(long().set_index(["model", "benchmark"]))
    assert panel.scores.count().to_dict() == {"mmlu": 3, "bbh": 4}


def test_family_of_several_columns():
    panel = BenchmarkPanel.from_long(long(instruct=True), family=["family", "instruct"])
    assert panel.families["a1"] == "a/instruct"


def test_unhashable_and_missing_covariates():
    panel = BenchmarkPanel.from_long(long(tags=[["x"]] * 7, date=pd.NaT, note=None))
    assert panel.table.loc["a1", "tags"] == ["x"]


def test_repeated_pairs():
    refused("more than one score: mmlu of a1;", data=pd.concat([long(), long().iloc[:1]]))


def test_varying_covariates():
    sizes = long()["size"].to_numpy().copy()
    sizes[0] += 1
    refused("'size'", "a1;", data=long(size=sizes))
    sizes[0] = np.nan
    refused("'size'", "a1;", data=long(size=sizes))
    refused("'family'", "a1, a2, b2;", data=long(family=list("abcdefg")))


def test_columns():
    refused("'task'", benchmark="task")
    refused("'points'", score="points")
    refused("different columns", score="benchmark")
    refused("different columns", family="score")
    refused("names of columns: mmlu", data=long(mmlu=1.0))
    refused("'mmmlu' (did you mean 'mmlu'?)", benchmarks=["mmmlu"])


def test_scores_and_names():
    refused("mmlu of a1 is 'x'", data=long(score=["x", *[0.5] * 6]))
    refused("divide them by 100", data=long(score=[30, 50, 60, 30, 40, 50, 60]))
    refused("benchmark name missing", data=long(benchmark=[None, *["bbh"] * 6]))
    refused("LLM name missing", data=long(model=[None, *["a1"] * 6]))
