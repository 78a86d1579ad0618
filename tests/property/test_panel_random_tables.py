"""Random tables: a panel or a DataError, never anything else; and what holds for every panel."""

import datetime
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.errors import DataError
from latentscale.panel import BOUNDARIES, BenchmarkPanel

QUICK = settings(max_examples=100)
THOROUGH = settings(QUICK, max_examples=300)

NAMES = st.sampled_from(["model", "family", "benchmark", "score", "mmlu", "bbh", "size"])
ODD_NAMES = st.one_of(NAMES, st.text(max_size=3), st.integers(0, 3), st.none(), st.floats(), st.booleans())
FRACTIONS = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5, 5e-324, 1 - 2**-53])
CELLS = st.one_of(
    st.none(),
    st.floats(),
    st.integers(),
    st.just(10**400),
    st.text(max_size=3),
    st.booleans(),
    st.complex_numbers(),
    st.just(pd.NA),
    st.just(pd.NaT),
    st.just(datetime.date(2024, 1, 1)),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.binary(max_size=2),
    st.lists(st.integers(), max_size=2),
)
NUMERIC = ["float64", "float32", "longdouble", "Float64", "Sparse[float]", "Int64", "uint8", "complex128"]
DTYPES = st.sampled_from([*NUMERIC, "object", "bool", "boolean", "str", "category", "datetime64[ns]"])


@st.composite
def sound_tables(draw):
    """Tables that any policy but ``error`` accepts: two varied benchmarks of fractions with missing cells."""
    size = draw(st.integers(3, 8))

    def varied():
        cells = draw(st.lists(FRACTIONS | st.none(), min_size=size - 2, max_size=size - 2))
        cells += draw(st.lists(FRACTIONS, min_size=2, max_size=2, unique=True))
        return pd.Series(draw(st.permutations(cells)), dtype=float)

    return pd.DataFrame(
        {
            "model": [f"llm {i}" for i in range(size)],
            "family": draw(st.lists(st.sampled_from("fg"), min_size=size, max_size=size)),
            "size": draw(st.lists(st.floats(0.1, 100), min_size=size, max_size=size)),
            "mmlu": varied(),
            "bbh": varied(),
        }
    )


def melted(table):
    return table.melt(["model", "family", "size"], var_name="benchmark", value_name="score")


def masks(table):
    return st.lists(st.booleans(), min_size=len(table), max_size=len(table))


def spoil_cells(draw, table, column):
    """Put odd values into a few cells, or all, of one column."""
    cells = table.iloc[:, column].astype(object).tolist()
    rows = draw(st.lists(st.integers(0, max(len(cells) - 1, 0)), max_size=3)) if cells else []
    for row in draw(st.sampled_from([rows, range(len(cells))])):
        cells[row] = draw(CELLS)
    table.isetitem(column, pd.Series(cells, dtype=object, index=table.index))
    return table


def spoil_dtype(draw, table, column):
    """Cast one column to another dtype, where it can be."""
    try:
        with np.errstate(all="ignore"):
            table.isetitem(column, table.iloc[:, column].astype(draw(DTYPES)))
    except (TypeError, ValueError, OverflowError, np.exceptions.ComplexWarning):
        event("cast refused")
    return table


def spoil_names(draw, table, column):
    """Rename one column, perhaps to the name of another, or nest all names."""
    if table.columns.nlevels > 1:
        return table
    names = list(table.columns)
    names[column] = draw(ODD_NAMES)
    nested = pd.MultiIndex.from_arrays([names, range(len(names))])
    return table.set_axis(nested if draw(st.integers(0, 9)) == 0 else names, axis=1)


def spoil_rows(draw, table, column):
    """Repeat, drop or reorder rows."""
    rows = st.lists(st.integers(0, len(table) - 1), max_size=2 * len(table)) if len(table) else st.just([])
    return table.iloc[draw(rows)]


