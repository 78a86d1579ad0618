"""What the sections share: panels, stated parameters, and what is kept of a fit and of a table."""

import inspect
from functools import cache

import numpy as np
import pandas as pd

import latentscale as ls

ANCHORS = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}
MAIN = "log(params_b) + log(tokens_t)"

_HAS_OPTION = "precision_sd" in inspect.signature(ls.LatentSkillModel).parameters
LLM_EFFECTS = {"llm_effects": True} | ({"precision_sd": 1.5} if _HAS_OPTION else {})
"""Residual skills of LLMs, with the penalty on precisions that such models had before it became an option."""


@cache
def panel(boundary="squeeze"):
    """The shipped leaderboard."""
    return ls.BenchmarkPanel(ls.load_leaderboard(), boundary=boundary)


@cache
def small_panel():
    """Six benchmarks and the larger families of the leaderboard: what is slow on all of it is shown on this."""
    table = ls.load_leaderboard()
    table = table[table["params_b"].notna() & table["tokens_t"].notna()]
    table = table[table.groupby("family")["model"].transform("size") >= 3].reset_index(drop=True)
    return ls.BenchmarkPanel(table, benchmarks=list(ls.BENCHMARKS[:6]))


def stated_params(model):
    """Parameters at which a model is evaluated: near estimates in size, different for each parameter.

    Returns
    -------
    Series
    """
    counts, values = {}, {}
    for name in model.param_names:
        kind = name.split("[")[0]
        number = counts[kind] = counts.get(kind, -1) + 1
        wave = np.sin(1.7 * number + 0.4)
        values[name] = {
            "loading": 0.45 + 0.2 * wave,
            "intercept": -2.0 + 0.7 * wave,
            "slope": (0.4 if number < 2 * len(model.skills) else 0.03) * (1.0 + 0.4 * wave),
            "precision": 90.0 + 60.0 * wave,
            "corr": 0.2 + 0.1 * wave,
            "cov": (0.25 + 0.1 * wave),
            "lower": 0.15 + 0.1 * wave,
            "upper": 0.95 + 0.03 * wave,
            "link": 0.15 * wave,
            "slope_sd": 0.2 + 0.05 * wave,
            "llm_sd": 0.4,
        }[kind]
    return pd.Series(values, dtype=float)


def keep_summary(keep, summary, formats=("text", "html", "latex", "csv")):
    """Keep a summary in several formats."""
    for name in formats:
        keep(f"summary: {name}", getattr(summary, f"as_{name}")())


def without_seconds(frame):
    """A table without its columns of times."""
    return frame.drop(columns=[name for name in frame.columns if "seconds" in str(name)])


def keep_starts(keep, fit):
    """Keep the table of starts; gradients at their ends, which are nothing but rounding, are left out."""
    starts = without_seconds(fit.starts)
    keep("starts", starts.drop(columns=[name for name in starts.columns if "gradient" in str(name)]))


def keep_estimates(keep, fit, summaries=("text",)):
    """Keep what a fit of a LatentSkillModel estimated."""
    keep("params", fit.params)
    keep("llf", fit.llf)
    keep("llf_penalised", fit.llf_penalised)
    keep("llf_se", fit.llf_se, scale=1.0)
    keep("llf_error", fit.llf_error, scale=1.0)
    keep("converged", fit.converged)
    keep("counts", [fit.nobs, fit.n_llms, fit.n_families, fit.df_model])
    keep("problems: text", "\n".join(problem.message for problem in fit.problems))
    keep_starts(keep, fit)
    keep_summary(keep, fit.summary(), summaries)
    if fit.cov_type != "none":
        keep_errors(keep, fit)


def keep_errors(keep, fit):
    """Keep what rests on the covariance of the estimates."""
    keep("bse", fit.bse)
    keep("tvalues", fit.tvalues)
    keep("pvalues", fit.pvalues, scale=1.0)
    keep("conf_int", fit.conf_int())
    keep.matrix("cov_params", fit.cov_params())
