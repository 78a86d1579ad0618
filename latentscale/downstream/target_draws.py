"""Draws from the predictive law of the target of a regression on skills."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..components.curve import mean_score
from ..errors import DataError
from ..prediction.predictive import PredictiveDraws
from ..prediction.skill_draws import JointDraws, read_request, read_sources
from .target import extended, target_law

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

    from ..components.cells import Cells
    from ..model import LatentSkillModel
    from ..parameters.structure import Structure
    from ..prediction.conditioning_scores import ConditioningScores
    from ..prediction.skill_draws import Request
    from .model import DownstreamModel
    from .target import Target, TargetLaw
    from .target_fit import TargetEstimate


def target_draws(
    model: DownstreamModel,
    estimate: TargetEstimate,
    root: np.ndarray | None,
    data: IntoFrame | None = None,
    observed: bool = False,
    size: int = 4000,
    seed: int = 0,
    uncertainty: str | Sequence[str] = (),
) -> PredictiveDraws:
    """Draw expected scores and scores of the target.

    Skills are drawn given the benchmark scores and the scores of the target in their families. The errors of the
    estimates of both stages enter by the delta method: linearly, on the scales of the linear predictor, log phi and
    logit asymptotes. An error in the first stage changes the skills and the parameters of the target together. Its
    effect on the skills is computed from the benchmark scores alone.

    Parameters
    ----------
    model : DownstreamModel
    estimate : TargetEstimate
    root : array (S, m) or None
        See ``target_fit.first_stage_root``; None if the regression takes the first stage as known.
    data, observed, size, seed, uncertainty
        As for ``get_prediction``.

    Returns
    -------
    PredictiveDraws
        With one benchmark, the target.
    """
    sources = read_sources(uncertainty)
    joint = target_joint(model, estimate, read_request(model.parent.model, data, observed), size, seed)
    mu, phi, mean = target_means(joint, model, estimate, root, sources)
    law = model.data.score_law
    expected = law.mean(mu, phi)
    scores = law.draw(np.random.default_rng([int(seed), 2]), mu, phi) if "score" in sources else expected
    unknown = np.full((mu.shape[1], 1), np.nan)
    scores, llms = model.prepared.recorded(scores[..., None]), joint.request.llms
    return PredictiveDraws(llms, (model.target,), mean[:, None], expected[..., None], scores, unknown)


def target_joint(
    model: DownstreamModel, estimate: TargetEstimate, request: Request, size: int, seed: int
) -> TargetDraws:
    """Return draws of the skills of LLMs, given the benchmark scores and the target's scores of their families."""
    law = target_law(model.data, estimate.zeta, len(model.parent.model.skills))
    return TargetDraws(model, law, request, size, seed)


class TargetDraws(JointDraws):
    """Joint draws of skills given the target's scores too, and of the families' effects u_l / s on the target.

    Parameters
    ----------
    model : DownstreamModel
    law : TargetLaw
    request, size, seed
        As for ``JointDraws``.
    """

    def __init__(self, model: DownstreamModel, law: TargetLaw, request: Request, size: int, seed: int) -> None:
        self.target, self.target_law = model.data, law
        super().__init__(model.parent, request, size, seed)

    def _structures(self, sources: Collection[str]) -> tuple[Structure, ...]:
        return (extended(self.fit.structure, self.target_law),)

    def _cells(self) -> Cells | None:
        conditioning = self.conditioning
        return None if conditioning.cells is None else _with_target(conditioning, self.fit.model, self.target)

    @cached_property
    def _whole(self) -> np.ndarray:
        """Draws of skills and, if there are family effects on the target, of u_l / s: (S, n, K or K + 1)."""
        return self._drawn[0]

    @cached_property
    def theta(self) -> np.ndarray:
        """Draws of skills at the estimates (S, n, K)."""
        return self._whole[:, :, : self.structure.loadings.shape[1]]

    @cached_property
    def specific(self) -> np.ndarray:
        """Draws of u_l / s (S, n), zeros if there are no family effects on the target."""
        k = self.structure.loadings.shape[1]
        return self._whole[:, :, k] if self._whole.shape[2] > k else np.zeros(self._whole.shape[:2])


