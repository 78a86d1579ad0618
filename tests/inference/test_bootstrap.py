"""Bootstrap of the estimates: reproducible, resumable, and right where the answer is known."""

import json
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import latentscale as ls
from latentscale.inference import bootstrap as module
from latentscale.inference.bootstrap import bootstrap
from latentscale.inference.bootstrap_results import BootstrapResults
from latentscale.likelihood.rules import Rule
from latentscale.parameters.kinds import SLOPE
from latentscale.parameters.named import Parameters


def _table(families=30, per_family=3, precision=60.0, slope_sd=0.0, seed=0):
    """One skill, four benchmarks, a tenth of the scores missing; slopes vary between families if wanted."""
    return worlds.simulated(
        families, per_family, [[0.9], [0.7], [0.8], [0.6]], [[0.4]], worlds.SIZE,
        intercepts=-0.8 * np.array([0.9, 0.7, 0.8, 0.6]), precision=precision, slope_sd=slope_sd, missing=0.1,
        model="m{:03d}", seed=seed,
    )  # fmt: skip


def _model(table, skills=None, **options):
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcd"), chance={}, **options.pop("panel", {}))
    skills = ls.Anchored({"skill": "a"}) if skills is None else skills
    return ls.LatentSkillModel(panel, scaling=options.pop("scaling", "log(size)"), skills=skills, **options)


@pytest.fixture(scope="module")
def fit():
    return _model(_table()).fit(integration="laplace", starts=1)


@pytest.fixture(scope="module")
def many(fit):
    return bootstrap(fit, replications=100, seed=4)


def _same(one, other):
    assert_array_equal(one.replicates, other.replicates)
    pd.testing.assert_frame_equal(one.record, other.record, check_exact=True)
    assert_array_equal(one.estimate, other.estimate)


# --- the same numbers, whatever happens ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pytest.param("parametric", marks=pytest.mark.slow), "family"])
def test_numbers_depend_neither_on_jobs_nor_on_replications(fit, kind):
    one = bootstrap(fit, kind, replications=6, seed=3)
    _same(bootstrap(fit, kind, replications=6, seed=3, n_jobs=2), one)
    assert_array_equal(bootstrap(fit, kind, replications=3, seed=3).replicates, one.replicates[:3])
    assert one.failed == 0
    other = bootstrap(fit, kind, replications=3, seed=4)
    assert not np.any(other.replicates.to_numpy() == one.replicates[:3].to_numpy())


