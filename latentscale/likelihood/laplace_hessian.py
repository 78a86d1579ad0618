"""The Hessian of Laplace's log-likelihood in s, in closed form except for fourth derivatives of h.

For a family let a be its mode, g the log joint density and H the curvature in Laplace's determinant, so that its
log-likelihood is l = g - log|H| / 2 at a(xi). Let v be the derivative of l in a and u = -g_aa^-1 v, held fixed, and let
M(xi, a) = l(xi, a) + u' g_a(xi, a). As g_a = 0 along a(xi), and M_a = 0 by the choice of u, second derivatives of a(xi)
cancel, and

    d2 l = M_xi,xi + M_xi,a A + A' M_a,xi + A' M_aa A,   A = da / dxi = -g_aa^-1 g_a,xi.

Apart from the second-order term of log|H|, tr(G dH G dH) / 2 with G = H^-1 and dH the total derivative, M is a sum over
cells of

    m(eta, w) = h + h_e s - W b / 2,   s = u'w,   b = w'G w,

where w are the effect loadings, W is -h_ee or the expected weight, and u and G are held fixed. So M_xi,xi has the form
of an expected complete-data Hessian, which ``chain_blocks`` computes. Derivatives of W, and of h in two shapes and eta,
are found by fourth-order differences cell by cell: some tens of passes over the cells, for any number of parameters.
"""


from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..components.cells import Cells
from ..components.curve import LINK
from ..components.effects_prior import EffectsPrior
from ..components.levels import effect_loadings, levels_of, own_columns
from ..components.linear_predictor import fixed_part, layout_of
from ..components.response import cell_parameters, cell_terms
from ..numerics.linalg import symmetrise
from ..parameters.structure import Layout, Structure
from .louis import add_blocks, add_covariance, chain_blocks
from .modes import Modes, weighted_outer

_STEP = 1e-4  # of differences; absolute in eta and coordinates of links, relative in other shapes
_BATCH_CELLS = 20_000
_BATCH_NUMBERS = 4_000_000
_HELD_NUMBERS, _STRIP = 2_000_000, 1_000  # numbers in the factors that wait for a product; rows of a product at a time


@dataclass(frozen=True)
class HessianContribution:
    """The contribution of a batch of families to the Hessian in s.

    Attributes
    ----------
    blocks : array (J, W, W)
        M_xi,xi in the parameters of each benchmark, as from ``chain_blocks``.
    cov : array (K (K + 1) / 2, K (K + 1) / 2)
        M_xi,xi in the triangle of Sigma.
    left, right : arrays (R, A)
        Factors of the other terms, in the A entries of s that are wanted: the symmetric part of left' right.
    """

    blocks: np.ndarray
    cov: np.ndarray
    left: np.ndarray
    right: np.ndarray


class HessianTotal:
    """The sum of contributions to the Hessian.

    Factors are collected and multiplied many rows at a time, as every product reads and writes the whole Hessian.

    Parameters
    ----------
    layout : Layout
    entries : int array (A,)
        The entries of s that are wanted, ascending.
    """

    def __init__(self, layout: Layout, entries: np.ndarray) -> None:
        self.layout, self.entries = layout, entries
        self.blocks: Any = 0.0
        self.cov: Any = 0.0
        self.held: list[HessianContribution] = []
        self.product: Any = np.zeros((len(entries), len(entries)))

    def add(self, contribution: HessianContribution) -> None:
        """Add a contribution."""
        self.blocks, self.cov = self.blocks + contribution.blocks, self.cov + contribution.cov
        self.held.append(contribution)
        if sum(waiting.left.size for waiting in self.held) > _HELD_NUMBERS:
            self._multiply()

    def _multiply(self) -> None:
        """Add left' right of the contributions that wait for it, a strip of rows at a time."""
        left, right = (np.concatenate([getattr(waiting, side) for waiting in self.held]) for side in ("left", "right"))
        for start in range(0, len(self.product), _STRIP):
            where = slice(start, start + _STRIP)
            self.product[where] += left[:, where].T @ right
        self.held = []

    def hessian(self) -> np.ndarray:
        """Return the Hessian (A, A). It may be called once, as the Hessian takes over the memory of the sum."""
        if self.held:
            self._multiply()
        whole, self.product = self.product, None
        add_blocks(whole, self.layout, self.blocks, self.entries)
        add_covariance(whole, self.layout, self.cov, self.entries)
        return symmetrise(whole)


