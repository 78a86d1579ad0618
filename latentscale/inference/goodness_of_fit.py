"""Does the model fit? Statistics of its residuals against those of tables that are simulated from it.

Each simulated table is fitted again by a few steps from the estimate, so that the reference law has the freedom that
estimation has. The p-value of a statistic is (1 + the number of tables in which it is as large) / (1 + tables), so that
it is never below 1 / (1 + tables); p-values of all aspects together are adjusted by Holm's method.
"""


from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from ..checks import check_alpha, check_seed, check_whole
from ..errors import DataError
from ..estimation.refit import refit
from ..likelihood.family_scores import family_scores
from ..likelihood.modes import Modes
from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..models.latent_skill import LatentSkillLaw
from ..models.resampling import parametric_replicate
from ..parameters.recoding import Recoding
from ..plots.goodness_of_fit import plot_goodness_of_fit
from ..tables import some
from ..workers import run
from .misfit_statistics import Aspect, ResidualTable, aspects, covariates_of, mode_residuals, standardised

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..results.latent_skill import LatentSkillResults

_GOAL, _STEPS = 0.1, 5  # standard errors from its maximum, and steps, at which a refit to a simulated table ends
_TOLD = 3  # parts that are named
INFORMATION = "information-matrix identity"
YOURS = "your statistic"


