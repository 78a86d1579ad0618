"""How predictions change with the parameters: the delta method for skills and expected scores.

Predictions are not computed at draws of all parameters from their normal law. That law holds along each direction, but
with a hundred parameters a typical draw lies far from the estimate in all directions together, its log-likelihood is
far below what the law says, and predictions there are biased. So predictions are linearised, as the delta method does:
skills as they are, locations of scores on the logit scale, precisions on the log scale.

A family's scores are fixed, so its effects change with the parameters. The implicit function theorem gives that change
at the mode of p(v | y_l; xi).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit

from ..components.cells import Cells
from ..components.levels import levels_of
from ..components.linear_predictor import fixed_part
from ..components.response import cell_parameters, cell_terms, locations, precisions
from ..likelihood.modes import posterior_modes
from ..models.latent_skill import LatentSkillLaw
from ..parameters.structure import Structure
from .conditioning_scores import ConditioningScores
from .importance_sampling import family_targets
from .parameter_law import ParameterLaw

if TYPE_CHECKING:
    from .skill_draws import Request

_STEP = 0.05  # step of differences, in standard deviations of the parameters' law


@dataclass(frozen=True)
class Sensitivities:
    """Derivatives of predictions along the d standardised directions of the parameters' law.

    Attributes
    ----------
    theta : array (d, n, K)
        Of the skills of the LLMs, in the axes of the fit.
    logit_mean : array (d, n, J)
        Of logit mu_ij, where mu_ij is the location of the law of a score.
    log_precision : array (d, n, J), or (d, 1, J)
        Of log phi_ij, or of log phi_j where precisions do not depend on LLMs.
    """

    theta: np.ndarray
    logit_mean: np.ndarray
    log_precision: np.ndarray


def sensitivities(
    law: ParameterLaw, model: LatentSkillLaw, request: "Request", conditioning: ConditioningScores
) -> Sensitivities:
    """Return the derivatives of what is predicted for the LLMs of a request, by central differences.

    Parameters
    ----------
    law : ParameterLaw
    model : LatentSkillLaw
    request : Request
    conditioning : ConditioningScores
        Scores that the predictions condition on.
    """
    modes = _Modes(law, model, request, conditioning)
    n, (j, k) = len(request), modes.centre.loadings.shape
    d = law.root.shape[1]
    rows = 1 if request.dispersion is None else n
    derivatives = Sensitivities(np.empty((d, n, k)), np.empty((d, n, j)), np.empty((d, rows, j)))
    for number, direction in enumerate(law.root.T):
        up, down = (law.structure(law.centre + sign * _STEP * direction) for sign in (1.0, -1.0))
        change = modes.change(up, down)
        ends = [modes.predicted(structure, change, sign) for structure, sign in ((up, 0.5), (down, -0.5))]
        derivatives.theta[number], derivatives.logit_mean[number], derivatives.log_precision[number] = (
            (above - below) / (2.0 * _STEP) for above, below in zip(*ends, strict=True)
        )
    derivatives.theta[:] = derivatives.theta @ law.turn.T
    return derivatives


class _Modes:
    """Modes of the effects of all units with scores at the centre of the law, and how these change with the parameters.

    Effects are kept level by level: those of families in the order of the conditioning scores, those of LLMs by their
    rows in the design of these. The last row of each level, zero, stands for unseen units.
    """

    def __init__(
        self, law: ParameterLaw, model: LatentSkillLaw, request: "Request", conditioning: ConditioningScores
    ) -> None:
        self.request, self.cells, self.centre = request, conditioning.cells, law.structure(law.centre)
        self.levels, self.k = levels_of(self.centre), len(self.centre.skill_cov)
        codes = {family: code for code, family in enumerate(conditioning.families)}
        rows = [conditioning.rows.get(key, -1) for key in zip(request.families, request.llms, strict=True)]
        places = {"family": [codes.get(family, -1) for family in request.families], "llm": rows}
        llms = 0 if self.cells is None else len(self.cells.design)
        counts = {"family": len(conditioning.families), "llm": llms}
        if self.cells is not None and request.groups is not None:
            places["group"], counts["group"] = _groups(model, request, conditioning, self.cells), self.cells.n_families
        elif request.groups is not None:
            places["group"], counts["group"] = [-1] * len(request), 0
        self.places = [np.array(places[level.name]) for level in self.levels]
        self.effects = [np.zeros((counts[level.name] + 1, level.size)) for level in self.levels]
        self.curvatures: list[np.ndarray] = []
        self.blocks: list[list[tuple[int, int, slice]]] = []
        if self.cells is None:
            return
        start, names = posterior_modes(self.centre, self.cells).alpha, [level.name for level in self.levels]
        for alpha, target in zip(start, family_targets(self.centre, self.cells), strict=True):
            v, curvature = target.climb(alpha)
            blocks = [(names.index(block.level), block.code, block.where) for block in target.blocks]
            self.blocks.append(blocks)
            self.curvatures.append(curvature)
            self._place(self.effects, blocks, v)

    def _place(self, effects: list[np.ndarray], blocks: list[tuple[int, int, slice]], v: np.ndarray) -> None:
        """Write v, the effects of one outermost unit and of all units within it, to their rows of ``effects``."""
        for level, code, where in blocks:
            effects[level][code] = v[where]

    def _gradient(self, structure: Structure) -> list[np.ndarray]:
        """Return the gradient of log p(y, v) in all effects at the modes, for other parameters than those of the modes.

        It is a list of arrays, one for each level.
        """
        assert self.cells is not None
        cells = self.cells
        families = cells.codes("family")[cells.units("family").of_cell]
        of_cell = {"group": cells.family, "family": families, "llm": cells.row}
        by_level = [level.loadings(structure, cells.item, cells.random_cells) for level in self.levels]
        _, eta = fixed_part(structure, cells)
        for level, loadings, effects in zip(self.levels, by_level, self.effects, strict=True):
            eta = eta + np.einsum("cd,cd->c", loadings, effects[of_cell[level.name]])
        e = cell_terms(eta[:, None], cell_parameters(structure, cells), cells, slice(None), 1)["e"]
        gradients = []
        for level, loadings, effects in zip(self.levels, by_level, self.effects, strict=True):
            gradient = -effects[:-1] @ np.linalg.inv(level.covariance(structure))
            np.add.at(gradient, of_cell[level.name], e * loadings)
            gradients.append(gradient)
        return gradients

    def change(self, up: Structure, down: Structure) -> list[np.ndarray]:
        """Return the change of all modes between two parameter points, level by level, as ``effects``.

        At the mode the gradient g is zero, so that dv = H^-1 dg, with H the curvature and dg the difference between the
        gradients at fixed effects.
        """
        changes = [np.zeros_like(effects) for effects in self.effects]
        if self.cells is not None:
            ends = zip(self._gradient(up), self._gradient(down), strict=True)
            differences = [above - below for above, below in ends]
            for curvature, blocks in zip(self.curvatures, self.blocks, strict=True):
                right = np.concatenate([differences[level][code] for level, code, _ in blocks])
                self._place(changes, blocks, np.linalg.solve(curvature, right))
        return changes

    def predicted(
        self, structure: Structure, change: list[np.ndarray], sign: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return skills, logits of locations and log precisions at a Structure.

        ``sign`` times ``change`` is added to the effects.
        """
        theta, beside = self.request.x @ structure.slopes, np.zeros(1)
        for level, effects, changes, places in zip(self.levels, self.effects, change, self.places, strict=True):
            moved = (effects + sign * changes)[places]
            theta = theta + level.added(structure, moved, self.request.random)
            beside = beside + level.particular(structure, moved)
        eta = theta @ structure.loadings.T + structure.intercepts + beside
        # nearer to 0 or 1 the logit of a double is too coarse or infinite
        location = np.clip(locations(structure, eta), 1e-12, 1.0 - 1e-12)
        return theta, logit(location), np.log(precisions(structure, self.request.dispersion))


def _groups(
    model: LatentSkillLaw, request: "Request", conditioning: ConditioningScores, cells: Cells
) -> list[int]:
    """Return the row of each LLM's group among the outermost units of the conditioning scores, -1 for an unseen one."""
    of_family = dict(zip(cells.codes("family").tolist(), cells.units("family").family.tolist(), strict=True))
    by_group: dict[int, int] = {}
    known = {family: code for code, family in enumerate(model.families)}
    of_model = model.group_codes[np.unique(model.family_codes, return_index=True)[1]]
    for code, family in enumerate(conditioning.families):
        if family in known:
            by_group[int(of_model[known[family]])] = of_family[code]
    own = {family: of_family[code] for code, family in enumerate(conditioning.families)}
    assert request.groups is not None
    pairs = zip(request.families, request.groups, strict=True)
    return [by_group.get(int(group), own.get(family, -1)) for family, group in pairs]
