"""BenchmarkPanel takes any sound table unchanged and refuses unsound ones with words that help."""

import copy
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.datasets import BENCHMARKS, CHANCE_LEVELS, load_leaderboard
from latentscale.errors import DataError
from latentscale.panel import BenchmarkPanel

TWO = ["mmlu", "bbh"]


def small(**columns):
    """A sound table of four LLMs and two benchmarks, with columns replaced or added."""
    table = {
        "model": ["a1", "a2", "b1", "b2"],
        "family": ["a", "a", "b", "b"],
        "size": [1.0, 7.0, 2.0, 9.0],
        "mmlu": [0.3, 0.5, None, 0.6],
        "bbh": [0.31, 0.42, 0.35, 0.5],
    }
    return pd.DataFrame(table | columns)


def refused(*fragments, data=None, **options):
    """Assert that a DataError is raised whose message contains every fragment."""
    with pytest.raises(DataError) as caught:
        BenchmarkPanel(small() if data is None else data, **({"benchmarks": TWO} | options))
    for fragment in fragments:
        assert fragment in str(caught.value)


def assert_same_cells(left, right):
    """Assert that two tables differ at most in dtypes, such as the unit of dates."""
    unit = {"release_date": "datetime64[ns]"}
    pd.testing.assert_frame_equal(left.astype(unit), right.astype(unit), check_dtype=False)


@pytest.fixture(scope="module")
def leaderboard():
    return BenchmarkPanel(load_leaderboard())


class TestAttributes:
    def test_leaderboard(self, leaderboard):
        assert (leaderboard.n_llms, leaderboard.n_families, leaderboard.n_benchmarks) == (197, 68, 12)
        assert leaderboard.benchmarks == BENCHMARKS
        table = load_leaderboard().set_index("model")
        pd.testing.assert_frame_equal(leaderboard.scores, table[list(BENCHMARKS)])
        pd.testing.assert_frame_equal(leaderboard.table, table.drop(columns=list(BENCHMARKS)))
        pd.testing.assert_series_equal(leaderboard.families, table["family"])
        assert leaderboard.chance.to_dict() == {name: CHANCE_LEVELS[name] for name in BENCHMARKS}
        assert leaderboard.rounding.to_dict() == dict.fromkeys(BENCHMARKS[:6], 1e-4) | dict.fromkeys(
            BENCHMARKS[6:], 1e-2
        )

    def test_repr_gives_counts(self, leaderboard):
        text = repr(leaderboard)
        for part in ("197 LLMs in 68 families, 12 benchmarks, 28.9%", "squeeze", ": gsm8k 2, math_lvl_5 21"):
            assert part in text
        assert "none" in repr(BenchmarkPanel(small(), TWO))

    def test_describe(self):
        described = BenchmarkPanel(small(mmlu=[0.0, 1.0, None, 0.5]), TWO).describe()
        expected = {"n": 3, "mean": 0.5, "sd": 0.5, "min": 0, "max": 1, "zeros": 1, "ones": 1, "chance": 0.25}
        assert described.loc["mmlu"].to_dict() == expected
        assert list(described.index) == TWO

    def test_what_is_handed_out_cannot_change_the_panel(self):
        panel = BenchmarkPanel(small(), TWO)
        before = panel.to_frame()
        scores, table, chance, rounding = panel.scores, panel.table, panel.chance, panel.rounding
        families, llms = panel.families, panel.llms
        scores.iloc[0, 0] = 0.9
        table.iloc[0, 1] = 99.0
        chance.iloc[0] = 0.9
        rounding.iloc[0] = 0.9
        families.iloc[0] = "z"
        llms.name = "z"
        pd.testing.assert_frame_equal(panel.to_frame(), before)
        assert panel.chance["mmlu"] == 0.25
        assert panel.rounding["mmlu"] == 0.1
        assert panel.families["a1"] == "a"
        for name in ("scores", "table", "benchmarks", "anything"):
            with pytest.raises(AttributeError):
                setattr(panel, name, None)
        with pytest.raises(ValueError, match="read-only"):
            panel.prepare([True] * 4).y[0, 0] = 0.9

    def test_the_input_is_neither_changed_nor_shared(self):
        array = np.array([[0.3, 0.31, 1.0], [0.5, 0.42, 7.0], [0.4, 0.35, 2.0]])
        data = pd.DataFrame(array, columns=[*TWO, "size"], copy=False)
        data["model"], data["family"] = ["a", "b", "c"], ["f", "g", "g"]
        before = data.copy(deep=True)
        panel = BenchmarkPanel(data, TWO)
        pd.testing.assert_frame_equal(data, before)
        array[:] = 0.9
        assert panel.scores.loc["a", "mmlu"] == 0.3
        assert panel.table.loc["a", "size"] == 1.0

    def test_copies_and_pickles(self, leaderboard):
        for twin in (copy.deepcopy(leaderboard), pickle.loads(pickle.dumps(leaderboard))):
            pd.testing.assert_frame_equal(twin.to_frame(), leaderboard.to_frame())
            assert twin.families.equals(leaderboard.families)

    def test_to_frame_makes_the_same_panel(self, leaderboard):
        twin = BenchmarkPanel(leaderboard.to_frame())
        pd.testing.assert_frame_equal(twin.scores, leaderboard.scores)
        pd.testing.assert_frame_equal(twin.table, leaderboard.table)


