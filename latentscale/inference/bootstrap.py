"""Bootstrap of the estimates: scores simulated at them, or families drawn with replacement.

Replicate r is made from child r of ``SeedSequence(seed)``: it depends neither on how many replicates there are, nor on
how many run at a time, nor on interruptions. It is fitted from the estimate, in the metric of the estimate's
information (``estimation.refit``).
"""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params
from threadpoolctl import threadpool_limits

from ..checks import check_alpha, check_one_of, check_seed, check_whole
from ..components.levels import levels_in
from ..errors import DataError
from ..estimation.polish import rule_information
from ..estimation.progress import Progress
from ..estimation.refit import refit
from ..estimation.search import climb
from ..likelihood.family_scores import family_scores
from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..models.resampling import parametric_replicate, resampled
from ..parameters.named import Parameters
from ..workers import run
from .bootstrap_store import Replicate, Store, store_header
from .covariance import Covariance, require_information
from .named_estimates import NamedEstimates

KINDS = ("parametric", "family")
METHODS = ("percentile", "bca", "basic")
_MOST_FAILED = 0.05
_CLIMB = 300  # quasi-Newton iterations
_REPORTS = 20
_STILL = 1e-9  # spread of a parameter, relative to its size, under which it counts as held fixed


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapResults(NamedEstimates):
    """Replicates of the estimates of a fit, and the inference that rests on them.

    Attributes
    ----------
    kind : {"parametric", "family"}
    seed : int
    rule : Rule
        Integration rule of the replicates, and of the estimate they are compared with.
    parameters : Parameters (P,)
    point : array (P,)
        The estimate.
    values : array (R, P)
        NaN in rows of replicates that failed.
    loglikes : array (R,)
    converged : bool array (R,)
    messages : tuple of str
        Why a replicate failed; empty where it did not.
    influence : array (L, P)
        About how far each family moves the estimate: U_l = V s_l, a one-step jackknife.
    """

    kind: str
    seed: int
    rule: Rule
    parameters: Parameters
    point: np.ndarray
    values: np.ndarray
    loglikes: np.ndarray
    converged: np.ndarray
    messages: tuple
    influence: np.ndarray

    def __post_init__(self):
        for array in (self.point, self.values, self.loglikes, self.converged, self.influence):
            array.flags.writeable = False

    def __repr__(self):
        return f"<BootstrapResults: {self._description()}>"

    def __str__(self):
        header = ["estimate", "bias", "std err", "[0.025", "0.975]"]
        lower, upper = self._quantiles(self._good, np.full((2, len(self.names)), [[0.025], [0.975]]))
        columns = (self.point, self.bias, self.bse, lower, upper)
        rows = [[f"{value:.4f}" for value in row] for row in zip(*columns, strict=True)]
        table = SimpleTable(rows, header, list(self.names), title=f"Bootstrap: {self.kind}", txt_fmt=fmt_params)
        notes = [f"{self._description()}; percentile intervals.", f"Integration: {self.rule}; seed {self.seed}."]
        return "\n".join([table.as_text(), *notes])

    def _description(self):
        lost = f", {self.failed} of them failed" if self.failed else ""
        law = "parametric bootstrap" if self.kind == "parametric" else f"bootstrap of {len(self.influence)} families"
        return f"{law}, {len(self.values)} replicates{lost}"

    # --- replicates --------------------------------------------------------------------------------------------

    @property
    def replicates(self):
        """Natural parameters of the replicates, DataFrame (R, P); NaN where a replicate failed."""
        index = pd.RangeIndex(len(self.values), name="replicate")
        return pd.DataFrame(self.values.copy(), index=index, columns=list(self.names))

    @property
    def record(self):
        """One row per replicate: replicate, llf, converged, message (why it failed)."""
        numbers = np.arange(len(self.values))
        columns = {"replicate": numbers, "llf": self.loglikes.copy(), "converged": self.converged.copy()}
        return pd.DataFrame(columns | {"message": list(self.messages)})

    @property
    def failed(self):
        """Number of replicates without estimates."""
        return int(np.sum(~self.converged))

    @property
    def names(self):
        """Names of the parameters, tuple of str."""
        return self.parameters.names

    @property
    def estimate(self):
        """What the replicates are compared with, Series (P,)."""
        return self._series(self.point, "estimate")

    @property
    def params(self):
        """``estimate``, under the name that all results have for it."""
        return self.estimate

    @property
    def _good(self):
        return self.values[self.converged]

    def _series(self, values, name):
        return pd.Series(np.array(values), index=list(self.names), name=name)

    # --- inference ---------------------------------------------------------------------------------------------

    def cov_params(self):
        """Covariance of the replicates, DataFrame (P, P); NaN with fewer than two of them."""
        return super().cov_params()

    @cached_property
    def _covariance_matrix(self):
        if len(self._good) < 2:
            return np.full((len(self.names),) * 2, np.nan)
        return np.cov(self._good, rowvar=False).reshape((len(self.names),) * 2)

    @property
    def bse(self):
        """Standard deviations of the replicates, Series (P,).

        Drawn families may hardly tell two skills apart, and a few replicates then have loadings that are many times
        the others'. Such tails dominate standard deviations, but not percentiles.
        """
        return super().bse

    @property
    def bias(self):
        """Mean of the replicates minus the estimate, Series (P,)."""
        mean = self._good.mean(axis=0) if len(self._good) else np.nan
        return self._series(mean - self.point, "bias")

    def covariance(self):
        """The covariance of the replicates as standard errors, tests and intervals of a fit use it: Covariance.

        Warns
        -----
        UserWarning
            If there are no more replicates than parameters, so that the matrix is singular.
        """
        if len(self._good) <= len(self.names):
            warnings.warn(
                f"{len(self._good)} replicates give a singular covariance of {len(self.names)} parameters: standard "
                "errors are usable, joint tests are not. Use more replications.",
                UserWarning,
                stacklevel=2,
            )
        return Covariance(self._covariance_matrix.copy(), "bootstrap", self._description())

    def conf_int(self, alpha=0.05, method="percentile"):
        """Confidence intervals, DataFrame (P, 2) with columns ``lower`` and ``upper``.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        method : {"percentile", "bca", "basic"}
            ``"percentile"``: quantiles of the replicates. ``"bca"``: at levels corrected for bias, from the share of
            replicates under the estimate, and for acceleration, a = sum U^3 / (6 (sum U^2)^1.5) over the families'
            influence values U (Efron 1987); NaN where all replicates lie to one side of the estimate. ``"basic"``:
            quantiles reflected about the estimate, on the scales of the Wald intervals.

        Warns
        -----
        UserWarning
            If endpoints lie beyond what so few replicates can resolve; it names the parameters.

        Raises
        ------
        DataError
            If the options make no sense, fewer than two replicates succeeded, or ``"bca"`` has no influence values
            as the observed information is not positive definite.
        """
        check_one_of("method", method, METHODS)
        check_alpha(alpha)
        good = self._good
        if len(good) < 2:
            raise DataError(f"Only {len(good)} of {len(self.values)} replicates succeeded; see .record for why.")
        levels = np.full((2, len(self.names)), [[0.5 * alpha], [1.0 - 0.5 * alpha]])
        if method == "bca":
            levels = self._bca_levels(levels)
        beyond = ~((levels * (len(good) + 1) >= 1.0) & (levels * (len(good) + 1) <= len(good)))
        self._warn_of(np.flatnonzero(beyond.any(axis=0)), method)
        ends = self._basic(levels) if method == "basic" else self._quantiles(good, levels)
        return pd.DataFrame(ends.T, index=list(self.names), columns=["lower", "upper"])

    @staticmethod
    def _quantiles(good, levels):
        """Quantiles of each parameter's replicates at its own levels, (2, P); NaN where the level is."""
        out = np.full(levels.shape, np.nan)
        for column in range(levels.shape[1]):
            known = np.isfinite(levels[:, column])
            if known.any() and len(good):
                out[known, column] = np.quantile(good[:, column], levels[known, column])
        return out

    def _basic(self, levels):
        ends = np.empty(levels.shape)
        for column, parameter in enumerate(self.parameters):
            forward, back = parameter.kind.scale.forward, parameter.kind.scale.back
            with np.errstate(divide="ignore", invalid="ignore"):  # on the edge of a parameter's range
                low, high = np.quantile(forward(self._good[:, column]), levels[:, column])
                centre = forward(self.point[column])
                ends[:, column] = back(2.0 * centre - high), back(2.0 * centre - low)
        return ends

    def _bca_levels(self, levels):
        if not np.isfinite(self.influence).all():
            raise DataError(
                "method='bca' needs the observed information, which is not positive definite: see fit.diagnose(). "
                "Use method='percentile'."
            )
        good, moves = self._good, self.influence - self.influence.mean(axis=0)
        square = np.sum(moves**2, axis=0)
        still = np.sqrt(square) <= _STILL * (1.0 + np.abs(self.point))
        acceleration = np.sum(moves**3, axis=0) / (6.0 * np.where(still, 1.0, square) ** 1.5)
        under = np.mean((good < self.point) + 0.5 * (good == self.point), axis=0)
        shift = stats.norm.ppf(under) + stats.norm.ppf(levels)
        with np.errstate(invalid="ignore"):  # infinite where all replicates lie to one side: NaN below
            corrected = stats.norm.ppf(under) + shift / (1.0 - acceleration * shift)
        defined = np.isfinite(shift) & (acceleration * shift < 1.0)
        return np.where(still, levels, np.where(defined, stats.norm.cdf(corrected), np.nan))

    def _warn_of(self, columns, method):
        if len(columns) == 0:
            return
        names = [self.names[column] for column in columns]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        warnings.warn(
            f"Endpoints of {method} intervals lie beyond what {len(self._good)} replicates can resolve, for {shown}. "
            "Use more replications.",
            UserWarning,
            stacklevel=3,
        )


