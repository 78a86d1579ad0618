"""Every number of the page is one of the results' tables; what a fit lacks is said."""

import hashlib
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import latentscale as ls
from latentscale.report import content, pictures, recipe, words

from . import pages


@pytest.fixture(scope="module")
def page(plain_page):
    return pages.Page(plain_page.read_text(encoding="utf-8"))


def cells(page, table):
    """Values of a table's cells, NaN where missing, without the names of rows."""
    return np.array([[float(cell["value"] or "nan") for cell in row[1:]] for row in page.tables[table][1:]])


def names(page, table):
    return [row[0]["text"] for row in page.tables[table][1:]]


def test_parameters(page, plain_fit):
    frame = plain_fit.parameter_table()
    assert names(page, "table-parameters") == list(frame.index)
    assert_array_equal(cells(page, "table-parameters"), frame.to_numpy())
    slopes = frame[frame.index.str.startswith("slope[")]
    assert_array_equal(cells(page, "table-slopes"), slopes.drop(columns="mc_se").to_numpy())
    corr = frame[frame.index.str.startswith("corr[")]
    assert_array_equal(cells(page, "table-wald-corr"), corr.drop(columns="mc_se").to_numpy())
    assert_array_equal(cells(page, "table-skill-corr"), plain_fit.skill_corr.to_numpy())


def test_loadings_with_their_errors(page, plain_fit):
    assert_array_equal(cells(page, "table-loadings"), plain_fit.loadings.to_numpy())
    error = plain_fit.bse
    for row, benchmark in zip(page.tables["table-loadings"][1:], plain_fit.loadings.index, strict=True):
        for cell, skill in zip(row[1:], plain_fit.loadings.columns, strict=True):
            name = f"loading[{benchmark},{skill}]"
            ((value, text),) = cell["below"]
            assert (float(value) == error[name]) if name in error.index else (text == "(fixed)")


def test_benchmarks(page, plain_fit):
    frame = plain_fit.asymptotes
    expected = np.column_stack([plain_fit.intercepts, plain_fit.precision, frame["lower"], frame["upper"]])
    assert_array_equal(cells(page, "table-benchmarks"), expected)
    described = plain_fit.model.panel.describe().to_numpy()
    assert_array_equal(cells(page, "table-benchmarks-data")[:, 2:], described)
    assert_array_equal(cells(page, "table-benchmarks-data")[:, 0], plain_fit.model.prepared.n_observed)


def test_families(page, plain_fit):
    frame = plain_fit.family_effects()
    means = frame["mean"].unstack("skill").loc[names(page, "table-families"), list(plain_fit.model.skills)]
    assert_array_equal(cells(page, "table-families")[:, 1:], means.to_numpy())
    spread = frame["sd"].unstack("skill").loc[means.index, means.columns].to_numpy()
    shown = [[float(cell["below"][0][0]) for cell in row[2:]] for row in page.tables["table-families"][1:]]
    assert_array_equal(shown, spread)


def test_predictions(page, plain_fit):
    frame = plain_fit.get_prediction(size=200, seed=0).summary_frame()
    assert names(page, "table-predictions") == list(plain_fit.model.llms)
    assert_array_equal(cells(page, "table-predictions").ravel(), frame["mean"])
    assert_array_equal(frame["mean"], plain_fit.predict().to_numpy().ravel())
    small = [cell["below"] for row in page.tables["table-predictions"][1:] for cell in row[1:]]
    ends = [[float(part[0]) for part in below[:2]] for below in small]
    assert_array_equal(ends, frame[["obs_ci_lower", "obs_ci_upper"]])
    seen = [float(below[2][0] or "nan") for below in small]
    assert_array_equal(seen, plain_fit.model.panel.scores.loc[plain_fit.model.llms].to_numpy().ravel())


def test_tests_and_starts(page, plain_fit):
    for name in ("test_equal_slopes",):
        frame = getattr(plain_fit, name)().table.reset_index()
        assert_array_equal(cells(page, f"table-{name.replace('_', '-')}")[:, 1:], frame[["statistic", "df", "p_value"]])
    assert page.column("table-starts", 2) == list(plain_fit.starts["loglike"])


