"""LatentSkillModel(family_covariates=...): the same as terms of the scaling, and checked to be constant in families."""

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls

SCALING = "log(params_b)"
FIT = {"integration": "laplace", "starts": 1, "tolerance": 1e-5}
GAMMA = 1.2


def _table(families=40, per_family=3, seed=0):
    """One skill; tuned families have 1.2 of it more than the others."""
    code = np.arange(families)
    tuned, maker = (code % 2 == 0).astype(int), np.array(["lab", "university", "company"])[code % 3]
    table = worlds.simulated(
        families, per_family, [[0.5], [0.6], [0.7], [0.8]], [[0.5]], {"params_b": (-1.0, 3.0)}, intercepts=-0.5,
        precision=40.0, shift=GAMMA * tuned[:, None], model="llm{}", seed=seed,
    )  # fmt: skip
    return table.assign(tuned=tuned.repeat(per_family), maker=maker.repeat(per_family))


@pytest.fixture(scope="module")
def table():
    return _table()


def _panel(table):
    return ls.BenchmarkPanel(table, benchmarks=list("abcd"))


def _model(table, scaling=SCALING, **options):
    return ls.LatentSkillModel(_panel(table), scaling=scaling, skills=1, **options)


@pytest.fixture(scope="module")
def fit(table):
    return _model(table, family_covariates="tuned").fit(**FIT)


def test_the_same_as_a_term_of_the_scaling(table, fit):
    other = _model(table, f"{SCALING} + tuned").fit(**FIT)
    assert fit.model.param_names == other.model.param_names
    assert fit.model.family_terms == ("tuned",)
    assert_allclose(fit.llf, other.llf, rtol=1e-12)
    assert_allclose(fit.params, other.params, rtol=1e-10)
    assert_allclose(fit.bse, other.bse, rtol=1e-8)


def test_recovers_what_families_owe_to_their_covariates(fit):
    name = "slope[tuned,skill1]"
    assert fit.bse[name] < 0.5
    assert abs(fit.params[name] - GAMMA) < 3.0 * fit.bse[name]


def test_unseen_families_are_predicted_from_their_covariates(fit):
    """The prediction's means are those of the linear predictor's law, shifted by Gamma."""
    new = pd.DataFrame({"model": ["x", "y"], "family": ["new1", "new2"], "params_b": [7.0, 7.0], "tuned": [0, 1]})
    mean = fit.predict(new)
    assert (mean.loc["y"] > mean.loc["x"] + 0.05).all()
    assert fit.model.design.code(new)[:, 1].tolist() == [0.0, 1.0]


def test_categories(table):
    model = _model(table, family_covariates="C(maker) + tuned")
    assert model.family_terms == ("C(maker)[T.lab]", "C(maker)[T.university]", "tuned")
    assert set(model.family_terms) <= set(model.between_only)


def test_terms_that_are_in_the_scaling_too_are_not_repeated(table):
    model = _model(table, f"{SCALING} + tuned", family_covariates="tuned + C(maker)")
    assert model.terms.count("tuned") == 1
    assert len(model.family_terms) == 2
    with pytest.raises(ls.DataError, match="are all in the scaling"):
        _model(table, f"{SCALING} + tuned", family_covariates="tuned")


def test_families_in_which_a_term_varies_are_named(table):
    wrong = table.copy()
    wrong.loc[[4, 9], "tuned"] = 1 - wrong.loc[[4, 9], "tuned"]
    with pytest.raises(ls.DataError, match=r"'tuned' varies within 2 families \(f01, f03\)"):
        _model(wrong, family_covariates="tuned")
    with pytest.raises(ls.DataError, match=r"varies within 40 families \(f00, f01, f02, f03, f04, \.\.\.\)"):
        _model(table, "tuned", family_covariates="log(params_b)")


def test_what_cannot_be_told_apart(table):
    twice = table.assign(again=2.0 * table["tuned"] + 1.0)
    with pytest.raises(ls.IdentificationError, match="collinear"):
        _model(twice, family_covariates="tuned + again")
    with pytest.raises(ls.IdentificationError, match="collinear"):
        _model(twice, f"{SCALING} + again", family_covariates="tuned")
    with pytest.raises(ls.IdentificationError, match="same for all"):
        _model(table.assign(tuned=1), family_covariates="tuned")


def test_more_families_than_terms():
    few = _table(families=3)
    with pytest.raises(ls.IdentificationError, match="2 family covariates and the intercepts say all that 3 families"):
        _model(few, family_covariates="C(maker)")
    assert _model(_table(families=4), family_covariates="C(maker)").n_families == 4


def test_a_formula_that_is_none(table):
    with pytest.raises(ls.DataError, match="formula"):
        _model(table, family_covariates=["tuned"])
    with pytest.raises(ls.DataError, match="does not have"):
        _model(table, family_covariates="tuning")


def test_no_random_slope_on_them(table):
    with pytest.raises(ls.IdentificationError, match="cannot vary between"):
        _model(table, family_covariates="tuned", random_slopes="tuned")
    assert _model(table, family_covariates="tuned", random_slopes=True).random_terms == ("log(params_b)",)


def test_llms_without_the_covariate_are_dropped(table):
    holes = table.assign(tuned=table["tuned"].astype(float))
    holes.loc[holes["family"] == "f07", "tuned"] = np.nan
    model = _model(holes, family_covariates="tuned")
    assert model.n_families == 39
    assert len(model.rows.no_covariate) == 3


def test_saved_and_loaded(fit, tmp_path):
    fit.save(tmp_path / "fit.lscale")
    again = ls.load(tmp_path / "fit.lscale")
    assert again.model.family_covariates == "tuned"
    assert again.model.family_terms == ("tuned",)
    pd.testing.assert_series_equal(again.params, fit.params)


def test_the_summary_names_them(fit):
    text = fit.summary().as_text()
    assert "Family covariates:" in text
    assert "slope[tuned,skill1]" in text


def test_with_residual_skills_of_llms(table):
    model = _model(table, family_covariates="tuned", llm_effects=True)
    assert model.param_names[-1] == "llm_sd"
    assert "slope[tuned,skill1]" in model.param_names
