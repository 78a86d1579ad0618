"""Laws of principal components: the observational scaling laws of Ruan, Maddison and Hashimoto (2024).

With Y (n, J) the scores of the complete LLMs, m their means and V (J, d) the first d eigenvectors of their covariance
matrix, the components Z = (Y - m) V follow

    z_i = a_l(i) + B_l(i)' x_i + error,

where l(i) is the family of LLM i. The coefficients are estimated by least squares, and an LLM is predicted by
m + V (a_l + B_l' x). All estimates have closed forms. Predictions are not restricted to [0, 1]. Means, eigenvectors and
laws are those of the LLMs in the panel only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..checks import check_one_of, check_switch, check_whole
from ..components.scaling import build_design, within_family_constants
from ..errors import DataError, IdentificationError
from ..immutable import Immutable
from ..models.new_llms import read_new_llms
from ..panel import BenchmarkPanel, require_panel
from ..tables import some

FAMILY_TERMS = ("none", "intercepts", "slopes")
FLOPS = "log(params_b * tokens_t)"
"""The logarithm of training FLOPs, 6 N D, up to a constant, which is part of the intercepts."""

_FLAT = 1e-9  # a spread within families this small, relative to that over all LLMs, counts as zero


@dataclass(frozen=True, eq=False)
class ComponentFit:
    """Least-squares estimates for J benchmarks, n LLMs in L families, d components and p covariates.

    Attributes
    ----------
    mean, scale : array (J,)
        Scores were centred at ``mean`` and divided by ``scale``, which is one unless they were standardised.
    loadings : array (J, d)
        The eigenvectors V, with orthonormal columns.
    variances : array (J,)
        Variances of all components of the scores, with divisor n - 1, in descending order.
    components : array (n, d)
        The components Z.
    intercepts : array (L, d)
        The intercepts a_l, with equal rows if families share them.
    slopes : array (L, p, d)
        The slopes B_l, equal for all families that share them.
    has_slopes : bool array (L,)
        Whether each family has slopes of its own.
    """

    mean: np.ndarray
    scale: np.ndarray
    loadings: np.ndarray
    variances: np.ndarray
    components: np.ndarray
    intercepts: np.ndarray
    slopes: np.ndarray
    has_slopes: np.ndarray

    def predict(self, x: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the scores (n, J) of LLMs with covariates (n, p) and families ``codes`` (n,), given by number."""
        z = self.intercepts[codes] + np.einsum("ip,ipd->id", x, self.slopes[codes])
        return self.mean + self.scale * (z @ self.loadings.T)


class ComponentLaws:
    """Laws that regress the principal components of scores on log FLOPs, with intercepts or slopes of families.

    Parameters
    ----------
    panel : BenchmarkPanel
        Raw scores are used, whatever its boundary policy. LLMs that lack a score or a covariate are left out.
    n_components : int
        Number d of components.
    scaling : str
        Formula of the covariates x, as for ``LatentSkillModel``; by default log FLOPs.
    family_terms : {"intercepts", "slopes", "none"}
        Whether each family has an intercept of its own (with shared slopes), an intercept and slopes, or neither. A
        family whose LLMs do not determine its slopes has the slopes that are estimated as shared.
    standardize : bool
        Whether to divide scores by their standard deviations, so that all benchmarks have the same weight.

    Raises
    ------
    DataError
        If there are too few benchmarks or complete LLMs for the components, or an option is unknown.
    IdentificationError
        If the slopes are not determined, for instance because every family has only one LLM.

    Examples
    --------
    >>> import latentscale as ls
    >>> fit = ls.ComponentLaws(ls.BenchmarkPanel(ls.load_leaderboard()), n_components=2).fit()
    >>> fit.explained.round(3).to_dict()
    {'PC1': 0.773, 'PC2': 0.101}
    """

    def __init__(
        self,
        panel: BenchmarkPanel,
        n_components: int = 2,
        scaling: str = FLOPS,
        family_terms: str = "intercepts",
        standardize: bool = False,
    ) -> None:
        require_panel(panel, self)
        check_one_of("family_terms", family_terms, FAMILY_TERMS)
        self.panel, self.scaling, self.family_terms = panel, scaling, family_terms
        self.standardize = check_switch("standardize", standardize)
        complete = panel.scores.notna().to_numpy().all(axis=1)
        self.n_components = _check_number(n_components, panel.n_benchmarks, int(complete.sum()))
        self.design = build_design(scaling, panel.table, complete)
        keep = self.design.keep
        _check_number(n_components, panel.n_benchmarks, int(keep.sum()))
        self.n_incomplete, self.n_without_covariate = int((~complete).sum()), int((complete & ~keep).sum())
        self.llms, self.terms = panel.llms[keep], self.design.terms
        names = panel.families.to_numpy()[keep]
        self.families, self.family_codes = np.unique(names, return_inverse=True)
        self.scores = panel.scores.to_numpy()[keep]
        self.components = tuple(f"PC{number + 1}" for number in range(self.n_components))

    def __repr__(self) -> str:
        return (
            f"ComponentLaws({self.n_components} components on {self.scaling}, family terms: {self.family_terms}; "
            f"{len(self.llms)} LLMs in {len(self.families)} families)"
        )

    def fit(self) -> "ComponentLawsResults":
        """Fit by least squares, in closed form.

        Returns
        -------
        ComponentLawsResults
        """
        mean = self.scores.mean(axis=0)
        scale = self.scores.std(axis=0) if self.standardize else np.ones_like(mean)
        if not scale.all():
            flat = self.panel.benchmarks[int(np.argmin(scale))]
            raise DataError(f"All complete LLMs have the same score on {flat}, which cannot be standardised.")
        centred = (self.scores - mean) / scale
        _, values, rows = np.linalg.svd(centred, full_matrices=False)
        loadings = _signed(rows[: self.n_components].T)
        components = centred @ loadings
        variances = values**2 / max(1, len(centred) - 1)
        laws = _laws(self.design.x, components, self.family_codes, self.family_terms, self.terms)
        return ComponentLawsResults(self, ComponentFit(mean, scale, loadings, variances, components, *laws))