RUN = """
    import latentscale as ls
    from latentscale.inference.bootstrap import bootstrap
    bootstrap(ls.load({fit!r}), "family", replications=400, seed=9, store={store!r})
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path, fit):
    path, store = tmp_path / "fit.lscale", tmp_path / "store.jsonl"
    fit.save(path)
    code = textwrap.dedent(RUN.format(fit=str(path), store=str(store)))
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 600.0  # to give up; a busy machine takes its time
    while time.monotonic() < deadline and not (store.exists() and store.read_bytes().count(b"\n") > 5):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = store.read_bytes().count(b"\n") - 1
    assert 5 <= kept < 395
    wanted = kept + 5
    resumed = bootstrap(fit, "family", replications=wanted, seed=9, store=store)
    _same(resumed, bootstrap(fit, "family", replications=wanted, seed=9))
    assert store.read_bytes().count(b"\n") == 1 + wanted


def test_a_store_is_read_and_not_run_again(tmp_path, fit, monkeypatch):
    store = tmp_path / "store.jsonl"
    first = bootstrap(fit, replications=4, seed=1, store=store)
    lines = [json.loads(line) for line in store.read_text().splitlines()]
    assert lines[0]["format"] == "latentscale bootstrap"
    assert lines[0]["param_names"] == fit.model.param_names
    assert sorted(line["replicate"] for line in lines[1:]) == [0, 1, 2, 3]
    _same(bootstrap(fit, replications=5, seed=1, store=store), bootstrap(fit, replications=5, seed=1))
    monkeypatch.setattr(module, "_replicate", None)
    _same(bootstrap(fit, replications=4, seed=1, store=store), first)


def test_a_line_that_was_cut_off_is_written_anew(tmp_path, fit):
    store = tmp_path / "store.jsonl"
    whole = bootstrap(fit, replications=4, seed=1, store=store)
    content = store.read_bytes()
    for cut in (1, 40, len(content.splitlines()[-1]) + 1):
        store.write_bytes(content[:-cut])
        _same(bootstrap(fit, replications=4, seed=1, store=store), whole)
        assert store.read_bytes() == content
    store.write_bytes(content[:100])  # cut off within its first line
    _same(bootstrap(fit, replications=4, seed=1, store=store), whole)
    assert store.read_bytes() == content


def test_the_store_of_another_run_is_refused(tmp_path, fit):
    store = tmp_path / "store.jsonl"
    bootstrap(fit, replications=2, seed=1, store=store)
    content = store.read_bytes()
    with pytest.raises(ls.DataError, match=r"seed \(1 there, 2 here\)"):
        bootstrap(fit, replications=2, seed=2, store=store)
    with pytest.raises(ls.DataError, match="kind"):
        bootstrap(fit, "family", replications=2, seed=1, store=store)
    with pytest.raises(ls.DataError, match="integration"):
        bootstrap(fit, replications=2, seed=1, store=store, integration="quadrature")
    table = _table()
    other = _model(table.assign(a=table["a"] ** 1.01)).fit(integration="laplace", starts=1)
    with pytest.raises(ls.DataError, match="differ: the scores, the estimate"):
        bootstrap(other, replications=2, seed=1, store=store)
    merged = table.replace({"family": {"f01": "f00"}})
    other = _model(merged).fit(integration="laplace", starts=1)
    with pytest.raises(ls.DataError, match="differ: the families, the estimate"):
        bootstrap(other, replications=2, seed=1, store=store)
    assert store.read_bytes() == content


def test_files_that_are_no_store_are_left_alone(tmp_path, fit):
    path = tmp_path / "notes.txt"
    for text in ("my notes", "my notes\nof today\n", '{"format": "something else"}\n'):
        path.write_text(text)
        with pytest.raises(ls.DataError, match="not a store"):
            bootstrap(fit, replications=2, store=path)
        assert path.read_text() == text
    with pytest.raises(ls.DataError, match="cannot be used"):
        bootstrap(fit, replications=2, store=tmp_path / "absent" / "store.jsonl")
    with pytest.raises(ls.DataError, match="cannot be used"):
        bootstrap(fit, replications=2, store=tmp_path)


def test_damaged_and_newer_stores_are_refused(tmp_path, fit):
    store = tmp_path / "store.jsonl"
    bootstrap(fit, replications=3, seed=1, store=store)
    head, first, *rest = store.read_text().splitlines()
    damaged = ["{", "3", '{"replicate": 0}', first.replace("true", "false"), first.replace("[", "[1.0, ", 1)]
    for line in damaged:
        store.write_text("\n".join([head, line, *rest]) + "\n")
        with pytest.raises(ls.DataError, match=r"Line 2 .* damaged"):
            bootstrap(fit, replications=3, seed=1, store=store)
    store.write_text(head.replace('"format_version": 2', '"format_version": 1') + "\n")
    with pytest.raises(ls.DataError, match="has format 1"):
        bootstrap(fit, replications=3, seed=1, store=store)


# --- replicates that fail --------------------------------------------------------------------------------------------


def test_failures_are_kept_on_record(tmp_path, fit, monkeypatch):
    store, real = tmp_path / "store.jsonl", module.parametric_replicate

    def sometimes(model, params, seed):
        if seed.spawn_key[0] in (1, 3):
            raise ls.DataError("these scores cannot be used")
        return real(model, params, seed)

    monkeypatch.setattr(module, "parametric_replicate", sometimes)
    with pytest.warns(UserWarning, match="2 of 8 replicates failed.*too narrow.*cannot be used"):
        results = bootstrap(fit, replications=8, seed=1, store=store)
    assert results.failed == 2
    assert results.replicates.isna().all(axis=1).tolist() == [number in (1, 3) for number in range(8)]
    record = results.record
    assert list(record["replicate"]) == list(range(8))
    assert record.loc[1, "message"] == "DataError: these scores cannot be used"
    assert list(record["converged"]) == [number not in (1, 3) for number in range(8)]
    with pytest.warns(UserWarning, match="2 of 8"):
        _same(bootstrap(fit, replications=8, seed=1, store=store), results)
    assert "8 replicates, 2 of them failed" in str(results)
    good = results.replicates.dropna()
    assert_allclose(results.bse, good.std(), rtol=1e-13)
    assert_allclose(results.bias, good.mean() - results.estimate, rtol=1e-12)


def test_replicates_that_do_not_converge_are_failures(fit, monkeypatch):
    real = module.refit
    monkeypatch.setattr(module, "refit", lambda *arguments: real(*arguments, max_iterations=0))
    monkeypatch.setattr(module, "_CLIMB", 0)
    with pytest.warns(UserWarning, match="3 of 3 replicates failed"):
        results = bootstrap(fit, replications=3, seed=1)
    assert results.record["message"].str.contains("standard errors from its optimum").all()
    assert np.isfinite(results.record["llf"]).all()
    assert results.bse.isna().all()
    assert results.cov_params().isna().all(axis=None)
    with pytest.raises(ls.DataError, match="Only 0 of 3"):
        results.conf_int()
    assert "3 of them failed" in str(results)


@pytest.mark.slow
@pytest.mark.parametrize("constraints", [None, "loading[b,skill] = loading[c,skill]"])
def test_later_attempts_reach_the_same_optimum(constraints, monkeypatch):
    """From the metric of the first end, and from a climb, without coordinates or in those of a restriction."""
    fit = _model(_table()).fit(integration="laplace", starts=1, constraints=constraints)
    world = module._world(fit, "parametric", 0, None)
    copy = module.parametric_replicate(fit.model, world.params, 5)
    first, real = module._maximised(world, copy), module.refit
    assert first.converged
    for failing, finite in ((1, True), (2, True), (1, False)):
        calls = []

        def unlucky(*arguments, calls=calls, failing=failing, finite=finite):
            calls.append(arguments)
            end = real(*arguments)
            if len(calls) > failing:
                return end
            return replace(end, converged=False, value=end.value if finite else -np.inf)

        monkeypatch.setattr(module, "refit", unlucky)
        end = module._maximised(world, copy)
        assert len(calls) == failing + 1
        assert end.converged
        # both end within 1e-3 standard errors of the optimum
        spread = np.sqrt(np.diag(fit.observed.free))
        assert_allclose(end.coordinates, first.coordinates, atol=3e-3 * spread.max())
        monkeypatch.setattr(module, "refit", real)


def test_a_climb_turns_back_into_the_form_of_the_fit():
    """Correlated skills leave and enter the search without coordinates: the climb ends where it started."""
    panel = ls.BenchmarkPanel(ls.load_leaderboard())
    model = ls.LatentSkillModel(panel, skills=ls.Anchored({"instruction": "ifeval", "reasoning": "bbh"}))
    fit = model.fit(integration="laplace", starts=1)
    world = module._world(fit, "parametric", 0, None)
    end = module._climbed(world, model, fit.estimate.objective(model))
    # a climb stops some hundredths of a log-likelihood unit from the optimum, so some tenths of a standard error
    assert_allclose((end - fit.estimate.coordinates) / np.sqrt(np.diag(fit.observed.free)), 0.0, atol=0.3)
    assert abs(fit.skill_corr.iloc[0, 1]) > 0.1


# --- what is computed of them ----------------------------------------------------------------------------------------


def test_standard_errors_agree_with_the_information(fit, many):
    assert many.failed == 0
    ratio = many.bse / fit.bse
    # a standard deviation of 100 replicates has a relative error of 7 %; thirty families are some 10 % from asymptotics
    assert np.all((ratio > 0.7) & (ratio < 1.4))
    assert abs(np.log(ratio).mean()) < 0.15
    # the bias of maximum likelihood is below a standard error, and its estimate is within .25 of that for noise
    assert np.all(np.abs(many.bias / many.bse) < 0.8)


def test_drawn_families_agree_with_the_sandwich(fit):
    """Both rest on thirty families: the spread of a squared score over families makes some 25 % of noise."""
    results = bootstrap(fit, "family", replications=40, seed=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few families for a sandwich
        sandwich = fit.get_robust("cluster").bse
    ratio = results.bse / sandwich
    assert np.all((ratio > 0.5) & (ratio < 2.0))
    assert abs(np.log(ratio).mean()) < 0.25


def _by_hand(values, point, influence, seed=0):
    """Results of replicates that come from elsewhere."""
    count = len(values)
    parameters = Parameters.of((SLOPE, (f"x{number}", "skill")) for number in range(values.shape[1]))
    return BootstrapResults(
        "family", seed, Rule.build("laplace", 1), parameters, np.array(point, dtype=float), values, np.zeros(count),
        np.ones(count, dtype=bool), ("",) * count, influence,
    )  # fmt: skip


@pytest.mark.parametrize(("method", "theirs"), [("bca", "BCa"), ("percentile", "percentile"), ("basic", "basic")])
def test_intervals_are_those_of_scipy(method, theirs):
    """For a mean the one-step jackknife is the jackknife, so that scipy's intervals of its own replicates are ours."""
    x = np.random.default_rng(3).gamma(1.5, size=25)
    rng = np.random.default_rng(8)
    known = stats.bootstrap((x,), np.mean, n_resamples=999, confidence_level=0.9, method=theirs, rng=rng)
    values = known.bootstrap_distribution[:, None]
    ours = _by_hand(values, [x.mean()], ((x - x.mean()) / len(x))[:, None]).conf_int(alpha=0.1, method=method)
    assert_allclose(ours.to_numpy()[0], known.confidence_interval, rtol=1e-12)
    skewed = abs(known.confidence_interval.high + known.confidence_interval.low - 2 * x.mean())
    assert skewed > 0.02  # or the three methods would hardly differ


