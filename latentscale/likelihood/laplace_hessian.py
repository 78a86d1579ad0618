"""The Hessian of Laplace's log-likelihood in s, in closed form but for derivatives of h beyond the third.

For a family, with a its mode, g the log joint density and H the curvature in Laplace's determinant, l = g - log|H| / 2
at a(xi). Let v be the derivative of l in a, u = -g_aa^-1 v, held still, and M(xi, a) = l(xi, a) + u' g_a(xi, a): as g_a
is zero along a(xi) and M_a zero by the choice of u, second derivatives of a drop out and

    d2 l = M_xi,xi + M_xi,a A + A' M_a,xi + A' M_aa A,   A = da / dxi = -g_aa^-1 g_a,xi.

But for log|H|'s square, tr(G dH G dH) / 2 with G = H^-1 and dH the total derivative, M is a sum over cells of

    m(eta, w) = h + h_e s - W b / 2,   s = u'w,   b = w'G w,

with w the effect loadings, W = -h_ee or Fisher's weight, u and G held still. So M's part in xi takes the form of
expected complete-data derivatives, to which ``chain_blocks`` knows the way. Derivatives of W, and of h in two shapes
and eta, are fourth-order differences cell by cell: some tens of passes over the cells, whatever the number of
parameters.
"""


from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..components.cells import Cells
from ..components.curve import LINK
from ..components.effects_prior import EffectsPrior
from ..components.levels import effect_loadings, levels_of
from ..components.linear_predictor import fixed_part, layout_of
from ..components.response import cell_parameters, cell_terms
from ..numerics.linalg import symmetrise
from ..parameters.structure import Layout, Structure
from .louis import add_blocks, add_covariance, chain_blocks
from .modes import Modes, weighted_outer

_STEP = 1e-4  # in eta and coordinates of links; of other shapes relative
_BATCH_CELLS = 20_000
_BATCH_NUMBERS = 4_000_000
_HELD_NUMBERS, _STRIP = 2_000_000, 1_000  # numbers of one side of products to come; rows of a product at a time


@dataclass(frozen=True)
class HessianContribution:
    """What some families bring to the Hessian in s.

    Attributes
    ----------
    blocks : array (J, W, W)
        M's part in xi, as ``chain_blocks`` has it.
    cov : array (K (K + 1) / 2, K (K + 1) / 2)
        M's part in Sigma.
    left, right : arrays (R, A)
        Whose product left' right, made symmetric, is the rest, in the entries of s that are wanted.
    """

    blocks: np.ndarray
    cov: np.ndarray
    left: np.ndarray
    right: np.ndarray


