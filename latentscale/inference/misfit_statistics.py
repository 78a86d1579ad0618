"""Statistics of misfit: how residuals of a model depend on one another and on covariates, where they should not.

Residuals are the normal quantiles of F(y_ij; mu_ij, phi_ij) at the modes of all random effects given the scores. Their
law is not exactly normal, and effects that were fitted to the same scores make them depend on one another, so that
every statistic is compared with those of tables that are simulated from the fit (``inference.goodness_of_fit``).

Each aspect gives its *parts*, one number for each pair of benchmarks, benchmark or covariate that it looks at. Parts
are standardised by their mean and standard deviation over simulated tables, and joined: the sum of their squares where
they speak against the model on both sides, and of the squares of positive ones where only large values do. Standardised
parts depend less on the parameters that tables are simulated from than raw ones do.
"""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import special

from ..components.cells import Cells
from ..components.curve import Curve
from ..components.levels import effect_loadings
from ..components.linear_predictor import fixed_part
from ..components.response import cell_parameters
from ..covariates import family_means
from ..likelihood.modes import Modes, posterior_modes
from ..parameters.structure import Structure

FEWEST = 8  # residuals below which a pair, a benchmark or a covariate is left out


@dataclass(frozen=True)
class Aspect:
    """One aspect of misfit.

    Attributes
    ----------
    name : str
        What depends on what.
    parts : dict of str to float
        By the label of what each part looks at.
    both_sides : bool
        Whether small parts speak against the model as large ones do.
    """

    name: str
    parts: dict[str, float]
    both_sides: bool = False


@dataclass(frozen=True)
class ResidualTable:
    """Residuals of LLMs by benchmarks with what they may depend on.

    Attributes
    ----------
    values : array (n, J)
        Residuals of mean zero and variance one on each benchmark; NaN where a score is missing.
    fitted : array (n, J)
        Fitted scores.
    benchmarks : tuple of J str
    family : int array (n,)
    covariates : dict of str to array (n,)
        Numbers of the LLMs by name.
    efficiency : dict of str to array (L,)
        Modes of the families' efficiency by skill, of mean zero and variance one.
    group : int array (L,) or None
        Group of each family, where the table has groups that the model does not know of.
    """

    values: np.ndarray
    fitted: np.ndarray
    benchmarks: tuple[str, ...]
    family: np.ndarray
    covariates: dict[str, np.ndarray]
    efficiency: dict[str, np.ndarray]
    group: np.ndarray | None = None


def mode_residuals(
    structure: Structure, cells: Cells, start: Modes | None = None
) -> tuple[np.ndarray, np.ndarray, Modes]:
    """Return residuals (C,) and fitted scores (C,) at the modes of all random effects, and the modes.

    A censored score stands in the middle of its tail.
    """
    modes = posterior_modes(structure, cells, start)
    _, base = fixed_part(structure, cells)
    eta = base + np.einsum("cd,cd->c", effect_loadings(structure, cells), modes.by_cell(cells))
    parameters = cell_parameters(structure, cells)
    mu, nu = (values[:, 0] for values in Curve.of(structure.lower, structure.upper, structure.link, cells.item).mean(
        eta[:, None]
    ))  # fmt: skip
    phi = parameters.phi[:, 0]
    below, above = cells.law.log_tails(mu, nu, phi, cells.data)
    half = np.log(0.5)
    below = np.where(cells.state == 1, below + half, below)
    above = np.where(cells.state == 2, above + half, above)
    upper = (above < below) & (cells.state != 1) | (cells.state == 2)
    values = np.where(upper, -special.ndtri_exp(above), special.ndtri_exp(below))
    return values, cells.law.mean(mu, phi), modes


