"""Rotated loadings, of tables and of fitted models, and the derivatives from which they get standard errors."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from ..numerics.linalg import cholesky_or_none
from ..numerics.rotation import Rotation, follow, rotate, rotation_derivative
from ..parameters.structure import Layout, Structure
from ..parameters.table import ParameterTable

_TOLERANCE = 1e-8  # relative difference allowed between a rotation's loadings and those of its parameters


def rotate_loadings(
    matrix: pd.DataFrame | np.ndarray,
    method: str = "geomin",
    oblique: bool = True,
    normalize: bool = False,
    starts: int = 100,
    seed: int = 0,
    **options: Any,
) -> Rotation:
    """Rotate a matrix of loadings to simple structure, and return the best result of many starts.

    Parameters
    ----------
    matrix : DataFrame or array (J, K), J >= K
        Loadings of uncorrelated factors with unit variance.
    method : {"geomin", "oblimin", "quartimin", "varimax", "promax", "target"}
        What is minimised; formulas are in ``latentscale.numerics.rotation.rotate``.
    oblique : bool
        Whether factors may correlate. varimax is always orthogonal, and promax always oblique.
    normalize : bool
        Whether rows are normalised as by Kaiser.
    starts : int
        Number of starts: the identity and ``starts - 1`` random orthogonal matrices.
    seed : int
    **options
        ``gamma`` of oblimin (0), ``epsilon`` of geomin (0.01), ``power`` of promax (4), ``target`` and ``weights`` of
        target: matrices (J, K); DataFrames are matched with ``matrix`` by their labels.

    Returns
    -------
    Rotation
        ``.loadings`` L and ``.correlation`` Phi, DataFrames if ``matrix`` is one, with L Phi L' unchanged;
        ``.transform``, ``.criterion``, ``.minima`` (local minima and the starts that found them), ``.converged``.
        Columns have descending sums of squares and positive sums; the matrix's column labels are only names for
        them, except for a target.

    Raises
    ------
    DataError
        If the matrix cannot be rotated or an option cannot be used; the message says what to do.

    Warns
    -----
    ConvergenceWarning
        If the best point found is not stationary, or the criterion is flat there in some direction.

    Examples
    --------
    >>> loadings = pd.DataFrame([[0.6, 0.5], [0.6, 0.4], [0.5, -0.4], [0.6, -0.5]], index=list("abcd"), columns=[1, 2])
    >>> rotation = rotate_loadings(loadings, "varimax")
    >>> rotation.loadings.round(2).abs()
          1     2
    a  0.78  0.05
    b  0.71  0.13
    c  0.09  0.63
    d  0.09  0.78
    """
    if not isinstance(matrix, pd.DataFrame):
        return rotate(matrix, method, oblique, normalize, starts, seed, **_known(options))
    _check_frame(matrix)
    for name in ("target", "weights"):
        if isinstance(options.get(name), pd.DataFrame):
            options[name] = _matched(name, options[name], matrix)
    rotation = rotate(matrix.to_numpy(dtype=object), method, oblique, normalize, starts, seed, **_known(options))
    index, columns = matrix.index, matrix.columns
    return replace(
        rotation,
        loadings=pd.DataFrame(rotation.loadings, index=index, columns=columns),
        correlation=pd.DataFrame(rotation.correlation, index=columns, columns=columns),
    )


def _known(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a rotation, refused if one is unknown."""
    known = ("gamma", "epsilon", "power", "target", "weights")
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise DataError(f"Unknown options of a rotation {unknown}: there are {', '.join(known)}.")
    return options


def _check_frame(matrix: pd.DataFrame) -> None:
    """Refuse a table of loadings with repeated labels or missing entries."""
    for axis, labels in (("row", matrix.index), ("column", matrix.columns)):
        if labels.has_duplicates:
            repeated = sorted(set(labels[labels.duplicated()].astype(str)))
            raise DataError(f"Each {axis} of the loadings needs a label of its own; {repeated} are used twice.")
    missing = matrix.index[matrix.isna().any(axis=1)].tolist()
    if missing:
        raise DataError(f"Loadings are missing in rows {missing[:10]}: leave these rows out.")


