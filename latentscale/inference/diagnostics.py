"""What is weak in an estimate, by parameter name."""

from dataclasses import dataclass

import numpy as np

from ..errors import BoundaryWarning, ConvergenceWarning

_SMALLEST_ANCHOR = 1e-4
# A random effect of this share of its skill's standard deviation is none: a millionth of the variance.
_SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class Problem:
    """Something a user must know of a fit.

    Attributes
    ----------
    message : str
    parameters : tuple of str
    category : type
        Warning category.
    """

    message: str
    parameters: tuple
    category: type


def find_problems(model, estimate, covariance):
    """Problems of an estimate, most serious first."""
    found = []
    if covariance.weak and np.isnan(covariance.eigenvalues).any():
        found.append(
            Problem(
                "Laplace's approximation does not exist next to the estimate, so standard errors do not either: a "
                "family's effects are about to have two likely values when these parameters move: "
                f"{', '.join(covariance.weak)}. Try integration='monte_carlo', fewer skills or a stronger penalty.",
                covariance.weak,
                ConvergenceWarning,
            )
        )
    elif covariance.weak:
        found.append(
            Problem(
                "The observed information is not positive definite, so standard errors do not exist: the "
                f"log-likelihood does not fall along a direction of {', '.join(covariance.weak)}.",
                covariance.weak,
                ConvergenceWarning,
            )
        )
    if not estimate.converged:
        found.append(_not_converged(model, estimate, covariance))
    edges = tuple(parameter.name for parameter in boundary_parameters(model, estimate.params))
    if edges and estimate.options.get("information", True):  # else there are no standard errors to mislead
        found.append(
            Problem(
                f"Estimates on the edge of their space, where standard errors mislead: {', '.join(edges)}.",
                edges,
                BoundaryWarning,
            )
        )
    return tuple(found)


def _not_converged(model, estimate, covariance):
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


def boundary_parameters(model, params):
    """Natural parameters on the edge of their space, among them anchors and random effects that vanish.

    Parameters
    ----------
    model : LatentSkillModel
    params : array (P,)

    Returns
    -------
    tuple of Parameter
    """
    table, found = model.table, []
    for parameter, value in zip(table.parameters, params, strict=True):
        low, high = parameter.kind.usual
        if not low <= value <= high:
            found.append(parameter)
    layout, structure = table.layout, table.structure(params)
    vanished = []
    for one in model.effects:
        size = structure.scales[one.block] * one.spreads
        if one.rows is not None:  # in units of the skills' standard deviations, as one number for all skills is
            size = size / np.sqrt(np.diag(structure.skill_cov))
        vanished += list(layout.index(one.block)[np.abs(size) < _SMALLEST_SCALE])
    loadings = layout.index("loadings")
    vanished += [loadings[at] for at in model.pattern.anchors if abs(structure.loadings[at]) < _SMALLEST_ANCHOR]
    return (*found, *(table.all_parameters[position] for position in vanished))
