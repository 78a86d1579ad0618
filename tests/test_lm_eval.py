"""Reading results of the lm-evaluation-harness."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls

RUNS = Path(__file__).parent / "reference" / "lm_eval" / "runs"
LLMS = [f"demo-org/{name}" for name in ("alpha-1b", "alpha-7b", "beta-3b", "gamma-13b")]


@pytest.fixture(scope="module")
def runs():
    with pytest.warns(UserWarning, match="part of its items"):
        return ls.read_lm_eval(RUNS)


def contents(name, number=0):
    return json.loads(sorted((RUNS / f"demo-org__{name}").glob("results*.json"))[number].read_text())


def write(folder, content, name="results_2025-01-01T00-00-00.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def result(results, llm="org/a", **more):
    return {"results": results, "model_name": llm, **more}


class TestHarnessFiles:
    """Files that the harness wrote (tests/reference/lm_eval/README.md)."""

    def test_scores_are_those_of_the_files(self, runs):
        assert list(runs.scores.index) == LLMS
        assert list(runs.scores.columns) == ["demo_sums", "demo_choices"]
        for llm in ("alpha-1b", "alpha-7b"):
            results = contents(llm)["results"]
            assert runs.scores.loc[f"demo-org/{llm}", "demo_choices"] == results["demo_choices"]["acc_norm,none"]
            assert runs.stderr.loc[f"demo-org/{llm}", "demo_choices"] == results["demo_choices"]["acc_norm_stderr,none"]
            strict = results["demo_sums"]["exact_match,strict-match"]
            assert runs.scores.loc[f"demo-org/{llm}", "demo_sums"] == strict

    def test_group_score_and_error_are_pooled_over_its_tasks(self, runs):
        """The group's figures follow from its tasks', so that columns of score, error and count belong together."""
        long = runs.long[(runs.long["model"] == LLMS[0]) & (runs.long["metric"] == "acc")].set_index("task")
        parts, n = long.loc[["demo_colours", "demo_animals"]], np.array([12, 20])
        assert_allclose(parts["samples"], n)
        assert_allclose(long.loc["demo_choices", "score"], np.average(parts["score"], weights=n))
        assert_allclose(long.loc["demo_choices", "samples"], 32)
        # s.e. of the mean of n zeros and ones, with n - 1
        p = parts["score"]
        assert_allclose(parts["stderr"], np.sqrt(p * (1 - p) / (n - 1)))

    def test_samples_of_limited_runs(self, runs):
        assert_allclose(runs.samples.loc[LLMS[:3]].drop_duplicates(), [[8, 32]])
        assert_allclose(runs.samples.loc[LLMS[3]], [5, 10])
        row = runs.long[(runs.long["model"] == LLMS[3]) & (runs.long["task"] == "demo_animals")].iloc[0]
        assert (row["samples"], row["samples_original"], row["n_shot"], row["version"]) == (5, 20, 0, 1.0)
        assert any("gamma-13b" in note for note in runs.notes)

    def test_the_later_run_counts(self, runs):
        early, late = contents("beta-3b", 0), contents("beta-3b", 1)
        assert early["date"] < late["date"]
        old, new = (content["results"]["demo_choices"]["acc_norm,none"] for content in (early, late))
        assert old != new
        assert runs.scores.loc["demo-org/beta-3b", "demo_choices"] == new
        # what the later run lacks comes from the earlier one
        assert runs.scores.loc["demo-org/beta-3b"].notna().all()
        with pytest.raises(ls.DataError, match=r"beta-3b was run more than once on demo_choices: .*results_2026"):
            ls.read_lm_eval(RUNS, duplicates="error")

    def test_metric_filter_and_level_are_chosen(self):
        folder = RUNS / "demo-org__alpha-1b"
        results = contents("alpha-1b")["results"]
        chosen = ls.read_lm_eval(folder, metrics={"demo_choices": "acc", "demo_sums": "exact_match,flexible-extract"})
        assert_allclose(chosen.scores["demo_choices"], results["demo_choices"]["acc,none"])
        assert_allclose(chosen.scores["demo_sums"], results["demo_sums"]["exact_match,flexible-extract"])
        assert results["demo_sums"]["exact_match,flexible-extract"] > results["demo_sums"]["exact_match,strict-match"]
        tasks = ls.read_lm_eval(folder, level="tasks")
        assert set(tasks.scores.columns) == {"demo_colours", "demo_animals", "demo_sums"}
        assert set(ls.read_lm_eval(folder, level="all").scores.columns) == set(results)
        assert list(ls.read_lm_eval(folder, tasks=["demo_animals"]).scores.columns) == ["demo_animals"]
        with pytest.raises(ls.DataError, match=r"exact_match by several filters .*strict-match, exact_match,flexible"):
            ls.read_lm_eval(folder, metrics=["acc", "exact_match"])
        with pytest.raises(ls.DataError, match=r"demo_sums has none of the metrics acc in .*only exact_match"):
            ls.read_lm_eval(folder, metrics="acc")

    def test_one_file(self):
        file = next((RUNS / "demo-org__alpha-7b").glob("*.json"))
        assert list(ls.read_lm_eval(file).scores.index) == ["demo-org/alpha-7b"]

    def test_a_panel(self, runs):
        table = pd.DataFrame({
            "model": ["gamma-13b", "demo-org/alpha-1b", "Alpha-7B", "beta-3b", "never-run"],
            "family": ["gamma", "alpha", "alpha", "beta", "gamma"],
            "params_b": [13.0, 1.0, 7.0, 3.0, 2.0],
        })  # fmt: skip
        panel = runs.panel(table, benchmarks=["demo_choices"], chance={"demo_choices": 0.25})
        assert list(panel.llms) == list(table["model"][:4])
        by_run = runs.scores["demo_choices"].loc[["demo-org/gamma-13b", *LLMS[:3]]]
        assert_allclose(panel.scores["demo_choices"], by_run)
        assert_allclose(panel.table["params_b"], [13.0, 1.0, 7.0, 3.0])
        assert panel.chance["demo_choices"] == 0.25

    def test_names_that_differ(self, runs):
        table = pd.DataFrame({"model": ["alpha-1b", "alpha-7b", "beta-3b-base"], "family": ["a", "a", "b"]})
        with pytest.raises(ls.DataError, match=r"'demo-org/beta-3b' \(did you mean 'beta-3b-base'\?\).*gamma-13b"):
            runs.wide(table)
        assert list(runs.wide(table, missing="drop")["model"]) == ["alpha-1b", "alpha-7b"]
        with pytest.raises(ls.DataError, match="may be any of alpha-1b, org2/alpha-1b"):
            runs.wide(pd.DataFrame({"model": ["alpha-1b", "org2/alpha-1b"]}), missing="drop")
        with pytest.raises(ls.DataError, match="more than once in the table"):
            runs.wide(pd.DataFrame({"model": ["alpha-1b", "alpha-1b"]}))
        with pytest.raises(ls.DataError, match="named as benchmarks of the runs: demo_sums"):
            runs.wide(pd.DataFrame({"model": LLMS, "demo_sums": 1.0}))
        with pytest.raises(ls.DataError, match="no LLM of the runs"):
            runs.wide(pd.DataFrame({"model": ["x"]}), missing="drop")

    def test_tables_are_copies(self, runs):
        scores, long = runs.scores, runs.long
        scores.iloc[:] = 0.0
        long["score"] = 0.0
        assert runs.scores.max(axis=None) > 0.0
        with pytest.raises(AttributeError):
            runs.notes = ()

    def test_it_says_what_it_holds(self, runs):
        assert repr(runs).startswith("HarnessRuns: 4 LLMs, 2 benchmarks, 8 scores from 5 files\nnote: ")


MMLU = {
    "mmlu": {"acc,none": 0.5, "acc_stderr,none": 0.01, "alias": "mmlu"},
    "mmlu_stem": {"acc,none": 0.4, "acc_stderr,none": 0.02},
    "mmlu_anatomy": {"acc,none": 0.4, "acc_stderr,none": 0.02},
}


class TestLayouts:
    def test_the_outermost_group_with_a_score_counts(self, tmp_path):
        groups = {"mmlu": ["mmlu_stem"], "mmlu_stem": ["mmlu_anatomy"], "mmlu_anatomy": []}
        counts = {"mmlu_anatomy": {"original": 135, "effective": 135}}
        content = result(MMLU, group_subtasks=groups, **{"n-samples": counts})
        runs = ls.read_lm_eval(write(tmp_path, content))
        assert runs.scores.to_dict("list") == {"mmlu": [0.5]}
        assert_allclose(runs.samples["mmlu"], 135)
        assert list(runs.long["group"].fillna("")) == ["", "mmlu", "mmlu"]

    def test_the_leaderboard_is_no_benchmark_but_its_parts_are(self, tmp_path):
        results = {
            "leaderboard": {"acc_norm,none": 0.9, "acc_norm_stderr,none": "N/A"},
            "leaderboard_bbh": {"acc_norm,none": 0.5, "acc_norm_stderr,none": 0.01},
            "leaderboard_bbh_snarks": {"acc_norm,none": 0.6},
            "leaderboard_ifeval": {"prompt_level_strict_acc,none": 0.3, "inst_level_strict_acc,none": 0.4,
                                   "inst_level_strict_acc_stderr,none": "N/A"},
            "leaderboard_math_hard": {"exact_match,none": 0.1},
            "leaderboard_mmlu_pro": {"acc,none": 0.2},
        }  # fmt: skip
        groups = {
            "leaderboard": ["leaderboard_bbh", "leaderboard_ifeval", "leaderboard_math_hard", "leaderboard_mmlu_pro"],
            "leaderboard_bbh": ["leaderboard_bbh_snarks"],
        }
        runs = ls.read_lm_eval(write(tmp_path, result(results, group_subtasks=groups)))
        expected = {"bbh": 0.5, "ifeval": 0.3, "math_lvl_5": 0.1, "mmlu_pro": 0.2}
        assert runs.scores.iloc[0].to_dict() == expected
        strict = ls.read_lm_eval(tmp_path, metrics={"ifeval": "inst_level_strict_acc"})
        assert strict.scores.loc["org/a", "ifeval"] == 0.4
        assert np.isnan(strict.stderr.loc["org/a", "ifeval"])

    def test_names_are_mapped(self, tmp_path):
        results = {"arc_challenge": {"acc,none": 0.4, "acc_norm,none": 0.5}, "truthfulqa_mc2": {"acc,none": 0.45},
                   "mine": {"f1,none": 0.7}}  # fmt: skip
        folder = write(tmp_path, result(results))
        assert list(ls.read_lm_eval(folder).scores.columns) == ["arc", "truthfulqa", "mine"]
        again = ls.read_lm_eval(folder, names={"mine": "quiz", "arc_challenge": "arc_c"})
        assert list(again.scores.columns) == ["arc_c", "truthfulqa", "quiz"]
        with pytest.raises(ls.DataError, match="several tasks that are called arc: arc_challenge, mine"):
            ls.read_lm_eval(folder, names={"mine": "arc"})

    def test_old_files(self, tmp_path):
        """Before version 0.4 metrics had no filters, and LLMs' names were in the arguments."""
        old = {
            "results": {"arc_challenge": {"acc": 0.4, "acc_stderr": 0.01, "acc_norm": 0.5, "acc_norm_stderr": 0.02},
                        "truthfulqa_mc": {"mc1": 0.3, "mc1_stderr": 0.01, "mc2": 0.45, "mc2_stderr": 0.015}},
            "versions": {"arc_challenge": 0},
            "config": {"model": "hf-causal", "model_args": "pretrained=org/a,dtype=float16"},
        }  # fmt: skip
        runs = ls.read_lm_eval(write(tmp_path, old))
        assert runs.scores.loc["org/a"].to_dict() == {"arc": 0.5, "truthfulqa": 0.45}
        assert runs.stderr.loc["org/a"].to_dict() == {"arc": 0.02, "truthfulqa": 0.015}
        assert runs.samples.isna().all(axis=None)
        assert set(runs.long["filter"]) == {"none"}

    def test_the_folder_names_an_llm_that_the_file_does_not(self, tmp_path):
        folder = write(tmp_path / "org__a", {"results": {"mmlu": {"acc,none": 0.5}}})
        runs = ls.read_lm_eval(folder)
        assert list(runs.scores.index) == ["org/a"]
        assert runs.long["date"].iloc[0] == pd.Timestamp("2025-01-01", tz="UTC")

    def test_unlike_conditions_are_noted(self, tmp_path):
        for llm, shots in (("a", 0), ("b", 5)):
            write(tmp_path / llm, result({"mmlu": {"acc,none": 0.5}}, llm, **{"n-shot": {"mmlu": shots}}))
        with pytest.warns(UserWarning, match=r"mmlu was scored with different numbers of shots: 0 \(a\); 5 \(b\)"):
            ls.read_lm_eval(tmp_path)

    def test_percentages(self, tmp_path):
        folder = write(tmp_path, result({"chess": {"acc,none": 53.0, "acc_stderr,none": 2.0}}))
        with pytest.raises(ls.DataError, match=r"acc of chess is 53 in .*results_2025.*percent="):
            ls.read_lm_eval(folder)
        runs = ls.read_lm_eval(folder, percent="chess")
        assert_allclose([runs.scores.iloc[0, 0], runs.stderr.iloc[0, 0]], [0.53, 0.02])

    def test_a_group_within_itself_ends(self, tmp_path):
        groups = {"x": ["y"], "y": ["x", "z"], "w": ["w", "z"]}
        content = result({"z": {"acc,none": 0.5}, "w": {"acc,none": 0.5}}, group_subtasks=groups)
        assert ls.read_lm_eval(write(tmp_path, content)).scores.notna().all(axis=None)


