"""Tables of expected scores and skills along a covariate, and over size and tokens.

Each point is an imagined LLM, predicted as any new LLM is (``get_prediction``). So the bands contain the uncertainty of
the parameters and of the family's effects.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api import types
from scipy.spatial import ConvexHull, QhullError

from ..checks import check_alpha, check_names, check_whole
from ..components.levels import levels_of, ungrouped
from ..errors import DataError
from ..models.latent_skill import LatentSkillLaw
from ..tables import some
from .predictive import predictive_draws
from .residual_tables import unrotated
from .skill_draws import read_sources, skill_draws

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

UNSEEN = "unseen family"
FLOPS = "flops"
FLOPS_PER_UNIT = 6e21  # 6 N D for N = one billion parameters and D = one trillion tokens
MOST_FAMILIES = 5
_MOST_ENTRIES = 2e7  # numbers in an array of draws; families are predicted in groups of at most this size
_ENDS = ("lower", "upper")
_ROOM = 1.25  # factor by which a surface extends beyond the LLMs


def scaling_curve(
    fit: "LatentSkillResults",
    target: str,
    x: str = "params_b",
    families: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    points: int = 40,
    limits: tuple[float, float] | None = None,
    alpha: float = 0.05,
    size: int = 2000,
    seed: int = 0,
    uncertainty: str | Sequence[str] = ("parameters", "family", "score"),
    columns: Sequence[str] = ("params_b", "tokens_t"),
) -> pd.DataFrame:
    """Return an expected skill or an expected score along a covariate; see ``LatentSkillResults.scaling_curve``.

    Parameters
    ----------
    fit : LatentSkillResults
    target : str
        A skill or a benchmark.
    x : str
        A numeric covariate, or "flops".
    families, at, points, limits, alpha, size, seed, uncertainty
        As for ``LatentSkillResults.scaling_curve``.
    columns : (str, str)
        Columns of size, in billions of parameters, and of training tokens, in trillions.

    Returns
    -------
    DataFrame
        A row for each family and point: family, the covariate, inside (whether the point lies within the range of the
        family's own LLMs), mean and its standard error and interval, and the interval of a score.
    """
    check_whole("points", points, 2)
    check_alpha(alpha)
    model, size = fit.model, check_whole("size", size, 2)
    (kind, position), sources = read_target(model, target), read_sources(uncertainty)
    _check_axis(model, x, columns)
    at = dict(at or {})
    _check_held(model, at, x, columns)
    families = chosen_families(fit, target, x, families, columns)
    grid = _grid(model, x, points, limits, columns)
    paths = [_path(model, family, x, grid, at, columns, limits is None) for family in families]
    table = pd.concat(paths, ignore_index=True)
    per_row = size * (len(model.benchmarks) if kind == "benchmark" else len(model.skills))
    step = max(1, int(_MOST_ENTRIES // (per_row * points)))
    groups = [families[first : first + step] for first in range(0, len(families), step)]
    predicted = [
        _predict(fit, table[table["_family"].isin(group)], (kind, position), alpha, size, seed, sources)
        for group in groups
    ]
    out = pd.concat([table[["_family", "_x", "_inside", *_varying(x, columns, table)]], pd.concat(predicted)], axis=1)
    return out.rename(columns={"_family": "family", "_x": x, "_inside": "inside"}).reset_index(drop=True)


def curve_points(
    fit: "LatentSkillResults", target: str, x: str = "params_b", columns: Sequence[str] = ("params_b", "tokens_t")
) -> pd.DataFrame:
    """Return the LLMs of a fit that are plotted beside a curve: DataFrame with llm, family, the covariate and value.

    ``value`` is the observed score, and LLMs without one are left out. For a skill, which is not observed, it is the
    posterior mean.
    """
    model = fit.model
    kind, position = read_target(model, target)
    _check_axis(model, x, columns)
    if kind == "skill":
        values = fit.skills().iloc[:, position].to_numpy()
    else:
        values = model.panel.scores.loc[list(model.llms)].to_numpy()[:, position]
    data = {
        "llm": np.asarray(model.llms, dtype=object),
        "family": np.asarray(model.families)[model.family_codes],
        x: covariate_values(model, x, columns),
        "value": values,
    }
    table = pd.DataFrame(data)
    return table[table["value"].notna()].reset_index(drop=True)


def covariate_values(model: LatentSkillLaw, x: str, columns: Sequence[str] = ("params_b", "tokens_t")) -> np.ndarray:
    """Return the values (n,) of a numeric column for the LLMs in the likelihood.

    For ``x = "flops"``, if the scaling has no such column, they are the training FLOPs.
    """
    table = _rows(model)
    if x == FLOPS and FLOPS not in _needed(model):
        return FLOPS_PER_UNIT * table[columns[0]].to_numpy(dtype=float) * table[columns[1]].to_numpy(dtype=float)
    return table[x].to_numpy(dtype=float)


def holds_others(model: LatentSkillLaw, x: str) -> bool:
    """Return whether a curve along ``x`` holds other columns of the scaling fixed, in which LLMs differ."""
    needed = _needed(model)
    return len(needed) > (2 if x == FLOPS and x not in needed else 1)


def chosen_families(
    fit: "LatentSkillResults",
    target: str,
    x: str = "params_b",
    families: str | Sequence[str] | None = None,
    columns: Sequence[str] = ("params_b", "tokens_t"),
) -> list[str]:
    """Return families by name; by default those with most LLMs at different values of the covariate, and an unseen one.

    Raises
    ------
    DataError
        If a name is neither a family of the fit nor ``UNSEEN``.
    """
    known = list(fit.model.families)
    if families is None:
        shown = curve_points(fit, target, x, columns).groupby("family")[x].agg(["nunique", "size"])
        order = shown.sort_values(["nunique", "size"], ascending=False, kind="stable").index
        return [*order[:MOST_FAMILIES], *([] if UNSEEN in known else [UNSEEN])]
    names = [families] if isinstance(families, str) else list(dict.fromkeys(families))
    return check_names("families", names, dict.fromkeys([*known, UNSEEN]), f"families of the fit, or {UNSEEN!r}")


def scaling_surface(
    fit: "LatentSkillResults",
    target: str,
    family: str | None = None,
    at: Mapping[str, Any] | None = None,
    points: int = 31,
    alpha: float = 0.05,
    size: int = 400,
    seed: int = 0,
    columns: Sequence[str] = ("params_b", "tokens_t"),
) -> pd.DataFrame:
    """Return a skill or an expected score over size and tokens; see ``LatentSkillResults.scaling_surface``."""
    check_whole("points", points, 2)
    check_alpha(alpha)
    model = fit.model
    kind, place = read_target(model, target)
    for name in columns:
        _check_axis(model, name, columns)
    at = dict(at or {})
    _refuse_stray(model, at, columns)
    family = UNSEEN if family is None else chosen_families(fit, target, columns[0], [family], columns)[0]
    llms = _rows(model)[list(columns)].to_numpy(dtype=float)
    ends = np.array([llms.min(axis=0) / _ROOM, llms.max(axis=0) * _ROOM])
    axes = [np.geomspace(ends[0, number], ends[1, number], points) for number in range(2)]
    sizes, tokens = (values.ravel() for values in np.meshgrid(*axes))
    held = {columns[0]: sizes, columns[1]: tokens}
    table = _imagined(model, family, {**_held(model, family, at, set(columns)), **held}, points**2)
    sources = ("parameters",) if family not in model.families else ("parameters", "family")
    values = _predict(fit, table, (kind, place), alpha, size, seed, sources).drop(columns=_observations())
    data = {**held, "inside": inside_hull(np.log(llms), np.log(np.column_stack([sizes, tokens])))}
    return pd.concat([pd.DataFrame(data), values.reset_index(drop=True)], axis=1)


def surface_llms(model: LatentSkillLaw, columns: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return size and tokens of the LLMs of the fit, and the corners (m, 2) of their hull in logarithms."""
    llms = _rows(model)[columns].astype(float)
    return llms, np.exp(hull(np.log(llms.to_numpy())))


def hull(points: np.ndarray) -> np.ndarray:
    """Return the corners (m, 2) of the convex hull of points (n, 2), counterclockwise.

    If all points lie on one line these are the corners of the rectangle that encloses them.
    """
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        low, high = points.min(axis=0), points.max(axis=0)
        return np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])


