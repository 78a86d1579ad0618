"""The Hessian of Laplace's log-likelihood where units within families have effects, in closed form, family by family.

``laplace_hessian`` has the formulas. Here the vector of effects of a family holds those of all units within it, so that
a cell touches few of them: the K effects of each term, and one of a particular term. Arrays of cells are therefore kept
in these *local* effects, and carried to the family's vector, or to s, only in sums.

A cell's linear predictor is eta = base + w'a, with its local effects a and loadings w, and d eta / d xi = g + M a for
the parameters xi that touch the cell (``_Local.design``). They are lambda_j, b_j, B, the scales, the shapes of the
benchmark's curve, and the slopes of log precisions.
"""


from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from ..components.cells import Cells
from ..components.effects_prior import EffectsPrior
from ..components.levels import Term, levels_of
from ..components.linear_predictor import fixed_part, layout_of
from ..components.response import cell_parameters, cell_terms, derivative_names
from ..numerics.linalg import symmetrise
from ..parameters.structure import Structure
from .laplace_hessian import cell_derivatives
from .louis import add_precision_slopes
from .modes import Modes


class _Local:
    """Local effects and parameters of all cells, at the modes.

    Attributes
    ----------
    effect : int array (C, D)
        Position of each local effect in the vector of all effects of the table.
    w, a : arrays (C, D)
        Effect loadings, and modes of the effects.
    starts : bool array
        Which of all effects are the first of K that have covariance Sigma.
    parameter : int array (C, W)
        Position in s of each parameter that touches the cell.
    """

    def __init__(self, structure: Structure, cells: Cells, modes: Modes) -> None:
        self.structure, self.cells, self.layout = structure, cells, layout_of(structure)
        self.mean_skill, base = fixed_part(structure, cells)
        self.terms: list[tuple[Term, slice]] = []
        effects, loadings, starts, first, column = [], [], [], 0, 0
        for level, values in zip(levels_of(structure), modes.effects, strict=True):
            unit = cells.units(level.name).of_cell
            flags = np.zeros(values.shape, dtype=bool)
            for term, where in level.slices:
                flags[:, where.start] = term.correlated
                touched = cells.item[:, None] if term.particular else np.arange(term.width)[None]
                effects.append(first + unit[:, None] * values.shape[1] + where.start + touched)
                w = term.loadings(structure, cells.item, cells.random_cells)
                loadings.append(np.take_along_axis(w, touched, axis=1) if term.particular else w)
                self.terms.append((term, slice(column, column + loadings[-1].shape[1])))
                column += loadings[-1].shape[1]
            starts.append(flags.ravel())
            first += values.size
        self.effect, self.w = np.hstack(effects), np.hstack(loadings)
        self.starts = np.concatenate(starts)
        self.a = np.concatenate([values.ravel() for values in modes.effects])[self.effect]
        self.eta = base + np.einsum("cd,cd->c", self.w, self.a)

    @cached_property
    def _scales(self) -> list[tuple[Term, slice, int]]:
        """Terms with scales, their local effects, and the column of their first scale among the parameters."""
        k, p = self.layout.n_skills, self.layout.n_covariates
        out, column = [], k + 1 + k * p
        for term, where in self.terms:
            if term.block is not None:
                out.append((term, where, column))
                column += k if self._by_skill(term) else 1
        return out

    def _by_skill(self, term: Term) -> bool:
        return not term.particular and self.structure.scales[term.block or ""].ndim == 2

    @cached_property
    def width(self) -> int:
        """Number of parameters of a cell without those of the shapes of its curve."""
        k, p = self.layout.n_skills, self.layout.n_covariates
        return k + 1 + k * p + sum(k if self._by_skill(term) else 1 for term, _, _ in self._scales)

    @cached_property
    def parameter(self) -> np.ndarray:
        """Position in s of each parameter of a cell, shapes and slopes of log precisions included: (C, W)."""
        layout, item, count = self.layout, self.cells.item, self.cells.n_cells
        columns = [layout.index("loadings")[item], layout.index("intercepts")[item, None]]
        columns.append(np.broadcast_to(layout.index("slopes").ravel(), (count, layout.index("slopes").size)))
        for term, _, _ in self._scales:
            index = layout.index(term.block or "")
            if term.particular:
                columns.append(np.broadcast_to(index, (layout.n_items,))[item, None])
            else:
                index = index[term.row or 0] if self._by_skill(term) else index
                columns.append(np.broadcast_to(index, (count, len(index))))
        columns += [where[item, None] for where in layout.shapes.values()]
        for where in layout.index("precision_slopes"):
            columns.append(np.broadcast_to(where, (layout.n_items,))[item, None])
        return np.hstack(columns)

    @cached_property
    def design(self) -> np.ndarray:
        """(g, M) of the parameters without shapes: array (C, W', 1 + D)."""
        structure, cells = self.structure, self.cells
        k = self.layout.n_skills
        lambdas, x, skill = structure.loadings[cells.item], cells.design[cells.row], np.arange(k)
        out = np.zeros((cells.n_cells, self.width, 1 + self.w.shape[1]))
        out[:, :k, 0], out[:, k, 0] = self.mean_skill, 1.0
        out[:, k + 1 : k + 1 + x.shape[1] * k, 0] = (x[:, :, None] * lambdas[:, None]).reshape(len(x), -1)
        for term, where in self.terms:
            if not term.particular:
                of_skills = term.multiplied(structure, np.ones((len(x), k)), cells.random_cells)
                out[:, skill, 1 + where.start + skill] = of_skills
        for term, where, column in self._scales:
            if term.particular:
                out[:, column, 1 + where.start] = 1.0
                continue
            of_scale = term.scale_derivatives(structure)[0] * self._varying(term)[:, None] * lambdas
            rows = column + skill if self._by_skill(term) else np.full(k, column)
            out[:, rows, 1 + where.start + skill] = of_scale
        return out

    def _varying(self, term: Term) -> np.ndarray:
        """Return v of each cell, (C,)."""
        return np.ones(self.cells.n_cells) if term.covariate is None else self.cells.random_cells[:, term.covariate]

    def blocks(self, moments: np.ndarray, first: np.ndarray, shapes: dict[str, np.ndarray]) -> np.ndarray:
        """Return second derivatives in the parameters of each cell, an array (C, W, W).

        Parameters
        ----------
        moments : array (C, 1 + D, 1 + D)
            What stands for h_ee (1, a)(1, a)'.
        first : array (C, 1 + D)
            What stands for h_e (1, a).
        shapes : dict of str to array
            What stands for h_ec (1, a), arrays (C, 1 + D) named ``"ec"``; for h_cd, arrays (C,) named ``"cd"``; and for
            h_p, named ``"p"``.
        """
        cells, design, width = self.cells, self.design, self.width
        names = list(self.layout.shapes)
        whole = self.parameter.shape[1]
        out = np.zeros((cells.n_cells, whole, whole))
        out[:, :width, :width] = design @ moments @ np.swapaxes(design, 1, 2)
        k = self.layout.n_skills
        by_covariate = first[:, :1] * cells.design[cells.row]  # d2 eta / d lambda_jk d B_qk = x_q
        for skill in range(k):
            pairs = [(k + 1 + np.arange(by_covariate.shape[1]) * k + skill, by_covariate)]
            for term, where, column in self._scales:  # d2 eta / d lambda_jk d t_k = v f_k
                if not term.particular:
                    slope = term.scale_derivatives(self.structure)[0]
                    mixed = slope * self._varying(term) * first[:, 1 + where.start + skill]
                    pairs.append((np.array([column + skill if self._by_skill(term) else column]), mixed[:, None]))
            for columns, values in pairs:
                out[:, skill, columns] += values
                out[:, columns, skill] += values
        lambdas = self.structure.loadings[cells.item]
        for term, where, column in self._scales:
            if term.share is not None:  # whose scale bends
                bend = np.einsum("ck,ck->c", lambdas, first[:, 1 + where.start : 1 + where.stop])
                out[:, column, column] += term.scale_derivatives(self.structure)[1] * bend
        for place, name in enumerate(names, width):
            if "e" + name in shapes:
                column = np.einsum("cwd,cd->cw", design, shapes["e" + name])
                out[:, place, :width] = out[:, :width, place] = column
        for a, name_a in enumerate(names, width):
            for b, name_b in enumerate(names, width):
                if name_a + name_b in shapes:
                    out[:, a, b] = out[:, b, a] = shapes[name_a + name_b]
        if len(self.structure.precision_slopes):
            add_precision_slopes(out, width, self.structure, cells, slice(None), shapes["p"])
        return out

    def added(self, blocks: np.ndarray) -> np.ndarray:
        """Return the sum of blocks (C, W, W) in s, an array (S, S)."""
        size = self.layout.size
        out = np.zeros(size * size)
        places = self.parameter[:, :, None] * size + self.parameter[:, None, :]
        return (out + np.bincount(places.ravel(), blocks.ravel(), minlength=size * size)).reshape(size, size)


