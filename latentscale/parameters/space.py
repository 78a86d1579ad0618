"""The map between the natural parameters, which users see, and an unconstrained vector u, which optimisers move.

Natural parameters have bounds: a precision is positive, a covariance matrix positive definite. Optimisers are simplest
where there are none. Every vector u of P real numbers therefore stands for admissible parameters, as follows.

- Loadings, intercepts, slopes, also those of log precisions, and the coordinates of links have no bounds and are
  entries of u as they are.
- A precision is exp(u).
- The asymptotes are c = F(u) and d = c + (1 - c) F(u'), where F is the logistic function, so that c < d <= 1.
- The covariance of the families' effects is Sigma = D R D. The diagonal matrix D holds standard deviations, exp(u)
  where a variance is free. The correlation matrix is R = C C', where row k of C is proportional to
  (u_1, ..., u_{k-1}, 1) and has length 1: every u gives a positive definite R with unit diagonal, and every such R
  comes from exactly one u.
- The share of groups is sin(u)^2, so that zero is an inner point here too.
- Standard deviations of random effects are entries of u with either sign. The law depends on their squares only, so
  that zero, the edge of their natural space, is an inner point for the optimiser.
"""


from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from ..numerics.linalg import congruence
from .kinds import GROUP_SHARE
from .named import Parameters
from .structure import Layout, Structure
from .table import ParameterTable