def test_bca_by_its_formula(fit, many):
    """z0 from the share below the estimate, a from the families' scores times the inverse information."""
    from latentscale.likelihood.family_scores import family_scores

    scores = family_scores(fit.estimate.objective(fit.model), fit.estimate.coordinates, fit.estimate.rule)
    moves = scores @ fit.observed.free @ fit.observed.jacobian.T
    interval = many.conf_int(alpha=0.2, method="bca")
    for column, name in enumerate(fit.model.param_names):
        replicates, u = many.replicates[name], moves[:, column]
        z0 = stats.norm.ppf(np.mean(replicates < fit.params[name]))
        a = np.sum(u**3) / (6.0 * np.sum(u**2) ** 1.5)
        z = stats.norm.ppf([0.1, 0.9])
        levels = stats.norm.cdf(z0 + (z0 + z) / (1.0 - a * (z0 + z)))
        # the scores sum to zero within the distance to the optimum, a thousandth of a standard error
        assert_allclose(interval.loc[name], np.quantile(replicates, levels), rtol=1e-3, atol=1e-4)


def test_basic_intervals_stay_inside_the_space(many):
    rough = many.conf_int(alpha=0.1, method="basic")
    precision = [name for name in rough.index if name.startswith("precision")]
    q = np.quantile(np.log(many.replicates[precision]), [0.05, 0.95], axis=0)
    assert_allclose(rough.loc[precision, "lower"], np.exp(2 * np.log(many.estimate[precision]) - q[1]), rtol=1e-12)
    assert (rough.loc[precision] > 0).all(axis=None)
    slope = rough.loc["slope[log(size),skill]"]
    q = np.quantile(many.replicates["slope[log(size),skill]"], [0.95, 0.05])
    assert_allclose(slope, 2 * many.estimate["slope[log(size),skill]"] - q, rtol=1e-12)


