"""The parameters of a fit in long tables, with a row for each point, bar or curve that a picture shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special, stats

from ..checks import check_alpha, check_whole
from ..components.curve import Curve, CurveAt, between, share_of_range
from ..errors import DataError
from ..inference.delta import delta
from ..parameters.kinds import CORRELATION, COVARIANCE, VARIANCE
from ..tables import some

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..parameters.kinds import Kind
    from ..parameters.structure import Structure
    from ..parameters.table import ParameterTable
    from .latent_skill import LatentSkillResults

_TINY = 1e-300


def _normal_quantile(alpha: float) -> float:
    """Return the normal quantile for two-sided intervals of level 1 - alpha, such as 1.96 for 0.05."""
    check_alpha(alpha)
    return stats.norm.isf(0.5 * alpha)


def entry_table(
    fit: LatentSkillResults, kind: Kind, matrix: pd.DataFrame, names: Sequence[str], alpha: float
) -> pd.DataFrame:
    """Return the entries of a matrix of parameters with intervals, fixed entries included; see ``loading_table``."""
    # standard errors are NaN without a covariance, and 0 for a parameter that constraints hold fixed
    with np.errstate(divide="ignore", invalid="ignore"):
        free = fit.parameter_table(alpha)
    labels = [(row, column) for row in matrix.index for column in matrix.columns]
    entries = [kind.name_of(row, column) for row, column in labels]
    columns = ["std_err", "ci_lower", "ci_upper", "p_value"]
    frame = pd.DataFrame(labels, columns=list(names))
    frame["estimate"] = matrix.to_numpy().ravel()
    frame[columns] = free.reindex(entries)[columns].to_numpy()
    frame["fixed"] = [entry not in free.index for entry in entries]
    return frame


def correlation_table(fit: LatentSkillResults, alpha: float) -> pd.DataFrame:
    """Return the correlations of family effects, a row per pair; see ``ParameterPlots.correlation_table``."""
    check_alpha(alpha)
    skills, everything = list(fit.model.skills), fit.model.table.all_parameters
    pairs = [(a, b) for place, b in enumerate(skills) for a in skills[:place]]
    corr, free = fit.skill_corr, fit.params.index
    errors, interval = fit.bse, fit.conf_int(alpha)
    rows = []
    for first, second in pairs:
        name, estimate = CORRELATION.name_of(first, second), corr.loc[first, second]
        if everything.get(name) is not None:
            fixed = name not in free
            numbers = (np.nan,) * 3 if fixed else (errors[name], *interval.loc[name])
        else:
            fixed = COVARIANCE.name_of(first, second) not in free and estimate == 0.0
            numbers = (np.nan,) * 3 if fixed else _correlation_interval(fit, skills, first, second, alpha)
        rows.append((first, second, estimate, *numbers, fixed))
    return pd.DataFrame(rows, columns=["first", "second", "estimate", "std_err", "ci_lower", "ci_upper", "fixed"])


def _correlation_interval(
    fit: LatentSkillResults, skills: Sequence[str], first: str, second: str, alpha: float
) -> tuple[float, float, float]:
    """Return the standard error and the ends of the interval of a correlation that is no parameter of its own.

    That is the case where variances and covariances are parameters. The standard error is by the delta method, and the
    interval is computed on Fisher's z.
    """
    i, j = skills.index(first), skills.index(second)
    if not np.isfinite(fit.bse[fit.parameters.are(COVARIANCE, VARIANCE)]).all():
        return (np.nan,) * 3
    correlation = delta(
        lambda p: p.skill_cov[i, j] / (p.skill_cov[i, i] * p.skill_cov[j, j]) ** 0.5,
        fit.params, fit.cov_params(), fit.model.table,
    )  # fmt: skip
    value, error = float(correlation.values[0]), float(correlation.bse.iloc[0])
    half = _normal_quantile(alpha) * error / (1.0 - value**2)
    return error, np.tanh(np.arctanh(value) - half), np.tanh(np.arctanh(value) + half)


def family_effect_table(fit: LatentSkillResults, alpha: float) -> pd.DataFrame:
    """Return family effects with intervals in a long table; see ``ParameterPlots.family_effect_table``."""
    quantile = _normal_quantile(alpha)
    frame = fit.family_effects()
    frame["ci_lower"] = frame["mean"] - quantile * frame["sd"]
    frame["ci_upper"] = frame["mean"] + quantile * frame["sd"]
    return frame.reset_index()


def instruct_table(fit: LatentSkillResults, base_family: str, instruct: str) -> pd.DataFrame:
    """Return the effects of base families beside those of their instruct variants; see ``ParameterPlots``."""
    model = fit.model
    table = model.panel.table[model.rows.keep]
    missing = [name for name in (base_family, instruct) if name not in table.columns]
    if missing:
        raise DataError(
            f"The panel has no column {missing[0]!r}, which pairs families with their instruct variants; it has "
            f"{some(list(table.columns), 12)}. Name yours by base_family= and instruct=."
        )
    kinds = pd.DataFrame(
        {
            "family": np.asarray(model.families)[model.family_codes],
            "base_family": table[base_family].to_numpy(),
            "instruct": _truth(table[instruct], instruct),
        }
    ).drop_duplicates()
    mixed = kinds["family"][kinds["family"].duplicated()]
    if len(mixed):
        raise DataError(
            f"Families {some(sorted(set(mixed)), 5)} have more than one value of {base_family!r} or {instruct!r}: give "
            "base and instruct variants families of their own, or name other columns."
        )
    pairs = kinds[~kinds["instruct"]].merge(kinds[kinds["instruct"]], on="base_family", suffixes=("_base", "_instruct"))
    if pairs.empty:
        raise DataError(f"No base family has both base and instruct variants by {base_family!r} and {instruct!r}.")
    effects = fit.family_effects()
    rows = [
        (name, skill, base, variant, *effects.loc[(base, skill), ["mean", "sd"]],
         *effects.loc[(variant, skill), ["mean", "sd"]])
        for skill in model.skills
        for name, base, variant in pairs[["base_family", "family_base", "family_instruct"]].itertuples(index=False)
    ]  # fmt: skip
    columns = ["base_family", "skill", "base", "variant", "base_mean", "base_sd", "instruct_mean", "instruct_sd"]
    return pd.DataFrame(rows, columns=columns)


_WORDS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False, "1.0": True, "0.0": False}


def _truth(column: pd.Series, name: str) -> np.ndarray:
    words = [str(value).strip().lower() for value in column]
    unknown = sorted(set(words) - set(_WORDS))
    if unknown:
        raise DataError(f"Column {name!r} says whether an LLM is instruction-tuned, true or false; got {unknown[:3]}.")
    return np.array([_WORDS[word] for word in words])


# --- characteristic curves --------------------------------------------------------------------------------------------


def curve_points(fit: LatentSkillResults, skill: str | None = None) -> pd.DataFrame:
    """Return the observed scores with the LLMs' posterior means; see ``ParameterPlots.curve_points``."""
    model = fit.model
    theta = fit.skills().to_numpy()
    if skill is None:
        at = theta @ fit.structure.loadings.T + fit.structure.intercepts
    else:
        at = np.repeat(theta[:, [list(model.skills).index(skill)]], len(model.benchmarks), axis=1)
    scores = model.panel.scores[model.rows.keep].to_numpy()
    rows, columns = np.nonzero(np.isfinite(scores))
    score = scores[rows, columns]
    values = {
        "llm": np.asarray(model.llms)[rows],
        "benchmark": np.asarray(model.benchmarks)[columns],
        "at": at[rows, columns],
        "score": score,
        "boundary": (score == 0.0) | (score == 1.0),
    }
    return pd.DataFrame(values)


