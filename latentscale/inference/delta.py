"""The delta method for any function of the parameters that autograd can differentiate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import autograd.numpy as anp
import numpy as np
import numpy.typing as npt
import pandas as pd
from autograd import jacobian as reverse_jacobian
from autograd.tracer import getval
from scipy import stats
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params

from ..checks import near_names
from ..errors import DataError
from ..parameters.kinds import FUNCTION
from ..parameters.named import Parameter, Parameters
from ..parameters.table import ParameterTable
from .named_estimates import NamedEstimates

# Steps, in standard errors of the parameters, of the differences that check a gradient. Smaller ones are tried only
# where a function is too curved, or not defined, within the first.
_STEPS = (1e-3, 1e-5, 1e-7)
_GROSS = 0.01  # relative difference above which a gradient counts as wrong, far more than curvature explains
_ROUNDING = 1e-14  # relative error of a value of the function
_NO_VARIANCE = 1e-14  # a variance below this, relative to the terms of its sum, counts as zero
_SMALLEST_EIGENVALUE = 1e-10  # of a correlation matrix that counts as having full rank


class ParameterView:
    """What a function of the parameters is given: parameters by name, and all of them as matrices.

    ``p["slope[log(params_b),math]"]`` is any parameter, free or fixed. The attributes are the blocks of
    ``Structure``, in the user's units: ``loadings`` (J, K), ``intercepts`` (J,), ``slopes`` (p, K), ``skill_cov``
    (K, K), ``precision``, ``lower``, ``upper`` (J,), and any further block that the fit has.

    Parameters
    ----------
    table : ParameterTable
    natural : array (P,)
        Free parameters; an autograd array while derivatives are traced.

    Raises
    ------
    DataError
        If a name is unknown; the message lists similar names.
    AttributeError
        If there is no such block.
    """

    def __init__(self, table: ParameterTable, natural: Any) -> None:
        layout, free = table.layout, table.free
        # Entry 0 of the extended vector is the constant zero, for structural zeros of blocks; entry 1 + i is entry i
        # of s. A layout only moves entries, so laying out their numbers shows where each of them goes.
        placed = layout.unflatten(np.arange(1.0, layout.size + 1.0))
        spread = np.zeros((layout.size + 1, int(free.sum())))
        spread[1 + np.flatnonzero(free), np.arange(spread.shape[1])] = 1.0
        constant = np.concatenate([[0.0], np.where(free, 0.0, table.fixed)])
        self._values = constant + anp.dot(spread, natural)
        self._parameters = table.all_parameters
        blocks = {field.name: getattr(placed, field.name) for field in fields(placed)}
        blocks |= blocks.pop("scales")
        self._blocks = {name: np.asarray(values).astype(int) for name, values in blocks.items()}

    def __getitem__(self, name: str) -> Any:
        parameter = self._parameters.get(name)
        if parameter is None:
            near = near_names(name, self._parameters.names, 4, str)
            words = sorted({parameter.kind.word for parameter in self._parameters})
            advice = f"Near names: {near}." if near else f"Names begin with {', '.join(words)}; see fit.params."
            raise DataError(f"There is no parameter {name!r}. {advice}")
        return self._values[1 + parameter.position]

    def __getattr__(self, name: str) -> Any:
        blocks = self.__dict__.get("_blocks", {})
        if name not in blocks:
            raise AttributeError(
                f"Parameters have no block {name!r}; there are {', '.join(blocks)}, and p[name] for single ones."
            )
        return self._values[blocks[name]]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._blocks]


@dataclass(frozen=True)
class JointTest:
    """A joint Wald test.

    Attributes
    ----------
    statistic : float
    df : int
    pvalue : float
        Upper tail of the chi-square law with ``df`` degrees of freedom.
    """

    statistic: float
    df: int
    pvalue: float

    def __str__(self) -> str:
        return f"Wald test: chi2({self.df}) = {self.statistic:.4f}, p-value {self.pvalue:.4g}"


@dataclass(frozen=True, eq=False, repr=False)
class DeltaResult(NamedEstimates):
    """Functions of the parameters, with their covariance by the delta method.

    Attributes
    ----------
    labels : tuple of str
        Names of the q functions.
    names : tuple of str
        Names of the P free parameters.
    values : array (q,)
    gradient : array (q, P)
    covariance : array (q, q)
        G V G' for the gradient G and the covariance V of the parameters.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray
    gradient: np.ndarray
    covariance: np.ndarray

    def __str__(self) -> str:
        return _as_table(self.summary_frame()).as_text()

    __repr__ = __str__

    @property
    def parameters(self) -> Parameters:
        """The functions under their labels, as ``NamedEstimates`` reads them."""
        return Parameters(Parameter(label, FUNCTION, (label,), row) for row, label in enumerate(self.labels))

    @property
    def params(self) -> pd.Series:
        """Values of the functions at the estimates, Series (q,), under the name that all results have for estimates."""
        return self.estimate

    @property
    def estimate(self) -> pd.Series:
        """Values of the functions at the estimates, Series (q,)."""
        return pd.Series(np.array(self.values), index=list(self.labels), name="estimate")

    @property
    def bse(self) -> pd.Series:
        """Standard errors, Series (q,); 0 for functions that cannot vary (fixed parameters, constraints)."""
        return super().bse

    @property
    def _covariance_matrix(self) -> np.ndarray:
        return self.covariance

    @property
    def cov(self) -> pd.DataFrame:
        """Covariance of the functions, DataFrame (q, q)."""
        return pd.DataFrame(self.covariance.copy(), index=list(self.labels), columns=list(self.labels))

    @property
    def jacobian(self) -> pd.DataFrame:
        """Derivatives in the free parameters, DataFrame (q, P)."""
        return pd.DataFrame(self.gradient.copy(), index=list(self.labels), columns=list(self.names))

    @property
    def tvalues(self) -> pd.Series:
        """Wald z statistics against zero, Series (q,); NaN where the standard error is 0."""
        return super().tvalues.where(self.bse > 0.0)

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return symmetric normal intervals, DataFrame (q, 2) with columns ``lower`` and ``upper``.

        For a function with a bounded range, apply ``delta`` to a transform without bounds (a logarithm, a logit)
        and transform the ends of the interval back.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        """
        return super().conf_int(alpha)

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a table with a row per function: estimate, std_err, z, p_value, ci_lower, ci_upper."""
        return self.parameter_table(alpha).rename_axis(None)

    def wald_test(self, value: npt.ArrayLike | pd.Series | Mapping[str, float] = 0.0) -> JointTest:
        """Test jointly that all functions equal ``value``.

        Parameters
        ----------
        value : float, array (q,), Series or dict
            One value for all, one for each, or values by label.

        Returns
        -------
        JointTest
            W = (g - value)' C^-1 (g - value), chi-square with q degrees of freedom.

        Raises
        ------
        DataError
            If ``value`` does not fit, or the covariance of the functions does not have full rank.
        """
        distance = self.values - self._read_value(value)
        sd = self.bse.to_numpy()
        fixed = [label for label, size in zip(self.labels, sd, strict=True) if not size > 0]
        if fixed:
            raise DataError(
                f"{fixed} have no sampling variance (they depend on no free parameter, or the fit's constraints fix "
                "them): leave them out."
            )
        scaled = self.covariance / np.outer(sd, sd)
        eigenvalues, vectors = np.linalg.eigh(scaled)
        rank = int(np.sum(eigenvalues > _SMALLEST_EIGENVALUE))
        if rank < len(sd):
            heavy = np.abs(vectors[:, 0]) > 0.1
            tied = [label for label, used in zip(self.labels, heavy, strict=True) if used]
            raise DataError(
                f"The covariance of the {len(sd)} functions has rank {rank}, so that they cannot be tested jointly: "
                f"some of {tied} repeat what the others say. Leave out {len(sd) - rank} of them."
            )
        z = vectors.T @ (distance / sd)
        statistic = float(np.sum(z * z / eigenvalues))
        return JointTest(statistic, len(sd), float(stats.chi2.sf(statistic, len(sd))))

    def _read_value(self, value: npt.ArrayLike | pd.Series | Mapping[str, float]) -> np.ndarray:
        """Return the value of a hypothesis as an array of shape () or (q,)."""
        if isinstance(value, Mapping):
            value = pd.Series(value, dtype=float)
        if isinstance(value, pd.Series):
            if set(value.index) != set(self.labels) or value.index.has_duplicates:
                raise DataError(f"value must be given for {list(self.labels)}, not for {list(value.index)}.")
            value = value[list(self.labels)]
        array = np.asarray(value, dtype=float)
        if array.shape not in ((), self.values.shape) or not np.isfinite(array).all():
            raise DataError(f"value must be one finite number, or {len(self.values)} of them; got {value!r}.")
        return array


