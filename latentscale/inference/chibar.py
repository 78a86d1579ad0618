"""The chi-bar-square law of a likelihood-ratio statistic whose null hypothesis sets variances to zero.

With q variances v >= 0 tested at zero, the statistic tends to Z' V Z - min_{w >= 0} (Z - w)' V (Z - w), Z ~ N(0, V^-1),
V the efficient information of v: a mixture of chi-square laws with 0 to q degrees of freedom (Self and Liang 1987;
Shapiro 1985). The variances of random slopes enter through their square roots tau, in which the log-likelihood is
even: its score in v at zero is half its second derivative in tau.

That law needs many families, none of which matters much. A few families with many sizes may hold most of what is
known of slopes' variances; the score statistic's law is then simulated.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from ..components.levels import with_effects
from ..likelihood.expected_information import simulated_cells
from ..likelihood.laplace import laplace_by_family

ONE_VARIANCE = np.array([0.5, 0.5])  # weights where one variance is tested
_DRAWS = 20_000
_STEP = 0.02  # of tau times the standard deviation of its covariate
TABLES = 200
_ZERO = 1e-8  # a statistic below this is zero but for rounding
_SMALLEST = 1e-12


def chi_bar_weights(information, seed=0):
    """Weights of chi-square laws with 0, ..., q degrees of freedom.

    Exact for q = 1 and 2; otherwise by 20,000 projections on the positive orthant.

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


def chi_bar_sf(statistic, weights, shift=0):
    """P(statistic exceeded) under sum_j weights_j chi2(j + shift); chi2(0) is a point at zero."""
    total = 0.0
    for number, weight in enumerate(weights):
        df = number + shift
        total += weight * (stats.chi2.sf(statistic, df) if df else float(statistic <= _ZERO))
    return float(min(total, 1.0))


@dataclass(frozen=True)
class VarianceScores:
    """Scores in the variances of random slopes at zero, with what the null model's parameters explain taken out.

    Attributes
    ----------
    information : array (q, q)
        Efficient information of all families.
    coefficients : array (P, q)
        Of the scores in the null model's parameters, in what they explain.
    simulated : array (tables, q)
        Total efficient scores of simulated tables.
    """

    information: np.ndarray
    coefficients: np.ndarray
    simulated: np.ndarray


def variance_scores(model, table, params, terms, tables=TABLES, seed=0):
    """Simulate the scores of variances under the null model, by Laplace.

    Parameters
    ----------
    model : LatentSkillModel
        With the random slopes.
    table : ParameterTable
        Of the null model.
    params : array (P,)
        Natural parameters of the null model.
    terms : list of str
        The random slopes tested, q = len(terms) K variances; others stay as they are.
    tables : int
        Simulated tables.
    seed : int

    Returns
    -------
    VarianceScores
    """
    null, tested = _at_null(model, table, params), _tested(model, terms)
    q = len(terms) * len(model.skills)
    parts = [
        _null_scores(model, null, simulated_cells(model, null, np.random.default_rng(child)), table, tested)
        for child in np.random.SeedSequence(seed).spawn(tables)
    ]
    scores = np.vstack(parts)
    in_variances, in_others = scores[:, :q], scores[:, q:]
    length = np.maximum(np.linalg.norm(in_others, axis=0), _SMALLEST)
    coefficients = np.linalg.lstsq(in_others / length, in_variances, rcond=1e-8)[0] / length[:, None]
    left = in_variances - in_others @ coefficients
    information = left.T @ left * (model.n_families / (len(left) - in_others.shape[1]))
    return VarianceScores(information, coefficients, left.reshape(tables, -1, q).sum(axis=1))


def observed_variance_score(model, table, params, terms, scores):
    """Total efficient score of the data in the tested variances, array (q,)."""
    null, tested = _at_null(model, table, params), _tested(model, terms)
    total = _null_scores(model, null, model.user_cells, table, tested).sum(axis=0)
    q = len(terms) * len(model.skills)
    return total[:q] - total[q:] @ scores.coefficients


def one_sided_statistic(score, information):
    """S' V^-1 S less its part outside the cone of variances that are not negative (Silvapulle and Silvapulle 1995).

    Parameters
    ----------
    score : array (q,)
    information : array (q, q)
    """
    root = np.linalg.cholesky(information)
    point = np.linalg.solve(root, score)
    distance = optimize.nnls(root.T, point)[1]
    return float(max(point @ point - distance**2, 0.0))


def _at_null(model, table, params):
    """The null model's parameters as those of the model that has the random slopes, which are zero."""
    known = {block.name: block.rows for block in table.scales}
    return with_effects(table.structure(params), known, model.effects)


def _tested(model, terms):
    """The RandomEffects whose standard deviations are tested at zero, and the rows of these."""
    for one in model.effects:
        if one.rows is not None and set(terms) <= set(one.rows):
            return one, [one.rows.index(term) for term in terms]
    raise KeyError(f"no random effects on {terms}")


def _null_scores(model, null, cells, table, tested):
    """Scores by family (L, q + P): in the tested variances at zero, then in the null model's parameters."""
    layout, shapes, (effects, rows) = model.table.layout, table.shapes_free, tested
    _, at_null, modes = laplace_by_family(null, cells, None, shapes)
    tau = null.scales[effects.block].copy()
    # all at once: they disturb each other to second order only
    tau[rows] = _STEP / effects.spreads[rows]
    _, scores, _ = laplace_by_family(null.with_scales(**{effects.block: tau}), cells, modes.alpha)
    position = layout.index(effects.block)[rows].ravel()
    own = [scores[:, position] / (2.0 * tau[rows].ravel())]
    kept = {block.name: block.rows for block in table.scales}
    for name, where in table.layout.slices.items():
        free = np.flatnonzero(table.free[where])
        index = layout.index(name)
        if name == effects.block:
            index = index[[effects.rows.index(row) for row in kept[name]]]
        own.append(at_null[:, index.ravel()[free]])
    return np.hstack(own)
