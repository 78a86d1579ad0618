"""Linear restrictions and the space they leave."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import latentscale as ls
from latentscale.numerics.differences import jacobian
from latentscale.parameters.restrictions import RestrictedSpace, independent, natural_vector, read_restriction


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(3)
    table = ls.load_leaderboard().sample(90, random_state=1)
    table["noise"] = rng.standard_normal(len(table))
    panel = ls.BenchmarkPanel(table, benchmarks=["bbh", "ifeval", "mmlu", "arc", "hellaswag"])
    form = ls.Anchored({"instruction": "ifeval", "reasoning": "bbh", "common": "hellaswag"})
    return ls.LatentSkillModel(panel, skills=form, asymptotes="lower")


@pytest.fixture(scope="module")
def point(model):
    from latentscale.estimation.search import starting_structures
    from latentscale.likelihood.objective import Objective

    pattern, space = model.search_form
    objective = Objective(space, model.internal_cells, model.penalty_on(space.table))
    _, start = list(starting_structures(objective, pattern, model.chance, model.family_codes, 2, 0))[1]
    return model.space.free_vector(model.pattern.rotate_from(start))


LINEAR = "slope[log(params_b),reasoning] = slope[log(tokens_t),reasoning], loading[mmlu,reasoning] = 0.7"
CURVED = [
    "precision[mmlu] = precision[arc]",
    "corr[instruction,common] = 0.2",
    "corr[reasoning,common] = corr[instruction,reasoning]",
    "intercept[mmlu] = -1",
    "lower[arc] = 0.2",
]


@pytest.mark.parametrize(
    "texts",
    [
        LINEAR,
        *(
            pytest.param(curved, marks=pytest.mark.slow)
            for curved in (CURVED, CURVED[1:3], [*CURVED, "slope[log(params_b),reasoning] = 0.5"])
        ),
    ],
)
def test_every_point_satisfies_the_restriction(model, point, texts):
    restriction = read_restriction(texts, model.param_names)
    space = RestrictedSpace.near(model.space, model.recoding, restriction, point)
    assert space.size == model.space.size - len(restriction)
    rng = np.random.default_rng(0)
    for _ in range(3):
        v = space.start[space.kept] + 0.05 * rng.standard_normal(space.size)
        u = space.free(v)
        assert_allclose(restriction.residual(natural_vector(model.space, model.recoding, u)), 0.0, atol=1e-10)
        assert_allclose(u[space.kept], v)
        assert_allclose(space.free_vector(space.structure(v)), v, atol=1e-9)
        wanted = jacobian(space.structural, v, np.full(len(v), 1e-4))
        assert_allclose(space.jacobian(v), wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
    assert len(space.labels) == space.size


def test_rows_that_follow_from_others_are_dropped_and_contradictions_refused(model):
    names = model.param_names
    a, b = "slope[log(params_b),reasoning]", "slope[log(tokens_t),reasoning]"
    restriction = read_restriction([f"{a} = {b}", f"{a} = 0.4", f"{b} = 0.4"], names)
    assert len(independent(restriction)) == 2
    with pytest.raises(ls.DataError, match="contradict"):
        independent(read_restriction([f"{a} = {b}", f"{a} = 0.4", f"{b} = 0.5"], names))


def test_what_cannot_be_met_or_read_is_refused(model, point):
    names = model.param_names
    for text, message in [
        ("precision[mmlu] = -1", "satisfy"),
        ("corr[instruction,common] = 1.5", "satisfy"),
        ("slope[nothing] = 0", "fit.params"),
    ]:
        with pytest.raises(ls.DataError, match=message):
            RestrictedSpace.near(model.space, model.recoding, read_restriction(text, names), point)
    with pytest.raises(ls.DataError, match="columns"):
        read_restriction(np.eye(3), names)
    with pytest.raises(ls.DataError, match="no parameter"):
        read_restriction(np.zeros((1, len(names))), names)


# names that hold what hypotheses are written with, and names that others begin with
ODD = (
    "loading[a]b,c,s,t]", "loading[a,s]", "loading[a,s] - loading[a,t]", "loading[a,s]2", "slope[x = 0,s]",
    "slope[x,s]", "slope[log(`Model Size (B)`):log(t),s]", "corr[2 * u,v / 3]", "corr[(u,v)]",
    "precision[he said \"x\" & 'y' <b>]",
    "precision[.*+?|\\d{2}]", "precision[ü  ü]", "precision[1e5]", "lower[1e5]", "llm_sd", "llm_sd[s]",
)  # fmt: skip


def unit(*names, of=ODD):
    return np.array([[float(name == one) for one in of] for name in names])


class TestReading:
    def test_every_name_is_read_whole(self):
        for name in ODD:
            read = read_restriction(f"2 * ({name} - 1) / 4 = -{name} + 1e1", list(ODD))
            assert_array_equal(read.matrix, 1.5 * unit(name))
            assert_array_equal(read.value, [10.5])

    @pytest.mark.parametrize("first", ODD)
    def test_chains_and_commas_make_several_restrictions(self, first):
        second, third = "slope[x,s]", "llm_sd"
        if first in (second, third):
            second, third = "lower[1e5]", "loading[a,s]2"
        read = read_restriction(f"{first} = {second} = 0, {third} = 2", list(ODD))
        chained = np.vstack([unit(first) - unit(second), unit(second), unit(third)])
        assert_array_equal(read.matrix, chained)
        assert_array_equal(read.value, [0.0, 0.0, 2.0])

    def test_the_longest_name_that_fits_is_meant(self):
        read = read_restriction("loading[a,s] - loading[a,t] = 0", list(ODD))
        assert_array_equal(read.matrix, unit("loading[a,s] - loading[a,t]"))

    @given(st.dictionaries(st.integers(0, len(ODD) - 1), st.floats(-9.0, 9.0), min_size=1), st.floats(-9.0, 9.0))
    def test_words_of_a_restriction_read_back_as_it(self, weights, value):
        row = np.zeros(len(ODD))
        for place, weight in weights.items():
            row[place] = weight if abs(weight) > 1e-300 else 1.0
        restriction = read_restriction((row[None], value), list(ODD))
        again = read_restriction(list(restriction.labels), list(ODD))
        assert_array_equal(again.matrix, restriction.matrix)
        assert_array_equal(again.value, restriction.value)
