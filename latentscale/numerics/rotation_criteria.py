"""Criteria of simple structure that a rotation of loadings minimises, each with its first two derivatives."""

from dataclasses import dataclass

import numpy as np
from statsmodels.multivariate.factor_rotation._gpa_rotation import (
    oblimin_objective,
    orthomax_objective,
    vgQ_partial_target,
    vgQ_target,
)

from ..errors import DataError

METHODS = ("geomin", "oblimin", "quartimin", "varimax", "promax", "target")

# Options that only some methods have, with the values that mean "not given".
_DEFAULTS = {"gamma": 0.0, "epsilon": 0.01, "power": 4, "target": None, "weights": None}
_OWNERS = {"gamma": "oblimin", "epsilon": "geomin", "power": "promax", "target": "target", "weights": "target"}


@dataclass(frozen=True)
class Geomin:
    """Sum over rows of the geometric mean of l^2 + epsilon (Yates 1987; Browne 2001).

    Attributes
    ----------
    epsilon : float
        Positive; it keeps the criterion smooth where a loading is zero.

    Examples
    --------
    >>> round(Geomin(0.01).evaluate(np.eye(2))[0], 6)
    0.200998
    """

    epsilon: float

    def evaluate(self, loadings):
        """Value and gradient (J, K) at loadings (J, K)."""
        mean, share = self._parts(loadings)
        return float(mean.sum()), 2.0 / loadings.shape[1] * mean * share

    def curvature(self, loadings, directions):
        """Derivative of the gradient along directions (n, J, K), same shape."""
        mean, share = self._parts(loadings)
        size = loadings**2 + self.epsilon
        rate = 2.0 / loadings.shape[1]
        change = rate * np.sum(share * directions, axis=-1, keepdims=True)
        return rate * mean * ((self.epsilon - loadings**2) / size**2 * directions + share * change)

    def _parts(self, loadings):
        size = loadings**2 + self.epsilon
        return np.exp(np.mean(np.log(size), axis=1, keepdims=True)), loadings / size


@dataclass(frozen=True)
class Oblimin:
    """Direct oblimin, 1/4 sum over pairs of columns of <l_k^2, l_m^2> - gamma/J |l_k|^2 |l_m|^2 (Jennrich and
    Sampson 1966); gamma = 0 is quartimin.

    Attributes
    ----------
    gamma : float
        At most 0 for oblique rotations to be safe from collapsing factors (Jennrich 1979).
    """

    gamma: float

    def evaluate(self, loadings):
        """Value and gradient (J, K) at loadings (J, K)."""
        value, gradient = oblimin_objective(L=loadings, gamma=self.gamma)
        return float(value), gradient

    def curvature(self, loadings, directions):
        """Derivative of the gradient along directions (n, J, K), same shape."""
        change = self._others(2.0 * loadings * directions)
        return directions * self._others(loadings**2) + loadings * change

    def _others(self, squares):
        """Sum over the other columns, less gamma times its mean over the rows."""
        rest = squares.sum(axis=-1, keepdims=True) - squares
        return rest - self.gamma * rest.mean(axis=-2, keepdims=True)


@dataclass(frozen=True)
class Varimax:
    """Minus J/4 times the sum of the columns' variances of squared loadings (Kaiser 1958)."""

    def evaluate(self, loadings):
        """Value and gradient (J, K) at loadings (J, K)."""
        value, gradient = orthomax_objective(L=loadings, gamma=1)
        return float(value), gradient

    def curvature(self, loadings, directions):
        """Derivative of the gradient along directions (n, J, K), same shape."""
        squares, change = loadings**2, 2.0 * loadings * directions
        about = change - change.mean(axis=-2, keepdims=True)
        return -directions * (squares - squares.mean(axis=0)) - loadings * about


@dataclass(frozen=True, eq=False)
class Target:
    """Sum of squared differences from a target over its specified entries (Browne 1972).

    Attributes
    ----------
    target : array (J, K)
    weights : array (J, K), optional
        1 where the target is specified, 0 elsewhere; None where all of it is.
    """

    target: np.ndarray
    weights: np.ndarray = None

    def evaluate(self, loadings):
        """Value and gradient (J, K) at loadings (J, K)."""
        if self.weights is None:
            value, gradient = vgQ_target(self.target, L=loadings)
        else:
            value, gradient = vgQ_partial_target(self.target, W=self.weights, L=loadings)
        return float(value), gradient

    def curvature(self, loadings, directions):
        """Derivative of the gradient along directions (n, J, K), same shape."""
        return 2.0 * directions if self.weights is None else 2.0 * self.weights * directions