class TestTablesOfManyKinds:
    @pytest.mark.parametrize("lazy", [False, True])
    def test_polars(self, leaderboard, lazy):
        cells = load_leaderboard().astype(object).where(lambda table: table.notna(), None)
        table = pl.from_dict(cells.to_dict("list"))
        panel = BenchmarkPanel(table.lazy() if lazy else table)
        pd.testing.assert_frame_equal(panel.scores, leaderboard.scores)
        assert_same_cells(panel.table, leaderboard.table)
        assert panel.table["instruct"].dtype == bool
        assert pd.api.types.is_datetime64_dtype(panel.table["release_date"])

    def test_polars_dtypes(self):
        table = pl.DataFrame(
            {
                "model": pl.Series(["a", "b"], dtype=pl.Categorical),
                "family": ["f", None],
                "mmlu": pl.Series([Decimal("0.25"), None], dtype=pl.Decimal(10, 2)),
                "bbh": pl.Series([0.5, 0.25], dtype=pl.Float32),
                "arc": pl.Series([0, 1], dtype=pl.UInt8),
            }
        ).with_columns(family=pl.lit("f"), mmlu=pl.col("mmlu").fill_null(Decimal("0.75")))
        panel = BenchmarkPanel(table, ["mmlu", "bbh", "arc"])
        assert_array_equal(panel.scores, [[0.25, 0.5, 0.0], [0.75, 0.25, 1.0]])
        assert list(panel.llms) == ["a", "b"]

    def test_pyarrow(self, leaderboard):
        pa = pytest.importorskip("pyarrow")
        table = load_leaderboard()
        for data in (pa.Table.from_pandas(table), table.convert_dtypes(dtype_backend="pyarrow")):
            panel = BenchmarkPanel(data)
            pd.testing.assert_frame_equal(panel.scores, leaderboard.scores)
            assert_same_cells(panel.table, leaderboard.table)
            assert panel.table.dtypes[["instruct", "params_b"]].tolist() == [bool, float]
        with pytest.raises(DataError, match="mmlu"):
            BenchmarkPanel(pa.Table.from_arrays([pa.array([0.5])] * 2, names=["mmlu", "mmlu"]))

    @pytest.mark.parametrize(
        "column",
        [
            pd.Series([0.3, 0.5, None, 0.6], dtype="Float64"),
            pd.Series([0.3, 0.5, None, 0.6], dtype=object),
            pd.Series([0.3, 0.5, pd.NA, np.float64(0.6)], dtype=object),
            pd.Series([Decimal("0.3"), 0.5, np.nan, 0.6], dtype=object),
            pd.Series([0.3, 0.5, np.nan, 0.6], dtype="Sparse[float]"),
            pd.Series([0.3, 0.5, None, 0.6]).astype("category"),
        ],
        ids=["Float64", "object", "NA", "Decimal", "Sparse", "category"],
    )
    def test_score_dtypes(self, column):
        assert_array_equal(BenchmarkPanel(small(mmlu=column), TWO).scores["mmlu"], [0.3, 0.5, np.nan, 0.6])

    def test_whole_number_scores(self):
        column = pd.Series([0, 1, None, 1], dtype="Int64")
        assert_array_equal(BenchmarkPanel(small(mmlu=column), TWO).scores["mmlu"], [0, 1, np.nan, 1])

    def test_covariates_get_numpy_dtypes(self):
        panel = BenchmarkPanel(
            small(
                whole=pd.Series([1, 2, 3, 4], dtype="Int64"),
                gaps=pd.Series([1, None, 3, 4], dtype="Int64"),
                flag=pd.Series([True, False, True, True], dtype="boolean"),
                unsure=pd.Series([True, None, True, True], dtype="boolean"),
                numbers=pd.Series([1, None, 2.5, 4], dtype=object),
                text=["x", "y", None, "z"],
            ),
            TWO,
        )
        table = panel.table
        assert table["whole"].dtype == np.int64
        assert table["gaps"].dtype == np.float64
        assert table["flag"].dtype == bool
        assert table["unsure"].tolist()[0] is True
        assert table["unsure"].isna().tolist() == [False, True, False, False]
        assert_array_equal(table["numbers"], [1.0, np.nan, 2.5, 4.0])
        assert table["text"].isna().tolist() == [False, False, True, False]

    def test_names_in_the_index(self):
        by_index = BenchmarkPanel(small().set_index("model"), TWO)
        pd.testing.assert_frame_equal(by_index.to_frame(), BenchmarkPanel(small(), TWO).to_frame())
        both = BenchmarkPanel(small().set_index(["family", "model"]), TWO)
        assert both.families.tolist() == ["a", "a", "b", "b"]

    def test_numbers_as_names(self):
        table = small(model=[10, 20, 30, 40], family=[1, 1, 2, 2]).rename(columns={"mmlu": 7})
        panel = BenchmarkPanel(table, [7, "bbh"])
        assert list(panel.llms) == ["10", "20", "30", "40"]
        assert panel.families.tolist() == ["1", "1", "2", "2"]
        assert panel.benchmarks == ("7", "bbh")

    def test_one_benchmark_by_name(self):
        assert BenchmarkPanel(small(), "bbh").benchmarks == ("bbh",)

    def test_llms_without_scores_stay(self):
        panel = BenchmarkPanel(small(mmlu=[0.3, 0.5, None, None], bbh=[0.3, 0.5, None, 0.4]), TWO)
        assert panel.n_llms == 4
        assert panel.scores.loc["b1"].isna().all()

    def test_order_of_benchmarks_is_the_users(self):
        assert list(BenchmarkPanel(small(), ["bbh", "mmlu"]).scores.columns) == ["bbh", "mmlu"]


