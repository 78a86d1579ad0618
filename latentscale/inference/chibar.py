"""The chi-bar-square law of a likelihood-ratio statistic whose null hypothesis sets variances to zero.

With q variances v >= 0 tested at zero, the statistic tends to Z' V Z - min_{w >= 0} (Z - w)' V (Z - w), Z ~ N(0, V^-1),
V the efficient information of v: a mixture of chi-square laws with 0 to q degrees of freedom (Self and Liang 1987;
Shapiro 1985). The variances of random slopes enter through their square roots tau, in which the log-likelihood is
even: its score in v at zero is half its second derivative in tau.
"""

from dataclasses import replace

import numpy as np
from scipy import optimize, stats

from ..estimation.laplace import laplace_by_family
from ..estimation.simulated import simulated_cells

_DRAWS = 20_000
_STEP = 0.02  # of tau times the standard deviation of its covariate
_ROWS_PER_PARAMETER = 8
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
        return np.array([0.5, 0.5])
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
        total += weight * (stats.chi2.sf(statistic, df) if df else float(statistic <= 0.0))
    return float(min(total, 1.0))


def variance_information(model, table, params, terms, seed=0):
    """Efficient information of the variances of random slopes at zero, by simulated scores.

    Scores of simulated families at the null parameters, by Laplace, in the variances and in the null model's
    parameters; what the latter explain of the former (least squares) is taken out.

    Parameters
    ----------
    model : LatentSkillModel
        With the random slopes.
    table : ParameterTable
        Of the null model.
    params : array
        Natural parameters of the null model.
    terms : list of str
        The random slopes tested; others stay as they are.
    seed : int

    Returns
    -------
    array (q, q)
        Per family, q = len(terms) K; rows by term, then skill.
    """
    null = _at_null(model, table.structure(params), table.random_terms)
    size = len(params) + len(terms) * len(model.skills)
    count = max(2, int(np.ceil(_ROWS_PER_PARAMETER * size / model.n_families)))
    tested = [model.random_terms.index(term) for term in terms]
    parts = []
    for child in np.random.SeedSequence(seed).spawn(count):
        cells = simulated_cells(model, null, np.random.default_rng(child))
        parts.append(_null_scores(model, null, cells, table, tested))
    scores = np.vstack(parts)
    in_variances, in_others = scores[:, : len(tested) * len(model.skills)], scores[:, len(tested) * len(model.skills) :]
    length = np.linalg.norm(in_others, axis=0)
    nuisance = in_others[:, length > 0] / length[length > 0]
    left = in_variances - nuisance @ np.linalg.lstsq(nuisance, in_variances, rcond=1e-8)[0]
    information = left.T @ left / (len(left) - nuisance.shape[1])
    scale = np.sqrt(np.maximum(np.diag(information), _SMALLEST))
    return information / np.outer(scale, scale)  # the weights do not depend on units


def _at_null(model, structure, random_terms):
    tau = np.zeros((len(model.random_terms), len(model.skills)))
    for number, term in enumerate(model.random_terms):
        if term in random_terms:
            tau[number] = structure.slope_sd[list(random_terms).index(term)]
    return replace(structure, slope_sd=tau)


def _null_scores(model, null, cells, table, tested):
    """Scores by family (L, q + P): in the tested variances at zero, then in the null model's parameters."""
    layout = model.table.layout
    scale = model.random_design.std(axis=0)
    asymptotes, columns = table.asymptotes_free, []
    _, at_null, modes = laplace_by_family(null, cells, None, asymptotes)
    for number in tested:
        for skill in range(layout.n_skills):
            tau = null.slope_sd.copy()
            tau[number, skill] = _STEP / scale[number]
            _, scores, _ = laplace_by_family(replace(null, slope_sd=tau), cells, modes.alpha)
            position = layout.index("slope_sd")[number, skill]
            columns.append(scores[:, position] / (2.0 * tau[number, skill]))
    own = []
    for name, where in table.layout.slices.items():
        free = np.flatnonzero(table.free[where])
        if name == "slope_sd":
            kept = [model.random_terms.index(term) for term in table.random_terms]
            own.append(at_null[:, layout.index(name)[kept].ravel()[free]] if kept else at_null[:, :0])
        else:
            own.append(at_null[:, layout.slices[name]][:, free])
    return np.hstack([np.column_stack(columns), *own])
