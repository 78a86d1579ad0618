"""The Python blocks of the site's pages: find them, run them, and write their output into the pages.

A fenced ``python`` block runs; what it prints is shown in the ``text`` block right after it. A block that is
deliberately not run is a ``code-block`` directive of class ``partial``. ``python docs/pages.py`` runs the
pages and refreshes the output that they show; ``tests/test_docs.py`` runs them and compares.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PREAMBLE = DOCS / "how_to" / "index.md"
FIRST_FIT = DOCS / "tutorial" / "first_fit.md"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
PARTIAL = re.compile(r"^```\{code-block\} python\n:class: partial\n", re.MULTILINE)
WIDTH = 110


@dataclass(frozen=True)
class Block:
    """A Python block of a page.

    Attributes
    ----------
    code : str
    shown : str or None
        The output that the page shows, None where it shows none.
    line : int
        Line of the page at which the code begins.
    span : (int, int)
        Where block and output stand in the text of the page.
    """

    code: str
    shown: str | None
    line: int
    span: tuple[int, int]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page that run, in order."""
    return [
        Block(found["code"], found["shown"], text.count("\n", 0, found.start()) + 2, (found.start(), found.end()))
        for found in BLOCK.finditer(text)
    ]


def count_partial(text: str) -> int:
    """Return the number of blocks that a page says are not run."""
    return len(PARTIAL.findall(text))


def how_to_pages() -> list[Path]:
    """Return the how-to pages without the list of them, whose block all others continue from."""
    return sorted(path for path in PREAMBLE.parent.glob("*.md") if path != PREAMBLE)


def pages_that_run() -> list[Path]:
    """Return every page whose blocks run."""
    return [FIRST_FIT, *how_to_pages()]


def run_block(block: Block, namespace: dict, page: Path) -> str:
    """Run a block in a namespace and return what it prints."""
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()).strip("\n")


def prepare() -> dict:
    """Return the namespace that every how-to page begins with: the block of the list of pages, run."""
    import matplotlib
    import pandas as pd

    matplotlib.use("Agg")
    pd.set_option("display.width", WIDTH, "display.max_columns", 20)
    namespace = {"__name__": "page"}
    for block in blocks(PREAMBLE.read_text(encoding="utf-8")):
        run_block(block, namespace, PREAMBLE)
    return namespace


def refresh(page: Path, namespace: dict) -> None:
    """Run a page's blocks and write what they print into it."""
    text = page.read_text(encoding="utf-8")
    parts, at = [], 0
    for block in blocks(text):
        printed = run_block(block, namespace, page)
        output = f"\n```text\n{printed}\n```\n" if printed else ""
        parts += [text[at : block.span[0]], f"```python\n{block.code}```\n{output}"]
        at = block.span[1]
    page.write_text("".join([*parts, text[at:]]), encoding="utf-8")


def main(names: list[str]) -> None:
    """Refresh the pages of these names, all by default."""
    wanted = [page for page in pages_that_run() if not names or page.stem in names]
    prepared = prepare()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for page in wanted:
            refresh(page, {"__name__": "page"} if page == FIRST_FIT else dict(prepared))
            print(page.stem)


if __name__ == "__main__":
    main(sys.argv[1:])
