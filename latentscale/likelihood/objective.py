"""The penalised log-likelihood as a function of the coordinates u of optimisers, by Laplace or on nodes."""


from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..components.cells import Cells
from ..components.effects_prior import EffectsPrior
from ..components.levels import effect_loadings, levels_of, too_many_for_nodes
from ..components.linear_predictor import fixed_part
from ..components.penalty import Penalty
from ..components.response import cell_parameters, cell_terms, derivative_names
from ..components.score_laws import NOT_COMPUTED
from ..numerics.nodes import StandardNodes
from ..parameters.restrictions import RestrictedSpace
from ..parameters.space import ParameterSpace
from ..parameters.structure import Structure
from .adaptive_nodes import adaptive
from .family_batches import over_batches, total
from .laplace import laplace
from .laplace_hessian import HessianContribution, HessianTotal, hessian_contributions
from .louis import add_blocks, add_covariance, chain_blocks
from .marginal import Nodes, adapted_nodes, marginal
from .modes import MODE_TOLERANCE, Modes, posterior_modes
from .nested_hessian import complete_hessian, family_hessians
from .rules import require_laplace


@dataclass(frozen=True)
class Evaluation:
    """The penalised log-likelihood and its derivatives at u.

    Attributes
    ----------
    value : float
        Penalised log-likelihood, which is maximised.
    loglike : float
        Log-likelihood without the penalty.
    gradient : array (P,) or None
        Gradient of ``value`` in u; None where ``value`` is not finite.
    hessian : array (P, P) or None
        Hessian of ``value`` in u. Terms with second derivatives of s(u) are left out where they vanish at the optimum.
    posterior : array (L, M) or None
        Posterior weights of the nodes.
    """

    value: float
    loglike: float
    gradient: np.ndarray = NOT_COMPUTED
    hessian: np.ndarray = NOT_COMPUTED
    posterior: np.ndarray = NOT_COMPUTED


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
        Whether Laplace's determinant is that of the expected curvature, which is never singular.
    """

    def __init__(
        self,
        space: ParameterSpace | RestrictedSpace,
        cells: Cells,
        penalty: Penalty,
        mode_tolerance: float = MODE_TOLERANCE,
        expected: bool = False,
    ) -> None:
        self.space, self.cells, self.penalty = space, cells, penalty
        self.mode_tolerance, self.expected = mode_tolerance, expected
        self.shapes = space.table.shapes_free

    def laplace(self, u: np.ndarray, start: Modes | np.ndarray | None = None) -> tuple[Evaluation, Modes]:
        """Return the Evaluation by Laplace, and the modes.

        The value is -inf where there is no Laplace approximation. ``start`` is where the search for the modes begins,
        Modes or effects of families.
        """
        return self._with_modes(u, partial(laplace, **self._laplace_options()), start)

    def _laplace_options(self) -> dict[str, Any]:
        return {"shapes": self.shapes, "tolerance": self.mode_tolerance, "expected": self.expected}

    def _with_modes(self, u: np.ndarray, function: Callable[..., Any], *by_family: Any) -> tuple[Evaluation, Modes]:
        """Return Evaluation and modes from a function that gives log-likelihood, score and modes of a batch."""
        s = self.space.structural(u)
        try:
            batches = list(over_batches(partial(function, self.space.layout.unflatten(s)), self.cells, *by_family))
        except np.linalg.LinAlgError:  # Sigma is singular to double precision
            return _NOWHERE, NOT_COMPUTED
        modes = Modes.joined([batch[-1] for batch in batches], self.cells)
        return self._evaluation(u, s, *total(batch[:2] for batch in batches)), modes

    def laplace_hessian(self, u: np.ndarray, modes: Modes | None = None) -> np.ndarray:
        """Return the Hessian in u of the penalised Laplace log-likelihood, NaN where it is not defined.

        """
        s = self.space.structural(u)
        options = self._laplace_options()
        structure = self.space.layout.unflatten(s)
        if too_many_for_nodes(levels_of(structure)):
            return self._nested_hessian(u, s, structure, modes)
        function = partial(_hessian_contributions, structure, options=options, entries=self.entries)
        whole, score = HessianTotal(self.space.layout, self.entries), 0.0
        for batch_score, contributions in over_batches(function, self.cells, modes, large=True):
            if contributions is None:
                return np.full((self.space.size, self.space.size), np.nan)
            score = score + batch_score
            for contribution in contributions:
                whole.add(contribution)
        return self._in_u(u, s, score + self.penalty.terms(s)[1], whole.hessian())

    def _nested_hessian(
        self, u: np.ndarray, s: np.ndarray, structure: Structure, modes: Modes | None
    ) -> np.ndarray:
        """Return the Hessian in u where a cell touches few of the effects of a family and of all units within it."""
        _, score, modes = laplace(structure, self.cells, modes, **self._laplace_options())
        if not modes.exact.all():
            return np.full((self.space.size, self.space.size), np.nan)
        hessian = sum(family_hessians(structure, self.cells, modes, self.shapes, self.expected))
        hessian = np.asarray(hessian)[np.ix_(self.entries, self.entries)]
        return self._in_u(u, s, score + self.penalty.terms(s)[1], hessian)

    @property
    def entries(self) -> np.ndarray:
        """Positions in s of the free parameters, in which Hessians are computed before they are carried to u."""
        return np.flatnonzero(self.space.table.free)

    def _in_u(self, u: np.ndarray, s: np.ndarray, score: np.ndarray, hessian: np.ndarray) -> np.ndarray:
        """Add the penalty to a Hessian in the free entries of s, in place, and carry it to u."""
        more = self.penalty.sparse_hessian(s)[self.entries][:, self.entries].tocoo()
        hessian[more.row, more.col] += more.data
        return self.space.pull_back_hessian(u, hessian, score)

    def modes(self, u: np.ndarray, start: Modes | np.ndarray | None = None) -> Modes:
        """Posterior modes of all families at u; ``start`` as in ``laplace``."""
        function = partial(posterior_modes, self.space.structure(u))
        return Modes.joined(list(over_batches(function, self.cells, start)), self.cells)

    def nodes(
        self, u: np.ndarray, standard: StandardNodes, start: Modes | np.ndarray | None = None
    ) -> tuple[Nodes, Modes]:
        """Return standard nodes adapted to every family's posterior at u, and the modes."""
        structure = self.space.structure(u)
        require_laplace(levels_of(structure))
        batches = list(over_batches(partial(_adapted, structure), self.cells, standard, start))
        return Nodes.joined([nodes for nodes, _ in batches]), Modes.joined([modes for _, modes in batches], self.cells)

    def moving(
        self, u: np.ndarray, standard: StandardNodes, start: Modes | np.ndarray | None = None
    ) -> tuple[Evaluation, Modes]:
        """Return the Evaluation on nodes that are adapted at every u, with its exact gradient, and the modes."""
        require_laplace(levels_of(self.space.structure(u)))
        return self._with_modes(u, partial(adaptive, shapes=self.shapes), standard, start)

    def _evaluation(self, u: np.ndarray, s: np.ndarray, loglike: float, score: np.ndarray) -> Evaluation:
        """Return the Evaluation with the penalty, from log-likelihood and score in s."""
        penalty, gradient = self.penalty.terms(s)
        if not (np.isfinite(loglike) and np.isfinite(score).all()):
            return _NOWHERE
        return Evaluation(loglike + penalty, loglike, self.space.pull_back(u, score + gradient))

    def frozen(self, u: np.ndarray, nodes: Nodes, order: int = 1, posterior: np.ndarray | None = None) -> Evaluation:
        """Return the Evaluation on fixed nodes; with ``posterior`` that of Q, the objective of an EM step."""
        function = partial(_frozen, order=order, shapes=self.shapes)
        evaluation, weights = self._on_nodes(u, function, order, nodes, posterior)
        return replace(evaluation, posterior=weights)

    def adapted(
        self, u: np.ndarray, standard: StandardNodes, order: int = 1, start: Modes | np.ndarray | None = None
    ) -> tuple[Evaluation, Modes]:
        """Return the Evaluation on nodes that are adapted at u and then held fixed, and the modes."""
        return self._on_nodes(u, partial(_adapted_frozen, order=order, shapes=self.shapes), order, standard, start)

    def _on_nodes(
        self, u: np.ndarray, function: Callable[..., Any], order: int, *by_family: Any
    ) -> tuple[Evaluation, Any]:
        """Return the Evaluation, and Modes or posterior weights, from a function of a batch of families.

        The function returns log-likelihood, score, Hessian, and Modes or posterior weights of the batch.
        """
        s = self.space.structural(u)
        structure = self.space.layout.unflatten(s)
        require_laplace(levels_of(structure))
        by_batch = []

        def sums() -> Iterator[tuple[Any, ...]]:
            for *numbers, other in over_batches(partial(function, structure), self.cells, *by_family, large=order == 2):
                by_batch.append(other)
                yield tuple(numbers)

        try:
            loglike, score, hessian = total(sums())
        except np.linalg.LinAlgError:
            return _NOWHERE, NOT_COMPUTED
        is_modes = isinstance(by_batch[0], Modes)
        other = Modes.joined(by_batch, self.cells) if is_modes else np.concatenate(by_batch)
        penalty, gradient = self.penalty.terms(s)
        if not np.isfinite(loglike):
            return _NOWHERE, other
        if order == 0:
            return Evaluation(loglike + penalty, loglike), other
        score = score + gradient
        if order == 2:
            hessian = self._in_u(u, s, score, hessian[np.ix_(self.entries, self.entries)])
        return Evaluation(loglike + penalty, loglike, self.space.pull_back(u, score), hessian), other

    def complete(self, u: np.ndarray, modes: Modes) -> np.ndarray:
        """Return the Hessian in u of the complete-data log-likelihood at the modes; it may not be finite."""
        s = self.space.structural(u)
        structure = self.space.layout.unflatten(s)
        if too_many_for_nodes(levels_of(structure)):
            hessian = complete_hessian(structure, self.cells, modes, self.shapes)
            hessian = hessian[np.ix_(self.entries, self.entries)]
        else:
            function = partial(_complete_blocks, structure, shapes=self.shapes)
            blocks, cov = total(over_batches(function, self.cells, modes))
            hessian = add_blocks(np.zeros((len(self.entries),) * 2), self.space.layout, blocks, self.entries)
            add_covariance(hessian, self.space.layout, cov, self.entries)
        return self._in_u(u, s, np.zeros(len(s)), hessian)


