"""Time and memory by the size of the table: passes and whole fits, tables simulated.

    python benchmarks/scale.py growth                     # growing N, J, L, K, nodes; exponents; benchmarks/scale.csv
    python benchmarks/scale.py fits [ROW ...]             # large fits, or some; rows of benchmarks/large_fits.csv
    python benchmarks/scale.py fit N J L K [DRIVER]       # one fit with standard errors: time, passes, peak memory

A pass is the log-likelihood and its gradient from modes that are warm, by Laplace or on so many nodes a family, on one
thread. Fits are Laplace's from one start, with standard errors, on two threads. N LLMs in L families of about equal
size, J benchmarks, all scores observed. Growth exponents are slopes of log time on log size. Every size is measured in
a process of its own, for its peak memory.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine

import latentscale as ls
from latentscale.estimation.search import starting_structures
from latentscale.likelihood.objective import Objective
from latentscale.likelihood.rules import Rule
from latentscale.numerics.compiled import available

HERE = Path(__file__).parent

GROWTH = {
    "N": ({"J": 20, "L": 200, "K": 3, "M": 1}, [1_000, 3_000, 10_000, 30_000, 100_000]),
    "J": ({"N": 2_000, "L": 400, "K": 3, "M": 1}, [5, 15, 50, 150, 500]),
    "L": ({"N": 40_000, "J": 10, "K": 3, "M": 1}, [200, 600, 2_000, 6_000, 20_000]),
    "K": ({"N": 10_000, "J": 20, "L": 2_000, "M": 1}, [1, 2, 3, 4, 6]),
    "M": ({"N": 2_000, "J": 20, "L": 400, "K": 3}, [27, 125, 343, 1_331, 2_197]),
}
LARGE = [
    (5_000, 100, 1_000, 4, "direct"),
    (100_000, 12, 20_000, 3, "direct"),
    (2_000, 2_000, 400, 2, "direct"),
    (20_000, 12, 4_000, 3, "direct"),
    (20_000, 12, 4_000, 3, "stochastic"),
]
PASSES = 5


def simulated_table(n_llms, n_benchmarks, n_families, n_skills, seed=0):
    """Scores of LLMs in families of about equal size, from the model, with its benchmarks' names."""
    rng = np.random.default_rng(seed)
    family = np.sort(np.arange(n_llms) % n_families)
    size, tokens = rng.uniform(0.0, 5.0, n_llms), rng.uniform(-1.5, 2.5, n_llms)
    slopes = np.vstack([np.full(n_skills, 0.5), np.linspace(0.2, 0.5, n_skills)])
    theta = rng.standard_normal((n_families, n_skills))[family] + np.column_stack([size, tokens]) @ slopes
    # each benchmark measures one skill well and the others a little
    loadings = rng.uniform(0.0, 0.15, (n_benchmarks, n_skills))
    loadings[np.arange(n_benchmarks), np.arange(n_benchmarks) % n_skills] += 0.6
    mean = 1.0 / (1.0 + np.exp(1.5 - theta @ loadings.T))
    scores = rng.beta(80.0 * mean, 80.0 * (1.0 - mean)).clip(1e-6, 1.0 - 1e-6)
    names = [f"b{number:04d}" for number in range(n_benchmarks)]
    table = pd.DataFrame(scores, columns=names)
    table.insert(0, "model", [f"m{number:07d}" for number in range(n_llms)])
    table.insert(1, "family", [f"f{number:06d}" for number in family])
    return table.assign(params_b=np.exp(size), tokens_t=np.exp(tokens)), names


def simulated_model(n_llms, n_benchmarks, n_families, n_skills, seed=0):
    """Anchored model of a simulated table."""
    table, names = simulated_table(n_llms, n_benchmarks, n_families, n_skills, seed)
    panel = ls.BenchmarkPanel(table, benchmarks=names, chance={})
    anchors = {f"skill{number + 1}": names[number] for number in range(n_skills)}
    return ls.LatentSkillModel(panel, "log(params_b) + log(tokens_t)", skills=ls.Anchored(anchors))


