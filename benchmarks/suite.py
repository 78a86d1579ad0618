"""The jobs that users wait for: time, passes over the data and peak memory, in tables.

    python benchmarks/suite.py             # at leaderboard size, each in a process of its own; benchmarks/suite.csv
    python benchmarks/suite.py growth      # at growing N, J, L and K, with exponents; benchmarks/suite_growth.csv
    python benchmarks/suite.py JOB         # one of them at leaderboard size

Seconds are of one thread, after a first fit that compiles what is compiled. A pass is one log-likelihood with its
gradient. Growing tables are simulated, N LLMs in L families on J benchmarks with K skills; exponents are slopes of log
time on log size. Single passes up to far larger tables are those of ``scale.py``; passes beside the special functions
alone, of ``floor.py``.
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
from common import leaderboard_model, machine
from scale import simulated_model
from statsmodels.othermod.betareg import BetaModel

import latentscale as ls
from latentscale.estimation.search import starting_structures
from latentscale.likelihood.objective import Objective
from latentscale.likelihood.rules import Rule

HERE, ROUNDS = Path(__file__).parent, 7
BASE = {"N": 1_000, "J": 12, "L": 200, "K": 2}
GROWTH = {"N": [1_000, 3_000, 10_000], "J": [6, 12, 36, 72], "L": [50, 200, 500], "K": [1, 2, 3, 4]}
ONE_START = {"integration": "laplace", "starts": 1}


# --- jobs on a model: seconds and passes -----------------------------------------------------------------------------


def _passes(model, rule, points=None):
    """Seconds of one pass at the point where a search begins."""
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), 1e-6)
    _, start = next(iter(starting_structures(objective, pattern, model.chance, model.family_codes, 1, 0)))
    u = space.free_vector(start)
    if rule == "laplace":
        call = objective.laplace
    else:
        standard = Rule.build(rule, len(model.skills), points=points).standard(model.n_families)

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


def _fit(model, **options):
    return _timed(
        lambda: model.fit(**options), lambda fit: int(fit.starts["evaluations"].sum() + fit.estimate.evaluations)
    )


def _louis(fit):
    objective, u = fit.estimate.objective(fit.model), fit.estimate.coordinates
    rule = Rule.build("quadrature", len(fit.model.skills), points=5)
    return objective.adapted(u, rule.standard(fit.model.n_families), 2)


def _after_fit(model, job, warm=True):
    fit = model.fit(**ONE_START)
    if warm:
        job(fit)
    return _timed(lambda: job(fit))


def _left_out(model, estimator, count):
    """Leave-family-out of the largest families whose LLMs lack nothing."""
    panel = model.panel
    whole = panel.scores.notna().all(axis=1) & panel.table[["params_b", "tokens_t"]].notna().all(axis=1)
    groups = list(panel.families[whole].value_counts().index[:count])
    return _timed(lambda: ls.leave_family_out(estimator, panel, groups, alphas=()))


def _profile(fit):
    (slope,) = [name for name in fit.model.param_names if name.startswith("slope[")][:1]
    return fit.conf_int(method="profile", parameters=[slope])


def _sloth(model):
    table = model.panel.to_frame()
    covered = table[["params_b", "tokens_t"]].notna().all(axis=1)
    panel = model.panel.subset(list(table.loc[covered, model.panel.llm]))
    sloth = ls.SlothModel(panel, n_skills=2)
    return _timed(lambda: sloth.fit(starts=1))


def _beta_regression(model):
    """One log-likelihood and score of beta regression on the scores, without any latent skill."""
    cells = model.internal_cells
    item, x = np.eye(cells.n_items)[cells.item], cells.design[cells.row]
    design = np.hstack([item, *(item * column[:, None] for column in x.T)])
    seen = cells.state == 0
    other = BetaModel(cells.scores[seen], design[seen], exog_precision=item[seen])
    params = np.append(np.zeros(design.shape[1]), np.full(cells.n_items, 3.0))
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        other.loglike(params), other.score(params)
        times.append(time.perf_counter() - began)
    return float(np.median(times)), 1


def _own_specification(model):
    return ls.Specification(
        type(model), skills=model.form, scaling=model.scaling, fit={**ONE_START, "cov_type": "none"}
    )


JOBS = {
    "pass, Laplace": lambda model: _passes(model, "laplace"),
    "pass, 81 nodes": lambda model: _passes(model, "quadrature", 3),
    "pass, 625 nodes": lambda model: _passes(model, "quadrature", 5),
    "pass, Monte Carlo (512 draws)": lambda model: _passes(model, "monte_carlo"),
    "pass, statsmodels BetaModel, no latent skill": _beta_regression,
    "fit, Laplace, 1 start, with standard errors": lambda model: _fit(model, **ONE_START),
    "fit, Laplace, 10 starts, with standard errors": lambda model: _fit(model, integration="laplace"),
    "fit, 81 nodes, 1 start, with standard errors": lambda model: _fit(
        model, integration="quadrature", points=3, starts=1
    ),
    "fit, Monte Carlo, 1 start, with standard errors": lambda model: _fit(model, starts=1),
    "fit, default (Monte Carlo, 10 starts)": lambda model: _fit(model),
    "standard errors, Laplace's Hessian": lambda model: _after_fit(
        model, lambda fit: fit.estimate.objective(fit.model).laplace_hessian(fit.estimate.coordinates)
    ),
    "standard errors, Louis on 625 nodes": lambda model: _after_fit(model, _louis),
    "profile interval of one slope": lambda model: _after_fit(model, _profile, warm=False),
    "parametric bootstrap, 20 replicates": lambda model: _after_fit(
        model, lambda fit: fit.bootstrap(replications=20), warm=False
    ),
    "leave-family-out, this model, 3 families": lambda model: _left_out(model, _own_specification(model), 3),
    "leave-family-out, default specification, 3 families": lambda model: _left_out(
        model, ls.default_specification(), 3
    ),
    "Sloth, 2 skills, 1 start": _sloth,
}
GROWING = [
    "pass, Laplace", "pass, Monte Carlo (512 draws)", "fit, Laplace, 1 start, with standard errors",
    "fit, Monte Carlo, 1 start, with standard errors", "standard errors, Laplace's Hessian",
    "profile interval of one slope", "leave-family-out, this model, 3 families", "Sloth, 2 skills, 1 start",
]  # fmt: skip


# --- tables ----------------------------------------------------------------------------------------------------------


def _measured(model, names):
    """Rows of what jobs take on a model; the peak memory is that of the process so far."""
    model.fit(**ONE_START, information=False, cov_type="none")  # compiles
    for name in names:
        seconds, passes = JOBS[name](model)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        passes = "" if np.isnan(passes) else int(passes)
        yield {"job": name, "seconds": round(seconds, 5), "passes": passes, "peak_mb": round(peak)}


def _apart(*arguments):
    """The rows that this file prints when it is run with these arguments in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def leaderboard():
    rows = []
    for name in JOBS:
        rows += _apart(name)
        seconds, passes, peak = (rows[-1][key] for key in ("seconds", "passes", "peak_mb"))
        print(f"{name:52} {seconds:9.4f} s {passes:6} {peak:6} MB", flush=True)
    pd.DataFrame(rows).assign(machine=machine()).to_csv(HERE / "suite.csv", index=False)


def growth():
    rows = []
    for letter, sizes in GROWTH.items():
        for value in sizes:
            sizing = BASE | {letter: value}
            rows += [{"growing": letter, **sizing, **row} for row in _apart("at", *sizing.values())]
            print(
                pd.DataFrame(rows[-len(GROWING) :]).to_string(index=False, header=len(rows) == len(GROWING)), flush=True
            )
    table = pd.DataFrame(rows)
    table.assign(machine=machine()).to_csv(HERE / "suite_growth.csv", index=False)
    exponents = {
        (job, letter): np.polyfit(np.log(part[letter].astype(float)), np.log(part["seconds"]), 1)[0]
        for (job, letter), part in table.groupby(["job", "growing"], sort=False)
    }
    print(pd.Series(exponents).unstack()[list(GROWTH)].round(2).loc[GROWING].to_string())


def main(name=None, *sizes):
    if name == "growth":
        growth()
    elif name is None:
        leaderboard()
    else:
        model, names = (simulated_model(*map(int, sizes)), GROWING) if name == "at" else (leaderboard_model(), [name])
        for row in _measured(model, names):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    print(machine())
    main(*sys.argv[1:])
