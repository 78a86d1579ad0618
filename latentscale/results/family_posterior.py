"""Posterior of family effects by importance sampling, contrasts between families, and their export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_alpha, check_name, check_power_of_two, check_seed, check_whole
from ..errors import DataError
from ..immutable import Immutable
from ..prediction.calibration import interval
from ..prediction.importance_sampling import DRAWS, effect_draws, generator
from ..prediction.predictive import expected_draws
from ..prediction.skill_draws import JointDraws, Request, groups_of, read_sources
from ..tables import read_table

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

    from ..model import LatentSkillModel
    from ..prediction.importance_sampling import EffectDraws
    from .latent_skill import LatentSkillResults


class FamilyPosteriors(Immutable):
    """The posterior of every family's effects, p(alpha_l | y_l) at the estimates, as weighted draws. Immutable.

    The draws come from importance sampling, and from slice sampling where that has too small an effective sample size.

    Attributes
    ----------
    families, skills : tuples of str
    effects : tuple of EffectDraws
        Draws of each family, in the order of ``families``.
    seed : int
    """

    families: tuple[str, ...]
    skills: tuple[str, ...]
    effects: tuple[EffectDraws, ...]
    seed: int

    def __init__(self, fit: LatentSkillResults, draws: int = DRAWS, seed: int = 0) -> None:
        check_power_of_two("draws, the weighted draws of a family,", draws)
        check_seed(seed)
        model = fit.model
        effects = effect_draws(fit.structure, model.user_cells, model.families, int(draws), seed)
        families = tuple(map(str, model.families))
        self.__dict__.update(families=families, skills=tuple(model.skills), effects=tuple(effects), seed=int(seed))

    def __repr__(self) -> str:
        n_slice_sampled = sum(family.slice_sampled for family in self.effects)
        least = min(self.effects, key=lambda family: family.ess)
        return (
            f"<FamilyPosteriors: {len(self.families)} families, {len(least.weight)} draws each, effective at least "
            f"{least.ess:.0f}, {n_slice_sampled} by slice sampling>"
        )

    def _of(self, family: str) -> EffectDraws:
        check_name("family", family, self.families, "families of the fit")
        return self.effects[self.families.index(family)]

    def _alpha(self, family_draws: EffectDraws) -> np.ndarray:
        """Draws of a family's efficiency (M, K), without those of its random slopes."""
        return family_draws.alpha[:, : len(self.skills)]

    def moments(self) -> pd.DataFrame:
        """Return posterior means and standard deviations of family effects, DataFrame by (family, skill).

        Columns are mean, sd, ess (effective sample size of the draws) and moved (whether slice sampling was needed).
        """
        rows = {}
        for family, drawn in zip(self.families, self.effects, strict=True):
            alpha = self._alpha(drawn)
            mean = drawn.weight @ alpha
            sd = np.sqrt(drawn.weight @ (alpha - mean) ** 2)
            for skill, values in zip(self.skills, zip(mean, sd, strict=True), strict=True):
                rows[family, skill] = [*values, drawn.ess, drawn.slice_sampled]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "sd", "ess", "moved"])
        frame.index = pd.MultiIndex.from_tuples(frame.index, names=["family", "skill"])
        return frame

    def correlation(self, family: str) -> pd.DataFrame:
        """Return the posterior correlations of a family's effects on the skills, DataFrame (K, K)."""
        drawn = self._of(family)
        centred = self._alpha(drawn) - drawn.weight @ self._alpha(drawn)
        cov = (centred * drawn.weight[:, None]).T @ centred
        sd = np.sqrt(np.diag(cov))
        return pd.DataFrame(cov / np.outer(sd, sd), list(self.skills), list(self.skills))

    def quantiles(self, levels: Sequence[float] = (0.025, 0.5, 0.975)) -> pd.DataFrame:
        """Return posterior quantiles of every family's effects, DataFrame by (family, skill), a column per level."""
        rows = {}
        for family, drawn in zip(self.families, self.effects, strict=True):
            for column, skill in enumerate(self.skills):
                rows[family, skill] = _weighted_quantiles(drawn.alpha[:, column], drawn.weight, levels)
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(levels))
        frame.index = pd.MultiIndex.from_tuples(frame.index, names=["family", "skill"])
        return frame

    def draws(self, family: str, size: int = 4000, seed: int | None = None) -> pd.DataFrame:
        """Return draws of equal weight of a family's effects, resampled from the weighted ones, DataFrame (size, K)."""
        drawn = self._of(family)
        seed = self.seed if seed is None else check_seed(seed)
        chosen = drawn.resampled(check_whole("size", size, 1), generator(seed, f"draws {family}"))
        return pd.DataFrame(self._alpha(drawn)[chosen], columns=list(self.skills))

    def to_arviz(self, size: int = 4000, chains: int = 4) -> Any:
        """Return draws of all families as ArviZ data: variable ``alpha`` with dimensions chain, draw, family, skill.

        The draws are independent; they are split into chains because ArviZ expects chains.

        Raises
        ------
        ImportError
            If ArviZ is not installed.
        """
        check_whole("size", size, 1)
        check_whole("chains", chains, 1)
        try:
            import arviz
        except ImportError as error:
            raise ImportError("to_arviz needs ArviZ: pip install arviz.") from error
        each = -(-int(size) // int(chains))
        alpha = np.stack([self.draws(family, each * chains).to_numpy() for family in self.families], axis=1)
        alpha = alpha.reshape(chains, each, len(self.families), len(self.skills))
        named: dict[str, Any] = {"coords": {"family": list(self.families), "skill": list(self.skills)}}
        named["dims"] = {"alpha": ["family", "skill"]}
        if int(arviz.__version__.split(".")[0]) < 1:
            return arviz.from_dict(posterior={"alpha": alpha}, **named)
        return arviz.from_dict({"posterior": {"alpha": alpha}}, **named)


def _weighted_quantiles(values: np.ndarray, weight: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    order = np.argsort(values)
    middle = np.cumsum(weight[order]) - 0.5 * weight[order]
    return np.interp(levels, middle, values[order])


def contrast_families(
    fit: LatentSkillResults,
    first: str,
    second: str,
    at: dict[str, Any] | IntoFrame | None = None,
    alpha: float = 0.05,
    size: int = 4000,
    seed: int = 0,
    uncertainty: str | Sequence[str] = ("parameters", "family"),
) -> pd.DataFrame:
    """Return the first family's skills minus the second's, with ``at`` also expected scores; see ``contrast``."""
    model = fit.model
    for name, family in (("first", first), ("second", second)):
        check_name(name, family, model.families, "families of the fit")
    check_alpha(alpha)
    x = np.tile(model.design.x.mean(axis=0), (2, 1)) if at is None else _covariates(model, at)
    random = model.random_covariates(x)
    request = Request(
        pd.Index(["first", "second"]), (first, second), x, random, groups=groups_of(model, (first, second)),
        residuals=False,
    )  # fmt: skip
    sources = read_sources(uncertainty)
    joint = JointDraws(fit, request, size, seed, sources=sources)
    theta = joint.skills(sources)
    draws, labels = theta[:, 0] - theta[:, 1], list(model.skills)
    if at is not None:
        expected = expected_draws(joint, model.score_law, sources)
        draws, labels = np.hstack([draws, expected[:, 0] - expected[:, 1]]), labels + list(model.benchmarks)
    lower, upper = interval(draws, alpha)
    kind = ["skill"] * len(model.skills) + ["benchmark"] * (len(labels) - len(model.skills))
    columns = {
        "kind": kind, "difference": draws.mean(axis=0), "se": draws.std(axis=0), "ci_lower": lower,
        "ci_upper": upper, "p_greater": (draws > 0.0).mean(axis=0),
    }  # fmt: skip
    return pd.DataFrame(columns, pd.Index(labels, name=f"{first} - {second}"))


def _covariates(model: LatentSkillModel, at: dict[str, Any] | IntoFrame) -> np.ndarray:
    """Return the covariates (2, p) of an LLM of each family, from one row for both or a row for each."""
    table = read_table(pd.DataFrame([at]) if isinstance(at, dict) else at)
    if len(table) not in (1, 2):
        raise DataError(f"at has one row of covariates for both families, or one for each; it has {len(table)}.")
    x = model.design.code(table.reset_index(drop=True))
    if np.isnan(x).any():
        raise DataError(f"at lacks a covariate of {model.scaling!r}.")
    return np.tile(x, (2, 1)) if len(x) == 1 else x
