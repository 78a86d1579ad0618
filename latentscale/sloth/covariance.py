"""Sandwich covariance H^- M H^- of estimates by the least mean Huber loss.

H stands for the expected Hessian,

    H = sum_ij w kappa_j (d mu_ij)(d mu_ij)' + penalties,

kappa_j a kernel estimate of E psi'(r) over the errors of benchmark j (`numerics.huber.smoothed_curvature`, with
Silverman's bandwidth), as the sparsity of quantile regression is estimated: psi' itself is an indicator, and its sum
over cells jumps with single residuals. The terms in psi(r) times second derivatives have mean zero where residuals are
centred given the covariates, and are left out, so that H is never indefinite.

Fitting nearly the absolute value draws many residuals to zero, about one a parameter, and kappa_j taken from residuals
as they are would be far too large. Half of what the fit took from each is given back first (`freed_residuals`); as
that depends on leverages, and these on kappa, the two are computed in turn.

M of the shared parameters (slopes and the rows of benchmarks) sums the outer products of the gradients of clusters,
families or LLMs, each gradient taken orthogonal to the family intercepts and corrected for the cluster's leverage as
by Kauermann and Carroll (2001): psi -> (I - P)^(-1/2) psi, P the cluster's block of the hat matrix. A family's gradient
in its own intercepts is zero at the estimate and says nothing of their error; their part of M is
sum_i w^2 (d mu_i) V (d mu_i)', V (J, J) the second moments of psi over the scores of an LLM, from residuals from which
LLMs are left out as a whole (`freed_by_llm`): where LLMs deviate from their families, their scores do so together. It
is uncorrelated with the rest, as it is where V is diagonal and in proportion to kappa.

Skills are free up to K^2 (+ K with family intercepts) directions, along which H vanishes; covariances live on their
complement, and what is reported does not depend on them.

El Karoui, N., Bean, D., Bickel, P. J., Lim, C. and Yu, B. (2013). On robust regression with high-dimensional
predictors. PNAS 110, 14557-14562 (residuals of M-estimates and their leave-one-out residuals).

Kauermann, G. and Carroll, R. J. (2001). A note on the efficiency of sandwich covariance matrix estimation. JASA 96,
1387-1396.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from ..numerics.linalg import null_space
from .huber import kernel_bandwidth, smoothed_curvature
from .standardised import Parts, report_change, report_jacobian, report_values

_WEAK = 1e-10  # eigenvalue of the scaled Hessian, relative to the largest, that is none
_ROUNDS = 3  # of curvature and leverages, each computed from the other; more change standard errors by under 1%
_LEAST_ROOM = 0.05  # a cluster's residuals are stretched to at most (1 / .05)^(1/2) times their size
_INVOLVED = 1e-6  # share of a reported parameter's gradient along such a direction that makes it undetermined


@dataclass(frozen=True, eq=False)
class SlothCovariance:
    """Covariance of the reported parameters.

    Attributes
    ----------
    matrix : array (P, P)
        NaN where absent, and in rows and columns of parameters that the data do not determine.
    kind : {"cluster", "llm", "none"}
    description : str
    """

    matrix: np.ndarray
    kind: str
    description: str


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Of one problem, in its own coordinates.

    Attributes
    ----------
    influence : array (clusters, P)
        What a cluster adds to the estimate through the shared parameters.
    own : array (L K, P)
        Independent errors of family intercepts, scaled to unit variance.
    weak : array (P, m)
        Directions that the data do not determine, beyond the freedom of skills.
    reach : array (n, J, J)
        w d_ij' H^- d_ik, d_ij the gradient of the expected score of a cell: how far the expected score on benchmark j
        gives way when psi of the residual on k, of the same LLM, changes by one. 0 where a score is missing.
    curvature : array (J,)
        kappa_j; times the diagonal of ``reach`` they are leverages, which sum to the number of free parameters where
        there are no penalties.
    """

    influence: np.ndarray
    own: np.ndarray
    weak: np.ndarray
    reach: np.ndarray
    curvature: np.ndarray


