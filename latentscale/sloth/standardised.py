"""What is reported of a Sloth fit: standardised, rotated skills, and the derivative that carries standard errors.

The estimates of Sloth are determined up to theta -> M theta + t (Lambda -> Lambda M^-1, b -> b - Lambda M^-1 t). Skills
are reported with mean zero and unit variance over the LLMs of the fit, rotated from uncorrelated axes by a criterion,
each growing with size; none of this depends on M and t.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from ..numerics import monotone
from ..numerics.rotation import follow, rotate, rotation_derivative
from ..parameters import kinds
from ..parameters.named import Parameters

_RANK = 1e-9


@dataclass(frozen=True, eq=False)
class Parts:
    """Parameters as matrices in the user's covariates, or changes of them with leading axes.

    Attributes
    ----------
    effects : array (..., L, K) or None
    slopes : array (..., p, K)
    loadings : array (..., J, K)
    intercepts : array (..., J)
    corr : array (..., K, K) or None
        Correlations of skills over LLMs.
    phi : array (..., J, q)
    """

    effects: np.ndarray | None
    slopes: np.ndarray
    loadings: np.ndarray
    intercepts: np.ndarray
    corr: np.ndarray | None
    phi: np.ndarray


@dataclass(frozen=True, eq=False)
class Report:
    """Reported parameters.

    Attributes
    ----------
    parts : Parts
    rotation : Rotation or None
        None where skills are reported in the axes of the fit.
    turn : array (K, K) or None
        Q: reported skills are Q' (theta - mean). None where they are not standardised.
    signs : array (K,) or None
        With which the columns of the rotation were multiplied.
    """

    parts: Parts
    rotation: object
    turn: np.ndarray | None
    signs: np.ndarray | None


def skills_of(model, parts):
    """theta, array (n, K)."""
    theta = model.design.x @ parts.slopes
    return theta if parts.effects is None else theta + parts.effects[model.family_codes]


def raw_parts(estimate):
    """Parts of a SlothEstimate as they were fitted."""
    return Parts(estimate.effects, estimate.slopes, estimate.loadings, estimate.intercepts, None, estimate.phi)


def skill_root(model, parts):
    """Means of skills (K,) and the Cholesky factor C of their covariance over LLMs; None if that is singular."""
    theta = skills_of(model, parts)
    mean = theta.mean(axis=0)
    cov = (theta - mean).T @ (theta - mean) / len(theta)
    scale = np.sqrt(np.diag(cov))
    if not (scale > 0.0).all() or np.linalg.eigvalsh(cov / np.outer(scale, scale))[0] < _RANK:
        return mean, None
    return mean, np.linalg.cholesky(cov)


def reportable(model, parts):
    """Whether skills can be standardised and rotated: K of them, and loadings of rank K."""
    root = skill_root(model, parts)[1]
    if root is None:
        return False
    singular = np.linalg.svd(parts.loadings @ root, compute_uv=False)
    return bool(singular[-1] > _RANK * singular[0])


def rotated_report(model, estimate, method="geomin", **options):
    """Report in rotated skills.

    Parameters
    ----------
    model : SlothModel
    estimate : SlothEstimate
    method : str
    **options
        Of ``numerics.rotation.rotate``.

    Returns
    -------
    Report
    """
    parts = raw_parts(estimate)
    mean, root = skill_root(model, parts)
    rotation = rotate(parts.loadings @ root, method, **options)
    turn = np.linalg.solve(root.T, rotation.transform)
    signs = _growing(model, (skills_of(model, parts) - mean) @ turn)
    return Report(_turned(parts, mean, root, rotation, signs), rotation, turn * signs, signs)


def scaled_report(model, estimate):
    """Report in the axes of the fit, skills of mean zero and unit variance."""
    parts = raw_parts(estimate)
    theta = skills_of(model, parts)
    mean, sd = theta.mean(axis=0), theta.std(axis=0)
    out = _recoded(parts, mean, np.diag(1.0 / sd), np.diag(sd))
    return Report(replace(out, corr=np.corrcoef(theta.T).reshape(len(sd), len(sd))), None, np.diag(1.0 / sd), None)


def plain_report(estimate):
    """Report in the axes of the fit, nothing standardised: laws of single benchmarks."""
    return Report(raw_parts(estimate), None, None, None)


def _growing(model, theta):
    """Signs with which skills correlate positively with the first term of the scaling."""
    size = model.design.x[:, 0] - model.design.x[:, 0].mean()
    return np.where(size @ theta < 0.0, -1.0, 1.0)


def _recoded(parts, mean, turn, back):
    """Skills Q' (theta - mean), loadings Lambda (Q')^-1 = Lambda back'."""
    effects = None if parts.effects is None else (parts.effects - mean) @ turn
    intercepts = parts.intercepts + parts.loadings @ mean
    return Parts(effects, parts.slopes @ turn, parts.loadings @ back.T, intercepts, parts.corr, parts.phi)


def _turned(parts, mean, root, rotation, signs):
    turn = np.linalg.solve(root.T, rotation.transform) * signs
    out = _recoded(parts, mean, turn, np.eye(len(root)))
    corr = rotation.correlation * np.outer(signs, signs)
    return replace(out, loadings=rotation.loadings * signs, corr=corr)


