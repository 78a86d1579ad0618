"""Mundlak's test: whether slopes within families and slopes between families are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_names
from ..covariates import family_means
from ..errors import DataError
from ..inference.hypotheses import check_methods, named_test
from ..inference.hypothesis_test import HypothesisTest
from ..inference.shared_slopes import terms_within_families
from ..models.options import given_options
from ..parameters.kinds import SLOPE
from ..parameters.restrictions import read_restriction

if TYPE_CHECKING:
    from ..likelihood.rules import Rule
    from .latent_skill import LatentSkillResults


def mundlak_test(
    fit: LatentSkillResults, terms: str | Sequence[str] | None = None, method: str | Sequence[str] = "wald"
) -> HypothesisTest:
    """Return the test of family means of covariates; see ``LatentSkillResults.test_mundlak``."""
    model: Any = fit.model
    methods = check_methods(method)
    if fit.estimate.restriction is not None:
        raise DataError("test_mundlak starts from a fit without constraints.")
    candidates = terms_within_families(model)
    if not candidates:
        raise DataError(
            f"No main effect of {model.scaling!r} varies within families, so that all slopes are between families."
        )
    terms = candidates if terms is None else check_names("terms", terms, candidates, "terms that vary within families")
    larger, columns = _with_means(model, terms)
    start = pd.Series(0.0, index=larger.param_names)
    start[fit.params.index] = fit.params
    wide = larger.fit(starts=0, start_params=start, **_rule_options(fit.estimate.rule))
    names = {
        term: [SLOPE.name_of(column, skill) for skill in model.skills]
        for term, column in zip(terms, columns, strict=True)
    }
    parts = {
        term: read_restriction(np.eye(len(start))[start.index.get_indexer(group)], larger.param_names)
        for term, group in names.items()
    }
    words = f"Slopes on {', '.join(terms)} are the same within families and between them"
    test = named_test(wide, "Mundlak's test", words, parts, methods)
    return replace(test, notes=(*test.notes, *(_difference(wide, term, names[term], model.skills) for term in terms)))


def _with_means(model: Any, terms: Sequence[str]) -> tuple[Any, list[str]]:
    """Return the model with the family means of some terms beside them, and the names of these new columns."""
    table, keep = model.panel.to_frame(), model.design.keep
    columns: list[str] = []
    for term in terms:
        name = f"family_mean_{len(columns) + 1}"
        while name in table.columns:
            name += "_"
        values = np.full(len(table), np.nan)
        values[keep] = family_means(model.design.x[:, model.terms.index(term)], model.family_codes)
        table[name] = values
        columns.append(name)
    panel = type(model.panel)(table, **model.panel.options)
    scaling = " + ".join([model.scaling, *columns])
    return type(model)(panel, **given_options(model) | {"scaling": scaling}), columns


def _rule_options(rule: Rule) -> dict[str, Any]:
    """Return the options of ``fit`` that give a rule."""
    options: dict[str, Any] = {"integration": rule.kind, "seed": rule.seed}
    if rule.kind == "quadrature":
        options["points"] = rule.points
    if rule.kind == "monte_carlo":
        options |= {"draws": rule.draws, "t_df": rule.t_df, "llf_tolerance": rule.tolerance}
    return options


def _difference(wide: LatentSkillResults, term: str, names: Sequence[str], skills: Sequence[str]) -> str:
    """Return, as a sentence, by how much slopes between families exceed those within."""
    values = ", ".join(
        f"{skill} {wide.params[name]:+.2f} (s.e. {wide.bse[name]:.2f})"
        for skill, name in zip(skills, names, strict=True)
    )
    return f"The slope on {term} between families less that within: {values}."
