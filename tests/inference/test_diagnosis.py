"""diagnose: what is weak in a fit is found, named, and nothing else is."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.inference.diagnosis import diagnose
from latentscale.inference.fit_problems import boundary_parameters
from latentscale.parameters.kinds import SLOPE_SD
from latentscale.results.latent_skill import LatentSkillResults

ITEMS = list("abcde")
ANCHORED = ls.Anchored({"one": "a", "two": "b"})
BOTH = "log(params_b) + log(tokens_t)"
FIT = {"integration": "quadrature", "points": 9, "starts": 3}
QUICK = {"integration": "laplace", "starts": 1}


def simulated(seed=3, families=12, each=3):
    """Families of LLMs with scores of two skills on five benchmarks."""
    return worlds.simulated(
        families, each, [[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.5], [0.6, -0.4]], [[0.4, 0.1], [0.2, 0.5]],
        {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 3.0)}, intercepts=-0.5, skill_cov=[[1.0, 0.3], [0.3, 0.9925]],
        seed=seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def table():
    return simulated()


def fitted(table, skills=ANCHORED, model=None, **options):
    built = ls.LatentSkillModel(ls.BenchmarkPanel(table, benchmarks=ITEMS, chance={}), BOTH, skills, **(model or {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return built.fit(**options)


@pytest.fixture(scope="module")
def fit(table):
    return fitted(table, **FIT)


def changed(fit, **values):
    """The same fit with other findings of the optimiser."""
    return LatentSkillResults(fit.model, replace(fit.estimate, **values))


def found(fit, check):
    return [finding for finding in diagnose(fit, goodness_of_fit=False).checks if finding.check == check]


def test_nothing_to_remark_on_a_good_fit(fit):
    diagnosis = fit.diagnose()  # the world that the table is from is the model's
    assert diagnosis.problems == ()
    assert [finding.check for finding in diagnosis.notes] == ["families"]  # there are twelve
    assert str(diagnosis).startswith("Diagnosis: 1 note\nok      fit to the data: The data do not reject the model")
    assert str(diagnose(fit)) == str(diagnosis)
    assert repr(diagnosis) == "<Diagnosis: 1 note>"


def test_misfit_comes_first_and_by_name():
    """Residual skills of LLMs that the model lacks are found, and the term that answers it is named."""
    world = worlds.simulated(
        40, 4, [[0.8], [0.7], [0.6], [0.6], [0.5]], [[0.4], [0.2]], {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 3.0)},
        precision=200.0, llm_sd=0.8,
    )  # fmt: skip
    fit = fitted(world, {"one": "a"}, **QUICK)
    first = fit.diagnose().checks[0]
    assert (first.check, first.outcome) == ("fit to the data", "problem")
    assert "benchmarks within an LLM" in first.message
    assert "llm_effects=True" in first.message
    given = fit.goodness_of_fit(n=139, seed=3)
    assert fit.diagnose(given).checks[0].message == given.sentence
    unasked = fit.diagnose(goodness_of_fit=False).checks[0]
    assert (unasked.outcome, "was not examined" in unasked.message) == ("note", True)
    better = fitted(world, {"one": "a"}, {"llm_effects": True}, **QUICK).diagnose().checks[0]
    assert better.outcome == "ok"


def test_table_and_html(fit):
    diagnosis = diagnose(fit, goodness_of_fit=False)
    assert list(diagnosis.table["check"]) == [finding.check for finding in diagnosis.checks]
    assert {"outcome", "message", "parameters"} < set(diagnosis.table.columns)
    skills = ls.Anchored({"<b>one": "a", "two": "b"})
    short = fitted(simulated(), skills, integration="quadrature", points=5, starts=1, max_iterations=3, max_rounds=1)
    html = diagnose(short, goodness_of_fit=False)._repr_html_()  # what was not reached names parameters
    assert "<b>" not in html
    assert "&lt;b&gt;one" in html


class TestOptimum:
    def test_not_reached(self, table):
        short = fitted(table, integration="quadrature", points=5, starts=1, max_iterations=3, max_rounds=1)
        (problem,) = found(short, "convergence")
        assert problem.outcome == "problem"
        worst = np.argsort(-np.abs(short.estimate.gradient))[:3]
        assert problem.parameters == tuple(short.model.space.labels[position] for position in worst)
        assert problem.numbers["gradient"] == np.abs(short.estimate.gradient).max()
        assert "max_rounds" in problem.message

    @pytest.mark.parametrize(
        ("count", "best", "outcome"), [(1, 1, "note"), (2, 1, "note"), (10, 1, "problem"), (10, 2, "problem"),
                                       (10, 3, "ok"), (4, 2, "note"), (3, 1, "note"), (30, 3, "ok")]
    )  # fmt: skip
    def test_starts(self, fit, count, best, outcome):
        starts = pd.concat([fit.starts.iloc[:1]] * count, ignore_index=True)
        starts["reached_best"] = np.arange(count) < best
        (finding,) = found(changed(fit, starts=starts), "starts")
        assert finding.outcome == outcome
        assert f"{best} of {count} starts" in finding.message

    def test_rule_that_is_too_coarse(self, fit):
        coarse = changed(fit, error=replace(fit.estimate.error, difference=-0.4))
        (problem,) = found(coarse, "integration")
        assert problem.outcome == "problem"
        assert "-0.4" in problem.message
        assert "points=" in problem.message

    def test_draws_that_are_too_few(self, table):
        drawn = fitted(table, integration="monte_carlo", draws=64, starts=1)
        assert found(drawn, "integration")[0].outcome == "ok"
        worse = 0.2 / (drawn.mc_se / drawn.bse).max() * drawn.estimate.error.params_se
        few = changed(drawn, error=replace(drawn.estimate.error, params_se=worse))
        (problem,) = found(few, "integration")
        assert problem.outcome == "problem"
        assert problem.parameters == ((few.mc_se / few.bse).idxmax(),)
        assert "draws=" in problem.message


class TestInformation:
    @pytest.mark.slow
    def test_flat(self, table):
        free = ls.Confirmatory(pd.DataFrame(np.nan, index=["a"], columns=["one", "two"]))
        flat = fitted(table, free, **QUICK, allow_unidentified=True)
        diagnosis = diagnose(flat, goodness_of_fit=False)
        assert {problem.check for problem in diagnosis.problems} == {"information", "local rank"}
        rank = found(flat, "local rank")[0]
        assert rank.numbers["needed"] - rank.numbers["rank"] == 2
        assert rank.numbers["below"] < 1e-11
        assert "rotation of 'one' towards 'two'" in rank.message
        assert any(name.startswith("loading[") for name in rank.parameters)

    def test_weak_direction_is_named_in_standard_errors(self, fit):
        """Two coordinates with an information of correlation 1 - 1e-4: their estimates correlate by -(1 - 1e-4)."""
        labels = fit.model.space.labels
        pair = ["slope[log(params_b),one]", "slope[log(tokens_t),one]"]
        first, second = (labels.index(name) for name in pair)
        information = np.diag(np.linspace(50.0, 500.0, len(labels)))
        information[first, second] = information[second, first] = (1.0 - 1e-4) * np.sqrt(
            information[first, first] * information[second, second]
        )
        weak = changed(fit, information=information)
        (note,) = found(weak, "weak direction")
        # whitened covariates: what two coordinates say of one slope also moves the intercepts
        assert set(pair) <= set(note.parameters)
        assert_allclose(note.numbers["eigenvalue"], 1e-4, rtol=1e-6)
        assert "100 times" in note.message
        (together,) = found(weak, "correlated estimates")
        assert set(pair) <= set(together.parameters)

    def test_rank_at_a_restricted_estimate(self, table):
        held = fitted(table, **QUICK, constraints="slope[log(tokens_t),one] = 0")
        (rank,) = found(held, "local rank")
        assert (rank.outcome, rank.numbers["needed"]) == ("ok", held.model.table.size - 1)
        (finding,) = found(held, "restrictions")
        assert finding.numbers["testable"] == 1

    def test_over_identified(self, table):
        two = fitted(table, ls.Anchored({"one": "a", "two": "b"}, correlated=False), **QUICK)
        (finding,) = found(two, "restrictions")
        assert (finding.outcome, finding.numbers["testable"]) == ("ok", 1)
        assert "lr_test" in finding.message


class TestParameters:
    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("corr[one,two]", 0.9999, "fewer skills"),
            ("precision[c]", 1e7, "fitted exactly"),
            ("loading[a,one]", 1e-6, "choose another"),
        ],
    )
    def test_boundary(self, fit, name, value, words):
        params = fit.params.copy()
        params[name] = value
        problems = found(changed(fit, params=params.to_numpy()), "boundary")
        assert [problem.parameters for problem in problems] == [(name,)]
        assert words in problems[0].message

    def test_random_slopes_that_vanish(self):
        """Scores without random slopes: of four standard deviations some are estimated as none."""
        varying = fitted(simulated(seed=1), model={"random_slopes": True}, **QUICK)
        edges = boundary_parameters(varying.model, varying.estimate.params)
        names = [parameter.name for parameter in edges if parameter.kind == SLOPE_SD]
        assert names
        assert all(abs(varying.params[name]) < 2e-3 for name in names)
        assert any("slope_sd" in str(problem.parameters) for problem in varying.problems)
        assert found(varying, "boundary")[0].parameters == tuple(names)
        # where the score of a vanishing slope is zero the rank is looked at beside it
        assert found(varying, "local rank")[0].outcome == "ok"

    def test_random_slopes_are_judged_in_units_of_their_covariate(self, table):
        """The same slopes on a covariate in thousands: a thousandth of the standard deviation is no boundary."""
        thousands = table.assign(large=1000.0 * np.log(table["params_b"]))
        panel = ls.BenchmarkPanel(thousands, benchmarks=ITEMS, chance={})
        model = ls.LatentSkillModel(panel, "large", ANCHORED, random_slopes="large")
        params = pd.Series(0.5, index=model.param_names)
        params[["slope_sd[large,one]", "slope_sd[large,two]"]] = 5e-4, 5e-8
        edges = boundary_parameters(model, params.to_numpy())
        assert [parameter.name for parameter in edges] == ["slope_sd[large,two]"]

    def test_asymptotes_that_rest_on_their_penalty(self, table):
        fit = fitted(table, model={"asymptotes": "lower"}, **QUICK)
        (note,) = found(fit, "asymptotes")
        assert note.outcome == "note"
        name = note.parameters[0]
        value, error = fit.params[name], fit.bse[name]
        share = min((error / (value * (1.0 - value)) / 2.0) ** 2, 1.0)
        assert share > 0.5
        assert f"{name} {share:.0%}" in note.message
        tight = fitted(table, model={"asymptotes": "lower", "asymptote_sd": 50.0}, **QUICK)
        assert found(tight, "asymptotes")[0].numbers["largest share"] <= 1.0
        assert found(fitted(table, **QUICK), "asymptotes") == []


class TestData:
    def test_covariate_constant_within_families(self, table):
        other = table.assign(tokens_t=table.groupby("family")["tokens_t"].transform("mean"))
        (note,) = found(fitted(other, **QUICK), "design within families")
        assert note.outcome == "note"
        assert note.parameters == ("slope[log(tokens_t),one]", "slope[log(tokens_t),two]")

    def test_families_of_one_llm(self, table):
        lone = table[(table["family"] < "f04") | ~table["family"].duplicated()]
        (note,) = found(fitted(lone, 1, **QUICK), "families of one LLM")
        assert (note.outcome, note.numbers) == ("note", {"alone": 8, "families": 12})

    def test_benchmark_with_few_scores(self, table):
        other = table.copy()
        other.loc[14:, "e"] = np.nan
        (note,) = found(fitted(other, **QUICK), "scores per benchmark")
        assert note.outcome == "note"
        assert note.parameters == ("precision[e]",)
        assert "e (14 for 4)" in note.message