def test_too_few_replicates_for_an_interval_are_named():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((199, 3)) + np.array([0.0, 2.2, 9.0])
    influence = rng.standard_normal((40, 3))
    results = _by_hand(values, np.zeros(3), influence)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results.conf_int()  # 199 replicates give 2.5 % as their fifth
    # of the second nearly all, of the third all replicates lie above the estimate
    with pytest.warns(UserWarning, match=r"199 replicates can resolve, for slope\[x1,skill\], slope\[x2,skill\]\."):
        interval = results.conf_int(method="bca")
    assert interval.loc["slope[x2,skill]"].isna().all()
    assert np.isfinite(interval.loc["slope[x0,skill]"]).all()
    with pytest.warns(UserWarning, match=r"percentile intervals .* 199 replicates"):
        results.conf_int(alpha=0.005)


def test_bca_needs_influence_values():
    results = _by_hand(np.random.default_rng(0).standard_normal((99, 1)), [0.0], np.full((10, 1), np.nan))
    with pytest.raises(ls.DataError, match="not positive definite"):
        results.conf_int(method="bca")
    assert np.isfinite(results.conf_int()).all(axis=None)


def test_the_covariance_serves_a_fit(fit, many):
    covariance = many.covariance()
    assert covariance.kind == "bootstrap"
    assert covariance.description == "parametric bootstrap, 100 replicates"
    assert_allclose(covariance.matrix, np.cov(many.replicates, rowvar=False), rtol=1e-12)
    assert_allclose(fit.get_robust("bootstrap", results=many).bse, many.bse, rtol=1e-12)
    few = _by_hand(np.random.default_rng(0).standard_normal((3, 4)), np.zeros(4), np.zeros((9, 4)))
    with pytest.warns(UserWarning, match="3 replicates give a singular covariance of 4"):
        few.covariance()


