"""Identification reports: what is determined, what is not, under which names, and fits of what is not."""

import warnings

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.inference import grouped_rank
from latentscale.inference.flat_rotations import flat_rotations
from latentscale.inference.grouped_rank import full_rank_in_groups
from latentscale.inference.identification import restrictions_beyond
from latentscale.inference.local_rank import FLAT, local_rank, random_point, sparse_basis
from latentscale.parameters.restrictions import RestrictedSpace, natural_jacobian, natural_vector, read_restriction

NAN = np.nan
ITEMS = list("abcde")
SIZE, BOTH = "log(params_b)", "log(params_b) + log(tokens_t)"
ANCHORED = ls.Anchored({"one": "a", "two": "b"})


@pytest.fixture(scope="module")
def table():
    """Twelve families of three LLMs, five benchmarks of two skills, some cells missing."""
    return worlds.simulated(
        12, 3, [[0.8, 0.1], [0.1, 0.7], [0.5, 0.3], [0.3, 0.5], [0.6, -0.4]], [[0.4, 0.1], [0.2, 0.5]],
        {"params_b": (-1.0, 3.0), "tokens_t": (-1.0, 3.0)}, intercepts=-0.5, skill_cov=[[1.0, 0.3], [0.3, 0.9925]],
        missing=0.1, seed=3,
    )  # fmt: skip


def model_of(table, skills=ANCHORED, scaling=BOTH, **options):
    return ls.LatentSkillModel(ls.BenchmarkPanel(table, benchmarks=ITEMS, chance={}), scaling, skills, **options)


def pattern(columns, correlated=True):
    """Confirmatory from columns of loadings, the first benchmarks; those not listed are free."""
    frame = pd.DataFrame(columns)
    frame.index = ITEMS[: len(frame)]
    return ls.Confirmatory(frame, correlated)


FREE = pattern({"one": [NAN], "two": [NAN]})
UNBALANCED = pattern({"one": [NAN, 0, 0], "two": [NAN, NAN, NAN]})
BLOCKS = pattern({"one": [NAN, NAN, 0, 0, 0], "two": [0, 0, NAN, NAN, NAN]})


def blocks(table):
    """Half the families scored on a and b, the others on c, d and e."""
    out = table.copy()
    first = out["family"] < "f06"
    out.loc[first, ["c", "d", "e"]] = NAN
    out.loc[~first, ["a", "b"]] = NAN
    return out


def found(report, check):
    (finding,) = [finding for finding in report.checks if finding.check == check]
    return finding


class TestIdentified:
    @pytest.mark.parametrize(
        ("skills", "excess"),
        [
            (ANCHORED, 0),
            (ls.Echelon(["b", "d"]), 0),
            (ls.Echelon(["a", "b", "c"]), 0),
            (pattern({"one": [1.0, 0.0], "two": [0.0, -40.0]}), 0),  # markers, one in unusual units
            (ls.Anchored({"one": "a", "two": "b"}, correlated=False), 1),
            (pattern({"one": [NAN, NAN, NAN, 0, 0], "two": [0, 0, 0, NAN, NAN]}), 3),
            (1, 0),
        ],
    )
    def test_forms(self, table, skills, excess):
        report = model_of(table, skills).identification()
        assert report.identified
        assert report.problems == ()
        assert report.flat_directions == ()
        assert report.excess == excess
        assert report.restrictions == (f"over-identified ({excess})" if excess else "just-identified")
        assert all(rank.rank == rank.size and rank.above > 1e5 * FLAT for rank in report.ranks)

    def test_leaderboard(self, leaderboard):
        anchors = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}
        report = ls.LatentSkillModel(leaderboard, skills=ls.Anchored(anchors)).identification()
        assert report.identified
        assert found(report, "local rank").numbers["rank"] == 78

    def test_asymptotes_that_are_estimated(self, table):
        report = model_of(table, asymptotes="both").identification()
        assert report.identified

    def test_censored_scores(self, table):
        other = table.round(2)
        other.loc[0, "a"] = 0.0
        panel = ls.BenchmarkPanel(other, benchmarks=ITEMS, boundary="censor")
        assert ls.LatentSkillModel(panel, BOTH, ANCHORED).identification().identified

    def test_a_benchmark_that_one_family_has_is_not_mistaken_for_flat(self, table):
        """Its parameters need more scores of that family than a first batch may hold."""
        other = table.copy()
        other.loc[3:, "e"] = NAN
        model = model_of(other)
        assert local_rank(model, random_point(model, np.random.default_rng(0)), 0).rank == model.table.size

    def test_reproducible(self, table):
        model = model_of(table)
        first, again = model.identification(seed=4), model.identification(seed=4)
        assert str(first) == str(again)
        assert str(first) != str(model.identification(seed=5))