def bootstrap(
    fit, kind="parametric", replications=200, seed=0, n_jobs=None, store=None, integration=None, progress=False
):
    """Bootstrap the estimates of a fit.

    Parameters
    ----------
    fit : LatentSkillResults
    kind : {"parametric", "family"}
        ``"parametric"``: scores are simulated at the estimate, for the same LLMs and cells. ``"family"``: families,
        the independent units, are drawn with replacement; this does not trust the model's law of the scores, but
        needs many families.
    replications : int
        At least 2. The first 100 of 200 are those of a run of 100.
    seed : int
        The same numbers whatever ``n_jobs`` is, and whether or not the run was interrupted.
    n_jobs : int, optional
        Replicates fitted in parallel; by default one, or what a surrounding ``ls.parallel`` says.
    store : str or Path, optional
        File that keeps the finished replicates, so that a run that was killed goes on from there, or a finished one
        is extended; its format is described in ``latentscale.inference.bootstrap_store``.
    integration : {"laplace", "quadrature", "monte_carlo"}, optional
        Rule of the replicates; that of the fit by default. With another one, such as the quicker ``"laplace"``, the
        estimate by that rule takes the place of the fit's.
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
    with threadpool_limits(1):  # sums by several threads need not agree in their last digit
        world = _world(fit, kind, seed, integration)
        influence = _influence(fit, world)
    replicates = _finished(world, replications, n_jobs, store, progress)
    return _collected(world, replicates, influence)


def _check_options(kind, replications, seed):
    check_one_of("kind", kind, KINDS)
    check_whole("replications", replications, 2)
    check_seed(seed)


# --- one replicate ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _World:
    """What every replicate needs: the fit's model and estimate, and the estimate by the rule of the replicates."""

    model: object
    estimate: object
    rule: Rule
    kind: str
    seed: int
    params: np.ndarray
    start: np.ndarray


