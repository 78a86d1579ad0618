"""Tests of hypotheses on a fit."""

from ..inference.wald import t_test, wald_test


class Tests:
    """The tests of ``LatentSkillResults``."""

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
