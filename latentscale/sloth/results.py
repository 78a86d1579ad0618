"""SlothResults: the results of a fit of a SlothModel or BenchmarkLaws."""

from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_one_of
from ..errors import ConvergenceWarning, DataError
from ..inference.fit_problems import Problem
from ..inference.named_estimates import NamedEstimates
from ..models.new_llms import read_new_llms
from ..numerics.monotone import CENTRES
from ..results.latex import read_stars
from ..results.prediction_results import PredictionResults
from ..results.tables import glance, latex_table, tidy
from .covariance import sloth_covariance
from .degrees_of_freedom import free_parameters
from .options import COV_TYPES
from .predictive import predictor, sloth_draws
from .reported_skills import (
    plain_report,
    report_parameters,
    report_values,
    reportable,
    rotated_report,
    scaled_report,
    skills_of,
)
from .storage import save_sloth
from .summary import summarise_sloth

if TYPE_CHECKING:
    from ..parameters.named import Parameters
    from ..results.summary_tables import SkillSummary
    from .covariance import SlothCovariance
    from .fit import SlothEstimate
    from .model import HuberModel
    from .reported_skills import ReportedSkills

_SHOWN = 8  # cells or families that a message names


class SlothResults(NamedEstimates):
    """Results of a fit that minimises the mean Huber loss. They are immutable, and every table is a copy.

    Attributes
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
        The estimates before skills are standardised.
    cov_type : {"cluster", "llm", "none"}
        Kind of the covariance.
    """

    model: "HuberModel"
    estimate: "SlothEstimate"
    cov_type: str
    _given: "ReportedSkills | None"

    def __init__(
        self,
        model: "HuberModel",
        estimate: "SlothEstimate",
        report: "ReportedSkills | None" = None,
        cov_type: str | None = None,
    ) -> None:
        kind = estimate.options["cov_type"] if cov_type is None else cov_type
        self.__dict__.update(model=model, estimate=estimate, cov_type=kind, _given=report)

    def __repr__(self) -> str:
        state = "" if self.converged else ", NOT CONVERGED"
        return f"<SlothResults: mean Huber loss {self.loss:.6f}, {self.df_model} parameters{state}>"

    @cached_property
    def report(self) -> "ReportedSkills":
        """The reported skills; they are computed when first needed, because predictions do not need them."""
        if self._given is not None:
            return self._given
        model, estimate = self.model, self.estimate
        if model.per_benchmark:
            return plain_report(estimate)
        if model.positive_slopes or not reportable(model, plain_report(estimate).arrays):
            return scaled_report(model, estimate)
        return rotated_report(model, estimate)

    # --- fit --------------------------------------------------------------------------------

    @property
    def loss(self) -> float:
        """Mean Huber loss over the observed scores, without penalties."""
        return self.estimate.loss

    @property
    def loss_penalised(self) -> float:
        """Mean Huber loss with penalties, which was minimised."""
        return self.estimate.penalised

    @property
    def ridge(self) -> float:
        """Weight of the ridge; 0 if there is none."""
        return self.estimate.ridge

    @property
    def nobs(self) -> int:
        """Number of observed scores."""
        return self.model.nobs

    @property
    def n_llms(self) -> int:
        """Number of LLMs in the loss."""
        return self.model.n_llms

    @property
    def n_families(self) -> int:
        """Number of families in the loss."""
        return self.model.n_families

    @property
    def df_model(self) -> int:
        """Number of free parameters, without the directions along which skills are free."""
        return sum(free_parameters(piece.objective, piece.vector) for piece in self.estimate.pieces)

    @property
    def converged(self) -> bool:
        """Whether a minimum was reached; there is none if expected scores tend to an asymptote without a ridge."""
        estimate = self.estimate
        return bool(estimate.converged and (estimate.automatic or not estimate.runaway))

    @property
    def starts(self) -> pd.DataFrame:
        """One row for each start, with the columns kind, penalised (loss), gradient, iterations and reached_best."""
        return self.estimate.starts.copy()

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of the fit of which a reader must know, a tuple of Problem."""
        estimate = self.estimate
        problems: list[Problem] = []
        if estimate.runaway:
            cells = estimate.runaway
            shown = "; ".join(f"{family} on {benchmark}" for family, benchmark in cells[:_SHOWN])
            more = f" and {len(cells) - _SHOWN} more" if len(cells) > _SHOWN else ""
            mended = (
                f"A ridge of weight {estimate.ridge:g} was put on intercepts, slopes and loadings "
                f"(mean loss {estimate.loss:.6f}); ridge=0 forces none."
                if estimate.automatic
                else "Their parameters mean nothing; leave ridge=None for a small ridge."
            )
            message = (
                "The loss has no minimum: scores at or beyond an asymptote pull expected scores towards it for ever, "
                f"at a vanishing gain ({shown}{more}). {mended}"
            )
            problems.append(Problem(message, (), ConvergenceWarning))
        if not self.model.per_benchmark and self.model.thin_families:
            message = (
                f"The families {list(self.model.thin_families[:_SHOWN])} have scores on fewer benchmarks than there "
                "are skills, so that their intercepts are not determined, and nothing that is standardised over all "
                "LLMs has a standard error: leave these families out, or take fewer skills."
            )
            problems.append(Problem(message, (), ConvergenceWarning))
        if not estimate.converged and (estimate.automatic or not estimate.runaway):
            message = (
                f"The minimum was not reached: the largest derivative of the mean loss is {estimate.gradient:.1e}. "
                "Take more starts, or a ridge."
            )
            problems.append(Problem(message, (), ConvergenceWarning))
        return tuple(problems)

    # --- parameters -------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> "Parameters":
        """The reported parameters with their kinds and labels: a ``latentscale.parameters.named.Parameters``."""
        return report_parameters(self.model, self.report)

    @property
    def params(self) -> pd.Series:
        """Reported parameters, Series (P,)."""
        values = report_values(self.model, self.report.arrays)
        return pd.Series(values, index=list(self.parameters.names), name="estimate")

    @cached_property
    def covariance(self) -> "SlothCovariance":
        """The covariance of the reported parameters."""
        return sloth_covariance(self.model, self.estimate, self.report, self.cov_type)

    @property
    def _covariance_matrix(self) -> np.ndarray:
        return self.covariance.matrix

    def get_robust(self, cov_type: str = "cluster") -> "SlothResults":
        """Return new results with families ("cluster") or LLMs ("llm") as independent units, or without covariance.

        Parameters
        ----------
        cov_type : {"cluster", "llm", "none"}

        Returns
        -------
        SlothResults

        Raises
        ------
        DataError
            If the kind is unknown.
        """
        check_one_of("cov_type", cov_type, COV_TYPES)
        other = SlothResults(self.model, self.estimate, self._given, cov_type)
        if "report" in self.__dict__:
            other.__dict__["report"] = self.report
        return other

    def rotate(self, method: str = "geomin", names: Sequence[str] | None = None, **options: Any) -> "SlothResults":
        """Return new results with rotated skills; standard errors follow by the delta method.

        Parameters
        ----------
        method : {"geomin", "oblimin", "quartimin", "varimax", "promax", "target"}
        names : sequence of str, optional
            Names of the rotated skills, by default ``skill1``, ``skill2``, ... The skills are in the order of
            descending sums of squared loadings, and each correlates positively with the first term over the LLMs.
        **options
            ``oblique``, ``normalize``, ``starts``, ``seed``, and the options of the method, as in
            ``latentscale.rotate_loadings``; a target is an array (J, K).

        Returns
        -------
        SlothResults

        Raises
        ------
        DataError
            For laws of single benchmarks; for fits with ``positive_slopes``, because the restriction is on the axes of
            the fit; and for skills that are linear combinations of fewer skills.
        """
        model = self.model
        if model.per_benchmark:
            raise DataError("Laws of single benchmarks have no skills to rotate; use SlothModel.")
        if model.positive_slopes:
            raise DataError("positive_slopes restricts slopes in the axes of the fit: fit without it to rotate.")
        if not reportable(model, plain_report(self.estimate).arrays):
            raise DataError(f"The {model.n_skills} skills are combinations of fewer: fit with a smaller n_skills.")
        if names is not None:
            names = tuple(map(str, names))
            if len(set(names)) != model.n_skills or len(names) != model.n_skills:
                raise DataError(f"A rotation of {model.n_skills} skills needs a name for each, not {list(names)}.")
            model = model.replaced(skills=names)
        report = rotated_report(model, self.estimate, method, **options)
        return SlothResults(model, self.estimate, report, self.cov_type)

    # --- tables ----------------------------------------------------------------------------------------------------

    def tidy(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return one row for each parameter, see ``LatentSkillResults.tidy``."""
        return tidy(self, alpha)

    def glance(self) -> pd.DataFrame:
        """Return one row with sizes, loss and state of the fit, see ``LatentSkillResults.glance``."""
        return glance(self)

    def to_latex(
        self,
        kind: str = "loadings",
        digits: int = 2,
        stars: Any = False,
        caption: str | None = None,
        label: str | None = None,
        environment: bool = True,
    ) -> str:
        """Return a LaTeX table, see ``LatentSkillResults.to_latex``; there are no tables of tests."""
        return latex_table(self, kind, digits, read_stars(stars)).render(caption, label, environment)

    def summary(self, alpha: float = 0.05) -> "SkillSummary":
        """Return a statsmodels Summary in blocks, with ``as_text``, ``as_html``, ``as_latex`` and ``as_csv``."""
        return summarise_sloth(self, alpha)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fit to one file, which ``latentscale.load`` reads.

        Raises
        ------
        DataError
            If the results are rotated: save the fit itself, and rotate it again after loading.
        """
        save_sloth(self, path)

    @property
    def rotated(self) -> bool:
        """Whether these results were made by ``rotate``."""
        return self._given is not None

    @property
    def loadings(self) -> pd.DataFrame:
        """Loadings Lambda on the standardised skills, DataFrame (J, K); the identity for laws of single benchmarks."""
        return pd.DataFrame(self.report.arrays.loadings, list(self.model.benchmarks), list(self.model.skills))

    @property
    def slopes(self) -> pd.DataFrame:
        """Slopes B per unit of the formula's terms, DataFrame (p, K)."""
        return pd.DataFrame(self.report.arrays.slopes, list(self.model.terms), list(self.model.skills))

    @property
    def intercepts(self) -> pd.Series:
        """Intercepts b of the benchmarks, Series (J,); zero for laws with family intercepts."""
        return pd.Series(self.report.arrays.intercepts, list(self.model.benchmarks), name="intercept")

    @property
    def skill_corr(self) -> pd.DataFrame:
        """Correlations of skills over LLMs, DataFrame (K, K)."""
        corr = self.report.arrays.corr
        if corr is None:
            return self.skills().corr()
        return pd.DataFrame(corr, list(self.model.skills), list(self.model.skills))

    @property
    def family_intercepts(self) -> pd.DataFrame | None:
        """Family intercepts a, DataFrame (L, K); None if intercepts are shared."""
        effects = self.report.arrays.effects
        if effects is None:
            return None
        return pd.DataFrame(effects, pd.Index(self.model.families, name="family"), list(self.model.skills))

    @property
    def asymptotes(self) -> pd.DataFrame:
        """Asymptotes c and d, DataFrame (J, 2) with the columns ``lower`` and ``upper``."""
        response, phi = self.model.response, self.estimate.phi
        return pd.DataFrame({"lower": response.lower(phi), "upper": response.upper(phi)}, list(self.model.benchmarks))

    @property
    def link_table(self) -> pd.DataFrame | None:
        """Slopes rho of the monotone links by benchmark and centre, DataFrame (J, M); None for the logistic link."""
        rho = self.model.response.slopes(self.estimate.phi)
        if rho is None:
            return None
        return pd.DataFrame(rho, list(self.model.benchmarks), pd.Index(CENTRES, name="centre"))

    def skills(self) -> pd.DataFrame:
        """Return the skills theta, DataFrame (n, K), of mean zero and unit variance over the LLMs of the fit."""
        theta = skills_of(self.model, self.report.arrays)
        if self.report.transform is not None:
            theta = theta - theta.mean(axis=0)
        return pd.DataFrame(theta, self.model.llms, list(self.model.skills))

    # --- predictions ------------------------------------------------------------------------

    def predict(self, data: Any = None) -> pd.DataFrame:
        """Return expected scores.

        Parameters
        ----------
        data : table, optional
            One row per LLM, with the family column (if families have intercepts) and the covariates of the formula.
            By default the LLMs of the fit.

        Returns
        -------
        DataFrame
            Expected scores, LLMs by benchmarks.

        Raises
        ------
        DataError
            If columns are absent, a covariate is missing, or a family is unknown and therefore has no intercept.
        """
        model, estimate = self.model, self.estimate
        index, codes, x = self.locate(data)
        mean = model.response.mean(predictor(model, estimate, x, codes), estimate.phi)
        return pd.DataFrame(mean, index=index, columns=list(model.benchmarks))

    def get_prediction(
        self,
        data: Any = None,
        observed: bool | None = None,
        size: int = 2000,
        seed: int = 0,
        uncertainty: str | Sequence[str] = ("parameters", "score"),
    ) -> PredictionResults:
        """Predict expected scores and recorded scores with their uncertainty.

        The uncertainty of expected scores follows from the sandwich covariance by the delta method on the logit scale,
        with families as independent units, or LLMs for ``cov_type="llm"``. Recorded scores vary around them like the
        benchmark's residuals on the angle 2 arcsin sqrt(y), after a correction for leverages; see
        ``latentscale.sloth.predictive``. A variation of slopes between families is not included.

        Parameters
        ----------
        data : table, optional
            As for ``predict``.
        observed : None or False
            Other values are refused: skills have no distribution here that could be conditioned on observed scores.
        size : int
            Number of draws.
        seed : int
            Seed of the draws.
        uncertainty : sequence of {"parameters", "score"}
            Sources of uncertainty to include.

        Returns
        -------
        PredictionResults
            ``summary_frame(alpha)`` returns the intervals; they are NaN where predictions are not determined.

        Raises
        ------
        DataError
            As for ``predict``, and if an option cannot be used.

        Warns
        -----
        ConvergenceWarning
            If predictions are not determined, or have standard errors above 15 percentage points; the message names the
            families.

        Examples
        --------
        >>> import latentscale as ls
        >>> laws = ls.BenchmarkLaws(ls.BenchmarkPanel(ls.load_leaderboard()), family_intercepts=False)
        >>> frame = laws.fit(cov_type="none").get_prediction(size=200).summary_frame(alpha=0.2)
        >>> bool((frame["obs_ci_lower"] <= frame["mean_ci_lower"]).mean() > 0.95)
        True
        """
        if observed is not None and observed is not False:
            raise DataError(
                "Fits by the Huber loss cannot condition on scores of new LLMs (observed), as their skills have no "
                "distribution: put these LLMs into the panel and fit again, or use LatentSkillModel."
            )
        return PredictionResults(sloth_draws(self, data, size, seed, uncertainty), self.model.panel.llm)

    def residuals(self) -> pd.DataFrame:
        """Return observed minus expected scores, DataFrame (n, J), NaN where a score is missing."""
        return self.model.y - self.predict()

    def locate(self, data: Any = None) -> tuple[pd.Index, np.ndarray | None, np.ndarray]:
        """Return names, families and covariates of LLMs to be predicted.

        Parameters
        ----------
        data : table, optional
            As for ``predict``.

        Returns
        -------
        index : Index (n,)
            Names of the LLMs.
        codes : int array (n,) or None
            Numbers of the families; None if intercepts are shared.
        x : array (n, p)
            Covariates.
        """
        model = self.model
        if data is None:
            return model.llms, model.family_codes if model.family_intercepts else None, model.design.x
        index, families, x = read_new_llms(model, data, model.family_intercepts)
        return index, None if families is None else self._codes(families), x

    def _codes(self, families: Sequence[str]) -> np.ndarray:
        """Return the numbers (n,) of named families, or raise a `DataError` if one is not in the fit."""
        known = {family: code for code, family in enumerate(self.model.families)}
        unknown = sorted({family for family in families if family not in known})
        if unknown:
            raise DataError(
                f"The families {unknown[:5]} are not in the fit, so that they have no intercept: fit with at least one "
                "LLM of theirs, share the intercepts (family_intercepts=False), or use LatentSkillModel, which "
                "predicts an unseen family from the distribution of families."
            )
        return np.array([known[family] for family in families])
