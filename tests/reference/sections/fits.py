"""Representative fits of latent skill models."""

import latentscale as ls

from .shared import ANCHORS, LLM_EFFECTS, MAIN, keep_errors, keep_estimates, panel, small_panel

ECHELON = ls.Echelon(["bbh", "ifeval"])
LAPLACE = {"integration": "laplace", "starts": 2}
QUICK = {"integration": "laplace", "starts": 1}
NO_ERRORS = {"integration": "laplace", "starts": 1, "cov_type": "none", "information": False, "tolerance": 0.1}
RESTRICTED = ["corr[math,instruction] = 0", "slope[log(params_b),math] = slope[log(tokens_t),math]"]

# name: (panel, options of the model, options of the fit)
CASES = {
    "default K=4": (panel, {"skills": ls.Anchored(ANCHORS)}, {"starts": 3}),
    "laplace K=2": (panel, {"skills": ECHELON}, LAPLACE),
    "quadrature K=1": (panel, {"skills": 1}, {"integration": "quadrature", "starts": 2}),
    "quadrature K=2": (panel, {"skills": ECHELON}, {"integration": "quadrature", "points": 7, "starts": 1}),
    "monte_carlo t": (panel, {"skills": ECHELON}, {"t_df": 5.0, "starts": 1, "seed": 2, "cov_type": "cluster"}),
    "uncorrelated": (panel, {"skills": ls.Anchored(ANCHORS, correlated=False)}, QUICK),
    "llm_effects": (panel, {"skills": ECHELON, **LLM_EFFECTS}, QUICK),
    "random_slopes": (panel, {"skills": ECHELON, "random_slopes": "log(params_b)"}, QUICK),
    "llm_effects random_slopes": (
        small_panel,
        {"skills": 1, **LLM_EFFECTS, "random_slopes": "log(params_b)", "avoid_zero_sd": True},
        QUICK,
    ),
    "monotone": (panel, {"skills": ECHELON, "link": "monotone"}, QUICK),
    "lower": (panel, {"skills": ECHELON, "asymptotes": "lower"}, QUICK),
    "both": (small_panel, {"skills": 1, "asymptotes": "both"}, {"integration": "quadrature", "starts": 2}),
    "outliers": (panel, {"skills": ECHELON, "outliers": 0.1}, QUICK),
    "censor": (lambda: panel("censor"), {"skills": ECHELON}, {"integration": "quadrature", "points": 5, "starts": 1}),
    "family_covariates": (panel, {"skills": ECHELON, "family_covariates": "instruct", "scaling": MAIN}, QUICK),
    "no information": (
        panel, {"skills": 4, "asymptotes": "both", "link": "monotone", "shrink_effects": 0.3, "shrink_slopes": 0.25},
        NO_ERRORS,
    ),
    "shrunk": (panel, {"skills": 3, "shrink_effects": 0.5, "shrink_slopes": 1.0}, {**QUICK, "cov_type": "none"}),
    "constraints": (panel, {"skills": ls.Anchored(ANCHORS)}, {**QUICK, "constraints": RESTRICTED}),
    "em": (small_panel, {"skills": 1}, {"driver": "em", "starts": 1, "draws": 32, "llf_tolerance": 0.2}),
    "stochastic": (small_panel, {"skills": 1}, {"driver": "stochastic", **QUICK}),
}  # fmt: skip


def fitted(name):
    """The fit of a case."""
    where, options, fit_options = CASES[name]
    return ls.LatentSkillModel(where(), **options).fit(**fit_options)


def keep_fit(keep, fit, full):
    """Keep a fit; ``full`` with its tables and all formats of the summary."""
    keep_estimates(keep, fit, ("text", "html", "latex", "csv") if full else ("text",))
    keep("criteria", [fit.aic, fit.bic])
    if fit.cov_type == "none":
        return
    keep("mc_se", fit.mc_se)
    if full:
        for name in ("loadings", "intercepts", "slopes", "skill_cov", "skill_corr", "precision", "asymptotes"):
            keep(name, getattr(fit, name))
        for name in ("loading_table", "slope_table", "correlation_table", "tidy", "parameter_table", "glance"):
            keep(name, _without_times(getattr(fit, name)()))
        keep("loadings: latex", fit.to_latex())
        keep("slopes: latex", fit.to_latex("slopes", stars=True))


def _without_times(table):
    keep = [name for name in table.columns if "seconds" not in str(name) and "version" not in str(name)]
    return table[keep]


def record(keep, names=tuple(CASES)):
    """Keep the fits of the named cases."""
    for name in names:
        here, fit = keep.within(name), fitted(name)
        keep_fit(here, fit, name in ("default K=4", "quadrature K=2", "random_slopes", "llm_effects"))
        if name == "laplace K=2":
            keep_errors(here.within("alpha .1"), fit)
