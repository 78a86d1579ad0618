"""Ends of profile-likelihood intervals: where the signed root reaches a normal quantile, or why it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

if TYPE_CHECKING:
    from .profile_path import Path, Point

TOLERANCE = 1e-3  # error of the signed root at an end
_MOST_POINTS = 60  # on one side
_MOST_LOST = 4  # searches that may fail on one side, as they take long
_REACH = 32.0  # ends farther than this many Wald intervals are not searched for
_APART = 1e-3  # a bracket narrower than this, in standard errors, is closed
_FAR = 1.3  # factor in the root by which an interpolating cubic may extrapolate


@dataclass(frozen=True)
class End:
    """One end of an interval.

    Attributes
    ----------
    psi : float
        On the scale of the path; that of the last point that was reached if there is no root.
    state : {"root", "boundary", "flat", "edge", "jump"}
        "root": found. "boundary": at the end of the parameter space. "flat": too far away. "edge": beyond where
        restricted maxima could be found, for example because no parameters satisfy the restriction. "jump": between two
        branches of the profile.
    converged : bool
        Whether the search of the last point converged.
    """

    psi: float
    state: str
    converged: bool


def find_end(path: "Path", sign: int, z: float) -> End:
    """Solve sign * root = z by inverse Hermite interpolation within a bracket, searching outwards from the peak.

    Parameters
    ----------
    path : Path
    sign : {-1, 1}
        Lower or upper end.
    z : float
        Normal quantile, positive.

    Returns
    -------
    End
    """
    centre, limit = path.centre, path.target.limit(sign)
    if sign * (limit - centre.psi) <= _APART * path.se:
        return End(limit, "boundary", True)
    inside, longest, lost = centre, np.inf, path.lost
    outside: Point | None = None
    guess = centre.psi + sign * min(z * path.se, path.target.longest_step)
    for count in range(_MOST_POINTS):
        guess = sign * min(sign * guess, sign * limit)
        point = path.at(guess)
        if point is None:  # not found from here, but perhaps from a nearer point
            longest = 0.5 * abs(guess - inside.psi)
            if longest < _APART * path.se or path.lost > lost + _MOST_LOST:
                return End(inside.psi, "edge", inside.converged)
        else:
            last = guess == limit or abs(guess - centre.psi) > _REACH * z * path.se
            if abs(sign * point.root - z) < TOLERANCE or (sign * point.root < z and last):
                point = path.checked(point)
            if abs(sign * point.root - z) < TOLERANCE:
                return End(_corrected(point, sign * z), "root", point.converged)
            if sign * point.root > z:
                outside = point
            elif last:
                return End(guess, "boundary" if guess == limit else "flat", point.converged)
            else:
                inside, longest = point, 2.0 * longest
        if outside is not None and abs(outside.psi - inside.psi) < _APART * path.se:
            outside = path.checked(outside)
            if sign * outside.root > z:
                return End(inside.psi, "jump", inside.converged)
            inside, outside = outside, None
        guess = _next(centre, inside, outside, sign, z, count > 8 and count % 2 == 0)
        guess = inside.psi + sign * min(sign * (guess - inside.psi), longest)
    return End(inside.psi, "jump", False)


def _corrected(point: "Point", root: float) -> float:
    """Return psi after one Newton step from a point whose root is within the tolerance."""
    return point.psi + (root - point.root) / point.slope if point.slope > 0.0 else point.psi


def _next(centre: "Point", inside: "Point", outside: "Point | None", sign: int, z: float, bisect: bool) -> float:
    """Return where to search next: within the bracket, or outwards by at most twice the distance from the peak."""
    if outside is not None:
        width = outside.psi - inside.psi
        guess = inside.psi + 0.5 * width if bisect else _hermite(inside, outside, sign * z)
        # the comparison is false for NaN
        return guess if 0.0 < (guess - inside.psi) / width < 1.0 else inside.psi + 0.5 * width
    if inside is centre:  # the first guess was not found
        return sign * np.inf
    distance, guess = abs(inside.psi - centre.psi), np.nan
    if z < _FAR * abs(inside.root):
        guess = _hermite(centre, inside, sign * z)
    elif inside.slope > 0.0:
        guess = inside.psi + (sign * z - inside.root) / inside.slope
    step = sign * (guess - inside.psi)  # comparisons with NaN are false
    return inside.psi + sign * (min(step, distance) if step > 1e-3 * distance else distance)


def _hermite(first: "Point", second: "Point", root: float) -> float:
    """Return psi at a root by interpolation between two points with their slopes; NaN where roots do not increase."""
    if second.psi < first.psi:
        first, second = second, first
    rise = second.root - first.root
    if not (rise > 0.0 and first.slope > 0.0 and second.slope > 0.0):
        return first.psi + (root - first.root) / rise * (second.psi - first.psi) if rise > 0.0 else np.nan
    curve = CubicHermiteSpline(
        [first.root, second.root], [first.psi, second.psi], [1.0 / first.slope, 1.0 / second.slope]
    )
    return float(curve(root))


def fill(path: "Path", ends: Sequence[End], z: float, count: int, span: float) -> None:
    """Add ``count`` points to a path, evenly spaced in the root between -span z and span z.

    On a side whose end was not found they are evenly spaced in psi, up to the last point or twice the Wald interval.
    """
    for sign, end in zip((-1, 1), ends, strict=True):
        half = (count + 1) // 2
        shares = np.arange(1, half + 1) / half
        if end.state == "root":
            wanted = _by_root(path, sign, z * span * shares)
        else:
            reach = min(abs(end.psi - path.centre.psi), 2.0 * z * path.se)
            wanted = path.centre.psi + sign * reach * shares
        for psi in wanted:
            nearest = min(abs(point.psi - psi) for point in path.points)
            if nearest > 0.02 * path.se and sign * psi <= sign * path.target.limit(sign):
                path.at(psi)


def _by_root(path: "Path", sign: int, roots: np.ndarray) -> np.ndarray:
    """Return psi at roots on one side by interpolation, and beyond the last point along its tangent."""
    side = [point for point in path.points if sign * point.root >= 0.0]
    side.sort(key=lambda point: sign * point.root)
    x, first = np.unique([sign * point.root for point in side], return_index=True)
    psi = np.array([side[index].psi for index in first])
    last = side[first[-1]]
    psi_at_roots = PchipInterpolator(x, psi, extrapolate=False)(roots)
    slope = last.slope if last.slope > 0.0 else 1.0 / path.se
    return np.where(roots > x[-1], last.psi + sign * (roots - x[-1]) / slope, psi_at_roots)
