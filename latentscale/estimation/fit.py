"""Fit a latent skill model: search, polish, covariance, and what to warn of."""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import numpy as np
import pandas as pd

from ..checks import check_whole
from ..components.levels import family_effects, levels_in
from ..errors import DataError
from ..likelihood.family_batches import spread_over
from ..likelihood.objective import Objective
from ..likelihood.rules import IntegrationError, Rule, require_laplace, rule_error
from ..models.options import checked_options, recorded_options
from ..parameters.restrictions import RestrictedSpace, Restriction, independent, natural_vector, read_restriction
from .ascent import complete_metric
from .fit_options import FIT_OPTIONS
from .mcem import mcem
from .polish import polish_laplace, polish_nodes, settle_laplace
from .progress import Progress
from .search import SAME_OPTIMUM, best_distinct, climb, search, starting_structures
from .stochastic import stochastic_climb

# Ends of the search this far below the best one may still win under the accurate rule.
_WORTH_POLISHING = 3.0
_MOST_POLISHED = 3
_SEARCH_MODE_TOLERANCE = 1e-6
# Under restrictions, or with effects that the search leaves out, the order of its ends may change: more are climbed.
_WORTH_CLIMBING = 20.0
_ZERO_SD = 1e-9
_NO_ERROR = IntegrationError(np.nan, np.nan, None)


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
    information : array (d, d)
        Minus the Hessian of the penalised log-likelihood in the optimiser's coordinates; under restrictions in
        the d = P - q of them that are left (``RestrictedSpace``).
    distance : float
        Distance to the optimum in standard errors.
    gradient : array (d,)
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
    restriction : Restriction or None
        What the parameters were made to satisfy.
    kept : int array (d,) or None
        Under a restriction, which of the coordinates ``free`` are left.
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
    error: IntegrationError
    starts: pd.DataFrame
    evaluations: int
    options: dict
    seconds: float = field(default=np.nan, compare=False)
    restriction: Restriction | None = None
    kept: np.ndarray | None = None

    @property
    def informed(self):
        """Whether the observed information was asked for; without it ``information`` and ``gradient`` are NaN."""
        return self.options.get("information", True)

    @property
    def coordinates(self):
        """The estimate in the optimiser's coordinates, array (d,)."""
        return self.free if self.kept is None else self.free[self.kept]

    def space(self, model):
        """The space of those coordinates."""
        if self.kept is None:
            return model.space
        solved = np.setdiff1d(np.arange(model.space.size), self.kept)
        return RestrictedSpace(model.space, model.recoding, independent(self.restriction), solved, self.free)

    def objective(self, model):
        """The log-likelihood that was maximised, on that space."""
        return Objective(self.space(model), model.internal_cells, model.penalty)


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
        user = model.recoding.user(model.pattern.reflect(self.structure)).unsigned()
        params = pd.Series(model.table.natural(user), index=model.param_names)
        return FitInterrupted(params, self.llf, self.stage)


