"""SlothResults: what a fitted SlothModel or BenchmarkLaws reports."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..checks import check_one_of
from ..errors import ConvergenceWarning, DataError
from ..inference.diagnostics import Problem
from ..inference.named_estimates import NamedEstimates
from ..models.new_llms import read_new_llms
from ..numerics.monotone import CENTRES
from ..results.latex import read_stars
from ..results.prediction_results import PredictionResults
from ..results.tables import glance, latex_table, tidy
from .covariance import free_parameters, sloth_covariance
from .fit import COV_TYPES
from .predictive import predictor, sloth_draws
from .standardised import (
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
    from .fit import SlothEstimate
    from .model import BenchmarkLaws, SlothModel
    from .standardised import Report

_SHOWN = 8


class SlothResults(NamedEstimates):
    """Results of a fit by the least mean Huber loss. Immutable; every table handed out is a new one.

    Attributes
    ----------
    model : SlothModel or BenchmarkLaws
    estimate : SlothEstimate
        Everything the optimiser found, before skills are standardised.
    """

    model: "SlothModel | BenchmarkLaws"
    estimate: "SlothEstimate"
    cov_type: str
    _given: "Report | None"

    def __init__(self, model, estimate, report=None, cov_type=None):
        kind = estimate.options["cov_type"] if cov_type is None else cov_type
        self.__dict__.update(model=model, estimate=estimate, cov_type=kind, _given=report)

    def __repr__(self):
        state = "" if self.converged else ", NOT CONVERGED"
        return f"<SlothResults: mean Huber loss {self.loss:.6f}, {self.df_model} parameters{state}>"

    @cached_property
    def report(self):
        """Skills as they are reported; made when first asked for, as predictions do not need them."""
        if self._given is not None:
            return self._given
        model, estimate = self.model, self.estimate
        if model.per_benchmark:
            return plain_report(estimate)
        if model.positive_slopes or not reportable(model, plain_report(estimate).parts):
            return scaled_report(model, estimate)
        return rotated_report(model, estimate)

    # --- fit --------------------------------------------------------------------------------

    @property
    def loss(self):
        """Mean Huber loss over the observed scores, without penalties."""
        return self.estimate.loss

    @property
    def loss_penalised(self):
        """Mean Huber loss with penalties, what was minimised."""
        return self.estimate.penalised

    @property
    def ridge(self):
        """Weight of the ridge used; 0 for none."""
        return self.estimate.ridge

    @property
    def nobs(self):
        """Observed scores."""
        return self.model.nobs

    @property
    def n_llms(self):
        """LLMs in the loss."""
        return self.model.n_llms

    @property
    def n_families(self):
        """Families in the loss."""
        return self.model.n_families

    @property
    def df_model(self):
        """Free parameters: those of the optimiser less those in which skills are free."""
        return sum(free_parameters(piece.objective, piece.vector) for piece in self.estimate.pieces)

    @property
    def converged(self):
        """Whether a minimum was reached; there is none if expected scores run away and no ridge stops them."""
        estimate = self.estimate
        return bool(estimate.converged and (estimate.automatic or not estimate.runaway))

    @property
    def starts(self):
        """One row per start: kind, penalised loss, gradient, iterations, reached_best."""
        return self.estimate.starts.copy()

    @cached_property
    def problems(self):
        """What a reader must know of this fit, tuple of Problem."""
        found, estimate = [], self.estimate
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
            found.append(Problem(message, (), ConvergenceWarning))
        if not self.model.per_benchmark and self.model.thin_families:
            message = (
                f"The families {list(self.model.thin_families[:_SHOWN])} have scores on fewer benchmarks than there "
                "are skills, so that their intercepts are not determined, and nothing that is standardised over all "
                "LLMs has a standard error: leave these families out, or take fewer skills."
            )
            found.append(Problem(message, (), ConvergenceWarning))
        if not estimate.converged and (estimate.automatic or not estimate.runaway):
            message = (
                f"The minimum was not reached: the largest derivative of the mean loss is {estimate.gradient:.1e}. "
                "Take more starts, or a ridge."
            )
            found.append(Problem(message, (), ConvergenceWarning))
        return tuple(found)

    # --- parameters -------------------------------------------------------------------------

    @cached_property
    def parameters(self):
        """The reported parameters with their kinds and labels: a ``latentscale.parameters.named.Parameters``."""
        return report_parameters(self.model, self.report)

    @property
    def params(self):
        """Reported parameters, Series (P,)."""
        values = report_values(self.model, self.report.parts)
        return pd.Series(values, index=list(self.parameters.names), name="estimate")

    @cached_property
    def covariance(self):
        """SlothCovariance of the reported parameters."""
        return sloth_covariance(self.model, self.estimate, self.report, self.cov_type)

    @property
    def _covariance_matrix(self):
        return self.covariance.matrix

    def get_robust(self, cov_type="cluster"):
        """New results with families ("cluster") or LLMs ("llm") as independent units, or without ("none")."""
        check_one_of("cov_type", cov_type, COV_TYPES)
        other = SlothResults(self.model, self.estimate, self._given, cov_type)
        if "report" in self.__dict__:
            other.__dict__["report"] = self.report
        return other

    def rotate(self, method="geomin", names=None, **options):
        """New results with rotated skills, their standard errors by the delta method through the rotation.

        Parameters
        ----------
        method : {"geomin", "oblimin", "quartimin", "varimax", "promax", "target"}
        names : sequence of str, optional
            Names of the rotated skills; ``skill1``, ``skill2``, ... by default, in the order of descending sums of
            squared loadings, each correlated positively with the first term over the LLMs.
        **options
            ``oblique``, ``normalize``, ``starts``, ``seed``, and the options of the method, as in
            ``latentscale.rotate_loadings``; a target is an array (J, K).

        Returns
        -------
        SlothResults

        Raises
        ------
        DataError
            For laws of single benchmarks, fits with ``positive_slopes``, whose restriction is on the axes of the fit,
            and skills that are combinations of each other.
        """
        model = self.model
        if model.per_benchmark:
            raise DataError("Laws of single benchmarks have no skills to rotate; use SlothModel.")
        if model.positive_slopes:
            raise DataError("positive_slopes restricts slopes in the axes of the fit: fit without it to rotate.")
        if not reportable(model, plain_report(self.estimate).parts):
            raise DataError(f"The {model.n_skills} skills are combinations of fewer: fit with a smaller n_skills.")
        if names is not None:
            names = tuple(map(str, names))
            if len(set(names)) != model.n_skills or len(names) != model.n_skills:
                raise DataError(f"A rotation of {model.n_skills} skills needs a name for each, not {list(names)}.")
            model = model.replaced(skills=names)
        report = rotated_report(model, self.estimate, method, **options)
        return SlothResults(model, self.estimate, report, self.cov_type)

    # --- tables ----------------------------------------------------------------------------------------------------

    def tidy(self, alpha=0.05):
        """One row per parameter, as of a LatentSkillResults."""
        return tidy(self, alpha)

    def glance(self):
        """One row: sizes, criteria and state of the fit, as of a LatentSkillResults."""
        return glance(self)

    def to_latex(self, kind="loadings", digits=2, stars=False, caption=None, label=None, environment=True):
        """LaTeX tables, as of a LatentSkillResults; there are none of tests."""
        return latex_table(self, kind, digits, read_stars(stars)).render(caption, label, environment)

    def summary(self, alpha=0.05):
        """statsmodels Summary in blocks; ``as_text``, ``as_html``, ``as_latex``, ``as_csv``."""
        return summarise_sloth(self, alpha)

    def save(self, path):
        """Write the fit to one file that ``latentscale.load`` reads; see ``latentscale.loading``.

        Raises
        ------
        DataError
            For rotated results: save the fit, and rotate it again after loading.
        """
        save_sloth(self, path)

    @property
    def rotated(self):
        """Whether these are results of ``rotate``."""
        return self._given is not None

    @property
    def loadings(self):
        """Lambda of standardised skills, DataFrame (J, K); the identity for laws."""
        return pd.DataFrame(self.report.parts.loadings, list(self.model.benchmarks), list(self.model.skills))

    @property
    def slopes(self):
        """B, DataFrame (p, K), per unit of the formula's terms."""
        return pd.DataFrame(self.report.parts.slopes, list(self.model.terms), list(self.model.skills))

    @property
    def intercepts(self):
        """b, Series (J,); zero for laws whose families have intercepts of their own."""
        return pd.Series(self.report.parts.intercepts, list(self.model.benchmarks), name="intercept")

    @property
    def skill_corr(self):
        """Correlations of skills over LLMs, DataFrame (K, K)."""
        corr = self.report.parts.corr
        if corr is None:
            return self.skills().corr()
        return pd.DataFrame(corr, list(self.model.skills), list(self.model.skills))

    @property
    def family_intercepts(self):
        """a, DataFrame (L, K); None where intercepts are shared."""
        effects = self.report.parts.effects
        if effects is None:
            return None
        return pd.DataFrame(effects, pd.Index(self.model.families, name="family"), list(self.model.skills))

    @property
    def asymptotes(self):
        """c and d, DataFrame (J, 2) with columns ``lower`` and ``upper``."""
        response, phi = self.model.response, self.estimate.phi
        return pd.DataFrame({"lower": response.lower(phi), "upper": response.upper(phi)}, list(self.model.benchmarks))

    @property
    def link_table(self):
        """Slopes rho of the spline links by benchmark and centre, DataFrame (J, M); None for the logistic link."""
        rho = self.model.response.slopes(self.estimate.phi)
        if rho is None:
            return None
        return pd.DataFrame(rho, list(self.model.benchmarks), pd.Index(CENTRES, name="centre"))

    def skills(self):
        """theta, DataFrame (n, K): mean zero and unit variance over the LLMs of the fit."""
        theta = skills_of(self.model, self.report.parts)
        if self.report.turn is not None:
            theta = theta - theta.mean(axis=0)
        return pd.DataFrame(theta, self.model.llms, list(self.model.skills))

    # --- predictions ------------------------------------------------------------------------

    def predict(self, data=None):
        """Expected scores, DataFrame LLM x benchmark.

        Parameters
        ----------
        data : table, optional
            One row per LLM, with the family column (where families have intercepts) and the covariates of the formula.
            By default the LLMs of the fit.

        Raises
        ------
        DataError
            If columns are absent, a covariate is missing, or a family is unknown, which has no intercept.
        """
        model, estimate = self.model, self.estimate
        index, codes, x = self.locate(data)
        mean = model.response.mean(predictor(model, estimate, x, codes), estimate.phi)
        return pd.DataFrame(mean, index=index, columns=list(model.benchmarks))

    def get_prediction(self, data=None, observed=None, size=2000, seed=0, uncertainty=("parameters", "score")):
        """Expected scores and scores with their uncertainty.

        Expected scores follow the sandwich covariance by the delta method on the logit scale; families are independent
        units, or LLMs for ``cov_type="llm"``. Recorded scores vary about them as the benchmark's residuals do on the
        angle 2 arcsin sqrt(y), after correction for what the fit took from them; see ``latentscale.sloth.predictive``.
        Slopes that vary between families are not in it.

        Parameters
        ----------
        data : table, optional
            As for ``predict``.
        observed : None or False
            Nothing else: skills have no distribution here that scores of new LLMs could be weighed against.
        size : int
            Draws.
        seed : int
        uncertainty : sequence of {"parameters", "score"}
            Sources of uncertainty to take in.

        Returns
        -------
        PredictionResults
            ``summary_frame(alpha)`` has the intervals; NaN where predictions are not determined.

        Raises
        ------
        DataError
            As ``predict``, and for options that make no sense.

        Warns
        -----
        ConvergenceWarning
            If predictions are not determined, or have standard errors above 3 logits, naming families.

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

    def residuals(self):
        """Observed minus expected scores, DataFrame (n, J), NaN where a score is missing."""
        return self.model.y - self.predict()

    def locate(self, data=None):
        """Names, families and covariates of LLMs to be predicted.

        Parameters
        ----------
        data : table, optional
            As for ``predict``.

        Returns
        -------
        index : Index (n,)
        codes : int array (n,) or None
            Families by number; None where intercepts are shared.
        x : array (n, p)
        """
        model = self.model
        if data is None:
            return model.llms, model.family_codes if model.family_intercepts else None, model.design.x
        index, families, x = read_new_llms(model, data, model.family_intercepts)
        return index, None if families is None else self._codes(families), x

    def _codes(self, families):
        known = {family: code for code, family in enumerate(self.model.families)}
        unknown = sorted({family for family in families if family not in known})
        if unknown:
            raise DataError(
                f"The families {unknown[:5]} are not in the fit, so that they have no intercept: fit with at least one "
                "LLM of theirs, share the intercepts (family_intercepts=False), or use LatentSkillModel, which "
                "predicts an unseen family from the distribution of families."
            )
        return np.array([known[family] for family in families])
