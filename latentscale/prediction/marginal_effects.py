"""Effects in the reader's units: points of each benchmark for twice the size, the tokens or the compute.

An effect is the difference of expected scores between an LLM of the same family with more of a covariate and the LLM as
it is, both without residual skills, averaged over LLMs. Uncertainty is that of the parameters and of families' effects,
by joint draws in which both have the same.
"""


from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_alpha, check_names, check_positive
from ..errors import DataError
from .predictive import expected_draws
from .skill_draws import JointDraws, Request, groups_of

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

OF = ("size", "tokens", "compute")
_FACTORS = {"doubling": 2.0, "tenfold": 10.0}


def marginal_effects(
    fit: LatentSkillResults,
    per: str | float = "doubling",
    of: str | Sequence[str] = OF,
    at: Mapping[str, Any] | None = None,
    alpha: float = 0.05,
    size_column: str = "params_b",
    tokens_column: str = "tokens_t",
    size: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return points of each benchmark per doubling; see ``LatentSkillResults.marginal_effects``."""
    model = fit.model
    check_alpha(alpha)
    factor = _FACTORS[per] if isinstance(per, str) and per in _FACTORS else check_positive("per", per)
    wanted = check_names("of", of, OF, "of size, tokens and compute")
    table, families = _llms(fit, at)
    used = {str(name) for name in model.design.spec.formula.required_variables}
    columns = {"size": [size_column], "tokens": [tokens_column], "compute": [size_column, tokens_column]}
    rows = []
    for name in wanted:
        changed = columns[name]
        if not used & set(changed):
            continue
        absent = [column for column in changed if column not in table.columns]
        if absent:
            raise DataError(f"The effect of {name} needs the columns {absent}: say size_column= and tokens_column=.")
        more = table.copy()
        for column in changed:  # twice the compute at the same tokens per parameter
            more[column] = more[column] * factor ** (1.0 / len(changed))
        difference = 100.0 * _differences(fit, table, more, families, size, seed)
        lower, upper = np.quantile(difference, [0.5 * alpha, 1.0 - 0.5 * alpha], axis=0)
        for j, benchmark in enumerate(model.benchmarks):
            values = difference[:, j]
            rows.append((name, benchmark, values.mean(), values.std(ddof=1), lower[j], upper[j]))
    frame = pd.DataFrame(rows, columns=["of", "benchmark", "points", "std_err", "ci_lower", "ci_upper"])
    return frame.set_index(["of", "benchmark"])


def _llms(fit: LatentSkillResults, at: Mapping[str, Any] | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table of the LLMs at which effects are taken, and their families."""
    model = fit.model
    if at is None:
        return model.panel.table.loc[list(model.llms)], tuple(model.families[model.family_codes])
    given = dict(at)
    family = str(given.pop("family", "(an unseen family)"))
    return pd.DataFrame([given]), (family,)


def _differences(
    fit: LatentSkillResults, table: pd.DataFrame, more: pd.DataFrame, families: tuple[str, ...], size: int, seed: int
) -> np.ndarray:
    """Return draws of the mean difference of expected scores between two tables of the same LLMs, (S, J)."""
    model = fit.model
    both = pd.concat([table, more], ignore_index=True)
    x = model.design.code(both)
    if np.isnan(x).any():
        raise DataError(f"A covariate of {model.scaling!r} is missing: give all of them in at=.")
    names = pd.Index([f"llm {number}" for number in range(len(both))])
    request = Request(
        names, families * 2, x, model.random_covariates(x), dispersion=model.dispersion_of(both),
        groups=groups_of(model, families * 2), residuals=False,
    )  # fmt: skip
    sources = {"parameters", "family"} if np.isfinite(fit.cov_params().to_numpy()).all() else {"family"}
    expected = expected_draws(JointDraws(fit, request, size, seed, sources=sources), model.score_law, sources)
    n = len(table)
    return (expected[:, n:] - expected[:, :n]).mean(axis=1)
