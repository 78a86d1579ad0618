"""The policy for scores of exactly 0 or 1, which have no density under a continuous law.

``squeeze`` moves all scores of a benchmark that has a score of 0 or 1 inwards, y -> (y (n - 1) + 1/2) / n, where n is
the number of its observed scores (Smithson and Verkuilen 2006). ``censor`` takes a score of 0 or 1 to say only that the
score before rounding lies within half a rounding unit of 0 or 1. ``error`` refuses such scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import DataError
from .tables import some

BOUNDARIES = ("squeeze", "censor", "error")
"""Names of the policies for scores of exactly 0 or 1."""


@dataclass(frozen=True, eq=False)
class PreparedScores:
    """Scores of the LLMs that enter a likelihood, after the boundary policy has been applied. All arrays are read-only.

    Attributes
    ----------
    y : (n, J) float array
        Scores strictly between 0 and 1, NaN where missing. Under ``censor`` a score of 0 is replaced by its
        benchmark's edge e and a score of 1 by 1 - e.
    state : (n, J) int8 array
        0 where the score is observed, 1 where it is censored at 0 (Y <= e), 2 where it is censored at 1 (Y >= 1 - e),
        -1 where it is missing.
    edge : (J,) float array
        Half the rounding unit of each benchmark, called e above.
    boundary_counts : dict of str to int
        Number of scores of exactly 0 or 1 per benchmark, among these LLMs and before the policy.
    n_observed : (J,) int array
        Number of observed scores per benchmark.
    policy : {"squeeze", "censor", "error"}
        The policy that has been applied.
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
        """Whether each benchmark's scores were squeezed, a boolean array (J,)."""
        return np.array([self.policy == "squeeze" and count > 0 for count in self.boundary_counts.values()])

    def simulated(self, y: np.ndarray) -> np.ndarray:
        """Return simulated scores (n, J) as a table would record them, missing where these scores are.

        Under ``censor`` a score within half a rounding unit of 0 or 1 is recorded as 0 or 1.
        """
        out = self._at_edges(y) if self.policy == "censor" else np.array(y)
        out[self.state < 0] = np.nan
        return out

    def recorded(self, y: np.ndarray) -> np.ndarray:
        """Return scores on the scale of the likelihood (..., J) as a table would record them.

        Squeezing is undone, and a score beyond the squeezed 0 or 1 is recorded as 0 or 1. Under ``censor`` a score
        within half a rounding unit of 0 or 1 is recorded as 0 or 1.
        """
        if self.policy == "censor":
            return self._at_edges(y)
        n, squeezed = self.n_observed, self.squeezed
        out = np.array(y)
        out[..., squeezed] = np.clip((out[..., squeezed] * n[squeezed] - 0.5) / (n[squeezed] - 1.0), 0.0, 1.0)
        return out

    def _at_edges(self, y: np.ndarray) -> np.ndarray:
        """Round scores (..., J) within half a rounding unit of 0 or 1 to 0 or 1."""
        return np.where(y <= self.edge, 0.0, np.where(y >= 1.0 - self.edge, 1.0, y))

    def prepare_new(self, scores: np.ndarray, llms: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Apply the same policy to scores of other LLMs.

        Under ``squeeze`` all scores of a benchmark that was squeezed here are squeezed by the same formula, in which n
        is the number of scores here. In the other benchmarks only scores of exactly 0 or 1 are squeezed.

        Parameters
        ----------
        scores : (n, J) array
            Scores in [0, 1], NaN where missing.
        llms : sequence of n names
            Names of the LLMs, used in error messages.

        Returns
        -------
        y, state : arrays (n, J)
            Values in (0, 1) or NaN, and states as in ``PreparedScores``.

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
    """Apply a boundary policy to scores.

    Parameters
    ----------
    raw : (n, J) array
        Scores in [0, 1], NaN where missing.
    benchmarks : tuple of J str
        Names of the benchmarks.
    edge : (J,) array
        Half the rounding unit of each benchmark.
    policy : {"squeeze", "censor", "error"}
        Under ``error``, scores of 0 or 1 must have been refused before (``refuse_boundary``).

    Returns
    -------
    PreparedScores
    """
    missing = np.isnan(raw)
    low, high = raw == 0.0, raw == 1.0
    at_edge = (low | high).sum(axis=0)
    n_observed = (~missing).sum(axis=0)
    y = raw.copy()
    state = np.where(missing, -1, 0).astype(np.int8)
    if policy == "squeeze":
        squeezed = at_edge > 0
        n = n_observed[squeezed]
        y[:, squeezed] = (y[:, squeezed] * (n - 1) + 0.5) / n
    elif policy == "censor":
        y = np.where(low, edge, np.where(high, 1.0 - edge, y))
        state[low], state[high] = 1, 2
    counts = dict(zip(benchmarks, at_edge.tolist(), strict=True))
    return PreparedScores(y, state, edge, counts, n_observed, policy)


def resampled_scores(prepared: PreparedScores, raw: np.ndarray, rows: np.ndarray) -> PreparedScores:
    """Return some rows of prepared scores as a new table, such as one of a bootstrap.

    The values and the states are those of the given scores. Only the numbers of observed scores and of scores of 0 or 1
    are counted again.

    Parameters
    ----------
    prepared : PreparedScores
    raw : (n, J) array
        The scores of the selected rows before the policy.
    rows : int array (n,)
        The rows to select; a row may occur several times.

    Returns
    -------
    PreparedScores
    """
    y, state = prepared.y[rows], prepared.state[rows]
    at_edge = ((raw == 0.0) | (raw == 1.0)).sum(axis=0)
    counts = dict(zip(prepared.boundary_counts, at_edge.tolist(), strict=True))
    return PreparedScores(y, state, prepared.edge, counts, (state >= 0).sum(axis=0), prepared.policy)


def refuse_boundary(scores: np.ndarray, benchmarks: tuple[str, ...], llms: tuple[str, ...]) -> None:
    """Refuse scores of exactly 0 or 1.

    Parameters
    ----------
    scores : (n, J) array
    benchmarks, llms : tuples of J and n str
        Names used in the message.

    Raises
    ------
    DataError
        If there is such a score; the message names benchmarks and LLMs.
    """
    at_edge = (scores == 0) | (scores == 1)
    if at_edge.any():
        found = (
            f"{name} ({some(llms[i] for i in np.flatnonzero(column))})"
            for name, column in zip(benchmarks, at_edge.T, strict=True)
            if column.any()
        )
        raise DataError(f'scores of exactly 0 or 1: {some(found)}; use boundary="squeeze" or "censor"')


def inside(y: np.ndarray, below_one: float = np.finfo(float).epsneg) -> np.ndarray:
    """Replace simulated scores that were rounded to 0 or 1 by doubles next to these ends, inside (0, 1).

    Parameters
    ----------
    y : array
    below_one : float
        How far below 1 the largest score may be; by default the spacing of doubles there.
    """
    return np.clip(y, np.finfo(float).tiny, 1.0 - below_one)
