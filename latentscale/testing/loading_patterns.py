"""Strategies for identification forms: which loadings are fixed.

Whether a form determines the coordinates of the skills is decided here by the linear system of ``free_turns`` alone, at
one generic point and without data. It is independent of the checks of the models, and so can be used to test them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from ..components.identification import Anchored, Confirmatory, Echelon

if TYPE_CHECKING:
    Form: TypeAlias = Anchored | Echelon | Confirmatory
    # what a strategy takes as its benchmarks: a number or names, or a strategy of either
    Benchmarks: TypeAlias = int | Sequence[str] | st.SearchStrategy[int] | st.SearchStrategy[Sequence[str]]
    # of a pattern with one zero more and the pattern without: whether to keep the zero
    Condition: TypeAlias = Callable[[np.ndarray, np.ndarray], bool]

DEFAULT_BENCHMARKS = st.integers(2, 6)
_MOST_SKILLS = 3
_RANK = 1e-9  # singular values of at most this count as zero


def drawn(draw: st.DrawFn, given: Any) -> Any:
    """Return a value that was given as such, or drawn from the strategy that was given for it."""
    return draw(given) if isinstance(given, st.SearchStrategy) else given


def benchmark_names(draw: st.DrawFn, benchmarks: Benchmarks) -> tuple[str, ...]:
    """Return the names of benchmarks, from their number or names or a strategy of either."""
    wanted = drawn(draw, benchmarks)
    if isinstance(wanted, (int, np.integer)):
        return tuple(f"b{number + 1}" for number in range(wanted))
    return tuple(wanted)


def skill_count(
    draw: st.DrawFn, n_skills: int | st.SearchStrategy[int] | None, n_items: int, identified: bool | None
) -> int:
    """Return the number of skills, at most the number of benchmarks, or raise InvalidArgument."""
    least = 2 if identified is False else 1
    if n_skills is None:
        n_skills = st.integers(least, max(least, min(n_items, _MOST_SKILLS)))
    count = drawn(draw, n_skills)
    if not least <= count <= n_items:
        needs = "at least two skills, for one is always identified," if least == 2 else "at least one skill"
        raise InvalidArgument(
            f"A pattern takes {needs} and as many benchmarks as skills; got {count} skills and {n_items} benchmarks."
        )
    return count


@st.composite
def patterns(
    draw: st.DrawFn,
    benchmarks: Benchmarks = DEFAULT_BENCHMARKS,
    n_skills: int | st.SearchStrategy[int] | None = None,
    identified: bool | None = True,
) -> Form:
    """Draw identification forms: Anchored, Echelon and Confirmatory.

    Parameters
    ----------
    benchmarks : int, sequence of str, or strategy of either
        Their number, with names ``b1``, ``b2``, ..., or their names.
    n_skills : int or strategy, optional
        By default up to three.
    identified : bool or None
        True: forms that determine the coordinates of the skills, just-identified or overidentified. False: Confirmatory
        patterns that do not determine them, because there are too few restrictions, or because one skill has too few
        zeros, or because two skills have the same pattern. None: any of these forms, or zeros and other fixed loadings
        at random.

    Returns
    -------
    strategy of Anchored, Echelon or Confirmatory
        The skills are called ``s1``, ``s2``, ...

    Raises
    ------
    hypothesis.errors.InvalidArgument
        When drawing: for more skills than benchmarks, and for ``identified=False`` with one skill.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(patterns(benchmarks=4, n_skills=2))
    ... def test(form):
    ...     pattern = form.resolve(("b1", "b2", "b3", "b4"))
    ...     assert free_turns(pattern.fixed, pattern.correlated) == 0
    >>> test()
    """
    names = benchmark_names(draw, benchmarks)
    skills = [f"s{number + 1}" for number in range(skill_count(draw, n_skills, len(names), identified))]
    settled: list[Callable[..., Form]] = [_anchored, _echelon, _settled]
    by_kind: dict[bool | None, list[Callable[..., Form]]] = {
        True: settled,
        False: [_too_few],
        None: [*settled, _at_random],
    }
    makers = by_kind[identified]
    if identified is not True and len(skills) > 1:
        makers = [*makers, _too_few]
        if len(names) > len(skills):
            makers = [*makers, _alike, _misplaced]
    return draw(st.sampled_from(makers))(draw, names, skills)


def _anchored(draw: st.DrawFn, names: Sequence[str], skills: Sequence[str]) -> Anchored:
    anchors = draw(st.permutations(names))[: len(skills)]
    return Anchored(dict(zip(skills, anchors, strict=True)), draw(st.booleans()))


def _echelon(draw: st.DrawFn, names: Sequence[str], skills: Sequence[str]) -> Echelon:
    return Echelon(tuple(draw(st.permutations(names))[: len(skills)]), tuple(skills))


def _confirmatory(fixed: np.ndarray, names: Sequence[str], skills: Sequence[str], correlated: bool) -> Confirmatory:
    return Confirmatory(pd.DataFrame(fixed, list(names), skills), correlated)


def _cells(draw: st.DrawFn, fixed: np.ndarray) -> list[tuple[int, int]]:
    """Draw an order of all entries of a pattern."""
    return draw(st.permutations(list(np.ndindex(*fixed.shape))))


def _settled(draw: st.DrawFn, names: Sequence[str], skills: Sequence[str]) -> Confirmatory:
    fixed, correlated = _base(draw, names, skills, draw(st.integers(0, 3)))
    return _confirmatory(fixed, names, skills, correlated)


def _base(draw: st.DrawFn, names: Sequence[str], skills: Sequence[str], spare: int) -> tuple[np.ndarray, bool]:
    """Return fixed loadings (J, K) that determine the skills, with at most ``spare`` superfluous zeros, and correlated.

    Loadings that are free are NaN; ``correlated`` says whether correlations of skills are free.
    """
    fixed = np.full((len(names), len(skills)), np.nan)
    for skill in range(len(skills)):
        value = draw(st.sampled_from([None, 1.0, 0.5, -2.0]))  # a loading that sets the unit, or None for variance one
        if value is not None:
            fixed[draw(st.integers(0, len(names) - 1)), skill] = value
    correlated = draw(st.booleans())
    cells = _cells(draw, fixed)
    fixed = _settle(fixed, correlated, cells)
    if free_turns(fixed, correlated):  # with these fixed loadings no zero can be added
        fixed, correlated = np.full(fixed.shape, np.nan), True
        fixed = _settle(fixed, correlated, cells)
    for cell in cells:
        if not spare:
            break
        longer = _with_zero(fixed, cell, lambda new, _: _measuring(new) and not free_turns(new, correlated))
        spare, fixed = spare - (longer is not fixed), longer
    return fixed, correlated


def _settle(fixed: np.ndarray, correlated: bool, cells: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the pattern with zeros added one by one, as long as each of them is needed to determine the skills."""

    def settles(new: np.ndarray, old: np.ndarray) -> bool:
        return free_turns(new, correlated) < free_turns(old, correlated)

    before = None
    while fixed is not before and free_turns(fixed, correlated):
        before = fixed
        for cell in cells:
            fixed = _with_zero(fixed, cell, settles)
    return fixed


