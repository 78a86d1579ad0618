"""The marginal log-likelihood on nodes that are held fixed, with its score and Hessian.

On nodes alpha_lm with log-weights w_lm the marginal likelihood of family l is the finite mixture
sum_m exp(w_lm) prod_cells f(y | alpha_lm) N(alpha_lm; 0, Sigma). Its score is the posterior mean of the complete-data
score (Fisher's identity). Its Hessian is the posterior mean of the complete-data Hessian plus the posterior covariance
of the complete-data score (Louis's identity). Both are exact for fixed nodes.
"""


from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..components.cells import Cells
from ..components.effects_prior import EffectsPrior
from ..components.levels import effect_loadings, levels_of
from ..components.linear_predictor import chain_score, fixed_part, layout_of
from ..components.response import cell_parameters, cell_terms, compiled_loops, derivative_names
from ..components.score_laws import NOT_COMPUTED
from ..numerics.nodes import StandardNodes
from ..parameters.structure import Structure
from .louis import chain_hessian, node_scores
from .modes import Modes

# The largest number of elements of an array of cells by nodes in memory at one time, and of the piece of it on which
# one operation works: some ten temporary arrays should stay in the processor's cache, and yet be so long that the
# overhead of a numpy operation is small beside them.
BLOCK = 64_000
PIECE = 16_000


@dataclass(frozen=True)
class Nodes:
    """Nodes of every family.

    Attributes
    ----------
    alpha : array (L, M, D)
        Effects of families at the nodes.
    log_weight : array (L, M)
        Logarithms of the weights.
    root : array (L, D, D) or None
        The lower triangular factor C, where nodes are mode + C z (``adapted_nodes``).
    """

    alpha: np.ndarray
    log_weight: np.ndarray
    root: Any

    def of_families(self, first: int, last: int) -> Nodes:
        """Return the nodes of families ``first`` to ``last - 1``."""
        where = slice(first, last)
        return Nodes(self.alpha[where], self.log_weight[where], None if self.root is None else self.root[where])

    @classmethod
    def joined(cls, batches: Sequence[Nodes]) -> Nodes:
        """Return the nodes of all families from those of batches of families, in their order."""
        if len(batches) == 1:
            return batches[0]
        names = ("alpha", "log_weight", "root")
        return cls(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in names))


def adapted_nodes(standard: StandardNodes, modes: Modes) -> Nodes:
    """Return nodes adapted to the mode and the curvature of each family: alpha = mode + C z, C C' = H^-1."""
    root = np.linalg.cholesky(np.linalg.inv(modes.curvature))
    alpha = modes.alpha[:, None, :] + standard.z @ np.swapaxes(root, 1, 2)
    log_scale = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    return Nodes(alpha, standard.log_weight + log_scale[:, None], root)


@dataclass(frozen=True)
class Marginal:
    """The marginal log-likelihood and its derivatives from one pass over the nodes.

    Attributes
    ----------
    loglike : array (L,)
        Log-likelihood of each family.
    score : array (S,), by family (L, S), or None
    hessian : array (S, S), by family (L, S, S), or None
    posterior : array (L, M)
        Posterior weights p_m of the nodes; rows sum to one.
    pull, twist : arrays (L, D), (L, D, D), or None
        sum_m p_m r_m and sum_m p_m r_m alpha_m', where r_m is the gradient of the log joint density at node m.
    """

    loglike: np.ndarray
    score: np.ndarray
    hessian: np.ndarray
    posterior: np.ndarray
    pull: np.ndarray = NOT_COMPUTED
    twist: np.ndarray = NOT_COMPUTED