def complete_hessian(structure: Structure, cells: Cells, modes: Modes, shapes: str) -> np.ndarray:
    """Return the Hessian in s (S, S) of the complete-data log-likelihood at the modes of effects on all levels."""
    local = _Local(structure, cells, modes)
    terms = cell_terms(local.eta[:, None], cell_parameters(structure, cells), cells, slice(None), 2, shapes)
    h = {name: terms[name][:, 0] for name in derivative_names(2, shapes)}
    one_a = np.hstack([np.ones((len(local.a), 1)), local.a])
    of_shapes = {name: values[:, None] * one_a if "e" in name else values for name, values in h.items()}
    moments = h["ee"][:, None, None] * one_a[:, :, None] * one_a[:, None]
    out = local.added(local.blocks(moments, of_shapes["e"], of_shapes))
    prior, block = EffectsPrior(structure.skill_cov), local.layout.slices["skill_cov"]
    for level, effects in zip(levels_of(structure), modes.effects, strict=True):
        for term, where in level.slices:
            if term.correlated:
                out[block, block] += prior.hessian(effects[:, where].T @ effects[:, where], len(effects))
    return out


def family_hessians(
    structure: Structure, cells: Cells, modes: Modes, shapes: str = "", expected: bool = False
) -> Iterator[np.ndarray]:
    """Yield the second derivatives in s, (S, S), of Laplace's log-likelihood of one family after the other.

    Parameters
    ----------
    structure : Structure
    cells : Cells
    modes : Modes
        At ``structure``, with positive definite curvatures.
    shapes : str
        Shapes beside the precision in which derivatives are wanted; entries for other shapes are zero.
    expected : bool
        Whether the determinant is that of the expected curvature, as in ``laplace_by_family``.
    """
    for family in range(cells.n_families):
        batch = cells.of_families(family, family + 1)
        yield _FamilyHessian(structure, batch, modes.of_families(cells, family, family + 1), shapes, expected).hessian()