def curve_table(
    fit: LatentSkillResults, skill: str | None = None, alpha: float = 0.05, points: int = 101
) -> pd.DataFrame:
    """Return characteristic curves with bands in a long table; see ``ParameterPlots.characteristic_curves``."""
    quantile = _normal_quantile(alpha)
    check_whole("points", points, 2)
    observed, theta = curve_points(fit, skill), fit.skills().to_numpy()
    curves = []
    for item, benchmark in enumerate(fit.model.benchmarks):
        at = observed["at"][observed["benchmark"] == benchmark] if skill is None else observed["at"]
        room = 0.08 * max(at.max() - at.min(), 1e-6)
        grid = np.linspace(at.min() - room, at.max() + room, int(points))
        skills = None
        if skill is not None:
            skills = np.tile(theta.mean(axis=0), (len(grid), 1))
            skills[:, list(fit.model.skills).index(skill)] = grid
        curves.append(_one_curve(fit, item, grid, skills, alpha, quantile).assign(benchmark=benchmark))
    frame = pd.concat(curves, ignore_index=True)
    return frame[["benchmark", *frame.columns.drop("benchmark")]]


def _one_curve(
    fit: LatentSkillResults, item: int, grid: np.ndarray, skills: np.ndarray | None, alpha: float, quantile: float
) -> pd.DataFrame:
    """Return the curve of one benchmark with its bands, on a grid of linear predictors or at given skills (n, K)."""
    structure = fit.structure
    eta = grid if skills is None else skills @ structure.loadings[item] + structure.intercepts[item]
    mean, gradient = curve_gradient(fit.model.table, structure, item, eta, skills)
    se = np.full(len(grid), np.nan)
    used = np.any(gradient != 0.0, axis=0)
    cov = fit.covariance.matrix[np.ix_(used, used)]
    if np.isfinite(cov).all():
        se = np.sqrt(np.maximum(np.einsum("np,pq,nq->n", gradient[:, used], cov, gradient[:, used]), 0.0))
    # the band is computed on the logit between the asymptotes if they are fixed, and otherwise between 0 and 1
    free = fit.model.table.free[[fit.model.table.layout.index(block)[item] for block in ("lower", "upper")]]
    low, high = (0.0, 1.0) if free.any() else (structure.lower[item], structure.upper[item])
    inside = np.clip(share_of_range(mean, low, high), _TINY, 1.0 - 1e-16)
    half = quantile * se / np.maximum((high - low) * inside * (1.0 - inside), _TINY)
    shares = (special.expit(special.logit(inside) + sign * half) for sign in (-1.0, 1.0))
    ends, law = [between(share, low, high) for share in shares], fit.model.score_law
    scores = [law.quantile(level, mean, structure.precision[item]) for level in (0.5 * alpha, 1.0 - 0.5 * alpha)]
    columns = dict(zip(("mean_ci_lower", "mean_ci_upper"), ends, strict=True))
    columns |= dict(zip(("score_lower", "score_upper"), scores, strict=True))
    return pd.DataFrame({"at": grid, "eta": eta, "mean": mean, "mean_se": se, **columns})


