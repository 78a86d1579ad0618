"""Joint draws of the skills of LLMs: of the fit, of known families and of unseen ones, with or without scores."""

import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrame
from pandas.api import types

from ..checks import check_seed, check_several_of, check_whole
from ..components.cells import Cells
from ..components.levels import Level, levels_of, ungrouped
from ..components.response import precisions
from ..errors import DataError
from ..models.latent_skill import LatentSkillLaw
from ..models.new_llms import read_new_llms
from ..parameters.kinds import GROUP_SHARE
from ..parameters.structure import Structure
from ..tables import read_scores, read_table, some
from .conditioning_scores import gather_conditioning_scores
from .importance_sampling import DRAWS, EffectDraws, effect_draws, generator
from .parameter_law import ParameterLaw, parameter_law
from .sensitivity import Sensitivities, sensitivities

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

SOURCES = ("parameters", "family", "score")
BEYOND = 10.0  # factor beyond the range of the fit from which on predictions warn
SPREADS = 16  # draws of the standard deviations of random effects, where these have a law of their own


@dataclass(frozen=True)
class Request:
    """The LLMs whose skills or scores are asked for.

    Attributes
    ----------
    llms : Index (n,)
    families : tuple of n str
    x : array (n, p)
        Covariates.
    random : array (n, r)
        Covariates of random slopes, minus their means over the LLMs of the fit.
    scores : array (n, J) or None
        Scores to condition on, NaN where missing.
    dispersion : array (n, q) or None
        Covariates of the precisions, where the model has such.
    groups : int array (n,) or None
        Groups of the LLMs' families, as positions in ``model.groups``, where families are nested in such; -1 for an
        unseen group.
    residuals : bool
        Whether residual skills of LLMs are included, where the model has them; without them a prediction is for the
        average LLM of a family with these covariates.
    """

    llms: pd.Index
    families: tuple[str, ...]
    x: np.ndarray
    random: np.ndarray
    scores: np.ndarray | None = None
    dispersion: np.ndarray | None = None
    groups: np.ndarray | None = None
    residuals: bool = True

    def __len__(self) -> int:
        return len(self.llms)


def read_request(model: LatentSkillLaw, data: IntoFrame | None = None, observed: bool = False) -> Request:
    """Return the Request for the LLMs of a table, or for those in the likelihood.

    With ``observed`` it conditions on the scores in the table.

    Raises
    ------
    DataError
        If columns are absent, a covariate is missing, or ``observed`` is asked for without a score.
    """
    if data is None:
        families = tuple(model.families[model.family_codes])
        groups = model.group_codes if model.nested else None
        return Request(
            model.llms, families, model.design.x, model.random_design, dispersion=model.dispersion, groups=groups
        )
    index, names, x = read_new_llms(model, data)
    indexed = read_table(data).set_index(index)
    warn_beyond(model, indexed)
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
        columns = [model.benchmarks.index(name) for name in present]
        scores[:, columns] = read_scores(table, present, [str(name) for name in index])
    families = tuple(names or ())
    return Request(
        index, families, x, model.random_covariates(x), scores, model.dispersion_of(indexed),
        groups_of(model, families, indexed),
    )  # fmt: skip


def groups_of(
    model: LatentSkillLaw, families: Sequence[str], table: pd.DataFrame | None = None
) -> np.ndarray | None:
    """Return the groups of LLMs of some families, as positions in ``model.groups``, -1 for unseen ones.

    None for models without groups. ``table`` may have the panel's column of groups.
    """
    if not model.nested:
        return None
    known = {family: code for code, family in enumerate(model.families)}
    codes = np.array([known.get(family, -1) for family in families], dtype=int)
    return model.groups_of(pd.DataFrame(index=range(len(codes))) if table is None else table, codes)


