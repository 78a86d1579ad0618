"""compute_optimal and scaling_elasticities: what they report, refuse and warn of."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import latentscale as ls
from latentscale.planning.allocation import compute_optimal
from latentscale.planning.elasticities import scaling_elasticities

BENCHMARKS = ["math_lvl_5", "bbh", "hellaswag", "gsm8k"]
SKILLS = {"math": "math_lvl_5", "common": "hellaswag"}


def fit_to(scaling="log(params_b) * log(tokens_t)", fitted=None, **options):
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=BENCHMARKS)
    model = ls.LatentSkillModel(panel, scaling=scaling, skills=ls.Anchored(SKILLS), **options)
    return model.fit(integration="laplace", starts=1, **(fitted or {}))


@pytest.fixture(scope="module")
def two_skills():
    return fit_to()


@pytest.fixture(scope="module")
def with_instruct():
    return fit_to("log(params_b) * log(tokens_t) + instruct", {"information": False, "cov_type": "none"})


def row_of(plan, **columns):
    """The optimum of the first budget as a table of one LLM."""
    row = plan.table.iloc[0]
    return pd.DataFrame({"model": ["planned"], "params_b": row["size"], "tokens_t": row["tokens"], **columns})


# --- optima ----------------------------------------------------------------------------------------------------------


def test_translog_optimum_is_the_formula(two_skills):
    plan = compute_optimal(two_skills, [1e21, 1e22, 1e23], "math", interval="none")
    b1, b2, b3 = two_skills.slopes["math"]
    c = np.log(np.array([1e21, 1e22, 1e23]) / 6e21)
    assert b3 > 0.0
    assert_allclose(np.log(plan.table["size"]), 0.5 * c + 0.5 * (b1 - b2) / b3, rtol=1e-9)
    assert_allclose(6e21 * plan.table["size"] * plan.table["tokens"], plan.table.index, rtol=1e-12)
    assert_allclose(plan.table["tokens_per_param"], 1e3 * plan.table["tokens"] / plan.table["size"])
    assert_array_equal(plan.table["method"], "closed form")


@pytest.mark.parametrize("family", [None, "qwen2"])
@pytest.mark.parametrize("target", ["gsm8k", {"math_lvl_5": 0.5, "bbh": 0.25}])
def test_value_is_what_the_fit_predicts_there(two_skills, target, family):
    plan = compute_optimal(two_skills, 3e22, target, family=family, interval="none", reach=1.0)
    predicted = two_skills.predict(row_of(plan, family=family or "never seen")).iloc[0]
    weights = {target: 1.0} if isinstance(target, str) else target
    want = sum(weight * predicted[name] for name, weight in weights.items())
    assert_allclose(plan.table["value"], want, atol=2e-4)  # predict integrates on the fit's coarse grid
    surface = plan.surface(plan.table["size"].to_numpy(), plan.table["tokens"].to_numpy())
    assert_allclose(surface, plan.table["value"], rtol=1e-12)


def test_all_families_share_the_optimum_of_a_benchmark(two_skills):
    plans = [compute_optimal(two_skills, 1e22, "gsm8k", family=name, draws=100) for name in (None, "qwen2", "pythia")]
    assert_allclose([plan.table["size"].iloc[0] for plan in plans], plans[0].table["size"].iloc[0], rtol=1e-9)
    for plan in plans[1:]:
        assert_allclose(plan.log_size_draws(), plans[0].log_size_draws(), rtol=1e-9)
    assert len({round(plan.table["value"].iloc[0], 3) for plan in plans}) == 3


def test_skills_mix_linearly(two_skills):
    plan = compute_optimal(two_skills, 1e22, {"math": 2.0, "common": 1.0}, interval="none", reach=1.0)
    assert plan.table["method"].iloc[0] == "closed form"
    theta = 2.0 * plan.request.design(*plan.table[["size", "tokens"]].iloc[0]) @ two_skills.slopes["math"]
    theta += plan.request.design(*plan.table[["size", "tokens"]].iloc[0]) @ two_skills.slopes["common"]
    assert_allclose(plan.table["value"].iloc[0], theta.item(), rtol=1e-9)


def test_intervals_by_simulation_and_by_the_delta_method(two_skills):
    plan = compute_optimal(two_skills, [1e22, 1e23], "math", draws=1000, seed=3)
    frame = plan.table
    draws = plan.log_size_draws()
    assert draws.shape == (1000, 2)
    assert_allclose(frame["size_ci_lower"], np.exp(draws.quantile(0.025)), rtol=1e-6)
    for name in ("size", "tokens", "tokens_per_param", "value"):
        assert (frame[f"{name}_ci_lower"] < frame[name]).all()
        assert (frame[name] < frame[f"{name}_ci_upper"]).all()
    assert (frame["llm_lower"] < frame["value_ci_lower"]).all()
    assert (frame["llm_upper"] > frame["value_ci_upper"]).all()
    assert (plan.summary_frame(0.5)["size_ci_lower"] > frame["size_ci_lower"]).all()
    delta = compute_optimal(two_skills, [1e22, 1e23], "math", interval="delta")
    half = 1.959963985 * delta.bse["log_size"]
    assert_allclose(delta.table["size_ci_lower"], delta.table["size"] * np.exp(-half), rtol=1e-8)
    # the other end of the same allocation
    assert_allclose(6e21 * delta.table["size_ci_lower"] * delta.table["tokens_ci_upper"], delta.table.index)
    assert delta.table["llm_lower"].isna().all()
    assert_allclose(plan.bse, delta.bse)
    assert_allclose(compute_optimal(two_skills, 1e23, "math", draws=1000, seed=3).log_size_draws(), draws[[1e23]])


def test_corners_have_no_delta_interval_and_are_counted(two_skills):
    with pytest.warns(UserWarning, match=r"more than 3 times beyond .*tokens 10x below the data"):
        plan = compute_optimal(two_skills, [1e22], "hellaswag", interval="delta")
    row = plan.table.iloc[0]
    assert row["corner"] == "tokens_min"
    assert np.isnan(row["size_ci_lower"])
    assert row["value_ci_lower"] < row["value"]
    assert_allclose(row["tokens_factor"], 0.1)
    assert row["extrapolation"] == "tokens 10x below the data"
    inside = compute_optimal(two_skills, [1e22], "hellaswag", reach=1.0, draws=200)
    assert_allclose(inside.corners.sum(axis=1), 1.0)
    assert_allclose(inside.table["corner_share"], 1.0 - inside.corners["interior"])
    assert inside.corners["tokens_min"].iloc[0] > 0.9
    assert any("tokens_min" in note and "bound that decides" in note for note in inside.notes)
    # at tokens_min, but inside the box of the data: is any LLM near?
    assert inside.table["size_factor"].iloc[0] == 1.0


def test_bounds_and_served_tokens(two_skills):
    free = compute_optimal(two_skills, 1e23, "math", interval="none")
    small = compute_optimal(two_skills, 1e23, "math", interval="none", size_bounds=(None, 0.5))
    assert_allclose(small.table["size"], 0.5)
    assert small.table["corner"].iloc[0] == "size_max"
    assert_allclose(small.bounds[0][0], free.bounds[0][0])
    options = {"interval": "none", "size_bounds": {"max": 0.5}, "tokens_bounds": (0.1, 90.0)}
    assert_allclose(compute_optimal(two_skills, 1e23, "math", **options).table["size"], 0.5)
    served = compute_optimal(two_skills, 1e23, "math", interval="none", inference_tokens_t=3.0)
    row = served.table.iloc[0]
    assert row["size"] < free.table["size"].iloc[0]
    assert_allclose(6e21 * row["size"] * row["tokens"] + 2e21 * row["size"] * 3.0, 1e23, rtol=1e-9)
    assert any("served" in note for note in served.notes)


def test_path_and_immutability(two_skills):
    plan = compute_optimal(two_skills, [1e22, 1e24], "math", draws=100)
    path = plan.path(5)
    assert_allclose(path.table.index, np.geomspace(1e22, 1e24, 5))
    assert_allclose(path.table["size"].iloc[[0, -1]], plan.table["size"])
    assert len(plan.table) == 2
    with pytest.raises(AttributeError):
        plan.seed = 3
    frame = plan.table
    frame["size"] = 0.0
    assert (plan.table["size"] > 0.0).all()


def test_printing(two_skills):
    text = str(compute_optimal(two_skills, [1e22, 1e23], "math", draws=100))
    for part in ("Compute-optimal allocation: math", "size (B)", "at bounds", "never seen", "quantiles over 100 draws"):
        assert part in text
    assert repr(compute_optimal(two_skills, 1e22, "math", interval="none")) == "<Allocation: math, 1 budgets>"


# --- other fits ------------------------------------------------------------------------------------------------------


def test_further_covariates_and_fits_without_standard_errors(with_instruct):
    options = {"target": "gsm8k", "draws": 100}
    plans = [
        compute_optimal(with_instruct, 1e23, covariates={"instruct": value}, **options) for value in (False, True)
    ]
    assert_allclose(plans[0].table["size"], plans[1].table["size"], rtol=1e-9)  # a main effect moves no optimum
    for plan, value in zip(plans, (False, True), strict=True):
        predicted = with_instruct.predict(row_of(plan, family="never seen", instruct=value))["gsm8k"]
        assert_allclose(plan.table["value"], predicted, atol=2e-4)
    assert plans[0].table["size_ci_lower"].notna().all()
    assert "expected information" in str(plans[0])
    assert "instruct = True" in str(plans[1])
    # a family's own value
    plan = compute_optimal(with_instruct, 1e23, "gsm8k", family="qwen2-instruct", interval="none")
    assert plan.request.covariates == {"instruct": True}
    with pytest.raises(ls.DataError, match=r"further columns \['instruct'\].*covariates=\{'instruct': \.\.\.\}"):
        compute_optimal(with_instruct, 1e23, "gsm8k")
    with pytest.raises(ls.DataError, match=r"\['chat'\], which the scaling .* it takes \['instruct'\]"):
        compute_optimal(with_instruct, 1e23, "gsm8k", covariates={"instruct": False, "chat": 1})


def test_numeric_covariates_beyond_the_data_are_warned_of():
    table = ls.load_leaderboard()
    table["year"] = 2021.0 + np.arange(len(table)) % 4
    panel = ls.BenchmarkPanel(table, benchmarks=BENCHMARKS)
    model = ls.LatentSkillModel(panel, "log(params_b) * log(tokens_t) + year", skills=1)
    fit = model.fit(integration="laplace", starts=1, information=False, cov_type="none")
    with pytest.warns(UserWarning, match=r"year = 2030 is outside the data, where it lies between 2021 and 2024"):
        compute_optimal(fit, 1e23, "gsm8k", covariates={"year": 2030}, interval="none")


@pytest.mark.slow
def test_sandwich_and_rotated_fits(two_skills):
    plain = compute_optimal(two_skills, 1e23, "gsm8k", interval="delta")
    wider = compute_optimal(two_skills.get_robust("cluster"), 1e23, "gsm8k", interval="delta")
    assert_allclose(wider.table["size"], plain.table["size"])
    assert wider.bse["log_size"].iloc[0] != pytest.approx(plain.bse["log_size"].iloc[0], rel=0.01)
    assert "sandwich" in str(wider)
    # scores do not depend on the axes of skills; rotated skills have optima, and no intervals
    rotated = two_skills.rotate("geomin")
    for family in (None, "qwen2"):
        plans = [compute_optimal(one, 1e23, "gsm8k", family=family, draws=100) for one in (two_skills, rotated)]
        columns = ["size", "size_ci_lower", "value", "value_ci_upper"]
        assert_allclose(plans[1].table[columns], plans[0].table[columns], rtol=1e-6)
    skill = rotated.model.skills[0]
    b1, b2, b3 = rotated.slopes[skill]
    bounds = {"size_bounds": (1e-9, 1e9), "tokens_bounds": (1e-9, 1e9)}
    assert b3 > 0.0
    plan = compute_optimal(rotated, 1e22, skill, interval="none", **bounds)
    assert_allclose(np.log(plan.table["size"]), 0.5 * np.log(1e22 / 6e21) + 0.5 * (b1 - b2) / b3, rtol=1e-9)
    with pytest.raises(ls.DataError, match="Skills of a rotated fit"):
        compute_optimal(rotated, 1e23, skill)
    with pytest.raises(ls.DataError, match="Skills of a rotated fit"):
        scaling_elasticities(rotated)
    shares = [scaling_elasticities(one, "gsm8k").table for one in (two_skills, rotated)]
    assert_allclose(shares[1], shares[0], rtol=1e-5)


def test_random_slopes_of_a_known_family():
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=BENCHMARKS)
    model = ls.LatentSkillModel(panel, skills=1, random_slopes="log(params_b)")
    fit = model.fit(integration="laplace", starts=1)
    for family in (None, "qwen2"):
        plan = compute_optimal(fit, 1e22, "gsm8k", family=family, interval="none", reach=1.0)
        assert plan.table["method"].iloc[0] == "numerical"
        predicted = fit.predict(row_of(plan, family=family or "never seen"))["gsm8k"]
        assert_allclose(plan.table["value"], predicted, atol=5e-4)
    slopes = fit.family_slopes().loc["qwen2"]["mean"].droplevel("skill")
    b = fit.slopes["skill1"].copy()
    b["log(params_b)"] = slopes["log(params_b)"]
    bounds = {"size_bounds": (1e-6, 1e6), "tokens_bounds": (1e-6, 1e6)}
    skill = compute_optimal(fit, 1e22, "skill1", family="qwen2", interval="none", **bounds)
    c = np.log(1e22 / 6e21)
    assert_allclose(np.log(skill.table["size"]), 0.5 * c + 0.5 * (b.iloc[0] - b.iloc[1]) / b.iloc[2], atol=1e-3)


def test_fits_by_the_huber_loss(two_skills):
    panel = two_skills.model.panel
    sloth = ls.SlothModel(panel, n_skills=1, link="monotone").fit(starts=1, cov_type="none")
    mix = {"gsm8k": 0.5, "bbh": 0.5}
    plan = compute_optimal(sloth, 1e23, mix, family="qwen2", reach=1.0)
    predicted = sloth.predict(row_of(plan, family="qwen2")).iloc[0]
    assert_allclose(plan.table["value"], 0.5 * predicted["gsm8k"] + 0.5 * predicted["bbh"], rtol=1e-9)
    best = plan.surface(*_along(1e23)).max()
    assert plan.table["value"].iloc[0] >= best - 1e-9
    assert plan.table["size_ci_lower"].isna().all()
    with pytest.raises(ls.DataError, match="give family="):
        compute_optimal(sloth, 1e23, mix)
    laws = ls.BenchmarkLaws(panel, "log(params_b) * log(tokens_t)").fit(ridge=1e-3)
    plan = compute_optimal(laws, 1e22, "bbh", family="qwen2", reach=1.0)
    assert_allclose(plan.table["value"], laws.predict(row_of(plan, family="qwen2"))["bbh"], rtol=1e-9)
    shared = ls.BenchmarkLaws(panel, family_intercepts=False).fit(ridge=1e-3)
    with pytest.raises(ls.DataError, match="through their product alone"):
        compute_optimal(shared, 1e22, "bbh")
    with pytest.raises(ls.DataError, match="share their intercepts"):
        compute_optimal(shared, 1e22, "bbh", family="qwen2")


def _along(flops):
    """Allocations of a budget within the LLMs of the shipped table."""
    table = ls.load_leaderboard().dropna(subset=["tokens_t"])
    size = np.geomspace(table["params_b"].min(), table["params_b"].max(), 500)
    tokens = flops / (6e21 * size)
    kept = (tokens >= table["tokens_t"].min()) & (tokens <= table["tokens_t"].max())
    return size[kept], tokens[kept]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "humour"}, r"unknown: \['humour'\].*skills \['math', 'common'\].*benchmarks \['math_lvl_5'"),
        ({"target": {}}, "names a skill"),
        ({"target": {"math": 1.0, "bbh": 1.0}}, "units differ"),
        ({"target": {"bbh": -1.0}}, "positive numbers; 'bbh' has -1.0"),
        ({"flops": [1e22, -1.0]}, "positive number"),
        ({"flops": []}, "positive number"),
        ({"flops": np.inf}, "positive number"),
        ({"flops": 1e30}, "No allocation within the bounds costs"),
        ({"family": "gpt-9"}, "'gpt-9' is not in the fit"),
        ({"size": "n_params"}, r"no column 'n_params' for size; it has \['params_b', 'tokens_t'\]"),
        ({"tokens": "instruct"}, "no column 'instruct' for tokens"),
        ({"covariates": {"instruct": True}}, "does not use"),
        ({"size_bounds": (3.0, 2.0)}, "lower one first"),
        ({"size_bounds": 3.0}, r"is \(low, high\)"),
        ({"tokens_bounds": {"least": 3.0}}, r"is \(low, high\)"),
        ({"reach": 0.5}, "reach is the factor"),
        ({"inference_tokens_t": -1.0}, "at least 0"),
        ({"interval": "bayes"}, "simulation, delta, none"),
        ({"draws": 10}, "at least 100"),
        ({"seed": -1}, "seed is a whole number, at least 0"),
    ],
)
def test_refusals(two_skills, options, message):
    with pytest.raises(ls.DataError, match=message):
        compute_optimal(two_skills, **{"flops": 1e22, "target": "math", **options})


def test_other_objects_and_scalings_are_refused(two_skills):
    with pytest.raises(ls.DataError, match="Allocation takes results of LatentSkillModel"):
        compute_optimal(two_skills.model, 1e22, "math")
    flops_only = fit_to("log(params_b * tokens_t)", {"information": False, "cov_type": "none"})
    with pytest.raises(ls.DataError, match="math is the same for every allocation of 1e"):
        compute_optimal(flops_only, 1e22, "math")
    size_only = fit_to("log(params_b)", {"information": False, "cov_type": "none"})
    with pytest.raises(ls.DataError, match="no column 'tokens_t' for tokens"):
        compute_optimal(size_only, 1e22, "math")
    plan = compute_optimal(two_skills, 1e22, "math", interval="none")
    with pytest.raises(ls.DataError, match="no draws"):
        plan.log_size_draws()
    with pytest.raises(ls.DataError, match="must be positive"):
        plan.surface([1.0, -1.0], 2.0)
    with pytest.raises(ls.DataError, match="alpha lies"):
        plan.summary_frame(2.0)


# --- elasticities ----------------------------------------------------------------------------------------------------


def test_elasticities_of_skills_and_benchmarks(two_skills):
    import autograd.numpy as anp

    found = scaling_elasticities(two_skills, at=(7.0, 2.0))
    assert list(found.table.index) == ["math", "common", *BENCHMARKS]
    log_s, log_t = np.log([7.0, 2.0])
    loadings = two_skills.loadings.loc["gsm8k"]

    def by_hand(p, row):
        b = anp.dot(p.slopes, p.loadings[row])
        return b[0] + b[2] * log_t, b[1] + b[2] * log_s

    row = BENCHMARKS.index("gsm8k")
    exact = two_skills.delta(lambda p: list(by_hand(p, row)))
    table = found.table.loc["gsm8k"]
    assert_allclose(table[["size", "tokens"]].to_numpy(dtype=float), exact.estimate, rtol=1e-8)
    assert_allclose(table[["size_se", "tokens_se"]].to_numpy(dtype=float), exact.bse, rtol=1e-4)
    b = two_skills.slopes @ loadings
    assert_allclose(table["size"], b.iloc[0] + b.iloc[2] * log_t, rtol=1e-8)

    def shares(p):
        pairs = [by_hand(p, BENCHMARKS.index(name)) for name in ("math_lvl_5", "hellaswag")]
        return [e_s / (e_s + e_t) for e_s, e_t in pairs]

    contrast = found.contrast("math_lvl_5", "hellaswag")
    exact = two_skills.delta(lambda p: shares(p)[0] - shares(p)[1])
    assert_allclose(contrast[["estimate", "std_err"]], [exact.estimate.iloc[0], exact.bse.iloc[0]], rtol=1e-4)
    both = found.contrast("math", "common", of="difference")
    alone = scaling_elasticities(two_skills, ["common", "math"], at=(7.0, 2.0)).table["difference"]
    assert_allclose(both["estimate"], alone["math"] - alone["common"], rtol=1e-9)


def test_doubling_is_what_predictions_gain(two_skills):
    table = scaling_elasticities(two_skills, "gsm8k", at=(7.0, 2.0), family="qwen2").table.loc["gsm8k"]
    llms = pd.DataFrame(
        {"model": list("abc"), "family": "qwen2", "params_b": [7.0, 14.0, 7.0], "tokens_t": [2.0, 2.0, 4.0]}
    )
    predicted = two_skills.predict(llms)["gsm8k"].to_numpy()
    assert_allclose(table["double_size"], predicted[1] - predicted[0], atol=1e-4)
    assert_allclose(table["double_tokens"], predicted[2] - predicted[0], atol=1e-4)


def test_the_centre_and_the_refusals(two_skills):
    found = scaling_elasticities(two_skills, ["math"])
    table = two_skills.model.panel.table.loc[list(two_skills.model.llms)]
    assert_allclose(found.at, np.exp(np.log(table[["params_b", "tokens_t"]]).mean()))
    assert "Elasticities at" in str(found)
    with pytest.raises(ls.DataError, match="is one of the targets"):
        found.contrast("math", "bbh")
    with pytest.raises(ls.DataError, match="of is one of share, difference"):
        found.contrast("math", "math", of="ratio")
    with pytest.raises(ls.DataError, match="both positive"):
        scaling_elasticities(two_skills, ["math"], at=(1.0, 0.0))
    with pytest.raises(ls.DataError, match="each once"):
        scaling_elasticities(two_skills, ["math", "math"])
    with pytest.raises(ls.DataError, match="unknown"):
        scaling_elasticities(two_skills, ["humour"])