def delta(
    function: Callable[[Any], Any], fit_params: pd.Series, cov: pd.DataFrame, table: ParameterTable
) -> DeltaResult:
    """Return estimate, standard error and covariance of a function of the parameters.

    For g(xi) with gradient G at the estimate (by reverse-mode automatic differentiation, exact up to rounding) and
    covariance V of the estimates, g is asymptotically normal with covariance G V G'.

    Parameters
    ----------
    function : callable
        Takes a ``ParameterView`` p and returns a number, a 1-d array, a list or tuple of numbers, or a dict from
        labels to numbers. It must compute with ``autograd.numpy`` (and ``autograd.scipy``) instead of numpy, scipy
        or math.
    fit_params : Series (P,)
        Free parameters by name, natural scale.
    cov : DataFrame (P, P)
        Their covariance.
    table : ParameterTable

    Returns
    -------
    DeltaResult

    Raises
    ------
    DataError
        If the function names an unknown parameter, cannot be differentiated by autograd, or returns something else
        than the above or a value that is not finite; if its gradient is grossly different from finite differences; or
        if parameters that it uses have no standard errors. Other errors of the function at plain numbers are
        passed on as they are.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> fit = ls.LatentSkillModel(panel, skills=1).fit(integration="laplace", starts=1)
    >>> size, tokens = "slope[log(params_b),skill1]", "slope[log(tokens_t),skill1]"
    >>> ratio = delta(lambda p: p[size] / p[tokens], fit.params, fit.cov_params(), fit.model.table)
    >>> round(float(ratio.estimate.iloc[0]), 2), round(float(ratio.bse.iloc[0]), 2)
    (1.07, 0.14)
    """
    names = list(table.names)
    x = fit_params.loc[names].to_numpy(dtype=float)
    matrix = cov.loc[names, names].to_numpy(dtype=float)
    title = _title(function)

    def evaluate(natural: Any) -> tuple[tuple[str, ...], Any]:
        """Return labels and values of the function at plain numbers, without numerical warnings.

        Values that are not finite are refused, or skipped in differences.
        """
        with np.errstate(all="ignore"):
            return _read(function(ParameterView(table, natural)), title)

    labels, values = evaluate(x)
    bad = [label for label, value in zip(labels, values, strict=True) if not np.isfinite(value)]
    if bad:
        raise DataError(f"The function is not finite at the estimates: {bad[:5]} (see fit.params).")
    gradient = _gradient(function, table, x, title)
    bad = [label for label, row in zip(labels, gradient, strict=True) if not np.isfinite(row).all()]
    if bad:
        raise DataError(
            f"The derivative of {bad[:5]} is not finite at the estimates, so that the delta method does not apply: "
            "the function has an edge there (such as a root or a norm at zero, or equal eigenvalues)."
        )
    step = np.sqrt(np.maximum(np.nan_to_num(np.diag(matrix)), 0.0))
    _check_gradient(lambda natural: evaluate(natural)[1], x, step, gradient, labels)
    used = np.flatnonzero(np.any(gradient != 0.0, axis=0))
    _require(matrix[np.ix_(used, used)])
    covariance = gradient[:, used] @ matrix[np.ix_(used, used)] @ gradient[:, used].T
    # the variance of what constraints of the fit hold fixed is zero only up to the rounding of its terms
    fixed = np.diag(covariance) <= _NO_VARIANCE * (np.abs(gradient) @ step) ** 2
    covariance[fixed], covariance[:, fixed] = 0.0, 0.0
    return DeltaResult(labels, tuple(names), values, gradient, 0.5 * (covariance + covariance.T))


