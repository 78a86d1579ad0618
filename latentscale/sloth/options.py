"""The options of SlothModel, BenchmarkLaws and their fit; ``latentscale.models.options`` says what they are for."""

from dataclasses import replace

from ..models.latent_skill_options import ASYMPTOTE_OPTION, LINK_OPTION, SCALING_OPTION
from ..models.options import Jobs, Number, OneOf, Option, Positive, Switch, Text, Whole, Words

COMPUTE = "log(params_b * tokens_t)"
"""Log training FLOPs, 6 s t, up to a constant that the intercepts carry."""
COV_TYPES = ("cluster", "llm", "none")
LINK_SD = 1.0  # of the spline's coordinates about the logistic link

_SHARED = (
    Option("family_intercepts", Switch(), True, words=Words(short="shared intercepts")),
    LINK_OPTION,
    ASYMPTOTE_OPTION,
    Option("positive_slopes", Switch(), False, words=Words(short="positive slopes")),
)
_SCALING = replace(SCALING_OPTION, domain=Text())  # its laws need covariates
SLOTH_OPTIONS = (_SCALING, Option("n_skills", Whole(least=1), 3), *_SHARED)
LAW_OPTIONS = (replace(_SCALING, default=COMPUTE), *_SHARED)

SLOTH_FIT_OPTIONS = (
    Option("delta", Number("a number between 0 and 1, as scores are", 0.0, 1.0, inner=True), 0.01),
    Option("starts", Whole(least=1), 10),
    Option("seed", Whole(), 0),
    Option("n_jobs", Jobs(), None, recorded=False),
    Option("progress", Switch(), False, recorded=False),
    Option("cov_type", OneOf(COV_TYPES), "cluster"),
    Option("ridge", Number("None or a number, at least 0", 0.0, optional=True), None),
    Option("link_sd", Positive(), LINK_SD),
)
