"""Sandwich covariance H^- M H^- of estimates that minimise the mean Huber loss.

H is an estimate of the expected Hessian,

    H = sum_ij w kappa_j (d mu_ij)(d mu_ij)' + penalties,

where w is the weight of a cell and kappa_j a kernel estimate of E psi'(r) over the errors of benchmark j
(``sloth.huber.smoothed_curvature``, with Silverman's bandwidth), in the way in which the sparsity of quantile
regression is estimated: psi' itself is an indicator, whose sum over cells jumps with single residuals. The terms in
psi(r) times second derivatives of mu have mean zero if residuals are centred given the covariates. They are left out,
so that H is never indefinite.

Because the loss is nearly the absolute value, the fit makes many residuals zero, about one for each parameter, and
kappa_j computed from the residuals themselves would be far too large. They are first corrected for their leverages
(``inflated_residuals``). These depend on kappa in turn, so the two are computed alternately.

For the shared parameters (slopes and the rows of benchmarks) M is the sum of the outer products of the gradients of
clusters, which are families or LLMs. Each gradient is made orthogonal to the family intercepts and corrected for the
cluster's leverage as by Kauermann and Carroll (2001): psi -> (I - P)^(-1/2) psi, with P the cluster's block of the hat
matrix. The gradient of a family in its own intercepts is zero at the estimate and gives no information on their error.
Their block of M is therefore sum_i w^2 (d mu_i) V (d mu_i)', where V (J, J) are the second moments of psi over the
scores of an LLM, from residuals that are corrected as if LLMs were left out as a whole (``inflated_by_llm``): the
scores of an LLM deviate together from those of its family. This block is taken to be uncorrelated with the rest, which
holds if V is diagonal and proportional to kappa.

Skills can be transformed along K^2 (+ K with family intercepts) directions that change no expected score, and along
which H vanishes. Covariances are computed on the complement of these directions, on which the reported parameters do
not depend.

Kauermann, G. and Carroll, R. J. (2001). A note on the efficiency of sandwich covariance matrix estimation. JASA 96,
1387-1396.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import block_diag

from ..numerics.linalg import null_space
from .degrees_of_freedom import free_parameters, resting_parameters, skill_freedom
from .huber import kernel_bandwidth, smoothed_curvature
from .leverage import LEAST_ROOM, inflated_by_llm, inflated_residuals, several
from .objective import SlothObjective
from .reported_skills import ReportedSkills, SlothArrays, report_change, report_jacobian, report_values

if TYPE_CHECKING:
    from .fit import SlothEstimate
    from .model import HuberModel
    from .problems import Piece

_WEAK = 1e-10  # an eigenvalue of the scaled Hessian this small, relative to the largest, counts as zero
_ROUNDS = 3  # alternations of curvature and leverages; further ones change standard errors by less than 1%
_INVOLVED = 1e-6  # a parameter is undetermined if this share of its gradient is along an undetermined direction


@dataclass(frozen=True, eq=False)
class SlothCovariance:
    """Covariance of the reported parameters.

    Attributes
    ----------
    matrix : array (P, P)
        NaN if there is none, and in rows and columns of parameters that the data do not determine.
    kind : {"cluster", "llm", "none"}
    description : str
        The kind in words.
    """

    matrix: np.ndarray
    kind: str
    description: str


@dataclass(frozen=True, eq=False)
class Sandwich:
    """The sandwich of one problem, in the coordinates of the optimiser.

    The covariance matrix is influence' influence + effect_errors' effect_errors.

    Attributes
    ----------
    influence : array (clusters, P)
        Influence of each cluster on the estimate through the shared parameters.
    effect_errors : array (L K, P)
        Independent errors of the family intercepts given the shared parameters, for random numbers of unit variance.
    undetermined : array (P, m)
        Directions that the data do not determine, in addition to the freedom of skills.
    hat : array (n, J, J)
        The products w d_ij' H^- d_ik, where d_ij is the gradient of the expected score of a cell: the change of the
        expected score on benchmark j if psi of the same LLM's residual on k changes by one. 0 where a score is missing.
    curvature : array (J,)
        The kappa_j. Their products with the diagonal of ``hat`` are the leverages, which sum to the number of free
        parameters if there are no penalties.
    """

    influence: np.ndarray
    effect_errors: np.ndarray
    undetermined: np.ndarray
    hat: np.ndarray
    curvature: np.ndarray


def cell_jacobian(objective: SlothObjective, vector: np.ndarray, curves: Any) -> np.ndarray:
    """Return the derivatives (n, J, S) of the expected scores in the shared parameters, with fixed family intercepts.

    ``curves`` are the derivatives of the expected scores, as ``SlothObjective.cell_derivatives`` returns them.
    """
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


def curvature_and_noise(
    objective: SlothObjective, vector: np.ndarray, delta: float, n_free: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return first estimates kappa_j and v_j (J,) of E psi'(r) and E psi(r)^2, given the number of free parameters."""
    seen = objective.weight > 0.0
    n = np.count_nonzero(seen)
    stretch = n / max(float(n - n_free), 1.0)
    residuals = objective.residuals(vector)
    psi = np.clip(residuals / delta, -1.0, 1.0)
    noise = [min(stretch * np.mean(psi[rows, item] ** 2), 1.0) for item, rows in enumerate(seen.T)]
    return _curvature(np.sqrt(stretch) * residuals, seen, delta), np.array(noise)


