"""``latentscale crossvalidate`` on the shipped table."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import latentscale as ls
from latentscale.cli import app


@pytest.fixture
def run():
    runner = CliRunner(env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"})

    def call(*arguments, code=0):
        result = runner.invoke(app, ["crossvalidate", *(str(argument) for argument in arguments)])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture
def protocol(tmp_path):
    path = tmp_path / "protocol.json"
    groups = {"n_train=1": {"v1": [["opt"], ["llama-2", "llama-2-chat"]]}}
    path.write_text(json.dumps({"benchmark_sets": {"v1": ls.BENCHMARKS[:6]}, "test_family_groups": groups}))
    return path


def test_a_protocol_with_stored_numbers(run, protocol, tmp_path):
    scores, stored, out = tmp_path / "scores.csv", tmp_path / "stored.csv", tmp_path / "cv"
    ls.load_leaderboard().to_csv(scores, index=False)
    stored.write_text("benchmarks,n_train,method,mae_family_mean_pp,mae_pooled_pp\nv1,1,pca_d=1,7.25,7.5\n")
    options = ["--protocol", protocol, "--stored", stored, "--methods", "pca_d=1,pca_d=2", "--no-progress"]
    result = run(scores, *options, "--out", out, "--jobs", 2)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["v1", "n=1", "average"]
    assert "(7.25)" in lines[2]
    assert sorted(path.name for path in out.iterdir()) == ["errors.csv", "fits.csv", "mae.csv"]
    errors = pd.read_csv(out / "errors.csv")
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=ls.BENCHMARKS[:6])
    laws = {"pca_d=1": ls.Specification(ls.ComponentLaws, n_components=1)}
    expected = ls.leave_family_out(laws, panel, ["opt", ["llama-2", "llama-2-chat"]])
    assert f"{expected.mae().iloc[0]:.2f} (7.25)" in lines[2]
    assert len(errors) == 2 * len(expected.errors)
    again = run(scores, *options, "--out", out, code=2)
    assert "--force" in again.stderr


@pytest.mark.slow
def test_the_shipped_table(run):
    result = run("--methods", "pca_d=1", "--no-progress")
    head = " ".join(result.stdout.splitlines()[0].split())
    assert head == "v1 n=1 v1 n=2 v2 n=1 v2 n=2 all n=1 all n=2 average"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "pcr"], "No method is called 'pcr'"),
        (["--protocol", "absent.json"], "No such file or directory: absent.json"),
        (["--stored", "absent.csv"], "No such file or directory: absent.csv"),
        (["absent.csv"], "No such file or directory: absent.csv"),
    ],
)
def test_mistakes_are_told(run, arguments, message):
    assert message in run(*arguments, "--no-progress", code=2).stderr
