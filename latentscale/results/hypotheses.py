"""Tests of hypotheses about the parameters of a fit, as methods of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from ..inference import hypotheses, modification_indices, shared_slopes
from ..inference.hypotheses import check_methods, named_test
from ..inference.likelihood_ratio import lr_test
from ..parameters.restrictions import read_restriction
from .estimates import Estimates
from .mundlak import mundlak_test

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..inference.hypothesis_test import HypothesisTest
    from .latent_skill import LatentSkillResults

    Hypothesis: TypeAlias = str | Sequence[str] | np.ndarray


class Tests(Estimates):
    """Likelihood-ratio, score and Wald tests of ``LatentSkillResults``."""

    def lr_test(self, smaller: LatentSkillResults | Hypothesis) -> HypothesisTest:
        """Test a smaller model that is nested in this one by the likelihood ratio.

        Parameters
        ----------
        smaller : LatentSkillResults, str, list of str or array
            A fit of the smaller model, or a hypothesis, under which this model is then fitted again from its
            estimate.

        Returns
        -------
        HypothesisTest
            Its p-value is from a chi-square law; from a chi-bar-square law where the smaller model has no random slopes
            and this one does, as their variances are then at the boundary.

        Raises
        ------
        DataError
            If the fits are not of the same scores, by the same integration rule, or not nested.
        """
        if hasattr(smaller, "estimate"):
            return lr_test(self._results, cast("LatentSkillResults", smaller))
        return self._test_of(smaller, "lr")

    def score_test(self, hypothesis: Hypothesis | None = None) -> pd.DataFrame | HypothesisTest:
        """Test a hypothesis, or by default each loading and correlation that is fixed at zero, by the score.

        Parameters
        ----------
        hypothesis : str, list of str or array, optional
            A linear hypothesis; the model is fitted again under it.

        Returns
        -------
        DataFrame
            Without a hypothesis the modification indices, a row per fixed zero: statistic, df, p_value,
            expected_change (of the estimate if it were free) and note. With a hypothesis a HypothesisTest.
        """
        if hypothesis is None:
            return modification_indices.modification_indices(self._results)
        return self._test_of(hypothesis, "score")

    def test_hypothesis(self, hypothesis: Hypothesis, method: str | Sequence[str] = "all") -> HypothesisTest:
        """Test a linear hypothesis by the Wald, likelihood-ratio and score tests, side by side.

        Parameters
        ----------
        hypothesis : str, list of str or array (q, P)
            Such as ``"slope[log(params_b),math] = slope[log(tokens_t),math]"``.
        method : {"all", "wald", "lr", "score"} or a sequence of them

        Returns
        -------
        HypothesisTest
        """
        return self._test_of(hypothesis, check_methods(method))

    def _test_of(self, hypothesis: Hypothesis, method: str | Sequence[str]) -> HypothesisTest:
        restriction = read_restriction(hypothesis, self.model.param_names)
        words = "; ".join(restriction.labels)
        return named_test(self._results, "Linear hypothesis", words, {"hypothesis": restriction}, method)

    def test_no_interaction(self, method: str | Sequence[str] = "wald") -> HypothesisTest:
        """Test that every slope on an interaction term is zero, jointly and skill by skill.

        Parameters
        ----------
        method : {"wald", "lr", "score", "all"} or a sequence of them

        Returns
        -------
        HypothesisTest
        """
        return hypotheses.no_interaction(self._results, method)

    def test_flops_sufficiency(
        self, method: str | Sequence[str] = "wald", size: str | None = None, tokens: str | None = None
    ) -> HypothesisTest:
        """Test that skills depend on size and tokens through training FLOPs alone, jointly and skill by skill.

        Training FLOPs are 6 s t for s parameters and t tokens, so that log FLOPs = log s + log t + const. Under the
        hypothesis the slopes on log s and log t are equal, and the slopes on all other terms of the scaling are zero.

        Parameters
        ----------
        method : {"wald", "lr", "score", "all"} or a sequence of them
        size, tokens : str, optional
            The terms log s and log t; by default the logs of ``params_b`` and ``tokens_t``.

        Returns
        -------
        HypothesisTest
        """
        return hypotheses.flops_sufficiency(self._results, method, size, tokens)

    def test_equal_slopes(self, method: str | Sequence[str] = "wald") -> HypothesisTest:
        """Test that all skills have the same slopes, jointly and term by term.

        Slopes are in units of a skill, which in anchored and echelon forms is one standard deviation of family
        efficiency. The hypothesis depends on that unit and on the anchors.

        Parameters
        ----------
        method : {"wald", "lr", "score", "all"} or a sequence of them

        Returns
        -------
        HypothesisTest
        """
        return hypotheses.equal_slopes(self._results, method)

    def test_shared_slopes(
        self, terms: str | Sequence[str] | None = None, method: str = "score", integration: str = "laplace"
    ) -> HypothesisTest:
        """Test that families share their slopes, against slopes that vary between them (random slopes).

        Under the hypothesis the variances of the slopes are zero, which is the boundary of their space. The score
        statistic is compared with its values on tables that are simulated under the hypothesis. The likelihood-ratio
        statistic is compared with its chi-bar-square law, which rejects too seldom where few families contain most of
        the information about these variances.

        Parameters
        ----------
        terms : str or sequence of str, optional
            Terms whose slopes may vary under the alternative; by default the main effect of size.
        method : {"score", "lr", "all"}
        integration : {"laplace", "monte_carlo", "quadrature"}
            How both log-likelihoods of the likelihood-ratio test are integrated.

        Returns
        -------
        HypothesisTest
        """
        return shared_slopes.shared_slopes(self._results, terms, method, integration)

    def test_mundlak(
        self, terms: str | Sequence[str] | None = None, method: str | Sequence[str] = "wald"
    ) -> HypothesisTest:
        """Test that slopes within families are those between families (Mundlak 1978).

        Family effects are taken to be unrelated to covariates. If they are related, larger families of LLMs being for
        instance those that turn compute into skill better, the slopes are biased. The model is fitted again with the
        family means of the covariates beside the covariates themselves. The slopes on the means are the differences
        of slopes between and within families, and are zero if effects and covariates are unrelated.

        Parameters
        ----------
        terms : str or sequence of str, optional
            Main effects whose family means are tested; by default all that vary within families.
        method : {"wald", "lr", "score", "all"} or a sequence of them

        Returns
        -------
        HypothesisTest
            Jointly over skills and terms and, if there are several terms, term by term. The notes have the differences
            of slopes, by skill, with standard errors.

        Raises
        ------
        DataError
            If the fit has restrictions, or no main effect varies within families.

        Examples
        --------
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
        >>> model = ls.LatentSkillModel(panel, skills=1, scaling="log(params_b) + log(tokens_t)")
        >>> test = model.fit(integration="laplace", starts=1).test_mundlak("log(params_b)")
        >>> test.df
        1
        """
        return mundlak_test(self._results, terms, method)