def _curvature(residuals: np.ndarray, seen: np.ndarray, delta: float) -> np.ndarray:
    """Return kernel estimates (J,) of E psi'(r) over the observed cells of each benchmark."""
    kappa = np.empty(seen.shape[1])
    for item, rows in enumerate(seen.T):
        residual = residuals[rows, item]
        kappa[item] = smoothed_curvature(residual, delta, max(kernel_bandwidth(residual), 0.1 * delta))
    return kappa


def sandwich(objective: SlothObjective, vector: np.ndarray, delta: float, n_free: int, units: np.ndarray) -> Sandwich:
    """Return the sandwich of one problem, on the complement of the freedom of skills.

    Parameters
    ----------
    objective : SlothObjective
    vector : array (P,)
        The estimate.
    delta : float
        Where the Huber loss becomes linear.
    n_free : int
        Number of free parameters.
    units : int array (n,)
        Number of each LLM's cluster. Families must lie within clusters, or clusters within families.

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
        kappa = _curvature(inflated_residuals(residuals, bread.hat, kappa, delta), seen, delta)
    bread = _bread(objective, vector, curves, kappa)
    influence = np.zeros((units.max() + 1, len(vector)))
    influence[:, a:] = _influences(bread.jacobian, objective.weight * kappa, pull, bread.root, units)
    influence[:, :a] = -influence[:, a:] @ bread.coupling.T
    effect_errors = np.zeros((0, len(vector)))
    if bread.inverse is not None:
        inflated = inflated_by_llm(residuals, bread.hat, kappa, delta)
        noise = _noise(np.clip(inflated / delta, -1.0, 1.0), seen & several(objective)[:, None])
        slopes = (objective.weight * curves.d1)[:, :, None]
        effect_errors = _effect_errors(objective, vector, bread.inverse, slopes, noise)
    return Sandwich(influence, effect_errors, bread.undetermined, bread.hat, kappa)


@dataclass(frozen=True, eq=False)
class _Bread:
    """The pseudo-inverse H^- of one problem by blocks; a refers to family intercepts, s to shared parameters.

    Attributes
    ----------
    jacobian : array (n, J, S)
        Derivatives of the expected scores in the shared parameters, where the family intercepts follow the shared
        parameters such that their gradient stays zero.
    root : array (S, r)
        R, where R R' is the inverse of the Schur complement H_ss - H_sa H_aa^- H_as.
    coupling : array (L K, S)
        H_aa^- H_as. If the shared parameters change by x, the family intercepts follow by -H_aa^- H_as x.
    inverse : array (L, K, K) or None
        The families' blocks of H_aa^-; None if intercepts are shared.
    undetermined : array (P, m)
        Directions that the data do not determine.
    hat : array (n, J, J)
        See ``Sandwich``.
    """

    jacobian: np.ndarray
    root: np.ndarray
    coupling: np.ndarray
    inverse: np.ndarray | None
    undetermined: np.ndarray
    hat: np.ndarray


def _bread(objective: SlothObjective, vector: np.ndarray, curves: Any, kappa: np.ndarray) -> _Bread:
    """Return H^- for given curvatures kappa (J,)."""
    a, k = objective.sizes[0], objective.n_skills
    weight = objective.weight * kappa
    family, cross, shared = objective.second(vector, curves, np.zeros_like(weight), weight)
    jacobian = cell_jacobian(objective, vector, curves)
    inverse, hat, coupling = None, np.zeros(()), np.zeros((0, shared.shape[0]))
    undetermined: list[np.ndarray] = []
    if a:
        inverse, null = _pseudo_inverse(family)
        coupling = (inverse @ cross).reshape(a, -1)
        shared = shared - cross.reshape(a, -1).T @ coupling
        by_effects = curves.d1[:, :, None] * objective.split(vector)[2][:, :k]
        jacobian -= by_effects @ coupling.reshape(-1, k, len(shared))[objective.family]
        hat = by_effects @ inverse[objective.family] @ by_effects.swapaxes(1, 2)
        identity = np.eye(len(vector))
        for number in range(len(family)):
            if null[number].shape[1]:
                undetermined.append(identity[number * k : (number + 1) * k].T @ null[number])
    root, lost = _shared_root(objective, vector, shared)
    undetermined.append(np.concatenate([-coupling @ lost, lost]))
    by_shared = jacobian @ root
    hat = _between_observed(objective.weight, hat + by_shared @ by_shared.swapaxes(1, 2))
    return _Bread(jacobian, root, coupling, inverse, np.concatenate(undetermined, axis=1), hat)


def _noise(psi: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return the second moments (J, J) of psi (n, J) over the scores of an LLM, made positive semi-definite.

    Only cells that are ``used`` (n, J) count.
    """
    psi, used = np.where(used, psi, 0.0), used.astype(float)
    moments = psi.T @ psi / np.maximum(used.T @ used, 1.0)
    size, directions = np.linalg.eigh(moments)
    return (directions * np.maximum(size, 0.0)) @ directions.T


