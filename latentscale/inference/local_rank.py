"""Local identification by the rank of the information (Rothenberg 1971), from scores of simulated data.

At a regular point parameters are locally identified if and only if the information E[s s'] has full rank. The rows
here are scores s_l of single families, at data simulated from the model's own design and missing cells: along a
direction in which the law does not change every score is zero whatever the data are, and along any other a fresh
score is almost surely not. The null space of the stacked scores is therefore that of the information, at the price
of a few passes over the data and without its squared rounding errors. Laplace's scores serve, for his approximation
is unchanged by whatever linear change of the effects leaves the likelihood unchanged.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import qr
from scipy.optimize import linprog

from ..likelihood.expected_information import simulated_cells
from ..numerics.linalg import null_space
from ..parameters.kinds import LINK, LOADING
from ..parameters.structure import Structure
from .covariance import coordinate_jacobian
from .flat_rotations import flat_rotations, settling_loadings
from .grouped_rank import FLAT, ROWS_PER_PARAMETER, full_rank_in_groups, laplace_scores, scaled_svd

_MOST_BATCHES = 30
_NEGLIGIBLE = 1e-6
_MOST_PROGRAMS = 150
_OFF_ZERO = 0.05  # of a skill's standard deviation: where random slopes are looked at that were estimated as none


@dataclass(frozen=True, eq=False)
class LocalRank:
    """Rank of the information at one parameter point.

    Attributes
    ----------
    names : tuple of str (P,)
        Natural parameters.
    loadings : bool array (P,)
        Which of them are loadings.
    structure : Structure
        The point, in users' covariates.
    size, rank : int
        Coordinates, and how many dimensions of them the law of the scores determines.
    above, below : float
        Singular values on either side of the rank: the smallest that counts and the largest that does not (NaN
        if there is none). Along the first, standard errors are about 1 / above times those of single parameters.
    null : array (P, m)
        Basis of the flat directions in natural parameters.
    rotations : array (P, q)
        Those of them that are rotations of the skills, each of few skills; q is at most m.
    settling : int array (m,)
        Parameters that, once fixed at zero, leave no flat direction and restrict nothing; loadings if they will do.
    weakest : array (P,)
        The direction of ``above``, in natural parameters.
    sizes : array (P,)
        What makes entries of a direction comparable: effects in units of a skill, relative changes of precisions.
    rows : int
        Family scores that were stacked.
    """

    names: tuple
    loadings: np.ndarray
    structure: Structure
    size: int
    rank: int
    above: float
    below: float
    null: np.ndarray
    rotations: np.ndarray
    settling: np.ndarray
    weakest: np.ndarray
    sizes: np.ndarray
    rows: int

    @property
    def n_flat(self):
        """Dimension m of the flat directions."""
        return self.size - self.rank

    @property
    def n_rotations(self):
        """Dimension q of the rotations that the form of identification leaves free."""
        return self.rotations.shape[1]

    @cached_property
    def directions(self):
        """Flat directions (P, m): the rotations, then others that name few parameters; largest entries are one."""
        scaled = self.sizes[:, None] * self.null
        first = self.sizes[:, None] * self.rotations
        basis = first if self.n_rotations == self.n_flat else sparse_basis(scaled, self.loadings, first)
        if not basis.size:
            return basis
        basis = basis / basis[np.argmax(np.abs(basis), axis=0), np.arange(basis.shape[1])]
        return np.where(np.abs(basis) < _NEGLIGIBLE, 0.0, basis) / self.sizes[:, None]


def random_point(model, rng):
    """Coordinates u of a feasible point at random, of moderate size: no score near its asymptotes, none certain."""
    layout, pattern = model.table.layout, model.pattern
    j, k, p = layout.n_items, layout.n_skills, layout.n_covariates
    fixed = pattern.fixed
    largest = np.max(np.where(np.isnan(fixed), 0.0, np.abs(fixed)), axis=0)
    # a fixed loading sets the unit of its skill, in which everything else is then drawn
    unit = np.where(pattern.free_variance, largest, 1.0)
    sd = np.where(pattern.free_variance, np.exp(rng.uniform(-0.4, 0.1, k)), 1.0) / unit
    signs = np.where(rng.random((j, k)) < 0.3, -1.0, 1.0)
    loadings = rng.uniform(0.4, 1.2, (j, k)) * signs / np.sqrt(k) / sd
    factor = np.tril(rng.uniform(-0.6, 0.6, (k, k)), -1) + np.eye(k)
    factor /= np.linalg.norm(factor, axis=1)[:, None]
    cov = factor @ factor.T if pattern.correlated else np.eye(k)
    # the order of the draws is kept, as the points depend on it
    scales = {
        one.block: rng.uniform(0.3, 0.7, one.spreads.shape) * sd / one.spreads for one in model.effects if one.rows
    }
    structure = Structure(
        np.where(np.isnan(fixed), loadings, fixed), rng.uniform(-1.0, 0.5, j), 0.5 * rng.standard_normal((p, k)) * sd,
        cov * np.outer(sd, sd), np.exp(rng.uniform(np.log(20.0), np.log(60.0), j)),
        np.clip(model.chance, 0.05, 0.6), np.full(j, 0.95), 0.5 * rng.standard_normal((j, layout.n_link)),
    )  # fmt: skip
    scales |= {one.block: rng.uniform(0.3, 0.7, one.spreads.shape) for one in model.effects if not one.rows}
    return model.space.free_vector(structure.with_scales(**scales))


def off_zero(model, space, v):
    """The same point with random effects that were estimated as none moved off zero, where their score vanishes."""
    structure = space.structure(v)
    sd, scales = np.sqrt(np.diag(structure.skill_cov)), {}
    for one in model.effects:
        unit = sd / one.spreads if one.rows else 1.0
        scales[one.block] = np.maximum(np.abs(structure.scales[one.block]), _OFF_ZERO * unit)
    return space.free_vector(structure.with_scales(**scales))


def local_rank(model, v, seed=0, space=None):
    """Rank of the information at a point, and the directions that the law of the scores does not determine.

    Parameters
    ----------
    model : LatentSkillModel
    v : array (d,)
        Coordinates in ``space``.
    seed : int or Generator
        Of the simulated scores. The rank does not depend on it.
    space : ParameterSpace or RestrictedSpace, optional
        The model's own by default.

    Returns
    -------
    LocalRank

    Raises
    ------
    numpy.linalg.LinAlgError
        If Sigma is singular at the point, so that there is no density.
    """
    space, rng = model.space if space is None else space, np.random.default_rng(seed)
    structure, parameters = model.recoding.user(space.structure(v)), model.table.parameters
    names, loadings, sizes = parameters.names, parameters.are(LOADING), standard_sizes(model, structure)
    grouped = full_rank_in_groups(model, space, v, structure, rng)
    if grouped is not None:
        weakest = coordinate_jacobian(space, model.recoding, v) @ grouped.direction
        none = np.zeros((len(v), 0))
        return LocalRank(
            names, loadings, structure, len(v), len(v), grouped.smallest, np.nan, none, none,
            np.empty(0, dtype=int), weakest, sizes, grouped.rows,
        )  # fmt: skip
    copies = int(np.ceil(ROWS_PER_PARAMETER * len(v) / model.n_families))
    triangle, rows, before = _known_links(model, space, len(v)), 0, -1
    for _ in range(_MOST_BATCHES):
        scores = np.vstack([_simulated_scores(model, space, v, structure, rng) for _ in range(copies)])
        rows += len(scores)
        triangle = np.linalg.qr(np.vstack([triangle, scores]), mode="r")
        scale, singular, right = scaled_svd(triangle)
        flat = int(np.sum(singular <= FLAT))
        # a direction that is not flat shows in fresh scores: the count is final once they no longer lower it
        if flat in (0, before):
            break
        before = flat
    rank = len(v) - flat
    carry = coordinate_jacobian(space, model.recoding, v)
    natural = carry @ (right.T / scale[:, None])
    return LocalRank(
        names, loadings, structure, len(v), rank, float(singular[rank - 1]),
        float(singular[rank]) if flat else np.nan, natural[:, rank:], carry @ _few_skills(*flat_rotations(space, v)),
        _settling(space, v, natural[:, rank:] * sizes[:, None]), natural[:, rank - 1], sizes, rows,
    )  # fmt: skip


def _known_links(model, space, size):
    """What the penalty says of the coordinates of links, as rows of scores (d, d).

    Where no score comes near a stretch of a link, the penalty alone determines it: a part of the model, as asymptotes'
    penalties are, and no direction left open.
    """
    link = space.parameters.are(LINK)
    return np.diag(np.where(link, 1.0 / model.link_sd, 0.0)) if size else np.zeros((0, 0))


def _simulated_scores(model, space, v, structure, rng):
    """Laplace scores (L, d) of families simulated at v, with the design and missing cells of the data."""
    return laplace_scores(model, space, v, simulated_cells(model, structure, rng))


def _settling(space, v, null):
    """Positions in the natural vector, given the flat directions in standardised natural parameters (P, m)."""
    if not null.shape[1]:
        return np.empty(0, dtype=int)
    chosen = (np.cumsum(space.table.free) - 1)[settling_loadings(space, v)]
    rest = null @ null_space(null[chosen], _NEGLIGIBLE) if len(chosen) else null
    _, _, order = qr(rest.T, pivoting=True, mode="economic")
    return np.append(chosen, order[: rest.shape[1]])


# --- directions in the user's terms ------------------------------------------------------------------------------


def standard_sizes(model, structure):
    """Sizes (P,) that natural parameters are multiplied by to be comparable, whatever units the user chose."""
    layout = model.table.layout
    sd = np.sqrt(np.diag(structure.skill_cov))
    rows, columns = layout.triangle
    sizes = np.ones(layout.size)
    sizes[layout.index("loadings")] = sd
    sizes[layout.index("slopes")] = model.design.x.std(axis=0)[:, None] / sd
    for one in model.effects:
        if one.rows:
            sizes[layout.index(one.block)] = one.spreads / sd
    sizes[layout.slices["skill_cov"]] = 1.0 / (sd[rows] * sd[columns])
    sizes[layout.slices["precision"]] = 1.0 / structure.precision
    return sizes[model.table.free]


def _few_skills(directions, turns):
    """Another basis of the rotations (d, q), each of few skills: sparse in the off-diagonal entries of its E."""
    k, _, count = turns.shape
    if count == 0:
        return directions
    off_diagonal = turns[~np.eye(k, dtype=bool)]  # which determines the diagonal, for units are fixed
    basis = sparse_basis(off_diagonal, np.ones(len(off_diagonal), dtype=bool))
    return directions @ np.linalg.lstsq(off_diagonal, basis, rcond=None)[0]


def sparse_basis(directions, preferred, first=None):
    """Another basis of the span of some directions (P, m), with many zeros.

    For every entry in turn the direction that moves it by one and has the smallest sum of absolute entries (a linear
    program, whose solutions have many exact zeros); of those the sparsest that are independent of each other and of
    the columns ``first`` (P, q), which the basis begins with. Entries that are ``preferred`` (P,) suffice as the ones
    to be moved if they tell all directions apart.
    """
    count = directions.shape[1]
    first = np.empty((len(directions), 0)) if first is None else first
    if count == 0:
        return directions
    orthogonal = np.linalg.qr(directions)[0]
    length = np.linalg.norm(orthogonal, axis=1)
    moving = np.flatnonzero(length > _NEGLIGIBLE)
    chosen = moving[preferred[moving]]
    if np.linalg.matrix_rank(orthogonal[chosen], tol=_NEGLIGIBLE) < count:
        chosen = moving
    chosen = chosen[np.argsort(-length[chosen])][:_MOST_PROGRAMS]
    candidates = [_sparsest(orthogonal, row) for row in chosen] if count > 1 else []
    candidates = np.hstack([*candidates, orthogonal])
    candidates /= np.abs(candidates).max(axis=0)
    candidates[np.abs(candidates) < _NEGLIGIBLE] = 0.0
    order = np.lexsort((np.abs(candidates).sum(axis=0), np.count_nonzero(candidates, axis=0)))
    basis = first
    for column in candidates[:, order].T:
        if basis.shape[1] == count:
            break
        longer = np.column_stack([basis, column])
        if np.linalg.matrix_rank(longer / np.linalg.norm(longer, axis=0), tol=_NEGLIGIBLE) == longer.shape[1]:
            basis = longer
    return basis


def _sparsest(basis, row):
    """The direction (P, 1) in the span of a basis (P, m) that moves ``row`` by one and little else."""
    size, count = basis.shape
    identity = np.eye(size)
    found = linprog(
        np.append(np.zeros(count), np.ones(size)),
        A_ub=np.block([[basis, -identity], [-basis, -identity]]), b_ub=np.zeros(2 * size),
        A_eq=np.append(basis[row], np.zeros(size))[None], b_eq=[1.0],
        bounds=[(None, None)] * count + [(0.0, None)] * size, method="highs",
    )  # fmt: skip
    if found.x is None:
        return basis[:, :1]
    direction = basis @ found.x[:count]
    still = np.abs(direction) < _NEGLIGIBLE
    if not still.any():
        return direction[:, None]
    # the program stops at its own tolerance; the zeros it found determine the direction to rounding
    return basis @ np.linalg.svd(basis[still])[2][-1][:, None]


def mixed_skills(direction, model, structure):
    """Pairs (skill, other) such that the direction mixes the loadings on ``other`` into those on ``skill``.

    Empty where the direction is no rotation of the skills.
    """
    moved = np.zeros(model.table.layout.size)
    moved[model.table.free] = direction
    change = moved[model.table.layout.index("loadings")]
    largest = np.abs(change).max()
    turn = -np.linalg.lstsq(structure.loadings, change, rcond=None)[0]
    if largest == 0.0 or np.abs(change + structure.loadings @ turn).max() > _NEGLIGIBLE * largest:
        return ()
    sd = np.sqrt(np.diag(structure.skill_cov))
    turn = np.abs(turn / sd[:, None] * sd)
    found = np.argwhere((turn > 0.1 * turn.max()) & ~np.eye(len(sd), dtype=bool))
    return tuple((model.skills[column], model.skills[row]) for row, column in found)
