"""Compute-optimal size and tokens on the shipped table, four anchored skills, and what leans to tokens.

    python benchmarks/allocation.py

prints and writes ``benchmarks/allocation.csv`` (budgets by targets, the twelve benchmarks and four skills: optimal
size and tokens with intervals, shares of draws at a bound, within the data's range and ten times beyond it) and
``benchmarks/allocation_elasticities.csv`` (elasticities in size and tokens at four points). Each is made with the
inverse observed information and with the sandwich clustered by family. The fit is by quadrature, 5 nodes a dimension.
A third fit, by Laplace, has the family's mean log tokens as a further covariate (Mundlak 1978): the slopes of tokens
are then those within families, and the test of the further slopes says whether families' efficiencies are uncorrelated
with their tokens, as slopes without that covariate take them to be.
"""

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import SKILLS, leaderboard_model, machine

import latentscale as ls
from latentscale.planning.allocation import compute_optimal
from latentscale.planning.elasticities import scaling_elasticities

BUDGETS = (1e21, 1e22, 1e23, 1e24)
POINTS = {"centre": None, "1B, 0.3T": (1.0, 0.3), "7B, 2T": (7.0, 2.0), "70B, 15T": (70.0, 15.0)}
COLUMNS = [
    "size", "size_ci_lower", "size_ci_upper", "tokens", "tokens_ci_lower", "tokens_ci_upper", "tokens_per_param",
    "value", "value_ci_lower", "value_ci_upper", "shortfall", "corner", "corner_share", "extrapolation",
]  # fmt: skip
HERE = Path(__file__)


def within_families():
    """A fit whose slopes of tokens are those within families."""
    table = ls.load_leaderboard()
    table["family_log_tokens"] = np.log(table["tokens_t"]).groupby(table["family"]).transform("mean")
    scaling = "log(params_b) * log(tokens_t) + family_log_tokens"
    model = ls.LatentSkillModel(ls.BenchmarkPanel(table), scaling, ls.Anchored(SKILLS))
    return model.fit(integration="laplace", starts=3)


began = time.perf_counter()
fit = leaderboard_model().fit(integration="quadrature", points=5, starts=4)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # the sandwich rests on few families: the table's reader is told so
    within = within_families()
    fits = {"observed": fit, "cluster": fit.get_robust("cluster"), "within families": within}
    targets = [*fit.model.skills, *fit.model.benchmarks]
    plans, tables = {}, []
    for covariance, one in fits.items():
        # held at one trillion tokens; it moves values, and neither optima nor elasticities
        covariates = {"family_log_tokens": 0.0} if one is within else None
        for reach in (1.0, 10.0):
            for target in targets:
                # optima beyond the data are what the table is to show
                plan = compute_optimal(one, BUDGETS, target, covariates=covariates, reach=reach)
                plans[covariance, reach, target] = plan
                frame = plan.table[COLUMNS].reset_index()
                tables.append(frame.assign(target=target, covariance=covariance, reach=reach))
result = pd.concat(tables).set_index(["covariance", "reach", "target", "flops"])
result.to_csv(HERE.with_suffix(".csv"), float_format="%.4g")

tables = []
for covariance, one in fits.items():
    covariates = {"family_log_tokens": 0.0} if one is within else None
    for name, at in POINTS.items():
        found = scaling_elasticities(one, at=at, covariates=covariates)
        tables.append(found.table.reset_index().assign(covariance=covariance, point=name))
        if name == "centre":
            print(found, "\n")
        contrast = found.contrast("math_lvl_5", "hellaswag")
        print(
            f"{covariance}, {name}: share of size, math_lvl_5 - hellaswag = {contrast['estimate']:.3f} "
            f"(s.e. {contrast['std_err']:.3f}, p = {contrast['p_value']:.2g})"
        )
elastic = pd.concat(tables).set_index(["covariance", "point", "target"])
elastic.round(5).to_csv(HERE.with_name("allocation_elasticities.csv"))

for covariance in fits:
    for reach in (1.0, 10.0):
        pair = [plans[covariance, reach, name].log_size_draws() for name in ("math_lvl_5", "hellaswag")]
        smaller = (pair[0] < pair[1] - 1e-9).mean()
        words = ", ".join(f"{flops:.0e}: {share:.3f}" for flops, share in smaller.items())
        print(f"{covariance}, reach {reach:g}: share of draws with a smaller optimal size for MATH: {words}")
with pd.option_context("display.width", 160, "display.max_rows", 100, "display.max_columns", 20):
    shown = result.xs(("observed", 10.0, 1e23), level=("covariance", "reach", "flops"))
    print(shown.drop(columns=["value_ci_lower", "value_ci_upper", "extrapolation"]).round(3))

# what the slopes of tokens rest on
names = [f"slope[family_log_tokens,{skill}]" for skill in SKILLS]
mundlak = within.wald_test([f"{name} = 0" for name in names])
words = f"chi2(4) = {float(mundlak.statistic):.1f}, p = {float(mundlak.pvalue):.1g}"
print(f"Slopes of the family's mean log tokens: {words}")
print(within.parameter_table().loc[names, ["estimate", "std_err", "p_value"]].round(3))
table = fit.model.panel.table.loc[list(fit.model.llms), ["params_b", "tokens_t"]].apply(np.log)
left = table - table.groupby(fit.model.family_codes).transform("mean")
print("Share of the variance that lies within families:", (left.var() / table.var()).round(3).to_dict())
moving = (left["tokens_t"].abs() > 1e-9).groupby(fit.model.family_codes).any().sum()
print(f"Families whose LLMs differ in tokens: {moving} of {fit.model.n_families}")
print(f"{time.perf_counter() - began:.0f} s on {machine()}")
