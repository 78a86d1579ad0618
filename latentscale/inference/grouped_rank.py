"""The rank of the information group by group of benchmarks, for tables with many.

The law of the scores on some of the benchmarks is part of the law of all. If it determines their own parameters and
those that all benchmarks share, so does the whole; and if every benchmark is in a group that does, all parameters are
determined. A few hundred parameters at a time are then enough. A group may fail that the whole would not, so that only
full rank is told here. In the same way some of the families are enough where there are many.
"""

from typing import NamedTuple

import numpy as np

from ..components.levels import family_effects
from ..likelihood.expected_information import simulated_cells
from ..likelihood.family_scores import family_scores
from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..parameters.restrictions import RestrictedSpace

# Columns of scores have unit length. Over two dozen models and several points each (one to six skills, free
# asymptotes, random slopes, censoring) flat directions came out below 2e-12 and the weakest of the others above 9e-5.
FLAT = 1e-8
# A column this much shorter than the longest is rounding, and must not be blown up to unit length.
_NO_SCORE = 1e-11
ROWS_PER_PARAMETER = 3
_GROUP = 30  # benchmarks beside those on which the form of identification rests
_FAMILIES = 1_000  # from so many families on, some are enough


class GroupedRank(NamedTuple):
    """Full rank: the smallest singular value of any group, its direction in the coordinates (d,), and family scores."""

    smallest: float
    direction: np.ndarray
    rows: int


def full_rank_in_groups(model, space, v, structure, rng):
    """GroupedRank where every group says that all is determined; None otherwise, and where the table is small.

    Parameters
    ----------
    model : LatentSkillModel
    space : ParameterSpace or RestrictedSpace
    v : array (d,)
    structure : Structure
        The point, in users' covariates.
    rng : Generator
    """
    groups = _groups(model)
    if isinstance(space, RestrictedSpace) or (len(groups) == 1 and model.n_families < _FAMILIES):
        return None
    item = space.layout.items[space.entries]
    columns = [np.flatnonzero(np.isin(item, group) | (item < 0)) for group in groups]
    needed = ROWS_PER_PARAMETER * max(map(len, columns))
    used = min(needed, model.n_families)
    tables = []
    for _ in range(int(np.ceil(needed / used))):
        cells = simulated_cells(model, structure, rng)
        tables.append(cells.chosen(np.isin(cells.family, rng.permutation(cells.n_families)[:used])))
    found = []
    for group, where in zip(groups, columns, strict=True):
        parts = [cells.chosen(np.isin(cells.item, group)) for cells in tables]
        scores = np.vstack([laplace_scores(model, space, v, part)[:, where] for part in parts])
        if len(scores) < len(where):
            return None
        scale, singular, right = scaled_svd(np.linalg.qr(scores, mode="r"))
        if not singular[-1] > FLAT:
            return None
        direction = np.zeros(len(v))
        direction[where] = right[-1] / scale
        found.append(GroupedRank(float(singular[-1]), direction, len(scores)))
    return min(found, key=lambda one: one.smallest)._replace(rows=sum(one.rows for one in found))


def _groups(model):
    """Benchmarks with fixed loadings, with some of the others each time: list of int arrays."""
    fixed = ~np.isnan(model.pattern.fixed).all(axis=1)
    anchors, others = np.flatnonzero(fixed & (np.cumsum(fixed) <= _GROUP)), np.arange(len(fixed))
    others = np.setdiff1d(others, anchors)
    count = max(1, int(np.ceil(len(others) / _GROUP)))
    return [np.concatenate([anchors, part]) for part in np.array_split(others, count)]


def laplace_scores(model, space, v, cells):
    """Laplace scores (L, d) of simulated families; one without a Laplace approximation is left out."""
    cells = cells.with_design(model.internal_cells.design)
    with np.errstate(all="ignore"):
        rule = Rule.build("laplace", family_effects(model.table.layout))
        scores = family_scores(Objective(space, cells, model.penalty), v, rule)
    return scores[np.isfinite(scores).all(axis=1)]


def scaled_svd(triangle):
    """Lengths of the columns, and singular values and right vectors of the columns at unit length."""
    scale = np.linalg.norm(triangle, axis=0)
    empty = scale <= _NO_SCORE * scale.max()
    scale = np.where(empty, 1.0, scale)
    _, singular, right = np.linalg.svd(np.where(empty, 0.0, triangle) / scale)
    return scale, singular, right
