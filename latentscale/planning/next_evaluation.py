"""Which benchmark to run next: the one whose score is expected to tell most of a target."""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrame

from ..checks import check_names, check_whole
from ..errors import DataError
from ..models.latent_skill import LatentSkillLaw
from ..prediction.skill_draws import JointDraws, Request, read_request, read_sources
from ..tables import read_table, some
from .expected_gain import expected_spread, joint_scores, simulated_log_density

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

FEWEST = 50  # effective draws given a score below which there is a warning


@dataclass(frozen=True, eq=False, repr=False)
class NextEvaluation:
    """What one more score of each LLM is expected to tell of a target.

    Attributes
    ----------
    table : DataFrame
        One row per LLM and candidate, the best candidate of each LLM first: llm, candidate, sd_now (standard deviation
        of the target given what is known), sd_after (its expectation given the candidate's score), reduction (expected
        share of the variance that the score removes), reduction_se (Monte Carlo standard error), ess (median effective
        number of draws given a score). With costs also cost and reduction_per_cost, by which rows are then ordered.
    target : str
        In words.
    """

    table: pd.DataFrame
    target: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", self.table.copy())

    def __str__(self) -> str:
        shown = self.table.drop(columns="ess").to_string(index=False, float_format=lambda value: f"{value:.3f}")
        return f"Expected uncertainty of {self.target} after one more score\n{shown}"

    __repr__ = __str__

    def best(self) -> pd.Series:
        """Return the best candidate of each LLM: Series by LLM."""
        return self.table.drop_duplicates("llm").set_index("llm")["candidate"]


def next_evaluation(
    fit: "LatentSkillResults",
    data: IntoFrame | None = None,
    target: Any | None = None,
    candidates: str | Sequence[str] | None = None,
    costs: Mapping[str, float] | None = None,
    size: int = 4000,
    outcomes: int = 200,
    seed: int = 0,
    uncertainty: str | Sequence[str] = ("parameters", "family"),
) -> NextEvaluation:
    """Return how much the score of each benchmark that an LLM lacks would reduce the uncertainty of a target.

    Scores are simulated from their predictive distribution given all that is known, and draws of the target are
    weighted by the likelihood of each simulated score (``latentscale.planning.expected_gain``).

    Parameters
    ----------
    fit : LatentSkillResults
    data : table, optional
        LLMs by family and covariates as for ``predict``, with the benchmark scores that are known; by default the LLMs
        in the likelihood that lack a score.
    target : str, dict or DownstreamResults
        A skill; a benchmark, meaning its expected score (without the noise of one evaluation); a weighted mix of skills
        or of benchmarks, as a dict from names to weights; or the expected score of a regression on this fit's skills.
    candidates : sequence of str, optional
        Benchmarks that may be run, all by default. Those of which an LLM has the score are left out for it.
    costs : dict of str to float, optional
        Cost of each candidate, positive, in any unit.
    size : int
        Draws, at least 2.
    outcomes : int
        Simulated scores of each candidate, from 2 to ``size``.
    seed : int
    uncertainty : sequence of {"parameters", "family"}
        Sources of the target's uncertainty that count.

    Returns
    -------
    NextEvaluation

    Raises
    ------
    DataError
        For an unknown target, candidate or option, costs that are missing or not positive, or if no LLM lacks a
        candidate's score.

    Warns
    -----
    UserWarning
        If few draws agree with simulated scores, so that the expectations are noisy.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> fit = ls.LatentSkillModel(panel, skills=ls.Echelon(["bbh", "ifeval"])).fit(integration="laplace", starts=1)
    >>> llm = pd.DataFrame({"model": ["new"], "family": ["new"], "params_b": [7.0], "tokens_t": [4.0], "mmlu": [0.65]})
    >>> next_evaluation(fit, llm, target="ifeval", candidates=["bbh", "ifeval"], outcomes=50).best()["new"]
    'ifeval'
    """
    sources = read_sources(uncertainty) - {"score"}
    if not sources:
        raise DataError("uncertainty must name 'parameters' or 'family': there is nothing else to reduce.")
    check_whole("outcomes", outcomes, 2, check_whole("size", size, 2))
    model = fit.model
    wanted, costs = _read_candidates(candidates, model.benchmarks), _read_costs(costs, candidates, model.benchmarks)
    request = _read_llms(model, data)
    joint, values_of, words = _target(fit, target, request, size, seed, sources)
    mu, phi, theta = joint_scores(joint, sources)
    values, known = values_of(model.score_law.mean(mu, phi), theta), _known_scores(joint)
    phi, rows = np.broadcast_to(phi, mu.shape), []
    children = np.random.SeedSequence([int(seed), 5]).spawn(len(request))
    for i, (llm, child) in enumerate(zip(request.llms, children, strict=True)):
        rng = np.random.default_rng(child)
        for j in (j for j in wanted if not known[i, j]):
            density, drawn_from = simulated_log_density(model.score_law, mu[:, i, j], phi[:, i, j], outcomes, rng)
            spread = expected_spread(values[:, i], density, drawn_from)
            rows.append({"llm": llm, "candidate": model.benchmarks[j], **vars(spread)})
    if not rows:
        raise DataError("No LLM lacks the score of a candidate: there is nothing left to evaluate.")
    table = _ordered(pd.DataFrame(rows), costs)
    poor = table[table["ess"] < FEWEST]
    if len(poor):
        pairs = some(f"{row.candidate} of {row.llm} ({row.ess:.0f})" for row in poor.itertuples())
        warnings.warn(
            f"Few draws agree with simulated scores (median effective number): {pairs}. Their expectations are noisy; "
            "ask for more draws (size=).",
            UserWarning,
            stacklevel=2,
        )
    return NextEvaluation(table, words)