def _matched(name: str, frame: pd.DataFrame, matrix: pd.DataFrame) -> np.ndarray:
    """Return a DataFrame's values in the order of the matrix's rows and columns."""
    same = set(frame.index) == set(matrix.index) and set(frame.columns) == set(matrix.columns)
    if not same or frame.shape != matrix.shape:
        raise DataError(
            f"The rows and columns of {name} must be those of the loadings, each once: rows "
            f"{list(matrix.index)[:5]} ..., columns {list(matrix.columns)}. Give an array to match by position."
        )
    return frame.loc[matrix.index, matrix.columns].to_numpy()


def orthogonal_loadings(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Return loadings A = Lambda C of skills whose family effects are N(0, I), where Sigma = C C'.

    Returns
    -------
    loadings : array (J, K)
    root : array (K, K)
        C, lower triangular.

    Raises
    ------
    DataError
        If Sigma is not positive definite, or slopes vary between families.
    """
    if any(values.ndim == 2 for values in structure.scales.values()):
        raise DataError(
            "Skills whose slopes vary between families cannot be rotated: the variations are independent in these "
            "skills and would not be in rotated ones. Fit without random_slopes first."
        )
    root = cholesky_or_none(structure.skill_cov)
    if root is None:
        raise DataError("The skill covariance is not positive definite, so that the loadings cannot be rotated.")
    return structure.loadings @ root, root


def rotate_structure(structure: Structure, method: str = "geomin", **options: Any) -> tuple[Structure, Rotation]:
    """Return the parameters of the same law of the data with rotated loadings.

    With A = Lambda C, Sigma = C C' and the rotation T of A, skills become T' C^-1 theta. Their loadings are A (T^-1)',
    their covariance is T'T and their slopes are B C'^-1 T. Other blocks do not change.

    Parameters
    ----------
    structure : Structure
    method : str
    **options
        As for ``rotate_loadings``; ``target`` and ``weights`` are arrays (J, K).

    Returns
    -------
    structure : Structure
        Skills have unit variances, so that ``skill_cov`` are the correlations of the factors.
    rotation : Rotation

    Raises
    ------
    DataError
        As ``rotate_loadings`` does, and if slopes vary between families by independent amounts, which rotation would
        make dependent.

    Examples
    --------
    >>> from latentscale.parameters.structure import Structure
    >>> one = np.ones(3)
    >>> loadings = np.array([[0.7, 0.3], [0.2, 0.6], [0.5, 0.5]])
    >>> structure = Structure(loadings, 0 * one, np.ones((1, 2)), np.eye(2), one, 0 * one, one)
    >>> turned, rotation = rotate_structure(structure, "varimax", starts=5)
    >>> bool(np.allclose(turned.loadings @ turned.slopes.T, loadings @ structure.slopes.T))
    True
    """
    matrix, root = orthogonal_loadings(structure)
    rotation = rotate_loadings(matrix, method, **options)
    return _rotated(structure, root, rotation), rotation


def _rotated(structure: Structure, root: np.ndarray, rotation: Rotation) -> Structure:
    """Return the parameters with rotated skills, given C of ``orthogonal_loadings`` and the rotation."""
    rotated = structure.transformed(root @ np.linalg.inv(rotation.transform).T)
    # variances are exactly one, and covariances of orthogonal factors exactly zero
    return replace(rotated, loadings=rotation.loadings, skill_cov=rotation.correlation)


def follow_structure(structure: Structure, rotation: Rotation) -> tuple[Structure, Rotation]:
    """Return the rotated parameters of a Structure that is near the one that was rotated.

    The same local minimum is followed, with columns in the same order and with the same signs.

    Parameters
    ----------
    structure : Structure
    rotation : Rotation
        What ``rotate_structure`` returned.

    Returns
    -------
    structure : Structure
    rotation : Rotation
    """
    matrix, root = orthogonal_loadings(structure)
    near = follow(matrix, rotation)
    return _rotated(structure, root, near), near


def rotated_table(table: ParameterTable, rotation: Rotation, skills: Sequence[str] | None = None) -> ParameterTable:
    """Return the ParameterTable of rotated parameters.

    All loadings are free, skills have unit variances, and the rest is as it was.

    Parameters
    ----------
    table : ParameterTable
        Of the parameters that were rotated.
    rotation : Rotation
        Correlations between skills are free if it is oblique, zero if not.
    skills : sequence of str, optional
        Names of the rotated skills; ``skill1``, ``skill2``, ... by default.

    Returns
    -------
    ParameterTable

    Raises
    ------
    DataError
        If there is not one distinct name for each skill.
    """
    layout = table.layout
    k = layout.n_skills
    names = tuple(f"skill{number + 1}" for number in range(k)) if skills is None else tuple(map(str, skills))
    if len(names) != k or len(set(names)) != k:
        raise DataError(f"A rotation of {k} skills needs {k} distinct names, not {list(names)}.")
    fixed = table.fixed.copy()
    fixed[layout.slices["loadings"]] = np.nan
    rows, columns = layout.triangle
    fixed[layout.slices["skill_cov"]] = np.where(rows == columns, 1.0, np.nan if rotation.oblique else 0.0)
    return replace(table, skills=names, fixed=fixed)


def rotation_jacobian(
    table: ParameterTable, rotated: ParameterTable, params: np.ndarray, rotation: Rotation
) -> np.ndarray:
    """Return the derivative of rotated natural parameters in the natural parameters from which they come.

    It is exact. The derivative of the transform solves the linearised stationarity conditions of the criterion
    (implicit function theorem), at the local minimum that was found, with columns in their order and with their signs.
    J V J', with V the covariance of the parameters, is the covariance of rotated loadings, correlations and slopes
    (Jennrich 1973).

    Parameters
    ----------
    table : ParameterTable
        P free parameters, in any form of identification.
    rotated : ParameterTable
        P* free parameters, as ``rotated_table`` makes it.
    params : array (P,)
        Natural parameters that were rotated.
    rotation : Rotation
        What ``rotate_structure`` returned for them.

    Returns
    -------
    array (P*, P)
        Of rank at most P, as rotated parameters satisfy the stationarity conditions.

    Raises
    ------
    DataError
        If the tables or the rotation do not belong together.
    IdentificationError
        If the criterion is flat at the solution.

    References
    ----------
    Jennrich, R. I. (1973). Standard errors for obliquely rotated factor loadings. Psychometrika 38, 593-604.
    """
    layout = table.layout
    if rotated.layout != layout:
        raise DataError("The table of rotated parameters has other benchmarks, skills or terms than the model's.")
    structure = table.structure(np.asarray(params, dtype=float))
    matrix, root = orthogonal_loadings(structure)
    near = follow(matrix, rotation)
    if np.abs(near.loadings - np.asarray(rotation.loadings)).max() > _TOLERANCE * np.abs(near.loadings).max():
        raise DataError("The rotation is not one of these parameters: rotate them with rotate_structure first.")
    d_loadings, d_slopes, d_cov = (
        _free_directions(layout, table.free, block) for block in ("loadings", "slopes", "skill_cov")
    )
    inverse = np.linalg.inv(root)
    half = np.tril(inverse @ d_cov @ inverse.T)  # dC = C half, where half has half the diagonal
    half[:, np.arange(len(root)), np.arange(len(root))] *= 0.5
    d_matrix = d_loadings @ root + matrix @ half
    rotated_loadings, correlation, turn = rotation_derivative(matrix, near, d_matrix)
    back = inverse.T @ near.transform  # slopes are B back
    d_back = inverse.T @ turn - inverse.T @ np.swapaxes(half, 1, 2) @ near.transform
    # all other blocks are unchanged
    full = np.eye(layout.size)[:, table.free]
    full[layout.index("loadings").ravel()] = rotated_loadings.reshape(len(turn), -1).T
    full[layout.index("slopes").ravel()] = (d_slopes @ back + structure.slopes @ d_back).reshape(len(turn), -1).T
    full[layout.slices["skill_cov"]] = correlation[:, *layout.triangle].T
    return full[rotated.free]


def _free_directions(layout: Layout, free: np.ndarray, block: str) -> np.ndarray:
    """Return the change of a block along each free parameter, array (P, ...)."""
    return np.array([getattr(layout.unflatten(unit), block) for unit in np.eye(layout.size)[free]])
