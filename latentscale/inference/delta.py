"""Delta method for any function of the parameters that autograd can differentiate."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import autograd.numpy as anp
import numpy as np
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
from .named_estimates import NamedEstimates

# Steps, in standard errors of the parameters, of the differences that check a gradient: smaller ones are only
# tried where a function bends, or is not defined, within the first.
_STEPS = (1e-3, 1e-5, 1e-7)
_GROSS = 0.01  # relative difference from which a gradient counts as wrong, far above what bending explains
_ROUNDING = 1e-14
_STILL = 1e-14  # variance, relative to that of its terms added up, which counts as zero
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
        Free parameters, an autograd array while derivatives are traced.

    Raises
    ------
    DataError
        If a name is unknown; the message lists those that come near.
    AttributeError
        If there is no such block.
    """

    def __init__(self, table, natural):
        layout, free = table.layout, table.free
        # Entry 0 of the extended vector is the constant zero, where blocks have structural zeros; entry 1 + i
        # is entry i of s. A layout that only moves entries then shows by itself where each of them goes.
        placed = layout.unflatten(np.arange(1.0, layout.size + 1.0))
        spread = np.zeros((layout.size + 1, int(free.sum())))
        spread[1 + np.flatnonzero(free), np.arange(spread.shape[1])] = 1.0
        constant = np.concatenate([[0.0], np.where(free, 0.0, table.fixed)])
        self._values = constant + anp.dot(spread, natural)
        self._parameters = table.all_parameters
        blocks = {field.name: getattr(placed, field.name) for field in fields(placed)}
        blocks |= blocks.pop("scales")
        self._blocks = {name: np.asarray(values).astype(int) for name, values in blocks.items()}

    def __getitem__(self, name):
        parameter = self._parameters.get(name)
        if parameter is None:
            near = near_names(name, self._parameters.names, 4, str)
            words = sorted({parameter.kind.word for parameter in self._parameters})
            advice = f"Near names: {near}." if near else f"Names begin with {', '.join(words)}; see fit.params."
            raise DataError(f"There is no parameter {name!r}. {advice}")
        return self._values[1 + parameter.position]

    def __getattr__(self, name):
        blocks = self.__dict__.get("_blocks", {})
        if name not in blocks:
            raise AttributeError(
                f"Parameters have no block {name!r}; there are {', '.join(blocks)}, and p[name] for single ones."
            )
        return self._values[blocks[name]]

    def __dir__(self):
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

    def __str__(self):
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

    labels: tuple
    names: tuple
    values: np.ndarray
    gradient: np.ndarray
    covariance: np.ndarray

    def __str__(self):
        return _as_table(self.summary_frame()).as_text()

    __repr__ = __str__

    @property
    def parameters(self):
        """The functions under their labels, as ``NamedEstimates`` reads them."""
        return Parameters(Parameter(label, FUNCTION, (label,), row) for row, label in enumerate(self.labels))

    @property
    def params(self):
        """Values of the functions at the estimates, Series (q,), under the name that all results have for estimates."""
        return self.estimate

    @property
    def estimate(self):
        """Values of the functions at the estimates, Series (q,)."""
        return pd.Series(np.array(self.values), index=list(self.labels), name="estimate")

    @property
    def bse(self):
        """Standard errors, Series (q,); 0 where a function cannot vary (fixed parameters, constraints)."""
        return super().bse

    @property
    def _covariance_matrix(self):
        return self.covariance

    @property
    def cov(self):
        """Covariance of the functions, DataFrame (q, q)."""
        return pd.DataFrame(self.covariance.copy(), index=list(self.labels), columns=list(self.labels))

    @property
    def jacobian(self):
        """Derivatives in the free parameters, DataFrame (q, P)."""
        return pd.DataFrame(self.gradient.copy(), index=list(self.labels), columns=list(self.names))

    @property
    def tvalues(self):
        """Wald z statistics against zero, Series (q,); NaN where the standard error is 0."""
        return super().tvalues.where(self.bse > 0.0)

    def conf_int(self, alpha=0.05):
        """Symmetric normal intervals, DataFrame (q, 2) with columns ``lower`` and ``upper``.

        For a function with a bounded range, apply ``delta`` to a transform without bounds (a logarithm, a logit)
        and carry the interval back.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        """
        return super().conf_int(alpha)

    def summary_frame(self, alpha=0.05):
        """One row per function: estimate, std_err, z, p_value, ci_lower, ci_upper."""
        return self.parameter_table(alpha).rename_axis(None)

    def wald_test(self, value=0.0):
        """Joint test that all functions equal ``value``.

        Parameters
        ----------
        value : float, array (q,), Series or dict
            One value for all, one each, or by label.

        Returns
        -------
        JointTest
            W = (g - value)' C^-1 (g - value), chi-square with q degrees of freedom.

        Raises
        ------
        DataError
            If ``value`` does not fit, or the covariance of the functions has not full rank.
        """
        distance = self.values - self._read_value(value)
        sd = self.bse.to_numpy()
        still = [label for label, size in zip(self.labels, sd, strict=True) if not size > 0]
        if still:
            raise DataError(
                f"{still} have no sampling variance (they depend on no free parameter, or the fit's constraints fix "
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

    def _read_value(self, value):
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


def delta(function, fit_params, cov, table):
    """Estimate, standard error and covariance of a function of the parameters.

    For g(xi) with gradient G at the estimate (by reverse-mode automatic differentiation, exact to rounding) and
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
        If the function names an unknown parameter, cannot be differentiated by autograd, returns something else
        than the above or a value that is not finite, if its gradient disagrees grossly with finite differences, or
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

    def evaluate(natural):
        """The function at plain numbers, without warnings: what is not finite is refused or skipped below."""
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
    # what constraints of the fit hold still has a variance of zero only up to the rounding of its terms
    still = np.diag(covariance) <= _STILL * (np.abs(gradient) @ step) ** 2
    covariance[still], covariance[:, still] = 0.0, 0.0
    return DeltaResult(labels, tuple(names), values, gradient, 0.5 * (covariance + covariance.T))


def _require(cov):
    if not np.isfinite(cov).all():
        raise DataError("This fit has no standard errors (see fit.summary()), so there is no delta method.")


def _title(function):
    name = getattr(function, "__name__", "value")
    return "value" if name == "<lambda>" else name


def _read(result, title):
    """Labels and stacked values of what a function returned, of plain numbers or of autograd's."""
    if isinstance(result, Mapping):
        labels, parts = tuple(str(label) for label in result), list(result.values())
        if len(set(labels)) < len(labels):
            raise DataError(f"The function returns two values with the same label: {list(labels)}.")
    elif isinstance(result, list | tuple) or (isinstance(result, np.ndarray) and result.dtype == object):
        # numpy makes an array of objects of autograd's numbers, whose derivatives are lost unless taken one by one
        parts = list(np.atleast_1d(result)) if isinstance(result, np.ndarray) else list(result)
        labels = None
    elif _is_numeric(result, 1):
        parts, labels = result, None
    else:
        parts, labels = [result], (title,)
    if len(parts) == 0:
        raise DataError("The function returns nothing to estimate: an empty collection.")
    if not (isinstance(parts, list) and all(_is_numeric(part, 0) for part in parts)) and not _is_numeric(parts, 1):
        raise DataError(
            "The function must return a number, a 1-d array, a list of numbers or a dict of numbers by label; "
            f"it returned {_describe(result)}. Flatten a matrix with .ravel(), or pick entries into a dict."
        )
    stacked = anp.array(parts) if isinstance(parts, list) else parts
    if labels is None:
        labels = tuple(f"{title}[{number}]" for number in range(len(parts)))
    return labels, stacked * 1.0


def _is_numeric(value, dimensions):
    """Whether a value, or an autograd number's value, is real and has so many dimensions."""
    plain = getval(value)
    if not isinstance(plain, int | float | np.number | np.ndarray) or isinstance(plain, bool):
        return False
    array = np.asarray(plain)
    return array.ndim == dimensions and array.dtype.kind in "iuf"


def _describe(result):
    plain = getval(result)
    if isinstance(plain, np.ndarray):
        return f"an array of {plain.dtype} of shape {plain.shape}"
    if isinstance(plain, Mapping | list | tuple):
        parts = plain.values() if isinstance(plain, Mapping) else plain
        return f"a {type(plain).__name__} with {sorted({type(getval(part)).__name__ for part in parts})}"
    return f"a {type(plain).__name__}"


def _gradient(function, table, x, title):
    """Reverse-mode Jacobian (q, P) of a function that has already been evaluated at plain numbers."""

    def traced(natural):
        _, stacked = _read(function(ParameterView(table, natural)), title)
        # nothing is added, but a function of fixed parameters alone keeps a place in autograd's graph
        return anp.concatenate([stacked, natural[:0]])

    try:
        with np.errstate(all="ignore"):
            return reverse_jacobian(traced)(x)
    except (TypeError, ValueError, AttributeError, NotImplementedError, np.linalg.LinAlgError) as error:
        # the function works at plain numbers, so it is autograd's numbers that it cannot take
        raise DataError(
            f"autograd cannot differentiate the function ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Compute with autograd.numpy (import autograd.numpy as np) and autograd.scipy instead of numpy, scipy, "
            "math and float(); assign no entries of arrays; for eigenvalues use np.linalg.eigh(...)[0]."
        ) from error


def _check_gradient(evaluate, x, step, gradient, labels):
    """Refuse a gradient that is grossly wrong along one random direction.

    autograd believes that whatever it cannot see is constant; a difference of the function's values cannot be
    deceived.
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
            found = (above - below) / (2.0 * width)
            rounding = _ROUNDING * (np.abs(above) + np.abs(below)) / width
            agreed |= np.abs(found - slope) <= _GROSS * (size + np.abs(found)) + rounding
        inside = np.isfinite(found)
        tested |= inside
        differences[inside] = found[inside]
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


def _as_table(frame):
    header = ["estimate", "std err", "z", "P>|z|", "[0.025", "0.975]"]
    rows = [
        [f"{value:.4f}" for value in (row["estimate"], row["std_err"])]
        + [f"{row[name]:.3f}" if np.isfinite(row[name]) else "" for name in ("z", "p_value", "ci_lower", "ci_upper")]
        for _, row in frame.iterrows()
    ]
    return SimpleTable(rows, header, list(frame.index), title="Delta method", txt_fmt=fmt_params)
