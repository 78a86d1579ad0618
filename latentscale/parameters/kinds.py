"""Kinds of parameters: what a loading, a slope, a precision is, whatever its name says.

A kind knows the word that its names begin with, what a parameter of it belongs to, the values it may take, the scale
on which its estimates are nearly normal, and the titles of its tables. Whoever needs any of that asks the kind of a
``Parameter``; nobody reads it out of a name, which holds the user's own words.
"""


from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

# --- scales -----------------------------------------------------------------------------------------------------------


def _same(x: Any) -> Any:
    return x


def _one(x: Any) -> Any:
    return np.ones_like(x, dtype=float)


def _inverse(x: Any) -> Any:
    return 1.0 / x


def _fisher_derivative(x: Any) -> Any:
    return 1.0 / (1.0 - x * x)


def _logit_derivative(x: Any) -> Any:
    return 1.0 / (x * (1.0 - x))


def _arc_sine_derivative(x: Any) -> Any:
    return 1.0 / np.sqrt(1.0 - x * x)


@dataclass(frozen=True)
class Scale:
    """An increasing function of a parameter, its derivative and its inverse.

    Attributes
    ----------
    name : str
    forward, derivative, back : callable
        Of a number or an array.
    """

    name: str
    forward: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    back: Callable[[Any], Any]


IDENTITY = Scale("identity", _same, _one, _same)
LOG = Scale("log", np.log, _inverse, np.exp)
FISHER = Scale("Fisher's z", np.arctanh, _fisher_derivative, np.tanh)
LOGIT = Scale("logit", special.logit, _logit_derivative, special.expit)
# The log-likelihood is smooth in sqrt(1 - rho^2), so that the signed root of a profile is nearly a straight line in the
# arc sine of a correlation even where the estimate is at the edge; Fisher's z has the edge at infinity.
ARC_SINE = Scale("arc sine", np.arcsin, _arc_sine_derivative, np.sin)

# --- kinds ------------------------------------------------------------------------------------------------------------

# where zero lies: inside the space of the parameter, at its edge as a value that the parameter may take, or outside
INSIDE, EDGE, OUTSIDE = "inside", "edge", "outside"


@dataclass(frozen=True)
class Kind:
    """What all parameters of a kind have in common.

    Attributes
    ----------
    name : str
    labels : tuple of str
        What a parameter belongs to, in the order of its labels: "benchmark", "skill", "covariate", "other_skill",
        "family", "coordinate".
    title : str
        Of the table of its estimates in summaries and reports; empty where they are shown as a matrix.
    word : str
        With which names begin; that of ``name`` by default.
    scale : Scale
        On which Wald intervals are computed.
    profile_scale : Scale
        On which profiles are computed; that of Wald intervals by default.
    space : tuple of float
        Least and greatest value.
    zero : {"inside", "edge", "outside"}
        Where zero lies. Inside the space it is a hypothesis that a z statistic tests. At the edge it is a value that
        the parameter may take: the law depends on the square of such a standard deviation.
    usual : tuple of float
        Values outside of these are on the edge of the space as far as doubles and data can tell.
    edge_advice : str
        What an estimate on the edge means, and what to do about it.
    phrase : str
        A parameter in words, with the labels in braces.
    """

    name: str
    labels: tuple[str, ...] = ()
    title: str = ""
    word: str = ""
    scale: Scale = IDENTITY
    profile_scale: Scale | None = None
    space: tuple[float, float] = (-np.inf, np.inf)
    zero: str = INSIDE
    usual: tuple[float, float] = (-np.inf, np.inf)
    edge_advice: str = ""
    phrase: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "word", self.word or self.name)
        object.__setattr__(self, "profile_scale", self.profile_scale or self.scale)

    @property
    def zero_is_tested(self) -> bool:
        """Whether a z statistic tests that a parameter is zero."""
        return self.zero == INSIDE

    def name_of(self, *labels: object) -> str:
        """The name of the parameter with these labels, such as ``loading[mmlu,math]``."""
        return f"{self.word}[{','.join(map(str, labels))}]" if labels else self.word

    def in_words(self, *labels: object) -> str:
        """The parameter with these labels without brackets, such as ``loading of mmlu on math``."""
        if self.phrase:
            return self.phrase.format(**dict(zip(self.labels, labels, strict=True)))
        return f"{self.word} {','.join(map(str, labels))}" if labels else self.word


_POSITIVE, _FRACTION = (0.0, np.inf), (0.0, 1.0)
_COVARIANCES = "Covariances of family effects"

