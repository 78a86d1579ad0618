"""Family effects, skills, predicted scores and residuals, as methods of the results of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_whole
from ..components.levels import levels_of, ungrouped
from ..errors import DataError
from ..models.new_llms import read_new_llms
from ..planning.next_evaluation import next_evaluation
from ..prediction.marginal_effects import OF, marginal_effects
from ..prediction.posterior import expected_scores, family_posterior, prior_nodes
from ..prediction.predictive import predictive_draws
from ..prediction.residuals import fitted_scores, residual_tests, residuals
from ..tables import read_table
from .estimates import Estimates
from .family_posterior import FamilyPosteriors, contrast_families
from .prediction_results import PredictionResults

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

    from ..downstream.results import DownstreamResults
    from ..planning.next_evaluation import NextEvaluation
    from ..tables import read_table
from ..prediction.posterior import FamilyPosterior


class Predictions(Estimates):
    """Methods of ``LatentSkillResults`` about families and LLMs."""

    @cached_property
    def _posterior(self) -> FamilyPosterior:
        return family_posterior(self.structure, self.model.user_cells, self.estimate.rule)

    def family_effects(self) -> pd.DataFrame:
        """Return the posterior of family effects alpha at the estimates.

        Returns
        -------
        DataFrame
            By (family, skill): mean, sd, n_llms (LLMs of the family in the likelihood).
        """
        model, posterior, k = self.model, self._posterior, len(self.model.skills)
        index = pd.MultiIndex.from_product([model.families, model.skills], names=["family", "skill"])
        counts = np.bincount(model.family_codes, minlength=model.n_families)
        values = {
            "mean": posterior.mean[:, :k].ravel(),
            "sd": posterior.sd[:, :k].ravel(),
            "n_llms": np.repeat(counts, len(model.skills)),
        }
        return pd.DataFrame(values, index=index)

    def family_slopes(self) -> pd.DataFrame:
        """Return the posterior of families' slopes B + Delta_l on the terms with random slopes.

        Returns
        -------
        DataFrame
            By (family, term, skill): mean and sd. The sd is that of Delta_l at the estimates and leaves out the
            uncertainty of B.
        """
        model, posterior, k = self.model, self._posterior, len(self.model.skills)
        names = [model.families, model.random_terms, model.skills]
        index = pd.MultiIndex.from_product(names, names=["family", "term", "skill"])
        last = k * (1 + len(model.random_terms))
        tau = self.slope_sd.to_numpy().ravel()
        shared = self.slopes.loc[list(model.random_terms)].to_numpy().ravel()
        values = {
            "mean": (shared + tau * posterior.mean[:, k:last]).ravel(),
            "sd": (tau * posterior.sd[:, k:last]).ravel(),
        }
        return pd.DataFrame(values, index=index)

    def benchmark_effects(self) -> pd.DataFrame:
        """Return the posterior of families' effects on single benchmarks, beyond their skills, at the estimates.

        Returns
        -------
        DataFrame
            By (family, benchmark): mean and sd, on the scale of the linear predictor, and n, the family's scores on the
            benchmark.

        Raises
        ------
        DataError
            If the model has no ``benchmark_effects``.
        """
        model, posterior = self.model, self._posterior
        families = levels_of(ungrouped(self.structure))[0]
        pairs = [(term, where) for term, where in families.slices if term.particular]
        if not pairs:
            raise DataError("The model has no effects of families on single benchmarks (benchmark_effects=True).")
        term, where = pairs[0]
        scale = term.scale(self.structure)
        cells = model.user_cells
        codes = cells.codes("family")[cells.units("family").of_cell]
        pairs_seen, count = codes * len(model.benchmarks) + cells.item, model.n_families * len(model.benchmarks)
        seen = np.bincount(pairs_seen, minlength=count)
        names = [model.families, model.benchmarks]
        index = pd.MultiIndex.from_product(names, names=["family", "benchmark"])
        values = {
            "mean": (scale * posterior.mean[:, where]).ravel(),
            "sd": (scale * posterior.sd[:, where]).ravel(),
            "n": seen,
        }
        return pd.DataFrame(values, index=index)

    def skills(self) -> pd.DataFrame:
        """Return the posterior means of skills theta_i, DataFrame (n, K), a row per LLM in the likelihood."""
        model, structure = self.model, ungrouped(self.structure)
        outer, *inner = levels_of(structure)
        mean = self._posterior.mean[model.family_codes]
        theta = outer.added(structure, mean, model.random_design) + model.design.x @ structure.slopes
        for level in inner:
            effects = self._posterior.llm_means(model.family_codes, level.size)
            theta = theta + level.added(structure, effects, model.random_design)
        return pd.DataFrame(theta, index=model.llms, columns=list(model.skills))

    def predict(self, data: IntoFrame | None = None) -> pd.DataFrame:
        """Return expected scores given the data, DataFrame of LLMs by benchmarks.

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
            rows, dispersion, groups = np.arange(len(index)), model.dispersion, model.group_codes
        else:
            index, codes, x, rows = self._read_new(data)
            table = read_table(data).set_index(index)
            dispersion, groups = model.dispersion_of(table), model.groups_of(table, codes)
        prior = prior_nodes(self.structure, self.estimate.rule)
        random = model.random_covariates(x)
        means = expected_scores(
            model.score_law, self.structure, x, codes, self._posterior, prior, random, rows, dispersion,
            groups if model.nested else None,
        )  # fmt: skip
        return pd.DataFrame(means, index=index, columns=list(model.benchmarks))

    def marginal_effects(
        self,
        per: str | float = "doubling",
        of: str | Sequence[str] = OF,
        at: Mapping[str, Any] | None = None,
        alpha: float = 0.05,
        size_column: str = "params_b",
        tokens_column: str = "tokens_t",
        size: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return how many points (hundredths) each benchmark rises per doubling of size, of tokens, or of compute.

        Parameters
        ----------
        per : {"doubling", "tenfold"} or float
            The factor.
        of : sequence of {"size", "tokens", "compute"}
            Twice the compute is size and tokens times the root of two each. Effects of covariates that the scaling does
            not have are left out.
        at : mapping, optional
            An LLM, as columns of the scaling to values, with its ``family`` (an unseen one by default). By default
            effects are averaged over the LLMs in the likelihood.
        alpha : float
            One minus the level of the intervals, in (0, 1).
        size_column, tokens_column : str
            Which columns are size and tokens.
        size : int
            Joint draws of parameters and families' effects.
        seed : int

        Returns
        -------
        DataFrame
            By (of, benchmark): points, std_err, ci_lower, ci_upper.

        Raises
        ------
        DataError
            If columns or covariates are missing.
        """
        return marginal_effects(
            self._results, per, of, at, alpha, size_column, tokens_column, size, seed
        )

    def get_prediction(
        self,
        data: IntoFrame | None = None,
        observed: bool | None = None,
        size: int = 4000,
        seed: int = 0,
        uncertainty: str | Sequence[str] = ("parameters", "family", "score"),
    ) -> PredictionResults:
        """Predict expected scores and scores, with their uncertainty.

        Parameters
        ----------
        data : table, optional
            As for ``predict``. LLMs of families in the fit are predicted from p(alpha_l | y_l), LLMs of unseen
            families from N(0, Sigma). By default the LLMs in the likelihood.
        observed : bool, optional
            Whether to condition also on the scores that ``data`` has in columns of the benchmarks. They count for all
            LLMs of the family in ``data``. An LLM of the fit that is named again counts once, with these scores.
        size : int
            Number of draws. They stay in memory, some 50 bytes a draw for each LLM and benchmark (200 kB at 4,000
            draws): ask for very many LLMs a few hundred at a time.
        seed : int
            The draws of a family depend only on the seed, its name and its scores.
        uncertainty : sequence of {"parameters", "family", "score"}
            Sources of uncertainty to include: the estimates (by the delta method with the covariance of the fit, or
            with the inverse expected information if the fit has none); family effects and residual skills of LLMs; the
            variation of a score about its expectation. Sources that are left out are held at their means.

        Returns
        -------
        PredictionResults
            It has ``summary_frame(alpha)``, ``mean``, ``calibration(scores)`` and ``draws``.

        Raises
        ------
        DataError
            If columns are absent or a covariate is missing, for unknown sources, or if the parameters have no
            covariance.

        Warns
        -----
        UserWarning
            If a positive covariate, such as a size, is more than ten times beyond its range in the fit.

        Examples
        --------
        >>> import pandas as pd
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
        >>> fit = ls.LatentSkillModel(panel, "log(params_b)", skills=1).fit(integration="laplace", starts=1)
        >>> new = pd.DataFrame({"model": ["next-13b"], "family": ["unseen"], "params_b": [13.0], "bbh": [0.45]})
        >>> frame = fit.get_prediction(new, observed=True).summary_frame()
        >>> frame.set_index("benchmark")[["mean", "obs_ci_lower", "obs_ci_upper"]].round(1).loc["mmlu"].tolist()
        [0.6, 0.4, 0.7]
        """
        draws = predictive_draws(self._results, data, bool(observed), size, seed, uncertainty)
        return PredictionResults(draws, self.model.panel.llm)

    def family_posteriors(self, draws: int = 4096, seed: int = 0) -> FamilyPosteriors:
        """Return the posterior of every family's effects at the estimates, by importance sampling.

        Parameters
        ----------
        draws : int
            Weighted draws of each family, a power of two.
        seed : int

        Returns
        -------
        FamilyPosteriors
            It has ``moments()`` with effective sample sizes, ``correlation(family)``, ``quantiles(levels)``,
            ``draws(family)`` and ``to_arviz()``.
        """
        return FamilyPosteriors(self._results, draws, seed)

    def family_posterior(self, family: str, size: int = 4000, seed: int = 0) -> pd.DataFrame:
        """Return draws from p(alpha_l | y_l) of one family at the estimates, DataFrame (size, K)."""
        check_whole("size", size, 1)
        return FamilyPosteriors(self._results, 4096, seed).draws(family, size)

    def contrast(
        self,
        first: str,
        second: str,
        at: dict[str, Any] | IntoFrame | None = None,
        alpha: float = 0.05,
        size: int = 4000,
        seed: int = 0,
        uncertainty: str | Sequence[str] = ("parameters", "family"),
    ) -> pd.DataFrame:
        """Compare two families: the first minus the second, skill by skill.

        Parameters
        ----------
        first, second : str
            Families of the fit.
        at : dict or table, optional
            Covariates of an LLM, such as ``{"params_b": 7, "tokens_t": 2}``, or a row for each family. The expected
            scores of such LLMs are then compared as well.
        alpha : float
            One minus the level of the intervals.
        size, seed, uncertainty
            As for ``get_prediction``, without "score".

        Returns
        -------
        DataFrame
            One row per skill (and benchmark): kind, difference (first minus second; effects in units of the skill,
            expected scores as fractions), se, ci_lower, ci_upper, p_greater (share of draws above zero).

        Raises
        ------
        DataError
            For families that are not in the fit.
        """
        return contrast_families(self._results, first, second, at, alpha, size, seed, uncertainty)

    def next_evaluation(
        self,
        data: IntoFrame | None = None,
        target: str | Mapping[str, float] | DownstreamResults | None = None,
        **options: Any,
    ) -> NextEvaluation:
        """Find the benchmark whose score would tell most about a target, for LLMs that lack some scores.

        Parameters
        ----------
        data : table, optional
            LLMs with the scores that are known; by default the LLMs in the likelihood that lack a score.
        target : str, dict or DownstreamResults
            A skill, a benchmark, a weighted mean of these, or a regression on the skills of this fit.
        **options
            ``candidates``, ``costs``, ``size``, ``outcomes``, ``seed``, ``uncertainty``; see
            ``latentscale.planning.next_evaluation``.

        Returns
        -------
        NextEvaluation
        """
        return next_evaluation(self._results, data, target, **options)

    def residuals(self, kind: str = "quantile", seed: int = 0) -> pd.DataFrame:
        """Return residuals of the observed scores, DataFrame (n, J), NaN where a score is missing.

        Parameters
        ----------
        kind : {"quantile", "pearson", "response"}
            Quantile residuals are standard normal under the model; they are computed at one posterior draw of each
            family's effects. Response residuals are y - E[Y | data], Pearson residuals these over their standard
            deviation.
        seed : int
            Seed of the draws of quantile residuals.
        """
        model = self.model
        return residuals(
            self.structure, model.user_cells, self.estimate.rule, model.llms, list(model.benchmarks), kind, seed
        )

    def residual_tests(self, kind: str = "quantile", seed: int = 0) -> pd.DataFrame:
        """Test the residuals, a row per benchmark and one overall; see ``prediction.residuals.residual_tests``."""
        model = self.model
        shared = (self.structure, model.user_cells, self.estimate.rule, model.llms, list(model.benchmarks), kind, seed)
        return residual_tests(residuals(*shared), fitted_scores(*shared))

    def _read_new(self, data: IntoFrame) -> tuple[pd.Index, np.ndarray, np.ndarray, np.ndarray]:
        """Return names (m,), family codes (m,), covariates (m, p) and rows in the likelihood (m,) of a new table.

        The code of an unknown family and the row of a new LLM are -1.
        """
        model = self.model
        index, families, x = read_new_llms(model, data)
        known = {family: code for code, family in enumerate(model.families)}
        codes = np.array([known.get(family, -1) for family in families or ()])
        fitted = {key: row for row, key in enumerate(zip(model.family_codes, model.llms, strict=True))}
        return index, codes, x, np.array([fitted.get(key, -1) for key in zip(codes, index, strict=True)])
