"""Strategies for tables, panels, scaling formulas, whole models, their parameters, and changes of coordinates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from ..components.beta_law import Beta
from ..components.curve import mean_score
from ..components.scaling import build_design
from ..inference.local_rank import random_point
from ..model import LatentSkillModel
from ..panel import BenchmarkPanel
from ..parameters.kinds import SLOPE_SD
from .loading_patterns import DEFAULT_BENCHMARKS, benchmark_names, drawn, patterns, skill_count

if TYPE_CHECKING:
    from .loading_patterns import Benchmarks, Form

FAMILIES = st.integers(3, 8)
LLMS_PER_FAMILY = st.integers(1, 4)
_SHARES = 20  # shares of cells are multiples of 1 / 20, and shrink to 0
# Random numbers are drawn for whole blocks of rows and columns, so that smaller tables are part of larger ones.
_ROWS, _COLUMNS = 64, 16
_CHANCE = st.sampled_from([0.0, 0.25, 0.5])
_SEEDS = st.integers(0, 2**32 - 1)

# Formulas in columns {0} and {1} with the number of their terms, simple formulas first.
_ONE_COLUMN = (("log({0})", 1), ("log({0}) + I(log({0}) ** 2)", 2), ("poly(log({0}), 2)", 2))
_TWO_COLUMNS = (
    ("log({0} * {1})", 1),
    ("log({0}) + log({1})", 2),
    ("log({0}) + {1}", 2),
    ("log({0}) * log({1})", 3),
    ("poly(log({0}), 2) + log({1})", 3),
    ("log({0}) * log({1}) + I(log({0}) ** 2) + I(log({1}) ** 2)", 5),
)


# --- tables and panels --------------------------------------------------------------------------------------------


def _family_sizes(
    draw: st.DrawFn, families: int | st.SearchStrategy[int], llms_per_family: int | st.SearchStrategy[int], least: int
) -> list[int]:
    """Return the number of LLMs of each family; the first family is enlarged until there are ``least`` LLMs."""
    count = drawn(draw, families)
    sizes = [drawn(draw, llms_per_family) for _ in range(count)]
    if count < 1 or min(sizes) < 1:
        raise InvalidArgument(f"A table needs a family, and each family an LLM; got families of {sizes} LLMs.")
    sizes[0] += max(0, least - sum(sizes))
    return sizes


def _share(draw: st.DrawFn, largest: float) -> float:
    """Draw a share of at most ``largest``."""
    if not 0.0 <= largest <= 1.0:
        raise InvalidArgument(f"A share of scores is between 0 and 1, not {largest!r}.")
    return largest * draw(st.integers(0, _SHARES)) / _SHARES if largest else 0.0


def _whole_blocks(count: int, step: int) -> int:
    """Return the next multiple of ``step``."""
    return -(-count // step) * step


def _covariates(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    rows = _whole_blocks(n, _ROWS)
    return {
        "params_b": np.exp(rng.uniform(-0.7, 4.3, rows))[:n],
        "tokens_t": np.exp(rng.uniform(-1.2, 2.5, rows))[:n],
    }


def _scores(
    rng: np.random.Generator, family: np.ndarray, covariates: dict[str, np.ndarray], chance: np.ndarray
) -> np.ndarray:
    """Return scores (N, J) from two skills that grow with size and tokens."""
    (n, j), (rows, columns) = (
        (len(family), len(chance)),
        (_whole_blocks(len(family), _ROWS), _whole_blocks(len(chance), _COLUMNS)),
    )
    x = np.column_stack([np.log(column) for column in covariates.values()])
    effects, slopes = rng.standard_normal((rows, 2)), rng.uniform(0.1, 0.5, (2, 2))
    skill = effects[family] + x @ slopes
    loadings, intercepts = rng.uniform(0.1, 0.8, (columns, 2))[:j], rng.uniform(-2.0, 0.0, columns)[:j]
    # keeps away from 0 and 1, to which draws of the beta law could be rounded
    mean = np.clip(mean_score(skill @ loadings.T + intercepts, chance, 1.0), 0.1, 0.9)
    precision, quantile = rng.uniform(20.0, 60.0, columns)[:j], rng.uniform(0.01, 0.99, (rows, columns))[:n, :j]
    return Beta().quantile(quantile, mean, precision)


def _spared(n: int, j: int, complete: int) -> np.ndarray:
    """Return which cells (N, J) are never missing: one per LLM, two per benchmark, all of the first LLMs."""
    spared = np.zeros((n, j), dtype=bool)
    spared[np.arange(n), np.arange(n) % j] = True
    for item in range(j):
        spared[[item % n, (item + 1) % n], item] = True
    spared[:complete] = True
    return spared


def _table(
    draw: st.DrawFn,
    names: Sequence[str],
    sizes: Sequence[int],
    missing: float,
    boundary_scores: float,
    complete: int = 0,
    chance: float | np.ndarray = 0.0,
) -> pd.DataFrame:
    """Draw a table of families of given sizes; see ``tables``."""
    rng = np.random.default_rng(draw(_SEEDS))
    family = np.repeat(np.arange(len(sizes)), sizes)
    n, j = len(family), len(names)
    covariates = _covariates(rng, n)
    scores = _scores(rng, family, covariates, np.broadcast_to(chance, j))
    spared = _spared(n, j, complete)
    at_boundary, is_missing, value = rng.random((3, _whole_blocks(n, _ROWS), _whole_blocks(j, _COLUMNS)))[:, :n, :j]
    # cells that are missing at some share are missing at every larger one, so that shrinking a share only adds scores
    at_boundary = (at_boundary < _share(draw, boundary_scores)) & ~_spared(n, j, 0)
    scores = np.where(at_boundary, (value < 0.3).astype(float), scores)
    scores[(is_missing < _share(draw, missing)) & ~spared] = np.nan
    labels = {"model": [f"llm{i + 1}" for i in range(n)], "family": [f"f{code + 1}" for code in family]}
    return pd.DataFrame({**labels, **covariates, **dict(zip(names, scores.T, strict=True))})


@st.composite
def tables(
    draw: st.DrawFn,
    benchmarks: Benchmarks = DEFAULT_BENCHMARKS,
    families: int | st.SearchStrategy[int] = FAMILIES,
    llms_per_family: int | st.SearchStrategy[int] = LLMS_PER_FAMILY,
    missing: float = 0.3,
    boundary_scores: float = 0.1,
    complete: int = 0,
) -> pd.DataFrame:
    """Draw tables of scores that look like a leaderboard, a row per LLM, from which a BenchmarkPanel can be made.

    Parameters
    ----------
    benchmarks : int, sequence of str, or strategy of either
        Their number, with names ``b1``, ``b2``, ..., or their names.
    families : int or strategy
        Number of families, which are called ``f1``, ``f2``, ...
    llms_per_family : int or strategy
        Number of LLMs, drawn for every family. A table has at least two LLMs.
    missing : float
        Largest share of missing cells, in [0, 1]. Every LLM has a score, and every benchmark two that differ.
    boundary_scores : float
        Largest share of scores of exactly 0 or 1, in [0, 1].
    complete : int
        Number of LLMs, from the first one on, that have all scores.

    Returns
    -------
    strategy of DataFrame
        Columns ``model``, ``family``, ``params_b`` (billions, 0.5 to 74), ``tokens_t`` (trillions, 0.3 to 12) and the
        benchmarks.

    Raises
    ------
    hypothesis.errors.InvalidArgument
        When drawing, for sizes or shares out of range.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(tables(benchmarks=["mmlu", "bbh"], families=3, llms_per_family=1))
    ... def test(table):
    ...     assert table["family"].tolist() == ["f1", "f2", "f3"]
    ...     assert table["mmlu"].dropna().between(0.0, 1.0).all()
    >>> test()
    """
    names = benchmark_names(draw, benchmarks)
    sizes = _family_sizes(draw, families, llms_per_family, 2)
    return _table(draw, names, sizes, missing, boundary_scores, complete)


@st.composite
def panels(
    draw: st.DrawFn,
    benchmarks: Benchmarks = DEFAULT_BENCHMARKS,
    families: int | st.SearchStrategy[int] = FAMILIES,
    llms_per_family: int | st.SearchStrategy[int] = LLMS_PER_FAMILY,
    missing: float = 0.3,
    boundary_scores: float = 0.1,
    complete: int = 0,
    boundary: str | st.SearchStrategy[str] = "squeeze",
    chance: float | st.SearchStrategy[float] = _CHANCE,
) -> BenchmarkPanel:
    """Draw benchmark panels of ``tables``.

    Parameters
    ----------
    benchmarks, families, llms_per_family, missing, boundary_scores, complete
        As for ``tables``.
    boundary : str or strategy
        Policy for scores of exactly 0 or 1, as for BenchmarkPanel; with ``"error"`` no such scores are drawn.
    chance : float or strategy
        Guessing level, drawn for every benchmark.

    Returns
    -------
    strategy of BenchmarkPanel

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(panels(benchmarks=2, missing=0.0, boundary="censor"))
    ... def test(panel):
    ...     assert panel.benchmarks == ("b1", "b2") and panel.scores.notna().all(axis=None)
    >>> test()
    """
    names = benchmark_names(draw, benchmarks)
    sizes = _family_sizes(draw, families, llms_per_family, 2)
    return _panel(draw, names, sizes, missing, boundary_scores, complete, boundary, chance)


def _panel(
    draw: st.DrawFn,
    names: Sequence[str],
    sizes: Sequence[int],
    missing: float,
    boundary_scores: float,
    complete: int,
    boundary: str | st.SearchStrategy[str],
    chance: float | st.SearchStrategy[float],
) -> BenchmarkPanel:
    levels = np.array([drawn(draw, chance) for _ in names])
    policy = drawn(draw, boundary)
    boundary_scores = 0.0 if policy == "error" else boundary_scores
    table = _table(draw, names, sizes, missing, boundary_scores, complete, levels)
    return BenchmarkPanel(table, list(names), chance=dict(zip(names, levels.tolist(), strict=True)), boundary=policy)


# --- models -------------------------------------------------------------------------------------------------------


def designs(covariates: Sequence[str] = ("params_b", "tokens_t"), max_terms: int = 5) -> st.SearchStrategy[str]:
    """Draw scaling formulas: logarithms of size and tokens with and without interaction, one of them, polynomials.

    Parameters
    ----------
    covariates : sequence of str
        Columns of positive numbers. A formula uses one or two of them.
    max_terms : int
        Largest number of slopes per skill. A panel needs more LLMs than that.

    Returns
    -------
    strategy of str

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(designs(max_terms=1))
    ... def test(formula):
    ...     assert formula in ("log(params_b)", "log(tokens_t)", "log(params_b * tokens_t)")
    >>> test()
    """
    quoted = [name if str(name).isidentifier() else f"`{name}`" for name in covariates]
    formulas = [text.format(name) for text, terms in _ONE_COLUMN if terms <= max_terms for name in quoted]
    pairs = list(itertools.combinations(quoted, 2))
    formulas += [text.format(*pair) for text, terms in _TWO_COLUMNS if terms <= max_terms for pair in pairs]
    if not formulas:
        raise InvalidArgument(f"No formula has {max_terms} terms in the columns {list(covariates)}.")
    return st.sampled_from(formulas)


@lru_cache(maxsize=100)
def _count_terms(formula: str) -> int:
    """Return the number of slopes per skill of a formula in size and tokens."""
    table = pd.DataFrame(_covariates(np.random.default_rng(0), 50))
    return len(build_design(formula, table, np.ones(50, dtype=bool)).terms)


@st.composite
def specifications(
    draw: st.DrawFn,
    benchmarks: Benchmarks | None = None,
    n_skills: int | st.SearchStrategy[int] | None = None,
    identified: bool | None = True,
    scaling: str | st.SearchStrategy[str] | None = None,
    skills: Form | st.SearchStrategy[Form] | None = None,
    families: int | st.SearchStrategy[int] | None = None,
    llms_per_family: int | st.SearchStrategy[int] = LLMS_PER_FAMILY,
    missing: float = 0.3,
    boundary_scores: float = 0.1,
    boundary: str | st.SearchStrategy[str] = "squeeze",
    asymptotes: str | st.SearchStrategy[str] = "chance",
    random_slopes: Any = None,
) -> LatentSkillModel:
    """Draw models: a panel, a scaling formula and an identification form, each of which may be given.

    The panels have enough data for any form that determines the coordinates of the skills. They have more families than
    skills, and a family of at least two LLMs. The first LLMs, two more than there are terms, have all scores.

    Parameters
    ----------
    benchmarks : int, sequence of str, or strategy of either, optional
        By default up to four more than there are skills.
    n_skills : int or strategy, optional
        By default up to three.
    identified : bool or None
        As for ``patterns``.
    scaling : str or strategy, optional
        Formula in ``params_b`` and ``tokens_t``; by default one of ``designs``.
    skills : Anchored, Echelon, Confirmatory or strategy, optional
        The form of identification, in place of ``n_skills`` and ``identified``.
    families : int or strategy, optional
        By default one to four more than there are skills.
    llms_per_family, missing, boundary_scores, boundary
        As for ``panels``.
    asymptotes, random_slopes
        As for LatentSkillModel, or a strategy.

    Returns
    -------
    strategy of LatentSkillModel

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(specifications(benchmarks=["mmlu", "bbh", "ifeval"], n_skills=2))
    ... def test(model):
    ...     assert model.identification(points=1).identified
    >>> test()
    """
    formula = draw(designs()) if scaling is None else drawn(draw, scaling)
    if skills is None:
        least = 2 if identified is False else 1
        wanted = drawn(draw, st.integers(least, 3) if n_skills is None else n_skills)
        names = benchmark_names(draw, st.integers(max(2, wanted), wanted + 4) if benchmarks is None else benchmarks)
        form: Form = draw(
            patterns(names, skill_count(draw, min(wanted, len(names)), len(names), identified), identified)
        )
    else:
        names = benchmark_names(draw, DEFAULT_BENCHMARKS if benchmarks is None else benchmarks)
        form = drawn(draw, skills)
    k, needed = form.resolve(names).n_skills, _count_terms(formula) + 2
    sizes = _family_sizes(draw, st.integers(k + 1, k + 4) if families is None else families, llms_per_family, needed)
    sizes[0] = max(2, sizes[0])
    panel = _panel(draw, names, sizes, missing, boundary_scores, max(needed, sizes[0]), boundary, _CHANCE)
    drawn_asymptotes, drawn_slopes = drawn(draw, asymptotes), drawn(draw, random_slopes)
    note(f"scaling={formula!r}, skills={form}\n{panel}")  # what the model's own repr leaves out
    return LatentSkillModel(panel, formula, form, drawn_asymptotes, random_slopes=drawn_slopes)


@st.composite
def parameters(draw: st.DrawFn, model: LatentSkillModel) -> pd.Series:
    """Draw parameter points of a model, in general position and of moderate size.

    At the mean covariates intercepts lie in [-1, 0.5]. Absolute loadings, in standard deviations of family effects,
    lie in [0.4, 1.2] divided by the square root of the number of skills. Precisions lie in [20, 60]. So scores are
    neither all close to their asymptotes nor free of noise. Loadings that the form requires to be positive are.

    Parameters
    ----------
    model : LatentSkillModel

    Returns
    -------
    strategy of Series
        Values by the names of the parameters.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(st.data(), specifications(n_skills=1))
    ... def test(data, model):
    ...     point = data.draw(parameters(model))
    ...     assert model.simulate(point).shape[0] == model.n_llms
    >>> test()
    """
    u = random_point(model, np.random.default_rng(draw(_SEEDS)))
    structure = model.pattern.reflect(model.recoding.user(model.space.structure(u)))
    values = pd.Series(model.table.natural(structure), index=model.param_names, name="parameter")
    standard_deviations = model.table.parameters.are(SLOPE_SD)  # these were reflected with their skills
    return values.mask(standard_deviations, values.abs())


# --- changes of coordinates -----------------------------------------------------------------------------------


@st.composite
def rotations(draw: st.DrawFn, n_skills: int | st.SearchStrategy[int]) -> np.ndarray:
    """Draw orthogonal matrices, with and without a reflection, which shrink to the identity.

    Parameters
    ----------
    n_skills : int or strategy
        Number of skills K.

    Returns
    -------
    strategy of array (K, K)
        Products of rotations by whole degrees in all planes of two skills. Permutations are among them; nearly all are
        in general position.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(rotations(3))
    ... def test(turn):
    ...     np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-14)
    >>> test()
    """
    k = drawn(draw, n_skills)
    out = np.eye(k)
    for a, b in itertools.combinations(range(k), 2):
        degrees = draw(st.integers(-179, 180))
        turn = np.eye(k)
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        if degrees % 90 == 0:  # then the matrix is a permutation without rounding errors
            cosine, sine = np.round(cosine), np.round(sine)
        turn[[a, b], [a, b]] = cosine
        turn[a, b], turn[b, a] = -sine, sine
        out = out @ turn
    if draw(st.booleans()):
        out[:, -1] *= -1.0
    return out


@st.composite
def transformations(draw: st.DrawFn, n_skills: int | st.SearchStrategy[int], condition: float = 10.0) -> np.ndarray:
    """Draw invertible matrices of bounded condition number, which shrink to the identity.

    Parameters
    ----------
    n_skills : int or strategy
        Number of skills K.
    condition : float
        Largest condition number, at least 1.

    Returns
    -------
    strategy of array (K, K)
        Singular values lie between one over the square root of ``condition`` and that square root.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(transformations(2, condition=4.0))
    ... def test(matrix):
    ...     assert np.linalg.cond(matrix) < 4.0 + 1e-12
    >>> test()
    """
    if not condition >= 1.0:
        raise InvalidArgument(f"A condition number is at least 1, not {condition!r}.")
    k = drawn(draw, n_skills)
    steps = draw(st.lists(st.integers(-10, 10), min_size=k, max_size=k))
    sizes = condition ** (np.array(steps) / 20.0)
    left, right = draw(rotations(k)), draw(rotations(k))
    return left * sizes @ right.T
