"""Compute-optimal allocation of training budgets: optima with intervals, and flags of corners and extrapolation."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ..checks import check_alpha, check_number, check_one_of, check_seed, check_whole
from ..errors import DataError
from ..plots.allocation import plot_allocation
from .allocation_request import SKILL, AllocationRequest, read_bounds, read_flops, read_request
from .budget_optima import CORNERS, INTERIOR, Allocated, DataRange, allocate, budget_line, check_slope, law_steps
from .target import Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..results.latent_skill import LatentSkillResults
    from ..sloth.results import SlothResults

Bounds = Sequence[float | None] | Mapping[str, float | None]

INTERVALS = ("simulation", "delta", "none")
BEYOND = 3.0  # factor beyond the data from which on an optimum warns


def compute_optimal(
    fit: "LatentSkillResults | SlothResults",
    flops: npt.ArrayLike,
    target: str | Mapping[str, float],
    family: str | None = None,
    covariates: Mapping[str, Any] | None = None,
    size: str = "params_b",
    tokens: str = "tokens_t",
    size_bounds: Bounds | None = None,
    tokens_bounds: Bounds | None = None,
    reach: float = 10.0,
    inference_tokens_t: float = 0.0,
    interval: str = "simulation",
    draws: int = 1000,
    seed: int = 0,
) -> "Allocation":
    """Return the size and the tokens that make the most of each budget of FLOPs.

    Training s billion parameters on t trillion tokens costs 6e21 s t FLOPs, and serving q trillion tokens another
    2e21 s q. The target is maximised over the allocations that cost C in all, the trade-off of Hoffmann et al. (2022,
    arXiv 2203.15556).

    The optimum is in closed form if covariates are quadratic in log s along a budget and the target is a skill, a mix
    of skills, or a single benchmark. For the translog function with slopes b1, b2, b3 it is log s = c / 2 + (b1 - b2) /
    (2 b3), with c = log(C / 6e21), if b3 > 0 and the bounds allow it; otherwise it is an end of the budget's line, a
    *corner*. For a benchmark, b = B lambda_j are the slopes of its index. Other targets and formulas are maximised
    numerically.

    Slopes describe how skills differ between LLMs of different size and tokens. They are what a planner would gain only
    if LLMs with more tokens do not differ in other ways. A family's mean log tokens as a further covariate (Mundlak
    1978) tests that, see ``benchmarks/allocation.py``.

    Parameters
    ----------
    fit : LatentSkillResults or SlothResults
        With a scaling in size and tokens. Fits by the Huber loss (``SlothModel``, ``BenchmarkLaws``) give optima
        without intervals, and so do the skills of rotated fits.
    flops : float or sequence of float
        Budgets C.
    target : str or dict
        A skill, a benchmark (its expected score), or weights of several skills or of several benchmarks, such as
        ``{"math_lvl_5": 0.5, "bbh": 0.5}``; weights are used as they are given. A name that is both is the skill.
    family : str, optional
        A family of the fit, over whose posterior the target is averaged. By default a family that was never seen, with
        the average over the distribution of families N(0, Sigma): this is the mean score of families drawn from it, not
        the score of the family of mean efficiency. The value at the optimum depends on the family, and so do the optima
        of mixes. Unless slopes vary between families, the optimum of a skill or a single benchmark does not.
    covariates : dict, optional
        Values of the other columns of the scaling, such as ``{"instruct": False}``. Columns in which all LLMs of
        ``family`` agree have their value by default.
    size, tokens : str
        Columns of size (billions of parameters) and training tokens (trillions).
    size_bounds, tokens_bounds : (float, float) or dict, optional
        ``(low, high)`` or ``{"min": low, "max": high}`` in billions and trillions; None leaves a side at its default, a
        factor ``reach`` beyond the LLMs of the fit. A largest size is also a bound on the cost of a served token.
    reach : float
        At least 1.
    inference_tokens_t : float
        q, trillions of tokens to be served, paid out of the same budget.
    interval : {"simulation", "delta", "none"}
        Simulation draws parameters from the normal law of the estimates and takes the optimum under each, so that
        corners count; fits without standard errors use their expected information. The delta method is for interior
        optima: its intervals are symmetric in log size and do not know of the bounds.
    draws : int
        Draws of the parameters, at least 100.
    seed : int
        At least 0.

    Returns
    -------
    Allocation
        Prints a table; ``summary_frame``, ``corners``, ``path``, ``surface``, ``plot``.

    Raises
    ------
    DataError
        If the target, family or a column is unknown, a covariate missing, a budget not positive or impossible within
        the bounds, the target the same all along a budget, or the estimates have no covariance.

    Warns
    -----
    UserWarning
        If an optimum lies more than a factor of three beyond the LLMs of the fit, or a covariate outside its values.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["math_lvl_5", "gsm8k", "hellaswag"])
    >>> model = ls.LatentSkillModel(panel, skills={"math": "math_lvl_5", "common": "hellaswag"})
    >>> fit = model.fit(integration="laplace", starts=1)
    >>> plan = compute_optimal(fit, [1e22, 1e23], "gsm8k", interval="none")
    >>> plan.table[["size", "tokens", "corner"]].round(1).to_dict("records")
    [{'size': 0.5, 'tokens': 3.3, 'corner': 'interior'}, {'size': 1.6, 'tokens': 10.5, 'corner': 'interior'}]
    """
    request = read_request(fit, target, family, covariates, size, tokens)
    budgets = read_flops(flops)
    _check_options(reach, inference_tokens_t, interval, draws, seed)
    data = request.range
    defaults = data.bounds(float(reach))
    bounds = (
        read_bounds(size_bounds, defaults[0], "size", "billions of parameters"),
        read_bounds(tokens_bounds, defaults[1], "tokens", "trillions of tokens"),
    )
    lines = [budget_line(value, *bounds, float(inference_tokens_t)) for value in budgets]
    best = request.target()
    for line in lines:
        check_slope(best, request.design, line, request.words)
    stepped, drawn, words = None, None, ""
    if interval != "none" and not request.is_sloth:
        law = request.law()
        words, stepped = law.description, request.target(law_steps(law))
        drawn = request.target(law.structures(int(draws), seed)) if interval == "simulation" else None
    rows = tuple(allocate(best, request.design, line, stepped, drawn, seed) for line in lines)
    kind = "none" if request.is_sloth else interval
    plan = Allocation(request, rows, data, bounds, kind, (best, stepped, drawn), seed, words)
    plan._warn()
    return plan


def _check_options(reach: float, inference: float, interval: str, draws: int, seed: int) -> None:
    check_number("reach", reach, "the factor beyond the data that bounds allow, at least 1", 1.0)
    check_number("inference_tokens_t", inference, "trillions of tokens, at least 0", 0.0)
    check_one_of("interval", interval, INTERVALS)
    check_whole("draws (of the parameters)", draws, 100)
    check_seed(seed)


@dataclass(frozen=True, eq=False, repr=False)
class Allocation:
    """Optimal allocations for one target, a row per budget. Immutable; its tables are new ones each time.

    Attributes
    ----------
    request : AllocationRequest
        Fit, target, family and covariates.
    rows : tuple of Allocated
        Numbers of each budget, draws included.
    data : DataRange
        Sizes and tokens of the LLMs of the fit.
    bounds : ((float, float), (float, float))
        Of size in billions and tokens in trillions.
    interval : {"simulation", "delta", "none"}
    targets : tuple of (Target, Target or None, Target or None)
        The target at the estimate, at small steps along the law of the parameters, and at draws from it.
    seed : int
    law : str
        Where the uncertainty of the parameters comes from.
    """

    request: AllocationRequest
    rows: tuple[Allocated, ...]
    data: DataRange
    bounds: tuple[tuple[float, float], tuple[float, float]]
    interval: str
    targets: tuple[Target, Target | None, Target | None]
    seed: int
    law: str

    def __repr__(self) -> str:
        return f"<Allocation: {self.request.words}, {len(self.rows)} budgets>"

    # --- tables ------------------------------------------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """``summary_frame()``, with 95% intervals."""
        return self.summary_frame()

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a table with one row per budget, indexed by FLOPs.

        Parameters
        ----------
        alpha : float
            One minus the level of the intervals, in (0, 1).

        Returns
        -------
        DataFrame
            - ``size`` (billions), ``tokens`` (trillions), ``tokens_per_param``, each with ``_ci_lower`` and
              ``_ci_upper``: where the optimum may be, given how well the parameters are known. By simulation these are
              quantiles of the optima under drawn parameters, within the bounds; by the delta method they are symmetric
              in log size, and NaN at corners.
            - ``value``, ``value_ci_lower``, ``value_ci_upper``: the expected target at the estimated optimum, and a
              confidence interval of that expectation.
            - ``llm_lower``, ``llm_upper``: where the target of a single LLM with this allocation may lie. Its family's
              effect is drawn too, but not the noise of a single score (simulation only).
            - ``shortfall``: mean over draws of what the estimated optimum loses against the optimum under the drawn
              parameters, in units of the target (simulation only).
            - ``corner``: "interior", or the bound that the optimum is at; ``corner_share``: share of the draws whose
              optimum is at a bound.
            - ``size_factor``, ``tokens_factor``: how far beyond the LLMs of the fit: above 1 beyond the largest, below
              1 under the smallest, 1 within their range. ``extrapolation``: the same in words.
            - ``method``: "closed form" or "numerical".
        """
        check_alpha(alpha)
        records = [self._record(row, alpha) for row in self.rows]
        index = pd.Index([row.line.flops for row in self.rows], name="flops")
        return pd.DataFrame(records, index=index)

    def _record(self, row: Allocated, alpha: float) -> dict[str, Any]:
        """Return the row of ``summary_frame`` of one budget."""
        size, tokens = row.size, row.tokens
        record: dict[str, Any] = {}
        ends = self._ends(row, alpha)
        for name, value, interval in zip(
            ("size", "tokens", "tokens_per_param"), (size, tokens, 1e3 * tokens / size), ends, strict=True
        ):
            record |= {name: value, f"{name}_ci_lower": interval[0], f"{name}_ci_upper": interval[1]}
        record |= dict(zip(("value", "value_ci_lower", "value_ci_upper"), self._value(row, alpha), strict=True))
        levels, nothing = [0.5 * alpha, 1.0 - 0.5 * alpha], (np.nan, np.nan)
        of_family = nothing if row.of_family is None else np.quantile(row.of_family, levels)
        record |= {"llm_lower": of_family[0], "llm_upper": of_family[1]}
        record["shortfall"] = np.nan if row.shortfall is None else row.shortfall.mean()
        record["corner"] = row.corner
        record["corner_share"] = np.nan if row.draws is None else np.mean(row.draws.corner != INTERIOR)
        factors = self.data.factors(size, tokens)
        record |= {"size_factor": factors[0], "tokens_factor": factors[1]}
        record["extrapolation"] = self._extrapolation(size, tokens, factors)
        record["method"] = "closed form" if row.closed else "numerical"
        return record

    def _ends(self, row: Allocated, alpha: float) -> list[Any]:
        """Return the intervals of size, tokens and tokens per parameter."""
        nothing = (np.nan, np.nan)
        if row.draws is not None:
            size, tokens = np.exp(row.draws.u), row.line.tokens(row.draws.u)
            levels = [0.5 * alpha, 1.0 - 0.5 * alpha]
            return [np.quantile(values, levels) for values in (size, tokens, 1e3 * tokens / size)]
        if row.errors is None or not np.isfinite(row.errors.u):
            return [nothing] * 3
        half = stats.norm.isf(0.5 * alpha) * row.errors.u
        u = np.array([row.u - half, row.u + half])
        size, tokens = np.exp(u), row.line.tokens(u)
        tokens = np.where(tokens > 0.0, tokens, np.nan)  # no budget is left for training
        return [size, tokens[::-1], (1e3 * tokens / size)[::-1]]

    def _value(self, row: Allocated, alpha: float) -> tuple[float, ...]:
        """Return the target at the optimum and the ends of its confidence interval."""
        if row.values is not None:
            return row.value, *np.quantile(row.values, [0.5 * alpha, 1.0 - 0.5 * alpha])
        half = np.nan if row.errors is None else stats.norm.isf(0.5 * alpha) * row.errors.value
        return row.value, row.value - half, row.value + half

    def _extrapolation(self, size: float, tokens: float, factors: tuple[float, ...]) -> str:
        """Return in words how far an allocation lies beyond the data."""
        words = []
        for name, factor in zip(("size", "tokens"), factors, strict=True):
            if factor != 1.0:
                side = "above" if factor > 1.0 else "below"
                words.append(f"{name} {max(factor, 1.0 / factor):.3g}x {side} the data")
        if words:
            return ", ".join(words)
        return "none" if self.data.inside(size, tokens) else "no LLM near: outside the hull of the data"

    @property
    def corners(self) -> pd.DataFrame:
        """Shares of the draws with an interior optimum and with one at each bound: DataFrame, budgets by ``CORNERS``.

        NaN where there are no draws.
        """
        shares = [
            {name: np.nan if row.draws is None else np.mean(row.draws.corner == name) for name in CORNERS}
            for row in self.rows
        ]
        return pd.DataFrame(shares, index=pd.Index([row.line.flops for row in self.rows], name="flops"))

    @property
    def bse(self) -> pd.DataFrame:
        """Delta-method standard errors: DataFrame, budgets by ``log_size`` (NaN at corners) and ``value``."""
        nothing = {"log_size": np.nan, "value": np.nan}
        errors = [
            nothing if row.errors is None else {"log_size": row.errors.u, "value": row.errors.value}
            for row in self.rows
        ]
        return pd.DataFrame(errors, index=pd.Index([row.line.flops for row in self.rows], name="flops"))

    def log_size_draws(self) -> pd.DataFrame:
        """Return optimal log sizes (log of billions) under the drawn parameters: DataFrame, draws by budgets.

        Row m of two allocations of the same fit with the same seed belongs to the same parameters, so that the optima
        of two targets can be compared draw by draw.

        Raises
        ------
        DataError
            If there are no draws.
        """
        draws = [row.draws.u for row in self.rows if row.draws is not None]
        if not draws:
            raise DataError("There are no draws: ask compute_optimal for interval='simulation'.")
        columns = pd.Index([row.line.flops for row in self.rows], name="flops")
        return pd.DataFrame(np.column_stack(draws), columns=columns)

    # --- along and across budgets -------------------------------------------------------------------------------

    def path(self, points: int = 25) -> "Allocation":
        """Return allocations for more budgets, evenly spaced in log FLOPs between the smallest and the largest one.

        Parameters
        ----------
        points : int
            At least 2.

        Returns
        -------
        Allocation
        """
        flops = [row.line.flops for row in self.rows]
        budgets = np.geomspace(min(flops), max(flops), check_whole("points", points, 2))
        best, stepped, drawn = self.targets
        lines = [budget_line(value, *self.bounds, self.rows[0].line.inference) for value in budgets]
        rows = tuple(allocate(best, self.request.design, line, stepped, drawn, self.seed) for line in lines)
        return replace(self, rows=rows)

    def surface(self, size: npt.ArrayLike, tokens: npt.ArrayLike) -> np.ndarray:
        """Return the expected target at any allocation, at the estimate.

        Parameters
        ----------
        size : array_like
            Billions of parameters, positive.
        tokens : array_like
            Trillions of tokens, positive; broadcast against ``size``.

        Returns
        -------
        array

        Raises
        ------
        DataError
            If a size or a number of tokens is not positive.
        """
        size, tokens = np.broadcast_arrays(np.asarray(size, dtype=float), np.asarray(tokens, dtype=float))
        if not (np.all(size > 0) and np.all(tokens > 0)):
            raise DataError("Sizes and tokens must be positive.")
        x = self.request.design(size.ravel(), tokens.ravel())
        return self.targets[0].value(x[None])[0].reshape(size.shape)

    def plot(self, ax: "Axes | None" = None, alpha: float = 0.05) -> "Axes":
        """Plot isoquants of the target with budgets, optima and the LLMs of the fit; return the axes."""
        return plot_allocation(self, ax=ax, alpha=alpha)

    # --- words --------------------------------------------------------------------------------------------------

    @property
    def target(self) -> str:
        """The target in words."""
        return self.request.words

    @property
    def unit(self) -> str:
        """Unit of the target's values."""
        if self.request.kind == SKILL:
            return "s.d. of skill" if self.request.is_sloth else "units of skill"
        return "expected score"

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know, a list of sentences."""
        request, (sizes, tokens) = self.request, self.bounds
        if request.family is None:
            who = (
                "the target is shared by all families"
                if request.is_sloth
                else ("a family that was never seen: values are averages over the distribution of families")
            )
        else:
            who = f"family {request.family}" + ("" if request.is_sloth else ", averaged over its posterior")
        fixed = "".join(f"; {name} = {value}" for name, value in request.covariates.items())
        notes = [
            f"For {who}{fixed}.",
            f"Bounds: size {_range(sizes)} billion, tokens {_range(tokens)} trillion; LLMs of the fit: "
            f"{_range(self.data.size)} billion, {_range(self.data.tokens)} trillion.",
            self._interval_note(),
        ]
        served = self.rows[0].line.inference
        if served:
            notes.append(f"Budgets pay for {served:g} trillion served tokens too, 2 FLOPs a parameter each.")
        ends = sorted({row.corner for row in self.rows} - {INTERIOR})
        if ends:
            where = ", ".join(ends)
            notes.append(f"At a corner ({where}) the target would gain beyond the bound: it is the bound that decides.")
        return notes

    def _interval_note(self) -> str:
        """Return where the intervals come from, as a sentence."""
        if self.request.is_sloth:
            return "Fits by the Huber loss give optima without intervals here."
        if self.interval == "none":
            return "No intervals were asked for."
        where = f"the parameters' uncertainty ({self.law})"
        if self.interval == "delta":
            return f"Intervals by the delta method from {where}; none at corners, and bounds play no part in them."
        drawn = self.targets[2]
        assert drawn is not None
        return (
            f"Intervals are quantiles over {drawn.size} draws of {where}; at bounds: the share of draws "
            "whose optimum is a corner."
        )

    def __str__(self) -> str:
        frame = self.summary_frame()
        shown = pd.DataFrame(
            {
                "size (B)": _with_intervals(frame, "size"),
                "tokens (T)": _with_intervals(frame, "tokens"),
                "tokens/param": _with_intervals(frame, "tokens_per_param"),
                "value": _with_intervals(frame, "value"),
                "optimum": frame["corner"],
                "at bounds": ["" if np.isnan(share) else f"{share:.0%}" for share in frame["corner_share"]],
                "extrapolation": frame["extrapolation"],
            }
        ).set_axis([f"{flops:.3g}" for flops in frame.index])
        title = f"Compute-optimal allocation: {self.request.words} ({self.unit})"
        notes = "\n".join(f"[{number}] {note}" for number, note in enumerate(self.notes, 1))
        with pd.option_context("display.max_colwidth", None):
            return f"{title}\n{shown.rename_axis('FLOPs', axis=1).to_string()}\n{notes}"

    def _warn(self) -> None:
        """Warn of optima that are far beyond the data."""
        far = []
        for row in self.rows:
            factors = self.data.factors(row.size, row.tokens)
            if any(max(factor, 1.0 / factor) > BEYOND for factor in factors):
                far.append(f"{row.line.flops:.3g} FLOPs ({self._extrapolation(row.size, row.tokens, factors)})")
        if far:
            warnings.warn(
                f"The optimum for {self.request.words} lies more than {BEYOND:g} times beyond the LLMs of the fit at "
                f"{'; '.join(far)}: it rests on the scaling formula, not on data. Narrow size_bounds or tokens_bounds "
                "to what was observed.",
                UserWarning,
                stacklevel=3,
            )


def _with_intervals(frame: pd.DataFrame, name: str) -> list[str]:
    """Return numbers with their intervals in brackets, a list of str."""
    columns = frame[[name, f"{name}_ci_lower", f"{name}_ci_upper"]].to_numpy()
    return [_figures(value) + (f" ({_figures(low)}, {_figures(high)})" if low == low else "")
            for value, low, high in columns]  # fmt: skip


def _range(values: Iterable[float]) -> str:
    """Return the smallest and the largest of some values in words."""
    return f"{_figures(min(values))} to {_figures(max(values))}"


def _figures(value: float) -> str:
    """Return a number with three figures, with an exponent only if it is very large or very small."""
    return f"{float(f'{value:.3g}'):,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"
