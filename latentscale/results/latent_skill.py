"""LatentSkillResults: what a fitted LatentSkillModel reports."""

from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import DataError
from ..inference.covariance import observed_covariance
from ..inference.diagnostics import find_problems
from ..inference.intervals import wald_intervals
from ..inference.wald import t_test, wald_test
from ..prediction.posterior import expected_scores, family_posterior, prior_nodes
from ..tables import read_families, read_llms, read_table, require_columns
from .storage import save_fit
from .summary import summarise


class LatentSkillResults:
    """Results of a fit. Immutable; every table handed out is a new one.

    Attributes
    ----------
    model : LatentSkillModel
    estimate : Estimate
        Everything the optimiser found.
    """

    def __init__(self, model, estimate):
        self.__dict__.update(model=model, estimate=estimate)

    def __setattr__(self, name, value):
        raise AttributeError(f"Results are immutable; cannot set {name!r}.")

    def __repr__(self):
        state = "" if self.converged else ", NOT CONVERGED"
        return f"<LatentSkillResults: llf {self.llf:.4f}, {self.df_model} parameters, {self.estimate.rule}{state}>"

    # --- estimates and their uncertainty -----------------------------------------------------------------------

    @property
    def params(self):
        """Natural parameters, Series (P,)."""
        return pd.Series(self.estimate.params, index=self.model.param_names, name="estimate")

    @cached_property
    def _covariance(self):
        model, estimate = self.model, self.estimate
        return observed_covariance(model.space, model.recoding, estimate.free, estimate.information)

    def cov_params(self):
        """Covariance of the natural parameters (inverse observed information): DataFrame (P, P), NaN where absent."""
        matrix = self._covariance.matrix
        if self.estimate.options["cov_type"] == "none":
            matrix = np.full_like(matrix, np.nan)
        return pd.DataFrame(matrix, index=self.model.param_names, columns=self.model.param_names)

    @property
    def bse(self):
        """Standard errors, Series (P,); NaN where they do not exist."""
        variance = np.diag(self.cov_params())
        return pd.Series(np.sqrt(variance), index=self.model.param_names, name="std_err")

    @property
    def mc_se(self):
        """Monte Carlo standard error of each estimate from the draws, Series (P,); NaN for other rules."""
        in_u = self.estimate.error.params_se
        jacobian = self._covariance.jacobian
        # draws move the coordinates together; without their covariance the sum of sizes bounds the error
        values = np.full(len(jacobian), np.nan) if in_u is None else np.abs(jacobian) @ in_u
        return pd.Series(values, index=self.model.param_names, name="mc_se")

    @property
    def tvalues(self):
        """Wald z statistics against zero, Series (P,)."""
        return (self.params / self.bse).rename("z")

    @property
    def pvalues(self):
        """Two-sided normal p-values of ``tvalues``, Series (P,)."""
        values = 2.0 * stats.norm.sf(np.abs(self.tvalues))
        return pd.Series(values, index=self.model.param_names, name="p_value")

    def conf_int(self, alpha=0.05, method="wald"):
        """Confidence intervals, DataFrame (P, 2) with columns ``lower`` and ``upper``.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        method : {"wald"}
            Endpoints are computed on log phi, Fisher's z of correlations, log of variances and the logit of
            asymptotes, and carried back.
        """
        if method != "wald":
            raise DataError(f"conf_int knows method='wald', not {method!r}.")
        if not 0.0 < alpha < 1.0:
            raise DataError(f"alpha lies between 0 and 1, not {alpha!r}.")
        return wald_intervals(self.params, self.bse, alpha)

    def parameter_table(self, alpha=0.05):
        """One row per free parameter: estimate, std_err, z, p_value, ci_lower, ci_upper, mc_se."""
        interval = self.conf_int(alpha).set_axis(["ci_lower", "ci_upper"], axis=1)
        columns = [self.params, self.bse, self.tvalues, self.pvalues, interval, self.mc_se]
        return pd.concat(columns, axis=1).rename_axis("parameter")

    def t_test(self, hypothesis):
        """Wald tests, one per restriction; a statsmodels ContrastResults.

        Parameters
        ----------
        hypothesis : str, list of str, or array (q, P)
            Such as ``"slope[log(params_b),math] = slope[log(tokens_t),math]"``.
        """
        return t_test(hypothesis, self.params, self.cov_params())

    def wald_test(self, hypothesis):
        """Joint Wald test (chi-square); ``"a = b = 0"`` is two restrictions. A statsmodels ContrastResults."""
        return wald_test(hypothesis, self.params, self.cov_params())

    # --- fit -----------------------------------------------------------------------------------------------------

    @property
    def llf(self):
        """Marginal log-likelihood, without the penalty on asymptotes."""
        return self.estimate.loglike

    @property
    def llf_penalised(self):
        """Marginal log-likelihood with the penalty, what was maximised."""
        return self.estimate.penalised

    @property
    def llf_se(self):
        """Monte Carlo standard error of ``llf``; NaN for rules without draws."""
        return self.estimate.error.se

    @property
    def llf_error(self):
        """``llf_se``, or for the other rules the change of ``llf`` under a finer rule."""
        error = self.estimate.error
        return error.se if np.isfinite(error.se) else error.difference

    @property
    def aic(self):
        """-2 llf + 2 P."""
        return -2.0 * self.llf + 2.0 * self.df_model

    @property
    def bic(self):
        """-2 llf + P log L: families are the independent units."""
        return -2.0 * self.llf + self.df_model * np.log(self.n_families)

    @property
    def nobs(self):
        """Observed scores."""
        return self.model.nobs

    @property
    def n_llms(self):
        """LLMs in the likelihood."""
        return self.model.n_llms

    @property
    def n_families(self):
        """Families in the likelihood, L."""
        return self.model.n_families

    @property
    def df_model(self):
        """Free parameters, P."""
        return self.model.table.size

    @property
    def converged(self):
        """Whether the optimum was reached and the observed information is positive definite."""
        return bool(self.estimate.converged and not self._covariance.weak)

    @property
    def starts(self):
        """One row per start: kind, penalised Laplace log-likelihood, gradient, evaluations, reached_best."""
        return self.estimate.starts.copy()

    @cached_property
    def problems(self):
        """What a reader must know of this fit, tuple of Problem."""
        return find_problems(self.model, self.estimate, self._covariance)

    # --- parameters as tables ------------------------------------------------------------------------------------

    @cached_property
    def structure(self):
        """Parameters as matrices, in the user's covariates."""
        return self.model.table.structure(self.estimate.params)

    @property
    def loadings(self):
        """Lambda, DataFrame (J, K)."""
        return pd.DataFrame(
            self.structure.loadings, index=list(self.model.benchmarks), columns=list(self.model.skills)
        )

    @property
    def intercepts(self):
        """b, Series (J,)."""
        return pd.Series(self.structure.intercepts, index=list(self.model.benchmarks), name="intercept")

    @property
    def slopes(self):
        """B, DataFrame (p, K), per unit of the formula's terms."""
        return pd.DataFrame(
            self.structure.slopes, index=list(self.model.terms), columns=list(self.model.skills)
        )

    @property
    def skill_cov(self):
        """Sigma, DataFrame (K, K)."""
        skills = list(self.model.skills)
        return pd.DataFrame(self.structure.skill_cov, index=skills, columns=skills)

    @property
    def skill_corr(self):
        """Correlations of family effects, DataFrame (K, K)."""
        sd = np.sqrt(np.diag(self.structure.skill_cov))
        return self.skill_cov / np.outer(sd, sd)

    @property
    def precision(self):
        """phi, Series (J,)."""
        return pd.Series(self.structure.precision, index=list(self.model.benchmarks), name="precision")

    @property
    def asymptotes(self):
        """c and d, DataFrame (J, 2) with columns ``lower`` and ``upper``."""
        values = {"lower": self.structure.lower, "upper": self.structure.upper}
        return pd.DataFrame(values, index=list(self.model.benchmarks))

    # --- families, skills, predictions ---------------------------------------------------------------------------

    @cached_property
    def _posterior(self):
        return family_posterior(self.structure, self.model.user_cells, self.estimate.rule)

    def family_effects(self):
        """Posterior of family effects: DataFrame by (family, skill) with mean, sd, n_llms."""
        model, posterior = self.model, self._posterior
        index = pd.MultiIndex.from_product([model.families, model.skills], names=["family", "skill"])
        counts = np.bincount(model.family_codes, minlength=model.n_families)
        values = {
            "mean": posterior.mean.ravel(),
            "sd": posterior.sd.ravel(),
            "n_llms": np.repeat(counts, len(model.skills)),
        }
        return pd.DataFrame(values, index=index)

    def skills(self):
        """Posterior means of skills theta_i, DataFrame (n, K), one row per LLM in the likelihood."""
        model = self.model
        theta = self._posterior.mean[model.family_codes] + model.design.x @ self.structure.slopes
        return pd.DataFrame(theta, index=model.llms, columns=list(model.skills))

    def predict(self, data=None):
        """Mean scores given the data, DataFrame LLM x benchmark.

        Parameters
        ----------
        data : table, optional
            One row per LLM, with the family column and the covariates of the formula; an unknown family is
            predicted from the distribution of families. By default the LLMs in the likelihood.

        Raises
        ------
        DataError
            If columns are absent, or a covariate is missing in some rows.
        """
        model = self.model
        if data is None:
            index, codes, x = model.llms, model.family_codes, model.design.x
        else:
            index, codes, x = self._read_new(data)
        prior = prior_nodes(self.structure, self.estimate.rule)
        means = expected_scores(self.structure, x, codes, self._posterior, prior)
        return pd.DataFrame(means, index=index, columns=list(model.benchmarks))

    def _read_new(self, data):
        """Index, family codes (-1 unknown) and covariates of a new table."""
        model = self.model
        table = read_table(data)
        llm = model.panel.llm
        names = read_llms(table[llm]) if llm in table.columns else range(len(table))
        table = table.set_index(pd.Index(names, name=llm))
        require_columns(
            table,
            [model.panel.family] if isinstance(model.panel.family, str) else model.panel.family,
            "family column",
        )
        known = {family: code for code, family in enumerate(model.families)}
        codes = np.array([known.get(family, -1) for family in read_families(table, model.panel.family)])
        x = model.design.code(table)
        missing = list(table.index[np.isnan(x).any(axis=1)])
        if missing:
            raise DataError(
                f"{len(missing)} LLMs lack a covariate of {model.scaling!r} and cannot be predicted: {missing[:5]}. "
                "Fill in or drop those rows."
            )
        return table.index, codes, x

    # --- reports ---------------------------------------------------------------------------------------------------

    def summary(self, alpha=0.05):
        """statsmodels Summary in blocks; ``as_text``, ``as_html``, ``as_latex``, ``as_csv``."""
        return summarise(self, alpha)

    def save(self, path):
        """Write the fit to one file that ``latentscale.load`` reads; see ``latentscale.results.storage``."""
        save_fit(self, path)
