"""Wald tests of linear hypotheses: strings read by patsy, statistics and tables by statsmodels."""

from types import SimpleNamespace

import numpy as np
from patsy import DesignInfo, PatsyError
from statsmodels.base.model import LikelihoodModelResults

from ..errors import DataError


def linear_constraint(hypothesis, names):
    """R and q of the hypothesis R xi = q, and a label per row.

    Parameters
    ----------
    hypothesis : str, list of str, or array (q, P)
        ``"a = b = 0"`` is two restrictions.
    names : list of str
        Parameter names.

    Raises
    ------
    DataError
        If it cannot be read, or names an unknown parameter.
    """
    if isinstance(hypothesis, str) or (
        isinstance(hypothesis, (list, tuple)) and all(isinstance(part, str) for part in hypothesis)
    ):
        try:
            read = DesignInfo(list(names)).linear_constraint(hypothesis)
        except PatsyError as error:
            raise DataError(
                f"Cannot read the hypothesis {hypothesis!r}: {str(error).splitlines()[0]}. Parameters are named as in "
                "fit.params, for instance 'slope[log(params_b),math] = 0'."
            ) from error
        r, q = np.asarray(read.coefs), np.asarray(read.constants).ravel()
    else:
        r = np.atleast_2d(np.asarray(hypothesis, dtype=float))
        q = np.zeros(len(r))
        if r.shape[1] != len(names):
            raise DataError(
                f"A restriction matrix needs {len(names)} columns, one per parameter; got {r.shape[1]}."
            )
    return r, q, [_label(row, value, names) for row, value in zip(r, q, strict=True)]


def _label(row, value, names):
    """A restriction in words, such as ``a - b = 0``."""
    parts = []
    for weight, name in zip(row, names, strict=True):
        if weight:
            size = "" if abs(weight) == 1 else f"{abs(weight):g} "
            sign = "-" if weight < 0 else ("+" if parts else "")
            parts.append(f"{sign} {size}{name}".strip())
    return f"{' '.join(parts)} = {value:g}"


def _results(params, cov):
    """A statsmodels results object that knows parameters, covariance and names, and nothing else."""
    model = SimpleNamespace(data=SimpleNamespace(cov_names=list(params.index)), exog_names=list(params.index))
    results = LikelihoodModelResults(
        model, params.to_numpy(), normalized_cov_params=cov.to_numpy(), scale=1.0
    )
    results.df_resid = np.inf  # statsmodels reads it even for normal and chi-square tests
    return results


def _require(cov, r):
    used = np.flatnonzero(np.any(r != 0, axis=0))
    if not np.isfinite(cov.to_numpy()[np.ix_(used, used)]).all():
        raise DataError("This fit has no standard errors (see fit.summary()), so there is no Wald test.")


def t_test(hypothesis, params, cov):
    """One z test per restriction: statsmodels ContrastResults."""
    r, q, labels = linear_constraint(hypothesis, list(params.index))
    _require(cov, r)
    test = _results(params, cov).t_test((r, q), use_t=False)
    test.c_names = labels
    return test


def wald_test(hypothesis, params, cov):
    """Joint chi-square test: statsmodels ContrastResults."""
    r, q, _ = linear_constraint(hypothesis, list(params.index))
    _require(cov, r)
    return _results(params, cov).wald_test((r, q), use_f=False, scalar=True)
