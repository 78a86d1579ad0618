"""Linear restrictions R xi = q on natural parameters: reading them, and the space they leave."""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from patsy import DesignInfo, PatsyError
from scipy import sparse
from scipy.linalg import qr

from ..errors import DataError
from ..numerics.differences import jacobian
from ..numerics.linalg import symmetrise
from .named import Parameters
from .recoding import Recoding
from .space import ParameterSpace
from .structure import Layout, Structure
from .table import ParameterTable

_RANK = 1e-9
_RESIDUAL = 1e-11
_NEWTON_STEPS = 50
_LONGEST_STEP = 1.0
_SINGULAR = 1e13


@dataclass(frozen=True)
class Restriction:
    """R xi = q.

    Attributes
    ----------
    matrix : array (q, P)
    value : array (q,)
    labels : tuple of str
        Each row in words.
    """

    matrix: np.ndarray
    value: np.ndarray
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.value)

    @property
    def rank(self) -> int:
        """Number of independent rows."""
        return int(np.linalg.matrix_rank(self.matrix))

    def residual(self, params: np.ndarray) -> np.ndarray:
        """R xi - q."""
        return self.matrix @ params - self.value


def read_restriction(hypothesis: Any, names: Sequence[str]) -> Restriction:
    """Restriction from words or a matrix.

    Parameters
    ----------
    hypothesis : str, list of str, array (q, P), or (array (q, P), array (q,))
        ``"a = b = 0"`` is two restrictions; a matrix alone restricts R xi to zero.
    names : list of str
        Parameter names.

    Raises
    ------
    DataError
        If it cannot be read, or names an unknown parameter.
    """
    if isinstance(hypothesis, Restriction):
        return hypothesis
    if isinstance(hypothesis, str) or (
        isinstance(hypothesis, (list, tuple)) and all(isinstance(part, str) for part in hypothesis)
    ):
        try:
            read = DesignInfo(list(names)).linear_constraint(hypothesis)
        except PatsyError as error:
            raise DataError(
                f"Cannot read the hypothesis {hypothesis!r}: {str(error).splitlines()[0]}. Parameters are named as in "
                "fit.params, for instance 'slope[log(params_b),math] = 0'."
            ) from error
        r, q = np.asarray(read.coefs), np.asarray(read.constants).ravel()
    else:
        matrix, value = hypothesis if isinstance(hypothesis, tuple) else (hypothesis, 0.0)
        r = np.atleast_2d(np.asarray(matrix, dtype=float))
        q = np.broadcast_to(np.asarray(value, dtype=float), len(r)).copy()
        if r.shape[1] != len(names):
            raise DataError(f"A restriction matrix needs {len(names)} columns, one per parameter; got {r.shape[1]}.")
    empty = np.flatnonzero(~np.any(r, axis=1))
    if len(empty):
        raise DataError(f"Restriction {empty[0] + 1} of {hypothesis!r} involves no parameter.")
    return Restriction(r, q, tuple(_label(row, value, names) for row, value in zip(r, q, strict=True)))


def _label(row: np.ndarray, value: float, names: Sequence[str]) -> str:
    """A restriction in words that ``read_restriction`` reads back as it is, such as ``a - 2 * b = 0``."""
    parts: list[str] = []
    for weight, name in zip(row, names, strict=True):
        if weight:
            size = "" if abs(weight) == 1 else f"{_number(abs(weight))} * "
            sign = "-" if weight < 0 else ("+" if parts else "")
            parts.append(f"{sign} {size}{name}".strip())
    return f"{' '.join(parts)} = {_number(value)}"


def _number(value: float) -> str:
    """The shortest text that reads back as the same double."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def natural_vector(space: ParameterSpace, recoding: Recoding, u: np.ndarray) -> np.ndarray:
    """Natural parameters, in users' covariates, of a free vector u."""
    return space.table.natural(recoding.user(space.structure(u)))


def natural_jacobian(space: ParameterSpace, recoding: Recoding, u: np.ndarray) -> np.ndarray:
    """d natural / d u, shape (P, P), exact."""
    return sparse_natural_jacobian(space, recoding, u).toarray()


def sparse_natural_jacobian(space: ParameterSpace, recoding: Recoding, u: np.ndarray) -> sparse.csr_array:
    """The same, a sparse array: few of its entries are not zero."""
    carried = recoding.jacobian(space.layout, space.structure(u)) @ space.sparse_jacobian(u)
    return carried[np.flatnonzero(space.table.free)]