def _world(fit, kind, seed, integration):
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


def _finished(world, replications, n_jobs, path, progress):
    """The replicates in their order: those of the store, and the others as they are made."""
    store, done = None, {}
    if path is not None:
        store = Store.open(path, store_header(world.model, world.estimate, world.rule, world.kind, world.seed))
        done = {number: one for number, one in store.done.items() if number < replications}
    shown, every = Progress(progress, 0), max(1, replications // _REPORTS)
    missing = [number for number in range(replications) if number not in done]
    try:
        for one in run(_replicate, ((number,) for number in missing), (world,), n_jobs, ordered=False):
            done[one.number] = one
            if store is not None:
                store.write(one)
            if len(done) % every == 0 or len(done) == replications:
                lost = sum(not other.converged for other in done.values())
                shown.stage(f"replicate {len(done)} of {replications}, {lost} failed")
    finally:
        if store is not None:
            store.close()
    return [done[number] for number in range(replications)]


def _replicate(world, number):
    """Make and fit one replicate; what goes wrong is put on record."""
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


def _maximised(world, model):
    """Refit from the estimate in its metric; failing that, in the metric of where it got to; then after a climb."""
    objective, rule = world.estimate.objective(model), world.rule
    end = refit(objective, rule, world.start, world.estimate.information)
    if not end.converged and np.isfinite(end.value):
        end = _again(objective, rule, end.coordinates)
    if end.converged:
        return end
    top = _climbed(world, model, objective)
    return end if top is None else _again(objective, rule, top)


def _climbed(world, model, objective):
    """End of a Laplace climb from the estimate, or None.

    It is free of coordinates where the form allows, as in the search of a fit: near collinear skills that matters.
    """
    structure = objective.space.structure(world.start)
    if not model.has_free_axes or world.estimate.restriction is not None:
        top = climb(objective, 0, "given", structure, _CLIMB)
        return top.u if np.isfinite(top.value) else None
    _, space = model.search_form
    free = Objective(space, model.internal_cells, model.penalty_on(space.table))
    top = climb(free, 0, "given", structure.transformed(np.linalg.cholesky(structure.skill_cov)), _CLIMB)
    found = np.isfinite(top.value)
    return objective.space.free_vector(model.pattern.rotate_from(space.structure(top.u))) if found else None


def _again(objective, rule, v):
    """Refit in the metric of the information at v: Louis's, for Laplace that of a modest grid where there is one."""
    nodal = rule.finer() if rule.kind == "laplace" and len(levels_in(objective.space.layout)) == 1 else rule
    information = rule_information(objective, nodal, v)
    return refit(objective, rule, v, information if np.isfinite(information).all() else np.eye(len(v)))


def _trouble(end):
    if not np.isfinite(end.value):
        return "has no finite log-likelihood"
    if end.converged:
        return "has estimates that are not finite"
    return f"stopped {end.distance:.2g} standard errors from its optimum"


def _natural(model, estimate, end):
    """Natural parameters of an end, with the signs that the form wants unless a restriction forbids them."""
    structure = model.recoding.user(end.space.structure(end.coordinates))
    positive = structure.unsigned()
    for turned in (model.pattern.reflect(positive), positive):
        params = model.table.natural(turned)
        if estimate.restriction is None:
            return params
        bound = 1e-8 * (1.0 + np.abs(estimate.restriction.value))
        if np.all(np.abs(estimate.restriction.residual(params)) < bound):
            return params
    return model.table.natural(structure)


def _influence(fit, world):
    """One-step jackknife of the natural parameters, U_l = V s_l, (L, P); NaN where V does not exist."""
    observed = fit.observed
    if not np.isfinite(observed.free).all():
        return np.full((fit.model.n_families, len(observed.matrix)), np.nan)
    scores = family_scores(world.estimate.objective(fit.model), world.start, world.rule)
    return scores @ observed.free @ observed.jacobian.T


def _collected(world, replicates, influence):
    parameters = world.model.table.parameters
    empty = np.full(len(parameters), np.nan)
    results = BootstrapResults(
        world.kind, world.seed, world.rule, parameters, np.array(world.params),
        np.array([empty if one.params is None else one.params for one in replicates]),
        np.array([one.llf for one in replicates]), np.array([one.converged for one in replicates]),
        tuple(one.message for one in replicates), influence,
    )  # fmt: skip
    if results.failed > _MOST_FAILED * len(replicates):
        reasons = sorted({one.message for one in replicates if one.message})
        warnings.warn(
            f"{results.failed} of {len(replicates)} replicates failed. Those are not a random part of the replicates, "
            f"so that intervals may be too narrow. The reasons are in .record, such as: {reasons[0]}",
            UserWarning,
            stacklevel=3,
        )
    return results
