"""Elasticities of skills and benchmarks in size and tokens, and which of the two a target gains more from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ..checks import check_alpha, check_name, check_one_of
from ..errors import DataError
from .allocation_request import read_request
from .budget_optima import law_gradient, law_steps
from .target import Target

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults
    from ..sloth.results import SlothResults
    from .budget_optima import DataRange, Design

# --- numbers -------------------------------------------------------------------------------------------------------

STEP = 1e-3  # step in log size and log tokens
QUANTITIES = ("size", "tokens", "double_size", "double_tokens")


@dataclass(frozen=True)
class Elasticities:
    """Derivatives and gains of T targets at one point.

    Attributes
    ----------
    values : array (T, 4)
        In the order of ``QUANTITIES``: derivatives of the combined index lambda' theta (of the skill, where the target
        is one) in log size and in log tokens, then the gain of the target when size is doubled and when tokens are.
    gradient : array (m, T, 4) or None
        Derivatives of ``values`` along the m directions of the law of the parameters. Sums of their products over the
        directions are covariances of ``values``.
    """

    values: np.ndarray
    gradient: np.ndarray | None = None

    def covariance(self, weights: np.ndarray) -> np.ndarray:
        """Return the covariance (q, q) of q linear combinations of ``values`` with ``weights`` (q, T, 4)."""
        assert self.gradient is not None
        along_directions = np.einsum("mtc,qtc->qm", self.gradient, weights)
        return along_directions @ along_directions.T


def point_design(design: "Design", size: float, tokens: float) -> np.ndarray:
    """Return covariates (7, p) at and about a point.

    The first four are a small step up and down in log size, then in log tokens; the others are the point itself, and
    the point with its size and with its tokens doubled.
    """
    s = np.log(size) + np.array([STEP, -STEP, 0.0, 0.0, 0.0, np.log(2.0), 0.0])
    t = np.log(tokens) + np.array([0.0, 0.0, STEP, -STEP, 0.0, 0.0, np.log(2.0)])
    return design(np.exp(s), np.exp(t))


def point_values(target: Target, x: np.ndarray) -> np.ndarray:
    """Return the four quantities of one target, (S, 4), given covariates ``point_design``."""
    index = target.index(x[None, :4])
    value = target.value(x[None, 4:])
    return np.column_stack(
        [
            (index[:, 0] - index[:, 1]) / (2.0 * STEP),
            (index[:, 2] - index[:, 3]) / (2.0 * STEP),
            value[:, 1] - value[:, 0],
            value[:, 2] - value[:, 0],
        ]
    )


def elasticities(targets: Sequence[Target], stepped: Sequence[Target] | None, x: np.ndarray) -> Elasticities:
    """Return elasticities of several targets.

    Parameters
    ----------
    targets : list of T Targets
        At the estimate, each with S = 1 and a single component.
    stepped : list of T Targets or None
        At ``law_steps``; None if no standard errors are wanted.
    x : array (7, p)
        Covariates, from ``point_design``.

    Returns
    -------
    Elasticities
    """
    values = np.stack([point_values(target, x)[0] for target in targets])
    if stepped is None:
        return Elasticities(values)
    gradient = np.stack([law_gradient(point_values(target, x)) for target in stepped], axis=1)
    return Elasticities(values, gradient)


# --- results -------------------------------------------------------------------------------------------------------


def scaling_elasticities(
    fit: "LatentSkillResults | SlothResults",
    targets: str | Sequence[str] | None = None,
    at: Sequence[float] | None = None,
    family: str | None = None,
    covariates: Mapping[str, Any] | None = None,
    size: str = "params_b",
    tokens: str = "tokens_t",
) -> "ScalingElasticities":
    """Return elasticities of skills and benchmarks in size and tokens at one point, with standard errors.

    They are e_s = d g / d log s and e_t = d g / d log t, for the combined index g = lambda_j' theta of a benchmark, or
    for a skill g itself. A benchmark's expected score increases in its index. So along a budget s t = const it
    increases with size if and only if e_s > e_t: the sign of the difference says which of the two to spend more on
    there, and the share e_s / (e_s + e_t) how strongly. For the translog function e_s = b1 + b3 log t and e_t = b2 + b3
    log s.

    Parameters
    ----------
    fit : LatentSkillResults or SlothResults
        Fits by the Huber loss give no standard errors here. The covariance of a LatentSkillResults is the fit's:
        ``fit.get_robust("cluster")`` gives sandwich standard errors. For a rotated fit name benchmarks only.
    targets : str or list of str, optional
        Skills and benchmarks; by default all.
    at : (float, float), optional
        Size (billions) and training tokens (trillions); by default the geometric means of the LLMs of the fit.
    family, covariates, size, tokens
        As for ``compute_optimal``.

    Returns
    -------
    ScalingElasticities

    Raises
    ------
    DataError
        As ``compute_optimal`` does, and if ``at`` is not two positive numbers.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["math_lvl_5", "gsm8k", "hellaswag"])
    >>> model = ls.LatentSkillModel(panel, skills={"math": "math_lvl_5", "common": "hellaswag"})
    >>> fit = model.fit(integration="laplace", starts=1)
    >>> scaling_elasticities(fit).table["share"].round(2).to_dict()
    {'math': 0.34, 'common': 0.73, 'math_lvl_5': 0.34, 'gsm8k': 0.34, 'hellaswag': 0.73}
    """
    model = getattr(fit, "model", None)
    if targets is None and model is not None:
        skills = () if getattr(model, "per_benchmark", False) else model.skills
        names = [*skills, *(name for name in model.benchmarks if name not in skills)]
    else:
        names = [targets] if isinstance(targets, str) else list(targets or ())
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise DataError(f"targets names skills and benchmarks, each once; got {targets!r}.")
    requests = [read_request(fit, name, family, covariates, size, tokens) for name in names]
    first = requests[0]
    point = _read_point(at, first.range)
    stepped, description = None, ""
    effects = None if first.is_sloth else first.effects([first.fit.structure])
    if not first.is_sloth:
        law = next((request for request in requests if request.items is None), first).law()
        structures, description = law_steps(law), law.description
        effects_of_steps = first.effects(structures)
        stepped = [request.target(structures, effects_of_steps) for request in requests]
    best = [request.target(None, effects) for request in requests]
    numbers = elasticities(best, stepped, point_design(first.design, *point))
    return ScalingElasticities(tuple(names), point, numbers, description)


def _read_point(at: Sequence[float] | None, data: "DataRange") -> tuple[float, ...]:
    """Return size and tokens of the point, by default the geometric means of the data."""
    if at is None:
        return tuple(float(np.exp(np.log(values).mean())) for values in (data.size, data.tokens))
    values = np.asarray(at, dtype=float)
    if values.shape != (2,) or not (np.isfinite(values).all() and (values > 0).all()):
        raise DataError(f"at is a size in billions and tokens in trillions, both positive; got {at!r}.")
    return tuple(float(value) for value in values)


@dataclass(frozen=True, eq=False, repr=False)
class ScalingElasticities:
    """Elasticities at one point. It does not change once made; every table that it returns is a new one.

    Attributes
    ----------
    targets : tuple of str (T,)
    at : (float, float)
        Size in billions and tokens in trillions.
    numbers : Elasticities
    law : str
        Where standard errors come from; empty if there are none.
    """

    targets: tuple[str, ...]
    at: tuple[float, ...]
    numbers: Elasticities
    law: str

    def __repr__(self) -> str:
        return f"<ScalingElasticities: {len(self.targets)} targets at {self.at[0]:.3g} B, {self.at[1]:.3g} T>"

    @property
    def table(self) -> pd.DataFrame:
        """``summary_frame()``, with 95% intervals."""
        return self.summary_frame()

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a table with one row per target.

        Parameters
        ----------
        alpha : float
            One minus the level of the intervals, in (0, 1).

        Returns
        -------
        DataFrame
            - ``size``, ``tokens`` with ``_se``: e_s and e_t, per unit of log size and log tokens.
            - ``difference`` e_s - e_t with ``_se``, ``z`` and two-sided normal ``p_value`` against zero, ``lower`` and
              ``upper``: positive values favour parameters, negative ones tokens.
            - ``share`` e_s / (e_s + e_t) with ``_lower``, ``_upper`` by the delta method; NaN where e_s + e_t is not
              positive. It is outside [0, 1] where one of the two is negative.
            - ``double_size``, ``double_tokens`` with ``_se``: the gain from doubling, in units of the skill or of the
              score, averaged over the family's distribution.
        """
        check_alpha(alpha)
        quantile = stats.norm.isf(0.5 * alpha)
        rows = []
        for number in range(len(self.targets)):
            e_s, e_t, double_size, double_tokens = self.numbers.values[number]
            pick = np.eye(4)
            se = [self._se(number, pick[column]) for column in range(4)]
            difference, spread = e_s - e_t, self._se(number, [1.0, -1.0, 0.0, 0.0])
            share, share_se = self._share(number)
            z = difference / spread if spread > 0.0 else np.nan
            rows.append(
                {
                    "size": e_s, "size_se": se[0], "tokens": e_t, "tokens_se": se[1],
                    "difference": difference, "difference_se": spread, "z": z, "p_value": 2.0 * stats.norm.sf(abs(z)),
                    "lower": difference - quantile * spread, "upper": difference + quantile * spread,
                    "share": share, "share_lower": share - quantile * share_se,
                    "share_upper": share + quantile * share_se, "double_size": double_size, "double_size_se": se[2],
                    "double_tokens": double_tokens, "double_tokens_se": se[3],
                }
            )  # fmt: skip
        return pd.DataFrame(rows, index=pd.Index(self.targets, name="target"))

    def contrast(self, first: str, second: str, of: str = "share", alpha: float = 0.05) -> pd.Series:
        """Return the difference between two targets in how far they favour size, first minus second.

        Its standard error is by the delta method.

        Parameters
        ----------
        first, second : str
        of : {"share", "difference"}
            Shares e_s / (e_s + e_t) have no unit. Differences e_s - e_t are per unit of each target's index, so that
            comparing them depends on the units of skills and benchmarks.
        alpha : float
            One minus the level of the interval, in (0, 1).

        Returns
        -------
        Series
            estimate, std_err, z, p_value, ci_lower, ci_upper; positive if the first target favours parameters more.

        Raises
        ------
        DataError
            For an unknown target or ``of``, without standard errors, or if a share is not defined.
        """
        check_one_of("of", of, ("share", "difference"))
        check_alpha(alpha)
        for name, target in (("first", first), ("second", second)):
            check_name(name, target, self.targets, "targets of these elasticities")
        if self.numbers.gradient is None:
            raise DataError("This fit gives no standard errors of elasticities, so there is no contrast to test.")
        weights, value = np.zeros((1, len(self.targets), 4)), 0.0
        for name, sign in ((first, 1.0), (second, -1.0)):
            number = self.targets.index(name)
            e_s, e_t = self.numbers.values[number, :2]
            if of == "share":
                if not e_s + e_t > 0.0:
                    raise DataError(f"{name} does not grow along size and tokens together: it has no share.")
                value += sign * e_s / (e_s + e_t)
                weights[0, number, :2] += sign * np.array([e_t, -e_s]) / (e_s + e_t) ** 2
            else:
                value += sign * (e_s - e_t)
                weights[0, number, :2] += sign * np.array([1.0, -1.0])
        se = float(np.sqrt(self.numbers.covariance(weights)[0, 0]))
        z = value / se if se > 0.0 else np.nan
        half = stats.norm.isf(0.5 * alpha) * se
        values = [value, se, z, 2.0 * stats.norm.sf(abs(z)), value - half, value + half]
        names = ["estimate", "std_err", "z", "p_value", "ci_lower", "ci_upper"]
        return pd.Series(values, index=names, name=f"{of} of size: {first} - {second}")

    def _se(self, number: int, weights: npt.ArrayLike) -> float:
        """Return the standard error of a linear combination (4,) of the quantities of one target."""
        if self.numbers.gradient is None:
            return np.nan
        full = np.zeros((1, len(self.targets), 4))
        full[0, number] = weights
        return float(np.sqrt(self.numbers.covariance(full)[0, 0]))

    def _share(self, number: int) -> tuple[float, float]:
        """Return the share e_s / (e_s + e_t) of one target and its standard error; NaN if undefined."""
        e_s, e_t = self.numbers.values[number, :2]
        total = e_s + e_t
        if not total > 0.0:
            return np.nan, np.nan
        return e_s / total, self._se(number, np.array([e_t, -e_s, 0.0, 0.0]) / total**2)

    def __str__(self) -> str:
        frame = self.summary_frame()
        shown = pd.DataFrame(
            {
                "d/dlog size": [f"{row['size']:.3f} ({row['size_se']:.3f})" for _, row in frame.iterrows()],
                "d/dlog tokens": [f"{row['tokens']:.3f} ({row['tokens_se']:.3f})" for _, row in frame.iterrows()],
                "difference": [f"{row['difference']:+.3f} ({row['difference_se']:.3f})" for _, row in frame.iterrows()],
                "P>|z|": [f"{value:.3f}" for value in frame["p_value"]],
                "share of size [95%]": [
                    f"{row['share']:.2f} [{row['share_lower']:.2f}, {row['share_upper']:.2f}]"
                    for _, row in frame.iterrows()
                ],
            },
            index=frame.index,
        )
        title = f"Elasticities at {self.at[0]:.3g} billion parameters, {self.at[1]:.3g} trillion tokens"
        note = f"(standard errors: {self.law})" if self.law else "(no standard errors)"
        return f"{title}\n{shown.to_string()}\n{note}"
