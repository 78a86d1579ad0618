"""Fit a latent skill model: a search over many starts by Laplace, then the maximum by the accurate rule."""


from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from ..checks import check_whole
from ..components.levels import family_effects, levels_in, too_many_for_nodes
from ..errors import DataError
from ..likelihood.family_batches import spread_over
from ..likelihood.objective import Objective
from ..likelihood.rules import IntegrationError, Rule, require_laplace, rule_error
from ..models.latent_skill import LatentSkillLaw
from ..models.options import checked_options, recorded_options
from ..parameters.restrictions import RestrictedSpace, Restriction, natural_vector, read_restriction
from ..parameters.space import ParameterSpace
from ..parameters.structure import Structure
from .ascent import complete_metric
from .estimate import Estimate, FitInterrupted
from .fit_options import FIT_OPTIONS
from .mcem import mcem
from .polish import Maximum, polish_laplace, polish_nodes, settle_laplace
from .progress import Progress
from .search import SAME_OPTIMUM, Start, best_distinct, climb, search, starting_structures
from .stochastic import stochastic_climb

# Ends of the search up to so many log-likelihood units below the best one are maximised by the accurate rule, under
# which they may turn out better; at most so many of them.
_WORTH_POLISHING = 3.0
_MOST_POLISHED = 3
_SEARCH_MODE_TOLERANCE = 1e-6
# Under restrictions, or with effects that the search leaves out, ends further below may turn out better, too.
_WORTH_CLIMBING = 20.0
_ZERO_SD = 1e-9  # a standard deviation below this counts as zero
_NO_ERROR = IntegrationError(np.nan, np.nan, None)


@dataclass
class _State:
    """The best parameters so far, which a fit that is interrupted by Ctrl-C hands over."""

    model: LatentSkillLaw
    stage: str = "the search"
    structure: Structure | None = None
    llf: float = np.nan

    def keep(self, structure: Structure, llf: float) -> None:
        """Keep a Structure, in whitened covariates, if its log-likelihood is the best so far."""
        if not llf <= self.llf:  # also true while llf is NaN
            self.structure, self.llf = structure, llf

    def interrupted(self) -> FitInterrupted:
        """Return the exception that says where the fit was stopped."""
        if self.structure is None:
            return FitInterrupted(None, np.nan, self.stage)
        model = self.model
        user = model.recoding.user(model.pattern.reflect(self.structure)).unsigned()
        params = pd.Series(model.table.natural(user), index=model.param_names)
        return FitInterrupted(params, self.llf, self.stage)


