"""What a fit reports."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose
from scipy import stats

import latentscale as ls
from latentscale.estimation.estimate import FitInterrupted


def test_names_shapes_and_identities(fit):
    model = fit.model
    assert list(fit.params.index) == list(fit.bse.index) == model.param_names
    assert fit.loadings.loc["bbh", "instruction"] == 0.0
    assert fit.params["loading[mmlu,reasoning]"] == fit.loadings.loc["mmlu", "reasoning"]
    assert fit.params["slope[log(tokens_t),instruction]"] == fit.slopes.loc["log(tokens_t)", "instruction"]
    assert fit.params["corr[instruction,reasoning]"] == fit.skill_corr.loc["instruction", "reasoning"]
    assert_allclose(np.diag(fit.skill_cov), 1.0)
    assert (fit.asymptotes["upper"] == 1.0).all()
    assert_allclose(fit.asymptotes["lower"], model.panel.chance)
    assert_allclose(fit.aic, -2 * fit.llf + 2 * fit.df_model)
    assert_allclose(fit.bic, -2 * fit.llf + fit.df_model * np.log(65))
    assert fit.llf == fit.llf_penalised
    assert np.isnan(fit.llf_se)
    assert abs(fit.llf_error) < 0.02
    assert fit.starts["reached_best"].all()
    assert fit.precision.gt(0).all()
    assert len(fit.intercepts) == 12


def test_intervals_stay_inside_and_match_wald_where_no_scale_applies(fit):
    interval = fit.conf_int(alpha=0.1)
    loading = "loading[mmlu,reasoning]"
    half = stats.norm.ppf(0.95) * fit.bse[loading]
    assert_allclose(interval.loc[loading], [fit.params[loading] - half, fit.params[loading] + half])
    corr = "corr[instruction,reasoning]"
    z, width = np.arctanh(fit.params[corr]), stats.norm.ppf(0.95) * fit.bse[corr] / (1 - fit.params[corr] ** 2)
    assert_allclose(interval.loc[corr], np.tanh([z - width, z + width]))
    precision = interval[interval.index.str.startswith("precision")]
    assert (precision["lower"] > 0).all()
    with pytest.raises(ls.DataError, match="alpha"):
        fit.conf_int(alpha=1.0)


def test_t_test_of_the_identity_is_tvalues(fit):
    test = fit.t_test(np.eye(fit.df_model))
    assert_allclose(np.squeeze(test.tvalue), fit.tvalues)
    assert_allclose(np.squeeze(test.pvalue), fit.pvalues)


def test_hypotheses_as_strings(fit):
    a, b = "slope[log(params_b),reasoning]", "slope[log(tokens_t),reasoning]"
    test = fit.t_test(f"{a} = {b}")
    cov = fit.cov_params()
    variance = cov.loc[a, a] + cov.loc[b, b] - 2 * cov.loc[a, b]
    assert_allclose(np.squeeze(test.effect), fit.params[a] - fit.params[b])
    assert_allclose(np.squeeze(test.sd), np.sqrt(variance))
    assert f"{a} - {b} = 0" in str(test)
    joint = fit.wald_test(f"{a} = {b} = 0")
    values, block = fit.params[[a, b]].to_numpy(), cov.loc[[a, b], [a, b]].to_numpy()
    statistic = values @ np.linalg.solve(block, values)
    assert_allclose(joint.statistic, statistic)
    assert_allclose(joint.pvalue, stats.chi2.sf(statistic, 2))
    with pytest.raises(ls.DataError, match="nonsense"):
        fit.t_test("nonsense = 0")
    with pytest.raises(ls.DataError, match="columns"):
        fit.wald_test(np.ones((1, 3)))


def test_results_are_immutable_and_hand_out_copies(fit):
    with pytest.raises(AttributeError, match="immutable"):
        fit.llf = 0.0
    before = fit.params["precision[bbh]"]
    for table in (fit.params, fit.starts["loglike"], fit.cov_params()):
        table.iloc[:] = 0.0
    assert fit.params["precision[bbh]"] == before
    assert fit.starts.loc[0, "loglike"] != 0.0
    assert fit.bse.gt(0).all()


def test_summary_tells_what_a_reader_needs(fit):
    text = fit.summary().as_text()
    for words in (
        "Log-likelihood:", f"{fit.llf:.4f}", "(fixed)", "slope[log(params_b),reasoning]", "corr[instruction,reasoning]",
        "adapted Gauss-Hermite, 5 nodes a dimension (25)", "Dropped 13 of 197 LLMs", "squeeze", "BIC (n = families)",
        "2 of 2", "Converged:", "yes", "inverse observed information",
    ):  # fmt: skip
        assert words in text, words
    for form in (fit.summary().as_html(), fit.summary().as_latex(), fit.summary().as_csv()):
        assert f"{fit.llf:.4f}" in form
    assert re.search(r"finer rule [+-]0\.0", text)


def test_names_of_users_are_escaped_in_html():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"model": range(24), "family": np.repeat(range(8), 3), "size": np.exp(rng.uniform(0, 3, 24))})
    hostile = "<script>alert(1)</script>"
    table[hostile], table["b"] = rng.uniform(0.3, 0.6, (2, 24))
    panel = ls.BenchmarkPanel(table, benchmarks=[hostile, "b"])
    model = ls.LatentSkillModel(panel, scaling="log(size)", skills=ls.Anchored({hostile: hostile}))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")  # noise has no skill in it: its fit may well warn
        text = model.fit(integration="laplace", starts=1).summary().as_html()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_predictions(fit):
    means = fit.predict()
    assert means.shape == (184, 12)
    assert ((means > fit.asymptotes["lower"]) & (means < 1.0)).all(axis=None)
    observed = fit.model.panel.scores[fit.model.rows.keep]
    assert np.nanmean(np.abs(means - observed)) < 0.05
    table = ls.load_leaderboard().set_index("model").loc[means.index].reset_index()
    again = fit.predict(table[["model", "family", "params_b", "tokens_t"]])
    assert_allclose(again, means)
    pd.testing.assert_index_equal(again.index, means.index, check_names=False)


def test_prediction_of_an_unseen_family_is_the_prior_mean(fit):
    new = pd.DataFrame({"family": ["never seen"], "params_b": [8.0], "tokens_t": [15.0]})
    mean = fit.predict(new).loc[0, "bbh"]
    structure, j = fit.structure, fit.model.benchmarks.index("bbh")
    x = np.array([np.log(8.0), np.log(15.0), np.log(8.0) * np.log(15.0)])
    rng = np.random.default_rng(0)
    skill = rng.multivariate_normal(np.zeros(2), structure.skill_cov, size=400_000) + x @ structure.slopes
    eta = skill @ structure.loadings[j] + structure.intercepts[j]
    mu = structure.lower[j] + (1 - structure.lower[j]) / (1 + np.exp(-eta))
    assert_allclose(mean, mu.mean(), atol=5 * mu.std() / np.sqrt(400_000))


def test_prediction_needs_covariates(fit):
    with pytest.raises(ls.DataError, match="tokens_t"):
        fit.predict(pd.DataFrame({"family": ["a"], "params_b": [1.0]}))
    with pytest.raises(ls.DataError, match="LLMs lack a covariate"):
        fit.predict(pd.DataFrame({"family": ["a"], "params_b": [1.0], "tokens_t": [np.nan]}))
    with pytest.raises(ls.DataError, match="family"):
        fit.predict(pd.DataFrame({"params_b": [1.0], "tokens_t": [1.0]}))
    with pytest.raises(ls.DataError, match="empty"):
        fit.predict(pd.DataFrame({"family": [], "params_b": [], "tokens_t": []}))


def test_family_effects_and_skills(fit):
    effects = fit.family_effects()
    assert effects.index.names == ["family", "skill"]
    assert len(effects) == 65 * 2
    assert effects["sd"].between(0.0, 1.0, inclusive="neither").all()  # the data only narrow a unit prior here
    assert effects.loc[("bloom", "reasoning"), "n_llms"] == 5
    skills = fit.skills()
    family = fit.model.panel.families[skills.index[0]]
    x = fit.model.design.x[0]
    expected = effects.loc[family, "mean"].to_numpy() + x @ fit.structure.slopes
    assert_allclose(skills.iloc[0], expected)


def test_no_standard_errors_when_none_are_asked_for(fit):
    bare = fit.model.fit(integration="laplace", starts=1, cov_type="none")
    assert bare.bse.isna().all()
    assert np.isfinite(bare.llf)
    assert "none asked for" in str(bare.summary())
    with pytest.raises(ls.DataError, match="no standard errors"):
        bare.t_test("corr[instruction,reasoning] = 0")


def test_a_fit_that_did_not_converge_says_so(fit):
    with pytest.warns(ls.ConvergenceWarning, match="optimum was not reached") as caught:
        # thirty iterations end near the optimum, where curvature is right and the gradient is not yet zero
        short = fit.model.fit(integration="quadrature", points=5, starts=1, max_iterations=30, max_rounds=1)
    assert not short.converged
    named = re.search(r"most of it in (.*?)\. Allow", str(caught[0].message)).group(1).split(", ")
    assert set(",".join(named).replace("],", "]|").split("|")) <= set(short.model.param_names)
    first_screen = str(short.summary()).splitlines()[:12]
    assert any("Converged:" in line and "NO" in line for line in first_screen)
    assert "WARNING: The optimum was not reached" in str(short.summary())
    assert np.isfinite(short.llf)


def test_information_that_is_not_positive_definite_gives_no_standard_errors(fit):
    """At a saddle standard errors are missing, not invented, and the direction is named."""
    from dataclasses import replace

    from latentscale.results.latent_skill import LatentSkillResults

    information = fit.estimate.information.copy()
    position = fit.model.space.labels.index("precision[musr]")
    information[position, position] = -1.0
    estimate = replace(fit.estimate, information=information, distance=np.nan, converged=False)
    broken = LatentSkillResults(fit.model, estimate)
    assert broken.bse.isna().all()
    assert not broken.converged
    assert broken.problems[0].category is ls.ConvergenceWarning
    assert "precision[musr]" in broken.problems[0].parameters
    assert "standard errors do not exist" in str(broken.summary()).replace("\n    ", " ")
    assert broken.llf == fit.llf


def _two_skills_that_are_one(seed):
    """A fit, and its warnings, of two skills to data with one: their correlation runs to one."""
    table = worlds.simulated(
        30, 3, np.full((4, 1), 0.7), [[0.5]], {"size": (0.0, 3.0)}, intercepts=[-0.5, 0.0, 0.3, 0.1], precision=200.0,
        seed=seed,
    )  # fmt: skip
    pattern = pd.DataFrame({"one": [np.nan, np.nan, 0.0, 0.0], "two": [0.0, 0.0, np.nan, np.nan]}, index=list("abcd"))
    model = ls.LatentSkillModel(
        ls.BenchmarkPanel(table, benchmarks=list("abcd")), scaling="log(size)", skills=ls.Confirmatory(pattern)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return model.fit(integration="laplace", starts=1), caught


def test_estimates_on_the_boundary_are_named():
    fit, caught = _two_skills_that_are_one(1)
    assert fit.params["corr[one,two]"] > 0.999
    boundary = [w for w in caught if issubclass(w.category, ls.BoundaryWarning)]
    assert len(boundary) == 1
    assert "corr[one,two]" in str(boundary[0].message)
    assert "corr[one,two]" in str(fit.summary())


def test_interrupted_fit_leaves_its_best_parameters(fit, monkeypatch):
    from latentscale.estimation import fit as fit_module

    def press(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_module, "polish_nodes", press)
    with pytest.raises(FitInterrupted) as caught:
        fit.model.fit(integration="quadrature", points=5, starts=1)
    stopped = caught.value
    assert isinstance(stopped, KeyboardInterrupt)
    assert "quadrature stage" in stopped.message
    monkeypatch.undo()
    again = fit.model.fit(integration="quadrature", points=5, starts=1, start_params=stopped.params)
    assert_allclose(again.llf, fit.llf, atol=1e-4)
    assert again.starts.loc[0, "kind"] == "given"


def test_progress_is_readable(fit, capsys):
    fit.model.fit(integration="laplace", starts=2, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert re.search(r"start 1/2 \(data\): Laplace log-likelihood 27\d\d\.\d+; best .* reached by 1", lines[0])
    assert any("SE from the optimum" in line for line in lines)


def test_saved_fits_come_back_the_same(fit, tmp_path):
    path = tmp_path / "fit.lscale"
    fit.save(path)
    again = ls.load(path)
    assert str(again.summary()) == str(fit.summary())
    pd.testing.assert_series_equal(again.bse, fit.bse)
    assert_allclose(again.predict(), fit.predict(), rtol=0)
    pd.testing.assert_frame_equal(again.starts, fit.starts)
    pd.testing.assert_frame_equal(again.model.panel.to_frame(), fit.model.panel.to_frame(), check_dtype=False)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize("skills", [3, ls.Confirmatory(pd.DataFrame({"s": [1.0]}, index=["bbh"]))])
def test_other_forms_come_back_too(fit, skills, tmp_path):
    model = ls.LatentSkillModel(fit.model.panel, skills=skills, asymptotes="both")
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")  # a few iterations of a rough fit are enough to save
        rough = model.fit(integration="laplace", starts=1, max_iterations=5, max_rounds=1)
    rough.save(tmp_path / "f")
    assert str(ls.load(tmp_path / "f").summary()) == str(rough.summary())


def test_unreadable_files_are_data_errors(fit, tmp_path):
    path = tmp_path / "fit.lscale"
    with pytest.raises(ls.DataError, match="no saved fit"):
        ls.load(path)
    fit.save(path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:size])
        with pytest.raises(ls.DataError, match="truncated or of another kind"):
            ls.load(path)
    path.write_bytes(whole[:2000] + bytes(200) + whole[2200:])
    with pytest.raises(ls.DataError):
        ls.load(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ls.DataError, match="truncated or of another kind"):
        ls.load(path)


def _edited(path, change):
    import zipfile

    with zipfile.ZipFile(path) as archive:
        content, arrays = json.loads(archive.read("fit.json")), archive.read("arrays.npz")
    change(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fit.json", json.dumps(content))
        archive.writestr("arrays.npz", arrays)


def test_loading_executes_no_code(fit, tmp_path):
    path, trace = tmp_path / "fit.lscale", tmp_path / "trace"
    fit.save(path)
    formula = f"log(params_b) + log(__import__('pathlib').Path({str(trace)!r}).write_text('x'))"
    _edited(path, lambda content: content["model"].update(scaling=formula))
    with pytest.raises(ls.DataError, match="damaged or was edited"):
        ls.load(path)
    assert not trace.exists()


def test_edited_files_are_noticed(fit, tmp_path):
    path = tmp_path / "fit.lscale"
    for change, words in [
        (lambda c: c.update(format_version=99), "format 99"),
        (lambda c: c.update(format="something else"), "not a saved latentscale fit"),
        (lambda c: c["param_names"].pop(), "do not belong"),
        (lambda c: c["model"].pop("scaling"), "damaged"),
        (lambda c: c["estimate"]["rule"].update(evil=1), "damaged"),
    ]:
        fit.save(path)
        _edited(path, change)
        with pytest.raises(ls.DataError, match=words):
            ls.load(path)
