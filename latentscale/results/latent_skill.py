"""LatentSkillResults: what a fitted LatentSkillModel reports; RotatedResults, the same law with other skills."""

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

    from ..estimation.fit import Estimate
    from ..inference.covariance import Observed
    from ..inference.diagnosis import Diagnosis
    from ..inference.diagnostics import Problem
    from ..model import LatentSkillModel
    from ..numerics.rotation import Rotation
    from ..parameters.table import ParameterTable
    from ..prediction.posterior import FamilyPosterior
    from .prediction import PredictionResults
    from .summary import SkillSummary


class LatentSkillResults(Uncertainty, Tests, Predictions, ParameterPlots, PredictionPlots, Reports, Tables):
    """Results of a fit. Immutable; every table handed out is a new one.

    Attributes
    ----------
    model : LatentSkillModel
    estimate : Estimate
        Everything the optimiser found.
    covariance : Covariance
        Of the natural parameters: what standard errors, tests and intervals use.
    """

    def __init__(self, model: LatentSkillModel, estimate: Estimate, covariance: Covariance | None = None) -> None:
        self.__dict__.update(model=model, estimate=estimate)
        self.__dict__["covariance"] = self._default_covariance() if covariance is None else covariance

    def __repr__(self) -> str:
        state = "" if self.converged else ", NOT CONVERGED"
        return f"<LatentSkillResults: llf {self.llf:.4f}, {self.df_model} parameters, {self.estimate.rule}{state}>"

    # --- rotation ---------------------------------------------------------------------------------------------------

    def rotate(self, method: str = "geomin", names: Sequence[str] | None = None, **options: Any) -> RotatedResults:
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
        return rotate_fit(self, method, names, options)

    # --- reports ---------------------------------------------------------------------------------------------------

    def summary(self, alpha: float = 0.05) -> SkillSummary:
        """statsmodels Summary in blocks; ``as_text``, ``as_html``, ``as_latex``, ``as_csv``."""
        return summarise(self, alpha)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fit to one file that ``latentscale.load`` reads; see ``latentscale.loading``."""
        save_fit(self, path)


def rotate_fit(
    fit: LatentSkillResults, method: str, names: Sequence[str] | None, options: Mapping[str, Any]
) -> RotatedResults:
    """RotatedResults of a fit; see ``LatentSkillResults.rotate``."""
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
    """A target as an array (J, K) in the order of the model's benchmarks."""
    if not isinstance(matrix, pd.DataFrame):
        return matrix
    missing = [benchmark for benchmark in fit.model.benchmarks if benchmark not in matrix.index]
    if missing:
        raise DataError(f"{name} lacks the benchmarks {missing}.")
    return matrix.loc[list(fit.model.benchmarks)].to_numpy(dtype=float)


def _rotated_model(model: LatentSkillModel, table: ParameterTable, rotation: Rotation) -> LatentSkillModel:
    """The model with rotated skills; it describes, and is not fitted."""
    k = len(table.skills)
    fixed = np.full((len(model.benchmarks), k), np.nan)
    pattern = Pattern(
        table.skills, fixed, bool(rotation.oblique), np.zeros(k, dtype=bool), ((),) * k, f"{rotation.method} rotation"
    )
    return model.replaced(table=table, pattern=pattern)


class RotatedResults(LatentSkillResults):
    """A fit with rotated skills. Predictions, log-likelihood and criteria are those of the fit.

    Standard errors of loadings, slopes and correlations are by the delta method through the rotation (Jennrich
    1973), from whatever covariance the fit had; the covariance is singular, as rotated loadings satisfy the
    conditions of the criterion. Tests, tables and summaries work as for any fit; what fits again (profiles,
    likelihood-ratio and score tests, bootstrap) is asked of ``source``.

    Attributes
    ----------
    source : LatentSkillResults
        The fit that was rotated.
    rotation : Rotation
        Transform, criterion, local minima.
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
        return self.source.observed

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.source.problems

    @property
    def mc_se(self) -> pd.Series:
        """Monte Carlo standard error of each estimate from the draws, Series; NaN for other rules."""
        in_u = self.estimate.error.params_se
        carried = self.jacobian @ self.observed.jacobian
        values = np.full(len(carried), np.nan) if in_u is None else np.abs(carried) @ in_u
        return pd.Series(values, index=self.model.param_names, name="mc_se")

    @cached_property
    def minima(self) -> pd.DataFrame:
        """Local minima of the criterion and the number of starts that ended in each."""
        return self.rotation.minima

    def rotate(self, method: str = "geomin", names: Sequence[str] | None = None, **options: Any) -> RotatedResults:
        """Another rotation of the same fit."""
        return self.source.rotate(method, names, **options)

    def get_robust(self, cov_type: str = "cluster", **options: Any) -> RotatedResults:
        """The same rotation with another covariance of the fit."""
        method, names, rotation = self.recipe
        return self.source.get_robust(cov_type, **options).rotate(method, names, **rotation)

    @cached_property
    def _posterior(self) -> FamilyPosterior:
        """The fit's own nodes in rotated skills, so that nothing hangs on how a grid lies."""
        posterior, root = self.source._posterior, np.linalg.cholesky(self.source.structure.skill_cov)
        turn = np.linalg.solve(root.T, np.asarray(self.rotation.transform))
        return replace(posterior, alpha=posterior.alpha @ turn)

    def predict(self, data: IntoFrame | None = None) -> pd.DataFrame:
        return self.source.predict(data)

    def get_prediction(self, *args: Any, **options: Any) -> PredictionResults:
        """Those of the fit: no rotation changes what is said of scores."""
        return self.source.get_prediction(*args, **options)

    def residuals(self, kind: str = "quantile", seed: int = 0) -> pd.DataFrame:
        return self.source.residuals(kind, seed)

    def residual_tests(self, kind: str = "quantile", seed: int = 0) -> pd.DataFrame:
        return self.source.residual_tests(kind, seed)

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{what} fits again, which rotated skills do not allow; ask it of the fit: rotated.source.{what}."
        )

    def bootstrap(self, *args: Any, **options: Any) -> NoReturn:
        self._refuse("bootstrap")

    def profile(self, *args: Any, **options: Any) -> NoReturn:
        self._refuse("profile")

    def lr_test(self, *args: Any, **options: Any) -> NoReturn:
        self._refuse("lr_test")

    def score_test(self, *args: Any, **options: Any) -> NoReturn:
        self._refuse("score_test")

    def test_shared_slopes(self, *args: Any, **options: Any) -> NoReturn:
        self._refuse("test_shared_slopes")

    def diagnose(self) -> Diagnosis:
        return self.source.diagnose()