class _FamilyHessian:
    """The Hessian of one family; names of arrays are those in the docstring of ``laplace_hessian``."""

    def __init__(self, structure: Structure, cells: Cells, modes: Modes, shapes: str, expected: bool) -> None:
        self.local = local = _Local(structure, cells, modes)
        self.letters = "p" + shapes
        self.h, self.weight = h, weight = cell_derivatives(structure, cells, local.eta, self.letters, expected)
        touched, place = np.unique(local.effect, return_inverse=True)
        self.place = place.reshape(local.effect.shape)
        self.n_effects, self.k = len(touched), local.layout.n_skills
        self.prior = EffectsPrior(structure.skill_cov)
        self.vectors = np.flatnonzero(local.starts[touched])[:, None] + np.arange(self.k)
        self.modes = np.zeros(self.n_effects)
        self.modes[self.place] = local.a
        self.wide = np.zeros((cells.n_cells, self.n_effects))
        np.put_along_axis(self.wide, self.place, local.w, axis=1)
        precision = np.eye(self.n_effects)
        for vector in self.vectors:
            precision[np.ix_(vector, vector)] = self.prior.precision
        self.precision = precision
        self.minus_g_aa = precision - (self.wide * h["ee"][:, None]).T @ self.wide
        self.g = np.linalg.inv((self.wide * weight[""][:, None]).T @ self.wide + precision)
        self.gw = np.take_along_axis(self.wide @ self.g, self.place, axis=1)
        b = np.einsum("cd,cd->c", self.gw, local.w)
        self.u = np.linalg.solve(self.minus_g_aa, -0.5 * self.wide.T @ (weight["e"] * b))
        s = self.wide @ self.u
        names = ["e", *self.letters]
        names += [one + other for place, one in enumerate(names) for other in names[place:]]
        self.m = {name: h[name] + h["e" + name] * s - 0.5 * weight[name] * b for name in names}
        self.one_a = np.hstack([np.ones((cells.n_cells, 1)), local.a])

    def hessian(self) -> np.ndarray:
        """Return the Hessian in s."""
        in_a_g = self._across(self._bilinear(self.h), {x: self.h["e" + x] for x in self.letters}, self.modes)
        bilinear = self._bilinear(self.m)
        bilinear[:, 1:] += self._in_w("e")[:, :, None] * self.local.w[:, None, :]
        in_a = self._across(bilinear, {x: self.m["e" + x] for x in self.letters}, self.modes + self.u)
        a = np.linalg.solve(self.minus_g_aa, in_a_g.T)
        in_aa = (self.wide * self.m["ee"][:, None]).T @ self.wide - self.precision
        whitened = self._whitened_curvature(a)
        through_mode = (2.0 * in_a.T + in_aa @ a).T @ a
        return self._at_fixed_mode() + symmetrise(through_mode) + 0.5 * whitened.T @ whitened

    def _in_w(self, name: str) -> np.ndarray:
        """Return the derivative of m in w and in the variables ``name``, an array (C, D)."""
        return self.h["e" + name][:, None] * self.u[self.place] - self.weight[name][:, None] * self.gw

    def _at_fixed_mode(self) -> np.ndarray:
        """Return M_xi,xi, with the mode held fixed, in s."""
        local, m, one_a = self.local, self.m, self.one_a
        in_w = self._in_w("e")
        moments = m["ee"][:, None, None] * one_a[:, :, None] * one_a[:, None, :]
        moments[:, :, 1:] += one_a[:, :, None] * in_w[:, None, :]
        moments[:, 1:, :] += in_w[:, :, None] * one_a[:, None, :]
        of_cells = self.g[self.place[:, :, None], self.place[:, None, :]]
        moments[:, 1:, 1:] -= self.weight[""][:, None, None] * of_cells
        sums: dict[str, np.ndarray] = {"p": m["p"]}
        for name in ["", *self.letters]:
            whole = m["e" + name][:, None] * one_a
            whole[:, 1:] += self._in_w(name)
            sums["e" + name] = whole
        for place, one in enumerate(self.letters):
            sums |= {one + other: m[one + other] for other in self.letters[place:]}
        out = local.added(local.blocks(moments, sums["e"], sums))
        f, u = self.modes[self.vectors], self.u[self.vectors]
        moment = f.T @ f + f.T @ u + u.T @ f + sum(self.g[np.ix_(vector, vector)] for vector in self.vectors)
        block = local.layout.slices["skill_cov"]
        out[block, block] += self.prior.hessian(moment, len(self.vectors))
        return out

    def _bilinear(self, f: dict[str, np.ndarray]) -> np.ndarray:
        """Return the second derivatives of f(eta) in (base, w) and a at the cells, an array (C, 1 + D, D)."""
        out = f["ee"][:, None, None] * self.one_a[:, :, None] * self.local.w[:, None, :]
        effect = np.arange(self.local.w.shape[1])
        out[:, 1 + effect, effect] += f["e"][:, None]
        return out

    def _across(self, by_cell: np.ndarray, by_shape: dict[str, np.ndarray], effects: np.ndarray) -> np.ndarray:
        """Return the second derivatives in s and the effects, an array (S, Q).

        Those of the cells come by the chain rule; those in Sigma are of the prior term -a' Sigma^-1 ``effects``.
        """
        in_shapes = {name: values[:, None] * self.local.w for name, values in by_shape.items()}
        size, q = self.local.layout.size, self.n_effects
        rows, values = self._chained(by_cell, in_shapes)
        places = rows[:, :, None] * q + self.place[:, None, :]
        out = np.bincount(places.ravel(), values.ravel(), minlength=size * q).reshape(size, q)
        inverse, block = self.prior.precision, self.local.layout.slices["skill_cov"]
        for vector in self.vectors:
            out[block, vector] += np.einsum("ab,ibc,c->ia", inverse, self.prior.basis, inverse @ effects[vector])
        return out

    def _chained(self, by_cell: np.ndarray, by_shape: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Carry derivatives at the cells, (C, 1 + D, E) and in shapes (C, E), to the parameters of each cell.

        Returns
        -------
        (int array (C, V), array (C, V, E))
            Positions in s, and the derivatives.
        """
        local, structure, cells = self.local, self.local.structure, self.local.cells
        names = list(local.layout.shapes)
        kept = [local.width + names.index(name) for name in by_shape]
        count = local.width + len(names)
        rows = [local.parameter[:, : local.width], local.parameter[:, kept], local.parameter[:, count:]]
        in_precision = by_shape["p"] * structure.precision[cells.item, None]
        values = [local.design @ by_cell, np.stack(list(by_shape.values()), axis=1)]
        values.append(cells.dispersion_cells[:, :, None] * in_precision[:, None])
        return np.hstack(rows), np.concatenate(values, axis=1)

    def _whitened_curvature(self, a: np.ndarray) -> np.ndarray:
        """Return F' dH F, where G = F F' and dH is the total derivative of H in s, an array (Q (Q + 1) / 2, S).

        Its lower triangle is packed with off-diagonal entries times sqrt(2), so that products of rows are traces.
        """
        w, weight, q, size = self.local.w, self.weight, self.n_effects, self.local.layout.size
        d = w.shape[1]
        outer = w[:, :, None] * w[:, None, :]
        by_cell = (weight["e"][:, None] * self.one_a)[:, :, None, None] * outer[:, None]
        effect = np.arange(d)
        heavy = weight[""][:, None, None] * w[:, None, :]
        by_cell[:, 1 + effect, effect, :] += heavy
        by_cell[:, 1 + effect, :, effect] += np.swapaxes(heavy, 0, 1)
        in_shapes = {name: (weight[name][:, None, None] * outer).reshape(-1, d * d) for name in self.letters}
        rows, values = self._chained(by_cell.reshape(len(w), 1 + d, d * d), in_shapes)
        pairs = (self.place[:, :, None] * q + self.place[:, None, :]).reshape(len(w), 1, d * d)
        places = rows[:, :, None] * (q * q) + pairs
        summed = np.bincount(places.ravel(), values.ravel(), minlength=size * q * q)
        derivative = summed.astype(float).reshape(size, q, q)
        inverse, block = self.prior.precision, self.local.layout.slices["skill_cov"]
        of_prior = inverse @ self.prior.basis @ inverse
        for vector in self.vectors:
            derivative[block, vector[:, None], vector] -= of_prior
        through: Any = (weight["e"][:, None] * (self.wide @ a)).T  # (S, C)
        derivative += (self.wide.T[None] * through[:, None, :]) @ self.wide
        root = np.linalg.cholesky(self.g)
        whitened = root.T @ derivative @ root
        lower, upper = np.tril_indices(q)
        scale = np.where(lower == upper, 1.0, np.sqrt(2.0))
        return (scale * whitened[:, lower, upper]).T
