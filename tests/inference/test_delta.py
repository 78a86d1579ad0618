"""The delta method: against analytic covariances, finite differences, Wald tests and simulation."""

import math

import autograd.numpy as anp
import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import latentscale as ls
from latentscale.inference.delta import ParameterView, delta
from latentscale.inference.wald_tests import t_test, wald_test
from latentscale.numerics.differences import jacobian as differences
from latentscale.parameters.kinds import SLOPE_SD
from latentscale.parameters.structure import Layout, ScaleBlock
from latentscale.parameters.table import ParameterTable

SIZE, TOKENS = "slope[log(params_b),one]", "slope[log(tokens_t),two]"


@pytest.fixture(scope="module")
def fit():
    table = worlds.simulated(
        20, 3, [[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.5]], 0.4 * np.eye(2),
        {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 3.0)}, intercepts=-0.5, precision=40.0,
        skill_cov=[[1.0, 0.4], [0.4, 0.97]], family="f{}", seed=5,
    )  # fmt: skip
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcd"), chance={"c": 0.01})
    skills = ls.Anchored({"one": "a", "two": "b"})
    return ls.LatentSkillModel(panel, "log(params_b) + log(tokens_t)", skills).fit(integration="laplace", starts=1)


@pytest.fixture(scope="module")
def apply(fit):
    """delta at the fit."""
    return lambda function: delta(function, fit.params, fit.cov_params(), fit.model.table)


def test_linear_functions_have_r_cov_r(fit, apply):
    matrix = np.random.default_rng(0).standard_normal((3, fit.df_model))
    names = list(fit.params.index)
    result = apply(lambda p: [sum(w * p[name] for w, name in zip(row, names, strict=True)) for row in matrix])
    assert_allclose(result.estimate, matrix @ fit.params, rtol=1e-12)
    assert_allclose(result.jacobian, matrix, rtol=1e-12)
    assert list(result.jacobian.columns) == names
    assert_allclose(result.cov, matrix @ fit.cov_params() @ matrix.T, rtol=1e-10)


def test_every_parameter_by_name_is_itself(fit, apply):
    result = apply(lambda p: {name: p[name] for name in fit.params.index})
    assert list(result.estimate.index) == list(fit.params.index)
    assert_allclose(result.estimate, fit.params, rtol=1e-15)
    assert_allclose(result.bse, fit.bse, rtol=1e-12)
    assert_allclose(result.pvalues, fit.pvalues, rtol=1e-9)
    assert_allclose(result.cov, fit.cov_params(), rtol=1e-9, atol=1e-15)


def test_exponential_and_ratio(fit, apply):
    x, y = fit.params[SIZE], fit.params[TOKENS]
    v = fit.cov_params().loc[[SIZE, TOKENS], [SIZE, TOKENS]].to_numpy()
    grown = apply(lambda p: anp.exp(p[SIZE]))
    assert_allclose(grown.estimate, [np.exp(x)])
    assert_allclose(grown.bse, [np.exp(x) * fit.bse[SIZE]])
    ratio = apply(lambda p: p[SIZE] / p[TOKENS])
    assert_allclose(ratio.estimate, [x / y])
    assert_allclose(ratio.bse**2, [v[0, 0] / y**2 - 2 * x * v[0, 1] / y**3 + x**2 * v[1, 1] / y**4])


def test_eigenvalues_of_the_skill_covariance(fit, apply):
    """With unit variances they are 1 -+ rho, so both have the standard error of rho."""
    result = apply(lambda p: anp.linalg.eigh(p.skill_cov)[0])
    rho = fit.params["corr[one,two]"]
    assert_allclose(result.estimate, [1.0 - abs(rho), 1.0 + abs(rho)])
    assert_allclose(result.bse, np.repeat(fit.bse["corr[one,two]"], 2))


def test_matrices_are_those_of_the_fit(fit):
    view = ParameterView(fit.model.table, fit.params.to_numpy())
    for name in ("loadings", "intercepts", "slopes", "skill_cov", "precision"):
        assert_array_equal(getattr(view, name), getattr(fit, name))
    assert_array_equal(view.lower, fit.asymptotes["lower"])
    assert_array_equal(view.upper, fit.asymptotes["upper"])
    assert view["loading[a,two]"] == 0.0
    assert view["lower[c]"] == 0.01
    assert view["cov[two,two]"] == 1.0
    assert {"loadings", "upper"} <= set(dir(view))


