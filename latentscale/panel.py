"""BenchmarkPanel: checked benchmark scores of LLMs, with their families and covariates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from narwhals.typing import IntoFrame

from .boundary import BOUNDARIES, PreparedScores, prepare_scores, refuse_boundary
from .checks import check_one_of
from .covariates import describe_covariates, told_apart
from .errors import DataError
from .known_benchmarks import BENCHMARKS, CHANCE_LEVELS
from .tables import (
    check_variation,
    counted,
    read_families,
    read_groups,
    read_llms,
    read_scores,
    read_table,
    require_columns,
    some,
    to_floats,
    to_native,
    widen,
)

MAX_DECIMALS = 6
"""The largest number of decimals that the inferred rounding unit of a benchmark may have."""


class BenchmarkPanel:
    """Scores of LLMs (rows) on benchmarks (columns), checked, with families and covariates.

    A panel does not change after it has been made, and shares no memory with the table that it was made from.

    Parameters
    ----------
    data : pandas.DataFrame or any table narwhals can read (polars, pyarrow, ...)
        One row per LLM. Scores are fractions in [0, 1]; a missing cell is an unknown score. A named pandas
        index counts as a column. LLMs without any score are kept.
    benchmarks : sequence of str, default `BENCHMARKS`
        The score columns, each with at least two different scores.
    family : str or sequence of str, default "family"
        Column of family names, or several columns whose combinations are the families:
        ``["base_family", "instruct"]`` keeps base and instruct variants apart.
    llm : str, default "model"
        Column of LLM names, which must be unique.
    chance : mapping or pandas.Series of str to float, default `CHANCE_LEVELS`
        Guessing level of each benchmark, in [0, 1); 0 for a benchmark it does not name.
    boundary : {"squeeze", "censor", "error"}, default "squeeze"
        What to do about scores of exactly 0 or 1. ``squeeze`` moves all scores of a benchmark that has one
        inwards, ``(y (n - 1) + 1/2) / n`` for n observed scores (Smithson and Verkuilen 2006); ``censor``
        takes such a score to say only that the score before rounding lies within half a rounding unit of 0
        or 1; ``error`` refuses it.
    rounding : float, mapping or pandas.Series of str to float, optional
        Unit to which scores were rounded, in (0, 1), as used by ``censor``. For a benchmark without one it is the
        largest of 0.1, 0.01, ..., 1e-6 of which all of its scores are multiples (to 1e-9), else 1e-6.

    groups : str, optional
        Column in which families are nested, such as the base family of instruction-tuned variants. All LLMs of a family
        must be of one group.

    Raises
    ------
    DataError
        If the table cannot be used as it is; the message names rows and columns and says what to do.

    Examples
    --------
    >>> from latentscale.datasets import load_leaderboard
    >>> BenchmarkPanel(load_leaderboard())
    BenchmarkPanel: 197 LLMs in 68 families, 12 benchmarks, 28.9% of the scores missing
    scores of exactly 0 or 1 (boundary="squeeze"): gsm8k 2, math_lvl_5 21
    """

    __slots__ = (
        "_benchmarks",
        "_boundary",
        "_chance",
        "_families",
        "_family",
        "_group",
        "_groups",
        "_llm",
        "_llms",
        "_rounding",
        "_scores",
        "_table",
    )

    def __init__(
        self,
        data: IntoFrame,
        benchmarks: Sequence[str] | None = None,
        family: str | Sequence[str] = "family",
        llm: str = "model",
        chance: Mapping[str, float] | pd.Series | None = None,
        boundary: str = "squeeze",
        rounding: float | Mapping[str, float] | pd.Series | None = None,
        groups: str | None = None,
    ) -> None:
        table = read_table(data)
        self._boundary = check_one_of("boundary", boundary, BOUNDARIES)
        self._llm = str(llm)
        self._family = family if isinstance(family, str) else tuple(str(name) for name in family)
        self._benchmarks = _benchmark_names(benchmarks, {self._llm, *_as_tuple(self._family)})
        require_columns(table, [self._llm], "LLM column")
        self._llms = read_llms(table[self._llm])
        self._families = tuple(read_families(table, self._family))
        self._group = None if groups is None else str(groups)
        self._groups = None if groups is None else read_groups(table, str(groups), self._families)
        self._scores = read_scores(table, self._benchmarks, self._llms)
        self._scores.flags.writeable = False
        check_variation(self._scores, self._benchmarks)
        if boundary == "error":
            refuse_boundary(self._scores, self._benchmarks, self._llms)
        others = table.columns.drop([self._llm, *self._benchmarks])
        self._table = pd.DataFrame({name: to_native(table[name]) for name in others}, index=table.index)
        self._chance = _chance_levels(chance, self._benchmarks)
        self._rounding = _rounding_units(rounding, self._benchmarks, self._scores)

    @classmethod
    def from_long(
        cls,
        data: IntoFrame,
        benchmark: str = "benchmark",
        score: str = "score",
        llm: str = "model",
        family: str | Sequence[str] = "family",
        benchmarks: Sequence[str] | None = None,
        chance: Mapping[str, float] | pd.Series | None = None,
        boundary: str = "squeeze",
        rounding: float | Mapping[str, float] | pd.Series | None = None,
        groups: str | None = None,
    ) -> "BenchmarkPanel":
        """Make a panel of a long table, one row per LLM and benchmark.

        Parameters
        ----------
        data : pandas.DataFrame or any table narwhals can read
            It has columns for LLM, benchmark and score. All others describe the LLM (family, covariates) and are
            repeated in each of its rows.
        benchmark, score : str
            Columns of benchmark names and of scores.
        benchmarks : sequence of str, optional
            Benchmarks to use; by default all that are present, in order of appearance. Benchmarks that are not
            used become columns of `table`.
        llm, family, chance, boundary, rounding, groups
            As for `BenchmarkPanel`.

        Returns
        -------
        BenchmarkPanel

        Raises
        ------
        DataError
            As for `BenchmarkPanel`, and if a pair of LLM and benchmark occurs twice or a column that should
            describe the LLM varies within one.

        Examples
        --------
        >>> long = pd.DataFrame({
        ...     "model": ["a", "a", "b", "b"],
        ...     "family": ["f", "f", "g", "g"],
        ...     "benchmark": ["mmlu", "bbh", "mmlu", "bbh"],
        ...     "score": [0.5, 0.4, 0.7, 0.6],
        ... })
        >>> BenchmarkPanel.from_long(long).scores.loc["b"].to_dict()
        {'mmlu': 0.7, 'bbh': 0.6}
        """
        table = read_table(data)
        roles = [str(name) for name in (llm, benchmark, score)]
        if len(set(roles)) < 3 or set(roles[1:]) & set(_as_tuple(family)):
            raise DataError("LLM, benchmark, score and family must be different columns")
        require_columns(table, roles, "column")
        wide, present = widen(table, roles[1], roles[2], roles[0])
        chosen = present if benchmarks is None else benchmarks
        return cls(wide, chosen, family, llm, chance, boundary, rounding, groups)

    def __repr__(self) -> str:
        missing = np.isnan(self._scores).mean()
        at_edge = ((self._scores == 0) | (self._scores == 1)).sum(axis=0)
        apart = told_apart(self._table, self._llms)
        counts = [f"{name} {count}" for name, count in zip(self._benchmarks, at_edge, strict=True) if count]
        return (
            f"BenchmarkPanel: {counted(self.n_llms, 'LLM')} in {counted(self.n_families, 'family')}, "
            f"{counted(self.n_benchmarks, 'benchmark')}, {missing:.1%} of the scores missing\n"
            f'scores of exactly 0 or 1 (boundary="{self._boundary}"): {some(counts, limit=12) or "none"}'
            + (f"\nfar from the rest, is the unit right? {some(apart)}" if apart else "")
        )

    @property
    def scores(self) -> pd.DataFrame:
        """Raw scores, LLMs by benchmarks, NaN where missing (a copy)."""
        return pd.DataFrame(self._scores.copy(), index=self.llms, columns=list(self._benchmarks))

    @property
    def table(self) -> pd.DataFrame:
        """All columns that are not scores of the panel, indexed by LLM (a copy)."""
        return self._table.set_axis(self.llms).copy()

    @property
    def llms(self) -> pd.Index:
        """LLM names, in the order of the table."""
        return pd.Index(self._llms, name=self._llm)

    @property
    def families(self) -> pd.Series:
        """Family name of each LLM (a copy)."""
        return pd.Series(self._families, index=self.llms, name="family")

    @property
    def groups(self) -> pd.Series | None:
        """Group of each LLM's family, such as the base family (a copy); None if the panel has no groups."""
        return None if self._groups is None else pd.Series(self._groups, index=self.llms, name="group")

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Benchmark names, in the order of the columns of `scores`."""
        return self._benchmarks

    @property
    def chance(self) -> pd.Series:
        """Guessing level of each benchmark, in [0, 1) (a copy)."""
        return pd.Series(self._chance.copy(), index=list(self._benchmarks), name="chance")

    @property
    def rounding(self) -> pd.Series:
        """Rounding unit of each benchmark's scores, in (0, 1) (a copy)."""
        return pd.Series(self._rounding.copy(), index=list(self._benchmarks), name="rounding")

    @property
    def boundary(self) -> str:
        """Policy for scores of exactly 0 or 1: "squeeze", "censor" or "error"."""
        return self._boundary

    @property
    def llm(self) -> str:
        """Name of the column of LLM names."""
        return self._llm

    @property
    def family(self) -> str | tuple[str, ...]:
        """Name of the column of family names, or the columns whose combinations are the families."""
        return self._family

    @property
    def options(self) -> dict[str, Any]:
        """What makes this panel of its table, as plain values: ``BenchmarkPanel(panel.to_frame(), **panel.options)``.

        The same dict makes a panel of another table alike, is saved with a fit and told in its report.
        """
        return {
            "benchmarks": list(self._benchmarks),
            "family": self._family if isinstance(self._family, str) else list(self._family),
            "llm": self._llm,
            "chance": self.chance.to_dict(),
            "boundary": self._boundary,
            "rounding": self.rounding.to_dict(),
            **({} if self._group is None else {"groups": self._group}),
        }

    @property
    def n_llms(self) -> int:
        """Number of LLMs, those without any score included."""
        return len(self._llms)

    @property
    def n_families(self) -> int:
        """Number of families."""
        return len(set(self._families))

    @property
    def n_benchmarks(self) -> int:
        """Number of benchmarks."""
        return len(self._benchmarks)

    def describe(self) -> pd.DataFrame:
        """Summarise each benchmark's raw scores.

        Returns
        -------
        pandas.DataFrame
            One row per benchmark: n (observed scores), mean, sd, min, max, zeros and ones (numbers of scores
            of exactly 0 and 1), chance (guessing level).
        """
        scores = self.scores
        return pd.DataFrame(
            {
                "n": scores.count(),
                "mean": scores.mean(),
                "sd": scores.std(),
                "min": scores.min(),
                "max": scores.max(),
                "zeros": (scores == 0).sum(),
                "ones": (scores == 1).sum(),
                "chance": self.chance,
            }
        )

    def covariates(self) -> pd.DataFrame:
        """Summarise each numeric column of `table`, to see wrong units and what slopes can rest on.

        Returns
        -------
        pandas.DataFrame
            One row per column: n (values), missing, min, median, max; scale, "log" if all values are positive, else
            "linear"; within_families, the share of the variance on that scale that lies within families, in [0, 1], on
            which slopes rest that are free of differences between families; apart, a tuple of the LLMs whose value is
            ten times and more away from all others, farther than three times the largest step among these.

        Examples
        --------
        >>> from latentscale.datasets import load_leaderboard
        >>> BenchmarkPanel(load_leaderboard()).covariates()["missing"].to_dict()
        {'params_b': 0, 'tokens_t': 13, 'humaneval': 111}
        """
        return describe_covariates(self._table, self._llms, np.asarray(self._families, dtype=object))

    def to_frame(self) -> pd.DataFrame:
        """Return the panel as one wide table, from which the same panel can be made.

        Returns
        -------
        pandas.DataFrame
            One row per LLM: the LLM column, the columns of `table`, the raw scores.
        """
        return pd.concat([self.table, self.scores], axis=1).reset_index()

    def subset(self, which: Sequence[str] | Sequence[bool] | np.ndarray | pd.Series | pd.Index) -> "BenchmarkPanel":
        """Make a panel of some of the LLMs, with the same options and rounding units.

        Parameters
        ----------
        which : (N,) bool array or sequence of str
            One true/false value for each LLM, or names of LLMs in the wanted order.

        Returns
        -------
        BenchmarkPanel

        Raises
        ------
        DataError
            If a name is unknown, there is not one true/false value per LLM, or the selection makes no panel, because
            no LLM is left or a benchmark has no two different scores.

        Examples
        --------
        >>> from latentscale.datasets import load_leaderboard
        >>> panel = BenchmarkPanel(load_leaderboard())
        >>> panel.subset(panel.families.isin(["qwen2", "yi"])).n_llms
        7
        """
        which = [which] if isinstance(which, str) else which
        if np.asarray(which).dtype == bool:
            rows = np.flatnonzero(self._mask(which))
        else:
            names = pd.Index([str(name) for name in which], dtype=object)
            require_columns(pd.DataFrame(columns=list(self._llms)), names, "LLM")
            rows = pd.Index(self._llms, dtype=object).get_indexer(names)
        return BenchmarkPanel(self.to_frame().iloc[rows], **self.options)

    def prepare(self, keep: npt.ArrayLike) -> PreparedScores:
        """Apply the boundary policy to the LLMs that enter a likelihood.

        Parameters
        ----------
        keep : (N,) bool array
            The LLMs to keep; the ``squeeze`` rule counts the scores of these only.

        Returns
        -------
        PreparedScores

        Raises
        ------
        DataError
            If `keep` is not one true/false value per LLM.

        Examples
        --------
        >>> table = pd.DataFrame({"model": ["a", "b"], "family": ["f", "g"], "bbh": [0.0, 0.5]})
        >>> BenchmarkPanel(table, ["bbh"]).prepare([True, True]).y
        array([[0.25],
               [0.5 ]])
        """
        raw = self._scores[self._mask(keep)]
        return prepare_scores(raw, self._benchmarks, self._rounding / 2.0, self._boundary)

    def _mask(self, which: npt.ArrayLike) -> np.ndarray:
        """Check that there is one true/false value per LLM, and return them as an array (N,)."""
        mask = np.asarray(which)
        if mask.dtype != bool or mask.shape != (self.n_llms,):
            raise DataError(
                f"a mask needs one true/false value for each of the {self.n_llms} LLMs, not an array of "
                f"{mask.dtype} of shape {mask.shape}"
            )
        return mask


