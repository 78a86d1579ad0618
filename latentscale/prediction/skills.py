"""Joint draws of the skills of LLMs: of the fit, of known and of unseen families, partly observed or not."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from pandas.api import types

from ..checks import check_seed, check_several_of, check_whole
from ..components.levels import levels_of
from ..errors import DataError
from ..models.new_llms import read_new_llms
from ..tables import read_scores, read_table, some
from .evidence import gather_evidence
from .parameters import parameter_law
from .sampling import DRAWS, effect_draws, generator
from .sensitivity import sensitivities

SOURCES = ("parameters", "family", "score")
BEYOND = 10.0  # factor beyond the data from which predictions warn
SPREADS = 16  # draws of the standard deviations of slopes and residuals, where those have a law


@dataclass(frozen=True)
class Request:
    """The LLMs that are asked for.

    Attributes
    ----------
    llms : Index (n,)
    families : tuple of n str
    x : array (n, p)
        Covariates.
    random : array (n, r)
        Covariates of random slopes, about their means.
    scores : array (n, J) or None
        Scores to condition on, NaN where missing.
    residuals : bool
        Whether these are LLMs with residuals of their own, rather than a family's LLMs on average.
    """

    llms: pd.Index
    families: tuple
    x: np.ndarray
    random: np.ndarray
    scores: np.ndarray = None
    residuals: bool = True

    def __len__(self):
        return len(self.llms)


def read_request(model, data=None, observed=False):
    """Request for the LLMs of a table, or for those in the likelihood.

    Raises
    ------
    DataError
        If columns are absent, a covariate is missing, or ``observed`` is asked for without a score.
    """
    if data is None:
        families = tuple(model.families[model.family_codes])
        return Request(model.llms, families, model.design.x, model.random_design)
    index, families, x = read_new_llms(model, data)
    warn_beyond(model, read_table(data).set_index(index))
    scores = None
    if observed:
        table = read_table(data)
        present = [name for name in model.benchmarks if name in table.columns]
        if not present:
            raise DataError(
                "observed=True conditions on scores, but the table has no column of the benchmarks "
                f"{list(model.benchmarks)}."
            )
        scores = np.full((len(table), len(model.benchmarks)), np.nan)
        places = [model.benchmarks.index(name) for name in present]
        scores[:, places] = read_scores(table, present, [str(name) for name in index])
    return Request(index, tuple(families), x, model.random_covariates(x), scores)


def warn_beyond(model, table):
    """Warn of LLMs whose covariates are beyond those of the fit by more than a factor of ``BEYOND``."""
    fitted = model.panel.table.loc[list(model.llms)]
    for name in sorted(str(variable) for variable in model.design.spec.formula.required_variables):
        column, known = table[name], fitted[name]
        numbers = types.is_numeric_dtype(known.dtype) and not types.is_bool_dtype(known.dtype)
        if not numbers or (known <= 0.0).any():
            continue
        value = pd.to_numeric(column)
        far = (value > BEYOND * known.max()) | (value < known.min() / BEYOND)
        if far.any():
            warnings.warn(
                f"{name} of {some(list(table.index[far]))} is more than {BEYOND:g} times beyond the data, where it "
                f"lies between {known.min():.4g} and {known.max():.4g}: these predictions extrapolate the scaling "
                "formula, and their intervals take its form for granted.",
                UserWarning,
                stacklevel=6,
            )


@dataclass(frozen=True)
class SkillDraws:
    """Joint draws of skills.

    Attributes
    ----------
    llms : Index (n,)
    theta : array (S, n, K)
        Draw s of all LLMs together; those of one family share their family effects.
    structures : tuple of T Structures
        In users' covariates.
    which : int array (S,)
        ``structures[which[s]]`` are the parameters of draw s. One Structure, the estimate, stands for all draws: the
        parameters' uncertainty is carried to skills by the delta method.
    """

    llms: pd.Index
    theta: np.ndarray
    structures: tuple
    which: np.ndarray


def skill_draws(fit, data=None, observed=False, size=2000, seed=0, uncertainty=("parameters", "family")):
    """Draws of theta_i given the data.

    Parameters
    ----------
    fit : LatentSkillResults
    data : table, optional
        As for ``predict``; the LLMs in the likelihood by default.
    observed : bool
        Whether to condition on the scores in ``data`` too.
    size : int
    seed : int
    uncertainty : sequence of {"parameters", "family"}
        Sources: of the estimates, and of families' effects and LLMs' residuals given the parameters. A source that is
        left out is replaced by its mean.

    Returns
    -------
    SkillDraws
    """
    request = read_request(fit.model, data, observed)
    sources = read_sources(uncertainty)
    theta = JointDraws(fit, request, size, seed, sources=sources).skills(sources)
    return SkillDraws(request.llms, theta, (fit.structure,), np.zeros(int(size), dtype=int))


def read_sources(uncertainty):
    """The set of sources, checked."""
    return set(check_several_of("uncertainty", uncertainty, SOURCES, empty=True))


class JointDraws:
    """Draws of family effects and LLM residuals at the estimate, and the parameters' part by the delta method.

    Standard deviations of slopes and residuals that have a law of their own (``ParameterLaw.spreads``) are not moved by
    the delta method: effects are drawn at ``SPREADS`` draws of them, in equal shares.

    Parameters
    ----------
    fit : LatentSkillResults
    request : Request
    size : int
        S, draws of equal weight.
    seed : int
        Draws of one family depend on the seed, its name and its scores alone.
    proposals : int
        Weighted draws a family that they are chosen from.
    sources : collection of str
        With "parameters", standard deviations that have a law are drawn.
    """

    def __init__(self, fit, request, size, seed=0, proposals=DRAWS, sources=()):
        self.fit, self.request = fit, request
        self.size, self.seed = check_whole("size", size, 2), check_seed(seed)
        model = fit.model
        self.evidence = gather_evidence(model, request.llms, request.families, request.x, request.scores)
        self.structure, self.structures = fit.structure, self._structures(sources)
        if len(self.structures) > 1:
            proposals = 2 * proposals // len(self.structures)
        cells, names = self._cells(), self.evidence.families
        self.found = tuple({} for _ in self.structures)
        if cells is not None:
            self.found = tuple(
                dict(zip(names, effect_draws(structure, cells, names, proposals, self.seed), strict=True))
                for structure in self.structures
            )

    def _structures(self, sources):
        """The laws of effects that are drawn from, in equal shares."""
        structure = self.fit.structure
        if "parameters" in sources and self.fit.model.avoid_zero_sd and len(self.law.spreads):
            return tuple(self.law.spread_structures(structure, SPREADS, self.seed))
        return (structure,)

    def _cells(self):
        """The scores that effects are drawn given, None without any."""
        return self.evidence.cells

    @cached_property
    def law(self):
        """ParameterLaw of the fit."""
        return parameter_law(self.fit)

    @cached_property
    def theta(self):
        """Draws of skills given the estimate (S, n, K)."""
        return self._drawn()

    def _drawn(self):
        request, slopes = self.request, self.structures[0].slopes
        out = np.broadcast_to(request.x @ slopes, (self.size, len(request), slopes.shape[1])).copy()
        parts = np.array_split(np.arange(self.size), len(self.structures))
        for family in dict.fromkeys(request.families):
            rng = generator(self.seed, f"draws {family}")
            places = np.flatnonzero([name == family for name in request.families])
            for structure, found, part in zip(self.structures, self.found, parts, strict=True):
                drawn = found.get(family)
                alpha, chosen = _family_effects(structure, drawn, len(part), rng)
                for place in places:
                    outer, *inner = levels_of(structure)
                    added = outer.added(structure, alpha, request.random[place])
                    for level in inner if request.residuals else ():
                        effects = self._unit_effects(level, structure, drawn, (family, place), chosen, len(part), rng)
                        added = added + level.added(structure, effects, request.random[place])
                    out[part, place] += added
        return out

    def _unit_effects(self, level, structure, drawn, llm, chosen, size, rng):
        """Effects (S, D) of an LLM at an inner level: given its scores if it has any, else from their distribution."""
        family, place = llm
        row = self.evidence.rows.get((family, self.request.llms[place]))
        if row is not None and chosen is not None:
            return drawn.by_llm[row][chosen]
        return level.draws(rng, structure, size)

    @cached_property
    def moves(self):
        """What one standard normal draw of each direction of the parameters adds: Sensitivities."""
        return sensitivities(self.law, self.fit.model, self.request, self.evidence)

    @cached_property
    def deviates(self):
        """Standard normal draws of the parameters' directions (S, d)."""
        rng = np.random.default_rng([self.seed, 1])
        return rng.standard_normal((self.size, len(self.moves.theta)))

    def skills(self, sources):
        """Draws of skills (S, n, K) with the sources of uncertainty that are wanted."""
        theta = self.theta
        if "family" not in sources:
            theta = np.broadcast_to(theta.mean(axis=0), theta.shape).copy()
        if "parameters" in sources:
            theta = theta + np.tensordot(self.deviates, self.moves.theta, axes=1)
        return theta


def _family_effects(structure, drawn, size, rng):
    """Equally weighted effects (S, D) of a family, and which of its weighted draws they are (None if unseen)."""
    if drawn is not None:
        chosen = drawn.resampled(size, rng)
        return drawn.alpha[chosen], chosen
    cov = levels_of(structure)[0].covariance(structure)
    return rng.standard_normal((size, len(cov))) @ np.linalg.cholesky(cov).T, None
