import numpy as np
import pandas as pd
import pytest

from latentscale.components.curve import UPPER_CENTRE, starting_lower
from latentscale.components.identification import Anchored, Confirmatory, Echelon, unrotated
from latentscale.parameters.space import ParameterSpace
from latentscale.parameters.table import ParameterTable

BENCHMARKS = ("mmlu", "bbh", "ifeval", "math", "gpqa")
TERMS = ("log(size)", "log(tokens)")


def _confirmatory(correlated):
    frame = pd.DataFrame(
        {"a": [1.0, np.nan, 0.0, np.nan, np.nan], "b": [0.0, np.nan, -2.0, np.nan, 0.5], "c": [0.0] + [np.nan] * 4},
        index=list(BENCHMARKS),
    )
    return Confirmatory(frame, correlated)


FORMS = {
    "anchored": Anchored({"x": "mmlu", "y": "math", "z": "ifeval"}),
    "anchored uncorrelated": Anchored({"x": "mmlu", "y": "math"}, correlated=False),
    "one skill": Anchored({"g": "bbh"}),
    "echelon": Echelon(["gpqa", "mmlu", "bbh"]),
    "confirmatory": _confirmatory(True),
    "confirmatory uncorrelated": _confirmatory(False),
    "unrotated": None,
    "with links": Echelon(["bbh", "gpqa"]),
}


@pytest.fixture
def make_space():
    """ParameterSpace of a named form of identification and an asymptote mode."""

    def make(form="anchored", asymptotes="chance", chance=(0.25, 0.0, 0.0, 0.0, 0.3)):
        given = FORMS[form]
        pattern = unrotated(("one", "two"), 5) if given is None else given.resolve(BENCHMARKS)
        lower = np.full(5, np.nan) if asymptotes != "chance" else np.array(chance)
        upper = np.full(5, np.nan) if asymptotes == "both" else np.ones(5)
        if asymptotes == "mixed":  # some of each fixed, as in tests of a restriction
            lower, upper = np.array([0.25, np.nan, 0.0, np.nan, 0.3]), np.array([np.nan, np.nan, 1.0, 0.95, 1.0])
            lower[3] = 0.1
        k, p = pattern.n_skills, len(TERMS)
        blocks = [pattern.fixed.ravel(), np.full(5 + p * k, np.nan), pattern.fixed_covariance(), np.full(5, np.nan)]
        n_link = 6 if form == "with links" else 0
        fixed = np.concatenate([*blocks, lower, upper, np.full(5 * n_link, np.nan)])
        return ParameterSpace(ParameterTable(BENCHMARKS, pattern.skills, TERMS, fixed, n_link=n_link))

    make.forms = tuple(FORMS)
    make.centre = UPPER_CENTRE
    make.starting_lower = starting_lower
    return make
