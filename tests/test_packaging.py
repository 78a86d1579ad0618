"""What a user installs is whole: every module and the data, from a wheel made of the source archive."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CHECK = """
from pathlib import Path
import latentscale
from latentscale.datasets import load_leaderboard

table = load_leaderboard()
assert table.shape == (197, 20), table.shape
assert table["instruct"].dtype == bool
assert "site-packages" in Path(latentscale.__file__).parts, latentscale.__file__
"""


def test_setup_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    modules = (ROOT / "latentscale").rglob("*.py")
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in modules}
    assert set(setup["options"]["packages"].split()) == folders | {"latentscale.data"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the package is built from, so that the tree stays clean."""
    source = tmp_path_factory.mktemp("copies") / "source"
    source.mkdir()
    for name in ("latentscale", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    return source


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """A wheel built by way of the source archive."""
    folder = tmp_path_factory.mktemp("build")
    command = [sys.executable, "-m", "build", "--outdir", folder / "dist", source]
    subprocess.run(command, check=True, cwd=folder)
    assert len(list((folder / "dist").glob("*.tar.gz"))) == 1
    return next((folder / "dist").glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        shipped = archive.read("latentscale/data/open_llm_leaderboard.csv")
    assert shipped == (ROOT / "data" / "open_llm_leaderboard.csv").read_bytes()
    data = {f"latentscale/data/{path.name}" for path in (ROOT / "data").iterdir() if path.is_file()}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "latentscale").rglob("*.py")}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "latentscale/report/templates").iterdir()}
    # py.typed tells type checkers that the annotations of the package are meant for them
    wanted = data | modules | templates | {"latentscale/py.typed", "latentscale/__init__.pyi"}
    assert {name for name in names if not name.endswith("/")} == wanted
    assert all(name.startswith("latentscale/") for name in names)


@pytest.mark.slow
def test_make_demo_in_a_fresh_copy(source, tmp_path):
    """README's first command: an environment, the install, a fit, the files; then the package works elsewhere.

    The fit is a quick one. The default one is README's first Python block, which test_readme.py runs.
    """
    shutil.copytree(source, tmp_path / "copy")
    command = ["make", "demo", f"PYTHON={sys.executable}", "DEMO=--integration laplace --starts 1"]
    ran = subprocess.run(command, check=True, cwd=tmp_path / "copy", capture_output=True, text=True)
    assert "Latent skill scaling model" in ran.stdout
    written = {path.name for path in (tmp_path / "copy" / "demo").iterdir()}
    assert {"summary.txt", "parameters.csv", "predictions.csv", "fit.lscale", "report.html"} <= written
    python = tmp_path / "copy" / ".venv" / "bin" / "python"
    (tmp_path / "elsewhere").mkdir()
    # -I: neither the environment nor the current folder adds to the import path
    subprocess.run([python, "-I", "-c", CHECK], check=True, cwd=tmp_path / "elsewhere")
