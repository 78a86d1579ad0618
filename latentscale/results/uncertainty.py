"""Other covariances of the estimates, bootstrap, profiles, the delta method and a diagnosis, as methods of results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..inference.bootstrap import bootstrap
from ..inference.covariance import robust_covariance
from ..inference.delta import delta
from ..inference.diagnosis import diagnose
from ..inference.profile import profile
from .estimates import Estimates

if TYPE_CHECKING:
    import numpy as np

    from ..inference.bootstrap_results import BootstrapResults
    from ..inference.delta import DeltaResult, ParameterView
    from ..inference.diagnosis import Diagnosis
    from ..inference.profile import Profile
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

    def diagnose(self) -> Diagnosis:
        """Return a printable Diagnosis: what is weak in this fit, and what to do about it."""
        return diagnose(self._results)
