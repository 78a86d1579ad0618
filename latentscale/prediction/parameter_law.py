"""The normal law of a fit's estimates, N(xi_hat, V), and draws of parameters from it.

The law is normal in the optimiser's coordinates xi, in which precisions are logarithms, asymptotes are on the logit
scale and every point has positive definite correlation matrices. So every draw is a possible parameter.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special
from scipy.stats import qmc

from ..errors import DataError
from ..inference.flat_rotations import flat_rotations
from ..likelihood.expected_information import expected_information
from ..numerics.differences import jacobian
from ..numerics.linalg import cholesky_or_none, null_space, symmetrise
from ..parameters.kinds import EDGE
from ..parameters.recoding import Recoding
from ..parameters.restrictions import RestrictedSpace, natural_jacobian
from ..parameters.space import ParameterSpace
from ..parameters.structure import Structure

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

# Tables simulated for the information of a fit that has none. Standard errors then have a Monte Carlo error of 3%.
EXPECTED_TABLES = 20


@dataclass(frozen=True)
class ParameterLaw:
    """Normal law of a fit's parameters in the optimiser's coordinates.

    Attributes
    ----------
    space : ParameterSpace or RestrictedSpace
        The map between coordinates and parameters.
    recoding : Recoding
        The map between users' covariates and those of the coordinates.
    centre : array (d,)
        The estimate.
    root : array (d, m)
        R with R R' = V. m < d where directions that the likelihood does not depend on are left out.
    turn : array (K, K)
        Skills of the fit are ``turn`` times the skills of the law, which may have other axes.
    description : str
        Where V comes from, in words.
    spreads : int array (M,)
        Coordinates of the standard deviations of random slopes and residual skills that have a lognormal law of their
        own.
    spread_root : array (M, M)
        Root, as ``root``, of the covariance of their logarithms.
    """

    space: ParameterSpace | RestrictedSpace
    recoding: Recoding
    centre: np.ndarray
    root: np.ndarray
    turn: np.ndarray
    description: str
    spreads: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    spread_root: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def structure(self, v: np.ndarray) -> Structure:
        """Return the parameters at coordinates v (d,), with slopes of users' covariates."""
        return self.recoding.user(self.space.structure(v))

    def structures(self, size: int, seed: int = 0) -> list[Structure]:
        """Return ``size`` draws of the parameters, a list of Structures with slopes of users' covariates.

        Draws are scrambled Sobol points carried to the normal law, over which averages are more accurate than over
        independent draws.
        """
        return [self.structure(v) for v in self.centre + _normal_points(self.root.shape[1], size, seed) @ self.root.T]

    def spread_structures(self, structure: Structure, size: int, seed: int = 0) -> list[Structure]:
        """Return ``size`` copies of ``structure`` with draws of the standard deviations of random effects."""
        out = []
        for factor in np.exp(_normal_points(len(self.spreads), size, seed) @ self.spread_root.T):
            v = self.centre.copy()
            v[self.spreads] *= factor
            out.append(structure.with_scales(**self.structure(v).scales))
        return out


def _normal_points(dimension: int, size: int, seed: int) -> np.ndarray:
    """Return scrambled Sobol points carried to the standard normal law, (size, dimension)."""
    # Sobol points are balanced if their number is a power of two
    count = 1 << max(1, (int(size) - 1).bit_length())
    points = qmc.Sobol(dimension, rng=np.random.default_rng(seed)).random(count)[: int(size)]
    return special.ndtri(np.clip(points, 2.0**-54, 1.0 - 2.0**-53))


