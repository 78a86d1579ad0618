"""The minimisation problems of a model: one for SlothModel, one for each benchmark of BenchmarkLaws; and penalties."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .objective import SlothObjective
from .options import LINK_SD

if TYPE_CHECKING:
    from .model import HuberModel

SCORE_SCALE = 0.02  # penalties treat the loss as minus the log-density of a Laplace law with this mean absolute error



@dataclass(frozen=True, eq=False)
class Piece:
    """One minimisation problem, and how it follows from the model.

    Attributes
    ----------
    objective : SlothObjective
        The loss, over LLMs that are sorted by family.
    vector : array (P,)
        The estimate; empty before the problem has been solved.
    rows : int array (n,)
        The LLM of the model to which each row belongs.
    items : int array (J,)
        The benchmark of the model to which each column belongs.
    families : int array (L,)
        The family of the model to which each family belongs.
    transform : array (p, p)
        T in z = (x - centre) T, where x are the user's covariates and z those of the objective.
    centres : array (L or 1, p)
        Means of the covariates of each family, or of all LLMs if intercepts are shared.
    """

    objective: SlothObjective
    vector: np.ndarray
    rows: np.ndarray
    items: np.ndarray
    families: np.ndarray
    transform: np.ndarray
    centres: np.ndarray


def model_piece(model: "HuberModel") -> Piece:
    """Return the problem of a SlothModel."""
    return _piece(model, np.arange(model.n_llms), np.arange(len(model.benchmarks)), model.n_skills)


def law_pieces(model: "HuberModel") -> list[Piece]:
    """Return the problems of BenchmarkLaws, one for each benchmark, over the LLMs that have its score."""
    seen = ~np.isnan(model.y)
    return [_piece(model, np.flatnonzero(seen[:, item]), np.array([item]), 1) for item in range(len(model.benchmarks))]


def _piece(model: "HuberModel", rows: np.ndarray, items: np.ndarray, k: int) -> Piece:
    """Return the problem of given LLMs and benchmarks, by their numbers, with k skills."""
    order = rows[np.argsort(model.family_codes[rows], kind="stable")]
    families, starts = np.unique(model.family_codes[order], return_index=True)
    first: np.ndarray | None = starts
    if not model.family_intercepts:
        families, first = families[:0], None
    x = model.design.x[order]
    centres, centred = _centred(x, first)
    transform = _coding(centred, model.positive)
    y = model.y[np.ix_(order, items)]
    seen = ~np.isnan(y)
    response = model.response.only(items)
    a, b = len(families) * k, x.shape[1] * k
    size = a + b + len(items) * (k + 1 + response.size)
    held = positive = None
    if model.per_benchmark:
        held = np.zeros(size - a, dtype=bool)
        held[b] = True
        held[b + 1] = bool(a)
    if model.positive is not None:
        positive = np.repeat(model.positive[:, None], k, axis=1)
    objective = SlothObjective(
        np.where(seen, y, 0.5), seen / seen.sum(), centred @ transform, first, k, response,
        np.zeros(size), np.zeros(size), held, positive,
    )  # fmt: skip
    return Piece(objective, np.empty(0), order, items, families, transform, centres)


def _centred(x: np.ndarray, first: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return means of covariates and x (n, p) minus them; ``first`` are the first rows of families, None for one."""
    if first is None:
        centre = x.mean(axis=0)
        return centre[None], x - centre
    counts = np.diff(np.append(first, len(x)))
    centres = np.add.reduceat(x, first) / counts[:, None]
    return centres, x - np.repeat(centres, counts, axis=0)


def _coding(centred: np.ndarray, positive: np.ndarray | None) -> np.ndarray:
    """Return T (p, p) of z = x T for centred covariates.

    It makes z white. If the signs of slopes are restricted, it only scales, because a rotation would mix them.
    """
    if positive is not None:
        return np.diag(1.0 / np.sqrt(np.mean(centred**2, axis=0)))
    scale = np.sqrt(np.mean(centred**2, axis=0))
    _, r = np.linalg.qr(centred / scale)
    return np.linalg.inv(r) * np.sqrt(len(centred)) / scale[:, None]


def penalised(
    objective: SlothObjective, ridge: float, link_sd: float = LINK_SD, asymptote_sd: float = 2.0
) -> SlothObjective:
    """Return the objective with its penalties, see ``fit_sloth``."""
    a, b = objective.sizes
    response, k = objective.response, objective.n_skills
    n = np.count_nonzero(objective.weight)
    weight = np.full(len(objective.penalty), ridge / n)
    centre = np.zeros(len(weight))
    if response.size:
        row_weights, row_centres = (values[a + b :].reshape(-1, objective.row_length) for values in (weight, centre))
        row_weights[:, k + 1 :] = SCORE_SCALE / (n * asymptote_sd**2)
        row_weights[:, k + 1 : k + 1 + response.n_link] = SCORE_SCALE / (n * link_sd**2)
        row_centres[:, k + 1 :] = response.centre
    return replace(objective, penalty=weight, centre=centre)
