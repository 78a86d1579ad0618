"""Laplace's approximation with its exact gradient, and the gradient of nodes that move with the parameters.

At the mode a of g_l(alpha) = sum h(eta) + log N(alpha; 0, Sigma), with H_l = -d2 g_l, Laplace's
log-likelihood is g_l(a) + (K log 2 pi - log|H_l|) / 2. Both a and H move with the parameters xi:
da/dxi = H^-1 d2g/da dxi, and dH brings in third derivatives of h. What any function of (a, H) owes to those
movements is collected by one adjoint pass from its derivatives in a and in H; Laplace's determinant and
adapted nodes both use it.

h need not be concave, and where H is about to be singular -log|H| has a pole that would draw an optimiser. On request,
and always with outliers, the determinant is that of the expected curvature, which is smooth and at least Sigma^-1;
modes and their movements are those of h itself.
"""

from dataclasses import dataclass

import numpy as np

from ..components.complete import chain_score, effect_loadings, effects_cov, fixed_part, layout_of
from ..components.response import cell_parameters, cell_terms
from ..numerics.linalg import log_determinant, positive_definite, solve_vectors, symmetrise
from .modes import MODE_TOLERANCE, posterior_modes, weighted_outer


@dataclass(frozen=True)
class AtModes:
    """Cell derivatives at the posterior modes.

    Attributes
    ----------
    modes : Modes
    terms : dict of arrays (C,)
        Those of ``cell_terms`` at third order.
    loadings : array (C, D)
        Effect loadings of each cell.
    mean_skill : array (C, K)
        x_i' B of each cell.
    """

    modes: object
    terms: dict
    loadings: np.ndarray
    mean_skill: np.ndarray


def at_modes(structure, cells, start=None, shapes="", tolerance=MODE_TOLERANCE, expected=False):
    """Find the modes and differentiate the cells there."""
    modes = posterior_modes(structure, cells, start, tolerance)
    loadings = effect_loadings(structure, cells)
    mean_skill, base = fixed_part(structure, cells)
    eta = base + np.einsum("ck,ck->c", loadings, modes.alpha[cells.family])
    terms = cell_terms(eta[:, None], cell_parameters(structure, cells), cells, slice(None), 3, shapes, expected)
    values = {name: value[:, 0] for name, value in terms.items()}
    return AtModes(modes, values, loadings, mean_skill)


def mode_adjoint(structure, cells, at, in_curvature, in_mode, expected=False):
    """Score owed to the movement of modes and curvatures.

    Parameters
    ----------
    at : AtModes
    in_curvature : array (L, D, D)
        Symmetric derivative G of the objective in H_l.
    in_mode : array (L, D)
        Its derivative in the mode, beyond what G brings.
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
    prior, k = np.linalg.inv(structure.skill_cov), len(structure.skill_cov)
    spread = np.einsum("ckm,cm->ck", in_curvature[cells.family], loadings)  # G lambda
    bent = np.einsum("ck,ck->c", spread, loadings)  # lambda' G lambda
    v = in_mode - cells.sum_by_family((bend("e") * bent)[:, None] * loadings)
    u = solve_vectors(modes.curvature, v)
    drift = np.einsum("ck,ck->c", u[cells.family], loadings)
    e = h["ee"] * drift - bend("e") * bent
    direct = h["e"][:, None] * u[cells.family] - 2.0 * weight[:, None] * spread
    sums = {"e": e, "e_alpha": e[:, None] * modes.alpha[cells.family] + direct}
    for name in layout_of(structure).shapes:
        if name in h:
            sums[name] = h["e" + name] * drift - bend(name) * bent
    moment = u[:, :k, None] * modes.alpha[:, None, :k] - in_curvature[:, :k, :k]
    return sums, prior @ symmetrise(moment) @ prior


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
    start : array (L, K), optional
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
    k = len(structure.skill_cov)
    prior = np.linalg.inv(effects_cov(structure))
    value = cells.sum_by_family(h["f"]) - 0.5 * np.einsum("lk,lk->l", modes.alpha, modes.alpha @ prior)
    expected = "fisher e" in h
    curvature, defined = modes.curvature, modes.exact
    if expected:
        curvature = prior + weighted_outer(at.loadings, h["fisher"], cells)
        defined = positive_definite(curvature)
    value -= 0.5 * (log_determinant(structure.skill_cov) + log_determinant(curvature))
    if not defined.all():
        value = np.where(defined, value, -np.inf)
    inverse = np.linalg.inv(curvature)
    sums, cov_gradient = mode_adjoint(structure, cells, at, -0.5 * inverse, np.zeros_like(modes.alpha), expected)
    direct = {"e": h["e"], "e_alpha": h["e"][:, None] * modes.alpha[cells.family]}
    for name in sums:
        sums[name] = sums[name] + (direct[name] if name in direct else h[name])
    pulled = modes.alpha[:, :k] @ prior[:k, :k]
    cov_gradient += 0.5 * (pulled[:, :, None] * pulled[:, None, :] - prior[:k, :k])
    return value, chain_score(structure, cells, at.mean_skill, sums, cov_gradient, by_family), modes


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
