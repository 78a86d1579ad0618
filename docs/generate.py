"""Pages that are made at build time: vignettes, the command line, methods of results, the changelog.

Everything goes into ``docs/_generated``, which git ignores. Files are rewritten only where their text has changed,
so that a second build is quick.
"""

import inspect
import json
import re
from functools import cached_property
from pathlib import Path

CLI_INTRODUCTION = """# Command line

What `latentscale --help` and the help of each command print. Every option has a counterpart in Python.
"""
RESULTS_INTRODUCTION = """# Results of a latent-skill fit

`LatentSkillModel.fit` returns a `LatentSkillResults`. It is immutable: `rotate` and `get_robust` return new
objects. Its attributes and methods, by what they are for:
"""
# One heading of the page for each class that LatentSkillResults is put together from.
GROUPS = {
    "LatentSkillResults": "Summary, rotation, saving",
    "Estimates": "Estimates and fit",
    "NamedEstimates": "Standard errors, z statistics and Wald tests",
    "Immutable": "",
    "Uncertainty": "Uncertainty",
    "Tests": "Tests",
    "Predictions": "Skills, predictions and residuals",
    "ParameterPlots": "Pictures of parameters",
    "PredictionPlots": "Pictures of predictions",
    "Tables": "Tables for papers and further work",
    "Reports": "Reports",
}
COLUMNS = 100


def write_all(docs: Path) -> None:
    """Write every generated page below ``docs/_generated``."""
    generated = docs / "_generated"
    write(generated / "command_line.md", command_line_page())
    write(generated / "latent_skill_results.md", results_page())
    write(generated / "changelog.md", changelog_page(docs.parent / "CHANGELOG.md"))
    copy_vignettes(docs.parent / "vignettes" / "frozen", generated / "vignettes")


def write(path: Path, text: str) -> None:
    """Write a file unless it has this text already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


# --- vignettes ------------------------------------------------------------------------------------------------------


def copy_vignettes(source: Path, target: Path) -> None:
    """Copy executed notebooks, and drop copies of those that are gone."""
    notebooks = sorted(source.glob("*.ipynb")) if source.is_dir() else []
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.ipynb"):
        if old.name not in {path.name for path in notebooks}:
            old.unlink()
    names = {path.stem for path in notebooks}
    for path in notebooks:
        write(target / path.name, site_notebook(path.read_text(encoding="utf-8"), names))
    write(target / "index.md", vignettes_page(notebooks))


def site_notebook(text: str, names: set[str]) -> str:
    """Return a notebook whose links to other vignettes lead to their pages; links to other files become plain text."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = site_links("".join(cell["source"]), names)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def site_links(text: str, names: set[str]) -> str:
    """Return Markdown with its relative links turned into those that the site has.

    Examples
    --------
    >>> site_links("[next](02_tests.md), [data](../data/README.md)", {"02_tests"})
    '[next](02_tests.ipynb), data'
    """

    def link(found: re.Match) -> str:
        label, name = found[1], Path(found[2]).stem
        return f"[{label}]({name}.ipynb)" if name in names else label

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s:#]+)(?:#[^)]*)?\)", link, text)


def vignettes_page(notebooks: list[Path]) -> str:
    """Return the tutorial's list of vignettes, in the order of their file names."""
    if not notebooks:
        return "# Vignettes\n\nNo executed vignette was found in `vignettes/frozen` when this site was built.\n"
    entries = "\n".join(path.stem for path in notebooks)
    lead = (
        "Each page is a notebook of the folder `vignettes/`, with the output of a real run. The tests of the package"
        " run the notebooks again."
    )
    return f"# Vignettes\n\n{lead}\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"


def title(notebook: Path) -> str:
    """Return the first heading of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    found = re.search(r"^# (.+)$", text, flags=re.MULTILINE)
    return found.group(1) if found else notebook.stem


# --- command line ---------------------------------------------------------------------------------------------------


def commands() -> list[str]:
    """Return the names of the commands, in the order of ``latentscale --help``."""
    import typer

    from latentscale.cli.app import app

    return list(typer.main.get_command(app).commands)


def help_text(*arguments: str) -> str:
    """Return what ``latentscale ... --help`` prints, without colours."""
    from typer.testing import CliRunner

    from latentscale.cli.app import app

    environment = {"COLUMNS": str(COLUMNS), "TERMINAL_WIDTH": str(COLUMNS), "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner(env=environment).invoke(app, [*arguments, "--help"], prog_name="latentscale")
    if result.exit_code != 0:
        raise RuntimeError(f"latentscale {' '.join(arguments)} --help ended with {result.exit_code}: {result.output}")
    lines = (line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", result.output).splitlines())
    return "\n".join(lines).strip("\n")


def command_line_page() -> str:
    """Return the page of the command line."""
    parts = [CLI_INTRODUCTION, fenced(help_text())]
    for name in commands():
        parts.append(f"## latentscale {name}\n\n{fenced(help_text(name))}")
    return "\n".join(parts)


def fenced(text: str) -> str:
    """Return text in a code fence that highlights nothing."""
    return f"```text\n{text}\n```\n"


# --- reference ------------------------------------------------------------------------------------------------------


def class_names(reference: Path) -> dict[str, str]:
    """Return the full names of the classes that the written pages of the reference document, by their short names."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(reference.glob("*.md")))
    found = re.findall(r"\.\. auto(?:class|exception):: (\S+)", text)
    found.append("latentscale.results.latent_skill.LatentSkillResults")
    return {name.rpartition(".")[2]: name for name in found}


def results_page() -> str:
    """Return the reference of LatentSkillResults, its methods grouped by the classes it is put together from."""
    from latentscale.results.latent_skill import LatentSkillResults

    path = f"{LatentSkillResults.__module__}.{LatentSkillResults.__name__}"
    parts = [RESULTS_INTRODUCTION, f"```{{eval-rst}}\n.. autoclass:: {path}\n```\n"]
    seen: set[str] = set()
    for part in LatentSkillResults.__mro__:
        names = [name for name in public_members(part) if name not in seen]  # what a class overrides is there already
        seen |= set(names)
        if part is object or not names:
            continue
        heading = GROUPS.get(part.__name__, part.__name__)
        overview = "\n".join(f"   ~{path}.{name}" for name in names)
        details = "\n\n".join(directive(part, name, path) for name in names)
        parts.append(
            f"## {heading}\n\n```{{eval-rst}}\n.. autosummary::\n   :nosignatures:\n\n{overview}\n\n{details}\n```\n"
        )
    return "\n".join(parts)


def public_members(part: type) -> list[str]:
    """Return the public methods and properties that a class defines itself, in the order of its source."""
    return [name for name, member in vars(part).items() if not name.startswith("_") and is_documented(member)]


def is_documented(member: object) -> bool:
    """Whether a member has a docstring of its own."""
    return (callable(member) or isinstance(member, property | cached_property)) and bool(inspect.getdoc(member))


def directive(part: type, name: str, path: str) -> str:
    """Return the autodoc directive of one member."""
    kind = "automethod" if callable(vars(part)[name]) else "autoproperty"
    return f".. {kind}:: {path}.{name}"


def changelog_page(changelog: Path) -> str:
    """Return CHANGELOG.md, its link to itself taken out."""
    text = changelog.read_text(encoding="utf-8")
    return re.sub(r"^\[Unreleased\]: CHANGELOG\.md\s*$", "", text, flags=re.MULTILINE).replace(
        "## [Unreleased]", "## Unreleased"
    )
