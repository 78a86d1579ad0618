"""Kinds of parameters, and parameters with names, labels and positions."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from latentscale.errors import DataError
from latentscale.numerics.differences import jacobian
from latentscale.parameters import kinds
from latentscale.parameters.kinds import Kind
from latentscale.parameters.named import Parameters
from latentscale.parameters.structure import Layout
from latentscale.parameters.table import ParameterTable

ALL = [kind for kind in vars(kinds).values() if isinstance(kind, Kind)]


def table(benchmarks, skills, terms=("log(size)",), cov=np.nan):
    layout = Layout(len(benchmarks), len(skills), len(terms))
    fixed = np.full(layout.size, np.nan)
    rows, columns = layout.triangle
    fixed[layout.slices["skill_cov"]] = np.where(rows == columns, cov, np.nan)
    fixed[layout.slices["upper"]] = 1.0
    return ParameterTable(benchmarks, skills, terms, fixed)


class TestKinds:
    @pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
    def test_scales_are_increasing_functions_with_their_derivative_and_inverse(self, kind):
        low, high = np.clip(kind.space, -3.0, 3.0)
        x = np.linspace(low, high, 9)[1:-1]
        for scale in (kind.scale, kind.profile_scale):
            psi = scale.forward(x)
            assert (np.diff(psi) > 0.0).all()
            assert_allclose(scale.back(psi), x, rtol=1e-14)
            differences = np.diag(jacobian(scale.forward, x, np.full(len(x), 1e-4)))
            assert_allclose(scale.derivative(x), differences, rtol=1e-8)

    def test_names_are_distinct_and_kinds_survive_pickling(self):
        assert len({kind.name for kind in ALL}) == len(ALL)
        assert [pickle.loads(pickle.dumps(kind)) for kind in ALL] == ALL

    @pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
    def test_words_hold_labels_as_they_are(self, kind):
        labels = [f"{{{name}}},[{name}] %s" for name in kind.labels]
        assert all(label in kind.in_words(*labels) and label in kind.name_of(*labels) for label in labels)

    def test_where_zero_lies_agrees_with_the_space(self):
        for kind in ALL:
            low, high = kind.space
            assert (low < 0.0 < high) == kind.zero_is_tested


class TestParameters:
    def test_kind_labels_and_position_do_not_hang_on_names(self):
        odd = table(("a]b,c", "d"), ("s,t", 'u" = 0'), ("log(`Size, B`)",), cov=1.0)
        plain = table(("a", "d"), ("s", "u"), ("log(size)",), cov=1.0)
        assert [(one.kind, one.position) for one in odd.parameters] == [
            (one.kind, one.position) for one in plain.parameters
        ]
        for one in odd.all_parameters:
            labels = {"benchmark": odd.benchmarks, "covariate": odd.terms}
            assert all(label in labels.get(what, odd.skills) for what, label in one.parts.items())

    def test_positions_are_those_of_the_structural_vector(self):
        one = table(("a", "b"), ("s", "t"))
        assert [parameter.position for parameter in one.all_parameters] == list(range(one.layout.size))
        assert [parameter.position for parameter in one.parameters] == list(np.flatnonzero(one.free))
        assert [one.all_names[parameter.position] for parameter in one.parameters] == one.names

    def test_variances_correlations_and_covariances_are_kinds_of_their_own(self):
        free, unit = table(("a", "b"), ("s", "t")), table(("a", "b"), ("s", "t"), cov=1.0)
        words = [(one.name, one.kind.name) for one in free.parameters.of_kind(kinds.VARIANCE, kinds.COVARIANCE)]
        assert words == [("cov[s,s]", "variance"), ("cov[s,t]", "cov"), ("cov[t,t]", "variance")]
        assert [one.name for one in unit.parameters.of_kind(kinds.CORRELATION)] == ["corr[s,t]"]

    def test_are_of_kind_get_and_row_say_the_same(self):
        parameters = table(("a", "b"), ("s", "t")).parameters
        for kind in ALL:
            found = parameters.of_kind(kind)
            assert [parameters[row] for row in np.flatnonzero(parameters.are(kind))] == found
        assert parameters.of_kind(kinds.LOADING, benchmark="b", skill="s")[0].name == "loading[b,s]"
        assert parameters.of_kind(kinds.LOADING, family="b") == []
        assert parameters.get("loading[b,s]") == parameters[parameters.row("loading[b,s]")]
        assert parameters.get("loading[s,b]") is None

    @pytest.mark.parametrize(
        ("benchmarks", "skills", "name"),
        [
            (("a,b", "a"), ("c", "b,c"), "loading[a,b,c]"),
            (("x", "y"), ("a", "b,c", "a,b", "c"), "cov[a,b,c]"),
        ],
    )
    def test_names_that_commas_make_the_same_are_refused(self, benchmarks, skills, name):
        with pytest.raises(DataError) as error:
            table(benchmarks, skills)
        assert repr(name) in str(error.value)
        assert "Rename" in str(error.value)

    def test_a_collision_by_renaming_is_refused_too(self):
        with pytest.raises(DataError, match="would both be called"):
            replace(table(("a,b", "a"), ("c", "d")), skills=("c", "b,c"))

    def test_numbers_of_parameters_given_as_entries(self):
        made = Parameters.of([(kinds.LOADING, ("a", "s")), (kinds.LLM_SD, ())])
        assert made.names == ("loading[a,s]", "llm_sd")
        assert [one.position for one in made] == [0, 1]
        assert len(made) == 2
        assert made[1].in_words == "llm_sd"
