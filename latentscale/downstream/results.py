"""DownstreamResults: what a fitted DownstreamModel reports."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from statsmodels.iolib.table import SimpleTable

from ..checks import check_several_of
from ..errors import ConvergenceWarning, DataError
from ..inference.named_estimates import NamedEstimates
from ..prediction.parameter_law import parameter_law
from ..results.prediction_results import PredictionResults
from ..results.summary import _PAIRS, SkillSummary, _wrapped, coefficients
from .draws import target_draws, target_joint, target_means
from .target import carried, target_law
from .target_fit import carried_root, fit_target, target_cov

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

    from ..parameters.named import Parameters
    from ..prediction.skill_draws import Request
    from ..results.latent_skill import LatentSkillResults
    from .draws import TargetDraws
    from .model import DownstreamModel
    from .target import TargetLaw
    from .target_fit import TargetEstimate

_FAR = 0.05  # in standard errors: a gradient beyond this is no optimum
KINDS = ("parameters",)


def fit_downstream(
    model: DownstreamModel, uncertainty: str | Sequence[str] = ("parameters",), integration: str | None = None
) -> DownstreamResults:
    """DownstreamResults of a DownstreamModel; see its ``fit``."""
    wanted = check_several_of("uncertainty", uncertainty, KINDS, empty=True)
    parent = model.parent
    root = carried_root(parameter_law(parent)) if wanted else None
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
        Root of the covariance of the first stage's estimates; None where it is left out.
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
        """Joint draws, draws of the expected score (S, n) that belong to them, and what it is in words.

        ``latentscale.planning.next_evaluation`` asks for them where this regression's target is what evaluations are
        to tell of.

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
        """The parameters with their kinds and labels: a ``latentscale.parameters.named.Parameters``."""
        return self.model.parameters

    @property
    def params(self) -> pd.Series:
        """Natural parameters, Series (P,): loadings, intercept, precision, free asymptotes, s."""
        law, free = self._law, self.model.data.free
        ends = [value for value, name in ((law.lower, "c"), (law.upper, "d")) if name in free]
        ends += [] if law.family_sd is None else [law.family_sd]
        precision = [law.precision] if self.model.data.score_law.has_precision else []
        values = [*law.loadings[self.model.data.skills], law.intercept, *precision, *ends]
        return pd.Series(values, index=self.model.param_names, name="estimate")

    def _carried(self) -> np.ndarray:
        """d natural / d zeta, (P,)."""
        return carried(self.model.data, self.estimate.zeta, len(self.model.parent.model.skills))

    def cov_params(self, known_skills: bool = False) -> pd.DataFrame:
        """Covariance of the natural parameters, DataFrame (P, P).

        Parameters
        ----------
        known_skills : bool
            Whether the parameters of the fit are taken as known: then the inverse observed information alone.
        """
        names, carried = self.model.param_names, self._carried()
        cov = np.full((len(names), len(names)), np.nan)
        if not self.problems:
            cov = target_cov(self.estimate, None if known_skills else self.root)
        return pd.DataFrame(cov * np.outer(carried, carried), index=names, columns=names)

    @property
    def _covariance_matrix(self) -> np.ndarray:
        return self.cov_params().to_numpy()

    def parameter_table(self, alpha: float = 0.05) -> pd.DataFrame:
        """One row per parameter: estimate, std_err, z, p_value, ci_lower, ci_upper, std_err_known.

        The last column has standard errors as they were if the parameters of the fit were known.
        """
        known = np.sqrt(np.diag(self.cov_params(known_skills=True)))
        known = pd.Series(known, index=self.model.param_names, name="std_err_known")
        return pd.concat([super().parameter_table(alpha), known], axis=1).rename_axis("parameter")

    # --- predictions -----------------------------------------------------------------------------------------------

    def predict(
        self, data: IntoFrame | None = None, observed: bool = False, size: int = 4000, seed: int = 0
    ) -> pd.Series:
        """Expected scores of the target at the estimates, Series by LLM; see ``get_prediction``."""
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
        """The target's scores of LLMs with their uncertainty.

        An LLM of a family with scores of the target is predicted given those too.

        Parameters
        ----------
        data : table, optional
            One row per LLM, with the family column and the covariates of the fit; an unknown family is predicted from
            the distribution of families. By default the LLMs in the fit's likelihood.
        observed : bool
            Whether to condition on benchmark scores in ``data`` too.
        size : int
            Draws.
        seed : int
        uncertainty : sequence of {"parameters", "family", "score"}
            Sources: of the estimates of the regression and of the fit, of the skills given those, of a score given its
            expectation. A source that is left out stands still.

        Returns
        -------
        PredictionResults
            ``summary_frame(alpha)``: llm, benchmark, mean, mean_se, mean_ci_lower, mean_ci_upper, obs_ci_lower,
            obs_ci_upper, observed.
        """
        draws = target_draws(self.model, self.estimate, self.root, data, observed, size, seed, uncertainty)
        return PredictionResults(draws, self.model.parent.model.panel.llm)

    # --- fit ---------------------------------------------------------------------------------------------------------

    @property
    def llf(self) -> float:
        """Log-likelihood of the target's scores given the benchmarks', without penalties."""
        return self.estimate.loglike

    @property
    def nobs(self) -> int:
        """Scores of the target in the likelihood."""
        return self.model.nobs

    @property
    def converged(self) -> bool:
        """Whether the gradient vanishes and the information is positive definite."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What a reader must know of this fit, tuple of str."""
        distance = self.estimate.distance
        if not np.isfinite(distance):
            words = "the information is not positive definite: some direction of the loadings is not determined"
            return (f"No standard errors of {self.model.target}: {words}. Name fewer skills, or set shrink.",)
        if distance > _FAR:
            return (f"The regression of {self.model.target} stopped {distance:.2g} standard errors from its optimum.",)
        return ()

    # --- reports ---------------------------------------------------------------------------------------------------

    def summary(self, alpha: float = 0.05) -> SkillSummary:
        """statsmodels Summary; ``as_text``, ``as_html``, ``as_latex``, ``as_csv``."""
        summary = SkillSummary()
        summary.tables.append(self._header())
        summary.tables.append(coefficients(self.parameter_table(alpha), "Parameters", alpha))
        notes = [line for number, note in enumerate(self._notes(), 1) for line in _wrapped(f"[{number}] {note}")]
        summary.add_extra_txt(notes)
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
        rows = [[a, b, "  " + c, d] for (a, b), (c, d) in zip(left, right, strict=True)]
        law = model.data.score_law.name.capitalize()
        return SimpleTable(rows, title=f"{law} regression of {model.target} on skills", txt_fmt=_PAIRS)

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
