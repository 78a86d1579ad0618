"""Levels of effects against glmmTMB (tests/reference/glmm_levels_and_laws.R): one skill, equal loadings, no guessing.

The reference has an intercept for every benchmark, three slopes, log precisions, and logarithms of the standard
deviations of families, of LLMs and of pairs of family and benchmark, as far as it has such effects; a slope of log
precisions comes after these.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import latentscale as ls

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "glmm_levels_and_laws.json").read_text())
BENCHMARKS = ["arc", "hellaswag", "winogrande", "mmlu"]
TERMS = ["logs", "logt", "logs:logt"]
MODELS = {
    "plain": {},
    "llm": {"llm_effects": True},
    "spec": {"benchmark_effects": "equal"},
    "both": {"llm_effects": True, "benchmark_effects": "equal"},
    "nested": {"llm_effects": True, "benchmark_effects": "equal", "nested": True},
    "both_disp": {"llm_effects": True, "benchmark_effects": "equal", "precision": "logs"},
}


@pytest.fixture(scope="module")
def panel():
    table = ls.load_leaderboard()
    table = table[table["params_b"].notna() & table["tokens_t"].notna()].reset_index(drop=True)
    for short, column in (("logs", "params_b"), ("logt", "tokens_t")):
        values = np.log(table[column])
        table[short] = (values - values.mean()).round(10)
    table[BENCHMARKS] = table[BENCHMARKS].where(table[BENCHMARKS] > 0.0)
    return ls.BenchmarkPanel(table, benchmarks=BENCHMARKS, chance=dict.fromkeys(BENCHMARKS, 0.0), groups="base_family")


def _fit(panel, name, seed=0, starts=3):
    model = ls.LatentSkillModel(panel, "logs * logt", skills={"g": "arc"}, **MODELS[name])
    equal = [f"loading[{other},g] = loading[arc,g]" for other in BENCHMARKS[1:]]
    return model.fit(constraints=equal, starts=starts, seed=seed, integration="laplace", tolerance=1e-7)


def _as_in_r(fit):
    """Estimates and standard errors in R's coordinates, in R's order."""
    p, names = fit.params, list(fit.params.index)
    loading = p["loading[arc,g]"]
    slopes = [f"slope[{term},g]" for term in TERMS]
    intercepts, precisions = ([f"{kind}[{b}]" for b in BENCHMARKS] for kind in ("intercept", "precision"))
    rows, values = [], []

    def add(value, **derivatives):
        row = np.zeros(len(names))
        for name, derivative in derivatives.items():
            row[names.index(name)] = derivative
        rows.append(row)
        values.append(value)

    for name in intercepts:
        add(p[name], **{name: 1.0})
    for name in slopes:
        add(loading * p[name], **{name: loading, "loading[arc,g]": p[name]})
    slope = "precision_slope[logs]"
    centre = -fit.model.precision_centre[0] if slope in names else 0.0  # R does not take the mean from the covariate
    for name in precisions:
        derivatives = {name: 1.0 / p[name]} | ({slope: centre} if slope in names else {})
        add(np.log(p[name]) + (centre * p[slope] if slope in names else 0.0), **derivatives)
    if "precision_slope[logs]" in names:
        add(p["precision_slope[logs]"], **{"precision_slope[logs]": 1.0})
    share = "group_share"
    if share in names:  # standard deviations of families within base families, and of these
        rho = p[share]
        add(np.log(loading * np.sqrt(1.0 - rho)), **{"loading[arc,g]": 1.0 / loading, share: -0.5 / (1.0 - rho)})
        add(np.log(loading * np.sqrt(rho)), **{"loading[arc,g]": 1.0 / loading, share: 0.5 / rho})
    else:
        add(np.log(loading), **{"loading[arc,g]": 1.0 / loading})
    if "llm_sd" in names:
        kappa = p["llm_sd"]
        add(np.log(kappa * loading), **{"llm_sd": 1.0 / kappa, "loading[arc,g]": 1.0 / loading})
    if "benchmark_sd" in names:
        add(np.log(p["benchmark_sd"]), **{"benchmark_sd": 1.0 / p["benchmark_sd"]})
    rows = np.array(rows)
    return np.array(values), np.sqrt(np.diag(rows @ fit.cov_params().to_numpy() @ rows.T))


@pytest.mark.parametrize("name", MODELS)
def test_levels_equal_glmmtmb(panel, name):
    fit, reference = _fit(panel, name), REFERENCE[f"beta_A_{name}"]
    assert fit.converged
    assert fit.nobs == reference["nobs"]
    # required: 1e-6, 1e-4 standard errors and 1e-3; the digits that R printed allow 1e-9 for the log-likelihood
    assert_allclose(fit.llf, reference["logLik"], rtol=1e-10)
    estimate, se = _as_in_r(fit)
    assert_allclose((estimate - reference["par"]) / reference["se"], 0.0, atol=2e-5)
    assert_allclose(se, reference["se"], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(5))
def test_any_seed_finds_the_same_maximum_from_three_starts(panel, name, seed):
    assert_allclose(_fit(panel, name, seed).llf, REFERENCE[f"beta_A_{name}"]["logLik"], rtol=0, atol=1e-6)
