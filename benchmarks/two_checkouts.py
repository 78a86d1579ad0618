"""Time and peak memory of two checkouts, measured in one run: is the new one slower than the old one?

    python benchmarks/two_checkouts.py OLD NEW [--turns 7] [--out benchmarks/two_checkouts.csv]

OLD and NEW are interpreters (``.venv/bin/python``) in whose environments the package is installed from the two
checkouts; or ``PYTHON:FOLDER`` for an interpreter that is to import the package from a folder. Each checkout has a
process of its own with one thread. The two take turns at every job, so that a machine whose speed varies slows both. A
job's time is the processor time of its process, and the ratio that of the medians over the turns. Peak memory is that
of the whole process after all jobs; import time that of fresh processes.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd
from common import machine

SERVER = r"""
import resource, sys, time, warnings
import numpy as np
import latentscale as ls

warnings.simplefilter("ignore")  # what a job warns of is the same on both sides, and not what is measured
panel = ls.BenchmarkPanel(ls.load_leaderboard())
anchors = ls.Anchored({"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"})
VALUES = {"loading": 0.6, "intercept": -0.3, "slope": 0.3, "precision": 40.0, "corr": 0.3, "slope_sd": 0.2,
          "llm_sd": 0.3, "link": 0.05}

def at(model):
    return np.array([VALUES[name.split("[")[0]] for name in model.param_names])

four = ls.LatentSkillModel(panel, skills=anchors)
two = {"skills": ls.Anchored({"math": "math_lvl_5", "commonsense": "hellaswag"})}
llm = ls.LatentSkillModel(panel, llm_effects=True, **two)
slopes = ls.LatentSkillModel(panel, random_slopes="log(params_b)", **two)
bent = ls.LatentSkillModel(panel, link="monotone", **two)
fitted = ls.LatentSkillModel(panel, **two).fit(integration="laplace", starts=1)
known = panel.table.reset_index().iloc[:20]
known = known[known["tokens_t"].notna()]

def many(times, function):
    def job():
        for _ in range(times):
            function()
    return job

JOBS = {
    "score by Laplace, 4 skills": many(20, lambda: four.score(at(four), "laplace")),
    "score on 81 nodes, 4 skills": many(3, lambda: four.score(at(four), "quadrature", points=3)),
    "score on 512 draws, 4 skills": many(1, lambda: four.score(at(four), "monte_carlo", draws=64)),
    "log-likelihood by Laplace, 4 skills": many(20, lambda: four.loglike(at(four), "laplace")),
    "Hessian on 81 nodes, 4 skills": many(1, lambda: four.hessian(at(four), "quadrature", points=3)),
    "score by Laplace, residual skills": many(10, lambda: llm.score(at(llm), "laplace")),
    "score by Laplace, random slopes": many(10, lambda: slopes.score(at(slopes), "laplace")),
    "score by Laplace, learned links": many(5, lambda: bent.score(at(bent), "laplace")),
    "fit by Laplace, 2 skills, 2 starts": lambda: ls.LatentSkillModel(panel, **two).fit(
        integration="laplace", starts=2),
    "default fit, 2 skills, 1 start": lambda: ls.LatentSkillModel(panel, **two).fit(starts=1),
    "fit with residual skills, 1 start": lambda: llm.fit(integration="laplace", starts=1),
    "fit that only predicts, default specification": lambda: ls.default_specification().fit(panel),
    "Sloth, 2 skills, 2 starts": lambda: ls.SlothModel(panel, n_skills=2).fit(starts=2),
    "Sloth, learned links, 1 start": lambda: ls.SlothModel(panel, n_skills=2, link="monotone").fit(
        starts=1, cov_type="none"),
    "predictions of 20 LLMs": lambda: fitted.get_prediction(known, size=2000),
    "quantile residuals": many(3, lambda: fitted.residuals()),
    "summary and tables": many(5, lambda: (fitted.summary().as_text(), fitted.conf_int(), fitted.tidy())),
    "sandwich covariance": lambda: fitted.get_robust("cluster"),
    "making a model": many(10, lambda: ls.LatentSkillModel(panel, **two)),
}
print("ready", flush=True)
for line in sys.stdin:
    name = line.strip()
    if name == "memory":
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
    elif name == "jobs":
        print("|".join(JOBS), flush=True)
    else:
        began = time.process_time()
        JOBS[name]()
        print(time.process_time() - began, flush=True)
"""
IMPORT = "import time; began = time.process_time(); import latentscale%s; print(time.process_time() - began)"
IMPORTS = {"import": "", "import and first use of LatentSkillModel": "; latentscale.LatentSkillModel"}


class Checkout:
    """A process that does jobs with the package of one checkout."""

    def __init__(self, interpreter: str):
        python, _, folder = interpreter.partition(":")
        # absolute, as the process works in the checkout; links stay, because an environment's interpreter is a link
        self.python, folder = os.path.abspath(python), os.path.abspath(folder) if folder else ""
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.environment = os.environ | one_thread | ({"PYTHONPATH": folder} if folder else {})
        self.folder = folder or Path(self.python).parents[2]
        self.process = subprocess.Popen(
            [self.python, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=self.environment, cwd=self.folder,
        )  # fmt: skip

    def wait(self) -> None:
        """Wait until the package is imported and a first fit made."""
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{self.python} could not begin")

    def ask(self, what: str) -> str:
        """Send a line and return the answer."""
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def import_time(self, name: str) -> float:
        """Processor time of importing the package, and asking it for a name, in a fresh process, in seconds."""
        done = subprocess.run(
            [self.python, "-c", IMPORT % name], env=self.environment, cwd=self.folder, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return float(done.stdout)


def measure(old: Checkout, new: Checkout, turns: int) -> pd.DataFrame:
    """Median processor times in seconds, and peak memory in MB, of both checkouts, with their ratio."""
    for checkout in (old, new):
        checkout.wait()
    jobs = [name for name in old.ask("jobs").split("|") if name in new.ask("jobs").split("|")]
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in [*jobs, *IMPORTS]}
    for turn in range(turns):
        for name in jobs:
            sides = [(old, 0), (new, 1)]
            for checkout, side in sides if turn % 2 == 0 else reversed(sides):
                times[name][side].append(float(checkout.ask(name)))
        for checkout, side in ((old, 0), (new, 1)):
            for name, use in IMPORTS.items():
                times[name][side].append(checkout.import_time(use))
        print(f"turn {turn + 1} of {turns}", file=sys.stderr)
    rows = [
        {"job": name, "unit": "s", "old": statistics.median(before), "new": statistics.median(after)}
        for name, (before, after) in times.items()
    ]
    rows.append({"job": "peak memory", "unit": "MB", "old": float(old.ask("memory")), "new": float(new.ask("memory"))})
    table = pd.DataFrame(rows).set_index("job")
    return table.assign(ratio=table["new"] / table["old"])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    table = measure(Checkout(given.old), Checkout(given.new), given.turns).round(4)
    print(f"{machine()}; {given.turns} turns")
    print(table.to_string())
    if given.out:
        table.to_csv(given.out)


if __name__ == "__main__":
    main()
