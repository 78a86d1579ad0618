"""Specifications and tables that cannot be used get an error that names what is wrong."""

import numpy as np
import pandas as pd
import pytest

import latentscale as ls

ANCHORED = ls.Anchored({"first": "a", "second": "b"})


def _model(table, scaling="log(params_b) * log(tokens_t)", skills=ANCHORED, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcde"), chance={"a": 0.0})
    return ls.LatentSkillModel(panel, scaling=scaling, skills=skills, **options)


@pytest.mark.parametrize(
    ("skills", "error", "words"),
    [
        ({"first": "a", "second": "nope"}, ls.DataError, ["nope", "abcde"[0]]),
        ({"first": "a", "second": "a"}, ls.DataError, ["'a'", "once"]),
        ({}, ls.DataError, ["at least one skill"]),
        (6, ls.IdentificationError, ["6 skills", "5 benchmarks"]),
        (0, ls.DataError, ["at least one skill"]),
        (True, ls.DataError, ["number of skills"]),
        ("a", ls.DataError, ["number of skills"]),
    ],
)
def test_skills_that_cannot_be(table, skills, error, words):
    with pytest.raises(error) as caught:
        _model(table, skills=skills)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def _refused(model, check, words):
    """The report says it, and a fit is refused with the same words."""
    assert any(problem.check == check for problem in model.identification(points=1).problems)
    with pytest.raises(ls.IdentificationError, match=words):
        model.fit()


def test_pattern_with_too_few_restrictions_is_refused(table):
    free = pd.DataFrame(np.nan, index=list("ab"), columns=["first", "second"])
    _refused(_model(table, skills=ls.Confirmatory(free)), "counting", "2 directions of the skills")


def test_more_skills_than_families(table):
    model = _model(table[table["family"] < "f03"], scaling="log(params_b)", skills=4)
    _refused(model, "families", "only 3 families")


def test_constant_covariate_is_named(table):
    with pytest.raises(ls.IdentificationError, match=r"log\(tokens_t\)"):
        _model(table.assign(tokens_t=2.0), scaling="log(params_b) + log(tokens_t)")


def test_collinear_covariates_are_named(table):
    with pytest.raises(ls.IdentificationError, match=r"log\(params_b\).*log\(double\).*collinear"):
        _model(table.assign(double=2.0 * table["params_b"]), scaling="log(params_b) + log(double)")


def test_log_of_zero_names_the_llm(table):
    other = table.copy()
    other.loc[7, "params_b"] = 0.0
    with pytest.raises(ls.DataError, match="llm007"):
        _model(other)


def test_missing_column_of_the_formula(table):
    with pytest.raises(ls.DataError, match="tokens_t"):
        _model(table.drop(columns="tokens_t"))


def test_families_of_one_llm_only(table):
    one = table.drop_duplicates("family")
    _refused(_model(one), "design within families", r"log\(params_b\).*family efficiencies")


def test_rows_without_covariates_are_dropped_and_counted(table):
    other = table.copy()
    other.loc[[1, 5], "tokens_t"] = np.nan
    other.loc[9, list("abcde")] = np.nan
    model = _model(other)
    assert model.rows.no_covariate == ("llm001", "llm005")
    assert model.rows.no_score == ("llm009",)
    assert model.n_llms == len(table) - 3
    text = str(model.fit(integration="laplace", starts=1).summary())
    assert "Dropped 3 of 42 LLMs: 2 without a covariate, 1 without a score" in text


def test_benchmark_whose_scores_all_belong_to_dropped_llms(table):
    other = table.copy()
    other.loc[6:, "e"] = np.nan
    other.loc[:5, "tokens_t"] = np.nan
    with pytest.raises(ls.DataError, match=r"\['e'\] have no score"):
        _model(other)


def test_benchmark_that_is_constant_among_the_llms_that_count(table):
    other = table.copy()
    other["e"] = 0.5
    other.loc[3, ["e", "tokens_t"]] = [0.6, np.nan]
    with pytest.raises(ls.DataError, match=r"\['e'\] have one and the same score"):
        _model(other)


@pytest.mark.parametrize(
    "options",
    [
        {"integration": "simpson"}, {"starts": 0}, {"starts": 1.5}, {"cov_type": "magic"}, {"driver": "sgd"},
        {"driver": "em", "integration": "laplace"}, {"draws": 100}, {"integration": "quadrature", "points": 400},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(table, options):
    with pytest.raises(ls.DataError):
        _model(table).fit(**options)


def test_wrong_parameters_are_named(table):
    model = _model(table)
    params = pd.Series(0.5, index=model.param_names)
    with pytest.raises(ls.DataError, match=r"loading\[c,first\]"):
        model.loglike(params.drop("loading[c,first]"))
    with pytest.raises(ls.DataError, match="nonsense"):
        model.loglike({**params, "nonsense": 1.0})
    with pytest.raises(ls.DataError, match=r"precision\[a\]"):
        model.loglike({**params, "precision[a]": -1.0})
    with pytest.raises(ls.DataError, match="not positive definite"):
        model.loglike({**params, "corr[first,second]": 1.5})
    with pytest.raises(ls.DataError, match=r"slope\[log\(tokens_t\),second\]"):
        model.loglike({**params, "slope[log(tokens_t),second]": np.nan})
    with pytest.raises(ls.DataError, match="Expected"):
        model.loglike(params.to_numpy()[:-1])


def test_not_a_panel(table):
    with pytest.raises(ls.DataError, match="BenchmarkPanel"):
        ls.LatentSkillModel(table)
    with pytest.raises(ls.DataError, match="asymptotes"):
        _model(table, asymptotes="sometimes")
    with pytest.raises(ls.DataError, match="asymptote_sd"):
        _model(table, asymptote_sd=0.0)
