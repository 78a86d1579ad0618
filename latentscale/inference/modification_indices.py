"""Score tests for releasing fixed loadings and correlations: modification indices (Sorbom 1989)."""

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import DataError
from ..likelihood.expected_information import expected_information
from ..likelihood.natural_scale import rule_score
from .hypotheses import SCORE_TABLES, null_basis

# Part of a released parameter's information that the free ones do not explain, below which it is not identified.
# Flat directions have simulated scores of zero to rounding.
_IDENTIFIED = 1e-9


def modification_indices(fit):
    """What the log-likelihood would gain, to second order, by freeing each loading and correlation fixed at zero.

    With g the score of the released parameter at the estimate and I its expected information left after the free
    parameters (from simulated scores; observed information need not be positive where a zero is wrong), the
    modification index is g^2 / I, chi-square on one degree of freedom, and g / I the expected change of the
    parameter.

    Parameters
    ----------
    fit : LatentSkillResults

    Returns
    -------
    DataFrame
        Index the name of each fixed zero; columns statistic, df, p_value, expected_change, note. Where
        releasing the zero alone would leave the model unidentified, as in every just-identified form, numbers are
        NaN and the note says so.

    Raises
    ------
    DataError
        If nothing is fixed at zero.
    """
    model, table = fit.model, fit.model.table
    layout = table.layout
    candidates = np.zeros(layout.size, dtype=bool)
    candidates[layout.slices["loadings"]] = table.fixed[layout.slices["loadings"]] == 0.0
    candidates[layout.slices["skill_cov"]] = table.fixed[layout.slices["skill_cov"]] == 0.0
    if not candidates.any():
        raise DataError("No loading or correlation is fixed at zero, so there is nothing to release.")
    released = table.with_fixed(np.where(candidates, np.nan, table.fixed))
    natural = layout.flatten(fit.structure)[released.free]
    gradient = rule_score(model, natural, fit.estimate.rule, table=released)
    s = layout.flatten(fit.structure)
    _, slope = model.natural_penalty.terms(s)
    gradient = gradient + slope[released.free]
    information = expected_information(model, fit.structure, released, SCORE_TABLES)
    count = SCORE_TABLES * model.n_families
    information *= count / (count - released.size - 1.0)  # so that its inverse has no bias
    information -= model.natural_penalty.hessian(s)[np.ix_(released.free, released.free)]
    tested = np.flatnonzero(candidates[released.free])
    others = np.flatnonzero(~candidates[released.free])
    basis = np.eye(len(others))
    if fit.estimate.restriction is not None:
        basis = null_basis(fit.estimate.restriction.matrix)
    nuisance = basis.T @ information[np.ix_(others, others)] @ basis
    cross = information[np.ix_(tested, others)] @ basis
    scale = np.sqrt(np.abs(np.diag(nuisance)))
    scaled = nuisance / np.outer(scale, scale)
    explained = np.linalg.solve(scaled, (cross / scale).T)
    left = information[np.ix_(tested, tested)] - (cross / scale) @ explained
    score = gradient[tested] - explained.T @ (basis.T @ gradient[others] / scale)
    rows = []
    for number, position in enumerate(tested):
        own = left[number, number]
        if own <= _IDENTIFIED * information[position, position]:
            rows.append((np.nan, 1, np.nan, np.nan, "not identified if released alone"))
            continue
        statistic = score[number] ** 2 / own
        rows.append((statistic, 1, stats.chi2.sf(statistic, 1), score[number] / own, ""))
    names = [released.names[position] for position in tested]
    columns = ["statistic", "df", "p_value", "expected_change", "note"]
    return pd.DataFrame(rows, index=pd.Index(names, name="released"), columns=columns)