def target_means(
    joint: TargetDraws,
    model: DownstreamModel,
    estimate: TargetEstimate,
    root: np.ndarray | None,
    sources: Collection[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return draws of locations (S, n) and precisions (S, 1) of scores, and expected scores at the estimates (n,).

    Parameters
    ----------
    joint : TargetDraws
    model, estimate, root
        As for ``target_draws``.
    sources : set of str
        Sources of uncertainty, of "parameters" and "family".

    Raises
    ------
    DataError
        If parameters are a source, but the regression was fitted without the covariance of the first stage.
    """
    if "parameters" in sources and root is None:
        raise DataError(
            "This regression was fitted with uncertainty=(), without the estimates' covariance: leave 'parameters' out "
            "of uncertainty, or fit it again."
        )
    target, theta = model.data, joint.theta
    law = target_law(target, estimate.zeta, theta.shape[2])
    eta = theta @ law.loadings + law.intercept + (law.family_sd or 0.0) * joint.specific
    mean = target.score_law.mean(mean_score(eta, law.lower, law.upper), law.precision).mean(axis=0)
    middle = theta.mean(axis=0)
    if "family" not in sources:
        eta = np.broadcast_to(eta.mean(axis=0), eta.shape)
    zeta = np.broadcast_to(estimate.zeta, (joint.size, target.size))
    if "parameters" in sources:
        assert root is not None
        change, q = _zeta_changes(joint, estimate, root, joint.seed), len(target.skills)
        eta = eta + np.tensordot(joint.deviates, joint.sensitivities.theta @ law.loadings, axes=1)
        eta = eta + change[:, :q] @ middle[:, target.skills].T + change[:, [q]]
        if target.family_effect:
            eta = eta + np.sign(estimate.zeta[-1]) * change[:, [-1]] * joint.specific.mean(axis=0)
        zeta = zeta + change
    return *_locations(target, zeta, eta), mean


def _with_target(conditioning: ConditioningScores, model: LatentSkillModel, target: Target) -> Cells:
    """Return the scores that are conditioned on with the target's scores of their LLMs, by family, LLM, benchmark."""
    cells, codes = conditioning.cells, {family: code for code, family in enumerate(conditioning.families)}
    assert cells is not None, "there are scores to condition on"
    keys = list(zip(model.families[model.family_codes], model.llms, strict=True))
    seen = [row for row in np.flatnonzero(target.state >= 0) if keys[row] in conditioning.rows]
    row = np.array([conditioning.rows[keys[row]] for row in seen], dtype=int)
    family = np.array([codes[keys[row][0]] for row in seen], dtype=int)
    return cells.with_item(row, family, target.y[seen], target.state[seen], target.edge)


def _zeta_changes(joint: TargetDraws, estimate: TargetEstimate, root: np.ndarray, seed: int) -> np.ndarray:
    """Return draws of the error of zeta (S, Z): due to the first stage, and due to the regression itself."""
    cov = estimate.cov_known_skills
    from_first_stage = joint.deviates @ (cov @ (estimate.cross @ root)).T
    noise = np.random.default_rng([int(seed), 4]).standard_normal((joint.size, len(cov)))
    return from_first_stage + noise @ np.linalg.cholesky(cov).T


def _locations(target: Target, zeta: np.ndarray, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return locations (S, n) and precisions (S, 1) of scores for draws of zeta (S, Z) and of predictors (S, n)."""
    lower, upper = (ends[:, None] for ends in target.asymptotes_at(zeta))
    phi = np.exp(zeta[:, target.places["precision"]]) if target.score_law.has_precision else np.ones((len(zeta), 1))
    return mean_score(eta, lower, upper), phi
