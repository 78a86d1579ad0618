"""A law of a score that is added from outside the package, in the file that the tutorial shows.

Its logits are normal. Where the curve is the logistic function itself, without a guessing level, scores of a family
are jointly normal on the logit scale, so that log-likelihoods can be had without this package.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import logit

import latentscale as ls
from latentscale.components.cells import Cells
from latentscale.components.curve import Curve
from latentscale.components.response import CellParameters, cell_terms, derivative_names
from latentscale.downstream.model import DownstreamModel
from latentscale.numerics.differences import jacobian
from latentscale.planning.next_evaluation import next_evaluation

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "logit_normal.py"
ITEMS = list("abcd")
SKILLS = ls.Echelon(["a", "b"])


@pytest.fixture(scope="module")
def toy():
    """The module that the tutorial shows."""
    spec = importlib.util.spec_from_file_location("logit_normal", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table():
    """LLMs of families of three, whose scores come from the law later."""
    rng = np.random.default_rng(0)
    n = 150
    scores = {name: rng.uniform(0.2, 0.8, n) for name in ITEMS}
    where = {"model": [f"llm{i}" for i in range(n)], "family": [f"f{i // 3}" for i in range(n)]}
    size, tokens = np.exp(rng.uniform(-1.0, 4.0, n)), np.exp(rng.uniform(-1.0, 2.5, n))
    return pd.DataFrame({**where, "params_b": size, "tokens_t": tokens, **scores})


def model_of(toy, table, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=ITEMS, chance=dict.fromkeys(ITEMS, 0.0))
    return toy.LogitNormalModel(panel, scaling="log(params_b) + log(tokens_t)", **{"skills": SKILLS, **options})


@pytest.fixture(scope="module")
def truth(toy, table):
    """True parameters by name."""
    loadings = {"loading[a,skill1]": 0.9, "loading[b,skill1]": 0.4, "loading[b,skill2]": 0.7}
    names = model_of(toy, table).param_names
    values = pd.Series(0.5, index=names)
    values[[name for name in names if name.startswith("intercept")]] = -0.8
    values[[name for name in names if name.startswith("slope")]] = 0.25
    values[[name for name in names if name.startswith("precision")]] = [9.0, 16.0, 25.0, 12.0]
    for name, value in zip([name for name in names if name.startswith("loading")], [0.9, 0.4, 0.7], strict=False):
        values[name] = value
    assert len(loadings) == 3
    return values


@pytest.fixture(scope="module")
def simulated(toy, table, truth):
    """A model of scores that come from it."""
    return model_of(toy, model_of(toy, table).simulate(truth, seed=3))


@pytest.fixture(scope="module")
def fit(simulated):
    return simulated.fit(integration="laplace", starts=2)


# --- the law ---------------------------------------------------------------------------------------------------------


def test_derivatives_of_the_law_are_those_of_differences(toy):
    law, rng = toy.LogitNormal(), np.random.default_rng(1)
    mu, phi = rng.uniform(0.05, 0.95, (6, 3)), rng.uniform(2.0, 60.0, (6, 1))
    data = tuple(column[:, None] for column in law.data(rng.uniform(0.05, 0.95, 6)))

    def terms(mu, phi, order=3):
        return law.terms(mu, 1.0 - mu, phi, law.at_precision(phi), data, order)

    found = terms(mu, phi)
    for name in ("m", "p", "mm", "mp", "pp", "mmm", "mmp", "expected_mmm", "expected_mmp"):
        below = name[:-1] if name[-2:] not in ("m", "p") else "f"
        below = {"m": "f", "p": "f"}.get(name, below)
        step = 1e-4 * (mu if name[-1] == "m" else phi)

        def lower(t, below=below, step=step, name=name):
            moved = (mu + t[0] * step, phi) if name[-1] == "m" else (mu, phi + t[0] * step)
            return (getattr(terms(*moved), below) + 0.0 * mu).ravel()

        numeric = jacobian(lower, np.zeros(1), np.ones(1)).reshape(mu.shape) / step
        got = getattr(found, name) + 0.0 * mu
        # relative to the largest: rounding of 1e-16 over steps of 1e-4
        assert_allclose(got, numeric, rtol=1e-6, atol=1e-8 * np.abs(got).max(), err_msg=name)
    for order in range(3):
        short = terms(mu, phi, order)
        assert all(one is None or np.all(one == other) for one, other in zip(short, found, strict=True))
    assert found.expected_mm.max() < 0.0


def test_expected_curvature_is_the_mean_of_the_observed_one(toy):
    law, rng = toy.LogitNormal(), np.random.default_rng(2)
    mu, phi = np.full((200_000, 1), 0.3), np.full((200_000, 1), 5.0)
    data = law.data(law.draw(rng, mu, phi))
    terms = law.terms(mu, 1.0 - mu, phi, (), data, 2)
    error = terms.mm.std() / np.sqrt(terms.mm.size)
    assert abs(terms.mm.mean() - terms.expected_mm[0, 0]) < 4.0 * error


def test_the_law_is_that_of_its_draws(toy):
    law, rng = toy.LogitNormal(), np.random.default_rng(3)
    mu, phi = np.full(100_000, 0.7), np.full(100_000, 3.0)
    y = law.draw(rng, mu, phi)
    assert abs(y.mean() - law.mean(0.7, 3.0)) < 4.0 * y.std() / np.sqrt(len(y))
    assert_allclose(y.var(), law.variance(0.7, 0.3, 3.0), rtol=0.02)  # some four standard errors of a variance
    assert stats.kstest(law.cdf(y, mu, phi), "uniform").pvalue > 1e-3
    assert_allclose(law.quantile(0.5, 0.7, 3.0), 0.7, atol=1e-14)  # mu is the median
    assert_allclose(law.location(law.mean(0.7, 3.0), 3.0), 0.7, atol=1e-14)
    few = y[:4]
    table = law.log_density_table(few, np.array([0.7, 0.2]), np.array([3.0, 8.0]))
    z = stats.norm.logpdf(logit(few)[:, None], logit([0.7, 0.2]), np.sqrt(1.0 / np.array([3.0, 8.0])))
    assert_allclose(table, z - (np.log(few) + np.log1p(-few))[:, None], rtol=1e-12)


def test_cells_join_the_law_and_the_curve(toy):
    """Derivatives in eta and in all shapes, to third order, of what the likelihood adds up."""
    law, rng = toy.LogitNormal(), np.random.default_rng(4)
    y = rng.uniform(0.3, 0.8, (8, 1))
    cells = Cells.from_tables(law, y, np.zeros((8, 1), np.int8), np.array([0.01]), np.arange(8), np.zeros((8, 1)))
    at = {"e": rng.normal(0.0, 1.0, (8, 1)), "p": rng.uniform(3.0, 30.0, (8, 1))}
    at |= {"c": rng.uniform(0.02, 0.2, (8, 1)), "d": rng.uniform(0.85, 0.98, (8, 1))}

    def terms(at):
        parameters = CellParameters(at["p"], law.at_precision(at["p"]), Curve(at["c"], at["d"]))
        return cell_terms(at["e"], parameters, cells, slice(None), 3, "cd", expected=True)

    found = terms(at)
    for name in [*derivative_names(3, "cd"), "fisher e", "fisher c"]:
        *start, letter = name
        below = "".join(start).strip() or "f"
        step = 1e-4 * np.abs(at[letter]) + 1e-5

        def lower(t, below=below, letter=letter, step=step):
            return terms({**at, letter: at[letter] + t[0] * step})[below].ravel()

        numeric = jacobian(lower, np.zeros(1), np.ones(1)) / step
        assert_allclose(found[name], numeric, rtol=1e-5, atol=1e-7 * np.abs(numeric).max(), err_msg=name)


def test_what_the_law_does_not_have_is_refused(toy, table):
    with pytest.raises(ls.DataError, match="logit-normal law of scores has no share of outliers"):
        model_of(toy, table, outliers=0.1)
    panel = ls.BenchmarkPanel(table, benchmarks=ITEMS, boundary="censor")
    with pytest.raises(ls.DataError, match="logit-normal law of scores does not allow boundary='censor'"):
        toy.LogitNormalModel(panel, skills=SKILLS)


# --- likelihood and fit ----------------------------------------------------------------------------------------------


def normal_loglike(model, params):
    """Log-likelihood of jointly normal logits, family by family."""
    structure = model.table.structure(params.to_numpy())
    y, mean = model.prepared.y, model.design.x @ structure.slopes @ structure.loadings.T + structure.intercepts
    shared = structure.loadings @ structure.skill_cov @ structure.loadings.T
    total = -np.sum(np.log(y) + np.log1p(-y))
    for code in range(model.n_families):
        rows = model.family_codes == code
        n = rows.sum()
        cov = np.kron(np.ones((n, n)), shared) + np.kron(np.eye(n), np.diag(1.0 / structure.precision))
        total += stats.multivariate_normal.logpdf((logit(y) - mean)[rows].ravel(), cov=cov)
    return total


@pytest.mark.parametrize("rule", [{"integration": "laplace"}, {"integration": "quadrature", "points": 5}])
def test_the_likelihood_is_that_of_normal_logits(simulated, truth, rule):
    """Laplace's approximation and adapted grids are exact there, and so are their scores."""
    assert_allclose(simulated.loglike(truth, **rule), normal_loglike(simulated, truth), rtol=1e-11)
    step = 1e-3 * np.maximum(0.1, np.abs(truth.to_numpy()))
    wanted = jacobian(lambda x: np.atleast_1d(normal_loglike(simulated, pd.Series(x))), truth.to_numpy(), step)[0]
    found = simulated.score(truth, **rule)
    assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