def standardised(values: np.ndarray) -> np.ndarray:
    """Return columns (n, J) of mean zero and variance one over their finite entries."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)


def aspects(table: ResidualTable) -> list[Aspect]:
    """Return all aspects of a table of residuals."""
    out = [within_llm(table), within_family(table), varying_slopes(table), spread(table), shape(table)]
    return out if table.group is None else [*out, siblings(table, table.group)]


def within_llm(table: ResidualTable) -> Aspect:
    """Dependence of benchmarks within an LLM: sqrt(n) r of each pair, r the correlation of residuals (Yen's Q3)."""
    seen = np.isfinite(table.values)
    filled = np.where(seen, table.values, 0.0)
    counts = seen.T.astype(float) @ seen
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = filled.T @ filled / counts
    parts = {}
    for a, b in combinations(range(len(table.benchmarks)), 2):
        if counts[a, b] >= FEWEST:
            parts[f"{table.benchmarks[a]} and {table.benchmarks[b]}"] = correlation[a, b] * np.sqrt(counts[a, b])
    return Aspect("benchmarks within an LLM", parts, both_sides=True)


def within_family(table: ResidualTable) -> Aspect:
    """Likeness of the residuals of one benchmark within a family.

    The part of a benchmark is the mean product of two residuals of one family (an intraclass correlation), times the
    root of the number of such pairs.
    """
    parts = {}
    for name, column in zip(table.benchmarks, table.values.T, strict=True):
        products, pairs = _within(column, table.family)
        if pairs >= FEWEST:
            parts[name] = products / np.sqrt(pairs)
    return Aspect("one benchmark within a family", parts)


def _within(column: np.ndarray, group: np.ndarray) -> tuple[float, int]:
    """Return the sum over groups of products of two finite values of a group, and the number of such pairs."""
    seen = np.isfinite(column)
    values, codes = column[seen], group[seen]
    totals = np.bincount(codes, values)
    counts = np.bincount(codes)
    return float(0.5 * (np.sum(totals**2) - np.sum(values**2))), int(np.sum(counts * (counts - 1)) // 2)


def siblings(table: ResidualTable, group: np.ndarray) -> Aspect:
    """Likeness of families of one group in their efficiency.

    The part of a skill is the mean product of the efficiencies of two families of one group, times the root of the
    number of such pairs.
    """
    parts = {}
    for name, column in table.efficiency.items():
        products, pairs = _within(column, group)
        if pairs >= FEWEST:
            parts[name] = products / np.sqrt(pairs)
    return Aspect("families of one group", parts)


def varying_slopes(table: ResidualTable) -> Aspect:
    """Slopes that vary between families: regressions of residuals on a covariate within each family.

    The part of a covariate is the sum over families and benchmarks of the squared sum of residuals times the covariate,
    less its mean within the family, divided by the sum of the squares of the latter.
    """
    parts = {}
    for name, covariate in table.covariates.items():
        centred = covariate - family_means(covariate, table.family)
        if np.abs(centred).max() <= 1e-9 * max(1.0, np.abs(covariate).max()):
            continue
        seen = np.isfinite(table.values)
        products = np.where(seen, table.values, 0.0) * centred[:, None]
        sums = np.zeros((table.family.max() + 1, table.values.shape[1]))
        np.add.at(sums, table.family, products)
        parts[name] = float(np.sum(sums**2) / np.sum(seen * centred[:, None] ** 2))
    return Aspect("slopes that vary between families", parts)


def spread(table: ResidualTable) -> Aspect:
    """Dependence of the size of residuals on covariates and on the fitted score.

    Parts are sqrt(n) r, where r is the correlation of the residuals' absolute values with a covariate.
    """
    parts = {}
    columns = {name: np.broadcast_to(x[:, None], table.values.shape) for name, x in table.covariates.items()}
    for name, x in {**columns, "the fitted score": table.fitted}.items():
        for j, benchmark in enumerate(table.benchmarks):
            seen = np.isfinite(table.values[:, j])
            size, at = np.abs(table.values[seen, j]), x[seen, j]
            if seen.sum() >= FEWEST and np.ptp(at) > 0.0 and np.ptp(size) > 0.0:
                parts[f"{benchmark} against {name}"] = float(np.corrcoef(size, at)[0, 1] * np.sqrt(seen.sum()))
    return Aspect("spread against covariates", parts, both_sides=True)


def shape(table: ResidualTable) -> Aspect:
    """Shape of the law of a score: Cramer-von Mises statistics of the residuals against the normal law."""
    parts = {}
    for name, column in zip(table.benchmarks, table.values.T, strict=True):
        values = np.sort(column[np.isfinite(column)])
        n = len(values)
        if n >= FEWEST:
            middle = (np.arange(n) + 0.5) / n
            parts[name] = float(1.0 / (12.0 * n) + np.sum((special.ndtr(values) - middle) ** 2))
    return Aspect("shape of the law of a score", parts)


def covariates_of(x: np.ndarray, terms: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the covariates (n, p) by name, standardised, without products of others."""
    plain = [number for number, term in enumerate(terms) if ":" not in term] or list(range(len(terms)))
    return {terms[number]: (x[:, number] - x[:, number].mean()) / x[:, number].std() for number in plain}
