"""The chi-bar-square distribution of statistics for null hypotheses that set variances to zero.

If q variances v >= 0 are tested at zero, the likelihood-ratio statistic converges to Z' V Z - min_{w >= 0} (Z - w)' V
(Z - w), with Z ~ N(0, V^-1) and V the efficient information of v. This is a mixture of chi-square distributions with 0
to q degrees of freedom (Self and Liang 1987; Shapiro 1985). Variances enter through their square roots tau, in which
the log-likelihood is an even function; so its score in v at zero is half its second derivative in tau.

The asymptotic distribution needs many families, none of which dominates. Where a few families with LLMs of many sizes
have most of the information on slopes' variances, the distribution of the score statistic is simulated instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from ..components.cells import Cells
from ..components.random_effects import AbsentEffects, with_effects
from ..likelihood.expected_information import simulated_cells
from ..likelihood.laplace import laplace_by_family
from ..models.latent_skill import LatentSkillLaw
from ..parameters.structure import Structure
from ..parameters.table import ParameterTable

ONE_VARIANCE = np.array([0.5, 0.5])  # weights where one variance is tested
_DRAWS = 20_000  # projections from which weights are estimated
_STEP = 0.02  # value of tau times the standard deviation of its covariate
TABLES = 200  # simulated tables
_ZERO = 1e-8  # a statistic below this is zero up to rounding
_SMALLEST = 1e-12  # least length that scores are divided by


def chi_bar_weights(information: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the weights of chi-square distributions with 0, ..., q degrees of freedom.

    They are exact for q = 1 and 2; otherwise they are shares of 20,000 projections on the positive orthant.

    Parameters
    ----------
    information : array (q, q)
        Efficient information of the variances.
    seed : int

    Returns
    -------
    array (q + 1,)
    """
    q = len(information)
    if q == 1:
        return ONE_VARIANCE.copy()
    covariance = np.linalg.inv(information)
    if q == 2:
        correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        both = 0.5 - np.arccos(correlation) / (2.0 * np.pi)
        return np.array([0.5 - both, 0.5, both])
    # minimise |L'(z - w)| over w >= 0, L L' = information; the number of positive w is the dimension of the face
    root = np.linalg.cholesky(information).T
    standard = np.random.default_rng(seed).standard_normal((_DRAWS, q))
    counts = np.zeros(q + 1)
    for draw in standard:  # L'z is standard normal
        counts[np.count_nonzero(optimize.nnls(root, draw)[0])] += 1
    return counts / _DRAWS


def chi_bar_sf(statistic: float, weights: np.ndarray, shift: int = 0) -> float:
    """Return the probability of a statistic at least this large under the mixture sum_j weights_j chi2(j + shift).

    chi2(0) has all its mass at zero.
    """
    total = 0.0
    for number, weight in enumerate(weights):
        df = number + shift
        total += weight * (stats.chi2.sf(statistic, df) if df else float(statistic <= _ZERO))
    return float(min(total, 1.0))


@dataclass(frozen=True)
class VarianceScores:
    """Efficient scores in the variances of random slopes at zero: without what scores in other parameters explain.

    Attributes
    ----------
    information : array (q, q)
        Efficient information of all families.
    coefficients : array (P, q)
        Regression coefficients of the scores in the variances on those in the null model's parameters.
    simulated : array (tables, q)
        Total efficient scores of simulated tables.
    """

    information: np.ndarray
    coefficients: np.ndarray
    simulated: np.ndarray