class TestFamilies:
    def test_several_columns(self):
        table = load_leaderboard()
        families = BenchmarkPanel(table, family=["base_family", "instruct"]).families
        assert families["qwen2-7b"] == "qwen2/not instruct"
        assert families["qwen2-7b-instruct"] == "qwen2/instruct"
        assert families.nunique() == len(table[["base_family", "instruct"]].drop_duplicates())

    def test_column_of_any_name(self):
        panel = BenchmarkPanel(load_leaderboard(), family="base_family")
        assert (panel.n_families, panel.family, panel.llm) == (37, "base_family", "model")

    def test_every_llm_its_own_family(self):
        panel = BenchmarkPanel(small(), TWO, family="model")
        assert panel.families.tolist() == list(panel.llms)
        assert panel.subset(["b2", "a2"]).families.tolist() == ["b2", "a2"]

    def test_ambiguous_combination(self):
        table = small(base=["x/y", "x", "b", "b"], kind=["z", "y/z", "c", "c"])
        refused("'x/y/z'", "base, kind", data=table, family=["base", "kind"])

    def test_missing_family(self):
        refused("family name missing", "rows 1", data=small(family=["a", None, "b", "b"]))
        refused("family name missing", data=small(family=["a", " ", "b", "b"]))
        refused("family name missing", data=small(kind=["a", None, "b", "b"]), family=["family", "kind"])