def inside_hull(points: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return whether points ``where`` (m, 2) lie in the convex hull of ``points`` (n, 2), a boolean array (m,)."""
    corners = hull(points)
    edges, steps = np.roll(corners, -1, axis=0) - corners, where[:, None, :] - corners
    turns = edges[:, 0] * steps[..., 1] - edges[:, 1] * steps[..., 0]  # corners run counterclockwise
    return (turns >= -1e-9).all(axis=1)


# --- what is asked for ------------------------------------------------------------------------------------------


def read_target(model: LatentSkillLaw, target: str) -> tuple[str, int]:
    """Return ("skill" or "benchmark", position); a name that is both is taken for the skill."""
    for kind, names in (("skill", model.skills), ("benchmark", model.benchmarks)):
        if target in names:
            return kind, list(names).index(target)
    raise DataError(
        f"target names a skill ({some(model.skills, 8)}) or a benchmark ({some(model.benchmarks, 20)}); {target!r} is "
        "neither."
    )


def _needed(model: LatentSkillLaw) -> list[str]:
    """Return the columns that the scaling formula uses, in alphabetical order."""
    return sorted(str(name) for name in model.design.spec.formula.required_variables)


def _rows(model: LatentSkillLaw) -> pd.DataFrame:
    """Return the rows of the panel's table of the LLMs in the likelihood."""
    return model.panel.table.loc[list(model.llms)]


def _is_number(column: pd.Series) -> bool:
    """Return whether a column is numeric; columns of booleans are not."""
    return types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)