def _between_observed(weight: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Multiply blocks (n, J, J) by the weight of a cell, which is zero where one of the two scores is missing."""
    root = np.sqrt(weight)
    return root[:, :, None] * blocks * root[:, None, :]


def _influences(
    jacobian: np.ndarray, weight: np.ndarray, pull: np.ndarray, root: np.ndarray, units: np.ndarray
) -> np.ndarray:
    """Return the leverage-corrected influences (clusters, S) of clusters on the shared parameters.

    ``pull`` (n, J) are the derivatives of the weighted loss in the expected scores.
    """
    out = np.zeros((units.max() + 1, len(root)))
    for unit in np.unique(units):
        rows = units == unit
        seen = weight[rows] > 0.0
        # a benchmark all of whose residuals are far beyond delta has no curvature, and therefore no influence
        x = jacobian[rows][seen] * np.sqrt(weight[rows][seen])[:, None]
        score = pull[rows][seen] / np.sqrt(weight[rows][seen])
        whitened = x @ root
        size, directions = np.linalg.eigh(whitened @ whitened.T)
        factor = 1.0 / np.sqrt(np.maximum(1.0 - size, LEAST_ROOM))
        out[unit] = -root @ (whitened.T @ (directions @ (factor * (directions.T @ score))))
    return out


def _effect_errors(
    objective: SlothObjective, vector: np.ndarray, inverse: np.ndarray, slopes: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Return ``Sandwich.effect_errors`` (L K, P).

    ``slopes`` (n, J, 1) are the weighted derivatives of the expected scores in eta, ``noise`` (J, J) the second moments
    of psi over the scores of an LLM.
    """
    assert objective.family_starts is not None, "families share their intercepts"
    k = objective.n_skills
    by_llm = slopes * objective.split(vector)[2][:, :k]
    scores = np.add.reduceat(by_llm.swapaxes(1, 2) @ noise @ by_llm, objective.family_starts)
    size, directions = np.linalg.eigh(scores)
    roots = inverse @ (directions * np.sqrt(np.maximum(size, 0.0))[:, None, :])
    out = np.zeros((len(roots) * k, len(vector)))
    for number, root in enumerate(roots):
        out[number * k : (number + 1) * k, number * k : (number + 1) * k] = root.T
    return out


def _pseudo_inverse(blocks: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the pseudo-inverses of positive semi-definite blocks (L, K, K), and a basis (K, m) of each null space."""
    size, directions = np.linalg.eigh(blocks)
    good = size > np.maximum(_WEAK * size[:, -1:], _WEAK * _WEAK)
    weight = np.where(good, 1.0 / np.where(good, size, 1.0), 0.0)
    inverse = (directions * weight[:, None, :]) @ directions.swapaxes(1, 2)
    return inverse, [block[:, ~kept] for block, kept in zip(directions, good, strict=True)]


def _shared_root(objective: SlothObjective, vector: np.ndarray, hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return R (S, r), where R R' is the inverse of a Hessian (S, S) on the complement of the freedom of skills.

    Also return the directions (S, m) in that complement along which the Hessian is singular.
    """
    a = objective.sizes[0]
    rest = resting_parameters(objective, vector)[a:]
    moving = np.flatnonzero(~rest)
    freedom = skill_freedom(objective, vector)[a:]
    if rest.any() and freedom.shape[1]:  # keep the combinations that do not change the resting slopes
        freedom = freedom @ null_space(freedom[rest], 1e-9)
    hessian = hessian[np.ix_(moving, moving)]
    diagonal = np.diag(hessian)
    scale = 1.0 / np.sqrt(np.maximum(diagonal, 1e-14 * diagonal.max()))
    # the Hessian is scaled, so that which eigenvalues count as zero does not depend on units
    basis = np.eye(len(moving))
    if freedom.shape[1]:
        basis = null_space((freedom[moving] * scale[:, None]).T, 1e-12)
    curvature, directions = np.linalg.eigh(basis.T @ (hessian * np.outer(scale, scale)) @ basis)
    good = curvature > _WEAK * curvature[-1]
    back = np.zeros((len(rest), len(curvature)))
    back[moving] = scale[:, None] * (basis @ directions)
    return back[:, good] / np.sqrt(curvature[good]), back[:, ~good]


def sandwiches(model: "HuberModel", estimate: "SlothEstimate", kind: str) -> list[Sandwich]:
    """Return the sandwich of each problem of a fit, with families ("cluster") or LLMs ("llm") as independent units."""
    units = model.family_codes if kind == "cluster" else np.arange(model.n_llms)
    return [
        sandwich(
            piece.objective, piece.vector, estimate.options["delta"],
            free_parameters(piece.objective, piece.vector), units[piece.rows],
        )
        for piece in estimate.pieces
    ]  # fmt: skip


def sloth_covariance(
    model: "HuberModel", estimate: "SlothEstimate", report: ReportedSkills, kind: str
) -> SlothCovariance:
    """Return the covariance of the reported parameters of a Sloth fit.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    report : ReportedSkills
    kind : {"cluster", "llm", "none"}
        Whether families or LLMs are independent units, or no covariance is wanted.

    Returns
    -------
    SlothCovariance
    """
    if kind == "none":
        size = len(report_values(model, report.arrays))
        return SlothCovariance(np.full((size, size), np.nan), kind, "none asked for")
    by_problem = sandwiches(model, estimate, kind)
    used = model.n_families if kind == "cluster" else model.n_llms
    jacobian = _jacobian(model, estimate, report)
    influence = np.zeros((used, jacobian.shape[1]))
    first = 0
    for one in by_problem:
        clusters, width = one.influence.shape
        influence[:clusters, first : first + width] = one.influence
        first += width
    reported_influence = influence @ jacobian.T
    reported_errors = block_diag(*(one.effect_errors for one in by_problem)) @ jacobian.T
    matrix = reported_influence.T @ reported_influence + reported_errors.T @ reported_errors
    undetermined = block_diag(*(one.undetermined for one in by_problem))
    lost = _undetermined(jacobian, undetermined) | ~np.isfinite(report_values(model, report.arrays))
    matrix[lost], matrix[:, lost] = np.nan, np.nan
    word = f"{used} families" if kind == "cluster" else f"{used} LLMs"
    return SlothCovariance(matrix, kind, f"sandwich with {word} as independent units")


def _undetermined(jacobian: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return whether each reported parameter (R,) changes along directions (P, m) that the data do not determine."""
    lost = ~np.isfinite(jacobian).all(axis=1)
    if directions.shape[1]:
        along = np.abs(jacobian @ (directions / np.linalg.norm(directions, axis=0))).max(axis=1)
        lost |= along > _INVOLVED * np.linalg.norm(jacobian, axis=1)
    return lost


def _jacobian(model: "HuberModel", estimate: "SlothEstimate", report: ReportedSkills) -> np.ndarray:
    """Return the derivatives (R, P) of the reported parameters in the optimiser's coordinates of all problems."""
    blocks = []
    for piece in estimate.pieces:
        change = raw_changes(model, estimate, piece, np.eye(len(piece.vector)))
        reported = report_change(model, estimate, report, change)
        blocks.append(report_jacobian(model, report, reported).T)
    return np.concatenate(blocks, axis=1)


def raw_changes(model: "HuberModel", estimate: "SlothEstimate", piece: "Piece", directions: np.ndarray) -> SlothArrays:
    """Return the changes of the fitted arrays along directions in the optimiser's coordinates of a problem.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    piece : Piece
        The problem.
    directions : array (m, P)

    Returns
    -------
    SlothArrays
        Arrays with a leading axis (m,); entries that other problems estimate are zero.
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
        return SlothArrays(None, slopes, loadings, intercepts, None, phi)
    effects = np.zeros((size, model.n_families, total))
    effects[:, piece.families[:, None], columns] = directions[:, :a].reshape(size, -1, k) - piece.centres @ by_x
    return SlothArrays(effects, slopes, loadings, intercepts, None, phi)
