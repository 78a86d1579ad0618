"""The command line writes what it promises, or says in one message why not."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import worlds
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import latentscale as ls
from latentscale.cli import app
from latentscale.cli.files import FILES
from latentscale.estimation.estimate import FitInterrupted
from latentscale.model import LatentSkillModel

BENCHMARKS = ["mmlu", "arc", "gsm8k"]
QUICK = ["--integration", "laplace", "--starts", "1", "--no-progress"]


@pytest.fixture(scope="module")
def scores():
    """Sixteen families of three LLMs, one skill; a name that rich would take for markup."""
    table = worlds.simulated(
        16, 3, [[1.0], [0.7], [1.3]], [[0.5], [0.3]], {"params_b": (0.0, 5.0), "tokens_t": (-1.0, 2.0)},
        intercepts=-1.5, precision=60.0, lower=0.25, benchmarks=BENCHMARKS, model="llm-{}", family="family {}",
    ).round(6)  # fmt: skip
    table.loc[47, "model"] = "[red]x"
    return table


@pytest.fixture(scope="module")
def csv(scores, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "scores.csv"
    scores.to_csv(path, index=False)
    return path


@pytest.fixture
def latentscale():
    """Run the command line in this process; colours off, so that messages can be compared."""
    runner = CliRunner(env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"})

    def run(*arguments, code=0):
        result = runner.invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


def fit_arguments(csv, out, *more):
    return ["fit", csv, "--benchmarks", "mmlu,arc,gsm8k", "--skills", "1", "--out", out, *QUICK, *more]


@pytest.fixture(scope="module")
def run_folder(csv, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "deep" / "run"
    arguments = [str(argument) for argument in fit_arguments(csv, out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return out


class TestFit:
    def test_the_files_are_those_of_the_fit(self, run_folder, scores):
        assert sorted(path.name for path in run_folder.iterdir()) == sorted(FILES)
        model = ls.LatentSkillModel(ls.BenchmarkPanel(scores, BENCHMARKS), skills=1)
        fit = model.fit(integration="laplace", starts=1)
        parameters = pd.read_csv(run_folder / "parameters.csv", index_col="parameter")
        assert list(parameters.index) == model.param_names
        # a round trip through decimals loses nothing; the fit is the same computation
        assert_allclose(parameters.to_numpy(), fit.parameter_table().to_numpy(), rtol=1e-12)
        predictions = pd.read_csv(run_folder / "predictions.csv", index_col="model")
        assert list(predictions.index) == list(scores["model"])
        assert_allclose(predictions.to_numpy(), fit.predict().to_numpy(), rtol=1e-12)
        assert "mmlu" in (run_folder / "summary.txt").read_text(encoding="utf-8")
        assert_allclose(ls.load(run_folder / "fit.lscale").params, fit.params, rtol=1e-12)

    def test_nothing_else_is_left_beside_the_folder(self, run_folder):
        assert [path.name for path in run_folder.parent.iterdir()] == ["run"]

    def test_the_summary_is_printed(self, latentscale, csv, tmp_path):
        result = latentscale(*fit_arguments(csv, tmp_path / "run"))
        assert result.stdout == (tmp_path / "run" / "summary.txt").read_text(encoding="utf-8")
        assert "Wrote summary.txt" in result.stderr

    def test_options_reach_the_model(self, latentscale, csv, tmp_path, monkeypatch):
        seen = {}

        def stop(self, **options):
            seen.update(options, model=self)
            raise ls.DataError("enough")

        monkeypatch.setattr(LatentSkillModel, "fit", stop)
        more = ["--skills", "a=mmlu,b=gsm8k", "--scaling", "log(params_b)", "--asymptotes", "both"]
        more += ["--boundary", "censor", "--chance", "mmlu=.1,arc=0.2", "--points", "7", "--draws", "32"]
        more += ["--integration", "quadrature", "--seed", "5", "--jobs", "2", "--starts", "4", "--progress"]
        latentscale(*fit_arguments(csv, tmp_path / "run", *more), code=2)
        model = seen.pop("model")
        assert model.skills == ("a", "b")
        assert model.pattern.kind == "anchored"
        assert model.terms == ("log(params_b)",)
        assert model.asymptotes == "both"
        assert model.panel.boundary == "censor"
        assert model.panel.chance.to_dict() == {"mmlu": 0.1, "arc": 0.2, "gsm8k": 0.0}
        expected = {"integration": "quadrature", "starts": 4, "seed": 5, "n_jobs": 2, "progress": True}
        assert seen == expected | {"points": 7, "draws": 32}

    def test_links_shrinkage_and_outliers_reach_the_saved_fit(self, latentscale, csv, tmp_path):
        more = ["--link", "monotone", "--shrink-effects", "0.7", "--shrink-slopes", "2", "--outliers", ".05"]
        result = latentscale(*fit_arguments(csv, tmp_path / "run", *more))
        model = ls.load(tmp_path / "run" / "fit.lscale").model
        assert (model.link, model.shrink_effects, model.shrink_slopes, model.outliers) == ("monotone", 0.7, 2.0, 0.05)
        for words in ("Link:", "monotone, s.d. 0.5", "effects 0.7, slopes 2", "0.05 of the scores"):
            assert words in result.stdout, words
        result = latentscale(*fit_arguments(csv, tmp_path / "other", "--outliers", "0.5"), code=2)
        assert "outliers is a share" in result.stderr
        latentscale(*fit_arguments(csv, tmp_path / "other", "--link", "cubic"), code=2)

    def test_echelon_long_and_families_of_two_columns(self, latentscale, scores, tmp_path, monkeypatch):
        seen = {}

        def stop(self, **options):
            seen["model"] = self
            raise ls.DataError("enough")

        monkeypatch.setattr(LatentSkillModel, "fit", stop)
        table = scores.assign(chat=np.tile([True, False, False], 16))
        roles = ["model", "family", "chat", "params_b", "tokens_t"]
        table = table.melt(roles, BENCHMARKS, var_name="test", value_name="value")
        table.to_csv(tmp_path / "long.csv", index=False)
        more = ["--long", "--benchmark-column", "test", "--score-column", "value", "--family", "family,chat"]
        more += ["--skills", "echelon:arc,mmlu", "--out", tmp_path / "run"]
        latentscale("fit", tmp_path / "long.csv", *more, code=2)
        model = seen["model"]
        assert model.benchmarks == ("mmlu", "arc", "gsm8k")
        assert model.n_families == 32
        assert model.pattern.kind == "echelon"
        assert model.pattern.positive == ((1,), (0,))

    def test_parquet(self, latentscale, scores, tmp_path):
        pl.DataFrame(scores.to_dict("list")).write_parquet(tmp_path / "scores.parquet")
        latentscale(*fit_arguments(tmp_path / "scores.parquet", tmp_path / "run"))
        assert (tmp_path / "run" / "fit.lscale").is_file()


class TestFolder:
    def test_a_folder_with_files_is_refused_without_force(self, latentscale, csv, tmp_path):
        out = tmp_path / "run"
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        (out / "summary.txt").write_text("old")
        result = latentscale(*fit_arguments(csv, out), code=2)
        assert "not empty" in result.stderr
        assert "--force" in result.stderr
        latentscale(*fit_arguments(csv, out, "--force"))
        assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "notes.txt"])
        assert (out / "notes.txt").read_text() == "mine"
        assert (out / "summary.txt").read_text() != "old"

    def test_an_empty_folder_is_used(self, latentscale, csv, tmp_path):
        (tmp_path / "run").mkdir()
        latentscale(*fit_arguments(csv, tmp_path / "run"))
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(FILES)

    def test_a_file_is_refused(self, latentscale, csv, tmp_path):
        (tmp_path / "run").write_text("")
        assert "is a file" in latentscale(*fit_arguments(csv, tmp_path / "run"), code=2).stderr

    def test_a_fit_that_cannot_be_written_leaves_nothing(self, latentscale, csv, tmp_path, monkeypatch):
        def fail(self, path):
            path.write_text("half")
            raise OSError(28, "No space left on device", str(path))

        monkeypatch.setattr("latentscale.results.latent_skill.LatentSkillResults.save", fail)
        result = latentscale(*fit_arguments(csv, tmp_path / "run"), code=2)
        assert "No space left on device" in result.stderr
        assert list(tmp_path.iterdir()) == []


class TestMessages:
    @pytest.mark.parametrize(
        ("more", "fragment"),
        [
            (["--benchmarks", "mmlu,bbh"], "'bbh'"),
            (["--benchmarks", ""], "no benchmarks"),
            (["--family", "brand"], "'brand'"),
            (["--llm", "name"], "'name'"),
            (["--skills", "a=bbh"], "bbh"),
            (["--skills", "a=mmlu,b"], "'b' is not one"),
            (["--skills", "a=mmlu,a=arc"], "'a' twice"),
            (["--skills", "4"], "4 skills but only 3"),
            (["--skills", "0"], "at least one skill"),
            (["--skills", "-1"], "at least one skill"),
            (["--skills", "echelon:"], "at least one skill"),
            (["--skills", ""], "at least one skill"),
            (["--scaling", "__import__('os').system('true')"], "scaling formula"),
            (["--scaling", "log(params)"], "params"),
            (["--chance", "mmlu=much"], "not a number"),
            (["--chance", "mmlu=1.5"], "1.5"),
            (["--chance", "[bold]=.5"], "[bold]"),
            (["--draws", "33"], "power of two"),
            (["--long"], "benchmark"),
        ],
    )
    def test_errors_are_one_message(self, latentscale, csv, tmp_path, more, fragment):
        result = latentscale(*fit_arguments(csv, tmp_path / "run", *more), code=2)
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert fragment in result.stderr
        assert result.stdout == ""
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("name", "content", "fragment"),
        [
            ("absent.csv", None, "No such file"),
            ("empty.csv", b"", "cannot be read as CSV"),
            ("binary.csv", bytes(range(128, 256)), "cannot be read as CSV"),
            ("header.csv", b"model,family,mmlu\n", "empty"),
            ("text.parquet", b"model,family\n", "cannot be read as parquet"),
            ("absent.parquet", None, "No such file"),
        ],
    )
    def test_files_that_cannot_be_read(self, latentscale, tmp_path, name, content, fragment):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        result = latentscale(*fit_arguments(tmp_path / name, tmp_path / "run"), code=2)
        assert result.stderr.startswith("Error: ")
        assert fragment in result.stderr

    def test_text_of_the_user_is_no_markup(self, latentscale, csv, scores, tmp_path):
        scores.assign(params_b=scores["params_b"].where(scores["model"] != "[red]x", 0.0)).to_csv(
            tmp_path / "bad.csv", index=False
        )
        result = latentscale(*fit_arguments(tmp_path / "bad.csv", tmp_path / "run"), code=2)
        assert "[red]x" in result.stderr

    @pytest.mark.parametrize("category", [ls.ConvergenceWarning, ls.BoundaryWarning, UserWarning])
    def test_warnings_are_shown(self, latentscale, csv, tmp_path, monkeypatch, category):
        fit = LatentSkillModel.fit

        def fit_and_warn(self, **options):
            for _ in range(2):
                warnings.warn("loading[mmlu,[red]] looks odd", category, stacklevel=1)
            return fit(self, **options)

        monkeypatch.setattr(LatentSkillModel, "fit", fit_and_warn)
        result = latentscale(*fit_arguments(csv, tmp_path / "run"))
        assert f"{category.__name__}: loading[mmlu,[red]] looks odd" in result.stderr
        assert (tmp_path / "run").is_dir()

    @pytest.mark.parametrize("kind", ["early", "late", "plain"])
    def test_interruption(self, latentscale, csv, tmp_path, monkeypatch, kind):
        params = pd.Series([1.5, -2.0], index=["loading[mmlu,skill1]", "intercept[mmlu]"])

        def stop(self, **options):
            if kind == "plain":
                raise KeyboardInterrupt
            raise FitInterrupted(params if kind == "late" else None, -12.5, "the search")

        monkeypatch.setattr(LatentSkillModel, "fit", stop)
        result = latentscale(*fit_arguments(csv, tmp_path / "run"), code=130)
        assert result.stderr.startswith("Interrupted.")
        assert "Nothing was written" in result.stderr
        if kind == "late":
            assert "-12.500" in result.stderr
            assert result.stdout.splitlines() == [
                "parameter,estimate", '"loading[mmlu,skill1]",1.5', "intercept[mmlu],-2.0"
            ]  # fmt: skip
        else:
            assert result.stdout == ""
        assert list(tmp_path.iterdir()) == []


class TestPredict:
    @pytest.fixture
    def new(self, tmp_path):
        table = pd.DataFrame(
            {
                "model": ["[bold]new", "other"],
                "family": ["family 3", "never seen"],
                "params_b": [70.0, 8.0],
                "tokens_t": [15.0, 2.0],
            }
        )
        table.to_csv(tmp_path / "new.csv", index=False)
        return table

    def test_table(self, latentscale, run_folder, new, tmp_path):
        lines = latentscale("predict", run_folder, tmp_path / "new.csv").stdout.splitlines()
        assert lines[0].split() == ["model", *BENCHMARKS]
        expected = ls.load(run_folder / "fit.lscale").predict(new)
        for line, (name, row) in zip(lines[1:], expected.iterrows(), strict=True):
            assert line.split() == [name, *(f"{value:.4f}" for value in row)]

    def test_file(self, latentscale, run_folder, new, tmp_path):
        out = tmp_path / "predicted.csv"
        assert latentscale("predict", run_folder, tmp_path / "new.csv", "--out", out).stdout == ""
        predicted = pd.read_csv(out, index_col="model")
        expected = ls.load(run_folder / "fit.lscale").predict(new)
        pd.testing.assert_frame_equal(predicted, expected, check_index_type=False, check_dtype=False)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "predicted.csv"]

    @pytest.mark.parametrize(
        ("columns", "fragment"), [(["model", "params_b", "tokens_t"], "family"), (["model", "family"], "params_b")]
    )
    def test_absent_columns(self, latentscale, run_folder, new, tmp_path, columns, fragment):
        new[columns].to_csv(tmp_path / "new.csv", index=False)
        result = latentscale("predict", run_folder, tmp_path / "new.csv", code=2)
        assert result.stderr.startswith("Error: ")
        assert fragment in result.stderr

    def test_no_run(self, latentscale, new, tmp_path):
        result = latentscale("predict", tmp_path / "nowhere", tmp_path / "new.csv", code=2)
        assert result.stderr.startswith("Error: ")
        assert "nowhere" in result.stderr

    def test_a_file_that_is_no_fit(self, latentscale, new, tmp_path):
        (tmp_path / "fit.lscale").write_text(json.dumps({"format": "other"}))
        assert latentscale("predict", tmp_path, tmp_path / "new.csv", code=2).stderr.startswith("Error: ")


def test_demo(latentscale, tmp_path, monkeypatch):
    """The options alone: the fit itself takes a minute."""
    seen = {}

    def stop(self, **options):
        seen.update(options, model=self)
        raise ls.DataError("enough")

    monkeypatch.setattr(LatentSkillModel, "fit", stop)
    latentscale("demo", "--out", tmp_path / "demo", "--starts", "3", "--integration", "laplace", code=2)
    model = seen.pop("model")
    assert model.skills == ("math", "instruction", "commonsense", "reasoning")
    assert (model.n_llms, model.n_families) == (184, 65)
    expected = {"integration": "laplace", "starts": 3, "seed": 0, "n_jobs": 1, "progress": True}
    assert seen == expected


@pytest.mark.parametrize("command", ["fit", "predict", "demo"])
def test_help_has_an_example(latentscale, command):
    help_text = latentscale(command, "--help").stdout
    assert f"latentscale {command} " in help_text
    assert "Example" in help_text


def test_version(latentscale):
    assert latentscale("--version").stdout == f"latentscale {ls.__version__}\n"


def test_the_installed_program(csv, tmp_path):
    program = [sys.executable, "-m", "latentscale"]
    arguments = [str(argument) for argument in fit_arguments(csv, tmp_path / "run")]
    result = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "summary.txt").read_text(encoding="utf-8") == result.stdout
    again = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert again.stderr.startswith("Error: ")
    assert again.stdout == ""