@dataclass(frozen=True, eq=False)
class GoodnessOfFit:
    """How well a model fits, aspect by aspect.

    Attributes
    ----------
    table : DataFrame
        A row for each aspect: statistic (the sum of squares of standardised parts, only of positive ones where small
        values do not speak against the model), its mean and 95% point over simulated tables, p, p_holm, where (the
        worst offenders, as far as the aspect is rejected by itself) and answer (what to add to the model).
    parts : DataFrame
        By (aspect, part): value (``inference.misfit_statistics``), its mean and standard deviation over simulated
        tables, and z, the value standardised by these.
    simulated : DataFrame
        The statistics of the simulated tables, a row for each.
    alpha : float
        Level at which the adjusted p-values are judged.
    seed : int
    refitted : bool
        Whether simulated tables were fitted again. They are not where the fit has no observed information or has
        restrictions; p-values are then conservative.
    """

    table: pd.DataFrame
    parts: pd.DataFrame = field(repr=False)
    simulated: pd.DataFrame = field(repr=False)
    alpha: float = 0.05
    seed: int = 0
    refitted: bool = True

    @property
    def n(self) -> int:
        """Number of simulated tables."""
        return len(self.simulated)

    @property
    def rejected(self) -> tuple[str, ...]:
        """Aspects in which the data reject the model after Holm's adjustment, the worst first."""
        bad = self.table[self.table["p_holm"] <= self.alpha]
        excess = (bad["statistic"] - bad["mean"]) / (bad["upper"] - bad["mean"]).abs()
        return tuple(bad.index[np.argsort(-excess.abs().to_numpy(), kind="stable")])

    @property
    def fits(self) -> bool:
        """Whether no aspect is rejected."""
        return not self.rejected

    @property
    def sentence(self) -> str:
        """What was found, in one sentence with the worst finding by name and what answers it."""
        if self.fits:
            least = self.table["p_holm"].min()
            return f"The data do not reject the model in {len(self.table)} aspects (least adjusted p {least:.2f})."
        row = self.table.loc[self.rejected[0]]
        at = f": {row['where']}" if row["where"] else ""
        count = f"{len(self.rejected)} of {len(self.table)} aspects"
        answer = f" What answers it: {row['answer']}." if row["answer"] else ""
        return (
            f"The data reject the model in {count}, worst in {self.rejected[0]}{at}; the statistic is "
            f"{row['statistic']:.3g}, where tables from the model give {row['mean']:.3g}, and more than "
            f"{row['upper']:.3g} in one of twenty ({_p_words(row['p'], self.n)}, adjusted {row['p_holm']:.3f}).{answer}"
        )

    def summary_frame(self) -> pd.DataFrame:
        """Return the table with aspects as a column, to paste into a paper."""
        return self.table.reset_index()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot each statistic on the law that it has over simulated tables."""
        return plot_goodness_of_fit(self.table, self.simulated, ax)

    def __str__(self) -> str:
        lines = [f"Goodness of fit, from {self.n} simulated tables", self.sentence, ""]
        if not self.refitted:
            lines.insert(2, "Simulated tables were not fitted again, so that p-values are conservative.")
        for aspect, row in self.table.iterrows():
            verdict = "REJECTED" if row["p_holm"] <= self.alpha else "ok"
            lines.append(
                f"{verdict:<9}{aspect}: {row['statistic']:.4g}; simulated {row['mean']:.4g}, 95% point "
                f"{row['upper']:.4g}; {_p_words(row['p'], self.n)}, adjusted {row['p_holm']:.3f}"
            )
            if row["where"]:
                lines.append(f"         where: {row['where']}")
            if row["p_holm"] <= self.alpha and row["answer"]:
                lines.append(f"         answer: {row['answer']}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _p_words(value: float, n: int) -> str:
    """Return a simulated p-value in words; the least that there is stands for all smaller ones."""
    return f"p <= {1.0 / (n + 1):.2g}" if value <= 1.0 / (n + 1) + 1e-12 else f"p = {value:.3f}"


def goodness_of_fit(
    fit: LatentSkillResults,
    n: int = 200,
    seed: int = 0,
    statistic: Callable[[pd.DataFrame], float] | None = None,
    alpha: float = 0.05,
    n_jobs: int | None = None,
) -> GoodnessOfFit:
    """Compare residuals of a fit with those of tables that are simulated from it.

    Parameters
    ----------
    fit : LatentSkillResults
    n : int
        Simulated tables, at least 19.
    seed : int
    statistic : callable, optional
        A function of a table of scores (the LLMs in the likelihood, with the panel's columns) that returns a number,
        as one more aspect, judged on both sides.
    alpha : float
        Level at which adjusted p-values are judged, in (0, 1).
    n_jobs : int, optional
        Tables at one time.

    Returns
    -------
    GoodnessOfFit

    Raises
    ------
    DataError
        If ``statistic`` returns anything but a finite number, or simulated tables cannot be fitted.

    Warns
    -----
    UserWarning
        If there are too few tables for an aspect to be rejected after Holm's adjustment.
    """
    check_whole("n", n, 19)
    check_alpha(alpha)
    world = _World(fit.model, fit.params.to_numpy(), _metric(fit), fit.estimate.restriction is None, statistic)
    observed = world.measured(fit.model, fit.estimate.coordinates)
    children = np.random.SeedSequence([check_seed(seed), 7]).spawn(n)
    found = list(run(_replicate, ((child,) for child in children), (world, fit.estimate.coordinates), n_jobs))
    kept = [one for one in found if not isinstance(one, str)]
    if len(kept) < 0.9 * n:
        reason = next(one for one in found if isinstance(one, str))
        raise DataError(
            f"Only {len(kept)} of {n} tables simulated from the fit could be fitted again ({reason}), so that it "
            "cannot be judged by simulation: see fit.diagnose(goodness_of_fit=False)."
        )
    if len(observed) > alpha * (len(kept) + 1):
        warnings.warn(
            f"With {len(kept)} simulated tables no single aspect of {len(observed)} can be rejected at {alpha:g} after "
            f"Holm's adjustment: ask for n={math.ceil(len(observed) / alpha)} or more.",
            UserWarning,
            stacklevel=3,
        )
    return _judged(fit.model, observed, kept, alpha, int(seed), world.refits)


def _metric(fit: LatentSkillResults) -> np.ndarray | None:
    """Return the observed information where it is positive definite, else None."""
    return None if fit.observed.weak or not fit.estimate.informed else fit.estimate.information


@dataclass(frozen=True)
class _World:
    """What all simulated tables have in common.

    Attributes
    ----------
    model : LatentSkillLaw
    params : array (P,)
        Natural parameters from which tables are simulated.
    information : array (d, d) or None
        The metric of refits, in coordinates of the estimate's space; None for no refits.
    unrestricted : bool
        Whether the estimate has no restrictions. Under restrictions simulated tables are not fitted again.
    statistic : callable or None
    """

    model: LatentSkillLaw
    params: np.ndarray
    information: np.ndarray | None
    unrestricted: bool
    statistic: Callable[[pd.DataFrame], float] | None

    @property
    def refits(self) -> bool:
        """Whether simulated tables are fitted again."""
        return self.information is not None and self.unrestricted

    def measured(self, model: LatentSkillLaw, u: np.ndarray, refitted: bool = False) -> list[Aspect]:
        """Return the aspects of a model's scores at coordinates u, or at those that a few steps from u reach."""
        objective = model.objective
        if refitted and self.refits:
            assert self.information is not None
            rule = Rule.build("laplace", 1)
            u = refit(objective, rule, u, self.information, _GOAL, _STEPS).coordinates
        structure = objective.space.structure(u) if self.unrestricted else self._users(model)
        cells = model.internal_cells
        values, fitted, modes = mode_residuals(structure, cells)
        shape = model.prepared.y.shape
        residuals, expected = np.full(shape, np.nan), np.full(shape, np.nan)
        residuals[cells.row, cells.item], expected[cells.row, cells.item] = values, fitted
        out = aspects(
            ResidualTable(
                standardised(residuals), expected, model.benchmarks, model.family_codes,
                covariates_of(self.model.design.x, model.terms), *_efficiency(model, modes),
            )
        )  # fmt: skip
        if self.refits:
            out.append(self._identity(objective, u, modes))
        if self.statistic is not None:
            out.append(self._yours(model))
        return out

    def _users(self, model: LatentSkillLaw) -> Any:
        """Return the estimate, for the covariates of the optimisers."""
        recoding: Recoding = self.model.recoding
        return recoding.internal(model.table.structure(self.params))

    def _identity(self, objective: Objective, u: np.ndarray, modes: Modes) -> Aspect:
        """Trace of the inverse information times the outer product of families' scores, over the parameters."""
        scores = family_scores(objective, u, Rule.build("laplace", 1), modes)
        assert self.information is not None
        ratio = np.trace(np.linalg.solve(self.information, scores.T @ scores)) / len(u)
        return Aspect(INFORMATION, {"ratio": float(ratio)}, both_sides=True)

    def _yours(self, model: LatentSkillLaw) -> Aspect:
        assert self.statistic is not None
        table = model.panel.to_frame()[model.rows.keep].reset_index(drop=True)
        value: Any = self.statistic(table)
        if not (isinstance(value, Real) and np.isfinite(float(value))):
            raise DataError(f"statistic must return a finite number for every table; it returned {value!r}.")
        return Aspect(YOURS, {"value": float(value)}, both_sides=True)


def _efficiency(model: LatentSkillLaw, modes: Modes) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return the families' efficiency by skill, and the groups of families that the model does not know of."""
    if model.nested or model.panel.groups is None:
        return {}, None
    efficiency = standardised(modes.alpha[:, : len(model.skills)])
    groups = model.panel.groups[model.rows.keep].to_numpy()
    of_family = np.unique(groups, return_inverse=True)[1][np.unique(model.family_codes, return_index=True)[1]]
    return dict(zip(model.skills, efficiency.T, strict=True)), of_family


def _replicate(world: _World, u: np.ndarray, child: np.random.SeedSequence) -> list[Aspect] | str:
    """Return the aspects of one simulated table, or why it cannot be fitted again."""
    try:
        model = parametric_replicate(world.model, world.params, child)
        return world.measured(model, u, refitted=True)
    except np.linalg.LinAlgError:
        return "the covariance of families' efficiency is singular"
    except DataError as error:
        if world.statistic is not None:
            raise
        return str(error)


def _judged(
    model: LatentSkillLaw,
    observed: list[Aspect],
    simulated: list[list[Aspect]],
    alpha: float,
    seed: int,
    refitted: bool,
) -> GoodnessOfFit:
    """Return the GoodnessOfFit from the aspects of the data and of simulated tables."""
    rows, laws, parts = [], {}, []
    for place, aspect in enumerate(observed):
        if not aspect.parts:  # nothing of the kind can be looked at, such as slopes without covariates
            continue
        of_aspect = _parts(aspect, [table[place] for table in simulated])
        statistic, law = _joined(aspect, of_aspect)
        parts.append(of_aspect.drop(columns="law"))
        laws[aspect.name] = law
        tail = (1 + np.sum(law >= statistic)) / (1 + len(law))
        rows.append({
            "statistic": statistic, "mean": law.mean(), "upper": np.quantile(law, 0.95), "p": tail,
            "where": _where(of_aspect, aspect.both_sides) if tail <= alpha else "",
            "answer": _answer(model, aspect.name),
        })  # fmt: skip
    table = pd.DataFrame(rows, index=pd.Index(laws, name="aspect"))
    table.insert(4, "p_holm", multipletests(table["p"], method="holm")[1])
    return GoodnessOfFit(table, pd.concat(parts), pd.DataFrame(laws), alpha, seed, refitted)


def _parts(aspect: Aspect, simulated: list[Aspect]) -> pd.DataFrame:
    """Return the parts of an aspect beside their law, mean and standard deviation over simulated tables, and z."""
    labels = list(aspect.parts)
    law = np.array([[one.parts.get(label, np.nan) for label in labels] for one in simulated])
    values = np.array([aspect.parts[label] for label in labels])
    mean, sd = np.nanmean(law, axis=0), np.nanstd(law, axis=0, ddof=1)
    z = np.divide(values - mean, sd, out=np.zeros_like(values), where=sd > 0.0)
    index = pd.MultiIndex.from_product([[aspect.name], labels], names=["aspect", "part"])
    return pd.DataFrame({"value": values, "mean": mean, "sd": sd, "z": z, "law": list(law.T)}, index=index)


def _joined(aspect: Aspect, parts: pd.DataFrame) -> tuple[float, np.ndarray]:
    """Return the statistic of an aspect, and that of each simulated table, standardised by the other tables."""

    def joined(z: np.ndarray) -> np.ndarray:
        z = np.nan_to_num(z if aspect.both_sides else np.maximum(z, 0.0))
        return np.sum(z**2, axis=0)

    law = np.stack(parts["law"].to_list())
    n = np.sum(np.isfinite(law), axis=1, keepdims=True)
    mean, variance = (parts[name].to_numpy()[:, None] for name in ("mean", "sd"))
    variance = variance**2
    # mean and variance without one of the n tables
    others = mean - (law - mean) / (n - 1)
    of_others = np.maximum(((n - 1) * variance - (law - mean) ** 2 * n / (n - 1)) / (n - 2), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(of_others > 0.0, (law - others) / np.sqrt(of_others), 0.0)
    return float(joined(parts["z"].to_numpy()[:, None])[0]), joined(z)


def _where(parts: pd.DataFrame, both_sides: bool) -> str:
    """Return the worst parts in words; nothing for an aspect with a single one."""
    size = parts["z"].abs() if both_sides else parts["z"]
    worst = size[size > 0.0].sort_values(ascending=False).index[:_TOLD]
    if len(parts) == 1:
        return ""
    return some([f"{label[1]} (z {parts.loc[label, 'z']:+.1f})" for label in worst])


def _answer(model: LatentSkillLaw, aspect: str) -> str:
    """Return what to add to the model where an aspect is rejected."""
    effects = "another skill" if model.llm_effects else "llm_effects=True (residual skills of LLMs)"
    own = "another skill, or base families" if model.benchmark_effects else "benchmark_effects=True"
    return {
        "benchmarks within an LLM": effects,
        "one benchmark within a family": own,
        "slopes that vary between families": "random_slopes on the term",
        "spread against covariates": "precision= with the covariate",
        "families of one group": "nested=True",
        "shape of the law of a score": "asymptotes, link='monotone' or outliers",
        INFORMATION: "standard errors by clusters (get_robust), beside what else is rejected",
    }.get(aspect, "")
