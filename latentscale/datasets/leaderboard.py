"""The shipped table of public benchmark scores of 197 LLMs; ``data/README.md`` describes its columns."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd


class Correction(NamedTuple):
    """A documented error of the source, which has `recorded` in `column` for `llms` where `corrected` is right."""

    column: str
    recorded: float
    corrected: float
    llms: tuple[str, ...]


CORRECTIONS = (
    Correction("params_b", 6.0, 1.6, ("stablelm-2-1_6b", "stablelm-2-1_6b-chat")),
    Correction("params_b", 1.0, 1.5, ("rwkv-4-1b5-pile",)),
    Correction("params_b", 1.0, 1.1, ("bloom-1b1",)),
    Correction("params_b", 30.0, 32.5, ("llama-30b",)),
    Correction("tokens_t", 8.0, 2.0, ("gemma-2-2b", "gemma-2-2b-it")),
    Correction("tokens_t", 13.0, 8.0, ("gemma-2-9b", "gemma-2-9b-it")),
    Correction("tokens_t", 0.25, 0.3, ("pythia-160m", "pythia-410m", "pythia-2.8b", "pythia-6.9b", "pythia-12b")),
    Correction("tokens_t", 0.25, 0.3, ("dolly-v2-3b", "dolly-v2-7b", "dolly-v2-12b")),
    Correction("tokens_t", 0.6, 1.0, ("open_llama_13b",)),
    # Zeros that are probably due to answers in a format that the marking program could not read.
    Correction(
        "math_lvl_5",
        0.0,
        np.nan,
        (
            "qwen1.5-0.5b-chat",
            "qwen1.5-1.8b-chat",
            "qwen1.5-7b-chat",
            "qwen1.5-14b-chat",
            "qwen1.5-110b-chat",
        ),
    ),
    Correction("math_lvl_5", 0.0, np.nan, ("gemma-2-2b-it", "gemma-2-9b-it")),
)
"""The corrections that ``load_leaderboard(corrected=True)`` makes."""


def load_leaderboard(corrected: bool = False) -> pd.DataFrame:
    """Load public benchmark scores of 197 LLMs.

    The figures are those of the Open LLM Leaderboard, versions 1 and 2 (Hugging Face), and of the tables of
    Ruan et al. (2024), as compiled for Sloth (Maia Polo et al. 2024, MIT licence). The default leaves them as
    they are in the source, so that published analyses can be repeated.

    Parameters
    ----------
    corrected : bool, default False
        Replace the known errors of the source (`CORRECTIONS`; listed in ``data/README.md``): five sizes, the
        token counts of Gemma 2, Pythia, Dolly and OpenLLaMA 13B, and seven zeros of MATH level 5 that are
        probably failures of answer format and become missing. The sizes of Mixtral stay those of one expert.

    Returns
    -------
    pandas.DataFrame
        197 rows, 20 columns: model, family (base and instruct variants apart), base_family, instruct (bool),
        release_date (datetime, missing for 84), params_b (billions of parameters), tokens_t (trillions of
        training tokens, missing for 13), then the twelve `BENCHMARKS` and humaneval as fractions in [0, 1].

    Examples
    --------
    >>> table = load_leaderboard()
    >>> table.shape
    (197, 20)
    >>> float(load_leaderboard(corrected=True).set_index("model").loc["bloom-1b1", "params_b"])
    1.1
    """
    with _source("open_llm_leaderboard.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, parse_dates=["release_date"])
    if corrected:
        for correction in CORRECTIONS:
            table.loc[table["model"].isin(correction.llms), correction.column] = correction.corrected
    return table


def _source(name: str) -> Traversable:
    """Return a data file, which is inside the package once it is installed, and beside it in a checkout."""
    installed = resources.files("latentscale") / "data" / name
    return installed if installed.is_file() else Path(__file__).parents[2] / "data" / name
