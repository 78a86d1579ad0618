"""Expected scores and skills along a covariate, and over size and tokens, as tables.

Each point is an imagined LLM whose covariates are on a path, predicted as any new LLM is (``get_prediction``), so that
bands hold the uncertainty of the parameters and of the family's effects.
"""

from numbers import Real

import numpy as np
import pandas as pd
from pandas.api import types
from scipy.spatial import ConvexHull, QhullError

from ..checks import check_alpha, check_names, check_whole
from ..components.levels import levels_of
from ..errors import DataError
from ..tables import some
from .predictive import predictive_draws
from .residual_tables import unrotated
from .skill_draws import read_sources, skill_draws

UNSEEN = "unseen family"
FLOPS = "flops"
FLOPS_PER_UNIT = 6e21  # training one billion parameters on one trillion tokens: 6 N D
MOST_FAMILIES = 5
_MOST_ENTRIES = 2e7  # of an array of draws; families are taken in groups of that
_ENDS = ("lower", "upper")
_ROOM = 1.25  # factor between the LLMs and the ends of a surface


def scaling_curve(
    fit, target, x="params_b", families=None, at=None, points=40, limits=None, alpha=0.05, size=2000, seed=0,
    uncertainty=("parameters", "family", "score"), columns=("params_b", "tokens_t"),
):  # fmt: skip
    """Expected skill, or expected score of a benchmark, along a covariate; see ``LatentSkillResults.scaling_curve``.

    Parameters
    ----------
    columns : (str, str)
        Of size, in billions of parameters, and tokens, in trillions.

    Returns
    -------
    DataFrame
    """
    check_whole("points", points, 2)
    check_alpha(alpha)
    model, size = fit.model, check_whole("size", size, 2)
    (kind, place), sources = read_target(model, target), read_sources(uncertainty)
    _check_axis(model, x, columns)
    at = _check_held(model, dict(at or {}), x, columns)
    families = chosen_families(fit, target, x, families, columns)
    grid = _grid(model, x, points, limits, columns)
    parts = [_path(model, family, x, grid, at, columns, limits is None) for family in families]
    table = pd.concat(parts, ignore_index=True)
    per_row = size * (len(model.benchmarks) if kind == "benchmark" else len(model.skills))
    step = max(1, int(_MOST_ENTRIES // (per_row * points)))
    groups = [families[first : first + step] for first in range(0, len(families), step)]
    done = [
        _predict(fit, table[table["_family"].isin(group)], (kind, place), alpha, size, seed, sources)
        for group in groups
    ]
    out = pd.concat([table[["_family", "_x", "_inside", *_varying(x, columns, table)]], pd.concat(done)], axis=1)
    return out.rename(columns={"_family": "family", "_x": x, "_inside": "inside"}).reset_index(drop=True)


def curve_points(fit, target, x="params_b", columns=("params_b", "tokens_t")):
    """The LLMs of a fit beside a curve: DataFrame with llm, family, the covariate, value.

    ``value`` is the observed score (LLMs without one are left out), or the posterior mean of the skill, as skills are
    not observed.
    """
    model = fit.model
    kind, place = read_target(model, target)
    _check_axis(model, x, columns)
    if kind == "skill":
        values = fit.skills().iloc[:, place].to_numpy()
    else:
        values = model.panel.scores.loc[list(model.llms)].to_numpy()[:, place]
    data = {
        "llm": np.asarray(model.llms, dtype=object),
        "family": np.asarray(model.families)[model.family_codes],
        x: covariate_values(model, x, columns),
        "value": values,
    }
    table = pd.DataFrame(data)
    return table[table["value"].notna()].reset_index(drop=True)


def covariate_values(model, x, columns=("params_b", "tokens_t")):
    """A numeric column of the LLMs in the likelihood, or their training FLOPs where there is no such column: (n,)."""
    table = _rows(model)
    if x == FLOPS and FLOPS not in _needed(model):
        return FLOPS_PER_UNIT * table[columns[0]].to_numpy(dtype=float) * table[columns[1]].to_numpy(dtype=float)
    return table[x].to_numpy(dtype=float)


def holds_others(model, x):
    """Whether a curve along ``x`` holds other columns of the scaling, in which the LLMs beside it differ."""
    needed = _needed(model)
    return len(needed) > (2 if x == FLOPS and x not in needed else 1)


def chosen_families(fit, target, x="params_b", families=None, columns=("params_b", "tokens_t")):
    """Families by name, or those with most LLMs at different values of the covariate, and an unseen one.

    Raises
    ------
    DataError
        If a name is no family of the fit and not ``UNSEEN``.
    """
    known = list(fit.model.families)
    if families is None:
        shown = curve_points(fit, target, x, columns).groupby("family")[x].agg(["nunique", "size"])
        order = shown.sort_values(["nunique", "size"], ascending=False, kind="stable").index
        return [*order[:MOST_FAMILIES], *([] if UNSEEN in known else [UNSEEN])]
    names = [families] if isinstance(families, str) else list(dict.fromkeys(families))
    return check_names("families", names, dict.fromkeys([*known, UNSEEN]), f"families of the fit, or {UNSEEN!r}")


def scaling_surface(
    fit, target, family=None, at=None, points=31, alpha=0.05, size=400, seed=0, columns=("params_b", "tokens_t")
):
    """A skill or an expected score over size and tokens; see ``LatentSkillResults.scaling_surface``."""
    check_whole("points", points, 2)
    check_alpha(alpha)
    model = fit.model
    kind, place = read_target(model, target)
    for name in columns:
        _check_axis(model, name, columns)
    at = dict(at or {})
    _refuse_stray(model, at, columns)
    family = UNSEEN if family is None else chosen_families(fit, target, columns[0], [family], columns)[0]
    own = _rows(model)[list(columns)].to_numpy(dtype=float)
    ends = np.array([own.min(axis=0) / _ROOM, own.max(axis=0) * _ROOM])
    axes = [np.geomspace(*ends[:, number], points) for number in range(2)]
    sizes, tokens = (values.ravel() for values in np.meshgrid(*axes))
    held = {columns[0]: sizes, columns[1]: tokens}
    table = _imagined(model, family, {**_held(model, family, at, set(columns)), **held}, points**2)
    sources = ("parameters",) if family not in model.families else ("parameters", "family")
    values = _predict(fit, table, (kind, place), alpha, size, seed, sources).drop(columns=_observations())
    data = {**held, "inside": inside_hull(np.log(own), np.log(np.column_stack([sizes, tokens])))}
    return pd.concat([pd.DataFrame(data), values.reset_index(drop=True)], axis=1)


def surface_llms(model, columns):
    """Size and tokens of the LLMs of the fit, DataFrame, and the corners (m, 2) of their hull in logarithms."""
    llms = _rows(model)[columns].astype(float)
    return llms, np.exp(hull(np.log(llms.to_numpy())))


def hull(points):
    """Corners of the convex hull of points (n, 2), in order, (m, 2); their box where all lie on one line."""
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        low, high = points.min(axis=0), points.max(axis=0)
        return np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])


