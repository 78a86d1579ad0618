"""What a fit ends with: the Estimate that results are made of, or the FitInterrupted of a fit that was stopped."""


from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..likelihood.objective import Objective
from ..likelihood.rules import IntegrationError, Rule
from ..models.latent_skill import LatentSkillLaw
from ..parameters.restrictions import RestrictedSpace, Restriction, independent
from ..parameters.space import ParameterSpace


class FitInterrupted(KeyboardInterrupt):
    """A fit was stopped by Ctrl-C.

    Attributes
    ----------
    params : Series or None
        Best natural parameters so far; ``model.fit(start_params=...)`` goes on from them.
    llf : float
        Their log-likelihood (Laplace's during the search); NaN if there are none.
    message : str
    """

    def __init__(self, params: pd.Series | None, llf: float, stage: str) -> None:
        self.params, self.llf = params, llf
        state = (
            "nothing had been estimated yet" if params is None else f"the best log-likelihood was {llf:.3f}"
        )
        self.message = f"Fit interrupted during {stage}; {state}."
        if params is not None:
            self.message += (
                " Its parameters are in the exception's .params: go on with fit(start_params=...)."
            )
        super().__init__(self.message)


@dataclass(frozen=True)
class Estimate:
    """The outcome of a fit, from which ``LatentSkillResults`` is made.

    Attributes
    ----------
    params : array (P,)
        Natural parameters.
    free : array (P,)
        The same point in the optimiser's coordinates u.
    loglike, penalised : float
        Log-likelihood, without and with the penalties.
    information : array (d, d)
        Minus the Hessian of the penalised log-likelihood in the optimiser's coordinates; under restrictions in
        the d = P - q that a ``RestrictedSpace`` has.
    distance : float
        Distance to the optimum in standard errors, sqrt(g' V g) with V the inverse information.
    gradient : array (d,)
        Of the penalised log-likelihood in the optimiser's coordinates.
    converged : bool
    rule : Rule
        The integration rule, with the number of draws that was needed.
    error : IntegrationError
        How far its log-likelihood may be from the exact one.
    starts : DataFrame
        One row per start: kind, loglike (penalised Laplace), gradient, evaluations, reached_best.
    evaluations : int
        Passes over the data in the last stage.
    options : dict
        The options of the fit, by name.
    seconds : float
        Time that the fit took.
    restriction : Restriction or None
        The restriction under which the likelihood was maximised.
    kept : int array (d,) or None
        Under a restriction, which of the coordinates ``free`` are coordinates of the ``RestrictedSpace``.
    """

    params: np.ndarray
    free: np.ndarray
    loglike: float
    penalised: float
    information: np.ndarray
    distance: float
    gradient: np.ndarray
    converged: bool
    rule: Rule
    error: IntegrationError
    starts: pd.DataFrame
    evaluations: int
    options: dict[str, Any]
    seconds: float = field(default=np.nan, compare=False)
    restriction: Restriction | None = None
    kept: np.ndarray | None = None

    @property
    def informed(self) -> bool:
        """Whether the observed information was computed; otherwise ``information`` and ``gradient`` are NaN."""
        return bool(self.options.get("information", True))

    @property
    def coordinates(self) -> np.ndarray:
        """The estimate in the optimiser's coordinates, array (d,)."""
        return self.free if self.kept is None else self.free[self.kept]

    def space(self, model: LatentSkillLaw) -> ParameterSpace | RestrictedSpace:
        """Return the space of those coordinates."""
        if self.kept is None or self.restriction is None:
            return model.space
        solved = np.setdiff1d(np.arange(model.space.size), self.kept)
        return RestrictedSpace(model.space, model.recoding, independent(self.restriction), solved, self.free)

    def objective(self, model: LatentSkillLaw) -> Objective:
        """Return the penalised log-likelihood that was maximised, on that space."""
        return Objective(self.space(model), model.internal_cells, model.penalty)
