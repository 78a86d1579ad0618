"""Cross-validation: what it computes, in any order of work, after interruptions, and what it says of failures."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import latentscale as ls

LAWS = {f"d={d}": ls.Specification(ls.ComponentLaws, n_components=d) for d in (1, 2)}
GROUPS = ["opt", ["llama-2", "llama-2-chat"], "pythia"]


@pytest.fixture(scope="module")
def cv(leaderboard):
    return ls.leave_family_out(LAWS, leaderboard, GROUPS)


def same(one, other):
    pd.testing.assert_frame_equal(one.errors, other.errors, check_exact=True)
    columns = ["method", "group", "n_train", "n_test", "warnings", "failure"]
    pd.testing.assert_frame_equal(one.fits[columns], other.fits[columns])


def test_errors_by_hand(panel, means):
    cv = ls.leave_family_out(means(), panel, alphas=())
    errors = cv.errors.set_index(["llm", "benchmark"])
    assert cv.methods == ("Means",)
    assert list(errors.index.unique("llm")) == ["a-big", "a-mid", "b-2", "c-2"]
    # without family a's larger ones, x is .2, .4, .5, .6, .3 (a-small, b-1, b-2, c-2, c-1)
    row = errors.loc[("a-big", "x")]
    assert row["family"] == "a"
    assert_allclose([row["predicted"], row["observed"]], [0.4, 0.8])
    assert_allclose([row["error"], row["abs_error"]], [-40.0, 40.0])
    assert list(cv.fits["n_train"]) == [5, 6, 6]
    assert list(cv.fits["n_test"]) == [2, 1, 1]


def test_missing_scores_have_no_error(panel, means):
    cv = ls.leave_family_out(means(), panel, ["e"], complete=False)
    assert list(cv.errors["benchmark"]) == ["x"]
    assert cv.mae().notna().all()


def test_methods_are_those_of_the_estimators(leaderboard, cv):
    alone = ls.leave_family_out(LAWS["d=2"], leaderboard, GROUPS)
    assert alone.methods == ("ComponentLaws, n_components=2",)
    assert alone.mae().iloc[0] == cv.mae()["d=2"]
    table = cv.errors.pivot_table(index="llm", columns="benchmark", values="abs_error", aggfunc="count")
    assert (table == 2).all(axis=None)
    assert_allclose(cv.mae(pooled=True)["d=1"], cv.errors.query("method == 'd=1'")["abs_error"].mean())


def test_what_is_predicted_comes_without_scores(panel, means):
    seen = []

    class Curious(means):
        def fit(self, panel):
            fitted, inner = super().fit(panel), None
            inner = fitted.predict
            fitted.predict = lambda data: seen.append(data) or inner(data)
            return fitted

    ls.leave_family_out(Curious(), panel, ["a"])
    assert list(seen[0]["model"]) == ["a-big", "a-mid"]
    assert {"params_b", "tokens_t", "family"} <= set(seen[0].columns)
    assert not {"x", "y"} & set(seen[0].columns)


def test_the_numbers_do_not_depend_on_n_jobs(leaderboard, cv):
    same(ls.leave_family_out(LAWS, leaderboard, GROUPS, n_jobs=2), cv)


def test_the_numbers_do_not_depend_on_the_order_of_llms(leaderboard, cv):
    turned = leaderboard.subset(list(leaderboard.llms[::-1]))
    other = ls.leave_family_out(LAWS, turned, GROUPS)
    assert_allclose(other.mae(), cv.mae(), rtol=1e-9)  # no ties of size among the test families


def test_families_unseen(panel, means):
    cv = ls.leave_family_out({"m": means(), "shifted": means(0.1)}, panel, n_train=0)
    assert set(cv.errors["family"]) == {"a", "b", "c", "d"}
    assert len(cv.fits) == 8


class TestResume:
    def test_it_goes_on(self, leaderboard, cv, tmp_path):
        store = tmp_path / "splits.jsonl"
        same(ls.leave_family_out(LAWS, leaderboard, GROUPS, resume=store), cv)
        whole = store.read_bytes()
        lines = whole.splitlines(keepends=True)
        assert len(lines) == 7
        store.write_bytes(b"".join(lines[:3]) + lines[3][:40])  # killed in the middle of a line
        again = ls.leave_family_out(LAWS, leaderboard, GROUPS, n_jobs=2, resume=store)
        same(again, cv)
        assert len(store.read_bytes().splitlines()) == 7
        assert_array_equal(again.fits["seconds"].isin([json.loads(line)["seconds"] for line in lines[1:3]]).sum(), 2)

    def test_it_fits_only_what_is_missing(self, panel, means, tmp_path):
        store = tmp_path / "splits"
        ls.leave_family_out({"m": means()}, panel, resume=store)
        before = store.read_bytes()
        ls.leave_family_out({"m": means()}, panel, resume=store)
        assert store.read_bytes() == before
        both = ls.leave_family_out({"m": means(), "n": means(0.1)}, panel, resume=store)
        assert len(both.fits) == 6
        assert store.read_bytes().startswith(before)

    def test_a_failure_keeps_what_was_done(self, panel, means, tmp_path):
        store = tmp_path / "splits"
        with pytest.raises(ls.DataError):
            ls.leave_family_out({"m": means(), "broken": Broken()}, panel, resume=store)
        assert len(store.read_bytes().splitlines()) == 4

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda panel, means: (panel, {"m": means(0.2)}, {}), "'m' as another estimator"),
            (lambda panel, means: (panel, {"m": means()}, {"groups": ["a"]}), "these differ: the splits"),
            (lambda panel, means: (panel, {"m": means()}, {"alphas": ()}), "the levels of intervals"),
            (lambda panel, means: (_altered(panel), {"m": means()}, {}), "these differ: the panel"),
        ],
    )
    def test_another_run_is_refused(self, panel, means, tmp_path, change, message):
        store = tmp_path / "splits"
        ls.leave_family_out({"m": means()}, panel, resume=store)
        panel, estimators, options = change(panel, means)
        with pytest.raises(ls.DataError, match=message):
            ls.leave_family_out(estimators, panel, resume=store, **options)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"model,x\na,1\n", "not a store"),
            (b"hello", "not a store"),
            (b'{"format": "latentscale leave-family-out", "format_version": 9}\n', "has format 9"),
        ],
    )
    def test_other_files_are_left_alone(self, panel, means, tmp_path, content, message):
        store = tmp_path / "splits"
        store.write_bytes(content)
        with pytest.raises(ls.DataError, match=message):
            ls.leave_family_out(means(), panel, resume=store)
        assert store.read_bytes() == content

    @pytest.mark.parametrize("damage", [b"{}", b"[1", b'{"method": "m"}'])
    def test_damage_is_found(self, panel, means, tmp_path, damage):
        store = tmp_path / "splits"
        ls.leave_family_out({"m": means()}, panel, resume=store)
        lines = store.read_bytes().splitlines()
        store.write_bytes(b"\n".join([lines[0], damage, *lines[2:]]) + b"\n")
        with pytest.raises(ls.DataError, match=r"Line 2 of the store .* damaged"):
            ls.leave_family_out({"m": means()}, panel, resume=store)

    def test_an_estimator_that_cannot_be_recognised(self, panel, means, tmp_path):
        class Local(means):
            pass

        one = Local()
        one.rule = lambda: None
        with pytest.raises(ls.DataError, match="cannot be pickled"):
            ls.leave_family_out(one, panel, resume=tmp_path / "splits")


def _altered(panel):
    table = panel.to_frame()
    table.loc[0, "x"] += 0.01
    return ls.BenchmarkPanel(table, benchmarks=["x", "y"])


class Broken:
    """Fails where family a is left out, in a way of its own."""

    def __init__(self, error=None):
        self.error = error or ZeroDivisionError("no way")

    def fit(self, panel):
        if "a-big" not in panel.llms:
            raise self.error
        return self

    def predict(self, data):
        return pd.DataFrame(0.5, index=data["model"], columns=["x", "y"])


class TestFailures:
    def test_a_failure_names_method_and_split(self, panel):
        with pytest.raises(ls.DataError, match=r"^bad, fitted without a: ZeroDivision") as caught:
            ls.leave_family_out({"bad": Broken()}, panel)
        assert str(caught.value) == "bad, fitted without a: ZeroDivisionError: no way"
        assert "raise self.error" in caught.value.__notes__[0]

    @pytest.mark.parametrize("kind", [ls.DataError, ls.IdentificationError])
    def test_its_kind_and_words_get_through(self, panel, kind):
        with pytest.raises(kind, match=r"^bad, fitted without a: too few$"):
            ls.leave_family_out({"bad": Broken(kind("too few"))}, panel, n_jobs=2)

    def test_fewer_llms_than_components(self, panel):
        laws = ls.Specification(ls.ComponentLaws, name="laws", n_components=2)
        few = ls.BenchmarkPanel(panel.to_frame().query("family == 'a'"), benchmarks=["x", "y"])
        with pytest.raises(ls.DataError, match="laws, fitted without a: 2 components need at least 3 LLMs"):
            ls.leave_family_out(laws, few, n_train=2)

    def test_going_on(self, panel, means):
        with pytest.warns(UserWarning, match="1 of 6 fits failed and predict nothing, first bad without a: Zero"):
            cv = ls.leave_family_out({"bad": Broken(), "m": means()}, panel, on_error="skip")
        assert cv.fits["failure"].tolist()[0] == "ZeroDivisionError: no way"
        assert np.isnan(cv.mae()["bad"])
        assert cv.mae()["m"] > 0.0
        assert cv.compare("m").loc["bad", "n"] == 2
        assert "1 fits failed" in str(cv)

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (lambda data: np.zeros((len(data), 2)), "gave a ndarray"),
            (lambda data: pd.DataFrame(0.5, index=data["model"], columns=["x"]), "without y"),
            (lambda data: pd.DataFrame(0.5, index=range(len(data)), columns=["x", "y"]), "without a-big, a-mid"),
            (lambda data: pd.DataFrame(np.nan, index=data["model"], columns=["x", "y"]), "a-big, a-mid are not finite"),
            (lambda data: pd.DataFrame(0.5, index=[*data["model"]] * 2, columns=["x", "y"]), "several rows"),
        ],
    )
    def test_answers_are_checked(self, panel, means, answer, message):
        class Odd(means):
            def fit(self, panel):
                fitted = super().fit(panel)
                fitted.predict = answer
                return fitted

        with pytest.raises(ls.DataError, match=message):
            ls.leave_family_out(Odd(), panel, ["a"])

    def test_warnings_are_kept_and_told(self, panel, means):
        class Slow(means):
            def fit(self, panel):
                warnings.warn("not there yet", ls.ConvergenceWarning, stacklevel=1)
                return super().fit(panel)

        with pytest.warns(ls.ConvergenceWarning, match="3 of 3 fits warned, first slow without a: not there yet"):
            cv = ls.leave_family_out({"slow": Slow()}, panel)
        assert set(cv.fits["warnings"]) == {"ConvergenceWarning: not there yet"}

    @pytest.mark.parametrize(
        ("estimator", "options", "message"),
        [
            ({}, {}, "dict is empty"),
            (3, {}, "takes an object with fit"),
            (Broken, {}, "takes an object with fit"),
            (None, {"on_error": "ignore"}, "on_error is one of"),
            (None, {"alphas": (0.0,)}, "between 0 and 1"),
            (None, {"alphas": (0.1, 0.1)}, "between 0 and 1"),
            (None, {"groups": ["z"]}, "does not have: z"),
        ],
    )
    def test_bad_requests(self, panel, means, estimator, options, message):
        with pytest.raises(ls.DataError, match=message):
            ls.leave_family_out(means() if estimator is None else estimator, panel, **options)


class Cautious:
    """Gives intervals of half width sqrt(1 - alpha) / 2 about one half, long and in another order than asked."""

    def fit(self, panel):
        return self

    def predict(self, data):
        return pd.DataFrame(0.5, index=data["model"], columns=["x", "y"])

    def get_prediction(self, data):
        self.llms = list(data["model"])[::-1]
        return self

    def summary_frame(self, alpha=0.05):
        half = 0.5 * np.sqrt(1.0 - alpha)
        rows = [(llm, name, 0.5 - half, 0.5 + half) for name in ("y", "x") for llm in self.llms]
        return pd.DataFrame(rows, columns=["llm", "benchmark", "obs_ci_lower", "obs_ci_upper"])


class TestIntervals:
    def test_coverage(self, panel, means, tmp_path):
        store = tmp_path / "splits"
        both = {"cautious": Cautious(), "means": means()}
        cv = ls.leave_family_out(both, panel, alphas=(0.9, 0.5), resume=store)
        assert cv.levels == (0.1, 0.5)
        assert_allclose(cv.errors["lower_50"].dropna(), 0.5 - 0.5 * np.sqrt(0.5))
        # x of the held-out: .8, .5, .5, .6; y: .6, .3, .4, .5; half widths .158 and .354
        table = cv.coverage()
        assert list(table.index) == ["cautious"]
        assert_allclose(table.loc["cautious"], [6.0 / 8.0, 1.0])
        by = cv.coverage(by="benchmark")
        assert_allclose(by[0.1], [3.0 / 4.0, 3.0 / 4.0])
        again = ls.leave_family_out(both, panel, alphas=(0.9, 0.5), resume=store)
        pd.testing.assert_frame_equal(again.errors, cv.errors)

    def test_no_method_has_intervals(self, panel, means):
        with pytest.raises(ls.DataError, match="No method gives prediction intervals"):
            ls.leave_family_out(means(), panel).coverage()
        with pytest.raises(ls.DataError, match="at least one of alphas"):
            ls.leave_family_out(Cautious(), panel, alphas=()).coverage()


def test_what_an_estimator_learns_stays_in_its_split(panel, means):
    class Hoarder(means):
        fits = 0

        def fit(self, panel):
            self.fits += 1
            assert self.fits == 1
            return super().fit(panel)

    one = Hoarder()
    ls.leave_family_out(one, panel)
    assert one.fits == 0


def test_progress(panel, means, capsys):
    ls.leave_family_out({"m": means()}, panel, progress=True)
    assert "3 of 3: m without" in capsys.readouterr().err


def test_plot(cv):
    from matplotlib import pyplot

    ax = cv.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["d=1", "d=2"]
    assert [label.get_text() for label in ax.get_xticklabels()] == [*ls.BENCHMARKS, "mean"]
    pyplot.close(ax.figure)


@pytest.mark.slow
def test_the_package_own_model(leaderboard):
    panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=ls.BENCHMARKS[:6])
    fit = {"integration": "laplace", "starts": 1, "cov_type": "none"}
    model = ls.Specification(ls.LatentSkillModel, fit=fit, name="ours", skills=1)
    cv = ls.leave_family_out(model, panel, ["opt", "pythia"])
    assert 0.0 < cv.mae()["ours"] < 15.0


class TestReusedStarts:
    """Fits of splits that start where the fit to all LLMs ended."""

    GROUPS = ("opt", "pythia")

    @pytest.fixture
    def six(self):
        return ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=ls.BENCHMARKS[:6])

    @staticmethod
    def spec(**fit):
        fit = {"integration": "laplace", "starts": 2, "cov_type": "none", **fit}
        return ls.Specification(ls.LatentSkillModel, fit=fit, name="ours", skills=1)

    @pytest.mark.slow
    def test_estimates_are_those_of_the_split(self, six):
        plain, reused = (ls.leave_family_out(self.spec(), six, self.GROUPS, reuse_starts=on) for on in (False, True))
        columns = ["predicted", "lower_95", "upper_95"]
        assert_allclose(reused.errors[columns], plain.errors[columns], rtol=1e-6)

    def test_they_start_nowhere_else(self, six):
        whole = self.spec().fit(six)
        part = six.subset([llm for llm in six.llms if six.families[llm] != "opt"])
        fit = self.spec().fit(part, start_params=whole.params)
        assert list(fit.starts["kind"]) == ["given"]
        assert_allclose(fit.params, self.spec().fit(part).params, rtol=1e-5, atol=1e-7)

    def test_other_parameters_are_no_start(self, six):
        fit = self.spec().fit(six, start_params=pd.Series({"loading[other,skill1]": 1.0}))
        assert "given" not in set(fit.starts["kind"])

    def test_progress_and_resume(self, six, tmp_path, capsys):
        store, options = tmp_path / "splits.jsonl", {"reuse_starts": True}
        first = ls.leave_family_out(self.spec(), six, self.GROUPS, resume=store, progress=True, **options)
        assert "ours, all LLMs" in capsys.readouterr().err
        again = ls.leave_family_out(self.spec(), six, self.GROUPS, resume=store, progress=True, **options)
        assert "all LLMs" not in capsys.readouterr().err
        same(again, first)
        with pytest.raises(ls.DataError, match="ours"):  # other starts, other estimates
            ls.leave_family_out(self.spec(), six, self.GROUPS, resume=store)

    def test_methods_that_cannot(self, six):
        methods = {"ours": self.spec(), "laws": LAWS["d=1"]}
        with pytest.raises(ls.DataError, match="laws cannot start"):
            ls.leave_family_out(methods, six, self.GROUPS, reuse_starts=True)

    def test_what_the_fit_to_all_says_is_said(self, six):
        spec = self.spec(integration="quadrature", points=3, starts=1, max_iterations=1, max_rounds=1)
        with pytest.warns(ls.ConvergenceWarning, match="ours, fitted to all LLMs"):
            ls.leave_family_out(spec, six, self.GROUPS[:1], alphas=(), reuse_starts=True)
