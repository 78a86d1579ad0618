"""Rotation of loadings: the best of many starts, brought to stationarity at machine precision, and its derivative.

Loadings A (J, K) of uncorrelated factors become L = A (T^-1)' with factor correlations Phi = T'T, T having columns
of length one, so that L Phi L' = A A'. T is orthogonal for orthogonal rotations. A start is taken near a minimum by
gradient projection (Jennrich 2001, 2002; statsmodels), then by Newton's method in the coordinates X of
T -> T (I + X), columns rescaled: off-diagonal for oblique rotations, skew-symmetric for orthogonal ones.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConvergenceWarning, DataError, IdentificationError
from .linalg import symmetrise
from .rotation_criteria import RotationSettings, read_settings
from .rotation_search import LocalMinimum, Point, best_of_starts, newton

_RANK = 1e-10
_COLLAPSED = 1e-8
_FLAT = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Rotation:
    """A rotated matrix of loadings.

    Attributes
    ----------
    loadings : array or DataFrame (J, K)
        L = A (T^-1)'.
    correlation : array or DataFrame (K, K)
        Factor correlations Phi = T'T, exactly the identity for orthogonal rotations.
    transform : array (K, K)
        T, columns of length one.
    criterion : float
        Smallest value over the starts, of the row-normalised loadings if ``normalize``; for promax that of its
        varimax step.
    minima : tuple of LocalMinimum
        Distinct local minima, ascending, with the number of starts that ended in each.
    failed : int
        Starts that did not reach a local minimum: not stationary in time, or factors that became one.
    converged : bool
        Whether ``transform`` is stationary and the curvature there positive in every direction.
    settings : RotationSettings
        Method and options.
    varimax : array (K, K), optional
        Transform of the varimax step of promax, columns in the order of ``transform``.
    """

    loadings: np.ndarray
    correlation: np.ndarray
    transform: np.ndarray
    criterion: float
    minima: tuple
    failed: int
    converged: bool
    settings: RotationSettings
    varimax: np.ndarray = None

    @property
    def method(self):
        return self.settings.method

    @property
    def oblique(self):
        return self.settings.oblique

    def __str__(self):
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
            # zero is added so that no zero has a minus
            lines += ["Loadings:", str(self.loadings.round(3) + 0.0)]
            lines += ["Factor correlations:", str(self.correlation.round(3) + 0.0)] if self.oblique else []
        return "\n".join(lines)

    __repr__ = __str__


def canonical_order(loadings):
    """Order and signs of columns: sums of squared loadings descending, each column's sum positive.

    A sum of zero up to rounding leaves the sign to the largest loading; columns with equal sums of squares stay
    as they are.

    Parameters
    ----------
    loadings : array (J, K)

    Returns
    -------
    permutation : int array (K,)
        Column ``permutation[k]`` comes k-th.
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
    matrix,
    method="geomin",
    oblique=True,
    normalize=False,
    starts=100,
    seed=0,
    *,
    gamma=0.0,
    epsilon=0.01,
    power=4,
    target=None,
    weights=None,
):
    """Rotate loadings to simple structure: the best of many starts.

    Parameters
    ----------
    matrix : array (J, K), J >= K
        Loadings A of uncorrelated factors with unit variance, of full column rank.
    method : {"geomin", "oblimin", "quartimin", "varimax", "promax", "target"}
        Criterion, see Notes.
    oblique : bool
        Whether factors may correlate. varimax is orthogonal whatever is said here; promax is oblique only.
    normalize : bool
        Kaiser's normalisation: the criterion sees rows divided by their lengths. A target is compared with the
        normalised loadings; promax normalises its varimax step only.
    starts : int
        The identity and ``starts - 1`` random orthogonal matrices.
    seed : int
        Start r uses the r-th child, whatever the number of starts.
    gamma : float
        Of oblimin: 0 is quartimin, negative values give less correlated factors.
    epsilon : float
        Of geomin, positive; small values give sharper structure and more local minima.
    power : float
        Of promax, above 1.
    target : array (J, K)
        Of method ``"target"``, NaN where unspecified.
    weights : array (J, K), optional
        0 where the target is unspecified, 1 elsewhere.

    Returns
    -------
    Rotation
        Columns in ``canonical_order``. A target says order and signs itself, except for the sign of a column whose
        specified entries are all zero, which is canonical.

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
    Criteria, of l_jk: geomin sum_j prod_k (l_jk^2 + epsilon)^(1/K); oblimin 1/4 sum_{k != m} (sum_j l_jk^2 l_jm^2 -
    gamma / J sum_j l_jk^2 sum_j l_jm^2); varimax -1/4 sum_jk (l_jk^2 - mean_j l_jk^2)^2; target sum over specified
    entries of (l_jk - h_jk)^2. Promax (Hendrickson and White 1964) follows R's ``stats::promax``: regress
    V |V|^(power - 1) on the varimax loadings V and rescale to unit factor variances; R normalises rows in the varimax
    step by default, which here is ``normalize=True``.

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
    count = _whole("starts", starts, 1)
    seed = _whole("seed", seed, 0)
    normalised = matrix / _row_lengths(matrix, settings)
    best, minima, failed = best_of_starts(settings.criterion, normalised, settings.oblique_search, count, seed)
    converged = best.stationary and best.determined
    if not converged:
        warnings.warn(_complaint(settings, best), ConvergenceWarning, stacklevel=2)
    rotation = _finished(matrix, settings, best.transform, best.value)
    return replace(_canonical(rotation), minima=minima, failed=failed, converged=converged)


def _complaint(settings, best):
    if not best.stationary:
        return (
            f"The {settings.method} rotation did not converge (criterion {best.value:.8g}): take more starts or "
            "another criterion; these loadings may not be reproducible."
        )
    return (
        f"The {settings.method} criterion is flat at its minimum: it does not determine the rotation. Specify more "
        "entries of the target, or use another criterion."
    )


def _whole(name, value, least):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DataError(f"{name} must be a whole number, at least {least}; got {value!r}.")
    return int(value)


def _read_matrix(matrix):
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


def _row_lengths(matrix, settings):
    """What the criterion divides rows by, (J, 1)."""
    if not settings.normalize:
        return np.ones((len(matrix), 1))
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if np.any(lengths == 0.0):
        rows = np.flatnonzero(lengths == 0.0).tolist()
        raise DataError(f"Rows {rows[:10]} (counted from 0) are zero and have no length: use normalize=False.")
    return lengths


def _finished(matrix, settings, transform, value):
    """Rotation from the transform of the search."""
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


def _promax_regression(loadings, power):
    """Powers V |V|^(m-1) of varimax loadings, and their regression U on V."""
    powers = loadings * np.abs(loadings) ** (power - 1.0)
    # lengths of U's columns do not matter; powers of small loadings should not look like a lack of rank
    powers = powers / np.linalg.norm(powers, axis=0)
    return powers, np.linalg.lstsq(loadings, powers, rcond=None)[0]


def _promax(loadings, transform, power):
    if loadings.shape[1] == 1:
        return transform
    regression = _promax_regression(loadings, power)[1]
    if np.linalg.cond(regression) > 1.0 / _COLLAPSED:
        raise DataError(f"With power {power} two factors of promax become one: take a lower power.")
    directions = np.linalg.inv(regression).T
    return transform @ (directions / np.linalg.norm(directions, axis=0))


def _canonical(rotation):
    """Columns in canonical order, as far as the criterion leaves it open.

    A target says where columns belong, but not the sign of one whose specified entries are all zero.
    """
    permutation, signs = canonical_order(rotation.loadings)
    fixed = rotation.settings.fixed_signs
    if fixed is not None:
        natural = np.empty_like(signs)
        natural[permutation] = signs
        permutation, signs = np.arange(len(signs)), np.where(fixed, 1.0, natural)

    def columns(matrix):
        return None if matrix is None else matrix[:, permutation] * signs

    return replace(
        rotation,
        loadings=columns(rotation.loadings),
        correlation=columns(columns(rotation.correlation).T),
        transform=columns(rotation.transform),
        varimax=columns(rotation.varimax),
    )


def follow(matrix, rotation):
    """The same local solution for loadings nearby: no other starts, no change of order or signs.

    Parameters
    ----------
    matrix : array (J, K)
        Loadings near those that were rotated.
    rotation : Rotation

    Returns
    -------
    Rotation
        With ``minima`` and ``failed`` of this one search.

    Raises
    ------
    DataError
        As ``rotate`` does.

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


