"""The Sloth paper's experiment: 28 methods of the paper and the default specification in six cells.

Needs a folder with ``sloth_protocol_scores.csv`` and ``sloth_protocol.json``, which are not shipped. Of predictions
only means of absolute errors are recorded, and sums. ``benchmarks/protocol.py`` runs the same and compares with what
the authors stored.
"""

import json
from pathlib import Path

import pandas as pd

import latentscale as ls

TRANSLOG = "log(params_b) * log(tokens_t)"
FLOPS = "log(params_b * tokens_t)"
LINKS = {"sigmoid": "logistic", "trainlink": "monotone"}


def methods(n_train):
    """Specifications by the names of the paper's stored errors, and the package's own."""
    found = {}
    for label, scaling in (("logF", FLOPS), ("logSlogT", TRANSLOG)):
        for intercepts in (False, True):
            for link, kind in LINKS.items():
                name = f"{label}_{link}{'_faminter' if intercepts else ''}"
                options = {"scaling": scaling, "family_intercepts": intercepts, "link": kind}
                found[name] = ls.Specification(ls.BenchmarkLaws, fit={"cov_type": "none"}, name=name, **options)
    for intercepts in (False, True):
        for link, kind in LINKS.items():
            for d in (1, 2, 3, 4):
                name = f"factor_{link}{'_faminter' if intercepts else ''}_d={d}"
                options = {"scaling": TRANSLOG, "n_skills": d, "family_intercepts": intercepts, "link": kind}
                fit = {"cov_type": "none", "starts": 1, "seed": 0}
                found[name] = ls.Specification(ls.SlothModel, fit=fit, name=name, **options)
    terms = "intercepts" if n_train < 2 else "slopes"
    for d in (1, 2, 3, 4):
        name = f"pca_d={d}"
        found[name] = ls.Specification(ls.ComponentLaws, name=name, n_components=d, scaling=FLOPS, family_terms=terms)
    return {**found, "latent_skill": ls.default_specification()}


def record(keep, data, jobs=1):
    """Keep the errors of every method in every cell."""
    table = pd.read_csv(Path(data) / "sloth_protocol_scores.csv")
    asked = json.loads((Path(data) / "sloth_protocol.json").read_text(encoding="utf-8"))
    for label, by_set in asked["test_family_groups"].items():
        n_train = int(label.removeprefix("n_train="))
        for name, groups in by_set.items():
            benchmarks = asked["benchmark_sets"][name]
            chance = {one: level for one, level in asked["chance_levels"].items() if one in benchmarks}
            panel = ls.BenchmarkPanel(table, benchmarks=benchmarks, chance=chance)
            run = ls.leave_family_out(methods(n_train), panel, groups, n_train, n_jobs=jobs, alphas=())
            here = keep.within(f"{name}, n_train={n_train}")
            here("mae", run.mae())
            here("mae pooled", run.mae(pooled=True))
            here("mae by benchmark", run.mae(by="benchmark"))
            here("mae by group", run.mae(by="group"))
            here("sum of predictions", run.errors.groupby("method", sort=False)["predicted"].sum())
            here("sum of squared errors", (run.errors["error"] ** 2).groupby(run.errors["method"], sort=False).sum())
