"""Compute-optimal allocation: the size and the tokens that make the most of a budget of FLOPs.

Training N parameters on D tokens costs 6 N D FLOPs, and serving D_inf tokens another 2 N D_inf. With s in billions of
parameters, t and q in trillions of tokens, the budget C is spent on the line 6e21 s t + 2e21 s q = C, along which a
target is a function of u = log s alone.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import Delaunay, QhullError

from ..errors import DataError

TRAINING, INFERENCE = 6e21, 2e21  # FLOPs of a billion parameters times a trillion tokens
INTERIOR, SIZE_MIN, SIZE_MAX, TOKENS_MIN, TOKENS_MAX = CORNERS = (
    "interior", "size_min", "size_max", "tokens_min", "tokens_max",
)  # fmt: skip
GRID = 97  # sizes of a budget line at which a target without a closed form is first looked at
STEP = 1e-3  # of log size, for derivatives along a line
DELTA_STEP = 0.01  # standard errors, for derivatives in parameters
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)
_GOLDEN_STEPS = 40  # each leaves .618 of the bracket
_FLAT = 1e-9  # range of a target along a line, relative to its size, that counts as none
_POLYNOMIAL = 1e-10
_ROUNDING = 1e-12


# --- budgets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BudgetLine:
    """The allocations that a budget buys within bounds.

    Attributes
    ----------
    flops : float
        C.
    inference : float
        q, trillions of tokens to be served.
    low, high : float
        Range of u = log s, s in billions of parameters.
    low_end, high_end : str
        The bound met there: "size_min" or "tokens_max", "size_max" or "tokens_min".
    """

    flops: float
    inference: float
    low: float
    high: float
    low_end: str
    high_end: str

    def tokens(self, u):
        """Trillions of training tokens at u; zero or less where nothing is left to train with."""
        return self.flops / TRAINING * np.exp(-np.asarray(u)) - self.inference * INFERENCE / TRAINING

    def size(self, tokens):
        """Billions of parameters that the budget buys beside so many trillions of training tokens."""
        return self.flops / (TRAINING * np.asarray(tokens) + INFERENCE * self.inference)


def budget_line(flops, size, tokens, inference=0.0):
    """The line of one budget.

    Parameters
    ----------
    flops : float
        C, positive.
    size : (float, float)
        Bounds, billions of parameters.
    tokens : (float, float)
        Bounds, trillions of training tokens.
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
    # s = C / (6e21 (t + q / 3)) falls in t
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
        One of ``CORNERS``.
    closed : bool
        Whether by the closed form.
    """

    u: np.ndarray
    corner: np.ndarray
    closed: bool


def line_polynomial(design, line):
    """Coefficients (3, p) of the covariates along a line, if each is a polynomial in u of degree two; else None.

    With translog covariates and nothing to serve log t = c - u, c = log(C / 6e21), and
    b1 log s + b2 log t + b3 log s log t = b2 c + (b1 - b2 + b3 c) u - b3 u^2.

    Parameters
    ----------
    design : callable
        Covariates (n, p) of sizes (n,) and tokens (n,).
    line : BudgetLine
    """
    # seven points determine a cubic and more, so that none passes for a quadratic; centred, for its condition
    middle, half = 0.5 * (line.low + line.high), 0.5 * (line.high - line.low)
    v = np.linspace(-1.0, 1.0, 7)
    u = middle + half * v
    x = design(np.exp(u), line.tokens(u))
    basis = np.vander(v, 3, increasing=True)
    found = np.linalg.lstsq(basis, x, rcond=None)[0]
    if np.any(np.abs(basis @ found - x) > _POLYNOMIAL * (1.0 + np.abs(x).max(axis=0))):
        return None
    constant, first, second = found
    a2 = second / half**2
    a1 = first / half - 2.0 * a2 * middle
    return np.array([constant - first * middle / half + a2 * middle**2, a1, a2])


def optimise(target, design, line):
    """Maxima of a target along a budget line.

    A skill, a mix of skills and a benchmark without random slopes have their optimum where the combined index has; if
    that is g(u) = a0 + a1 u + a2 u^2 the interior optimum is u* = -a1 / (2 a2) when a2 < 0. For the translog function
    that is u* = c / 2 + (b1 - b2) / (2 b3) when b3 > 0. In all other cases, and for u* outside the line, the better
    end. Targets without a closed form are looked at on a grid of 97 sizes, and the best one is refined by golden
    sections.

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