@dataclass(frozen=True)
class ParameterSpace:
    """Maps between the unconstrained vector u (P,) and the structural vector s (S,) of a parameter table.

    The structural vector holds all parameters, fixed ones included, in the order that ``Layout`` gives them.
    """

    table: ParameterTable

    @property
    def layout(self) -> Layout:
        return self.table.layout

    @cached_property
    def _linear(self) -> np.ndarray:
        """Positions in s of the free entries that u holds as they are, int array."""
        plain = np.zeros(self.layout.size, dtype=bool)
        scales = (name for name, _ in self.layout.scales if name != GROUP_SHARE.name)
        for block in ("loadings", "intercepts", "slopes", "link", *scales, "precision_slopes"):
            plain[self.layout.slices[block]] = True
        return np.flatnonzero(plain & self.table.free)

    @cached_property
    def _share(self) -> np.ndarray:
        """Position in s of the share of groups if it is free, an int array with one entry or none."""
        where = self.layout.slices.get(GROUP_SHARE.name, slice(0, 0))
        return np.arange(where.start, where.stop)[self.table.free[where]]

    @cached_property
    def _blocks(self) -> dict[str, slice]:
        """Where each block lies in u, dict of slices.

        In this order: entries taken as they are, log precisions, lower and upper asymptotes, the rows that make the
        correlation matrix R, log standard deviations of the families' effects, and the share of groups.
        """
        free, layout = self.table.free, self.layout
        rows, columns = layout.triangle
        in_cov = free[layout.slices["skill_cov"]]
        sizes = {
            "linear": len(self._linear),
            "precision": int(free[layout.slices["precision"]].sum()),
            "lower": int(free[layout.slices["lower"]].sum()),
            "upper": int(free[layout.slices["upper"]].sum()),
            "rows": int((in_cov & (rows != columns)).sum()),
            "log_sd": int((in_cov & (rows == columns)).sum()),
            "share": len(self._share),
        }
        ends = np.cumsum(list(sizes.values()))
        spans = zip(sizes, sizes.values(), ends, strict=True)
        return {name: slice(int(end - size), int(end)) for name, size, end in spans}

    @property
    def size(self) -> int:
        return self.table.size

    @cached_property
    def parameters(self) -> Parameters:
        """The natural parameter that each coordinate of u stands for: Parameters (P,), in the order of u."""
        return Parameters(self.table.all_parameters[entry] for entry in self.entries)

    @property
    def labels(self) -> list[str]:
        """Names of the natural parameters that the coordinates of u stand for, list of P str."""
        return list(self.parameters.names)

    @cached_property
    def entries(self) -> np.ndarray:
        """Position in s of the parameter that each coordinate of u stands for, int array (P,)."""
        layout, free = self.layout, self.table.free
        rows, columns = layout.triangle
        cov = np.arange(layout.slices["skill_cov"].start, layout.slices["skill_cov"].stop)
        positions = [self._linear]
        positions += [layout.index(block)[self._free_items(block)] for block in ("precision", "lower", "upper")]
        positions += [cov[free[cov] & (rows != columns)], cov[free[cov] & (rows == columns)], self._share]
        return np.concatenate(positions)

    @cached_property
    def limits(self) -> np.ndarray:
        """Lowest and highest value of each coordinate of u that a sensible estimate may have, array (2, P).

        Coordinates that are transformed parameters are bounded, since far out exp and the logistic function are flat or
        overflow. The others have no bounds.
        """
        box = np.repeat([[-np.inf], [np.inf]], self.size, axis=1)
        sizes = {"precision": (-5.0, 25.0), "lower": (-15.0, 15.0), "upper": (-15.0, 15.0), "rows": (-30.0, 30.0)}
        for name, pair in (sizes | {"log_sd": (-10.0, 10.0)}).items():
            box[:, self._blocks[name]] = np.array(pair)[:, None]
        return box

    def _free_items(self, block: str) -> np.ndarray:
        """The benchmarks for which a block with one entry a benchmark is free, int array."""
        return np.flatnonzero(self.table.free[self.layout.slices[block]])

    def _factor(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Cholesky factor C of R (K, K), and the lengths (K,) of its rows before they are scaled to length 1."""
        k = self.layout.n_skills
        raw = np.eye(k)
        if self._blocks["rows"].stop > self._blocks["rows"].start:
            raw[np.tril_indices(k, -1)] = u[self._blocks["rows"]]
        norms = np.linalg.norm(raw, axis=1)
        return raw / norms[:, None], norms

    def _sd(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations of the families' effects (K,), and the skills for which they are free."""
        rows, columns = self.layout.triangle
        diagonal = rows == columns
        fixed = self.table.fixed[self.layout.slices["skill_cov"]][diagonal]
        sd = np.sqrt(np.where(np.isnan(fixed), 1.0, fixed))
        sd[np.isnan(fixed)] = np.exp(u[self._blocks["log_sd"]])
        return sd, np.flatnonzero(np.isnan(fixed))

    def structural(self, u: np.ndarray) -> np.ndarray:
        """The structural vector s (S,) of an unconstrained vector u (P,)."""
        layout, blocks = self.layout, self._blocks
        s = self.table.fixed.copy()
        s[self._linear] = u[blocks["linear"]]
        s[layout.index("precision")[self._free_items("precision")]] = np.exp(u[blocks["precision"]])
        lower = layout.index("lower")
        s[lower[self._free_items("lower")]] = expit(u[blocks["lower"]])
        top = self._free_items("upper")
        c = s[lower[top]]
        s[layout.index("upper")[top]] = c + (1.0 - c) * expit(u[blocks["upper"]])
        factor, _ = self._factor(u)
        sd, _ = self._sd(u)
        cov = sd[:, None] * (factor @ factor.T) * sd
        where = layout.slices["skill_cov"]
        free = self.table.free[where]
        s[np.arange(where.start, where.stop)[free]] = cov[layout.triangle][free]
        s[self._share] = np.sin(u[blocks["share"]]) ** 2
        return s

    def structure(self, u: np.ndarray) -> Structure:
        """The parameters as matrices, a Structure, of an unconstrained vector u (P,)."""
        return self.layout.unflatten(self.structural(u))

    def free_vector(self, structure: Structure) -> np.ndarray:
        """The unconstrained vector u (P,) of a Structure, whose fixed entries are ignored."""
        layout, blocks = self.layout, self._blocks
        s = layout.flatten(structure)
        u = np.empty(self.size)
        u[blocks["linear"]] = s[self._linear]
        u[blocks["precision"]] = np.log(structure.precision[self._free_items("precision")])
        u[blocks["lower"]] = logit(structure.lower[self._free_items("lower")])
        top = self._free_items("upper")
        c, d = structure.lower[top], structure.upper[top]
        u[blocks["upper"]] = logit((d - c) / (1.0 - c))
        sd = np.sqrt(np.diag(structure.skill_cov))
        if blocks["rows"].stop > blocks["rows"].start:
            factor = np.linalg.cholesky(structure.skill_cov / np.outer(sd, sd))
            raw = factor / np.diag(factor)[:, None]
            u[blocks["rows"]] = raw[np.tril_indices(len(sd), -1)]
        _, free_sd = self._sd(np.zeros(self.size))
        u[blocks["log_sd"]] = np.log(sd[free_sd])
        u[blocks["share"]] = np.arcsin(np.sqrt(s[self._share]))
        return u

    def jacobian(self, u: np.ndarray) -> np.ndarray:
        """Derivatives ds/du of the structural vector, array (S, P)."""
        return self.sparse_jacobian(u).toarray()

    def sparse_jacobian(self, u: np.ndarray) -> sparse.csr_array:
        """Derivatives ds/du as a sparse array (S, P): nearly all of its entries are zero."""
        rows, columns, values = self._entries(u)
        return sparse.csr_array((values, (rows, columns)), (self.layout.size, self.size))

    def _entries(self, u: np.ndarray) -> tuple[np.ndarray, ...]:
        """Rows, columns and values of the entries of ds/du that are not zero; each pair of indices comes once."""
        layout, blocks = self.layout, self._blocks
        s, position = self.structural(u), np.arange(self.size)
        linear = position[blocks["linear"]]
        phi = layout.index("precision")[self._free_items("precision")]
        lower, upper = layout.index("lower"), layout.index("upper")
        bottom, top = self._free_items("lower"), self._free_items("upper")
        c, share = s[lower], expit(u[blocks["upper"]])
        slope_of_c = c[bottom] * (1.0 - c[bottom])
        # d = c + (1 - c) share changes with the coordinate of c, too, where both asymptotes are free
        both, of_lower, of_upper = np.intersect1d(bottom, top, return_indices=True)
        entries = [
            (self._linear, linear, np.ones(len(linear))),
            (phi, position[blocks["precision"]], s[phi]),
            (lower[bottom], position[blocks["lower"]], slope_of_c),
            (upper[top], position[blocks["upper"]], (1.0 - c[top]) * share * (1.0 - share)),
            (upper[both], position[blocks["lower"]][of_lower], (1.0 - share[of_upper]) * slope_of_c[of_lower]),
            (self._share, position[blocks["share"]], np.sin(2.0 * u[blocks["share"]])),
            *self._covariance_entries(u),
        ]
        return tuple(np.concatenate(blockwise) for blockwise in zip(*entries, strict=True))

    def _covariance_entries(self, u: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rows, columns and values of ds/du for the lower triangle of Sigma, one coordinate of u after another."""
        layout, blocks = self.layout, self._blocks
        k = layout.n_skills
        where = layout.slices["skill_cov"]
        free = self.table.free[where]
        rows = np.arange(where.start, where.stop)[free]
        factor, norms = self._factor(u)
        sd, free_sd = self._sd(u)
        correlation = factor @ factor.T
        positions = np.arange(self.size)
        if blocks["rows"].stop > blocks["rows"].start:
            for position, a, b in zip(positions[blocks["rows"]], *np.tril_indices(k, -1), strict=True):
                row_derivative = (np.eye(k)[b] - factor[a] * factor[a, b]) / norms[a]  # of row a of C, by u_ab
                change = np.zeros((k, k))
                change[a] = factor @ row_derivative
                change[a, a] = 0.0
                change = (change + change.T) * np.outer(sd, sd)
                yield rows, np.full(len(rows), position), change[layout.triangle][free]
        for position, skill in zip(positions[blocks["log_sd"]], free_sd, strict=True):
            change = np.zeros((k, k))
            change[skill] = correlation[skill] * sd[skill] * sd
            yield rows, np.full(len(rows), position), (change + change.T)[layout.triangle][free]

    def pull_back(self, u: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Gradient in u (P,) of a function of s whose gradient in s is ``score`` (S,): the chain rule."""
        rows, columns, values = self._entries(u)
        return np.bincount(columns, values * score[rows], minlength=self.size)

    def pull_back_rows(self, u: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Gradients in u (L, P) from one gradient in s for each family, ``scores`` (L, S)."""
        return (self.sparse_jacobian(u).T @ scores.T).T

    def pull_back_hessian(self, u: np.ndarray, hessian: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Hessian in u from the Hessian in the free entries of s, both (P, P).

        The second derivatives of s(u) are left out. They are multiplied by the score, which vanishes at a maximum.
        """
        jacobian = self.sparse_jacobian(u)[np.flatnonzero(self.table.free)]
        return congruence(jacobian.T, hessian)
