"""LatentSkillResults, what a fitted LatentSkillModel reports, and RotatedResults, the same fit with rotated skills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from ..components.identification import Pattern
from ..errors import DataError
from ..inference.covariance import Covariance
from ..inference.rotation import rotate_structure, rotated_table, rotation_jacobian
from .hypotheses import Tests
from .parameter_plots import ParameterPlots
from .prediction_plots import PredictionPlots
from .predictions import Predictions
from .reporting import Reports
from .saving import save_fit
from .summary import summarise
from .tables import Tables
from .uncertainty import Uncertainty

if TYPE_CHECKING:
    from os import PathLike

    from narwhals.typing import IntoFrame

    from ..estimation.estimate import Estimate
    from ..inference.covariance import Observed
    from ..inference.diagnosis import Diagnosis
    from ..inference.fit_problems import Problem
    from ..inference.goodness_of_fit import GoodnessOfFit
    from ..model import LatentSkillModel
    from ..numerics.rotation import Rotation
    from ..parameters.table import ParameterTable
    from ..prediction.posterior import FamilyPosterior
    from .prediction_results import PredictionResults
    from .summary_tables import SkillSummary


class LatentSkillResults(Uncertainty, Tests, Predictions, ParameterPlots, PredictionPlots, Reports, Tables):
    """Results of a fit. Immutable; every table handed out is a new one.

    Attributes
    ----------
    model : LatentSkillModel
    estimate : Estimate
        What the optimiser returned.
    covariance : Covariance
        Of the parameters in ``params``; standard errors, Wald tests and intervals use it.
    """

    def __init__(self, model: LatentSkillModel, estimate: Estimate, covariance: Covariance | None = None) -> None:
        self.__dict__.update(model=model, estimate=estimate)
        self.__dict__["covariance"] = self._default_covariance() if covariance is None else covariance

    def __repr__(self) -> str:
        state = "" if self.converged else ", NOT CONVERGED"
        return f"<LatentSkillResults: llf {self.llf:.4f}, {self.df_model} parameters, {self.estimate.rule}{state}>"

    # --- rotation ---------------------------------------------------------------------------------------------------

    def rotate(self, method: str = "geomin", names: Sequence[str] | None = None, **options: Any) -> RotatedResults:
        """Return new results with rotated skills, their standard errors by the delta method.

        Parameters
        ----------
        method : {"geomin", "oblimin", "quartimin", "varimax", "promax", "target"}
        names : sequence of str, optional
            Names of the rotated skills, by default ``skill1``, ``skill2``, ... They are in descending order of their
            sums of squared loadings, with signs that make the sum of each skill's loadings positive.
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
        return rotate_fit(self, method, names, options)

    # --- reports ---------------------------------------------------------------------------------------------------

    def summary(self, alpha: float = 0.05, goodness_of_fit: GoodnessOfFit | None = None) -> SkillSummary:
        """Return a statsmodels Summary with ``as_text``, ``as_html``, ``as_latex``, ``as_csv``.

        Parameters
        ----------
        alpha : float
            One minus the level of its intervals.
        goodness_of_fit : GoodnessOfFit, optional
            What ``fit.goodness_of_fit()`` found. The summary says on its first lines whether the data reject the model,
            or that this was not examined.
        """
        return summarise(self, alpha, goodness_of_fit)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fit to one file that ``latentscale.load`` reads; see ``latentscale.loading``."""
        save_fit(self, path)


def rotate_fit(
    fit: LatentSkillResults, method: str, names: Sequence[str] | None, options: Mapping[str, Any]
) -> RotatedResults:
    """Return the rotated results of a fit; see ``LatentSkillResults.rotate``."""
    options = dict(options)
    if method == "target" and "weights" not in options and isinstance(options.get("target"), pd.DataFrame):
        names = list(options["target"].columns) if names is None else names
    matrices = {name: _aligned(options[name], name, fit) for name in ("target", "weights") if name in options}
    structure, rotation = rotate_structure(fit.structure, method, **(options | matrices))
    table = rotated_table(fit.model.table, rotation, names)
    jacobian = rotation_jacobian(fit.model.table, table, fit.params.to_numpy(), rotation)
    matrix = jacobian @ fit.covariance.matrix @ jacobian.T
    covariance = Covariance(matrix, fit.covariance.kind, fit.covariance.description + ", carried to rotated skills")
    estimate = replace(fit.estimate, params=table.natural(structure))
    model = _rotated_model(fit.model, table, rotation)
    return RotatedResults(model, estimate, covariance, fit, rotation, jacobian, (method, names, options))


def _aligned(matrix: Any, name: str, fit: LatentSkillResults) -> Any:
    """Return a target or its weights as an array (J, K), rows in the order of the model's benchmarks."""
    if not isinstance(matrix, pd.DataFrame):
        return matrix
    missing = [benchmark for benchmark in fit.model.benchmarks if benchmark not in matrix.index]
    if missing:
        raise DataError(f"{name} lacks the benchmarks {missing}.")
    return matrix.loc[list(fit.model.benchmarks)].to_numpy(dtype=float)


