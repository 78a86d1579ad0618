"""What README and the site only show, without output, runs: Python blocks in order, and command lines.

On a part of the shipped table, with quick fits. ``SMALLER`` names every number that is made smaller; nothing else is
changed. README's first block is run as it is by test_readme.py.
"""

import json
import re
import shlex
import shutil
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from typer.testing import CliRunner

import latentscale as ls
from latentscale.cli import app
from latentscale.datasets.repeated_sampling import load_repeated_sampling

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if not {"_build", "_generated"} & set(path.parts))
RUNS = ROOT / "tests" / "reference" / "lm_eval" / "runs"
# in README, or with many LLMs
NAMED = (
    "qwen2", "qwen2-instruct", "yi", "bloom", "pythia-deduped", "opt", "rwkv", "qwen1.5", "llama", "llama-2",
)  # fmt: skip
FAMILIES, FEW = 26, 6
SMALLER = {
    '"parametric", 400, n_jobs=2': '"parametric", 12',
    '"parametric", 400, store=': '"parametric", 4, store=',
    "panel, range(1, 7)": "few_families, range(1, 3), starts=1, folds=2",
    "BenchmarkPanel(scores), range(1, 7)": "BenchmarkPanel(scores), range(1, 3), starts=1, folds=2",
    ", n_jobs=2, progress=True": "",
    "panel, n_train=1, n_jobs=2": "few_families, n_train=1",
    "ls.leave_family_out(ls.calibrated_specification(), panel)": "ls.leave_family_out(quick, few_families)",
    "ls.default_specification()": "quick",
    "fit = model.fit()": "fit = model.fit(integration='laplace', starts=1)",
}
METHODS = ("pca_*,latent_skill", "pca_*")  # the other is fitted by test_cli_crossvalidate.py
QUICK = ["--integration", "laplace", "--starts", "1", "--no-progress"]


class QuickModel(ls.LatentSkillModel):
    """Fits from one start by Laplace's approximation, unless told otherwise."""

    def fit(self, **options):
        return super().fit(**{"integration": "laplace", "starts": 1, **options})


def python_blocks():
    """Where, and code."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[1:], 2):
        yield pytest.param(code, id=f"README block {number}")
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for code in re.findall(r"```\{code-block\} python\n:class: partial\n(.*?)```", text, re.DOTALL):
            yield pytest.param(code, id=path.stem)


def command_lines():
    """Lines of fenced blocks that begin with the program's name, each once."""
    texts = [path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *PAGES]]
    fenced = [block for text in texts for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    lines = [line.strip() for block in fenced for line in block.splitlines() if line.startswith("latentscale ")]
    # a fresh copy of the project runs the demo (test_packaging.py)
    return [line for line in dict.fromkeys(lines) if line != "latentscale demo"]


@pytest.fixture(scope="module")
def scores():
    table = ls.load_leaderboard().dropna(subset=["params_b", "tokens_t"])
    counts = table.groupby("family").size().sort_values(ascending=False, kind="stable")
    families = list(dict.fromkeys([*NAMED, *counts.index]))[:FAMILIES]
    return table[table["family"].isin(families)].reset_index(drop=True)


@pytest.fixture(scope="module")
def prepared(scores):
    """The names that blocks continue from."""
    panel = ls.BenchmarkPanel(scores)
    anchors = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}
    model = QuickModel(panel, "log(params_b) * log(tokens_t)", skills=ls.Anchored(anchors))
    fit = model.fit()
    new_llms = scores[scores["family"].isin(["qwen2", "yi"])].head(5).reset_index(drop=True)
    new_llms.loc[0, ["mmlu", "bbh"]] = float("nan")
    few = scores[scores["family"].isin(NAMED[:FEW])]
    llms = scores.head(4)[["family", "params_b", "tokens_t"]].assign(maker=list("aabb"))
    counts = load_repeated_sampling()
    return {
        "ls": ls, "scores": scores, "panel": panel, "model": model, "fit": fit, "new_llms": new_llms,
        "smaller": model.fit(constraints="corr[math,instruction] = 0"),
        "any_matrix": fit.loadings,
        "counts": counts[counts["model"].isin(model.llms)],
        "llms": llms.assign(model=["alpha-1b", "alpha-7b", "beta-3b", "gamma-13b"]),
        "few_families": ls.BenchmarkPanel(few, benchmarks=ls.BENCHMARKS[:6]),
        "quick": ls.Specification(
            ls.LatentSkillModel, scaling="log(params_b)", skills=1, fit={"integration": "laplace", "starts": 1}
        ),
    }  # fmt: skip


def _write_runs(folder):
    """What the harness wrote, but for a task in which all LLMs of the fixture score zero: no panel takes that."""
    shutil.copytree(RUNS, folder)
    for number, path in enumerate(sorted(folder.rglob("results_*.json"))):
        run = json.loads(path.read_text(encoding="utf-8"))
        if "demo_sums" in run["results"]:
            run["results"]["demo_sums"]["exact_match,strict-match"] = 0.1 * (1 + number)
        path.write_text(json.dumps(run), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("code", list(python_blocks()))
def test_python_blocks_run(code, prepared, scores, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("out", "results"):
        _write_runs(tmp_path / folder)
    scores.to_csv("scores.csv", index=False)
    for shown, run in SMALLER.items():
        code = code.replace(shown, run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few families: its warnings are due
        exec(compile(code, "shown", "exec"), dict(prepared))
    plt.close("all")


def test_numbers_that_are_made_smaller_are_shown():
    shown = "\n".join(block.values[0] for block in python_blocks())
    assert not [number for number in SMALLER if number not in shown]


@pytest.mark.slow
def test_command_lines_run(scores, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"NO_COLOR": "1", "TERM": "dumb"})
    lines = command_lines()
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line)[1:]
        words = [word.replace(*METHODS) for word in words]
        table = scores.assign(**{"pass@1, mean": scores["mmlu"]})  # a name between quotes
        table.rename(columns={"model": "name"} if "--llm" in words else {}).to_csv("scores.csv", index=False)
        scores.head(5).to_csv("new_llms.csv", index=False)
        result = runner.invoke(app, [*words, *(QUICK if words[0] == "fit" else [])])
        assert result.exit_code == 0, f"{line}\n{result.output}"
    for name in ("run/summary.txt", "run/report.html", "plan.png", "quick/fit.lscale", "cv"):
        assert (tmp_path / name).exists(), name