class TestRefusals:
    @pytest.mark.parametrize("data", [{"mmlu": [0.5]}, [[0.5]], None, 3, "scores.csv", np.ones((2, 2))])
    def test_no_table(self, data):
        with pytest.raises(DataError, match=r"is not a table.*pandas.DataFrame"):
            BenchmarkPanel(data)

    def test_series_is_no_table(self):
        refused("not a table", data=small()["mmlu"])

    def test_empty_tables(self):
        for data in (pd.DataFrame(), small().iloc[:0], pl.DataFrame(), pl.DataFrame({"model": []})):
            with pytest.raises(DataError, match="empty"):
                BenchmarkPanel(data)

    def test_percentages(self):
        refused("mmlu", "divide them by 100", "a2 is 50.0", data=small(mmlu=[30.0, 50.0, None, 60.0]))
        refused("mmlu, bbh:", data=small(mmlu=[30.0, 50.0, None, 60.0], bbh=[0.3, 0.5, 0.6, 50.0]))

    def test_outside(self):
        refused("outside [0, 1]", "mmlu of a2 is -0.5", data=small(mmlu=[0.3, -0.5, None, 0.6]))
        refused("outside [0, 1]", "mmlu of b2 is 1000.0", data=small(mmlu=[0.3, 0.5, None, 1000.0]))
        refused("infinite", "bbh of a1 is inf", data=small(bbh=[np.inf, 0.5, 0.5, 0.6]))
        refused("infinite", "bbh of a1", data=small(bbh=pd.Series([-(10**400), 0.5, 0.5, 0.6], dtype=object)))

    @pytest.mark.parametrize(
        ("column", "shown"),
        [
            (["0.3", "0.5", None, "0.6"], "mmlu of a1 is '0.3'"),
            ([0.3, "n/a", None, 0.6], "mmlu of a2 is 'n/a'"),
            (pd.Series(["0.3", "n/a", None, "0.6"], dtype="category"), "'n/a'"),
            ([True, False, None, True], "mmlu of a1 is True"),
            ([True, False, True, True], "mmlu of a1 is True"),
            (pd.Series([True, False, None, True], dtype="boolean"), "mmlu of a1 is True"),
            (pd.to_datetime(["2024-01-01"] * 4), "2024"),
            ([0.3 + 0j, 0.5 + 0j, 0.2 + 0j, 0.6 + 0j], "mmlu of a1 is (0.3+0j)"),
            ([[0.3], [0.5], [0.2], [0.6]], "mmlu of a1 is [0.3]"),
        ],
    )
    def test_scores_that_are_no_numbers(self, column, shown):
        refused("scores must be numbers", shown, "pandas.to_numeric", data=small(mmlu=column))

    def test_long_lists_are_cut(self):
        table = load_leaderboard().astype({"mmlu": object})
        table.loc[:19, "mmlu"] = "?"
        refused("mmlu of yi-1.5-34b is '?'", "and 15 more", data=table, benchmarks=None)

    def test_names_of_llms(self):
        refused("more than once: a1", "from_long", data=small(model=["a1", "a1", "b1", "b2"]))
        refused("more than once: 1;", data=small(model=pd.Series([1, "1", 2, 3], dtype=object)))
        refused("LLM name missing", "rows 2", data=small(model=["a1", "a2", None, "b2"]))
        refused("LLM name missing", "rows 0", data=small(model=["", "a2", "b1", "b2"]))

    def test_benchmarks_that_say_nothing(self):
        refused("mmlu has no scores", data=small(mmlu=[None] * 4))
        refused("mmlu has one score only", data=small(mmlu=[0.5, None, None, None]))
        refused("mmlu is constant", "all 3 scores are 0.5", data=small(mmlu=[0.5, None, 0.5, 0.5]))

    def test_missing_columns(self):
        refused("'mmlu_pro'", "(did you mean 'mmlu'?)", benchmarks=["mmlu_pro"])
        refused("'MMLU' (did you mean 'mmlu'?)", benchmarks=["MMLU", "bbh"])
        refused("LLM column", "'name'", llm="name")
        refused("family column", "'Family' (did you mean 'family'?)", family="Family")
        refused("family column", "'kind'", family=["family", "kind"])
        refused("'gsm8k'", benchmarks=None)

    def test_column_names(self):
        twice = small().set_axis(["model", "family", "mmlu", "mmlu", "bbh"], axis=1)
        refused("more than once: mmlu", data=twice)
        nested = small().set_axis(pd.MultiIndex.from_product([["x"], small().columns]), axis=1)
        refused("2 levels", data=nested)

    def test_benchmark_lists(self):
        refused("listed more than once: bbh", benchmarks=["bbh", "mmlu", "bbh"])
        refused("no benchmarks", benchmarks=[])
        refused("family cannot be both", benchmarks=["mmlu", "family"])
        refused("model cannot be both", benchmarks=["mmlu", "model"])


