"""Residuals of scores, draws from the posterior of family effects, and tests on residuals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from ..checks import check_one_of, check_seed, check_whole
from ..components.cells import Cells
from ..components.curve import Curve
from ..components.levels import effect_loadings, levels_of, too_many_for_nodes, ungrouped
from ..components.linear_predictor import fixed_part
from ..components.response import cell_parameters
from ..errors import DataError
from ..likelihood.marginal import adapted_nodes, marginal
from ..likelihood.modes import posterior_modes
from ..likelihood.rules import Rule
from ..numerics.nodes import StandardNodes
from ..parameters.structure import Structure
from .importance_sampling import effect_draws
from .posterior import family_posterior

KINDS = ("quantile", "pearson", "response")
# Draws come in rounds, each of which resamples ROUND_DRAWS of PROPOSALS new proposals. So memory stays bounded, there
# are four proposals for each draw, and the first draws are the same however many are asked for.
PROPOSALS = 4096
ROUND_DRAWS = 1024
PROPOSAL_DF = 5.0
_MOST_SHAPIRO = 5000  # for more values p-values of Shapiro and Wilk's test are not reliable


@dataclass(frozen=True)
class CellResiduals:
    """Residuals of the observed scores, in the order of ``Cells``.

    Attributes
    ----------
    values : array (C,)
    fitted : array (C,)
        Mean scores that the residuals are measured against, in (0, 1).
    """

    values: np.ndarray
    fitted: np.ndarray


# --- draws from the posterior ------------------------------------------------------------------------------------


def posterior_draws(structure: Structure, cells: Cells, size: int, seed: int = 0) -> np.ndarray:
    """Return draws of family effects from p(alpha_l | y_l), by sampling importance resampling (Rubin 1988).

    Proposals are from a multivariate t distribution with ``PROPOSAL_DF`` degrees of freedom at each family's mode, with
    the curvature there. Its tails are heavier than those of the posterior, which are at most those of N(0, Sigma), so
    that importance weights are bounded. Of every 4,096 proposals 1,024 are drawn with replacement, in proportion to
    their weights.

    Parameters
    ----------
    structure : Structure
    cells : Cells
        With covariates in the same units as ``structure``.
    size : int
        Draws of each family, at least 1.
    seed : int
        Family l uses the l-th child of ``SeedSequence(seed)``: its draws depend on its own scores only, and draws
        m = 1, ..., n are the same for every ``size`` >= n.

    Returns
    -------
    array (L, size, D)
        Effects of families (``components.levels``).

    Raises
    ------
    DataError
        If ``size`` or ``seed`` is not a whole number, or too small.
    """
    check_whole("size", size, 1)
    rngs = [np.random.default_rng(child) for child in _children(seed, cells.n_families)]
    modes = posterior_modes(structure, cells)
    n_effects = modes.alpha.shape[1]
    draws = np.empty((cells.n_families, int(size), n_effects))
    for first in range(0, int(size), ROUND_DRAWS):
        proposals, uniforms = zip(*[_proposals(rng, n_effects) for rng in rngs], strict=True)
        z = np.stack(proposals)
        # log-weight of a t proposal up to its constant, which cancels where weights are normalised
        log_weight = 0.5 * (PROPOSAL_DF + n_effects) * np.log1p(np.sum(z * z, axis=2) / PROPOSAL_DF)
        nodes = adapted_nodes(StandardNodes(z, log_weight), modes)
        cumulated = np.cumsum(marginal(structure, cells, nodes, order=0).posterior, axis=1)
        last = min(first + ROUND_DRAWS, int(size))
        for family, (sums, uniform) in enumerate(zip(cumulated, uniforms, strict=True)):
            chosen = np.searchsorted(sums, uniform[: last - first] * sums[-1], side="right")
            draws[family, first:last] = nodes.alpha[family, np.minimum(chosen, PROPOSALS - 1)]
    return draws


def _proposals(rng: np.random.Generator, n_effects: int) -> tuple[np.ndarray, np.ndarray]:
    """Return standard t proposals (PROPOSALS, D), and the uniforms (ROUND_DRAWS,) that choose among them."""
    z = rng.standard_normal((PROPOSALS, n_effects))
    z *= np.sqrt(PROPOSAL_DF / rng.chisquare(PROPOSAL_DF, PROPOSALS))[:, None]
    return z, rng.random(ROUND_DRAWS)


def _children(seed: int, families: int) -> list[np.random.SeedSequence]:
    """Return the seeds of the families, one child of ``seed`` for each."""
    return np.random.SeedSequence(check_seed(seed)).spawn(families)


# --- residuals ---------------------------------------------------------------------------------------------------


def residuals(
    structure: Structure,
    cells: Cells,
    rule: Rule,
    llms: Sequence[str] | pd.Index,
    benchmarks: Sequence[str] | pd.Index,
    kind: str = "quantile",
    seed: int = 0,
) -> pd.DataFrame:
    """Return residuals of all observed scores.

    - ``"response"``: y_ij - E[Y_ij | data], in units of the score.
    - ``"pearson"``: the same divided by sd(Y_ij | data), where Var(Y | data) = Var(E[Y | alpha] | data)
      + E[Var(Y | alpha) | data] for the posterior of the family effects.
    - ``"quantile"``: randomised quantile residuals (Dunn and Smyth 1996), Phi^-1(F(y_ij | alpha*_l)), with one
      draw alpha*_l per family from the posterior p(alpha_l | y_l).

    Quantile residuals use a draw for this reason. If y comes from the model, (alpha*, y) has the joint distribution of
    effects and scores, as p(y) p(alpha* | y) = p(alpha*) p(y | alpha*). Given alpha* all scores are then independent
    with distribution functions F( . | alpha*), so that at the true parameters the residuals are exactly independent
    standard normals. The posterior mean, by contrast, is pulled towards the very scores that it is compared with:
    residuals about it are too small, and those of one family are correlated. Response and Pearson residuals are of that
    kind; they show sizes and are not for tests. At estimated parameters quantile residuals are standard normal up to
    the error of the estimates. Another ``seed`` gives another draw: a pattern that does not come back is chance.

    Under ``boundary="censor"`` a boundary score is only known to lie at or beyond the edge e. Its quantile residual is
    that of a uniform draw from the tail probability, below F(e | alpha*) or above F(1 - e | alpha*); its other
    residuals take the score to be at the edge. Under ``"squeeze"`` scores are those after squeezing, as in the
    likelihood.

    Parameters
    ----------
    structure : Structure
    cells : Cells
        With covariates in the same units as ``structure``.
    rule : Rule
        Integration rule of the fit; response and Pearson residuals average over its nodes, as ``predict`` does.
    llms, benchmarks : sequences of n and J labels
    kind : {"quantile", "pearson", "response"}
    seed : int
        For quantile residuals. Family l uses the l-th child, so that families do not depend on each other.

    Returns
    -------
    DataFrame (n, J)
        NaN where a score is missing.

    Raises
    ------
    DataError
        For an unknown kind or a seed that is no whole number.
    """
    by_cell = cell_residuals(structure, cells, rule, kind, seed)
    return _as_frame(by_cell.values, cells, llms, benchmarks)


def fitted_scores(
    structure: Structure,
    cells: Cells,
    rule: Rule,
    llms: Sequence[str] | pd.Index,
    benchmarks: Sequence[str] | pd.Index,
    kind: str = "quantile",
    seed: int = 0,
) -> pd.DataFrame:
    """Return the mean scores that residuals of a kind are measured against: DataFrame (n, J), NaN for missing scores.

    For quantile residuals these are E[Y_ij | alpha*_l] at the family's draw alpha*_l of the same ``seed``, of which the
    residuals are independent if the model holds. They are not independent of posterior means, which depend on y_ij
    itself. For the other kinds fitted scores are E[Y_ij | data].

    Parameters
    ----------
    structure, cells, rule, llms, benchmarks, kind, seed
        As for ``residuals``.
    """
    by_cell = cell_residuals(structure, cells, rule, kind, seed)
    return _as_frame(by_cell.fitted, cells, llms, benchmarks)


def cell_residuals(
    structure: Structure, cells: Cells, rule: Rule, kind: str = "quantile", seed: int = 0
) -> CellResiduals:
    """Return ``residuals`` and ``fitted_scores`` of every cell, computed in one pass."""
    check_one_of("kind", kind, KINDS)
    if kind == "quantile":
        return _quantile(structure, cells, seed)
    mean, variance = _moments(structure, cells, rule)
    raw = cells.scores - mean
    return CellResiduals(raw / np.sqrt(variance) if kind == "pearson" else raw, mean)


def _as_frame(
    values: np.ndarray, cells: Cells, llms: Sequence[str] | pd.Index, benchmarks: Sequence[str] | pd.Index
) -> pd.DataFrame:
    """Return values (C,) of the cells as a table (n, J), NaN where a score is missing."""
    table = np.full((len(cells.design), cells.n_items), np.nan)
    table[cells.row, cells.item] = values
    return pd.DataFrame(table, index=pd.Index(llms), columns=list(benchmarks))


def _locations(structure: Structure, eta: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mu and 1 - mu, both without cancellation, at eta (C, M) for benchmarks ``item`` (C,)."""
    return Curve.of(structure.lower, structure.upper, structure.link, item).mean(eta)


