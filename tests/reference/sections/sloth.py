"""Sloth and the laws of single benchmarks and of components: losses, estimates, standard errors, predictions."""

import latentscale as ls

from .shared import MAIN, keep_starts, keep_summary, panel

# name: (class, options of the model, options of the fit)
CASES = {
    "logistic d=2": (ls.SlothModel, {"n_skills": 2}, {"starts": 2}),
    "logistic d=3": (ls.SlothModel, {"n_skills": 3}, {"starts": 1, "cov_type": "llm"}),
    "monotone d=2": (ls.SlothModel, {"n_skills": 2, "link": "monotone"}, {"starts": 1}),
    "monotone d=3 both, one intercept": (
        ls.SlothModel,
        {"n_skills": 3, "link": "monotone", "asymptotes": "both", "family_intercepts": False},
        {"starts": 1},
    ),
    "positive": (
        ls.SlothModel,
        {"n_skills": 2, "positive_slopes": True, "scaling": MAIN},
        {"starts": 2, "delta": 0.02},
    ),
    "ridge": (ls.SlothModel, {"n_skills": 2, "asymptotes": "lower"}, {"starts": 1, "ridge": 1e-3}),
    "laws": (ls.BenchmarkLaws, {"asymptotes": "lower"}, {"cov_type": "llm"}),
    "monotone laws": (ls.BenchmarkLaws, {"link": "monotone", "family_intercepts": False}, {}),
}


def record(keep, names=tuple(CASES)):
    """Keep the fits of the named cases, and the laws of principal components."""
    table = ls.load_leaderboard()
    new = table[table["params_b"].notna() & table["tokens_t"].notna() & table["family"].isin(["opt", "llama-2"])]
    for name in names:
        cls, options, fit_options = CASES[name]
        fit, here = cls(panel(), **options).fit(**fit_options), keep.within(name)
        keep_fit(here, fit)
        here.long("new LLMs", fit.predict(new))
        if fit_options.get("ridge") is None and cls is ls.SlothModel:
            here.long("intervals", fit.get_prediction(new, size=100).summary_frame())
        if name in ("logistic d=2", "monotone d=2"):
            for method in ("geomin", "varimax"):
                turned = fit.rotate(method, starts=5, seed=1)
                keep_fit(here.within(method), turned, turned=True)
    for terms in ("intercepts", "slopes"):
        laws, here = ls.ComponentLaws(panel(), n_components=2, family_terms=terms).fit(), keep.within(f"pca {terms}")
        here("explained", laws.explained)
        here.long("predicted", laws.predict())
        here("summary: text", str(laws.summary()))


def keep_fit(keep, fit, turned=False):
    """Keep what a Huber-loss fit estimated."""
    keep("loss", fit.loss)
    keep.vector("params", fit.params)
    keep.vector("bse", fit.bse)
    keep.vector("conf_int", fit.conf_int())
    keep("loadings", fit.loadings)
    keep("slopes", fit.slopes)
    keep_summary(keep, fit.summary(), ("text",) if turned else ("text", "latex"))
    keep.long("predicted", fit.predict())
    if not turned:
        keep("loss_penalised", fit.loss_penalised)
        keep("ridge", fit.ridge)
        keep("problems: text", "\n".join(problem.message for problem in fit.problems))
        keep.matrix("cov_params", fit.cov_params())
        keep_starts(keep, fit)
        keep.long("residuals", fit.residuals())
