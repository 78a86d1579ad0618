"""Starting values: one from the data, any number at random."""


from __future__ import annotations

import numpy as np
from scipy import sparse

from ..components.cells import Cells
from ..components.curve import starting_lower, starting_upper
from ..components.score_laws import ScoreLaw
from ..parameters.structure import Structure

_RANDOM_SIZE = (0.5, 1.0)  # standard deviation of random loadings and slopes


def transformed_scores(cells: Cells, chance: np.ndarray, n_llms: int) -> np.ndarray:
    """Logits of scores between their asymptotes, N x J, NaN where missing."""
    z = np.full((n_llms, cells.n_items), np.nan)
    z[cells.row, cells.item] = cells.law.starting_predictor(cells.scores, chance[cells.item], 1.0)
    return z


def _coefficients(z: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per benchmark: intercept and slopes by least squares on its observed LLMs; (J,), (p, J)."""
    x = np.column_stack([np.ones(len(design)), design])
    out = np.zeros((x.shape[1], z.shape[1]))
    for item, column in enumerate(z.T):
        seen = np.isfinite(column)
        out[:, item] = np.linalg.lstsq(x[seen], column[seen], rcond=None)[0]
    return out[0], out[1:]


def data_start(
    cells: Cells, chance: np.ndarray, n_skills: int, family_of_llm: np.ndarray, n_link: int = 0
) -> Structure:
    """Unrotated Structure from a singular value decomposition of family residuals and slopes."""
    z = transformed_scores(cells, chance, len(cells.design))
    intercepts, slopes = _coefficients(z, cells.design)
    residual = z - intercepts - cells.design @ slopes
    # a family's mean shrunk as if one more residual of zero had been seen
    seen = np.isfinite(residual)
    of_family = sparse.csr_array(
        (np.ones(len(seen)), (family_of_llm, np.arange(len(seen)))), (cells.n_families, len(seen))
    )
    effects = (of_family @ np.where(seen, residual, 0.0)) / (of_family @ seen.astype(float) + 1.0)
    stacked = np.vstack([effects, np.sqrt(cells.n_families) * slopes])
    _, singular, right = np.linalg.svd(stacked, full_matrices=False)
    used = min(n_skills, len(singular))
    loadings = np.full((cells.n_items, n_skills), 0.05)
    size = np.maximum(singular[:used] / np.sqrt(cells.n_families), 0.05)
    loadings[:, :used] = right[:used].T * size
    skill_slopes = np.linalg.lstsq(loadings, slopes.T, rcond=None)[0].T
    return _structure(cells.law, loadings, intercepts, skill_slopes, chance, n_link)


def random_start(
    rng: np.random.Generator, cells: Cells, chance: np.ndarray, n_skills: int, n_link: int = 0
) -> Structure:
    """Unrotated Structure with normal loadings and slopes, their size drawn too.

    Small ones mostly end where the data start does; large ones find other optima, and now and then none.
    """
    z = transformed_scores(cells, chance, len(cells.design))
    intercepts, slopes = _coefficients(z, cells.design)
    size = rng.uniform(*_RANDOM_SIZE)
    loadings = size * rng.standard_normal((cells.n_items, n_skills))
    skill_slopes = size * rng.standard_normal((slopes.shape[0], n_skills))
    return _structure(cells.law, loadings, intercepts, skill_slopes, chance, n_link)


def _structure(
    law: ScoreLaw, loadings: np.ndarray, intercepts: np.ndarray, slopes: np.ndarray, chance: np.ndarray, n_link: int
) -> Structure:
    j, k = loadings.shape
    return Structure(
        loadings, intercepts, slopes, np.eye(k), np.full(j, law.starting_precision),
        starting_lower(chance), starting_upper(chance), link=np.zeros((j, n_link)),
    )  # fmt: skip
