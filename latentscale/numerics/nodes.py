"""Standardised integration nodes in K dimensions: Gauss-Hermite grids and scrambled Sobol draws."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special, stats

_LOG_2PI = np.log(2.0 * np.pi)
_BITS = 30  # of a Sobol point


@dataclass(frozen=True)
class StandardNodes:
    """Nodes z with log-weights w such that Int f(z) dz is about sum exp(w) f(z).

    Attributes
    ----------
    z : array (M, K), or (L, M, K) where families have their own
    log_weight : array (M,) or (L, M)
    groups : int
        Number of independent scramblings, laid out one after the other; 1 for a grid.
    """

    z: np.ndarray
    log_weight: np.ndarray
    groups: int = 1

    def group(self, number):
        """The nodes of one scrambling alone, reweighted to stand for the whole."""
        size = self.log_weight.shape[-1] // self.groups
        where = slice(number * size, (number + 1) * size)
        return StandardNodes(self.z[..., where, :], self.log_weight[..., where] + np.log(self.groups))

    def part(self, first, last):
        """The nodes of families ``first`` to ``last - 1``."""
        if self.z.ndim == 2:
            return self
        return StandardNodes(self.z[first:last], self.log_weight[first:last], self.groups)


def normal_log_density(z):
    """Log-density of the standard normal in K dimensions, over the last axis."""
    return -0.5 * (np.sum(z * z, axis=-1) + z.shape[-1] * _LOG_2PI)


@lru_cache(maxsize=16)
def gauss_hermite(points, dimension):
    """Tensor grid of ``points`` Gauss-Hermite nodes (Golub-Welsch) in each dimension."""
    x, weight = special.roots_hermitenorm(points)
    log_w = np.log(weight) - 0.5 * _LOG_2PI
    grid = np.stack(np.meshgrid(*[x] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    weights = np.stack(np.meshgrid(*[log_w] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    return StandardNodes(grid, weights.sum(axis=1) - normal_log_density(grid))


def sobol(draws, dimension, groups, seed, families, t_df=None):
    """Scrambled Sobol points carried to a normal, or a multivariate t, proposal; different for each family.

    Each scrambling is one matrix-scrambled net, shifted digitally and independently for every family. Sharing
    one net among families would let its small errors add up instead of averaging out.

    Parameters
    ----------
    draws : int
        Points a scrambling, a power of two.
    dimension : int
    groups : int
        Independent scramblings.
    seed : int
        Scrambling r uses the r-th child, whatever the number of draws.
    families : int
        L.
    t_df : float, optional
        Degrees of freedom of a t proposal with unit scale; None for the normal.

    Returns
    -------
    StandardNodes
        With z (L, M, K) and log_weight (L, M), M = groups * draws.
    """
    columns = dimension + (t_df is not None)
    uniform = np.empty((families, groups, draws, columns))
    for group, child in enumerate(np.random.SeedSequence(seed).spawn(groups)):
        rng = np.random.default_rng(child)
        shift = rng.integers(2**_BITS, size=(families, 1, columns))
        net = stats.qmc.Sobol(columns, scramble=True, bits=_BITS, rng=rng).random(draws)
        integers = np.floor(net * 2**_BITS).astype(np.int64)
        uniform[:, group] = ((integers ^ shift) + 0.5) / 2**_BITS
    uniform = uniform.reshape(families, groups * draws, columns)
    z = special.ndtri(uniform[..., :dimension])
    if t_df is None:
        log_q = normal_log_density(z)
    else:
        z = z / np.sqrt(special.gammaincinv(0.5 * t_df, uniform[..., -1])[..., None] * 2.0 / t_df)
        log_q = stats.multivariate_t(shape=np.eye(dimension), df=t_df).logpdf(z).reshape(z.shape[:-1])
    return StandardNodes(z, -log_q - np.log(groups * draws), groups)
