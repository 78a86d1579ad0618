"""Families, predictions, residuals, pictures' tables, planning, further scores and comparisons."""

import latentscale as ls

from .shared import ANCHORS, LLM_EFFECTS, keep_summary, panel, small_panel

ECHELON = ls.Echelon(["bbh", "ifeval"])
LAPLACE = {"integration": "laplace", "starts": 1}
SOURCES = (("parameters",), ("family",), ("score",), ("parameters", "family", "score"))

# name: (panel, options of the model, options of the fit)
FITS = {
    "laplace": (panel, {"skills": ECHELON}, LAPLACE),
    "quadrature": (small_panel, {"skills": 1}, {"integration": "quadrature", "starts": 1}),
    "monte_carlo": (small_panel, {"skills": 2}, {"starts": 1}),
    "llm_effects": (panel, {"skills": ECHELON, **LLM_EFFECTS}, LAPLACE),
    "random_slopes": (panel, {"skills": 1, "random_slopes": "log(params_b)"}, LAPLACE),
    "both effects": (small_panel, {"skills": 1, "random_slopes": "log(params_b)", **LLM_EFFECTS}, LAPLACE),
    "monotone both": (small_panel, {"skills": 1, "link": "monotone", "asymptotes": "both"}, LAPLACE),
    "outliers censor": (lambda: panel("censor"), {"skills": ECHELON, "outliers": 0.1}, LAPLACE),
    "family_covariates": (panel, {"skills": 1, "family_covariates": "instruct"}, LAPLACE),
}  # fmt: skip


def record(keep):
    """Keep what every fit predicts, and of the first all that rests on it."""
    fits = {}
    for name, (where, options, fit_options) in FITS.items():
        fits[name] = ls.LatentSkillModel(where(), **options).fit(**fit_options)
        predictions(keep.within(name), fits[name], "random_slopes" in options)
        residuals(keep.within(name), fits[name])
    posteriors(keep, fits["laplace"])
    pictures(keep.within("tables of pictures"), fits["laplace"])
    planning(keep.within("planning"), fits["laplace"])
    next_scores(keep.within("next"), fits)
    downstream(keep.within("downstream"), fits)
    repeated(keep.within("repeated"), fits)
    comparisons(keep.within("comparisons"), fits)


def new_llms():
    """LLMs of known families and of two unseen ones, some with scores."""
    table = ls.load_leaderboard()
    table = table[table["params_b"].notna() & table["tokens_t"].notna() & table["family"].isin(["opt", "qwen2", "yi"])]
    table = table.iloc[::2].reset_index(drop=True)
    table["model"] = "new " + table["model"]
    for number, family in enumerate(["unseen one", "unseen two", "unseen two"]):
        table.loc[number, "family"] = family
    return table


def predictions(keep, fit, slopes_vary):
    """Families' effects, skills and predictions of known, unseen and partly observed LLMs."""
    keep.long("family_effects", fit.family_effects())
    keep.long("family_effect_table", fit.family_effect_table())
    if slopes_vary:
        keep.long("family_slopes", fit.family_slopes())
    keep.long("skills", fit.skills())
    keep.long("predict", fit.predict())
    new = new_llms()
    keep.long("predict new", fit.predict(new))
    keep.long("in sample", fit.get_prediction(size=100, seed=1).summary_frame())
    for sources in SOURCES:
        frame = fit.get_prediction(new, size=128, seed=2, uncertainty=sources).summary_frame()
        keep.long(f"new by {'+'.join(sources)}", frame)
    keep.long("observed", fit.get_prediction(new, observed=True, size=128, seed=3).summary_frame(alpha=0.2))
    keep.long("family_posterior", fit.family_posterior("qwen2", size=60, seed=4))


def residuals(keep, fit):
    """Residuals of all kinds and their tests."""
    for kind in ("response", "pearson", "quantile"):
        keep.long(f"{kind} residuals", fit.residuals(kind, seed=5))
    found = fit.residual_tests("quantile", seed=5)
    keep("residual_tests", found, scale=1.0)
    keep.long("augment", fit.augment(seed=5))
    keep.long("residual_table", fit.residual_table(seed=5))


def posteriors(keep, fit):
    """Posteriors of families, contrasts, calibration."""
    every = fit.family_posteriors(draws=256, seed=6)
    keep.long("moments", every.moments())
    keep.long("quantiles", every.quantiles())
    keep("correlation", every.correlation("qwen2"))
    keep("contrast", fit.contrast("qwen2-instruct", "qwen2", at={"params_b": 7, "tokens_t": 7}, size=200, seed=7))
    scores = panel().scores.loc[list(fit.predict().index)]
    told = fit.get_prediction(size=100, seed=8).calibration(scores, rounding=panel().rounding, seed=9)
    keep.long("calibration", told, scale=1.0)


