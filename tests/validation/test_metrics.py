"""Averages, coverage and comparisons against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.validation import metrics

# Family a has two LLMs, b and c one each; a stands alone and b with c.
ERRORS = {"a1": (1.0, 3.0), "a2": (2.0, 6.0), "b1": (4.0, 8.0), "c1": (10.0, 0.0)}
GROUPS = {"a1": "a", "a2": "a", "b1": "b + c", "c1": "b + c"}


def rows(method, factor=1.0):
    return [
        {
            "method": method, "group": GROUPS[llm], "family": llm[0], "llm": llm, "benchmark": benchmark,
            "observed": 0.5, "predicted": 0.5, "error": factor * value, "abs_error": factor * value,
        }
        for llm, values in ERRORS.items()
        for benchmark, value in zip("xy", values, strict=True)
    ]  # fmt: skip


@pytest.fixture
def errors():
    return pd.DataFrame(rows("one") + rows("two", 2.0))


def test_mean_over_groups(errors):
    mae = metrics.mean_absolute_error(errors, ("two", "one"))
    # groups: (1 + 3 + 2 + 6) / 4 = 3 and (4 + 8 + 10 + 0) / 4 = 5.5
    assert list(mae.index) == ["two", "one"]
    assert_allclose(mae, [8.5, 4.25])


def test_pooled(errors):
    assert_allclose(metrics.mean_absolute_error(errors, ("one",), pooled=True), [34.0 / 8.0])
    fewer = errors[errors["llm"] != "a2"]
    assert_allclose(metrics.mean_absolute_error(fewer, ("one",), pooled=True), [26.0 / 6.0])
    assert_allclose(metrics.mean_absolute_error(fewer, ("one",)), [(2.0 + 5.5) / 2.0])


def test_by_benchmark_and_family(errors):
    by = metrics.mean_absolute_error(errors, ("one", "two"), by="benchmark")
    assert_allclose(by["one"], [(1.5 + 7.0) / 2.0, (4.5 + 4.0) / 2.0])
    assert list(by.index) == ["x", "y"]
    by = metrics.mean_absolute_error(errors, ("one", "two"), by="family")
    assert_allclose(by, [[3.0, 6.0], [6.0, 12.0], [5.0, 10.0]])
    by = metrics.mean_absolute_error(errors, ("one", "two"), by=["family", "benchmark"])
    assert_allclose(by.loc[("a", "y"), "two"], 9.0)
    assert_allclose(metrics.mean_absolute_error(errors, ("one",), by="method"), [4.25])


def test_a_failed_split_is_not_averaged_away(errors):
    errors.loc[(errors["method"] == "one") & (errors["group"] == "a"), "abs_error"] = np.nan
    mae = metrics.mean_absolute_error(errors, ("one", "two"))
    assert np.isnan(mae["one"])
    assert mae["two"] == 8.5
    by = metrics.mean_absolute_error(errors, ("one", "two"), by="family")["one"]
    assert np.isnan(by["a"])
    assert by["b"] == 6.0


def test_paired_differences(errors):
    table = metrics.paired_differences(errors, ("one", "two"), "one")
    gap = np.array([3.0, 6.0, 5.0])  # by family: a, b, c
    assert_allclose(table.loc["two", "difference"], gap.mean())
    assert_allclose(table.loc["two", "se"], gap.std(ddof=1) / np.sqrt(3.0))
    assert_allclose(table.loc["two", ["mae", "baseline"]].astype(float), [28.0 / 3.0, 14.0 / 3.0])
    assert table.loc["two", "better"] == 0
    assert table.loc["two", "n"] == 3
    # t^2 = 28, and Student's t with two degrees of freedom has P(|T| > t) = 1 - t / sqrt(2 + t^2)
    assert_allclose(table.loc["two", "p_value"], 1.0 - np.sqrt(28.0 / 30.0), rtol=1e-9)
    groups = metrics.paired_differences(errors, ("one", "two"), "two", unit="group")
    assert_allclose(groups.loc["one", "difference"], -4.25)
    assert groups.loc["one", "better"] == 2


def test_paired_differences_leave_out_failures(errors):
    errors.loc[(errors["method"] == "two") & (errors["family"] == "a"), "abs_error"] = np.nan
    table = metrics.paired_differences(errors, ("one", "two"), "one")
    assert table.loc["two", "n"] == 2
    assert_allclose(table.loc["two", "difference"], 5.5)


def test_equal_methods_have_no_test(errors):
    twin = errors.assign(method=errors["method"].replace({"two": "three"}))
    twin.loc[twin["method"] == "three", "abs_error"] /= 2.0
    table = metrics.paired_differences(twin, ("one", "three"), "one")
    assert table.loc["three", "difference"] == 0.0
    assert np.isnan(table.loc["three", "t"])


def test_coverage(errors):
    inside = [True, False, True, True, True, False, True, True]
    errors = errors[errors["method"] == "one"].copy()
    errors["lower_50"], errors["upper_50"] = 0.4, np.where(inside, 0.6, 0.45)
    errors["lower_95"], errors["upper_95"] = 0.0, 1.0
    table = metrics.coverage(errors, ("one",), (0.5, 0.95))
    assert_allclose(table, [[0.75, 1.0]])
    assert_allclose(metrics.coverage(errors, ("one",), (0.5,), by="benchmark")[0.5], [1.0, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda errors: metrics.mean_absolute_error(errors, ("one",), by="size"), "not of 'size'"),
        (lambda errors: metrics.paired_differences(errors, ("one", "two"), "three"), "baseline is one of one, two"),
        (lambda errors: metrics.paired_differences(errors, ("one", "two"), "one", unit="llm"), "family, group"),
    ],
)
def test_bad_requests(errors, call, message):
    with pytest.raises(ls.DataError, match=message):
        call(errors)
