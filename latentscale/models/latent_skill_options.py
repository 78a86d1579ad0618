"""The options of LatentSkillModel; ``latentscale.models.options`` says what is made of their description."""


from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..components.curve import ASYMPTOTES, LINKS
from ..components.identification import form_from, form_source, saved_form
from ..components.penalty import DEFAULT_LINK_SD, DEFAULT_SD
from .options import Command, Domain, Number, OneOf, Option, Positive, Switch, SwitchOrWord, Text, Words

TRANSLOG = "log(params_b) * log(tokens_t)"
_ANOTHER_FUNCTION = "they do not maximise the same function"


@dataclass(frozen=True)
class Skills(Domain):
    """A form of identification, or a number of skills, which the panel's scores make into one."""

    def saved(self, kept: Any) -> dict[str, Any]:
        """Return a form in a form that JSON can hold."""
        return saved_form(kept)

    def given(self, saved: Any) -> Any:
        """Return the form."""
        return form_from(saved)

    def source(self, kept: Any) -> str:
        """Return Python source of a form, which stands in ``ls``."""
        return form_source(kept)


@dataclass(frozen=True)
class Terms(Domain):
    """Terms of the scaling, which are checked against those that it has; a model keeps them as a tuple of names."""

    def saved(self, kept: Any) -> list[str]:
        """Return a list of names, empty for none."""
        return list(kept)

    def given(self, saved: Any) -> list[str] | None:
        """Return a list of names, None for none."""
        return saved or None


# --- where they matter, and what is said of them ---------------------------------------------------------------------


def _has_free_asymptotes(model: Any) -> bool:
    return model.asymptotes != "chance"


def _has_learned_links(model: Any) -> bool:
    return model.link != "logistic"


def _asymptote_penalty(model: Any) -> str:
    if not _has_free_asymptotes(model):
        return ""
    free = "Lower asymptotes" if model.asymptotes == "lower" else "Lower and upper asymptotes"
    return f"Penalised: {free} are estimated with a weak penalty (s.d. {model.asymptote_sd:g} on the logit)."


def _shrinkage(pattern: str, between: str, loadings: str = "loadings", around: str = "{}") -> Callable[[Any], str]:
    """Words on both options that shrink, ``pattern`` for each that is given."""

    def words(model: Any) -> str:
        sds = {loadings: model.shrink_effects, "slopes": model.shrink_slopes}
        parts = [pattern.format(name=name, sd=sd) for name, sd in sds.items() if sd is not None]
        return around.format(between.join(parts)) if parts else ""

    return words


_ASYMPTOTE_WORDS = Words(penalty=_asymptote_penalty, penalised="estimated asymptotes")
_LINK_WORDS = Words(
    label="Link:",
    row="{model.link}, s.d. {model.link_sd:g}",
    note="Each benchmark has a monotone link of its own; its coordinates are penalised (normal, s.d. "
    "{model.link_sd:g}) about the logistic one.",
    penalty="Penalised: the benchmarks' links, about the logistic one (s.d. {model.link_sd:g}).",
    penalised="links",
    frees_less=True,
    short="{model.link} link",
)
_SHRINKAGE_WORDS = Words(
    label="Shrinkage:",
    row=_shrinkage("{name} {sd:g}", ", ", "effects"),
    note=_shrinkage(
        "", "", around="Loadings and slopes are shrunk: standard errors are those of a penalised fit, which is biased "
        "towards zero, and intervals and tests leave the bias out. AIC and BIC count every parameter in full.",
    ),
    penalty=_shrinkage(
        "{name} (s.d. {sd:g})", " and ", around="Penalised: {} are shrunk towards zero. Standard errors, intervals and "
        "tests leave that bias out; AIC and BIC count every parameter in full.",
    ),
    penalised=_shrinkage("", "", around="shrunken loadings and slopes"),
    frees_less=True,
    short=_shrinkage("{name} ({sd:g})", " ", "effects", "shrunken {}"),
)  # fmt: skip
"""Of shrink_effects and shrink_slopes together."""
_OUTLIER_WORDS = Words(  # what is said beneath a summary is the law's to say
    label="Outliers:",
    row="{model.outliers:g} of the scores",
    sentence="A share of {model.outliers:g} of the scores is taken to have a tenth of the precision.",
    short="outliers {model.outliers:g}",
)
_FAMILY_COVARIATE_WORDS = Words(
    label="Family covariates:",
    row="{model.family_covariates}",
    sentence="Among the terms, those of {model.family_covariates} are constant within families.",
    short="family covariates {model.family_covariates}",
)
_ZERO_SD_WORDS = Words(
    label="Zero sds:",
    row="avoided by a penalty",
    penalty="Penalised: standard deviations of random effects are kept off zero.",
    penalised="standard deviations near zero",
    short="standard deviations kept off zero",
)

_PRECISION_WORDS = Words(
    label="Precisions:",
    row="penalised, s.d. {model.precision_sd:g}",
    note="Precisions are weakly penalised: log phi is normal about log {model.score_law.precision_centre:g}, s.d. "
    "{model.precision_sd:g}.",
    penalty="Penalised: precisions, weakly (s.d. {model.precision_sd:g} of their logarithms).",
    penalised="precisions",
    short="precisions' s.d. {model.precision_sd:g}",
)