def _require(cov: np.ndarray) -> None:
    """Refuse a covariance with entries that do not exist."""
    if not np.isfinite(cov).all():
        raise DataError("This fit has no standard errors (see fit.summary()), so there is no delta method.")


def _title(function: Callable[[Any], Any]) -> str:
    """Return the name of a function, by which values without labels are called."""
    name = getattr(function, "__name__", "value")
    return "value" if name == "<lambda>" else name


def _read(result: Any, title: str) -> tuple[tuple[str, ...], Any]:
    """Return labels and stacked values of what a function returned, whether plain numbers or autograd's."""
    if isinstance(result, Mapping):
        labels, entries = tuple(str(label) for label in result), list(result.values())
        if len(set(labels)) < len(labels):
            raise DataError(f"The function returns two values with the same label: {list(labels)}.")
    elif isinstance(result, list | tuple) or (isinstance(result, np.ndarray) and result.dtype == object):
        # numpy makes an array of objects of autograd's numbers, which lose their derivatives unless taken one by one
        entries = list(np.atleast_1d(result)) if isinstance(result, np.ndarray) else list(result)
        labels = None
    elif _is_numeric(result, 1):
        entries, labels = result, None
    else:
        entries, labels = [result], (title,)
    if len(entries) == 0:
        raise DataError("The function returns nothing to estimate: an empty collection.")
    if not (isinstance(entries, list) and all(_is_numeric(part, 0) for part in entries)) and not _is_numeric(
        entries, 1
    ):
        raise DataError(
            "The function must return a number, a 1-d array, a list of numbers or a dict of numbers by label; "
            f"it returned {_describe(result)}. Flatten a matrix with .ravel(), or pick entries into a dict."
        )
    stacked = anp.array(entries) if isinstance(entries, list) else entries
    if labels is None:
        labels = tuple(f"{title}[{number}]" for number in range(len(entries)))
    return labels, stacked * 1.0


