"""Property tests of latent-skill models: hypothesis strategies and an assertion.

A property test states what holds for every panel, every parameter point or every change of coordinates, and hypothesis
searches for a counterexample. hypothesis is installed by ``pip install latentscale[test]``.

Whether a model is identified depends on the design and on which scores are missing, not on the values of the scores. A
test that checks a model on panels of many sizes looks like this::

    import latentscale as ls
    from hypothesis import given, settings
    from hypothesis import strategies as st
    from latentscale.testing import assert_identified, panels, parameters

    BENCHMARKS = ["mmlu", "bbh", "ifeval", "gpqa"]

    def specify(panel):
        return ls.LatentSkillModel(
            panel,
            scaling="log(params_b) + log(tokens_t)",
            skills=ls.Anchored({"reasoning": "bbh", "instruction": "ifeval"}),
        )

    @settings(max_examples=50, deadline=None)
    @given(panels(BENCHMARKS, families=st.integers(3, 8), llms_per_family=st.integers(2, 4), complete=5))
    def test_my_specification_is_identified(panel):
        assert_identified(specify(panel))

    @settings(max_examples=50, deadline=None)
    @given(st.data(), panels(BENCHMARKS, families=4, llms_per_family=2))
    def test_scores_can_be_simulated_anywhere(data, panel):
        model = specify(panel)
        scores = model.simulate(data.draw(parameters(model)))[BENCHMARKS]
        assert scores.stack().dropna().between(0, 1).all()

A failing test shows the smallest panel that hypothesis could find: few families, few LLMs, and no missing score that
does not matter. ``specifications`` draws whole models, and ``specifications(skills=..., scaling=..., benchmarks=...)``
panels for given options.

Strategies draw sizes, formulas, patterns and shares of missing cells one by one, so that hypothesis can shrink them.
Real numbers that should be in general position are computed from a drawn seed, as they cannot be made simpler.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError(
        "latentscale.testing needs hypothesis, which is not installed: pip install latentscale[test]"
    ) from error

from .checks import assert_identified
from .loading_patterns import patterns
from .strategies import (
    designs,
    panels,
    parameters,
    rotations,
    specifications,
    tables,
    transformations,
)

__all__ = [
    "assert_identified",
    "designs",
    "panels",
    "parameters",
    "patterns",
    "rotations",
    "specifications",
    "tables",
    "transformations",
]
