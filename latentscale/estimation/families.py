"""Scores and information of single families, the likelihood's independent units."""

import numpy as np

from ..numerics.differences import jacobian
from ..numerics.linalg import symmetrise
from .adaptive import adaptive_by_family
from .laplace import laplace_by_family
from .marginal import adapted_nodes, marginal
from .modes import posterior_modes
from .rules import require_laplace


def family_loglikes(objective, v, rule):
    """Log-likelihood of each family by the rule, without the penalty: array (L,)."""
    structure, cells = objective.space.structure(v), objective.cells
    require_laplace(objective.space.layout.llm_effects, rule.kind)
    if rule.kind == "laplace":
        return laplace_by_family(structure, cells, by_family=False)[0]
    nodes = adapted_nodes(rule.standard(cells.n_families), posterior_modes(structure, cells))
    return marginal(structure, cells, nodes, order=0).loglike


def family_scores(objective, v, rule, start=None):
    """Score of each family in the coordinates of the objective's space, without the penalty.

    Parameters
    ----------
    objective : Objective
    v : array (d,)
    rule : Rule
    start : Modes or array (L, D), optional
        Where to start the search for the modes.

    Returns
    -------
    array (L, d)
        Rows sum to the gradient of the log-likelihood by the same rule.
    """
    space, cells = objective.space, objective.cells
    structure = space.structure(v)
    require_laplace(space.layout.llm_effects, rule.kind)
    if rule.kind == "laplace":
        _, scores, _ = laplace_by_family(structure, cells, start, objective.shapes)
    else:
        standard = rule.standard(cells.n_families)
        _, scores, _ = adaptive_by_family(structure, cells, standard, start, objective.shapes)
    return space.pull_back_rows(v, scores)


def family_information(objective, v, rule):
    """Minus the Hessian of each family's log-likelihood, shape (L, d, d).

    Louis's identity on nodes held still, of draws on a grid in their place (``Rule.for_information``) where there is
    one; for Laplace, fourth-order differences of its exact scores.
    """
    nodal = rule.for_information()
    rule = rule if nodal.kind == "laplace" else nodal
    space, cells = objective.space, objective.cells
    structure = space.structure(v)
    require_laplace(space.layout.llm_effects, rule.kind)
    modes = posterior_modes(structure, cells)
    if rule.kind == "laplace":
        step = 1e-3 * np.maximum(1.0, np.abs(v))
        flat = jacobian(lambda point: family_scores(objective, point, rule, modes).ravel(), v, step)
        return -symmetrise(flat.reshape(cells.n_families, len(v), len(v)))
    nodes = adapted_nodes(rule.standard(cells.n_families), modes)
    hessians = marginal(structure, cells, nodes, 2, objective.shapes, by_family=True).hessian
    basis = space.jacobian(v)
    return -symmetrise(np.swapaxes(basis, 0, 1) @ hessians @ basis)
