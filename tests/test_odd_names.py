"""Names are labels: commas, brackets, quotes, operators and markup in them change no number and break no output."""

import csv
import io
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

import latentscale as ls
from latentscale.cli import app, options
from latentscale.results.latex import escape

FAMILY = """he said "x" & 'y' <b>"""
SIZE = {False: "log(params_b)", True: "log(`Model Size (B)`)"}
SKILLS = {False: ("s", "u"), True: ("s,t", "u] = v")}
BENCHMARKS = {
    False: ("a", "b", "c", "d", "e"),
    True: ("a]b,c", 'd "e" = 0', "<i>&c</i>", r"100%_\x{y}$z$", "[e] - 2 * f"),
}
BOTH = (False, True)
TABLE_TAGS = {"table", "caption", "thead", "tbody", "tr", "td", "th", "br"}


def scores(odd, odd_rows=True):
    """Twelve families of four LLMs with two skills; the names of columns, families and LLMs are plain or odd."""
    rng = np.random.default_rng(5)
    families = ["apple", "he", "kiwi", "lime", "mango", "nut", "oat", "pea", "quince", "rye", "soy", "tea"]
    size, tokens = np.exp(rng.normal(size=48)), np.exp(rng.normal(size=48))
    alpha = np.repeat(rng.normal(size=(12, 2)), 4, axis=0)
    theta = alpha + np.log(size)[:, None] * [0.5, 0.3] + np.log(tokens)[:, None] * [0.2, 0.4]
    loadings = np.array([[0.8, 0.0], [0.0, 0.7], [0.5, 0.4], [0.6, 0.3], [0.2, 0.6]])
    mean = 0.2 + 0.8 / (1.0 + np.exp(-theta @ loadings.T))
    table = pd.DataFrame({"model": [f"llm {row:02d}" for row in range(48)], "family": np.repeat(families, 4)})
    table["Model Size (B)" if odd else "params_b"], table["tokens_t"] = size, tokens
    table[list(BENCHMARKS[odd])] = rng.beta(40.0 * mean, 40.0 * (1.0 - mean))
    if odd and odd_rows:  # the order of families and LLMs stays
        table["family"] = table["family"].replace("he", FAMILY)
        table["model"] = table["model"] + """, ü'"<script>&"""
    return table


def model(odd, skills=None, odd_rows=True, **options):
    benchmarks = list(BENCHMARKS[odd])
    panel = ls.BenchmarkPanel(scores(odd, odd_rows), benchmarks, chance=dict.fromkeys(benchmarks, 0.2))
    skills = dict(zip(SKILLS[odd], benchmarks, strict=False)) if skills is None else skills
    return ls.LatentSkillModel(panel, f"{SIZE[odd]} * log(tokens_t)", skills, **options)


def fitted(odd, **options):
    return model(odd, **options).fit(integration="laplace", starts=1)


@pytest.fixture(scope="module")
def fits():
    return {odd: fitted(odd) for odd in BOTH}


@pytest.fixture(scope="module")
def everything():
    """Every block of parameters that a model may have."""
    options = {"asymptotes": "both", "link": "monotone", "random_slopes": "log(tokens_t)", "llm_effects": True}
    return {odd: model(odd, **options) for odd in BOTH}


@pytest.fixture(scope="module")
def sloths():
    out = {}
    for odd in BOTH:
        sloth = ls.SlothModel(model(odd).panel, f"{SIZE[odd]} + log(tokens_t)", 2, asymptotes="both", link="monotone")
        out[odd] = sloth.fit(starts=1).rotate("geomin", names=SKILLS[odd])
    return out


def same(read, given):
    """``read`` gives the same numbers, to the last bit, of the plain and of the odd one."""
    plain, odd = (np.asarray(read(given[kind], kind), dtype=float) for kind in BOTH)
    assert_array_equal(odd, plain)
    assert np.isfinite(plain).any()


