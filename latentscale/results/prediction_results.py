"""What ``get_prediction`` returns: expected scores and scores with their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..checks import check_alpha, check_seed
from ..errors import DataError
from ..immutable import Immutable
from ..prediction.calibration import crps, interval, log_score, probability_integral_transform

if TYPE_CHECKING:
    from ..prediction.predictive import PredictiveDraws


class PredictionResults(Immutable):
    """Predicted scores of LLMs with their uncertainty, from joint draws over LLMs and benchmarks. Immutable.

    Attributes
    ----------
    draws : PredictiveDraws
    llm_name : str
        Name of the index of LLMs in tables.
    """

    draws: PredictiveDraws
    llm_name: str

    def __init__(self, draws: PredictiveDraws, llm_name: str = "llm") -> None:
        self.__dict__.update(draws=draws, llm_name=str(llm_name))

    def __repr__(self) -> str:
        size, n, j = self.draws.mu.shape
        return f"<PredictionResults: {n} LLMs, {j} benchmarks, {size} draws>"

    @property
    def mean(self) -> pd.DataFrame:
        """Expected scores at the estimates, DataFrame (n, J) of LLMs by benchmarks."""
        return pd.DataFrame(self.draws.mean, self.draws.llms, list(self.draws.benchmarks))

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return expected scores and intervals in a long table, a row per LLM and benchmark.

        Parameters
        ----------
        alpha : float
            One minus the level of the intervals, in (0, 1).

        Returns
        -------
        DataFrame
            llm, benchmark, mean (expected score), mean_se, mean_ci_lower and mean_ci_upper (standard error and interval
            of the expected score, from the uncertainty of parameters and families), obs_ci_lower and obs_ci_upper
            (interval of a score as a table would record it), observed (the score that was conditioned on, if any). All
            are fractions.
        """
        check_alpha(alpha)
        draws = self.draws
        mean_ends, score_ends = interval(draws.mu, alpha), interval(draws.scores, alpha)
        n, j = draws.mean.shape
        columns = {
            "llm": np.repeat(np.asarray(draws.llms, dtype=object), j),
            "benchmark": np.tile(np.asarray(draws.benchmarks, dtype=object), n),
            "mean": draws.mean.ravel(),
            "mean_se": draws.mu.std(axis=0).ravel(),
            "mean_ci_lower": mean_ends[0].ravel(),
            "mean_ci_upper": mean_ends[1].ravel(),
            "obs_ci_lower": score_ends[0].ravel(),
            "obs_ci_upper": score_ends[1].ravel(),
            "observed": draws.observed.ravel(),
        }
        return pd.DataFrame(columns)

    def calibration(
        self, scores: pd.DataFrame, rounding: Mapping[str, float] | pd.Series | None = None, seed: int = 0
    ) -> pd.DataFrame:
        """Compare the predictions with scores that were observed later.

        Parameters
        ----------
        scores : DataFrame
            LLMs (index) by benchmarks, fractions, NaN where unknown.
        rounding : Series or dict, optional
            Rounding units of the benchmarks (``panel.rounding``), which the logarithmic score needs.
        seed : int
            Seed of the randomised probability integral transform.

        Returns
        -------
        DataFrame
            A row per observed score: llm, benchmark, score, pit (probability integral transform), crps (continuous
            ranked probability score, a fraction), log_score (NaN without ``rounding``, and for predictions whose law
            has no formula).

        Raises
        ------
        DataError
            If ``scores`` lacks a predicted LLM or benchmark.
        """
        draws = self.draws
        absent = [name for name in draws.benchmarks if name not in scores.columns]
        absent += [name for name in draws.llms if name not in scores.index]
        if absent:
            raise DataError(f"scores lacks {absent[:5]}; it takes the predicted LLMs as index, benchmarks as columns.")
        observed = scores.loc[list(draws.llms), list(draws.benchmarks)].to_numpy(dtype=float)
        rng = np.random.default_rng(check_seed(seed))
        n, j = observed.shape
        frame = pd.DataFrame(
            {
                "llm": np.repeat(np.asarray(draws.llms, dtype=object), j),
                "benchmark": np.tile(np.asarray(draws.benchmarks, dtype=object), n),
                "score": observed.ravel(),
                "pit": probability_integral_transform(draws.scores, observed, rng).ravel(),
                "crps": crps(draws.scores, observed).ravel(),
                "log_score": np.nan,
            }
        )
        if rounding is not None and draws.log_probability is not None:
            units = pd.Series(rounding, dtype=float).loc[list(draws.benchmarks)]
            frame["log_score"] = log_score(draws, observed, units).ravel()
        return frame[frame["score"].notna()].reset_index(drop=True)
