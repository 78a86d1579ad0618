"""Nodes and weights of integrals in K dimensions: grids of Gauss-Hermite nodes and scrambled Sobol points."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special, stats

_LOG_2PI = np.log(2.0 * np.pi)
_BITS = 30  # bits of each coordinate of a Sobol point


@dataclass(frozen=True)
class StandardNodes:
    """M nodes z with log-weights w, such that the integral of f(z) dz is approximately sum_m exp(w_m) f(z_m).

    They are standardised: placed for a function f near the standard normal density.

    Attributes
    ----------
    z : array (M, K), or (L, M, K) where each of L families has its own nodes
    log_weight : array (M,) or (L, M)
    groups : int
        Number of independent scramblings, which follow one another along the axis of the nodes; 1 for a grid.
    """

    z: np.ndarray
    log_weight: np.ndarray
    groups: int = 1

    def group(self, number: int) -> "StandardNodes":
        """Return the nodes of one scrambling, with weights such that they approximate the integral on their own."""
        size = self.log_weight.shape[-1] // self.groups
        where = slice(number * size, (number + 1) * size)
        return StandardNodes(self.z[..., where, :], self.log_weight[..., where] + np.log(self.groups))

    def of_families(self, first: int, last: int) -> "StandardNodes":
        """Return the nodes of families ``first`` to ``last - 1``."""
        if self.z.ndim == 2:
            return self
        return StandardNodes(self.z[first:last], self.log_weight[first:last], self.groups)


def normal_log_density(z: np.ndarray) -> np.ndarray:
    """Return the log-density of the standard normal law in K dimensions at points z (..., K), an array (...)."""
    return -0.5 * (np.sum(z * z, axis=-1) + z.shape[-1] * _LOG_2PI)


@lru_cache(maxsize=16)
def gauss_hermite(points: int, dimension: int) -> StandardNodes:
    """Return the product grid of the Gauss-Hermite rule with so many points (Golub and Welsch 1969) in each dimension.

    The grid has M = points ** dimension nodes.
    """
    x, weight = special.roots_hermitenorm(points)
    log_w = np.log(weight) - 0.5 * _LOG_2PI
    grid = np.stack(np.meshgrid(*[x] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    weights = np.stack(np.meshgrid(*[log_w] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    return StandardNodes(grid, weights.sum(axis=1) - normal_log_density(grid))


def sobol(
    draws: int, dimension: int, groups: int, seed: int, families: int, t_df: float | None = None
) -> StandardNodes:
    """Return scrambled Sobol points, transformed to follow a normal or a multivariate t law, different for each family.

    Each scrambling is one net with random matrix scrambling, to which every family adds an independent random digital
    shift. If all families shared the same points, the small integration errors would have the same sign in all of them
    and add up, instead of averaging out.

    Parameters
    ----------
    draws : int
        Number of points of a scrambling, a power of two.
    dimension : int
        K.
    groups : int
        Number of independent scramblings.
    seed : int
        Scrambling r uses the r-th child of this seed, whatever the number of draws.
    families : int
        Number L of families.
    t_df : float, optional
        Degrees of freedom of a multivariate t law with unit scale; None for the normal law.

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
    points = uniform.reshape(families, groups * draws, columns)
    z = special.ndtri(points[..., :dimension])
    if t_df is None:
        log_q = normal_log_density(z)
    else:
        z = z / np.sqrt(special.gammaincinv(0.5 * t_df, points[..., -1])[..., None] * 2.0 / t_df)
        log_q = stats.multivariate_t(shape=np.eye(dimension), df=t_df).logpdf(z).reshape(z.shape[:-1])
    return StandardNodes(z, -log_q - np.log(groups * draws), groups)
