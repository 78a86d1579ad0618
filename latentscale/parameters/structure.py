"""The parameters of the latent skill model as matrices, and as one vector in a fixed order.

A ``Structure`` holds the matrices of the model's equations. Optimisers and derivatives need a vector: ``Layout`` says
which of its entries belong to which matrix.
"""


from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .kinds import BENCHMARK_SD, Kind

NOT_GIVEN: Any = None
"""Stands in the place of a block of parameters that a model does not have."""


@dataclass(frozen=True)
class Structure:
    """All parameters of the latent skill model for J benchmarks, K skills and p covariates, fixed ones included.

    Attributes
    ----------
    loadings : array (J, K)
        Lambda: how much a benchmark's linear predictor rises with each skill.
    intercepts : array (J,)
        b: the linear predictor of a benchmark where all skills are zero.
    slopes : array (p, K)
        B: how much a skill rises with each covariate.
    skill_cov : array (K, K)
        Sigma: the covariance matrix of the families' effects on the skills.
    precision : array (J,)
        phi > 0: the larger, the less scores scatter about their expected value.
    lower, upper : arrays (J,)
        The asymptotes c and d of the expected score, 0 <= c < d <= 1.
    link : array (J, G)
        Coordinates of each benchmark's link (``numerics.monotone``); (J, 0) for the logistic one.
    scales : dict of str to array
        Standard deviations that scale random effects beyond the efficiency of families, by the name of their block
        (``components.levels``): (r, K), one for each of r covariates and each skill; (J,), one for each benchmark; or
        (1,), a single one. The law depends on their squares, so that optimisers may pass through negative values.
    precision_slopes : array (q, 1) or (q, J)
        gamma: how much log phi rises with each covariate w of the precision, for all benchmarks or for each; (0, 1)
        where precisions do not depend on covariates.
    """

    loadings: np.ndarray
    intercepts: np.ndarray
    slopes: np.ndarray
    skill_cov: np.ndarray
    precision: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    link: np.ndarray = NOT_GIVEN
    scales: dict[str, np.ndarray] = NOT_GIVEN
    precision_slopes: np.ndarray = NOT_GIVEN

    def __post_init__(self) -> None:
        if self.link is None:
            object.__setattr__(self, "link", np.zeros((len(self.loadings), 0)))
        if self.precision_slopes is None:
            object.__setattr__(self, "precision_slopes", np.zeros((0, 1)))
        scales = {} if self.scales is None else self.scales
        object.__setattr__(self, "scales", {name: np.atleast_1d(values) for name, values in scales.items()})

    def with_scales(self, **blocks: np.ndarray) -> Structure:
        """Return the same parameters with some blocks of standard deviations replaced or added."""
        return replace(self, scales={**self.scales, **blocks})

    def unsigned(self) -> Structure:
        """Return the same law written with standard deviations that are not negative."""
        return replace(self, scales={name: np.abs(values) for name, values in self.scales.items()})

    def transformed(self, a_inverse: np.ndarray) -> Structure:
        """Return the same law of the scores written with the skills A theta in place of theta, given A^-1 (K, K).

        Effects that are independent across skills stay so only if A is diagonal; those that have the covariance of
        the families' effects, up to one factor, have it in all axes.
        """
        a = np.linalg.inv(a_inverse)
        by_skill = {name: values for name, values in self.scales.items() if values.ndim == 2}
        if by_skill and np.any(a_inverse != np.diag(np.diag(a_inverse))):
            raise ValueError("random effects that are independent across skills cannot be rotated")
        return replace(
            self,
            loadings=self.loadings @ a_inverse,
            slopes=self.slopes @ a.T,
            skill_cov=a @ self.skill_cov @ a.T,
            scales={**self.scales, **{name: values * np.diag(a) for name, values in by_skill.items()}},
        )

    def recoded(self, transform: np.ndarray, centre: np.ndarray) -> Structure:
        """Return the same law of the scores written with covariates z = (x - centre) T in place of x.

        ``transform`` is T (p, p) and ``centre`` is (p,).
        """
        return replace(
            self,
            slopes=np.linalg.solve(transform, self.slopes),
            intercepts=self.intercepts + self.loadings @ (self.slopes.T @ centre),
        )


