"""Rotation of loadings to simple structure, and the derivative of the rotated loadings in those before rotation.

Loadings A (J, K) of uncorrelated factors become L = A (T^-1)' with factor correlations Phi = T'T. The columns of T have
length one, so that L Phi L' = A A' and the factors keep unit variance; T is orthogonal for orthogonal rotations. From
each of many starts gradient projection (Jennrich 2001, 2002; statsmodels) comes near a local minimum of the criterion,
and Newton's method reaches it to machine precision. Its coordinates are X in T -> T (I + X), with the columns rescaled
afterwards: the off-diagonal entries of X for oblique rotations, and a skew-symmetric X for orthogonal ones.
"""

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..checks import check_seed, check_whole
from ..errors import ConvergenceWarning, DataError, IdentificationError
from .linalg import symmetrise
from .rotation_criteria import RotationSettings, read_settings
from .rotation_search import End, LocalMinimum, Point, best_of_starts, newton

if TYPE_CHECKING:
    import pandas as pd

_RANK = 1e-10  # singular values and sums this small, relatively, count as zero
_COLLAPSED = 1e-8  # two factors of promax have become one if the regression is conditioned worse than its reciprocal
_FLAT = 1e-9  # a curvature this small, relative to the largest, counts as zero


@dataclass(frozen=True, eq=False, repr=False)
class Rotation:
    """A rotated matrix of loadings.

    Attributes
    ----------
    loadings : array or DataFrame (J, K)
        Rotated loadings L = A (T^-1)'.
    correlation : array or DataFrame (K, K)
        Factor correlations Phi = T'T, exactly the identity for orthogonal rotations.
    transform : array (K, K)
        T, with columns of length one.
    criterion : float
        The smallest value over the starts, of the row-normalised loadings if ``normalize``; for promax that of its
        varimax step.
    minima : tuple of LocalMinimum
        The distinct local minima in ascending order, with the number of starts that ended in each.
    failed : int
        Number of starts that reached no local minimum, because the steps did not suffice or two factors became one.
    converged : bool
        Whether ``transform`` is a stationary point with positive curvature in every direction.
    settings : RotationSettings
        The method and its options.
    varimax : array (K, K), optional
        Transform of the varimax step of promax, with columns in the order of those of ``transform``.
    """

    loadings: "np.ndarray | pd.DataFrame"
    correlation: "np.ndarray | pd.DataFrame"
    transform: np.ndarray
    criterion: float
    minima: tuple[LocalMinimum, ...]
    failed: int
    converged: bool
    settings: RotationSettings
    varimax: np.ndarray | None = None

    @property
    def method(self) -> str:
        """The method of rotation, such as ``"geomin"``."""
        return self.settings.method

    @property
    def oblique(self) -> bool:
        """Whether the factors may correlate."""
        return self.settings.oblique

    def __str__(self) -> str:
        j, k = self.loadings.shape
        kind = "oblique" if self.oblique else "orthogonal"
        kaiser = ", rows normalised" if self.settings.normalize else ""
        starts = sum(minimum.starts for minimum in self.minima) + self.failed
        reached = f"reached from {self.minima[0].starts} of {starts} starts" if self.converged else "NOT CONVERGED"
        lines = [
            f"Rotation: {self.method} ({kind}{kaiser}), {j} x {k} loadings",
            f"Criterion: {self.criterion:.8g}, {reached}",
        ]
        if len(self.minima) > 1:
            others = ", ".join(f"{value:.6g} ({count})" for value, count in self.minima[1:6])
            lines.append(f"Other minima (starts): {others}{', ...' if len(self.minima) > 6 else ''}")
        with np.printoptions(precision=3, suppress=True, linewidth=120):
            # adding zero turns -0.0 into 0.0
            lines += ["Loadings:", str(self.loadings.round(3) + 0.0)]
            lines += ["Factor correlations:", str(self.correlation.round(3) + 0.0)] if self.oblique else []
        return "\n".join(lines)

    __repr__ = __str__