def _is_numeric(value: Any, dimensions: int) -> bool:
    """Return whether a value, also one of autograd's, is real and has this number of dimensions."""
    plain = getval(value)
    if not isinstance(plain, int | float | np.number | np.ndarray) or isinstance(plain, bool):
        return False
    array = np.asarray(plain)
    return array.ndim == dimensions and array.dtype.kind in "iuf"


def _describe(result: Any) -> str:
    """Return in words what a function returned."""
    plain = getval(result)
    if isinstance(plain, np.ndarray):
        return f"an array of {plain.dtype} of shape {plain.shape}"
    if isinstance(plain, Mapping | list | tuple):
        entries = plain.values() if isinstance(plain, Mapping) else plain
        return f"a {type(plain).__name__} with {sorted({type(getval(part)).__name__ for part in entries})}"
    return f"a {type(plain).__name__}"


def _gradient(function: Callable[[Any], Any], table: ParameterTable, x: np.ndarray, title: str) -> np.ndarray:
    """Return the Jacobian (q, P) by reverse mode, of a function that has already been evaluated at plain numbers."""

    def traced(natural: Any) -> Any:
        _, stacked = _read(function(ParameterView(table, natural)), title)
        # this adds no entries, but keeps a function of fixed parameters in autograd's graph
        return anp.concatenate([stacked, natural[:0]])

    try:
        with np.errstate(all="ignore"):
            return reverse_jacobian(traced)(x)
    except (TypeError, ValueError, AttributeError, NotImplementedError, np.linalg.LinAlgError) as error:
        # the function works with plain numbers, so autograd's are what it cannot use
        raise DataError(
            f"autograd cannot differentiate the function ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Compute with autograd.numpy (import autograd.numpy as np) and autograd.scipy instead of numpy, scipy, "
            "math and float(); assign no entries of arrays; for eigenvalues use np.linalg.eigh(...)[0]."
        ) from error


def _check_gradient(
    evaluate: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    step: np.ndarray,
    gradient: np.ndarray,
    labels: Sequence[str],
) -> None:
    """Refuse a gradient that is grossly wrong along a random direction.

    autograd takes for constant whatever is hidden from it; differences of the function's values show such an error.
    """
    rng = np.random.default_rng(0)
    direction = step * rng.uniform(0.5, 1.5, len(x)) * rng.choice([-1.0, 1.0], len(x))
    slope, size = gradient @ direction, np.abs(gradient) @ np.abs(direction)
    tested, agreed = np.full((2, len(labels)), False)
    differences = np.array(slope)
    for width in _STEPS:
        try:
            above, below = evaluate(x + width * direction), evaluate(x - width * direction)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            continue  # outside the function's domain; a smaller step may be inside
        with np.errstate(all="ignore"):
            difference = (above - below) / (2.0 * width)
            rounding = _ROUNDING * (np.abs(above) + np.abs(below)) / width
            agreed |= np.abs(difference - slope) <= _GROSS * (size + np.abs(difference)) + rounding
        inside = np.isfinite(difference)
        tested |= inside
        differences[inside] = difference[inside]
        if agreed.all():
            return
    wrong = tested & ~agreed
    if wrong.any():
        worst = int(np.argmax(np.where(wrong, np.abs(differences - slope), -1.0)))
        raise DataError(
            f"The derivative of {labels[worst]!r} by autograd is wrong: along a random direction it gives "
            f"{slope[worst]:.4g}, finite differences of the function give {differences[worst]:.4g}. Part of it is "
            "hidden from autograd (a value cast to a plain number, numpy instead of autograd.numpy), or it has a kink "
            "at the estimates."
        )


def _as_table(frame: pd.DataFrame) -> SimpleTable:
    """Return the summary of functions as a statsmodels table."""
    header = ["estimate", "std err", "z", "P>|z|", "[0.025", "0.975]"]
    rows = [
        [f"{value:.4f}" for value in (row["estimate"], row["std_err"])]
        + [f"{row[name]:.3f}" if np.isfinite(row[name]) else "" for name in ("z", "p_value", "ci_lower", "ci_upper")]
        for _, row in frame.iterrows()
    ]
    return SimpleTable(rows, header, list(frame.index), title="Delta method", txt_fmt=fmt_params)
