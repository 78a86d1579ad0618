"""DownstreamResults: what a fitted DownstreamModel reports."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..checks import check_several_of
from ..errors import ConvergenceWarning, DataError
from ..inference.named_estimates import NamedEstimates
from ..prediction.parameter_law import parameter_law
from ..results.prediction_results import PredictionResults
from ..results.summary_tables import SkillSummary, coefficients, numbered_notes, paired_table
from .target import natural_derivatives, target_law
from .target_draws import target_draws, target_joint, target_means
from .target_fit import first_stage_root, fit_target, target_cov

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame
    from statsmodels.iolib.table import SimpleTable

    from ..parameters.named import Parameters
    from ..prediction.skill_draws import Request
    from ..results.latent_skill import LatentSkillResults
    from .model import DownstreamModel
    from .target import TargetLaw
    from .target_draws import TargetDraws
    from .target_fit import TargetEstimate

_FAR = 0.05  # a gradient of more than this, in standard errors, is not at an optimum
KINDS = ("parameters",)


def fit_downstream(
    model: DownstreamModel, uncertainty: str | Sequence[str] = ("parameters",), integration: str | None = None
) -> DownstreamResults:
    """Fit a DownstreamModel; see ``DownstreamModel.fit``."""
    wanted = check_several_of("uncertainty", uncertainty, KINDS, empty=True)
    parent = model.parent
    root = first_stage_root(parameter_law(parent)) if wanted else None
    estimate = fit_target(parent.model, parent.structure, model.data, integration)
    results = DownstreamResults(model, estimate, root)
    for message in results.problems:
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
    return results


class DownstreamResults(NamedEstimates):
    """Results of a regression on skills. Immutable; every table handed out is a new one.

    Attributes
    ----------
    model : DownstreamModel
    estimate : latentscale.downstream.target_fit.TargetEstimate
    root : array (S, m) or None
        Root R of the covariance R R' of the estimates of the first stage; None if these are taken as known.
    """

    model: DownstreamModel
    estimate: TargetEstimate
    root: np.ndarray | None

    def __init__(self, model: DownstreamModel, estimate: TargetEstimate, root: np.ndarray | None) -> None:
        self.__dict__.update(model=model, estimate=estimate, root=root)

    def __repr__(self) -> str:
        state = "" if self.converged else ", NOT CONVERGED"
        return f"<DownstreamResults: {self.model.target}, llf {self.llf:.4f}, {len(self.params)} parameters{state}>"

    # --- as a target of further evaluations ------------------------------------------------------------------------

    def as_target(
        self, fit: LatentSkillResults, request: Request, size: int, seed: int, sources: Collection[str]
    ) -> tuple[TargetDraws, np.ndarray, str]:
        """Return joint draws of skills, the draws of the expected score (S, n) that belong to them, and its name.

        ``latentscale.planning.next_evaluation`` needs them if the target of this regression is what the evaluations
        are to inform about.

        Raises
        ------
        DataError
            If the regression is on the skills of another fit.
        """
        if self.model.parent is not fit:
            raise DataError(f"The regression of {self.model.target} is on the skills of another fit.")
        joint = target_joint(self.model, self.estimate, request, size, seed)
        mu, phi, _ = target_means(joint, self.model, self.estimate, self.root, sources)
        values = self.model.data.score_law.mean(mu, phi)
        return joint, values, f"the expected score of {self.model.target}"

    # --- estimates -------------------------------------------------------------------------------------------------

    @property
    def _law(self) -> TargetLaw:
        return target_law(self.model.data, self.estimate.zeta, len(self.model.parent.model.skills))

    @property
    def parameters(self) -> Parameters:
        """Names, kinds and labels of the parameters, ``latentscale.parameters.named.Parameters`` of length P."""
        return self.model.parameters

    @property
    def params(self) -> pd.Series:
        """Estimates of loadings, intercept, precision, free asymptotes and s, Series (P,)."""
        law, free = self._law, self.model.data.free
        ends = [value for value, name in ((law.lower, "c"), (law.upper, "d")) if name in free]
        ends += [] if law.family_sd is None else [law.family_sd]
        precision = [law.precision] if self.model.data.score_law.has_precision else []
        values = [*law.loadings[self.model.data.skills], law.intercept, *precision, *ends]
        return pd.Series(values, index=self.model.param_names, name="estimate")

    def _natural_derivatives(self) -> np.ndarray:
        """Return the derivative of each parameter with respect to its coordinate, array (P,)."""
        return natural_derivatives(self.model.data, self.estimate.zeta, len(self.model.parent.model.skills))

    def cov_params(self, known_skills: bool = False) -> pd.DataFrame:
        """Return the covariance of the parameters, DataFrame (P, P); NaN where it does not exist.

        Parameters
        ----------
        known_skills : bool
            Whether the parameters of the fit are taken as known. The covariance is then the inverse observed
            information of the regression.
        """
        names, derivatives = self.model.param_names, self._natural_derivatives()
        cov = np.full((len(names), len(names)), np.nan)
        if not self.problems:
            cov = target_cov(self.estimate, None if known_skills else self.root)
        return pd.DataFrame(cov * np.outer(derivatives, derivatives), index=names, columns=names)

    @property
    def _covariance_matrix(self) -> np.ndarray:
        return self.cov_params().to_numpy()

    def parameter_table(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a row per parameter: estimate, std_err, z, p_value, ci_lower, ci_upper, std_err_known.

        The last column has the standard errors that would hold if the parameters of the fit were known. ``alpha`` is
        one minus the level of the intervals.
        """
        known = np.sqrt(np.diag(self.cov_params(known_skills=True)))
        known = pd.Series(known, index=self.model.param_names, name="std_err_known")
        return pd.concat([super().parameter_table(alpha), known], axis=1).rename_axis("parameter")

    # --- predictions -----------------------------------------------------------------------------------------------

    def predict(
        self, data: IntoFrame | None = None, observed: bool = False, size: int = 4000, seed: int = 0
    ) -> pd.Series:
        """Return the expected scores of the target at the estimates, Series by LLM; see ``get_prediction``."""
        draws = target_draws(self.model, self.estimate, self.root, data, observed, size, seed, ("family",))
        return pd.Series(draws.mean[:, 0], index=draws.llms, name=self.model.target)

    def get_prediction(
        self,
        data: IntoFrame | None = None,
        observed: bool = False,
        size: int = 4000,
        seed: int = 0,
        uncertainty: str | Sequence[str] = ("parameters", "family", "score"),
    ) -> PredictionResults:
        """Predict the target's scores of LLMs, with their uncertainty.

        The prediction of an LLM also uses the target's scores of other LLMs of its family.

        Parameters
        ----------
        data : table, optional
            One row per LLM, with the family column and the covariates of the fit; an unknown family is predicted from
            the distribution of families. By default the LLMs in the fit's likelihood.
        observed : bool
            Whether to condition also on the benchmark scores in ``data``.
        size : int
            Number of draws.
        seed : int
        uncertainty : sequence of {"parameters", "family", "score"}
            Sources of uncertainty to include: the estimates of the regression and of the fit; the skills, given these;
            a score, given its expectation. Sources that are left out are held at their means.

        Returns
        -------
        PredictionResults
            Its ``summary_frame(alpha)`` has llm, benchmark, mean, mean_se, mean_ci_lower, mean_ci_upper, obs_ci_lower,
            obs_ci_upper, observed.
        """
        draws = target_draws(self.model, self.estimate, self.root, data, observed, size, seed, uncertainty)
        return PredictionResults(draws, self.model.parent.model.panel.llm)

    # --- fit ---------------------------------------------------------------------------------------------------------

    @property
    def llf(self) -> float:
        """Log-likelihood of the target's scores given the benchmark scores, without penalties."""
        return self.estimate.loglike

    @property
    def nobs(self) -> int:
        """Number of scores of the target in the likelihood."""
        return self.model.nobs

    @property
    def converged(self) -> bool:
        """Whether the gradient vanishes and the information is positive definite."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against trusting this fit, tuple of str; empty if nothing does."""
        distance = self.estimate.distance
        if not np.isfinite(distance):
            words = "the information is not positive definite: some direction of the loadings is not determined"
            return (f"No standard errors of {self.model.target}: {words}. Name fewer skills, or set shrink.",)
        if distance > _FAR:
            return (f"The regression of {self.model.target} stopped {distance:.2g} standard errors from its optimum.",)
        return ()

    # --- reports ---------------------------------------------------------------------------------------------------

    def summary(self, alpha: float = 0.05) -> SkillSummary:
        """Return a statsmodels Summary with ``as_text``, ``as_html``, ``as_latex``, ``as_csv``.

        ``alpha`` is one minus the level of its intervals.
        """
        summary = SkillSummary()
        summary.tables.append(self._header())
        summary.tables.append(coefficients(self.parameter_table(alpha), "Parameters", alpha))
        summary.add_extra_txt(numbered_notes(self._notes()))
        return summary

    def _header(self) -> SimpleTable:
        model = self.model
        at_edge = model.prepared.boundary_counts[model.target]
        left = [
            ("Target:", model.target),
            ("Skills:", f"{len(model.skills)} of {len(model.parent.model.skills)}"),
            ("Asymptotes:", model.asymptotes),
            ("Boundary scores:", f"{model.boundary}, {at_edge} at 0 or 1"),
        ]
        right = [
            ("Log-likelihood:", f"{self.llf:.4f}"),
            ("LLMs:", f"{self.nobs}"),
            ("Families:", f"{model.n_families}"),
            ("Converged:", "yes" if self.converged else "NO"),
        ]
        law = model.data.score_law.name.capitalize()
        return paired_table(left, right, f"{law} regression of {model.target} on skills")

    def _notes(self) -> list[str]:
        model, estimate = self.model, self.estimate
        judged = np.isfinite(estimate.difference)
        notes = [f"WARNING: {problem}" for problem in self.problems]
        notes.append(
            f"Skills are integrated out given the benchmark scores, by {estimate.rule}"
            + (f"; a finer rule changes the log-likelihood by {estimate.difference:+.4f}." if judged else ".")
        )
        if self.root is None:
            notes.append("Standard errors take the parameters of the fit as known.")
        else:
            ratio = (self.parameter_table()["std_err"] / self.parameter_table()["std_err_known"]).max()
            notes.append(
                "Standard errors carry those of the fit's estimates (Murphy and Topel 1985), which make them up to "
                f"{ratio:.1f} times as large as with known parameters."
            )
        if model.shrink is not None:
            notes.append(f"Loadings are shrunk (s.d. {model.shrink:g}): intervals and tests leave the bias out.")
        if model.not_fitted:
            notes.append(f"{len(model.not_fitted)} LLMs with a score are not in the fit's likelihood and left out.")
        return notes