def _hessian_contributions(
    structure: Structure, cells: Cells, modes: Modes | None, options: dict[str, Any], entries: np.ndarray
) -> tuple[np.ndarray, list[HessianContribution] | None]:
    """Return the score in s of a batch, and its contributions to the Hessian, None where it is not defined."""
    _, score, modes = laplace(structure, cells, modes, **options)
    if not modes.exact.all():
        return score, None
    return score, list(hessian_contributions(structure, cells, modes, options["shapes"], options["expected"], entries))


def _adapted(
    structure: Structure, cells: Cells, standard: StandardNodes, start: Modes | np.ndarray | None
) -> tuple[Nodes, Modes]:
    modes = posterior_modes(structure, cells, start)
    return adapted_nodes(standard, modes), modes


def _frozen(
    structure: Structure, cells: Cells, nodes: Nodes, posterior: np.ndarray | None, order: int, shapes: str
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    out = marginal(structure, cells, nodes, order, shapes, posterior)
    return float(out.loglike.sum()), out.score, out.hessian, out.posterior


def _adapted_frozen(
    structure: Structure,
    cells: Cells,
    standard: StandardNodes,
    start: Modes | np.ndarray | None,
    order: int,
    shapes: str,
) -> tuple[float, np.ndarray, np.ndarray, Modes]:
    nodes, modes = _adapted(structure, cells, standard, start)
    return *_frozen(structure, cells, nodes, None, order, shapes)[:3], modes


def _complete_blocks(structure: Structure, cells: Cells, modes: Modes, shapes: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the complete-data Hessian of a batch, in blocks of benchmarks and of Sigma."""
    mean_skill, base = fixed_part(structure, cells)
    effects = modes.by_cell(cells)
    eta = base + np.einsum("cd,cd->c", effect_loadings(structure, cells), effects)
    terms = cell_terms(eta[:, None], cell_parameters(structure, cells), cells, slice(None), 2, shapes)
    one, both = np.ones((len(eta), 1)), (effects[:, :, None] * effects[:, None, :]).reshape(len(eta), -1)
    moments = np.hstack([one, effects, both])
    sums = {name: terms[name] * (moments if "e" in name else one) for name in derivative_names(2, shapes)}
    prior = EffectsPrior(structure.skill_cov, effects.shape[1])
    cov = prior.hessian(modes.alpha.T @ modes.alpha, len(modes.alpha))
    return chain_blocks(structure, cells, mean_skill, sums), cov
