"""The parameters that a Sloth fit reports, for standardised and rotated skills, and their derivatives.

The estimates of Sloth are determined up to theta -> M theta + t (Lambda -> Lambda M^-1, b -> b - Lambda M^-1 t). Skills
are reported with mean zero and unit variance over the LLMs of the fit, after a rotation of uncorrelated axes that
minimises a criterion, with signs such that each grows with size. None of this depends on M and t. Standard errors
follow by the delta method, with the derivatives of the reported parameters in those of the fit.
"""

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..numerics import monotone
from ..numerics.rotation import Rotation, follow, rotate, rotation_derivative
from ..parameters import kinds
from ..parameters.named import Parameters

if TYPE_CHECKING:
    from .fit import SlothEstimate
    from .model import HuberModel

_RANK = 1e-9  # eigenvalues and singular values this small, relatively, count as zero


@dataclass(frozen=True, eq=False)
class SlothArrays:
    """Parameters as arrays in the user's covariates, or changes of parameters, which have leading axes.

    Attributes
    ----------
    effects : array (..., L, K) or None
        Family intercepts; None if they are shared.
    slopes : array (..., p, K)
    loadings : array (..., J, K)
    intercepts : array (..., J)
    corr : array (..., K, K) or None
        Correlations of skills over LLMs; None if they are not reported.
    phi : array (..., J, q)
        Parameters of links and asymptotes.
    """

    effects: np.ndarray | None
    slopes: np.ndarray
    loadings: np.ndarray
    intercepts: np.ndarray
    corr: np.ndarray | None
    phi: np.ndarray


@dataclass(frozen=True, eq=False)
class ReportedSkills:
    """The parameters of reported skills.

    Attributes
    ----------
    arrays : SlothArrays
    rotation : Rotation or None
        None if skills are reported in the axes of the fit.
    transform : array (K, K) or None
        Q, where the reported skills are Q' (theta - mean). None if they are not standardised.
    signs : array (K,) or None
        Signs by which the columns of the rotation were multiplied; None if there is no rotation.
    """

    arrays: SlothArrays
    rotation: Rotation | None
    transform: np.ndarray | None
    signs: np.ndarray | None


def skills_of(model: "HuberModel", arrays: SlothArrays) -> np.ndarray:
    """Return the skills theta (n, K) of the LLMs."""
    theta = model.design.x @ arrays.slopes
    return theta if arrays.effects is None else theta + arrays.effects[model.family_codes]


def fitted_arrays(estimate: "SlothEstimate") -> SlothArrays:
    """Return the parameters of a SlothEstimate as they were fitted."""
    return SlothArrays(estimate.effects, estimate.slopes, estimate.loadings, estimate.intercepts, None, estimate.phi)


