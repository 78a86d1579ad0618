"""The default fit beside what one would run instead: the no-U-turn sampler (NUTS) on the same model.

The README's model, four anchored skills on the shipped table with all family effects, is written anew in NumPyro in
double precision, effects not centred and priors wide: normal of standard deviation 5 for loadings, intercepts and
slopes (covariates standardised), 2 for log precisions, LKJ(1) for correlations. The chains start at our estimate, which
spares them the search: skills can change sign together with their loadings. Seconds count all that one waits for,
compilation too. Prints both times, effective sample sizes, and how posterior means and standard deviations compare with
estimates and standard errors; differences are those of priors and of 65 families as well as Monte Carlo's.

Command: python benchmarks/nuts_fit.py      (writes benchmarks/nuts_fit.csv and benchmarks/nuts_fit_times.csv)
NumPyro is not among latentscale's requirements: pip install numpyro "jax[cpu]" into an environment of its own that has
latentscale too.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import leaderboard_model, machine

try:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from jax.scipy.special import gammaln
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
    from numpyro.infer import MCMC, NUTS, init_to_value
except ImportError as error:
    sys.exit(f'{error}. This benchmark needs NumPyro: pip install numpyro "jax[cpu]" into an environment of its own.')

CHAINS, WARM_UP, LENGTH = 2, 500, 500
WIDE, LOG_PRECISION, ITS_SD = 5.0, np.log(50.0), 2.0


def world(model, structure):
    """Data, fixed loadings and starting values for NumPyro's model, from a structure in internal covariates."""
    cells = model.internal_cells
    if cells.state.any() or structure.link.any() or np.any(structure.upper != 1.0):
        raise ValueError("the density here is of uncensored scores, under the logistic link below an asymptote of 1")
    data = {
        "family": cells.family, "item": cells.item, "x": cells.design[cells.row], "chance": structure.lower[cells.item],
        "log_y": cells.data[0], "log1m_y": cells.data[1],
    }  # fmt: skip
    fixed = model.pattern.fixed
    start = {
        "loadings": structure.loadings[np.isnan(fixed)], "intercepts": structure.intercepts, "slopes": structure.slopes,
        "log_precision": np.log(structure.precision), "root": np.linalg.cholesky(structure.skill_cov),
        "z": np.zeros((cells.n_families, fixed.shape[1])),
    }  # fmt: skip
    return {name: jnp.asarray(values) for name, values in data.items()}, fixed, start


def scores_model(data, fixed, start):
    """The model as a NumPyro function without arguments."""
    j, k = fixed.shape
    free = np.nonzero(np.isnan(fixed))
    known = jnp.asarray(np.nan_to_num(fixed))

    def model():
        loadings = known.at[free].set(numpyro.sample("loadings", dist.Normal(0.0, WIDE).expand([len(free[0])])))
        intercepts = numpyro.sample("intercepts", dist.Normal(0.0, WIDE).expand([j]))
        slopes = numpyro.sample("slopes", dist.Normal(0.0, WIDE).expand(start["slopes"].shape))
        log_phi = numpyro.sample("log_precision", dist.Normal(LOG_PRECISION, ITS_SD).expand([j]))
        root = numpyro.sample("root", dist.LKJCholesky(k, 1.0))
        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand(start["z"].shape))
        item = data["item"]
        theta = (z @ root.T)[data["family"]] + data["x"] @ slopes
        eta = intercepts[item] + jnp.sum(loadings[item] * theta, axis=1)
        mu = data["chance"] + (1.0 - data["chance"]) * jax.nn.sigmoid(eta)
        phi = jnp.exp(log_phi)[item]
        a, b = mu * phi, (1.0 - mu) * phi
        density = gammaln(phi) - gammaln(a) - gammaln(b) + (a - 1.0) * data["log_y"] + (b - 1.0) * data["log1m_y"]
        numpyro.factor("scores", jnp.sum(density))

    return model


def sampled(data, fixed, start):
    """Draws by block (chains, draws, ...), seconds, and leapfrog steps."""
    began = time.perf_counter()
    kernel = NUTS(scores_model(data, fixed, start), init_strategy=init_to_value(values=start), target_accept_prob=0.9)
    run = MCMC(
        kernel, num_warmup=WARM_UP, num_samples=LENGTH, num_chains=CHAINS, chain_method="sequential", progress_bar=False
    )
    run.run(jax.random.PRNGKey(0), extra_fields=("diverging", "num_steps"))
    fields = run.get_extra_fields()
    draws = {name: np.asarray(values) for name, values in run.get_samples(group_by_chain=True).items()}
    seconds = time.perf_counter() - began
    print(f"divergent draws: {int(fields['diverging'].sum())}", flush=True)
    return draws, seconds, int(fields["num_steps"].sum())


def compared(model, fit, fixed, draws):
    """One row a parameter: estimate and standard error, posterior mean and standard deviation, effective draws."""
    # variances are one, so that the factor's rows give correlations; slopes of standardised covariates are left out
    corr = np.einsum("cnij,cnkj->cnik", draws["root"], draws["root"])
    k = len(model.skills)
    blocks = {}
    for number, (row, column) in enumerate(zip(*np.nonzero(np.isnan(fixed)), strict=True)):
        blocks[f"loading[{model.benchmarks[row]},{model.skills[column]}]"] = draws["loadings"][..., number]
    for number, benchmark in enumerate(model.benchmarks):
        blocks[f"precision[{benchmark}]"] = np.exp(draws["log_precision"][..., number])
    for row, column in zip(*np.tril_indices(k, -1), strict=True):
        blocks[f"corr[{model.skills[column]},{model.skills[row]}]"] = corr[..., row, column]
    rows = [
        {
            "parameter": name, "estimate": fit.params[name], "std_err": fit.bse[name], "posterior_mean": values.mean(),
            "posterior_sd": values.std(), "effective_draws": float(effective_sample_size(values)),
            "r_hat": float(split_gelman_rubin(values)),
        }
        for name, values in blocks.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).round(5)


def main():
    numpyro.enable_x64()
    model = leaderboard_model()
    model.fit(integration="laplace", starts=1)  # compiled loops, imports
    began = time.perf_counter()
    fit = model.fit()
    ours = time.perf_counter() - began
    data, fixed, start = world(model, model.recoding.internal(fit.structure))
    draws, seconds, steps = sampled(data, fixed, start)
    table = compared(model, fit, fixed, draws)
    table.to_csv(Path(__file__).with_name("nuts_fit.csv"), index=False)
    least = table["effective_draws"].min()
    times = {
        "default_fit_s": ours, "nuts_s": seconds, "ratio": seconds / ours, "chains": CHAINS, "warm_up": WARM_UP,
        "draws": CHAINS * LENGTH, "leapfrog_steps": steps, "least_effective_draws": least,
        "nuts_s_for_400_effective": seconds * 400.0 / least, "largest_r_hat": table["r_hat"].max(),
    }  # fmt: skip
    pd.DataFrame([times | {"machine": machine()}]).round(3).to_csv(
        Path(__file__).with_name("nuts_fit_times.csv"), index=False
    )
    shift = (table["posterior_mean"] - table["estimate"]) / table["std_err"]
    ratio = table["posterior_sd"] / table["std_err"]
    print(pd.Series(times).round(2).to_string())
    print(f"posterior mean - estimate, in standard errors: {shift.min():.2f} to {shift.max():.2f}")
    print(f"posterior sd / standard error: {ratio.min():.2f} to {ratio.max():.2f}, median {ratio.median():.2f}")
    print(machine())


if __name__ == "__main__":
    main()