def spoil_index(draw, table, column):
    """Give the rows odd labels, or turn columns into labels."""
    size = len(table)
    odd = [
        pd.Index([0] * size),
        pd.Index([f"row {i}" for i in range(size)], name=("a", 1)),
        pd.MultiIndex.from_arrays([range(size), [0] * size], names=[draw(ODD_NAMES), "model"]),
    ]
    if table.columns.nlevels == 1 and table.columns.is_unique and draw(st.booleans()):
        return table.set_index(table.columns[column])
    return table.set_axis(draw(st.sampled_from(odd)), axis=0)


def spoil_columns(draw, table, column):
    """Drop a column, or repeat one."""
    columns = list(range(table.shape[1]))
    return table.iloc[:, columns[:column] + columns[column + 1 :] + draw(st.sampled_from([[], [column] * 2]))]


SPOILINGS = [spoil_cells, spoil_dtype, spoil_names, spoil_rows, spoil_index, spoil_columns]


@st.composite
def spoilt_tables(draw, long):
    """Sound tables, wide or long, spoilt in up to three ways."""
    table = draw(sound_tables())
    table = melted(table) if long else table
    for spoil in draw(st.lists(st.sampled_from(SPOILINGS), max_size=3)):
        if table.shape[1]:
            table = spoil(draw, table, draw(st.integers(0, table.shape[1] - 1)))
    return table


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "benchmarks": st.lists(ODD_NAMES, max_size=3) | NAMES,
        "family": NAMES | st.lists(NAMES, max_size=2),
        "llm": NAMES,
        "chance": st.dictionaries(NAMES, CELLS, max_size=2) | CELLS,
        "boundary": st.sampled_from(BOUNDARIES) | st.text(max_size=2),
        "rounding": st.dictionaries(NAMES, CELLS, max_size=2) | CELLS,
    },
)


def make(builder, data, options):
    """Return the panel, or None where the builder refuses with a message."""
    try:
        return builder(data, **options)
    except DataError as error:
        event(str(error)[:20])
        return None


def check_panel_or_refusal(builder, table, options):
    """Build, and check that the table is unchanged and the panel, if any, is a working one."""
    before = table.copy(deep=True)
    panel = make(builder, table, options)
    pd.testing.assert_frame_equal(table, before)
    if panel is not None:
        event("a panel")
        assert panel.scores.shape == (panel.n_llms, panel.n_benchmarks)
        scores = panel.scores.to_numpy()
        assert np.all(np.isnan(scores) | ((scores >= 0) & (scores <= 1)))
        assert f"{panel.n_llms} LLM" in repr(panel)
        assert list(panel.describe().index) == list(panel.benchmarks)
        assert panel.prepare(np.ones(panel.n_llms, dtype=bool)).y.shape == panel.scores.shape


@pytest.mark.slow
@THOROUGH
@given(spoilt_tables(long=False), st.just({"benchmarks": ["mmlu", "bbh"]}) | OPTIONS)
def test_wide_tables_make_a_panel_or_a_data_error(table, options):
    check_panel_or_refusal(BenchmarkPanel, table, options)


@pytest.mark.slow
@THOROUGH
@given(spoilt_tables(long=True), st.just({}) | OPTIONS)
def test_long_tables_make_a_panel_or_a_data_error(table, options):
    check_panel_or_refusal(BenchmarkPanel.from_long, table, options)


@QUICK
@given(st.one_of(CELLS, st.dictionaries(NAMES, st.lists(FRACTIONS)), st.lists(st.lists(FRACTIONS))))
def test_what_is_no_table_is_a_data_error(data):
    assert make(BenchmarkPanel, data, {}) is None
    assert make(BenchmarkPanel.from_long, data, {}) is None