def test_a_fit_recovers_the_truth(simulated, fit, truth):
    assert fit.converged
    assert_allclose(fit.llf, normal_loglike(simulated, fit.params), rtol=1e-11)
    z = (fit.params - truth) / fit.bse
    assert np.abs(z).max() < 4.0
    assert np.mean(z**2) < 2.0  # of some twenty, mean 1


def test_quadrature_finds_the_same_fit(simulated, fit):
    other = simulated.fit(integration="quadrature", points=5, starts=1)
    assert other.converged
    assert_allclose(other.llf, fit.llf, rtol=1e-9)
    assert_allclose(other.params, fit.params, atol=5e-3 * fit.bse.max())
    assert_allclose(other.bse, fit.bse, rtol=1e-3)


def test_the_shipped_table_is_fitted(toy):
    table = ls.load_leaderboard()
    panel = ls.BenchmarkPanel(table, benchmarks=["mmlu", "arc", "hellaswag", "winogrande"])
    fit = toy.LogitNormalModel(panel, skills=1).fit(integration="laplace", starts=1)
    assert fit.converged
    assert "LogitNormalModel" in repr(fit.model)


def test_asymptotes_and_links_go_with_any_law(toy, simulated):
    options = {"asymptotes": "both", "link": "monotone"}
    fit = model_of(toy, simulated.panel.to_frame(), **options).fit(integration="laplace", starts=1, cov_type="none")
    assert fit.asymptotes["lower"].lt(fit.asymptotes["upper"]).all()
    assert fit.llf > simulated.fit(integration="laplace", starts=1, cov_type="none").llf - 1.0


