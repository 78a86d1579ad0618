"""Comparison of fits."""

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.results.comparison import compare

ITEMS = list("abcd")


class Altered:
    """A fit with some of its attributes replaced, or missing where the new value is ``...``."""

    def __init__(self, fit, **changed):
        self.__dict__.update(fit=fit, changed=changed)

    def __getattr__(self, name):
        value = self.changed.get(name, None) if name in self.changed else getattr(self.fit, name)
        if value is ...:
            raise AttributeError(name)
        return value


@pytest.fixture(scope="module")
def scores():
    table = worlds.simulated(
        30, 2, [[0.8, 0.0], [0.0, 0.7], [0.5, 0.3], [0.3, 0.5]], 0.4 * np.eye(2),
        {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 3.0)}, intercepts=-0.5, precision=40.0, family="f{}", seed=8,
    )  # fmt: skip
    table.loc[3, "b"] = np.nan
    return table


@pytest.fixture(scope="module")
def fit_to():
    """Table -> fit."""

    def fit_model(table, skills=1, scaling="log(params_b)", integration="laplace", **options):
        panel = ls.BenchmarkPanel(table, benchmarks=options.pop("benchmarks", ITEMS), chance={}, **options)
        return ls.LatentSkillModel(panel, scaling, skills).fit(integration=integration, starts=1)

    return fit_model


@pytest.fixture(scope="module")
def fits(scores, fit_to):
    both = "log(params_b) + log(tokens_t)"
    return [fit_to(scores), fit_to(scores, scaling=both), fit_to(scores, 2, both)]


def test_criteria_and_their_differences(fits):
    table = compare(fits, ["size", "both", "two"])
    assert list(table.index) == ["size", "both", "two"]
    p = np.array([fit.df_model for fit in fits])
    llf = np.array([fit.llf for fit in fits])
    assert_allclose(table["llf"], llf)
    assert_allclose(table["parameters"], p)
    assert_allclose(table["aic"], -2 * llf + 2 * p)
    assert_allclose(table["aicc"], table["aic"] + 2 * p * (p + 1) / (30 - p - 1))
    assert_allclose(table["bic"], -2 * llf + p * np.log(30))
    assert_allclose(table["delta_aic"], table["aic"] - table["aic"].min())
    assert_allclose(table["delta_bic"], table["bic"] - table["bic"].min())
    assert_allclose(table["aic_weight"].sum(), 1.0)
    ratio = np.log(table["aic_weight"] / table["aic_weight"]["two"])
    assert_allclose(ratio, 0.5 * (table["aic"]["two"] - table["aic"]))
    assert_allclose(table["llf_error"], [fit.llf_error for fit in fits])
    assert list(table["skills"]) == [1, 1, 2]
    assert list(table["scaling"])[:2] == ["log(params_b)", "log(params_b) + log(tokens_t)"]
    assert set(table["identification"]) == {"echelon"}
    assert set(table["asymptotes"]) == {"chance"}
    assert set(table["integration"]) == {"laplace"}
    assert table["converged"].all()
    assert set(table["starts_at_best"]) == {"1 of 1"}


def test_default_names_say_what_differs_and_are_unique(fits, scores, fit_to):
    assert list(compare(fits[1:]).index) == ["1 skill, echelon", "2 skills, echelon"]
    assert list(compare(fits[:2]).index) == [
        "1 skill, echelon, log(params_b)",
        f"1 skill, echelon, {fits[1].model.scaling}",
    ]
    assert list(compare([fits[0]] * 3).index) == ["1 skill, echelon", "1 skill, echelon (2)", "1 skill, echelon (3)"]
    other_rule = fit_to(scores, integration="quadrature")
    assert list(compare([fits[0], other_rule]).index) == ["1 skill, echelon, laplace", "1 skill, echelon, quadrature"]
    assert list(compare({"a": fits[0], "b": fits[1]}).index) == ["a", "b"]


def test_default_names_tell_random_slopes_and_restrictions(scores, fits):
    panel = ls.BenchmarkPanel(scores, benchmarks=ITEMS, chance={})
    model = ls.LatentSkillModel(panel, "log(params_b)", 1, random_slopes="log(params_b)")
    options = {"integration": "laplace", "starts": 1, "cov_type": "none"}
    restricted = fits[0].model.fit(constraints="slope[log(params_b),skill1] = 0.4", **options)
    table = compare([fits[0], restricted, Altered(fits[0], model=model)])
    assert list(table.index) == [
        "1 skill, echelon",
        "1 skill, echelon, slope[log(params_b),skill1] = 0.4",
        "1 skill, echelon, random slopes of log(params_b)",
    ]
    assert table["parameters"].iloc[1] == table["parameters"].iloc[0] - 1


def test_small_samples_leave_aicc_undefined(fits):
    table = compare([Altered(fits[0], n_families=fits[0].df_model + 1), fits[0]])
    assert np.isnan(table["aicc"].iloc[0])
    assert np.isfinite(table["aicc"].iloc[1])


def test_order_of_rows_and_columns_does_not_matter(fits, scores, fit_to):
    shuffled = fit_to(scores.sample(frac=1.0, random_state=1), benchmarks=ITEMS[::-1])
    table = compare([fits[0], shuffled])
    assert_allclose(table["llf"].iloc[0], table["llf"].iloc[1], atol=1e-3)


