"""Tests of hypotheses on a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..inference import hypotheses, modification_indices, shared_slopes
from ..inference.hypotheses import check_methods, named_test
from ..inference.likelihood_ratio import lr_test
from ..parameters.restrictions import read_restriction
from .estimates import Estimates

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..inference.hypothesis_test import HypothesisTest
    from .latent_skill import LatentSkillResults

    Hypothesis: TypeAlias = str | Sequence[str] | np.ndarray


class Tests(Estimates):
    """The tests of ``LatentSkillResults``."""

    def lr_test(self, smaller: LatentSkillResults | Hypothesis) -> HypothesisTest:
        """Likelihood-ratio test of a smaller model nested in this one.

        Parameters
        ----------
        smaller : LatentSkillResults, str, list of str or array
            A fit of the smaller model, or a hypothesis, under which this model is then fitted again from its
            estimate.

        Returns
        -------
        HypothesisTest
            Chi-square; chi-bar-square where the smaller model has no random slopes and this one does.

        Raises
        ------
        DataError
            If the fits are not of the same scores, by the same integration rule, or not nested.
        """
        if hasattr(smaller, "estimate"):
            return lr_test(self._results, smaller)
        return self._test_of(smaller, "lr")

    def score_test(self, hypothesis: Hypothesis | None = None) -> pd.DataFrame | HypothesisTest:
        """Score tests: of a hypothesis, or by default of every loading and correlation fixed at zero.

        Parameters
        ----------
        hypothesis : str, list of str or array, optional
            A linear hypothesis; the model is fitted again under it.

        Returns
        -------
        DataFrame
            Modification indices, one row per fixed zero: statistic, df, p_value, expected_change, note; or with a
            hypothesis a HypothesisTest.
        """
        if hypothesis is None:
            return modification_indices.modification_indices(self._results)
        return self._test_of(hypothesis, "score")

    def test_hypothesis(self, hypothesis: Hypothesis, method: str | Sequence[str] = "all") -> HypothesisTest:
        """A linear hypothesis by Wald, likelihood-ratio and score test, side by side.

        Parameters
        ----------
        hypothesis : str, list of str or array
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

        FLOPs are 6 s t, so that log FLOPs = log s + log t + const: the slopes on log s and log t are then equal, and
        those on all other terms of the scaling zero.

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

        Slopes are per unit of a skill, which in anchored and echelon forms is one standard deviation of family
        efficiency; the hypothesis depends on that unit and on the anchors.

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

        Variances are zero under the hypothesis, on the boundary of their space. The score statistic is compared with
        tables simulated under the hypothesis; the likelihood-ratio statistic with its chi-bar-square law, which
        rejects too seldom where few families hold most of what is known of slopes' variances.

        Parameters
        ----------
        terms : str or sequence of str, optional
            Terms whose slopes may vary under the alternative; by default the size's main effect.
        method : {"score", "lr", "all"}
        integration : {"laplace", "monte_carlo", "quadrature"}
            Rule of both log-likelihoods of the likelihood-ratio test.

        Returns
        -------
        HypothesisTest
        """
        return shared_slopes.shared_slopes(self._results, terms, method, integration)
