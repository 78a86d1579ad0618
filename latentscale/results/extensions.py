"""One-step extensions: what each absent term of the model would add, by the likelihood ratio of the fit that has it."""


from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import DataError, IdentificationError
from ..inference.likelihood_ratio import lr_test
from ..models.options import given_options
from ..plots.influence import plot_influence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .latent_skill import LatentSkillResults

_START = 0.2  # of standard deviations of effects that a larger model has


@dataclass(frozen=True, eq=False)
class Extensions:
    """Fits with one more term each, beside the fit that they extend.

    Attributes
    ----------
    table : DataFrame
        By term: lr (twice the rise of the log-likelihood), df, p_value (chi-bar-square where variances are at zero
        without the term), aic (change; negative if the term pays), converged and seconds, the best first.
    fits : dict of str to LatentSkillResults
    left_out : dict of str to str
        Terms that could not be fitted, and why.
    """

    table: pd.DataFrame
    fits: dict[str, Any]
    left_out: dict[str, str]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot the changes of AIC."""
        return plot_influence(self.table["aic"], "change of AIC with the term", ax)

    def __str__(self) -> str:
        shown = self.table.assign(
            lr=self.table["lr"].map("{:.1f}".format), aic=self.table["aic"].map("{:+.1f}".format),
            p_value=self.table["p_value"].map("{:.4f}".format), seconds=self.table["seconds"].map("{:.1f}".format),
        )  # fmt: skip
        lines = ["Extensions by one term", shown.to_string()]
        return "\n".join([*lines, *(f"left out: {name}: {reason}" for name, reason in self.left_out.items())])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def extensions(fit: LatentSkillResults) -> Extensions:
    """Return the fits that have one more term; see ``LatentSkillResults.extensions``."""
    if fit.estimate.restriction is not None:
        raise DataError("Extensions are of fits without constraints.")
    base = fit
    if fit.estimate.rule.kind != "laplace":  # effects of LLMs and on benchmarks have no other rule
        base = fit.model.fit(integration="laplace", starts=0, start_params=fit.params)
    rows, fits, left_out = {}, {}, {}
    for name, options in _absent(fit):
        began = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of estimates on the edge, which the p-value says
                larger = _larger(base, options)
                test = lr_test(larger, base).table.iloc[0]
        except (DataError, IdentificationError, np.linalg.LinAlgError) as error:
            left_out[name] = str(error)
            continue
        fits[name] = larger
        rows[name] = {
            "lr": test["statistic"], "df": int(test["df"]), "p_value": test["p_value"], "aic": larger.aic - base.aic,
            "converged": larger.converged, "seconds": time.perf_counter() - began,
        }  # fmt: skip
    columns = ["lr", "df", "p_value", "aic", "converged", "seconds"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return Extensions(table.rename_axis("term").sort_values("aic"), fits, left_out)


def _absent(fit: LatentSkillResults) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each term that the model lacks, in words, with the options that bring it."""
    model = fit.model
    if not model.llm_effects:
        yield "llm_effects='proportional'", {"llm_effects": "proportional"}
    if not model.benchmark_effects:
        yield "benchmark_effects='equal'", {"benchmark_effects": "equal"}
    if model.benchmark_effects is not True:
        yield "benchmark_effects=True", {"benchmark_effects": True}
    products = model.design.interactions
    for term in model.terms:
        if term not in (*model.random_terms, *model.between_only, *products):
            yield f"random_slopes: {term}", {"random_slopes": [*model.random_terms, term]}
    plain = [term for term in model.terms if term not in products and "=" not in term and "[" not in term]
    if model.precision is None and plain:
        formula = " + ".join(plain)
        yield f"precision={formula!r}", {"precision": formula}
        yield f"precision={formula!r}, own slopes", {"precision": formula, "own_precision_slopes": True}
    if not model.nested and model.panel.groups is not None:
        yield "nested=True", {"nested": True}


def _larger(base: LatentSkillResults, options: dict[str, Any]) -> LatentSkillResults:
    """Return the fit of a model with further options, from the estimate of the smaller one."""
    model: Any = base.model
    larger = type(model)(model.panel, **given_options(model) | options)
    start = pd.Series(0.0, index=larger.param_names)
    known = base.params.index.intersection(start.index)
    start[known] = base.params[known]
    for effects in larger.effects:
        names = [p.name for p in larger.table.parameters.of_kind(effects.kind) if p.name not in known]
        scales = dict(zip(
            [p.name for p in larger.table.parameters.of_kind(effects.kind)],
            (_START / effects.spreads).ravel(), strict=True,
        ))  # fmt: skip
        start[names] = [scales[name] for name in names]
    return larger.fit(integration="laplace", starts=0, start_params=start)
