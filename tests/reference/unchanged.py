"""Are the numbers still those of the reference commit? A record of them, and the comparison with it.

    python tests/reference/unchanged.py record OUT.json.gz [--only fits,sloth]
    python tests/reference/unchanged.py compare tests/reference/unchanged.json.gz [--only fits,sloth] [--rtol 1e-9]
    python tests/reference/unchanged.py difference OLD.json.gz NEW.json.gz

``record`` computes and writes; with ``--only`` the other sections of the file stay. ``compare`` computes again with the
package that is imported and prints every quantity that differs by more than ``rtol`` relative to its scale (the rule
is in ``quantities.py`` beside this file), and exits with 1 if there is one; ``--rtol 0`` asks for the same bits.
``difference`` compares two records. ``--numbers`` leaves texts such as summaries out of the comparison. The sections,
each in a file of ``sections/``, are listed by ``--help``. They use public names of ``import latentscale`` alone, so
that they run against older and newer code alike.

``unchanged.json.gz`` was recorded at the commit that it states, with one thread, as the script sees to. Evaluations at
stated parameters agree on any machine. Full fits agree to 1e-9 only on one machine with one BLAS: they end at
the last point of a quasi-Newton path, which stops within a thousandth of a standard error of the optimum, and where on
that stretch it stops depends on rounding. On another machine record the reference commit first, and compare with that.

What is not recorded, as it is not reproducible: seconds, and the version of the package. ``protocol`` needs a folder of
development data that is not shipped (``--data FOLDER``), and is left out without it.
"""

import argparse
import gzip
import importlib.util
import json
import os
import platform
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
if __name__ == "__main__":  # sums over threads have another order of rounding; this must be said before numpy is loaded
    os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import numpy as np
import scipy
from quantities import Keeper, difference

SECTIONS = {
    "evaluations": "log-likelihood, score, Hessian, simulation and identification at stated parameters",
    "fits": "estimates, standard errors, tables and summaries of latent skill models",
    "tests": "tests of hypotheses, sandwiches, delta method, rotations, profile, bootstrap, diagnosis",
    "predictions": "families, predictions, residuals, planning, further scores, comparisons",
    "sloth": "Sloth, laws of benchmarks and of components",
    "validation": "leave-family-out, number of skills, the package's specifications",
    "protocol": "the six cells of the Sloth paper's experiment; needs --data",
}
TEXTS = (": text", ": html", ": latex", ": csv")


def compute(names, data=None, jobs=1):
    """Quantities of the named sections: {name: {"seconds": ..., "quantities": ...}}."""
    found = {}
    print(f"the package is that in {Path(importlib.util.find_spec('latentscale').origin).parent}", file=sys.stderr)
    for name in names:
        began = time.perf_counter()
        keep = Keeper()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a fit warns of is in its ``problems``, which are recorded
            section = importlib.import_module(f"sections.{name}")
            options = {"data": data, "jobs": jobs} if name == "protocol" else {}
            section.record(keep, **options)
        seconds = time.perf_counter() - began
        found[name] = {"seconds": round(seconds, 1), "quantities": keep.quantities}
        print(f"{name}: {len(keep.quantities)} quantities, {seconds:.1f} s", file=sys.stderr, flush=True)
    return found


def read(path):
    """A record, from JSON that may be compressed."""
    content = Path(path).read_bytes()
    return json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)


def write(path, record):
    """Write a record, compressed if the name ends in ``.gz``; the same record gives the same bytes."""
    content = json.dumps(record, indent=0, ensure_ascii=False).encode()
    if str(path).endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    Path(path).write_bytes(content)


def about(commit):
    """Where and with what a record was made."""
    return {
        "commit": commit,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "compiled": importlib.util.find_spec("numba") is not None,
        "threads": 1,
    }


def _processor():
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def differences(old, new, rtol, texts=True):
    """Lines about what differs between two records' sections, of the sections that both have."""
    lines = []
    for name in new:
        if name not in old:
            continue
        before, after = old[name]["quantities"], new[name]["quantities"]
        lines += [f"{name}: {one}: no longer there" for one in before if one not in after]
        lines += [f"{name}: {one}: not in the record" for one in after if one not in before]
        for one in before:
            if one in after and (texts or not one.endswith(TEXTS)):
                text, _ = difference(before[one], after[one], rtol)
                if text:
                    lines.append(f"{name}: {one}: {text}")
    return lines


def largest(old, new):
    """The largest difference of a number, relative to its scale, over the sections that both have."""
    sizes = [0.0]
    for name in new:
        before, after = old.get(name, {"quantities": {}})["quantities"], new[name]["quantities"]
        sizes += [difference(before[one], after[one], 0.0)[1] for one in before if one in after]
    finite = [size for size in sizes if np.isfinite(size)]
    return max(finite)


def _arguments():
    described = "\n".join(f"  {name:12} {words}" for name, words in SECTIONS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"sections:\n{described}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["record", "compare", "difference"])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--only", default=None, help="sections, separated by commas")
    parser.add_argument("--rtol", type=float, default=1e-9)
    parser.add_argument("--numbers", action="store_true", help="compare numbers, not texts")
    parser.add_argument("--data", type=Path, help="folder of the development data, for protocol")
    parser.add_argument("--jobs", type=int, default=1, help="processes for protocol; numbers do not depend on it")
    parser.add_argument("--commit", default="unknown", help="for record: the commit of the package")
    asked = parser.parse_args()
    if len(asked.files) != 1 + (asked.action == "difference"):
        parser.error("record and compare take one file, difference two")
    chosen = list(SECTIONS) if asked.only is None else asked.only.split(",")
    unknown = [name for name in chosen if name not in SECTIONS]
    if unknown:
        parser.error(f"no section is called {unknown[0]!r}")
    asked.sections = [name for name in chosen if name != "protocol" or asked.data is not None]
    return asked


def _record(asked):
    path, described = asked.files[0], about(asked.commit)
    others = read(path) if asked.only and path.exists() else {"about": described, "sections": {}}
    if others["about"] != described:
        sys.exit(f"{path} was recorded elsewhere or of another commit: record all sections, or write another file")
    found = others["sections"] | compute(asked.sections, asked.data, asked.jobs)
    write(path, {"about": described, "sections": {name: found[name] for name in SECTIONS if name in found}})


def main():
    """Record or compare, as the command line says; the exit status."""
    asked = _arguments()
    if asked.action == "record":
        _record(asked)
        return 0
    old = read(asked.files[0])
    if asked.action == "compare":
        names = [name for name in asked.sections if name in old["sections"]]
        new = {"sections": compute(names, asked.data, asked.jobs)}
    else:
        new = read(asked.files[1])
    lines = differences(old["sections"], new["sections"], asked.rtol, not asked.numbers)
    print("\n".join(lines))
    count = sum(len(section["quantities"]) for section in new["sections"].values())
    print(
        f"{len(lines)} of {count} quantities differ by more than {asked.rtol:g} of their scale; the largest difference "
        f"of a number is {largest(old['sections'], new['sections']):.1e} of its scale."
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
