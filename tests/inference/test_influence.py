"""Influence against refits without the unit, shares of variance, extensions and marginal effects."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.estimation.refit import refit
from latentscale.likelihood.objective import Objective

COVARIATES = {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 3.0)}
SCALING = "log(params_b) + log(tokens_t)"
FIT = {"integration": "laplace", "starts": 1}


def _panel(**effects):
    table = worlds.simulated(
        40, 4, [[0.8], [0.7], [0.6], [0.6], [0.5]], [[0.4], [0.2]], COVARIATES, precision=150.0, seed=3, **effects
    )
    table["base"] = [f"b{int(name[1:]) // 2}" for name in table["family"]]
    return ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={}, groups="base")


@pytest.fixture(scope="module")
def panel():
    return _panel(llm_sd=0.5, benchmark_sd=0.3)


@pytest.fixture(scope="module")
def fit(panel):
    return ls.LatentSkillModel(panel, SCALING, {"one": "a"}).fit(**FIT)


@pytest.fixture(scope="module")
def extended(panel):
    options = {"llm_effects": True, "benchmark_effects": True, "random_slopes": "log(params_b)", "precision_sd": 1.5}
    return ls.LatentSkillModel(panel, SCALING, {"one": "a"}, **options).fit(**FIT)


def _without(fit, kept):
    """The change of the estimate without some cells, by a refit."""
    objective = fit.estimate.objective(fit.model)
    rest = Objective(objective.space, objective.cells.chosen(kept), objective.penalty)
    end = refit(rest, fit.estimate.rule, fit.estimate.coordinates, fit.estimate.information)
    return end.coordinates - fit.estimate.coordinates


class TestInfluence:
    def test_families_move_estimates_as_refits_do(self, fit):
        found, cells = fit.influence(), fit.model.internal_cells
        error = np.sqrt(np.diag(fit.observed.matrix))
        for family in (0, 7, 21):
            exact = fit.observed.jacobian @ _without(fit, cells.family != family) / error
            # one step and a refit
            assert np.corrcoef(found.changes.iloc[family], exact)[0, 1] > 0.85
            assert 0.5 < np.linalg.norm(found.changes.iloc[family]) / np.linalg.norm(exact) < 2.0

    def test_llms_move_estimates_as_refits_do(self, fit):
        found, cells = fit.influence("llm"), fit.model.internal_cells
        error = np.sqrt(np.diag(fit.observed.matrix))
        row = int(np.argmax(found.cook))
        exact = fit.observed.jacobian @ _without(fit, cells.row != row) / error
        assert np.corrcoef(found.changes.iloc[row], exact)[0, 1] > 0.9

    def test_groups_hold_the_scores_of_their_families(self, fit, panel):
        groups = fit.influence("group")
        assert list(groups.cook.index) == sorted(set(panel.groups))
        cells, model = fit.model.internal_cells, fit.model
        members = panel.groups.to_numpy() == "b3"
        kept = ~np.isin(cells.family, np.unique(model.family_codes[members]))
        exact = fit.observed.jacobian @ _without(fit, kept) / np.sqrt(np.diag(fit.observed.matrix))
        assert np.corrcoef(groups.changes.loc["b3"], exact)[0, 1] > 0.9

    def test_an_outlying_family_is_the_worst(self, panel):
        table = panel.to_frame()
        odd = table["family"] == "f05"
        table.loc[odd, ["a", "b"]] = [0.02, 0.98]
        other = ls.BenchmarkPanel(table, **panel.options)
        found = ls.LatentSkillModel(other, SCALING, {"one": "a"}).fit(**FIT).influence()
        assert found.cook.idxmax() == "f05"
        assert "f05: Cook's distance" in str(found)
        axes = found.plot()
        assert axes.get_yticklabels()[-1].get_text() == "f05"

    def test_refusals(self, fit, panel):
        with pytest.raises(ls.DataError, match="by is one of"):
            fit.influence("benchmark")
        plain = ls.BenchmarkPanel(panel.to_frame(), benchmarks=list("abcde"), chance={})
        with pytest.raises(ls.DataError, match="needs the panel's groups"):
            ls.LatentSkillModel(plain, SCALING, {"one": "a"}).fit(**FIT).influence("group")


class TestVarianceShares:
    def test_they_sum_to_one_and_name_what_there_is(self, fit, extended):
        for one, columns in (
            (fit, ["covariates", "family skills", "noise"]),
            (extended, ["covariates", "family skills", "family slopes", "family particularities", "LLMs", "noise"]),
        ):
            shares = one.variance_shares()
            assert list(shares.columns) == [*columns, "icc family", "total"]
            assert_allclose(shares[columns].sum(axis=1), 1.0)

    def test_against_a_simulation(self, extended):
        """Variance of simulated linear predictors."""
        structure, model = extended.structure, extended.model
        shares = extended.variance_shares()
        rng = np.random.default_rng(4)
        k = structure.skill_cov[0, 0]
        x = model.design.x @ structure.slopes
        j, size = 1, 200_000
        rows = rng.integers(0, len(x), size)
        eta = structure.loadings[j, 0] * (
            x[rows, 0] + np.sqrt(k) * rng.standard_normal(size)
            + structure.scales["slope_sd"][0, 0] * model.random_design[rows, 0] * rng.standard_normal(size)
            + structure.scales["llm_sd"][0] * np.sqrt(k) * rng.standard_normal(size)
        ) + structure.scales["benchmark_sd"][j] * rng.standard_normal(size)
        row = shares.iloc[j]
        assert_allclose(np.var(eta), row["total"] * (1.0 - row["noise"]), rtol=0.02)


class TestExtensions:
    def test_what_the_world_has_pays(self, fit):
        found = fit.extensions()
        assert found.left_out == {}
        assert found.table["aic"].is_monotonic_increasing
        assert found.table.loc["llm_effects='proportional'", "aic"] < -10.0
        assert found.table.loc["benchmark_effects='equal'", "p_value"] < 0.01
        assert found.table.loc["nested=True", "p_value"] > 0.05
        larger = found.fits["llm_effects='proportional'"]
        assert_allclose(found.table.loc["llm_effects='proportional'", "lr"], 2.0 * (larger.llf - fit.llf), rtol=1e-9)
        assert "Extensions by one term" in str(found)
        assert found.plot() is not None

    def test_only_absent_terms_are_tried(self, extended):
        terms = list(extended.extensions().table.index)
        assert not [term for term in terms if term.startswith(("llm_effects", "benchmark_effects"))]
        assert "random_slopes: log(params_b)" not in terms


class TestMarginalEffects:
    def test_they_are_differences_of_predictions(self, fit):
        effects = fit.marginal_effects(of="size", size=4000)
        table = fit.model.panel.to_frame()
        doubled = table.assign(model="d" + table["model"], params_b=2.0 * table["params_b"])
        exact = 100.0 * (fit.predict(doubled).to_numpy() - fit.predict().to_numpy()).mean(axis=0)
        # the delta method about the estimate, and draws
        assert_allclose(effects.loc["size", "points"], exact, rtol=0.03)
        assert (effects["ci_lower"] < effects["points"]).all()
        assert (effects["points"] < effects["ci_upper"]).all()

    def test_compute_is_both_by_the_root(self, fit):
        table = fit.marginal_effects(size=2000)
        assert list(dict.fromkeys(table.index.get_level_values("of"))) == ["size", "tokens", "compute"]
        both = 0.5 * (table.loc["size", "points"] + table.loc["tokens", "points"])
        assert_allclose(table.loc["compute", "points"], both, rtol=0.1)

    def test_at_one_llm_and_for_other_factors(self, fit):
        at = {"params_b": 7.0, "tokens_t": 2.0, "family": "f03"}
        one = fit.marginal_effects(of="size", at=at, size=2000)
        ten = fit.marginal_effects(per="tenfold", of="size", at=at, size=2000)
        assert (ten["points"] > 2.5 * one["points"]).all()
        unseen = fit.marginal_effects(of="size", at={"params_b": 7.0, "tokens_t": 2.0}, size=2000)
        assert unseen["std_err"].mean() > one["std_err"].mean()
        with pytest.raises(ls.DataError, match="give all of them"):
            fit.marginal_effects(of="size", at={"params_b": 7.0, "tokens_t": np.nan})
        with pytest.raises(ls.DataError, match="of size, tokens and compute"):
            fit.marginal_effects(of="data")
        assert isinstance(one, pd.DataFrame)