def _check_axis(model: LatentSkillLaw, x: str, columns: Sequence[str]) -> None:
    """Refuse a covariate along which no curve can run."""
    needed, table = _needed(model), _rows(model)
    if x == FLOPS and x not in needed:
        absent = [name for name in columns if name not in needed]
        if absent:
            raise DataError(
                f"FLOPs are 6 times size times tokens, and the scaling {model.scaling!r} has no column {absent[0]!r}; "
                "name the columns of size and tokens by columns=."
            )
        return
    numbers = [name for name in needed if _is_number(table[name])]
    if x not in numbers:
        raise DataError(
            f"A curve runs along a numeric column of the scaling {model.scaling!r}, which are {numbers}, or {FLOPS!r}; "
            f"not along {x!r}."
        )


def _check_held(model: LatentSkillLaw, at: Mapping[str, Any], x: str, columns: Sequence[str]) -> None:
    """Refuse values ``at`` of columns that a curve runs along, or that the scaling does not use."""
    along_flops = x == FLOPS and x not in _needed(model)
    _refuse_stray(model, at, columns if along_flops and set(columns) <= set(at) else (x,))


def _refuse_stray(model: LatentSkillLaw, at: Mapping[str, Any], moving: Collection[str]) -> None:
    """Refuse values ``at`` of the columns ``moving``, which vary along the points, and of unknown columns."""
    fixed = [name for name in moving if name in at]
    if fixed:
        raise DataError(f"at holds {fixed}, along which the points move; leave it out.")
    stray = [name for name in at if name not in _needed(model)]
    if stray:
        raise DataError(f"at has {stray}, which the scaling {model.scaling!r} does not use; it has {_needed(model)}.")


