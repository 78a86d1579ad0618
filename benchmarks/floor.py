"""Passes beside their floor: the time that scipy.special alone needs for the functions that a pass cannot avoid.

    python benchmarks/floor.py            # all rules at leaderboard size, benchmarks/floor.csv
    python benchmarks/floor.py million    # 1,000,000 simulated cells too; minutes, rows added to the file

A pass is one log-likelihood and its gradient with modes that are warm, of four skills, at the point where a search
begins. The floor is gammaln(a), gammaln(b), psi(a), psi(b) and expit(eta) at the cells and nodes of the pass, into
arrays that stay in the cache; the arguments are those of the pass, because scipy's times depend on them. Passes run by
numpy (plain) and by compiled loops (compiled). Floor and passes take turns, and ratios are medians over turns, of
processor times: the speed of a machine drifts. Above SAMPLE points the floor is measured on evenly spaced families and
scaled.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import leaderboard_model, machine
from scale import simulated_model
from scipy import special

from latentscale.components.curve import mean_score
from latentscale.components.levels import effect_loadings
from latentscale.components.linear_predictor import fixed_part
from latentscale.estimation.search import starting_structures
from latentscale.likelihood.marginal import adapted_nodes
from latentscale.likelihood.modes import posterior_modes
from latentscale.likelihood.objective import Objective
from latentscale.likelihood.rules import Rule
from latentscale.numerics import compiled

SAMPLE = 2_000_000
PIECE = 4_000
LEADERBOARD = [("laplace", {}), ("frozen", {"points": 3}), ("moving", {"points": 3}), ("moving", {"points": 5}),
               ("moving", {})]  # fmt: skip
MILLION = [("laplace", {}), ("frozen", {"points": 3}), ("moving", {"points": 3})]


def start_of(model):
    """Objective of a model, and where its search begins."""
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), 1e-6)
    _, structure = next(iter(starting_structures(objective, pattern, model.chance, model.family_codes, 1, 0)))
    return objective, space.free_vector(structure)


def points_of(objective, u, standard):
    """eta, a and b at the cells and nodes of a pass, of some families where there are too many; and their share."""
    structure, cells = objective.space.structure(u), objective.cells
    modes = posterior_modes(structure, cells)
    loadings, (_, base) = effect_loadings(structure, cells), fixed_part(structure, cells)
    nodes = modes.alpha[:, None, :] if standard is None else None
    n_nodes = 1 if standard is None else standard.z.shape[-2]
    chosen = np.arange(0, cells.n_families, max(1, cells.n_cells * n_nodes // SAMPLE))
    where = np.flatnonzero(np.isin(cells.family, chosen))
    if nodes is None:
        nodes = adapted_nodes(standard, modes).alpha
    eta = np.einsum("ck,cmk->cm", loadings[where], nodes[cells.family[where]]) + base[where, None]
    item = cells.item[where]
    mu = mean_score(eta, structure.lower[item, None], structure.upper[item, None])
    phi = structure.precision[item, None]
    return (eta.ravel(), (mu * phi).ravel(), ((1.0 - mu) * phi).ravel()), cells.n_cells * n_nodes / eta.size


def floor(points, work):
    """Run scipy's functions, piece by piece."""
    eta, a, b = points
    for start in range(0, len(eta), PIECE):
        piece = slice(start, start + PIECE)
        out = work[: len(eta[piece])]
        special.gammaln(a[piece], out)
        special.gammaln(b[piece], out)
        special.psi(a[piece], out)
        special.psi(b[piece], out)
        special.expit(eta[piece], out)


def seconds(function, *arguments):
    """Processor time: what else runs on the machine does not count."""
    began = time.process_time()
    function(*arguments)
    return time.process_time() - began


def pass_of(kind, objective, u, standard):
    """The pass to time, and its warm start."""
    if kind == "laplace":
        _, modes = objective.laplace(u)
        return lambda: objective.laplace(u + 1e-4, modes)
    if kind == "frozen":
        nodes, _ = objective.nodes(u, standard)
        return lambda: objective.frozen(u + 1e-4, nodes)
    _, modes = objective.moving(u, standard)
    return lambda: objective.moving(u + 1e-4, standard, modes)


def measured(name, objective, u, kind, options, rounds):
    """One row: medians over rounds in which floor and passes take turns."""
    n_skills = objective.space.layout.n_skills
    rule = Rule.build("quadrature" if "points" in options else "monte_carlo", n_skills, **options)
    standard = None if kind == "laplace" else rule.standard(objective.cells.n_families)
    points, share = points_of(objective, u, standard)
    paths = {"plain": "1"} | ({"compiled": "0"} if compiled.available() else {})
    run, work, times = pass_of(kind, objective, u, standard), np.empty(PIECE), {"floor": []}
    for _ in range(rounds):
        times["floor"].append(share * seconds(floor, points, work))
        for path, switch in paths.items():
            os.environ["LATENTSCALE_PLAIN"] = switch
            times.setdefault(path, []).append(seconds(run))
    os.environ["LATENTSCALE_PLAIN"] = "0"
    n_nodes = 1 if standard is None else standard.z.shape[-2]
    row = {"size": name, "cells": objective.cells.n_cells, "pass": kind, "nodes": n_nodes}
    row["rule"] = "laplace" if kind == "laplace" else rule.kind
    row |= {f"{path}_s": float(np.median(values)) for path, values in times.items()}
    row |= {f"{path}_ratio": float(np.median(np.divide(times[path], times["floor"]))) for path in paths}
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    return row


def main():
    os.environ["LATENTSCALE_PLAIN"] = "0"
    print(machine(), flush=True)
    objective, u = start_of(leaderboard_model())
    rows = [measured("leaderboard", objective, u, kind, options, 61) for kind, options in LEADERBOARD]
    if "million" in sys.argv[1:]:
        objective, u = start_of(simulated_model(50_000, 20, 5_000, 4))
        rows += [measured("million", objective, u, kind, options, 3) for kind, options in MILLION]
    pd.DataFrame(rows).assign(machine=machine()).round(5).to_csv(Path(__file__).with_suffix(".csv"), index=False)


if __name__ == "__main__":
    main()
