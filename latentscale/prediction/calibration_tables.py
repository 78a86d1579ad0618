"""Tables of predictions beside the scores that came true, and of where those scores fall in their predictive laws."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrame
from scipy import special

from ..checks import check_alpha, check_names
from ..errors import DataError
from ..models.latent_skill import LatentSkillLaw
from ..tables import read_families, read_scores, read_table
from .calibration import interval, probability_integral_transform
from .predictive import predictive_draws
from .residual_tables import residual_table, unrotated

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults


def prediction_table(
    fit: "LatentSkillResults",
    data: IntoFrame | None = None,
    benchmark: str | Sequence[str] | None = None,
    alpha: float = 0.05,
    size: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return prediction intervals of LLMs beside their scores: see ``LatentSkillResults.prediction_table``."""
    check_alpha(alpha)
    chosen = chosen_benchmarks(fit.model, benchmark)
    scores, families = _scores(fit.model, data)
    draws = predictive_draws(unrotated(fit), data, False, size, seed)
    ends = interval(draws.scores, alpha)
    return _long(draws.llms, families, fit.model.benchmarks, chosen, scores, {
        "mean": draws.mean, "obs_ci_lower": ends[0], "obs_ci_upper": ends[1],
        "inside": (scores >= ends[0]) & (scores <= ends[1]),
    })  # fmt: skip


def pit_table(
    fit: "LatentSkillResults",
    data: IntoFrame | None = None,
    benchmark: str | Sequence[str] | None = None,
    size: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return probability integral transforms of scores: see ``LatentSkillResults.plot_calibration``."""
    chosen = chosen_benchmarks(fit.model, benchmark)
    if data is None:
        # Scores of the fit have pulled the posterior towards themselves, so draws from it would look too good. Quantile
        # residuals are given a single posterior draw of the family's effects, and exactly uniform under the model.
        table = residual_table(fit, "quantile", seed)
        table = table[table["benchmark"].isin(chosen)]
        pit = table[["llm", "family", "benchmark"]].assign(pit=special.ndtr(table["residual"]), method="fit")
        return pit.reset_index(drop=True)
    scores, families = _scores(fit.model, data)
    draws = predictive_draws(unrotated(fit), data, False, size, seed)
    pit = probability_integral_transform(draws.scores, scores, np.random.default_rng(seed))
    table = _long(draws.llms, families, fit.model.benchmarks, chosen, scores, {"pit": pit})
    return table.assign(method="new LLMs")


def chosen_benchmarks(model: LatentSkillLaw, benchmark: str | Sequence[str] | None = None) -> list[str]:
    """Return benchmarks by name, all of them by default; raise DataError for unknown names."""
    return check_names("benchmark", benchmark, model.benchmarks, "benchmarks of the fit")


def _scores(model: LatentSkillLaw, data: IntoFrame | None) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (n, J), NaN where unknown, and families (n,) of the LLMs of a table, or of the fit."""
    if data is None:
        families = np.asarray(model.families)[model.family_codes]
        return model.panel.scores.loc[list(model.llms)].to_numpy(), families
    table = read_table(data)
    present = [name for name in model.benchmarks if name in table.columns]
    if not present:
        raise DataError(f"The table has no column of the benchmarks {list(model.benchmarks)} to compare with.")
    scores = np.full((len(table), len(model.benchmarks)), np.nan)
    names = table[model.panel.llm] if model.panel.llm in table.columns else table.index
    columns = [model.benchmarks.index(name) for name in present]
    scores[:, columns] = read_scores(table, present, [str(name) for name in names])
    return scores, np.asarray(read_families(table, model.panel.family))


def _long(
    llms: np.ndarray | pd.Index,
    families: np.ndarray | pd.Index,
    benchmarks: Sequence[str],
    chosen: Sequence[str],
    scores: np.ndarray,
    columns: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Return a table of the observed scores of the chosen benchmarks, one a row; ``columns`` are arrays (n, J)."""
    n, j = scores.shape
    frame = pd.DataFrame(
        {
            "llm": np.repeat(np.asarray(llms, dtype=object), j),
            "family": np.repeat(np.asarray(families, dtype=object), j),
            "benchmark": np.tile(np.asarray(benchmarks, dtype=object), n),
            "score": scores.ravel(),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )
    return frame[frame["score"].notna() & frame["benchmark"].isin(chosen)].reset_index(drop=True)
