"""How predictions move with the parameters: the delta method for skills and expected scores.

Draws of all parameters from their normal law are no way to predictions: with a hundred parameters the law holds along
each direction, but points a hundred standard errors away in all of them together have log-likelihoods far below what it
says, and predictions there are biased. So predictions are linearised instead, as the delta method does: skills as they
are, expected scores on the logit scale, precisions on the log scale. A family's effects move with the parameters, as
its scores are held fixed: by the implicit function theorem at the mode of p(v | y_l; xi).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from ..components.complete import fixed_part
from ..components.levels import levels_of
from ..components.response import cell_parameters, cell_terms, locations
from ..likelihood.modes import posterior_modes
from .importance_sampling import family_targets

_STEP = 0.05  # of a standard deviation of the parameters' law


@dataclass(frozen=True)
class Sensitivities:
    """Derivatives in the d standardised directions of the parameters' law.

    Attributes
    ----------
    theta : array (d, n, K)
        Of the LLMs' skills, in the coordinates of the fit.
    logit_mean : array (d, n, J)
        Of logit mu_ij, mu_ij being the location of the law of a score.
    log_precision : array (d, J)
    """

    theta: np.ndarray
    logit_mean: np.ndarray
    log_precision: np.ndarray


def sensitivities(law, model, request, conditioning):
    """Derivatives of what is predicted for the LLMs of a request.

    Parameters
    ----------
    law : ParameterLaw
    model : LatentSkillModel
    request : Request
    conditioning : ConditioningScores
    """
    at = _Modes(law, model, request, conditioning)
    n, (j, k) = len(request), at.centre.loadings.shape
    d = law.root.shape[1]
    out = Sensitivities(np.empty((d, n, k)), np.empty((d, n, j)), np.empty((d, j)))
    for number, direction in enumerate(law.root.T):
        up, down = (law.structure(law.centre + sign * _STEP * direction) for sign in (1.0, -1.0))
        step = at.movement(up, down)
        ends = [at.predicted(structure, step, sign) for structure, sign in ((up, 0.5), (down, -0.5))]
        out.theta[number], out.logit_mean[number], out.log_precision[number] = (
            (one - other) / (2.0 * _STEP) for one, other in zip(*ends, strict=True)
        )
    out.theta[:] = out.theta @ law.turn.T
    return out


class _Modes:
    """Modes of the effects of the families of the conditioning scores at the centre of the law, and how they move.

    Effects are kept level by level: of families in the order of the conditioning scores, of LLMs by their rows in the
    design of these. The last effect of each level is that of unseen units: zero.
    """

    def __init__(self, law, model, request, conditioning):
        self.request, self.cells, self.centre = request, conditioning.cells, law.structure(law.centre)
        self.levels, self.k = levels_of(self.centre), len(self.centre.skill_cov)
        codes = {family: code for code, family in enumerate(conditioning.families)}
        rows = [conditioning.rows.get(key, -1) for key in zip(request.families, request.llms, strict=True)]
        places = {"family": [codes.get(family, -1) for family in request.families], "llm": rows}
        llms = 0 if conditioning.cells is None else len(conditioning.cells.design)
        counts = {"family": len(conditioning.families), "llm": llms}
        self.places = [np.array(places[level.name]) for level in self.levels]
        self.effects = [np.zeros((counts[level.name] + 1, level.size(self.k))) for level in self.levels]
        self.curvatures, self.members = [], []
        if conditioning.cells is None:
            return
        start = posterior_modes(self.centre, self.cells).alpha
        for family, target in enumerate(family_targets(self.centre, self.cells)):
            v, curvature = target.climb(start[family])
            self._place(self.effects, family, target.rows, v)
            self.curvatures.append(curvature)
            self.members.append(target.rows)

    def _place(self, effects, family, rows, v):
        """Put a family's effects and those of its LLMs, one vector v, where they belong."""
        d = effects[0].shape[1]
        effects[0][family] = v[:d]
        for one in effects[1:]:
            one[rows] = v[d:].reshape(len(rows), -1)

    def _gradient(self, structure):
        """Of log p(y, v) in all effects, held still, level by level: arrays (L, D) and (N, D)."""
        cells, lambdas = self.cells, structure.loadings[self.cells.item]
        of_cell, places = {"family": cells.family, "llm": cells.row}, {"family": slice(None), "llm": cells.llm_rows}
        by_level = [level.loadings(structure, lambdas, cells.random_cells) for level in self.levels]
        _, eta = fixed_part(structure, cells)
        for level, loadings, effects in zip(self.levels, by_level, self.effects, strict=True):
            eta = eta + np.einsum("cd,cd->c", loadings, effects[of_cell[level.name]])
        e = cell_terms(eta[:, None], cell_parameters(structure, cells), cells, slice(None), 1)["e"]
        out = []
        for level, loadings, effects in zip(self.levels, by_level, self.effects, strict=True):
            gradient = -effects[:-1] @ np.linalg.inv(level.covariance(structure))
            gradient[places[level.name]] += cells.units(level.name).sum_cells(e * loadings)
            out.append(gradient)
        return out

    def movement(self, up, down):
        """Change of all effects between two parameter points, level by level, as ``effects``."""
        moved = [np.zeros_like(effects) for effects in self.effects]
        if self.cells is not None:
            ends = zip(self._gradient(up), self._gradient(down), strict=True)
            shared, *inner = [one - other for one, other in ends]
            for family, (curvature, rows) in enumerate(zip(self.curvatures, self.members, strict=True)):
                right = np.concatenate([shared[family], *(change[rows].ravel() for change in inner)])
                self._place(moved, family, rows, np.linalg.solve(curvature, right))
        return moved

    def predicted(self, structure, change, sign):
        """Skills, logit of expected scores and log precision at parameters, effects moved by ``sign`` ``change``."""
        theta = self.request.x @ structure.slopes
        for level, effects, moves, places in zip(self.levels, self.effects, change, self.places, strict=True):
            theta = theta + level.added(structure, (effects + sign * moves)[places], self.request.random)
        eta = theta @ structure.loadings.T + structure.intercepts
        # nearer to 0 or 1 doubles have no logit
        location = np.clip(locations(structure, eta), 1e-12, 1.0 - 1e-12)
        return theta, logit(location), np.log(structure.precision)
