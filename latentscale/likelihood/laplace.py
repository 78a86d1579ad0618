"""Laplace's approximation with its exact gradient, and the gradient of nodes that move with the parameters.

At the mode a of g_l(alpha) = sum h(eta) + log N(alpha; 0, Sigma), with H_l = -d2 g_l, Laplace's
log-likelihood is g_l(a) + (K log 2 pi - log|H_l|) / 2. Both a and H move with the parameters xi:
da/dxi = H^-1 d2g/da dxi, and dH brings in third derivatives of h. What any function of (a, H) owes to those
movements is collected by one adjoint pass from its derivatives in a and in H; Laplace's determinant and
adapted nodes both use it.

h need not be concave, and where H is about to be singular -log|H| has a pole that would draw an optimiser. On request,
and always with outliers, the determinant is that of the expected curvature, which is smooth and at least Sigma^-1;
modes and their movements are those of h itself.

Where LLMs have residual skills, alpha stands for the effects of a family and of all its LLMs; every sum over cells and
every solution then goes through two levels (``two_levels``), and no matrix is larger than D + K.
"""

from dataclasses import dataclass

import numpy as np

from ..components.complete import chain_score, effects_cov, layout_of
from ..numerics.linalg import log_determinant, positive_definite, solve_vectors, symmetrise
from .modes import MODE_TOLERANCE, modes_and_terms, weighted_outer
from .two_levels import TwoLevelCurvature


@dataclass(frozen=True)
class AtModes:
    """Cell derivatives at the posterior modes.

    Attributes
    ----------
    modes : Modes
    terms : dict of arrays (C,)
        Those of ``cell_terms`` at third order.
    loadings, effects : array (C, D)
        Effect loadings of each cell, and the effects they multiply; (C, D + K) where LLMs have effects.
    mean_skill : array (C, K)
        x_i' B of each cell.
    """

    modes: object
    terms: dict
    loadings: np.ndarray
    effects: np.ndarray
    mean_skill: np.ndarray


def at_modes(structure, cells, start=None, shapes="", tolerance=MODE_TOLERANCE, expected=False):
    """Find the modes and differentiate the cells there."""
    wanted = (3, shapes, expected)
    modes, terms, loadings, mean_skill = modes_and_terms(structure, cells, start, tolerance, wanted)
    values = {name: value[:, 0] for name, value in terms.items()}
    return AtModes(modes, values, loadings, modes.by_cell(cells), mean_skill)


def mode_adjoint(structure, cells, at, in_curvature, in_mode, expected=False):
    """Score owed to the movement of modes and curvatures.

    Parameters
    ----------
    at : AtModes
    in_curvature : array (L, D, D)
        Symmetric derivative G of the objective in H_l; where LLMs have effects (n, D + K, D + K), in its part for the
        family's effects and those of one LLM.
    in_mode : array (L, D)
        Its derivative in the mode, beyond what G brings; in the family's effects alone.
    expected : bool
        Whether H_l is the expected curvature.

    Returns
    -------
    (dict of cell sums, array (L, K, K))
        In the form that ``chain_score`` takes.
    """
    h, loadings, modes = at.terms, at.loadings, at.modes
    # -d of a cell's weight in H, in eta and in the shapes
    bend = (lambda name: -h["fisher " + name]) if expected else (lambda name: h["ee" + name])
    weight = -h["fisher"] if expected else h["ee"]
    group = cells.family if modes.llm is None else cells.llm
    spread = np.einsum("ckm,cm->ck", in_curvature[group], loadings)  # G lambda
    bent = np.einsum("ck,ck->c", spread, loadings)  # lambda' G lambda
    u, moved = _movement(cells, modes, in_mode, -(bend("e") * bent)[:, None] * loadings)
    drift = np.einsum("ck,ck->c", moved, loadings)
    e = h["ee"] * drift - bend("e") * bent
    direct = h["e"][:, None] * moved - 2.0 * weight[:, None] * spread
    sums = {"e": e, "e_alpha": e[:, None] * at.effects + direct}
    for name in layout_of(structure).shapes:
        if name in h:
            sums[name] = h["e" + name] * drift - bend(name) * bent
    prior = np.linalg.inv(structure.skill_cov)
    return sums, prior @ symmetrise(_moment(cells, modes, u, in_curvature, len(prior))) @ prior


def _movement(cells, modes, in_mode, by_cell):
    """u = H^-1 v with v the sum of ``by_cell`` and ``in_mode``: u by family, or a pair by level, and by cell."""
    if modes.llm is None:
        u = solve_vectors(modes.curvature, in_mode + cells.sum_by_family(by_cell))
        return u, u[cells.family]
    d = modes.alpha.shape[1]
    sums = cells.sum_by_llm(by_cell)
    u = modes.levels.solve(in_mode + cells.sum_of_llms(sums[:, :d]), sums[:, d:])
    return u, np.hstack([u[0][cells.family], u[1][cells.llm]])


def _moment(cells, modes, u, in_curvature, k):
    """u a' - G over the effects whose covariance is Sigma: alpha, and the residual skills of LLMs; (L, K, K)."""
    if modes.llm is None:
        return u[:, :k, None] * modes.alpha[:, None, :k] - in_curvature[:, :k, :k]
    family, llm = u
    of_llms = llm[:, :, None] * modes.llm[:, None, :] - in_curvature[:, -k:, -k:]
    shared = in_curvature[np.cumsum(cells.n_llms) - 1, :k, :k]  # the same for all LLMs of a family
    return family[:, :k, None] * modes.alpha[:, None, :k] - shared + cells.sum_of_llms(of_llms)