def fit_latent_skill(
    model: LatentSkillLaw,
    integration: str | None = None,
    starts: int = 10,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = False,
    cov_type: str = "observed",
    driver: str = "direct",
    points: int | None = None,
    draws: int | None = None,
    t_df: float | None = None,
    llf_tolerance: float = 0.05,
    tolerance: float = 1e-3,
    max_iterations: int = 1000,
    max_rounds: int | None = None,
    start_params: Any = None,
    constraints: Any = None,
    information: bool = True,
) -> Estimate:
    """Fit a LatentSkillModel by marginal maximum likelihood.

    Parameters
    ----------
    model : LatentSkillModel
    integration : {"monte_carlo", "quadrature", "laplace"}, optional
        Integration rule of the final stage; the search over starts uses Laplace. By default Monte Carlo, but Laplace
        for models with effects of LLMs, which have no other, or of families on single benchmarks.
    starts : int
        Number of starts: the first from the data, the others at random.
    seed : int
        Seed of starts and draws. Results do not depend on ``n_jobs``.
    n_jobs : int, optional
        Number of starts that are climbed in parallel (joblib); in other stages, and with one start, the number of
        threads among which large tables are divided. By default one, or as a surrounding ``ls.parallel`` says.
    progress : bool
        Report on the standard error stream.
    cov_type : {"observed", "cluster", "opg", "bootstrap", "none"}
        Covariance of the estimates; see ``LatentSkillResults.get_robust``.
    driver : {"direct", "em", "stochastic"}
        ``"direct"`` maximises the log-likelihood; ``"em"`` holds draws or nodes fixed in each M-step; ``"stochastic"``,
        for very large tables, searches by Adam on minibatches of families and then maximises directly, by Laplace
        first.
    points : int, optional
        Gauss-Hermite nodes in each dimension; by default 21, 11, 7, 5 for 1 to 4 skills.
    draws : int, optional
        Number of Sobol draws of each scrambling to begin with, a power of two.
    t_df : float, optional
        Degrees of freedom of a t proposal; normal by default.
    llf_tolerance : float
        Draws double until the Monte Carlo standard error of the log-likelihood is below this.
    tolerance : float
        Distance to the optimum, in standard errors, at which the final stage stops.
    max_iterations : int
        Largest number of quasi-Newton iterations from a start.
    max_rounds : int, optional
        Rounds (direct) or cycles (EM) of the final stage; 12 and 500 by default.
    start_params : Series, dict or array, optional
        Natural parameters of one more start, put first; with them ``starts`` may be 0.
    constraints : str, list of str or array, optional
        Linear restrictions on the natural parameters, such as ``"slope[log(params_b),math] = 0"``.
    information : bool
        False does not compute the observed information, so that there are no standard errors and convergence is judged
        without it. Such fits, by Laplace with ``cov_type="none"``, are several times faster and serve prediction.
        Laplace's determinant is then that of the expected curvature, which has no poles.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        For options that make no sense.
    FitInterrupted
        On Ctrl-C, with the best parameters so far.
    """
    levels = levels_in(model.table.layout)
    if integration is None:
        integration = "laplace" if too_many_for_nodes(levels) else "monte_carlo"
    checked = checked_options(FIT_OPTIONS, locals())
    options, began = recorded_options(FIT_OPTIONS, checked), time.perf_counter()
    _check_together(**checked)
    require_laplace(levels, integration)
    rule = Rule.build(integration, family_effects(model.table.layout), points, draws, llf_tolerance, t_df, seed)
    restriction = None if constraints is None else read_restriction(constraints, model.param_names)
    shown = Progress(progress, starts + (start_params is not None))
    state = _State(model)
    try:
        with spread_over(n_jobs):
            within = _worth_going_on(model, driver, restriction)
            ends = _search(
                model, starts, seed, n_jobs, max_iterations, start_params, within, shown, state, not information,
                partial(stochastic_climb, seed=seed) if driver == "stochastic" else climb,
            )  # fmt: skip
            if information:
                candidates = _candidates(model, restriction, ends.structures(), within, max_iterations)
                climber = {"laplace": polish_laplace}.get(rule.kind, mcem if driver == "em" else polish_nodes)
                maximum, objective = _polish(model, candidates, rule, climber, tolerance, max_rounds, shown, state)
                state.stage = "the error estimate"
                covariance = _inverse_or_none(maximum.information) if rule.kind == "monte_carlo" else None
                error = _NO_ERROR
                if not too_many_for_nodes(levels):  # else there is no finer rule to compare with
                    error = rule_error(objective, maximum.rule, maximum.u, maximum.loglike, covariance)
            else:
                maximum, error = _settled(model, ends, rule, tolerance, max_iterations, shown), _NO_ERROR
    except KeyboardInterrupt as stop:
        raise state.interrupted() from stop
    space = model.space if restriction is None else objective.space
    restricted = space if isinstance(space, RestrictedSpace) else None
    u = maximum.u if restricted is None else restricted.free(maximum.u)
    return Estimate(
        natural_vector(model.space, model.recoding, u), u, maximum.loglike, maximum.value, maximum.information,
        maximum.decrement, maximum.gradient, maximum.converged, maximum.rule, error,
        ends.table, maximum.evaluations, options, time.perf_counter() - began, restriction,
        None if restricted is None else restricted.kept,
    )  # fmt: skip


def _worth_going_on(model: LatentSkillLaw, driver: str, restriction: Restriction | None) -> float:
    """Return how many log-likelihood units below the best end of the search others may turn out to be better."""
    if driver == "stochastic":  # minibatches end so far from a maximum that values say little of the one that is near
        return np.inf
    return _WORTH_POLISHING if restriction is None and not _unsearched(model) else _WORTH_CLIMBING


def _settled(
    model: LatentSkillLaw, ends: _SearchEnds, rule: Rule, tolerance: float, max_iterations: int, shown: Progress
) -> Maximum:
    """Return the maximum without its information: the best end of the search, improved in the form of the search.

    The unrotated form of the search has no boundaries, such as a pivot whose loading shrinkage has taken to zero; the
    maximum is rotated into the user's form afterwards. Models with effects that the search leaves out, such as random
    slopes, cannot be rotated: they are maximised in the user's form from the best ends of the search.
    """
    objective, best, in_users_form = ends.objective, ends.chosen[0], ends.in_users_form
    if _unsearched(model):
        shown.stage("climbing with all random effects")
        objective = Objective(model.space, model.internal_cells, model.penalty, _SEARCH_MODE_TOLERANCE, True)
        climbed = [climb(objective, 0, "slopes", structure, max_iterations) for structure in ends.structures()]
        best = max(climbed, key=lambda end: end.value)

        def in_users_form(u: np.ndarray) -> Structure:
            return model.pattern.reflect(model.space.structure(u)).unsigned()

    shown.stage("settling the best start")
    maximum = settle_laplace(objective, rule, best.u, tolerance, lambda *_: None)
    u = model.space.free_vector(in_users_form(maximum.u))
    size = len(u)
    return replace(maximum, u=u, gradient=np.full(size, np.nan), information=np.full((size, size), np.nan))