def test_derivatives_in_every_block_are_those_of_differences(fit, apply):
    """A function of all blocks, written once for autograd and once for a Structure."""

    def mixed(p):
        shared = anp.dot(p.slopes, p.loadings.T)
        return {
            "logdet": anp.log(anp.linalg.det(p.skill_cov)),
            "norm": anp.sqrt(anp.sum(shared**2)),
            "noise": anp.sum((p.upper - p.lower) / anp.sqrt(p.precision)) + p.intercepts[2] ** 3,
            "communality": anp.dot(p.loadings[2], anp.dot(p.skill_cov, p.loadings[2])),
        }

    def plain(x):
        s = fit.model.table.structure(x)
        noise = np.sum((s.upper - s.lower) / np.sqrt(s.precision)) + s.intercepts[2] ** 3
        norm = np.linalg.norm(s.slopes @ s.loadings.T)
        communality = s.loadings[2] @ s.skill_cov @ s.loadings[2]
        return np.array([np.linalg.slogdet(s.skill_cov)[1], norm, noise, communality])

    result = apply(mixed)
    x = fit.params.to_numpy()
    numeric = differences(plain, x, 1e-3 * np.maximum(1.0, np.abs(x)))
    assert_allclose(result.estimate, plain(x), rtol=1e-13)
    assert_allclose(result.jacobian, numeric, rtol=1e-6, atol=1e-8)


def test_further_blocks_of_a_structure_are_found():
    """Random slopes: their standard deviations are a block like any other."""
    layout = Layout(2, 1, 2, scales=(("slope_sd", (1, 1)),))
    fixed = np.full(layout.size, np.nan)
    fixed[layout.slices["lower"]], fixed[layout.slices["upper"]] = 0.1, 1.0
    table = ParameterTable(("a", "b"), ("skill",), ("x", "z"), fixed, scales=(ScaleBlock(SLOPE_SD, ("z",)),))
    params = pd.Series(np.arange(1.0, table.size + 1.0), index=table.names)
    cov = pd.DataFrame(np.diag(np.arange(1.0, table.size + 1.0)), index=table.names, columns=table.names)
    result = delta(lambda p: p.slope_sd[0, 0] + 2.0 * p.slopes[1, 0], params, cov, table)
    assert_allclose(result.estimate, params["slope_sd[z,skill]"] + 2.0 * params["slope[z,skill]"])
    variances = np.diag(cov)
    at = [table.names.index(name) for name in ("slope_sd[z,skill]", "slope[z,skill]")]
    assert_allclose(result.bse**2, variances[at[0]] + 4.0 * variances[at[1]])


def ratio_of_slopes(p):
    return p[SIZE] / p[TOKENS]


@pytest.mark.parametrize(
    ("function", "labels"),
    [
        (lambda p: p[SIZE], ["value"]),
        (ratio_of_slopes, ["ratio_of_slopes"]),
        (lambda p: p.loadings[:2, 0], ["value[0]", "value[1]"]),
        (lambda p: [p[SIZE], 3], ["value[0]", "value[1]"]),
        (lambda p: (p[SIZE], p["upper[a]"]), ["value[0]", "value[1]"]),
        (lambda p: np.array([p[SIZE], p[TOKENS]]), ["value[0]", "value[1]"]),
        (lambda p: {"size": p[SIZE], 2: p[TOKENS]}, ["size", "2"]),
    ],
)
def test_kinds_of_results(fit, apply, function, labels):
    result = apply(function)
    assert list(result.estimate.index) == labels
    frame = result.summary_frame()
    assert list(frame.columns) == ["estimate", "std_err", "z", "p_value", "ci_lower", "ci_upper"]
    assert all(label in str(result) for label in labels)
    assert str(result) == repr(result)


def test_numpy_arrays_of_traced_numbers_keep_their_derivatives(fit, apply):
    result = apply(lambda p: 2.0 * np.array([p[SIZE], p[TOKENS]]))
    assert_allclose(result.bse, 2.0 * fit.bse[[SIZE, TOKENS]])


