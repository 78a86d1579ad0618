"""Reading score tables of the forms that people have."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.cli.files import read
from latentscale.datasets.score_files import find_decimal, find_separator

WIDE = pd.DataFrame({
    "model": ["a", "b", "c"], "family": ["f", "f", "g"], "params_b": [1.5, 7.0, 3.0],
    "mmlu": [0.5, 0.625, np.nan], "my task": [0.25, 0.5, 0.75],
})  # fmt: skip


@pytest.fixture
def save(tmp_path):
    def write(text, name="scores.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


class TestFiles:
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    @pytest.mark.parametrize("decimal", [".", ","])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    def test_dialects_of_csv(self, tmp_path, separator, decimal, encoding):
        path = tmp_path / "scores.csv"
        WIDE.to_csv(path, sep=separator, decimal=decimal, index=False, encoding=encoding)
        # commas for both cannot be told from commas for one
        read = ls.read_scores(path, decimal="," if separator == decimal else None)
        pd.testing.assert_frame_equal(read, WIDE, check_dtype=False)

    def test_cells_with_separators_inside(self, save):
        read = ls.read_scores(save('model;family;mmlu\n"a;1,5";"x,y";0,5\nb;z;0,6\n'))
        assert list(read["model"]) == ["a;1,5", "b"]
        assert_allclose(read["mmlu"], [0.5, 0.6])

    def test_dialect_by_argument(self, save):
        path = save("model|mmlu\na|1,234\nb|2,5\n")
        assert ls.read_scores(path, separator="|", decimal=",")["mmlu"].tolist() == [1.234, 2.5]
        with pytest.raises(ls.DataError, match="decimal must be"):
            ls.read_scores(path, decimal="x")

    @pytest.mark.parametrize(
        ("cells", "sign"), [(["0,5", "1"], ","), (["0,5", "0.5"], "."), (["a,b", "1"], "."), (["-,5", None], ",")]
    )
    def test_decimal_sign(self, cells, sign):
        assert find_decimal(pd.DataFrame({"x": cells})) == sign

    def test_separator(self):
        assert find_separator("model") == ","
        assert find_separator('"a,b,c"\t"d"') == "\t"

    @pytest.mark.parametrize("name", ["scores.parquet", "scores.pq"])
    def test_parquet(self, tmp_path, name):
        pl.DataFrame(WIDE.to_dict("list")).write_parquet(tmp_path / name)
        read = ls.read_scores(tmp_path / name)
        pd.testing.assert_frame_equal(read, WIDE, check_dtype=False)

    def test_json_lines(self, tmp_path):
        path = tmp_path / "scores.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in json.loads(WIDE.to_json(orient="records"))))
        pd.testing.assert_frame_equal(ls.read_scores(path), WIDE, check_dtype=False)

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("empty.csv", b"", "cannot be read as CSV"),
            ("binary.csv", bytes(range(128, 256)), "cannot be read as CSV"),
            ("ragged.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as CSV"),
            ("header.csv", b"model,family,mmlu\n", "empty"),
            ("twice.csv", b"model,mmlu,MMLU\na,1,2\n", r"several columns would have the name mmlu \(mmlu, MMLU\)"),
            ("text.parquet", b"model,family\n", "cannot be read as parquet"),
            ("text.jsonl", b"model,family\n", "cannot be read as JSON lines"),
        ],
    )
    def test_files_that_cannot_be_read(self, save, name, content, words):
        with pytest.raises(ls.DataError, match=words):
            ls.read_scores(save(content, name))

    def test_no_file(self, tmp_path):
        with pytest.raises(ls.DataError, match="No such file"):
            ls.read_scores(tmp_path / "absent.csv")
        with pytest.raises(ls.DataError, match="is a folder"):
            ls.read_scores(tmp_path)


class TestTables:
    def test_known_benchmarks_get_the_package_s_names(self, save):
        path = save("LLM,MMLU-PRO,MATH Lvl 5,ARC-Challenge,Winogrande,mine\na,.1,.2,.3,.4,.5\n")
        read = ls.read_scores(path, llm="LLM")
        assert list(read.columns) == ["model", "mmlu_pro", "math_lvl_5", "arc", "winogrande", "mine"]
        assert "LLM" in ls.read_scores(path, names={})
        assert "MMLU-PRO" in ls.read_scores(path, names={"mine": "other"})
        assert "other" in ls.read_scores(path, names={"mine": "other"})

    def test_long_tables(self, save):
        long = WIDE.melt(["model", "family", "params_b"], var_name="benchmark", value_name="score").dropna()
        long["benchmark"] = long["benchmark"].replace("mmlu", "MMLU")
        path = save(long.to_csv(index=False))
        read = ls.read_scores(path)
        pd.testing.assert_frame_equal(read[list(WIDE.columns)], WIDE, check_dtype=False)
        other = save(long.rename(columns={"benchmark": "task", "score": "value"}).to_csv(index=False, sep=";"))
        again = ls.read_scores(other, layout="long", benchmark="task", score="value")
        pd.testing.assert_frame_equal(again[list(WIDE.columns)], WIDE, check_dtype=False)
        with pytest.raises(ls.DataError, match="column not among the columns: 'benchmark'"):
            ls.read_scores(other, layout="long")
        with pytest.raises(ls.DataError, match="layout is one of"):
            ls.read_scores(other, layout="tidy")

    def test_percentages(self, save):
        path = save("model,MMLU,mine\na,50,0.5\nb,60,0.7\n")
        assert_allclose(ls.read_scores(path, percent=True)[["mmlu", "mine"]], [[0.5, 0.5], [0.6, 0.7]])
        assert_allclose(ls.read_scores(path, percent=["mine"])["mine"], [0.005, 0.007])
        with pytest.raises(ls.DataError, match=r"'MMLU' \(did you mean 'mmlu'\?\)"):
            ls.read_scores(path, percent=["MMLU"])
        with pytest.raises(ls.DataError, match="mmlu has 'x'"):
            ls.read_scores(save("model,mmlu\na,x\nb,50\n"), percent=True)

    def test_into_a_panel(self, tmp_path):
        path = tmp_path / "table.csv"
        ls.load_leaderboard().to_csv(path, index=False, sep=";", decimal=",")
        panel = ls.BenchmarkPanel(ls.read_scores(path))
        assert_allclose(panel.scores, ls.BenchmarkPanel(ls.load_leaderboard()).scores)


def contents():
    """A table with the columns of the leaderboard's contents, version 2."""
    raw = {"IFEval": [0.4, 0.5, 0.45], "BBH": [0.5, 0.6, 0.55], "MATH Lvl 5": [0.1, 0.2, 0.15],
           "GPQA": [0.25, 0.4, 0.3], "MUSR": [0.35, 0.45, 0.4], "MMLU-PRO": [0.19, 0.46, 0.28]}  # fmt: skip
    table = {
        "eval_name": ["o_a_float16", "o_b_bfloat16", "o_a_bfloat16"],
        "Precision": ["float16", "bfloat16", "bfloat16"],
        "Type": ["pretrained"] * 3,
        "Model": ["<a href='x'>o/a</a>"] * 3,
        "fullname": ["o/a", "o/b", "o/a"],
        "Average ⬆️": [20.0, 30.0, 25.0],
        "#Params (B)": [7.242, -1.0, 7.242],
        "Submission Date": ["2024-06-20", "2024-06-12", "2024-06-12"],
        "Base Model": ["o/a", "o/base", "o/a"],
    }
    for name, values in raw.items():
        table[f"{name} Raw"] = values
        table[name] = [100 * value - 9 for value in values]
    return pd.DataFrame(table)