def report_change(model, estimate, report, change):
    """Changes of the reported parts along changes of the fitted ones.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    report : Report
    change : Parts
        With one leading axis.

    Returns
    -------
    Parts
        With the same leading axis.
    """
    if report.turn is None:
        return change
    parts = raw_parts(estimate)
    theta = skills_of(model, parts)
    mean = theta.mean(axis=0)
    moved = model.design.x @ change.slopes
    if change.effects is not None:
        moved = moved + change.effects[:, model.family_codes]
    d_mean = moved.mean(axis=1)
    cross = np.swapaxes(moved, 1, 2) @ (theta - mean) / len(theta)
    d_cov = cross + np.swapaxes(cross, 1, 2)
    if report.rotation is None:
        turn, loadings, corr, d_turn = _scaled_change(parts, change, theta, d_cov, report)
    else:
        turn, loadings, corr, d_turn = _rotated_change(model, parts, change, d_cov, report)
    effects = None
    if change.effects is not None:
        effects = (change.effects - d_mean[:, None]) @ turn + (parts.effects - mean) @ d_turn
    intercepts = change.intercepts + change.loadings @ mean + d_mean @ parts.loadings.T
    slopes = change.slopes @ turn + parts.slopes @ d_turn
    return Parts(effects, slopes, loadings, intercepts, corr, change.phi)


def _scaled_change(parts, change, theta, d_cov, report):
    sd = theta.std(axis=0)
    variances = np.diagonal(d_cov, axis1=1, axis2=2)
    d_sd = 0.5 * variances / sd
    loadings = change.loadings * sd + parts.loadings * d_sd[:, None, :]
    outer, relative = np.outer(sd, sd), d_sd / sd
    corr = d_cov / outer - report.parts.corr * (relative[:, :, None] + relative[:, None, :])
    d_turn = np.zeros_like(d_cov)
    k = np.arange(len(sd))
    d_turn[:, k, k] = -d_sd / sd**2
    return report.turn, loadings, corr, d_turn


def _rotated_change(model, parts, change, d_cov, report):
    root = skill_root(model, parts)[1]
    inverse = np.linalg.inv(root)
    half = np.tril(inverse @ d_cov @ inverse.T)  # dC = C half, the diagonal halved
    k = np.arange(len(root))
    half[:, k, k] *= 0.5
    near = follow(parts.loadings @ root, report.rotation)
    directions = change.loadings @ root + parts.loadings @ root @ half
    loadings, corr, d_transform = rotation_derivative(parts.loadings @ root, near, directions)
    d_turn = inverse.T @ d_transform - inverse.T @ np.swapaxes(half, 1, 2) @ near.transform
    signs = report.signs
    return report.turn, loadings * signs, corr * np.outer(signs, signs), d_turn * signs


def report_parameters(model, report):
    """Parameters of a report with their kinds and labels, in the order of ``report_values``: Parameters (P,)."""
    skills, items, effects = model.skills, [(item,) for item in model.benchmarks], report.parts.effects
    pairs = [(skills[j], skills[i]) for i in range(len(skills)) for j in range(i)]
    blocks = [
        (kinds.LOADING, itertools.product(model.benchmarks, skills), not model.per_benchmark),
        (kinds.SLOPE, itertools.product(model.terms, skills), True),
        (kinds.CORRELATION, pairs, report.parts.corr is not None),
        (kinds.INTERCEPT, items, not model.per_benchmark or effects is None),
        (kinds.LOWER, items, model.asymptotes != "chance"),
        (kinds.UPPER, items, model.asymptotes == "both"),
        (kinds.LINK, itertools.product(model.benchmarks, range(1, monotone.N_SLOPES + 1)), model.link == "monotone"),
        (kinds.FAMILY, itertools.product(model.families, skills), effects is not None),
    ]
    return Parameters.of((kind, labels) for kind, entries, there in blocks if there for labels in entries)


def report_values(model, parts):
    """Reported parameters, array (P,)."""
    return _flattened(model, parts, parts.phi, _natural(model, parts.phi))


def report_jacobian(model, report, change):
    """Changes of the reported parameters, array (n, P), from changed parts."""
    return _flattened(model, change, change.phi, _natural_change(model, report.parts.phi, change.phi))


def _flattened(model, parts, phi, natural):
    lead = parts.slopes.shape[:-2]
    pieces = [] if model.per_benchmark else [parts.loadings.reshape(*lead, -1)]
    pieces.append(parts.slopes.reshape(*lead, -1))
    if parts.corr is not None:
        rows, columns = np.tril_indices(parts.corr.shape[-1], -1)
        pieces.append(parts.corr[..., rows, columns])
    if not model.per_benchmark or parts.effects is None:
        pieces.append(parts.intercepts)
    pieces += natural
    if parts.effects is not None:
        pieces.append(parts.effects.reshape(*lead, -1))
    return np.concatenate(pieces, axis=-1)


def _natural(model, phi):
    """Asymptotes and spline slopes of phi."""
    response, m = model.response, model.response.n_link
    out = list(np.moveaxis(response.ends(phi)[0], -1, 0))
    return [*out, response.slopes(phi).reshape(*phi.shape[:-2], -1)] if m else out


def _natural_change(model, phi, change):
    response, m = model.response, model.response.n_link
    slopes = response.ends(phi)[1]
    out = [slopes[:, number] * change[..., m + number] for number in range(response.size - m)]
    if m:
        turn = monotone.slopes_jacobian(response.slopes(phi))
        slopes = np.matmul(turn, change[..., :m, None])[..., 0]
        out.append(slopes.reshape(*change.shape[:-2], -1))
    return out
