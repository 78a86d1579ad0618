"""The compiled loops against numpy, over all that a likelihood can meet."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special

from latentscale.components.beta_law import Beta
from latentscale.components.cells import Cells
from latentscale.components.curve import Curve, mean_score
from latentscale.components.response import CellParameters, cell_terms
from latentscale.numerics import compiled
from latentscale.numerics.log_gamma import gamma_derivatives
from latentscale.numerics.logistic import LOWEST_ETA

pytestmark = pytest.mark.skipif(compiled._kernels() is None, reason="numba is not installed")

POINT = st.tuples(
    st.one_of(st.floats(-30.0, 30.0), st.floats(-1000.0, -LOWEST_ETA)),  # eta
    st.floats(-7.0, 18.0),  # log phi
    st.floats(1e-9, 1.0 - 1e-9),  # y
    st.one_of(st.just(0.0), st.floats(0.0, 0.4)),  # c
    st.one_of(st.just(1.0), st.floats(0.5, 1.0)),  # d
)


def terms_both_ways(eta, parameters, cells, order, shapes, expected):
    """``cell_terms`` by compiled loops and by numpy."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for plain in "01":
            patch.setenv("LATENTSCALE_PLAIN", plain)
            assert compiled.available() == (plain == "0")
            with np.errstate(all="ignore"):  # third derivatives overflow where a shape of 1e-100 meets a large phi
                found.append(cell_terms(eta, parameters, cells, slice(None), order, shapes, expected))
    return found


RELATIVE = 1e-12  # of the sum of the parts that make a term up: some thousand units of rounding
SMALLEST = 5e-324  # the distance of neighbouring numbers below 2.2e-308, where rounding is no longer relative


@np.errstate(all="ignore")  # what overflows is left out by the caller
def sizes(eta, phi, y, c, d):
    """Of each term, the sum of the absolute values of the parts that make it up.

    A derivative of mu below 1e-154 has a square below 1e-308, which is rounded to a multiple of ``SMALLEST`` however
    small it is; a factor of up to 1e308 then makes a number of that. So a square counts as at least as much as makes
    its rounding ``RELATIVE``.
    """
    eta = np.maximum(eta, LOWEST_ETA)  # below, the curve stays where it is there
    f, g = special.expit(eta), special.expit(-eta)
    mu, nu = c + (d - c) * f, (1.0 - d) + (d - c) * g
    a, b = np.maximum(mu * phi, 1e-100), np.maximum(nu * phi, 1e-100)
    at_a, at_b, at_phi = (tuple(np.abs(v) for v in gamma_derivatives(x, 3)) for x in (a, b, phi))
    log_y, log1m_y = np.abs(np.log(y)), np.abs(np.log1p(-y))
    stirling = (a + 6.0) * np.log(a + 6.0) + (b + 6.0) * np.log(b + 6.0)
    out = {"f": (a + 1.0) * log_y + (b + 1.0) * log1m_y + at_a[0] + at_b[0] + at_phi[0] + stirling}
    w_a, w_b = log_y + at_a[1] + np.log(a + 6.0), log1m_y + at_b[1] + np.log(b + 6.0)
    m, out["p"] = phi * (w_a + w_b), mu * w_a + nu * w_b + at_phi[1]
    mm, mp = phi**2 * (at_a[2] + at_b[2]), w_a + w_b + a * at_a[2] + b * at_b[2]
    out["pp"] = at_phi[2] + mu**2 * at_a[2] + nu**2 * at_b[2]
    mmm = phi**3 * (at_a[3] + at_b[3])
    mmp = 2.0 * phi * (at_a[2] + at_b[2]) + phi**2 * (mu * at_a[3] + nu * at_b[3])
    # derivatives of mu; those beyond the first in eta are at most the first
    e, bend = (d - c) * f * g, f * g
    square = e**2 + SMALLEST / RELATIVE
    first = {"e": e, "c": g, "d": f}
    for one, at_one in first.items():
        out[one], out["p" + one], out[one + "p"] = m * at_one, mp * at_one, mp * at_one
        second = {"e": e, "c": bend, "d": bend}[one]
        out["ee" + one] = mmm * square * at_one + 3.0 * mm * e * (at_one + second) + m * second
        out["fisher " + one] = mmm * square * at_one + 2.0 * mm * e * second
        for two, at_two in first.items():
            out[one + two] = mm * at_one * at_two + m * bend * ("e" in one + two)
    out |= {"eep": mmp * square + mp * e, "fisher": mm * square, "fisher p": mmp * square}
    return out