def fit_latent_skill(
    model,
    integration="monte_carlo",
    starts=10,
    seed=0,
    n_jobs=None,
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
    constraints=None,
    information=True,
):
    """Marginal maximum likelihood of a LatentSkillModel.

    Parameters
    ----------
    model : LatentSkillModel
    integration : {"monte_carlo", "quadrature", "laplace"}
        Rule of the final stage; the search over starts uses Laplace. The only one for models with ``llm_effects``.
    starts : int
        Number of starts: the first from the data, the others at random.
    seed : int
        Seed of starts and draws; the same numbers whatever ``n_jobs`` is.
    n_jobs : int, optional
        Starts climbed in parallel (joblib); in other stages, and with one start, the threads that large tables are
        spread over. By default one, or what a surrounding ``ls.parallel`` says.
    progress : bool
        Report on the standard error stream.
    cov_type : {"observed", "cluster", "opg", "bootstrap", "none"}
        Covariance of the estimates; see ``LatentSkillResults.get_robust``.
    driver : {"direct", "em", "stochastic"}
        Direct maximisation; or EM with draws or nodes held still in each M-step; or, for very large tables, a search by
        Adam on minibatches of families, which the direct driver then ends.
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
        Natural parameters of one more start, put first; with them ``starts`` may be 0.
    constraints : str, list of str or array, optional
        Linear restrictions on the natural parameters, such as ``"slope[log(params_b),math] = 0"``.
    information : bool
        False leaves the observed information out, and with it standard errors and its share in the judgement of
        convergence: for fits that only predict, by Laplace with ``cov_type="none"``, several times faster. Laplace's
        determinant is then that of the expected curvature, so that no pole draws the optimiser.

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
    checked = checked_options(FIT_OPTIONS, locals())
    options, began = recorded_options(FIT_OPTIONS, checked), time.perf_counter()
    _check_together(**checked)
    levels = levels_in(model.table.layout)
    require_laplace(levels, integration)
    rule = Rule.build(integration, family_effects(model.table.layout), points, draws, llf_tolerance, t_df, seed)
    restriction = None if constraints is None else read_restriction(constraints, model.param_names)
    shown = Progress(progress, starts + (start_params is not None))
    state = _State(model)
    try:
        with spread_over(n_jobs):
            reordered = restriction is not None or _unsearched(model)
            found = _search(
                model, starts, seed, n_jobs, max_iterations, start_params, reordered, shown, state, not information,
                partial(stochastic_climb, seed=seed) if driver == "stochastic" else climb,
            )  # fmt: skip
            if information:
                candidates = _candidates(model, restriction, found.structures(), reordered, max_iterations)
                climber = {"laplace": polish_laplace}.get(rule.kind, mcem if driver == "em" else polish_nodes)
                maximum, objective = _polish(model, candidates, rule, climber, tolerance, max_rounds, shown, state)
                state.stage = "the error estimate"
                covariance = _inverse_or_none(maximum.information) if rule.kind == "monte_carlo" else None
                error = _NO_ERROR
                if len(levels) == 1:  # else there is no finer rule to judge by
                    error = rule_error(objective, maximum.rule, maximum.u, maximum.loglike, covariance)
            else:
                maximum, error = _settled(model, found, rule, tolerance, max_iterations, shown), _NO_ERROR
    except KeyboardInterrupt as stop:
        raise state.interrupted() from stop
    u = maximum.u if restriction is None else objective.space.free(maximum.u)
    ends = found.table
    return Estimate(
        natural_vector(model.space, model.recoding, u), u, maximum.loglike, maximum.value, maximum.information,
        maximum.decrement, maximum.gradient, maximum.converged, maximum.rule, error,
        ends, maximum.evaluations, options, time.perf_counter() - began, restriction,
        None if restriction is None else objective.space.kept,
    )  # fmt: skip


def _settled(model, found, rule, tolerance, max_iterations, shown):
    """The search's best end, settled in the search's own coordinates and then written in the user's form.

    A form's walls, such as a pivot that shrinkage has taken to zero, are nothing to the unrotated loadings. Effects
    that the search knows nothing of, such as random slopes, have no rotation: the best ends are climbed from in the
    user's form.
    """
    objective, best, in_users_form = found.objective, found.chosen[0], found.in_users_form
    if _unsearched(model):
        shown.stage("climbing with all random effects")
        objective = Objective(model.space, model.internal_cells, model.penalty, _SEARCH_MODE_TOLERANCE, True)
        ends = [climb(objective, 0, "slopes", structure, max_iterations) for structure in found.structures()]
        best = max(ends, key=lambda end: end.value)

        def in_users_form(u):
            return model.pattern.reflect(model.space.structure(u)).unsigned()

    shown.stage("settling the best start")
    maximum = settle_laplace(objective, rule, best.u, tolerance, lambda *_: None)
    u = model.space.free_vector(in_users_form(maximum.u))
    size = len(u)
    return replace(maximum, u=u, gradient=np.full(size, np.nan), information=np.full((size, size), np.nan))


def _check_together(integration, starts, cov_type, driver, start_params, constraints, information, **_):
    """What options may be beside each other."""
    if not information and (integration != "laplace" or cov_type != "none" or constraints is not None):
        raise DataError(
            "information=False is for fits with integration='laplace' and cov_type='none', without constraints."
        )
    if start_params is None:
        check_whole("starts (without start_params)", starts, 1)
    if driver == "em" and integration == "laplace":
        raise DataError("EM needs nodes: use integration='monte_carlo' or 'quadrature' with driver='em'.")


@dataclass(frozen=True)
class _Found:
    """What the search found: its table, its objective, the ends worth polishing (best first), and their form."""

    table: pd.DataFrame
    objective: Objective
    chosen: list
    in_users_form: object

    def structures(self):
        return [self.in_users_form(end.u) for end in self.chosen]


def _search(
    model, starts, seed, n_jobs, max_iterations, start_params, reordered, shown, state, expected=False, climber=climb
):
    """Climb from all starts by Laplace."""
    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table), _SEARCH_MODE_TOLERANCE, expected)
    family_of_llm = model.family_codes
    scales = {one.block: one.starting_scales for one in model.effects if one.in_search}
    drawn = starting_structures(objective, pattern, model.chance, family_of_llm, starts, seed, scales)
    candidates = list(islice(drawn, starts))  # none beside the one that is given, where none is wanted
    unsearched = {one.block: one.starting_scales for one in model.effects if not one.in_search}
    if start_params is not None:
        given = model.recoding.internal(model.table.structure(model.table.read(start_params)))
        unsearched = {name: given.scales[name] for name in unsearched}
        searched = {name: values for name, values in given.scales.items() if name not in unsearched}
        given = replace(given, scales=searched)
        if model.pattern.reachable:
            given = given.transformed(np.linalg.cholesky(given.skill_cov))
        candidates.insert(0, ("given", given))

    def in_users_form(u):
        structure = space.structure(u)
        turned = (
            model.pattern.rotate_from(structure)
            if model.pattern.reachable
            else model.pattern.reflect(structure)
        )
        return turned.unsigned().with_scales(**unsearched)

    def report(start):
        shown.start(start, SAME_OPTIMUM)
        if np.isfinite(start.value):
            state.keep(in_users_form(start.u), start.value)

    # the passes of one start are spread over threads instead
    n_jobs = 1 if len(candidates) == 1 else n_jobs
    ends = search(objective, candidates, n_jobs, max_iterations, report, climber)
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
    within = _WORTH_CLIMBING if reordered else _WORTH_POLISHING
    chosen = [end for end in best_distinct(ends, _MOST_POLISHED) if end.value > best - within]
    return _Found(table, objective, chosen, in_users_form)


def _candidates(model, restriction, structures, reordered, max_iterations):
    """(objective, starting coordinates) of what is to be polished.

    Under a restriction each has a space of its own, about its start. What the search knew nothing of, restrictions
    and some random effects, is climbed to by Laplace first, and only the best ends are kept.
    """
    candidates = []
    for number, structure in enumerate(structures):
        u, space = model.space.free_vector(structure), model.space
        if restriction is not None:
            scale = complete_metric(Objective(space, model.internal_cells, model.penalty), u)
            space = RestrictedSpace.near(space, model.recoding, restriction, u, scale @ scale.T)
            u = space.start[space.kept]
            if model.avoid_zero_sd:
                _refuse_zero_sd(space.structure(u), restriction)
        objective = Objective(space, model.internal_cells, model.penalty)
        value = np.inf
        if reordered:
            end = climb(objective, number, "restricted", space.structure(u), max_iterations)
            u, value = end.u, end.value
        candidates.append((objective, u, value))
    best = max(value for _, _, value in candidates)
    return [(objective, u) for objective, u, value in candidates if value >= best - _WORTH_POLISHING]


def _refuse_zero_sd(structure, restriction):
    """Stop where a restriction puts a standard deviation on the zero that its penalty keeps it from."""
    if any((np.abs(values) < _ZERO_SD).any() for values in structure.scales.values()):
        raise DataError(
            f"{'; '.join(restriction.labels)}: avoid_zero_sd=True keeps standard deviations off zero by a penalty. "
            "Make the model with avoid_zero_sd=False."
        )


def _polish(model, candidates, rule, climber, tolerance, max_rounds, shown, state):
    """The best maximum over the candidates, by the accurate rule, and its objective."""
    rounds = {} if max_rounds is None else {"max_rounds": max_rounds}
    state.stage, state.llf = f"the {rule.kind} stage", np.nan
    maxima = []
    for number, (objective, start) in enumerate(candidates, 1):
        shown.stage(f"optimum {number} of {len(candidates)}: {rule}")
        space = objective.space

        def report(round_number, loglike, distance, u, space=space):
            shown.round(round_number, loglike, distance)
            state.keep(space.structure(u), loglike)

        maximum = climber(objective, rule, start, tolerance, report, **rounds)
        turned = _turned(model, space, maximum.u)
        if turned is not None:
            maximum = climber(objective, maximum.rule, turned, tolerance, report, **rounds)
        maxima.append((maximum, objective))
    return max(maxima, key=lambda pair: pair[0].value)


def _turned(model, space, u):
    """The same law with signs as the form wants them, or None if they are so, or if a restriction forbids it."""
    structure = space.structure(u)
    wanted = model.pattern.reflect(structure).unsigned()
    if np.array_equal(space.layout.flatten(wanted), space.layout.flatten(structure)):
        return None
    turned = space.free_vector(wanted)
    reached = space.layout.flatten(space.structure(turned))
    same = np.allclose(reached, space.layout.flatten(wanted), rtol=1e-8, atol=1e-8)
    return turned if same else None


def _unsearched(model):
    """Whether the model has random effects that the search over starts leaves out."""
    return not all(one.in_search for one in model.effects)


def _inverse_or_none(information):
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        return None
    return np.linalg.inv(information)
