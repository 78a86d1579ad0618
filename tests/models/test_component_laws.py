"""Laws of principal components against plain numpy, and what may change without changing them."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.validation.component_laws import ComponentLaws

B = list(ls.BENCHMARKS)


@pytest.fixture(scope="module")
def complete(leaderboard):
    table = leaderboard.to_frame().dropna(subset=[*B, "params_b", "tokens_t"])
    return ls.BenchmarkPanel(table)


@pytest.fixture(scope="module")
def fit(complete):
    return ComponentLaws(complete, n_components=3).fit()


def by_hand(panel, d, slopes=False, scale=None):
    """Eigenvectors of the covariance, regression on dummies by lstsq; predictions for the LLMs themselves."""
    table = panel.to_frame()
    y = table[B].to_numpy()
    unit = np.ones(len(B)) if scale is None else y.std(axis=0)
    z = (y - y.mean(axis=0)) / unit
    vectors = np.linalg.eigh(z.T @ z)[1][:, ::-1][:, :d]
    x = np.log(table["params_b"] * table["tokens_t"]).to_numpy()[:, None]
    dummies = pd.get_dummies(table["family"]).to_numpy(dtype=float)
    design = np.hstack([dummies, dummies * x if slopes else x])
    law = design @ np.linalg.lstsq(design, z @ vectors, rcond=None)[0]
    return y.mean(axis=0) + unit * (law @ vectors.T), vectors


@pytest.mark.parametrize("d", [1, 3])
def test_against_numpy(complete, d):
    fit = ComponentLaws(complete, n_components=d).fit()
    predicted, vectors = by_hand(complete, d)
    assert_allclose(fit.predict().to_numpy(), predicted, atol=1e-10)
    assert_allclose(np.abs(fit.components), np.abs(vectors), atol=1e-9)
    scaled = ComponentLaws(complete, n_components=d, standardize=True).fit()
    assert_allclose(scaled.predict().to_numpy(), by_hand(complete, d, scale=True)[0], atol=1e-9)


def test_slopes_of_families(complete):
    sizes = complete.families.map(complete.families.value_counts())
    panel = complete.subset((sizes > 1).to_numpy())
    fit = ComponentLaws(panel, n_components=2, family_terms="slopes").fit()
    assert_allclose(fit.predict().to_numpy(), by_hand(panel, 2, slopes=True)[0], atol=1e-9)
    assert fit.slopes.index.names == ["family", "term"]


def test_a_family_of_one_takes_the_shared_slopes(complete):
    fit = ComponentLaws(complete, family_terms="slopes").fit()
    shared = ComponentLaws(complete).fit()
    alone = complete.families.value_counts().loc[lambda count: count == 1].index
    assert len(alone)
    assert_allclose(fit.slopes.loc[alone], np.tile(shared.slopes, (len(alone), 1)))
    own = fit.predict().loc[complete.families.isin(alone).to_numpy()]
    assert_allclose(own, shared.predict().loc[own.index], atol=1e-12)


def test_no_terms_of_families(complete):
    fit = ComponentLaws(complete, family_terms="none", n_components=2).fit()
    x = np.log(complete.table["params_b"] * complete.table["tokens_t"])
    design = np.column_stack([np.ones(len(x)), x])
    law = design @ np.linalg.lstsq(design, fit.scores.to_numpy(), rcond=None)[0]
    expected = complete.scores.mean().to_numpy() + law @ fit.components.to_numpy().T
    assert_allclose(fit.predict().to_numpy(), expected, atol=1e-12)
    assert list(fit.intercepts.index) == ["(all)"]
    new = pd.DataFrame({"model": ["n"], "params_b": [7.0], "tokens_t": [2.0]})
    assert fit.predict(new).shape == (1, 12)


def test_flops_in_other_units(complete, fit):
    table = complete.to_frame().assign(flops_1e21=lambda frame: 6.0 * frame["params_b"] * frame["tokens_t"])
    other = ComponentLaws(ls.BenchmarkPanel(table), n_components=3, scaling="log(flops_1e21)").fit()
    assert_allclose(other.predict(), fit.predict(), atol=1e-12)


def test_order_changes_nothing(complete, fit):
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(complete.n_llms), list(rng.permutation(B))
    turned = ls.BenchmarkPanel(complete.to_frame().iloc[rows], benchmarks=columns)
    other = ComponentLaws(turned, n_components=3).fit()
    new = complete.to_frame()
    assert_allclose(other.predict(new)[B], fit.predict(new), atol=1e-10)
    assert_allclose(other.explained, fit.explained)
    assert_allclose(other.components.loc[B], fit.components, atol=1e-9)


def test_what_the_results_say(complete, fit):
    assert_allclose(fit.components.T @ fit.components, np.eye(3), atol=1e-12)
    assert (fit.components.sum() > 0.0).all()
    total = complete.scores.var().sum()
    assert_allclose(fit.explained, fit.scores.var() / total)
    assert_allclose(fit.scores.mean(), 0.0, atol=1e-12)
    assert ((fit.rsquared > 0.0) & (fit.rsquared < 1.0)).all()
    assert fit.slopes.loc["log(params_b * tokens_t)", "PC1"] > 0.0
    assert "3 principal components" in fit.summary()
    assert "79 LLMs" not in repr(fit)
    with pytest.raises(AttributeError):
        fit.fit = None
    assert_allclose(pickle.loads(pickle.dumps(fit)).predict(), fit.predict())


def test_incomplete_llms_are_left_out(leaderboard, complete, fit):
    model = ComponentLaws(leaderboard, n_components=3)
    assert model.n_incomplete + model.n_without_covariate + len(model.llms) == leaderboard.n_llms
    assert_allclose(model.fit().predict(), fit.predict(), atol=1e-12)


def test_all_components_reproduce_the_laws_of_the_benchmarks(complete):
    """With J components the eigenvectors drop out: each benchmark has its own least-squares law."""
    fit = ComponentLaws(complete, n_components=12).fit()
    assert_allclose(fit.explained.sum(), 1.0)
    y = complete.scores["bbh"]
    dummies = pd.get_dummies(complete.families).to_numpy(dtype=float)
    x = np.log(complete.table["params_b"] * complete.table["tokens_t"]).to_numpy()[:, None]
    design = np.hstack([dummies, x])
    assert_allclose(fit.predict()["bbh"], design @ np.linalg.lstsq(design, y, rcond=None)[0], atol=1e-10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_components": 13}, ls.DataError, "12 benchmarks have no 13 components"),
        ({"n_components": 0}, ls.DataError, "at least 1; got 0"),
        ({"n_components": 2.0}, ls.DataError, "got 2.0"),
        ({"family_terms": "random"}, ls.DataError, "not 'random'"),
        ({"scaling": "log(flops)"}, ls.DataError, "flops"),
    ],
)
def test_bad_options(complete, options, error, message):
    with pytest.raises(error, match=message):
        ComponentLaws(complete, **options)


def test_bad_data(complete, fit):
    with pytest.raises(ls.DataError, match=r"2 components need at least 3 LLMs with all 12 scores .* has 2"):
        ComponentLaws(complete.subset(list(complete.llms[:2])))
    one_each = complete.subset(complete.families.drop_duplicates().index)
    with pytest.raises(ls.IdentificationError, match="take one value within every family"):
        ComponentLaws(one_each).fit()
    new = complete.to_frame().head(2).assign(family=["nobody", "opt"])
    with pytest.raises(ls.DataError, match="no intercept of their own: nobody"):
        fit.predict(new)
    with pytest.raises(ls.DataError, match="lack a covariate"):
        fit.predict(complete.to_frame().head(2).assign(tokens_t=np.nan))
    with pytest.raises(ls.DataError, match="family column"):
        fit.predict(complete.to_frame().drop(columns="family"))