def inside_hull(points, where):
    """Whether points ``where`` (m, 2) lie in the hull of points (n, 2), bool (m,)."""
    corners = hull(points)
    edges, steps = np.roll(corners, -1, axis=0) - corners, where[:, None, :] - corners
    turns = edges[:, 0] * steps[..., 1] - edges[:, 1] * steps[..., 0]  # corners run counterclockwise
    return (turns >= -1e-9).all(axis=1)


# --- what is asked for ------------------------------------------------------------------------------------------


def read_target(model, target):
    """("skill" or "benchmark", its place); a name that is both is the skill."""
    for kind, names in (("skill", model.skills), ("benchmark", model.benchmarks)):
        if target in names:
            return kind, list(names).index(target)
    raise DataError(
        f"target names a skill ({some(model.skills, 8)}) or a benchmark ({some(model.benchmarks, 20)}); {target!r} is "
        "neither."
    )


def _needed(model):
    return sorted(str(name) for name in model.design.spec.formula.required_variables)


def _rows(model):
    return model.panel.table.loc[list(model.llms)]


def _is_number(column):
    return types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)


def _check_axis(model, x, columns):
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


def _check_held(model, at, x, columns):
    along_flops = x == FLOPS and x not in _needed(model)
    _refuse_stray(model, at, columns if along_flops and set(columns) <= set(at) else (x,))
    return at


def _refuse_stray(model, at, moving):
    fixed = [name for name in moving if name in at]
    if fixed:
        raise DataError(f"at holds {fixed}, along which the points move; leave it out.")
    stray = [name for name in at if name not in _needed(model)]
    if stray:
        raise DataError(f"at has {stray}, which the scaling {model.scaling!r} does not use; it has {_needed(model)}.")


def _grid(model, x, points, limits, columns):
    """Values along the covariate: even in logarithms where all values are positive."""
    own = covariate_values(model, x, columns)
    low, high = (own.min(), own.max()) if limits is None else limits
    if not (isinstance(low, Real) and isinstance(high, Real) and np.isfinite([low, high]).all() and low < high):
        raise DataError(f"limits are two numbers, the lower one first; got {limits!r}.")
    positive = own.min() > 0.0
    if positive and low <= 0.0:
        raise DataError(f"{x} is positive, and so must its limits be; got {limits!r}.")
    return np.geomspace(low, high, points) if positive else np.linspace(low, high, points)


# --- paths of imagined LLMs -------------------------------------------------------------------------------------


def _own(model, family):
    """Rows of a family of the fit; all rows for an unseen one."""
    table = _rows(model)
    if family not in model.families:
        return table
    return table[np.asarray(model.families)[model.family_codes] == family]


