"""How many skills: information criteria and leave-family-out error side by side."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ..checks import check_seed, check_whole
from ..errors import ConvergenceWarning, DataError
from ..estimation.progress import Progress
from ..model import LatentSkillModel
from ..models.latent_skill import TRANSLOG
from ..plots.selection import plot_selection
from ..workers import run

_NEW_LOADING = 0.05  # of skills that an estimate with fewer has not


@dataclass(frozen=True, eq=False)
class SkillSelection:
    """What ``select_skills`` found.

    Attributes
    ----------
    table : DataFrame
        Index the number of skills; columns df, llf, aic, bic, lfo_mae (percentage points), lfo_se (of the difference
        from the best, over families), starts_at_best, converged.
    recommended : int
    reason : str
    fits : dict
        Number of skills -> LatentSkillResults on all families.
    errors : DataFrame
        Mean absolute error of each held-out family (rows) by number of skills, percentage points.
    """

    table: pd.DataFrame
    recommended: int
    reason: str
    fits: dict = field(repr=False)
    errors: pd.DataFrame = field(repr=False)

    def __str__(self):
        return f"{self.table.round(3).to_string()}\n\nRecommended: {self.recommended} skills. {self.reason}"

    def plot(self, kind=None, ax=None):
        """Plot errors or criteria against the number of skills; see ``latentscale.plots.selection.plot_selection``."""
        return plot_selection(self.table, self.recommended, kind, ax)


def select_skills(
    panel, skills=range(1, 7), scaling=TRANSLOG, asymptotes="chance", folds=5, integration="laplace", starts=5,
    seed=0, n_jobs=None, progress=False,
):  # fmt: skip
    """Compare numbers of skills by AIC, BIC and leave-family-out error.

    For the leave-family-out error families are dealt into folds. Of every family of a fold only the smallest LLM
    (first term of the scaling) is kept, the model is fitted to that and to all other folds, and the family's other
    LLMs are predicted. The error is the mean absolute one, averaged within families first.

    Parameters
    ----------
    panel : BenchmarkPanel
    skills : iterable of int
        Numbers of skills, each an echelon form with pivots chosen from the scores.
    scaling, asymptotes : str
        As for ``LatentSkillModel``.
    folds : int
        0 leaves the leave-family-out error out.
    integration : {"laplace", "monte_carlo", "quadrature"}
    starts : int
        Starts of the fits to all families, beside one from the estimate with fewer skills. A fold is climbed from its
        data and from the estimate on all families, which is near.
    seed : int
    n_jobs : int, optional
        Fits run in parallel; the numbers do not depend on it. By default one, or what a surrounding ``ls.parallel``
        says.
    progress : bool
        Report on the standard error stream.

    Returns
    -------
    SkillSelection
        Recommended is the smallest number of skills whose leave-family-out error is within one standard error of
        the least (the standard error is that of the difference, over families); without folds, that of least BIC.

    Raises
    ------
    DataError
        If there is nothing to compare, or too few families for the folds.
    """
    numbers = sorted({check_whole("skills, a list of numbers of skills: each", number, 1) for number in skills})
    if not numbers:
        raise DataError("skills lists no number of skills.")
    check_whole("folds", folds, 0)
    options = {"integration": integration, "starts": check_whole("starts", starts, 1), "seed": check_seed(seed)}
    splits = _splits(LatentSkillModel(panel, scaling, numbers[0], asymptotes), folds, seed)
    tasks = [(number, split) for number in numbers for split in splits]
    shown = Progress(progress, len(numbers) + len(tasks))
    fits, errors, fit = {}, [], None
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
        by_family = pd.DataFrame({n: pd.concat([part for part in errors if part.name == n]) for n in numbers})
    table = _table(fits, by_family)
    recommended, reason = _recommend(table, bool(len(by_family)))
    return SkillSelection(table, recommended, reason, fits, by_family)


def _splits(model, folds, seed):
    """Names of the LLMs to be predicted in each fold."""
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


def with_more_skills(fit, model):
    """Where a fit with fewer skills stands in a model of more: parameters, with skills that explain next to nothing."""
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
    turned = model.recoding.user(model.pattern.rotate_from(wider))
    return pd.Series(model.table.natural(turned), index=model.param_names)


def _held_out(panel, fits, options, number, split):
    """Log-likelihood of a fit without the LLMs of a split, and the mean absolute error of each of their families."""
    out = np.isin(np.asarray(panel.llms, dtype=object), split)
    whole, spec = fits[number], fits[number].model
    model = LatentSkillModel(panel.subset(~out), spec.scaling, spec.form, spec.asymptotes)
    if model.param_names == spec.param_names:  # else a level of a covariate is gone
        options = options | {"starts": 1, "start_params": whole.params}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the table shows convergence of the fits to all families
        fit = model.fit(**options)
    held = panel.subset(out)
    predicted = fit.predict(held.to_frame())
    error = 100.0 * (predicted.to_numpy() - held.scores.to_numpy())
    frame = pd.DataFrame(np.abs(error), index=held.families.to_numpy())
    return fit.llf, frame.T.mean().groupby(level=0).mean()


def _table(fits, by_family):
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


def _recommend(table, held_out):
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
