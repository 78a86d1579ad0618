"""Fits of models that are not identified: a maximum, and an information that is singular where it should be.

The likelihood has a ridge of maxima. As many parameters as it has dimensions are held at zero, where the ridge passes
(``LocalRank.settling``), so that the drivers climb to one point of it; of the information along the ridge it is
known that it is zero, and so it is set, whatever draws would make of it.
"""

from dataclasses import replace

import numpy as np

from ..estimation.fit import fit_latent_skill
from ..parameters.restrictions import natural_jacobian
from .local_rank import local_rank, random_point


def fit_unidentified(model, options):
    """Estimate of a model that need not be identified.

    Parameters
    ----------
    model : LatentSkillModel
    options : dict
        Of ``fit_latent_skill``. Under ``constraints`` of the user's own nothing else is held, and nothing
        in fits without information, whose predictions do not depend on where on the ridge they end.

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


def _on_the_ridge(model, estimate):
    """The restricted estimate in all coordinates u, with no information along the flat directions."""
    space = estimate.space(model)
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


def _ridge(model, estimate, space, basis):
    """Flat directions in u (P, m) at the estimate, as many as coordinates were solved for."""
    count = len(space.solved)
    try:
        null = local_rank(model, estimate.free).null
    except np.linalg.LinAlgError:  # Sigma is singular: the law has no density to look at
        return np.eye(len(estimate.free))[:, space.solved]
    flat = np.linalg.solve(natural_jacobian(model.space, model.recoding, estimate.free), null)
    flat = np.linalg.qr(flat)[0]
    # at a special point there may be more of them; those that the restrictions cut off are wanted
    orthogonal = np.linalg.qr(basis)[0]
    _, _, right = np.linalg.svd(flat - orthogonal @ (orthogonal.T @ flat), full_matrices=False)
    return flat @ right[:count].T
