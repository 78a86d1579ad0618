"""How well HumanEval is predicted from skills, beside regressions on size and on benchmarks.

    python benchmarks/downstream.py [--out FILE]

Base families of the shipped table (base and instruct variants together) are left out one by one, in two settings:

- ``benchmarks``: the family's benchmark scores are known, its HumanEval scores are not. Skills come from a fit to all
  LLMs, the regression from the other families.
- ``size``: only size and tokens are known. The fit too leaves the family out, and predicts it as an unseen one.

Methods: ``DownstreamModel`` on four anchored skills, with and without residual skills of LLMs, and with and without an
effect of families on the target (``family_effect``); the same skills plugged in, as a beta regression on their
posterior means; beta regression on log size, log tokens and their product; beta and ridge regressions on the logits of
the six benchmarks of the leaderboard's version 1, the ones that every LLM with HumanEval has. Ridge takes its penalty,
and its interval from the residuals, by leaving out families among those that train. All intervals are meant to hold 95%
of scores. One row a method, setting and LLM is written, and a table printed.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import SKILLS
from scipy import stats
from scipy.special import expit, logit
from statsmodels.othermod.betareg import BetaModel

import latentscale as ls
from latentscale.downstream.model import DownstreamModel

TARGET, VERSION_1 = "humaneval", list(ls.BENCHMARKS[:6])
PENALTIES = np.geomspace(0.1, 100.0, 13)
ALPHA = 0.05
CODE = ("codegen", "codellama", "deepseek-coder", "starcoder", "starcoder2")


def fits():
    """Name -> function from a panel to a fit."""
    options = {"integration": "laplace", "starts": 3, "cov_type": "observed"}
    return {
        "4 skills": lambda panel: ls.LatentSkillModel(panel, skills=ls.Anchored(SKILLS)).fit(**options),
        "4 skills, residuals": lambda panel: ls.LatentSkillModel(
            panel, skills=ls.Anchored(SKILLS), llm_effects=True, precision_sd=1.5
        ).fit(**options | {"starts": 1}),
    }


def by_skills(fit, train, asked, known, family_effect=True):
    """Predictions of the LLMs ``asked``: a frame by LLM with mean, lower, upper; ``train`` (LLM -> score) may be used.

    With ``known`` they are in the fit, otherwise they are predicted from size and tokens.
    """
    table = fit.model.panel.to_frame()[["model"]].assign(**{TARGET: lambda t: t["model"].map(train)})
    results = DownstreamModel(fit, TARGET, table, family_effect=family_effect).fit(integration="laplace")
    data = None if known else asked.reset_index().drop(columns=list(ls.BENCHMARKS))
    frame = results.get_prediction(data).summary_frame(ALPHA).set_index("llm").loc[asked.index]
    out = frame[["mean", "obs_ci_lower", "obs_ci_upper"]].set_axis(["mean", "lower", "upper"], axis=1)
    return out.assign(note="" if results.converged else "not converged")


def squeezed(score):
    """Scores off the boundary, and what puts them back (Smithson and Verkuilen 2006)."""
    n = len(score)
    return (score * (n - 1) + 0.5) / n, lambda y: np.clip((y * n - 0.5) / (n - 1), 0.0, 1.0)


def beta_regression(x, score, x_new):
    """Plain beta regression, its interval from the beta law at the estimates."""
    y, back = squeezed(score)
    middle, spread = x.mean(axis=0), x.std(axis=0)
    design = np.column_stack([np.ones(len(x)), (x - middle) / spread])
    fitted = BetaModel(y, design).fit(disp=0, maxiter=500)
    mu = expit(np.column_stack([np.ones(len(x_new)), (x_new - middle) / spread]) @ fitted.params[:-1])
    phi = np.exp(fitted.params[-1])
    ends = stats.beta.ppf([[ALPHA / 2], [1 - ALPHA / 2]], mu * phi, (1 - mu) * phi)
    return pd.DataFrame({"mean": mu, "lower": back(ends[0]), "upper": back(ends[1]), "note": ""})


def ridge(x, y, penalty):
    """Coefficients of standardised columns, and a function that predicts."""
    middle, spread, centre = x.mean(axis=0), x.std(axis=0), y.mean()
    z = (x - middle) / spread
    found = np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T @ (y - centre))
    return lambda new: centre + (new - middle) / spread @ found


def ridge_regression(x, score, x_new, groups):
    """Ridge on logits, its penalty and residual deviation by leaving out groups."""
    share, back = squeezed(score)
    y, best = logit(share), None
    for penalty in PENALTIES:
        errors = np.concatenate(
            [y[groups == g] - ridge(x[groups != g], y[groups != g], penalty)(x[groups == g]) for g in np.unique(groups)]
        )
        if best is None or np.mean(errors**2) < best[0]:
            best = np.mean(errors**2), penalty
    centre, half = ridge(x, y, best[1])(x_new), stats.norm.isf(ALPHA / 2) * np.sqrt(best[0])
    ends = [back(expit(centre + sign * half)) for sign in (0, -1, 1)]
    return pd.DataFrame({"mean": ends[0], "lower": ends[1], "upper": ends[2], "note": ""})


def regressions(table, asked, known, skills):
    """Predictions of the plain regressions, by method."""
    size = lambda t: np.column_stack(  # noqa: E731
        [np.log(t["params_b"]), np.log(t["tokens_t"]), np.log(t["params_b"]) * np.log(t["tokens_t"])]
    )
    score, groups = table[TARGET].to_numpy(), table["base_family"].to_numpy()
    found = {"beta on size and tokens": beta_regression(size(table), score, size(asked))}
    if known:
        x, x_new = (logit(frame[VERSION_1].clip(0.002, 0.998)).to_numpy() for frame in (table, asked))
        found["beta on six benchmarks"] = beta_regression(x, score, x_new)
        found["ridge on six benchmarks"] = ridge_regression(x, score, x_new, groups)
    for name, theta in skills.items():
        x, x_new = (theta.loc[frame.index].to_numpy() for frame in (table, asked))
        found[f"plugged in: {name}"] = beta_regression(x, score, x_new)
    return {name: frame.set_index(asked.index) for name, frame in found.items()}


def rows():
    """One frame a method, setting and family left out."""
    table = ls.load_leaderboard().dropna(subset=["params_b", "tokens_t"]).set_index("model")
    scored = table[table[TARGET].notna()]
    panel = ls.BenchmarkPanel(table.reset_index())
    whole = {name: fit(panel) for name, fit in fits().items()}
    skills = {name: fit.skills() for name, fit in whole.items()}
    for family in scored["base_family"].unique():
        asked, train = scored[scored["base_family"] == family], scored[scored["base_family"] != family]
        others = panel.subset(~panel.llms.isin(table.index[table["base_family"] == family]))
        for known in (True, False):
            found = regressions(train, asked, known, skills if known else {})
            for name, fit in fits().items():
                used = whole[name] if known else fit(others)
                for word, effect in (("", True), (", no family effect", False)):
                    found[f"downstream: {name}{word}"] = by_skills(used, train[TARGET].to_dict(), asked, known, effect)
            for name, frame in found.items():
                frame = frame.assign(method=name, setting="benchmarks" if known else "size", family=family)
                yield frame.assign(observed=asked[TARGET]).rename_axis("llm").reset_index()


def family_effects():
    """Log-likelihood of the target's scores with and without an effect of families on it, all families."""
    panel = ls.BenchmarkPanel(ls.load_leaderboard())
    fit = fits()["4 skills, residuals"](panel)
    for effect in (True, False):
        found = DownstreamModel(fit, TARGET, family_effect=effect).fit(integration="laplace")
        sd = found.params.get(f"family_sd[{TARGET}]", 0.0)
        print(f"family_effect={effect}: log-likelihood {found.llf:.2f}, family_sd {sd:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # methods are judged by what they predict; what did not converge is noted
        family_effects()
        table = pd.concat(rows(), ignore_index=True)
    table["note"] = table["note"].fillna("")
    columns = ["setting", "method", "family", "llm", "observed", "mean", "lower", "upper", "note"]
    table[columns].round(4).to_csv(options.out, index=False)
    table["error"] = 100 * (table["mean"] - table["observed"]).abs()
    table["covered"] = 100.0 * table["observed"].between(table["lower"] - 1e-9, table["upper"] + 1e-9)
    table["width"] = 100 * (table["upper"] - table["lower"])
    shown = table.groupby(["setting", "method"])[["error", "covered", "width"]].mean()
    families = table.groupby(["setting", "method", "family"])["error"].mean()
    shown["error by family"] = families.groupby(level=[0, 1]).mean()
    print(shown.round(1).to_string())
    shown = table[~table["family"].isin(CODE)].groupby(["setting", "method"])[["error", "covered", "width"]].mean()
    print(f"\nwithout the families trained for code ({', '.join(CODE)})\n{shown.round(1).to_string()}")


if __name__ == "__main__":
    main()