def skill_root(model: "HuberModel", arrays: SlothArrays) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the means of skills (K,) and the Cholesky factor (K, K) of their covariance over LLMs.

    The factor is None if the covariance is singular.
    """
    theta = skills_of(model, arrays)
    mean = theta.mean(axis=0)
    cov = (theta - mean).T @ (theta - mean) / len(theta)
    scale = np.sqrt(np.diag(cov))
    if not (scale > 0.0).all() or np.linalg.eigvalsh(cov / np.outer(scale, scale))[0] < _RANK:
        return mean, None
    return mean, np.linalg.cholesky(cov)


def reportable(model: "HuberModel", arrays: SlothArrays) -> bool:
    """Return whether skills can be standardised and rotated: their covariance and the loadings have rank K."""
    root = skill_root(model, arrays)[1]
    if root is None:
        return False
    singular = np.linalg.svd(arrays.loadings @ root, compute_uv=False)
    return bool(singular[-1] > _RANK * singular[0])


def rotated_report(
    model: "HuberModel", estimate: "SlothEstimate", method: str = "geomin", **options: Any
) -> ReportedSkills:
    """Report rotated skills.

    Parameters
    ----------
    model : SlothModel
    estimate : SlothEstimate
    method : str
    **options
        Options of ``numerics.rotation.rotate``.

    Returns
    -------
    ReportedSkills
    """
    arrays = fitted_arrays(estimate)
    mean, root = skill_root(model, arrays)
    assert root is not None, "skills are not reportable"
    rotation = rotate(arrays.loadings @ root, method, **options)
    transform = np.linalg.solve(root.T, rotation.transform)
    signs = _growing(model, (skills_of(model, arrays) - mean) @ transform)
    return ReportedSkills(_rotated_arrays(arrays, mean, root, rotation, signs), rotation, transform * signs, signs)


def scaled_report(model: "HuberModel", estimate: "SlothEstimate") -> ReportedSkills:
    """Report skills of mean zero and unit variance in the axes of the fit."""
    arrays = fitted_arrays(estimate)
    theta = skills_of(model, arrays)
    mean, sd = theta.mean(axis=0), theta.std(axis=0)
    out = _recoded(arrays, mean, np.diag(1.0 / sd), np.diag(sd))
    return ReportedSkills(
        replace(out, corr=np.corrcoef(theta.T).reshape(len(sd), len(sd))), None, np.diag(1.0 / sd), None
    )


def plain_report(estimate: "SlothEstimate") -> ReportedSkills:
    """Report skills in the axes of the fit without standardising them, as for laws of single benchmarks."""
    return ReportedSkills(fitted_arrays(estimate), None, None, None)


def _growing(model: "HuberModel", theta: np.ndarray) -> np.ndarray:
    """Return the signs (K,) that make skills (n, K) correlate positively with the first term of the scaling."""
    size = model.design.x[:, 0] - model.design.x[:, 0].mean()
    return np.where(size @ theta < 0.0, -1.0, 1.0)


def _recoded(arrays: SlothArrays, mean: np.ndarray, transform: np.ndarray, inverse: np.ndarray) -> SlothArrays:
    """Return the parameters for skills Q' (theta - mean), Q = ``transform``, whose loadings are Lambda (Q^-1)'."""
    effects = None if arrays.effects is None else (arrays.effects - mean) @ transform
    intercepts = arrays.intercepts + arrays.loadings @ mean
    slopes, loadings = arrays.slopes @ transform, arrays.loadings @ inverse.T
    return SlothArrays(effects, slopes, loadings, intercepts, arrays.corr, arrays.phi)


def _rotated_arrays(
    arrays: SlothArrays, mean: np.ndarray, root: np.ndarray, rotation: Rotation, signs: np.ndarray
) -> SlothArrays:
    """Return the parameters for rotated skills, given means and Cholesky factor of the fitted ones."""
    transform = np.linalg.solve(root.T, rotation.transform) * signs
    out = _recoded(arrays, mean, transform, np.eye(len(root)))
    corr = rotation.correlation * np.outer(signs, signs)
    return replace(out, loadings=rotation.loadings * signs, corr=corr)


def report_change(
    model: "HuberModel", estimate: "SlothEstimate", report: ReportedSkills, change: SlothArrays
) -> SlothArrays:
    """Return the changes of the reported parameters along changes of the fitted ones.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
    report : ReportedSkills
    change : SlothArrays
        Changes of the fitted parameters, with one leading axis.

    Returns
    -------
    SlothArrays
        Changes of the reported parameters, with the same leading axis.
    """
    if report.transform is None:
        return change
    arrays = fitted_arrays(estimate)
    theta = skills_of(model, arrays)
    mean = theta.mean(axis=0)
    d_theta = model.design.x @ change.slopes
    if change.effects is not None:
        d_theta = d_theta + change.effects[:, model.family_codes]
    d_mean = d_theta.mean(axis=1)
    cross = np.swapaxes(d_theta, 1, 2) @ (theta - mean) / len(theta)
    d_cov = cross + np.swapaxes(cross, 1, 2)
    if report.rotation is None:
        loadings, corr, d_transform = _scaled_change(arrays, change, theta, d_cov, report)
    else:
        loadings, corr, d_transform = _rotated_change(model, arrays, change, d_cov, report)
    effects = None
    if change.effects is not None:
        effects = (change.effects - d_mean[:, None]) @ report.transform + (arrays.effects - mean) @ d_transform
    intercepts = change.intercepts + change.loadings @ mean + d_mean @ arrays.loadings.T
    slopes = change.slopes @ report.transform + arrays.slopes @ d_transform
    return SlothArrays(effects, slopes, loadings, intercepts, corr, change.phi)


def _scaled_change(
    arrays: SlothArrays, change: SlothArrays, theta: np.ndarray, d_cov: np.ndarray, report: ReportedSkills
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the changes of loadings, correlations and transform for ``scaled_report``.

    ``d_cov`` (n, K, K) are the changes of the covariance of the skills.
    """
    sd = theta.std(axis=0)
    variances = np.diagonal(d_cov, axis1=1, axis2=2)
    d_sd = 0.5 * variances / sd
    loadings = change.loadings * sd + arrays.loadings * d_sd[:, None, :]
    outer, relative = np.outer(sd, sd), d_sd / sd
    corr = d_cov / outer - report.arrays.corr * (relative[:, :, None] + relative[:, None, :])
    d_transform = np.zeros_like(d_cov)
    k = np.arange(len(sd))
    d_transform[:, k, k] = -d_sd / sd**2
    return loadings, corr, d_transform