class TestUnderIdentified:
    def test_all_loadings_free(self, table):
        report = model_of(table, FREE).identification()
        assert report.restrictions == "under-identified"
        assert {problem.check for problem in report.problems} == {"counting", "patterns", "local rank"}
        problem = found(report, "local rank")
        assert problem.numbers["needed"] - problem.numbers["rank"] == 2
        assert "a rotation of 'one' towards 'two'" in problem.message
        assert "a rotation of 'two' towards 'one'" in problem.message
        assert problem.numbers["below"] < 1e-3 * FLAT < FLAT < 1e-3 * problem.numbers["above"]
        words = {name.partition("[")[0] for direction in report.flat_directions for name in direction.index}
        assert words == {"loading", "slope", "corr"}

    def test_one_rotation_names_the_loadings_and_slopes_it_moves(self, table):
        """Loadings of 'two' take in those of 'one'; the slopes of 'one' change, those of 'two' do not."""
        report = model_of(table, UNBALANCED).identification()
        (direction,) = report.flat_directions
        expected = [f"loading[{item},{skill}]" for item in "ade" for skill in ("one", "two")]
        expected += [f"slope[{term},one]" for term in BOTH.split(" + ")] + ["corr[one,two]"]
        assert set(direction.index) == set(report.problems[0].parameters) == set(expected)

    @pytest.mark.parametrize(
        ("skills", "count"),
        [
            (FREE, 2),
            (pattern({"one": [NAN], "two": [NAN]}, correlated=False), 1),
            (pattern({"one": [NAN], "two": [NAN], "three": [NAN]}), 6),
            (pattern({"one": [1.0], "two": [NAN]}), 2),
            (pattern({"one": [1.0], "two": [1.0]}), 2),
        ],
    )
    def test_number_of_directions(self, table, skills, count):
        """K^2 less the restrictions; with equal markers both skills may still take in their difference."""
        report = model_of(table, skills).identification(points=1)
        assert len(report.flat_directions) == count
        (rank,) = report.ranks
        assert rank.n_rotations == count

    def test_passes_counting_but_not_locally(self, table):
        report = model_of(table, UNBALANCED).identification()
        assert [problem.check for problem in report.problems] == ["local rank"]
        assert report.restrictions == "under-identified"
        assert report.excess == 1  # a restriction too many on the one skill, one too few on the other
        assert "Fixing loading" in report.problems[0].message

    def test_uncorrelated_pattern_that_counting_and_columns_pass(self, table):
        """Five zeros hold skill a, too many; b, c and d have two for the three planes in which they can turn."""
        columns = {"a": [0, 0, 0, 0, NAN], "b": [NAN] * 4 + [0], "c": [NAN] * 3 + [0, NAN], "d": [NAN] * 5}
        report = model_of(table, pattern(columns, correlated=False), SIZE).identification(points=1)
        assert [problem.check for problem in report.problems] == ["local rank"]
        assert "a rotation among ['b', 'c', 'd']" in report.problems[0].message

    def test_benchmarks_never_scored_in_one_family(self, table):
        """Skills that no family has both of: their correlation, and nothing else."""
        report = model_of(blocks(table), BLOCKS).identification()
        assert [problem.check for problem in report.problems] == ["local rank"]
        assert report.problems[0].parameters == ("corr[one,two]",)
        assert report.flat_directions[0].to_dict() == {"corr[one,two]": 1.0}
        note = found(report, "benchmarks together")
        assert note.outcome == "note"
        assert "a and c" in note.message
        assert report.ranks[0].n_rotations == 0

    def test_slopes_can_tie_such_benchmarks_together(self, table):
        """The skills' slopes are the same in both halves, and so settle how their coordinates fit together."""
        report = model_of(blocks(table), ls.Anchored({"one": "a", "two": "c"})).identification(points=1)
        assert report.identified
        assert found(report, "benchmarks together").outcome == "note"

    def test_rank_of_loadings(self, table):
        zero = {"one": [NAN, 0, 0, 0, 0], "two": [NAN, 0, 0, 0, 0]}
        problem = found(model_of(table, pattern(zero)).identification(points=1), "rank of loadings")
        assert problem.outcome == "problem"
        assert problem.numbers == {"needed": 2, "rank": 1}

    def test_random_slopes_restrict_rotations(self, table):
        """Independent slopes exclude one direction a term: of two rotations one is left, then none."""
        one, two = (model_of(table, FREE, random_slopes=terms) for terms in (SIZE, True))
        assert (restrictions_beyond(one), restrictions_beyond(two)) == (-1, 0)
        assert len(one.identification(points=1).flat_directions) == 1
        report = two.identification(points=1)
        assert report.identified
        assert found(report, "patterns").outcome == "note"