def _closed_form(target, polynomial, line):
    _, a1, a2 = np.einsum("ap,spt,t->as", polynomial, target.slopes, target.weights)
    with np.errstate(divide="ignore", invalid="ignore"):  # no stationary point where a2 is zero
        stationary = -0.5 * a1 / a2
    # a curvature that may be the rounding of what is added up is none
    sizes = np.einsum("ap,spt,t->as", np.abs(polynomial[1:]), np.abs(target.slopes), target.weights)
    least = _ROUNDING * (sizes[1] + sizes[0] / (line.high - line.low))
    inside = (a2 < -least) & (stationary > line.low) & (stationary < line.high)
    # g(high) - g(low) over high - low
    rising = a1 + a2 * (line.high + line.low) > 0.0
    u = np.where(inside, stationary, np.where(rising, line.high, line.low))
    return Optima(u, _names(inside, rising, line), True)


def _names(inside, at_high, line):
    return np.where(inside, INTERIOR, np.where(at_high, line.high_end, line.low_end))


def _search(target, design, line):
    grid = np.linspace(line.low, line.high, GRID)
    values = objective(target, design(np.exp(grid), line.tokens(grid))[None])
    best = values.argmax(axis=1)
    left, right = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, GRID - 1)]

    def evaluate(u):
        return objective(target, design(np.exp(u), line.tokens(u))[:, None])[:, 0]

    inner, outer = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
    at_inner, at_outer = evaluate(inner), evaluate(outer)
    for _ in range(_GOLDEN_STEPS):
        up = at_outer > at_inner
        left, right = np.where(up, inner, left), np.where(up, right, outer)
        fresh = np.where(up, left + _GOLDEN * (right - left), right - _GOLDEN * (right - left))
        at_fresh = evaluate(fresh)
        inner, outer = np.where(up, outer, fresh), np.where(up, fresh, inner)
        at_inner, at_outer = np.where(up, at_outer, at_fresh), np.where(up, at_fresh, at_inner)
    u, found = np.where(at_outer > at_inner, outer, inner), np.maximum(at_inner, at_outer)
    ends = values[:, [0, -1]]
    at_high = ends[:, 1] > ends[:, 0]
    # what rounding lets golden sections tell apart
    inside = found > ends.max(axis=1) + 1e-14 * (1.0 + np.abs(found))
    u = np.where(inside, u, np.where(at_high, line.high, line.low))
    return Optima(u, _names(inside, at_high, line), False)


def objective(target, x):
    """What is maximised: the combined index where its order is that of the target, else the target."""
    return target.index(x) if target.is_linear else target.value(x)


def check_slope(target, design, line, words):
    """Refuse a target that is the same all along a line: there is nothing to choose."""
    if line.high - line.low < 1e-9:
        return
    grid = np.linspace(line.low, line.high, GRID)
    x = design(np.exp(grid), line.tokens(grid))
    values = objective(target, x[None])[0]
    # the size of what is added up; the value itself may be zero
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
        Of the optimal log size; NaN at a corner, where the optimum does not move with the parameters.
    value : float
        Of the target at the optimum.
    """

    u: float
    value: float


def law_steps(law):
    """Structures at the estimate plus and minus a hundredth of a standard error along each direction of a law.

    Returns
    -------
    list of 2 m Structures
        All plus ones, then all minus ones.
    """
    shifts = DELTA_STEP * law.root.T
    points = np.concatenate([law.centre + shifts, law.centre - shifts])
    return [law.recoding.user(law.space.structure(point)) for point in points]


def law_gradient(values):
    """Derivatives along the law's directions from values (2 m, ...) at ``law_steps``: G R, (m, ...)."""
    plus, minus = np.split(values, 2)
    return (plus - minus) / (2.0 * DELTA_STEP)


