"""Tables for papers: frames, LaTeX, coefficients side by side, and the view for maketables."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.results.latent_skill import LatentSkillResults
from latentscale.results.latex import LatexTable, escape, number, read_stars, stars

BENCHMARKS = ["mmlu", "arc", "bbh", "math_lvl_5"]
CONFIRMED = pd.DataFrame({"k": [1.0, np.nan, np.nan, 0.0], "m": [0.0, np.nan, 1.0, np.nan]}, index=BENCHMARKS)
HOSTILE = r"50%_of $x$ & \input{a} #1 ~^ [b]"


@pytest.fixture(scope="module")
def panel():
    return ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=BENCHMARKS)


@pytest.fixture(scope="module")
def fit(panel):
    model = ls.LatentSkillModel(panel, skills={"knowledge": "mmlu", "math": "math_lvl_5"})
    return model.fit(integration="laplace", starts=1)


@pytest.fixture(scope="module")
def small(panel):
    model = ls.LatentSkillModel(panel, "log(params_b)", {"knowledge": "mmlu"}, asymptotes="lower")
    return model.fit(integration="laplace", starts=1)


@pytest.fixture(scope="module")
def sloth(panel):
    return ls.SlothModel(panel, n_skills=1).fit(starts=1)


def rows_of(latex):
    """Cells of the tabular's rows, after checks that LaTeX would make of its structure."""
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", latex)
    stack = []
    for what, name in opened:
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    bare = re.sub(r"\\[{}&%$#_]", "", latex)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert "%" not in bare
    assert "#" not in bare
    head, body = re.search(r"\\begin\{tabular\}\{(\w+)\}(.*)\\end\{tabular\}", latex, flags=re.DOTALL).groups()
    lines = [line for line in body.strip().splitlines() if not line.endswith("rule")]
    assert all(line.endswith(r" \\") for line in lines)
    cells = [re.split(r"(?<!\\)&", line[:-3]) for line in lines]
    assert {len(row) for row in cells} == {len(head)}
    return [[cell.strip() for cell in row] for row in cells]