def cell_jacobian(objective, vector, curves):
    """Derivatives of the expected scores in the shared parameters (n, J, S), family intercepts held still."""
    theta, (_, _, rows) = objective.skills(vector), objective.split(vector)
    k, (n, n_items) = objective.n_skills, curves.mu.shape
    d1 = curves.d1[:, :, None]
    by_slopes = d1 * (objective.z[:, None, :, None] * rows[None, :, None, :k]).reshape(n, n_items, -1)
    by_row = np.zeros((n, n_items, n_items, objective.row_length))
    item = np.arange(n_items)
    by_row[:, item, item, :k] = d1 * theta[:, None, :]
    by_row[:, item, item, k] = curves.d1
    if objective.response.size:
        by_row[:, item, item, k + 1 :] = curves.phi
    return np.concatenate([by_slopes, by_row.reshape(n, n_items, -1)], axis=2)


def curvature_and_noise(objective, vector, delta, n_free):
    """kappa_j and v_j, arrays (J,): first estimates of E psi'(r) and E psi(r)^2, allowing for ``n_free`` parameters."""
    seen = objective.weight > 0.0
    n = np.count_nonzero(seen)
    stretch = n / max(n - n_free, 1.0)
    residuals = objective.residuals(vector)
    psi = np.clip(residuals / delta, -1.0, 1.0)
    noise = [min(stretch * np.mean(psi[rows, item] ** 2), 1.0) for item, rows in enumerate(seen.T)]
    return _curvature(np.sqrt(stretch) * residuals, seen, delta), np.array(noise)


def _curvature(residuals, seen, delta):
    """Kernel estimates (J,) of E psi'(r) over the observed cells of each benchmark."""
    kappa = np.empty(seen.shape[1])
    for item, rows in enumerate(seen.T):
        residual = residuals[rows, item]
        kappa[item] = smoothed_curvature(residual, delta, max(kernel_bandwidth(residual), 0.1 * delta))
    return kappa


def skill_freedom(objective, vector):
    """Tangents (P, m) of the directions along which all expected scores stay: theta -> theta M + t."""
    if objective.held is not None:
        return np.empty((len(vector), 0))
    effects, slopes, rows = objective.split(vector)
    k, tangents = objective.n_skills, []
    for row in range(k):
        for column in range(k):
            turn = np.zeros((k, k))
            turn[row, column] = 1.0
            moved = np.zeros_like(rows)
            moved[:, :k] = -rows[:, :k] @ turn.T
            tangents.append(objective.join(None if effects is None else effects @ turn, slopes @ turn, moved))
    if effects is not None:
        for unit in np.eye(k):
            moved = np.zeros_like(rows)
            moved[:, k] = -rows[:, :k] @ unit
            tangents.append(objective.join(np.broadcast_to(unit, effects.shape), np.zeros_like(slopes), moved))
    return np.array(tangents).T


def sandwich(objective, vector, delta, n_free, units):
    """Sandwich of one problem, on the complement of the freedom of skills.

    Parameters
    ----------
    objective : SlothObjective
    vector : array (P,)
    delta : float
    n_free : int
    units : int array (n,)
        Cluster of each LLM; families lie within clusters, or clusters within families.

    Returns
    -------
    Sandwich
    """
    a = objective.sizes[0]
    seen, residuals = objective.weight > 0.0, objective.residuals(vector)
    curves, _, pull, _ = objective.cell_derivatives(vector, delta)
    kappa = curvature_and_noise(objective, vector, delta, n_free)[0]
    for _ in range(_ROUNDS):
        bread = _bread(objective, vector, curves, kappa)
        kappa = _curvature(freed_residuals(residuals, bread.reach, kappa, delta), seen, delta)
    bread = _bread(objective, vector, curves, kappa)
    influence = np.zeros((units.max() + 1, len(vector)))
    influence[:, a:] = _influences(bread.jacobian, objective.weight * kappa, pull, bread.root, units)
    influence[:, :a] = -influence[:, a:] @ bread.moved.T
    own = np.zeros((0, len(vector)))
    if a:
        free = freed_by_llm(residuals, bread.reach, kappa, delta)
        noise = _noise(np.clip(free / delta, -1.0, 1.0), seen & several(objective)[:, None])
        own = _own_errors(objective, vector, bread.inverse, (objective.weight * curves.d1)[:, :, None], noise)
    return Sandwich(influence, own, bread.weak, bread.reach, kappa)


@dataclass(frozen=True, eq=False)
class _Bread:
    """H^- of one problem, in parts.

    Attributes
    ----------
    jacobian : array (n, J, S)
        Derivatives of the expected scores in the shared parameters, family intercepts following.
    root : array (S, r)
        R R' is the block of the shared parameters.
    moved : array (L K, S)
        Intercepts move by minus this times a change of the shared parameters.
    inverse : array (L, K, K) or None
        Of the families' own blocks.
    weak : array (P, m)
    reach : array (n, J, J)
    """

    jacobian: np.ndarray
    root: np.ndarray
    moved: np.ndarray
    inverse: np.ndarray | None
    weak: np.ndarray
    reach: np.ndarray


