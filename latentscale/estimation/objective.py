"""The penalised log-likelihood as a function of the free vector u, by Laplace or on frozen nodes."""

from dataclasses import dataclass, replace

import numpy as np

from ..components.complete import layout_of
from .adaptive import adaptive
from .laplace import laplace
from .laplace_hessian import laplace_hessian
from .marginal import Nodes, adapted_nodes, marginal
from .modes import MODE_TOLERANCE, posterior_modes
from .rules import require_laplace


@dataclass(frozen=True)
class Evaluation:
    """The objective at u.

    Attributes
    ----------
    value : float
        Penalised log-likelihood, what is maximised.
    loglike : float
        Log-likelihood without the penalty.
    gradient : array (P,) or None
        Of ``value`` in u.
    hessian : array (P, P) or None
        Of ``value`` in u; without the second derivatives of s(u) where they vanish at the optimum.
    posterior : array (L, M) or None
        Posterior weights of the nodes.
    """

    value: float
    loglike: float
    gradient: np.ndarray = None
    hessian: np.ndarray = None
    posterior: np.ndarray = None


_NOWHERE = Evaluation(-np.inf, -np.inf)


class Objective:
    """Penalised log-likelihood of a parameter space on a set of cells.

    Parameters
    ----------
    space : ParameterSpace or RestrictedSpace
    cells : Cells
    penalty : Penalty
    mode_tolerance : float
        Newton decrement at which Laplace's search for modes stops; its square bounds the error left.
    expected : bool
        Whether Laplace takes the determinant of the expected curvature, which has no poles.
    """

    def __init__(self, space, cells, penalty, mode_tolerance=MODE_TOLERANCE, expected=False):
        self.space, self.cells, self.penalty = space, cells, penalty
        self.mode_tolerance, self.expected = mode_tolerance, expected
        self.shapes = space.table.shapes_free

    def laplace(self, u, start=None):
        """Evaluation and modes; the value is -inf where there is no Laplace approximation.

        ``start`` is where the search for the modes begins, Modes or effects of families.
        """
        s = self.space.structural(u)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # -inf is the answer then
            try:
                loglike, score, modes = laplace(
                    self.space.layout.unflatten(s), self.cells, start, self.shapes, self.mode_tolerance, self.expected,
                )
            except np.linalg.LinAlgError:  # Sigma is singular to double precision
                return _NOWHERE, None
        return self._evaluation(u, s, loglike, score), modes

    def laplace_hessian(self, u, modes=None):
        """Hessian in u of the penalised Laplace log-likelihood; may be NaN. Not for residual skills of LLMs."""
        s = self.space.structural(u)
        structure = self.space.layout.unflatten(s)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            _, score, modes = laplace(structure, self.cells, modes, self.shapes, self.mode_tolerance, self.expected)
            hessian = laplace_hessian(structure, self.cells, modes, self.shapes, self.expected)
        return self._in_u(u, s, score + self.penalty.terms(s)[1], hessian)

    def _in_u(self, u, s, score, hessian):
        """A Hessian in s, with the penalty's, carried to u."""
        jacobian = self.space.jacobian(u)
        return jacobian.T @ (hessian + self.penalty.hessian(s)) @ jacobian + self.space.curvature(u, score)

    def nodes(self, u, standard, start=None):
        """Standard nodes adapted to every family's posterior at u, and the modes."""
        structure = self.space.structure(u)
        require_laplace(structure.kappa != 0.0)
        modes = posterior_modes(structure, self.cells, start)
        return adapted_nodes(standard, modes), modes

    def moving(self, u, standard, start=None):
        """Evaluation on nodes adapted anew at every u, with the exact gradient (``adaptive``), and the modes."""
        s = self.space.structural(u)
        structure = self.space.layout.unflatten(s)
        require_laplace(structure.kappa != 0.0)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            try:
                loglike, score, modes = adaptive(structure, self.cells, standard, start, self.shapes)
            except np.linalg.LinAlgError:
                return _NOWHERE, None
        return self._evaluation(u, s, loglike, score), modes

    def _evaluation(self, u, s, loglike, score):
        penalty, gradient = self.penalty.terms(s)
        if not (np.isfinite(loglike) and np.isfinite(score).all()):
            return _NOWHERE
        return Evaluation(loglike + penalty, loglike, self.space.pull_back(u, score + gradient))

    def frozen(self, u, nodes, order=1, posterior=None):
        """Evaluation on frozen nodes; with ``posterior``, of the EM step's Q instead."""
        s = self.space.structural(u)
        structure = self.space.layout.unflatten(s)
        require_laplace(structure.kappa != 0.0)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            try:
                out = marginal(structure, self.cells, nodes, order, self.shapes, posterior)
            except np.linalg.LinAlgError:
                return _NOWHERE
        loglike = float(out.loglike.sum())
        penalty, gradient = self.penalty.terms(s)
        if not np.isfinite(loglike):
            return _NOWHERE
        if order == 0:
            return Evaluation(loglike + penalty, loglike, posterior=out.posterior)
        score = out.score + gradient
        hessian = None if order < 2 else self._in_u(u, s, score, out.hessian)
        return Evaluation(loglike + penalty, loglike, self.space.jacobian(u).T @ score, hessian, out.posterior)

    def complete(self, u, modes):
        """Hessian in u of the complete-data log-likelihood with all effects held at their modes; None if not finite."""
        single = np.zeros((len(modes.alpha), 1))
        nodes = Nodes(modes.alpha[:, None, :], single, None)
        if modes.llm is None:
            return self.frozen(u, nodes, 2, single + 1.0).hessian
        s = self.space.structural(u)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            hessian = _complete_with_llms(self.space.layout.unflatten(s), self.cells, nodes, self.shapes, modes.llm)
        jacobian = self.space.jacobian(u)
        return jacobian.T @ (hessian + self.penalty.hessian(s)) @ jacobian


def _complete_with_llms(structure, cells, nodes, shapes, llm):
    """Hessian in s with the residual skills e_i held too: they are covariates whose slopes are kappa I.

    What Sigma says of e_i is left out; the metric that this is for does not need it.
    """
    k, p = len(structure.skill_cov), len(structure.slopes)
    skills = np.zeros((len(cells.design), k))
    skills[cells.llm_rows] = llm
    weights = np.ones(nodes.log_weight.shape)
    wider = replace(structure, slopes=np.vstack([structure.slopes, structure.kappa * np.eye(k)]), llm_sd=None)
    cells = cells.with_design(np.hstack([cells.design, skills]))
    hessian = marginal(wider, cells, nodes, 2, shapes, weights).hessian
    layout, large = layout_of(structure), layout_of(wider)
    carry = np.zeros((large.size, layout.size))
    for name in layout.slices:
        if name == "llm_sd":
            carry[np.diag(large.index("slopes")[p:]), layout.slices[name]] = 1.0
        else:
            where = large.index(name)[:p] if name == "slopes" else large.index(name)
            carry[where.ravel(), layout.index(name).ravel()] = 1.0
    return carry.T @ hessian @ carry
