"""Quick maximisation from a point near the optimum, in a metric that is known already.

Restricted fits of tests and profiles, and fits to resampled data, start a few standard errors from their optimum:
the information of the first fit then serves all of them, and a dozen or two passes over the data do.
"""


from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..models.latent_skill import LatentSkillLaw
from ..parameters.restrictions import RestrictedSpace, Restriction
from ..parameters.space import ParameterSpace
from .ascent import REFUSED, LaplaceDescent, scale_from, scaled_ascent
from .polish import MovingAscent

_GOAL = 1e-3  # standard errors
_ACCEPTED = 1e-2


@dataclass(frozen=True)
class Refit:
    """Where a quick maximisation ended.

    Attributes
    ----------
    space : ParameterSpace or RestrictedSpace
    coordinates : array (d,)
        In that space.
    value, loglike : float
        Penalised log-likelihood and the plain one; -inf if nothing finite was found.
    gradient : array (d,)
        Of ``value``.
    distance : float
        Length of the gradient in the metric given: about the distance to the optimum, in standard errors.
    evaluations : int
    converged : bool
    """

    space: ParameterSpace | RestrictedSpace
    coordinates: np.ndarray
    value: float
    loglike: float
    gradient: np.ndarray
    distance: float
    evaluations: int
    converged: bool

    @property
    def free(self) -> np.ndarray:
        """The end in the coordinates u of the whole space, (P,)."""
        return self.space.free(self.coordinates) if isinstance(self.space, RestrictedSpace) else self.coordinates


def refit(
    objective: Objective,
    rule: Rule,
    v: np.ndarray,
    information: np.ndarray,
    goal: float = _GOAL,
    max_iterations: int = 200,
) -> Refit:
    """Maximise by BFGS in the metric of an information matrix.

    Parameters
    ----------
    objective : Objective
    rule : Rule
    v : array (d,)
        Start, in the coordinates of the objective's space.
    information : array (d, d)
        About the information at the optimum, in the same coordinates.
    goal : float
        Distance to the optimum, in standard errors, at which to stop.
    max_iterations : int

    Returns
    -------
    Refit
    """
    if rule.kind == "laplace":
        function: LaplaceDescent | MovingAscent = LaplaceDescent(objective)
    else:
        function = MovingAscent(objective, rule.standard(objective.cells.n_families))
    scale = scale_from(information)
    end, evaluations = scaled_ascent(function, v, scale, goal / np.sqrt(len(v)), max_iterations)
    minus_value, minus_gradient = function(end)
    if minus_value >= REFUSED:
        nothing = np.full_like(end, np.nan)
        return Refit(objective.space, end, -np.inf, -np.inf, nothing, np.nan, evaluations, False)
    distance = float(np.linalg.norm(scale.T @ minus_gradient))
    penalty = objective.penalty.terms(objective.space.structural(end))[0]
    return Refit(
        objective.space, end, -minus_value, -minus_value - penalty, -minus_gradient, distance, evaluations + 1,
        bool(distance < _ACCEPTED),
    )  # fmt: skip


def restricted_refit(
    model: LatentSkillLaw,
    rule: Rule,
    restriction: Restriction,
    u: np.ndarray,
    information: np.ndarray,
    goal: float = _GOAL,
) -> Refit:
    """Maximum under a restriction, from the unrestricted optimum or from another point that is near.

    Parameters
    ----------
    model : LatentSkillModel
    rule : Rule
    restriction : Restriction
    u : array (P,)
    information : array (P, P)
        At the unrestricted optimum.
    goal : float

    Returns
    -------
    Refit
        On a ``RestrictedSpace``.
    """
    space = RestrictedSpace.near(model.space, model.recoding, restriction, u, np.linalg.inv(information))
    objective = Objective(space, model.internal_cells, model.penalty)
    basis = space.basis(space.start)
    return refit(objective, rule, space.start[space.kept], basis.T @ information @ basis, goal)