def test_a_law_without_a_precision_has_none_to_estimate(toy, simulated):
    class Known(toy.LogitNormal):
        has_precision = False

        def terms(self, mu, nu, phi, at_phi, data, order):
            found = super().terms(mu, nu, np.full_like(phi, 14.0), at_phi, data, order)
            gone = dict.fromkeys(("p", "mp", "pp", "mmp", "expected_mmp"), 0.0 * found.f)
            return found._replace(**{name: zero for name, zero in gone.items() if getattr(found, name) is not None})

    class Model(toy.LogitNormalModel):
        score_law = Known()

    model = Model(simulated.panel, scaling="log(params_b) + log(tokens_t)", skills=SKILLS, llm_effects=True)
    assert not any("precision" in name for name in model.param_names)
    with pytest.warns(ls.BoundaryWarning, match="llm_sd"):  # the scores have no residual skills
        fit = model.fit(integration="laplace", starts=1)
    assert fit.converged
    assert not any("precision" in name for name in fit.params.index)
    assert "Precisions are weakly penalised" not in str(fit.summary())


# --- what is made of a fit -------------------------------------------------------------------------------------------


def test_predictions_are_means_of_the_law_not_medians(toy, fit):
    """Expected scores of a new family, by plain simulation of skills and scores."""
    new = pd.DataFrame({"model": ["new"], "family": ["new"], "params_b": [20.0], "tokens_t": [5.0]})
    structure, rng = fit.structure, np.random.default_rng(5)
    alpha = rng.multivariate_normal(np.zeros(2), structure.skill_cov, 200_000)
    theta = alpha + np.log([20.0, 5.0]) @ structure.slopes
    eta = theta @ structure.loadings.T + structure.intercepts + rng.standard_normal((len(alpha), 4)) / np.sqrt(
        structure.precision
    )
    y = 1.0 / (1.0 + np.exp(-eta))
    found = fit.predict(new).to_numpy()[0]
    assert np.all(np.abs(found - y.mean(axis=0)) < 4.0 * y.std(axis=0) / np.sqrt(len(y)))
    frame = fit.get_prediction(new, size=20_000, uncertainty=("family", "score")).summary_frame(alpha=0.2)
    assert_allclose(frame["mean"], found, atol=1e-12)
    inside = (y >= frame["obs_ci_lower"].to_numpy()) & (y <= frame["obs_ci_upper"].to_numpy())
    assert_allclose(inside.mean(axis=0), 0.8, atol=0.015)
    still = fit.get_prediction(new, size=50, uncertainty=()).summary_frame()
    assert_allclose(still[["mean_ci_lower", "mean_ci_upper"]], np.column_stack([found, found]), atol=1e-10)


