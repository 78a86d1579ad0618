"""Estimates with standard errors and intervals, log-likelihood and information criteria, parameters as tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from ..checks import check_alpha, check_one_of
from ..errors import DataError
from ..inference.covariance import Covariance, observed_covariance, robust_covariance
from ..inference.fit_problems import find_problems
from ..inference.named_estimates import NamedEstimates
from ..inference.profile import profile_intervals
from ..numerics import monotone

if TYPE_CHECKING:
    from ..estimation.estimate import Estimate
    from ..inference.covariance import Observed
    from ..inference.fit_problems import Problem
    from ..model import LatentSkillModel
    from ..parameters.named import Parameters
    from ..parameters.structure import Structure
    from .latent_skill import LatentSkillResults


class Estimates(NamedEstimates):
    """What ``LatentSkillResults`` reports of parameters and fit.

    The other parts of ``LatentSkillResults`` (tests, predictions, plots, tables) are classes that extend this one, and
    are joined in ``latentscale.results.latent_skill``.

    Attributes
    ----------
    model : LatentSkillModel
    estimate : Estimate
        What the optimiser returned.
    covariance : Covariance
        Of the parameters in ``params``; standard errors, Wald tests and intervals use it.
    """

    model: LatentSkillModel
    estimate: Estimate
    covariance: Covariance

    @property
    def _results(self) -> LatentSkillResults:
        """The object itself: a type checker cannot know that every part belongs to ``LatentSkillResults``."""
        return cast("LatentSkillResults", self)

    # --- estimates and their uncertainty -----------------------------------------------------------------------

    @property
    def parameters(self) -> Parameters:
        """Names, kinds and labels of the free parameters, ``latentscale.parameters.named.Parameters`` of length P."""
        return self.model.table.parameters

    @property
    def params(self) -> pd.Series:
        """Estimates of the free parameters, Series (P,)."""
        return pd.Series(self.estimate.params, index=self.model.param_names, name="estimate")

    @cached_property
    def observed(self) -> Observed:
        """The inverse observed information in the optimiser's coordinates, and by the delta method for ``params``."""
        model, estimate = self.model, self.estimate
        return observed_covariance(estimate.space(model), model.recoding, estimate.coordinates, estimate.information)

    def _default_covariance(self) -> Covariance:
        kind = self.estimate.options["cov_type"]
        if self.observed.weak and kind in ("cluster", "opg", "bootstrap"):
            nothing = np.full_like(self.observed.matrix, np.nan)
            return Covariance(nothing, kind, f"{kind} covariance absent, as the information is not positive definite")
        return robust_covariance(self._results, kind)

    @property
    def cov_type(self) -> str:
        """Kind of the covariance in use, such as ``"observed"`` or ``"cluster"``; see ``get_robust``."""
        return self.covariance.kind

    @property
    def _covariance_matrix(self) -> np.ndarray:
        return self.covariance.matrix

    @property
    def mc_se(self) -> pd.Series:
        """Monte Carlo standard error of each estimate, Series (P,): how far other draws of the nodes would move it.

        NaN if the log-likelihood was not integrated by Monte Carlo.
        """
        coordinate_se = self.estimate.error.params_se
        jacobian = self.observed.jacobian
        # Errors of the coordinates are dependent, with a covariance that is not known; this sum bounds the error.
        values = np.full(jacobian.shape[0], np.nan) if coordinate_se is None else abs(jacobian) @ coordinate_se
        return pd.Series(values, index=self.model.param_names, name="mc_se")

    def conf_int(
        self,
        alpha: float = 0.05,
        method: str = "wald",
        parameters: str | Sequence[str] | None = None,
        n_jobs: int | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Confidence intervals, DataFrame (P, 2) with columns ``lower`` and ``upper``.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        method : {"wald", "profile"}
            ``"wald"``: estimate -/+ z standard errors on a scale without bounds, transformed back: the logarithm of
            precisions and variances, Fisher's z of correlations, the logit of asymptotes. ``"profile"``: the values
            that a likelihood-ratio test does not reject, which takes several fits for each end. Bootstrap intervals
            come from ``bootstrap().conf_int()``.
        parameters : str or list of str, optional
            The parameters whose intervals are wanted, all by default.
        n_jobs : int, optional
            Parameters profiled in parallel; the numbers do not depend on it. By default one, or what a surrounding
            ``ls.parallel`` says.
        progress : bool
            Whether to report on the standard error stream while profiling.

        Raises
        ------
        DataError
            If ``alpha`` or ``method`` is out of range, or a parameter is unknown.
        """
        check_one_of("method", method, ("wald", "profile"))
        check_alpha(alpha)
        names = self.model.param_names if parameters is None else np.atleast_1d(parameters).tolist()
        unknown = [name for name in names if name not in self.params.index]
        if unknown:
            raise DataError(f"Unknown parameters {unknown[:5]}; they are named as in fit.params.")
        if method == "profile":
            return profile_intervals(self._results, list(names), alpha, n_jobs, progress)
        return super().conf_int(alpha).loc[list(names)]

    def parameter_table(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a row per free parameter: estimate, std_err, z, p_value, ci_lower, ci_upper, mc_se.

        ``alpha`` is one minus the level of the Wald intervals.
        """
        return pd.concat([super().parameter_table(alpha), self.mc_se], axis=1).rename_axis("parameter")

    # --- fit -----------------------------------------------------------------------------------------------------

    @property
    def llf(self) -> float:
        """Marginal log-likelihood at the estimate, without penalties."""
        return self.estimate.loglike

    @property
    def llf_penalised(self) -> float:
        """Marginal log-likelihood with the penalties on asymptotes, links, loadings and slopes: what was maximised."""
        return self.estimate.penalised

    @property
    def llf_se(self) -> float:
        """Monte Carlo standard error of ``llf``; NaN for rules without draws."""
        return self.estimate.error.se

    @property
    def llf_error(self) -> float:
        """``llf_se``, or for the other rules the change of ``llf`` under a finer rule."""
        error = self.estimate.error
        return error.se if np.isfinite(error.se) else error.difference

    @property
    def aic(self) -> float:
        """Akaike's information criterion, -2 llf + 2 P, for P = ``df_model``."""
        return -2.0 * self.llf + 2.0 * self.df_model

    @property
    def bic(self) -> float:
        """Bayesian information criterion, -2 llf + P log L: the L families are the independent units."""
        return -2.0 * self.llf + self.df_model * np.log(self.n_families)

    @property
    def nobs(self) -> int:
        """Number of observed scores in the likelihood."""
        return self.model.nobs

    @property
    def n_llms(self) -> int:
        """Number of LLMs in the likelihood, n."""
        return self.model.n_llms

    @property
    def n_families(self) -> int:
        """Number of families in the likelihood, L."""
        return self.model.n_families

    @property
    def df_model(self) -> int:
        """Number of free parameters, less the linear restrictions on them."""
        return len(self.estimate.gradient)

    @property
    def converged(self) -> bool:
        """Whether the optimum was reached and the observed information is positive definite."""
        return bool(self.estimate.converged and not self.observed.weak)

    @property
    def starts(self) -> pd.DataFrame:
        """One row per start of the search, DataFrame: kind, penalised Laplace log-likelihood, gradient, evaluations,
        and reached_best, whether it ended at the best value found.
        """
        return self.estimate.starts.copy()

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What speaks against trusting this fit, tuple of Problem; empty if nothing does."""
        return find_problems(self.model, self.estimate, self.observed)

    # --- parameters as tables ------------------------------------------------------------------------------------

    @cached_property
    def structure(self) -> Structure:
        """All parameters as matrices, with slopes of the covariates as the user gave them."""
        return self.model.table.structure(self.estimate.params)

    @property
    def loadings(self) -> pd.DataFrame:
        """Loadings Lambda of benchmarks on skills, DataFrame (J, K)."""
        return pd.DataFrame(self.structure.loadings, index=list(self.model.benchmarks), columns=list(self.model.skills))

    @property
    def intercepts(self) -> pd.Series:
        """Intercepts b of benchmarks, Series (J,)."""
        return pd.Series(self.structure.intercepts, index=list(self.model.benchmarks), name="intercept")

    @property
    def slopes(self) -> pd.DataFrame:
        """Slopes B of skills on the terms of the scaling formula, per unit of the term, DataFrame (p, K)."""
        return pd.DataFrame(self.structure.slopes, index=list(self.model.terms), columns=list(self.model.skills))

    @property
    def skill_cov(self) -> pd.DataFrame:
        """Covariance Sigma of family effects, DataFrame (K, K)."""
        skills = list(self.model.skills)
        return pd.DataFrame(self.structure.skill_cov, index=skills, columns=skills)

    @property
    def skill_corr(self) -> pd.DataFrame:
        """Correlations of family effects, DataFrame (K, K)."""
        sd = np.sqrt(np.diag(self.structure.skill_cov))
        return self.skill_cov / np.outer(sd, sd)

    @property
    def precision(self) -> pd.Series:
        """Precisions phi of benchmarks, Series (J,)."""
        return pd.Series(self.structure.precision, index=list(self.model.benchmarks), name="precision")

    @property
    def slope_sd(self) -> pd.DataFrame:
        """Standard deviations tau of families' random slopes, one row per term that has them, DataFrame (r, K)."""
        return pd.DataFrame(
            self.structure.scales.get("slope_sd"),
            index=list(self.model.random_terms),
            columns=list(self.model.skills),
            dtype=float,
        )

    @property
    def asymptotes(self) -> pd.DataFrame:
        """Asymptotes c and d of benchmarks, DataFrame (J, 2) with columns ``lower`` and ``upper``."""
        values = {"lower": self.structure.lower, "upper": self.structure.upper}
        return pd.DataFrame(values, index=list(self.model.benchmarks))

    @property
    def links(self) -> pd.DataFrame:
        """Spline coefficients rho of each benchmark's link, DataFrame (J, 7), a column for each centre.

        The link is F_j(eta) = expit(g_j(eta)). Its slope g_j'(eta) is a weighted average of the coefficients
        (``latentscale.numerics.monotone``): close to a centre mostly the coefficient there, and beyond the outermost
        centres that coefficient itself. The coefficients of a benchmark have mean one; for the logistic link all are
        one.
        """
        link = self.structure.link
        values = monotone.slopes(link) if link.shape[1] else np.ones((len(link), monotone.N_SLOPES))
        centres = pd.Index(monotone.CENTRES, name="eta")
        return pd.DataFrame(values, index=list(self.model.benchmarks), columns=centres)