class HessianTotal:
    """Sum of shares; products are taken of many rows at a time, as each goes through all of the memory of a Hessian.

    Parameters
    ----------
    layout : Layout
    entries : int array (A,)
        The entries of s that are wanted, ascending.
    """

    def __init__(self, layout: Layout, entries: np.ndarray) -> None:
        self.layout, self.entries = layout, entries
        self.blocks = self.cov = 0.0
        self.held = []
        self.product = np.zeros((len(entries), len(entries)))

    def add(self, contribution: HessianContribution) -> None:
        self.blocks, self.cov = self.blocks + contribution.blocks, self.cov + contribution.cov
        self.held.append(contribution)
        if sum(one.left.size for one in self.held) > _HELD_NUMBERS:
            self._multiply()

    def _multiply(self) -> None:
        left, right = (np.concatenate([getattr(one, side) for one in self.held]) for side in ("left", "right"))
        for start in range(0, len(self.product), _STRIP):
            where = slice(start, start + _STRIP)
            self.product[where] += left[:, where].T @ right
        self.held = []

    def hessian(self) -> np.ndarray:
        """Array (A, A); may be asked for once, as its memory is that of the sum."""
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
    """Second derivatives in s of the Laplace log-likelihood, summed over families.

    Parameters
    ----------
    structure : Structure
        With effects of families alone.
    cells : Cells
    modes : Modes
        At ``structure``.
    shapes : str
        Shapes beside the precision in which derivatives are wanted; the others' are zero.
    expected : bool
        As in ``laplace_by_family``.
    entries : int array (A,), optional
        The entries of s that are wanted, ascending; all by default.

    Returns
    -------
    array (S, S), or (A, A)
        NaN where a family's curvature is not positive definite, as there is no Laplace approximation.
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
    """Runs of families whose arrays stay small, as (first, last + 1)."""
    layout = layout_of(structure)
    d = levels_of(structure)[0].size(layout.n_skills)
    most = max(1, _BATCH_NUMBERS // (layout.size * d * (d + 2)))
    first = 0
    while first < cells.n_families:
        last = int(np.searchsorted(cells.bounds, cells.bounds[first] + _BATCH_CELLS, side="right")) - 1
        last = min(max(last, first + 1), first + most, cells.n_families)
        yield first, last
        first = last


class _FamilyBatch:
    """Some families; names of arrays as in the module's docstring."""

    def __init__(self, structure: Structure, cells: Cells, alpha: np.ndarray, shapes: str, expected: bool) -> None:
        self.structure, self.cells, self.alpha = structure, cells, alpha
        self.layout = layout_of(structure)
        self.level = levels_of(structure)[0]
        self.prior = EffectsPrior(structure.skill_cov, self.level.size(self.layout.n_skills))
        self.mean_skill, base = fixed_part(structure, cells)
        self.w = effect_loadings(structure, cells, [self.level])
        eta = base + np.einsum("cd,cd->c", self.w, alpha[cells.family])
        self.letters = "p" + shapes
        self.h, self.weight = _cell_derivatives(structure, cells, eta, self.letters, expected)
        h, weight, family = self.h, self.weight, cells.family
        self.families = cells.units("family")
        self.minus_g_aa = weighted_outer(self.w, -h["ee"], self.families) + self.prior.precision
        self.g = np.linalg.inv(weighted_outer(self.w, weight[""], self.families) + self.prior.precision)
        self.gw = np.einsum("cde,ce->cd", self.g[family], self.w)
        b = np.einsum("cd,cd->c", self.gw, self.w)
        v = -0.5 * cells.sum_by_family((weight["e"] * b)[:, None] * self.w)
        self.u = np.linalg.solve(self.minus_g_aa, v[:, :, None])[:, :, 0]
        s = np.einsum("cd,cd->c", self.u[family], self.w)
        self.m = {name: h[name] + h["e" + name] * s - 0.5 * weight[name] * b for name in self._names()}
        self.one_a = np.hstack([np.ones((len(eta), 1)), alpha[family]])

    def _names(self) -> list[str]:
        """Of m's first and second derivatives."""
        every = "e" + self.letters
        return [*every, *(a + b for place, a in enumerate(every) for b in every[place:])]

    def contribution(self, entries: np.ndarray) -> HessianContribution:
        in_a_g = self._across(self._bilinear(self.h), {a: self.h["e" + a] for a in self.letters}, self.alpha)
        bilinear = self._bilinear(self.m)
        bilinear[:, 1:] += self._in_w("e")[:, :, None] * self.w[:, None, :]
        in_a = self._across(bilinear, {a: self.m["e" + a] for a in self.letters}, self.alpha + self.u)
        a = np.linalg.solve(self.minus_g_aa, np.swapaxes(in_a_g, 1, 2))
        in_aa = weighted_outer(self.w, self.m["ee"], self.families) - self.prior.precision
        # M_xi,a A + A' M_a,xi + A' M_aa A is (2 M_a,xi + M_aa A)' A made symmetric
        left = 2.0 * np.swapaxes(in_a, 1, 2) + in_aa @ a
        turned = self._turned_curvature(a)
        left, right = (np.concatenate([one.reshape(-1, self.layout.size), two]) for one, two in
                       ((left, 0.5 * turned), (a, turned)))  # fmt: skip
        return HessianContribution(*self._still(), left[:, entries], right[:, entries])

    def _in_w(self, name: str) -> np.ndarray:
        """Derivative of m in w, differentiated by ``name`` too, (C, D)."""
        family = self.cells.family
        return self.h["e" + name][:, None] * self.u[family] - self.weight[name][:, None] * self.gw

    def _still(self) -> tuple[np.ndarray, np.ndarray]:
        """M in xi alone: the benchmarks' blocks, and Sigma's."""
        m, one_a, d = self.m, self.one_a, self.w.shape[1]
        in_w = self._in_w("e")
        moments = m["ee"][:, None, None] * one_a[:, :, None] * one_a[:, None, :]
        moments[:, :, 1:] += one_a[:, :, None] * in_w[:, None, :]
        moments[:, 1:, :] += in_w[:, :, None] * one_a[:, None, :]
        moments[:, 1:, 1:] -= self.weight[""][:, None, None] * self.g[self.cells.family]
        sums = {"ee": np.hstack([moments[:, 0], moments[:, 1:, 1:].reshape(-1, d * d)])}
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
        """d2 f / d(1, a) da of a function of eta alone, in the affine design's columns: (C, 1 + D, D)."""
        out = f["ee"][:, None, None] * self.one_a[:, :, None] * self.w[:, None, :]
        effect = np.arange(self.w.shape[1])
        out[:, 1 + effect, effect] += f["e"][:, None]
        return out

    def _across(self, by_cell: np.ndarray, by_shape: dict[str, np.ndarray], effects: np.ndarray) -> np.ndarray:
        """Second derivatives in s and the effects, (L, S, D); of the prior -a' Sigma^-1 ``effects``."""
        k = self.layout.n_skills
        in_shapes = {name: values[:, None] * self.w for name, values in by_shape.items()}
        out = self._chained(by_cell, in_shapes)
        inverse = self.prior.precision[:k, :k]
        pulled = effects[:, :k] @ inverse
        out[:, self.layout.slices["skill_cov"], :k] = np.einsum("ab,ibc,lc->lia", inverse, self.prior.basis, pulled)
        return out

    def _turned_curvature(self, a: np.ndarray) -> np.ndarray:
        """F' dH F with G = F F', dH the total derivative of H in s; packed, (L D (D + 1) / 2, S)."""
        w, weight, d, k = self.w, self.weight, self.w.shape[1], self.layout.n_skills
        outer = w[:, :, None] * w[:, None, :]
        by_cell = (weight["e"][:, None] * self.one_a)[:, :, None, None] * outer[:, None]
        effect = np.arange(d)
        heavy = weight[""][:, None, None] * w[:, None, :]
        by_cell[:, 1 + effect, effect, :] += heavy
        by_cell[:, 1 + effect, :, effect] += np.swapaxes(heavy, 0, 1)
        in_shapes = {name: (weight[name][:, None, None] * outer).reshape(-1, d * d) for name in self.letters}
        moved = self._chained(by_cell.reshape(len(w), 1 + d, d * d), in_shapes).reshape(len(a), -1, d, d)
        inverse = self.prior.precision[:k, :k]
        moved[:, self.layout.slices["skill_cov"], :k, :k] -= inverse @ self.prior.basis @ inverse
        cubes = (weight["e"][:, None] * w)[:, :, None, None] * outer[:, None]
        moved += np.einsum("lds,ldef->lsef", a, self.cells.sum_by_family(cubes), optimize=True)
        root = np.linalg.cholesky(self.g)[:, None]
        turned = np.swapaxes(root, 2, 3) @ moved @ root
        rows, columns = np.tril_indices(d)
        scale = np.where(rows == columns, 1.0, np.sqrt(2.0))
        packed = scale * turned[:, :, rows, columns]
        return np.swapaxes(packed, 1, 2).reshape(-1, self.layout.size)

    def _chained(self, by_cell: np.ndarray, by_shape: dict[str, np.ndarray]) -> np.ndarray:
        """Sums by family, (L, S, E), of what comes by d eta and dw at the cells (C, 1 + D, E) and by shapes (C, E)."""
        structure, cells, layout = self.structure, self.cells, self.layout
        k, families, width = layout.n_skills, cells.n_families, by_cell.shape[2]
        loadings, x = structure.loadings[cells.item], cells.design[cells.row]
        in_loadings = self.mean_skill[:, :, None] * by_cell[:, :1] + by_cell[:, 1 : 1 + k]
        out = np.zeros((families, layout.size, width))
        for term, where in self.level.slices(k)[1:]:
            effects = by_cell[:, 1 + where.start : 1 + where.stop]
            effects = cells.random_cells[:, term.covariate, None, None] * effects
            in_loadings += term.scale(structure)[:, None] * effects
            out[:, layout.index(term.block)[term.row]] = cells.sum_by_family(loadings[:, :, None] * effects)
        slopes = x[:, :, None, None] * (loadings[:, :, None] * by_cell[:, :1])[:, None]
        out[:, layout.slices["slopes"]] = cells.sum_by_family(slopes.reshape(len(x), -1, width))
        rows = np.concatenate([in_loadings, by_cell[:, :1], np.stack(list(by_shape.values()), axis=1)], axis=1)
        by_item = (cells.by_family_item @ rows.reshape(len(x), -1)).reshape(families, layout.n_items, -1, width)
        out[:, layout.index("loadings").ravel()] = by_item[:, :, :k].reshape(families, -1, width)
        out[:, layout.index("intercepts")] = by_item[:, :, k]
        for number, name in enumerate(by_shape, k + 1):
            out[:, layout.shapes[name]] = by_item[:, :, number]
        return out


