"""Saved Huber-loss fits, and files of older formats."""

import io
import json
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import latentscale as ls

MAIN = "log(params_b) + log(tokens_t)"
MODELS = {
    "sloth": (ls.SlothModel, {"n_skills": 2}),
    "learned": (ls.SlothModel, {"n_skills": 2, "link": "monotone", "asymptotes": "both", "family_intercepts": False}),
    "positive": (ls.SlothModel, {"n_skills": 2, "positive_slopes": True, "scaling": MAIN}),
    "laws": (ls.BenchmarkLaws, {"asymptotes": "lower"}),
}


@pytest.fixture(scope="module")
def fits():
    panel = ls.BenchmarkPanel(ls.load_leaderboard())
    out = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.ConvergenceWarning)  # losses without a minimum, which must be saved too
        for name, (cls, options) in MODELS.items():
            out[name] = cls(panel, **options).fit(starts=2, cov_type="llm")
    return out


def edited(path, change=lambda content: None, arrays=None):
    """Change the JSON of a file, or some of its arrays."""
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("fit.json"))
        with np.load(io.BytesIO(archive.read("arrays.npz"))) as stored:
            values = dict(stored)
    change(content)
    values.update({name: make(values[name]) for name, make in (arrays or {}).items()})
    buffer = io.BytesIO()
    np.savez(buffer, **values)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fit.json", json.dumps(content))
        archive.writestr("arrays.npz", buffer.getvalue())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_saved_fits_come_back_the_same(fits, name, tmp_path):
    fit, path = fits[name], tmp_path / "fit.lscale"
    fit.save(path)
    assert list(tmp_path.iterdir()) == [path]
    again = ls.load(path)
    assert repr(again) == repr(fit)
    assert type(again.model) is type(fit.model)
    assert str(again.summary()) == str(fit.summary())
    pd.testing.assert_series_equal(again.params, fit.params, check_exact=True)
    pd.testing.assert_series_equal(again.bse, fit.bse, check_exact=True)
    pd.testing.assert_frame_equal(again.starts, fit.starts)
    assert_array_equal(again.predict(), fit.predict())
    new = ls.load_leaderboard().query("params_b > 0 and tokens_t > 0 and family == 'opt'")
    assert_array_equal(again.predict(new), fit.predict(new))
    assert_array_equal(again.get_prediction(new, size=50).draws.scores, fit.get_prediction(new, size=50).draws.scores)
    assert [problem.message for problem in again.problems] == [problem.message for problem in fit.problems]
    assert again.cov_type == "llm"
    assert again.estimate.options == fit.estimate.options


def test_what_comes_back_goes_on(fits, tmp_path):
    fit, path = fits["sloth"], tmp_path / "fit.lscale"
    fit.get_robust("cluster").save(path)
    again = ls.load(path)
    assert again.cov_type == "cluster"
    assert_array_equal(again.bse, fit.get_robust("cluster").bse)
    turned = again.rotate("oblimin", starts=5)
    assert_array_equal(turned.params, fit.rotate("oblimin", starts=5).params)
    with pytest.raises(ls.DataError, match="save the fit before rotation"):
        turned.save(path)
    with pytest.raises(ls.DataError, match="save the fit before rotation"):
        turned.get_robust("none").save(path)
    assert_array_equal(ls.load(path).params, fit.params)  # the file is still the one before


def test_covariates_whitened_elsewhere(fits, tmp_path):
    """The estimate belongs to the transform that was stored, whatever whitening this machine would choose."""
    fit, path = fits["sloth"], tmp_path / "fit.lscale"
    fit.save(path)
    piece = fit.estimate.pieces[0]
    a, _ = piece.objective.sizes
    flipped = piece.vector.copy()
    flipped[a : a + piece.objective.n_skills] *= -1.0  # the first covariate with its sign changed
    edited(path, arrays={"transform_0": lambda t: t * [-1.0, 1.0, 1.0], "vector_0": lambda _: flipped})
    again = ls.load(path)
    np.testing.assert_allclose(again.predict(), fit.predict(), rtol=1e-12)
    np.testing.assert_allclose(again.bse, fit.bse, rtol=1e-6)


def reverse_mmlu(content):
    next(column for column in content["panel"]["columns"] if column["name"] == "mmlu")["values"].reverse()


def test_edited_files_are_refused(fits, tmp_path):
    path = tmp_path / "fit.lscale"
    for change, arrays, words in [
        (lambda c: c.update(format_version=99), {}, "format 99"),
        (lambda c: c["model"].update({"class": "Anything"}), {}, "Anything, which is no model"),
        (lambda c: c["model"].update({"class": "BenchmarkLaws"}), {}, "damaged"),
        (lambda c: c["model"].update(n_skills=3), {}, "wrong shape"),
        (lambda c: c["model"].update(evil=1), {}, "damaged"),
        (lambda c: c["estimate"].update(loss=0.01), {}, "mean Huber loss at its estimate"),
        (lambda c: c["estimate"].pop("ridge"), {}, "damaged"),
        (lambda c: c["estimate"]["options"].update(delta=-1.0), {}, "delta is a number between"),
        (lambda c: c["covariance"].update(kind="bootstrap"), {}, "cov_type is one of"),
        (reverse_mmlu, {}, "mean Huber loss at its estimate"),
        (lambda c: None, {"vector_0": lambda v: v + 0.01}, "mean Huber loss at its estimate"),
        (lambda c: None, {"vector_0": lambda v: v * np.nan}, "not finite"),
        (lambda c: None, {"penalty_0": lambda v: v - 1.0}, "negative weights"),
        (lambda c: None, {"transform_0": lambda v: v[:2]}, "wrong shape"),
    ]:
        fits["sloth"].save(path)
        edited(path, change, arrays)
        with pytest.raises(ls.DataError, match=words):
            ls.load(path)


def test_loading_executes_no_code(fits, tmp_path):
    path, trace = tmp_path / "fit.lscale", tmp_path / "trace"
    fits["laws"].save(path)
    formula = f"log(params_b) + log(__import__('pathlib').Path({str(trace)!r}).write_text('x'))"
    edited(path, lambda content: content["model"].update(scaling=formula))
    with pytest.raises(ls.DataError, match="damaged or was edited"):
        ls.load(path)
    assert not trace.exists()


def test_older_formats_are_read(fit, tmp_path):
    """Formats 2 and 3 name no class of model and lack options that came later, which take their defaults."""
    path = tmp_path / "fit.lscale"
    later = {2: ("link", "link_sd", "shrink_effects", "shrink_slopes", "outliers"), 3: ()}
    for version, names in later.items():

        def older(content, version=version, names=names):
            content["format_version"] = version
            for name in ("class", *names, "llm_effects", "family_covariates"):
                content["model"].pop(name, None)

        fit.save(path)
        edited(path, older)
        again = ls.load(path)
        assert_array_equal(again.params, fit.params)
        assert_array_equal(again.bse, fit.bse)