def _bread(objective, vector, curves, kappa):
    a, k = objective.sizes[0], objective.n_skills
    weight = objective.weight * kappa
    family, cross, shared = objective.second(vector, curves, np.zeros_like(weight), weight)
    jacobian = cell_jacobian(objective, vector, curves)
    inverse, weak, reach, moved = None, [], 0.0, np.zeros((0, shared.shape[0]))
    if a:
        inverse, lost = _pseudo_inverse(family)
        moved = (inverse @ cross).reshape(a, -1)
        shared = shared - cross.reshape(a, -1).T @ moved
        by_effects = curves.d1[:, :, None] * objective.split(vector)[2][:, :k]
        jacobian -= by_effects @ moved.reshape(-1, k, len(shared))[objective.family]
        reach = by_effects @ inverse[objective.family] @ by_effects.swapaxes(1, 2)
        weak = [np.eye(len(vector))[number * k : (number + 1) * k].T @ lost[number] for number in range(len(family))]
        weak = [directions for directions in weak if directions.shape[1]]
    root, lost = _shared_root(objective, vector, shared)
    carried = np.concatenate([-moved @ lost, lost])
    by_shared = jacobian @ root
    reach = _within_seen(objective.weight, reach + by_shared @ by_shared.swapaxes(1, 2))
    return _Bread(jacobian, root, moved, inverse, np.concatenate([*weak, carried], axis=1), reach)


def several(objective):
    """Which LLMs (n,) are not the only ones of families with intercepts of their own."""
    if not objective.n_families:
        return np.ones(len(objective.y), dtype=bool)
    return np.bincount(objective.family)[objective.family] > 1


def freed_residuals(residuals, reach, kappa, delta):
    """Residuals with half of what the fit took from each of them given back, array (n, J).

    With h = kappa w d' H^- d the leverage of a cell, its residual when it is left out is nearly
    r + psi(r) w d' H^- d / (1 - h). Of this change the share s / (1 + s), s = (1 - h)^(1/2), is given back, which for
    least squares makes r / (1 - h)^(1/2), a residual with the variance of an error.

    Parameters
    ----------
    residuals : array (n, J)
    reach : array (n, J, J)
    kappa : array (J,)
    delta : float

    Examples
    --------
    >>> half = freed_residuals(np.array([[0.002]]), np.array([[[0.036]]]), np.array([10.0]), 0.1)  # h = .36
    >>> half.round(6)
    array([[0.0025]])
    """
    own = np.einsum("njj->nj", reach)
    share = _given_back(kappa * own)
    return residuals + np.clip(residuals / delta, -1.0, 1.0) * own * share


def freed_by_llm(residuals, reach, kappa, delta):
    """The same, with all scores of an LLM left out at once: errors that its scores share are given back too.

    An LLM that is the only one of its family cannot be left out; where its family's intercepts follow its scores
    nothing is given back.
    """
    good = kappa > 0.0
    root = np.sqrt(np.where(good, kappa, 1.0))
    hat = good[:, None] * (root[:, None] * reach * root) * good
    size, directions = np.linalg.eigh(hat)
    weight = np.maximum(size, 0.0) * _given_back(size)
    seen = np.einsum("njj->nj", reach) > 0.0
    psi = np.where(seen, np.clip(residuals / delta, -1.0, 1.0), 0.0)
    turned = np.einsum("nij,ni->nj", directions, psi / root)
    return residuals + np.einsum("nij,nj->ni", directions, weight * turned) / root


def _given_back(leverage):
    room = np.maximum(1.0 - leverage, _LEAST_ROOM)
    root = np.sqrt(room)
    return root / (1.0 + root) / room


def _noise(psi, used):
    """Second moments (J, J) of psi over the scores of an LLM, positive semi-definite."""
    psi, used = np.where(used, psi, 0.0), used.astype(float)
    moments = psi.T @ psi / np.maximum(used.T @ used, 1.0)
    size, directions = np.linalg.eigh(moments)
    return (directions * np.maximum(size, 0.0)) @ directions.T


def _within_seen(weight, blocks):
    """Blocks (n, J, J) times the weight of a cell, zero where one of the two scores is missing."""
    root = np.sqrt(weight)
    return root[:, :, None] * blocks * root[:, None, :]


