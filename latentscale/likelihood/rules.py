"""The three integration rules of the marginal likelihood, and estimates of their errors."""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from ..checks import check_one_of, check_positive, check_power_of_two, check_seed, check_whole
from ..components.levels import Level
from ..errors import DataError
from ..numerics.nodes import StandardNodes, gauss_hermite, sobol

if TYPE_CHECKING:
    from .objective import Objective


RULES = ("laplace", "quadrature", "monte_carlo")
_DEFAULT_POINTS = {1: 21, 2: 11, 3: 7, 4: 5, 5: 4}
_INFORMATION_POINTS = {1: 21, 2: 11, 3: 9, 4: 7, 5: 5}  # enough for standard errors to about one in a thousand
MAX_NODES = 20_000
MAX_DRAWS = 2**14
GROUPS = 8


@dataclass(frozen=True)
class Rule:
    """An integration rule.

    Attributes
    ----------
    kind : {"laplace", "quadrature", "monte_carlo"}
    n_skills : int
    points : int
        Number of Gauss-Hermite nodes in each dimension (quadrature).
    draws : int
        Number of draws of each scrambling, a power of two (monte_carlo); there are ``GROUPS`` scramblings.
    tolerance : float
        Draws double until the Monte Carlo standard error of the log-likelihood is under this.
    t_df : float or None
        Degrees of freedom of the proposal (monte_carlo); None for a normal one.
    seed : int
    """

    kind: str
    n_skills: int
    points: int = 0
    draws: int = 0
    tolerance: float = 0.05
    t_df: float | None = None
    seed: int = 0

    @classmethod
    def build(
        cls,
        kind: str,
        n_skills: int,
        points: int | None = None,
        draws: int | None = None,
        tolerance: float = 0.05,
        t_df: float | None = None,
        seed: int = 0,
    ) -> Self:
        """Return the rule with these options, after checking them.

        Raises
        ------
        DataError
            For an unknown rule, a grid above ``MAX_NODES`` nodes, or draws that are no power of two.
        """
        check_one_of("integration", kind, RULES)
        points = _DEFAULT_POINTS.get(n_skills, 3) if points is None else check_whole("points", points, 1)
        if kind == "quadrature" and points**n_skills > MAX_NODES:
            raise DataError(
                f"{points} quadrature nodes in {n_skills} dimensions are {points**n_skills} nodes a family; "
                "use integration='monte_carlo', or fewer points."
            )
        draws = 64 if draws is None else check_power_of_two("draws (a scrambling)", draws)
        t_df = None if t_df is None else check_positive("t_df", t_df)
        return cls(kind, n_skills, points, draws, check_positive("llf_tolerance", tolerance), t_df, check_seed(seed))

    def standard(self, n_families: int) -> StandardNodes:
        """Return the standardised nodes of quadrature and Monte Carlo."""
        if self.kind == "quadrature":
            return gauss_hermite(self.points, self.n_skills)
        return sobol(self.draws, self.n_skills, GROUPS, self.seed, n_families, self.t_df)

    def doubled(self) -> Rule:
        """Return the same rule with twice as many draws."""
        return replace(self, draws=2 * self.draws)

    def for_information(self) -> Rule:
        """Return the rule for second derivatives: a grid in place of draws, or Laplace if it would be too large.

        Louis's identity subtracts the missing information from that of the complete data. Where families have many
        scores the two nearly cancel, and the relative error of draws is much larger in the difference.
        """
        if self.kind != "monte_carlo":
            return self
        points = _INFORMATION_POINTS.get(self.n_skills)
        return replace(self, kind="laplace") if points is None else replace(self, kind="quadrature", points=points)

    def finer(self) -> Rule:
        """Return a finer rule to compare with: two more nodes in each dimension, or for Laplace a grid."""
        if self.kind == "quadrature":
            return replace(self, points=self.points + 2)
        points = {1: 15, 2: 7, 3: 5, 4: 4}.get(self.n_skills)
        if points is not None:
            return replace(self, kind="quadrature", points=points)
        return replace(self, kind="monte_carlo", draws=64)

    def __str__(self) -> str:
        if self.kind == "laplace":
            return "Laplace"
        if self.kind == "quadrature":
            return f"adapted Gauss-Hermite, {self.points} nodes a dimension ({self.points**self.n_skills})"
        law = "normal" if self.t_df is None else f"t({self.t_df:g})"
        return f"Monte Carlo, {GROUPS} scramblings of {self.draws} Sobol draws ({law} proposal)"


def require_laplace(levels: Sequence[Level], integration: str = "nodes") -> None:
    """Refuse rules on nodes for models in which units within families have effects, such as residual skills of LLMs.

    Raises
    ------
    DataError
    """
    if len(levels) > 1 and integration != "laplace":
        raise DataError(
            f"The residual skills of LLMs (llm_effects=True) are too many to be integrated by {integration!r}: say "
            "integration='laplace'."
        )


@dataclass(frozen=True)
class IntegrationError:
    """An estimate of the error of an integration rule.

    Attributes
    ----------
    se : float
        Monte Carlo standard error over independent scramblings; NaN for the other rules.
    difference : float
        Log-likelihood by a finer rule minus that by this one (Laplace, quadrature); NaN for Monte Carlo.
    params_se : array (P,) or None
        Monte Carlo standard error of each coordinate of the estimate.
    """

    se: float
    difference: float
    params_se: np.ndarray | None = None


def monte_carlo_error(
    objective: Objective, u: np.ndarray, standard: StandardNodes, covariance: np.ndarray | None = None
) -> IntegrationError:
    """Return Monte Carlo standard errors of the log-likelihood and, given the covariance of u, of the estimates.

    With scrambling r alone the estimate would change by V g_r, where V is the covariance and g_r the gradient by that
    scrambling. The standard error with R scramblings is the standard deviation of V g_r divided by sqrt(R).
    """
    values, moves, alpha = [], [], None
    for number in range(standard.groups):
        group = standard.group(number)
        if covariance is None:
            evaluation, modes = objective.adapted(u, group, 0, alpha)
        else:
            evaluation, modes = objective.moving(u, group, alpha)
            moves.append(covariance @ evaluation.gradient)
        values.append(evaluation.loglike)
        alpha = modes.alpha
    root = np.sqrt(standard.groups)
    params_se = np.std(moves, axis=0, ddof=1) / root if covariance is not None else None
    return IntegrationError(float(np.std(values, ddof=1) / root), np.nan, params_se)


def rule_error(
    objective: Objective, rule: Rule, u: np.ndarray, loglike: float, covariance: np.ndarray | None = None
) -> IntegrationError:
    """Return an estimate of the error of a rule at u, where its log-likelihood is ``loglike``."""
    if rule.kind == "monte_carlo":
        return monte_carlo_error(objective, u, rule.standard(objective.cells.n_families), covariance)
    finer = rule.finer()
    if finer.kind == "quadrature" and finer.points**finer.n_skills > MAX_NODES:
        return IntegrationError(np.nan, np.nan)
    evaluation, _ = objective.adapted(u, finer.standard(objective.cells.n_families), 0)
    return IntegrationError(np.nan, evaluation.loglike - loglike)
