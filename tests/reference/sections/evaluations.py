"""Log-likelihood, score, Hessian, simulated tables and identification at stated parameters, by options."""

import numpy as np
import pandas as pd

import latentscale as ls

from .shared import ANCHORS, MAIN, panel, stated_params

ECHELON = ls.Echelon(["bbh", "ifeval"])
QUADRATURE = {"integration": "quadrature", "points": 5}
COARSE = {"integration": "quadrature", "points": 3}
LAPLACE = {"integration": "laplace"}
DRAWS = {"integration": "monte_carlo", "draws": 32, "seed": 3}
HEAVY = {"integration": "monte_carlo", "draws": 32, "seed": 4, "t_df": 5.0}


def confirmatory(correlated=True):
    """A pattern with free, zero and other fixed loadings."""
    frame = pd.DataFrame(0.0, index=list(ls.BENCHMARKS), columns=["knowledge", "following"])
    frame.loc[["mmlu", "arc", "hellaswag", "winogrande", "bbh", "gpqa", "musr", "mmlu_pro"], "knowledge"] = np.nan
    frame.loc[["ifeval", "truthfulqa", "gsm8k", "math_lvl_5", "mmlu_pro"], "following"] = np.nan
    frame.loc["gsm8k", "knowledge"] = 0.5
    return ls.Confirmatory(frame, correlated)


# name: (options of the panel, options of the model, rules of integration)
CASES = {
    "anchored K=4": ({}, {"skills": ls.Anchored(ANCHORS)}, (LAPLACE, COARSE, DRAWS)),
    "anchored uncorrelated": ({}, {"skills": ls.Anchored(ANCHORS, correlated=False)}, (LAPLACE,)),
    "echelon K=2": ({}, {"skills": ECHELON}, (LAPLACE, QUADRATURE, DRAWS, HEAVY)),
    "int K=1": ({}, {"skills": 1}, (LAPLACE, {"integration": "quadrature"}, DRAWS)),
    "int K=3": ({}, {"skills": 3}, (LAPLACE,)),
    "confirmatory": ({}, {"skills": confirmatory()}, (LAPLACE, QUADRATURE)),
    "confirmatory uncorrelated": ({}, {"skills": confirmatory(False)}, (LAPLACE,)),
    "lower": ({}, {"skills": ECHELON, "asymptotes": "lower"}, (LAPLACE, QUADRATURE, DRAWS)),
    "both": ({}, {"skills": ECHELON, "asymptotes": "both", "asymptote_sd": 1.0}, (LAPLACE, QUADRATURE, DRAWS)),
    "monotone": ({}, {"skills": ECHELON, "link": "monotone"}, (LAPLACE, QUADRATURE, DRAWS)),
    "monotone both": ({}, {"skills": ECHELON, "link": "monotone", "asymptotes": "both"}, (LAPLACE, QUADRATURE)),
    "outliers": ({}, {"skills": ECHELON, "outliers": 0.1}, (LAPLACE, QUADRATURE, DRAWS)),
    "llm_effects": ({}, {"skills": ECHELON, "llm_effects": True}, (LAPLACE,)),
    "random_slopes": ({}, {"skills": ECHELON, "random_slopes": "log(params_b)"}, (LAPLACE, DRAWS)),
    "random_slopes quadrature": (
        {}, {"skills": 1, "random_slopes": "log(params_b)"}, (LAPLACE, {"integration": "quadrature", "points": 7}),
    ),
    "all random_slopes": ({}, {"skills": 1, "random_slopes": True}, (LAPLACE, DRAWS)),
    "llm_effects random_slopes": (
        {}, {"skills": ECHELON, "llm_effects": True, "random_slopes": "log(params_b)"}, (LAPLACE,),
    ),
    "llm_effects random_slopes monotone both": (
        {},
        {
            "skills": ls.Anchored(ANCHORS), "llm_effects": True, "random_slopes": "log(params_b)", "link": "monotone",
            "asymptotes": "both",
        },
        (LAPLACE,),
    ),
    "family_covariates": ({}, {"skills": ECHELON, "family_covariates": "instruct"}, (LAPLACE, QUADRATURE)),
    "main effects": ({}, {"skills": ECHELON, "scaling": MAIN}, (LAPLACE,)),
    "censor": ({"boundary": "censor"}, {"skills": ECHELON}, (LAPLACE, QUADRATURE, DRAWS)),
    "censor monotone both outliers": (
        {"boundary": "censor"},
        {"skills": ECHELON, "link": "monotone", "asymptotes": "both", "outliers": 0.2},
        (LAPLACE, QUADRATURE),
    ),
    "censor llm_effects": ({"boundary": "censor"}, {"skills": ECHELON, "llm_effects": True}, (LAPLACE,)),
    "shrunk": (
        {},
        {"skills": ls.Anchored(ANCHORS), "shrink_effects": 0.3, "shrink_slopes": 0.25},
        (LAPLACE,),
    ),
    "avoid_zero_sd": (
        {},
        {"skills": 1, "llm_effects": True, "random_slopes": "log(params_b)", "avoid_zero_sd": True},
        (LAPLACE,),
    ),
}  # fmt: skip
IDENTIFIED = (
    "anchored K=4", "echelon K=2", "int K=1", "confirmatory", "confirmatory uncorrelated", "both", "monotone",
    "llm_effects", "random_slopes", "family_covariates",
)  # fmt: skip
QUICK = (
    "anchored K=4", "echelon K=2", "confirmatory", "both", "monotone both", "outliers", "random_slopes",
    "llm_effects random_slopes", "family_covariates", "censor",
)  # fmt: skip
"""Cases that every run of the tests computes again."""


def record(keep, names=tuple(CASES), identification=True):
    """Keep the evaluations of the named cases."""
    for name in names:
        panel_options, options, rules = CASES[name]
        model = ls.LatentSkillModel(panel(**panel_options), **options)
        here = keep.within(name)
        params = stated_params(model)
        here("params", params)
        for rule in rules:
            integration = rule["integration"] + (f" t_df={rule['t_df']}" if "t_df" in rule else "")
            here(f"{integration}: loglike", model.loglike(params, **rule))
            here(f"{integration}: score", model.score(params, **rule))
            here.matrix(f"{integration}: hessian", model.hessian(params, **rule))
        simulated = model.simulate(params, seed=11)[list(model.benchmarks)]
        here.long("simulated", simulated)
        if identification and name in IDENTIFIED:
            here("identification: text", str(model.identification()))
