"""Covariances of estimates: inverse observed or expected information, family-clustered sandwich, product of scores.

All but the expected information are computed in the optimiser's coordinates and carried to natural parameters by the
delta method, which is exact at an optimum. Under linear restrictions the coordinates are those that remain after the
restrictions are solved, so that every covariance has the null-space form Z (Z' I Z)^-1 Z'.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..checks import check_one_of
from ..errors import DataError
from ..estimation.fit_options import COV_TYPES
from ..likelihood.expected_information import expected_information
from ..likelihood.family_scores import family_information, family_scores
from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..numerics.linalg import cholesky_or_none, congruence, extreme_eigenvalues, inverse_from
from ..parameters.recoding import Recoding
from ..parameters.restrictions import RestrictedSpace, sparse_natural_jacobian
from ..parameters.space import ParameterSpace
from .flat_rotations import flat_rotations

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

# The error of an information by differences is 1e-9 of its largest eigenvalue; smaller eigenvalues count as zero.
_SINGULAR = 1e-9
_MANY = 1_000  # parameters from which all eigenvalues of an information would take longer than its inverse
_ROUNDING = 1e-8  # a coordinate whose root information is below this share of the largest has none
CORRECTIONS = ("leverage", "jackknife", "df", "none")
FEW_FAMILIES = 40  # with fewer a sandwich warns
EXPECTED_TABLES = 200  # simulated for the expected information


@dataclass(frozen=True)
class Observed:
    """The inverse observed information, or what is known of an information that has no inverse.

    Attributes
    ----------
    matrix : array (P, P)
        Covariance of the natural parameters; all NaN where it does not exist.
    free : array (d, d)
        The same in the optimiser's coordinates.
    jacobian : sparse array (P, d)
        d natural / d coordinates at the estimate.
    eigenvalues : array (d,), or (2,)
        Of the information scaled to unit diagonal, ascending; only the smallest and the largest where there are more
        than a thousand. NaN where the information does not exist.
    weak : tuple of str
        Parameters with the largest entries in the direction of a smallest eigenvalue that is not positive, or in the
        directions in which the form lets the skills rotate. In the latter the exact information is singular, and a
        small eigenvalue of either sign is the error of draws or differences.
    """

    matrix: np.ndarray
    free: np.ndarray
    jacobian: sparse.csr_array
    eigenvalues: np.ndarray
    weak: tuple[str, ...]


@dataclass(frozen=True)
class Covariance:
    """The covariance of the natural parameters that standard errors, tests and intervals use.

    Attributes
    ----------
    matrix : array (P, P)
        NaN where there is none.
    kind : {"observed", "expected", "cluster", "opg", "bootstrap", "none"}
    description : str
        For the notes under a summary.
    """

    matrix: np.ndarray
    kind: str
    description: str


def coordinate_jacobian(space: ParameterSpace | RestrictedSpace, recoding: Recoding, v: np.ndarray) -> sparse.csr_array:
    """Return d natural / d coordinates at v (d,), a sparse array (P, d)."""
    if isinstance(space, RestrictedSpace):
        u = space.free(v)
        return sparse.csr_array(sparse_natural_jacobian(space.space, recoding, u) @ space.basis(u))
    return sparse_natural_jacobian(space, recoding, v)


def observed_covariance(
    space: ParameterSpace | RestrictedSpace, recoding: Recoding, v: np.ndarray, information: np.ndarray
) -> Observed:
    """Return the inverse observed information on the natural scale.

    ``information`` (d, d) is minus the Hessian in the coordinates v. At an optimum the gradient vanishes, so that
    carrying the inverse Hessian to natural parameters by the delta method is exact.
    """
    jacobian = coordinate_jacobian(space, recoding, v)
    size, count = len(v), jacobian.shape[0]
    absent = np.isnan(np.diag(information))
    if absent.any():  # not asked for, or Laplace's approximation does not exist next to the estimate
        no_covariance = np.full((size, size), np.nan)
        weak = () if absent.all() else tuple(np.asarray(space.labels)[absent][:6])
        return Observed(np.full((count, count), np.nan), no_covariance, jacobian, np.full(size, np.nan), weak)
    scale = np.sqrt(np.abs(np.diag(information)))
    scaled = _rescaled(information.copy(), scale) if np.all(scale > _ROUNDING * scale.max()) else information
    turns, _ = flat_rotations(space, v)
    factor = cholesky_or_none(scaled)
    inverse = None if factor is None or turns.shape[1] else inverse_from(factor)
    values = None if inverse is None else _eigenvalues(scaled, inverse)
    if inverse is None or values is None or values[0] <= _SINGULAR * values[-1]:
        values, vectors = np.linalg.eigh(scaled)
        no_covariance = np.full((size, size), np.nan)
        direction = np.linalg.norm(turns * scale[:, None], axis=1) if turns.shape[1] else vectors[:, 0]
        weak = heaviest(space.labels, direction)
        return Observed(np.full((count, count), np.nan), no_covariance, jacobian, values, weak)
    del scaled  # it takes as much memory as each of the matrices that follow
    free = _rescaled(inverse, scale)
    return Observed(congruence(jacobian, free), free, jacobian, values, ())


def _rescaled(matrix: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Divide a symmetric matrix by ``scale`` in its rows and columns, in place, and return it."""
    for row, size in zip(matrix, scale, strict=True):
        row /= size * scale
    return matrix