def test_tests_that_a_model_has_no_terms_for_are_explained(page):
    shown = " ".join(page.texts["p"])
    assert shown.count("Not tested.") == 2
    assert "interaction" in shown


def test_dropped_llms_with_reasons(page, plain_fit):
    (row,) = page.tables["table-dropped"][1:]
    assert [cell["text"] for cell in row] == ["llm 7", "no value in a column of the scaling formula"]
    assert plain_fit.n_llms == 47


def test_the_first_screen(page, plain_fit):
    figures = dict(content.key_figures(plain_fit))
    assert figures["log-likelihood"].value == plain_fit.llf
    assert figures["scores"].value == plain_fit.nobs
    shown = [attributes["data-v"] for attributes in page.of("dd") if "data-v" in attributes]
    assert shown == [cell.number for cell in figures.values() if cell.value is not None]


@pytest.mark.parametrize("form", [None, ls.Echelon(["arc", "bbh"]), ls.Anchored({"a": "arc", "b": "bbh"}, False)])
def test_the_call_fits_again(plain_fit, form):
    fit = plain_fit
    if form is not None:
        model = ls.LatentSkillModel(fit.model.panel, fit.model.scaling, form)
        fit = model.fit(integration="laplace", starts=1)
        assert words.default_question(model).startswith("What do")
    place = {}
    code = recipe.call(fit).replace("table = ...", "pass")
    exec(code, {"table": fit.model.panel.to_frame()}, place)
    assert repr(place["fit"].model.form) == repr(fit.model.form)
    assert_array_equal(place["fit"].params, fit.params)


def test_fingerprints(page, plain_fit):
    text = plain_fit.model.panel.scores.to_csv(lineterminator="\n")
    assert hashlib.sha256(text.encode()).hexdigest() in page.texts["code"]


def test_penalised_and_without_errors(plain_fit):
    model = ls.LatentSkillModel(
        plain_fit.model.panel, "log(params_b)", plain_fit.model.form, "both", shrink_slopes=1.0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(integration="laplace", starts=1, cov_type="none")
    found = words.warnings_of(fit, fit.diagnose())
    text = " ".join(part for _, part in found)
    assert "slopes (s.d. 1) are shrunk" in text
    assert "Lower and upper asymptotes" in text
    assert "There are no standard errors" in text
    tested = content.slope_test(fit, "test_equal_slopes")
    assert tested.table is None
    assert "no standard errors" in tested.sentence
    frame, how = content.predicted_scores(fit, 0.05, 200, 0)
    assert "too narrow" in how
    assert np.isfinite(frame["obs_ci_lower"]).all()


def test_a_picture_that_cannot_be_drawn_is_a_sentence(plain_fit):
    def refuse(fit):
        raise ls.DataError("no such <thing>")

    entry = pictures.Picture("none", "checks", "None", "Nothing.", "summary", refuse)
    drawn = pictures.draw_all(plain_fit, [entry])["checks"][0]
    assert (drawn.uri, drawn.reason) == ("", "no such <thing>")


def test_every_picture_has_its_method(plain_fit):
    missing = [entry.method for entry in pictures.pictures(plain_fit) if not hasattr(plain_fit, entry.method)]
    assert missing == []


def test_no_figure_stays_open(plain_fit):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    entry = next(entry for entry in pictures.pictures(plain_fit) if entry.key == "slopes-forest")
    assert pictures.draw(plain_fit, entry).uri
    assert pyplot.get_fignums() == before


def test_rotated_fits(plain_fit):
    rotated = plain_fit.rotate("geomin", starts=3)
    shown = content.content(rotated, size=200)
    assert "rotation" in shown["sentences"][-1]
    assert "fit.rotate(" in shown["call"]
    assert shown["loadings"].rows[0][1].value == rotated.loadings.iloc[0, 0]
