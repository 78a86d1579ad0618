"""The Huber loss of Sloth with gradient and Hessian, whose blocks follow from the structure of the parameters.

A parameter vector has P entries: the family intercepts A (L, K), the slopes B (p, K), and for each benchmark a row
(lambda_j, b_j, phi_j) of loadings, intercept and curve parameters. B and the rows of benchmarks are the S shared
parameters. The block of the Hessian in A is block diagonal by family, so that a Newton step takes little more time than
one in the shared parameters alone.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import lapack

from ..components.free_curves import FreeCurves
from .huber import huber_derivatives, huber_loss


@dataclass(frozen=True, eq=False)
class Blocks:
    """Value, gradient and Hessian of a penalised loss.

    Attributes
    ----------
    value, loss : float
        The mean loss with and without penalty.
    gradient : array (P,)
    family : array (L, K, K)
        The block of the Hessian in each family's intercepts.
    cross : array (L, K, S)
        The blocks of the Hessian in each family's intercepts and the shared parameters.
    shared : array (S, S)
        The block of the Hessian in the shared parameters.
    """

    value: float
    loss: float
    gradient: np.ndarray
    family: np.ndarray
    cross: np.ndarray
    shared: np.ndarray

    def dense(self) -> np.ndarray:
        """Return the whole Hessian (P, P)."""
        n_families, k, _ = self.cross.shape
        a, size = n_families * k, len(self.gradient)
        out = np.zeros((size, size))
        for number, block in enumerate(self.family):
            out[number * k : (number + 1) * k, number * k : (number + 1) * k] = block
        out[:a, a:] = self.cross.reshape(a, size - a)
        out[a:, :a] = out[:a, a:].T
        out[a:, a:] = self.shared
        return out

    def step(self, damping: float, held: np.ndarray | None) -> np.ndarray | None:
        """Return the Newton step -(H + damping I)^-1 gradient (P,), or None if the matrix is not positive definite.

        Shared parameters that are ``held``, a boolean array (S,), do not move. The step in the other shared parameters
        comes from the Schur complement of the families' blocks.
        """
        n_families, k, _ = self.cross.shape
        a = n_families * k
        right = self.gradient[a:]
        shared, cross = self.shared, self.cross
        if held is not None:
            moving = np.flatnonzero(~held)
            shared, cross, right = shared[np.ix_(moving, moving)], cross[:, :, moving], right[moving]
        system = shared + damping * np.eye(len(right))
        if a:
            damped = self.family + damping * np.eye(k)
            inverse = _inverse(damped)
            if inverse is None:
                return None
            flat = cross.reshape(a, -1)
            solved = (inverse @ cross).reshape(a, -1)
            system = system - flat.T @ solved
            right = right - solved.T @ self.gradient[:a]
        factor, info = lapack.dpotrf(system, lower=1)
        if info != 0:
            return None
        move = -lapack.dpotrs(factor, right, lower=1)[0]
        out = np.zeros(len(self.gradient))
        if held is None:
            out[a:] = move
        else:
            out[a + moving] = move
        if a:
            local = self.gradient[:a].reshape(n_families, k, 1)
            out[:a] = -(inverse @ (local + (flat @ move).reshape(n_families, k, 1))).ravel()
        return out

    def product(self, vector: np.ndarray) -> np.ndarray:
        """Return the product of the Hessian with a vector (P,)."""
        n_families, k, _ = self.cross.shape
        a = n_families * k
        out = np.empty(len(vector))
        flat = self.cross.reshape(a, len(self.shared))
        out[a:] = self.shared @ vector[a:] + flat.T @ vector[:a]
        out[:a] = (self.family @ vector[:a].reshape(n_families, k, 1)).ravel() + flat @ vector[a:]
        return out


def _inverse(blocks: np.ndarray) -> np.ndarray | None:
    """Return the inverses of a stack of symmetric matrices, or None unless all are positive definite."""
    if blocks.shape[-1] == 1:
        return 1.0 / blocks if (blocks > 0.0).all() else None
    try:
        root = np.linalg.inv(np.linalg.cholesky(blocks))
    except np.linalg.LinAlgError:
        return None
    return root.swapaxes(1, 2) @ root


@dataclass(frozen=True, eq=False)
class SlothObjective:
    """The mean Huber loss over the observed cells plus a quadratic penalty.

    Attributes
    ----------
    y : array (n, J)
        Scores of LLMs that are sorted by family, with any finite number where a score is missing.
    weight : array (n, J)
        1 / number of observed cells, 0 where a score is missing.
    z : array (n, p)
        Covariates, whitened or scaled.
    family_starts : int array (L,) or None
        First row of each family; None if families share their intercepts.
    n_skills : int
    response : FreeCurves
        Links and asymptotes, whose parameters are the phi_j.
    penalty : array (P,)
        The penalty is the sum of penalty (parameter - centre)^2 / 2.
    centre : array (P,)
        The values towards which parameters are shrunk.
    held : bool array (S,) or None
        Shared parameters that are fixed; None if there are none.
    positive : bool array (p, K) or None
        Slopes that may not be negative; None if all may.
    """

    y: np.ndarray
    weight: np.ndarray
    z: np.ndarray
    family_starts: np.ndarray | None
    n_skills: int
    response: FreeCurves
    penalty: np.ndarray
    centre: np.ndarray
    held: np.ndarray | None = None
    positive: np.ndarray | None = None

    @cached_property
    def n_families(self) -> int:
        """Number L of families with intercepts of their own; 0 if intercepts are shared."""
        return 0 if self.family_starts is None else len(self.family_starts)

    @cached_property
    def row_length(self) -> int:
        """Number of parameters in a benchmark's row, K + 1 + q."""
        return self.n_skills + 1 + self.response.size

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """Numbers of parameters in A and B."""
        return self.n_families * self.n_skills, self.z.shape[1] * self.n_skills

    @cached_property
    def family(self) -> np.ndarray:
        """Number of each LLM's family (n,)."""
        if self.family_starts is None:
            raise ValueError("families share their intercepts")
        counts = np.diff(np.append(self.family_starts, len(self.y)))
        return np.repeat(np.arange(self.n_families), counts)

    @cached_property
    def _squares(self) -> np.ndarray:
        """Products of pairs of covariates (n, p^2)."""
        p = self.z.shape[1]
        return (self.z[:, :, None] * self.z[:, None, :]).reshape(-1, p * p)

    def split(self, vector: np.ndarray) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        """Return views of A (L, K) or None, B (p, K), and the rows of benchmarks (J, K + 1 + q)."""
        a, b = self.sizes
        k = self.n_skills
        effects = vector[:a].reshape(-1, k) if self.n_families else None
        return effects, vector[a : a + b].reshape(-1, k), vector[a + b :].reshape(-1, self.row_length)

    def join(self, effects: np.ndarray | None, slopes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the parameter vector (P,) of A, B and the rows of benchmarks, see ``split``."""
        shared = [slopes.ravel(), rows.ravel()]
        return np.concatenate(shared if effects is None else [effects.ravel(), *shared])

    def skills(self, vector: np.ndarray) -> np.ndarray:
        """Return the skills theta (n, K)."""
        effects, slopes, _ = self.split(vector)
        theta = self.z @ slopes
        return theta if effects is None else theta + effects[self.family]

    def predictor(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the linear predictor eta (n, J) and the curve parameters phi (J, q)."""
        rows, k = self.split(vector)[2], self.n_skills
        return self.skills(vector) @ rows[:, :k].T + rows[:, k], rows[:, k + 1 :]

    def rising(self, vector: np.ndarray) -> bool:
        """Return whether the upper asymptote of every benchmark lies above its lower one."""
        return self.response.ordered(self.split(vector)[2][:, self.n_skills + 1 :])

    def residuals(self, vector: np.ndarray) -> np.ndarray:
        """Return y - mu (n, J), which has no meaning where a score is missing."""
        return self.y - self.response.mean(*self.predictor(vector))

    def penalty_value(self, vector: np.ndarray) -> float:
        """Return the penalty."""
        away = vector - self.centre
        return 0.5 * float(np.dot(self.penalty * away, away))

    def value(self, vector: np.ndarray, delta: float) -> float:
        """Return the penalised loss."""
        loss = huber_loss(self.residuals(vector), delta)
        return float(np.vdot(self.weight, loss)) + self.penalty_value(vector)

    def cell_derivatives(self, vector: np.ndarray, delta: float) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Return the expected scores with their derivatives, and the losses of the cells with theirs.

        Returns
        -------
        curves : CellCurves
            Expected scores mu and their derivatives.
        loss : array (n, J)
            Losses of the cells, without weights.
        pull, curvature : arrays (n, J)
            First and second derivatives of the weighted losses in mu.
        """
        eta, phi = self.predictor(vector)
        curves = self.response.cells(eta, phi)
        loss, psi, psi1 = huber_derivatives(self.y - curves.mu, delta)
        return curves, loss, -self.weight * psi, self.weight * psi1

    def gradient(self, vector: np.ndarray, delta: float) -> np.ndarray:
        """Return the gradient (P,) of the penalised loss."""
        curves, _, pull, _ = self.cell_derivatives(vector, delta)
        return self._gradient(vector, curves, pull)

    def _gradient(self, vector: np.ndarray, curves: Any, pull: np.ndarray) -> np.ndarray:
        """Return the gradient (P,) of the penalised loss from the derivatives of the cells."""
        by_llm, by_item = self.llm_gradients(vector, curves, pull)
        out = self.penalty * (vector - self.centre)
        a, b = self.sizes
        if self.family_starts is not None:
            out[:a] += np.add.reduceat(by_llm, self.family_starts).ravel()
        out[a : a + b] += (self.z.T @ by_llm).ravel()
        out[a + b :] += by_item.ravel()
        return out

    def llm_gradients(self, vector: np.ndarray, curves: Any, pull: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of the loss in skills of LLMs (n, K) and in rows of benchmarks (J, K + 1 + q)."""
        rows, k = self.split(vector)[2], self.n_skills
        e = pull * curves.d1
        by_item = np.empty_like(rows)
        by_item[:, :k] = e.T @ self.skills(vector)
        by_item[:, k] = e.sum(axis=0)
        if self.response.size:
            by_item[:, k + 1 :] = np.einsum("ij,ijq->jq", pull, curves.phi)
        return e @ rows[:, :k], by_item

    def blocks(self, vector: np.ndarray, delta: float) -> Blocks:
        """Return value, gradient and Hessian of the penalised loss.

        The Huber loss is piecewise quadratic or linear in mu; the Hessian is that between the points where the pieces
        meet.
        """
        curves, loss, pull, curvature = self.cell_derivatives(vector, delta)
        gradient = self._gradient(vector, curves, pull)
        base = float(np.vdot(self.weight, loss))
        family, cross, shared = self.second(vector, curves, pull, curvature)
        return Blocks(base + self.penalty_value(vector), base, gradient, family, cross, shared)

    def second(
        self, vector: np.ndarray, curves: Any, pull: np.ndarray, curvature: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the Hessian's blocks ``family``, ``cross`` and ``shared``, see ``Blocks``.

        ``curves``, ``pull`` and ``curvature`` are what ``cell_derivatives`` returns, or replace it.
        """
        k, q = self.n_skills, self.response.size
        n, p = self.z.shape
        (_, _, rows), theta = self.split(vector), self.skills(vector)
        loading = rows[:, :k]
        slope = curvature * curves.d1
        h, e = slope * curves.d1 + pull * curves.d2, pull * curves.d1
        x = np.ones((n, k + 1))
        x[:, :k] = theta
        # second derivatives of each cell's loss in eta and in the parameters of its benchmark's row
        local = np.empty((n, len(rows), k + 1 + q))
        np.multiply(h[:, :, None], x[:, None, :], out=local[:, :, : k + 1])
        if q:
            local[:, :, k + 1 :] = slope[:, :, None] * curves.phi + pull[:, :, None] * curves.phi1
        within = self._within(x, local, curves, pull, curvature)
        q_llm = (h @ (loading[:, :, None] * loading[:, None, :]).reshape(-1, k * k)).reshape(n, k, k)
        c_llm = loading.T[None, :, :, None] * local[:, None, :, :]
        for skill in range(k):
            c_llm[:, skill, :, skill] += e
        c_llm = c_llm.reshape(n, k, -1)
        a, b = self.sizes
        m = c_llm.shape[2]
        shared = np.empty((b + m, b + m))
        shared[:b, :b] = (
            (self._squares.T @ q_llm.reshape(n, -1)).reshape(p, p, k, k).transpose(0, 2, 1, 3).reshape(b, b)
        )
        shared[:b, b:] = (self.z.T @ c_llm.reshape(n, -1)).reshape(b, m)
        shared[b:, :b] = shared[:b, b:].T
        shared[b:, b:] = within
        shared[np.arange(b + m), np.arange(b + m)] += self.penalty[a:]
        if self.family_starts is None:
            return np.empty((0, k, k)), np.empty((0, k, b + m)), shared
        family = np.add.reduceat(q_llm, self.family_starts)
        family[:, np.arange(k), np.arange(k)] += self.penalty[:a].reshape(-1, k)
        by_slopes = (self.z[:, None, :, None] * q_llm[:, :, None, :]).reshape(n, k, b)
        both = np.concatenate([by_slopes, c_llm], axis=2)
        return family, np.add.reduceat(both, self.family_starts), shared

    def _within(
        self, x: np.ndarray, local: np.ndarray, curves: Any, pull: np.ndarray, curvature: np.ndarray
    ) -> np.ndarray:
        """Return the block diagonal matrix (J m, J m) of second derivatives within the rows of benchmarks."""
        _, n_items, m = local.shape
        k1, q = x.shape[1], self.response.size
        tall = local.transpose(1, 2, 0)
        blocks = np.empty((n_items, m, m))
        blocks[:, :, :k1] = tall @ x
        if q:
            blocks[:, :k1, k1:] = blocks[:, k1:, :k1].swapaxes(1, 2)
            phi = curves.phi.swapaxes(0, 1)
            blocks[:, k1:, k1:] = (curvature.T[:, :, None] * phi).swapaxes(1, 2) @ phi
            blocks[:, k1:, k1:] += self.response.curvature(curves, pull)
        out = np.zeros((n_items, m, n_items, m))
        out[np.arange(n_items), :, np.arange(n_items), :] = blocks
        return out.reshape(n_items * m, n_items * m)
