"""Forms of identification: patterns, refusals, and how any law is brought into a form without change."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.components.identification import (
    Anchored,
    Confirmatory,
    Echelon,
    choose_pivots,
    resolve_skills,
    unrotated,
)
from latentscale.errors import DataError, IdentificationError
from latentscale.parameters.structure import Structure

BENCHMARKS = ("mmlu", "bbh", "ifeval", "math", "gpqa", "musr")
NAN = np.nan



def confirmatory(columns, correlated=True):
    """Columns of loadings by skill name; the first benchmarks of the panel."""
    loadings = pd.DataFrame(columns)
    loadings.index = list(BENCHMARKS[: len(loadings)])
    return Confirmatory(loadings, correlated)


# name -> (form, restrictions beyond K^2, reachable)
FORMS = {
    "one anchor": (Anchored({"g": "bbh"}), 0, True),
    "anchored": (Anchored({"a": "math", "b": "mmlu", "c": "ifeval"}), 0, True),
    "uncorrelated anchors": (Anchored({"a": "math", "b": "mmlu", "c": "ifeval"}, correlated=False), 3, False),
    "echelon": (Echelon(["gpqa", "mmlu", "bbh"]), 0, True),
    "markers": (confirmatory({"a": [1.0, 0.0], "b": [0.0, 1.0]}), 0, True),
    "odd markers": (confirmatory({"a": [2.0, NAN, 0.5], "b": [0.0, -1.0, NAN]}), 0, True),
    "anchors by zeros": (confirmatory({"a": [NAN, 0.0], "b": [0.0, NAN]}), 0, True),
    "simple structure": (confirmatory({"a": [NAN, NAN, NAN, 0, 0, 0], "b": [0, 0, 0, NAN, NAN, NAN]}), 4, False),
    "nothing fixed": (confirmatory({"a": [NAN], "b": [NAN]}), -2, False),
    "unbalanced": (confirmatory({"a": [NAN, 0.0, 0.0], "b": [NAN, NAN, NAN]}), 0, False),
    "unrotated": (None, -1, True),
}
REACHABLE = [name for name, (_, _, reachable) in FORMS.items() if reachable]


def pattern_of(name):
    form = FORMS[name][0]
    return unrotated(("one", "two"), len(BENCHMARKS)) if form is None else form.resolve(BENCHMARKS)


def random_law(seed, k):
    """An unrotated Structure: loadings at random, Sigma = I."""
    rng = np.random.default_rng(seed)
    j = len(BENCHMARKS)
    return Structure(
        rng.standard_normal((j, k)), rng.standard_normal(j), rng.standard_normal((3, k)), np.eye(k),
        np.exp(rng.standard_normal(j)), np.zeros(j), np.ones(j),
    )  # fmt: skip


def check_same_law(left, right):
    """Linear predictors have the same mean and covariance; the conditioning of the turn costs digits."""
    for law in (lambda v: v.loadings @ v.skill_cov @ v.loadings.T, lambda v: v.loadings @ v.slopes.T):
        assert_allclose(law(left), law(right), rtol=1e-7, atol=1e-8)
    for name in ("intercepts", "precision", "lower", "upper"):
        assert_array_equal(getattr(left, name), getattr(right, name))


class TestResolve:
    def test_anchored(self):
        pattern = FORMS["anchored"][0].resolve(BENCHMARKS)
        assert pattern.skills == ("a", "b", "c")
        expected = np.full((6, 3), NAN)
        expected[3], expected[0], expected[2] = [NAN, 0, 0], [0, NAN, 0], [0, 0, NAN]
        assert_array_equal(pattern.fixed, expected)
        assert_array_equal(pattern.fixed_covariance(), [1.0, NAN, 1.0, NAN, NAN, 1.0])

    def test_uncorrelated_anchors(self):
        pattern = FORMS["uncorrelated anchors"][0].resolve(BENCHMARKS)
        assert_array_equal(pattern.fixed_covariance(), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0])

    def test_echelon(self):
        pattern = Echelon(["gpqa", "mmlu"]).resolve(BENCHMARKS)
        assert pattern.skills == ("skill1", "skill2")
        expected = np.full((6, 2), NAN)
        expected[4, 1] = 0.0
        assert_array_equal(pattern.fixed, expected)
        assert_array_equal(pattern.fixed_covariance(), [1.0, 0.0, 1.0])
        assert Echelon(["gpqa", "mmlu"], ["x", "y"]).resolve(BENCHMARKS).skills == ("x", "y")

    def test_confirmatory(self):
        pattern = confirmatory({"a": [2.0, NAN, 0.0], "b": [0.0, NAN, NAN]}).resolve(BENCHMARKS)
        expected = np.full((6, 2), NAN)
        expected[0], expected[2] = [2.0, 0.0], [0.0, NAN]
        assert_array_equal(pattern.fixed, expected)  # benchmarks not listed load on everything
        assert_array_equal(pattern.free_variance, [True, False])
        assert_array_equal(pattern.fixed_covariance(), [NAN, NAN, 1.0])
        uncorrelated = confirmatory({"a": [2.0], "b": [0.0]}, correlated=False).resolve(BENCHMARKS)
        assert_array_equal(uncorrelated.fixed_covariance(), [NAN, 0.0, 1.0])

    @pytest.mark.parametrize("name", FORMS)
    def test_excess_and_reach(self, name):
        pattern = pattern_of(name)
        assert (pattern.n_excess, pattern.reachable) == FORMS[name][1:]


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "error", "fragment"),
        [
            (lambda: Anchored({}), DataError, "at least one skill"),
            (lambda: Anchored(["math"]), DataError, "dict"),
            (lambda: Anchored({"a": "hellaswag"}), DataError, "['hellaswag']"),
            (lambda: Anchored({"a": "math", "b": "math"}), DataError, "['math']"),
            (lambda: Anchored({str(i): name for i, name in enumerate([*BENCHMARKS, "x"])}), IdentificationError, "7"),
            (lambda: Echelon("math"), DataError, "list"),
            (lambda: Echelon([]), DataError, "at least one"),
            (lambda: Echelon(["math", "math"]), DataError, "['math']"),
            (lambda: Echelon(["hellaswag"]), DataError, "['hellaswag']"),
            (lambda: Echelon(["math", "bbh"], ["one"]), DataError, "distinct name"),
            (lambda: Echelon(["math", "bbh"], ["one", "one"]), DataError, "distinct name"),
            (lambda: Confirmatory({"a": [1.0]}), DataError, "DataFrame"),
            (lambda: Confirmatory(pd.DataFrame(index=["math"])), DataError, "DataFrame"),
            (lambda: Confirmatory(pd.DataFrame({"a": [1.0, NAN]}, ["math", "math"])), DataError, "once"),
            (lambda: Confirmatory(pd.DataFrame([[1.0, NAN]], ["math"], ["a", "a"])), DataError, "once"),
            (lambda: Confirmatory(pd.DataFrame({"a": ["high"]}, ["math"])), DataError, "numbers"),
            (lambda: Confirmatory(pd.DataFrame({"a": [np.inf]}, ["math"])), DataError, "finite"),
            (lambda: Confirmatory(pd.DataFrame({"a": [1.0]}, ["hellaswag"])), DataError, "['hellaswag']"),
            (lambda: confirmatory({"a": [NAN] * 6, "b": [0.0] * 6}), IdentificationError, "['b']"),
        ],
    )
    def test_bad_forms(self, make, error, fragment):
        with pytest.raises(error) as caught:
            make().resolve(BENCHMARKS)
        assert fragment in str(caught.value)

    @pytest.mark.parametrize("skills", [True, 2.5, None, "math", ["math"], 0, -1])
    def test_what_is_no_form(self, skills):
        with pytest.raises(DataError, match="skill"):
            resolve_skills(skills, BENCHMARKS, pd.DataFrame(columns=list(BENCHMARKS)))

    def test_more_skills_than_benchmarks(self):
        with pytest.raises(IdentificationError, match="7 skills but only 6"):
            resolve_skills(7, BENCHMARKS, pd.DataFrame(columns=list(BENCHMARKS)))

    def test_two_skills_with_one_pattern_have_no_form(self):
        pattern = confirmatory({"a": [0.0, NAN], "b": [0.0, NAN]}).resolve(BENCHMARKS)
        with pytest.raises(IdentificationError, match="same pattern"):
            pattern.rotate_from(random_law(0, 2))


class TestRotation:
    @pytest.mark.parametrize("name", REACHABLE)
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_the_law_is_unchanged_and_the_restrictions_hold(self, name, seed):
        pattern = pattern_of(name)
        law = random_law(seed, pattern.n_skills)
        turned = pattern.rotate_from(law)
        check_same_law(turned, law)
        fixed = ~np.isnan(pattern.fixed)
        assert_array_equal(turned.loadings[fixed], pattern.fixed[fixed])
        cov = pattern.fixed_covariance()
        held = ~np.isnan(cov)
        # rounding in standardising; zero covariances are set
        assert_allclose(turned.skill_cov[np.tril_indices(len(turned.skill_cov))][held], cov[held], rtol=1e-12)

    @pytest.mark.parametrize("name", ["anchored", "echelon", "anchors by zeros"])
    def test_signs(self, name):
        pattern = pattern_of(name)
        turned = pattern.rotate_from(random_law(3, pattern.n_skills))
        for skill, items in enumerate(pattern.positive):
            assert turned.loadings[list(items), skill].sum() > 0.0

    @pytest.mark.parametrize("name", REACHABLE)
    def test_a_structure_in_the_form_stays(self, name):
        """Anchors and markers determine their coordinates: turning twice is turning once."""
        pattern = pattern_of(name)
        once = pattern.rotate_from(random_law(4, pattern.n_skills))
        root = np.linalg.cholesky(once.skill_cov)
        twice = pattern.rotate_from(once.transformed(root))  # Sigma = I again
        assert_allclose(twice.skill_cov, once.skill_cov, rtol=1e-6, atol=1e-8)
        assert_allclose(twice.loadings, once.loadings, rtol=1e-6, atol=1e-8)
        assert_allclose(twice.slopes, once.slopes, rtol=1e-6, atol=1e-8)

    @pytest.mark.parametrize("name", ["uncorrelated anchors", "simple structure"])
    def test_a_form_with_testable_restrictions_holds_them_as_a_start(self, name):
        pattern = pattern_of(name)
        turned = pattern.rotate_from(random_law(5, pattern.n_skills))
        fixed = ~np.isnan(pattern.fixed)
        assert_array_equal(turned.loadings[fixed], pattern.fixed[fixed])
        assert np.linalg.eigvalsh(turned.skill_cov)[0] > 0.0
        assert_allclose(np.diag(turned.skill_cov), 1.0, rtol=1e-12)

    def test_reflect(self):
        pattern = pattern_of("anchored")
        law = random_law(6, 3)
        law.loadings[[3, 0, 2], [0, 1, 2]] = [-1.0, 2.0, -3.0]
        reflected = pattern.reflect(law)
        check_same_law(reflected, law)
        assert_array_equal(reflected.loadings, law.loadings * [-1.0, 1.0, -1.0])
        assert_array_equal(reflected.slopes, law.slopes * [-1.0, 1.0, -1.0])

    def test_a_marker_settles_the_sign(self):
        pattern = pattern_of("odd markers")
        assert pattern.positive == ((), ())
        law = random_law(7, 2)
        assert_array_equal(pattern.reflect(law).loadings, law.loadings)


class TestPivots:
    @pytest.fixture
    def scores(self):
        """Three benchmarks that measure one thing, two another, one of noise; some cells missing."""
        rng = np.random.default_rng(0)
        one, two = rng.standard_normal((2, 200, 1))
        noise = 0.3 * rng.standard_normal((200, 5))
        columns = np.hstack([np.hstack([one] * 3 + [two] * 2) + noise, rng.standard_normal((200, 1))])
        columns[rng.random(columns.shape) < 0.2] = NAN
        return pd.DataFrame(columns, columns=list(BENCHMARKS))

    def test_one_pivot_from_each_cluster(self, scores):
        first, second, third = choose_pivots(scores, 3)
        assert first in BENCHMARKS[:3]
        assert second in BENCHMARKS[3:5]
        assert third == "musr"
        assert len(set(choose_pivots(scores, 6))) == 6

    def test_a_number_of_skills_is_an_echelon_form(self, scores):
        pattern = resolve_skills(2, BENCHMARKS, scores)
        assert pattern.kind == "echelon"
        assert pattern.positive == tuple((BENCHMARKS.index(name),) for name in choose_pivots(scores, 2))
        assert resolve_skills(np.int64(1), BENCHMARKS, scores).n_skills == 1

    def test_a_dict_is_anchored(self, scores):
        assert resolve_skills({"a": "bbh"}, BENCHMARKS, scores).kind == "anchored"

    def test_a_pair_never_seen_together_counts_as_uncorrelated(self, scores):
        scores.loc[:99, "musr"] = NAN
        scores.loc[100:, "gpqa"] = NAN
        assert len(choose_pivots(scores, 2)) == 2
