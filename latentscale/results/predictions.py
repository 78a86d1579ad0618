"""Families, skills and expected scores."""

from functools import cached_property

import numpy as np
import pandas as pd

from ..prediction.posterior import expected_scores, family_posterior, prior_nodes
from ..prediction.residuals import fitted_scores, residual_tests, residuals
from .new_llms import read_new_llms


class Predictions:
    """What ``LatentSkillResults`` says of families and LLMs."""

    @cached_property
    def _posterior(self):
        return family_posterior(self.structure, self.model.user_cells, self.estimate.rule)

    def family_effects(self):
        """Posterior of family effects alpha: DataFrame by (family, skill) with mean, sd, n_llms."""
        model, posterior, k = self.model, self._posterior, len(self.model.skills)
        index = pd.MultiIndex.from_product([model.families, model.skills], names=["family", "skill"])
        counts = np.bincount(model.family_codes, minlength=model.n_families)
        values = {
            "mean": posterior.mean[:, :k].ravel(),
            "sd": posterior.sd[:, :k].ravel(),
            "n_llms": np.repeat(counts, len(model.skills)),
        }
        return pd.DataFrame(values, index=index)

    def family_slopes(self):
        """Posterior of the families' slopes B + Delta_l: DataFrame by (family, term, skill) with mean, sd.

        Only terms with random slopes; the uncertainty of B itself is not in sd.
        """
        model, posterior, k = self.model, self._posterior, len(self.model.skills)
        names = [model.families, model.random_terms, model.skills]
        index = pd.MultiIndex.from_product(names, names=["family", "term", "skill"])
        tau = self.structure.slope_sd.ravel()
        shared = self.slopes.loc[list(model.random_terms)].to_numpy().ravel()
        values = {
            "mean": (shared + tau * posterior.mean[:, k:]).ravel(),
            "sd": (tau * posterior.sd[:, k:]).ravel(),
        }
        return pd.DataFrame(values, index=index)

    def skills(self):
        """Posterior means of skills theta_i, DataFrame (n, K), one row per LLM in the likelihood."""
        model = self.model
        mean, k = self._posterior.mean[model.family_codes], len(model.skills)
        theta = mean[:, :k] + model.design.x @ self.structure.slopes
        for number, tau in enumerate(self.structure.slope_sd):
            z = mean[:, k * (1 + number) : k * (2 + number)]
            theta += model.random_design[:, number, None] * tau * z
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
        random = model.random_covariates(x) if model.random_terms else None
        means = expected_scores(self.structure, x, codes, self._posterior, prior, random)
        return pd.DataFrame(means, index=index, columns=list(model.benchmarks))

    def residuals(self, kind="quantile", seed=0):
        """Residuals of the observed scores, DataFrame (n, J), NaN where a score is missing.

        Parameters
        ----------
        kind : {"quantile", "pearson", "response"}
            Quantile: standard normal under the model, from one draw per family of its effects given its scores.
            Response: y - E[Y | data]; Pearson: the same over its standard deviation.
        seed : int
            Of the draws of quantile residuals.
        """
        model = self.model
        return residuals(
            self.structure, model.user_cells, self.estimate.rule, model.llms, list(model.benchmarks), kind, seed
        )

    def residual_tests(self, kind="quantile", seed=0):
        """Tests of the residuals, one row per benchmark and one overall; see ``residual_tests`` of the module."""
        model = self.model
        shared = (self.structure, model.user_cells, self.estimate.rule, model.llms, list(model.benchmarks), kind, seed)
        return residual_tests(residuals(*shared), fitted_scores(*shared))

    def _read_new(self, data):
        """Index, family codes (-1 unknown) and covariates of a new table."""
        index, families, x = read_new_llms(self.model, data)
        known = {family: code for code, family in enumerate(self.model.families)}
        return index, np.array([known.get(family, -1) for family in families]), x