def test_results_do_not_change(many):
    tables = (many.replicates, many.cov_params(), many.record[["llf"]], many.estimate.to_frame(), many.bse.to_frame())
    for table in tables:
        table.iloc[:] = 0.0
    fresh = (many.replicates, many.cov_params(), many.record[["llf"]], many.estimate.to_frame(), many.bse.to_frame())
    assert all((table != 0.0).all(axis=None) for table in fresh)
    with pytest.raises(AttributeError):
        many.seed = 1
    with pytest.raises(ValueError, match="read-only"):
        many.values[0] = 0.0


def test_the_table_in_print(many):
    text = str(many)
    assert "parametric bootstrap, 100 replicates; percentile intervals." in text
    assert f"{many.bse['slope[log(size),skill]']:.4f}" in text
    assert repr(many) == "<BootstrapResults: parametric bootstrap, 100 replicates>"


# --- kinds of fits ---------------------------------------------------------------------------------------------------


def test_families_are_drawn_with_replacement(fit, monkeypatch):
    drawn, real = [], module.resampled
    monkeypatch.setattr(module, "resampled", lambda model, codes: drawn.append(codes) or real(model, codes))
    bootstrap(fit, "family", replications=5, seed=2)
    for number, codes in enumerate(drawn):
        child = np.random.SeedSequence(2).spawn(5)[number]
        assert_array_equal(codes, np.random.default_rng(child).integers(fit.n_families, size=fit.n_families))
        assert len(set(codes)) < fit.n_families
    assert len({tuple(codes) for codes in drawn}) == 5


@pytest.mark.slow
def test_a_restricted_fit_stays_restricted():
    model = _model(_table())
    words = ["loading[b,skill] = loading[c,skill]", "slope[log(size),skill] = 0.4"]
    fit = model.fit(integration="laplace", starts=1, constraints=words)
    for kind in ("parametric", "family"):
        results = bootstrap(fit, kind, replications=12, seed=0)
        replicates = results.replicates
        assert results.failed == 0
        assert_allclose(replicates["loading[b,skill]"], replicates["loading[c,skill]"], rtol=1e-9)
        assert_allclose(replicates["slope[log(size),skill]"], 0.4, rtol=1e-9)
        assert replicates["loading[b,skill]"].std() > 0.01
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of so few replicates
            interval = results.conf_int(alpha=0.8, method="bca")
        assert_allclose(interval.loc["slope[log(size),skill]"], 0.4, rtol=1e-9)
        assert np.isfinite(interval).all(axis=None)


@pytest.mark.parametrize("kind", ["parametric", "family"])
def test_random_slopes(kind):
    fit = _model(_table(slope_sd=0.5), random_slopes="log(size)").fit(integration="laplace", starts=1)
    results = bootstrap(fit, kind, replications=6, seed=0)
    assert results.failed == 0
    tau = results.replicates["slope_sd[log(size),skill]"]
    assert (tau >= 0).all()
    assert tau.std() > 0
    # of six standard normals seldom one is above five; about another mean slopes would be other parameters
    assert (np.abs((results.replicates - fit.params) / fit.bse) < 5).all(axis=None)


