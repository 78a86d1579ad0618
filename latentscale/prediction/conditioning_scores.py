"""The scores that predictions condition on: those of the fit, and new scores of the LLMs to be predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..components.cells import Cells
from ..models.latent_skill import LatentSkillLaw


@dataclass(frozen=True)
class ConditioningScores:
    """Scores of the families that are predicted.

    Attributes
    ----------
    families : tuple of str
        Families with a score, in the order of their codes in ``cells``.
    cells : Cells or None
        Their scores, with covariates in users' units; None where no family has a score.
    rows : dict of (str, str) to int
        Row of the design of ``cells`` for each pair of family and LLM.
    """

    families: tuple[str, ...]
    cells: Cells | None
    rows: dict[tuple[str, str], int]


def gather_conditioning_scores(
    model: LatentSkillLaw,
    llms: Sequence[str] | pd.Index,
    families: Sequence[str] | pd.Index,
    x: np.ndarray,
    scores: np.ndarray | None = None,
    dispersion: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> ConditioningScores:
    """Return the scores of the fit's LLMs of some families, together with new scores of LLMs of these families.

    Parameters
    ----------
    model : LatentSkillLaw
    llms, families : sequences of n names
        The LLMs to be predicted.
    x : array (n, p)
        Their covariates.
    scores : array (n, J), optional
        Their own scores to condition on, NaN where missing. If an LLM of the fit (the same name in the same family) is
        given scores again, only the new ones count.
    dispersion : array (n, q), optional
        Covariates of their precisions, where the model has such.
    groups : int array (n,), optional
        Their groups, as positions in ``model.groups``, where families are nested in such; -1 for unseen ones. All
        families of a group are conditioned on.

    Returns
    -------
    ConditioningScores
    """
    wanted, asked = set(families), list(zip(families, llms, strict=True))
    has_scores = np.zeros(len(asked), dtype=bool) if scores is None else np.isfinite(scores).any(axis=1)
    given_again = {key for key, has in zip(asked, has_scores, strict=True) if has}
    fitted = list(zip(model.families[model.family_codes], model.llms, strict=True))
    in_group = np.isin(model.group_codes, groups) if groups is not None else np.zeros(len(fitted), dtype=bool)
    kept = [
        row for row, key in enumerate(fitted) if (key[0] in wanted or in_group[row]) and key not in given_again
    ]
    prepared = model.prepared
    y, state, design = prepared.y[kept], prepared.state[kept], model.design.x[kept]
    known = None if model.dispersion is None else model.dispersion[kept]
    rows = [fitted[row] for row in kept]
    if has_scores.any():
        new = [asked[row] for row in np.flatnonzero(has_scores)]
        new_y, new_state = prepared.prepare_new(np.asarray(scores)[has_scores], [llm for _, llm in new])
        y, state = np.vstack([y, new_y]), np.vstack([state, new_state])
        design, rows = np.vstack([design, x[has_scores]]), rows + new
        if known is not None and dispersion is not None:
            known = np.vstack([known, dispersion[has_scores]])
    if not rows:
        return ConditioningScores((), None, {})
    names, codes = np.unique([family for family, _ in rows], return_inverse=True)
    random = model.random_covariates(design)
    outermost, nested = codes, None
    if groups is not None:
        of_row = [f"group {code}" for code in model.group_codes[kept]]
        # families of unseen groups are groups of their own
        of_row += [
            f"group {groups[row]}" if groups[row] >= 0 else f"family {asked[row][0]}"
            for row in np.flatnonzero(has_scores)
        ]
        outermost, nested = np.unique(of_row, return_inverse=True)[1], codes
    cells = Cells.from_tables(
        model.score_law, y, state, prepared.edge, outermost, design, random, known, nested
    )
    return ConditioningScores(tuple(names.tolist()), cells, {key: row for row, key in enumerate(rows)})
