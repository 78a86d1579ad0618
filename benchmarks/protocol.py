"""All methods of the Sloth paper and the package's own, predicting held-out LLMs in six cells.

    python benchmarks/protocol.py SCORES --protocol protocol.json --stored stored.csv [--jobs 2] [--methods ...]

prints method by cell, ours beside what the authors' own run stored, and the seconds of each method; it writes
``benchmarks/protocol.csv`` (mean absolute errors only, no scores), or ``--out``. Without arguments it leaves out every
family of the shipped table in turn. With ``--resume FOLDER`` it goes on where it was interrupted.
``python benchmarks/protocol_ledger.py`` makes the ledger of it.
"""

import argparse
import time
import warnings
from pathlib import Path

import pandas as pd
from common import machine

import latentscale as ls
from latentscale.validation import protocol as experiment


def main():
    """Run the experiment as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="?", type=Path)
    parser.add_argument("--protocol", type=Path)
    parser.add_argument("--stored", type=Path)
    parser.add_argument("--methods", default="paper,package")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    began = time.perf_counter()
    table = ls.load_leaderboard() if asked.scores is None else pd.read_csv(asked.scores)
    protocol = experiment.plain_protocol() if asked.protocol is None else experiment.read_protocol(asked.protocol)
    stored = None if asked.stored is None else experiment.read_stored(asked.stored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.ConvergenceWarning)  # the table has a column of them
        found = experiment.run_protocol(
            table, protocol, asked.methods.split(","), stored, n_jobs=asked.jobs, resume=asked.resume
        )
    print(found.text().to_string(), "\n")
    print(found.table.groupby("method", sort=False)[["seconds", "warned", "failed"]].sum().round(1).to_string(), "\n")
    found.table.round({"mae": 4, "mae_pooled": 4, "seconds": 2}).to_csv(asked.out, index=False)
    print(f"{time.perf_counter() - began:.0f} s with {asked.jobs} jobs on {machine()}")


if __name__ == "__main__":
    main()