def laplace(structure, cells, start=None, shapes="", tolerance=MODE_TOLERANCE, expected=False):
    """Log-likelihood, score in s, and modes; see ``laplace_by_family``."""
    value, score, modes = laplace_by_family(structure, cells, start, shapes, tolerance, False, expected)
    return float(value.sum()), score, modes


def laplace_by_family(
    structure, cells, start=None, shapes="", tolerance=MODE_TOLERANCE, by_family=True, expected=False
):
    """Log-likelihood of each family, scores in s, and modes.

    Parameters
    ----------
    structure : Structure
    cells : Cells
    start : Modes or array (L, D), optional
        Where to start the search for the modes.
    shapes : str
        Shapes beside the precision in which the score is wanted.
    tolerance : float
        Newton decrement at which the search for modes stops.
    by_family : bool
        Whether the scores are wanted family by family, (L, S), or summed, (S,).
    expected : bool
        Whether the determinant is that of the expected curvature; with outliers it always is.

    Returns
    -------
    (array (L,), array (L, S) or (S,), Modes)
        The log-likelihood is -inf where a curvature is not positive definite (no Laplace approximation).
    """
    at = at_modes(structure, cells, start, shapes, tolerance, expected)
    modes, h = at.modes, at.terms
    prior = np.linalg.inv(effects_cov(structure))
    own = np.linalg.inv(structure.skill_cov)
    expected = "fisher e" in h
    curvature = _curvature(cells, at, prior, own) if expected else (modes.levels or modes.curvature)
    log_determinants, inverse, defined = _invert(curvature)
    value = cells.sum_by_family(h["f"]) - 0.5 * np.einsum("lk,lk->l", modes.alpha, modes.alpha @ prior)
    value -= 0.5 * (log_determinant(structure.skill_cov) + log_determinants)
    if modes.llm is not None:
        square = np.einsum("nk,nk->n", modes.llm, modes.llm @ own)
        value -= 0.5 * (cells.sum_of_llms(square) + cells.n_llms * log_determinant(structure.skill_cov))
    defined = defined() if expected else modes.exact
    if not defined.all():
        value = np.where(defined, value, -np.inf)
    sums, cov_gradient = mode_adjoint(structure, cells, at, -0.5 * inverse, np.zeros_like(modes.alpha), expected)
    direct = {"e": h["e"], "e_alpha": h["e"][:, None] * at.effects}
    for name in sums:
        sums[name] = sums[name] + (direct[name] if name in direct else h[name])
    cov_gradient += 0.5 * _pulled(modes.alpha[:, : len(own)], own)
    if modes.llm is not None:
        cov_gradient += 0.5 * cells.sum_of_llms(_pulled(modes.llm, own))
    return value, chain_score(structure, cells, at.mean_skill, sums, cov_gradient, by_family), modes


def _pulled(effects, prior):
    """P a a' P - P for each row a, (m, K, K)."""
    pulled = effects @ prior
    return pulled[:, :, None] * pulled[:, None, :] - prior


def _curvature(cells, at, prior, own):
    """The expected curvature of the families' effects, on two levels where LLMs have effects."""
    if at.modes.llm is None:
        return weighted_outer(at.loadings, at.terms["fisher"], cells) + prior
    blocks = weighted_outer(at.loadings, at.terms["fisher"], cells, by_llm=True)
    return TwoLevelCurvature.eliminated(cells, blocks, prior, own)


def _invert(curvature):
    """log|H| (L,), the parts of H^-1 that cells need, and a function that says where H is positive definite (L,)."""
    if isinstance(curvature, TwoLevelCurvature):
        return curvature.log_determinant(), curvature.inverse_blocks(), curvature.defined
    return log_determinant(curvature), np.linalg.inv(curvature), lambda: positive_definite(curvature)


def moving_score(structure, cells, at, nodes, pull, twist, by_family=False):
    """Score owed to nodes alpha_m = a + C z_m, C C' = H^-1, moving with the parameters.

    Parameters
    ----------
    at : AtModes
    nodes : Nodes
    pull : array (L, D)
        sum_m p_m r_m, with r_m the gradient of the log joint density at node m.
    twist : array (L, D, D)
        sum_m p_m r_m alpha_m'.
    """
    modes = at.modes
    root = nodes.root
    twist = twist - pull[:, :, None] * modes.alpha[:, None, :]
    # twist C^-T is sum_m p_m r_m z_m'; through dC = -C tril_half(C' dH C) it becomes a derivative in H
    in_root = np.swapaxes(np.linalg.solve(root, np.swapaxes(twist, 1, 2)), 1, 2)
    half = np.tril(np.swapaxes(root, 1, 2) @ in_root)
    diagonal = np.arange(half.shape[-1])
    half[:, diagonal, diagonal] *= 0.5
    transposed = np.swapaxes(root, 1, 2)
    in_curvature = -symmetrise(root @ half @ transposed) - 0.5 * (root @ transposed)
    # Fisher's curvature, used where H is not positive definite, is held still: frozen nodes there
    in_curvature[~modes.exact] = 0.0
    pull = np.where(modes.exact[:, None], pull, 0.0)
    sums, cov_gradient = mode_adjoint(structure, cells, at, in_curvature, pull)
    return chain_score(structure, cells, at.mean_skill, sums, cov_gradient, by_family)