def _grid(
    model: LatentSkillLaw, x: str, points: int, limits: tuple[float, float] | None, columns: Sequence[str]
) -> np.ndarray:
    """Return values along the covariate, evenly spaced, in logarithms where all LLMs have positive values."""
    values = covariate_values(model, x, columns)
    low, high = (values.min(), values.max()) if limits is None else limits
    are_numbers = isinstance(low, Real) and isinstance(high, Real)
    if not (are_numbers and np.isfinite([low, high]).all() and low < high):
        raise DataError(f"limits are two numbers, the lower one first; got {limits!r}.")
    positive = values.min() > 0.0
    if positive and low <= 0.0:
        raise DataError(f"{x} is positive, and so must its limits be; got {limits!r}.")
    return np.geomspace(low, high, points) if positive else np.linspace(low, high, points)


# --- paths of imagined LLMs -------------------------------------------------------------------------------------


def _family_rows(model: LatentSkillLaw, family: str) -> pd.DataFrame:
    """Return the rows of a family of the fit; all rows for an unseen family."""
    table = _rows(model)
    if family not in model.families:
        return table
    return table[np.asarray(model.families)[model.family_codes] == family]


def _held(model: LatentSkillLaw, family: str, at: Mapping[str, Any], moving: Collection[str]) -> dict[str, Any]:
    """Return the values of the columns that are held fixed: as given by ``at``, else typical of the family.

    Typical is the median of a numeric column and the most frequent value of any other.
    """
    rows, held = _family_rows(model, family), {}
    for name in _needed(model):
        if name in at or name not in moving:
            column = rows[name]
            typical = column.median() if _is_number(column) else column.mode().iloc[0]
            held[name] = at.get(name, typical)
    return held


def _path(
    model: LatentSkillLaw,
    family: str,
    x: str,
    grid: np.ndarray,
    at: Mapping[str, Any],
    columns: Sequence[str],
    clipped: bool,
) -> pd.DataFrame:
    """Return the imagined LLMs of a family along a covariate, as a table.

    Column ``_x`` has the covariate and ``_inside`` whether it lies within the range of the family's own LLMs, whose
    ends are added to the points. With ``clipped`` a path along FLOPs leaves out sizes and tokens beyond those of the
    fit.
    """
    along_flops = x == FLOPS and x not in _needed(model)
    moving = set(columns) if along_flops else {x}
    held = _held(model, family, at, moving)
    rows = np.asarray(model.families)[model.family_codes] == family
    in_family = covariate_values(model, x, columns)[rows if rows.any() else slice(None)]
    ends = [end for end in (in_family.min(), in_family.max()) if grid[0] < end < grid[-1]]
    grid = np.unique(np.concatenate([grid, ends]))
    values = dict(zip(columns, _budgets(model, family, grid, at, columns), strict=True)) if along_flops else {x: grid}
    table = _imagined(model, family, {**held, **values}, len(grid)).assign(_x=grid)
    slack = 1e-9 * np.abs(grid)
    table["_inside"] = (grid >= in_family.min() - slack) & (grid <= in_family.max() + slack)
    if along_flops and clipped:
        for name in [name for name in columns if name not in at]:
            known = _rows(model)[name]
            table = table[table[name].between(known.min() * (1 - 1e-9), known.max() * (1 + 1e-9))]
    return table