def test_differences_are_t_tests_and_joint_tests_wald_tests(fit, apply):
    cov = fit.cov_params()
    single = t_test(f"{SIZE} = {TOKENS}", fit.params, cov)
    result = apply(lambda p: p[SIZE] - p[TOKENS])
    assert_allclose(result.estimate, np.squeeze(single.effect))
    assert_allclose(result.bse, np.squeeze(single.sd))
    assert_allclose(result.tvalues, np.squeeze(single.tvalue))
    assert_allclose(result.conf_int(0.1), single.conf_int(0.1))
    both = apply(lambda p: {"size": p[SIZE], "tokens": p[TOKENS]})
    for value, hypothesis in (
        (0.0, f"{SIZE} = {TOKENS} = 0"),
        ([0.2, 0.5], [f"{SIZE} = 0.2", f"{TOKENS} = 0.5"]),
        ({"tokens": 0.5, "size": 0.2}, [f"{SIZE} = 0.2", f"{TOKENS} = 0.5"]),
    ):
        expected, found = wald_test(hypothesis, fit.params, cov), both.wald_test(value)
        assert_allclose(found.statistic, expected.statistic)
        assert_allclose(found.pvalue, expected.pvalue)
        assert found.df == 2
    assert "chi2(2)" in str(both.wald_test())


def test_wald_test_does_not_depend_on_how_functions_are_coded(apply):
    """A joint test that a and b are zero is one that their sum and a multiple of b are zero."""
    first = apply(lambda p: [p[SIZE], p[TOKENS]]).wald_test()
    second = apply(lambda p: [p[SIZE] + p[TOKENS], 1e4 * p[TOKENS]]).wald_test()
    assert_allclose(first.statistic, second.statistic, rtol=1e-9)


@pytest.mark.slow
def test_covariance_is_that_of_draws_when_estimates_are_precise(fit):
    """Parameters drawn from N(estimate, V / 10^4), carried through the function."""
    cov = 1e-4 * fit.cov_params()
    draws = stats.multivariate_normal(fit.params, cov, allow_singular=True).rvs(20_000, random_state=3)

    def carried(p):
        communality = anp.dot(p.loadings[3], anp.dot(p.skill_cov, p.loadings[3]))
        return [communality, anp.log(p.precision[0]) * p[SIZE]]

    values = [carried(ParameterView(fit.model.table, row)) for row in draws]
    result = delta(carried, fit.params, cov, fit.model.table)
    # a standard deviation from 20,000 draws is off by 0.5 percent
    assert_allclose(result.bse, np.std(values, axis=0), rtol=0.02)
    assert_allclose(result.cov.iloc[0, 1], np.cov(np.transpose(values))[0, 1], atol=0.02 * np.prod(result.bse))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda p: p["slope[log(params_b),three]"], r"Near names: \['slope\[log\(params_b\),"),
        (lambda p: p["zzz"], "Names begin with corr, cov, intercept"),
        (lambda p: math.exp(p[SIZE]), r"TypeError: .*autograd\.numpy"),
        (lambda p: float(p[SIZE]), r"float\(\) argument.*autograd\.numpy"),
        (lambda p: np.linalg.eigvalsh(p.skill_cov), "eigh"),
        (lambda p: anp.linalg.eigvalsh(p.skill_cov), "eigh"),
        (lambda p: anp.log(-p.precision[0]), "not finite at the estimates"),
        (lambda p: [p[SIZE], p[SIZE] / 0.0 * 0.0], r"not finite at the estimates: \['value\[1\]'\]"),
        (lambda p: anp.sqrt(anp.sum((p.slopes * 0.0) ** 2)), "derivative of .* is not finite"),
        (lambda p: p.loadings, "shape \\(4, 2\\).*ravel"),
        (lambda p: {"all": p.loadings}, "a dict with"),
        (lambda p: None, "a NoneType"),
        (lambda p: p[SIZE] > 0.0, "a bool"),
        (lambda p: "text", "a str"),
        (lambda p: [], "empty"),
        (lambda p: p[SIZE] + 1j, "complex"),
        (lambda p: {1: p[SIZE], "1": p[TOKENS]}, "same label"),
    ],
)
def test_functions_that_cannot_be_used(apply, function, message):
    with pytest.raises(ls.DataError, match=message):
        apply(function)


def _hidden(p):
    """A sum whose second part autograd cannot see."""
    values = getattr(p.loadings, "_value", p.loadings)
    return p[SIZE] + float(np.sum(values))


def test_gradients_that_miss_a_part_are_refused(apply):
    with pytest.raises(ls.DataError, match=r"'_hidden' by autograd is wrong.*hidden from autograd"):
        apply(_hidden)