def rotation_derivative(matrix, rotation, directions):
    """Derivatives of the rotated loadings, the factor correlations and the transform in the loadings.

    The solution T(A) satisfies g(T, A) = 0, the gradient of the criterion along the directions in which T can turn;
    by the implicit function theorem dT solves (dg/dT) dT = -(dg/dA) dA. Promax's regression is differentiated after
    its varimax step.

    Parameters
    ----------
    matrix : array (J, K)
        The loadings A that were rotated.
    rotation : Rotation
    directions : array (n, J, K)
        Changes dA.

    Returns
    -------
    loadings : array (n, J, K)
    correlation : array (n, K, K)
        Zero for orthogonal rotations.
    transform : array (n, K, K)

    Raises
    ------
    IdentificationError
        If the criterion is flat at the solution, which is then no function of A.

    Examples
    --------
    >>> loadings = np.array([[0.8, 0.1], [0.7, 0.0], [0.1, 0.6], [0.2, 0.7]])
    >>> rotation = rotate(loadings, "varimax", starts=10)
    >>> change = rotation_derivative(loadings, rotation, loadings[None])[0]  # a larger scale does not turn anything
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
    turn = _search_derivative(settings, scaled, start, change)
    if settings.method == "promax":
        loadings = matrix @ start
        turn = _promax_derivative(loadings, start, directions @ start + matrix @ turn, turn, settings.power)
    inverse = np.linalg.inv(rotation.transform)
    rotated = (directions - matrix @ inverse.T @ np.swapaxes(turn, 1, 2)) @ inverse.T
    correlation = np.swapaxes(turn, 1, 2) @ rotation.transform
    correlation = correlation + np.swapaxes(correlation, 1, 2)
    return rotated, correlation if settings.oblique else np.zeros_like(correlation), turn


def _search_derivative(settings, matrix, transform, directions):
    """dT (n, K, K) of the minimiser of the criterion along changes of the (normalised) matrix."""
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


def _promax_derivative(loadings, transform, change, turn, power):
    """dT (n, K, K) of promax from the change dV (n, J, K) of the varimax loadings and dT of the varimax step."""
    if len(transform) == 1:
        return turn
    powers, regression = _promax_regression(loadings, power)
    lengths = np.linalg.norm(loadings * np.abs(loadings) ** (power - 1.0), axis=0)
    steep = power * np.abs(loadings) ** (power - 1.0) / lengths * change
    steep = steep - powers * np.sum(powers * steep, axis=1, keepdims=True)
    residual = powers - loadings @ regression
    right = np.swapaxes(change, 1, 2) @ residual + loadings.T @ (steep - change @ regression)
    slope = np.linalg.solve(loadings.T @ loadings, right)
    inverse = np.linalg.inv(regression)
    directions, moved = inverse.T, np.swapaxes(-inverse @ slope @ inverse, 1, 2)
    size = np.linalg.norm(directions, axis=0)
    unit, moved = directions / size, moved / size
    return turn @ unit + transform @ (moved - unit * np.sum(unit * moved, axis=1, keepdims=True))
