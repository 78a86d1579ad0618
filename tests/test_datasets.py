"""The shipped table is what its data dictionary says it is."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentscale.datasets import BENCHMARKS, CHANCE_LEVELS, load_leaderboard
from latentscale.datasets.leaderboard import CORRECTIONS

DATA = Path(__file__).parents[1] / "data"
V1, V2 = list(BENCHMARKS[:6]), list(BENCHMARKS[6:])


def dictionary_rows(n_cells):
    """Cells of the leaderboard's table rows in the data dictionary that have `n_cells` cells."""
    text = (DATA / "README.md").read_text(encoding="utf-8")
    lines = text[: text.index("## `repeated_sampling.csv`")].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in rows if len(row) == n_cells]


@pytest.fixture(scope="module")
def table():
    return load_leaderboard()


def test_shape_types_and_ranges(table):
    assert table.shape == (197, 20)
    assert table["model"].is_unique
    assert table["instruct"].dtype == bool
    assert pd.api.types.is_datetime64_dtype(table["release_date"])
    scores = table[[*BENCHMARKS, "humaneval"]]
    assert ((scores >= 0) & (scores < 1) | scores.isna()).all(axis=None)
    assert (table["params_b"] > 0).all()
    assert (table["tokens_t"].dropna() > 0).all()


def test_benchmarks_and_chance_levels_follow_the_columns(table):
    assert tuple(table.columns[7:]) == (*BENCHMARKS, "humaneval")
    assert set(CHANCE_LEVELS) == {*BENCHMARKS, "humaneval"}
    # no benchmark's average LLM scores below guessing
    for name, level in CHANCE_LEVELS.items():
        assert table[name].mean() > level


def test_columns_are_those_of_the_data_dictionary(table):
    documented = {row[0].strip("`"): row for row in dictionary_rows(5)[2:]}
    assert list(documented) == list(table.columns)
    assert {name: int(row[4]) for name, row in documented.items()} == table.isna().sum().to_dict()


def test_counts_are_those_of_the_data_dictionary(table):
    documented = {row[0]: int(row[1]) for row in dictionary_rows(2)[2:]}
    v1, v2 = table[V1].notna().all(axis=1), table[V2].notna().all(axis=1)
    covariates = table[["params_b", "tokens_t"]].notna().all(axis=1)
    sizes = table["family"].value_counts()
    zero = table["math_lvl_5"] == 0
    counted = {
        "LLMs": len(table),
        "base LLMs": (~table["instruct"]).sum(),
        "instruct or chat LLMs": table["instruct"].sum(),
        "families": table["family"].nunique(),
        "base families": table["base_family"].nunique(),
        "families of one LLM": (sizes == 1).sum(),
        "families of two LLMs": (sizes == 2).sum(),
        "families of three or more LLMs": (sizes >= 3).sum(),
        "LLMs with size and tokens": covariates.sum(),
        "LLMs with all six scores of version 1": v1.sum(),
        "LLMs with all six scores of version 2": v2.sum(),
        "LLMs with all twelve scores": (v1 & v2).sum(),
        "LLMs with all twelve scores, size and tokens": (v1 & v2 & covariates).sum(),
        "zeros in `math_lvl_5`": zero.sum(),
        "zeros in `math_lvl_5`, LLMs with size and tokens": (zero & covariates).sum(),
        "zeros in `gsm8k`": (table["gsm8k"] == 0).sum(),
    }
    assert counted == documented
    assert (table[V1].notna().any(axis=1) == v1).all()
    assert (table[V2].notna().any(axis=1) == v2).all()
    assert (v1 | v2).all()


def test_a_family_is_all_base_or_all_instruct_and_has_one_base_family(table):
    within = table.groupby("family")[["instruct", "base_family"]].nunique()
    assert (within == 1).all(axis=None)


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda c: f"{c.column}-{c.llms[0]}")
def test_each_correction_matches_its_rows_and_changes_them(table, correction):
    rows = table["model"].isin(correction.llms)
    assert rows.sum() == len(correction.llms)
    assert (table.loc[rows, correction.column] == correction.recorded).all()
    assert correction.recorded != correction.corrected
    corrected = load_leaderboard(corrected=True).loc[rows, correction.column]
    np.testing.assert_array_equal(corrected, correction.corrected)


def test_corrections_change_nothing_else(table):
    corrected = load_leaderboard(corrected=True)
    changed = (corrected != table) & ~(corrected.isna() & table.isna())
    listed = {(llm, c.column) for c in CORRECTIONS for llm in c.llms}
    found = {(table["model"][i], table.columns[j]) for i, j in np.argwhere(changed.to_numpy())}
    assert found == listed


def test_corrections_are_those_of_the_data_dictionary():
    documented = {}
    for llms, column, recorded, corrected in dictionary_rows(4)[2:]:
        for llm in re.findall("`(.*?)`", llms):
            documented[llm, column.strip("`")] = (recorded, corrected)
    coded = {(llm, c.column): (c.recorded, c.corrected) for c in CORRECTIONS for llm in c.llms}
    assert documented.keys() == coded.keys()
    for key, (recorded, corrected) in documented.items():
        assert float(recorded) == coded[key][0]
        assert np.isnan(coded[key][1]) if corrected == "missing" else float(corrected) == coded[key][1]


def test_every_call_returns_a_new_table():
    first = load_leaderboard()
    first.loc[:, "mmlu"] = 0.0
    assert load_leaderboard()["mmlu"].max() > 0.8