def _cell_derivatives(
    structure: Structure, cells: Cells, eta: np.ndarray, letters: str, expected: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Derivatives of h and of the weight W at the cells, by name; each array (C,).

    Of h to second order, and to third with at least one eta; of W to second order, W itself being "".
    """
    expected = expected or cells.law.expected_curvature
    every = "e" + letters
    firsts = {a: ("fisher " + a, 1.0) if expected else ("ee" + a, -1.0) for a in every}
    pairs = [a + b for place, a in enumerate(letters) for b in letters[place:]]

    def terms(structure: Structure, eta: np.ndarray) -> dict[str, np.ndarray]:
        parameters = cell_parameters(structure, cells)
        found = cell_terms(eta[:, None], parameters, cells, slice(None), 3, letters[1:], expected)
        return {name: values[:, 0] for name, values in found.items()}

    h = terms(structure, eta)
    weight = {"": h["fisher"] if expected else -h["ee"]}
    weight |= {a: sign * h[name] for a, (name, sign) in firsts.items()}
    for place, letter in enumerate(every):
        wanted = [name for name, _ in map(firsts.get, every[: place + 1])] if letter != "e" else [firsts["e"][0]]
        wanted += pairs if letter == "e" else []
        moved = _differences(terms, structure, cells, eta, letter, wanted)
        weight |= {a + letter: firsts[a][1] * moved[firsts[a][0]] for a in every[: place + 1]}
        if letter == "e":
            h |= {"e" + pair: moved[pair] for pair in pairs}
    return h, weight


def _differences(
    terms: Callable[[Structure, np.ndarray], dict[str, np.ndarray]],
    structure: Structure,
    cells: Cells,
    eta: np.ndarray,
    letter: str,
    wanted: list[str],
) -> dict[str, np.ndarray]:
    """Derivatives of terms in eta or in a shape, by fourth-order differences; zero where a shape has no room."""
    step = _step(structure, letter)
    size = np.full(len(eta), _STEP) if letter == "e" else step[cells.item]
    total = dict.fromkeys(wanted, 0.0)
    for count, share in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
        at = (structure, eta + count * size) if letter == "e" else (_moved(structure, letter, count * step), eta)
        found = terms(*at)
        total = {name: value + share * found[name] for name, value in total.items()}
    room = size > 0.0
    return {name: np.divide(value, 12.0 * size, where=room, out=np.zeros_like(eta)) for name, value in total.items()}


def _step(structure: Structure, letter: str) -> np.ndarray:
    """Steps in a shape of each benchmark, (J,): an asymptote at the end of its range does not move."""
    steps = {"p": structure.precision, "c": structure.lower, "d": 1.0 - structure.upper}
    return _STEP * steps.get(letter, np.ones(len(structure.precision)))


def _moved(structure: Structure, letter: str, by: np.ndarray) -> Structure:
    """The structure with one shape of all benchmarks moved."""
    if letter in LINK:
        link = structure.link.copy()
        link[:, LINK.index(letter)] += by
        return replace(structure, link=link)
    name = {"p": "precision", "c": "lower", "d": "upper"}[letter]
    return replace(structure, **{name: getattr(structure, name) + by})
