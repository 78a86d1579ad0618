"""What a bootstrap returns: replicates of the estimates, and the inference that rests on them."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params

from ..checks import check_alpha, check_one_of
from ..errors import DataError
from ..likelihood.rules import Rule
from ..parameters.named import Parameters
from .covariance import Covariance
from .named_estimates import NamedEstimates

METHODS = ("percentile", "bca", "basic")
_STILL = 1e-9  # a parameter whose spread, relative to its size, is below this counts as held fixed


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapResults(NamedEstimates):
    """Replicates of the estimates of a fit, and the inference that rests on them.

    Attributes
    ----------
    kind : {"parametric", "family"}
    seed : int
    rule : Rule
        Integration rule of the replicates, and of the estimate they are compared with.
    parameters : Parameters (P,)
    point : array (P,)
        The estimate.
    values : array (R, P)
        Estimates of the replicates, NaN in rows of replicates that failed.
    loglikes : array (R,)
    converged : bool array (R,)
    messages : tuple of str
        Why a replicate failed; empty where it did not.
    influence : array (L, P)
        Influence of each family on the estimate, U_l = V s_l with V the inverse observed information and s_l the
        family's score: minus the change of the estimate if the family were left out, to first order.
    """

    kind: str
    seed: int
    rule: Rule
    parameters: Parameters
    point: np.ndarray
    values: np.ndarray
    loglikes: np.ndarray
    converged: np.ndarray
    messages: tuple[str, ...]
    influence: np.ndarray

    def __post_init__(self) -> None:
        for array in (self.point, self.values, self.loglikes, self.converged, self.influence):
            array.flags.writeable = False

    def __repr__(self) -> str:
        return f"<BootstrapResults: {self._description()}>"

    def __str__(self) -> str:
        header = ["estimate", "bias", "std err", "[0.025", "0.975]"]
        lower, upper = self._quantiles(self._good, np.full((2, len(self.names)), [[0.025], [0.975]]))
        columns = (self.point, self.bias, self.bse, lower, upper)
        rows = [[f"{value:.4f}" for value in row] for row in zip(*columns, strict=True)]
        table = SimpleTable(rows, header, list(self.names), title=f"Bootstrap: {self.kind}", txt_fmt=fmt_params)
        notes = [f"{self._description()}; percentile intervals.", f"Integration: {self.rule}; seed {self.seed}."]
        return "\n".join([table.as_text(), *notes])

    def _description(self) -> str:
        lost = f", {self.failed} of them failed" if self.failed else ""
        law = "parametric bootstrap" if self.kind == "parametric" else f"bootstrap of {len(self.influence)} families"
        return f"{law}, {len(self.values)} replicates{lost}"

    # --- replicates --------------------------------------------------------------------------------------------

    @property
    def replicates(self) -> pd.DataFrame:
        """Natural parameters of the replicates, DataFrame (R, P); NaN where a replicate failed."""
        index = pd.RangeIndex(len(self.values), name="replicate")
        return pd.DataFrame(self.values.copy(), index=index, columns=list(self.names))

    @property
    def record(self) -> pd.DataFrame:
        """One row per replicate: replicate, llf, converged, message (why it failed)."""
        numbers = np.arange(len(self.values))
        columns = {"replicate": numbers, "llf": self.loglikes.copy(), "converged": self.converged.copy()}
        return pd.DataFrame(columns | {"message": list(self.messages)})

    @property
    def failed(self) -> int:
        """Number of replicates without estimates."""
        return int(np.sum(~self.converged))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, tuple of str."""
        return self.parameters.names

    @property
    def estimate(self) -> pd.Series:
        """The estimate that the replicates are compared with, Series (P,)."""
        return self._series(self.point, "estimate")

    @property
    def params(self) -> pd.Series:
        """``estimate``, under the name that all results have for it."""
        return self.estimate

    @property
    def _good(self) -> np.ndarray:
        return self.values[self.converged]

    def _series(self, values: np.ndarray, name: str) -> pd.Series:
        return pd.Series(np.array(values), index=list(self.names), name=name)

    # --- inference ---------------------------------------------------------------------------------------------

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance of the replicates, DataFrame (P, P); NaN with fewer than two of them."""
        return super().cov_params()

    @cached_property
    def _covariance_matrix(self) -> np.ndarray:
        if len(self._good) < 2:
            return np.full((len(self.names),) * 2, np.nan)
        return np.cov(self._good, rowvar=False).reshape((len(self.names),) * 2)

    @property
    def bse(self) -> pd.Series:
        """Standard deviations of the replicates, Series (P,).

        Some samples of families hardly determine which of two skills is which, so that a few replicates have loadings
        many times larger than the others. Such tails dominate standard deviations, but not percentiles.
        """
        return super().bse

    @property
    def bias(self) -> pd.Series:
        """Mean of the replicates minus the estimate, Series (P,)."""
        mean = self._good.mean(axis=0) if len(self._good) else np.nan
        return self._series(mean - self.point, "bias")

    def covariance(self) -> Covariance:
        """Return the covariance of the replicates, for standard errors, tests and intervals of a fit.

        Returns
        -------
        Covariance

        Warns
        -----
        UserWarning
            If there are no more replicates than parameters, so that the matrix is singular.
        """
        if len(self._good) <= len(self.names):
            warnings.warn(
                f"{len(self._good)} replicates give a singular covariance of {len(self.names)} parameters: standard "
                "errors are usable, joint tests are not. Use more replications.",
                UserWarning,
                stacklevel=2,
            )
        return Covariance(self._covariance_matrix.copy(), "bootstrap", self._description())

    def conf_int(self, alpha: float = 0.05, method: str = "percentile") -> pd.DataFrame:
        """Return confidence intervals, DataFrame (P, 2) with columns ``lower`` and ``upper``.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        method : {"percentile", "bca", "basic"}
            ``"percentile"``: quantiles of the replicates. ``"bca"``: quantiles at levels corrected for bias, from the
            share of replicates below the estimate, and for acceleration, a = sum U^3 / (6 (sum U^2)^1.5) over the
            families' influence values U (Efron 1987); NaN where all replicates lie on the same side of the estimate.
            ``"basic"``: quantiles reflected about the estimate, on the scales of the Wald intervals.

        Warns
        -----
        UserWarning
            If endpoints lie beyond what so few replicates can resolve; it names the parameters.

        Raises
        ------
        DataError
            If the options make no sense, fewer than two replicates succeeded, or ``"bca"`` has no influence values
            as the observed information is not positive definite.
        """
        check_one_of("method", method, METHODS)
        check_alpha(alpha)
        good = self._good
        if len(good) < 2:
            raise DataError(f"Only {len(good)} of {len(self.values)} replicates succeeded; see .record for why.")
        levels = np.full((2, len(self.names)), [[0.5 * alpha], [1.0 - 0.5 * alpha]])
        if method == "bca":
            levels = self._bca_levels(levels)
        beyond = ~((levels * (len(good) + 1) >= 1.0) & (levels * (len(good) + 1) <= len(good)))
        self._warn_of(np.flatnonzero(beyond.any(axis=0)), method)
        ends = self._basic(levels) if method == "basic" else self._quantiles(good, levels)
        return pd.DataFrame(ends.T, index=list(self.names), columns=["lower", "upper"])

    @staticmethod
    def _quantiles(good: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Return quantiles of each parameter's replicates at its own levels, (2, P); NaN where levels are NaN."""
        quantiles = np.full(levels.shape, np.nan)
        for column in range(levels.shape[1]):
            defined = np.isfinite(levels[:, column])
            if defined.any() and len(good):
                quantiles[defined, column] = np.quantile(good[:, column], levels[defined, column])
        return quantiles

    def _basic(self, levels: np.ndarray) -> np.ndarray:
        """Return the ends of basic intervals, (2, P)."""
        ends = np.empty(levels.shape)
        for column, parameter in enumerate(self.parameters):
            forward, back = parameter.kind.scale.forward, parameter.kind.scale.back
            with np.errstate(divide="ignore", invalid="ignore"):  # at the edge of a parameter's range
                low, high = np.quantile(forward(self._good[:, column]), levels[:, column])
                centre = forward(self.point[column])
                ends[:, column] = back(2.0 * centre - high), back(2.0 * centre - low)
        return ends

    def _bca_levels(self, levels: np.ndarray) -> np.ndarray:
        """Return the levels (2, P) of the quantiles that are the ends of BCa intervals."""
        if not np.isfinite(self.influence).all():
            raise DataError(
                "method='bca' needs the observed information, which is not positive definite: see fit.diagnose(). "
                "Use method='percentile'."
            )
        good, influence = self._good, self.influence - self.influence.mean(axis=0)
        square = np.sum(influence**2, axis=0)
        fixed = np.sqrt(square) <= _STILL * (1.0 + np.abs(self.point))
        acceleration = np.sum(influence**3, axis=0) / (6.0 * np.where(fixed, 1.0, square) ** 1.5)
        below = np.mean((good < self.point) + 0.5 * (good == self.point), axis=0)
        shift = stats.norm.ppf(below) + stats.norm.ppf(levels)
        with np.errstate(invalid="ignore"):  # infinite where all replicates lie on the same side, and set to NaN below
            corrected = stats.norm.ppf(below) + shift / (1.0 - acceleration * shift)
        defined = np.isfinite(shift) & (acceleration * shift < 1.0)
        return np.where(fixed, levels, np.where(defined, stats.norm.cdf(corrected), np.nan))

    def _warn_of(self, columns: np.ndarray, method: str) -> None:
        """Warn of intervals of the parameters ``columns`` whose ends are beyond the replicates."""
        if len(columns) == 0:
            return
        names = [self.names[column] for column in columns]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        warnings.warn(
            f"Endpoints of {method} intervals lie beyond what {len(self._good)} replicates can resolve, for {shown}. "
            "Use more replications.",
            UserWarning,
            stacklevel=3,
        )