@dataclass(frozen=True)
class RestrictedSpace:
    """The free vectors that satisfy a restriction, as a space of their own.

    q of the coordinates of u are solved for (by Newton's method; in one step where the restriction is linear in
    u), the other P - q are its coordinates v. Every v satisfies R xi = q exactly, so that any optimiser of
    unrestricted parameters maximises under the restriction.

    Attributes
    ----------
    space : ParameterSpace
    recoding : Recoding
    restriction : Restriction
        Of full row rank.
    solved : int array (q,)
        The coordinates of u that are solved for.
    start : array (P,)
        A free vector that satisfies the restriction.
    """

    space: ParameterSpace
    recoding: Recoding
    restriction: Restriction
    solved: np.ndarray
    start: np.ndarray

    @classmethod
    def near(
        cls,
        space: ParameterSpace,
        recoding: Recoding,
        restriction: Restriction,
        u: np.ndarray,
        metric: np.ndarray | None = None,
    ) -> Self:
        """The restricted space about a free vector u.

        Parameters
        ----------
        metric : array (P, P), optional
            Covariance of u: the restriction is then met by the step that is shortest in its inverse, which is
            where the restricted optimum of a quadratic log-likelihood with its maximum at u would be.

        Raises
        ------
        DataError
            If the restrictions contradict each other or cannot be met.
        """
        restriction = independent(restriction)
        metric, met = np.eye(len(u)) if metric is None else metric, True
        for _ in range(_NEWTON_STEPS):
            residual = restriction.residual(natural_vector(space, recoding, u))
            gradient = restriction.matrix @ natural_jacobian(space, recoding, u)
            if np.abs(residual).max(initial=0.0) < _RESIDUAL * (1.0 + np.abs(restriction.value).max(initial=0.0)):
                break
            spread = metric @ gradient.T
            square = gradient @ spread
            if not np.isfinite(square).all() or np.linalg.cond(square) > _SINGULAR:
                met = False
                break
            step = spread @ np.linalg.solve(square, residual)
            u = u - step / max(1.0, np.abs(step).max() / _LONGEST_STEP)  # where exp would run away
        else:
            met = False
        if not met:
            raise DataError(
                f"No parameters were found that satisfy {'; '.join(restriction.labels)}: is a value outside its range?"
            )
        scale = np.sqrt(np.diag(metric))
        _, _, order = qr(gradient * scale, pivoting=True, mode="economic")
        return cls(space, recoding, restriction, np.sort(order[: len(restriction)]), u)

    @property
    def table(self) -> ParameterTable:
        return self.space.table

    @property
    def layout(self) -> Layout:
        return self.space.layout

    @property
    def size(self) -> int:
        return self.space.size - len(self.restriction)

    @cached_property
    def kept(self) -> np.ndarray:
        """The coordinates of u that are coordinates of v, (P - q,)."""
        return np.setdiff1d(np.arange(self.space.size), self.solved)

    @cached_property
    def parameters(self) -> Parameters:
        """The natural parameter that each coordinate of v stands for, Parameters (P - q,)."""
        return Parameters(self.space.parameters[position] for position in self.kept)

    @property
    def labels(self) -> list[str]:
        return list(self.parameters.names)

    def free(self, v: np.ndarray) -> np.ndarray:
        """v -> u; NaN throughout where the restriction cannot be met at v."""
        u = self.start.copy()
        u[self.kept] = v
        bound = _RESIDUAL * (1.0 + np.abs(self.restriction.value).max())
        with np.errstate(all="ignore"):  # an optimiser may step too far; it is told so by NaN
            for _ in range(_NEWTON_STEPS):
                residual = self.restriction.residual(natural_vector(self.space, self.recoding, u))
                if np.abs(residual).max() < bound:
                    return u
                block = self._gradient(u)[:, self.solved]
                if not np.isfinite(block).all() or np.linalg.cond(block) > _SINGULAR:
                    break
                u[self.solved] -= np.linalg.solve(block, residual)
        return np.full_like(u, np.nan)

    def _gradient(self, u: np.ndarray) -> np.ndarray:
        return self.restriction.matrix @ natural_jacobian(self.space, self.recoding, u)

    def basis(self, u: np.ndarray) -> np.ndarray:
        """du/dv, shape (P, P - q)."""
        gradient = self._gradient(u)
        out = np.zeros((self.space.size, self.size))
        out[self.kept, np.arange(self.size)] = 1.0
        out[self.solved] = -np.linalg.solve(gradient[:, self.solved], gradient[:, self.kept])
        return out

    def structural(self, v: np.ndarray) -> np.ndarray:
        """v -> s."""
        return self.space.structural(self.free(v))

    def structure(self, v: np.ndarray) -> Structure:
        """v -> Structure."""
        return self.space.structure(self.free(v))

    def free_vector(self, structure: Structure) -> np.ndarray:
        """Structure -> v; what the restriction says of the solved coordinates is kept to."""
        return self.space.free_vector(structure)[self.kept]

    def jacobian(self, v: np.ndarray) -> np.ndarray:
        """ds/dv, shape (S, P - q)."""
        u = self.free(v)
        if not np.isfinite(u).all():
            return np.full((self.layout.size, self.size), np.nan)
        return self.space.jacobian(u) @ self.basis(u)

    def pull_back(self, v: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Gradient in v from a score in s."""
        return self.jacobian(v).T @ score

    def pull_back_rows(self, v: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Gradients in v, (L, P - q), from scores in s (L, S)."""
        return scores @ self.jacobian(v)

    def pull_back_hessian(self, v: np.ndarray, hessian: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Hessian in v from one in the free entries of s, and from the score, which a restricted optimum has."""
        step, basis = 1e-4 * np.maximum(1.0, np.abs(v)), self.jacobian(v)[self.table.free]
        curvature = symmetrise(jacobian(lambda point: self.pull_back(point, score), v, step))
        return basis.T @ hessian @ basis + curvature


def independent(restriction: Restriction) -> Restriction:
    """The restriction without rows that follow from the others; refused if they contradict each other."""
    _, singular, _ = np.linalg.svd(restriction.matrix)
    rank = int(np.sum(singular > _RANK * singular[0])) if len(singular) else 0
    if rank == len(restriction):
        return restriction
    solution = np.linalg.lstsq(restriction.matrix, restriction.value, rcond=None)[0]
    if np.abs(restriction.residual(solution)).max() > 1e-8 * (1.0 + np.abs(restriction.value).max()):
        raise DataError(f"The restrictions contradict each other: {'; '.join(restriction.labels)}.")
    _, _, order = qr(restriction.matrix.T, pivoting=True, mode="economic")
    rows = np.sort(order[:rank])
    labels = tuple(restriction.labels[row] for row in rows)
    return Restriction(restriction.matrix[rows], restriction.value[rows], labels)
