"""``latentscale plan``: what compute_optimal says, in the terminal, in a file and in a picture."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import latentscale as ls
from latentscale.cli import app


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A saved fit: one skill, twenty families of four LLMs."""
    table = worlds.simulated(
        20, 4, np.ones((3, 1)), [[0.5], [0.4]], intercepts=-1.5, precision=60.0, lower=0.25,
        benchmarks=["mmlu", "arc", "bbh"], family="f{}", seed=4,
    )  # fmt: skip
    panel = ls.BenchmarkPanel(table, benchmarks=["mmlu", "arc", "bbh"])
    fit = ls.LatentSkillModel(panel, skills=ls.Anchored({"skill": "mmlu"})).fit(integration="laplace", starts=1)
    out = tmp_path_factory.mktemp("run")
    fit.save(out / "fit.lscale")
    return out


@pytest.fixture
def plan(run_folder):
    runner = CliRunner(env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"})

    def run(*arguments, code=0):
        result = runner.invoke(app, ["plan", str(run_folder), *map(str, arguments)])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_table_file_and_picture(run_folder, plan, tmp_path):
    out, picture = tmp_path / "plan.csv", tmp_path / "plan.png"
    asked = ("--flops", "1e22,1e23", "--target", "mmlu=0.5,arc=0.5", "--family", "f3", "--interval", "delta")
    shown = plan(*asked, "--max-tokens", 8, "--out", out, "--plot", picture).stdout
    fit = ls.load(run_folder / "fit.lscale")
    options = {"family": "f3", "interval": "delta", "tokens_bounds": (None, 8.0)}
    expected = ls.compute_optimal(fit, [1e22, 1e23], {"mmlu": 0.5, "arc": 0.5}, **options)
    assert shown.strip() == str(expected).strip()
    written = pd.read_csv(out)
    assert_allclose(written["size"], expected.table["size"].to_numpy(), rtol=1e-9)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--flops", "much", "--target", "mmlu"), "--flops takes numbers such as 1e21,1e22; got 'much'"),
        (("--flops", "1e22", "--target", "mmlu=much"), "--target: weights are numbers"),
        (("--flops", "1e22", "--target", "chess"), "chess"),
        (("--flops", "1e22", "--target", "mmlu", "--covariates", "x"), "--covariates takes name=value pairs"),
        (("--flops", "1e22", "--target", "mmlu", "--plot", "x.doc"), "--plot writes .png, .pdf or .svg, not x.doc"),
        (("--flops", "1", "--target", "mmlu"), "FLOPs"),
    ],
)
def test_errors_are_messages(plan, arguments, message):
    assert message in " ".join(plan(*arguments, "--interval", "none", code=2).output.split())
