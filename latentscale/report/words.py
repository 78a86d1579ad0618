"""Sentences of the report: the model, its penalties, and the warnings on the first screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..components.identification import Anchored, Echelon
from ..models.options import said_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..inference.diagnosis import Diagnosis
    from ..models.latent_skill import LatentSkillLaw
    from ..results.latent_skill import LatentSkillResults

_SHOWN_IN_SUMMARY = ("convergence", "information", "boundary")
ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
BOUNDARIES = {
    "squeeze": "all scores of a benchmark that has one were moved inwards, (y (n - 1) + 1/2) / n for n scores "
    "(Smithson and Verkuilen 2006)",
    "censor": "each was taken to say only that the score lies beyond half a rounding unit",
    "error": "such scores are refused",
}


def listed(names: Iterable[object]) -> str:
    """Join names as in ``a``, ``a and b``, ``a, b and c``."""
    texts = [str(name) for name in names]
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else "".join(texts)


def default_question(model: LatentSkillLaw) -> str:
    """Return the question that the report answers, if the user gives none."""
    skills = f"{len(model.skills)} skills" if len(model.skills) > 1 else "one skill"
    return (
        f"What do {model.nobs} scores of {model.n_llms} LLMs on {len(model.benchmarks)} benchmarks say of {skills} "
        f"({listed(model.skills)}): which benchmarks measure them, how do they grow with {listed(model.terms)}, and "
        f"how far do {model.n_families} families depart from that?"
    )


def warnings_of(fit: LatentSkillResults, diagnosis: Diagnosis) -> tuple[tuple[str, str], ...]:
    """Return what a reader must know before any number, as pairs (kind, text) of kind ``"problem"`` or ``"note"``."""
    out = [("problem", problem.message) for problem in fit.problems]
    out += [("problem", f.message) for f in diagnosis.problems if not (out and f.check in _SHOWN_IN_SUMMARY)]
    if not fit.estimate.informed:
        out.append(("problem", "The observed information was not computed: there are no standard errors."))
    elif not np.isfinite(fit.bse).any() and not fit.problems:
        out.append(("problem", f"There are no standard errors: {fit.covariance.description}."))
    out += [("note", text) for text in penalties(fit.model)]
    out += [("note", f.message) for f in diagnosis.notes if f.check == "starts"]
    return tuple(dict.fromkeys(out))


def penalties(model: LatentSkillLaw) -> list[str]:
    """Return a sentence for each penalty of the model."""
    return said_of(model, "penalty")


def model_sentences(fit: LatentSkillResults) -> tuple[str, ...]:
    """Return the sentences that describe the model."""
    model = fit.model
    law = model.score_law
    precision = ", and whose precision φⱼ is the benchmark's own" if law.has_precision else ""
    skills = f"the skills {listed(model.skills)}" if len(model.skills) > 1 else f"one skill, {model.skills[0]}"
    out = [
        f"Each LLM i has a vector of skills θᵢ, here {skills}. Its score on benchmark j is a draw from a {law.name} "
        f"law whose {law.location_word} μᵢⱼ rises with the skills that the benchmark loads on{precision}. Given the "
        "skills, scores are independent.",
        _curve(model),
        _scaling(model),
        f"Families differ by their efficiency {ALPHA}, a normal law with mean zero and covariance Σ over the "
        f"{model.n_families} families. All LLMs of a family share one {ALPHA}.",
    ]
    out += [one.sentence for one in model.effects]
    out += said_of(model, "sentence")
    out.append(_axes(fit))
    return tuple(out)


def _scaling(model: LatentSkillLaw) -> str:
    """Return the sentence on the covariates."""
    if not model.terms:
        return "Skills have no covariates: LLMs of a family differ by their own effects alone."
    return (
        f"Skills follow the scaling formula {model.scaling}: xᵢ holds {listed(model.terms)} of the LLM, B the slopes. "
        "Slopes are per unit of these terms; with logs the main slopes hold at one unit of the other covariate."
    )


def _curve(model: LatentSkillLaw) -> str:
    """Return the sentence on asymptotes and links."""
    lower = "is the guessing level, known" if model.asymptotes == "chance" else "is estimated"
    upper = "is estimated" if model.asymptotes == "both" else "is one"
    link = (
        "F is the logistic function"
        if model.link == "logistic"
        else "Fⱼ is an increasing function learned for each benchmark"
    )
    return f"The lower asymptote cⱼ of a benchmark {lower}, the upper one dⱼ {upper}; {link}."


def _axes(fit: LatentSkillResults) -> str:
    """Return the sentence on how the skills are identified."""
    model = fit.model
    if hasattr(fit, "rotation"):
        return f"The axes of the skills are those of a rotation ({fit.rotation.method})."
    form = model.form
    if isinstance(form, Anchored):
        pairs = listed([f"{skill} by {item}" for skill, item in form.anchors.items()])
        related = "correlations are free" if form.correlated else "skills of families are independent"
        return (
            f"Skills are identified by anchors, benchmarks that load on one skill alone: {pairs}. A skill's unit is "
            f"one standard deviation of family efficiency; {related}."
        )
    if isinstance(form, Echelon):
        return (
            f"Skills are identified by the pivot benchmarks {listed(form.pivots)}, whose block of loadings is lower "
            "triangular, with independent family effects of variance one; any rotation fits as well."
        )
    return "Skills are identified by a pattern of fixed loadings (see the table of loadings)."


def boundary_sentence(model: LatentSkillLaw) -> str:
    """Return the sentence on what was done about scores of exactly 0 or 1."""
    counts = {name: count for name, count in model.prepared.boundary_counts.items() if count}
    if not counts:
        return "No score is exactly 0 or 1."
    where = listed([f"{name} ({count})" for name, count in counts.items()])
    policy = model.panel.boundary
    return (
        f"Scores of exactly 0 or 1, which have no {model.score_law.name} density: {where}. Policy “{policy}”: "
        f"{BOUNDARIES[policy]}."
    )