class TestFrames:
    def test_tidy_is_the_parameter_table_with_its_places(self, fit):
        tidy, table = fit.tidy(0.1), fit.parameter_table(0.1)
        assert list(tidy["parameter"]) == fit.model.param_names
        assert_allclose(tidy["estimate"], table["estimate"])
        assert_allclose(tidy[["conf_low", "conf_high"]], table[["ci_lower", "ci_upper"]])
        slopes = tidy[tidy["kind"] == "slope"].pivot(index="covariate", columns="skill", values="estimate")
        assert_allclose(slopes.loc[fit.slopes.index, fit.slopes.columns], fit.slopes)
        loadings = tidy[tidy["kind"] == "loading"].pivot(index="benchmark", columns="skill", values="estimate")
        assert_allclose(loadings.fillna(0.0).loc[fit.loadings.index, fit.loadings.columns], fit.loadings)
        assert tidy.set_index("parameter").loc["corr[knowledge,math]", ["skill", "other_skill"]].tolist() == [
            "knowledge", "math"
        ]  # fmt: skip
        assert_allclose(tidy["p_value"].dropna(), table["p_value"][tidy["p_value"].notna().to_numpy()])

    def test_what_cannot_be_zero_is_not_tested_against_it(self, small):
        tidy = small.tidy()
        tested = tidy["p_value"].notna()
        assert set(tidy["kind"][tested]) == {"loading", "intercept", "slope"}
        assert set(tidy["kind"][~tested]) == {"precision", "lower"}
        assert tidy["std_error"].notna().all()

    @pytest.mark.parametrize("skills", [2, {"k": "mmlu", "m": "bbh"}, ls.Confirmatory(CONFIRMED)])
    def test_every_parameter_of_larger_models_has_a_place(self, panel, skills):
        model = ls.LatentSkillModel(
            panel, "log(params_b)", skills, asymptotes="both", link="monotone", random_slopes=True, llm_effects=True
        )
        assert [parameter.name for parameter in model.table.parameters] == model.param_names
        for parameter in model.table.parameters:
            word, _, labels = parameter.name.rstrip("]").partition("[")  # plain names here
            assert word == parameter.kind.word
            assert list(map(str, parameter.labels)) == (labels.split(",") if labels else [])
        words = {parameter.kind.word for parameter in model.table.parameters}
        assert words >= {"link", "slope_sd", "llm_sd", "upper"}

    def test_a_fit_that_did_not_converge_says_so(self, fit):
        other = LatentSkillResults(fit.model, replace(fit.estimate, converged=False))
        assert r"\textbf{The fit did not converge.}" in other.to_latex("fit")
        assert not other.glance()["converged"].iloc[0]
        assert r"\textbf" not in fit.to_latex("fit")
        assert "Not converged: b." in ls.compare_coefficients({"a": fit, "b": other}).notes

    def test_glance(self, fit):
        row = fit.glance().iloc[0]
        assert len(fit.glance()) == 1
        assert (row["llf"], row["aic"], row["bic"]) == (fit.llf, fit.aic, fit.bic)
        assert (row["nobs"], row["n_llms"], row["n_families"], row["df_model"]) == (
            fit.nobs, fit.n_llms, fit.n_families, fit.df_model,
        )  # fmt: skip
        assert row["skills"] == "knowledge, math"
        assert row["rule"] == str(fit.estimate.rule)
        assert row["converged"]

    def test_augment(self, fit, panel):
        table = fit.augment("params_b", seed=3)
        assert len(table) == fit.nobs
        wide = table.pivot(index="llm", columns="benchmark", values="fitted")
        means = fit.predict()
        assert_allclose(wide, means.where(panel.scores.notna()).loc[wide.index, wide.columns])
        # residuals are those of the fit, score by score
        for kind in ("response", "pearson", "quantile"):
            column = {"response": "residual"}.get(kind, f"{kind}_residual")
            wide = table.pivot(index="llm", columns="benchmark", values=column)
            assert_allclose(wide, fit.residuals(kind, seed=3).loc[wide.index, wide.columns], atol=1e-12)
        scores = panel.scores.stack().reindex(pd.MultiIndex.from_frame(table[["llm", "benchmark"]]))
        assert_allclose(table["score"], scores)
        moved = table["score"] != table["observed"]
        assert set(table["benchmark"][moved]) == {"math_lvl_5"}  # the only one with zeros, so the only one squeezed
        assert_allclose(table["params_b"], panel.table["params_b"].reindex(table["llm"]))
        assert list(table["family"]) == list(panel.families.reindex(table["llm"]))
        with pytest.raises(ls.DataError, match=r"no columns \['size'\]"):
            fit.augment("size")

    def test_augment_refuses_names_of_its_own(self):
        table = ls.load_leaderboard().assign(score=1.0)
        model = ls.LatentSkillModel(ls.BenchmarkPanel(table, ["mmlu", "arc"]), "log(params_b)", 1)
        fit = model.fit(integration="laplace", starts=1)
        with pytest.raises(ls.DataError, match=r"columns \['score'\], whose names"):
            fit.augment(["score"])