def test_residuals_are_standard_normal(fit):
    values = fit.residuals(kind="quantile").to_numpy().ravel()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert abs(np.mean(fit.residuals(kind="pearson").to_numpy() ** 2) - 0.9) < 0.2


def test_tables_work(fit):
    assert "Latent skill scaling model" in str(fit.summary())
    curves = fit.characteristic_curves()
    law, phi = fit.model.score_law, fit.precision[curves["benchmark"]].to_numpy()
    below = law.cdf(curves["score_lower"].to_numpy(), curves["mean"].to_numpy(), phi)
    assert_allclose(below, 0.025, rtol=1e-6)
    assert fit.get_robust("cluster").bse.notna().all()


@pytest.mark.slow
def test_reports_and_diagnoses_work(fit, tmp_path):
    fit.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a draw from a logit-normal law whose median" in text
    assert "from logit_normal import LogitNormalModel" in text
    assert fit.diagnose() is not None


def test_planning_takes_the_law(fit):
    """Expected scores on a budget, the next evaluation, and what a comparison with beta scores says."""
    table = fit.model.panel.to_frame().iloc[[0, 4]].assign(a=np.nan, b=np.nan)
    found = next_evaluation(fit, table, target="c", candidates=["a", "b"]).table
    # The expected reduction is at least zero; its estimate, from 4,000 draws and 200 scores, has an error of its own.
    assert found["reduction"].between(-0.005, 1.0).all()
    with pytest.warns(UserWarning, match="lies more than 3 times beyond"):
        found = ls.compute_optimal(fit, 1e22, "c", interval="none").summary_frame()
    new = pd.DataFrame({"model": ["new"], "family": ["new"], "params_b": found["size"], "tokens_t": found["tokens"]})
    # five nodes a dimension in the prediction, twenty-one of one dimension in the target
    assert_allclose(found["value"], fit.predict(new)["c"], rtol=1e-6)


def test_fits_under_different_laws_are_compared_but_not_tested(fit):
    model = fit.model
    beta = ls.LatentSkillModel(model.panel, model.scaling, SKILLS).fit(integration="laplace", starts=1)
    assert ["beta law" in name for name in ls.compare([fit, beta]).index] == [False, True]
    with pytest.raises(ls.DataError, match="different laws of a score are not tested"):
        fit.lr_test(beta)


def test_a_regression_on_skills_takes_the_law(toy, fit, truth):
    rng = np.random.default_rng(6)
    eta = fit.skills().to_numpy() @ [0.6, 0.5] - 0.4
    table = fit.model.panel.to_frame().assign(target=toy.LogitNormal().draw(rng, 1.0 / (1.0 + np.exp(-eta)), 20.0))
    found = DownstreamModel(fit, "target", table, family_effect=False).fit(integration="laplace")
    assert found.converged
    assert "Logit-normal regression" in str(found.summary())
    predicted = found.predict()
    assert stats.spearmanr(predicted, table.set_index("model")["target"].loc[predicted.index])[0] > 0.9


def test_only_shipped_laws_are_saved(fit, tmp_path):
    path = tmp_path / "fit.zip"
    with pytest.raises(ls.DataError, match=r"law of scores .*logit-normal.* is not one that latentscale comes with"):
        fit.save(path)
    assert not path.exists()