LOADING = Kind(
    "loading", ("benchmark", "skill"), phrase="loading of {benchmark} on {skill}",
    edge_advice="the anchor does not measure its skill: choose another",
)  # fmt: skip
INTERCEPT = Kind("intercept", ("benchmark",), phrase="intercept of {benchmark}")
SLOPE = Kind("slope", ("covariate", "skill"), "Slopes of skills", phrase="slope of {skill} on {covariate}")
CORRELATION = Kind(
    "corr", ("skill", "other_skill"), "Correlations of family effects", scale=FISHER, profile_scale=ARC_SINE,
    space=(-1.0, 1.0), usual=(-0.999, 0.999), phrase="corr of {skill} and {other_skill}",
    edge_advice="families' effects on two skills are one and the same, or opposite: fewer skills say as much",
)  # fmt: skip
COVARIANCE = Kind("cov", ("skill", "other_skill"), _COVARIANCES, phrase="cov of {skill} and {other_skill}")
VARIANCE = Kind(
    "variance", ("skill", "other_skill"), _COVARIANCES, "cov", LOG, space=_POSITIVE, zero=OUTSIDE,
    phrase="cov of {skill} and {other_skill}",
)  # fmt: skip
PRECISION = Kind(
    "precision", ("benchmark",), scale=LOG, space=_POSITIVE, zero=OUTSIDE, usual=(1e-3, 1e6),
    phrase="precision of {benchmark}",
    edge_advice="a benchmark is fitted exactly or not at all: look at its scores, and whether it has enough of them; "
    "if a skill explains it exactly (a Heywood case), a weak penalty on precisions, precision_sd=1.5, keeps it finite",
)  # fmt: skip
_PRECISION_SLOPES = "Slopes of log precisions"
PRECISION_SLOPE = Kind(
    "precision_slope", ("covariate",), _PRECISION_SLOPES, phrase="slope of log precisions on {covariate}"
)
BENCHMARK_PRECISION_SLOPE = Kind(
    "own_precision_slope", ("covariate", "benchmark"), _PRECISION_SLOPES, "precision_slope",
    phrase="slope of the log precision of {benchmark} on {covariate}",
)  # fmt: skip
LOWER = Kind(
    "lower", ("benchmark",), scale=LOGIT, space=_FRACTION, zero=OUTSIDE, usual=(1e-6, np.inf),
    phrase="lower of {benchmark}",
    edge_advice="the asymptote wants to leave its range: fix it (asymptotes='chance')",
)  # fmt: skip
UPPER = Kind(
    "upper", ("benchmark",), scale=LOGIT, space=_FRACTION, zero=OUTSIDE, usual=(-np.inf, 1.0 - 1e-6),
    phrase="upper of {benchmark}",
    edge_advice="the asymptote wants to leave its range: fix it (asymptotes='chance' or 'lower')",
)  # fmt: skip
SLOPE_SD = Kind(
    "slope_sd", ("covariate", "skill"), "Standard deviations of families' slopes", space=_POSITIVE, zero=EDGE,
    phrase="slope_sd of {skill} on {covariate}",
    edge_advice="the slope does not vary between families: leave it out of random_slopes (test_shared_slopes tests it)",
)  # fmt: skip
LINK = Kind("link", ("benchmark", "coordinate"))
LLM_SD = Kind(
    "llm_sd", (), "Residual skills of LLMs, in units of families' efficiency", space=_POSITIVE, zero=EDGE,
    edge_advice="LLMs of one family differ no more than their covariates say: leave llm_effects out (lr_test tests it)",
)  # fmt: skip

LLM_SKILL_SD = Kind(
    "llm_skill_sd", ("skill",), "Residual skills of LLMs", "llm_sd", space=_POSITIVE, zero=EDGE,
    phrase="llm_sd of {skill}",
    edge_advice="LLMs of one family differ in this skill no more than their covariates say: llm_effects='proportional' "
    "has one standard deviation for all skills",
)  # fmt: skip
_PARTICULARITIES = "Effects of families on single benchmarks"
BENCHMARK_SD = Kind(
    "benchmark_sd", ("benchmark",), _PARTICULARITIES, space=_POSITIVE, zero=EDGE, phrase="benchmark_sd of {benchmark}",
    edge_advice="families differ in this benchmark no more than their skills say",
)  # fmt: skip
EQUAL_BENCHMARK_SD = Kind(
    "equal_benchmark_sd", (), _PARTICULARITIES, "benchmark_sd", space=_POSITIVE, zero=EDGE,
    edge_advice="families differ in single benchmarks no more than their skills say: leave benchmark_effects out",
)  # fmt: skip

GROUP_SHARE = Kind(
    "group_share", (), "Share of families' efficiency that families of one group have in common", scale=LOGIT,
    space=_FRACTION, zero=EDGE, usual=(-np.inf, 1.0 - 1e-4),
    edge_advice="families of one group are no more alike than others: leave nested out; or, near one, all alike: take "
    "groups as families",
)  # fmt: skip

# any function of parameters, under the label that the user gave it
FUNCTION = Kind("function", ("function",), phrase="{function}")

# of models of their own: Huber-loss fits, regressions on skills, repeated tries
FAMILY = Kind("family", ("family", "skill"))
FAMILY_SD = Kind("family_sd", ("benchmark",), scale=LOG, space=_POSITIVE, zero=OUTSIDE)
TRIES_LOADING = Kind("tries_loading", ("skill",), word="loading")
TRIES_INTERCEPT = Kind("tries_intercept", word="intercept")
ITEM_SD = Kind("sd_item", scale=LOG, space=_POSITIVE, zero=OUTSIDE)
TRIES_LLM_SD = Kind("sd_llm", scale=LOG, space=_POSITIVE, zero=OUTSIDE)