def delta_errors(target, stepped, design, line, optima):
    """Delta method for the optimum along a line and the target there.

    At an interior optimum f_u(u*, xi) = 0, so that du*/dxi = -f_u,xi / f_uu. The value changes with the parameters as
    if u* stayed where it is (envelope theorem).

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
    moved = objective(stepped, x)
    slope = law_gradient((moved[:, 2] - moved[:, 0]) / (2.0 * STEP))
    return DeltaErrors(float(np.linalg.norm(slope) / abs(curvature)), value)


@dataclass(frozen=True)
class Allocated:
    """The allocation of one budget.

    Attributes
    ----------
    line : BudgetLine
    u : float
        Optimal log size, s in billions of parameters.
    value : float
        Target there.
    corner : str
    closed : bool
        Whether by the closed form.
    errors : DeltaErrors or None
    draws : Optima or None
        Optima under S drawn parameters.
    values : array (S,) or None
        Target at ``u`` under the drawn parameters.
    shortfall : array (S,) or None
        By how much the target at ``u`` stays below that at the optimum of the drawn parameters; at least 0 up to the
        precision of the search.
    of_family : array (S,) or None
        Target at ``u`` under the drawn parameters for one family each, drawn from its law.
    """

    line: BudgetLine
    u: float
    value: float
    corner: str
    closed: bool
    errors: DeltaErrors = None
    draws: Optima = None
    values: np.ndarray = None
    shortfall: np.ndarray = None
    of_family: np.ndarray = None

    @property
    def size(self):
        """Billions of parameters."""
        return float(np.exp(self.u))

    @property
    def tokens(self):
        """Trillions of tokens."""
        return float(self.line.tokens(self.u))


def allocate(target, design, line, stepped=None, drawn=None, seed=0):
    """Optimum of one budget with its uncertainty.

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
        Of the family effects of ``of_family``.

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
    moved = optimise(drawn, design, line)
    values = drawn.value(here)[:, 0]
    best = drawn.value(design(np.exp(moved.u), line.tokens(moved.u))[:, None])[:, 0]
    of_family = drawn.draw(here, np.random.default_rng(seed))[:, 0]
    return Allocated(
        line, u, value, str(optima.corner[0]), optima.closed, errors, moved, values, best - values, of_family
    )


# --- the data's range ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataRange:
    """Where the LLMs of a fit lie.

    Attributes
    ----------
    size : array (n,)
        Billions of parameters.
    tokens : array (n,)
        Trillions of tokens.
    """

    size: np.ndarray
    tokens: np.ndarray

    def bounds(self, reach):
        """Bounds a factor beyond the data on either side: of size, of tokens."""
        return tuple((values.min() / reach, values.max() * reach) for values in (self.size, self.tokens))

    def factors(self, size, tokens):
        """How far beyond the data: factors of size and tokens, above 1 beyond the largest, below 1 short of the
        smallest, 1 within.
        """
        out = []
        for value, values in ((size, self.size), (tokens, self.tokens)):
            factor = float(max(value / values.max(), 1.0) * min(value / values.min(), 1.0))
            # bounds at the data's ends are met up to rounding
            out.append(1.0 if abs(factor - 1.0) < _FLAT else factor)
        return tuple(out)

    def inside(self, size, tokens):
        """Whether an allocation lies in the convex hull of the LLMs, on logarithmic axes.

        LLMs on one line have no hull: then only those between them in both directions are inside.
        """
        points = np.log(np.column_stack([self.size, self.tokens]))
        try:
            return bool(Delaunay(points).find_simplex(np.log([[size, tokens]]))[0] >= 0)
        except (QhullError, ValueError):
            return self.factors(size, tokens) == (1.0, 1.0)
