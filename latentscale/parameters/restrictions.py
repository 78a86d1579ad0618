"""Linear restrictions R xi = q on the natural parameters xi.

Hypotheses in words or as a matrix are read into a ``Restriction``, and the parameters that satisfy one make up a
``RestrictedSpace``, over which any optimiser can maximise.
"""


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
    """Linear restrictions R xi = q on the natural parameters xi (P,).

    Attributes
    ----------
    matrix : array (q, P)
        R, a row for each restriction.
    value : array (q,)
        The right hand side q.
    labels : tuple of q str
        Each restriction in words, such as ``"a - 2 * b = 0"``.
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
        """By how much the parameters ``params`` (P,) miss each restriction: R xi - q, array (q,)."""
        return self.matrix @ params - self.value


def read_restriction(hypothesis: Any, names: Sequence[str]) -> Restriction:
    """Return the Restriction that is given in words or as a matrix.

    Parameters
    ----------
    hypothesis : str, list of str, array (q, P), or (array (q, P), array (q,))
        ``"a = b = 0"`` is two restrictions; a matrix alone restricts R xi to zero.
    names : list of P str
        Names of the parameters, in the order of xi.

    Raises
    ------
    DataError
        If it cannot be read, or names an unknown parameter.
    """
    if isinstance(hypothesis, Restriction):
        return hypothesis
    if isinstance(hypothesis, str) or (
        isinstance(hypothesis, (list, tuple)) and all(isinstance(text, str) for text in hypothesis)
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
    """Return a restriction in words that ``read_restriction`` reads back as it is, such as ``a - 2 * b = 0``."""
    summands: list[str] = []
    for weight, name in zip(row, names, strict=True):
        if weight:
            size = "" if abs(weight) == 1 else f"{_number(abs(weight))} * "
            sign = "-" if weight < 0 else ("+" if summands else "")
            summands.append(f"{sign} {size}{name}".strip())
    return f"{' '.join(summands)} = {_number(value)}"


def _number(value: float) -> str:
    """Return the shortest text that reads back as the same double."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def natural_vector(space: ParameterSpace, recoding: Recoding, u: np.ndarray) -> np.ndarray:
    """Return the natural parameters (P,), for covariates as users wrote them, of an unconstrained vector u (P,)."""
    return space.table.natural(recoding.user(space.structure(u)))


def natural_jacobian(space: ParameterSpace, recoding: Recoding, u: np.ndarray) -> np.ndarray:
    """Return the exact derivatives of the natural parameters with respect to u, array (P, P)."""
    return sparse_natural_jacobian(space, recoding, u).toarray()


def sparse_natural_jacobian(space: ParameterSpace, recoding: Recoding, u: np.ndarray) -> sparse.csr_array:
    """Return the derivatives of the natural parameters as a sparse array (P, P): nearly all of them are zero."""
    of_structural = recoding.jacobian(space.layout, space.structure(u)) @ space.sparse_jacobian(u)
    return of_structural[np.flatnonzero(space.table.free)]


