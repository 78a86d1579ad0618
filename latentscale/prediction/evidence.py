"""The scores that predictions condition on: those of the fit, and new ones of the LLMs to be predicted."""

from dataclasses import dataclass

import numpy as np

from ..components.cells import Cells


@dataclass(frozen=True)
class Evidence:
    """Scores of the families that are predicted.

    Attributes
    ----------
    families : tuple of str
        Those with a score, in the order of their codes in ``cells``.
    cells : Cells or None
        In users' covariates; None where no family has a score.
    rows : dict of (str, str) to int
        (family, LLM) to row of the design of ``cells``.
    """

    families: tuple
    cells: object
    rows: dict


def gather_evidence(model, llms, families, x, scores=None):
    """Scores of the fit's LLMs of some families, and scores of new LLMs.

    Parameters
    ----------
    model : LatentSkillModel
    llms, families : sequences of n names
        The LLMs to be predicted.
    x : array (n, p)
        Their covariates.
    scores : array (n, J), optional
        Scores of theirs to condition on, NaN where missing. An LLM of the fit that is given scores again (the same
        name in the same family) counts once, with the new ones.

    Returns
    -------
    Evidence
    """
    wanted, keys = set(families), list(zip(families, llms, strict=True))
    given = np.zeros(len(keys), dtype=bool) if scores is None else np.isfinite(scores).any(axis=1)
    again = {key for key, has in zip(keys, given, strict=True) if has}
    fitted = list(zip(model.families[model.family_codes], model.llms, strict=True))
    kept = [row for row, key in enumerate(fitted) if key[0] in wanted and key not in again]
    prepared = model.prepared
    y, state, design = prepared.y[kept], prepared.state[kept], model.design.x[kept]
    rows = [fitted[row] for row in kept]
    if given.any():
        new = [keys[row] for row in np.flatnonzero(given)]
        new_y, new_state = prepared.prepare_new(np.asarray(scores)[given], [llm for _, llm in new])
        y, state = np.vstack([y, new_y]), np.vstack([state, new_state])
        design, rows = np.vstack([design, x[given]]), rows + new
    if not rows:
        return Evidence((), None, {})
    names, codes = np.unique([family for family, _ in rows], return_inverse=True)
    cells = Cells.from_tables(y, state, prepared.edge, codes, design, model.random_covariates(design))
    return Evidence(tuple(names.tolist()), cells, {key: row for row, key in enumerate(rows)})
