"""Bootstrap of the estimates, with scores simulated at the estimate or families drawn with replacement.

Replicate r is made with child r of ``SeedSequence(seed)``. So it does not depend on how many replicates there are, on
how many run at the same time, or on interruptions. Each is fitted from the estimate, in the metric of the estimate's
information (``estimation.refit``).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from ..checks import check_one_of, check_seed, check_whole
from ..components.levels import levels_in, too_many_for_nodes
from ..errors import DataError
from ..estimation.polish import rule_information
from ..estimation.progress import Progress
from ..estimation.refit import Refit, refit
from ..estimation.search import climb
from ..likelihood.family_scores import family_scores
from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..models.latent_skill import LatentSkillLaw
from ..models.resampling import parametric_replicate, resampled
from ..workers import run
from .bootstrap_results import BootstrapResults
from .bootstrap_store import Replicate, Store, store_header
from .covariance import require_information

if TYPE_CHECKING:
    from ..estimation.estimate import Estimate
    from ..results.latent_skill import LatentSkillResults

KINDS = ("parametric", "family")
_MOST_FAILED = 0.05  # share of failed replicates above which there is a warning
_CLIMB = 300  # quasi-Newton iterations
_REPORTS = 20  # reports of progress


def bootstrap(
    fit: "LatentSkillResults",
    kind: str = "parametric",
    replications: int = 200,
    seed: int = 0,
    n_jobs: int | None = None,
    store: str | Path | None = None,
    integration: str | None = None,
    progress: bool = False,
) -> BootstrapResults:
    """Bootstrap the estimates of a fit.

    Parameters
    ----------
    fit : LatentSkillResults
    kind : {"parametric", "family"}
        ``"parametric"``: scores are simulated at the estimate, for the same LLMs and cells. ``"family"``: families,
        which are independent of each other, are drawn with replacement; this does not rely on the model's law of the
        scores, but needs many families.
    replications : int
        At least 2. The first 100 of 200 are those of a run of 100.
    seed : int
        At least 0. Results do not depend on ``n_jobs``, nor on whether the run was interrupted.
    n_jobs : int, optional
        Replicates fitted in parallel; by default one, or what a surrounding ``ls.parallel`` says.
    store : str or Path, optional
        File that keeps the finished replicates, so that a run that was killed continues from there, or a finished one
        is extended; its format is described in ``latentscale.inference.bootstrap_store``.
    integration : {"laplace", "quadrature", "monte_carlo"}, optional
        Rule of the replicates; that of the fit by default. With another one, such as the faster ``"laplace"``,
        replicates are compared with the estimate by that rule instead of the fit's.
    progress : bool
        Report on the standard error stream.

    Returns
    -------
    BootstrapResults

    Raises
    ------
    DataError
        If options make no sense, the store cannot be used or is of another run (the message says what differs), or
        the estimate by another rule was not found.

    Warns
    -----
    UserWarning
        If more than 5 % of the replicates failed.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
    >>> fit = ls.LatentSkillModel(panel, skills=1).fit(integration="laplace", starts=1)
    >>> replicates = bootstrap(fit, replications=10, seed=1)
    >>> replicates
    <BootstrapResults: parametric bootstrap, 10 replicates>
    >>> replicates.replicates.shape == (10, fit.df_model)
    True
    """
    _check_options(kind, replications, seed)
    require_information(fit, "bootstrap")
    with threadpool_limits(1):  # sums over several threads may differ in their last digit
        world = _world(fit, kind, seed, integration)
        influence = _influence(fit, world)
    replicates = _finished(world, replications, n_jobs, store, progress)
    return _collected(world, replicates, influence)


def _check_options(kind: str, replications: int, seed: int) -> None:
    check_one_of("kind", kind, KINDS)
    check_whole("replications", replications, 2)
    check_seed(seed)


# --- one replicate ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _World:
    """What every replicate needs.

    Attributes
    ----------
    model : LatentSkillLaw
    estimate : Estimate
        Of the fit.
    rule : Rule
        Of the replicates.
    kind : {"parametric", "family"}
    seed : int
    params : array (P,)
        Natural parameters of the estimate by the rule of the replicates.
    start : array (d,)
        The same in the optimiser's coordinates, from where replicates are fitted.
    """

    model: LatentSkillLaw
    estimate: "Estimate"
    rule: Rule
    kind: str
    seed: int
    params: np.ndarray
    start: np.ndarray


def _world(fit: "LatentSkillResults", kind: str, seed: int, integration: str | None) -> _World:
    """Return what every replicate needs; with another rule than the fit's the estimate by that rule is found first."""
    model, estimate = fit.model, fit.estimate
    rule = estimate.rule
    world = _World(model, estimate, rule, kind, int(seed), estimate.params, estimate.coordinates)
    if integration is None or integration == rule.kind:
        return world
    world = replace(world, rule=Rule.build(integration, rule.n_skills, seed=rule.seed))
    end = _maximised(world, model)
    if not end.converged:
        raise DataError(
            f"The estimate with integration={integration!r}, which replicates by that rule are to be compared with, "
            f"was not found: it {_trouble(end)}. Bootstrap with the rule of the fit (integration=None)."
        )
    return replace(world, params=_natural(model, estimate, end), start=end.coordinates)


