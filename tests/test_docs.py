"""The site's Python blocks run and print what they show; its commands parse; names and links exist."""

import ast
import importlib.util
import inspect
import re
import shlex
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import typer

import latentscale as ls
from latentscale.cli.app import app
from latentscale.results.latent_skill import LatentSkillResults
from latentscale.sloth.results import SlothResults
from latentscale.validation.leave_family_out import LeaveFamilyOut

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Blocks that are shown and not run, page by page: a new one must be counted here.
PARTIAL = {
    "index": 1, "read_scores": 1, "number_of_skills": 1, "intervals": 1, "robust": 1, "report": 1, "cluster": 1,
}  # fmt: skip


def _module(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages, generate = _module("pages"), _module("generate")
WRITTEN = sorted(path for path in DOCS.rglob("*.md") if not {"_build", "_generated"} & set(path.parts))
RUN = pages.pages_that_run()
# Warnings that a page's blocks give, and explains.
WARNS = {"robust": "rest on them alone"}
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


def _assert_prints(printed, shown, where):
    """Words must be the same; numbers may round elsewhere on other processors, small ones by a unit of their digits."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split(), where
    ours, theirs = (np.array([float(x) for x in NUMBER.findall(text)]) for text in (printed, shown))
    np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=0.011, err_msg=where)


@pytest.fixture(scope="module")
def prepared():
    return pages.prepare()


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_blocks_run_and_print_what_the_page_shows(page, prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert pages.count_partial(text) == PARTIAL.get(page.stem, 0)
    namespace = {"__name__": "page"} if page == pages.FIRST_FIT else dict(prepared)
    for block in pages.blocks(text):
        where = f"{page.name}:{block.line}"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("error", RuntimeWarning)
            printed = pages.run_block(block, namespace, page)
        for warning in caught:
            assert page.stem in WARNS, f"{where} warns: {warning.message}"
            assert WARNS[page.stem] in str(warning.message), where
        if block.shown is None:
            assert printed == "", f"{where} prints something that the page does not show; run python docs/pages.py"
        else:
            _assert_prints(printed, block.shown, where)


def test_no_other_page_has_blocks_that_nobody_runs():
    for path in set(WRITTEN) - set(RUN) - {pages.PREAMBLE}:
        text = path.read_text(encoding="utf-8")
        assert not pages.blocks(text), path
        assert pages.count_partial(text) == (PARTIAL["index"] if path == DOCS / "index.md" else 0), path


# --- calls in blocks that are not run ---------------------------------------------------------------------------------

OWNERS = {
    "ls": ls,
    "fit": LatentSkillResults,
    "model": ls.LatentSkillModel,
    "cv": LeaveFamilyOut,
    "sloth": SlothResults,
    "panel": ls.BenchmarkPanel,
}


def _shown_code():
    """Blocks that are not run here: README's, and partial ones."""
    kinds = [(ROOT / "README.md", r"```python\n(.*?)```")]
    kinds += [(path, r"```\{code-block\} python\n:class: partial\n(.*?)```") for path in WRITTEN]
    for path, pattern in kinds:
        for n, code in enumerate(re.findall(pattern, path.read_text(encoding="utf-8"), re.DOTALL)):
            yield f"{path.stem} {n}", code


def _check_calls(code, where):
    """Check that methods exist and take the arguments that calls give them; return the number of calls seen."""
    seen = 0
    for call in (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)):
        function = call.func
        if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
            continue
        owner = OWNERS.get(function.value.id)
        if owner is None:
            continue
        assert hasattr(owner, function.attr), f"{where}: {ast.unparse(function)} does not exist"
        member = getattr(owner, function.attr)
        bound = not inspect.isclass(owner) or isinstance(inspect.getattr_static(owner, function.attr), classmethod)
        arguments = [None] * (len(call.args) + (not bound))
        try:
            inspect.signature(member).bind(*arguments, **{word.arg: None for word in call.keywords if word.arg})
        except TypeError as error:
            raise AssertionError(f"{where}: {ast.unparse(call)}: {error}") from error
        seen += 1
    return seen


@pytest.mark.parametrize(("where", "code"), [pytest.param(*shown, id=shown[0]) for shown in _shown_code()])
def test_calls_that_are_only_shown_exist(where, code):
    _check_calls(code, where)


