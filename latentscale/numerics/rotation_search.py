"""Minimisers of a rotation criterion: gradient projection from many starts, Newton's method to the end."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from statsmodels.multivariate.factor_rotation._gpa_rotation import GPA

from ..errors import DataError
from .linalg import symmetrise

_GPA_STEPS = 40  # gradient projection only has to come near; Newton's steps do the rest
_GPA_TOLERANCE = 1e-2  # of the gradient, relative to its size before projection
_NEWTON_STEPS = 200
_LONGEST_STEP = 0.3  # of X, in norm
_FLAT = 1e-9  # curvature, relative to the largest, that counts as none
_ROUNDING = 1e-13
_STATIONARY = 1e-9  # Newton step, a relative change of T, below which a point counts as stationary
_COLLAPSED = 1e-4  # smallest eigenvalue of the factor correlations where a search did not settle
_SAME = 1e-10  # relative difference of criteria that counts as one minimum
_NOTHING = 1e-12  # criterion, relative to that of the loadings as given, that counts as zero


class LocalMinimum(NamedTuple):
    """A local minimum of the criterion and the number of starts that ended in it."""

    value: float
    starts: int


@dataclass(frozen=True, eq=False)
class Point:
    """A transform T with what Newton's method needs there, in the coordinates X of T -> T (I + X).

    Attributes
    ----------
    transform, correlation : arrays (K, K)
        T and T'T.
    loadings : array (J, K)
        L = A (T^-1)'.
    value : float
        Of the criterion Q.
    slope : array (J, K)
        dQ / dL.
    tangents : array (n, K, K)
        Directions X that keep columns of T at length one: n = K (K - 1) of them for oblique rotations, one for
        each off-diagonal entry; K (K - 1) / 2 skew-symmetric ones for orthogonal rotations.
    gradient : array (n,)
        Of Q along the tangents.
    oblique : bool
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
    def at(cls, criterion, matrix, transform, oblique):
        """The point of a transform (K, K) of a matrix (J, K)."""
        loadings = np.linalg.solve(transform, matrix.T).T if oblique else matrix @ transform
        value, slope = criterion.evaluate(loadings)
        correlation = transform.T @ transform
        tangents = _tangents(correlation, oblique)
        # dL = -L X' along X, so the criterion changes by -<Gq'L, X>
        gradient = -np.einsum("nik,ik->n", tangents, slope.T @ loadings)
        return cls(transform, correlation, loadings, value, slope, tangents, gradient, oblique)

    def gradient_change(self, criterion, loadings, correlation):
        """Derivative (n, m) of the gradient along directions dL (m, J, K) and dPhi (m, K, K)."""
        change = np.swapaxes(criterion.curvature(self.loadings, loadings), 1, 2) @ self.loadings
        change = change + self.slope.T @ loadings
        out = -np.einsum("nik,mik->nm", self.tangents, change)
        if self.oblique:  # the tangents themselves turn with Phi
            rows, columns = _off_diagonal(len(self.transform))
            own = np.sum(self.slope * self.loadings, axis=0)
            out += correlation[:, rows, columns].T * own[columns, None]
        return out

    def hessian(self, criterion):
        """Derivative (n, n) of the gradient along the tangents; symmetric where the gradient vanishes."""
        turned = np.swapaxes(self.tangents, 1, 2)
        correlation = turned @ self.correlation + self.correlation @ self.tangents
        return self.gradient_change(criterion, -self.loadings @ turned, correlation)

    def moved(self, criterion, matrix, direction):
        """The point of T (I + X), columns brought back to length one or to orthogonality."""
        turned = self.transform + self.transform @ direction
        if self.oblique:
            turned = turned / np.sqrt(np.sum(turned**2, axis=0))
        else:
            left, _, right = np.linalg.svd(turned)
            turned = left @ right
        return Point.at(criterion, matrix, turned, self.oblique)


def _off_diagonal(k):
    return np.nonzero(~np.eye(k, dtype=bool))


