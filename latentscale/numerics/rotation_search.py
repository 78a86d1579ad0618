"""Minimisation of a rotation criterion: gradient projection from many starts, each finished by Newton's method."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from statsmodels.multivariate.factor_rotation._gpa_rotation import GPA

from ..errors import DataError
from .linalg import symmetrise
from .rotation_criteria import Criterion

_GPA_STEPS = 40  # gradient projection only has to come near the minimum; Newton's steps do the rest
_GPA_TOLERANCE = 1e-2  # on the projected gradient, relative to its size before projection
_NEWTON_STEPS = 200
_LONGEST_STEP = 0.3  # largest Euclidean norm of a step in the coordinates X
_FLAT = 1e-9  # a curvature this small, relative to the largest, counts as zero
_ROUNDING = 1e-13
_STATIONARY = 1e-9  # a point is stationary if its Newton step, a relative change of T, is shorter than this
_COLLAPSED = 1e-4  # factors have become one if the smallest eigenvalue of their correlations is below this
_SAME = 1e-10  # criteria that differ by less than this, relatively, belong to one minimum
_NOTHING = 1e-12  # a criterion this small, relative to that of the loadings before rotation, counts as zero


class LocalMinimum(NamedTuple):
    """The value of the criterion at a local minimum, and the number of starts that ended there."""

    value: float
    starts: int


@dataclass(frozen=True, eq=False)
class Point:
    """A transform T with what Newton's method needs there, in the local coordinates X of T -> T (I + X).

    Attributes
    ----------
    transform, correlation : arrays (K, K)
        T and the factor correlations T'T.
    loadings : array (J, K)
        Rotated loadings L = A (T^-1)'.
    value : float
        The criterion Q at L.
    slope : array (J, K)
        dQ / dL.
    tangents : array (n, K, K)
        Directions X that keep the columns of T at length one. For oblique rotations there are n = K (K - 1) of them,
        one for each off-diagonal entry; for orthogonal rotations K (K - 1) / 2, which are skew-symmetric.
    gradient : array (n,)
        Derivatives of Q along the tangents.
    oblique : bool
        Whether factors may correlate.
    """

    transform: np.ndarray
    correlation: np.ndarray
    loadings: np.ndarray
    value: float
    slope: np.ndarray
    tangents: np.ndarray
    gradient: np.ndarray
    oblique: bool

    @classmethod
    def at(cls, criterion: Criterion, matrix: np.ndarray, transform: np.ndarray, oblique: bool) -> "Point":
        """Return the point of a transform T (K, K) of the loadings A (J, K)."""
        loadings = np.linalg.solve(transform, matrix.T).T if oblique else matrix @ transform
        value, slope = criterion.evaluate(loadings)
        correlation = transform.T @ transform
        tangents = _tangents(correlation, oblique)
        # dL = -L X' along X, so the criterion changes by -<Gq'L, X>
        gradient = -np.einsum("nik,ik->n", tangents, slope.T @ loadings)
        return cls(transform, correlation, loadings, value, slope, tangents, gradient, oblique)

    def gradient_change(self, criterion: Criterion, loadings: np.ndarray, correlation: np.ndarray) -> np.ndarray:
        """Return the derivatives (n, m) of the gradient along directions dL (m, J, K) and dPhi (m, K, K).

        Phi = T'T are the factor correlations.
        """
        change = np.swapaxes(criterion.curvature(self.loadings, loadings), 1, 2) @ self.loadings
        change = change + self.slope.T @ loadings
        out = -np.einsum("nik,mik->nm", self.tangents, change)
        if self.oblique:  # the tangents of oblique rotations depend on Phi
            rows, columns = _off_diagonal(len(self.transform))
            diagonal = np.sum(self.slope * self.loadings, axis=0)
            out += correlation[:, rows, columns].T * diagonal[columns, None]
        return out

    def hessian(self, criterion: Criterion) -> np.ndarray:
        """Return the derivatives (n, n) of the gradient along the tangents.

        The matrix is symmetric where the gradient vanishes.
        """
        transposed = np.swapaxes(self.tangents, 1, 2)
        correlation = transposed @ self.correlation + self.correlation @ self.tangents
        return self.gradient_change(criterion, -self.loadings @ transposed, correlation)

    def after_step(self, criterion: Criterion, matrix: np.ndarray, step: np.ndarray) -> "Point":
        """Return the point of T (I + X) for a step X (K, K).

        For oblique rotations its columns are rescaled to length one; for orthogonal ones the nearest orthogonal matrix
        takes its place.
        """
        transform = self.transform + self.transform @ step
        if self.oblique:
            transform = transform / np.sqrt(np.sum(transform**2, axis=0))
        else:
            left, _, right = np.linalg.svd(transform)
            transform = left @ right
        return Point.at(criterion, matrix, transform, self.oblique)


def _off_diagonal(k: int) -> tuple[np.ndarray, ...]:
    """Return the rows and the columns of the off-diagonal entries of a matrix (k, k)."""
    return np.nonzero(~np.eye(k, dtype=bool))


def _tangents(correlation: np.ndarray, oblique: bool) -> np.ndarray:
    """Return the tangents of ``Point`` for given factor correlations (K, K)."""
    k = len(correlation)
    rows, columns = _off_diagonal(k) if oblique else np.tril_indices(k, -1)
    number = np.arange(len(rows))
    out = np.zeros((len(rows), k, k))
    out[number, rows, columns] = 1.0
    if oblique:
        out[number, columns, columns] = -correlation[rows, columns]
    else:
        out[number, columns, rows] = -1.0
    return out


@dataclass(frozen=True, eq=False)
class End:
    """The point at which a search ended.

    Attributes
    ----------
    transform : array (K, K)
    value : float
        The criterion.
    stationary : bool
        Whether the gradient vanishes and the curvature is negative in no direction.
    determined : bool
        Whether the curvature is positive in every direction.
    collapsed : bool
        Whether the search failed because two factors became one.
    """

    transform: np.ndarray
    value: float
    stationary: bool
    determined: bool
    collapsed: bool = False


def newton(criterion: Criterion, matrix: np.ndarray, transform: np.ndarray, oblique: bool) -> End:
    """Minimise a criterion by Newton's method with a line search, as far as rounding error allows.

    Parameters
    ----------
    criterion : Geomin, Oblimin, Varimax or Target
    matrix : array (J, K)
        Loadings A before rotation.
    transform : array (K, K)
        The start, with columns of length one; orthogonal unless ``oblique``.
    oblique : bool
        Whether factors may correlate.

    Returns
    -------
    End
    """
    if len(transform) == 1:
        return End(transform, criterion.evaluate(matrix * transform)[0], True, True)
    point = Point.at(criterion, matrix, transform, oblique)
    for _ in range(_NEWTON_STEPS):
        values, vectors = np.linalg.eigh(symmetrise(point.hessian(criterion)))
        floor = max(_FLAT * np.abs(values).max(), np.finfo(float).tiny)
        along = vectors.T @ point.gradient
        step = -vectors @ (along / np.maximum(np.abs(values), floor))
        curved = np.abs(values) > floor
        length = np.linalg.norm(along[curved] / values[curved])
        saddle = bool(length < _STATIONARY and values[0] < -floor)
        if saddle:  # symmetric loadings may start at a saddle point: leave it along the most negative curvature
            step = 0.1 * vectors[:, 0]
        step *= min(1.0, _LONGEST_STEP / max(float(np.linalg.norm(step)), _ROUNDING))
        following = _line_search(criterion, matrix, point, step, saddle)
        if following is None:
            break
        point = following
    stationary = bool(length < _STATIONARY and values[0] > -floor)
    return End(point.transform, point.value, stationary, bool(values[0] > floor))


def _line_search(
    criterion: Criterion, matrix: np.ndarray, point: Point, step: np.ndarray, saddle: bool
) -> Point | None:
    """Return the next point along a Newton step (n,), or None where rounding error leaves nothing to gain."""
    direction = np.tensordot(step, point.tangents, axes=1)
    slope = min(float(step @ point.gradient), 0.0)
    if -slope <= _ROUNDING * abs(point.value) and not saddle:
        # the criterion cannot tell points so near apart: go on as long as the gradient halves
        trial = point.after_step(criterion, matrix, direction)
        return trial if np.linalg.norm(trial.gradient) < 0.5 * np.linalg.norm(point.gradient) else None
    for size in 0.5 ** np.arange(30):
        trial = point.after_step(criterion, matrix, size * direction)
        if trial.value < point.value + 1e-4 * size * slope:
            return trial
    return None


def _descend(criterion: Criterion, matrix: np.ndarray, start: np.ndarray, oblique: bool) -> End:
    """Search from one start (K, K): gradient projection, then Newton's method."""
    first = Point.at(criterion, matrix, start, oblique)
    scale = np.linalg.norm(first.loadings) * np.linalg.norm(first.slope) + np.finfo(float).tiny

    # GPA calls this function with these names of arguments
    def scaled(L: np.ndarray, A: np.ndarray | None = None, T: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        value, gradient = criterion.evaluate(L)
        return value / scale, gradient / scale

    kind = "oblique" if oblique else "orthogonal"
    # A start that diverges is recognised below. GPA takes the logarithm of the gradient, which may be zero, for a table
    # that nobody reads here.
    with np.errstate(all="ignore"):
        try:
            transform = GPA(
                matrix, vgQ=scaled, T=start, max_tries=_GPA_STEPS, rotation_method=kind, tol=_GPA_TOLERANCE
            )[2]
            end = newton(criterion, matrix, transform, oblique)
        except np.linalg.LinAlgError:
            return End(start, np.inf, False, False, collapsed=True)
        if not (np.isfinite(end.value) and np.isfinite(end.transform).all()):
            return End(start, np.inf, False, False, collapsed=True)
        smallest = np.linalg.eigvalsh(end.transform.T @ end.transform)[0]
    return replace(end, collapsed=bool(smallest < _COLLAPSED and not end.stationary))


def _starts(k: int, count: int, seed: int) -> list[np.ndarray]:
    """Return the identity and ``count - 1`` random orthogonal matrices (k, k), each the same whatever the count."""
    if k == 1:  # the only orthogonal matrices
        return [np.eye(1), -np.eye(1)]
    out = [np.eye(k)]
    for child in np.random.SeedSequence(seed).spawn(count)[1:]:
        q, r = np.linalg.qr(np.random.default_rng(child).standard_normal((k, k)))
        out.append(q * np.sign(np.diag(r)))
    return out


def best_of_starts(
    criterion: Criterion, matrix: np.ndarray, oblique: bool, starts: int, seed: int
) -> tuple[End, tuple[LocalMinimum, ...], int]:
    """Search from many starts and return the best local minimum.

    Parameters
    ----------
    criterion : Geomin, Oblimin, Varimax or Target
    matrix : array (J, K)
        Loadings A before rotation.
    oblique : bool
        Whether factors may correlate.
    starts, seed : int
        Number of starts, and seed of the random ones.

    Returns
    -------
    best : End
        The end of the earliest start among those with the smallest value, so that rounding does not choose among them.
    minima : tuple of LocalMinimum
        The distinct local minima, in ascending order.
    failed : int
        Number of starts that ended in no local minimum.

    Raises
    ------
    DataError
        If the criterion is lowest where two factors become one.
    """
    ends = [_descend(criterion, matrix, start, oblique) for start in _starts(matrix.shape[1], starts, seed)]
    settled = [end for end in ends if end.stationary]
    kept = [end for end in ends if not end.collapsed]
    lowest = min(ends, key=lambda end: end.value)
    if lowest.collapsed:
        raise DataError(
            f"The criterion falls without bound while factors become one another, from {len(ends) - len(kept)} of "
            f"{len(ends)} starts: it has no minimum. Oblique oblimin is safe with gamma <= 0 only; otherwise take "
            "fewer factors, or oblique=False."
        )
    start = abs(criterion.evaluate(matrix)[0])
    tolerance = _SAME * max(abs(end.value) for end in kept) + _NOTHING * start
    minima = _distinct(sorted(end.value for end in settled), tolerance)
    # a point that is lower but not stationary shows that the minimum has not been found
    candidates = [end for end in settled if end.value <= lowest.value + tolerance]
    best = candidates[0] if candidates else lowest
    return best, minima or (LocalMinimum(best.value, 0),), len(ends) - len(settled)


def _distinct(values: list[float], tolerance: float) -> tuple[LocalMinimum, ...]:
    """Return the distinct values of an ascending list, up to a tolerance, with the number of times that each occurs."""
    out: list[list[Any]] = []
    for value in values:
        if out and value - out[-1][0] <= tolerance:
            out[-1][1] += 1
        else:
            out.append([value, 1])
    return tuple(LocalMinimum(value, count) for value, count in out)
