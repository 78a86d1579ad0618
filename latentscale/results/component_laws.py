"""What a fit of component laws says."""


import numpy as np
import pandas as pd

from ..errors import DataError
from ..models.new_llms import read_new_llms
from ..tables import some


class ComponentLawsResults:
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

    def __setattr__(self, name, value):
        raise AttributeError(f"results do not change; {name} cannot be set")

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