def variance_scores(
    model: LatentSkillLaw,
    table: ParameterTable,
    params: np.ndarray,
    tested: Sequence[AbsentEffects],
    tables: int = TABLES,
    seed: int = 0,
) -> VarianceScores:
    """Return scores of variances at zero, simulated under the null model, by Laplace's approximation.

    Parameters
    ----------
    model : LatentSkillLaw
        The model with the random effects.
    table : ParameterTable
        Of the null model.
    params : array (P,)
        Natural parameters of the null model.
    tested : sequence of AbsentEffects
        What the null model lacks: q variances in all.
    tables : int
        Number of simulated tables.
    seed : int

    Returns
    -------
    VarianceScores
    """
    null, q = _at_null(model, table, params), count_variances(tested)
    by_table = [
        _null_scores(model, null, simulated_cells(model, null, np.random.default_rng(child)), table, tested)
        for child in np.random.SeedSequence(seed).spawn(tables)
    ]
    scores = np.vstack(by_table)
    in_variances, in_others = scores[:, :q], scores[:, q:]
    length = np.maximum(np.linalg.norm(in_others, axis=0), _SMALLEST)
    coefficients = np.linalg.lstsq(in_others / length, in_variances, rcond=1e-8)[0] / length[:, None]
    efficient = in_variances - in_others @ coefficients
    information = efficient.T @ efficient * (model.n_groups / (len(efficient) - in_others.shape[1]))
    return VarianceScores(information, coefficients, efficient.reshape(tables, -1, q).sum(axis=1))


def observed_variance_score(
    model: LatentSkillLaw,
    table: ParameterTable,
    params: np.ndarray,
    tested: Sequence[AbsentEffects],
    scores: VarianceScores,
) -> np.ndarray:
    """Return the total efficient score of the data in the tested variances, array (q,)."""
    null, q = _at_null(model, table, params), count_variances(tested)
    total = _null_scores(model, null, model.user_cells, table, tested).sum(axis=0)
    return total[:q] - total[q:] @ scores.coefficients


def one_sided_statistic(score: np.ndarray, information: np.ndarray) -> float:
    """Return the statistic S' V^-1 S minus its part outside the cone of variances that are not negative.

    See Silvapulle and Silvapulle (1995).

    Parameters
    ----------
    score : array (q,)
        S.
    information : array (q, q)
        V.
    """
    root = np.linalg.cholesky(information)
    point = np.linalg.solve(root, score)
    distance = optimize.nnls(root.T, point)[1]
    return float(max(point @ point - distance**2, 0.0))


def _at_null(model: LatentSkillLaw, table: ParameterTable, params: np.ndarray) -> Structure:
    """Return the null model's parameters in the larger model, whose further standard deviations are zero."""
    known = {block.name: block.rows for block in table.scales}
    return with_effects(table.structure(params), known, model.effects)


def count_variances(tested: Sequence[AbsentEffects]) -> int:
    """Return the number of variances that a smaller model lacks."""
    return sum(int(absent.lacks.sum()) for absent in tested)


def _null_scores(
    model: LatentSkillLaw, null: Structure, cells: Cells, table: ParameterTable, tested: Sequence[AbsentEffects]
) -> np.ndarray:
    """Return scores by family (L, q + P): in the tested variances at zero, then in the null model's parameters.

    The score in a variance is that in tau at a small tau, divided by 2 tau.
    """
    layout, shapes = model.table.layout, table.shapes_free
    _, at_null, modes = laplace_by_family(null, cells, None, shapes)
    # All are set at once: each changes the scores in the others only to second order.
    small = {
        absent.effects.block: np.where(
            absent.lacks, _STEP / absent.effects.spreads, null.scales[absent.effects.block]
        )
        for absent in tested
    }
    _, scores, _ = laplace_by_family(null.with_scales(**small), cells, modes.alpha)
    columns = []
    for absent in tested:
        block = absent.effects.block
        columns.append(scores[:, layout.index(block)[absent.lacks]] / (2.0 * small[block][absent.lacks]))
    lacks = {absent.effects.block: absent.lacks for absent in tested}
    for name, where in table.layout.slices.items():
        free = np.flatnonzero(table.free[where])
        index = layout.index(name)
        if name in lacks:
            index = index[~lacks[name]]
        columns.append(at_null[:, index.ravel()[free]])
    return np.hstack(columns)