def _rotated_model(model: LatentSkillModel, table: ParameterTable, rotation: Rotation) -> LatentSkillModel:
    """Return a copy of the model that names and describes the rotated skills; it cannot be fitted."""
    k = len(table.skills)
    fixed = np.full((len(model.benchmarks), k), np.nan)
    pattern = Pattern(
        table.skills, fixed, bool(rotation.oblique), np.zeros(k, dtype=bool), ((),) * k, f"{rotation.method} rotation"
    )
    return model.replaced(table=table, pattern=pattern)


class RotatedResults(LatentSkillResults):
    """A fit with rotated skills. Predictions, log-likelihood and information criteria are those of the fit itself.

    Standard errors of loadings, slopes and correlations come from the covariance of the fit by the delta method through
    the rotation (Jennrich 1973). The resulting covariance is singular, because rotated loadings satisfy the first-order
    conditions of the rotation criterion. Wald tests, tables and summaries work as for any fit. Methods that fit the
    model again (profiles, likelihood-ratio and score tests, bootstrap) are refused: call them on ``source``.

    Attributes
    ----------
    source : LatentSkillResults
        The fit that was rotated.
    rotation : Rotation
        The transformation, the value of the criterion, and its local minima.
    jacobian : array (P', P)
        Derivatives of the rotated parameters with respect to those of ``source``.
    recipe : tuple
        The arguments ``method``, ``names`` and ``options`` of ``rotate``.
    """

    source: LatentSkillResults
    rotation: Rotation
    jacobian: np.ndarray
    recipe: tuple[str, Any, dict[str, Any]]

    def __init__(
        self,
        model: LatentSkillModel,
        estimate: Estimate,
        covariance: Covariance,
        source: LatentSkillResults,
        rotation: Rotation,
        jacobian: np.ndarray,
        recipe: tuple[str, Any, dict[str, Any]],
    ) -> None:
        self.__dict__.update(source=source, rotation=rotation, jacobian=jacobian, recipe=recipe)
        super().__init__(model, estimate, covariance)

    @property
    def observed(self) -> Observed:
        """The inverse observed information of the fit, for its parameters before rotation."""
        return self.source.observed

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What speaks against trusting the fit, tuple of Problem."""
        return self.source.problems

    @property
    def mc_se(self) -> pd.Series:
        """Monte Carlo standard error of each rotated estimate, Series; NaN if nothing was integrated by Monte Carlo."""
        coordinate_se = self.estimate.error.params_se
        jacobian = self.jacobian @ self.observed.jacobian
        values = np.full(len(jacobian), np.nan) if coordinate_se is None else np.abs(jacobian) @ coordinate_se
        return pd.Series(values, index=self.model.param_names, name="mc_se")

    @cached_property
    def minima(self) -> pd.DataFrame:
        """The local minima of the rotation criterion, with the number of starts that ended in each."""
        return self.rotation.minima

    def rotate(self, method: str = "geomin", names: Sequence[str] | None = None, **options: Any) -> RotatedResults:
        """Return another rotation of the same fit, not of these rotated skills."""
        return self.source.rotate(method, names, **options)

    def get_robust(self, cov_type: str = "cluster", **options: Any) -> RotatedResults:
        """Return the same rotation with another covariance of the fit's estimates."""
        method, names, rotation = self.recipe
        return self.source.get_robust(cov_type, **options).rotate(method, names, **rotation)

    @cached_property
    def _posterior(self) -> FamilyPosterior:
        """The posterior nodes of the fit, rotated, so that results do not depend on the position of a new grid."""
        posterior, root = self.source._posterior, np.linalg.cholesky(self.source.structure.skill_cov)
        turn = np.linalg.solve(root.T, np.asarray(self.rotation.transform))
        return replace(posterior, alpha=posterior.alpha @ turn)

    def predict(self, data: IntoFrame | None = None) -> pd.DataFrame:
        """Return the expected scores of the fit: they do not depend on the rotation."""
        return self.source.predict(data)

    def get_prediction(self, *args: Any, **options: Any) -> PredictionResults:
        """Return the predictions of the fit: a rotation of the skills does not change the law of the scores."""
        return self.source.get_prediction(*args, **options)

    def residuals(self, kind: str = "quantile", seed: int = 0) -> pd.DataFrame:
        """Return the residuals of the fit: they do not depend on the rotation."""
        return self.source.residuals(kind, seed)

    def residual_tests(self, kind: str = "quantile", seed: int = 0) -> pd.DataFrame:
        """Return the tests of the residuals of the fit."""
        return self.source.residual_tests(kind, seed)

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{what} fits again, which rotated skills do not allow; ask it of the fit: rotated.source.{what}."
        )

    def bootstrap(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse with a DataError: call it on ``source``."""
        self._refuse("bootstrap")

    def profile(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse with a DataError: call it on ``source``."""
        self._refuse("profile")

    def lr_test(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse with a DataError: call it on ``source``."""
        self._refuse("lr_test")

    def score_test(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse with a DataError: call it on ``source``."""
        self._refuse("score_test")

    def test_shared_slopes(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse with a DataError: call it on ``source``."""
        self._refuse("test_shared_slopes")

    def test_mundlak(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse with a DataError: call it on ``source``."""
        self._refuse("test_mundlak")

    def diagnose(self, goodness_of_fit: GoodnessOfFit | bool = True) -> Diagnosis:
        """Return the Diagnosis of the fit."""
        return self.source.diagnose(goodness_of_fit)
