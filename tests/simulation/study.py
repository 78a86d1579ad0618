"""Size and coverage by simulation: parameters as estimated on the shipped table, four anchored skills.

    python tests/simulation/study.py coverage --replicates 200
    python tests/simulation/study.py size --replicates 210
    python tests/simulation/study.py shared --replicates 200

write ``coverage.csv``, ``size.csv`` and ``shared.csv`` beside this file. Replicate r is simulated from child r of the
seed, so that more replicates extend fewer ones. Fits, standard errors and tests are Laplace's (the data are not).
``size`` simulates from the estimate under no interaction, equal slopes on log size and log tokens and equal slopes
across skills, a null hypothesis of all the tests of fixed slopes; ``shared`` from the estimate without restrictions.
"""

import argparse
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import stats
from threadpoolctl import threadpool_limits

import latentscale as ls
from latentscale.estimation.refit import refit
from latentscale.inference.covariance import CORRECTIONS, sandwich
from latentscale.inference.hypotheses import METHODS, restricted_end
from latentscale.likelihood.expected_information import expected_information
from latentscale.likelihood.family_scores import family_information, family_scores
from latentscale.parameters.restrictions import natural_jacobian, natural_vector, read_restriction
from latentscale.results.latent_skill import LatentSkillResults

SKILLS = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}
HERE = Path(__file__).resolve().parent
SEED = 20261122
COLUMNS = {
    "coverage": ["replicate", "parameter", "method", "covered", "width"],
    "size": ["replicate", "test", "method", "p_value"],
    "shared": ["replicate", "test", "method", "p_value"],
}


def shipped_fit(**options):
    """The Laplace fit of the shipped table from which the studies simulate."""
    model = ls.LatentSkillModel(ls.BenchmarkPanel(ls.load_leaderboard()), skills=ls.Anchored(SKILLS))
    return model.fit(integration="laplace", starts=3, **options)


def null_hypotheses(model):
    """The restrictions of ``size``: of each named test, and all at once."""
    size, tokens, product = model.terms
    skills = model.skills
    none = [f"slope[{product},{skill}] = 0" for skill in skills]
    flops = [f"slope[{size},{skill}] = slope[{tokens},{skill}]" for skill in skills] + none
    equal = [
        f"slope[{term},{skills[0]}] = slope[{term},{skill}]" for term in model.terms for skill in skills[1:]
    ]
    return {"no interaction": none, "FLOPs sufficiency": flops, "equal slopes": equal}


def replicate_fit(fit, metric, child, information=True):
    """A fit to scores simulated at ``fit``, from its own parameters, and the families' information.

    ``metric`` is the expected information there, natural scale. None if it did not converge.
    """
    rng = np.random.default_rng(child)
    table = fit.model.simulate(fit.params, seed=int(rng.integers(2**31)))
    panel = ls.BenchmarkPanel(table, benchmarks=fit.model.benchmarks, chance=fit.model.panel.chance)
    model = ls.LatentSkillModel(panel, fit.model.scaling, fit.model.form)
    start = model.space.free_vector(model.recoding.internal(fit.structure))
    carried = natural_jacobian(model.space, model.recoding, start)
    end = refit(model.objective, fit.estimate.rule, start, carried.T @ metric @ carried)
    if not end.converged:
        return None
    if not information:
        return LatentSkillResults(model, _estimate(fit, model, end, carried.T @ metric @ carried)), None
    own = family_information(model.objective, end.coordinates, fit.estimate.rule)
    estimate = _estimate(fit, model, end, own.sum(axis=0))
    return LatentSkillResults(model, estimate), own


def _estimate(fit, model, end, information):
    return replace(
        fit.estimate, params=natural_vector(model.space, model.recoding, end.coordinates), free=end.coordinates,
        loglike=end.loglike, penalised=end.value, information=information, distance=end.distance,
        gradient=end.gradient, converged=True, evaluations=end.evaluations, restriction=None, kept=None,
    )  # fmt: skip


def sandwich_matrix(refitted, own, correction):
    """The sandwich, from families' information that is at hand."""
    estimate = refitted.estimate
    scores = family_scores(refitted.model.objective, estimate.free, estimate.rule)
    return sandwich(scores, refitted.observed, correction, own)[0]


def coverage_replicate(fit, metric, child, number):
    """Rows (replicate, parameter, method, covered, width) for one simulated table."""
    threadpool_limits(1)
    refitted = replicate_fit(fit, metric, child)
    if refitted is None or not np.isfinite(refitted[0].observed.matrix).all():
        return [(number, "", "failed", np.nan, np.nan)]
    refitted, own = refitted
    truth, rows = fit.params, []
    errors = {"wald": refitted.bse.to_numpy()} | {
        f"sandwich, {name}": np.sqrt(np.diag(sandwich_matrix(refitted, own, name))) for name in CORRECTIONS
    }
    critical = {"": stats.norm.isf(0.025), ", t": stats.t.isf(0.025, refitted.n_families - 1)}
    for method, values in errors.items():
        for law, quantile in critical.items():
            if law and not method.startswith("sandwich"):
                continue
            inside = np.abs(refitted.params.to_numpy() - truth.to_numpy()) <= quantile * values
            rows += [
                (number, name, method + law, bool(hit), 2.0 * quantile * value)
                for name, hit, value in zip(truth.index, inside, values, strict=True)
                if name.startswith("slope[")
            ]
    interval = refitted.conf_int()
    inside = (interval["lower"] <= truth) & (truth <= interval["upper"])
    others = [name for name in truth.index if not name.startswith("slope[")]
    rows += [(number, name, "wald", bool(inside[name]), np.nan) for name in others]
    bound = stats.chi2.isf(0.05, 1)
    for name in truth.index[truth.index.str.startswith("slope[")]:
        restriction = read_restriction(f"{name} = {float(truth[name])!r}", list(truth.index))
        end = restricted_end(refitted, restriction)
        # the truth lies in the profile interval if and only if its likelihood ratio is below the bound
        rows.append((number, name, "profile", bool(2.0 * (refitted.llf - end.value) <= bound), np.nan))
    return rows


