"""Rotations of the skills that a form of identification does not exclude, along which no likelihood changes.

For A = I + E, (Lambda, B, Sigma) -> (Lambda A^-1, B A', A Sigma A') leaves the law of the scores unchanged. To first
order Lambda changes by -Lambda E, B by B E' and Sigma by E Sigma + Sigma E'. Whatever the form fixes must not change:
that is a system of linear equations in the K^2 entries of E, whose null space is known without any scores.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..numerics.linalg import null_space
from ..parameters.restrictions import RestrictedSpace
from ..parameters.space import ParameterSpace
from ..parameters.structure import Layout, Structure

_NULL = 1e-9  # singular values below this, relative to the largest, are rounding


def flat_rotations(space: ParameterSpace | RestrictedSpace, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions in the coordinates v along which the skills rotate and what the form fixes stays fixed.

    Parameters
    ----------
    space : ParameterSpace or RestrictedSpace
    v : array (d,)

    Returns
    -------
    (array (d, m), array (K, K, m))
        The directions, and the matrix E of each. m = 0 where the form determines the axes of the skills.
    """
    structure = space.structure(v)
    tangents, turns = _turns(space, structure, [])
    if not turns.shape[1]:
        return np.zeros((space.size, 0)), np.zeros((space.layout.n_skills, space.layout.n_skills, 0))
    directions = np.linalg.lstsq(space.jacobian(v), tangents @ turns, rcond=None)[0]
    return directions, turns.reshape(space.layout.n_skills, space.layout.n_skills, -1)


def settling_loadings(space: ParameterSpace | RestrictedSpace, v: np.ndarray) -> np.ndarray:
    """Return free loadings that, fixed at zero, leave no rotation of the skills: an array of positions in s.

    They are chosen one by one, each time the loading that the remaining rotations change most. Each is set to zero
    before the next is chosen, so that all of them may be zero at once without any restriction of the law of the scores.
    """
    structure, layout = space.structure(v), space.layout
    where = layout.index("loadings").ravel()
    chosen: list[int] = []
    free, unit = space.table.free[where], np.tile(np.sqrt(np.diag(structure.skill_cov)), layout.n_items)
    while True:
        tangents, turns = _turns(space, structure, chosen)
        change = np.where(free, np.linalg.norm(tangents[where] @ turns, axis=1) * unit, 0.0)
        if not turns.shape[1] or change.max() < _NULL:
            return np.array(chosen, dtype=int)
        position = int(np.argmax(change))
        chosen.append(where[position])
        loadings = structure.loadings.copy()
        loadings.flat[position] = 0.0
        structure = replace(structure, loadings=loadings)


def _turns(
    space: ParameterSpace | RestrictedSpace, structure: Structure, also_fixed: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the change of s per entry of E (S, K^2), and a basis (K^2, m) of the matrices E that keep what is fixed.

    ``also_fixed`` are positions in s of further parameters that must not change.
    """
    tangents, off_diagonal = _tangents(structure, space.layout)
    conditions = [tangents[~space.table.free], off_diagonal, tangents[np.array(also_fixed, dtype=int)]]
    if isinstance(space, RestrictedSpace):
        natural_tangents = space.recoding.jacobian(space.layout, structure) @ tangents
        conditions.append(space.restriction.matrix @ natural_tangents[space.table.free])
    return tangents, null_space(np.vstack(conditions), _NULL)


def _tangents(structure: Structure, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Return the change of s per entry of E (S, K^2), and that of the zero covariances of random slopes."""
    k = layout.n_skills
    tangents, off_diagonal = np.zeros((layout.size, k * k)), []
    rows, columns = layout.triangle
    below = rows > columns
    for number in range(k * k):
        e = np.zeros((k, k))
        e.flat[number] = 1.0
        tangents[layout.slices["loadings"], number] = -(structure.loadings @ e).ravel()
        tangents[layout.slices["slopes"], number] = (structure.slopes @ e.T).ravel()
        changed = e @ structure.skill_cov
        tangents[layout.slices["skill_cov"], number] = (changed + changed.T)[layout.triangle]
        by_skill = {name: values for name, values in structure.scales.items() if values.ndim == 2}
        for name, values in by_skill.items():
            tangents[layout.slices[name], number] = (values * np.diag(e)).ravel()
        spread = [e * variance + (e * variance).T for values in by_skill.values() for variance in values**2]
        off_diagonal.append([change[rows[below], columns[below]] for change in spread])
    return tangents, np.array(off_diagonal).reshape(k * k, -1).T
