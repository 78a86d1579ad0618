"""Where a profile's signed root reaches a normal quantile, and where it does not."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

TOLERANCE = 1e-3  # of the signed root
_MOST_POINTS = 60
_MOST_LOST = 4  # searches that may fail on one side; they take long
_REACH = 32.0  # ends further than this many times the Wald interval's are not looked for
_APART = 1e-3  # standard errors within which a bracket is closed
_FAR = 1.3  # roots that an interpolating cubic is trusted to extrapolate by


@dataclass(frozen=True)
class End:
    """One end of an interval.

    Attributes
    ----------
    psi : float
        On the path's scale; of the last point that was reached if there is no root.
    state : {"root", "boundary", "flat", "edge", "jump"}
        Found; at the end of the parameter space; not within reach; beyond where restricted maxima could be found,
        as where no parameters satisfy the restriction; between two branches of the profile.
    converged : bool
        Of the last point.
    """

    psi: float
    state: str
    converged: bool


def find_end(path, sign, z):
    """Solve sign * root = z by inverse Hermite interpolation within a bracket, outwards from the peak.

    Parameters
    ----------
    path : Path
    sign : {-1, 1}
    z : float
        Normal quantile, positive.

    Returns
    -------
    End
    """
    centre, limit = path.centre, path.target.limit(sign)
    if sign * (limit - centre.psi) <= _APART * path.se:
        return End(limit, "boundary", True)
    inside, outside, longest, lost = centre, None, np.inf, path.lost
    guess = centre.psi + sign * min(z * path.se, path.target.longest_step)
    for count in range(_MOST_POINTS):
        guess = sign * min(sign * guess, sign * limit)
        point = path.at(guess)
        if point is None:  # out of reach from here, though perhaps not from nearer by
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


def _corrected(point, root):
    """One Newton step from a point within the tolerance."""
    return point.psi + (root - point.root) / point.slope if point.slope > 0.0 else point.psi


def _next(centre, inside, outside, sign, z, bisect):
    """Where to look next: within the bracket, or outwards by at most twice the distance from the peak."""
    if outside is not None:
        width = outside.psi - inside.psi
        guess = inside.psi + 0.5 * width if bisect else _hermite(inside, outside, sign * z)
        # also false for NaN
        return guess if 0.0 < (guess - inside.psi) / width < 1.0 else inside.psi + 0.5 * width
    if inside is centre:  # the first guess was out of reach
        return sign * np.inf
    distance, guess = abs(inside.psi - centre.psi), np.nan
    if z < _FAR * abs(inside.root):
        guess = _hermite(centre, inside, sign * z)
    elif inside.slope > 0.0:
        guess = inside.psi + (sign * z - inside.root) / inside.slope
    step = sign * (guess - inside.psi)  # NaN compares false
    return inside.psi + sign * (min(step, distance) if step > 1e-3 * distance else distance)


def _hermite(first, second, root):
    """psi at a root from two points and their slopes; NaN where roots do not increase."""
    if second.psi < first.psi:
        first, second = second, first
    rise = second.root - first.root
    if not (rise > 0.0 and first.slope > 0.0 and second.slope > 0.0):
        return first.psi + (root - first.root) / rise * (second.psi - first.psi) if rise > 0.0 else np.nan
    curve = CubicHermiteSpline(
        [first.root, second.root], [first.psi, second.psi], [1.0 / first.slope, 1.0 / second.slope]
    )
    return float(curve(root))


def fill(path, ends, z, count, span):
    """Add points evenly spaced in the root, ``count`` between -span z and span z, where ends were found.

    On a side without an end they are evenly spaced in psi, as far as the last point or twice the Wald interval.
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
            taken = min(abs(point.psi - psi) for point in path.points)
            if taken > 0.02 * path.se and sign * psi <= sign * path.target.limit(sign):
                path.at(psi)


def _by_root(path, sign, roots):
    """psi at roots on one side, by interpolation; beyond the last point along its tangent."""
    side = [point for point in path.points if sign * point.root >= 0.0]
    side.sort(key=lambda point: sign * point.root)
    x, first = np.unique([sign * point.root for point in side], return_index=True)
    psi = np.array([side[index].psi for index in first])
    last = side[first[-1]]
    out = PchipInterpolator(x, psi, extrapolate=False)(roots)
    slope = last.slope if last.slope > 0.0 else 1.0 / path.se
    return np.where(roots > x[-1], last.psi + sign * (roots - x[-1]) / slope, out)