class TestFamilies:
    def test_no_more_families_than_skills(self, table):
        report = model_of(table[table["family"] < "f02"], scaling=SIZE).identification(points=1)
        (problem,) = report.problems
        assert problem.check == "families"
        assert problem.parameters == ("corr[one,two]",)
        assert report.restrictions == "just-identified"

    def test_families_of_one_llm(self, table):
        report = model_of(table.drop_duplicates("family")).identification(points=1)
        (problem,) = report.problems
        assert problem.check == "design within families"
        assert "log(params_b), log(tokens_t)" in problem.message
        assert "0 of 12 families have more than one LLM" in problem.message
        assert set(problem.parameters) == {f"slope[{term},{k}]" for term in BOTH.split(" + ") for k in ("one", "two")}

    def test_covariate_constant_within_families(self, table):
        other = table.assign(tokens_t=table.groupby("family")["tokens_t"].transform("mean"))
        report = model_of(other).identification(points=1)
        assert report.identified
        (note,) = report.notes
        assert note.check == "design within families"
        assert note.parameters == ("slope[log(tokens_t),one]", "slope[log(tokens_t),two]")
        assert note.numbers == {"needed": 2, "rank": 1}

    def test_covariates_collinear_within_families(self, table):
        """Tokens in proportion to size within each family, the ratio varying between families."""
        ratio = np.exp(np.random.default_rng(0).standard_normal(12)).repeat(3)
        report = model_of(table.assign(tokens_t=ratio * table["params_b"])).identification(points=1)
        note = found(report, "design within families")
        assert (note.outcome, note.numbers["rank"]) == ("note", 1)
        assert "collinear" in note.message


class TestReport:
    def test_one_line_a_check(self, table):
        report = model_of(table, FREE).identification(points=1)
        lines = str(report).splitlines()
        assert lines[0] == "Identification: NOT identified, under-identified"
        assert len(lines) == 1 + len(report.checks)
        assert len(report.table) == len(report.checks)
        assert list(report.table["check"]) == [finding.check for finding in report.checks]

    def test_names_cannot_become_markup(self, table):
        html = model_of(table, pattern({"<b>one": [NAN], "two": [NAN]})).identification(points=1)._repr_html_()
        assert "<b>" not in html
        assert "&lt;b&gt;one" in html

    def test_frozen(self, table):
        report = model_of(table).identification(points=1)
        with pytest.raises(AttributeError):
            report.excess = 3

    @pytest.mark.parametrize("options", [{"points": 0}, {"points": 1.5}, {"seed": -1}, {"seed": "x"}])
    def test_options_that_make_no_sense(self, table, options):
        with pytest.raises(ls.DataError):
            model_of(table).identification(**options)

    def test_weak_identification_is_a_note(self, table):
        """Markers that are all but the same for both skills tell them apart in theory."""
        weakly = pattern({"one": [1.0, 1.0], "two": [1.0, 1.002]})
        report = model_of(table, weakly).identification()
        assert report.identified
        (note,) = report.notes
        assert note.check == "weak identification"
        assert FLAT < note.numbers["smallest"] < 1e-2
        strongly = model_of(table, pattern({"one": [1.0, 0.0], "two": [0.0, 1.0]})).identification()
        assert strongly.notes == ()