class Page(HTMLParser):
    """Tags of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text.append(data)


def latex_is_escaped(text, names):
    """Whether names stand in LaTeX source with what LaTeX would take for its own escaped, and nowhere as they are."""
    return all(escape(name) in text and (escape(name) == name or name not in text) for name in names)


class TestModel:
    def test_names_are_joined_and_kinds_are_known(self, everything):
        plain, odd = (everything[kind].table.parameters for kind in BOTH)
        assert "loading[a]b,c,s,t]" in odd.names
        assert "slope[log(`Model Size (B)`),u] = v]" in odd.names
        assert [one.kind for one in odd] == [one.kind for one in plain]
        assert odd.of_kind(odd.get("loading[a]b,c,s,t]").kind, benchmark="a]b,c", skill="s,t")

    def test_likelihood_score_and_simulation(self, everything):
        def loglike(one, odd):
            return one.loglike(dict(zip(one.param_names, self.point(one), strict=True)), "laplace")

        same(loglike, everything)
        same(lambda one, odd: one.score(self.point(one), "laplace"), everything)
        same(lambda one, odd: one.simulate(self.point(one), seed=3)[list(BENCHMARKS[odd])], everything)

    @staticmethod
    def point(one):
        """Feasible values of all parameters."""
        values = {"precision": 30.0, "lower": 0.2, "upper": 0.95, "corr": 0.1, "slope_sd": 0.3, "llm_sd": 0.4}
        return np.array([values.get(parameter.kind.name, 0.3) for parameter in one.table.parameters])

    @pytest.mark.slow
    def test_identification(self, everything):
        same(lambda one, odd: [len(found.parameters) for found in one.identification().checks], everything)

    def test_names_that_commas_make_the_same_are_refused(self):
        table = scores(True).rename(columns={"<i>&c</i>": "a]b"})
        panel = ls.BenchmarkPanel(table, ["a]b,c", "a]b", "[e] - 2 * f"])
        with pytest.raises(ls.DataError, match=r"loading\[a\]b,c,s\].*benchmark 'a\]b', skill 'c,s'"):
            ls.LatentSkillModel(panel, SIZE[True], {"s": "[e] - 2 * f", "c,s": "a]b,c"})


class TestInference:
    def test_estimates_and_intervals(self, fits):
        same(lambda fit, odd: fit.parameter_table().to_numpy(), fits)
        same(lambda fit, odd: [fit.llf, fit.bic], fits)
        with pytest.warns(UserWarning, match="rests on 12 families"):
            same(lambda fit, odd: fit.get_robust("cluster", correction="df").bse, fits)

    def test_a_free_variance_keeps_the_scale_of_its_interval(self):
        """The pair of labels of cov[s,t,s,t] cannot be read out of the name."""
        found = {}
        for odd in BOTH:
            pattern = pd.DataFrame(0.0, list(BENCHMARKS[odd]), list(SKILLS[odd]))
            pattern.iloc[0, 0], pattern.iloc[1, 1] = 1.0, np.nan
            pattern.iloc[2:] = np.nan
            found[odd] = fitted(odd, skills=ls.Confirmatory(pattern))
        assert "cov[s,t,s,t]" in found[True].params.index
        same(lambda fit, odd: fit.conf_int(), found)
        low, high = found[True].conf_int().loc["cov[s,t,s,t]"]
        assert low * high == pytest.approx(found[True].params["cov[s,t,s,t]"] ** 2)  # symmetric on the log scale

    @pytest.mark.slow
    def test_profiles(self, fits):
        name = {False: "corr[s,u]", True: "corr[s,t,u] = v]"}
        same(lambda fit, odd: fit.conf_int(method="profile", parameters=[name[odd]]), fits)
        weights = {odd: f"slope[{SIZE[odd]},{SKILLS[odd][0]}] - slope[{SIZE[odd]},{SKILLS[odd][1]}]" for odd in BOTH}
        same(lambda fit, odd: fit.profile(weights[odd], points=0).interval, fits)

    def test_hypotheses_in_words(self, fits):
        same(lambda fit, odd: [fit.t_test(f"3 * {name} / 2 = 1 - 0.5").pvalue for name in fit.params.index], fits)

        def chain(fit, odd):
            first, second, third = fit.params.index[[0, 5, 12]]
            return fit.wald_test(f"{first} - {second} = {third} = 0").statistic

        same(chain, fits)
        same(lambda fit, odd: fit.wald_test([f"{name} = 0" for name in fit.params.index[:3]]).statistic, fits)

    @pytest.mark.slow
    def test_named_tests(self, fits):
        for name in ("test_no_interaction", "test_equal_slopes"):
            same(lambda fit, odd, name=name: getattr(fit, name)().table, fits)
        same(lambda fit, odd: fit.test_flops_sufficiency(("wald", "lr"), size=SIZE[odd]).table, fits)
        same(lambda fit, odd: fit.test_shared_slopes("log(tokens_t)", "lr").table, fits)

    def test_a_colon_in_a_column_makes_no_interaction(self):
        panel = ls.BenchmarkPanel(scores(False).rename(columns={"params_b": "a:b"}), ["a", "b", "c"])
        fit = ls.LatentSkillModel(panel, "log(`a:b`) + log(tokens_t)", 1).fit(integration="laplace", starts=1)
        with pytest.raises(ls.DataError, match="no interaction"):
            fit.test_no_interaction()
        with pytest.raises(ls.DataError, match=r"There are log\(`a:b`\), log\(tokens_t\)"):
            fit.test_shared_slopes("log(a)")
        sloth = ls.SlothModel(panel, "log(`a:b`) * log(tokens_t)", 1, positive_slopes=True)
        assert sloth.positive.tolist() == [True, True, False]

    @pytest.mark.slow
    def test_nested_fits(self, fits):
        equal = {odd: f"slope[{SIZE[odd]},{SKILLS[odd][0]}] = slope[{SIZE[odd]},{SKILLS[odd][1]}]" for odd in BOTH}
        smaller = {odd: fits[odd].model.fit(integration="laplace", starts=1, constraints=equal[odd]) for odd in BOTH}
        same(lambda fit, odd: fit.conf_int(), smaller)
        same(lambda fit, odd: fit.lr_test(smaller[odd]).statistic, fits)
        same(lambda fit, odd: fit.score_test(equal[odd]).statistic, fits)

    def test_delta(self, fits):
        def read(fit, odd):
            first, second = fit.params.index[[0, 12]]
            found = fit.delta(lambda p: {first: p[first] / p[second], "other, one": p[second]})
            assert found.t_test(f"{first} = 2 * other, one = 0").pvalue.shape == (2,)
            return found.summary_frame()

        same(read, fits)

    def test_bootstrap(self, fits):
        replicates = {odd: fits[odd].bootstrap(replications=3) for odd in BOTH}
        same(lambda found, odd: found.bse, replicates)
        with pytest.warns(UserWarning, match="Use more replications"):
            same(lambda found, odd: found.conf_int(method="basic"), replicates)

    def test_diagnosis(self, fits):
        same(lambda fit, odd: [len(found.parameters) for found in fit.diagnose().checks], fits)

    def test_rotation(self, fits):
        rotated = {odd: fits[odd].rotate("geomin", names=SKILLS[odd]) for odd in BOTH}
        same(lambda fit, odd: fit.conf_int(), rotated)
        assert "corr[s,t,u] = v]" in rotated[True].params.index


class TestPredictions:
    def test_expected_scores_families_and_residuals(self, fits):
        same(lambda fit, odd: fit.predict(), fits)
        same(lambda fit, odd: fit.predict(scores(odd).iloc[[40, 3]]), fits)
        same(lambda fit, odd: fit.family_effects(), fits)
        same(lambda fit, odd: fit.skills(), fits)
        same(lambda fit, odd: fit.residuals("pearson"), fits)
        assert FAMILY in fits[True].family_effects().index.get_level_values("family")

    def test_intervals(self):
        """Names of families and LLMs choose their streams of random numbers, so these stay."""
        fits = {odd: fitted(odd, odd_rows=False) for odd in BOTH}
        same(lambda fit, odd: fit.get_prediction(size=200).summary_frame().iloc[:, 2:].dropna(axis=1), fits)
        for odd in BOTH:
            target = 'x, [y] "z"' if odd else "x"
            table = scores(odd, odd_rows=False)
            table[target] = 0.1 + 0.8 * table[list(BENCHMARKS[odd])].mean(axis=1)
            fits[odd] = ls.DownstreamModel(fits[odd], target, table[["model", target]]).fit()
        same(lambda fit, odd: fit.parameter_table(), fits)
        assert 'loading[x, [y] "z",s,t]' in fits[True].params.index
        same(lambda fit, odd: [fit.t_test(f"{name} = 1").pvalue for name in fit.params.index], fits)

    def test_allocation(self, fits):
        def read(fit, odd):
            column = "Model Size (B)" if odd else "params_b"
            return ls.compute_optimal(fit, [1e21], SKILLS[odd][0], size=column).table.select_dtypes("number")

        same(read, fits)


class TestOutput:
    def test_storage(self, fits, tmp_path):
        fits[True].save(tmp_path / "fit.lscale")
        again = ls.load(tmp_path / "fit.lscale")
        pd.testing.assert_frame_equal(again.parameter_table(), fits[True].parameter_table(), check_exact=True)
        assert list(again.model.families) == list(fits[True].model.families)
        assert again.model.llms.equals(fits[True].model.llms)

    def test_tidy_tables(self, fits):
        same(lambda fit, odd: fit.tidy().select_dtypes("number"), fits)
        same(lambda fit, odd: fit.tidy()["p_value"].isna(), fits)
        tidy = fits[True].tidy().set_index("parameter")
        labels = ["benchmark", "skill", "covariate", "other_skill"]
        assert tidy.loc["loading[a]b,c,s,t]", labels[:2]].tolist() == ["a]b,c", "s,t"]
        assert tidy.loc["corr[s,t,u] = v]", labels[1::2]].tolist() == ["s,t", "u] = v"]
        assert tidy.loc["slope[log(tokens_t),s,t]", labels[1:3]].tolist() == ["s,t", "log(tokens_t)"]
        assert "loading of a]b,c on s,t" in fits[True].to_maketables().__maketables_coef_table__.index
        assert ls.compare_coefficients({"x, y": fits[True]}).estimates.loc["corr[s,t,u] = v]"].notna().all()

    def test_summary(self, fits):
        summary = fits[True].summary()
        assert all(name in summary.as_text() for name in (*BENCHMARKS[True], "corr[s,t,u] = v]"))
        page = Page(summary.as_html())
        assert page.tags <= TABLE_TAGS
        assert {*BENCHMARKS[True], "corr[s,t,u] = v]"} <= {text.strip() for text in page.text}
        assert latex_is_escaped(summary.as_latex(), (*BENCHMARKS[True], *SKILLS[True], "corr[s,t,u] = v]"))
        rows = list(csv.reader(io.StringIO(summary.as_csv())))
        row = next(row for row in rows if row[0] == "corr[s,t,u] = v]")
        expected = fits[True].parameter_table().loc[row[0]].iloc[:2]
        assert [float(cell) for cell in row[1:3]] == pytest.approx(expected, abs=1e-4)  # four decimals are shown
        assert ["", *SKILLS[True]] in rows
        assert {row[0] for row in rows} >= set(BENCHMARKS[True])

    def test_latex_tables(self, fits):
        for kind, names in {"loadings": (*BENCHMARKS[True], *SKILLS[True]), "correlations": SKILLS[True]}.items():
            assert latex_is_escaped(fits[True].to_latex(kind, caption=FAMILY), (*names, FAMILY))
        assert latex_is_escaped(fits[True].to_latex("benchmarks"), BENCHMARKS[True])
        assert latex_is_escaped(fits[True].to_latex("slopes"), fits[True].model.terms)
        assert latex_is_escaped(ls.compare_coefficients({FAMILY: fits[True]}).as_latex(), (FAMILY, "corr[s,t,u] = v]"))

    @pytest.mark.slow
    def test_report(self, fits, tmp_path):
        pages = {}
        for odd in BOTH:
            fits[odd].report(tmp_path / f"{odd}.html", size=100)
            pages[odd] = Page((tmp_path / f"{odd}.html").read_text(encoding="utf-8"))
        assert pages[True].tags == pages[False].tags
        text = "".join(pages[True].text)
        assert all(name in text for name in (FAMILY, *BENCHMARKS[True], *SKILLS[True], """llm 07, ü'"<script>&"""))

    def test_sloth(self, sloths, tmp_path):
        same(lambda fit, odd: fit.parameter_table(), sloths)
        same(lambda fit, odd: fit.tidy().select_dtypes("number"), sloths)
        same(lambda fit, odd: fit.predict(), sloths)
        same(lambda fit, odd: fit.get_prediction(size=100).summary_frame().iloc[:, 2:], sloths)
        known = sloths[True].bse.dropna()
        assert f"family[{FAMILY},s,t]" in sloths[True].params.index
        assert len(sloths[True].t_test([f"{name} = 0" for name in known.index[:12]]).pvalue) == 12
        assert latex_is_escaped(sloths[True].summary().as_latex(), (*BENCHMARKS[True], "corr[s,t,u] = v]"))
        assert Page(sloths[True].summary().as_html()).tags <= TABLE_TAGS