@dataclass(frozen=True, eq=False)
class RotationSettings:
    """What a rotation minimises, checked against the shape of the matrix.

    Attributes
    ----------
    method : str
        One of ``METHODS``.
    oblique : bool
        Whether factors may correlate in the end.
    normalize : bool
        Kaiser's normalisation: rows are divided by their lengths before the rotation and multiplied after it.
    power : float
        Of promax; above 1.
    criterion : Geomin, Oblimin, Varimax or Target
        That of varimax for promax.
    """

    method: str
    oblique: bool
    normalize: bool
    power: float
    criterion: object

    @property
    def oblique_search(self):
        """Whether the search itself is among oblique rotations; promax searches as varimax does."""
        return self.oblique and self.method != "promax"

    @property
    def fixed_signs(self):
        """Bool array (K,), columns to which a target gives a sign; None for criteria that see no order or signs."""
        if self.method != "target":
            return None
        criterion = self.criterion
        specified = criterion.target if criterion.weights is None else criterion.target * criterion.weights
        return np.any(specified != 0.0, axis=0)


def read_settings(shape, method, oblique, normalize, **options):
    """RotationSettings from what a user may give.

    Parameters
    ----------
    shape : tuple of int
        (J, K).
    method : str
    oblique, normalize : bool
    **options
        gamma, epsilon, power, target, weights.

    Raises
    ------
    DataError
        For an unknown method, an option that belongs to another method, or a value out of its range.

    Examples
    --------
    >>> settings = read_settings((6, 2), "varimax", True, False)
    >>> settings.oblique, settings.criterion
    (False, Varimax())
    """
    if not isinstance(method, str) or method.lower() not in METHODS:
        raise DataError(f"Unknown rotation method {method!r}: choose one of {', '.join(METHODS)}.")
    method = method.lower()
    given = {**_DEFAULTS, **options}
    for name, owner in _OWNERS.items():
        default = _DEFAULTS[name]
        foreign = given[name] is not None if default is None else given[name] != default
        if method != owner and foreign:
            raise DataError(f"{name} is an option of method={owner!r}; leave it out with method={method!r}.")
    if method == "promax" and not oblique:
        raise DataError("promax is oblique: leave oblique=True, or use 'varimax' for uncorrelated factors.")
    criterion = _criterion(shape, method, given)
    power = _number("power", given["power"])
    if not power > 1.0:
        raise DataError(f"power must be above 1 (2 to 4 are usual), not {given['power']!r}.")
    return RotationSettings(method, bool(oblique) and method != "varimax", bool(normalize), power, criterion)


def _criterion(shape, method, given):
    if method == "geomin":
        epsilon = _number("epsilon", given["epsilon"])
        if not epsilon > 0.0:
            raise DataError(f"epsilon must be positive (0.0001 to 0.01 are usual), not {given['epsilon']!r}.")
        return Geomin(epsilon)
    if method in ("oblimin", "quartimin"):
        return Oblimin(_number("gamma", given["gamma"]))
    if method in ("varimax", "promax"):
        return Varimax()
    return _target(shape, given["target"], given["weights"])


def _number(name, value):
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be a number, not {value!r}.") from error
    if not np.isfinite(number):
        raise DataError(f"{name} must be finite, not {value!r}.")
    return number


def _target(shape, target, weights):
    if target is None:
        raise DataError("method='target' needs target=, a matrix like the loadings with NaN where unspecified.")
    target = _matrix("target", target, shape)
    if np.isinf(target).any():
        raise DataError("A target's entries are finite, or NaN where it is unspecified.")
    specified = ~np.isnan(target)
    if weights is not None:
        weights = _matrix("weights", weights, shape)
        if not np.isin(weights, (0.0, 1.0)).all():
            raise DataError("weights are 1 where the target is specified and 0 elsewhere.")
        if np.any((weights == 1.0) & ~specified):
            raise DataError("weights are 1 at entries where the target is NaN: give a value there or a weight of 0.")
        specified = weights == 1.0
    if not specified.any():
        raise DataError("The target specifies no entry: there is nothing to rotate towards.")
    if specified.all():
        return Target(target)
    return Target(np.where(specified, target, 0.0), specified.astype(float))


def _matrix(name, value, shape):
    try:
        matrix = np.array(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be a matrix of numbers: {error}.") from error
    if matrix.shape != tuple(shape):
        raise DataError(f"{name} must have the shape of the loadings, {tuple(shape)}, not {matrix.shape}.")
    return matrix
