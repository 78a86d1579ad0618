"""ParameterTable: names as users write them, and what read() refuses."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.errors import DataError
from latentscale.parameters.kinds import LLM_SD
from latentscale.parameters.structure import ScaleBlock


@pytest.fixture
def table(make_space):
    return make_space("anchored", "both").table


@pytest.fixture
def good(table):
    """A feasible natural vector, by name."""
    values = {}
    for number, name in enumerate(table.names):
        word = name.split("[")[0]
        values[name] = {"precision": 30.0, "lower": 0.2, "upper": 0.9, "corr": 0.1}.get(word, 0.01 * number)
    return pd.Series(values)


class TestNames:
    def test_words_and_labels(self, table):
        for name in ("loading[bbh,x]", "intercept[mmlu]", "slope[log(size),y]", "precision[gpqa]"):
            assert name in table.names
        for name in ("corr[x,y]", "corr[x,z]", "corr[y,z]", "lower[math]", "upper[math]"):
            assert name in table.names
        assert len(set(table.all_names)) == len(table.all_names) == table.layout.size
        assert len(table.names) == table.size

    def test_fixed_entries_have_no_name_of_their_own(self, table):
        assert "loading[mmlu,y]" not in table.names  # the anchor of x
        assert "loading[mmlu,x]" in table.names
        assert "cov[x,x]" not in table.names
        assert {"loading[mmlu,y]", "cov[x,x]"} <= set(table.all_names)

    @pytest.mark.parametrize(
        ("asymptotes", "present", "absent"),
        [("chance", (), ("lower", "upper")), ("lower", ("lower",), ("upper",)), ("both", ("lower", "upper"), ())],
    )
    def test_asymptotes(self, make_space, asymptotes, present, absent):
        words = {name.split("[")[0] for name in make_space("anchored", asymptotes).table.names}
        assert words >= set(present)
        assert not words & set(absent)

    def test_covariances_where_variances_are_free(self, make_space):
        names = make_space("confirmatory").table.names
        # a and b have a fixed non-zero loading, c has variance one
        covariances = ["cov[a,a]", "cov[a,b]", "cov[b,b]", "cov[a,c]", "cov[b,c]"]
        assert [name for name in names if name.startswith("cov")] == covariances
        assert not any(name.startswith("corr") for name in names)

    def test_uncorrelated_forms_have_no_correlation(self, make_space):
        for form in ("anchored uncorrelated", "echelon"):
            assert not any(name.startswith(("corr", "cov")) for name in make_space(form).table.names)
        assert "cov[a,a]" in make_space("confirmatory uncorrelated").table.names


class TestRead:
    def test_series_dict_and_vector_agree(self, table, good):
        shuffled = good.sample(frac=1.0, random_state=0)
        for params in (good, shuffled, shuffled.to_dict(), good.to_numpy(), list(good)):
            assert_array_equal(table.read(params), good.to_numpy())

    def test_round_trip_through_a_structure(self, table, good):
        structure = table.structure(table.read(good))
        assert structure.loadings[0, 1] == 0.0
        assert structure.skill_cov[0, 2] == structure.skill_cov[2, 0] == 0.1
        assert_array_equal(np.diag(structure.skill_cov), 1.0)
        assert_array_equal(table.natural(structure), good.to_numpy())

    def refused(self, table, params, *fragments):
        with pytest.raises(DataError) as caught:
            table.read(params)
        for fragment in fragments:
            assert fragment in str(caught.value)

    def test_missing_and_unknown_names(self, table, good):
        renamed = good.rename({"intercept[bbh]": "intercept[bhb]"})
        self.refused(table, renamed, "Missing: ['intercept[bbh]']", "unknown: ['intercept[bhb]']")
        self.refused(table, good.drop("corr[x,y]"), "Missing: ['corr[x,y]']", "unknown: none")
        self.refused(table, {**good, "nonsense": 1.0}, "Missing: none", "unknown: ['nonsense']")
        self.refused(table, {}, "and more")

    def test_a_name_twice(self, table, good):
        self.refused(table, pd.concat([good, good[["intercept[bbh]"]]]), "twice", "intercept[bbh]")

    @pytest.mark.parametrize("change", [-1, 1])
    def test_wrong_length(self, table, good, change):
        self.refused(table, np.resize(good.to_numpy(), table.size + change), str(table.size))

    def test_wrong_shape(self, table, good):
        self.refused(table, good.to_numpy()[:, None], "shape")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, table, good, value):
        good["slope[log(size),z]"] = value
        self.refused(table, good, "not finite", "slope[log(size),z]")

    @pytest.mark.parametrize("value", [0.0, -1.0])
    def test_precision_must_be_positive(self, table, good, value):
        good["precision[ifeval]"] = value
        self.refused(table, good, "precision[ifeval]", "positive")

    @pytest.mark.parametrize(("lower", "upper"), [(0.5, 0.5), (0.6, 0.5), (-0.01, 0.5), (0.1, 1.01)])
    def test_asymptotes_must_be_ordered_fractions(self, table, good, lower, upper):
        good["lower[bbh]"], good["upper[bbh]"] = lower, upper
        self.refused(table, good, "0 <= lower < upper <= 1", "['bbh']")

    def test_the_edges_of_asymptotes_are_allowed(self, table, good):
        good["lower[bbh]"], good["upper[bbh]"] = 0.0, 1.0
        assert_array_equal(table.read(good), good.to_numpy())

    @pytest.mark.parametrize("correlations", [(1.0, 0.0, 0.0), (1.2, 0.0, 0.0), (0.9, 0.9, -0.9)])
    def test_the_covariance_must_be_positive_definite(self, table, good, correlations):
        good[["corr[x,y]", "corr[x,z]", "corr[y,z]"]] = correlations
        self.refused(table, good, "not positive definite")

    def test_values_that_are_no_numbers(self, table, good):
        self.refused(table, {**good, "corr[x,y]": "much"}, "number")


def test_with_fixed_restricts(table, good):
    fixed = table.fixed.copy()
    fixed[table.all_names.index("slope[log(size),x]")] = 0.5
    smaller = table.with_fixed(fixed)
    assert smaller.size == table.size - 1
    assert "slope[log(size),x]" not in smaller.names
    structure = smaller.structure(smaller.read(good.drop("slope[log(size),x]")))
    assert_allclose(structure.slopes[0, 0], 0.5, rtol=0)


class TestResidualSkills:
    @pytest.fixture
    def extended(self, table):
        return replace(table, fixed=np.append(table.fixed, np.nan), scales=(ScaleBlock(LLM_SD),))

    def test_one_more_name_the_last(self, table, extended):
        assert extended.names == [*table.names, "llm_sd"]
        assert extended.all_names == (*table.all_names, "llm_sd")

    def test_read(self, extended, good):
        vector = extended.read({**good, "llm_sd": 0.25})
        assert extended.structure(vector).scales["llm_sd"] == 0.25
        assert extended.structure(extended.read({**good, "llm_sd": 0.0})).scales["llm_sd"] == 0.0
        with pytest.raises(DataError, match=r"cannot be negative: \['llm_sd'\]"):
            extended.read({**good, "llm_sd": -0.25})

    def test_held_at_a_value(self, table, extended, good):
        held = extended.with_fixed(np.append(table.fixed, 0.5))
        assert held.names == table.names
        assert held.structure(held.read(good)).scales["llm_sd"] == 0.5
