"""Selection of the number of skills by information criteria and leave-family-out error."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_seed, check_whole
from ..errors import ConvergenceWarning, DataError
from ..estimation.progress import Progress
from ..model import LatentSkillModel
from ..models.latent_skill_options import TRANSLOG
from ..models.options import given_options
from ..panel import BenchmarkPanel
from ..plots.selection import plot_selection
from ..results.latent_skill import LatentSkillResults
from ..workers import run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEW_LOADING = 0.05  # starting value of the loadings on skills that the fit with fewer skills does not have


@dataclass(frozen=True, eq=False)
class SkillSelection:
    """The comparison of numbers of skills that ``select_skills`` makes.

    Attributes
    ----------
    table : DataFrame
        One row for each number of skills, with the columns df, llf, aic, bic, lfo_mae (leave-family-out error in
        percentage points), lfo_se (standard error, over families, of its difference from the smallest), starts_at_best
        and converged.
    recommended : int
        The recommended number of skills.
    reason : str
        The reason for the recommendation.
    fits : dict of int to LatentSkillResults
        The fits to all families, by number of skills.
    errors : DataFrame
        Mean absolute errors of the held-out families (rows) by number of skills (columns), in percentage points.
    """

    table: pd.DataFrame
    recommended: int
    reason: str
    fits: dict[int, LatentSkillResults] = field(repr=False)
    errors: pd.DataFrame = field(repr=False)

    def __str__(self) -> str:
        return f"{self.table.round(3).to_string()}\n\nRecommended: {self.recommended} skills. {self.reason}"

    def plot(self, kind: str | None = None, ax: "Axes | None" = None) -> "Axes":
        """Plot errors or criteria against the number of skills; see ``latentscale.plots.selection.plot_selection``."""
        return plot_selection(self.table, self.recommended, kind, ax)


def select_skills(
    panel: BenchmarkPanel,
    skills: Iterable[int] = range(1, 7),
    scaling: str = TRANSLOG,
    asymptotes: str = "chance",
    folds: int = 5,
    integration: str = "laplace",
    starts: int = 5,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = False,
) -> SkillSelection:
    """Compare numbers of skills by AIC, BIC and leave-family-out error.

    For the leave-family-out error, families are divided at random into folds. The model is fitted to all LLMs of the
    other folds and to the smallest LLM (by the first term of the scaling) of each family of the fold, and the families'
    other LLMs are predicted. The error is the mean absolute error, averaged first within families.

    Parameters
    ----------
    panel : BenchmarkPanel
    skills : iterable of int
        Numbers of skills. Each is fitted in echelon form, with pivots chosen from the scores.
    scaling, asymptotes : str
        As for ``LatentSkillModel``.
    folds : int
        Number of folds; 0 computes no leave-family-out error.
    integration : {"laplace", "monte_carlo", "quadrature"}
        As for ``LatentSkillModel.fit``.
    starts : int
        Number of starts of the fits to all families, in addition to one from the estimate with fewer skills. The fit
        without a fold has two starts, one from its data and one from the estimate for all families, which is near.
    seed : int
        Seed of starts, draws and folds.
    n_jobs : int, optional
        Number of fits that run in parallel; the numbers do not depend on it. By default one, or as a surrounding
        ``ls.parallel`` says.
    progress : bool
        Whether to report progress on the standard error stream.

    Returns
    -------
    SkillSelection
        The recommended number of skills is the smallest whose leave-family-out error is within one standard error of
        the smallest error (the standard error is that of the difference, over families). Without folds it is the number
        with the smallest BIC.

    Raises
    ------
    DataError
        If there is nothing to compare, or there are too few families for the folds.
    """
    numbers = sorted({check_whole("skills, a list of numbers of skills: each", number, 1) for number in skills})
    if not numbers:
        raise DataError("skills lists no number of skills.")
    check_whole("folds", folds, 0)
    options: dict[str, Any] = {"integration": integration, "starts": check_whole("starts", starts, 1)}
    options["seed"] = check_seed(seed)
    splits = _splits(LatentSkillModel(panel, scaling, numbers[0], asymptotes), folds, seed)
    tasks = [(number, split) for number in numbers for split in splits]
    shown = Progress(progress, len(numbers) + len(tasks))
    fits: dict[int, LatentSkillResults] = {}
    errors, fit = [], None
    for number in numbers:
        model = LatentSkillModel(panel, scaling, number, asymptotes)
        start = None if fit is None else with_more_skills(fit, model)
        fits[number] = fit = model.fit(**options, n_jobs=n_jobs, start_params=start)
        shown.stage(f"{number} skills, all families: {fit.llf:.3f}")
    held_out = run(_held_out, tasks, (panel, fits, options), n_jobs)
    for (number, _), (llf, error) in zip(tasks, held_out, strict=True):
        shown.stage(f"{number} skills, one fold left out: {llf:.3f}")
        errors.append(error.rename(number))
    by_family = pd.DataFrame()
    if splits:
        by_family = pd.DataFrame({n: pd.concat([error for error in errors if error.name == n]) for n in numbers})
    table = _table(fits, by_family)
    recommended, reason = _recommend(table, bool(len(by_family)))
    return SkillSelection(table, recommended, reason, fits, by_family)


def _splits(model: LatentSkillModel, folds: int, seed: int) -> list[list[str]]:
    """Return the names of the LLMs to be predicted in each fold."""
    if folds == 0:
        return []
    size = model.design.x[:, 0]
    held = {}
    for code, family in enumerate(model.families):
        rows = np.flatnonzero(model.family_codes == code)
        if len(rows) > 1:
            rows = rows[np.argsort(size[rows], kind="stable")]
            held[family] = [model.llms[row] for row in rows[1:]]
    if not 2 <= folds <= len(held):
        raise DataError(f"folds lies between 2 and {len(held)}, the families of several LLMs, or is 0; got {folds!r}.")
    order = np.random.default_rng(seed).permutation(list(held))
    return [[llm for family in order[start::folds] for llm in held[family]] for start in range(folds)]


def with_more_skills(fit: LatentSkillResults, model: LatentSkillModel) -> pd.Series:
    """Return the parameters of a model with more skills at which it is nearly the same law as a given fit.

    The additional skills have small loadings and no slopes.

    Parameters
    ----------
    fit : LatentSkillResults
        The fit with fewer skills.
    model : LatentSkillModel
        The model with more skills.

    Returns
    -------
    Series
        Natural parameters by name.
    """
    structure, layout = fit.model.recoding.internal(fit.structure), model.table.layout
    structure = structure.transformed(np.linalg.cholesky(structure.skill_cov))
    more = layout.n_skills - structure.loadings.shape[1]
    wider = replace(
        structure,
        loadings=np.hstack([structure.loadings, np.full((layout.n_items, more), _NEW_LOADING)]),
        slopes=np.hstack([structure.slopes, np.zeros((layout.n_covariates, more))]),
        skill_cov=np.eye(layout.n_skills),
        scales={},
    )
    rotated = model.recoding.user(model.pattern.rotate_from(wider))
    return pd.Series(model.table.natural(rotated), index=model.param_names)


def _held_out(
    panel: BenchmarkPanel, fits: dict[int, LatentSkillResults], options: dict[str, Any], number: int, split: list[str]
) -> tuple[float, pd.Series]:
    """Fit a number of skills without the LLMs of a split, and predict these.

    Returns
    -------
    llf : float
        Log-likelihood of the fit.
    errors : Series
        Mean absolute error of each of their families, in percentage points.
    """
    out = np.isin(np.asarray(panel.llms, dtype=object), split)
    whole, full_model = fits[number], fits[number].model
    model = LatentSkillModel(panel.subset(~out), **given_options(full_model))
    if model.param_names == full_model.param_names:  # they differ if no LLM has some level of a covariate any more
        options = options | {"starts": 1, "start_params": whole.params}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the table shows convergence of the fits to all families
        fit = model.fit(**options)
    held = panel.subset(out)
    predicted = fit.predict(held.to_frame())
    error = 100.0 * (predicted.to_numpy() - held.scores.to_numpy())
    frame = pd.DataFrame(np.abs(error), index=held.families.to_numpy())
    return fit.llf, frame.T.mean().groupby(level=0).mean()


def _table(fits: dict[int, LatentSkillResults], by_family: pd.DataFrame) -> pd.DataFrame:
    """Return ``SkillSelection.table``."""
    rows = {
        number: {
            "df": fit.df_model,
            "llf": fit.llf,
            "aic": fit.aic,
            "bic": fit.bic,
            "starts_at_best": f"{int(fit.starts['reached_best'].sum())} of {len(fit.starts)}",
            "converged": fit.converged,
        }
        for number, fit in fits.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("skills")
    if len(by_family):
        mean = by_family.mean()
        gap = by_family.sub(by_family[mean.idxmin()], axis=0)
        table.insert(4, "lfo_mae", mean)
        table.insert(5, "lfo_se", gap.std(ddof=1) / np.sqrt(len(gap)))
    return table


def _recommend(table: pd.DataFrame, held_out: bool) -> tuple[int, str]:
    """Return the recommended number of skills and the reason; ``held_out`` says whether there is an error."""
    aic, bic = int(table["aic"].idxmin()), int(table["bic"].idxmin())
    criteria = f"AIC is least with {aic}, BIC with {bic}."
    if not held_out:
        return bic, f"BIC is least; AIC is least with {aic}."
    best = int(table["lfo_mae"].idxmin())
    least = table.loc[best, "lfo_mae"]
    near = table.index[table["lfo_mae"] <= least + table["lfo_se"]]
    chosen = int(near.min())
    reason = f"The leave-family-out error is least with {best} ({least:.2f} points)"
    if chosen != best:
        reason += f", and with {chosen} ({table.loc[chosen, 'lfo_mae']:.2f}) within one standard error of that"
    return chosen, f"{reason}. {criteria}"
