"""The parameters as matrices, and their one order in a flat vector."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Structure:
    """All parameters of the latent skill model, fixed ones included.

    Attributes
    ----------
    loadings : array (J, K)
        Lambda.
    intercepts : array (J,)
        b.
    slopes : array (p, K)
        B.
    skill_cov : array (K, K)
        Sigma, covariance of the family effects.
    precision : array (J,)
        phi, positive.
    lower, upper : arrays (J,)
        Asymptotes c and d, 0 <= c < d <= 1.
    slope_sd : array (r, K)
        tau, standard deviations of the families' random slopes, r of the covariates; (0, K) without any. The
        law depends on their squares, so optimisers may pass through negative values.
    link : array (J, G)
        Coordinates of each benchmark's link (``numerics.monotone``); (J, 0) for the logistic one.
    outliers : array (J,)
        Shares of scores with a tenth of the precision, in [0, 0.5); none by default.
    llm_sd : array (1,)
        kappa: the residual skills of an LLM have covariance kappa^2 Sigma. (0,), the default, without any. Optimisers
        may pass through negative values, as for ``slope_sd``.
    """

    loadings: np.ndarray
    intercepts: np.ndarray
    slopes: np.ndarray
    skill_cov: np.ndarray
    precision: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    slope_sd: np.ndarray = None
    link: np.ndarray = None
    outliers: np.ndarray = None
    llm_sd: np.ndarray = None

    def __post_init__(self):
        if self.link is None:
            object.__setattr__(self, "link", np.zeros((len(self.loadings), 0)))
        if self.outliers is None:
            object.__setattr__(self, "outliers", np.zeros(len(self.loadings)))
        if self.slope_sd is None:
            object.__setattr__(self, "slope_sd", np.zeros((0, self.loadings.shape[1])))
        object.__setattr__(self, "llm_sd", np.zeros(0) if self.llm_sd is None else np.atleast_1d(self.llm_sd))

    @property
    def kappa(self):
        """``llm_sd`` as a number, 0.0 without residual skills of LLMs."""
        return float(self.llm_sd[0]) if len(self.llm_sd) else 0.0

    def transformed(self, a_inverse):
        """The same law of the data with skills theta -> A theta, given A^-1 (K, K).

        Independent random slopes stay independent only if A is diagonal.
        """
        a = np.linalg.inv(a_inverse)
        if len(self.slope_sd) and np.any(a_inverse != np.diag(np.diag(a_inverse))):
            raise ValueError("random slopes with a diagonal covariance cannot be rotated")
        return replace(
            self,
            loadings=self.loadings @ a_inverse,
            slopes=self.slopes @ a.T,
            skill_cov=a @ self.skill_cov @ a.T,
            slope_sd=self.slope_sd * np.diag(a),
        )

    def recoded(self, transform, centre):
        """The same law of the data with covariates z = (x - centre) T; ``transform`` is T (p, p)."""
        return replace(
            self,
            slopes=np.linalg.solve(transform, self.slopes),
            intercepts=self.intercepts + self.loadings @ (self.slopes.T @ centre),
        )


@dataclass(frozen=True)
class Layout:
    """Where each block of a Structure lies in the flat structural vector s.

    s holds Lambda row by row, b, B row by row, the lower triangle of Sigma row by row, phi, c, d, tau row by row, the
    coordinates of the links row by row, the shares of outliers, and kappa if ``llm_effects``.
    """

    n_items: int
    n_skills: int
    n_covariates: int
    n_random: int = 0
    n_link: int = 0
    llm_effects: bool = False

    @property
    def n_effects(self):
        """Random effects a family has, D = K (1 + r); those of its LLMs, K each, are not counted."""
        return self.n_skills * (1 + self.n_random)

    @cached_property
    def slices(self):
        """Dict block name -> slice of s."""
        j, k, p = self.n_items, self.n_skills, self.n_covariates
        sizes = {
            "loadings": j * k,
            "intercepts": j,
            "slopes": p * k,
            "skill_cov": k * (k + 1) // 2,
            "precision": j,
            "lower": j,
            "upper": j,
            "slope_sd": self.n_random * k,
            "link": j * self.n_link,
            "outliers": j,
            "llm_sd": int(self.llm_effects),
        }
        ends = np.cumsum(list(sizes.values()))
        spans = zip(sizes, sizes.values(), ends, strict=True)
        return {name: slice(int(end - size), int(end)) for name, size, end in spans}

    @property
    def size(self):
        return self.slices["llm_sd"].stop

    @cached_property
    def triangle(self):
        """Row and column indices of the lower triangle of Sigma, in the order of s."""
        return np.tril_indices(self.n_skills)

    def index(self, block):
        """Positions of a block in s, in the block's own shape (``skill_cov``: the lower triangle)."""
        shapes = {
            "loadings": (self.n_items, self.n_skills),
            "slopes": (self.n_covariates, self.n_skills),
            "slope_sd": (self.n_random, self.n_skills),
            "link": (self.n_items, self.n_link),
        }
        where = self.slices[block]
        return np.arange(where.start, where.stop).reshape(shapes.get(block, (-1,)))

    @cached_property
    def shapes(self):
        """Positions in s of the benchmarks' shapes, each known by one character: dict of arrays (J,)."""
        link = self.index("link")
        out = {"p": self.index("precision"), "c": self.index("lower"), "d": self.index("upper")}
        return out | {str(number + 1): link[:, number] for number in range(self.n_link)}

    @cached_property
    def items(self):
        """The benchmark that each entry of s belongs to, int array (S,); -1 where it belongs to all."""
        out = np.full(self.size, -1)
        for block in ("loadings", "intercepts", "precision", "lower", "upper", "link", "outliers"):
            index = self.index(block)
            out[index] = np.arange(self.n_items).reshape(-1, *[1] * (index.ndim - 1))
        return out

    def flatten(self, structure):
        """Structure -> s."""
        parts = []
        for field in fields(structure):
            value = getattr(structure, field.name)
            if field.name == "llm_sd" and len(value) < self.llm_effects:
                value = np.zeros(1)  # a law without residual skills is one whose residual skills vanish
            parts.append(value[self.triangle] if field.name == "skill_cov" else np.ravel(value))
        return np.concatenate(parts)

    def unflatten(self, s):
        """s -> Structure."""
        values = {name: s[where] for name, where in self.slices.items()}
        values["loadings"] = values["loadings"].reshape(self.n_items, self.n_skills)
        values["slopes"] = values["slopes"].reshape(self.n_covariates, self.n_skills)
        values["slope_sd"] = values["slope_sd"].reshape(self.n_random, self.n_skills)
        values["link"] = values["link"].reshape(self.n_items, self.n_link)
        cov = np.zeros((self.n_skills, self.n_skills))
        cov[self.triangle] = values["skill_cov"]
        values["skill_cov"] = cov + np.tril(cov, -1).T
        return Structure(**values)
