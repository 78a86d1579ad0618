"""tests/lint/sizes.py finds what it should find, and passes the package."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "lint" / "sizes.py"

LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 60
LONG_DOCSTRING = 'def f():\n    """One.\n' + "    more\n" * 80 + '    """\n    return 1\n'


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def problems(tmp_path, path, text):
    file = tmp_path / "latentscale" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    result = run(tmp_path / "latentscale")
    assert result.returncode == ("no offenders" not in result.stdout)
    assert not result.stderr
    return result.stdout


METHOD = "class C:\n" + "".join(f"    {line}\n" for line in LONG_FUNCTION.splitlines())
GUARDED = "try:\n    import latentscale.models\nexcept ImportError:\n    pass"
ABOVE = "import latentscale.numerics.a\nfrom latentscale.known_benchmarks import BENCHMARKS\nimport numpy"
BESIDE = "from latentscale.numerics import b\nfrom . import c\nfrom latentscale.errors import DataError"
TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from latentscale import results\n"


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("numerics/a.py", "x = 1\n" * 501, "a.py:1: module has 501 lines"),
        ("numerics/a.py", LONG_FUNCTION, "a.py:1: function f has 61 lines"),
        ("numerics/a.py", METHOD, "a.py:2: function f has 61 lines"),
        ("numerics/a.py", "import latentscale.panel", "room 'numerics' may not import latentscale.panel"),
        ("numerics/a.py", "from latentscale.panel import BenchmarkPanel", "may not import latentscale.panel"),
        ("numerics/a.py", "from latentscale import panel", "may not import latentscale.panel"),
        ("numerics/a.py", "from ..models import x", "may not import latentscale.models.x"),
        ("numerics/__init__.py", "from ..models import x", "may not import latentscale.models.x"),
        ("panel.py", "from .models import x", "may not import latentscale.models.x"),
        ("panel.py", "from . import models", "may not import latentscale.models"),
        ("panel.py", "import latentscale", "may not import latentscale"),
        ("panel.py", GUARDED, "may not import latentscale.models"),
        ("models/a.py", "from latentscale.estimation import fit", "may not import latentscale.estimation"),
        ("models/a.py", "def fit():\n    from latentscale.estimation import fit", "may not import latentscale.est"),
        ("models/a.py", "def fit():\n    import scipy", "import of scipy inside a function"),
        ("results/a.py", "def f():\n    class C:\n        from ..model import x", "may not import latentscale.model"),
        ("errors.py", "from latentscale.panel import BenchmarkPanel", "may not import latentscale.panel"),
        ("attic.py", "", "'attic' is not in the table of rooms"),
    ],
)
def test_offenders_are_found(tmp_path, path, text, problem):
    assert problem in problems(tmp_path, path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("numerics/a.py", "x = 1\n" * 500),
        ("numerics/a.py", LONG_FUNCTION.replace("    x = 1\n", "", 1)),
        ("numerics/a.py", LONG_DOCSTRING),
        ("numerics/a.py", BESIDE),
        ("panel.py", ABOVE),
        ("plots/a.py", "def draw():\n    from matplotlib import pyplot\n"),
        ("cli/a.py", "def fit():\n    import latentscale as ls\n"),
        ("models/a.py", TYPES),
        ("cli/a.py", "import latentscale as ls\nfrom latentscale.report import html"),
        ("__init__.py", "from latentscale.panel import BenchmarkPanel\nfrom latentscale.cli import main"),
    ],
)
def test_what_is_allowed_passes(tmp_path, path, text):
    assert "no offenders" in problems(tmp_path, path, text)


def test_circles_are_found(tmp_path):
    problems(tmp_path, "results/a.py", "from . import b")
    problems(tmp_path, "results/b.py", "from .c import x")
    said = problems(tmp_path, "results/c.py", "from latentscale.results.a import x")
    assert "in a circle: latentscale.results.a, latentscale.results.b, latentscale.results.c" in said


def test_the_package_obeys():
    result = run()
    assert result.returncode == 0, result.stdout
