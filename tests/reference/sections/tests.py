"""Tests of hypotheses, other covariances, rotations, profile likelihoods, bootstrap and diagnosis."""

import latentscale as ls

from .shared import ANCHORS, LLM_EFFECTS, keep_errors, keep_summary, panel, small_panel

EQUAL = "slope[log(params_b),math] = slope[log(tokens_t),math]"
JOINT = "slope[log(params_b):log(tokens_t),math] = slope[log(params_b):log(tokens_t),reasoning] = 0"
SIZE = "slope[log(params_b),{}]"


def record(keep):
    """Keep what is inferred from three fits: four anchored skills, two echelon skills, one with random slopes."""
    anchored = ls.LatentSkillModel(panel(), skills=ls.Anchored(ANCHORS)).fit(integration="laplace", starts=1)
    wald(keep.within("wald"), anchored)
    robust(keep.within("robust"), anchored)
    named(keep.within("named"), anchored, "wald")
    scores(keep.within("scores"), anchored)
    diagnosis(keep.within("diagnosis"), anchored)
    turned(keep.within("rotated"), anchored)
    echelon = ls.LatentSkillModel(panel(), skills=ls.Echelon(["bbh", "ifeval"]))
    fit = echelon.fit(integration="laplace", starts=2)
    named(keep.within("echelon named"), fit, "all")
    nested(keep.within("nested"), echelon, fit)
    profiled(keep.within("profile"), fit)
    replicates(keep.within("bootstrap"), fit)
    turned(keep.within("echelon rotated"), fit)
    other_fits(keep.within("others"))


def keep_test(keep, name, test):
    """Keep a HypothesisTest: the table's statistics are differences of log-likelihoods near 3,000."""
    keep(f"{name}: statistics", test.table["statistic"], scale=1.0)
    keep(f"{name}: table", test.table[["df", "p_value"]], scale=1.0)
    keep(f"{name}: text", str(test))


def wald(keep, fit):
    """Wald tests and the delta method."""
    one, joint = fit.t_test(EQUAL), fit.wald_test(JOINT)
    keep("t_test", one.summary_frame())
    keep("wald_test", [float(joint.statistic), float(joint.pvalue)], scale=1.0)
    ratio = fit.delta(
        lambda p: {"ratio": p[SIZE.format("math")] / p[SIZE.format("reasoning")], "det": p.skill_cov[0, 1]}
    )
    keep("delta", ratio.summary_frame())
    keep("delta: cov", ratio.cov)
    keep("delta: text", str(ratio))


def robust(keep, fit):
    """Covariances of the same estimates."""
    for name, options in {
        "cluster": {},
        "cluster jackknife": {"correction": "jackknife"},
        "cluster df": {"correction": "df"},
        "cluster none": {"correction": "none"},
        "expected": {},
        "none": {},
    }.items():
        other = fit.get_robust(name.split()[0], **options)
        here = keep.within(name)
        if name != "none":
            keep_errors(here, other)
        if name in ("cluster", "none"):
            keep_summary(here, other.summary(), ("text",))


def named(keep, fit, method):
    """The tests that have names."""
    for name in ("test_no_interaction", "test_flops_sufficiency", "test_equal_slopes"):
        keep_test(keep, name, getattr(fit, name)(method))
    if method == "all":
        hypothesis = f"{SIZE.format('skill1')} = {SIZE.format('skill2')}"
        keep_test(keep, "test_hypothesis", fit.test_hypothesis(hypothesis))
        keep_test(keep, "test_shared_slopes score", fit.test_shared_slopes())
        keep_test(keep, "test_shared_slopes lr", fit.test_shared_slopes("log(params_b)", "lr"))


def scores(keep, fit):
    """Score tests: modification indices, and of a hypothesis."""
    keep("modification indices", fit.score_test(), scale=1.0)
    keep_test(keep, "score_test", fit.score_test("corr[math,instruction] = 0"))


