"""Least Huber losses that Sloth reaches, and the processor time it takes.

    python benchmarks/sloth_losses.py SCORES --protocol protocol.json [--out FILE]

All LLMs with all scores of a benchmark set, of families with at least two; family intercepts, one start,
``cov_type="none"``; seconds are the least of three fits. ``reference`` is what an independent quasi-Newton program
reached for the logistic link and known asymptotes.
"""

import argparse
import time
import warnings
from pathlib import Path

import pandas as pd
from common import machine

import latentscale as ls
from latentscale.validation import protocol as experiment
from latentscale.validation.folds import leave_out

REFERENCE = {("v2", 2): 0.016648, ("v2", 3): 0.013920, ("v1", 2): 0.024279, ("v1", 3): 0.019498, ("all", 3): 0.020287}


def fits(panel, n_skills, link, ridge):
    """Results of one fit and the least of three times in seconds of processor time."""
    seconds = []
    for _ in range(3):
        began = time.process_time()
        with warnings.catch_warnings():
            # v2 with three skills has no minimum, as the column of problems says
            warnings.simplefilter("ignore", ls.ConvergenceWarning)
            fit = ls.SlothModel(panel, n_skills=n_skills, link=link).fit(starts=1, cov_type="none", ridge=ridge)
        seconds.append(time.process_time() - began)
    return fit, min(seconds)


def main():
    """Fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--protocol", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    table, protocol = pd.read_csv(asked.scores), experiment.read_protocol(asked.protocol)
    rows = []
    for (name, n_skills), reference in REFERENCE.items():
        chance = {benchmark: protocol.chance[benchmark] for benchmark in protocol.sets[name]}
        panel, _ = leave_out(ls.BenchmarkPanel(table, list(protocol.sets[name]), chance=chance))
        for link, ridge in (("logistic", None), ("logistic", 0.0), ("monotone", None)):
            fit, seconds = fits(panel, n_skills, link, ridge)
            rows.append(
                {
                    "benchmarks": name, "n_skills": n_skills, "link": link,
                    "ridge": "default" if ridge is None else f"{ridge:g}", "loss": round(fit.loss, 6),
                    "reference": reference if link == "logistic" else None, "problems": len(fit.problems),
                    "seconds": round(seconds, 3),
                }
            )  # fmt: skip
    result = pd.DataFrame(rows)
    result.to_csv(asked.out, index=False)
    print(result.to_string(index=False))
    print(machine())


if __name__ == "__main__":
    main()