@dataclass(frozen=True)
class ScaleBlock:
    """A block of standard deviations that scale random effects, with its labels.

    Attributes
    ----------
    kind : Kind
        The kind of its parameters, whose name is that of the block, too.
    rows : tuple of r str or None
        Labels of the r rows of the block, covariates or benchmarks; None if it has a single row without a label. If the
        kind belongs to skills, each row has one standard deviation for every skill.
    """

    kind: Kind
    rows: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Name of the block in the structural vector s."""
        return self.kind.name

    @property
    def by_skill(self) -> bool:
        """Whether each skill has a standard deviation of its own."""
        return "skill" in self.kind.labels

    def shape(self, n_skills: int) -> tuple[int, ...]:
        """Shape of the block: (r, K), or (r,) where the standard deviations do not belong to skills."""
        count = 1 if self.rows is None else len(self.rows)
        return (count, n_skills) if self.by_skill else (count,)

    def labels(self, skills: Sequence[str]) -> list[tuple[str, ...]]:
        """Labels of its entries, row by row."""
        rows = [()] if self.rows is None else [(row,) for row in self.rows]
        return [(*row, *skill) for row in rows for skill in ([(name,) for name in skills] if self.by_skill else [()])]


@dataclass(frozen=True)
class Layout:
    """Where each block of a Structure lies in the structural vector s, which holds all parameters one after another.

    The order is: Lambda, b, B, the lower triangle of Sigma, phi, c, d, those standard deviations of random effects that
    differ between skills, the coordinates of the links, the other standard deviations, and the slopes of log
    precisions. Matrices are written row by row.

    Attributes
    ----------
    n_items, n_skills, n_covariates : int
        The numbers J of benchmarks, K of skills and p of covariates.
    n_link : int
        Number of coordinates of a benchmark's link.
    scales : tuple of (str, tuple of int)
        Name and shape of each block of standard deviations, (r, K) or (r,).
    precision_slopes : tuple of int
        Shape of the slopes of log precisions, (q, 1) or (q, J).
    """

    n_items: int
    n_skills: int
    n_covariates: int
    n_link: int = 0
    scales: tuple[tuple[str, tuple[int, ...]], ...] = ()
    precision_slopes: tuple[int, int] = (0, 1)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The slice of s that each block takes, dict by name of the block."""
        j, k, p = self.n_items, self.n_skills, self.n_covariates
        sizes = {
            "loadings": j * k,
            "intercepts": j,
            "slopes": p * k,
            "skill_cov": k * (k + 1) // 2,
            "precision": j,
            "lower": j,
            "upper": j,
        }
        sizes |= {name: r * k for name, (r, *by_skill) in self.scales if by_skill}
        sizes["link"] = j * self.n_link
        sizes |= {name: r for name, (r, *by_skill) in self.scales if not by_skill}
        sizes["precision_slopes"] = math.prod(self.precision_slopes)
        ends = np.cumsum(list(sizes.values()))
        spans = zip(sizes, sizes.values(), ends, strict=True)
        return {name: slice(int(end - size), int(end)) for name, size, end in spans}

    @property
    def size(self) -> int:
        return max(where.stop for where in self.slices.values())

    @cached_property
    def triangle(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column indices of the lower triangle of Sigma, in the order of s."""
        return np.tril_indices(self.n_skills)

    def index(self, block: str) -> np.ndarray:
        """Positions in s of the entries of a block, int array in the shape of the block.

        Of ``skill_cov`` s has the lower triangle only; its positions are one array (K (K + 1) / 2,).
        """
        shapes = {
            "loadings": (self.n_items, self.n_skills),
            "slopes": (self.n_covariates, self.n_skills),
            "link": (self.n_items, self.n_link),
            "precision_slopes": self.precision_slopes,
            **dict(self.scales),
        }
        where = self.slices[block]
        return np.arange(where.start, where.stop).reshape(shapes.get(block, (-1,)))

    @cached_property
    def shapes(self) -> dict[str, np.ndarray]:
        """Positions in s of the parameters that give a benchmark's scores their shape, dict of int arrays (J,).

        They are known by one character: ``"p"`` the precision, ``"c"`` and ``"d"`` the lower and upper asymptote, and
        ``"1"``, ``"2"``, ... the coordinates of the link.
        """
        link = self.index("link")
        positions = {"p": self.index("precision"), "c": self.index("lower"), "d": self.index("upper")}
        return positions | {str(number + 1): link[:, number] for number in range(self.n_link)}

    @property
    def by_benchmark(self) -> list[str]:
        """Names of the blocks of standard deviations that have one for each benchmark."""
        return [name for name, _ in self.scales if name == BENCHMARK_SD.name]

    @cached_property
    def is_scale(self) -> np.ndarray:
        """Which entries of s are standard deviations of random effects, bool array (S,)."""
        is_scale = np.zeros(self.size, dtype=bool)
        for name, _ in self.scales:
            is_scale[self.slices[name]] = True
        return is_scale

    @cached_property
    def items(self) -> np.ndarray:
        """The benchmark that each entry of s belongs to, int array (S,); -1 where it belongs to all."""
        benchmark = np.full(self.size, -1)
        for block in ("loadings", "intercepts", "precision", "lower", "upper", "link", *self.by_benchmark):
            index = self.index(block)
            benchmark[index] = np.arange(self.n_items).reshape(-1, *[1] * (index.ndim - 1))
        if self.precision_slopes[1] == self.n_items:
            benchmark[self.index("precision_slopes")] = np.arange(self.n_items)
        return benchmark

    def flatten(self, structure: Structure) -> np.ndarray:
        """The structural vector s (S,) of a Structure."""
        blocks, shapes = [], dict(self.scales)
        # a Structure without some random effects, or slopes of precisions, is one in which these are zero
        scales = {name: np.zeros(shape) for name, shape in shapes.items()} | structure.scales
        slopes = structure.precision_slopes
        slopes = slopes if len(slopes) else np.zeros((self.precision_slopes[0], 1))
        scales["precision_slopes"] = np.broadcast_to(slopes, self.precision_slopes)
        for name in self.slices:
            value = scales[name] if name in scales else getattr(structure, name)
            blocks.append(value[self.triangle] if name == "skill_cov" else np.ravel(value))
        return np.concatenate(blocks)

    def unflatten(self, s: np.ndarray) -> Structure:
        """The Structure of a structural vector s (S,)."""
        values = {name: s[where] for name, where in self.slices.items()}
        values["loadings"] = values["loadings"].reshape(self.n_items, self.n_skills)
        values["slopes"] = values["slopes"].reshape(self.n_covariates, self.n_skills)
        values["link"] = values["link"].reshape(self.n_items, self.n_link)
        values["precision_slopes"] = values["precision_slopes"].reshape(self.precision_slopes)
        cov = np.zeros((self.n_skills, self.n_skills))
        cov[self.triangle] = values["skill_cov"]
        values["skill_cov"] = cov + np.tril(cov, -1).T
        scales = {name: values.pop(name).reshape(shape) for name, shape in self.scales}
        return Structure(**values, scales=scales)