class TestOptions:
    def test_chance(self):
        table = small().rename(columns={"bbh": "new"})
        assert BenchmarkPanel(table, ["mmlu", "new"]).chance.tolist() == [0.25, 0.0]
        assert BenchmarkPanel(table, ["mmlu", "new"], chance={"new": 0.2}).chance.tolist() == [0.0, 0.2]
        levels = CHANCE_LEVELS | {"new": 0.2}
        assert BenchmarkPanel(table, ["mmlu", "new"], chance=levels).chance.tolist() == [0.25, 0.2]

    def test_bad_chance(self):
        refused("unknown benchmarks: mmmlu", chance={"mmmlu": 0.25})
        for level in (1.0, -0.1, np.inf):
            refused("[0, 1)", "mmlu is", chance={"mmlu": level})
        for level in (np.nan, "0.25", True, None):
            refused("must be numbers", "mmlu is", chance={"mmlu": level})
        refused("must map benchmarks to numbers", chance=0.25)

    def test_rounding(self):
        assert BenchmarkPanel(small(), TWO).rounding.tolist() == [0.1, 0.01]
        assert BenchmarkPanel(small(), TWO, rounding=0.001).rounding.tolist() == [0.001, 0.001]
        assert BenchmarkPanel(small(), TWO, rounding={"bbh": 0.05}).rounding.tolist() == [0.1, 0.05]
        assert BenchmarkPanel(small(mmlu=[0, 1, None, 1]), TWO).rounding["mmlu"] == 0.1
        assert BenchmarkPanel(small(mmlu=[1 / 3, 0.5, None, 0.1]), TWO).rounding["mmlu"] == 1e-6
        noisy = [0.1 + 0.2, 0.5 + 5e-10, None, 0.6]
        assert BenchmarkPanel(small(mmlu=noisy), TWO).rounding["mmlu"] == 0.1

    def test_bad_rounding(self):
        for unit in (0, 1, -0.1, np.inf):
            refused("between 0 and 1", rounding=unit)
        refused("unknown benchmarks: arc", rounding={"arc": 0.1})
        refused("must be numbers", rounding="0.1")

    def test_bad_boundary(self):
        refused("squeeze, censor, error", boundary="drop")

    def test_boundary_error_names_benchmark_and_llms(self):
        table = small(mmlu=[0.0, 0.5, None, 1.0])
        refused("mmlu (a1, b2)", 'boundary="squeeze"', data=table, boundary="error")
        assert BenchmarkPanel(small(), TWO, boundary="error").boundary == "error"