def pictures(keep, fit):
    """The tables behind pictures."""
    keep.long("curve", fit.scaling_curve("bbh", families=["qwen2", "unseen family"], points=10, size=100, seed=1))
    keep.long("skill curve", fit.scaling_curve("skill1", x="tokens_t", points=5, size=100, seed=1))
    keep.long("surface", fit.scaling_surface("skill2", points=5, size=60, seed=1))
    keep.long("characteristic curves", fit.characteristic_curves("skill1", points=9))
    keep.long("curve points", fit.curve_points("skill1"))
    keep.long("instruct", fit.instruct_table())
    keep.long("prediction table", fit.prediction_table(size=60, seed=1))
    keep.long("links", fit.links)


def planning(keep, fit):
    """Optimal size and tokens, elasticities."""
    for target in ("skill1", "bbh"):
        plan, here = ls.compute_optimal(fit, [1e21, 1e23], target, draws=100, seed=1), keep.within(target)
        here("summary_frame", plan.summary_frame())
        here("text", str(plan))
    plan = ls.compute_optimal(fit, [1e22], "bbh", family="qwen2", interval="delta", inference_tokens_t=1.0)
    keep("delta", plan.summary_frame())
    found = ls.scaling_elasticities(fit)
    keep("elasticities", found.summary_frame())
    keep("elasticities: text", str(found))
    keep("contrast of shares", found.contrast("bbh", "hellaswag"))


def next_scores(keep, fits):
    """Which score would tell most."""
    new = new_llms()
    new.loc[:, ["mmlu", "bbh"]] = float("nan")
    for name, target in (("laplace", "skill1"), ("both effects", "mmlu")):
        found = fits[name].next_evaluation(new, target=target, size=200, outcomes=20, seed=1)
        keep.long(f"{name}: table", found.table)


def downstream(keep, fits):
    """Regressions of a further score on skills."""
    new = new_llms()
    for name, options in (
        ("laplace", {}),
        ("llm_effects", {"asymptotes": "both"}),
        ("random_slopes", {"asymptotes": "lower", "family_effect": False}),
        ("quadrature", {"boundary": "censor"}),
    ):
        model, here = ls.DownstreamModel(fits[name], "humaneval", **options), keep.within(name)
        fit = model.fit()
        here("params", fit.params)
        here("bse", fit.bse)
        here("llf", fit.llf)
        here("pvalues", fit.pvalues, scale=1.0)
        here("conf_int", fit.conf_int())
        here.matrix("cov_params", fit.cov_params())
        here.long("predict", fit.predict(size=100, seed=1))
        here.long("intervals", fit.get_prediction(new, size=100, seed=1).summary_frame())
        keep_summary(here, fit.summary(), ("text", "latex"))


def repeated(keep, fits):
    """Successes out of tries, item by item."""
    counts = ls.load_repeated_sampling()
    for name in ("laplace", "llm_effects"):
        fit, here = ls.RepeatedSamplingModel(fits[name], counts).fit(size=200, seed=1), keep.within(name)
        here("params", fit.params)
        here("bse", fit.bse)
        here("llf", fit.llf)
        here("conf_int", fit.conf_int())
        here.long("items", fit.item_intercepts())
        here.long("propensities", fit.llm_propensities())
        here.long("pass_at_k", fit.pass_at_k((1, 10), size=100, seed=1))
        keep_summary(here, fit.summary(), ("text",))
    keep("unbiased", ls.pass_at_k([0, 3, 10], 20, 5))


def comparisons(keep, fits):
    """Fits side by side."""
    fit = fits["laplace"]
    anchored = ls.LatentSkillModel(
        panel(), skills=ls.Anchored({key: ANCHORS[key] for key in ("instruction", "reasoning")})
    )
    chosen = {"echelon": fit, "anchored": anchored.fit(**LAPLACE), "residual skills": fits["llm_effects"]}
    table = ls.compare(chosen)
    keep("compare", table)
    keep("compare: text", "\n".join(table.attrs["notes"]))
    side = ls.compare_coefficients({"plain": fit, "cluster": fit.get_robust("cluster"), "effects": fits["llm_effects"]})
    keep("coefficients", side.estimates)
    keep("coefficients' errors", side.std_errors)
    keep("coefficients: text", str(side))
    keep("coefficients: latex", side.as_latex())