class TestManyBenchmarksAndFamilies:
    """The rank group by group, and of some of the families, made to serve a small table."""

    @pytest.fixture(params=["groups", "families"])
    def grouped(self, request, monkeypatch):
        name, size = ("_GROUP", 2) if request.param == "groups" else ("_FAMILIES", 5)
        monkeypatch.setattr(grouped_rank, name, size)

    def test_full_rank_as_of_the_whole(self, table, grouped):
        model = model_of(table)
        u = random_point(model, np.random.default_rng(0))
        found = full_rank_in_groups(model, model.space, u, model.recoding.user(model.space.structure(u)),
                                    np.random.default_rng(1))  # fmt: skip
        rank = local_rank(model, u, 0)
        assert found is not None
        assert rank.rank == rank.size == model.table.size
        assert FLAT < rank.above < 1.0
        assert np.isfinite(rank.weakest).all()
        assert rank.weakest.any()
        assert model.identification().identified

    @pytest.mark.parametrize("skills", [FREE, UNBALANCED])
    def test_what_is_not_identified_is_left_to_the_whole(self, table, grouped, skills):
        model = model_of(table, skills)
        u = random_point(model, np.random.default_rng(2))
        structure = model.recoding.user(model.space.structure(u))
        assert full_rank_in_groups(model, model.space, u, structure, np.random.default_rng(1)) is None
        assert local_rank(model, u, 0).n_flat == flat_rotations(model.space, u)[0].shape[1] > 0

    def test_a_small_table_is_taken_whole(self, table):
        model = model_of(table)
        u = random_point(model, np.random.default_rng(0))
        structure = model.recoding.user(model.space.structure(u))
        assert full_rank_in_groups(model, model.space, u, structure, np.random.default_rng(1)) is None


class TestFlatDirections:
    @pytest.mark.parametrize("skills", [FREE, UNBALANCED, pattern({"one": [1.0], "two": [NAN]})])
    def test_loglike_is_flat_along_them(self, table, skills):
        """Half a step along a flat direction and back: the change is of second order, and elsewhere of first."""
        model = model_of(table, skills)
        rank = local_rank(model, random_point(model, np.random.default_rng(2)), 0)
        here = model.table.natural(rank.structure)

        def slope(direction):
            step = 1e-5
            ends = [model.loglike(here + sign * step * direction, integration="laplace") for sign in (1.0, -1.0)]
            return (ends[0] - ends[1]) / (2.0 * step)

        for direction in rank.directions.T:
            assert abs(slope(direction)) < 1e-5
        assert abs(slope(rank.weakest / np.abs(rank.weakest).max())) > 1e-3

    @pytest.mark.parametrize("skills", [FREE, UNBALANCED, ANCHORED])
    def test_rotations_by_algebra_are_the_null_space_of_the_scores(self, table, skills):
        model = model_of(table, skills)
        u = random_point(model, np.random.default_rng(5))
        rank = local_rank(model, u, 1)
        directions, _ = flat_rotations(model.space, u)
        assert directions.shape[1] == rank.n_flat
        natural = natural_jacobian(model.space, model.recoding, u) @ directions
        both = np.hstack([natural, rank.null])
        assert np.linalg.matrix_rank(both / np.linalg.norm(both, axis=0), tol=1e-8) == rank.n_flat

    def test_fixing_what_the_report_says_settles_them(self, table):
        for skills, rows in ((FREE, table), (UNBALANCED, table), (BLOCKS, blocks(table))):
            model = model_of(rows, skills)
            u = random_point(model, np.random.default_rng(7))
            rank = local_rank(model, u, 2)
            held = read_restriction(np.eye(model.table.size)[rank.settling], model.param_names)
            space = RestrictedSpace.near(model.space, model.recoding, held, u)
            v = space.start[space.kept]
            assert_allclose(natural_vector(model.space, model.recoding, space.free(v))[rank.settling], 0.0, atol=1e-9)
            restricted = local_rank(model, v, 3, space)
            assert restricted.rank == restricted.size == rank.rank

    def test_sparse_basis(self):
        rng = np.random.default_rng(0)
        sparse = np.zeros((12, 3))
        sparse[[0, 1], 0], sparse[[2, 3, 4], 1], sparse[[1, 7], 2] = [1, -2], [1, 1, 3], [2, 1]
        mixed = sparse @ rng.standard_normal((3, 3))
        found = sparse_basis(mixed, np.ones(12, dtype=bool))
        assert sorted(np.count_nonzero(found, axis=0)) == [2, 2, 3]
        assert np.linalg.matrix_rank(np.hstack([found, sparse]), tol=1e-8) == 3