@dataclass(frozen=True)
class RestrictedSpace:
    """The unconstrained vectors u (P,) that satisfy q restrictions, as a space of their own.

    Its coordinates v (P - q,) are P - q of the coordinates of u. The other q are such that, given v, the restriction is
    satisfied; they are found by Newton's method, in one step where the restriction is linear in u. As every v stands
    for parameters with R xi = q, an optimiser that knows nothing of restrictions maximises under them.

    Attributes
    ----------
    space : ParameterSpace
    recoding : Recoding
    restriction : Restriction
        Its matrix must have independent rows.
    solved : int array (q,)
        Which coordinates of u follow from the restriction.
    start : array (P,)
        A vector u that satisfies the restriction, where Newton's method begins.
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
        """Return the restricted space whose start is near an unconstrained vector u (P,).

        Parameters
        ----------
        metric : array (P, P), optional
            Covariance of the estimates u. The start is then the point that satisfies the restriction and is nearest
            to u in the inverse of this matrix: there a quadratic log-likelihood with its maximum at u has its maximum
            under the restriction.

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
            u = u - step / max(1.0, np.abs(step).max() / _LONGEST_STEP)  # a long step could overflow exp
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
        """Which coordinates of u are the coordinates v, int array (P - q,)."""
        return np.setdiff1d(np.arange(self.space.size), self.solved)

    @cached_property
    def parameters(self) -> Parameters:
        """The natural parameter that each coordinate of v stands for, Parameters (P - q,)."""
        return Parameters(self.space.parameters[position] for position in self.kept)

    @property
    def labels(self) -> list[str]:
        return list(self.parameters.names)

    def free(self, v: np.ndarray) -> np.ndarray:
        """The unconstrained vector u (P,) of coordinates v; all NaN where nothing satisfies the restriction at v."""
        u = self.start.copy()
        u[self.kept] = v
        bound = _RESIDUAL * (1.0 + np.abs(self.restriction.value).max())
        with np.errstate(all="ignore"):  # an optimiser may step too far; it is told so by NaN
            for _ in range(_NEWTON_STEPS):
                residual = self.restriction.residual(natural_vector(self.space, self.recoding, u))
                if np.abs(residual).max() < bound:
                    return u
                by_solved = self._gradient(u)[:, self.solved]
                if not np.isfinite(by_solved).all() or np.linalg.cond(by_solved) > _SINGULAR:
                    break
                u[self.solved] -= np.linalg.solve(by_solved, residual)
        return np.full_like(u, np.nan)

    def _gradient(self, u: np.ndarray) -> np.ndarray:
        """Derivatives of the restrictions with respect to u, array (q, P)."""
        return self.restriction.matrix @ natural_jacobian(self.space, self.recoding, u)

    def basis(self, u: np.ndarray) -> np.ndarray:
        """Derivatives du/dv at a vector u that satisfies the restriction, array (P, P - q)."""
        gradient = self._gradient(u)
        derivatives = np.zeros((self.space.size, self.size))
        derivatives[self.kept, np.arange(self.size)] = 1.0
        derivatives[self.solved] = -np.linalg.solve(gradient[:, self.solved], gradient[:, self.kept])
        return derivatives

    def structural(self, v: np.ndarray) -> np.ndarray:
        """The structural vector s (S,) of coordinates v (P - q,)."""
        return self.space.structural(self.free(v))

    def structure(self, v: np.ndarray) -> Structure:
        """The parameters as matrices, a Structure, of coordinates v (P - q,)."""
        return self.space.structure(self.free(v))

    def free_vector(self, structure: Structure) -> np.ndarray:
        """The coordinates v (P - q,) of a Structure.

        Where the Structure does not satisfy the restriction, ``structure(v)`` is another one, which does.
        """
        return self.space.free_vector(structure)[self.kept]

    def jacobian(self, v: np.ndarray) -> np.ndarray:
        """Derivatives ds/dv of the structural vector, array (S, P - q)."""
        u = self.free(v)
        if not np.isfinite(u).all():
            return np.full((self.layout.size, self.size), np.nan)
        return self.space.jacobian(u) @ self.basis(u)

    def pull_back(self, v: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Gradient in v (P - q,) of a function of s whose gradient in s is ``score`` (S,): the chain rule."""
        return self.jacobian(v).T @ score

    def pull_back_rows(self, v: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Gradients in v (L, P - q) from one gradient in s for each family, ``scores`` (L, S)."""
        return scores @ self.jacobian(v)

    def pull_back_hessian(self, v: np.ndarray, hessian: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Hessian in v (P - q, P - q) from the Hessian (P, P) in the free entries of s and the gradient in s (S,).

        Unlike at an unrestricted maximum the gradient does not vanish, so that the second derivatives of s(v) count.
        """
        step, basis = 1e-4 * np.maximum(1.0, np.abs(v)), self.jacobian(v)[self.table.free]
        curvature = symmetrise(jacobian(lambda point: self.pull_back(point, score), v, step))
        return basis.T @ hessian @ basis + curvature


def independent(restriction: Restriction) -> Restriction:
    """Return the restriction without the rows that follow from others.

    Raises
    ------
    DataError
        If rows contradict each other.
    """
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