@pytest.mark.slow
def test_command_line(fits, tmp_path):
    """Names with commas and equals signs stand between double quotes, their own quotes doubled."""
    scores(True).to_csv(tmp_path / "scores.csv", index=False)
    quoted = ['"' + name.replace('"', '""') + '"' for name in BENCHMARKS[True]]
    run(
        "fit", tmp_path / "scores.csv", "--benchmarks", ", ".join(quoted), "--skills",
        f'"s,t"={quoted[0]},"u] = v" = {quoted[1]}', "--chance", ",".join(f"{name}=0.2" for name in quoted),
        "--scaling", f"{SIZE[True]} * log(tokens_t)", "--out", tmp_path / "run", "--integration", "laplace",
        "--starts", 1, "--no-progress",
    )  # fmt: skip
    run("predict", tmp_path / "run", tmp_path / "scores.csv", "--out", tmp_path / "predicted.csv")
    run("report", tmp_path / "run")
    found = pd.read_csv(tmp_path / "run" / "parameters.csv", index_col=0)
    pd.testing.assert_frame_equal(found, fits[True].parameter_table(), check_exact=True)
    predicted = pd.read_csv(tmp_path / "predicted.csv", index_col=0)
    expected = fits[True].predict(scores(True))
    assert_array_equal(predicted, expected)
    assert list(predicted.index) == list(expected.index)
    assert list(predicted.columns) == list(BENCHMARKS[True])


def run(*arguments):
    result = CliRunner(env={"NO_COLOR": "1"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", {"a": None, "b": None}),
        (' "s,t" , u ,', {"s,t": None, "u": None}),
        ('"s,t"="a]b,c",u=d', {"s,t": "a]b,c", "u": "d"}),
        ('"say ""x"" = 1" = y=z', {'say "x" = 1': "y=z"}),
        ('5" gun=a "b" c', {'5" gun': 'a "b" c'}),
    ],
)
def test_quoted_names(text, expected):
    if None in expected.values():
        assert options.names(text) == list(expected)
        with pytest.raises(ls.DataError, match=r"name=value pairs"):
            options.pairs(text, "--skills")
    else:
        assert options.pairs(text, "--skills") == expected
