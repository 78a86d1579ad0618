"""Laws of principal components: the observational scaling laws of Ruan, Maddison and Hashimoto (2024).

With Y (n, J) the scores of the complete LLMs, m their means and V (J, d) the first d eigenvectors of their covariance
matrix, the components Z = (Y - m) V follow

    z_i = a_l(i) + B_l(i)' x_i + error,

by least squares, and an LLM is predicted by m + V (a_l + B_l' x). All of it has a closed form. Nothing keeps a
prediction within [0, 1]. Means, eigenvectors and laws are those of the LLMs in the panel only.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..checks import check_one_of, check_switch, check_whole
from ..components.scaling import build_design, within_family_constants
from ..errors import DataError, IdentificationError
from ..immutable import Immutable
from ..models.new_llms import read_new_llms
from ..tables import some

FAMILY_TERMS = ("none", "intercepts", "slopes")
FLOPS = "log(params_b * tokens_t)"
"""Log training FLOPs, 6 N D, up to a constant that the intercepts carry."""

_FLAT = 1e-9  # spread of a covariate within a family, relative to that over all LLMs, that counts as none


@dataclass(frozen=True, eq=False)
class ComponentFit:
    """What least squares found.

    Attributes
    ----------
    mean, scale : array (J,)
        What scores were centred and divided by (ones unless standardised).
    loadings : array (J, d)
        Orthonormal columns.
    variances : array (J,)
        Variances of all components that the scores have, with divisor n - 1, in descending order.
    components : array (n, d)
    intercepts : array (L, d)
        One row if families share them.
    slopes : array (L, p, d)
        One first entry if families share them.
    own_slopes : bool array (L,)
        Families whose slopes are their own.
    """

    mean: np.ndarray
    scale: np.ndarray
    loadings: np.ndarray
    variances: np.ndarray
    components: np.ndarray
    intercepts: np.ndarray
    slopes: np.ndarray
    own_slopes: np.ndarray

    def predict(self, x, codes):
        """Scores (n, J) at covariates (n, p) in families by number."""
        z = self.intercepts[codes] + np.einsum("ip,ipd->id", x, self.slopes[codes])
        return self.mean + self.scale * (z @ self.loadings.T)


class ComponentLaws:
    """Principal components of scores, regressed on log FLOPs with terms of families.

    Parameters
    ----------
    panel : BenchmarkPanel
        Raw scores are used, whatever its boundary policy. LLMs that lack a score or a covariate are left out.
    n_components : int
    scaling : str
        Formula of the covariates x, as for ``LatentSkillModel``; by default log FLOPs.
    family_terms : {"intercepts", "slopes", "none"}
        Whether families have intercepts of their own (and share slopes), intercepts and slopes, or neither. A family
        whose LLMs do not determine its slopes takes those that all families would share.
    standardize : bool
        Divide scores by their standard deviations first, so that every benchmark weighs the same.

    Raises
    ------
    DataError
        If there are fewer benchmarks or complete LLMs than components need, or an option is unknown.
    IdentificationError
        If the slopes are not determined, as where every family has one LLM.

    Examples
    --------
    >>> import latentscale as ls
    >>> fit = ls.ComponentLaws(ls.BenchmarkPanel(ls.load_leaderboard()), n_components=2).fit()
    >>> fit.explained.round(3).to_dict()
    {'PC1': 0.773, 'PC2': 0.101}
    """

    def __init__(self, panel, n_components=2, scaling=FLOPS, family_terms="intercepts", standardize=False):
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

    def __repr__(self):
        return (
            f"ComponentLaws({self.n_components} components on {self.scaling}, family terms: {self.family_terms}; "
            f"{len(self.llms)} LLMs in {len(self.families)} families)"
        )

    def fit(self):
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


def _check_number(number, benchmarks, llms):
    check_whole("n_components", number, 1)
    if number > benchmarks:
        raise DataError(f"{benchmarks} benchmarks have no {number} components; lower n_components.")
    if number >= llms:
        raise DataError(
            f"{number} components need at least {number + 1} LLMs with all {benchmarks} scores and the covariates; the "
            f"panel has {llms}. Lower n_components or leave sparse benchmarks out."
        )
    return int(number)


def _signed(loadings):
    """Columns reflected so that better scores mean higher components."""
    return loadings * np.where(loadings.sum(axis=0) < 0.0, -1.0, 1.0)


def _laws(x, z, codes, family_terms, terms):
    """Intercepts (L, d), slopes (L, p, d) and which families have slopes of their own."""
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
    slopes, own = np.repeat(shared[None], len(size), axis=0), np.zeros(len(size), dtype=bool)
    if family_terms == "slopes":
        for code in range(count):
            rows = group == code
            scaled = within[rows] / spread
            own[code] = rows.sum() > x.shape[1] and _determined(scaled)
            if own[code]:
                residual = z[rows] - z_mean[code]
                slopes[code] = np.linalg.lstsq(scaled, residual, rcond=None)[0] / spread[:, None]
    intercepts = z_mean - np.einsum("lp,lpd->ld", x_mean, slopes)
    if family_terms == "none":
        intercepts, slopes = np.repeat(intercepts, count, axis=0), np.repeat(slopes, count, axis=0)
        own = np.zeros(count, dtype=bool)
    return intercepts, slopes, own


def _determined(x):
    """Whether the columns (n, p), in units of their overall spread, are linearly independent."""
    singular = np.linalg.svd(x, compute_uv=False)
    return len(singular) == x.shape[1] and singular[-1] > _FLAT * np.sqrt(len(x))


def _sums(values, group):
    out = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(out, group, values)
    return out


class ComponentLawsResults(Immutable):
    """Components of scores and their laws; made by ``ComponentLaws.fit``.

    Attributes
    ----------
    model : ComponentLaws
    fit : ComponentFit
        The arrays.
    """

    __slots__ = ("fit", "model")

    def __init__(self, model, fit):
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "fit", fit)

    def __getstate__(self):
        return {"model": self.model, "fit": self.fit}

    def __setstate__(self, state):
        for name, value in state.items():
            object.__setattr__(self, name, value)

    @property
    def components(self):
        """Loadings: orthonormal eigenvectors, DataFrame benchmark x component, each with a positive sum."""
        return pd.DataFrame(self.fit.loadings.copy(), list(self.model.panel.benchmarks), list(self.model.components))

    @property
    def explained(self):
        """Share of the scores' total variance that each component has."""
        share = self.fit.variances[: self.model.n_components] / self.fit.variances.sum()
        return pd.Series(share, list(self.model.components), name="explained")

    @property
    def scores(self):
        """Components of the LLMs in the fit, DataFrame LLM x component, of mean zero."""
        return pd.DataFrame(self.fit.components.copy(), self.model.llms, list(self.model.components))

    @property
    def slopes(self):
        """Slopes, DataFrame term x component; by (family, term) with ``family_terms="slopes"``."""
        model, columns = self.model, list(self.model.components)
        if model.family_terms != "slopes":
            return pd.DataFrame(self.fit.slopes[0].copy(), list(model.terms), columns)
        index = pd.MultiIndex.from_product([model.families, model.terms], names=["family", "term"])
        return pd.DataFrame(self.fit.slopes.reshape(len(index), -1), index, columns)

    @property
    def intercepts(self):
        """Intercepts, DataFrame family x component; one row ``"(all)"`` with ``family_terms="none"``."""
        shared = self.model.family_terms == "none"
        index = pd.Index(["(all)"] if shared else list(self.model.families), name="family")
        return pd.DataFrame(self.fit.intercepts[: len(index)].copy(), index, list(self.model.components))

    @property
    def rsquared(self):
        """Share of each component's variance over the LLMs in the fit that its law explains."""
        model, fit = self.model, self.fit
        law = fit.intercepts[model.family_codes]
        law = law + np.einsum("ip,ipd->id", model.design.x, fit.slopes[model.family_codes])
        left = ((fit.components - law) ** 2).sum(axis=0) / (fit.components**2).sum(axis=0)
        return pd.Series(1.0 - left, list(model.components), name="rsquared")

    def predict(self, data=None):
        """Predicted scores, DataFrame LLM x benchmark; they may lie outside [0, 1].

        Parameters
        ----------
        data : table, optional
            One row per LLM with the covariates and, unless ``family_terms="none"``, the family, which must be one of
            the fit. By default the LLMs in the fit.

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

    def _read_new(self, data):
        """Names, family numbers and covariates of the LLMs of a table."""
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

    def summary(self):
        """Text: LLMs and families, then per component its share of variance, fit and loadings."""
        model = self.model
        head = (
            f"Laws of {model.n_components} principal components on {model.scaling}; family terms: {model.family_terms}",
            f"{len(model.llms)} LLMs in {len(model.families)} families, {model.panel.n_benchmarks} benchmarks; left "
            f"out: {model.n_incomplete} LLMs without a score, {model.n_without_covariate} without a covariate",
        )
        parts = {"explained": self.explained.to_frame().T, "R-squared of the law": self.rsquared.to_frame().T}
        if model.family_terms != "slopes":
            parts["slope"] = self.slopes
        table = pd.concat([*parts.values(), self.components])
        return "\n".join([*head, "", table.to_string(float_format=lambda value: f"{value:.4f}")])

    def __repr__(self):
        share = ", ".join(f"{name} {value:.1%}" for name, value in self.explained.items())
        return f"<ComponentLawsResults: {share} of the variance; {len(self.model.llms)} LLMs>"


