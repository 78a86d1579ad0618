"""Learned links, shrinkage, outliers, and fits without information: what they must leave alone and what they gain."""

import json
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal

import latentscale as ls
from latentscale.components.curve import mean_score
from latentscale.likelihood.rules import Rule
from latentscale.numerics import monotone
from latentscale.numerics.differences import jacobian
from latentscale.prediction.residuals import residuals

FOUR = ["mmlu", "hellaswag", "gsm8k", "bbh"]
OPEN_LLM_V1 = ["mmlu", "arc", "hellaswag", "winogrande", "truthfulqa", "gsm8k"]
QUICK = {"integration": "laplace", "starts": 1}
PREDICTING = QUICK | {"cov_type": "none", "information": False}
ALL = {"link": "monotone", "link_sd": 0.7, "shrink_effects": 0.5, "shrink_slopes": 1.0, "outliers": 0.1}
ITEMS = ["a", "b", "c", "d"]
BENT = np.array([2.2, 1.9, 1.4, 0.7, 0.4, 0.25, 0.15])  # steep at low skill, flat at high


@pytest.fixture(scope="module")
def four():
    return ls.BenchmarkPanel(ls.load_leaderboard(), FOUR)


@pytest.fixture(scope="module")
def plain(four):
    """One skill, default options."""
    return ls.LatentSkillModel(four, skills=1).fit(**QUICK)


@pytest.fixture(scope="module")
def full(four):
    """One skill and all options."""
    return ls.LatentSkillModel(four, skills=1, **ALL).fit(**QUICK)


