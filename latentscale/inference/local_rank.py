"""Local identification by the rank of the information (Rothenberg 1971), from scores of simulated data.

At a regular point the parameters are locally identified if and only if the information E[s s'] has full rank. Here its
null space is found from the scores s_l of single families, for data simulated with the model's own design and missing
cells. Along a direction in which the law does not change, every score is zero for any data; along any other direction a
new score is almost surely not zero. So the null space of the stacked scores is that of the information. It takes a few
passes over the data, and rounding errors are not squared. Scores of Laplace's approximation are good enough: any linear
change of the effects that leaves the likelihood unchanged leaves the approximation unchanged too.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import qr
from scipy.optimize import linprog

from ..likelihood.expected_information import simulated_cells
from ..models.latent_skill import LatentSkillLaw
from ..numerics.linalg import null_space
from ..parameters.kinds import LINK, LOADING
from ..parameters.restrictions import RestrictedSpace
from ..parameters.space import ParameterSpace
from ..parameters.structure import Structure
from .covariance import coordinate_jacobian
from .flat_rotations import flat_rotations, settling_loadings
from .grouped_rank import FLAT, ROWS_PER_PARAMETER, full_rank_in_groups, laplace_scores, scaled_svd

_MOST_BATCHES = 30  # of simulated scores
_NEGLIGIBLE = 1e-6  # entries of directions below this count as zero
_MOST_PROGRAMS = 150  # linear programs that are solved
_OFF_ZERO = 0.05  # scale, in standard deviations of a skill, of random effects that were estimated as zero


@dataclass(frozen=True, eq=False)
class LocalRank:
    """Rank of the information at a parameter point.

    Attributes
    ----------
    names : tuple of str (P,)
        Natural parameters.
    loadings : bool array (P,)
        Which of them are loadings.
    structure : Structure
        The point, with slopes of users' covariates.
    size, rank : int
        Number of coordinates, and in how many dimensions the law of the scores determines them.
    above, below : float
        Singular values on either side of the rank: the smallest that counts as positive, and the largest that counts as
        zero (NaN if there is none). In the direction of ``above`` standard errors are about 1 / above times those with
        all other parameters known.
    null : array (P, m)
        Basis of the flat directions in natural parameters.
    rotations : array (P, q)
        Basis of those among them that are rotations of the skills, each of few skills; q is at most m.
    settling : int array (m,)
        Parameters that, fixed at zero, leave no flat direction and do not restrict the law; loadings where possible.
    weakest : array (P,)
        The direction of ``above``, in natural parameters.
    sizes : array (P,)
        Factors that make the entries of a direction comparable: effects in units of a skill, relative changes of
        precisions.
    rows : int
        Number of family scores that were stacked.
    """

    names: tuple[str, ...]
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
    def n_flat(self) -> int:
        """m, the dimension of the flat directions."""
        return self.size - self.rank

    @property
    def n_rotations(self) -> int:
        """q, the dimension of the rotations that the form of identification leaves free."""
        return self.rotations.shape[1]

    @cached_property
    def directions(self) -> np.ndarray:
        """Flat directions (P, m): rotations first, then others with many zeros; largest entries are one."""
        scaled = self.sizes[:, None] * self.null
        first = self.sizes[:, None] * self.rotations
        basis = first if self.n_rotations == self.n_flat else sparse_basis(scaled, self.loadings, first)
        if not basis.size:
            return basis
        basis = basis / basis[np.argmax(np.abs(basis), axis=0), np.arange(basis.shape[1])]
        return np.where(np.abs(basis) < _NEGLIGIBLE, 0.0, basis) / self.sizes[:, None]


def random_point(model: LatentSkillLaw, rng: np.random.Generator) -> np.ndarray:
    """Return coordinates u of a random feasible point of moderate size.

    No score is near its asymptotes there, and none is certain.
    """
    layout, pattern = model.table.layout, model.pattern
    j, k, p = layout.n_items, layout.n_skills, layout.n_covariates
    fixed = pattern.fixed
    largest = np.max(np.where(np.isnan(fixed), 0.0, np.abs(fixed)), axis=0)
    # a fixed loading sets the unit of its skill, in which all other parameters are drawn
    unit = np.where(pattern.free_variance, largest, 1.0)
    sd = np.where(pattern.free_variance, np.exp(rng.uniform(-0.4, 0.1, k)), 1.0) / unit
    signs = np.where(rng.random((j, k)) < 0.3, -1.0, 1.0)
    loadings = rng.uniform(0.4, 1.2, (j, k)) * signs / np.sqrt(k) / sd
    factor = np.tril(rng.uniform(-0.6, 0.6, (k, k)), -1) + np.eye(k)
    factor /= np.linalg.norm(factor, axis=1)[:, None]
    cov = factor @ factor.T if pattern.correlated else np.eye(k)
    # changing the order of the draws would change the points
    scales = {
        effects.block: rng.uniform(0.3, 0.7, effects.spreads.shape) * sd / effects.spreads
        for effects in model.effects
        if effects.by_skill
    }
    structure = Structure(
        np.where(np.isnan(fixed), loadings, fixed), rng.uniform(-1.0, 0.5, j), 0.5 * rng.standard_normal((p, k)) * sd,
        cov * np.outer(sd, sd), np.exp(rng.uniform(np.log(20.0), np.log(60.0), j)),
        np.clip(model.chance, 0.05, 0.6), np.full(j, 0.95), 0.5 * rng.standard_normal((j, layout.n_link)),
    )  # fmt: skip
    scales |= {
        effects.block: rng.uniform(0.3, 0.7, effects.spreads.shape) for effects in model.effects if not effects.by_skill
    }
    return model.space.free_vector(structure.with_scales(**scales))


def off_zero(model: LatentSkillLaw, space: ParameterSpace | RestrictedSpace, v: np.ndarray) -> np.ndarray:
    """Return the same point with random effects that were estimated as zero changed to small ones.

    At a scale of zero the score in it is zero.
    """
    structure = space.structure(v)
    sd, scales = np.sqrt(np.diag(structure.skill_cov)), {}
    for effects in model.effects:
        unit = sd / effects.spreads if effects.by_skill else 1.0
        scales[effects.block] = np.maximum(np.abs(structure.scales[effects.block]), _OFF_ZERO * unit)
    return space.free_vector(structure.with_scales(**scales))


def local_rank(
    model: LatentSkillLaw,
    v: np.ndarray,
    seed: int | np.random.Generator = 0,
    space: ParameterSpace | RestrictedSpace | None = None,
) -> LocalRank:
    """Return the rank of the information at a point, and the directions that the law of the scores does not determine.

    Parameters
    ----------
    model : LatentSkillLaw
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
        If Sigma is singular at the point, so that effects have no density.
    """
    space, rng = model.space if space is None else space, np.random.default_rng(seed)
    structure, parameters = model.recoding.user(space.structure(v)), model.table.parameters
    names, loadings, sizes = parameters.names, parameters.are(LOADING), standard_sizes(model, structure)
    grouped = full_rank_in_groups(model, space, v, structure, rng)
    if grouped is not None:
        weakest = coordinate_jacobian(space, model.recoding, v) @ grouped.direction
        no_directions = np.zeros((len(v), 0))
        return LocalRank(
            names, loadings, structure, len(v), len(v), grouped.smallest, np.nan, no_directions, no_directions,
            np.empty(0, dtype=int), weakest, sizes, grouped.rows,
        )  # fmt: skip
    copies = int(np.ceil(ROWS_PER_PARAMETER * len(v) / model.n_groups))
    triangle, rows, before = _known_links(model, space, len(v)), 0, -1
    for _ in range(_MOST_BATCHES):
        scores = np.vstack([_simulated_scores(model, space, v, structure, rng) for _ in range(copies)])
        rows += len(scores)
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, scores]), mode="r"))
        scale, singular, right = scaled_svd(triangle)
        flat = int(np.sum(singular <= FLAT))
        # new scores are not zero along directions that are not flat: the count is final once it does not fall
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


def _known_links(model: LatentSkillLaw, space: ParameterSpace | RestrictedSpace, size: int) -> np.ndarray:
    """Return the information of the penalty on the coordinates of links, as rows of scores (d, d).

    Where no score comes near a stretch of a link, only the penalty determines the link there. The penalty is part of
    the model, as those of asymptotes are, so that this is not a flat direction.
    """
    link = space.parameters.are(LINK)
    return np.diag(np.where(link, 1.0 / model.link_sd, 0.0)) if size else np.zeros((0, 0))


def _simulated_scores(
    model: LatentSkillLaw,
    space: ParameterSpace | RestrictedSpace,
    v: np.ndarray,
    structure: Structure,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return Laplace scores (L, d) of families simulated at v, with the design and missing cells of the data."""
    return laplace_scores(model, space, v, simulated_cells(model, structure, rng))


