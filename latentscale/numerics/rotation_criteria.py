"""Criteria of simple structure that a rotation of loadings minimises, each with its first two derivatives."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from statsmodels.multivariate.factor_rotation._gpa_rotation import (
    oblimin_objective,
    orthomax_objective,
    vgQ_partial_target,
    vgQ_target,
)

from ..errors import DataError

METHODS = ("geomin", "oblimin", "quartimin", "varimax", "promax", "target")

# Options that belong to one method only: their default values, which mean "not given", and their methods.
_DEFAULTS = {"gamma": 0.0, "epsilon": 0.01, "power": 4, "target": None, "weights": None}
_OWNERS = {"gamma": "oblimin", "epsilon": "geomin", "power": "promax", "target": "target", "weights": "target"}


class Criterion(Protocol):
    """A function Q of the loadings that a rotation minimises."""

    def evaluate(self, loadings: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and the gradient (J, K) at loadings (J, K)."""

    def curvature(self, loadings: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the derivatives of the gradient at loadings (J, K) along directions (n, J, K), same shape."""


@dataclass(frozen=True)
class Geomin:
    """The sum over rows of the geometric mean of l^2 + epsilon (Yates 1987; Browne 2001).

    Attributes
    ----------
    epsilon : float
        A positive number, which keeps the criterion smooth where a loading is zero.

    Examples
    --------
    >>> round(Geomin(0.01).evaluate(np.eye(2))[0], 6)
    0.200998
    """

    epsilon: float

    def evaluate(self, loadings: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and the gradient (J, K) at loadings (J, K)."""
        mean, ratio = self._means_and_ratios(loadings)
        return float(mean.sum()), 2.0 / loadings.shape[1] * mean * ratio

    def curvature(self, loadings: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the derivatives of the gradient at loadings (J, K) along directions (n, J, K), same shape."""
        mean, ratio = self._means_and_ratios(loadings)
        size = loadings**2 + self.epsilon
        rate = 2.0 / loadings.shape[1]
        change = rate * np.sum(ratio * directions, axis=-1, keepdims=True)
        return rate * mean * ((self.epsilon - loadings**2) / size**2 * directions + ratio * change)

    def _means_and_ratios(self, loadings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the geometric means of the rows (J, 1) and l / (l^2 + epsilon) (J, K)."""
        size = loadings**2 + self.epsilon
        return np.exp(np.mean(np.log(size), axis=1, keepdims=True)), loadings / size


@dataclass(frozen=True)
class Oblimin:
    """Direct oblimin (Jennrich and Sampson 1966); gamma = 0 is quartimin.

    The criterion is 1/4 of the sum over pairs of different columns k, m of <l_k^2, l_m^2> - gamma/J |l_k|^2 |l_m|^2.

    Attributes
    ----------
    gamma : float
        At most 0 for oblique rotations; a positive gamma may have no minimum, as factors become one (Jennrich 1979).
    """

    gamma: float

    def evaluate(self, loadings: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and the gradient (J, K) at loadings (J, K)."""
        value, gradient = oblimin_objective(L=loadings, gamma=self.gamma)
        return float(value), gradient

    def curvature(self, loadings: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the derivatives of the gradient at loadings (J, K) along directions (n, J, K), same shape."""
        change = self._others(2.0 * loadings * directions)
        return directions * self._others(loadings**2) + loadings * change

    def _others(self, squares: np.ndarray) -> np.ndarray:
        """Return for each column the sum of the other columns, minus gamma times the mean of that sum over the rows."""
        rest = squares.sum(axis=-1, keepdims=True) - squares
        return rest - self.gamma * rest.mean(axis=-2, keepdims=True)


@dataclass(frozen=True)
class Varimax:
    """-J/4 times the sum over columns of the variance of the squared loadings (Kaiser 1958)."""

    def evaluate(self, loadings: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and the gradient (J, K) at loadings (J, K)."""
        value, gradient = orthomax_objective(L=loadings, gamma=1)
        return float(value), gradient

    def curvature(self, loadings: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the derivatives of the gradient at loadings (J, K) along directions (n, J, K), same shape."""
        squares, change = loadings**2, 2.0 * loadings * directions
        about = change - change.mean(axis=-2, keepdims=True)
        return -directions * (squares - squares.mean(axis=0)) - loadings * about


@dataclass(frozen=True, eq=False)
class Target:
    """The sum of squared differences from a target over its specified entries (Browne 1972).

    Attributes
    ----------
    target : array (J, K)
    weights : array (J, K), optional
        1 where the target is specified, 0 elsewhere; None if all of it is specified.
    """

    target: np.ndarray
    weights: np.ndarray | None = None

    def evaluate(self, loadings: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and the gradient (J, K) at loadings (J, K)."""
        if self.weights is None:
            value, gradient = vgQ_target(self.target, L=loadings)
        else:
            value, gradient = vgQ_partial_target(self.target, W=self.weights, L=loadings)
        return float(value), gradient

    def curvature(self, loadings: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the derivatives of the gradient at loadings (J, K) along directions (n, J, K), same shape."""
        return 2.0 * directions if self.weights is None else 2.0 * self.weights * directions


@dataclass(frozen=True, eq=False)
class RotationSettings:
    """What a rotation minimises, checked against the shape of the matrix.

    Attributes
    ----------
    method : str
        One of ``METHODS``.
    oblique : bool
        Whether the rotated factors may correlate.
    normalize : bool
        Kaiser's normalisation: rows are divided by their lengths before the rotation and multiplied by them after it.
    power : float
        The power of promax, above 1.
    criterion : Geomin, Oblimin, Varimax or Target
        The criterion of the search; for promax that is varimax.
    """

    method: str
    oblique: bool
    normalize: bool
    power: float
    criterion: Criterion

    @property
    def oblique_search(self) -> bool:
        """Whether the search is over oblique rotations; promax searches over orthogonal ones, as varimax does."""
        return self.oblique and self.method != "promax"

    @property
    def fixed_signs(self) -> np.ndarray | None:
        """The columns whose sign a target determines, a boolean array (K,).

        It is None for the criteria that do not depend on the order and the signs of the columns.
        """
        criterion = self.criterion
        if not isinstance(criterion, Target):
            return None
        specified = criterion.target if criterion.weights is None else criterion.target * criterion.weights
        return np.any(specified != 0.0, axis=0)


def read_settings(
    shape: tuple[int, ...], method: str, oblique: bool, normalize: bool, **options: Any
) -> RotationSettings:
    """Return the settings of a rotation from a user's arguments, after checking them.

    Parameters
    ----------
    shape : tuple of int
        The shape (J, K) of the loadings.
    method : str
        One of ``METHODS``, in small or capital letters.
    oblique, normalize : bool
    **options
        gamma, epsilon, power, target and weights.

    Returns
    -------
    RotationSettings

    Raises
    ------
    DataError
        If the method is unknown, an option belongs to another method, or a value is out of its range.

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


def _criterion(shape: tuple[int, ...], method: str, given: dict[str, Any]) -> Criterion:
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


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be a number, not {value!r}.") from error
    if not np.isfinite(number):
        raise DataError(f"{name} must be finite, not {value!r}.")
    return number


def _target(shape: tuple[int, ...], target: npt.ArrayLike | None, weights: npt.ArrayLike | None) -> Target:
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


def _matrix(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    try:
        matrix = np.array(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be a matrix of numbers: {error}.") from error
    if matrix.shape != tuple(shape):
        raise DataError(f"{name} must have the shape of the loadings, {tuple(shape)}, not {matrix.shape}.")
    return matrix
