"""The options of ``LatentSkillModel.fit``; ``latentscale.models.options`` says what is made of their description."""

from ..likelihood.rules import RULES
from ..models.options import Command, Domain, Jobs, OneOf, Option, Positive, PowerOfTwo, Switch, Whole

DRIVERS = ("direct", "em", "stochastic")
COV_TYPES = ("observed", "cluster", "opg", "bootstrap", "none")

FIT_OPTIONS = (
    Option(
        "integration", OneOf(words=RULES, optional=True), None, always_told=True,
        command=Command("Rule that integrates over random effects; chosen by the model by default.", shown="chosen"),
    ),
    # with start_params there may be no start beside those
    Option(
        "starts", Whole(), 10, always_told=True,
        command=Command("Starts of the search: one from the data, the others at random.", least=1),
    ),
    Option(
        "seed", Whole(), 0, always_told=True,
        command=Command("Seed of starts and draws; the numbers do not depend on --jobs."),
    ),
    Option(
        "n_jobs", Jobs(), None, recorded=False,
        command=Command("Starts climbed in parallel; -1 for one per core.", flag="jobs", default=1),
    ),
    Option(
        "progress", Switch(), False, recorded=False,
        command=Command("Report steps on standard error.", default=True),
    ),
    Option("cov_type", OneOf(COV_TYPES), "observed", always_told=True),
    Option("driver", OneOf(DRIVERS), "direct"),
    Option("points", Whole(least=1, optional=True), None, command=Command("Quadrature nodes per skill.", least=1)),
    Option(
        "draws", PowerOfTwo(optional=True), None, command=Command("Draws per scrambling, a power of two.", least=2),
    ),
    Option("t_df", Positive(optional=True), None),
    Option("llf_tolerance", Positive(), 0.05),
    Option("tolerance", Positive(), 1e-3),
    Option("max_iterations", Whole(least=1), 1000),
    Option("max_rounds", Whole(least=1, optional=True), None),
    # what results keep of these two is the table of starts and the restriction
    Option("start_params", Domain(), None, recorded=False),
    Option("constraints", Domain(), None, recorded=False),
    Option("information", Switch(), True),
)  # fmt: skip
"""In the order of the signature of ``estimation.fit.fit_latent_skill``."""
