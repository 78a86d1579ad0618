"""The scaling of skills, theta_i = alpha_l + B' x_i, where x_i are the terms of a formula in the LLM's columns."""


from __future__ import annotations

import ast
import itertools
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from formulaic import Formula, SimpleFormula
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.parser import DefaultFormulaParser

from ..covariates import family_means
from ..errors import DataError, IdentificationError
from ..numerics.linalg import null_space

# Formulas are written by users and read back from files, so only arithmetic and these functions may run. exp10 is not
# among them, as formulaic 1.2 defines it as the tenth power.
LOGARITHMS = ("log", "log2", "log10")
ELEMENTWISE = frozenset({*LOGARITHMS, "exp", "exp2", "I"})
FUNCTIONS = ELEMENTWISE | {"bs", "cr", "cs", "cc", "poly", "center", "scale", "standardize", "C"}
MAX_POWER = 4  # the highest power of a sum of terms, whose expansion grows exponentially
MAX_ARGUMENT = 100  # the largest degree, or number of degrees of freedom
# errors that formulaic, and numpy and scipy called by it, raise for arguments that make no sense
_FAILURES: tuple[type[Exception], ...] = (
    FormulaicError, DataMismatchWarning, ArithmeticError, AttributeError, LookupError, NameError, RuntimeError,
    SyntaxError, TypeError, ValueError,
)  # fmt: skip
_NODES = (ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.keyword)
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)


@dataclass(frozen=True)
class Design:
    """The design matrix of a formula on a table.

    Attributes
    ----------
    formula : str
    terms : tuple of str
        Names of the columns of x; there is no intercept, whose place b_j takes.
    x : array (n, p)
        Covariates of the rows that are kept.
    keep : bool array (N,)
        The wanted rows of the table in which no column of the formula is missing.
    spec : formulaic.ModelSpec
        Codes further tables in the same way.
    """

    formula: str
    terms: tuple[str, ...]
    x: np.ndarray
    keep: np.ndarray
    spec: Any

    @property
    def interactions(self) -> tuple[str, ...]:
        """The terms that are products of several factors, tuple of str."""
        products = [part.columns for part in self.spec.structure if len(part.term.factors) > 1]
        return tuple(term for term in self.terms if any(term in columns for columns in products))

    def columns_of(self, term: str) -> set[str]:
        """Return the names of the table's columns that a term is computed from."""
        (part,) = (part for part in self.spec.structure if term in part.columns)
        return {str(name) for name in self.spec.term_variables[part.term] & self.spec.required_variables}

    def logs_of(self, column: str) -> tuple[str, ...]:
        """Return the terms that are the logarithm, to any base, of one column alone."""
        written = {f"{log}({name})" for log in LOGARITHMS for name in (column, f"`{column}`")}
        return tuple(term for term in self.terms if term in written and self.columns_of(term) == {column})

    def code(self, table: pd.DataFrame) -> np.ndarray:
        """Return the covariates (n, p) of a further table, NaN in rows where a column is missing.

        Raises
        ------
        DataError
            If a column is absent, or a term is not finite though its columns are not missing.
        """
        if not self.terms:
            return np.zeros((len(table), 0))
        present = _complete_rows(self.spec.formula, table)
        out = np.full((len(table), len(self.terms)), np.nan)
        if present.any():
            frame = _materialise(self.spec, table[present], self.formula)
            out[present] = _without_intercept(frame, self.formula)
        return out


class _NoFormula:
    """Stands for the formula of a design without covariates, of which nothing is asked but what it needs."""

    required_variables: ClassVar[frozenset[str]] = frozenset()
    structure: ClassVar[tuple[Any, ...]] = ()

    @property
    def formula(self) -> _NoFormula:
        return self


def no_design(wanted: np.ndarray) -> Design:
    """Return the Design without covariates of the wanted rows (N,)."""
    return Design("", (), np.zeros((int(wanted.sum()), 0)), wanted.copy(), _NoFormula())