def _settling(space: ParameterSpace | RestrictedSpace, v: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return parameters, as positions in the natural vector, that leave no flat direction once they are fixed at zero.

    ``null`` are the flat directions in standardised natural parameters (P, m).
    """
    if not null.shape[1]:
        return np.empty(0, dtype=int)
    chosen = (np.cumsum(space.table.free) - 1)[settling_loadings(space, v)]
    rest = null @ null_space(null[chosen], _NEGLIGIBLE) if len(chosen) else null
    _, _, order = qr(rest.T, pivoting=True, mode="economic")
    return np.append(chosen, order[: rest.shape[1]])


# --- directions in the user's terms ------------------------------------------------------------------------------


def standard_sizes(model: LatentSkillLaw, structure: Structure) -> np.ndarray:
    """Return factors (P,) that make natural parameters comparable, whatever units the user has chosen."""
    layout = model.table.layout
    sd = np.sqrt(np.diag(structure.skill_cov))
    rows, columns = layout.triangle
    sizes = np.ones(layout.size)
    sizes[layout.index("loadings")] = sd
    sizes[layout.index("slopes")] = model.design.x.std(axis=0)[:, None] / sd
    for effects in model.effects:
        if effects.by_skill:
            sizes[layout.index(effects.block)] = effects.spreads / sd
    sizes[layout.slices["skill_cov"]] = 1.0 / (sd[rows] * sd[columns])
    sizes[layout.slices["precision"]] = 1.0 / structure.precision
    return sizes[model.table.free]


def _few_skills(directions: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Return another basis of the rotations (d, q), in which each rotates few skills.

    It makes the off-diagonal entries of the matrices E, ``turns`` (K, K, q), sparse.
    """
    k, _, count = turns.shape
    if count == 0:
        return directions
    off_diagonal = turns[~np.eye(k, dtype=bool)]  # it determines the diagonal, as units are fixed
    basis = sparse_basis(off_diagonal, np.ones(len(off_diagonal), dtype=bool))
    return directions @ np.linalg.lstsq(off_diagonal, basis, rcond=None)[0]


def sparse_basis(directions: np.ndarray, preferred: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
    """Return another basis of the span of some directions (P, m), with many zeros.

    For every entry in turn a linear program finds the direction in the span in which this entry is one and the sum of
    absolute entries smallest; such solutions have many exact zeros. The basis starts with the columns ``first`` (P, q)
    and takes the sparsest of these directions that are linearly independent. Only entries that are ``preferred`` (P,)
    are tried if they tell all directions apart.
    """
    count = directions.shape[1]
    first = np.empty((len(directions), 0)) if first is None else first
    if count == 0:
        return directions
    orthogonal = np.linalg.qr(directions)[0]
    length = np.linalg.norm(orthogonal, axis=1)
    not_zero = np.flatnonzero(length > _NEGLIGIBLE)
    chosen = not_zero[preferred[not_zero]]
    if np.linalg.matrix_rank(orthogonal[chosen], tol=_NEGLIGIBLE) < count:
        chosen = not_zero
    chosen = chosen[np.argsort(-length[chosen])][:_MOST_PROGRAMS]
    sparse = [_sparsest(orthogonal, row) for row in chosen] if count > 1 else []
    candidates = np.hstack([*sparse, orthogonal])
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


def _sparsest(basis: np.ndarray, row: int) -> np.ndarray:
    """Return the direction (P, 1) in the span of (P, m) in which entry ``row`` is one and many others are zero."""
    size, count = basis.shape
    identity = np.eye(size)
    program = linprog(
        np.append(np.zeros(count), np.ones(size)),
        A_ub=np.block([[basis, -identity], [-basis, -identity]]), b_ub=np.zeros(2 * size),
        A_eq=np.append(basis[row], np.zeros(size))[None], b_eq=[1.0],
        bounds=[(None, None)] * count + [(0.0, None)] * size, method="highs",
    )  # fmt: skip
    if program.x is None:
        return basis[:, :1]
    direction = basis @ program.x[:count]
    zero = np.abs(direction) < _NEGLIGIBLE
    if not zero.any():
        return direction[:, None]
    # the solution is accurate to the program's tolerance; its zeros determine the direction up to rounding
    return basis @ np.linalg.svd(basis[zero])[2][-1][:, None]


def mixed_skills(direction: np.ndarray, model: LatentSkillLaw, structure: Structure) -> tuple[tuple[str, str], ...]:
    """Return pairs (skill, other) such that a direction mixes the loadings on ``other`` into those on ``skill``.

    Empty where the direction is not a rotation of the skills.
    """
    in_s = np.zeros(model.table.layout.size)
    in_s[model.table.free] = direction
    change = in_s[model.table.layout.index("loadings")]
    largest = np.abs(change).max()
    turn = -np.linalg.lstsq(structure.loadings, change, rcond=None)[0]
    if largest == 0.0 or np.abs(change + structure.loadings @ turn).max() > _NEGLIGIBLE * largest:
        return ()
    sd = np.sqrt(np.diag(structure.skill_cov))
    turn = np.abs(turn / sd[:, None] * sd)
    mixed = np.argwhere((turn > 0.1 * turn.max()) & ~np.eye(len(sd), dtype=bool))
    return tuple((model.skills[column], model.skills[row]) for row, column in mixed)
