"""Posteriors of family effects against a long run of the no-U-turn sampler (NUTS), parameters fixed at the estimate.

Three families of the shipped table under the README's four anchored skills: one with a single LLM, one of the largest,
and an instruction-tuned one that is partly observed. "quadrature" is a grid of 11 nodes a dimension (14,641),
"latentscale" the weighted draws that predictions are made of, 65,536 a family. NUTS samples the same posterior, its
density written anew in JAX in double precision: 4 chains of 20,000 draws after 2,000 of warm-up. Its Monte Carlo
standard errors (mcse) are from effective sample sizes of the influence functions of the quantities.

Command: python benchmarks/nuts.py      (writes benchmarks/nuts.csv; three minutes)
NumPyro is not among latentscale's requirements: pip install numpyro "jax[cpu]" into an environment of its own that has
latentscale too.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from common import leaderboard_model, machine

from latentscale.likelihood.rules import Rule
from latentscale.prediction.importance_sampling import effect_draws
from latentscale.prediction.posterior import family_posterior

try:
    import jax
    import jax.numpy as jnp
    import numpyro
    from jax.scipy.special import gammaln
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
    from numpyro.infer import MCMC, NUTS
except ImportError as error:
    sys.exit(f'{error}. This benchmark needs NumPyro: pip install numpyro "jax[cpu]" into an environment of its own.')

FAMILIES = {"stablelm-2": "single LLM", "opt": "many LLMs", "recurrentgemma-it": "instruction-tuned, partly observed"}
POINTS, DRAWS = 11, 2**16
CHAINS, WARM_UP, LENGTH = 4, 2000, 20_000


def log_posterior(fit, family):
    """Log density of z, alpha = C z with C C' = Sigma, of one family, as a function for JAX."""
    model, structure, cells = fit.model, fit.structure, fit.model.user_cells
    rows = slice(*np.searchsorted(cells.family, [family, family + 1]))
    if cells.state[rows].any() or structure.link.any():
        raise ValueError("the density here is that of uncensored scores under the logistic link")
    item, llm = cells.item[rows], cells.row[rows]
    loadings = jnp.asarray(structure.loadings[item] @ np.linalg.cholesky(structure.skill_cov))
    shift = model.design.x[llm] @ structure.slopes
    base = jnp.asarray(np.sum(shift * structure.loadings[item], axis=1) + structure.intercepts[item])
    low, high, phi = (jnp.asarray(part[item]) for part in (structure.lower, structure.upper, structure.precision))
    log_y, log1m_y = (jnp.asarray(column[rows]) for column in cells.data)

    def density(z):
        mu = low + (high - low) * jax.nn.sigmoid(base + loadings @ z)
        a, b = mu * phi, (1.0 - mu) * phi
        scores = gammaln(phi) - gammaln(a) - gammaln(b) + (a - 1.0) * log_y + (b - 1.0) * log1m_y
        return jnp.sum(scores) - 0.5 * jnp.sum(z * z)

    return density


def sample(fit, family, seed):
    """alpha by NUTS, array (chains, draws, K)."""
    density = log_posterior(fit, family)
    kernel = NUTS(potential_fn=lambda z: -density(z), target_accept_prob=0.9)
    run = MCMC(
        kernel, num_warmup=WARM_UP, num_samples=LENGTH, num_chains=CHAINS, chain_method="vectorized", progress_bar=False
    )
    k = len(fit.model.skills)
    run.run(jax.random.PRNGKey(seed), init_params=jnp.zeros((CHAINS, k)), extra_fields=("diverging",))
    if bool(run.get_extra_fields()["diverging"].any()):
        raise RuntimeError("NUTS diverged; its draws are no reference")
    z = np.asarray(run.get_samples(group_by_chain=True))
    return z @ np.linalg.cholesky(fit.structure.skill_cov).T


def weighted_moments(alpha, weight, skills):
    """Means, standard deviations and correlations by name, of draws (M, K) with weights (M,)."""
    mean = weight @ alpha
    cov = (weight[:, None] * (alpha - mean)).T @ (alpha - mean)
    sd = np.sqrt(np.diag(cov))
    corr = cov / np.outer(sd, sd)
    return dict(zip(names(skills), [*mean, *sd, *corr[np.tril_indices(len(sd), -1)]], strict=True))


def names(skills):
    pairs = zip(*np.tril_indices(len(skills), -1), strict=True)
    return [
        *(f"mean[{skill}]" for skill in skills),
        *(f"sd[{skill}]" for skill in skills),
        *(f"corr[{skills[column]},{skills[row]}]" for row, column in pairs),
    ]


def errors(alpha, skills):
    """Monte Carlo standard errors of the same quantities, of draws (chains, length, K)."""
    mean, sd = alpha.mean(axis=(0, 1)), alpha.std(axis=(0, 1))
    z = (alpha - mean) / sd
    influence = [*np.moveaxis(alpha - mean, 2, 0), *np.moveaxis(0.5 * sd * (z * z - 1.0), 2, 0)]
    for row, column in zip(*np.tril_indices(len(skills), -1), strict=True):
        r = np.mean(z[..., row] * z[..., column])
        influence.append(z[..., row] * z[..., column] - 0.5 * r * (z[..., row] ** 2 + z[..., column] ** 2))
    found = [one.std() / np.sqrt(float(effective_sample_size(one))) for one in influence]
    return dict(zip(names(skills), found, strict=True))


def main():
    numpyro.enable_x64()
    model = leaderboard_model()
    fit = model.fit(integration="quadrature", points=7, starts=1)
    families, skills, cells = list(model.families), model.skills, model.user_cells
    grid = family_posterior(fit.structure, cells, Rule("quadrature", len(skills), POINTS))
    drawn = effect_draws(fit.structure, cells, model.families, DRAWS, seed=1)
    rows = []
    for seed, family in enumerate(FAMILIES):
        code = families.index(family)
        chains = sample(fit, code, seed)
        flat = chains.reshape(-1, len(skills))
        rhat = max(float(split_gelman_rubin(chains[..., k])) for k in range(len(skills)))
        nuts = weighted_moments(flat, np.full(len(flat), 1.0 / len(flat)), skills)
        se = errors(chains, skills)
        here = drawn[code]
        ours = weighted_moments(here.alpha, here.weight, skills)
        exact = weighted_moments(grid.alpha[code], grid.weight[code], skills)
        for name in names(skills):
            rows.append(
                {
                    "family": family,
                    "quantity": name,
                    "latentscale": round(ours[name], 5),
                    "quadrature": round(exact[name], 5),
                    "nuts": round(nuts[name], 5),
                    "nuts_mcse": round(se[name], 5),
                    "latentscale_minus_nuts_in_mcse": round((ours[name] - nuts[name]) / se[name], 2),
                    "quadrature_minus_nuts_in_mcse": round((exact[name] - nuts[name]) / se[name], 2),
                }
            )
        print(f"{family}: {FAMILIES[family]}, split R-hat {rhat:.5f}, ESS of our draws {here.ess:.0f}", flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(Path(__file__).with_name("nuts.csv"), index=False)
    print(table.to_string(index=False))
    for column in table.columns[-2:]:
        size = table[column].abs()
        print(f"{column}: largest {size.max():.2f}, root mean square {np.sqrt(np.mean(size**2)):.2f}")
    print(machine())


if __name__ == "__main__":
    main()