def _with_zero(fixed: np.ndarray, cell: tuple[int, int], wanted: Condition, mirrored: Sequence[int] = ()) -> np.ndarray:
    """Return the pattern with one more loading fixed at zero, or unchanged if the result is not wanted.

    If the skill is one of ``mirrored``, the loadings of the benchmark on all of these are fixed at zero. The result
    must satisfy the condition ``wanted`` and allow loadings of full rank.
    """
    row, column = cell
    columns = list(mirrored) if column in mirrored else [column]
    if not np.isnan(fixed[cell]):
        return fixed
    longer = fixed.copy()
    longer[row, columns] = 0.0
    return longer if has_full_rank(longer) and wanted(longer, fixed) else fixed


def _too_few(draw: st.DrawFn, names: Sequence[str], skills: Sequence[str]) -> Confirmatory:
    """Draw a pattern without some of the zeros that are needed to determine the skills."""
    fixed, correlated = _base(draw, names, skills, 0)
    zeros = np.argwhere(fixed == 0.0)
    kept = draw(st.lists(st.booleans(), min_size=len(zeros) - 1, max_size=len(zeros) - 1))
    freed = draw(st.permutations([*(not keep for keep in kept), True]))
    fixed[tuple(zeros[np.array(freed)].T)] = np.nan
    return _confirmatory(fixed, names, skills, correlated)


def _alike(draw: st.DrawFn, names: Sequence[str], skills: Sequence[str]) -> Confirmatory:
    """Draw a pattern with enough restrictions, but with two skills whose fixed loadings are the same."""
    pair = sorted(draw(st.permutations(range(len(skills))))[:2])
    fixed, correlated = np.full((len(names), len(skills)), np.nan), draw(st.booleans())
    fixed = _filled(draw, fixed, correlated, lambda new, _: True, pair)
    return _confirmatory(fixed, names, skills, correlated)


