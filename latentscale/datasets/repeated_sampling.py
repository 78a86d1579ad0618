"""A simulated example of repeated sampling: successes of LLMs in many tries at the items of a task.

No LLM was run. The table has the form that ``RepeatedSamplingModel`` takes, for examples and tests. It says nothing
about the LLMs that it names.
"""

import numpy as np
import pandas as pd

from ..checks import check_seed
from ..known_benchmarks import BENCHMARKS
from .leaderboard import _source, load_leaderboard

FILE = "repeated_sampling.csv"
LLMS, ITEMS, TRIES, SEED = 24, 50, 60, 2025
INTERCEPT, ON_GSM8K, ON_MMLU = -1.2, 0.6, 0.8
SD_LLM, SD_ITEM = 0.3, 1.5


def simulate_repeated_sampling(seed: int = SEED) -> pd.DataFrame:
    """Simulate successes of 24 LLMs of the shipped leaderboard in 60 tries at each of 50 items.

    LLM i solves item q in one try with probability p, where logit p = u_i + b_q. The ability of the LLM depends on two
    of its scores in the leaderboard, u_i = -1.2 + 0.6 logit(GSM8K) + 0.8 logit(MMLU) + eps_i with eps_i ~ N(0, 0.3^2),
    and the items have b_q ~ N(0, 1.5^2). The LLMs are drawn from those that have all twelve scores, a size and a number
    of training tokens.

    Parameters
    ----------
    seed : int
        The shipped file was made with the default.

    Returns
    -------
    pandas.DataFrame
        1,200 rows with the columns model (name in the leaderboard), item, successes and tries.

    Examples
    --------
    >>> simulate_repeated_sampling().shape
    (1200, 4)
    """
    rng = np.random.default_rng(check_seed(seed))
    complete = load_leaderboard().dropna(subset=[*BENCHMARKS, "params_b", "tokens_t"]).reset_index(drop=True)
    table = complete.iloc[np.sort(rng.choice(len(complete), LLMS, replace=False))]
    # half a problem of the 1,319 is added, so that a score of zero has a logit
    gsm8k = (table["gsm8k"].to_numpy() * 1319 + 0.5) / 1320
    skill = ON_GSM8K * _logit(gsm8k) + ON_MMLU * _logit(table["mmlu"].to_numpy())
    u = INTERCEPT + skill + SD_LLM * rng.standard_normal(LLMS)
    b = SD_ITEM * rng.standard_normal(ITEMS)
    successes = rng.binomial(TRIES, 1.0 / (1.0 + np.exp(-(u[:, None] + b))))
    return pd.DataFrame(
        {
            "model": np.repeat(table["model"].to_numpy(dtype=object), ITEMS),
            "item": np.tile([f"item_{number:02d}" for number in range(1, ITEMS + 1)], LLMS),
            "successes": successes.ravel(),
            "tries": TRIES,
        }
    )


def load_repeated_sampling() -> pd.DataFrame:
    """Load the example of repeated sampling that `simulate_repeated_sampling` made; no LLM was run for it.

    Returns
    -------
    pandas.DataFrame
        1,200 rows with the columns model (name in the leaderboard), item, successes and tries.

    Examples
    --------
    >>> load_repeated_sampling().columns.tolist()
    ['model', 'item', 'successes', 'tries']
    """
    with _source(FILE).open(encoding="utf-8") as file:
        return pd.read_csv(file)


def _logit(share: np.ndarray) -> np.ndarray:
    return np.log(share) - np.log1p(-share)
