"""LatentSkillModel(avoid_zero_sd=True): estimates off zero, near maximum likelihood, their law in predictions."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.errors import DataError
from latentscale.prediction.parameter_law import parameter_law

FIT = {"integration": "laplace", "starts": 1, "tolerance": 1e-3, "information": False, "cov_type": "none"}


def _table(seed, families=30, each=4, kappa=0.4, slope_sd=0.0):
    """One skill, four benchmarks; slopes on log size vary between families by ``slope_sd``."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(families), each)
    size = rng.normal(1.0, 1.0, len(code))
    own = (0.5 + slope_sd * rng.standard_normal(families))[code] * size
    skill = rng.standard_normal(families)[code] + own + kappa * rng.standard_normal(len(code))
    mean = 1.0 / (1.0 + np.exp(-0.3 - 0.7 * skill[:, None] * np.ones(4)))
    scores = pd.DataFrame(rng.beta(50.0 * mean, 50.0 * (1.0 - mean)), columns=list("abcd"))
    names = {"model": [f"llm{i:03d}" for i in range(len(code))], "family": [f"f{i:02d}" for i in code]}
    return pd.concat([pd.DataFrame(names | {"size": np.exp(size)}), scores], axis=1)


def _model(table, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcd"), chance=dict.fromkeys("abcd", 0.0))
    options = {"random_slopes": "log(size)", "llm_effects": True} | options
    return ls.LatentSkillModel(panel, "log(size)", skills=ls.Anchored({"skill": "a"}), **options)


@pytest.fixture(scope="module")
def table():
    return _table(1)


@pytest.fixture(scope="module")
def fits(table):
    """Maximum likelihood, whose slopes do not vary, and the fit that is kept off zero."""
    return _model(table).fit(**FIT), _model(table, avoid_zero_sd=True).fit(**FIT)


def test_an_estimate_of_zero_becomes_one_within_its_error_of_zero(fits):
    plain, kept = fits
    name = "slope_sd[log(size),skill]"
    assert plain.params[name] < 1e-3
    assert 0.01 < kept.params[name] < 0.2
    # the mode of tau exp(-tau^2 / 2 s^2) is at s, where the likelihood is exp(-1/2) of its maximum
    assert -0.8 < kept.llf - plain.llf < -0.3
    assert_allclose(kept.params["llm_sd"], plain.params["llm_sd"], rtol=0.1)
    sds, rate = kept.params[[name, "llm_sd"]], [kept.model.random_design.std(), 1.0]
    penalty = kept.llf_penalised - kept.llf - (plain.llf_penalised - plain.llf)
    assert_allclose(penalty, np.sum(np.log(sds) - rate * sds), atol=0.1)


@pytest.mark.slow
def test_their_law_is_that_of_the_observed_information(table):
    """Logarithms, simulated against observed information, 30 families."""
    table = _table(5, slope_sd=0.3)
    quick = _model(table, avoid_zero_sd=True).fit(**FIT)
    informed = _model(table, avoid_zero_sd=True).fit(integration="laplace", starts=0, start_params=quick.params)
    law = parameter_law(quick)
    names = [law.space.labels[place] for place in law.spreads]
    assert names == ["slope_sd[log(size),skill]", "llm_sd"]
    found = np.sqrt(np.diag(law.spread_root @ law.spread_root.T))
    assert_allclose(found, informed.bse[names] / informed.params[names], rtol=0.35)
    drawn = [structure.scales["llm_sd"][0] for structure in law.spread_structures(quick.structure, 64)]
    assert_allclose(np.log(drawn).mean(), np.log(quick.params["llm_sd"]), atol=0.1 * found[1])
    assert_allclose(np.log(drawn).std(), found[1], rtol=0.1)
    assert not parameter_law(_model(table).fit(**FIT)).spreads.size


def test_predictions_carry_it(fits):
    new = pd.DataFrame({"model": ["x"], "family": ["f00"], "size": [200.0]})
    plain, kept = (fit.get_prediction(new, size=4000).summary_frame()["mean_se"] for fit in fits)
    held = fits[1].get_prediction(new, size=4000, uncertainty=("family", "score")).summary_frame()["mean_se"]
    assert (kept > 1.02 * plain).all()
    assert (kept > held).all()


def test_zero_is_refused(table, fits):
    with pytest.raises(DataError, match=r"llm_sd = 0: avoid_zero_sd=True keeps .* avoid_zero_sd=False"):
        fits[1].model.fit(integration="laplace", starts=1, constraints="llm_sd = 0")
    with pytest.raises(DataError, match="avoid_zero_sd is True or False, not 1"):
        _model(table, avoid_zero_sd=1)


def test_summary_and_file_know_it(fits, tmp_path):
    fits[1].save(tmp_path / "fit.lscale")
    again = ls.load(tmp_path / "fit.lscale")
    assert again.model.avoid_zero_sd
    assert_allclose(again.params, fits[1].params)
    assert "avoided by a penalty" in str(again.summary())
