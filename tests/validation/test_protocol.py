"""The experiment of six cells: its files, its table, its methods."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.validation import methods, protocol

GROUPS = {"n_train=1": {"v1": [["opt"], ["llama-2", "llama-2-chat"]]}, "n_train=2": {"v1": [["pythia"]]}}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "protocol.json"
    content = {"benchmark_sets": {"v1": list(ls.BENCHMARKS[:6])}, "test_family_groups": GROUPS}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "stored.csv"
    rows = [("v1", 1, "pca_d=1", 7.5, 8.5, 60), ("v1", 2, "other", 1.0, 1.0, 1)]
    pd.DataFrame(rows, columns=[*protocol.STORED_COLUMNS, "n_test"]).to_csv(path, index=False)
    return path


def test_the_methods_of_the_paper():
    found = methods.paper_methods()
    assert len(found) == 28
    laws = {"logF", "logSlogT"}
    names = {f"{law}_{link}{rest}" for law in laws for link in ("sigmoid", "trainlink") for rest in ("", "_faminter")}
    for d in range(1, 5):
        names |= {f"factor_{link}{rest}_d={d}" for link in ("sigmoid", "trainlink") for rest in ("", "_faminter")}
        names.add(f"pca_d={d}")
    assert set(found) == names
    assert all(pickle.loads(pickle.dumps(one)) == one for one in found.values())
    sloth = found["factor_trainlink_faminter_d=3"].options
    assert (sloth["n_skills"], sloth["link"], sloth["family_intercepts"]) == (3, "monotone", True)
    assert found["pca_d=2"].options["family_terms"] == "intercepts"
    assert methods.paper_methods(2)["pca_d=2"].options["family_terms"] == "slopes"


def test_every_method_fits(leaderboard):
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["ifeval", "bbh", "gpqa", "mmlu_pro"])
    some = ["logF_sigmoid", "logSlogT_trainlink_faminter", "factor_sigmoid_faminter_d=1", "pca_d=4"]
    with pytest.warns(ls.ConvergenceWarning, match="has no minimum"):  # smollm guesses on gpqa
        cv = ls.leave_family_out(methods.select_methods(some), panel, ["olmo"], alphas=())
    assert ((cv.mae() > 0.0) & (cv.mae() < 30.0)).all()


def test_choosing_methods():
    assert list(methods.select_methods("pca_*")) == [f"pca_d={d}" for d in range(1, 5)]
    assert list(methods.select_methods(["package", "logF_sigmoid", "logF_sig*moid"]))[-1] == "logF_sigmoid"
    assert len(methods.select_methods()) == 28 + len(methods.package_methods())
    with pytest.raises(ls.DataError, match="No method is called 'pcr'"):
        methods.select_methods(["pcr"])


def test_a_run(file, stored, tmp_path):
    asked = protocol.read_protocol(file)
    assert list(asked.groups) == [("v1", 1), ("v1", 2)]
    table = ls.load_leaderboard()
    beside, resume = protocol.read_stored(stored), tmp_path / "splits"
    found = protocol.run_protocol(table, asked, ["pca_d=[12]"], beside, resume=resume)
    panel = ls.BenchmarkPanel(table, benchmarks=ls.BENCHMARKS[:6])
    slopes = ls.Specification(ls.ComponentLaws, n_components=2, family_terms="slopes")
    expected = ls.leave_family_out({"a": slopes}, panel, GROUPS["n_train=2"]["v1"], n_train=2)
    wide = found.wide()
    assert list(wide.columns) == ["v1 n=1", "v1 n=2", "average"]
    assert_allclose(wide.loc["pca_d=2", "v1 n=2"], expected.mae()["a"])
    assert_allclose(wide["average"], wide[["v1 n=1", "v1 n=2"]].mean(axis=1))
    first = found.table.iloc[0]
    assert first["stored"] == 7.5
    assert first["n_test"] == sum(len(split.test) for split in found.runs["v1", 1].splits)
    assert found.text().loc["pca_d=1", "v1 n=1"] == f"{first['mae']:.2f} (7.50)"
    assert "(" not in found.text().loc["pca_d=1", "v1 n=2"]
    assert sorted(path.name for path in resume.iterdir()) == ["v1_1.jsonl", "v1_2.jsonl"]
    again = protocol.run_protocol(table, asked, ["pca_d=[12]"], resume=resume)
    assert_allclose(again.wide(), wide, rtol=0)
    assert list(again.errors().columns[:3]) == ["benchmarks", "n_kept", "method"]


def test_the_plain_protocol():
    plain = protocol.plain_protocol()
    assert list(plain.groups) == [(name, n) for name in ("v1", "v2", "all") for n in (1, 2)]
    assert plain.sets["v1"] + plain.sets["v2"] == plain.sets["all"] == ls.BENCHMARKS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is no protocol"),
        ("{}", "KeyError: 'benchmark_sets'"),
        ('{"benchmark_sets": {"v1": ["a"]}, "test_family_groups": {"n_train=x": {}}}', "is no protocol"),
        ('{"benchmark_sets": {"v1": ["a"]}, "test_family_groups": {"n_train=1": {"v3": []}}}', "groups for 'v3'"),
    ],
)
def test_bad_protocols(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ls.DataError, match=message):
        protocol.read_protocol(path)


def test_bad_stored_numbers(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("benchmarks,n_train\nv1,1\n")
    with pytest.raises(ls.DataError, match="no column 'method'"):
        protocol.read_stored(path)


def test_the_ledger():
    import protocol_ledger

    table = pd.DataFrame(
        {
            "benchmarks": "v1", "n_train": [1, 2, 1, 1, 2], "method": ["pca_d=1", "logF_trainlink", "a", "b", "c"],
            "mae": [7.321, 5.0, 4.0, np.nan, 3.0], "stored": [7.32, 9.0, 3.5, 3.0, np.nan],
        }
    )  # fmt: skip
    rows = protocol_ledger.ledger(table)
    assert list(rows["status"]) == ["recomputed", "ours is lower", "ours is higher", "no number of ours"]
    assert "slopes of their own" in rows["reason"][1]
    text = protocol_ledger.markdown(table)
    assert "4 numbers: 1 recomputed, 0 statistically reproduced, 1 ours is lower, 1 ours is higher." in text
    assert "| pca_d=1 | v1, n = 1 | 7.32 | 7.32 | +0.00 | recomputed | A |" in text