class TestFilesThatCannotBeUsed:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ('{"results": {', "not JSON, or is cut short"),
            ("[1, 2]", "holds no results"),
            ({"other": 1}, "holds no results"),
            ({"results": {"mmlu": 0.5}}, "holds no results"),
            ({"results": {}}, "hold no score"),
            ({"results": {"mmlu": {"alias": "mmlu", " ": " "}}}, "hold no score"),
            ("[" * 100_000, "not JSON"),
        ],
    )
    def test_files_are_named(self, tmp_path, content, words):
        folder = write(tmp_path, content)
        with pytest.raises(ls.DataError, match=words) as caught:
            ls.read_lm_eval(folder)
        assert str(tmp_path) in str(caught.value)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ls.DataError, match=r"no results\*\.json in"):
            ls.read_lm_eval(tmp_path)
        with pytest.raises(ls.DataError, match="no such file or folder"):
            ls.read_lm_eval(tmp_path / "absent")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"level": "subtasks"}, "level is one of"),
            ({"duplicates": "first"}, "duplicates is one of"),
            ({"tasks": ["mlmu"]}, "tasks not among the results: mlmu; they have mmlu"),
            ({"metrics": {"mlmu": "acc"}}, "metrics names tasks that are not among the results: mlmu"),
            ({"percent": ["mlmu"]}, "percent names tasks that are not among the results: mlmu"),
        ],
    )
    def test_options(self, tmp_path, options, words):
        folder = write(tmp_path, result({"mmlu": {"acc,none": 0.5}}))
        with pytest.raises(ls.DataError, match=words):
            ls.read_lm_eval(folder, **options)

    def test_duplicates_without_dates(self, tmp_path):
        for name in ("results_a.json", "results_b.json"):
            write(tmp_path, result({"mmlu": {"acc,none": 0.5}}), name)
        with pytest.raises(ls.DataError, match=r"dates do not tell which last: .*results_a\.json.*results_b\.json"):
            ls.read_lm_eval(tmp_path)

    def test_several_metrics_none_of_them_known(self, tmp_path):
        folder = write(tmp_path, result({"mine": {"f1,none": 0.5, "em,none": 0.4}}))
        with pytest.raises(ls.DataError, match=r"only f1,none, em,none; choose one, as with metrics=\{'mine': 'f1"):
            ls.read_lm_eval(folder)
        assert ls.read_lm_eval(folder, metrics={"mine": "em"}).scores.iloc[0, 0] == 0.4

    def test_results_copied_twice_are_no_second_run(self, tmp_path):
        for folder in ("a", "b"):
            shutil.copytree(RUNS / "demo-org__alpha-1b", tmp_path / folder)
        with pytest.raises(ls.DataError, match="dates do not tell"):
            ls.read_lm_eval(tmp_path)