def laplace_hessian(
    structure: Structure,
    cells: Cells,
    modes: Modes,
    shapes: str = "",
    expected: bool = False,
    entries: np.ndarray | None = None,
) -> np.ndarray:
    """Return the second derivatives in s of Laplace's log-likelihood, summed over families.

    Parameters
    ----------
    structure : Structure
        Its only effects are those of families.
    cells : Cells
    modes : Modes
        At ``structure``.
    shapes : str
        Shapes beside the precision in which derivatives are wanted; entries for other shapes are zero.
    expected : bool
        Whether the determinant is that of the expected curvature, as in ``laplace_by_family``.
    entries : int array (A,), optional
        The entries of s that are wanted, ascending; all by default.

    Returns
    -------
    array (S, S), or (A, A)
        NaN if a family's curvature is not positive definite, as there is no Laplace approximation.
    """
    layout = layout_of(structure)
    total = HessianTotal(layout, np.arange(layout.size) if entries is None else entries)
    if not modes.exact.all():
        return np.full_like(total.product, np.nan)
    for contribution in hessian_contributions(structure, cells, modes, shapes, expected, total.entries):
        total.add(contribution)
    return total.hessian()


def hessian_contributions(
    structure: Structure, cells: Cells, modes: Modes, shapes: str, expected: bool, entries: np.ndarray
) -> Iterator[HessianContribution]:
    """Yield the contributions of batches of families to the Hessian; arguments as for ``laplace_hessian``."""
    for first, last in _batches(cells, structure):
        batch = cells.of_families(first, last)
        yield _FamilyBatch(structure, batch, modes.alpha[first:last], shapes, expected).contribution(entries)


