"""The policy for scores of exactly 0 or 1, which have no density under a continuous law.

``squeeze`` moves all scores of a benchmark that has a boundary value inwards, y -> (y (n - 1) + 1/2) / n with n its
observed scores (Smithson and Verkuilen 2006); ``censor`` takes a boundary value to say only that the score lies within
half a rounding unit of the boundary; ``error`` refuses it.
"""

from dataclasses import dataclass

import numpy as np

from .errors import DataError
from .tables import some

BOUNDARIES = ("squeeze", "censor", "error")
"""What may be done about scores of exactly 0 or 1, which have no beta density."""


@dataclass(frozen=True, eq=False)
class PreparedScores:
    """Scores of the LLMs that enter a likelihood, after the boundary policy. All arrays are read-only.

    Attributes
    ----------
    y : (n, J) float array
        Scores strictly between 0 and 1, NaN where missing. Under ``censor`` a score of 0 is replaced by its
        benchmark's edge e and a score of 1 by 1 - e.
    state : (n, J) int8 array
        0 observed, 1 censored from below (Y <= e), 2 censored from above (Y >= 1 - e), -1 missing.
    edge : (J,) float array
        Half the rounding unit of each benchmark, the e of ``censor``.
    boundary_counts : dict of str to int
        Number of scores of exactly 0 or 1 per benchmark, among these LLMs and before the policy.
    n_observed : (J,) int array
        Number of observed scores per benchmark.
    policy : {"squeeze", "censor", "error"}
    """

    y: np.ndarray
    state: np.ndarray
    edge: np.ndarray
    boundary_counts: dict[str, int]
    n_observed: np.ndarray
    policy: str

    def __post_init__(self) -> None:
        for array in (self.y, self.state, self.edge, self.n_observed):
            array.flags.writeable = False

    @property
    def squeezed(self) -> np.ndarray:
        """Benchmarks whose scores were squeezed, bool (J,)."""
        return np.array([self.policy == "squeeze" and count > 0 for count in self.boundary_counts.values()])

    def simulated(self, y: np.ndarray) -> np.ndarray:
        """Return simulated scores (n, J) as a table with the same policy shows them, missing where these are.

        Under ``censor`` what lies within half a rounding unit of 0 or 1 is recorded as 0 or 1.
        """
        out = self._at_edges(y) if self.policy == "censor" else np.array(y)
        out[self.state < 0] = np.nan
        return out

    def recorded(self, y: np.ndarray) -> np.ndarray:
        """Return scores of the likelihood (..., J) as a table would record them.

        Squeezing is undone: what lies beyond the squeezed 0 or 1 is recorded as 0 or 1. Under ``censor`` what lies
        within half a rounding unit of 0 or 1 is.
        """
        if self.policy == "censor":
            return self._at_edges(y)
        n, moved = self.n_observed, self.squeezed
        out = np.array(y)
        out[..., moved] = np.clip((out[..., moved] * n[moved] - 0.5) / (n[moved] - 1.0), 0.0, 1.0)
        return out

    def _at_edges(self, y: np.ndarray) -> np.ndarray:
        return np.where(y <= self.edge, 0.0, np.where(y >= 1.0 - self.edge, 1.0, y))

    def prepare_new(self, scores: np.ndarray, llms) -> tuple[np.ndarray, np.ndarray]:
        """Prepare new scores under the same policy.

        Under ``squeeze`` a benchmark whose scores were squeezed here is squeezed by the same formula, with the number
        of scores here; in other benchmarks a score of 0 or 1 alone is.

        Parameters
        ----------
        scores : (n, J) array
            NaN where missing.
        llms : sequence of n names
            For error messages.

        Returns
        -------
        y, state : arrays (n, J)
            Values in (0, 1) or NaN, and states as above.

        Raises
        ------
        DataError
            If scores lie outside [0, 1], or are 0 or 1 under ``error``.
        """
        outside = (scores < 0.0) | (scores > 1.0)
        at_edge = (scores == 0.0) | (scores == 1.0)
        bad = outside | at_edge if self.policy == "error" else outside
        if bad.any():
            benchmarks = list(self.boundary_counts)
            where = [f"{benchmarks[j]} of {llms[i]}" for i, j in zip(*np.nonzero(bad), strict=True)]
            kind = "0 or 1, which boundary='error' refuses" if not outside.any() else "outside [0, 1]"
            raise DataError(f"Scores {kind}: {some(where)}.")
        y, state = scores.astype(float), np.where(np.isnan(scores), -1, 0).astype(np.int8)
        if self.policy == "squeeze":
            n = np.broadcast_to(self.n_observed, y.shape)
            y = np.where(self.squeezed | at_edge, (y * (n - 1) + 0.5) / n, y)
        elif self.policy == "censor":
            edge = np.broadcast_to(self.edge, y.shape)
            state[scores == 0.0], state[scores == 1.0] = 1, 2
            y = np.where(scores == 0.0, edge, np.where(scores == 1.0, 1.0 - edge, y))
        return y, state