def _check_together(
    integration: str,
    starts: int,
    cov_type: str,
    driver: str,
    start_params: Any,
    constraints: Any,
    information: bool,
    **_: Any,
) -> None:
    """Refuse options that are not possible together."""
    if not information and (integration != "laplace" or cov_type != "none" or constraints is not None):
        raise DataError(
            "information=False is for fits with integration='laplace' and cov_type='none', without constraints."
        )
    if start_params is None:
        check_whole("starts (without start_params)", starts, 1)
    if driver == "em" and integration == "laplace":
        raise DataError("EM needs nodes: use integration='monte_carlo' or 'quadrature' with driver='em'.")


@dataclass(frozen=True)
class _SearchEnds:
    """The ends of the search over starts.

    Attributes
    ----------
    table : DataFrame
        ``Estimate.starts``.
    objective : Objective
        The objective of the search, in its form and without the effects that it leaves out.
    chosen : list of Start
        The ends from which the accurate rule goes on, best first.
    in_users_form : callable
        From coordinates of the search to a Structure in the user's form, with all effects.
    """

    table: pd.DataFrame
    objective: Objective
    chosen: list[Start]
    in_users_form: Callable[[np.ndarray], Structure]

    def structures(self) -> list[Structure]:
        """Return the chosen ends in the user's form."""
        return [self.in_users_form(end.u) for end in self.chosen]


def _search(
    model: LatentSkillLaw,
    starts: int,
    seed: int,
    n_jobs: int | None,
    max_iterations: int,
    start_params: Any,
    within: float,
    shown: Progress,
    state: _State,
    expected: bool = False,
    climber: Callable[..., Start] = climb,
) -> _SearchEnds:
    """Climb from all starts by Laplace.

    Ends are chosen that are ``within`` so many log-likelihood units of the best one. ``expected`` is that of
    ``Objective``.
    """
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), _SEARCH_MODE_TOLERANCE, expected)
    scales = {effect.block: effect.starting_scales for effect in model.effects if effect.in_search}
    drawn = starting_structures(objective, pattern, model.chance, model.family_codes, starts, seed, scales)
    candidates = list(islice(drawn, starts))  # none if only start_params are wanted
    unsearched = {effect.block: effect.starting_scales for effect in model.effects if not effect.in_search}
    if start_params is not None:
        given = model.recoding.internal(model.table.structure(model.table.read(start_params)))
        unsearched = {name: given.scales[name] for name in unsearched}
        searched = {name: values for name, values in given.scales.items() if name not in unsearched}
        given = replace(given, scales=searched)
        if model.pattern.reachable:
            given = given.transformed(np.linalg.cholesky(given.skill_cov))
        candidates.insert(0, ("given", given))

    def in_users_form(u: np.ndarray) -> Structure:
        structure = space.structure(u)
        pattern = model.pattern
        rotated = pattern.rotate_from(structure) if pattern.reachable else pattern.reflect(structure)
        return rotated.unsigned().with_scales(**unsearched)

    def report(start: Start) -> None:
        shown.start(start, SAME_OPTIMUM)
        if np.isfinite(start.value):
            state.keep(in_users_form(start.u), start.value)

    # with one start the cells of each pass are divided among the threads instead
    n_jobs = 1 if len(candidates) == 1 else n_jobs
    ends = search(objective, candidates, n_jobs, max_iterations, report, climber)
    best = max(end.value for end in ends)
    if not np.isfinite(best):
        raise DataError(
            "No start gave a finite log-likelihood. Check for scores that jump between extremes within a family, or "
            "give start_params."
        )
    chosen = [end for end in best_distinct(ends, _MOST_POLISHED) if end.value > best - within]
    return _SearchEnds(_table_of_starts(ends, best), objective, chosen, in_users_form)


