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

from ..components.complete import effect_loadings, effects_cov, fixed_part
from ..components.response import cell_parameters, cell_terms, mean_score
from ..likelihood.modes import posterior_modes
from .sampling import family_targets

_STEP = 0.05  # of a standard deviation of the parameters' law


@dataclass(frozen=True)
class Sensitivities:
    """Derivatives in the d standardised directions of the parameters' law.

    Attributes
    ----------
    theta : array (d, n, K)
        Of the LLMs' skills, in the coordinates of the fit.
    logit_mean : array (d, n, J)
        Of logit mu_ij.
    log_precision : array (d, J)
    """

    theta: np.ndarray
    logit_mean: np.ndarray
    log_precision: np.ndarray


def sensitivities(law, model, request, evidence):
    """Derivatives of what is predicted for the LLMs of a request.

    Parameters
    ----------
    law : ParameterLaw
    model : LatentSkillModel
    request : Request
    evidence : Evidence
    """
    at = _Modes(law, model, request, evidence)
    n, (j, k) = len(request), at.centre.loadings.shape
    d = law.root.shape[1]
    out = Sensitivities(np.empty((d, n, k)), np.empty((d, n, j)), np.empty((d, j)))
    for number, direction in enumerate(law.root.T):
        up, down = (law.structure(law.centre + sign * _STEP * direction) for sign in (1.0, -1.0))
        step = at.movement(up, down)
        ends = [at.predicted(structure, sign * step) for structure, sign in ((up, 0.5), (down, -0.5))]
        out.theta[number], out.logit_mean[number], out.log_precision[number] = (
            (one - other) / (2.0 * _STEP) for one, other in zip(*ends, strict=True)
        )
    out.theta[:] = out.theta @ law.turn.T
    return out


class _Modes:
    """Modes of the effects of the evidence's families at the centre of the law, and how they move."""

    def __init__(self, law, model, request, evidence):
        self.request, self.cells, self.centre = request, evidence.cells, law.structure(law.centre)
        self.k, self.d = len(self.centre.skill_cov), len(effects_cov(self.centre))
        codes = {family: code for code, family in enumerate(evidence.families)}
        self.code = np.array([codes.get(family, -1) for family in request.families])
        rows = [evidence.rows.get(key, -1) for key in zip(request.families, request.llms, strict=True)]
        self.row = np.array(rows)
        families, llms = len(evidence.families), 0 if evidence.cells is None else len(evidence.cells.design)
        # effects of all families, then e_i of all LLMs with scores; the last of each is that of the unseen: zero
        self.alpha, self.own = np.zeros((families + 1, self.d)), np.zeros((llms + 1, self.k))
        self.curvatures, self.members = [], []
        if evidence.cells is None:
            return
        start = posterior_modes(self.centre, self.cells).alpha
        for family, target in enumerate(family_targets(self.centre, self.cells)):
            v, curvature = target.climb(start[family])
            self.alpha[family] = v[: self.d]
            self.own[target.rows] = v[self.d :].reshape(-1, self.k)
            self.curvatures.append(curvature)
            self.members.append(target.rows)

    def _gradient(self, structure):
        """Of log p(y, v) in all effects, held still: (L, D) and (N, K)."""
        cells, sd = self.cells, structure.kappa
        loadings = effect_loadings(structure, cells)[:, : self.d]
        _, base = fixed_part(structure, cells)
        steep = sd * structure.loadings[cells.item]
        eta = base + np.einsum("cd,cd->c", loadings, self.alpha[cells.family])
        eta += np.einsum("ck,ck->c", steep, self.own[cells.row])
        e = cell_terms(eta[:, None], cell_parameters(structure, cells), cells, slice(None), 1)["e"]
        shared = cells.sum_by_family(e * loadings) - self.alpha[:-1] @ np.linalg.inv(effects_cov(structure))
        own = -self.own[:-1] @ np.linalg.inv(structure.skill_cov)
        np.add.at(own, cells.row, e * steep)
        return shared, own

    def movement(self, up, down):
        """Change of all effects between two parameter points: (L + 1 + N + 1, ...) as one flat vector of effects."""
        alpha, own = np.zeros_like(self.alpha), np.zeros_like(self.own)
        if self.cells is not None:
            ends = [self._gradient(structure) for structure in (up, down)]
            shared, mine = ends[0][0] - ends[1][0], ends[0][1] - ends[1][1]
            for family, (curvature, rows) in enumerate(zip(self.curvatures, self.members, strict=True)):
                v = np.linalg.solve(curvature, np.append(shared[family], mine[rows].ravel()))
                alpha[family], own[rows] = v[: self.d], v[self.d :].reshape(-1, self.k)
        return np.concatenate([alpha.ravel(), own.ravel()])

    def predicted(self, structure, change):
        """Skills, logit of expected scores and log precision at parameters, effects moved by ``change``."""
        alpha = self.alpha + change[: self.alpha.size].reshape(self.alpha.shape)
        own = self.own + change[self.alpha.size :].reshape(self.own.shape)
        alpha, own = alpha[self.code], own[self.row]
        theta = alpha[:, : self.k] + self.request.x @ structure.slopes + structure.kappa * own
        for number, tau in enumerate(structure.slope_sd):
            z = alpha[:, self.k * (1 + number) : self.k * (2 + number)]
            theta = theta + self.request.random[:, number, None] * tau * z
        eta = theta @ structure.loadings.T + structure.intercepts
        # nearer to 0 or 1 doubles have no logit
        mean = np.clip(mean_score(eta, structure.lower, structure.upper, structure.link), 1e-12, 1.0 - 1e-12)
        return theta, logit(mean), np.log(structure.precision)