def test_steep_functions_and_flat_ones_pass_the_check_of_gradients(fit, apply):
    steep = apply(lambda p: anp.exp(200.0 * p[SIZE]))
    assert_allclose(steep.bse / steep.estimate, 200.0 * fit.bse[SIZE])
    squared = apply(lambda p: (p[SIZE] - fit.params[SIZE]) ** 2)
    assert_allclose(squared.bse, 0.0)
    # defined on one side of a point some 1e-9 standard errors away: no difference can be taken
    edge = apply(lambda p: anp.log(p[SIZE] - fit.params[SIZE] + 1e-9 * fit.bse[SIZE]))
    assert_allclose(edge.bse, 1e9, rtol=1e-6)


def test_other_errors_of_a_function_are_its_own(apply):
    with pytest.raises(AttributeError, match="no block 'loading'; there are loadings"):
        apply(lambda p: p.loading)
    with pytest.raises(ZeroDivisionError):
        apply(lambda p: 1 / 0)


def test_functions_of_fixed_parameters_have_no_variance(apply):
    result = apply(lambda p: {"fixed": p["lower[c]"], "free": p[SIZE]})
    assert_allclose(result.bse["fixed"], 0.0)
    assert np.isnan(result.tvalues["fixed"])
    assert np.isnan(result.pvalues["fixed"])
    with pytest.raises(ls.DataError, match=r"\['fixed'\] have no sampling variance"):
        result.wald_test()


def test_what_a_constraint_holds_still_has_no_variance(fit):
    """A singular covariance, as of a fit under SIZE + 3 TOKENS = c, with rounding errors in it."""
    names, rng = list(fit.params.index), np.random.default_rng(2)
    normal = np.zeros(len(names))
    normal[[names.index(SIZE), names.index(TOKENS)]] = 1.0, 3.0
    root = rng.standard_normal((len(names), len(names)))
    root -= np.outer(normal, normal @ root) / (normal @ normal)
    cov = pd.DataFrame(root @ root.T, index=names, columns=names)
    function = {"held": lambda p: p[SIZE] + 3.0 * p[TOKENS], "free": lambda p: p[SIZE]}
    result = delta(lambda p: {k: f(p) for k, f in function.items()}, fit.params, cov, fit.model.table)
    assert result.bse["held"] == 0.0
    assert_allclose(result.bse["free"], np.sqrt(cov.loc[SIZE, SIZE]))
    with pytest.raises(ls.DataError, match=r"\['held'\] have no sampling variance.*constraints"):
        result.wald_test()


def test_joint_tests_of_dependent_functions_are_refused(apply):
    result = apply(lambda p: {"a": p[SIZE], "b": p[TOKENS], "sum": p[SIZE] + p[TOKENS], "c": p["loading[c,one]"]})
    with pytest.raises(ls.DataError, match=r"rank 3.*\['a', 'b', 'sum'\]"):
        result.wald_test()


def test_fits_without_standard_errors(fit):
    cov = fit.cov_params() * np.nan
    with pytest.raises(ls.DataError, match="no standard errors"):
        delta(lambda p: p[SIZE], fit.params, cov, fit.model.table)
    partly = fit.cov_params()
    partly.loc[TOKENS] = partly[TOKENS] = np.nan
    assert_allclose(delta(lambda p: p[SIZE], fit.params, partly, fit.model.table).bse, fit.bse[SIZE])
    with pytest.raises(ls.DataError, match="no standard errors"):
        delta(lambda p: p[SIZE] * p[TOKENS], fit.params, partly, fit.model.table)


def test_arguments_of_results_are_checked_and_tables_are_copies(apply):
    result = apply(lambda p: {"size": p[SIZE], "tokens": p[TOKENS]})
    with pytest.raises(ls.DataError, match="alpha"):
        result.conf_int(0.0)
    for value in ([1.0, 2.0, 3.0], np.nan):
        with pytest.raises(ls.DataError, match="one finite number, or 2"):
            result.wald_test(value)
    with pytest.raises(ls.DataError, match="must be given for"):
        result.wald_test({"size": 0.0})
    for name in ("estimate", "cov", "jacobian"):
        handed_out = getattr(result, name)
        before = handed_out.to_numpy().copy()
        handed_out.iloc[:] = 0.0
        assert_array_equal(getattr(result, name), before)
    with pytest.raises(AttributeError):
        result.values = np.zeros(2)