def _table_of_starts(ends: Sequence[Start], best: float) -> pd.DataFrame:
    """Return one row for each start: where it ended, and whether it reached the best value."""
    rows = [(end.kind, end.value, end.gradient, end.evaluations, end.value > best - SAME_OPTIMUM) for end in ends]
    table = pd.DataFrame(rows, columns=["kind", "loglike", "gradient", "evaluations", "reached_best"])
    table["loglike"] = table["loglike"].replace(-np.inf, np.nan)  # a start that failed
    table.index.name = "start"
    return table


def _candidates(
    model: LatentSkillLaw,
    restriction: Restriction | None,
    structures: Sequence[Structure],
    within: float,
    max_iterations: int,
) -> list[tuple[Objective, np.ndarray]]:
    """Return the objective and the starting point of each maximisation by the accurate rule.

    Under a restriction each has a restricted space about its start. Restrictions and random effects that the search
    left out are taken in by a climb by Laplace first, and so are ends of minibatches, which are far from a maximum by
    any rule; only the best ends of these climbs are kept. ``within`` is that of ``_worth_going_on``.
    """
    candidates = []
    for number, structure in enumerate(structures):
        u = model.space.free_vector(structure)
        space: ParameterSpace | RestrictedSpace = model.space
        if restriction is not None:
            scale = complete_metric(Objective(space, model.internal_cells, model.penalty), u)
            space = RestrictedSpace.near(model.space, model.recoding, restriction, u, scale @ scale.T)
            u = space.start[space.kept]
            if model.avoid_zero_sd:
                _refuse_zero_sd(space.structure(u), restriction)
        objective = Objective(space, model.internal_cells, model.penalty)
        value = np.inf
        if within > _WORTH_POLISHING:
            end = climb(objective, number, "restricted", space.structure(u), max_iterations)
            u, value = end.u, end.value
        candidates.append((objective, u, value))
    best = max(value for _, _, value in candidates)
    return [(objective, u) for objective, u, value in candidates if value >= best - _WORTH_POLISHING]


def _refuse_zero_sd(structure: Structure, restriction: Restriction) -> None:
    """Refuse a restriction that sets a standard deviation to zero where a penalty keeps it off zero."""
    if any((np.abs(values) < _ZERO_SD).any() for values in structure.scales.values()):
        raise DataError(
            f"{'; '.join(restriction.labels)}: avoid_zero_sd=True keeps standard deviations off zero by a penalty. "
            "Make the model with avoid_zero_sd=False."
        )


def _polish(
    model: LatentSkillLaw,
    candidates: list[tuple[Objective, np.ndarray]],
    rule: Rule,
    climber: Callable[..., Maximum],
    tolerance: float,
    max_rounds: int | None,
    shown: Progress,
    state: _State,
) -> tuple[Maximum, Objective]:
    """Return the best maximum by the accurate rule over the candidates, and its objective."""
    rounds = {} if max_rounds is None else {"max_rounds": max_rounds}
    state.stage, state.llf = f"the {rule.kind} stage", np.nan
    maxima = []
    for number, (objective, start) in enumerate(candidates, 1):
        shown.stage(f"optimum {number} of {len(candidates)}: {rule}")
        space = objective.space

        def report(
            round_number: int,
            loglike: float,
            distance: float,
            u: np.ndarray,
            space: ParameterSpace | RestrictedSpace = space,
        ) -> None:
            shown.round(round_number, loglike, distance)
            state.keep(space.structure(u), loglike)

        maximum = climber(objective, rule, start, tolerance, report, **rounds)
        reflected = _reflected(model, space, maximum.u)
        if reflected is not None:
            maximum = climber(objective, maximum.rule, reflected, tolerance, report, **rounds)
        maxima.append((maximum, objective))
    return max(maxima, key=lambda pair: pair[0].value)


def _reflected(model: LatentSkillLaw, space: ParameterSpace | RestrictedSpace, u: np.ndarray) -> np.ndarray | None:
    """Return the same law with the signs that the form prescribes, None if it has or cannot have them."""
    structure = space.structure(u)
    wanted = model.pattern.reflect(structure).unsigned()
    if np.array_equal(space.layout.flatten(wanted), space.layout.flatten(structure)):
        return None
    reflected = space.free_vector(wanted)
    reached = space.layout.flatten(space.structure(reflected))
    same = np.allclose(reached, space.layout.flatten(wanted), rtol=1e-8, atol=1e-8)
    return reflected if same else None


def _unsearched(model: LatentSkillLaw) -> bool:
    """Return whether the model has random effects that the search over starts leaves out."""
    return not all(effect.in_search for effect in model.effects)


def _inverse_or_none(information: np.ndarray) -> np.ndarray | None:
    """Return the inverse of an information matrix, None where it is not positive definite."""
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        return None
    return np.linalg.inv(information)
