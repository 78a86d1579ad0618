"""The scores that predictions condition on: those of the fit, and new ones of the LLMs to be predicted."""

from dataclasses import dataclass

import numpy as np

from ..components.cells import Cells
from ..errors import DataError
from ..tables import some


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
        new_y, new_state = prepare_new(model, np.asarray(scores)[given], [llm for _, llm in new])
        y, state = np.vstack([y, new_y]), np.vstack([state, new_state])
        design, rows = np.vstack([design, x[given]]), rows + new
    if not rows:
        return Evidence((), None, {})
    names, codes = np.unique([family for family, _ in rows], return_inverse=True)
    random = model.random_covariates(design) if model.random_terms else None
    cells = Cells.from_tables(y, state, prepared.edge, codes, design, random)
    return Evidence(tuple(names.tolist()), cells, {key: row for row, key in enumerate(rows)})


def prepare_new(model, scores, llms):
    """New scores (n, J) under the fit's boundary policy: values in (0, 1) or NaN, and states as in ``Cells``.

    Under ``"squeeze"`` a benchmark whose scores were squeezed in the fit is squeezed by the same formula, with the
    fit's number of scores; in other benchmarks a score of 0 or 1 alone is.

    Raises
    ------
    DataError
        If scores lie outside [0, 1], or are 0 or 1 under ``boundary="error"``.
    """
    prepared, policy = model.prepared, model.panel.boundary
    outside = (scores < 0.0) | (scores > 1.0)
    at_edge = (scores == 0.0) | (scores == 1.0)
    bad = outside | at_edge if policy == "error" else outside
    if bad.any():
        where = [f"{model.benchmarks[j]} of {llms[i]}" for i, j in zip(*np.nonzero(bad), strict=True)]
        kind = "0 or 1, which boundary='error' refuses" if not outside.any() else "outside [0, 1]"
        raise DataError(f"Scores {kind}: {some(where)}.")
    y, state = scores.astype(float), np.where(np.isnan(scores), -1, 0).astype(np.int8)
    if policy == "squeeze":
        n = np.broadcast_to(prepared.n_observed, y.shape)
        moved = squeezed(model) | at_edge
        y = np.where(moved, (y * (n - 1) + 0.5) / n, y)
    elif policy == "censor":
        edge = np.broadcast_to(prepared.edge, y.shape)
        state[scores == 0.0], state[scores == 1.0] = 1, 2
        y = np.where(scores == 0.0, edge, np.where(scores == 1.0, 1.0 - edge, y))
    return y, state


def squeezed(model):
    """Benchmarks whose scores the fit squeezed, bool (J,)."""
    counts = model.prepared.boundary_counts
    return np.array([model.panel.boundary == "squeeze" and counts[name] > 0 for name in model.benchmarks])


def recorded(model, y):
    """Scores of the likelihood (..., J) as a table would record them.

    Squeezing is undone: what lies beyond the squeezed 0 or 1 is recorded as 0 or 1. Under ``"censor"`` what lies within
    half a rounding unit of 0 or 1 is.
    """
    if model.panel.boundary == "censor":
        edge = model.prepared.edge
        return np.where(y <= edge, 0.0, np.where(y >= 1.0 - edge, 1.0, y))
    n, moved = model.prepared.n_observed, squeezed(model)
    out = np.array(y)
    out[..., moved] = np.clip((out[..., moved] * n[moved] - 0.5) / (n[moved] - 1.0), 0.0, 1.0)
    return out
