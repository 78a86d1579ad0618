"""Time and memory by the size of the table: one Laplace pass and a whole fit, tables simulated.

    python benchmarks/scale.py growth       # one pass at growing N, J, L, K; growth exponents; benchmarks/scale.csv
    python benchmarks/scale.py fit N J L K  # one fit with standard errors: time, passes, peak memory

A pass is the Laplace log-likelihood and its gradient from modes that are warm. N LLMs in L families, J benchmarks, all
scores observed. Growth exponents are slopes of log time on log size.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine

import latentscale as ls
from latentscale.estimation.objective import Objective
from latentscale.estimation.search import starting_structures

BASE = {"N": 2000, "J": 20, "L": 400, "K": 3}
GROWTH = {
    "N": [1_000, 3_000, 10_000, 30_000, 100_000],
    "J": [5, 15, 50, 150, 500],
    "L": [40, 120, 400, 1_200, 2_000],
    "K": [1, 2, 3, 4, 6],
}
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


def pass_seconds(model):
    """Least seconds of a Laplace pass from warm modes."""
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), 1e-6)
    _, start = next(iter(starting_structures(objective, pattern, model.chance, model.family_codes, 1, 0)))
    u = space.free_vector(start)
    _, modes = objective.laplace(u)
    times = []
    for number in range(PASSES):
        began = time.perf_counter()
        objective.laplace(u + 1e-4 * (number + 1), modes)
        times.append(time.perf_counter() - began)
    return min(times)


def peak():
    """Peak memory of this process so far, megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth():
    rows = []
    for letter, sizes in GROWTH.items():
        for value in sizes:
            sizing = {**BASE, letter: value}
            began = time.perf_counter()
            model = simulated_model(*sizing.values())
            made = time.perf_counter() - began
            row = {"growing": letter, **sizing, "cells": sizing["N"] * sizing["J"]}
            rows.append(row | {"pass_s": pass_seconds(model), "model_s": made, "peak_mb": peak()})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    for letter, part in table.groupby("growing", sort=False):
        whole = np.polyfit(np.log(part[letter]), np.log(part["pass_s"]), 1)[0]
        last = np.diff(np.log(part["pass_s"]))[-1] / np.diff(np.log(part[letter]))[-1]
        print(f"{letter}: exponent {whole:.2f} over {part[letter].min()} to {part[letter].max()}, last step {last:.2f}")
    table.round(5).to_csv(Path(__file__).with_suffix(".csv"), index=False)


def fit(n_llms, n_benchmarks, n_families, n_skills):
    began = time.perf_counter()
    model = simulated_model(n_llms, n_benchmarks, n_families, n_skills)
    print(f"{model}: made in {time.perf_counter() - began:.1f} s, peak {peak():.0f} MB", flush=True)
    began = time.perf_counter()
    found = model.fit(integration="laplace", starts=1, progress=True)
    errors = np.isfinite(found.bse).all()
    print(f"fit in {time.perf_counter() - began:.1f} s, peak {peak():.0f} MB, standard errors: {errors}")
    print(found.starts, found.converged, found.estimate.distance)


if __name__ == "__main__":
    print(machine())
    fit(*map(int, sys.argv[2:])) if sys.argv[1] == "fit" else growth()
