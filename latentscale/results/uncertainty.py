"""Other covariances of the estimates, bootstrap, profiles, the delta method and a diagnosis, as methods of results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..inference.bootstrap import bootstrap
from ..inference.covariance import robust_covariance
from ..inference.delta import delta
from ..inference.diagnosis import diagnose
from ..inference.goodness_of_fit import goodness_of_fit
from ..inference.influence import influence
from ..inference.profile import profile
from ..inference.variance_shares import variance_shares
from .estimates import Estimates
from .extensions import extensions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..inference.bootstrap_results import BootstrapResults
    from ..inference.delta import DeltaResult, ParameterView
    from ..inference.diagnosis import Diagnosis
    from ..inference.goodness_of_fit import GoodnessOfFit
    from ..inference.influence import Influence
    from ..inference.profile import Profile
    from .extensions import Extensions
    from .latent_skill import LatentSkillResults


class Uncertainty(Estimates):
    """Methods of ``LatentSkillResults`` about uncertainty, beyond the inverse observed information."""

    def get_robust(self, cov_type: str = "cluster", **options: Any) -> LatentSkillResults:
        """Return new results with another covariance of the same estimates.

        Parameters
        ----------
        cov_type : {"cluster", "observed", "expected", "opg", "bootstrap", "none"}
            ``"cluster"``: the sandwich with families as clusters. ``"observed"``: the inverse observed information.
            ``"expected"``: the inverse expected information, by simulation. ``"opg"``: the inverse outer product of
            the families' gradients of the log-likelihood. ``"bootstrap"``: the covariance of bootstrap replicates.
        **options
            For ``"cluster"`` the small-sample ``correction``: ``"leverage"`` (the default, Kauermann and Carroll 2001),
            ``"jackknife"`` (Mancl and DeRouen 2001), ``"df"`` or ``"none"``. For ``"bootstrap"`` the options of
            ``bootstrap``, or ``results``, a BootstrapResults.

        Returns
        -------
        LatentSkillResults

        Raises
        ------
        DataError
            For unknown options, where the information is not positive definite, and for ``"opg"`` if there are
            not more families than parameters.

        Warns
        -----
        UserWarning
            If a sandwich rests on few families.
        """
        return type(self._results)(self.model, self.estimate, robust_covariance(self._results, cov_type, **options))

    def bootstrap(self, kind: str = "parametric", replications: int = 200, **options: Any) -> BootstrapResults:
        """Bootstrap the estimates.

        Parameters
        ----------
        kind : {"parametric", "family"}
            Replicates have scores simulated from the model at the estimate, or families drawn with replacement.
        replications : int
        **options
            ``seed``, ``n_jobs``, ``store`` (a file from which an interrupted run is resumed), ``integration``,
            ``progress``.

        Returns
        -------
        BootstrapResults
            ``bse``, ``cov_params()``, ``conf_int(method="percentile" | "bca" | "basic")``, ``record`` of all
            replicates, failed ones included.
        """
        return bootstrap(self._results, kind, replications, **options)

    def profile(self, parameter: str | np.ndarray, alpha: float = 0.05, **options: Any) -> Profile:
        """Compute the profile likelihood of a parameter, or of a linear combination of parameters.

        Parameters
        ----------
        parameter : str or array (P,)
            A name, such as ``"slope[log(params_b),math]"``, a combination, such as
            ``"slope[log(params_b),math] - slope[log(tokens_t),math]"``, or weights.
        alpha : float
            One minus the confidence level.

        Returns
        -------
        Profile
            It has the ``interval``, a ``table`` of the path and ``plot()``.
        """
        return profile(self._results, parameter, alpha, **options)

    def delta(self, function: Callable[[ParameterView], Any]) -> DeltaResult:
        """Apply the delta method to a function of the parameters that autograd can differentiate.

        Parameters
        ----------
        function : callable
            Its argument has the parameters by name, ``p["slope[log(params_b),math]"]``, and as matrices,
            ``p.loadings``, ``p.slopes``, ``p.skill_cov`` and so on. It returns a number, several numbers, or a dict of
            them, computed with ``autograd.numpy``.

        Returns
        -------
        DeltaResult
        """
        return delta(function, self.params, self.cov_params(), self.model.table)

    def goodness_of_fit(
        self,
        n: int = 200,
        seed: int = 0,
        statistic: Callable[[pd.DataFrame], float] | None = None,
        alpha: float = 0.05,
        n_jobs: int | None = None,
    ) -> GoodnessOfFit:
        """Compare residuals with those of tables that are simulated from the fit: does the model fit the data?

        Parameters
        ----------
        n : int
            Simulated tables, at least 19. The least p-value is 1 / (n + 1).
        seed : int
        statistic : callable, optional
            A statistic of your own: a function of a table of scores that returns a number.
        alpha : float
            Level at which p-values, adjusted by Holm's method, are judged.
        n_jobs : int, optional
            Tables at one time.

        Returns
        -------
        GoodnessOfFit
            It prints what was found, with the worst offenders by name and the term of the model that answers it, and
            has ``table``, ``parts``, ``rejected``, ``sentence`` and ``plot()``.

        Raises
        ------
        DataError
            If the fit is too weak for simulated tables to be fitted again, or ``statistic`` returns no finite number.

        Examples
        --------
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
        >>> fit = ls.LatentSkillModel(panel, "log(params_b)", skills=1).fit(integration="laplace", starts=1)
        >>> fit.goodness_of_fit(n=139).fits
        False
        """
        return goodness_of_fit(self._results, n, seed, statistic, alpha, n_jobs)

    def influence(self, by: str = "family") -> Influence:
        """Return how far each estimate would move without each family, LLM or group, by one Newton step.

        Parameters
        ----------
        by : {"family", "llm", "group"}
            ``"group"`` needs the panel's groups.

        Returns
        -------
        Influence
            It prints the worst, and has ``changes`` (in standard errors), ``cook``, ``worst()`` and ``plot()``.

        Raises
        ------
        DataError
            If the fit has no observed information, or the panel no groups.
        """
        return influence(self._results, by)

    def extensions(self) -> Extensions:
        """Fit the model with each term that it lacks, one at a time, and compare by the likelihood ratio.

        Terms are residual skills of LLMs, effects on single benchmarks, slopes on each covariate that vary, a formula
        of log precisions, and families nested in the panel's groups. All fits are by Laplace, from this estimate.

        Returns
        -------
        Extensions
            It prints, and has ``table`` (lr, df, p_value at the boundary, change of AIC, seconds), ``fits`` and
            ``plot()``.

        Raises
        ------
        DataError
            For fits with constraints.
        """
        return extensions(self._results)

    def variance_shares(self) -> pd.DataFrame:
        """Return which share of the variance of each benchmark's linear predictor has which source.

        Returns
        -------
        DataFrame (J, ...)
            By benchmark: the shares of covariates, groups, family skills, family slopes, family particularities, LLMs
            and noise, as far as the model has them, which sum to one; ``icc family``, the correlation of two LLMs of a
            family with the same covariates on this scale; and ``total``, the variance. Noise is the variance of a score
            given all effects divided by the squared slope of the curve, in the median over LLMs.
        """
        return variance_shares(self._results)

    def diagnose(self, goodness_of_fit: GoodnessOfFit | bool = True) -> Diagnosis:
        """Return a printable Diagnosis: what is weak in this fit, and what to do about it.

        Parameters
        ----------
        goodness_of_fit : GoodnessOfFit or bool
            What ``fit.goodness_of_fit()`` found; True computes it from 139 simulated tables, which takes seconds, False
            leaves open whether the model fits the data.
        """
        return diagnose(self._results, goodness_of_fit)
