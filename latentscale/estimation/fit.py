"""Fit a latent skill model: search, polish, covariance, and what to warn of."""

import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..errors import DataError
from .mcem import mcem
from .objective import Objective
from .polish import polish_laplace, polish_nodes
from .progress import Progress
from .rules import Rule, rule_error
from .search import SAME_OPTIMUM, best_distinct, search, starting_structures

DRIVERS = ("direct", "em")
COV_TYPES = ("observed", "none")
# Ends of the search this far below the best one may still win under the accurate rule.
_WORTH_POLISHING = 3.0
_MOST_POLISHED = 3
_SEARCH_MODE_TOLERANCE = 1e-6


class FitInterrupted(KeyboardInterrupt):
    """A fit was stopped by Ctrl-C.

    Attributes
    ----------
    params : Series or None
        Best natural parameters so far; ``model.fit(start_params=...)`` goes on from them.
    llf : float
        Their log-likelihood (Laplace's during the search); NaN if there are none.
    message : str
    """

    def __init__(self, params, llf, stage):
        self.params, self.llf = params, llf
        state = (
            "nothing had been estimated yet" if params is None else f"the best log-likelihood was {llf:.3f}"
        )
        self.message = f"Fit interrupted during {stage}; {state}."
        if params is not None:
            self.message += (
                " Its parameters are in the exception's .params: go on with fit(start_params=...)."
            )
        super().__init__(self.message)


@dataclass(frozen=True)
class Estimate:
    """All that a fit found out; ``LatentSkillResults`` reads it.

    Attributes
    ----------
    params : array (P,)
        Natural parameters.
    free : array (P,)
        The same in the optimiser's coordinates.
    loglike, penalised : float
        Log-likelihood, without and with the penalty on asymptotes.
    information : array (P, P)
        Minus the Hessian of the penalised log-likelihood in the optimiser's coordinates.
    distance : float
        Distance to the optimum in standard errors.
    gradient : array (P,)
        Of the penalised log-likelihood in the optimiser's coordinates.
    converged : bool
    rule : Rule
    error : IntegrationError
    starts : DataFrame
        One row per start: kind, loglike (penalised Laplace), gradient, evaluations, reached_best.
    evaluations : int
        Passes over the data in the last stage.
    options : dict
    seconds : float
    """

    params: np.ndarray
    free: np.ndarray
    loglike: float
    penalised: float
    information: np.ndarray
    distance: float
    gradient: np.ndarray
    converged: bool
    rule: Rule
    error: object
    starts: pd.DataFrame
    evaluations: int
    options: dict
    seconds: float = field(default=np.nan, compare=False)


@dataclass
class _State:
    """Best parameters so far, for whoever presses Ctrl-C."""

    model: object
    stage: str = "the search"
    structure: object = None
    llf: float = np.nan

    def keep(self, structure, llf):
        if not llf <= self.llf:  # also true while llf is NaN
            self.structure, self.llf = structure, llf

    def interrupted(self):
        if self.structure is None:
            return FitInterrupted(None, np.nan, self.stage)
        model = self.model
        user = model.recoding.user(model.pattern.reflect(self.structure))
        params = pd.Series(model.table.natural(user), index=model.param_names)
        return FitInterrupted(params, self.llf, self.stage)


