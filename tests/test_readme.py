"""README's example runs, and prints what README shows."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def _numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def test_the_example_prints_the_summary_that_readme_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(_blocks("python")[0], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    shown = next(block for block in _blocks("") if "Latent skill scaling model" in block)
    keep = slice(shown.index("Loadings"), shown.index("[1] "))
    ours = printed[printed.index("Loadings") : printed.index("[1] ")]
    shown_numbers, our_numbers = _numbers(shown[keep]), _numbers(ours)
    assert len(shown_numbers) == len(our_numbers) > 200
    # the optimum is found to a thousandth of a standard error; other processors may round elsewhere
    for a, b in zip(shown_numbers, our_numbers, strict=True):
        assert a == pytest.approx(b, rel=2e-3, abs=2e-3)
    assert (tmp_path / "fit.lscale").exists()
