"""The expected (Fisher) information, as the mean outer product of the scores of simulated families.

Scores are simulated with the design and the missing cells of the model's panel. Derivatives are Laplace's, whose
expectation at the parameters of the simulation is zero up to the error of the approximation.
"""


from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..boundary import inside
from ..components.cells import Cells
from ..components.levels import simulated_predictors
from ..components.response import simulate_scores
from ..parameters.structure import Structure
from ..parameters.table import ParameterTable
from .laplace import laplace_by_family

if TYPE_CHECKING:
    from ..models.latent_skill import LatentSkillLaw



def simulated_cells(model: LatentSkillLaw, structure: Structure, rng: np.random.Generator) -> Cells:
    """Cells with scores simulated at a Structure in users' covariates, without censoring."""
    mean = model.design.x @ structure.slopes
    eta = simulated_predictors(rng, structure, model.family_codes, mean, model.random_design, model.group_codes)
    drawn = simulate_scores(model.score_law, rng, structure, eta, model.dispersion)
    y = inside(drawn, np.finfo(float).eps)  # a draw may round to 0 or 1
    state = np.where(model.prepared.state >= 0, 0, -1).astype(np.int8)
    edge, codes = model.prepared.edge, model.group_codes
    return Cells.from_tables(
        model.score_law, y, state, edge, codes, model.design.x, model.random_design, model.dispersion,
        model.family_codes if model.nested else None,
    )  # fmt: skip


def expected_information(
    model: LatentSkillLaw,
    structure: Structure,
    table: ParameterTable,
    tables: int = 100,
    seed: int = 0,
    expected: bool = False,
) -> np.ndarray:
    """Return the expected information of all families in the natural vector of a parameter table, (P, P).

    Parameters
    ----------
    model : LatentSkillModel
    structure : Structure
        In users' covariates.
    table : ParameterTable
        Its free parameters may include some that are fixed in the model's own table.
    tables : int
        Number of simulated tables; each entry of the information has a relative error of about sqrt(2 / (tables L)).
    seed : int
    expected : bool
        Whether Laplace's determinant is that of the expected curvature, as in fits with ``information=False``.
    """
    total = np.zeros((table.size, table.size))
    for child in np.random.SeedSequence(seed).spawn(tables):
        cells = simulated_cells(model, structure, np.random.default_rng(child))
        _, scores, _ = laplace_by_family(structure, cells, shapes=table.shapes_free, expected=expected)
        scores = scores[:, table.free]
        total += scores.T @ scores
    return total / tables
