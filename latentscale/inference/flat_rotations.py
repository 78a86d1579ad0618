"""Rotations of the skills that a form of identification does not exclude: directions in which no likelihood falls.

For A = I + E, (Lambda, B, Sigma) -> (Lambda A^-1, B A', A Sigma A') leaves the law of the scores unchanged. To first
order Lambda moves by -Lambda E, B by B E' and Sigma by E Sigma + Sigma E'. What the form fixes must not move: that is
a linear system in the K^2 entries of E, and its null space is known without looking at any score.
"""

from dataclasses import replace

import numpy as np

from ..numerics.linalg import null_space
from ..parameters.restrictions import RestrictedSpace

_NULL = 1e-9  # the system is of the size of the loadings, and exact to rounding


def flat_rotations(space, v):
    """Directions in the coordinates v in which the skills turn and the form is kept.

    Parameters
    ----------
    space : ParameterSpace or RestrictedSpace
    v : array (d,)

    Returns
    -------
    (array (d, m), array (K, K, m))
        The directions, and their E. m = 0 where the form settles the coordinates of the skills.
    """
    structure = space.structure(v)
    moved, turns = _turns(space, structure, [])
    if not turns.shape[1]:
        return np.zeros((space.size, 0)), np.zeros((space.layout.n_skills, space.layout.n_skills, 0))
    directions = np.linalg.lstsq(space.jacobian(v), moved @ turns, rcond=None)[0]
    return directions, turns.reshape(space.layout.n_skills, space.layout.n_skills, -1)


def settling_loadings(space, v):
    """Free loadings that, fixed at zero, leave no rotation of the skills: positions in s.

    One by one the loading that the rotations left over move most. As each is set to zero before the next is sought,
    all of them may be zero at once without a restriction of the law.
    """
    structure, layout = space.structure(v), space.layout
    where, chosen = layout.index("loadings").ravel(), []
    free, unit = space.table.free[where], np.tile(np.sqrt(np.diag(structure.skill_cov)), layout.n_items)
    while True:
        moved, turns = _turns(space, structure, chosen)
        movement = np.where(free, np.linalg.norm(moved[where] @ turns, axis=1) * unit, 0.0)
        if not turns.shape[1] or movement.max() < _NULL:
            return np.array(chosen, dtype=int)
        position = int(np.argmax(movement))
        chosen.append(where[position])
        loadings = structure.loadings.copy()
        loadings.flat[position] = 0.0
        structure = replace(structure, loadings=loadings)


def _turns(space, structure, also_fixed):
    """Movement of s per entry of E (S, K^2), and basis of the E that keep the form (K^2, m)."""
    moved, off_diagonal = _tangents(structure, space.layout)
    conditions = [moved[~space.table.free], off_diagonal, moved[np.array(also_fixed, dtype=int)]]
    if isinstance(space, RestrictedSpace):
        carried = space.recoding.jacobian(space.layout, structure) @ moved
        conditions.append(space.restriction.matrix @ carried[space.table.free])
    return moved, null_space(np.vstack(conditions), _NULL)


def _tangents(structure, layout):
    """Movement of s per entry of E (S, K^2), and of the zeros in the covariances of random slopes."""
    k = layout.n_skills
    moved, off_diagonal = np.zeros((layout.size, k * k)), []
    rows, columns = layout.triangle
    below = rows > columns
    for number in range(k * k):
        e = np.zeros((k, k))
        e.flat[number] = 1.0
        moved[layout.slices["loadings"], number] = -(structure.loadings @ e).ravel()
        moved[layout.slices["slopes"], number] = (structure.slopes @ e.T).ravel()
        turned = e @ structure.skill_cov
        moved[layout.slices["skill_cov"], number] = (turned + turned.T)[layout.triangle]
        by_skill = {name: values for name, values in structure.scales.items() if values.ndim == 2}
        for name, values in by_skill.items():
            moved[layout.slices[name], number] = (values * np.diag(e)).ravel()
        spread = [e * variance + (e * variance).T for values in by_skill.values() for variance in values**2]
        off_diagonal.append([change[rows[below], columns[below]] for change in spread])
    return moved, np.array(off_diagonal).reshape(k * k, -1).T
