"""The rank of the information by groups of benchmarks, for tables with many benchmarks or many families.

The law of the scores on some benchmarks is a marginal of the law of all scores. If it determines the parameters of
these benchmarks and those that all benchmarks share, so does the whole law. And if every benchmark is in a group of
which that is true, all parameters are determined. So a few hundred parameters at a time are enough. The converse does
not hold: a group may fail although the whole law determines everything, so that only full rank is found here. In the
same way some of the families are enough where there are many.
"""

from typing import NamedTuple

import numpy as np

from ..components.cells import Cells
from ..components.levels import family_effects
from ..likelihood.expected_information import simulated_cells
from ..likelihood.family_scores import family_scores
from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..models.latent_skill import LatentSkillLaw
from ..parameters.restrictions import RestrictedSpace
from ..parameters.space import ParameterSpace
from ..parameters.structure import Structure

# Threshold of singular values for columns of unit length. Over two dozen models with several points each (one to six
# skills, free asymptotes, random slopes, censoring) those of flat directions were below 2e-12, all others above 9e-5.
FLAT = 1e-8
# A column shorter than this share of the longest is rounding error, and is not scaled to unit length.
_NO_SCORE = 1e-11
ROWS_PER_PARAMETER = 3  # scores of families for each parameter
_GROUP = 30  # benchmarks in a group beside those with fixed loadings
_FAMILIES = 1_000  # number of families from which on only some are used


class GroupedRank(NamedTuple):
    """What shows that the information has full rank.

    Attributes
    ----------
    smallest : float
        Smallest singular value of any group.
    direction : array (d,)
        Its direction in the coordinates.
    rows : int
        Scores of families that were used.
    """

    smallest: float
    direction: np.ndarray
    rows: int


def full_rank_in_groups(
    model: LatentSkillLaw,
    space: ParameterSpace | RestrictedSpace,
    v: np.ndarray,
    structure: Structure,
    rng: np.random.Generator,
) -> GroupedRank | None:
    """Return a GroupedRank if every group determines its parameters; None if one does not, and for small tables.

    Parameters
    ----------
    model : LatentSkillLaw
    space : ParameterSpace or RestrictedSpace
    v : array (d,)
        Coordinates of the parameter point.
    structure : Structure
        The same point, with slopes of users' covariates.
    rng : numpy.random.Generator
    """
    groups = _groups(model)
    if isinstance(space, RestrictedSpace) or (len(groups) == 1 and model.n_groups < _FAMILIES):
        return None
    item = space.layout.items[space.entries]
    columns = [np.flatnonzero(np.isin(item, group) | (item < 0)) for group in groups]
    needed = ROWS_PER_PARAMETER * max(map(len, columns))
    used = min(needed, model.n_groups)
    tables = []
    for _ in range(int(np.ceil(needed / used))):
        cells = simulated_cells(model, structure, rng)
        tables.append(cells.chosen(np.isin(cells.family, rng.permutation(cells.n_families)[:used])))
    ranks = []
    for group, where in zip(groups, columns, strict=True):
        in_group = [cells.chosen(np.isin(cells.item, group)) for cells in tables]
        scores = np.vstack([laplace_scores(model, space, v, cells)[:, where] for cells in in_group])
        if len(scores) < len(where):
            return None
        scale, singular, right = scaled_svd(np.asarray(np.linalg.qr(scores, mode="r")))
        if not singular[-1] > FLAT:
            return None
        direction = np.zeros(len(v))
        direction[where] = right[-1] / scale
        ranks.append(GroupedRank(float(singular[-1]), direction, len(scores)))
    return min(ranks, key=lambda rank: rank.smallest)._replace(rows=sum(rank.rows for rank in ranks))


def _groups(model: LatentSkillLaw) -> list[np.ndarray]:
    """Return groups of benchmarks: those with fixed loadings together with some of the others, a list of int arrays."""
    fixed = ~np.isnan(model.pattern.fixed).all(axis=1)
    anchors, others = np.flatnonzero(fixed & (np.cumsum(fixed) <= _GROUP)), np.arange(len(fixed))
    others = np.setdiff1d(others, anchors)
    count = max(1, int(np.ceil(len(others) / _GROUP)))
    return [np.concatenate([anchors, group]) for group in np.array_split(others, count)]


def laplace_scores(
    model: LatentSkillLaw, space: ParameterSpace | RestrictedSpace, v: np.ndarray, cells: Cells
) -> np.ndarray:
    """Return Laplace scores (L, d) of simulated families, without those where Laplace's approximation fails."""
    cells = cells.with_design(model.internal_cells.design)
    with np.errstate(all="ignore"):
        rule = Rule.build("laplace", family_effects(model.table.layout))
        scores = family_scores(Objective(space, cells, model.penalty), v, rule)
    return scores[np.isfinite(scores).all(axis=1)]


def scaled_svd(triangle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lengths of the columns of a matrix, and the SVD of the matrix with columns of unit length.

    The SVD is given by its singular values and right singular vectors; columns of length zero are left as zeros.
    """
    scale = np.linalg.norm(triangle, axis=0)
    empty = scale <= _NO_SCORE * scale.max()
    scale = np.where(empty, 1.0, scale)
    _, singular, right = np.linalg.svd(np.where(empty, 0.0, triangle) / scale)
    return scale, singular, right
