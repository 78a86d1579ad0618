"""Quick maximisation from a point near the maximum, in a metric that is known already.

Restricted fits of tests and profiles, and fits to resampled data, start a few standard errors from their maximum. The
information of the original fit is then a good metric for all of them, and ten to twenty passes over the data suffice.
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

_GOAL = 1e-3  # standard errors from the maximum at which a refit stops
_ACCEPTED = 1e-2  # standard errors from the maximum within which it counts as converged


@dataclass(frozen=True)
class Refit:
    """The point at which a quick maximisation ended.

    Attributes
    ----------
    space : ParameterSpace or RestrictedSpace
        The space over which it maximised, with d coordinates.
    coordinates : array (d,)
        The coordinates of the point in that space.
    value, loglike : float
        The log-likelihood with its penalties and without them; -inf if there is none at the point.
    gradient : array (d,)
        Of ``value`` in the coordinates.
    distance : float
        Length of the gradient in the given metric, which is about the distance to the maximum in standard errors.
    evaluations : int
        Passes over the data.
    converged : bool
        Whether the distance is small enough.
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
        """The unconstrained vector u (P,) of the point, without regard to restrictions."""
        return self.space.free(self.coordinates) if isinstance(self.space, RestrictedSpace) else self.coordinates


def refit(
    objective: Objective,
    rule: Rule,
    v: np.ndarray,
    information: np.ndarray,
    goal: float = _GOAL,
    max_iterations: int = 200,
) -> Refit:
    """Maximise by BFGS in the metric of an information matrix that is known already.

    Parameters
    ----------
    objective : Objective
    rule : Rule
    v : array (d,)
        The starting point, in the coordinates of the objective's space.
    information : array (d, d)
        Roughly the information at the maximum, in the same coordinates.
    goal : float
        Distance to the maximum, in standard errors, at which to stop.
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
        no_gradient = np.full_like(end, np.nan)
        return Refit(objective.space, end, -np.inf, -np.inf, no_gradient, np.nan, evaluations, False)
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
    """Maximise under a restriction, from the unrestricted maximum or from another point that is near.

    Parameters
    ----------
    model : LatentSkillModel
    rule : Rule
    restriction : Restriction
    u : array (P,)
        The starting point, which need not satisfy the restriction.
    information : array (P, P)
        The information at the unrestricted maximum.
    goal : float
        Distance to the restricted maximum, in standard errors, at which to stop.

    Returns
    -------
    Refit
        Its space is a ``RestrictedSpace``.
    """
    space = RestrictedSpace.near(model.space, model.recoding, restriction, u, np.linalg.inv(information))
    objective = Objective(space, model.internal_cells, model.penalty)
    basis = space.basis(space.start)
    return refit(objective, rule, space.start[space.kept], basis.T @ information @ basis, goal)