class TestCommandLine:
    """The command line reads what ``read_scores`` reads, and leaves names alone."""

    def test_dialects_and_layouts(self, tmp_path):
        path = tmp_path / "scores.csv"
        given = WIDE.rename(columns={"mmlu": "MMLU"})
        given.to_csv(path, sep=";", decimal=",", index=False)
        pd.testing.assert_frame_equal(read(path), given, check_dtype=False)
        long = given.melt(["model", "family", "params_b"], var_name="benchmark", value_name="score").dropna()
        long.to_csv(path, index=False)
        pd.testing.assert_frame_equal(read(path)[list(given.columns)], given, check_dtype=False)


class TestLeaderboard:
    def test_version_2(self, tmp_path):
        path = tmp_path / "contents.parquet"
        pl.DataFrame(contents().to_dict("list")).write_parquet(path)
        read = ls.read_scores(path)
        assert list(read["model"]) == ["o/a", "o/b"]
        assert list(read["precision"]) == ["float16", "bfloat16"]  # the one submitted last
        assert_allclose(read["mmlu_pro"], [0.19, 0.46])
        assert_allclose(read["math_lvl_5"], [0.1, 0.2])
        assert_allclose(read["params_b"], [7.242, np.nan])
        assert list(read["base_model"]) == ["o/a", "o/base"]
        assert set(ls.BENCHMARKS[6:]) <= set(read.columns)
        assert not read.columns.str.contains("Average|Raw|Model").any()
        panel = ls.BenchmarkPanel(read, ls.BENCHMARKS[6:], family="base_model")
        assert panel.n_llms == 2

    def test_normalised_scores_must_be_asked_for(self, save):
        table = contents()
        path = save(table.to_csv(index=False))
        assert_allclose(ls.read_scores(path, raw=False)["gpqa"], [0.16, 0.31])
        without = save(table[[name for name in table if not name.endswith("Raw")]].to_csv(index=False))
        with pytest.raises(ls.DataError, match=r"no columns '\.\.\. Raw' for IFEval, BBH"):
            ls.read_scores(without)
        assert_allclose(ls.read_scores(without, raw=False)["ifeval"], [0.31, 0.41])

    def test_version_1(self, save):
        table = pd.DataFrame({"model_name_for_query": ["o/a", "o/b"], "ARC": [50.0, 60.0], "MMLU": [40.0, 45.5],
                              "TruthfulQA": [45.0, 44.0], "#Params (B)": [7.0, 0.0]})  # fmt: skip
        read = ls.read_scores(save(table.to_csv(index=False)))
        assert list(read.columns) == ["model", "params_b", "mmlu", "arc", "truthfulqa"]
        assert_allclose(read["mmlu"], [0.4, 0.455])
        assert np.isnan(read["params_b"][1])

    def test_wrong_tables(self, save):
        path = save("fullname,other\na,1\n")
        with pytest.raises(ls.DataError, match="no benchmark of the leaderboard"):
            ls.read_scores(path, layout="leaderboard")
        assert list(ls.read_scores(path).columns) == ["fullname", "other"]
        with pytest.raises(ls.DataError, match="'fullname' or 'model_name_for_query'"):
            ls.read_scores(save("name,IFEval Raw\na,1\n"), layout="leaderboard")
