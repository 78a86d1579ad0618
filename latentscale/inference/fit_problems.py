"""Problems of an estimate, by parameter name: no convergence, no standard errors, estimates at an edge."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BoundaryWarning, ConvergenceWarning
from ..models.latent_skill import LatentSkillLaw
from ..parameters.named import Parameter

if TYPE_CHECKING:
    from ..estimation.estimate import Estimate
    from .covariance import Observed

_SMALLEST_ANCHOR = 1e-4  # an anchor's loading below this counts as zero
# A random effect below this share of its skill's standard deviation, a millionth of its variance, counts as zero.
_SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class Problem:
    """Something that users of a fit must know.

    Attributes
    ----------
    message : str
    parameters : tuple of str
        Parameters concerned.
    category : type
        Category of the warning.
    """

    message: str
    parameters: tuple[str, ...]
    category: type[Warning]


def find_problems(model: LatentSkillLaw, estimate: "Estimate", covariance: "Observed") -> tuple[Problem, ...]:
    """Return the problems of an estimate, the most serious first. ``covariance`` is its observed covariance."""
    problems = []
    if covariance.weak and np.isnan(covariance.eigenvalues).any():
        problems.append(
            Problem(
                "Laplace's approximation does not exist next to the estimate, so standard errors do not either: the "
                "posterior of a family's effects is about to have two modes as these parameters change: "
                f"{', '.join(covariance.weak)}. Try integration='monte_carlo', fewer skills or a stronger penalty.",
                covariance.weak,
                ConvergenceWarning,
            )
        )
    elif covariance.weak:
        problems.append(
            Problem(
                "The observed information is not positive definite, so standard errors do not exist: the "
                f"log-likelihood does not fall along a direction of {', '.join(covariance.weak)}.",
                covariance.weak,
                ConvergenceWarning,
            )
        )
    if not estimate.converged:
        problems.append(_not_converged(model, estimate, covariance))
    edges = tuple(parameter.name for parameter in boundary_parameters(model, estimate.params))
    if edges and estimate.options.get("information", True):  # without information there are no standard errors
        problems.append(
            Problem(
                f"Estimates on the edge of their space, where standard errors mislead: {', '.join(edges)}.",
                edges,
                BoundaryWarning,
            )
        )
    return tuple(problems)


def _not_converged(model: LatentSkillLaw, estimate: "Estimate", covariance: "Observed") -> Problem:
    """Return the problem that the optimum was not reached, with how far away it is and in which parameters."""
    advice = "Allow more rounds (max_rounds), or go on with fit(start_params=fit.params)."
    if not estimate.informed:
        return Problem(
            f"The optimum was not reached: it is about {estimate.distance:.2g} standard errors away, as far as a fit "
            "without the observed information can tell. Go on with fit(start_params=fit.params), or fit with "
            "information=True.",
            (),
            ConvergenceWarning,
        )
    if covariance.weak or np.isnan(covariance.free).any():
        worst = np.argsort(-np.abs(estimate.gradient))[:4]
        how = f"the largest entry of the gradient is {np.abs(estimate.gradient).max():.2g}"
    else:
        step = np.abs(covariance.free @ estimate.gradient) / np.sqrt(np.diag(covariance.free))
        worst = np.argsort(-step)[:4]
        how = f"it is {estimate.distance:.2g} standard errors away"
    labels = estimate.space(model).labels
    names = tuple(labels[index] for index in worst)
    return Problem(
        f"The optimum was not reached: {how}, most of it in {', '.join(names)}. {advice}",
        names,
        ConvergenceWarning,
    )


def boundary_parameters(model: LatentSkillLaw, params: np.ndarray) -> tuple[Parameter, ...]:
    """Return natural parameters on the edge of their space, anchors' loadings and random effects of zero included.

    Parameters
    ----------
    model : LatentSkillLaw
    params : array (P,)

    Returns
    -------
    tuple of Parameter
    """
    table, edges = model.table, []
    for parameter, value in zip(table.parameters, params, strict=True):
        low, high = parameter.kind.usual
        if not low <= value <= high:
            edges.append(parameter)
    layout, structure = table.layout, table.structure(params)
    vanished: list[int] = []
    for effects in model.effects:
        size = structure.scales[effects.block] * effects.spreads
        if effects.by_skill:  # these are in units of the skills
            size = size / np.sqrt(np.diag(structure.skill_cov))
        vanished += list(layout.index(effects.block)[np.abs(size) < _SMALLEST_SCALE])
    loadings = layout.index("loadings")
    vanished += [loadings[at] for at in model.pattern.anchors if abs(structure.loadings[at]) < _SMALLEST_ANCHOR]
    return (*edges, *(table.all_parameters[position] for position in vanished))