def _misplaced(draw: st.DrawFn, names: Sequence[str], skills: Sequence[str]) -> Confirmatory:
    """Draw a pattern with enough restrictions, but with a skill that has fewer than the K - 1 zeros that it needs."""
    k, short = len(skills), draw(st.integers(0, len(skills) - 1))
    most = draw(st.integers(0, k - 2))
    fixed = np.full((len(names), k), np.nan)
    fixed = _filled(draw, fixed, True, lambda new, _: np.sum(new[:, short] == 0.0) <= most)
    return _confirmatory(fixed, names, skills, True)


def _filled(
    draw: st.DrawFn, fixed: np.ndarray, correlated: bool, wanted: Condition, mirrored: Sequence[int] = ()
) -> np.ndarray:
    """Return the pattern with zeros added until it has K^2 restrictions; benchmarks without any skill come last."""
    cells = _cells(draw, fixed)
    for condition in (lambda new, old: wanted(new, old) and _measuring(new), wanted):
        for cell in cells:
            if n_restrictions(fixed, correlated) >= fixed.shape[1] ** 2:
                return fixed
            fixed = _with_zero(fixed, cell, condition, mirrored)
    return fixed


def _measuring(fixed: np.ndarray) -> bool:
    """Return whether every benchmark loads on some skill."""
    return np.any(fixed != 0.0, axis=1).all()


def _at_random(draw: st.DrawFn, names: Sequence[str], skills: Sequence[str]) -> Confirmatory:
    values = st.sampled_from([np.nan, np.nan, 0.0, 1.0, -0.5])
    row = st.lists(values, min_size=len(skills), max_size=len(skills))
    fixed = np.array(draw(st.lists(row, min_size=len(names), max_size=len(names))))
    fixed[0, np.all(fixed == 0.0, axis=0)] = np.nan
    return _confirmatory(fixed, names, skills, draw(st.booleans()))


# --- what a pattern leaves free -----------------------------------------------------------------------------------


def n_restrictions(fixed: np.ndarray, correlated: bool) -> int:
    """Return the number of restrictions on (Lambda, Sigma): fixed loadings, unit variances, covariances of zero.

    Examples
    --------
    >>> n_restrictions(np.array([[np.nan, 0.0], [0.0, np.nan]]), True)
    4
    """
    k = fixed.shape[1]
    marked = np.any(~np.isnan(fixed) & (fixed != 0.0), axis=0)
    return int(np.sum(~np.isnan(fixed)) + np.sum(~marked) + (0 if correlated else k * (k - 1) // 2))


def _generic(fixed: np.ndarray) -> tuple[np.ndarray, np.random.Generator]:
    """Return loadings in which the free ones are random, and the generator of random numbers."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], fixed.shape)
    return np.where(np.isnan(fixed), signs * rng.uniform(0.5, 1.5, fixed.shape), fixed), rng


def has_full_rank(fixed: np.ndarray) -> bool:
    """Return whether Lambda has full column rank at a generic point."""
    return int(np.linalg.matrix_rank(_generic(fixed)[0], tol=_RANK)) == fixed.shape[1]


def free_turns(fixed: np.ndarray, correlated: bool) -> int:
    """Return the number of dimensions of changes A = I + E of the skills' coordinates that a pattern allows.

    For small E, fixed loadings require (Lambda E)_jk = 0, and fixed covariances (E Sigma + Sigma E')_km = 0. The number
    of solutions is computed at a generic point.

    Parameters
    ----------
    fixed : array (J, K)
        Fixed loadings, NaN where free.
    correlated : bool
        Whether correlations between skills are free.

    Returns
    -------
    int

    Examples
    --------
    >>> free_turns(np.array([[np.nan, 0.0], [0.0, np.nan]]), True)
    0
    >>> free_turns(np.array([[np.nan, 0.0], [np.nan, np.nan]]), True)
    1
    """
    loadings, rng = _generic(fixed)
    k = fixed.shape[1]
    marked = np.any(~np.isnan(fixed) & (fixed != 0.0), axis=0)
    sd = np.where(marked, rng.uniform(0.5, 1.5, k), 1.0)
    root = np.linalg.qr(rng.standard_normal((k, 2 * k)).T)[1].T if correlated else np.eye(k)
    root = root / np.linalg.norm(root, axis=1)[:, None] * sd[:, None]
    cov = root @ root.T
    fixed_covariances = np.diag(~marked) if correlated else ~np.diag(marked)
    basis = np.eye(k * k).reshape(-1, k, k)
    half = basis @ cov
    changes = half + np.swapaxes(half, 1, 2)
    conditions = np.hstack([(loadings @ basis)[:, ~np.isnan(fixed)], changes[:, np.tril(fixed_covariances)]])
    return k * k - int(np.linalg.matrix_rank(conditions, tol=_RANK))
