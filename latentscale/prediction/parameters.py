"""Draws of the parameters from the normal law of their estimates, N(xi_hat, V).

The law is normal in the optimiser's coordinates, where precisions are logged, asymptotes on the logit scale and
correlation matrices positive definite at every point, so that every draw is a possible parameter.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import special
from scipy.stats import qmc

from ..errors import DataError
from ..inference.flat_rotations import flat_rotations
from ..likelihood.expected_information import expected_information
from ..numerics.differences import jacobian
from ..numerics.linalg import cholesky_or_none, null_space, symmetrise
from ..parameters.kinds import EDGE
from ..parameters.restrictions import natural_jacobian

# Tables simulated for the information of a fit that has none: standard errors then carry some 3% of noise.
EXPECTED_TABLES = 20


@dataclass(frozen=True)
class ParameterLaw:
    """Normal law of a fit's coordinates.

    Attributes
    ----------
    space : ParameterSpace or RestrictedSpace
    recoding : Recoding
    centre : array (d,)
        The estimate.
    root : array (d, m)
        R with R R' = V; m < d where directions are left out because no likelihood knows them.
    turn : array (K, K)
        Skills in the fit's coordinates are ``turn`` times those in the law's.
    description : str
    spreads : int array (M,)
        Coordinates of standard deviations of slopes and residuals that have a lognormal law of their own.
    spread_root : array (M, M)
        Root of the covariance of their logarithms.
    """

    space: object
    recoding: object
    centre: np.ndarray
    root: np.ndarray
    turn: np.ndarray
    description: str
    spreads: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    spread_root: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def structure(self, v):
        """Structure in users' covariates at coordinates v (d,)."""
        return self.recoding.user(self.space.structure(v))

    def structures(self, size, seed=0):
        """Draws, list of ``size`` Structures in users' covariates.

        Scrambled Sobol points carried to the normal law: averages over draws are more accurate than over random ones.
        """
        return [self.structure(v) for v in self.centre + _normal_points(self.root.shape[1], size, seed) @ self.root.T]

    def spread_structures(self, structure, size, seed=0):
        """``structure`` with draws of the standard deviations of slopes and residuals, list of ``size`` Structures."""
        out = []
        for factor in np.exp(_normal_points(len(self.spreads), size, seed) @ self.spread_root.T):
            v = self.centre.copy()
            v[self.spreads] *= factor
            moved = self.structure(v)
            out.append(structure.with_scales(**moved.scales))
        return out


def _normal_points(dimension, size, seed):
    """Scrambled Sobol points carried to the standard normal law (size, dimension)."""
    # a power of two keeps the points balanced
    count = 1 << max(1, (int(size) - 1).bit_length())
    points = qmc.Sobol(dimension, rng=np.random.default_rng(seed)).random(count)[: int(size)]
    return special.ndtri(np.clip(points, 2.0**-54, 1.0 - 2.0**-53))


def parameter_law(fit):
    """Law of the estimates of a LatentSkillResults, with the covariance that the fit reports.

    A fit without standard errors (``information=False``) gets the inverse expected information at its estimate, from
    20 simulated tables, with the curvature of its penalties, in the form without coordinates, whose rotations, which
    change no prediction, are left out. Standard deviations of random slopes and of residual skills are held at their
    estimates: at zero, where some of them lie, there is no information on them, and no delta method. Where a penalty
    keeps them off zero (``avoid_zero_sd``) their logarithms have a normal law of their own (``spreads``), next to which
    that of all others is the one given them: means and variances know little of each other.

    Raises
    ------
    DataError
        If the information is not positive definite: there is no law of the parameters; or for rotated skills, whose
        law is that of the fit they were rotated from.
    """
    if getattr(fit, "rotation", None) is not None:
        raise DataError(
            "Rotated skills have no law of their parameters here: ask the fit that was rotated (its .source), or leave "
            "'parameters' out of uncertainty."
        )
    if not fit.estimate.informed:
        return _expected_law(fit)
    estimate, model = fit.estimate, fit.model
    space, v = estimate.space(model), estimate.coordinates
    kind = fit.covariance.kind
    if kind in ("observed", "none"):
        cov, words = fit.observed.free, "inverse observed information"
    else:
        pseudo = np.linalg.lstsq(fit.observed.jacobian.toarray(), np.eye(len(fit.params)), rcond=None)[0]
        cov, words = pseudo @ fit.covariance.matrix @ pseudo.T, fit.covariance.description
    if not np.isfinite(cov).all():
        raise DataError(
            "The estimates have no covariance, as the observed information is not positive definite (see "
            "fit.diagnose()): there is no uncertainty of parameters to carry into predictions. Leave 'parameters' out "
            "of uncertainty, or mend the model."
        )
    return ParameterLaw(space, model.recoding, v, _root(cov), np.eye(len(model.skills)), words)


