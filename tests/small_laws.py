"""Small laws with any of the options, and scores drawn from them: for derivatives and for second computations."""

import numpy as np

from latentscale.components.beta_law import Beta
from latentscale.components.response import simulate_scores
from latentscale.parameters.structure import Structure


def random_structure(rng, sizes, link=False, variance=1.0, precision=(10.0, 40.0), llm_sd=None):
    """Parameters in general position.

    Parameters
    ----------
    rng : Generator
    sizes : (int, int, int, int)
        Number of covariates, of benchmarks, of skills, and of covariates with random slopes.
    link : bool
        Whether links are bent.
    variance : float
        Of every skill; covariances are 0.3.
    precision : (float, float)
        Bounds.
    llm_sd : float, optional
        Size of the skills of LLMs' own.
    """
    p, j, k, r = sizes
    own = {} if llm_sd is None else {"llm_sd": np.array([llm_sd])}
    return Structure(
        rng.uniform(0.3, 1.0, (j, k)), rng.uniform(-0.5, 0.5, j), rng.uniform(0.1, 0.5, (p, k)),
        np.where(np.eye(k) == 1, variance, 0.3), rng.uniform(*precision, j), np.full(j, 0.05), np.full(j, 0.97),
        scales={"slope_sd": rng.uniform(0.3, 0.6, (r, k)), **own},
        link=0.5 * rng.standard_normal((j, 6 if link else 0)),
    )  # fmt: skip


def draw(rng, structure, family, x, outliers=0.0):
    """Draw scores of LLMs with covariates ``x``, a tenth of them missing.

    Returns
    -------
    law, y, state, random : Beta, array (n, J), array (n, J) of int8, array (n, R)
        What ``Cells.from_tables`` takes; ``random`` are the first R covariates, centred.
    """
    k, slope_sd = len(structure.skill_cov), structure.scales["slope_sd"]
    random = x[:, : len(slope_sd)] - x[:, : len(slope_sd)].mean(axis=0)
    n_families = family.max() + 1
    theta = rng.multivariate_normal(np.zeros(k), structure.skill_cov, n_families)[family] + x @ structure.slopes
    if "llm_sd" in structure.scales:
        own = rng.multivariate_normal(np.zeros(k), structure.skill_cov, len(family))
        theta += structure.scales["llm_sd"] * own
    z = rng.standard_normal((n_families, len(slope_sd), k))
    theta += np.einsum("nr,rk,nrk->nk", random, slope_sd, z[family])
    law = Beta(outliers)
    y = simulate_scores(law, rng, structure, theta @ structure.loadings.T + structure.intercepts)
    return law, y, np.where(rng.random(y.shape) < 0.1, -1, 0).astype(np.int8), random
