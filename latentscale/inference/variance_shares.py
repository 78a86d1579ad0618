"""Shares of variance of each benchmark's linear predictor: covariates, families, groups, LLMs and noise.

The variance of eta_ij over LLMs of unseen families is a sum: what covariates add, Var(lambda_j' B' x); families'
efficiency, lambda_j' Sigma lambda_j (of which a share belongs to groups where families are nested); slopes that vary;
families' particularities, tau_j^2; residual skills of LLMs; and the noise of a score, which on the scale of eta is its
variance given mu divided by (d mu / d eta)^2, at the posterior means of the LLMs' skills.
"""


from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..components.curve import Curve
from ..components.levels import levels_of, ungrouped
from ..components.response import precisions
from ..parameters.kinds import GROUP_SHARE

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults


def variance_shares(fit: LatentSkillResults) -> pd.DataFrame:
    """Return shares of variance by benchmark; see ``LatentSkillResults.variance_shares``."""
    model, whole = fit.model, fit.structure
    structure = ungrouped(whole)
    lambdas, benchmarks = structure.loadings, list(model.benchmarks)
    parts = {"covariates": np.var(model.design.x @ structure.slopes @ lambdas.T, axis=0)}
    family, *inner = levels_of(structure)
    of_skills = np.einsum("jk,kl,jl->j", lambdas, structure.skill_cov, lambdas)
    rho = whole.scales[GROUP_SHARE.name][0] if model.nested else 0.0
    if model.nested:
        parts["groups"] = rho * of_skills
    parts["family skills"] = (1.0 - rho) * of_skills
    slopes = [term for term in family.terms if term.covariate is not None]
    if slopes:
        second = np.mean(model.random_design**2, axis=0)
        parts["family slopes"] = sum(
            second[term.covariate] * (lambdas**2 @ np.square(term.scale(structure))) for term in slopes
        )
    for term in family.terms:
        if term.particular:
            parts["family particularities"] = np.square(term.scale(structure))
    items, nothing = np.arange(len(benchmarks)), np.zeros((len(benchmarks), len(model.random_terms)))
    for level in inner:
        loadings = level.loadings(structure, items, nothing)
        parts["LLMs"] = np.einsum("jd,de,je->j", loadings, level.covariance(structure), loadings)
    parts["noise"] = _noise(fit)
    table = pd.DataFrame(parts, index=pd.Index(benchmarks, name="benchmark"))
    total = table.sum(axis=1)
    shares = table.div(total, axis=0)
    between = [name for name in ("groups", "family skills", "family slopes", "family particularities") if name in table]
    shares["icc family"] = table[between].sum(axis=1) / table.drop(columns="covariates").sum(axis=1)
    shares["total"] = total
    return shares


def _noise(fit: LatentSkillResults) -> np.ndarray:
    """Return the mean variance of scores about their expectation on the scale of eta, (J,)."""
    model, structure = fit.model, fit.structure
    eta = fit.skills().to_numpy() @ structure.loadings.T + structure.intercepts
    phi = np.broadcast_to(precisions(structure, model.dispersion), eta.shape)
    out, step = np.empty(eta.shape[1]), 1e-4
    for j in range(eta.shape[1]):
        item = np.full(len(eta), j)
        curve = Curve.of(structure.lower, structure.upper, structure.link, item)
        mu, nu = (values[:, 0] for values in curve.mean(eta[:, [j]]))
        above, below = (curve.mean(eta[:, [j]] + shift)[0][:, 0] for shift in (step, -step))
        steep = (above - below) / (2.0 * step)
        seen = model.prepared.state[:, j] >= 0
        variance = model.score_law.variance(mu, nu, phi[:, j]) / steep**2
        out[j] = np.median(variance[seen])
    return out
