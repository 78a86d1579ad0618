"""LatentSkillResults: what a fitted LatentSkillModel reports."""

from .estimates import Estimates
from .hypotheses import Tests
from .parameter_plots import ParameterPlots
from .prediction_plots import PredictionPlots
from .predictions import Predictions
from .reporting import Reports
from .storage import save_fit
from .summary import summarise
from .tables import Tables
from .uncertainty import Uncertainty


class LatentSkillResults(Estimates, Uncertainty, Tests, Predictions, ParameterPlots, PredictionPlots, Reports, Tables):
    """Results of a fit. Immutable; every table handed out is a new one.

    Attributes
    ----------
    model : LatentSkillModel
    estimate : Estimate
        Everything the optimiser found.
    covariance : Covariance
        Of the natural parameters: what standard errors, tests and intervals use.
    """

    def __init__(self, model, estimate, covariance=None):
        self.__dict__.update(model=model, estimate=estimate)
        self.__dict__["covariance"] = self._default_covariance() if covariance is None else covariance

    def __setattr__(self, name, value):
        raise AttributeError(f"Results are immutable; cannot set {name!r}.")

    def __repr__(self):
        state = "" if self.converged else ", NOT CONVERGED"
        return f"<LatentSkillResults: llf {self.llf:.4f}, {self.df_model} parameters, {self.estimate.rule}{state}>"

    # --- rotation ---------------------------------------------------------------------------------------------------

    def rotate(self, method="geomin", names=None, **options):
        """New results with rotated skills, their standard errors by the delta method.

        Parameters
        ----------
        method : {"geomin", "oblimin", "quartimin", "varimax", "promax", "target"}
        names : sequence of str, optional
            Names of the rotated skills; ``skill1``, ``skill2``, ... by default, in the order of descending sums of
            squared loadings, signs such that the loadings of each sum to a positive number.
        **options
            ``oblique``, ``normalize``, ``starts``, ``seed``, and the options of the method, as in
            ``latentscale.rotate_loadings``.

        Returns
        -------
        RotatedResults

        Raises
        ------
        DataError
            If the loadings cannot be rotated, or slopes vary between families.
        """
        from .rotated import rotate_fit

        return rotate_fit(self, method, names, options)

    # --- reports ---------------------------------------------------------------------------------------------------

    def summary(self, alpha=0.05):
        """statsmodels Summary in blocks; ``as_text``, ``as_html``, ``as_latex``, ``as_csv``."""
        return summarise(self, alpha)

    def save(self, path):
        """Write the fit to one file that ``latentscale.load`` reads; see ``latentscale.results.storage``."""
        save_fit(self, path)