def _budgets(
    model: LatentSkillLaw, family: str, flops: np.ndarray, at: Mapping[str, Any], columns: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return size s (billions) and tokens t (trillions) for each number of training FLOPs, which is 6e21 s t.

    One of them is held fixed if ``at`` says so, or if all LLMs of the family have the same tokens; otherwise tokens per
    parameter are held at the median of the family.
    """
    size, tokens = (_family_rows(model, family)[name].to_numpy(dtype=float) for name in columns)
    product = flops / FLOPS_PER_UNIT
    if columns[0] in at:
        held = float(at[columns[0]])
        return np.full(len(flops), held), product / held
    shared = tokens[0] if family in model.families and np.ptp(tokens) == 0.0 else None
    held = at.get(columns[1], shared)
    if held is not None:
        return product / float(held), np.full(len(flops), float(held))
    ratio = np.exp(np.median(np.log(tokens / size)))
    return np.sqrt(product / ratio), np.sqrt(product * ratio)


def _imagined(model: LatentSkillLaw, family: str, values: Mapping[str, Any], count: int) -> pd.DataFrame:
    """Return a table of ``count`` LLMs of a family with the covariates ``values``."""
    panel = model.panel
    table = pd.DataFrame({name: np.broadcast_to(np.asarray(value), count) for name, value in values.items()})
    columns = [panel.family] if isinstance(panel.family, str) else list(panel.family)
    rows = _family_rows(model, family)
    for name in columns:
        if name not in table:
            table[name] = rows[name].iloc[0]
    if family not in model.families:
        free = [name for name in columns if name not in _needed(model)]
        if not free:
            raise DataError("Every column of the family is a covariate: name families of the fit.")
        table[free[0]] = family
    names = [f"{family}, imagined {number}" for number in range(count)]
    return table.assign(**{panel.llm: names, "_family": family})


def _varying(x: str, columns: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return which of the columns of size and tokens vary along a curve beside its own covariate."""
    return [name for name in columns if name in table and name != x]


# --- predictions ------------------------------------------------------------------------------------------------


def _observations() -> list[str]:
    """Return the names of the columns of a score's interval."""
    return [f"obs_ci_{end}" for end in _ENDS]


def _predict(
    fit: "LatentSkillResults",
    table: pd.DataFrame,
    target: tuple[str, int],
    alpha: float,
    size: int,
    seed: int,
    sources: Iterable[str],
) -> pd.DataFrame:
    """Return mean, mean_se and the ends of intervals of one skill or benchmark, with the index of ``table``.

    ``target`` is its kind and position, as ``read_target`` returns them.
    """
    kind, position = target
    request = table.drop(columns=[name for name in ("_family", "_x", "_inside") if name in table])
    if kind == "skill":
        if "parameters" in sources and unrotated(fit) is not fit:
            raise DataError(
                "The parameters of rotated skills have no law of their own: take uncertainty='family' for a curve, a "
                "benchmark as the target, or the fit that was rotated (rotated.source)."
            )
        sources = tuple(source for source in sources if source != "score")
        drawn = skill_draws(fit, request, size=size, seed=seed, uncertainty=sources).theta[..., position]
        mean, scores = _skill_means(fit, request)[:, position], None
    else:
        draws = predictive_draws(unrotated(fit), request, size=size, seed=seed, uncertainty=tuple(sources))
        drawn, mean = draws.mu[..., position], draws.mean[:, position]
        scores = draws.scores[..., position] if "score" in sources else None
    levels = [0.5 * alpha, 1.0 - 0.5 * alpha]
    ends = np.quantile(drawn, levels, axis=0)
    outer = np.full(ends.shape, np.nan) if scores is None else np.quantile(scores, levels, axis=0)
    data = {"mean": mean, "mean_se": drawn.std(axis=0), "mean_ci_lower": ends[0], "mean_ci_upper": ends[1]}
    data |= {"obs_ci_lower": outer[0], "obs_ci_upper": outer[1]}
    return pd.DataFrame(data, index=table.index)


def _skill_means(fit: "LatentSkillResults", table: pd.DataFrame) -> np.ndarray:
    """Return posterior means of the skills of imagined LLMs at the estimate (n, K).

    Effects of unseen families have the mean zero.
    """
    _, codes, x, _ = fit._read_new(table)
    effects = np.vstack([fit._posterior.mean, np.zeros(fit._posterior.mean.shape[1])])[
        codes
    ]  # the code -1 of unseen families picks the row of zeros
    families = levels_of(ungrouped(fit.structure))[0]
    return families.added(fit.structure, effects, fit.model.random_covariates(x)) + x @ fit.structure.slopes