def parameter_law(fit: "LatentSkillResults") -> ParameterLaw:
    """Return the law of the estimates of a LatentSkillResults, with the covariance that the fit reports.

    A fit without standard errors (``information=False``) gets the inverse expected information at its estimate: the
    mean over 20 simulated tables, with the curvature of its penalties added. If the form merely chooses axes, this
    information is computed with free axes, and directions in which skills merely rotate are left out, as they change no
    prediction.

    Standard deviations of random slopes and of residual skills are then held at their estimates: some of these are
    zero, where the score in them vanishes, so that there is no information on them and no delta method. Where a penalty
    keeps them off zero (``avoid_zero_sd``), their logarithms get a normal law of their own (``spreads``), and all other
    parameters get their law given these. The two are nearly independent, as estimates of means and of variances are.

    Raises
    ------
    DataError
        If the information is not positive definite, so that there is no law of the parameters; and for rotated skills,
        whose law is that of the fit that was rotated.
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


def _root(cov: np.ndarray) -> np.ndarray:
    """Return R with R R' = V for a covariance V (d, d), which may be singular."""
    scale = np.sqrt(np.maximum(np.diag(cov), 1e-300))
    values, vectors = np.linalg.eigh(cov / np.outer(scale, scale))
    return scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))


def _expected_law(fit: "LatentSkillResults") -> ParameterLaw:
    """Return the law whose covariance is the inverse expected information; see ``parameter_law``."""
    model = fit.model
    structure, space, turn = model.recoding.internal(fit.structure), model.space, np.eye(len(model.skills))
    if model.has_free_axes:
        _, space = model.search_form
        turn = np.linalg.cholesky(structure.skill_cov)
        structure = structure.transformed(turn)
    u = space.free_vector(structure)
    user = model.recoding.user(structure)
    information = expected_information(model, user, space.table, EXPECTED_TABLES, expected=True)
    # The information is a mean over simulated families, and the inverse of such a mean is too large on average: for a
    # Wishart matrix of d dimensions with n degrees of freedom by the factor n / (n - d - 1).
    count = EXPECTED_TABLES * model.n_groups
    if count <= len(u) + 1:
        raise DataError(f"{model.n_groups} families are too few for the uncertainty of {len(u)} parameters.")
    natural_by_free, penalty = natural_jacobian(space, model.recoding, u), model.penalty_on(space.table)
    information = natural_by_free.T @ information @ natural_by_free * count / (count - len(u) - 1.0)

    def pull(point: np.ndarray) -> np.ndarray:
        """Return the gradient of the penalty in u, where it is nearly quadratic; in s it need not be concave."""
        return space.pull_back(point, penalty.terms(space.structural(point))[1])

    held = np.array([parameter.kind.zero == EDGE for parameter in space.parameters])
    # the penalty of a small standard deviation is curved even over a step that suits the other coordinates
    scale = np.where(held & model.avoid_zero_sd, np.abs(u), np.maximum(1.0, np.abs(u)))
    information -= symmetrise(jacobian(pull, u, 1e-3 * scale))
    turns, _ = flat_rotations(space, u)
    # Random slopes leave no rotation free, and the standard deviation of residual skills is the same in all axes.
    if held.any():
        basis = null_space(np.vstack([turns.T, np.eye(len(u))[held]]), 1e-9)
    else:
        basis = np.linalg.qr(np.hstack([turns, np.eye(len(u))]))[0][:, turns.shape[1] : len(u)]
    root = basis @ _inverse_root(basis.T @ information @ basis)
    words = f"inverse expected information, from {EXPECTED_TABLES} simulated tables"
    law = ParameterLaw(space, model.recoding, u, root, turn, words)
    if not (model.avoid_zero_sd and held.any()):
        return law
    not_turning = null_space(turns.T, 1e-9) if turns.shape[1] else np.eye(len(u))
    spread = (not_turning @ _inverse_root(not_turning.T @ information @ not_turning))[held] / u[held, None]
    return replace(law, spreads=np.flatnonzero(held), spread_root=_root(spread @ spread.T))


def _inverse_root(information: np.ndarray) -> np.ndarray:
    """Return R with R R' = A^-1 for an information matrix A; raise DataError where A is singular."""
    scale = np.sqrt(np.maximum(np.diag(information), 0.0))
    factor = cholesky_or_none(information / np.outer(scale, scale)) if scale.all() else None
    if factor is None:
        raise DataError("The expected information is singular: leave 'parameters' out of uncertainty.")
    return np.linalg.inv(factor).T / scale[:, None]
