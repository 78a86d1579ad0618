"""Execute the vignettes and keep what they print and draw: ``python vignettes/refresh.py [NAME ...]``.

A vignette is a text notebook ``vignettes/NAME.md`` (jupytext, MyST Markdown). Its frozen copy
``vignettes/frozen/NAME.ipynb`` holds the outputs and a digest of the source that they belong to. Without names, all
vignettes are meant. ``--check`` executes nothing and exits with 1 where a frozen copy does not belong to its source;
``--text`` puts changed prose into frozen copies whose code has not changed.

Needs ``pip install latentscale[test]``.
"""

import argparse
import base64
import hashlib
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

HERE = Path(__file__).resolve().parent
FROZEN = HERE / "frozen"
DIGEST = "source_digest"
CELL_SECONDS = 1800
# A drawing has few colours, so a palette of 256 makes its PNG three times smaller without a visible loss.
COLOURS = 256
# One thread gives the same sums of squares everywhere; plain text must not wrap by the terminal's width; pictures are
# kept whatever backend the caller draws with.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "100",
    "NO_COLOR": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
MATPLOTLIB = "figure.dpi: 90\nsavefig.dpi: 90\nfont.size: 9\n"


def names():
    """Return the names of all vignettes, in order."""
    return sorted(path.stem for path in HERE.glob("[0-9]*.md"))


def read_source(name):
    """Return a vignette's source as a notebook without outputs.

    Raises
    ------
    FileNotFoundError
        If there is no such vignette; the message lists those there are.
    """
    path = HERE / f"{name}.md"
    if not path.exists():
        raise FileNotFoundError(f"There is no vignette {name!r}; there are {', '.join(names())}.")
    return jupytext.read(path)


def frozen_path(name):
    """Return where the frozen copy of a vignette lies."""
    return FROZEN / f"{name}.ipynb"


def read_frozen(name):
    """Return the frozen copy of a vignette as a notebook."""
    return nbformat.read(frozen_path(name), as_version=4)


def is_slow(notebook):
    """Whether the front matter says ``vignette: {slow: true}``: then the tests read the frozen copy only."""
    return bool(notebook.metadata.get("vignette", {}).get("slow", False))


def code(notebook):
    """Return the sources of the code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def digest(notebook):
    """Return the SHA-256 digest, in hexadecimal digits, of all cells' kinds and sources."""
    summary = hashlib.sha256()
    for cell in notebook.cells:
        summary.update(f"{cell.cell_type}\0{cell.source}\0".encode())
    return summary.hexdigest()


def is_current(name):
    """Whether the frozen copy exists and belongs to the present source."""
    return frozen_path(name).exists() and read_frozen(name).metadata.get(DIGEST) == digest(read_source(name))


def execute(notebook):
    """Return a copy with outputs, from a fresh kernel of this interpreter in an empty temporary folder."""
    executed = nbformat.from_dict(notebook)
    with tempfile.TemporaryDirectory(prefix="vignette") as folder:
        (Path(folder) / "matplotlibrc").write_text(MATPLOTLIB, encoding="utf-8")
        client = NotebookClient(
            executed,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**os.environ, **ENVIRONMENT})
        return tidied(executed, digest(notebook), folder)


def tidied(notebook, source_digest, folder):
    """Take away what differs from run to run and from machine to machine; add the digest."""
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        for output in cell.get("outputs", []):
            _tidy_output(output, folder)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    notebook.metadata[DIGEST] = source_digest
    return notebook


def _tidy_output(output, folder):
    """Strip machine paths from the text of one output, and colours nobody sees from its pictures."""
    if output.output_type == "stream":
        output.text = _without_paths(output.text, folder)
        return
    data = output.get("data", {})
    for kind in data:
        if kind == "image/png":
            data[kind] = _smaller(data[kind])
        elif isinstance(data[kind], str):
            data[kind] = _without_paths(data[kind], folder)


def _without_paths(text, folder):
    """Return text with paths relative to the repository, and none of the temporary folder."""
    text = re.sub(r"\S*ipykernel_\d+/\d+\.py", "<cell>", text)
    text = re.sub(r"\S*/site-packages/", "", text)
    for place in (folder, os.path.realpath(folder), str(HERE.parent)):
        text = text.replace(place + os.sep, "").replace(place, ".")
    return text


def _smaller(encoded):
    """Return a base64 PNG with a palette of at most `COLOURS` colours."""
    image = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def with_new_text(name):
    """Return the frozen copy with the source's present prose.

    Raises
    ------
    ValueError
        If the code has changed too, so that the outputs may be wrong.
    """
    source, frozen = read_source(name), read_frozen(name)
    if code(source) != code(frozen):
        raise ValueError(f"The code of {name} has changed since it was executed: python vignettes/refresh.py {name}")
    outputs = iter([cell for cell in frozen.cells if cell.cell_type == "code"])
    source.cells = [next(outputs) if cell.cell_type == "code" else cell for cell in source.cells]
    for number, cell in enumerate(source.cells):
        cell.id = f"cell-{number:02d}"
    source.metadata = {**frozen.metadata, **source.metadata, DIGEST: digest(source)}
    source.nbformat, source.nbformat_minor = frozen.nbformat, frozen.nbformat_minor
    return source


def freeze(name, text_only=False):
    """Write the frozen copy of a vignette; return its path."""
    notebook = with_new_text(name) if text_only else execute(read_source(name))
    nbformat.validate(notebook)
    FROZEN.mkdir(exist_ok=True)
    nbformat.write(notebook, frozen_path(name))
    return frozen_path(name)


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Execute the vignettes and keep their outputs in vignettes/frozen.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="vignettes without .md; all by default")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare digests only")
    what.add_argument("--text", action="store_true", help="take over changed prose, keep outputs")
    options = parser.parse_args(arguments)
    status = 0
    for name in [given.removesuffix(".md") for given in options.names] or names():
        if options.check:
            current = is_current(name)
            print(f"{name}: {'current' if current else 'STALE: python vignettes/refresh.py ' + name}")
            status |= not current
            continue
        began = time.perf_counter()
        try:
            path = freeze(name, options.text)
        except (CellExecutionError, ValueError) as error:
            print(f"{name}: not written\n{error}", file=sys.stderr)
            status = 1
            continue
        print(f"{name}: {path.stat().st_size / 1000:.0f} kB, {time.perf_counter() - began:.0f} s")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