class TestLatex:
    @pytest.mark.parametrize("kind", ["loadings", "slopes", "correlations", "benchmarks", "tests", "fit"])
    def test_every_kind_is_well_formed(self, fit, kind):
        latex = fit.to_latex(kind, stars=True, caption="50% & more", label="tab:a_b")
        assert len(rows_of(latex)) > 3
        assert r"\caption{50\% \& more}" in latex
        assert r"\label{tab:a_b}" in latex
        assert "nan" not in latex
        assert fit.to_latex(kind, environment=False).startswith(r"\begin{tabular}")

    def test_loadings(self, fit):
        rows = rows_of(fit.to_latex("loadings", digits=3))
        assert rows[0] == ["", "knowledge", "math"]
        at = [row[0] for row in rows].index("bbh")
        for column, skill in enumerate(["knowledge", "math"], 1):
            assert rows[at][column] == number(fit.loadings.loc["bbh", skill], 3)
            assert rows[at + 1][column] == f"({number(fit.bse[f'loading[bbh,{skill}]'], 3)})"
        anchor = [row[0] for row in rows].index("mmlu")
        assert rows[anchor][2] == "0"
        assert rows[anchor + 1][2] == ""
        assert "Entries without a standard error are fixed." in fit.to_latex("loadings")

    def test_stars_follow_the_p_values(self, fit):
        rows = rows_of(fit.to_latex("slopes", stars=[0.2, 0.001]))[1::2]
        for term, row in zip(fit.slopes.index, rows, strict=True):
            for column, skill in enumerate(fit.slopes.columns, 1):
                p_value = fit.pvalues[f"slope[{term},{skill}]"]
                assert row[column].count("*") == int(p_value < 0.2) + int(p_value < 0.001)
        assert "* $p < 0.2$, ** $p < 0.001$." in fit.to_latex("slopes", stars=[0.001, 0.2])
        assert "*" not in fit.to_latex("slopes")

    def test_tests(self, fit):
        test = fit.test_no_interaction()
        rows = rows_of(fit.to_latex("tests", tests=test))
        assert rows[1][:3] == ["No interaction", "jointly", "Wald"]
        assert rows[1][3:5] == [f"{test.statistic:.2f}", f"{test.df}"]
        assert [row[1] for row in rows[2:]] == ["knowledge", "math"]
        assert len(rows_of(fit.to_latex("tests", tests=[test, test]))) == 2 * len(rows) - 1

    def test_tests_that_do_not_apply_are_left_out(self, small):
        with pytest.raises(ls.DataError, match="No named test applies"):
            small.to_latex("tests")

    def test_robust_errors_are_told(self, fit):
        robust = fit.get_robust("cluster")
        latex = robust.to_latex("slopes")
        assert escape(robust.covariance.description) in latex
        assert rows_of(latex)[2][1] == f"({number(robust.bse.filter(like='slope').iloc[0])})"

    def test_covariances_where_variances_are_free(self, panel):
        pattern = pd.DataFrame({"g": [1.0, np.nan, np.nan, np.nan]}, index=BENCHMARKS)
        model = ls.LatentSkillModel(panel, "log(params_b)", ls.Confirmatory(pattern))
        fit = model.fit(integration="laplace", starts=1)
        assert fit.params["cov[g,g]"] != 1.0
        rows = rows_of(fit.to_latex("correlations"))
        assert rows[1:] == [["g", number(fit.params["cov[g,g]"])], ["", f"({number(fit.bse['cov[g,g]'])})"]]
        assert np.isnan(fit.tidy().set_index("parameter").loc["cov[g,g]", "p_value"])

    def test_rotated_loadings(self, fit):
        rotated = fit.rotate("geomin")
        rows = rows_of(rotated.to_latex("loadings"))
        assert rows[1][1] == number(rotated.loadings.iloc[0, 0])
        assert rows[2][2] == f"({number(rotated.bse['loading[mmlu,skill2]'])})"

    def test_hostile_names(self):
        rng = np.random.default_rng(0)
        table = pd.DataFrame({"model": range(24), "family": np.repeat(range(8), 3)})
        table["size"] = np.exp(rng.uniform(0, 3, 24))
        table[HOSTILE], table["b"] = rng.uniform(0.3, 0.6, (2, 24))
        panel = ls.BenchmarkPanel(table, benchmarks=[HOSTILE, "b"])
        model = ls.LatentSkillModel(panel, "log(size)", skills={r"\skill_{1}": HOSTILE})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # noise has no skill in it: its fit may well warn
            fit = model.fit(integration="laplace", starts=1)
        assert set(fit.tidy()["benchmark"].dropna()) == {HOSTILE, "b"}
        assert not any(command in fit.summary().as_latex() for command in (r"\input", r"\skill"))
        for latex in (fit.to_latex("loadings"), fit.to_latex("benchmarks"), ls.compare_coefficients([fit]).as_latex()):
            rows_of(latex)
            assert r"\input" not in latex
            assert r"\skill" not in latex

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"kind": "loading"}, "kind is one of"),
            ({"digits": -1}, "digits is a whole number"),
            ({"digits": True}, "digits is a whole number"),
            ({"stars": [5]}, "stars is False, True or levels"),
            ({"label": "a}b"}, "label"),
            ({"tests": []}, "tests belong to kind='tests'"),
            ({"kind": "tests", "tests": ["x"]}, "tests are what"),
        ],
    )
    def test_options(self, fit, options, words):
        with pytest.raises(ls.DataError, match=words):
            fit.to_latex(**options)

    def test_numbers(self):
        assert [number(value) for value in (0.0, 1e7, -1e-9, np.inf, None)] == [
            "0.00", r"$1.0 \times 10^{7}$", r"$-1.0 \times 10^{-9}$", "--", "--"
        ]  # fmt: skip
        assert number(0.0049) == "0.005"
        assert stars(np.nan) == ""
        assert read_stars(False) == ()

    def test_rows_do_not_swallow_a_bracket(self):
        latex = LatexTable(["a", "b"], [[[escape("[x]"), "1"]]]).render(environment=False)
        assert "{[}x{]} & 1" in latex


