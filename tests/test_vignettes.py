"""Frozen vignettes belong to their sources and hold outputs; the quick ones are executed and print the same."""

import importlib.util
import re
import sys
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "vignettes"


def _load_refresh():
    spec = importlib.util.spec_from_file_location("vignettes_refresh", FOLDER / "refresh.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


refresh = _load_refresh()
NAMES = refresh.names()
QUICK = [name for name in NAMES if not refresh.is_slow(refresh.read_source(name))]
MACHINE_PATHS = re.compile(r"/(?:home|root|tmp|work|Users|usr|opt|var)/\w")
# kilobytes of one frozen copy: it must stay easy to diff, to load and to clone
LARGEST = 400
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)|(?<![\w.])-?\.\d+(?:e[-+]?\d+)?(?!\w)")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    """What a cell printed to stdout or left as its value, as plain text."""
    texts = [o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout"]
    texts += [o.data["text/plain"] for o in cell.outputs if "text/plain" in o.get("data", {})]
    return "\n".join(texts)


def split(text):
    """Words with a mark for each number, and the numbers as they are written."""
    numbers = NUMBER.findall(text)
    words = re.sub(r"[-=_\u2500-\u257f]{2,}", " ", NUMBER.sub("#", text))
    return re.sub(r"0x[0-9a-f]+|\s+", " ", words).strip(), numbers


def close(first, second):
    """Whether two written numbers agree to about three digits, or to the last digit that both show."""
    a, b = (float(number.replace(",", "")) for number in (first, second))
    shown = [len(number.partition("e")[0].partition(".")[2]) for number in (first, second) if "e" not in number]
    last_digit = 10.0 ** -min(shown) if shown and min(shown) else 0.0
    return abs(a - b) <= 5e-3 * max(abs(a), abs(b)) + max(1.5 * last_digit, 1e-3)


def differences(ours, theirs):
    """Describe what two printed texts disagree in; empty if nothing."""
    our_words, our_numbers = split(ours)
    their_words, their_numbers = split(theirs)
    if our_words != their_words:
        return f"words differ:\n{our_words}\n--- frozen:\n{their_words}"
    apart = [pair for pair in zip(our_numbers, their_numbers, strict=True) if not close(*pair)]
    return f"numbers differ, executed against frozen: {apart}" if apart else ""


def test_there_are_vignettes_and_the_list_of_them_is_whole():
    listed = re.findall(r"\]\((\d\w+)\.md\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == NAMES
    assert {path.stem for path in refresh.FROZEN.glob("*.ipynb")} <= set(NAMES), "a frozen copy without a source"
    assert QUICK, "no vignette is executed by the tests"


@pytest.mark.parametrize("name", NAMES)
def test_frozen_copy_belongs_to_its_source(name):
    assert refresh.frozen_path(name).exists(), f"python vignettes/refresh.py {name}"
    source, frozen = refresh.read_source(name), refresh.read_frozen(name)
    hint = f"python vignettes/refresh.py {name}"
    assert [(c.cell_type, c.source) for c in frozen.cells] == [(c.cell_type, c.source) for c in source.cells], hint
    assert refresh.is_current(name), hint


@pytest.mark.parametrize("name", NAMES)
def test_frozen_copy_is_whole(name):
    nbformat.validate(frozen := refresh.read_frozen(name))
    assert refresh.frozen_path(name).stat().st_size < LARGEST * 1000
    cells = code_cells(frozen)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2, "few cells show anything"
    assert not [output for output in outputs if output.output_type == "error"]
    text = "\n".join(str(o.get("text", "")) + "".join(v for v in o.get("data", {}).values() if isinstance(v, str)
                     and not v.startswith("iVBOR")) for o in outputs)  # fmt: skip
    assert "Traceback" not in text
    assert not MACHINE_PATHS.search(text), MACHINE_PATHS.search(text)


@pytest.mark.parametrize("name", NAMES)
def test_cells_leave_what_they_should(name):
    # A cell whose last statement is an expression shows its value, unless a semicolon says otherwise.
    for cell in code_cells(refresh.read_frozen(name)):
        last = cell.source.rstrip().rpartition("\n")[2]
        if last.startswith(("print(", "fit.plot_")):
            assert cell.outputs, f"{name}: nothing is left of\n{cell.source}"


@pytest.mark.parametrize("name", NAMES)
def test_front_matter_says_whether_the_vignette_is_slow(name):
    metadata = refresh.read_source(name).metadata
    assert isinstance(metadata["vignette"]["slow"], bool)
    assert metadata["kernelspec"]["name"] == "python3"


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_quick_vignette_prints_what_is_frozen(name):
    executed = code_cells(refresh.execute(refresh.read_source(name)))
    frozen = code_cells(refresh.read_frozen(name))
    for ours, theirs in zip(executed, frozen, strict=True):
        assert not (found := differences(printed(ours), printed(theirs))), f"{ours.source}\n{found}"
        images = [sum("image/png" in o.get("data", {}) for o in cell.outputs) for cell in (ours, theirs)]
        assert images[0] == images[1], ours.source


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("llf 2943.87", "llf  2943.86", True),
        ("llf 2943.87", "llf 2903.87", False),
        ("slope .374 (.079)", "slope .375 (.079)", True),
        ("slope .374 (.079)", "slope .394 (.079)", False),
        ("slope 0.3742", "slope -0.3742", False),
        ("12 skills", "13 skills", False),
        ("a\n-----\n1.0", "a\n-------\n1.0", True),
        ("2.1e-04 s.e.", "8.0e-05 s.e.", True),
        ("yes", "no", False),
        ("1 2", "1", False),
    ],
)
def test_comparison_of_texts_is_loose_about_digits_only(ours, theirs, same):
    assert (not differences(ours, theirs)) == same


def _notebook(*cells):
    make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    return nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in cells])


def test_digest_sees_text_code_and_order():
    first, second = ("markdown", "Words."), ("code", "x = 1")
    base = refresh.digest(_notebook(first, second))
    assert refresh.digest(_notebook(first, second)) == base
    for other in [(second, first), (first, ("code", "x = 2")), (("markdown", "Word."), second), (first,)]:
        assert refresh.digest(_notebook(*other)) != base


def test_check_and_text_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(refresh, "HERE", tmp_path)
    monkeypatch.setattr(refresh, "FROZEN", tmp_path / "frozen")
    source = "---\nvignette:\n  slow: true\n---\n\n# Title\n\n```{code-cell}\n1 + 1\n```\n"
    (tmp_path / "01_sums.md").write_text(source)
    assert refresh.is_slow(refresh.read_source("01_sums"))
    assert refresh.main(["--check"]) == 1
    assert "STALE" in capsys.readouterr().out
    (tmp_path / "frozen").mkdir()
    frozen = refresh.tidied(refresh.read_source("01_sums"), refresh.digest(refresh.read_source("01_sums")), "/nowhere")
    frozen.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    nbformat.write(frozen, refresh.frozen_path("01_sums"))
    assert refresh.main(["--check", "01_sums.md"]) == 0

    (tmp_path / "01_sums.md").write_text(source.replace("# Title", "# Another title"))
    assert refresh.main(["--check"]) == 1
    assert refresh.main(["--text"]) == 0
    assert refresh.main(["--check"]) == 0
    assert refresh.read_frozen("01_sums").cells[0].source == "# Another title"
    assert refresh.read_frozen("01_sums").cells[1].outputs[0].text == "2"

    (tmp_path / "01_sums.md").write_text(source.replace("1 + 1", "1 + 2"))
    assert refresh.main(["--text"]) == 1
    assert "code of 01_sums has changed" in capsys.readouterr().err


def test_machine_paths_are_stripped():
    folder = "/scratch/vignette123"
    notebook = _notebook(("code", "x = 1"))
    text = f"{folder}/a.csv {refresh.HERE.parent}/latentscale/panel.py:3: Warning"
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text=text)]
    refresh.tidied(notebook, "", folder)
    assert notebook.cells[0].outputs[0].text == "a.csv latentscale/panel.py:3: Warning"


def test_unknown_vignette_is_named():
    with pytest.raises(FileNotFoundError, match="no vignette '99_nothing'"):
        refresh.read_source("99_nothing")