def require_panel(panel: object, taker: object) -> None:
    """Raise a `DataError` unless a model is given a panel; ``taker`` is the model."""
    if not isinstance(panel, BenchmarkPanel):
        raise DataError(f"{type(taker).__name__} takes a BenchmarkPanel, not {type(panel).__name__}.")


def _as_tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _benchmark_names(benchmarks: Sequence[str] | None, taken: set[str]) -> tuple[str, ...]:
    """Return the benchmark names, refusing repeated ones and those `taken` by other columns."""
    names = BENCHMARKS if benchmarks is None else tuple(str(name) for name in _as_tuple(benchmarks))
    if not names:
        raise DataError("no benchmarks: name at least one score column")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"benchmarks listed more than once: {some(repeated)}")
    clash = [name for name in names if name in taken]
    if clash:
        raise DataError(f"{some(clash)} cannot be both a benchmark and the column of LLM or family names")
    return names


def _by_benchmark(given: Mapping[str, float] | pd.Series, option: str, known: Sequence[str]) -> dict[str, float]:
    """Check an option that is given per benchmark: its names must be among `known`, its values numbers."""
    if not isinstance(given, Mapping | pd.Series):
        raise DataError(f"{option} must map benchmarks to numbers, not be a {type(given).__name__}")
    by_name = {str(name): value for name, value in given.items()}
    unknown = [name for name in by_name if name not in known]
    if unknown:
        raise DataError(f"{option} names unknown benchmarks: {some(unknown)}")
    values, wrong = to_floats(pd.Series(list(by_name.values()), dtype=object))
    if wrong.any() or np.isnan(values).any():
        raise DataError(f"{option} must be numbers: {some(f'{k} is {v!r}' for k, v in by_name.items())}")
    return dict(zip(by_name, values.tolist(), strict=True))


