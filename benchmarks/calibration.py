"""Calibration of prediction intervals under leave-family-out, on the cells of the Sloth paper's protocol.

    python benchmarks/calibration.py SCORES --protocol protocol.json [--jobs 2] [--methods 'default;naive']

prints coverage, width and scores by cell and method, and writes ``benchmarks/calibration.csv`` (no scores of any LLM),
or ``--out``; ``--pictures DIR`` writes coverage and PIT pictures of all cells pooled. Without arguments it leaves out
every family of the shipped table in turn. ``residuals`` is the default specification with residual skills of LLMs,
``calibrated`` with family slopes too, ``naive`` the default specification with intervals that carry the beta noise of a
score at the estimates and no other uncertainty.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine

import latentscale as ls
from latentscale.validation import metrics
from latentscale.validation import protocol as experiment


class Naive:
    """Fits of a specification whose intervals carry the noise of a score alone."""

    def __init__(self, specification):
        self.specification = specification

    def fit(self, panel):
        """The fit, with other intervals."""
        fitted = self.specification.fit(panel)
        return _NaiveFit(fitted)


class _NaiveFit:
    def __init__(self, fit):
        self.fit = fit

    def predict(self, data):
        """As the fit."""
        return self.fit.predict(data)

    def get_prediction(self, data):
        """With one source of uncertainty."""
        return self.fit.get_prediction(data, uncertainty=("score",))


def methods():
    """What is compared, by name."""
    default, calibrated = ls.default_specification(), ls.calibrated_specification()
    residuals = ls.Specification(
        ls.LatentSkillModel, fit=dict(default.fit_options),
        **{**default.options, "llm_effects": True, "precision_sd": 1.5},
    )
    sloth = ls.Specification(ls.SlothModel, n_skills=3, link="monotone", fit={"cov_type": "none", "starts": 1})
    return {
        "calibrated": calibrated, "residuals": residuals, "default": default, "naive": Naive(default),
        "sloth, d = 3": sloth,
    }  # fmt: skip


def main():
    """Run the comparison as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="?", type=Path)
    parser.add_argument("--protocol", type=Path)
    parser.add_argument("--methods")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    began = time.perf_counter()
    table = ls.load_leaderboard() if asked.scores is None else pd.read_csv(asked.scores)
    protocol = experiment.plain_protocol() if asked.protocol is None else experiment.read_protocol(asked.protocol)
    every = methods()
    wanted = every if asked.methods is None else {name: every[name] for name in asked.methods.split(";")}
    errors = []
    for (name, n_train), groups in protocol.groups.items():
        benchmarks = protocol.sets[name]
        chance = {one: level for one, level in protocol.chance.items() if one in benchmarks}
        panel = ls.BenchmarkPanel(table, benchmarks=benchmarks, chance=chance)
        store = None
        if asked.resume is not None:
            asked.resume.mkdir(parents=True, exist_ok=True)
            store = asked.resume / f"{name}_{n_train}.jsonl"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ls.ConvergenceWarning)  # counted by protocol.py
            warnings.simplefilter("ignore", UserWarning)
            run = ls.leave_family_out(wanted, panel, groups, n_train, asked.jobs, resume=store)
        print(f"{name}, n = {n_train}\n{tabulate(run).round(3).T.to_string()}\n", flush=True)
        errors.append(run.errors.assign(cell=f"{name} n={n_train}"))
    pooled = pd.concat(errors, ignore_index=True)
    result = summary(pooled, list(wanted))
    result.round(4).to_csv(asked.out)
    print(result.round(3).to_string())
    if asked.pictures is not None:
        pictures(pooled, asked.pictures)
    print(f"{time.perf_counter() - began:.0f} s with {asked.jobs} jobs on {machine()}")


def tabulate(run):
    """Calibration of one cell, with the mean absolute error of the protocol."""
    return run.calibration().assign(mae=run.mae())


def summary(errors, names):
    """Calibration by cell, pooled, and by benchmark pooled over cells."""
    levels, parts = (0.5, 0.8, 0.95), []
    cells = [(cell, rows) for cell, rows in errors.groupby("cell", sort=False)]
    cells.append(("pooled", errors))
    cells += [(f"pooled, {benchmark}", rows) for benchmark, rows in errors.groupby("benchmark", sort=False)]
    for cell, rows in cells:
        shares = metrics.coverage(rows, names, levels)
        table = metrics.calibration(rows, shares, levels)
        pooled = metrics.mean_absolute_error(rows, names, pooled=True)
        parts.append(table.assign(mae_pooled=pooled, cell=cell).join(by_groups(rows, names)))
    return pd.concat(parts).reset_index().set_index(["cell", "method"])


def by_groups(errors, names):
    """Standard error of 95% coverage with groups of test families as clusters, and coverage without the worst group.

    The worst group is the one with the most misses beyond a share of .05.
    """
    rows = errors[errors["lower_95"].notna()]
    inside = rows["observed"].between(rows["lower_95"], rows["upper_95"])
    counts = rows.assign(inside=inside).groupby(["method", "group"])["inside"].agg(["sum", "count"])
    out = {}
    for name in (name for name in names if name in counts.index):
        held, n = (counts.loc[name][column] for column in ("sum", "count"))
        share, groups = held.sum() / n.sum(), len(n)
        error = np.sqrt(((held - share * n) ** 2).sum() * groups / (groups - 1)) / n.sum()
        worst = (0.95 * n - held).idxmax()
        rest = (held.sum() - held[worst]) / (n.sum() - n[worst])
        out[name] = {"error_95": error, "worst_group": worst, "worst_95": held[worst] / n[worst], "rest_95": rest}
    return pd.DataFrame(out).T.infer_objects()


def pictures(errors, folder):
    """Coverage and PIT of all cells pooled."""
    from latentscale.plots.calibration import plot_calibration

    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("coverage", "pit"):
        plot_calibration(errors, kind).figure.savefig(folder / f"{kind}.png", dpi=150)


if __name__ == "__main__":
    main()