def _rotated_change(
    model: "HuberModel", arrays: SlothArrays, change: SlothArrays, d_cov: np.ndarray, report: ReportedSkills
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the changes of loadings, correlations and transform for ``rotated_report``.

    ``d_cov`` (n, K, K) are the changes of the covariance of the skills, whose Cholesky factor C changes by C X, where X
    is the lower triangle of C^-1 dcov (C^-1)' with its diagonal halved.
    """
    root = skill_root(model, arrays)[1]
    assert root is not None, "skills are not reportable"
    assert report.rotation is not None, "skills are not rotated"
    assert report.signs is not None, "skills are not rotated"
    inverse = np.linalg.inv(root)
    half = np.tril(inverse @ d_cov @ inverse.T)
    k = np.arange(len(root))
    half[:, k, k] *= 0.5
    near = follow(arrays.loadings @ root, report.rotation)
    directions = change.loadings @ root + arrays.loadings @ root @ half
    loadings, corr, d_rotation = rotation_derivative(arrays.loadings @ root, near, directions)
    d_transform = inverse.T @ d_rotation - inverse.T @ np.swapaxes(half, 1, 2) @ near.transform
    signs = report.signs
    return loadings * signs, corr * np.outer(signs, signs), d_transform * signs


def report_parameters(model: "HuberModel", report: ReportedSkills) -> Parameters:
    """Return the reported parameters with their kinds and labels, in the order of ``report_values``."""
    skills, items, effects = model.skills, [(item,) for item in model.benchmarks], report.arrays.effects
    pairs = [(skills[j], skills[i]) for i in range(len(skills)) for j in range(i)]
    blocks = [
        (kinds.LOADING, itertools.product(model.benchmarks, skills), not model.per_benchmark),
        (kinds.SLOPE, itertools.product(model.terms, skills), True),
        (kinds.CORRELATION, pairs, report.arrays.corr is not None),
        (kinds.INTERCEPT, items, not model.per_benchmark or effects is None),
        (kinds.LOWER, items, model.asymptotes != "chance"),
        (kinds.UPPER, items, model.asymptotes == "both"),
        (kinds.LINK, itertools.product(model.benchmarks, range(1, monotone.N_SLOPES + 1)), model.link == "monotone"),
        (kinds.FAMILY, itertools.product(model.families, skills), effects is not None),
    ]
    return Parameters.of((kind, labels) for kind, entries, there in blocks if there for labels in entries)


def report_values(model: "HuberModel", arrays: SlothArrays) -> np.ndarray:
    """Return the reported parameters as a vector (P,)."""
    return _flattened(model, arrays, _curve_values(model, arrays.phi))


def report_jacobian(model: "HuberModel", report: ReportedSkills, change: SlothArrays) -> np.ndarray:
    """Return the changes (n, P) of the vector of reported parameters along changes of the reported arrays."""
    return _flattened(model, change, _curve_changes(model, report.arrays.phi, change.phi))


def _flattened(model: "HuberModel", arrays: SlothArrays, curves: list[np.ndarray]) -> np.ndarray:
    """Join arrays (..., *) to vectors (..., P); ``curves`` are the reported values of phi, or their changes."""
    lead = arrays.slopes.shape[:-2]
    blocks = [] if model.per_benchmark else [arrays.loadings.reshape(*lead, -1)]
    blocks.append(arrays.slopes.reshape(*lead, -1))
    if arrays.corr is not None:
        rows, columns = np.tril_indices(arrays.corr.shape[-1], -1)
        blocks.append(arrays.corr[..., rows, columns])
    if not model.per_benchmark or arrays.effects is None:
        blocks.append(arrays.intercepts)
    blocks += curves
    if arrays.effects is not None:
        blocks.append(arrays.effects.reshape(*lead, -1))
    return np.concatenate(blocks, axis=-1)


def _curve_values(model: "HuberModel", phi: np.ndarray) -> list[np.ndarray]:
    """Return the asymptotes and the slopes of the splines that belong to phi (J, q), a list of arrays."""
    response = model.response
    out = list(np.moveaxis(response.ends(phi)[0], -1, 0))
    slopes = response.slopes(phi)
    return out if slopes is None else [*out, slopes.reshape(*phi.shape[:-2], -1)]


def _curve_changes(model: "HuberModel", phi: np.ndarray, change: np.ndarray) -> list[np.ndarray]:
    """Return the changes of asymptotes and slopes of the splines along changes (..., J, q) of phi, a list of arrays."""
    response, m = model.response, model.response.n_link
    slopes = response.ends(phi)[1]
    out = [slopes[:, number] * change[..., m + number] for number in range(response.size - m)]
    spline_slopes = response.slopes(phi)
    if spline_slopes is not None:
        jacobian = monotone.slopes_jacobian(spline_slopes)
        spline_changes = np.matmul(jacobian, change[..., :m, None])[..., 0]
        out.append(spline_changes.reshape(*change.shape[:-2], -1))
    return out