def curve_gradient(
    table: ParameterTable, structure: Structure, item: int, eta: npt.ArrayLike, skills: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected scores of a benchmark, and their derivatives with respect to the free parameters.

    Parameters
    ----------
    table : ParameterTable
    structure : Structure
    item : int
        Position of the benchmark.
    eta : array (n,)
        Linear predictors.
    skills : array (n, K), optional
        With skills the derivatives are at fixed skills, so that eta changes with loadings and intercept; without, they
        are at fixed eta.

    Returns
    -------
    mean : array (n,)
    gradient : array (n, P)
    """
    layout = table.layout
    curve = Curve.of(structure.lower, structure.upper, structure.link, [item])
    shapes = "".join(name for name in layout.shapes if name != "p")
    at = CurveAt(np.asarray(eta, dtype=float)[None], curve, 1, shapes)
    derivatives = {name: values[0] for name, values in at.derivatives().items()}
    full = np.zeros((len(derivatives["e"]), layout.size))
    for name in shapes:
        full[:, layout.shapes[name][item]] = derivatives[name]
    if skills is not None:
        full[:, layout.index("loadings")[item]] = derivatives["e"][:, None] * skills
        full[:, layout.index("intercepts")[item]] = derivatives["e"]
    return at.mu[0], full[:, table.free]
