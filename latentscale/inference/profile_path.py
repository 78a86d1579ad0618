"""Paths of restricted maxima, of which profile likelihoods are made.

At each value t of a'xi all other parameters are maximised out. Points are placed on a scale psi(t) on which the signed
root r = sign(t - t_hat) sqrt(2 (l_hat - l(t))) is nearly a straight line: the logarithm of a precision, the arc sine of
a correlation, the logit of an asymptote, otherwise t itself. By the envelope theorem dl/dt is the Lagrange multiplier
of the restriction. So the slope of r is known at every point, and roots are found by inverse Hermite interpolation.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..estimation.ascent import complete_metric, scale_from
from ..estimation.refit import refit, restricted_refit
from ..likelihood.objective import Objective
from ..likelihood.rules import Rule
from ..models.latent_skill import LatentSkillLaw
from ..parameters.kinds import ARC_SINE, CORRELATION, EDGE, IDENTITY, Scale
from ..parameters.named import Parameter
from ..parameters.restrictions import RestrictedSpace, Restriction, natural_jacobian, natural_vector, read_restriction
from ..parameters.space import ParameterSpace
from .hypotheses import full_information, stacked

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

# Distance from a restricted maximum, in standard errors, at which its search stops, and at which a search for another
# branch stops.
_GOAL, _CHECKED = 1e-3, 8e-3
_LOST = 0.1  # at a larger distance the value is of no use
ROUNDING = 1e-4  # log-likelihood units by which two maximisations may differ
_NEAR_OPTIMUM = 0.02  # log-likelihood units by which a fit may be below its optimum: a fifth of a standard error
_CORRELATION_EDGE = 1.0 - 1e-4  # a correlation beyond this cannot be told from one by the data


@dataclass(frozen=True, eq=False)
class Target:
    """The quantity t = a'xi that is profiled.

    Attributes
    ----------
    label : str
    weights : array (P,)
        a.
    scale, wald_scale : Scale
        Scales of the profile and of Wald intervals.
    factor : float
        The weight of a single parameter; 1 for a combination of several.
    space : tuple of float
        Least and greatest value of t.
    closed : bool
        Whether t may take a finite end of the space.
    pair : tuple of int
        The two skills of a correlation; empty for anything else.
    """

    label: str
    weights: np.ndarray
    scale: Scale = IDENTITY
    wald_scale: Scale = IDENTITY
    factor: float = 1.0
    space: tuple[float, float] = (-np.inf, np.inf)
    closed: bool = False
    pair: tuple[int, ...] = ()

    def forward(self, t: Any, scale: Scale | None = None) -> Any:
        """Return psi(t), which increases in t, on the scale of the profile or another."""
        scale = scale or self.scale
        if scale == IDENTITY:
            return t
        return np.sign(self.factor) * scale.forward(t / self.factor)

    def derivative(self, t: Any, scale: Scale | None = None) -> Any:
        """Return d psi / dt."""
        scale = scale or self.scale
        return 1.0 if scale == IDENTITY else scale.derivative(t / self.factor) / abs(self.factor)

    def back(self, psi: Any, scale: Scale | None = None) -> Any:
        """Return t(psi)."""
        scale = scale or self.scale
        if scale == IDENTITY:
            return psi
        return self.factor * scale.back(np.sign(self.factor) * psi)

    def wald_root(self, t: Any, centre: Any, se: Any) -> Any:
        """Return (psi(t) - psi(centre)) / s.e. on the scale of Wald intervals; ``se`` is the standard error of t."""
        step = self.forward(t, self.wald_scale) - self.forward(centre, self.wald_scale)
        return step / (se * self.derivative(centre, self.wald_scale))

    def wald_end(self, root: Any, centre: Any, se: Any) -> float:
        """Return the t at a Wald root."""
        psi = self.forward(centre, self.wald_scale) + root * se * self.derivative(centre, self.wald_scale)
        return float(self.back(psi, self.wald_scale))

    def limit(self, sign: int) -> float:
        """Return psi at the end of the space if the log-likelihood can be computed there, else +-inf."""
        if self.scale == ARC_SINE:
            return sign * np.arcsin(_CORRELATION_EDGE)
        return self.space[sign > 0] if self.closed else sign * np.inf

    @property
    def longest_step(self) -> float:
        """Longest first step in psi, since the standard error may be of no use at an edge."""
        return 0.8 if self.scale == ARC_SINE else np.inf


def read_target(parameter: str | npt.ArrayLike, model: LatentSkillLaw) -> Target:
    """Return the Target for a parameter's name, a linear combination in words, or weights (P,).

    Raises
    ------
    DataError
        If it cannot be read, is constant, is not a single quantity, or combines standard deviations of random effects
        with other parameters.
    """
    names, parameters = list(model.param_names), model.table.parameters
    if isinstance(parameter, str) and parameter in names:
        return _single(parameters[names.index(parameter)], 1.0, parameter, model)
    if isinstance(parameter, str):
        read = read_restriction(f"{parameter} = 0", names)
        if len(read) != 1 or read.value[0] != 0.0:
            raise DataError(
                f"profile takes one parameter or one linear combination without a constant, such as "
                f"'{names[0]} - {names[-1]}'; got {parameter!r}."
            )
    else:
        weights = np.asarray(parameter, dtype=float)
        if weights.shape != (len(names),) or not np.isfinite(weights).all():
            raise DataError(f"Weights are {len(names)} finite numbers, one per parameter; got shape {weights.shape}.")
        read = read_restriction((weights[None, :], 0.0), names)
    weights, label = read.matrix[0], read.labels[0].removesuffix(" = 0")
    used = np.flatnonzero(weights)
    if len(used) == 1:
        return _single(parameters[int(used[0])], float(weights[used[0]]), label, model)
    if any(parameters[int(index)].kind.zero == EDGE for index in used):
        raise DataError("A standard deviation of random effects is profiled by itself, not combined with others.")
    return Target(label, weights)


def _single(parameter: Parameter, factor: float, label: str, model: LatentSkillLaw) -> Target:
    """Return the Target for a parameter times a factor."""
    kind, parameters, loadings = parameter.kind, model.table.parameters, model.table.layout.index("loadings")
    anchor = parameter.position in [loadings[at] for at in model.pattern.anchors]
    low, high = sorted(factor * end for end in ((0.0, np.inf) if anchor else kind.space))
    weights = np.zeros(len(parameters))
    pair: tuple[int, ...] = ()
    weights[parameters.row(parameter.name)] = factor
    if kind == CORRELATION:
        first, second = (model.skills.index(skill) for skill in parameter.labels)
        pair = (second, first)
    return Target(
        label,
        weights,
        kind.profile_scale or kind.scale,
        kind.scale,
        factor,
        (low, high),
        anchor or kind.zero == EDGE,
        pair,
    )


@dataclass(frozen=True, eq=False)
class Peak:
    """The optimum of a fit, from which its profiles start.

    Attributes
    ----------
    model : LatentSkillLaw
    rule : Rule
    restriction : Restriction or None
        The restriction under which the fit was made.
    u : array (P,)
        The optimum in the optimiser's coordinates.
    value, fitted : float
        Penalised log-likelihood at ``u`` and at the fit's estimate.
    information : array (P, P)
        In the coordinates of the whole space, made positive definite where it is not.
    covariance : array (P, P)
        Observed covariance of the natural parameters; NaN where it does not exist.
    reached : bool
        False if the fit was farther from its optimum than rounding and the optimiser's tolerance explain; ``u`` is then
        the better point.
    """

    model: LatentSkillLaw
    rule: Rule
    restriction: Restriction | None
    u: np.ndarray
    value: float
    fitted: float
    information: np.ndarray
    covariance: np.ndarray
    reached: bool

    @classmethod
    def of(cls, fit: "LatentSkillResults") -> "Peak":
        """Return the optimum of a fit, after the same rule has searched once more from the estimate."""
        estimate = fit.estimate
        scale = scale_from(full_information(fit))
        information = np.linalg.inv(scale @ scale.T)
        end = refit(estimate.objective(fit.model), estimate.rule, estimate.coordinates, estimate.information)
        better = end.value > estimate.penalised
        return cls(
            fit.model, estimate.rule, estimate.restriction, end.free if better else estimate.free,
            max(end.value, estimate.penalised), estimate.penalised, information, fit.observed.matrix,
            bool(end.value < estimate.penalised + _NEAR_OPTIMUM),
        )  # fmt: skip

    def natural(self, u: np.ndarray) -> np.ndarray:
        """Return the natural parameters of a free vector."""
        return natural_vector(self.model.space, self.model.recoding, u)

    def fixes(self, target: Target) -> bool:
        """Return whether the fit's restriction allows a single value of the target only."""
        if self.restriction is None:
            return False
        return np.linalg.matrix_rank(np.vstack([self.restriction.matrix, target.weights])) == self.restriction.rank

    def reported(self, u: np.ndarray) -> np.ndarray:
        """Return natural parameters as a fit reports them, with the signs that the form wants."""
        model = self.model
        structure = model.space.structure(u)
        for candidate in (model.pattern.reflect(structure), structure):
            params = model.table.natural(model.recoding.user(candidate.unsigned()))
            if self.restriction is None or np.abs(self.restriction.residual(params)).max() < 1e-6:
                break
        return params

    def climbed(self, u: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the maximum near a point without the profile's restriction: (natural parameters, value)."""
        model, information, start = self.model, self.information, u
        space: ParameterSpace | RestrictedSpace = model.space
        if self.restriction is not None:
            metric = np.linalg.inv(information)
            restricted = RestrictedSpace.near(model.space, model.recoding, self.restriction, u, metric)
            basis, start = restricted.basis(restricted.start), restricted.start[restricted.kept]
            space, information = restricted, basis.T @ information @ basis
        end = refit(Objective(space, model.internal_cells, model.penalty), self.rule, start, information)
        return self.reported(end.free), end.value


@dataclass(frozen=True, eq=False)
class Point:
    """A restricted maximum.

    Attributes
    ----------
    psi, t : float
        Value of the target, on the profile's scale and on its own.
    u : array (P,)
    value : float
        Penalised log-likelihood.
    root : float
        Signed root.
    slope : float
        d root / d psi.
    converged : bool
    evaluations : int
        Passes over the data.
    distance : float
        Distance of the end of the search from its maximum, about in standard errors.
    mirrored : bool
        Whether the search crossed to signs of skills that the form excludes.
    """

    psi: float
    t: float
    u: np.ndarray
    value: float
    root: float
    slope: float
    converged: bool
    evaluations: int
    distance: float = 0.0
    mirrored: bool = False


class HigherPoint(Exception):
    """Raised for a restricted maximum above the fit, which therefore was not at its optimum."""

    def __init__(self, point: Point) -> None:
        super().__init__(f"log-likelihood {point.value}")
        self.point = point


class Path:
    """Restricted maxima of a target, each searched from its neighbours.

    Parameters
    ----------
    peak : Peak
    target : Target
    """

    def __init__(self, peak: Peak, target: Target) -> None:
        self.peak, self.target = peak, target
        model = peak.model
        t = float(target.weights @ peak.natural(peak.u))
        if target.closed:
            t = float(np.clip(t, *target.space))
        self._row = Restriction(target.weights[None, :], np.zeros(1), (target.label,))
        self._standard = None if peak.rule.kind == "laplace" else peak.rule.standard(model.internal_cells.n_families)
        variance = target.weights @ peak.covariance @ target.weights
        self.wald_se = float(np.sqrt(variance)) if variance > 0.0 else np.nan
        gradient = target.weights @ natural_jacobian(model.space, model.recoding, peak.u)
        spread = np.linalg.solve(peak.information, gradient)
        self._tangent = spread / (gradient @ spread) / target.derivative(t)
        if not variance > 0.0:
            variance = gradient @ spread
        self.se = float(np.sqrt(variance)) * target.derivative(t)
        self.centre = Point(target.forward(t), t, peak.u, peak.value, 0.0, 1.0 / self.se, True, 0)
        self.points, self.switched, self.lost = [self.centre], False, 0

    def at(self, psi: Any) -> Point | None:
        """Return the restricted maximum at psi; None where no parameters satisfy the restriction, or the search fails.

        A search that stops before its maximum gives an upper bound of the deviance only.

        Raises
        ------
        HigherPoint
            If it is above the peak.
        """
        starts = [self._predicted(psi), min(self.points, key=lambda point: abs(point.psi - psi)).u]
        for start in starts:
            point = self._maximum(psi, start)
            if point is not None:
                break
        else:
            return None
        if (point.mirrored or not point.converged) and len(self.points) > 1:
            again = self._maximum(psi, self._along(psi))
            if again is not None and not again.mirrored and (point.mirrored or again.value > point.value):
                point = again
        if not point.distance < _LOST:
            self.lost += 1
            return None
        return self._keep(point)

    def checked(self, point: Point) -> Point:
        """Return the better of a point and of the maximum that is searched straight from the peak.

        The latter may be on another branch of the profile.
        """
        from_peak = self._maximum(point.psi, self._along(point.psi), _CHECKED)
        evaluations = point.evaluations + (0 if from_peak is None else from_peak.evaluations)
        self.points = [old for old in self.points if old is not point]
        if from_peak is None or from_peak.mirrored or from_peak.value < point.value + ROUNDING:
            return self._keep(replace(point, evaluations=evaluations))
        self.switched = True
        return self._keep(replace(from_peak, evaluations=evaluations))

    def _keep(self, point: Point) -> Point:
        """Add a point to the path and return it; raise HigherPoint if it is above the peak."""
        if not point.mirrored and point.value > self.peak.value + ROUNDING:
            raise HigherPoint(point)
        self.points.append(point)
        self.points.sort(key=lambda kept: kept.psi)
        return point

    def _along(self, psi: Any) -> np.ndarray:
        """Return where the restricted maximum would be if the log-likelihood were quadratic about the peak."""
        return self.centre.u + (psi - self.centre.psi) * self._tangent

    def _predicted(self, psi: Any) -> np.ndarray:
        """Return a start by the secant through the two nearest points, between them or beyond them."""
        if len(self.points) == 1:
            return self._along(psi)
        near = sorted(self.points, key=lambda point: abs(point.psi - psi))
        inner = [point for point in near if point.psi <= psi][:1] + [point for point in near if point.psi > psi][:1]
        first, second = inner if len(inner) == 2 else near[:2]
        return first.u + (psi - first.psi) / (second.psi - first.psi) * (second.u - first.u)

    def _with_correlation(self, u: np.ndarray, t: Any) -> np.ndarray:
        """Return u with a correlation set to t, if a correlation is profiled; other restrictions are harder to satisfy.

        In the Cholesky factor with the two skills first, only the second row changes: the covariances of other effects
        with the first skill, and with the rest of the second given the first, stay the same.
        """
        if not self.target.pair:
            return u
        structure = self.peak.model.space.structure(u)
        cov = structure.skill_cov
        order = [*self.target.pair, *(k for k in range(len(cov)) if k not in self.target.pair)]
        factor = np.linalg.cholesky(cov[np.ix_(order, order)])
        value = t / self.target.factor
        factor[1, :2] = value, np.sqrt(1.0 - value**2)
        original_order = np.argsort(order)
        changed = (factor @ factor.T)[np.ix_(original_order, original_order)]
        return self.peak.model.space.free_vector(replace(structure, skill_cov=changed))

    def _maximum(self, psi: Any, start: np.ndarray, goal: float = _GOAL) -> Point | None:
        """Return the restricted maximum at psi, searched from ``start``; None where there is none."""
        peak, t = self.peak, self.target.back(psi)
        restriction = Restriction(self._row.matrix, np.array([t]), (f"{self.target.label} = {t:g}",))
        if peak.restriction is not None:
            restriction = stacked([peak.restriction, restriction])
        try:
            end = restricted_refit(
                peak.model, peak.rule, restriction, self._with_correlation(start, t), peak.information, goal
            )
        except DataError:  # no parameters satisfy the restriction
            return None
        evaluations = end.evaluations
        if not end.converged and np.isfinite(end.value):
            # far from the peak its information is a bad metric; the complete data's at this point is better
            objective = Objective(end.space, peak.model.internal_cells, peak.model.penalty)
            scale = complete_metric(objective, end.coordinates)
            end = refit(objective, peak.rule, end.coordinates, np.linalg.inv(scale @ scale.T))
            evaluations += end.evaluations
        if not np.isfinite(end.value):
            return None
        deviance = 2.0 * (peak.value - end.value)
        root = np.sign(psi - self.centre.psi) * np.sqrt(max(deviance, 0.0))
        multiplier = self._multiplier(end.free, restriction)
        slope = -multiplier / root / self.target.derivative(t) if root else np.nan
        return Point(
            float(psi), float(t), end.free, end.value, float(root), float(slope), end.converged, evaluations,
            end.distance, self._mirrored(end.free),
        )  # fmt: skip

    def _multiplier(self, u: np.ndarray, restriction: Restriction) -> float:
        """Return dl/dt, the multiplier of the profile's restriction.

        At a restricted maximum the gradient in u is a linear combination of the gradients of the restrictions.
        """
        peak, model = self.peak, self.peak.model
        if self._standard is None:
            gradient = model.objective.laplace(u)[0].gradient
        else:
            gradient = model.objective.moving(u, self._standard)[0].gradient
        if gradient is None:
            return np.nan
        scale = scale_from(peak.information)
        rows = restriction.matrix @ natural_jacobian(model.space, model.recoding, u) @ scale
        return float(np.linalg.lstsq(rows.T, scale.T @ gradient, rcond=None)[0][-1])

    def _mirrored(self, u: np.ndarray) -> bool:
        """Return whether skills have signs that the form excludes."""
        loadings = self.peak.model.space.structure(u).loadings
        positive = self.peak.model.pattern.positive
        return any(rows and loadings[list(rows), skill].sum() < -1e-9 for skill, rows in enumerate(positive))