def _check_number(number: int, benchmarks: int, llms: int) -> int:
    """Check a number of components, and return it."""
    check_whole("n_components", number, 1)
    if number > benchmarks:
        raise DataError(f"{benchmarks} benchmarks have no {number} components; lower n_components.")
    if number >= llms:
        raise DataError(
            f"{number} components need at least {number + 1} LLMs with all {benchmarks} scores and the covariates; the "
            f"panel has {llms}. Lower n_components or leave sparse benchmarks out."
        )
    return int(number)


def _signed(loadings: np.ndarray) -> np.ndarray:
    """Give each column (J, d) the sign that makes its sum positive, so that better scores mean higher components."""
    return loadings * np.where(loadings.sum(axis=0) < 0.0, -1.0, 1.0)


def _laws(
    x: np.ndarray, z: np.ndarray, codes: np.ndarray, family_terms: str, terms: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return intercepts (L, d), slopes (L, p, d), and whether each family has slopes of its own (L,).

    ``x`` (n, p) and ``z`` (n, d) are covariates and components, ``codes`` (n,) the numbers of the families.
    """
    count = codes.max() + 1
    group = np.zeros_like(codes) if family_terms == "none" else codes
    size = np.bincount(group)[:, None]
    x_mean, z_mean = _sums(x, group) / size, _sums(z, group) / size
    within, spread = x - x_mean[group], x.std(axis=0)
    if not _determined(within / spread):
        constant = within_family_constants(x, terms, codes)
        what = f"{constant} take one value within every family" if constant else "terms are collinear within families"
        raise IdentificationError(
            f"Slopes of components cannot be told from intercepts of families: {what}. Give family_terms='none', or "
            "families with LLMs of different sizes."
        )
    shared = np.linalg.lstsq(within / spread, z - z_mean[group], rcond=None)[0] / spread[:, None]
    slopes, has_slopes = np.repeat(shared[None], len(size), axis=0), np.zeros(len(size), dtype=bool)
    if family_terms == "slopes":
        for code in range(count):
            rows = group == code
            scaled = within[rows] / spread
            has_slopes[code] = rows.sum() > x.shape[1] and _determined(scaled)
            if has_slopes[code]:
                residual = z[rows] - z_mean[code]
                slopes[code] = np.linalg.lstsq(scaled, residual, rcond=None)[0] / spread[:, None]
    intercepts = z_mean - np.einsum("lp,lpd->ld", x_mean, slopes)
    if family_terms == "none":
        intercepts, slopes = np.repeat(intercepts, count, axis=0), np.repeat(slopes, count, axis=0)
        has_slopes = np.zeros(count, dtype=bool)
    return intercepts, slopes, has_slopes


def _determined(x: np.ndarray) -> bool:
    """Return whether columns (n, p), in units of their overall spread, are linearly independent."""
    singular = np.linalg.svd(x, compute_uv=False)
    return bool(len(singular) == x.shape[1] and singular[-1] > _FLAT * np.sqrt(len(x)))


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the sums (L, d) of rows (n, d) by group."""
    out = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(out, group, values)
    return out


class ComponentLawsResults(Immutable):
    """Results of ``ComponentLaws.fit``: the components of scores and their laws.

    Attributes
    ----------
    model : ComponentLaws
    fit : ComponentFit
        The estimates as arrays.
    """

    __slots__ = ("fit", "model")

    model: ComponentLaws
    fit: ComponentFit

    def __init__(self, model: ComponentLaws, fit: ComponentFit) -> None:
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "fit", fit)

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "fit": self.fit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    @property
    def components(self) -> pd.DataFrame:
        """Loadings, a DataFrame with orthonormal columns, benchmarks by components; each column has a positive sum."""
        return pd.DataFrame(self.fit.loadings.copy(), list(self.model.panel.benchmarks), list(self.model.components))

    @property
    def explained(self) -> pd.Series:
        """Share of the scores' total variance that each component explains."""
        share = self.fit.variances[: self.model.n_components] / self.fit.variances.sum()
        return pd.Series(share, list(self.model.components), name="explained")

    @property
    def scores(self) -> pd.DataFrame:
        """Components of the LLMs in the fit, a DataFrame with columns of mean zero, LLMs by components."""
        return pd.DataFrame(self.fit.components.copy(), self.model.llms, list(self.model.components))

    @property
    def slopes(self) -> pd.DataFrame:
        """Slopes, a DataFrame of terms by components; rows are (family, term) with ``family_terms="slopes"``."""
        model, columns = self.model, list(self.model.components)
        if model.family_terms != "slopes":
            return pd.DataFrame(self.fit.slopes[0].copy(), list(model.terms), columns)
        index = pd.MultiIndex.from_product([model.families, model.terms], names=["family", "term"])
        return pd.DataFrame(self.fit.slopes.reshape(len(index), -1), index, columns)

    @property
    def intercepts(self) -> pd.DataFrame:
        """Intercepts, a DataFrame of families by components; one row ``"(all)"`` with ``family_terms="none"``."""
        shared = self.model.family_terms == "none"
        index = pd.Index(["(all)"] if shared else list(self.model.families), name="family")
        return pd.DataFrame(self.fit.intercepts[: len(index)].copy(), index, list(self.model.components))

    @property
    def rsquared(self) -> pd.Series:
        """Share of each component's variance over the LLMs in the fit that its law explains, R squared."""
        model, fit = self.model, self.fit
        law = fit.intercepts[model.family_codes]
        law = law + np.einsum("ip,ipd->id", model.design.x, fit.slopes[model.family_codes])
        left = ((fit.components - law) ** 2).sum(axis=0) / (fit.components**2).sum(axis=0)
        return pd.Series(1.0 - left, list(model.components), name="rsquared")

    def predict(self, data: Any = None) -> pd.DataFrame:
        """Predict scores.

        Parameters
        ----------
        data : table, optional
            One row per LLM with the covariates and, unless ``family_terms="none"``, the family, which must be one of
            the fit. By default the LLMs in the fit are predicted.

        Returns
        -------
        DataFrame
            Predicted scores, LLMs by benchmarks; they may lie outside [0, 1].

        Raises
        ------
        DataError
            If columns are absent, a covariate is missing, or a family is unknown.
        """
        model = self.model
        if data is None:
            index, codes, x = model.llms, model.family_codes, model.design.x
        else:
            index, codes, x = self._read_new(data)
        return pd.DataFrame(self.fit.predict(x, codes), index, list(model.panel.benchmarks))

    def _read_new(self, data: Any) -> tuple[pd.Index, np.ndarray, np.ndarray]:
        """Return names, numbers of families (n,) and covariates (n, p) of the LLMs of a table."""
        model = self.model
        index, families, x = read_new_llms(model, data, model.family_terms != "none")
        if families is None:
            return index, np.zeros(len(index), dtype=int), x
        known = {name: code for code, name in enumerate(model.families)}
        unknown = sorted(set(families) - set(known))
        if unknown:
            raise DataError(
                f"Families without an LLM in the fit have no intercept of their own: {some(unknown)}. Keep one of "
                "their LLMs in the fit, or give family_terms='none'."
            )
        return index, np.array([known[name] for name in families]), x

    def summary(self) -> str:
        """Return as text the numbers of LLMs and families, and each component's share of variance, fit and loadings."""
        model = self.model
        head = (
            f"Laws of {model.n_components} principal components on {model.scaling}; family terms: {model.family_terms}",
            f"{len(model.llms)} LLMs in {len(model.families)} families, {model.panel.n_benchmarks} benchmarks; left "
            f"out: {model.n_incomplete} LLMs without a score, {model.n_without_covariate} without a covariate",
        )
        frames = [self.explained.to_frame().T, self.rsquared.to_frame().T]
        if model.family_terms != "slopes":
            frames.append(self.slopes)
        table = pd.concat([*frames, self.components])
        return "\n".join([*head, "", table.to_string(float_format=lambda value: f"{value:.4f}")])

    def __repr__(self) -> str:
        share = ", ".join(f"{name} {value:.1%}" for name, value in self.explained.items())
        return f"<ComponentLawsResults: {share} of the variance; {len(self.model.llms)} LLMs>"