def _tangents(correlation, oblique):
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
    """Where a search ended.

    Attributes
    ----------
    transform : array (K, K)
    value : float
    stationary : bool
        Whether the gradient vanishes and no direction curves downwards.
    determined : bool
        Whether the curvature is positive in every direction.
    collapsed : bool
        Whether factors became one another.
    """

    transform: np.ndarray
    value: float
    stationary: bool
    determined: bool
    collapsed: bool = False


def newton(criterion, matrix, transform, oblique):
    """Newton's method with a line search, as far as rounding error lets it.

    Parameters
    ----------
    criterion : Geomin, Oblimin, Varimax or Target
    matrix : array (J, K)
    transform : array (K, K)
        Columns of length one; orthogonal unless ``oblique``.
    oblique : bool

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
        saddle = length < _STATIONARY and values[0] < -floor
        if saddle:  # symmetric loadings may start on one: leave it along the direction that falls
            step = 0.1 * vectors[:, 0]
        step *= min(1.0, _LONGEST_STEP / max(np.linalg.norm(step), _ROUNDING))
        moved = _line_search(criterion, matrix, point, step, saddle)
        if moved is None:
            break
        point = moved
    stationary = bool(length < _STATIONARY and values[0] > -floor)
    return End(point.transform, point.value, stationary, bool(values[0] > floor))


def _line_search(criterion, matrix, point, step, saddle):
    """The next point along a Newton step, None where rounding error leaves nothing to gain."""
    direction = np.tensordot(step, point.tangents, axes=1)
    slope = min(float(step @ point.gradient), 0.0)
    if -slope <= _ROUNDING * abs(point.value) and not saddle:
        # too near for the criterion to tell: go on while the gradient shrinks
        moved = point.moved(criterion, matrix, direction)
        return moved if np.linalg.norm(moved.gradient) < 0.5 * np.linalg.norm(point.gradient) else None
    for size in 0.5 ** np.arange(30):
        moved = point.moved(criterion, matrix, size * direction)
        if moved.value < point.value + 1e-4 * size * slope:
            return moved
    return None


def _descend(criterion, matrix, start, oblique):
    """End of one start."""
    first = Point.at(criterion, matrix, start, oblique)
    scale = np.linalg.norm(first.loadings) * np.linalg.norm(first.slope) + np.finfo(float).tiny

    # names are those by which GPA calls
    def scaled(L, A=None, T=None):
        value, gradient = criterion.evaluate(L)
        return value / scale, gradient / scale

    kind = "oblique" if oblique else "orthogonal"
    # a start that runs away is recognised below; the logarithm of a zero gradient is only in GPA's own table
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


def _starts(k, count, seed):
    """The identity, then random orthogonal matrices; the r-th is the same whatever the count."""
    if k == 1:  # there is only a sign
        return [np.eye(1), -np.eye(1)]
    out = [np.eye(k)]
    for child in np.random.SeedSequence(seed).spawn(count)[1:]:
        q, r = np.linalg.qr(np.random.default_rng(child).standard_normal((k, k)))
        out.append(q * np.sign(np.diag(r)))
    return out


def best_of_starts(criterion, matrix, oblique, starts, seed):
    """The best of many local minima.

    Parameters
    ----------
    criterion : Geomin, Oblimin, Varimax or Target
    matrix : array (J, K)
    oblique : bool
    starts, seed : int

    Returns
    -------
    best : End
        The earliest start at the smallest value, so that rounding does not choose among equals.
    minima : tuple of LocalMinimum
        Distinct ones, ascending.
    failed : int
        Starts that ended in none.

    Raises
    ------
    DataError
        If the criterion is lowest where factors become one another.
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


def _distinct(values, tolerance):
    """Distinct values of an ascending list, with counts."""
    out = []
    for value in values:
        if out and value - out[-1][0] <= tolerance:
            out[-1][1] += 1
        else:
            out.append([value, 1])
    return tuple(LocalMinimum(value, count) for value, count in out)
