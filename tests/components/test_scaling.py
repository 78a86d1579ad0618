"""Scaling formulas: what they give, what they refuse, and what they never run."""

import numpy as np
import pandas as pd
import pytest
from formulaic.transforms import TRANSFORMS
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.components.scaling import FUNCTIONS, build_design, parse_formula, within_family_constants
from latentscale.errors import DataError, IdentificationError

TRANSLOG = "log(size) * log(tokens)"


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    columns = {
        "size": np.exp(rng.normal(2.0, 1.0, 24)),
        "tokens": np.exp(rng.normal(0.0, 1.0, 24)),
        "kind": ["base", "chat", "code", "chat"] * 6,
        "context length": rng.uniform(1.0, 100.0, 24),
        "moe": [True, False, False] * 8,
        "day": pd.date_range("2024-01-01", periods=24),
    }
    return pd.DataFrame(columns, index=[f"llm {number}" for number in range(24)])


def design(formula, table):
    return build_design(formula, table, np.ones(len(table), dtype=bool))


def refused(formula, table, *fragments, error=DataError):
    with pytest.raises(error) as caught:
        design(formula, table)
    for fragment in fragments:
        assert fragment in str(caught.value)


class TestTerms:
    def test_translog(self, table):
        made = design(TRANSLOG, table)
        assert made.terms == ("log(size)", "log(tokens)", "log(size):log(tokens)")
        s, t = np.log(table["size"]), np.log(table["tokens"])
        assert_allclose(made.x, np.column_stack([s, t, s * t]), rtol=1e-14)
        assert made.keep.all()

    @pytest.mark.parametrize("formula", ["0 + log(size)", "log(size) - 1", "log(size)", "1 + log(size)"])
    def test_an_intercept_is_neither_wanted_nor_missed(self, table, formula):
        made = design(formula, table)
        assert made.terms == ("log(size)",)
        assert_allclose(made.x[:, 0], np.log(table["size"]), rtol=1e-14)

    def test_arithmetic_and_odd_names(self, table):
        made = design("I(size / tokens ** 2) + log(`context length`) + {size - 2 * tokens} + moe", table)
        assert len(made.terms) == 4
        assert_allclose(made.x[:, 0], table["size"] / table["tokens"] ** 2, rtol=1e-14)
        assert_allclose(made.x[:, 1], np.log(table["context length"]), rtol=1e-14)
        assert_allclose(made.x[:, 2], table["size"] - 2 * table["tokens"], rtol=1e-14)
        assert_array_equal(made.x[:, 3], table["moe"].astype(float))

    @pytest.mark.parametrize("name", sorted({"log", "log2", "log10", "exp", "exp2"}))
    def test_functions_are_what_their_names_say(self, table, name):
        made = design(f"{name}(tokens)", table)
        assert_allclose(made.x[:, 0], getattr(np, name)(table["tokens"]), rtol=1e-14)

    def test_every_allowed_function_exists(self):
        assert set(TRANSFORMS) >= FUNCTIONS

    def test_rows_without_covariates_are_left_out(self, table):
        table.loc["llm 3", "size"] = np.nan
        table.loc["llm 5", "context length"] = np.nan  # not in the formula
        wanted = np.arange(24) != 7
        made = build_design(TRANSLOG, table, wanted)
        assert list(table.index[~made.keep]) == ["llm 3", "llm 7"]
        assert made.x.shape == (22, 3)
        assert_allclose(made.x[3, 0], np.log(table.loc["llm 4", "size"]), rtol=1e-14)

    def test_a_row_that_does_not_count_is_not_computed(self, table):
        table.loc["llm 7", "size"] = 0.0  # its log would be refused
        assert build_design(TRANSLOG, table, np.arange(24) != 7).x.shape == (23, 3)