def _batches(cells: Cells, structure: Structure) -> Iterator[tuple[int, int]]:
    """Yield batches of consecutive families, (first, last + 1), whose arrays stay small."""
    layout = layout_of(structure)
    d = levels_of(structure)[0].size
    most = max(1, _BATCH_NUMBERS // (layout.size * d * (d + 2)))
    first = 0
    while first < cells.n_families:
        last = int(np.searchsorted(cells.bounds, cells.bounds[first] + _BATCH_CELLS, side="right")) - 1
        last = min(max(last, first + 1), first + most, cells.n_families)
        yield first, last
        first = last


class _FamilyBatch:
    """A batch of families; names of arrays are those in the docstring of the module."""

    def __init__(self, structure: Structure, cells: Cells, alpha: np.ndarray, shapes: str, expected: bool) -> None:
        self.structure, self.cells, self.alpha = structure, cells, alpha
        self.layout = layout_of(structure)
        self.level = levels_of(structure)[0]
        self.prior = EffectsPrior(structure.skill_cov, self.level.size)
        self.mean_skill, base = fixed_part(structure, cells)
        self.w = effect_loadings(structure, cells, [self.level])
        eta = base + np.einsum("cd,cd->c", self.w, alpha[cells.family])
        self.letters = "p" + shapes
        self.h, self.weight = cell_derivatives(structure, cells, eta, self.letters, expected)
        h, weight, family = self.h, self.weight, cells.family
        self.families = cells.units("family")
        among = self.families, cells.item, own_columns(structure, cells)
        self.minus_g_aa = weighted_outer(self.w, -h["ee"], *among) + self.prior.precision
        self.g = np.linalg.inv(weighted_outer(self.w, weight[""], *among) + self.prior.precision)
        self.gw = np.einsum("cde,ce->cd", self.g[family], self.w)
        b = np.einsum("cd,cd->c", self.gw, self.w)
        v = -0.5 * cells.sum_by_family((weight["e"] * b)[:, None] * self.w)
        self.u = np.linalg.solve(self.minus_g_aa, v[:, :, None])[:, :, 0]
        s = np.einsum("cd,cd->c", self.u[family], self.w)
        self.m = {name: h[name] + h["e" + name] * s - 0.5 * weight[name] * b for name in self._names()}
        self.one_a = np.hstack([np.ones((len(eta), 1)), alpha[family]])

    def _names(self) -> list[str]:
        """Return the names of the first and second derivatives of m."""
        every = "e" + self.letters
        return [*every, *(a + b for place, a in enumerate(every) for b in every[place:])]

    def contribution(self, entries: np.ndarray) -> HessianContribution:
        """Return the contribution of the batch in some entries of s."""
        in_a_g = self._across(self._bilinear(self.h), {a: self.h["e" + a] for a in self.letters}, self.alpha)
        bilinear = self._bilinear(self.m)
        bilinear[:, 1:] += self._in_w("e")[:, :, None] * self.w[:, None, :]
        in_a = self._across(bilinear, {a: self.m["e" + a] for a in self.letters}, self.alpha + self.u)
        a = np.linalg.solve(self.minus_g_aa, np.swapaxes(in_a_g, 1, 2))
        own = own_columns(self.structure, self.cells)
        in_aa = weighted_outer(self.w, self.m["ee"], self.families, self.cells.item, own) - self.prior.precision
        # M_xi,a A + A' M_a,xi + A' M_aa A is the symmetric part of (2 M_a,xi + M_aa A)' A
        left = 2.0 * np.swapaxes(in_a, 1, 2) + in_aa @ a
        whitened = self._whitened_curvature(a)
        left, right = (np.concatenate([through_mode.reshape(-1, self.layout.size), of_square])
                       for through_mode, of_square in ((left, 0.5 * whitened), (a, whitened)))  # fmt: skip
        return HessianContribution(*self._at_fixed_mode(), left[:, entries], right[:, entries])

    def _in_w(self, name: str) -> np.ndarray:
        """Return the derivative of m in w and in the variables ``name``, an array (C, D)."""
        family = self.cells.family
        return self.h["e" + name][:, None] * self.u[family] - self.weight[name][:, None] * self.gw

    def _at_fixed_mode(self) -> tuple[np.ndarray, np.ndarray]:
        """Return M_xi,xi, with the mode held fixed: in the parameters of each benchmark, and in Sigma."""
        m, one_a, d = self.m, self.one_a, self.w.shape[1]
        in_w = self._in_w("e")
        moments = m["ee"][:, None, None] * one_a[:, :, None] * one_a[:, None, :]
        moments[:, :, 1:] += one_a[:, :, None] * in_w[:, None, :]
        moments[:, 1:, :] += in_w[:, :, None] * one_a[:, None, :]
        moments[:, 1:, 1:] -= self.weight[""][:, None, None] * self.g[self.cells.family]
        sums = {"ee": np.hstack([moments[:, 0], moments[:, 1:, 1:].reshape(-1, d * d)]), "p": m["p"][:, None]}
        for name in ["", *self.letters]:
            whole = m["e" + name][:, None] * one_a
            whole[:, 1:] += self._in_w(name)
            sums["e" + name] = whole
        for place, a in enumerate(self.letters):
            sums |= {a + b: m[a + b][:, None] for b in self.letters[place:]}
        cross = self.alpha.T @ self.u
        moment = self.alpha.T @ self.alpha + cross + cross.T + self.g.sum(axis=0)
        blocks = chain_blocks(self.structure, self.cells, self.mean_skill, sums)
        return blocks, self.prior.hessian(moment, len(self.alpha))

    def _bilinear(self, f: dict[str, np.ndarray]) -> np.ndarray:
        """Return the second derivatives of f(eta) in (base, w) and a at the cells, an array (C, 1 + D, D).

        eta = base + w' a, so that d eta = d base + a' dw + w' da.
        """
        out = f["ee"][:, None, None] * self.one_a[:, :, None] * self.w[:, None, :]
        effect = np.arange(self.w.shape[1])
        out[:, 1 + effect, effect] += f["e"][:, None]
        return out

    def _across(self, by_cell: np.ndarray, by_shape: dict[str, np.ndarray], effects: np.ndarray) -> np.ndarray:
        """Return the second derivatives in s and the effects, an array (L, S, D).

        Those of the cells come by the chain rule; those in Sigma are of the prior term -a' Sigma^-1 ``effects``.
        """
        k = self.layout.n_skills
        in_shapes = {name: values[:, None] * self.w for name, values in by_shape.items()}
        out = self._chained(by_cell, in_shapes)
        inverse = self.prior.precision[:k, :k]
        pulled = effects[:, :k] @ inverse
        out[:, self.layout.slices["skill_cov"], :k] = np.einsum("ab,ibc,lc->lia", inverse, self.prior.basis, pulled)
        return out

    def _whitened_curvature(self, a: np.ndarray) -> np.ndarray:
        """Return F' dH F, where G = F F' and dH is the total derivative of H in s, an array (L D (D + 1) / 2, S).

        Its lower triangle is packed with off-diagonal entries times sqrt(2), so that products of rows are traces.
        """
        w, weight, d, k = self.w, self.weight, self.w.shape[1], self.layout.n_skills
        outer = w[:, :, None] * w[:, None, :]
        by_cell = (weight["e"][:, None] * self.one_a)[:, :, None, None] * outer[:, None]
        effect = np.arange(d)
        heavy = weight[""][:, None, None] * w[:, None, :]
        by_cell[:, 1 + effect, effect, :] += heavy
        by_cell[:, 1 + effect, :, effect] += np.swapaxes(heavy, 0, 1)
        in_shapes = {name: (weight[name][:, None, None] * outer).reshape(-1, d * d) for name in self.letters}
        derivative = self._chained(by_cell.reshape(len(w), 1 + d, d * d), in_shapes).reshape(len(a), -1, d, d)
        inverse = self.prior.precision[:k, :k]
        derivative[:, self.layout.slices["skill_cov"], :k, :k] -= inverse @ self.prior.basis @ inverse
        cubes = (weight["e"][:, None] * w)[:, :, None, None] * outer[:, None]
        derivative += np.einsum("lds,ldef->lsef", a, self.cells.sum_by_family(cubes), optimize=True)
        root = np.linalg.cholesky(self.g)[:, None]
        whitened = np.swapaxes(root, 2, 3) @ derivative @ root
        rows, columns = np.tril_indices(d)
        scale = np.where(rows == columns, 1.0, np.sqrt(2.0))
        packed = scale * whitened[:, :, rows, columns]
        return np.swapaxes(packed, 1, 2).reshape(-1, self.layout.size)

    def _chained(self, by_cell: np.ndarray, by_shape: dict[str, np.ndarray]) -> np.ndarray:
        """Carry derivatives at the cells on to s by the chain rule, and sum them by family: an array (L, S, E).

        Parameters
        ----------
        by_cell : array (C, 1 + D, E)
            Derivatives of E quantities in the part of eta that does not depend on the effects, and in w.
        by_shape : dict of str to array (C, E)
            Their derivatives in the shapes.
        """
        structure, cells, layout = self.structure, self.cells, self.layout
        k, families, width = layout.n_skills, cells.n_families, by_cell.shape[2]
        loadings, x = structure.loadings[cells.item], cells.design[cells.row]
        in_loadings = self.mean_skill[:, :, None] * by_cell[:, :1] + by_cell[:, 1 : 1 + k]
        out = np.zeros((families, layout.size, width))
        own: dict[str, np.ndarray] = {}
        for term, where in self.level.slices[1:]:
            in_term = by_cell[:, 1 + where.start : 1 + where.stop]
            if term.particular:
                own[term.block or ""] = in_term[np.arange(len(x)), cells.item][:, None]
                continue
            in_term = cells.random_cells[:, term.covariate, None, None] * in_term
            in_loadings += term.scale(structure)[:, None] * in_term
            out[:, layout.index(term.block or "")[term.row]] = cells.sum_by_family(loadings[:, :, None] * in_term)
        slopes = x[:, :, None, None] * (loadings[:, :, None] * by_cell[:, :1])[:, None]
        out[:, layout.slices["slopes"]] = cells.sum_by_family(slopes.reshape(len(x), -1, width))
        shapes = np.stack(list(by_shape.values()), axis=1)
        rows = np.concatenate([in_loadings, by_cell[:, :1], shapes, *own.values()], axis=1)
        by_item = (cells.by_family_item @ rows.reshape(len(x), -1)).reshape(families, layout.n_items, -1, width)
        out[:, layout.index("loadings").ravel()] = by_item[:, :, :k].reshape(families, -1, width)
        out[:, layout.index("intercepts")] = by_item[:, :, k]
        for number, name in enumerate(by_shape, k + 1):
            out[:, layout.shapes[name]] = by_item[:, :, number]
        for number, name in enumerate(own, k + 1 + len(by_shape)):
            in_block = by_item[:, :, number]
            equal = len(layout.index(name)) != layout.n_items
            out[:, layout.index(name)] = in_block.sum(axis=1, keepdims=True) if equal else in_block
        in_precision = by_shape["p"] * structure.precision[cells.item, None]
        for covariate, where in zip(cells.dispersion_cells.T, layout.index("precision_slopes"), strict=True):
            by_cell_slope = covariate[:, None] * in_precision
            if len(where) == 1:
                out[:, where] = cells.sum_by_family(by_cell_slope)[:, None]
            else:
                out[:, where] = (cells.by_family_item @ by_cell_slope).reshape(families, layout.n_items, width)
        return out


def cell_derivatives(
    structure: Structure, cells: Cells, eta: np.ndarray, letters: str, expected: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the derivatives of h and of the weight W at the cells, by name, arrays (C,).

    Those of h are all to second order and those of third order in at least one eta; those of W are to second order, and
    W itself has the name "".
    """
    expected = expected or cells.law.expected_curvature
    every = "e" + letters
    firsts = {a: ("fisher " + a, 1.0) if expected else ("ee" + a, -1.0) for a in every}
    pairs = [a + b for place, a in enumerate(letters) for b in letters[place:]]

    def terms(structure: Structure, eta: np.ndarray) -> dict[str, np.ndarray]:
        parameters = cell_parameters(structure, cells)
        at_cells = cell_terms(eta[:, None], parameters, cells, slice(None), 3, letters[1:], expected)
        return {name: values[:, 0] for name, values in at_cells.items()}

    h = terms(structure, eta)
    weight = {"": h["fisher"] if expected else -h["ee"]}
    weight |= {a: sign * h[name] for a, (name, sign) in firsts.items()}
    for place, letter in enumerate(every):
        wanted = [firsts[a][0] for a in every[: place + 1]] if letter != "e" else [firsts["e"][0]]
        wanted += pairs if letter == "e" else []
        derivatives = _differences(terms, structure, cells, eta, letter, wanted)
        weight |= {a + letter: firsts[a][1] * derivatives[firsts[a][0]] for a in every[: place + 1]}
        if letter == "e":
            h |= {"e" + pair: derivatives[pair] for pair in pairs}
    return h, weight


def _differences(
    terms: Callable[[Structure, np.ndarray], dict[str, np.ndarray]],
    structure: Structure,
    cells: Cells,
    eta: np.ndarray,
    letter: str,
    wanted: list[str],
) -> dict[str, np.ndarray]:
    """Return derivatives of terms in eta or a shape by fourth-order differences; zero where the step is zero."""
    step = _step(structure, letter)
    size = np.full(len(eta), _STEP) if letter == "e" else step[cells.item]
    total: dict[str, Any] = dict.fromkeys(wanted, 0.0)
    for count, share in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
        at = (structure, eta + count * size) if letter == "e" else (_shifted(structure, letter, count * step), eta)
        values = terms(*at)
        total = {name: value + share * values[name] for name, value in total.items()}
    room = size > 0.0
    return {name: np.divide(value, 12.0 * size, where=room, out=np.zeros_like(eta)) for name, value in total.items()}


def _step(structure: Structure, letter: str) -> np.ndarray:
    """Return the steps in a shape of each benchmark, (J,): zero for an asymptote at the end of its range."""
    steps = {"p": structure.precision, "c": structure.lower, "d": 1.0 - structure.upper}
    return _STEP * steps.get(letter, np.ones(len(structure.precision)))


def _shifted(structure: Structure, letter: str, by: np.ndarray) -> Structure:
    """Return the structure with one shape of all benchmarks changed by ``by`` (J,)."""
    if letter in LINK:
        link = structure.link.copy()
        link[:, LINK.index(letter)] += by
        return replace(structure, link=link)
    name = {"p": "precision", "c": "lower", "d": "upper"}[letter]
    return replace(structure, **{name: getattr(structure, name) + by})
