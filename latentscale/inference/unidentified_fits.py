"""Fits of models that are not identified: a maximum, and an information that is singular where it must be.

The likelihood has a ridge of maxima. As many parameters as the ridge has dimensions are held at zero, where it passes
through (``LocalRank.settling``), so that the optimiser finds a single point of it. The information along the ridge is
known to be zero and set to zero, whatever draws would give.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from ..estimation.estimate import Estimate
from ..estimation.fit import fit_latent_skill
from ..models.latent_skill import LatentSkillLaw
from ..parameters.restrictions import RestrictedSpace, natural_jacobian
from .local_rank import local_rank, random_point


def fit_unidentified(model: LatentSkillLaw, options: dict[str, Any]) -> Estimate:
    """Return the estimate of a model that need not be identified.

    Parameters
    ----------
    model : LatentSkillLaw
    options : dict
        Options of ``fit_latent_skill``. Nothing more is held fixed if they have ``constraints``, nor in fits without
        information, whose predictions do not depend on where on the ridge they end.

    Returns
    -------
    Estimate
        In all coordinates of the model.
    """
    rng = np.random.default_rng(0)
    rank = local_rank(model, random_point(model, rng), rng)
    plain = options.get("constraints") is not None or not options.get("information", True)
    if not rank.n_flat or plain:
        return fit_latent_skill(model, **options)
    held = np.eye(rank.size)[rank.settling]
    estimate = fit_latent_skill(model, **{**options, "constraints": (held, np.zeros(len(held)))})
    return _on_the_ridge(model, estimate)


def _on_the_ridge(model: LatentSkillLaw, estimate: "Estimate") -> Estimate:
    """Return a restricted estimate in all coordinates u, with an information of zero along the ridge."""
    space = estimate.space(model)
    assert isinstance(space, RestrictedSpace)
    basis = space.basis(estimate.free)
    inverse = np.linalg.inv(np.hstack([basis, _ridge(model, estimate, space, basis)]))
    count = basis.shape[1]
    return replace(
        estimate,
        information=inverse[:count].T @ estimate.information @ inverse[:count],
        gradient=inverse[:count].T @ estimate.gradient,
        error=replace(estimate.error, params_se=None),
        restriction=None,
        kept=None,
    )


def _ridge(model: LatentSkillLaw, estimate: "Estimate", space: RestrictedSpace, basis: np.ndarray) -> np.ndarray:
    """Return directions along the ridge in u (P, m) at the estimate, as many as restrictions solved for coordinates."""
    count = len(space.solved)
    try:
        null = local_rank(model, estimate.free).null
    except np.linalg.LinAlgError:  # Sigma is singular, so effects have no density
        return np.eye(len(estimate.free))[:, space.solved]
    flat = np.linalg.solve(natural_jacobian(model.space, model.recoding, estimate.free), null)
    flat = np.linalg.qr(flat)[0]
    # at special points there may be more flat directions; the ones that the restrictions exclude are kept
    orthogonal = np.linalg.qr(basis)[0]
    _, _, right = np.linalg.svd(flat - orthogonal @ (orthogonal.T @ flat), full_matrices=False)
    return flat @ right[:count].T