class TestSideBySide:
    @pytest.fixture
    def table(self, fit, small):
        return ls.compare_coefficients({"two": fit, "one": small}, kinds=["slope", "lower"])

    def test_estimates_and_errors_are_the_fits(self, table, fit, small):
        for name, result in (("two", fit), ("one", small)):
            present = table.estimates[name].dropna().index
            assert_allclose(table.estimates[name].dropna(), result.params[present])
            assert_allclose(table.std_errors.loc[present, name], result.bse[present])
        assert table.estimates["one"].dropna().index.tolist() == ["slope[log(params_b),knowledge]"] + [
            f"lower[{benchmark}]" for benchmark in BENCHMARKS
        ]
        assert np.isnan(table.p_values.loc["lower[mmlu]", "one"])
        assert table.statistics.loc["aic"].tolist() == [fit.aic, small.aic]

    def test_text_and_latex(self, table, fit):
        name = "slope[log(tokens_t),math]"
        frame = table.as_frame(3)
        assert frame.loc[name, "two"] == f"{fit.params[name]:.3f} ({fit.bse[name]:.3f})"
        assert frame.loc[name, "one"] == ""
        assert frame.loc["Families", "two"] == str(fit.n_families)
        rows = rows_of(table.as_latex(stars=True, caption="Slopes"))
        at = [row[0] for row in rows].index(escape(name))
        assert rows[at][1].startswith(number(fit.params[name]))
        assert rows[at + 1] == ["", f"({number(fit.bse[name])})", ""]
        assert str(table).endswith(f"note: {table.notes[-1]}")

    def test_notes(self, table, fit, small, sloth):
        counts = [f"{result.nobs} scores of {result.n_llms} LLMs" for result in (fit, small)]
        assert table.notes[0] == f"LLMs and scores are not the same: {counts[0]} (two); {counts[1]} (one)."
        assert "knowledge by mmlu; math by math_lvl_5 (two); anchored: knowledge by mmlu (one)" in table.notes[1]
        assert len(table.notes) == 2
        assert ls.compare_coefficients([fit, fit]).notes == ()
        robust = ls.compare_coefficients({"a": fit, "b": fit.get_robust("cluster")})
        assert robust.notes == ("Standard errors are not the same: observed (a); cluster (b).",)
        both = ls.compare_coefficients({"lvm": fit, "sloth": sloth}, kinds=None)
        assert any("SlothModel (sloth)" in note for note in both.notes)
        assert np.isnan(both.statistics.loc["llf", "sloth"])
        assert set(both.long.loc[both.long["fit"] == "sloth", "kind"]) == {"loading", "slope", "intercept", "family"}

    def test_mistakes(self, fit):
        with pytest.raises(ls.DataError, match="No fit has parameters of the kinds"):
            ls.compare_coefficients([fit], kinds="slopes")
        with pytest.raises(ls.DataError, match="no fits"):
            ls.compare_coefficients([])
        with pytest.raises(ls.DataError, match="must differ"):
            ls.compare_coefficients([fit, fit], names=["a", "a"])


class TestMaketables:
    def test_view(self, fit):
        view = fit.get_robust("cluster").to_maketables(["slope", "corr"])
        table = view.__maketables_coef_table__
        assert list(table.columns) == ["b", "se", "t", "p", "ci95l", "ci95u"]
        assert table.loc["slope of math on log(tokens_t)", "b"] == fit.params["slope[log(tokens_t),math]"]
        assert table.loc["corr of knowledge and math", "b"] == fit.params["corr[knowledge,math]"]
        assert view.__maketables_stat__("N") == fit.nobs
        assert view.__maketables_stat__("converged") == "yes"
        assert view.__maketables_stat__("r2") is None
        assert view.__maketables_vcov_info__ == {"vcov_type": "cluster", "clustervar": "family"}
        every = fit.to_maketables().__maketables_coef_table__
        assert every.index.is_unique
        assert len(every) == fit.df_model
        with pytest.raises(ls.DataError, match="No parameter is of the kinds"):
            fit.to_maketables("slopes")

    def test_maketables_reads_it(self, fit):
        maketables = pytest.importorskip("maketables")
        robust = fit.get_robust("cluster")
        table = maketables.ETable([fit.to_maketables("slope"), robust.to_maketables("slope")])
        latex = table.make(type="tex")
        for result in (fit, robust):
            name = "slope[log(tokens_t),math]"
            assert f"{result.params[name]:.3f}" in latex
            assert f"({result.bse[name]:.3f})" in latex
        assert "slope of math on log(tokens_t)" in latex
        assert re.search(rf"Families & {fit.n_families} & {fit.n_families}", latex)
        assert re.search("Standard errors & observed & cluster", latex)
