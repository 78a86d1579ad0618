"""What a panel says about covariates: values in wrong units, and what lies within families."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import latentscale as ls
from latentscale.covariates import family_means, lying_apart, share_within

SPACED = np.geomspace(0.1, 100.0, 40)


def _with_wrong_tokens():
    """The shipped table, in which the tokens of one LLM are a thousand times what they are."""
    table = ls.load_leaderboard()
    row = int(np.flatnonzero(table["tokens_t"].notna())[9])
    table.loc[row, "tokens_t"] = 627.0
    return table, table.loc[row, "model"]


class TestLyingApart:
    def test_evenly_spaced_values_do_not(self):
        assert not len(lying_apart(SPACED))
        assert not len(lying_apart(np.geomspace(1e-4, 1e5, 10)))  # wide steps are those of the table

    def test_few_far_values_do_on_either_side(self):
        values = np.concatenate([[4e4, np.nan], SPACED, [1e-3]])
        assert_array_equal(sorted(lying_apart(values)), [0, 42])
        assert_array_equal(sorted(lying_apart(np.concatenate([SPACED, [5e4, 6e4]]))), [40, 41])

    def test_two_clusters_are_a_table_of_two_kinds(self):
        assert not len(lying_apart(np.concatenate([SPACED, 1e4 * SPACED])))

    def test_little_is_said_of_few_values_or_of_zeros(self):
        assert not len(lying_apart(np.array([1.0, 2.0, 3.0, 1e6])))
        assert not len(lying_apart(np.concatenate([[0.0, 1e9], SPACED])))
        assert not len(lying_apart(np.full(20, np.nan)))

    @given(st.floats(-9.0, 9.0), st.permutations(range(12)))
    def test_neither_units_nor_the_order_of_rows_matter(self, log_unit, order):
        values = np.concatenate([np.geomspace(1.0, 3.0, 11), [90.0]])
        assert_array_equal(np.take(order, lying_apart(10.0**log_unit * values[list(order)])), [11])


class TestPanel:
    def test_wrong_units_are_named(self):
        table, llm = _with_wrong_tokens()
        panel = ls.BenchmarkPanel(table)
        assert f"tokens_t of {llm} is 627, 42 times the largest other (15)" in repr(panel)
        assert panel.covariates().loc["tokens_t", "apart"] == (llm,)
        assert "unit" not in repr(ls.BenchmarkPanel(ls.load_leaderboard()))

    def test_small_values_too(self):
        table = ls.load_leaderboard()
        table.loc[0, "params_b"] = 7e-9
        assert "and the smallest other 10,000,000 times as large (0.07)" in repr(ls.BenchmarkPanel(table))

    def test_summary_of_columns(self):
        table = ls.load_leaderboard()
        frame = ls.BenchmarkPanel(table).covariates()
        used = table.dropna(subset="tokens_t")
        logs = np.log(used["tokens_t"])
        within = logs - logs.groupby(used["family"]).transform("mean")
        assert_allclose(frame.loc["tokens_t", "within_families"], within.var(ddof=0) / logs.var(ddof=0))
        assert frame.loc["tokens_t", ["n", "missing", "min", "max", "scale"]].tolist() == [184, 13, 0.15, 15.0, "log"]
        assert frame.loc["humaneval", "scale"] == "linear"  # it has zeros
        assert "instruct" not in frame.index
        assert "release_date" not in frame.index

    def test_odd_columns(self):
        table = ls.load_leaderboard().assign(
            same=1.0, none=np.nan, whole=np.arange(197).astype("int64"), huge=np.where(np.arange(197) < 3, np.inf, 2.0)
        )
        frame = ls.BenchmarkPanel(table).covariates()
        assert np.isnan(frame.loc["same", "within_families"])
        assert "none" not in frame.index
        assert frame.loc["huge", "missing"] == 3


class TestDiagnosis:
    def test_wrong_units_are_a_problem_and_move_slopes(self):
        table, llm = _with_wrong_tokens()
        right, wrong = (
            ls.LatentSkillModel(ls.BenchmarkPanel(one), skills=1).fit(integration="laplace", starts=1)
            for one in (ls.load_leaderboard(), table)
        )
        (found,) = (one for one in wrong.diagnose(goodness_of_fit=False).problems if one.check == "covariates")
        assert llm in found.message
        assert "covariates" not in [one.check for one in right.diagnose(goodness_of_fit=False).problems]
        name = "slope[log(tokens_t),skill1]"
        assert wrong.params[name] < 0.5 * right.params[name]

    def test_leverage_is_told(self):
        table = ls.load_leaderboard()
        table["recipe"] = (table["model"] == "llama-2-7b").astype(float) + np.linspace(0.0, 0.01, len(table))
        model = ls.LatentSkillModel(ls.BenchmarkPanel(table), "log(params_b) + recipe", skills=1)
        diagnosis = model.fit(integration="laplace", starts=1).diagnose(goodness_of_fit=False)
        (found,) = (one for one in diagnosis.notes if one.check == "covariates")
        assert "llama-2-7b" in found.message


def test_means_and_shares():
    x, family = np.array([[1.0, 0.0], [3.0, 0.0], [8.0, 1.0]]), np.array([0, 0, 2])
    assert_allclose(family_means(x, family), [[2.0, 0.0], [2.0, 0.0], [8.0, 1.0]])
    assert_allclose(family_means(x[:, 0], family), [2.0, 2.0, 8.0])
    assert_allclose(share_within(x, family), [(1.0 + 1.0) / 3.0 / x[:, 0].var(), 0.0])
    with pytest.raises(ValueError, match="zero-size"):
        family_means(x[:0], family[:0])