# --- reading -------------------------------------------------------------------------------------------------------


def _read_llms(model: LatentSkillLaw, data: IntoFrame | None) -> Request:
    """Return the Request for the LLMs, which conditions on the scores that there are."""
    if data is not None:
        present = [name for name in model.benchmarks if name in read_table(data).columns]
        return read_request(model, data, bool(present))
    return read_request(model)


def _read_candidates(candidates: str | Sequence[str] | None, benchmarks: Sequence[str]) -> list[int]:
    """Return the positions of the candidates."""
    chosen = check_names("candidates", candidates, benchmarks, "benchmarks of the fit")
    return [benchmarks.index(name) for name in chosen]


def _read_costs(
    costs: Mapping[str, float] | None, candidates: str | Sequence[str] | None, benchmarks: Sequence[str]
) -> dict[str, float] | None:
    """Return costs by candidate as floats, checked; None without any."""
    if costs is None:
        return None
    names = list(benchmarks) if candidates is None else np.atleast_1d(candidates).tolist()
    if not isinstance(costs, Mapping):
        raise DataError(f"costs is a dict from benchmarks to positive numbers, not {type(costs).__name__}.")
    missing, unknown = [name for name in names if name not in costs], [name for name in costs if name not in benchmarks]
    bad = [name for name, cost in costs.items() if not (isinstance(cost, Real) and 0.0 < cost < np.inf)]
    if missing or unknown or bad:
        raise DataError(
            f"costs gives each candidate a positive number; missing {missing}, unknown {unknown}, not positive {bad}."
        )
    return {name: float(cost) for name, cost in costs.items()}


def _target(
    fit: "LatentSkillResults", target: Any, request: Request, size: int, seed: int, sources: Collection[str]
) -> tuple[JointDraws, Callable[[np.ndarray, np.ndarray], np.ndarray], str]:
    """Return joint draws, a function from draws (mu, theta) to draws of the target (S, n), and the target in words."""
    if hasattr(target, "as_target"):  # results of a DownstreamModel, which stand above this module
        joint, values, words = target.as_target(fit, request, size, seed, sources)
        return joint, lambda mu, theta: values, words
    model = fit.model
    weights = target if isinstance(target, Mapping) else {target: 1.0}
    skills, benchmarks = list(model.skills), list(model.benchmarks)
    bad = [name for name, weight in weights.items() if not (isinstance(weight, Real) and np.isfinite(float(weight)))]
    names = list(weights)
    of_skills = bool(names) and all(name in skills for name in names)
    if bad or not any(weights.values()) or not (of_skills or all(name in benchmarks for name in names)):
        raise DataError(
            f"target is a skill, {skills}; a benchmark, {benchmarks}; a dict from skills or from benchmarks to "
            f"numbers, not all zero; or results of a DownstreamModel. Got {target!r}."
        )
    known = skills if of_skills else benchmarks
    vector = np.zeros(len(known))
    for name, weight in weights.items():
        vector[known.index(name)] = weight
    kind = "skill" if of_skills else "the expected score of"
    words = " + ".join(f"{weight:g} {name}" for name, weight in weights.items()) if len(names) > 1 else names[0]
    joint = JointDraws(fit, request, size, seed, sources=sources)
    return joint, lambda mu, theta: (theta if of_skills else mu) @ vector, f"{kind} {words}"


def _known_scores(joint: JointDraws) -> np.ndarray:
    """Return which scores of the request's LLMs are conditioned on, a boolean array (n, J)."""
    request, conditioning = joint.request, joint.conditioning
    out = np.zeros((len(request), len(joint.structure.loadings)), dtype=bool)
    if conditioning.cells is None:
        return out
    for place, key in enumerate(zip(request.families, request.llms, strict=True)):
        row = conditioning.rows.get(key)
        if row is not None:
            out[place, conditioning.cells.item[conditioning.cells.row == row]] = True
    return out


def _ordered(table: pd.DataFrame, costs: Mapping[str, float] | None) -> pd.DataFrame:
    """Return the rows of each LLM ordered from the best candidate to the worst."""
    by = "reduction"
    if costs is not None:
        table["cost"] = table["candidate"].map(costs)
        table["reduction_per_cost"] = table["reduction"] / table["cost"]
        by = "reduction_per_cost"
    order = pd.Series({llm: place for place, llm in enumerate(dict.fromkeys(table["llm"]))})
    table = table.assign(_place=table["llm"].map(order)).sort_values(["_place", by], ascending=[True, False])
    return table.drop(columns="_place").reset_index(drop=True)