def _chance_levels(chance: Mapping[str, float] | pd.Series | None, benchmarks: tuple[str, ...]) -> np.ndarray:
    """Return the guessing levels (J,) of the benchmarks, after checking them."""
    given = CHANCE_LEVELS if chance is None else chance
    levels = _by_benchmark(given, "chance", (*benchmarks, *CHANCE_LEVELS))
    outside = [f"{name} is {level:g}" for name, level in levels.items() if not 0 <= level < 1]
    if outside:
        raise DataError(f"chance levels must be fractions in [0, 1): {some(outside)}")
    return np.array([levels.get(name, 0.0) for name in benchmarks])


def _rounding_units(
    rounding: float | Mapping[str, float] | pd.Series | None, benchmarks: tuple[str, ...], scores: np.ndarray
) -> np.ndarray:
    """Return the rounding units (J,) of the benchmarks, inferred from the scores (N, J) where they are not given."""
    if rounding is not None and not isinstance(rounding, Mapping | pd.Series):
        rounding = dict.fromkeys(benchmarks, rounding)
    units = {} if rounding is None else _by_benchmark(rounding, "rounding", benchmarks)
    outside = [f"{name} is {unit:g}" for name, unit in units.items() if not 0 < unit < 1]
    if outside:
        raise DataError(f"rounding units must lie between 0 and 1: {some(outside)}")
    columns = zip(benchmarks, scores.T, strict=True)
    return np.array([units.get(name) or _inferred_unit(column) for name, column in columns])


def _inferred_unit(scores: np.ndarray) -> float:
    """Return the largest power of ten of which all scores are multiples."""
    observed = scores[~np.isnan(scores)]
    for decimals in range(1, MAX_DECIMALS):
        if np.all(np.abs(np.round(observed, decimals) - observed) <= 1e-9):
            return 10.0**-decimals
    return 10.0**-MAX_DECIMALS