def build_design(formula: str, table: pd.DataFrame, wanted: np.ndarray) -> Design:
    """Return the Design of a formula over the columns of a panel's table.

    Parameters
    ----------
    formula : str
        The right-hand side, such as ``"log(params_b) * log(tokens_t)"``: formulaic's syntax with arithmetic and the
        functions in ``FUNCTIONS``; names that are not identifiers stand between backticks.
    table : DataFrame
        One row per LLM.
    wanted : bool array (N,)
        The rows of LLMs with a score; those among them in which a column is missing are left out.

    Raises
    ------
    DataError
        If the formula cannot be read, names an absent column, or gives values that are not finite.
    IdentificationError
        If a term is constant, or the terms are collinear.
    """
    parsed = parse_formula(formula)
    keep = wanted & _complete_rows(parsed, table)
    if not keep.any():
        raise DataError(f"No LLM has all covariates of {formula!r}: {_missing_counts(parsed, table)}.")
    frame = _materialise(parsed, table[keep], formula)
    x = _without_intercept(frame, formula)
    terms = tuple(name for name in frame.columns if name != "Intercept")
    _check_rank(x, terms)
    return Design(formula, terms, x, keep, frame.model_spec)


def parse_formula(formula: str) -> SimpleFormula:
    """Return the formulaic Formula; refuse it if it does anything but arithmetic on columns."""
    if not isinstance(formula, str):
        raise DataError(
            f"A scaling formula is a string such as 'log(params_b) * log(tokens_t)', not {formula!r}."
        )
    if "~" in formula:
        raise DataError(f"Give the right-hand side only: {formula!r} has a '~'.")
    try:
        _check_powers(formula)
        parsed = Formula(formula)
    except (FormulaicError, SyntaxError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"Cannot read the scaling formula {formula!r}: {_plain(error)}") from error
    if not isinstance(parsed, SimpleFormula):
        raise DataError(f"A scaling formula has one part: {formula!r} has a '|'.")
    factors = [factor for term in parsed for factor in term.factors]
    if not any(factor.eval_method.value != "literal" for factor in factors):
        raise DataError(f"The scaling formula {formula!r} has no covariate.")
    for factor in factors:
        if factor.eval_method.value == "python":
            _check_expression(factor.expr, formula)
    return parsed


def _check_powers(formula: str) -> None:
    """Refuse powers of sums whose expansion would take formulaic hours."""
    tokens = list(DefaultFormulaParser().get_tokens(formula))
    for before, after in itertools.pairwise(tokens):
        if before.token in ("**", "^") and not (after.token.isdigit() and int(after.token) <= MAX_POWER):
            raise DataError(
                f"In the scaling formula {formula!r}, {before.token} expands interactions and takes a whole number "
                f"up to {MAX_POWER}; a power of a column is I(column ** 2)."
            )


def _plain(error: Exception) -> str:
    """Return the first line of an error without terminal colours."""
    lines = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _check_expression(expression: str, formula: str) -> None:
    """Refuse an expression that is more than arithmetic on columns and calls of the allowed functions."""
    # formulaic and the pattern below agree on what stands between backticks only if no string contains one
    if "`" in expression and ("'" in expression or '"' in expression):
        raise DataError(
            f"{expression!r} in the scaling formula {formula!r} has both backticks and quotes; rename the column."
        )
    code = re.sub(r"`[^`]*`", "column", expression)
    try:
        tree = ast.parse(code, mode="eval")
    except SyntaxError as error:
        raise DataError(f"Cannot read {expression!r} in the scaling formula {formula!r}.") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _check_call(node, formula)
        elif not (isinstance(node, _NODES + _OPERATORS) and _is_cheap(node)):
            raise DataError(
                f"{expression!r} in the scaling formula {formula!r} is more than arithmetic on columns; "
                "compute such covariates as columns first."
            )


def _check_call(node: ast.Call, formula: str) -> None:
    """Refuse calls of other functions, and arguments that could write to memory or fill it."""
    if not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
        raise DataError(
            f"{ast.unparse(node.func)!r} may not be called in a scaling formula ({formula!r}); "
            f"these may: {', '.join(sorted(FUNCTIONS))}. Compute other covariates as columns first."
        )
    # formulaic passes its state to transforms in arguments with an underscore; numpy's second argument is an output
    bad: list[ast.AST] = [word for word in node.keywords if word.arg is None or word.arg.startswith("_")]
    values: list[ast.expr] = [*node.args, *(word.value for word in node.keywords)]
    if node.func.id in ELEMENTWISE:
        bad += [*values[1:], *node.keywords]
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, int) and value.value > MAX_ARGUMENT:
            bad.append(value)
    if bad:
        raise DataError(
            f"{ast.unparse(node)!r} in the scaling formula {formula!r} has an argument that is not allowed "
            f"(one column for {', '.join(sorted(ELEMENTWISE))}; elsewhere whole numbers up to {MAX_ARGUMENT})."
        )