@pytest.fixture(scope="module")
def bare(four):
    """The same without information."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ls.LatentSkillModel(four, skills=1, **ALL).fit(**PREDICTING)


def _world(families, per):
    """A table with a place for the scores of four benchmarks."""
    return worlds.places(families, per, worlds.SIZE_AND_TOKENS, family="f{}")


def _model(table, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=ITEMS, chance={"a": 0.0})
    return ls.LatentSkillModel(panel, "log(params_b) + log(tokens_t)", ls.Anchored({"skill": "a"}), **options)


def _truth(model, rho=None):
    """Parameters of a one-skill world; links bent one way for a and b, the other way for c and d."""
    params = dict.fromkeys(model.param_names, 0.0)
    for item, loading, intercept in zip(ITEMS, (1.0, 1.3, 0.8, 1.1), (-1.5, -1.0, -1.2, -2.0), strict=True):
        params |= {f"loading[{item},skill]": loading, f"intercept[{item}]": intercept, f"precision[{item}]": 100.0}
        if rho is not None:
            own = monotone.free_coordinates(rho if item in "ab" else rho[::-1])
            params |= {f"link[{item},{number + 1}]": value for number, value in enumerate(own)}
    return params | {"slope[log(params_b),skill]": 0.6, "slope[log(tokens_t),skill]": 0.3}


# --- the likelihood ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("integration", ["laplace", "quadrature"])
def test_score_is_the_derivative_of_the_log_likelihood(panel, integration):
    model = ls.LatentSkillModel(panel, "log(params_b)", skills=ls.Echelon(["c", "d"]), **ALL)
    start = model.fit(**PREDICTING).params
    rng = np.random.default_rng(0)
    # off the maximum, so that no entry of the score is nearly zero; precisions stay positive
    params = start.to_numpy() * np.exp(0.05 * rng.standard_normal(len(start)))
    rule = {"integration": integration} | ({"points": 5} if integration == "quadrature" else {})
    step = 1e-3 * np.maximum(0.02, np.abs(params))
    wanted = jacobian(lambda point: np.atleast_1d(model.loglike(point, **rule)), params, step)[0]
    score = model.score(params, **rule)
    # rounding of a log-likelihood of some hundreds over a step of 2e-5, and differences across the knots of the splines
    assert_allclose(score, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("integration", ["laplace", "quadrature", "monte_carlo"])
def test_a_link_without_bends_is_logistic(four, plain, integration):
    linked = ls.LatentSkillModel(four, skills=1, link="monotone")
    params = {name: plain.params.get(name, 0.0) for name in linked.param_names}
    assert linked.table.size == plain.model.table.size + 6 * len(FOUR)
    got = linked.loglike(params, integration)
    # the same numbers but for the rounding of a sum of seven basis functions
    assert_allclose(got, plain.model.loglike(plain.params, integration), rtol=1e-11)
    assert_allclose(linked.table.structure(linked.table.read(params)).link, 0.0)


@pytest.mark.slow
def test_simulated_scores_have_normal_residuals():
    options = {"link": "monotone", "outliers": 0.15}
    model = _model(_world(80, 5), **options)
    params = _truth(model, BENT)
    drawn = _model(model.simulate(params, seed=1), **options)
    rule = Rule.build("quadrature", 1)

    def moments(model):
        structure = model.table.structure(model.table.read(params))
        found = residuals(structure, model.user_cells, rule, model.llms, ITEMS).to_numpy().ravel()
        z = (found - found.mean()) / found.std()
        return len(found), found.mean(), found.var(), np.mean(z**3), np.mean(z**4) - 3.0

    n, mean, variance, skewness, kurtosis = moments(drawn)
    # four standard errors of the moments of n normal values
    assert abs(mean) < 4.0 * np.sqrt(1.0 / n)
    assert abs(variance - 1.0) < 4.0 * np.sqrt(2.0 / n)
    assert abs(skewness) < 4.0 * np.sqrt(6.0 / n)
    assert abs(kurtosis) < 4.0 * np.sqrt(24.0 / n)
    # and the test would notice, if outliers were left out
    without = _model(model.simulate(params, seed=1), link="monotone")
    assert moments(without)[-1] > 10.0 * np.sqrt(24.0 / n)


# --- recovery ----------------------------------------------------------------------------------------------------


def _curve_errors(fit, params, truth):
    """Root mean square error of each benchmark's expected score over the LLMs' true skills, (J,)."""
    structure = truth.table.structure(truth.table.read(params))
    # over the range of the skills, whose unit is one s.d. of families in truth and fit alike
    theta = np.linspace(*np.quantile(fit.skills().to_numpy(), [0.02, 0.98]), 100)
    own = theta[:, None] * fit.loadings.to_numpy().T + fit.structure.intercepts
    own = mean_score(own, 0.0, 1.0, fit.structure.link)
    eta = theta[:, None] * structure.loadings.T + structure.intercepts
    return np.sqrt(np.mean((own - mean_score(eta, 0.0, 1.0, structure.link)) ** 2, axis=0))


@pytest.mark.slow
def test_a_bent_link_is_recovered():
    truth = _model(_world(300, 4), link="monotone")
    params = _truth(truth, BENT)
    table = truth.simulate(params, seed=2)
    errors = {}
    for link in ("monotone", "logistic"):
        fit = _model(table, link=link, **({"link_sd": 2.0} if link == "monotone" else {})).fit(**PREDICTING)
        assert fit.converged
        errors[link] = _curve_errors(fit, params, truth)
    # eight parameters a curve from 1200 scores of s.d. at most .05 make .05 sqrt(8 / 1200) = .004; the unit of the
    # skill, its s.d. over 300 families, is off by 4%, which moves a score by up to .01
    assert errors["monotone"].max() < 0.02
    assert np.all(errors["monotone"] < errors["logistic"])
    assert errors["logistic"].mean() > 2.0 * errors["monotone"].mean()


def test_outliers_protect_from_wild_scores():
    model = _model(_world(60, 4))
    params = _truth(model)
    table = model.simulate(params, seed=3)
    rng = np.random.default_rng(4)
    wild = rng.random((len(table), 4)) < 0.03
    table[ITEMS] = np.where(wild, rng.uniform(0.02, 0.98, wild.shape), table[ITEMS])
    wanted = np.array([params[f"loading[{item},skill]"] for item in ITEMS])
    fits = {share: _model(table, outliers=share).fit(**PREDICTING) for share in (0.0, 0.1)}
    ratios = {share: fit.loadings.to_numpy()[:, 0] / wanted for share, fit in fits.items()}
    # apart from the unit of the skill, which 60 families leave uncertain by 9% for both alike
    errors = {share: np.sqrt(np.mean((ratio / ratio.mean() - 1.0) ** 2)) for share, ratio in ratios.items()}
    assert errors[0.1] < errors[0.0]
    true_precision = 100.0
    assert np.all(np.abs(np.log(fits[0.1].precision / true_precision)) < np.abs(np.log(fits[0.0].precision / 100.0)))


@pytest.mark.slow
def test_stronger_shrinkage_leaves_smaller_effects_and_slopes(four):
    traces, explained = [], []
    for strength in (None, 1.0, 0.3, 0.1):
        model = ls.LatentSkillModel(four, skills=2, shrink_effects=strength)
        fit = model.fit(**PREDICTING)
        loadings = fit.loadings.to_numpy()
        traces.append(np.trace(loadings @ fit.skill_cov.to_numpy() @ loadings.T))
        model = ls.LatentSkillModel(four, skills=1, shrink_slopes=strength)
        explained.append(np.sum((model.design.x - model.design.x.mean(axis=0)) @ model.fit(**PREDICTING).slopes**2))
    assert np.all(np.diff(traces) < 0.0)
    assert traces[-1] < 0.5 * traces[0]


def test_shrinkage_does_not_depend_on_the_form_of_identification(four):
    forms = (ls.Anchored({"one": "gsm8k", "two": "bbh"}), ls.Echelon(["hellaswag", "mmlu"]))
    fits = [
        ls.LatentSkillModel(four, skills=form, shrink_effects=0.5, shrink_slopes=1.0).fit(**QUICK | {"starts": 2})
        for form in forms
    ]
    assert all(fit.converged for fit in fits)
    # a distance of 1e-3 standard errors to the maximum is 5e-7 in the log-likelihood
    assert_allclose(fits[0].llf_penalised, fits[1].llf_penalised, rtol=0, atol=1e-5)
    assert_allclose(fits[0].predict(), fits[1].predict(), atol=1e-4)


# --- fits without information ------------------------------------------------------------------------------------


def test_a_fit_without_information_is_the_same_fit(four):
    # with outliers both take the determinant of the expected curvature, so that they maximise one function
    model = ls.LatentSkillModel(four, skills=1, shrink_effects=0.5, shrink_slopes=1.0, outliers=0.1)
    full, bare = model.fit(**QUICK), model.fit(**PREDICTING)
    assert bare.converged
    assert bare.problems == ()
    # it stops within 1e-3 standard errors by its own account, which is worth far less than this
    assert_allclose(bare.llf, full.llf, rtol=0, atol=1e-2)
    assert_allclose(bare.predict(), full.predict(), rtol=0, atol=1e-3)
    assert bare.bse.isna().all()
    assert bare.cov_type == "none"
    assert bare.conf_int().isna().all(axis=None)
    assert bare.df_model == full.df_model


def test_a_fit_without_information_says_so(bare):
    text = bare.summary().as_text()
    assert "no covariance, as the fit was made with information=False" in text
    assert "yes" in text.split("Converged:")[1].split("\n")[0]
    diagnosis = bare.diagnose(goodness_of_fit=False)
    assert diagnosis.problems == ()
    assert "nan" not in str(diagnosis)
    assert "information=True" in str(diagnosis)
    with pytest.raises(ls.DataError, match="information=True"):
        bare.wald_test("slope[log(params_b),skill1] = 0")
    with pytest.raises(ls.DataError, match="information=True"):
        bare.lr_test("slope[log(params_b),skill1] = 0")
    with pytest.raises(ls.DataError, match="information=True"):
        bare.profile("slope[log(params_b),skill1]")
    with pytest.raises(ls.DataError, match="information=True"):
        bare.bootstrap(replications=2)
    with pytest.raises(ls.DataError, match="information=True"):
        bare.test_shared_slopes()
    for kind in ("observed", "cluster", "opg"):
        with pytest.raises(ls.DataError, match="information=True"):
            bare.get_robust(kind)
    assert bare.get_robust("none").bse.isna().all()


@pytest.mark.slow
def test_a_fit_that_stops_early_warns_without_information(four):
    model = ls.LatentSkillModel(four, skills=1, **ALL)
    fit = model.fit(**PREDICTING)
    from dataclasses import replace

    from latentscale.results.latent_skill import LatentSkillResults

    short = LatentSkillResults(model, replace(fit.estimate, converged=False, distance=0.3))
    (problem,) = short.problems
    assert "0.3 standard errors" in problem.message
    assert "nan" not in problem.message
    assert not short.converged
    assert [finding.check for finding in short.diagnose(goodness_of_fit=False).problems] == ["convergence"]


def test_flat_directions_do_not_matter_without_information(four):
    loadings = pd.DataFrame(np.nan, index=FOUR, columns=["one", "two"])
    options = {"shrink_effects": 0.5, "shrink_slopes": 1.0}
    free = ls.LatentSkillModel(four, skills=ls.Confirmatory(loadings), **options)
    form = ls.LatentSkillModel(four, skills=2, **options)
    with pytest.raises(ls.IdentificationError):
        free.fit(**PREDICTING)
    fit = free.fit(allow_unidentified=True, **PREDICTING)
    other = form.fit(**PREDICTING)
    # each within 1e-3 standard errors of the maximum by its own account
    assert_allclose(fit.llf_penalised, other.llf_penalised, rtol=0, atol=1e-2)
    assert_allclose(fit.predict(), other.predict(), rtol=0, atol=1e-3)


def test_as_many_skills_as_benchmarks():
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), OPEN_LLM_V1)
    model = ls.LatentSkillModel(panel, skills=6, shrink_effects=0.5, shrink_slopes=1.0)
    fit = model.fit(**PREDICTING)
    assert fit.converged
    assert fit.problems == ()
    assert fit.predict().notna().all(axis=None)
    few = ls.LatentSkillModel(panel, skills=2, shrink_effects=0.5, shrink_slopes=1.0).fit(**PREDICTING)
    assert fit.llf_penalised > few.llf_penalised


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"link": "cubic"}, "link is one of"),
        ({"link_sd": 0}, "link_sd must be positive"),
        ({"link_sd": None}, "link_sd must be positive"),
        ({"shrink_effects": -1}, "shrink_effects must be positive"),
        ({"shrink_slopes": 0.0}, "shrink_slopes must be positive"),
        ({"shrink_slopes": float("nan")}, "shrink_slopes must be positive"),
        ({"outliers": 0.5}, "outliers is a share"),
        ({"outliers": -0.1}, "outliers is a share"),
        ({"outliers": None}, "outliers is a share"),
        ({"shrink_effects": "much"}, "shrink_effects must be positive"),
    ],
)
def test_bad_options_of_a_model(four, options, message):
    with pytest.raises(ls.DataError, match=message):
        ls.LatentSkillModel(four, skills=1, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"cov_type": "observed"}, {"cov_type": "cluster"}, {"integration": "quadrature"},
        {"constraints": "slope[log(params_b),skill1] = 0"},
    ],
)  # fmt: skip
def test_information_is_needed_for_more_than_predictions(four, options):
    with pytest.raises(ls.DataError, match="information=False is for fits"):
        ls.LatentSkillModel(four, skills=1).fit(**PREDICTING | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"link": "monotone"}, "differ in link"),
        ({"shrink_effects": 1.0}, "differ in shrink_effects"),
        ({"shrink_slopes": 1.0}, "differ in shrink_slopes"),
        ({"outliers": 0.1}, "differ in outliers"),
    ],
)
def test_fits_with_different_options_are_not_tested(four, plain, options, message):
    other = ls.LatentSkillModel(four, "log(tokens_t)", skills=1, **options).fit(**PREDICTING)
    larger = ls.LatentSkillModel(four, skills=1).fit(**PREDICTING)
    with pytest.raises(ls.DataError, match=message):
        larger.lr_test(other)
    with pytest.raises(ls.DataError, match="expected curvature"):
        plain.lr_test(other)


@pytest.mark.slow
def test_nested_fits_with_links_are_tested(four):
    options = {"link": "monotone", "shrink_slopes": 2.0, "outliers": 0.1}
    larger = ls.LatentSkillModel(four, "log(params_b) + log(tokens_t)", 1, **options).fit(**PREDICTING)
    smaller = ls.LatentSkillModel(four, "log(tokens_t)", 1, **options).fit(**PREDICTING)
    test = larger.lr_test(smaller)
    assert_allclose(test.table["statistic"], 2.0 * (larger.llf_penalised - smaller.llf_penalised), rtol=1e-12)
    assert test.table["df"].tolist() == [1]
    wider = ls.LatentSkillModel(four, "log(tokens_t)", 1, **options | {"link_sd": 1.0}).fit(**PREDICTING)
    with pytest.raises(ls.DataError, match="differ in link_sd"):
        larger.lr_test(wider)


# --- results -----------------------------------------------------------------------------------------------------


def test_links_as_a_table(full, plain):
    links = full.links
    assert list(links.index) == FOUR
    assert_array_equal(links.columns, monotone.CENTRES)
    assert_allclose(links.mean(axis=1), 1.0, rtol=1e-12)
    coordinates = full.params[[f"link[mmlu,{number}]" for number in range(1, 7)]]
    assert_allclose(links.loc["mmlu"], monotone.slopes(coordinates.to_numpy()), rtol=1e-14)
    assert np.abs(links.to_numpy() - 1.0).max() > 0.1
    assert_array_equal(plain.links, np.ones((4, 7)))


def test_summary_names_the_options_in_force(full, plain):
    text = full.summary().as_text()
    for words in (
        "Link:", "monotone, s.d. 0.7", "Shrinkage:", "effects 0.5, slopes 1", "Outliers:", "0.1 of the scores",
        "Links: slope of logit F", "penalised fit", f"{full.links.loc['bbh', 0.0]:.3f}",
    ):  # fmt: skip
        assert words in text, words
    for form in (full.summary().as_html(), full.summary().as_latex(), full.summary().as_csv()):
        assert "monotone" in form
    for words in ("Link", "Shrinkage", "Outliers", "penalised fit", "monotone"):
        assert words not in plain.summary().as_text(), words


def test_comparison_names_what_is_penalised(full, plain, four):
    table = ls.compare([plain, full])
    assert "monotone link" in table.index[1]
    assert "shrunken effects (0.5) slopes (1)" in table.index[1]
    assert "outliers 0.1" in table.index[1]
    notes = table.attrs["notes"]
    assert any(note.startswith("Links, shrunken loadings and slopes are penalised") for note in notes)
    assert any("the criteria, which count them whole" in note for note in notes)
    shrunk = ls.LatentSkillModel(four, skills=1, shrink_effects=0.5).fit(**PREDICTING)
    notes = ls.compare([plain, shrunk], ["plain", "shrunk"]).attrs["notes"]
    assert any(note == "The integration error of llf is unknown: shrunk." for note in notes)
    assert any("expected curvature" in note for note in notes)
    assert any(note.startswith("Shrunken loadings and slopes are penalised") for note in notes)


@pytest.fixture(scope="module")
def linked(four):
    """Two skills with learned links, with its information."""
    form = ls.Anchored({"one": "gsm8k", "two": "bbh"})
    return ls.LatentSkillModel(four, skills=form, link="monotone", shrink_effects=0.5).fit(**QUICK)


@pytest.mark.slow
def test_everything_else_works_with_a_link(linked):
    assert linked.converged
    assert linked.bse.notna().all()
    findings = {finding.check: finding for finding in linked.diagnose().checks}
    assert 0.0 < findings["links"].numbers["largest share"] <= 1.0
    assert findings["shrinkage"].numbers["penalty"] > 0.0
    assert findings["local rank"].outcome == "ok"
    with pytest.warns(UserWarning, match="sandwich rests on"):
        robust = linked.get_robust("cluster")
    assert robust.bse.gt(0).all()
    rotated = linked.rotate("varimax")
    assert_allclose(rotated.links, linked.links, rtol=1e-12)
    common = [name for name in linked.model.param_names if name.startswith("link[")]
    # a rotation of the skills leaves links and their standard errors as they were
    assert_allclose(rotated.bse[common], linked.bse[common], rtol=1e-8)
    assert "Links: slope" in rotated.summary().as_text()


def test_saved_fits_come_back_with_their_options(full, bare, tmp_path):
    for number, fit in enumerate((full, bare)):
        fit.save(tmp_path / f"{number}.lscale")
        back = ls.load(tmp_path / f"{number}.lscale")
        assert {name: getattr(back.model, name) for name in ALL} == ALL
        assert_array_equal(back.params, fit.params)
        assert_array_equal(back.bse, fit.bse)
        assert_array_equal(back.predict(), fit.predict())
        assert_array_equal(back.links, fit.links)
        assert back.summary().as_text() == fit.summary().as_text()
        assert back.model.loglike(back.params, "laplace") == fit.model.loglike(fit.params, "laplace")


def test_files_of_format_2_are_read(plain, tmp_path):
    plain.save(tmp_path / "new.lscale")
    with zipfile.ZipFile(tmp_path / "new.lscale") as new, zipfile.ZipFile(tmp_path / "old.lscale", "w") as old:
        content = json.loads(new.read("fit.json"))
        content["format_version"] = 2
        for name in ALL:
            del content["model"][name]
        del content["estimate"]["options"]["information"]
        old.writestr("fit.json", json.dumps(content))
        old.writestr("arrays.npz", new.read("arrays.npz"))
    back = ls.load(tmp_path / "old.lscale")
    assert (back.model.link, back.model.outliers, back.model.shrink_effects) == ("logistic", 0.0, None)
    assert_array_equal(back.params, plain.params)
    assert back.summary().as_text() == plain.summary().as_text()
    assert back.problems == ()
