"""Tables of worlds whose law is known, for the tests of all rooms.

They are written from the definition of the model with numpy alone, not by ``simulate`` of the package, so that they
judge that too.
"""

import numpy as np
import pandas as pd
from scipy.special import expit

SIZE = {"size": (0.0, 4.0)}
SIZE_AND_TOKENS = {"params_b": (0.0, 4.0), "tokens_t": (-1.0, 2.0)}


def places(families, each, covariates=SIZE, benchmarks="abcd", missing=0.0, seed=0, family="f{:03d}", digits=None):
    """A table of families of LLMs with scores of no meaning, for ``simulate`` to replace those that are there.

    Parameters
    ----------
    families, each : int
        Number of families, and of LLMs in each.
    covariates : dict of str to (float, float)
        Columns, and the bounds of their logarithms, which are uniform between.
    benchmarks : sequence of str
    missing : float
        Share of scores that are missing; every LLM keeps its score of the first benchmark.
    seed : int
    family : str
        Format of the families' names.
    digits : int, optional
        To round covariates to.

    Returns
    -------
    DataFrame
        Columns ``model``, ``family``, the covariates and the benchmarks.
    """
    rng = np.random.default_rng(seed)
    table, _, _ = _llms(rng, families, each, covariates, "m{}", family)
    if digits is not None:
        table = table.round(digits)
    scores = rng.uniform(0.2, 0.8, (len(table), len(benchmarks)))
    if missing:
        scores[rng.random(scores.shape) < missing] = np.nan
        scores[:, 0] = np.where(np.isnan(scores[:, 0]), 0.5, scores[:, 0])
    table[list(benchmarks)] = scores
    return table


def simulated(
    families, each, loadings, slopes, covariates=SIZE_AND_TOKENS, *, intercepts=0.0, precision=30.0, skill_cov=None,
    shift=0.0, llm_sd=0.0, slope_sd=0.0, benchmark_sd=0.0, lower=0.0, missing=0.0, benchmarks="abcdef", model="m{}",
    family="f{:02d}", seed=0,
):  # fmt: skip
    """A table of the model's own law, Y ~ Beta(mu phi, (1 - mu) phi) with mu = c + (1 - c) F(Lambda theta + b).

    The skills theta of an LLM are the effects of its family, drawn from N(0, Sigma), the logarithms of its covariates
    times the slopes, and, if wanted, random slopes of its family on the first logarithm and skills of its own.

    Parameters
    ----------
    families, each : int
        Number of families, and of LLMs in each.
    loadings : array (J, K)
        Lambda.
    slopes : array (P, K)
    covariates : dict of str to (float, float)
        P columns, and the bounds of their logarithms, which are uniform between.
    intercepts : float or array (J,)
        b.
    precision : float
        phi.
    skill_cov : array (K, K), optional
        Sigma; the identity by default.
    shift : array (families, K) or float
        What is added to the effects of the families.
    llm_sd : float
        Size of the skills of an LLM's own, which have the covariance ``llm_sd**2`` Sigma.
    slope_sd : float
        Standard deviation of the families' slopes on the first logarithm.
    benchmark_sd : float or array (J,)
        Standard deviations of the families' effects on single benchmarks.
    lower : float
        c, of every benchmark.
    missing : float
        Share of scores that are missing.
    benchmarks : sequence of str
        Names, of which the first J are taken.
    model, family : str
        Formats of names.
    seed : int

    Returns
    -------
    DataFrame
        Columns ``model``, ``family``, the covariates and the benchmarks.
    """
    rng = np.random.default_rng(seed)
    loadings, slopes = np.asarray(loadings), np.asarray(slopes)
    n_skills = loadings.shape[1]
    root = np.eye(n_skills) if skill_cov is None else np.linalg.cholesky(skill_cov)
    table, code, logs = _llms(rng, families, each, covariates, model, family)
    theta = (rng.standard_normal((families, n_skills)) @ root.T + shift)[code] + logs @ slopes
    if slope_sd:
        theta += slope_sd * rng.standard_normal((families, n_skills))[code] * logs[:, :1]
    if llm_sd:
        theta += llm_sd * rng.standard_normal((len(code), n_skills)) @ root.T
    eta = theta @ loadings.T + intercepts
    if np.any(benchmark_sd):
        eta = eta + benchmark_sd * rng.standard_normal((families, len(loadings)))[code]
    mean = lower + (1.0 - lower) * expit(eta)
    scores = rng.beta(precision * mean, precision * (1.0 - mean))
    if missing:
        scores[rng.random(scores.shape) < missing] = np.nan
    table[list(benchmarks[: len(loadings)])] = scores
    return table


def _llms(rng, families, each, covariates, model, family):
    """The table without scores, the codes of its families and the logarithms of the covariates."""
    code = np.repeat(np.arange(families), each)
    logs = np.column_stack([rng.uniform(*bounds, len(code)) for bounds in covariates.values()])
    names = {"model": [model.format(number) for number in range(len(code))], "family": [family.format(c) for c in code]}
    return pd.DataFrame(names | dict(zip(covariates, np.exp(logs).T, strict=True))), code, logs
