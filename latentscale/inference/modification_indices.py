"""Score tests of loadings and correlations that are fixed at zero: modification indices (Sorbom 1989).

A parameter that is freed in such a test is said to be released.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import DataError
from ..likelihood.expected_information import expected_information
from ..likelihood.natural_scale import rule_score
from .hypotheses import SCORE_TABLES, null_basis

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

# If free parameters explain all but this share of a freed parameter's information, it is not identified. In directions
# along which the law does not change simulated scores are zero up to rounding.
_IDENTIFIED = 1e-9


def modification_indices(fit: "LatentSkillResults") -> pd.DataFrame:
    """Return what the log-likelihood would gain by freeing each loading and correlation that is fixed at zero.

    The gain is to second order. With g the score of the fixed parameter at the estimate and I the part of its expected
    information that free parameters do not explain, the modification index is g^2 / I, chi-square with one degree of
    freedom, and g / I is the expected change of the parameter. The information is expected, from simulated scores,
    because the observed information need not be positive where a zero is wrong.

    Parameters
    ----------
    fit : LatentSkillResults

    Returns
    -------
    DataFrame
        Index: the name of each parameter fixed at zero; columns statistic, df, p_value, expected_change, note. Where
        freeing this parameter alone would leave the model unidentified, as in every just-identified form, numbers are
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
        raise DataError("No loading or correlation is fixed at zero, so there is nothing to free.")
    freed = table.with_fixed(np.where(candidates, np.nan, table.fixed))
    natural = layout.flatten(fit.structure)[freed.free]
    gradient = rule_score(model, natural, fit.estimate.rule, table=freed)
    s = layout.flatten(fit.structure)
    _, slope = model.natural_penalty.terms(s)
    gradient = gradient + slope[freed.free]
    information = expected_information(model, fit.structure, freed, SCORE_TABLES)
    count = SCORE_TABLES * model.n_groups
    information *= count / (count - freed.size - 1.0)  # so that its inverse has no bias
    information -= model.natural_penalty.hessian(s)[np.ix_(freed.free, freed.free)]
    tested = np.flatnonzero(candidates[freed.free])
    others = np.flatnonzero(~candidates[freed.free])
    basis = np.eye(len(others))
    if fit.estimate.restriction is not None:
        basis = null_basis(fit.estimate.restriction.matrix)
    nuisance = basis.T @ information[np.ix_(others, others)] @ basis
    cross = information[np.ix_(tested, others)] @ basis
    scale = np.sqrt(np.abs(np.diag(nuisance)))
    scaled = nuisance / np.outer(scale, scale)
    explained = np.linalg.solve(scaled, (cross / scale).T)
    unexplained = information[np.ix_(tested, tested)] - (cross / scale) @ explained
    score = gradient[tested] - explained.T @ (basis.T @ gradient[others] / scale)
    rows = []
    for number, position in enumerate(tested):
        efficient = unexplained[number, number]
        if efficient <= _IDENTIFIED * information[position, position]:
            rows.append((np.nan, 1, np.nan, np.nan, "not identified if released alone"))
            continue
        statistic = score[number] ** 2 / efficient
        rows.append((statistic, 1, stats.chi2.sf(statistic, 1), score[number] / efficient, ""))
    names = [freed.names[position] for position in tested]
    columns = ["statistic", "df", "p_value", "expected_change", "note"]
    return pd.DataFrame(rows, index=pd.Index(names, name="released"), columns=columns)
