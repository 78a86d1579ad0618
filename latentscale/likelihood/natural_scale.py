"""Log-likelihood, score and Hessian in the natural parameters of a model, in users' covariates, without penalty."""


from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..components.levels import family_effects, levels_in
from ..numerics.differences import jacobian
from ..numerics.linalg import symmetrise
from ..parameters.table import ParameterTable
from .adaptive_nodes import adaptive
from .laplace import laplace
from .marginal import adapted_nodes, marginal
from .modes import Modes, posterior_modes
from .rules import Rule, require_laplace

if TYPE_CHECKING:
    from ..models.latent_skill import LatentSkillLaw



def _rule(model: LatentSkillLaw, integration: str, options: dict[str, Any]) -> Rule:
    """Return the checked integration rule for a model."""
    require_laplace(levels_in(model.table.layout), integration)
    return Rule.build(integration, family_effects(model.table.layout), **options)


def natural_loglike(model: LatentSkillLaw, params: np.ndarray, integration: str, options: dict[str, Any]) -> float:
    """Return the marginal log-likelihood at a natural vector (P,)."""
    rule, cells = _rule(model, integration, options), model.user_cells
    structure = model.table.structure(params)
    if rule.kind == "laplace":
        return laplace(structure, cells)[0]
    nodes = adapted_nodes(rule.standard(cells.n_families), posterior_modes(structure, cells))
    return float(marginal(structure, cells, nodes, order=0).loglike.sum())


def natural_score(model: LatentSkillLaw, params: np.ndarray, integration: str, options: dict[str, Any]) -> np.ndarray:
    """Return the gradient of the log-likelihood (P,)."""
    return rule_score(model, params, _rule(model, integration, options))


def rule_score(
    model: LatentSkillLaw,
    params: np.ndarray,
    rule: Rule,
    start: Modes | np.ndarray | None = None,
    table: ParameterTable | None = None,
) -> np.ndarray:
    """Return the score by a Rule at a natural vector (P,) of a parameter table, by default the model's."""
    cells, table = model.user_cells, model.table if table is None else table
    structure, shapes = table.structure(params), table.shapes_free
    if rule.kind == "laplace":
        return laplace(structure, cells, start, shapes)[1][table.free]
    return adaptive(structure, cells, rule.standard(cells.n_families), start, shapes)[1][table.free]


def natural_hessian(model: LatentSkillLaw, params: np.ndarray, integration: str, options: dict[str, Any]) -> np.ndarray:
    """Return the second derivatives of the log-likelihood (P, P)."""
    rule, cells, table = _rule(model, integration, options), model.user_cells, model.table
    structure = table.structure(params)
    modes = posterior_modes(structure, cells)
    if rule.kind == "laplace":
        step = _step(table, params)
        return symmetrise(jacobian(lambda point: rule_score(model, point, rule, modes, table), params, step))
    nodes = adapted_nodes(rule.standard(cells.n_families), modes)
    hessian = marginal(structure, cells, nodes, 2, table.shapes_free).hessian
    return symmetrise(hessian[np.ix_(table.free, table.free)])


def _step(table: ParameterTable, params: np.ndarray) -> np.ndarray:
    """Return steps of differences that stay inside the parameter space, to whose edge asymptotes may be close."""
    full = np.zeros(table.layout.size)
    full[table.free] = params
    step = 1e-3 * np.maximum(0.1, np.abs(full))
    for name in ("lower", "upper"):
        where = table.layout.slices[name]
        step[where] = 1e-3 * full[where] * (1.0 - full[where])
    return step[table.free]