def _influences(jacobian, weight, pull, root, units):
    """Leverage-corrected influences of clusters on the shared parameters, (clusters, S)."""
    out = np.zeros((units.max() + 1, len(root)))
    for unit in np.unique(units):
        rows = units == unit
        seen = weight[rows] > 0.0
        # a benchmark whose residuals are all beyond reach of the kernel has no curvature, and no say
        x = jacobian[rows][seen] * np.sqrt(weight[rows][seen])[:, None]
        score = pull[rows][seen] / np.sqrt(weight[rows][seen])
        whitened = x @ root
        size, directions = np.linalg.eigh(whitened @ whitened.T)
        factor = 1.0 / np.sqrt(np.maximum(1.0 - size, _LEAST_ROOM))
        out[unit] = -root @ (whitened.T @ (directions @ (factor * (directions.T @ score))))
    return out


def _own_errors(objective, vector, inverse, pull, noise):
    """Errors of family intercepts given the shared parameters: rows (L K, P) of unit variance."""
    k = objective.n_skills
    by_llm = pull * objective.split(vector)[2][:, :k]
    scores = np.add.reduceat(by_llm.swapaxes(1, 2) @ noise @ by_llm, objective.family_starts)
    size, directions = np.linalg.eigh(scores)
    roots = inverse @ (directions * np.sqrt(np.maximum(size, 0.0))[:, None, :])
    out = np.zeros((len(roots) * k, len(vector)))
    for number, root in enumerate(roots):
        out[number * k : (number + 1) * k, number * k : (number + 1) * k] = root.T
    return out


def _pseudo_inverse(blocks):
    """Pseudo-inverses (L, K, K) of positive semi-definite blocks, and their null directions, list of (K, m)."""
    size, directions = np.linalg.eigh(blocks)
    good = size > np.maximum(_WEAK * size[:, -1:], _WEAK * _WEAK)
    weight = np.where(good, 1.0 / np.where(good, size, 1.0), 0.0)
    inverse = (directions * weight[:, None, :]) @ directions.swapaxes(1, 2)
    return inverse, [block[:, ~kept] for block, kept in zip(directions, good, strict=True)]


def _shared_root(objective, vector, hessian):
    """R with R R' the inverse on the complement of the freedom of skills, (S, r), and weak directions (S, m)."""
    a = objective.sizes[0]
    rest = _resting(objective, vector)[a:]
    moving = np.flatnonzero(~rest)
    freedom = skill_freedom(objective, vector)[a:]
    if rest.any() and freedom.shape[1]:  # those that leave slopes at zero where they are
        freedom = freedom @ null_space(freedom[rest], 1e-9)
    hessian = hessian[np.ix_(moving, moving)]
    diagonal = np.diag(hessian)
    scale = 1.0 / np.sqrt(np.maximum(diagonal, 1e-14 * diagonal.max()))
    # judged in scaled coordinates, in which curvature does not depend on units
    basis = np.eye(len(moving))
    if freedom.shape[1]:
        basis = null_space((freedom[moving] * scale[:, None]).T, 1e-12)
    curvature, directions = np.linalg.eigh(basis.T @ (hessian * np.outer(scale, scale)) @ basis)
    good = curvature > _WEAK * curvature[-1]
    back = np.zeros((len(rest), len(curvature)))
    back[moving] = scale[:, None] * (basis @ directions)
    return back[:, good] / np.sqrt(curvature[good]), back[:, ~good]


def free_parameters(objective, vector):
    """Number of free parameters: those at rest and the freedom of skills taken off."""
    moving = len(vector) - int(_resting(objective, vector).sum())
    if objective.held is not None:
        return moving
    k, p = objective.n_skills, objective.z.shape[1]
    if objective.n_families:
        return moving - k * k - k
    # without family intercepts skills are combinations of the p covariates, and further ones are redundant
    rank = min(k, p)
    return moving - (k - rank) * (p + objective.y.shape[1]) - rank * rank


def _resting(objective, vector):
    """Parameters that do not move: held ones, and slopes at their bound."""
    a, b = objective.sizes
    rest = np.zeros(len(vector), dtype=bool)
    if objective.held is not None:
        rest[a:] = objective.held
    if objective.positive is not None:
        rest[a : a + b] |= objective.positive.ravel() & (vector[a : a + b] <= 0.0)
    return rest