class TestPrepare:
    table = small(mmlu=[0.0, 0.5, None, 1.0])
    everyone = (True, True, True, True)

    def test_squeeze(self):
        prepared = BenchmarkPanel(self.table, TWO).prepare(self.everyone)
        # (y (n - 1) + 1/2) / n with n = 3 observed scores; bbh has no boundary score
        assert_allclose(prepared.y[:, 0], [1 / 6, 1 / 2, np.nan, 5 / 6], rtol=1e-15)
        assert_array_equal(prepared.y[:, 1], self.table["bbh"])
        assert_array_equal(prepared.state, [[0, 0], [0, 0], [-1, 0], [0, 0]])
        assert prepared.state.dtype == np.int8
        assert prepared.boundary_counts == {"mmlu": 2, "bbh": 0}
        assert_array_equal(prepared.n_observed, [3, 4])

    def test_squeeze_counts_the_kept_rows_only(self):
        panel = BenchmarkPanel(self.table, TWO)
        kept = panel.prepare([True, True, True, False])
        assert_allclose(kept.y[:2, 0], [1 / 4, 1 / 2], rtol=1e-15)
        assert kept.boundary_counts["mmlu"] == 1
        assert_array_equal(panel.prepare([False, True, True, False]).y[0], [0.5, 0.42])

    def test_censor(self):
        panel = BenchmarkPanel(self.table, TWO, boundary="censor", rounding={"mmlu": 0.01})
        prepared = panel.prepare(self.everyone)
        assert_allclose(prepared.edge, [0.005, 0.005], rtol=1e-15)
        assert_allclose(prepared.y[:, 0], [0.005, 0.5, np.nan, 0.995], rtol=1e-15)
        assert_array_equal(prepared.state[:, 0], [1, 0, -1, 2])
        assert prepared.boundary_counts == {"mmlu": 2, "bbh": 0}

    def test_leaderboard_counts(self, leaderboard):
        keep = leaderboard.table[["params_b", "tokens_t"]].notna().all(axis=1)
        prepared = leaderboard.prepare(keep)
        assert prepared.y.shape == (184, 12)
        assert {name: count for name, count in prepared.boundary_counts.items() if count} == {
            "gsm8k": 2,
            "math_lvl_5": 20,
        }

    @pytest.mark.parametrize("keep", [[True], [1, 1, 1, 1], ["a1"], np.ones((4, 1), dtype=bool), True, None])
    def test_bad_mask(self, keep):
        with pytest.raises(DataError, match="true/false value for each of the 4 LLMs"):
            BenchmarkPanel(small(), TWO).prepare(keep)


class TestSubset:
    def test_mask_and_names(self, leaderboard):
        mask = leaderboard.families.isin(["qwen2", "yi"])
        by_mask = leaderboard.subset(mask)
        by_name = leaderboard.subset(mask.index[mask])
        pd.testing.assert_frame_equal(by_mask.to_frame(), by_name.to_frame())
        pd.testing.assert_frame_equal(by_mask.scores, leaderboard.scores[mask])
        assert leaderboard.subset(["yi-9b", "yi-6b"]).llms.tolist() == ["yi-9b", "yi-6b"]

    def test_options_are_kept(self):
        panel = BenchmarkPanel(
            small(bbh=[0.31, 0.4, 0.3, 0.5]),
            TWO,
            family=["family"],
            chance={"mmlu": 0.3},
            boundary="censor",
            rounding={"mmlu": 0.05},
        )
        part = panel.subset(["a1", "a2", "b2"]).subset([False, True, True])
        assert part.chance.tolist() == [0.3, 0.0]
        assert part.boundary == "censor"
        # bbh of these LLMs is rounded to 0.1, but the whole benchmark to 0.01
        assert part.rounding.tolist() == [0.05, 0.01]
        assert part.family == ("family",)

    def test_refusals(self):
        panel = BenchmarkPanel(small(), TWO)
        for which, message in [
            (["a1", "b11"], r"'b11' \(did you mean 'b1'\?\)"),
            (["a1", "a1"], "more than once"),
            ([], "empty"),
            ([False] * 4, "empty"),
            ([True] * 3, "each of the 4 LLMs"),
            (["a1", "b1"], "mmlu has one score only"),
            ("a1", "one score only"),
        ]:
            with pytest.raises(DataError, match=message):
                panel.subset(which)
