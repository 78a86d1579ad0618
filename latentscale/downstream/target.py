"""The target of a regression on skills: its scores, its parameters, and the maps between them.

``latentscale.downstream.target_fit`` has the model, and the meaning of the coordinates zeta.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import block_diag

from ..components.cells import Cells
from ..components.complete import layout_of
from ..components.free_curves import FreeCurves

if TYPE_CHECKING:
    from ..components.score_laws import ScoreLaw
    from ..model import LatentSkillModel
    from ..parameters.structure import Structure


@dataclass(frozen=True)
class Target:
    """Scores of the target, and what of its law is free.

    Attributes
    ----------
    y : array (n,)
        Of the LLMs in the first stage's likelihood, strictly inside (0, 1); NaN where missing.
    state : int8 array (n,)
        0 observed, 1 and 2 censored, -1 missing, as in ``Cells``.
    edge : float
    skills : int array (q,)
        The skills that may load; the other loadings are zero.
    chance : float
        Guessing level, the lower asymptote unless that is free.
    asymptotes : {"chance", "lower", "both"}
    shrink : float or None
        e of the penalty -lambda' Sigma lambda / (2 e^2) on the loadings.
    score_law : ScoreLaw
        The law of a score, that of the first stage.
    family_effect : bool
        Whether there is a u_l.
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
        """The target's curve as a function of its free asymptotes' coordinates."""
        return FreeCurves("logistic", self.asymptotes, np.array([self.chance]))

    @property
    def free(self) -> str:
        """Free asymptotes, of "c" and "d"."""
        return self.curves.free

    @property
    def places(self) -> dict[str, slice]:
        """Where the coordinates zeta are, a dict of slices: loadings, intercept, precision, ends and family_sd."""
        sizes = {"loadings": len(self.skills), "intercept": 1, "precision": int(self.score_law.has_precision)}
        sizes |= {"ends": len(self.free), "family_sd": int(self.family_effect)}
        last = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), last, strict=True)}

    @property
    def size(self) -> int:
        """Coordinates zeta."""
        return self.places["family_sd"].stop

    def asymptotes_at(self, zeta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c and d at coordinates (Z,) or draws of them (S, Z): arrays (1,) or (S,).

        Draws that would have d below c, as the errors of logit c and logit d are drawn apart, have d = c: a flat curve.
        """
        ends = zeta[..., self.places["ends"]]
        ends = ends[None] if ends.ndim == 1 else ends
        lower, upper = self.curves.lower(ends), self.curves.upper(ends)
        return lower, np.maximum(lower, upper)


@dataclass(frozen=True)
class TargetLaw:
    """Parameters of the target on the natural scale: loadings (K,), intercept, precision, lower, upper, s (or None).

    The precision is 1 where the law of a score has none.
    """

    loadings: np.ndarray
    intercept: float
    precision: float
    lower: float
    upper: float
    family_sd: float | None = None


# --- between coordinates and structures --------------------------------------------------------------------------


def target_law(target: Target, zeta: np.ndarray, n_skills: int) -> TargetLaw:
    """zeta -> TargetLaw."""
    at = target.places
    loadings = np.zeros(n_skills)
    loadings[target.skills] = zeta[at["loadings"]]
    (lower,), (upper,) = target.asymptotes_at(zeta)
    precision = float(np.exp(zeta[at["precision"]])[0]) if target.score_law.has_precision else 1.0
    family_sd = abs(float(zeta[-1])) if target.family_effect else None
    return TargetLaw(loadings, float(zeta[at["intercept"]][0]), precision, float(lower), float(upper), family_sd)


def carried(target: Target, zeta: np.ndarray, n_skills: int) -> np.ndarray:
    """d natural / d zeta, (Z,)."""
    out, at = np.ones(target.size), target.places
    out[at["precision"]] = target_law(target, zeta, n_skills).precision
    out[at["ends"]] = target.curves.ends(zeta[at["ends"]])[1]
    if target.family_effect:
        out[-1] = np.sign(zeta[-1])
    return out


def extended(structure: Structure, law: TargetLaw) -> Structure:
    """The Structure with the target as its last benchmark, under the logistic link, and u_l / s as its last skill."""
    if law.family_sd is not None:
        structure = _with_specific_skill(structure)
        law = replace(law, loadings=np.append(law.loadings, law.family_sd))
    return replace(
        structure,
        loadings=np.vstack([structure.loadings, law.loadings]),
        intercepts=np.append(structure.intercepts, law.intercept),
        precision=np.append(structure.precision, law.precision),
        lower=np.append(structure.lower, law.lower),
        upper=np.append(structure.upper, law.upper),
        # a link whose coordinates are all zero is the logistic one
        link=np.vstack([structure.link, np.zeros((1, structure.link.shape[1]))]),
    )


def _with_specific_skill(structure: Structure) -> Structure:
    """One more skill of unit variance, which nothing loads on and no covariate moves."""

    def widened(matrix: np.ndarray) -> np.ndarray:
        return np.hstack([matrix, np.zeros((len(matrix), 1))])

    return replace(
        structure,
        loadings=widened(structure.loadings),
        slopes=widened(structure.slopes),
        skill_cov=block_diag(structure.skill_cov, 1.0),
        scales={name: widened(values) if values.ndim == 2 else values for name, values in structure.scales.items()},
    )


def target_cells(model: LatentSkillModel, target: Target, scored: bool = True) -> Cells:
    """Cells of the families with a score of the target: of J + 1 benchmarks, in users' covariates.

    Parameters
    ----------
    model : LatentSkillModel
    target : Target
    scored : bool
        Whether the target's scores are among the cells.

    Returns
    -------
    Cells
    """
    prepared, codes = model.prepared, model.family_codes
    rows = np.isin(codes, np.unique(codes[target.state >= 0]))
    y = np.column_stack([prepared.y, target.y])[rows]
    state = np.column_stack([prepared.state, target.state if scored else np.full_like(target.state, -1)])[rows]
    _, family = np.unique(codes[rows], return_inverse=True)
    edge = np.append(prepared.edge, target.edge)
    return Cells.from_tables(
        target.score_law, y, state.astype(np.int8), edge, family, model.design.x[rows], model.random_design[rows]
    )


def stable_vector(structure: Structure) -> np.ndarray:
    """The structural vector with precisions logged, in which the first stage's estimates are nearly normal."""
    where = layout_of(structure).slices["precision"]
    s = layout_of(structure).flatten(structure)
    s[where] = np.log(s[where])
    return s
