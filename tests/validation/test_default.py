"""The default specification on the shipped table: it fits cleanly and predicts better than what it is to beat."""

import warnings

import pytest

import latentscale as ls

GROUPS = ["pythia", ["llama-2", "llama-2-chat"], "qwen2"]


@pytest.fixture(scope="module")
def compared():
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=ls.BENCHMARKS[:6])
    methods = {
        "default": ls.default_specification(),
        "sloth": ls.Specification(ls.SlothModel, fit={"cov_type": "none", "starts": 1}, n_skills=3),
        "components": ls.Specification(ls.ComponentLaws, n_components=2),
    }
    with warnings.catch_warnings():
        # Sloth's loss may lack a minimum; the default has nothing to warn of, as a test says
        warnings.simplefilter("ignore", ls.ConvergenceWarning)
        return ls.leave_family_out(methods, panel, GROUPS, n_train=1, alphas=())


@pytest.mark.slow
def test_its_fits_converge_without_a_warning(compared):
    fits = compared.fits[compared.fits["method"] == "default"]
    assert len(fits) == len(GROUPS)
    assert (fits["warnings"] == "").all()
    assert (fits["failure"] == "").all()


@pytest.mark.slow
def test_it_predicts_better(compared):
    """By a margin that no rounding or seed decides: measured were 2.6 against 6.1 and 8.5 points."""
    error = compared.mae()
    assert error["default"] < 0.9 * error["sloth"]
    assert error["default"] < 0.7 * error["components"]


@pytest.mark.slow
def test_it_has_no_standard_errors():
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=ls.BENCHMARKS[:6])
    fit = ls.default_specification().fit(panel)
    assert fit.converged
    assert fit.bse.isna().all()
    assert fit.links.shape == (6, 7)
