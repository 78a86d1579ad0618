"""Models with several kinds of random effects: derivatives, invariance, nesting, simulation, storage, prediction."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.components.levels import effect_loadings
from latentscale.components.linear_predictor import fixed_part
from latentscale.components.response import cell_parameters, cell_terms
from latentscale.likelihood.modes import posterior_modes
from latentscale.likelihood.nested_hessian import complete_hessian
from latentscale.numerics.differences import jacobian
from latentscale.prediction.importance_sampling import effect_draws

ANCHORS = {"first": "a", "second": "b"}
LOADINGS = np.array([[0.9, 0.0], [0.0, 0.8], [0.6, 0.4], [0.3, 0.7], [0.7, 0.3], [0.5, 0.6]])
SLOPES = np.array([[0.6, 0.2], [0.2, 0.5]])
BENCHMARK_SD = np.array([0.0, 0.3, 0.5, 0.4, 0.3, 0.6])
SCALING = "log(params_b) + log(tokens_t)"
LAPLACE = {"integration": "laplace", "starts": 1, "tolerance": 1e-4}
SLOPE = "log(params_b)"
COMBINATIONS = {
    "benchmarks": {"benchmark_effects": True},
    "equal benchmarks": {"benchmark_effects": "equal"},
    "diagonal": {"llm_effects": "diagonal"},
    "benchmarks, proportional": {"benchmark_effects": True, "llm_effects": True},
    "equal benchmarks, proportional": {"benchmark_effects": "equal", "llm_effects": True},
    "benchmarks, diagonal": {"benchmark_effects": True, "llm_effects": "diagonal"},
    "benchmarks, slopes": {"benchmark_effects": True, "random_slopes": SLOPE},
    "equal benchmarks, two slopes": {"benchmark_effects": "equal", "random_slopes": True},
    "diagonal, slopes": {"llm_effects": "diagonal", "random_slopes": SLOPE},
    "precision": {"precision": "log(params_b) + log(tokens_t)"},
    "own precision": {"precision": "log(params_b)", "own_precision_slopes": True, "benchmark_effects": True},
    "precision, diagonal, slopes": {"precision": "log(tokens_t)", "llm_effects": "diagonal", "random_slopes": SLOPE},
    "precision, asymptotes": {
        "precision": "log(tokens_t)", "own_precision_slopes": True, "asymptotes": "both", "benchmark_effects": "equal",
    },
    "nested": {"nested": True},
    "nested, slopes, benchmarks": {"nested": True, "random_slopes": SLOPE, "benchmark_effects": True},
    "nested, proportional, precision": {"nested": True, "llm_effects": True, "precision": "log(tokens_t)"},
    "all": {"benchmark_effects": True, "llm_effects": "diagonal", "random_slopes": SLOPE},
    "all, asymptotes": {
        "benchmark_effects": True, "llm_effects": True, "random_slopes": SLOPE, "asymptotes": "both",
        "precision_sd": 1.5,
    },
}  # fmt: skip


def _table(families=24, per_family=3, seed=0, **options):
    """Scores of a two-skill world with all effects, some missing."""
    sizes = {"llm_sd": 0.5, "slope_sd": 0.3, "benchmark_sd": BENCHMARK_SD, "skill_cov": [[1.0, 0.4], [0.4, 1.0]]}
    table = worlds.simulated(
        families, per_family, LOADINGS, SLOPES, {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 2.0)}, intercepts=-0.8,
        precision=60.0, missing=0.1, model="llm{:04d}", family="f{:03d}", seed=seed, **sizes | options,
    )  # fmt: skip
    return table.assign(base=table["family"].map(lambda name: f"base{int(name[1:]) // 3}"))


def _model(table, **options):
    options = {"skills": ls.Anchored(ANCHORS), "scaling": SCALING} | options
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcdef"), chance={"a": 0.0}, groups="base")
    return ls.LatentSkillModel(panel, **options)


def _point(model, seed=1):
    """Parameters in the middle of their space."""
    rng = np.random.default_rng(seed)
    middle = {
        "loading": 0.6, "intercept": -0.6, "slope": 0.3, "corr": 0.3, "precision": 50.0, "lower": 0.1, "upper": 0.95,
        "slope_sd": 0.3, "llm_sd": 0.4, "benchmark_sd": 0.4, "precision_slope": 0.3, "group_share": 0.4,
    }  # fmt: skip
    values = np.array([middle[name.split("[")[0]] for name in model.param_names])
    return pd.Series(values * rng.uniform(0.95, 1.04, len(values)), index=model.param_names)


@pytest.fixture(scope="module")
def table():
    return _table()


@pytest.fixture(scope="module")
def fit(table):
    return _model(table, llm_effects=True, benchmark_effects=True, precision_sd=1.5).fit(**LAPLACE)


# --- derivatives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMBINATIONS)
def test_scores_are_exact(table, name):
    model = _model(table, **COMBINATIONS[name])
    point = _point(model)
    step = 1e-3 * np.maximum(0.1, np.abs(point.to_numpy()))
    wanted = jacobian(lambda x: np.atleast_1d(model.loglike(x, "laplace")), point.to_numpy(), step)[0]
    # relative to the largest entry of the score
    assert_allclose(model.score(point, "laplace"), wanted, rtol=0, atol=1e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("name", COMBINATIONS)
def test_hessians_in_closed_form_are_derivatives_of_gradients(table, name):
    """In coordinates that are parameters as they are; in others second derivatives of s(u) are left out."""
    model = _model(table, **COMBINATIONS[name])
    structure = model.recoding.internal(model.table.structure(_point(model).to_numpy()))
    objective, u = model.objective, model.space.free_vector(structure)
    _, modes = objective.laplace(u)
    found = objective.laplace_hessian(u, modes)
    wanted = jacobian(lambda v: objective.laplace(v, modes)[0].gradient, u, 1e-3 * np.maximum(1.0, np.abs(u)))
    plain = np.arange(len(model.space._linear))
    # relative to the largest entry; fourth-order differences
    assert_allclose(found[:, plain][plain], wanted[:, plain][plain], rtol=0, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.parametrize("name", [key for key, one in COMBINATIONS.items() if {"llm_effects", "nested"} & one.keys()])
def test_complete_hessians_are_derivatives_at_fixed_effects(table, name):
    """With all effects held at their modes the log-likelihood is a sum over cells, whose Hessian is the metric."""
    model = _model(table, **COMBINATIONS[name])
    structure = model.recoding.internal(model.table.structure(_point(model).to_numpy()))
    objective, u = model.objective, model.space.free_vector(structure)
    cells, layout = objective.cells, model.space.layout
    _, modes = objective.laplace(u)

    def of_cells(s):
        at = layout.unflatten(s)
        _, base = fixed_part(at, cells)
        eta = base + np.einsum("cd,cd->c", effect_loadings(at, cells), modes.by_cell(cells))
        return cell_terms(eta[:, None], cell_parameters(at, cells), cells, slice(None), 0)["f"].sum()

    s = objective.space.structural(u)
    rng = np.random.default_rng(3)
    free = np.zeros(len(s))
    free[objective.entries] = s[objective.entries] * rng.standard_normal(len(objective.entries))
    free[layout.slices["skill_cov"]] = 0.0  # the prior of the effects is not a sum over cells
    found = free @ complete_hessian(structure, cells, modes, objective.shapes) @ free
    step = 1e-3
    values = [of_cells(s + shift * step * free) for shift in (-2, -1, 0, 1, 2)]
    wanted = np.dot([-1, 16, -30, 16, -1], values) / (12.0 * step**2)
    assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_hessians_are_derivatives_of_scores(table, name):
    model = _model(table, **COMBINATIONS[name])
    point = _point(model)
    direction = 1e-3 * point.to_numpy() * np.random.default_rng(2).standard_normal(len(point))
    ends = [model.score(point + step * direction, "laplace").to_numpy() for step in (2.0, 1.0, -1.0, -2.0)]
    wanted = (-ends[0] + 8.0 * ends[1] - 8.0 * ends[2] + ends[3]) / 12.0
    found = model.hessian(point, "laplace").to_numpy() @ direction
    assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_quadrature_agrees_with_laplace_where_families_have_many_scores():
    """One skill and two benchmarks: three effects of a family, which a grid can integrate over."""
    table = worlds.simulated(20, 12, LOADINGS[:2, :1] + 0.5, SLOPES[:, :1], benchmark_sd=0.4, benchmarks="ab")
    panel = ls.BenchmarkPanel(table, benchmarks=["a", "b"], chance={})
    model = ls.LatentSkillModel(panel, SCALING, skills={"g": "a"}, benchmark_effects=True)
    point = _point(model)
    exact = model.loglike(point, "quadrature", points=15)
    assert_allclose(model.loglike(point, "quadrature", points=11), exact, rtol=0, atol=1e-6)
    assert_allclose(model.loglike(point, "laplace"), exact, rtol=0, atol=0.1)  # 0.005 a family
    draws = model.loglike(point, "monte_carlo", draws=1024)
    assert_allclose(draws, exact, rtol=0, atol=0.01)
    score = model.score(point, "quadrature", points=11)
    step = 1e-3 * np.maximum(0.1, np.abs(point.to_numpy()))
    values = point.to_numpy()
    wanted = jacobian(lambda x: np.atleast_1d(model.loglike(x, "quadrature", points=11)), values, step)[0]
    assert_allclose(score, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


# --- nesting and invariance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMBINATIONS)
def test_scales_of_zero_are_the_model_without(table, name):
    options = COMBINATIONS[name]
    of_effects = ("benchmark_effects", "llm_effects", "random_slopes", "nested")
    kept = {key: value for key, value in options.items() if key not in of_effects}
    model, without = _model(table, **options), _model(table, **kept)
    point = _point(model)
    scales = [label for label in point.index if "_sd" in label or label == "group_share"]
    point[scales] = 0.0
    assert_allclose(model.loglike(point, "laplace"), without.loglike(point.drop(scales), "laplace"), rtol=1e-11)
    even = [label for label in scales if label != "group_share"]  # of a variance, not its root
    assert_allclose(model.score(point, "laplace")[even], 0.0, atol=1e-7)


def test_the_score_of_a_share_of_zero_is_that_of_a_variance(table):
    """Half the sum over groups of (sum of families' scores in efficiency)^2 less their information, by differences."""
    model = _model(table, nested=True)
    point = _point(model)
    point["group_share"] = 0.0
    ends = [point.copy() for _ in range(2)]
    for share, end in zip((1e-4, 2e-4), ends, strict=True):
        end["group_share"] = share
    at, first, second = (model.loglike(one, "laplace") for one in (point, *ends))
    assert_allclose(model.score(point, "laplace")["group_share"], (-3 * at + 4 * first - second) / 2e-4, rtol=1e-3)


def test_a_family_in_two_groups_is_refused(table):
    mixed = table.assign(base=table["model"])
    with pytest.raises(ls.DataError, match="A family lies within one group"):
        ls.BenchmarkPanel(mixed, benchmarks=list("abcdef"), groups="base")
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcdef"), chance={"a": 0.0})
    with pytest.raises(ls.DataError, match="needs the panel's groups"):
        ls.LatentSkillModel(panel, SCALING, ls.Anchored(ANCHORS), nested=True)


def test_order_of_rows_families_benchmarks_and_skills(table):
    model = _model(table, **COMBINATIONS["all"])
    point = _point(model)
    same = model.loglike(point, "laplace")
    shuffled = table.sample(frac=1.0, random_state=3).reset_index(drop=True)
    panel = ls.BenchmarkPanel(shuffled, benchmarks=list("dbecaf"), chance={"a": 0.0})
    skills = ls.Anchored({"second": "b", "first": "a"})
    other = ls.LatentSkillModel(panel, SCALING, skills, **COMBINATIONS["all"])
    renamed = point.rename({"corr[first,second]": "corr[second,first]"})
    assert_allclose(other.loglike(renamed.to_dict(), "laplace"), same, rtol=1e-12)
    families = table.assign(family=table["family"].map(lambda name: f"z{99 - int(name[1:]):02d}"))
    assert_allclose(_model(families, **COMBINATIONS["all"]).loglike(point, "laplace"), same, rtol=1e-12)


def test_effects_on_benchmarks_leave_skills_free_to_turn(table, fit):
    """All forms that only choose axes reach one maximum, as the effects do not touch skills."""
    other = _model(table, skills=ls.Echelon(["d", "c"]), llm_effects=True, benchmark_effects=True, precision_sd=1.5)
    again = other.fit(**LAPLACE)
    assert_allclose(again.llf_penalised, fit.llf_penalised, rtol=0, atol=1e-5)
    names = [name for name in fit.params.index if "_sd" in name]
    assert_allclose(again.params[names], fit.params[names], rtol=0, atol=1e-3)


# --- estimates -------------------------------------------------------------------------------------------------------


def test_by_default_models_are_fitted_by_laplace(table):
    fit = _model(table, benchmark_effects="equal").fit(starts=1)
    assert fit.estimate.rule.kind == "laplace"
    assert fit.estimate.options["integration"] == "laplace"
    assert fit.converged


def test_a_start_on_a_saddle_is_left(table, fit):
    """At standard deviations of zero the gradient in them is zero, though the log-likelihood bends upwards."""
    start = fit.params.copy()
    names = [name for name in start.index if name.startswith("benchmark_sd")]
    start[names] = 0.0
    again = fit.model.fit(**LAPLACE | {"starts": 0}, start_params=start)
    assert again.converged
    assert_allclose(again.llf_penalised, fit.llf_penalised, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_recovery():
    """With 200 families estimates lie within a few standard errors of the truth, and not by being vague."""
    model = _model(_table(200, 4, seed=2, slope_sd=0.0), llm_effects=True, benchmark_effects=True)
    fit = model.fit(**LAPLACE)
    truth = {f"benchmark_sd[{b}]": sd for b, sd in zip("abcdef", BENCHMARK_SD, strict=True) if sd} | {"llm_sd": 0.5}
    z = (fit.params[list(truth)] - pd.Series(truth)) / fit.bse[list(truth)]
    assert z.abs().max() < 3.5
    assert fit.bse[list(truth)].max() < 0.1
    assert fit.params["benchmark_sd[a]"] < 0.15


@pytest.mark.slow
def test_errors_of_standard_deviations_fall_with_the_number_of_families():
    errors = []
    for families in (15, 240):
        found = []
        for seed in range(4):
            table = _table(families, 3, seed=10 + seed, slope_sd=0.0, benchmark_sd=0.4, skill_cov=np.eye(2))
            quick = _model(table, llm_effects="diagonal", benchmark_effects="equal").fit(**LAPLACE, cov_type="none")
            found.append(quick.params[["llm_sd[first]", "llm_sd[second]", "benchmark_sd"]] - [0.5, 0.5, 0.4])
        errors.append(np.sqrt(np.mean(np.square(found), axis=0)))
    # sixteen times the families divide standard errors by four
    assert (errors[1] < 0.6 * errors[0]).all()


@pytest.mark.slow
def test_likelihood_ratio_tests_of_variances(table, fit):
    smaller = _model(table, llm_effects=True, precision_sd=1.5).fit(**LAPLACE)
    test = fit.lr_test(smaller)
    row = test.table.iloc[0]
    assert row["df"] == 6
    assert_allclose(row["statistic"], 2.0 * (fit.llf_penalised - smaller.llf_penalised), rtol=1e-12)
    assert row["p_value"] < 1e-6
    assert "Families differ in single benchmarks by no more than their skills say" in str(test)
    equal = _model(table, llm_effects=True, benchmark_effects="equal", precision_sd=1.5).fit(**LAPLACE)
    assert fit.lr_test(equal).table["df"].iloc[0] == 5  # no variance on its edge
    assert "boundary" not in str(fit.lr_test(equal))
    with pytest.raises(ls.DataError, match="Not nested"):
        smaller.lr_test(fit)


# --- simulation, storage, prediction ---------------------------------------------------------------------------------


def test_simulated_scores_have_the_effects():
    """Scores so precise that effects can be read off them, in a world without skills."""
    model = _model(_table(300, 3, seed=4), benchmark_effects=True)
    point = _point(model)
    for name in point.index:
        kind = name.split("[")[0]
        point[name] = {"precision": 1e6, "loading": 1e-6, "slope": 0.0, "intercept": 0.0, "corr": 0.0}.get(kind, 0.0)
    point[[f"benchmark_sd[{b}]" for b in "abcdef"]] = BENCHMARK_SD
    scores = model.simulate(point, seed=1)
    eta = np.log(scores[list("abcdef")] / (1.0 - scores[list("abcdef")]))
    of_family = eta.groupby(scores["family"])
    assert of_family.std().max().max() < 0.01
    # 300 families: a standard error of 4%
    assert_allclose(of_family.mean().std(), BENCHMARK_SD, rtol=0.15, atol=0.01)
    assert np.abs(np.corrcoef(of_family.mean().dropna().to_numpy().T[1:]) - np.eye(5)).max() < 0.25


def test_saved_and_loaded(fit, tmp_path):
    fit.save(tmp_path / "fit.lscale")
    again = ls.load(tmp_path / "fit.lscale")
    assert (again.model.llm_effects, again.model.benchmark_effects) == ("proportional", True)
    pd.testing.assert_series_equal(again.params, fit.params)
    pd.testing.assert_frame_equal(again.predict(), fit.predict())
    assert_allclose(again.model.loglike(again.params, "laplace"), fit.llf, rtol=1e-12)


def test_summary_names_what_there_is(fit):
    text = " ".join(fit.summary().as_text().split())
    assert "Effects of families on single benchmarks" in text
    assert "benchmark_sd" in text
    assert "Precisions are weakly penalised" in text
    assert fit.parameter_table().loc["benchmark_sd[f]", "estimate"] == fit.params["benchmark_sd[f]"]


def test_posterior_of_effects(fit, table):
    effects = fit.benchmark_effects()
    assert effects.shape == (24 * 6, 3)
    seen = table.groupby("family")[list("abcdef")].count().stack()
    assert (effects["n"].to_numpy() == seen.to_numpy()).all()
    none = effects[effects["n"] == 0]
    sd = fit.params[[f"benchmark_sd[{b}]" for b in "abcdef"]].to_numpy()
    prior = np.tile(sd, 24)[effects["n"].to_numpy() == 0]
    # without scores on a benchmark the posterior is the prior, up to the error of weighted draws
    assert_allclose(none["sd"], prior, rtol=0.2)
    with pytest.raises(ls.DataError, match="no effects of families on single benchmarks"):
        _model(table).fit(**LAPLACE).benchmark_effects()


class TestPredictions:
    @pytest.fixture(scope="class")
    def new(self, table):
        """Three LLMs of one size: of a known family, and of an unseen one."""
        row = {"params_b": 3.0, "tokens_t": 2.0}
        return pd.DataFrame([row | {"model": "k", "family": "f001"}, row | {"model": "u", "family": "new"}])

    def test_draws_average_to_expected_scores(self, fit, new):
        draws = fit.get_prediction(new, size=20_000, uncertainty=("family",)).summary_frame()
        mean = fit.predict(new)
        # two routes to one number: weighted draws or nodes with Gauss-Hermite, and simulation; errors of draws
        found = draws["mean"].to_numpy().reshape(2, 6)
        assert_allclose(found, mean.to_numpy(), rtol=0, atol=0.01)

    def test_unseen_families_are_less_certain(self, fit, new):
        frame = fit.get_prediction(new, size=4000, uncertainty=("family",)).summary_frame()
        width = (frame["mean_ci_upper"] - frame["mean_ci_lower"]).to_numpy().reshape(2, 6)
        assert (width[1] > width[0]).all()

    def test_effects_on_benchmarks_widen_intervals_of_unseen_families(self, fit, new, table):
        without = _model(table, llm_effects=True, precision_sd=1.5)
        params = fit.params.drop([name for name in fit.params.index if name.startswith("benchmark_sd")])
        plain = without.fit(**LAPLACE | {"starts": 0, "max_iterations": 1, "max_rounds": 1}, start_params=params)
        plain = plain.get_prediction(new.iloc[1:], size=4000, uncertainty=("family",)).summary_frame()
        wider = fit.get_prediction(new.iloc[1:], size=4000, uncertainty=("family",)).summary_frame()
        assert (wider["mean_se"] > 0.9 * plain["mean_se"]).all()

    def test_an_observed_score_moves_the_others(self, fit, new):
        seen = new.iloc[1:].assign(c=0.9)
        plain = fit.predict(new.iloc[1:]).iloc[0]
        given = fit.get_prediction(seen, observed=True, size=4000).summary_frame()["mean"].to_numpy()
        assert given[2] > plain["c"] + 0.05
        assert given[4] > plain["e"]

    def test_residuals_and_diagnosis(self, fit):
        residuals = fit.residuals(kind="quantile")
        assert abs(np.nanstd(residuals.to_numpy()) - 1.0) < 0.15
        assert fit.diagnose() is not None

    @pytest.mark.slow
    def test_parameters_add_their_uncertainty(self, fit, new):
        both = fit.get_prediction(new, size=4000, uncertainty=("family", "parameters")).summary_frame()
        family = fit.get_prediction(new, size=4000, uncertainty=("family",)).summary_frame()
        assert (both["mean_se"] > 0.95 * family["mean_se"]).all()
        assert both["mean_se"].sum() > family["mean_se"].sum()


class TestNestedPredictions:
    """Families nested in groups: an unseen variant of a known base family borrows from its siblings."""

    @pytest.fixture(scope="class")
    def nested(self):
        shift = 1.5 * np.random.default_rng(8).standard_normal((15, 2))[np.repeat(np.arange(15), 3)]
        table = _table(45, 3, seed=5, slope_sd=0.0, shift=shift)
        model = _model(table, nested=True, llm_effects=True, benchmark_effects="equal", precision_sd=1.5)
        fit = model.fit(**LAPLACE)
        assert 0.4 < fit.params["group_share"] < 0.95
        return fit

    @pytest.fixture(scope="class")
    def new(self):
        row = {"params_b": 3.0, "tokens_t": 2.0}
        rows = [("k", "f001", "base0"), ("s", "variant", "base0"), ("u", "new", "other")]
        return pd.DataFrame([row | {"model": llm, "family": family, "base": base} for llm, family, base in rows])

    def test_saved_and_loaded(self, nested, new, tmp_path):
        nested.save(tmp_path / "fit.lscale")
        again = ls.load(tmp_path / "fit.lscale")
        assert again.model.nested
        pd.testing.assert_frame_equal(again.predict(new), nested.predict(new))

    def test_two_routes_to_expected_scores_agree(self, nested, new):
        """Weighted draws with Gauss-Hermite nodes, and simulated draws, of known and unseen families."""
        frame = nested.get_prediction(new, size=20_000, uncertainty=("family",)).summary_frame()
        found = frame["mean"].to_numpy().reshape(3, 6)
        assert_allclose(found, nested.predict(new).to_numpy(), rtol=0, atol=0.01)

    def test_a_variant_is_nearer_to_its_base_family_than_a_stranger(self, nested, new):
        frame = nested.get_prediction(new, size=8000, uncertainty=("family",)).summary_frame()
        width = frame["mean_se"].to_numpy().reshape(3, 6).mean(axis=1)
        assert width[0] < width[1] < width[2]
        without = new.drop(columns="base")
        predicted = nested.predict(without)
        assert_allclose(predicted.iloc[1], predicted.iloc[2], rtol=1e-12)  # of unseen groups, both
        assert_allclose(predicted.iloc[2], nested.predict(new).iloc[2], rtol=1e-12)

    def test_families_of_a_group_share_its_part(self, nested):
        structure, cells = nested.structure, nested.model.user_cells
        drawn = effect_draws(structure, cells, nested.model.families, 2**13)
        first = drawn[list(nested.model.families).index("f001")]
        assert first.of_group is not None
        sibling = drawn[list(nested.model.families).index("f002")]
        assert_allclose(first.of_group, sibling.of_group)
        mean = first.weight @ first.of_group
        modes = posterior_modes(structure, cells)
        group = nested.model.group_codes[list(nested.model.family_codes).index(1)]
        share = structure.scales["group_share"][0]
        # the mode and the mean of a nearly normal law
        assert_allclose(mean, np.sqrt(share) * modes.effects[0][group], rtol=0, atol=0.1)

    def test_the_optimum_of_a_budget_and_scaling_curves(self, nested):
        plan = ls.compute_optimal(nested, 1e22, "first", family="f001", interval="none").summary_frame()
        value = nested.predict(pd.DataFrame({
            "model": ["o"], "family": ["f001"], "params_b": plan["size"], "tokens_t": plan["tokens"],
        }))  # fmt: skip
        other = ls.compute_optimal(nested, 1e22, "c", family="f001", interval="none").summary_frame()
        assert np.isfinite(value.to_numpy()).all()
        at = pd.DataFrame({
            "model": ["o"], "family": ["f001"], "params_b": other["size"], "tokens_t": other["tokens"],
        })  # fmt: skip
        # moments of weighted draws with a normal law, and the draws themselves
        assert_allclose(other["value"], nested.predict(at)["c"], rtol=0.02)
        assert nested.plot_scaling("c") is not None

    def test_regressions_on_skills_are_refused(self, nested):
        table = nested.model.panel.to_frame().assign(task=0.5)
        with pytest.raises(ls.DataError, match="nested=False"):
            ls.DownstreamModel(nested, "task", table.assign(task=np.linspace(0.2, 0.8, len(table)))).fit()

    def test_scores_of_a_variant_move_its_siblings(self, nested, new):
        seen = new.iloc[[1]].assign(c=0.95, d=0.95, e=0.95)
        both = pd.concat([new.iloc[[0]], seen])
        plain = nested.get_prediction(new.iloc[[0]], size=8000, uncertainty=("family",)).summary_frame()["mean"]
        given = nested.get_prediction(both, observed=True, size=8000, uncertainty=("family",)).summary_frame()
        assert given["mean"].to_numpy()[:6].mean() > plain.mean() + 0.001

    def test_skills_residuals_and_intervals(self, nested):
        assert np.isfinite(nested.skills().to_numpy()).all()
        residuals = nested.residuals(kind="quantile").to_numpy()
        assert abs(np.nanstd(residuals) - 1.0) < 0.15
        assert np.nanstd(nested.residuals(kind="pearson").to_numpy()) < 1.3
        assert (nested.benchmark_effects()["sd"] > 0.0).all()
        known = nested.get_prediction(size=1000).summary_frame()
        scores = nested.model.panel.scores.to_numpy().ravel()
        inside = (known["obs_ci_lower"].to_numpy() <= scores) & (scores <= known["obs_ci_upper"].to_numpy())
        assert inside[np.isfinite(scores)].mean() > 0.9