def _is_cheap(node: ast.AST) -> bool:
    """Return whether a constant is a number or a plain word, and an operation involves a column and no word.

    Arithmetic on constants alone can fill the memory (9**9**9, 'a' * 9999999999), and formulaic inserts words into
    code that it evaluates.
    """
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) or bool(re.fullmatch(r"\w*", str(node.value)))
    if isinstance(node, ast.BinOp):
        sides = (node.left, node.right)
        if any(isinstance(side, ast.Constant) and not isinstance(side.value, int | float) for side in sides):
            return False
        return not isinstance(node.op, ast.Pow) or any(isinstance(inner, ast.Name) for inner in ast.walk(node))
    return True


def _columns(parsed: SimpleFormula, table: pd.DataFrame) -> list[str]:
    """Return the columns of the table that a formula needs; refuse absent ones."""
    names = sorted(str(name) for name in parsed.required_variables)
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise DataError(
            f"The scaling formula needs the columns {absent}, which the table does not have; "
            f"it has {list(table.columns)}."
        )
    return names


def _complete_rows(parsed: SimpleFormula, table: pd.DataFrame) -> np.ndarray:
    """Return which rows of the table have all columns that a formula needs, bool array (N,)."""
    names = _columns(parsed, table)
    return table[names].notna().all(axis=1).to_numpy()


def _missing_counts(parsed: SimpleFormula, table: pd.DataFrame) -> str:
    """Return in words how often each column that a formula needs is missing."""
    names = _columns(parsed, table)
    return ", ".join(f"{name} is missing in {int(table[name].isna().sum())}" for name in names)


def _materialise(recipe: Any, rows: pd.DataFrame, formula: str) -> pd.DataFrame:
    """Return the model matrix of complete rows; refuse one that is not numeric and finite."""
    try:
        # values that are not finite are reported just below
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", DataMismatchWarning)  # without it an unseen category is coded as the first
            frame = recipe.get_model_matrix(rows, na_action="ignore", output="pandas")
    except _FAILURES as error:
        raise DataError(f"Cannot compute the scaling formula {formula!r}: {_plain(error)}") from error
    try:
        values = frame.to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"A term of {formula!r} is not numeric; write C(column) for categories.") from error
    bad = ~np.isfinite(values)
    if bad.any():
        term = frame.columns[bad.any(axis=0)][0]
        names = list(rows.index[bad.any(axis=1)][:5])
        raise DataError(
            f"The term {term!r} is not finite for {int(bad.any(axis=1).sum())} LLMs ({names}): "
            "is the log of zero or of a negative number taken? Mend or drop those rows."
        )
    return frame


def _without_intercept(frame: pd.DataFrame, formula: str) -> np.ndarray:
    """Return the model matrix without its intercept column, an array (n, p)."""
    keep = [name for name in frame.columns if name != "Intercept"]
    if not keep:
        raise DataError(f"The scaling formula {formula!r} has no covariate.")
    return frame[keep].to_numpy(dtype=float)


def _check_rank(x: np.ndarray, terms: Sequence[str]) -> None:
    """Refuse constant and collinear terms: their slopes cannot be told from the intercepts b_j or from each other."""
    spread, top = x.std(axis=0), np.abs(x).max(axis=0)
    constant = [term for term, flat in zip(terms, spread <= 1e-10 * top, strict=True) if flat]
    if constant:
        raise IdentificationError(
            f"The term {constant[0]!r} is the same for all {len(x)} LLMs with data, so its slope cannot be "
            "told from the intercepts; drop it from the formula."
        )
    if len(x) <= len(terms):
        raise IdentificationError(f"{len(terms)} terms but only {len(x)} LLMs with all covariates.")
    flat = null_space((x - x.mean(axis=0)) / spread, 1e-9)
    if flat.shape[1]:
        weights = np.abs(flat).max(axis=1)
        involved = [term for term, weight in zip(terms, weights, strict=True) if weight > 1e-6]
        raise IdentificationError(
            f"The terms {involved} are collinear over the {len(x)} LLMs with data, so their slopes cannot be "
            "told apart; drop one of them from the formula."
        )


def within_family_constants(x: np.ndarray, terms: Sequence[str], family: np.ndarray) -> list[str]:
    """Return the terms that are constant within every family: only differences between families inform them."""
    if not len(terms):
        return []
    _, family = np.unique(family, return_inverse=True)
    spread = np.abs(x - family_means(x, family)).max(axis=0)
    scale = np.maximum(1.0, np.abs(x).max(axis=0))
    return [term for term, flat in zip(terms, spread <= 1e-10 * scale, strict=True) if flat]
