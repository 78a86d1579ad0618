"""SlothModel and BenchmarkLaws: what they take, what they refuse, and what may change without changing the fit."""

import warnings

import numpy as np
import pytest
import sloth_tables as tables
from numpy.testing import assert_allclose
from scipy.special import expit

import latentscale as ls
from latentscale.components.free_curves import FreeCurves
from latentscale.numerics.differences import jacobian


@pytest.fixture(scope="module")
def table():
    return tables.simulated(10, 0.02, seed=6, missing=0.1)[0]


def fit(panel, scaling=tables.MAIN, **options):
    return ls.SlothModel(panel, scaling=scaling, n_skills=2, **options).fit(starts=3, cov_type="none", ridge=1e-3)


@pytest.mark.parametrize("options", [{}, {"family_intercepts": False}, {"link": "monotone"}], ids=str)
def test_order_and_names_change_nothing(table, options):
    whole = fit(tables.panel(table), **options)
    rng = np.random.default_rng(0)
    shuffled = table.sample(frac=1.0, random_state=1)
    names = dict(zip(sorted(set(table["family"])), rng.permutation(10), strict=True))
    shuffled["family"] = [f"renamed{names[name]}" for name in shuffled["family"]]
    order = list(tables.CHANCE)[::-1]
    other = fit(tables.panel(shuffled, order), **options)
    assert_allclose(other.loss, whole.loss, rtol=1e-6)
    assert_allclose(other.loss_penalised, whole.loss_penalised, rtol=1e-6)
    assert_allclose(other.predict().loc[whole.model.llms, list(tables.CHANCE)], whole.predict(), atol=2e-4)
    assert_allclose(other.loadings.loc[list(tables.CHANCE)], whole.loadings, atol=5e-3)


@pytest.mark.parametrize("families", [True, False])
def test_units_change_nothing(table, families):
    whole = fit(tables.panel(table), family_intercepts=families)
    scaled = table.assign(params_b=1e9 * table["params_b"], tokens_t=1e3 * table["tokens_t"])
    log2 = fit(tables.panel(scaled), "log2(params_b) + log10(tokens_t)", family_intercepts=families)
    assert_allclose(log2.loss_penalised, whole.loss_penalised, rtol=1e-6)
    assert_allclose(log2.predict(), whole.predict(), atol=2e-4)
    ratio = np.array([[np.log(2.0)], [np.log(10.0)]])
    assert_allclose(log2.slopes, whole.slopes * ratio, rtol=2e-2, atol=2e-3)
    assert_allclose(log2.loadings, whole.loadings, atol=5e-3)


def test_scores_are_used_as_they_are(table):
    zeros = table.copy()
    zeros.loc[0, "b"] = 0.0
    model = ls.SlothModel(tables.panel(zeros), scaling=tables.MAIN, n_skills=1)
    assert model.y[0, 1] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        model.y[0, 0] = 1.0


def test_rows_without_covariates_or_scores_are_dropped(table):
    holes = table.copy()
    holes.loc[0, "params_b"] = np.nan
    holes.loc[1, list(tables.CHANCE)] = np.nan
    model = ls.SlothModel(tables.panel(holes), scaling=tables.MAIN, n_skills=1)
    assert model.rows.no_covariate == ("llm0",)
    assert model.rows.no_score == ("llm1",)
    assert model.n_llms == len(table) - 2
    assert model.nobs == int(holes.loc[2:, list(tables.CHANCE)].notna().sum().sum())
    assert "Dropped 2 of" in str(model.fit(starts=1, cov_type="none", ridge=1e-3).summary())


@pytest.mark.parametrize("option", [
    {"n_skills": 0}, {"n_skills": 7}, {"n_skills": 1.5}, {"n_skills": True}, {"link": "probit"},
    {"asymptotes": "upper"}, {"family_intercepts": "yes"}, {"positive_slopes": 1},
])  # fmt: skip
def test_options_that_make_no_sense(table, option):
    with pytest.raises(ls.DataError, match=next(iter(option))):
        ls.SlothModel(tables.panel(table), scaling=tables.MAIN, **option)


def test_more_skills_than_llms(table):
    few = tables.panel(table.iloc[:4])
    with pytest.raises(ls.DataError, match="4 skills need more than 4 LLMs"):
        ls.SlothModel(few, scaling="log(params_b)", n_skills=4)
    with pytest.raises(ls.DataError, match="BenchmarkPanel"):
        ls.SlothModel(table)


def test_a_benchmark_without_scores_is_named(table):
    lost = table.copy()
    lost.loc[lost["a"].notna(), "params_b"] = np.nan
    with pytest.raises(ls.DataError, match=r"\['a'\] have no score"):
        ls.SlothModel(tables.panel(lost), scaling=tables.MAIN, n_skills=1)


