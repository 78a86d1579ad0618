"""Influence of families, groups of families and LLMs on the estimates: one Newton step without each of them."""


from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..checks import check_one_of
from ..errors import DataError
from ..likelihood.family_scores import family_information, family_scores
from ..likelihood.objective import Objective
from ..plots.influence import plot_influence
from .covariance import require_information

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..results.latent_skill import LatentSkillResults

UNITS = ("family", "llm", "group")
_TOLD = 5
_MOST = 0.5  # share of the information in a direction above which a unit's own is cut


@dataclass(frozen=True, eq=False)
class Influence:
    """How far estimates would move without each unit, by one Newton step.

    Attributes
    ----------
    by : {"family", "llm", "group"}
        The units.
    changes : DataFrame (units, P)
        Change of each estimate without the unit, in its standard errors.
    cook : Series (units,)
        Cook's distance: the squared length of the change in standard errors of all parameters together, divided by the
        number of parameters.
    """

    by: str
    changes: pd.DataFrame
    cook: pd.Series

    def worst(self, count: int = _TOLD) -> pd.DataFrame:
        """Return the units of the largest Cook's distances, with the parameters that each moves most.

        Returns
        -------
        DataFrame
            By unit: cook, parameter (moved most) and change (of it, in standard errors).
        """
        order = self.cook.sort_values(ascending=False).index[:count]
        most = self.changes.loc[order].abs().idxmax(axis=1)
        moved = [self.changes.loc[unit, name] for unit, name in most.items()]
        return pd.DataFrame({"cook": self.cook[order], "parameter": most, "change": moved})

    def plot(self, parameter: str | None = None, ax: Axes | None = None) -> Axes:
        """Plot Cook's distances, or the changes of one parameter, of the units with the largest."""
        values = self.cook if parameter is None else self.changes[parameter]
        words = "Cook's distance" if parameter is None else f"change of {parameter} without it, in standard errors"
        return plot_influence(values, words, ax)

    def __str__(self) -> str:
        units = {"family": "families", "llm": "LLMs", "group": "groups of families"}[self.by]
        lines = [f"Influence of {len(self.cook)} {units}, by one Newton step without each"]
        for unit, row in self.worst().iterrows():
            lines.append(
                f"{unit}: Cook's distance {row['cook']:.2f}; moves {row['parameter']} by {row['change']:+.2f} s.e."
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def influence(fit: LatentSkillResults, by: str = "family") -> Influence:
    """Return how far estimates would move without each unit.

    Without the scores of unit l the estimate moves by -(I - I_l)^-1 s_l in one Newton step, where I is the observed
    information, and s_l and I_l are the unit's contributions to the score and to it. A direction in which a unit has
    more than half of the information counts as one in which it has half, as the log-likelihood is far from quadratic
    there: such units are to be left out and the model fitted again. For LLMs, whose scores depend on those of their
    family, s_l is the difference that leaving their scores out makes to their family's score, and I_l is left out.

    Parameters
    ----------
    fit : LatentSkillResults
    by : {"family", "llm", "group"}
        ``"group"`` needs the panel's groups. Of a nested model groups are the independent units, and families are taken
        out as LLMs are.

    Returns
    -------
    Influence

    Raises
    ------
    DataError
        If the fit has no observed information, or the panel no groups.
    """
    check_one_of("by", by, UNITS)
    require_information(fit, "influence")
    model, estimate = fit.model, fit.estimate
    objective, v = estimate.objective(model), estimate.coordinates
    if by == "group" and model.panel.groups is None:
        raise DataError("by='group' needs the panel's groups: BenchmarkPanel(..., groups='base_family').")
    if by == "llm" or (by == "family" and model.nested):
        labels, scores = _without(fit, objective, v, by)
        moves = -scores @ fit.observed.free
    else:
        labels, scores, information = _of_units(fit, objective, v, by)
        moves = np.stack([
            _step(estimate.information, part, score) for score, part in zip(scores, information, strict=True)
        ])  # fmt: skip
    error = np.sqrt(np.diag(fit.observed.matrix))
    natural = moves @ fit.observed.jacobian.T
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.where(error > 0.0, natural / error, 0.0)
    index = pd.Index(labels, name=by)
    distance = np.einsum("ud,de,ue->u", moves, estimate.information, moves) / moves.shape[1]
    return Influence(by, pd.DataFrame(changes, index, list(model.param_names)), pd.Series(distance, index, name="cook"))


def _step(information: np.ndarray, part: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return -(I - I_l)^-1 s_l with shares of the unit in I above ``_MOST`` cut."""
    root = np.linalg.cholesky(information)
    whitened = np.linalg.solve(root, np.linalg.solve(root, part).T)
    shares, vectors = np.linalg.eigh(0.5 * (whitened + whitened.T))
    along = vectors.T @ np.linalg.solve(root, score) / (1.0 - np.minimum(shares, _MOST))
    return -np.linalg.solve(root.T, vectors @ along)


def _of_units(
    fit: LatentSkillResults, objective: Objective, v: np.ndarray, by: str
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names, scores and information of independent units, or of groups of them."""
    model, rule = fit.model, fit.estimate.rule
    scores, information = family_scores(objective, v, rule), family_information(objective, v, rule)
    if by == "family" or model.nested:
        return [str(name) for name in model.groups], scores, information
    groups = model.panel.groups[model.rows.keep].to_numpy()  # type: ignore[index]
    names, codes = np.unique(groups, return_inverse=True)
    of_family = codes[np.unique(model.family_codes, return_index=True)[1]]
    summed = np.zeros((len(names), scores.shape[1]))
    np.add.at(summed, of_family, scores)
    parts = np.zeros((len(names), *information.shape[1:]))
    np.add.at(parts, of_family, information)
    return [str(name) for name in names], summed, parts


def _without(fit: LatentSkillResults, objective: Objective, v: np.ndarray, by: str) -> tuple[list[str], np.ndarray]:
    """Return names of units, and what their scores add to the score of the independent unit that they lie in."""
    model, rule, cells = fit.model, fit.estimate.rule, objective.cells
    if by == "llm":
        unit_of_cell, labels = cells.row, [str(name) for name in model.llms]
    else:
        unit_of_cell, labels = cells.codes("family")[cells.units("family").of_cell], [str(x) for x in model.families]
    whole, out = family_scores(objective, v, rule), np.zeros((len(labels), len(v)))
    for unit in np.unique(unit_of_cell):
        number = cells.family[np.argmax(unit_of_cell == unit)]
        first, last = cells.bounds[number], cells.bounds[number + 1]
        kept = np.zeros(cells.n_cells, dtype=bool)
        kept[first:last] = unit_of_cell[first:last] != unit
        out[unit] = whole[number]
        if kept.any():
            rest = Objective(objective.space, cells.chosen(kept), objective.penalty)
            out[unit] -= family_scores(rest, v, rule)[0]
    return labels, out