def _missing(scores):
    changed = scores.copy()
    changed.loc[7, "params_b"] = np.nan
    return changed


def _moved(scores):
    changed = scores.copy()
    changed.loc[5, "family"] = "f9"
    return changed


def _rescored(scores):
    changed = scores.copy()
    changed.loc[9, "c"] += 1e-6
    return changed


def _unscored(scores):
    changed = scores.copy()
    changed.loc[9, "c"] = np.nan
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_missing, r"LLMs .*covariate.* differ: 1 only in the first \(m7\)"),
        (_moved, r"1 LLMs are in other families: m5"),
        (_rescored, r"1 scores differ, such as those of m9 on c"),
        (_unscored, r"1 scores differ, such as those of m9 on c"),
    ],
)
def test_fits_to_different_data_are_refused(fits, scores, fit_to, change, message):
    with pytest.raises(ls.DataError, match=f"'1 skill.*different data.*{message}"):
        compare([fits[0], fit_to(change(scores))])


def test_fits_to_different_benchmarks_and_boundaries_are_refused(fits, scores, fit_to):
    with pytest.raises(ls.DataError, match=r"benchmarks differ: 1 only in the first \(a\)"):
        compare([fits[0], fit_to(scores, benchmarks=["b", "c", "d"])])
    # without a score of 0 or 1 the policy changes nothing
    assert len(compare([fits[0], fit_to(scores, boundary="censor")])) == 2
    at_edge = scores.copy()
    at_edge.loc[2, "a"] = 0.0
    with pytest.raises(ls.DataError, match="'squeeze' in one, 'censor' in the other"):
        compare([fit_to(at_edge), fit_to(at_edge, boundary="censor")])
    with pytest.raises(ls.DataError, match="1 scores differ"):
        compare([fit_to(at_edge, boundary="censor", rounding=unit) for unit in (0.01, 0.02)])


def test_fits_that_lack_a_likelihood_have_nan(fits, scores, fit_to):
    class Bare:
        """What another estimator may offer."""

        model = type("Model", (), {"n_skills": 3, "scaling": "log(params_b)"})()
        converged = True

    table = compare([fits[0], Bare()])
    assert list(table.index) == ["1 skill, echelon, chance, laplace", "3 skills"]
    bare = table.iloc[1]
    assert bare["skills"] == 3
    assert bare["converged"]
    assert bare.drop(["skills", "scaling", "converged"]).isna().all()
    assert_allclose(table["aic_weight"].iloc[0], 1.0)
    assert any("No log-likelihood" in note and "3 skills" in note for note in table.attrs["notes"])
    # data are only compared where likelihoods are
    elsewhere = Altered(fit_to(_rescored(scores)), llf=..., aic=..., bic=...)
    assert compare([fits[0], elsewhere])["llf"].isna().tolist() == [False, True]
    nothing = compare([Bare()])
    assert nothing["aic_weight"].isna().all()


def test_notes_on_what_speaks_against_the_criteria(fits):
    clean = compare([Altered(fit, llf_error=1e-5) for fit in fits])
    assert clean.attrs["notes"] == []
    failed = compare([Altered(fits[0], converged=False), fits[2]], ["bad", "good"])
    assert any("Not converged" in note and "bad" in note and "good" not in note for note in failed.attrs["notes"])
    unknown = compare([Altered(fits[0], llf_error=np.nan), Altered(fits[2], llf_error=0.0)], ["x", "y"])
    assert any("unknown: x" in note for note in unknown.attrs["notes"])
    penalised = compare([Altered(fits[0], llf_penalised=fits[0].llf - 1.0), fits[1]], ["x", "y"])
    assert any("penalised" in note and note.endswith(": x.") for note in penalised.attrs["notes"])


@pytest.mark.parametrize(("error", "settled"), [(0.1, False), (0.001, True)])
def test_integration_errors_of_the_order_of_the_differences_are_noted(fits, error, settled):
    llf = fits[0].llf
    close = [Altered(fits[0], llf=llf + shift, aic=fits[0].aic - 2.0 * shift, llf_error=error) for shift in (0.0, 0.2)]
    notes = compare(close, ["lower", "higher"]).attrs["notes"]
    assert any("ranking against higher is not settled: lower" in note for note in notes) != settled


def test_different_rules_are_noted(fits, scores, fit_to):
    table = compare([fits[0], fit_to(scores, integration="quadrature")])
    assert list(table["integration"]) == ["laplace", "quadrature (21)"]
    assert "Different integration rules: laplace, quadrature." in table.attrs["notes"]


def test_arguments_are_checked(fits):
    with pytest.raises(ls.DataError, match="takes a list"):
        compare(fits[0])
    with pytest.raises(ls.DataError, match="no fits"):
        compare([])
    with pytest.raises(ls.DataError, match="not int, LatentSkillModel"):
        compare([3, fits[0].model, fits[0]])
    with pytest.raises(ls.DataError, match="2 fits need as many names; got 1"):
        compare(fits[:2], "ab")
    with pytest.raises(ls.DataError, match=r"\['x'\] are used more than once"):
        compare(fits[:2], ["x", "x"])
    with pytest.raises(ls.DataError, match="not both"):
        compare({"a": fits[0]}, ["a"])
