"""The package gives the numbers of the reference commit: evaluations to rounding, fits as far as optimisers go.

``tests/reference/unchanged.py`` compares far more, on the machine on which the reference was recorded.
"""

import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import latentscale as ls

REFERENCE = Path(__file__).parent / "reference"
ROUNDING = 1e-9  # relative, of evaluations at stated parameters
# An optimiser stops when the Newton step is shorter than a thousandth of a standard error, and where on that stretch
# depends on rounding, hence on the machine. Two ends are then at most twice that apart, and the log-likelihood, which
# is flat there, differs by half the square of it.
STEP = 2e-3  # standard errors
FLAT = 1e-5  # log-likelihood units
QUICK = ("confirmatory", "laplace K=2", "quadrature K=1")  # half a second each
FITS = ("default K=4", "laplace K=2", "quadrature K=1", "random_slopes", "llm_effects", "lower")


def _loaded(name):
    """The comparison, or one of its sections; their folder is no package of the tests'."""
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, REFERENCE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def marked(names):
    """Cases, all but the quick ones marked as slow."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


unchanged = _loaded("unchanged")  # puts its own folder on the path of imports
from quantities import Keeper, difference, quantity  # noqa: E402
from sections import evaluations, fits, sloth  # noqa: E402


@pytest.fixture(scope="module")
def record():
    return unchanged.read(REFERENCE / "unchanged.json.gz")


def recorded(record, section, name):
    """The quantities of one case, without its name."""
    quantities = record["sections"][section]["quantities"]
    return {one.removeprefix(f"{name}/"): value for one, value in quantities.items() if one.startswith(f"{name}/")}


def test_the_reference_says_where_it_comes_from(record):
    assert len(record["about"]["commit"]) >= 7
    assert set(record["sections"]) == set(unchanged.SECTIONS)


@pytest.mark.parametrize("name", marked(evaluations.QUICK))
def test_evaluations(record, name):
    keep = Keeper()
    evaluations.record(keep, (name,), identification=False)
    found = {one.removeprefix(f"{name}/"): value for one, value in keep.quantities.items()}
    expected = {
        one: value for one, value in recorded(record, "evaluations", name).items() if not one.endswith(": text")
    }
    assert list(found) == list(expected)
    same_streams = np.__version__.split(".")[:2] == record["about"]["numpy"].split(".")[:2]
    for one, value in expected.items():
        if one.startswith("simulated") and not same_streams:
            continue  # numpy promises the same draws from a seed within one version only
        text, _ = difference(value, found[one], ROUNDING)
        assert not text, f"{one}: {text}"


@pytest.mark.parametrize("name", marked(FITS))
def test_fits(record, name):
    expected = recorded(record, "fits", name)
    fit = fits.fitted(name)
    params, bse = expected["params"], np.array(expected["bse"]["columns"][""])
    assert list(fit.params.index) == params["labels"]
    moved = np.abs(fit.params.to_numpy() - params["columns"][""])
    assert (moved <= STEP * bse).all(), fit.params.index[moved > STEP * bse].tolist()
    assert abs(fit.llf - expected["llf"]) <= FLAT
    np.testing.assert_allclose(fit.bse, bse, rtol=STEP)
    assert fit.converged == expected["converged"]


@pytest.mark.parametrize("name", ["logistic d=2", "positive"])
def test_sloth(record, name):
    """Newton's method ends where the gradient is rounding, and the loss is flat there."""
    expected = recorded(record, "sloth", name)
    cls, options, fit_options = sloth.CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.ConvergenceWarning)  # the loss on all of the table has no minimum
        fit = cls(sloth.panel(), **options).fit(**fit_options)
    assert fit.loss == pytest.approx(expected["loss"], rel=ROUNDING)
    keep = Keeper()
    keep.long("predicted", fit.predict())
    for one, value in keep.quantities.items():
        text, _ = difference(expected[one], value, 1e-6)
        assert not text, f"{one}: {text}"


# --- the comparison itself -------------------------------------------------------------------------------------------


def _vector(**changes):
    values = {"slope[a,b]": 0.3, "slope[c,b]": 0.01, "precision[x]": 700.0, "precision[y]": float("nan"), **changes}
    return quantity(pd.Series(values))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slope[a,b]": 0.3 + 1e-9}, "slope[a,b]"),
        ({"slope[c,b]": 0.01 + 1e-9}, "slope[c,b]"),
        ({"precision[x]": 700.0 + 1e-6}, "precision[x]"),
        ({"precision[x]": float("nan")}, "precision[x]"),
        ({"precision[y]": 1.0}, "precision[y]"),
        ({"another": 1.0}, "labels"),
    ],
)
def test_differences_are_found(changes, words):
    text, _ = difference(_vector(), _vector(**changes), 1e-9)
    assert words in text


def test_what_is_within_the_scale_is_no_difference():
    assert difference(_vector(), _vector(**{"slope[c,b]": 0.01 + 1e-10, "precision[x]": 700.0 + 1e-7}), 1e-9) == (
        "",
        0.0,
    )


@pytest.mark.parametrize(
    ("old", "new"), [(1, 2), (True, False), ("a\nb", "a\nc"), ("a", "a\nb"), (1.0, 1.0 + 1e-8), ([1.0], [[1.0]])]
)
def test_other_kinds_of_differences_are_found(old, new):
    assert difference(quantity(old), quantity(new), 1e-9)[0]
    assert not difference(quantity(old), quantity(old), 1e-9)[0]


def test_sections_that_differ_are_named():
    old = {"fits": {"quantities": {"llf": 1.0, "gone": 1, "summary: text": "a"}}}
    new = {"fits": {"quantities": {"llf": 2.0, "came": 1, "summary: text": "b"}}}
    lines = unchanged.differences(old, new, 1e-9, texts=False)
    assert [line.split(":")[1].strip() for line in lines] == ["gone", "came", "llf"]
    assert len(unchanged.differences(old, new, 1e-9)) == 4
    assert unchanged.largest(old, new) == 0.5
