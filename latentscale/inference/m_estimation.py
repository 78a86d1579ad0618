"""Sandwich covariance H^- M H^- of estimates by the least mean Huber loss.

H stands for the expected Hessian,

    H = sum_ij w kappa_j (d mu_ij)(d mu_ij)' + penalties,

kappa_j a kernel estimate of E psi'(r) over the residuals of benchmark j (`numerics.huber.smoothed_curvature`, with
Silverman's bandwidth), as the sparsity of quantile regression is estimated: psi' itself is an indicator, and its sum
over cells jumps with single residuals. The terms in psi(r) times second derivatives have mean zero where residuals are
centred given the covariates, and are left out, so that H is never indefinite.

M of the shared parameters (slopes and the rows of benchmarks) sums the outer products of the gradients of clusters,
families or LLMs, each gradient taken orthogonal to the family intercepts and corrected for the cluster's leverage as
by Kauermann and Carroll (2001): psi -> (I - P)^(-1/2) psi, P the cluster's block of the hat matrix. A family's gradient
in its own intercepts is zero at the estimate and says nothing of their error; their part of M is
sum_ij w^2 v_j (d mu_ij)(d mu_ij)', scores independent given skills, v_j the mean of psi^2 over benchmark j, and it is
uncorrelated with the rest, as it is where v_j and kappa_j are in proportion.

Skills are free up to K^2 (+ K with family intercepts) directions, along which H vanishes; covariances live on their
complement, and what is reported does not depend on them. Fitting shrinks residuals: they are stretched by
(n / (n - P))^(1/2) before kappa_j is estimated, and v_j is multiplied by n / (n - P), n scores and P parameters.

Kauermann, G. and Carroll, R. J. (2001). A note on the efficiency of sandwich covariance matrix estimation. JASA 96,
1387-1396.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from ..numerics.huber import kernel_bandwidth, smoothed_curvature
from ..numerics.linalg import null_space
from .sloth_report import Parts, report_change, report_jacobian, report_values

_WEAK = 1e-10  # eigenvalue of the scaled Hessian, relative to the largest, that is none
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
    """

    influence: np.ndarray
    own: np.ndarray
    weak: np.ndarray


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
    """kappa_j and v_j, arrays (J,): estimates of E psi'(r) and E psi(r)^2 that allow for ``n_free`` parameters."""
    seen = objective.weight > 0.0
    n = np.count_nonzero(seen)
    stretch = n / max(n - n_free, 1.0)
    residuals = objective.residuals(vector)
    kappa, noise = np.empty((2, seen.shape[1]))
    for item in range(len(kappa)):
        residual = residuals[seen[:, item], item]
        bandwidth = max(kernel_bandwidth(np.sqrt(stretch) * residual), 0.1 * delta)
        kappa[item] = smoothed_curvature(np.sqrt(stretch) * residual, delta, bandwidth)
        psi = np.clip(residual / delta, -1.0, 1.0)
        noise[item] = min(stretch * np.mean(psi**2), 1.0)
    return kappa, noise


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
    a, k = objective.sizes[0], objective.n_skills
    kappa, noise = curvature_and_noise(objective, vector, delta, n_free)
    curves, _, pull, _ = objective.cell_derivatives(vector, delta)
    weight = objective.weight * kappa
    family, cross, shared = objective.second(vector, curves, np.zeros_like(weight), weight)
    jacobian = cell_jacobian(objective, vector, curves)
    own, weak = np.zeros((0, len(vector))), []
    moved = np.zeros((0, shared.shape[0]))
    if a:
        inverse, lost = _pseudo_inverse(family)
        moved = (inverse @ cross).reshape(a, -1)  # intercepts move by minus this times a change of shared parameters
        shared = shared - cross.reshape(a, -1).T @ moved
        loading = objective.split(vector)[2][:, :k]
        jacobian -= curves.d1[:, :, None] * (loading @ moved.reshape(-1, k, len(shared))[objective.family])
        own = _own_errors(objective, vector, inverse, (objective.weight * curves.d1) ** 2 * noise)
        weak = [np.eye(len(vector))[number * k : (number + 1) * k].T @ lost[number] for number in range(len(family))]
        weak = [directions for directions in weak if directions.shape[1]]
    root, lost = _shared_root(objective, vector, shared)
    influence = np.zeros((units.max() + 1, len(vector)))
    influence[:, a:] = _influences(jacobian, weight, pull, root, units)
    influence[:, :a] = -influence[:, a:] @ moved.T
    carried = np.concatenate([-moved @ lost, lost])
    return Sandwich(influence, own, np.concatenate([*weak, carried], axis=1))


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


def _own_errors(objective, vector, inverse, variance):
    """Errors of family intercepts given the shared parameters: rows (L K, P) of unit variance."""
    k = objective.n_skills
    rows = objective.split(vector)[2][:, :k]
    by_llm = (variance @ (rows[:, :, None] * rows[:, None, :]).reshape(-1, k * k)).reshape(-1, k, k)
    scores = np.add.reduceat(by_llm, objective.family_starts)
    size, directions = np.linalg.eigh(scores)
    roots = inverse @ (directions * np.sqrt(np.maximum(size, 0.0))[:, None, :])
    out = np.zeros((len(rows) and roots.shape[0] * k, len(vector)))
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
    units = model.family_codes if kind == "cluster" else np.arange(model.n_llms)
    n_free = [free_parameters(piece.objective, piece.vector) for piece in estimate.pieces]
    parts = [
        sandwich(piece.objective, piece.vector, estimate.options["delta"], count, units[piece.rows])
        for piece, count in zip(estimate.pieces, n_free, strict=True)
    ]
    used = units.max() + 1
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
        change = _changes(model, estimate, piece)
        moved = report_change(model, estimate, report, change)
        blocks.append(report_jacobian(model, report, moved).T)
    return np.concatenate(blocks, axis=1)


def _changes(model, estimate, piece):
    """Changes of the fitted parts along each coordinate of a problem, Parts with a leading axis (P,)."""
    objective = piece.objective
    size, k = len(piece.vector), objective.n_skills
    a, b = objective.sizes
    eye = np.eye(size)
    rows = eye[:, a + b :].reshape(size, -1, objective.row_length)
    columns = piece.items if model.per_benchmark else np.arange(k)
    total = len(columns) if not model.per_benchmark else len(model.benchmarks)
    by_x = piece.transform @ eye[:, a : a + b].reshape(size, -1, k)
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
    moved = eye[:, :a].reshape(size, -1, k) - piece.centres @ by_x
    effects[:, piece.families[:, None], columns] = moved
    return Parts(effects, slopes, loadings, intercepts, None, phi)