def family_blocks(cells: Cells, n_nodes: int) -> Iterator[tuple[int, int]]:
    """Yield blocks of consecutive families, (first, last + 1), whose cells times nodes are at most ``BLOCK``."""
    limit = max(1, BLOCK // n_nodes)
    first = 0
    while first < cells.n_families:
        last = int(np.searchsorted(cells.bounds, cells.bounds[first] + limit, side="right")) - 1
        last = min(max(last, first + 1), cells.n_families)
        yield first, last
        first = last


def marginal(
    structure: Structure,
    cells: Cells,
    nodes: Nodes,
    order: int = 1,
    shapes: str = "",
    posterior: np.ndarray | None = None,
    by_family: bool = False,
) -> Marginal:
    """Return log-likelihood, score and Hessian from one pass over all cells and nodes.

    Parameters
    ----------
    structure : Structure
    cells : Cells
    nodes : Nodes
    order : {0, 1, 2}
        0 for the log-likelihood alone, 1 for its score in the structural vector s too, 2 for its Hessian too.
    shapes : str
        Shapes beside the precision in which derivatives are wanted.
    posterior : array (L, M), optional
        Weights that are held fixed. The results are then those of Q, the expected complete-data log-likelihood of an EM
        step, instead of the marginal log-likelihood.
    by_family : bool
        Whether score and Hessian are wanted family by family.
    """
    sweep = _Sweep(structure, cells, nodes, order, shapes, posterior, by_family)
    for first, last in family_blocks(cells, nodes.alpha.shape[1]):
        sweep.block(first, last)
    return sweep.result()


class _Sweep:
    """The sums of one pass, to which blocks of families are added one after the other."""

    def __init__(
        self,
        structure: Structure,
        cells: Cells,
        nodes: Nodes,
        order: int,
        shapes: str,
        posterior: np.ndarray | None,
        by_family: bool,
    ) -> None:
        self.structure, self.cells, self.nodes = structure, cells, nodes
        self.order, self.shapes, self.fixed, self.by_family = order, shapes, posterior, by_family
        self.layout = layout_of(structure)
        self.mean_skill, self.base = fixed_part(structure, cells)
        self.parameters = cell_parameters(structure, cells)
        level = levels_of(structure)[0]
        n, k = cells.n_cells, level.size
        self.prior = EffectsPrior(structure.skill_cov, k)
        self.loadings = effect_loadings(structure, cells, [level])
        self.wanted = derivative_names(order, shapes)
        width = 1 + k + (k * k if order == 2 else 0)
        self.sums = {name: np.empty((n, width if name[0] == "e" else 1)) for name in self.wanted}
        self.loglike = np.empty(cells.n_families)
        self.posterior = np.empty(nodes.log_weight.shape)
        self.moments = np.empty((cells.n_families, k, 1 + k))  # of the effects: first and second
        self.pull, self.twist = np.empty((cells.n_families, k)), np.empty((cells.n_families, k, k))
        groups = cells.n_families if by_family else 1
        self.hessian: Any = np.zeros((groups, self.layout.size, self.layout.size)) if order == 2 else None

    def block(self, first: int, last: int) -> None:
        """Add families ``first`` to ``last - 1``."""
        cells, alpha = self.cells, self.nodes.alpha
        where = slice(cells.bounds[first], cells.bounds[last])
        bounds = cells.bounds[first : last + 1] - where.start
        spans = [slice(*pair) for pair in pairwise(bounds)]
        # consecutive cells are consecutive in memory, as cell_terms is fastest so
        eta = np.empty((alpha.shape[1], where.stop - where.start)).T
        loadings = self.loadings[where]
        for f, span in enumerate(spans, first):
            np.matmul(loadings[span], alpha[f].T, out=eta[span])
        eta += self.base[where, None]
        terms = self._terms(eta, where)
        joint = np.add.reduceat(terms["f"], bounds[:-1], axis=0)
        joint += self.prior.log_density(alpha[first:last]) + self.nodes.log_weight[first:last]
        if self.fixed is None:
            top = joint.max(axis=1)
            weight = np.exp(joint - top[:, None])
            total = weight.sum(axis=1)
            self.loglike[first:last] = top + np.log(total)
            weight /= total[:, None]
        else:
            weight = self.fixed[first:last]
            self.loglike[first:last] = np.sum(weight * joint, axis=1)
        self.posterior[first:last] = weight
        if self.order:
            self._expectations(first, last, where, spans, terms)

    def _terms(self, eta: np.ndarray, where: slice) -> dict[str, np.ndarray]:
        """Return the wanted derivatives of h at the cells and nodes of a block, computed piece by piece."""
        parameters = self.parameters.at(where)
        if compiled_loops(parameters, self.cells, self.order, self.shapes) is not None:
            return cell_terms(eta, parameters, self.cells, where, self.order, self.shapes)
        out = {name: np.empty_like(eta) for name in ["f", *self.wanted]}
        width = max(1, PIECE // len(eta))
        for start in range(0, eta.shape[1], width):
            piece = slice(start, start + width)
            terms = cell_terms(eta[:, piece], parameters, self.cells, where, self.order, self.shapes)
            for name, values in out.items():
                values[:, piece] = terms[name]
        return out

    def _expectations(
        self, first: int, last: int, where: slice, spans: list[slice], terms: dict[str, np.ndarray]
    ) -> None:
        """Compute posterior expectations of the derivatives at a block's cells, and its terms of Louis's covariance."""
        alpha, p = self.nodes.alpha[first:last], self.posterior[first:last, :, None]
        k = alpha.shape[2]
        basis = np.empty((*alpha.shape[:2], 1 + k + (k * k if self.order == 2 else 0)))
        basis[:, :, :1] = p
        np.multiply(alpha, p, out=basis[:, :, 1 : k + 1])
        self.moments[first:last] = np.swapaxes(alpha, 1, 2) @ basis[:, :, : k + 1]
        if self.order == 2:
            products = alpha[:, :, :, None] * basis[:, :, None, 1 : k + 1]
            basis[:, :, k + 1 :] = products.reshape(*alpha.shape[:2], k * k)
        for name in self.wanted:
            sums = self.sums[name][where]
            for span, columns in zip(spans, basis, strict=True):
                np.matmul(terms[name][span], columns[:, : sums.shape[1]], out=sums[span])
        # r_m is the sum over cells of e times the effect loadings, minus Sigma^-1 alpha_m
        by_cell = self.loadings[where, :, None] * self.sums["e"][where, None, : k + 1]
        pulls = np.add.reduceat(by_cell, [span.start for span in spans], axis=0)
        pulls -= self.prior.precision @ self.moments[first:last]
        self.pull[first:last], self.twist[first:last] = pulls[:, :, 0], pulls[:, :, 1:]
        if self.order == 2 and self.fixed is None:  # Q has no covariance of scores
            for f, span in enumerate(spans, first):
                self._covariance(f, slice(where.start + span.start, where.start + span.stop), span, terms)

    def _covariance(self, f: int, where: slice, local: slice, terms: dict[str, np.ndarray]) -> None:
        """Add the posterior covariance of one family's complete-data scores to the Hessian."""
        p = self.posterior[f]
        first_order = {name: terms[name][local] for name in self.sums if len(name) == 1}
        alpha = self.nodes.alpha[f]
        scores = node_scores(self.structure, self.cells, where, self.mean_skill, alpha, first_order, self.prior)
        mean = p @ scores
        self.hessian[f if self.by_family else 0] += (scores * p[:, None]).T @ scores - np.outer(mean, mean)

    def result(self) -> Marginal:
        """Return the results of the pass."""
        if self.order == 0:
            return Marginal(self.loglike, NOT_COMPUTED, NOT_COMPUTED, self.posterior)
        k = self.loadings.shape[1]
        score_sums = {name: sums[:, 0] for name, sums in self.sums.items() if len(name) == 1}
        score_sums["e_alpha"] = self.sums["e"][:, 1 : k + 1]
        gradient = self.prior.gradient(self.moments[:, :, 1:])
        score = chain_score(self.structure, self.cells, self.mean_skill, score_sums, gradient, self.by_family)
        if self.order < 2:
            return Marginal(self.loglike, score, NOT_COMPUTED, self.posterior, self.pull, self.twist)
        self._complete_hessian()
        hessian = self.hessian if self.by_family else self.hessian[0]
        return Marginal(self.loglike, score, hessian, self.posterior, self.pull, self.twist)

    def _complete_hessian(self) -> None:
        """Add the expected complete-data Hessian to the posterior covariance of the scores."""
        cells, block = self.cells, self.layout.slices["skill_cov"]
        if not self.by_family:
            self.hessian[0] += chain_hessian(self.structure, cells, self.mean_skill, self.sums)
            moment = self.moments[:, :, 1:].sum(axis=0)
            self.hessian[0, block, block] += self.prior.hessian(moment, cells.n_families)
            return
        for f in range(cells.n_families):
            within = slice(cells.bounds[f], cells.bounds[f + 1])
            self.hessian[f] += chain_hessian(self.structure, cells, self.mean_skill, self.sums, within)
            self.hessian[f, block, block] += self.prior.hessian(self.moments[f, :, 1:], 1)