def nested(keep, model, fit):
    """Likelihood-ratio tests of smaller fits."""
    hypothesis = f"{SIZE.format('skill2')} = 0"
    keep_test(keep, "lr_test of a hypothesis", fit.lr_test(hypothesis))
    smaller = model.fit(integration="laplace", starts=1, constraints=hypothesis)
    keep_test(keep, "lr_test of a fit", fit.lr_test(smaller))
    keep("constrained", smaller.params)
    smaller = ls.LatentSkillModel(panel(), skills=1).fit(integration="laplace", starts=1)
    keep("one skill", smaller.params)


def profiled(keep, fit):
    """Profile likelihoods of a slope, of a loading and of a difference."""
    difference = f"{SIZE.format('skill1')} - {SIZE.format('skill2')}"
    for name in (SIZE.format("skill1"), "loading[gpqa,skill2]", difference):
        found, here = fit.profile(name), keep.within(name)
        here("interval", list(found.interval))
        here("wald_interval", list(found.wald_interval))
        here("table", found.table, scale=1.0)
        here("text", str(found))
    names = [SIZE.format("skill1"), "precision[mmlu]"]
    keep("conf_int", fit.conf_int(method="profile", parameters=names))


def replicates(keep, fit):
    """A few bootstrap replicates of both kinds."""
    for kind in ("parametric", "family"):
        found, here = fit.bootstrap(kind, 4, seed=1), keep.within(kind)
        here("values", found.replicates)
        here("bse", found.bse)
        here("bias", found.bias, scale=1.0)
        here("conf_int", found.conf_int())
    other = fit.get_robust("bootstrap", results=found)
    keep("bse", other.bse)


def turned(keep, fit):
    """Rotated loadings with their standard errors."""
    for method in ("geomin", "oblimin", "varimax"):
        rotated, here = fit.rotate(method, starts=10, seed=1), keep.within(method)
        here("params", rotated.params)
        keep_errors(here, rotated)
        here("loadings", rotated.loadings)
        here("minima", rotated.minima)
        here("summary: text", rotated.summary().as_text())
    plain = ls.rotate_loadings(fit.loadings, "quartimin", starts=10, seed=2)
    keep("quartimin loadings", plain.loadings)
    keep("quartimin criterion", float(plain.criterion), scale=1.0)


def diagnosis(keep, fit):
    """What is weak in the fit."""
    found = fit.diagnose()
    keep("diagnosis: text", str(found))
    keep("problems", len(found.problems))


def other_fits(keep):
    """The same for random slopes, residual skills of LLMs, learned links and censored scores."""
    where = panel(), small_panel(), panel("censor")
    for name, panel_number, options in (
        ("random_slopes", 0, {"skills": 1, "random_slopes": "log(params_b)"}),
        ("llm_effects", 0, {"skills": ls.Echelon(["bbh", "ifeval"]), **LLM_EFFECTS}),
        ("monotone", 1, {"skills": 1, "link": "monotone", "asymptotes": "lower"}),
        ("both effects", 1, {"skills": 1, "random_slopes": "log(params_b)", **LLM_EFFECTS}),
        ("censor", 2, {"skills": 1, "outliers": 0.1}),
    ):
        here = keep.within(name)
        fit = ls.LatentSkillModel(where[panel_number], **options).fit(integration="laplace", starts=1)
        here("params", fit.params)
        cluster = fit.get_robust("cluster")
        here("cluster bse", cluster.bse)
        here("expected bse", fit.get_robust("expected").bse)
        keep_test(here, "no interaction", fit.test_no_interaction("all"))
        here("diagnosis: text", str(fit.diagnose()))
        here("replicates", fit.bootstrap("parametric", 2, seed=3).replicates)
        if name in ("llm_effects", "random_slopes"):
            plain = {k: v for k, v in options.items() if k not in (*LLM_EFFECTS, "random_slopes")}
            smaller = ls.LatentSkillModel(where[panel_number], **plain).fit(integration="laplace", starts=1)
            if name == "random_slopes":
                keep_test(here, "lr_test", fit.lr_test(smaller))
            rotated = fit.rotate("varimax", starts=5) if name == "llm_effects" else None
            if rotated is not None:
                here("rotated", rotated.params)
                here("rotated bse", rotated.bse)