def _finished(
    world: _World, replications: int, n_jobs: int | None, path: str | Path | None, progress: bool
) -> list[Replicate]:
    """Return the replicates in their order: those of the store, and the missing ones as they are fitted."""
    store = None
    done: dict[int, Replicate] = {}
    if path is not None:
        store = Store.open(path, store_header(world.model, world.estimate, world.rule, world.kind, world.seed))
        done = {number: replicate for number, replicate in store.done.items() if number < replications}
    shown, every = Progress(progress, 0), max(1, replications // _REPORTS)
    missing = [number for number in range(replications) if number not in done]
    try:
        for replicate in run(_replicate, ((number,) for number in missing), (world,), n_jobs, ordered=False):
            done[replicate.number] = replicate
            if store is not None:
                store.write(replicate)
            if len(done) % every == 0 or len(done) == replications:
                failed = sum(not replicate.converged for replicate in done.values())
                shown.stage(f"replicate {len(done)} of {replications}, {failed} failed")
    finally:
        if store is not None:
            store.close()
    return [done[number] for number in range(replications)]


def _replicate(world: _World, number: int) -> Replicate:
    """Make and fit one replicate; an error is recorded in its message."""
    child = np.random.SeedSequence(world.seed, spawn_key=(number,))
    with threadpool_limits(1):
        try:
            if world.kind == "parametric":
                model = parametric_replicate(world.model, world.params, child)
            else:
                count = world.model.n_families
                model = resampled(world.model, np.random.default_rng(child).integers(count, size=count))
            end = _maximised(world, model)
            params = _natural(model, world.estimate, end) if end.converged else None
        except (ValueError, ArithmeticError) as error:  # DataError and LinAlgError are ValueErrors
            return Replicate(number, None, np.nan, False, f"{type(error).__name__}: {error}")
    if params is not None and np.isfinite(params).all():
        return Replicate(number, params, end.loglike, True, "")
    llf = end.loglike if np.isfinite(end.loglike) else np.nan
    return Replicate(number, None, llf, False, f"It {_trouble(end)}.")


def _maximised(world: _World, model: LatentSkillLaw) -> Refit:
    """Return the maximum of a replicate's log-likelihood, started from the estimate in the metric of its information.

    If that fails the search continues in the metric of the information at the point it reached, and if that fails too
    it starts again from the end of a quasi-Newton search.
    """
    objective, rule = world.estimate.objective(model), world.rule
    end = refit(objective, rule, world.start, world.estimate.information)
    if not end.converged and np.isfinite(end.value):
        end = _again(objective, rule, end.coordinates)
    if end.converged:
        return end
    top = _climbed(world, model, objective)
    return end if top is None else _again(objective, rule, top)


def _climbed(world: _World, model: LatentSkillLaw, objective: Objective) -> np.ndarray | None:
    """Return the end of a quasi-Newton search of the Laplace log-likelihood from the estimate, or None.

    Where the form merely chooses axes the search leaves them free, as the search of a fit does; that matters where
    skills are nearly collinear.
    """
    structure = objective.space.structure(world.start)
    if not model.has_free_axes or world.estimate.restriction is not None:
        top = climb(objective, 0, "given", structure, _CLIMB)
        return top.u if np.isfinite(top.value) else None
    _, space = model.search_form
    free = Objective(space, model.internal_cells, model.penalty_on(space.table))
    top = climb(free, 0, "given", structure.transformed(np.linalg.cholesky(structure.skill_cov)), _CLIMB)
    is_finite = np.isfinite(top.value)
    return objective.space.free_vector(model.pattern.rotate_from(space.structure(top.u))) if is_finite else None


def _again(objective: Objective, rule: Rule, v: np.ndarray) -> Refit:
    """Refit in the metric of the information at v by Louis's formula.

    For Laplace's rule the information is computed on a modest grid where there is one.
    """
    few = not too_many_for_nodes(levels_in(objective.space.layout))
    nodal = rule.finer() if rule.kind == "laplace" and few else rule
    information = rule_information(objective, nodal, v)
    return refit(objective, rule, v, information if np.isfinite(information).all() else np.eye(len(v)))


def _trouble(end: Refit) -> str:
    """Return in words why a refit is of no use."""
    if not np.isfinite(end.value):
        return "has no finite log-likelihood"
    if end.converged:
        return "has estimates that are not finite"
    return f"stopped {end.distance:.2g} standard errors from its optimum"


def _natural(model: LatentSkillLaw, estimate: "Estimate", end: Refit) -> np.ndarray:
    """Return the natural parameters of a refit.

    Skills have the signs that the form wants unless a restriction forbids them.
    """
    structure = model.recoding.user(end.space.structure(end.coordinates))
    positive = structure.unsigned()
    for candidate in (model.pattern.reflect(positive), positive):
        params = model.table.natural(candidate)
        if estimate.restriction is None:
            return params
        bound = 1e-8 * (1.0 + np.abs(estimate.restriction.value))
        if np.all(np.abs(estimate.restriction.residual(params)) < bound):
            return params
    return model.table.natural(structure)


def _influence(fit: "LatentSkillResults", world: _World) -> np.ndarray:
    """Return the influence of each family on the natural parameters, U_l = V s_l, (L, P).

    NaN where the inverse information V does not exist.
    """
    observed = fit.observed
    if not np.isfinite(observed.free).all():
        return np.full((fit.model.n_groups, len(observed.matrix)), np.nan)
    scores = family_scores(world.estimate.objective(fit.model), world.start, world.rule)
    return scores @ observed.free @ observed.jacobian.T


def _collected(world: _World, replicates: Sequence[Replicate], influence: np.ndarray) -> BootstrapResults:
    """Return the results of the replicates, with a warning if many failed."""
    parameters = world.model.table.parameters
    empty = np.full(len(parameters), np.nan)
    results = BootstrapResults(
        world.kind, world.seed, world.rule, parameters, np.array(world.params),
        np.array([empty if replicate.params is None else replicate.params for replicate in replicates]),
        np.array([replicate.llf for replicate in replicates]),
        np.array([replicate.converged for replicate in replicates]),
        tuple(replicate.message for replicate in replicates), influence,
    )  # fmt: skip
    if results.failed > _MOST_FAILED * len(replicates):
        reasons = sorted({replicate.message for replicate in replicates if replicate.message})
        warnings.warn(
            f"{results.failed} of {len(replicates)} replicates failed. Those are not a random part of the replicates, "
            f"so that intervals may be too narrow. The reasons are in .record, such as: {reasons[0]}",
            UserWarning,
            stacklevel=3,
        )
    return results