def test_slopes_confounded_with_family_intercepts_are_named(table):
    flat = table.copy()
    flat["tokens_t"] = flat.groupby("family")["tokens_t"].transform("first")
    with pytest.raises(ls.IdentificationError, match=r"log\(tokens_t\).*leave it out"):
        ls.SlothModel(tables.panel(flat), scaling=tables.MAIN, n_skills=1)
    assert ls.SlothModel(tables.panel(flat), scaling=tables.MAIN, n_skills=1, family_intercepts=False).n_skills == 1
    # tokens that differ in a single family are enough
    flat.loc[0, "tokens_t"] *= 2.0
    ls.SlothModel(tables.panel(flat), scaling=tables.MAIN, n_skills=1)
    # within families tokens are proportional to size: no term is constant, but the two cannot be told apart
    tied = table.copy()
    tied["tokens_t"] = tied["params_b"] * (1.0 + tied["family"].str[-2:].astype(int))
    with pytest.raises(ls.IdentificationError, match="do not vary apart"):
        ls.SlothModel(tables.panel(tied), scaling=tables.MAIN, n_skills=1)


def test_laws_name_the_benchmark_that_cannot_be_fitted(table):
    alone = table.copy()
    first = ~alone.duplicated("family")
    alone.loc[~first, "c"] = np.nan
    with pytest.raises(ls.IdentificationError, match="score on c"):
        ls.BenchmarkLaws(tables.panel(alone), scaling=tables.MAIN)
    alone.loc[~(first & alone["family"].isin(["family00", "family01"])), "c"] = np.nan
    alone.loc[first, "c"] = np.linspace(0.2, 0.5, first.sum())
    alone.loc[alone["family"] > "family01", "c"] = np.nan
    with pytest.raises(ls.IdentificationError, match="score on c"):
        ls.BenchmarkLaws(tables.panel(alone), scaling=tables.MAIN, family_intercepts=False)


def test_the_logistic_link_is_the_monotone_one_with_even_slopes():
    chance = np.array([0.25, 0.0])
    eta = np.random.default_rng(0).normal(0.0, 4.0, (30, 2))
    straight = FreeCurves("monotone", "chance", chance)
    plain = FreeCurves("logistic", "chance", chance)
    phi, nothing = np.zeros((2, straight.size)), np.zeros((2, 0))
    assert_allclose(straight.mean(eta, phi), chance + (1.0 - chance) * expit(eta), rtol=1e-12)
    one, other = straight.cells(eta, phi), plain.cells(eta, nothing)
    for name in ("mu", "d1", "d2"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("link", ["logistic", "monotone"])
@pytest.mark.parametrize("asymptotes", ["chance", "lower", "both"])
def test_derivatives_of_the_response(link, asymptotes):
    response = FreeCurves(link, asymptotes, np.array([0.25, 0.0]))
    rng = np.random.default_rng(1)
    eta = rng.normal(0.0, 2.0, (6, 2))
    phi = response.centre + 0.5 * rng.standard_normal((2, response.size))
    curves = response.cells(eta, phi)
    assert_allclose(curves.mu, response.mean(eta, phi), rtol=1e-13)
    flat = np.full(eta.size, 1e-3)
    at = lambda x, name: getattr(response.cells(x.reshape(eta.shape), phi), name).ravel()  # noqa: E731
    for name, derivative in (("mu", "d1"), ("d1", "d2")):
        numeric = np.diag(jacobian(lambda x, name=name: at(x, name), eta.ravel(), flat))
        assert_allclose(getattr(curves, derivative).ravel(), numeric, atol=1e-9)
    if not response.size:
        return
    step = np.full(phi.size, 1e-3)
    for name, derivative in (("mu", "phi"), ("d1", "phi1")):
        by_phi = jacobian(
            lambda x, name=name: getattr(response.cells(eta, x.reshape(phi.shape)), name).ravel(), phi.ravel(), step
        ).reshape(6, 2, 2, response.size)
        assert_allclose(getattr(curves, derivative), by_phi[:, [0, 1], [0, 1]], atol=1e-9)
    weight = rng.standard_normal(eta.shape)
    pulled = lambda x: np.einsum("ij,ijq->jq", weight, response.cells(eta, x.reshape(phi.shape)).phi).ravel()  # noqa: E731
    second = jacobian(pulled, phi.ravel(), step).reshape(2, response.size, 2, response.size)
    assert_allclose(response.curvature(curves, weight), second[[0, 1], :, [0, 1]], atol=1e-9)


def test_scores_without_noise_are_reached_without_a_warning():
    """The loss is then zero up to rounding, and declines relative to it mean nothing."""
    table = tables.simulated(10, 0.0, seed=6)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ls.ConvergenceWarning)
        found = ls.SlothModel(tables.panel(table), scaling=tables.MAIN, n_skills=2).fit(starts=6, cov_type="none")
    assert found.estimate.converged
    assert found.loss < 1e-14
