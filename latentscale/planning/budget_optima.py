"""Optima along a budget of FLOPs: the size and the tokens that make the most of it, and how well they are known.

Training N parameters on D tokens costs 6 N D FLOPs, and serving D_inf tokens another 2 N D_inf. With s in billions of
parameters, and t and q in trillions of tokens, a budget C buys the allocations on the line 6e21 s t + 2e21 s q = C,
along which a target is a function of u = log s alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import Delaunay, QhullError

from ..errors import DataError
from ..parameters.structure import Structure
from ..prediction.parameter_law import ParameterLaw
from .target import Target

Design = Callable[[npt.ArrayLike, npt.ArrayLike], np.ndarray]

TRAINING, INFERENCE = 6e21, 2e21  # FLOPs of a billion parameters times a trillion tokens
INTERIOR, SIZE_MIN, SIZE_MAX, TOKENS_MIN, TOKENS_MAX = CORNERS = (
    "interior", "size_min", "size_max", "tokens_min", "tokens_max",
)  # fmt: skip
GRID = 97  # sizes along a budget line at which a target without a closed form is first evaluated
STEP = 1e-3  # step in log size for derivatives along a line
DELTA_STEP = 0.01  # step in standard errors for derivatives in parameters
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)
_GOLDEN_STEPS = 40  # each shortens the bracket to 0.618 of its length
_FLAT = 1e-9  # a target whose range along a line, relative to its size, is below this counts as constant
_POLYNOMIAL = 1e-10  # relative error below which covariates count as polynomials of degree two
_ROUNDING = 1e-12  # curvature, relative to the terms of its sum, that counts as zero


# --- budgets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BudgetLine:
    """The allocations within bounds that cost a budget.

    Attributes
    ----------
    flops : float
        The budget C.
    inference : float
        q, trillions of tokens to be served.
    low, high : float
        Range of u = log s, with s in billions of parameters.
    low_end, high_end : str
        The bound that is met there: "size_min" or "tokens_max", and "size_max" or "tokens_min".
    """

    flops: float
    inference: float
    low: float
    high: float
    low_end: str
    high_end: str

    def tokens(self, u: npt.ArrayLike) -> np.ndarray:
        """Return trillions of training tokens at u; zero or less where nothing is left for training."""
        return self.flops / TRAINING * np.exp(-np.asarray(u)) - self.inference * INFERENCE / TRAINING

    def size(self, tokens: npt.ArrayLike) -> np.ndarray:
        """Return billions of parameters that the budget buys with these trillions of training tokens."""
        return self.flops / (TRAINING * np.asarray(tokens) + INFERENCE * self.inference)


def budget_line(
    flops: float, size: tuple[float, float], tokens: tuple[float, float], inference: float = 0.0
) -> BudgetLine:
    """Return the line of one budget.

    Parameters
    ----------
    flops : float
        The budget C, positive.
    size : (float, float)
        Bounds of the size, in billions of parameters.
    tokens : (float, float)
        Bounds of training tokens, in trillions.
    inference : float
        Trillions of tokens to be served.

    Returns
    -------
    BudgetLine

    Raises
    ------
    DataError
        If no allocation within the bounds costs that much.
    """
    served = inference * INFERENCE / TRAINING
    # s = C / (6e21 (t + q / 3)) decreases in t
    most, least = (flops / (TRAINING * (end + served)) for end in tokens)
    low, high = max(size[0], least), min(size[1], most)
    if not low <= high * (1.0 + 1e-12):
        cheapest, dearest = ((TRAINING * t + INFERENCE * inference) * s for s, t in zip(size, tokens, strict=True))
        raise DataError(
            f"No allocation within the bounds costs {flops:.4g} FLOPs: from {size[0]:.4g} to {size[1]:.4g} billion "
            f"parameters and from {tokens[0]:.4g} to {tokens[1]:.4g} trillion tokens"
            + (f", with {inference:.4g} trillion tokens served," if inference else "")
            + f" costs lie between {cheapest:.4g} and {dearest:.4g} FLOPs. Change the budget, or the bounds "
            "(size_bounds=, tokens_bounds=, reach=)."
        )
    low = min(low, high)
    ends = (SIZE_MIN if size[0] >= least else TOKENS_MAX, SIZE_MAX if size[1] <= most else TOKENS_MIN)
    return BudgetLine(float(flops), float(inference), float(np.log(low)), float(np.log(high)), *ends)


# --- optima ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Optima:
    """Maxima of a target along a line under S parameter values.

    Attributes
    ----------
    u : array (S,)
        Log size.
    corner : array (S,) of str
        Where each lies, one of ``CORNERS``.
    closed : bool
        Whether they come from the closed form.
    """

    u: np.ndarray
    corner: np.ndarray
    closed: bool


def line_polynomial(design: Design, line: BudgetLine) -> np.ndarray | None:
    """Return coefficients (3, p) of the covariates as polynomials of degree two in u along a line, else None.

    With translog covariates and no tokens to serve, log t = c - u with c = log(C / 6e21), and
    b1 log s + b2 log t + b3 log s log t = b2 c + (b1 - b2 + b3 c) u - b3 u^2.

    Parameters
    ----------
    design : callable
        Returns covariates (n, p) given sizes (n,) and tokens (n,).
    line : BudgetLine
    """
    # Seven points show terms of degree three and higher. Centring at the middle keeps the system well conditioned.
    middle, half = 0.5 * (line.low + line.high), 0.5 * (line.high - line.low)
    v = np.linspace(-1.0, 1.0, 7)
    u = middle + half * v
    x = design(np.exp(u), line.tokens(u))
    basis = np.vander(v, 3, increasing=True)
    coefficients = np.linalg.lstsq(basis, x, rcond=None)[0]
    if np.any(np.abs(basis @ coefficients - x) > _POLYNOMIAL * (1.0 + np.abs(x).max(axis=0))):
        return None
    constant, first, second = coefficients
    a2 = second / half**2
    a1 = first / half - 2.0 * a2 * middle
    return np.array([constant - first * middle / half + a2 * middle**2, a1, a2])


def optimise(target: Target, design: Design, line: BudgetLine) -> Optima:
    """Return the maxima of a target along a budget line.

    The target may be a skill, a mix of skills, or a benchmark without random slopes. It then has its optimum where its
    combined index g(u) has. If g(u) = a0 + a1 u + a2 u^2 with a2 < 0 the interior optimum is u* = -a1 / (2 a2), which
    for the translog function is u* = c / 2 + (b1 - b2) / (2 b3), for b3 > 0. If a2 >= 0, or u* is outside the line, the
    better end is the optimum.

    Any other target is evaluated on a grid of 97 sizes, and the best of these is refined by golden section search.

    Parameters
    ----------
    target : Target
    design : callable
    line : BudgetLine

    Returns
    -------
    Optima
    """
    if line.high - line.low < 1e-9:
        name = line.low_end if line.low_end == SIZE_MIN else line.high_end
        return Optima(np.full(target.size, line.low), np.full(target.size, name), True)
    polynomial = line_polynomial(design, line) if target.is_linear else None
    if polynomial is not None:
        return _closed_form(target, polynomial, line)
    return _search(target, design, line)


def _closed_form(target: Target, polynomial: np.ndarray, line: BudgetLine) -> Optima:
    """Return the maxima of a combined index that is a polynomial of degree two in u, given by ``line_polynomial``."""
    _, a1, a2 = np.einsum("ap,spt,t->as", polynomial, target.slopes, target.weights)
    with np.errstate(divide="ignore", invalid="ignore"):  # no stationary point where a2 is zero
        stationary = -0.5 * a1 / a2
    # a curvature no larger than the rounding error of its sum counts as zero
    sizes = np.einsum("ap,spt,t->as", np.abs(polynomial[1:]), np.abs(target.slopes), target.weights)
    least = _ROUNDING * (sizes[1] + sizes[0] / (line.high - line.low))
    inside = (a2 < -least) & (stationary > line.low) & (stationary < line.high)
    # (g(high) - g(low)) / (high - low)
    rising = a1 + a2 * (line.high + line.low) > 0.0
    u = np.where(inside, stationary, np.where(rising, line.high, line.low))
    return Optima(u, _names(inside, rising, line), True)


def _names(inside: np.ndarray, at_high: np.ndarray, line: BudgetLine) -> np.ndarray:
    """Return the words of ``CORNERS`` for optima that are inside, at the upper end or at the lower end of a line."""
    return np.where(inside, INTERIOR, np.where(at_high, line.high_end, line.low_end))


def _search(target: Target, design: Design, line: BudgetLine) -> Optima:
    """Return the maxima of a target on a grid, refined by golden section search between the neighbours of the best."""
    grid = np.linspace(line.low, line.high, GRID)
    values = objective(target, design(np.exp(grid), line.tokens(grid))[None])
    best = values.argmax(axis=1)
    left, right = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, GRID - 1)]

    def evaluate(u: np.ndarray) -> np.ndarray:
        return objective(target, design(np.exp(u), line.tokens(u))[:, None])[:, 0]

    inner, outer = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
    at_inner, at_outer = evaluate(inner), evaluate(outer)
    for _ in range(_GOLDEN_STEPS):
        rising = at_outer > at_inner
        left, right = np.where(rising, inner, left), np.where(rising, right, outer)
        fresh = np.where(rising, left + _GOLDEN * (right - left), right - _GOLDEN * (right - left))
        at_fresh = evaluate(fresh)
        inner, outer = np.where(rising, outer, fresh), np.where(rising, fresh, inner)
        at_inner, at_outer = np.where(rising, at_outer, at_fresh), np.where(rising, at_fresh, at_inner)
    u, best_value = np.where(at_outer > at_inner, outer, inner), np.maximum(at_inner, at_outer)
    ends = values[:, [0, -1]]
    at_high = ends[:, 1] > ends[:, 0]
    # differences below this are rounding
    inside = best_value > ends.max(axis=1) + 1e-14 * (1.0 + np.abs(best_value))
    u = np.where(inside, u, np.where(at_high, line.high, line.low))
    return Optima(u, _names(inside, at_high, line), False)


def objective(target: Target, x: np.ndarray) -> np.ndarray:
    """Return what is maximised at covariates x (S or 1, n, p), array (S, n).

    It is the combined index where the target increases in it, which is faster, and otherwise the target.
    """
    return target.index(x) if target.is_linear else target.value(x)


def check_slope(target: Target, design: Design, line: BudgetLine, words: str) -> None:
    """Refuse a target that has the same value all along a line, where there is nothing to choose."""
    if line.high - line.low < 1e-9:
        return
    grid = np.linspace(line.low, line.high, GRID)
    x = design(np.exp(grid), line.tokens(grid))
    values = objective(target, x[None])[0]
    # the size of the terms of the sum, as the sum itself may be zero
    scale = np.abs(x).max(axis=0) @ np.abs(target.slopes[0] @ target.weights)
    if np.ptp(values) <= _FLAT * max(scale, np.abs(values).max()):
        raise DataError(
            f"{words} is the same for every allocation of {line.flops:.4g} FLOPs, as the scaling depends on size and "
            "tokens through their product alone: there is no optimum. Fit a scaling with both, such as "
            "'log(params_b) * log(tokens_t)'."
        )


# --- uncertainty ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeltaErrors:
    """Standard errors by the delta method.

    Attributes
    ----------
    u : float
        Of the optimal log size; NaN at a corner, where small changes of the parameters do not move the optimum.
    value : float
        Of the target at the optimum.
    """

    u: float
    value: float


def law_steps(law: ParameterLaw) -> list[Structure]:
    """Return parameters at the estimate plus and minus a hundredth of a standard error, along each direction of a law.

    Returns
    -------
    list of 2 m Structures
        First all steps upwards, then all steps downwards.
    """
    shifts = DELTA_STEP * law.root.T
    points = np.concatenate([law.centre + shifts, law.centre - shifts])
    return [law.recoding.user(law.space.structure(point)) for point in points]


def law_gradient(values: np.ndarray) -> np.ndarray:
    """Return derivatives (m, ...) along the directions of a law, given values (2 m, ...) at ``law_steps``.

    They are G R, for the gradient G in the coordinates and the root R of their covariance.
    """
    plus, minus = np.split(values, 2)
    return (plus - minus) / (2.0 * DELTA_STEP)


def delta_errors(target: Target, stepped: Target, design: Design, line: BudgetLine, optima: Optima) -> DeltaErrors:
    """Return delta-method standard errors of the optimum along a line and of the target there.

    At an interior optimum f_u(u*, xi) = 0, so that du*/dxi = -f_u,xi / f_uu. The value at the optimum changes with the
    parameters as if u* were constant (envelope theorem).

    Parameters
    ----------
    target : Target
        At the estimate, S = 1.
    stepped : Target
        At ``law_steps``.
    design : callable
    line : BudgetLine
    optima : Optima
        Of ``target``.
    """
    u = optima.u[0] + STEP * np.array([-1.0, 0.0, 1.0])
    x = design(np.exp(u), line.tokens(u))[None]
    value = float(np.linalg.norm(law_gradient(stepped.value(x[:, 1:2])[:, 0])))
    if optima.corner[0] != INTERIOR:
        return DeltaErrors(np.nan, value)
    below, middle, above = objective(target, x)[0]
    curvature = (above - 2.0 * middle + below) / STEP**2
    along_line = objective(stepped, x)
    slope = law_gradient((along_line[:, 2] - along_line[:, 0]) / (2.0 * STEP))
    return DeltaErrors(float(np.linalg.norm(slope) / abs(curvature)), value)


@dataclass(frozen=True)
class Allocated:
    """The allocation of one budget.

    Attributes
    ----------
    line : BudgetLine
    u : float
        Optimal log size, in billions of parameters.
    value : float
        Target at the optimum.
    corner : str
        Where the optimum lies, one of ``CORNERS``.
    closed : bool
        Whether it comes from the closed form.
    errors : DeltaErrors or None
    draws : Optima or None
        Optima under S drawn parameters.
    values : array (S,) or None
        Target at ``u`` under the drawn parameters.
    shortfall : array (S,) or None
        By how much the target at ``u`` is below its value at the optimum of the drawn parameters; at least 0 up to the
        precision of the search.
    of_family : array (S,) or None
        Target at ``u`` under the drawn parameters for a single family each, drawn from its distribution.
    """

    line: BudgetLine
    u: float
    value: float
    corner: str
    closed: bool
    errors: DeltaErrors | None = None
    draws: Optima | None = None
    values: np.ndarray | None = None
    shortfall: np.ndarray | None = None
    of_family: np.ndarray | None = None

    @property
    def size(self) -> float:
        """Billions of parameters."""
        return float(np.exp(self.u))

    @property
    def tokens(self) -> float:
        """Trillions of tokens."""
        return float(self.line.tokens(self.u))


def allocate(
    target: Target,
    design: Design,
    line: BudgetLine,
    stepped: Target | None = None,
    drawn: Target | None = None,
    seed: int = 0,
) -> Allocated:
    """Return the optimum of one budget with its uncertainty.

    Parameters
    ----------
    target : Target
        At the estimate, S = 1.
    design : callable
    line : BudgetLine
    stepped : Target, optional
        At ``law_steps``, for the delta method.
    drawn : Target, optional
        Under S draws of the parameters.
    seed : int
        For the family effects of ``of_family``.

    Returns
    -------
    Allocated
    """
    optima = optimise(target, design, line)
    u = float(optima.u[0])
    here = design(np.exp(optima.u), line.tokens(optima.u))[None]
    value = float(target.value(here)[0, 0])
    errors = None if stepped is None else delta_errors(target, stepped, design, line, optima)
    if drawn is None:
        return Allocated(line, u, value, str(optima.corner[0]), optima.closed, errors)
    optima_of_draws = optimise(drawn, design, line)
    values = drawn.value(here)[:, 0]
    best = drawn.value(design(np.exp(optima_of_draws.u), line.tokens(optima_of_draws.u))[:, None])[:, 0]
    of_family = drawn.draw(here, np.random.default_rng(seed))[:, 0]
    return Allocated(
        line, u, value, str(optima.corner[0]), optima.closed, errors, optima_of_draws, values, best - values, of_family
    )


# --- the data's range ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataRange:
    """Sizes and tokens of the LLMs of a fit.

    Attributes
    ----------
    size : array (n,)
        Billions of parameters.
    tokens : array (n,)
        Trillions of tokens.
    """

    size: np.ndarray
    tokens: np.ndarray

    def bounds(self, reach: float) -> tuple[tuple[float, float], ...]:
        """Return bounds of size and of tokens that are a factor ``reach`` beyond the data on either side."""
        return tuple((values.min() / reach, values.max() * reach) for values in (self.size, self.tokens))

    def factors(self, size: float, tokens: float) -> tuple[float, ...]:
        """Return how far size and tokens lie beyond the data, as factors.

        A factor is above 1 beyond the largest value of the data, below 1 under the smallest, and 1 between them.
        """
        factors = []
        for value, values in ((size, self.size), (tokens, self.tokens)):
            factor = float(max(value / values.max(), 1.0) * min(value / values.min(), 1.0))
            # an allocation at the end of the data is there up to rounding only
            factors.append(1.0 if abs(factor - 1.0) < _FLAT else factor)
        return tuple(factors)

    def inside(self, size: float, tokens: float) -> bool:
        """Return whether an allocation lies in the convex hull of the LLMs, on logarithmic axes.

        LLMs on a line have no such hull; then an allocation counts as inside if it lies between them in size and in
        tokens.
        """
        points = np.log(np.column_stack([self.size, self.tokens]))
        try:
            return bool(Delaunay(points).find_simplex(np.log([[size, tokens]]))[0] >= 0)
        except (QhullError, ValueError):
            return self.factors(size, tokens) == (1.0, 1.0)
