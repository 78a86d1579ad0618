"""Mundlak's test of slopes on the shipped table, and its size.

    python benchmarks/mundlak.py [--tables 200] [--jobs 2] [--out benchmarks/mundlak.csv]

``fit.test_mundlak()`` asks whether slopes within families are those between them, of the two models of ``make demo``,
both by Laplace. Then tables are simulated from the first of them, in which the hypothesis holds, and the same test is
made of fits to them: a row says in which share of the tables its p-value is at most 0.05.
"""

import argparse
import warnings
from pathlib import Path

import pandas as pd
from common import leaderboard_model, machine, refitted
from joblib import Parallel, delayed

import latentscale as ls
from latentscale.cli.fitting import EXTENDED
from latentscale.models.options import given_options

METHODS = ("wald", "lr", "score")


def p_values(truth: ls.LatentSkillModel, params: pd.Series, seed: int) -> pd.Series:
    """Return p-values by part and method of a table in which the hypothesis holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of single tables; the share of rejections is what is studied
        return refitted(truth, params, seed).test_mundlak(method=METHODS).table["p_value"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    plain = leaderboard_model()
    extended = type(plain)(plain.panel, **given_options(plain) | EXTENDED)
    tables = []
    for name, model in (("plain", plain), ("extended", extended)):
        fit = model.fit(integration="laplace", starts=10)
        test = fit.test_mundlak(method=METHODS)
        print(f"The {name} model, llf {fit.llf:.4f}\n{test}\n")
        tables.append(test.table.reset_index().assign(study=f"shipped table, {name}", tables=1))
        if name == "plain":
            params = fit.params
    drawn = Parallel(options.jobs)(delayed(p_values)(plain, params, seed) for seed in range(1, options.tables + 1))
    shares = (pd.concat(drawn, axis=1) <= 0.05).mean(axis=1).rename("rejected at 5%")
    print(f"Share of {options.tables} tables rejected at 5%\n{shares.unstack().round(3)}\n{machine()}")
    tables.append(shares.reset_index().assign(study="simulated from plain", tables=options.tables))
    if options.out:
        columns = ["study", "tables", "part", "method", "statistic", "df", "p_value", "rejected at 5%"]
        pd.concat(tables)[columns].to_csv(options.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