_PRECISION_FORMULA_WORDS = Words(
    label="Log precision:",
    row="{model.precision}",
    note="Log precisions depend on {model.precision}, less the means over the LLMs: precision[...] is that of an "
    "average LLM.",
    sentence="Precisions depend on the LLM: log φᵢⱼ is log φⱼ plus slopes times {model.precision}, less the means.",
    short="precision {model.precision}",
)


def _benchmark_effects(model: Any) -> str:
    if not model.benchmark_effects:
        return ""
    return "benchmark effects" + (" (equal)" if model.benchmark_effects == "equal" else "")


def _llm_effects(model: Any) -> str:
    if not model.llm_effects:
        return ""
    return "residual skills of LLMs" + (" (diagonal)" if model.llm_effects == "diagonal" else "")


# --- the options -----------------------------------------------------------------------------------------------------

SCALING_OPTION = Option(
    "scaling", Text(optional=True), TRANSLOG, always_told=True, command=Command("Formula of the covariates.")
)
ASYMPTOTE_OPTION = Option(
    "asymptotes", OneOf(ASYMPTOTES), "chance", untested="their likelihoods are penalised differently",
    words=_ASYMPTOTE_WORDS, command=Command("Which asymptotes are estimated."),
)  # fmt: skip
LINK_OPTION = Option(
    "link", OneOf(LINKS), "logistic", in_files_since=3, untested="the monotone one is penalised; use compare",
    words=_LINK_WORDS, command=Command("Link; monotone: one learned for each benchmark."),
)  # fmt: skip

LATENT_SKILL_OPTIONS = (
    SCALING_OPTION,
    Option(
        "skills", Skills(), 4, kept_as="form", always_told=True,
        command=Command("Anchors skill=benchmark,...; or a number; or echelon:benchmark,..."),
    ),
    ASYMPTOTE_OPTION,
    Option(
        "asymptote_sd", Positive(), DEFAULT_SD, untested="their likelihoods are penalised differently",
        active=_has_free_asymptotes, words=Words(short="asymptotes' s.d. {model.asymptote_sd:g}"),
    ),
    Option(
        "random_slopes", Terms(), None, kept_as="random_terms",
        words=Words(
            short=lambda model: f"random slopes of {', '.join(model.random_terms)}" if model.random_terms else ""
        ),
    ),
    LINK_OPTION,
    Option(
        "link_sd", Positive(), DEFAULT_LINK_SD, in_files_since=3, untested=_ANOTHER_FUNCTION,
        active=_has_learned_links, words=Words(short="links' s.d. {model.link_sd:g}"),
    ),
    Option(
        "shrink_effects", Positive(optional=True), None, in_files_since=3, untested=_ANOTHER_FUNCTION,
        words=_SHRINKAGE_WORDS, command=Command("Shrink loadings: s.d. of the penalty, such as 0.5.", shown="none"),
    ),
    Option(
        "shrink_slopes", Positive(optional=True), None, in_files_since=3, untested=_ANOTHER_FUNCTION,
        command=Command("Shrink slopes: s.d. of the penalty, such as 1.", shown="none"),
    ),
    Option(
        "outliers", Number("a share of the scores, at least 0 and below 0.5", 0.0, 0.5, below=True), 0.0,
        in_files_since=3, untested=_ANOTHER_FUNCTION, words=_OUTLIER_WORDS,
        command=Command("Share of scores with a tenth of the precision."),
    ),
    # three of the following came while format 4 was written, so that some of its files lack them
    Option(
        "llm_effects", SwitchOrWord(words=("proportional", "diagonal"), meant="proportional"), False, in_files_since=5,
        words=Words(short=_llm_effects),
        command=Command("Residual skills of LLMs: proportional or diagonal.", shown="none"),
    ),
    Option("family_covariates", Text(optional=True), None, in_files_since=5, words=_FAMILY_COVARIATE_WORDS),
    Option("avoid_zero_sd", Switch(), False, in_files_since=5, untested=_ANOTHER_FUNCTION, words=_ZERO_SD_WORDS),
    Option(
        "benchmark_effects", SwitchOrWord(words=("equal",)), False, in_files_since=5,
        words=Words(short=_benchmark_effects),
        command=Command("Effects of families on single benchmarks: true, or equal for one variance.", shown="none"),
    ),
    Option(
        "precision_sd", Positive(optional=True), None, in_files_since=5, untested=_ANOTHER_FUNCTION,
        words=_PRECISION_WORDS,
        command=Command("Penalise precisions weakly: s.d. of their logarithms, such as 1.5.", shown="none"),
    ),
    Option(
        "precision", Text(optional=True), None, in_files_since=5, words=_PRECISION_FORMULA_WORDS,
        command=Command("Formula of log precisions, such as 'log(params_b)'.", shown="none"),
    ),
    Option(
        "own_precision_slopes", Switch(), False, in_files_since=5, active=lambda model: model.precision is not None,
        words=Words(short=lambda model: "own precision slopes" if model.own_precision_slopes else ""),
    ),
    Option(
        "nested", Switch(), False, in_files_since=5, words=Words(short="families nested in groups"),
    ),
)  # fmt: skip
"""In the order of the constructor's signature."""