def _held(model, family, at, moving):
    """Values of the other columns: as given, else the family's median, or most frequent value where no number."""
    own, out = _own(model, family), {}
    for name in _needed(model):
        if name in at or name not in moving:
            column = own[name]
            typical = column.median() if _is_number(column) else column.mode().iloc[0]
            out[name] = at.get(name, typical)
    return out


def _path(model, family, x, grid, at, columns, clipped):
    """Imagined LLMs of a family along the covariate; ``_inside`` tells those within its own range."""
    along_flops = x == FLOPS and x not in _needed(model)
    moving = set(columns) if along_flops else {x}
    held = _held(model, family, at, moving)
    rows = np.asarray(model.families)[model.family_codes] == family
    own = covariate_values(model, x, columns)[rows if rows.any() else slice(None)]
    ends = [end for end in (own.min(), own.max()) if grid[0] < end < grid[-1]]
    grid = np.unique(np.concatenate([grid, ends]))
    values = dict(zip(columns, _budgets(model, family, grid, at, columns), strict=True)) if along_flops else {x: grid}
    table = _imagined(model, family, {**held, **values}, len(grid)).assign(_x=grid)
    slack = 1e-9 * np.abs(grid)
    table["_inside"] = (grid >= own.min() - slack) & (grid <= own.max() + slack)
    if along_flops and clipped:
        for name in [name for name in columns if name not in at]:
            known = _rows(model)[name]
            table = table[table[name].between(known.min() * (1 - 1e-9), known.max() * (1 + 1e-9))]
    return table


def _budgets(model, family, flops, at, columns):
    """Size and tokens of each budget: one of them held, or both along the family's tokens per parameter."""
    size, tokens = (_own(model, family)[name].to_numpy(dtype=float) for name in columns)
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


def _imagined(model, family, values, count):
    """A table of ``count`` LLMs of a family with the covariates ``values``."""
    panel = model.panel
    table = pd.DataFrame({name: np.broadcast_to(np.asarray(value), count) for name, value in values.items()})
    columns = [panel.family] if isinstance(panel.family, str) else list(panel.family)
    own = _own(model, family)
    for name in columns:
        if name not in table:
            table[name] = own[name].iloc[0]
    if family not in model.families:
        free = [name for name in columns if name not in _needed(model)]
        if not free:
            raise DataError("Every column of the family is a covariate: name families of the fit.")
        table[free[0]] = family
    names = [f"{family}, imagined {number}" for number in range(count)]
    return table.assign(**{panel.llm: names, "_family": family})


def _varying(x, columns, table):
    """Columns of size and tokens that a curve is along."""
    return [name for name in columns if name in table and name != x]


# --- predictions ------------------------------------------------------------------------------------------------


def _observations():
    return [f"obs_ci_{end}" for end in _ENDS]


def _predict(fit, table, target, alpha, size, seed, sources):
    """mean, mean_se and the ends of intervals of one skill or benchmark, with the index of the table."""
    kind, place = target
    request = table.drop(columns=[name for name in ("_family", "_x", "_inside") if name in table])
    if kind == "skill":
        if "parameters" in sources and unrotated(fit) is not fit:
            raise DataError(
                "The parameters of rotated skills have no law of their own: take uncertainty='family' for a curve, a "
                "benchmark as the target, or the fit that was rotated (rotated.source)."
            )
        sources = tuple(source for source in sources if source != "score")
        drawn = skill_draws(fit, request, size=size, seed=seed, uncertainty=sources).theta[..., place]
        mean, scores = _skill_means(fit, request)[:, place], None
    else:
        draws = predictive_draws(unrotated(fit), request, size=size, seed=seed, uncertainty=sources)
        drawn, mean = draws.mu[..., place], draws.mean[:, place]
        scores = draws.scores[..., place] if "score" in sources else None
    levels = [0.5 * alpha, 1.0 - 0.5 * alpha]
    ends = np.quantile(drawn, levels, axis=0)
    outer = np.full(ends.shape, np.nan) if scores is None else np.quantile(scores, levels, axis=0)
    data = {"mean": mean, "mean_se": drawn.std(axis=0), "mean_ci_lower": ends[0], "mean_ci_upper": ends[1]}
    data |= {"obs_ci_lower": outer[0], "obs_ci_upper": outer[1]}
    return pd.DataFrame(data, index=table.index)


def _skill_means(fit, table):
    """E[theta | data] of imagined LLMs at the estimate (n, K); of unseen families the average."""
    _, codes, x, _ = fit._read_new(table)
    effects = np.vstack([fit._posterior.mean, np.zeros(fit._posterior.mean.shape[1])])[codes]  # -1: unseen
    families = levels_of(fit.structure)[0]
    return families.added(fit.structure, effects, fit.model.random_covariates(x)) + x @ fit.structure.slopes