def test_the_check_of_calls_can_fail():
    assert sum(_check_calls(code, where) for where, code in _shown_code()) > 30
    with pytest.raises(AssertionError, match="does not exist"):
        _check_calls("fit.tset()", "here")
    with pytest.raises(AssertionError, match="colour"):
        _check_calls("fit.plot_loadings(colour=1)", "here")


# --- command lines ----------------------------------------------------------------------------------------------------


def _command_lines():
    for path in [ROOT / "README.md", *WRITTEN]:
        text = path.read_text(encoding="utf-8")
        inline = re.findall(r"`(latentscale [a-z][^`\n]*)`", text)
        fenced = [line.strip() for block in FENCE.findall(text) for line in block.splitlines()]
        for line in [*inline, *(line for line in fenced if line.startswith("latentscale "))]:
            yield pytest.param(line, id=f"{path.name}: {line}")


@pytest.mark.parametrize("line", list(_command_lines()))
def test_commands_parse(line):
    words = shlex.split(line)[1:]
    if words[0].startswith("..."):
        return
    command = typer.main.get_command(app).commands[words[0]]
    if len(words) == 1 and any(parameter.required for parameter in command.params):
        return  # a mention of the command's name
    if "--help" in words:
        return
    command.make_context(words[0], words[1:])


def test_the_check_of_commands_can_fail():
    fit = typer.main.get_command(app).commands["fit"]
    with pytest.raises(Exception, match="No such option: --wrong"):
        fit.make_context("fit", ["scores.csv", "--out", "run", "--wrong"])


# --- reference and links ----------------------------------------------------------------------------------------------


def _reference():
    return "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))


def test_every_public_name_is_in_the_reference():
    documented = set(re.findall(r"\.\. (?:auto\w+|py:data):: latentscale\.(\w+)$", _reference(), re.MULTILINE))
    assert set(ls.__all__) - documented == set()


def test_every_method_of_results_is_in_the_reference():
    page = generate.results_page()
    public = {name for name, member in inspect.getmembers(LatentSkillResults) if not name.startswith("_")}
    documented = set(re.findall(r"\.\. auto(?:method|property):: \S+\.(\w+)$", page, re.MULTILINE))
    assert public - documented == set()
    parts = {part.__name__ for part in LatentSkillResults.__mro__ if part is not object}
    assert parts - set(generate.GROUPS) == set()


def test_the_page_of_the_command_line_has_every_command():
    page = generate.command_line_page()
    for name in ("fit", "predict", "plan", "crossvalidate", "report", "demo"):
        assert f"## latentscale {name}\n" in page
    assert "--skills" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(DOCS)))
def test_internal_links_resolve(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", FENCE.sub("", text)):
        if "://" not in target and "_generated" not in target:
            assert (path.parent / target).is_file(), target
    for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
        for entry in block.split():
            if not entry.startswith((":", "../_generated")) and not entry.isdigit():
                assert (path.parent / f"{entry}.md").is_file(), entry


def test_vignettes_are_copied_and_old_copies_go(tmp_path):
    frozen, target = tmp_path / "frozen", tmp_path / "copies"
    generate.copy_vignettes(frozen, target)
    assert "No executed vignette" in (target / "index.md").read_text(encoding="utf-8")
    frozen.mkdir()
    for name in ("01_a", "02_b"):
        (frozen / f"{name}.ipynb").write_text('{"cells": []}', encoding="utf-8")
    generate.copy_vignettes(frozen, target)
    (frozen / "01_a.ipynb").unlink()
    generate.copy_vignettes(frozen, target)
    assert [path.name for path in sorted(target.iterdir())] == ["02_b.ipynb", "index.md"]
    assert "02_b" in (target / "index.md").read_text(encoding="utf-8")


def test_links_between_vignettes_lead_to_their_pages():
    text = "![plot](a.png) [b](02_b.md) [c](03_c.md#x) [d](https://d.org/02_b.md)"
    assert generate.site_links(text, {"02_b"}) == "![plot](a.png) [b](02_b.ipynb) c [d](https://d.org/02_b.md)"


def test_frozen_vignettes_have_titles_and_outputs():
    for path in sorted((ROOT / "vignettes" / "frozen").glob("*.ipynb")):
        assert generate.title(path) != path.stem, f"{path.name} has no first heading"