@settings(max_examples=150)
@given(st.lists(POINT, min_size=1, max_size=70), st.integers(0, 3), st.sampled_from(["", "c", "d", "cd"]))
@example(points=[(0.0, 0.0, 0.5, 0.0, 1.0)] * 3 + [(359.0, 0.0, 0.5, 0.0, 1.0)], order=3, shapes="d")
@example(points=[(-359.0, 0.0, 0.5, 0.0, 1.0)], order=3, shapes="c")
@example(points=[(359.0, 0.0, 0.5, 0.0, 1.0), (-380.0, 17.0, 1e-9, 0.0, 1.0)], order=3, shapes="cd")
def test_both_ways_agree(points, order, shapes):
    """To rounding of the sum of what makes a term up (``sizes``), wherever numpy's own is finite."""
    eta, log_phi, y, c, d = (column[:, None] for column in np.array(points).T)
    phi = np.exp(log_phi)
    parameters = CellParameters(phi, Beta().at_precision(phi), Curve(c, d))
    state = np.zeros(y.shape, dtype=np.int8)
    cells = Cells.from_tables(Beta(), y, state, np.array([1e-9]), np.arange(len(y)), np.zeros((len(y), 1)))
    fast, plain = terms_both_ways(eta, parameters, cells, order, shapes, expected=True)
    assert set(fast) == set(plain)
    size = sizes(eta, phi, y, c, d)
    for name, values in plain.items():
        finite = np.isfinite(values) & np.isfinite(size[name])
        assert np.all(finite | (np.abs(eta) > 200.0))
        error = np.abs(fast[name][finite] - values[finite])
        assert np.all(error <= RELATIVE * size[name][finite] + SMALLEST), name


@pytest.mark.parametrize("phi", [0.01, 1.0, 100.0])
def test_far_above_both_ways_are_flat(phi):
    """Above 700 the compiled curve stays where it is, numpy's goes on to 1: slopes of 1e-304 and less."""
    eta, phi, y, c, d = np.array([[700.5], [800.0], [1000.0]]), np.full((3, 1), phi), 0.3, 0.2, 1.0
    one = np.ones((3, 1))
    cells = Cells.from_tables(Beta(), y * one, np.zeros((3, 1), np.int8), np.array([0.01]), np.arange(3), one)
    parameters = CellParameters(phi, Beta().at_precision(phi), Curve(c * one, d * one))
    fast, plain = terms_both_ways(eta, parameters, cells, 3, "cd", expected=True)
    size = sizes(np.full((3, 1), -LOWEST_ETA), phi, y, c, d)
    for name, values in plain.items():
        if name in ("f", "p", "d", "pp", "pd", "dd"):
            assert np.isfinite(size[name]).all()
            assert np.all(np.abs(fast[name] - values) <= RELATIVE * size[name]), name
        else:
            # the shape of 1 - y is held at 1e-100, where the third derivative of log-gamma is 2e300
            assert max(np.abs(values).max(), np.abs(fast[name]).max()) < 1e-80, name


