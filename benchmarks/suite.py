"""The jobs that users wait for, at leaderboard size: time, passes over the data and peak memory, in one table.

    python benchmarks/suite.py          # all jobs, each in a process of its own; writes benchmarks/suite.csv
    python benchmarks/suite.py JOB      # one of them

Seconds are of one thread, after a first pass that compiles what is compiled. A pass is one log-likelihood with its
gradient. Times at growing tables are those of ``scale.py``; passes beside the special functions alone, of ``floor.py``.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import leaderboard_model, machine
from statsmodels.othermod.betareg import BetaModel

import latentscale as ls
from latentscale.estimation.objective import Objective
from latentscale.estimation.rules import Rule
from latentscale.estimation.search import starting_structures

ROUNDS = 7


def _passes(rule, points=None):
    """Seconds of one pass at the point where a search begins."""
    model = leaderboard_model()
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), 1e-6)
    _, start = next(iter(starting_structures(objective, pattern, model.chance, model.family_codes, 1, 0)))
    u = space.free_vector(start)
    if rule == "laplace":
        call = objective.laplace
    else:
        standard = Rule.build(rule, 4, points=points).standard(model.n_families)

        def call(u, modes=None):
            return objective.moving(u, standard, modes)

    _, modes = call(u)
    times = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        call(u + 1e-3 * (number + 1), modes)
        times.append(time.perf_counter() - began)
    return float(np.median(times)), 1


def _timed(job, count=lambda result: np.nan):
    began = time.perf_counter()
    result = job()
    return time.perf_counter() - began, count(result)


def _all_passes(fit):
    return int(fit.estimate.starts["evaluations"].sum() + fit.estimate.evaluations)


def _fit(**options):
    model = leaderboard_model()
    model.loglike(model.fit(integration="laplace", starts=1, information=False, cov_type="none").params)
    return _timed(lambda: model.fit(**options), _all_passes)


def _after_fit(job):
    fit = leaderboard_model().fit(integration="laplace", starts=1)
    job(fit)
    return _timed(lambda: job(fit))


def _louis(fit):
    objective, u = fit.estimate.objective(fit.model), fit.estimate.coordinates
    return objective.adapted(u, Rule.build("quadrature", 4, points=5).standard(fit.model.n_families), 2)


def _left_out():
    data = ls.load_leaderboard()
    panel = ls.BenchmarkPanel(data)
    whole = panel.scores.notna().all(axis=1).to_numpy() & data[["params_b", "tokens_t"]].notna().all(axis=1).to_numpy()
    groups = list(panel.families[whole].value_counts().index[:5])
    return _timed(lambda: ls.leave_family_out(ls.default_specification(), panel, groups))


def _sloth():
    data = ls.load_leaderboard()
    covered = data[["params_b", "tokens_t"]].notna().all(axis=1)
    model = ls.SlothModel(ls.BenchmarkPanel(data[covered]), n_skills=2)
    return _timed(lambda: model.fit(starts=1))


def _beta_regression(ours):
    """One log-likelihood and score of beta regression on the cells of the leaderboard, without any latent skill."""
    model = leaderboard_model()
    cells = model.internal_cells
    item, x = np.eye(cells.n_items)[cells.item], cells.design[cells.row]
    design = np.hstack([item, *(item * column[:, None] for column in x.T)])
    seen = cells.state == 0
    other = BetaModel(np.exp(cells.log_y)[seen], design[seen], exog_precision=item[seen])
    params = np.append(np.zeros(design.shape[1]), np.full(cells.n_items, 3.0))
    if ours:
        return _passes("laplace")
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        other.loglike(params), other.score(params)
        times.append(time.perf_counter() - began)
    return float(np.median(times)), 1


JOBS = {
    "pass, Laplace": lambda: _passes("laplace"),
    "pass, 81 nodes": lambda: _passes("quadrature", 3),
    "pass, 625 nodes": lambda: _passes("quadrature", 5),
    "pass, Monte Carlo (512 draws)": lambda: _passes("monte_carlo"),
    "pass, statsmodels BetaModel, no latent skill": lambda: _beta_regression(False),
    "fit, Laplace, 1 start, with standard errors": lambda: _fit(integration="laplace", starts=1),
    "fit, Laplace, 10 starts, with standard errors": lambda: _fit(integration="laplace"),
    "fit, 81 nodes, 1 start, with standard errors": lambda: _fit(integration="quadrature", points=3, starts=1),
    "fit, default (Monte Carlo, 10 starts)": lambda: _fit(),
    "standard errors, Laplace's Hessian": lambda: _after_fit(
        lambda fit: fit.estimate.objective(fit.model).laplace_hessian(fit.estimate.coordinates)
    ),
    "standard errors, Louis on 625 nodes": lambda: _after_fit(_louis),
    "profile interval of one slope": lambda: _after_fit(
        lambda fit: fit.conf_int(method="profile", parameters=["slope[log(params_b),math]"])
    ),
    "parametric bootstrap, 20 replicates": lambda: _after_fit(lambda fit: fit.bootstrap(replications=20)),
    "leave-family-out, default specification, 5 families": _left_out,
    "Sloth, 2 skills, 1 start": _sloth,
}


def main():
    rows = []
    for name in JOBS:
        done = subprocess.run([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        seconds, passes, peak = (rows[-1][key] for key in ("seconds", "passes", "peak_mb"))
        print(f"{name:52} {seconds:9.4f} s {passes:6} {peak:6} MB", flush=True)
    pd.DataFrame(rows).assign(machine=machine()).to_csv(Path(__file__).with_suffix(".csv"), index=False)


def one(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what fits say of themselves is not the matter here
        seconds, passes = JOBS[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    passes = "" if np.isnan(passes) else int(passes)
    print(json.dumps({"job": name, "seconds": round(seconds, 5), "passes": passes, "peak_mb": round(peak)}))


if __name__ == "__main__":
    print(machine())
    one(sys.argv[1]) if len(sys.argv) > 1 else main()