def warn_beyond(model: LatentSkillLaw, table: pd.DataFrame) -> None:
    """Warn of LLMs with a covariate that is beyond the range of the fit by more than a factor of ``BEYOND``.

    Only covariates that are positive for all LLMs of the fit are looked at.
    """
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
        Skills theta[s] of all LLMs in draw s. In one draw LLMs of one family share their family's effects.
    structures : tuple of Structures
        Parameters, with slopes of users' covariates.
    which : int array (S,)
        ``structures[which[s]]`` are the parameters of draw s. Draws so far have a single Structure, the estimate: the
        uncertainty of the parameters is added to skills by the delta method.
    """

    llms: pd.Index
    theta: np.ndarray
    structures: tuple[Structure, ...]
    which: np.ndarray


def skill_draws(
    fit: "LatentSkillResults",
    data: IntoFrame | None = None,
    observed: bool = False,
    size: int = 2000,
    seed: int = 0,
    uncertainty: str | Sequence[str] = ("parameters", "family"),
) -> SkillDraws:
    """Return draws of the skills theta_i of LLMs given the data.

    Parameters
    ----------
    fit : LatentSkillResults
    data : table, optional
        As for ``predict``; the LLMs in the likelihood by default.
    observed : bool
        Whether to condition on the scores in ``data`` too.
    size : int
        Number of draws, at least 2.
    seed : int
        At least 0.
    uncertainty : sequence of {"parameters", "family"}
        Sources of uncertainty that are drawn: the estimates, and families' effects with LLMs' residual skills given the
        parameters. A source that is left out is replaced by its mean.

    Returns
    -------
    SkillDraws
    """
    request = read_request(fit.model, data, observed)
    sources = read_sources(uncertainty)
    theta = JointDraws(fit, request, size, seed, sources=sources).skills(sources)
    return SkillDraws(request.llms, theta, (fit.structure,), np.zeros(int(size), dtype=int))


def read_sources(uncertainty: str | Iterable[str]) -> set[str]:
    """Return the sources of uncertainty as a set; raise DataError for unknown ones."""
    return set(check_several_of("uncertainty", uncertainty, SOURCES, empty=True))


class JointDraws:
    """Draws of effects of families and LLMs at the estimate, to which the parameters' uncertainty is added.

    That of most parameters is added by the delta method (``prediction.sensitivity``). Standard deviations of random
    effects that have a law of their own (``ParameterLaw.spreads``) are drawn instead: effects are drawn at ``SPREADS``
    values of these, in equal shares.

    Parameters
    ----------
    fit : LatentSkillResults
    request : Request
    size : int
        S, the number of draws, which have equal weight.
    seed : int
        The draws of a family depend on the seed, its name and its scores only.
    proposals : int
        Weighted draws of each family from which its draws are chosen.
    sources : collection of str
        With "parameters" in it, standard deviations that have a law of their own are drawn.
    """

    def __init__(
        self,
        fit: "LatentSkillResults",
        request: Request,
        size: int,
        seed: int = 0,
        proposals: int = DRAWS,
        sources: Collection[str] = (),
    ) -> None:
        self.fit, self.request = fit, request
        self.size, self.seed = check_whole("size", size, 2), check_seed(seed)
        model = fit.model
        self.conditioning = gather_conditioning_scores(
            model, request.llms, request.families, request.x, request.scores,
            request.dispersion, request.groups,
        )  # fmt: skip
        self.structure, self.structures = fit.structure, self._structures(sources)
        if len(self.structures) > 1:
            proposals = 2 * proposals // len(self.structures)
        cells, names = self._cells(), self.conditioning.families
        self.weighted_draws: tuple[dict[str, EffectDraws], ...] = tuple({} for _ in self.structures)
        if cells is not None:
            self.weighted_draws = tuple(
                dict(zip(names, effect_draws(structure, cells, names, proposals, self.seed), strict=True))
                for structure in self.structures
            )

    def _structures(self, sources: Collection[str]) -> tuple[Structure, ...]:
        """Return the parameters at which effects are drawn, in equal shares."""
        structure = self.fit.structure
        if "parameters" in sources and self.fit.model.avoid_zero_sd and len(self.law.spreads):
            return tuple(self.law.spread_structures(structure, SPREADS, self.seed))
        return (structure,)

    def _cells(self) -> Cells | None:
        """Return the scores that effects are drawn given; None without any. Subclasses may replace them."""
        return self.conditioning.cells

    @cached_property
    def law(self) -> ParameterLaw:
        """Law of the parameters of the fit."""
        return parameter_law(self.fit)

    @cached_property
    def theta(self) -> np.ndarray:
        """Draws of skills at the estimate, array (S, n, K)."""
        return self._drawn[0]

    @property
    def beside(self) -> np.ndarray | float:
        """What families' effects on single benchmarks add to linear predictors in the same draws: (S, n, J), or 0."""
        return self._drawn[1]

    def predictors(self, sources: Collection[str]) -> np.ndarray:
        """Return draws of linear predictors at the estimate, (S, n, J), at mean effects without the source "family"."""
        theta, beside = self.theta, self.beside
        if "family" not in sources:
            theta = np.broadcast_to(theta.mean(axis=0), theta.shape)
            beside = np.mean(beside, axis=0)
        return theta @ self.structure.loadings.T + self.structure.intercepts + beside

    @property
    def log_precision(self) -> np.ndarray:
        """Logarithms of the precisions at the estimate, (1, n, J), or (1, 1, J) if they are those of the benchmarks."""
        return np.log(precisions(self.structure, self.request.dispersion))[None]

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray | float]:
        """Draws of skills, B' x plus what effects of all levels add, and of what they add beside skills."""
        request, slopes = self.request, self.structures[0].slopes
        theta = np.broadcast_to(request.x @ slopes, (self.size, len(request), slopes.shape[1])).copy()
        families = levels_of(ungrouped(self.structure))[0]
        beside: np.ndarray | float = 0.0
        if any(term.particular for term in families.terms):
            beside = np.zeros((*theta.shape[:2], len(self.structure.loadings)))
        shares = np.array_split(np.arange(self.size), len(self.structures))
        for family in dict.fromkeys(request.families):
            rng = generator(self.seed, f"draws {family}")
            places = np.flatnonzero([name == family for name in request.families])
            for part, (nested, by_family, share) in enumerate(
                zip(self.structures, self.weighted_draws, shares, strict=True)
            ):
                weighted = by_family.get(family)
                alpha, chosen = self._family_effects(part, family, int(places[0]), len(share), rng)
                structure = ungrouped(nested)
                outer, *inner = levels_of(structure)
                for place in places:
                    added = outer.added(structure, alpha, request.random[place])
                    for level in inner if request.residuals else ():
                        effects = self._unit_effects(
                            level, structure, weighted, (family, int(place)), chosen, len(share), rng
                        )
                        added = added + level.added(structure, effects, request.random[place])
                    theta[share, place] += added
                    if isinstance(beside, np.ndarray):
                        beside[share, place] = outer.particular(structure, alpha)
        return theta, beside

    def _family_effects(
        self, part: int, family: str, place: int, size: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return equally weighted draws of a family's effects (size, D), and which of its weighted draws they are.

        A family without weighted draws has them from the distribution of families, or of those of its group, and None
        for the indices. One draw of a group is one draw of all its families. ``place`` is an LLM's of the family in the
        request, ``part`` the number of the structure.
        """
        structure, by_family = self.structures[part], self.weighted_draws[part]
        drawn, group = by_family.get(family), self._group_draws(part, place)
        if drawn is not None:
            if group is not None:
                rng = generator(self.seed, f"draws of a group {self.request.groups[place]}")  # type: ignore[index]
            chosen = drawn.resampled(size, rng)
            return drawn.alpha[chosen], chosen
        cov = levels_of(ungrouped(structure))[0].covariance(structure)
        own = rng.standard_normal((size, len(cov))) @ np.linalg.cholesky(cov).T
        if group is None or group.of_group is None:
            return own, None
        k = len(structure.skill_cov)
        chosen = group.resampled(
            size, generator(self.seed, f"draws of a group {self.request.groups[place]}")  # type: ignore[index]
        )
        own[:, :k] = group.of_group[chosen] + np.sqrt(1.0 - structure.scales[GROUP_SHARE.name][0]) * own[:, :k]
        return own, None

    def _group_draws(self, part: int, place: int) -> EffectDraws | None:
        """Return the weighted draws of some family of an LLM's group, None where its group has no scores."""
        model, groups = self.fit.model, self.request.groups
        if groups is None or groups[place] < 0:
            return None
        members = model.families[np.unique(model.family_codes[model.group_codes == groups[place]])]
        found = (self.weighted_draws[part].get(family) for family in members)
        return next((one for one in found if one is not None), None)

    def _unit_effects(
        self,
        level: Level,
        structure: Structure,
        drawn: EffectDraws | None,
        llm: tuple[str, int],
        chosen: np.ndarray | None,
        size: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return ``size`` draws of the effects of a unit within a family, (size, D).

        An LLM with scores has its effects from the weighted draws of its family that were ``chosen``, any other from
        their distribution. ``llm`` is the family and the position of the LLM in the request.
        """
        family, place = llm
        row = self.conditioning.rows.get((family, self.request.llms[place]))
        if row is not None and drawn is not None and chosen is not None:
            return drawn.by_llm[row][chosen]
        return level.draws(rng, structure, size)

    @cached_property
    def sensitivities(self) -> Sensitivities:
        """Changes of predictions along each standardised direction of the parameters' law: Sensitivities."""
        return sensitivities(self.law, self.fit.model, self.request, self.conditioning)

    @cached_property
    def deviates(self) -> np.ndarray:
        """Standard normal draws along the directions of the parameters' law, (S, d)."""
        rng = np.random.default_rng([self.seed, 1])
        return rng.standard_normal((self.size, len(self.sensitivities.theta)))

    def skills(self, sources: Collection[str]) -> np.ndarray:
        """Return draws of skills (S, n, K) with the sources of uncertainty that are wanted."""
        theta = self.theta
        if "family" not in sources:
            theta = np.broadcast_to(theta.mean(axis=0), theta.shape).copy()
        if "parameters" in sources:
            theta = theta + np.tensordot(self.deviates, self.sensitivities.theta, axes=1)
        return theta
