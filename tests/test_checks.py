"""Arguments are checked in one place, so that the same value is accepted or refused everywhere in the same words."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest

import latentscale as ls
from latentscale import checks
from latentscale.datasets.repeated_sampling import simulate_repeated_sampling
from latentscale.inference.hypotheses import check_methods
from latentscale.planning.elasticities import scaling_elasticities
from latentscale.validation.folds import leave_out

BENCHMARKS = ["mmlu", "arc", "bbh", "gsm8k"]
TRANSLOG = "log(params_b) * log(tokens_t)"

# --- the checks themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_come_back_as_plain_ones(value):
    found = checks.check_whole("size", value, 3, 3)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [2, 5, True, np.True_, 3.0, np.float64(3.0), "3", None, np.array(3), np.nan])
def test_what_is_no_whole_number_within_bounds_is_refused(value):
    with pytest.raises(ls.DataError, match=re.escape(f"size is a whole number from 3 to 4; got {value!r}.")):
        checks.check_whole("size", value, 3, 4)


def test_a_bound_is_stated_alone_where_there_is_one():
    with pytest.raises(ls.DataError, match="starts is a whole number, at least 1; got 0"):
        checks.check_whole("starts", 0, 1)


@pytest.mark.parametrize("value", [0.05, np.float32(0.5), np.float64(1e-12)])
def test_levels(value):
    assert checks.check_alpha(value) == value


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 95, -0.1, True, False, "0.05", None, np.nan, np.array(0.05), [0.05]])
def test_what_is_no_level_is_refused(value):
    with pytest.raises(ls.DataError, match="alpha lies between 0 and 1"):
        checks.check_alpha(value)


@pytest.mark.parametrize("value", [None, 1, -1, np.int32(4)])
def test_numbers_of_jobs(value):
    assert checks.check_jobs(value) == value


@pytest.mark.parametrize("value", [0, 1.0, True, "2"])
def test_what_is_no_number_of_jobs_is_refused(value):
    with pytest.raises(ls.DataError, match="n_jobs is None or a whole number other than 0"):
        checks.check_jobs(value)


def test_powers_of_two():
    found = [value for value in range(-4, 40) if _accepted(checks.check_power_of_two, "draws", value)]
    assert found == [2, 4, 8, 16, 32]
    assert not _accepted(checks.check_power_of_two, "draws", 4.0)


def _accepted(check, *arguments):
    try:
        check(*arguments)
    except ls.DataError:
        return False
    return True


@pytest.mark.parametrize("value", [1e-300, 1, np.float32(2.0), np.inf])
def test_positive_numbers(value):
    found = checks.check_positive("link_sd", value)
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize("value", [0, 0.0, -1, np.nan, True, "1", None, 1j])
def test_what_is_not_positive_is_refused(value):
    with pytest.raises(ls.DataError, match="link_sd must be positive; got"):
        checks.check_positive("link_sd", value)


def test_bounds_of_numbers():
    grid = (-1.0, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan)

    def accepted(**how):
        return [value for value in grid if _accepted(partial(checks.check_number, **how), "x", value, "a number", 0, 1)]

    assert accepted() == [0.0, 0.5, 1.0]
    assert accepted(below=True) == [0.0, 0.5]
    assert accepted(inner=True) == [0.5]
    assert not _accepted(checks.check_number, "x", np.inf, "a number")


@pytest.mark.parametrize("value", [True, np.False_])
def test_switches(value):
    found = checks.check_switch("llm_effects", value)
    assert found == value
    assert type(found) is bool


@pytest.mark.parametrize("value", [0, 1, "True", None, 1.0])
def test_what_is_no_switch_is_refused(value):
    with pytest.raises(ls.DataError, match="llm_effects is True or False, not"):
        checks.check_switch("llm_effects", value)


def test_words_suggest_the_one_that_was_meant():
    options = ("logistic", "monotone")
    assert checks.check_one_of("link", "monotone", options) == "monotone"
    with pytest.raises(ls.DataError, match=r"link is one of .*, monotone, not 'Logistc' \(did you mean 'logistic'"):
        checks.check_one_of("link", "Logistc", options)
    for value in (None, 1, ["logistic"], np.array(["logistic", "monotone"])):
        with pytest.raises(ls.DataError, match="link is one of"):
            checks.check_one_of("link", value, options)


def test_several_words():
    options = ("wald", "lr", "score")
    assert checks.check_several_of("method", "lr", options) == ("lr",)
    assert checks.check_several_of("method", ["lr", "wald", "lr"], options) == ("lr", "wald")
    assert checks.check_several_of("method", (), options, empty=True) == ()
    refused = (((), "none is named"), (["lr", "wold"], "not 'wold'"), ([["lr"]], "not"), (3, "takes a name"))
    for wanted, words in refused:
        with pytest.raises(ls.DataError, match=words):
            checks.check_several_of("method", wanted, options)


def test_names():
    known = ["mmlu", "arc", "bbh"]

    def names(wanted, **options):
        return checks.check_names("benchmarks", wanted, known, "benchmarks of the fit", **options)

    assert names(None) == known
    assert names("arc") == ["arc"]
    assert names(pd.Index(["bbh", "mmlu"])) == ["bbh", "mmlu"]
    assert names([], empty=True) == []
    start = "benchmarks takes benchmarks of the fit, each once; "
    for wanted, words in (
        (["arc", "MMLUU"], r"unknown: 'MMLUU' \(did you mean 'mmlu'\?\). There are mmlu, arc, bbh"),
        (["arc", "arc"], "more than once: 'arc'"),
        ([], "none is named"),
    ):
        with pytest.raises(ls.DataError, match=start + words):
            names(wanted)
    for wanted in (3, b"arc", np.array(3)):
        with pytest.raises(ls.DataError, match="benchmarks takes a name or a sequence of names"):
            names(wanted)
    many = [f"benchmark_{number}" for number in range(50)]
    with pytest.raises(ls.DataError, match="benchmark_19 and 30 more"):
        checks.check_names("benchmarks", "x", many, "benchmarks of the fit")


@pytest.mark.parametrize("taker", [ls.LatentSkillModel, ls.SlothModel, ls.BenchmarkLaws, ls.ComponentLaws])
def test_models_take_a_panel(taker):
    with pytest.raises(ls.DataError, match=f"{taker.__name__} takes a BenchmarkPanel, not DataFrame"):
        taker(ls.load_leaderboard())


# --- every way in ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def panel():
    return ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=BENCHMARKS)


@pytest.fixture(scope="module")
def model(panel):
    return ls.LatentSkillModel(panel, TRANSLOG, skills={"math": "gsm8k", "knowledge": "mmlu"})


@pytest.fixture(scope="module")
def fit(model):
    return model.fit(integration="laplace", starts=1)


@pytest.fixture(scope="module")
def sloth(panel):
    complete = panel.subset(panel.scores.notna().all(axis=1))
    return ls.SlothModel(complete, n_skills=2, family_intercepts=False).fit(starts=1)


@pytest.fixture(scope="module")
def downstream(fit, panel):
    target = panel.to_frame()[["model", "ifeval"]]
    return ls.DownstreamModel(fit, "ifeval", target).fit()


@pytest.fixture(scope="module")
def ways(panel, model, fit, sloth, downstream, tmp_path_factory):
    """Public functions by name, each of the one argument that is to be refused."""
    table, path = ls.load_leaderboard(), tmp_path_factory.mktemp("report") / "report.html"
    plan = ls.compute_optimal(fit, 1e22, "math", interval="none")
    elasticities, predicted = scaling_elasticities(fit), fit.get_prediction(size=2)
    posteriors = fit.family_posteriors(2)
    return {
        "model.simulate": lambda **o: model.simulate(fit.params, **o),
        "model.identification": model.identification,
        "model.fit": lambda **o: model.fit(integration="laplace", **o),
        "fit.conf_int": fit.conf_int,
        "fit.parameter_table": fit.parameter_table,
        "fit.summary": fit.summary,
        "fit.tidy": fit.tidy,
        "fit.augment": fit.augment,
        "fit.to_latex": fit.to_latex,
        "fit.report": lambda **o: fit.report(path, **o),
        "fit.profile": lambda **o: fit.profile(model.param_names[0], **o),
        "fit.bootstrap": fit.bootstrap,
        "fit.get_robust": fit.get_robust,
        "fit.get_prediction": fit.get_prediction,
        "fit.get_prediction().summary_frame": predicted.summary_frame,
        "fit.get_prediction().calibration": lambda **o: predicted.calibration(panel.scores, **o),
        "fit.prediction_table": fit.prediction_table,
        "fit.plot_prediction": fit.plot_prediction,
        "fit.plot_calibration": fit.plot_calibration,
        "fit.scaling_curve": lambda **o: fit.scaling_curve("math", **o),
        "fit.scaling_surface": lambda **o: fit.scaling_surface("math", **o),
        "fit.plot_scaling": lambda **o: fit.plot_scaling("math", **o),
        "fit.plot_surface": lambda **o: fit.plot_surface("math", **o),
        "fit.residuals": fit.residuals,
        "fit.residual_table": fit.residual_table,
        "fit.residual_tests": fit.residual_tests,
        "fit.plot_residuals": fit.plot_residuals,
        "fit.family_posterior": lambda **o: fit.family_posterior("qwen2", **o),
        "fit.family_posteriors": fit.family_posteriors,
        "fit.family_posteriors().draws": lambda **o: posteriors.draws("qwen2", **o),
        "fit.contrast": lambda **o: fit.contrast("qwen2", "opt", **o),
        "fit.next_evaluation": lambda **o: fit.next_evaluation(table.head(3), "math", **o),
        "fit.loading_table": fit.loading_table,
        "fit.slope_table": fit.slope_table,
        "fit.correlation_table": fit.correlation_table,
        "fit.family_effect_table": fit.family_effect_table,
        "fit.characteristic_curves": fit.characteristic_curves,
        "fit.plot_loadings": fit.plot_loadings,
        "fit.plot_slopes": fit.plot_slopes,
        "fit.plot_correlations": fit.plot_correlations,
        "fit.plot_family_effects": fit.plot_family_effects,
        "fit.plot_family_posterior": lambda **o: fit.plot_family_posterior("qwen2", **o),
        "fit.plot_curves": fit.plot_curves,
        "fit.rotate": fit.rotate,
        "fit.delta().conf_int": lambda **o: fit.delta(lambda p: p.loadings[0]).conf_int(**o),
        "fit.delta().summary_frame": lambda **o: fit.delta(lambda p: p.loadings[0]).summary_frame(**o),
        "sloth.conf_int": sloth.conf_int,
        "sloth.parameter_table": sloth.parameter_table,
        "sloth.summary": sloth.summary,
        "sloth.tidy": sloth.tidy,
        "sloth.to_latex": sloth.to_latex,
        "sloth.rotate": sloth.rotate,
        "sloth.get_robust": sloth.get_robust,
        "sloth.get_prediction": sloth.get_prediction,
        "SlothModel.fit": sloth.model.fit,
        "SlothModel": lambda **o: ls.SlothModel(panel, **o),
        "ComponentLaws": lambda **o: ls.ComponentLaws(panel, **o),
        "LatentSkillModel": lambda **o: ls.LatentSkillModel(panel, skills={"math": "gsm8k"}, **o),
        "BenchmarkPanel": lambda **o: ls.BenchmarkPanel(table, BENCHMARKS, **o),
        "DownstreamModel": lambda **o: ls.DownstreamModel(fit, "ifeval", panel.to_frame(), **o),
        "downstream.conf_int": downstream.conf_int,
        "downstream.parameter_table": downstream.parameter_table,
        "downstream.summary": downstream.summary,
        "downstream.predict": downstream.predict,
        "downstream.get_prediction": downstream.get_prediction,
        "compute_optimal": lambda **o: ls.compute_optimal(fit, 1e22, "math", **o),
        "compute_optimal().summary_frame": plan.summary_frame,
        "compute_optimal().path": plan.path,
        "scaling_elasticities().summary_frame": elasticities.summary_frame,
        "scaling_elasticities().contrast": lambda **o: elasticities.contrast("math", "knowledge", **o),
        "rotate_loadings": lambda **o: ls.rotate_loadings(fit.loadings, **o),
        "compare_coefficients": lambda **o: ls.compare_coefficients([fit], **o),
        "compare_coefficients().as_frame": ls.compare_coefficients([fit]).as_frame,
        "compare_coefficients().as_latex": ls.compare_coefficients([fit]).as_latex,
        "leave_family_out": lambda **o: ls.leave_family_out(ls.Specification(ls.ComponentLaws), panel, ["opt"], **o),
        "leave_out": lambda **o: leave_out(panel, **o),
        "select_skills": lambda **o: ls.select_skills(panel, [1], **o),
        "simulate_repeated_sampling": simulate_repeated_sampling,
        "test_equal_slopes": fit.test_equal_slopes,
        "test_hypothesis": lambda **o: fit.test_hypothesis(f"{model.param_names[0]} = 0", **o),
        "check_methods": check_methods,
    }  # fmt: skip


REFUSED = {
    "alpha": ((95, 0, 1.0, -0.05, "0.05", None, True), "alpha lies between 0 and 1"),
    "seed": ((-1, 1.5, "1", True, None), "seed is a whole number, at least 0"),
    "size": ((0, -5, 2.5, "10", True), "size is a whole number, at least"),
    "points": ((-1, 2.5, "5", True), "points is a whole number, at least"),
    "starts": ((-1, 1.5, True, "3"), r"starts( \(without start_params\))? is a whole number, at least"),
    "n_jobs": (("2", 0, 1.5, True), "n_jobs is None or a whole number other than 0"),
    "digits": ((-1, 13, 1.5, True), "digits is a whole number from 0 to 12"),
    "draws": ((0, 3, 2.5, True), "draws.* (is a power of two|is a whole number)"),
}
"""Per argument: values that no function takes, and the words in which they are refused."""

TAKEN = {
    "alpha": (
        "fit.conf_int", "fit.parameter_table", "fit.summary", "fit.tidy", "fit.report", "fit.profile",
        "fit.get_prediction().summary_frame", "fit.prediction_table", "fit.plot_prediction", "fit.scaling_curve",
        "fit.scaling_surface", "fit.plot_scaling", "fit.plot_surface", "fit.plot_residuals", "fit.contrast",
        "fit.loading_table", "fit.slope_table", "fit.correlation_table", "fit.family_effect_table",
        "fit.characteristic_curves", "fit.plot_loadings", "fit.plot_slopes", "fit.plot_correlations",
        "fit.plot_family_effects", "fit.plot_curves", "fit.delta().conf_int", "fit.delta().summary_frame",
        "sloth.conf_int", "sloth.parameter_table", "sloth.summary", "sloth.tidy", "downstream.conf_int",
        "downstream.parameter_table", "downstream.summary", "compute_optimal().summary_frame",
        "scaling_elasticities().summary_frame", "scaling_elasticities().contrast", "compare_coefficients",
    ),
    "seed": (
        "model.simulate", "model.identification", "model.fit", "fit.augment", "fit.report", "fit.bootstrap",
        "fit.get_prediction", "fit.get_prediction().calibration", "fit.prediction_table", "fit.plot_prediction",
        "fit.scaling_curve", "fit.scaling_surface", "fit.residuals", "fit.residual_table", "fit.residual_tests",
        "fit.plot_residuals", "fit.family_posterior", "fit.family_posteriors", "fit.contrast", "fit.next_evaluation",
        "fit.plot_family_posterior", "fit.rotate", "sloth.rotate", "sloth.get_prediction", "SlothModel.fit",
        "downstream.predict", "downstream.get_prediction", "compute_optimal", "rotate_loadings",
        "select_skills", "simulate_repeated_sampling",
    ),
    "size": (
        "fit.report", "fit.get_prediction", "fit.prediction_table", "fit.scaling_curve", "fit.scaling_surface",
        "fit.family_posterior", "fit.family_posteriors().draws", "fit.contrast", "fit.next_evaluation",
        "fit.plot_family_posterior", "sloth.get_prediction", "downstream.predict", "downstream.get_prediction",
    ),
    "points": (
        "model.identification", "model.fit", "fit.profile", "fit.scaling_curve", "fit.scaling_surface",
        "fit.characteristic_curves", "compute_optimal().path",
    ),
    "starts": ("model.fit", "SlothModel.fit", "fit.rotate", "sloth.rotate", "rotate_loadings", "select_skills"),
    "n_jobs": ("model.fit", "SlothModel.fit", "fit.bootstrap", "leave_family_out", "select_skills"),
    "digits": ("fit.to_latex", "sloth.to_latex", "compare_coefficients().as_frame", "compare_coefficients().as_latex"),
    "draws": ("model.fit", "fit.family_posteriors", "compute_optimal"),
}  # fmt: skip
"""Per argument: the functions that take it."""

CASES = [(way, name) for name, found in TAKEN.items() for way in found]
OTHERS = [
    ("model.fit", {"tolerance": 0.0}, "tolerance must be positive"),
    ("model.fit", {"llf_tolerance": "1"}, "llf_tolerance must be positive"),
    ("model.fit", {"max_iterations": 0}, "max_iterations is a whole number"),
    ("model.fit", {"max_rounds": 2.5}, "max_rounds is a whole number"),
    ("model.fit", {"t_df": -1.0}, "t_df must be positive"),
    ("model.fit", {"information": 1}, "information is True or False"),
    ("model.fit", {"driver": "Direct"}, r"driver is one of .*did you mean 'direct'"),
    ("model.fit", {"cov_type": "clusters"}, r"cov_type is one of .*did you mean 'cluster'"),
    ("fit.get_robust", {"cov_type": "clusters"}, r"cov_type is one of .*did you mean 'cluster'"),
    ("fit.get_robust", {"cov_type": "cluster", "correction": "none of it"}, "correction is one of"),
    ("fit.conf_int", {"method": "walt"}, r"method is one of wald, profile.*did you mean 'wald'"),
    ("fit.get_prediction", {"uncertainty": "scores"}, r"uncertainty is one or more of .*did you mean 'score'"),
    ("sloth.get_prediction", {"uncertainty": "family"}, "uncertainty of a Huber-loss fit is made of"),
    ("sloth.get_robust", {"cov_type": "family"}, "cov_type is one of"),
    ("SlothModel", {"n_skills": 5}, "n_skills is a whole number from 1 to 4"),
    ("SlothModel", {"n_skills": True}, "n_skills is a whole number"),
    ("SlothModel", {"positive_slopes": 1}, "positive_slopes is True or False"),
    ("SlothModel.fit", {"ridge": -1.0}, "ridge is None or a number, at least 0"),
    ("SlothModel.fit", {"delta": 1}, "delta is a number between 0 and 1"),
    ("ComponentLaws", {"n_components": 1.0}, "n_components is a whole number"),
    ("ComponentLaws", {"standardize": "yes"}, "standardize is True or False"),
    ("LatentSkillModel", {"asymptotes": "lowest"}, r"asymptotes is one of .*did you mean 'lower'"),
    ("LatentSkillModel", {"asymptote_sd": True}, "asymptote_sd must be positive"),
    ("LatentSkillModel", {"random_slopes": "log(parms_b)"}, r"random_slopes takes .*did you mean 'log\(params_b\)'"),
    ("BenchmarkPanel", {"boundary": "sqeeze"}, r"boundary is one of .*did you mean 'squeeze'"),
    ("DownstreamModel", {"skills": "maths"}, r"skills takes skills of the fit, .*did you mean 'math'"),
    ("DownstreamModel", {"chance": 1}, "chance is a fraction"),
    ("DownstreamModel", {"shrink": 0}, "shrink is a positive number"),
    ("compute_optimal", {"reach": np.inf}, "reach is the factor beyond the data"),
    ("compute_optimal", {"interval": "deltas"}, r"interval is one of .*did you mean 'delta'"),
    ("leave_family_out", {"n_train": -1}, "n_train is a whole number, at least 0"),
    ("leave_family_out", {"on_error": "ignore"}, "on_error is one of raise, skip"),
    ("leave_family_out", {"alphas": (0.1, 95)}, "each of alphas lies between 0 and 1"),
    ("leave_out", {"small_families": True}, "small_families is one of drop, train"),
    ("select_skills", {"folds": 1.5}, "folds is a whole number"),
    ("test_equal_slopes", {"method": "walt"}, r"method is one or more of .*did you mean 'wald'"),
    ("test_hypothesis", {"method": ()}, "method is one or more of .*none is named"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("way", "name"), CASES)
def test_every_way_in_refuses(ways, way, name):
    values, words = REFUSED[name]
    for value in values:
        with pytest.raises(ls.DataError, match=words):
            ways[way](**{name: value})


@pytest.mark.slow
@pytest.mark.parametrize(("way", "options", "words"), OTHERS)
def test_every_way_in_refuses_other_values(ways, way, options, words):
    with pytest.raises(ls.DataError, match=words):
        ways[way](**options)


@pytest.mark.slow
def test_numbers_of_numpy_are_taken_as_those_of_python(model, fit):
    again = model.fit(integration="laplace", starts=np.int64(1), seed=np.int32(0), tolerance=np.float64(1e-3))
    np.testing.assert_array_equal(again.params, fit.params)
    np.testing.assert_array_equal(fit.conf_int(np.float64(0.1)), fit.conf_int(0.1))
    pairs = ((8, 1), (np.int64(8), np.uint8(1)))
    one, two = (fit.get_prediction(size=size, seed=seed).draws.mu for size, seed in pairs)
    np.testing.assert_array_equal(one, two)