def _eigenvalues(matrix: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return all eigenvalues, ascending, or of a large matrix the smallest and the largest."""
    return np.linalg.eigvalsh(matrix) if len(matrix) <= _MANY else extreme_eigenvalues(matrix, inverse)


def heaviest(names: Sequence[str], direction: np.ndarray, share: float = 0.1) -> tuple[str, ...]:
    """Return the names of the parameters with the largest entries of a direction, at most six."""
    size = np.abs(direction) / np.abs(direction).max()
    order = np.argsort(-size)
    return tuple(names[index] for index in order[:6] if size[index] >= share)


def robust_covariance(fit: "LatentSkillResults", cov_type: str, **options: Any) -> Covariance:
    """Return the covariance of a fit of the kind that is asked for; see ``LatentSkillResults.get_robust``."""
    check_one_of("cov_type", cov_type, (*COV_TYPES, "expected"))
    observed, estimate, model = fit.observed, fit.estimate, fit.model
    if cov_type not in ("cluster", "bootstrap") and options:
        raise DataError(f"cov_type={cov_type!r} takes no options; got {', '.join(options)}.")
    if cov_type not in ("expected", "none"):
        require_information(fit, f"cov_type={cov_type!r}")
    if cov_type == "observed":
        return Covariance(observed.matrix, "observed", "inverse observed information")
    if cov_type == "expected":
        return expected_covariance(fit)
    if cov_type == "none":
        words = "none asked for" if estimate.informed else "no covariance, as the fit was made with information=False"
        return Covariance(np.full_like(observed.matrix, np.nan), "none", words)
    if cov_type == "bootstrap":
        results = options.pop("results", None)
        return (fit.bootstrap(**options) if results is None else results).covariance()
    objective, v = estimate.objective(model), estimate.coordinates
    if cov_type == "cluster":
        return cluster_covariance(objective, v, estimate.rule, observed, model.groups, **options)
    return opg_covariance(objective, v, estimate.rule, observed)


def expected_covariance(fit: "LatentSkillResults") -> Covariance:
    """Return the inverse expected information at the estimate, from the scores of simulated tables.

    These would be the standard errors if the model held exactly. Where they differ much from those of the observed
    information, the data disagree with the model.
    """
    model = fit.model
    information = expected_information(model, fit.structure, model.table, EXPECTED_TABLES)
    curvature = model.natural_penalty.hessian(model.table.layout.flatten(fit.structure))
    free = model.table.free
    count = EXPECTED_TABLES * model.n_groups
    information = information * count / (count - len(information) - 1.0) - curvature[np.ix_(free, free)]
    basis = np.eye(len(information))
    if fit.estimate.restriction is not None:
        _, singular, right = np.linalg.svd(fit.estimate.restriction.matrix)
        basis = right[int(np.sum(singular > 1e-10 * singular[0])) :].T
    scale = np.sqrt(np.diag(basis.T @ information @ basis))
    scaled = (basis / scale).T @ information @ (basis / scale)
    if cholesky_or_none(scaled) is None:
        raise DataError("The expected information is singular: see fit.diagnose().")
    matrix = basis / scale @ np.linalg.solve(scaled, (basis / scale).T)
    return Covariance(matrix, "expected", f"inverse expected information, from {EXPECTED_TABLES} simulated tables")


def cluster_covariance(
    objective: Objective,
    v: np.ndarray,
    rule: Rule,
    observed: Observed,
    families: Sequence[str] | np.ndarray,
    correction: str = "leverage",
) -> Covariance:
    """Return the sandwich V (sum_l s_l s_l') V clustered by families, which are independent of each other.

    Parameters
    ----------
    objective : Objective
    v : array (d,)
        The estimate in the optimiser's coordinates.
    rule : Rule
    observed : Observed
        With V, the inverse observed information.
    families : sequence of str
        Names of the families, for warnings.
    correction : {"leverage", "jackknife", "df", "none"}
        See ``sandwich``.

    Warns
    -----
    UserWarning
        If there are fewer than 40 families, or fewer than twice the parameters.

    Raises
    ------
    DataError
        If the information is not positive definite, or the correction is unknown.
    """
    check_one_of("correction", correction, CORRECTIONS)
    _require_observed(observed, "sandwich")
    scores = family_scores(objective, v, rule)
    count, size = scores.shape
    information = family_information(objective, v, rule) if correction in ("leverage", "jackknife") else None
    matrix, alone = sandwich(scores, observed, correction, information)
    if alone:
        warnings.warn(
            f"Without the families {[str(families[number]) for number in alone[:5]]} the information is not positive "
            "definite, so some parameters rest on them alone; their leverage was left uncorrected.",
            UserWarning,
            stacklevel=4,
        )
    if count < FEW_FAMILIES or count < 2 * size:
        warnings.warn(
            f"The sandwich rests on {count} families for {size} parameters; with so few it is noisy, and without the "
            "leverage correction too small. Compare with the observed information and the parametric bootstrap.",
            UserWarning,
            stacklevel=4,
        )
    words = {
        "leverage": "leverage-corrected", "jackknife": "one-step jackknife", "df": "L/(L-1)-corrected",
        "none": "uncorrected",
    }[correction]  # fmt: skip
    return Covariance(matrix, "cluster", f"sandwich clustered by {count} families, {words}")


def sandwich(
    scores: np.ndarray, observed: Observed, correction: str, information: np.ndarray | None = None
) -> tuple[np.ndarray, list[int]]:
    """Return the sandwich from the families' scores.

    Scores at the estimate are smaller than those at the true parameters, by the share of the information that comes
    from the family itself. The correction makes up for that.

    Parameters
    ----------
    scores : array (L, d)
    observed : Observed
    correction : {"leverage", "jackknife", "df", "none"}
        With H_l the family's information, ``"leverage"`` replaces s_l by (I - H_l V)^-1/2 s_l, which is unbiased to
        first order if the model holds (Kauermann and Carroll 2001). ``"jackknife"`` replaces it by (I - H_l V)^-1 s_l
        and multiplies the sum by (L - 1) / L. This is one Newton step to the estimate without each family, and too
        large on average (Mancl and DeRouen 2001). ``"df"`` multiplies the sum by L / (L - 1); ``"none"`` does nothing.
    information : array (L, d, d), optional
        H_l, for ``"leverage"`` and ``"jackknife"``.

    Returns
    -------
    (array (P, P), list of int)
        The covariance on the natural scale, and the families whose leverage was not corrected, because without them the
        information is not positive definite.
    """
    count = len(scores)
    alone: list[int] = []
    influence = scores @ observed.free
    if correction == "df":
        influence *= np.sqrt(count / (count - 1.0))
    elif correction in ("leverage", "jackknife"):
        assert information is not None
        root = np.linalg.cholesky(observed.free)
        power = -0.5 if correction == "leverage" else -1.0
        for number, (of_family, score) in enumerate(zip(information, scores, strict=True)):
            # the leverage is a symmetric matrix in coordinates where V is the identity
            values, vectors = np.linalg.eigh(np.eye(len(score)) - root.T @ of_family @ root)
            if values[0] <= 0.0:
                alone.append(number)
                continue
            influence[number] = root @ (vectors * values**power) @ vectors.T @ root.T @ score
        influence *= np.sqrt((count - 1.0) / count) if correction == "jackknife" else 1.0
    natural = influence @ observed.jacobian.T
    return natural.T @ natural, alone


def opg_covariance(objective: Objective, v: np.ndarray, rule: Rule, observed: Observed) -> Covariance:
    """Return the inverse outer product of the families' scores, (sum_l s_l s_l')^-1.

    Raises
    ------
    DataError
        If there are not more families than parameters, as the outer product is then singular.
    """
    scores = family_scores(objective, v, rule)
    count, size = scores.shape
    if count <= size:
        raise DataError(
            f"cov_type='opg' needs more families than parameters; there are {count} families and {size} parameters. "
            "Use 'observed', 'cluster' or 'bootstrap'."
        )
    product = scores.T @ scores
    if np.linalg.cond(product) > 1e14:
        raise DataError("The outer product of the families' scores is singular; use cov_type='observed'.")
    matrix = observed.jacobian @ np.linalg.solve(product, observed.jacobian.T.toarray())
    return Covariance(matrix, "opg", f"inverse outer product of the scores of {count} families")


def require_information(fit: "LatentSkillResults", what: str) -> None:
    """Refuse ``what``, which needs the observed information, to fits that were made without it."""
    if not fit.estimate.informed:
        raise DataError(
            f"{what} needs the observed information, which this fit was made without: fit again with information=True."
        )


def _require_observed(observed: Observed, what: str) -> None:
    """Refuse a covariance that needs the inverse observed information where that does not exist."""
    if not np.isfinite(observed.free).all():
        raise DataError(
            f"There is no {what} covariance, as the observed information is not positive definite: see fit.diagnose()."
        )