class TestRefusals:
    def test_no_rows(self, table):
        table["size"] = np.nan
        refused(TRANSLOG, table, "size is missing in 24")

    def test_unknown_column(self, table):
        refused("log(params) + log(size)", table, "['params']", "context length")

    def test_log_of_zero_names_the_llms(self, table):
        table.loc[["llm 2", "llm 9"], "tokens"] = [0.0, -1.0]
        refused(TRANSLOG, table, "log(tokens)", "2 LLMs", "'llm 2', 'llm 9'")

    def test_overflow(self, table):
        refused("exp(exp(size))", table, "not finite")

    def test_constant(self, table):
        table["size"] = 7.0
        refused(TRANSLOG, table, "log(size)", "same for all 24", error=IdentificationError)

    def test_collinear_terms_are_named(self, table):
        table["flops"] = 6.0 * table["size"] * table["tokens"]
        refused(
            "log(size) + log(tokens) + log(flops) + `context length`",
            table,
            "'log(size)', 'log(tokens)', 'log(flops)'",
            error=IdentificationError,
        )

    def test_collinear_only_up_to_units(self, table):
        """A covariate in other units is as good as it was."""
        table["size"] *= 1e9
        assert design("size + log(size) + tokens", table).x.shape == (24, 3)

    def test_more_terms_than_llms(self, table):
        formula = "size + tokens + `context length`"
        refused(formula, table.iloc[:3], "3 terms but only 3 LLMs", error=IdentificationError)

    @pytest.mark.parametrize("formula", ["", "1", "0", "-1", "C(C)", "I(None)"])
    def test_no_covariate(self, table, formula):
        refused(formula, table, "no covariate")

    @pytest.mark.parametrize("formula", [None, 3, ["size"]])
    def test_not_a_string(self, table, formula):
        refused(formula, table, "string such as")

    def test_two_sides_and_two_parts(self, table):
        refused("size ~ tokens", table, "right-hand side")
        refused("size | tokens", table, "one part")

    @pytest.mark.parametrize("formula", ["size +", "log(size", "size tokens", "`size", "size + 'a'", "size; tokens"])
    def test_syntax(self, table, formula):
        refused(formula, table, "Cannot")

    @pytest.mark.parametrize("formula", ["day", "I('abc')", "np", "contr", "poly"])
    def test_what_is_no_number(self, table, formula):
        refused(formula, table, formula)

    @pytest.mark.parametrize("formula", ["C(size, 'x')", "log(size, tokens)", "bs(size)(2)", "poly(size, -3)"])
    def test_senseless_arguments(self, table, formula):
        refused(formula, table, formula[:5])