def size_replicate(fit, metric, child, number):
    """Rows (replicate, test, method, p-value) for one table simulated under the null hypotheses."""
    threadpool_limits(1)
    refitted = replicate_fit(fit, metric, child)
    if refitted is None or not np.isfinite(refitted[0].observed.matrix).all():
        return [(number, "", "failed", np.nan)]
    refitted, own = refitted
    robust = sandwich_matrix(refitted, own, "jackknife")
    rows = []
    for name, texts in null_hypotheses(refitted.model).items():
        tested = refitted.test_hypothesis(texts, "all").table
        rows += [(number, name, method, tested.loc[("jointly", method), "p_value"]) for method in METHODS]
        matrix = read_restriction(texts, refitted.model.param_names).matrix
        gap, spread = matrix @ refitted.params.to_numpy(), matrix @ robust @ matrix.T
        statistic = gap @ np.linalg.solve(spread, gap)
        rows.append((number, name, "wald, jackknife sandwich", stats.chi2.sf(statistic, len(matrix))))
        q, count = len(matrix), refitted.n_families
        ratio = tested.loc[("jointly", "wald"), "statistic"] / q
        rows.append((number, name, "wald, F", stats.f.sf(ratio, q, count - q)))
    return rows


def shared_replicate(fit, metric, child, number):
    """Rows (replicate, test, method, p-value) of the test of shared slopes, which are shared."""
    threadpool_limits(1)
    refitted = replicate_fit(fit, metric, child, information=False)
    if refitted is None:
        return [(number, "", "failed", np.nan)]
    table = refitted[0].test_shared_slopes(method="all").table
    return [(number, "shared slopes", method, table.loc[("jointly", method), "p_value"]) for method in ("score", "lr")]


def run(kind, replicates, n_jobs=1, seed=SEED, report=None, first=0):
    """Rows of all replicates as a DataFrame; ``report`` is called with those so far after every tenth."""
    fit = shipped_fit()
    if kind == "size":
        texts = [text for part in null_hypotheses(fit.model).values() for text in part]
        fit = shipped_fit(constraints=texts)
    one = {"coverage": coverage_replicate, "size": size_replicate, "shared": shared_replicate}[kind]
    metric = expected_information(fit.model, fit.structure, fit.model.table, 200)
    children = np.random.SeedSequence(seed).spawn(replicates)
    wanted = list(enumerate(children))[first:]
    tasks = (delayed(_quiet)(one, fit, metric, child, number) for number, child in wanted)
    rows, began = [], time.perf_counter()
    for done, part in enumerate(Parallel(n_jobs=n_jobs, return_as="generator")(tasks), 1):
        rows += part
        if report is not None and done % 10 == 0:
            print(f"{done} of {replicates} after {time.perf_counter() - began:.0f} s", flush=True)
            report(pd.DataFrame(rows, columns=COLUMNS[kind]))
    return pd.DataFrame(rows, columns=COLUMNS[kind])


def _quiet(one, fit, metric, child, number):
    with warnings.catch_warnings():  # a replicate's warnings say nothing of the study; failures are counted
        warnings.simplefilter("ignore")
        try:
            return one(fit, metric, child, number)
        except (ls.DataError, np.linalg.LinAlgError):
            return [(number, "", "failed", *([np.nan] * (2 if one is coverage_replicate else 1)))]


def coverage_table(rows):
    """Coverage of 95% intervals by parameter and method, with its Monte Carlo standard error."""
    rows = rows[rows["method"] != "failed"]
    grouped = rows.groupby(["parameter", "method"], sort=False)
    table = grouped["covered"].agg(coverage="mean", replicates="count").astype({"coverage": float})
    table["mc_se"] = np.sqrt(table["coverage"] * (1.0 - table["coverage"]) / table["replicates"])
    table["mean_width"] = grouped["width"].mean()
    return table.round(4)


def size_table(rows):
    """Rejection rates at the 5% level by test and method, with their Monte Carlo standard error."""
    rows = rows[rows["method"] != "failed"].dropna()
    grouped = rows.groupby(["test", "method"], sort=False)["p_value"]
    table = grouped.agg(rejected=lambda p: np.mean(p < 0.05), replicates="count")
    table["mc_se"] = np.sqrt(table["rejected"] * (1.0 - table["rejected"]) / table["replicates"])
    table["rejected_10"] = grouped.agg(lambda p: np.mean(p < 0.10))
    return table.round(4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(COLUMNS))
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--n-jobs", type=int, default=os.cpu_count())
    parser.add_argument("--first", type=int, default=0, help="number of the replicate to begin with")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    out = options.out or HERE / f"{options.kind}.csv"
    summarise = coverage_table if options.kind == "coverage" else size_table

    def write(rows):
        """The table so far, so that a study may be watched, and ended early."""
        summarise(rows).to_csv(out)

    result = run(options.kind, options.replicates, options.n_jobs, report=write, first=options.first)
    write(result)
    print(f"failed: {int((result['method'] == 'failed').sum())} of {options.replicates}")
    print(summarise(result).to_string())