def prepare_scores(raw: np.ndarray, benchmarks: tuple[str, ...], edge: np.ndarray, policy: str) -> PreparedScores:
    """Apply a boundary policy.

    Parameters
    ----------
    raw : (n, J) array
        Scores in [0, 1], NaN where missing.
    benchmarks : tuple of J str
    edge : (J,) array
        Half the rounding unit of each benchmark.
    policy : {"squeeze", "censor", "error"}
        Under ``error`` scores of 0 or 1 must have been refused before (``refuse_boundary``).
    """
    missing = np.isnan(raw)
    low, high = raw == 0.0, raw == 1.0
    at_edge = (low | high).sum(axis=0)
    n_observed = (~missing).sum(axis=0)
    y = raw.copy()
    state = np.where(missing, -1, 0).astype(np.int8)
    if policy == "squeeze":
        moved = at_edge > 0
        n = n_observed[moved]
        y[:, moved] = (y[:, moved] * (n - 1) + 0.5) / n
    elif policy == "censor":
        y = np.where(low, edge, np.where(high, 1.0 - edge, y))
        state[low], state[high] = 1, 2
    counts = dict(zip(benchmarks, at_edge.tolist(), strict=True))
    return PreparedScores(y, state, edge, counts, n_observed, policy)


def resampled_scores(prepared: PreparedScores, raw: np.ndarray, rows: np.ndarray) -> PreparedScores:
    """Some rows of prepared scores, as they were prepared, whose ``raw`` scores (n, J) are counted anew."""
    y, state = prepared.y[rows], prepared.state[rows]
    at_edge = ((raw == 0.0) | (raw == 1.0)).sum(axis=0)
    counts = dict(zip(prepared.boundary_counts, at_edge.tolist(), strict=True))
    return PreparedScores(y, state, prepared.edge, counts, (state >= 0).sum(axis=0), prepared.policy)


def refuse_boundary(scores: np.ndarray, benchmarks: tuple[str, ...], llms: tuple[str, ...]) -> None:
    """Refuse scores of exactly 0 or 1, naming benchmarks and LLMs.

    Raises
    ------
    DataError
    """
    at_edge = (scores == 0) | (scores == 1)
    if at_edge.any():
        found = (
            f"{name} ({some(llms[i] for i in np.flatnonzero(column))})"
            for name, column in zip(benchmarks, at_edge.T, strict=True)
            if column.any()
        )
        raise DataError(f'scores of exactly 0 or 1: {some(found)}; use boundary="squeeze" or "censor"')


def inside(y: np.ndarray) -> np.ndarray:
    """Move simulated scores that rounding has put on 0 or 1 inside by the least that doubles can."""
    return np.clip(y, np.finfo(float).tiny, 1.0 - np.finfo(float).epsneg)
