"""Starting values of the parameters: one Structure computed from the data, and any number of random ones."""


from __future__ import annotations

import numpy as np
from scipy import sparse

from ..components.cells import Cells
from ..components.curve import starting_lower, starting_upper
from ..components.score_laws import ScoreLaw
from ..parameters.structure import Structure

_RANDOM_SIZE = (0.5, 1.0)  # between these the standard deviation of random loadings and slopes is drawn


def transformed_scores(cells: Cells, chance: np.ndarray, n_llms: int) -> np.ndarray:
    """Return the linear predictors that the scores alone suggest, array (n, J), NaN where a score is missing.

    For the beta law they are logits of the scores, rescaled between guessing and 1.
    """
    z = np.full((n_llms, cells.n_items), np.nan)
    z[cells.row, cells.item] = cells.law.starting_predictor(cells.scores, chance[cells.item], 1.0)
    return z


def _coefficients(z: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return intercepts (J,) and slopes (p, J) of the benchmarks, by least squares over the LLMs that have a score."""
    x = np.column_stack([np.ones(len(design)), design])
    coefficients = np.zeros((x.shape[1], z.shape[1]))
    for item, column in enumerate(z.T):
        seen = np.isfinite(column)
        coefficients[:, item] = np.linalg.lstsq(x[seen], column[seen], rcond=None)[0]
    return coefficients[0], coefficients[1:]


def data_start(
    cells: Cells, chance: np.ndarray, n_skills: int, family_of_llm: np.ndarray, n_link: int = 0
) -> Structure:
    """Return a Structure computed from the data, with all loadings free and Sigma = I.

    Each benchmark is regressed on the covariates. The mean residuals of the families and the slopes, stacked as rows
    with a column for each benchmark, have the skills' loadings as their leading right singular vectors.
    """
    z = transformed_scores(cells, chance, len(cells.design))
    intercepts, slopes = _coefficients(z, cells.design)
    residual = z - intercepts - cells.design @ slopes
    # a family's mean residual is shrunk as if one more residual, of zero, had been observed
    seen, families = np.isfinite(residual), int(family_of_llm.max()) + 1
    of_family = sparse.csr_array((np.ones(len(seen)), (family_of_llm, np.arange(len(seen)))), (families, len(seen)))
    effects = (of_family @ np.where(seen, residual, 0.0)) / (of_family @ seen.astype(float) + 1.0)
    stacked = np.vstack([effects, np.sqrt(families) * slopes])
    _, singular, right = np.linalg.svd(stacked, full_matrices=False)
    used = min(n_skills, len(singular))
    loadings = np.full((cells.n_items, n_skills), 0.05)
    size = np.maximum(singular[:used] / np.sqrt(families), 0.05)
    loadings[:, :used] = right[:used].T * size
    skill_slopes = np.linalg.lstsq(loadings, slopes.T, rcond=None)[0].T
    return _structure(cells.law, loadings, intercepts, skill_slopes, chance, n_link)


def random_start(
    rng: np.random.Generator, cells: Cells, chance: np.ndarray, n_skills: int, n_link: int = 0
) -> Structure:
    """Return a Structure with random loadings and slopes, all loadings free and Sigma = I.

    They are normal, with a standard deviation that is drawn as well. Paths from small values mostly end where that from
    the data ends; those from large values find other maxima, and now and then none at all.
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
    """Return the Structure of these values, with starting values of the law and the curve for the parameters left."""
    j, k = loadings.shape
    return Structure(
        loadings, intercepts, slopes, np.eye(k), np.full(j, law.starting_precision),
        starting_lower(chance), starting_upper(chance), link=np.zeros((j, n_link)),
    )  # fmt: skip
