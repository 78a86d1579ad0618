"""``latentscale report``, and the report that the demo writes."""

import pytest
import worlds
from typer.testing import CliRunner

import latentscale as ls
from latentscale.cli import app
from latentscale.cli.files import FILES, REPORT_FILE
from latentscale.model import LatentSkillModel

pytestmark = pytest.mark.filterwarnings("ignore::latentscale.errors.BoundaryWarning")


@pytest.fixture(scope="module")
def panel():
    table = worlds.simulated(
        16, 3, [[1.0], [0.7], [1.3]], [[0.5]], {"params_b": (0.0, 5.0)}, intercepts=-1.5, precision=60.0,
        benchmarks=["arc", "bbh", "gpqa"], model="llm {}", family="[red]{}",
    ).round(4)  # fmt: skip
    return ls.BenchmarkPanel(table, ["arc", "bbh", "gpqa"])


@pytest.fixture(scope="module")
def fit(panel):
    return LatentSkillModel(panel, "log(params_b)", 1).fit(integration="laplace", starts=1)


@pytest.fixture
def latentscale():
    runner = CliRunner(env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"})

    def run(*arguments, code=0):
        result = runner.invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.mark.slow
def test_report_of_a_run(latentscale, fit, tmp_path):
    fit.save(tmp_path / "fit.lscale")
    result = latentscale("report", tmp_path)
    page = (tmp_path / REPORT_FILE).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert result.stderr.strip() == f"Wrote {tmp_path / REPORT_FILE}"
    out = tmp_path / "other.html"
    more = ["--title", "Mine", "--question", "Why?", "--level", ".9"]
    latentscale("report", tmp_path / "fit.lscale", "--out", out, *more)
    other = out.read_text(encoding="utf-8")
    assert "<title>Mine</title>" in other
    assert "Why?" in other
    assert "Intervals at 90%" in other


def test_problems_are_told(latentscale, panel, tmp_path):
    assert latentscale("report", tmp_path / "nowhere", code=2).stderr.startswith("Error: There is no saved fit")
    sloth = ls.SlothModel(panel, "log(params_b)", n_skills=1).fit(starts=1)
    sloth.save(tmp_path / "fit.lscale")
    result = latentscale("report", tmp_path, code=2)
    assert "Reports are written of fits of LatentSkillModel" in result.stderr
    assert not (tmp_path / REPORT_FILE).exists()


def test_a_folder_for_the_report_must_exist(latentscale, fit, tmp_path):
    fit.save(tmp_path / "fit.lscale")
    result = latentscale("report", tmp_path, "--out", tmp_path / "no" / "report.html", code=2)
    assert "No such file or directory" in result.stderr


def test_the_demo_writes_a_report_and_a_later_fit_takes_it_away(latentscale, fit, panel, tmp_path, monkeypatch):
    monkeypatch.setattr(LatentSkillModel, "fit", lambda self, **options: fit)
    out = tmp_path / "demo"
    result = latentscale("demo", "--out", out)
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, REPORT_FILE])
    assert REPORT_FILE in result.stderr
    panel.to_frame().to_csv(tmp_path / "scores.csv", index=False)
    options = ["--benchmarks", "arc,bbh,gpqa", "--skills", "1", "--scaling", "log(params_b)", "--out", out, "--force"]
    latentscale("fit", tmp_path / "scores.csv", *options)
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)


def test_help_has_an_example(latentscale):
    text = latentscale("report", "--help").stdout
    assert "latentscale report run/" in text
    assert "Example" in text