@QUICK
@given(st.data(), sound_tables())
def test_squeeze(data, table):
    panel = BenchmarkPanel(table, ["mmlu", "bbh"])
    keep = np.array(data.draw(masks(table)), dtype=bool)
    prepared = panel.prepare(keep)
    for j, name in enumerate(panel.benchmarks):
        raw, y = panel.scores[name].to_numpy()[keep], prepared.y[:, j]
        seen = ~np.isnan(raw)
        assert_array_equal(prepared.state[:, j], np.where(seen, 0, -1))
        assert_array_equal(np.isnan(y), ~seen)
        assert prepared.n_observed[j] == seen.sum()
        raw, y = raw[seen], y[seen]
        assert np.all((y > 0) & (y < 1))
        assert np.all(np.diff(y[np.argsort(raw)]) >= 0)
        at_edge = ((raw == 0) | (raw == 1)).sum()
        assert prepared.boundary_counts[name] == at_edge
        if at_edge:
            n = len(raw)
            assert_allclose(y, [math.fsum([score * (n - 1), 0.5]) / n for score in raw], rtol=1e-15)
        else:
            assert_array_equal(y, raw)


@QUICK
@given(st.data(), sound_tables())
def test_censor(data, table):
    panel = BenchmarkPanel(table, ["mmlu", "bbh"], boundary="censor")
    keep = np.array(data.draw(masks(table)), dtype=bool)
    prepared = panel.prepare(keep)
    raw = panel.scores.to_numpy()[keep]
    assert_array_equal(prepared.state == 1, raw == 0)
    assert_array_equal(prepared.state == 2, raw == 1)
    assert_array_equal(prepared.state == -1, np.isnan(raw))
    assert_array_equal(prepared.edge, panel.rounding / 2)
    edges = np.broadcast_to(prepared.edge, raw.shape)
    assert_array_equal(prepared.y[raw == 0], edges[raw == 0])
    assert_array_equal(prepared.y[raw == 1], 1 - edges[raw == 1])
    inside = prepared.state == 0
    assert_array_equal(prepared.y[inside], raw[inside])


@QUICK
@given(sound_tables())
def test_error_policy_accepts_exactly_the_tables_without_boundary_scores(table):
    panel = make(BenchmarkPanel, table, {"benchmarks": ["mmlu", "bbh"], "boundary": "error"})
    assert (panel is None) == table[["mmlu", "bbh"]].isin([0.0, 1.0]).any(axis=None)


@QUICK
@given(st.data(), sound_tables(), st.sampled_from(["squeeze", "censor"]))
def test_order_of_rows_is_irrelevant(data, table, boundary):
    order = np.array(data.draw(st.permutations(range(len(table)))))
    keep = np.array(data.draw(masks(table)), dtype=bool)
    panel = BenchmarkPanel(table, ["mmlu", "bbh"], boundary=boundary)
    shuffled = BenchmarkPanel(table.iloc[order], ["mmlu", "bbh"], boundary=boundary)
    assert_array_equal(shuffled.rounding, panel.rounding)
    prepared, moved = panel.prepare(keep), shuffled.prepare(keep[order])
    back = order[keep[order]]
    place = np.cumsum(keep) - 1
    assert_array_equal(moved.y, prepared.y[place[back]])
    assert_array_equal(moved.state, prepared.state[place[back]])
    assert moved.boundary_counts == prepared.boundary_counts


@pytest.mark.slow
@QUICK
@given(st.data(), sound_tables())
def test_long_wide_and_polars_agree(data, table):
    panel = BenchmarkPanel(table, ["mmlu", "bbh"])
    order = data.draw(st.permutations(range(2 * len(table))))
    from_long = BenchmarkPanel.from_long(melted(table).iloc[order], benchmarks=["mmlu", "bbh"])
    by_name = panel.llms
    pd.testing.assert_frame_equal(from_long.scores.loc[by_name], panel.scores)
    pd.testing.assert_frame_equal(from_long.table.loc[by_name], panel.table)
    from_polars = BenchmarkPanel(pl.from_dict(table.to_dict("list")), ["mmlu", "bbh"])
    pd.testing.assert_frame_equal(from_polars.scores, panel.scores)
    pd.testing.assert_series_equal(from_polars.families, panel.families)
