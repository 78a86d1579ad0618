"""The marginal log-likelihood on nodes that are adapted at every parameter value, with its exact score."""


from __future__ import annotations

import numpy as np

from ..components.cells import Cells
from ..numerics.nodes import StandardNodes
from ..parameters.structure import Structure
from .laplace import at_modes, moving_score
from .marginal import adapted_nodes, marginal
from .modes import Modes


def adaptive(
    structure: Structure,
    cells: Cells,
    standard: StandardNodes,
    start: Modes | np.ndarray | None = None,
    shapes: str = "",
) -> tuple[float, np.ndarray, Modes]:
    """Return log-likelihood, score in s and modes, summed over families; see ``adaptive_by_family``."""
    loglike, score, modes = adaptive_by_family(structure, cells, standard, start, shapes, by_family=False)
    return float(loglike.sum()), score, modes


def adaptive_by_family(
    structure: Structure,
    cells: Cells,
    standard: StandardNodes,
    start: Modes | np.ndarray | None = None,
    shapes: str = "",
    by_family: bool = True,
) -> tuple[np.ndarray, np.ndarray, Modes]:
    """Return log-likelihood of each family, scores in s and modes, on nodes that move with the parameters.

    Nodes follow the mode and the curvature of each family's posterior, so that the integrand in the standardised
    variable z is nearly constant and the error of the log-likelihood is small and smooth. The score includes the
    derivative through the nodes; without it, it would be an average of large scores that nearly cancel.

    Parameters
    ----------
    structure : Structure
    cells : Cells
    standard : StandardNodes
    start : array (L, K), optional
        Where to start the search for the modes.
    shapes : str
        Shapes beside the precision in which the score is wanted.
    by_family : bool
        Whether the scores are wanted family by family, (L, S), or summed, (S,).

    Returns
    -------
    (array (L,), array (L, S) or (S,), Modes)
    """
    at = at_modes(structure, cells, start, shapes)
    nodes = adapted_nodes(standard, at.modes)
    out = marginal(structure, cells, nodes, 1, shapes, by_family=by_family)
    through_nodes = moving_score(structure, cells, at, nodes, out.pull, out.twist, by_family)
    return out.loglike, out.score + through_nodes, at.modes