def canonical_order(loadings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order and the signs of columns that make sums of squares descend and column sums positive.

    Where a column's sum is zero up to rounding, its largest loading is made positive. Columns with equal sums of
    squares keep their order.

    Parameters
    ----------
    loadings : array (J, K)

    Returns
    -------
    permutation : int array (K,)
        Column ``permutation[k]`` takes the k-th place.
    signs : array (K,)
        1 or -1 for each column of ``loadings[:, permutation]``.

    Examples
    --------
    >>> canonical_order(np.array([[0.1, -2.0], [0.5, -1.0]]))
    (array([1, 0]), array([-1.,  1.]))
    """
    permutation = np.argsort(-np.sum(loadings**2, axis=0), kind="stable")
    ordered = loadings[:, permutation]
    total = ordered.sum(axis=0)
    largest = np.take_along_axis(ordered, np.abs(ordered).argmax(axis=0)[None], axis=0)[0]
    unclear = np.abs(total) <= _RANK * np.abs(ordered).sum(axis=0)
    return permutation, np.where(np.where(unclear, largest, total) < 0.0, -1.0, 1.0)


def rotate(
    matrix: npt.ArrayLike,
    method: str = "geomin",
    oblique: bool = True,
    normalize: bool = False,
    starts: int = 100,
    seed: int = 0,
    *,
    gamma: float = 0.0,
    epsilon: float = 0.01,
    power: float = 4,
    target: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
) -> Rotation:
    """Rotate loadings to simple structure; the result is the best of many starts.

    Parameters
    ----------
    matrix : array (J, K), J >= K
        Loadings A of uncorrelated factors with unit variance, of full column rank.
    method : {"geomin", "oblimin", "quartimin", "varimax", "promax", "target"}
        The criterion, see Notes.
    oblique : bool
        Whether factors may correlate. Varimax is always orthogonal, whatever the value; promax is always oblique and
        refuses False.
    normalize : bool
        Kaiser's normalisation: the criterion is applied to rows divided by their lengths. A target is compared with
        the normalised loadings; promax normalises in its varimax step only.
    starts : int
        Number of starts, which are the identity and ``starts - 1`` random orthogonal matrices.
    seed : int
        Start r uses the r-th child of this seed, whatever the number of starts.
    gamma : float
        Option of oblimin: 0 is quartimin, and negative values give less correlated factors.
    epsilon : float
        Option of geomin, positive: small values give sharper structure and more local minima.
    power : float
        Option of promax, above 1.
    target : array (J, K)
        Option of method ``"target"``, NaN where it is unspecified.
    weights : array (J, K), optional
        Option of method ``"target"``: 0 where the target is unspecified, 1 elsewhere.

    Returns
    -------
    Rotation
        Columns are in ``canonical_order``. A target determines order and signs itself, except for the sign of a column
        whose specified entries are all zero, which is canonical too.

    Raises
    ------
    DataError
        If the matrix cannot be rotated or an option cannot be used; the message says what to do.

    Warns
    -----
    ConvergenceWarning
        If the best point found is not stationary, or the criterion is flat there in some direction.

    Notes
    -----
    The criteria, as functions of the rotated loadings l_jk, are

    - geomin: sum_j prod_k (l_jk^2 + epsilon)^(1/K);
    - oblimin: 1/4 sum_{k != m} (sum_j l_jk^2 l_jm^2 - gamma / J sum_j l_jk^2 sum_j l_jm^2);
    - varimax: -1/4 sum_jk (l_jk^2 - mean_j l_jk^2)^2;
    - target: the sum over specified entries h_jk of (l_jk - h_jk)^2.

    Promax (Hendrickson and White 1964) follows R's ``stats::promax``: V |V|^(power - 1) is regressed on the varimax
    loadings V, and the coefficients are rescaled to unit factor variances. R normalises rows in the varimax step by
    default, which here takes ``normalize=True``.

    References
    ----------
    Browne, M. W. (2001). An overview of analytic rotation in exploratory factor analysis. Multivariate Behavioral
    Research 36, 111-150.
    Bernaards, C. A. and Jennrich, R. I. (2005). Gradient projection algorithms and software for arbitrary rotation
    criteria in factor analysis. Educational and Psychological Measurement 65, 676-696.

    Examples
    --------
    >>> loadings = np.array([[0.8, 0.0], [0.7, 0.1], [0.0, 0.6], [0.1, 0.7]])
    >>> turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    >>> rotation = rotate(loadings @ turn, "quartimin")
    >>> rotation.loadings.round(2)
    array([[ 0.8 , -0.04],
           [ 0.69,  0.07],
           [-0.05,  0.61],
           [ 0.04,  0.7 ]])
    >>> bool(np.allclose(rotation.loadings @ rotation.correlation @ rotation.loadings.T, loadings @ loadings.T))
    True
    """
    matrix = _read_matrix(matrix)
    options = {"gamma": gamma, "epsilon": epsilon, "power": power, "target": target, "weights": weights}
    settings = read_settings(matrix.shape, method, oblique, normalize, **options)
    count = check_whole("starts", starts, 1)
    seed = check_seed(seed)
    normalised = matrix / _row_lengths(matrix, settings)
    best, minima, failed = best_of_starts(settings.criterion, normalised, settings.oblique_search, count, seed)
    converged = best.stationary and best.determined
    if not converged:
        warnings.warn(_complaint(settings, best), ConvergenceWarning, stacklevel=2)
    rotation = _finished(matrix, settings, best.transform, best.value)
    return replace(_canonical(rotation), minima=minima, failed=failed, converged=converged)


def _complaint(settings: RotationSettings, best: End) -> str:
    """Return the message of the warning for a rotation that is not a proper minimum."""
    if not best.stationary:
        return (
            f"The {settings.method} rotation did not converge (criterion {best.value:.8g}): take more starts or "
            "another criterion; these loadings may not be reproducible."
        )
    return (
        f"The {settings.method} criterion is flat at its minimum: it does not determine the rotation. Specify more "
        "entries of the target, or use another criterion."
    )


def _read_matrix(matrix: npt.ArrayLike) -> np.ndarray:
    """Check that loadings can be rotated, and return them as an array (J, K)."""
    try:
        matrix = np.array(matrix, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"Loadings must be a matrix of numbers: {error}.") from error
    if matrix.ndim != 2 or matrix.size == 0:
        raise DataError(f"Loadings must be a matrix with rows and columns, not an array of shape {matrix.shape}.")
    if not np.isfinite(matrix).all():
        rows = np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist()
        raise DataError(f"Loadings must be finite; rows {rows[:10]} (counted from 0) are not: leave them out.")
    j, k = matrix.shape
    if j < k:
        raise DataError(f"Loadings have {j} rows and {k} columns: rotation needs at least as many rows (transpose?).")
    singular = np.linalg.svd(matrix, compute_uv=False)
    rank = int(np.sum(singular > _RANK * singular[0]))
    if rank < k:
        raise DataError(f"Loadings of {k} columns have rank {rank} only: take {rank or 'no'} factors instead.")
    return matrix


def _row_lengths(matrix: np.ndarray, settings: RotationSettings) -> np.ndarray:
    """Return the numbers (J, 1) by which rows are divided before the criterion is applied."""
    if not settings.normalize:
        return np.ones((len(matrix), 1))
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if np.any(lengths == 0.0):
        rows = np.flatnonzero(lengths == 0.0).tolist()
        raise DataError(f"Rows {rows[:10]} (counted from 0) are zero and have no length: use normalize=False.")
    return lengths


def _finished(matrix: np.ndarray, settings: RotationSettings, transform: np.ndarray, value: float) -> Rotation:
    """Return the rotation that belongs to the transform T (K, K) at which the search ended."""
    first = None
    if settings.method == "promax":
        first, transform = transform, _promax(matrix @ transform, transform, settings.power)
    if settings.oblique:
        loadings = np.linalg.solve(transform, matrix.T).T
        correlation = symmetrise(transform.T @ transform)
        np.fill_diagonal(correlation, 1.0)
    else:
        loadings, correlation = matrix @ transform, np.eye(len(transform))
    return Rotation(
        loadings, correlation, transform, value, (LocalMinimum(value, 1),), 0, True, settings, varimax=first
    )


def _promax_regression(loadings: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Return P = V |V|^(power - 1) (J, K) of varimax loadings V, and the coefficients U (K, K) of its regression on V.

    The columns of P are scaled to length one. The lengths of the columns of U do not matter, and without the scaling
    powers of small loadings could look like a lack of rank.
    """
    powers = loadings * np.abs(loadings) ** (power - 1.0)
    powers = powers / np.linalg.norm(powers, axis=0)
    return powers, np.linalg.lstsq(loadings, powers, rcond=None)[0]


def _promax(loadings: np.ndarray, transform: np.ndarray, power: float) -> np.ndarray:
    """Return promax's transform (K, K) from the varimax loadings and the transform of the varimax step."""
    if loadings.shape[1] == 1:
        return transform
    regression = _promax_regression(loadings, power)[1]
    if np.linalg.cond(regression) > 1.0 / _COLLAPSED:
        raise DataError(f"With power {power} two factors of promax become one: take a lower power.")
    directions = np.linalg.inv(regression).T
    return transform @ (directions / np.linalg.norm(directions, axis=0))


def _canonical(rotation: Rotation) -> Rotation:
    """Put columns into canonical order with canonical signs, as far as the criterion leaves them open.

    A target determines the order, but not the sign of a column whose specified entries are all zero.
    """
    permutation, signs = canonical_order(np.asarray(rotation.loadings))
    fixed = rotation.settings.fixed_signs
    if fixed is not None:
        canonical_signs = np.empty_like(signs)
        canonical_signs[permutation] = signs
        permutation, signs = np.arange(len(signs)), np.where(fixed, 1.0, canonical_signs)

    def columns(matrix: Any) -> Any:
        return None if matrix is None else matrix[:, permutation] * signs

    return replace(
        rotation,
        loadings=columns(rotation.loadings),
        correlation=columns(columns(rotation.correlation).T),
        transform=columns(rotation.transform),
        varimax=columns(rotation.varimax),
    )


def follow(matrix: npt.ArrayLike, rotation: Rotation) -> Rotation:
    """Rotate loadings that are near those of a given rotation, and stay at the same local minimum.

    The search starts at the given rotation only, and the order and the signs of the columns are kept.

    Parameters
    ----------
    matrix : array (J, K)
        Loadings near those that were rotated.
    rotation : Rotation
        The rotation to follow.

    Returns
    -------
    Rotation
        Its ``minima`` and ``failed`` are those of this one search.

    Raises
    ------
    DataError
        If the loadings cannot be rotated; see ``rotate``.

    Examples
    --------
    >>> loadings = np.array([[0.8, 0.1], [0.7, 0.0], [0.1, 0.6], [0.2, 0.7]])
    >>> rotation = rotate(loadings, "geomin", starts=10)
    >>> near = follow(1.001 * loadings, rotation)
    >>> bool(np.abs(near.loadings - rotation.loadings).max() < 0.001)
    True
    """
    matrix = _read_matrix(matrix)
    settings = rotation.settings
    start = rotation.transform if rotation.varimax is None else rotation.varimax
    end = newton(settings.criterion, matrix / _row_lengths(matrix, settings), start, settings.oblique_search)
    out = _finished(matrix, settings, end.transform, end.value)
    return replace(out, failed=int(not end.stationary), converged=end.stationary and end.determined)


def rotation_derivative(
    matrix: npt.ArrayLike, rotation: Rotation, directions: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return derivatives of the rotated loadings, the factor correlations and the transform along changes of A.

    At the solution T(A) the gradient g(T, A) of the criterion vanishes along all directions in which T can turn. By the
    implicit function theorem the change dT solves (dg/dT) dT = -(dg/dA) dA. For promax this holds for the varimax step,
    after which the regression is differentiated.

    Parameters
    ----------
    matrix : array (J, K)
        The loadings A that were rotated.
    rotation : Rotation
        Their rotation.
    directions : array (n, J, K)
        Changes dA.

    Returns
    -------
    loadings : array (n, J, K)
        Derivatives of L.
    correlation : array (n, K, K)
        Derivatives of Phi, zero for orthogonal rotations.
    transform : array (n, K, K)
        Derivatives of T.

    Raises
    ------
    IdentificationError
        If the criterion is flat at the solution, which is then not a function of A.

    Examples
    --------
    >>> loadings = np.array([[0.8, 0.1], [0.7, 0.0], [0.1, 0.6], [0.2, 0.7]])
    >>> rotation = rotate(loadings, "varimax", starts=10)
    >>> change = rotation_derivative(loadings, rotation, loadings[None])[0]  # a change of scale rotates nothing
    >>> bool(np.allclose(change[0], rotation.loadings))
    True
    """
    settings = rotation.settings
    matrix, directions = _read_matrix(matrix), np.asarray(directions, dtype=float)
    lengths = _row_lengths(matrix, settings)
    scaled = matrix / lengths
    change = directions / lengths
    if settings.normalize:
        change = change - scaled * np.sum(scaled * change, axis=-1, keepdims=True)
    start = rotation.transform if rotation.varimax is None else rotation.varimax
    transform = _search_derivative(settings, scaled, start, change)
    if settings.method == "promax":
        loadings = matrix @ start
        change = directions @ start + matrix @ transform
        transform = _promax_derivative(loadings, start, change, transform, settings.power)
    inverse = np.linalg.inv(rotation.transform)
    rotated = (directions - matrix @ inverse.T @ np.swapaxes(transform, 1, 2)) @ inverse.T
    correlation = np.swapaxes(transform, 1, 2) @ rotation.transform
    correlation = correlation + np.swapaxes(correlation, 1, 2)
    return rotated, correlation if settings.oblique else np.zeros_like(correlation), transform


def _search_derivative(
    settings: RotationSettings, matrix: np.ndarray, transform: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """Return the derivatives dT (n, K, K) of the criterion's minimiser along changes (n, J, K) of the matrix."""
    if len(transform) == 1:
        return np.zeros((len(directions), 1, 1))
    criterion = settings.criterion
    point = Point.at(criterion, matrix, transform, settings.oblique_search)
    hessian = point.hessian(criterion)
    curvature = np.linalg.eigvalsh(symmetrise(hessian))
    if not curvature[0] > _FLAT * curvature[-1]:
        raise IdentificationError(
            f"The {settings.method} criterion is flat at the rotation found: it does not determine the loadings, which "
            "therefore have no standard errors. Specify more entries of the target, or use another criterion."
        )
    loadings = directions @ np.linalg.inv(transform).T
    change = point.gradient_change(criterion, loadings, np.zeros((len(directions), *transform.shape)))
    steps = -np.linalg.solve(hessian, change)
    return transform @ np.einsum("nm,nik->mik", steps, point.tangents)


def _promax_derivative(
    loadings: np.ndarray, transform: np.ndarray, change: np.ndarray, varimax_change: np.ndarray, power: float
) -> np.ndarray:
    """Return the derivatives dT (n, K, K) of promax's transform.

    ``change`` (n, J, K) and ``varimax_change`` (n, K, K) are the derivatives of the varimax loadings and of the
    transform of the varimax step.
    """
    if len(transform) == 1:
        return varimax_change
    powers, regression = _promax_regression(loadings, power)
    lengths = np.linalg.norm(loadings * np.abs(loadings) ** (power - 1.0), axis=0)
    steep = power * np.abs(loadings) ** (power - 1.0) / lengths * change
    steep = steep - powers * np.sum(powers * steep, axis=1, keepdims=True)
    residual = powers - loadings @ regression
    right = np.swapaxes(change, 1, 2) @ residual + loadings.T @ (steep - change @ regression)
    slope = np.linalg.solve(loadings.T @ loadings, right)
    inverse = np.linalg.inv(regression)
    directions, rate = inverse.T, np.swapaxes(-inverse @ slope @ inverse, 1, 2)
    size = np.linalg.norm(directions, axis=0)
    unit, rate = directions / size, rate / size
    return varimax_change @ unit + transform @ (rate - unit * np.sum(unit * rate, axis=1, keepdims=True))