def _moments(structure: Structure, cells: Cells, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Return E[Y | data] and Var(Y | data) of every cell, (C,), computed on the nodes of the posterior."""
    posterior = family_posterior(structure, cells, rule)
    structure = ungrouped(structure)
    outer, *inner = levels_of(structure)
    loadings = effect_loadings(structure, cells, [outer])
    llm_loadings = effect_loadings(structure, cells, inner) if inner else np.zeros((cells.n_cells, 0))
    _, base = fixed_part(structure, cells)
    phis = cell_parameters(structure, cells).phi[:, 0]
    mean, within, between = np.empty((3, cells.n_cells))
    families = cells.units("family")
    bounds = np.append(families.starts, cells.n_cells)
    for unit, family in enumerate(cells.codes("family")):
        where = slice(bounds[unit], bounds[unit + 1])
        item, weight = cells.item[where], posterior.weight[family]
        eta = base[where, None] + loadings[where] @ posterior.alpha[family].T
        for cell in range(where.start, where.stop) if inner else ():
            eta[cell - where.start] += posterior.by_llm[int(cells.row[cell])] @ llm_loadings[cell]
        (mu, nu), phi = _locations(structure, eta, item), phis[where, None]
        expected = cells.law.mean(mu, phi)
        mean[where] = expected @ weight
        between[where] = (expected - mean[where, None]) ** 2 @ weight
        within[where] = cells.law.variance(mu, nu, phi) @ weight
    return mean, between + within


def _quantile(structure: Structure, cells: Cells, seed: int) -> CellResiduals:
    """Return quantile residuals and their fitted scores."""
    _, base = fixed_part(structure, cells)
    eta = base + _drawn_effects(structure, cells, seed)
    mu, nu = (values[:, 0] for values in _locations(structure, eta[:, None], cells.item))
    phi = cell_parameters(structure, cells).phi[:, 0]
    below, above = cells.law.log_tails(mu, nu, phi, cells.data)
    values = np.where(below <= above, special.ndtri_exp(below), -special.ndtri_exp(above))
    low, high = cells.state == 1, cells.state == 2
    if low.any() or high.any():
        log_u = np.log(_censoring_uniforms(cells, seed))
        values[low] = special.ndtri_exp(below[low] + log_u[low])
        values[high] = -special.ndtri_exp(above[high] + log_u[high])
    return CellResiduals(values, cells.law.mean(mu, phi))


def _drawn_effects(structure: Structure, cells: Cells, seed: int) -> np.ndarray:
    """Return what one posterior draw of all effects adds to the linear predictor of every cell, (C,)."""
    if not too_many_for_nodes(levels_of(structure)):
        loadings = effect_loadings(structure, cells)
        alpha = posterior_draws(structure, cells, 1, seed)[:, 0]
        return np.einsum("cd,cd->c", loadings, alpha[cells.family])
    units, codes = cells.units("family"), cells.codes("family")
    rngs = [np.random.default_rng(child) for child in _children(seed, cells.n_families)]
    families = effect_draws(structure, cells, range(len(units)), ROUND_DRAWS, seed)
    outer, *inner = levels_of(ungrouped(structure))
    alpha, chosen = np.zeros((len(units), outer.size)), np.full(cells.n_families, -1)
    llm_effects = np.zeros((len(cells.design), sum(level.size for level in inner)))
    for code, group in zip(codes, units.family, strict=True):
        family = families[code]
        if chosen[group] < 0:  # one draw of a group is one draw of all its families
            chosen[group] = family.resampled(1, rngs[group])[0]
        alpha[code] = family.alpha[chosen[group]]
        for row, draws in family.by_llm.items():
            llm_effects[row] = draws[chosen[group]]
    structure = ungrouped(structure)
    added = np.einsum("cd,cd->c", effect_loadings(structure, cells, [outer]), alpha[codes[units.of_cell]])
    if inner:
        added = added + np.einsum("ck,ck->c", effect_loadings(structure, cells, inner), llm_effects[cells.row])
    return added


def _censoring_uniforms(cells: Cells, seed: int) -> np.ndarray:
    """Return one uniform number for each cell.

    Generators come from grandchildren of the seed, so that the numbers are independent of the family's posterior draw.
    """
    uniforms = np.empty(cells.n_cells)
    for family, child in enumerate(_children(seed, cells.n_families)):
        where = slice(cells.bounds[family], cells.bounds[family + 1])
        rng = np.random.default_rng(child.spawn(1)[0])
        uniforms[where] = rng.random(where.stop - where.start)
    return np.clip(uniforms, 2.0**-54, 1.0 - 2.0**-53)


# --- tests -------------------------------------------------------------------------------------------------------


def residual_tests(residuals: pd.DataFrame, fitted: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return moments and tests of residuals, for each benchmark and for all of them.

    They are meant for quantile residuals, which are independent standard normals if the model holds. ``p_normal`` is
    the test of Shapiro and Wilk, which has power against most departures in shape and leaves location and scale free.
    It must, since every benchmark has an intercept and a precision that were fitted to the same scores; against N(0, 1)
    itself a test of Kolmogorov or of Anderson and Darling would hardly ever reject. (Beyond 5,000 values, where its
    p-values are not reliable, it is D'Agostino and Pearson's test of skewness and kurtosis.) Location and scale are
    described by ``mean`` and ``sd``; ``p_mean`` is conservative for the same reason.

    Dependence on fitted values is measured by Spearman's rank correlations, which are robust to outliers and invariant
    under monotone transformations of the scores: ``trend`` with the residuals (a wrong link or asymptote), ``spread``
    with their absolute values (a precision that is not constant). With J benchmarks one p-value in twenty is below 0.05
    by chance.

    Parameters
    ----------
    residuals : DataFrame (n, J)
        Of ``residuals``; NaN where missing.
    fitted : DataFrame (n, J), optional
        Of ``fitted_scores`` with the same kind and seed; without it trend and spread are NaN.

    Returns
    -------
    DataFrame (J + 1, 12)
        Rows: benchmarks and ``(all)``. Columns: n, mean, sd, skewness, kurtosis (0 for a normal law), z_mean, p_mean,
        p_normal, trend, p_trend, spread, p_spread; NaN where there are too few values.

    Raises
    ------
    DataError
        If the two tables do not have the same rows and columns.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> normal = pd.DataFrame(rng.standard_normal((200, 2)), columns=["bbh", "ifeval"])
    >>> residual_tests(normal)[["n", "mean", "sd"]].round(2)
              n  mean    sd
    bbh     200 -0.10  0.98
    ifeval  200  0.02  1.01
    (all)   400 -0.04  1.00
    """
    values = residuals.to_numpy(dtype=float)
    against = np.full_like(values, np.nan)
    if fitted is not None:
        if not (residuals.index.equals(fitted.index) and residuals.columns.equals(fitted.columns)):
            raise DataError("residuals and fitted must have the same rows and columns in the same order.")
        against = fitted.to_numpy(dtype=float)
    rows = [_one_test(column, beside) for column, beside in zip(values.T, against.T, strict=True)]
    rows.append(_one_test(values.ravel(), against.ravel()))
    return pd.DataFrame(rows, index=[*residuals.columns, "(all)"])


def _one_test(values: np.ndarray, against: np.ndarray) -> dict[str, float]:
    """Return the row of ``residual_tests`` of some residuals and the fitted scores that go with them."""
    seen = np.isfinite(values)
    values, against = values[seen], against[seen]
    n = len(values)
    row = {"n": n, "mean": np.nan, "sd": np.nan, "skewness": np.nan, "kurtosis": np.nan, "z_mean": np.nan}
    row |= dict.fromkeys(["p_mean", "p_normal", "trend", "p_trend", "spread", "p_spread"], np.nan)
    if n:
        row["mean"] = values.mean()
    if n >= 4 and np.ptp(values) > 0.0:
        row["sd"] = values.std(ddof=1)
        row["skewness"], row["kurtosis"] = float(stats.skew(values)), float(stats.kurtosis(values))
        row["z_mean"] = row["mean"] * np.sqrt(n) / row["sd"]
        row["p_mean"] = 2.0 * stats.norm.sf(abs(row["z_mean"]))
        test = stats.shapiro if n <= _MOST_SHAPIRO else stats.normaltest
        row["p_normal"] = float(test(values).pvalue)
        if np.isfinite(against).all() and np.ptp(against) > 0.0:
            row["trend"], row["p_trend"] = map(float, stats.spearmanr(values, against))
            if np.ptp(np.abs(values)) > 0.0:
                row["spread"], row["p_spread"] = map(float, stats.spearmanr(np.abs(values), against))
    return row