def test_another_rule_moves_the_estimate_with_it():
    """Replicates by Laplace are compared with the estimate by Laplace, not with that by quadrature."""
    fit = _model(_table(per_family=2, precision=2.0)).fit(integration="laplace", starts=1)
    accurate = fit.model.fit(integration="quadrature", starts=1)
    quick = bootstrap(accurate, replications=3, seed=1, integration="laplace")
    assert quick.rule.kind == "laplace"
    # both within 1e-2 standard errors of one optimum, from which quadrature's is further away
    assert_allclose((quick.estimate - fit.params) / fit.bse, 0.0, atol=0.01)
    assert np.abs((accurate.params - fit.params) / fit.bse).max() > 0.02
    direct = bootstrap(fit, replications=3, seed=1)
    assert_allclose((quick.replicates - direct.replicates) / fit.bse, 0.0, atol=0.05)
    unchanged = bootstrap(accurate, replications=2, seed=1)
    assert unchanged.rule == accurate.estimate.rule
    assert_array_equal(unchanged.estimate, accurate.params)


def test_censored_scores_are_censored_in_replicates():
    table = _table(precision=6.0)
    table[list("abcd")] = table[list("abcd")].round(1)
    fit = _model(table, panel={"boundary": "censor"}).fit(integration="laplace", starts=1)
    assert sum(fit.model.prepared.boundary_counts.values()) > 3
    world = module._world(fit, "parametric", 0, None)
    states = module.parametric_replicate(fit.model, world.params, 1).prepared.state
    assert np.isin([1, 2], states).any()
    results = bootstrap(fit, replications=6, seed=0)
    assert results.failed == 0
    precise = [name for name in fit.model.param_names if not name.startswith("precision")]
    # the range of six standard normals is seldom above five; a policy that moved scores would shift them all
    assert (np.abs((results.replicates - fit.params) / fit.bse)[precise] < 5).all(axis=None)


def test_anchors_come_out_positive(fit):
    model, estimate = fit.model, fit.estimate
    structure = model.space.structure(estimate.free)
    turned = model.space.free_vector(structure.transformed(-np.eye(1)))
    end = SimpleNamespace(space=model.space, coordinates=turned)
    assert model.space.structure(turned).loadings[0, 0] < 0
    assert_allclose(module._natural(model, estimate, end), fit.params, rtol=1e-10)


def test_signs_that_a_restriction_forbids_stay():
    model = _model(_table())
    fit = model.fit(integration="laplace", starts=1, constraints="slope[log(size),skill] = 0.4")
    structure = model.space.structure(fit.estimate.free)
    structure = replace(structure, loadings=-structure.loadings)
    end = SimpleNamespace(space=model.space, coordinates=model.space.free_vector(structure))
    named = dict(zip(model.param_names, module._natural(model, fit.estimate, end), strict=True))
    assert_allclose(named["slope[log(size),skill]"], 0.4, rtol=1e-9)
    assert named["loading[a,skill]"] < 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "wild"}, "kind is one of"),
        ({"replications": 1}, "replications is a whole number, at least 2"),
        ({"replications": 10.0}, "replications is a whole number"),
        ({"seed": -1}, "seed is a whole number"),
        ({"seed": True}, "seed is a whole number"),
        ({"integration": "midpoint"}, "integration is one of"),
    ],
)
def test_options_that_make_no_sense(fit, options, words):
    with pytest.raises(ls.DataError, match=words):
        bootstrap(fit, **{"replications": 2, **options})


@pytest.mark.parametrize(("options", "words"), [({"alpha": 1.0}, "alpha lies"), ({"method": "t"}, "method is one of")])
def test_intervals_that_make_no_sense(many, options, words):
    with pytest.raises(ls.DataError, match=words):
        many.conf_int(**options)


def test_progress_goes_to_the_error_stream(fit, capsys):
    bootstrap(fit, replications=2, seed=0)
    assert capsys.readouterr() == ("", "")
    bootstrap(fit, replications=2, seed=0, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "replicate 2 of 2, 0 failed" in err