class TestFit:
    @pytest.mark.parametrize("skills", [FREE, UNBALANCED])
    def test_refused_with_the_direction_and_what_to_do(self, table, skills):
        with pytest.raises(ls.IdentificationError) as caught:
            model_of(table, skills).fit()
        for words in ("a rotation of 'two' towards 'one'", "loading[a,two]", "Fixing", "allow_unidentified=True"):
            assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("integration", "options"),
        [
            ("laplace", {}),
            pytest.param("quadrature", {"points": 7}, marks=pytest.mark.slow),
            pytest.param("monte_carlo", {"draws": 32}, marks=pytest.mark.slow),
        ],
    )
    def test_allowed(self, table, integration, options):
        """The maximum of a just-identified form, no standard errors, and a warning that names loadings."""
        options = {"integration": integration, "starts": 2, **options}
        with pytest.warns(ls.ConvergenceWarning, match=r"does not fall along a direction of .*loading\["):
            free = model_of(table, FREE).fit(allow_unidentified=True, **options)
        anchored = model_of(table).fit(**options)
        # Monte Carlo proposals are in other coordinates, and so are its errors
        assert_allclose(free.llf, anchored.llf, atol=1e-5 if integration != "monte_carlo" else 4.0 * anchored.llf_se)
        assert free.bse.isna().all()
        assert not free.converged
        assert free.estimate.converged
        assert len(free.params) == 25
        text = str(free.summary())
        assert "WARNING" in text
        assert "Restricted" not in text

    def test_allowed_where_the_data_leave_it_free(self, table):
        with pytest.warns(ls.ConvergenceWarning, match=r"a direction of corr\[one,two\]\."):
            fit = model_of(blocks(table), BLOCKS).fit(
                allow_unidentified=True, integration="quadrature", points=5, starts=1
            )
        assert fit.bse.isna().all()

    def test_allowed_saved_and_loaded(self, table, tmp_path):
        with pytest.warns(ls.ConvergenceWarning):
            fit = model_of(table, UNBALANCED).fit(allow_unidentified=True, integration="laplace", starts=1)
        fit.save(tmp_path / "fit.lscale")
        again = ls.load(tmp_path / "fit.lscale")
        assert_allclose(again.params, fit.params, rtol=1e-15)
        assert again.bse.isna().all()
        assert [problem.message for problem in again.problems] == [problem.message for problem in fit.problems]

    def test_allowed_of_an_identified_model_changes_nothing(self, table):
        model = model_of(table)
        fits = [model.fit(integration="laplace", starts=1, allow_unidentified=allow) for allow in (False, True)]
        assert_allclose(fits[1].params, fits[0].params, rtol=1e-12)
        assert_allclose(fits[1].bse, fits[0].bse, rtol=1e-12)
        assert "allow_unidentified" not in fits[1].estimate.options

    @pytest.mark.slow
    def test_constraints_may_identify(self, table):
        """Zeros that make anchors of two benchmarks: the anchored maximum, with standard errors."""
        held = ["loading[a,two] = 0", "loading[b,one] = 0"]
        with warnings.catch_warnings():
            warnings.simplefilter("error", ls.ConvergenceWarning)
            fit = model_of(table, FREE).fit(integration="laplace", starts=2, constraints=held)
        anchored = model_of(table).fit(integration="laplace", starts=2)
        assert_allclose(fit.llf, anchored.llf, atol=1e-5)
        assert_allclose(fit.bse["corr[one,two]"], anchored.bse["corr[one,two]"], rtol=1e-3)

    def test_constraints_that_do_not(self, table):
        with pytest.raises(ls.IdentificationError, match="2 directions"):
            model_of(table, FREE).fit(integration="laplace", starts=1, constraints="loading[a,two] = 0")
