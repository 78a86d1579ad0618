"""Log-likelihood, score and information of each family; families are the independent units of the likelihood."""


from __future__ import annotations

import numpy as np

from ..components.levels import family_effects, levels_in, levels_of, too_many_for_nodes
from ..numerics.differences import jacobian
from ..numerics.linalg import symmetrise
from .adaptive_nodes import adaptive_by_family
from .laplace import laplace_by_family
from .laplace_hessian import laplace_hessian
from .marginal import adapted_nodes, marginal
from .modes import Modes, posterior_modes
from .nested_hessian import family_hessians
from .objective import Objective
from .rules import Rule, require_laplace


def family_loglikes(objective: Objective, v: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the log-likelihood of each family by a rule, without the penalty, an array (L,)."""
    structure, cells = objective.space.structure(v), objective.cells
    require_laplace(levels_in(objective.space.layout), rule.kind)
    if rule.kind == "laplace":
        return laplace_by_family(structure, cells, by_family=False)[0]
    nodes = adapted_nodes(rule.standard(cells.n_families), posterior_modes(structure, cells))
    return marginal(structure, cells, nodes, order=0).loglike


def family_scores(
    objective: Objective, v: np.ndarray, rule: Rule, start: Modes | np.ndarray | None = None
) -> np.ndarray:
    """Return the score of each family in the coordinates of the objective's space, without the penalty.

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
    require_laplace(levels_in(space.layout), rule.kind)
    if rule.kind == "laplace":
        _, scores, _ = laplace_by_family(structure, cells, start, objective.shapes)
    else:
        standard = rule.standard(cells.n_families)
        _, scores, _ = adaptive_by_family(structure, cells, standard, start, objective.shapes)
    return space.pull_back_rows(v, scores)


def family_information(objective: Objective, v: np.ndarray, rule: Rule) -> np.ndarray:
    """Return minus the Hessian of each family's log-likelihood, an array (L, d, d).

    On nodes it is Louis's identity with the nodes held fixed; a grid takes the place of draws where possible
    (``Rule.for_information``). For Laplace it is the closed form; where a family's curvature at its mode is not
    positive definite, it is found by fourth-order differences of the exact scores.
    """
    nodal = rule.for_information()
    rule = rule if nodal.kind == "laplace" else nodal
    space, cells = objective.space, objective.cells
    structure = space.structure(v)
    require_laplace(levels_in(space.layout), rule.kind)
    modes = posterior_modes(structure, cells)
    if rule.kind == "laplace":
        return (_closed_information if modes.exact.all() else _difference_information)(objective, v, modes)
    nodes = adapted_nodes(rule.standard(cells.n_families), modes)
    hessians = marginal(structure, cells, nodes, 2, objective.shapes, by_family=True).hessian
    basis = space.jacobian(v)
    return -symmetrise(np.swapaxes(basis, 0, 1) @ hessians @ basis)


def _difference_information(objective: Objective, v: np.ndarray, modes: Modes) -> np.ndarray:
    """Return Laplace's information of each family by differences of the scores."""
    step, rule = 1e-3 * np.maximum(1.0, np.abs(v)), Rule.build("laplace", family_effects(objective.space.layout))
    flat = jacobian(lambda point: family_scores(objective, point, rule, modes).ravel(), v, step)
    return -symmetrise(flat.reshape(objective.cells.n_families, len(v), len(v)))


def _closed_information(objective: Objective, v: np.ndarray, modes: Modes) -> np.ndarray:
    """Return Laplace's information of each family in closed form, carried from s to v by the chain rule.

    The scores of single families do not vanish at the optimum, so that second derivatives of s(v) enter, too.
    """
    space, cells, entries = objective.space, objective.cells, objective.entries
    structure = space.structure(v)
    _, scores, modes = laplace_by_family(structure, cells, modes, objective.shapes)
    step = 1e-4 * np.maximum(1.0, np.abs(v))
    curvature = jacobian(lambda point: space.pull_back_rows(point, scores).ravel(), v, step)
    out = curvature.reshape(cells.n_families, len(v), len(v))
    basis = space.jacobian(v)[entries]
    if too_many_for_nodes(levels_of(structure)):
        for family, hessian in enumerate(family_hessians(structure, cells, modes, objective.shapes)):
            out[family] += basis.T @ hessian[np.ix_(entries, entries)] @ basis
        return -symmetrise(out)
    for family in range(cells.n_families):
        batch, mode = cells.of_families(family, family + 1), modes.of_families(cells, family, family + 1)
        out[family] += basis.T @ laplace_hessian(structure, batch, mode, objective.shapes, entries=entries) @ basis
    return -symmetrise(out)