def _root(cov):
    """R with R R' = V for a covariance that may be singular."""
    scale = np.sqrt(np.maximum(np.diag(cov), 1e-300))
    values, vectors = np.linalg.eigh(cov / np.outer(scale, scale))
    return scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))


def _expected_law(fit):
    model = fit.model
    structure, space, turn = model.recoding.internal(fit.structure), model.space, np.eye(len(model.skills))
    if model.has_free_axes:
        _, space = model.search_form
        turn = np.linalg.cholesky(structure.skill_cov)
        structure = structure.transformed(turn)
    u = space.free_vector(structure)
    user = model.recoding.user(structure)
    information = expected_information(model, user, space.table, EXPECTED_TABLES, expected=True)
    # the mean of inverses of Wishart matrices is larger than the inverse of their mean
    count = EXPECTED_TABLES * model.n_families
    if count <= len(u) + 1:
        raise DataError(f"{model.n_families} families are too few for the uncertainty of {len(u)} parameters.")
    carried, penalty = natural_jacobian(space, model.recoding, u), model.penalty_on(space.table)
    information = carried.T @ information @ carried * count / (count - len(u) - 1.0)

    def pull(point):
        """Slope of the penalties in u, in which they are as good as quadratic; in s they need not be concave."""
        return space.pull_back(point, penalty.terms(space.structural(point))[1])

    held = np.array([parameter.kind.zero == EDGE for parameter in space.parameters])
    # the logarithm of a small standard deviation bends within a step that suits the others
    scale = np.where(held & model.avoid_zero_sd, np.abs(u), np.maximum(1.0, np.abs(u)))
    information -= symmetrise(jacobian(pull, u, 1e-3 * scale))
    turns, _ = flat_rotations(space, u)
    if held.any():  # no rotation is free next to random slopes, and residual skills are the same in all axes
        basis = null_space(np.vstack([turns.T, np.eye(len(u))[held]]), 1e-9)
    else:
        basis = np.linalg.qr(np.hstack([turns, np.eye(len(u))]))[0][:, turns.shape[1] : len(u)]
    root = basis @ _inverse_root(basis.T @ information @ basis)
    words = f"inverse expected information, from {EXPECTED_TABLES} simulated tables"
    law = ParameterLaw(space, model.recoding, u, root, turn, words)
    if not (model.avoid_zero_sd and held.any()):
        return law
    free = null_space(turns.T, 1e-9) if turns.shape[1] else np.eye(len(u))
    spread = (free @ _inverse_root(free.T @ information @ free))[held] / u[held, None]
    return replace(law, spreads=np.flatnonzero(held), spread_root=_root(spread @ spread.T))


def _inverse_root(information):
    """R with R R' = information^-1."""
    scale = np.sqrt(np.maximum(np.diag(information), 0.0))
    factor = cholesky_or_none(information / np.outer(scale, scale)) if scale.all() else None
    if factor is None:
        raise DataError("The expected information is singular: leave 'parameters' out of uncertainty.")
    return np.linalg.inv(factor).T / scale[:, None]