def fit_latent_skill(
    model,
    integration="monte_carlo",
    starts=10,
    seed=0,
    n_jobs=1,
    progress=False,
    cov_type="observed",
    driver="direct",
    points=None,
    draws=None,
    t_df=None,
    llf_tolerance=0.05,
    tolerance=1e-3,
    max_iterations=1000,
    max_rounds=None,
    start_params=None,
):
    """Marginal maximum likelihood of a LatentSkillModel.

    Parameters
    ----------
    model : LatentSkillModel
    integration : {"monte_carlo", "quadrature", "laplace"}
        Rule of the final stage; the search over starts uses Laplace.
    starts : int
        Number of starts: the first from the data, the others at random.
    seed : int
        Seed of starts and draws; the same numbers whatever ``n_jobs`` is.
    n_jobs : int
        Starts climbed in parallel (joblib).
    progress : bool
        Report on the standard error stream.
    cov_type : {"observed", "none"}
        Whether standard errors are wanted.
    driver : {"direct", "em"}
        Direct maximisation, or EM with draws or nodes held still in each M-step.
    points : int, optional
        Gauss-Hermite nodes a dimension; by default 21, 11, 7, 5 for 1 to 4 skills.
    draws : int, optional
        Sobol draws a scrambling to begin with, a power of two.
    t_df : float, optional
        Degrees of freedom of a t proposal; normal by default.
    llf_tolerance : float
        Draws double until the Monte Carlo standard error of the log-likelihood is below this.
    tolerance : float
        Distance to the optimum, in standard errors, at which the final stage stops.
    max_iterations : int
        Quasi-Newton iterations a start may take.
    max_rounds : int, optional
        Rounds (direct) or cycles (EM) of the final stage; 12 and 500 by default.
    start_params : Series, dict or array, optional
        Natural parameters of one more start, put first.

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
    kept = {k: v for k, v in locals().items() if k not in ("model", "start_params", "progress", "n_jobs")}
    options = {name: value.item() if isinstance(value, np.generic) else value for name, value in kept.items()}
    began = time.perf_counter()
    _check_options(**options)
    rule = Rule.build(integration, model.pattern.n_skills, points, draws, llf_tolerance, t_df, seed)
    objective = Objective(model.space, model.internal_cells, model.penalty)
    shown = Progress(progress, starts + (start_params is not None))
    state = _State(model)
    try:
        ends, structures = _search(model, starts, seed, n_jobs, max_iterations, start_params, shown, state)
        maximum = _polish(model, objective, rule, structures, driver, tolerance, max_rounds, shown, state)
        state.stage = "the error estimate"
        covariance = _inverse_or_none(maximum.information)
        error = rule_error(objective, maximum.rule, maximum.u, maximum.loglike, covariance)
    except KeyboardInterrupt as stop:
        raise state.interrupted() from stop
    structure = model.recoding.user(model.space.structure(maximum.u))
    return Estimate(
        model.table.natural(structure), maximum.u, maximum.loglike, maximum.value, maximum.information,
        maximum.decrement, maximum.gradient, maximum.converged, maximum.rule, error,
        ends, maximum.evaluations, options, time.perf_counter() - began,
    )  # fmt: skip


def _check_options(integration, starts, seed, cov_type, driver, **others):
    if not (isinstance(starts, int) and starts >= 1):
        raise DataError(f"starts is a whole number, at least 1; got {starts!r}.")
    if not (isinstance(seed, int) and seed >= 0):
        raise DataError(f"seed is a whole number, at least 0; got {seed!r}.")
    if cov_type not in COV_TYPES:
        raise DataError(f"cov_type is one of {', '.join(COV_TYPES)}, not {cov_type!r}.")
    if driver not in DRIVERS:
        raise DataError(f"driver is one of {', '.join(DRIVERS)}, not {driver!r}.")
    if driver == "em" and integration == "laplace":
        raise DataError("EM needs nodes: use integration='monte_carlo' or 'quadrature' with driver='em'.")
    for name in ("tolerance", "llf_tolerance", "max_iterations", "max_rounds"):
        if others[name] is not None and not others[name] > 0:
            raise DataError(f"{name} must be positive; got {others[name]!r}.")


def _search(model, starts, seed, n_jobs, max_iterations, start_params, shown, state):
    """Table of starts, and the internal structures worth polishing, best first."""
    pattern, space = model.unrotated if model.pattern.reachable else (model.pattern, model.space)
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), _SEARCH_MODE_TOLERANCE)
    family_of_llm = model.family_codes
    candidates = list(starting_structures(objective, pattern, model.chance, family_of_llm, starts, seed))
    if start_params is not None:
        given = model.recoding.internal(model.table.structure(model.table.read(start_params)))
        if model.pattern.reachable:
            given = given.transformed(np.linalg.cholesky(given.skill_cov))
        candidates.insert(0, ("given", given))

    def in_users_form(start):
        structure = space.structure(start.u)
        return (
            model.pattern.rotate_from(structure)
            if model.pattern.reachable
            else model.pattern.reflect(structure)
        )

    def report(start):
        shown.start(start, SAME_OPTIMUM)
        if np.isfinite(start.value):
            state.keep(in_users_form(start), start.value)

    ends = search(objective, candidates, n_jobs, max_iterations, report)
    best = max(end.value for end in ends)
    if not np.isfinite(best):
        raise DataError(
            "No start gave a finite log-likelihood. Check for scores that jump between extremes within a family, or "
            "give start_params."
        )
    table = pd.DataFrame(
        [
            (end.kind, end.value, end.gradient, end.evaluations, end.value > best - SAME_OPTIMUM)
            for end in ends
        ],
        columns=["kind", "loglike", "gradient", "evaluations", "reached_best"],
    )
    table["loglike"] = table["loglike"].replace(-np.inf, np.nan)  # a start that failed
    table.index.name = "start"
    chosen = [end for end in best_distinct(ends, _MOST_POLISHED) if end.value > best - _WORTH_POLISHING]
    return table, [in_users_form(end) for end in chosen]


def _polish(model, objective, rule, structures, driver, tolerance, max_rounds, shown, state):
    """The best maximum over the structures, by the accurate rule."""
    climber = {"laplace": polish_laplace}.get(rule.kind, mcem if driver == "em" else polish_nodes)
    rounds = {} if max_rounds is None else {"max_rounds": max_rounds}
    state.stage, state.llf = f"the {rule.kind} stage", np.nan
    maxima = []
    for number, structure in enumerate(structures, 1):
        shown.stage(f"optimum {number} of {len(structures)}: {rule}")

        def report(round_number, loglike, distance, u):
            shown.round(round_number, loglike, distance)
            state.keep(model.space.structure(u), loglike)

        maximum = climber(objective, rule, model.space.free_vector(structure), tolerance, report, **rounds)
        turned = model.pattern.reflect(model.space.structure(maximum.u))
        if not np.array_equal(turned.loadings, model.space.structure(maximum.u).loadings):
            maximum = climber(
                objective, maximum.rule, model.space.free_vector(turned), tolerance, report, **rounds
            )
        maxima.append(maximum)
    return max(maxima, key=lambda maximum: maximum.value)


def _inverse_or_none(information):
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        return None
    return np.linalg.inv(information)