def test_many_cells_at_many_nodes_and_censored_ones():
    rng = np.random.default_rng(0)
    shape = (401, 7)
    phi, c, d = np.exp(rng.normal(3.0, 1.0, (401, 1))), rng.uniform(0.0, 0.3, (401, 1)), rng.uniform(0.7, 1.0, (401, 1))
    state = rng.choice([0, 0, 0, 1, 2], (401, 1)).astype(np.int8)
    y = np.where(state == 1, 0.01, np.where(state == 2, 0.99, rng.uniform(0.02, 0.98, (401, 1))))
    cells = Cells.from_tables(Beta(), y, state, np.array([0.01]), np.arange(401), np.zeros((401, 1)))
    parameters = CellParameters(phi, Beta().at_precision(phi), Curve(c, d))
    where, eta = slice(100, 380), rng.standard_normal(shape)[100:380]
    with pytest.MonkeyPatch.context() as patch:
        fast = cell_terms(eta, parameters.at(where), cells, where, 3, "cd")
        patch.setenv("LATENTSCALE_PLAIN", "1")
        plain = cell_terms(eta, parameters.at(where), cells, where, 3, "cd")
    for name, values in plain.items():
        assert_allclose(fast[name], values, rtol=1e-11, atol=1e-11 * np.abs(values).max(axis=1).max())


def test_what_is_not_finite_stays_so():
    eta = np.array([[np.nan], [np.inf], [-np.inf], [0.0]])
    phi = np.array([[5.0], [5.0], [5.0], [np.nan]])
    one = np.ones((4, 1))
    cells = Cells.from_tables(Beta(), 0.5 * one, np.zeros((4, 1), np.int8), np.array([0.01]), np.arange(4), one)
    with np.errstate(all="ignore"):
        parameters = CellParameters(phi, Beta().at_precision(phi), Curve(0.0 * one, one))
        fast, plain = terms_both_ways(eta, parameters, cells, 1, "", expected=False)
    for name in plain:
        assert np.array_equal(np.isfinite(fast[name]), np.isfinite(plain[name])), name


def test_scores_lie_where_the_terms_are_computed():
    """The compiled mean is that of ``mean_score``: at y = mu the score in eta vanishes as phi grows."""
    eta, c, d = np.array([[0.7]]), np.array([[0.1]]), np.array([[0.9]])
    mu, phi = mean_score(eta, c, d), np.array([[1e9]])
    cells = Cells.from_tables(Beta(), mu, np.zeros((1, 1), np.int8), np.array([0.01]), np.array([0]), np.zeros((1, 1)))
    terms = cell_terms(eta, CellParameters(phi, Beta().at_precision(phi), Curve(c, d)), cells, slice(None), 2)
    assert np.abs(terms["e"] / terms["ee"]) < 1e-8


SCRIPT = """
import sys
import latentscale
assert "numba" not in sys.modules
import numpy as np
from latentscale.numerics import compiled
assert compiled.available() == {available}
if compiled.available():
    kernel, names = compiled.beta_logistic(0, False)
    half, out = np.full(3, 0.5), np.empty((1, 1, 3))
    kernel(np.zeros((1, 3)), *[half] * 8, out)
    assert np.isfinite(out).all()
"""


@pytest.mark.parametrize(
    ("settings", "available"),
    [
        ({}, True),
        pytest.param({"LATENTSCALE_PLAIN": "0"}, True, marks=pytest.mark.slow),
        pytest.param({"LATENTSCALE_PLAIN": "1"}, False, marks=pytest.mark.slow),
    ],
)
def test_numba_is_imported_late_and_only_where_wanted(settings, available):
    environment = {name: value for name, value in os.environ.items() if name != "LATENTSCALE_PLAIN"} | settings
    subprocess.run([sys.executable, "-c", SCRIPT.format(available=available)], env=environment, check=True)


def test_without_a_folder_for_the_cache_there_are_compiled_loops_all_the_same(monkeypatch):
    kernels = compiled._kernels()
    given = []

    def refusing(**options):
        given.append(options.get("cache", False))
        if given[-1]:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(kernels, "njit", refusing)
    function, names = kernels.beta_logistic.__wrapped__(1, False)
    assert given == [True, False]
    assert callable(function)
    assert names == ("f", "e", "p")