def pass_seconds(model, nodes=1):
    """Least seconds of a pass from warm modes."""
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), 1e-6)
    _, start = next(iter(starting_structures(objective, pattern, model.chance, model.family_codes, 1, 0)))
    u = space.free_vector(start)
    call = objective.laplace
    if nodes > 1:
        points = round(nodes ** (1.0 / pattern.n_skills))
        standard = Rule.build("quadrature", pattern.n_skills, points=points).standard(model.n_families)

        def call(u, modes=None):
            return objective.moving(u, standard, modes)

    _, modes = call(u)
    times = []
    for number in range(PASSES):
        began = time.perf_counter()
        call(u + 1e-4 * (number + 1), modes)
        times.append(time.perf_counter() - began)
    return min(times)


def peak():
    """Peak memory of this process so far, megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_pass(n_llms, n_benchmarks, n_families, n_skills, nodes):
    began = time.perf_counter()
    model = simulated_model(n_llms, n_benchmarks, n_families, n_skills)
    made, before = time.perf_counter() - began, peak()
    return {"pass_s": pass_seconds(model, nodes), "model_s": made, "model_mb": before, "peak_mb": peak()}


def one_fit(n_llms, n_benchmarks, n_families, n_skills, driver="direct"):
    model = simulated_model(n_llms, n_benchmarks, n_families, n_skills)
    began = time.perf_counter()
    found = model.fit(integration="laplace", starts=1, progress=True, n_jobs=2, driver=driver)
    return {
        "fit_s": time.perf_counter() - began, "peak_mb": peak(),
        "passes": int(found.starts["evaluations"].sum() + found.estimate.evaluations),
        "parameters": len(found.params), "standard_errors": int(np.isfinite(found.bse).sum()),
        "distance_se": found.estimate.distance, "converged": found.converged, "llf": found.llf,
    }  # fmt: skip


def _apart(*arguments):
    """What this file prints when it is run with these arguments in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def growth():
    rows = []
    for letter, (base, sizes) in GROWTH.items():
        for value in sizes:
            sizing = {name: value if name == letter else base[name] for name in "NJLKM"}
            rows.append({"growing": letter, **sizing, **_apart("pass", *sizing.values())})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    for letter, part in table.groupby("growing", sort=False):
        whole = np.polyfit(np.log(part[letter]), np.log(part["pass_s"]), 1)[0]
        last = np.diff(np.log(part["pass_s"]))[-1] / np.diff(np.log(part[letter]))[-1]
        print(f"{letter}: exponent {whole:.2f} over {part[letter].min()} to {part[letter].max()}, last step {last:.2f}")
    table.assign(compiled=available(), machine=machine()).round(5).to_csv(HERE / "scale.csv", index=False)


def fits(*wanted):
    path = HERE / "large_fits.csv"
    table = pd.read_csv(path, index_col="row") if path.exists() else pd.DataFrame()
    for row in map(int, wanted or range(len(LARGE))):
        size = dict(zip(["N", "J", "L", "K", "driver"], LARGE[row], strict=True))
        found = size | _apart("fit", *size.values()) | {"compiled": available(), "machine": machine()}
        print(found, flush=True)
        table = pd.concat([table.drop(row, errors="ignore"), pd.DataFrame(found, index=[row])]).sort_index()
        table.rename_axis("row").to_csv(path)


if __name__ == "__main__":
    print(machine())
    name, *sizes = sys.argv[1:]
    if name in ("pass", "fit"):
        numbers = [int(size) if size.isdigit() else size for size in sizes]
        print(json.dumps({"pass": one_pass, "fit": one_fit}[name](*numbers)))
    else:
        {"growth": growth, "fits": fits}[name](*sizes)
