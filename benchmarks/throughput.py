"""Leave-family-out and bootstrap by one process and by two: how much more is done in the same time.

    python benchmarks/throughput.py [--turns 5] [--replicates 60] [--out benchmarks/throughput.csv]

The model is that of the main job, four anchored skills on the shipped table, fitted by Laplace from one start. One
process is the run without any backend; two processes are those of loky, and two workers of a local dask cluster. They
have imported the package and fitted once before the clock starts, as in a run of hours; after that everything counts:
sending, receiving, and the last task, for which one worker waits. Ways take turns, and what is written are medians over
turns: ``throughput``, tasks by the clock relative to one process, and ``processor``, processor seconds of all processes
for a task relative to one process. The first is only worth something on a machine that does nothing else (``load`` is
its load average before the turn, which the turn before has raised); the second depends less on that, and shows what
parallel work costs: sending, and caches that two processes share. ``apart`` is what the machine itself allows: two
processes that know nothing of each other and each do the whole of the work, so that nothing is sent and none waits;
``of_possible`` is throughput relative to that.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
from common import SKILLS, leaderboard_model, machine
from distributed import Client, LocalCluster
from joblib import Parallel, delayed

import latentscale as ls

QUICK = {"integration": "laplace", "starts": 1}


def left_out(panel, groups=None):
    """Tasks done: families left out one by one."""
    spec = ls.Specification(ls.LatentSkillModel, skills=ls.Anchored(SKILLS), fit={**QUICK, "cov_type": "none"})
    return len(ls.leave_family_out(spec, panel, groups, alphas=()).fits)


def bootstrap(fit, replicates):
    """Tasks done: replicates."""
    return len(fit.bootstrap("parametric", replicates, seed=1).replicates)


def twice(work, *arguments):
    """Tasks done by two processes that each do all of the work."""
    return sum(Parallel(2)(delayed(work)(*arguments) for _ in range(2)))


def processor_seconds():
    """Of this process and all its children that live."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def measured(work):
    """A row: tasks, seconds by the clock, processor seconds."""
    began, spent = time.perf_counter(), processor_seconds()
    tasks = work()
    seconds = time.perf_counter() - began
    return {"tasks": tasks, "seconds": seconds, "processor_seconds": processor_seconds() - spent}


def main():
    """Measure as the command line says, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--replicates", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    model = leaderboard_model()
    fit = model.fit(**QUICK)
    jobs = {"leave_family_out": (left_out, model.panel), "bootstrap": (bootstrap, fit, asked.replicates)}
    rows = []
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        ways = {
            ("serial", 1): nullcontext,
            ("apart", 2): nullcontext,
            ("loky", 2): lambda: ls.parallel("loky", n_jobs=2),
            ("dask", 2): lambda: ls.parallel("dask", client),
        }
        for way in ways.values():
            with way():
                bootstrap(fit, 4)
                left_out(model.panel, ["opt", "pythia", "bloom", "llama-2"])
        for turn in range(asked.turns):
            for job, (work, *arguments) in jobs.items():
                for (backend, processes), way in ways.items():
                    load = os.getloadavg()[0]
                    do = partial(twice, work) if backend == "apart" else work
                    with way():
                        counted = measured(lambda do=do, arguments=arguments: do(*arguments))
                    rows.append({"work": job, "backend": backend, "processes": processes, **counted, "load": load})
                    print(turn, rows[-1], flush=True)
    table = summary(pd.DataFrame(rows))
    print(table.to_string(index=False))
    table.to_csv(asked.out, index=False)
    print(f"{machine()}; medians over {asked.turns} turns")


def summary(rows):
    """Medians over turns, relative to one process."""
    rows["per_minute"] = 60.0 * rows["tasks"] / rows["seconds"]
    keys = ["work", "backend", "processes", "tasks"]
    table = rows.groupby(keys, sort=False).median().reset_index()
    one = table["work"].map(table[table["processes"] == 1].set_index("work")["per_minute"])
    spent = table["processor_seconds"] / table["tasks"]
    first = table["work"].map(spent[table["processes"] == 1].set_axis(table.loc[table["processes"] == 1, "work"]))
    table = table.assign(throughput=table["per_minute"] / one, processor=spent / first)
    apart = table[table["backend"] == "apart"].set_index("work")["throughput"]
    return table.assign(of_possible=table["throughput"] / table["work"].map(apart)).round(3)


if __name__ == "__main__":
    main()