def sandwiches(model, estimate, kind):
    """Sandwich of each problem of a fit, with families ("cluster") or LLMs ("llm") as independent units: a list."""
    units = model.family_codes if kind == "cluster" else np.arange(model.n_llms)
    return [
        sandwich(
            piece.objective, piece.vector, estimate.options["delta"],
            free_parameters(piece.objective, piece.vector), units[piece.rows],
        )
        for piece in estimate.pieces
    ]  # fmt: skip


def sloth_covariance(model, estimate, report, kind):
    """Covariance of the reported parameters of a Sloth fit.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    report : Report
    kind : {"cluster", "llm", "none"}

    Returns
    -------
    SlothCovariance
    """
    if kind == "none":
        size = len(report_values(model, report.parts))
        return SlothCovariance(np.full((size, size), np.nan), kind, "none asked for")
    parts = sandwiches(model, estimate, kind)
    used = model.n_families if kind == "cluster" else model.n_llms
    jacobian = _jacobian(model, estimate, report)
    influence = np.zeros((used, jacobian.shape[1]))
    first = 0
    for part in parts:
        clusters, width = part.influence.shape
        influence[:clusters, first : first + width] = part.influence
        first += width
    moved = influence @ jacobian.T
    own = block_diag(*(part.own for part in parts)) @ jacobian.T
    matrix = moved.T @ moved + own.T @ own
    weak = block_diag(*(part.weak for part in parts))
    lost = _undetermined(jacobian, weak) | ~np.isfinite(report_values(model, report.parts))
    matrix[lost], matrix[:, lost] = np.nan, np.nan
    word = f"{used} families" if kind == "cluster" else f"{used} LLMs"
    return SlothCovariance(matrix, kind, f"sandwich with {word} as independent units")


def _undetermined(jacobian, weak):
    """Reported parameters that change along directions which the data do not determine."""
    lost = ~np.isfinite(jacobian).all(axis=1)
    if weak.shape[1]:
        along = np.abs(jacobian @ (weak / np.linalg.norm(weak, axis=0))).max(axis=1)
        lost |= along > _INVOLVED * np.linalg.norm(jacobian, axis=1)
    return lost


def _jacobian(model, estimate, report):
    """Derivative of the reported parameters in the optimiser's coordinates, problem after problem: (R, P)."""
    blocks = []
    for piece in estimate.pieces:
        change = raw_changes(model, estimate, piece, np.eye(len(piece.vector)))
        moved = report_change(model, estimate, report, change)
        blocks.append(report_jacobian(model, report, moved).T)
    return np.concatenate(blocks, axis=1)


def raw_changes(model, estimate, piece, directions):
    """Changes of the fitted parts along directions in the coordinates of a problem.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    piece : Piece
    directions : array (m, P)

    Returns
    -------
    Parts
        Arrays with a leading axis (m,); zero for what another problem estimates.
    """
    objective = piece.objective
    size, k = len(directions), objective.n_skills
    a, b = objective.sizes
    rows = directions[:, a + b :].reshape(size, -1, objective.row_length)
    columns = piece.items if model.per_benchmark else np.arange(k)
    total = len(columns) if not model.per_benchmark else len(model.benchmarks)
    by_x = piece.transform @ directions[:, a : a + b].reshape(size, -1, k)
    slopes = np.zeros((size, len(model.terms), total))
    slopes[:, :, columns] = by_x
    loadings = np.zeros((size, *estimate.loadings.shape))
    if not model.per_benchmark:
        loadings[:] = rows[:, :, :k]
    intercepts, phi = np.zeros((size, len(model.benchmarks))), np.zeros((size, *estimate.phi.shape))
    intercepts[:, piece.items], phi[:, piece.items] = rows[:, :, k], rows[:, :, k + 1 :]
    if estimate.effects is None:
        here, inner = piece.transform @ objective.split(piece.vector)[1], objective.split(piece.vector)[2][:, :k]
        shift = piece.centres @ here
        intercepts[:, piece.items] -= (piece.centres @ by_x)[:, 0] @ inner.T
        if not model.per_benchmark:
            intercepts -= rows[:, :, :k] @ shift[0]
        return Parts(None, slopes, loadings, intercepts, None, phi)
    effects = np.zeros((size, model.n_families, total))
    moved = directions[:, :a].reshape(size, -1, k) - piece.centres @ by_x
    effects[:, piece.families[:, None], columns] = moved
    return Parts(effects, slopes, loadings, intercepts, None, phi)