ATTACKS = [
    "__import__('os').system(COMMAND)",
    "log(__import__('os').system(COMMAND))",
    "{__import__('os').system(COMMAND)}",
    "I(open(FILE, 'w'))",
    "I((lambda: open(FILE, 'w'))())",
    "I([open(FILE, 'w') for _ in size])",
    "I({open(FILE, 'w') for _ in size})",
    "I(f'{open(FILE, chr(119))}')",
    "I(size if open(FILE, 'w') else size)",
    "I(size and open(FILE, 'w'))",
    "I((handle := open(FILE, 'w')))",
    "log.__class__.__base__.__subclasses__()",
    "size.__class__",
    "I(size.to_csv(FILE))",
    "size.to_csv(FILE)",
    "np.savetxt(FILE, size)",
    "I(np.savetxt(FILE, size))",
    "log(*[open(FILE, 'w')])",
    "log(**{'x': open(FILE, 'w')})",
    "I(size[open(FILE, 'w')])",
    "__builtins__['open'](FILE, 'w')",
    "I(`size` + open(FILE, 'w'))",
    # a quoted backtick opens no name for formulaic: what follows is code
    "I('`' + open(FILE, 'w').name + '`')",
    'I("`" + open(FILE, "w").name + "`")',
    "I('`' + str(__import__('os').system(COMMAND)) + '`')",
    "I(`it's` + open(FILE, 'w') + `o'clock`)",
    # formulaic pastes the text of a transform's call into code
    "scale(size, '\"] + [open(FILE, \"w\")] + [\"')",
    "C(kind, 'a\\x22 + str(open(FILE, chr(119))) + \\x22')",
    # its private channels
    "poly(size, 2, _state=open(FILE, 'w'))",
    "scale(size, _state=tokens, _context=open(FILE, 'w'))",
    "eval('open')(FILE, 'w')",
    "I(exec)(FILE)",
    "`__import__('os').system(COMMAND)`",
    "lag(size)",
    "hashed(kind)",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_but_arithmetic_runs(table, tmp_path, attack):
    """Even with columns named after the pieces of code, so that formulaic would find its names."""
    file = tmp_path / "touched"
    formula = attack.replace("FILE", repr(str(file))).replace("COMMAND", repr(f"touch {file}"))
    for name in ("open", "str", "__import__('os')", "__import__", "size.to_csv", "it's", "o'clock"):
        table[name] = np.arange(24.0)
    refused(formula, table, "formula")
    assert not file.exists()


@pytest.mark.parametrize(
    "formula",
    [
        "I(9**9**9)",
        "I(size * (9**9**9))",
        "I(size ** 9**9**9)",
        "I('a' * 9999999999)",
        "(size + tokens)**50",
        "(size + tokens)^60",
        "bs(size, df=100000000)",
        "poly(size, 1000000000)",
    ],
)
def test_nothing_that_would_take_for_ever_runs(table, formula):
    refused(formula, table, "formula")


def test_a_table_cannot_be_changed_through_a_formula(table):
    before = table.copy()
    refused("log(size, out=size)", table, "not allowed")
    refused("log(size, where=moe)", table, "not allowed")
    design(TRANSLOG, table)
    pd.testing.assert_frame_equal(table, before)


def test_parse_formula_does_not_need_a_table():
    assert sorted(str(name) for name in parse_formula(TRANSLOG).required_variables) == ["size", "tokens"]


class TestNewTables:
    def test_the_same_rows_are_coded_the_same(self, table):
        formulas = [TRANSLOG, "poly(size, 2)", "scale(size) + center(tokens)", "bs(size, df=5)", "C(kind) + moe"]
        formulas += ["cr(size, df=3, constraints='center')"]
        for formula in formulas:
            made = design(formula, table)
            # a few rows of their own: transforms keep the state of the table they were made on
            assert_allclose(made.code(table.iloc[4:7]), made.x[4:7], rtol=1e-12, atol=1e-14)

    def test_missing_covariates_give_missing_rows(self, table):
        made = design(TRANSLOG, table)
        new = table.iloc[:3].copy()
        new.loc["llm 1", "tokens"] = np.nan
        coded = made.code(new)
        assert np.isnan(coded[1]).all()
        assert_allclose(coded[[0, 2]], made.x[[0, 2]], rtol=1e-14)
        new["tokens"] = np.nan
        assert np.isnan(made.code(new)).all()

    def test_an_absent_column(self, table):
        made = design(TRANSLOG, table)
        with pytest.raises(DataError, match="tokens"):
            made.code(table[["size"]])

    def test_log_of_zero(self, table):
        made = design(TRANSLOG, table)
        with pytest.raises(DataError, match="llm 0"):
            made.code(table.iloc[:1].assign(size=0.0))

    def test_extrapolation_of_a_spline_is_refused(self, table):
        made = design("bs(size, df=5)", table)
        with pytest.raises(DataError, match="bs"):
            made.code(table.iloc[:2].assign(size=1e6))

    @pytest.mark.parametrize("formula", ["C(kind) + size", "kind + size", "kind:size"])
    def test_an_unseen_category(self, table, formula):
        made = design(formula, table)
        with pytest.raises(DataError, match="kind"):
            made.code(table.iloc[:2].assign(kind=["base", "vision"]))

    def test_a_text_in_place_of_a_number(self, table):
        made = design(TRANSLOG, table)
        with pytest.raises(DataError, match="scaling formula"):
            made.code(table.iloc[:2].assign(size=["7B", "13B"]))


def test_within_family_constants(table):
    family = np.repeat(["a", "b", "c"], 8)
    table["tokens"] = np.repeat([1.0, 2.0, 5.0], 8)
    made = design(TRANSLOG, table)
    assert within_family_constants(made.x, made.terms, family) == ["log(tokens)"]
    assert within_family_constants(made.x, made.terms, np.arange(24)) == list(made.terms)
