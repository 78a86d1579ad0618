"""The target of a regression on skills: its scores, its parameters, and the maps between them.

``latentscale.downstream.target_fit`` has the model, and the meaning of the coordinates zeta.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import block_diag

from ..components.cells import Cells
from ..components.free_curves import FreeCurves
from ..components.linear_predictor import layout_of
from ..errors import DataError
from ..parameters.kinds import BENCHMARK_SD, EQUAL_BENCHMARK_SD

if TYPE_CHECKING:
    from ..components.score_laws import ScoreLaw
    from ..model import LatentSkillModel
    from ..parameters.structure import Structure


@dataclass(frozen=True)
class Target:
    """The scores of the target, and which of its parameters are free.

    Attributes
    ----------
    y : array (n,)
        Scores of the LLMs in the likelihood of the first stage, strictly between 0 and 1; NaN where missing.
    state : int8 array (n,)
        0 for observed scores, 1 and 2 for scores censored at 0 and at 1, -1 for missing ones, as in ``Cells``.
    edge : float
        Distance from 0 and 1 within which scores are censored.
    skills : int array (q,)
        Positions of the skills whose loadings are free; the other loadings are zero.
    chance : float
        Guessing level: the lower asymptote, unless that is free.
    asymptotes : {"chance", "lower", "both"}
    shrink : float or None
        Standard deviation e of the penalty -lambda' Sigma lambda / (2 e^2) on the loadings.
    score_law : ScoreLaw
        The law of a score, the same as in the first stage.
    family_effect : bool
        Whether families have effects u_l on the target.
    """

    y: np.ndarray
    state: np.ndarray
    edge: float
    skills: np.ndarray
    chance: float
    asymptotes: str
    shrink: float | None
    score_law: ScoreLaw
    family_effect: bool = False

    @property
    def curves(self) -> FreeCurves:
        """The target's curve as a function of the coordinates of its free asymptotes."""
        return FreeCurves("logistic", self.asymptotes, np.array([self.chance]))

    @property
    def free(self) -> str:
        """The free asymptotes: "", "c" or "cd"."""
        return self.curves.free

    @property
    def places(self) -> dict[str, slice]:
        """Slices of zeta, a dict with loadings, intercept, precision, ends (of the free asymptotes) and family_sd."""
        sizes = {"loadings": len(self.skills), "intercept": 1, "precision": int(self.score_law.has_precision)}
        sizes |= {"ends": len(self.free), "family_sd": int(self.family_effect)}
        last = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), last, strict=True)}

    @property
    def size(self) -> int:
        """Length Z of zeta."""
        return self.places["family_sd"].stop

    def asymptotes_at(self, zeta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the asymptotes c and d at coordinates (Z,) or at draws of them (S, Z): arrays (1,) or (S,).

        Errors of logit c and logit d are drawn without regard to c < d. Draws with d < c get d = c, a flat curve.
        """
        ends = zeta[..., self.places["ends"]]
        ends = ends[None] if ends.ndim == 1 else ends
        lower, upper = self.curves.lower(ends), self.curves.upper(ends)
        return lower, np.maximum(lower, upper)


@dataclass(frozen=True)
class TargetLaw:
    """Parameters of the target.

    Attributes
    ----------
    loadings : array (K,)
    intercept : float
    precision : float
        1 where the law of a score has no precision.
    lower, upper : float
        Asymptotes c and d.
    family_sd : float or None
        Standard deviation s of the family effects u_l, None if there are none.
    """

    loadings: np.ndarray
    intercept: float
    precision: float
    lower: float
    upper: float
    family_sd: float | None = None


# --- between coordinates and structures --------------------------------------------------------------------------


def target_law(target: Target, zeta: np.ndarray, n_skills: int) -> TargetLaw:
    """Return the parameters of the target at coordinates zeta (Z,)."""
    at = target.places
    loadings = np.zeros(n_skills)
    loadings[target.skills] = zeta[at["loadings"]]
    (lower,), (upper,) = target.asymptotes_at(zeta)
    precision = float(np.exp(zeta[at["precision"]])[0]) if target.score_law.has_precision else 1.0
    family_sd = abs(float(zeta[-1])) if target.family_effect else None
    return TargetLaw(loadings, float(zeta[at["intercept"]][0]), precision, float(lower), float(upper), family_sd)


def natural_derivatives(target: Target, zeta: np.ndarray, n_skills: int) -> np.ndarray:
    """Return the derivative of each parameter with respect to its coordinate, array (Z,)."""
    out, at = np.ones(target.size), target.places
    out[at["precision"]] = target_law(target, zeta, n_skills).precision
    out[at["ends"]] = target.curves.ends(zeta[at["ends"]])[1]
    if target.family_effect:
        out[-1] = np.sign(zeta[-1])
    return out


def extended(structure: Structure, law: TargetLaw) -> Structure:
    """Return the parameters of the first stage with the target as one more benchmark, which has the logistic link.

    If families have effects u_l on the target, u_l / s becomes one more skill, on which the target loads by s.
    """
    if law.family_sd is not None:
        structure = _with_specific_skill(structure)
        law = replace(law, loadings=np.append(law.loadings, law.family_sd))
    count, slopes = len(structure.loadings), structure.precision_slopes
    own_slopes = np.hstack([np.broadcast_to(slopes, (len(slopes), count)), np.zeros((len(slopes), 1))])
    return replace(
        structure,
        loadings=np.vstack([structure.loadings, law.loadings]),
        intercepts=np.append(structure.intercepts, law.intercept),
        precision=np.append(structure.precision, law.precision),
        lower=np.append(structure.lower, law.lower),
        upper=np.append(structure.upper, law.upper),
        # coordinates of zero make the link logistic
        link=np.vstack([structure.link, np.zeros((1, structure.link.shape[1]))]),
        scales=_with_target_scales(structure.scales, count),
        precision_slopes=own_slopes if len(slopes) else slopes,
    )


def _with_target_scales(scales: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Return standard deviations of effects on ``count`` benchmarks with a zero for the target, which has its own."""
    out = dict(scales)
    by_benchmark = [out.pop(kind.name) for kind in (BENCHMARK_SD, EQUAL_BENCHMARK_SD) if kind.name in out]
    for values in by_benchmark:
        out[BENCHMARK_SD.name] = np.append(np.broadcast_to(values, (count,)), 0.0)
    return out


def _with_specific_skill(structure: Structure) -> Structure:
    """Return the parameters with one more skill of unit variance, with loadings and slopes of zero."""

    def widened(matrix: np.ndarray) -> np.ndarray:
        return np.hstack([matrix, np.zeros((len(matrix), 1))])

    return replace(
        structure,
        loadings=widened(structure.loadings),
        slopes=widened(structure.slopes),
        skill_cov=block_diag(structure.skill_cov, 1.0),
        scales={name: widened(values) if values.ndim == 2 else values for name, values in structure.scales.items()},
    )


def target_cells(model: LatentSkillModel, target: Target, with_target: bool = True) -> Cells:
    """Return the scores, on J + 1 benchmarks, of the families in which some LLM has a score of the target.

    Parameters
    ----------
    model : LatentSkillModel
    target : Target
    with_target : bool
        Whether the target's scores are among them.

    Returns
    -------
    Cells
        With covariates as the user gave them.
    """
    if model.nested:
        raise DataError("Regressions on skills need families that are independent: fit with nested=False for these.")
    prepared, codes = model.prepared, model.family_codes
    rows = np.isin(codes, np.unique(codes[target.state >= 0]))
    y = np.column_stack([prepared.y, target.y])[rows]
    state = np.column_stack([prepared.state, target.state if with_target else np.full_like(target.state, -1)])[rows]
    _, family = np.unique(codes[rows], return_inverse=True)
    edge = np.append(prepared.edge, target.edge)
    dispersion = None if model.dispersion is None else model.dispersion[rows]
    return Cells.from_tables(
        target.score_law, y, state.astype(np.int8), edge, family, model.design.x[rows], model.random_design[rows],
        dispersion,
    )  # fmt: skip


def stable_vector(structure: Structure) -> np.ndarray:
    """Return the structural vector with the logarithms of precisions, in which estimates are nearly normal."""
    where = layout_of(structure).slices["precision"]
    s = layout_of(structure).flatten(structure)
    s[where] = np.log(s[where])
    return s
